//! The cluster's own snapshot in the words of the control socket.

use std::net::IpAddr;
use std::time::Duration;

use super::{
    ClusterView, GatewayRedirects, GatewayRole, GatewayState, GatewayView, LlgGateway, LlgView, Role,
};
use crate::clb::{Settings as ClbSettings, SlaveSettings};
use crate::cluster::{self, GatewaySnapshot, MemberState, Snapshot, Status};
use crate::gateway::{GatewayName, Weight};

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
            standby_group: cluster.standby_group.as_deref().map(str::to_owned),
            vip: vips.iter().map(IpAddr::to_string).collect(),
            policy: cluster.settings.policy.as_str().to_owned(),
            overload_limit: cluster.settings.overload_limit.percent(),
            overload_action: cluster.settings.overload_action.as_str().to_owned(),
            holdtime_ms: None,
            hello_ms: None,
            update_ms: None,
            gateways: cluster
                .gateways
                .iter()
                .map(|gateway| GatewayView {
                    role: gateway_role(cluster.role, gateway),
                    ..GatewayView::from(gateway)
                })
                .collect(),
            drained_away: cluster.drained_away.iter().map(GatewayName::to_string).collect(),
        }
    }

    /// The same for a node that speaks CLB with these times.
    #[must_use]
    pub fn with_times(self, clb: &ClbSettings, slave: &SlaveSettings) -> Self {
        Self {
            holdtime_ms: Some(millis(clb.holdtime)),
            hello_ms: Some(millis(slave.hello)),
            update_ms: Some(millis(slave.update)),
            ..self
        }
    }
}

/// A slave does not know which of the others is the master.
fn gateway_role(own: cluster::Role, gateway: &GatewaySnapshot) -> Option<GatewayRole> {
    match (own, gateway.member.is_self) {
        _ if gateway.report.is_none() => Some(GatewayRole::Static),
        (cluster::Role::Master, true) => Some(GatewayRole::Master),
        (cluster::Role::Master, false) | (cluster::Role::Slave, true) => Some(GatewayRole::Slave),
        (cluster::Role::Slave, false) | (cluster::Role::None, _) => None,
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
        let GatewaySnapshot { member, index: _, slots: _, share, redirects, report } = gateway;
        let weight = || member.weight.map_or(0, Weight::value).into();
        Self {
            name: member.name.to_string(),
            addresses: addresses(gateway),
            is_self: member.is_self,
            role: None,
            state: match member.state {
                MemberState::Up => GatewayState::Up,
                MemberState::Overloaded => GatewayState::Overloaded,
                MemberState::Draining => GatewayState::Draining,
                MemberState::Down => GatewayState::Down,
            },
            weight: report.is_none().then(weight),
            priority: report.map(|report| report.priority),
            crypto_load: report.map(|report| report.crypto.percent()),
            system_load: report.map(|report| report.system.percent()),
            load: report.map(|report| report.total.percent()),
            sessions: report.map(|report| report.sessions.into()),
            max_session: report.map(|report| report.max_session.into()),
            share: *share,
            redirects: *redirects,
            last_seen_ms: report.map(|report| millis(report.heard)),
            why: report.map(|report| report.why.to_owned()),
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn saturated(slots: usize) -> u32 {
    u32::try_from(slots).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clb::{BasisPoints, ClusterKey};
    use crate::cluster::{Member, OverloadLimit, Policy, ReportSnapshot, Settings};
    use crate::gateway::GatewayAddresses;
    use crate::secret::Secret;

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
                role: Some(GatewayRole::Static),
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
                why: None,
            }]
        );
        assert_eq!((view.holdtime_ms, view.standby_group), (None, None));
        assert_eq!(view.drained_away, ["gw9"]);
    }

    #[test]
    fn a_master_shows_what_its_members_report() {
        let mut cluster = snapshot(Status::Up);
        cluster.role = cluster::Role::Master;
        cluster.standby_group = Some("group1".into());
        cluster.gateways[0].report = Some(report());
        let clb = ClbSettings {
            holdtime: Duration::from_millis(1_500),
            ..ClbSettings::new(ClusterKey::new(Secret::new(vec![7; 16])).unwrap())
        };

        let view = ClusterView::new(&cluster, &[]).with_times(&clb, &SlaveSettings::default());

        assert_eq!((view.role, view.status.as_str()), (Role::Master, "up"));
        assert_eq!(view.standby_group.as_deref(), Some("group1"));
        assert_eq!(
            (view.holdtime_ms, view.hello_ms, view.update_ms),
            (Some(1_500), Some(1_000), Some(5_000))
        );
        let gateway = &view.gateways[0];
        assert_eq!((gateway.priority, gateway.weight), (Some(90), None));
        assert_eq!(
            (gateway.crypto_load, gateway.system_load, gateway.load),
            (Some(5.0), Some(19.68), Some(12.34))
        );
        assert_eq!((gateway.sessions, gateway.max_session), (Some(500), Some(10_000)));
        assert_eq!(gateway.last_seen_ms, Some(730));
        assert_eq!(gateway.why.as_deref(), Some("slow start"));
    }

    #[test]
    fn roles_are_told_as_far_as_they_are_known() {
        let role = |own, is_self, report: Option<ReportSnapshot>| {
            let mut cluster = snapshot(Status::Up);
            cluster.role = own;
            cluster.gateways[0].member.is_self = is_self;
            cluster.gateways[0].report = report;
            ClusterView::new(&cluster, &[]).gateways[0].role
        };

        assert_eq!(role(cluster::Role::Master, true, Some(report())), Some(GatewayRole::Master));
        assert_eq!(role(cluster::Role::Master, false, Some(report())), Some(GatewayRole::Slave));
        assert_eq!(role(cluster::Role::Master, false, None), Some(GatewayRole::Static));
        assert_eq!(role(cluster::Role::Slave, true, Some(report())), Some(GatewayRole::Slave));
        assert_eq!(role(cluster::Role::Slave, false, Some(report())), None);
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

    fn report() -> ReportSnapshot {
        ReportSnapshot {
            priority: 90,
            max_session: 10_000,
            sessions: 500,
            crypto: BasisPoints::saturating(500),
            system: BasisPoints::saturating(1_968),
            total: BasisPoints::saturating(1_234),
            heard: Duration::from_millis(730),
            why: "slow start",
        }
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
            drained_away: vec!["gw9".parse().unwrap()],
            former_redirects: 0,
        }
    }
}
