//! The initiator before the IKE_SA_INIT response.
//!
//! Nothing that comes here is authenticated. An answer that cannot be used leaves everything as it
//! is, since the right one may still come (`RFC 7296 §2.21.1`); a detour (COOKIE,
//! INVALID_KE_PAYLOAD) changes what is asked next, and a redirect that has our nonce where
//! (`RFC 5685 §3`).
//!
//! # References
//!
//! `RFC 7296 §1.2`, `§2.6`, `§2.7`, `§2.21.1`; `RFC 5685 §3`.

use std::net::IpAddr;
use std::sync::Arc;

use crate::crypto::kex::KeyExchange;
use crate::gateway::GatewayAddress;
use crate::ike::client::{self, News};
use crate::ike::config::{Connection, Profile};
use crate::ike::event::{Discard, Event, Failure, RedirectRefusal};
use crate::ike::io::{NAT_T_PORT, Path};
use crate::ike::message::Channel;
use crate::ike::proposal::{IkeProposal, IkeSuite};
use crate::ike::rules::{Form, Outside};
use crate::ike::sa::answered::abilities;
use crate::ike::sa::await_auth::Introduced;
use crate::ike::sa::child::{NONCE_LENGTH, generate};
use crate::ike::sa::context::{Context, Misdirected, Refusal};
use crate::ike::sa::established::nonce;
use crate::ike::sa::intermediate::Further;
use crate::ike::sa::keymat::{IkeKeys, Nonces, Origin};
use crate::ike::sa::natt::{self, Nat};
use crate::ike::sa::payloads;
use crate::ike::sa::ppk::Mix;
use crate::ike::sa::window::{Due, Window};
use crate::ike::sa::{Effects, Names, suite, transmit};
use crate::ike::snapshot::{SaSnapshot, SaState};
use crate::ike::wire::{
    Chain, ChainWriter, Cookie, Direction, EncodeError, ExchangeType, KeyExchange as KePayload,
    KeyExchangeMethod, Message, MessageId, Notify, NotifyContent, NotifyType, OriginalRole, Payload,
    PayloadType, Sa, encode_message,
};
use crate::machine::Deadline;
use crate::time::{Instant, Now};

/// IKE_SA_INIT is sent.
#[derive(Debug)]
pub(crate) struct AwaitInit {
    connection: Arc<Connection>,
    path: Path,
    offer: Sa,
    nonce: [u8; NONCE_LENGTH],
    method: KeyExchangeMethod,
    key_exchange: Option<KeyExchange>,
    cookie: Option<Cookie<'static>>,
    window: Window,
    /// Detours so far.
    detours: u8,
    /// What the peer has said, which may not have been the peer.
    hint: Option<NotifyType>,
    errand: Errand,
    made_at: Instant,
}

/// What an SA is begun for, besides its connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Errand {
    /// Whether there is no other SA with the peer.
    pub(crate) is_sole: bool,
    /// The gateway that has sent us to this one.
    pub(crate) redirected_from: Option<IpAddr>,
    /// Addresses that we have from another gateway and would like to keep.
    pub(crate) addresses: Vec<IpAddr>,
}

impl Errand {
    /// What the first message says of redirects.
    pub(crate) fn announce(&self, chain: &mut ChainWriter<'_>, follows: bool) -> Result<(), EncodeError> {
        // RFC 5685 §3: whoever says where it comes from need not say that it goes on.
        match self.redirected_from {
            Some(from) => chain.notify(&NotifyContent::RedirectedFrom(from)),
            None if follows => chain.plain(NotifyType::RedirectSupported),
            None => Ok(()),
        }
    }
}

/// Sends the first message of an SA, which is repeated until it is answered.
pub(crate) fn begin(
    ctx: &mut Context<'_>,
    connection: &Connection,
    path: Path,
    exchange: ExchangeType,
    octets: Vec<u8>,
) -> Window {
    let datagrams: Box<[Box<[u8]>]> = vec![octets.into_boxed_slice()].into();
    transmit(ctx, path, &datagrams);
    let mut window = Window::new(MessageId::FIRST, MessageId::FIRST);
    let settings = connection.upkeep.retransmission(ctx.settings.retransmission);
    window.sent(ctx.now, exchange, datagrams, &settings);
    window
}

impl AwaitInit {
    /// Begins an SA, and sends its first message.
    ///
    /// # Errors
    ///
    /// There are no proposals, or something of our own failed.
    pub(crate) fn start(
        ctx: &mut Context<'_>,
        names: Names,
        connection: Arc<Connection>,
        path: Path,
        errand: Errand,
    ) -> Result<Self, Refusal> {
        let lacking = || Refusal::new(Failure::Local, "there are no IKE proposals");
        let proposals = &ctx.settings.ike_proposals;
        let offer = IkeProposal::offer(proposals, None).ok_or_else(lacking)?;
        let method = proposals.iter().find_map(|ours| ours.key_exchanges().next()).ok_or_else(lacking)?;
        let key_exchange = generate(ctx, method)?;
        let mut state = Self {
            connection,
            path,
            offer,
            nonce: ctx.rng.array(),
            method,
            key_exchange: Some(key_exchange),
            cookie: None,
            window: Window::new(MessageId::FIRST, MessageId::FIRST),
            detours: 0,
            hint: None,
            errand,
            made_at: ctx.now.mono,
        };
        state.send(ctx, names)?;
        Ok(state)
    }

    fn send(&mut self, ctx: &mut Context<'_>, names: Names) -> Result<(), Refusal> {
        let header = names.header(ExchangeType::IkeSaInit, Direction::Request, MessageId::FIRST);
        let public = self.key_exchange.as_ref().map(|ours| ours.public().to_vec()).unwrap_or_default();
        let encapsulation = ctx.settings.encapsulation;
        let has_further = ctx.settings.ike_proposals.iter().any(IkeProposal::has_additional);
        let octets = encode_message(Vec::new(), &header, |chain| {
            // RFC 7296 §2.6: the cookie first, everything else as it was.
            if let Some(cookie) = &self.cookie {
                chain.notify(&NotifyContent::Cookie(cookie.clone()))?;
            }
            chain.push(&Payload::Sa(self.offer.clone()))?;
            chain.push(&Payload::KeyExchange(KePayload { method: self.method, data: public.into() }))?;
            nonce(chain, &self.nonce)?;
            natt::announce(chain, names.spi_i, None, self.path, encapsulation, ctx.rng)?;
            abilities(chain)?;
            if self.connection.profile.ppk.is_some() {
                chain.plain(NotifyType::UsePpk)?;
            }
            if has_further {
                chain.plain(NotifyType::IntermediateSupported)?;
            }
            self.errand.announce(chain, ctx.settings.follows_redirects)
        })
        .map_err(|error| Refusal::new(Failure::Local, error.to_string()))?;
        self.window = begin(ctx, &self.connection, self.path, ExchangeType::IkeSaInit, octets);
        Ok(())
    }

    pub(crate) fn datagram(
        &mut self,
        ctx: &mut Context<'_>,
        names: &mut Names,
        path: Path,
        message: &Message<'_>,
        outside: &Outside<'_>,
        effects: &mut Effects,
    ) -> Result<(), Discard> {
        let header = &message.header;
        let is_answer = header.exchange == ExchangeType::IkeSaInit
            && header.direction == Direction::Response
            && header.message_id == MessageId::FIRST;
        // The answer comes from where the request was sent to.
        if !is_answer || path.remote != self.path.remote {
            return Err(Discard::UnexpectedExchange);
        }
        match outside {
            Outside::Clear(Form::InitResponse) => self.answered(ctx, names, path, message, effects),
            Outside::Clear(_) => self.detour(ctx, *names, &message.payloads, effects),
            Outside::Encrypted(_) | Outside::Fragment(_) | Outside::Hint => Err(Discard::UnexpectedExchange),
        }
    }

    /// The peer wants something else first.
    fn detour(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        chain: &Chain<'_>,
        effects: &mut Effects,
    ) -> Result<(), Discard> {
        // Whatever stands beside it, a detour is what the peer wants.
        let wanted = |kind| chain.notify(kind);
        let notify = wanted(NotifyType::Cookie).or_else(|| wanted(NotifyType::InvalidKePayload));
        let Some(notify) = notify.or_else(|| chain.notifies().next()) else { return Err(Discard::Hint) };
        if notify.kind != NotifyType::Cookie
            && notify.kind != NotifyType::InvalidKePayload
            && let Some(notify) = wanted(NotifyType::Redirect)
        {
            return self.sent_elsewhere(ctx, names, &notify, effects);
        }
        match notify.content() {
            _ if self.detours >= MAX_DETOURS => return Err(Discard::Hint),
            Ok(NotifyContent::Cookie(cookie)) => self.cookie = Some(cookie.into_owned()),
            // RFC 7296 §1.2: a group that we have not offered would be a downgrade.
            Ok(NotifyContent::InvalidKePayload(method))
                if self.is_offered(method) && method != self.method =>
            {
                let ours = generate(ctx, method).map_err(|_local| Discard::Hint)?;
                self.method = method;
                self.key_exchange = Some(ours);
            }
            Ok(_) => {
                self.hint = Some(notify.kind);
                return Err(Discard::Hint);
            }
            Err(_malformed) => return Err(Discard::Hint),
        }
        self.detours += 1;
        if let Err(refusal) = self.send(ctx, names) {
            self.fail(ctx, names, &refusal);
            effects.is_gone = true;
        }
        Ok(())
    }

    /// The gateway wants us elsewhere, or somebody else does (`RFC 5685 §3`).
    fn sent_elsewhere(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        notify: &Notify<'_>,
        effects: &mut Effects,
    ) -> Result<(), Discard> {
        let read = match client::read(notify, Some(&self.nonce)) {
            Ok(to) if ctx.settings.follows_redirects => Ok(to),
            Ok(to) => Err((RedirectRefusal::Disabled, Some(to))),
            Err(reason) => Err((reason, None)),
        };
        match read {
            Ok(to) => {
                let (exchange, from) = (ExchangeType::IkeSaInit, self.path.remote);
                ctx.tell(names.id, News::Sent { exchange, from, to });
                effects.is_gone = true;
                Ok(())
            }
            Err((reason, to)) => {
                // The true answer may still come.
                self.misdirected(ctx, reason, to);
                self.hint = Some(notify.kind);
                Err(Discard::Hint)
            }
        }
    }

    fn misdirected(&self, ctx: &mut Context<'_>, reason: RedirectRefusal, to: Option<GatewayAddress>) {
        let connection = Some(self.connection.profile.name.clone());
        ctx.misdirected(reason, Misdirected { connection, from: self.path.remote, to });
    }

    fn is_offered(&self, method: KeyExchangeMethod) -> bool {
        let wanted = crate::ike::wire::Transform::KeyExchange(method);
        self.offer.proposals().iter().any(|proposal| proposal.transforms.contains(&wanted))
    }

    fn answered(
        &mut self,
        ctx: &mut Context<'_>,
        names: &mut Names,
        path: Path,
        message: &Message<'_>,
        effects: &mut Effects,
    ) -> Result<(), Discard> {
        let chain = &message.payloads;
        let spi_r = message.header.spi_r.ok_or(Discard::Malformed)?;
        let answer = payloads::required(chain, PayloadType::Sa, Sa::decode)
            .map_err(|_unreadable| Discard::Malformed)?;
        let nr = payloads::nonce(chain).map_err(|_unreadable| Discard::Malformed)?;
        let public = payloads::public(chain).ok().flatten().ok_or(Discard::Malformed)?;
        let chosen = IkeSuite::chosen(&self.offer, &answer).map_err(|_not_offered| Discard::Syntax)?.suite;
        if chosen.key_exchange != self.method || public.method != self.method {
            return Err(Discard::Syntax);
        }
        // RFC 9370 §2.2.1: what follows has to have an exchange to follow in.
        let can_follow = chain.notify(NotifyType::IntermediateSupported).is_some();
        if !can_follow && !chosen.additional.is_empty() {
            return Err(Discard::Syntax);
        }
        let algorithms = suite::ike(chosen, ctx.settings.legacy).ok_or(Discard::Syntax)?;
        if public.data.len() != algorithms.group.answer_length() {
            return Err(Discard::Syntax);
        }
        let says_so = chain.notify(NotifyType::UsePpk).is_some();
        let mix = match Mix::agreed(&self.connection.profile, says_so) {
            Ok(mix) => mix,
            Err(refusal) => {
                // RFC 8784 §3: there is no other answer to be had.
                self.fail(ctx, *names, &refusal);
                effects.is_gone = true;
                return Ok(());
            }
        };
        let half = self.key_exchange.take().ok_or(Discard::UnexpectedExchange)?;
        let shared = half.agree_or_keep(&public.data).map_err(|(half, _refused)| {
            self.key_exchange = Some(half);
            Discard::Syntax
        })?;
        let origin = Origin {
            provider: ctx.provider,
            suite: algorithms,
            nonces: Nonces { initiator: &self.nonce, responder: nr.as_slice() },
            spi_i: names.spi_i,
            spi_r,
            role: OriginalRole::Initiator,
        };
        let keys = match IkeKeys::initial(origin, &shared) {
            Ok(keys) => keys,
            Err(error) => {
                self.fail(ctx, *names, &Refusal::new(Failure::Local, error.to_string()));
                effects.is_gone = true;
                return Ok(());
            }
        };
        let encapsulation = ctx.settings.encapsulation;
        let nat = Nat::detect(chain, names.spi_i, Some(spi_r), path, encapsulation);
        let path = after_nat_detection(path, nat, &self.connection.profile);
        let mut channel = Channel::new(keys.ours, keys.theirs, Window::new(MessageId(0), MessageId(1)));
        channel.fragments = chain.notify(NotifyType::FragmentationSupported).is_some();
        names.spi_r = Some(spi_r);
        let request = self.window.outstanding().first().cloned().unwrap_or_default();
        let introduced = Introduced {
            connection: Arc::clone(&self.connection),
            begun_on: self.path,
            path,
            nat,
            suite: chosen,
            channel,
            derivation: keys.derivation,
            proof_i: keys.proof_i,
            proof_r: keys.proof_r,
            proofs: keys.proofs,
            further: Further::new(chosen.additional),
            mix,
            request,
            response: message.octets().into(),
            ni: self.nonce.into(),
            nr: nr.as_slice().into(),
            hashes: payloads::hashes(chain),
            errand: self.errand.clone(),
            kept: None,
            made_at: self.made_at,
        };
        match introduced.go_on(ctx, *names) {
            Ok(state) => effects.next = Some(state),
            Err(refusal) => {
                self.fail(ctx, *names, &refusal);
                effects.is_gone = true;
            }
        }
        Ok(())
    }

    fn fail(&self, ctx: &mut Context<'_>, names: Names, refusal: &Refusal) {
        fail(ctx, names, &self.connection, refusal);
    }

    pub(crate) const fn remote(&self) -> std::net::SocketAddr {
        self.path.remote
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.window.deadline().map(|at| Deadline { at, why: "an IKE_SA_INIT request is repeated" })
    }

    pub(crate) fn timeout(&mut self, ctx: &mut Context<'_>, names: Names, effects: &mut Effects) {
        let settings = Arc::clone(ctx.settings);
        match self.window.due(ctx.now, &settings.retransmission) {
            Due::Nothing => {}
            Due::Repeat(datagrams) => {
                ctx.counters.retransmissions = ctx.counters.retransmissions.saturating_add(1);
                transmit(ctx, self.path, datagrams);
            }
            Due::Dead => {
                let refusal = match self.hint {
                    Some(hint) => Refusal::new(Failure::PeerRefused, hint.to_string()),
                    None => Refusal::new(Failure::Timeout, unanswered(ExchangeType::IkeSaInit, self.path)),
                };
                self.fail(ctx, names, &refusal);
                effects.is_gone = true;
            }
        }
    }

    pub(crate) fn snapshot(&self, names: Names, now: Now) -> SaSnapshot {
        let age = now.mono.since(self.made_at);
        half_open(names, self.path, &self.connection, &self.errand, age)
    }
}

/// Where an exchange goes on once it is known where there are NATs.
pub(crate) fn after_nat_detection(mut path: Path, nat: Nat, profile: &Profile) -> Path {
    // RFC 4555 §3.3: whoever may meet a NAT elsewhere is on the ports for it already.
    if nat.is_encapsulated || (profile.mobility.is_allowed && nat.is_supported) {
        // RFC 7296 §2.23: from here on between the ports that NATs leave alone.
        path.local.set_port(NAT_T_PORT);
        if path.remote.port() == IKE_PORT {
            path.remote.set_port(NAT_T_PORT);
        }
    }
    path
}

/// Who does not answer what.
pub(crate) fn unanswered(exchange: ExchangeType, path: Path) -> String {
    format!("{} does not answer {exchange}", path.remote)
}

/// An SA of ours does not come up.
pub(crate) fn fail(ctx: &mut Context<'_>, names: Names, connection: &Connection, refusal: &Refusal) {
    ctx.tell(names.id, News::Failed);
    ctx.counters.failure(refusal.failure);
    ctx.event(Event::ConnectFailed {
        connection: connection.profile.name.clone(),
        failure: refusal.failure,
        detail: refusal.detail.clone(),
    });
}

/// An SA of ours that is not up yet, for people.
pub(crate) fn half_open(
    names: Names,
    path: Path,
    connection: &Connection,
    errand: &Errand,
    age: std::time::Duration,
) -> SaSnapshot {
    SaSnapshot {
        id: names.id,
        is_initiator: true,
        state: SaState::HalfOpen,
        local: path.local,
        remote: path.remote,
        local_id: "".into(),
        remote_id: "".into(),
        profile: Some(connection.profile.name.clone()),
        spi_i: names.spi_i,
        spi_r: names.spi_r,
        suite: "".into(),
        age,
        rekey_in: None,
        redirected_from: errand.redirected_from,
        follows_redirects: false,
        is_resumed: false,
        is_peer_behind_nat: false,
        are_we_behind_nat: false,
        is_mobile: false,
        addresses: Vec::new(),
        children: Vec::new(),
    }
}

/// Most cookies and other groups that are followed in one attempt (`RFC 7296 §2.6`).
const MAX_DETOURS: u8 = 4;
/// The port of IKE without NATs.
const IKE_PORT: u16 = 500;
