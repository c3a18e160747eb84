//! What a peer has been told, and how fast.

use std::ops::Range;
use std::time::Duration;

use super::{Source, TicketLog, UsedTicket};
use crate::clb::auth::SEAL;
use crate::clb::frame::HEADER;
use crate::time::Instant;

/// Octets that go to all peers together in a second, news and what was missed each.
pub(crate) const RATE: u64 = 8_000_000;
/// Time between two frames of news: what comes meanwhile goes together.
const NEWS: Duration = Duration::from_millis(10);
/// The same, of what was missed.
const MISSED: Duration = Duration::from_millis(50);
/// Octets that what was missed may have in one turn, to all peers together.
const SLICE: usize = 256 * 1_024;

/// What one peer has been told.
#[derive(Debug)]
pub(crate) struct Told {
    /// The first number that is news to it.
    next: u64,
    /// What was there before it came, as far as it has not been told yet.
    missed: Range<u64>,
}

impl Told {
    /// A peer that comes now.
    pub(crate) const fn new(log: &TicketLog) -> Self {
        Self { next: log.end(), missed: 0..log.end() }
    }

    /// Whether it has not been told everything that is new.
    pub(crate) const fn has_news(&self, log: &TicketLog) -> bool {
        self.next < log.end()
    }

    /// Whether there is something that it has missed.
    pub(crate) fn has_missed(&self) -> bool {
        !self.missed.is_empty()
    }

    /// The next news, in so many octets of a body.
    pub(crate) fn news(
        &mut self,
        log: &TicketLog,
        octets: usize,
        is_wanted: impl Fn(Source) -> bool,
    ) -> Vec<UsedTicket> {
        let (tickets, next) = log.batch((self.next, log.end()), octets, is_wanted);
        self.next = next;
        tickets
    }

    /// The next of what it has missed.
    pub(crate) fn missed(
        &mut self,
        log: &TicketLog,
        octets: usize,
        is_wanted: impl Fn(Source) -> bool,
    ) -> Vec<UsedTicket> {
        let (tickets, next) = log.batch((self.missed.start, self.missed.end), octets, is_wanted);
        self.missed.start = next;
        tickets
    }
}

/// How fast peers are told.
#[derive(Debug)]
pub(crate) struct Pace {
    pub(crate) news_at: Instant,
    pub(crate) missed_at: Instant,
}

impl Pace {
    pub(crate) const fn new() -> Self {
        Self { news_at: Instant::START, missed_at: Instant::START }
    }

    /// So many octets of news have gone.
    pub(crate) fn told_news(&mut self, now: Instant, octets: usize) {
        self.news_at = now + NEWS.max(time_of(octets));
    }

    /// So many octets of what was missed have.
    pub(crate) fn told_missed(&mut self, now: Instant, octets: usize) {
        self.missed_at = now + MISSED.max(time_of(octets));
    }

    /// How long the body of a frame of what was missed may be, among so many peers.
    pub(crate) fn share(peers: usize, longest_frame: usize) -> usize {
        let share = SLICE / peers.max(1);
        share.clamp(LEAST_SHARE, longest_body(longest_frame).max(LEAST_SHARE))
    }
}

/// Room for some tickets, whatever they say.
const LEAST_SHARE: usize = 512;

/// Octets of the longest body in a frame of this length.
pub(crate) const fn longest_body(frame: usize) -> usize {
    frame.saturating_sub(HEADER + SEAL)
}

fn time_of(octets: usize) -> Duration {
    Duration::from_nanos(u64::try_from(octets).unwrap_or(u64::MAX).saturating_mul(1_000_000_000 / RATE))
}
