//! Narrowing traffic selectors: what both sides want to protect (`RFC 7296 §2.9`).

use crate::ike::wire::{AddressRange, PortRange, Ports, TrafficSelector, TrafficSelectors};

/// Most selectors that an answer has. What peers send has one to four; a Child SA keeps them for
/// its whole life.
pub const MAX_SELECTORS: usize = 16;

/// What of the `proposed` traffic the `allowed` selectors cover, in the order of the proposal, so
/// that the initiator's first choice stays first. `None` when it is nothing.
#[must_use]
pub fn narrow(proposed: &TrafficSelectors, allowed: &[TrafficSelector]) -> Option<TrafficSelectors> {
    let mut narrowed: Vec<TrafficSelector> = Vec::new();
    for proposal in &proposed.0 {
        for limit in allowed {
            let Some(both) = intersection(proposal, limit) else { continue };
            if narrowed.iter().any(|selector| covers(selector, &both)) {
                continue;
            }
            // The first one stays where it is even if a later one covers it: it may be the packet
            // that the initiator wants to send.
            let mut position = 0;
            narrowed.retain(|selector| {
                position += 1;
                position == 1 || !covers(&both, selector)
            });
            if narrowed.len() < MAX_SELECTORS {
                narrowed.push(both);
            }
        }
    }
    if narrowed.is_empty() { None } else { Some(TrafficSelectors(narrowed)) }
}

/// Whether everything that `inner` selects is selected by one of `outer`.
#[must_use]
pub fn is_subset(inner: &TrafficSelectors, outer: &TrafficSelectors) -> bool {
    inner.0.iter().all(|selector| outer.0.iter().any(|limit| covers(limit, selector)))
}

/// The traffic that both select.
#[must_use]
pub fn intersection(first: &TrafficSelector, second: &TrafficSelector) -> Option<TrafficSelector> {
    let (
        TrafficSelector::Ip { protocol, ports, addresses },
        TrafficSelector::Ip { protocol: protocol2, ports: ports2, addresses: addresses2 },
    ) = (first, second)
    else {
        return None;
    };
    Some(TrafficSelector::Ip {
        protocol: protocol_of(*protocol, *protocol2)?,
        ports: ports_of(*ports, *ports2)?,
        addresses: match (addresses, addresses2) {
            (AddressRange::V4(first), AddressRange::V4(second)) => {
                AddressRange::V4(first.intersection(second)?)
            }
            (AddressRange::V6(first), AddressRange::V6(second)) => {
                AddressRange::V6(first.intersection(second)?)
            }
            (AddressRange::V4(_), AddressRange::V6(_)) | (AddressRange::V6(_), AddressRange::V4(_)) => {
                return None;
            }
        },
    })
}

fn covers(outer: &TrafficSelector, inner: &TrafficSelector) -> bool {
    intersection(outer, inner).as_ref() == Some(inner)
}

/// 0 stands for every protocol.
const fn protocol_of(first: u8, second: u8) -> Option<u8> {
    match (first, second) {
        (0, other) | (other, 0) => Some(other),
        (first, second) if first == second => Some(first),
        _ => None,
    }
}

fn ports_of(first: Ports, second: Ports) -> Option<Ports> {
    match (first, second) {
        (Ports::Any, other) | (other, Ports::Any) => Some(other),
        (Ports::Opaque, Ports::Opaque) => Some(Ports::Opaque),
        (Ports::Opaque, Ports::Range(_)) | (Ports::Range(_), Ports::Opaque) => None,
        (Ports::Range(first), Ports::Range(second)) => range_of(first, second),
    }
}

fn range_of(first: PortRange, second: PortRange) -> Option<Ports> {
    Ports::range(first.first().max(second.first()), first.last().min(second.last()))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::ike::wire::Span;

    fn range(first: &str, last: &str) -> TrafficSelector {
        let addresses = match (first.parse().unwrap(), last.parse().unwrap()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => AddressRange::V4(Span::new(first, last).unwrap()),
            (IpAddr::V6(first), IpAddr::V6(last)) => AddressRange::V6(Span::new(first, last).unwrap()),
            _ => panic!("two families"),
        };
        TrafficSelector::Ip { protocol: 0, ports: Ports::Any, addresses }
    }

    fn with(selector: TrafficSelector, new_protocol: u8, new_ports: Ports) -> TrafficSelector {
        match selector {
            TrafficSelector::Ip { addresses, .. } => {
                TrafficSelector::Ip { protocol: new_protocol, ports: new_ports, addresses }
            }
            TrafficSelector::Unknown { .. } => selector,
        }
    }

    fn all4() -> TrafficSelector {
        range("0.0.0.0", "255.255.255.255")
    }

    fn narrowed(proposed: &[TrafficSelector], allowed: &[TrafficSelector]) -> Option<Vec<TrafficSelector>> {
        narrow(&TrafficSelectors(proposed.to_vec()), allowed).map(|selectors| selectors.0)
    }

    #[test]
    fn everything_becomes_what_is_allowed() {
        let inside = range("10.99.0.0", "10.99.255.255");
        let inside6 = range("fd99::", "fd99::ffff");
        let all6 = range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");

        assert_eq!(narrowed(&[all4()], std::slice::from_ref(&inside)), Some(vec![inside.clone()]));
        assert_eq!(
            narrowed(&[all4(), all6], &[inside6.clone(), inside.clone()]),
            Some(vec![inside, inside6])
        );
    }

    #[test]
    fn the_first_choice_of_the_initiator_stays_first() {
        let packet = with(range("10.1.0.7", "10.1.0.7"), 6, Ports::one(443));
        let network = range("10.1.0.0", "10.1.0.255");

        assert_eq!(narrowed(&[packet.clone(), network.clone()], &[all4()]), Some(vec![packet, network]));
    }

    #[test]
    fn what_another_selector_covers_is_left_out() {
        let network = range("10.1.0.0", "10.1.0.255");
        let host = range("10.1.0.7", "10.1.0.7");

        assert_eq!(narrowed(&[network.clone(), host.clone()], &[all4()]), Some(vec![network.clone()]));
        assert_eq!(
            narrowed(&[range("9.0.0.0", "9.0.0.9"), host, network.clone()], &[all4()]),
            Some(vec![range("9.0.0.0", "9.0.0.9"), network])
        );
    }

    #[test]
    fn nothing_in_common_is_no_answer() {
        let v4 = range("10.1.0.0", "10.1.0.255");

        assert_eq!(narrowed(std::slice::from_ref(&v4), &[range("10.2.0.0", "10.2.0.255")]), None);
        assert_eq!(narrowed(std::slice::from_ref(&v4), &[range("fd99::", "fd99::ff")]), None);
        assert_eq!(narrowed(&[with(v4.clone(), 6, Ports::Any)], &[with(v4.clone(), 17, Ports::Any)]), None);
        assert_eq!(narrowed(&[], std::slice::from_ref(&v4)), None);
        assert_eq!(narrowed(&[v4], &[]), None);
    }

    #[test]
    fn ports_and_protocols_are_narrowed_too() {
        let web = with(all4(), 6, Ports::range(1, 1023).unwrap());
        let high = with(all4(), 0, Ports::range(1000, 2000).unwrap());
        let opaque = with(all4(), 6, Ports::Opaque);

        let expected = with(all4(), 6, Ports::range(1000, 1023).unwrap());
        assert_eq!(narrowed(std::slice::from_ref(&web), std::slice::from_ref(&high)), Some(vec![expected]));
        assert_eq!(narrowed(std::slice::from_ref(&opaque), &[all4()]), Some(vec![opaque.clone()]));
        assert_eq!(narrowed(&[opaque], &[web]), None);
    }

    #[test]
    fn an_answer_is_bounded() {
        let hosts: Vec<_> =
            (0..=255).map(|host| range(&format!("10.0.{host}.1"), &format!("10.0.{host}.1"))).collect();

        let answer = narrowed(&hosts, &[all4()]).unwrap();

        assert_eq!(answer.len(), MAX_SELECTORS);
        assert_eq!(answer[0], hosts[0]);
    }

    #[test]
    fn a_subset_is_covered_selector_by_selector() {
        let network = TrafficSelectors(vec![range("10.1.0.0", "10.1.0.255")]);
        let host = TrafficSelectors(vec![range("10.1.0.7", "10.1.0.7")]);

        assert!(is_subset(&host, &network));
        assert!(!is_subset(&network, &host));
    }
}
