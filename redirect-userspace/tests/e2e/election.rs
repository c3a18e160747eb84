//! Nodes elect who owns the VIP, and that one is the cluster's master.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use xtask::lab::gap::Generator;
use xtask::lab::load::Asker;
use xtask::lab::nodes::{Nodes, Options, Pace};
use xtask::lab::topology::VIP4;
use xtask::lab::wait::{self, Stopwatch};

use crate::{PATIENCE, VIPS};

/// A source of raw requests at the first client.
pub(crate) fn asker(nodes: &Nodes, vip: IpAddr, seed: u64) -> Asker {
    let client = &nodes.clients[0];
    let local = if vip.is_ipv4() { client.address4.into() } else { client.address6.into() };
    Asker::new(client.charon.namespace(), local, vip, 500, seed).unwrap()
}

/// A generator of requests at the first client, 1000 a second.
pub(crate) fn generator(nodes: &Nodes) -> Generator {
    let client = &nodes.clients[0];
    Generator::start(client.charon.namespace(), client.address4.into(), VIP4.into(), 1000, 0).unwrap()
}

/// Lets the generator run for a while.
pub(crate) fn run(generator: &Generator, time: Duration) {
    let end = generator.elapsed() + time;
    wait::until("the generator has run", PATIENCE, || {
        ensure!(generator.elapsed() >= end, "{:?}", generator.elapsed());
        Ok(())
    })
    .unwrap();
}

/// Waits until every VIP answers with a redirect.
pub(crate) fn answers(nodes: &mut Nodes) {
    let active = nodes.active().unwrap();
    answers_by(nodes, &active);
}

/// As [`answers`], when others believe that they are Active as well.
///
/// The Active keeps clients for itself, maybe all of them, and these tests have no IKE daemon
/// beside it: so it is drained meanwhile.
pub(crate) fn answers_by(nodes: &mut Nodes, active: &str) {
    // Not before it knows another one.
    wait::until("the Active may be drained", PATIENCE, || nodes.node(active)?.drain()).unwrap();
    for vip in VIPS {
        let mut asker = asker(nodes, vip, 0);
        wait::until("the VIP redirects", PATIENCE, || {
            ensure!(asker.ask()?.is_some(), "silence from {vip}");
            Ok(())
        })
        .with_context(|| nodes.describe())
        .unwrap();
    }
    nodes.node(active).unwrap().undrain().unwrap();
}

/// Drains the first two nodes, which the last one never takes over from: every client is sent
/// there, whichever of them is Active.
pub(crate) fn redirect_everybody(nodes: &mut Nodes) {
    for name in ["gw1", "gw2"] {
        nodes.node(name).unwrap().drain().unwrap();
    }
    nodes.wait_settled(PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn three_nodes_elect_one_active_that_redirects_to_the_others() {
    let mut nodes = Nodes::start(Options::default()).unwrap();
    let active = nodes.wait_settled(PATIENCE).unwrap();

    answers(&mut nodes);
    let mut asker = asker(&nodes, VIP4.into(), 1);
    let named: BTreeSet<_> = (0..20).filter_map(|_| asker.ask().unwrap()).collect();

    // The master keeps its own clients.
    let others = |address: &IpAddr| nodes.node_at(*address).is_some_and(|node| node.name != active);
    assert!(named.iter().all(others), "{active} is Active and names {named:?}");
    let master = nodes.node(&active).unwrap();
    let address = master.address4.to_string();
    let llg = master.control().llg().unwrap();
    assert_eq!(llg.gateways.iter().map(|gateway| gateway.slots).sum::<u64>(), llg.slots);
    for node in &nodes.nodes {
        let standby = node.standby().unwrap();
        let says = standby.active_router.unwrap();
        let expected = if node.name == active { "local" } else { &address };
        assert_eq!(says, expected, "{}", node.name);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_node_that_may_preempt_takes_over_when_it_returns() {
    let mut nodes = Nodes::build(Options { pace: Pace::BRISK, ..Options::default() }).unwrap();
    for node in &mut nodes.nodes {
        node.settings.preempt = true;
    }
    nodes.start_all().unwrap();
    assert_eq!(nodes.active().unwrap(), "gw1");
    nodes.node("gw1").unwrap().kill().unwrap();
    assert_eq!(nodes.wait_settled(PATIENCE).unwrap(), "gw2");

    nodes.node("gw1").unwrap().start().unwrap();

    wait::until("the first node is Active again", PATIENCE, || {
        let active = nodes.active()?;
        ensure!(active == "gw1", "{active}");
        Ok(())
    })
    .unwrap();
    nodes.wait_settled(PATIENCE).unwrap();
    answers(&mut nodes);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_node_that_may_not_preempt_leaves_the_active_alone_when_it_returns() {
    let mut nodes = Nodes::start(Options { pace: Pace::BRISK, ..Options::default() }).unwrap();
    let first = nodes.active().unwrap();
    nodes.node(&first).unwrap().kill().unwrap();
    let second = nodes.wait_settled(PATIENCE).unwrap();

    nodes.node(&first).unwrap().start().unwrap();

    assert_eq!(nodes.wait_settled(PATIENCE).unwrap(), second);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn an_active_that_is_told_to_end_hands_over_before_anyone_misses_it() {
    let mut nodes = Nodes::start(Options::default()).unwrap();
    let active = nodes.active().unwrap();
    redirect_everybody(&mut nodes);
    let generator = generator(&nodes);
    run(&generator, Duration::from_millis(200));
    let at = generator.elapsed();

    nodes.node(&active).unwrap().stop().unwrap();
    nodes.wait_settled(PATIENCE).unwrap();
    let record = generator.stop().unwrap();

    let gap = record.gap(at);
    // A crash would cost all of the hold time.
    assert!(gap.time < Pace::CALM.hold / 5, "{gap:?}");
    let node = nodes.node(&active).unwrap();
    assert_eq!(node.virtual_addresses().unwrap(), [] as [IpAddr; 0]);
    assert_eq!(node.namespace().xdp_program("eth0").unwrap(), None);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_lowered_priority_hands_over_to_a_node_that_may_preempt() {
    let mut nodes = Nodes::build(Options::default()).unwrap();
    for node in &mut nodes.nodes {
        node.settings.preempt = true;
    }
    nodes.start_all().unwrap();
    let active = nodes.active().unwrap();
    redirect_everybody(&mut nodes);
    let generator = generator(&nodes);
    run(&generator, Duration::from_millis(200));
    let at = generator.elapsed();

    let node = nodes.node(&active).unwrap();
    node.settings.priority = 10;
    node.reload().unwrap();
    wait::until("another node is Active", PATIENCE, || {
        let now = nodes.active()?;
        ensure!(now != active, "{now}");
        Ok(())
    })
    .unwrap();
    nodes.wait_settled(PATIENCE).unwrap();
    let record = generator.stop().unwrap();

    let gap = record.gap(at);
    assert!(gap.time < Pace::CALM.hold / 5, "{gap:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn twenty_nodes_are_one_cluster_and_stay_one_without_their_master() {
    let mut nodes = Nodes::start(Options { nodes: 20, ..Options::default() }).unwrap();
    let active = nodes.active().unwrap();

    nodes.node(&active).unwrap().kill().unwrap();
    let next = nodes.wait_settled(PATIENCE).unwrap();

    assert_ne!(next, active);
    answers(&mut nodes);
    let cluster = nodes.node(&next).unwrap().cluster().unwrap();
    let shares: f64 = cluster.gateways.iter().map(|gateway| gateway.share).sum();
    assert!((shares - 1.0).abs() < 0.001, "{cluster:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_router_tells_the_link_that_it_is_passive_or_active_before_its_hellos_do() {
    const PASSIVE: &[u8] = &[2, 4, 0, 0, 0, 1];
    const ACTIVE: &[u8] = &[2, 4, 0, 1, 0, 0];
    let mut nodes = Nodes::build(Options { pace: Pace::BRISK, ..Options::default() }).unwrap();
    let client = &nodes.clients[0];
    let listener = client.charon.namespace().udp((Ipv4Addr::UNSPECIFIED.into(), 1985)).unwrap();
    listener.join_multicast_v4(&Ipv4Addr::new(224, 0, 0, 102), &client.address4).unwrap();
    listener.set_read_timeout(Some(PATIENCE)).unwrap();
    nodes.start_all().unwrap();
    // Whoever it is: on a slow machine a lower priority may have been quicker.
    let active = nodes.active().unwrap();
    let active = IpAddr::from(nodes.node(&active).unwrap().address4);

    let mut heard = Vec::new();
    let mut datagram = [0; 256];
    let watch = Stopwatch::start();
    loop {
        assert!(watch.elapsed() < PATIENCE, "its hello was not heard, but {heard:?}");
        let (length, from) = listener.recv_from(&mut datagram).unwrap();
        if from.ip() != active {
            continue;
        }
        heard.push(datagram[..length].to_vec());
        // A hello, version 2, opcode and state: active.
        if datagram.starts_with(&[1, 40, 2, 0, 6]) {
            break;
        }
    }

    let advertised: Vec<_> = heard.iter().filter(|payload| payload.len() == 6).collect();
    assert_eq!(advertised, [PASSIVE, ACTIVE], "{heard:?}");
    assert_eq!(heard[heard.len() - 2], ACTIVE, "{heard:?}");
}
