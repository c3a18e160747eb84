//! Whole handshakes, full or resumed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::latency::Latencies;
use super::pace::{Extent, Pace, Schedule};
use super::request::spi_of;
use super::{count, wait};
use crate::crypto;
use crate::gateway::GatewayAddress;
use crate::ike::config::{Connection, Name, Profile, Settings, Upkeep};
use crate::ike::identity::Claim;
use crate::ike::wire::Id;
use crate::ike::{Command, Endpoint, Event, Input, NAT_T_PORT, Output, Path, Pools, Selection, Shard, Way};
use crate::machine::{Machine as _, Outbox};
use crate::net::ike::{BATCH, Inbox, Port};
use crate::rng::Rng;
use crate::runtime::clock::{Clock, random};
use crate::time::{Instant, Now};

/// What is asked for.
pub(super) struct Load {
    pub(super) gateway: SocketAddr,
    pub(super) local: IpAddr,
    /// Proposals, limits, retransmissions.
    pub(super) settings: Settings,
    /// A profile for the client with this number.
    pub(super) profile: Box<dyn Fn(Claim) -> Profile>,
    pub(super) pace: Pace,
    pub(super) extent: Extent,
    pub(super) first: u64,
    pub(super) deletes: bool,
    pub(super) resumed: Option<usize>,
    pub(super) patience: Duration,
}

/// What has come of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Handshakes that led to a Child SA.
    pub done: u64,
    /// Those that did not.
    pub failed: u64,
    /// Those by their reason.
    pub errors: BTreeMap<String, u64>,
    /// Why, in words, of the first ones.
    pub reasons: Vec<String>,
    /// Redirects that were followed, by where they led.
    pub gateways: BTreeMap<String, u64>,
    /// The longest time that a handshake was begun later than it was meant to be.
    pub behind: Duration,
    /// From the first message to the last.
    pub took: Duration,
    /// Of those that were done.
    pub latencies: Latencies,
}

/// Runs it in the network namespace of this thread.
pub(super) fn run(load: &Load) -> Result<Outcome> {
    crypto::prepare();
    let [ike, nat] = [500, NAT_T_PORT].map(|port| Port::bind(SocketAddr::new(load.local, port)));
    let clock = Clock::start();
    let mut generator = Generator {
        load,
        clock,
        ports: [ike?, nat?],
        inbox: Some(Inbox::new()),
        rng: random()?,
        sessions: HashMap::new(),
        by_spi: HashMap::new(),
        idle: VecDeque::new(),
        next: load.first,
        is_measured: false,
        outcome: Outcome::default(),
        out: Outbox::new(),
    };
    if let Some(clients) = load.resumed {
        generator.prepare(clients)?;
    }
    generator.is_measured = true;
    let begun_at = clock.now().mono;
    generator.run(load.pace, load.extent)?;
    generator.outcome.took = clock.now().mono.since(begun_at);
    Ok(generator.outcome)
}

struct Generator<'l> {
    load: &'l Load,
    clock: Clock,
    ports: [Port; 2],
    inbox: Option<Inbox>,
    rng: Rng,
    /// Clients at work, by their number.
    sessions: HashMap<u64, Session>,
    /// Whose each SPI of an initiator is.
    by_spi: HashMap<u64, u64>,
    /// Clients that wait with a ticket.
    idle: VecDeque<Session>,
    next: u64,
    /// Whether what happens counts.
    is_measured: bool,
    outcome: Outcome,
    out: Outbox<Output>,
}

struct Session {
    number: u64,
    name: Name,
    endpoint: Endpoint,
    meant_at: Instant,
    spis: Vec<u64>,
    is_resuming: bool,
    is_resumed: bool,
    is_up: bool,
}

impl Generator<'_> {
    /// Brings clients up that have a ticket then.
    fn prepare(&mut self, clients: usize) -> Result<()> {
        let count = u64::try_from(clients).unwrap_or(u64::MAX);
        self.run(Pace::Closed { parallel: PREPARING }, Extent { count: Some(count), duration: None })?;
        let Outcome { reasons, .. } = std::mem::take(&mut self.outcome);
        ensure!(!self.idle.is_empty(), "no client has come up to be resumed: {}", reasons.join("; "));
        Ok(())
    }

    fn run(&mut self, pace: Pace, extent: Extent) -> Result<()> {
        let begun_at = self.clock.now().mono;
        let mut schedule = Schedule::new(pace, extent, begun_at);
        let patience = extent.duration.unwrap_or_default() + self.load.patience;
        let mut swept_at = begun_at;
        loop {
            let now = self.clock.now();
            ensure!(
                now.mono.since(begun_at) < patience,
                "{} handshakes after {patience:?}, {} under way",
                self.outcome.done,
                self.sessions.len()
            );
            let is_lost = self.is_measured
                && self.load.resumed.is_some()
                && self.idle.is_empty()
                && self.sessions.is_empty();
            if is_lost || (schedule.is_over(now.mono) && self.sessions.is_empty()) {
                return Ok(());
            }
            for _ in 0..BATCH {
                let Some(meant_at) = schedule.take(now.mono, self.sessions.len()) else { break };
                self.outcome.behind = self.outcome.behind.max(now.mono.since(meant_at));
                self.begin(now, meant_at)?;
            }
            let next = schedule.next_at(now.mono, self.sessions.len());
            let longest = next.map_or(SWEEP, |next| next.since(self.clock.now().mono).min(SWEEP));
            wait(&self.ports, longest)?;
            for number in 0..self.ports.len() {
                self.receive(number)?;
            }
            let now = self.clock.now();
            if now.mono.since(swept_at) >= SWEEP {
                swept_at = now.mono;
                self.sweep(now);
            }
        }
    }

    fn begin(&mut self, now: Now, meant_at: Instant) -> Result<()> {
        let mut session = if self.is_measured && self.load.resumed.is_some() {
            let Some(session) = self.idle.pop_front() else {
                self.fail("no-client", "every client that has a ticket is under way");
                return Ok(());
            };
            Session { is_resuming: true, is_resumed: false, is_up: false, ..session }
        } else if self.sessions.len() >= MOST_OPEN {
            self.fail("too-many-open", "too many handshakes are under way");
            return Ok(());
        } else {
            self.newcomer(now)
        };
        session.meant_at = meant_at;
        let command = Command::Initiate { connection: session.name.clone(), local: self.load.local };
        session.endpoint.step(now, Input::Command(command), &mut self.out);
        let Some(exchange) = self.carry_out_first(&mut session) else {
            ensure!(session.is_resuming, "the initiator has nothing to say: are the proposals right?");
            self.fail("local-error", "the initiator has nothing to say");
            return Ok(());
        };
        if session.is_resuming && exchange != SESSION_RESUME {
            self.fail("no-ticket", "the gateway has given no ticket");
            self.forget(&session);
            return Ok(());
        }
        self.sessions.insert(session.number, session);
        Ok(())
    }

    fn newcomer(&mut self, now: Now) -> Session {
        let number = self.next;
        self.next += 1;
        let claim = Claim::Id(Id::Email(format!("client-{number}@load.example").into()));
        let connection = Connection {
            profile: Arc::new((self.load.profile)(claim)),
            remotes: vec![self.load.gateway],
            wants_ipv4: true,
            wants_ipv6: false,
            upkeep: Upkeep::default(),
        };
        let name = connection.profile.name.clone();
        let settings = Settings { connections: vec![Arc::new(connection)], ..self.load.settings.clone() };
        let endpoint =
            Endpoint::new(now, Shard::SOLE, Arc::new(settings), Box::new(Pools::new()), self.rng.fork());
        Session {
            number,
            name,
            endpoint,
            meant_at: now.mono,
            spis: Vec::new(),
            is_resuming: false,
            is_resumed: false,
            is_up: false,
        }
    }

    /// Sends what a client says first; says in which exchange.
    fn carry_out_first(&mut self, session: &mut Session) -> Option<u8> {
        let mut exchange = None;
        while let Some(output) = self.out.pop() {
            if let Output::Transmit { path, octets } = output {
                exchange = exchange.or_else(|| octets.get(EXCHANGE).copied());
                self.transmit(session, path, &octets);
            }
        }
        exchange
    }

    fn receive(&mut self, number: usize) -> Result<()> {
        let Some(port) = self.ports.get(number) else { return Ok(()) };
        let Some(mut inbox) = self.inbox.take() else { return Ok(()) };
        inbox.receive(port).context("reading a socket")?;
        for datagram in inbox.datagrams() {
            let path = Path { local: datagram.local, remote: datagram.remote };
            let message: &[u8] = match (path.has_marker(), &*datagram.octets) {
                (true, [0, 0, 0, 0, message @ ..]) => message,
                (true, _) => continue,
                (false, message) => message,
            };
            let number = spi_of(message).and_then(|spi| self.by_spi.get(&spi).copied());
            if let Some(number) = number {
                self.step(self.clock.now(), number, Input::Datagram { path, octets: message });
            }
        }
        self.inbox = Some(inbox);
        Ok(())
    }

    fn step(&mut self, now: Now, number: u64, input: Input<'_>) {
        let Some(mut session) = self.sessions.remove(&number) else { return };
        session.endpoint.step(now, input, &mut self.out);
        let mut fate = Fate::GoesOn;
        while let Some(output) = self.out.pop() {
            match output {
                Output::Transmit { path, octets } => self.transmit(&mut session, path, &octets),
                Output::Locate { request, host } => {
                    let ways = self.ways(&host);
                    session.endpoint.step(now, Input::Located { request, ways }, &mut self.out);
                }
                Output::Event(event) => self.heed(now, &mut session, &event, &mut fate),
                Output::Keepalive { .. }
                | Output::Install(_)
                | Output::Switch { .. }
                | Output::Move { .. }
                | Output::FindWays { .. }
                | Output::Remove { .. }
                | Output::Watch { .. }
                | Output::Unwatch { .. }
                | Output::Supersede { .. }
                | Output::TicketUsed(_)
                | Output::Aaa(_)
                | Output::AaaAbandoned(_)
                | Output::Account(_) => {}
            }
        }
        match fate {
            Fate::GoesOn => {
                self.sessions.insert(number, session);
            }
            Fate::Over => self.forget(&session),
            Fate::Rests => {
                self.forget(&session);
                session.spis.clear();
                session.endpoint.interrupt(now, &mut self.out);
                drop(self.out.drain());
                self.idle.push_back(session);
            }
        }
    }

    fn heed(&mut self, now: Now, session: &mut Session, event: &Event, fate: &mut Fate) {
        match event {
            Event::Established { is_resumed, .. } => session.is_resumed = *is_resumed,
            Event::ChildUp { .. } if !session.is_up => {
                session.is_up = true;
                if session.is_resuming && !session.is_resumed {
                    self.fail("not-resumed", "the gateway did not take the ticket");
                } else {
                    self.outcome.done += 1;
                    self.outcome.latencies.note(self.clock.now().mono.since(session.meant_at));
                }
                *fate = match (self.load.resumed, self.load.deletes) {
                    (Some(_), _) => Fate::Rests,
                    (None, true) => {
                        let delete = Input::Command(Command::Clear(Selection::All));
                        session.endpoint.step(now, delete, &mut self.out);
                        Fate::GoesOn
                    }
                    (None, false) => Fate::Over,
                };
            }
            Event::RedirectFollowed { to, .. } => count(&mut self.outcome.gateways, &to.to_string()),
            Event::Closed { .. } if session.is_up && *fate == Fate::GoesOn => *fate = Fate::Over,
            Event::ConnectFailed { failure, detail, .. } | Event::ChildRefused { failure, detail, .. } => {
                if !session.is_up {
                    self.fail(failure.as_str(), detail);
                }
                *fate = Fate::Over;
            }
            Event::Closed { reason, .. } if !session.is_up && *fate == Fate::GoesOn => {
                self.fail(reason.as_str(), "the SA is gone before it has a Child SA");
                *fate = Fate::Over;
            }
            Event::RedirectRefused { reason, .. } => {
                count(&mut self.outcome.errors, &format!("redirect-{reason}"));
            }
            Event::Closed { .. }
            | Event::Refused { .. }
            | Event::ChildUp { .. }
            | Event::ChildDown { .. }
            | Event::Rekeyed { .. }
            | Event::Redirected { .. }
            | Event::Wanted { .. }
            | Event::Moved { .. }
            | Event::Roamed { .. }
            | Event::TicketRefused { .. }
            | Event::CookiesChanged { .. } => {}
        }
    }

    fn fail(&mut self, reason: &str, detail: &str) {
        self.outcome.failed += 1;
        count(&mut self.outcome.errors, reason);
        if self.outcome.reasons.len() < REASONS {
            self.outcome.reasons.push(format!("{reason}: {detail}"));
        }
    }

    /// Ways to a gateway: there are no names here.
    fn ways(&self, host: &GatewayAddress) -> Vec<Way> {
        let remote: IpAddr = match host {
            GatewayAddress::Ipv4(address) => (*address).into(),
            GatewayAddress::Ipv6(address) => (*address).into(),
            GatewayAddress::Fqdn(_) => return Vec::new(),
        };
        let local = self.load.local;
        if remote.is_ipv4() == local.is_ipv4() { vec![Way { local, remote }] } else { Vec::new() }
    }

    fn forget(&mut self, session: &Session) {
        for spi in &session.spis {
            self.by_spi.remove(spi);
        }
    }

    /// Repeats what was lost.
    fn sweep(&mut self, now: Now) {
        let is_due = |session: &Session| session.endpoint.deadline().is_some_and(|at| at.is_due(now));
        let due: Vec<u64> =
            self.sessions.values().filter(|it| is_due(it)).map(|session| session.number).collect();
        for number in due {
            self.step(now, number, Input::Timeout);
        }
    }

    fn transmit(&mut self, session: &mut Session, path: Path, octets: &[u8]) {
        if let Some(spi) = spi_of(octets)
            && !session.spis.contains(&spi)
        {
            session.spis.push(spi);
            self.by_spi.insert(spi, session.number);
        }
        let Some(port) = self.ports.iter().find(|port| port.is_for(path.local)) else { return };
        // What is not sent is lost, and repeated.
        let _sent = if path.has_marker() {
            port.send(path.local.ip(), path.remote, &[IoSlice::new(&[0; 4]), IoSlice::new(octets)], None)
        } else {
            port.send(path.local.ip(), path.remote, &[IoSlice::new(octets)], None)
        };
    }
}

/// What becomes of a client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    GoesOn,
    Over,
    /// Until it comes again with its ticket.
    Rests,
}

/// Where a message says in which exchange it is, and what it says when a session is resumed.
const EXCHANGE: usize = 18;
const SESSION_RESUME: u8 = 38;
/// Time between two looks for what was lost.
const SWEEP: Duration = Duration::from_millis(100);
/// Reasons that are kept in words.
const REASONS: usize = 5;
/// Clients at a time that come to be resumed.
const PREPARING: usize = 32;
/// Most handshakes under way.
const MOST_OPEN: usize = 100_000;
