//! The initiator before the IKE_SESSION_RESUME response: it has presented a ticket.
//!
//! Nothing that comes here is authenticated. Whoever says that the ticket is no good costs us a full
//! exchange and nothing else: no SA is deleted for it, and the ticket goes with the attempt.
//!
//! # References
//!
//! `RFC 5723 §4.3.1`, `§4.3.2`, `§9.4`; `RFC 5685 §3`; `RFC 7296 §2.6`.

use std::sync::Arc;

use crate::ike::authn::own_id;
use crate::ike::client::{self, News};
use crate::ike::config::Connection;
use crate::ike::event::{Discard, Event, Failure, RedirectRefusal};
use crate::ike::io::{Path, SaId};
use crate::ike::message::Channel;
use crate::ike::rules::{Form, Outside};
use crate::ike::sa::answered::abilities;
use crate::ike::sa::await_auth::{AwaitAuth, Introduced};
use crate::ike::sa::await_init::{
    AwaitInit, Errand, after_nat_detection, begin, fail, half_open, unanswered,
};
use crate::ike::sa::child::NONCE_LENGTH;
use crate::ike::sa::context::{Context, Misdirected, Refusal};
use crate::ike::sa::established::nonce;
use crate::ike::sa::keymat::{IkeKeys, Nonces, Origin};
use crate::ike::sa::natt::{self, Nat};
use crate::ike::sa::wallet::Kept;
use crate::ike::sa::window::{Due, Window};
use crate::ike::sa::{Effects, IkeSa, Names, State, payloads, suite, transmit};
use crate::ike::snapshot::SaSnapshot;
use crate::ike::wire::{
    Chain, Cookie, Direction, ExchangeType, Message, MessageId, Notify, NotifyContent, NotifyType, Opaque,
    OriginalRole, SpiI, encode_message,
};
use crate::machine::Deadline;
use crate::time::{Instant, Now};

/// IKE_SESSION_RESUME is sent.
#[derive(Debug)]
pub(crate) struct AwaitResume {
    connection: Arc<Connection>,
    path: Path,
    nonce: [u8; NONCE_LENGTH],
    cookie: Option<Cookie<'static>>,
    window: Window,
    /// Cookies so far.
    detours: u8,
    errand: Errand,
    /// Until IKE_AUTH takes it over.
    kept: Option<Box<Kept>>,
    made_at: Instant,
}

/// The ticket that a connection can be resumed with: its time is not over, its session is not in use
/// (`is_alive`), and the connection is still with the same two sides.
pub(crate) fn usable(
    ctx: &mut Context<'_>,
    connection: &Connection,
    path: Path,
    is_alive: impl FnOnce(SaId) -> bool,
) -> Option<Kept> {
    let profile = &connection.profile;
    if is_alive(ctx.tickets.wallet.session(&profile.name)?) {
        return None;
    }
    let kept = ctx.tickets.wallet.take(&profile.name, ctx.now.mono)?;
    let authentication = &profile.authentication;
    let is_still_us = own_id(authentication, None, path.local.ip()) == kept.local;
    let is_still_it = authentication.remote_ids.iter().any(|ids| ids.is_match(kept.peer.identity()));
    (profile.resumes && is_still_us && is_still_it).then_some(kept)
}

/// An SA that begins as if there had never been a ticket, after one was of no use.
pub(crate) fn anew(
    ctx: &mut Context<'_>,
    old: Names,
    connection: &Arc<Connection>,
    path: Path,
    errand: &Errand,
) -> Option<Box<IkeSa>> {
    let spi_i = SpiI(ctx.spis.ike(ctx.rng));
    let names = Names { id: old.id, spi_i, spi_r: None, role: OriginalRole::Initiator };
    // Whether the gateway has made an SA of the ticket is not known: it is not said to be the only one.
    let errand = Errand { is_sole: false, ..errand.clone() };
    match AwaitInit::start(ctx, names, Arc::clone(connection), path, errand) {
        Ok(state) => Some(Box::new(IkeSa { names, state: State::AwaitInit(Box::new(state)) })),
        Err(refusal) => {
            fail(ctx, names, connection, &refusal);
            None
        }
    }
}

impl AwaitResume {
    /// Presents a ticket.
    ///
    /// # Errors
    ///
    /// Something of our own failed.
    pub(crate) fn start(
        ctx: &mut Context<'_>,
        names: Names,
        connection: Arc<Connection>,
        path: Path,
        errand: Errand,
        kept: Kept,
    ) -> Result<Self, Refusal> {
        let mut state = Self {
            connection,
            path,
            nonce: ctx.rng.array(),
            cookie: None,
            window: Window::new(MessageId::FIRST, MessageId::FIRST),
            detours: 0,
            errand,
            kept: Some(Box::new(kept)),
            made_at: ctx.now.mono,
        };
        state.send(ctx, names)?;
        Ok(state)
    }

    fn send(&mut self, ctx: &mut Context<'_>, names: Names) -> Result<(), Refusal> {
        let header = names.header(ExchangeType::IkeSessionResume, Direction::Request, MessageId::FIRST);
        let encapsulation = ctx.settings.encapsulation;
        let ticket = self.kept.as_ref().map(|kept| kept.ticket.expose()).unwrap_or_default();
        let octets = encode_message(Vec::new(), &header, |chain| {
            if let Some(cookie) = &self.cookie {
                chain.notify(&NotifyContent::Cookie(cookie.clone()))?;
            }
            nonce(chain, &self.nonce)?;
            chain.notify(&NotifyContent::TicketOpaque(Opaque(ticket)))?;
            // RFC 5723 §4.3.2: NATs and abilities are found out anew.
            natt::announce(chain, names.spi_i, None, self.path, encapsulation, ctx.rng)?;
            abilities(chain)?;
            self.errand.announce(chain, ctx.settings.follows_redirects)
        })
        .map_err(|error| Refusal::new(Failure::Local, error.to_string()))?;
        self.window = begin(ctx, &self.connection, self.path, ExchangeType::IkeSessionResume, octets);
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
        let is_answer = header.exchange == ExchangeType::IkeSessionResume
            && header.direction == Direction::Response
            && header.message_id == MessageId::FIRST;
        // The answer comes from where the request was sent to.
        if !is_answer || path.remote != self.path.remote {
            return Err(Discard::UnexpectedExchange);
        }
        match outside {
            Outside::Clear(Form::ResumeResponse) => self.answered(ctx, names, path, message, effects),
            Outside::Clear(_) => self.detour(ctx, *names, &message.payloads, effects),
            Outside::Encrypted(_) | Outside::Fragment(_) | Outside::Hint => Err(Discard::UnexpectedExchange),
        }
    }

    /// The gateway wants something else first, or does not want the ticket.
    fn detour(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        chain: &Chain<'_>,
        effects: &mut Effects,
    ) -> Result<(), Discard> {
        let first = || chain.notify(NotifyType::Redirect).or_else(|| chain.notifies().next());
        let notify = chain.notify(NotifyType::Cookie).or_else(first);
        if let Some(notify) = notify.filter(|notify| notify.kind == NotifyType::Redirect) {
            return self.sent_elsewhere(ctx, names, &notify, effects);
        }
        match notify.map(|notify| notify.content()) {
            Some(Ok(NotifyContent::Cookie(cookie))) if self.detours < MAX_DETOURS => {
                self.cookie = Some(cookie.into_owned());
                self.detours += 1;
                if let Err(refusal) = self.send(ctx, names) {
                    fail(ctx, names, &self.connection, &refusal);
                    effects.is_gone = true;
                }
                Ok(())
            }
            // A gateway that does not know the exchange may say so.
            Some(Ok(NotifyContent::Plain(NotifyType::TicketNack | NotifyType::InvalidSyntax))) => {
                let gateway = self.path.remote;
                let connection = self.connection.profile.name.clone();
                ctx.event(Event::TicketRefused { connection, gateway });
                self.fall_back(ctx, names, effects);
                Ok(())
            }
            Some(Ok(_) | Err(_)) | None => Err(Discard::Hint),
        }
    }

    /// The gateway wants us elsewhere (`RFC 5685 §3`). The ticket is still good, and is presented there.
    fn sent_elsewhere(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        notify: &Notify<'_>,
        effects: &mut Effects,
    ) -> Result<(), Discard> {
        let read = client::read(notify, Some(&self.nonce));
        let refused = match read {
            Ok(to) if ctx.settings.follows_redirects => {
                let (exchange, from) = (ExchangeType::IkeSessionResume, self.path.remote);
                self.put_back(ctx);
                ctx.tell(names.id, News::Sent { exchange, from, to });
                effects.is_gone = true;
                return Ok(());
            }
            Ok(to) => (RedirectRefusal::Disabled, Some(to)),
            Err(reason) => (reason, None),
        };
        let (reason, to) = refused;
        let connection = Some(self.connection.profile.name.clone());
        ctx.misdirected(reason, Misdirected { connection, from: self.path.remote, to });
        Err(Discard::Hint)
    }

    /// Begins with a full exchange, under the same SPI: the gateway has kept nothing of it.
    fn fall_back(&mut self, ctx: &mut Context<'_>, names: Names, effects: &mut Effects) {
        self.kept = None;
        let connection = Arc::clone(&self.connection);
        match AwaitInit::start(ctx, names, connection, self.path, self.errand.clone()) {
            Ok(state) => effects.next = Some(State::AwaitInit(Box::new(state))),
            Err(refusal) => {
                fail(ctx, names, &self.connection, &refusal);
                effects.is_gone = true;
            }
        }
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
        let nr = payloads::nonce(chain).map_err(|_unreadable| Discard::Malformed)?;
        let kept = self.kept.take().ok_or(Discard::UnexpectedExchange)?;
        let algorithms = suite::ike(kept.suite, ctx.settings.legacy);
        let keys = algorithms.map(|suite| Origin {
            provider: ctx.provider,
            suite,
            nonces: Nonces { initiator: &self.nonce, responder: nr.as_slice() },
            spi_i: names.spi_i,
            spi_r,
            role: OriginalRole::Initiator,
        });
        let Some(Ok(keys)) = keys.map(|origin| IkeKeys::resumed(origin, &kept.derivation)) else {
            let refusal = Refusal::new(Failure::Local, "no keys come of the ticket");
            fail(ctx, *names, &self.connection, &refusal);
            effects.is_gone = true;
            return Ok(());
        };
        let nat = Nat::detect(chain, names.spi_i, Some(spi_r), path, ctx.settings.encapsulation);
        let mut channel = Channel::new(keys.ours, keys.theirs, Window::new(MessageId(0), MessageId(1)));
        channel.fragments = chain.notify(NotifyType::FragmentationSupported).is_some();
        names.spi_r = Some(spi_r);
        let introduced = Introduced {
            connection: Arc::clone(&self.connection),
            begun_on: self.path,
            path: after_nat_detection(path, nat, &self.connection.profile),
            nat,
            suite: kept.suite,
            channel,
            derivation: keys.derivation,
            proof_i: keys.proof_i,
            proof_r: keys.proof_r,
            proofs: keys.proofs,
            // The session has the keys of its key exchanges; there is none now.
            further: None,
            mix: None,
            request: self.window.outstanding().first().cloned().unwrap_or_default(),
            response: message.octets().into(),
            ni: self.nonce.into(),
            nr: nr.as_slice().into(),
            hashes: payloads::hashes(chain),
            errand: self.errand.clone(),
            kept: Some(kept),
            made_at: self.made_at,
        };
        match AwaitAuth::start(ctx, *names, introduced) {
            Ok(state) => effects.next = Some(State::AwaitAuth(Box::new(state))),
            Err(refusal) => {
                fail(ctx, *names, &self.connection, &refusal);
                effects.is_gone = true;
            }
        }
        Ok(())
    }

    /// The ticket was not used.
    pub(crate) fn put_back(&mut self, ctx: &mut Context<'_>) {
        if let Some(kept) = self.kept.take() {
            ctx.tickets.wallet.keep(self.connection.profile.name.clone(), *kept);
        }
    }

    pub(crate) const fn remote(&self) -> std::net::SocketAddr {
        self.path.remote
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.window.deadline().map(|at| Deadline { at, why: "an IKE_SESSION_RESUME request is repeated" })
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
                // Another gateway may take it.
                self.put_back(ctx);
                let detail = unanswered(ExchangeType::IkeSessionResume, self.path);
                let refusal = Refusal::new(Failure::Timeout, detail);
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

/// Most cookies that are followed in one attempt.
const MAX_DETOURS: u8 = 4;
