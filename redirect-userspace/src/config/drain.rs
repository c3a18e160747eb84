//! `[redirect.drain]`: how this node loses its clients.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::error::Problems;
use crate::config::reader::Section;

/// How this node loses its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Clients that are told to go each second.
    pub rate: u32,
    /// How long each has for it, before its SA is deleted.
    pub grace: Duration,
    /// After which time all that are left are deleted.
    pub deadline: Duration,
    /// Whether the node is drained before the daemon ends in order.
    pub before_stop: bool,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            rate: 100,
            grace: Duration::from_secs(30),
            deadline: Duration::from_secs(300),
            before_stop: false,
        }
    }
}

impl Drain {
    /// How long a client may have to go. Less would leave it no time to follow.
    pub const GRACE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);

    /// Time between two clients that are told to go, for a worker that has `own` of `all` clients: the
    /// workers share the rate as they share the clients, and are through at the same time.
    #[must_use]
    pub fn pace(&self, own: usize, all: usize) -> Duration {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX).max(1);
        let rate = u64::from(self.rate.max(1)).saturating_mul(number(own));
        Duration::from_nanos(1_000_000_000_u64.saturating_mul(number(all.max(own))) / rate)
    }
}

/// Reads the section.
pub(super) fn drain(redirect: &mut Section<'_>, problems: &mut Problems) -> Drain {
    let default = Drain::default();
    let mut section = redirect.section("drain", problems);
    let rate = section.number("rate", RATE, problems);
    let grace = section.duration_in("grace", Drain::GRACE, problems);
    let deadline = section.duration_in("deadline", DEADLINE, problems);
    let before_stop = section.flag("before-stop", problems);
    section.finish(problems);
    Drain {
        rate: rate.map_or(default.rate, |rate| rate.value),
        grace: grace.map_or(default.grace, |grace| grace.value),
        deadline: deadline.map_or(default.deadline, |deadline| deadline.value),
        before_stop: before_stop.map_or(default.before_stop, |flag| flag.value),
    }
}

const RATE: RangeInclusive<u32> = 1..=100_000;
const DEADLINE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_the_rate_as_they_share_the_clients() {
        let drain = Drain { rate: 1_000, ..Drain::default() };

        assert_eq!(drain.pace(5_000, 5_000), Duration::from_millis(1));
        // Both are through after four milliseconds.
        assert_eq!(drain.pace(3, 4) * 3, Duration::from_micros(3_999) + Duration::from_nanos(999));
        assert_eq!(drain.pace(1, 4), Duration::from_millis(4));
        // Whoever has none yet goes on as if there were one.
        assert_eq!(drain.pace(0, 4), Duration::from_millis(4));
        assert_eq!(drain.pace(0, 0), Duration::from_millis(1));
        assert_eq!(drain.pace(9, 4), Duration::from_millis(1));
    }
}
