//! Proofs by signature: how they are made, and which are accepted.
//!
//! | method | made | accepted |
//! |---|---|---|
//! | 14 | when both sides announced their hashes | when we announced the hash |
//! | 9, 10, 11 | by ECDSA keys, for peers that announced nothing | with the curve's own hash |
//! | 1 | by RSA keys, for peers that announced nothing, and with permission | SHA-2; SHA-1 with permission |
//!
//! `RFC 7427 §3` wants method 14 as soon as both have announced. A peer that uses an older method
//! all the same is not refused for it, as other implementations do not either: what it signs with
//! is no weaker.
//!
//! # References
//!
//! `RFC 7296 §2.15` and `§3.8`, `RFC 7427`, `RFC 8420`, `RFC 4754`, `RFC 8247 §3`.

use super::{Authenticator, SignedOctets};
use crate::crypto::sign::{
    Curve, DigitalSignature, HashAlgorithm, PrivateKey, PublicKey, Scheme, SchemeError, Sha2, SignatureError,
};
use crate::ike::wire::{self, Auth, AuthMethod};

/// What we announce in SIGNATURE_HASH_ALGORITHMS.
#[must_use]
pub fn announcement() -> Vec<wire::HashAlgorithm> {
    HashAlgorithm::ALL.into_iter().map(|hash| hash.number().into()).collect()
}

/// What of a peer's announcement is of use: no hash twice, and not SHA-1.
#[must_use]
pub fn announced(algorithms: &wire::HashAlgorithms<'_>) -> Vec<HashAlgorithm> {
    let mut hashes = Vec::new();
    for hash in algorithms.iter().filter_map(|hash| HashAlgorithm::from_number(hash.into())) {
        if !hashes.contains(&hash) {
            hashes.push(hash);
        }
    }
    hashes
}

/// Our proof.
pub(super) fn sign(
    terms: &Authenticator<'_>,
    key: &PrivateKey,
    octets: &SignedOctets<'_>,
) -> Result<Auth<'static>, SignError> {
    let (method, scheme) = match terms.peer_hashes {
        Some(hashes) if !terms.own_hashes.is_empty() => {
            (AuthMethod::Signature, key.choose(hashes).ok_or(SignError::NoCommonHash)?)
        }
        Some(_) | None => older(terms, key.public())?,
    };
    let signature = terms.provider.sign(key, scheme, &octets.concat())?;
    let data = match method {
        AuthMethod::Signature => DigitalSignature { scheme, signature: &signature }
            .encode()
            .ok_or(SignError::Signature(SignatureError::Key(scheme)))?,
        AuthMethod::Rsa
        | AuthMethod::SharedKey
        | AuthMethod::Dss
        | AuthMethod::Ecdsa256
        | AuthMethod::Ecdsa384
        | AuthMethod::Ecdsa521
        | AuthMethod::Null
        | AuthMethod::Unknown(_) => signature,
    };
    Ok(Auth { method, data: data.into() })
}

/// The method from before `RFC 7427` for a key.
fn older(terms: &Authenticator<'_>, key: &PublicKey) -> Result<(AuthMethod, Scheme), SignError> {
    match (key.curve(), terms.legacy) {
        (Some(curve), _) => Ok((method(curve), Scheme::EcdsaFixed(curve))),
        // RFC 7296 §3.8: method 1 does not say which hash it is. SHA-1 is the default, and what a
        // peer that does not know RFC 7427 expects: strongSwan and libreswan verify nothing else.
        // There is no point in SHA-256, which they would call a wrong signature.
        (None, Some(legacy)) if key.is_rsa() => Ok((AuthMethod::Rsa, Scheme::RsaSha1(legacy))),
        (None, None) if key.is_rsa() => Err(SignError::Sha1),
        (None, _) => Err(SignError::NoMethod),
    }
}

const fn method(curve: Curve) -> AuthMethod {
    match curve {
        Curve::P256 => AuthMethod::Ecdsa256,
        Curve::P384 => AuthMethod::Ecdsa384,
        Curve::P521 => AuthMethod::Ecdsa521,
    }
}

/// Checks the peer's proof. Whose key it is, is another matter.
pub(super) fn verify(
    terms: &Authenticator<'_>,
    key: &PublicKey,
    auth: &Auth<'_>,
    octets: &SignedOctets<'_>,
) -> Result<(), ProofError> {
    let octets = octets.concat();
    let check = |scheme: Scheme, signature: &[u8]| terms.provider.verify(key, scheme, &octets, signature);
    let fixed = |curve: Curve| Ok(check(Scheme::EcdsaFixed(curve), &auth.data)?);
    match auth.method {
        AuthMethod::Rsa => {
            // The hash is inside the signature, where only the library sees it.
            let sha2 = [Sha2::Sha256, Sha2::Sha384, Sha2::Sha512].map(Scheme::RsaPkcs1);
            let schemes = terms.legacy.map(Scheme::RsaSha1).into_iter().chain(sha2);
            for scheme in schemes {
                match check(scheme, &auth.data) {
                    Err(SignatureError::Mismatch) => {}
                    result => return Ok(result?),
                }
            }
            Err(if terms.legacy.is_some() {
                SignatureError::Mismatch.into()
            } else {
                ProofError::PerhapsSha1
            })
        }
        AuthMethod::Ecdsa256 => fixed(Curve::P256),
        AuthMethod::Ecdsa384 => fixed(Curve::P384),
        AuthMethod::Ecdsa521 => fixed(Curve::P521),
        AuthMethod::Signature => {
            let DigitalSignature { scheme, signature } = DigitalSignature::decode(&auth.data)?;
            match scheme.hash() {
                Some(hash) if terms.own_hashes.contains(&hash) => Ok(check(scheme, signature)?),
                Some(hash) => Err(ProofError::Hash(hash)),
                None => Err(ProofError::Scheme(SchemeError::Unknown)),
            }
        }
        AuthMethod::SharedKey | AuthMethod::Dss | AuthMethod::Null | AuthMethod::Unknown(_) => {
            Err(ProofError::Method(auth.method))
        }
    }
}

/// Why a peer's proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Another method, one that is not secure among them.
    #[error("authentication method {0} is not accepted")]
    Method(AuthMethod),
    /// The algorithm that method 14 names is none of ours, or it cannot be read.
    #[error("signature: {0}")]
    Scheme(#[from] SchemeError),
    /// A hash that we did not announce (`RFC 7427 §4`).
    #[error("signature: {0:?} was not announced")]
    Hash(HashAlgorithm),
    /// The signature is wrong, or the key is not for it.
    #[error("signature: {0}")]
    Signature(#[from] SignatureError),
    /// The signature is wrong, or it is one of method 1 with SHA-1.
    #[error("signature: wrong, or made with SHA-1, which is not permitted")]
    PerhapsSha1,
}

/// Why we cannot prove who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The peer announced no hash that our key can be used with.
    #[error("the peer announced no hash for signatures that goes with our key")]
    NoCommonHash,
    /// The peer announced nothing, so that our RSA key would have to sign with SHA-1.
    #[error("the peer knows RSA signatures with SHA-1 only (no RFC 7427), and SHA-1 is not permitted")]
    Sha1,
    /// The peer announced nothing, and only method 14 has a name for signatures of our key.
    #[error("the peer does not know RFC 7427, without which our key cannot be used")]
    NoMethod,
    /// The library failed.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}
