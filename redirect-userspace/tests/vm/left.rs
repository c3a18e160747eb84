//! What an end leaves behind in the kernel, and what the next start makes of it.

use xtask::lab::gateway::{Scene, addresses};
use xtask::lab::netns::Namespace;

use crate::{PATIENCE, charon, connect, has_interface, inbound, is_clean, listed, settings};

/// Somebody else's SA and policy.
fn add_foreign(namespace: &Namespace) {
    let state = "state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 reqid 7 mode tunnel \
                 aead rfc4106(gcm(aes)) 0x0102030405060708090a0b0c0d0e0f1011121314 128";
    let policy = "policy add src 198.51.100.0/24 dst 203.0.113.0/24 dir out \
                  tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 7 mode tunnel";
    for words in [state, policy] {
        let mut command = namespace.command("ip");
        let status = command.arg("xfrm").args(words.split_whitespace()).status().unwrap();
        assert!(status.success(), "{words}");
    }
}

#[test]
#[ignore = "needs the virtual machine: cargo xtask test vm"]
fn a_gateway_that_was_killed_leaves_nothing_that_the_next_one_does_not_remove() {
    let scene = Scene::with(1, charon()).unwrap();
    let mut gateway = scene.start(settings()).unwrap();
    add_foreign(&scene.site);
    let visitor = &scene.visitors[0];
    let tunnel = connect(visitor, &visitor.connection("alice", addresses()[0]));
    visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    let old = inbound(&gateway, "alice");

    gateway.kill().unwrap();

    assert_eq!(listed(&scene.site, "state").unwrap().len(), 3, "two of the tunnel");
    gateway.restart().unwrap();
    let states = listed(&scene.site, "state").unwrap();
    assert!(states.len() == 1 && states[0].contains("0x00001001"), "{states:?}");
    let policies = listed(&scene.site, "policy").unwrap();
    assert!(policies.len() == 1 && policies[0].contains("198.51.100.0/24"), "{policies:?}");

    visitor.charon.remove_client("alice").unwrap();
    let tunnel = connect(visitor, &visitor.connection("alice", addresses()[0]));
    visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    assert_ne!(inbound(&gateway, "alice"), old);
}

#[test]
#[ignore = "needs the virtual machine: cargo xtask test vm"]
fn a_daemon_that_carries_packets_itself_removes_what_one_with_the_kernel_has_left() {
    let scene = Scene::with(1, charon()).unwrap();
    let mut gateway = scene.start(settings()).unwrap();
    let visitor = &scene.visitors[0];
    let tunnel = connect(visitor, &visitor.connection("alice", addresses()[0]));
    visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    gateway.kill().unwrap();
    assert!(has_interface(&scene.site, "ike0"));

    gateway.settings.dataplane = Some("userspace".to_owned());
    gateway.restart().unwrap();

    is_clean(&scene.site);
    let carrier = gateway.control().redirect().unwrap().dataplane.unwrap();
    assert_eq!(carrier.name, "userspace");
    assert!(has_interface(&scene.site, "ike0"));
    visitor.charon.remove_client("alice").unwrap();
    let tunnel = connect(visitor, &visitor.connection("alice", addresses()[0]));
    visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
}

#[test]
#[ignore = "needs the virtual machine: cargo xtask test vm"]
fn a_client_that_leaves_takes_its_sas_with_it() {
    let scene = Scene::with(1, charon()).unwrap();
    let gateway = scene.start(settings()).unwrap();
    let visitor = &scene.visitors[0];
    for name in ["alice", "bob"] {
        let tunnel = connect(visitor, &visitor.connection(name, addresses()[0]));
        visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
    }
    let both = listed(&scene.site, "policy").unwrap().len();

    visitor.charon.remove_client("alice").unwrap();

    gateway.wait_until_gone("alice", PATIENCE).unwrap();
    assert_eq!(listed(&scene.site, "state").unwrap().len(), 2);
    assert_eq!(listed(&scene.site, "policy").unwrap().len() * 2, both);
    visitor.charon.remove_client("bob").unwrap();
    gateway.wait_until_gone("bob", PATIENCE).unwrap();
    is_clean(&scene.site);
}
