//! Who proves what: the AUTH payloads of both sides, and which profile a peer belongs to.
//!
//! [`Authenticator::prove`] makes our proof. [`Authenticator::initiator`] and
//! [`Authenticator::responder`] check the peer's, and give a [`PeerAuthenticated`], which nobody
//! else can make; [`resumed`] does so for those who come with a ticket. Who we say we are, and which certificates are sent and asked for, is in
//! [`own_id`], [`certificates`], [`request`] and [`suits`].
//!
//! # Invariants
//!
//! - A [`PeerAuthenticated`] has the identity that its proof covers: it is read from the octets
//!   that were signed.
//! - A certificate proves the identities that are in it, and no others.
//! - What went wrong is for the operator ([`Refusal`]); it has no secrets in it.
//! - Nothing is weaker than SHA-256 without a [`Legacy`].
//!
//! # References
//!
//! `RFC 7296 §2.15` (AUTH), `§3.5` to `§3.8`; `RFC 7427` (signatures); `RFC 4945 §3` (identities).

mod bundle;
mod cert;
pub mod eap;
mod octets;
mod own;
mod psk;
mod refusal;
pub mod resumed;

use std::net::IpAddr;
use std::sync::Arc;

use super::config::{LocalProof, Name, Profile, RemoteProof};
use super::identity::{Shown, holder, holder_of_user, in_certificates, shown_user};
use super::wire::{Auth, AuthMethod, Cert, Id};
use crate::crypto::sign::HashAlgorithm;
use crate::crypto::x509::Certificate;
use crate::crypto::{Legacy, Provider};
use crate::time::UnixTime;
use bundle::Bundle;
pub use bundle::Ignored;
pub use cert::{ProofError, SignError, announced, announcement};
use eap::proof::Passed;
pub use octets::SignedOctets;
pub use own::{asks_for_status, certificates, own_id, request, status_request, statuses, suits};
use refusal::MAX_NAMED;
pub use refusal::{CertificateError, Means, Miss, Refusal};

/// What proofs of one IKE SA are made and checked with.
#[derive(Clone, Copy, Debug)]
pub struct Authenticator<'a> {
    /// Where primitives come from.
    pub provider: Provider,
    /// The time at which certificates must be valid.
    pub now: UnixTime,
    /// Permission for SHA-1 in method 1.
    pub legacy: Option<Legacy>,
    /// The hashes that we announced; none if we did not.
    pub own_hashes: &'a [HashAlgorithm],
    /// The hashes that the peer announced, of those that we know ([`announced`]); `None` when it
    /// announced nothing.
    pub peer_hashes: Option<&'a [HashAlgorithm]>,
}

/// What a peer presents in its IKE_AUTH message.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// What it signs, its identity among it.
    pub octets: &'a SignedOctets<'a>,
    /// Its AUTH payload.
    pub auth: &'a Auth<'a>,
    /// Its CERT payloads, in their order.
    pub certificates: &'a [Cert<'a>],
}

impl Authenticator<'_> {
    /// Our proof. `octets` are those of our side.
    ///
    /// # Errors
    ///
    /// [`Refusal::Own`]
    pub fn prove(&self, local: &LocalProof, octets: &SignedOctets<'_>) -> Result<Auth<'static>, Refusal> {
        match local {
            LocalProof::SharedKey(secret) => {
                let code = psk::code(self.provider, secret, octets);
                Ok(Auth { method: AuthMethod::SharedKey, data: code.expose().to_vec().into() })
            }
            LocalProof::Certificate(credential) => Ok(cert::sign(self, &credential.key, octets)?),
            // That is proved in a conversation, not by an AUTH payload alone.
            LocalProof::Eap(_) => Err(SignError::NoMethod.into()),
        }
    }

    /// Checks the proof of an original initiator, and finds the profile that it belongs to: the
    /// first one that is for its identity, for whom it `asked` in an IDr payload, and for its way
    /// to prove itself, and whose key or CA agrees. `local` is our address.
    ///
    /// # Errors
    ///
    /// [`Refusal`]
    pub fn initiator(
        &self,
        profiles: &[Arc<Profile>],
        asked: Option<&Id<'_>>,
        local: IpAddr,
        evidence: Evidence<'_>,
    ) -> Result<PeerAuthenticated, Refusal> {
        let peer = Peer::read(evidence)?;
        let mut candidates = Vec::new();
        let mut near = Vec::new();
        for profile in profiles.iter().filter(|profile| peer.is_of(profile)) {
            let expected = Means::expected(&profile.authentication.remote);
            let is_asked = asked.is_none_or(|asked| own::is_own(&profile.authentication, asked, local));
            match (expected == peer.means, is_asked) {
                (true, true) => candidates.push(profile),
                (false, _) if near.len() <= MAX_NAMED => {
                    near.push((profile.name.clone(), Miss::Means(expected)));
                }
                (true, false) if near.len() <= MAX_NAMED => {
                    near.push((profile.name.clone(), Miss::OwnIdentity));
                }
                (_, _) => {}
            }
        }
        if candidates.is_empty() {
            let asked = asked.map(|asked| Shown(asked).to_string().into());
            return Err(Refusal::NoProfile { identity: peer.shown, means: peer.means, asked, near });
        }
        self.check(peer, &candidates)
    }

    /// Checks the proof of the original responder to which a connection with this profile leads.
    ///
    /// # Errors
    ///
    /// [`Refusal`]
    pub fn responder(
        &self,
        profile: &Arc<Profile>,
        evidence: Evidence<'_>,
    ) -> Result<PeerAuthenticated, Refusal> {
        let peer = Peer::read(evidence)?;
        if !peer.is_of(profile) {
            let patterns = profile.authentication.remote_ids.iter().take(MAX_NAMED);
            let expected = patterns.map(ToString::to_string).collect::<Vec<_>>().join(" or ").into();
            return Err(Refusal::OtherIdentity { identity: peer.shown, expected });
        }
        let expected = Means::expected(&profile.authentication.remote);
        if expected != peer.means {
            return Err(Refusal::OtherMeans { identity: peer.shown, means: peer.means, expected });
        }
        self.check(peer, &[profile])
    }

    fn check(&self, peer: Peer<'_>, candidates: &[&Arc<Profile>]) -> Result<PeerAuthenticated, Refusal> {
        match peer.means {
            Means::SharedKey => self.check_key(peer, candidates),
            Means::Signature => self.check_signature(peer, candidates),
            // No AUTH payload alone proves that; who comes by EAP goes another way.
            Means::Eap => Err(Refusal::Key { identity: peer.shown, tried: names(candidates) }),
        }
    }

    fn check_key(&self, peer: Peer<'_>, candidates: &[&Arc<Profile>]) -> Result<PeerAuthenticated, Refusal> {
        let Evidence { octets, auth, certificates: _ } = peer.evidence;
        let found = candidates.iter().find(|profile| match &profile.authentication.remote {
            RemoteProof::SharedKey(secret) => psk::is_right(self.provider, secret, octets, &auth.data),
            RemoteProof::Certificate(_) | RemoteProof::Eap(_) => false,
        });
        match found {
            Some(profile) => Ok(peer.authenticated(profile, None)),
            None => Err(Refusal::Key { identity: peer.shown, tried: names(candidates) }),
        }
    }

    fn check_signature(
        &self,
        peer: Peer<'_>,
        candidates: &[&Arc<Profile>],
    ) -> Result<PeerAuthenticated, Refusal> {
        let Evidence { octets, auth, certificates } = peer.evidence;
        let refuse = |error: CertificateError, ignored: Ignored| Refusal::Certificate {
            identity: peer.shown.clone(),
            error,
            ignored,
        };
        let Bundle { first, others, staples, ignored } =
            Bundle::read(certificates).map_err(|(error, ignored)| refuse(error.into(), ignored))?;
        let Some(identity) = in_certificates(&peer.id) else {
            return Err(refuse(CertificateError::Kind(peer.id.kind()), ignored));
        };
        if !first.has(&identity) {
            let subject = subject(&first);
            return Err(refuse(CertificateError::SomebodyElse { subject }, ignored));
        }
        let key = first.public_key().map_err(|error| refuse(error.into(), ignored.clone()))?;
        // Once, whoever may believe the certificate: what is wrong here is so for all profiles.
        cert::verify(self, key, auth, octets)
            .map_err(|error| Refusal::Proof { identity: peer.shown.clone(), error })?;
        let mut errors = Vec::new();
        for profile in candidates {
            match &profile.authentication.remote {
                RemoteProof::Certificate(store) => {
                    match store.validate_stapled(&first, &others, &staples, self.now) {
                        Ok(()) => return Ok(peer.authenticated(profile, Some(PeerCertificate::new(&first)))),
                        Err(error) if errors.len() <= MAX_NAMED => errors.push((profile.name.clone(), error)),
                        Err(_one_of_many) => {}
                    }
                }
                RemoteProof::SharedKey(_) | RemoteProof::Eap(_) => {}
            }
        }
        Err(refuse(CertificateError::Chain(errors), ignored))
    }
}

/// A peer that has proved nothing yet.
struct Peer<'a> {
    id: Id<'a>,
    shown: Arc<str>,
    means: Means,
    evidence: Evidence<'a>,
}

impl<'a> Peer<'a> {
    fn read(evidence: Evidence<'a>) -> Result<Self, Refusal> {
        let id = evidence.octets.identity().map_err(Refusal::Identity)?;
        let shown: Arc<str> = Shown(&id).to_string().into();
        match Means::of(evidence.auth.method) {
            Some(means) => Ok(Self { id, shown, means, evidence }),
            None => Err(Refusal::Method { identity: shown, method: evidence.auth.method }),
        }
    }

    fn is_of(&self, profile: &Profile) -> bool {
        profile.authentication.remote_ids.iter().any(|pattern| pattern.is_match(&self.id))
    }

    fn authenticated(
        self,
        profile: &Arc<Profile>,
        certificate: Option<PeerCertificate>,
    ) -> PeerAuthenticated {
        PeerAuthenticated {
            profile: Arc::clone(profile),
            holder: holder(&self.id),
            identity: self.id.into_owned(),
            shown: self.shown,
            certificate: certificate.map(Box::new),
            eap: None,
        }
    }
}

/// A peer that has proved who it is. Only this module makes one.
#[derive(Clone, Debug)]
pub struct PeerAuthenticated {
    profile: Arc<Profile>,
    identity: Id<'static>,
    shown: Arc<str>,
    holder: Arc<[u8]>,
    certificate: Option<Box<PeerCertificate>>,
    eap: Option<Box<Passed>>,
}

impl PeerAuthenticated {
    /// A client that was let in by EAP. It is known by the name that it has proved; its IDi is kept for
    /// going on with the session.
    fn by_eap(profile: &Arc<Profile>, identity: Id<'static>, passed: Passed) -> Self {
        Self {
            profile: Arc::clone(profile),
            identity,
            shown: shown_user(&passed.name),
            holder: holder_of_user(&passed.name),
            certificate: None,
            eap: Some(Box::new(passed)),
        }
    }

    /// A peer of this identity, which it has proved.
    fn of(profile: &Arc<Profile>, identity: Id<'static>) -> Self {
        Self {
            profile: Arc::clone(profile),
            shown: Shown(&identity).to_string().into(),
            holder: holder(&identity),
            identity,
            certificate: None,
            eap: None,
        }
    }

    /// A client that goes on with a session in which it was let in by EAP under this name.
    #[must_use]
    pub fn known_as(self, name: &str, valid_until: Option<UnixTime>) -> Self {
        let Self { profile, identity, .. } = self;
        Self::by_eap(&profile, identity, Passed { name: name.into(), valid_until })
    }

    /// The name under which it was let in by EAP.
    #[must_use]
    pub fn user(&self) -> Option<&Arc<str>> {
        self.eap.as_deref().map(|passed| &passed.name)
    }

    /// Until when what it has proved is good.
    #[must_use]
    pub fn valid_until(&self) -> Option<UnixTime> {
        let certificate = self.certificate().map(|certificate| certificate.not_after);
        certificate.or_else(|| self.eap.as_deref().and_then(|passed| passed.valid_until))
    }

    /// How it is dealt with.
    #[must_use]
    pub const fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }

    /// Who it is.
    #[must_use]
    pub const fn identity(&self) -> &Id<'static> {
        &self.identity
    }

    /// Who it is, for people.
    #[must_use]
    pub const fn shown(&self) -> &Arc<str> {
        &self.shown
    }

    /// Octets that stand for it ([`holder`]).
    #[must_use]
    pub const fn holder(&self) -> &Arc<[u8]> {
        &self.holder
    }

    /// How those of its profile prove themselves.
    #[must_use]
    pub fn means(&self) -> Means {
        Means::expected(&self.profile.authentication.remote)
    }

    /// Its certificate, if it proved itself with one.
    #[must_use]
    pub fn certificate(&self) -> Option<&PeerCertificate> {
        self.certificate.as_deref()
    }
}

/// What is remembered of a peer's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Whose it is.
    pub subject: Box<str>,
    /// Which CA's.
    pub issuer: Box<str>,
    /// Until when it is valid.
    pub not_after: UnixTime,
}

impl PeerCertificate {
    fn new(certificate: &Certificate) -> Self {
        let (_, not_after) = certificate.validity();
        let issuer = Shown(&Id::Dn(certificate.issuer().into())).to_string().into();
        Self { subject: subject(certificate), issuer, not_after }
    }
}

/// Whose a certificate is, for people: never longer than a line, whatever the peer sent.
fn subject(certificate: &Certificate) -> Box<str> {
    own::named_by(certificate).map_or_else(|| "nobody".into(), |id| Shown(&id).to_string().into())
}

fn names(profiles: &[&Arc<Profile>]) -> Vec<Name> {
    profiles.iter().take(MAX_NAMED + 1).map(|profile| profile.name.clone()).collect()
}

#[cfg(test)]
mod tests;
