//! Latencies, counted: any number of them in the same memory.
//!
//! # Invariants
//!
//! - The least and the greatest are exact; what lies between is told at most 1/128 too high, and never
//!   below or beyond these two.

use std::time::Duration;

/// How often which latency occurred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
    least: Duration,
    most: Duration,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, least: Duration::MAX, most: Duration::ZERO }
    }
}

impl Latencies {
    /// Counts one.
    pub fn note(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(nanos)) {
            *count = count.saturating_add(1);
        }
        self.total = self.total.saturating_add(1);
        self.least = self.least.min(latency);
        self.most = self.most.max(latency);
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.total
    }

    /// The least one; zero when there is none.
    #[must_use]
    pub const fn least(&self) -> Duration {
        if self.total == 0 { Duration::ZERO } else { self.least }
    }

    /// The greatest one; zero when there is none.
    #[must_use]
    pub const fn most(&self) -> Duration {
        self.most
    }

    /// The latency that so many of a thousand did not exceed; zero when there is none.
    #[must_use]
    pub fn permille(&self, part: u64) -> Duration {
        // The place in the order of all, from 1.
        let place = self.total.saturating_mul(part.min(1_000)).div_ceil(1_000).max(1);
        let mut seen = 0_u64;
        for (number, count) in self.counts.iter().enumerate() {
            seen = seen.saturating_add(*count);
            if seen >= place {
                return Duration::from_nanos(last_of(number)).clamp(self.least(), self.most);
            }
        }
        self.most
    }
}

/// Buckets of an octave.
const FINE: u64 = 128;
/// Below it every number of nanoseconds has a bucket of its own.
const EXACT: u64 = 2 * FINE;
/// Those, and 128 for each of the 56 octaves from there on.
const BUCKETS: usize = 256 + 56 * 128;

/// The bucket of a number of nanoseconds.
fn bucket(nanos: u64) -> usize {
    let number = match nanos.checked_ilog2() {
        Some(octave) if nanos >= EXACT => {
            let octave = u64::from(octave);
            EXACT + (octave - 8) * FINE + ((nanos >> (octave - 7)) & (FINE - 1))
        }
        Some(_) | None => nanos,
    };
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The greatest number of nanoseconds that a bucket is for.
fn last_of(bucket: usize) -> u64 {
    let number = u64::try_from(bucket).unwrap_or(u64::MAX);
    let Some(beyond) = number.checked_sub(EXACT) else { return number };
    let (octave, place) = (beyond / FINE, beyond % FINE);
    let next = u128::from(FINE + place + 1) << (octave + 1);
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    fn of(latencies: impl IntoIterator<Item = u64>) -> Latencies {
        let mut all = Latencies::default();
        latencies.into_iter().for_each(|latency| all.note(micros(latency)));
        all
    }

    /// Whether a figure is this one, or less than 1/128 above.
    #[track_caller]
    fn is_about(figure: Duration, exact: u64) {
        let exact = micros(exact);
        assert!(figure >= exact && figure <= exact + exact / 128, "{figure:?} for {exact:?}");
    }

    #[test]
    fn of_a_thousand_different_ones_each_part_is_where_it_belongs() {
        let all = of((1..=1_000).rev());

        assert_eq!((all.count(), all.least(), all.most()), (1_000, micros(1), micros(1_000)));
        for part in [1, 500, 900, 990, 999] {
            is_about(all.permille(part), part);
        }
        assert_eq!(all.permille(1_000), micros(1_000));
        is_about(all.permille(0), 1);
    }

    #[test]
    fn one_that_took_long_is_seen_where_it_counts_and_nowhere_else() {
        let all = of((0..999).map(|_| 10).chain([60_000_000]));

        is_about(all.permille(500), 10);
        is_about(all.permille(999), 10);
        assert_eq!(all.permille(1_000), Duration::from_secs(60));
    }

    #[test]
    fn a_single_one_is_every_part_and_none_is_zero() {
        let all = of([12_345]);
        assert!([0, 500, 999, 1_000].iter().all(|part| all.permille(*part) == micros(12_345)));

        let none = Latencies::default();
        assert_eq!([none.least(), none.permille(500), none.most()], [Duration::ZERO; 3]);
    }

    #[test]
    fn every_duration_has_a_bucket_and_no_bucket_is_wider_than_it_says() {
        assert_eq!(bucket(u64::MAX) + 1, BUCKETS);
        let powers = (0..64).flat_map(|power| {
            let power = 1_u64 << power;
            [power - 1, power, power + 1, power + power / 3]
        });
        for nanos in powers.chain([u64::MAX]) {
            let bucket = bucket(nanos);
            assert!(bucket < BUCKETS, "{nanos}");
            let last = last_of(bucket);
            assert!(last >= nanos && last - nanos <= nanos / FINE, "{nanos} {last}");
        }
        let mut all = Latencies::default();
        all.note(Duration::MAX);
        assert_eq!(all.permille(500), Duration::MAX);
    }
}
