//! A master and its slaves on a network without cables, for tests.
//!
//! Octets arrive at once, in pieces of random lengths. The rules that every machine keeps are
//! checked at every step.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::auth::{Channel, Handshake, Side};
use super::frame::{Deframer, MAX_FROM_MASTER};
use super::wire::{Challenge, FromMaster, FromSlave, Offer, VERSIONS, kind, proof_frame};
use super::*;
use crate::gateway::{GatewayAddresses, GatewayName};
use crate::machine::{Machine, Outbox};
use crate::rng::Rng;
use crate::secret::Secret;
use crate::time::Now;

pub(super) const KEY: &[u8] = b"the key of the cluster";
pub(super) const OTHER_KEY: &[u8] = b"the key of another one";

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(super) fn settings(key: &[u8]) -> Settings {
    Settings::new(ClusterKey::new(Secret::from(key)).unwrap())
}

/// A key, and another one that is accepted.
pub(super) fn two_keys((key, accepted): (&[u8], Option<&[u8]>)) -> Settings {
    let accept_key = accepted.map(|key| ClusterKey::new(Secret::from(key)).unwrap());
    Settings { accept_key, ..settings(key) }
}

pub(super) fn cluster() -> ClusterName {
    "group1".parse().unwrap()
}

pub(super) fn name(number: u16) -> GatewayName {
    format!("gw{number}").parse().unwrap()
}

pub(super) fn registration(number: u16) -> Registration {
    let address = format!("10.1.{}.{}", number >> 8, number & 255).parse().unwrap();
    Registration {
        name: name(number),
        addresses: GatewayAddresses::new([address]).unwrap(),
        priority: 100,
        max_session: 10_000,
    }
}

pub(super) fn registration_at(number: u16, address: &str) -> Registration {
    Registration {
        addresses: GatewayAddresses::new([address.parse().unwrap()]).unwrap(),
        ..registration(number)
    }
}

pub(super) fn report(ike_sas: u32) -> Report {
    Report { ike_sas, ..Report::default() }
}

pub(super) fn address(number: u16) -> SocketAddr {
    format!("10.1.{}.{}:40000", number >> 8, number & 255).parse().unwrap()
}

pub(super) fn vip() -> SocketAddr {
    "10.1.0.200:2012".parse().unwrap()
}

pub(super) fn master(inherited: Option<View>, now: Now) -> Master {
    let rng = Rng::from_number(1);
    Master::new(settings(KEY), Limits::default(), cluster(), registration(0), rng, now, inherited)
}

pub(super) fn slave(number: u16, key: &[u8], now: Now) -> Slave {
    slave_with(number, settings(key), now)
}

pub(super) fn slave_with(number: u16, settings: Settings, now: Now) -> Slave {
    let rng = Rng::from_number(u64::from(number) + 100);
    let slave = SlaveSettings::default();
    Slave::new(settings, slave, cluster(), registration(number), report(u32::from(number)), rng, now)
}

/// One connection, and what is on its way.
#[derive(Default)]
struct Link {
    slave: Option<(u16, ConnectionId)>,
    up: Vec<u8>,
    down: Vec<u8>,
    /// Every octet that the master has sent and that has no slave behind it.
    pub(super) received: Vec<u8>,
    /// The slave does not know that it is gone.
    is_cut: bool,
}

/// The network.
pub(super) struct Lan {
    pub(super) now: Now,
    pub(super) master: Option<Master>,
    pub(super) slaves: BTreeMap<u16, Slave>,
    links: BTreeMap<PeerId, Link>,
    /// Which link each connection of a slave is.
    dialled: BTreeMap<(u16, ConnectionId), PeerId>,
    next_peer: u64,
    rng: Rng,
    /// Most octets that arrive in one piece.
    pub(super) piece: usize,
    /// What the master said happened.
    pub(super) events: Vec<Event>,
    /// What the slaves said happened.
    pub(super) slave_events: Vec<Event>,
    /// Why the master has closed what.
    pub(super) closed: Vec<(PeerId, CloseReason)>,
    /// Why the slaves have.
    pub(super) hung_up: Vec<(u16, CloseReason)>,
    pub(super) ordered: Vec<(u16, Order)>,
    /// Tickets that each node was told of, by the first octet of the id; the master is 0.
    pub(super) used: BTreeMap<u16, Vec<u8>>,
    /// How often the members changed, and how often the views of the slaves did.
    pub(super) changes: usize,
    pub(super) views: usize,
    pub(super) dials: usize,
    /// Octets from slaves, in the order in which they were sent, for replays.
    pub(super) recorded: Vec<Vec<u8>>,
    /// Octets that the master has sent.
    pub(super) sent: usize,
}

impl Lan {
    pub(super) fn new() -> Self {
        let now = Now::default().after(Duration::from_secs(1_000));
        Self {
            now,
            master: Some(master(None, now)),
            slaves: BTreeMap::new(),
            links: BTreeMap::new(),
            dialled: BTreeMap::new(),
            next_peer: 1,
            rng: Rng::from_number(7),
            piece: usize::MAX,
            events: vec![],
            slave_events: vec![],
            closed: vec![],
            hung_up: vec![],
            ordered: vec![],
            used: BTreeMap::new(),
            changes: 0,
            views: 0,
            dials: 0,
            recorded: vec![],
            sent: 0,
        }
    }

    /// A network with slaves that have found their master.
    pub(super) fn with_slaves(numbers: impl IntoIterator<Item = u16>) -> Self {
        let mut lan = Self::new();
        for number in numbers {
            lan.add(number, KEY);
        }
        lan
    }

    pub(super) fn add(&mut self, number: u16, key: &[u8]) {
        self.slaves.insert(number, slave(number, key, self.now));
        self.slave(number, SlaveInput::MasterAt(vip()));
        self.settle();
    }

    pub(super) fn the_master(&self) -> &Master {
        self.master.as_ref().unwrap()
    }

    pub(super) fn member(&self, number: u16) -> Option<&MemberRecord> {
        self.the_master().member(&name(number))
    }

    pub(super) fn members(&self) -> Vec<String> {
        self.the_master().members().map(|member| member.registration.name.to_string()).collect()
    }

    /// The names that a slave has in its view.
    pub(super) fn view(&self, number: u16) -> Vec<String> {
        let view = self.slaves[&number].view(self.now).map(|view| view.entries).unwrap_or_default();
        view.iter().map(|entry| entry.registration.name.to_string()).collect()
    }

    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub(super) fn take_slave_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.slave_events)
    }

    /// Steps the master and carries out what it says.
    pub(super) fn master(&mut self, input: MasterInput<'_>) {
        let is_timeout = matches!(input, MasterInput::Timeout);
        let Some(master) = &mut self.master else { return };
        let mut out = Outbox::new();
        master.step(self.now, input, &mut out);
        if is_timeout {
            assert!(master.deadline().is_none_or(|deadline| deadline.at > self.now.mono), "spins");
        }
        for output in out.drain() {
            match output {
                MasterOutput::Close { peer, reason } => {
                    self.closed.push((peer, reason));
                    if let Some(link) = self.links.get_mut(&peer) {
                        let (slave, is_cut) = (link.slave, link.is_cut);
                        self.deliver_down(peer);
                        self.links.remove(&peer);
                        if let Some((number, connection)) = slave.filter(|_| !is_cut) {
                            self.slave(number, SlaveInput::Closed { connection });
                        }
                    }
                }
                MasterOutput::Event(event) => self.events.push(event),
                MasterOutput::MembersChanged => self.changes += 1,
                MasterOutput::TicketUsed(ticket) => self.used.entry(0).or_default().push(ticket.id[0]),
                MasterOutput::Write { peer, octets } => {
                    self.sent += octets.as_ref().len();
                    if let Some(link) = self.links.get_mut(&peer) {
                        link.down.extend_from_slice(octets.as_ref());
                    }
                }
            }
        }
    }

    /// Steps a slave and carries out what it says.
    pub(super) fn slave(&mut self, number: u16, input: SlaveInput<'_>) {
        let is_timeout = matches!(input, SlaveInput::Timeout);
        let Some(slave) = self.slaves.get_mut(&number) else { return };
        let mut out = Outbox::new();
        slave.step(self.now, input, &mut out);
        if is_timeout {
            assert!(slave.deadline().is_none_or(|deadline| deadline.at > self.now.mono), "spins");
        }
        for output in out.drain() {
            match output {
                SlaveOutput::Close { connection, reason } => {
                    self.hung_up.push((number, reason));
                    if let Some(peer) = self.peer(number, connection) {
                        self.deliver_up(peer);
                        if self.links.remove(&peer).is_some_and(|link| !link.is_cut) {
                            self.master(MasterInput::Closed { peer });
                        }
                    }
                }
                SlaveOutput::Dial { connection, to } => {
                    assert_eq!(to, vip());
                    self.dials += 1;
                    if self.master.is_some() {
                        let peer = self.connect(address(number));
                        self.links.get_mut(&peer).unwrap().slave = Some((number, connection));
                        self.dialled.insert((number, connection), peer);
                        self.slave(number, SlaveInput::Connected { connection });
                    } else {
                        self.slave(number, SlaveInput::Failed { connection });
                    }
                }
                SlaveOutput::Event(event) => self.slave_events.push(event),
                SlaveOutput::Ordered(order) => self.ordered.push((number, order)),
                SlaveOutput::TicketUsed(ticket) => {
                    self.used.entry(number).or_default().push(ticket.id[0]);
                }
                SlaveOutput::ViewChanged => self.views += 1,
                SlaveOutput::Write { connection, octets } => {
                    self.recorded.push(octets.clone());
                    if let Some(peer) = self.peer(number, connection) {
                        self.links.get_mut(&peer).unwrap().up.extend_from_slice(&octets);
                    }
                }
            }
        }
    }

    /// A connection comes in.
    pub(super) fn connect(&mut self, from: SocketAddr) -> PeerId {
        let peer = PeerId(self.next_peer);
        self.next_peer += 1;
        self.links.insert(peer, Link::default());
        self.master(MasterInput::Accepted { peer, from });
        peer
    }

    /// The connection of a slave.
    pub(super) fn peer_of(&self, number: u16) -> Option<PeerId> {
        let mut links = self.links.iter();
        links.find(|(_, link)| link.slave.is_some_and(|(slave, _)| slave == number)).map(|(peer, _)| *peer)
    }

    fn peer(&self, number: u16, connection: ConnectionId) -> Option<PeerId> {
        let peer = self.dialled.get(&(number, connection))?;
        self.links.contains_key(peer).then_some(*peer)
    }

    /// From now on nothing passes between a slave and the master, and neither is told.
    pub(super) fn cut(&mut self, number: u16) {
        let peer = self.peer_of(number).unwrap();
        self.links.get_mut(&peer).unwrap().is_cut = true;
    }

    /// A slave crashes: nothing of it is left, and nobody is told.
    pub(super) fn crash(&mut self, number: u16) {
        let peer = self.peer_of(number).unwrap();
        self.cut(number);
        self.links.get_mut(&peer).unwrap().slave = None;
        self.dialled.retain(|(slave, _), _| *slave != number);
        self.slaves.remove(&number);
    }

    /// The master crashes, and the connections with it.
    pub(super) fn crash_master(&mut self) {
        self.master = None;
        for (_, link) in std::mem::take(&mut self.links) {
            if let Some((number, connection)) = link.slave {
                self.slave(number, SlaveInput::Closed { connection });
            }
        }
    }

    /// Octets that a peer without a slave behind it has received.
    pub(super) fn received(&mut self, peer: PeerId) -> Vec<u8> {
        self.settle();
        self.links.get_mut(&peer).map(|link| std::mem::take(&mut link.received)).unwrap_or_default()
    }

    /// A peer without a slave behind it sends octets.
    pub(super) fn send(&mut self, peer: PeerId, octets: &[u8]) {
        self.master(MasterInput::Bytes { peer, octets });
        self.settle();
    }

    fn deliver_up(&mut self, peer: PeerId) -> bool {
        let Some(link) = self.links.get_mut(&peer) else { return false };
        let octets = std::mem::take(&mut link.up);
        if link.is_cut || octets.is_empty() {
            return false;
        }
        for piece in self.pieces(&octets) {
            self.master(MasterInput::Bytes { peer, octets: piece });
        }
        true
    }

    fn deliver_down(&mut self, peer: PeerId) -> bool {
        let Some(link) = self.links.get_mut(&peer) else { return false };
        let octets = std::mem::take(&mut link.down);
        if link.is_cut || octets.is_empty() {
            return false;
        }
        let Some((number, connection)) = link.slave else {
            link.received.extend_from_slice(&octets);
            return false;
        };
        for piece in self.pieces(&octets) {
            self.slave(number, SlaveInput::Bytes { connection, octets: piece });
        }
        true
    }

    fn pieces<'a>(&mut self, mut octets: &'a [u8]) -> Vec<&'a [u8]> {
        let mut pieces = vec![];
        while !octets.is_empty() {
            let most = u64::try_from(self.piece).unwrap_or(u64::MAX);
            let length = usize::try_from(self.rng.below(most)).unwrap_or(usize::MAX).saturating_add(1);
            let (piece, rest) = octets.split_at(length.min(octets.len()));
            pieces.push(piece);
            octets = rest;
        }
        pieces
    }

    /// Lets arrive what is on its way, until nothing is.
    pub(super) fn settle(&mut self) {
        loop {
            let peers: Vec<_> = self.links.keys().copied().collect();
            let mut has_moved = false;
            for peer in peers {
                has_moved |= self.deliver_up(peer);
                has_moved |= self.deliver_down(peer);
            }
            if !has_moved {
                return;
            }
        }
    }

    /// Lets time pass, with every timeout in its place.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        self.settle();
        loop {
            let mut next = self.master.as_ref().and_then(Machine::deadline).map(|deadline| deadline.at);
            for slave in self.slaves.values() {
                let at = slave.deadline().map(|deadline| deadline.at);
                next = [next, at].into_iter().flatten().min();
            }
            let Some(at) = next.filter(|at| *at <= end) else { break };
            self.now.mono = self.now.mono.max(at);
            self.master(MasterInput::Timeout);
            let due = |slave: &Slave, now: Now| slave.deadline().is_some_and(|deadline| deadline.is_due(now));
            let numbers: Vec<_> = self
                .slaves
                .iter()
                .filter(|(_, slave)| due(slave, self.now))
                .map(|(number, _)| *number)
                .collect();
            for number in numbers {
                self.slave(number, SlaveInput::Timeout);
            }
            self.settle();
        }
        self.now.mono = end;
    }
}

/// A peer that speaks the protocol, but says what a test wants it to.
pub(super) struct Raw {
    pub(super) peer: PeerId,
    pub(super) channel: Channel,
    deframer: Deframer,
}

impl Raw {
    /// Proves that it knows the key.
    pub(super) fn connect(lan: &mut Lan, from: SocketAddr) -> Self {
        let peer = lan.connect(from);
        let offer = Offer { versions: VERSIONS, nonce: [3; 32], cluster: cluster() }.to_frame();
        lan.send(peer, &offer);
        let challenge = lan.received(peer);
        assert!(Challenge::decode(&challenge[4..]).is_ok());
        let handshake = Handshake::new(&settings(KEY).key, &offer, &challenge);
        lan.send(peer, &proof_frame(kind::SLAVE_PROOF, &handshake.proof(Side::Slave)));
        let expected = proof_frame(kind::MASTER_PROOF, &handshake.proof(Side::Master));
        assert_eq!(lan.received(peer), expected);
        Self { peer, channel: handshake.channel(Side::Slave), deframer: Deframer::default() }
    }

    pub(super) fn seal(&mut self, kind: u8, body: &[u8]) -> Vec<u8> {
        let mut octets = vec![];
        self.channel.seal(kind, body, &mut octets);
        octets
    }

    pub(super) fn say(&mut self, lan: &mut Lan, message: &FromSlave) {
        let octets = self.seal(message.kind(), &message.to_body());
        lan.send(self.peer, &octets);
    }

    pub(super) fn register(&mut self, lan: &mut Lan, registration: Registration) {
        let aged = wire::AgedReport { report: report(1), age: Duration::ZERO };
        self.say(lan, &FromSlave::Register(registration, aged));
    }

    /// Types of the frames that came, and what they say about being refused or accepted.
    pub(super) fn hear(&mut self, lan: &mut Lan) -> Vec<(u8, Option<Refusal>)> {
        let octets = lan.received(self.peer);
        let mut octets = &octets[..];
        let mut heard = vec![];
        while let Some(frame) = self.deframer.next(&mut octets, MAX_FROM_MASTER).unwrap() {
            let (kind, body) = self.channel.open(frame).unwrap();
            let refusal = match FromMaster::decode(kind, body).unwrap() {
                Some(FromMaster::Refused(refusal)) => Some(refusal),
                _ => None,
            };
            heard.push((kind, refusal));
        }
        heard
    }
}
