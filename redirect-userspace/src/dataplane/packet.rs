//! What an inner packet says about itself: as much as traffic selectors ask for.
//!
//! # References
//!
//! `RFC 4301 §4.4.1.1`, `RFC 7296 §3.13.1`.

use std::net::IpAddr;

use crate::codec::Reader;
use crate::ike::wire::{AddressRange, Ports, TrafficSelector};

/// An inner packet's addresses, protocol and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Whose it is.
    pub source: IpAddr,
    /// For whom.
    pub destination: IpAddr,
    /// What is in it, behind the extension headers that are known.
    pub protocol: u8,
    /// Source and destination port; of ICMP type and code, in the place of both. `None` in a later
    /// fragment, and where the protocol has none.
    pub ports: Option<(u16, u16)>,
}

impl Flow {
    /// Looks at a packet; `None` when it is not an IP packet or is cut off.
    #[must_use]
    pub fn of(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::ipv4(packet),
            6 => Self::ipv6(packet),
            _ => None,
        }
    }

    fn ipv4(packet: &[u8]) -> Option<Self> {
        let header = packet.first_chunk::<20>()?;
        let length = usize::from(header[0] & 0x0f) * 4;
        let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
        let protocol = header[9];
        let source: [u8; 4] = header[12..16].try_into().ok()?;
        let destination: [u8; 4] = header[16..20].try_into().ok()?;
        let content = if fragment == 0 { packet.get(length.max(20)..) } else { None };
        Some(Self {
            source: source.into(),
            destination: destination.into(),
            protocol,
            ports: content.and_then(|content| ports(protocol, content)),
        })
    }

    fn ipv6(packet: &[u8]) -> Option<Self> {
        let header = packet.first_chunk::<40>()?;
        let source: [u8; 16] = header[8..24].try_into().ok()?;
        let destination: [u8; 16] = header[24..40].try_into().ok()?;
        let (mut protocol, mut at, mut is_later) = (header[6], 40, false);
        for _ in 0..MAX_EXTENSIONS {
            let Some(&[next, length]) = packet.get(at..at + 2).and_then(|octets| octets.first_chunk()) else {
                break;
            };
            match protocol {
                HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => at += (usize::from(length) + 1) * 8,
                FRAGMENT => {
                    let offset = packet.get(at + 2..at + 4)?;
                    is_later |= Reader::new(offset).u16("fragment offset").ok()? & 0xfff8 != 0;
                    at += 8;
                }
                _ => break,
            }
            protocol = next;
        }
        let content = if is_later { None } else { packet.get(at..) };
        Some(Self {
            source: source.into(),
            destination: destination.into(),
            protocol,
            ports: content.and_then(|content| ports(protocol, content)),
        })
    }

    /// The same flow, the other way.
    #[must_use]
    pub fn reversed(self) -> Self {
        let ports = match self.protocol {
            // Type and code say nothing about directions.
            ICMP | ICMPV6 => self.ports,
            _ => self.ports.map(|(source, destination)| (destination, source)),
        };
        Self { source: self.destination, destination: self.source, ports, ..self }
    }

    /// Whether its source lies in one of these selectors.
    #[must_use]
    pub fn comes_from(&self, selectors: &[TrafficSelector]) -> bool {
        let port = self.ports.map(|(source, _)| source);
        selectors.iter().any(|selector| is_selected(selector, self.source, self.protocol, port))
    }

    /// Whether its destination does.
    #[must_use]
    pub fn goes_to(&self, selectors: &[TrafficSelector]) -> bool {
        let port = self.ports.map(|(_, destination)| destination);
        selectors.iter().any(|selector| is_selected(selector, self.destination, self.protocol, port))
    }
}

fn is_selected(selector: &TrafficSelector, address: IpAddr, protocol: u8, port: Option<u16>) -> bool {
    let TrafficSelector::Ip { protocol: wanted, ports, addresses } = selector else { return false };
    let is_there = match (addresses, address) {
        (AddressRange::V4(span), IpAddr::V4(address)) => span.contains(address),
        (AddressRange::V6(span), IpAddr::V6(address)) => span.contains(address),
        (AddressRange::V4(_), IpAddr::V6(_)) | (AddressRange::V6(_), IpAddr::V4(_)) => false,
    };
    let is_port = match (ports, port) {
        (Ports::Any, _) | (Ports::Opaque, None) => true,
        (Ports::Range(range), Some(port)) => (range.first()..=range.last()).contains(&port),
        (Ports::Opaque, Some(_)) | (Ports::Range(_), None) => false,
    };
    is_there && is_port && (*wanted == 0 || *wanted == protocol)
}

fn ports(protocol: u8, content: &[u8]) -> Option<(u16, u16)> {
    let mut reader = Reader::new(content);
    match protocol {
        TCP | UDP | SCTP | UDP_LITE | DCCP => Some((reader.u16("port").ok()?, reader.u16("port").ok()?)),
        ICMP | ICMPV6 => reader.u16("type and code").ok().map(|kind| (kind, kind)),
        _ => None,
    }
}

/// Most extension headers that are looked behind.
const MAX_EXTENSIONS: usize = 8;
const HOP_BY_HOP: u8 = 0;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const DCCP: u8 = 33;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const ICMPV6: u8 = 58;
const DESTINATION_OPTIONS: u8 = 60;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ike::wire::Span;

    fn ipv4(protocol: u8, fragment: u16, content: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet[9] = protocol;
        packet[12..16].copy_from_slice(&[10, 0, 0, 1]);
        packet[16..20].copy_from_slice(&[10, 0, 0, 2]);
        packet.extend_from_slice(content);
        packet
    }

    fn ipv6(extensions: &[(u8, &[u8])], protocol: u8, content: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 40];
        packet[0] = 0x60;
        packet[23] = 1;
        packet[39] = 2;
        let mut place = 6;
        for (kind, body) in extensions {
            packet[place] = *kind;
            place = packet.len();
            packet.extend_from_slice(body);
        }
        packet[place] = protocol;
        packet.extend_from_slice(content);
        packet
    }

    fn selector(protocol: u8, ports: Ports) -> TrafficSelector {
        let span = Span::new([10, 0, 0, 2].into(), [10, 0, 0, 9].into()).unwrap();
        TrafficSelector::Ip { protocol, ports, addresses: AddressRange::V4(span) }
    }

    #[test]
    fn addresses_protocol_and_ports_are_found() {
        let flow = Flow::of(&ipv4(TCP, 0, &[0, 80, 1, 187, 0])).unwrap();
        assert_eq!((flow.source, flow.destination), ([10, 0, 0, 1].into(), [10, 0, 0, 2].into()));
        assert_eq!((flow.protocol, flow.ports), (TCP, Some((80, 443))));
        assert_eq!(flow.reversed().reversed(), flow);
        assert_eq!(Flow::of(&ipv4(ICMP, 0, &[8, 0])).unwrap().ports, Some((0x0800, 0x0800)));
        assert_eq!(Flow::of(&ipv4(TCP, 5, &[0, 80, 1, 187])).unwrap().ports, None, "a later fragment");
        assert_eq!(Flow::of(&ipv4(47, 0, &[0, 80, 1, 187])).unwrap().ports, None);
    }

    #[test]
    fn extension_headers_are_looked_behind() {
        let options: &[u8] = &[0; 8];
        let flow =
            Flow::of(&ipv6(&[(HOP_BY_HOP, options), (ROUTING, options)], UDP, &[0, 53, 0, 54])).unwrap();
        assert_eq!((flow.protocol, flow.ports), (UDP, Some((53, 54))));

        let later: &[u8] = &[0, 0, 0, 8, 0, 0, 0, 0];
        let flow = Flow::of(&ipv6(&[(FRAGMENT, later)], UDP, &[0, 53, 0, 54])).unwrap();
        assert_eq!((flow.protocol, flow.ports), (UDP, None));
    }

    #[test]
    fn what_is_cut_off_or_not_ip_is_no_flow() {
        for packet in [&[][..], &[0x45; 19], &[0x60; 39], &[0x10; 60]] {
            assert_eq!(Flow::of(packet), None);
        }
    }

    #[test]
    fn selectors_select_by_address_protocol_and_port() {
        let flow = Flow::of(&ipv4(TCP, 0, &[0, 80, 1, 187])).unwrap();

        assert!(flow.goes_to(&[selector(0, Ports::Any)]) && flow.goes_to(&[selector(TCP, Ports::one(443))]));
        assert!(!flow.goes_to(&[selector(UDP, Ports::Any)]) && !flow.goes_to(&[selector(0, Ports::one(80))]));
        assert!(!flow.comes_from(&[selector(0, Ports::Any)]));
        assert!(flow.reversed().comes_from(&[selector(TCP, Ports::one(443))]));
        let later = Flow::of(&ipv4(TCP, 5, &[])).unwrap();
        assert!(
            later.goes_to(&[selector(0, Ports::Opaque)]) && !later.goes_to(&[selector(0, Ports::one(443))])
        );
    }
}
