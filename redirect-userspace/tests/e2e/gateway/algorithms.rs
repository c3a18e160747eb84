//! Every algorithm that can be configured, negotiated with strongSwan.

use xtask::lab::gateway::{Scene, Settings, addresses};
use xtask::lab::strongswan::Sa;

use super::{connect, rekeyed};
use crate::PATIENCE;

/// For IKE SAs: each encryption, PRF, integrity algorithm and group at least once.
const IKE: [&str; 10] = [
    "aes128gcm16-prfsha256-x25519",
    "aes256gcm16-prfsha384-ecp384",
    "chacha20poly1305-prfsha256-ecp256",
    "aes128gcm16-prfsha512-ecp521",
    "aes128-sha256-modp2048",
    "aes256-sha384-modp3072",
    "aes256-sha512-modp4096",
    "aes128-sha256-prfsha512-x25519",
    "aes256-sha512-prfsha256-ecp256",
    "aes128-sha384-x25519",
];

/// For Child SAs, with a group of their own for rekeying where one is named.
const ESP: [&str; 10] = [
    "aes128gcm16",
    "aes256gcm16-ecp384",
    "chacha20poly1305-x25519",
    "aes128-sha256",
    "aes256-sha384-modp3072",
    "aes256-sha512-ecp521",
    "aes128-sha512-modp2048",
    "aes256-sha256-ecp256",
    "aes128gcm16-modp4096",
    "aes128-sha384",
];

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn every_algorithm_is_negotiated_and_carries_data() {
    let scene = Scene::new(1).unwrap();
    let owned = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
    let settings =
        Settings { ike_proposals: owned(&IKE), esp_proposals: owned(&ESP), ..Settings::of_shared_key() };
    let gateway = scene.start(settings).unwrap();
    let visitor = &scene.visitors[0];

    for (ike, esp) in IKE.into_iter().zip(ESP) {
        let mut connection = visitor.connection(&format!("{ike}+{esp}"), addresses()[0]);
        connection.ike_proposals = vec![ike.to_owned()];
        connection.esp_proposals = vec![esp.to_owned()];
        let tunnel = connect(visitor, &connection);
        visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();

        // New keys come from the Child SA's own group, and from all of the IKE SA's algorithms.
        visitor.charon.rekey(&tunnel.name, Sa::Child).unwrap();
        let tunnel = rekeyed(visitor, &gateway, &tunnel, Sa::Child);
        visitor.charon.rekey(&tunnel.name, Sa::Ike).unwrap();
        let tunnel = rekeyed(visitor, &gateway, &tunnel, Sa::Ike);
        visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
        visitor.charon.terminate(&tunnel.name, Sa::Ike).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn the_defaults_of_both_sides_meet() {
    let scene = Scene::new(1).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];
    let mut connection = visitor.connection("alice", addresses()[0]);
    connection.ike_proposals = vec!["default".to_owned()];
    connection.esp_proposals = vec!["default".to_owned()];

    let tunnel = connect(visitor, &connection);

    visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    let sa = gateway.wait_for_sa("alice", PATIENCE).unwrap();
    assert!(sa.suite.contains("gcm16") || sa.suite.contains("sha256"), "{sa:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_that_guesses_the_wrong_group_is_told_the_right_one() {
    let scene = Scene::new(1).unwrap();
    let settings = Settings {
        ike_proposals: vec!["aes128gcm16-prfsha256-ecp384".to_owned()],
        ..Settings::of_shared_key()
    };
    let gateway = scene.start(settings).unwrap();
    let visitor = &scene.visitors[0];
    let mut connection = visitor.connection("alice", addresses()[0]);
    connection.ike_proposals = vec!["aes128gcm16-prfsha256-modp2048-x25519-ecp384".to_owned()];

    connect(visitor, &connection);

    assert_eq!(gateway.wait_for_sa("alice", PATIENCE).unwrap().suite, "aes128gcm16-prfsha256-ecp384");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_without_a_common_algorithm_is_told_so() {
    let scene = Scene::new(1).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];
    let mut connection = visitor.connection("alice", addresses()[0]);
    connection.ike_proposals = vec!["aes192-sha1-modp1536".to_owned()];
    visitor.charon.add_client(&connection).unwrap();

    visitor.charon.initiate("alice").unwrap();

    visitor.charon.wait_for_log(&["<alice|", "received NO_PROPOSAL_CHOSEN"], PATIENCE).unwrap();
    let words = ["no-proposal-chosen", "10.50.0.101", "offered", "wanted aes256gcm16"];
    gateway.wait_for_event("sa-refused", &words, PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_child_sa_without_a_common_algorithm_is_refused_alone() {
    let scene = Scene::new(1).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];
    let mut connection = visitor.connection("alice", addresses()[0]);
    connection.esp_proposals = vec!["aes192-sha1".to_owned()];
    visitor.charon.add_client(&connection).unwrap();

    visitor.charon.initiate("alice").unwrap();

    visitor.charon.wait_for_log(&["<alice|", "received NO_PROPOSAL_CHOSEN"], PATIENCE).unwrap();
    gateway.wait_for_event("child-refused", &["alice", "no-proposal-chosen"], PATIENCE).unwrap();
}
