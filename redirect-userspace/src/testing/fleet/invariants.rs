//! What is checked: after every step, and when everything has come to rest.

use std::collections::BTreeSet;

use super::{Fleet, HOLDTIME, LATENCY, Node, TIMERS};
use crate::cluster::{MemberState, Role};
use crate::gateway::GatewayName;
use crate::hsrp::State;
use crate::machine::Machine as _;

impl Fleet {
    /// The invariants.
    pub(super) fn check(&mut self) {
        let now = self.now.mono;
        for at in 0..self.nodes.len() {
            let Some(alive) = &self.nodes[at].alive else { continue };
            let is_active = alive.group.state() == State::Active;
            assert_eq!(alive.holds_vip, is_active, "{}: the VIP is not the active router's", self.context());
            let is_master = alive.cluster.role() == Role::Master;
            assert_eq!(is_master, is_active, "{}: the master is not the active router", self.context());
            assert_eq!(alive.listens, is_master, "{}: the port is not the master's", self.context());
            // Whoever goes on after standing still first has to notice how late it is.
            let is_late = alive.cluster.deadline().is_some_and(|deadline| deadline.is_due(self.now));
            if is_active && self.nodes[at].stalled <= now && !is_late {
                self.check_table(at);
            }
        }
        self.check_rivals();
    }

    /// Nobody is sent to a member that has been dead for longer than the hold time.
    fn check_table(&self, at: usize) {
        let Some(alive) = &self.nodes[at].alive else { return };
        for gateway in alive.cluster.snapshot(self.now).gateways {
            let node = self.nodes.iter().find(|node| node.name == gateway.member.name).expect("a node");
            let dead_for = self.now.mono.since(node.died);
            let is_dead = node.alive.is_none();
            assert!(
                !is_dead || gateway.slots == 0 || dead_for <= HOLDTIME + 4 * LATENCY,
                "{}: {} sends clients to {}, which has been dead for {dead_for:?}",
                self.context(),
                self.nodes[at].name,
                node.name
            );
            let is_self = node.name == self.nodes[at].name;
            assert_eq!(gateway.member.is_self, is_self, "{}: who is who", self.context());
        }
    }

    /// Two active routers that hear each other are none for long.
    fn check_rivals(&mut self) {
        let now = self.now.mono;
        let active = self.active();
        for at in &active {
            let has_rival = active.iter().any(|other| other != at && self.parts[*other] == self.parts[*at]);
            let since = self.nodes[*at].rival_since;
            self.nodes[*at].rival_since = has_rival.then(|| since.unwrap_or(now));
            let is_quiet = now.since(self.disturbed) > TIMERS.1 * 2 && self.loss == 0;
            let is_long = since.is_some_and(|since| now.since(since) > TIMERS.1 * 2);
            assert!(!(has_rival && is_quiet && is_long), "{}: two active routers go on", self.context());
        }
    }

    /// What everything is to be like once nothing has been disturbed for [`CALM`](super::CALM).
    pub fn check_calm(&self) {
        let alive: Vec<_> = (0..self.nodes.len()).filter(|at| self.nodes[*at].alive.is_some()).collect();
        let best = alive.iter().copied().max_by_key(|at| self.rank(*at));
        let expected: Vec<_> = best.into_iter().collect();
        assert_eq!(self.active(), expected, "{}: who is active", self.context());
        let standby = usize::from(alive.len() > 1);
        assert_eq!(self.in_state(State::Standby).len(), standby, "{}: standby routers", self.context());
        let Some(master) = expected.first().and_then(|at| self.nodes[*at].alive.as_ref()) else { return };
        let offered: BTreeSet<_> = master
            .cluster
            .snapshot(self.now)
            .gateways
            .into_iter()
            .filter(|gateway| gateway.member.state == MemberState::Up)
            .map(|gateway| gateway.member.name)
            .collect();
        self.check_tickets();
        let there: BTreeSet<_> = alive.iter().map(|at| self.nodes[*at].name.clone()).collect();
        assert_eq!(offered, there, "{}: members", self.context());
        for slave in alive.iter().filter(|at| !expected.contains(at)) {
            self.check_told(*slave, &self.nodes[expected[0]].name, &there);
        }
    }

    /// Everybody knows which tickets were used with those who are there.
    fn check_tickets(&self) {
        let alive = || self.nodes.iter().filter_map(|node| Some((&node.name, node.alive.as_ref()?)));
        let used: BTreeSet<_> = alive().flat_map(|(_, alive)| alive.own.iter().copied()).collect();
        for (name, alive) in alive() {
            let known: BTreeSet<_> = alive.own.union(&alive.told).copied().collect();
            let unknown: Vec<_> = used.difference(&known).collect();
            assert!(unknown.is_empty(), "{}: {name} has not heard of {unknown:?}", self.context());
        }
    }

    /// A slave knows from its master who is there.
    fn check_told(&self, slave: usize, master: &GatewayName, there: &BTreeSet<GatewayName>) {
        let Node { name, alive, .. } = &self.nodes[slave];
        let told = alive.as_ref().and_then(|alive| alive.cluster.snapshot(self.now).told);
        assert!(told.is_some(), "{}: {name} was told nothing", self.context());
        let Some(told) = told else { return };
        let members: BTreeSet<_> = told.members.iter().map(|told| told.member.name.clone()).collect();
        assert_eq!((&told.master, &members), (master, there), "{}: {name} was told", self.context());
        let own = told.members.iter().filter(|told| told.member.is_self);
        assert!(own.map(|told| &told.member.name).eq([name]), "{}: who is who", self.context());
        assert!(told.age < HOLDTIME, "{}: {name} was told {:?} ago", self.context(), told.age);
    }
}
