//! Weights of the members to the table of least loaded gateways.
//!
//! Every gateway gets slots in proportion to its share, spread evenly over the table. When the
//! shares change, only as many slots change hands as the new counts demand: a retransmission
//! that meets another gateway than the first request did costs the client a handshake.
//!
//! # Invariants
//!
//! - A gateway with a positive share has at least one slot, one without has none.
//! - The other counts are those of the largest remainder method.
//! - A slot changes only if it was empty or its gateway has fewer slots than before.
//! - The result depends on nothing but the arguments.
//!
//! # Picture
//!
//! ```text
//! previous  a b a b a b a b      shares a 1, b 1, c 2
//! targets   a 2, b 2, c 4        largest remainder
//! release   a b . . a b . .      each gives back what it has too much, evenly
//! assign    a b c c a b c c      to whoever is most behind its even spread
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use common::maps::{MAX_GATEWAYS, SLOTS};

use crate::gateway::GatewayIndex;

/// Fills a table in proportion to `shares`, moving as few slots of `previous` as possible.
///
/// Without a positive share every slot is empty. Shares of a gateway that is listed more than
/// once add up. `previous` counts as empty where it is shorter than the table.
#[must_use]
pub fn fill(
    previous: &[Option<GatewayIndex>],
    shares: &[(GatewayIndex, u32)],
) -> Box<[Option<GatewayIndex>]> {
    let mut slots: Box<[_]> = previous.iter().copied().chain(std::iter::repeat(None)).take(SLOTS).collect();
    let mut held = Counts::new();
    for gateway in slots.iter().flatten() {
        held.add(*gateway, 1);
    }
    let target = targets(shares, &held);
    release(&mut slots, &held, &target);
    assign(&mut slots, &target);
    slots
}

/// How many slots each gateway is to have: one at least, otherwise by largest remainder.
///
/// Of equal remainders the one wins whose gateway holds more slots already, so that a table does
/// not change over a tie.
fn targets(shares: &[(GatewayIndex, u32)], held: &Counts) -> Counts {
    let mut sums = vec![0_u64; MAX_GATEWAYS];
    for (gateway, share) in shares {
        if let Some(sum) = sums.get_mut(gateway.position()) {
            *sum += u64::from(*share);
        }
    }
    let mut open: Vec<_> = GatewayIndex::all().zip(sums).filter(|(_, share)| *share > 0).collect();
    let mut target = Counts::new();
    let mut seats = SLOTS as u64;
    let mut total: u64 = open.iter().map(|(_, share)| share).sum();

    // Those whose quota is below one slot take theirs first, the smallest share first: each such
    // seat makes the remaining ones dearer.
    open.sort_by_key(|(gateway, share)| (*share, *gateway));
    let mut small = 0;
    for (gateway, share) in &open {
        if u128::from(*share) * u128::from(seats) >= u128::from(total) {
            break;
        }
        target.add(*gateway, 1);
        seats -= 1;
        total -= share;
        small += 1;
    }
    let large = open.split_off(small);

    let mut remainders = Vec::with_capacity(large.len());
    let mut left = seats;
    for (gateway, share) in large {
        let product = u128::from(share) * u128::from(seats);
        let (quota, remainder) = (product / u128::from(total), product % u128::from(total));
        let quota = u32::try_from(quota).unwrap_or(u32::MAX);
        target.add(gateway, quota);
        left -= u64::from(quota);
        remainders.push((Reverse(remainder), Reverse(held.of(gateway)), gateway));
    }
    remainders.sort_unstable();
    for (_, (_, _, gateway)) in (0..left).zip(remainders) {
        target.add(gateway, 1);
    }
    target
}

/// Empties slots until no gateway has more than its target.
///
/// Two spreads are kept even at once: within [`TOLERANCE`] that of the slots each gateway keeps,
/// and that of the slots for those that gain, which are theirs already or empty.
fn release(slots: &mut [Option<GatewayIndex>], held: &Counts, target: &Counts) {
    let gains = |gateway: GatewayIndex| target.of(gateway) > held.of(gateway);
    let gaining: u32 =
        GatewayIndex::all().filter(|gateway| gains(*gateway)).map(|gateway| target.of(gateway)).sum();
    let mut theirs = 0;
    let mut kept = Counts::new();
    let mut ahead = held.clone();
    for (end, slot) in (1_u32..).zip(slots) {
        let Some(gateway) = slot.filter(|gateway| !gains(*gateway)) else {
            theirs += 1;
            continue;
        };
        let (keep, done) = (target.of(gateway), kept.of(gateway));
        let keeps = if done == keep {
            false
        } else if keep - done == ahead.of(gateway) {
            true
        } else {
            // What an even spread would have kept up to here, in slots times SLOTS.
            let even = keep * end;
            let is_behind = even > (done + TOLERANCE) * SLOTS_U32;
            let is_ahead = (done + 1) * SLOTS_U32 > even + TOLERANCE * SLOTS_U32;
            is_behind || !(is_ahead || theirs * SLOTS_U32 < gaining * end)
        };
        ahead.take(gateway);
        if keeps {
            kept.add(gateway, 1);
        } else {
            *slot = None;
            theirs += 1;
        }
    }
}

/// How many slots a gateway that gives some back may be ahead of or behind its even spread.
/// With less, the empty slots bunch up, with more, the kept ones do; over thousands of changes 2
/// did best.
const TOLERANCE: u32 = 2;

/// Gives the empty slots to the gateways that have fewer than their target.
///
/// The `n`-th of `count` slots belongs between the positions `n * SLOTS / count` and
/// `(n + 1) * SLOTS / count`; of the gateways for which that has begun, the one takes the slot
/// for which it ends first. On an empty table this is the earliest-deadline-first schedule of
/// unit jobs, which always meets those bounds: up to any position, no gateway is a whole slot
/// away from its share.
fn assign(slots: &mut [Option<GatewayIndex>], target: &Counts) {
    let mut missing = target.clone();
    for gateway in slots.iter().flatten() {
        missing.take(*gateway);
    }
    let mut queue = Queue { waiting: BinaryHeap::new(), ready: BinaryHeap::new(), taken: Counts::new() };
    for gateway in GatewayIndex::all().filter(|gateway| missing.of(*gateway) > 0) {
        queue.enter(gateway, target.of(gateway));
    }
    for (position, slot) in (0_u32..).zip(slots) {
        if slot.is_none() {
            *slot = queue.next(position);
            if let Some(gateway) = *slot {
                missing.take(gateway);
            }
        }
        if let Some(gateway) = *slot {
            queue.taken.add(gateway, 1);
            if missing.of(gateway) > 0 {
                queue.enter(gateway, target.of(gateway));
            }
        }
    }
}

/// Gateways by when they want their next slot.
struct Queue {
    /// Before the begin of that stretch; the earliest begin first.
    waiting: BinaryHeap<Reverse<(u32, Turn)>>,
    /// In it; the earliest end first.
    ready: BinaryHeap<Reverse<Turn>>,
    /// Slots that each gateway has up to here.
    taken: Counts,
}

/// A gateway's wish for its next slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    /// Where the stretch ends.
    end: u32,
    gateway: GatewayIndex,
    /// How many slots it had when it entered. When it has got one since, the wish is stale.
    taken: u32,
}

impl Queue {
    fn enter(&mut self, gateway: GatewayIndex, count: u32) {
        let taken = self.taken.of(gateway);
        let begin = (taken * SLOTS_U32).checked_div(count).unwrap_or(0);
        let end = ((taken + 1) * SLOTS_U32).div_ceil(count.max(1));
        self.waiting.push(Reverse((begin, Turn { end, gateway, taken })));
    }

    /// Who takes the empty slot at `position`.
    fn next(&mut self, position: u32) -> Option<GatewayIndex> {
        while let Some(Reverse((begin, turn))) = self.waiting.peek().copied() {
            if begin > position {
                break;
            }
            self.waiting.pop();
            self.ready.push(Reverse(turn));
        }
        while let Some(Reverse(turn)) = self.ready.pop() {
            if self.is_current(turn) {
                return Some(turn.gateway);
            }
        }
        // Nobody's time has come, but the slot must not stay empty.
        while let Some(Reverse((_, turn))) = self.waiting.pop() {
            if self.is_current(turn) {
                return Some(turn.gateway);
            }
        }
        None
    }

    fn is_current(&self, turn: Turn) -> bool {
        self.taken.of(turn.gateway) == turn.taken
    }
}

/// A number of slots for each gateway.
#[derive(Clone)]
struct Counts(Box<[u32; MAX_GATEWAYS]>);

impl Counts {
    fn new() -> Self {
        Self(Box::new([0; MAX_GATEWAYS]))
    }

    fn of(&self, gateway: GatewayIndex) -> u32 {
        self.0.get(gateway.position()).copied().unwrap_or(0)
    }

    fn add(&mut self, gateway: GatewayIndex, slots: u32) {
        if let Some(count) = self.0.get_mut(gateway.position()) {
            *count += slots;
        }
    }

    fn take(&mut self, gateway: GatewayIndex) {
        if let Some(count) = self.0.get_mut(gateway.position()) {
            *count = count.saturating_sub(1);
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a constant that fits, see the assertion")]
const SLOTS_U32: u32 = SLOTS as u32;
// Room for the products above.
const _: () = assert!(SLOTS * (SLOTS + 8) <= u32::MAX as usize);
// Otherwise not every gateway could have a slot.
const _: () = assert!(MAX_GATEWAYS <= SLOTS);
