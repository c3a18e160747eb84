//! Stateless cookies: proof that a source address is where somebody is.
//!
//! The XDP program and the IKE gateway make them alike, so that each knows those of the other again.
//!
//! # Picture
//!
//! ```text
//! cookie │ number of the key │ 0 │ SipHash-2-4(key, source address, SPIi, first 16 octets of Ni) │
//!        │ 1 octet           │ 1 │ 8 octets                                                       │
//! ```
//!
//! The address is what a cookie is about; SPIi and nonce are there for the reasons that `RFC 7296 §2.6`
//! gives. A nonce has at least 16 octets, which is more than enough to tell two apart.
//!
//! # References
//!
//! `RFC 7296 §2.6`; J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF" (2012).

use core::fmt::{Debug, Formatter};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Octets of a cookie.
pub const LENGTH: usize = 10;
/// Octets of a nonce that count.
pub const NONCE: usize = 16;

/// A key. Which one a cookie was made with is in its first octet.
#[derive(Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Key {
    /// The key's halves.
    pub halves: [u64; 2],
    /// Which key of all it is.
    pub number: u64,
}

/// What a cookie is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Where the request comes from; an IPv4 address takes the first four octets.
    pub source: [u8; 16],
    /// The initiator's SPI.
    pub spi_i: [u8; 8],
    /// The first octets of its nonce.
    pub nonce: [u8; NONCE],
}

impl Debug for Key {
    /// Whoever sees the halves could make cookies.
    fn fmt(&self, f: &mut Formatter<'_>) -> core::fmt::Result {
        write!(f, "Key({})", self.number)
    }
}

impl Key {
    /// The octet of a cookie that names the key.
    #[inline(always)]
    #[must_use]
    pub const fn name(&self) -> u8 {
        #[expect(clippy::cast_possible_truncation, reason = "two keys at a time are told apart by it")]
        let name = self.number as u8;
        name
    }

    /// The cookie for a sender.
    #[inline(always)]
    #[must_use]
    pub const fn cookie(&self, sender: &Sender) -> [u8; LENGTH] {
        let [a, b, c, d, e, f, g, h] = self.code(sender).to_le_bytes();
        [self.name(), 0, a, b, c, d, e, f, g, h]
    }

    /// What only who knows the key can say of a sender.
    #[inline(always)]
    #[must_use]
    pub const fn code(&self, sender: &Sender) -> u64 {
        let source = u128::from_le_bytes(sender.source);
        let nonce = u128::from_le_bytes(sender.nonce);
        #[expect(clippy::cast_possible_truncation, reason = "takes the halves apart")]
        let words = [
            source as u64,
            (source >> 64) as u64,
            u64::from_le_bytes(sender.spi_i),
            nonce as u64,
            (nonce >> 64) as u64,
        ];
        let [first, second] = self.halves;
        let mut state = [
            first ^ 0x736f_6d65_7073_6575,
            second ^ 0x646f_7261_6e64_6f6d,
            first ^ 0x6c79_6765_6e65_7261,
            second ^ 0x7465_6462_7974_6573,
        ];
        let [a, b, c, d, e] = words;
        state = absorb(state, a);
        state = absorb(state, b);
        state = absorb(state, c);
        state = absorb(state, d);
        state = absorb(state, e);
        // The last word says how many octets there were.
        state = absorb(state, 40 << 56);
        let [v0, v1, v2, v3] = state;
        let mut state = [v0, v1, v2 ^ 0xff, v3];
        state = round(round(round(round(state))));
        let [v0, v1, v2, v3] = state;
        v0 ^ v1 ^ v2 ^ v3
    }
}

#[inline(always)]
const fn absorb(state: [u64; 4], word: u64) -> [u64; 4] {
    let [v0, v1, v2, v3] = state;
    let [v0, v1, v2, v3] = round(round([v0, v1, v2, v3 ^ word]));
    [v0 ^ word, v1, v2, v3]
}

#[inline(always)]
const fn round(state: [u64; 4]) -> [u64; 4] {
    let [mut v0, mut v1, mut v2, mut v3] = state;
    v0 = v0.wrapping_add(v1);
    v1 = v1.rotate_left(13) ^ v0;
    v0 = v0.rotate_left(32);
    v2 = v2.wrapping_add(v3);
    v3 = v3.rotate_left(16) ^ v2;
    v0 = v0.wrapping_add(v3);
    v3 = v3.rotate_left(21) ^ v0;
    v2 = v2.wrapping_add(v1);
    v1 = v1.rotate_left(17) ^ v2;
    v2 = v2.rotate_left(32);
    [v0, v1, v2, v3]
}

const _: () = assert!(size_of::<Key>() == 24 && align_of::<Key>() == 8);

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    const SENDER: Sender = Sender {
        source: *b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f",
        spi_i: *b"\x10\x11\x12\x13\x14\x15\x16\x17",
        nonce: *b"\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x20\x21\x22\x23\x24\x25\x26\x27",
    };

    fn key() -> Key {
        Key { halves: [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908], number: 0x105 }
    }

    /// SipHash-2-4 of the octets 0 to 39 with the key of the octets 0 to 15: what another
    /// implementation makes of it, which gives the vector of the paper's appendix A as well.
    #[test]
    fn the_code_is_siphash_of_forty_octets() {
        assert_eq!(key().code(&SENDER).to_le_bytes(), [0xd0, 0xa7, 0x04, 0x53, 0x6b, 0xa9, 0x3e, 0x0e]);
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(std::format!("{:?}", key()), "Key(261)");
    }

    #[test]
    fn every_part_counts() {
        let cookie = key().cookie(&SENDER);
        assert_eq!(&cookie[..2], &[5, 0], "its key, and nothing");

        for at in 0..16 {
            let mut other = SENDER;
            other.source[at] ^= 1;
            assert_ne!(key().cookie(&other), cookie);
            let mut other = SENDER;
            other.nonce[at] ^= 0x80;
            assert_ne!(key().cookie(&other), cookie);
        }
        for at in 0..8 {
            let mut other = SENDER;
            other.spi_i[at] ^= 1;
            assert_ne!(key().cookie(&other), cookie);
        }
        assert_ne!(Key { halves: [1, 2], ..key() }.code(&SENDER), key().code(&SENDER));
    }
}
