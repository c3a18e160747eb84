//! The Active dies, hangs, loses its cable, or loses sight of the others; clients go on arriving.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use xtask::lab::nodes::{Gateways, Nodes, Options, Pace};
use xtask::lab::wait;

use crate::election::{answers, answers_by, generator, redirect_everybody, run};
use crate::visitors::{arrive_while, ping_through_all};
use crate::{PATIENCE, VIPS};

/// Within which time the guard notices that its daemon is dead or hangs.
const GUARD: Duration = Duration::from_secs(2);

/// Waits until a node has no VIP and no XDP program.
fn lets_go(nodes: &mut Nodes, name: &str, within: Duration) {
    let node = nodes.node(name).unwrap();
    wait::until("the node has let go of the VIP", within, || {
        let vips = node.virtual_addresses()?;
        ensure!(vips.is_empty(), "{vips:?}");
        let program = node.namespace().xdp_program("eth0")?;
        ensure!(program.is_none(), "program {program:?}");
        Ok(())
    })
    .unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn no_client_is_lost_when_the_master_is_killed() {
    let mut nodes = Nodes::start(Options { gateways: Gateways::Strongswan, ..Options::default() }).unwrap();
    let client = nodes.clients.remove(0);
    let first = nodes.active().unwrap();

    let tunnels = arrive_while(&client, || {
        let node = nodes.node(&first).unwrap();
        node.wait_for_event(&["took"], PATIENCE).unwrap();
        node.kill().unwrap();
        nodes.wait_settled(PATIENCE).unwrap();
    })
    .unwrap();

    assert!(tunnels.len() > 5, "{} clients arrived", tunnels.len());
    let second = nodes.active().unwrap();
    assert_ne!(second, first);
    let gateways: BTreeSet<_> = tunnels.iter().map(|tunnel| tunnel.remote_id.clone()).collect();
    assert!(gateways.len() > 1, "{first}, then {second}: {tunnels:#?}\n{}", nodes.describe());
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn clients_of_a_master_that_was_killed_with_its_sas_are_served_by_others() {
    let mut nodes = Nodes::start(Options { gateways: Gateways::Own, ..Options::default() }).unwrap();
    let client = nodes.clients.remove(0);
    let first = nodes.active().unwrap();

    let tunnels = arrive_while(&client, || {
        let node = nodes.node(&first).unwrap();
        node.wait_for_event(&["sa-established"], PATIENCE).unwrap();
        node.kill().unwrap();
        nodes.wait_settled(PATIENCE).unwrap();
    })
    .unwrap();

    assert!(tunnels.len() > 5, "{} clients arrived", tunnels.len());
    ping_through_all(&client, &tunnels).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_killed_active_is_replaced_after_its_hold_time_and_keeps_no_address() {
    let mut nodes = Nodes::start(Options { pace: Pace::BRISK, ..Options::default() }).unwrap();
    let active = nodes.active().unwrap();
    redirect_everybody(&mut nodes);
    let generator = generator(&nodes);
    run(&generator, Duration::from_millis(200));
    let at = generator.elapsed();

    nodes.node(&active).unwrap().kill().unwrap();
    lets_go(&mut nodes, &active, GUARD);
    nodes.wait_settled(PATIENCE).unwrap();
    let record = generator.stop().unwrap();

    let gap = record.gap(at);
    assert!(gap.lost > 0, "somebody answered all the time");
    // The benchmark measures it; this is for a machine with other work.
    assert!(gap.time < Pace::BRISK.hold * 3, "{gap:?}\n{}", nodes.describe());
    answers(&mut nodes);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn an_active_that_hangs_is_replaced_and_takes_its_place_when_it_goes_on() {
    let mut nodes = Nodes::start(Options::default()).unwrap();
    let first = nodes.active().unwrap();
    let others: Vec<_> =
        nodes.nodes.iter().map(|node| node.name.clone()).filter(|name| *name != first).collect();

    nodes.node(&first).unwrap().signal(Signal::SIGSTOP).unwrap();
    lets_go(&mut nodes, &first, GUARD);
    let second = wait::until("another node is Active", PATIENCE, || {
        for name in &others {
            if nodes.node(name)?.standby()?.state == "active" {
                return Ok(name.clone());
            }
        }
        anyhow::bail!("nobody")
    })
    .unwrap();
    answers_by(&mut nodes, &second);
    // Until it has missed more than a hello: before that, it may still be the Active by right.
    run(&generator(&nodes), Pace::CALM.hello * 2);
    nodes.node(&first).unwrap().signal(Signal::SIGCONT).unwrap();

    let third = nodes.wait_settled(PATIENCE).unwrap();
    let told = nodes.describe();
    assert_eq!(third, second, "{first} had hung\n{told}");
    answers(&mut nodes);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn an_active_without_its_cable_is_replaced_and_returns_as_another() {
    let mut nodes = Nodes::start(Options::default()).unwrap();
    let first = nodes.active().unwrap();

    nodes.unplug(&first).unwrap();

    wait::until("the node without cable has left the election, and another is Active", PATIENCE, || {
        let (active, initial) = (nodes.active()?, nodes.in_state("initial")?);
        ensure!(active != first && initial == [first.as_str()], "{}", nodes.states());
        Ok(())
    })
    .unwrap();
    answers(&mut nodes);
    assert_eq!(nodes.node(&first).unwrap().virtual_addresses().unwrap(), [] as [IpAddr; 0]);
    nodes.plug(&first).unwrap();
    let second = nodes.wait_settled(PATIENCE).unwrap();
    assert_ne!(second, first);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn both_sides_of_a_partition_have_an_active_and_the_healed_cluster_has_one() {
    let mut nodes = Nodes::start(Options::default()).unwrap();
    let first = nodes.active().unwrap();

    nodes.part(&[&first]).unwrap();
    let second = wait::until("there are two Actives", PATIENCE, || {
        let mut active = nodes.in_state("active")?;
        ensure!(active.len() == 2, "{}", nodes.states());
        active.retain(|name| *name != first);
        active.pop().context("the first one twice")
    })
    .unwrap();
    // The clients are on the other side.
    answers_by(&mut nodes, &second);
    nodes.heal(&[&first]).unwrap();

    nodes.wait_settled(PATIENCE).unwrap();
    answers(&mut nodes);
}

/// Ends and starts one daemon after the other, each time waiting for the cluster.
fn restart_each(nodes: &mut Nodes, names: &[String]) {
    for name in names {
        let node = nodes.node(name).unwrap();
        node.stop().unwrap();
        node.start().unwrap();
        nodes.wait_settled(PATIENCE).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn no_client_fails_while_one_node_after_the_other_is_restarted() {
    let mut nodes = Nodes::start(Options { gateways: Gateways::Strongswan, ..Options::default() }).unwrap();
    let client = nodes.clients.remove(0);
    let names: Vec<_> = nodes.nodes.iter().map(|node| node.name.clone()).collect();

    let tunnels = arrive_while(&client, || restart_each(&mut nodes, &names)).unwrap();

    assert!(tunnels.len() > 20, "{} clients arrived", tunnels.len());
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn no_client_of_our_gateways_fails_while_one_after_the_other_is_restarted() {
    let mut nodes = Nodes::start(Options { gateways: Gateways::Own, ..Options::default() }).unwrap();
    let client = nodes.clients.remove(0);
    let names: Vec<_> = nodes.nodes.iter().map(|node| node.name.clone()).collect();

    let tunnels = arrive_while(&client, || restart_each(&mut nodes, &names)).unwrap();

    assert!(tunnels.len() > 20, "{} clients arrived", tunnels.len());
    ping_through_all(&client, &tunnels).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn clients_kept_on_the_vip_stay_with_their_gateway_when_a_lowered_priority_takes_the_vip_away() {
    let mut nodes = Nodes::build(Options { gateways: Gateways::Own, ..Options::default() }).unwrap();
    for node in &mut nodes.nodes {
        node.settings.preempt = true;
    }
    nodes.start_all().unwrap();
    let client = nodes.clients.remove(0);
    let first = nodes.active().unwrap();
    let kept = |nodes: &mut Nodes| {
        let sas = nodes.node(&first).unwrap().control().sas().unwrap();
        sas.into_iter().filter(|sa| VIPS.contains(&sa.local.ip())).count()
    };

    let mut were_kept = 0;
    let tunnels = arrive_while(&client, || {
        wait::until("the Active keeps clients", PATIENCE, || {
            were_kept = kept(&mut nodes);
            ensure!(were_kept > 3, "{were_kept}");
            Ok(())
        })
        .unwrap();
        let node = nodes.node(&first).unwrap();
        node.settings.priority = 10;
        node.reload().unwrap();
        wait::until("another node is Active", PATIENCE, || {
            let now = nodes.active()?;
            ensure!(now != first, "{now}");
            Ok(())
        })
        .unwrap();
        nodes.node(&first).unwrap().wait_for_event(&["told to go to", "address-gone"], PATIENCE).unwrap();
        nodes.wait_settled(PATIENCE).unwrap();
    })
    .unwrap();

    ping_through_all(&client, &tunnels).unwrap();
    // Nobody had to find out by himself: that takes a client seconds.
    let own: [IpAddr; 2] =
        [nodes.node(&first).unwrap().address4.into(), nodes.node(&first).unwrap().address6.into()];
    let moved = nodes.node(&first).unwrap().control().sas().unwrap();
    let moved =
        moved.iter().filter(|sa| own.contains(&sa.local.ip()) && sa.redirected_from.is_some()).count();
    assert!(moved >= were_kept, "{were_kept} were kept, {moved} came back\n{}", nodes.describe());
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn an_interface_that_is_taken_away_and_returns_is_part_of_the_cluster_again() {
    let mut nodes = Nodes::start(Options::default()).unwrap();
    let first = nodes.active().unwrap();

    nodes.remove_interface(&first).unwrap();
    wait::until("another node is Active", PATIENCE, || {
        let active = nodes.active()?;
        ensure!(active != first, "{active}");
        Ok(())
    })
    .unwrap();
    nodes.node(&first).unwrap().check_running().unwrap();
    nodes.restore_interface(&first).unwrap();

    nodes.wait_settled(PATIENCE).unwrap();
    // Its turn comes again.
    let second = nodes.active().unwrap();
    let names: Vec<_> = nodes.nodes.iter().map(|node| node.name.clone()).collect();
    for name in names.iter().filter(|name| **name != first) {
        nodes.node(name).unwrap().stop().unwrap();
    }
    assert_eq!(nodes.wait_settled(PATIENCE).unwrap(), first, "after {second}");
}
