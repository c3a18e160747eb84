//! Integrity check values: truncated HMACs.
//!
//! # References
//!
//! `RFC 4868 §2.1.1`, `RFC 2404`, `RFC 8247 §2.3`.

#![forbid(unsafe_code)]

use std::fmt::{Debug, Formatter};

use super::Legacy;
use super::hmac::Keyed;
use crate::secret;

/// An integrity algorithm: a transform of type 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Integ {
    /// AUTH_HMAC_SHA1_96. Tolerated (MUST- in `RFC 8247 §2.3`).
    HmacSha1_96(Legacy),
    /// AUTH_HMAC_SHA2_256_128
    HmacSha256_128,
    /// AUTH_HMAC_SHA2_384_192
    HmacSha384_192,
    /// AUTH_HMAC_SHA2_512_256
    HmacSha512_256,
}

impl Integ {
    /// The algorithm with this transform ID; `None` when there is none, or none without permission.
    #[must_use]
    pub const fn from_transform(id: u16, legacy: Option<Legacy>) -> Option<Self> {
        match (id, legacy) {
            (2, Some(legacy)) => Some(Self::HmacSha1_96(legacy)),
            (12, _) => Some(Self::HmacSha256_128),
            (13, _) => Some(Self::HmacSha384_192),
            (14, _) => Some(Self::HmacSha512_256),
            _ => None,
        }
    }

    /// Its transform ID.
    #[must_use]
    pub const fn transform(self) -> u16 {
        match self {
            Self::HmacSha1_96(_) => 2,
            Self::HmacSha256_128 => 12,
            Self::HmacSha384_192 => 13,
            Self::HmacSha512_256 => 14,
        }
    }

    /// Octets of a key.
    #[must_use]
    pub const fn key_length(self) -> usize {
        match self {
            Self::HmacSha1_96(_) => 20,
            Self::HmacSha256_128 => 32,
            Self::HmacSha384_192 => 48,
            Self::HmacSha512_256 => 64,
        }
    }

    /// Octets of an integrity check value.
    #[must_use]
    pub const fn icv_length(self) -> usize {
        match self {
            Self::HmacSha1_96(_) => 12,
            Self::HmacSha256_128 => 16,
            Self::HmacSha384_192 => 24,
            Self::HmacSha512_256 => 32,
        }
    }
}

/// A key of an integrity algorithm, ready to be used many times.
#[derive(Clone)]
pub struct IntegKey {
    integ: Integ,
    keyed: Keyed,
}

impl IntegKey {
    /// Prepares `key`.
    ///
    /// # Errors
    ///
    /// [`IntegError::KeyLength`]
    pub fn new(integ: Integ, key: &[u8]) -> Result<Self, IntegError> {
        if key.len() != integ.key_length() {
            return Err(IntegError::KeyLength { integ, length: key.len() });
        }
        let keyed = match integ {
            Integ::HmacSha1_96(_) => Keyed::sha1(key),
            Integ::HmacSha256_128 => Keyed::sha256(key),
            Integ::HmacSha384_192 => Keyed::sha384(key),
            Integ::HmacSha512_256 => Keyed::sha512(key),
        };
        Ok(Self { integ, keyed })
    }

    /// Whose key it is.
    #[must_use]
    pub const fn integ(&self) -> Integ {
        self.integ
    }

    /// Writes the check value of `parts`, taken one after the other, into `icv`.
    ///
    /// # Errors
    ///
    /// [`IntegError::IcvLength`]
    pub fn sign(&self, parts: &[&[u8]], icv: &mut [u8]) -> Result<(), IntegError> {
        if icv.len() != self.integ.icv_length() {
            return Err(IntegError::IcvLength { integ: self.integ, length: icv.len() });
        }
        for (place, octet) in icv.iter_mut().zip(self.keyed.code(parts).as_slice()) {
            *place = *octet;
        }
        Ok(())
    }

    /// Checks the value of `parts`, in a time that tells nothing of the expected value.
    ///
    /// # Errors
    ///
    /// [`IntegError::IcvLength`], [`IntegError::Mismatch`]
    pub fn verify(&self, parts: &[&[u8]], icv: &[u8]) -> Result<(), IntegError> {
        if icv.len() != self.integ.icv_length() {
            return Err(IntegError::IcvLength { integ: self.integ, length: icv.len() });
        }
        let code = self.keyed.code(parts);
        let expected = code.as_slice().get(..self.integ.icv_length()).unwrap_or_default();
        if secret::is_same(expected, icv) { Ok(()) } else { Err(IntegError::Mismatch) }
    }
}

impl Debug for IntegKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "IntegKey({:?}, …)", self.integ)
    }
}

/// Why there is no integrity check value, or why one is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntegError {
    /// A key that is too long or too short.
    #[error("{integ:?} takes keys of {} octets, not {length}", integ.key_length())]
    KeyLength {
        /// The algorithm.
        integ: Integ,
        /// Octets there are.
        length: usize,
    },
    /// A check value that is too long or too short.
    #[error("a check value of {integ:?} has {} octets, not {length}", integ.icv_length())]
    IcvLength {
        /// The algorithm.
        integ: Integ,
        /// Octets there are.
        length: usize,
    },
    /// The data or its check value was changed, or the key is another.
    #[error("the check value is that of other data or another key")]
    Mismatch,
}

#[cfg(test)]
mod tests;
