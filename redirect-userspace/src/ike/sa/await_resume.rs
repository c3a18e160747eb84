//! The initiator before the IKE_SESSION_RESUME response: it has presented a ticket.
//!
//! Nothing that comes here is authenticated. Whoever says that the ticket is no good costs us a full
//! exchange and nothing else: no SA is deleted for it, and the ticket goes with the attempt.
//!
//! # References
//!
//! `RFC 5723 §4.3.1`, `§4.3.2`, `§9.4`; `RFC 5685 §3`; `RFC 7296 §2.6`.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::ike::authn::own_id;
use crate::ike::config::Connection;
use crate::ike::event::{Discard, Event, Failure};
use crate::ike::io::{Path, SaId};
use crate::ike::rules::{Form, Outside};
use crate::ike::sa::await_auth::{AwaitAuth, Introduced};
use crate::ike::sa::await_init::AwaitInit;
use crate::ike::sa::context::{Context, Refusal};
use crate::ike::sa::established::nonce;
use crate::ike::sa::keymat::{IkeKeys, Nonces, Origin};
use crate::ike::sa::opening::{Errand, Opening, fail};
use crate::ike::sa::wallet::Kept;
use crate::ike::sa::{Effects, IkeSa, Names, State, payloads, suite};
use crate::ike::snapshot::SaSnapshot;
use crate::ike::wire::{
    Chain, ChainWriter, ExchangeType, Message, Notify, NotifyContent, NotifyType, Opaque, OriginalRole, SpiI,
};
use crate::machine::Deadline;
use crate::time::Now;

/// IKE_SESSION_RESUME is sent.
#[derive(Debug)]
pub(crate) struct AwaitResume {
    opening: Opening,
    /// Until IKE_AUTH takes it over.
    kept: Option<Box<Kept>>,
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
        let opening = Opening::new(ctx, ExchangeType::IkeSessionResume, connection, path, errand);
        let mut state = Self { opening, kept: Some(Box::new(kept)) };
        state.send(ctx, names)?;
        Ok(state)
    }

    fn send(&mut self, ctx: &mut Context<'_>, names: Names) -> Result<(), Refusal> {
        let Self { opening, kept } = self;
        let ticket = kept.as_ref().map(|kept| kept.ticket.expose()).unwrap_or_default();
        let ours = opening.nonce;
        // RFC 5723 §4.3.2: NATs and abilities are found out anew.
        let own = |chain: &mut ChainWriter<'_>| {
            nonce(chain, &ours)?;
            chain.notify(&NotifyContent::TicketOpaque(Opaque(ticket)))
        };
        opening.send(ctx, names, own, |_| Ok(()))
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
        if !self.opening.is_answer(path, message) {
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
            Some(Ok(NotifyContent::Cookie(cookie))) if self.opening.may_detour() => {
                self.opening.show(cookie);
                self.opening.detour();
                if let Err(refusal) = self.send(ctx, names) {
                    self.opening.fail(ctx, names, &refusal);
                    effects.is_gone = true;
                }
                Ok(())
            }
            // A gateway that does not know the exchange may say so.
            Some(Ok(NotifyContent::Plain(NotifyType::TicketNack | NotifyType::InvalidSyntax))) => {
                let gateway = self.opening.path.remote;
                let connection = self.opening.connection.profile.name.clone();
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
        let Some(news) = self.opening.sent_elsewhere(ctx, notify) else { return Err(Discard::Hint) };
        self.put_back(ctx);
        ctx.tell(names.id, news);
        effects.is_gone = true;
        Ok(())
    }

    /// Begins with a full exchange, under the same SPI: the gateway has kept nothing of it.
    fn fall_back(&mut self, ctx: &mut Context<'_>, names: Names, effects: &mut Effects) {
        self.kept = None;
        let Opening { connection, path, errand, .. } = &self.opening;
        match AwaitInit::start(ctx, names, Arc::clone(connection), *path, errand.clone()) {
            Ok(state) => effects.next = Some(State::AwaitInit(Box::new(state))),
            Err(refusal) => {
                self.opening.fail(ctx, names, &refusal);
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
            nonces: Nonces { initiator: &self.opening.nonce, responder: nr.as_slice() },
            spi_i: names.spi_i,
            spi_r,
            role: OriginalRole::Initiator,
        });
        let Some(Ok(keys)) = keys.map(|origin| IkeKeys::resumed(origin, &kept.derivation)) else {
            let refusal = Refusal::new(Failure::Local, "no keys come of the ticket");
            self.opening.fail(ctx, *names, &refusal);
            effects.is_gone = true;
            return Ok(());
        };
        names.spi_r = Some(spi_r);
        // The session has the keys of its key exchanges; there is none now.
        let introduced = self.opening.introduced(ctx, *names, (path, message), kept.suite, &nr, keys);
        let introduced = Introduced { kept: Some(kept), ..introduced };
        match AwaitAuth::start(ctx, *names, introduced) {
            Ok(state) => effects.next = Some(State::AwaitAuth(Box::new(state))),
            Err(refusal) => {
                self.opening.fail(ctx, *names, &refusal);
                effects.is_gone = true;
            }
        }
        Ok(())
    }

    /// The ticket was not used.
    pub(crate) fn put_back(&mut self, ctx: &mut Context<'_>) {
        if let Some(kept) = self.kept.take() {
            ctx.tickets.wallet.keep(self.opening.connection.profile.name.clone(), *kept);
        }
    }

    pub(crate) const fn remote(&self) -> SocketAddr {
        self.opening.remote()
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.opening.deadline("an IKE_SESSION_RESUME request is repeated")
    }

    pub(crate) fn timeout(&mut self, ctx: &mut Context<'_>, names: Names, effects: &mut Effects) {
        if self.opening.is_dead(ctx) {
            // Another gateway may take it.
            self.put_back(ctx);
            let refusal = self.opening.unanswered();
            self.opening.fail(ctx, names, &refusal);
            effects.is_gone = true;
        }
    }

    pub(crate) fn snapshot(&self, names: Names, now: Now) -> SaSnapshot {
        self.opening.snapshot(names, now)
    }
}
