//! Keys and passwords.
//!
//! # Invariants
//!
//! - The octets are zeroed when the value is dropped, and are never moved to a longer buffer.
//! - `Debug` does not show them, and there is no `Display`.
//! - Two secrets are compared in a time that depends on their lengths only.

#![forbid(unsafe_code)]

use std::fmt::{Debug, Formatter};

use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

/// Octets that nobody may see.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes `octets` over. Their unused capacity is given up without a copy left behind.
    #[must_use]
    pub fn new(mut octets: Vec<u8>) -> Self {
        let kept: Box<[u8]> = octets.as_slice().into();
        octets.zeroize();
        Self(kept)
    }

    /// The octets, for whoever computes with them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The octets, for whoever encrypts or decrypts them where they are.
    pub fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// How many octets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&[u8]> for Secret {
    fn from(octets: &[u8]) -> Self {
        Self(octets.into())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        is_same(&self.0, &other.0)
    }
}

impl Eq for Secret {}

impl Debug for Secret {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Compares octets in a time that depends on their lengths only.
#[must_use]
pub fn is_same(first: &[u8], second: &[u8]) -> bool {
    first.ct_eq(second).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new(b"hunter2".to_vec());

        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(secret.expose(), b"hunter2");
    }

    #[test]
    fn secrets_are_equal_when_all_their_octets_are() {
        let secret = Secret::from(&b"abc"[..]);

        assert_eq!(secret, Secret::new(b"abc".to_vec()));
        assert_ne!(secret, Secret::new(b"abd".to_vec()));
        assert_ne!(secret, Secret::new(b"ab".to_vec()));
    }
}
