//! Our client, brought up by packets.

use std::net::IpAddr;

use anyhow::ensure;
use xtask::lab::gateway::{Connection, Gateway, Place, Scene, Settings, addresses};
use xtask::lab::wait;

use crate::PATIENCE;

/// A client whose connection to what is inside waits for packets.
fn waiting(scene: &Scene, inside: &[&str]) -> (Place, Gateway) {
    let place = scene.place(1).unwrap();
    let connection =
        Connection { start: "trap", ..Connection::new("alice", &addresses()[..1], &["gw1"], inside) };
    let dataplane = Some("userspace".to_owned());
    let settings = Settings { connections: vec![connection], dataplane, ..Settings::default() };
    let client = Gateway::start(&place.namespace, settings).unwrap();
    (place, client)
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn packets_bring_our_client_up_and_nothing_else_does() {
    let scene = Scene::new(0).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let (place, mut client) = waiting(&scene, &["10.99.0.0/16", "fd99::/16"]);
    let inside = Scene::inside(false).unwrap();
    place.namespace.ping(place.address4.into(), addresses()[0], PATIENCE).unwrap();
    assert!(client.sas().unwrap().is_empty(), "that was not for the connection");

    let sa = client.knock(&place, inside, PATIENCE).unwrap();

    let words = ["alice", &place.address4.to_string(), &inside.to_string()];
    client.wait_for_event("connection-wanted", &words, PATIENCE).unwrap();
    let own = sa.addresses.iter().find(|own| own.is_ipv4()).unwrap();
    place.namespace.ping(*own, inside, PATIENCE).unwrap();

    client.control().clear("gw1").unwrap();
    client.wait_until_gone("gw1", PATIENCE).unwrap();
    gateway.wait_until_gone("alice@example.net", PATIENCE).unwrap();
    let inside6 = Scene::inside(true).unwrap();
    let sa = client.knock(&place, inside6, PATIENCE).unwrap();
    let own = sa.addresses.iter().find(|own| own.is_ipv6()).unwrap();
    place.namespace.ping(*own, inside6, PATIENCE).unwrap();

    client.stop().unwrap();
    assert!(place.namespace.link("ike0").is_err(), "the interface is gone");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_gateway_within_the_network_that_packets_are_watched_for_is_reached_all_the_same() {
    let scene = Scene::new(0).unwrap();
    let _gateway = scene.start(Settings::of_shared_key()).unwrap();
    let (place, client) = waiting(&scene, &["0.0.0.0/0", "::/0"]);
    let inside = Scene::inside(false).unwrap();

    let sa = client.knock(&place, inside, PATIENCE).unwrap();

    let own = sa.addresses.iter().find(|own| own.is_ipv4()).unwrap();
    place.namespace.ping(*own, inside, PATIENCE).unwrap();
}

/// Whether a packet to there would enter the tunnel.
fn is_led_in(place: &Place, to: IpAddr) -> bool {
    let output = place.namespace.command("ip").args(["route", "get", &to.to_string()]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).contains("dev ike0")
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_reload_sets_traps_and_takes_them_away() {
    let scene = Scene::new(0).unwrap();
    let _gateway = scene.start(Settings::of_shared_key()).unwrap();
    let (place, mut client) = waiting(&scene, &["10.99.0.0/16"]);
    let inside = Scene::inside(false).unwrap();
    let leads_in = |wanted: bool| {
        wait::until(&format!("packets are led into the tunnel: {wanted}"), PATIENCE, || {
            ensure!(is_led_in(&place, inside) == wanted);
            Ok(())
        })
        .unwrap();
    };
    leads_in(true);

    client.settings.connections[0].start = "manual";
    client.reload().unwrap();
    leads_in(false);
    place.namespace.knock(inside).unwrap();
    assert!(client.sas().unwrap().is_empty());

    client.settings.connections[0].start = "trap";
    client.reload().unwrap();
    leads_in(true);
    let sa = client.knock(&place, inside, PATIENCE).unwrap();

    // The tunnel stays, and its route with it; when it ends nobody brings it up again.
    client.settings.connections[0].start = "manual";
    client.reload().unwrap();
    place.namespace.ping(sa.addresses[0], inside, PATIENCE).unwrap();
    client.control().clear("gw1").unwrap();
    leads_in(false);
    place.namespace.knock(inside).unwrap();
    assert!(client.sas().unwrap().is_empty());
}
