//! What a slave is told, and what it tells its caller to do.

use std::net::SocketAddr;

use crate::clb::config::{Settings, SlaveSettings};
use crate::clb::event::Event;
use crate::clb::reason::{CloseReason, LeaveReason};
use crate::clb::report::{Registration, Report};
use crate::clb::tickets::UsedTicket;
use crate::clb::wire::Order;

/// A connection of a slave. The slave gives each attempt a number that it never uses again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A fact for a slave.
#[derive(Clone, Debug)]
pub enum SlaveInput<'a> {
    /// Octets came.
    Bytes {
        /// On which connection.
        connection: ConnectionId,
        /// The octets.
        octets: &'a [u8],
    },
    /// The master or an error closed a connection.
    Closed {
        /// Which.
        connection: ConnectionId,
    },
    /// A connection that was dialled is open.
    Connected {
        /// Which.
        connection: ConnectionId,
    },
    /// A connection could not be opened.
    Failed {
        /// Which.
        connection: ConnectionId,
    },
    /// This node leaves the cluster, until it is told of a master again.
    Leave(LeaveReason),
    /// This node's load, taken now.
    Local(Report),
    /// This node's registration, when it has changed.
    LocalRegistration(Registration),
    /// A node has become the master, and this is where it listens. Also when the address is the
    /// same as before, but the node is not.
    MasterAt(SocketAddr),
    /// No node is known to be the master.
    NoMaster,
    /// Other settings. A connection whose peers have proven that they know an old key stays.
    Reconfigure {
        /// The cluster's.
        settings: Settings,
        /// This node's.
        slave: SlaveSettings,
    },
    /// This node's gateway has used a ticket.
    TicketUsed(UsedTicket),
    /// The deadline has come.
    Timeout,
}

/// What the caller of a slave has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlaveOutput {
    /// Close a connection once what was written is sent, at once if that takes time; or stop
    /// opening it. No input about it is needed.
    Close {
        /// Which.
        connection: ConnectionId,
        /// Why.
        reason: CloseReason,
    },
    /// Open a connection.
    Dial {
        /// Its number.
        connection: ConnectionId,
        /// Where to.
        to: SocketAddr,
    },
    /// Something happened.
    Event(Event),
    /// The operator wants something at the master.
    Ordered(Order),
    /// Another member has used a ticket.
    TicketUsed(UsedTicket),
    /// [`Slave::view`](super::Slave::view) gives other members than before.
    ViewChanged,
    /// Send octets.
    Write {
        /// On which connection.
        connection: ConnectionId,
        /// The octets.
        octets: Vec<u8>,
    },
}
