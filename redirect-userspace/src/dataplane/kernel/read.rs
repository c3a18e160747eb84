//! What the kernel tells about SAs and policies.
//!
//! # Invariants
//!
//! - Nothing is allocated but a replay bitmap, whose length is bounded by the message's.
//! - What is too short, or of another kind, is nothing.
//!
//! # References
//!
//! `include/uapi/linux/xfrm.h`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::wire::{
    Direction, Network, Numbers, POLICY_ID, POLICY_INFO, PortMask, SA_ID, SA_INFO, SELECTOR, Selector,
    StateId, attribute, kind,
};
use crate::net::xfrm::Frame;

/// `struct xfrm_user_mapping`, `xfrm_aevent_id` and `xfrm_user_acquire`.
const MAPPING: usize = 64;
const AE_ID: usize = 48;
const ACQUIRE: usize = 280;
/// `struct xfrm_user_expire`
const EXPIRE: usize = SA_INFO + 8;

/// What the kernel tells by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::dataplane) enum Told {
    /// An SA has carried as much as it should (soft), or as it may: then it is gone.
    Expired {
        /// Which.
        id: StateId,
        /// Whether it is gone.
        is_hard: bool,
    },
    /// An authentic packet came from elsewhere.
    Moved {
        /// The SA that it came through.
        id: StateId,
        /// Where from.
        remote: SocketAddr,
    },
    /// An SA has received something.
    Alive {
        /// Which.
        id: StateId,
    },
    /// A packet has a policy and no SA.
    Wanted {
        /// Which policy, by the number in its template.
        reqid: u32,
        /// The packet.
        selector: Selector,
    },
}

/// An SA, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StateSeen {
    pub(super) id: StateId,
    pub(super) if_id: u32,
    /// Bytes, packets, when it was made, and when it was first used.
    pub(super) carried: [u64; 4],
    pub(super) numbers: Option<Numbers>,
}

/// A policy, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PolicySeen {
    pub(super) direction: Direction,
    pub(super) selector: Selector,
    pub(super) if_id: u32,
}

/// Reads an event; `None` for one that does not matter, or is malformed.
pub(super) fn told(frame: Frame<'_>) -> Option<Told> {
    let body = frame.body;
    match frame.kind {
        kind::EXPIRE => {
            let id = state_of(body)?;
            let hard = *body.get(..EXPIRE)?.get(SA_INFO)?;
            Some(Told::Expired { id, is_hard: hard != 0 })
        }
        kind::MAPPING => {
            let body = body.get(..MAPPING)?;
            let (id, family) = state_id(body)?;
            let port = u16::from_be_bytes(at(body, 62)?);
            Some(Told::Moved { id, remote: (address(body, 44, family)?, port).into() })
        }
        kind::NEW_AE => {
            let (id, _) = state_id(body.get(..AE_ID)?)?;
            Some(Told::Alive { id })
        }
        kind::ACQUIRE => {
            let head = body.get(..ACQUIRE)?;
            let selector = selector(head.get(40..)?)?;
            let template = attributes(body, ACQUIRE).find(|(kind, _)| *kind == attribute::TEMPLATE);
            let reqid = template.and_then(|(_, template)| number(template, 44))?;
            Some(Told::Wanted { reqid, selector })
        }
        _ => None,
    }
}

/// Reads an answer about an SA.
pub(super) fn state(frame: Frame<'_>) -> Option<StateSeen> {
    if frame.kind != kind::NEW_SA {
        return None;
    }
    let body = frame.body;
    let mut seen = StateSeen {
        id: state_of(body)?,
        if_id: 0,
        carried: [long(body, 160)?, long(body, 168)?, long(body, 176)?, long(body, 184)?],
        numbers: None,
    };
    for (kind, value) in attributes(body, SA_INFO) {
        match kind {
            attribute::IF_ID => seen.if_id = number(value, 0)?,
            attribute::REPLAY_ESN => seen.numbers = numbers(value),
            attribute::REPLAY => {
                let (sent, received) = (number(value, 0)?, number(value, 4)?);
                let bitmap = vec![number(value, 8)?];
                let numbers = || Numbers { sent: sent.into(), received: received.into(), bitmap };
                seen.numbers.get_or_insert_with(numbers);
            }
            _ => {}
        }
    }
    Some(seen)
}

/// Reads an answer about a policy.
pub(super) fn policy(frame: Frame<'_>) -> Option<PolicySeen> {
    if frame.kind != kind::NEW_POLICY {
        return None;
    }
    let head = frame.body.get(..POLICY_INFO)?;
    let direction = Direction::from_number(*head.get(160)?)?;
    let if_id = attributes(frame.body, POLICY_INFO).find(|(kind, _)| *kind == attribute::IF_ID);
    let if_id = if_id.and_then(|(_, value)| number(value, 0)).unwrap_or(0);
    Some(PolicySeen { direction, selector: selector(head)?, if_id })
}

/// The SA that an `xfrm_usersa_info` is about.
fn state_of(body: &[u8]) -> Option<StateId> {
    let body = body.get(..SA_INFO)?;
    let family = short(body, 212)?;
    let spi = u32::from_be_bytes(at(body, SELECTOR + 16)?);
    Some(StateId { destination: address(body, SELECTOR, family)?, spi })
}

/// The SA that an `xfrm_usersa_id` names, and its family.
fn state_id(body: &[u8]) -> Option<(StateId, u16)> {
    let body = body.get(..SA_ID)?;
    let family = short(body, 20)?;
    let spi = u32::from_be_bytes(at(body, 16)?);
    Some((StateId { destination: address(body, 0, family)?, spi }, family))
}

fn selector(body: &[u8]) -> Option<Selector> {
    let body = body.get(..SELECTOR)?;
    let family = short(body, 40)?;
    let port = |offset| {
        Some(PortMask {
            value: u16::from_be_bytes(at(body, offset)?),
            mask: u16::from_be_bytes(at(body, offset + 2)?),
        })
    };
    let network = |offset, length| {
        Some(Network { address: address(body, offset, family)?, length: *body.get(length)? })
    };
    Some(Selector {
        source: network(16, 43)?,
        destination: network(0, 42)?,
        protocol: *body.get(44)?,
        source_port: port(36)?,
        destination_port: port(32)?,
    })
}

fn numbers(value: &[u8]) -> Option<Numbers> {
    let words = usize::try_from(number(value, 0)?).ok()?;
    let whole = |high, low| Some(u64::from(number(value, high)?) << 32 | u64::from(number(value, low)?));
    let bitmap = value.get(24..)?.get(..words.checked_mul(4)?)?;
    let (words, _) = bitmap.as_chunks::<4>();
    Some(Numbers {
        sent: whole(12, 4)?,
        received: whole(16, 8)?,
        bitmap: words.iter().map(|word| u32::from_ne_bytes(*word)).collect(),
    })
}

/// The attributes behind a structure of `length` octets, as far as they are whole.
fn attributes(body: &[u8], length: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = body.get(length.next_multiple_of(4)..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(short(rest, 0)?);
        let kind = short(rest, 2)?;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        // The upper bits say how it is written.
        Some((kind & 0x3fff, value))
    })
}

fn address(body: &[u8], offset: usize, family: u16) -> Option<IpAddr> {
    match family {
        2 => at::<4>(body, offset).map(|octets| Ipv4Addr::from(octets).into()),
        10 => at::<16>(body, offset).map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

fn at<const N: usize>(body: &[u8], offset: usize) -> Option<[u8; N]> {
    body.get(offset..)?.first_chunk().copied()
}

fn short(body: &[u8], offset: usize) -> Option<u16> {
    at(body, offset).map(u16::from_ne_bytes)
}

fn number(body: &[u8], offset: usize) -> Option<u32> {
    at(body, offset).map(u32::from_ne_bytes)
}

fn long(body: &[u8], offset: usize) -> Option<u64> {
    at(body, offset).map(u64::from_ne_bytes)
}

const _: () = assert!(POLICY_ID == SELECTOR + 8);
