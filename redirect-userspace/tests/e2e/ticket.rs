//! Clients whose gateway was killed, and that are back at another one by ticket.

use std::fs::Permissions;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use xtask::lab::Lab;
use xtask::lab::control::Sa;
use xtask::lab::gateway::{Connection, Gateway, Place, Settings};
use xtask::lab::nodes::{self, Gateways, Node, Nodes};
use xtask::lab::topology::{Cluster, Options};
use xtask::lab::wait;

use crate::PATIENCE;

/// Whom every gateway says it is.
const IDENTITY: &str = "vpn.example.net";
/// What the clients want to reach.
const INSIDE: [&str; 1] = ["10.99.0.0/16"];
/// Clients of a gateway that is killed.
const MANY: usize = 200;

/// A wire, and a file with the cluster's reconnect key.
fn wire() -> (Cluster, PathBuf) {
    let cluster = Cluster::build(Options { gateways: 0, clients: 0, ..Options::default() }).unwrap();
    let key = reconnect_key(&cluster.lab);
    (cluster, key)
}

fn reconnect_key(lab: &Lab) -> PathBuf {
    let key = lab.directory().join("reconnect1.key");
    std::fs::write(&key, "a reconnect key for all of the members\n").unwrap();
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    key
}

/// What a member has to serve clients with, with the addresses that all members have.
fn settings(key: &Path, number: u8, dataplane: Option<&str>) -> Settings {
    let extra = format!(
        "\n[reconnect]\ncluster = \"lab\"\nkey = [{{ index = 1, active = true, secret-file = {key:?} }}]\n"
    );
    let pools = vec![("ra4".to_owned(), "10.98.0.0/22".to_owned())];
    let dataplane = dataplane.map(str::to_owned);
    Settings { extra, pools, dataplane, ..Settings::of_node(number, IDENTITY) }
}

/// Member `number`.
fn member(cluster: &Cluster, key: &Path, number: u8, dataplane: Option<&str>) -> Gateway {
    let site = cluster.site(number).unwrap();
    Gateway::start(&site, settings(key, number, dataplane)).unwrap()
}

fn at(number: u8) -> IpAddr {
    IpAddr::from([10, 50, 0, 10 + number])
}

/// So many clients in one place that try both members and soon notice that one is gone.
fn clients(cluster: &Cluster, count: usize, dataplane: Option<&str>) -> (Place, Gateway) {
    let place = cluster.place(1).unwrap();
    let clients = clients_at(&place, count, &[at(1), at(2)], dataplane);
    (place, clients)
}

fn clients_at(place: &Place, count: usize, remotes: &[IpAddr], dataplane: Option<&str>) -> Gateway {
    let connection = |number: usize| {
        let mut connection = Connection::new(&format!("c{number}"), remotes, &[IDENTITY], &INSIDE);
        connection.local_id = format!("user{number}@example.net");
        connection.patience = Some(Duration::from_secs(1));
        connection.dpd = Some(Duration::from_secs(1));
        connection
    };
    let settings = Settings {
        connections: (0..count).map(connection).collect(),
        retransmission: Some((Duration::from_millis(200), Duration::from_secs(1))),
        dataplane: dataplane.map(str::to_owned),
        ..Settings::default()
    };
    Gateway::start(&place.namespace, settings).unwrap()
}

/// Waits until so many SAs are up at a member.
fn up_at(clients: &Gateway, number: u8, count: usize) -> Vec<Sa> {
    clients
        .wait_for(&format!("{count} SAs are up at {}", at(number)), PATIENCE, |sas| {
            let is_up = |sa: &&Sa| {
                sa.state == "established" && sa.remote.ip() == at(number) && sa.children.len() == 1
            };
            let up = sas.iter().filter(is_up).count();
            ensure!(up == count && sas.len() == count, "{up} of {} are up there", sas.len());
            Ok(sas.to_vec())
        })
        .unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_of_a_killed_gateway_is_back_by_ticket_with_its_address() {
    let (cluster, key) = wire();
    let mut first = member(&cluster, &key, 1, None);
    let second = member(&cluster, &key, 2, None);
    let (place, client) = clients(&cluster, 1, None);
    let before = up_at(&client, 1, 1);
    assert!(!before[0].resumed);

    first.kill().unwrap();

    let after = up_at(&client, 2, 1);
    assert!(after[0].resumed, "{after:?}");
    assert_eq!(after[0].addresses, before[0].addresses);
    let sas = second.sas().unwrap();
    assert_eq!(sas.len(), 1, "{sas:?}");
    let seen = &sas[0];
    assert!(seen.resumed && seen.addresses == after[0].addresses, "{seen:?}");
    second.wait_for_event("sa-established", &["user0@example.net", "ticket"], PATIENCE).unwrap();
    place.namespace.ping(after[0].addresses[0], "10.99.2.1".parse().unwrap(), PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn two_hundred_clients_of_a_killed_gateway_are_back_by_ticket() {
    let (cluster, key) = wire();
    let mut first = member(&cluster, &key, 1, Some("none"));
    let second = member(&cluster, &key, 2, Some("none"));
    let (_place, clients) = clients(&cluster, MANY, Some("none"));
    up_at(&clients, 1, MANY);

    first.kill().unwrap();

    // Within the patience of the tests, of which most is that of the clients.
    let after = up_at(&clients, 2, MANY);
    assert!(after.iter().all(|sa| sa.resumed), "all of them by ticket");
    assert!(second.sas().unwrap().iter().all(|sa| sa.resumed));
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_member_whose_client_has_come_back_elsewhere_lets_go_of_it() {
    let options = nodes::Options { nodes: 2, gateways: Gateways::Own, clients: 0, ..Default::default() };
    let mut cluster = Nodes::build(options).unwrap();
    let key = reconnect_key(&cluster.lab);
    for (node, number) in cluster.nodes.iter_mut().zip([1, 2]) {
        node.settings.ike = Some(settings(&key, number, None));
    }
    cluster.start_all().unwrap();
    // From the master to the slave, and the other way.
    for (number, first, second) in [(1, 1, 2), (2, 2, 1)] {
        let place = cluster.place(number).unwrap();
        let mut client = clients_at(&place, 1, &[at(first), at(second)], None);
        let before = up_at(&client, first, 1);
        let former = &cluster.nodes[usize::from(first) - 1];
        assert_eq!(former.control().sas().unwrap().len(), 1);

        // The client is heard, but hears nothing: its gateway would keep it.
        former.namespace().ip(&format!("route add blackhole {}/32", place.address4)).unwrap();

        let after = up_at(&client, second, 1);
        assert!(after[0].resumed && after[0].addresses == before[0].addresses, "{after:?}");
        has_let_go(former);
        former.wait_for_event(&["sa-closed", "resumed"], PATIENCE).unwrap();
        client.stop().unwrap();
        has_let_go(&cluster.nodes[usize::from(second) - 1]);
    }
}

/// Waits until no SA is up at a member. It does not know that its answer to a first try did not arrive.
fn has_let_go(node: &Node) {
    wait::until("the client is gone", PATIENCE, || {
        let sas = node.control().sas()?;
        ensure!(sas.iter().all(|sa| sa.state == "half-open"), "{sas:?}");
        Ok(())
    })
    .unwrap();
}
