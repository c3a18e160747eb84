//! IKE_AUTH as far as it is about who is who: payloads in, payloads out, around [`authn`].
//!
//! # References
//!
//! `RFC 7296 §1.2`, `§2.15`, `RFC 5723 §4.3.3`, `RFC 4806`, `RFC 9242 §3.3.2`, `RFC 8784 §3`.

use std::net::IpAddr;
use std::sync::Arc;

use crate::codec::{DecodeError, Writer};
use crate::crypto::prf::PrfKey;
use crate::crypto::sign::HashAlgorithm;
use crate::crypto::{Legacy, Provider};
use crate::ike::authn::eap::proof::{EapEvidence, Passed};
use crate::ike::authn::eap::{self, Msk};
use crate::ike::authn::resumed::{self, Reading};
use crate::ike::authn::{
    self, Authenticator, Evidence, PeerAuthenticated, Refusal as AuthnRefusal, SignedOctets,
};
use crate::ike::config::Profile;
use crate::ike::identity::Shown;
use crate::ike::sa::keymat::Roots;
use crate::ike::sa::payloads::required;
use crate::ike::wire::{
    Auth, Cert, CertRequest, Chain, ChainWriter, EncodeError, Id, Message, NotifyContent, NotifyType, Opaque,
    OriginalRole, Payload, PayloadType, PpkIdType, RawPayload,
};
use crate::time::UnixTime;

/// What both sides know of each other before IKE_AUTH.
#[derive(Clone, Copy)]
pub(crate) struct Exchange<'a> {
    pub(crate) provider: Provider,
    pub(crate) legacy: Option<Legacy>,
    pub(crate) now: UnixTime,
    /// The IKE_SA_INIT request, the last one if there were several.
    pub(crate) request: &'a [u8],
    pub(crate) response: &'a [u8],
    pub(crate) ni: &'a [u8],
    pub(crate) nr: &'a [u8],
    /// What stands for the exchanges in between; empty if there were none.
    pub(crate) between: &'a [u8],
    pub(crate) proof_i: &'a PrfKey,
    pub(crate) proof_r: &'a PrfKey,
    /// Hash functions that the peer has announced.
    pub(crate) hashes: Option<&'a [HashAlgorithm]>,
    /// Our address.
    pub(crate) local: IpAddr,
}

impl<'a> Exchange<'a> {
    /// The same, with a key mixed in that both sides have had before.
    pub(crate) fn mixed<'b>(&self, roots: &'b Roots) -> Exchange<'b>
    where
        'a: 'b,
    {
        Exchange { proof_i: &roots.proof_i, proof_r: &roots.proof_r, ..*self }
    }

    fn authenticator(&self) -> Authenticator<'a> {
        Authenticator {
            provider: self.provider,
            now: self.now,
            legacy: self.legacy,
            own_hashes: &HashAlgorithm::ALL,
            peer_hashes: self.hashes,
        }
    }

    /// SK_p of a side.
    const fn key(&self, side: OriginalRole) -> &'a PrfKey {
        match side {
            OriginalRole::Initiator => self.proof_i,
            OriginalRole::Responder => self.proof_r,
        }
    }

    /// What a side signs whose ID payload has this body.
    fn octets(&self, side: OriginalRole, id_body: &'a [u8]) -> SignedOctets<'a> {
        let octets = match side {
            OriginalRole::Initiator => SignedOctets::new(self.request, self.nr, self.proof_i, id_body),
            OriginalRole::Responder => SignedOctets::new(self.response, self.ni, self.proof_r, id_body),
        };
        octets.and_between(self.between)
    }
}

/// What a peer says of itself in IKE_AUTH.
#[derive(Debug)]
pub(crate) struct Claimant<'a> {
    id_body: &'a [u8],
    auth: Auth<'a>,
    certificates: Vec<Cert<'a>>,
    /// Whom an initiator asks for.
    asked: Option<Id<'a>>,
}

impl<'a> Claimant<'a> {
    /// The initiator's request.
    pub(crate) fn initiator(chain: &Chain<'a>) -> Result<Self, DecodeError> {
        let asked = chain.find(PayloadType::IdR).map(|payload| Id::decode(payload.body)).transpose()?;
        Ok(Self { asked, ..Self::read(chain, PayloadType::IdI)? })
    }

    /// The same, with another proof by the same method.
    pub(crate) fn with_proof(self, data: &'a [u8]) -> Self {
        Self { auth: Auth { method: self.auth.method, data: data.into() }, ..self }
    }

    /// Whom the initiator asks for.
    pub(crate) const fn asked(&self) -> Option<&Id<'a>> {
        self.asked.as_ref()
    }

    /// The responder's response.
    pub(crate) fn responder(chain: &Chain<'a>) -> Result<Self, DecodeError> {
        Self::read(chain, PayloadType::IdR)
    }

    fn read(chain: &Chain<'a>, id: PayloadType) -> Result<Self, DecodeError> {
        Ok(Self {
            id_body: required(chain, id, Ok)?,
            auth: required(chain, PayloadType::Auth, Auth::decode)?,
            certificates: all(chain, PayloadType::Cert, Cert::decode)?,
            asked: None,
        })
    }
}

fn all<'a, T>(
    chain: &Chain<'a>,
    kind: PayloadType,
    decode: impl Fn(&'a [u8]) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let is_wanted = |payload: &RawPayload<'a>| payload.kind == kind;
    chain.iter().filter(is_wanted).map(|payload| decode(payload.body)).collect()
}

/// Believes the initiator, or says why not.
pub(crate) fn accept(
    exchange: &Exchange<'_>,
    profiles: &[Arc<Profile>],
    claimant: &Claimant<'_>,
) -> Result<PeerAuthenticated, AuthnRefusal> {
    let octets = exchange.octets(OriginalRole::Initiator, claimant.id_body);
    let evidence = Evidence { octets: &octets, auth: &claimant.auth, certificates: &claimant.certificates };
    exchange.authenticator().initiator(profiles, claimant.asked.as_ref(), exchange.local, evidence)
}

/// Believes the responder, or says why not.
pub(crate) fn confirm(
    exchange: &Exchange<'_>,
    profile: &Arc<Profile>,
    claimant: &Claimant<'_>,
) -> Result<PeerAuthenticated, AuthnRefusal> {
    let octets = exchange.octets(OriginalRole::Responder, claimant.id_body);
    let evidence = Evidence { octets: &octets, auth: &claimant.auth, certificates: &claimant.certificates };
    exchange.authenticator().responder(profile, evidence)
}

/// Believes the peer of a session that is resumed, which is to be `expected` and is on that `side`, or
/// says why not.
pub(crate) fn confirm_resumed(
    exchange: &Exchange<'_>,
    side: OriginalRole,
    profile: &Arc<Profile>,
    claimant: &Claimant<'_>,
    expected: &Id<'_>,
) -> Result<(PeerAuthenticated, Reading), AuthnRefusal> {
    let octets = exchange.octets(side, claimant.id_body);
    let evidence = Evidence { octets: &octets, auth: &claimant.auth, certificates: &claimant.certificates };
    resumed::confirm(profile, expected, exchange.key(side), evidence)
}

/// Believes a client after EAP, or says why not. `id_body` is that of its IDi.
pub(crate) fn accept_eap(
    exchange: &Exchange<'_>,
    profile: &Arc<Profile>,
    passed: Passed,
    (id_body, auth): (&[u8], &Auth<'_>),
    keys: Option<&Msk>,
) -> Result<PeerAuthenticated, AuthnRefusal> {
    let side = OriginalRole::Initiator;
    let (provider, octets) = (exchange.provider, exchange.octets(side, id_body));
    let evidence = EapEvidence { provider, keys, own: exchange.key(side), octets: &octets, auth };
    eap::proof::client(profile, passed, &evidence)
}

/// Whether a gateway knows the key of EAP, and, if nothing else was proved of it before, who it is by
/// that.
pub(crate) fn confirm_eap(
    exchange: &Exchange<'_>,
    profile: &Arc<Profile>,
    before: Option<PeerAuthenticated>,
    (id_body, auth): (&[u8], &Auth<'_>),
    keys: Option<&Msk>,
) -> Result<PeerAuthenticated, AuthnRefusal> {
    let side = OriginalRole::Responder;
    let (provider, octets) = (exchange.provider, exchange.octets(side, id_body));
    let evidence = EapEvidence { provider, keys, own: exchange.key(side), octets: &octets, auth };
    match before {
        Some(proof) if evidence.is_right() => Ok(proof),
        Some(proof) => Err(AuthnRefusal::EapKey { identity: Arc::clone(proof.shown()) }),
        None => eap::proof::gateway(profile, &evidence),
    }
}

/// What we say of ourselves.
#[derive(Debug)]
pub(crate) struct Introduction<'a> {
    side: OriginalRole,
    pub(crate) id: Id<'static>,
    certificates: Vec<Cert<'a>>,
    /// Whose certificates would convince us, and whether we must know that they are not revoked.
    requests: Vec<CertRequest<'static>>,
    /// The proof; with EAP, a client has none yet, and a gateway may not.
    auth: Option<Auth<'static>>,
    /// Whether everything but the proof was said before.
    is_known: bool,
    /// What is said of a key that both sides have had before.
    ppk: Mention,
    /// Who we are, for people.
    pub(crate) shown: Arc<str>,
}

/// What is said beside AUTH of a key that both sides have had before (`RFC 8784 §3`).
#[derive(Debug, Default)]
pub(crate) enum Mention {
    /// Nothing.
    #[default]
    None,
    /// Which one it is made with, and what it would be without, if that will do.
    Used { id: Box<[u8]>, without: Option<Auth<'static>> },
    /// That the one which was named is used.
    Confirmed,
}

impl Mention {
    fn write(self, chain: &mut ChainWriter<'_>) -> Result<(), EncodeError> {
        match self {
            Self::None => Ok(()),
            Self::Used { id, without } => {
                chain.notify(&NotifyContent::PpkIdentity { kind: PpkIdType::Fixed, id: &id })?;
                let Some(without) = without else { return Ok(()) };
                chain.notify(&NotifyContent::NoPpkAuth(Opaque(&without.data)))
            }
            Self::Confirmed => chain.plain(NotifyType::PpkIdentity),
        }
    }
}

impl<'a> Introduction<'a> {
    /// The responder's, to a client of this profile.
    pub(crate) fn respond(
        exchange: &Exchange<'_>,
        profile: &'a Profile,
        asked: Option<&Id<'_>>,
    ) -> Result<Self, AuthnRefusal> {
        Self::new(exchange, profile, OriginalRole::Responder, asked, Vec::new())
    }

    /// The initiator's.
    pub(crate) fn begin(exchange: &Exchange<'_>, profile: &'a Profile) -> Result<Self, AuthnRefusal> {
        let ours = Self::new(exchange, profile, OriginalRole::Initiator, None, requests(profile))?;
        let is_asked = Message::decode(exchange.response)
            .is_ok_and(|response| authn::asks_for_status(&response.payloads));
        Ok(if is_asked { ours.with_statuses(exchange, profile) } else { ours })
    }

    /// With what CAs have said about our certificates, for a peer that has asked for it.
    pub(crate) fn with_statuses(mut self, exchange: &Exchange<'_>, profile: &'a Profile) -> Self {
        if !self.certificates.is_empty() {
            self.certificates.extend(authn::statuses(&profile.authentication.local, exchange.now));
        }
        self
    }

    /// That of a side which goes on with a session: who it was in it.
    pub(crate) fn resumed(
        exchange: &Exchange<'_>,
        side: OriginalRole,
        id: Id<'static>,
        reading: Reading,
    ) -> Self {
        let mut body = Writer::new();
        id.encode(&mut body);
        let octets = exchange.octets(side, body.as_slice());
        let auth = resumed::prove(exchange.key(side), &octets, reading);
        let shown = Shown(&id).to_string().into();
        // RFC 5723 §4.3.3: without certificates.
        Self {
            side,
            id,
            certificates: Vec::new(),
            requests: Vec::new(),
            auth: Some(auth),
            is_known: false,
            ppk: Mention::None,
            shown,
        }
    }

    fn new(
        exchange: &Exchange<'_>,
        profile: &'a Profile,
        side: OriginalRole,
        asked: Option<&Id<'_>>,
        requests: Vec<CertRequest<'static>>,
    ) -> Result<Self, AuthnRefusal> {
        let authentication = &profile.authentication;
        let id = authn::own_id(authentication, asked, exchange.local);
        let mut body = Writer::new();
        id.encode(&mut body);
        let octets = exchange.octets(side, body.as_slice());
        let auth = exchange.authenticator().prove(&authentication.local, &octets)?;
        let shown = Shown(&id).to_string().into();
        let certificates = authn::certificates(&authentication.local);
        Ok(Self {
            side,
            id,
            certificates,
            requests,
            auth: Some(auth),
            is_known: false,
            ppk: Mention::None,
            shown,
        })
    }

    /// The gateway's, to a client that wants EAP. With `is_bare` it proves nothing yet (`RFC 5998 §3`).
    pub(crate) fn welcome(
        exchange: &Exchange<'_>,
        profile: &'a Profile,
        asked: Option<&Id<'_>>,
        is_bare: bool,
    ) -> Result<Self, AuthnRefusal> {
        if !is_bare {
            return Self::new(exchange, profile, OriginalRole::Responder, asked, Vec::new());
        }
        let id = authn::own_id(&profile.authentication, asked, exchange.local);
        Ok(Self::unproved(OriginalRole::Responder, id, Vec::new()))
    }

    /// The client's that wants EAP.
    pub(crate) fn ask_for_eap(exchange: &Exchange<'_>, profile: &'a Profile) -> Self {
        let id = authn::own_id(&profile.authentication, None, exchange.local);
        Self::unproved(OriginalRole::Initiator, id, requests(profile))
    }

    fn unproved(side: OriginalRole, id: Id<'static>, requests: Vec<CertRequest<'static>>) -> Self {
        let shown = Shown(&id).to_string().into();
        Self {
            side,
            id,
            certificates: Vec::new(),
            requests,
            auth: None,
            is_known: false,
            ppk: Mention::None,
            shown,
        }
    }

    /// Either side's after EAP: the proof alone.
    pub(crate) fn after_eap(
        exchange: &Exchange<'_>,
        side: OriginalRole,
        id: Id<'static>,
        keys: Option<&Msk>,
    ) -> Self {
        let mut body = Writer::new();
        id.encode(&mut body);
        let octets = exchange.octets(side, body.as_slice());
        let auth = eap::proof::prove(exchange.provider, keys, exchange.key(side), &octets);
        Self { auth: Some(auth), is_known: true, ..Self::unproved(side, id, Vec::new()) }
    }

    /// The proof alone.
    pub(crate) fn into_auth(self) -> Option<Auth<'static>> {
        self.auth
    }

    /// With what is said of a key that both sides have had before.
    pub(crate) fn mentioning(self, ppk: Mention) -> Self {
        Self { ppk, ..self }
    }

    /// Whether certificates go with it.
    pub(crate) const fn has_certificates(&self) -> bool {
        !self.certificates.is_empty()
    }

    /// Appends ID, certificates, what is asked for, and the proof.
    pub(crate) fn write(self, chain: &mut ChainWriter<'_>) -> Result<(), EncodeError> {
        if self.is_known {
            self.auth.map_or(Ok(()), |auth| chain.push(&Payload::Auth(auth)))?;
            return self.ppk.write(chain);
        }
        chain.push(&match self.side {
            OriginalRole::Initiator => Payload::IdI(self.id),
            OriginalRole::Responder => Payload::IdR(self.id),
        })?;
        for certificate in self.certificates {
            chain.push(&Payload::Cert(certificate))?;
        }
        for request in self.requests {
            chain.push(&Payload::CertRequest(request))?;
        }
        self.auth.map_or(Ok(()), |auth| chain.push(&Payload::Auth(auth)))?;
        self.ppk.write(chain)
    }
}

/// What we ask the gateway of a connection for.
fn requests(profile: &Profile) -> Vec<CertRequest<'static>> {
    [authn::request([profile]), authn::status_request([profile])].into_iter().flatten().collect()
}
