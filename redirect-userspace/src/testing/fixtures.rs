//! One list of packets with their verdicts, for the host test, the kernel test and fuzz seeds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use common::ike::{CRITICAL, PAYLOAD_KE, PAYLOAD_NONCE, PAYLOAD_NOTIFY, PAYLOAD_SA};
use common::inet::Address;
use common::maps::{Control, Gateway, LlgTable, NO_GATEWAY, Prefix, REFUSE, SLOTS, Tables, Vip};
use common::reason::Reason;

use super::packets::{Packet, Payload};

/// The VIPs of every [`World`].
pub const VIP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// Second IPv4 VIP.
pub const OTHER_VIP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
/// The IPv6 VIP.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
/// An IPv4 client.
pub const CLIENT4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// An IPv6 client.
pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 7);

/// Gateway with addresses of both families and a name.
pub const GATEWAY_ALL: u16 = 0;
/// Gateway with an IPv4 address only.
pub const GATEWAY_V4: u16 = 1;
/// Gateway with a name of even length only.
pub const GATEWAY_NAME: u16 = 2;
/// This node.
pub const GATEWAY_LOCAL: u16 = 3;
/// Gateway with an IPv6 address only.
pub const GATEWAY_V6: u16 = 4;
/// Gateway with a name of odd length only.
pub const GATEWAY_ODD_NAME: u16 = 5;
/// Gateway with the longest name.
pub const GATEWAY_LONG_NAME: u16 = 6;
/// Gateway with a name shorter than a chunk.
pub const GATEWAY_SHORT_NAME: u16 = 7;

/// What the maps hold while a packet is decided.
#[derive(Clone, Debug)]
pub struct World {
    /// The control word.
    pub control: Control,
    /// VIPs.
    pub vips: Vec<Vip>,
    /// Client prefixes.
    pub clients: Vec<Prefix>,
    /// Gateways by index.
    pub gateways: Vec<Gateway>,
    /// The live table.
    pub table: LlgTable,
}

impl World {
    /// Armed, every slot leads to `gateway`.
    #[must_use]
    pub fn towards(gateway: u16) -> Self {
        let vips = vec![
            Vip::new(Address::V4(VIP4.octets())),
            Vip::new(Address::V6(VIP6.octets())),
            Vip::new(Address::V4(OTHER_VIP4.octets())),
        ];
        let target6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x21).octets();
        let long = [b'a'; 255];
        let gateways = [
            Gateway::new(Some([192, 0, 2, 21]), Some(target6), Some(b"gw0.vpn.example.net"), false),
            Gateway::new(Some([192, 0, 2, 22]), None, None, false),
            Gateway::new(None, None, Some(b"gw2.vpn.example.net."), false),
            Gateway::new(Some([192, 0, 2, 23]), Some([0xfd; 16]), None, true),
            Gateway::new(None, Some(target6), None, false),
            Gateway::new(None, None, Some(b"gw5.vpn.example"), false),
            Gateway::new(None, None, Some(&long), false),
            Gateway::new(None, None, Some(b"g.eu"), false),
        ];
        Self {
            control: Control { armed: 1, generation: 1, vips: 3, ..Control::new(0x9e37_79b9_7f4a_7c15) },
            vips,
            clients: Vec::new(),
            gateways: gateways.into_iter().flatten().collect(),
            table: LlgTable { generation: 1, slots: 1024, gateway: [gateway; SLOTS] },
        }
    }

    fn disarmed(mut self) -> Self {
        self.control.armed = 0;
        self
    }

    fn accepting(mut self, prefix: Option<Prefix>) -> Self {
        self.clients.extend(prefix);
        self.control.clients = u32::try_from(self.clients.len()).unwrap_or(0);
        self
    }
}

impl Tables for World {
    fn control(&self) -> Option<&Control> {
        Some(&self.control)
    }

    fn vip(&self, index: u32) -> Option<&Vip> {
        self.vips.get(usize::try_from(index).ok()?)
    }

    fn client(&self, index: u32) -> Option<&Prefix> {
        self.clients.get(usize::try_from(index).ok()?)
    }

    fn llg(&self, generation: u32) -> Option<&LlgTable> {
        (generation & 1 == self.table.generation & 1).then_some(&self.table)
    }

    fn gateway(&self, index: u32) -> Option<&Gateway> {
        self.gateways.get(usize::try_from(index).ok()?)
    }
}

/// Description, input, verdict. The reply's octets are judged by the tests.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// A sentence.
    pub name: &'static str,
    /// The maps.
    pub world: World,
    /// The frame.
    pub frame: Vec<u8>,
    /// What is to come out.
    pub reason: Reason,
}

/// IPv4 request.
#[must_use]
pub fn v4() -> Packet {
    Packet::request(IpAddr::V4(CLIENT4), IpAddr::V4(VIP4))
}

/// IPv6 request.
#[must_use]
pub fn v6() -> Packet {
    Packet::request(IpAddr::V6(CLIENT6), IpAddr::V6(VIP6))
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Fixture> {
    let mut list = List(Vec::new());
    redirected(&mut list);
    link_and_network(&mut list);
    transport(&mut list);
    header(&mut list);
    chain(&mut list);
    notifies(&mut list);
    choice(&mut list);
    list.0
}

struct List(Vec<Fixture>);

impl List {
    fn add(&mut self, name: &'static str, reason: Reason, packet: &Packet) {
        self.add_in(name, reason, World::towards(GATEWAY_ALL), packet.build());
    }

    fn add_in(&mut self, name: &'static str, reason: Reason, world: World, frame: Vec<u8>) {
        self.0.push(Fixture { name, world, frame, reason });
    }
}

fn with(mut packet: Packet, change: impl FnOnce(&mut Packet)) -> Packet {
    change(&mut packet);
    packet
}

fn redirected(list: &mut List) {
    for packet in [v4(), v6()] {
        let hybrid = packet.with_payloads(Payload::hybrid());
        list.add("additional key exchanges", Reason::Redirected, &hybrid);
    }
    let mut payloads = Payload::strongswan();
    payloads.retain(|payload| payload.kind != Payload::ke(36, 0).kind);
    payloads.insert(1, Payload::ke(36, 1_184));
    let large = v4().with_payloads(payloads);
    list.add("a KEM as the key exchange", Reason::Redirected, &large);
    let yes = Reason::Redirected;
    list.add("a strongSwan client over IPv4", yes, &v4());
    list.add("a strongSwan client over IPv6", yes, &v6());
    list.add("behind the non-ESP marker over IPv4", yes, &v4().nat_t());
    list.add("behind the non-ESP marker over IPv6", yes, &v6().nat_t());
    list.add(
        "an Apple client, whose first notify announces support",
        yes,
        &v4().with_payloads(Payload::apple()),
    );
    list.add("from behind a NAT: another source port", yes, &with(v4(), |p| p.source_port = 10952));
    list.add("one VLAN tag", yes, &with(v4(), |p| p.vlans = vec![(0x8100, 100)]));
    list.add("two VLAN tags", yes, &with(v6(), |p| p.vlans = vec![(0x88a8, 200), (0x8100, 100)]));
    list.add("the second VIP", yes, &with(v4(), |p| p.destination = IpAddr::V4(OTHER_VIP4)));
    list.add("Ethernet padding after the packet", yes, &with(v4(), |p| p.padding = vec![0xaa; 9]));
    list.add("an IPv4 UDP checksum of zero", yes, &with(v4(), |p| p.no_udp_checksum = true));
    list.add("minor version 1", yes, &with(v4(), |p| p.version = 0x21));
    list.add("reserved flag bits", yes, &with(v4(), |p| p.flags = 0x08 | 0x10 | 0x07));
    for length in [16, 17, 18, 23, 24, 31, 33, 40, 48, 63, 64, 65, 100, 127, 128, 200, 255, 256] {
        list.add("another nonce length, last payload first", yes, &v4().with_payloads(reversed(length)));
        list.add("another nonce length, nonce first, IPv6", yes, &v6().with_payloads(nonce_first(length)));
        list.add("another nonce length, nonce last", yes, &v6().nat_t().with_payloads(nonce_last(length)));
        for gateway in [GATEWAY_NAME, GATEWAY_ODD_NAME, GATEWAY_SHORT_NAME, GATEWAY_LONG_NAME] {
            let frame = v4().with_payloads(nonce_first(length)).build();
            list.add_in("a name, nonce first", yes, World::towards(gateway), frame);
            let frame = v6().with_payloads(nonce_last(length)).build();
            list.add_in("a name, nonce last", yes, World::towards(gateway), frame);
        }
    }
    list.add(
        "unknown payloads without the critical bit",
        yes,
        &with(v4(), |p| {
            p.payloads.insert(0, Payload::new(200, [1, 2, 3]));
            p.payloads.push(Payload::new(1, []));
        }),
    );
    list.add(
        "the critical bit on known payloads",
        yes,
        &with(v4(), |p| p.payloads.iter_mut().for_each(|payload| payload.critical = CRITICAL)),
    );
    list.add("empty vendor ID at the end", yes, &with(v4(), |p| p.payloads.push(Payload::vendor(&[]))));
    list.add("thirty-two payloads", yes, &many(32));
    list.add("redirected from elsewhere", yes, &from(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9))));
    list.add("redirected from elsewhere, IPv6", yes, &from(IpAddr::V6(Ipv6Addr::from([0x20; 16]))));
    list.add(
        "support and REDIRECTED_FROM together",
        yes,
        &with(from(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9))), |p| {
            p.payloads.push(Payload::redirect_supported());
        }),
    );
}

fn link_and_network(list: &mut List) {
    list.add("ARP", Reason::NotIp, &with(v4(), |p| p.ethertype = Some(0x0806)));
    list.add("TCP over IPv4", Reason::NotUdp, &with(v4(), |p| p.protocol = 6));
    list.add("TCP over IPv6", Reason::NotUdp, &with(v6(), |p| p.protocol = 6));
    list.add("another address", Reason::NotVip, &with(v4(), |p| p.destination = IpAddr::V4(CLIENT4)));
    list.add("another IPv6 address", Reason::NotVip, &with(v6(), |p| p.destination = IpAddr::V6(CLIENT6)));
    list.add(
        "three VLAN tags",
        Reason::VlanDepth,
        &with(v4(), |p| p.vlans = vec![(0x88a8, 1), (0x8100, 2), (0x8100, 3)]),
    );
    list.add("broadcast", Reason::NotUnicast, &with(v4(), |p| p.destination_mac = [0xff; 6]));
    list.add("a multicast source", Reason::NotUnicast, &with(v6(), |p| p.source_mac = [0x33; 6]));
    list.add("IPv4 options", Reason::Ipv4Options, &with(v4(), |p| p.options = vec![1, 1, 1, 0]));
    list.add("a first fragment", Reason::Ipv4Fragment, &with(v4(), |p| p.fragment = 0x2000));
    list.add("a later fragment", Reason::Ipv4Fragment, &with(v4(), |p| p.fragment = 0x0001));
    list.add("IPv4 longer than its frame", Reason::Ipv4Length, &with(v4(), |p| p.ip_length_error = 1));
    list.add("IPv4 too short for UDP", Reason::Ipv4Length, &with(v4(), |p| p.ip_length_error = -233));
    let mut frame = v4().build();
    if let Some(octet) = frame.get_mut(14) {
        *octet = 0x55;
    }
    list.add_in("IP version 5", Reason::Ipv4Length, World::towards(GATEWAY_ALL), frame);
    list.add("a wrong IPv4 checksum", Reason::Ipv4Checksum, &with(v4(), |p| p.ip_checksum_error = 0x0100));
    for protocol in [0, 43, 44, 50, 51, 60, 135, 139, 140] {
        list.add("an IPv6 extension header", Reason::Ipv6Extension, &with(v6(), |p| p.protocol = protocol));
    }
    list.add("IPv6 longer than its frame", Reason::Ipv6Length, &with(v6(), |p| p.ip_length_error = 1));
    list.add("IPv6 too short for UDP", Reason::Ipv6Length, &with(v6(), |p| p.ip_length_error = -233));
    for source in [[0, 0, 0, 1], [127, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255], VIP4.octets()] {
        list.add(
            "an impossible IPv4 source",
            Reason::BadSource,
            &with(v4(), |p| p.source = IpAddr::from(source)),
        );
    }
    let mapped = Ipv4Addr::new(198, 51, 100, 7).to_ipv6_mapped();
    for source in [Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST, mapped, Ipv6Addr::from([0xff; 16]), VIP6] {
        list.add(
            "an impossible IPv6 source",
            Reason::BadSource,
            &with(v6(), |p| p.source = IpAddr::V6(source)),
        );
    }
    list.add("source port zero", Reason::BadSource, &with(v4(), |p| p.source_port = 0));
    for length in [0, 13, 16, 20, 33, 40] {
        let mut frame = v4().build();
        frame.truncate(length);
        list.add_in(
            "a frame cut inside its headers",
            Reason::TruncatedFrame,
            World::towards(GATEWAY_ALL),
            frame,
        );
    }
    for length in [15, 53, 61] {
        let mut frame = v6().build();
        frame.truncate(length);
        list.add_in("an IPv6 frame cut inside", Reason::TruncatedFrame, World::towards(GATEWAY_ALL), frame);
    }
}

fn transport(list: &mut List) {
    list.add("DNS", Reason::NotIkePort, &with(v4(), |p| p.destination_port = 53));
    list.add("a UDP length too long", Reason::UdpLength, &with(v4(), |p| p.udp_length_error = 1));
    list.add("a UDP length too short", Reason::UdpLength, &with(v6(), |p| p.udp_length_error = -1));
    list.add("IPv6 without UDP checksum", Reason::UdpChecksum, &with(v6(), |p| p.no_udp_checksum = true));
    list.add("ESP in UDP", Reason::Esp, &with(v4().nat_t(), |p| p.marker = Some([0, 0, 0, 1])));
    list.add("too short for a marker", Reason::Esp, &with(v4().nat_t(), |p| raw(p, &[0, 0])));
    list.add("a NAT keepalive", Reason::NatKeepalive, &with(v4().nat_t(), |p| raw(p, &[0xff])));
    list.add(
        "a padded NAT keepalive",
        Reason::NatKeepalive,
        &with(v4().nat_t(), |p| {
            raw(p, &[0xff]);
            p.padding = vec![0; 20];
        }),
    );
    list.add("a marker and nothing else", Reason::IkeLength, &with(v4().nat_t(), |p| raw(p, &[0; 4])));
    list.add("no marker on port 4500", Reason::Esp, &with(v4().nat_t(), |p| p.marker = None));
}

fn raw(packet: &mut Packet, payload: &[u8]) {
    packet.marker = None;
    packet.raw = Some(payload.to_vec());
}

fn header(list: &mut List) {
    list.add("shorter than an IKE header", Reason::IkeLength, &with(v4(), |p| p.raw = Some(vec![0x11; 27])));
    list.add("an IKE length too long", Reason::IkeLength, &with(v4(), |p| p.ike_length_error = 1));
    list.add("an IKE length too short", Reason::IkeLength, &with(v4(), |p| p.ike_length_error = -1));
    list.add(
        "an IKE length beyond 16 bits",
        Reason::IkeLength,
        &with(v4(), |p| p.ike_length_error = 0x1_0000),
    );
    list.add(
        "a jumbo message",
        Reason::IkeTooLong,
        &with(v4(), |p| p.payloads.push(Payload::vendor(&[0; 2800]))),
    );
    list.add("IKEv1", Reason::IkeVersion, &with(v4(), |p| p.version = 0x10));
    list.add("IKE version 3", Reason::IkeVersion, &with(v4(), |p| p.version = 0x30));
    list.add("a response", Reason::IkeResponse, &with(v4(), |p| p.flags = 0x20));
    list.add("session resumption", Reason::SessionResume, &with(v4(), |p| p.exchange = 38));
    for exchange in [35, 36, 37, 43, 0, 255] {
        list.add("another exchange", Reason::OtherExchange, &with(v4(), |p| p.exchange = exchange));
    }
    list.add("no Initiator flag", Reason::NotInitiator, &with(v4(), |p| p.flags = 0));
    list.add("SPIi zero", Reason::SpiInitiatorZero, &with(v4(), |p| p.spi_i = 0));
    list.add("SPIr set", Reason::SpiResponderSet, &with(v4(), |p| p.spi_r = 1));
    list.add("Message ID 1", Reason::MessageId, &with(v4(), |p| p.message_id = 1));
}

fn chain(list: &mut List) {
    let at = |kind: u8| move |payload: &Payload| payload.kind == kind;
    let change = |kind: u8, change: &dyn Fn(&mut Payload)| {
        with(v4(), |p| p.payloads.iter_mut().filter(|payload| at(kind)(payload)).for_each(change))
    };
    let without = |kind: u8| with(v4(), |p| p.payloads.retain(|payload| !at(kind)(payload)));
    let twice = |payload: Payload| with(v4(), |p| p.payloads.push(payload));

    list.add(
        "the last payload runs over",
        Reason::ChainTruncated,
        &with(v4(), |p| p.payloads.push(Payload { length: Some(9), ..Payload::vendor(&[1; 4]) })),
    );
    list.add(
        "a next payload that is not there",
        Reason::ChainTruncated,
        &with(v4(), |p| p.last_next_payload = 41),
    );
    list.add(
        "half a payload header at the end",
        Reason::ChainTruncated,
        &with(v4(), |p| {
            p.last_next_payload = 43;
            p.trailing = vec![0, 0];
        }),
    );
    list.add(
        "a payload of length 3",
        Reason::PayloadLength,
        &with(v4(), |p| last(p, |l| l.length = Some(3))),
    );
    list.add("a payload of length 0", Reason::PayloadLength, &change(PAYLOAD_SA, &|p| p.length = Some(0)));
    list.add("octets after the chain", Reason::ChainTrailing, &with(v4(), |p| p.trailing = vec![0]));
    list.add(
        "no payload at all",
        Reason::ChainTrailing,
        &with(v4(), |p| {
            p.payloads.clear();
            p.trailing = vec![0; 300];
        }),
    );
    list.add("thirty-three payloads", Reason::TooManyPayloads, &many(33));
    list.add(
        "an unknown critical payload",
        Reason::CriticalPayload,
        &with(v4(), |p| p.payloads.push(Payload { critical: CRITICAL, ..Payload::new(200, [1]) })),
    );
    for kind in [35, 36, 37, 38, 39, 42, 44, 45, 46, 47, 48, 49, 53] {
        list.add(
            "a payload of another exchange",
            Reason::UnexpectedPayload,
            &with(v4(), |p| p.payloads.push(Payload::new(kind, [0; 8]))),
        );
    }
    list.add("a puzzle solution", Reason::Puzzle, &with(v4(), |p| p.payloads.push(Payload::new(54, [0; 8]))));
    list.add("two SA", Reason::SaDuplicate, &twice(Payload::sa()));
    list.add("two KE", Reason::KeDuplicate, &twice(Payload::ke(31, 32)));
    list.add("two nonces", Reason::NonceDuplicate, &twice(Payload::nonce(32)));
    list.add("no SA", Reason::SaMissing, &without(PAYLOAD_SA));
    list.add("no KE", Reason::KeMissing, &without(PAYLOAD_KE));
    list.add("no nonce", Reason::NonceMissing, &without(PAYLOAD_NONCE));
    list.add("an empty SA", Reason::SaShort, &change(PAYLOAD_SA, &|p| p.body.clear()));
    list.add("an empty KE", Reason::KeShort, &change(PAYLOAD_KE, &|p| p.body.truncate(4)));
    for length in [0, 1, 15, 257, 300] {
        list.add(
            "a nonce out of bounds",
            Reason::NonceLength,
            &change(PAYLOAD_NONCE, &|p| *p = Payload::nonce(length)),
        );
    }
    list.add(
        "a short notify",
        Reason::NotifyShort,
        &with(v4(), |p| {
            p.payloads.push(Payload::new(PAYLOAD_NOTIFY, [0, 0, 0x40]));
        }),
    );
}

fn notifies(list: &mut List) {
    let instead = |payload: Payload| with(v4(), |p| last(p, |l| *l = payload));
    let malformed = Reason::NotifyMalformed;
    list.add("Windows' client", Reason::NoRedirectSupport, &v4().with_payloads(Payload::windows()));
    list.add("support with data", malformed, &instead(Payload::notify(16406, &[0])));
    list.add(
        "support with a protocol, which is ignored",
        Reason::Redirected,
        &instead(Payload::new(41, [1, 0, 0x40, 0x16])),
    );
    list.add("support with an SPI", malformed, &instead(Payload::new(41, [0, 4, 0x40, 0x16, 0, 0, 0, 0])));
    list.add("REDIRECTED_FROM of type 0", malformed, &instead(Payload::notify(16408, &[0, 4, 1, 2, 3, 4])));
    list.add("REDIRECTED_FROM of type 9", malformed, &instead(Payload::notify(16408, &[9, 4, 1, 2, 3, 4])));
    list.add(
        "REDIRECTED_FROM a name",
        malformed,
        &instead(Payload::notify(16408, &[3, 4, b'a', b'.', b'b', b'c'])),
    );
    list.add("REDIRECTED_FROM too long", malformed, &instead(Payload::notify(16408, &[1, 4, 1, 2, 3, 4, 5])));
    list.add("REDIRECTED_FROM too short", malformed, &instead(Payload::notify(16408, &[1, 4, 1, 2, 3])));
    list.add(
        "REDIRECTED_FROM past the end",
        malformed,
        &instead(Payload::notify(16408, &[1, 16, 1, 2, 3, 4])),
    );
    list.add("REDIRECTED_FROM empty", malformed, &instead(Payload::notify(16408, &[])));
    list.add(
        "REDIRECTED_FROM with an SPI",
        malformed,
        &instead(Payload::new(41, [0, 4, 0x40, 0x18, 1, 4, 9, 9, 9, 9])),
    );
    list.add(
        "support twice",
        Reason::NotifyDuplicate,
        &with(v4(), |p| p.payloads.push(Payload::redirect_supported())),
    );
    list.add(
        "REDIRECTED_FROM twice",
        Reason::NotifyDuplicate,
        &with(from(IpAddr::V4(CLIENT4)), |p| p.payloads.push(Payload::redirected_from(IpAddr::V4(CLIENT4)))),
    );
    list.add(
        "a returned cookie",
        Reason::Cookie,
        &with(v4(), |p| p.payloads.insert(0, Payload::notify(16390, &[7; 20]))),
    );
    list.add("redirected from this VIP", Reason::RedirectLoop, &from(IpAddr::V4(VIP4)));
    list.add("redirected from the other VIP", Reason::RedirectLoop, &from(IpAddr::V4(OTHER_VIP4)));
    list.add("redirected from the IPv6 VIP", Reason::RedirectLoop, &from(IpAddr::V6(VIP6)));
    list.add(
        "an IPv6 request redirected from the IPv6 VIP",
        Reason::RedirectLoop,
        &with(v6(), |p| last(p, |l| *l = Payload::redirected_from(IpAddr::V6(VIP6)))),
    );
    list.add(
        "a broken chain behind a support notify",
        Reason::ChainTruncated,
        &with(v4().with_payloads(Payload::apple()), |p| last(p, |l| l.length = Some(100))),
    );
}

fn choice(list: &mut List) {
    let frame = || v4().build();
    let world = World::towards;
    list.add_in("disarmed", Reason::Disarmed, world(GATEWAY_ALL).disarmed(), frame());
    list.add_in("no gateway in the slot", Reason::NoGateway, world(NO_GATEWAY), frame());
    list.add_in("every gateway is overloaded", Reason::Refused, world(REFUSE), frame());
    list.add_in("this node is the LLG", Reason::LocalIsLlg, world(GATEWAY_LOCAL), frame());
    list.add_in("an IPv6-only gateway for IPv4", Reason::NoIdentity, world(GATEWAY_V6), frame());
    list.add_in("an IPv4-only gateway for IPv6", Reason::NoIdentity, world(GATEWAY_V4), v6().build());
    list.add_in("an IPv6-only gateway for IPv6", Reason::Redirected, world(GATEWAY_V6), v6().build());
    let minimal = v4().with_payloads(vec![
        Payload::new(PAYLOAD_SA, [0; 16]),
        Payload::new(PAYLOAD_KE, [0; 5]),
        Payload::nonce(16),
        Payload::redirect_supported(),
    ]);
    list.add_in("the smallest request", Reason::Redirected, world(GATEWAY_V4), minimal.build());
    list.add_in(
        "a reply that would be longer",
        Reason::ReplyNotShorter,
        world(GATEWAY_LONG_NAME),
        minimal.build(),
    );
    let accept = |address, length| world(GATEWAY_ALL).accepting(Prefix::new(address, length));
    let v4_client = Address::V4([198, 51, 100, 0]);
    let v6_client = Address::V6(CLIENT6.octets());
    list.add_in("an accepted client", Reason::Redirected, accept(v4_client, 24), frame());
    list.add_in("an accepted IPv6 client", Reason::Redirected, accept(v6_client, 64), v6().build());
    list.add_in("a client of no prefix", Reason::ClientNotAccepted, accept(v6_client, 64), frame());
    list.add_in(
        "outside the prefix",
        Reason::ClientNotAccepted,
        accept(Address::V4([198, 51, 101, 0]), 24),
        frame(),
    );
    let everyone6 = accept(Address::V6([0; 16]), 0);
    list.add_in("an IPv6 prefix never covers IPv4", Reason::ClientNotAccepted, everyone6, frame());
}

fn last(packet: &mut Packet, change: impl FnOnce(&mut Payload)) {
    if let Some(payload) = packet.payloads.last_mut() {
        change(payload);
    }
}

fn from(address: IpAddr) -> Packet {
    with(v4(), |p| last(p, |l| *l = Payload::redirected_from(address)))
}

fn many(payloads: usize) -> Packet {
    with(v4(), |p| {
        while p.payloads.len() < payloads {
            p.payloads.insert(1, Payload::vendor(&[5; 4]));
        }
    })
}

/// Support, nonce, KE, SA, and enough vendor ID for the longest reply.
fn reversed(nonce: usize) -> Vec<Payload> {
    vec![
        Payload::redirect_supported(),
        Payload::vendor(&[9; 260]),
        Payload::nonce(nonce),
        Payload::ke(31, 32),
        Payload::sa(),
    ]
}

/// The nonce where every reply's identity has to go: it must move towards the end.
fn nonce_first(nonce: usize) -> Vec<Payload> {
    vec![Payload::nonce(nonce), Payload::sa(), Payload::ke(14, 256), Payload::redirect_supported()]
}

fn nonce_last(nonce: usize) -> Vec<Payload> {
    vec![Payload::redirect_supported(), Payload::sa(), Payload::ke(14, 256), Payload::nonce(nonce)]
}
