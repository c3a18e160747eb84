//! Private keys, which sign.

#![forbid(unsafe_code)]

use std::fmt::{Debug, Formatter};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair, RsaSignatureEncoding,
};
use pki_types::pem::{PemObject as _, SectionKind};
use zeroize::Zeroizing;

use super::public::{Form, check_modulus, curve_from_oid};
use super::{Curve, HashAlgorithm, PublicKey, PublicKeyError, Scheme, Sha2, SignatureError, rsa_sha1};
use crate::codec::DecodeError;
use crate::crypto::der::{Der, tag};
use crate::secret::Secret;

/// A private key, and the public one that goes with it.
pub struct PrivateKey {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    Rsa(Rsa),
    Ecdsa(Ecdsa),
    Ed25519(Ed25519KeyPair),
}

struct Rsa {
    pair: RsaKeyPair,
    /// The RSAPrivateKey, for what the library does not do.
    der: Secret,
}

/// The library ties a key to the encoding of signatures; we need both.
struct Ecdsa {
    curve: Curve,
    asn1: EcdsaKeyPair,
    fixed: EcdsaKeyPair,
}

impl PrivateKey {
    /// Reads the first private key of a PEM file: PKCS#8, SEC 1 or PKCS#1, not encrypted.
    ///
    /// # Errors
    ///
    /// [`PrivateKeyError`]
    pub fn from_pem(text: &[u8]) -> Result<Self, PrivateKeyError> {
        // In the first line of a new section, or in a header of an old one that would not be base64.
        let is_encrypted = text.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED);
        let otherwise = |error| if is_encrypted { PrivateKeyError::Encrypted } else { error };
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
            let (kind, der) = section.map_err(|_why| otherwise(PrivateKeyError::Pem))?;
            let der = Zeroizing::new(der);
            if kind == SectionKind::PrivateKey {
                return Self::from_pkcs8(&der);
            } else if kind == SectionKind::EcPrivateKey {
                return Self::from_sec1(&der, None);
            } else if kind == SectionKind::RsaPrivateKey {
                return Self::from_pkcs1(&der);
            }
        }
        Err(otherwise(PrivateKeyError::Missing))
    }

    /// Reads a PKCS#8 PrivateKeyInfo.
    ///
    /// # Errors
    ///
    /// [`PrivateKeyError`]
    // RFC 5958 §2
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, PrivateKeyError> {
        let mut info = Der::new(der).sequence("PrivateKeyInfo")?;
        info.unsigned("version")?;
        let form = Form::from_identifier(info.sequence("key algorithm")?)?;
        let key = info.expect(tag::OCTET_STRING, "private key")?;
        match form {
            Form::Rsa => Self::from_pkcs1(key),
            Form::Ecdsa(curve) => Self::from_sec1(key, Some(curve)),
            Form::Ed25519 => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                    .map_err(|_rejected| PrivateKeyError::Rejected)?;
                let public = PublicKey::new(Form::Ed25519, pair.public_key().as_ref());
                Ok(Self { pair: Pair::Ed25519(pair), public })
            }
        }
    }

    /// Reads an ECPrivateKey, whose curve is in it or known.
    // RFC 5915 §3
    fn from_sec1(der: &[u8], known: Option<Curve>) -> Result<Self, PrivateKeyError> {
        let mut key = Der::new(der).sequence("ECPrivateKey")?;
        key.unsigned("version")?;
        key.expect(tag::OCTET_STRING, "private key")?;
        let named = match key.optional(tag::constructed(0), "curve")? {
            Some(parameters) => {
                let oid = Der::new(parameters).expect(tag::OID, "curve")?;
                Some(curve_from_oid(oid).ok_or(PublicKeyError::Unknown)?)
            }
            None => None,
        };
        let curve = match (known, named) {
            (Some(known), Some(named)) if known != named => return Err(PrivateKeyError::Rejected),
            (known, named) => known.or(named).ok_or(PublicKeyError::Unknown)?,
        };
        let (asn1, fixed) = algorithms(curve);
        let load = |algorithm: &'static EcdsaSigningAlgorithm| {
            EcdsaKeyPair::from_private_key_der(algorithm, der).map_err(|_rejected| PrivateKeyError::Rejected)
        };
        let (asn1, fixed) = (load(asn1)?, load(fixed)?);
        let public = PublicKey::new(Form::Ecdsa(curve), asn1.public_key().as_ref());
        Ok(Self { pair: Pair::Ecdsa(Ecdsa { curve, asn1, fixed }), public })
    }

    /// Reads an RSAPrivateKey.
    // RFC 8017 §A.1.2
    fn from_pkcs1(der: &[u8]) -> Result<Self, PrivateKeyError> {
        let mut key = Der::new(der).sequence("RSAPrivateKey")?;
        key.unsigned("version")?;
        check_modulus(key.unsigned("RSA modulus")?)?;
        let pair = RsaKeyPair::from_der(der).map_err(|_rejected| PrivateKeyError::Rejected)?;
        let public = PublicKey::new(Form::Rsa, pair.public_key().as_ref());
        Ok(Self { pair: Pair::Rsa(Rsa { pair, der: Secret::from(der) }), public })
    }

    /// The public key that goes with it. A certificate for it has the same.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The best scheme of method 14 for this key and a peer that announced these hashes; `None`
    /// when they have no hash in common. RSA keys pad the PKCS #1 v1.5 way, which every peer knows.
    #[must_use]
    pub fn choose(&self, announced: &[HashAlgorithm]) -> Option<Scheme> {
        let schemes: &[Scheme] = match &self.pair {
            Pair::Rsa(rsa) if rsa.pair.public_modulus_len() > LONG_RSA_KEY => &[
                Scheme::RsaPkcs1(Sha2::Sha384),
                Scheme::RsaPkcs1(Sha2::Sha512),
                Scheme::RsaPkcs1(Sha2::Sha256),
            ],
            Pair::Rsa(_) => &[
                Scheme::RsaPkcs1(Sha2::Sha256),
                Scheme::RsaPkcs1(Sha2::Sha384),
                Scheme::RsaPkcs1(Sha2::Sha512),
            ],
            // The library signs with the hash that belongs to the curve.
            Pair::Ecdsa(Ecdsa { curve: Curve::P256, .. }) => &[Scheme::Ecdsa(Sha2::Sha256)],
            Pair::Ecdsa(Ecdsa { curve: Curve::P384, .. }) => &[Scheme::Ecdsa(Sha2::Sha384)],
            Pair::Ecdsa(Ecdsa { curve: Curve::P521, .. }) => &[Scheme::Ecdsa(Sha2::Sha512)],
            Pair::Ed25519(_) => &[Scheme::Ed25519],
        };
        let is_announced = |scheme: &&Scheme| scheme.hash().is_some_and(|hash| announced.contains(&hash));
        schemes.iter().find(is_announced).copied()
    }

    /// Signs.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Key`], [`SignatureError::Library`]
    pub fn sign(&self, scheme: Scheme, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        match (&self.pair, scheme) {
            (Pair::Rsa(rsa), Scheme::RsaSha1(_)) => {
                let signature = rsa_sha1::sign(rsa.der.expose(), message).ok_or(SignatureError::Library)?;
                // A fault while computing would give the key away.
                self.public.verify(scheme, message, &signature).map_err(|_wrong| SignatureError::Library)?;
                Ok(signature)
            }
            (Pair::Rsa(rsa), Scheme::RsaPkcs1(Sha2::Sha256)) => rsa.sign(&RSA_PKCS1_SHA256, message),
            (Pair::Rsa(rsa), Scheme::RsaPkcs1(Sha2::Sha384)) => rsa.sign(&RSA_PKCS1_SHA384, message),
            (Pair::Rsa(rsa), Scheme::RsaPkcs1(Sha2::Sha512)) => rsa.sign(&RSA_PKCS1_SHA512, message),
            (Pair::Rsa(rsa), Scheme::RsaPss(Sha2::Sha256)) => rsa.sign(&RSA_PSS_SHA256, message),
            (Pair::Rsa(rsa), Scheme::RsaPss(Sha2::Sha384)) => rsa.sign(&RSA_PSS_SHA384, message),
            (Pair::Rsa(rsa), Scheme::RsaPss(Sha2::Sha512)) => rsa.sign(&RSA_PSS_SHA512, message),
            (Pair::Ecdsa(ecdsa), Scheme::EcdsaFixed(curve)) if ecdsa.curve == curve => {
                sign_ecdsa(&ecdsa.fixed, message)
            }
            (Pair::Ecdsa(ecdsa), Scheme::Ecdsa(hash)) if ecdsa.curve.hash() == hash => {
                sign_ecdsa(&ecdsa.asn1, message)
            }
            (Pair::Ed25519(pair), Scheme::Ed25519) => match pair.try_sign(message) {
                Ok(signature) => Ok(signature.as_ref().to_vec()),
                Err(_unspecified) => Err(SignatureError::Library),
            },
            (
                Pair::Rsa(_) | Pair::Ecdsa(_) | Pair::Ed25519(_),
                Scheme::RsaSha1(_)
                | Scheme::RsaPkcs1(_)
                | Scheme::RsaPss(_)
                | Scheme::EcdsaFixed(_)
                | Scheme::Ecdsa(_)
                | Scheme::Ed25519,
            ) => Err(SignatureError::Key(scheme)),
        }
    }
}

impl Rsa {
    fn sign(
        &self,
        encoding: &'static RsaSignatureEncoding,
        message: &[u8],
    ) -> Result<Vec<u8>, SignatureError> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        match self.pair.sign(encoding, &SystemRandom::new(), message, &mut signature) {
            Ok(()) => Ok(signature),
            Err(_unspecified) => Err(SignatureError::Library),
        }
    }
}

fn sign_ecdsa(pair: &EcdsaKeyPair, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
    match pair.sign(&SystemRandom::new(), message) {
        Ok(signature) => Ok(signature.as_ref().to_vec()),
        Err(_unspecified) => Err(SignatureError::Library),
    }
}

/// For signatures in DER, and for those side by side.
fn algorithms(curve: Curve) -> (&'static EcdsaSigningAlgorithm, &'static EcdsaSigningAlgorithm) {
    match curve {
        Curve::P256 => (&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P256_SHA256_FIXED_SIGNING),
        Curve::P384 => (&ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P384_SHA384_FIXED_SIGNING),
        Curve::P521 => (&ECDSA_P521_SHA512_ASN1_SIGNING, &ECDSA_P521_SHA512_FIXED_SIGNING),
    }
}

impl Debug for PrivateKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({:?}, …)", self.public.form())
    }
}

/// Why a private key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrivateKeyError {
    /// The file is not PEM.
    #[error("not a PEM file")]
    Pem,
    /// There is no private key in the file.
    #[error("no private key in the file")]
    Missing,
    /// It is encrypted, and nobody is there to ask for the passphrase.
    #[error("the private key is encrypted; store it without a passphrase, readable by the daemon only")]
    Encrypted,
    /// It cannot be read.
    #[error("not a private key: {0}")]
    Malformed(#[from] DecodeError),
    /// Its kind or length is not one of ours.
    #[error(transparent)]
    Kind(#[from] PublicKeyError),
    /// The library refused it: its parts do not belong together.
    #[error("the parts of the private key do not belong together")]
    Rejected,
}

const ENCRYPTED: &[u8] = b"ENCRYPTED";
/// Octets of an RSA modulus beyond which SHA-256 is not as strong as the key.
const LONG_RSA_KEY: usize = 3_072 / 8;
