//! Which tickets have been used (`RFC 5723 §4.3.1`): each is good once in the cluster, and every
//! member is told of what another one has taken in.
//!
//! A node keeps one [`TicketLog`], whatever its part in the cluster; it moves from machine to machine
//! with the part. Whoever has used a ticket tells the master, and the master tells everybody.
//!
//! # Invariants
//!
//! - A ticket is in the log once, until it would expire, when there is room for it: at most
//!   [`MAX_TICKETS`] are. What nobody has heard of before is said to whoever holds the log, once.
//! - A slave tells each master what it has not heard from a master itself, and a master tells each
//!   slave everything: nothing is lost when the master changes.
//! - News go before what a peer has missed, and neither goes faster than its [`Pace`].

mod body;
mod telling;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU64;

use crate::gateway::GatewayName;
use crate::time::UnixTime;

pub(crate) use self::body::{read_tickets, write_tickets};
pub(crate) use self::telling::{Pace, Told, longest_body};

/// Most tickets that are remembered. Beyond, the one that expires first is forgotten.
pub const MAX_TICKETS: usize = 262_144;

/// A ticket that cannot be used any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedTicket {
    /// Which: what its maker calls it.
    pub id: [u8; 16],
    /// Until when it would have been good, in whole seconds.
    pub expires_at: UnixTime,
    /// The SA whose session goes on by it: it is void. `None` if that is gone already.
    pub origin: Option<TicketOrigin>,
}

/// The SA that a ticket is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketOrigin {
    /// The member that has made the ticket.
    pub issuer: GatewayName,
    /// Which run of its daemon that was.
    pub run: u64,
    /// The SPIs of the initiator and the responder.
    pub spis: (NonZeroU64, NonZeroU64),
}

/// From whom a node has heard of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// From its own gateway, or from a slave: a master may not know it.
    Below,
    /// From a master: everybody is told by it.
    Master,
}

/// The used tickets that a node knows, in the order in which it has heard of them.
#[derive(Debug, Default)]
pub struct TicketLog {
    entries: BTreeMap<u64, Entry>,
    by_id: HashMap<[u8; 16], u64>,
    by_expiry: BTreeSet<(UnixTime, u64)>,
    /// Number of the next one.
    end: u64,
}

#[derive(Debug)]
struct Entry {
    ticket: UsedTicket,
    source: Source,
}

impl TicketLog {
    /// How many tickets are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// This node has used a ticket.
    pub fn used(&mut self, now: UnixTime, ticket: UsedTicket) {
        self.note(now, ticket, Source::Below);
    }

    /// Notes a ticket, and says whether it was not known before and could still be used.
    pub(crate) fn note(&mut self, now: UnixTime, ticket: UsedTicket, source: Source) -> bool {
        if ticket.expires_at <= now || self.by_id.contains_key(&ticket.id) {
            return false;
        }
        while let Some((expires_at, number)) = self.by_expiry.first().copied()
            && (expires_at <= now || self.entries.len() >= MAX_TICKETS)
        {
            self.by_expiry.pop_first();
            if let Some(entry) = self.entries.remove(&number) {
                self.by_id.remove(&entry.ticket.id);
            }
        }
        self.by_id.insert(ticket.id, self.end);
        self.by_expiry.insert((ticket.expires_at, self.end));
        self.entries.insert(self.end, Entry { ticket, source });
        self.end += 1;
        true
    }

    /// The number that the next ticket gets.
    const fn end(&self) -> u64 {
        self.end
    }

    /// What has come between two numbers, with the numbers.
    fn between(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, &UsedTicket, Source)> {
        let entries = self.entries.range(from..to.max(from));
        entries.map(|(number, entry)| (*number, &entry.ticket, entry.source))
    }
}

#[cfg(test)]
mod tests;
