//! When something is begun: at fixed times whatever comes back, or whenever something is over.
//!
//! # Invariants
//!
//! - In an open loop each has the time at which it is meant to begin, and keeps it however late it is:
//!   measured from there, what a slow gateway holds up counts, too.

use std::time::Duration;

use crate::time::Instant;

/// How one follows the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// So many a second, evenly.
    Open {
        /// At least one.
        rate: u32,
    },
    /// So many at a time.
    Closed {
        /// At least one.
        parallel: usize,
    },
}

/// When it is enough: at whatever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// After so many.
    pub count: Option<u64>,
    /// After this time.
    pub duration: Option<Duration>,
}

/// What is begun when.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pace: Pace,
    extent: Extent,
    begun_at: Instant,
    /// How many were begun.
    begun: u64,
}

impl Schedule {
    pub(super) const fn new(pace: Pace, extent: Extent, now: Instant) -> Self {
        Self { pace, extent, begun_at: now, begun: 0 }
    }

    /// When the next one is meant to begin in an open loop.
    fn meant_at(&self, rate: u32) -> Instant {
        let nanos = u128::from(self.begun) * 1_000_000_000 / u128::from(rate.max(1));
        self.begun_at + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Begins the next one, if its time has come; says when it was meant to begin.
    pub(super) fn take(&mut self, now: Instant, in_flight: usize) -> Option<Instant> {
        let at = self.next_at(now, in_flight).filter(|at| *at <= now)?;
        self.begun += 1;
        Some(at)
    }

    /// When the next one begins; `None` when none does before something is over.
    pub(super) fn next_at(&self, now: Instant, in_flight: usize) -> Option<Instant> {
        if self.is_over(now) {
            return None;
        }
        match self.pace {
            Pace::Open { rate } => Some(self.meant_at(rate)),
            Pace::Closed { parallel } => (in_flight < parallel).then_some(now),
        }
    }

    /// Whether none is begun any more.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let next = match self.pace {
            Pace::Open { rate } => self.meant_at(rate),
            Pace::Closed { .. } => now,
        };
        self.extent.count.is_some_and(|count| self.begun >= count)
            || self.extent.duration.is_some_and(|duration| next >= self.begun_at + duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(millis: u64) -> Instant {
        Instant::START + ms(millis)
    }

    fn schedule(pace: Pace, count: Option<u64>, duration: Option<Duration>) -> Schedule {
        Schedule::new(pace, Extent { count, duration }, at(1_000))
    }

    #[test]
    fn an_open_loop_keeps_its_times_whatever_is_under_way() {
        let mut open = schedule(Pace::Open { rate: 100 }, None, Some(ms(50)));

        assert_eq!(open.take(at(1_000), usize::MAX), Some(at(1_000)));
        assert_eq!(open.take(at(1_009), 0), None);
        assert_eq!(open.next_at(at(1_009), 0), Some(at(1_010)));
        // It was held up: those that were meant for this time are late, and say so.
        let late: Vec<_> = std::iter::from_fn(|| open.take(at(1_090), 7)).collect();
        assert_eq!(late, [1_010, 1_020, 1_030, 1_040].map(at));
        assert!(open.is_over(at(1_041)), "the next one would be beyond the end");
    }

    #[test]
    fn an_open_loop_does_not_drift() {
        let mut open = schedule(Pace::Open { rate: 3 }, Some(3_000_001), None);
        let mut last = at(0);
        while let Some(meant) = open.take(at(2_000_000_000), 0) {
            last = meant;
        }
        assert_eq!(last, at(1_000_000_000 + 1_000));
    }

    #[test]
    fn a_closed_loop_begins_one_when_another_is_over() {
        let mut closed = schedule(Pace::Closed { parallel: 2 }, Some(4), None);

        assert_eq!(closed.take(at(1_000), 0), Some(at(1_000)));
        assert_eq!(closed.take(at(1_001), 1), Some(at(1_001)));
        assert_eq!((closed.take(at(1_002), 2), closed.next_at(at(1_002), 2)), (None, None));
        assert_eq!(closed.take(at(1_500), 1), Some(at(1_500)), "it is measured from when it began");
        assert_eq!(closed.take(at(1_501), 1), Some(at(1_501)));
        assert_eq!(closed.take(at(1_502), 0), None);
        assert!(closed.is_over(at(1_502)));
    }

    #[test]
    fn a_closed_loop_ends_when_its_time_is_over() {
        let mut closed = schedule(Pace::Closed { parallel: 1 }, Some(1_000), Some(ms(10)));

        assert!(closed.take(at(1_009), 0).is_some());
        assert_eq!(closed.take(at(1_010), 0), None);
    }
}
