//! A node with many clients is drained: nobody is lost, and it takes as long as its rate says.
//!
//! The clients are those of one daemon, which follows redirects as any client of ours does: a new SA
//! at the other member first, then the old one is deleted. Their SAs carry no packets.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use xtask::lab::gateway::{Connection, Gateway, Settings};
use xtask::lab::topology::{Cluster, Options};
use xtask::lab::wait;

use crate::Effort;
use crate::report::{Report, Samples};

/// Who every member says it is.
const IDENTITY: &str = "vpn.example.net";
const INSIDE: [&str; 1] = ["10.99.0.0/16"];
/// Cheap, so that all clients and both members have enough of two cores.
const PROPOSAL: &str = "aes128gcm16-prfsha256-x25519";
/// Clients that are told to go each second.
const RATE: u32 = 1_000;
/// How long all of them may take to come.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn run(report: &mut Report, effort: Effort) -> Result<()> {
    let count = effort.of(5_000, 2_000);
    let (mut over, mut lost) = (Samples::new(), Samples::new());
    for _ in 0..effort.of(5, 1) {
        let (took, missing) = turn(count)?;
        over.push(took.as_secs_f64() / time_at_rate(count).as_secs_f64());
        lost.push(f64::from(missing));
    }
    let case = format!("{count} SAs, {RATE}/s");
    report.figure("drain, over the time of its rate", &case, "x", &over, 1.2, 1.05);
    report.figure("drain, SAs lost", &case, "", &lost, 0.0, 0.0);
    Ok(())
}

/// How long it took, and how many clients are not at the other member by a redirect of theirs.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, and lets the drain's own time pass"
)]
fn turn(count: u32) -> Result<(Duration, u32)> {
    let cluster = Cluster::build(Options { gateways: 0, clients: 0, ..Options::default() })?;
    let first = member(&cluster, 1)?;
    let second = member(&cluster, 2)?;
    let place = cluster.place(1)?;
    let settings = Settings {
        connections: (0..count)
            .map(|number| Connection {
                // As long as anybody's: all of them begin at once.
                patience: None,
                ..Connection::new(&format!("c{number}"), &[at(1)], &[IDENTITY], &INSIDE)
            })
            .collect(),
        ike_proposals: vec![PROPOSAL.to_owned()],
        dataplane: Some("none".to_owned()),
        is_quiet: true,
        ..Settings::default()
    };
    let clients = Gateway::start(&place.namespace, settings)?;
    settle(&clients, count, "all of them are up")?;
    settle(&first, count, "all of them are there")?;

    let begin = Instant::now();
    first.control().run(&["drain"])?;
    // It cannot be over sooner; and to be asked for all SAs takes time that the clients need.
    thread::sleep(time_at_rate(count));
    wait::until("all of them are at the other member", PATIENCE, || {
        let sas = second.sas()?.len();
        ensure!(sas == usize::try_from(count)?, "{sas} of {count}");
        Ok(())
    })?;
    let took = begin.elapsed();
    settle(&first, 0, "nobody is left")?;
    settle(&second, count, "all of them are at the other member")?;

    // Each client has made two SAs: no more, because the first was given up in time, and no fewer.
    let metrics = clients.metrics()?;
    let made = value(&metrics, "redirectd_ike_handshakes_total{result=\"established\"}")?;
    let followed = value(&metrics, "redirectd_ike_redirects_followed_total")?;
    ensure!(made == count * 2, "{count} clients have made {made} SAs");
    Ok((took, count.saturating_sub(followed)))
}

fn time_at_rate(count: u32) -> Duration {
    Duration::from_secs(1) * count / RATE
}

fn at(number: u8) -> IpAddr {
    IpAddr::from([10, 50, 0, 10 + number])
}

fn member(cluster: &Cluster, number: u8) -> Result<Gateway> {
    let site = cluster.site(number)?;
    let own = format!("\n[[cluster.static]]\nname = {:?}\naddresses = [\"{}\"]\n", site.role(), at(number));
    let other = 3 - number;
    let other = format!("\n[[cluster.static]]\nname = \"gw{other}\"\naddresses = [\"{}\"]\n", at(other));
    let mut settings = Settings {
        pools: vec![("ra4".to_owned(), "10.96.0.0/16".to_owned())],
        ike_proposals: vec![PROPOSAL.to_owned()],
        dataplane: Some("none".to_owned()),
        is_quiet: true,
        extra: format!("{own}{other}\n[redirect.drain]\nrate = {RATE}\n"),
        ..Settings::of_node(number, IDENTITY)
    };
    // The same network is behind both.
    settings.profiles[0].local_ts = INSIDE.map(str::to_owned).to_vec();
    Gateway::start(&site, settings)
}

fn settle(gateway: &Gateway, count: u32, what: &str) -> Result<()> {
    wait::until(what, PATIENCE, || {
        let there = value(&gateway.metrics()?, "redirectd_ike_sas{state=\"established\"}")?;
        ensure!(there == count, "{there} of {count}");
        Ok(())
    })
    .with_context(|| gateway.log_tail())
}

/// The value of a series.
fn value(metrics: &str, series: &str) -> Result<u32> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    line.with_context(|| format!("no {series}"))?.trim().parse().context("a number")
}
