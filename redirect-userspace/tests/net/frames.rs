//! HSRP on a wire: from one router's packet socket to the other one's UDP sockets, with tshark in
//! between.

use std::net::IpAddr;

use redirect_userspace::hsrp::MacAddress;
use redirect_userspace::net::ethernet::{Sender, Source, hsrp};
use redirect_userspace::net::hsrp::{Channel, Sockets};

use crate::wire::{Capture, VIP4, VIRTUAL4, VIRTUAL6, Wire, colons, mac};

/// Version 1, Active, group 1, text `cisco`, 10.0.0.100.
const V1: &str = "000010030a640100636973636f0000000a000064";
/// Version 2, Active, group 1, MD5, 10.0.0.100: taken from a router of Cisco's.
const V2: &str = "0128020006040001aabbcc000a000000006400000bb8000027100a000064000000000000000000000000\
                  041c010000000a00000a000000008a5f94400d98328e808cea6941c330e9";
/// Version 2, Active, group 1, fe80::5:73ff:fea0:1.
const IPV6: &str = "0128020006060001aabbcc000a000000006400000bb800002710\
                    fe80000000000000000573fffea00001";

fn payload(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The link-local address that the kernel gives an interface.
fn link_local(mac: MacAddress) -> IpAddr {
    let [a, b, c, d, e, f] = mac.0;
    let words = [0xfe80, 0, 0, 0, u16::from_be_bytes([a ^ 2, b]), u16::from_be_bytes([c, 0xff])];
    let [w0, w1, w2, w3, w4, w5] = words;
    IpAddr::from([w0, w1, w2, w3, w4, w5, u16::from_be_bytes([0xfe, d]), u16::from_be_bytes([e, f])])
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn hellos_from_both_macs_are_heard_and_decoded_by_tshark() {
    let wire = Wire::new();
    let burned_in = mac(&wire.first, "eth0");
    let own4: IpAddr = "10.50.0.1".parse().unwrap();
    let own6 = link_local(burned_in);
    let sent = [
        (Source { mac: burned_in, address: own4 }, Channel::V1, payload(V1)),
        (Source { mac: burned_in, address: own4 }, Channel::V2, payload(V2)),
        (Source { mac: VIRTUAL4, address: own4 }, Channel::V2, payload(V2)),
        (Source { mac: VIRTUAL6, address: own6 }, Channel::Ipv6, payload(IPV6)),
    ];
    let (near, far) = (wire.eth0(&wire.first), wire.eth0(&wire.second));
    let sender = wire.within(&wire.first, || Sender::open(near)).unwrap();
    let channels = [Channel::V1, Channel::V2, Channel::Ipv6];
    let mut sockets = wire.within(&wire.second, || Sockets::open(far, &channels)).unwrap();
    let capture = Capture::start(&wire.host, "udp port 1985 or udp port 2029");

    for (source, channel, payload) in &sent {
        sender.send(&hsrp(*source, *channel, payload).unwrap()).unwrap();
        let heard = wire.wait("the hello", sockets.receive()).unwrap();

        assert_eq!((heard.source, heard.channel, heard.payload), (source.address, *channel, &payload[..]));
    }

    let fields = ["eth.src", "eth.dst", "ip.ttl", "ip.dsfield", "ipv6.hlim", "udp.checksum.status"];
    let fields = [&fields[..], &["hsrp.state", "hsrp2.state", "_ws.malformed"]].concat();
    let seen = capture.finish(sent.len(), &fields);
    let (own, virtual4, virtual6) = (colons(burned_in), colons(VIRTUAL4), colons(VIRTUAL6));
    let expected = [
        [&own, "01:00:5e:00:00:02", "1", "0xc0", "", "1", "16", "", ""],
        [&own, "01:00:5e:00:00:66", "1", "0xc0", "", "1", "", "6", ""],
        [&virtual4, "01:00:5e:00:00:66", "1", "0xc0", "", "1", "", "6", ""],
        [&virtual6, "33:33:00:00:00:66", "", "", "255", "1", "", "6", ""],
    ];
    assert_eq!(seen, expected);
}

/// Two active routers have the same MAC address, and each must hear the other to give way.
#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn an_active_router_hears_another_one_that_sends_from_the_same_virtual_mac() {
    let wire = Wire::new();
    let (near, far) = (wire.eth0(&wire.first), wire.eth0(&wire.second));
    let sender = wire.within(&wire.first, || Sender::open(near)).unwrap();
    let mut sockets = wire.within(&wire.second, || Sockets::open(far, &[Channel::V2])).unwrap();
    let mut active = wire.prepare(&wire.second, Some(VIRTUAL4));
    active.acquire(&[VIP4]).unwrap();
    let source = Source { mac: VIRTUAL4, address: "10.50.0.1".parse().unwrap() };

    sender.send(&hsrp(source, Channel::V2, &payload(V2)).unwrap()).unwrap();

    assert_eq!(wire.wait("the hello", sockets.receive()).unwrap().source, source.address);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn only_the_group_on_this_interface_is_heard() {
    let wire = Wire::new();
    let batch = "link add name eth1 type veth peer name eth2\nlink set eth1 up\nlink set eth2 up\n\
                 address add 10.51.0.1/24 dev eth1\naddress add 10.51.0.2/24 dev eth2";
    wire.second.ip(batch).unwrap();
    let near = wire.eth0(&wire.first);
    let far = wire.eth0(&wire.second);
    let mut sockets = wire.within(&wire.second, || Sockets::open(far, &[Channel::V1, Channel::V2])).unwrap();
    let elsewhere =
        wire.within(&wire.second, || Sender::open(nix::net::if_::if_nametoindex("eth2").unwrap()).unwrap());
    let sender = wire.within(&wire.first, || Sender::open(near)).unwrap();
    // Another program of the machine that has joined on the other interface and shares the port.
    let other = wire.within(&wire.second, || {
        let index = nix::net::if_::if_nametoindex("eth1").unwrap();
        Sockets::open(index, &[Channel::V2]).unwrap()
    });
    let unicast = wire.first.udp(("10.50.0.1".parse().unwrap(), 1985)).unwrap();

    let from_elsewhere = Source { mac: VIRTUAL4, address: "10.51.0.77".parse().unwrap() };
    elsewhere.send(&hsrp(from_elsewhere, Channel::V2, b"elsewhere").unwrap()).unwrap();
    unicast.send_to(b"unicast", "10.50.0.2:1985").unwrap();
    let right = Source { mac: VIRTUAL4, address: "10.50.0.1".parse().unwrap() };
    sender.send(&hsrp(right, Channel::V2, b"right").unwrap()).unwrap();

    // Had one of the others been let in, it would be the first.
    assert_eq!(wire.wait("the datagram", sockets.receive()).unwrap().payload, b"right");
    let mut other = other;
    assert_eq!(wire.wait("the other one", other.receive()).unwrap().payload, b"elsewhere");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn hellos_are_heard_again_once_the_link_is_back() {
    let wire = Wire::new();
    let (near, far) = (wire.eth0(&wire.first), wire.eth0(&wire.second));
    let channels = [Channel::V2, Channel::Ipv6];
    let mut sockets = wire.within(&wire.second, || Sockets::open(far, &channels)).unwrap();
    let sender = wire.within(&wire.first, || Sender::open(near)).unwrap();
    let v2 = Source { mac: VIRTUAL4, address: "10.50.0.1".parse().unwrap() };
    let ipv6 = Source { mac: VIRTUAL6, address: link_local(mac(&wire.first, "eth0")) };

    wire.second.ip("link set eth0 down\nlink set eth0 up").unwrap();
    wire.first.ip("link set eth0 down").unwrap();
    assert!(sender.send(&hsrp(v2, Channel::V2, b"lost").unwrap()).is_err(), "a link that is down says so");
    wire.first.ip("link set eth0 up").unwrap();

    for (source, channel) in [(v2, Channel::V2), (ipv6, Channel::Ipv6)] {
        sender.send(&hsrp(source, channel, b"hello").unwrap()).unwrap();
        let heard = wire.wait("the hello", sockets.receive()).unwrap();
        assert_eq!((heard.source, heard.channel), (source.address, channel));
    }
}
