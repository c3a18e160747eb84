//! Signing in a handshake with a key of ours.

#![forbid(unsafe_code)]

use std::sync::Arc;

use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};

use super::Holder;
use crate::crypto::sign::{PrivateKey, Scheme, Sha2};

/// The key of whoever holds it.
#[derive(Debug)]
pub(super) struct Key(pub(super) Arc<dyn Holder>);

/// The key, and how it signs.
#[derive(Debug)]
struct Pen {
    holder: Arc<dyn Holder>,
    name: SignatureScheme,
    scheme: Scheme,
}

/// The schemes that TLS has a name for, in the order in which they are taken.
const SCHEMES: [(SignatureScheme, Scheme); 10] = [
    (SignatureScheme::ED25519, Scheme::Ed25519),
    (SignatureScheme::ECDSA_NISTP256_SHA256, Scheme::Ecdsa(Sha2::Sha256)),
    (SignatureScheme::ECDSA_NISTP384_SHA384, Scheme::Ecdsa(Sha2::Sha384)),
    (SignatureScheme::ECDSA_NISTP521_SHA512, Scheme::Ecdsa(Sha2::Sha512)),
    (SignatureScheme::RSA_PSS_SHA256, Scheme::RsaPss(Sha2::Sha256)),
    (SignatureScheme::RSA_PSS_SHA384, Scheme::RsaPss(Sha2::Sha384)),
    (SignatureScheme::RSA_PSS_SHA512, Scheme::RsaPss(Sha2::Sha512)),
    // TLS 1.2 only.
    (SignatureScheme::RSA_PKCS1_SHA256, Scheme::RsaPkcs1(Sha2::Sha256)),
    (SignatureScheme::RSA_PKCS1_SHA384, Scheme::RsaPkcs1(Sha2::Sha384)),
    (SignatureScheme::RSA_PKCS1_SHA512, Scheme::RsaPkcs1(Sha2::Sha512)),
];

/// Whether a scheme is for this key. TLS ties the hash to the curve.
fn is_for(key: &PrivateKey, scheme: Scheme) -> bool {
    let (is_rsa, curve) = (key.public().is_rsa(), key.public().curve());
    match scheme {
        Scheme::RsaPkcs1(_) | Scheme::RsaPss(_) => is_rsa,
        Scheme::Ecdsa(hash) => curve.is_some_and(|curve| curve.hash() == hash),
        Scheme::Ed25519 => !is_rsa && curve.is_none(),
        Scheme::RsaSha1(_) | Scheme::EcdsaFixed(_) => false,
    }
}

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let is_right = |(name, scheme): &&(SignatureScheme, Scheme)| {
            offered.contains(name) && is_for(self.0.key(), *scheme)
        };
        let (name, scheme) = *SCHEMES.iter().find(is_right)?;
        Some(Box::new(Pen { holder: Arc::clone(&self.0), name, scheme }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match (self.0.key().public().is_rsa(), self.0.key().public().curve()) {
            (true, _) => SignatureAlgorithm::RSA,
            (false, Some(_)) => SignatureAlgorithm::ECDSA,
            (false, None) => SignatureAlgorithm::ED25519,
        }
    }
}

impl Signer for Pen {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.holder.key().sign(self.scheme, message).map_err(|error| Error::General(error.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.name
    }
}
