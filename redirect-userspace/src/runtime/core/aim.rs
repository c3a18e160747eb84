//! Where the gateway sends clients that the fast path does not see: the table of the fast path, and
//! the members that it leads to.

use std::sync::Arc;

use crate::cluster::Snapshot;
use crate::gateway::LlgTable;
use crate::ike::redirect::{Target, Targets};

use super::Core;

/// What the gateway was told last, and what it is told next.
pub(super) struct Aim {
    /// The table in force.
    pub(super) table: Option<LlgTable>,
    multiplier: u64,
    told: Arc<Targets>,
}

impl Aim {
    /// Nobody is sent anywhere yet.
    pub(super) fn new(multiplier: u64) -> Self {
        Self { table: None, multiplier, told: Arc::default() }
    }
}

impl Core {
    /// Tells the gateway who the members are and which of them is least loaded, if that has changed.
    pub(super) fn aim(&mut self, cluster: &Snapshot) {
        let (Some(gateway), Some(table)) = (&self.gateway, &self.aim.table) else { return };
        let mut members: Vec<Option<Target>> = Vec::new();
        for member in &cluster.gateways {
            let Some(index) = member.index else { continue };
            if members.len() <= index.position() {
                members.resize(index.position() + 1, None);
            }
            let target =
                Target { addresses: member.member.addresses.clone(), is_self: member.member.is_self };
            if let Some(place) = members.get_mut(index.position()) {
                *place = Some(target);
            }
        }
        let vips = if self.armed.is_ok() { self.vips() } else { Vec::new() };
        let targets = Targets::new(table, members, self.aim.multiplier, vips);
        if targets != *self.aim.told {
            self.aim.told = Arc::new(targets);
            gateway.set_targets(&self.aim.told);
        }
    }
}
