//! MD5, by which RADIUS hides and signs: there is nothing else in it.
//!
//! What is signed by plain MD5 can be forged by who chooses a part of it, so nothing that lets
//! somebody in is believed without its HMAC.

use hmac::digest::Key;
use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::{Digest as _, Md5};

use crate::secret::Secret;

/// Octets of a hash, and of a code.
pub(crate) const MD5_LENGTH: usize = 16;

/// MD5 of `parts`, one after the other.
pub(super) fn md5(parts: &[&[u8]]) -> [u8; MD5_LENGTH] {
    let mut hash = Md5::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// HMAC-MD5 of `parts`, one after the other.
pub(super) fn hmac_md5(secret: &Secret, parts: &[&[u8]]) -> [u8; MD5_LENGTH] {
    let mut block = Key::<Hmac<Md5>>::default();
    // RFC 2104 §2: a key that is longer than a block is hashed first.
    let hashed;
    let key = if secret.len() <= block.len() {
        secret.expose()
    } else {
        hashed = Secret::from(&md5(&[secret.expose()])[..]);
        hashed.expose()
    };
    block.iter_mut().zip(key).for_each(|(place, octet)| *place = *octet);
    let mut mac = Hmac::<Md5>::new(&block);
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hex;

    // RFC 2202 §2, cases 1, 2 and 6
    #[test]
    fn the_code_is_that_of_the_published_cases() {
        for (key, data, code) in [
            (vec![0x0b; 16], &b"Hi There"[..], "9294727a3638bb1c13f48ef8158bfc9d"),
            (b"Jefe".to_vec(), b"what do ya want for nothing?", "750c783e6ab0b503eaa86e310a5db738"),
            (
                vec![0xaa; 80],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd",
            ),
        ] {
            let (first, second) = data.split_at(3);

            assert_eq!(hmac_md5(&Secret::new(key), &[first, second])[..], hex(code));
        }
    }

    // RFC 1321 §A.5
    #[test]
    fn the_hash_of_parts_is_that_of_the_whole() {
        assert_eq!(md5(&[b"message", b" ", b"digest"])[..], hex("f96b697d7cb7938d525a2f31aaf161d0"));
    }
}
