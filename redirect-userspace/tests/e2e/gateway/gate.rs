//! A gateway under attack: the fast path asks for cookies in its place.

use std::path::Path;

use anyhow::ensure;
use serde_json::Value;
use xtask::lab::flood::Flood;
use xtask::lab::gateway::{Gateway, Place, Scene, Settings, addresses};
use xtask::lab::process::output;
use xtask::lab::strongswan::SHARED_KEY;
use xtask::lab::topology::release_binary;
use xtask::lab::wait;

use super::connect;
use crate::PATIENCE;

/// A gateway whose fast path may ask for cookies, from four half-open SAs on.
fn gateway(scene: &Scene) -> Gateway {
    let settings = Settings {
        addresses: addresses().to_vec(),
        limits: vec![("cookie-threshold".to_owned(), 4)],
        ..Settings::of_shared_key()
    };
    scene.start(settings).unwrap()
}

fn bench(place: &Place, words: &[&str]) -> anyhow::Result<Value> {
    let program = release_binary("redirectctl").canonicalize()?;
    let mut command = place.namespace.command(program);
    command.arg("bench").args(words).args(["--json", "--local", &place.address4.to_string()]);
    Ok(serde_json::from_str(&output(&mut command)?)?)
}

fn key_in(directory: &Path) -> String {
    let key = directory.join("shared.key");
    std::fs::write(&key, SHARED_KEY).unwrap();
    key.to_str().unwrap().to_owned()
}

// COO-01 COO-02
#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn strongswan_and_our_own_clients_come_in_through_the_cookies_of_the_fast_path() {
    let scene = Scene::new(1).unwrap();
    let (visitor, place) = (&scene.visitors[0], scene.place(2).unwrap());
    let key = key_in(scene.lab.directory());
    let gateway = gateway(&scene);
    let at = addresses()[0].to_string();
    // Nobody of these goes on: the gateway wants cookies soon.
    let told = bench(&place, &["init", &at, "--count", "20", "--parallel", "1"]).unwrap();
    assert!(told["replies"]["cookie"].as_u64() > Some(0), "{told}");
    gateway.wait_for_event("gate-changed", &["place: true"], PATIENCE).unwrap();

    let tunnel = connect(visitor, &visitor.connection("alice", addresses()[0]));
    visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    let tunnel = connect(visitor, &visitor.connection("bob", addresses()[1]));
    visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    let words = ["handshake", &at, "--network", "10.99.1.0/24", "--psk-file", &key, "--count", "30"];
    let told = bench(&place, &words).unwrap();
    assert_eq!((&told["done"], &told["failed"]), (&30.into(), &0.into()), "{told}");

    wait::until("everyone has come through the gate", PATIENCE, || {
        let metrics = gateway.metrics()?;
        let asked = metric(&metrics, "redirectd_ike_gate_cookies_total{what=\"asked\"}");
        let good = metric(&metrics, "redirectd_ike_gate_cookies_total{what=\"good\"}");
        ensure!(asked >= 32.0 && good >= 32.0, "{asked} were asked, and {good} brought a cookie");
        Ok(())
    })
    .unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_flood_from_everywhere_keeps_nobody_out_and_does_not_reach_the_gateway() {
    let scene = Scene::new(1).unwrap();
    let (visitor, place) = (&scene.visitors[0], scene.place(2).unwrap());
    let gateway = gateway(&scene);
    let flood = Flood::spoofed(&place.namespace, addresses()[0], 1).unwrap();
    gateway.wait_for_event("gate-changed", &["place: true"], PATIENCE).unwrap();
    let taken = || Ok::<_, anyhow::Error>(metric(&gateway.metrics()?, "redirectd_ike_init_requests_total"));

    let tunnel = connect(visitor, &visitor.connection("alice", addresses()[0]));
    visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    // What was in its sockets before still comes to it.
    let mut last = (flood.sent(), taken().unwrap());
    wait::until("nothing of the flood reaches the gateway", PATIENCE, || {
        let (sent, reached) = (flood.sent() - last.0, taken()? - last.1);
        ensure!(sent > 20_000, "only {sent} requests");
        last = (flood.sent(), taken()?);
        ensure!(reached < 100.0, "{reached} of {sent} requests");
        Ok(())
    })
    .unwrap();

    flood.stop().unwrap();
    assert_eq!(gateway.sas().unwrap().iter().filter(|sa| sa.state == "established").count(), 1);
}

/// A figure of a scrape.
fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or("none").parse().unwrap()
}
