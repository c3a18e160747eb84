//! The only reader of the machine's clocks and of its randomness.

#![expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};

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

/// A random number from the kernel.
///
/// # Errors
///
/// The kernel has no randomness to give.
pub(super) fn random() -> Result<u64> {
    let mut octets = [0; 8];
    getrandom::fill(&mut octets).context("asking the kernel for randomness")?;
    Ok(u64::from_ne_bytes(octets))
}
