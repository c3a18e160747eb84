//! Where the gateway sends clients that the fast path does not see: the table of the fast path, and
//! the members that it leads to.

use std::sync::Arc;

use crate::clb::BasisPoints;
use crate::clb::llg::fill;
use crate::cluster::{GatewaySnapshot, MemberState, Role, Snapshot, Told};
use crate::gateway::{GatewayIndex, LlgTable};
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

    /// Whether clients that have to leave this node have somewhere to go.
    pub(super) fn leads_away(&self) -> bool {
        self.told.leads_away()
    }
}

impl Core {
    /// Tells the gateway who the members are and which of them is least loaded, if that has changed.
    pub(super) fn aim(&mut self, cluster: &Snapshot) {
        let Some(gateway) = &self.gateway else { return };
        let targets = match (cluster.role, &cluster.told, &self.aim.table) {
            (Role::Slave, Some(told), _) => leaving(told, self.aim.multiplier),
            // What it was told last is better than nothing.
            (Role::Slave, None, _) | (_, _, None) => return,
            (Role::Master | Role::None, _, Some(table)) => self.deciding(cluster, table),
        };
        if targets != *self.aim.told {
            self.aim.told = Arc::new(targets);
            gateway.set_targets(&self.aim.told);
        }
    }

    /// The table of the fast path.
    fn deciding(&self, cluster: &Snapshot, table: &LlgTable) -> Targets {
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
        let clients = self.config.redirect.clients_to_map();
        Targets::new(table, members, self.aim.multiplier, vips).only(clients)
    }
}

/// What a slave can do for clients that have to leave it: the other members, by the room that each
/// has left. Only when nobody has room do those count that are overloaded.
fn leaving(told: &Told, multiplier: u64) -> Targets {
    let others = |wanted: MemberState| {
        GatewayIndex::all()
            .zip(&told.members)
            .filter(move |(_, it)| !it.member.is_self && it.member.state == wanted)
            .map(|(index, it)| (index, room(it)))
    };
    let mut shares: Vec<(GatewayIndex, u32)> = others(MemberState::Up).collect();
    if shares.is_empty() {
        shares = others(MemberState::Overloaded).collect();
    }
    let members = told
        .members
        .iter()
        .map(|it| Some(Target { addresses: it.member.addresses.clone(), is_self: it.member.is_self }));
    Targets::for_leaving(&fill(&[], &shares), members.collect(), multiplier)
}

/// How many SAs a member has left, at least one; not so exactly that every report moves somebody.
fn room(gateway: &GatewaySnapshot) -> u32 {
    let Some(report) = &gateway.report else { return 1 };
    let left = u32::from(BasisPoints::ALL.value() - report.total.value()).div_ceil(1_000);
    (left * report.max_session).max(1)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::num::NonZeroU64;

    use super::*;
    use crate::cluster::{Member, ReportSnapshot};
    use crate::gateway::GatewayAddresses;
    use crate::ike::wire::SpiI;

    fn member(number: u8, is_self: bool, state: MemberState, load: u16) -> GatewaySnapshot {
        let load = BasisPoints::saturating(load);
        GatewaySnapshot {
            member: Member {
                name: format!("gw{number}").parse().unwrap(),
                addresses: format!("10.50.0.1{number}")
                    .parse()
                    .map(|it| GatewayAddresses::new([it]))
                    .unwrap()
                    .unwrap(),
                weight: None,
                is_self,
                state,
            },
            index: None,
            slots: 0,
            share: 0.0,
            redirects: 0,
            report: Some(ReportSnapshot {
                priority: 100,
                max_session: 1_000,
                sessions: 0,
                crypto: load,
                system: load,
                total: load,
                heard: std::time::Duration::ZERO,
                why: None,
            }),
        }
    }

    /// How many of 1000 clients that have to leave the first node go to each of the others.
    fn go(members: Vec<GatewaySnapshot>) -> [usize; 3] {
        let told = Told { master: "gw2".parse().unwrap(), age: std::time::Duration::ZERO, members };
        let targets = leaving(&told, 0x9e37_79b9_7f4a_7c15);
        let mut counts = [0; 3];
        for number in 1..=1_000_u64 {
            let spi = SpiI(NonZeroU64::new(number.wrapping_mul(0x0123_4567_89ab_cdef)).unwrap());
            let seen: IpAddr = "10.50.0.11".parse().unwrap();
            assert_eq!(targets.choose(spi, seen), None);
            for (count, there) in counts.iter_mut().zip(["10.50.0.11", "10.50.0.12", "10.50.0.13"]) {
                *count += usize::from(targets.away(spi, seen) == Some(there.parse().unwrap()));
            }
        }
        counts
    }

    #[test]
    fn clients_that_leave_a_slave_go_to_members_with_room() {
        let is_up = |number, load| member(number, number == 1, MemberState::Up, load);

        let [own, second, third] = go(vec![is_up(1, 0), is_up(2, 5_000), is_up(3, 0)]);
        assert!(own == 0 && second > 250 && third > 550 && second + third == 1_000, "{second} {third}");
        let draining = member(3, false, MemberState::Draining, 0);
        assert_eq!(go(vec![is_up(1, 0), is_up(2, 9_000), draining.clone()]), [0, 1_000, 0]);
        let full = member(2, false, MemberState::Overloaded, 10_000);
        assert_eq!(go(vec![is_up(1, 0), full, draining.clone()]), [0, 1_000, 0]);
        assert_eq!(go(vec![is_up(1, 0), draining]), [0, 0, 0]);
    }
}
