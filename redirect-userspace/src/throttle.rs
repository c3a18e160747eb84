//! Says the same thing only now and then: a flood of bad messages must not flood the journal.
//!
//! # Invariants
//!
//! - Everything is counted, and no count is lost: what was held back is said later.
//! - For each reason something is said at most once per [`INTERVAL`].

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use crate::time::Instant;

/// Shortest time between two events with the same reason.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);

/// What is to be said: why, the details of the last one, and how many there were since it was
/// said last.
pub(crate) type Said<R, D> = (R, D, u64);

/// What was said when, and what was held back since, by reason.
#[derive(Debug)]
pub(crate) struct Throttle<R, D> {
    reasons: BTreeMap<R, Entry<D>>,
}

#[derive(Debug)]
struct Entry<D> {
    said_at: Instant,
    held_back: Option<(D, u64)>,
    total: u64,
}

impl<R: Copy + Ord, D> Throttle<R, D> {
    /// Nothing was said yet.
    pub(crate) const fn new() -> Self {
        Self { reasons: BTreeMap::new() }
    }

    /// Counts one more; gives what is to be said now, if anything.
    pub(crate) fn count(&mut self, now: Instant, reason: R, detail: D) -> Option<Said<R, D>> {
        let Some(entry) = self.reasons.get_mut(&reason) else {
            self.reasons.insert(reason, Entry { said_at: now, held_back: None, total: 1 });
            return Some((reason, detail, 1));
        };
        entry.total = entry.total.saturating_add(1);
        let count = entry.held_back.as_ref().map_or(0, |(_, count)| *count).saturating_add(1);
        if now < entry.said_at + INTERVAL {
            entry.held_back = Some((detail, count));
            return None;
        }
        entry.said_at = now;
        entry.held_back = None;
        Some((reason, detail, count))
    }

    /// What was held back for long enough.
    pub(crate) fn due(&mut self, now: Instant) -> impl Iterator<Item = Said<R, D>> {
        self.reasons.iter_mut().filter_map(move |(reason, entry)| {
            if now < entry.said_at + INTERVAL {
                return None;
            }
            let (detail, count) = entry.held_back.take()?;
            entry.said_at = now;
            Some((*reason, detail, count))
        })
    }

    /// When something that was held back is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let waiting = self.reasons.values().filter(|entry| entry.held_back.is_some());
        waiting.map(|entry| entry.said_at + INTERVAL).min()
    }

    /// How many there were, by reason.
    pub(crate) fn totals(&self) -> impl Iterator<Item = (R, u64)> {
        self.reasons.iter().map(|(reason, entry)| (*reason, entry.total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_kind_is_said_at_once_and_the_others_are_summed_up() {
        let at = |s| Instant::START + Duration::from_secs(s);
        let (key, full) = ("wrong key", "full");
        let mut throttle = Throttle::new();

        assert_eq!(throttle.count(at(1), key, 'a'), Some((key, 'a', 1)));
        assert_eq!(throttle.deadline(), None);
        assert_eq!(throttle.count(at(2), key, 'b'), None);
        assert_eq!(throttle.count(at(2), full, 'c'), Some((full, 'c', 1)));
        assert_eq!(throttle.count(at(3), key, 'd'), None);
        assert_eq!(throttle.deadline(), Some(at(11)));
        assert_eq!(throttle.due(at(10)).next(), None);
        assert_eq!(throttle.due(at(11)).collect::<Vec<_>>(), [(key, 'd', 2)]);
        assert_eq!(throttle.deadline(), None);
        assert_eq!(throttle.count(at(12), key, 'e'), None);
        assert_eq!(throttle.count(at(21), key, 'f'), Some((key, 'f', 2)));
        assert_eq!(throttle.totals().collect::<Vec<_>>(), [(full, 1), (key, 5)]);
    }
}
