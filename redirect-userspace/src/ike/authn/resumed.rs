//! Proofs of those who go on with an earlier session: by the keys that come of it.
//!
//! `RFC 5723 §4.3.3` says `AUTH = prf(SK_px, <message octets>)`, and that the octets are those of
//! `RFC 7296 §2.15`. libreswan takes the word "message" as it stands, and leaves the nonce and the
//! identity out. Both are a proof: the key is made of both nonces, and the identity has to be that of
//! the ticket. So both are believed, and whoever uses one is answered with the same.
//!
//! # References
//!
//! `RFC 5723 §4.3.3`.

use std::sync::Arc;

use super::{Evidence, Peer, PeerAuthenticated, Refusal, SignedOctets};
use crate::crypto::prf::{PrfKey, PrfOutput};
use crate::ike::config::Profile;
use crate::ike::identity::Shown;
use crate::ike::wire::{Auth, AuthMethod, Id};

/// What a proof is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The octets of `RFC 7296 §2.15`.
    Whole,
    /// The first message of the side that proves itself, and nothing else.
    Message,
}

impl Reading {
    /// The code of a side, whose SK_p is `key`.
    fn code(self, key: &PrfKey, octets: &SignedOctets<'_>) -> PrfOutput {
        match self {
            Self::Whole => key.compute(&octets.parts()),
            Self::Message => key.compute(&[octets.message()]),
        }
    }
}

/// Our proof, with our SK_p.
#[must_use]
pub fn prove(key: &PrfKey, octets: &SignedOctets<'_>, reading: Reading) -> Auth<'static> {
    // RFC 5723 does not say which method that is; a MIC by a key that both know is what it is.
    Auth { method: AuthMethod::SharedKey, data: reading.code(key, octets).expose().to_vec().into() }
}

/// Checks the proof of a peer that is to be `expected`, as its ticket says. `key` is its SK_p.
///
/// # Errors
///
/// [`Refusal`]
pub fn confirm(
    profile: &Arc<Profile>,
    expected: &Id<'_>,
    key: &PrfKey,
    evidence: Evidence<'_>,
) -> Result<(PeerAuthenticated, Reading), Refusal> {
    let peer = Peer::read(evidence)?;
    if peer.id != *expected {
        let expected = Shown(expected).to_string().into();
        return Err(Refusal::OtherIdentity { identity: peer.shown, expected });
    }
    let Evidence { octets, auth, certificates } = evidence;
    if auth.method != AuthMethod::SharedKey {
        return Err(Refusal::Method { identity: peer.shown, method: auth.method });
    }
    // RFC 5723 §4.3.3: there is nothing that a certificate could prove.
    if !certificates.is_empty() {
        return Err(Refusal::SurplusCertificate { identity: peer.shown });
    }
    // Both are computed, whichever is right.
    let [whole, message] = [Reading::Whole, Reading::Message]
        .map(|reading| (reading, reading.code(key, octets).is_same(&auth.data)));
    match (whole, message) {
        ((reading, true), _) | (_, (reading, true)) => Ok((peer.authenticated(profile, None), reading)),
        ((_, false), (_, false)) => Err(Refusal::Session { identity: peer.shown }),
    }
}
