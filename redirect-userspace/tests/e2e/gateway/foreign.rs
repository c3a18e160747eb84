//! The same scenarios with strongSwan in the gateway's place: what fails here is the laboratory.

use anyhow::ensure;
use xtask::lab::gateway::{Scene, addresses};
use xtask::lab::pki::{Key, Pki, Validity};
use xtask::lab::strongswan::{GatewayConfig, Proof};
use xtask::lab::wait;

use super::{carries_data, connect, family};
use crate::PATIENCE;

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn strongswan_serves_the_clients_of_the_laboratory() {
    let scene = Scene::new(1).unwrap();
    let _gateway = scene.start_strongswan(&GatewayConfig::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];

    for address in addresses() {
        let tunnel = connect(visitor, &visitor.connection(family(address), address));
        carries_data(visitor, &tunnel, &scene.site);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn strongswan_serves_clients_behind_a_nat() {
    let mut scene = Scene::behind_nat(1).unwrap();
    let _gateway = scene.start_strongswan(&GatewayConfig::of_shared_key()).unwrap();
    let mut before = Vec::new();
    for address in addresses() {
        let visitor = &scene.visitors[0];
        let mut connection = visitor.connection(family(address), address);
        // strongSwan learns where its client is from IKE messages only, and then rekeys.
        connection.is_watchful = true;
        let tunnel = connect(visitor, &connection);
        carries_data(visitor, &tunnel, &scene.site);
        before.push(tunnel);
    }

    scene.nat.as_mut().unwrap().renumber().unwrap();

    let visitor = &scene.visitors[0];
    for old in before {
        let tunnel = wait::until("the tunnel is rekeyed", PATIENCE, || {
            let tunnel = visitor.charon.wait_for_tunnel(&old.name, PATIENCE)?;
            ensure!(tunnel.child_spis != old.child_spis, "{tunnel:?}");
            Ok(tunnel)
        })
        .unwrap();
        carries_data(visitor, &tunnel, &scene.site);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn strongswan_serves_clients_with_certificates() {
    let scene = Scene::new(1).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let vpn = pki.issue("vpn", Key::P256, &["DNS:vpn.example.net"], Validity::Current).unwrap();
    let charon = scene
        .start_strongswan(&GatewayConfig {
            identity: "vpn.example.net".to_owned(),
            proof: Proof::Signature("pubkey".to_owned(), vpn.certificate.clone()),
            client_proof: Proof::AnySignature,
            ..GatewayConfig::of_shared_key()
        })
        .unwrap();
    charon.add_ca(&pki.ca()).unwrap();
    charon.add_ca(&pki.issuer()).unwrap();
    charon.add_private_key(&vpn.key).unwrap();
    let visitor = &scene.visitors[0];

    for key in [Key::P256, Key::P384, Key::Ed25519, Key::Rsa2048] {
        let name = format!("{key:?}@example.net").to_lowercase();
        let own = pki.issue(&name, key, &[&format!("email:{name}")], Validity::Current).unwrap();
        let connection = visitor.connection_by(&own, &pki, &name, addresses()[0]).unwrap();
        let tunnel = connect(visitor, &connection);
        assert_eq!(tunnel.remote_id, "vpn.example.net");
    }
}
