//! Packet to verdict: is this a request that the fast path may answer?
//!
//! Checks run in order of cost. Whatever is not certainly a well-formed IKE_SA_INIT request to a
//! VIP, from a client that follows redirects, passes to the stack, with the reason that was met
//! first.
//!
//! # References
//!
//! `RFC 7296 §2.5`, `§3.1`, `§3.2`; `RFC 5685 §3`, `§9`; `RFC 3948 §2.2`, `§2.3`.

use crate::checksum::Sum;
use crate::ike::{
    CRITICAL, EXCHANGE_IKE_SA_INIT, EXCHANGE_IKE_SESSION_RESUME, FLAG_INITIATOR, FLAG_RESPONSE, IDENTITY_IPV4,
    IDENTITY_IPV6, IKE_LENGTH, IdentityHeader, IkeHeader, MARKER_LENGTH, MAX_MESSAGE, MAX_NONCE, MAX_PAYLOADS,
    MIN_KE, MIN_NONCE, MIN_SA, NOTIFY_COOKIE, NOTIFY_LENGTH, NOTIFY_REDIRECT_SUPPORTED, NOTIFY_REDIRECTED_FROM,
    NotifyHeader, PAYLOAD_KE, PAYLOAD_LENGTH, PAYLOAD_NONCE, PAYLOAD_NONE, PAYLOAD_NOTIFY, PAYLOAD_PUZZLE,
    PAYLOAD_SA, PAYLOAD_VENDOR, PayloadHeader,
};
use crate::inet::{
    ETHERNET_LENGTH, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN, EthernetHeader, Family,
    IPV4_FRAGMENT_MASK, IPV4_LENGTH, IPV6_LENGTH, Ipv4Header, Ipv6Header, PORT_IKE, PORT_NAT_T, PROTOCOL_UDP,
    UDP_LENGTH, UdpHeader, VLAN_LENGTH, VlanTag,
};
use crate::maps::{Control, MAX_CLIENTS, MAX_VIPS, Tables};
use crate::packet::PacketRead;
use crate::reason::Reason;

/// A request that may be answered: where its parts lie in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Address family.
    pub family: Family,
    /// Start of the IP header.
    pub ip_at: usize,
    /// Start of the UDP header.
    pub udp_at: usize,
    /// Start of the IKE header.
    pub ike_at: usize,
    /// Octets of IKE message.
    pub ike_length: usize,
    /// Start of the nonce data.
    pub nonce_at: usize,
    /// Octets of nonce data, [`MIN_NONCE`]..=[`MAX_NONCE`].
    pub nonce_length: usize,
    /// Initiator's SPI, its first octet lowest.
    pub spi_i: u64,
}

/// Looks at a frame.
///
/// # Errors
///
/// The one reason why the frame is left alone.
#[inline(always)]
pub fn classify<P, T>(packet: &P, tables: &T, control: &Control) -> Result<Request, Reason>
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    let ethernet = packet.load::<EthernetHeader>(0).ok_or(Reason::TruncatedFrame)?;
    let mut ip_at = ETHERNET_LENGTH;
    let mut ethertype = ethernet.ethertype.get();
    if is_vlan(ethertype) {
        ethertype = packet.load::<VlanTag>(ip_at).ok_or(Reason::TruncatedFrame)?.ethertype.get();
        ip_at += VLAN_LENGTH;
        if is_vlan(ethertype) {
            ethertype = packet.load::<VlanTag>(ip_at).ok_or(Reason::TruncatedFrame)?.ethertype.get();
            ip_at += VLAN_LENGTH;
            if is_vlan(ethertype) {
                return Err(Reason::VlanDepth);
            }
        }
    }
    let outer = match ethertype {
        ETHERTYPE_IPV4 => ipv4(packet, tables, control, &ethernet, ip_at)?,
        ETHERTYPE_IPV6 => ipv6(packet, tables, control, &ethernet, ip_at)?,
        _ => return Err(Reason::NotIp),
    };
    // The ways to get here differ in constants that the verifier would follow through everything
    // below, once for each way. An unknown zero makes them one.
    let zero = control.zero as usize;
    let outer = Outer {
        is_ipv6: P::octet(outer.is_ipv6 + zero),
        ip_at: P::bound(outer.ip_at + zero),
        udp_at: P::bound(outer.udp_at + zero),
        ike_at: P::bound(outer.ike_at + zero),
        end: P::bound(outer.end + zero),
    };
    message(packet, tables, control, &outer)
}

/// The headers round the IKE message.
struct Outer {
    /// 0 or 1.
    is_ipv6: usize,
    ip_at: usize,
    udp_at: usize,
    ike_at: usize,
    /// First octet after the UDP payload.
    end: usize,
}

#[inline(always)]
fn ipv4<P, T>(
    packet: &P,
    tables: &T,
    control: &Control,
    ethernet: &EthernetHeader,
    ip_at: usize,
) -> Result<Outer, Reason>
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    let ip = packet.load::<Ipv4Header>(ip_at).ok_or(Reason::TruncatedFrame)?;
    if ip.protocol != PROTOCOL_UDP {
        return Err(Reason::NotUdp);
    }
    if ip.version_ihl != 0x45 {
        return Err(if ip.version_ihl > 0x45 && ip.version_ihl < 0x50 {
            Reason::Ipv4Options
        } else {
            Reason::Ipv4Length
        });
    }
    if ip.fragment.get() & IPV4_FRAGMENT_MASK != 0 {
        return Err(Reason::Ipv4Fragment);
    }
    let udp_at = ip_at + IPV4_LENGTH;
    let udp = packet.load::<UdpHeader>(udp_at).ok_or(Reason::TruncatedFrame)?;
    is_ike_port(&udp)?;
    if !is_vip4(tables, control, ip.destination) {
        return Err(Reason::NotVip);
    }
    admit(control, ethernet, &udp)?;

    let total = usize::from(ip.total_length.get());
    let end = ip_at + total;
    if total < IPV4_LENGTH + UDP_LENGTH || end > packet.len() {
        return Err(Reason::Ipv4Length);
    }
    if !header_sum(&ip).is_valid() {
        return Err(Reason::Ipv4Checksum);
    }
    let [first, ..] = ip.source;
    // RFC 1122 §3.2.1.3: "this network", loopback, multicast and broadcast are no source.
    if first == 0 || first == 127 || first >= 224 || ip.source == ip.destination {
        return Err(Reason::BadSource);
    }
    if control.clients != 0 {
        let [a, b, c, d] = ip.source;
        accept(tables, control, 4, [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
    }
    if usize::from(udp.length.get()) != total - IPV4_LENGTH {
        return Err(Reason::UdpLength);
    }
    let ike_at = behind_marker(packet, &udp, udp_at + UDP_LENGTH, end)?;
    Ok(Outer { is_ipv6: 0, ip_at, udp_at, ike_at, end })
}

#[inline(always)]
fn ipv6<P, T>(
    packet: &P,
    tables: &T,
    control: &Control,
    ethernet: &EthernetHeader,
    ip_at: usize,
) -> Result<Outer, Reason>
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    let ip = packet.load::<Ipv6Header>(ip_at).ok_or(Reason::TruncatedFrame)?;
    if ip.version_class_flow.get() >> 28 != 6 {
        return Err(Reason::Ipv6Length);
    }
    if ip.next_header != PROTOCOL_UDP {
        return Err(if is_extension(ip.next_header) { Reason::Ipv6Extension } else { Reason::NotUdp });
    }
    let udp_at = ip_at + IPV6_LENGTH;
    let udp = packet.load::<UdpHeader>(udp_at).ok_or(Reason::TruncatedFrame)?;
    is_ike_port(&udp)?;
    if !is_vip6(tables, control, ip.destination) {
        return Err(Reason::NotVip);
    }
    admit(control, ethernet, &udp)?;

    let payload = usize::from(ip.payload_length.get());
    let end = udp_at + payload;
    if payload < UDP_LENGTH || end > packet.len() {
        return Err(Reason::Ipv6Length);
    }
    if is_bad_source6(ip.source) || ip.source == ip.destination {
        return Err(Reason::BadSource);
    }
    if control.clients != 0 {
        accept(tables, control, 6, ip.source)?;
    }
    if usize::from(udp.length.get()) != payload {
        return Err(Reason::UdpLength);
    }
    // RFC 8200 §8.1: unlike IPv4, the UDP checksum is not optional.
    if udp.checksum == [0, 0] {
        return Err(Reason::UdpChecksum);
    }
    let ike_at = behind_marker(packet, &udp, udp_at + UDP_LENGTH, end)?;
    Ok(Outer { is_ipv6: 1, ip_at, udp_at, ike_at, end })
}

#[inline(always)]
fn is_ike_port(udp: &UdpHeader) -> Result<(), Reason> {
    match udp.destination.get() {
        PORT_IKE | PORT_NAT_T => Ok(()),
        _ => Err(Reason::NotIkePort),
    }
}

/// What has to hold before any further octet is worth looking at.
#[inline(always)]
fn admit(control: &Control, ethernet: &EthernetHeader, udp: &UdpHeader) -> Result<(), Reason> {
    if control.armed == 0 {
        return Err(Reason::Disarmed);
    }
    let [destination, ..] = ethernet.destination;
    let [source, ..] = ethernet.source;
    if (destination | source) & 1 != 0 {
        return Err(Reason::NotUnicast);
    }
    if udp.source.get() == 0 {
        return Err(Reason::BadSource);
    }
    Ok(())
}

/// Where the IKE message starts. Also bounds the frame: behind this every offset is below
/// [`crate::packet::MAX_FRAME`].
#[inline(always)]
fn behind_marker<P>(packet: &P, udp: &UdpHeader, payload_at: usize, end: usize) -> Result<usize, Reason>
where
    P: PacketRead + ?Sized,
{
    let mut ike_at = payload_at;
    if udp.destination.get() == PORT_NAT_T {
        // RFC 3948 §2.2: four zero octets where ESP has its SPI; §2.3: one octet 0xff keeps a
        // NAT mapping alive.
        match packet.load::<[u8; MARKER_LENGTH]>(payload_at).map(|marker| marker.0) {
            Some([0, 0, 0, 0]) if payload_at + MARKER_LENGTH <= end => {}
            Some(_) | None if end - payload_at == 1 => return Err(Reason::NatKeepalive),
            Some(_) | None => return Err(Reason::Esp),
        }
        ike_at += MARKER_LENGTH;
    }
    if ike_at + IKE_LENGTH > end {
        return Err(Reason::IkeLength);
    }
    if end > ike_at + MAX_MESSAGE {
        return Err(Reason::IkeTooLong);
    }
    Ok(ike_at)
}

#[inline(always)]
fn message<P, T>(packet: &P, tables: &T, control: &Control, outer: &Outer) -> Result<Request, Reason>
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    let Outer { is_ipv6, ip_at, udp_at, ike_at, end } = *outer;
    let header = packet.load::<IkeHeader>(ike_at).ok_or(Reason::IkeLength)?;
    let ike_length = end.wrapping_sub(ike_at);
    if header.version >> 4 != 2 {
        return Err(Reason::IkeVersion);
    }
    if header.flags & FLAG_RESPONSE != 0 {
        return Err(Reason::IkeResponse);
    }
    if header.exchange != EXCHANGE_IKE_SA_INIT {
        return Err(match header.exchange {
            EXCHANGE_IKE_SESSION_RESUME => Reason::SessionResume,
            _ => Reason::OtherExchange,
        });
    }
    if header.flags & FLAG_INITIATOR == 0 {
        return Err(Reason::NotInitiator);
    }
    if header.spi_i == [0; 8] {
        return Err(Reason::SpiInitiatorZero);
    }
    if header.spi_r != [0; 8] {
        return Err(Reason::SpiResponderSet);
    }
    if header.message_id.get() != 0 {
        return Err(Reason::MessageId);
    }
    // Compared as 64-bit numbers: the length field is the peer's.
    if u64::from(header.length.get()) != ike_length as u64 {
        return Err(Reason::IkeLength);
    }

    let chain = walk(packet, control, ike_at + IKE_LENGTH, end, header.next_payload)?;
    if chain.seen & SEEN_FROM != 0 && is_loop(packet, tables, control, chain.redirected_from_at) {
        return Err(Reason::RedirectLoop);
    }
    Ok(Request {
        family: if is_ipv6 == 0 { Family::V4 } else { Family::V6 },
        ip_at,
        udp_at,
        ike_at,
        ike_length,
        nonce_at: chain.nonce_at,
        nonce_length: chain.nonce_length,
        spi_i: u64::from_le_bytes(header.spi_i),
    })
}

/// What the payload chain holds.
struct Chain {
    seen: u64,
    nonce_at: usize,
    nonce_length: usize,
    /// Start of REDIRECTED_FROM's identity header, if it was seen.
    redirected_from_at: usize,
}

/// Bits of [`Chain::seen`]: payload types and the low six bits of notify types, which do not
/// collide.
const SEEN_SA: u64 = 1 << PAYLOAD_SA;
const SEEN_KE: u64 = 1 << PAYLOAD_KE;
const SEEN_NONCE: u64 = 1 << PAYLOAD_NONCE;
const SEEN_SUPPORT: u64 = 1 << (NOTIFY_REDIRECT_SUPPORTED & 63);
const SEEN_FROM: u64 = 1 << (NOTIFY_REDIRECTED_FROM & 63);

/// Walks the payload chain from its first octet to its last. Order is free (`RFC 7296 §2.5`).
///
/// What was seen, and seen twice, is collected without branches and judged at the end: the
/// verifier then meets one state at each turn of the loop and not one for every order in which
/// payloads can come.
#[inline(always)]
fn walk<P>(packet: &P, control: &Control, first_at: usize, end: usize, first: u8) -> Result<Chain, Reason>
where
    P: PacketRead + ?Sized,
{
    let zero = control.zero;
    let unknown = P::octet(zero as usize);
    let mut at = first_at;
    let mut kind = first;
    let mut twice = u64::from(zero);
    let mut chain = Chain {
        seen: u64::from(zero),
        nonce_at: unknown,
        nonce_length: unknown,
        redirected_from_at: unknown,
    };

    for _ in 0..MAX_PAYLOADS {
        if kind == PAYLOAD_NONE {
            break;
        }
        at = P::bound(at);
        let header = packet.load::<PayloadHeader>(at).ok_or(Reason::ChainTruncated)?;
        let length = usize::from(header.length.get());
        if at + length > end || at + PAYLOAD_LENGTH > end {
            return Err(Reason::ChainTruncated);
        }
        if length < PAYLOAD_LENGTH {
            return Err(Reason::PayloadLength);
        }
        match kind {
            PAYLOAD_NOTIFY => {
                let bit = notify(packet, at, length, &mut chain.redirected_from_at)?;
                twice |= chain.seen & bit;
                chain.seen |= bit;
            }
            PAYLOAD_VENDOR => {}
            PAYLOAD_SA | PAYLOAD_KE | PAYLOAD_NONCE => {
                let bit = bit::<P>(u16::from(kind));
                twice |= chain.seen & bit;
                chain.seen |= bit;
                if kind == PAYLOAD_NONCE {
                    let nonce = length - PAYLOAD_LENGTH;
                    if !(MIN_NONCE..=MAX_NONCE).contains(&nonce) {
                        return Err(Reason::NonceLength);
                    }
                    chain.nonce_at = at + PAYLOAD_LENGTH;
                    chain.nonce_length = nonce;
                } else if kind == PAYLOAD_SA && length < MIN_SA {
                    return Err(Reason::SaShort);
                } else if length < MIN_KE {
                    return Err(Reason::KeShort);
                }
            }
            PAYLOAD_PUZZLE => return Err(Reason::Puzzle),
            PAYLOAD_SA..=PAYLOAD_PUZZLE => return Err(Reason::UnexpectedPayload),
            _ if header.critical & CRITICAL != 0 => return Err(Reason::CriticalPayload),
            _ => {}
        }
        kind = header.next_payload;
        at += length;
    }

    if kind != PAYLOAD_NONE {
        return Err(if at == end { Reason::ChainTruncated } else { Reason::TooManyPayloads });
    }
    if at != end {
        return Err(Reason::ChainTrailing);
    }
    judge(chain.seen, twice)?;
    Ok(chain)
}

/// What must be there, what must not be there twice.
#[inline(always)]
fn judge(seen: u64, twice: u64) -> Result<(), Reason> {
    const REQUIRED: u64 = SEEN_SA | SEEN_KE | SEEN_NONCE;
    if twice != 0 {
        return Err(if twice & SEEN_SA != 0 {
            Reason::SaDuplicate
        } else if twice & SEEN_KE != 0 {
            Reason::KeDuplicate
        } else if twice & SEEN_NONCE != 0 {
            Reason::NonceDuplicate
        } else {
            Reason::NotifyDuplicate
        });
    }
    if seen & REQUIRED != REQUIRED {
        return Err(if seen & SEEN_SA == 0 {
            Reason::SaMissing
        } else if seen & SEEN_KE == 0 {
            Reason::KeMissing
        } else {
            Reason::NonceMissing
        });
    }
    // RFC 5685 §3: REDIRECTED_FROM announces support as well.
    if seen & (SEEN_SUPPORT | SEEN_FROM) == 0 {
        return Err(Reason::NoRedirectSupport);
    }
    Ok(())
}

/// The bit of a type, computed from the packet's number and not from what a branch has learnt
/// about it.
#[inline(always)]
fn bit<P: PacketRead + ?Sized>(kind: u16) -> u64 {
    1 << (P::octet(usize::from(kind)) & 63)
}

/// Looks into a notify; returns its bit if it is one that counts.
#[inline(always)]
fn notify<P>(packet: &P, at: usize, length: usize, redirected_from_at: &mut usize) -> Result<u64, Reason>
where
    P: PacketRead + ?Sized,
{
    if length < NOTIFY_LENGTH {
        return Err(Reason::NotifyShort);
    }
    let notify = packet.load::<NotifyHeader>(at).ok_or(Reason::ChainTruncated)?;
    let kind = notify.kind.get();
    match kind {
        NOTIFY_REDIRECT_SUPPORTED => {
            if notify.protocol != 0 || notify.spi_size != 0 || length != NOTIFY_LENGTH {
                return Err(Reason::NotifyMalformed);
            }
            Ok(bit::<P>(kind))
        }
        NOTIFY_REDIRECTED_FROM => {
            if notify.protocol != 0 || notify.spi_size != 0 {
                return Err(Reason::NotifyMalformed);
            }
            let identity_at = at + NOTIFY_LENGTH;
            let identity = packet.load::<IdentityHeader>(identity_at).ok_or(Reason::NotifyMalformed)?;
            // RFC 5685 §9.3: an IPv4 or an IPv6 address and nothing after it.
            match (identity.kind, identity.length, length - NOTIFY_LENGTH) {
                (IDENTITY_IPV4, 4, 6) | (IDENTITY_IPV6, 16, 18) => {}
                _ => return Err(Reason::NotifyMalformed),
            }
            *redirected_from_at = identity_at;
            Ok(bit::<P>(kind))
        }
        NOTIFY_COOKIE => Err(Reason::Cookie),
        _ => Ok(0),
    }
}

/// Whether the client was sent here by one of our own VIPs.
#[inline(always)]
fn is_loop<P, T>(packet: &P, tables: &T, control: &Control, identity_at: usize) -> bool
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    let identity_at = P::bound(identity_at);
    let address_at = identity_at + size_of::<IdentityHeader>();
    match packet.load::<IdentityHeader>(identity_at).map(|identity| identity.0) {
        Some(IdentityHeader { kind: IDENTITY_IPV4, .. }) => {
            packet.load(address_at).is_some_and(|address| is_vip4(tables, control, address.0))
        }
        Some(IdentityHeader { kind: IDENTITY_IPV6, .. }) => {
            packet.load(address_at).is_some_and(|address| is_vip6(tables, control, address.0))
        }
        Some(_) | None => false,
    }
}

#[inline(always)]
fn is_vip4<T: Tables>(tables: &T, control: &Control, address: [u8; 4]) -> bool {
    for index in 0..MAX_VIPS as u32 {
        if index >= control.vips {
            return false;
        }
        let Some(vip) = tables.vip(index) else { return false };
        let [a, b, c, d, ..] = vip.address;
        if vip.family == 4 && [a, b, c, d] == address {
            return true;
        }
    }
    false
}

#[inline(always)]
fn is_vip6<T: Tables>(tables: &T, control: &Control, address: [u8; 16]) -> bool {
    for index in 0..MAX_VIPS as u32 {
        if index >= control.vips {
            return false;
        }
        let Some(vip) = tables.vip(index) else { return false };
        if vip.family == 6 && vip.address == address {
            return true;
        }
    }
    false
}

#[inline(always)]
fn accept<T: Tables>(tables: &T, control: &Control, family: u32, source: [u8; 16]) -> Result<(), Reason> {
    let source = u128::from_ne_bytes(source);
    for index in 0..MAX_CLIENTS as u32 {
        if index >= control.clients {
            break;
        }
        let Some(prefix) = tables.client(index) else { break };
        let masked = source & u128::from_ne_bytes(prefix.mask);
        if prefix.family == family && masked == u128::from_ne_bytes(prefix.address) {
            return Ok(());
        }
    }
    Err(Reason::ClientNotAccepted)
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

#[inline(always)]
fn header_sum(ip: &Ipv4Header) -> Sum {
    let total = ip.total_length.get().to_be_bytes();
    let identification = ip.identification.get().to_be_bytes();
    let fragment = ip.fragment.get().to_be_bytes();
    Sum::ZERO
        .add2([ip.version_ihl, ip.tos])
        .add2(total)
        .add2(identification)
        .add2(fragment)
        .add2([ip.ttl, ip.protocol])
        .add2(ip.checksum)
        .add4(ip.source)
        .add4(ip.destination)
}
