//! The laboratory itself, without a balancer: if these fail, no other test here means anything.

use std::net::IpAddr;
use std::time::Duration;

use xtask::lab::topology::{Cluster, Options};

const PATIENCE: Duration = Duration::from_secs(20);

fn a_client_reaches_a_gateway_directly(gateway: impl Fn(&Cluster) -> IpAddr) {
    let cluster = Cluster::build(Options { gateways: 1, ..Options::default() }).unwrap();
    let client = &cluster.clients[0];
    let remote = gateway(&cluster);
    client.charon.add_client(&client.connection("alice", remote, 500)).unwrap();

    client.charon.initiate("alice").unwrap();
    let tunnel = client.charon.wait_for_tunnel("alice", PATIENCE).unwrap();

    assert_eq!(tunnel.remote, remote);
    assert_eq!(tunnel.remote_id, "gw1");
    assert_eq!(tunnel.virtual_addresses.len(), 2);
    client.charon.ping_through(&tunnel, PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_builds_a_tunnel_over_ipv4_and_pings_through_it() {
    a_client_reaches_a_gateway_directly(|cluster| cluster.gateways[0].address4.into());
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_builds_a_tunnel_over_ipv6_and_pings_through_it() {
    a_client_reaches_a_gateway_directly(|cluster| cluster.gateways[0].address6.into());
}
