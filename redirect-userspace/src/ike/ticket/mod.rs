//! Tickets: what a gateway gives to its client, so that any gateway of the cluster can go on with the
//! client's session without asking who it is.
//!
//! A ticket has everything in it ("by value"): whoever has one of the cluster's keys can read it, and
//! nobody else. [`Sealer`] makes and opens tickets, [`UsedTickets`] remembers which ones have been
//! used, `sa::wallet` keeps those that we, as a client, were given.
//!
//! # Invariants
//!
//! - A ticket is octets that nobody without a key of the cluster can read, change or make.
//! - Every ticket has an end, and at most [`MAX_LENGTH`] octets: a request with one fits into the
//!   smallest packet that every network carries.
//! - Of tickets that are refused the sender learns nothing but that ([`Unusable`] is for the
//!   operator).
//! - Keys, and what was sealed, are zeroed when they are dropped.
//!
//! # Picture
//!
//! ```text
//! 0        1               5           9             25
//! ┌────────┬───────────────┬───────────┬─────────────┬──────────── - - ───────┬───────────┐
//! │version │ cluster       │ key       │ id          │ sealed content         │ tag       │
//! │   1    │ fingerprint 4 │ name 4    │    16       │                        │    16     │
//! └────────┴───────────────┴───────────┴─────────────┴──────────── - - ───────┴───────────┘
//! key name   = the first 4 octets of HMAC-SHA-256(key, "reconnect key name")
//! ticket key = prf+(key, "reconnect ticket" | header | cluster), 36 octets, used once: for AES-256-GCM
//!              with an IV of zeros, and the header as associated data
//! ```
//!
//! The id is random and names the ticket. Since the key of the AEAD is derived with it, no two nodes
//! have to agree about nonces.
//!
//! # References
//!
//! `RFC 5723 §5` (what has to be in it), `§6.1`, `§9`, `A.1`.

mod content;
mod sealer;
#[cfg(test)]
mod tests;
mod used;

use std::fmt::{Debug, Formatter};
use std::net::IpAddr;
use std::sync::Arc;

use super::authn::Means;
use super::config::Name;
use super::event::Failure;
use super::proposal::IkeSuite;
use super::wire::{Id, SpiI, SpiR};
use crate::secret::Secret;
use crate::time::UnixTime;

#[cfg(any(test, feature = "testing"))]
pub use self::content::{decode_content, encode_content};
pub use self::sealer::{Sealer, TicketKey, TicketKeyError};
pub use self::used::{MAX_USED, Used, UsedTickets};

/// Most octets of a ticket.
// RFC 7383 §4: IKE_SESSION_RESUME cannot be fragmented. With 1280 octets of an IPv6 packet there is
// room for the headers, the nonce, both NAT detection hashes, a cookie and REDIRECTED_FROM.
pub const MAX_LENGTH: usize = 1_024;

/// A ticket's name: random, so that no two tickets of a cluster have the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId(pub [u8; Self::LENGTH]);

impl TicketId {
    /// Octets of it.
    pub const LENGTH: usize = 16;
}

impl Debug for TicketId {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let [first, second, ..] = self.0;
        write!(f, "TicketId({first:02x}{second:02x}…)")
    }
}

/// What a ticket says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Who has made it, and of which SA it is.
    pub origin: Origin,
    /// When it was made.
    pub issued_at: UnixTime,
    /// Until when it is good.
    pub expires_at: UnixTime,
    /// How the client is dealt with, by name: every member has the same profiles.
    pub profile: Name,
    /// How it is known who the client is.
    pub basis: Basis,
    /// Who the client is: IDi.
    pub initiator: Id<'static>,
    /// Who the gateway is: IDr.
    pub responder: Id<'static>,
    /// Algorithms of the IKE SA.
    pub suite: IkeSuite,
    /// SK_d of the IKE SA.
    pub key: Secret,
    /// Addresses that the client had, at most [`MAX_ADDRESSES`].
    pub addresses: Vec<Address>,
}

/// The SA that a ticket is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The node, by its name.
    pub issuer: Arc<str>,
    /// Which run of the node's daemon: numbers of SAs and leases begin anew with each.
    pub run: u64,
    /// The SA's SPIs.
    pub spis: (SpiI, SpiR),
}

/// The last authentication with credentials: what a resumed session rests upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    /// When it was.
    pub authenticated_at: UnixTime,
    /// How the client proved itself.
    pub means: Means,
    /// Until when its certificate is valid, if it was one.
    pub valid_until: Option<UnixTime>,
    /// Who the client is for the authentication server, if that is not IDi (`RFC 5723 §5`, note 1).
    pub eap_identity: Option<Box<str>>,
}

/// An address that a client had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// From which pool.
    pub pool: Name,
    /// The address.
    pub address: IpAddr,
    /// Which of the leases of this address it is: on the node, and in the run, of the [`Origin`].
    pub lease: u64,
}

/// Most addresses of a client: one of a family.
pub const MAX_ADDRESSES: usize = 2;

/// Why a ticket cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// There are no keys here: nobody is given tickets.
    #[error("this node has no reconnect keys")]
    NoKeys,
    /// Too short for one, too long, or not what one looks like inside.
    #[error("these {length} octets are no ticket")]
    Malformed {
        /// Octets there are.
        length: usize,
    },
    /// Another version makes it.
    #[error("a ticket of version {version}")]
    Version {
        /// Which.
        version: u8,
    },
    /// Another cluster has made it.
    #[error("a ticket of another cluster")]
    OtherCluster,
    /// None of the keys is the one that it was sealed with.
    #[error("its key is not here any more, or never was")]
    UnknownKey,
    /// Somebody without the key has made or changed it.
    #[error("its seal is broken")]
    Forged,
    /// Its time is over.
    #[error("it was good until {}s after 1970", .expired_at.since_epoch().as_secs())]
    Expired {
        /// Since when.
        expired_at: UnixTime,
    },
    /// It was made later than now, by a clock that is wrong, here or there.
    #[error("it was made in the future: the clocks of the cluster differ")]
    Early,
    /// The operator has said that the client has to authenticate itself anew.
    #[error("the client authenticated itself before the operator's `not-before`")]
    Revoked,
    /// It has been used, or its SA has been ended by its peer or an operator.
    #[error("it has been used already, or its session has been ended")]
    Used,
}

impl Unusable {
    /// What it is counted as.
    #[must_use]
    pub const fn failure(self) -> Failure {
        match self {
            Self::NoKeys => Failure::TicketsOff,
            Self::Malformed { .. } => Failure::TicketMalformed,
            Self::Version { .. } => Failure::TicketVersion,
            Self::OtherCluster => Failure::TicketCluster,
            Self::UnknownKey => Failure::TicketKey,
            Self::Forged => Failure::TicketForged,
            Self::Expired { .. } | Self::Early => Failure::TicketExpired,
            Self::Revoked => Failure::TicketRevoked,
            Self::Used => Failure::TicketUsed,
        }
    }
}
