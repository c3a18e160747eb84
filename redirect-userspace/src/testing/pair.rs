//! Two IKE endpoints on a wire: a client and a gateway, in virtual time.
//!
//! Every datagram goes over the wire in order, unless it has met its [`Fate`] or a test takes it
//! away. A [`Nat`] may stand before either side. Each side has a data plane that does nothing but
//! keep what it is told; after every step the books of its endpoint are checked against it.

#![expect(clippy::expect_used, clippy::panic, reason = "test support may fail loudly")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::crypto::Provider;
use crate::gateway::GatewayAddress;
use crate::ike::NAT_T_PORT;
use crate::ike::config::{
    Authentication, Connection, Guidance, Lifetimes, LocalProof, Name, Profile, RemoteProof, Settings, Upkeep,
};
use crate::ike::identity::{Claim, parse, parse_pattern};
use crate::ike::pool::Pool;
use crate::ike::ticket::{Sealer, TicketKey, Used};
use crate::ike::wire::{AddressRange, ChildSpi, Ports, Span, TrafficSelector};
use crate::ike::{
    AaaRequest, Account, CloseReason, Command, Conversation, Endpoint, Event, Input, InstallChild, Lease,
    LeaseRequest, Leases, Outer, Output, Path, Pools, Request, SaId, SaSnapshot, Selection, Shard, TrapId,
    UsedTicket,
};
use crate::machine::{Machine as _, Outbox};
use crate::rng::Rng;
use crate::secret::Secret;
use crate::time::{Now, UnixTime};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The one that begins.
    Client,
    /// The one with pools.
    Gateway,
}

impl End {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Gateway,
            Self::Gateway => Self::Client,
        }
    }
}

/// A datagram under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flying {
    /// To whom.
    pub to: End,
    /// As its receiver sees it.
    pub path: Path,
    /// The message.
    pub octets: Vec<u8>,
}

/// What becomes of a datagram, which is named by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It never arrives.
    Lost,
    /// It arrives twice.
    Doubled,
    /// It arrives behind whatever is sent next, or when nothing else is under way and time passes.
    Late,
}

/// A NAT: whoever is behind it is seen at `outside`, with his port mapped to one from `ports`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nat {
    /// Its address on the outside.
    pub outside: IpAddr,
    /// What port 500 is mapped to; 4500 is mapped to the next one. `None` = ports stay as they are.
    pub ports: Option<u16>,
}

impl Nat {
    fn outward(self, inside: SocketAddr) -> SocketAddr {
        let port = match self.ports {
            Some(first) => first + u16::from(inside.port() == NAT_T_PORT),
            None => inside.port(),
        };
        (self.outside, port).into()
    }

    /// Who is meant; `None` = nobody any more.
    fn inward(self, outside: SocketAddr, inside: IpAddr) -> Option<SocketAddr> {
        let port = match self.ports {
            Some(first) if outside.port() == first => IKE_PORT,
            Some(first) if outside.port() == first + 1 => NAT_T_PORT,
            Some(_) => return None,
            None => outside.port(),
        };
        (outside.ip() == self.outside).then(|| (inside, port).into())
    }
}

/// One of the two.
#[derive(Debug)]
pub struct Side {
    /// Its endpoint.
    pub endpoint: Endpoint,
    /// Where it is.
    pub address: IpAddr,
    /// What it is behind.
    pub nat: Option<Nat>,
    /// Its pools.
    pub pools: Shared,
    /// Child SAs that it has installed and not removed.
    pub plane: BTreeMap<ChildSpi, Box<InstallChild>>,
    /// The one that traffic leaves through: the last of those that were made for it.
    pub outbound: Option<ChildSpi>,
    outbounds: Vec<ChildSpi>,
    /// What has happened.
    pub events: Vec<Event>,
    /// NAT keepalives it has sent.
    pub keepalives: Vec<Path>,
    /// Clients of which it has told other workers.
    pub superseded: Vec<Arc<[u8]>>,
    /// Tickets of which it has told them.
    pub used: Vec<UsedTicket>,
    /// What it has asked the world for: nobody answers.
    pub asked: Vec<(Request, GatewayAddress)>,
    /// Connections whose packets are watched for, and how often that was said.
    pub watched: BTreeMap<TrapId, u32>,
    /// The peers that it wants to know the ways to: nobody answers.
    pub sought: Vec<(Option<SaId>, Vec<IpAddr>)>,
    /// What it has asked a server that knows users: nobody answers.
    pub questions: Vec<AaaRequest>,
    /// Conversations with such a server that it has given up.
    pub abandoned: Vec<Conversation>,
    /// What it has told about sessions.
    pub accounts: Vec<Account>,
    out: Outbox<Output>,
}

/// Pools that a test can look into.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<Pools>>);

impl Shared {
    /// Looks into them.
    pub fn with<T>(&self, look: impl FnOnce(&mut Pools) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many addresses somebody has.
    #[must_use]
    pub fn held(&self) -> usize {
        self.with(|pools| pools.held())
    }
}

impl Leases for Shared {
    fn lease(&mut self, request: &LeaseRequest<'_>) -> Option<Lease> {
        self.with(|pools| pools.lease(request))
    }

    fn claim(&mut self, holder: &[u8], address: IpAddr) -> Option<Lease> {
        self.with(|pools| pools.claim(holder, address))
    }

    fn release(&mut self, lease: Lease) {
        self.with(|pools| pools.release(lease));
    }
}

/// A client and a gateway.
#[derive(Debug)]
pub struct Pair {
    /// The time of both.
    pub now: Now,
    /// The client.
    pub client: Side,
    /// The gateway.
    pub gateway: Side,
    /// Datagrams under way, the next one first.
    pub wire: VecDeque<Flying>,
    /// How many have been delivered.
    pub delivered: usize,
    /// Every datagram that was sent, as its receiver would have seen it.
    pub sent: Vec<Flying>,
    /// What becomes of datagrams, by their position in `sent`.
    pub fates: BTreeMap<usize, Fate>,
    late: Vec<Flying>,
}

/// Settings of both sides, before anything has begun.
#[derive(Debug)]
pub struct Plan {
    /// The client's.
    pub client: Settings,
    /// The gateway's.
    pub gateway: Settings,
    /// Where primitives come from.
    pub provider: Provider,
    /// Of all randomness.
    pub seed: u64,
    /// Of both clocks.
    pub start: Now,
}

/// The name of the connection and of both profiles.
pub const NAME: &str = "test";

/// A name that is right.
///
/// # Panics
///
/// It is not.
#[must_use]
pub fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// All addresses of a prefix such as `10.1.0.0/16`.
///
/// # Panics
///
/// It is none.
#[must_use]
pub fn prefix(text: &str) -> TrafficSelector {
    let (network, length) = text.split_once('/').expect("a prefix");
    let length: u32 = length.parse().expect("a length");
    let first: std::net::Ipv4Addr = network.parse().expect("an IPv4 address");
    let host = u32::MAX.checked_shr(length).unwrap_or(0);
    let last = std::net::Ipv4Addr::from_bits(first.to_bits() | host);
    let addresses = AddressRange::V4(Span::new(first, last).expect("a span"));
    TrafficSelector::Ip { protocol: 0, ports: Ports::Any, addresses }
}

/// A profile of one side: who it is and how both prove themselves.
#[must_use]
pub fn profile(local_id: &str, remote_id: &str, local: LocalProof, remote: RemoteProof) -> Profile {
    Profile {
        name: name(NAME),
        authentication: Authentication {
            local_id: parse(local_id).map_or(Claim::Implied, Claim::Id),
            remote_ids: vec![parse_pattern(remote_id).expect("a pattern")],
            local,
            remote,
        },
        pools: Vec::new(),
        guidance: Guidance::default(),
        local_ts: Vec::new(),
        remote_ts: Vec::new(),
        esp_proposals: Vec::new(),
        dpd: None,
        lifetimes: Lifetimes {
            ike: None,
            child: None,
            grace: Duration::from_secs(60),
            ..Lifetimes::default()
        },
        redirect_auth: false,
        resumes: false,
        mobility: crate::ike::config::Mobility::NONE,
        ppk: None,
    }
}

impl Plan {
    /// A client with a shared key that wants an address, and a gateway that has some.
    ///
    /// # Panics
    ///
    /// Not.
    #[must_use]
    pub fn shared_key() -> Self {
        let key = || Secret::from(&b"a shared key of some length"[..]);
        let client = profile(
            "alice@example.net",
            "vpn.example.net",
            LocalProof::SharedKey(key()),
            RemoteProof::SharedKey(key()),
        );
        let gateway =
            profile("vpn.example.net", "*", LocalProof::SharedKey(key()), RemoteProof::SharedKey(key()));
        Self::with(client, gateway)
    }

    /// A plan for these two profiles: pool and networks are added.
    ///
    /// # Panics
    ///
    /// Not.
    #[must_use]
    pub fn with(mut client: Profile, mut gateway: Profile) -> Self {
        client.remote_ts = vec![prefix("10.1.0.0/16")];
        gateway.local_ts = vec![prefix("10.1.0.0/16"), prefix("10.2.0.0/16")];
        gateway.pools = vec![name("ra4")];
        let connection = Connection {
            profile: Arc::new(client),
            remotes: vec![GATEWAY.parse().expect("an address")],
            wants_ipv4: true,
            wants_ipv6: false,
            upkeep: Upkeep::default(),
        };
        Self {
            client: Settings { connections: vec![Arc::new(connection)], ..settings() },
            gateway: Settings { profiles: vec![Arc::new(gateway)], ..settings() },
            provider: Provider::Real,
            seed: 1,
            start: Now { wall: UnixTime::from_epoch(Duration::from_secs(1_800_000_000)), ..Now::default() },
        }
    }

    /// The same, with a gateway that gives tickets and a client that asks for them.
    ///
    /// # Panics
    ///
    /// A profile is shared already.
    #[must_use]
    pub fn resuming(mut self) -> Self {
        self.client_profile(|profile| profile.resumes = true);
        self.gateway_profile(|profile| profile.resumes = true);
        let key = TicketKey::new(&Secret::new(vec![1; 32])).expect("a key");
        self.gateway.tickets = Some(Arc::new(Sealer::new("gw1", "group1", Some(key), Vec::new())));
        self
    }

    /// Changes the client's connection.
    ///
    /// # Panics
    ///
    /// It is shared already.
    pub fn connection(&mut self, change: impl FnOnce(&mut Connection)) {
        let connection = self.client.connections.first_mut().expect("a connection");
        change(Arc::get_mut(connection).expect("nobody else has it"));
    }

    /// Changes the client's profile.
    ///
    /// # Panics
    ///
    /// It is shared already.
    pub fn client_profile(&mut self, change: impl FnOnce(&mut Profile)) {
        self.connection(|connection| {
            change(Arc::get_mut(&mut connection.profile).expect("nobody else has it"));
        });
    }

    /// Changes the gateway's profile.
    ///
    /// # Panics
    ///
    /// It is shared already.
    pub fn gateway_profile(&mut self, change: impl FnOnce(&mut Profile)) {
        let profile = self.gateway.profiles.first_mut().expect("a profile");
        change(Arc::get_mut(profile).expect("nobody else has it"));
    }

    /// Makes the two.
    ///
    /// # Panics
    ///
    /// Not.
    #[must_use]
    pub fn build(self) -> Pair {
        let Self { client, gateway, provider, seed, start } = self;
        let mut pools = Pools::new();
        pools.add(name("ra4"), Pool::new([10, 99, 0, 0].into(), 24).expect("a pool"));
        let side = |address: &str, settings: Settings, pools: Pools, seed| {
            let address: SocketAddr = address.parse().expect("an address");
            Side::new((provider, start, seed), address.ip(), settings, pools)
        };
        Pair {
            now: start,
            client: side(CLIENT, client, Pools::new(), 2 * seed),
            gateway: side(GATEWAY, gateway, pools, 2 * seed + 1),
            wire: VecDeque::new(),
            delivered: 0,
            sent: Vec::new(),
            fates: BTreeMap::new(),
            late: Vec::new(),
        }
    }
}

/// Settings with a proposal of each kind.
fn settings() -> Settings {
    Settings {
        ike_proposals: vec!["aes128gcm16-prfsha256-x25519-ecp256".parse().expect("a proposal")],
        esp_proposals: vec!["aes128gcm16".parse().expect("a proposal")],
        ..Settings::default()
    }
}

impl Pair {
    /// One of the two.
    pub const fn side(&mut self, end: End) -> &mut Side {
        match end {
            End::Client => &mut self.client,
            End::Gateway => &mut self.gateway,
        }
    }

    /// Gives one of them a fact.
    pub fn step(&mut self, end: End, input: Input<'_>) {
        let now = self.now;
        for output in self.side(end).step(now, input) {
            self.carry_out(end, output);
        }
        self.side(end).audit();
    }

    fn carry_out(&mut self, end: End, output: Output) {
        if let Some((path, octets)) = self.side(end).carry_out(output) {
            self.send(end, path, octets);
        }
    }

    /// Puts a datagram on the wire, if that is its fate.
    fn send(&mut self, from: End, path: Path, octets: Vec<u8>) {
        let to = from.other();
        // Whoever sends to where nobody is any more has sent it all the same.
        let seen = self.route(from, path);
        let shown = seen.unwrap_or(Path { local: path.remote, remote: path.local });
        let flying = Flying { to, path: shown, octets };
        let fate = self.fates.get(&self.sent.len()).copied();
        self.sent.push(flying.clone());
        if seen.is_none() {
            return;
        }
        match fate {
            None => {
                self.wire.push_back(flying);
                self.wire.extend(self.late.drain(..));
            }
            Some(Fate::Lost) => {}
            Some(Fate::Doubled) => self.wire.extend([flying.clone(), flying]),
            Some(Fate::Late) => self.late.push(flying),
        }
    }

    /// A path as its receiver sees it; `None` when it leads to nobody.
    fn route(&self, from: End, path: Path) -> Option<Path> {
        let (sender, receiver) = match from {
            End::Client => (&self.client, &self.gateway),
            End::Gateway => (&self.gateway, &self.client),
        };
        let remote = sender.nat.map_or(path.local, |nat| nat.outward(path.local));
        let local = match receiver.nat {
            Some(nat) => nat.inward(path.remote, receiver.address)?,
            None => path.remote,
        };
        (local.ip() == receiver.address).then_some(Path { local, remote })
    }

    /// Takes the next datagram for one of them off the wire.
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn take(&mut self, to: End) -> Flying {
        let at = self.wire.iter().position(|flying| flying.to == to);
        at.and_then(|at| self.wire.remove(at)).expect("a datagram is under way")
    }

    /// Delivers a datagram at once.
    pub fn put(&mut self, flying: &Flying) {
        self.delivered += 1;
        self.step(flying.to, Input::Datagram { path: flying.path, octets: &flying.octets });
    }

    /// The client comes up, and everything comes to rest.
    ///
    /// # Panics
    ///
    /// It does not come up.
    pub fn establish(&mut self) {
        self.initiate();
        self.settle();
        self.assert_in_step();
        assert_eq!(self.sas(End::Client).len(), 1, "{:?}", self.client.events);
    }

    /// Why the SAs of one of them have ended so far.
    #[must_use]
    pub fn closed(&self, end: End) -> Vec<CloseReason> {
        let events = match end {
            End::Client => &self.client.events,
            End::Gateway => &self.gateway.events,
        };
        let reason = |event: &Event| {
            if let Event::Closed { reason, .. } = event { Some(*reason) } else { None }
        };
        events.iter().filter_map(reason).collect()
    }

    /// Another gateway is where the one was, which has died without a word: it has these settings and
    /// this number of its run, and pools of its own. Its primitives come from `provider`.
    ///
    /// # Panics
    ///
    /// Not.
    pub fn fail_over(&mut self, provider: Provider, settings: Settings, run: u64) {
        let mut pools = Pools::new();
        pools.add(name("ra4"), Pool::new([10, 99, 0, 0].into(), 24).expect("a pool"));
        let pools = Shared(Arc::new(Mutex::new(pools)));
        let side = &mut self.gateway;
        side.endpoint = Endpoint::with_provider(
            provider,
            self.now,
            Shard::SOLE,
            Arc::new(settings),
            Box::new(pools.clone()),
            Rng::from_number(run),
        )
        .with_used_tickets(Box::new(Used::new(run)));
        side.pools = pools;
        side.plane.clear();
        side.outbounds.clear();
        side.outbound = None;
        self.wire.clear();
    }

    /// Wants something of one of them.
    pub fn command(&mut self, end: End, command: Command) {
        self.step(end, Input::Command(command));
    }

    /// The client begins.
    pub fn initiate(&mut self) {
        let local: SocketAddr = CLIENT.parse().expect("an address");
        self.command(End::Client, Command::Initiate { connection: name(NAME), local: local.ip() });
    }

    /// Delivers the next datagram; says whether there was one.
    pub fn deliver(&mut self) -> bool {
        let Some(Flying { to, path, octets }) = self.wire.pop_front() else { return false };
        self.delivered += 1;
        self.step(to, Input::Datagram { path, octets: &octets });
        true
    }

    /// Delivers everything, and what follows from it.
    ///
    /// # Panics
    ///
    /// It goes on for ever.
    pub fn settle(&mut self) {
        for _ in 0..1_000 {
            if !self.deliver() {
                return;
            }
        }
        panic!("the two do not come to rest: {:?}", self.wire);
    }

    /// Lets time pass at once: both are told, whatever is under way.
    ///
    /// # Panics
    ///
    /// One of them spins.
    pub fn skip(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.wire.extend(self.late.drain(..));
        for end in [End::Client, End::Gateway] {
            self.step(end, Input::Timeout);
            let next = self.side(end).endpoint.deadline();
            assert!(next.is_none_or(|next| next.at > self.now.mono), "spins: {next:?}");
        }
    }

    /// Lets time pass, deadline by deadline, and delivers what comes of it.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        loop {
            self.settle();
            if !self.late.is_empty() {
                self.wire.extend(self.late.drain(..));
                continue;
            }
            let due = [&self.client, &self.gateway].map(|side| side.endpoint.deadline());
            let next = due.iter().flatten().map(|deadline| deadline.at).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.after(next.since(self.now.mono));
            for (end, due) in [End::Client, End::Gateway].into_iter().zip(due) {
                if due.is_some_and(|due| due.at <= self.now.mono) {
                    self.step(end, Input::Timeout);
                    let next = self.side(end).endpoint.deadline();
                    assert!(next.is_none_or(|next| next.at > self.now.mono), "spins: {next:?}");
                }
            }
        }
        self.now = self.now.after(end.since(self.now.mono));
    }

    /// The SAs of one of them.
    #[must_use]
    pub fn sas(&self, end: End) -> Vec<SaSnapshot> {
        let side = match end {
            End::Client => &self.client,
            End::Gateway => &self.gateway,
        };
        side.endpoint.snapshot(self.now, &Selection::All, usize::MAX)
    }

    /// The events of one of them so far, which are forgotten.
    pub fn events(&mut self, end: End) -> Vec<Event> {
        std::mem::take(&mut self.side(end).events)
    }

    /// Checks that both have the same Child SAs with the same keys, and send through the same one.
    ///
    /// # Panics
    ///
    /// They have not.
    pub fn assert_in_step(&self) {
        self.assert_same_children();
        let sends = |side: &Side| side.outbound.and_then(|spi| side.plane.get(&spi)).map(|sa| sa.outbound);
        assert_eq!(sends(&self.client), self.gateway.outbound, "both send through the same Child SA");
    }

    /// Checks that both have the same Child SAs with the same keys, which is all that is to be had when
    /// both make some at the same time.
    ///
    /// # Panics
    ///
    /// They have not.
    pub fn assert_same_children(&self) {
        assert!(self.wire.is_empty(), "datagrams are under way");
        let (client, gateway) = (&self.client.plane, &self.gateway.plane);
        assert_eq!(client.len(), gateway.len(), "both have as many Child SAs");
        for ours in client.values() {
            let theirs = gateway.get(&ours.outbound).expect("the gateway has the same Child SA");
            assert_eq!(theirs.outbound, ours.inbound);
            assert_eq!(theirs.inbound_keys, ours.outbound_keys);
            assert_eq!(theirs.outbound_keys, ours.inbound_keys);
            assert_eq!((&theirs.local_ts, &theirs.remote_ts), (&ours.remote_ts, &ours.local_ts));
            assert_eq!(theirs.is_encapsulated, ours.is_encapsulated);
        }
    }
}

impl Side {
    /// One with these settings and pools, at this place.
    pub(super) fn new(
        (provider, start, seed): (Provider, Now, u64),
        address: IpAddr,
        settings: Settings,
        pools: Pools,
    ) -> Self {
        let pools = Shared(Arc::new(Mutex::new(pools)));
        Self {
            endpoint: Endpoint::with_provider(
                provider,
                start,
                Shard::SOLE,
                Arc::new(settings),
                Box::new(pools.clone()),
                Rng::from_number(seed),
            ),
            address,
            nat: None,
            pools,
            plane: BTreeMap::new(),
            outbound: None,
            outbounds: Vec::new(),
            events: Vec::new(),
            keepalives: Vec::new(),
            superseded: Vec::new(),
            used: Vec::new(),
            asked: Vec::new(),
            watched: BTreeMap::new(),
            sought: Vec::new(),
            questions: Vec::new(),
            abandoned: Vec::new(),
            accounts: Vec::new(),
            out: Outbox::new(),
        }
    }

    /// Gives it a fact; gives what it wants done.
    pub(super) fn step(&mut self, now: Now, input: Input<'_>) -> Vec<Output> {
        self.endpoint.step(now, input, &mut self.out);
        let outputs: Vec<Output> = self.out.drain().collect();
        assert!(outputs.len() <= MAX_OUTPUTS, "{} outputs of one step", outputs.len());
        outputs
    }

    /// Does what it wants done; gives back what is to be sent.
    pub(super) fn carry_out(&mut self, output: Output) -> Option<(Path, Vec<u8>)> {
        match output {
            Output::Transmit { path, octets } => return Some((path, octets)),
            Output::Keepalive { path } => self.keepalives.push(path),
            Output::Supersede { holder } => self.superseded.push(holder),
            Output::TicketUsed(used) => self.used.push(*used),
            Output::Install(child) => {
                if child.is_outbound {
                    self.leave_through(child.inbound);
                }
                let before = self.plane.insert(child.inbound, child);
                assert!(before.is_none(), "an SPI is used twice");
            }
            Output::Switch { inbound } => {
                assert!(self.plane.contains_key(&inbound), "traffic is to leave through nothing");
                self.leave_through(inbound);
            }
            Output::Move { inbound, outer } => {
                let child = self.plane.get_mut(&inbound).expect("a Child SA that moves is there");
                let Outer { path, is_encapsulated, may_move } = outer;
                (child.path, child.is_encapsulated, child.may_move) = (path, is_encapsulated, may_move);
            }
            Output::Remove { inbound } => {
                let removed = self.plane.remove(&inbound);
                assert!(removed.is_some(), "what is removed was installed");
                self.outbounds.retain(|spi| *spi != inbound);
                self.outbound = self.outbounds.last().copied();
            }
            Output::Watch { trap, .. } => *self.watched.entry(trap.id).or_default() += 1,
            Output::Unwatch { trap } => {
                assert!(self.watched.remove(&trap).is_some(), "what is not watched for any more was");
            }
            Output::Locate { request, host } => self.asked.push((request, host)),
            Output::FindWays { asker, remotes } => self.sought.push((asker, remotes)),
            Output::Aaa(question) => self.questions.push(*question),
            Output::AaaAbandoned(conversation) => self.abandoned.push(conversation),
            Output::Account(account) => self.accounts.push(*account),
            Output::Event(event) => self.events.push(event),
        }
        None
    }

    fn leave_through(&mut self, inbound: ChildSpi) {
        self.outbounds.retain(|spi| *spi != inbound);
        self.outbounds.push(inbound);
        self.outbound = Some(inbound);
    }

    /// Checks that the endpoint's books are in order, and agree with the data plane and the pools.
    pub(super) fn audit(&self) {
        let installed = self.endpoint.audit();
        let plane: BTreeSet<ChildSpi> = self.plane.keys().copied().collect();
        assert_eq!(plane, installed, "the data plane has the Child SAs that the endpoint has");
        assert_eq!(self.pools.held(), self.endpoint.leases(), "every lease belongs to an SA");
    }
}

/// Most outputs of one step: what a test of two SAs ever needs.
const MAX_OUTPUTS: usize = 300;
/// Where IKE is spoken without NATs.
const IKE_PORT: u16 = 500;
/// Where the client is.
pub const CLIENT: &str = "192.0.2.2:500";
/// Where the gateway is.
pub const GATEWAY: &str = "192.0.2.1:500";
