//! Ethernet frames that the kernel's sockets do not make: HSRP from the virtual MAC, gratuitous
//! ARP, unsolicited neighbour advertisements, and the questions that find a duplicate address.
//!
//! The builders are pure. [`Sender`] puts their frames on an interface.
//!
//! # References
//!
//! `RFC 826` (ARP), `RFC 4861` (neighbour discovery), `RFC 5227` (address conflicts), `RFC 1112
//! §6.4` and `RFC 2464 §7` (multicast MAC addresses).

#![expect(unsafe_code, reason = "binding a packet socket has no safe wrapper")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};

use common::checksum::Sum;
use common::inet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_LENGTH, PROTOCOL_UDP, UDP_LENGTH};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, send, setsockopt, sockopt};

use super::hsrp::Channel;
use crate::codec::Writer;
use crate::hsrp::MacAddress;

/// Who a frame is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Ethernet source.
    pub mac: MacAddress,
    /// IP source.
    pub address: IpAddr,
}

/// Why there is no frame for a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The source address is not of the family of the channel.
    #[error("a datagram to {to} cannot come from {from}")]
    Family {
        /// The source.
        from: IpAddr,
        /// The destination.
        to: IpAddr,
    },
    /// No IP packet is that long.
    #[error("a payload of {0} octets does not fit into a datagram")]
    TooLong(usize),
}

/// An HSRP datagram to the group of `channel`: TTL 1 and precedence 6 in IPv4 (`RFC 2281 §5`),
/// hop limit 255 in IPv6, always with a UDP checksum.
///
/// # Errors
///
/// See [`FrameError`].
pub fn hsrp(from: Source, channel: Channel, payload: &[u8]) -> Result<Vec<u8>, FrameError> {
    let too_long = FrameError::TooLong(payload.len());
    let length = u16::try_from(UDP_LENGTH + payload.len()).map_err(|_longer| too_long)?;
    match (from.address, channel.address()) {
        (IpAddr::V4(source), IpAddr::V4(group)) => {
            let headers = u16::try_from(IPV4_LENGTH).unwrap_or_default();
            let total = length.checked_add(headers).ok_or(too_long)?;
            let mut frame = ethernet(channel.mac(), from.mac, ETHERTYPE_IPV4);
            frame.octets(&[0x45, PRECEDENCE_INTERNETWORK]);
            frame.u16(total);
            // No identification and no fragmentation, as Cisco's routers send it.
            frame.zeros(4);
            frame.octets(&[HSRP_TTL, PROTOCOL_UDP]);
            frame.zeros(2);
            frame.octets(&source.octets());
            frame.octets(&group.octets());
            let header = sum(frame.as_slice().get(ETHERNET..).unwrap_or_default());
            frame.patch(ETHERNET + 10, &header.finish());
            let pseudo = sum(&source.octets()).add(sum(&group.octets()));
            udp(&mut frame, pseudo, channel.port(), length, payload);
            Ok(frame.into_octets())
        }
        (IpAddr::V6(source), IpAddr::V6(group)) => {
            let mut frame = ethernet(channel.mac(), from.mac, ETHERTYPE_IPV6);
            ipv6(&mut frame, length, PROTOCOL_UDP, source, group);
            let pseudo = sum(&source.octets()).add(sum(&group.octets()));
            udp(&mut frame, pseudo, channel.port(), length, payload);
            Ok(frame.into_octets())
        }
        (from, to) => Err(FrameError::Family { from, to }),
    }
}

/// What tells the link that `vip` is at `mac`.
///
/// In IPv4, an ARP reply that nobody asked for, as Cisco's routers send it, and the announcement
/// of `RFC 5227 §2.3`, which is a question: hosts that run Linux do not take such a reply at its
/// word while what they know is less than a second old. In IPv6, an unsolicited neighbour
/// advertisement that overrides what is known (`RFC 4861 §7.2.6`).
///
/// `is_router` is whether this machine forwards IPv6 packets. Hosts that hear otherwise take it
/// out of their list of routers.
#[must_use]
pub fn announcements(mac: MacAddress, vip: IpAddr, is_router: bool) -> Vec<Vec<u8>> {
    match vip {
        IpAddr::V4(vip) => {
            vec![arp(ARP_REPLY, mac, vip, BROADCAST, vip), arp(ARP_REQUEST, mac, vip, NOBODY, vip)]
        }
        IpAddr::V6(vip) => {
            let flags = if is_router { NA_ROUTER | NA_OVERRIDE } else { NA_OVERRIDE };
            let mut body = Writer::new();
            body.octets(&[ICMPV6_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0]);
            body.octets(&vip.octets());
            body.octets(&[OPTION_TARGET_MAC, 1]);
            body.octets(&mac.0);
            vec![icmpv6(mac, vip, ALL_NODES, &body.into_octets())]
        }
    }
}

/// Asks the link whether somebody has `vip`: an ARP probe (`RFC 5227 §1.1`) or the neighbour
/// solicitation of duplicate address detection (`RFC 4862 §5.4.2`). Neither leaves a trace in
/// anybody's tables.
#[must_use]
pub fn probe(mac: MacAddress, vip: IpAddr) -> Vec<u8> {
    match vip {
        IpAddr::V4(vip) => arp(ARP_REQUEST, mac, Ipv4Addr::UNSPECIFIED, NOBODY, vip),
        IpAddr::V6(vip) => {
            let [.., a, b, c] = vip.octets();
            let [high, low] = u16::from_be_bytes([0xff, a]).to_be_bytes();
            let solicited = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, high, low, b, c];
            let mut body = Writer::new();
            body.octets(&[ICMPV6_SOLICITATION, 0, 0, 0, 0, 0, 0, 0]);
            body.octets(&vip.octets());
            let body = body.into_octets();
            icmpv6(mac, Ipv6Addr::UNSPECIFIED, Ipv6Addr::from(solicited), &body)
        }
    }
}

/// The MAC address that a multicast address is sent to.
#[must_use]
pub fn multicast_mac(group: IpAddr) -> MacAddress {
    match group {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            MacAddress([0x01, 0x00, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(group) => {
            let [.., a, b, c, d] = group.octets();
            MacAddress([0x33, 0x33, a, b, c, d])
        }
    }
}

fn ethernet(to: MacAddress, from: MacAddress, ethertype: u16) -> Writer {
    let mut frame = Writer::new();
    frame.octets(&to.0);
    frame.octets(&from.0);
    frame.u16(ethertype);
    frame
}

fn udp(frame: &mut Writer, pseudo: Sum, port: u16, length: u16, payload: &[u8]) {
    let at = frame.len();
    frame.u16(port);
    frame.u16(port);
    frame.u16(length);
    frame.zeros(2);
    frame.octets(payload);
    let datagram = sum(frame.as_slice().get(at..).unwrap_or_default());
    let total = pseudo.add_be16(u16::from(PROTOCOL_UDP)).add_be16(length).add(datagram);
    frame.patch(at + 6, &total.finish_udp());
}

fn ipv6(frame: &mut Writer, length: u16, next_header: u8, from: Ipv6Addr, to: Ipv6Addr) {
    // Version 6, traffic class as in IPv4, no flow label.
    frame.octets(&[0x6c, 0, 0, 0]);
    frame.u16(length);
    frame.octets(&[next_header, HOP_LIMIT]);
    frame.octets(&from.octets());
    frame.octets(&to.octets());
}

fn icmpv6(mac: MacAddress, from: Ipv6Addr, to: Ipv6Addr, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap_or_default();
    let mut frame = ethernet(multicast_mac(to.into()), mac, ETHERTYPE_IPV6);
    ipv6(&mut frame, length, PROTOCOL_ICMPV6, from, to);
    let at = frame.len();
    frame.octets(body);
    let pseudo = sum(&from.octets()).add(sum(&to.octets())).add_be16(length);
    let total = pseudo.add_be16(u16::from(PROTOCOL_ICMPV6)).add(sum(body));
    frame.patch(at + 2, &total.finish());
    frame.into_octets()
}

fn arp(operation: u16, mac: MacAddress, from: Ipv4Addr, to_mac: MacAddress, to: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, mac, ETHERTYPE_ARP);
    frame.u16(ARP_ETHERNET);
    frame.u16(ETHERTYPE_IPV4);
    frame.octets(&[6, 4]);
    frame.u16(operation);
    frame.octets(&mac.0);
    frame.octets(&from.octets());
    frame.octets(&to_mac.0);
    frame.octets(&to.octets());
    frame.into_octets()
}

fn sum(octets: &[u8]) -> Sum {
    let (pairs, odd) = octets.as_chunks::<2>();
    let sum = pairs.iter().fold(Sum::ZERO, |sum, pair| sum.add2(*pair));
    match odd {
        [last] => sum.add2([*last, 0]),
        _ => sum,
    }
}

/// A packet socket that sends on one interface and receives nothing.
#[derive(Debug)]
pub struct Sender {
    socket: OwnedFd,
}

impl Sender {
    /// Opens it on the interface with this number. When the interface is deleted the socket is of
    /// no more use, not even for a new one of the same name.
    ///
    /// # Errors
    ///
    /// There is no such interface, or we may not.
    pub fn open(interface: u32) -> nix::Result<Self> {
        let socket = open(interface, None)?;
        // Ahead of what waits in the queue. The highest value needs a capability.
        let _next_best = setsockopt(&socket, sockopt::Priority, &PRIORITY_CONTROL)
            .or_else(|_denied| setsockopt(&socket, sockopt::Priority, &(PRIORITY_CONTROL - 1)));
        Ok(Self { socket })
    }

    /// Sends a frame. Never waits.
    ///
    /// # Errors
    ///
    /// The interface is down or gone, its queue is full, or the frame exceeds its MTU.
    pub fn send(&self, frame: &[u8]) -> nix::Result<()> {
        loop {
            match send(self.socket.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT) {
                Ok(_all) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A packet socket on one interface, for frames with this Ethertype, or for sending only.
pub(super) fn open(interface: u32, ethertype: Option<u16>) -> nix::Result<OwnedFd> {
    let index = i32::try_from(interface).map_err(|_overflow| Errno::ENODEV)?;
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // Without a protocol nothing is received before the socket is bound, from other interfaces.
    // SAFETY: takes no pointers.
    let descriptor = Errno::result(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the call above has just returned it, and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).unwrap_or_default(),
        sll_protocol: ethertype.unwrap_or_default().to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = u32::try_from(size_of_val(&address)).unwrap_or_default();
    let pointer = (&raw const address).cast::<libc::sockaddr>();
    // SAFETY: `pointer` is valid for `length` octets, and the kernel only reads them.
    Errno::result(unsafe { libc::bind(socket.as_fd().as_raw_fd(), pointer, length) })?;
    Ok(socket)
}

pub(super) const ETHERNET: usize = 14;
pub(super) const ETHERTYPE_ARP: u16 = 0x0806;
pub(super) const PROTOCOL_ICMPV6: u8 = 58;
pub(super) const ICMPV6_ADVERTISEMENT: u8 = 136;
/// What neighbour discovery must arrive with (`RFC 4861 §7.1`): nobody behind a router can send it.
pub(super) const HOP_LIMIT: u8 = 255;

const BROADCAST: MacAddress = MacAddress([0xff; 6]);
const NOBODY: MacAddress = MacAddress([0; 6]);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ARP_ETHERNET: u16 = 1;
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
const ICMPV6_SOLICITATION: u8 = 135;
const NA_ROUTER: u8 = 0x80;
const NA_OVERRIDE: u8 = 0x20;
const OPTION_TARGET_MAC: u8 = 2;
/// CS6, internetwork control.
const PRECEDENCE_INTERNETWORK: u8 = 0xc0;
const HSRP_TTL: u8 = 1;
/// `TC_PRIO_CONTROL`
const PRIORITY_CONTROL: i32 = 7;

#[cfg(test)]
mod tests {
    use super::*;

    const BURNED_IN: MacAddress = MacAddress([0xaa, 0xbb, 0xcc, 0x00, 0x0a, 0x00]);
    const VIRTUAL: MacAddress = MacAddress([0x00, 0x00, 0x0c, 0x9f, 0xf0, 0x01]);
    const VIRTUAL6: MacAddress = MacAddress([0x00, 0x05, 0x73, 0xa0, 0x00, 0x01]);

    fn octets(hex: &str) -> Vec<u8> {
        let digits: String = hex.split_ascii_whitespace().collect();
        let value = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        (0..digits.len()).step_by(2).map(value).collect()
    }

    #[test]
    fn a_version_2_hello_has_the_headers_of_ciscos() {
        let from = Source { mac: VIRTUAL, address: [10, 0, 0, 10].into() };

        let frame = hsrp(from, Channel::V2, &[1, 2, 3]).unwrap();

        let expected = "01005e000066 00000c9ff001 0800
            45c0 001f 0000 0000 01 11 ce9e 0a00000a e0000066
            07c1 07c1 000b 01e4 010203";
        assert_eq!(frame, octets(expected));
    }

    #[test]
    fn a_version_1_hello_goes_to_all_routers() {
        let from = Source { mac: BURNED_IN, address: [10, 0, 0, 20].into() };

        let frame = hsrp(from, Channel::V1, &[0; 20]).unwrap();

        assert_eq!(frame[..14], octets("01005e000002 aabbcc000a00 0800"));
        assert_eq!(frame[30..34], [224, 0, 0, 2]);
        assert_eq!(frame.len(), 62);
    }

    #[test]
    fn an_ipv6_hello_comes_from_a_link_local_address_with_hop_limit_255() {
        let from = Source { mac: VIRTUAL6, address: "fe80::1".parse().unwrap() };

        let frame = hsrp(from, Channel::Ipv6, &[1, 2]).unwrap();

        let expected = "333300000066 000573a00001 86dd
            6c000000 000a 11 ff
            fe800000000000000000000000000001 ff020000000000000000000000000066
            07ed 07ed 000a f113 0102";
        assert_eq!(frame, octets(expected));
    }

    #[test]
    fn families_are_not_mixed_and_lengths_are_checked() {
        let from = Source { mac: BURNED_IN, address: [10, 0, 0, 20].into() };

        let group = "ff02::66".parse().unwrap();
        assert_eq!(hsrp(from, Channel::Ipv6, &[]), Err(FrameError::Family { from: from.address, to: group }));
        assert_eq!(hsrp(from, Channel::V2, &[0; 65_508]), Err(FrameError::TooLong(65_508)));
        assert!(hsrp(from, Channel::V2, &[0; 65_507]).is_ok());
    }

    #[test]
    fn a_vip_is_announced_by_an_arp_reply_and_a_question_from_the_virtual_mac() {
        let frames = announcements(VIRTUAL, [10, 50, 0, 5].into(), false);

        let reply = "ffffffffffff 00000c9ff001 0806
            0001 0800 06 04 0002
            00000c9ff001 0a320005 ffffffffffff 0a320005";
        let question = "ffffffffffff 00000c9ff001 0806
            0001 0800 06 04 0001
            00000c9ff001 0a320005 000000000000 0a320005";
        assert_eq!(frames, [octets(reply), octets(question)]);
    }

    #[test]
    fn an_unsolicited_advertisement_overrides_and_names_the_mac() {
        let vip: IpAddr = "fd50::5".parse().unwrap();

        let host = announcements(VIRTUAL6, vip, false);
        let router = announcements(VIRTUAL6, vip, true);

        let expected = |sum: &str, flags: &str| {
            let headers = "333300000001 000573a00001 86dd
                6c000000 0020 3a ff
                fd500000000000000000000000000005 ff020000000000000000000000000001";
            let option = "000000 fd500000000000000000000000000005 0201 000573a00001";
            octets(&format!("{headers} 88 00 {sum} {flags} {option}"))
        };
        assert_eq!(host, [expected("e84d", "20")]);
        assert_eq!(router, [expected("684d", "a0")]);
    }

    #[test]
    fn probes_leave_no_trace_in_tables() {
        let arp = probe(BURNED_IN, [10, 50, 0, 5].into());
        let expected = "ffffffffffff aabbcc000a00 0806
            0001 0800 06 04 0001
            aabbcc000a00 00000000 000000000000 0a320005";
        assert_eq!(arp, octets(expected));

        let solicitation = probe(BURNED_IN, "fd50::12:3456".parse().unwrap());
        let expected = "3333ff123456 aabbcc000a00 86dd
            6c000000 0018 3a ff
            00000000000000000000000000000000 ff0200000000000000000001ff123456
            87 00 1487 00000000 fd500000000000000000000000123456";
        assert_eq!(solicitation, octets(expected));
    }

    #[test]
    fn multicast_macs_keep_the_low_bits_of_the_group() {
        let cases = [
            ("224.0.0.2", [0x01, 0x00, 0x5e, 0, 0, 2]),
            ("239.255.0.1", [0x01, 0x00, 0x5e, 0x7f, 0, 1]),
            ("ff02::66", [0x33, 0x33, 0, 0, 0, 0x66]),
        ];
        for (group, mac) in cases {
            assert_eq!(multicast_mac(group.parse().unwrap()), MacAddress(mac), "{group}");
        }
    }
}
