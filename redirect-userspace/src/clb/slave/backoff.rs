//! How long a slave waits before it dials again.

use std::time::Duration;

use crate::rng::Rng;

/// Longest wait before the first try after a change of the master. The more members there are,
/// the more they spread out: the new master has a client to redirect at the same time.
const SPREAD: Duration = Duration::from_millis(100);
/// What each member adds to the spread.
const SPREAD_PER_MEMBER: Duration = Duration::from_micros(200);
/// Longest wait after the first failure; it doubles with each further one.
const FIRST: Duration = Duration::from_millis(100);
/// Longest wait.
const LONGEST: Duration = Duration::from_secs(5);
/// Time to open a connection at the first try; it doubles with each failure. Short, because a
/// packet that is lost while the VIP moves is sent again by the kernel only after a second.
const FIRST_DIAL: Duration = Duration::from_millis(250);
/// Longest time to open a connection.
const LONGEST_DIAL: Duration = Duration::from_secs(4);

/// Counts the failures since it went well last.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It went well, or there is another master.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after another failure: between half of the limit and all of it.
    pub(super) fn failed(&mut self, rng: &mut Rng) -> Duration {
        let most = doubled(FIRST, self.failures).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        rng.between(most / 2, most)
    }

    /// The wait after a failure that will not go away by itself.
    pub(super) fn hopeless(&mut self, rng: &mut Rng) -> Duration {
        self.failures = self.failures.saturating_add(1);
        rng.between(LONGEST / 2, LONGEST)
    }

    /// Time to open the next connection.
    pub(super) fn dial(&self) -> Duration {
        doubled(FIRST_DIAL, self.failures).min(LONGEST_DIAL)
    }
}

/// The wait before the first try in a cluster of so many members.
pub(super) fn spread(rng: &mut Rng, members: usize) -> Duration {
    let members = u32::try_from(members).unwrap_or(u32::MAX);
    rng.between(Duration::ZERO, SPREAD_PER_MEMBER.saturating_mul(members).min(SPREAD))
}

fn doubled(duration: Duration, times: u32) -> Duration {
    duration.saturating_mul(1_u32.checked_shl(times.min(31)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_spread() {
        let mut rng = Rng::from_number(1);
        let mut backoff = Backoff::default();

        for most in [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
            let wait = backoff.failed(&mut rng).as_millis();
            assert!((most / 2..=most).contains(&wait), "{wait} of {most}");
        }
        for _ in 0..100 {
            assert!(backoff.failed(&mut rng) <= LONGEST);
        }
        assert_eq!(backoff.dial(), LONGEST_DIAL);
        backoff.reset();
        assert!(backoff.failed(&mut rng) <= FIRST);
        assert!(backoff.hopeless(&mut rng) >= LONGEST / 2);
    }

    #[test]
    fn the_first_try_comes_the_sooner_the_smaller_the_cluster() {
        let mut rng = Rng::from_number(1);

        assert_eq!(spread(&mut rng, 0), Duration::ZERO);
        for _ in 0..100 {
            assert!(spread(&mut rng, 3) < Duration::from_micros(600));
            assert!(spread(&mut rng, 100_000) < SPREAD);
        }
    }
}
