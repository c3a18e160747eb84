//! The headers a datagram had on the wire, put back in front of it.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::Range;

use common::checksum::Sum;
use common::decide::{Verdict, decide};
use common::inet::{
    ETHERNET_LENGTH, ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader, IPV4_DF, IPV4_LENGTH, IPV6_LENGTH,
    Ipv4Header, Ipv6Header, PROTOCOL_UDP, REPLY_TTL, UDP_LENGTH, UdpHeader,
};
use common::maps::Tables;
use common::packet::PacketWrite as _;
use common::reason::Reason;
use zerocopy::network_endian::{U16, U32};

use crate::net::udp::HEADROOM;

/// The headers of datagrams to one address, for [`decide`] to read and rewrite.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    local: SocketAddr,
}

impl Wire {
    /// For datagrams to `local`.
    #[must_use]
    pub const fn new(local: SocketAddr) -> Self {
        Self { local }
    }

    /// Decides about a datagram that follows [`HEADROOM`] octets of room in `octets`. After a
    /// redirect the reply stands at [`Self::reply`]; otherwise the datagram is unchanged.
    pub fn decide<T: Tables>(&self, peer: SocketAddr, octets: &mut [u8], tables: &T) -> Verdict {
        let Some(frame) = octets.get_mut(HEADROOM - self.headers()..) else {
            return Verdict::Pass(Reason::TruncatedFrame);
        };
        let written = match (self.local, peer) {
            (SocketAddr::V4(local), SocketAddr::V4(peer)) => ipv4(frame, local, peer),
            (SocketAddr::V6(local), SocketAddr::V6(peer)) => ipv6(frame, local, peer),
            (SocketAddr::V4(_), SocketAddr::V6(_)) | (SocketAddr::V6(_), SocketAddr::V4(_)) => {
                return Verdict::Pass(Reason::BadSource);
            }
        };
        match written {
            Some(()) => decide(frame, tables),
            None => Verdict::Pass(Reason::TruncatedFrame),
        }
    }

    /// Where the UDP payload of a reply stands whose frame has `length` octets.
    #[must_use]
    pub const fn reply(&self, length: usize) -> Range<usize> {
        HEADROOM..HEADROOM - self.headers() + length
    }

    /// Octets in front of the datagram on the wire.
    const fn headers(&self) -> usize {
        ETHERNET_LENGTH + UDP_LENGTH + if self.local.is_ipv4() { IPV4_LENGTH } else { IPV6_LENGTH }
    }
}

const _: () = assert!(HEADROOM >= ETHERNET_LENGTH + IPV6_LENGTH + UDP_LENGTH);

fn ipv4(frame: &mut [u8], local: SocketAddrV4, peer: SocketAddrV4) -> Option<()> {
    let total_length = u16::try_from(frame.len().checked_sub(ETHERNET_LENGTH)?).ok()?;
    let (source, destination) = (peer.ip().octets(), local.ip().octets());
    let checksum = Sum::ZERO
        .add2([0x45, 0])
        .add_be16(total_length)
        .add_be16(IPV4_DF)
        .add2([REPLY_TTL, PROTOCOL_UDP])
        .add4(source)
        .add4(destination)
        .finish();
    frame.store(0, ethernet(ETHERTYPE_IPV4))?;
    frame.store(
        ETHERNET_LENGTH,
        Ipv4Header {
            version_ihl: 0x45,
            tos: 0,
            total_length: U16::new(total_length),
            identification: U16::ZERO,
            fragment: U16::new(IPV4_DF),
            ttl: REPLY_TTL,
            protocol: PROTOCOL_UDP,
            checksum,
            source,
            destination,
        },
    )?;
    udp(frame, ETHERNET_LENGTH + IPV4_LENGTH, peer.port(), local.port())
}

fn ipv6(frame: &mut [u8], local: SocketAddrV6, peer: SocketAddrV6) -> Option<()> {
    let udp_at = ETHERNET_LENGTH + IPV6_LENGTH;
    let payload_length = u16::try_from(frame.len().checked_sub(udp_at)?).ok()?;
    frame.store(0, ethernet(ETHERTYPE_IPV6))?;
    frame.store(
        ETHERNET_LENGTH,
        Ipv6Header {
            version_class_flow: U32::new(6 << 28),
            payload_length: U16::new(payload_length),
            next_header: PROTOCOL_UDP,
            hop_limit: REPLY_TTL,
            source: peer.ip().octets(),
            destination: local.ip().octets(),
        },
    )?;
    udp(frame, udp_at, peer.port(), local.port())
}

fn udp(frame: &mut [u8], at: usize, source: u16, destination: u16) -> Option<()> {
    let length = u16::try_from(frame.len().checked_sub(at)?).ok()?;
    frame.store(
        at,
        UdpHeader {
            source: U16::new(source),
            destination: U16::new(destination),
            length: U16::new(length),
            // Not zero, which would say that there is none. The kernel has verified the real one.
            checksum: [0xff, 0xff],
        },
    )
}

/// The link is not known to a socket. Two unicast addresses stand for it.
const fn ethernet(ethertype: u16) -> EthernetHeader {
    EthernetHeader {
        destination: [2, 0, 0, 0, 0, 1],
        source: [2, 0, 0, 0, 0, 2],
        ethertype: U16::new(ethertype),
    }
}
