//! What a redirect adds to the time until a client has its tunnel.
//!
//! One client at a time goes to a gateway, by its address and by the VIP, taking turns. The wire is a veth
//! pair: what a round trip takes is measured and shown beside.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use xtask::lab::balancer::{Member, Redirectd};
use xtask::lab::gateway::{Gateway, Place, Settings};
use xtask::lab::process::output;
use xtask::lab::strongswan::SHARED_KEY;
use xtask::lab::topology::{Cluster, Options, VIP4, release_binary};

use crate::Effort;
use crate::report::{Report, Samples};

const GATEWAY: u8 = 1;
const CLIENT: u8 = 2;
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Told {
    done: u64,
    failed: u64,
    latency_ms: Latencies,
    redirected_to: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Latencies {
    p50: f64,
    p99: f64,
}

pub(crate) fn run(report: &mut Report, effort: Effort) -> Result<()> {
    let cluster = Cluster::build(Options { gateways: 0, clients: 0, ..Options::default() })?;
    let at = IpAddr::from([10, 50, 0, 10 + GATEWAY]);
    let settings = Settings { is_quiet: true, ..Settings::of_node(GATEWAY, "vpn.example.net") };
    let _gateway = Gateway::start(&cluster.site(GATEWAY)?, settings)?;
    let member = Member { name: "gw1".to_owned(), addresses: vec![at], weight: 1 };
    let _balancer = Redirectd::start(&cluster, &[member])?;
    let place = cluster.place(CLIENT)?;
    let key = cluster.lab.directory().join("shared.key");
    std::fs::write(&key, SHARED_KEY).with_context(|| key.display().to_string())?;
    let key = key.to_str().context("a path")?;

    let (mut direct, mut added, mut tail, mut trips) =
        (Samples::new(), Samples::new(), Samples::new(), Samples::new());
    for _ in 0..effort.of(15, 3) {
        let count = effort.of(300, 50);
        let straight = clients(&place, key, at, false, count)?;
        let redirected = clients(&place, key, VIP4.into(), true, count)?;
        direct.push(straight.p50 * 1e3);
        added.push(redirected.p50 - straight.p50);
        tail.push(redirected.p99 - straight.p99);
        let trip = place.namespace.ping(place.address4.into(), at, PATIENCE)?;
        trips.push(trip.as_secs_f64() * 1e3);
    }
    let trip = trips.median();
    report.info("time to tunnel without redirect", "p50", "us", &direct);
    report.figure("a redirect adds, beyond a trip", "p50", "ms", &beyond(&added, trip), 1.0, 0.2);
    report.figure("a redirect adds, beyond a trip", "p99", "ms", &beyond(&tail, trip), 1.0, 0.5);
    report.figure("a round trip", "", "ms", &trips, f64::INFINITY, f64::INFINITY);
    Ok(())
}

fn beyond(added: &Samples, trip: f64) -> Samples {
    let mut beyond = Samples::new();
    added.iter().for_each(|added| beyond.push(added - trip));
    beyond
}

/// So many clients, one after the other, each of which leaves again.
fn clients(place: &Place, key: &str, gateway: IpAddr, is_redirected: bool, count: u64) -> Result<Latencies> {
    let program = release_binary("redirectctl");
    let program =
        program.canonicalize().with_context(|| format!("{}: cargo xtask build", program.display()))?;
    let mut command = place.namespace.command(program);
    command.args([
        "bench",
        "handshake",
        &gateway.to_string(),
        "--json",
        "--parallel",
        "1",
        "--delete",
        "--follow",
    ]);
    command.args(["--local", &place.address4.to_string(), "--network", "10.99.0.0/16", "--psk-file", key]);
    command.args(["--count", &count.to_string()]);
    let Told { done, failed, latency_ms, redirected_to } = serde_json::from_str(&output(&mut command)?)?;
    ensure!(done == count && failed == 0, "{done} of {count} tunnels through {gateway}");
    let expected = if is_redirected { count } else { 0 };
    ensure!(
        redirected_to.values().sum::<u64>() == expected,
        "redirects through {gateway}: {redirected_to:?}"
    );
    Ok(latency_ms)
}
