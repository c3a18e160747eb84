//! Certificates in use: lists that are written anew, chains with several CAs, OCSP responses.

use std::fs;

use anyhow::ensure;
use xtask::lab::gateway::{Connection, Gateway, RemoteProof, Scene, Settings, addresses};
use xtask::lab::pki::{Credential, Key, Pki, Validity};
use xtask::lab::strongswan::{Charon, GatewayConfig, Proof, Sa};
use xtask::lab::wait;

use super::{GATEWAY, carries_data, connect, vpn, wait_until_up};
use crate::PATIENCE;

const CLIENT: &str = "alice@example.net";
/// What is behind the gateway.
const INSIDE: [&str; 2] = ["10.99.0.0/16", "fd99::/16"];

fn client(pki: &Pki, name: &str) -> Credential {
    pki.issue(name, Key::P256, &[&format!("email:{name}")], Validity::Current).unwrap()
}

/// Our client, in a place of its own, which believes the CA that everybody knows.
fn ours(scene: &Scene, pki: &Pki, own: &Credential, extra: String) -> Gateway {
    let place = scene.place(9).unwrap();
    let connection = Connection {
        local_id: CLIENT.to_owned(),
        own: Some(own.clone()),
        ca: Some(pki.ca()),
        extra,
        ..Connection::new("hq", &addresses()[..1], &[GATEWAY], &INSIDE)
    };
    let settings = Settings { connections: vec![connection], ..Settings::default() };
    Gateway::start(&place.namespace, settings).unwrap()
}

/// How many clients the gateway has refused for their certificates.
fn wait_for_refused(gateway: &Gateway, count: usize) {
    let line = format!("redirectd_ike_handshakes_total{{result=\"certificate-refused\"}} {count}");
    wait::until("a certificate is refused", PATIENCE, || {
        let page = gateway.metrics()?;
        ensure!(page.lines().any(|found| found == line), "no {line}");
        Ok(())
    })
    .unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_that_is_revoked_while_the_gateway_runs_gets_in_no_more() {
    let scene = Scene::new(1).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let [alice, bob] = [client(&pki, CLIENT), client(&pki, "bob@example.net")];
    let lists = pki.revoked().unwrap();
    let mut settings = Settings::of_certificates(&vpn(&pki), &pki, GATEWAY);
    settings.profiles[0].remote = RemoteProof::Signature { ca: pki.ca(), revoked: lists.to_vec() };
    // It asks for OCSP responses, too, of which this strongSwan knows nothing.
    settings.profiles[0].extra = "revocation = \"strict\"\n".to_owned();
    let gateway = scene.start(settings).unwrap();
    let visitor = &scene.visitors[0];
    let connection = visitor.connection_by(&alice, &pki, CLIENT, addresses()[0]).unwrap();
    let tunnel = connect(visitor, &connection);
    carries_data(visitor, &tunnel, &scene.site);

    pki.revoke(&alice).unwrap();
    pki.revoked().unwrap();

    gateway.wait_for_event("credentials-reloaded", &["issuer.crl"], PATIENCE).unwrap();
    // Whoever is in stays in; whoever comes is judged by what is new.
    visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    visitor.charon.terminate(&connection.name, Sa::Ike).unwrap();
    gateway.wait_until_gone(CLIENT, PATIENCE).unwrap();
    visitor.charon.initiate(&connection.name).unwrap();
    gateway.wait_for_event("sa-refused", &["certificate-refused", CLIENT, "revoked"], PATIENCE).unwrap();
    wait_for_refused(&gateway, 1);

    // A list that is broken changes nothing.
    fs::write(&lists[1], "rubbish").unwrap();
    gateway.wait_for_event("credentials-refused", &["issuer.crl", "no list of revoked"], PATIENCE).unwrap();
    visitor.charon.initiate(&connection.name).unwrap();
    wait_for_refused(&gateway, 2);
    let other = visitor.connection_by(&bob, &pki, "bob@example.net", addresses()[1]).unwrap();
    connect(visitor, &other);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_gateway_takes_a_new_certificate_with_its_key_without_a_restart() {
    let scene = Scene::new(1).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let (vpn, alice) = (vpn(&pki), client(&pki, CLIENT));
    let gateway = scene.start(Settings::of_certificates(&vpn, &pki, GATEWAY)).unwrap();
    let visitor = &scene.visitors[0];
    let connection = visitor.connection_by(&alice, &pki, CLIENT, addresses()[0]).unwrap();
    let tunnel = connect(visitor, &connection);
    let page = gateway.metrics().unwrap();
    let own = "redirectd_certificate_left_seconds{kind=\"own\",owner=\"O=Laboratory, CN=vpn\"";
    assert!(page.lines().any(|line| line.starts_with(own)), "{page}");

    let next = Pki::named(&scene.lab, "next").unwrap();
    let renewed = next.issue("vpn", Key::P256, &[&format!("DNS:{GATEWAY}")], Validity::Current).unwrap();
    fs::copy(&renewed.chain, &vpn.chain).unwrap();
    fs::copy(&renewed.key, &vpn.key).unwrap();

    gateway.wait_for_event("credentials-reloaded", &["vpn.chain", "vpn.key"], PATIENCE).unwrap();
    visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    // It is the one that the next client sees: one who believes the other CA only.
    let own = ours(&scene, &next, &alice, String::new());
    wait_until_up(&own);
}

/// strongSwan in our gateway's place, which knows the root and the issuing CA.
fn strongswan(scene: &Scene, pki: &Pki, own: &Credential) -> Charon {
    let charon = scene
        .start_strongswan(&GatewayConfig {
            identity: GATEWAY.to_owned(),
            proof: Proof::Signature("pubkey".to_owned(), own.certificate.clone()),
            client_proof: Proof::AnySignature,
            ..GatewayConfig::of_shared_key()
        })
        .unwrap();
    for ca in [pki.ca(), pki.issuer()] {
        charon.add_ca(&ca).unwrap();
    }
    charon.add_private_key(&own.key).unwrap();
    charon
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn strongswan_and_we_believe_each_others_chains_with_several_cas() {
    let scene = Scene::new(1).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let vpn = pki.issue_deeper("vpn", Key::P256, &[&format!("DNS:{GATEWAY}")]).unwrap();
    let alice = pki.issue_deeper(CLIENT, Key::P256, &[&format!("email:{CLIENT}")]).unwrap();
    let _gateway = scene.start(Settings::of_certificates(&vpn, &pki, GATEWAY)).unwrap();
    let visitor = &scene.visitors[0];
    let mut connection = visitor.connection_by(&alice, &pki, CLIENT, addresses()[0]).unwrap();
    connection.gateway = GATEWAY.to_owned();
    visitor.charon.add_ca(&pki.deeper()).unwrap();

    // Its chain comes in the order that strongSwan likes, of which the root is all that we know.
    let tunnel = connect(visitor, &connection);

    carries_data(visitor, &tunnel, &scene.site);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn strongswan_believes_our_chain_with_several_cas_of_which_it_knows_the_first_only() {
    let scene = Scene::new(0).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let own = vpn(&pki);
    let alice = pki.issue_deeper(CLIENT, Key::P256, &[&format!("email:{CLIENT}")]).unwrap();
    let _charon = strongswan(&scene, &pki, &own);

    let client = ours(&scene, &pki, &alice, String::new());

    wait_until_up(&client);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_of_ours_that_must_know_waits_until_the_gateway_can_show_it() {
    let scene = Scene::new(0).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let (vpn, alice) = (vpn(&pki), client(&pki, CLIENT));
    let mut gateway = scene.start(Settings::of_certificates(&vpn, &pki, GATEWAY)).unwrap();
    let [root, _] = pki.revoked().unwrap();
    // What the root has revoked it has in a list; what the issuing CA has, the gateway shows.
    let extra = format!("revocation = \"strict\"\ncrl = {root:?}\n");
    let client = ours(&scene, &pki, &alice, extra);
    let words = ["hq", "nothing is known about revocation"];
    client.wait_for_event("connect-failed", &words, PATIENCE).unwrap();

    let response = pki.status(&vpn).unwrap();
    gateway.settings.profiles[0].extra = format!("ocsp-response = {response:?}\n");
    gateway.reload().unwrap();

    wait_until_up(&client);
    let page = gateway.metrics().unwrap();
    assert!(page.contains("redirectd_certificate_left_seconds{kind=\"ocsp\""), "{page}");

    // The CA takes the certificate back: the gateway does not show that, and the client hears of it from
    // nobody but a list.
    pki.revoke(&vpn).unwrap();
    pki.status(&vpn).unwrap();
    gateway.wait_for_event("credentials-refused", &["vpn.ocsp", "revoked"], PATIENCE).unwrap();
}
