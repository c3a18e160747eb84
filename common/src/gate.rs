//! A gateway under attack: who would like an SA is asked for a cookie, and comes to the gateway only with
//! a good one.
//!
//! It runs behind the decision about redirects, on what that has left alone, and only while the gateway
//! wants cookies. What it answers costs nobody a system call.
//!
//! # Picture
//!
//! ```text
//! request │ Ethernet │ VLAN │ IP │ UDP │ marker │ IKE header │ payloads … │
//! reply   │ Ethernet │ VLAN │ IP │ UDP │ marker │ IKE header │ N(COOKIE)  │
//! ```
//!
//! # Invariants
//!
//! - Whatever is not certainly a first IKE_SA_INIT request to a gated address passes as it came: the
//!   gateway asks for cookies itself.
//! - A reply is shorter than its request.
//!
//! # References
//!
//! `RFC 7296 §2.6`.

use core::mem::offset_of;

use zerocopy::network_endian::U16;

use crate::chain::payload_length;
use crate::checksum::Sum;
use crate::classify::{Outer, datagram_to};
use crate::cookie::{Key, LENGTH, NONCE, Sender};
use crate::ike::{
    EXCHANGE_IKE_SA_INIT, FLAG_RESPONSE, IKE_LENGTH, IkeWords, MAX_PAYLOADS, NOTIFY_COOKIE, NOTIFY_LENGTH,
    NotifyHeader, PAYLOAD_LENGTH, PAYLOAD_NONCE, PAYLOAD_NONE, PAYLOAD_NOTIFY, PayloadHeader, VERSION_2,
};
use crate::inet::{Family, IPV4_LENGTH, IPV6_LENGTH, Ipv4Header, Ipv6Header};
use crate::maps::{Control, Gate, Gateway, LlgTable, Prefix, Tables, Vip};
use crate::packet::{MAX_FRAME, PacketRead, PacketWrite};
use crate::reply::{Head, SPI_LENGTH, lower};

/// What the gate does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is none of its business.
    Pass,
    /// It has brought a good cookie, and passes.
    Good,
    /// The frame now holds the reply in its first `length` octets; send it back.
    Ask {
        /// Octets of the reply's frame.
        length: usize,
    },
}

/// What is counted: entries of the map `COOKIES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Asked {
    /// A cookie was asked for.
    Cookie = 0,
    /// A good one was brought.
    Good = 1,
}

impl Asked {
    /// How many kinds there are.
    pub const COUNT: usize = 2;

    /// Position among the counters.
    #[must_use]
    pub const fn index(self) -> u32 {
        self as u32
    }
}

/// Read access to the gate's maps.
pub trait Gated {
    /// What it works by, `None` only when the map is broken.
    fn gate(&self) -> Option<&Gate>;
    /// A gated address by index.
    fn address(&self, index: u32) -> Option<&Vip>;
}

/// The gate's maps in the place of those of redirects: its addresses are looked up as VIPs are.
struct Addresses<'g, G: ?Sized>(&'g G);

impl<G> Tables for Addresses<'_, G>
where
    G: Gated + ?Sized,
{
    #[inline(always)]
    fn control(&self) -> Option<&Control> {
        self.0.gate().map(|gate| &gate.control)
    }

    #[inline(always)]
    fn vip(&self, index: u32) -> Option<&Vip> {
        self.0.address(index)
    }

    #[inline(always)]
    fn client(&self, _index: u32) -> Option<&Prefix> {
        None
    }

    #[inline(always)]
    fn llg(&self, _generation: u32) -> Option<&LlgTable> {
        None
    }

    #[inline(always)]
    fn gateway(&self, _index: u32) -> Option<&Gateway> {
        None
    }
}

/// Decides about one frame, and writes the reply if there is one.
#[inline(always)]
pub fn gate<P, G>(packet: &mut P, maps: &G) -> Verdict
where
    P: PacketWrite + ?Sized,
    G: Gated + ?Sized,
{
    judge(packet, maps).unwrap_or(Verdict::Pass)
}

#[inline(always)]
fn judge<P, G>(packet: &mut P, maps: &G) -> Option<Verdict>
where
    P: PacketWrite + ?Sized,
    G: Gated + ?Sized,
{
    let tables = Addresses(maps);
    let (control, outer) = datagram_to(packet, &tables).ok()?;
    let header = packet.load::<IkeWords>(outer.ike_at)?;
    let is_length_right = u64::from(header.length.get()) == outer.ike_length as u64;
    if !header.begins_ike_sa_init() || !is_length_right {
        return None;
    }
    let first_at = outer.ike_at + IKE_LENGTH;
    let nonce_at =
        find_nonce(packet, control, first_at, outer.ike_at + outer.ike_length, header.next_payload())?;
    let sender = Sender {
        source: source(packet, &outer)?,
        spi_i: header.spi_i,
        nonce: packet.load::<[u8; NONCE]>(nonce_at + PAYLOAD_LENGTH)?.0,
    };
    let gate = maps.gate()?;
    let [even, odd] = &gate.keys;
    if header.next_payload() == u64::from(PAYLOAD_NOTIFY)
        && let Some(cookie) = cookie(packet, first_at)
        && is_good(even, odd, &sender, cookie)
    {
        return Some(Verdict::Good);
    }
    let key = if gate.current & 1 == 0 { even } else { odd };
    let length = ask(packet, &outer, &key.cookie(&sender), header.spi_i)?;
    Some(Verdict::Ask { length })
}

/// The address that a request comes from; an IPv4 address takes the first four octets.
#[inline(always)]
fn source<P>(packet: &P, outer: &Outer) -> Option<[u8; 16]>
where
    P: PacketRead + ?Sized,
{
    let udp_at = outer.ike_at - outer.shape.before_ike();
    match outer.shape.family() {
        Family::V4 => {
            let ip_at = P::bound(udp_at - IPV4_LENGTH);
            let [a, b, c, d] = packet.field::<Ipv4Header, [u8; 4]>(ip_at, offset_of!(Ipv4Header, source))?;
            Some([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        }
        Family::V6 => {
            let ip_at = P::bound(udp_at - IPV6_LENGTH);
            packet.field::<Ipv6Header, [u8; 16]>(ip_at, offset_of!(Ipv6Header, source))
        }
    }
}

/// Where the nonce payload starts that has enough octets. What else is in the message is the gateway's
/// business.
#[inline(always)]
fn find_nonce<P>(packet: &P, control: &Control, first_at: usize, end: usize, first: u64) -> Option<usize>
where
    P: PacketRead + ?Sized,
{
    let mut at = first_at;
    let mut kind = first;
    // As in the walk of the redirect decision: a bound that the verifier knows, and no value.
    let mut nonce_at = P::bound(control.zero());
    for _ in 0..MAX_PAYLOADS {
        if kind == u64::from(PAYLOAD_NONE) {
            return None;
        }
        let length = payload_length(packet, at)?;
        let next_at = at + length;
        if length < PAYLOAD_LENGTH || next_at > end || next_at >= MAX_FRAME {
            return None;
        }
        if kind == u64::from(PAYLOAD_NONCE) {
            if length < PAYLOAD_LENGTH + NONCE {
                return None;
            }
            nonce_at = P::bound(at);
            break;
        }
        kind = u64::from(packet.field::<PayloadHeader, u8>(at, offset_of!(PayloadHeader, next_payload))?);
        at = next_at;
    }
    if nonce_at == 0 { None } else { Some(nonce_at) }
}

/// A notify and the cookie in it.
#[derive(Clone, Copy, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::Unaligned)]
#[repr(C)]
struct CookieNotify {
    notify: NotifyHeader,
    cookie: [u8; LENGTH],
}

const COOKIE_NOTIFY: usize = NOTIFY_LENGTH + LENGTH;
const _: () = assert!(size_of::<CookieNotify>() == COOKIE_NOTIFY);

/// The cookie that a request begins with (`RFC 7296 §2.6`), if it has the length of ours.
#[inline(always)]
fn cookie<P>(packet: &P, at: usize) -> Option<[u8; LENGTH]>
where
    P: PacketRead + ?Sized,
{
    let length = payload_length(packet, at)?;
    let kind = packet.field::<NotifyHeader, U16>(at, offset_of!(NotifyHeader, kind))?;
    let spi_size = packet.field::<NotifyHeader, u8>(at, offset_of!(NotifyHeader, spi_size))?;
    if length != COOKIE_NOTIFY || kind.get() != NOTIFY_COOKIE || spi_size != 0 {
        return None;
    }
    packet.field::<CookieNotify, [u8; LENGTH]>(at, offset_of!(CookieNotify, cookie))
}

#[inline(always)]
fn is_good(even: &Key, odd: &Key, sender: &Sender, cookie: [u8; LENGTH]) -> bool {
    let [name, ..] = cookie;
    let key = if name & 1 == 0 { even } else { odd };
    key.name() == name && key.cookie(sender) == cookie
}

const MESSAGE: usize = IKE_LENGTH + COOKIE_NOTIFY;

/// Writes the reply over the request and returns the length of its frame.
#[inline(always)]
fn ask<P>(packet: &mut P, outer: &Outer, cookie: &[u8; LENGTH], spi_i: [u8; 8]) -> Option<usize>
where
    P: PacketWrite + ?Sized,
{
    if MESSAGE >= outer.ike_length {
        return None;
    }
    let [name, zero, code @ ..] = *cookie;
    packet.store(outer.ike_at + SPI_LENGTH, Head::new(NOTIFY_COOKIE, MESSAGE))?;
    packet.store(outer.ike_at + IKE_LENGTH + NOTIFY_LENGTH, *cookie)?;
    let sum = Sum::ZERO
        .add4([PAYLOAD_NOTIFY, VERSION_2, EXCHANGE_IKE_SA_INIT, FLAG_RESPONSE])
        .add_be16(NOTIFY_COOKIE)
        .add2([name, zero])
        .add8(code)
        .add8(spi_i);
    lower(packet, outer.shape, outer.ike_at, MESSAGE, sum)?;
    Some(outer.ike_at + MESSAGE)
}
