//! End-to-end tests: real processes in network namespaces, strongSwan as the peer.
//!
//! They run the release build; `cargo xtask test e2e` makes it first.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say where"
)]

mod client;
mod drain;
mod election;
mod failover;
mod fault;
mod foreign;
mod gateway;
mod hostile;
mod lab;
mod moving;
mod redirect;
mod reload;
mod strongswan;
mod ticket;
mod userspace;
mod visitors;
mod vlan;
mod wires;

use std::net::IpAddr;
use std::time::Duration;

use xtask::lab::load::Asker;
use xtask::lab::topology::{Cluster, Options, VIP4, VIP6};

/// For what takes milliseconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// tshark's number for a good checksum.
const GOOD: &str = "1";

const VIPS: [IpAddr; 2] = [IpAddr::V4(VIP4), IpAddr::V6(VIP6)];

/// One client, and a balancer whose members nobody stands behind.
fn without_gateways() -> Cluster {
    Cluster::build(Options { gateways: 0, ..Options::default() }).unwrap()
}

/// A source of raw requests at the first client.
fn asker(cluster: &Cluster, vip: IpAddr, port: u16, seed: u64) -> Asker {
    let client = &cluster.clients[0];
    let local = if vip.is_ipv4() { client.address4.into() } else { client.address6.into() };
    Asker::new(client.charon.namespace(), local, vip, port, seed).unwrap()
}
