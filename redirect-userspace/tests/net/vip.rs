//! Virtual addresses on real interfaces.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::ensure;
use redirect_userspace::hsrp::MacAddress;
use redirect_userspace::net::duplicate::{self, Duplicate};
use redirect_userspace::net::ethernet::Sender;
use redirect_userspace::net::vip::{Place, VirtualAddresses, clean, is_local};
use tokio::runtime::Builder;
use xtask::lab::netns::Namespace;
use xtask::lab::process::{command, output};
use xtask::lab::wait::{self, Stopwatch};

use crate::wire::{
    Capture, HOST4, HOST6, LINK_LOCAL, PATIENCE, VIP4, VIP6, VIRTUAL4, VIRTUAL6, Wire, addresses, colons,
    mac, neighbour, ping, sysctl,
};

fn announce(wire: &Wire, namespace: &Namespace, vips: &VirtualAddresses) {
    let interface = wire.eth0(namespace);
    let sender = wire.within(namespace, || Sender::open(interface)).unwrap();
    for frame in vips.announcements() {
        sender.send(&frame).unwrap();
    }
}

/// The port of the switch behind which it has seen a MAC address.
fn port(wire: &Wire, mac: MacAddress) -> Option<String> {
    let mut bridge = wire.switch.namespace().command("bridge");
    let table = output(bridge.args(["fdb", "show", "br", "wire", "dynamic"])).unwrap();
    let line = table.lines().find(|line| line.starts_with(&colons(mac)))?.to_owned();
    line.split_whitespace().nth(2).map(str::to_owned)
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn the_vips_are_found_at_the_virtual_mac_only() {
    let wire = Wire::new();
    let mut vips = wire.prepare(&wire.first, Some(VIRTUAL4));
    vips.acquire(&[VIP4, VIP6]).unwrap();
    let capture = Capture::start(&wire.host, "arp or icmp6");

    for (from, vip) in [(HOST4, VIP4), (HOST6, VIP6)] {
        ping(&wire.host, from, vip).unwrap();
        assert_eq!(neighbour(&wire.host, vip).unwrap(), colons(VIRTUAL4), "{vip}");
    }
    // The router's own addresses are not at the virtual MAC, and when it speaks from the VIP to
    // somebody it does not know yet, nobody learns another MAC address for the VIP.
    for (from, own) in [(HOST4, "10.50.0.1"), (HOST6, "fd50::1")] {
        let own: IpAddr = own.parse().unwrap();
        ping(&wire.host, from, own).unwrap();
        assert_eq!(neighbour(&wire.host, own).unwrap(), colons(mac(&wire.first, "eth0")), "{own}");
    }
    wire.first.ip("neigh flush all").unwrap();
    for (vip, to) in [(VIP4, HOST4), (VIP6, HOST6)] {
        ping(&wire.first, vip, to).unwrap();
        assert_eq!(neighbour(&wire.host, vip).unwrap(), colons(VIRTUAL4), "{vip}");
    }

    let fields = ["eth.src", "arp.src.hw_mac", "arp.src.proto_ipv4", "icmpv6.nd.na.target_address"];
    let claims = capture.finish(1, &fields);
    let (vip4, vip6) = (VIP4.to_string(), VIP6.to_string());
    let for_vips: Vec<_> = claims.iter().filter(|it| it[2] == vip4 || it[3] == vip6).collect();
    assert!(for_vips.len() >= 2, "{claims:?}");
    for claim in for_vips {
        assert_eq!(claim[0], colons(VIRTUAL4), "{claim:?}");
        assert!(claim[1].is_empty() || claim[1] == claim[0], "{claim:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_link_local_vip_can_be_pinged_from_the_link() {
    let wire = Wire::new();
    let mut vips = wire.prepare(&wire.first, Some(VIRTUAL6));
    vips.acquire(&[LINK_LOCAL, VIP6]).unwrap();

    wait::until("the VIP answers", PATIENCE, || {
        let to = format!("{LINK_LOCAL}%eth0");
        output(wire.host.command("ping").args(["-n", "-c", "1", "-W", "1", &to]))
    })
    .unwrap();

    assert_eq!(neighbour(&wire.host, LINK_LOCAL).unwrap(), colons(VIRTUAL6));
    let shown = addresses(&wire.first);
    let line = shown.lines().find(|line| line.starts_with("rd6-")).unwrap();
    // No address that nobody asked for.
    assert_eq!(line.split_whitespace().skip(2).count(), 2, "{line}");
}

/// Whatever the machine's administrator has set for all interfaces.
#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn strict_filters_for_all_interfaces_do_not_stop_it() {
    let wire = Wire::new();
    for setting in ["all.rp_filter=1", "default.rp_filter=1", "eth0.rp_filter=1"] {
        let setting = format!("net.ipv4.conf.{setting}");
        output(wire.first.command("sysctl").args(["-qw", &setting])).unwrap();
    }
    let mut vips = wire.prepare(&wire.first, Some(VIRTUAL4));

    vips.acquire(&[VIP4]).unwrap();

    ping(&wire.host, HOST4, VIP4).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn the_switch_and_the_neighbours_follow_the_announcement() {
    let wire = Wire::new();
    let mut first = wire.prepare(&wire.first, Some(VIRTUAL4));
    let mut second = wire.prepare(&wire.second, Some(VIRTUAL4));
    first.acquire(&[VIP4, VIP6]).unwrap();
    announce(&wire, &wire.first, &first);
    wait::until("the switch has learned", PATIENCE, || {
        ensure!(port(&wire, VIRTUAL4).as_deref() == Some("r1"), "{:?}", port(&wire, VIRTUAL4));
        Ok(())
    })
    .unwrap();
    for (from, vip) in [(HOST4, VIP4), (HOST6, VIP6)] {
        ping(&wire.host, from, vip).unwrap();
    }

    first.release().unwrap();
    second.acquire(&[VIP4, VIP6]).unwrap();
    announce(&wire, &wire.second, &second);

    wait::until("the switch has learned again", PATIENCE, || {
        ensure!(port(&wire, VIRTUAL4).as_deref() == Some("r2"), "{:?}", port(&wire, VIRTUAL4));
        Ok(())
    })
    .unwrap();
    for (from, vip) in [(HOST4, VIP4), (HOST6, VIP6)] {
        ping(&wire.host, from, vip).unwrap();
        assert_eq!(neighbour(&wire.host, vip).unwrap(), colons(VIRTUAL4));
    }
    assert!(!addresses(&wire.first).contains("10.50.0.5"));
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn with_use_bia_the_neighbours_follow_to_another_mac() {
    let wire = Wire::new();
    let mut first = wire.prepare(&wire.first, None);
    let mut second = wire.prepare(&wire.second, None);
    first.acquire(&[VIP4, VIP6]).unwrap();
    for (from, vip) in [(HOST4, VIP4), (HOST6, VIP6)] {
        ping(&wire.host, from, vip).unwrap();
        assert_eq!(neighbour(&wire.host, vip).unwrap(), colons(mac(&wire.first, "eth0")));
    }
    // What the router begins itself does not come from an address that will move away.
    for (to, own) in [(HOST4, "10.50.0.1"), (HOST6, "fd50::1")] {
        let mut ip = command("ip");
        let route = output(ip.args(["-n", wire.first.name(), "route", "get", &to.to_string()])).unwrap();
        assert!(route.contains(&format!("src {own} ")), "{route}");
    }

    first.release().unwrap();
    second.acquire(&[VIP4, VIP6]).unwrap();
    announce(&wire, &wire.second, &second);

    let theirs = colons(mac(&wire.second, "eth0"));
    for vip in [VIP4, VIP6] {
        wait::until("the host has learned", PATIENCE, || {
            let known = neighbour(&wire.host, vip)?;
            ensure!(known == theirs, "{vip} is at {known}");
            Ok(())
        })
        .unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn everything_may_be_done_twice_and_leaves_the_interface_as_it_was() {
    let wire = Wire::new();
    let settings = ["net.ipv4.conf.eth0.arp_ignore", "net.ipv4.conf.eth0.arp_announce"];
    let before = (settings.map(|name| sysctl(&wire.first, name)), addresses(&wire.first));
    let is_held = || wire.within(&wire.first, || [VIP4, VIP6].map(|vip| is_local(vip).unwrap()));

    let mut vips = wire.prepare(&wire.first, Some(VIRTUAL4));
    let other = Place { interface: wire.eth0(&wire.first), group: 2, virtual_mac: Some(VIRTUAL6) };
    let mut other = wire.within(&wire.first, || VirtualAddresses::prepare(other)).unwrap();
    assert_eq!(settings.map(|name| sysctl(&wire.first, name)), ["1", "2"]);
    assert_eq!(is_held(), [false, false], "a standby does not have the address");

    vips.release().unwrap();
    vips.acquire(&[VIP4, VIP6]).unwrap();
    vips.acquire(&[VIP6, VIP4]).unwrap();
    assert_eq!(is_held(), [true, true]);
    vips.acquire(&[VIP4]).unwrap();
    assert_eq!((is_held(), vips.held()), ([true, false], &[VIP4][..]));
    vips.release().unwrap();
    vips.release().unwrap();
    assert_eq!((is_held(), vips.held()), ([false, false], &[][..]));
    vips.acquire(&[VIP4]).unwrap();
    vips.remove().unwrap();
    assert_eq!(is_held(), [false, false]);

    // The other group still needs the interface to keep quiet.
    assert_eq!(settings.map(|name| sysctl(&wire.first, name)), ["1", "2"]);
    other.acquire(&[VIP6]).unwrap();
    other.remove().unwrap();
    assert_eq!((settings.map(|name| sysctl(&wire.first, name)), addresses(&wire.first)), before);
}

/// A daemon that is killed leaves what dropping these values leaves.
#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn what_a_killed_daemon_leaves_is_found_and_removed() {
    let wire = Wire::new();
    let settings = ["net.ipv4.conf.eth0.arp_ignore", "net.ipv4.conf.eth0.arp_announce"];
    output(wire.first.command("sysctl").args(["-qw", "net.ipv4.conf.eth0.arp_announce=1"])).unwrap();
    // Somebody else's, which look alike.
    wire.first
        .ip("link add link eth0 name rd4-other type macvlan mode bridge\naddress add 10.50.0.77/32 dev eth0")
        .unwrap();
    let before = (settings.map(|name| sysctl(&wire.first, name)), addresses(&wire.first));
    let interface = wire.eth0(&wire.first);
    for (virtual_mac, vip) in [(Some(VIRTUAL4), VIP4), (Some(VIRTUAL6), LINK_LOCAL), (None, VIP6)] {
        wire.prepare(&wire.first, virtual_mac).acquire(&[vip]).unwrap();
    }

    let removed = wire.within(&wire.first, || clean(interface)).unwrap();
    let again = wire.within(&wire.first, || clean(interface)).unwrap();

    let names = [format!("interface rd4-{interface:x}-1"), format!("interface rd6-{interface:x}-1")];
    for expected in names.into_iter().chain(["address fd50::5".to_owned()]) {
        assert!(removed.contains(&expected), "{removed:?}");
    }
    assert_eq!((removed.len(), again), (3, vec![]));
    assert_eq!((settings.map(|name| sysctl(&wire.first, name)), addresses(&wire.first)), before);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_restarted_daemon_takes_over_what_it_finds() {
    let wire = Wire::new();
    wire.prepare(&wire.first, Some(VIRTUAL4)).acquire(&[VIP4]).unwrap();

    let mut vips = wire.prepare(&wire.first, Some(VIRTUAL4));
    assert!(!wire.within(&wire.first, || is_local(VIP4)).unwrap(), "it is not active yet");
    vips.acquire(&[VIP4]).unwrap();
    ping(&wire.host, HOST4, VIP4).unwrap();

    vips.remove().unwrap();
    assert_eq!(sysctl(&wire.first, "net.ipv4.conf.eth0.arp_ignore"), "0");
}

/// The guard removes it when the daemon hangs, and the daemon may come to itself again.
#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_macvlan_that_was_removed_meanwhile_is_made_again() {
    let wire = Wire::new();
    let mut vips = wire.prepare(&wire.first, Some(VIRTUAL4));
    let interface = wire.eth0(&wire.first);
    vips.acquire(&[VIP4]).unwrap();
    wire.within(&wire.first, || clean(interface)).unwrap();

    vips.release().unwrap();
    vips.acquire(&[VIP4]).unwrap();

    ping(&wire.host, HOST4, VIP4).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn what_cannot_be_is_refused_in_words() {
    let wire = Wire::new();
    let place = |interface, virtual_mac| Place { interface, group: 1, virtual_mac };
    let refusal = |place| {
        let prepared = wire.within(&wire.first, || VirtualAddresses::prepare(place));
        format!("{:#}", prepared.err().unwrap())
    };

    let absent = refusal(place(4_000, Some(VIRTUAL4)));
    let loopback = refusal(place(1, Some(VIRTUAL4)));
    wire.first.ip("link add busy type bridge\nlink set eth0 master busy").unwrap();
    let busy = refusal(place(wire.eth0(&wire.first), Some(VIRTUAL4)));

    assert_eq!(absent, "preparing group 1 on interface 4000: there is no such interface");
    assert_eq!(loopback, "preparing group 1 on interface 1: lo is not an Ethernet interface");
    assert!(busy.contains("giving eth0 the MAC address 0000.0c9f.f001 on a macvlan (`use-bia`"), "{busy}");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn one_address_that_is_refused_does_not_cost_the_others() {
    let wire = Wire::new();
    let mut vips = wire.prepare(&wire.first, Some(VIRTUAL4));
    let name = format!("rd4-{:x}-1", wire.eth0(&wire.first));
    let setting = format!("net.ipv6.conf.{name}.disable_ipv6=1");
    output(wire.first.command("sysctl").args(["-qw", &setting])).unwrap();

    let refusal = vips.acquire(&[VIP6, VIP4]).unwrap_err();

    assert!(format!("{refusal:#}").starts_with("taking fd50::5: "), "{refusal:#}");
    assert_eq!(vips.held(), [VIP4]);
    ping(&wire.host, HOST4, VIP4).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_vip_that_another_host_has_is_reported_with_its_mac() {
    let wire = Wire::new();
    let interface = wire.eth0(&wire.first);
    let own = [mac(&wire.first, "eth0"), VIRTUAL4];
    let find = |patience| {
        let search = || {
            // One that runs in the namespace: the sockets belong to where they are made.
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(duplicate::find(interface, &own, &[VIP4, VIP6], patience))
        };
        wire.first.enter(search).unwrap()
    };

    let short = Duration::from_millis(300);
    assert_eq!(find(short), [], "nobody has it");
    let mut active = wire.prepare(&wire.second, Some(VIRTUAL4));
    active.acquire(&[VIP4, VIP6]).unwrap();
    assert_eq!(find(short), [], "the active router of the group is not another host");
    active.release().unwrap();

    wire.host.ip("address add 10.50.0.5/32 dev eth0\naddress add fd50::5/128 dev eth0 nodad").unwrap();
    let mut found = find(PATIENCE);
    found.sort_by_key(|duplicate| duplicate.vip);

    let theirs = mac(&wire.host, "eth0");
    assert_eq!(found, [VIP4, VIP6].map(|vip| Duplicate { vip, mac: theirs }));
    // Asking has told nobody anything.
    assert!(neighbour(&wire.host, VIP4).is_err());
}

/// Between the decision to take over and the announcement.
#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn taking_over_costs_well_under_the_time_between_two_hellos() {
    let wire = Wire::new();
    let interface = wire.eth0(&wire.first);
    let sender = wire.within(&wire.first, || Sender::open(interface)).unwrap();
    let mut vips = wire.prepare(&wire.first, Some(VIRTUAL4));
    let name = format!("rd4-{interface:x}-1");
    let mut took: Vec<(Duration, Duration)> = (0..100)
        .map(|_| {
            let watch = Stopwatch::start();
            vips.acquire(&[VIP4, VIP6]).unwrap();
            for frame in vips.announcements() {
                sender.send(&frame).unwrap();
            }
            let acquired = watch.elapsed();
            let watch = Stopwatch::start();
            vips.release().unwrap();
            let released = watch.elapsed();
            // A router that has just let go is not the one that takes over next.
            wait::until("the macvlan is off", PATIENCE, || {
                let link = wire.first.link(&name)?;
                let flags = link.get("flags").and_then(serde_json::Value::as_array);
                ensure!(flags.is_some_and(|flags| flags.iter().all(|flag| flag != "UP")), "{link}");
                Ok(())
            })
            .unwrap();
            (acquired, released)
        })
        .collect();
    took.sort();
    let mut releases: Vec<_> = took.iter().map(|(_, release)| *release).collect();
    releases.sort();
    eprintln!(
        "acquire and announce: median {:?}, 99 % {:?}; release: median {:?}, 99 % {:?}",
        took[50].0, took[98].0, releases[50], releases[98]
    );

    for typical in [took[50].0, releases[50]] {
        assert!(typical < Duration::from_millis(5), "{typical:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_vlan_interface_carries_vips_as_well() {
    let wire = Wire::new();
    let vlan = "link add link eth0 name eth0.7 type vlan id 7\nlink set eth0.7 up";
    if let Err(error) = wire.first.ip(vlan) {
        eprintln!("skipped: this kernel has no VLAN interfaces: {error:#}");
        return;
    }
    wire.first.ip("address add 10.57.0.1/24 dev eth0.7").unwrap();
    wire.host.ip(&format!("{vlan}\naddress add 10.57.0.9/24 dev eth0.7")).unwrap();
    let vip: IpAddr = "10.57.0.5".parse().unwrap();
    let place = wire.within(&wire.first, || Place {
        interface: nix::net::if_::if_nametoindex("eth0.7").unwrap(),
        group: 1,
        virtual_mac: Some(VIRTUAL4),
    });
    let mut vips = wire.within(&wire.first, || VirtualAddresses::prepare(place)).unwrap();

    vips.acquire(&[vip]).unwrap();

    ping(&wire.host, "10.57.0.9".parse().unwrap(), vip).unwrap();
    assert_eq!(neighbour(&wire.host, vip).unwrap(), colons(VIRTUAL4));
    vips.remove().unwrap();
    let shown = output(command("ip").args(["-n", wire.first.name(), "-brief", "link"])).unwrap();
    assert!(!shown.contains("rd4-"), "{shown}");
}
