//! Cluster load balancing: which gateway takes the next client.
//!
//! The members report their load to the master, which owns the virtual IP; the master turns the
//! loads into shares, and the shares into the table that the fast path reads.
//!
//! Two machines talk to each other: a [`Slave`] finds the master and reports to it, a [`Master`]
//! keeps the members. [`protocol`] is what they say, octet by octet. A node is one of the two at
//! a time; when its role changes, one machine is dropped and the other one built, so that no
//! load survives by accident. What does survive is the [`View`] of the members.
//!
//! [`llg`] fills the table. It neither knows nor cares where the shares come from.
//!
//! # Picture
//!
//! ```text
//!            Register, Update, Hello                     members()
//!  Slave ───────────────────────────────▶ Master ───────────────────▶ shares ─▶ llg ─▶ fast path
//!        ◀───────────────────────────────
//!            View: all members, with ages
//!    │
//!    └─ view(): what the next Master begins with
//! ```

#![forbid(unsafe_code)]

mod auth;
mod config;
mod event;
mod frame;
pub mod llg;
mod load;
mod master;
pub mod policy;
pub mod protocol;
mod reason;
mod report;
mod slave;
mod tickets;
mod view;
mod wire;

pub use self::config::{
    ClusterKey, ClusterKeyError, ClusterName, ClusterNameError, LoadWeights, MasterSettings, OverloadAction,
    OverloadLimit, Policy, Settings, SlaveSettings,
};
pub use self::event::{Departure, Event};
pub use self::load::Load;
pub use self::master::{Limits, Master, MasterInput, MasterOutput, MemberRecord, Octets, PeerId};
pub use self::reason::{CloseReason, LeaveReason, Refusal};
pub use self::report::{Availability, BasisPoints, Registration, Report};
pub use self::slave::{ConnectionId, Slave, SlaveInput, SlaveOutput};
pub use self::tickets::{MAX_TICKETS, TicketLog, TicketOrigin, UsedTicket};
pub use self::view::{MAX_MEMBERS, View, ViewEntry};
pub use self::wire::Order;

#[cfg(test)]
mod exchange;
#[cfg(test)]
mod lan;
#[cfg(test)]
mod tests;
