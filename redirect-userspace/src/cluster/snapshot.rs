//! What the operator may see of the cluster.

use std::fmt::{Display, Formatter};

use std::time::Duration;

use crate::clb::BasisPoints;
use crate::cluster::{Member, Settings};
use crate::gateway::{GatewayIndex, GatewayName};

/// The cluster at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// This node's role.
    pub role: Role,
    /// How it fares in it.
    pub status: Status,
    /// The HSRP group that elects the master; `None` when nobody is elected.
    pub standby_group: Option<Box<str>>,
    /// The settings.
    pub settings: Settings,
    /// The table that was published last, 0 before the first.
    pub generation: u32,
    /// Slots of the table.
    pub slots: usize,
    /// The members, by name.
    pub gateways: Vec<GatewaySnapshot>,
    /// Who is drained and no member now, by name.
    pub drained_away: Vec<GatewayName>,
    /// Redirects to members that have left since the daemon was started.
    pub former_redirects: u64,
}

/// A member at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewaySnapshot {
    /// Name, addresses, weight, state.
    pub member: Member,
    /// Its position in the maps; `None` while it waits for one.
    pub index: Option<GatewayIndex>,
    /// How many slots lead to it.
    pub slots: usize,
    /// The part of all slots that leads to it, 0 to 1.
    pub share: f64,
    /// Redirects to it since it joined.
    pub redirects: u64,
    /// What it reports about itself; `None` for a member that is only configured.
    pub report: Option<ReportSnapshot>,
}

/// What a member reports about itself, and what the master makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportSnapshot {
    /// 1 to 100, higher is preferred.
    pub priority: u8,
    /// IKE and Child SAs that it takes.
    pub max_session: u32,
    /// IKE and Child SAs that it has.
    pub sessions: u32,
    /// Sessions of those it takes.
    pub crypto: BasisPoints,
    /// Processors and memory.
    pub system: BasisPoints,
    /// Both, by the master's weights.
    pub total: BasisPoints,
    /// How long ago it was heard; zero for this node.
    pub heard: Duration,
    /// Why it has the share it has.
    pub why: &'static str,
}

/// A node's role in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Owns the VIP and collects the loads.
    Master,
    /// Reports its load to the master.
    Slave,
    /// Neither: the members are configured, not elected.
    None,
}

impl Role {
    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Slave => "slave",
            Self::None => "none",
        }
    }
}

impl Display for Role {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a node fares in its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// A slave that is not connected to the master.
    Connecting,
    /// A slave that reports to the master.
    Connected,
    /// Bound to an HSRP group that is neither active nor knows who is.
    Electing,
    /// The operator has shut the cluster down on this node.
    Shutdown,
    /// The members are not known yet.
    Starting,
    /// At least one slot leads to a gateway.
    Up,
    /// No slot does: every client stays with the node that owns the VIP.
    NoGateway,
}

impl Status {
    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Electing => "electing",
            Self::Shutdown => "shutdown",
            Self::Starting => "starting",
            Self::Up => "up",
            Self::NoGateway => "no-gateway",
        }
    }
}

impl Display for Status {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
