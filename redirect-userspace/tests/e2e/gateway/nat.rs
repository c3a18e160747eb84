//! Clients behind a NAT box.

use std::net::SocketAddr;

use anyhow::ensure;
use xtask::lab::gateway::{Scene, Settings, addresses};
use xtask::lab::nat::Nat;

use super::{carries_data, connect, family};
use crate::PATIENCE;

/// The box's outside, with a port of its own choice.
fn is_outside(nat: &Nat, remote: SocketAddr) -> bool {
    nat.has_address(remote.ip()) && (20_000..30_000).contains(&remote.port())
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn clients_behind_one_nat_have_tunnels_of_their_own() {
    let scene = Scene::behind_nat(2).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();

    for address in addresses() {
        for visitor in &scene.visitors {
            let name = format!("{}-{}", visitor.charon.namespace().role(), family(address));
            let tunnel = connect(visitor, &visitor.connection(&name, address));

            carries_data(visitor, &tunnel, &scene.site);
            let sa = gateway.wait_for_sa(&name, PATIENCE).unwrap();
            assert!(sa.remote_behind_nat && is_outside(scene.nat.as_ref().unwrap(), sa.remote), "{sa:?}");
        }
    }
    assert_eq!(gateway.sas().unwrap().len(), 4);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_whose_nat_gives_it_another_address_keeps_its_tunnel() {
    let mut scene = Scene::behind_nat(1).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let mut tunnels = Vec::new();
    for address in addresses() {
        let visitor = &scene.visitors[0];
        tunnels.push(connect(visitor, &visitor.connection(family(address), address)));
    }

    scene.nat.as_mut().unwrap().renumber().unwrap();

    let visitor = &scene.visitors[0];
    for tunnel in tunnels {
        // The gateway learns it from the first ESP packet.
        carries_data(visitor, &tunnel, &scene.site);
        let moved = gateway
            .wait_for("the client is elsewhere", PATIENCE, |sas| {
                let sa = sas.into_iter().find(|sa| sa.remote_id == tunnel.name);
                let sa = sa.filter(|sa| is_outside(scene.nat.as_ref().unwrap(), sa.remote));
                ensure!(sa.is_some(), "{sa:?}");
                Ok(sa)
            })
            .unwrap();
        assert_eq!(moved.unwrap().spi_i, tunnel.spis[0], "it is the same SA");
        gateway.wait_for_event("sa-moved", &[&tunnel.name], PATIENCE).unwrap();
        // IKE goes to the new address, too.
        gateway.control().clear(&tunnel.name).unwrap();
        visitor.charon.wait_until_gone(&tunnel.name, PATIENCE).unwrap();
    }
}
