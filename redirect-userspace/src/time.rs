//! Time as the machines see it.
//!
//! Nothing here reads a clock. The runtime reads both clocks once per turn of its loop and hands
//! them to the machines as a [`Now`], so that a test can let hours pass in a microsecond.

#![forbid(unsafe_code)]

use std::fmt::{Debug, Formatter};
use std::num::NonZeroU64;
use std::ops::{Add, AddAssign};
use std::time::Duration;

/// A point on the monotonic clock: how long the daemon had been running.
///
/// Not [`std::time::Instant`], which cannot be made without reading the clock.
// Nanoseconds and one more, up to 584 years: there are several in every SA, most of which may be absent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(NonZeroU64);

impl Instant {
    /// The start of the daemon.
    pub const START: Self = Self(NonZeroU64::MIN);

    /// The instant at which the daemon had been running for `elapsed`.
    #[must_use]
    pub const fn from_start(elapsed: Duration) -> Self {
        Self(NonZeroU64::MIN.saturating_add(nanoseconds(elapsed)))
    }

    /// How long the daemon had been running.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        Duration::from_nanos(self.0.get() - 1)
    }

    /// Time from `earlier` to this instant; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
}

/// Nanoseconds of a duration; the most that there can be of a longer one.
const fn nanoseconds(duration: Duration) -> u64 {
    let whole = duration.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(duration.subsec_nanos() as u64)
}

impl Default for Instant {
    fn default() -> Self {
        Self::START
    }
}

impl Debug for Instant {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Instant").field(&self.since_start()).finish()
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Stops at the end of time instead of wrapping: a deadline that far away never comes.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(duration)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

/// A point on the wall clock: time since 1970-01-01 00:00:00 UTC, without leap seconds.
///
/// For people, certificates and metrics. It can jump, so no deadline is ever computed from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(Duration);

impl UnixTime {
    /// 1970-01-01 00:00:00 UTC.
    pub const EPOCH: Self = Self(Duration::ZERO);

    /// The time `elapsed` after the epoch.
    #[must_use]
    pub const fn from_epoch(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// Time since the epoch.
    #[must_use]
    pub const fn since_epoch(self) -> Duration {
        self.0
    }

    /// `2026-01-31T23:59:59.000Z` (`RFC 3339 §5.6`).
    #[must_use]
    pub fn rfc3339(self) -> String {
        let since_epoch = self.0;
        let (days, second) = (since_epoch.as_secs() / 86_400, since_epoch.as_secs() % 86_400);
        let (year, month, day) = civil(days);
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            second / 3600,
            second / 60 % 60,
            second % 60,
            since_epoch.subsec_millis()
        )
    }
}

/// Year, month and day of a day counted from 1970-01-01. Years are taken to start in March: leap
/// days then come last and the lengths of months follow a straight line.
const fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 146_097;
    const DAYS_TO_1970: u64 = 719_468;

    let day = days + DAYS_TO_1970;
    let (era, day) = (day / DAYS_PER_ERA, day % DAYS_PER_ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + (month <= 2) as u64, month, day)
}

/// The two clocks, read once per turn of the loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic clock: what deadlines are compared with.
    pub mono: Instant,
    /// Wall clock: what is shown to people.
    pub wall: UnixTime,
}

impl Now {
    /// Both clocks, `elapsed` later.
    #[must_use]
    pub fn after(self, elapsed: Duration) -> Self {
        Self { mono: self.mono + elapsed, wall: UnixTime(self.wall.0.saturating_add(elapsed)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_beyond_the_end_of_time_stays_at_the_end_of_time() {
        let end = Instant::from_start(Duration::MAX);

        assert_eq!(end + Duration::from_secs(1), end);
        assert!(end > Instant::START + Duration::from_secs(1));
    }

    #[test]
    fn an_instant_is_the_nanosecond_that_it_was_made_of() {
        let elapsed = Duration::new(7, 123_456_789);

        assert_eq!(Instant::from_start(elapsed).since_start(), elapsed);
        assert_eq!((Instant::START + elapsed).since(Instant::START), elapsed);
        assert_eq!(Instant::default().since_start(), Duration::ZERO);
        assert_eq!(size_of::<Option<Instant>>(), 8);
    }

    #[test]
    fn time_since_a_later_instant_is_zero() {
        let later = Instant::START + Duration::from_millis(250);

        assert_eq!(later.since(Instant::START), Duration::from_millis(250));
        assert_eq!(Instant::START.since(later), Duration::ZERO);
    }

    #[test]
    fn both_clocks_advance_together() {
        let start =
            Now { mono: Instant::START, wall: UnixTime::from_epoch(Duration::from_secs(1_800_000_000)) };

        let now = start.after(Duration::from_millis(1_500));

        assert_eq!(now.mono.since_start(), Duration::from_millis(1_500));
        assert_eq!(now.wall.since_epoch(), Duration::from_millis(1_800_000_001_500));
    }

    #[test]
    fn dates_are_right_around_leap_days() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(UnixTime::from_epoch(Duration::from_secs(seconds)).rfc3339(), date);
        }
    }
}
