//! Signatures, and how IKE names them.
//!
//! | authentication method | scheme here |
//! |---|---|
//! | 1, RSA Digital Signature | [`Scheme::RsaSha1`] by default, [`Scheme::RsaPkcs1`] (`RFC 7296 §3.8`) |
//! | 9, 10, 11, ECDSA | [`Scheme::EcdsaFixed`] (`RFC 4754 §3`) |
//! | 14, Digital Signature | all others, inside a [`DigitalSignature`] (`RFC 7427 §3`) |
//!
//! # References
//!
//! `RFC 7427`, `RFC 8420` (Ed25519), `RFC 4754` (ECDSA), `RFC 8247 §3`.

#![forbid(unsafe_code)]

mod private;
mod public;
mod rsa_sha1;

use super::Legacy;
use super::der::{Der, tag};
use crate::codec::{DecodeError, Reader};
pub use private::{PrivateKey, PrivateKeyError};
pub use public::{PublicKey, PublicKeyError};

/// A hash algorithm of the notify SIGNATURE_HASH_ALGORITHMS. SHA-1, number 1, is not among them:
/// `RFC 8247 §3.2.1` forbids it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlgorithm {
    /// SHA2-256: 2.
    Sha256,
    /// SHA2-384: 3.
    Sha384,
    /// SHA2-512: 4.
    Sha512,
    /// No hash beside the one inside the signature algorithm: 5 (`RFC 8420 §2`).
    Identity,
}

impl HashAlgorithm {
    /// All of them, in the order of their numbers: what we announce.
    pub const ALL: [Self; 4] = [Self::Sha256, Self::Sha384, Self::Sha512, Self::Identity];

    /// The hash with this number.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            2 => Some(Self::Sha256),
            3 => Some(Self::Sha384),
            4 => Some(Self::Sha512),
            5 => Some(Self::Identity),
            _ => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Sha256 => 2,
            Self::Sha384 => 3,
            Self::Sha512 => 4,
            Self::Identity => 5,
        }
    }
}

/// A hash of the SHA-2 family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sha2 {
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

impl Sha2 {
    const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// Octets of what it gives.
    const fn length(self) -> u8 {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Its object identifier: 2.16.840.1.101.3.4.2.1 to 3.
    const fn oid(self) -> &'static [u8] {
        match self {
            Self::Sha256 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01],
            Self::Sha384 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02],
            Self::Sha512 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03],
        }
    }
}

impl From<Sha2> for HashAlgorithm {
    fn from(hash: Sha2) -> Self {
        match hash {
            Sha2::Sha256 => Self::Sha256,
            Sha2::Sha384 => Self::Sha384,
            Sha2::Sha512 => Self::Sha512,
        }
    }
}

/// A curve of ECDSA keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Curve {
    /// P-256
    P256,
    /// P-384
    P384,
    /// P-521
    P521,
}

impl Curve {
    /// The hash that is as strong as the curve, and belongs to it in methods 9 to 11.
    #[must_use]
    pub const fn hash(self) -> Sha2 {
        match self {
            Self::P256 => Sha2::Sha256,
            Self::P384 => Sha2::Sha384,
            Self::P521 => Sha2::Sha512,
        }
    }

    /// Octets of x, and of y.
    const fn coordinate_length(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// How a signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5 with SHA-1. For method 1 only, and only where someone permits it.
    RsaSha1(Legacy),
    /// RSASSA-PKCS1-v1_5
    RsaPkcs1(Sha2),
    /// RSASSA-PSS, with MGF1 of the same hash and a salt as long as it.
    RsaPss(Sha2),
    /// ECDSA, r and s side by side: methods 9 to 11.
    EcdsaFixed(Curve),
    /// ECDSA, r and s in a DER SEQUENCE.
    Ecdsa(Sha2),
    /// Ed25519
    Ed25519,
}

impl Scheme {
    /// The AlgorithmIdentifier by which method 14 names it; `None` for those it must not use.
    // RFC 7427 §A, RFC 8420 §A.
    #[must_use]
    pub const fn algorithm_identifier(self) -> Option<&'static [u8]> {
        match self {
            Self::RsaSha1(_) | Self::EcdsaFixed(_) => None,
            Self::RsaPkcs1(Sha2::Sha256) => Some(&RSA_SHA256),
            Self::RsaPkcs1(Sha2::Sha384) => Some(&RSA_SHA384),
            Self::RsaPkcs1(Sha2::Sha512) => Some(&RSA_SHA512),
            Self::RsaPss(Sha2::Sha256) => Some(&PSS_SHA256),
            Self::RsaPss(Sha2::Sha384) => Some(&PSS_SHA384),
            Self::RsaPss(Sha2::Sha512) => Some(&PSS_SHA512),
            Self::Ecdsa(Sha2::Sha256) => Some(&ECDSA_SHA256),
            Self::Ecdsa(Sha2::Sha384) => Some(&ECDSA_SHA384),
            Self::Ecdsa(Sha2::Sha512) => Some(&ECDSA_SHA512),
            Self::Ed25519 => Some(&ED25519),
        }
    }

    /// The scheme an AlgorithmIdentifier names.
    ///
    /// # Errors
    ///
    /// [`SchemeError`]
    pub fn from_algorithm_identifier(octets: &[u8]) -> Result<Self, SchemeError> {
        let mut der = Der::new(octets);
        let mut identifier = der.sequence("AlgorithmIdentifier")?;
        der.finish("AlgorithmIdentifier")?;
        let oid = identifier.expect(tag::OID, "algorithm")?;
        match oid {
            // RFC 4055 §5: the parameters are NULL, and absent ones are accepted too.
            OID_RSA_SHA256 => rsa(identifier, Sha2::Sha256),
            OID_RSA_SHA384 => rsa(identifier, Sha2::Sha384),
            OID_RSA_SHA512 => rsa(identifier, Sha2::Sha512),
            OID_RSA_PSS => Ok(Self::RsaPss(pss_hash(identifier)?)),
            OID_ECDSA_SHA256 => plain(identifier, Self::Ecdsa(Sha2::Sha256)),
            OID_ECDSA_SHA384 => plain(identifier, Self::Ecdsa(Sha2::Sha384)),
            OID_ECDSA_SHA512 => plain(identifier, Self::Ecdsa(Sha2::Sha512)),
            OID_ED25519 => plain(identifier, Self::Ed25519),
            _ => Err(SchemeError::Unknown),
        }
    }

    /// The hash it needs both sides to have announced; `None` for those of methods 1 and 9 to 11,
    /// about which nothing is announced.
    #[must_use]
    pub fn hash(self) -> Option<HashAlgorithm> {
        match self {
            Self::RsaSha1(_) | Self::EcdsaFixed(_) => None,
            Self::RsaPkcs1(hash) | Self::RsaPss(hash) | Self::Ecdsa(hash) => Some(hash.into()),
            Self::Ed25519 => Some(HashAlgorithm::Identity),
        }
    }
}

fn plain(identifier: Der<'_>, scheme: Scheme) -> Result<Scheme, SchemeError> {
    identifier.finish("algorithm parameters")?;
    Ok(scheme)
}

fn rsa(mut identifier: Der<'_>, hash: Sha2) -> Result<Scheme, SchemeError> {
    null_or_nothing(&mut identifier)?;
    Ok(Scheme::RsaPkcs1(hash))
}

fn null_or_nothing(identifier: &mut Der<'_>) -> Result<(), DecodeError> {
    let what = "algorithm parameters";
    if let Some(body) = identifier.optional(tag::NULL, what)?
        && !body.is_empty()
    {
        return Err(DecodeError::Length { what, value: body.len() });
    }
    identifier.finish(what)
}

/// The hash of RSASSA-PSS-params, if all of them are as in RFC 7427 §A.4.3, whatever the hash.
// RFC 8247 §3.2.1: empty and default parameters, which stand for SHA-1, must not be used.
fn pss_hash(mut identifier: Der<'_>) -> Result<Sha2, SchemeError> {
    let mut parameters = identifier.sequence("PSS parameters")?;
    identifier.finish("PSS parameters")?;
    let hash = match parameters.optional(tag::constructed(0), "PSS hash")? {
        Some(identifier) => sha2(Der::new(identifier))?,
        None => return Err(SchemeError::PssParameters),
    };
    let Some(mask) = parameters.optional(tag::constructed(1), "PSS mask")? else {
        return Err(SchemeError::PssParameters);
    };
    let mut mask = Der::new(mask).sequence("PSS mask")?;
    let is_mgf1 = mask.expect(tag::OID, "PSS mask")? == OID_MGF1;
    let mask_hash = sha2(mask)?;
    let salt = match parameters.optional(tag::constructed(2), "PSS salt")? {
        Some(salt) => Der::new(salt).unsigned("PSS salt")?,
        None => return Err(SchemeError::PssParameters),
    };
    // The trailer field has one value, and that is the default.
    let trailer = parameters.optional(tag::constructed(3), "PSS trailer")?;
    let is_trailer = trailer.is_none_or(|trailer| trailer == [tag::INTEGER, 1, 1]);
    parameters.finish("PSS parameters")?;
    if is_mgf1 && mask_hash == hash && salt == [hash.length()] && is_trailer {
        Ok(hash)
    } else {
        Err(SchemeError::PssParameters)
    }
}

fn sha2(mut der: Der<'_>) -> Result<Sha2, SchemeError> {
    let mut identifier = der.sequence("hash")?;
    der.finish("hash")?;
    let oid = identifier.expect(tag::OID, "hash")?;
    null_or_nothing(&mut identifier)?;
    Sha2::ALL.into_iter().find(|hash| hash.oid() == oid).ok_or(SchemeError::Unknown)
}

/// Why an AlgorithmIdentifier names no scheme of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemeError {
    /// It cannot be read.
    #[error("not an AlgorithmIdentifier: {0}")]
    Malformed(#[from] DecodeError),
    /// An algorithm or hash that is unknown here, SHA-1 among them.
    #[error("an unknown signature or hash algorithm")]
    Unknown,
    /// RSASSA-PSS with a salt or mask that is not made the usual way, or with SHA-1 by default.
    #[error("parameters of RSASSA-PSS that nobody uses")]
    PssParameters,
}

/// The authentication data of method 14: which scheme, and its signature.
// RFC 7427 §3: ASN.1 Length (1 octet) | AlgorithmIdentifier | Signature Value
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigitalSignature<'a> {
    /// How it was made.
    pub scheme: Scheme,
    /// The signature.
    pub signature: &'a [u8],
}

impl<'a> DigitalSignature<'a> {
    /// Reads what a peer sent.
    ///
    /// # Errors
    ///
    /// [`SchemeError`]
    pub fn decode(octets: &'a [u8]) -> Result<Self, SchemeError> {
        let mut reader = Reader::new(octets);
        let length = reader.u8("AlgorithmIdentifier length")?;
        let scheme = Scheme::from_algorithm_identifier(reader.take(length.into(), "AlgorithmIdentifier")?)?;
        Ok(Self { scheme, signature: reader.rest() })
    }

    /// What is sent; `None` when method 14 has no name for the scheme.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let identifier = self.scheme.algorithm_identifier()?;
        let length = u8::try_from(identifier.len()).ok()?;
        Some([&[length], identifier, self.signature].concat())
    }
}

/// Why there is no signature, or why one is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The key is not for this scheme.
    #[error("{0:?} is not a scheme for this key")]
    Key(Scheme),
    /// Other data were signed, or another key signed them.
    #[error("the signature is that of other data or another key")]
    Mismatch,
    /// The library failed, which it does when it is out of memory.
    #[error("the cryptographic library failed")]
    Library,
}

// RFC 7427 §A.1: sha256WithRSAEncryption and its sisters differ in the last octet of the OID.
const fn rsa_pkcs1(hash: u8) -> [u8; 15] {
    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, hash, 0x05, 0x00]
}

// RFC 7427 §A.3: likewise ecdsa-with-SHA256.
const fn ecdsa(hash: u8) -> [u8; 12] {
    [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, hash]
}

// RFC 7427 §A.4.3: RSASSA-PSS, which names its hash twice.
const fn rsa_pss(hash: u8, salt: u8) -> [u8; 72] {
    [
        0x30, 0x46, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30, 0x39, 0xa0, 0x0f,
        0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, hash, 0x05, 0x00, 0xa1, 0x1c,
        0x30, 0x1a, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0d, 0x06, 0x09,
        0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, hash, 0x05, 0x00, 0xa2, 0x03, 0x02, 0x01, salt, 0xa3,
        0x03, 0x02, 0x01, 0x01,
    ]
}

const RSA_SHA256: [u8; 15] = rsa_pkcs1(0x0b);
const RSA_SHA384: [u8; 15] = rsa_pkcs1(0x0c);
const RSA_SHA512: [u8; 15] = rsa_pkcs1(0x0d);
const PSS_SHA256: [u8; 72] = rsa_pss(1, Sha2::Sha256.length());
const PSS_SHA384: [u8; 72] = rsa_pss(2, Sha2::Sha384.length());
const PSS_SHA512: [u8; 72] = rsa_pss(3, Sha2::Sha512.length());
const ECDSA_SHA256: [u8; 12] = ecdsa(2);
const ECDSA_SHA384: [u8; 12] = ecdsa(3);
const ECDSA_SHA512: [u8; 12] = ecdsa(4);
const ED25519: [u8; 7] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];

/// 1.2.840.113549.1.1.1
const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.113549.1.1.8
const OID_MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08];
/// 1.2.840.113549.1.1.10
const OID_RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
/// 1.2.840.113549.1.1.11
const OID_RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
/// 1.2.840.113549.1.1.12
const OID_RSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c];
/// 1.2.840.113549.1.1.13
const OID_RSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d];
/// 1.2.840.10045.2.1
const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.2.840.10045.3.1.7
const OID_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.132.0.34
const OID_P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// 1.3.132.0.35
const OID_P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
/// 1.2.840.10045.4.3.2
const OID_ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// 1.2.840.10045.4.3.3
const OID_ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
/// 1.2.840.10045.4.3.4
const OID_ECDSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04];
/// 1.3.101.112
const OID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];

#[cfg(test)]
mod tests;
