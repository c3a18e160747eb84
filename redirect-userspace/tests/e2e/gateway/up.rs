//! Clients of every kind get their tunnels.

use std::process::Stdio;

use xtask::lab::gateway::{Scene, Settings, addresses};
use xtask::lab::netns::Namespace;
use xtask::lab::pki::{Credential, Key, Pki, Validity};
use xtask::lab::strongswan;

use super::{carries_data, connect, family};
use crate::PATIENCE;

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_with_a_shared_key_gets_a_tunnel_that_carries_data() {
    let scene = Scene::new(1).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let visitor = &scene.visitors[0];

    for address in addresses() {
        let name = family(address);
        let tunnel = connect(visitor, &visitor.connection(name, address));

        assert_eq!(tunnel.remote_id, "gw1");
        assert_eq!(tunnel.virtual_addresses.len(), 2);
        carries_data(visitor, &tunnel, &scene.site);
        let sa = gateway.wait_for_sa(name, PATIENCE).unwrap();
        assert_eq!(sa.addresses, tunnel.virtual_addresses);
        assert_eq!([Some(sa.spi_i), sa.spi_r], tunnel.spis.map(Some));
        let [child] = &sa.children[..] else { panic!("{:?}", sa.children) };
        assert_eq!([&child.spi_out, &child.spi_in], tunnel.child_spis.each_ref());
        assert!(child.bytes_in > 8 << 20 && child.bytes_out > 8 << 20, "{child:?}");
    }
}

/// Whether the kernel takes an SA of ESP.
fn has_esp(namespace: &Namespace) -> bool {
    let state = "xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 reqid 7 mode tunnel \
                 aead rfc4106(gcm(aes)) 0x0102030405060708090a0b0c0d0e0f1011121314 128";
    let mut command = namespace.command("ip");
    command.args(state.split_whitespace()).stderr(Stdio::null()).status().unwrap().success()
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn who_carries_packets_is_said_and_why_it_is_not_the_kernel() {
    let scene = Scene::new(0).unwrap();
    let with =
        |dataplane: &str| Settings { dataplane: Some(dataplane.to_owned()), ..Settings::of_shared_key() };
    let carrier = |dataplane: &str| {
        let gateway = scene.start(with(dataplane)).unwrap();
        gateway.control().redirect().unwrap().dataplane.unwrap()
    };

    let [picked, configured, none] = ["auto", "userspace", "none"].map(carrier);

    assert_eq!((configured.name.as_str(), configured.reason), ("userspace", None));
    assert_eq!((none.name.as_str(), none.reason), ("none", None));
    assert_eq!(picked.name == "kernel", picked.reason.is_none(), "{picked:?}");
    if !has_esp(&scene.site) {
        assert!(picked.reason.unwrap().contains("the kernel has no ESP"));
        let refused = format!("{:#}", scene.start(with("kernel")).unwrap_err());
        assert!(refused.contains("ike.dataplane: the kernel has no ESP"), "{refused}");
    }
}

/// A gateway with a key of one kind, and clients with keys of all kinds.
fn certificates(own: Key, client_settings: strongswan::Settings, clients: &[Key]) {
    let scene = Scene::with(1, client_settings).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let vpn = pki.issue("vpn", own, &["DNS:vpn.example.net"], Validity::Current).unwrap();
    let settings = Settings {
        legacy_sha1: !client_settings.has_signature_method,
        ..Settings::of_certificates(&vpn, &pki, "vpn.example.net")
    };
    let gateway = scene.start(settings).unwrap();
    let visitor = &scene.visitors[0];

    for (key, address) in clients.iter().zip(addresses().into_iter().cycle()) {
        let name = format!("{key:?}@example.net").to_lowercase();
        let credential = client(&pki, &name, *key);
        let connection = visitor.connection_by(&credential, &pki, &name, address).unwrap();
        let tunnel = connect(visitor, &connection);

        assert_eq!(tunnel.remote_id, "vpn.example.net");
        visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
        assert_eq!(gateway.wait_for_sa(&name, PATIENCE).unwrap().addresses, tunnel.virtual_addresses);
    }
}

fn client(pki: &Pki, name: &str, key: Key) -> Credential {
    pki.issue(name, key, &[&format!("email:{name}")], Validity::Current).unwrap()
}

const KEYS: [Key; 4] = [Key::P256, Key::P384, Key::Ed25519, Key::Rsa2048];

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn an_ecdsa_gateway_believes_certificates_of_every_kind() {
    certificates(Key::P256, strongswan::Settings::default(), &KEYS);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn an_rsa_gateway_believes_certificates_of_every_kind() {
    certificates(Key::Rsa2048, strongswan::Settings::default(), &KEYS);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn an_ed25519_gateway_believes_certificates_of_every_kind() {
    certificates(Key::Ed25519, strongswan::Settings::default(), &KEYS);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn clients_without_the_signature_method_use_the_older_ones() {
    let settings = strongswan::Settings { has_signature_method: false, ..strongswan::Settings::default() };
    certificates(Key::P256, settings, &[Key::P256, Key::P384, Key::Rsa2048]);
    certificates(Key::Rsa2048, settings, &[Key::P256, Key::Rsa2048]);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_signs_with_pss() {
    let scene = Scene::new(1).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let vpn = pki.issue("vpn", Key::Rsa2048, &["DNS:vpn.example.net"], Validity::Current).unwrap();
    let _gateway = scene.start(Settings::of_certificates(&vpn, &pki, "vpn.example.net")).unwrap();
    let visitor = &scene.visitors[0];
    let own = client(&pki, "alice@example.net", Key::Rsa2048);

    for method in ["rsa/pss-sha256", "rsa/pss-sha384", "rsa/pss-sha512", "rsa-sha512"] {
        let mut connection = visitor.connection_by(&own, &pki, "alice@example.net", addresses()[0]).unwrap();
        connection.name = method.to_owned();
        connection.proof = strongswan::Proof::Signature(format!("pubkey-{method}"), own.certificate.clone());
        connect(visitor, &connection);
    }
}
