//! Ctrl-C and its relatives, as a flag that the demonstration looks at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigSet, Signal};

/// Set by SIGINT, SIGTERM or SIGHUP.
#[derive(Clone, Debug)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Takes these signals away from their default action for the rest of the process.
    ///
    /// Comes before other threads, which inherit what is blocked. Programs that are started do
    /// not: the standard library clears the mask for them.
    pub(super) fn install() -> Result<Self> {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        signals.thread_block().context("blocking signals")?;
        let stop = Self(Arc::new(AtomicBool::new(false)));
        let flag = Arc::clone(&stop.0);
        std::thread::spawn(move || {
            // It fails for an invalid set only, which this is not.
            while signals.wait().is_ok() {
                flag.store(true, Ordering::Relaxed);
            }
        });
        Ok(stop)
    }

    /// Whether the user has asked for the end.
    pub(super) fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
