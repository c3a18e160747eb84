//! The cluster: who its members are, and the table that sends clients to them.
//!
//! The machine joins what is known about the members with the fast path. Its members come in as
//! data; whoever learns about them, from the configuration or from their own reports, hands over
//! the whole list.
//!
//! # Invariants
//!
//! - The entry of a gateway is written before the first table that names its index.
//! - An entry is never changed while a packet may look it up: other addresses mean another
//!   index, and an index that is given back rests before it is used again.
//! - Every table has the generation that follows its predecessor's.
//! - Only members that are up and have a weight are in the table.
//! - A member keeps its index, and thereby its slots, for as long as it has its addresses.
//! - Every redirect counts for exactly one member, or for the ones that have left.
//!
//! # Picture
//!
//! ```text
//! Members ───▶ indexes ─▶ SetGateway …        entries first
//!                 │
//!                 ▼
//!              clb::llg::fill ─▶ Publish      then the table
//!                                   │
//!                                   ▼
//!              indexes that have rested ─▶ SetGateway (empty)
//! ```

#![forbid(unsafe_code)]

mod board;
mod event;
mod indexes;
mod known;
mod part;
mod snapshot;
mod told;

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use common::maps::{self, MAX_GATEWAYS, SLOTS};

use self::board::Board;
pub use self::event::Event;
use self::known::Known;
use self::part::Part;
pub use self::snapshot::{GatewaySnapshot, ReportSnapshot, Role, Snapshot, Status, Told};
use crate::clb::policy::{Balancer, Outcome};
use crate::clb::{
    self, Availability, ClusterName, ConnectionId, MasterInput, Octets, PeerId, Registration, Report,
    SlaveInput, SlaveSettings, TicketLog, UsedTicket,
};
pub use crate::clb::{MasterSettings as Settings, OverloadAction, OverloadLimit, Policy};
use crate::gateway::{EmptySlot, GatewayAddresses, GatewayIndex, GatewayName, LlgTable, Weight};
use crate::hsrp::State;
use crate::machine::{Deadline, Machine, Outbox};
use crate::rng::Rng;
use crate::time::{Instant, Now};

/// Most members. The indexes beyond are for members that change their addresses: until the old
/// index has rested they need two.
pub const MAX_MEMBERS: usize = MAX_GATEWAYS - 32;

/// A member, as whoever knows it describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Unique in the cluster.
    pub name: GatewayName,
    /// Where clients are sent.
    pub addresses: GatewayAddresses,
    /// How many clients it takes, in relation to the others; `None` = none.
    pub weight: Option<Weight>,
    /// Whether it is this node: its clients stay here.
    pub is_self: bool,
    /// Whether it takes clients.
    pub state: MemberState,
}

/// Whether a member takes clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// It does.
    Up,
    /// Its load is beyond the overload limit.
    Overloaded,
    /// The operator takes it out of service.
    Draining,
    /// It is not there.
    Down,
}

impl MemberState {
    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
            Self::Down => "down",
        }
    }
}

impl Display for MemberState {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A fact about the cluster.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// A slave has opened a connection to us.
    Accepted {
        /// What the caller calls it.
        peer: PeerId,
        /// Where it comes from.
        from: SocketAddr,
    },
    /// Octets came over a connection.
    Bytes {
        /// Which.
        peer: Peer,
        /// The octets.
        octets: &'a [u8],
    },
    /// A connection was closed by its other end, broke, or could not be opened.
    Closed {
        /// Which.
        peer: Peer,
    },
    /// The settings, when they have changed.
    Configure(Settings),
    /// A connection to the master is open.
    Connected(ConnectionId),
    /// A member is to take no new clients, or to take them again.
    Drain {
        /// Which; `None` = this node.
        name: Option<GatewayName>,
        /// Whether it is to be drained.
        is_drained: bool,
    },
    /// How the master is elected, when that has changed; `None` = nobody is.
    Elect(Option<Box<Election>>),
    /// Requests that the fast path has left to this node because it is the chosen gateway, since
    /// the daemon started.
    Kept(u64),
    /// This node's load.
    Local(Report),
    /// The configured members, at the start and whenever anything about them has changed. Of two
    /// with the same name the first one counts.
    Members(Vec<Member>),
    /// Redirects by gateway index, as the fast path has counted them since the daemon started.
    Redirects(&'a [u64]),
    /// The state of the HSRP group, and who its active router is if that is another one.
    Standby {
        /// The state.
        state: State,
        /// The active router's address.
        active: Option<IpAddr>,
    },
    /// This node's gateway has used a ticket.
    TicketUsed(UsedTicket),
    /// The deadline has come.
    Timeout,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "lives in the outbox only, whose memory is reused")]
pub enum Output {
    /// Close a connection, or give up opening it.
    Close {
        /// Which.
        peer: Peer,
    },
    /// Open a connection to the master.
    Dial {
        /// What we call it.
        connection: ConnectionId,
        /// Where it listens.
        to: SocketAddr,
    },
    /// Something happened.
    Event(Event),
    /// Accept the connections of slaves.
    Listen {
        /// Where.
        at: SocketAddr,
    },
    /// Write the table, then make its generation live.
    Publish(LlgTable),
    /// Write an entry of the gateway map.
    SetGateway {
        /// Which.
        index: GatewayIndex,
        /// The entry.
        gateway: maps::Gateway,
    },
    /// Another member has used a ticket: this node's gateway is to know.
    TicketUsed(UsedTicket),
    /// Accept no more connections and close those of all slaves.
    Unlisten,
    /// Send octets.
    Write {
        /// Over which connection.
        peer: Peer,
        /// The octets.
        octets: Octets,
    },
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// The master, to which we have connected.
    Master(ConnectionId),
    /// A slave that has connected to us.
    Slave(PeerId),
}

/// How the cluster elects its master, and what this node brings along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// The cluster's name: the standby name of the HSRP group.
    pub name: ClusterName,
    /// Where the master listens: the VIP of the election.
    pub master_at: SocketAddr,
    /// Key and times.
    pub settings: clb::Settings,
    /// How often this node reports as a slave.
    pub slave: SlaveSettings,
    /// Who this node is.
    pub node: Registration,
    /// Whether the operator has taken this node out of the cluster.
    pub is_shut_down: bool,
}

impl Election {
    /// Whether connections of one can go on in the other.
    fn is_same_cluster(&self, other: &Self) -> bool {
        self.name == other.name
            && self.master_at == other.master_at
            && self.is_shut_down == other.is_shut_down
            && self.node.name == other.node.name
    }
}

/// The cluster.
pub struct Cluster {
    settings: Settings,
    /// The configured members.
    members: Vec<Member>,
    election: Option<Election>,
    /// State of the HSRP group.
    standby: State,
    /// The active router, if that is another one.
    active: Option<IpAddr>,
    part: Part,
    /// This node's load, as it was sampled last.
    local: Report,
    /// Whether the operator drains this node.
    is_draining: bool,
    balancer: Balancer,
    board: Board,
    /// When shares are computed next.
    balance_at: Option<Instant>,
    /// Requests that this node has kept because it was chosen, as last read.
    kept: u64,
    outcome: Outcome,
    /// What is known about used tickets, while neither master nor slave keeps it.
    tickets: TicketLog,
    rng: Rng,
}

/// Time between two computations of the shares: short against the time in which a burst fills a
/// gateway, long against what a computation takes.
const BALANCE: Duration = Duration::from_millis(100);

impl Cluster {
    /// A cluster without members, which publishes nothing before it has heard of them.
    #[must_use]
    pub fn new(settings: Settings, rng: Rng) -> Self {
        Self {
            settings,
            members: Vec::new(),
            election: None,
            standby: State::Initial,
            active: None,
            part: Part::Neither,
            local: Report::default(),
            is_draining: false,
            balancer: Balancer::new(settings),
            board: Board::new(),
            balance_at: None,
            kept: 0,
            outcome: Outcome::Nobody,
            tickets: TicketLog::default(),
            rng,
        }
    }

    /// This node's role.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.part.role()
    }

    /// Whether this node is drained.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// Whether a member of this name reports to this node.
    #[must_use]
    pub fn has_reporting(&self, name: &GatewayName) -> bool {
        match &self.part {
            Part::Master(master) => master.member(name).is_some(),
            Part::Neither | Part::Slave(_) => false,
        }
    }

    /// Whether a member of this name is drained, but not there.
    #[must_use]
    pub fn is_drained_away(&self, name: &GatewayName) -> bool {
        match &self.part {
            Part::Master(master) => master.drained_away().any(|away| away == name),
            Part::Neither | Part::Slave(_) => false,
        }
    }

    /// What the operator may see.
    #[must_use]
    pub fn snapshot(&self, now: Now) -> Snapshot {
        let mut gateways = self.board.gateways();
        if let Part::Master(master) = &self.part {
            for gateway in &mut gateways {
                let heard = master.member(&gateway.member.name).map(|record| now.mono.since(record.heard_at));
                if let (Some(report), Some(heard)) = (&mut gateway.report, heard) {
                    report.heard = heard;
                }
            }
        }
        let (told, drained_away) = self.hearsay(now);
        Snapshot {
            role: self.role(),
            status: self.status(),
            standby_group: self.election.as_ref().map(|election| election.name.as_str().into()),
            settings: self.settings,
            generation: self.board.generation(),
            slots: SLOTS,
            gateways,
            told,
            drained_away,
            former_redirects: self.board.former_redirects(),
        }
    }

    /// What a slave knows from its master, and who is drained and away.
    fn hearsay(&self, now: Now) -> (Option<Told>, Vec<GatewayName>) {
        match (&self.part, &self.election) {
            (Part::Master(master), _) => (None, master.drained_away().cloned().collect()),
            (Part::Slave(slave), Some(election)) => {
                let Some(mut view) = slave.view(now) else { return (None, Vec::new()) };
                let drained = std::mem::take(&mut view.drained).into_iter().collect();
                (Some(told::told(view, &election.node.name, &self.settings)), drained)
            }
            (Part::Neither, _) | (Part::Slave(_), None) => (None, Vec::new()),
        }
    }

    fn status(&self) -> Status {
        let is_shut_down = self.election.as_ref().is_some_and(|election| election.is_shut_down);
        match (&self.part, &self.election) {
            (Part::Neither, Some(_)) if is_shut_down => Status::Shutdown,
            (Part::Neither, Some(_)) => Status::Electing,
            (Part::Slave(slave), _) if slave.master().is_some() => Status::Connected,
            (Part::Slave(_), _) => Status::Connecting,
            (Part::Master(_), _) | (Part::Neither, None) => {
                match (self.board.is_started(), self.board.has_gateway()) {
                    (false, _) => Status::Starting,
                    (true, false) => Status::NoGateway,
                    (true, true) => Status::Up,
                }
            }
        }
    }

    /// Computes the shares of everybody anew and tells the fast path. `is_told` says that a new
    /// table is worth an event.
    fn update(&mut self, now: Now, is_told: bool, out: &mut Outbox<Output>) {
        let known = known(&self.part, &self.members);
        let candidates: Vec<_> = known.iter().map(Known::candidate).collect();
        let decision = self.balancer.shares(now.mono, &candidates);
        let limit = self.settings.overload_limit;
        let listed = known
            .iter()
            .zip(&decision.members)
            .map(|(known, assessment)| (known.name().clone(), known.entry(assessment, limit)))
            .collect();
        let is_any_reporting = known.iter().any(Known::is_reporting);
        let empty = match decision.outcome {
            Outcome::Refuse => EmptySlot::Refuse,
            Outcome::Room | Outcome::Spread | Outcome::Nobody => EmptySlot::Keep,
        };
        self.board.set(now, listed, empty, is_told, out);
        self.balance_at = is_any_reporting.then(|| now.mono + BALANCE);
        self.tell_overload(decision.outcome, out);
    }

    fn tell_overload(&mut self, outcome: Outcome, out: &mut Outbox<Output>) {
        let before = std::mem::replace(&mut self.outcome, outcome);
        let is_overloaded = |outcome| matches!(outcome, Outcome::Spread | Outcome::Refuse);
        match (is_overloaded(before), is_overloaded(outcome)) {
            (false, true) => {
                let is_refusing = outcome == Outcome::Refuse;
                out.push(Output::Event(Event::AllOverloaded { is_refusing }));
            }
            (true, false) => out.push(Output::Event(Event::RoomAgain)),
            (true, true) | (false, false) => {}
        }
    }

    fn balance(&mut self, now: Now, out: &mut Outbox<Output>) {
        if self.balance_at.is_some_and(|at| at <= now.mono) {
            self.update(now, false, out);
        }
    }

    fn redirects(&mut self, now: Now, totals: &[u64]) {
        let balancer = &mut self.balancer;
        self.board.redirects(totals, |name, new| balancer.arrived(now.mono, name, new));
    }

    fn kept(&mut self, now: Now, total: u64) {
        // A total below the last one means that counting started again.
        let new = total.checked_sub(self.kept).unwrap_or(total);
        self.kept = total;
        if let (Part::Master(_), Some(election)) = (&self.part, &self.election) {
            self.balancer.arrived(now.mono, &election.node.name, new);
        }
    }

    fn elect(&mut self, now: Now, election: Option<Election>, out: &mut Outbox<Output>) {
        if self.election == election {
            return;
        }
        let before = std::mem::replace(&mut self.election, election);
        match (&before, self.election.clone()) {
            // Key, times, or this node's own registration: the connections stay.
            (Some(before), Some(after)) if before.is_same_cluster(&after) => {
                self.reconfigure(now, after, out);
            }
            _ => self.change_part(now, out),
        }
        self.update(now, true, out);
    }

    fn reconfigure(&mut self, now: Now, election: Election, out: &mut Outbox<Output>) {
        let Election { settings, slave, node, .. } = election;
        let limits = self.limits();
        self.master(now, MasterInput::LocalRegistration(node.clone()), out);
        self.master(now, MasterInput::Reconfigure { settings: settings.clone(), limits }, out);
        self.slave(now, SlaveInput::LocalRegistration(node), out);
        self.slave(now, SlaveInput::Reconfigure { settings, slave }, out);
    }

    /// A node that is drained says so itself, so that it stays drained under the next master.
    fn drain(&mut self, now: Now, name: Option<GatewayName>, is_drained: bool, out: &mut Outbox<Output>) {
        let own = self.election.as_ref().map(|election| &election.node.name);
        match name {
            Some(name) if Some(&name) != own => {
                self.master(now, MasterInput::Drain { name, drain: is_drained }, out);
            }
            Some(_) | None => {
                self.is_draining = is_drained;
                if let Some(name) = own.cloned().filter(|_| !is_drained) {
                    // The master before this one may have been told to drain it.
                    self.master(now, MasterInput::Drain { name, drain: false }, out);
                }
                let report = Report { availability: Availability::Up, ..self.local };
                self.local(now, report, out);
                // Nobody is sent here any more from now on, not from the next computation on.
                self.update(now, true, out);
            }
        }
    }

    fn stand(&mut self, now: Now, state: State, active: Option<IpAddr>, out: &mut Outbox<Output>) {
        self.standby = state;
        if self.wanted_role() == self.role() {
            self.follow(now, active, out);
            return;
        }
        self.active = active;
        self.change_part(now, out);
        self.update(now, true, out);
    }

    fn ticket_used(&mut self, now: Now, ticket: UsedTicket, out: &mut Outbox<Output>) {
        match &self.part {
            // Whoever is in no cluster has nobody to tell.
            Part::Neither if self.election.is_none() => {}
            Part::Neither => self.tickets.used(now.wall, ticket),
            Part::Slave(_) => self.slave(now, SlaveInput::TicketUsed(ticket), out),
            Part::Master(_) => self.master(now, MasterInput::TicketUsed(ticket), out),
        }
    }

    fn local(&mut self, now: Now, mut report: Report, out: &mut Outbox<Output>) {
        if self.is_draining {
            report.availability = Availability::Draining;
        }
        self.local = report;
        self.master(now, MasterInput::Local(report), out);
        self.slave(now, SlaveInput::Local(report), out);
    }
}

/// Everybody this node knows, by name: those who report, then those who are configured.
fn known<'a>(part: &'a Part, members: &'a [Member]) -> Vec<Known<'a>> {
    let mut known: BTreeMap<&GatewayName, Known<'a>> = BTreeMap::new();
    if let Part::Master(master) = part {
        for record in master.members() {
            known.insert(&record.registration.name, Known::Reporting(record));
        }
    }
    for member in members {
        // Whoever reports has more to say than the configuration; and an address belongs to
        // one gateway only.
        let is_reporting =
            |other: &Known<'_>| other.is_reporting() && other.addresses().overlaps(&member.addresses);
        if !known.values().any(is_reporting) {
            known.entry(&member.name).or_insert(Known::Configured(member));
        }
    }
    known.into_values().collect()
}

impl Machine for Cluster {
    type Input<'a> = Input<'a>;
    type Output = Output;

    fn step(&mut self, now: Now, input: Input<'_>, out: &mut Outbox<Output>) {
        match input {
            Input::Accepted { peer, from } => self.master(now, MasterInput::Accepted { peer, from }, out),
            Input::Bytes { peer: Peer::Slave(peer), octets } => {
                self.master(now, MasterInput::Bytes { peer, octets }, out);
            }
            Input::Bytes { peer: Peer::Master(connection), octets } => {
                self.slave(now, SlaveInput::Bytes { connection, octets }, out);
            }
            Input::Closed { peer: Peer::Slave(peer) } => self.master(now, MasterInput::Closed { peer }, out),
            Input::Closed { peer: Peer::Master(connection) } => {
                self.slave(now, SlaveInput::Closed { connection }, out);
            }
            Input::Configure(settings) => {
                self.settings = settings;
                self.balancer.configure(settings);
                if self.board.is_started() {
                    self.update(now, true, out);
                }
            }
            Input::Connected(connection) => self.slave(now, SlaveInput::Connected { connection }, out),
            Input::Drain { name, is_drained } => self.drain(now, name, is_drained, out),
            Input::Elect(election) => self.elect(now, election.map(|election| *election), out),
            Input::Kept(total) => self.kept(now, total),
            Input::Local(report) => self.local(now, report, out),
            Input::Members(members) => {
                self.members = members;
                self.update(now, true, out);
            }
            Input::Redirects(totals) => self.redirects(now, totals),
            Input::Standby { state, active } => self.stand(now, state, active, out),
            Input::TicketUsed(ticket) => self.ticket_used(now, ticket, out),
            Input::Timeout => {
                self.board.retry(now, out);
                self.master(now, MasterInput::Timeout, out);
                self.slave(now, SlaveInput::Timeout, out);
                self.balance(now, out);
            }
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        let part = match &self.part {
            Part::Neither => None,
            Part::Slave(slave) => slave.deadline(),
            Part::Master(master) => master.deadline(),
        };
        let balance = self.balance_at.map(|at| Deadline { at, why: "shares are computed" });
        Deadline::earlier(Deadline::earlier(self.board.deadline(), part), balance)
    }
}

#[cfg(test)]
mod tests;
