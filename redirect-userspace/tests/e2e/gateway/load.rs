//! `redirectctl bench`: the load generator against our gateway.

use std::fs;

use xtask::lab::gateway::{Place, Scene, Settings, addresses};
use xtask::lab::pki::{Key, Pki, Validity};
use xtask::lab::process::output;
use xtask::lab::strongswan::SHARED_KEY;
use xtask::lab::topology::release_binary;

use crate::PATIENCE;

/// Runs it from a place; how many handshakes it says it has done.
fn bench(place: &Place, arguments: &[&str]) -> anyhow::Result<u64> {
    let program = release_binary("redirectctl").canonicalize()?;
    let mut command = place.namespace.command(program);
    command.args(["bench", "handshake", &addresses()[0].to_string(), "--json"]);
    command.args(["--local", &place.address4.to_string(), "--network", "10.99.1.0/24"]).args(arguments);
    let told: serde_json::Value = serde_json::from_str(&output(&mut command)?)?;
    anyhow::ensure!(told["failed"] == 0, "{told}");
    Ok(told["done"].as_u64().unwrap_or_default())
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn as_many_clients_come_and_stay_as_the_load_generator_is_told() {
    let scene = Scene::new(0).unwrap();
    let place = scene.place(1).unwrap();
    let key = scene.lab.directory().join("shared.key");
    fs::write(&key, SHARED_KEY).unwrap();
    let key = key.to_str().unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();

    assert_eq!(bench(&place, &["--psk-file", key, "--count", "20", "--in-flight", "4"]).unwrap(), 20);
    let sas = gateway.sas().unwrap();
    assert_eq!(sas.len(), 20);
    assert!(sas.iter().all(|sa| sa.state == "established" && sa.children.len() == 1), "{sas:?}");

    // The others have other names, and leave.
    let arguments = ["--psk-file", key, "--count", "10", "--first", "21", "--delete"];
    assert_eq!(bench(&place, &arguments).unwrap(), 10);
    assert_eq!(gateway.sas().unwrap().len(), 20);

    fs::write(scene.lab.directory().join("wrong.key"), "another key").unwrap();
    let wrong = scene.lab.directory().join("wrong.key");
    assert!(bench(&place, &["--psk-file", wrong.to_str().unwrap(), "--count", "1"]).is_err());
    gateway.wait_for_event("sa-refused", &["client-1@load.example"], PATIENCE).unwrap();
    assert_eq!(gateway.sas().unwrap().len(), 20);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn clients_that_share_a_certificate_do_not_end_each_other() {
    let scene = Scene::new(0).unwrap();
    let place = scene.place(1).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let own = pki.issue("gw1", Key::P256, &["DNS:gw1"], Validity::Current).unwrap();
    let client = pki.issue("client", Key::P256, &["DNS:client"], Validity::Current).unwrap();
    let gateway = scene.start(Settings::of_certificates(&own, &pki, "gw1")).unwrap();

    let (chain, key, ca) = (client.chain, client.key, pki.ca());
    let [chain, key, ca] = [&chain, &key, &ca].map(|path| path.to_str().unwrap());
    let arguments = ["--certificate", chain, "--private-key", key, "--ca", ca, "--count", "5"];
    assert_eq!(bench(&place, &arguments).unwrap(), 5);

    assert_eq!(gateway.sas().unwrap().len(), 5);
}
