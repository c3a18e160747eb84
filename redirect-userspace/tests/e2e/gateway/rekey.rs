//! New keys, whoever asks for them.

use std::time::Duration;

use anyhow::ensure;
use xtask::lab::gateway::{Scene, Settings, addresses};
use xtask::lab::strongswan::Sa;
use xtask::lab::{traffic, wait};

use super::{carries_data, connect, rekeyed};
use crate::PATIENCE;

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn the_client_asks_for_new_keys() {
    let scene = Scene::new(1).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];
    let mut tunnel = connect(visitor, &visitor.connection("alice", addresses()[0]));

    for what in [Sa::Child, Sa::Ike, Sa::Child, Sa::Ike, Sa::Ike] {
        visitor.charon.rekey("alice", what).unwrap();
        tunnel = rekeyed(visitor, &gateway, &tunnel, what);
        visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    }

    gateway.wait_for_event("sa-rekeyed", &["alice", "the peer"], PATIENCE).unwrap();
    carries_data(visitor, &tunnel, &scene.site);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn the_gateway_asks_for_new_keys() {
    let scene = Scene::new(1).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];
    let mut tunnel = connect(visitor, &visitor.connection("alice", addresses()[0]));

    for what in [Sa::Child, Sa::Ike, Sa::Child, Sa::Ike, Sa::Ike] {
        let sa = gateway.wait_for_sa("alice", PATIENCE).unwrap();
        gateway.control().rekey(sa.id, what == Sa::Child).unwrap();
        tunnel = rekeyed(visitor, &gateway, &tunnel, what);
        visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    }

    gateway.wait_for_event("sa-rekeyed", &["alice", "by us"], PATIENCE).unwrap();
    carries_data(visitor, &tunnel, &scene.site);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn both_ask_at_once_and_one_tunnel_is_left() {
    let scene = Scene::new(1).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];
    let mut tunnel = connect(visitor, &visitor.connection("alice", addresses()[0]));

    for what in [Sa::Child, Sa::Ike].into_iter().cycle().take(8) {
        let sa = gateway.wait_for_sa("alice", PATIENCE).unwrap();
        std::thread::scope(|scope| {
            let client = scope.spawn(|| visitor.charon.rekey("alice", what));
            gateway.control().rekey(sa.id, what == Sa::Child).unwrap();
            client.join().unwrap().unwrap();
        });

        tunnel = rekeyed(visitor, &gateway, &tunnel, what);
        visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn keys_change_under_load_without_a_loss_that_tcp_would_notice() {
    let scene = Scene::new(1).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];
    let mut tunnel = connect(visitor, &visitor.connection("alice", addresses()[0]));
    let (from, to) = (tunnel.virtual_address(false).unwrap(), Scene::inside(false).unwrap());

    std::thread::scope(|scope| {
        let client = visitor.charon.namespace();
        let load = scope.spawn(|| traffic::transfer((client, from), (&scene.site, to), 24 << 20));
        let mut rounds = 0;
        while !load.is_finished() || rounds == 0 {
            let what = [Sa::Child, Sa::Ike][rounds % 2];
            if rounds % 4 < 2 {
                visitor.charon.rekey("alice", what).unwrap();
            } else {
                let sa = gateway.wait_for_sa("alice", PATIENCE).unwrap();
                gateway.control().rekey(sa.id, what == Sa::Child).unwrap();
            }
            tunnel = rekeyed(visitor, &gateway, &tunnel, what);
            rounds += 1;
        }
        load.join().unwrap().unwrap();
    });
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn keys_that_are_old_enough_are_replaced_without_being_asked() {
    let scene = Scene::new(1).unwrap();
    let mut settings = Settings::of_shared_key();
    // The shortest times that there are.
    settings.profiles[0].rekey = Some((Duration::from_secs(12), Duration::from_secs(10)));
    let gateway = scene.start(settings).unwrap();
    let visitor = &scene.visitors[0];
    let first = connect(visitor, &visitor.connection("alice", addresses()[0]));

    wait::until("both SAs have new keys", PATIENCE, || {
        let tunnel = visitor.charon.wait_for_tunnel("alice", PATIENCE)?;
        visitor.charon.ping_through(&tunnel, PATIENCE)?;
        ensure!(tunnel.spis != first.spis && tunnel.child_spis != first.child_spis, "{tunnel:?}");
        Ok(())
    })
    .unwrap();

    assert_eq!(gateway.wait_for_sa("alice", PATIENCE).unwrap().addresses, first.virtual_addresses);
}
