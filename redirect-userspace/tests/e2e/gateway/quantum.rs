//! Further key exchanges and keys from before: ours with ours, and with strongSwan 5.9, which has neither
//! the ones nor ML-KEM.

use std::net::IpAddr;

use anyhow::ensure;
use xtask::lab::control::Sa as Seen;
use xtask::lab::gateway::{Connection, Gateway, Place, Scene, Settings, addresses};
use xtask::lab::strongswan::{GatewayConfig, Sa};

use super::{carries_data, connect, rekeyed};
use crate::PATIENCE;

const HYBRID: &str = "aes256gcm16-prfsha384-ecp384-ke1_mlkem768";
const CLASSIC: &str = "aes128gcm16-prfsha256-x25519";
const HYBRID_ESP: &str = "aes256gcm16-x25519-ke1_mlkem768";
const INSIDE: [&str; 2] = ["10.99.0.0/16", "fd99::/16"];
const KEY: &str = "[[ike.ppk]]\nid = \"site\"\nsecret = \"0123456789abcdef0123456789abcdef\"\n";

fn owned(all: &[&str]) -> Vec<String> {
    all.iter().map(|&one| one.to_owned()).collect()
}

/// Our client, in a place of its own, with these proposals.
fn client(scene: &Scene, ike: &[&str], esp: &[&str], extra: &str) -> (Place, Gateway) {
    let place = scene.place(9).unwrap();
    let connection = Connection::new("alice", &addresses()[..1], &["gw1"], &INSIDE);
    let settings = Settings {
        ike_proposals: owned(ike),
        esp_proposals: owned(esp),
        connections: vec![connection],
        extra: extra.to_owned(),
        ..Settings::default()
    };
    let client = Gateway::start(&place.namespace, settings).unwrap();
    (place, client)
}

/// Waits until there is one SA with one Child SA, for which this holds.
fn wait_for_one(client: &Gateway, what: &str, holds: impl Fn(&Seen) -> bool) -> Seen {
    client
        .wait_for(what, PATIENCE, |sas| {
            let [sa] = &sas[..] else { anyhow::bail!("{sas:?}") };
            let is_up = sa.state == "established" && sa.children.len() == 1;
            ensure!(is_up && holds(sa), "{sa:?}");
            Ok(sa.clone())
        })
        .unwrap()
}

fn reaches(place: &Place, sa: &Seen) {
    for own in &sa.addresses {
        let inside: IpAddr = Scene::inside(own.is_ipv6()).unwrap();
        place.namespace.ping(*own, inside, PATIENCE).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn ours_with_ours_has_further_key_exchanges_and_a_key_from_before_and_is_rekeyed_by_either() {
    let scene = Scene::new(0).unwrap();
    let needs = format!("ppk = \"site\"\nppk-required = true\n{KEY}");
    let settings =
        Settings { esp_proposals: owned(&[HYBRID_ESP]), extra: needs.clone(), ..Settings::of_shared_key() };
    let gateway = scene.start(settings).unwrap();

    let (place, client) = client(&scene, &[HYBRID], &[HYBRID_ESP], &needs);

    let first = wait_for_one(&client, "the client is up", |sa| sa.suite == HYBRID);
    reaches(&place, &first);
    for end in [&client, &gateway] {
        let old = wait_for_one(&client, "the client is up", |_sa| true);
        let id = end.sas().unwrap()[0].id;
        end.control().rekey(id, true).unwrap();
        let new = wait_for_one(&client, "the Child SA has other keys", |sa| {
            sa.children[0].spi_in != old.children[0].spi_in && sa.children[0].suite.contains("ke1_mlkem768")
        });
        end.control().rekey(id, false).unwrap();
        let new = wait_for_one(&client, "the IKE SA has other keys", |sa| sa.spi_i != new.spi_i);
        assert_eq!(new.suite, HYBRID);
        reaches(&place, &new);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn strongswan_comes_up_without_them_at_a_gateway_that_has_them() {
    let scene = Scene::new(1).unwrap();
    let visitor = &scene.visitors[0];
    // What is acceptable without a word of the file, and what the file prefers.
    for ike in [vec![], owned(&[HYBRID, CLASSIC])] {
        let optional = format!("ppk = \"site\"\n{KEY}");
        let settings = Settings { ike_proposals: ike, extra: optional, ..Settings::of_shared_key() };
        let gateway = scene.start(settings).unwrap();
        let mut connection = visitor.connection("alice", addresses()[0]);
        connection.ike_proposals = owned(&[CLASSIC]);

        let tunnel = connect(visitor, &connection);

        carries_data(visitor, &tunnel, &scene.site);
        assert_eq!(gateway.wait_for_sa("alice", PATIENCE).unwrap().suite, CLASSIC);
        visitor.charon.rekey(&tunnel.name, Sa::Ike).unwrap();
        let tunnel = rekeyed(visitor, &gateway, &tunnel, Sa::Ike);
        visitor.charon.terminate(&tunnel.name, Sa::Ike).unwrap();
        gateway.wait_until_gone("alice", PATIENCE).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn our_client_that_would_like_them_comes_up_without_at_strongswan() {
    let scene = Scene::new(0).unwrap();
    let _charon = scene.start_strongswan(&GatewayConfig::of_shared_key()).unwrap();
    let optional = format!("ppk = \"site\"\n{KEY}");

    let (place, client) = client(&scene, &[HYBRID, CLASSIC], &["aes128gcm16"], &optional);

    let sa = wait_for_one(&client, "the client is up", |sa| sa.suite == CLASSIC);
    reaches(&place, &sa);
    client.control().rekey(sa.id, false).unwrap();
    let new = wait_for_one(&client, "the IKE SA has other keys", |new| new.spi_i != sa.spi_i);
    assert_eq!(new.suite, CLASSIC);
    reaches(&place, &new);
}
