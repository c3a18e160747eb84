//! Ethernet, IPv4, IPv6 and UDP: the headers as they lie in a frame.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::Sum;

/// Ethernet II header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct EthernetHeader {
    /// Destination address.
    pub destination: [u8; 6],
    /// Source address.
    pub source: [u8; 6],
    /// EtherType of what follows, or of the first VLAN tag.
    pub ethertype: U16,
}

/// One VLAN tag after the EtherType that announced it (IEEE 802.1Q, 802.1ad).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct VlanTag {
    /// Priority, drop eligibility and VLAN number.
    pub control: U16,
    /// EtherType of what follows.
    pub ethertype: U16,
}

/// IPv4 header without options.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv4Header {
    /// Version (high nibble) and header length in words (low nibble).
    pub version_ihl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Octets of header and payload.
    pub total_length: U16,
    /// Fragment identification.
    pub identification: U16,
    /// DF, MF and fragment offset.
    pub fragment: U16,
    /// Hops left.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Header checksum.
    pub checksum: [u8; 2],
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
}

/// The IPv4 header once more, in the words that its checksum adds up.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv4Words {
    /// Version, header length, DSCP and ECN, total length.
    first: [u8; 4],
    /// Identification and fragment.
    second: [u8; 4],
    /// Hops left, protocol and checksum.
    third: [u8; 4],
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
}

impl Ipv4Words {
    /// Octets of header and payload.
    #[inline(always)]
    #[must_use]
    pub const fn total_length(&self) -> u16 {
        let [_, _, high, low] = self.first;
        u16::from_be_bytes([high, low])
    }

    /// The sum of the whole header, its checksum included.
    #[inline(always)]
    #[must_use]
    pub const fn sum(&self) -> Sum {
        Sum::ZERO.add4(self.first).add4(self.second).add4(self.third).add4(self.source).add4(self.destination)
    }
}

/// IPv6 header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv6Header {
    /// Version, traffic class, flow label.
    pub version_class_flow: U32,
    /// Octets after this header.
    pub payload_length: U16,
    /// Type of what follows.
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
}

/// IPv4 header without options, and UDP header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv4UdpHeader {
    /// IPv4 header.
    pub ip: Ipv4Header,
    /// UDP header.
    pub udp: UdpHeader,
}

/// IPv6 header and UDP header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv6UdpHeader {
    /// IPv6 header.
    pub ip: Ipv6Header,
    /// UDP header.
    pub udp: UdpHeader,
}

/// UDP header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct UdpHeader {
    /// Source port.
    pub source: U16,
    /// Destination port.
    pub destination: U16,
    /// Octets of header and payload.
    pub length: U16,
    /// Checksum, 0 = none (IPv4 only).
    pub checksum: [u8; 2],
}

/// An IP address of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// IPv4.
    V4([u8; 4]),
    /// IPv6.
    V6([u8; 16]),
}

/// Address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Ethernet II header length.
pub const ETHERNET_LENGTH: usize = 14;
/// VLAN tag length.
pub const VLAN_LENGTH: usize = 4;
/// Length of an IPv4 header without options.
pub const IPV4_LENGTH: usize = 20;
/// IPv6 header length.
pub const IPV6_LENGTH: usize = 40;
/// UDP header length.
pub const UDP_LENGTH: usize = 8;

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// EtherType of an IEEE 802.1Q tag.
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// EtherType of an IEEE 802.1ad service tag.
pub const ETHERTYPE_QINQ: u16 = 0x88a8;

/// IP protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;

/// IKE (`RFC 7296 §2`).
pub const PORT_IKE: u16 = 500;
/// IKE behind the non-ESP marker, and UDP-encapsulated ESP (`RFC 3948 §2.2`).
pub const PORT_NAT_T: u16 = 4500;

/// Hop limit of replies.
pub const REPLY_TTL: u8 = 64;
/// "Don't fragment" in [`Ipv4Header::fragment`].
pub const IPV4_DF: u16 = 0x4000;
/// Everything in [`Ipv4Header::fragment`] that marks a fragment: MF and the offset.
pub const IPV4_FRAGMENT_MASK: u16 = 0x3fff;
