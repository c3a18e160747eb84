//! Packets that bring a connection up: those that it is for while it is down.

use std::fmt::{Display, Formatter};
use std::net::IpAddr;
use std::sync::Arc;

use super::config::Connection;
use super::wire::{AddressRange, Ports, Span, TrafficSelector};
use crate::gateway::unicast;

/// The number of a trap. Never used again for another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrapId(pub u64);

impl Display for TrapId {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.0, f)
    }
}

/// What is watched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// By what it is known.
    pub id: TrapId,
    /// Where the packets come from.
    pub local_ts: Arc<[TrafficSelector]>,
    /// Where they want to go.
    pub remote_ts: Arc<[TrafficSelector]>,
    /// Where the peer is looked for first.
    pub remote: IpAddr,
}

impl Trap {
    /// The packets of a connection; `None` if nobody could be asked for it. Those from anywhere, if it is
    /// to be told only then where they may come from.
    pub(crate) fn new(id: TrapId, connection: &Connection) -> Option<Self> {
        let profile = &connection.profile;
        let local_ts = match &profile.local_ts[..] {
            [] => anywhere().into(),
            own => own.into(),
        };
        let remote_ts = profile.remote_ts.as_slice().into();
        Some(Self { id, local_ts, remote_ts, remote: connection.remotes.first()?.ip() })
    }

    /// Whether a packet to there is a reason to bring a connection up. What a host tells its link, as it
    /// does by itself on every interface, is none.
    #[must_use]
    pub const fn is_reason(destination: IpAddr) -> bool {
        unicast(destination).is_ok()
    }
}

/// Everything, of either family.
fn anywhere() -> [TrafficSelector; 2] {
    let everything = |addresses| TrafficSelector::Ip { protocol: 0, ports: Ports::Any, addresses };
    [everything(AddressRange::V4(Span::MAX_V4)), everything(AddressRange::V6(Span::MAX_V6))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_tells_its_link_brings_nothing_up() {
        let is_one = |address: &str| Trap::is_reason(address.parse().unwrap());

        assert!(is_one("10.99.0.1") && is_one("fd99::1"));
        for address in ["ff02::16", "fe80::1", "224.0.0.22", "255.255.255.255"] {
            assert!(!is_one(address), "{address}");
        }
    }
}
