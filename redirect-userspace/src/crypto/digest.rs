//! Hashes of public data.

#![forbid(unsafe_code)]

use sha1::{Digest as _, Sha1};
use sha2::Sha256;

/// Octets of a SHA-1 hash.
pub const SHA1_LENGTH: usize = 20;
/// Octets of a SHA-256 hash.
pub const SHA256_LENGTH: usize = 32;

/// SHA-1 of `parts`, one after the other. Not for anything that must resist collisions: IKE uses
/// it to compare addresses (`RFC 7296 §2.23`) and to name CA keys (`RFC 7296 §3.7`).
#[must_use]
pub fn sha1(parts: &[&[u8]]) -> [u8; SHA1_LENGTH] {
    let mut hash = Sha1::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// SHA-256 of `parts`, one after the other.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; SHA256_LENGTH] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha1_of_parts_is_that_of_the_whole() {
        // FIPS 180-1, appendix A.
        let expected = [
            0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a, 0xba, 0x3e, 0x25, 0x71, 0x78, 0x50, 0xc2, 0x6c,
            0x9c, 0xd0, 0xd8, 0x9d,
        ];

        assert_eq!(sha1(&[b"abc"]), expected);
        assert_eq!(sha1(&[b"a", b"", b"bc"]), expected);
    }

    #[test]
    fn sha256_of_parts_is_that_of_the_whole() {
        // FIPS 180-2, appendix B.1.
        let expected = [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea];

        assert_eq!(sha256(&[b"abc"])[..8], expected);
        assert_eq!(sha256(&[b"a", b"", b"bc"])[..8], expected);
    }
}
