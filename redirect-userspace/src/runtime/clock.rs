//! The only reader of the machine's clocks and of its randomness.

#![expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};

use crate::rng::Rng;
use crate::time::{Instant, Now, UnixTime};

/// Time since the daemon started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: std::time::Instant,
}

impl Clock {
    /// Starts counting.
    pub(super) fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }

    /// Reads both clocks.
    pub(super) fn now(self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { mono: Instant::from_start(self.start.elapsed()), wall: UnixTime::from_epoch(wall) }
    }

    #[expect(dead_code, reason = "waits for the election")]
    /// Waits until a deadline has come; for ever without one.
    pub(super) async fn until(self, deadline: Option<Instant>) {
        match deadline.and_then(|at| self.start.checked_add(at.since_start())) {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    }
}

/// Wakes the core at a fixed pace.
pub(super) struct Ticker(tokio::time::Interval);

impl Ticker {
    /// The first tick comes at once. A core that was late is not woken for what it missed.
    pub(super) fn every(pace: Duration) -> Self {
        let mut interval = tokio::time::interval(pace);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Self(interval)
    }

    /// Waits for the next tick.
    pub(super) async fn tick(&mut self) {
        self.0.tick().await;
    }
}

/// A generator that is seeded by the kernel.
///
/// # Errors
///
/// The kernel has no randomness to give.
pub(super) fn random() -> Result<Rng> {
    let mut seed = [0; Rng::SEED_LENGTH];
    getrandom::fill(&mut seed).context("asking the kernel for randomness")?;
    Ok(Rng::from_seed(seed))
}
