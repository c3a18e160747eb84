//! Child SAs: what an IKE SA knows of them, and how they are agreed upon.
//!
//! # References
//!
//! `RFC 7296 §1.3.1`, `§2.9`, `§2.17`, `RFC 9370 §2.2.4`.

use std::net::IpAddr;
use std::sync::Arc;

use crate::crypto::Provider;
use crate::crypto::kex::{self, KeyExchange, KeyExchangeError};
use crate::ike::config::{Profile, Settings};
use crate::ike::event::Failure;
use crate::ike::io::{InstallChild, Path};
use crate::ike::lease::Lease;
use crate::ike::proposal::{EspExchange, EspProposal, EspSuite, NoChoice};
use crate::ike::sa::context::{Context, Refusal};
use crate::ike::sa::followup::Followup;
use crate::ike::sa::keymat::{ChildKeys, DerivationKey, Nonces};
use crate::ike::sa::natt::Nat;
use crate::ike::sa::suite;
use crate::ike::selector::{is_subset, narrow};
use crate::ike::wire::{
    AddressRange, ChildProtocol, ChildSpi, KeyExchange as KePayload, KeyExchangeMethod, Ports, ProposalSpi,
    Sa, SequenceNumbers, Span, TrafficSelector, TrafficSelectors,
};
use crate::secret::Secret;
use crate::time::Instant;

/// A Child SA.
#[derive(Debug)]
pub(crate) struct Child {
    /// The SPI that leads to us: its name.
    pub(crate) inbound: ChildSpi,
    /// The SPI that leads to the peer.
    pub(crate) outbound: ChildSpi,
    pub(crate) suite: EspSuite,
    pub(crate) local_ts: Arc<[TrafficSelector]>,
    pub(crate) remote_ts: Arc<[TrafficSelector]>,
    pub(crate) is_encapsulated: bool,
    pub(crate) made_at: Instant,
    pub(crate) rekey_at: Option<Instant>,
    pub(crate) expires_at: Option<Instant>,
    pub(crate) stage: ChildStage,
}

/// What a Child SA is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChildStage {
    /// In use.
    Active,
    /// The peer has made one in its place, and will delete it.
    Replaced {
        /// The one in its place.
        by: ChildSpi,
    },
    /// We have made one in its place, or have no use for it, and delete it.
    Deleting,
}

/// Everything that a Child SA is made from, besides what both sides agree upon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) profile: &'a Profile,
    /// Addresses that we have given to the peer.
    pub(crate) leases: &'a [Lease],
    /// Addresses that the peer has given to us.
    pub(crate) given: &'a [IpAddr],
    pub(crate) derivation: &'a DerivationKey,
    pub(crate) path: Path,
    pub(crate) nat: Nat,
    /// Our SPI of the IKE SA.
    pub(crate) owner: u64,
}

/// What the initiator of an exchange offers.
#[derive(Debug)]
pub(crate) struct Offer<'a> {
    pub(crate) sa: &'a Sa,
    pub(crate) ts_i: &'a TrafficSelectors,
    pub(crate) ts_r: &'a TrafficSelectors,
    pub(crate) nonces: Nonces<'a>,
    pub(crate) exchange: EspExchange,
    pub(crate) public: Option<&'a KePayload<'a>>,
    pub(crate) replaces: Option<Replaced>,
}

/// A Child SA that another one is to take the place of.
#[derive(Clone, Debug)]
pub(crate) struct Replaced {
    pub(crate) inbound: ChildSpi,
    pub(crate) local_ts: Arc<[TrafficSelector]>,
    pub(crate) remote_ts: Arc<[TrafficSelector]>,
}

/// What its responder answers, and what comes of it.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) draft: Draft,
    pub(crate) sa: Sa,
    pub(crate) ts_i: TrafficSelectors,
    pub(crate) ts_r: TrafficSelectors,
    pub(crate) public: Option<KePayload<'static>>,
}

/// What both sides have agreed upon. An SA comes of it once all key exchanges are done.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) inbound: ChildSpi,
    outbound: ChildSpi,
    suite: EspSuite,
    local_ts: Arc<[TrafficSelector]>,
    remote_ts: Arc<[TrafficSelector]>,
    ni: Box<[u8]>,
    nr: Box<[u8]>,
    /// Of the key exchanges so far.
    secrets: Vec<Secret>,
    /// Whether we began the exchange.
    is_initiator: bool,
    pub(crate) replaces: Option<ChildSpi>,
}

impl Draft {
    /// The method of the next key exchange (`RFC 9370 §2.2.4`).
    pub(crate) fn next(&self) -> Option<KeyExchangeMethod> {
        // With additional ones there is a first one.
        self.suite.additional.methods().nth(self.secrets.len().saturating_sub(1))
    }

    /// The method of the first one.
    pub(crate) const fn first(&self) -> Option<KeyExchangeMethod> {
        self.suite.key_exchange
    }

    /// A key exchange is done.
    pub(crate) fn add(&mut self, secret: Secret) {
        self.secrets.push(secret);
    }

    /// The responder's nonce.
    pub(crate) fn nr(&self) -> &[u8] {
        &self.nr
    }

    /// The lower one of the nonces, which decides between two of them.
    pub(crate) fn lowest(&self) -> &[u8] {
        lower(&self.ni, &self.nr)
    }

    /// The SA. Our SPI stays reserved, whatever comes of it.
    pub(crate) fn finish(
        self,
        ctx: &mut Context<'_>,
        ground: Ground<'_>,
    ) -> Result<(Child, Box<InstallChild>), Refusal> {
        let Self { inbound, outbound, suite, local_ts, remote_ts, ni, nr, secrets, is_initiator, replaces } =
            self;
        let keys = keys(ctx, ground, suite, Nonces { initiator: &ni, responder: &nr }, &secrets)?;
        let made = Made { inbound, outbound, suite, local_ts, remote_ts, keys, is_initiator, replaces };
        Ok(made.finish(ctx, ground))
    }
}

/// The lower one of two nonces, octet by octet; the shorter one if it is the beginning of the other
/// (`RFC 7296 §2.8.1`).
pub(crate) fn lower<'a>(one: &'a [u8], other: &'a [u8]) -> &'a [u8] {
    one.min(other)
}

/// Why nothing has come of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChildRefusal {
    /// Another key exchange method is wanted.
    OtherMethod(KeyExchangeMethod),
    /// Something else.
    Refused(Refusal),
}

impl From<Refusal> for ChildRefusal {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Answers an offer. Our SPI is reserved from then on.
pub(crate) fn accept(
    ctx: &mut Context<'_>,
    ground: Ground<'_>,
    offer: &Offer<'_>,
) -> Result<Accepted, ChildRefusal> {
    let proposals = proposals(ctx.settings, ground.profile);
    let choice = EspProposal::choose(proposals, offer.sa, offer.exchange).map_err(|none| match none {
        NoChoice::NoProposal => {
            let wanted: Vec<String> = proposals.iter().map(ToString::to_string).collect();
            let detail = format!("offered {}, wanted {}", offered(offer.sa), wanted.join(" or "));
            ChildRefusal::Refused(Refusal::new(Failure::NoProposal, detail))
        }
        NoChoice::OtherMethod { wanted } => ChildRefusal::OtherMethod(wanted),
    })?;
    let suite = choice.suite;
    let ProposalSpi::Child(ChildProtocol::Esp, outbound) = choice.spi else {
        return Err(Refusal::new(Failure::NoProposal, "not ESP").into());
    };
    // RFC 7296 §2.9.2: rekeying makes no selector wider or narrower than it was.
    let (local, remote) = match &offer.replaces {
        Some(old) => (old.local_ts.to_vec(), old.remote_ts.to_vec()),
        None => (allowed_local(ground), allowed_remote(ground)),
    };
    let (Some(ts_i), Some(ts_r)) = (narrow(offer.ts_i, &remote), narrow(offer.ts_r, &local)) else {
        let detail = format!(
            "offered {} to {}, allowed {} to {}",
            shown(&offer.ts_i.0),
            shown(&offer.ts_r.0),
            shown(&remote),
            shown(&local)
        );
        return Err(Refusal::new(Failure::Selectors, detail).into());
    };
    let (public, shared) = exchange_keys(ctx, suite, offer.public)?;
    let inbound = assign(ctx, ground)?;
    let draft = Draft {
        inbound,
        outbound,
        suite,
        local_ts: ts_r.0.as_slice().into(),
        remote_ts: ts_i.0.as_slice().into(),
        ni: offer.nonces.initiator.into(),
        nr: offer.nonces.responder.into(),
        secrets: shared.into_iter().collect(),
        is_initiator: false,
        replaces: offer.replaces.as_ref().map(|old| old.inbound),
    };
    let sa = choice.answer(ProposalSpi::Child(ChildProtocol::Esp, inbound));
    Ok(Accepted { draft, sa, ts_i, ts_r, public })
}

/// What we have offered, until the answer comes.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) inbound: ChildSpi,
    pub(crate) sa: Sa,
    pub(crate) local_ts: TrafficSelectors,
    pub(crate) remote_ts: TrafficSelectors,
    pub(crate) nonce: Box<[u8]>,
    pub(crate) key_exchange: Option<KeyExchange>,
    pub(crate) replaces: Option<ChildSpi>,
    /// Whether the peer has chosen the key exchange method.
    pub(crate) is_retry: bool,
    /// The key exchange that follows, once the offer is agreed upon.
    pub(crate) followup: Option<Box<Followup<Draft>>>,
    /// SPIs of Child SAs that the peer has deleted and that we have never heard of: what it has made
    /// of the offer may be among them, if its response comes later than its delete.
    pub(crate) gone: Vec<ChildSpi>,
}

/// What the peer has made of our offer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) sa: &'a Sa,
    pub(crate) ts_i: &'a TrafficSelectors,
    pub(crate) ts_r: &'a TrafficSelectors,
    pub(crate) nonces: Nonces<'a>,
    pub(crate) public: Option<&'a KePayload<'a>>,
}

impl Request {
    /// An offer in IKE_AUTH, or in CREATE_CHILD_SA with the first of our methods or the one that the
    /// peer wants.
    pub(crate) fn new(
        ctx: &mut Context<'_>,
        profile: &Profile,
        owner: u64,
        selectors: (TrafficSelectors, TrafficSelectors),
        exchange: Wanted,
        replaces: Option<ChildSpi>,
    ) -> Result<Self, Refusal> {
        let proposals = proposals(ctx.settings, profile);
        let method = match exchange {
            Wanted::None => None,
            Wanted::First => proposals.iter().find_map(|proposal| proposal.key_exchanges().next()),
            Wanted::Method(method) => Some(method),
        };
        let method = method.filter(|method| *method != KeyExchangeMethod::None);
        // A group that we have not offered would be a downgrade.
        let is_offered =
            |method| proposals.iter().any(|ours| ours.key_exchanges().any(|ours| ours == method));
        if let Some(method) = method.filter(|method| !is_offered(*method)) {
            return Err(Refusal::new(Failure::OtherGroup, format!("{method} was not offered")));
        }
        let is_retry = matches!(exchange, Wanted::Method(_));
        let key_exchange = match method {
            Some(method) => Some(generate(ctx, method)?),
            None => None,
        };
        let inbound =
            ctx.spis.assign(ctx.rng, owner).ok_or_else(|| Refusal::new(Failure::Local, "no SPI is free"))?;
        let exchange = match exchange {
            Wanted::None => EspExchange::IkeAuth,
            Wanted::First | Wanted::Method(_) => EspExchange::CreateChildSa(method),
        };
        let Some(sa) = EspProposal::offer(proposals, inbound, exchange) else {
            ctx.spis.release(inbound);
            return Err(Refusal::new(Failure::Local, "there are no ESP proposals"));
        };
        let (local_ts, remote_ts) = selectors;
        let nonce: [u8; NONCE_LENGTH] = ctx.rng.array();
        Ok(Self {
            inbound,
            sa,
            local_ts,
            remote_ts,
            nonce: nonce.into(),
            key_exchange,
            replaces,
            is_retry,
            followup: None,
            gone: Vec::new(),
        })
    }

    /// The SA that the answer makes of it. On failure our SPI stays reserved: the peer has made
    /// something with it.
    pub(crate) fn complete(
        mut self,
        ctx: &mut Context<'_>,
        ground: Ground<'_>,
        answer: &Answer<'_>,
    ) -> Result<(Child, Box<InstallChild>), Refusal> {
        self.draft(answer)?.finish(ctx, ground)
    }

    /// What the answer makes of it, before all key exchanges are done.
    pub(crate) fn draft(&mut self, answer: &Answer<'_>) -> Result<Draft, Refusal> {
        let key_exchange = self.key_exchange.take();
        let choice = EspSuite::chosen(&self.sa, answer.sa)
            .map_err(|not_offered| Refusal::new(Failure::NoProposal, not_offered.to_string()))?;
        let suite = choice.suite;
        let ProposalSpi::Child(ChildProtocol::Esp, outbound) = choice.spi else {
            return Err(Refusal::new(Failure::NoProposal, "not ESP"));
        };
        // RFC 7296 §2.9: the answer is never more than what was offered.
        let is_within = is_subset(answer.ts_i, &self.local_ts) && is_subset(answer.ts_r, &self.remote_ts);
        let is_empty = answer.ts_i.0.is_empty() || answer.ts_r.0.is_empty();
        if !is_within || is_empty {
            let detail = format!("answered {} to {}", shown(&answer.ts_i.0), shown(&answer.ts_r.0));
            return Err(Refusal::new(Failure::Selectors, detail));
        }
        let shared = match (suite.key_exchange, key_exchange, answer.public) {
            (None, _, _) => None,
            (Some(method), Some(ours), Some(theirs))
                if method == theirs.method && suite::group(method) == Some(ours.group()) =>
            {
                Some(agree(ours, &theirs.data)?)
            }
            (Some(_), _, _) => {
                return Err(Refusal::new(
                    Failure::BadPublicValue,
                    "a public value of another group, or none",
                ));
            }
        };
        Ok(Draft {
            inbound: self.inbound,
            outbound,
            suite,
            local_ts: answer.ts_i.0.as_slice().into(),
            remote_ts: answer.ts_r.0.as_slice().into(),
            ni: answer.nonces.initiator.into(),
            nr: answer.nonces.responder.into(),
            secrets: shared.into_iter().collect(),
            is_initiator: true,
            replaces: self.replaces,
        })
    }
}

/// Whether a key exchange goes with an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// None: the offer goes into IKE_AUTH.
    None,
    /// The first of our methods, if there is one.
    First,
    /// This one.
    Method(KeyExchangeMethod),
}

/// A draft with its keys.
struct Made {
    inbound: ChildSpi,
    outbound: ChildSpi,
    suite: EspSuite,
    local_ts: Arc<[TrafficSelector]>,
    remote_ts: Arc<[TrafficSelector]>,
    keys: ChildKeys,
    /// Whether we began the exchange.
    is_initiator: bool,
    replaces: Option<ChildSpi>,
}

impl Made {
    fn finish(self, ctx: &mut Context<'_>, ground: Ground<'_>) -> (Child, Box<InstallChild>) {
        let ChildKeys { from_initiator, from_responder } = self.keys;
        let (outbound_keys, inbound_keys) = if self.is_initiator {
            (from_initiator, from_responder)
        } else {
            (from_responder, from_initiator)
        };
        let now = ctx.now.mono;
        let lifetimes = ground.profile.lifetimes;
        let rekey_at = lifetimes.child.map(|lifetime| now + jittered(ctx, lifetime));
        let expires_at = lifetimes.child.map(|lifetime| now + lifetime + lifetimes.grace);
        // Those of a Child SA that is replaced go with it.
        let own_addresses = ground.given.to_vec();
        let install = InstallChild {
            inbound: self.inbound,
            outbound: self.outbound,
            inbound_keys,
            outbound_keys,
            is_extended: self.suite.sequence_numbers == SequenceNumbers::Extended,
            local_ts: Arc::clone(&self.local_ts),
            remote_ts: Arc::clone(&self.remote_ts),
            path: ground.path,
            is_encapsulated: ground.nat.is_encapsulated,
            may_move: ground.nat.before_peer,
            replaces: self.replaces,
            // RFC 7296 §2.8: whoever has asked for a new SA knows that the other side has it; the
            // other side goes on with the old one until that is deleted.
            is_outbound: self.is_initiator || self.replaces.is_none(),
            own_addresses,
            volume: lifetimes.volume,
            session: None,
        };
        let child = Child {
            inbound: self.inbound,
            outbound: self.outbound,
            suite: self.suite,
            local_ts: self.local_ts,
            remote_ts: self.remote_ts,
            is_encapsulated: ground.nat.is_encapsulated,
            made_at: now,
            rekey_at,
            expires_at,
            stage: ChildStage::Active,
        };
        (child, Box::new(install))
    }
}

/// A lifetime without up to a tenth of it.
pub(crate) fn jittered(ctx: &mut Context<'_>, lifetime: std::time::Duration) -> std::time::Duration {
    ctx.rng.between(lifetime - lifetime / 10, lifetime)
}

fn proposals<'a>(settings: &'a Settings, profile: &'a Profile) -> &'a [EspProposal] {
    if profile.esp_proposals.is_empty() { &settings.esp_proposals } else { &profile.esp_proposals }
}

/// What may lie behind the peer.
fn allowed_remote(ground: Ground<'_>) -> Vec<TrafficSelector> {
    if !ground.leases.is_empty() {
        return ground.leases.iter().map(|lease| host(lease.address)).collect();
    }
    if ground.profile.remote_ts.is_empty() {
        return vec![host(ground.path.remote.ip())];
    }
    ground.profile.remote_ts.clone()
}

/// What may be reached through us.
fn allowed_local(ground: Ground<'_>) -> Vec<TrafficSelector> {
    if !ground.given.is_empty() {
        return ground.given.iter().map(|address| host(*address)).collect();
    }
    if ground.profile.local_ts.is_empty() {
        return vec![host(ground.path.local.ip())];
    }
    ground.profile.local_ts.clone()
}

/// Everything that goes to or comes from one address.
pub(crate) fn host(address: IpAddr) -> TrafficSelector {
    // A range of one address never ends before it begins.
    let addresses = match address {
        IpAddr::V4(address) => Span::new(address, address).map(AddressRange::V4),
        IpAddr::V6(address) => Span::new(address, address).map(AddressRange::V6),
    };
    let everything = AddressRange::V4(Span::MAX_V4);
    TrafficSelector::Ip { protocol: 0, ports: Ports::Any, addresses: addresses.unwrap_or(everything) }
}

/// Our half of the key exchange, and what comes of both.
fn exchange_keys(
    ctx: &mut Context<'_>,
    suite: EspSuite,
    public: Option<&KePayload<'_>>,
) -> Result<(Option<KePayload<'static>>, Option<Secret>), Refusal> {
    let Some(method) = suite.key_exchange else { return Ok((None, None)) };
    let Some(theirs) = public.filter(|theirs| theirs.method == method) else {
        return Err(Refusal::new(Failure::BadPublicValue, "no public value"));
    };
    let ours = respond(ctx, method, &theirs.data)?;
    let payload = KePayload { method, data: ours.public().to_vec().into() };
    Ok((Some(payload), Some(secret(ours)?)))
}

/// Our half of a key exchange that the peer has begun with this public value.
pub(crate) fn respond(
    ctx: &mut Context<'_>,
    method: KeyExchangeMethod,
    theirs: &[u8],
) -> Result<kex::Answer, Refusal> {
    let group = suite::group(method).ok_or_else(|| Refusal::new(Failure::NoProposal, "an unknown group"))?;
    ctx.provider.answer(group, theirs, ctx.rng).map_err(|error| {
        let failure = match error {
            KeyExchangeError::Library => Failure::Local,
            KeyExchangeError::Length { .. }
            | KeyExchangeError::Degenerate { .. }
            | KeyExchangeError::OffCurve { .. }
            | KeyExchangeError::ZeroSecret { .. }
            | KeyExchangeError::BadKey { .. } => Failure::BadPublicValue,
        };
        Refusal::new(failure, error.to_string())
    })
}

/// What comes of both halves.
pub(crate) fn secret(half: kex::Answer) -> Result<Secret, Refusal> {
    half.secret().map_err(|error| Refusal::new(Failure::BadPublicValue, error.to_string()))
}

/// Our half of a key exchange that we begin.
pub(crate) fn generate(ctx: &mut Context<'_>, method: KeyExchangeMethod) -> Result<KeyExchange, Refusal> {
    let group = suite::group(method).ok_or_else(|| Refusal::new(Failure::NoProposal, "an unknown group"))?;
    let provider: Provider = ctx.provider;
    provider.key_exchange(group, ctx.rng).map_err(|error| Refusal::new(Failure::Local, error.to_string()))
}

/// What comes of both halves.
pub(crate) fn agree(ours: KeyExchange, theirs: &[u8]) -> Result<Secret, Refusal> {
    ours.agree(theirs).map_err(|error| Refusal::new(Failure::BadPublicValue, error.to_string()))
}

fn keys(
    ctx: &Context<'_>,
    ground: Ground<'_>,
    suite: EspSuite,
    nonces: Nonces<'_>,
    shared: &[Secret],
) -> Result<ChildKeys, Refusal> {
    let protection = suite::esp(suite, ctx.settings.legacy)
        .ok_or_else(|| Refusal::new(Failure::NoProposal, "an unknown algorithm"))?;
    ground
        .derivation
        .child(ctx.provider, protection, nonces, shared)
        .map_err(|error| Refusal::new(Failure::Local, error.to_string()))
}

fn assign(ctx: &mut Context<'_>, ground: Ground<'_>) -> Result<ChildSpi, Refusal> {
    ctx.spis.assign(ctx.rng, ground.owner).ok_or_else(|| Refusal::new(Failure::Local, "no SPI is free"))
}

/// An offer for people: a line, whatever the peer sent.
pub(crate) fn offered(sa: &Sa) -> String {
    let mut text = String::new();
    for (position, proposal) in sa.proposals().iter().enumerate() {
        if text.len() > MAX_SHOWN {
            text.push_str(", …");
            break;
        }
        text.push_str(if position == 0 { "" } else { ", " });
        text.push_str(&crate::ike::proposal::words(&proposal.transforms, MAX_SHOWN));
    }
    text
}

/// Selectors for people.
fn shown(selectors: &[TrafficSelector]) -> String {
    let mut words: Vec<String> = selectors.iter().take(4).map(ToString::to_string).collect();
    if selectors.len() > words.len() {
        words.push("…".to_owned());
    }
    words.join(",")
}

/// Octets of our nonces: as many as the longest key of a PRF needs (`RFC 7296 §2.10`: half of it).
pub(crate) const NONCE_LENGTH: usize = 32;
/// Characters of an offer that are shown.
const MAX_SHOWN: usize = 400;
