//! A provider without any security, so that a fuzzer or a simulation gets through a handshake
//! without paying for it, and through the integrity check with whatever it made up.
//!
//! Lengths are those of the algorithms that are named. Both sides of a key exchange arrive at the
//! same secret, and a PRF and a signature are something else for another key or other data, so that
//! machines built on it agree, and notice when they do not. Nothing is encrypted, check values are zero,
//! and [`super::cipher::Opener`] takes any.

#![forbid(unsafe_code)]

use super::hmac::Code;
use super::kex::{Answer, Group, KeyExchange, KeyExchangeError};
use super::sign::PublicKey;
use crate::rng::Rng;
use crate::secret::Secret;

/// A key of a PRF that only mixes.
#[derive(Clone, Debug)]
pub(super) struct Mixer(u64);

impl Mixer {
    pub(super) fn new(key: &[u8]) -> Self {
        Self(mix(BASIS, key))
    }

    /// `length` octets that depend on the key and on all parts.
    pub(super) fn code(&self, length: usize, parts: &[&[u8]]) -> Code {
        let mut state = parts.iter().fold(self.0, |state, part| mix(state, part));
        let octets: Vec<u8> = (0..length)
            .map(|_| {
                state = mix(state, &[0]);
                state.to_be_bytes()[0]
            })
            .collect();
        Code::new(&octets)
    }
}

/// Our half of an exchange in which the public value is random, and the secret is made of both
/// public values in an order both sides agree on.
pub(super) struct Exchange {
    pub(super) group: Group,
    pub(super) public: Box<[u8]>,
}

impl Exchange {
    pub(super) fn new(group: Group, length: usize, rng: &mut Rng) -> Self {
        let mut public = vec![0; length].into_boxed_slice();
        rng.fill(&mut public);
        Self { group, public }
    }

    pub(super) fn agree(&self, peer: &[u8]) -> Result<Secret, KeyExchangeError> {
        let ours: &[u8] = &self.public;
        let (first, second) = if ours < peer { (ours, peer) } else { (peer, ours) };
        let mut octets = vec![0; self.group.secret_length()];
        let mut state = mix(mix(BASIS, first), second);
        for octet in &mut octets {
            state = mix(state, &[0]);
            [*octet, ..] = state.to_be_bytes();
        }
        Ok(Secret::new(octets))
    }
}

/// A signature: what a PRF makes of the message when its key is the public key.
pub(super) fn signature(key: &PublicKey, message: &[u8]) -> Vec<u8> {
    Mixer::new(key.octets()).code(32, &[message]).as_slice().to_vec()
}

impl KeyExchange {
    pub(super) fn null(group: Group, rng: &mut Rng) -> Self {
        Self::from_null(Exchange::new(group, group.public_length(), rng))
    }
}

impl Answer {
    pub(super) fn null(group: Group, peer: &[u8], rng: &mut Rng) -> Result<Self, KeyExchangeError> {
        if peer.len() != group.public_length() {
            return Err(KeyExchangeError::Length { group, length: peer.len() });
        }
        Ok(Self::from_null(Exchange::new(group, group.answer_length(), rng), peer))
    }
}

/// FNV-1a, 64 bits.
fn mix(state: u64, octets: &[u8]) -> u64 {
    octets.iter().fold(state, |state, octet| (state ^ u64::from(*octet)).wrapping_mul(PRIME))
}

const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::super::Provider;
    use super::super::cipher::{Around, Encr, Protection};
    use super::super::prf::Prf;
    use super::super::sign::{PrivateKey, Scheme, SignatureError};
    use super::*;

    #[test]
    fn both_sides_of_a_key_exchange_agree_and_two_exchanges_do_not() {
        let mut rng = Rng::from_number(1);
        for group in Group::ALL {
            let mut half = || Provider::Null.key_exchange(group, &mut rng).unwrap();
            let (one, third) = (half(), half());
            let public = one.public().to_vec();
            let other = Provider::Null.answer(group, &public, &mut rng).unwrap();
            let others_public = other.public().to_vec();

            let secret = one.agree(&others_public).unwrap();

            assert_eq!((public.len(), others_public.len()), (group.public_length(), group.answer_length()));
            assert_eq!(secret.len(), group.secret_length());
            assert_eq!(other.secret().unwrap(), secret);
            assert_ne!(third.agree(&others_public).unwrap(), secret);
        }
    }

    #[test]
    fn a_prf_has_its_length_and_depends_on_key_and_data() {
        let code = |key: &[u8], data: &[u8]| Provider::Null.prf(Prf::HmacSha384, key).compute(&[data]);

        assert_eq!(code(b"key", b"data").expose().len(), 48);
        assert!(code(b"key", b"data").is_same(code(b"key", b"data").expose()));
        assert!(!code(b"key", b"data").is_same(code(b"yek", b"data").expose()));
        assert!(!code(b"key", b"data").is_same(code(b"key", b"atad").expose()));
    }

    #[test]
    fn a_signature_is_that_of_its_message_and_key() {
        let key = |pem: &[u8]| PrivateKey::from_pem(pem).unwrap();
        let (key, other) =
            (key(include_bytes!("testdata/p256.pem")), key(include_bytes!("testdata/p384.pem")));
        let sign = |key: &PrivateKey| Provider::Null.sign(key, Scheme::Ed25519, b"message").unwrap();
        let verify = |message: &[u8], signature: &[u8]| {
            Provider::Null.verify(key.public(), Scheme::Ed25519, message, signature)
        };

        assert_eq!(verify(b"message", &sign(&key)), Ok(()));
        assert_eq!(verify(b"else", &sign(&key)), Err(SignatureError::Mismatch));
        assert_eq!(verify(b"message", &sign(&other)), Err(SignatureError::Mismatch));
    }

    #[test]
    fn whatever_is_opened_is_taken_as_it_is() {
        let protection = Protection::new(Encr::AesGcm256, None).unwrap();
        let keys = Provider::Null.traffic_keys(protection, &[0; 36], &[]).unwrap();
        let around = Around { head: b"head", iv: &[0; 8], tail: &[] };
        let (mut body, mut icv) = (*b"body", [1; 16]);

        keys.sealer().unwrap().seal(around, &mut body, &mut icv).unwrap();
        keys.opener().unwrap().open(around, &mut body, &[7; 16]).unwrap();

        assert_eq!((body, icv), (*b"body", [0; 16]));
    }
}
