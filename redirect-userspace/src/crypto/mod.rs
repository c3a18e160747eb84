//! All cryptography of the IKEv2 gateway, and nothing of its protocol.
//!
//! The algorithms are values with their IANA numbers ([`prf::Prf`], [`integ::Integ`],
//! [`cipher::Encr`], [`kex::Group`]). What `RFC 8247` forbids or advises against is not there at
//! all; SHA-1, which it still tolerates, can only be named by someone who holds a [`Legacy`].
//!
//! Keys come in two forms. What is kept for the lifetime of an SA is small: [`cipher::TrafficKeys`]
//! is one allocation of the key octets. What computes is prepared from it: [`cipher::Sealer`] and
//! [`cipher::Opener`] hold key schedules, for one message (IKE) or for all packets (a data plane).
//!
//! # Invariants
//!
//! - Nothing here reads a clock, a file or the environment. Validation is told the time. Private
//!   values of key exchanges come from the [`Rng`] that is handed in; the random part of ML-KEM, and of
//!   ECDSA and RSASSA-PSS signatures, is the library's own, which takes no generator.
//! - Whatever a peer sends, nothing panics, and work and memory are bounded by the algorithm.
//! - Keys, and what is computed from them, are zeroed on drop and never shown.
//! - What depends on secrets takes a time that depends on lengths only.
//!
//! # Which library does what
//!
//! Measured by `cargo bench --bench crypto`. aws-lc-rs: AES-GCM, ChaCha20-Poly1305, Curve25519,
//! the NIST curves, ML-KEM, signatures. hmac, sha2, aes, cbc: HMAC and AES-CBC. crypto-bigint: the MODP
//! groups. webpki: certificate chains. rustls: TLS, for EAP.
//!
//! # References
//!
//! `RFC 7296 §2.13` to `§2.18` (keys), `RFC 8247` and `RFC 8221` (which algorithms).

#![forbid(unsafe_code)]

pub mod cipher;
mod der;
pub mod digest;
mod hmac;
pub mod integ;
pub mod kex;
pub mod mschap;
#[cfg(any(test, feature = "testing"))]
pub mod null;
pub mod prf;
pub mod sign;
pub mod tls;
pub mod x509;

use crate::rng::Rng;
use cipher::{KeyError, Protection, TrafficKeys};
use kex::{Answer, Group, KeyExchange, KeyExchangeError};
use prf::{Prf, PrfKey};
use sign::{PrivateKey, PublicKey, Scheme, SignatureError};

/// Has the library prepare its generator of random octets. It takes some 20 ms, once in a process, for
/// which the first peer would wait otherwise.
pub fn prepare() {
    // Whoever needs it and finds that it fails says so.
    let _later = aws_lc_rs::rand::fill(&mut [0]);
}

/// Permission to use SHA-1 where `RFC 8247` still tolerates it: in HMAC, and in RSA signatures of
/// authentication method 1. Whoever reads the configuration makes it; algorithms carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Legacy(());

impl Legacy {
    /// Permits it.
    #[must_use]
    pub const fn permit() -> Self {
        Self(())
    }
}

/// Where primitives come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Provider {
    /// What the algorithms' names say.
    #[default]
    Real,
    /// The same lengths and no security: see [`null`].
    #[cfg(any(test, feature = "testing"))]
    Null,
}

impl Provider {
    /// A key for `prf`.
    #[must_use]
    pub fn prf(self, prf: Prf, key: &[u8]) -> PrfKey {
        match self {
            Self::Real => PrfKey::new(prf, key),
            #[cfg(any(test, feature = "testing"))]
            Self::Null => PrfKey::null(prf, key),
        }
    }

    /// Our half of a key exchange.
    ///
    /// # Errors
    ///
    /// [`KeyExchangeError::Library`]
    pub fn key_exchange(self, group: Group, rng: &mut Rng) -> Result<KeyExchange, KeyExchangeError> {
        match self {
            Self::Real => KeyExchange::generate(group, rng),
            #[cfg(any(test, feature = "testing"))]
            Self::Null => Ok(KeyExchange::null(group, rng)),
        }
    }

    /// Our half of a key exchange that the peer has begun with this public value.
    ///
    /// # Errors
    ///
    /// [`KeyExchangeError`]
    pub fn answer(self, group: Group, peer: &[u8], rng: &mut Rng) -> Result<Answer, KeyExchangeError> {
        match self {
            Self::Real => Answer::new(group, peer, rng),
            #[cfg(any(test, feature = "testing"))]
            Self::Null => Answer::null(group, peer, rng),
        }
    }

    /// Keys that protect one direction of traffic.
    ///
    /// # Errors
    ///
    /// [`KeyError::Length`]
    pub fn traffic_keys(
        self,
        protection: Protection,
        encr: &[u8],
        integ: &[u8],
    ) -> Result<TrafficKeys, KeyError> {
        match self {
            Self::Real => TrafficKeys::new(protection, encr, integ),
            #[cfg(any(test, feature = "testing"))]
            Self::Null => TrafficKeys::null(protection, encr, integ),
        }
    }

    /// Signs.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Key`], [`SignatureError::Library`]
    pub fn sign(self, key: &PrivateKey, scheme: Scheme, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        match self {
            Self::Real => key.sign(scheme, message),
            #[cfg(any(test, feature = "testing"))]
            Self::Null => Ok(null::signature(key.public(), message)),
        }
    }

    /// Checks that the owner of the key signed `message`.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Key`], [`SignatureError::Mismatch`]
    pub fn verify(
        self,
        key: &PublicKey,
        scheme: Scheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        match self {
            Self::Real => key.verify(scheme, message, signature),
            #[cfg(any(test, feature = "testing"))]
            Self::Null if signature == null::signature(key, message) => Ok(()),
            #[cfg(any(test, feature = "testing"))]
            Self::Null => Err(SignatureError::Mismatch),
        }
    }
}

/// What an IKE SA uses, once negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Suite {
    /// Encryption and integrity of messages.
    pub protection: Protection,
    /// Derives keys and authenticates.
    pub prf: Prf,
    /// The group of the key exchange.
    pub group: Group,
}

impl Suite {
    /// Octets of SK_d, SK_ai, SK_ar, SK_ei, SK_er, SK_pi and SK_pr together.
    // RFC 7296 §2.14: {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+ (SKEYSEED, …)
    #[must_use]
    pub const fn keymat_length(self) -> usize {
        3 * self.prf.key_length()
            + 2 * self.protection.integ_key_length()
            + 2 * self.protection.encr_key_length()
    }
}

/// Octets from hexadecimal digits, in which white space does not count.
#[cfg(test)]
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| u8::try_from(c.to_digit(16).unwrap()).unwrap())
        .collect();
    assert_eq!(digits.len() % 2, 0);
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[cfg(test)]
mod tests;
