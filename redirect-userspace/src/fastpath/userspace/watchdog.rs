//! Holds the tables when the core goes silent: its threads would answer on.
//!
//! A process that is stopped stops its threads as well. This is for a core that hangs while the
//! process lives; the XDP program has [`crate::fastpath::guard`] for it.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;

use crate::fastpath::memory::SharedTables;

/// The thread that listens for the core. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Watchdog {
    beats: Option<mpsc::SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts watching: `patience` after the last beat the tables are held, and with the next beat
    /// they are let go again.
    pub(super) fn start(tables: &SharedTables, patience: Duration) -> anyhow::Result<Self> {
        // One beat that waits is as good as many.
        let (beats, heard) = mpsc::sync_channel(1);
        let tables = tables.clone();
        let thread = thread::Builder::new()
            .name("fastpath-watch".to_owned())
            .spawn(move || watch(&tables, &heard, patience))
            .context("starting the watchdog of the fast path")?;
        Ok(Self { beats: Some(beats), thread: Some(thread) })
    }

    /// The core is alive.
    pub(super) fn beat(&self) {
        if let Some(beats) = &self.beats {
            // Full: one is waiting already. Closed: the thread is gone with the process.
            let _full_or_closed = beats.try_send(());
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.beats = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn watch(tables: &SharedTables, heard: &mpsc::Receiver<()>, patience: Duration) {
    let mut is_held = false;
    loop {
        let is_silent = match heard.recv_timeout(patience) {
            Ok(()) => false,
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if is_silent != is_held {
            tables.hold(is_silent);
            is_held = is_silent;
        }
    }
}

#[cfg(test)]
mod tests {
    use common::maps::Tables as _;

    use super::*;
    use crate::fastpath::memory::MemoryTables;

    fn is_armed(tables: &SharedTables) -> bool {
        tables.current().control().unwrap().armed != 0
    }

    fn wait_for(condition: impl Fn() -> bool) {
        // Bounded by the test runner's own time limit.
        while !condition() {
            thread::yield_now();
        }
    }

    #[test]
    fn a_silent_core_stops_the_answers_and_a_beat_brings_them_back() {
        let tables = SharedTables::new(MemoryTables::new(1));
        tables.arm();
        let watchdog = Watchdog::start(&tables, Duration::from_millis(20)).unwrap();

        wait_for(|| !is_armed(&tables));
        wait_for(|| {
            watchdog.beat();
            is_armed(&tables)
        });
        wait_for(|| !is_armed(&tables));
    }

    #[test]
    fn a_beat_does_not_arm_what_the_core_has_disarmed() {
        let tables = SharedTables::new(MemoryTables::new(1));
        tables.arm();
        tables.hold(true);
        tables.disarm();

        tables.hold(false);

        assert!(!is_armed(&tables));
        tables.arm();
        assert!(is_armed(&tables));
    }
}
