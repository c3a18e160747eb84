//! Traffic Selector payloads (`RFC 7296 §3.13`).

use std::fmt::{Display, Formatter};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::codec::{DecodeError, Reader, Writer};

use super::{EncodeError, Unlisted, fit, wire_enum};

wire_enum! {
    /// What a traffic selector selects by.
    pub enum TsType: u8 {
        /// IPv4 addresses.
        Ipv4 = 7 => "TS_IPV4_ADDR_RANGE",
        /// IPv6 addresses.
        Ipv6 = 8 => "TS_IPV6_ADDR_RANGE",
    }
}

/// The selectors of one side: traffic that one of them selects is meant.
///
/// ```text
///  0                   1                   2                   3
/// ┌───────────────────────────────────────────────────────────────┐
/// │Number of TSs  │                  Reserved                     │
/// │                       Traffic selectors                       │
/// └───────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficSelectors(pub Vec<TrafficSelector>);

impl TrafficSelectors {
    /// Reads a payload's body.
    ///
    /// # Errors
    ///
    /// Too short, another number of selectors than it says, a selector of the wrong length, or a
    /// range that ends before it begins. An empty list is none: it selects nothing.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let count = reader.u8("number of traffic selectors")?;
        reader.take(3, "TS payload")?;
        let selectors = (0..count).map(|_| TrafficSelector::read(&mut reader)).collect::<Result<_, _>>()?;
        reader.finish("TS payload")?;
        Ok(Self(selectors))
    }

    /// Appends a payload's body.
    ///
    /// # Errors
    ///
    /// When a length or count does not fit.
    pub fn encode(&self, out: &mut Writer) -> Result<(), EncodeError> {
        out.u8(fit(self.0.len(), "traffic selectors")?);
        out.zeros(3);
        self.0.iter().try_for_each(|selector| selector.encode(out))
    }
}

/// Which packets are meant.
///
/// ```text
///  0                   1                   2                   3
/// ┌───────────────────────────────────────────────────────────────┐
/// │   TS type     │  IP protocol  │        Selector length        │
/// │          Start port           │           End port            │
/// │                       Starting address                        │
/// │                        Ending address                         │
/// └───────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TrafficSelector {
    /// By address, protocol and port.
    Ip {
        /// The IP protocol; 0 for all.
        protocol: u8,
        /// Ports, or what stands in their place.
        ports: Ports,
        /// Addresses.
        addresses: AddressRange,
    },
    /// By something that is not known.
    Unknown {
        /// Its type.
        kind: Unlisted<u8>,
        /// The octet that is the IP protocol elsewhere.
        protocol: u8,
        /// What follows the length.
        rest: Box<[u8]>,
    },
}

impl TrafficSelector {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = TsType::from(reader.u8("traffic selector type")?);
        let protocol = reader.u8("protocol of a traffic selector")?;
        let length = usize::from(reader.u16("traffic selector length")?);
        let wrong = DecodeError::Length { what: "traffic selector", value: length };
        let rest = length.checked_sub(BEFORE_PORTS).ok_or(wrong)?;
        let mut inner = reader.inner(rest, "traffic selector")?;
        match (kind, rest) {
            (TsType::Unknown(kind), _) => Ok(Self::Unknown { kind, protocol, rest: inner.rest().into() }),
            (TsType::Ipv4, IPV4_REST) | (TsType::Ipv6, IPV6_REST) => {
                let ports = Ports::read(&mut inner)?;
                let addresses = if rest == IPV4_REST {
                    AddressRange::V4(span::<Ipv4Addr, 4>(&mut inner)?)
                } else {
                    AddressRange::V6(span::<Ipv6Addr, 16>(&mut inner)?)
                };
                Ok(Self::Ip { protocol, ports, addresses })
            }
            (TsType::Ipv4 | TsType::Ipv6, _) => Err(wrong),
        }
    }

    fn encode(&self, out: &mut Writer) -> Result<(), EncodeError> {
        let start = out.len();
        match self {
            Self::Ip { protocol, ports, addresses } => {
                let kind = match addresses {
                    AddressRange::V4(_) => TsType::Ipv4,
                    AddressRange::V6(_) => TsType::Ipv6,
                };
                out.u8(kind.into());
                out.u8(*protocol);
                out.u16(0);
                let (first, last) = ports.to_numbers();
                out.u16(first);
                out.u16(last);
                match addresses {
                    AddressRange::V4(span) => {
                        out.octets(&span.first.octets());
                        out.octets(&span.last.octets());
                    }
                    AddressRange::V6(span) => {
                        out.octets(&span.first.octets());
                        out.octets(&span.last.octets());
                    }
                }
            }
            Self::Unknown { kind, protocol, rest } => {
                out.u8(kind.value());
                out.u8(*protocol);
                out.u16(0);
                out.octets(rest);
            }
        }
        let length: u16 = fit(out.len() - start, "traffic selector")?;
        out.patch(start + 2, &length.to_be_bytes());
        Ok(())
    }
}

/// Reads starting and ending address.
fn span<A, const N: usize>(reader: &mut Reader<'_>) -> Result<Span<A>, DecodeError>
where
    A: Copy + Ord + From<[u8; N]>,
{
    let first = A::from(reader.array("starting address")?);
    let last = reader.array("ending address")?;
    // What is in the way is the first octet of the ending address, as good as any.
    let value = last.first().copied().map_or(0, u64::from);
    Span::new(first, A::from(last))
        .ok_or(DecodeError::Value { what: "ending address before the starting address", value })
}

/// Octets of a selector before its ports.
const BEFORE_PORTS: usize = 4;
/// Octets of an IPv4 selector from its ports on.
const IPV4_REST: usize = 12;
/// Octets of an IPv6 selector from its ports on.
const IPV6_REST: usize = 36;

/// Which ports. For ICMP a number is type times 256 plus code (`RFC 7296 §3.13.1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ports {
    /// All of them, and packets that have none.
    Any,
    /// Only packets in which none can be seen, such as fragments.
    Opaque,
    /// From one to another.
    Range(PortRange),
}

/// Ports from one to another, not all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The lowest.
    #[must_use]
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest.
    #[must_use]
    pub const fn last(self) -> u16 {
        self.last
    }
}

impl Ports {
    /// From `first` to `last`, both included; `None` when it ends before it begins. All ports are
    /// [`Self::Any`].
    #[must_use]
    pub const fn range(first: u16, last: u16) -> Option<Self> {
        match (first, last) {
            (0, u16::MAX) => Some(Self::Any),
            _ if first <= last => Some(Self::Range(PortRange { first, last })),
            _ => None,
        }
    }

    /// A single one.
    #[must_use]
    pub const fn one(port: u16) -> Self {
        Self::Range(PortRange { first: port, last: port })
    }

    const fn to_numbers(self) -> (u16, u16) {
        match self {
            Self::Any => (0, u16::MAX),
            Self::Opaque => (u16::MAX, 0),
            Self::Range(PortRange { first, last }) => (first, last),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let first = reader.u16("start port")?;
        let last = reader.u16("end port")?;
        if (first, last) == Self::Opaque.to_numbers() {
            return Ok(Self::Opaque);
        }
        Self::range(first, last)
            .ok_or_else(|| DecodeError::Value { what: "end port before start port", value: u64::from(last) })
    }
}

/// Addresses of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressRange {
    /// IPv4.
    V4(Span<Ipv4Addr>),
    /// IPv6.
    V6(Span<Ipv6Addr>),
}

/// As people write it: `10.1.0.0/16`, `10.1.0.7[tcp/443]`, or the first and the last address.
impl Display for TrafficSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip { protocol, ports, addresses } => {
                Display::fmt(addresses, f)?;
                match (protocol, ports) {
                    (0, Ports::Any) => Ok(()),
                    (protocol, Ports::Any) => write!(f, "[{protocol}]"),
                    (protocol, Ports::Opaque) => write!(f, "[{protocol}/opaque]"),
                    (protocol, Ports::Range(PortRange { first, last })) if first == last => {
                        write!(f, "[{protocol}/{first}]")
                    }
                    (protocol, Ports::Range(PortRange { first, last })) => {
                        write!(f, "[{protocol}/{first}-{last}]")
                    }
                }
            }
            Self::Unknown { kind, .. } => write!(f, "selector of type {kind}"),
        }
    }
}

/// A prefix where it is one.
impl Display for AddressRange {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::V4(Span { first, last }) => {
                let (low, high) = (u128::from(first.to_bits()), u128::from(last.to_bits()));
                match prefix_length(low, high, 32) {
                    Some(length) => write!(f, "{first}/{length}"),
                    None => write!(f, "{first}-{last}"),
                }
            }
            Self::V6(Span { first, last }) => match prefix_length(first.to_bits(), last.to_bits(), 128) {
                Some(length) => write!(f, "{first}/{length}"),
                None => write!(f, "{first}-{last}"),
            },
        }
    }
}

/// The length of the prefix that reaches from one address to the other, if one does.
fn prefix_length(first: u128, last: u128, bits: u32) -> Option<u32> {
    let differing = first ^ last;
    let host = u128::BITS - differing.leading_zeros();
    let mask = 1_u128.checked_shl(host).map_or(u128::MAX, |end| end - 1);
    (differing == mask && first & mask == 0).then(|| bits.saturating_sub(host))
}

/// From one to another, both included; never ends before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span<T> {
    first: T,
    last: T,
}

impl Span<Ipv4Addr> {
    /// Every IPv4 address.
    pub const MAX_V4: Self = Self { first: Ipv4Addr::UNSPECIFIED, last: Ipv4Addr::BROADCAST };
}

impl Span<Ipv6Addr> {
    /// Every IPv6 address.
    pub const MAX_V6: Self = Self { first: Ipv6Addr::UNSPECIFIED, last: Ipv6Addr::from_bits(u128::MAX) };
}

impl<T: Copy + Ord> Span<T> {
    /// `None` when it would end before it begins.
    #[must_use]
    pub fn new(first: T, last: T) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The lowest.
    #[must_use]
    pub const fn first(&self) -> T {
        self.first
    }

    /// The highest.
    #[must_use]
    pub const fn last(&self) -> T {
        self.last
    }

    /// Whether something lies in it.
    #[must_use]
    pub fn contains(&self, value: T) -> bool {
        (self.first..=self.last).contains(&value)
    }

    /// What lies in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }
}
