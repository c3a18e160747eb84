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

use zerocopy::network_endian::{U16, U32};

use crate::checksum::Sum;
use crate::classify::Request;
use crate::ike::{
    EXCHANGE_IKE_SA_INIT, FLAG_RESPONSE, IDENTITY_FQDN, IDENTITY_IPV4, IDENTITY_IPV6, IKE_LENGTH,
    IdentityHeader, IkeHeader, MAX_NONCE, NOTIFY_REDIRECT, NotifyHeader, PAYLOAD_NONE, PAYLOAD_NOTIFY,
    PayloadHeader, REPLY_IDENTITY_AT, VERSION_2,
};
use crate::inet::{
    EthernetAddresses, Family, IPV4_DF, IPV4_LENGTH, IPV6_LENGTH, Ipv4Header, Ipv6Header, PROTOCOL_UDP,
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
    let identity = gateway.identity(request.shape.family()).ok_or_else(|| P::refuse(Reason::NoIdentity))?;
    let (kind, length, fixed) = match identity {
        Identity::Ipv4 => (IDENTITY_IPV4, 4, gateway.ipv4_sum),
        Identity::Ipv6 => (IDENTITY_IPV6, 16, gateway.ipv6_sum),
        Identity::Fqdn => (IDENTITY_FQDN, P::octet(gateway.fqdn_length as usize), gateway.fqdn_sum),
    };
    let message = REPLY_IDENTITY_AT + length + request.nonce_length;
    if message >= request.ike_length {
        return Err(P::refuse(Reason::ReplyNotShorter));
    }

    let identity_at = request.ike_at + REPLY_IDENTITY_AT;
    let nonce = move_nonce(packet, request.nonce_at, identity_at + length, request.nonce_length)
        .ok_or_else(|| P::refuse(Reason::RewriteFailed))?;
    match identity {
        Identity::Ipv4 => packet.store(identity_at, gateway.ipv4),
        Identity::Ipv6 => packet.store(identity_at, gateway.ipv6),
        Identity::Fqdn => store_name(packet, identity_at, gateway, length),
    }
    .ok_or_else(|| P::refuse(Reason::RewriteFailed))?;
    let sum = Sum::partial(fixed).add8(request.spi_i.to_le_bytes());
    let sum = if length % 2 == 0 { sum.add(nonce) } else { sum.add_odd(nonce) };
    headers(packet, request, kind, length, sum).ok_or_else(|| P::refuse(Reason::RewriteFailed))?;
    Ok(request.ike_at + message)
}

/// Everything but identity and nonce.
#[inline(always)]
fn headers<P>(packet: &mut P, request: &Request, kind: u8, length: usize, sum: Sum) -> Option<()>
where
    P: PacketWrite + ?Sized,
{
    // All lengths are below 4096: `classify` has bounded the message.
    #[expect(clippy::cast_possible_truncation, reason = "bounded by MAX_MESSAGE")]
    let notify_length = (REPLY_IDENTITY_AT - IKE_LENGTH + length + request.nonce_length) as u16;
    let message_length = notify_length + IKE_LENGTH as u16;
    #[expect(clippy::cast_possible_truncation, reason = "at most 12: UDP header and marker")]
    let before_ike = request.shape.before_ike() as u16;
    let udp_at = P::bound(request.ike_at - request.shape.before_ike());
    let udp_length = before_ike + message_length;
    let sum = sum.add_be16(message_length).add_be16(notify_length).add_be16(udp_length).add_be16(udp_length);

    packet.store(
        request.ike_at,
        Head {
            ike: IkeHeader {
                spi_i: request.spi_i.to_le_bytes(),
                spi_r: [0; 8],
                next_payload: PAYLOAD_NOTIFY,
                version: VERSION_2,
                exchange: EXCHANGE_IKE_SA_INIT,
                flags: FLAG_RESPONSE,
                message_id: U32::ZERO,
                length: U32::new(u32::from(message_length)),
            },
            notify: NotifyHeader {
                payload: PayloadHeader {
                    next_payload: PAYLOAD_NONE,
                    critical: 0,
                    length: U16::new(notify_length),
                },
                protocol: 0,
                spi_size: 0,
                kind: U16::new(NOTIFY_REDIRECT),
            },
            #[expect(clippy::cast_possible_truncation, reason = "an identity has at most 255 octets")]
            identity: IdentityHeader { kind, length: length as u8 },
        },
    )?;

    let udp = packet.load::<UdpHeader>(udp_at)?;
    // The pseudo header's protocol and both ports; their order does not matter.
    let sum = sum
        .add_be16(u16::from(PROTOCOL_UDP))
        .add2(udp.source.get().to_be_bytes())
        .add2(udp.destination.get().to_be_bytes());
    let sum = match request.shape.family() {
        Family::V4 => ipv4(packet, udp_at, udp_length, sum)?,
        Family::V6 => ipv6(packet, udp_at, udp_length, sum)?,
    };
    packet.store(
        udp_at,
        UdpHeader {
            source: udp.destination,
            destination: udp.source,
            length: U16::new(udp_length),
            checksum: sum.finish_udp(),
        },
    )?;

    let addresses = packet.load::<EthernetAddresses>(0)?;
    packet.store(0, addresses.swapped())
}

/// What a reply has between UDP header (and marker) and identity.
#[derive(Clone, Copy, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::Unaligned)]
#[repr(C)]
struct Head {
    ike: IkeHeader,
    notify: NotifyHeader,
    identity: IdentityHeader,
}

const _: () = assert!(size_of::<Head>() == REPLY_IDENTITY_AT);

/// Rewrites the IPv4 header; returns `sum` with the addresses of the pseudo header.
#[inline(always)]
fn ipv4<P>(packet: &mut P, udp_at: usize, udp_length: u16, sum: Sum) -> Option<Sum>
where
    P: PacketWrite + ?Sized,
{
    let at = P::bound(udp_at - IPV4_LENGTH);
    let request = packet.load::<Ipv4Header>(at)?;
    let addresses = Sum::ZERO.add4(request.source).add4(request.destination);
    let total_length = udp_length + IPV4_LENGTH as u16;
    let checksum = addresses
        .add2([0x45, 0])
        .add_be16(total_length)
        .add_be16(IPV4_DF)
        .add2([REPLY_TTL, PROTOCOL_UDP])
        .finish();
    packet.store(
        at,
        Ipv4Header {
            version_ihl: 0x45,
            tos: 0,
            total_length: U16::new(total_length),
            // RFC 6864 §4.1: an atomic datagram needs no identification.
            identification: U16::ZERO,
            fragment: U16::new(IPV4_DF),
            ttl: REPLY_TTL,
            protocol: PROTOCOL_UDP,
            checksum,
            source: request.destination,
            destination: request.source,
        },
    )?;
    Some(sum.add(addresses))
}

/// Rewrites the IPv6 header; returns `sum` with the addresses of the pseudo header.
#[inline(always)]
fn ipv6<P>(packet: &mut P, udp_at: usize, udp_length: u16, sum: Sum) -> Option<Sum>
where
    P: PacketWrite + ?Sized,
{
    let at = P::bound(udp_at - IPV6_LENGTH);
    let request = packet.load::<Ipv6Header>(at)?;
    packet.store(
        at,
        Ipv6Header {
            version_class_flow: U32::new(6 << 28),
            payload_length: U16::new(udp_length),
            next_header: PROTOCOL_UDP,
            hop_limit: REPLY_TTL,
            source: request.destination,
            destination: request.source,
        },
    )?;
    Some(sum.add16(request.source).add16(request.destination))
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
    let from = P::bound(from);
    let to = P::bound(to);
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
    Some(if rest % 2 == 0 { sum.add(head) } else { head.add_odd(sum) })
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
