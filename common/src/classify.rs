//! Packet to verdict: is this a request that the fast path may answer?
//!
//! Checks run in order of cost. Whatever is not certainly a well-formed IKE_SA_INIT request to a
//! VIP, from a client that follows redirects, passes to the stack, with the reason that was met
//! first.
//!
//! # References
//!
//! `RFC 7296 §2.5`, `§3.1`, `§3.2`; `RFC 5685 §3`, `§9`; `RFC 3948 §2.2`, `§2.3`.

use core::mem::offset_of;

use zerocopy::network_endian::U16;

use crate::chain::{payload_length, walk};
use crate::ike::{
    EXCHANGE_IKE_SA_INIT, EXCHANGE_IKE_SESSION_RESUME, FLAG_INITIATOR, FLAG_RESPONSE, IDENTITY_IPV4,
    IDENTITY_IPV6, IKE_LENGTH, IdentityHeader, IkeHeader, IkeWords, MARKER_LENGTH, MAX_MESSAGE,
    PAYLOAD_LENGTH,
};
use crate::inet::{
    ETHERNET_LENGTH, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN, EthernetHeader, Family,
    IPV4_FRAGMENT_MASK, IPV4_LENGTH, IPV6_LENGTH, Ipv4Header, Ipv4Words, Ipv6Header, PORT_IKE, PORT_NAT_T,
    PROTOCOL_UDP, UDP_LENGTH, UdpHeader, VLAN_LENGTH, VlanTag,
};
use crate::lists::{accept, is_vip4, is_vip6};
use crate::maps::{Control, Tables};
use crate::packet::PacketRead;
use crate::reason::Reason;

/// A request that may be answered: where its parts lie in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What lies before the IKE message.
    pub shape: Shape,
    /// Start of the IKE header.
    pub ike_at: usize,
    /// Octets of IKE message.
    pub ike_length: usize,
    /// Start of the nonce data.
    pub nonce_at: usize,
    /// Octets of nonce data, [`MIN_NONCE`](crate::ike::MIN_NONCE)..=[`MAX_NONCE`](crate::ike::MAX_NONCE).
    pub nonce_length: usize,
    /// Initiator's SPI, its first octet lowest.
    pub spi_i: u64,
}

/// What lies before an IKE message: IPv4 or IPv6, with or without the non-ESP marker.
///
/// One small number, which lives through the walk more cheaply than the offsets that follow
/// from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape(usize);

impl Shape {
    const IPV6: usize = 1;

    #[inline(always)]
    const fn new(family: Family, marker_length: usize) -> Self {
        // The marker's length has no bit in common with the flag.
        Self(match family {
            Family::V4 => marker_length,
            Family::V6 => marker_length | Self::IPV6,
        })
    }

    /// Address family.
    #[inline(always)]
    #[must_use]
    pub const fn family(self) -> Family {
        if self.0 & Self::IPV6 == 0 { Family::V4 } else { Family::V6 }
    }

    /// Octets of UDP header and marker.
    #[inline(always)]
    #[must_use]
    pub const fn before_ike(self) -> usize {
        UDP_LENGTH + (self.0 & MARKER_LENGTH)
    }
}

/// Looks at a frame. Returns the request and the control word that it was judged by.
///
/// # Errors
///
/// The one reason why the frame is left alone.
#[inline(always)]
pub fn classify<'t, P, T>(packet: &P, tables: &'t T) -> Result<(Request, &'t Control), Reason>
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    let (control, outer) = datagram_to(packet, tables)?;
    Ok((message(packet, tables, control, &outer)?, control))
}

/// Finds the IKE message in a frame to one of the tables' addresses.
///
/// # Errors
///
/// The one reason why there is none.
#[inline(always)]
pub(crate) fn datagram_to<'t, P, T>(packet: &P, tables: &'t T) -> Result<(&'t Control, Outer), Reason>
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    let ethernet = packet.load::<EthernetHeader>(0).ok_or_else(|| P::refuse(Reason::TruncatedFrame))?;
    let mut ip_at = ETHERNET_LENGTH;
    let mut ethertype = ethernet.ethertype.get();
    if is_vlan(ethertype) {
        ethertype = vlan(packet, ip_at)?;
        ip_at += VLAN_LENGTH;
        if is_vlan(ethertype) {
            ethertype = vlan(packet, ip_at)?;
            ip_at += VLAN_LENGTH;
            if is_vlan(ethertype) {
                return Err(P::refuse(Reason::VlanDepth));
            }
        }
    }
    let (control, outer) = match ethertype {
        ETHERTYPE_IPV4 => ipv4(packet, tables, ip_at)?,
        ETHERTYPE_IPV6 => ipv6(packet, tables, ip_at)?,
        _ => return Err(P::refuse(Reason::NotIp)),
    };
    // The ways to get here differ in constants that the verifier would follow through everything
    // below, once for each way. An unknown zero makes them one.
    let zero = control.zero();
    let outer = Outer {
        shape: Shape(P::octet(outer.shape.0 + zero)),
        ike_at: P::bound(outer.ike_at + zero),
        ike_length: outer.ike_length,
    };
    Ok((control, outer))
}

/// The headers round the IKE message.
pub(crate) struct Outer {
    pub(crate) shape: Shape,
    pub(crate) ike_at: usize,
    pub(crate) ike_length: usize,
}

/// The EtherType behind a VLAN tag.
#[inline(always)]
fn vlan<P>(packet: &P, at: usize) -> Result<u16, Reason>
where
    P: PacketRead + ?Sized,
{
    let tag = packet.load::<VlanTag>(at).ok_or_else(|| P::refuse(Reason::TruncatedFrame))?;
    Ok(tag.ethertype.get())
}

/// Headers are loaded again behind the look-up of the VIP: what is not needed before it does not
/// have to be kept over it.
#[inline(always)]
fn ipv4<'t, P, T>(packet: &P, tables: &'t T, ip_at: usize) -> Result<(&'t Control, Outer), Reason>
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    let ip = packet.load::<Ipv4Header>(ip_at).ok_or_else(|| P::refuse(Reason::TruncatedFrame))?;
    if ip.protocol != PROTOCOL_UDP {
        return Err(P::refuse(Reason::NotUdp));
    }
    if ip.version_ihl != 0x45 {
        return Err(P::refuse(if ip.version_ihl > 0x45 && ip.version_ihl < 0x50 {
            Reason::Ipv4Options
        } else {
            Reason::Ipv4Length
        }));
    }
    if ip.fragment.get() & IPV4_FRAGMENT_MASK != 0 {
        return Err(P::refuse(Reason::Ipv4Fragment));
    }
    let udp_at = ip_at + IPV4_LENGTH;
    is_ike_port(packet, udp_at)?;
    let control = tables.control().ok_or_else(|| P::refuse(Reason::Disarmed))?;
    if !is_vip4::<P, T>(tables, control, ip.destination) {
        return Err(P::refuse(Reason::NotVip));
    }
    admit(packet, control)?;

    let ip = packet.load::<Ipv4Words>(ip_at).ok_or_else(|| P::refuse(Reason::TruncatedFrame))?;
    let udp = Udp::load(packet, udp_at)?;
    let total = usize::from(ip.total_length());
    let end = ip_at + total;
    if total < IPV4_LENGTH + UDP_LENGTH || end > packet.len() {
        return Err(P::refuse(Reason::Ipv4Length));
    }
    if !ip.sum().is_valid() {
        return Err(P::refuse(Reason::Ipv4Checksum));
    }
    let [first, ..] = ip.source;
    // RFC 1122 §3.2.1.3: "this network", loopback, multicast and broadcast are no source.
    if first == 0 || first == 127 || first >= 224 || ip.source == ip.destination {
        return Err(P::refuse(Reason::BadSource));
    }
    if control.clients != 0 {
        let [a, b, c, d] = ip.source;
        accept::<P, T>(tables, control, 4, [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
    }
    if udp.length != total - IPV4_LENGTH {
        return Err(P::refuse(Reason::UdpLength));
    }
    Ok((control, datagram(packet, Family::V4, udp_at, end)?))
}

#[inline(always)]
fn ipv6<'t, P, T>(packet: &P, tables: &'t T, ip_at: usize) -> Result<(&'t Control, Outer), Reason>
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    let ip = packet.load::<Ipv6Header>(ip_at).ok_or_else(|| P::refuse(Reason::TruncatedFrame))?;
    if ip.version_class_flow.get() >> 28 != 6 {
        return Err(P::refuse(Reason::Ipv6Length));
    }
    if ip.next_header != PROTOCOL_UDP {
        let is_extension = is_extension(ip.next_header);
        return Err(P::refuse(if is_extension { Reason::Ipv6Extension } else { Reason::NotUdp }));
    }
    let udp_at = ip_at + IPV6_LENGTH;
    is_ike_port(packet, udp_at)?;
    let control = tables.control().ok_or_else(|| P::refuse(Reason::Disarmed))?;
    if !is_vip6::<P, T>(tables, control, ip.destination) {
        return Err(P::refuse(Reason::NotVip));
    }
    admit(packet, control)?;

    let ip = packet.load::<Ipv6Header>(ip_at).ok_or_else(|| P::refuse(Reason::TruncatedFrame))?;
    let udp = Udp::load(packet, udp_at)?;
    let payload = usize::from(ip.payload_length.get());
    let end = udp_at + payload;
    if payload < UDP_LENGTH || end > packet.len() {
        return Err(P::refuse(Reason::Ipv6Length));
    }
    if is_bad_source6(ip.source) || ip.source == ip.destination {
        return Err(P::refuse(Reason::BadSource));
    }
    if control.clients != 0 {
        accept::<P, T>(tables, control, 6, ip.source)?;
    }
    if udp.length != payload {
        return Err(P::refuse(Reason::UdpLength));
    }
    // RFC 8200 §8.1: unlike IPv4, the UDP checksum is not optional.
    if !udp.has_checksum {
        return Err(P::refuse(Reason::UdpChecksum));
    }
    Ok((control, datagram(packet, Family::V6, udp_at, end)?))
}

#[inline(always)]
fn is_ike_port<P>(packet: &P, udp_at: usize) -> Result<(), Reason>
where
    P: PacketRead + ?Sized,
{
    let port = packet.field::<UdpHeader, U16>(udp_at, offset_of!(UdpHeader, destination));
    match port.ok_or_else(|| P::refuse(Reason::TruncatedFrame))?.get() {
        PORT_IKE | PORT_NAT_T => Ok(()),
        _ => Err(P::refuse(Reason::NotIkePort)),
    }
}

/// What is asked of a UDP header behind its destination port.
struct Udp {
    length: usize,
    has_checksum: bool,
}

impl Udp {
    #[inline(always)]
    fn load<P>(packet: &P, at: usize) -> Result<Self, Reason>
    where
        P: PacketRead + ?Sized,
    {
        let word = |offset| {
            let word = packet.field::<UdpHeader, U16>(at, offset);
            word.ok_or_else(|| P::refuse(Reason::TruncatedFrame))
        };
        if word(offset_of!(UdpHeader, source))? == U16::ZERO {
            return Err(P::refuse(Reason::BadSource));
        }
        Ok(Self {
            length: usize::from(word(offset_of!(UdpHeader, length))?.get()),
            has_checksum: word(offset_of!(UdpHeader, checksum))? != U16::ZERO,
        })
    }
}

/// What has to hold before any further octet is worth looking at.
#[inline(always)]
fn admit<P>(packet: &P, control: &Control) -> Result<(), Reason>
where
    P: PacketRead + ?Sized,
{
    if control.armed == 0 {
        return Err(P::refuse(Reason::Disarmed));
    }
    let ethernet = packet.load::<EthernetHeader>(0).ok_or_else(|| P::refuse(Reason::TruncatedFrame))?;
    let [destination, ..] = ethernet.destination;
    let [source, ..] = ethernet.source;
    if (destination | source) & 1 != 0 {
        return Err(P::refuse(Reason::NotUnicast));
    }
    Ok(())
}

/// Where the IKE message starts, and that it is neither too short nor too long.
#[inline(always)]
fn datagram<P>(packet: &P, family: Family, udp_at: usize, end: usize) -> Result<Outer, Reason>
where
    P: PacketRead + ?Sized,
{
    let payload_at = udp_at + UDP_LENGTH;
    let mut marker_length = 0;
    let port = packet.field::<UdpHeader, U16>(udp_at, offset_of!(UdpHeader, destination));
    if port.ok_or_else(|| P::refuse(Reason::TruncatedFrame))?.get() == PORT_NAT_T {
        // RFC 3948 §2.2: four zero octets where ESP has its SPI; §2.3: one octet 0xff keeps a
        // NAT mapping alive.
        match packet.load::<[u8; MARKER_LENGTH]>(payload_at).map(|marker| marker.0) {
            Some([0, 0, 0, 0]) if payload_at + MARKER_LENGTH <= end => {}
            Some(_) | None if end - payload_at == 1 => return Err(P::refuse(Reason::NatKeepalive)),
            Some(_) | None => return Err(P::refuse(Reason::Esp)),
        }
        marker_length = MARKER_LENGTH;
    }
    let ike_at = payload_at + marker_length;
    let ike_length = end - ike_at;
    if !(IKE_LENGTH..=MAX_MESSAGE).contains(&ike_length) {
        let is_short = ike_length < IKE_LENGTH;
        return Err(P::refuse(if is_short { Reason::IkeLength } else { Reason::IkeTooLong }));
    }
    Ok(Outer { shape: Shape::new(family, marker_length), ike_at, ike_length })
}

#[inline(always)]
fn message<P, T>(packet: &P, tables: &T, control: &Control, outer: &Outer) -> Result<Request, Reason>
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    let Outer { shape, ike_at, ike_length } = *outer;
    let header = packet.load::<IkeWords>(ike_at).ok_or_else(|| P::refuse(Reason::IkeLength))?;
    // Compared as 64-bit numbers: the length field is the peer's.
    let is_length_right = u64::from(header.length.get()) == ike_length as u64;
    if !header.begins_ike_sa_init() || !is_length_right {
        return Err(P::refuse(refusal(packet, ike_at)));
    }

    let end = ike_at + ike_length;
    let chain = walk(packet, control, ike_at + IKE_LENGTH, end, header.next_payload())?;
    if chain.has_redirected_from && is_loop(packet, tables, control, chain.redirected_from_at) {
        return Err(P::refuse(Reason::RedirectLoop));
    }
    let nonce = payload_length(packet, chain.nonce_at).ok_or_else(|| P::refuse(Reason::NonceLength))?;
    Ok(Request {
        shape,
        ike_at,
        ike_length,
        nonce_at: chain.nonce_at + PAYLOAD_LENGTH,
        nonce_length: nonce - PAYLOAD_LENGTH,
        spi_i: u64::from_le_bytes(header.spi_i),
    })
}

/// What is wrong with an IKE header that does not begin an IKE_SA_INIT, or else its length.
#[inline(always)]
fn refusal<P>(packet: &P, ike_at: usize) -> Reason
where
    P: PacketRead + ?Sized,
{
    let Some(header) = packet.load::<IkeHeader>(ike_at) else {
        return Reason::IkeLength;
    };
    if header.version >> 4 != 2 {
        Reason::IkeVersion
    } else if header.flags & FLAG_RESPONSE != 0 {
        Reason::IkeResponse
    } else if header.exchange == EXCHANGE_IKE_SESSION_RESUME {
        Reason::SessionResume
    } else if header.exchange != EXCHANGE_IKE_SA_INIT {
        Reason::OtherExchange
    } else if header.flags & FLAG_INITIATOR == 0 {
        Reason::NotInitiator
    } else if header.spi_i == [0; 8] {
        Reason::SpiInitiatorZero
    } else if header.spi_r != [0; 8] {
        Reason::SpiResponderSet
    } else if header.message_id.get() != 0 {
        Reason::MessageId
    } else {
        Reason::IkeLength
    }
}

/// Whether the client was sent here by one of our own VIPs.
#[inline(always)]
fn is_loop<P, T>(packet: &P, tables: &T, control: &Control, identity_at: usize) -> bool
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    let address_at = identity_at + size_of::<IdentityHeader>();
    match packet.load::<IdentityHeader>(identity_at).map(|identity| identity.0) {
        Some(IdentityHeader { kind: IDENTITY_IPV4, .. }) => {
            packet.load(address_at).is_some_and(|address| is_vip4::<P, T>(tables, control, address.0))
        }
        Some(IdentityHeader { kind: IDENTITY_IPV6, .. }) => {
            packet.load(address_at).is_some_and(|address| is_vip6::<P, T>(tables, control, address.0))
        }
        Some(_) | None => false,
    }
}

#[inline(always)]
fn is_vlan(ethertype: u16) -> bool {
    ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ
}

/// Hop-by-hop, routing, fragment, ESP, AH, destination options, mobility, HIP, shim6.
#[inline(always)]
fn is_extension(next_header: u8) -> bool {
    matches!(next_header, 0 | 43 | 44 | 50 | 51 | 60 | 135 | 139 | 140)
}

/// Unspecified, loopback, IPv4-mapped and multicast addresses are no source (`RFC 4291 §2.5`).
#[inline(always)]
fn is_bad_source6(source: [u8; 16]) -> bool {
    let value = u128::from_be_bytes(source);
    value >> 120 == 0xff || value >> 32 == 0xffff || value <= 1
}
