//! How tunnels end, and how clients come back.

use anyhow::ensure;
use xtask::lab::gateway::{Scene, Settings, addresses};
use xtask::lab::strongswan::{self, Charon, Sa};
use xtask::lab::wait;

use super::{carries_data, connect, family, watchful};
use crate::PATIENCE;

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_that_says_goodbye_is_forgotten() {
    let scene = Scene::new(1).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];

    for address in addresses() {
        let name = family(address);
        let tunnel = connect(visitor, &visitor.connection(name, address));
        gateway.wait_for_sa(name, PATIENCE).unwrap();

        visitor.charon.terminate(name, Sa::Ike).unwrap();

        gateway.wait_until_gone(name, PATIENCE).unwrap();
        gateway.wait_for_event("sa-closed", &[name, "deleted-by-peer"], PATIENCE).unwrap();
        let again = connect(visitor, &visitor.connection(name, address));
        assert_eq!(again.virtual_addresses, tunnel.virtual_addresses, "it gets what it had");
        visitor.charon.terminate(name, Sa::Ike).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_child_sa_ends_and_another_one_is_made_under_the_same_ike_sa() {
    let scene = Scene::new(1).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];
    let first = connect(visitor, &visitor.connection("alice", addresses()[0]));

    visitor.charon.terminate("alice", Sa::Child).unwrap();

    gateway.wait_for_event("child-down", &["alice", "deleted-by-peer"], PATIENCE).unwrap();
    let sa = gateway.wait_for_sa("alice", PATIENCE).unwrap();
    assert!(sa.children.is_empty(), "{sa:?}");
    visitor.charon.initiate("alice").unwrap();
    let second = visitor.charon.wait_for_tunnel("alice", PATIENCE).unwrap();
    assert_eq!(second.spis, first.spis);
    carries_data(visitor, &second, &scene.site);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn an_operator_clears_a_tunnel_and_the_client_hears_of_it() {
    let scene = Scene::new(1).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];
    let stays = connect(visitor, &visitor.connection("bob", addresses()[0]));
    connect(visitor, &visitor.connection("alice", addresses()[1]));

    gateway.control().clear("alice").unwrap();

    visitor.charon.wait_until_gone("alice", PATIENCE).unwrap();
    gateway.wait_until_gone("alice", PATIENCE).unwrap();
    gateway.wait_for_event("sa-closed", &["alice", "cleared"], PATIENCE).unwrap();
    visitor.charon.ping_through(&stays, PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_gateway_that_ends_says_goodbye_and_leaves_nothing() {
    let scene = Scene::new(1).unwrap();
    let mut gateway = scene.start(Settings::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];
    for address in addresses() {
        connect(visitor, &visitor.connection(family(address), address));
    }

    gateway.stop().unwrap();

    for address in addresses() {
        visitor.charon.wait_until_gone(family(address), PATIENCE).unwrap();
    }
    assert!(scene.site.link("ike0").is_err(), "the interface is gone");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_that_vanishes_is_noticed() {
    let mut scene = Scene::new(2).unwrap();
    let gateway = watchful(&scene);
    let stays = connect(&scene.visitors[1], &scene.visitors[1].connection("bob", addresses()[0]));
    connect(&scene.visitors[0], &scene.visitors[0].connection("alice", addresses()[0]));

    drop(scene.visitors.remove(0));

    gateway.wait_for_event("sa-closed", &["alice", "peer-dead"], PATIENCE).unwrap();
    gateway.wait_until_gone("alice", PATIENCE).unwrap();
    scene.visitors[0].charon.ping_through(&stays, PATIENCE).unwrap();
    assert_eq!(gateway.wait_for_sa("bob", PATIENCE).unwrap().spi_i, stays.spis[0], "bob was only asked");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_that_crashed_comes_back_to_its_address() {
    let mut scene = Scene::new(1).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let mut connection = scene.visitors[0].connection("alice", addresses()[0]);
    connection.is_sole = true;
    // strongSwan says so only to somebody it knows by name.
    connection.gateway = "gw1".to_owned();
    let before = connect(&scene.visitors[0], &connection);

    crash(&mut scene);
    let after = connect(&scene.visitors[0], &connection);

    assert_eq!(after.virtual_addresses, before.virtual_addresses);
    gateway.wait_for_event("sa-closed", &["alice", "superseded"], PATIENCE).unwrap();
    assert_eq!(gateway.wait_for_sa("alice", PATIENCE).unwrap().spi_i, after.spis[0]);
    carries_data(&scene.visitors[0], &after, &scene.site);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_that_does_not_say_it_is_the_only_one_gets_another_address() {
    let mut scene = Scene::new(1).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let connection = scene.visitors[0].connection("alice", addresses()[0]);
    let before = connect(&scene.visitors[0], &connection);

    crash(&mut scene);
    let after = connect(&scene.visitors[0], &connection);

    for address in &after.virtual_addresses {
        assert!(!before.virtual_addresses.contains(address), "{before:?} {after:?}");
    }
    scene.visitors[0].charon.ping_through(&after, PATIENCE).unwrap();
    assert_eq!(gateway.sas().unwrap().len(), 2);
}

/// The first client's daemon is killed, and started again.
fn crash(scene: &mut Scene) {
    let visitor = &mut scene.visitors[0];
    let namespace = visitor.charon.namespace().clone();
    visitor.charon.kill().unwrap();
    visitor.charon = Charon::start(&namespace, strongswan::Settings::default()).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn clients_of_a_gateway_that_was_killed_come_back_by_themselves() {
    let scene = Scene::new(1).unwrap();
    let mut gateway = scene.start(Settings::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];
    let mut before = Vec::new();
    for address in addresses() {
        let mut connection = visitor.connection(family(address), address);
        connection.is_watchful = true;
        before.push(connect(visitor, &connection));
    }

    gateway.kill().unwrap();
    assert!(scene.site.link("ike0").is_err(), "the interface goes with the daemon");
    gateway.restart().unwrap();

    for old in before {
        let new = wait::until("the client is back", PATIENCE, || {
            let tunnel = visitor.charon.wait_for_tunnel(&old.name, PATIENCE)?;
            ensure!(tunnel.spis != old.spis, "{tunnel:?}");
            Ok(tunnel)
        })
        .unwrap();
        carries_data(visitor, &new, &scene.site);
    }
}
