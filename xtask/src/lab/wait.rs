//! Waiting for a condition with a deadline: the only clock of the laboratory.
//!
//! Processes in other namespaces tell us nothing when they change state, so conditions are probed.
//! A probe that fails says why, and the last reason is what a reader sees when time runs out.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Time between two probes of a condition.
const POLL: Duration = Duration::from_millis(10);

/// Probes until the probe succeeds.
///
/// # Errors
///
/// When `within` has passed: names `what` was awaited and the last reason the probe gave.
pub fn until<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Result<T>) -> Result<T> {
    let watch = Stopwatch::start();
    loop {
        match probe() {
            Ok(found) => return Ok(found),
            Err(last) if watch.elapsed() >= within => {
                return Err(last).with_context(|| format!("waited {within:?} until {what}"));
            }
            Err(_) => pause(),
        }
    }
}

/// Lets one polling interval pass, for loops that serve several conditions at once.
#[expect(clippy::disallowed_methods, reason = "the one pause between probes")]
pub fn pause() {
    std::thread::sleep(POLL);
}

/// Lets some time pass, for sources that keep to a schedule.
#[expect(clippy::disallowed_methods, reason = "a schedule is about time and nothing else")]
pub(super) fn rest(time: Duration) {
    std::thread::sleep(time);
}

/// Measures how long something took.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one clock of the laboratory")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{bail, ensure};

    use super::*;

    #[test]
    fn a_condition_that_comes_true_is_returned() {
        let mut probes = 0;

        let found = until("three probes were made", Duration::from_secs(10), || {
            probes += 1;
            ensure!(probes == 3, "{probes}");
            Ok(probes)
        });

        assert_eq!(found.unwrap(), 3);
    }

    #[test]
    fn an_expired_wait_tells_the_last_state_seen() {
        let failed = until::<()>("pigs fly", Duration::ZERO, || bail!("pigs walk")).unwrap_err();

        assert_eq!(format!("{failed:#}"), "waited 0ns until pigs fly: pigs walk");
    }
}
