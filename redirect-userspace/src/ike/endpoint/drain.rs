//! Losing all clients without losing one: each is told to go elsewhere, at a pace that the others
//! can take.
//!
//! # References
//!
//! `RFC 5685 §5`.

use std::collections::VecDeque;
use std::time::Duration;

use super::Endpoint;
use crate::gateway::GatewayAddress;
use crate::ike::event::{CloseReason, RedirectReason};
use crate::ike::io::{Drain, Output, Selection};
use crate::ike::sa::Effects;
use crate::machine::{Deadline, Outbox};
use crate::time::{Instant, Now};

/// How far it has come.
#[derive(Debug)]
pub(super) struct Draining {
    drain: Drain,
    next_at: Instant,
    ends_at: Option<Instant>,
    /// Those whose turn comes, by our SPIs.
    queue: VecDeque<u64>,
}

impl Draining {
    pub(super) fn deadline(&self) -> Deadline {
        let at = self.ends_at.map_or(self.next_at, |ends_at| ends_at.min(self.next_at));
        Deadline { at, why: "the next client is told to go" }
    }
}

impl Endpoint {
    /// Begins to lose the clients.
    pub(super) fn drain(&mut self, now: Now, drain: Drain, out: &mut Outbox<Output>) {
        let ends_at = drain.deadline.map(|time| now.mono + time);
        self.draining = Some(Draining { drain, next_at: now.mono, ends_at, queue: VecDeque::new() });
        self.go_on_draining(now, out);
    }

    /// Whether clients are being told to go.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// Tells the next client, if it is time.
    pub(super) fn go_on_draining(&mut self, now: Now, out: &mut Outbox<Output>) {
        let Some(mut draining) = self.draining.take() else { return };
        if draining.ends_at.is_some_and(|ends_at| ends_at <= now.mono) {
            for spi in self.selected(&Selection::All) {
                self.close(now, spi, CloseReason::Drained, out);
            }
            draining.ends_at = None;
        }
        if draining.next_at <= now.mono && draining.queue.is_empty() {
            draining.queue = self.movable().into();
        }
        while draining.next_at <= now.mono {
            let Some(spi) = draining.queue.pop_front() else {
                // Clients still come, by their own memory or because they were on their way; or there
                // is nowhere to go yet.
                draining.next_at = now.mono + PAUSE.max(draining.drain.pace);
                break;
            };
            // One that has left meanwhile costs no time. Without a pace a turn is bounded all the same.
            if self.send_away(now, spi, None, draining.drain.grace, RedirectReason::Drain, out) {
                draining.next_at += draining.drain.pace;
            }
        }
        self.draining = Some(draining);
    }

    /// The SAs that can be told to go, in the order of their numbers.
    fn movable(&self) -> Vec<u64> {
        let is_movable = |spi: &u64| self.table.get(*spi).is_some_and(|sa| sa.may_be_sent_away());
        self.selected(&Selection::All).into_iter().filter(is_movable).collect()
    }

    /// Tells a client to go elsewhere; says whether it was told.
    pub(super) fn send_away(
        &mut self,
        now: Now,
        spi: u64,
        to: Option<GatewayAddress>,
        grace: Duration,
        why: RedirectReason,
        out: &mut Outbox<Output>,
    ) -> bool {
        let Some(sa) = self.table.get(spi).filter(|sa| sa.may_be_sent_away()) else { return false };
        let to = to.or_else(|| self.targets.away(sa.names.spi_i, sa.remote().ip()));
        let Some(to) = to else { return false };
        self.with(now, spi, out, |sa, ctx| {
            let mut effects = Effects::default();
            let names = sa.names;
            if let Some(state) = sa.established() {
                state.send_away(ctx, names, to, grace, why, &mut effects);
            }
            effects
        });
        true
    }
}

/// Time between two looks for clients when all have been told.
const PAUSE: Duration = Duration::from_secs(1);
