//! HMAC with its pads prepared: what PRFs and integrity checks share.
//!
//! A key that is used more than once costs two compressions less each time.
//!
//! # References
//!
//! `RFC 2104`, `RFC 4868`.

#![forbid(unsafe_code)]

use hmac::digest::Digest as _;
use hmac::{Hmac, KeyInit as _};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use zeroize::Zeroize as _;

/// Octets of the longest code.
pub(super) const MAX_LENGTH: usize = 64;

/// An HMAC key, ready for use.
#[derive(Clone)]
pub(super) enum Keyed {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha384(Hmac<Sha384>),
    Sha512(Hmac<Sha512>),
}

/// Prepares a key; a macro, since the bounds of the generic function would be longer than it.
macro_rules! prepare {
    ($name:ident, $variant:ident, $hash:ty) => {
        pub(super) fn $name(key: &[u8]) -> Self {
            // RFC 2104 §2: a key that is longer than a block is hashed first.
            let mut block = hmac::digest::Key::<Hmac<$hash>>::default();
            if key.len() <= block.len() {
                copy(key, &mut block);
            } else {
                let mut hash = <$hash>::digest(key);
                copy(&hash, &mut block);
                hash.zeroize();
            }
            let keyed = Self::$variant(Hmac::new(&block));
            block.zeroize();
            keyed
        }
    };
}

impl Keyed {
    prepare!(sha1, Sha1, Sha1);
    prepare!(sha256, Sha256, Sha256);
    prepare!(sha384, Sha384, Sha384);
    prepare!(sha512, Sha512, Sha512);

    /// The code of `parts`, one after the other.
    pub(super) fn code(&self, parts: &[&[u8]]) -> Code {
        match self {
            Self::Sha1(keyed) => code(keyed.clone(), parts),
            Self::Sha256(keyed) => code(keyed.clone(), parts),
            Self::Sha384(keyed) => code(keyed.clone(), parts),
            Self::Sha512(keyed) => code(keyed.clone(), parts),
        }
    }
}

/// Copies as much as both have.
fn copy(from: &[u8], to: &mut [u8]) {
    for (place, octet) in to.iter_mut().zip(from) {
        *place = *octet;
    }
}

fn code(mut mac: impl hmac::Mac, parts: &[&[u8]]) -> Code {
    for part in parts {
        mac.update(part);
    }
    let mut output = mac.finalize().into_bytes();
    let code = Code::new(&output);
    output.zeroize();
    code
}

/// What an HMAC gives: up to [`MAX_LENGTH`] octets, zeroed on drop.
#[derive(Clone)]
pub(super) struct Code {
    octets: [u8; MAX_LENGTH],
    length: usize,
}

impl Code {
    /// Takes the first [`MAX_LENGTH`] octets of `from`.
    pub(super) fn new(from: &[u8]) -> Self {
        let mut octets = [0; MAX_LENGTH];
        copy(from, &mut octets);
        Self { octets, length: from.len().min(MAX_LENGTH) }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        self.octets.zeroize();
    }
}
