//! The servers of one role, and the requests that are with them.
//!
//! # Invariants
//!
//! - A request is answered once: with an answer that was checked, or with why there is none.
//! - A packet is repeated as it is. A request that goes on to another server is another packet, with
//!   its own identifier and authenticator.
//! - An answer that is not authentic leaves its request as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::server::{Health, MAX_SOCKETS, Remote, Socket, State};
use super::{Output, SocketId};
use crate::machine::Outbox;
use crate::radius::answer::check;
use crate::radius::config::Server;
use crate::radius::event::{
    Counters, DeathCause, Discard, Event, Outcome, Role, ServerSnapshot, Tally, count,
};
use crate::radius::request::Unsent;
use crate::radius::wire::{Authenticator, Code, Packet};
use crate::rng::Rng;
use crate::time::{Instant, Now};

/// A server's number; never used again for another one.
pub(super) type ServerId = u32;

/// The servers of one role.
#[derive(Debug)]
pub(super) struct Pool {
    role: Role,
    /// In the order in which they are asked.
    order: Vec<ServerId>,
    servers: BTreeMap<ServerId, Remote>,
    sockets: BTreeMap<SocketId, ServerId>,
    requests: BTreeMap<u64, Request>,
    timers: BTreeSet<(Instant, Timer)>,
    waiting: usize,
    most_waiting: usize,
    next_server: ServerId,
    next_request: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A request waits no longer.
    Request(u64),
    /// A server was left alone for long enough.
    Server(ServerId),
}

/// A request.
#[derive(Debug)]
struct Request {
    /// What it is for; a probe has nobody.
    owner: Option<u64>,
    unsent: Unsent,
    server: ServerId,
    /// Whether no other server can answer it.
    is_bound: bool,
    /// Servers that were asked before.
    tried: Vec<ServerId>,
    sent: Option<Sent>,
    due: Instant,
}

/// What was sent for it last.
#[derive(Debug)]
struct Sent {
    socket: SocketId,
    identifier: u8,
    octets: Vec<u8>,
    authenticator: Authenticator,
    /// When, the last time.
    last: Instant,
    times: u32,
}

/// What has come of a request.
#[derive(Debug)]
pub(super) enum Fate<'a> {
    /// An answer that was checked.
    Answered {
        /// What it was for.
        owner: u64,
        /// Who has answered.
        server: ServerId,
        /// What.
        packet: Packet<'a>,
        /// The authenticator of the request.
        request: Authenticator,
    },
    /// None.
    Failed {
        /// What it was for.
        owner: u64,
        /// Why.
        why: Outcome,
    },
}

/// What a pool works with while it does something.
pub(super) struct Hands<'a> {
    pub(super) now: Now,
    pub(super) rng: &'a mut Rng,
    pub(super) counters: &'a mut Counters,
    pub(super) next_socket: &'a mut u32,
    pub(super) out: &'a mut Outbox<Output>,
}

impl Pool {
    /// A pool without servers.
    pub(super) const fn new(role: Role, most_waiting: usize) -> Self {
        Self {
            role,
            order: Vec::new(),
            servers: BTreeMap::new(),
            sockets: BTreeMap::new(),
            requests: BTreeMap::new(),
            timers: BTreeSet::new(),
            waiting: 0,
            most_waiting,
            next_server: 0,
            next_request: 0,
        }
    }

    /// Whether there is nobody to ask.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// What the file says about a server that is still there.
    pub(super) fn config(&self, server: ServerId) -> Option<&Server> {
        self.servers.get(&server).map(|remote| &remote.config)
    }

    /// When there is something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Moves to these servers. Those that were there before are kept as they are; requests that are
    /// with others go on to the next, or fail.
    pub(super) fn configure(&mut self, hands: &mut Hands<'_>, wanted: &[Server]) -> Vec<Fate<'static>> {
        let mut old: Vec<ServerId> = std::mem::take(&mut self.order);
        for config in wanted {
            let same = old.iter().position(|id| self.config(*id) == Some(config));
            let id = match same {
                Some(position) => old.remove(position),
                None => self.add(hands.now, config.clone()),
            };
            self.order.push(id);
        }
        let mut fates = Vec::new();
        for id in old {
            let stranded: Vec<u64> =
                self.requests.iter().filter(|(_, it)| it.server == id).map(|(number, _)| *number).collect();
            for number in stranded {
                fates.extend(self.go_on(hands, number, Outcome::Unanswered));
            }
            self.timers.retain(|(_, timer)| *timer != Timer::Server(id));
            if let Some(gone) = self.servers.remove(&id) {
                for socket in gone.sockets {
                    self.sockets.remove(&socket.id);
                    hands.out.push(Output::Close { socket: socket.id });
                }
            }
        }
        fates
    }

    fn add(&mut self, now: Now, config: Server) -> ServerId {
        let id = self.next_server;
        self.next_server = id.wrapping_add(1);
        let remote = Remote {
            config,
            health: Health::new(now.mono),
            sockets: Vec::new(),
            waiting: BTreeSet::new(),
            tally: Tally::default(),
        };
        self.servers.insert(id, remote);
        id
    }

    /// Sends a request: to the server that it is bound to, or to the first that is there.
    ///
    /// # Errors
    ///
    /// Why it is not sent.
    pub(super) fn send(
        &mut self,
        hands: &mut Hands<'_>,
        unsent: Unsent,
        owner: u64,
        bound: Option<ServerId>,
    ) -> Result<u64, Outcome> {
        let server = match bound {
            Some(bound) if self.servers.contains_key(&bound) => bound,
            // The conversation was with a server that has been taken away.
            Some(_) => return Err(Outcome::Unanswered),
            None => self.choose(hands.now.mono, &[]).ok_or(Outcome::NoServer)?,
        };
        self.begin(hands, unsent, Some(owner), server, bound.is_some())
    }

    fn begin(
        &mut self,
        hands: &mut Hands<'_>,
        unsent: Unsent,
        owner: Option<u64>,
        server: ServerId,
        is_bound: bool,
    ) -> Result<u64, Outcome> {
        let number = self.next_request;
        self.next_request += 1;
        let due = hands.now.mono;
        let request = Request { owner, unsent, server, is_bound, tried: Vec::new(), sent: None, due };
        self.requests.insert(number, request);
        match self.transmit(hands, number) {
            Ok(()) => Ok(number),
            Err(why) => {
                self.remove(number);
                Err(why)
            }
        }
    }

    /// The first server that is there and was not tried. When none is there, the first that may be
    /// back, and then the first of all: it costs nothing but time.
    fn choose(&mut self, now: Instant, tried: &[ServerId]) -> Option<ServerId> {
        let state = |id: &ServerId| self.servers.get(id).map(|remote| remote.health.state);
        let untried = || self.order.iter().copied().filter(|id| !tried.contains(id));
        let chosen = untried()
            .find(|id| matches!(state(id), Some(State::Up | State::OnTrial)))
            .or_else(|| untried().next())?;
        if let Some(remote) = self.servers.get_mut(&chosen)
            && remote.health.state == State::OnTrial
        {
            // One request finds out; the others are not kept waiting. It may be abandoned before.
            let until = now + remote.config.whole_patience().saturating_mul(2);
            remote.health.state = State::Probed { until };
            self.wake(chosen);
        }
        Some(chosen)
    }

    /// Sends a request for the first time to its server, now or when it has an identifier.
    fn transmit(&mut self, hands: &mut Hands<'_>, number: u64) -> Result<(), Outcome> {
        let Some(request) = self.requests.get_mut(&number) else { return Err(Outcome::Abandoned) };
        let Some(remote) = self.servers.get_mut(&request.server) else { return Err(Outcome::Unanswered) };
        if !request.unsent.fits(&remote.config) {
            return Err(Outcome::TooLong);
        }
        let Some((socket, identifier)) = place(remote, number, &mut self.sockets, request.server, hands)
        else {
            if self.waiting >= self.most_waiting {
                return Err(Outcome::Overflow);
            }
            let due = hands.now.mono + remote.config.whole_patience();
            remote.waiting.insert(number);
            self.waiting += 1;
            set_due(&mut self.timers, number, request, due);
            return Ok(());
        };
        let random = hands.rng.array();
        let written = request.unsent.write(hands.now, &remote.config, identifier, random);
        let Ok((octets, authenticator)) = written else {
            if let Some(socket) = remote.sockets.iter_mut().find(|it| it.id == socket) {
                socket.free(identifier);
            }
            return Err(Outcome::TooLong);
        };
        hands.out.push(Output::Send { socket, octets: octets.clone() });
        count(&mut remote.tally.requests);
        let now = hands.now.mono;
        request.sent = Some(Sent { socket, identifier, octets, authenticator, last: now, times: 1 });
        let due = now + jittered(hands.rng, remote.config.patience(1));
        set_due(&mut self.timers, number, request, due);
        Ok(())
    }

    /// Takes a datagram of a server in.
    pub(super) fn datagram<'a>(
        &mut self,
        hands: &mut Hands<'_>,
        socket: SocketId,
        datagram: &'a [u8],
    ) -> Result<Option<Fate<'a>>, Discard> {
        let result = self.take_in(hands, socket, datagram);
        if result.is_err()
            && let Some(server) = self.sockets.get(&socket)
            && let Some(remote) = self.servers.get_mut(server)
        {
            count(&mut remote.tally.discarded);
        }
        result
    }

    fn take_in<'a>(
        &mut self,
        hands: &mut Hands<'_>,
        socket: SocketId,
        datagram: &'a [u8],
    ) -> Result<Option<Fate<'a>>, Discard> {
        let server = self.sockets.get(&socket).copied().ok_or(Discard::NoRequest)?;
        let Some(remote) = self.servers.get_mut(&server) else { return Err(Discard::NoRequest) };
        let packet = Packet::decode(datagram).map_err(|_unlike| Discard::Malformed)?;
        let waits = remote.sockets.iter().find(|it| it.id == socket);
        let number = waits.and_then(|it| it.request(packet.identifier)).ok_or(Discard::NoRequest)?;
        let Some(request @ Request { sent: Some(sent), .. }) = self.requests.get(&number) else {
            return Err(Discard::NoRequest);
        };
        let asked = request.unsent.code();
        if !is_answer(self.role, asked, packet.code) {
            return Err(Discard::UnexpectedCode);
        }
        let must_be_signed = asked == Code::AccessRequest;
        if let Err(discard) = check(&packet, &sent.authenticator, &remote.config.secret, must_be_signed) {
            remote.health.hint(DeathCause::NotAuthentic);
            return Err(discard);
        }
        let authenticator = sent.authenticator;
        let owner = request.owner;
        count(&mut remote.tally.answered);
        if sent.times == 1 {
            remote.tally.took(hands.now.mono.since(sent.last));
        }
        self.heard(hands, server, asked == Code::StatusServer);
        self.remove(number);
        self.serve_waiting(hands, server);
        Ok(match owner {
            Some(owner) => Some(Fate::Answered { owner, server, packet, request: authenticator }),
            None => {
                hands.counters.outcome(Outcome::Probed);
                None
            }
        })
    }

    fn heard(&mut self, hands: &mut Hands<'_>, server: ServerId, is_probe: bool) {
        let Some(remote) = self.servers.get_mut(&server) else { return };
        if let Some(after) = remote.health.heard(hands.now.mono, is_probe) {
            self.timers.retain(|(_, timer)| *timer != Timer::Server(server));
            let event = Event::ServerBack { server: remote.config.address, role: self.role, after };
            hands.out.push(Output::Event(event));
        }
    }

    /// Where the datagrams of a socket come from.
    pub(super) fn server_of(&self, socket: SocketId) -> Option<SocketAddr> {
        self.config(*self.sockets.get(&socket)?).map(|server| server.address)
    }

    /// The kernel says that nobody listens where a socket sends to.
    ///
    /// That is a hint and no proof. Requests that another server can answer go there; the others
    /// wait, since the server may be starting.
    pub(super) fn refused(&mut self, hands: &mut Hands<'_>, socket: SocketId) -> Vec<Fate<'static>> {
        let Some(server) = self.sockets.get(&socket).copied() else { return Vec::new() };
        let Some(remote) = self.servers.get_mut(&server) else { return Vec::new() };
        count(&mut remote.tally.unanswered);
        remote.health.unanswered(hands.now.mono);
        remote.health.hint(DeathCause::Refused);
        let is_dying = remote.health.is_dying(hands.now.mono, remote.config.timeout);
        let with_it = |(number, it): (&u64, &Request)| {
            let is_sent_there = it.sent.as_ref().is_some_and(|sent| sent.socket == socket);
            (is_sent_there && !it.is_bound && it.owner.is_some()).then_some(*number)
        };
        let movable: Vec<u64> = self.requests.iter().filter_map(with_it).collect();
        let mut fates = Vec::new();
        for number in movable {
            if self.has_another(number) {
                fates.extend(self.go_on(hands, number, Outcome::Unanswered));
            }
        }
        if is_dying {
            fates.extend(self.bury(hands, server));
        }
        fates
    }

    /// Whether there is a server for this request that is up and was not asked.
    fn has_another(&self, number: u64) -> bool {
        let Some(request) = self.requests.get(&number) else { return false };
        self.order.iter().any(|id| {
            let is_up = self.servers.get(id).is_some_and(|remote| remote.health.state == State::Up);
            is_up && *id != request.server && !request.tried.contains(id)
        })
    }

    /// Does what is due.
    pub(super) fn timeout(&mut self, hands: &mut Hands<'_>) -> Vec<Fate<'static>> {
        let mut fates = Vec::new();
        while let Some((at, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= hands.now.mono) {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Request(number) => fates.extend(self.expire(hands, number)),
                Timer::Server(server) => self.revive(hands, server),
            }
        }
        fates
    }

    /// A request was not answered in time.
    fn expire(&mut self, hands: &mut Hands<'_>, number: u64) -> Vec<Fate<'static>> {
        let Some(request) = self.requests.get_mut(&number) else { return Vec::new() };
        let server = request.server;
        let Some(remote) = self.servers.get_mut(&server) else { return Vec::new() };
        // One that never had an identifier says nothing about the server.
        let Some(sent) = &mut request.sent else {
            return self.go_on(hands, number, Outcome::Overflow).into_iter().collect();
        };
        count(&mut remote.tally.unanswered);
        let counts = remote.health.unanswered(sent.last);
        let is_dying = counts && remote.health.is_dying(hands.now.mono, remote.config.timeout);
        if sent.times <= remote.config.retries {
            sent.times += 1;
            sent.last = hands.now.mono;
            let patience = remote.config.patience(sent.times);
            hands.out.push(Output::Send { socket: sent.socket, octets: sent.octets.clone() });
            count(&mut hands.counters.retransmissions);
            count(&mut remote.tally.retransmissions);
            let due = hands.now.mono + jittered(hands.rng, patience);
            set_due(&mut self.timers, number, request, due);
            return if is_dying { self.bury(hands, server) } else { Vec::new() };
        }
        let is_probe = request.owner.is_none();
        let dead_time = remote.config.dead_time;
        let is_down = remote.health.state != State::Up;
        let mut fates = Vec::new();
        if is_probe {
            remote.health.after_probe(hands.now.mono, dead_time);
            self.wake(server);
            self.remove(number);
            return fates;
        }
        if is_down && counts {
            // It was on trial, or is dead and asked all the same: it is left alone again.
            remote.health.bury(hands.now.mono, dead_time);
            self.wake(server);
        }
        fates.extend(self.go_on(hands, number, Outcome::Unanswered));
        if is_dying {
            fates.extend(self.bury(hands, server));
        }
        fates
    }

    /// A server is dead: those who can, go on to the next one.
    fn bury(&mut self, hands: &mut Hands<'_>, server: ServerId) -> Vec<Fate<'static>> {
        let Some(remote) = self.servers.get_mut(&server) else { return Vec::new() };
        let dead_time = remote.config.dead_time;
        let address = remote.config.address;
        if let Some(cause) = remote.health.bury(hands.now.mono, dead_time) {
            let event = Event::ServerDead { server: address, role: self.role, cause, dead_time };
            hands.out.push(Output::Event(event));
        }
        self.wake(server);
        let with_it = |(number, it): (&u64, &Request)| {
            (it.server == server && !it.is_bound && it.owner.is_some()).then_some(*number)
        };
        let movable: Vec<u64> = self.requests.iter().filter_map(with_it).collect();
        let mut fates = Vec::new();
        for number in movable {
            if self.has_another(number) {
                fates.extend(self.go_on(hands, number, Outcome::Unanswered));
            }
        }
        fates
    }

    /// Sets the time at which a server is looked after.
    fn wake(&mut self, server: ServerId) {
        self.timers.retain(|(_, timer)| *timer != Timer::Server(server));
        let state = self.servers.get(&server).map(|remote| remote.health.state);
        if let Some(State::Dead { until } | State::Probed { until }) = state {
            self.timers.insert((until, Timer::Server(server)));
        }
    }

    /// A server was left alone for long enough.
    fn revive(&mut self, hands: &mut Hands<'_>, server: ServerId) {
        let Some(remote) = self.servers.get_mut(&server) else { return };
        if !remote.config.is_probed {
            remote.health.state = State::OnTrial;
            return;
        }
        // The probe is given up before.
        let until = hands.now.mono + remote.config.whole_patience().saturating_mul(2);
        remote.health.state = State::Probed { until };
        self.wake(server);
        if self.begin(hands, Unsent::probe(), None, server, true).is_err()
            && let Some(remote) = self.servers.get_mut(&server)
        {
            // All its identifiers are in use: those requests find out.
            remote.health.after_probe(hands.now.mono, remote.config.dead_time);
            self.wake(server);
        }
    }

    /// A request goes on to the next server, or fails.
    fn go_on(&mut self, hands: &mut Hands<'_>, number: u64, why: Outcome) -> Option<Fate<'static>> {
        self.let_go(number);
        let request = self.requests.get_mut(&number)?;
        let Some(owner) = request.owner else {
            self.remove(number);
            return None;
        };
        let left = request.server;
        request.tried.push(left);
        let tried = request.tried.clone();
        let next = if request.is_bound { None } else { self.choose(hands.now.mono, &tried) };
        let mut why = why;
        if let (Some(next), Some(request)) = (next, self.requests.get_mut(&number)) {
            request.server = next;
            count(&mut hands.counters.fail_overs);
            match self.transmit(hands, number) {
                Ok(()) => {
                    self.serve_waiting(hands, left);
                    return None;
                }
                Err(error) => why = error,
            }
        }
        self.remove(number);
        self.serve_waiting(hands, left);
        Some(Fate::Failed { owner, why })
    }

    /// Nobody wants the answer to a request any more.
    pub(super) fn abandon(&mut self, hands: &mut Hands<'_>, number: u64) {
        let Some(server) = self.requests.get(&number).map(|request| request.server) else { return };
        self.remove(number);
        self.serve_waiting(hands, server);
    }

    /// Takes a request away from its server.
    fn let_go(&mut self, number: u64) {
        let Some(request) = self.requests.get_mut(&number) else { return };
        self.timers.remove(&(request.due, Timer::Request(number)));
        let Some(remote) = self.servers.get_mut(&request.server) else { return };
        match request.sent.take() {
            Some(sent) => {
                if let Some(socket) = remote.sockets.iter_mut().find(|it| it.id == sent.socket) {
                    socket.free(sent.identifier);
                }
            }
            None => {
                if remote.waiting.remove(&number) {
                    self.waiting = self.waiting.saturating_sub(1);
                }
            }
        }
    }

    fn remove(&mut self, number: u64) {
        self.let_go(number);
        self.requests.remove(&number);
    }

    /// Sends what waits for an identifier.
    fn serve_waiting(&mut self, hands: &mut Hands<'_>, server: ServerId) {
        let Some(remote) = self.servers.get_mut(&server) else { return };
        let room = remote.sockets.iter().any(|socket| socket.in_use() < IDENTIFIERS);
        if !room {
            return;
        }
        let Some(number) = remote.waiting.pop_first() else { return };
        self.waiting = self.waiting.saturating_sub(1);
        if let Some(request) = self.requests.get_mut(&number) {
            self.timers.remove(&(request.due, Timer::Request(number)));
        }
        // What does not fit has not begun to wait.
        if self.transmit(hands, number).is_err() {
            self.remove(number);
        }
    }

    /// Its servers for people.
    pub(super) fn snapshot(&self, now: Now) -> impl Iterator<Item = ServerSnapshot> + use<'_> {
        self.order.iter().filter_map(move |id| {
            let remote = self.servers.get(id)?;
            Some(ServerSnapshot {
                address: remote.config.address,
                role: self.role,
                state: remote.health.shown(),
                since: now.mono.since(remote.health.since),
                outstanding: remote.sockets.iter().map(Socket::in_use).sum(),
                waiting: remote.waiting.len(),
                tally: remote.tally,
            })
        })
    }
}

/// A socket and an identifier for a request.
fn place(
    remote: &mut Remote,
    number: u64,
    sockets: &mut BTreeMap<SocketId, ServerId>,
    server: ServerId,
    hands: &mut Hands<'_>,
) -> Option<(SocketId, u8)> {
    for socket in &mut remote.sockets {
        if let Some(identifier) = socket.take(number) {
            return Some((socket.id, identifier));
        }
    }
    if remote.sockets.len() >= MAX_SOCKETS {
        return None;
    }
    let id = SocketId(*hands.next_socket);
    *hands.next_socket = hands.next_socket.wrapping_add(1);
    let mut socket = Socket::new(id);
    let identifier = socket.take(number)?;
    hands.out.push(Output::Open { socket: id, server: remote.config.address });
    sockets.insert(id, server);
    remote.sockets.push(socket);
    Some((id, identifier))
}

fn set_due(timers: &mut BTreeSet<(Instant, Timer)>, number: u64, request: &mut Request, due: Instant) {
    timers.remove(&(request.due, Timer::Request(number)));
    request.due = due;
    timers.insert((due, Timer::Request(number)));
}

/// A tenth more or less, so that those who began together do not go on together.
// RFC 5080 §2.2.1: RAND is between -0.1 and +0.1.
fn jittered(rng: &mut Rng, duration: Duration) -> Duration {
    let tenth = duration / 10;
    rng.between(duration.saturating_sub(tenth), duration.saturating_add(tenth))
}

/// Whether a code answers another.
const fn is_answer(role: Role, asked: Code, answered: Code) -> bool {
    match (asked, answered) {
        (Code::AccessRequest, Code::AccessAccept | Code::AccessReject | Code::AccessChallenge)
        | (Code::AccountingRequest, Code::AccountingResponse) => true,
        // RFC 5997 §3: what the port is for.
        (Code::StatusServer, Code::AccessAccept) => matches!(role, Role::Authentication),
        (Code::StatusServer, Code::AccountingResponse) => matches!(role, Role::Accounting),
        _ => false,
    }
}

/// Identifiers of one socket.
const IDENTIFIERS: usize = 256;
