//! A whole cluster in virtual time: nodes on one link that loses, delays, splits and heals, while
//! nodes crash, come back, stand still and change their priority.
//!
//! Each node is the real [`Group`] and the real [`Cluster`]; the link and the connections are
//! made up. After every step the invariants of the cluster are checked; whoever breaks one panics
//! with the seed, the time and what happened last.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a simulation is a test: what it gets wrong itself may stop it"
)]

mod invariants;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::clb::{self, ClusterKey, ConnectionId, PeerId, Registration, Report, SlaveSettings, UsedTicket};
use crate::cluster::{self, Cluster, Election, MemberState, Peer};
use crate::gateway::{GatewayAddresses, GatewayIndex, GatewayName, LlgTable};
use crate::hsrp::{
    Authentication, Group, GroupNumber, Input as HsrpInput, Interface, MacAddress, Md5Key, Md5Keys,
    Output as HsrpOutput, Preempt, RouterSnapshot, Settings, State, Timers, Version,
};
use crate::machine::{Machine as _, Outbox};
use crate::rng::Rng;
use crate::secret::Secret;
use crate::time::{Instant, Now, UnixTime};

/// The virtual IP and the master's port.
const MASTER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5)), 2012);
/// HSRP hello and hold time.
const TIMERS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_millis(800));
/// CLB hold time.
const HOLDTIME: Duration = Duration::from_millis(1_500);
/// Longest way of a datagram.
const LATENCY: Duration = Duration::from_millis(8);
/// Time between two samples of a node's load and counters.
const SAMPLE: Duration = Duration::from_millis(100);
/// How long after the last disturbance everything is to be as it should: an election from
/// nothing takes two hold times, then the slaves come; some of them wait between attempts.
pub const CALM: Duration = Duration::from_secs(12);

/// The cluster.
#[derive(Debug)]
pub struct Fleet {
    seed: u64,
    rng: Rng,
    now: Now,
    nodes: Vec<Node>,
    flights: BinaryHeap<Reverse<Flight>>,
    order: u64,
    /// Number of the last ticket that was used.
    ticket: u64,
    pipes: BTreeMap<u64, Pipe>,
    next_pipe: u64,
    /// Part of the link that each node is in.
    parts: Vec<u8>,
    /// Hundredths of datagrams that are lost.
    loss: u64,
    disturbed: Instant,
    /// What happened last, for whoever has to find out.
    story: VecDeque<String>,
}

#[derive(Debug)]
struct Node {
    name: GatewayName,
    address: Ipv4Addr,
    priority: u8,
    alive: Option<Alive>,
    /// Until when it stands still.
    stalled: Instant,
    died: Instant,
    sample_at: Instant,
    /// Numbers of its cluster key, and of the one it accepts.
    keys: (u8, Option<u8>),
    /// Two actives that hear each other: since when.
    rival_since: Option<Instant>,
}

struct Alive {
    group: Group,
    cluster: Cluster,
    holds_vip: bool,
    listens: bool,
    entries: BTreeMap<GatewayIndex, common::maps::Gateway>,
    table: Option<LlgTable>,
    /// Numbers of the tickets that its clients have used, and of those that it was told of.
    own: BTreeSet<u64>,
    told: BTreeSet<u64>,
    redirects: Vec<u64>,
}

impl std::fmt::Debug for Alive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Alive({}, {})", self.group.state(), self.cluster.role())
    }
}

/// A connection from a slave to whoever had the VIP.
#[derive(Debug)]
struct Pipe {
    client: usize,
    connection: ConnectionId,
    server: usize,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    at: Instant,
    order: u64,
    to: usize,
    what: What,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Hello { from: Ipv4Addr, payload: Vec<u8> },
    Connect { pipe: u64 },
    Connected { pipe: u64 },
    Octets { pipe: u64, to_server: bool, octets: Vec<u8> },
    Closed { pipe: u64, to_server: bool, connection: u64 },
}

impl Fleet {
    /// `count` nodes that start at once on a link without loss.
    #[must_use]
    pub fn new(seed: u64, count: u8) -> Self {
        let mut rng = Rng::from_number(seed);
        let start =
            Now { mono: Instant::START, wall: UnixTime::from_epoch(Duration::from_secs(1_800_000_000)) };
        let mut nodes = Vec::new();
        for number in 1..=count {
            nodes.push(Node {
                name: format!("gw{number}").parse().expect("a name"),
                address: Ipv4Addr::new(10, 0, 0, 10 + number),
                // Some are equal: then the address decides.
                priority: 100 + u8::try_from(rng.below(4)).unwrap_or(0) * 5,
                alive: None,
                stalled: Instant::START,
                died: Instant::START,
                sample_at: Instant::START,
                keys: (1, None),
                rival_since: None,
            });
        }
        let mut fleet = Self {
            seed,
            parts: vec![0; nodes.len()],
            rng,
            now: start,
            nodes,
            flights: BinaryHeap::new(),
            order: 0,
            ticket: 0,
            pipes: BTreeMap::new(),
            next_pipe: 0,
            loss: 0,
            disturbed: Instant::START,
            story: VecDeque::new(),
        };
        for node in 0..fleet.nodes.len() {
            fleet.start(node);
        }
        fleet
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Nodes that are alive and active.
    #[must_use]
    pub fn active(&self) -> Vec<usize> {
        self.in_state(State::Active)
    }

    /// Every node, the one that would be active of all first.
    #[must_use]
    pub fn ranked(&self) -> Vec<usize> {
        let mut nodes: Vec<_> = (0..self.nodes.len()).collect();
        nodes.sort_by_key(|at| Reverse(self.rank(*at)));
        nodes
    }

    fn rank(&self, node: usize) -> (u8, Ipv4Addr) {
        (self.nodes[node].priority, self.nodes[node].address)
    }

    fn in_state(&self, state: State) -> Vec<usize> {
        let is = |node: &Node| node.alive.as_ref().is_some_and(|alive| alive.group.state() == state);
        (0..self.nodes.len()).filter(|at| is(&self.nodes[*at])).collect()
    }

    /// One of the disturbances, by chance.
    pub fn disturb(&mut self) {
        let node = usize::try_from(self.rng.below(self.nodes.len() as u64)).expect("small");
        match self.rng.below(9) {
            0 | 1 => {
                let is_silent = self.rng.below(2) == 0;
                self.crash(node, is_silent);
            }
            2 | 3 => self.start(node),
            4 => {
                let parts: Vec<_> = self.nodes.iter().map(|_| u8::from(self.rng.below(2) == 0)).collect();
                self.tell(format!("the link splits: {parts:?}"));
                self.parts = parts;
            }
            5 => self.heal(),
            6 => {
                self.loss = self.rng.below(30);
                self.tell(format!("{} % of the hellos are lost", self.loss));
            }
            7 => {
                let time = Duration::from_millis(100 + self.rng.below(3_000));
                self.tell(format!("{} stands still for {time:?}", self.nodes[node].name));
                self.nodes[node].stalled = self.now.mono + time;
                self.disturbed = self.now.mono + time;
            }
            _ => {
                let priority = 90 + u8::try_from(self.rng.below(40)).expect("small");
                self.tell(format!("{} has priority {priority}", self.nodes[node].name));
                self.nodes[node].priority = priority;
                let settings = self.settings(node);
                self.hsrp(node, HsrpInput::Reconfigure(settings));
                // Clocks on walls jump; nothing may follow from that.
                let wall = UnixTime::from_epoch(Duration::from_secs(self.rng.below(1 << 32)));
                self.now.wall = wall;
            }
        }
        self.disturbed = self.disturbed.max(self.now.mono);
    }

    /// Ends every disturbance and starts who is down.
    pub fn heal(&mut self) {
        self.tell("the link is whole".to_owned());
        self.parts.fill(0);
        self.loss = 0;
        self.disturbed = self.disturbed.max(self.now.mono);
    }

    /// Starts every node that is down.
    pub fn start_all(&mut self) {
        for node in 0..self.nodes.len() {
            self.start(node);
        }
        self.disturbed = self.disturbed.max(self.now.mono);
    }

    /// A client uses a ticket with a node, if that is there.
    pub fn use_ticket(&mut self, node: usize) {
        let Some(alive) = &mut self.nodes[node].alive else { return };
        self.ticket += 1;
        alive.own.insert(self.ticket);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.ticket.to_be_bytes());
        // Clocks on walls jump: this is later than any of them.
        let expires_at = UnixTime::from_epoch(Duration::from_secs(u64::MAX - self.ticket));
        self.cluster(node, cluster::Input::TicketUsed(UsedTicket { id, expires_at, origin: None }));
    }

    /// A node gets another cluster key, and another one that it accepts.
    pub fn set_keys(&mut self, node: usize, key: u8, accepted: Option<u8>) {
        self.tell(format!("{} has key {key}, accepts {accepted:?}", self.nodes[node].name));
        self.nodes[node].keys = (key, accepted);
        let election = self.election(node);
        self.cluster(node, cluster::Input::Elect(Some(Box::new(election))));
    }

    /// The operator drains a node at the master, or takes that back.
    pub fn drain(&mut self, node: usize, is_drained: bool) {
        let name = self.nodes[node].name.clone();
        self.tell(format!("{name} drained: {is_drained}"));
        for master in self.active() {
            self.cluster(master, cluster::Input::Drain { name: Some(name.clone()), is_drained });
        }
    }

    /// What the master makes of a node; `None` while it is no member.
    #[must_use]
    pub fn member(&self, node: usize) -> Option<MemberState> {
        let master = self.active().first().and_then(|at| self.nodes[*at].alive.as_ref())?;
        let gateways = master.cluster.snapshot(self.now).gateways;
        let found = gateways.into_iter().find(|gateway| gateway.member.name == self.nodes[node].name);
        found.map(|gateway| gateway.member.state)
    }

    /// Ends a node: silently, as a power failure does, or with its connections reset.
    pub fn crash(&mut self, node: usize, is_silent: bool) {
        if self.nodes[node].alive.take().is_none() {
            return;
        }
        self.tell(format!("{} dies{}", self.nodes[node].name, if is_silent { " silently" } else { "" }));
        self.nodes[node].died = self.now.mono;
        self.nodes[node].rival_since = None;
        self.disturbed = self.disturbed.max(self.now.mono);
        let of_node: Vec<_> = self
            .pipes
            .iter()
            .filter(|(_, pipe)| pipe.client == node || pipe.server == node)
            .map(|(id, _)| *id)
            .collect();
        for id in of_node {
            if is_silent {
                // The other end waits; the pipe leads nowhere.
                continue;
            }
            self.hang_up(id, node);
        }
    }

    /// Starts a node that is down.
    pub fn start(&mut self, node: usize) {
        if self.nodes[node].alive.is_some() {
            return;
        }
        self.tell(format!("{} starts", self.nodes[node].name));
        let settings = self.settings(node);
        let group = Group::new(settings, self.rng.fork(), self.now.mono);
        let cluster = Cluster::new(cluster::Settings::default(), self.rng.fork());
        self.nodes[node].alive = Some(Alive {
            group,
            cluster,
            holds_vip: false,
            listens: false,
            entries: BTreeMap::new(),
            table: None,
            own: BTreeSet::new(),
            told: BTreeSet::new(),
            redirects: vec![0; common::maps::MAX_GATEWAYS],
        });
        self.nodes[node].sample_at = self.now.mono;
        self.nodes[node].stalled = self.now.mono;
        let election = self.election(node);
        self.cluster(node, cluster::Input::Members(Vec::new()));
        self.cluster(node, cluster::Input::Elect(Some(Box::new(election))));
        let address = self.nodes[node].address;
        let interface = Interface {
            mac: MacAddress([2, 0, 0, 0, 0, address.octets()[3]]),
            ipv4: Some((address, 24)),
            link_local: None,
        };
        self.hsrp(node, HsrpInput::Interface(Some(interface)));
    }

    fn settings(&self, node: usize) -> Settings {
        let key = Md5Key::new(Secret::new(b"a key for the fleet".to_vec())).expect("a key");
        Settings {
            name: "vpn".parse().expect("a name"),
            group: GroupNumber::new(1).expect("a number"),
            version: Version::V2,
            vips: vec![MASTER.ip()],
            priority: self.nodes[node].priority,
            preempt: Some(Preempt::default()),
            timers: Some(Timers::new(TIMERS.0, TIMERS.1).expect("timers")),
            authentication: Authentication::Md5(Md5Keys { key, accept: None, timeout: Duration::ZERO }),
            track: Vec::new(),
            use_bia: false,
        }
    }

    fn election(&self, node: usize) -> Election {
        let Node { name, address, keys: (key, accepted), .. } = &self.nodes[node];
        let keyed = |number: &u8| ClusterKey::new(Secret::new(vec![*number; 32])).expect("a key");
        let address = address.to_string().parse().expect("an address");
        Election {
            name: "vpn".parse().expect("a name"),
            master_at: MASTER,
            settings: clb::Settings {
                holdtime: HOLDTIME,
                vips: vec![MASTER.ip()],
                accept_key: accepted.as_ref().map(keyed),
                ..clb::Settings::new(keyed(key))
            },
            slave: SlaveSettings {
                hello: Duration::from_millis(400),
                update: Duration::from_millis(500),
                ..SlaveSettings::default()
            },
            node: Registration {
                name: name.clone(),
                addresses: GatewayAddresses::new([address]).expect("an address"),
                priority: 100,
                max_session: 10_000,
            },
            is_shut_down: false,
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some((at, node)) = self.next(end) {
            let passed = at.since(self.now.mono);
            self.now = self.now.after(passed);
            match node {
                None => self.land(),
                Some(node) => self.wake(node),
            }
            self.check();
        }
        let passed = end.since(self.now.mono);
        self.now = self.now.after(passed);
        self.check();
    }

    /// What comes next before `end`: a flight, or a node whose time has come.
    fn next(&self, end: Instant) -> Option<(Instant, Option<usize>)> {
        let flight = self.flights.peek().map(|Reverse(flight)| (flight.at, None));
        let wakes = self.nodes.iter().enumerate().filter_map(|(at, node)| {
            let alive = node.alive.as_ref()?;
            let deadlines = [alive.group.deadline(), alive.cluster.deadline()];
            let due = deadlines.into_iter().flatten().map(|deadline| deadline.at);
            let due = due.min().unwrap_or(node.sample_at).min(node.sample_at);
            Some((due.max(node.stalled).max(self.now.mono), Some(at)))
        });
        let first = wakes.chain(flight).min()?;
        (first.0 <= end).then_some(first)
    }

    fn wake(&mut self, node: usize) {
        let now = self.now;
        let is_due = |deadline: Option<crate::machine::Deadline>| deadline.is_some_and(|it| it.is_due(now));
        let deadlines = |fleet: &Self| {
            let alive = fleet.nodes[node].alive.as_ref();
            alive.map_or((None, None), |alive| (alive.group.deadline(), alive.cluster.deadline()))
        };
        if is_due(deadlines(self).0) {
            self.hsrp(node, HsrpInput::Timeout);
            assert!(!is_due(deadlines(self).0), "{}: the group's timer spins", self.context());
        }
        if is_due(deadlines(self).1) {
            self.cluster(node, cluster::Input::Timeout);
            assert!(!is_due(deadlines(self).1), "{}: the cluster's timer spins", self.context());
        }
        if self.nodes[node].sample_at <= self.now.mono {
            self.nodes[node].sample_at = self.now.mono + SAMPLE;
            let report =
                Report { ike_sas: u32::try_from(self.rng.below(500)).expect("small"), ..Report::default() };
            self.cluster(node, cluster::Input::Local(report));
            self.serve(node);
        }
    }

    /// Clients come to whoever owns the VIP.
    fn serve(&mut self, node: usize) {
        let Some(alive) = &mut self.nodes[node].alive else { return };
        if !alive.holds_vip {
            return;
        }
        if let Some(table) = &alive.table {
            for index in table.slots.iter().step_by(20).flatten() {
                alive.redirects[index.position()] += 1;
            }
        }
        let redirects = alive.redirects.clone();
        self.cluster(node, cluster::Input::Redirects(&redirects));
    }

    fn land(&mut self) {
        let Some(Reverse(flight)) = self.flights.pop() else { return };
        let Flight { to, what, .. } = flight;
        if let (true, true) = (self.nodes[to].alive.is_some(), self.nodes[to].stalled > self.now.mono) {
            // It lies in a buffer until the node goes on.
            let at = self.nodes[to].stalled;
            return self.fly_at(at, to, what);
        }
        match what {
            What::Hello { from, payload } => {
                let source = IpAddr::V4(from);
                self.hsrp(to, HsrpInput::Packet { source, payload: &payload });
            }
            What::Connect { pipe } => self.accept(pipe, to),
            What::Connected { pipe } => {
                if let Some(connection) = self.pipes.get(&pipe).map(|pipe| pipe.connection) {
                    self.cluster(to, cluster::Input::Connected(connection));
                }
            }
            What::Octets { pipe, to_server, octets } => {
                let Some(found) = self.pipes.get(&pipe) else { return };
                let (client, server) = (found.client, found.server);
                if self.parts[client] != self.parts[server] {
                    // Sent again until the link is whole.
                    let later = self.now.mono + Duration::from_millis(200);
                    return self.fly_at(later, to, What::Octets { pipe, to_server, octets });
                }
                let peer = if to_server { Peer::Slave(PeerId(pipe)) } else { Peer::Master(found.connection) };
                self.cluster(to, cluster::Input::Bytes { peer, octets: &octets });
            }
            What::Closed { pipe, to_server, connection } => {
                let peer = if to_server {
                    Peer::Slave(PeerId(pipe))
                } else {
                    Peer::Master(ConnectionId(connection))
                };
                self.cluster(to, cluster::Input::Closed { peer });
            }
        }
    }

    fn accept(&mut self, pipe: u64, server: usize) {
        let Some(client) = self.pipes.get(&pipe).map(|pipe| pipe.client) else { return };
        let is_open = self.nodes[server].alive.as_ref().is_some_and(|alive| alive.listens);
        if !is_open || self.parts[client] != self.parts[server] {
            return self.hang_up(pipe, server);
        }
        let from = SocketAddr::new(self.nodes[client].address.into(), 40_000);
        self.cluster(server, cluster::Input::Accepted { peer: PeerId(pipe), from });
        self.fly(client, What::Connected { pipe });
    }

    /// One end closes: the other one hears of it.
    fn hang_up(&mut self, id: u64, by: usize) {
        let Some(Pipe { client, server, connection }) = self.pipes.remove(&id) else { return };
        let (to, to_server) = if by == server { (client, false) } else { (server, true) };
        self.fly(to, What::Closed { pipe: id, to_server, connection: connection.0 });
    }

    fn hsrp(&mut self, node: usize, input: HsrpInput<'_>) {
        let now = self.now;
        let Some(alive) = &mut self.nodes[node].alive else { return };
        let mut out = Outbox::new();
        let before = alive.group.state();
        alive.group.step(now, input, &mut out);
        for output in out.drain() {
            match output {
                HsrpOutput::AcquireVip { .. } => self.hold(node, true),
                HsrpOutput::ReleaseVip => self.hold(node, false),
                HsrpOutput::AnnounceVip => {
                    let holds = self.nodes[node].alive.as_ref().is_some_and(|alive| alive.holds_vip);
                    assert!(holds, "{}: announces what it does not hold", self.context());
                }
                HsrpOutput::Send { payload, .. } => self.multicast(node, &payload),
                HsrpOutput::Event(event) => {
                    let name = self.nodes[node].name.clone();
                    self.tell(format!("{name}: {event:?}"));
                }
            }
        }
        let Some(alive) = &self.nodes[node].alive else { return };
        let (state, snapshot) = (alive.group.state(), alive.group.snapshot(now.mono));
        let active = match snapshot.active {
            Some(RouterSnapshot::Remote { address, .. }) => Some(address),
            Some(RouterSnapshot::Local) | None => None,
        };
        if before != state {
            self.nodes[node].rival_since = None;
        }
        self.cluster(node, cluster::Input::Standby { state, active });
    }

    fn hold(&mut self, node: usize, holds: bool) {
        let context = self.context();
        if let Some(alive) = &mut self.nodes[node].alive {
            assert_ne!(alive.holds_vip, holds, "{context}: takes or releases the VIP twice");
            alive.holds_vip = holds;
        }
    }

    fn multicast(&mut self, from: usize, payload: &[u8]) {
        let address = self.nodes[from].address;
        for to in 0..self.nodes.len() {
            let is_lost = self.rng.below(100) < self.loss;
            if to != from && self.parts[to] == self.parts[from] && !is_lost {
                self.fly(to, What::Hello { from: address, payload: payload.to_vec() });
            }
        }
    }

    fn cluster(&mut self, node: usize, input: cluster::Input<'_>) {
        let now = self.now;
        let Some(alive) = &mut self.nodes[node].alive else { return };
        let mut out = Outbox::new();
        alive.cluster.step(now, input, &mut out);
        for output in out.drain() {
            self.carry_out(node, output);
        }
    }

    fn carry_out(&mut self, node: usize, output: cluster::Output) {
        let context = self.context();
        let Some(alive) = &mut self.nodes[node].alive else { return };
        match output {
            cluster::Output::SetGateway { index, gateway } => {
                alive.entries.insert(index, gateway);
            }
            cluster::Output::Publish(table) => {
                for index in table.slots.iter().flatten() {
                    let is_there =
                        alive.entries.get(index).is_some_and(|it| *it != common::maps::Gateway::EMPTY);
                    assert!(is_there, "{context}: a table names an index without entry");
                }
                alive.table = Some(table);
            }
            cluster::Output::Listen { at } => {
                assert!(alive.holds_vip, "{context}: listens on an address it does not hold");
                assert_eq!(at, MASTER, "{context}");
                alive.listens = true;
            }
            cluster::Output::Unlisten => {
                alive.listens = false;
                let open: Vec<_> =
                    self.pipes.iter().filter(|(_, pipe)| pipe.server == node).map(|(id, _)| *id).collect();
                for id in open {
                    self.hang_up(id, node);
                }
            }
            cluster::Output::Dial { connection, to } => {
                assert_eq!(to, MASTER, "{context}");
                self.dial(node, connection);
            }
            cluster::Output::Write { peer, octets } => {
                let id = self.pipe(node, peer);
                let Some(id) = id else { return };
                let found = &self.pipes[&id];
                let (to, to_server) =
                    if found.client == node { (found.server, true) } else { (found.client, false) };
                let (first, second) = octets.as_ref().split_at(octets.as_ref().len() / 2);
                for part in [first, second].into_iter().filter(|part| !part.is_empty()) {
                    let what = What::Octets { pipe: id, to_server, octets: part.to_vec() };
                    // In order: a stream always takes the same time.
                    self.fly_at(self.now.mono + LATENCY, to, what);
                }
            }
            cluster::Output::TicketUsed(UsedTicket { expires_at, .. }) => {
                let number = u64::MAX - expires_at.since_epoch().as_secs();
                assert!(alive.told.insert(number), "{context}: told twice of ticket {number}");
                assert!(!alive.own.contains(&number), "{context}: told of its own ticket {number}");
            }
            cluster::Output::Close { peer } => {
                if let Some(id) = self.pipe(node, peer) {
                    // What was written before is on its way.
                    self.hang_up_later(id, node);
                }
            }
            cluster::Output::Event(event) => {
                let name = self.nodes[node].name.clone();
                self.tell(format!("{name}: {event}"));
            }
        }
    }

    fn hang_up_later(&mut self, id: u64, by: usize) {
        let Some(Pipe { client, server, connection }) = self.pipes.get(&id) else { return };
        let (to, to_server) = if by == *server { (*client, false) } else { (*server, true) };
        let what = What::Closed { pipe: id, to_server, connection: connection.0 };
        let at = self.now.mono + LATENCY;
        self.fly_at(at, to, what);
    }

    fn pipe(&self, node: usize, peer: Peer) -> Option<u64> {
        match peer {
            Peer::Slave(PeerId(id)) => self.pipes.get(&id).filter(|pipe| pipe.server == node).map(|_| id),
            Peer::Master(connection) => {
                let mut own = self.pipes.iter();
                own.find(|(_, pipe)| pipe.client == node && pipe.connection == connection).map(|(id, _)| *id)
            }
        }
    }

    fn dial(&mut self, client: usize, connection: ConnectionId) {
        let holders = (0..self.nodes.len()).filter(|at| {
            self.parts[*at] == self.parts[client]
                && self.nodes[*at].alive.as_ref().is_some_and(|alive| alive.holds_vip)
        });
        let holders: Vec<_> = holders.collect();
        let id = self.next_pipe;
        self.next_pipe += 1;
        // With two owners the switch decides, and not always alike.
        let chosen = self.rng.below(holders.len() as u64);
        let server = usize::try_from(chosen).ok().and_then(|chosen| holders.get(chosen)).copied();
        let server_or_self = server.unwrap_or(client);
        self.pipes.insert(id, Pipe { client, connection, server: server_or_self });
        match server {
            Some(server) => self.fly(server, What::Connect { pipe: id }),
            None => self.hang_up(id, server_or_self),
        }
    }

    fn fly(&mut self, to: usize, what: What) {
        let delay = self.rng.between(Duration::from_micros(50), LATENCY);
        self.fly_at(self.now.mono + delay, to, what);
    }

    fn fly_at(&mut self, at: Instant, to: usize, what: What) {
        self.order += 1;
        self.flights.push(Reverse(Flight { at, order: self.order, to, what }));
    }

    fn tell(&mut self, what: String) {
        let at = self.now.mono.since_start();
        self.story.push_back(format!("{at:?} {what}"));
        if self.story.len() > 60 {
            self.story.pop_front();
        }
    }

    fn context(&self) -> String {
        let mut text = format!("seed {} at {:?}\n", self.seed, self.now.mono.since_start());
        for line in &self.story {
            // Writing to a string does not fail.
            let _written = writeln!(text, "  {line}");
        }
        for node in &self.nodes {
            let _written = writeln!(text, "  {}: {:?}", node.name, node.alive);
        }
        text
    }
}
