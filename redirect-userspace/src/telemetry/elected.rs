//! What happens in a cluster whose master is elected: roles, VIP, members that report, hooks.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::Severity;
use crate::cluster::{OverloadAction, Role};
use crate::hsrp::GroupName;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elected {
    /// Every member has reached the overload limit.
    AllOverloaded {
        /// What becomes of new clients.
        action: OverloadAction,
    },
    /// A notify hook did not run, or not well.
    HookFailed {
        /// The group whose role it was to be told.
        group: GroupName,
        /// The program.
        script: PathBuf,
        /// Why.
        why: String,
    },
    /// A notify hook was told a role.
    HookRan {
        /// The group whose role it was told.
        group: GroupName,
        /// The program.
        script: PathBuf,
    },
    /// Members cannot connect to this master.
    ListenFailed {
        /// Where it would listen.
        address: SocketAddr,
        /// What the kernel says.
        why: String,
    },
    /// Some member has room again.
    OverloadCleared,
    /// The election's thread has no real-time priority: a busy machine can make it late.
    RealTimeDenied {
        /// What the kernel says.
        why: String,
    },
    /// This node has another role in the cluster.
    RoleChanged {
        /// Before.
        from: Role,
        /// Now.
        to: Role,
        /// Why.
        why: String,
    },
    /// This node has the VIP and answers for it.
    TookOver {
        /// The group whose VIP it is.
        group: GroupName,
        /// From the decision to the first request that can be answered.
        took: Duration,
    },
    /// The VIP is on the interface.
    VipAcquired {
        /// The group whose VIP it is.
        group: GroupName,
        /// All its addresses.
        vips: Vec<IpAddr>,
    },
    /// Another host answers for the VIP as well.
    VipConflict {
        /// The group whose VIP it is.
        group: GroupName,
        /// The address.
        vip: IpAddr,
        /// Ethernet address of the other host.
        by: String,
    },
    /// The VIP could not be brought to the interface, or not be removed.
    VipFailed {
        /// The group whose VIP it is.
        group: GroupName,
        /// What the kernel says.
        why: String,
    },
    /// The VIP has left the interface.
    VipReleased {
        /// The group whose VIP it is.
        group: GroupName,
    },
}

impl Elected {
    /// The name operators see.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AllOverloaded { .. } => "all-overloaded",
            Self::HookFailed { .. } => "hook-failed",
            Self::HookRan { .. } => "hook-ran",
            Self::ListenFailed { .. } => "listen-failed",
            Self::OverloadCleared => "overload-cleared",
            Self::RealTimeDenied { .. } => "real-time-denied",
            Self::RoleChanged { .. } => "role-changed",
            Self::TookOver { .. } => "took-over",
            Self::VipAcquired { .. } => "vip-acquired",
            Self::VipConflict { .. } => "vip-conflict",
            Self::VipFailed { .. } => "vip-failed",
            Self::VipReleased { .. } => "vip-released",
        }
    }

    /// How much it matters.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
            Self::HookRan { .. }
            | Self::OverloadCleared
            | Self::RoleChanged { .. }
            | Self::TookOver { .. }
            | Self::VipAcquired { .. }
            | Self::VipReleased { .. } => Severity::Info,
            Self::AllOverloaded { .. } | Self::HookFailed { .. } | Self::RealTimeDenied { .. } => {
                Severity::Warn
            }
            Self::ListenFailed { .. } | Self::VipConflict { .. } | Self::VipFailed { .. } => Severity::Error,
        }
    }

    /// Its details by name.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::AllOverloaded { action } => vec![("action", action.to_string())],
            Self::HookFailed { group, script, why } => vec![
                ("group", group.to_string()),
                ("script", script.display().to_string()),
                ("why", why.clone()),
            ],
            Self::HookRan { group, script } => {
                vec![("group", group.to_string()), ("script", script.display().to_string())]
            }
            Self::ListenFailed { address, why } => {
                vec![("address", address.to_string()), ("why", why.clone())]
            }
            Self::OverloadCleared => vec![],
            Self::RealTimeDenied { why } => vec![("why", why.clone())],
            Self::RoleChanged { from, to, why } => {
                vec![("from", from.to_string()), ("to", to.to_string()), ("why", why.clone())]
            }
            Self::TookOver { group, took } => {
                vec![("group", group.to_string()), ("took-us", took.as_micros().to_string())]
            }
            Self::VipAcquired { group, vips } => {
                vec![("group", group.to_string()), ("vips", list(vips))]
            }
            Self::VipConflict { group, vip, by } => {
                vec![("group", group.to_string()), ("vip", vip.to_string()), ("by", by.clone())]
            }
            Self::VipFailed { group, why } => vec![("group", group.to_string()), ("why", why.clone())],
            Self::VipReleased { group } => vec![("group", group.to_string())],
        }
    }
}

/// In words, for a person who reads one line.
impl fmt::Display for Elected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllOverloaded { action } => {
                write!(f, "every gateway is overloaded, new clients: {action}")
            }
            Self::HookFailed { group, script, why } => {
                write!(f, "{group}: hook {} failed: {why}", script.display())
            }
            Self::HookRan { group, script } => write!(f, "{group}: hook {} was told", script.display()),
            Self::ListenFailed { address, why } => {
                write!(f, "members cannot connect to {address}: {why}")
            }
            Self::OverloadCleared => f.write_str("some gateway has room again"),
            Self::RealTimeDenied { why } => write!(f, "the election has no real-time priority: {why}"),
            Self::RoleChanged { from, to, why } => write!(f, "role {from} -> {to}: {why}"),
            Self::TookOver { group, took } => {
                write!(f, "{group}: took the VIP over within {} us", took.as_micros())
            }
            Self::VipAcquired { group, vips } => write!(f, "{group}: has the VIP {}", list(vips)),
            Self::VipConflict { group, vip, by } => write!(f, "{group}: {by} answers for the VIP {vip}, too"),
            Self::VipFailed { group, why } => write!(f, "{group}: the VIP cannot be moved: {why}"),
            Self::VipReleased { group } => write!(f, "{group}: the VIP has left"),
        }
    }
}

/// Addresses in one string.
pub(super) fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
pub(super) mod fixtures {
    use super::*;

    /// One event of each kind.
    pub(crate) fn events() -> Vec<Elected> {
        let group = || "group1".parse::<GroupName>().unwrap();
        let script = || PathBuf::from("/etc/redirectd/notify");
        let master = "10.50.0.5:2012".parse().unwrap();
        let vip: IpAddr = "10.50.0.5".parse().unwrap();
        vec![
            Elected::AllOverloaded { action: OverloadAction::Spread },
            Elected::HookFailed { group: group(), script: script(), why: "exit status: 1".to_owned() },
            Elected::HookRan { group: group(), script: script() },
            Elected::ListenFailed { address: master, why: "Address already in use".to_owned() },
            Elected::OverloadCleared,
            Elected::RealTimeDenied { why: "Operation not permitted".to_owned() },
            Elected::RoleChanged { from: Role::Slave, to: Role::Master, why: "group1 is active".to_owned() },
            Elected::TookOver { group: group(), took: Duration::from_micros(1_840) },
            Elected::VipAcquired { group: group(), vips: vec![vip, "fd50::5".parse().unwrap()] },
            Elected::VipConflict { group: group(), vip, by: "0050.5600.0001".to_owned() },
            Elected::VipFailed { group: group(), why: "No such device".to_owned() },
            Elected::VipReleased { group: group() },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_take_over_is_told_with_its_time() {
        let took = Elected::TookOver { group: "group1".parse().unwrap(), took: Duration::from_micros(1_840) };

        assert_eq!(took.to_string(), "group1: took the VIP over within 1840 us");
    }
}
