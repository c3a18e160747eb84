//! Numbers for Prometheus, made from the core's newest snapshot at every scrape.
//!
//! # Invariants
//!
//! - A scrape reads the snapshot and nothing else: no BPF map, no lock of the core.
//! - Every reason and every gateway is there from the first scrape on, zero included, so that a
//!   rate never misses its first step.
//! - Labels are reasons, configured names and interfaces: nothing a client can make more of.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::metrics::{MetricType, TypedMetric as _};
use prometheus_client::registry::Registry;

use common::reason::Reason;

use crate::control::{Snapshot, Snapshots};

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
        let Snapshot { redirect, cluster, llg: _ } = &*snapshot;

        counters(
            &mut encoder,
            "redirects",
            "Requests answered with a REDIRECT, by the gateway they were sent to",
            redirect.gateways.iter().map(|gateway| ([("gateway", gateway.name.as_str())], gateway.redirects)),
        )?;
        counters(
            &mut encoder,
            "packets",
            "Packets the fast path saw, by the reason of its verdict",
            Reason::ALL.iter().map(|reason| {
                let packets = redirect.counters.get(reason.name()).copied().unwrap_or(0);
                ([("reason", reason.name())], packets)
            }),
        )?;
        gauge(
            &mut encoder,
            "fast_path_armed",
            "1 while requests to the VIP are answered",
            i64::from(redirect.armed),
        )?;
        gauges(
            &mut encoder,
            "attached",
            "1 for each interface the fast path is attached to",
            redirect.attached.iter().map(|attachment| {
                ([("interface", attachment.interface.as_str()), ("mode", attachment.mode.name())], 1_i64)
            }),
        )?;
        gauges(
            &mut encoder,
            "member_up",
            "1 while the gateway is alive: up, overloaded or draining",
            cluster
                .gateways
                .iter()
                .map(|gateway| ([("gateway", gateway.name.as_str())], i64::from(gateway.state.is_alive()))),
        )?;
        gauges(
            &mut encoder,
            "member_share_ratio",
            "Part of the table's slots that lead to the gateway",
            cluster.gateways.iter().map(|gateway| ([("gateway", gateway.name.as_str())], gateway.share)),
        )
    }
}

fn counters<'a, const N: usize>(
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

fn gauges<'a, T, const N: usize>(
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

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> fmt::Result {
    let metric = ConstGauge::new(value);
    metric.encode(encoder.encode_descriptor(name, &sentence(help), None, ConstGauge::<i64>::TYPE)?)
}

/// Ends the help text as the registry ends its own.
fn sentence(help: &str) -> String {
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
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                "gauge" => "",
                other => panic!("unexpected type {other}"),
            };
            let sample = line.split(['{', ' ']).next().unwrap();
            assert_eq!(sample, format!("{name}{suffix}"));
            assert!(name.starts_with("redirectd_"), "{name}");
            let value = line.rsplit(' ').next().unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
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
