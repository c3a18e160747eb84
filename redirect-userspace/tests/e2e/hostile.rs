//! Neighbours that are wrong, mistaken or hostile: said by name, counted, and without effect.

use std::net::TcpListener;

use anyhow::ensure;
use xtask::lab::nodes::{Nodes, Options};
use xtask::lab::scapy;
use xtask::lab::topology::VIP4;
use xtask::lab::wait;

use crate::PATIENCE;
use crate::election::answers;

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_vip_that_another_host_has_is_reported_by_name() {
    let mut nodes = Nodes::build(Options::default()).unwrap();
    let client = nodes.clients[0].charon.namespace().clone();
    client.ip(&format!("address add {VIP4}/32 dev eth0")).unwrap();

    for node in &mut nodes.nodes {
        node.start().unwrap();
    }

    wait::until("a node tells that another host has the VIP", PATIENCE, || {
        let told = nodes.nodes.iter().any(|node| {
            let events = node.control().events().unwrap_or_default();
            events.iter().any(|event| {
                event.event == "vip-conflict"
                    && event.severity == "error"
                    && event.text.contains(&VIP4.to_string())
            })
        });
        ensure!(told, "{}", nodes.states());
        Ok(())
    })
    .unwrap();
    for node in &mut nodes.nodes {
        node.check_running().unwrap();
    }
    client.ip(&format!("address delete {VIP4}/32 dev eth0")).unwrap();
    nodes.wait_settled(PATIENCE).unwrap();
    answers(&mut nodes);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_node_with_another_cluster_key_is_refused_and_the_others_are_not_disturbed() {
    let mut nodes = Nodes::build(Options { nodes: 4, ..Options::default() }).unwrap();
    nodes.nodes[3].settings.cluster_key = "another key, long enough to be one".to_owned();
    for node in &mut nodes.nodes {
        node.start().unwrap();
    }

    let offered = || -> anyhow::Result<String> {
        let active = nodes.active()?;
        let master = nodes.nodes.iter().find(|node| node.name == active).unwrap();
        let cluster = master.cluster()?;
        ensure!(cluster.up() == ["gw1", "gw2", "gw3"], "{active} offers {:?}", cluster.up());
        Ok(active)
    };
    let active = wait::until("the three with the same key are offered", PATIENCE, offered).unwrap();

    assert_ne!(active, "gw4", "it has the lowest priority");
    let master = nodes.node(&active).unwrap();
    let told = master.wait_for_event(&["peer-refused", "10.50.0.14"], PATIENCE).unwrap();
    assert!(told.contains("key"), "{told}");
    answers(&mut nodes);
    let cluster = nodes.node(&active).unwrap().cluster().unwrap();
    assert_eq!(cluster.up(), ["gw1", "gw2", "gw3"]);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_node_with_another_election_key_is_not_listened_to() {
    let mut nodes = Nodes::build(Options::default()).unwrap();
    nodes.nodes[2].settings.election_key = Some("another key".to_owned());
    nodes.nodes[2].settings.priority = 200;
    for node in &mut nodes.nodes {
        node.start().unwrap();
    }

    wait::until("the other two have elected one of them", PATIENCE, || {
        let active = nodes.in_state("active")?;
        ensure!(active.contains(&"gw1".to_owned()), "{}", nodes.states());
        Ok(())
    })
    .unwrap();
    let told = nodes.nodes[0].wait_for_event(&["10.50.0.13", "authentication"], PATIENCE).unwrap();
    assert!(told.starts_with("warn"), "{told}");
    assert_eq!(nodes.nodes[0].standby().unwrap().state, "active");
}

/// A coup of HSRP version 2 with the highest priority: the group state TLV, then a digest that
/// somebody without the key has made up.
const FORGED_COUP: &str = r#"
vip = inet_aton("10.50.0.5")
state = struct.pack("!BBBBBBH6sIII16s", 1, 40, 2, 1, 6, 4, 1, bytes.fromhex("0200c0ffee01"),
                    255, 250, 800, vip.ljust(16, b"\0"))
digest = struct.pack("!BBBBH4sI16s", 4, 28, 1, 0, 0, inet_aton("10.50.0.101"), 0, b"\x5a" * 16)
frame = (Ether(src="02:00:c0:ff:ee:01", dst="01:00:5e:00:00:66")
         / IP(src="10.50.0.101", dst="224.0.0.102", ttl=1, tos=0xc0)
         / UDP(sport=1985, dport=1985) / Raw(state + digest))
for _ in range(20):
    sendp(frame, iface="eth0")
"#;

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_forged_coup_changes_nothing_and_is_counted() {
    let mut nodes = Nodes::start(Options::default()).unwrap();
    let active = nodes.active().unwrap();
    let before: Vec<_> = nodes.nodes.iter().map(|node| node.standby().unwrap().state_changes).collect();

    scapy::run(nodes.clients[0].charon.namespace(), FORGED_COUP).unwrap();

    for node in &nodes.nodes {
        node.wait_for_event(&["10.50.0.101", "authentication-value"], PATIENCE).unwrap();
    }
    let after: Vec<_> = nodes.nodes.iter().map(|node| node.standby().unwrap().state_changes).collect();
    assert_eq!(after, before);
    assert_eq!(nodes.wait_settled(PATIENCE).unwrap(), active);
    answers(&mut nodes);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_port_in_use_is_reported_and_taken_when_it_is_free() {
    let mut nodes = Nodes::build(Options { nodes: 2, ..Options::default() }).unwrap();
    let port = nodes.nodes[0].settings.port;
    let mut others: Vec<TcpListener> = nodes
        .nodes
        .iter()
        .map(|node| node.namespace().enter(|| TcpListener::bind(("0.0.0.0", port))).unwrap())
        .collect();
    for node in &mut nodes.nodes {
        node.start().unwrap();
    }

    let active = wait::until("one node is Active", PATIENCE, || nodes.active()).unwrap();
    let told = nodes.node(&active).unwrap().wait_for_event(&["listen-failed"], PATIENCE).unwrap();
    assert!(told.contains(&port.to_string()), "{told}");
    others.clear();

    nodes.wait_settled(PATIENCE).unwrap();
    answers(&mut nodes);
}
