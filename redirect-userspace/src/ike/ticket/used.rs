//! Which tickets have been used: each is good once.
//!
//! The memory of one node. Behind the seam [`UsedTickets`] several endpoints share it, and a cluster
//! can: what one node has learned comes to the others as [`Output::TicketUsed`] and
//! [`Input::TicketUsed`].
//!
//! # Invariants
//!
//! - A ticket is remembered until it would expire, when there is room; at most [`MAX_USED`] are. Only
//!   who has resumed a session, or ended one, adds to them.
//!
//! # References
//!
//! `RFC 5723 §4.3.1`, `§9.8`, `§9.10`.
//!
//! [`Output::TicketUsed`]: crate::ike::Output::TicketUsed
//! [`Input::TicketUsed`]: crate::ike::Input::TicketUsed

use std::collections::{BTreeSet, HashMap};

use super::TicketId;
use crate::time::UnixTime;

/// Most used tickets that are remembered. Beyond, the one that expires first is forgotten: it could be
/// used again by whoever has its keys, and that is the client.
pub const MAX_USED: usize = 262_144;

/// Who remembers which tickets have been used. The endpoint asks while it answers, so an answer must be
/// there at once.
pub trait UsedTickets: Send {
    /// Which run of the daemon this is: no two runs have the same number.
    fn run(&self) -> u64;

    /// Whether a ticket has been used.
    fn is_used(&self, id: TicketId) -> bool;

    /// A ticket is used, which is good until `expires_at`. Says whether it had not been used before:
    /// of two who ask at the same time only one hears that.
    fn use_up(&mut self, now: UnixTime, id: TicketId, expires_at: UnixTime) -> bool;
}

/// The memory of one node.
#[derive(Debug, Default)]
pub struct Used {
    run: u64,
    tickets: HashMap<TicketId, UnixTime>,
    by_expiry: BTreeSet<(UnixTime, TicketId)>,
}

impl Used {
    /// An empty memory. The number of the run is random.
    #[must_use]
    pub fn new(run: u64) -> Self {
        Self { run, ..Self::default() }
    }

    /// How many tickets are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    fn forget(&mut self, now: UnixTime) {
        while let Some((expires_at, id)) = self.by_expiry.first().copied()
            && (expires_at <= now || self.tickets.len() >= MAX_USED)
        {
            self.by_expiry.pop_first();
            self.tickets.remove(&id);
        }
    }
}

impl UsedTickets for Used {
    fn run(&self) -> u64 {
        self.run
    }

    fn is_used(&self, id: TicketId) -> bool {
        self.tickets.contains_key(&id)
    }

    fn use_up(&mut self, now: UnixTime, id: TicketId, expires_at: UnixTime) -> bool {
        if self.is_used(id) {
            return false;
        }
        self.forget(now);
        self.tickets.insert(id, expires_at);
        self.by_expiry.insert((expires_at, id));
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_epoch(Duration::from_secs(seconds))
    }

    fn id(number: u32) -> TicketId {
        let mut octets = [0; TicketId::LENGTH];
        octets[..4].copy_from_slice(&number.to_be_bytes());
        TicketId(octets)
    }

    #[test]
    fn a_ticket_is_used_once_and_forgotten_when_it_would_have_expired() {
        let mut used = Used::new(7);

        assert!(used.use_up(at(10), id(1), at(20)));
        assert!(!used.use_up(at(11), id(1), at(20)));
        assert!(used.is_used(id(1)) && !used.is_used(id(2)));
        assert!(used.use_up(at(20), id(2), at(30)));
        assert_eq!((used.len(), used.is_used(id(1)), used.run()), (1, false, 7));
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_what_expires_first() {
        let mut used = Used::new(7);
        for number in 0..u32::try_from(MAX_USED).unwrap() {
            assert!(used.use_up(at(1), id(number), at(u64::from(number) + 1_000)));
        }

        assert!(used.use_up(at(1), id(u32::MAX), at(5_000)));

        assert_eq!(used.len(), MAX_USED);
        assert!(!used.is_used(id(0)) && used.is_used(id(1)) && used.is_used(id(u32::MAX)));
    }
}
