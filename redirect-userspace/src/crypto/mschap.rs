//! What MSCHAPv2 computes: responses to a challenge, and keys.
//!
//! All of it is weak. Whoever has seen one conversation tries passwords as fast as DES goes, so it is
//! only used inside something that hides it, and proves first who the server is (IKE_AUTH with the
//! gateway's certificate).
//!
//! # References
//!
//! `RFC 2759 §8`, `RFC 3079 §3`, `RFC 1320` (MD4).

#![forbid(unsafe_code)]

use std::fmt::{Debug, Formatter};

use des::Des;
use des::cipher::{Block, BlockCipherEncrypt as _, KeyInit as _};
use md4::Md4;
use sha1::{Digest as _, Sha1};
use zeroize::{Zeroize as _, Zeroizing};

use crate::secret::Secret;

/// Octets of a challenge.
pub const CHALLENGE_LENGTH: usize = 16;
/// Octets of the response that proves a password.
pub const RESPONSE_LENGTH: usize = 24;
/// Octets of what proves it in return.
pub const AUTHENTICATOR_LENGTH: usize = 20;
/// Most UTF-16 units of a password (`RFC 2759 §4`).
pub const MAX_PASSWORD: usize = 256;

/// What is kept of a password: as good as the password itself.
#[derive(Clone, PartialEq, Eq)]
pub struct NtHash(Secret);

impl NtHash {
    /// That of a password; `None` when it is longer than there can be.
    #[must_use]
    pub fn new(password: &str) -> Option<Self> {
        let mut octets = Zeroizing::new(Vec::with_capacity(2 * password.len()));
        for unit in password.encode_utf16() {
            octets.extend_from_slice(&unit.to_le_bytes());
        }
        (octets.len() <= 2 * MAX_PASSWORD).then(|| Self(md4(&octets)))
    }

    /// One that nobody has a password for.
    #[must_use]
    pub fn of_nobody() -> Self {
        Self(Secret::new(vec![0; 16]))
    }

    /// The octets, for whoever tells two configurations from each other.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    fn hash(&self) -> Secret {
        md4(self.0.expose())
    }
}

impl Debug for NtHash {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("NtHash(…)")
    }
}

/// What both sides have said, and the user's name without a domain.
#[derive(Clone, Copy, Debug)]
pub struct Challenges<'a> {
    /// The server's.
    pub server: &'a [u8; CHALLENGE_LENGTH],
    /// The client's.
    pub client: &'a [u8; CHALLENGE_LENGTH],
    /// Whose password it is about.
    pub user: &'a str,
}

impl Challenges<'_> {
    // RFC 2759 §8.2: ChallengeHash
    fn hash(&self) -> [u8; 8] {
        let digest = sha1(&[self.client, self.server, self.user.as_bytes()]);
        let mut hash = [0; 8];
        for (place, octet) in hash.iter_mut().zip(digest) {
            *place = octet;
        }
        hash
    }

    /// The response that proves that its sender knows the password.
    // RFC 2759 §8.1 and §8.5: the hash is the key of three ciphers, with two octets for the last one.
    #[must_use]
    pub fn response(&self, password: &NtHash) -> [u8; RESPONSE_LENGTH] {
        let challenge = self.hash();
        let mut key = Zeroizing::new([0_u8; 21]);
        for (place, octet) in key.iter_mut().zip(password.0.expose()) {
            *place = *octet;
        }
        let mut response = [0; RESPONSE_LENGTH];
        for (place, key) in response.chunks_exact_mut(8).zip(key.chunks_exact(7)) {
            place.copy_from_slice(&des(key, challenge));
        }
        response
    }

    /// What proves to the client that the server knows its password.
    // RFC 2759 §8.7: GenerateAuthenticatorResponse
    #[must_use]
    pub fn authenticator(
        &self,
        password: &NtHash,
        response: &[u8; RESPONSE_LENGTH],
    ) -> [u8; AUTHENTICATOR_LENGTH] {
        let digest = sha1(&[password.hash().expose(), response, SIGNING]);
        sha1(&[&digest, &self.hash(), ITERATION])
    }
}

/// The keys of both directions, that of the client first: what MSK begins with.
// RFC 3079 §3.3 and §3.4, with keys of 128 bits.
#[must_use]
pub fn keys(password: &NtHash, response: &[u8; RESPONSE_LENGTH]) -> Secret {
    let master = Zeroizing::new(sha1(&[password.hash().expose(), response, MASTER]));
    let (master, _) = master.split_at(KEY_LENGTH);
    let key = |label: &[u8]| Zeroizing::new(sha1(&[master, &[0; PAD_LENGTH], label, &[0xf2; PAD_LENGTH]]));
    let (client, server) = (key(FROM_CLIENT), key(FROM_SERVER));
    let (client, server) = (client.split_at(KEY_LENGTH).0, server.split_at(KEY_LENGTH).0);
    Secret::new([client, server].concat())
}

fn md4(octets: &[u8]) -> Secret {
    let mut digest: [u8; 16] = Md4::digest(octets).into();
    let secret = Secret::from(&digest[..]);
    digest.zeroize();
    secret
}

fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut hash = Sha1::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// A block under a key of seven octets, which get a bit of parity each.
fn des(key: &[u8], block: [u8; 8]) -> [u8; 8] {
    let mut bits = Zeroizing::new([0_u8; 8]);
    for (place, octet) in bits.iter_mut().skip(1).zip(key) {
        *place = *octet;
    }
    let number = u64::from_be_bytes(*bits);
    let mut key = Zeroizing::new([0_u8; 8]);
    for (place, shift) in key.iter_mut().zip([49_u32, 42, 35, 28, 21, 14, 7, 0]) {
        let [.., seven] = (number >> shift).to_be_bytes();
        *place = seven << 1;
    }
    let mut block = Block::<Des>::from(block);
    Des::new((&*key).into()).encrypt_block(&mut block);
    block.into()
}

const KEY_LENGTH: usize = 16;
const PAD_LENGTH: usize = 40;
const SIGNING: &[u8] = b"Magic server to client signing constant";
const ITERATION: &[u8] = b"Pad to make it do more than one iteration";
const MASTER: &[u8] = b"This is the MPPE Master Key";
const FROM_CLIENT: &[u8] =
    b"On the client side, this is the send key; on the server side, it is the receive key.";
const FROM_SERVER: &[u8] =
    b"On the client side, this is the receive key; on the server side, it is the send key.";

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: [u8; 16] =
        [0x5b, 0x5d, 0x7c, 0x7d, 0x7b, 0x3f, 0x2f, 0x3e, 0x3c, 0x2c, 0x60, 0x21, 0x32, 0x26, 0x26, 0x28];
    const CLIENT: [u8; 16] =
        [0x21, 0x40, 0x23, 0x24, 0x25, 0x5e, 0x26, 0x2a, 0x28, 0x29, 0x5f, 0x2b, 0x3a, 0x33, 0x7c, 0x7e];

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02X}")).collect()
    }

    // test of RFC 2759 §9.2
    #[test]
    fn the_example_of_the_rfc_comes_out() {
        let challenges = Challenges { server: &SERVER, client: &CLIENT, user: "User" };
        let password = NtHash::new("clientPass").unwrap();

        assert_eq!(hex(&challenges.hash()), "D02E4386BCE91226");
        assert_eq!(hex(password.expose()), "44EBBA8D5312B8D611474411F56989AE");
        let response = challenges.response(&password);
        assert_eq!(hex(&response), "82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF");
        assert_eq!(hex(password.hash().expose()), "41C00C584BD2D91C4017A2A12FA59F3F");
        assert_eq!(
            hex(&challenges.authenticator(&password, &response)),
            "407A5589115FD0D6209F510FE9C04566932CDA56"
        );
    }

    // test of RFC 3079 §3.5.3
    #[test]
    fn the_keys_of_the_rfc_come_out() {
        let challenges = Challenges { server: &SERVER, client: &CLIENT, user: "User" };
        let password = NtHash::new("clientPass").unwrap();
        let response = challenges.response(&password);

        let keys = keys(&password, &response);

        let (client, server) = keys.expose().split_at(16);
        assert_eq!(hex(server), "8B7CDC149B993A1BA118CB153F56DCCB");
        assert_eq!(client.len(), 16);
        assert_ne!(client, server);
    }

    #[test]
    fn a_password_is_text_of_any_language_and_has_an_end() {
        // U+1F511 takes two UTF-16 units.
        assert_ne!(NtHash::new("pässword\u{1f511}"), NtHash::new("password"));
        assert!(NtHash::new(&"\u{1f511}".repeat(128)).is_some());
        assert_eq!(NtHash::new(&"\u{1f511}".repeat(129)), None);
        assert_eq!(format!("{:?}", NtHash::new("x")), "Some(NtHash(…))");
    }

    #[test]
    fn a_key_of_seven_octets_is_spread_over_eight() {
        // FIPS 81, table B1: the key 0123456789abcdef without its bits of parity.
        let block = des(&[0x00, 0x45, 0x13, 0x38, 0x95, 0x73, 0x77], *b"Now is t");

        assert_eq!(hex(&block), "3FA40E8A984D4815");
    }
}
