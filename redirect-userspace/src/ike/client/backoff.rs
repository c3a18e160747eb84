//! How long a connection waits before it is tried again.

use std::time::Duration;

use crate::rng::Rng;

/// Counts the failures since it went well last.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It went well.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after another failure: between half of the limit and all of it, so that clients that
    /// have lost their gateway together do not come back together.
    pub(crate) fn failed(&mut self, rng: &mut Rng) -> Duration {
        let factor = 1_u32.checked_shl(self.failures.min(31)).unwrap_or(u32::MAX);
        let most = FIRST.saturating_mul(factor).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        rng.between(most / 2, most)
    }
}

/// Longest wait after the first failure; it doubles with each further one.
const FIRST: Duration = Duration::from_secs(2);
/// Longest wait.
pub(crate) const LONGEST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_spread() {
        let mut rng = Rng::from_number(1);
        let mut backoff = Backoff::default();

        for most in [2, 4, 8, 16, 32, 60, 60] {
            let wait = backoff.failed(&mut rng);
            let most = Duration::from_secs(most);
            assert!(most / 2 <= wait && wait < most, "{wait:?} of {most:?}");
        }
        for _ in 0..100 {
            assert!(backoff.failed(&mut rng) <= LONGEST);
        }
        backoff.reset();
        assert!(backoff.failed(&mut rng) <= FIRST);
    }
}
