//! Numbers for Prometheus, made from the core's newest snapshot at every scrape.
//!
//! # Invariants
//!
//! - A scrape reads the snapshot and nothing else: no BPF map, no lock of the core.
//! - Every reason and every gateway is there from the first scrape on, zero included, so that a
//!   rate never misses its first step.
//! - Labels are reasons, names of groups, members, interfaces and files: nothing a client can make more
//!   of. Series of a member end with its membership, and no more than [`MAX_MEMBERS`] are shown.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::metrics::{MetricType, TypedMetric as _};
use prometheus_client::registry::Registry;

use common::reason::Reason;

use crate::cluster::MAX_MEMBERS;
use crate::control::{
    CertificateView, GatewayView, RedirectView, Role, Snapshot, Snapshots, StandbyState, StandbyView,
};
use crate::telemetry::ike;
use crate::time::UnixTime;

/// Everything the endpoint shows.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    snapshots: Snapshots,
}

impl Metrics {
    /// Shows what is published through `snapshots`.
    #[must_use]
    pub fn new(snapshots: Snapshots, version: &'static str) -> Self {
        let mut registry = Registry::with_prefix("redirectd");
        registry.register("build", "What runs here", Info::new([("version", version)]));
        registry.register_collector(Box::new(FromSnapshot { snapshots: snapshots.clone() }));
        Self { registry, snapshots }
    }

    /// The OpenMetrics text.
    ///
    /// # Errors
    ///
    /// Only when a metric cannot be written as text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }

    /// Whether the core still publishes.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.snapshots.has_changed().is_ok()
    }
}

#[derive(Debug)]
struct FromSnapshot {
    snapshots: Snapshots,
}

impl Collector for FromSnapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // The reference is not kept: while it lives, the core cannot publish.
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let Snapshot { at, redirect, cluster, llg: _, standby, ike, drain, certificates } = &*snapshot;
        fast_path(&mut encoder, redirect)?;
        gauges(
            &mut encoder,
            "cluster_role",
            "1 for the role this node has in the cluster",
            Role::ALL.iter().map(|role| ([("role", role.name())], i64::from(cluster.role == *role))),
        )?;
        // What the master tells its slaves, its own metrics say.
        let own = cluster.gateways.iter().filter(|member| !member.told);
        members(&mut encoder, *at, &own.take(MAX_MEMBERS).collect::<Vec<_>>())?;
        groups(&mut encoder, standby)?;
        gauge(
            &mut encoder,
            "draining",
            "1 while this node is to lose its clients",
            i64::from(drain.draining),
        )?;
        ike.iter().try_for_each(|figures| ike::metrics::encode(&mut encoder, figures))?;
        papers(&mut encoder, certificates)
    }
}

fn fast_path(encoder: &mut DescriptorEncoder<'_>, redirect: &RedirectView) -> fmt::Result {
    counters(
        encoder,
        "redirects",
        "Requests answered with a REDIRECT, by the gateway they were sent to",
        redirect.gateways.iter().map(|gateway| ([("gateway", gateway.name.as_str())], gateway.redirects)),
    )?;
    counters(
        encoder,
        "packets",
        "Packets the fast path saw, by the reason of its verdict",
        Reason::ALL.iter().map(|reason| {
            let packets = redirect.counters.get(reason.name()).copied().unwrap_or(0);
            ([("reason", reason.name())], packets)
        }),
    )?;
    gauge(encoder, "fast_path_armed", "1 while requests to the VIP are answered", i64::from(redirect.armed))?;
    gauges(
        encoder,
        "attached",
        "1 for each interface the fast path is attached to",
        redirect.attached.iter().map(|attachment| {
            ([("interface", attachment.interface.as_str()), ("mode", attachment.mode.name())], 1_i64)
        }),
    )
}

fn members(encoder: &mut DescriptorEncoder<'_>, at: UnixTime, members: &[&GatewayView]) -> fmt::Result {
    gauges(
        encoder,
        "member_up",
        "1 while the gateway is alive: up, overloaded or draining",
        members
            .iter()
            .map(|member| ([("gateway", member.name.as_str())], i64::from(member.state.is_alive()))),
    )?;
    gauges(
        encoder,
        "member_share_ratio",
        "Part of the table's slots that lead to the gateway",
        members.iter().map(|member| ([("gateway", member.name.as_str())], member.share)),
    )?;
    gauges(
        encoder,
        "member_load_ratio",
        "Load as the gateway reports it, 0 to 1: of its SAs, of its system, and both by weight",
        members.iter().flat_map(|member| {
            let kinds =
                [("crypto", member.crypto_load), ("system", member.system_load), ("total", member.load)];
            kinds.into_iter().filter_map(|(kind, percent)| {
                Some(([("gateway", member.name.as_str()), ("kind", kind)], percent? / 100.0))
            })
        }),
    )?;
    gauges(
        encoder,
        "member_last_report_timestamp_seconds",
        "When the gateway was heard last, in seconds since 1970",
        members.iter().filter_map(|member| {
            let heard = at.since_epoch().checked_sub(Duration::from_millis(member.last_seen_ms?))?;
            Some(([("gateway", member.name.as_str())], heard.as_secs_f64()))
        }),
    )
}

fn papers(encoder: &mut DescriptorEncoder<'_>, certificates: &[CertificateView]) -> fmt::Result {
    gauges(
        encoder,
        "certificate_left_seconds",
        "For how long certificates, lists of revoked ones and OCSP responses are good; negative afterwards",
        certificates
            .iter()
            .map(|it| ([("kind", &*it.kind), ("owner", &*it.owner), ("file", &*it.file)], it.left_s)),
    )
}

fn groups(encoder: &mut DescriptorEncoder<'_>, groups: &[StandbyView]) -> fmt::Result {
    gauges(
        encoder,
        "hsrp_state",
        "1 for the state the standby group is in",
        groups.iter().flat_map(|group| {
            StandbyState::ALL.iter().map(|state| {
                ([("group", group.name.as_str()), ("state", state.name())], i64::from(group.state == *state))
            })
        }),
    )?;
    counters(
        encoder,
        "hsrp_transitions",
        "How often the standby group has changed its state",
        groups.iter().map(|group| ([("group", group.name.as_str())], group.state_changes)),
    )?;
    counters(
        encoder,
        "hsrp_discards",
        "HSRP packets that were not used, by reason",
        groups.iter().flat_map(|group| {
            group.discards.iter().map(|(reason, packets)| {
                ([("group", group.name.as_str()), ("reason", reason.as_str())], *packets)
            })
        }),
    )
}

pub(super) fn counters<'a, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = ([(&'static str, &'a str); N], u64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, &sentence(help), None, MetricType::Counter)?;
    for (labels, value) in values {
        ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

pub(super) fn gauges<'a, T, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = ([(&'static str, &'a str); N], T)>,
) -> fmt::Result
where
    ConstGauge<T>: prometheus_client::encoding::EncodeMetric,
{
    let mut family = encoder.encode_descriptor(name, &sentence(help), None, MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

pub(super) fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> fmt::Result {
    let metric = ConstGauge::new(value);
    metric.encode(encoder.encode_descriptor(name, &sentence(help), None, ConstGauge::<i64>::TYPE)?)
}

pub(super) fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> fmt::Result {
    let metric = ConstCounter::new(value);
    metric.encode(encoder.encode_descriptor(name, &sentence(help), None, MetricType::Counter)?)
}

/// Ends the help text as the registry ends its own.
pub(super) fn sentence(help: &str) -> String {
    format!("{help}.")
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::control::fixtures;

    #[test]
    fn the_first_scrape_has_every_reason_and_gateway() {
        let (_core, metrics) = published(fixtures::snapshot());

        let page = metrics.encode().unwrap();

        for line in [
            r#"redirectd_build_info{version="1.2.3"} 1"#,
            r#"redirectd_redirects_total{gateway="gw1"} 617"#,
            r#"redirectd_redirects_total{gateway="gw2"} 1234"#,
            r#"redirectd_packets_total{reason="redirected"} 2468"#,
            r#"redirectd_packets_total{reason="rewrite-failed"} 0"#,
            "redirectd_fast_path_armed 1",
            r#"redirectd_attached{interface="eth0",mode="native"} 1"#,
            r#"redirectd_attached{interface="eth1",mode="userspace"} 1"#,
            r#"redirectd_member_up{gateway="gw3"} 1"#,
            r#"redirectd_member_share_ratio{gateway="gw2"} 0.5"#,
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert_eq!(page.matches("redirectd_packets_total{").count(), Reason::COUNT);
    }

    #[test]
    fn members_that_report_have_their_load_and_the_others_have_none() {
        let mut snapshot = fixtures::snapshot();
        snapshot.cluster = fixtures::elected();
        let (_core, metrics) = published(snapshot);

        let page = metrics.encode().unwrap();

        for line in [
            r#"redirectd_cluster_role{role="master"} 1"#,
            r#"redirectd_cluster_role{role="slave"} 0"#,
            r#"redirectd_cluster_role{role="none"} 0"#,
            r#"redirectd_member_load_ratio{gateway="gw1",kind="system"} 0.405"#,
            r#"redirectd_member_load_ratio{gateway="gw2",kind="crypto"} 0.05"#,
            r#"redirectd_member_load_ratio{gateway="gw3",kind="total"} 0.8"#,
            r#"redirectd_member_last_report_timestamp_seconds{gateway="gw1"} 1800000000.0"#,
            r#"redirectd_member_last_report_timestamp_seconds{gateway="gw2"} 1799999999.27"#,
            r#"redirectd_member_up{gateway="gw3"} 1"#,
            r#"redirectd_member_share_ratio{gateway="gw9"} 0.125"#,
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert!(!page.contains(r#"member_load_ratio{gateway="gw9""#), "{page}");
        assert!(!page.contains(r#"timestamp_seconds{gateway="gw9""#), "{page}");
    }

    #[test]
    fn a_group_has_one_state_and_counts_its_changes_and_discards() {
        let (_core, metrics) = published(fixtures::snapshot());

        let page = metrics.encode().unwrap();

        for line in [
            r#"redirectd_hsrp_state{group="group1",state="active"} 1"#,
            r#"redirectd_hsrp_state{group="group1",state="initial"} 0"#,
            r#"redirectd_hsrp_state{group="hsrp-eth0-10",state="standby"} 1"#,
            r#"redirectd_hsrp_transitions_total{group="group1"} 2"#,
            r#"redirectd_hsrp_discards_total{group="group1",reason="authentication-value"} 12"#,
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert_eq!(page.matches("redirectd_hsrp_state{group=\"group1\"").count(), 6);
    }

    #[test]
    fn a_gateway_has_its_sas_handshakes_and_traffic() {
        let (_core, metrics) = published(fixtures::snapshot());

        let page = metrics.encode().unwrap();

        for line in [
            r#"redirectd_ike_sas{state="half-open"} 3"#,
            r#"redirectd_ike_sas{state="established"} 812"#,
            "redirectd_ike_child_sas 820",
            r#"redirectd_ike_handshakes_total{result="established"} 901"#,
            r#"redirectd_ike_handshakes_total{result="no-proposal-chosen"} 1"#,
            r#"redirectd_ike_handshakes_total{result="certificate-refused"} 0"#,
            "redirectd_ike_handshake_duration_seconds_sum 0.038",
            "redirectd_ike_handshake_duration_seconds_count 3",
            r#"redirectd_ike_handshake_duration_seconds_bucket{le="0.002"} 0"#,
            r#"redirectd_ike_handshake_duration_seconds_bucket{le="0.005"} 2"#,
            r#"redirectd_ike_handshake_duration_seconds_bucket{le="0.05"} 3"#,
            r#"redirectd_ike_handshake_duration_seconds_bucket{le="+Inf"} 3"#,
            r#"redirectd_ike_discards_total{reason="integrity"} 1"#,
            r#"redirectd_ike_rekeys_total{kind="child"} 0"#,
            "redirectd_ike_init_requests_total 0",
            "redirectd_ike_cookies_total 17",
            r#"redirectd_ike_redirects_total{exchange="ike-sa-init"} 1"#,
            r#"redirectd_ike_redirects_total{exchange="ike-auth"} 2"#,
            r#"redirectd_ike_redirects_total{exchange="informational"} 1"#,
            "redirectd_ike_unknown_answered_total 2",
            "redirectd_ike_retransmissions_total 0",
            "redirectd_ike_children_total 0",
            r#"redirectd_ike_child_bytes_total{direction="in"} 123456"#,
            r#"redirectd_ike_child_packets_total{direction="out"} 78"#,
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        let results = page.matches("redirectd_ike_handshakes_total{").count();
        assert_eq!(results, 1 + crate::ike::Failure::ALL.len());
    }

    #[test]
    fn what_expires_has_the_time_that_is_left() {
        let (_core, metrics) = published(fixtures::snapshot());

        let page = metrics.encode().unwrap();

        for line in [
            r#"redirectd_certificate_left_seconds{kind="own",owner="CN=vpn.example.net",file="/etc/redirectd/vpn.crt"} 604800"#,
            r#"redirectd_certificate_left_seconds{kind="crl",owner="CN=VPN CA",file="/etc/redirectd/ca.crl"} -60"#,
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn a_node_without_gateway_has_no_numbers_of_one() {
        let (_core, metrics) = published(Snapshot { ike: None, ..fixtures::snapshot() });

        assert!(!metrics.encode().unwrap().contains("redirectd_ike"));
    }

    #[test]
    fn the_series_of_a_member_end_when_it_leaves() {
        let mut snapshot = fixtures::snapshot();
        snapshot.cluster = fixtures::elected();
        let (core, metrics) = published(snapshot.clone());
        assert!(metrics.encode().unwrap().contains("gateway=\"gw3\",kind="));

        snapshot.cluster.gateways.remove(2);
        snapshot.redirect.gateways.remove(2);
        core.send_replace(Arc::new(snapshot));

        assert!(!metrics.encode().unwrap().contains("gw3"));
    }

    #[test]
    fn no_cluster_has_more_series_than_it_may_have_members() {
        let mut snapshot = fixtures::snapshot();
        let member = snapshot.cluster.gateways[0].clone();
        snapshot.cluster.gateways =
            (0..2 * MAX_MEMBERS).map(|n| GatewayView { name: format!("m{n}"), ..member.clone() }).collect();
        let (_core, metrics) = published(snapshot);

        assert_eq!(metrics.encode().unwrap().matches("redirectd_member_up{").count(), MAX_MEMBERS);
    }

    #[test]
    fn reasons_are_there_before_the_core_has_counted_anything() {
        let (_core, metrics) = published(Snapshot::default());

        let page = metrics.encode().unwrap();

        assert_eq!(page.matches("redirectd_packets_total{").count(), Reason::COUNT);
        assert!(page.contains("redirectd_fast_path_armed 0\n"), "{page}");
    }

    #[test]
    fn the_text_is_open_metrics() {
        let (_core, metrics) = published(fixtures::snapshot());

        let page = metrics.encode().unwrap();

        assert!(page.ends_with("\n# EOF\n"));
        assert_eq!(page.matches("# EOF").count(), 1);
        let mut family = None;
        for line in page.lines().filter(|line| *line != "# EOF") {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split_once(' ');
                continue;
            }
            if line.starts_with("# HELP ") {
                assert!(line.ends_with('.') && !line.ends_with(".."), "{line}");
                continue;
            }
            // Samples follow their own family's TYPE, with the suffix of its type.
            let (name, kind) = family.unwrap();
            let suffixes: &[&str] = match kind {
                "counter" => &["_total"],
                "info" => &["_info"],
                "gauge" => &[""],
                "histogram" => &["_sum", "_count", "_bucket"],
                other => panic!("unexpected type {other}"),
            };
            let sample = line.split(['{', ' ']).next().unwrap();
            assert!(suffixes.iter().any(|suffix| sample == format!("{name}{suffix}")), "{line}");
            assert!(name.starts_with("redirectd_"), "{name}");
            let value = line.rsplit(' ').next().unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }

    #[test]
    fn every_metric_has_its_row_in_the_readme() {
        const README: &str = include_str!("../../../README.md");
        let mut snapshot = fixtures::snapshot();
        snapshot.cluster = fixtures::elected();
        let (_core, metrics) = published(snapshot);

        let page = metrics.encode().unwrap();

        let samples = page.lines().filter(|line| !line.starts_with('#'));
        let names = samples.filter_map(|line| line.split(['{', ' ']).next());
        // The parts of a histogram share a row.
        let parts = ["_sum", "_count", "_bucket"];
        let names = names.map(|name| parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name));
        for name in names.collect::<std::collections::BTreeSet<_>>() {
            let is_row = |line: &&str| {
                let rest = line.strip_prefix(&format!("| `{name}"));
                rest.is_some_and(|rest| rest.starts_with(['{', '`']))
            };
            assert_eq!(README.lines().filter(is_row).count(), 1, "{name}");
        }
    }

    #[test]
    fn a_member_that_is_down_is_shown_as_down() {
        let mut snapshot = fixtures::snapshot();
        snapshot.cluster.gateways[1].state = crate::control::GatewayState::Down;
        let (core, metrics) = published(fixtures::snapshot());

        core.send_replace(Arc::new(snapshot));

        assert!(metrics.encode().unwrap().contains("redirectd_member_up{gateway=\"gw2\"} 0\n"));
    }

    #[test]
    fn odd_interface_names_cannot_break_the_format() {
        let mut snapshot = fixtures::snapshot();
        snapshot.redirect.attached[0].interface = "a\"b\\c".to_owned();
        let (_core, metrics) = published(snapshot);

        let page = metrics.encode().unwrap();

        assert!(page.contains(r#"interface="a\"b\\c""#), "{page}");
    }

    #[test]
    fn metrics_outlive_the_core_but_say_so() {
        let (core, metrics) = published(fixtures::snapshot());
        assert!(metrics.is_alive());

        drop(core);

        assert!(!metrics.is_alive());
        assert!(metrics.encode().is_ok());
    }

    fn published(snapshot: Snapshot) -> (watch::Sender<Arc<Snapshot>>, Metrics) {
        let (core, snapshots) = watch::channel(Arc::new(snapshot));
        (core, Metrics::new(snapshots, "1.2.3"))
    }
}
