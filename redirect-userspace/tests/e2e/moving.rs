//! Clients that carry traffic while a gateway loses its clients.

use std::net::IpAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::ensure;
use xtask::lab::control::Sa;
use xtask::lab::gateway::{Connection, Gateway, Place, Profile, Settings};
use xtask::lab::netns::Namespace;
use xtask::lab::topology::{Cluster, Options};
use xtask::lab::traffic;

use crate::PATIENCE;

/// Whom every gateway says it is.
const IDENTITY: &str = "vpn.example.net";
/// What the clients want to reach, behind whichever gateway.
const INSIDE: [&str; 1] = ["10.99.0.0/16"];
/// A host of it that there is behind every gateway.
const HOST: &str = "10.99.0.1";

fn at(number: u8) -> IpAddr {
    IpAddr::from([10, 50, 0, 10 + number])
}

/// Gateway `number` of two that are configured to be a cluster, and that give the same addresses: bob
/// has a pool of his own.
fn member(cluster: &Cluster, number: u8) -> (Namespace, Gateway) {
    let site = cluster.site(number).unwrap();
    site.ip(&format!("address replace {HOST}/32 dev lo")).unwrap();
    let role = site.role().to_owned();
    let other = 3 - number;
    let extra = format!(
        "\n[[cluster.static]]\nname = {role:?}\naddresses = [\"{}\"]\n\
         \n[[cluster.static]]\nname = \"gw{other}\"\naddresses = [\"{}\"]\n",
        at(number),
        at(other)
    );
    let profile = |name: &str, remote_id: &str, pool: &str| Profile {
        remote_ids: vec![remote_id.to_owned()],
        pools: vec![pool.to_owned()],
        local_ts: INSIDE.map(str::to_owned).to_vec(),
        ..Profile::of_shared_key(name, IDENTITY)
    };
    let settings = Settings {
        pools: [("ra4", "10.98.0.0/24"), ("rb4", "10.98.7.0/24")]
            .map(|(name, network)| (name.to_owned(), network.to_owned()))
            .to_vec(),
        profiles: vec![profile("bob", "bob@example.net", "rb4"), profile("others", "*", "ra4")],
        extra,
        ..Settings::default()
    };
    let gateway = Gateway::start(&site, settings).unwrap();
    (site, gateway)
}

fn client(cluster: &Cluster, place: u8, name: &str, remote: IpAddr) -> (Place, Gateway) {
    let place = cluster.place(place).unwrap();
    let connection = Connection::new(name, &[remote], &[IDENTITY], &INSIDE);
    let settings = Settings { connections: vec![connection], ..Settings::default() };
    let client = Gateway::start(&place.namespace, settings).unwrap();
    (place, client)
}

fn up_at(client: &Gateway, gateway: IpAddr) -> Sa {
    client
        .wait_for(&format!("the client is at {gateway}"), PATIENCE, |sas| {
            let [sa] = &sas[..] else { anyhow::bail!("{sas:?}") };
            let is_up = sa.state == "established" && sa.children.len() == 1;
            ensure!(is_up && sa.remote.ip() == gateway, "{sa:?}");
            Ok(sa.clone())
        })
        .unwrap()
}

fn own(sa: &Sa) -> IpAddr {
    *sa.addresses.iter().find(|address| address.is_ipv4()).unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_drained_node_loses_its_client_without_a_packet_and_a_transfer_elsewhere_goes_on() {
    let cluster = Cluster::build(Options { gateways: 0, clients: 0, ..Options::default() }).unwrap();
    let (_first_site, first) = member(&cluster, 1);
    let (second_site, second) = member(&cluster, 2);
    let (alice_at, alice) = client(&cluster, 1, "alice", at(1));
    let (bob_at, bob) = client(&cluster, 2, "bob", at(2));
    let (alices, bobs) = (up_at(&alice, at(1)), up_at(&bob, at(2)));
    let host: IpAddr = HOST.parse().unwrap();
    // Three seconds, in the first of which alice moves.
    let mut ping = alice_at.namespace.command("ping");
    ping.args(["-q", "-i", "0.02", "-c", "150", "-W", "2", "-I", &own(&alices).to_string(), HOST]);
    let ping = ping.stdout(Stdio::piped()).spawn().unwrap();
    let is_over = AtomicBool::new(false);

    let transfers = std::thread::scope(|scope| {
        let transfers = scope.spawn(|| -> anyhow::Result<u32> {
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) || count == 0 {
                traffic::transfer((&bob_at.namespace, own(&bobs)), (&second_site, host), 1 << 20)?;
                count += 1;
            }
            Ok(count)
        });
        let told = first.control().run(&["drain", "--wait"]);
        let moved = up_at(&alice, at(2));
        let report = ping.wait_with_output();
        is_over.store(true, Ordering::Relaxed);

        let told = told.unwrap();
        assert!(told.ends_with("Nobody is left.\n"), "{told}");
        assert_eq!(moved.addresses, alices.addresses, "alice has asked for the address that she had");
        let report = String::from_utf8_lossy(&report.unwrap().stdout).into_owned();
        assert!(report.contains(" 150 received, 0% packet loss"), "{report}");
        transfers.join().unwrap().unwrap()
    });

    assert!(transfers > 0);
    assert_eq!(first.sas().unwrap().len(), 0);
    let ids: Vec<_> = second.sas().unwrap().into_iter().map(|sa| (sa.remote_id, sa.state)).collect();
    assert!(ids.contains(&("alice@example.net".to_owned(), "established".to_owned())), "{ids:?}");
    assert!(ids.contains(&("bob@example.net".to_owned(), "established".to_owned())), "{ids:?}");
    // The new Child SA was up before the old SA was deleted.
    let events = alice.control().events().unwrap();
    let of = |name: &str| events.iter().filter(|event| event.event == name).collect::<Vec<_>>();
    let (up, gone) = (of("child-up"), of("sa-closed"));
    assert_eq!((up.len(), gone.len()), (2, 1), "{up:?} {gone:?}");
    assert!(up[1].sequence < gone[0].sequence, "{up:?} {gone:?}");

    // And back into service: whoever comes is served there again.
    first.control().run(&["undrain"]).unwrap();
    let (_carol_at, carol) = client(&cluster, 3, "carol", at(1));
    up_at(&carol, at(1));
}
