//! The contract of every protocol machine.
//!
//! A machine takes in facts and says what to do about them. It owns no clock, socket, log or
//! source of randomness, so a test drives it exactly as the daemon does.
//!
//! # Invariants
//!
//! - **Total.** [`Machine::step`] neither fails nor panics, whatever the input.
//! - **Pure.** The same inputs at the same times give the same outputs.
//! - **Time moves forward.** `now.mono` never decreases from step to step.
//! - **Early timeouts are harmless.** A timeout before the deadline changes nothing.
//! - **No spinning.** After a timeout step, [`Machine::deadline`] is later than `now`, or `None`.
//! - **Ordered.** Carrying out the outputs in the order they came in is always right.
//! - **Bounded.** Every table has a cap; every step gives a bounded number of outputs.
//!
//! # Picture
//!
//! ```text
//!             ┌──────── runtime ────────┐
//!  input ────▶│ step(now, input, &mut o)│────▶ outputs, carried out in order
//!  clocks ───▶│ deadline() ─▶ one timer │────▶ next input: the timeout
//!             └─────────────────────────┘
//! ```

#![forbid(unsafe_code)]

use std::collections::VecDeque;

use crate::time::{Instant, Now};

/// A protocol machine.
pub trait Machine {
    /// A fact about the world: bytes arrived, the configuration changed, time passed.
    type Input<'a>;
    /// Something the caller must do, or may want to know.
    type Output;

    /// Takes in one fact and appends what follows from it. Never fails.
    fn step(&mut self, now: Now, input: Self::Input<'_>, out: &mut Outbox<Self::Output>);

    /// The next instant at which the timeout input is due, and what for.
    fn deadline(&self) -> Option<Deadline>;
}

/// When a timeout is due, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The instant.
    pub at: Instant,
    /// What for, in words for `show internals`.
    pub why: &'static str,
}

impl Deadline {
    /// The earlier of two deadlines; the first one when they are equal.
    #[must_use]
    pub fn earlier(first: Option<Self>, second: Option<Self>) -> Option<Self> {
        match (first, second) {
            (Some(first), Some(second)) if second.at < first.at => Some(second),
            (Some(first), _) => Some(first),
            (None, second) => second,
        }
    }

    /// Whether the deadline has come.
    #[must_use]
    pub fn is_due(&self, now: Now) -> bool {
        self.at <= now.mono
    }
}

/// Outputs in the order in which they are to be carried out.
///
/// The caller keeps one and drains it after every step, so that its memory is reused.
#[derive(Debug)]
pub struct Outbox<O> {
    outputs: VecDeque<O>,
}

impl<O> Outbox<O> {
    /// An empty outbox.
    #[must_use]
    pub const fn new() -> Self {
        Self { outputs: VecDeque::new() }
    }

    /// Appends an output.
    pub fn push(&mut self, output: O) {
        self.outputs.push_back(output);
    }

    /// Takes the oldest output out.
    pub fn pop(&mut self) -> Option<O> {
        self.outputs.pop_front()
    }

    /// Takes all outputs out, oldest first.
    pub fn drain(&mut self) -> impl Iterator<Item = O> {
        self.outputs.drain(..)
    }

    /// Number of outputs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.outputs.len()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }
}

impl<O> Default for Outbox<O> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn outputs_come_out_in_the_order_they_went_in() {
        let mut out = Outbox::new();
        out.push('a');
        out.push('b');
        out.push('c');

        let first = out.pop();
        let rest: Vec<_> = out.drain().collect();

        assert_eq!(first, Some('a'));
        assert_eq!(rest, ['b', 'c']);
        assert!(out.is_empty());
    }

    #[test]
    fn the_earlier_deadline_wins() {
        let early = Some(Deadline { at: Instant::START + Duration::from_secs(1), why: "early" });
        let late = Some(Deadline { at: Instant::START + Duration::from_secs(2), why: "late" });

        assert_eq!(Deadline::earlier(early, late), early);
        assert_eq!(Deadline::earlier(late, early), early);
        assert_eq!(Deadline::earlier(None, late), late);
        assert_eq!(Deadline::earlier(early, None), early);
        assert_eq!(Deadline::earlier(None, None), None);
    }

    #[test]
    fn a_deadline_is_due_at_its_instant_and_not_before() {
        let deadline = Deadline { at: Instant::START + Duration::from_secs(1), why: "test" };

        assert!(!deadline.is_due(Now::default().after(Duration::from_millis(999))));
        assert!(deadline.is_due(Now::default().after(Duration::from_secs(1))));
    }
}
