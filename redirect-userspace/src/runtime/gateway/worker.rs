//! One worker: an IKE endpoint, its sockets and its part of the data plane, on a thread of their
//! own. No SA of it is ever seen by another thread.
//!
//! # Invariants
//!
//! - IKE messages go before bulk: a turn takes them in first, and what it does for tunnels is
//!   bounded.
//! - The core is never waited for: when it does not keep up, events are dropped and counted.

use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as thread_mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use std::io::IoSlice;

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::oneshot;

use super::locate::Locator;
use super::news::Board;
use super::radius::Radius;
use crate::control::{SaPage, SaQuery};
use crate::dataplane::kernel::Kernel;
use crate::dataplane::none::Nobody;
use crate::dataplane::userspace::Userspace;
use crate::dataplane::{DataPlane, News};
use crate::fastpath::guard::give_way;
use crate::ike::config::Settings;
use crate::ike::redirect::Targets;
use crate::ike::{
    Command, CountSnapshot, Counters, Endpoint, HandOver, Input, NAT_T_PORT, Output, Path, Redirect,
    Redirected, Request, SaId, Selection, TrapId, Usage, UsedTicket, Way,
};
use crate::machine::{Deadline, Machine as _, Outbox};
use crate::net::ike::{BATCH, Inbox, Port, Rank};
use crate::net::routes::Changes;
use crate::radius::config::Settings as RadiusSettings;
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

/// The way into a worker.
#[derive(Clone, Debug)]
pub(super) struct Door {
    orders: thread_mpsc::Sender<Order>,
    bell: Arc<EventFd>,
    /// Datagrams that wait.
    waiting: Arc<AtomicUsize>,
}

impl Door {
    /// Tells the worker what to do next.
    pub(super) fn order(&self, order: Order) {
        // Fails only when the thread has ended, and the core hears of that.
        drop(self.orders.send(order));
        let _ = self.bell.write(1);
    }

    /// Brings a datagram in, unless too many wait: its sender repeats it.
    pub(super) fn bring(&self, path: Path, octets: &[u8]) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.order(Order::Datagram(path, octets.to_vec()));
    }
}

/// What a worker takes its orders from.
#[derive(Debug)]
pub(super) struct Mailbox {
    orders: thread_mpsc::Receiver<Order>,
    door: Door,
}

impl Mailbox {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// The system has no room for it.
    pub(super) fn new() -> anyhow::Result<Self> {
        let (sender, orders) = thread_mpsc::channel();
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let door = Door { orders: sender, bell: Arc::new(bell), waiting: Arc::default() };
        Ok(Self { orders, door })
    }

    /// Waits for an order.
    #[cfg(test)]
    pub(super) fn wait(&self) -> Option<Order> {
        self.orders.recv().ok()
    }

    /// The way into it.
    pub(super) fn door(&self) -> Door {
        self.door.clone()
    }
}

/// What a worker is told.
pub(super) enum Order {
    /// Other settings are in force.
    Configure(Arc<Settings>, Arc<RadiusSettings>),
    /// The cluster has other members or loads.
    Targets(Arc<Targets>),
    /// A gateway was looked for.
    Located(Request, Vec<Way>),
    /// The ways to these peers were looked for.
    Ways(Option<SaId>, Vec<IpAddr>, Vec<Way>),
    /// Other addresses of the cluster than before are another node's.
    HandOver(Arc<HandOver>),
    /// A datagram came to another socket of this node.
    Datagram(Path, Vec<u8>),
    /// An operator wants something.
    Command(Command),
    /// Another worker has seen a packet that a connection is watched for: from where to where.
    Wanted(TrapId, (IpAddr, IpAddr)),
    /// Clients have made new SAs with another worker.
    Supersede(Arc<[Arc<[u8]>]>),
    /// An operator wants clients to go elsewhere.
    Redirect(Redirect, oneshot::Sender<Redirected>),
    /// Tickets were used with another worker, or on another node.
    TicketsUsed(Arc<[Arc<UsedTicket>]>),
    /// How many SAs are meant.
    Count(Selection, oneshot::Sender<u64>),
    /// What of its SAs could be on a page.
    Page(SaQuery, oneshot::Sender<SaPage>),
    /// The daemon ends.
    Stop,
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

/// Who carries the packets of its Child SAs.
pub(super) enum Plane {
    /// Nobody.
    None(Nobody),
    /// This thread.
    Userspace(Box<Userspace>),
    /// The kernel.
    Kernel(Box<Kernel>),
}

impl Plane {
    fn executor(&mut self) -> &mut dyn DataPlane {
        match self {
            Self::None(nobody) => nobody,
            Self::Userspace(userspace) => &mut **userspace,
            Self::Kernel(kernel) => &mut **kernel,
        }
    }

    /// What IKE wants to know since it asked last.
    fn news(&mut self) -> Vec<News> {
        match self {
            Self::None(_) => Vec::new(),
            Self::Userspace(userspace) => userspace.news().collect(),
            Self::Kernel(kernel) => kernel.news().collect(),
        }
    }

    /// What tells that there is something to do.
    fn watched(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::None(_) => None,
            Self::Userspace(userspace) => Some(userspace.queue().as_fd()),
            Self::Kernel(kernel) => Some(kernel.as_fd()),
        }
    }

    fn usage(&self, spi: crate::ike::wire::ChildSpi) -> Usage {
        let usage = match self {
            Self::None(nobody) => nobody.usage(spi),
            Self::Userspace(userspace) => userspace.usage(spi),
            Self::Kernel(kernel) => kernel.usage(spi),
        };
        usage.unwrap_or_default()
    }
}

impl Worker {
    /// Starts the thread.
    pub(super) fn start(parts: Parts) -> anyhow::Result<Self> {
        let door = parts.mailbox.door();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("creating an epoll instance")?;
        let watch = EpollFlags::EPOLLIN;
        epoll.add(&door.bell, EpollEvent::new(watch, BELL)).context("watching an eventfd")?;
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

/// What is in a datagram.
#[derive(Debug, PartialEq, Eq)]
enum Content<'a> {
    /// An IKE message.
    Ike(&'a mut [u8]),
    /// An ESP packet.
    Esp(&'a mut [u8]),
    /// It has kept a NAT's mapping alive.
    Nothing,
}

/// What is in a datagram that came to this port (`RFC 3948 §2`).
fn content(port: u16, octets: &mut [u8]) -> Content<'_> {
    match octets {
        octets if port != NAT_T_PORT => Content::Ike(octets),
        [0, 0, 0, 0, message @ ..] => Content::Ike(message),
        [KEEPALIVE] | [] => Content::Nothing,
        packet => Content::Esp(packet),
    }
}

/// What one thread works with.
struct Turn {
    parts: Parts,
    locator: Locator,
    out: Outbox<Output>,
    /// What the core has not been told yet.
    heard: Vec<Event>,
    /// When it was told last.
    told_at: Now,
    /// Clients of which the other workers have not been told yet.
    superseded: Vec<Arc<[u8]>>,
    /// Tickets that they have not been told of yet.
    used: Vec<Arc<UsedTicket>>,
    /// Lent out while its datagrams are worked through.
    inbox: Option<Inbox>,
    figures: Arc<Mutex<Figures>>,
    shown_at: Now,
    /// Turns in a row in which more newcomers were waiting than were let in.
    full_turns: u32,
    is_crowded: bool,
    is_stopping: bool,
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
                let _ = self.parts.mailbox.door.bell.read();
                while let Ok(order) = self.parts.mailbox.orders.try_recv() {
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

    fn datagram(&mut self, now: Now, path: Path, octets: &mut [u8]) {
        match content(path.local.port(), octets) {
            Content::Ike(octets) => self.step(now, Input::Datagram { path, octets }),
            Content::Esp(packet) => {
                if let Plane::Userspace(plane) = &mut self.parts.plane {
                    plane.receive(now, path, packet);
                }
            }
            Content::Nothing => {}
        }
    }

    /// Tells IKE what the data plane has seen.
    fn tell(&mut self, now: Now) {
        for news in self.parts.plane.news() {
            match news {
                News::Moved(inbound, path) => self.step(now, Input::Moved { inbound, path }),
                News::Alive(inbound) => self.step(now, Input::Alive { inbound }),
                News::Worn(inbound) => self.step(now, Input::Worn { inbound, is_spent: false }),
                News::Spent(inbound) => self.step(now, Input::Worn { inbound, is_spent: true }),
                // Connections are with the first worker.
                News::Wanted(trap, packet) => match self.parts.others.first() {
                    Some(first) if self.parts.number != 0 => first.order(Order::Wanted(trap, packet)),
                    _ => self.step(now, Input::Wanted { trap, packet }),
                },
            }
        }
    }

    /// Tells IKE what servers have said.
    fn hear_servers(&mut self, now: Now) {
        self.heard.extend(self.parts.radius.events());
        // An answer may lead to the next question, but that is not answered before the next turn.
        for answer in self.parts.radius.answers() {
            self.step(now, Input::Aaa(Box::new(answer)));
        }
    }

    fn step(&mut self, now: Now, input: Input<'_>) {
        self.parts.endpoint.step(now, input, &mut self.out);
        self.carry_all_out();
    }

    fn carry_all_out(&mut self) {
        while let Some(output) = self.out.pop() {
            self.carry_out(output);
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Transmit { path, octets } => {
                if path.has_marker() {
                    self.transmit(path, &[IoSlice::new(&[0; 4]), IoSlice::new(&octets)]);
                } else {
                    self.transmit(path, &[IoSlice::new(&octets)]);
                }
            }
            Output::Keepalive { path } => self.transmit(path, &[IoSlice::new(&[KEEPALIVE])]),
            Output::Install(child) => {
                let inbound = child.inbound;
                if let Some(session) = &child.session {
                    self.parts.radius.carries(inbound, session);
                }
                if let Err(error) = self.parts.plane.executor().install(*child) {
                    tracing::error!(%error, spi = %inbound, "a Child SA cannot work");
                }
            }
            Output::Switch { inbound } => self.parts.plane.executor().switch(inbound),
            Output::Move { inbound, outer } => self.parts.plane.executor().redirect(inbound, outer),
            Output::Remove { inbound } => {
                let Parts { radius, plane, .. } = &mut self.parts;
                radius.carried(inbound, |inbound| plane.usage(inbound));
                plane.executor().remove(inbound);
            }
            Output::Watch { connection, trap } => {
                if let Err(error) = self.parts.plane.executor().watch(trap) {
                    tracing::error!(%error, %connection, "no packet can bring a connection up");
                }
            }
            Output::Unwatch { trap } => self.parts.plane.executor().unwatch(trap),
            Output::Supersede { holder } => self.superseded.push(holder),
            Output::TicketUsed(used) => self.used.push(used.into()),
            Output::Locate { request, host } => self.locator.locate(request, host),
            Output::FindWays { asker, remotes } => self.locator.find_ways(asker, remotes, &self.parts.ports),
            Output::Aaa(request) => self.parts.radius.ask(*request),
            Output::AaaAbandoned(conversation) => self.parts.radius.abandon(conversation),
            Output::Account(account) => {
                let Parts { radius, plane, .. } = &mut self.parts;
                radius.account(&account, |inbound| plane.usage(inbound));
            }
            Output::Event(event) => self.heard.push(Event::Ike(event)),
        }
    }

    /// Sends a datagram; whoever misses it asks again.
    fn transmit(&self, path: Path, parts: &[IoSlice<'_>]) {
        let port = self.parts.ports.iter().find(|port| port.is_for(path.local));
        if let Some(port) = port
            && let Err(error) = port.send(path.local.ip(), path.remote, parts, None)
        {
            tracing::debug!(%error, remote = %path.remote, "a datagram of the gateway was not sent");
        }
    }

    fn obey(&mut self, now: Now, order: Order) {
        match order {
            Order::Configure(settings, radius) => {
                self.step(now, Input::Configure(settings));
                self.parts.radius.configure(radius);
            }
            Order::Located(request, ways) => self.step(now, Input::Located { request, ways }),
            Order::Ways(asker, asked, ways) => self.step(now, Input::Ways { asker, asked, ways }),
            Order::Targets(targets) => self.step(now, Input::Targets(targets)),
            Order::HandOver(hand_over) => self.step(now, Input::HandOver(hand_over)),
            Order::Datagram(path, mut octets) => {
                self.parts.mailbox.door.waiting.fetch_sub(1, Ordering::Relaxed);
                self.datagram(now, path, &mut octets);
                self.tell(now);
            }
            Order::Command(command) => self.step(now, Input::Command(command)),
            Order::Wanted(trap, packet) => self.step(now, Input::Wanted { trap, packet }),
            Order::Supersede(holders) => {
                for holder in holders.iter().map(Arc::clone) {
                    self.step(now, Input::Supersede { holder });
                }
            }
            Order::Redirect(redirect, answer) => {
                let result = self.parts.endpoint.redirect(now, &redirect, &mut self.out);
                self.carry_all_out();
                let _gone = answer.send(result);
            }
            Order::TicketsUsed(tickets) => {
                for used in &*tickets {
                    self.step(now, Input::TicketUsed(used));
                }
            }
            Order::Count(selection, answer) => {
                let count = self.parts.endpoint.snapshot(now, &selection, usize::MAX).len();
                let _gone = answer.send(u64::try_from(count).unwrap_or(u64::MAX));
            }
            Order::Page(query, answer) => {
                let sas = self.parts.endpoint.snapshot(now, &query.selection, usize::MAX);
                let plane = &self.parts.plane;
                let page = SaPage::pick(&query, sas, |sa| {
                    sa.children.iter().map(|child| plane.usage(child.inbound)).collect()
                });
                let _gone = answer.send(page);
            }
            Order::Stop => {
                self.step(now, Input::Command(Command::Shutdown));
                self.is_stopping = true;
            }
        }
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
/// Datagrams from elsewhere that may wait.
const MAX_WAITING: usize = 4_096;
/// What keeps a NAT's mapping alive (`RFC 3948 §2.3`).
const KEEPALIVE: u8 = 0xff;
/// Time in which the core is woken once, unless there is [`MANY`].
const TELL: Duration = Duration::from_millis(5);
/// Events that are not kept back.
const MANY: usize = 256;
/// Time between two publications of the figures.
const SHOW: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    // NAT-04
    #[test]
    fn on_port_4500_only_what_has_the_marker_is_ike() {
        let message = [7, 7, 7, 7, 1, 2];
        assert_eq!(content(4500, &mut message.clone()), Content::Esp(&mut message.clone()));
        let mut marked = [&[0; 4], &message[..]].concat();
        assert_eq!(content(4500, &mut marked), Content::Ike(&mut message.clone()));
        assert_eq!(content(4500, &mut [KEEPALIVE]), Content::Nothing);
        assert_eq!(content(4500, &mut []), Content::Nothing);
    }

    // NAT-06
    #[test]
    fn on_port_500_everything_is_ike_and_nothing_is_a_marker() {
        let mut marked = [0, 0, 0, 0, 1, 2];
        assert_eq!(content(500, &mut marked), Content::Ike(&mut [0, 0, 0, 0, 1, 2]));
        assert_eq!(content(500, &mut [KEEPALIVE]), Content::Ike(&mut [KEEPALIVE]));
    }
}
