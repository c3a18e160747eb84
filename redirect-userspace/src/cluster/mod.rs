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
mod snapshot;

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};

use common::maps::{self, MAX_GATEWAYS, SLOTS};

use self::board::{Board, Entry};
pub use self::event::Event;
pub use self::snapshot::{GatewaySnapshot, ReportSnapshot, Role, Snapshot, Status};
pub use crate::clb::{MasterSettings as Settings, OverloadAction, OverloadLimit, Policy};
use crate::gateway::{EmptySlot, GatewayAddresses, GatewayIndex, GatewayName, LlgTable, Weight};
use crate::machine::{Deadline, Machine, Outbox};
use crate::time::Now;

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

impl Member {
    /// Its share of the table before all shares are put in relation.
    fn share(&self) -> u32 {
        match (self.state, self.weight) {
            (MemberState::Up, Some(weight)) => u32::from(weight.value()),
            (MemberState::Up, None)
            | (MemberState::Overloaded | MemberState::Draining | MemberState::Down, _) => 0,
        }
    }
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
    /// The settings, when they have changed.
    Configure(Settings),
    /// All members, at the start and whenever anything about them has changed. Of two with the
    /// same name the first one counts.
    Members(Vec<Member>),
    /// Redirects by gateway index, as the fast path has counted them since the daemon started.
    Redirects(&'a [u64]),
    /// The deadline has come.
    Timeout,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "lives in the outbox only, whose memory is reused")]
pub enum Output {
    /// Write an entry of the gateway map.
    SetGateway {
        /// Which.
        index: GatewayIndex,
        /// The entry.
        gateway: maps::Gateway,
    },
    /// Write the table, then make its generation live.
    Publish(LlgTable),
    /// Something happened.
    Event(Event),
}

/// The cluster.
pub struct Cluster {
    settings: Settings,
    members: Vec<Member>,
    board: Board,
}

impl Cluster {
    /// A cluster without members, which publishes nothing before it has heard of them.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, members: Vec::new(), board: Board::new() }
    }

    /// What the operator may see.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            role: Role::None,
            status: match (self.board.is_started(), self.board.has_gateway()) {
                (false, _) => Status::Starting,
                (true, false) => Status::NoGateway,
                (true, true) => Status::Up,
            },
            standby_group: None,
            settings: self.settings,
            generation: self.board.generation(),
            slots: SLOTS,
            gateways: self.board.gateways(),
            former_redirects: self.board.former_redirects(),
        }
    }

    fn update(&mut self, now: Now, is_told: bool, out: &mut Outbox<Output>) {
        let mut listed: BTreeMap<GatewayName, Entry> = BTreeMap::new();
        for member in &self.members {
            let entry = Entry { member: member.clone(), share: member.share(), report: None };
            listed.entry(member.name.clone()).or_insert(entry);
        }
        self.board.set(now, listed, EmptySlot::Keep, is_told, out);
    }
}

impl Machine for Cluster {
    type Input<'a> = Input<'a>;
    type Output = Output;

    fn step(&mut self, now: Now, input: Input<'_>, out: &mut Outbox<Output>) {
        match input {
            Input::Configure(settings) => self.settings = settings,
            Input::Members(members) => {
                self.members = members;
                self.update(now, true, out);
            }
            Input::Redirects(totals) => self.board.redirects(totals, |_, _| {}),
            Input::Timeout => self.board.retry(now, out),
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        self.board.deadline()
    }
}

#[cfg(test)]
mod tests;
