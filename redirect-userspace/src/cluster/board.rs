//! The members' places in the maps, and the table that was published last.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::maps::{self, SLOTS};

use crate::clb::llg;
use crate::cluster::indexes::Indexes;
use crate::cluster::{Event, GatewaySnapshot, Member, Output, ReportSnapshot};
use crate::gateway::{EmptySlot, GatewayIndex, GatewayName, LlgTable};
use crate::machine::{Deadline, Outbox};
use crate::time::{Instant, Now};

/// A member and its part of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) member: Member,
    /// Before all shares are put in relation; 0 = takes no clients.
    pub(super) share: u32,
    pub(super) report: Option<ReportSnapshot>,
}

/// What the fast path has been told.
pub(super) struct Board {
    /// By name, so that equal inputs give equal outputs.
    seats: BTreeMap<GatewayName, Seat>,
    indexes: Indexes,
    /// Of the table that was published last.
    pub(super) generation: u32,
    slots: Box<[Option<GatewayIndex>]>,
    empty: EmptySlot,
    is_started: bool,
    former_redirects: u64,
    /// When to look again for an index.
    retry: Option<Instant>,
}

/// A member and its place in the maps.
struct Seat {
    entry: Entry,
    index: Option<GatewayIndex>,
    redirects: u64,
    /// Whether it has been said that there is no index for it.
    is_waiting: bool,
}

impl Board {
    pub(super) fn new() -> Self {
        Self {
            seats: BTreeMap::new(),
            indexes: Indexes::new(),
            generation: 0,
            slots: vec![None; SLOTS].into(),
            empty: EmptySlot::Keep,
            is_started: false,
            former_redirects: 0,
            retry: None,
        }
    }

    /// Whether the members have been heard of.
    pub(super) const fn is_started(&self) -> bool {
        self.is_started
    }

    /// Of the table that was published last, 0 before the first.
    pub(super) const fn generation(&self) -> u32 {
        self.generation
    }

    /// Redirects to members that have left.
    pub(super) const fn former_redirects(&self) -> u64 {
        self.former_redirects
    }

    /// Whether any slot leads to a gateway.
    pub(super) fn has_gateway(&self) -> bool {
        self.slots.iter().any(Option::is_some)
    }

    /// What the operator may see of the members.
    pub(super) fn gateways(&self) -> Vec<GatewaySnapshot> {
        let mut slots: BTreeMap<GatewayIndex, usize> = BTreeMap::new();
        for index in self.slots.iter().flatten() {
            *slots.entry(*index).or_default() += 1;
        }
        let gateways = self.seats.values().map(|seat| {
            let slots = seat.index.and_then(|index| slots.get(&index).copied()).unwrap_or(0);
            #[expect(clippy::cast_precision_loss, reason = "at most the number of slots")]
            let share = slots as f64 / SLOTS as f64;
            GatewaySnapshot {
                member: seat.entry.member.clone(),
                index: seat.index,
                slots,
                share,
                redirects: seat.redirects,
                report: seat.entry.report,
            }
        });
        gateways.collect()
    }

    /// Takes over all members. `is_told` says that a new table is worth an event: shares change ten
    /// times a second.
    pub(super) fn set(
        &mut self,
        now: Now,
        listed: BTreeMap<GatewayName, Entry>,
        empty: EmptySlot,
        is_told: bool,
        out: &mut Outbox<Output>,
    ) {
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
        if !self.is_started || slots != self.slots || empty != self.empty {
            self.empty = empty;
            self.publish(slots, is_told, out);
        }
        self.is_started = true;
        self.wait_for_index(now);
    }

    /// Removes the members that are not listed any more.
    fn let_go(&mut self, listed: &BTreeMap<GatewayName, Entry>, out: &mut Outbox<Output>) {
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
        listed: BTreeMap<GatewayName, Entry>,
        out: &mut Outbox<Output>,
    ) -> Vec<(GatewayName, GatewayIndex)> {
        let mut moving = Vec::new();
        for (name, entry) in listed {
            let Some(seat) = self.seats.get_mut(&name) else {
                self.seats.insert(name.clone(), Seat { entry, index: None, redirects: 0, is_waiting: false });
                out.push(Output::Event(Event::MemberJoined { name }));
                continue;
            };
            let before = std::mem::replace(&mut seat.entry, entry);
            let (old, new) = (&before.member, &seat.entry.member);
            let is_same_entry = old.addresses == new.addresses && old.is_self == new.is_self;
            changes(&before, &seat.entry, out);
            let old = if is_same_entry { None } else { seat.index.take() };
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

    /// Gives an index to every member without one, and names those for which there is none yet,
    /// once.
    fn place(&mut self, out: &mut Outbox<Output>) -> Vec<GatewayName> {
        let mut left_over = Vec::new();
        for (name, seat) in self.seats.iter_mut().filter(|(_, seat)| seat.index.is_none()) {
            seat.index = self.indexes.take(name);
            let was_waiting = std::mem::replace(&mut seat.is_waiting, seat.index.is_none());
            match seat.index {
                Some(index) => {
                    let member = &seat.entry.member;
                    let gateway = member.addresses.to_map(member.is_self);
                    out.push(Output::SetGateway { index, gateway });
                }
                None if was_waiting => {}
                None => left_over.push(name.clone()),
            }
        }
        left_over
    }

    fn shares(&self) -> Vec<(GatewayIndex, u32)> {
        self.seats.values().filter_map(|seat| Some((seat.index?, seat.entry.share))).collect()
    }

    fn publish(&mut self, slots: Box<[Option<GatewayIndex>]>, is_told: bool, out: &mut Outbox<Output>) {
        let moved = self.slots.iter().zip(&slots).filter(|(before, after)| before != after).count();
        let (before, after) = (gateways(&self.slots), gateways(&slots));
        self.generation = self.generation.wrapping_add(1);
        self.slots = slots;
        out.push(Output::Publish(LlgTable {
            generation: self.generation,
            slots: self.slots.clone(),
            empty: self.empty,
        }));
        if is_told || before.is_empty() != after.is_empty() {
            let gateways = after.len();
            out.push(Output::Event(Event::TablePublished { generation: self.generation, gateways, moved }));
        }
        for index in self.indexes.wake(self.generation) {
            out.push(Output::SetGateway { index, gateway: maps::Gateway::EMPTY });
        }
    }

    /// Takes in a reading of the redirects by index, and says who was sent how many since the
    /// last one.
    pub(super) fn redirects(&mut self, totals: &[u64], mut arrived: impl FnMut(&GatewayName, u64)) {
        for (owner, new) in self.indexes.read(totals) {
            let redirects = match owner.and_then(|name| self.seats.get_mut(name)) {
                Some(seat) => &mut seat.redirects,
                None => &mut self.former_redirects,
            };
            *redirects = redirects.saturating_add(new);
            if let Some(owner) = owner {
                arrived(owner, new);
            }
        }
    }

    /// Publishes again, so that indexes rest and members that wait for one get it.
    pub(super) fn retry(&mut self, now: Now, out: &mut Outbox<Output>) {
        if self.retry.is_none_or(|at| at > now.mono) {
            return;
        }
        self.retry = None;
        self.place(out);
        let slots = llg::fill(&self.slots, &self.shares());
        self.publish(slots, true, out);
        self.wait_for_index(now);
    }

    fn wait_for_index(&mut self, now: Now) {
        let is_anybody_waiting = self.seats.values().any(|seat| seat.index.is_none());
        // Without an index that rests, waiting would be in vain.
        self.retry = if is_anybody_waiting && (self.indexes.is_any_resting() || self.indexes.is_any_free()) {
            self.retry.or(Some(now.mono + RETRY))
        } else {
            None
        };
    }

    /// When [`Self::retry`] is due.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.retry.map(|at| Deadline { at, why: "a member waits for a gateway index" })
    }
}

/// Long enough that no packet is still being decided with the table before, short enough that
/// nobody misses the member.
const RETRY: Duration = Duration::from_millis(100);

fn gateways(slots: &[Option<GatewayIndex>]) -> BTreeSet<GatewayIndex> {
    slots.iter().copied().flatten().collect()
}

fn changes(before: &Entry, after: &Entry, out: &mut Outbox<Output>) {
    // Only configured members have weights.
    let are_configured = before.report.is_none() && after.report.is_none();
    let (before, after) = (&before.member, &after.member);
    let name = || after.name.clone();
    if before.addresses != after.addresses {
        let addresses = after.addresses.clone();
        out.push(Output::Event(Event::AddressesChanged { name: name(), addresses }));
    }
    if before.is_self != after.is_self {
        out.push(Output::Event(Event::SelfChanged { name: name(), is_self: after.is_self }));
    }
    if are_configured && before.weight != after.weight {
        out.push(Output::Event(Event::WeightChanged { name: name(), from: before.weight, to: after.weight }));
    }
    if before.state != after.state {
        out.push(Output::Event(Event::StateChanged { name: name(), from: before.state, to: after.state }));
    }
}
