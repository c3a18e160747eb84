//! Encryption algorithms, and the keys of one direction of traffic.
//!
//! # References
//!
//! `RFC 5282` (AES-GCM in IKE), `RFC 4106` (in ESP), `RFC 7634` (ChaCha20-Poly1305), `RFC 3602`
//! (AES-CBC), `RFC 8247 §2.1`.

#![forbid(unsafe_code)]

mod seal;

use std::fmt::{Debug, Formatter};

use super::integ::{Integ, IntegError};
use crate::rng::Rng;
use crate::secret::Secret;
pub use seal::{Around, CipherError, Opener, Sealer};

/// Octets of the salt at the end of an AEAD's key material: the first part of every nonce.
const SALT_LENGTH: usize = 4;
/// Octets of the IV of an AEAD: the rest of the nonce.
const AEAD_IV_LENGTH: usize = 8;
/// Octets of the tag of an AEAD.
const TAG_LENGTH: usize = 16;
/// Octets of a block of AES.
const BLOCK_LENGTH: usize = 16;

/// An encryption algorithm: a transform of type 1 with its key length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encr {
    /// ENCR_AES_CBC with 128 bits.
    AesCbc128,
    /// ENCR_AES_CBC with 256 bits.
    AesCbc256,
    /// ENCR_AES_GCM_16 with 128 bits.
    AesGcm128,
    /// ENCR_AES_GCM_16 with 256 bits.
    AesGcm256,
    /// ENCR_CHACHA20_POLY1305
    ChaCha20Poly1305,
}

impl Encr {
    /// The algorithm with this transform ID and Key Length attribute (bits).
    // RFC 7296 §3.3.5: a cipher with a fixed key length has no such attribute.
    #[must_use]
    pub const fn from_transform(id: u16, key_bits: Option<u16>) -> Option<Self> {
        match (id, key_bits) {
            (12, Some(128)) => Some(Self::AesCbc128),
            (12, Some(256)) => Some(Self::AesCbc256),
            (20, Some(128)) => Some(Self::AesGcm128),
            (20, Some(256)) => Some(Self::AesGcm256),
            (28, None) => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }

    /// Its transform ID.
    #[must_use]
    pub const fn transform(self) -> u16 {
        match self {
            Self::AesCbc128 | Self::AesCbc256 => 12,
            Self::AesGcm128 | Self::AesGcm256 => 20,
            Self::ChaCha20Poly1305 => 28,
        }
    }

    /// Its Key Length attribute (bits), if it has one.
    #[must_use]
    pub const fn key_bits(self) -> Option<u16> {
        match self {
            Self::AesCbc128 | Self::AesGcm128 => Some(128),
            Self::AesCbc256 | Self::AesGcm256 => Some(256),
            Self::ChaCha20Poly1305 => None,
        }
    }

    /// Whether it protects integrity as well.
    #[must_use]
    pub const fn is_aead(self) -> bool {
        match self {
            Self::AesCbc128 | Self::AesCbc256 => false,
            Self::AesGcm128 | Self::AesGcm256 | Self::ChaCha20Poly1305 => true,
        }
    }

    /// Octets of key material: the key, and for an AEAD the salt after it.
    #[must_use]
    pub const fn key_length(self) -> usize {
        match self {
            Self::AesCbc128 => 16,
            Self::AesCbc256 => 32,
            Self::AesGcm128 => 16 + SALT_LENGTH,
            Self::AesGcm256 | Self::ChaCha20Poly1305 => 32 + SALT_LENGTH,
        }
    }

    /// Octets of the IV in each message.
    #[must_use]
    pub const fn iv_length(self) -> usize {
        if self.is_aead() { AEAD_IV_LENGTH } else { BLOCK_LENGTH }
    }

    /// What the length of the plaintext, padding included, is a multiple of (octets).
    #[must_use]
    pub const fn block_length(self) -> usize {
        if self.is_aead() { 1 } else { BLOCK_LENGTH }
    }
}

/// Encryption and integrity together, in one of the two ways that are sound: an AEAD alone, or a
/// block cipher with an HMAC over what it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Protection {
    encr: Encr,
    integ: Option<Integ>,
}

impl Protection {
    /// The two together.
    ///
    /// # Errors
    ///
    /// [`ProtectionError`]
    // RFC 5282 §8: an AEAD goes without an integrity transform; everything else needs one.
    pub const fn new(encr: Encr, integ: Option<Integ>) -> Result<Self, ProtectionError> {
        match (encr.is_aead(), integ.is_some()) {
            (true, true) => Err(ProtectionError::Surplus(encr)),
            (false, false) => Err(ProtectionError::Missing(encr)),
            (true, false) | (false, true) => Ok(Self { encr, integ }),
        }
    }

    /// The encryption algorithm.
    #[must_use]
    pub const fn encr(self) -> Encr {
        self.encr
    }

    /// The integrity algorithm, beside a cipher that needs one.
    #[must_use]
    pub const fn integ(self) -> Option<Integ> {
        self.integ
    }

    /// Octets of key material for encryption (SK_e).
    #[must_use]
    pub const fn encr_key_length(self) -> usize {
        self.encr.key_length()
    }

    /// Octets of key material for integrity (SK_a); none for an AEAD.
    #[must_use]
    pub const fn integ_key_length(self) -> usize {
        match self.integ {
            Some(integ) => integ.key_length(),
            None => 0,
        }
    }

    /// Octets of the IV in each message.
    #[must_use]
    pub const fn iv_length(self) -> usize {
        self.encr.iv_length()
    }

    /// What the length of the plaintext, padding included, is a multiple of (octets).
    #[must_use]
    pub const fn block_length(self) -> usize {
        self.encr.block_length()
    }

    /// Octets of the integrity check value.
    #[must_use]
    pub const fn icv_length(self) -> usize {
        match self.integ {
            Some(integ) => integ.icv_length(),
            None => TAG_LENGTH,
        }
    }

    /// Writes an IV into `iv`: `count`, which must never come twice with one key, for an AEAD;
    /// something nobody can foresee for CBC.
    ///
    /// # Errors
    ///
    /// [`CipherError::IvLength`]
    pub fn write_iv(self, count: u64, rng: &mut Rng, iv: &mut [u8]) -> Result<(), CipherError> {
        if iv.len() != self.iv_length() {
            return Err(CipherError::IvLength { encr: self.encr, length: iv.len() });
        }
        if self.encr.is_aead() {
            for (place, octet) in iv.iter_mut().zip(count.to_be_bytes()) {
                *place = octet;
            }
        } else {
            rng.fill(iv);
        }
        Ok(())
    }
}

/// Why two algorithms do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtectionError {
    /// An AEAD with an integrity algorithm.
    #[error("{0:?} protects integrity itself and goes without an integrity algorithm")]
    Surplus(Encr),
    /// A cipher without one.
    #[error("{0:?} needs an integrity algorithm beside it")]
    Missing(Encr),
}

/// The keys of one direction of traffic in the form in which they are kept: one allocation, as
/// long as the keys. [`TrafficKeys::sealer`] and [`TrafficKeys::opener`] prepare them for work.
#[derive(Clone, PartialEq, Eq)]
pub struct TrafficKeys {
    protection: Protection,
    #[cfg(any(test, feature = "testing"))]
    is_null: bool,
    /// The key of the cipher with its salt, then that of the HMAC.
    octets: Secret,
}

impl TrafficKeys {
    /// Keeps the key material of both algorithms; `integ` is empty for an AEAD.
    ///
    /// # Errors
    ///
    /// [`KeyError::Length`]
    pub fn new(protection: Protection, encr: &[u8], integ: &[u8]) -> Result<Self, KeyError> {
        let lengths = [
            ("encryption", protection.encr_key_length(), encr.len()),
            ("integrity", protection.integ_key_length(), integ.len()),
        ];
        for (what, need, have) in lengths {
            if need != have {
                return Err(KeyError::Length { what, need, have });
            }
        }
        let mut octets = Vec::with_capacity(encr.len() + integ.len());
        octets.extend_from_slice(encr);
        octets.extend_from_slice(integ);
        Ok(Self {
            protection,
            #[cfg(any(test, feature = "testing"))]
            is_null: false,
            octets: Secret::new(octets),
        })
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn null(protection: Protection, encr: &[u8], integ: &[u8]) -> Result<Self, KeyError> {
        Self::new(protection, encr, integ).map(|keys| Self { is_null: true, ..keys })
    }

    /// Whose keys they are.
    #[must_use]
    pub const fn protection(&self) -> Protection {
        self.protection
    }

    /// The key material: that of the cipher, and that of the HMAC. For an executor that computes
    /// elsewhere, such as the kernel.
    #[must_use]
    pub fn expose(&self) -> (&[u8], &[u8]) {
        let at = self.protection.encr_key_length();
        self.octets.expose().split_at_checked(at).unwrap_or_default()
    }

    /// What seals with these keys.
    ///
    /// # Errors
    ///
    /// [`KeyError::Library`]
    pub fn sealer(&self) -> Result<Sealer, KeyError> {
        #[cfg(any(test, feature = "testing"))]
        if self.is_null {
            return Ok(Sealer::null(self.protection));
        }
        let (encr, integ) = self.expose();
        Sealer::new(self.protection, encr, integ)
    }

    /// What opens with these keys.
    ///
    /// # Errors
    ///
    /// [`KeyError::Library`]
    pub fn opener(&self) -> Result<Opener, KeyError> {
        #[cfg(any(test, feature = "testing"))]
        if self.is_null {
            return Ok(Opener::null(self.protection));
        }
        let (encr, integ) = self.expose();
        Opener::new(self.protection, encr, integ)
    }
}

impl Debug for TrafficKeys {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "TrafficKeys({:?}, …)", self.protection)
    }
}

/// Why keys cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Too long or too short.
    #[error("{need} octets of {what} key are needed, not {have}")]
    Length {
        /// What for.
        what: &'static str,
        /// Octets that are needed.
        need: usize,
        /// Octets there are.
        have: usize,
    },
    /// The library refused them, which it does when it is out of memory.
    #[error("the cryptographic library refused a key")]
    Library,
}

impl From<IntegError> for KeyError {
    fn from(error: IntegError) -> Self {
        match error {
            IntegError::KeyLength { integ, length } => {
                Self::Length { what: "integrity", need: integ.key_length(), have: length }
            }
            IntegError::IcvLength { .. } | IntegError::Mismatch => Self::Library,
        }
    }
}

#[cfg(test)]
mod tests;
