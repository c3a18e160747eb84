//! What the master is told, and what it tells its caller to do.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::clb::config::Settings;
use crate::clb::event::Event;
use crate::clb::reason::CloseReason;
use crate::clb::report::{Registration, Report};
use crate::clb::tickets::UsedTicket;
use crate::clb::view::MAX_MEMBERS;
use crate::gateway::GatewayName;

/// A connection at the master. The caller gives each a number that it never uses again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// How much the master takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Members, this node included: at most [`MAX_MEMBERS`].
    pub members: usize,
    /// Connections that have not registered yet. The oldest one makes room for a new one. By
    /// default all members of the largest cluster can come at once.
    pub pending: usize,
    /// Of these, from one address.
    pub pending_per_source: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { members: MAX_MEMBERS, pending: MAX_MEMBERS, pending_per_source: 8 }
    }
}

/// A fact for the master.
#[derive(Clone, Debug)]
pub enum MasterInput<'a> {
    /// A connection came in.
    Accepted {
        /// Its number.
        peer: PeerId,
        /// From where.
        from: SocketAddr,
    },
    /// Octets came.
    Bytes {
        /// On which connection.
        peer: PeerId,
        /// The octets.
        octets: &'a [u8],
    },
    /// A connection is closed, by the peer, by an error, or because more than
    /// [`Master::MAX_BACKLOG`](super::Master::MAX_BACKLOG) octets were waiting to be sent.
    Closed {
        /// Which.
        peer: PeerId,
    },
    /// The operator takes a member out of service, or back into it, which lasts also while it is
    /// away and under the next master. Who is no member cannot be drained.
    Drain {
        /// Which.
        name: GatewayName,
        /// Whether it is to take no more clients.
        drain: bool,
    },
    /// This node's own load, taken now.
    Local(Report),
    /// This node's own registration, when it has changed.
    LocalRegistration(Registration),
    /// Other settings. Peers that have proven that they know an old key stay.
    Reconfigure {
        /// The cluster's.
        settings: Settings,
        /// How much to take on. Members beyond a lower limit stay.
        limits: Limits,
    },
    /// This node stops being the master: every slave is told, and every connection closed.
    /// Nothing has an effect afterwards.
    Stop,
    /// This node's gateway has used a ticket.
    TicketUsed(UsedTicket),
    /// The deadline has come.
    Timeout,
}

/// What the caller of the master has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterOutput {
    /// Close a connection once what was written is sent, at once if that takes time. Its number
    /// is not used any more, and no input about it is needed.
    Close {
        /// Which.
        peer: PeerId,
        /// Why.
        reason: CloseReason,
    },
    /// Something happened.
    Event(Event),
    /// [`Master::members`](super::Master::members) says something else than before. At most once per step.
    MembersChanged,
    /// A member has used a ticket.
    TicketUsed(UsedTicket),
    /// Send octets.
    Write {
        /// On which connection.
        peer: PeerId,
        /// The octets.
        octets: Octets,
    },
}

/// Octets to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Octets {
    /// For one peer.
    Own(Vec<u8>),
    /// For many peers.
    Shared(Arc<[u8]>),
}

impl AsRef<[u8]> for Octets {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Own(octets) => octets,
            Self::Shared(octets) => octets,
        }
    }
}
