//! Our client, with the kernel's ESP as well.

use xtask::lab::gateway::{Connection, Gateway, Scene, Settings, addresses};
use xtask::lab::traffic;

use crate::{PATIENCE, has_interface, inside, is_clean, listed, settings};

/// Octets of a transfer in each direction.
const BULK: usize = 256 << 10;

#[test]
#[ignore = "needs the virtual machine: cargo xtask test vm"]
fn our_client_and_our_gateway_meet_in_the_kernel() {
    let scene = Scene::new(0).unwrap();
    let gateway = scene.start(settings()).unwrap();
    let place = scene.place(1).unwrap();
    let connection = Connection::new("alice", &addresses()[..1], &["gw1"], &["10.99.0.0/16", "fd99::/16"]);
    let dataplane = Some("kernel".to_owned());
    let connections = vec![connection];
    let own_settings = Settings { connections, dataplane, ..Settings::default() };
    let mut client = Gateway::start(&place.namespace, own_settings).unwrap();

    let sa = client.wait_for_sa("gw1", PATIENCE).unwrap();

    for own in &sa.addresses {
        let inside = inside(own.is_ipv6());
        place.namespace.ping(*own, inside, PATIENCE).unwrap();
        scene.site.ping(inside, *own, PATIENCE).unwrap();
        traffic::transfer((&place.namespace, *own), (&scene.site, inside), BULK).unwrap();
    }
    assert_eq!(listed(&place.namespace, "state").unwrap().len(), 2);
    let id = client.sas().unwrap()[0].id;
    client.control().rekey(id, true).unwrap();
    let old = sa.children[0].spi_in.clone();
    crate::wait_for_new_keys(&client, "gw1", &old);
    place.namespace.ping(sa.addresses[0], inside(sa.addresses[0].is_ipv6()), PATIENCE).unwrap();

    client.stop().unwrap();

    is_clean(&place.namespace);
    assert!(!has_interface(&place.namespace, "ike0"));
    gateway.wait_until_gone("alice@example.net", PATIENCE).unwrap();
    is_clean(&scene.site);
}
