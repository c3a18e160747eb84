//! The payload chain of an IKE_SA_INIT request.
//!
//! # References
//!
//! `RFC 7296 §2.5`, `§3.2`; `RFC 5685 §3`, `§9`.

use core::mem::offset_of;

use zerocopy::network_endian::U16;

use crate::ike::{
    CRITICAL, IDENTITY_IPV4, IDENTITY_IPV6, IdentityHeader, MAX_NONCE, MAX_PAYLOADS, MIN_KE, MIN_NONCE,
    MIN_SA, NOTIFY_COOKIE, NOTIFY_LENGTH, NOTIFY_REDIRECT_SUPPORTED, NOTIFY_REDIRECTED_FROM, NotifyHeader,
    PAYLOAD_KE, PAYLOAD_LENGTH, PAYLOAD_NONCE, PAYLOAD_NONE, PAYLOAD_NOTIFY, PAYLOAD_PUZZLE, PAYLOAD_SA,
    PAYLOAD_VENDOR, PayloadHeader,
};
use crate::maps::Control;
use crate::packet::{MAX_FRAME, PacketRead};
use crate::reason::Reason;

/// What the payload chain holds.
pub(crate) struct Chain {
    /// Whether the client says that it was redirected.
    pub(crate) has_redirected_from: bool,
    /// Start of the nonce payload.
    pub(crate) nonce_at: usize,
    /// Start of REDIRECTED_FROM's identity header, if there is one.
    pub(crate) redirected_from_at: usize,
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
/// before has loaded. So a turn loads single fields, and what can be judged after the walk is not
/// judged in it: how often each part was met, and whether the walk stayed inside the message. Every step
/// goes forward, so one that leaves the message never comes back to its end.
#[inline(always)]
pub(crate) fn walk<P>(
    packet: &P,
    control: &Control,
    first_at: usize,
    end: usize,
    first: u64,
) -> Result<Chain, Reason>
where
    P: PacketRead + ?Sized,
{
    // Counts start at a zero that the verifier does not know: it would follow every order in which
    // the parts can come, once each.
    let mut met = control.zero;
    // For the same reason what is found is remembered as offsets with one and the same bound.
    let unknown = P::bound(control.zero());
    let mut chain = Chain { has_redirected_from: false, nonce_at: unknown, redirected_from_at: unknown };
    let mut at = first_at;
    let mut kind = first;

    for _ in 0..MAX_PAYLOADS {
        if kind == u64::from(PAYLOAD_NONE) {
            break;
        }
        let length = payload_length(packet, at).ok_or_else(|| P::refuse(Reason::ChainTruncated))?;
        if length < PAYLOAD_LENGTH {
            let is_outside = at + PAYLOAD_LENGTH > end;
            return Err(P::refuse(if is_outside { Reason::ChainTruncated } else { Reason::PayloadLength }));
        }
        let next_at = at + length;
        // A comparison and not a mask: the next turn does not wait for it.
        if next_at >= MAX_FRAME {
            return Err(P::refuse(Reason::ChainTruncated));
        }
        if kind == u64::from(PAYLOAD_NOTIFY) {
            notify(packet, at, length, &mut met, &mut chain.redirected_from_at)?;
        } else if kind == u64::from(PAYLOAD_NONCE) {
            met = met.wrapping_add(ONE_NONCE);
            if !(MIN_NONCE..=MAX_NONCE).contains(&(length - PAYLOAD_LENGTH)) {
                return Err(P::refuse(Reason::NonceLength));
            }
            chain.nonce_at = P::bound(at);
        } else if kind == u64::from(PAYLOAD_KE) {
            met = met.wrapping_add(ONE_KE);
            if length < MIN_KE {
                return Err(P::refuse(Reason::KeShort));
            }
        } else if kind == u64::from(PAYLOAD_SA) {
            met = met.wrapping_add(ONE_SA);
            if length < MIN_SA {
                return Err(P::refuse(Reason::SaShort));
            }
        } else if kind != u64::from(PAYLOAD_VENDOR) {
            other(packet, at, kind)?;
        }
        let next = packet.field::<PayloadHeader, u8>(at, offset_of!(PayloadHeader, next_payload));
        kind = u64::from(next.ok_or_else(|| P::refuse(Reason::ChainTruncated))?);
        at = next_at;
    }

    if kind != u64::from(PAYLOAD_NONE) {
        return Err(P::refuse(if at < end { Reason::TooManyPayloads } else { Reason::ChainTruncated }));
    }
    if at != end {
        return Err(P::refuse(if at < end { Reason::ChainTrailing } else { Reason::ChainTruncated }));
    }
    chain.has_redirected_from = met & (ONE_FROM * COUNT_MASK) != 0;
    judge::<P>(met)?;
    Ok(chain)
}

/// The length field of a generic payload header.
#[inline(always)]
pub(crate) fn payload_length<P>(packet: &P, at: usize) -> Option<usize>
where
    P: PacketRead + ?Sized,
{
    let length = packet.field::<PayloadHeader, U16>(at, offset_of!(PayloadHeader, length))?;
    Some(usize::from(length.get()))
}

/// A payload that is none of those an IKE_SA_INIT request is made of.
#[inline(always)]
fn other<P>(packet: &P, at: usize, kind: u64) -> Result<(), Reason>
where
    P: PacketRead + ?Sized,
{
    const SA: u64 = PAYLOAD_SA as u64;
    const PUZZLE: u64 = PAYLOAD_PUZZLE as u64;
    let is_critical = packet.load::<PayloadHeader>(at).is_none_or(|header| header.critical & CRITICAL != 0);
    match kind {
        PUZZLE => Err(P::refuse(Reason::Puzzle)),
        SA..=PUZZLE => Err(P::refuse(Reason::UnexpectedPayload)),
        _ if is_critical => Err(P::refuse(Reason::CriticalPayload)),
        _ => Ok(()),
    }
}

/// What must be there once, and what must not be there twice.
#[inline(always)]
fn judge<P>(met: u64) -> Result<(), Reason>
where
    P: PacketRead + ?Sized,
{
    const REQUIRED: u64 = ONE_SA | ONE_KE | ONE_NONCE;
    const ONCE: u64 = REQUIRED | ONE_SUPPORT | ONE_FROM;
    const SUPPORT: u64 = REQUIRED | ONE_SUPPORT;
    // The two shapes that real requests have.
    if met == SUPPORT || met == REQUIRED | ONE_FROM {
        return Ok(());
    }
    if met & !ONCE != 0 {
        return Err(P::refuse(if met & (ONE_SA * COUNT_MASK) > ONE_SA {
            Reason::SaDuplicate
        } else if met & (ONE_KE * COUNT_MASK) > ONE_KE {
            Reason::KeDuplicate
        } else if met & (ONE_NONCE * COUNT_MASK) > ONE_NONCE {
            Reason::NonceDuplicate
        } else {
            Reason::NotifyDuplicate
        }));
    }
    if met & REQUIRED != REQUIRED {
        return Err(P::refuse(if met & ONE_SA == 0 {
            Reason::SaMissing
        } else if met & ONE_KE == 0 {
            Reason::KeMissing
        } else {
            Reason::NonceMissing
        }));
    }
    // RFC 5685 §3: REDIRECTED_FROM announces support as well.
    if met & (ONE_SUPPORT | ONE_FROM) == 0 {
        return Err(P::refuse(Reason::NoRedirectSupport));
    }
    Ok(())
}

/// Looks into a notify and counts it.
#[inline(always)]
fn notify<P>(
    packet: &P,
    at: usize,
    length: usize,
    met: &mut u64,
    redirected_from_at: &mut usize,
) -> Result<(), Reason>
where
    P: PacketRead + ?Sized,
{
    if length < NOTIFY_LENGTH {
        return Err(P::refuse(Reason::NotifyShort));
    }
    let kind = packet.field::<NotifyHeader, U16>(at, offset_of!(NotifyHeader, kind));
    match kind.ok_or_else(|| P::refuse(Reason::ChainTruncated))?.get() {
        NOTIFY_REDIRECT_SUPPORTED => {
            // No SPI, no data.
            if !is_bare(packet, at) || length != NOTIFY_LENGTH {
                return Err(P::refuse(Reason::NotifyMalformed));
            }
            *met = met.wrapping_add(ONE_SUPPORT);
        }
        NOTIFY_REDIRECTED_FROM => {
            let identity_at = at + NOTIFY_LENGTH;
            let identity = packet
                .load::<IdentityHeader>(identity_at)
                .ok_or_else(|| P::refuse(Reason::NotifyMalformed))?;
            // RFC 5685 §9.3: an IPv4 or an IPv6 address and nothing after it.
            let is_well_formed = matches!(
                (identity.kind, identity.length, length - NOTIFY_LENGTH),
                (IDENTITY_IPV4, 4, 6) | (IDENTITY_IPV6, 16, 18)
            );
            if !is_well_formed || !is_bare(packet, at) {
                return Err(P::refuse(Reason::NotifyMalformed));
            }
            *redirected_from_at = P::bound(identity_at);
            *met = met.wrapping_add(ONE_FROM);
        }
        NOTIFY_COOKIE => return Err(P::refuse(Reason::Cookie)),
        _ => {}
    }
    Ok(())
}

/// Whether a notify has no SPI. Its protocol then says nothing, and "MUST be ignored on receipt"
/// (`RFC 7296 §3.10`): there are clients that write one.
#[inline(always)]
fn is_bare<P>(packet: &P, at: usize) -> bool
where
    P: PacketRead + ?Sized,
{
    packet.field::<NotifyHeader, [u8; 1]>(at, offset_of!(NotifyHeader, spi_size)) == Some([0])
}
