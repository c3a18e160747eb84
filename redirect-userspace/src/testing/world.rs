//! A client and several gateways, in virtual time: what a redirect needs.
//!
//! Datagrams go to whoever has the address that they are sent to. The world also knows names, and
//! answers the client's questions about them and about its way, unless it is told to keep silent.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support may fail loudly"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::pair::{NAME, Plan, Side, name};
use crate::gateway::{EmptySlot, GatewayAddress, GatewayAddresses, GatewayIndex, LlgTable};
use crate::ike::config::Settings;
use crate::ike::pool::Pool;
use crate::ike::redirect::{Target, Targets};
use crate::ike::{Command, Event, Input, Output, Path, Pools, Request, SaSnapshot, Selection, Way};
use crate::machine::Machine as _;
use crate::time::Now;

/// Who: the client is 0, gateways follow.
pub type Who = usize;
/// The client.
pub const CLIENT: Who = 0;

/// A datagram under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// As its receiver sees it.
    pub path: Path,
    /// The message.
    pub octets: Vec<u8>,
}

/// A client and several gateways.
#[derive(Debug)]
pub struct World {
    /// The time of all.
    pub now: Now,
    /// The client, then the gateways.
    pub sides: Vec<Side>,
    /// Datagrams under way, the next one first.
    pub wire: VecDeque<Packet>,
    /// Every datagram that was sent, as its receiver would have seen it.
    pub sent: Vec<Packet>,
    /// Names and their addresses.
    pub names: BTreeMap<String, Vec<IpAddr>>,
    /// Who is dead: nothing reaches him, and nothing comes from him.
    pub dead: BTreeSet<Who>,
    /// Whether nobody answers the client's questions: they stay in [`Side::asked`].
    pub is_silent: bool,
}

/// Where somebody is, over IPv4.
#[must_use]
pub fn at(who: Who) -> IpAddr {
    [192, 0, 2, octet(who)].into()
}

/// Where somebody is, over IPv6.
#[must_use]
pub fn at6(who: Who) -> IpAddr {
    [0xfd50, 0, 0, 0, 0, 0, 0, u16::from(octet(who))].into()
}

fn octet(who: Who) -> u8 {
    u8::try_from(100 + who).expect("few peers")
}

impl World {
    /// A client and so many gateways, all of which have the plan's settings for the gateway. The
    /// client follows redirects, and its list has the first gateway alone unless the plan has been
    /// given another one.
    ///
    /// # Panics
    ///
    /// Not.
    #[must_use]
    pub fn new(mut plan: Plan, gateways: usize) -> Self {
        let is_own = plan.client.connections.iter().any(|it| it.remotes.iter().any(|it| it.ip() == at(1)));
        if !is_own {
            plan.connection(|connection| connection.remotes = vec![(at(1), 500).into()]);
        }
        let Plan { client, gateway, provider, seed, start } = plan;
        let mut sides = vec![Side::new((provider, start, 100 * seed), at(CLIENT), client, Pools::new())];
        for number in 1..=gateways {
            let mut pools = Pools::new();
            let network = [10, 99, octet(number), 0].into();
            pools.add(name("ra4"), Pool::new(network, 24).expect("a pool"));
            let own = u64::try_from(number).expect("few gateways");
            sides.push(Side::new((provider, start, 100 * seed + own), at(number), gateway.clone(), pools));
        }
        Self {
            now: start,
            sides,
            wire: VecDeque::new(),
            sent: Vec::new(),
            names: BTreeMap::new(),
            dead: BTreeSet::new(),
            is_silent: false,
        }
    }

    /// The client.
    pub fn client(&mut self) -> &mut Side {
        &mut self.sides[CLIENT]
    }

    /// Gives somebody a fact.
    pub fn step(&mut self, who: Who, input: Input<'_>) {
        let now = self.now;
        for output in self.sides[who].step(now, input) {
            self.carry_out(who, output);
        }
        self.sides[who].audit();
    }

    fn carry_out(&mut self, who: Who, output: Output) {
        if let Output::Locate { request, host } = &output
            && !self.is_silent
        {
            return self.locate(who, *request, host);
        }
        if let Some((path, octets)) = self.sides[who].carry_out(output) {
            let packet = Packet { path: Path { local: path.remote, remote: path.local }, octets };
            self.sent.push(packet.clone());
            if !self.dead.contains(&who) {
                self.wire.push_back(packet);
            }
        }
    }

    /// Answers where a host is.
    pub fn locate(&mut self, who: Who, request: Request, host: &GatewayAddress) {
        let addresses = match host {
            GatewayAddress::Ipv4(address) => vec![IpAddr::V4(*address)],
            GatewayAddress::Ipv6(address) => vec![IpAddr::V6(*address)],
            GatewayAddress::Fqdn(name) => self.names.get(name.as_str()).cloned().unwrap_or_default(),
        };
        let way = |remote: IpAddr| {
            let own = if remote.is_ipv4() { at(who) } else { at6(who) };
            let local = if remote == at(who) || remote == at6(who) { remote } else { own };
            Way { local, remote }
        };
        let ways = addresses.into_iter().map(way).collect();
        self.step(who, Input::Located { request, ways });
    }

    /// Wants something of somebody.
    pub fn command(&mut self, who: Who, command: Command) {
        self.step(who, Input::Command(command));
    }

    /// The client begins, without knowing its address.
    pub fn initiate(&mut self) {
        let local = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        self.command(CLIENT, Command::Initiate { connection: name(NAME), local });
    }

    /// Gives the client other settings.
    pub fn configure(&mut self, settings: &Settings) {
        self.step(CLIENT, Input::Configure(Arc::new(settings.clone())));
    }

    /// Lets a gateway send whoever comes to it in IKE_SA_INIT to `to`; `None` = nobody any more.
    pub fn lead(&mut self, who: Who, to: Option<&str>) {
        self.aim(who, to, vec![at(who)]);
    }

    /// Lets a gateway send whoever has proved who he is to `to`, if its profile says so.
    pub fn lead_known(&mut self, who: Who, to: Option<&str>) {
        self.aim(who, to, Vec::new());
    }

    fn aim(&mut self, who: Who, to: Option<&str>, vips: Vec<IpAddr>) {
        let index = GatewayIndex::new(u16::from(to.is_some()));
        let slots = vec![index; common::maps::SLOTS].into();
        let table = LlgTable { generation: 1, slots, empty: EmptySlot::Keep };
        let member = |address: GatewayAddress, is_self| {
            let addresses = GatewayAddresses::new([address]).expect("one address");
            Some(Target { addresses, is_self })
        };
        let own = at(who).to_string().parse().expect("an address");
        let mut members = vec![member(own, true)];
        members.extend(to.map(|to| member(to.parse().expect("an address"), false)));
        let targets = Targets::new(&table, members, 0x9e37_79b9_7f4a_7c15, vips);
        self.step(who, Input::Targets(Arc::new(targets)));
    }

    /// Who has an address.
    fn owner(&self, address: IpAddr) -> Option<Who> {
        (0..self.sides.len()).find(|who| at(*who) == address || at6(*who) == address)
    }

    /// Delivers the next datagram; says whether there was one.
    pub fn deliver(&mut self) -> bool {
        let Some(packet) = self.wire.pop_front() else { return false };
        self.put(&packet);
        true
    }

    /// Delivers a datagram at once, if somebody is there.
    pub fn put(&mut self, packet: &Packet) {
        if let Some(who) = self.owner(packet.path.local.ip())
            && !self.dead.contains(&who)
        {
            self.step(who, Input::Datagram { path: packet.path, octets: &packet.octets });
        }
    }

    /// Takes the next datagram for somebody off the wire.
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn take(&mut self, who: Who) -> Packet {
        let to = |packet: &Packet| self.owner(packet.path.local.ip()) == Some(who);
        let place = self.wire.iter().position(to);
        place.and_then(|place| self.wire.remove(place)).expect("a datagram is under way")
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
        panic!("they do not come to rest: {:?}", self.wire);
    }

    /// Lets time pass, deadline by deadline, and delivers what comes of it.
    ///
    /// # Panics
    ///
    /// Somebody spins.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        loop {
            self.settle();
            let deadlines = self.sides.iter().map(|side| side.endpoint.deadline().map(|it| it.at));
            let deadlines: Vec<_> = deadlines.collect();
            let next = deadlines.iter().flatten().min().copied();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.after(next.since(self.now.mono));
            for (who, due) in deadlines.into_iter().enumerate() {
                if due.is_some_and(|due| due <= self.now.mono) {
                    self.step(who, Input::Timeout);
                    let next = self.sides[who].endpoint.deadline();
                    assert!(next.is_none_or(|next| next.at > self.now.mono), "{who} spins: {next:?}");
                }
            }
        }
        self.now = self.now.after(end.since(self.now.mono));
    }

    /// The SAs of somebody.
    #[must_use]
    pub fn sas(&self, who: Who) -> Vec<SaSnapshot> {
        self.sides[who].endpoint.snapshot(self.now, &Selection::All, usize::MAX)
    }

    /// The gateways that the client has SAs with.
    #[must_use]
    pub fn with(&self) -> Vec<Who> {
        let peers = self.sas(CLIENT).into_iter().map(|sa| self.owner(sa.remote.ip()));
        peers.map(|peer| peer.expect("a gateway")).collect()
    }

    /// What has happened to somebody so far, which is forgotten.
    pub fn events(&mut self, who: Who) -> Vec<Event> {
        std::mem::take(&mut self.sides[who].events)
    }

    /// Checks that the client has one SA, with this gateway, and as many Child SAs as the gateway,
    /// with the same keys; and that no other gateway has any.
    ///
    /// # Panics
    ///
    /// It is not so.
    pub fn assert_up_at(&self, who: Who) {
        assert_eq!(self.with(), [who], "{:?}", self.sides[CLIENT].events);
        let (client, gateway) = (&self.sides[CLIENT].plane, &self.sides[who].plane);
        assert!(!client.is_empty() && client.len() == gateway.len(), "Child SAs at both ends");
        for ours in client.values() {
            let theirs = gateway.get(&ours.outbound).expect("the gateway has the same Child SA");
            assert_eq!(theirs.inbound_keys, ours.outbound_keys);
            assert_eq!(theirs.outbound_keys, ours.inbound_keys);
        }
        for (other, side) in self.sides.iter().enumerate().skip(1).filter(|(other, _)| *other != who) {
            assert!(self.dead.contains(&other) || side.plane.is_empty(), "nothing is left at {other}");
        }
    }
}
