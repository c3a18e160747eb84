//! Public keys, which verify.

#![forbid(unsafe_code)]

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1,
    ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA512_ASN1,
    ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_FIXED,
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    UnparsedPublicKey, VerificationAlgorithm,
};

use super::{
    Curve, OID_EC, OID_ED25519, OID_P256, OID_P384, OID_P521, OID_RSA, Scheme, Sha2, SignatureError,
};
use crate::codec::DecodeError;
use crate::crypto::der::{Der, tag};

/// A public key of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    form: Form,
    /// An RSAPublicKey, a point, or the octets of an Ed25519 key.
    octets: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Rsa,
    Ecdsa(Curve),
    Ed25519,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo.
    ///
    /// # Errors
    ///
    /// [`PublicKeyError`]
    // RFC 3279 §2.3.1 (RSA), RFC 5480 §2 (EC), RFC 8410 §4 (Ed25519).
    pub fn from_spki(octets: &[u8]) -> Result<Self, PublicKeyError> {
        let mut der = Der::new(octets);
        let mut info = der.sequence("SubjectPublicKeyInfo")?;
        der.finish("SubjectPublicKeyInfo")?;
        let identifier = info.sequence("key algorithm")?;
        let key = info.bit_string("public key")?;
        info.finish("SubjectPublicKeyInfo")?;
        let form = Form::from_identifier(identifier)?;
        form.check(key)?;
        Ok(Self { form, octets: key.into() })
    }

    pub(super) fn new(form: Form, octets: &[u8]) -> Self {
        Self { form, octets: octets.into() }
    }

    pub(super) const fn form(&self) -> Form {
        self.form
    }

    pub(in crate::crypto) const fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// The curve of an ECDSA key.
    #[must_use]
    pub const fn curve(&self) -> Option<Curve> {
        match self.form {
            Form::Ecdsa(curve) => Some(curve),
            Form::Rsa | Form::Ed25519 => None,
        }
    }

    /// Whether it is an RSA key.
    #[must_use]
    pub const fn is_rsa(&self) -> bool {
        matches!(self.form, Form::Rsa)
    }

    /// Checks that the owner of the key signed `message`.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Key`], [`SignatureError::Mismatch`]
    pub fn verify(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let algorithm = algorithm(self.form, scheme).ok_or(SignatureError::Key(scheme))?;
        UnparsedPublicKey::new(algorithm, &self.octets)
            .verify(message, signature)
            .map_err(|_unspecified| SignatureError::Mismatch)
    }
}

impl Form {
    /// Whether a key of this kind can look like this. That a point is on its curve shows when a
    /// signature is verified with it.
    fn check(self, key: &[u8]) -> Result<(), PublicKeyError> {
        let is_length = match (self, key) {
            (Self::Rsa, _) => return check_rsa(key),
            // SEC 1 §2.3.3: both coordinates, or one and which of two the other is.
            (Self::Ecdsa(curve), [4, rest @ ..]) => rest.len() == 2 * curve.coordinate_length(),
            (Self::Ecdsa(curve), [2 | 3, rest @ ..]) => rest.len() == curve.coordinate_length(),
            (Self::Ecdsa(_), _) => false,
            (Self::Ed25519, _) => key.len() == ED25519_KEY_LENGTH,
        };
        if is_length {
            Ok(())
        } else {
            Err(DecodeError::Length { what: "public key", value: key.len() }.into())
        }
    }

    /// The kind of key that an AlgorithmIdentifier in a SubjectPublicKeyInfo or PKCS#8 key names.
    pub(super) fn from_identifier(mut identifier: Der<'_>) -> Result<Self, PublicKeyError> {
        let what = "key algorithm";
        match identifier.expect(tag::OID, what)? {
            OID_RSA => {
                identifier.optional(tag::NULL, what)?;
                identifier.finish(what)?;
                Ok(Self::Rsa)
            }
            OID_EC => {
                let curve = identifier.expect(tag::OID, "curve")?;
                identifier.finish(what)?;
                curve_from_oid(curve).map(Self::Ecdsa).ok_or(PublicKeyError::Unknown)
            }
            OID_ED25519 => {
                identifier.finish(what)?;
                Ok(Self::Ed25519)
            }
            _ => Err(PublicKeyError::Unknown),
        }
    }
}

pub(super) fn curve_from_oid(oid: &[u8]) -> Option<Curve> {
    match oid {
        OID_P256 => Some(Curve::P256),
        OID_P384 => Some(Curve::P384),
        OID_P521 => Some(Curve::P521),
        _ => None,
    }
}

/// The modulus of an RSAPublicKey must be long enough.
// RFC 8247 §3.1: shorter than 2048 bits should not be used.
fn check_rsa(key: &[u8]) -> Result<(), PublicKeyError> {
    let mut key = Der::new(key).sequence("RSA key")?;
    check_modulus(key.unsigned("RSA modulus")?)
}

pub(super) fn check_modulus(modulus: &[u8]) -> Result<(), PublicKeyError> {
    let unused = modulus.first().map_or(0, |first| first.leading_zeros());
    let bits = (modulus.len() * 8).saturating_sub(usize::try_from(unused).unwrap_or(0));
    if (MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
        Ok(())
    } else {
        Err(PublicKeyError::RsaLength { bits })
    }
}

fn algorithm(form: Form, scheme: Scheme) -> Option<&'static dyn VerificationAlgorithm> {
    match (form, scheme) {
        (Form::Rsa, Scheme::RsaSha1(_)) => Some(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY),
        (Form::Rsa, Scheme::RsaPkcs1(Sha2::Sha256)) => Some(&RSA_PKCS1_2048_8192_SHA256),
        (Form::Rsa, Scheme::RsaPkcs1(Sha2::Sha384)) => Some(&RSA_PKCS1_2048_8192_SHA384),
        (Form::Rsa, Scheme::RsaPkcs1(Sha2::Sha512)) => Some(&RSA_PKCS1_2048_8192_SHA512),
        (Form::Rsa, Scheme::RsaPss(Sha2::Sha256)) => Some(&RSA_PSS_2048_8192_SHA256),
        (Form::Rsa, Scheme::RsaPss(Sha2::Sha384)) => Some(&RSA_PSS_2048_8192_SHA384),
        (Form::Rsa, Scheme::RsaPss(Sha2::Sha512)) => Some(&RSA_PSS_2048_8192_SHA512),
        (Form::Ecdsa(curve), Scheme::EcdsaFixed(wanted)) if curve == wanted => Some(match curve {
            Curve::P256 => &ECDSA_P256_SHA256_FIXED,
            Curve::P384 => &ECDSA_P384_SHA384_FIXED,
            Curve::P521 => &ECDSA_P521_SHA512_FIXED,
        }),
        (Form::Ecdsa(curve), Scheme::Ecdsa(hash)) => Some(match (curve, hash) {
            (Curve::P256, Sha2::Sha256) => &ECDSA_P256_SHA256_ASN1,
            (Curve::P256, Sha2::Sha384) => &ECDSA_P256_SHA384_ASN1,
            (Curve::P256, Sha2::Sha512) => &ECDSA_P256_SHA512_ASN1,
            (Curve::P384, Sha2::Sha256) => &ECDSA_P384_SHA256_ASN1,
            (Curve::P384, Sha2::Sha384) => &ECDSA_P384_SHA384_ASN1,
            (Curve::P384, Sha2::Sha512) => &ECDSA_P384_SHA512_ASN1,
            (Curve::P521, Sha2::Sha256) => &ECDSA_P521_SHA256_ASN1,
            (Curve::P521, Sha2::Sha384) => &ECDSA_P521_SHA384_ASN1,
            (Curve::P521, Sha2::Sha512) => &ECDSA_P521_SHA512_ASN1,
        }),
        (Form::Ed25519, Scheme::Ed25519) => Some(&aws_lc_rs::signature::ED25519),
        (
            Form::Rsa | Form::Ecdsa(_) | Form::Ed25519,
            Scheme::RsaSha1(_)
            | Scheme::RsaPkcs1(_)
            | Scheme::RsaPss(_)
            | Scheme::EcdsaFixed(_)
            | Scheme::Ecdsa(_)
            | Scheme::Ed25519,
        ) => None,
    }
}

/// Why a public key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// It cannot be read.
    #[error("not a public key: {0}")]
    Malformed(#[from] DecodeError),
    /// Another algorithm or curve.
    #[error("an unknown key algorithm or curve")]
    Unknown,
    /// An RSA key that is too short to be safe, or too long to be bearable.
    #[error("an RSA key has {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, not {bits}")]
    RsaLength {
        /// Bits of its modulus.
        bits: usize,
    },
}

const ED25519_KEY_LENGTH: usize = 32;
const MIN_RSA_BITS: usize = 2_048;
const MAX_RSA_BITS: usize = 8_192;
