//! strongSwan clients that know only the VIP.

use std::net::IpAddr;

use anyhow::ensure;
use xtask::lab::balancer::{Member, Redirectd};
use xtask::lab::load::tally;
use xtask::lab::strongswan::{Charon, GatewayConfig, Redirect, Settings};
use xtask::lab::topology::{Cluster, Options, VIP4, VIP6};
use xtask::lab::wait;

use crate::PATIENCE;

/// All gateways of a cluster with equal weights.
fn members(cluster: &Cluster) -> Vec<Member> {
    cluster.gateways.iter().map(|gateway| Member::of(gateway, 1)).collect()
}

fn a_client_lands_on_a_gateway(mode: &str, vip: IpAddr, port: u16) {
    let cluster = Cluster::build(Options::default()).unwrap();
    let daemon = Redirectd::start_in_mode(&cluster, mode, &members(&cluster)).unwrap();
    let client = &cluster.clients[0];
    client.charon.add_client(&client.connection("alice", vip, port)).unwrap();

    client.charon.initiate("alice").unwrap();
    let tunnel = client.charon.wait_for_tunnel("alice", PATIENCE).unwrap();

    let gateway = cluster.gateway_at(tunnel.remote).unwrap();
    assert_eq!(tunnel.remote.is_ipv4(), vip.is_ipv4(), "the client stays in its family");
    assert_eq!(tunnel.remote_id, gateway.name);
    client.charon.ping_through(&tunnel, PATIENCE).unwrap();
    let obeyed = client.charon.redirects(&mut 0).unwrap();
    assert_eq!(obeyed, [Redirect { client: "alice".to_owned(), gateway: tunnel.remote }]);
    let redirect = daemon.show_redirect().unwrap();
    assert_eq!(redirect.counters["redirected"], 1);
    for counted in &redirect.gateways {
        assert_eq!(counted.redirects, u64::from(counted.name == gateway.name), "{redirect:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_strongswan_client_that_knows_only_the_vip_lands_on_a_gateway() {
    a_client_lands_on_a_gateway("auto", VIP4.into(), 500);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_strongswan_client_that_knows_only_the_ipv6_vip_lands_on_a_gateway() {
    a_client_lands_on_a_gateway("auto", VIP6.into(), 500);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_strongswan_client_on_port_4500_lands_on_a_gateway() {
    a_client_lands_on_a_gateway("auto", VIP4.into(), 4500);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_strongswan_client_lands_on_a_gateway_by_xdp_above_the_driver() {
    a_client_lands_on_a_gateway("generic", VIP4.into(), 500);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_strongswan_client_lands_on_a_gateway_without_xdp() {
    a_client_lands_on_a_gateway("userspace", VIP4.into(), 500);
    a_client_lands_on_a_gateway("userspace", VIP6.into(), 4500);
}

// RDF-08, RDF-09
#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn every_one_of_many_strongswan_clients_lands_where_the_counters_say() {
    const CLIENTS: u32 = 32;
    let cluster = Cluster::build(Options::default()).unwrap();
    let weights = [1, 1, 2];
    let members: Vec<_> =
        cluster.gateways.iter().zip(weights).map(|(gateway, weight)| Member::of(gateway, weight)).collect();
    let daemon = Redirectd::start(&cluster, &members).unwrap();
    let client = &cluster.clients[0];
    let names: Vec<_> = (0..CLIENTS).map(|number| format!("client{number}")).collect();

    for name in &names {
        client.charon.add_client(&client.connection(name, VIP4.into(), 500)).unwrap();
        client.charon.initiate(name).unwrap();
    }
    let tunnels: Vec<_> =
        names.iter().map(|name| client.charon.wait_for_tunnel(name, PATIENCE).unwrap()).collect();

    let landed = tally(tunnels.iter().map(|tunnel| Some(tunnel.remote)));
    assert_eq!(landed.values().sum::<u32>(), CLIENTS);
    for counted in daemon.show_redirect().unwrap().gateways {
        let gateway = cluster.gateways.iter().find(|gateway| gateway.name == counted.name).unwrap();
        let address = Some(IpAddr::from(gateway.address4));
        let clients = landed.get(&address).copied().unwrap_or_default();
        assert_eq!(counted.redirects, u64::from(clients), "{landed:?}");
        // Less likely than one in ten thousand with a quarter of 32 clients.
        assert!(clients > 0, "{} got nobody: {landed:?}", gateway.name);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_without_redirect_support_is_kept_by_the_node_it_reached() {
    let client_settings = Settings { follow_redirects: false, ..Settings::default() };
    let cluster = Cluster::build(Options { client_settings, ..Options::default() }).unwrap();
    let daemon = Redirectd::start(&cluster, &members(&cluster)).unwrap();
    let local = Charon::start(&cluster.balancer, Settings::default()).unwrap();
    cluster.balancer.ip("address add 10.99.200.1/32 dev lo").unwrap();
    cluster.balancer.ip("address add fd99:200::1/128 dev lo nodad").unwrap();
    local
        .serve(&GatewayConfig {
            identity: "lb".to_owned(),
            pools: vec!["10.98.200.0/24".to_owned(), "fd98:200::/64".to_owned()],
            inside: vec!["10.99.200.0/24".to_owned(), "fd99:200::/64".to_owned()],
            ..GatewayConfig::default()
        })
        .unwrap();
    let client = &cluster.clients[0];
    client.charon.add_client(&client.connection("alice", VIP4.into(), 500)).unwrap();

    client.charon.initiate("alice").unwrap();
    let tunnel = client.charon.wait_for_tunnel("alice", PATIENCE).unwrap();

    assert_eq!(tunnel.remote, IpAddr::V4(VIP4));
    assert_eq!(tunnel.remote_id, "lb");
    client.charon.ping_through(&tunnel, PATIENCE).unwrap();
    let redirect = daemon.show_redirect().unwrap();
    assert_eq!(redirect.counters["redirected"], 0);
    assert_eq!(redirect.counters["no-redirect-support"], 1);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_that_was_sent_to_a_dead_gateway_asks_the_vip_again() {
    let mut cluster = Cluster::build(Options { gateways: 2, ..Options::default() }).unwrap();
    let members = members(&cluster);
    let daemon = Redirectd::start(&cluster, &members[..1]).unwrap();
    let dead = cluster.gateways.remove(0);
    drop(dead);
    let client = &cluster.clients[0];
    client.charon.add_client(&client.connection("alice", VIP4.into(), 500)).unwrap();
    client.charon.initiate("alice").unwrap();
    wait::until("the client was sent to the dead gateway", PATIENCE, || {
        let redirects = client.charon.redirects(&mut 0)?;
        ensure!(redirects.len() == 1, "{redirects:?}");
        Ok(())
    })
    .unwrap();

    daemon.reload(&members[1..]).unwrap();

    let tunnel = client.charon.wait_for_tunnel("alice", PATIENCE).unwrap();
    assert_eq!(tunnel.remote_id, "gw2");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_whose_gateway_dies_comes_back_through_the_vip() {
    let mut cluster = Cluster::build(Options { gateways: 2, ..Options::default() }).unwrap();
    let members = members(&cluster);
    let daemon = Redirectd::start(&cluster, &members[..1]).unwrap();
    let client = &cluster.clients[0];
    let mut connection = client.connection("alice", VIP4.into(), 500);
    connection.is_watchful = true;
    client.charon.add_client(&connection).unwrap();
    client.charon.initiate("alice").unwrap();
    assert_eq!(client.charon.wait_for_tunnel("alice", PATIENCE).unwrap().remote_id, "gw1");

    drop(cluster.gateways.remove(0));
    daemon.reload(&members[1..]).unwrap();

    wait::until("the client has a tunnel to the other gateway", PATIENCE, || {
        let tunnels = cluster.clients[0].charon.tunnels()?;
        ensure!(tunnels.iter().any(|tunnel| tunnel.is_up() && tunnel.remote_id == "gw2"), "{tunnels:?}");
        Ok(())
    })
    .unwrap();
}
