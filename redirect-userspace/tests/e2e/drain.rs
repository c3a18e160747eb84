//! Clients of our own gateways are sent elsewhere by an operator.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use xtask::lab::nodes::{Gateways, Nodes, Options};
use xtask::lab::strongswan::Tunnel;
use xtask::lab::topology::Client;
use xtask::lab::wait;

use crate::PATIENCE;
use crate::visitors::{arrive_while, ping_through_all};

/// A cluster of our own gateways, and clients that have come to all of them.
fn populated(drains_before_stop: bool) -> (Nodes, Client, Vec<Tunnel>) {
    let mut nodes = Nodes::build(Options { gateways: Gateways::Own, ..Options::default() }).unwrap();
    for node in &mut nodes.nodes {
        node.settings.drains_before_stop = drains_before_stop;
    }
    nodes.start_all().unwrap();
    let client = nodes.clients.remove(0);
    let tunnels = arrive_while(&client, || {
        wait::until("every gateway has clients", PATIENCE, || {
            for node in &nodes.nodes {
                let sas = node.control().sas()?.len();
                ensure!(sas >= 3, "{} has {sas}", node.name);
            }
            Ok(())
        })
        .unwrap();
    })
    .unwrap();
    (nodes, client, tunnels)
}

/// Waits until a node has no SA.
fn is_empty(nodes: &Nodes, name: &str) {
    let node = nodes.nodes.iter().find(|node| node.name == name).unwrap();
    wait::until("the node has lost its clients", PATIENCE, || {
        let sas = node.control().sas()?;
        ensure!(sas.is_empty(), "{sas:?}");
        Ok(())
    })
    .unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn every_client_of_a_drained_node_is_served_by_the_others_and_undrain_takes_it_back() {
    let (mut nodes, client, tunnels) = populated(false);
    let master = nodes.active().unwrap();
    let slave = nodes.nodes.iter().map(|node| node.name.clone()).find(|name| *name != master).unwrap();

    // By the master's word, and the master by its own.
    nodes.node(&master).unwrap().control().run(&["drain", &slave]).unwrap();
    is_empty(&nodes, &slave);
    ping_through_all(&client, &tunnels).unwrap();
    nodes.node(&slave).unwrap().wait_for_event(&["has lost its clients"], PATIENCE).unwrap();
    nodes.node(&master).unwrap().control().run(&["undrain", &slave]).unwrap();
    wait::until("the slave is offered again", PATIENCE, || {
        let cluster = nodes.node(&master)?.cluster()?;
        ensure!(cluster.up().contains(&slave.as_str()), "{cluster:?}");
        Ok(())
    })
    .unwrap();
    let text = nodes.node(&master).unwrap().control().run(&["drain", "--wait"]).unwrap();
    assert!(text.ends_with("Nobody is left.\n"), "{text}");
    is_empty(&nodes, &master);
    ping_through_all(&client, &tunnels).unwrap();

    // Everybody who has come is still there, on the nodes that are left.
    let gateways: BTreeSet<_> = client.charon.tunnels().unwrap().into_iter().map(|it| it.remote_id).collect();
    assert!(!gateways.contains(&master), "{gateways:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_drain_that_makes_no_sense_is_refused_with_a_reason() {
    let mut nodes = Nodes::start(Options { nodes: 2, ..Options::default() }).unwrap();
    let master = nodes.active().unwrap();
    let other = nodes.nodes.iter().map(|node| node.name.clone()).find(|name| *name != master).unwrap();
    let refused = |nodes: &mut Nodes, name: &str, arguments: &[&str]| {
        let error = nodes.node(name).unwrap().control().run(arguments).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("exit status: 1"), "{arguments:?}: {text}");
        text
    };

    assert!(refused(&mut nodes, &master, &["drain", "gw9"]).contains("no member \"gw9\" reports"));
    assert!(refused(&mut nodes, &other, &["drain", &master]).contains("not the master"));
    assert!(refused(&mut nodes, &master, &["undrain"]).contains("is not being drained"));
    nodes.node(&master).unwrap().control().run(&["drain", &other]).unwrap();
    wait::until("the slave is drained", PATIENCE, || {
        let cluster = nodes.node(&master)?.cluster()?;
        let state = cluster.gateway(&other).context("it is gone")?.state.clone();
        ensure!(state == "draining", "{state}");
        Ok(())
    })
    .unwrap();
    assert!(refused(&mut nodes, &master, &["drain", &other]).contains("already"));
    assert!(refused(&mut nodes, &master, &["drain"]).contains("last member"));
    // It has no gateway of its own.
    assert!(refused(&mut nodes, &master, &["redirect", "all"]).contains("no gateway of its own"));
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn an_operator_moves_one_client_and_a_part_of_the_others() {
    let (mut nodes, client, tunnels) = populated(false);
    let names: Vec<_> = nodes.nodes.iter().map(|node| node.name.clone()).collect();
    let [from, to] = [&names[1], &names[2]];
    let who = nodes.node(from).unwrap().control().sas().unwrap().remove(0).remote_id;

    let node = nodes.node(from).unwrap();
    let text = node.control().run(&["redirect", "identity", &who, "--to", to]).unwrap();
    assert_eq!(text, "The client is told to go.\n");
    wait::until("the client is at the other gateway", PATIENCE, || {
        let tunnel = client.charon.wait_for_tunnel(&who, PATIENCE)?;
        ensure!(tunnel.remote_id == *to, "{tunnel:?}");
        Ok(())
    })
    .unwrap();
    let text = node.control().run(&["redirect", "all", "--percent", "50"]).unwrap();
    assert!(text.contains("clients are told to go") || text.contains("client is told to go"), "{text}");
    for arguments in [
        ["redirect", "id", "9999"].as_slice(),
        &["redirect", "identity", "nobody"],
        &["redirect", "all", "--to", "gw9"],
    ] {
        let error = format!("{:#}", node.control().run(arguments).unwrap_err());
        assert!(error.contains("exit status: 1") && error.contains("there is no"), "{arguments:?}: {error}");
    }

    ping_through_all(&client, &tunnels).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_node_that_is_drained_before_it_ends_has_no_clients_when_it_does() {
    let (mut nodes, client, tunnels) = populated(true);
    let master = nodes.active().unwrap();

    nodes.node(&master).unwrap().stop().unwrap();

    let log = nodes.node(&master).unwrap().log();
    let at = |event: &str| log.find(&format!("event=\"{event}\"")).with_context(|| format!("{event}\n{log}"));
    let [began, done, stopped] = ["drain-began", "drain-done", "stopped"].map(|event| at(event).unwrap());
    assert!(began < done && done < stopped, "{log}");
    ping_through_all(&client, &tunnels).unwrap();
}
