//! The cluster's own snapshot in the words of the control socket.

use std::net::IpAddr;

use super::{ClusterView, GatewayRedirects, GatewayState, GatewayView, LlgGateway, LlgView, Role};
use crate::cluster::{self, GatewaySnapshot, MemberState, Snapshot, Status};
use crate::gateway::Weight;

impl ClusterView {
    /// What `show cluster` tells about a cluster that answers for `vips`.
    #[must_use]
    pub fn new(cluster: &Snapshot, vips: &[IpAddr]) -> Self {
        Self {
            role: match cluster.role {
                cluster::Role::Master => Role::Master,
                cluster::Role::Slave => Role::Slave,
                cluster::Role::None => Role::None,
            },
            status: status(cluster.role, cluster.status).to_owned(),
            standby_group: None,
            vip: vips.iter().map(IpAddr::to_string).collect(),
            policy: cluster.settings.policy.as_str().to_owned(),
            overload_limit: cluster.settings.overload_limit.percent(),
            gateways: cluster.gateways.iter().map(GatewayView::from).collect(),
        }
    }
}

/// Members that are configured and not elected are `static` as long as they work.
const fn status(role: cluster::Role, status: Status) -> &'static str {
    match (role, status) {
        (cluster::Role::None, Status::Up) => "static",
        (cluster::Role::Master | cluster::Role::Slave, Status::Up)
        | (
            _,
            Status::Starting
            | Status::NoGateway
            | Status::Connecting
            | Status::Connected
            | Status::Electing
            | Status::Shutdown,
        ) => status.as_str(),
    }
}

impl From<&GatewaySnapshot> for GatewayView {
    fn from(gateway: &GatewaySnapshot) -> Self {
        let GatewaySnapshot { member, index: _, slots: _, share, redirects, report: _ } = gateway;
        Self {
            name: member.name.to_string(),
            addresses: addresses(gateway),
            is_self: member.is_self,
            state: match member.state {
                MemberState::Up => GatewayState::Up,
                MemberState::Overloaded => GatewayState::Overloaded,
                MemberState::Draining => GatewayState::Draining,
                MemberState::Down => GatewayState::Down,
            },
            weight: Some(member.weight.map_or(0, Weight::value).into()),
            priority: None,
            crypto_load: None,
            system_load: None,
            load: None,
            sessions: None,
            max_session: None,
            share: *share,
            redirects: *redirects,
            last_seen_ms: None,
        }
    }
}

impl From<&GatewaySnapshot> for GatewayRedirects {
    fn from(gateway: &GatewaySnapshot) -> Self {
        Self {
            name: gateway.member.name.to_string(),
            addresses: addresses(gateway),
            redirects: gateway.redirects,
        }
    }
}

impl From<&Snapshot> for LlgView {
    fn from(cluster: &Snapshot) -> Self {
        let gateways = cluster.gateways.iter().map(|gateway| LlgGateway {
            name: gateway.member.name.to_string(),
            slots: saturated(gateway.slots),
        });
        Self { generation: cluster.generation, slots: saturated(cluster.slots), gateways: gateways.collect() }
    }
}

fn addresses(gateway: &GatewaySnapshot) -> Vec<String> {
    gateway.member.addresses.iter().map(|address| address.to_string()).collect()
}

fn saturated(slots: usize) -> u32 {
    u32::try_from(slots).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Member, OverloadLimit, Policy, Settings};
    use crate::gateway::GatewayAddresses;

    #[test]
    fn a_static_cluster_is_shown_with_the_unreported_loads_unknown() {
        let cluster = snapshot(Status::Up);

        let view = ClusterView::new(&cluster, &["10.50.0.5".parse().unwrap(), "fd50::5".parse().unwrap()]);

        assert_eq!((view.role, view.status.as_str()), (Role::None, "static"));
        assert_eq!(view.vip, ["10.50.0.5", "fd50::5"]);
        assert_eq!((view.policy.as_str(), view.overload_limit), ("least-loaded", 80));
        assert_eq!(
            view.gateways,
            [GatewayView {
                name: "gw2".to_owned(),
                addresses: vec!["10.50.0.12".to_owned(), "fd50::12".to_owned()],
                is_self: true,
                state: GatewayState::Draining,
                weight: Some(3),
                priority: None,
                crypto_load: None,
                system_load: None,
                load: None,
                sessions: None,
                max_session: None,
                share: 0.5,
                redirects: 7,
                last_seen_ms: None,
            }]
        );
    }

    #[test]
    fn a_cluster_that_offers_nobody_is_not_just_static() {
        assert_eq!(ClusterView::new(&snapshot(Status::NoGateway), &[]).status, "no-gateway");
        assert_eq!(ClusterView::new(&snapshot(Status::Starting), &[]).status, "starting");
    }

    #[test]
    fn the_table_and_the_redirects_are_those_of_the_cluster() {
        let cluster = snapshot(Status::Up);

        let llg = LlgView::from(&cluster);
        let redirects = GatewayRedirects::from(&cluster.gateways[0]);

        assert_eq!((llg.generation, llg.slots), (4, 1024));
        assert_eq!(llg.gateways, [LlgGateway { name: "gw2".to_owned(), slots: 512 }]);
        assert_eq!((redirects.name.as_str(), redirects.redirects), ("gw2", 7));
        assert_eq!(redirects.addresses, ["10.50.0.12", "fd50::12"]);
    }

    #[test]
    fn a_member_without_weight_is_shown_with_zero() {
        let mut cluster = snapshot(Status::Up);
        cluster.gateways[0].member.weight = None;

        assert_eq!(GatewayView::from(&cluster.gateways[0]).weight, Some(0));
    }

    fn snapshot(status: Status) -> Snapshot {
        let addresses = ["fd50::12", "10.50.0.12"].map(|address| address.parse().unwrap());
        let member = Member {
            name: "gw2".parse().unwrap(),
            addresses: GatewayAddresses::new(addresses).unwrap(),
            weight: Weight::new(3),
            is_self: true,
            state: MemberState::Draining,
        };
        Snapshot {
            role: cluster::Role::None,
            status,
            standby_group: None,
            settings: Settings {
                policy: Policy::LeastLoaded,
                overload_limit: OverloadLimit::new(80).unwrap(),
                ..Settings::default()
            },
            generation: 4,
            slots: 1024,
            gateways: vec![GatewaySnapshot {
                member,
                index: None,
                slots: 512,
                share: 0.5,
                redirects: 7,
                report: None,
            }],
            former_redirects: 0,
        }
    }
}
