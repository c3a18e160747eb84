//! Losing all clients without losing one: each is told to go elsewhere, at a pace that the others
//! can take.
//!
//! # References
//!
//! `RFC 5685 §5`.

use std::collections::VecDeque;
use std::time::Duration;

use super::Endpoint;
use crate::gateway::{GatewayAddress, GatewayAddresses};
use crate::ike::event::{CloseReason, RedirectReason};
use crate::ike::io::{Drain, Output, Redirect, Redirected, Selection};
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
            for spi in self.clients() {
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

    /// The SAs whose peers are clients of this node.
    fn clients(&self) -> Vec<u64> {
        let is_client = |spi: &u64| {
            let peer = self.table.get(*spi).and_then(|sa| sa.peer());
            peer.is_some_and(|peer| !peer.are_we_client)
        };
        self.selected(&Selection::All).into_iter().filter(is_client).collect()
    }

    /// The SAs that can be told to go, in the order of their numbers.
    fn movable(&self) -> Vec<u64> {
        let is_movable = |spi: &u64| self.table.get(*spi).is_some_and(|sa| sa.may_be_sent_away());
        self.selected(&Selection::All).into_iter().filter(is_movable).collect()
    }

    /// Tells clients to go elsewhere that an operator has chosen; says how many were meant, and told.
    pub fn redirect(&mut self, now: Now, redirect: &Redirect, out: &mut Outbox<Output>) -> Redirected {
        let Redirect { selection, percent, to, grace } = redirect;
        let all: Vec<u64> = self.selected(selection).into_iter().filter(|spi| self.is_known(*spi)).collect();
        let most = all.len().saturating_mul(usize::from(*percent)).div_ceil(100);
        let mut told = 0;
        for spi in &all {
            if told < most && self.send_chosen(now, *spi, to.as_ref(), *grace, out) {
                told += 1;
            }
        }
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Redirected { selected: number(all.len()), told: number(told) }
    }

    /// Whether the peer has proved who it is.
    fn is_known(&self, spi: u64) -> bool {
        self.table.get(spi).is_some_and(|sa| sa.peer().is_some())
    }

    fn send_chosen(
        &mut self,
        now: Now,
        spi: u64,
        to: Option<&GatewayAddresses>,
        grace: Duration,
        out: &mut Outbox<Output>,
    ) -> bool {
        let Some(local) = self.table.get(spi).and_then(|sa| sa.local()) else { return false };
        let to = match to {
            // Whoever is there already would come back and be one more.
            Some(to) if to.contains(local) => return false,
            Some(to) => match to.for_peer_of(local) {
                Some(to) => Some(to),
                None => return false,
            },
            None => None,
        };
        self.send_away(now, spi, to, grace, RedirectReason::Operator, out)
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
