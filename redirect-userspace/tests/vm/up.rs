//! Tunnels come up and carry data.

use xtask::lab::gateway::{Scene, addresses};
use xtask::lab::traffic;

use crate::{PATIENCE, charon, connect, has_interface, inside, is_clean, listed, settings};

/// Octets of a transfer in each direction.
const BULK: usize = 256 << 10;
/// The largest packet of the tunnel.
const MTU: usize = 1_400;

#[test]
#[ignore = "needs the virtual machine: cargo xtask test vm"]
fn both_ends_in_the_kernel_carry_data_without_udp() {
    let scene = Scene::with(1, charon()).unwrap();
    let mut gateway = scene.start(settings()).unwrap();
    let visitor = &scene.visitors[0];
    let client = visitor.charon.namespace();

    for (name, address) in ["over4", "over6"].into_iter().zip(addresses()) {
        let tunnel = connect(visitor, &visitor.connection(name, address));
        visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
        for own in &tunnel.virtual_addresses {
            let inside = inside(own.is_ipv6());
            client.ping_of_size(*own, inside, MTU, PATIENCE).unwrap();
            scene.site.ping_of_size(inside, *own, MTU, PATIENCE).unwrap();
            traffic::transfer((client, *own), (&scene.site, inside), BULK).unwrap();
        }
        let sa = gateway.wait_for_sa(name, PATIENCE).unwrap();
        let [child] = &sa.children[..] else { panic!("{sa:?}") };
        let both = u64::try_from(2 * BULK).unwrap();
        assert!(child.bytes_in > both && child.bytes_out > both, "{child:?}");
    }

    let states = listed(&scene.site, "state").unwrap();
    assert_eq!(states.len(), 4, "{states:?}");
    for state in &states {
        assert!(!state.contains("encap"), "no NAT, and no UDP: {state}");
        assert!(state.contains("if_id 0x11944500"), "{state}");
    }
    let carrier = gateway.control().redirect().unwrap().dataplane.unwrap();
    assert_eq!((carrier.name.as_str(), carrier.reason), ("kernel", None));
    assert!(gateway.metrics().unwrap().contains("redirectd_ike_child_packets_total"));

    gateway.stop().unwrap();

    is_clean(&scene.site);
    assert!(!has_interface(&scene.site, "ike0"));
}

#[test]
#[ignore = "needs the virtual machine: cargo xtask test vm"]
fn auto_picks_the_kernel_where_it_has_esp() {
    let scene = Scene::new(0).unwrap();
    let mut settings = settings();
    settings.dataplane = None;

    let gateway = scene.start(settings).unwrap();

    let carrier = gateway.control().redirect().unwrap().dataplane.unwrap();
    assert_eq!((carrier.name.as_str(), carrier.reason), ("kernel", None));
    assert_eq!(listed(&scene.site, "state").unwrap(), [] as [&str; 0], "the attempts are gone");
}

#[test]
#[ignore = "needs the virtual machine: cargo xtask test vm"]
fn every_algorithm_of_both_sides_works_in_the_kernel() {
    let scene = Scene::with(1, charon()).unwrap();
    let mut settings = settings();
    settings.esp_proposals = PROPOSALS.map(str::to_owned).to_vec();
    let gateway = scene.start(settings).unwrap();
    let visitor = &scene.visitors[0];

    for (number, proposal) in PROPOSALS.into_iter().enumerate() {
        let name = format!("c{number}");
        let mut connection = visitor.connection(&name, addresses()[number % 2]);
        connection.esp_proposals = vec![proposal.to_owned()];
        let tunnel = connect(visitor, &connection);
        visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
        gateway.wait_for_sa(&name, PATIENCE).unwrap();
    }
}

/// With extended sequence numbers and without.
const PROPOSALS: [&str; 6] = [
    "aes256gcm16",
    "aes128gcm16-esn",
    "aes256gcm16-esn",
    "aes128-sha256",
    "aes256-sha512-esn",
    "aes256-sha384",
];
