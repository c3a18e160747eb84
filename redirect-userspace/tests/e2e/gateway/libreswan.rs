//! libreswan 4.10 as client, the second foreign implementation, at the level of IKE: its ESP is the
//! kernel's, which has none here.

use std::net::IpAddr;

use anyhow::ensure;
use xtask::lab::control::Sa;
use xtask::lab::gateway::{Gateway, Place, Scene, Settings, addresses};
use xtask::lab::libreswan::Pluto;
use xtask::lab::pki::{Key, Pki, Validity};
use xtask::lab::strongswan::SHARED_KEY;

use super::{family, watchful};
use crate::PATIENCE;

/// A place with a libreswan daemon in it that knows the laboratory's key for `alice`.
fn client(scene: &Scene) -> (Place, Pluto) {
    let place = scene.place(1).unwrap();
    let pluto = Pluto::start(&place.namespace).unwrap();
    pluto.add_shared_key(["alice", "gw1"], SHARED_KEY).unwrap();
    (place, pluto)
}

/// Adds a connection of `alice` with the laboratory's key, with more settings.
fn add(place: &Place, pluto: &Pluto, name: &str, gateway: IpAddr, more: &[(&str, &str)]) {
    let local: IpAddr = if gateway.is_ipv4() { place.address4.into() } else { place.address6.into() };
    let base = Pluto::client(local, gateway);
    let mut settings: Vec<_> = base.iter().map(|(key, value)| (*key, value.as_str())).collect();
    settings.extend([("leftid", "@alice"), ("rightid", "@gw1"), ("authby", "secret")]);
    // What comes later counts.
    settings.retain(|(key, _)| more.iter().all(|(other, _)| other != key));
    settings.extend(more);
    pluto.add(name, &settings).unwrap();
}

/// Waits until the SA with `alice` has other SPIs, and no Child SA is lost.
fn rekeyed(gateway: &Gateway, old: &Sa) -> Sa {
    gateway
        .wait_for("alice's SA has new keys", PATIENCE, |sas| {
            let new = sas.iter().find(|sa| sa.spi_i != old.spi_i && sa.remote_id == old.remote_id);
            ensure!(sas.len() == 1, "{sas:?}");
            let new = new.filter(|sa| sa.state == "established" && sa.children.len() == old.children.len());
            new.cloned().ok_or_else(|| anyhow::anyhow!("{sas:?}"))
        })
        .unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn an_ike_sa_with_libreswan_lives_and_ends_by_either_side() {
    let scene = Scene::new(0).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let (place, pluto) = client(&scene);
    pluto.ignores_child_sas().unwrap();

    for (address, ends_here) in addresses().into_iter().zip([false, true]) {
        let name = family(address);
        add(&place, &pluto, name, address, &[]);
        pluto.initiate(name).unwrap();
        let sa = gateway.wait_for_sa("alice", PATIENCE).unwrap();
        pluto.wait_for_log(&[name, "established IKE SA; authenticated peer"], PATIENCE).unwrap();
        assert_eq!((sa.children.len(), sa.addresses.len()), (1, 2), "{sa:?}");

        pluto.rekey(name).unwrap();
        let sa = rekeyed(&gateway, &sa);
        gateway.control().rekey(sa.id, false).unwrap();
        let sa = rekeyed(&gateway, &sa);
        pluto.rekey(name).unwrap();
        rekeyed(&gateway, &sa);

        if ends_here {
            gateway.control().clear("alice").unwrap();
            pluto.wait_for_log(&[name, "deleting IKE SA"], PATIENCE).unwrap();
        } else {
            pluto.terminate(name).unwrap();
            gateway.wait_for_event("sa-closed", &["alice", "deleted-by-peer"], PATIENCE).unwrap();
        }
        gateway.wait_until_gone("alice", PATIENCE).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn libreswan_and_the_gateway_believe_each_others_certificates() {
    for key in [Key::Rsa2048, Key::P256, Key::P384] {
        let scene = Scene::new(0).unwrap();
        let pki = Pki::new(&scene.lab).unwrap();
        let vpn = pki.issue("vpn", key, &["DNS:vpn.example.net"], Validity::Current).unwrap();
        let gateway = scene.start(Settings::of_certificates(&vpn, &pki, "vpn.example.net")).unwrap();
        let (place, pluto) = client(&scene);
        let own = pki.issue("alice", key, &["DNS:alice.example.net"], Validity::Current).unwrap();
        pluto.add_credential("alice", &own, &pki).unwrap();
        pluto.ignores_child_sas().unwrap();

        let auth = if key == Key::Rsa2048 { "rsasig" } else { "ecdsa" };
        let settings = [
            ("leftid", "@alice.example.net"),
            ("rightid", "@vpn.example.net"),
            ("authby", auth),
            ("leftcert", "alice"),
            ("leftsendcert", "always"),
            ("sendca", "issuer"),
        ];
        add(&place, &pluto, "alice", addresses()[0], &settings);
        pluto.initiate("alice").unwrap();

        pluto.wait_for_log(&["established IKE SA; authenticated", "@vpn.example.net"], PATIENCE).unwrap();
        gateway.wait_for_sa("alice.example.net", PATIENCE).unwrap();
        pluto.terminate("alice").unwrap();
        gateway.wait_until_gone("alice.example.net", PATIENCE).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn libreswan_with_a_wrong_key_is_refused() {
    let scene = Scene::new(0).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let (place, pluto) = client(&scene);
    pluto.add_shared_key(["mallory", "gw1"], "another key that is long enough").unwrap();
    add(&place, &pluto, "mallory", addresses()[0], &[("leftid", "@mallory")]);

    pluto.initiate("mallory").unwrap();

    pluto.wait_for_log(&["AUTHENTICATION_FAILED"], PATIENCE).unwrap();
    gateway.wait_for_event("sa-refused", &["authentication-failed", "mallory"], PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn libreswan_negotiates_every_algorithm_it_knows() {
    let scene = Scene::new(0).unwrap();
    let mut settings = Settings::of_shared_key();
    // Its names, and ours.
    let suites = [
        ("aes_gcm256-sha2_512-dh19", "aes256gcm16-prfsha512-ecp256"),
        ("aes_gcm128-sha2_256-dh31", "aes128gcm16-prfsha256-x25519"),
        ("aes256-sha2_512-dh15", "aes256-sha512-modp3072"),
        ("aes128-sha2_256-dh14", "aes128-sha256-modp2048"),
        ("aes256-sha2_384-dh20", "aes256-sha384-ecp384"),
        ("chacha20_poly1305-sha2_256-dh21", "chacha20poly1305-prfsha256-ecp521"),
    ];
    settings.ike_proposals = suites.map(|(_, ours)| ours.to_owned()).to_vec();
    settings.esp_proposals =
        ["chacha20poly1305", "aes256gcm16", "aes128-sha256", "aes256-sha512"].map(str::to_owned).to_vec();
    let gateway = scene.start(settings).unwrap();
    let (place, pluto) = client(&scene);
    pluto.ignores_child_sas().unwrap();

    let esp = ["chacha20_poly1305", "aes_gcm256", "aes128-sha2_256", "aes256-sha2_512"];
    for ((theirs, _), esp) in suites.into_iter().zip(esp.into_iter().cycle()) {
        let more = [("ike", theirs), ("esp", esp)];
        add(&place, &pluto, "alice", addresses()[0], &more);
        pluto.initiate("alice").unwrap();
        let sa = gateway.wait_for_sa("alice", PATIENCE).unwrap();
        assert_eq!(sa.children.len(), 1, "{theirs} {esp}");
        pluto.terminate("alice").unwrap();
        gateway.wait_until_gone("alice", PATIENCE).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_libreswan_that_cannot_use_its_child_sa_and_says_nothing_is_forgotten() {
    let scene = Scene::new(0).unwrap();
    let gateway = watchful(&scene);
    let (place, pluto) = client(&scene);
    // It would try again, for as long as the test runs.
    pluto.impair("revival").unwrap();
    add(&place, &pluto, "alice", addresses()[0], &[]);

    pluto.initiate("alice").unwrap();

    gateway.wait_for_event("child-up", &["alice"], PATIENCE).unwrap();
    gateway.wait_for_event("sa-closed", &["alice", "peer-dead"], PATIENCE).unwrap();
    gateway.wait_until_gone("alice", PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn oddities_of_a_client_do_no_harm() {
    let scene = Scene::new(0).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();

    for (number, odd) in (1..).zip([
        // Every message comes twice.
        "jacob-two-two",
        "send-bogus-isakmp-flag",
        "send-bogus-payload-flag",
        "send-nonzero-reserved",
        "minor-version-bump",
        "add-unknown-v2-payload-to:IKE_SA_INIT",
        "add-unknown-v2-payload-to-sk:IKE_AUTH",
        "omit-v2n-signature-hash-algorithms",
        "send-no-idr",
        // The first IKE_AUTH is lost.
        "drop-outgoing:2",
        // Childless (RFC 6023).
        "omit-v2-ike-auth-child",
    ]) {
        let place = scene.place(number).unwrap();
        let pluto = Pluto::start(&place.namespace).unwrap();
        pluto.add_shared_key(["alice", "gw1"], SHARED_KEY).unwrap();
        let is_childless = odd == "omit-v2-ike-auth-child";
        if !is_childless {
            pluto.ignores_child_sas().unwrap();
        }
        pluto.impair(odd).unwrap();
        // As configured on both sides: a second IKE_SA_INIT would count as a message.
        let more = [("ike", "aes_gcm128-sha2_256-dh31"), ("retransmit-interval", "100")];
        add(&place, &pluto, "alice", addresses()[0], &more);

        pluto.initiate("alice").unwrap();

        let sa = gateway.wait_for_sa("alice", PATIENCE).unwrap();
        assert_eq!(sa.children.len(), usize::from(!is_childless), "{odd}: {sa:?}");
        pluto.wait_for_log(&["established IKE SA; authenticated peer"], PATIENCE).unwrap();
        pluto.rekey("alice").unwrap();
        rekeyed(&gateway, &sa);
        pluto.wait_for_log(&["rekeyed IKE SA"], PATIENCE).unwrap();
        pluto.terminate("alice").unwrap();
        gateway.wait_until_gone("alice", PATIENCE).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_that_insists_on_what_is_unknown_is_told_so() {
    let scene = Scene::new(0).unwrap();
    let gateway = scene.start(Settings::of_shared_key()).unwrap();
    let (place, pluto) = client(&scene);
    pluto.impair("add-unknown-v2-payload-to:IKE_SA_INIT").unwrap();
    pluto.impair("unknown-v2-payload-critical").unwrap();
    add(&place, &pluto, "alice", addresses()[0], &[]);

    pluto.initiate("alice").unwrap();

    pluto.wait_for_log(&["UNSUPPORTED_CRITICAL_PAYLOAD"], PATIENCE).unwrap();
    assert!(gateway.sas().unwrap().is_empty());
}
