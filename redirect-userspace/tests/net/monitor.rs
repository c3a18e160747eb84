//! Interfaces that change.

use redirect_userspace::net::monitor::{InterfaceState, Monitor};

use crate::wire::{VIP4, Wire, mac};

/// Waits until the monitor tells of a state of `eth0`, however many others come before it.
fn until(
    wire: &Wire,
    monitor: &mut Monitor,
    what: &str,
    is_it: impl Fn(Option<&InterfaceState>) -> bool,
) -> Option<InterfaceState> {
    let mut last = None;
    wire.wait(&format!("{what}, last {last:?}"), async {
        loop {
            let change = monitor.next().await.unwrap();
            assert_eq!(&*change.interface, "eth0");
            last.clone_from(&change.state);
            if is_it(change.state.as_ref()) {
                return change.state;
            }
        }
    })
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn an_interface_is_followed_down_up_away_and_back() {
    let wire = Wire::new();
    let mut monitor = wire.within(&wire.first, || Monitor::new(["eth0"])).unwrap();
    let first = until(&wire, &mut monitor, "everything", |state| {
        state.is_some_and(|state| state.is_up && state.link_local.is_some())
    })
    .unwrap();
    assert_eq!(first.mac, Some(mac(&wire.first, "eth0")));
    assert_eq!(first.ipv4, Some(([10, 50, 0, 1].into(), 24)));
    assert_eq!(first.index, wire.eth0(&wire.first));

    wire.first.ip("link set eth0 down").unwrap();
    until(&wire, &mut monitor, "switched off", |state| state.is_some_and(|state| !state.is_up));
    wire.first.ip("link set eth0 up").unwrap();
    until(&wire, &mut monitor, "switched on", |state| state.is_some_and(|state| state.is_up));

    // The cable, not the switch.
    wire.switch.namespace().ip("link set r1 down").unwrap();
    until(&wire, &mut monitor, "unplugged", |state| state.is_some_and(|state| !state.is_up));
    wire.switch.namespace().ip("link set r1 up").unwrap();
    until(&wire, &mut monitor, "plugged in", |state| state.is_some_and(|state| state.is_up));

    wire.first.ip("link delete eth0").unwrap();
    until(&wire, &mut monitor, "gone", |state| state.is_none());
    wire.switch.wire(&wire.first, &["10.50.0.3/24".to_owned()]).unwrap();
    let again = until(&wire, &mut monitor, "back", |state| {
        state.is_some_and(|state| state.is_up && state.ipv4.is_some())
    })
    .unwrap();
    assert_ne!(again.index, first.index);
    assert_eq!(again.ipv4, Some(([10, 50, 0, 3].into(), 24)));
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn addresses_and_the_mac_are_followed_and_vips_are_not() {
    let wire = Wire::new();
    let mut monitor = wire.within(&wire.first, || Monitor::new(["eth0"])).unwrap();
    until(&wire, &mut monitor, "a link-local address", |state| {
        state.is_some_and(|state| state.link_local.is_some())
    });

    let mut vips = wire.prepare(&wire.first, None);
    vips.acquire(&[VIP4]).unwrap();
    wire.first.ip("address delete 10.50.0.1/24 dev eth0").unwrap();
    let without = until(&wire, &mut monitor, "no address", |_any| true).unwrap();
    wire.first.ip("address add 10.50.0.4/24 dev eth0\nlink set eth0 address 02:00:00:00:00:07").unwrap();
    let with = until(&wire, &mut monitor, "another MAC address", |state| {
        state.is_some_and(|state| state.mac != without.mac)
    })
    .unwrap();

    assert_eq!(without.ipv4, None, "the VIP is not an address of the interface");
    assert_eq!(with.ipv4, Some(([10, 50, 0, 4].into(), 24)));
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_flood_of_notifications_loses_nothing() {
    let wire = Wire::new();
    let mut monitor = wire.within(&wire.first, || Monitor::new(["eth0"])).unwrap();
    let batch: String = (0..5_000)
        .map(|number| {
            let (high, low) = (number / 250, number % 250 + 1);
            format!("address add 10.60.{high}.{low}/32 dev lo\n")
        })
        .collect();

    // More than the socket holds, while nobody reads. The last word is the one that counts.
    wire.first.ip(&batch).unwrap();
    wire.first.ip("address delete 10.50.0.1/24 dev eth0\naddress add 10.50.0.8/24 dev eth0").unwrap();

    let state = until(&wire, &mut monitor, "the new address", |state| {
        state.is_some_and(|state| state.ipv4 == Some(([10, 50, 0, 8].into(), 24)))
    });
    assert!(state.is_some());
}
