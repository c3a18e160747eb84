//! EAP inside IKE_AUTH: the conversation of either side around a method.
//!
//! [`Server`] is the gateway's side where the gateway itself knows its users, [`Client`] the
//! other one. Where a RADIUS server knows them, the gateway only hands packets on.
//!
//! # Invariants
//!
//! - A conversation has limits: rounds, and octets.
//! - IKE delivers every message once and in order. So whatever is malformed, comes twice with other
//!   content or at the wrong time is an attack or a mistake, and ends the conversation: there is
//!   nothing to be waited for that would come after it.
//! - A client believes a Success only when its method is done (`RFC 3748 §4.2`).
//!
//! # References
//!
//! `RFC 3748`, `RFC 7296 §2.16`, `§3.16`.

mod client;
pub mod guesses;
mod method;
pub mod mschapv2;
pub mod packet;
pub mod proof;
mod server;
pub mod tls;

pub use client::{Client, Heard};
pub use guesses::Guesses;
pub use method::{Maker, Method, MethodContext, MethodError, Msk, Outcome, Turn};
pub use server::{Reply, Server};

use std::sync::Arc;

use crate::codec::DecodeError;
use crate::ike::wire::{Eap, EapCode, EapType};

/// How clients prove who they are, for a profile of ours as a gateway.
#[derive(Debug)]
pub struct Gate {
    /// Who knows the users.
    pub by: By,
    /// Whether the client is asked for its identity whatever its IDi is. If it is not, it is asked when
    /// its IDi says nothing about a user.
    pub asks_identity: bool,
    /// Whether clients that are sent elsewhere in IKE_AUTH are sent in its first response, when they have
    /// only said who they are, and not in the last one (`RFC 5685 §6`).
    pub redirects_first: bool,
    /// Whether clients that would believe us by EAP alone get no other proof (`RFC 5998`). strongSwan
    /// always says that it would, and does not if it is told to want a signature.
    pub stands_alone: bool,
}

/// Who knows the users of a profile.
#[derive(Debug)]
pub enum By {
    /// We do: the method that is begun with first, then those that a Nak may ask for.
    Us(Vec<Arc<dyn Maker>>),
    /// A RADIUS server.
    Aaa,
}

/// How we prove who we are, as a client.
#[derive(Debug)]
pub struct Credentials {
    /// Who we are to the method.
    pub identity: Box<str>,
    /// The method.
    pub maker: Arc<dyn Maker>,
    /// Whether the gateway may do without its own AUTH before the end (`RFC 5998`).
    pub stands_alone: bool,
}

/// Why a conversation has failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EapError {
    /// The method says so.
    #[error("{kind}: {error}")]
    Method {
        /// Which.
        kind: EapType,
        /// Why.
        error: MethodError,
    },
    /// A packet that cannot be read.
    #[error("{0}")]
    Malformed(#[from] DecodeError),
    /// A packet of a code that the other side does not send, or not then.
    #[error("an EAP {0} at the wrong time")]
    Code(EapCode),
    /// A packet that answers something else.
    #[error("the EAP identifier is {found}, expected was {expected}")]
    Identifier {
        /// What came.
        found: u8,
        /// What should have.
        expected: u8,
    },
    /// A packet of a type that has no business there.
    #[error("{0} at the wrong time")]
    Type(EapType),
    /// No method that both have.
    #[error("no common method: the client wants {0}")]
    NoMethod(Box<str>),
    /// An identity that is none.
    #[error("the EAP identity is too long, or no text")]
    Identity,
    /// More rounds or octets than there may be.
    #[error("the conversation has no end")]
    Limit,
    /// Success before the method is done: somebody who cannot prove who he is wants to be believed.
    #[error("Success before the method was done")]
    Premature,
    /// The server says no, and no more.
    #[error("the server has refused")]
    Refused,
    /// A packet of ours that does not fit.
    #[error("a packet of ours is too long")]
    TooLong,
}

impl EapError {
    const fn method(kind: EapType, error: MethodError) -> Self {
        Self::Method { kind, error }
    }
}

/// How much a conversation may take.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    rounds: u16,
    octets: usize,
}

impl Budget {
    /// Most packets that are taken in. EAP-TLS with long chains of certificates needs some dozens.
    pub const ROUNDS: u16 = 100;
    /// Most octets of all packets that are taken in.
    pub const OCTETS: usize = 128 * 1_024;

    /// Takes a packet in.
    ///
    /// # Errors
    ///
    /// [`EapError::Limit`]
    pub fn spend(&mut self, packet: &Eap<'_>) -> Result<(), EapError> {
        self.rounds = self.rounds.saturating_add(1);
        self.octets = self.octets.saturating_add(packet.packet().len());
        if self.rounds > Self::ROUNDS || self.octets > Self::OCTETS { Err(EapError::Limit) } else { Ok(()) }
    }
}

/// The text of an identity. It may be empty: whoever has nothing to say here, such as Android, says so
/// (`RFC 3748 §5.1`), and its method says who it is.
///
/// # Errors
///
/// [`EapError::Identity`]
pub fn identity<'a>(packet: &'a Eap<'_>) -> Result<&'a str, EapError> {
    // RFC 3748 §5.1: options may follow a NUL, which belong to no identity.
    let data = packet.data().split(|octet| *octet == 0).next().unwrap_or_default();
    let text = std::str::from_utf8(data).map_err(|_not_text| EapError::Identity)?;
    let is_wrong = text.len() > MAX_IDENTITY || text.contains(char::is_control);
    if is_wrong { Err(EapError::Identity) } else { Ok(text) }
}

/// Longest identity: what a RADIUS attribute holds.
pub const MAX_IDENTITY: usize = 253;

#[cfg(test)]
mod tests;
