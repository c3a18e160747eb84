//! Who owns which gateway index.
//!
//! A packet that is being decided may have read the table before it was swapped, and looks up
//! its gateway afterwards. Therefore an index is not given to somebody else while such a packet
//! can exist: it rests for [`REST`] tables first.

use std::collections::VecDeque;

use crate::gateway::{GatewayIndex, GatewayName};

/// How many tables must follow the first one without an index before the index is free. The
/// fast path holds two tables, so by then both have been written over.
pub(super) const REST: u32 = 2;

/// Owners of all indexes, and the redirects counted under each.
pub(super) struct Indexes {
    /// By index.
    entries: Box<[Entry]>,
    /// Least recently used first, so that every index rests as long as possible.
    free: VecDeque<GatewayIndex>,
    /// With the first generation that does not name it, oldest first.
    resting: VecDeque<(GatewayIndex, u32)>,
}

#[derive(Clone, Default)]
struct Entry {
    /// Kept while the index rests, for the redirects that are counted late.
    owner: Option<GatewayName>,
    /// Total in the last reading.
    redirects: u64,
}

impl Indexes {
    pub(super) fn new() -> Self {
        let free: VecDeque<_> = GatewayIndex::all().collect();
        Self { entries: vec![Entry::default(); free.len()].into(), free, resting: VecDeque::new() }
    }

    /// Gives `owner` an index. `None` when all are in use or resting.
    pub(super) fn take(&mut self, owner: &GatewayName) -> Option<GatewayIndex> {
        let index = self.free.pop_front()?;
        if let Some(entry) = self.entries.get_mut(index.position()) {
            entry.owner = Some(owner.clone());
        }
        Some(index)
    }

    /// Takes `index` back; `generation` is the first table that does not name it.
    pub(super) fn rest(&mut self, index: GatewayIndex, generation: u32) {
        self.resting.push_back((index, generation));
    }

    pub(super) fn is_any_resting(&self) -> bool {
        !self.resting.is_empty()
    }

    pub(super) fn is_any_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// Frees the indexes that have rested long enough when `generation` is live.
    pub(super) fn wake(&mut self, generation: u32) -> Vec<GatewayIndex> {
        let mut awake = Vec::new();
        while let Some((index, since)) = self.resting.front().copied() {
            if !has_rested(since, generation) {
                break;
            }
            self.resting.pop_front();
            self.free.push_back(index);
            if let Some(entry) = self.entries.get_mut(index.position()) {
                entry.owner = None;
            }
            awake.push(index);
        }
        awake
    }

    /// Takes in a reading of the totals by index, and says who sent how many since the last one.
    ///
    /// A total below the last one means that counting started again.
    pub(super) fn read<'a>(
        &'a mut self,
        totals: &'a [u64],
    ) -> impl Iterator<Item = (Option<&'a GatewayName>, u64)> {
        self.entries.iter_mut().zip(totals).filter_map(|(entry, total)| {
            let before = std::mem::replace(&mut entry.redirects, *total);
            let new = total.checked_sub(before).unwrap_or(*total);
            (new > 0).then_some((entry.owner.as_ref(), new))
        })
    }
}

/// Generations wrap, so they are compared by their distance: `since` may be one ahead, when its
/// table is not published yet.
const fn has_rested(since: u32, generation: u32) -> bool {
    let tables = generation.wrapping_sub(since);
    tables >= REST && tables < u32::MAX / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_rests_for_two_more_tables() {
        assert!(!has_rested(5, 4));
        assert!(!has_rested(5, 5));
        assert!(!has_rested(5, 6));
        assert!(has_rested(5, 7));
    }

    #[test]
    fn generations_wrap() {
        assert!(!has_rested(u32::MAX, 0));
        assert!(has_rested(u32::MAX, 1));
        assert!(!has_rested(0, u32::MAX));
    }

    #[test]
    fn the_index_that_was_used_last_is_given_out_last() {
        let mut indexes = Indexes::new();
        let owner = "gw1".parse().unwrap();
        let first = indexes.take(&owner).unwrap();
        indexes.rest(first, 1);
        assert_eq!(indexes.wake(3), [first]);

        let others: Vec<_> = (0..543).filter_map(|_| indexes.take(&owner)).collect();

        assert_eq!(others.len(), 543);
        assert!(!others.contains(&first));
        assert_eq!(indexes.take(&owner), Some(first));
        assert_eq!(indexes.take(&owner), None);
    }

    #[test]
    fn a_counter_that_starts_again_is_counted_from_zero() {
        let mut indexes = Indexes::new();
        let owner: GatewayName = "gw1".parse().unwrap();
        indexes.take(&owner).unwrap();

        let counted: Vec<_> = [[10], [15], [15], [3]]
            .iter()
            .map(|totals| indexes.read(totals).map(|(_, new)| new).sum::<u64>())
            .collect();

        assert_eq!(counted, [10, 5, 0, 3]);
    }
}
