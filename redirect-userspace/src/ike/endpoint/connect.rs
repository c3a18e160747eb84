//! The client side at work: what its dials want is done here, and they are told what has come of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Endpoint;
use crate::ike::client::{Act, Around, Dial, DialId, Dials};
use crate::ike::config::{Connection, Name};
use crate::ike::event::{CloseReason, Event, Failure};
use crate::ike::io::{NAT_T_PORT, Output, Path, Request, SaId, Way};
use crate::ike::sa::await_init::AwaitInit;
use crate::ike::sa::await_resume::{self, AwaitResume};
use crate::ike::sa::context::Misdirected;
use crate::ike::sa::opening::{Errand, fail};
use crate::ike::sa::{Effects, IkeSa, Names, State};
use crate::ike::trap::{Trap, TrapId};
use crate::ike::wire::{OriginalRole, SpiI};
use crate::machine::{Deadline, Outbox};
use crate::time::Now;

impl Endpoint {
    /// Brings a connection up. One that waits for its next round does not wait any longer.
    pub(super) fn initiate(&mut self, now: Now, name: &Name, local: IpAddr, out: &mut Outbox<Output>) {
        let Some(connection) = self.connection(name) else { return };
        let local = Some(local).filter(|local| !local.is_unspecified());
        let id = match self.dials.waiting(name) {
            Some(id) => id,
            None if self.dials.len() < self.settings.limits.sas => self.dials.add(now, connection),
            None => return,
        };
        self.go_on(now, id, out, |dial, around| dial.begin(around, local));
    }

    /// Has a connection brought up by the first packet that it is for.
    pub(super) fn watch_for(&mut self, now: Now, name: &Name, out: &mut Outbox<Output>) {
        let Some(connection) = self.connection(name) else { return };
        // One that is under way is watched for when it is down.
        if !self.dials.knows(name) && self.dials.len() < self.settings.limits.sas {
            let id = self.dials.add(now, connection);
            self.go_on(now, id, out, Dial::watch);
        }
    }

    /// There is a packet that a connection is for.
    pub(super) fn wanted(
        &mut self,
        now: Now,
        trap: TrapId,
        (from, to): (IpAddr, IpAddr),
        out: &mut Outbox<Output>,
    ) {
        let Some((id, connection)) = self.dials.watching(trap) else { return };
        out.push(Output::Event(Event::Wanted { connection, from, to }));
        self.go_on(now, id, out, |dial, around| dial.begin(around, None));
    }

    /// The settings are other ones: traps are set as they say.
    pub(super) fn set_traps(&mut self, now: Now, out: &mut Outbox<Output>) {
        for (id, name) in self.dials.all() {
            let connection = self.connection(&name);
            self.go_on(now, id, out, |dial, around| dial.configured(around, connection));
        }
    }

    fn connection(&self, name: &Name) -> Option<Arc<Connection>> {
        let is_it = |connection: &&Arc<Connection>| connection.profile.name == *name;
        self.settings.connections.iter().find(is_it).cloned()
    }

    /// It is known where a gateway is.
    pub(super) fn located(&mut self, now: Now, request: Request, ways: Vec<Way>, out: &mut Outbox<Output>) {
        let (id, turn) = Dials::of_request(request);
        self.go_on(now, id, out, |dial, around| dial.located(around, turn, ways));
    }

    /// Tells the dials what has come of their SAs in this step.
    pub(super) fn attend(&mut self, now: Now, out: &mut Outbox<Output>) {
        while !self.news.is_empty() || !self.heirs.is_empty() {
            for (sa, news) in std::mem::take(&mut self.news) {
                if let Some(id) = self.dials.of_sa(sa) {
                    self.go_on(now, id, out, |dial, around| dial.hear(around, sa, news));
                }
            }
            for to in std::mem::take(&mut self.heirs) {
                let Some(id) = self.dials.moving_to(to) else { continue };
                match self.table.numbered(to).map(|sa| &sa.state) {
                    Some(State::Established(state)) if state.is_making_children() => {}
                    Some(State::Established(state)) if state.has_children() => {
                        self.go_on(now, id, out, Dial::moved);
                    }
                    _ => self.go_on(now, id, out, Dial::not_moved),
                }
            }
        }
    }

    /// Something has become of an SA: whoever has its Child SAs moved there looks at it.
    pub(super) fn watch(&mut self, sa: SaId) {
        if self.dials.moving_to(sa).is_some() {
            self.heirs.push(sa);
        }
    }

    /// Lets the dials do what their time has come for.
    pub(super) fn dials_due(&mut self, now: Now, out: &mut Outbox<Output>) {
        while let Some(id) = self.dials.due(now) {
            let Some(mut dial) = self.dials.take(id) else { return };
            let begins = dial.is_due(now);
            if begins {
                dial.renew(self.connection(&dial.connection().profile.name));
            }
            let is_over = dial.is_over();
            self.dials.put_back(id, dial);
            if is_over {
                continue;
            }
            self.go_on(now, id, out, |dial, around| match begins {
                true => dial.go_on(around),
                false => dial.timeout(around),
            });
        }
    }

    pub(super) fn dial_deadline(&self) -> Option<Deadline> {
        self.dials.deadline().map(|at| Deadline { at, why: "a connection goes on" })
    }

    /// Tells a dial something, and does what it wants then.
    fn go_on(
        &mut self,
        now: Now,
        id: DialId,
        out: &mut Outbox<Output>,
        tell: impl FnOnce(&mut Dial, &mut Around<'_>),
    ) {
        let Some(mut dial) = self.dials.take(id) else { return };
        let mut acts = Vec::new();
        self.around(now, &mut acts, |around| tell(&mut dial, around));
        while !acts.is_empty() {
            for act in std::mem::take(&mut acts) {
                if !self.act(now, &mut dial, act, out) {
                    self.around(now, &mut acts, |around| dial.not_begun(around));
                }
            }
        }
        let moves_to = dial.moves_to();
        self.dials.put_back(id, dial);
        if let Some(to) = moves_to {
            self.watch(to);
        }
    }

    fn around(&mut self, now: Now, acts: &mut Vec<Act>, then: impl FnOnce(&mut Around<'_>)) {
        let Self { rng, settings, .. } = self;
        then(&mut Around { now, rng, following: &settings.following, acts });
    }

    /// Does one thing; says whether it could be begun.
    fn act(&mut self, now: Now, dial: &mut Dial, act: Act, out: &mut Outbox<Output>) -> bool {
        let name = || dial.connection().profile.name.clone();
        match act {
            Act::Locate { request, host } => out.push(Output::Locate { request, host }),
            Act::Begin { local, remote, from, beside } => {
                let connection = Arc::clone(dial.connection());
                let begun = self.begin(now, &connection, (local, remote), from, beside, out);
                if let Some(sa) = begun {
                    dial.begun(sa);
                }
                return begun.is_some();
            }
            Act::Move { from, to } => self.take_along(now, from, to, out),
            Act::Close { sa } => {
                if let Some(spi) = self.find(sa) {
                    self.close(now, spi, CloseReason::Redirected, out);
                }
            }
            Act::Follow { exchange, from, to } => {
                self.counters.redirects_followed = self.counters.redirects_followed.saturating_add(1);
                out.push(Output::Event(Event::RedirectFollowed { connection: name(), from, to, exchange }));
            }
            Act::Refuse { from, to, reason } => {
                let misdirected = Misdirected { connection: Some(name()), from, to: Some(to) };
                self.split(now, out).1.misdirected(reason, misdirected);
            }
            Act::NoWay { host } => {
                let (failure, detail) = (Failure::Local, format!("there is no way to {host}").into());
                self.counters.failure(failure);
                out.push(Output::Event(Event::ConnectFailed { connection: name(), failure, detail }));
            }
            // An operator may have begun the same connection several times.
            Act::Watch if self.dials.has_trap(&name()) => dial.forget_trap(),
            Act::Watch => {
                if let Some(trap) = Trap::new(dial.trap(), dial.connection()) {
                    out.push(Output::Watch { connection: name(), trap });
                }
            }
            Act::Unwatch => out.push(Output::Unwatch { trap: dial.trap() }),
        }
        true
    }

    /// Begins an SA; gives its number.
    fn begin(
        &mut self,
        now: Now,
        connection: &Arc<Connection>,
        (local, remote): (IpAddr, SocketAddr),
        redirected_from: Option<IpAddr>,
        beside: Option<SaId>,
        out: &mut Outbox<Output>,
    ) -> Option<SaId> {
        // RFC 7296 §2.23: whoever speaks to port 4500 does so from there.
        let port = if remote.port() == NAT_T_PORT { NAT_T_PORT } else { IKE_PORT };
        let path = Path { local: (local, port).into(), remote };
        // RFC 7296 §2.4: INITIAL_CONTACT would end every other SA with this peer, and the one that is
        // left may be with the same gateway by another address.
        let is_other = |sa: &IkeSa| sa.remote().ip() == remote.ip() && sa.peer().is_some();
        let has_other = |sa| self.table.numbered(sa).is_some_and(is_other);
        let is_sole = self.settings.is_sole_client
            && beside.is_none()
            && !self.dials.sas_of(&connection.profile.name).any(has_other);
        let old = beside.and_then(|sa| self.table.numbered(sa));
        let addresses = old.map(IkeSa::addresses).unwrap_or_default();
        let id = self.id();
        let spi = self.spis.ike(&mut self.rng);
        let names = Names { id, spi_i: SpiI(spi), spi_r: None, role: OriginalRole::Initiator };
        let (table, mut ctx) = self.split(now, out);
        let errand = Errand { is_sole, redirected_from, addresses };
        // A session goes on when it has been interrupted, or at the gateway that it is sent to; not
        // beside itself.
        let is_alive = |id| beside != Some(id) && table.numbered(id).is_some_and(IkeSa::is_in_use);
        let begun = match await_resume::usable(&mut ctx, connection, path, is_alive) {
            Some(kept) => AwaitResume::start(&mut ctx, names, Arc::clone(connection), path, errand, kept)
                .map(|state| State::AwaitResume(Box::new(state))),
            None => AwaitInit::start(&mut ctx, names, Arc::clone(connection), path, errand)
                .map(|state| State::AwaitInit(Box::new(state))),
        };
        match begun {
            Ok(state) => {
                let sa = IkeSa { names, state };
                table.insert(now, spi.get(), Box::new(sa));
                Some(id)
            }
            Err(refusal) => {
                fail(&mut ctx, names, connection, &refusal);
                None
            }
        }
    }

    /// Makes the Child SAs of one SA with another one.
    fn take_along(&mut self, now: Now, from: SaId, to: SaId, out: &mut Outbox<Output>) {
        let Some(to) = self.find(to) else { return };
        let Some(belongings) = self.table.numbered(from).and_then(IkeSa::belongings) else { return };
        self.with(now, to, out, |sa, ctx| {
            let mut effects = Effects::default();
            let names = sa.names;
            if let Some(state) = sa.established() {
                state.take_along(ctx, names, &belongings, &mut effects);
            }
            effects
        });
    }

    /// Our SPI of the SA with this number, or of the one that has taken its place.
    pub(super) fn find(&self, id: SaId) -> Option<u64> {
        self.table.numbered(id).map(|sa| sa.names.ours())
    }

    /// There is no connection any more for which anything is to be done.
    pub(super) fn hang_up(&mut self) {
        self.dials.clear();
        self.news.clear();
        self.heirs.clear();
    }

    /// Tells of redirects that were not followed and that were not told of yet.
    pub(super) fn tell_misdirections(&mut self, now: Now, out: &mut Outbox<Output>) {
        let said: Vec<_> = self.misdirections.due(now.mono).collect();
        for (reason, misdirected, count) in said {
            out.push(Output::Event(misdirected.into_event(reason, count)));
        }
    }
}

/// Where IKE is spoken without NATs.
const IKE_PORT: u16 = 500;
