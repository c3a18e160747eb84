//! When which slave is told who the members are.
//!
//! The more members there are, the longer a view is and the more slaves want it. So that this
//! stays cheap, views are sent at [`RATE`] at most, in slices; a view is encoded and hashed once
//! per slice. A cluster of ten is told everything at once, one of 500 within some seconds. Where
//! the members are those that a slave knows already, only their loads and ages are news, which it
//! needs to show them: that goes at [`REFRESH_RATE`].

use std::collections::VecDeque;
use std::time::Duration;

use crate::clb::auth::SEAL;
use crate::clb::frame::HEADER;
use crate::clb::view::{Part, Parts};
use crate::time::Instant;

use super::PeerId;
use super::roster::Roster;

/// Octets of views that are sent per second.
pub(crate) const RATE: u64 = 4_000_000;
/// The same, to slaves that know the members.
pub(crate) const REFRESH_RATE: u64 = 1_000_000;
/// Octets after which a slice ends.
const SLICE: usize = 256 * 1_024;
/// How long what was encoded may be sent: the ages in it are those of the encoding.
const FRESH: Duration = Duration::from_millis(20);

/// Who waits for a view, and what is sent.
#[derive(Debug)]
pub(super) struct Views {
    /// Number of the last view that was encoded.
    generation: u64,
    /// The first view in which the members are as they are now.
    changed_at: u64,
    encoded: Option<(Instant, Vec<Part>)>,
    queue: VecDeque<PeerId>,
    next_at: Instant,
}

impl Views {
    pub(super) const fn new() -> Self {
        Self { generation: 0, changed_at: 1, encoded: None, queue: VecDeque::new(), next_at: Instant::START }
    }

    /// The members are others than before: views that were sent are out of date.
    pub(super) fn change(&mut self) {
        self.changed_at = self.generation + 1;
        self.encoded = None;
    }

    /// Whether the members are still those of the view with this number.
    pub(super) const fn is_current(&self, generation: u64) -> bool {
        generation >= self.changed_at
    }

    /// Puts a slave in the queue. The caller sees to it that it is there only once.
    pub(super) fn enqueue(&mut self, peer: PeerId) {
        self.queue.push_back(peer);
    }

    /// Whether nobody waits.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// When the next slice may be sent.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!self.queue.is_empty()).then_some(self.next_at)
    }

    /// Sends a slice if it is time: `send` gets everyone whose turn it is, the number of the view
    /// and its parts, and says which view they had before, if there is still somebody.
    pub(super) fn slice(
        &mut self,
        now: Instant,
        roster: &Roster,
        mut send: impl FnMut(PeerId, u64, &[Part]) -> Option<u64>,
    ) {
        if now < self.next_at || self.queue.is_empty() {
            return;
        }
        let is_fresh = self.encoded.as_ref().is_some_and(|(at, _)| now.since(*at) < FRESH);
        if !is_fresh {
            self.generation += 1;
            let mut parts = Parts::new(self.generation);
            for name in roster.drained_away() {
                parts.push_drained(name);
            }
            for member in roster.iter() {
                parts.push(&member.to_entry(now));
            }
            self.encoded = Some((now, parts.finish()));
        }
        let Some((_, parts)) = &self.encoded else { return };
        let length: usize = parts.iter().map(|part| HEADER + SEAL + part.body.octets().len()).sum();
        let (mut sent, mut rate) = (0, REFRESH_RATE);
        while sent < SLICE
            && let Some(peer) = self.queue.pop_front()
        {
            let Some(before) = send(peer, self.generation, parts) else { continue };
            sent += length;
            if !self.is_current(before) {
                rate = RATE;
            }
        }
        let sent = u64::try_from(sent).unwrap_or(u64::MAX);
        self.next_at = now + Duration::from_nanos(sent.saturating_mul(1_000_000_000 / rate));
    }
}
