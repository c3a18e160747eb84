//! The fast path: where requests are answered.
//!
//! [`FastPath`] is what the daemon needs of it: tables in, counters out. Two kinds exist: the maps
//! of the XDP program, and the same tables in memory for the userspace fallback and the tests.
//!
//! # Invariants
//!
//! - A table is written whole before it becomes live ([`FastPath::publish`]), and a gateway's
//!   entry is written before a table that names it.
//! - Nothing is answered before [`FastPath::arm`].

use anyhow::Result;
use common::maps::{Gateway, LlgTable, Prefix, Vip};
use common::reason::Reason;

pub mod guard;
pub mod memory;
pub mod userspace;
pub mod xdp;

/// The tables that [`common::decide`] reads, and the counters it feeds.
pub trait FastPath {
    /// Replaces the virtual IPs.
    ///
    /// # Errors
    ///
    /// More than [`common::maps::MAX_VIPS`], or the kernel refuses the update.
    fn set_vips(&mut self, vips: &[Vip]) -> Result<()>;

    /// Replaces the client prefixes; none = every client is accepted.
    ///
    /// # Errors
    ///
    /// More than [`common::maps::MAX_CLIENTS`], or the kernel refuses the update.
    fn set_clients(&mut self, clients: &[Prefix]) -> Result<()>;

    /// Writes one redirect target. Must not be one that the live table names.
    ///
    /// # Errors
    ///
    /// An index beyond [`common::maps::MAX_GATEWAYS`], or the kernel refuses the update.
    fn set_gateway(&mut self, index: u32, gateway: &Gateway) -> Result<()>;

    /// Writes a table and makes it live. [`LlgTable::generation`] must be one more than the last.
    ///
    /// # Errors
    ///
    /// The kernel refuses the update; the old table then stays live.
    fn publish(&mut self, table: &LlgTable) -> Result<()>;

    /// Starts or stops answering.
    ///
    /// # Errors
    ///
    /// The kernel refuses the update.
    fn arm(&mut self, armed: bool) -> Result<()>;

    /// Reads the counters, all CPUs added up.
    ///
    /// # Errors
    ///
    /// The kernel refuses the read.
    fn counters(&self) -> Result<Counters>;
}

/// Moves a list of map entries to what is wanted, so that an entry which is in both lists never
/// leaves its place: a packet that looks through the map meanwhile finds it. Returns the places to
/// write, in that order; those beyond the end of the new list become `empty`.
fn rearrange<T: Copy + PartialEq>(places: &mut Vec<T>, wanted: &[T], empty: T) -> Vec<usize> {
    let mut written = Vec::new();
    let before = places.len();
    let mut free: Vec<usize> = Vec::new();
    for (index, place) in places.iter_mut().enumerate() {
        if !wanted.contains(place) {
            if *place != empty {
                written.push(index);
            }
            *place = empty;
            free.push(index);
        }
    }
    free.reverse();
    for entry in wanted {
        if places.contains(entry) {
            continue;
        }
        let index = free.pop().unwrap_or(places.len());
        match places.get_mut(index) {
            Some(place) => *place = *entry,
            None => places.push(*entry),
        }
        if !written.contains(&index) {
            written.push(index);
        }
    }
    while places.last().is_some_and(|place| *place == empty) {
        places.pop();
    }
    debug_assert!(written.iter().all(|index| *index < before.max(places.len())));
    written
}

/// What the fast path has done since it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Packets by [`Reason::index`].
    pub packets: [u64; Reason::COUNT],
    /// Redirects by gateway index.
    pub redirects: Vec<u64>,
}

impl Default for Counters {
    fn default() -> Self {
        Self { packets: [0; Reason::COUNT], redirects: Vec::new() }
    }
}

impl Counters {
    /// Packets counted for one reason.
    #[must_use]
    pub fn packets(&self, reason: Reason) -> u64 {
        usize::try_from(reason.index()).ok().and_then(|index| self.packets.get(index)).copied().unwrap_or(0)
    }

    /// Adds another fast path's counters, for a daemon that serves several.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.packets.iter_mut().zip(other.packets) {
            *sum += more;
        }
        if self.redirects.len() < other.redirects.len() {
            self.redirects.resize(other.redirects.len(), 0);
        }
        for (sum, more) in self.redirects.iter_mut().zip(&other.redirects) {
            *sum += more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_stays_keeps_its_place() {
        let mut places = vec![1, 2, 3];

        let written = rearrange(&mut places, &[9, 3, 1, 8], 0);

        assert_eq!(places, [1, 9, 3, 8]);
        assert_eq!(written, [1, 3]);
    }

    #[test]
    fn places_at_the_end_are_given_up_and_those_between_become_empty() {
        let mut places = vec![1, 2, 3];

        assert_eq!(rearrange(&mut places, &[2], 0), [0, 2]);
        assert_eq!(places, [0, 2]);
        assert_eq!(rearrange(&mut places, &[4, 2], 0), [0]);
        assert_eq!(places, [4, 2]);
        assert_eq!(rearrange(&mut places, &[], 0), [0, 1]);
        assert!(places.is_empty());
    }

    #[test]
    fn what_is_listed_twice_has_one_place() {
        let mut places = Vec::new();

        assert_eq!(rearrange(&mut places, &[5, 5, 6], 0), [0, 1]);
        assert_eq!(places, [5, 6]);
    }
}
