//! Clients that move to other addresses while a stream goes through their tunnel.

use std::net::IpAddr;

use anyhow::ensure;
use xtask::lab::control::Sa;
use xtask::lab::gateway::{Connection, Gateway, Place, Scene, Settings, addresses};
use xtask::lab::netns::Namespace;
use xtask::lab::strongswan::{ClientConfig, GatewayConfig};
use xtask::lab::{traffic, wait};

use super::connect;
use crate::PATIENCE;

/// Octets that come back between two moves.
const SOME: u64 = 1 << 20;
/// What the client wants to reach.
const INSIDE: [&str; 2] = ["10.99.0.0/16", "fd99::/16"];

/// Our client in its place, and the SA that it has brought up.
fn client(scene: &Scene, inside: &[&str]) -> (Place, Gateway, Sa) {
    let place = scene.place(1).unwrap();
    let connection = Connection::new("alice", &addresses()[..1], &["gw1"], inside);
    let settings = Settings { connections: vec![connection], ..Settings::default() };
    let client = Gateway::start(&place.namespace, settings).unwrap();
    let sa = client.wait_for_sa("gw1", PATIENCE).unwrap();
    (place, client, sa)
}

fn ipv4(addresses: &[IpAddr]) -> IpAddr {
    *addresses.iter().find(|address| address.is_ipv4()).unwrap()
}

/// The client's interface gets another address in the place of the one that it has.
fn renumber(client: &Namespace, from: &str, to: &str) {
    // A second address of a network goes with the first one.
    client.ip(&format!("address delete {from} dev eth0\naddress add {to} dev eth0\n")).unwrap();
}

/// Waits until an SA with this peer is between this address and another one; it is still the same.
fn wait_until_at(gateway: &Gateway, spi_i: &str, at: IpAddr, is_local: bool) {
    gateway
        .wait_for(&format!("the SA is at {at}"), PATIENCE, |sas| {
            let sa = sas.into_iter().find(|sa| sa.spi_i == spi_i);
            let is_there = |sa: &Sa| if is_local { sa.local.ip() == at } else { sa.remote.ip() == at };
            ensure!(sa.as_ref().is_some_and(is_there), "{sa:?}");
            Ok(())
        })
        .unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn our_client_changes_its_address_in_mid_transfer() {
    let scene = Scene::new(0).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let (place, client, sa) = client(&scene, &INSIDE);
    assert!(sa.mobike, "{sa:?}");
    let (own, inside) = (ipv4(&sa.addresses), Scene::inside(false).unwrap());

    traffic::stream((&place.namespace, own), (&scene.site, inside), |stream| {
        stream.wait_for(SOME, PATIENCE)?;
        for (from, to) in [("10.50.0.101", "10.50.0.201"), ("10.50.0.201", "10.50.0.202")] {
            renumber(&place.namespace, &format!("{from}/24"), &format!("{to}/24"));
            stream.wait_for(SOME, PATIENCE)?;
            wait_until_at(&gateway, &sa.spi_i, to.parse()?, false);
            wait_until_at(&client, &sa.spi_i, to.parse()?, true);
        }
        Ok(())
    })
    .unwrap();

    assert_eq!(client.sas().unwrap().len(), 1);
    client.wait_for_event("sa-roamed", &["10.50.0.201", "10.50.0.101"], PATIENCE).unwrap();
    gateway.wait_for_event("sa-moved", &["10.50.0.201", "10.50.0.101"], PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn our_clients_link_goes_down_and_comes_up_on_another_network() {
    let scene = Scene::new(0).unwrap();
    let _gateway = scene.start(Settings::of_shared_key()).unwrap();
    scene.site.ip("address add 10.60.0.1/24 dev eth0\n").unwrap();
    let (place, client, sa) = client(&scene, &INSIDE);
    let (own, inside) = (ipv4(&sa.addresses), Scene::inside(false).unwrap());

    traffic::stream((&place.namespace, own), (&scene.site, inside), |stream| {
        stream.wait_for(SOME, PATIENCE)?;
        place.namespace.ip("link set eth0 down\naddress flush dev eth0\n")?;
        place.namespace.ip(
            "link set eth0 up\naddress add 10.60.0.2/24 dev eth0\nroute add 10.50.0.0/24 via 10.60.0.1\n",
        )?;
        stream.wait_for(SOME, PATIENCE)?;
        wait_until_at(&client, &sa.spi_i, [10, 60, 0, 2].into(), true);
        Ok(())
    })
    .unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn our_client_goes_from_ipv4_to_ipv6_and_back_in_mid_transfer() {
    let scene = Scene::new(0).unwrap();
    let [v4, v6] = addresses();
    let mut settings = Settings::of_shared_key();
    // The last section is the profile's.
    settings.extra = String::from("mobike-check = false\n");
    settings.mobike_addresses = vec![v4.to_string(), v6.to_string()];
    let gateway = scene.start(settings).unwrap();
    let (place, client, sa) = client(&scene, &INSIDE);
    let (own, inside) = (ipv4(&sa.addresses), Scene::inside(false).unwrap());

    traffic::stream((&place.namespace, own), (&scene.site, inside), |stream| {
        stream.wait_for(SOME, PATIENCE)?;
        place.namespace.ip("address delete 10.50.0.101/24 dev eth0\n")?;
        stream.wait_for(SOME, PATIENCE)?;
        wait_until_at(&gateway, &sa.spi_i, place.address6.into(), false);
        let back =
            format!("address add 10.50.0.101/24 dev eth0\naddress delete {}/64 dev eth0\n", place.address6);
        place.namespace.ip(&back)?;
        stream.wait_for(SOME, PATIENCE)?;
        wait_until_at(&client, &sa.spi_i, place.address4.into(), true);
        Ok(())
    })
    .unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_strongswan_client_changes_its_address_in_mid_transfer() {
    let scene = Scene::new(1).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];
    let connection = ClientConfig { is_mobile: true, ..visitor.connection("alice", addresses()[0]) };
    let tunnel = connect(visitor, &connection);
    let sa = gateway.wait_for_sa("alice", PATIENCE).unwrap();
    assert!(sa.mobike, "{sa:?}");
    let place = visitor.charon.namespace();
    let (own, inside) = (tunnel.virtual_address(false).unwrap(), Scene::inside(false).unwrap());

    traffic::stream((place, own), (&scene.site, inside), |stream| {
        stream.wait_for(SOME, PATIENCE)?;
        renumber(place, "10.50.0.101/24", "10.50.0.201/24");
        wait_until_at(&gateway, &sa.spi_i, [10, 50, 0, 201].into(), false);
        stream.wait_for(SOME, PATIENCE)
    })
    .unwrap();
    assert_eq!(visitor.charon.wait_for_tunnel("alice", PATIENCE).unwrap().spis, tunnel.spis);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn our_client_moves_its_sa_with_strongswan() {
    let scene = Scene::new(0).unwrap();
    let config = GatewayConfig { is_mobile: true, ..GatewayConfig::of_shared_key() };
    let charon = scene.start_strongswan(&config).unwrap();
    let (place, client, sa) = client(&scene, &INSIDE);
    assert!(sa.mobike, "{sa:?}");
    let (own, inside) = (ipv4(&sa.addresses), Scene::inside(false).unwrap());

    traffic::stream((&place.namespace, own), (&scene.site, inside), |stream| {
        stream.wait_for(SOME, PATIENCE)?;
        renumber(&place.namespace, "10.50.0.101/24", "10.50.0.201/24");
        stream.wait_for(SOME, PATIENCE)?;
        wait_until_at(&client, &sa.spi_i, [10, 50, 0, 201].into(), true);
        wait::until("strongSwan has followed", PATIENCE, || {
            let tunnels = charon.tunnels()?;
            let is_there = tunnels.iter().any(|tunnel| tunnel.remote == IpAddr::from([10, 50, 0, 201]));
            ensure!(is_there && tunnels.len() == 1, "{tunnels:?}");
            Ok(())
        })
    })
    .unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn without_mobike_our_client_makes_another_sa_from_its_new_address() {
    let scene = Scene::new(0).unwrap();
    let mut settings = Settings::of_shared_key();
    // The last section is the profile's.
    settings.extra = String::from("mobike = false\n");
    let _gateway = scene.start(settings).unwrap();
    let (place, client, sa) = client(&scene, &INSIDE);
    assert!(!sa.mobike, "{sa:?}");

    renumber(&place.namespace, "10.50.0.101/24", "10.50.0.201/24");

    let new = client
        .wait_for("another SA", PATIENCE, |sas| {
            let new = sas.into_iter().find(|new| new.id != sa.id && new.children.len() == 1);
            let new = new.filter(|new| new.local.ip() == IpAddr::from([10, 50, 0, 201]));
            ensure!(new.is_some(), "{new:?}");
            Ok(new)
        })
        .unwrap()
        .unwrap();
    place.namespace.ping(ipv4(&new.addresses), Scene::inside(false).unwrap(), PATIENCE).unwrap();
}

/// The rules by which this machine chooses among its tables, of both families.
fn rules(place: &Namespace) -> String {
    let rules = ["-4", "-6"].map(|family| {
        let output = place.command("ip").args([family, "rule"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    });
    rules.concat()
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_tunnel_for_everything_does_not_swallow_itself() {
    let scene = Scene::behind_nat(0).unwrap();
    let mut settings = Settings::of_shared_key();
    let everything = ["0.0.0.0/0", "::/0"];
    settings.profiles[0].local_ts = everything.map(str::to_owned).to_vec();
    let _gateway = scene.start(settings).unwrap();
    let (place, mut client, sa) = client(&scene, &everything);
    let before = rules(&place.namespace);
    assert!(before.contains("14500:") && before.contains("lookup 4500"), "{before}");
    let (own, inside) = (ipv4(&sa.addresses), Scene::inside(false).unwrap());

    traffic::stream((&place.namespace, own), (&scene.site, inside), |stream| {
        stream.wait_for(SOME, PATIENCE)?;
        // Another address behind the box: its routes go and come with it.
        place
            .namespace
            .ip("address delete 192.168.1.2/24 dev eth0\naddress add 192.168.1.3/24 dev eth0\n\
             route replace default via 192.168.1.1\n")?;
        stream.wait_for(SOME, PATIENCE)?;
        wait_until_at(&client, &sa.spi_i, [192, 168, 1, 3].into(), true);
        // The neighbour is reached as before, and not by the tunnel.
        place.namespace.ping([192, 168, 1, 3].into(), [192, 168, 1, 1].into(), PATIENCE).map(drop)
    })
    .unwrap();

    client.stop().unwrap();
    let after = rules(&place.namespace);
    assert!(!after.contains("4500"), "{after}");
    // One that is killed leaves rules, which the next one removes.
    client.restart().unwrap();
    client.wait_for_sa("gw1", PATIENCE).unwrap();
    client.kill().unwrap();
    assert!(rules(&place.namespace).contains("4500"));
    client.settings.connections.clear();
    client.settings.profiles = Settings::of_shared_key().profiles;
    client.settings.pools = Settings::of_shared_key().pools;
    client.restart().unwrap();
    let after = rules(&place.namespace);
    assert!(!after.contains("4500"), "{after}");
}
