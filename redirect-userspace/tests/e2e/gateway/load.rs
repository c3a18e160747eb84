//! `redirectctl bench`: the load generator against our gateway.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use xtask::lab::balancer::{Member, Redirectd};
use xtask::lab::gateway::{Gateway, Place, Scene, Settings, addresses};
use xtask::lab::pki::{Key, Pki, Validity};
use xtask::lab::process::output;
use xtask::lab::strongswan::{GatewayConfig, SHARED_KEY};
use xtask::lab::topology::{Cluster, Options, VIP4, release_binary};

use crate::PATIENCE;

/// Runs a benchmark from a place; what it says.
fn run(place: &Place, words: &[&str], arguments: &[&str]) -> anyhow::Result<Value> {
    let program = release_binary("redirectctl").canonicalize()?;
    let mut command = place.namespace.command(program);
    command.arg("bench").args(words).args(["--json", "--local", &place.address4.to_string()]).args(arguments);
    Ok(serde_json::from_str(&output(&mut command)?)?)
}

/// Handshakes with the gateway of the scene; how many it says it has done.
fn bench(place: &Place, arguments: &[&str]) -> anyhow::Result<u64> {
    let gateway = addresses()[0].to_string();
    let told = run(place, &["handshake", &gateway, "--network", "10.99.1.0/24"], arguments)?;
    anyhow::ensure!(told["failed"] == 0, "{told}");
    Ok(told["done"].as_u64().unwrap_or_default())
}

/// The laboratory's key in a file.
fn key_in(directory: &Path) -> String {
    let key = directory.join("shared.key");
    fs::write(&key, SHARED_KEY).unwrap();
    key.to_str().unwrap().to_owned()
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn as_many_clients_come_and_stay_as_the_load_generator_is_told() {
    let scene = Scene::new(0).unwrap();
    let place = scene.place(1).unwrap();
    let key = key_in(scene.lab.directory());
    let key = key.as_str();
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

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_gateway_answers_requests_and_asks_for_cookies_when_there_are_many() {
    let scene = Scene::new(0).unwrap();
    let place = scene.place(1).unwrap();
    let limits = vec![("half-open-per-source".to_owned(), 100_000), ("cookie-threshold".to_owned(), 50)];
    let _gateway = scene.start(Settings { limits, ..Settings::of_shared_key() }).unwrap();
    let gateway = addresses()[0].to_string();
    let init = |arguments: &[&str]| run(&place, &["init", &gateway], arguments);

    let few = init(&["--count", "20", "--parallel", "2"]).unwrap();
    assert_eq!((&few["done"], &few["failed"]), (&20.into(), &0.into()), "{few}");
    assert_eq!(few["replies"], serde_json::json!({ "ike-sa-init": 20 }));

    let many = init(&["--count", "200", "--rate", "500"]).unwrap();
    assert_eq!(
        (&many["mode"], &many["done"], &many["failed"]),
        (&"open".into(), &200.into(), &0.into()),
        "{many}"
    );
    assert!(many["replies"]["cookie"].as_u64().unwrap() >= 150, "{many}");
    assert!(many["seconds"].as_f64().unwrap() >= 0.39, "{many}");
    assert!(many["latency-ms"]["p99.9"].as_f64() >= many["latency-ms"]["min"].as_f64(), "{many}");

    let other = init(&["--count", "5", "--ike", "aes256gcm16-prfsha512-ecp521", "--timeout", "500ms"]);
    assert!(format!("{:#}", other.unwrap_err()).contains("exit status: 1"));
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_vip_sends_every_request_to_a_member_and_handshakes_follow() {
    let cluster = Cluster::build(Options { gateways: 0, clients: 0, ..Options::default() }).unwrap();
    let members: Vec<_> = (1..=2).map(|number| Member::imaginary(number, 1)).collect();
    let _daemon = Redirectd::start(&cluster, &members).unwrap();
    let place = cluster.place(1).unwrap();
    let vip = VIP4.to_string();

    let told = run(&place, &["init", &vip], &["--count", "2000", "--parallel", "64"]).unwrap();

    assert_eq!(told["replies"], serde_json::json!({ "redirect": 2_000 }), "{told}");
    let to: Vec<_> =
        ["10.50.0.11", "10.50.0.12"].map(|at| told["redirected-to"][at].as_u64().unwrap()).into();
    assert!(to.iter().sum::<u64>() == 2_000 && to.iter().all(|count| *count > 800), "{told}");

    let gateways: Vec<_> = (1..=2)
        .map(|number| {
            let site = cluster.site(number).unwrap();
            let gateway = Gateway::start(&site, Settings::of_node(number, "vpn.example.net")).unwrap();
            (site, gateway)
        })
        .collect();
    let key = key_in(cluster.lab.directory());
    let arguments = ["--psk-file", &key, "--follow", "--count", "30", "--parallel", "3"];
    let told = run(&place, &["handshake", &vip, "--network", "10.99.0.0/16"], &arguments).unwrap();
    assert_eq!((&told["done"], &told["failed"]), (&30.into(), &0.into()), "{told}");
    let sas: Vec<_> = gateways.iter().map(|(_, gateway)| gateway.sas().unwrap().len()).collect();
    assert!(sas.iter().sum::<usize>() == 30 && sas.iter().all(|count| *count > 0), "{sas:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn clients_come_back_by_ticket_again_and_again() {
    let scene = Scene::new(0).unwrap();
    let place = scene.place(1).unwrap();
    let secret = scene.lab.directory().join("reconnect.key");
    fs::write(&secret, "a reconnect key for the load generator\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let extra = format!(
        "\n[reconnect]\ncluster = \"lab\"\nkey = [{{ index = 1, active = true, secret-file = {secret:?} }}]\n"
    );
    let gateway = scene.start(Settings { extra, ..Settings::of_shared_key() }).unwrap();
    let key = key_in(scene.lab.directory());
    let handshake = ["handshake", &addresses()[0].to_string(), "--network", "10.99.1.0/24"];

    let arguments = ["--psk-file", &key, "--resumed", "--count", "60", "--parallel", "4"];
    let told = run(&place, &handshake, &arguments).unwrap();
    assert_eq!(
        (&told["done"], &told["failed"], &told["resumed"]),
        (&60.into(), &0.into(), &true.into()),
        "{told}"
    );
    let sas = gateway.sas().unwrap();
    assert!(sas.len() == 4 && sas.iter().all(|sa| sa.resumed), "one for each client: {sas:?}");

    let arguments =
        ["--psk-file", &key, "--resumed", "--rate", "100", "--duration", "500ms", "--first", "50"];
    let told = run(&place, &handshake, &arguments).unwrap();
    assert_eq!((&told["done"], &told["failed"]), (&50.into(), &0.into()), "{told}");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn the_load_generator_brings_up_sas_with_strongswan_which_gives_no_tickets() {
    let scene = Scene::new(0).unwrap();
    let place = scene.place(1).unwrap();
    let _charon = scene.start_strongswan(&GatewayConfig::of_shared_key()).unwrap();
    let key = key_in(scene.lab.directory());
    let gateway = addresses()[0].to_string();

    let told = run(&place, &["init", &gateway], &["--count", "20", "--parallel", "2"]).unwrap();
    assert_eq!((&told["done"], &told["failed"]), (&20.into(), &0.into()), "{told}");
    assert_eq!(bench(&place, &["--psk-file", &key, "--count", "10", "--parallel", "2"]).unwrap(), 10);

    let refused = bench(&place, &["--psk-file", &key, "--resumed", "--parallel", "1", "--first", "20"]);
    assert!(format!("{:#}", refused.unwrap_err()).contains("exit status: 1"));
}
