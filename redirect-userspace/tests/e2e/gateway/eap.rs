//! Passwords: strongSwan's clients with our gateway, and our client with strongSwan's gateway.

use std::net::IpAddr;

use xtask::lab::gateway::{Connection, Gateway, RemoteProof, Scene, Settings, Visitor, addresses};
use xtask::lab::pki::{Credential, Key, Pki, Validity};
use xtask::lab::strongswan::{Charon, ClientConfig, GatewayConfig, Proof, Sa};

use super::{GATEWAY, carries_data, connect, rekeyed, vpn, wait_until_up};
use crate::PATIENCE;

const PASSWORD: &str = "corréct horse";
/// What our client wants to reach.
const INSIDE: [&str; 2] = ["10.99.0.0/16", "fd99::/16"];

/// What certificates the gateway has, and users.
fn settings(vpn: &Credential, pki: &Pki) -> Settings {
    let mut settings = Settings::of_certificates(vpn, pki, GATEWAY);
    let users = [("alice", PASSWORD), ("bob@example.net", "battery staple")];
    let users = users.map(|(name, password)| (name.to_owned(), password.to_owned()));
    settings.profiles[0].remote = RemoteProof::Users(users.into());
    settings
}

/// A client with a password, which says in IKE that it is `identity`.
fn connection(
    visitor: &Visitor,
    pki: &Pki,
    (name, identity): (&str, &str),
    user: &str,
    gateway: IpAddr,
) -> ClientConfig {
    visitor.charon.add_ca(&pki.ca()).unwrap();
    ClientConfig {
        identity: identity.to_owned(),
        proof: Proof::Eap("eap-mschapv2".to_owned(), user.to_owned()),
        gateway_proof: Proof::AnySignature,
        gateway: GATEWAY.to_owned(),
        ..visitor.connection(name, gateway)
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_with_a_password_gets_a_tunnel_that_carries_data_and_is_rekeyed() {
    let scene = Scene::new(1).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let gateway = scene.start(settings(&vpn(&pki), &pki)).unwrap();
    let visitor = &scene.visitors[0];
    visitor.charon.add_password("alice", PASSWORD).unwrap();

    // As Windows does: its address is all that it says in IKE.
    let address = visitor.address4.to_string();
    let connection = connection(visitor, &pki, ("windows", &address), "alice", addresses()[0]);
    let tunnel = connect(visitor, &connection);

    assert_eq!(tunnel.remote_id, GATEWAY);
    carries_data(visitor, &tunnel, &scene.site);
    let sa = gateway.wait_for_sa("alice", PATIENCE).unwrap();
    assert_eq!(sa.addresses, tunnel.virtual_addresses);
    for what in [Sa::Child, Sa::Ike] {
        let old = visitor.charon.wait_for_tunnel("windows", PATIENCE).unwrap();
        visitor.charon.rekey("windows", what).unwrap();
        let tunnel = rekeyed(visitor, &gateway, &old, what);
        visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    }
    gateway.wait_for_sa("alice", PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_that_says_in_ike_who_it_is_is_not_asked_again() {
    let scene = Scene::new(1).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let gateway = scene.start(settings(&vpn(&pki), &pki)).unwrap();
    let visitor = &scene.visitors[0];
    visitor.charon.add_password("bob@example.net", "battery staple").unwrap();

    let names = ("bob", "bob@example.net");
    let connection = connection(visitor, &pki, names, "bob@example.net", addresses()[1]);
    let tunnel = connect(visitor, &connection);

    visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    gateway.wait_for_sa("bob@example.net", PATIENCE).unwrap();
    let log = visitor.charon.log();
    assert!(!log.contains("EAP_IDENTITY"), "{log}");
}

/// The client is told that its password is wrong, and the operator who it was.
fn is_refused(gateway: &Gateway, visitor: &Visitor, connection: &ClientConfig, user: &str) {
    visitor.charon.add_client(connection).unwrap();
    visitor.charon.initiate(&connection.name).unwrap();

    let prefix = format!("<{}|", connection.name);
    visitor.charon.wait_for_log(&[&prefix, "EAP-MS-CHAPv2 failed with error"], PATIENCE).unwrap();
    let words = ["eap-failed", user, "the user is unknown, or the password is wrong"];
    gateway.wait_for_event("sa-refused", &words, PATIENCE).unwrap();
    gateway.wait_until_gone(user, PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_wrong_password_and_an_unknown_user_are_refused() {
    let scene = Scene::new(1).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let visitor = &scene.visitors[0];
    visitor.charon.add_password("alice", "wrong").unwrap();
    visitor.charon.add_password("mallory", PASSWORD).unwrap();

    for user in ["alice", "mallory"] {
        // The events of one reason are told at intervals: each has a gateway of its own.
        let gateway = scene.start(settings(&vpn(&pki), &pki)).unwrap();
        let connection = connection(visitor, &pki, (user, user), user, addresses()[0]);
        is_refused(&gateway, visitor, &connection, user);
    }
}

/// Our client, in a place of its own.
fn client(scene: &Scene, pki: &Pki, password: &str) -> Gateway {
    let place = scene.place(9).unwrap();
    let connection = Connection {
        local_id: "alice".to_owned(),
        user: Some(("alice".to_owned(), password.to_owned())),
        ca: Some(pki.ca()),
        ..Connection::new("hq", &addresses()[..1], &[GATEWAY], &INSIDE)
    };
    let settings = Settings { connections: vec![connection], ..Settings::default() };
    Gateway::start(&place.namespace, settings).unwrap()
}

/// strongSwan in our gateway's place, which knows alice.
fn strongswan(scene: &Scene, pki: &Pki, identity: &str) -> Charon {
    let charon = strongswan_by(scene, pki, "eap-mschapv2", identity);
    charon.add_password("alice", PASSWORD).unwrap();
    charon
}

fn strongswan_by(scene: &Scene, pki: &Pki, method: &str, identity: &str) -> Charon {
    let vpn = vpn(pki);
    let charon = scene
        .start_strongswan(&GatewayConfig {
            identity: GATEWAY.to_owned(),
            proof: Proof::Signature("pubkey".to_owned(), vpn.certificate.clone()),
            client_proof: Proof::Eap(method.to_owned(), identity.to_owned()),
            ..GatewayConfig::of_shared_key()
        })
        .unwrap();
    charon.add_ca(&pki.ca()).unwrap();
    charon.add_ca(&pki.issuer()).unwrap();
    charon.add_private_key(&vpn.key).unwrap();
    charon
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn our_client_gets_into_strongswan_by_its_password_asked_or_not() {
    for identity in ["%any", "alice"] {
        let scene = Scene::new(0).unwrap();
        let pki = Pki::new(&scene.lab).unwrap();
        let charon = strongswan(&scene, &pki, identity);

        let client = client(&scene, &pki, PASSWORD);

        wait_until_up(&client);
        let sas = client.sas().unwrap();
        assert_eq!(sas[0].addresses.len(), 2, "{sas:?}");
        drop(charon);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn our_client_is_told_that_its_password_is_wrong() {
    let scene = Scene::new(0).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let _charon = strongswan(&scene, &pki, "%any");

    let client = client(&scene, &pki, "wrong");

    let words = ["hq", "eap-failed", "refused by the other side with error 691"];
    client.wait_for_event("connect-failed", &words, PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn our_client_gets_into_our_gateway_by_its_password() {
    let scene = Scene::new(0).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let gateway = scene.start(settings(&vpn(&pki), &pki)).unwrap();

    let client = client(&scene, &pki, PASSWORD);

    wait_until_up(&client);
    gateway.wait_for_sa("alice", PATIENCE).unwrap();
}

/// What certificates the gateway has, and those of its clients.
fn tls_settings(vpn: &Credential, pki: &Pki) -> Settings {
    let mut settings = Settings::of_certificates(vpn, pki, GATEWAY);
    settings.profiles[0].remote = RemoteProof::Tls { ca: pki.ca() };
    settings
}

/// A client that has a certificate, and shows it by EAP-TLS.
fn tls_connection(visitor: &Visitor, pki: &Pki, own: &Credential, name: &str) -> ClientConfig {
    visitor.charon.add_ca(&pki.ca()).unwrap();
    visitor.charon.add_ca(&pki.issuer()).unwrap();
    visitor.charon.add_private_key(&own.key).unwrap();
    ClientConfig {
        identity: format!("{name}.example.net"),
        proof: Proof::EapTls(own.certificate.clone()),
        gateway_proof: Proof::AnySignature,
        gateway: GATEWAY.to_owned(),
        ..visitor.connection(name, addresses()[0])
    }
}

fn of_client(pki: &Pki, name: &str) -> Credential {
    pki.issue(name, Key::P256, &[&format!("DNS:{name}.example.net")], Validity::Current).unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_with_a_certificate_gets_in_by_tls() {
    let scene = Scene::new(1).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let gateway = scene.start(tls_settings(&vpn(&pki), &pki)).unwrap();
    let visitor = &scene.visitors[0];
    let alice = of_client(&pki, "alice");

    let tunnel = connect(visitor, &tls_connection(visitor, &pki, &alice, "alice"));

    assert_eq!(tunnel.remote_id, GATEWAY);
    carries_data(visitor, &tunnel, &scene.site);
    gateway.wait_for_sa("alice.example.net", PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_with_a_certificate_of_somebody_else_is_refused_by_tls() {
    let scene = Scene::new(1).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let gateway = scene.start(tls_settings(&vpn(&pki), &pki)).unwrap();
    let visitor = &scene.visitors[0];
    // It says that it is alice.
    let mallory = of_client(&pki, "mallory");

    let connection = tls_connection(visitor, &pki, &mallory, "alice");
    visitor.charon.add_client(&connection).unwrap();
    visitor.charon.initiate("alice").unwrap();

    gateway.wait_for_event("sa-refused", &["eap-failed", "alice.example.net"], PATIENCE).unwrap();
    gateway.wait_until_gone("alice.example.net", PATIENCE).unwrap();
}

/// Our client with a certificate, in a place of its own.
fn tls_client(scene: &Scene, pki: &Pki) -> Gateway {
    let place = scene.place(9).unwrap();
    let connection = Connection {
        local_id: "alice.example.net".to_owned(),
        tls: Some(of_client(pki, "alice")),
        ca: Some(pki.ca()),
        ..Connection::new("hq", &addresses()[..1], &[GATEWAY], &INSIDE)
    };
    let settings = Settings { connections: vec![connection], ..Settings::default() };
    Gateway::start(&place.namespace, settings).unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn our_client_gets_into_our_gateway_by_tls() {
    let scene = Scene::new(0).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let gateway = scene.start(tls_settings(&vpn(&pki), &pki)).unwrap();

    let client = tls_client(&scene, &pki);

    wait_until_up(&client);
    gateway.wait_for_sa("alice.example.net", PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn our_client_gets_into_strongswan_by_tls() {
    let scene = Scene::new(0).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let _charon = strongswan_by(&scene, &pki, "eap-tls", "%any");

    let client = tls_client(&scene, &pki);

    wait_until_up(&client);
}
