//! Clients behind a NAT, and clients that are elsewhere all at once.

use anyhow::ensure;
use xtask::lab::gateway::{Scene, addresses};
use xtask::lab::strongswan::ClientConfig;
use xtask::lab::traffic;
use xtask::lab::wait;

use crate::{PATIENCE, charon, connect, inside, listed, settings};

#[test]
#[ignore = "needs the virtual machine: cargo xtask test vm"]
fn clients_behind_a_nat_travel_in_udp_and_keep_their_tunnel_when_it_changes() {
    let mut scene = Scene::behind_nat_with(2, charon()).unwrap();
    let gateway = scene.start(settings()).unwrap();
    let mut tunnels = Vec::new();
    for (visitor, name) in scene.visitors.iter().zip(["alice", "bob"]) {
        let tunnel = connect(visitor, &visitor.connection(name, addresses()[0]));
        visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
        tunnels.push(tunnel);
    }
    let states = listed(&scene.site, "state").unwrap();
    assert_eq!(states.len(), 4, "{states:?}");
    assert!(states.iter().all(|state| state.contains("encap type espinudp")), "{states:?}");

    scene.nat.as_mut().unwrap().renumber().unwrap();

    let nat = scene.nat.as_ref().unwrap();
    for (visitor, tunnel) in scene.visitors.iter().zip(&tunnels) {
        // The gateway learns it from the first ESP packet.
        visitor.charon.ping_through(tunnel, PATIENCE).unwrap();
        let own = tunnel.virtual_address(false).unwrap();
        scene.site.ping(inside(false), own, PATIENCE).unwrap();
        gateway
            .wait_for("the client is elsewhere", PATIENCE, |sas| {
                let sa = sas.into_iter().find(|sa| sa.remote_id == tunnel.name);
                ensure!(sa.as_ref().is_some_and(|sa| nat.has_address(sa.remote.ip())), "{sa:?}");
                Ok(())
            })
            .unwrap();
        gateway.wait_for_event("sa-moved", &[&tunnel.name], PATIENCE).unwrap();
    }
    assert_eq!(listed(&scene.site, "state").unwrap().len(), 4);
}

#[test]
#[ignore = "needs the virtual machine: cargo xtask test vm"]
fn a_client_changes_its_address_in_mid_transfer() {
    let scene = Scene::with(1, charon()).unwrap();
    let gateway = scene.start(settings()).unwrap();
    let visitor = &scene.visitors[0];
    let connection = ClientConfig { is_mobile: true, ..visitor.connection("alice", addresses()[0]) };
    let tunnel = connect(visitor, &connection);
    visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    let place = visitor.charon.namespace();
    let own = tunnel.virtual_address(false).unwrap();

    traffic::stream((place, own), (&scene.site, inside(false)), |stream| {
        stream.wait_for(SOME, PATIENCE)?;
        place.ip("address delete 10.50.0.101/24 dev eth0\naddress add 10.50.0.201/24 dev eth0\n")?;
        wait::until("the gateway sends to the new address", PATIENCE, || {
            let states = listed(&scene.site, "state")?;
            let there = states.iter().filter(|state| state.contains("10.50.0.201")).count();
            ensure!(states.len() == 2 && there == 2, "{states:?}");
            Ok(())
        })?;
        stream.wait_for(SOME, PATIENCE)
    })
    .unwrap();

    gateway.wait_for_event("sa-moved", &["10.50.0.201", "10.50.0.101"], PATIENCE).unwrap();
}

/// Octets that come back between two moves.
const SOME: u64 = 128 << 10;
