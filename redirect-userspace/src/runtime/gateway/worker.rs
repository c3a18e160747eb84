//! One worker: an IKE endpoint, its sockets and its part of the data plane, on a thread of their
//! own. No SA of it is ever seen by another thread.
//!
//! # Invariants
//!
//! - IKE messages go before bulk: a turn takes them in first, and what it does for tunnels is
//!   bounded.
//! - The core is never waited for: when it does not keep up, events are dropped and counted.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::door::{Door, Mailbox, Order};
use super::locate::Locator;
use super::news::Board;
use super::plane::Plane;
use super::radius::Radius;
use crate::fastpath::guard::give_way;
use crate::ike::{CountSnapshot, Counters, Endpoint, Input, Output, Path, UsedTicket};
use crate::machine::{Deadline, Machine as _, Outbox};
use crate::net::ike::{BATCH, Inbox, Port, Rank};
use crate::net::routes::Changes;
use crate::radius::{Counters as RadiusCounters, ServerSnapshot};
use crate::runtime::clock::Clock;
use crate::telemetry::Event;
use crate::time::Now;

/// A worker and the way to reach it.
#[derive(Debug)]
pub(super) struct Worker {
    door: Door,
    thread: Option<JoinHandle<()>>,
    figures: Arc<Mutex<Figures>>,
}

/// How a worker stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) counts: CountSnapshot,
    pub(super) counters: Counters,
    pub(super) radius: RadiusCounters,
    pub(super) servers: Vec<ServerSnapshot>,
    /// Whether whoever would like an SA is asked for a cookie.
    pub(super) asks_for_cookies: bool,
}

/// What a worker works with.
pub(super) struct Parts {
    pub(super) number: usize,
    pub(super) clock: Clock,
    pub(super) endpoint: Endpoint,
    pub(super) radius: Radius,
    pub(super) ports: Vec<Port>,
    pub(super) plane: Plane,
    /// What becomes of this machine's addresses and routes.
    pub(super) changes: Option<Changes>,
    /// What it is told, and the other workers.
    pub(super) mailbox: Mailbox,
    pub(super) others: Vec<Door>,
    pub(super) board: Arc<Board>,
}

impl Worker {
    /// Starts the thread.
    pub(super) fn start(parts: Parts) -> anyhow::Result<Self> {
        let door = parts.mailbox.door();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("creating an epoll instance")?;
        let watch = EpollFlags::EPOLLIN;
        epoll.add(parts.mailbox.bell(), EpollEvent::new(watch, BELL)).context("watching an eventfd")?;
        for (number, port) in (0..).zip(&parts.ports) {
            epoll.add(port, EpollEvent::new(watch, number)).context("watching a socket")?;
        }
        if let Some(plane) = parts.plane.watched() {
            epoll.add(plane, EpollEvent::new(watch, TUNNELS)).context("watching the data plane")?;
        }
        epoll.add(parts.radius.sockets(), EpollEvent::new(watch, SERVERS)).context("watching RADIUS")?;
        if let Some(changes) = &parts.changes {
            epoll.add(changes, EpollEvent::new(watch, CHANGES)).context("watching addresses and routes")?;
        }
        let figures = Arc::new(Mutex::new(Figures::default()));
        let locator = Locator::new(door.clone());
        let shown = Arc::clone(&figures);
        let thread = thread::Builder::new()
            .name(format!("ike-{}", parts.number))
            .spawn(move || {
                give_way();
                let board = Arc::clone(&parts.board);
                let mut turn = Turn {
                    parts,
                    locator,
                    out: Outbox::new(),
                    heard: Vec::new(),
                    told_at: Now::default(),
                    superseded: Vec::new(),
                    used: Vec::new(),
                    inbox: Some(Inbox::new()),
                    figures: shown,
                    shown_at: Now::default(),
                    full_turns: 0,
                    is_crowded: false,
                    is_stopping: false,
                };
                turn.serve(&epoll);
                if !turn.is_stopping {
                    board.end();
                }
            })
            .context("starting a thread of the gateway")?;
        Ok(Self { door, thread: Some(thread), figures })
    }

    /// The way in.
    pub(super) fn door(&self) -> Door {
        self.door.clone()
    }

    /// Tells the thread what to do next.
    pub(super) fn order(&self, order: Order) {
        self.door.order(order);
    }

    /// How it stands, as of a moment ago.
    pub(super) fn figures(&self) -> Figures {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.order(Order::Stop);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// What one thread works with.
pub(super) struct Turn {
    pub(super) parts: Parts,
    pub(super) locator: Locator,
    pub(super) out: Outbox<Output>,
    /// What the core has not been told yet.
    pub(super) heard: Vec<Event>,
    /// When it was told last.
    pub(super) told_at: Now,
    /// Clients of which the other workers have not been told yet.
    pub(super) superseded: Vec<Arc<[u8]>>,
    /// Tickets that they have not been told of yet.
    pub(super) used: Vec<Arc<UsedTicket>>,
    /// Lent out while its datagrams are worked through.
    pub(super) inbox: Option<Inbox>,
    pub(super) figures: Arc<Mutex<Figures>>,
    pub(super) shown_at: Now,
    /// Turns in a row in which more newcomers were waiting than were let in.
    pub(super) full_turns: u32,
    pub(super) is_crowded: bool,
    pub(super) is_stopping: bool,
}

impl Turn {
    fn serve(&mut self, epoll: &Epoll) {
        let mut events = [EpollEvent::empty(); MAX_EVENTS];
        let mut is_shown = true;
        while !self.is_stopping {
            let timeout = self.timeout(is_shown);
            let ready = match epoll.wait(&mut events, timeout) {
                Ok(ready) => ready,
                Err(Errno::EINTR) => 0,
                Err(error) => {
                    tracing::error!(%error, "a worker of the gateway stops: epoll failed");
                    return;
                }
            };
            let now = self.parts.clock.now();
            let is_ready = |wanted: u64| events.iter().take(ready).any(|event| event.data() == wanted);
            let (rings, has_packets) = (is_ready(BELL), is_ready(TUNNELS));
            let has_answers = is_ready(SERVERS);
            let numbers = events.iter().take(ready).filter_map(|event| usize::try_from(event.data()).ok());
            let mut waiting: Vec<usize> = numbers.filter(|number| *number < self.parts.ports.len()).collect();
            // Those who have an SA first, and all of them; of those who want one a few at a time.
            waiting.sort_unstable_by_key(|number| self.parts.ports.get(*number).map(Port::rank));
            let known = waiting.partition_point(|number| {
                self.parts.ports.get(*number).is_some_and(|port| port.rank() == Rank::Known)
            });
            let newcomers = waiting.split_off(known);
            for number in waiting {
                self.receive(now, number);
            }
            if has_packets {
                self.serve_tunnels(now);
            }
            if is_ready(CHANGES) && self.parts.changes.as_ref().is_some_and(Changes::take) {
                self.step(now, Input::RoutesChanged);
            }
            if rings {
                self.parts.mailbox.hush();
                while let Some(order) = self.parts.mailbox.next() {
                    self.obey(now, order);
                }
            }
            self.parts.radius.turn(now, has_answers);
            self.hear_servers(now);
            if self.parts.endpoint.deadline().is_some_and(|deadline| deadline.is_due(now)) {
                self.step(now, Input::Timeout);
            }
            self.hear_servers(now);
            self.admit(now, &newcomers);
            if let Plane::Userspace(plane) = &mut self.parts.plane {
                plane.flush();
            }
            self.tell_others(now);
            is_shown = self.show(now, ready > 0 || !is_shown);
        }
        self.parts.radius.finish();
    }

    /// Carries what waits for tunnels, or hears what the kernel says of them.
    fn serve_tunnels(&mut self, now: Now) {
        match &mut self.parts.plane {
            Plane::None(_) => {}
            Plane::Userspace(plane) => plane.send(&self.parts.ports),
            Plane::Kernel(plane) => plane.listen(now),
        }
        self.tell(now);
    }

    /// Straight to the others: the core may be too slow, and an SA that was missed would stay.
    fn tell_others(&mut self, now: Now) {
        if !self.superseded.is_empty() {
            let holders: Arc<[Arc<[u8]>]> = std::mem::take(&mut self.superseded).into();
            self.parts.others.iter().for_each(|other| other.order(Order::Supersede(Arc::clone(&holders))));
        }
        // Other nodes hear of it by the core.
        if self.has_to_tell(now) {
            self.parts.board.post(&mut self.heard, &self.used);
            self.told_at = now;
        }
        if !self.used.is_empty() {
            let tickets: Arc<[Arc<UsedTicket>]> = std::mem::take(&mut self.used).into();
            self.parts.others.iter().for_each(|other| other.order(Order::TicketsUsed(Arc::clone(&tickets))));
        }
    }

    /// Whether what the core has not been told must not wait. To wake it costs as much as to read a
    /// datagram, and while there is much to do it would sleep again before the next one.
    fn has_to_tell(&self, now: Now) -> bool {
        let is_due = now.mono >= self.told_at.mono + TELL;
        let is_urgent = self.is_stopping || !self.used.is_empty() || self.heard.len() >= MANY;
        is_urgent || (is_due && !self.heard.is_empty())
    }

    /// How long nothing needs to be done.
    fn timeout(&self, is_shown: bool) -> EpollTimeout {
        let now = self.parts.clock.now();
        let deadline = Deadline::earlier(self.parts.endpoint.deadline(), self.parts.radius.deadline());
        let deadline = deadline.map(|deadline| deadline.at.since(now.mono));
        let telling = (!self.heard.is_empty()).then(|| (self.told_at.mono + TELL).since(now.mono));
        let deadline = deadline.into_iter().chain(telling).min();
        let wait = match (deadline, is_shown) {
            (None, true) => return EpollTimeout::NONE,
            (Some(deadline), true) => deadline,
            (deadline, false) => deadline.unwrap_or(SHOW).min(SHOW),
        };
        // Rounded up, or the deadline would be waited for in a loop.
        let millis = wait.saturating_add(Duration::from_micros(999)).as_millis();
        i32::try_from(millis)
            .ok()
            .and_then(|millis| EpollTimeout::try_from(millis).ok())
            .unwrap_or(EpollTimeout::MAX)
    }

    /// Takes in what has arrived at a socket of those who have an SA here.
    fn receive(&mut self, now: Now, number: usize) {
        for _ in 0..BATCHES {
            if self.receive_some(now, number, BATCH) < BATCH {
                return;
            }
        }
    }

    /// Lets some of those in who have none, and tells IKE whether there are more than it keeps up with.
    fn admit(&mut self, now: Now, newcomers: &[usize]) {
        let mut is_full = false;
        for number in newcomers {
            let is_new = self.parts.ports.get(*number).map(Port::rank) == Some(Rank::New);
            is_full |= self.receive_some(now, *number, ADMITTED) == ADMITTED && is_new;
        }
        self.full_turns = if is_full { self.full_turns.saturating_add(1) } else { 0 };
        let is_crowded = self.full_turns >= CROWDED;
        if is_crowded != self.is_crowded {
            self.is_crowded = is_crowded;
            self.step(now, Input::Crowded(is_crowded));
        }
    }

    /// Takes in a batch, says how many datagrams there were.
    fn receive_some(&mut self, now: Now, number: usize, most: usize) -> usize {
        let Some(port) = self.parts.ports.get(number) else { return 0 };
        let Some(mut inbox) = self.inbox.take() else { return 0 };
        let received = inbox.receive_some(port, most);
        for datagram in inbox.datagrams() {
            let path = Path { local: datagram.local, remote: datagram.remote };
            if datagram.is_whole {
                self.datagram(now, path, datagram.octets);
            }
        }
        self.inbox = Some(inbox);
        self.tell(now);
        received.unwrap_or_else(|error| {
            tracing::debug!(%error, "reading a socket of the gateway failed");
            0
        })
    }

    /// Publishes the figures now and then; says whether they are up to date.
    fn show(&mut self, now: Now, is_new: bool) -> bool {
        if !is_new {
            return true;
        }
        if now.mono < self.shown_at.mono + SHOW && self.shown_at != Now::default() {
            return false;
        }
        self.shown_at = now;
        let figures = Figures {
            counts: self.parts.endpoint.counts(),
            counters: self.parts.endpoint.counters().clone(),
            radius: self.parts.radius.counters().clone(),
            servers: self.parts.radius.snapshot(now),
            asks_for_cookies: self.parts.endpoint.asks_for_cookies(now),
        };
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = figures;
        true
    }
}

/// The bell's number among the events; sockets count from zero.
const BELL: u64 = u64::MAX;
/// The number of the sockets to RADIUS servers.
const SERVERS: u64 = u64::MAX - 3;
/// The data plane's number.
const TUNNELS: u64 = u64::MAX - 1;
/// The number of what becomes of addresses and routes.
const CHANGES: u64 = u64::MAX - 2;
/// Events that are taken in at once: more than there are descriptors.
const MAX_EVENTS: usize = 64;
/// Batches read from one socket before the others have their turn.
const BATCHES: usize = 4;
/// Newcomers that are let in from one socket before those who have an SA have their turn again: a
/// key exchange each, half a millisecond in all.
const ADMITTED: usize = 16;
/// So many turns with [`ADMITTED`] newcomers in a row are a crowd: about a tenth of a second's work.
const CROWDED: u32 = 200;
/// Time in which the core is woken once, unless there is [`MANY`].
const TELL: Duration = Duration::from_millis(5);
/// Events that are not kept back.
const MANY: usize = 256;
/// Time between two publications of the figures.
const SHOW: Duration = Duration::from_millis(100);
