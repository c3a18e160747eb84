//! Packets that the kernel has a policy for, and no SA.

use anyhow::ensure;
use xtask::lab::gateway::{Connection, Gateway, Place, Scene, Settings, addresses};
use xtask::lab::wait;

use crate::{PATIENCE, inside, is_clean, listed, settings};

/// Waits until the client has so many policies that lead out.
fn wait_for_policies(place: &Place, count: usize) {
    wait::until(&format!("{count} policies lead out"), PATIENCE, || {
        let mut policies = listed(&place.namespace, "policy")?;
        policies.retain(|policy| policy.contains("dir out"));
        ensure!(policies.len() == count, "{policies:?}");
        Ok(())
    })
    .unwrap();
}

#[test]
#[ignore = "needs the virtual machine: cargo xtask test vm"]
fn packets_bring_our_client_up_through_the_kernels_policies() {
    let scene = Scene::new(0).unwrap();
    let gateway = scene.start(settings()).unwrap();
    let place = scene.place(1).unwrap();
    let connection = Connection {
        start: "trap",
        ..Connection::new("alice", &addresses()[..1], &["gw1"], &["10.99.0.0/16", "fd99::/16"])
    };
    let dataplane = Some("kernel".to_owned());
    let own_settings = Settings { connections: vec![connection], dataplane, ..Settings::default() };
    let mut client = Gateway::start(&place.namespace, own_settings).unwrap();
    wait_for_policies(&place, 2);
    assert!(client.sas().unwrap().is_empty());

    let sa = client.knock(&place, inside(false), PATIENCE).unwrap();

    let words = ["alice", &place.address4.to_string(), &inside(false).to_string()];
    client.wait_for_event("connection-wanted", &words, PATIENCE).unwrap();
    let own = sa.addresses.iter().find(|own| own.is_ipv4()).unwrap();
    place.namespace.ping(*own, inside(false), PATIENCE).unwrap();
    // Those of the Child SA are in front.
    wait_for_policies(&place, 4);

    client.control().clear("gw1").unwrap();
    client.wait_until_gone("gw1", PATIENCE).unwrap();
    gateway.wait_until_gone("alice@example.net", PATIENCE).unwrap();
    wait_for_policies(&place, 2);
    let sa = client.knock(&place, inside(true), PATIENCE).unwrap();
    let own = sa.addresses.iter().find(|own| own.is_ipv6()).unwrap();
    place.namespace.ping(*own, inside(true), PATIENCE).unwrap();

    client.stop().unwrap();
    is_clean(&place.namespace);
}
