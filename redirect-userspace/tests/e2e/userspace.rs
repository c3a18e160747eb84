//! Nodes without XDP: sockets answer for the VIP, and wait for it on the other nodes.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;

use xtask::lab::nodes::{Gateways, Node, Nodes, Options, Pace};
use xtask::lab::topology::{VIP4, VIP6};

use crate::PATIENCE;
use crate::election::answers;

/// Nodes that have no XDP program.
fn nodes(options: Options) -> Nodes {
    let mut nodes = Nodes::build(options).unwrap();
    for node in &mut nodes.nodes {
        node.settings.mode = String::from("userspace");
    }
    nodes.start_all().unwrap();
    nodes
}

/// An address as the kernel prints it in its list of sockets.
fn printed(address: IpAddr) -> String {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let words = octets.as_chunks::<4>().0.iter().map(|word| format!("{:08X}", u32::from_ne_bytes(*word)));
    words.collect()
}

/// Sockets on the IKE ports of the VIPs, each with its inode, which no other one ever has.
fn sockets(node: &Node) -> BTreeSet<(String, String)> {
    let read = |list| fs::read_to_string(format!("/proc/thread-self/net/{list}"));
    let lists = node.namespace().enter(|| Ok([read("udp")?, read("udp6")?].concat())).unwrap();
    let vips = [VIP4.into(), VIP6.into()].map(printed);
    let ends = |address: &str| {
        ["01F4", "1194"].iter().any(|port| vips.iter().any(|vip| *address == format!("{vip}:{port}")))
    };
    let columns = lists.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = columns.filter(|columns| columns.len() > 9 && ends(columns[1]));
    found.map(|columns| (columns[1].to_owned(), columns[9].to_owned())).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_standby_router_opens_nothing_when_it_takes_over() {
    let mut nodes = nodes(Options { pace: Pace::BRISK, ..Options::default() });
    let first = nodes.active().unwrap();
    let [standby] = &nodes.in_state("standby").unwrap()[..] else { panic!("{}", nodes.states()) };
    let standby = standby.clone();
    let before = sockets(nodes.node(&standby).unwrap());
    let addresses: BTreeSet<_> = before.iter().map(|(address, _)| address).collect();
    assert_eq!(addresses.len(), 4, "two VIPs with two ports each: {before:?}");

    nodes.node(&first).unwrap().kill().unwrap();
    assert_eq!(nodes.wait_settled(PATIENCE).unwrap(), standby);

    answers(&mut nodes);
    assert_eq!(sockets(nodes.node(&standby).unwrap()), before);

    // Nor does it close anything when the VIP goes.
    nodes.node(&first).unwrap().settings.preempt = true;
    nodes.node(&first).unwrap().start().unwrap();
    nodes.node(&standby).unwrap().settings.priority = 1;
    nodes.node(&standby).unwrap().reload().unwrap();
    assert_eq!(nodes.wait_settled(PATIENCE).unwrap(), first);
    answers(&mut nodes);
    assert_eq!(sockets(nodes.node(&standby).unwrap()), before);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_node_whose_port_another_ike_daemon_holds_says_so_and_leaves_that_daemon_alone() {
    let mut nodes =
        Nodes::build(Options { gateways: Gateways::Strongswan, nodes: 1, ..Options::default() }).unwrap();
    let node = &mut nodes.nodes[0];
    node.settings.mode = String::from("userspace");

    node.spawn().unwrap();
    let status = node.wait(PATIENCE).unwrap();

    assert_eq!(status.code(), Some(1));
    let log = node.log();
    assert!(log.contains(&format!("{VIP4}:500")) && log.contains("in use"), "{log}");
    let client = &nodes.clients[0];
    let remote = nodes.nodes[0].address4.into();
    client.charon.add_client(&client.connection("direct", remote, 500)).unwrap();
    client.charon.initiate("direct").unwrap();
    let tunnel = client.charon.wait_for_tunnel("direct", PATIENCE).unwrap();
    assert_eq!(tunnel.remote, remote);
    client.charon.ping_through(&tunnel, PATIENCE).unwrap();
}
