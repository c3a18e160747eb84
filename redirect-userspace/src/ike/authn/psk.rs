//! Proofs by a key that both sides know.
//!
//! # References
//!
//! `RFC 7296 §2.15`.

use super::SignedOctets;
use crate::crypto::Provider;
use crate::crypto::prf::{PrfKey, PrfOutput};
use crate::secret::Secret;

/// The authentication data of method 2.
// RFC 7296 §2.15: AUTH = prf(prf(Shared Secret, "Key Pad for IKEv2"), <SignedOctets>)
pub(super) fn code(provider: Provider, secret: &Secret, octets: &SignedOctets<'_>) -> PrfOutput {
    code_by(provider, &provider.prf(octets.prf(), secret.expose()), octets)
}

/// The same, with a key that is ready.
pub(super) fn code_by(provider: Provider, key: &PrfKey, octets: &SignedOctets<'_>) -> PrfOutput {
    let padded = key.compute(&[KEY_PAD]);
    provider.prf(octets.prf(), padded.expose()).compute(&octets.parts())
}

/// Whether whoever computed `data` knows the key. The time it takes tells nothing but lengths.
pub(super) fn is_right(provider: Provider, secret: &Secret, octets: &SignedOctets<'_>, data: &[u8]) -> bool {
    code(provider, secret, octets).is_same(data)
}

const KEY_PAD: &[u8] = b"Key Pad for IKEv2";
