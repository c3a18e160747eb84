//! The endpoint: all IKE SAs of one worker.
//!
//! # Invariants
//!
//! - Every table has a limit: half-open SAs, those of one source, all SAs.
//! - What an SA does to others (its successor, those it supersedes) is done here, after its own
//!   step is over.
//!
//! # Picture
//!
//! ```text
//!             ┌ no SA of ours: IKE_SA_INIT ─▶ init ─▶ new SA
//! datagram ───┤
//!             └ our SPI in it ─▶ that SA ─▶ effects: successor, supersede, gone
//! ```

#[cfg(any(test, feature = "testing"))]
mod audit;
mod connect;
mod crowd;
mod drain;
mod handover;
mod init;
mod interrupt;
mod resume;
mod roaming;
mod sources;
mod table;

use std::sync::Arc;

use self::crowd::Crowd;
use self::drain::Draining;
use self::handover::Allowance;
use self::table::Table;
use super::authn::eap::Guesses;
use super::client::{Dials, News};
use super::config::Settings;
use super::cookie::{CookieKeys, Jar};
use super::error;
use super::event::{CloseReason, Counters, Discard, Event, Failure};
use super::io::{Command, HandOver, Input, Output, Path, SaId, Selection, Shard};
use super::lease::Leases;
use super::redirect::Targets;
use super::rules::{self, Form, Outside};
use super::sa::context::{Context, Misdirections, Refusal, Refusals, Refused, Spis};
use super::sa::wallet::{Tickets, Wallet};
use super::sa::{Effects, IkeSa, Names, RivalFate};
use super::snapshot::{CountSnapshot, SaSnapshot};
use super::ticket::{Used, UsedTickets};
use super::wire::{
    Direction, ExchangeType, Header, Message, MessageId, NotifyType, OriginalRole, TrafficSelectors, Version,
    encode_message,
};
use crate::crypto::Provider;
use crate::machine::{Deadline, Machine, Outbox};
use crate::rng::Rng;
use crate::throttle::Throttle;
use crate::time::{Instant, Now};

/// All IKE SAs of one worker.
pub struct Endpoint {
    provider: Provider,
    shard: Shard,
    settings: Arc<Settings>,
    targets: Arc<Targets>,
    draining: Option<Draining>,
    handed_over: Arc<HandOver>,
    unknown: Allowance,
    rng: Rng,
    leases: Box<dyn Leases>,
    counters: Counters,
    refusals: Refusals,
    misdirections: Misdirections,
    dials: Dials,
    /// What has come of SAs that we have begun, until the dials are told at the end of the step.
    news: Vec<(SaId, News)>,
    /// SAs that others' Child SAs are moved to, and with which something has happened in this step.
    heirs: Vec<SaId>,
    spis: Spis,
    table: Table,
    jar: Jar,
    tickets: Tickets,
    /// Whether the last one who wanted an SA was asked for a cookie.
    asks_for_cookies: bool,
    crowd: Crowd,
    /// When the ways to gateways are looked for, because something about them may have changed.
    ways_at: Option<Instant>,
    /// Wrong passwords.
    guesses: Guesses,
    next_id: u64,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({:?}, {:?})", self.shard, self.counts())
    }
}

impl Endpoint {
    /// An endpoint without SAs.
    #[must_use]
    pub fn new(now: Now, shard: Shard, settings: Arc<Settings>, leases: Box<dyn Leases>, rng: Rng) -> Self {
        Self::with_provider(Provider::Real, now, shard, settings, leases, rng)
    }

    /// The same, with primitives from elsewhere.
    #[must_use]
    pub fn with_provider(
        provider: Provider,
        now: Now,
        shard: Shard,
        settings: Arc<Settings>,
        leases: Box<dyn Leases>,
        mut rng: Rng,
    ) -> Self {
        let jar = Jar::new(now, CookieKeys::new(now, &mut rng));
        Self {
            provider,
            shard,
            settings,
            targets: Arc::default(),
            draining: None,
            handed_over: Arc::default(),
            unknown: Allowance::new(now.mono),
            rng,
            leases,
            counters: Counters::default(),
            refusals: Throttle::new(),
            misdirections: Throttle::new(),
            dials: Dials::default(),
            news: Vec::new(),
            heirs: Vec::new(),
            spis: Spis::new(shard),
            table: Table::default(),
            jar,
            tickets: Tickets { used: Box::new(Used::default()), wallet: Wallet::default() },
            asks_for_cookies: false,
            crowd: Crowd::new(now),
            ways_at: None,
            guesses: Guesses::default(),
            next_id: 0,
        }
    }

    /// The same, with a memory of used tickets that others have as well.
    #[must_use]
    pub fn with_used_tickets(mut self, used: Box<dyn UsedTickets>) -> Self {
        self.tickets.used = used;
        self
    }

    /// The same, with keys of cookies that others have as well.
    #[must_use]
    pub fn with_cookie_keys(mut self, now: Now, keys: CookieKeys) -> Self {
        self.jar = Jar::new(now, keys);
        self
    }

    /// Whether whoever would like an SA now is asked for a cookie.
    #[must_use]
    pub fn asks_for_cookies(&self, now: Now) -> bool {
        self.are_cookies_wanted(now)
    }

    /// How often things happened.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many SAs there are.
    #[must_use]
    pub fn counts(&self) -> CountSnapshot {
        CountSnapshot {
            half_open: self.table.half_open(),
            established: self.table.len() - self.table.half_open(),
            children: self.spis.len(),
        }
    }

    /// The SAs for people, in the order of their numbers, at most `most` of them: those that are
    /// selected.
    #[must_use]
    pub fn snapshot(&self, now: Now, selection: &Selection, most: usize) -> Vec<SaSnapshot> {
        let mut all: Vec<SaSnapshot> = self
            .table
            .iter()
            .filter(|sa| self.is_selected(sa, selection))
            .filter_map(|sa| sa.snapshot(now))
            .collect();
        all.sort_unstable_by_key(|sa| sa.id);
        all.truncate(most);
        all
    }

    /// The table beside everything else that an SA may use.
    fn split<'a>(&'a mut self, now: Now, out: &'a mut Outbox<Output>) -> (&'a mut Table, Context<'a>) {
        let Self {
            provider,
            shard: _,
            settings,
            targets,
            draining: _,
            handed_over: _,
            unknown: _,
            rng,
            leases,
            counters,
            refusals,
            misdirections,
            dials: _,
            news,
            heirs: _,
            spis,
            table,
            jar: _,
            tickets,
            asks_for_cookies: _,
            crowd: _,
            ways_at: _,
            guesses,
            next_id: _,
        } = self;
        let ctx = Context {
            now,
            provider: *provider,
            settings,
            targets,
            rng,
            leases: leases.as_mut(),
            counters,
            refusals,
            misdirections,
            news,
            spis,
            tickets,
            guesses,
            out,
        };
        (table, ctx)
    }

    /// The next SA's number: no two workers have the same.
    fn id(&mut self) -> SaId {
        self.next_id += 1;
        SaId(
            self.next_id * u64::from(self.shard.count()) - u64::from(self.shard.count())
                + u64::from(self.shard.index())
                + 1,
        )
    }

    fn datagram(&mut self, now: Now, path: Path, octets: &[u8], out: &mut Outbox<Output>) {
        let Ok(header) = Header::decode(octets) else { return self.counters.discard(Discard::Malformed) };
        if header.version.major() != Version::V2.major() {
            self.counters.discard(Discard::MajorVersion);
            return answer_version(&header, path, octets.len(), out);
        }
        let ours = match header.sender {
            OriginalRole::Initiator => header.spi_r.map(|spi| spi.0.get()),
            OriginalRole::Responder => Some(header.spi_i.0.get()),
        };
        let Some(ours) = ours else { return self.first(now, path, octets, out) };
        if !self.table.contains(ours) {
            self.counters.discard(Discard::UnknownSpi);
            return self.answer_unknown(now, path, &header, octets.len(), out);
        }
        let message = match Message::decode(octets) {
            Ok(message) => message,
            Err(_malformed) => return self.counters.discard(Discard::Malformed),
        };
        let outside = match rules::outside(&message) {
            Ok(outside) => outside,
            // Nobody has proved to be the peer: there is no answer.
            Err(_violation) => return self.counters.discard(Discard::Syntax),
        };
        self.with(now, ours, out, |sa, ctx| {
            let is_theirs = match sa.names.role {
                OriginalRole::Initiator => sa.names.spi_r.is_none() || sa.names.spi_r == header.spi_r,
                OriginalRole::Responder => sa.names.spi_i == header.spi_i,
            };
            if !is_theirs {
                ctx.counters.discard(Discard::UnknownSpi);
                return Effects::default();
            }
            sa.datagram(ctx, path, &message, &outside)
        });
        if self.is_handed_over(path.local.ip()) {
            // It was under way when the address went, and may have made an SA of one that was half-open.
            self.let_go(now, ours, out);
        }
    }

    /// A message that has no SPI of ours.
    fn first(&mut self, now: Now, path: Path, octets: &[u8], out: &mut Outbox<Output>) {
        let message = match Message::decode(octets) {
            Ok(message) => message,
            Err(_malformed) => {
                self.counters.discard(Discard::Malformed);
                return;
            }
        };
        let header = &message.header;
        let begins = matches!(header.exchange, ExchangeType::IkeSaInit | ExchangeType::IkeSessionResume)
            && header.direction == Direction::Request
            && header.message_id == MessageId::FIRST;
        if !begins {
            return self.counters.discard(Discard::UnknownSpi);
        }
        match rules::outside(&message) {
            Ok(Outside::Clear(Form::ResumeRequest)) => self.resume(now, path, &message, out),
            Ok(Outside::Clear(_)) => self.init(now, path, &message, out),
            Ok(Outside::Encrypted(_) | Outside::Fragment(_) | Outside::Hint) => {
                self.counters.discard(Discard::Syntax);
            }
            Err(violation) => {
                self.counters.discard(Discard::Syntax);
                self.refuse_clear(&message, path, out, |chain| error::answer(&violation, chain));
            }
        }
    }

    /// Lets an SA do something, and does what that means for others.
    fn with(
        &mut self,
        now: Now,
        spi: u64,
        out: &mut Outbox<Output>,
        act: impl FnOnce(&mut IkeSa, &mut Context<'_>) -> Effects,
    ) {
        let (table, mut ctx) = self.split(now, out);
        let Some(mut sa) = table.take(spi) else { return };
        let effects = act(&mut sa, &mut ctx);
        self.settle(now, spi, sa, effects, out);
    }

    /// Puts an SA back after its step, and does what the step means for others.
    fn settle(&mut self, now: Now, spi: u64, sa: Box<IkeSa>, effects: Effects, out: &mut Outbox<Output>) {
        let Effects { is_gone, next: _, spawned, bequest, rival, supersedes, registers, resumes } = effects;
        if let Some(holder) = registers {
            self.table.register(spi, holder);
        }
        let holder = self.table.holder(spi);
        self.watch(sa.names.id);
        if is_gone {
            self.table.remove(spi);
        } else {
            self.table.put_back(now, spi, sa);
        }
        if let Some(spawned) = spawned {
            let new = spawned.names.ours();
            if let Some(holder) = holder {
                self.table.register(new, holder);
            }
            self.table.insert(now, new, spawned);
            // It may have something to say at once.
            self.with(now, new, out, |sa, ctx| {
                let mut effects = Effects::default();
                let names = sa.names;
                if let Some(state) = sa.established() {
                    state.wake(ctx, names, &mut effects);
                }
                effects
            });
        }
        if let Some((heir, estate)) = bequest {
            if self.table.contains(heir) {
                self.with(now, heir, out, |sa, ctx| {
                    let mut effects = Effects::default();
                    let names = sa.names;
                    match sa.established() {
                        Some(state) => {
                            state.inherit(ctx, names, estate);
                            state.wake(ctx, names, &mut effects);
                        }
                        None => estate.dissolve(ctx),
                    }
                    effects
                });
            } else {
                // The heir is gone already: so is everything that it would have had.
                let (_, mut ctx) = self.split(now, out);
                estate.dissolve(&mut ctx);
            }
        }
        if let Some((rival, fate)) = rival {
            self.with(now, rival, out, |sa, ctx| {
                let mut effects = Effects::default();
                let names = sa.names;
                match (sa.established(), fate) {
                    (Some(state), RivalFate::Yields) => state.yields(ctx),
                    (Some(state), RivalFate::Closes(reason)) => {
                        state.close_remnant(ctx, reason);
                        state.wake(ctx, names, &mut effects);
                    }
                    (Some(state), RivalFate::Void) => {
                        state.shut(ctx, names, CloseReason::Redundant, &mut effects);
                    }
                    (None, _) => {}
                }
                effects
            });
        }
        if let Some(used) = resumes {
            self.retire(now, &used, out);
            out.push(Output::TicketUsed(used));
        }
        if let Some(holder) = supersedes {
            self.supersede(now, &holder, Some(spi), out);
            out.push(Output::Supersede { holder });
        }
    }

    /// Drops the SAs with a client that has made a new one.
    fn supersede(&mut self, now: Now, holder: &Arc<[u8]>, keep: Option<u64>, out: &mut Outbox<Output>) {
        for spi in self.table.of_holder(holder) {
            if Some(spi) == keep {
                continue;
            }
            let (table, mut ctx) = self.split(now, out);
            if let Some(mut sa) = table.take(spi) {
                sa.drop_silently(&mut ctx, CloseReason::Superseded);
                table.remove(spi);
            }
        }
    }

    fn timeout(&mut self, now: Now, out: &mut Outbox<Output>) {
        while let Some(spi) = self.table.due(now) {
            self.with(now, spi, out, |sa, ctx| sa.timeout(ctx));
        }
        self.go_on_draining(now, out);
        self.find_ways(now, out);
        self.attend(now, out);
        self.dials_due(now, out);
        self.tell_misdirections(now, out);
        let said: Vec<(Failure, Refused, u64)> = self.refusals.due(now.mono).collect();
        for (failure, refused, count) in said {
            out.push(Output::Event(refused.into_event(failure, count)));
        }
    }

    fn command(&mut self, now: Now, command: Command, out: &mut Outbox<Output>) {
        match command {
            Command::Initiate { connection, local } => self.initiate(now, &connection, local, out),
            Command::Watch { connection } => self.watch_for(now, &connection, out),
            Command::Clear(selection) => {
                for spi in self.selected(&selection) {
                    self.close(now, spi, CloseReason::Cleared, out);
                }
            }
            Command::RekeyIke(id) => self.for_id(now, id, out, |state, ctx, names, effects| {
                state.rekey_ike(ctx, names, effects);
            }),
            Command::RekeyChildren(id) => self.for_id(now, id, out, |state, ctx, names, effects| {
                state.rekey_children(ctx, names, effects);
            }),
            Command::NewChild { sa, local_ts, remote_ts } => {
                let selectors = (TrafficSelectors(local_ts), TrafficSelectors(remote_ts));
                self.for_id(now, sa, out, |state, ctx, names, effects| {
                    state.new_child(ctx, names, selectors, effects);
                });
            }
            Command::Redirect(redirect) => {
                self.redirect(now, &redirect, out);
            }
            Command::Drain(drain) => self.drain(now, drain, out),
            Command::Undrain => self.draining = None,
            Command::Evacuate { grace } => self.evacuate(now, grace, out),
            Command::Shutdown => {
                for spi in self.table.spis() {
                    let (table, mut ctx) = self.split(now, out);
                    if let Some(mut sa) = table.take(spi) {
                        let names = sa.names;
                        match sa.established() {
                            Some(state) => state.end(&mut ctx, names),
                            None => sa.drop_silently(&mut ctx, CloseReason::Shutdown),
                        }
                        table.remove(spi);
                    }
                }
                self.hang_up();
            }
        }
    }

    /// Deletes an SA and tells the peer.
    fn close(&mut self, now: Now, spi: u64, reason: CloseReason, out: &mut Outbox<Output>) {
        self.with(now, spi, out, |sa, ctx| {
            let mut effects = Effects::default();
            let names = sa.names;
            match sa.established() {
                Some(state) => state.close(ctx, names, reason, &mut effects),
                None => {
                    sa.drop_silently(ctx, reason);
                    effects.is_gone = true;
                }
            }
            effects
        });
    }

    fn for_id(
        &mut self,
        now: Now,
        id: SaId,
        out: &mut Outbox<Output>,
        act: impl FnOnce(&mut super::sa::established::Established, &mut Context<'_>, Names, &mut Effects),
    ) {
        let Some(spi) = self.find(id) else { return };
        self.with(now, spi, out, |sa, ctx| {
            let mut effects = Effects::default();
            let names = sa.names;
            if let Some(state) = sa.established() {
                act(state, ctx, names, &mut effects);
            }
            effects
        });
    }

    fn selected(&self, selection: &Selection) -> Vec<u64> {
        let sas = self.table.iter().filter(|sa| !sa.is_remnant() && self.is_selected(sa, selection));
        let mut spis: Vec<(SaId, u64)> = sas.map(|sa| (sa.names.id, sa.names.ours())).collect();
        spis.sort_unstable();
        spis.into_iter().map(|(_, spi)| spi).collect()
    }

    #[expect(clippy::unused_self, reason = "reads as a question to the endpoint")]
    fn is_selected(&self, sa: &IkeSa, selection: &Selection) -> bool {
        match selection {
            Selection::All => true,
            Selection::Audible => !sa.is_adrift(),
            Selection::Id(id) => sa.names.id == *id,
            Selection::Remote(address) => sa.remote().ip() == *address,
            Selection::Identity(id) => sa.peer().is_some_and(|peer| match peer.proof.user() {
                Some(_) => **peer.proof.shown() == super::identity::Shown(id).to_string(),
                None => super::identity::is_same(peer.proof.identity(), id),
            }),
            Selection::Profile(name) => sa.peer().is_some_and(|peer| peer.profile().name == *name),
        }
    }

    /// Says that somebody did not get an SA.
    fn refuse(&mut self, now: Now, path: Path, refusal: Refusal, out: &mut Outbox<Output>) {
        let (_, mut ctx) = self.split(now, out);
        ctx.refuse(path.remote, refusal);
    }

    /// Asks for cookies from now on, or no longer. They are asked for until only half as many SAs
    /// are half-open: a threshold alone would flutter.
    fn weigh_cookies(&mut self, now: Now, out: &mut Outbox<Output>) {
        self.crowd.enter(now, self.counters.established_responder);
        let are_wanted = self.are_cookies_wanted(now);
        if are_wanted != self.asks_for_cookies {
            self.asks_for_cookies = are_wanted;
            let (half_open, is_crowded) = (self.table.half_open(), self.crowd.is_there(now));
            out.push(Output::Event(Event::CookiesChanged { are_wanted, half_open, is_crowded }));
        }
    }
}

impl Endpoint {
    fn are_cookies_wanted(&self, now: Now) -> bool {
        let half_open = self.table.half_open();
        match (self.asks_for_cookies, self.settings.limits.cookie_threshold) {
            (_, _) if self.crowd.is_there(now) => true,
            (_, 0) => true,
            (true, threshold) => half_open > threshold / 2,
            (false, threshold) => half_open >= threshold,
        }
    }
}

impl Machine for Endpoint {
    type Input<'a> = Input<'a>;
    type Output = Output;

    fn step(&mut self, now: Now, input: Input<'_>, out: &mut Outbox<Output>) {
        match input {
            Input::Datagram { path, octets } => self.datagram(now, path, octets, out),
            Input::Configure(settings) => self.configure(now, settings, out),
            Input::Wanted { trap, packet } => self.wanted(now, trap, packet, out),
            Input::Crowded(is_crowded) => self.crowd.wait(now, is_crowded),
            Input::Targets(targets) => self.targets = targets,
            Input::HandOver(hand_over) => self.hand_over(now, hand_over, out),
            Input::Command(command) => self.command(now, command, out),
            Input::Supersede { holder } => self.supersede(now, &holder, None, out),
            Input::TicketUsed(used) => {
                self.tickets.used.use_up(now.wall, used.id, used.expires_at);
                self.retire(now, used, out);
            }
            Input::Moved { inbound, path } => {
                if let Some(spi) = self.spis.owner(inbound) {
                    self.with(now, spi, out, |sa, ctx| {
                        let names = sa.names;
                        if let Some(state) = sa.established() {
                            state.alive(ctx.now);
                            state.move_to(ctx, names, path);
                        }
                        Effects::default()
                    });
                }
            }
            Input::Alive { inbound } => {
                if let Some(spi) = self.spis.owner(inbound) {
                    self.with(now, spi, out, |sa, ctx| {
                        if let Some(state) = sa.established() {
                            state.alive(ctx.now);
                        }
                        Effects::default()
                    });
                }
            }
            Input::Worn { inbound, is_spent } => {
                if let Some(spi) = self.spis.owner(inbound) {
                    self.with(now, spi, out, |sa, ctx| {
                        let names = sa.names;
                        let mut effects = Effects::default();
                        if let Some(state) = sa.established() {
                            state.worn(ctx, names, inbound, is_spent, &mut effects);
                        }
                        effects
                    });
                }
            }
            Input::Located { request, ways } => self.located(now, request, ways, out),
            Input::RoutesChanged => self.routes_changed(now),
            Input::Ways { asker, asked, ways } => self.take_ways(now, asker, (&asked, &ways), out),
            Input::Aaa(answer) => {
                let spi = answer.conversation.spi;
                self.with(now, spi, out, |sa, ctx| sa.advised(ctx, *answer));
            }
            Input::Timeout => self.timeout(now, out),
        }
        self.attend(now, out);
    }

    fn deadline(&self) -> Option<Deadline> {
        let refusals = self.refusals.deadline();
        let refusals = refusals.map(|at| Deadline { at, why: "refusals that were held back are told" });
        let draining = self.draining.as_ref().map(Draining::deadline);
        let misdirections = self.misdirections.deadline();
        let misdirections =
            misdirections.map(|at| Deadline { at, why: "redirects not followed are told of" });
        let ways = self.ways_at.map(|at| Deadline { at, why: "ways to gateways are looked for" });
        [self.table.deadline(), draining, ways, self.dial_deadline(), refusals, misdirections]
            .into_iter()
            .fold(None, Deadline::earlier)
    }
}

/// RFC 7296 §2.5: a request of a later version is answered; a response never.
fn answer_version(header: &Header, path: Path, length: usize, out: &mut Outbox<Output>) {
    if header.direction == Direction::Response || header.version.major() < Version::V2.major() {
        return;
    }
    decline(header, path, length, NotifyType::InvalidMajorVersion, out);
}

/// Answers a request in clear, unless the answer would be longer than it; says whether it did.
fn decline(header: &Header, path: Path, length: usize, why: NotifyType, out: &mut Outbox<Output>) -> bool {
    let answer = Header {
        version: Version::V2,
        sender: header.sender.peer(),
        direction: Direction::Response,
        ..*header
    };
    match encode_message(Vec::new(), &answer, |chain| chain.plain(why)) {
        Ok(octets) if octets.len() <= length => {
            out.push(Output::Transmit { path, octets });
            true
        }
        Ok(_) | Err(_) => false,
    }
}
