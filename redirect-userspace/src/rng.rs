//! Randomness that is handed to machines.
//!
//! The runtime seeds one generator per machine from the kernel; a test seeds it with a number and
//! sees the same run every time. The generator is ChaCha20, so what a machine sends tells nothing
//! about what it will send.

#![forbid(unsafe_code)]

use std::fmt::{Debug, Formatter};
use std::time::Duration;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};

/// A seeded generator.
pub struct Rng(ChaCha20Rng);

impl Rng {
    /// Octets of a seed.
    pub const SEED_LENGTH: usize = 32;

    /// A generator that gives what `seed` determines.
    #[must_use]
    pub fn from_seed(seed: [u8; Self::SEED_LENGTH]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    /// A generator for tests and simulations, which are told apart by a number.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        let mut seed = [0; Self::SEED_LENGTH];
        for (place, octet) in seed.iter_mut().zip(number.to_le_bytes()) {
            *place = octet;
        }
        Self::from_seed(seed)
    }

    /// A generator of its own for something inside the machine.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::from_seed(self.array())
    }

    /// Fills a slice.
    pub fn fill(&mut self, octets: &mut [u8]) {
        self.0.fill_bytes(octets);
    }

    /// Octets.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut octets = [0; N];
        self.fill(&mut octets);
        octets
    }

    /// A number.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`; 0 when there is none. The bias is below `bound` in 2^64.
    pub fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.u64()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// A duration from `least` up to, but not including, `most`; `least` when that is not less.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let nanos = u64::try_from(most.saturating_sub(least).as_nanos()).unwrap_or(u64::MAX);
        least + Duration::from_nanos(self.below(nanos))
    }
}

impl Debug for Rng {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rng(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_run() {
        let (mut one, mut same, mut other) = (Rng::from_number(7), Rng::from_number(7), Rng::from_number(8));

        let run = [one.u64(), one.u64()];

        assert_eq!(run, [same.u64(), same.u64()]);
        assert_ne!(run, [other.u64(), other.u64()]);
        assert_ne!(one.fork().u64(), one.u64());
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_every_value() {
        let mut rng = Rng::from_number(1);
        let mut seen = [0_u32; 5];

        for _ in 0..1_000 {
            seen[usize::try_from(rng.below(5)).unwrap()] += 1;
        }

        assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
        assert_eq!(rng.below(0), 0);
    }

    #[test]
    fn durations_stay_between_their_bounds() {
        let mut rng = Rng::from_number(2);
        let (least, most) = (Duration::from_millis(800), Duration::from_millis(1_000));

        for _ in 0..1_000 {
            let duration = rng.between(least, most);
            assert!(least <= duration && duration < most, "{duration:?}");
        }
        assert_eq!(rng.between(most, least), most);
    }
}
