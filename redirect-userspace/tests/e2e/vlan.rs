//! Clients behind VLAN tags. Their frames are made by hand: the laboratory then needs no VLAN
//! interfaces, which not every kernel has.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};
use xtask::lab::balancer::{Member, Redirectd};
use xtask::lab::capture::Capture;
use xtask::lab::load;
use xtask::lab::netns::Namespace;
use xtask::lab::topology::VIP4;

use crate::{GOOD, without_gateways};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;

/// A socket for whole frames and the interface it sends on.
struct FrameSocket {
    socket: OwnedFd,
    interface: LinkAddr,
}

impl FrameSocket {
    fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        namespace.enter(|| {
            let socket =
                socket::<Option<_>>(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
            let interface = getifaddrs()?
                .filter(|at| at.interface_name == interface)
                .find_map(|at| at.address?.as_link_addr().copied())
                .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            Ok(Self { socket, interface })
        })
    }

    fn send(&self, frame: &[u8]) -> Result<()> {
        sendto(self.socket.as_raw_fd(), frame, &self.interface, MsgFlags::empty())
            .context("sending a frame")?;
        Ok(())
    }
}

/// The hardware address of `eth0`.
fn hardware_address(namespace: &Namespace) -> Vec<u8> {
    let link = namespace.link("eth0").unwrap();
    let text = link.get("address").unwrap().as_str().unwrap();
    text.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect()
}

/// The Internet checksum (`RFC 1071`).
fn checksum(octets: &[u8]) -> [u8; 2] {
    let mut sum: u32 = octets
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

/// An IPv4 packet that carries `payload` from port 500 to port 500.
fn packet(from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let udp_length = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
    let mut udp = [500_u16.to_be_bytes(), 500_u16.to_be_bytes(), udp_length, [0; 2]].concat();
    udp.extend(payload);
    let pseudo_header = [&from.octets()[..], &to.octets(), &[0, 17], &udp_length].concat();
    let sum = checksum(&[pseudo_header, udp.clone()].concat());
    udp[6..8].copy_from_slice(&sum);

    let mut ip = vec![0x45, 0];
    ip.extend(u16::try_from(20 + udp.len()).unwrap().to_be_bytes());
    ip.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    ip.extend(from.octets());
    ip.extend(to.octets());
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);
    ip.extend(udp);
    ip
}

fn a_tagged_request_is_answered_with_its_tags(tags: &[(u16, u16)]) {
    let cluster = without_gateways();
    let member = Member::imaginary(1, 1);
    let _daemon = Redirectd::start(&cluster, std::slice::from_ref(&member)).unwrap();
    let client = &cluster.clients[0];
    let namespace = client.charon.namespace();
    let mut frame = hardware_address(&cluster.balancer);
    frame.extend(hardware_address(namespace));
    for (ethertype, tag) in tags {
        frame.extend(ethertype.to_be_bytes());
        frame.extend(tag.to_be_bytes());
    }
    frame.extend(ETHERTYPE_IPV4.to_be_bytes());
    frame.extend(packet(client.address4, VIP4, &load::request(1)));
    let capture = Capture::start(namespace).unwrap();

    FrameSocket::open(namespace, "eth0").unwrap().send(&frame).unwrap();
    let frames = capture.finish(1).unwrap();

    let reply = frames.iter().find(|frame| frame.is_response).unwrap();
    let ids: Vec<_> = tags.iter().map(|(_, tag)| tag.to_string()).collect();
    assert_eq!(reply.vlans, ids);
    assert_eq!(reply.source.parse(), Ok(IpAddr::V4(VIP4)));
    assert_eq!(reply.destination.parse(), Ok(IpAddr::V4(client.address4)));
    assert_eq!(reply.gateway, Some(member.addresses[0].to_string()));
    assert_eq!(reply.checksums, [GOOD; 2]);
    assert!(reply.complaints.is_empty(), "{reply:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_behind_a_vlan_is_answered_with_its_tag() {
    a_tagged_request_is_answered_with_its_tags(&[(ETHERTYPE_VLAN, 7)]);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_client_behind_a_providers_vlan_is_answered_with_both_tags() {
    a_tagged_request_is_answered_with_its_tags(&[(ETHERTYPE_SERVICE_VLAN, 100), (ETHERTYPE_VLAN, 7)]);
}
