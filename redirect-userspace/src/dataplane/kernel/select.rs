//! Traffic selectors as the kernel's policies have them: networks for ranges of addresses, and masks
//! for ranges of ports.
//!
//! # Invariants
//!
//! - A policy is for what its traffic selectors are for, no packet more or less. What cannot be said
//!   to the kernel is an error.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::wire::{Network, PortMask, Selector};
use crate::ike::wire::{AddressRange, Ports, TrafficSelector};

/// Most policies of one direction of a Child SA: a range of IPv4 addresses is at most 62 networks.
const MAX_POLICIES: usize = 128;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Why the kernel cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SelectorError {
    /// Too many networks, or too many masks.
    #[error("its traffic selectors would take more than {MAX_POLICIES} policies")]
    TooMany,
    /// A range of types and codes that is neither all, nor all codes of a type, nor one code.
    #[error("its traffic selectors have a range of ICMP types")]
    IcmpRange,
    /// Nothing is left.
    #[error("its traffic selectors have no packet in common")]
    Nothing,
}

/// What goes from here to there.
pub(super) fn outbound(
    local: &[TrafficSelector],
    remote: &[TrafficSelector],
) -> Result<Vec<Selector>, SelectorError> {
    let mut all = Vec::new();
    for (local, remote) in local.iter().flat_map(|local| remote.iter().map(move |remote| (local, remote))) {
        add(&mut all, local, remote)?;
    }
    all.sort_unstable();
    all.dedup();
    if all.is_empty() { Err(SelectorError::Nothing) } else { Ok(all) }
}

/// The same packets, the other way.
pub(super) fn reversed(selector: &Selector) -> Selector {
    let Selector { source, destination, protocol, source_port, destination_port } = *selector;
    // Type and code of ICMP say nothing about directions.
    let (source_port, destination_port) = match protocol {
        ICMP | ICMPV6 => (source_port, destination_port),
        _ => (destination_port, source_port),
    };
    Selector { source: destination, destination: source, protocol, source_port, destination_port }
}

/// The order in which the kernel looks at it: the longest remote prefix first, as the userspace data
/// plane finds it; the least number is first.
pub(super) fn priority(selector: &Selector, remote: Network) -> u32 {
    let bits = u32::from(remote.length) * 130
        + u32::from(selector.source.length)
        + u32::from(selector.destination.length)
        - u32::from(remote.length);
    let ports = u32::from(selector.source_port.mask != 0 || selector.destination_port.mask != 0);
    BASE.saturating_sub(bits * 4 + 2 * u32::from(selector.protocol != 0) + ports)
}

const BASE: u32 = 200_000;
/// What is added for those that come after all that have an SA.
pub(super) const BEHIND_ALL: u32 = BASE;

fn add(
    all: &mut Vec<Selector>,
    local: &TrafficSelector,
    remote: &TrafficSelector,
) -> Result<(), SelectorError> {
    let (
        TrafficSelector::Ip { protocol: here, ports: local_ports, addresses: local },
        TrafficSelector::Ip { protocol: there, ports: remote_ports, addresses: remote },
    ) = (local, remote)
    else {
        return Ok(());
    };
    let protocol = match (*here, *there) {
        (0, protocol) | (protocol, 0) => protocol,
        (here, there) if here == there => here,
        _ => return Ok(()),
    };
    let Some((sources, destinations)) = networks(local).zip(networks(remote)) else {
        return Err(SelectorError::TooMany);
    };
    let is_one_family =
        |source: &Network, destination: &Network| source.address.is_ipv4() == destination.address.is_ipv4();
    let ports: Vec<(PortMask, PortMask)> = match protocol {
        ICMP | ICMPV6 => icmp(local_ports, remote_ports)?.into_iter().collect(),
        _ => {
            let (from, to) = (masks(local_ports), masks(remote_ports));
            from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to))).collect()
        }
    };
    for (source, destination) in
        sources.iter().flat_map(|source| destinations.iter().map(move |destination| (source, destination)))
    {
        if !is_one_family(source, destination) {
            continue;
        }
        for (source_port, destination_port) in &ports {
            if all.len() >= MAX_POLICIES {
                return Err(SelectorError::TooMany);
            }
            all.push(Selector {
                source: *source,
                destination: *destination,
                protocol,
                source_port: *source_port,
                destination_port: *destination_port,
            });
        }
    }
    Ok(())
}

/// Type and code, which the kernel has in the places of the ports (`RFC 7296 §3.13.1`).
fn icmp(local: &Ports, remote: &Ports) -> Result<Option<(PortMask, PortMask)>, SelectorError> {
    let one = |ports: &Ports| match ports {
        Ports::Any | Ports::Opaque => Ok(None),
        Ports::Range(range) => {
            let [first, code] = range.first().to_be_bytes();
            let [last, last_code] = range.last().to_be_bytes();
            let kind = PortMask { value: first.into(), mask: u16::MAX };
            match (first == last, code, last_code) {
                (true, 0, 255) => Ok(Some((kind, PortMask::default()))),
                (true, code, last) if code == last => {
                    Ok(Some((kind, PortMask { value: code.into(), mask: u16::MAX })))
                }
                _ => Err(SelectorError::IcmpRange),
            }
        }
    };
    let any = (PortMask::default(), PortMask::default());
    match (one(local)?, one(remote)?) {
        (None, None) => Ok(Some(any)),
        (Some(ports), None) | (None, Some(ports)) => Ok(Some(ports)),
        (Some(local), Some(remote)) if local == remote => Ok(Some(local)),
        (Some(_), Some(_)) => Ok(None),
    }
}

/// The masks that make up a range of ports.
fn masks(ports: &Ports) -> Vec<PortMask> {
    match ports {
        Ports::Any => vec![PortMask::default()],
        // What has none, such as a later fragment: the kernel takes it for port zero.
        Ports::Opaque => vec![PortMask { value: 0, mask: u16::MAX }],
        Ports::Range(range) => {
            let blocks = blocks(range.first().into(), range.last().into(), 16);
            let mask = |(first, bits): (u128, u32)| PortMask {
                value: u16::try_from(first).unwrap_or(0),
                mask: u16::MAX.checked_shl(bits).unwrap_or(0),
            };
            blocks.take(MAX_POLICIES).map(mask).collect()
        }
    }
}

/// The networks that make up a range of addresses; `None` if there are too many.
fn networks(range: &AddressRange) -> Option<Vec<Network>> {
    let (first, last, width) = match range {
        AddressRange::V4(span) => (u128::from(span.first().to_bits()), u128::from(span.last().to_bits()), 32),
        AddressRange::V6(span) => (span.first().to_bits(), span.last().to_bits(), 128),
    };
    let network = |(first, bits): (u128, u32)| {
        let address: IpAddr = match width {
            32 => Ipv4Addr::from_bits(u32::try_from(first).unwrap_or(0)).into(),
            _ => Ipv6Addr::from_bits(first).into(),
        };
        Network { address, length: u8::try_from(width - bits).unwrap_or(0) }
    };
    let networks: Vec<Network> = blocks(first, last, width).take(MAX_POLICIES + 1).map(network).collect();
    (networks.len() <= MAX_POLICIES).then_some(networks)
}

/// The longest aligned blocks that make up a range of numbers of `width` bits: first number, and bits
/// that differ within it.
fn blocks(first: u128, last: u128, width: u32) -> impl Iterator<Item = (u128, u32)> {
    let mut next = (first <= last).then_some(first);
    std::iter::from_fn(move || {
        let start = next?;
        let mut bits = start.trailing_zeros().min(width);
        let end = |bits: u32| start | 1_u128.checked_shl(bits).map_or(u128::MAX, |end| end - 1);
        while end(bits) > last {
            bits -= 1;
        }
        next = end(bits).checked_add(1).filter(|next| *next <= last);
        Some((start, bits))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ike::wire::Span;

    fn v4(first: &str, last: &str, protocol: u8, ports: Ports) -> TrafficSelector {
        let span = Span::new(first.parse().unwrap(), last.parse().unwrap()).unwrap();
        TrafficSelector::Ip { protocol, ports, addresses: AddressRange::V4(span) }
    }

    fn text(selector: &Selector) -> String {
        let Selector { source, destination, protocol, source_port: from, destination_port: to } = selector;
        format!(
            "{}/{} {}/{} {protocol} {}/{:x} {}/{:x}",
            source.address,
            source.length,
            destination.address,
            destination.length,
            from.value,
            from.mask,
            to.value,
            to.mask
        )
    }

    fn texts(local: &[TrafficSelector], remote: &[TrafficSelector]) -> Vec<String> {
        outbound(local, remote).unwrap().iter().map(text).collect()
    }

    #[test]
    fn a_network_is_one_policy_and_a_range_is_several() {
        let all = v4("0.0.0.0", "255.255.255.255", 0, Ports::Any);
        let range = v4("10.0.0.3", "10.0.0.8", 0, Ports::Any);

        assert_eq!(
            texts(std::slice::from_ref(&all), &[range]),
            [
                "0.0.0.0/0 10.0.0.3/32 0 0/0 0/0",
                "0.0.0.0/0 10.0.0.4/30 0 0/0 0/0",
                "0.0.0.0/0 10.0.0.8/32 0 0/0 0/0",
            ]
        );
        assert_eq!(texts(std::slice::from_ref(&all), std::slice::from_ref(&all)).len(), 1);
    }

    #[test]
    fn ports_and_icmp_types_keep_their_places() {
        let web = v4("10.0.0.1", "10.0.0.1", 6, Ports::one(443));
        let any = v4("10.0.0.2", "10.0.0.2", 0, Ports::Any);
        let echo = v4("10.0.0.1", "10.0.0.1", 1, Ports::range(0x0800, 0x08ff).unwrap());

        let [selector] = outbound(std::slice::from_ref(&web), std::slice::from_ref(&any)).unwrap()[..] else {
            panic!("not one")
        };
        assert_eq!(text(&selector), "10.0.0.1/32 10.0.0.2/32 6 443/ffff 0/0");
        assert_eq!(text(&reversed(&selector)), "10.0.0.2/32 10.0.0.1/32 6 0/0 443/ffff");
        let [selector] = outbound(&[echo], std::slice::from_ref(&any)).unwrap()[..] else {
            panic!("not one")
        };
        assert_eq!(text(&selector), "10.0.0.1/32 10.0.0.2/32 1 8/ffff 0/0");
        assert_eq!(text(&reversed(&selector)), "10.0.0.2/32 10.0.0.1/32 1 8/ffff 0/0");
        let types = v4("10.0.0.1", "10.0.0.1", 1, Ports::range(0x0000, 0x0800).unwrap());
        assert_eq!(outbound(&[types], &[any]), Err(SelectorError::IcmpRange));
    }

    #[test]
    fn what_has_nothing_in_common_or_too_much_is_refused() {
        let tcp = v4("10.0.0.1", "10.0.0.1", 6, Ports::Any);
        let udp = v4("10.0.0.2", "10.0.0.2", 17, Ports::Any);
        assert_eq!(outbound(&[tcp], &[udp]), Err(SelectorError::Nothing));

        let wide = v4("0.0.0.1", "255.255.255.254", 17, Ports::range(1, 65_534).unwrap());
        assert_eq!(
            outbound(std::slice::from_ref(&wide), std::slice::from_ref(&wide)),
            Err(SelectorError::TooMany)
        );
    }

    #[test]
    fn the_narrower_network_is_looked_at_first() {
        let network = |address: &str, length| Network { address: address.parse().unwrap(), length };
        let of = |length| {
            let remote = network("10.0.0.0", length);
            let selector = Selector {
                source: network("0.0.0.0", 0),
                destination: remote,
                protocol: 0,
                source_port: PortMask::default(),
                destination_port: PortMask::default(),
            };
            priority(&selector, remote)
        };

        assert!(of(32) < of(24) && of(24) < of(8) && of(8) < of(0));
    }

    proptest! {
        #[test]
        fn blocks_are_the_range(first in 0_u128..70_000, length in 0_u128..70_000, at in 0_u128..140_000) {
            let last = first + length;
            let holders = blocks(first, last, 32).filter(|(start, bits)| at >> bits == start >> bits).count();

            prop_assert_eq!(holders, usize::from((first..=last).contains(&at)));
        }
    }

    #[test]
    fn the_ends_of_all_numbers_are_reached() {
        assert_eq!(blocks(0, u128::MAX, 128).collect::<Vec<_>>(), [(0, 128)]);
        assert_eq!(blocks(u128::MAX, u128::MAX, 128).collect::<Vec<_>>(), [(u128::MAX, 0)]);
        assert_eq!(blocks(5, 4, 128).count(), 0);
    }
}
