//! Our own client: from the VIP to a gateway, and from one gateway to another.

use std::net::IpAddr;
use std::process::Stdio;

use anyhow::ensure;
use xtask::lab::balancer::{Member, Redirectd};
use xtask::lab::control::{Event, Sa};
use xtask::lab::gateway::{Connection, Gateway, Place, Settings};
use xtask::lab::libreswan::Pluto;
use xtask::lab::netns::Namespace;
use xtask::lab::strongswan::{Charon, GatewayConfig, SHARED_KEY, Settings as CharonSettings};
use xtask::lab::topology::{Cluster, Options, VIP4, VIP6};

use crate::PATIENCE;

/// Whom every gateway of these tests says it is, where the client does not look closer.
const IDENTITY: &str = "vpn.example.net";
/// What the client wants to reach: gateways narrow it to what is behind them.
const INSIDE: [&str; 2] = ["10.99.0.0/16", "fd99::/16"];

/// A wire with a balancer's place, and nobody on it.
fn wire() -> Cluster {
    Cluster::build(Options { gateways: 0, clients: 0, ..Options::default() }).unwrap()
}

/// Where gateway `number` is, in either family.
fn at(number: u8) -> [IpAddr; 2] {
    [IpAddr::from([10, 50, 0, 10 + number]), format!("fd50::{}", 10 + number).parse().unwrap()]
}

/// Our own gateways, in the places 1 to `count`.
fn ours(cluster: &Cluster, count: u8) -> Vec<(Namespace, Gateway)> {
    let gateway = |number| {
        let site = cluster.site(number).unwrap();
        let gateway = Gateway::start(&site, Settings::of_node(number, IDENTITY)).unwrap();
        (site, gateway)
    };
    (1..=count).map(gateway).collect()
}

/// A client that is brought up by itself and goes to these remotes.
fn client(cluster: &Cluster, remotes: &[IpAddr], extra: &str) -> (Place, Gateway) {
    let place = cluster.place(1).unwrap();
    let connection = Connection::new("alice", remotes, &[IDENTITY, "gw1", "gw2"], &INSIDE);
    let extra = extra.to_owned();
    let settings = Settings { connections: vec![connection], extra, ..Settings::default() };
    let client = Gateway::start(&place.namespace, settings).unwrap();
    (place, client)
}

/// Waits until the client's one SA is with a gateway, has a Child SA and was sent there by `from`.
fn wait_until_at(client: &Gateway, gateway: IpAddr, from: Option<IpAddr>) -> Sa {
    client
        .wait_for(&format!("the client is at {gateway}"), PATIENCE, |sas| {
            let [sa] = &sas[..] else { anyhow::bail!("{sas:?}") };
            let is_up = sa.state == "established" && sa.children.len() == 1;
            ensure!(is_up && sa.remote.ip() == gateway, "{sa:?}");
            ensure!(sa.redirected_from == from.map(|from| from.to_string()), "{sa:?}");
            Ok(sa.clone())
        })
        .unwrap()
}

/// Packets go through the client's tunnel to this address, from the address it was given.
fn reaches(place: &Place, sa: &Sa, inside: &str) {
    let inside: IpAddr = inside.parse().unwrap();
    let own = sa.addresses.iter().find(|address| address.is_ipv4() == inside.is_ipv4()).unwrap();
    place.namespace.ping(*own, inside, PATIENCE).unwrap();
}

/// The client's one event with this name.
fn sole_event(client: &Gateway, name: &str) -> Event {
    let mut found = events(client, name);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// The client's events with this name.
fn events(client: &Gateway, name: &str) -> Vec<Event> {
    let events = client.control().events().unwrap();
    events.into_iter().filter(|event| event.event == name).collect()
}

fn through_the_vip(mode: &str, vip: IpAddr) {
    let cluster = wire();
    let gateways = ours(&cluster, 2);
    let members: Vec<_> = (1..=2)
        .map(|number| Member { name: format!("gw{number}"), addresses: at(number).to_vec(), weight: 1 })
        .collect();
    let daemon = Redirectd::start_in_mode(&cluster, mode, &members).unwrap();

    let (place, client) = client(&cluster, &[vip], "");

    let sa = client.wait_for_sa(IDENTITY, PATIENCE).unwrap();
    let family = usize::from(vip.is_ipv6());
    let number = (1..=2).find(|number| at(*number)[family] == sa.remote.ip()).unwrap();
    wait_until_at(&client, sa.remote.ip(), Some(vip));
    reaches(&place, &sa, &format!("10.99.{number}.1"));
    reaches(&place, &sa, &format!("fd99:{number}::1"));
    let seen = &gateways[usize::from(number) - 1].1.sas().unwrap()[0];
    assert_eq!(seen.redirected_from, Some(vip.to_string()));
    assert_eq!(seen.addresses, sa.addresses);
    assert_eq!(daemon.show_redirect().unwrap().counters["redirected"], 1);
    let followed = sole_event(&client, "redirected");
    assert_eq!(followed.fields["to"], sa.remote.ip().to_string());
    assert_eq!(followed.fields["exchange"], "IKE_SA_INIT");
}

/// The routes to a network, one a line.
fn routes(place: &Place, family: &str, network: &str) -> Vec<String> {
    let mut command = place.namespace.command("ip");
    let output = command.args([family, "route", "show", network]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_route_of_the_system_to_the_same_network_stays_behind_the_tunnels() {
    let cluster = wire();
    let _gateways = ours(&cluster, 1);
    let place = cluster.place(1).unwrap();
    let [gateway4, gateway6] = at(1);
    let batch = format!(
        "route add 10.99.1.0/24 via {gateway4} dev eth0\nroute add fd99:1::/64 via {gateway6} dev eth0\n"
    );
    place.namespace.ip(&batch).unwrap();
    let before = [routes(&place, "-4", "10.99.1.0/24"), routes(&place, "-6", "fd99:1::/64")];
    assert!(before.iter().all(|routes| routes.len() == 1), "{before:?}");
    let connection = Connection::new("alice", &at(1)[..1], &[IDENTITY], &INSIDE);
    let settings = Settings { connections: vec![connection], ..Settings::default() };

    let client = Gateway::start(&place.namespace, settings).unwrap();

    let sa = client.wait_for_sa(IDENTITY, PATIENCE).unwrap();
    let both = [routes(&place, "-4", "10.99.1.0/24"), routes(&place, "-6", "fd99:1::/64")];
    assert!(both.iter().all(|routes| routes.len() == 2), "{both:?}");
    reaches(&place, &sa, "10.99.1.1");
    reaches(&place, &sa, "fd99:1::1");
    let counted = client.sas().unwrap()[0].children[0].bytes_out;
    assert!(counted > 0, "through the tunnel");

    drop(client);
    let after = [routes(&place, "-4", "10.99.1.0/24"), routes(&place, "-6", "fd99:1::/64")];
    assert_eq!(after, before);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_of_ours_that_knows_only_the_vip_lands_on_a_gateway_of_ours() {
    through_the_vip("auto", VIP4.into());
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_of_ours_that_knows_only_the_ipv6_vip_lands_on_a_gateway_of_ours() {
    through_the_vip("auto", VIP6.into());
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_of_ours_lands_on_a_gateway_of_ours_without_xdp() {
    through_the_vip("userspace", VIP4.into());
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_that_does_not_follow_is_served_by_whoever_has_the_address() {
    let cluster = wire();
    let _gateways = ours(&cluster, 1);

    let extra = "\n[redirect.client]\nenabled = false\n";
    let (place, client) = client(&cluster, &at(1)[..1], extra);

    let sa = wait_until_at(&client, at(1)[0], None);
    reaches(&place, &sa, "10.99.1.1");
}

/// Our gateway in the first place sends whoever has proved who he is to the second.
#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_of_ours_is_sent_on_by_a_gateway_of_ours_in_ike_auth() {
    let cluster = wire();
    let site = cluster.site(1).unwrap();
    let extra = format!(
        "\n[redirect]\ngateway = [\"auth\"]\n\n[[cluster.static]]\nname = \"gw2\"\naddresses = [\"{}\"]\n",
        at(2)[0]
    );
    let first = Gateway::start(&site, Settings { extra, ..Settings::of_node(1, IDENTITY) }).unwrap();
    let second = cluster.site(2).unwrap();
    let _second = Gateway::start(&second, Settings::of_node(2, IDENTITY)).unwrap();

    let (place, client) = client(&cluster, &at(1)[..1], "");

    let sa = wait_until_at(&client, at(2)[0], Some(at(1)[0]));
    reaches(&place, &sa, "10.99.2.1");
    first.wait_until_gone("alice@example.net", PATIENCE).unwrap();
    let followed = sole_event(&client, "redirected");
    assert_eq!(followed.fields["exchange"], "IKE_AUTH");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn dead_remotes_are_passed_over_and_a_lost_gateway_is_replaced_by_the_next_of_the_list() {
    let cluster = wire();
    let mut gateways = ours(&cluster, 2);
    let nobody: IpAddr = [10, 50, 0, 77].into();

    let (place, client) = client(&cluster, &[nobody, at(1)[0], at(2)[0]], "");

    let sa = wait_until_at(&client, at(1)[0], None);
    reaches(&place, &sa, "10.99.1.1");
    let failed = &events(&client, "connect-failed")[0];
    assert!(failed.text.contains("10.50.0.77"), "{failed:?}");
    // It tells its clients, and does not come back.
    gateways[0].1.stop().unwrap();
    let sa = wait_until_at(&client, at(2)[0], None);
    reaches(&place, &sa, "10.99.2.1");
}

/// strongSwan gateways in these places that give out the same addresses and have the same network
/// behind them.
fn strongswans(cluster: &Cluster, numbers: [u8; 2]) -> Vec<Charon> {
    let gateway = |number| {
        let site = cluster.site(number).unwrap();
        site.ip("address replace 10.99.0.1/32 dev lo").unwrap();
        let charon = Charon::start(&site, CharonSettings::default()).unwrap();
        charon
            .serve(&GatewayConfig {
                identity: IDENTITY.to_owned(),
                pools: vec!["10.98.0.0/24".to_owned(), "fd98::/64".to_owned()],
                inside: INSIDE.map(str::to_owned).to_vec(),
                ..GatewayConfig::default()
            })
            .unwrap();
        charon
    };
    numbers.into_iter().map(gateway).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_live_redirect_by_strongswan_moves_our_client_and_no_packet_is_lost() {
    let cluster = wire();
    let gateways = strongswans(&cluster, [1, 2]);
    let (place, client) = client(&cluster, &at(1)[..1], "");
    let sa = wait_until_at(&client, at(1)[0], None);
    reaches(&place, &sa, "10.99.0.1");
    let own = sa.addresses.iter().find(|address| address.is_ipv4()).unwrap();
    // Three seconds, in the first of which the client moves.
    let mut ping = place.namespace.command("ping");
    ping.args(["-q", "-i", "0.02", "-c", "150", "-W", "2", "-I", &own.to_string(), "10.99.0.1"]);
    let ping = ping.stdout(Stdio::piped()).spawn().unwrap();

    gateways[0].redirect("alice@example.net", &at(2)[0].to_string()).unwrap();

    let moved = wait_until_at(&client, at(2)[0], Some(at(1)[0]));
    assert_eq!(moved.addresses, sa.addresses, "it has asked for the addresses that it had");
    let output = ping.wait_with_output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(report.contains(" 150 received, 0% packet loss"), "{report}");
    // The new Child SA is up before the old SA is deleted.
    let (up, gone) = (events(&client, "child-up"), events(&client, "sa-closed"));
    assert_eq!((up.len(), gone.len()), (2, 1), "{up:?} {gone:?}");
    assert!(up[1].sequence < gone[0].sequence, "{up:?} {gone:?}");
    assert_eq!(gone[0].fields["reason"], "redirected");
    // The old gateway was told.
    let left = || {
        let tunnels = gateways[0].tunnels()?;
        ensure!(tunnels.is_empty(), "{tunnels:?}");
        Ok(())
    };
    xtask::lab::wait::until("the first gateway has no SA", PATIENCE, left).unwrap();
    // And back, over the other family.
    gateways[1].redirect("alice@example.net", &at(1)[1].to_string()).unwrap();
    let back = wait_until_at(&client, at(1)[1], Some(at(2)[0]));
    reaches(&place, &back, "10.99.0.1");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn our_client_goes_to_a_name_and_not_to_one_that_nobody_knows_nor_where_it_may_not() {
    let cluster = wire();
    let gateways = strongswans(&cluster, [1, 2]);
    let place = cluster.place(1).unwrap();
    let settings = Settings {
        connections: vec![Connection::new("alice", &at(1)[..1], &[IDENTITY], &INSIDE)],
        extra: "\n[redirect.client]\nallow = [\"10.50.0.12\", \"*.lab.invalid\"]\n".to_owned(),
        hosts: format!("{} gw2.lab.invalid\n", at(2)[0]),
        ..Settings::default()
    };
    let client = Gateway::start(&place.namespace, settings).unwrap();

    for (to, reason) in [("gw9.lab.invalid", "unresolved"), ("10.50.0.101", "not-allowed")] {
        let sa = wait_until_at(&client, at(1)[0], None);
        gateways[0].redirect("alice@example.net", to).unwrap();
        client.wait_for_event("redirect-refused", &[to, reason], PATIENCE).unwrap();
        reaches(&place, &wait_until_at(&client, at(1)[0], None), "10.99.0.1");
        let same = &client.sas().unwrap()[0];
        assert_eq!((same.id, &same.spi_i), (sa.id, &sa.spi_i));
        // strongSwan redirects an SA once.
        gateways[0].terminate("gateway", xtask::lab::strongswan::Sa::Ike).unwrap();
        client
            .wait_for_event("sa-closed", &[&format!("SA {} ", sa.id), "deleted-by-peer"], PATIENCE)
            .unwrap();
    }

    wait_until_at(&client, at(1)[0], None);
    gateways[0].redirect("alice@example.net", "gw2.lab.invalid").unwrap();
    reaches(&place, &wait_until_at(&client, at(2)[0], Some(at(1)[0])), "10.99.0.1");
}

/// libreswan as a gateway that takes clients with the laboratory's key.
fn pluto(cluster: &Cluster, number: u8, more: &[(&str, &str)]) -> Pluto {
    let site = cluster.site(number).unwrap();
    let pluto = Pluto::start(&site).unwrap();
    pluto.add_shared_key(["alice", "gw1"], SHARED_KEY).unwrap();
    let base = Pluto::gateway(at(number)[0]);
    let mut settings: Vec<_> = base.iter().map(|(key, value)| (*key, value.as_str())).collect();
    settings.extend(more);
    pluto.add("clients", &settings).unwrap();
    pluto
}

fn alice(cluster: &Cluster) -> (Place, Gateway) {
    let place = cluster.place(1).unwrap();
    let local_id = "@alice".to_owned();
    let connection = Connection::new("alice", &at(1)[..1], &[IDENTITY, "@gw1"], &INSIDE);
    let connections = vec![Connection { local_id, ..connection }];
    let client = Gateway::start(&place.namespace, Settings { connections, ..Settings::default() }).unwrap();
    (place, client)
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_of_ours_follows_libreswan_in_ike_sa_init() {
    let cluster = wire();
    let pluto = pluto(&cluster, 1, &[]);
    pluto.send_all_to(at(2)[0]).unwrap();
    let site = cluster.site(2).unwrap();
    let _second = Gateway::start(&site, Settings::of_node(2, IDENTITY)).unwrap();

    let (place, client) = alice(&cluster);

    let sa = wait_until_at(&client, at(2)[0], Some(at(1)[0]));
    reaches(&place, &sa, "10.99.2.1");
    let followed = sole_event(&client, "redirected");
    assert_eq!(followed.fields["exchange"], "IKE_SA_INIT");
}

// RDA-16: send-redirect = yes; the other two are of its own.
#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_of_ours_follows_libreswan_in_ike_auth() {
    let cluster = wire();
    let to = at(2)[0].to_string();
    let pluto = pluto(&cluster, 1, &[("send-redirect", "yes"), ("redirect-to", &to)]);
    let site = cluster.site(2).unwrap();
    let _second = Gateway::start(&site, Settings::of_node(2, IDENTITY)).unwrap();

    let (place, client) = alice(&cluster);

    let sa = wait_until_at(&client, at(2)[0], Some(at(1)[0]));
    reaches(&place, &sa, "10.99.2.1");
    let followed = sole_event(&client, "redirected");
    assert_eq!(followed.fields["exchange"], "IKE_AUTH");
    // It was told, and did not have to find out.
    let deleted = ["deleting state (STATE_V2_ESTABLISHED_IKE_SA)", "NOT sending notification"];
    pluto.wait_for_log(&deleted, PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_loop_of_two_gateways_is_left_after_five_redirects() {
    let cluster = wire();
    let gateways = [1, 2].map(|number| pluto(&cluster, number, &[]));
    gateways[0].send_all_to(at(2)[0]).unwrap();
    gateways[1].send_all_to(at(1)[0]).unwrap();

    let (_place, client) = alice(&cluster);

    let refused = client.wait_for_event("redirect-refused", &["too-many"], PATIENCE).unwrap();
    let followed: u64 = events(&client, "redirected").iter().map(|event| event.count).sum();
    assert_eq!(followed, 5, "{refused:?}");
    for gateway in &gateways {
        let asked = || {
            // The first round has asked each three times.
            let asked = gateway.log().matches("notification REDIRECT").count();
            ensure!(asked >= 3, "{asked}");
            Ok(())
        };
        xtask::lab::wait::until("libreswan has redirected", PATIENCE, asked).unwrap();
    }
}
