//! Traffic selectors, in strongSwan's syntax: `ADDRESS`, `ADDRESS/LENGTH` or `ADDRESS-ADDRESS`, and
//! behind it, if not all packets are meant, `[PROTOCOL]`, `[PROTOCOL/PORT]` or `[PROTOCOL/PORT-PORT]`.

use std::net::IpAddr;
use std::str::FromStr;

use crate::config::{ClientPrefix, PrefixError};
use crate::ike::wire::{AddressRange, Ports, Span, TrafficSelector};

/// A selector from the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selector(pub(super) TrafficSelector);

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let (addresses, packets) = match text.split_once('[') {
            Some((addresses, rest)) => {
                (addresses, Some(rest.strip_suffix(']').ok_or(SelectorError::Bracket)?))
            }
            None => (text, None),
        };
        let addresses = range(addresses)?;
        let (protocol, ports) = packets.map_or(Ok((ANY, Ports::Any)), kind)?;
        Ok(Self(TrafficSelector::Ip { protocol, ports, addresses }))
    }
}

/// Stands for every protocol.
const ANY: u8 = 0;

fn range(text: &str) -> Result<AddressRange, SelectorError> {
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) => (first, last),
            (Err(_), _) | (_, Err(_)) => return Err(SelectorError::Addresses),
        },
        None => {
            let prefix: ClientPrefix = text.parse()?;
            (prefix.network(), last_of(&prefix))
        }
    };
    let range = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => Span::new(first, last).map(AddressRange::V4),
        (IpAddr::V6(first), IpAddr::V6(last)) => Span::new(first, last).map(AddressRange::V6),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            return Err(SelectorError::Families);
        }
    };
    range.ok_or(SelectorError::Backwards)
}

/// The last address of a prefix.
pub(super) fn last_of(prefix: &ClientPrefix) -> IpAddr {
    let length = u32::from(prefix.length());
    match prefix.network() {
        IpAddr::V4(first) => IpAddr::V4((first.to_bits() | u32::MAX.checked_shr(length).unwrap_or(0)).into()),
        IpAddr::V6(first) => {
            IpAddr::V6((first.to_bits() | u128::MAX.checked_shr(length).unwrap_or(0)).into())
        }
    }
}

/// Protocol and ports.
fn kind(text: &str) -> Result<(u8, Ports), SelectorError> {
    let (protocol, ports) = match text.split_once('/') {
        Some((protocol, ports)) => (protocol, Some(ports)),
        None => (text, None),
    };
    let known = PROTOCOLS.iter().find(|(name, _)| *name == protocol).map(|(_, number)| *number);
    let number = known.or_else(|| protocol.parse().ok()).filter(|number| *number != ANY);
    let number = number.ok_or(SelectorError::Protocol)?;
    let Some(ports) = ports else { return Ok((number, Ports::Any)) };
    if !WITH_PORTS.contains(&number) {
        return Err(SelectorError::NoPorts);
    }
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) => {
            Ports::range(first, last).map(|ports| (number, ports)).ok_or(SelectorError::Ports)
        }
        (Err(_), _) | (_, Err(_)) => Err(SelectorError::Ports),
    }
}

/// Protocols that have a name here (`RFC 5237`, IANA's "Protocol Numbers").
const PROTOCOLS: [(&str, u8); 6] =
    [("icmp", 1), ("tcp", 6), ("udp", 17), ("gre", 47), ("icmpv6", 58), ("sctp", 132)];
/// Protocols whose packets have ports: TCP, UDP, DCCP, SCTP, UDP-Lite.
const WITH_PORTS: [u8; 5] = [6, 17, 33, 132, 136];

/// Why a [`Selector`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SelectorError {
    #[error("a range is ADDRESS-ADDRESS")]
    Addresses,
    #[error("the range ends before it begins")]
    Backwards,
    #[error("the protocol stands in brackets: [PROTOCOL] or [PROTOCOL/PORT]")]
    Bracket,
    #[error("both ends of a range are of one family")]
    Families,
    #[error("packets of this protocol have no ports")]
    NoPorts,
    #[error("a port is 0 to 65535, several are PORT-PORT")]
    Ports,
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    #[error("a protocol is a number from 1 to 255, or icmp, icmpv6, tcp, udp, sctp or gre")]
    Protocol,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, SelectorError> {
        let TrafficSelector::Ip { protocol, ports, addresses } = text.parse::<Selector>()?.0 else {
            panic!("by address");
        };
        let addresses = match addresses {
            AddressRange::V4(span) => format!("{}-{}", span.first(), span.last()),
            AddressRange::V6(span) => format!("{}-{}", span.first(), span.last()),
        };
        Ok(match ports {
            Ports::Any => format!("{addresses} {protocol}"),
            Ports::Range(ports) => format!("{addresses} {protocol} {}-{}", ports.first(), ports.last()),
            Ports::Opaque => panic!("not in a file"),
        })
    }

    #[test]
    fn a_selector_is_a_prefix_or_a_range_and_what_of_it() {
        for (text, meaning) in [
            ("0.0.0.0/0", "0.0.0.0-255.255.255.255 0"),
            ("::/0", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 0"),
            ("10.99.0.0/16", "10.99.0.0-10.99.255.255 0"),
            ("192.0.2.7", "192.0.2.7-192.0.2.7 0"),
            ("fd99::/64", "fd99::-fd99::ffff:ffff:ffff:ffff 0"),
            ("10.0.0.5-10.0.0.9", "10.0.0.5-10.0.0.9 0"),
            ("10.0.0.0/8[tcp]", "10.0.0.0-10.255.255.255 6"),
            ("10.0.0.0/8[tcp/443]", "10.0.0.0-10.255.255.255 6 443-443"),
            ("10.0.0.1[17/5000-5010]", "10.0.0.1-10.0.0.1 17 5000-5010"),
            ("10.0.0.1[udp/0-65535]", "10.0.0.1-10.0.0.1 17"),
            ("fd99::1[icmpv6]", "fd99::1-fd99::1 58"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(meaning), "{text}");
        }
    }

    #[test]
    fn what_selects_nothing_is_refused_with_the_reason() {
        for (text, error) in [
            ("", SelectorError::Prefix(PrefixError::Address)),
            ("dynamic", SelectorError::Prefix(PrefixError::Address)),
            ("10.0.0.0/33", SelectorError::Prefix(PrefixError::Length { bits: 32 })),
            ("10.0.0.1-", SelectorError::Addresses),
            ("10.0.0.0/8-10.0.0.9", SelectorError::Addresses),
            ("10.0.0.9-10.0.0.1", SelectorError::Backwards),
            ("10.0.0.9-fd00::1", SelectorError::Families),
            ("10.0.0.0/8[tcp", SelectorError::Bracket),
            ("10.0.0.0/8[tcp]x", SelectorError::Bracket),
            ("10.0.0.0/8[]", SelectorError::Protocol),
            ("10.0.0.0/8[0]", SelectorError::Protocol),
            ("10.0.0.0/8[TCP]", SelectorError::Protocol),
            ("10.0.0.0/8[icmp/8]", SelectorError::NoPorts),
            ("10.0.0.0/8[tcp/]", SelectorError::Ports),
            ("10.0.0.0/8[tcp/443-80]", SelectorError::Ports),
            ("10.0.0.0/8[tcp/65536]", SelectorError::Ports),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
