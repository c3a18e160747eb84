//! Who does not get in, what he is told, and what the operator reads.

use xtask::lab::gateway::{Gateway, RemoteProof, Scene, Settings, addresses};
use xtask::lab::pki::{Credential, Key, Pki, Validity};
use xtask::lab::strongswan::{ClientConfig, Sa};

use super::connect;
use crate::PATIENCE;

/// The client is told no more than that it is not believed; the operator is told `words`.
fn is_refused(scene: &Scene, gateway: &Gateway, connection: &ClientConfig, words: &[&str]) {
    let charon = &scene.visitors[0].charon;
    charon.add_client(connection).unwrap();

    charon.initiate(&connection.name).unwrap();

    let prefix = format!("<{}|", connection.name);
    charon.wait_for_log(&[&prefix, "received AUTHENTICATION_FAILED notify error"], PATIENCE).unwrap();
    gateway.wait_for_event("sa-refused", words, PATIENCE).unwrap();
    gateway.wait_until_gone(&connection.identity, PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_with_a_wrong_key_is_refused() {
    let scene = Scene::new(1).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];
    visitor.charon.add_shared_key("another key", &["mallory", "gw1"]).unwrap();

    let connection =
        ClientConfig { gateway: "gw1".to_owned(), ..visitor.connection("mallory", addresses()[0]) };

    is_refused(&scene, &gateway, &connection, &["authentication-failed", "mallory", "10.50.0.101"]);
    connect(visitor, &visitor.connection("alice", addresses()[0]));
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_with_an_identity_of_no_profile_is_refused() {
    let scene = Scene::new(1).unwrap();
    let mut settings = Settings::of_shared_key();
    settings.profiles[0].remote_ids = vec!["*@example.net".to_owned()];
    let gateway = scene.start(settings).unwrap();
    let visitor = &scene.visitors[0];

    let connection = visitor.connection("alice@example.com", addresses()[0]);

    is_refused(&scene, &gateway, &connection, &["no-profile", "alice@example.com"]);
    connect(visitor, &visitor.connection("alice@example.net", addresses()[0]));
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_that_asks_for_another_gateway_is_refused() {
    let scene = Scene::new(1).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];
    let connection =
        ClientConfig { gateway: "gw9".to_owned(), ..visitor.connection("alice", addresses()[0]) };

    is_refused(&scene, &gateway, &connection, &["no-profile", "alice", "gw9"]);
    connect(visitor, &ClientConfig { gateway: "gw1".to_owned(), ..connection });
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn clients_with_certificates_that_are_not_good_are_refused() {
    let scene = Scene::new(1).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let issue = |name: &str, validity| client(&pki, name, validity);
    let vpn = pki.issue("vpn", Key::P256, &["DNS:vpn.example.net"], Validity::Current).unwrap();
    let revoked = issue("revoked", Validity::Current);
    pki.revoke(&revoked).unwrap();
    let mut settings = Settings::of_certificates(&vpn, &pki, "vpn.example.net");
    settings.profiles[0].remote =
        RemoteProof::Signature { ca: pki.ca(), revoked: pki.revoked().unwrap().to_vec() };
    let gateway = scene.start(settings).unwrap();
    let visitor = &scene.visitors[0];
    let by = |own: &Credential, identity: &str| {
        visitor.connection_by(own, &pki, identity, addresses()[0]).unwrap()
    };

    let connection = by(&revoked, "revoked@example.net");
    is_refused(&scene, &gateway, &connection, &["certificate-refused", "revoked@example.net", "revoked"]);

    // The events of one reason are told at intervals: each kind has a gateway of its own.
    drop(gateway);
    let gateway = scene.start(Settings::of_certificates(&vpn, &pki, "vpn.example.net")).unwrap();
    let connection = by(&issue("expired", Validity::Expired), "expired@example.net");
    is_refused(&scene, &gateway, &connection, &["certificate-refused", "expired@example.net", "expired"]);

    drop(gateway);
    let gateway = scene.start(Settings::of_certificates(&vpn, &pki, "vpn.example.net")).unwrap();
    let connection = ClientConfig {
        name: "mallory".to_owned(),
        ..by(&issue("alice", Validity::Current), "bob@example.net")
    };
    is_refused(&scene, &gateway, &connection, &["certificate-refused", "bob@example.net", "somebody else"]);

    drop(gateway);
    let gateway = scene.start(Settings::of_certificates(&vpn, &pki, "vpn.example.net")).unwrap();
    let others = Pki::named(&scene.lab, "others").unwrap();
    let own = client(&others, "carol", Validity::Current);
    let mut connection = by(&own, "carol@example.net");
    connection.gateway = "vpn.example.net".to_owned();
    is_refused(&scene, &gateway, &connection, &["certificate-refused", "carol@example.net"]);

    let connection = by(&issue("dave", Validity::Current), "dave@example.net");
    connect(visitor, &connection);
}

fn client(pki: &Pki, name: &str, validity: Validity) -> Credential {
    pki.issue(name, Key::P256, &[&format!("email:{name}@example.net")], validity).unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_does_not_believe_a_gateway_with_another_key() {
    let scene = Scene::new(1).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];
    let pki = Pki::new(&scene.lab).unwrap();
    let own = client(&pki, "alice", Validity::Current);
    // It proves itself by certificate, and wants one from the gateway: no profile does that.
    let connection = visitor.connection_by(&own, &pki, "alice@example.net", addresses()[0]).unwrap();

    is_refused(&scene, &gateway, &connection, &["no-profile", "alice@example.net", "pubkey"]);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_for_whom_no_address_is_left_waits_until_another_one_leaves() {
    let scene = Scene::new(1).unwrap();
    let mut settings = Settings::of_shared_key();
    // Two hosts.
    settings.pools = vec![("ra4".to_owned(), "10.98.1.0/30".to_owned())];
    let gateway = scene.start(settings).unwrap();
    let visitor = &scene.visitors[0];
    let connection = |name: &str| ClientConfig {
        virtual_addresses: vec!["0.0.0.0".to_owned()],
        ..visitor.connection(name, addresses()[0])
    };
    let first = connect(visitor, &connection("alice"));
    connect(visitor, &connection("bob"));

    visitor.charon.add_client(&connection("carol")).unwrap();
    visitor.charon.initiate("carol").unwrap();
    visitor.charon.wait_for_log(&["<carol|", "received INTERNAL_ADDRESS_FAILURE"], PATIENCE).unwrap();
    gateway.wait_for_event("child-refused", &["carol", "no-address"], PATIENCE).unwrap();

    visitor.charon.terminate("alice", Sa::Ike).unwrap();
    gateway.wait_until_gone("alice", PATIENCE).unwrap();
    visitor.charon.remove_client("carol").ok();
    let third = connect(visitor, &connection("carol"));
    assert_eq!(third.virtual_addresses, first.virtual_addresses);
}
