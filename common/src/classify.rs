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
    CRITICAL, EXCHANGE_IKE_SA_INIT, EXCHANGE_IKE_SESSION_RESUME, FLAG_INITIATOR, FLAG_RESPONSE,
    IDENTITY_IPV4, IDENTITY_IPV6, IKE_LENGTH, IdentityHeader, IkeHeader, MARKER_LENGTH, MAX_MESSAGE,
    MAX_NONCE, MAX_PAYLOADS, MIN_KE, MIN_NONCE, MIN_SA, NOTIFY_COOKIE, NOTIFY_LENGTH,
    NOTIFY_REDIRECT_SUPPORTED, NOTIFY_REDIRECTED_FROM, PAYLOAD_KE, PAYLOAD_LENGTH, PAYLOAD_NONCE,
    PAYLOAD_NONE, PAYLOAD_NOTIFY, PAYLOAD_PUZZLE, PAYLOAD_SA, PAYLOAD_VENDOR,
};
use crate::inet::{
    ETHERNET_LENGTH, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN, EthernetHeader, Family,
    IPV4_FRAGMENT_MASK, IPV4_LENGTH, IPV6_LENGTH, Ipv4Header, Ipv6Header, PORT_IKE, PORT_NAT_T, PROTOCOL_UDP,
    UDP_LENGTH, UdpHeader, VLAN_LENGTH, VlanTag,
};
use crate::maps::{Control, MAX_CLIENTS, MAX_VIPS, Tables};
use crate::packet::{MAX_FRAME, PacketRead};
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
    if chain.has_redirected_from && is_loop(packet, tables, control, chain.redirected_from_at) {
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
    has_redirected_from: bool,
    nonce_at: usize,
    nonce_length: usize,
    /// Start of REDIRECTED_FROM's identity header, if there is one.
    redirected_from_at: usize,
}

/// How often each part was met: one number, six bits a part. Thirty-two payloads cannot overflow
/// a part.
const COUNT_BITS: u32 = 6;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const ONE_SA: u64 = 1;
const ONE_KE: u64 = ONE_SA << COUNT_BITS;
const ONE_NONCE: u64 = ONE_KE << COUNT_BITS;
const ONE_SUPPORT: u64 = ONE_NONCE << COUNT_BITS;
const ONE_FROM: u64 = ONE_SUPPORT << COUNT_BITS;

/// Walks the payload chain from its first octet to its last. Order is free (`RFC 7296 §2.5`).
///
/// This loop is most of what a redirect costs, and each turn waits for the length that the turn
/// before has loaded. So a turn loads once, and what can be judged after the walk is not judged
/// in it: how often each part was met, and whether the walk stayed inside the message. Every step
/// goes forward, so one that leaves the message never comes back to its end.
#[inline(always)]
fn walk<P>(packet: &P, control: &Control, first_at: usize, end: usize, first: u8) -> Result<Chain, Reason>
where
    P: PacketRead + ?Sized,
{
    // Counts start at a zero that the verifier does not know: it would follow every order in which
    // the parts can come, once each.
    let mut met = control.zero;
    let unknown = P::octet(control.zero as usize);
    let mut chain = Chain {
        has_redirected_from: false,
        nonce_at: unknown,
        nonce_length: unknown,
        redirected_from_at: unknown,
    };
    let mut at = first_at;
    let mut kind = first;

    for _ in 0..MAX_PAYLOADS {
        if kind == PAYLOAD_NONE {
            break;
        }
        at = P::bound(at);
        let word = start_of_payload(packet, at).ok_or(Reason::ChainTruncated)?;
        // A message is at most MAX_MESSAGE octets long, and MAX_FRAME is above that.
        let length = (word >> 32 & 0xffff) as usize;
        if !(PAYLOAD_LENGTH..MAX_FRAME).contains(&length) {
            let is_outside = at + PAYLOAD_LENGTH > end || length >= PAYLOAD_LENGTH;
            return Err(if is_outside { Reason::ChainTruncated } else { Reason::PayloadLength });
        }
        if kind == PAYLOAD_NOTIFY {
            met = met.wrapping_add(notify(packet, at, word, length, &mut chain.redirected_from_at)?);
        } else if kind == PAYLOAD_NONCE {
            met = met.wrapping_add(ONE_NONCE);
            let nonce = length - PAYLOAD_LENGTH;
            if !(MIN_NONCE..=MAX_NONCE).contains(&nonce) {
                return Err(Reason::NonceLength);
            }
            chain.nonce_at = at + PAYLOAD_LENGTH;
            chain.nonce_length = nonce;
        } else if kind == PAYLOAD_KE {
            met = met.wrapping_add(ONE_KE);
            if length < MIN_KE {
                return Err(Reason::KeShort);
            }
        } else if kind == PAYLOAD_SA {
            met = met.wrapping_add(ONE_SA);
            if length < MIN_SA {
                return Err(Reason::SaShort);
            }
        } else if kind != PAYLOAD_VENDOR {
            other(kind, word)?;
        }
        kind = (word >> 56) as u8;
        at += length;
    }

    if kind != PAYLOAD_NONE {
        return Err(if at < end { Reason::TooManyPayloads } else { Reason::ChainTruncated });
    }
    if at != end {
        return Err(if at < end { Reason::ChainTrailing } else { Reason::ChainTruncated });
    }
    chain.has_redirected_from = met & (ONE_FROM * COUNT_MASK) != 0;
    judge(met)?;
    Ok(chain)
}

/// The first eight octets of a payload as one big-endian number: next payload, critical bit,
/// length, and for a notify protocol, SPI size and type. Zeros follow a payload that ends the
/// packet earlier.
#[inline(always)]
fn start_of_payload<P>(packet: &P, at: usize) -> Option<u64>
where
    P: PacketRead + ?Sized,
{
    match packet.load::<[u8; 8]>(at) {
        Some(octets) => Some(u64::from_be_bytes(*octets)),
        None => packet.load::<[u8; 4]>(at).map(|octets| u64::from(u32::from_be_bytes(*octets)) << 32),
    }
}

/// A payload that is none of those an IKE_SA_INIT request is made of.
#[inline(always)]
fn other(kind: u8, word: u64) -> Result<(), Reason> {
    match kind {
        PAYLOAD_PUZZLE => Err(Reason::Puzzle),
        PAYLOAD_SA..=PAYLOAD_PUZZLE => Err(Reason::UnexpectedPayload),
        _ if word >> 48 & u64::from(CRITICAL) != 0 => Err(Reason::CriticalPayload),
        _ => Ok(()),
    }
}

/// What must be there once, and what must not be there twice.
#[inline(always)]
fn judge(met: u64) -> Result<(), Reason> {
    const REQUIRED: u64 = ONE_SA | ONE_KE | ONE_NONCE;
    const ONCE: u64 = REQUIRED | ONE_SUPPORT | ONE_FROM;
    const SUPPORT: u64 = REQUIRED | ONE_SUPPORT;
    // The two shapes that real requests have.
    if met == SUPPORT || met == REQUIRED | ONE_FROM {
        return Ok(());
    }
    if met & !ONCE != 0 {
        return Err(if met & (ONE_SA * COUNT_MASK) > ONE_SA {
            Reason::SaDuplicate
        } else if met & (ONE_KE * COUNT_MASK) > ONE_KE {
            Reason::KeDuplicate
        } else if met & (ONE_NONCE * COUNT_MASK) > ONE_NONCE {
            Reason::NonceDuplicate
        } else {
            Reason::NotifyDuplicate
        });
    }
    if met & REQUIRED != REQUIRED {
        return Err(if met & ONE_SA == 0 {
            Reason::SaMissing
        } else if met & ONE_KE == 0 {
            Reason::KeMissing
        } else {
            Reason::NonceMissing
        });
    }
    // RFC 5685 §3: REDIRECTED_FROM announces support as well.
    if met & (ONE_SUPPORT | ONE_FROM) == 0 {
        return Err(Reason::NoRedirectSupport);
    }
    Ok(())
}

/// Looks into a notify; returns what it adds to the counts. `word` is
/// [`start_of_payload`]'s.
#[inline(always)]
fn notify<P>(
    packet: &P,
    at: usize,
    word: u64,
    length: usize,
    redirected_from_at: &mut usize,
) -> Result<u64, Reason>
where
    P: PacketRead + ?Sized,
{
    if length < NOTIFY_LENGTH {
        return Err(Reason::NotifyShort);
    }
    let kind = (word & 0xffff) as u16;
    if kind == NOTIFY_REDIRECT_SUPPORTED {
        // No protocol, no SPI, no data.
        if word & 0xffff_ffff != u64::from(NOTIFY_REDIRECT_SUPPORTED) || length != NOTIFY_LENGTH {
            return Err(Reason::NotifyMalformed);
        }
        return Ok(ONE_SUPPORT);
    }
    if kind == NOTIFY_REDIRECTED_FROM {
        let identity_at = at + NOTIFY_LENGTH;
        let identity = packet.load::<IdentityHeader>(identity_at).ok_or(Reason::NotifyMalformed)?;
        // RFC 5685 §9.3: an IPv4 or an IPv6 address and nothing after it.
        let is_well_formed = matches!(
            (identity.kind, identity.length, length - NOTIFY_LENGTH),
            (IDENTITY_IPV4, 4, 6) | (IDENTITY_IPV6, 16, 18)
        );
        if !is_well_formed || word & 0xffff_ffff != u64::from(NOTIFY_REDIRECTED_FROM) {
            return Err(Reason::NotifyMalformed);
        }
        *redirected_from_at = identity_at;
        return Ok(ONE_FROM);
    }
    if kind == NOTIFY_COOKIE {
        return Err(Reason::Cookie);
    }
    Ok(0)
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
