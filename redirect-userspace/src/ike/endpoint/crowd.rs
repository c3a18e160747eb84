//! Whether more want to come in than are let in, or than go on once they are.
//!
//! # References
//!
//! `RFC 7296 §2.6`.

use std::time::Duration;

use crate::time::{Instant, Now};

/// What is known of those who would like an SA.
#[derive(Debug)]
pub(super) struct Crowd {
    /// Whether more of them wait than are let in, as the worker sees it.
    is_waiting: bool,
    /// Until when there may be more of them than there should be.
    until: Option<Instant>,
    /// Those who have come since this window began, and who had come up until then.
    since: Instant,
    entered: u64,
    established: u64,
}

impl Crowd {
    pub(super) const fn new(now: Now) -> Self {
        Self { is_waiting: false, until: None, since: now.mono, entered: 0, established: 0 }
    }

    /// The worker lets in all who wait, or cannot.
    pub(super) fn wait(&mut self, now: Now, is_waiting: bool) {
        self.is_waiting = is_waiting;
        if !is_waiting {
            self.until = Some(now.mono + CALM);
        }
    }

    /// Somebody would like an SA; so many have come up in all.
    pub(super) fn enter(&mut self, now: Now, established: u64) {
        self.entered += 1;
        let window = now.mono.since(self.since);
        if window < WINDOW {
            return;
        }
        let unfinished = self.entered.saturating_sub(established.saturating_sub(self.established));
        if u128::from(unfinished) * 1_000 >= u128::from(UNFINISHED) * window.as_millis() {
            self.until = Some(now.mono + CALM);
        }
        (self.since, self.entered, self.established) = (now.mono, 0, established);
    }

    /// Whether there are more of them than there should be, or were a moment ago.
    pub(super) fn is_there(&self, now: Now) -> bool {
        self.is_waiting || self.until.is_some_and(|until| now.mono < until)
    }
}

/// How long there has to be no crowd before it has gone: floods come in bursts.
const CALM: Duration = Duration::from_secs(10);
/// Over how long those who come and those who come up are compared.
const WINDOW: Duration = Duration::from_millis(100);
/// Those a second who come and do not come up. Many at a time may, after a failure.
const UNFINISHED: u64 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// So many come in a tenth of a second, of whom so many come up; whether they are a crowd then.
    fn rush(come: u64, come_up: u64) -> bool {
        let start = Now::default();
        let mut crowd = Crowd::new(start);
        for number in 0..come {
            crowd.enter(start.after(Duration::from_micros(100_000 * number / come)), come_up * number / come);
        }
        crowd.enter(start.after(WINDOW), come_up);
        crowd.is_there(start.after(WINDOW))
    }

    #[test]
    fn those_who_come_up_are_no_crowd_however_many_they_are() {
        assert!(!rush(1_000, 900));
        assert!(!rush(150, 0), "fewer than that may be slow");
        assert!(rush(1_000, 0));
        assert!(rush(1_000, 700));
    }

    #[test]
    fn it_has_gone_when_it_has_not_come_back_for_a_while() {
        let start = Now::default();
        let mut crowd = Crowd::new(start);
        (0..1_000).for_each(|_| crowd.enter(start, 0));
        crowd.enter(start.after(WINDOW), 0);
        let end = start.after(WINDOW + CALM);
        assert!(crowd.is_there(start.after(WINDOW + CALM - Duration::from_millis(1))));
        assert!(!crowd.is_there(end));

        // Whoever comes after a long time is one of few.
        crowd.enter(end.after(Duration::from_secs(60)), 0);
        assert!(!crowd.is_there(end.after(Duration::from_secs(60))));
    }

    #[test]
    fn as_long_as_some_wait_it_is_there() {
        let start = Now::default();
        let mut crowd = Crowd::new(start);
        crowd.wait(start, true);
        assert!(crowd.is_there(start.after(10 * CALM)));
        crowd.wait(start.after(10 * CALM), false);
        assert!(crowd.is_there(start.after(11 * CALM - Duration::from_millis(1))));
        assert!(!crowd.is_there(start.after(11 * CALM)));
    }
}
