//! The initiator before the IKE_AUTH response.
//!
//! # References
//!
//! `RFC 7296 §1.2`, `§2.15`, `§2.19`, `§2.21.2`; `RFC 5685 §6`; `RFC 5723 §4.2`, `§4.3.3`.

use std::net::IpAddr;
use std::sync::Arc;

use crate::crypto::prf::PrfKey;
use crate::crypto::sign::HashAlgorithm;
use crate::gateway::GatewayAddress;
use crate::ike::authn::PeerAuthenticated;
use crate::ike::authn::resumed::Reading;
use crate::ike::client::{self, News};
use crate::ike::config::Connection;
use crate::ike::event::{CloseReason, Discard, Event, Failure, RedirectRefusal};
use crate::ike::io::Path;
use crate::ike::message::{Channel, Verified};
use crate::ike::proposal::IkeSuite;
use crate::ike::rules::{self, Form, Outside};
use crate::ike::sa::await_eap;
use crate::ike::sa::await_further::AwaitFurther;
use crate::ike::sa::await_resume;
use crate::ike::sa::child::{Answer, Request, Wanted, host};
use crate::ike::sa::configuration::{addresses, ask};
use crate::ike::sa::context::{Context, Misdirected, Refusal};
use crate::ike::sa::established::{Established, Fresh, mobike};
use crate::ike::sa::intermediate::{Further, between};
use crate::ike::sa::keymat::{DerivationKey, Nonces, Proofs};
use crate::ike::sa::natt::Nat;
use crate::ike::sa::opening::{Errand, fail, half_open, unanswered};
use crate::ike::sa::payloads::{self, ChildPayloads, unreadable};
use crate::ike::sa::peer::Peer;
use crate::ike::sa::ppk::Mix;
use crate::ike::sa::proof::{self, Claimant, Exchange, Introduction};
use crate::ike::sa::wallet::Kept;
use crate::ike::sa::window::Due;
use crate::ike::sa::{Effects, Names, State, transmit};
use crate::ike::snapshot::SaSnapshot;
#[cfg(any(test, feature = "testing"))]
use crate::ike::wire::ChildSpi;
use crate::ike::wire::{
    AddressRange, Chain, Configuration, Direction, ExchangeType, Id, Message, NotifyType, OriginalRole,
    Payload, PayloadType, Ports, Span, TrafficSelector, TrafficSelectors,
};
use crate::machine::Deadline;
use crate::time::{Instant, Now};

/// IKE_AUTH is sent.
#[derive(Debug)]
pub(crate) struct AwaitAuth {
    pub(crate) connection: Arc<Connection>,
    pub(crate) path: Path,
    local: Arc<str>,
    local_id: Id<'static>,
    /// Where the exchange began, before it went to another port.
    begun_on: Path,
    errand: Errand,
    made_at: Instant,
    /// Until the established state takes it over.
    pub(crate) offer: Option<Box<(Introduced, Request)>>,
}

/// What IKE_SA_INIT has led to.
#[derive(Debug)]
pub(crate) struct Introduced {
    pub(crate) connection: Arc<Connection>,
    /// Where it began.
    pub(crate) begun_on: Path,
    pub(crate) path: Path,
    pub(crate) nat: Nat,
    pub(crate) suite: IkeSuite,
    pub(crate) channel: Channel,
    pub(crate) derivation: DerivationKey,
    pub(crate) proof_i: PrfKey,
    pub(crate) proof_r: PrfKey,
    pub(crate) proofs: Proofs,
    /// Key exchanges that follow before IKE_AUTH.
    pub(crate) further: Option<Box<Further>>,
    /// A key that both sides have had before, to be mixed in.
    pub(crate) mix: Option<Box<Mix>>,
    /// The request and the response: AUTH covers both.
    pub(crate) request: Box<[u8]>,
    pub(crate) response: Box<[u8]>,
    pub(crate) ni: Box<[u8]>,
    pub(crate) nr: Box<[u8]>,
    pub(crate) hashes: Option<Box<[HashAlgorithm]>>,
    pub(crate) errand: Errand,
    /// The ticket that was presented.
    pub(crate) kept: Option<Box<Kept>>,
    pub(crate) made_at: Instant,
}

impl Introduced {
    /// What comes next: another key exchange, or IKE_AUTH.
    pub(crate) fn go_on(self, ctx: &mut Context<'_>, names: Names) -> Result<State, Refusal> {
        let method = self.further.as_deref().and_then(|further| further.next());
        Ok(match method {
            Some(method) => State::AwaitFurther(Box::new(AwaitFurther::start(ctx, names, self, method)?)),
            None => State::AwaitAuth(Box::new(AwaitAuth::start(ctx, names, self)?)),
        })
    }

    pub(crate) fn exchange(&self, ctx: &Context<'_>) -> Exchange<'_> {
        Exchange {
            provider: ctx.provider,
            legacy: ctx.settings.legacy,
            now: ctx.now.wall,
            request: &self.request,
            response: &self.response,
            ni: &self.ni,
            nr: &self.nr,
            between: between(self.further.as_deref()),
            proof_i: &self.proof_i,
            proof_r: &self.proof_r,
            hashes: self.hashes.as_deref(),
            local: self.path.local.ip(),
        }
    }
}

impl AwaitAuth {
    /// Sends the IKE_AUTH request.
    pub(crate) fn start(
        ctx: &mut Context<'_>,
        names: Names,
        mut introduced: Introduced,
    ) -> Result<Self, Refusal> {
        let connection = Arc::clone(&introduced.connection);
        let profile = &connection.profile;
        introduced.mix(ctx)?;
        let exchange = introduced.exchange(ctx);
        let ours = match &introduced.kept {
            None if await_eap::credentials(profile).is_some() => {
                Introduction::ask_for_eap(&exchange, profile)
            }
            None => {
                let begin = |exchange: &Exchange<'_>| {
                    Introduction::begin(exchange, profile)
                        .map_err(|error| Refusal::new(error.failure(), error.to_string()))
                };
                let (ours, mention) = introduced.prove(ctx, begin, Introduction::into_auth)?;
                ours.mentioning(mention)
            }
            Some(kept) => {
                let side = OriginalRole::Initiator;
                Introduction::resumed(&exchange, side, kept.local.clone(), Reading::Whole)
            }
        };
        let local_id = ours.id.clone();
        let ours_shown = Arc::clone(&ours.shown);
        let selectors = selectors(&connection, introduced.path);
        let child = Request::new(ctx, profile, names.ours(), selectors, Wanted::None, None)?;
        let had = match &introduced.kept {
            Some(kept) if introduced.errand.addresses.is_empty() => &kept.addresses,
            Some(_) | None => &introduced.errand.addresses,
        };
        let wishes = ask(connection.wants_ipv4, connection.wants_ipv6, had);
        let id =
            introduced.channel.window.next().ok_or_else(|| Refusal::new(Failure::Local, "no Message ID"))?;
        let header = names.header(ExchangeType::IkeAuth, Direction::Request, id);
        let (path, nat, size) = (introduced.path, introduced.nat, ctx.settings.fragment_size);
        // A session that goes on says by its ticket which SA is void.
        let is_sole = introduced.errand.is_sole && introduced.kept.is_none();
        let is_eap_only = introduced.kept.is_none() && await_eap::is_alone(profile);
        let sealed = introduced.channel.seal(&header, path, size, ctx.rng, |chain| {
            ours.write(chain)?;
            if is_sole {
                chain.plain(NotifyType::InitialContact)?;
            }
            if is_eap_only {
                chain.plain(NotifyType::EapOnlyAuthentication)?;
            }
            if let Some(wishes) = wishes {
                chain.push(&Payload::Configuration(wishes))?;
            }
            chain.push(&Payload::Sa(child.sa.clone()))?;
            chain.push(&Payload::TsI(child.local_ts.clone()))?;
            chain.push(&Payload::TsR(child.remote_ts.clone()))?;
            if profile.mobility.is_allowed {
                mobike::offer(chain, path, nat)?;
            }
            if profile.resumes { chain.plain(NotifyType::TicketRequest) } else { Ok(()) }
        });
        let datagrams = match sealed {
            Ok(datagrams) => datagrams,
            Err(error) => {
                ctx.spis.release(child.inbound);
                return Err(Refusal::new(Failure::Local, error.to_string()));
            }
        };
        transmit(ctx, path, &datagrams);
        let settings = connection.upkeep.retransmission(ctx.settings.retransmission);
        introduced.channel.window.sent(ctx.now, ExchangeType::IkeAuth, datagrams, &settings);
        let (local, begun_on, made_at) = (ours_shown, introduced.begun_on, introduced.made_at);
        let errand = introduced.errand.clone();
        let offer = Some(Box::new((introduced, child)));
        Ok(Self { connection, path, local, local_id, begun_on, errand, made_at, offer })
    }

    pub(crate) fn datagram(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        message: &Message<'_>,
        outside: &Outside<'_>,
        effects: &mut Effects,
    ) -> Result<(), Discard> {
        let Some((introduced, _)) = self.offer.as_deref_mut() else {
            return Err(Discard::UnexpectedExchange);
        };
        let Some(verified) = introduced.channel.response(message, outside)? else { return Ok(()) };
        if introduced.kept.is_none() && await_eap::credentials(&self.connection.profile).is_some() {
            self.begin_eap(ctx, names, &verified, effects);
            return Ok(());
        }
        match self.believe(ctx, &verified) {
            Ok((proof, response)) => self.conclude(ctx, names, proof, &response, effects),
            Err(refusal) => {
                self.give_up(ctx, names, &refusal, effects);
                effects.is_gone = true;
            }
        }
        Ok(())
    }

    /// The responder is believed, whose last response this is.
    pub(crate) fn conclude(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        proof: PeerAuthenticated,
        response: &Response<'_>,
        effects: &mut Effects,
    ) {
        match self.elsewhere(ctx, response) {
            Answered::Here => self.establish(ctx, names, proof, response, effects),
            Answered::Nowhere => {
                let refusal = Refusal::new(Failure::PeerRefused, NotifyType::Redirect.label());
                fail(ctx, names, &self.connection, &refusal);
                self.leave(ctx, names, proof, &response.chain, effects);
            }
            Answered::Elsewhere(to) => {
                let (exchange, from) = (ExchangeType::IkeAuth, self.path.remote);
                ctx.tell(names.id, News::Sent { exchange, from, to });
                self.leave(ctx, names, proof, &response.chain, effects);
            }
        }
    }

    /// Everything, for the state that goes on.
    pub(crate) fn take(&mut self) -> Self {
        Self {
            connection: Arc::clone(&self.connection),
            path: self.path,
            local: Arc::clone(&self.local),
            local_id: self.local_id.clone(),
            begun_on: self.begun_on,
            errand: self.errand.clone(),
            made_at: self.made_at,
            offer: self.offer.take(),
        }
    }

    /// Believes the responder, or says why not.
    fn believe<'a>(
        &mut self,
        ctx: &mut Context<'_>,
        verified: &'a Verified,
    ) -> Result<(PeerAuthenticated, Response<'a>), Refusal> {
        let chain = verified.chain().map_err(unreadable)?;
        let form = rules::check(ExchangeType::IkeAuth, Direction::Response, &chain)
            .map_err(|violation| Refusal::new(Failure::Syntax, violation.to_string()))?;
        if form != Form::AuthResponse {
            if chain.notify(NotifyType::Redirect).is_some() {
                // RFC 5685 §6: only beside the gateway's AUTH, and in no round in between.
                self.misdirected(ctx, RedirectRefusal::WrongTime, None);
            }
            let kind = payloads::error(&chain);
            let detail = kind.map_or_else(|| "something else than AUTH".to_owned(), |kind| kind.to_string());
            return Err(Refusal::new(Failure::PeerRefused, detail));
        }
        let Some((introduced, _)) = self.offer.as_deref_mut() else {
            return Err(Refusal::new(Failure::Local, "nothing was offered"));
        };
        introduced.settle_mix(&chain)?;
        let claimant = Claimant::responder(&chain).map_err(unreadable)?;
        let (exchange, profile) = (introduced.exchange(ctx), &self.connection.profile);
        let proof = match &introduced.kept {
            None => proof::confirm(&exchange, profile, &claimant),
            // RFC 5723 §4.3.3: it is who it was.
            Some(kept) => {
                let (side, expected) = (OriginalRole::Responder, kept.peer.identity());
                proof::confirm_resumed(&exchange, side, profile, &claimant, expected).map(|(proof, _)| proof)
            }
        };
        let proof = proof.map_err(|error| Refusal::new(error.failure(), error.to_string()))?;
        Ok((proof, Response::read(chain)?))
    }

    /// What a response of a gateway that has proved who it is makes of the SA (`RFC 5685 §6`).
    pub(crate) fn elsewhere(&self, ctx: &mut Context<'_>, response: &Response<'_>) -> Answered {
        let Some(notify) = response.chain.notify(NotifyType::Redirect) else { return Answered::Here };
        match client::read(&notify, None) {
            Ok(to) if ctx.settings.follows_redirects => Answered::Elsewhere(to),
            Ok(to) => {
                // Whoever has not said that it follows gets an SA without a Child SA at most.
                self.misdirected(ctx, RedirectRefusal::Disabled, Some(to));
                Answered::Here
            }
            Err(reason) => {
                self.misdirected(ctx, reason, None);
                if response.child.is_some() { Answered::Here } else { Answered::Nowhere }
            }
        }
    }

    pub(crate) fn misdirected(
        &self,
        ctx: &mut Context<'_>,
        reason: RedirectRefusal,
        to: Option<GatewayAddress>,
    ) {
        let connection = Some(self.connection.profile.name.clone());
        ctx.misdirected(reason, Misdirected { connection, from: self.path.remote, to });
    }

    fn peer(
        &self,
        ctx: &Context<'_>,
        proof: PeerAuthenticated,
        errand: &Errand,
        is_resumed: bool,
    ) -> Arc<Peer> {
        Arc::new(Peer {
            basis: Peer::basis(&proof, ctx.now.wall),
            proof,
            local: Arc::clone(&self.local),
            local_id: self.local_id.clone(),
            are_we_client: true,
            redirected_from: errand.redirected_from,
            follows_redirects: ctx.settings.follows_redirects,
            is_resumed,
        })
    }

    /// Deletes the SA, whose peer takes it for one in use.
    fn leave(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        proof: PeerAuthenticated,
        response: &Chain<'_>,
        effects: &mut Effects,
    ) {
        let Some(offer) = self.offer.take() else { return };
        let (Introduced { path, nat, suite, channel, derivation, errand, kept, .. }, request) = *offer;
        ctx.spis.release(request.inbound);
        let peer = self.peer(ctx, proof, &errand, kept.is_some());
        let mut sa = Established::new(ctx, Fresh { channel, derivation, suite, peer, path, nat });
        // Where we are sent to we need not say again who we are.
        sa.take_ticket(ctx, names, response);
        sa.close_remnant(ctx, CloseReason::Redirected);
        sa.wake(ctx, names, effects);
        effects.next = Some(State::Established(Box::new(sa)));
    }

    fn establish(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        proof: PeerAuthenticated,
        response: &Response<'_>,
        effects: &mut Effects,
    ) {
        let Some(offer) = self.offer.take() else { return };
        let (introduced, request) = *offer;
        let Introduced { path, nat, suite, channel, derivation, ni, nr, errand, made_at, kept, .. } =
            introduced;
        let is_resumed = kept.is_some();
        let peer = self.peer(ctx, proof, &errand, is_resumed);
        effects.registers = Some(Arc::clone(peer.proof.holder()));
        let mut sa = Established::new(ctx, Fresh { channel, derivation, suite, peer, path, nat });
        sa.take_addresses(&response.given);
        sa.become_mobile(ctx, names, &response.chain);
        ctx.tell(names.id, News::Up);
        ctx.counters.established_initiator = ctx.counters.established_initiator.saturating_add(1);
        let label = sa.label(names);
        ctx.event(Event::Established {
            sa: label.clone(),
            is_initiator: true,
            suite: suite.to_string().into(),
            took: ctx.now.mono.since(made_at),
            addresses: response.given.clone(),
            is_resumed,
        });
        ctx.counters.resumed = ctx.counters.resumed.saturating_add(u64::from(is_resumed));
        sa.take_ticket(ctx, names, &response.chain);
        let inbound = request.inbound;
        let completed = match &response.child {
            Some(child) => {
                let nonces = Nonces { initiator: &ni, responder: &nr };
                let (ts_i, ts_r) = (&child.ts_i, &child.ts_r);
                let answer = Answer { sa: &child.sa, ts_i, ts_r, nonces, public: None };
                let profile = Arc::clone(sa.peer().profile());
                // RFC 7296 §2.9: the IKE SA stays, the Child SA that the peer has made does not.
                let completed = request.complete(ctx, sa.ground(names, &profile), &answer);
                completed.inspect_err(|_refused| sa.disown(inbound))
            }
            None => {
                ctx.spis.release(inbound);
                let kind = payloads::error(&response.chain);
                let detail = kind.map_or_else(|| "no Child SA".to_owned(), |kind| kind.to_string());
                Err(Refusal::new(Failure::PeerRefused, detail))
            }
        };
        match completed {
            Ok((child, install)) => sa.adopt(ctx, names, child, install),
            Err(refusal) => ctx.refuse_child(label, refusal),
        }
        sa.wake(ctx, names, effects);
        effects.next = Some(State::Established(Box::new(sa)));
    }

    /// Who we have said we are.
    pub(crate) const fn local_id(&self) -> &Id<'static> {
        &self.local_id
    }

    /// Gives back what was reserved.
    pub(crate) fn release(&mut self, ctx: &mut Context<'_>) {
        if let Some(offer) = self.offer.take() {
            ctx.spis.release(offer.1.inbound);
        }
    }

    /// The SPI that is reserved for its Child SA.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn reserved(&self) -> Option<ChildSpi> {
        self.offer.as_deref().map(|(_, request)| request.inbound)
    }

    pub(crate) fn give_up(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        refusal: &Refusal,
        effects: &mut Effects,
    ) {
        // RFC 7296 §2.21.2: the peer thinks that the SA is up, and is told that it is not.
        if !matches!(refusal.failure, Failure::PeerRefused | Failure::Eap)
            && let Some((introduced, _)) = self.offer.as_deref_mut()
            && let Some(id) = introduced.channel.window.next()
        {
            let header = names.header(ExchangeType::Informational, Direction::Request, id);
            let (path, size) = (introduced.path, ctx.settings.fragment_size);
            let sealed = introduced
                .channel
                .seal(&header, path, size, ctx.rng, |chain| chain.plain(NotifyType::AuthenticationFailed));
            if let Ok(datagrams) = sealed {
                transmit(ctx, path, &datagrams);
            }
        }
        let kept = self.offer.as_deref_mut().and_then(|(introduced, _)| introduced.kept.take());
        self.release(ctx);
        if kept.is_none() {
            return fail(ctx, names, &self.connection, refusal);
        }
        // The ticket is of no use. Who we are is asked for as if there had been none.
        let gateway = self.path.remote;
        ctx.event(Event::TicketRefused { connection: self.connection.profile.name.clone(), gateway });
        effects.spawned = await_resume::anew(ctx, names, &self.connection, self.begun_on, &self.errand);
    }

    pub(crate) const fn remote(&self) -> std::net::SocketAddr {
        self.path.remote
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let (introduced, _) = self.offer.as_deref()?;
        let at = introduced.channel.window.deadline()?;
        Some(Deadline { at, why: "an IKE_AUTH request is repeated" })
    }

    pub(crate) fn timeout(&mut self, ctx: &mut Context<'_>, names: Names, effects: &mut Effects) {
        let settings = ctx.settings.retransmission;
        let Some((introduced, _)) = self.offer.as_deref_mut() else { return };
        match introduced.channel.window.due(ctx.now, &settings) {
            Due::Nothing => {}
            Due::Repeat(datagrams) => {
                ctx.counters.retransmissions = ctx.counters.retransmissions.saturating_add(1);
                transmit(ctx, introduced.path, datagrams);
            }
            Due::Dead => {
                // Without an answer it is not known to be used (RFC 5723 §4.3.1).
                if let Some(kept) = introduced.kept.take() {
                    ctx.tickets.wallet.keep(self.connection.profile.name.clone(), *kept);
                }
                self.release(ctx);
                let refusal = Refusal::new(Failure::Timeout, unanswered(ExchangeType::IkeAuth, self.path));
                fail(ctx, names, &self.connection, &refusal);
                effects.is_gone = true;
            }
        }
    }

    pub(crate) fn snapshot(&self, names: Names, now: Now) -> SaSnapshot {
        let age = now.mono.since(self.made_at);
        half_open(names, self.path, &self.connection, &self.errand, age)
    }
}

/// What a response is about.
pub(crate) enum Answered {
    /// The SA that was asked for.
    Here,
    /// There is none, and it is not said where one could be had.
    Nowhere,
    /// It is to be had elsewhere.
    Elsewhere(GatewayAddress),
}

/// What is in a response.
pub(crate) struct Response<'a> {
    chain: Chain<'a>,
    given: Vec<IpAddr>,
    child: Option<ChildPayloads>,
}

impl<'a> Response<'a> {
    pub(crate) fn read(chain: Chain<'a>) -> Result<Self, Refusal> {
        let reply = payloads::optional(&chain, PayloadType::Configuration, Configuration::decode)
            .map_err(unreadable)?;
        let given = reply.as_ref().map(addresses).unwrap_or_default();
        let child = ChildPayloads::read(&chain).map_err(unreadable)?;
        Ok(Self { chain, given, child })
    }
}

/// What we offer to protect: as a client that gets an address, everything.
fn selectors(connection: &Connection, path: Path) -> (TrafficSelectors, TrafficSelectors) {
    let profile = &connection.profile;
    let every = |addresses| TrafficSelector::Ip { protocol: 0, ports: Ports::Any, addresses };
    let mut local = Vec::new();
    if connection.wants_ipv4 {
        local.push(every(AddressRange::V4(Span::MAX_V4)));
    }
    if connection.wants_ipv6 {
        local.push(every(AddressRange::V6(Span::MAX_V6)));
    }
    if local.is_empty() {
        local.clone_from(&profile.local_ts);
    }
    if local.is_empty() {
        local.push(host(path.local.ip()));
    }
    let mut remote = profile.remote_ts.clone();
    if remote.is_empty() {
        remote.push(host(path.remote.ip()));
    }
    (TrafficSelectors(local), TrafficSelectors(remote))
}
