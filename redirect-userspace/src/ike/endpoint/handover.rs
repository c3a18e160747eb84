//! Clients of an address that moves to another node: they came to the cluster's address, and are
//! served under it until it goes.
//!
//! Nothing is waited for. What a client answers may go to the other node, which has no such SA and
//! says nothing to a response; so it is told once, repeated as any request is, and its SA goes on
//! here until its grace is over. When the address comes back meanwhile, answers arrive again and
//! everything goes on as with any other redirect.
//!
//! # References
//!
//! `RFC 5685 §4`, `§5`; `RFC 7296 §2.21.4`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Endpoint, decline};
use crate::ike::event::RedirectReason;
use crate::ike::io::{HandOver, Output, Path, Selection};
use crate::ike::sa::Effects;
use crate::ike::wire::{Direction, ExchangeType, Header, NotifyType};
use crate::machine::Outbox;
use crate::time::{Instant, Now};

impl Endpoint {
    /// These addresses are another node's now: lets go of everybody who came to one of them.
    pub(super) fn hand_over(&mut self, now: Now, hand_over: Arc<HandOver>, out: &mut Outbox<Output>) {
        self.handed_over = hand_over;
        if self.handed_over.addresses.is_empty() {
            return;
        }
        for spi in self.selected(&Selection::All) {
            self.let_go(now, spi, out);
        }
    }

    /// Tells everybody to go who can be told. Those who cannot are told that their SA is gone when it
    /// is.
    pub(super) fn evacuate(&mut self, now: Now, grace: Duration, out: &mut Outbox<Output>) {
        for spi in self.selected(&Selection::All) {
            let Some(sa) = self.table.get(spi).filter(|sa| sa.may_be_sent_away()) else { continue };
            let Some(local) = sa.local() else { continue };
            let Some(to) = self.targets.away(sa.names.spi_i, local) else { continue };
            self.with(now, spi, out, |sa, ctx| {
                let mut effects = Effects::default();
                let names = sa.names;
                if let Some(state) = sa.established() {
                    state.hurry_away(ctx, names, to, grace, RedirectReason::Shutdown, &mut effects);
                }
                effects
            });
        }
    }

    /// Whether an address of the cluster is another node's now.
    pub(super) fn is_handed_over(&self, address: IpAddr) -> bool {
        self.handed_over.addresses.contains(&address)
    }

    /// Lets go of a client that came to an address which is another node's now.
    pub(super) fn let_go(&mut self, now: Now, spi: u64, out: &mut Outbox<Output>) {
        let Some(sa) = self.table.get(spi) else { return };
        let Some(local) = sa.local().filter(|local| self.is_handed_over(*local)) else { return };
        if sa.peer().is_none_or(|peer| peer.are_we_client) {
            return;
        }
        let own = self.handed_over.own.as_ref().and_then(|own| own.for_peer_of(local));
        let to = own.or_else(|| self.targets.away(sa.names.spi_i, local));
        let grace = self.handed_over.grace;
        self.with(now, spi, out, |sa, ctx| {
            let mut effects = Effects::default();
            let names = sa.names;
            if let Some(state) = sa.established() {
                state.let_go(ctx, names, to, grace, &mut effects);
            }
            effects
        });
    }

    /// Tells whoever asks for an SA that nobody has any more that there is none: it was another
    /// node's, or this node has begun anew. A response is never answered, and no answer is longer
    /// than what it answers.
    pub(super) fn answer_unknown(
        &mut self,
        now: Now,
        path: Path,
        header: &Header,
        length: usize,
        out: &mut Outbox<Output>,
    ) {
        // Whoever begins an SA has no SPI of ours: such a request is nothing.
        let begins = matches!(header.exchange, ExchangeType::IkeSaInit | ExchangeType::IkeSessionResume);
        if header.direction == Direction::Response || begins || !self.unknown.may_answer(now.mono) {
            return;
        }
        if decline(header, path, length, NotifyType::InvalidIkeSpi, out) {
            self.counters.unknown_answered = self.counters.unknown_answered.saturating_add(1);
        }
    }
}

/// How many answers may still be given to requests for SAs that there are not.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u32,
    full_at: Instant,
}

impl Allowance {
    pub(super) const fn new(now: Instant) -> Self {
        Self { left: ANSWERS, full_at: now }
    }

    fn may_answer(&mut self, now: Instant) -> bool {
        if self.full_at + PERIOD <= now {
            *self = Self::new(now);
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

/// Answers in each [`PERIOD`].
const ANSWERS: u32 = 100;
const PERIOD: Duration = Duration::from_secs(1);
