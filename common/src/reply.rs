//! The request, turned in place into the REDIRECT reply.
//!
//! # Picture
//!
//! ```text
//! request │ Ethernet │ VLAN │ IP │ UDP │ marker │ IKE header │ payloads … Ni … │
//! reply   │ Ethernet │ VLAN │ IP │ UDP │ marker │ IKE header │ N(REDIRECT, identity, Ni) │
//! ```
//!
//! The nonce moves first, because the headers are written over the place it may come from.
//! VLAN tags and the marker stay where they are.
//!
//! # References
//!
//! `RFC 5685 §3`, `§9.2`; `RFC 7296 §3.1`, `§3.10`; `RFC 3948 §2.2`.

use core::mem::offset_of;

use zerocopy::network_endian::{U16, U32};

use crate::checksum::Sum;
use crate::classify::{Request, Shape};
use crate::ike::{
    EXCHANGE_IKE_SA_INIT, FLAG_RESPONSE, IDENTITY_FQDN, IDENTITY_IPV4, IDENTITY_IPV6, IKE_LENGTH,
    IdentityHeader, MAX_NONCE, NOTIFY_LENGTH, NOTIFY_REDIRECT, NotifyHeader, PAYLOAD_NONE, PAYLOAD_NOTIFY,
    PayloadHeader, REPLY_IDENTITY_AT, VERSION_2,
};
use crate::inet::{
    EthernetHeader, Family, IPV4_DF, IPV4_LENGTH, IPV6_LENGTH, Ipv4UdpHeader, Ipv6UdpHeader, PROTOCOL_UDP,
    REPLY_TTL, UdpHeader,
};
use crate::maps::{FQDN_FIELD, FQDN_PADDING, Gateway, Identity};
use crate::packet::{Aligned, PacketWrite};
use crate::reason::Reason;

/// Writes the reply over the request and returns the length of its frame. The caller cuts the
/// rest off.
///
/// # Errors
///
/// [`Reason::NoIdentity`] and [`Reason::ReplyNotShorter`] before anything is written;
/// [`Reason::RewriteFailed`] when the packet is shorter than [`Request`] says, which
/// `classify` has excluded.
#[inline(always)]
pub fn reply<P>(packet: &mut P, request: &Request, gateway: &Gateway) -> Result<usize, Reason>
where
    P: PacketWrite + ?Sized,
{
    // Written out for each identity, so that the two of a known length cost no more than they must.
    match gateway.identity(request.shape.family()).ok_or_else(|| P::refuse(Reason::NoIdentity))? {
        Identity::Ipv4 => message(packet, request, (IDENTITY_IPV4, 4), gateway.ipv4_sum, |packet, at| {
            packet.store(at, gateway.ipv4)
        }),
        Identity::Ipv6 => message(packet, request, (IDENTITY_IPV6, 16), gateway.ipv6_sum, |packet, at| {
            packet.store(at, in_registers(gateway.ipv6))
        }),
        Identity::Fqdn => {
            let length = P::octet(gateway.fqdn_length as usize);
            message(packet, request, (IDENTITY_FQDN, length), gateway.fqdn_sum, |packet, at| {
                store_name(packet, at, gateway, length)
            })
        }
    }
}

/// The whole reply, from its end to its beginning. `identity` is kind and length.
#[inline(always)]
fn message<P>(
    packet: &mut P,
    request: &Request,
    (kind, length): (u8, usize),
    fixed: u32,
    store_identity: impl Fn(&mut P, usize) -> Option<()>,
) -> Result<usize, Reason>
where
    P: PacketWrite + ?Sized,
{
    let message = REPLY_IDENTITY_AT + length + request.nonce_length;
    if message >= request.ike_length {
        return Err(P::refuse(Reason::ReplyNotShorter));
    }
    let identity_at = request.ike_at + REPLY_IDENTITY_AT;
    let mut write = || {
        let nonce = move_nonce(packet, request.nonce_at, identity_at + length, request.nonce_length)?;
        store_identity(packet, identity_at)?;
        let sum = Sum::partial(fixed).add8(request.spi_i.to_le_bytes());
        let sum = if length.is_multiple_of(2) { sum.add(nonce) } else { sum.add_odd(nonce) };
        head(packet, request.ike_at, kind, length, message)?;
        lower(packet, request.shape, request.ike_at, message, sum)
    };
    write().ok_or_else(|| P::refuse(Reason::RewriteFailed))?;
    Ok(request.ike_at + message)
}

/// What an answer that is one notify has between the initiator's SPI, which stays, and the notify's data.
#[derive(Clone, Copy, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::Unaligned)]
#[repr(C)]
pub(crate) struct Head {
    spi_r: [u8; 8],
    next_payload: u8,
    version: u8,
    exchange: u8,
    flags: u8,
    message_id: U32,
    length: U32,
    notify: NotifyHeader,
}

impl Head {
    /// Of an answer with this notify that has `message` octets in all.
    #[inline(always)]
    pub(crate) const fn new(kind: u16, message: usize) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "bounded by MAX_MESSAGE")]
        let (message_length, notify_length) = (message as u32, (message - IKE_LENGTH) as u16);
        Self {
            spi_r: [0; 8],
            next_payload: PAYLOAD_NOTIFY,
            version: VERSION_2,
            exchange: EXCHANGE_IKE_SA_INIT,
            flags: FLAG_RESPONSE,
            message_id: U32::ZERO,
            length: U32::new(message_length),
            notify: NotifyHeader {
                payload: PayloadHeader {
                    next_payload: PAYLOAD_NONE,
                    critical: 0,
                    length: U16::new(notify_length),
                },
                protocol: 0,
                spi_size: 0,
                kind: U16::new(kind),
            },
        }
    }
}

/// What a redirect has between the initiator's SPI and the identity.
#[derive(Clone, Copy, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::Unaligned)]
#[repr(C)]
struct RedirectHead {
    head: Head,
    identity: IdentityHeader,
}

const _: () = assert!(SPI_LENGTH + size_of::<Head>() == IKE_LENGTH + NOTIFY_LENGTH);
const _: () = assert!(SPI_LENGTH + size_of::<RedirectHead>() == REPLY_IDENTITY_AT);
/// Octets of an SPI of IKE.
pub(crate) const SPI_LENGTH: usize = 8;

#[inline(always)]
fn head<P>(packet: &mut P, ike_at: usize, kind: u8, length: usize, message: usize) -> Option<()>
where
    P: PacketWrite + ?Sized,
{
    #[expect(clippy::cast_possible_truncation, reason = "an identity has at most 255 octets")]
    let identity = IdentityHeader { kind, length: length as u8 };
    packet.store(ike_at + SPI_LENGTH, RedirectHead { head: Head::new(NOTIFY_REDIRECT, message), identity })
}

/// The headers below IKE: UDP, IP, Ethernet. `sum` is that of the message without its lengths: its own,
/// and that of its one payload.
#[inline(always)]
pub(crate) fn lower<P>(packet: &mut P, shape: Shape, ike_at: usize, message: usize, sum: Sum) -> Option<()>
where
    P: PacketWrite + ?Sized,
{
    // All lengths are below 4096: `classify` has bounded the message.
    #[expect(clippy::cast_possible_truncation, reason = "bounded by MAX_MESSAGE")]
    let (udp_length, notify_length) = ((shape.before_ike() + message) as u16, (message - IKE_LENGTH) as u16);
    // The message has its own length and the notify's; UDP's counts in its header and in the
    // pseudo header. Four times 4096 still fits. The pseudo header's protocol comes with them.
    let lengths = 2 * udp_length + 2 * notify_length + IKE_LENGTH_16 + PROTOCOL_UDP as u16;
    let sum = sum.add_be16(lengths);
    let udp_at = ike_at - shape.before_ike();
    match shape.family() {
        Family::V4 => {
            let ip_at = P::bound(udp_at - IPV4_LENGTH);
            let sum = ipv4(packet, ip_at, udp_length, sum)?;
            udp::<P, Ipv4UdpHeader>(packet, ip_at, IPV4_LENGTH, udp_length, sum)?;
        }
        Family::V6 => {
            let ip_at = P::bound(udp_at - IPV6_LENGTH);
            let sum = ipv6(packet, ip_at, udp_length, sum)?;
            udp::<P, Ipv6UdpHeader>(packet, ip_at, IPV6_LENGTH, udp_length, sum)?;
        }
    }
    swap_addresses(packet)
}

#[expect(clippy::cast_possible_truncation, reason = "28")]
const IKE_LENGTH_16: u16 = IKE_LENGTH as u16;
#[expect(clippy::cast_possible_truncation, reason = "20")]
const IPV4_LENGTH_16: u16 = IPV4_LENGTH as u16;

/// Exchanges the Ethernet addresses, in parts that fit registers: an array of six octets would be
/// copied octet by octet.
#[inline(always)]
pub fn swap_addresses<P>(packet: &mut P) -> Option<()>
where
    P: PacketWrite + ?Sized,
{
    const DESTINATION: usize = offset_of!(EthernetHeader, destination);
    const SOURCE: usize = offset_of!(EthernetHeader, source);
    let destination = packet.field::<EthernetHeader, [u8; 4]>(0, DESTINATION)?;
    let destination_rest = packet.field::<EthernetHeader, [u8; 2]>(0, DESTINATION + 4)?;
    let source = packet.field::<EthernetHeader, [u8; 4]>(0, SOURCE)?;
    let source_rest = packet.field::<EthernetHeader, [u8; 2]>(0, SOURCE + 4)?;
    packet.set_field::<EthernetHeader, _>(0, DESTINATION, source)?;
    packet.set_field::<EthernetHeader, _>(0, DESTINATION + 4, source_rest)?;
    packet.set_field::<EthernetHeader, _>(0, SOURCE, destination)?;
    packet.set_field::<EthernetHeader, _>(0, SOURCE + 4, destination_rest)
}

/// Rewrites the IPv4 header; returns `sum` with the addresses of the pseudo header.
#[inline(always)]
fn ipv4<P>(packet: &mut P, at: usize, udp_length: u16, sum: Sum) -> Option<Sum>
where
    P: PacketWrite + ?Sized,
{
    type Header = Ipv4UdpHeader;
    const SOURCE: usize = offset_of!(Ipv4UdpHeader, ip.source);
    const DESTINATION: usize = offset_of!(Ipv4UdpHeader, ip.destination);
    let source = packet.field::<Header, [u8; 4]>(at, SOURCE)?;
    let destination = packet.field::<Header, [u8; 4]>(at, DESTINATION)?;
    let addresses = Sum::ZERO.add4(source).add4(destination);
    let total_length = udp_length + IPV4_LENGTH_16;
    let checksum = addresses
        .add2([0x45, 0])
        .add_be16(total_length)
        .add_be16(IPV4_DF)
        .add2([REPLY_TTL, PROTOCOL_UDP])
        .finish();
    packet.set_field::<Header, _>(at, offset_of!(Header, ip.version_ihl), [0x45_u8, 0])?;
    packet.set_field::<Header, _>(at, offset_of!(Header, ip.total_length), U16::new(total_length))?;
    // RFC 6864 §4.1: an atomic datagram needs no identification.
    packet.set_field::<Header, _>(
        at,
        offset_of!(Header, ip.identification),
        [U16::ZERO, U16::new(IPV4_DF)],
    )?;
    packet.set_field::<Header, _>(at, offset_of!(Header, ip.ttl), [REPLY_TTL, PROTOCOL_UDP])?;
    packet.set_field::<Header, _>(at, offset_of!(Header, ip.checksum), checksum)?;
    packet.set_field::<Header, _>(at, SOURCE, destination)?;
    packet.set_field::<Header, _>(at, DESTINATION, source)?;
    Some(sum.add(addresses))
}

/// Rewrites the IPv6 header; returns `sum` with the addresses of the pseudo header.
#[inline(always)]
fn ipv6<P>(packet: &mut P, at: usize, udp_length: u16, sum: Sum) -> Option<Sum>
where
    P: PacketWrite + ?Sized,
{
    type Header = Ipv6UdpHeader;
    const SOURCE: usize = offset_of!(Ipv6UdpHeader, ip.source);
    const DESTINATION: usize = offset_of!(Ipv6UdpHeader, ip.destination);
    let source = packet.field::<Header, [[u8; 8]; 2]>(at, SOURCE)?;
    let destination = packet.field::<Header, [[u8; 8]; 2]>(at, DESTINATION)?;
    packet.set_field::<Header, _>(at, offset_of!(Header, ip.version_class_flow), U32::new(6 << 28))?;
    packet.set_field::<Header, _>(at, offset_of!(Header, ip.payload_length), U16::new(udp_length))?;
    packet.set_field::<Header, _>(at, offset_of!(Header, ip.next_header), [PROTOCOL_UDP, REPLY_TTL])?;
    packet.set_field::<Header, _>(at, SOURCE, destination)?;
    packet.set_field::<Header, _>(at, DESTINATION, source)?;
    let [a, b] = source;
    let [c, d] = destination;
    Some(sum.add8(a).add8(b).add8(c).add8(d))
}

/// Rewrites the UDP header behind an IP header of `ip_length` octets; `H` is both.
#[inline(always)]
fn udp<P, H>(packet: &mut P, ip_at: usize, ip_length: usize, length: u16, sum: Sum) -> Option<()>
where
    P: PacketWrite + ?Sized,
{
    let source_at = ip_length + offset_of!(UdpHeader, source);
    let destination_at = ip_length + offset_of!(UdpHeader, destination);
    let source = packet.field::<H, [u8; 2]>(ip_at, source_at)?;
    let destination = packet.field::<H, [u8; 2]>(ip_at, destination_at)?;
    let sum = sum.add2(source).add2(destination);
    packet.set_field::<H, _>(ip_at, source_at, destination)?;
    packet.set_field::<H, _>(ip_at, destination_at, source)?;
    packet.set_field::<H, _>(ip_at, ip_length + offset_of!(UdpHeader, length), U16::new(length))?;
    packet.set_field::<H, _>(ip_at, ip_length + offset_of!(UdpHeader, checksum), sum.finish_udp())
}

/// Octets moved at a time.
const CHUNK: usize = 8;
/// Octets moved per turn while there is enough.
const BLOCK: usize = 32;

/// Moves the nonce and returns its checksum as if it started at an even offset.
#[inline(always)]
fn move_nonce<P>(packet: &mut P, from: usize, to: usize, length: usize) -> Option<Sum>
where
    P: PacketWrite + ?Sized,
{
    if length == BLOCK {
        return move_block(packet, from, to);
    }
    // The last octets are read before anything is overwritten and written after everything
    // else, so no length needs a loop over single octets. Their chunk overlaps the one before.
    let mut sum = Sum::ZERO;
    let mut done = 0;
    if to <= from {
        let Aligned(last) = packet.load::<[u8; CHUNK]>(P::bound(from + length - CHUNK))?;
        for _ in 0..MAX_NONCE / BLOCK {
            if done + BLOCK > length {
                break;
            }
            sum = sum.add(move_block(packet, P::bound(from + done), P::bound(to + done))?);
            done += BLOCK;
        }
        for _ in 0..BLOCK / CHUNK {
            if done + CHUNK > length {
                break;
            }
            sum = sum.add(move_chunk(packet, P::bound(from + done), P::bound(to + done))?);
            done += CHUNK;
        }
        packet.store(P::bound(to + length - CHUNK), last)?;
        return Some(sum.add(tail_sum(last, length - done)));
    }
    // Downwards: whole chunks end where the nonce ends, and what is left over is at its start.
    // The sum still counts words from the start, so odd and even follow `length`.
    let Aligned(first) = packet.load::<[u8; CHUNK]>(from)?;
    let rest = length % CHUNK;
    let mut left = length;
    for _ in 0..MAX_NONCE / CHUNK {
        if left < CHUNK + rest {
            break;
        }
        left -= CHUNK;
        sum = sum.add(move_chunk(packet, P::bound(from + left), P::bound(to + left))?);
    }
    packet.store(to, first)?;
    let head = head_sum(first, rest);
    Some(if rest.is_multiple_of(2) { sum.add(head) } else { head.add_odd(sum) })
}

#[inline(always)]
fn move_block<P>(packet: &mut P, from: usize, to: usize) -> Option<Sum>
where
    P: PacketWrite + ?Sized,
{
    let Aligned(block) = packet.load::<[[u8; CHUNK]; BLOCK / CHUNK]>(from)?;
    packet.store(to, block)?;
    let [a, b, c, d] = block;
    Some(Sum::ZERO.add8(a).add8(b).add8(c).add8(d))
}

#[inline(always)]
fn move_chunk<P>(packet: &mut P, from: usize, to: usize) -> Option<Sum>
where
    P: PacketWrite + ?Sized,
{
    let Aligned(chunk) = packet.load::<[u8; CHUNK]>(from)?;
    packet.store(to, chunk)?;
    Some(Sum::ZERO.add8(chunk))
}

/// Sum of the last `rest` octets of `chunk`, which start at an even offset.
#[inline(always)]
fn tail_sum(chunk: [u8; CHUNK], rest: usize) -> Sum {
    if rest == 0 {
        return Sum::ZERO;
    }
    Sum::ZERO.add8((u64::from_le_bytes(chunk) >> (8 * (CHUNK - rest % CHUNK))).to_le_bytes())
}

/// Sum of the first `rest` octets of `chunk`.
#[inline(always)]
fn head_sum(chunk: [u8; CHUNK], rest: usize) -> Sum {
    if rest == 0 {
        return Sum::ZERO;
    }
    Sum::ZERO.add8(
        (u64::from_le_bytes(chunk) << (8 * (CHUNK - rest % CHUNK)) >> (8 * (CHUNK - rest % CHUNK)))
            .to_le_bytes(),
    )
}

/// Writes the name, from its end. The last chunk may begin up to seven octets before the name,
/// over headers that are written afterwards.
#[inline(always)]
fn store_name<P>(packet: &mut P, at: usize, gateway: &Gateway, length: usize) -> Option<()>
where
    P: PacketWrite + ?Sized,
{
    let mut left = length;
    for _ in 0..FQDN_FIELD / CHUNK {
        if left == 0 {
            break;
        }
        let chunk = name_chunk(&gateway.fqdn, P::octet(left))?;
        packet.store(P::bound(at + left - FQDN_PADDING), chunk)?;
        left = left.saturating_sub(CHUNK);
    }
    Some(())
}

/// The eight octets of the padded name that end with its octet number `left`.
#[inline(always)]
fn name_chunk(fqdn: &[u8; FQDN_FIELD], left: usize) -> Option<[u8; CHUNK]> {
    fqdn.get(left..)?.first_chunk().copied()
}

/// The same octets as two numbers: sixteen octets on their way from memory to memory would be moved
/// by a function, octet by octet.
#[inline(always)]
const fn in_registers(octets: [u8; 16]) -> [u64; 2] {
    let value = u128::from_le_bytes(octets);
    #[expect(clippy::cast_possible_truncation, reason = "takes the halves apart")]
    let (low, high) = (value as u64, (value >> 64) as u64);
    [low.to_le(), high.to_le()]
}
