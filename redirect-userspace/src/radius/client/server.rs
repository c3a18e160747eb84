//! One server: its sockets, which request has which identifier, and whether it is there.
//!
//! # Invariants
//!
//! - Of the requests that a socket has sent and that are not answered yet, no two have the same
//!   identifier.
//! - A packet counts as unanswered only if nothing at all came from the server since it was sent: one
//!   that answers some of them is not dead.

use std::collections::BTreeSet;
use std::time::Duration;

use super::SocketId;
use crate::radius::config::Server;
use crate::radius::event::{DeathCause, ServerState, Tally};
use crate::time::Instant;

/// Most sockets to one server: as many requests wait at most as there are sockets, times 256.
pub(super) const MAX_SOCKETS: usize = 8;
/// Packets without an answer from which on a server is dead.
const LEAST_UNANSWERED: u32 = 3;

/// A server as a pool knows it.
#[derive(Debug)]
pub(super) struct Remote {
    /// What the file says about it.
    pub(super) config: Server,
    /// Whether it is there.
    pub(super) health: Health,
    /// Where requests were sent from.
    pub(super) sockets: Vec<Socket>,
    /// Requests that have no identifier yet. Later ones have higher numbers.
    pub(super) waiting: BTreeSet<u64>,
    /// What it was asked, and what has come of it.
    pub(super) tally: Tally,
}

/// A socket and its identifiers.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) id: SocketId,
    /// Which request has which identifier.
    requests: Box<[Option<u64>; 256]>,
    in_use: usize,
    /// Where the search begins, so that an identifier rests as long as it can.
    next: u8,
}

impl Socket {
    pub(super) fn new(id: SocketId) -> Self {
        Self { id, requests: Box::new([None; 256]), in_use: 0, next: 0 }
    }

    /// Requests that are not answered.
    pub(super) const fn in_use(&self) -> usize {
        self.in_use
    }

    /// The request that waits for this identifier.
    pub(super) fn request(&self, identifier: u8) -> Option<u64> {
        self.requests.get(usize::from(identifier)).copied().flatten()
    }

    /// Finds an identifier for a request.
    pub(super) fn take(&mut self, request: u64) -> Option<u8> {
        let from = self.next;
        let identifier = (0..=u8::MAX)
            .map(|step| from.wrapping_add(step))
            .find(|identifier| self.request(*identifier).is_none())?;
        *self.requests.get_mut(usize::from(identifier))? = Some(request);
        self.in_use += 1;
        self.next = identifier.wrapping_add(1);
        Some(identifier)
    }

    /// Frees an identifier.
    pub(super) fn free(&mut self, identifier: u8) {
        let place = self.requests.get_mut(usize::from(identifier));
        if place.and_then(Option::take).is_some() {
            self.in_use = self.in_use.saturating_sub(1);
        }
    }
}

/// Whether a server is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Health {
    pub(super) state: State,
    /// Since when it is up or down.
    pub(super) since: Instant,
    /// When something authentic came from it last.
    heard_at: Option<Instant>,
    /// Packets without an answer since then, and when the first of them was sent.
    silent: Option<(u32, Instant)>,
    /// What else speaks against it since then.
    hint: Option<DeathCause>,
    /// Whether it has ever answered a probe.
    knows_probes: bool,
}

/// What is done about a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is asked.
    Up,
    /// It is left alone until then.
    Dead { until: Instant },
    /// It was sent a probe, or a request that is one.
    Probed { until: Instant },
    /// The next request finds out.
    OnTrial,
}

impl Health {
    pub(super) const fn new(now: Instant) -> Self {
        Self { state: State::Up, since: now, heard_at: None, silent: None, hint: None, knows_probes: false }
    }

    /// How it stands, for people.
    pub(super) const fn shown(&self) -> ServerState {
        match self.state {
            State::Up => ServerState::Up,
            State::Dead { .. } => ServerState::Dead,
            State::Probed { .. } | State::OnTrial => ServerState::Probed,
        }
    }

    /// Something authentic came. Says how long it was gone, if it was.
    pub(super) fn heard(&mut self, now: Instant, is_probe: bool) -> Option<Duration> {
        self.heard_at = Some(now);
        self.silent = None;
        self.hint = None;
        self.knows_probes |= is_probe;
        match self.state {
            State::Up => None,
            State::Dead { .. } | State::Probed { .. } | State::OnTrial => {
                let gone = now.since(self.since);
                self.state = State::Up;
                self.since = now;
                Some(gone)
            }
        }
    }

    /// Something else than silence speaks against it.
    pub(super) const fn hint(&mut self, cause: DeathCause) {
        self.hint = Some(cause);
    }

    /// A packet that was sent at that time has no answer. Says whether it counts.
    pub(super) fn unanswered(&mut self, sent_at: Instant) -> bool {
        if self.heard_at.is_some_and(|heard_at| heard_at > sent_at) {
            return false;
        }
        let (count, since) = self.silent.unwrap_or((0, sent_at));
        self.silent = Some((count.saturating_add(1), since.min(sent_at)));
        true
    }

    /// Whether it has been silent for so long, and to so much, that it is dead.
    pub(super) fn is_dying(&self, now: Instant, timeout: Duration) -> bool {
        let is_silent = self.silent.is_some_and(|(count, since)| {
            count >= LEAST_UNANSWERED && now.since(since) >= timeout.saturating_mul(LEAST_UNANSWERED)
        });
        is_silent && self.state == State::Up
    }

    /// Leaves it alone. Says why when that is news.
    pub(super) fn bury(&mut self, now: Instant, dead_time: Duration) -> Option<DeathCause> {
        let is_news = self.state == State::Up;
        self.state = State::Dead { until: now + dead_time };
        self.silent = None;
        if !is_news {
            return None;
        }
        self.since = now;
        Some(self.hint.unwrap_or(DeathCause::Unanswered))
    }

    /// What comes when a probe had no answer: a server that has never answered one may not know them.
    pub(super) fn after_probe(&mut self, now: Instant, dead_time: Duration) {
        self.state = if self.knows_probes { State::Dead { until: now + dead_time } } else { State::OnTrial };
    }
}
