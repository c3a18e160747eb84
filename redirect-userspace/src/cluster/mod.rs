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

mod event;
mod indexes;
mod snapshot;

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::time::Duration;

use common::maps::{self, MAX_GATEWAYS, SLOTS};

pub use self::event::Event;
use self::indexes::Indexes;
pub use self::snapshot::{GatewaySnapshot, ReportSnapshot, Role, Snapshot, Status};
use crate::clb::llg;
pub use crate::clb::{MasterSettings as Settings, OverloadAction, OverloadLimit, Policy};
use crate::gateway::{EmptySlot, GatewayAddresses, GatewayIndex, GatewayName, LlgTable, Weight};
use crate::machine::{Deadline, Machine, Outbox};
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
    /// By name, so that equal inputs give equal outputs.
    seats: BTreeMap<GatewayName, Seat>,
    indexes: Indexes,
    /// Of the table that was published last.
    generation: u32,
    slots: Box<[Option<GatewayIndex>]>,
    is_started: bool,
    former_redirects: u64,
    /// When to look again for an index.
    retry: Option<Instant>,
}

/// A member and its place in the maps.
struct Seat {
    member: Member,
    index: Option<GatewayIndex>,
    redirects: u64,
}

impl Cluster {
    /// A cluster without members, which publishes nothing before it has heard of them.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            seats: BTreeMap::new(),
            indexes: Indexes::new(),
            generation: 0,
            slots: vec![None; SLOTS].into(),
            is_started: false,
            former_redirects: 0,
            retry: None,
        }
    }

    /// What the operator may see.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut slots: BTreeMap<GatewayIndex, usize> = BTreeMap::new();
        for index in self.slots.iter().flatten() {
            *slots.entry(*index).or_default() += 1;
        }
        let gateways = self.seats.values().map(|seat| {
            let slots = seat.index.and_then(|index| slots.get(&index).copied()).unwrap_or(0);
            #[expect(clippy::cast_precision_loss, reason = "at most the number of slots")]
            let share = slots as f64 / SLOTS as f64;
            GatewaySnapshot {
                member: seat.member.clone(),
                index: seat.index,
                slots,
                share,
                redirects: seat.redirects,
                report: None,
            }
        });
        Snapshot {
            role: Role::None,
            status: match (self.is_started, slots.is_empty()) {
                (false, _) => Status::Starting,
                (true, true) => Status::NoGateway,
                (true, false) => Status::Up,
            },
            standby_group: None,
            settings: self.settings,
            generation: self.generation,
            slots: SLOTS,
            gateways: gateways.collect(),
            former_redirects: self.former_redirects,
        }
    }

    fn members(&mut self, members: Vec<Member>, out: &mut Outbox<Output>) {
        let mut listed: BTreeMap<GatewayName, Member> = BTreeMap::new();
        for member in members {
            listed.entry(member.name.clone()).or_insert(member);
        }
        self.let_go(&listed, out);
        let moving = self.seat(listed, out);
        for name in self.place(out) {
            out.push(Output::Event(Event::NoIndex { name }));
        }
        // The slots of a member that has moved go along with it.
        let moved: BTreeMap<_, _> =
            moving.into_iter().filter_map(|(name, old)| Some((old, self.seats.get(&name)?.index?))).collect();
        let previous: Vec<_> = self
            .slots
            .iter()
            .map(|slot| slot.map(|index| moved.get(&index).copied().unwrap_or(index)))
            .collect();
        let slots = llg::fill(&previous, &self.shares());
        if !self.is_started || slots != self.slots {
            self.publish(slots, out);
        }
        self.is_started = true;
    }

    /// Removes the members that are not listed any more.
    fn let_go(&mut self, listed: &BTreeMap<GatewayName, Member>, out: &mut Outbox<Output>) {
        let gone: Vec<_> = self.seats.keys().filter(|name| !listed.contains_key(*name)).cloned().collect();
        for name in gone {
            if let Some(seat) = self.seats.remove(&name) {
                self.give_back(seat.index);
                self.former_redirects = self.former_redirects.saturating_add(seat.redirects);
                out.push(Output::Event(Event::MemberLeft { name }));
            }
        }
    }

    /// Takes over what is listed. Returns the members that need another entry, and so another
    /// index, with the one they had.
    fn seat(
        &mut self,
        listed: BTreeMap<GatewayName, Member>,
        out: &mut Outbox<Output>,
    ) -> Vec<(GatewayName, GatewayIndex)> {
        let mut moving = Vec::new();
        for (name, member) in listed {
            let Some(seat) = self.seats.get_mut(&name) else {
                self.seats.insert(name.clone(), Seat { member, index: None, redirects: 0 });
                out.push(Output::Event(Event::MemberJoined { name }));
                continue;
            };
            let before = std::mem::replace(&mut seat.member, member);
            let is_same_entry =
                before.addresses == seat.member.addresses && before.is_self == seat.member.is_self;
            let old = if is_same_entry { None } else { seat.index.take() };
            changes(&before, &seat.member, out);
            if let Some(old) = old {
                self.give_back(Some(old));
                moving.push((name, old));
            }
        }
        moving
    }

    fn give_back(&mut self, index: Option<GatewayIndex>) {
        if let Some(index) = index {
            let is_in_table = self.slots.contains(&Some(index));
            self.indexes.rest(index, self.generation.wrapping_add(u32::from(is_in_table)));
        }
    }

    /// Gives an index to every member without one, and names those for which there is none.
    fn place(&mut self, out: &mut Outbox<Output>) -> Vec<GatewayName> {
        let mut left_over = Vec::new();
        for (name, seat) in self.seats.iter_mut().filter(|(_, seat)| seat.index.is_none()) {
            seat.index = self.indexes.take(name);
            match seat.index {
                Some(index) => {
                    let gateway = seat.member.addresses.to_map(seat.member.is_self);
                    out.push(Output::SetGateway { index, gateway });
                }
                None => left_over.push(name.clone()),
            }
        }
        left_over
    }

    fn shares(&self) -> Vec<(GatewayIndex, u32)> {
        self.seats.values().filter_map(|seat| Some((seat.index?, seat.member.share()))).collect()
    }

    fn publish(&mut self, slots: Box<[Option<GatewayIndex>]>, out: &mut Outbox<Output>) {
        let moved = self.slots.iter().zip(&slots).filter(|(before, after)| before != after).count();
        let gateways = self.shares().iter().filter(|(_, share)| *share > 0).count();
        self.generation = self.generation.wrapping_add(1);
        self.slots = slots;
        out.push(Output::Publish(LlgTable {
            generation: self.generation,
            slots: self.slots.clone(),
            empty: EmptySlot::Keep,
        }));
        out.push(Output::Event(Event::TablePublished { generation: self.generation, gateways, moved }));
        for index in self.indexes.wake(self.generation) {
            out.push(Output::SetGateway { index, gateway: maps::Gateway::EMPTY });
        }
    }

    fn redirects(&mut self, totals: &[u64]) {
        for (owner, new) in self.indexes.read(totals) {
            let redirects = match owner.and_then(|name| self.seats.get_mut(name)) {
                Some(seat) => &mut seat.redirects,
                None => &mut self.former_redirects,
            };
            *redirects = redirects.saturating_add(new);
        }
    }

    /// Publishes again, so that indexes rest and members that wait for one get it.
    fn retry(&mut self, now: Now, out: &mut Outbox<Output>) {
        if self.retry.is_none_or(|at| at > now.mono) {
            return;
        }
        self.retry = None;
        self.place(out);
        let slots = llg::fill(&self.slots, &self.shares());
        self.publish(slots, out);
    }
}

impl Machine for Cluster {
    type Input<'a> = Input<'a>;
    type Output = Output;

    fn step(&mut self, now: Now, input: Input<'_>, out: &mut Outbox<Output>) {
        match input {
            Input::Configure(settings) => self.settings = settings,
            Input::Members(members) => self.members(members, out),
            Input::Redirects(totals) => self.redirects(totals),
            Input::Timeout => self.retry(now, out),
        }
        let is_anybody_waiting = self.seats.values().any(|seat| seat.index.is_none());
        // Without an index that rests, waiting would be in vain.
        self.retry = if is_anybody_waiting && (self.indexes.is_any_resting() || self.indexes.is_any_free()) {
            self.retry.or(Some(now.mono + RETRY))
        } else {
            None
        };
    }

    fn deadline(&self) -> Option<Deadline> {
        self.retry.map(|at| Deadline { at, why: "a member waits for a gateway index" })
    }
}

/// Long enough that no packet is still being decided with the table before, short enough that
/// nobody misses the member.
const RETRY: Duration = Duration::from_millis(100);

fn changes(before: &Member, after: &Member, out: &mut Outbox<Output>) {
    let name = || after.name.clone();
    if before.addresses != after.addresses {
        let addresses = after.addresses.clone();
        out.push(Output::Event(Event::AddressesChanged { name: name(), addresses }));
    }
    if before.is_self != after.is_self {
        out.push(Output::Event(Event::SelfChanged { name: name(), is_self: after.is_self }));
    }
    if before.weight != after.weight {
        out.push(Output::Event(Event::WeightChanged { name: name(), from: before.weight, to: after.weight }));
    }
    if before.state != after.state {
        out.push(Output::Event(Event::StateChanged { name: name(), from: before.state, to: after.state }));
    }
}

#[cfg(test)]
mod tests;
