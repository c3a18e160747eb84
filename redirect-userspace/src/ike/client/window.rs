//! How often a connection has been redirected of late.
//!
//! # References
//!
//! `RFC 5685 §7`.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Instant;

/// When a connection was redirected. It belongs to the connection and not to an SA: a loop makes a
/// new SA at every turn.
#[derive(Debug, Default)]
pub(crate) struct Redirects(VecDeque<Instant>);

impl Redirects {
    /// Counts one more, unless there were `most` within `period`; says whether it did.
    pub(crate) fn admit(&mut self, now: Instant, most: u8, period: Duration) -> bool {
        while self.0.front().is_some_and(|first| *first + period <= now) {
            self.0.pop_front();
        }
        let is_admitted = self.0.len() < usize::from(most);
        if is_admitted {
            self.0.push_back(now);
        }
        is_admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(300);

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    #[test]
    fn the_sixth_of_a_period_is_one_too_many_and_is_not_counted() {
        let mut redirects = Redirects::default();

        for second in 0..5 {
            assert!(redirects.admit(at(second), 5, PERIOD), "{second}");
        }

        assert!(!redirects.admit(at(5), 5, PERIOD));
        assert!(!redirects.admit(at(299), 5, PERIOD));
        assert!(redirects.admit(at(300), 5, PERIOD), "the first one is forgotten");
        assert!(!redirects.admit(at(300), 5, PERIOD), "the second one is not");
        assert!(redirects.admit(at(301), 5, PERIOD));
    }

    #[test]
    fn a_limit_that_was_lowered_holds_at_once() {
        let mut redirects = Redirects::default();
        assert!((0..5).all(|second| redirects.admit(at(second), 5, PERIOD)));

        assert!(!redirects.admit(at(12), 1, Duration::from_secs(10)));
        assert!(redirects.admit(at(14), 1, Duration::from_secs(10)));
        assert!(!redirects.admit(at(15), 1, Duration::from_secs(10)));
    }
}
