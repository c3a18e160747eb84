//! What is remembered of tickets: those that we, as a client, were given, with what has to be known with
//! each; and which ones of ours have been used.
//!
//! # References
//!
//! `RFC 5723 §4.2`, `§6.2`.

use std::collections::HashMap;
use std::fmt::{Debug, Formatter};
use std::net::IpAddr;

use crate::ike::authn::PeerAuthenticated;
use crate::ike::config::Name;
use crate::ike::io::SaId;
use crate::ike::proposal::IkeSuite;
use crate::ike::sa::keymat::DerivationKey;
use crate::ike::ticket::UsedTickets;
use crate::ike::wire::Id;
use crate::secret::Secret;
use crate::time::Instant;

/// Both.
pub(crate) struct Tickets {
    pub(crate) used: Box<dyn UsedTickets>,
    pub(crate) wallet: Wallet,
}

/// A ticket, and the session that it is of.
#[derive(Clone)]
pub(crate) struct Kept {
    /// As the gateway gave it.
    pub(crate) ticket: Secret,
    pub(crate) expires_at: Instant,
    /// Of which SA it is.
    pub(crate) sa: SaId,
    pub(crate) suite: IkeSuite,
    pub(crate) derivation: DerivationKey,
    /// Who the gateway has proved to be.
    pub(crate) peer: PeerAuthenticated,
    /// Who we are.
    pub(crate) local: Id<'static>,
    /// Addresses that we had.
    pub(crate) addresses: Vec<IpAddr>,
}

impl Debug for Kept {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Kept({} octets with {}, until {:?})",
            self.ticket.len(),
            self.peer.shown(),
            self.expires_at
        )
    }
}

/// The tickets by their connections: at most one for each.
#[derive(Debug, Default)]
pub(crate) struct Wallet {
    tickets: HashMap<Name, Kept>,
}

impl Wallet {
    /// Keeps a ticket, in the place of the one before.
    pub(crate) fn keep(&mut self, connection: Name, kept: Kept) {
        self.tickets.insert(connection, kept);
    }

    /// Takes the ticket of a connection out. A ticket whose time is over is gone (`RFC 5723 §4.3.1`:
    /// it must not be presented).
    pub(crate) fn take(&mut self, connection: &Name, now: Instant) -> Option<Kept> {
        self.tickets.remove(connection).filter(|kept| now < kept.expires_at)
    }

    /// The session of a ticket has ended by somebody's will: the ticket is void (`RFC 5723 §6.2`).
    pub(crate) fn forget(&mut self, connection: &Name, sa: SaId) {
        if self.tickets.get(connection).is_some_and(|kept| kept.sa == sa) {
            self.tickets.remove(connection);
        }
    }

    /// The SA that the ticket of a connection is of.
    pub(crate) fn session(&self, connection: &Name) -> Option<SaId> {
        self.tickets.get(connection).map(|kept| kept.sa)
    }
}
