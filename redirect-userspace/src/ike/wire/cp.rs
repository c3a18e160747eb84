//! Configuration payload (`RFC 7296 §3.15`, `RFC 8598`).

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::codec::{DecodeError, Reader, Writer};

use super::{EncodeError, fit, wire_enum};

wire_enum! {
    /// What is done with the attributes.
    pub enum ConfigurationType: u8 {
        /// The client asks.
        Request = 1 => "CFG_REQUEST",
        /// The gateway answers.
        Reply = 2 => "CFG_REPLY",
        /// One side offers.
        Set = 3 => "CFG_SET",
        /// The other accepts.
        Ack = 4 => "CFG_ACK",
    }
}

wire_enum! {
    /// What an attribute configures.
    pub enum AttributeType: u16 {
        /// The client's address.
        Ip4Address = 1 => "INTERNAL_IP4_ADDRESS",
        /// The mask that goes with it.
        Ip4Netmask = 2 => "INTERNAL_IP4_NETMASK",
        /// Name server.
        Ip4Dns = 3 => "INTERNAL_IP4_DNS",
        /// NetBIOS name server.
        Ip4Nbns = 4 => "INTERNAL_IP4_NBNS",
        /// DHCP server.
        Ip4Dhcp = 6 => "INTERNAL_IP4_DHCP",
        /// What the sender is.
        ApplicationVersion = 7 => "APPLICATION_VERSION",
        /// The client's address.
        Ip6Address = 8 => "INTERNAL_IP6_ADDRESS",
        /// Name server.
        Ip6Dns = 10 => "INTERNAL_IP6_DNS",
        /// DHCP server.
        Ip6Dhcp = 12 => "INTERNAL_IP6_DHCP",
        /// Network behind the gateway.
        Ip4Subnet = 13 => "INTERNAL_IP4_SUBNET",
        /// Which attributes are supported.
        Supported = 14 => "SUPPORTED_ATTRIBUTES",
        /// Network behind the gateway.
        Ip6Subnet = 15 => "INTERNAL_IP6_SUBNET",
        /// Domain whose names the gateway's name servers know (`RFC 8598`).
        DnsDomain = 25 => "INTERNAL_DNS_DOMAIN",
        /// Trust anchor for such a domain.
        DnssecTa = 26 => "INTERNAL_DNSSEC_TA",
    }
}

/// Attributes, and what is done with them.
///
/// ```text
///  0                   1                   2                   3
/// ┌───────────────────────────────────────────────────────────────┐
/// │   CFG type    │                  Reserved                     │
/// │                          Attributes                           │
/// └───────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration<'a> {
    /// What is done with them.
    pub kind: ConfigurationType,
    /// The attributes. Those that are unknown are to be ignored.
    pub attributes: Vec<Attribute<'a>>,
}

impl<'a> Configuration<'a> {
    /// Reads a payload's body.
    ///
    /// # Errors
    ///
    /// Too short, or a value that its attribute cannot have.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let kind = ConfigurationType::from(reader.u8("CFG type")?);
        reader.take(3, "CP payload")?;
        let mut attributes = Vec::new();
        while !reader.is_empty() {
            attributes.push(Attribute::read(&mut reader)?);
        }
        Ok(Self { kind, attributes })
    }

    /// Appends a payload's body.
    ///
    /// # Errors
    ///
    /// When a value is longer than its length can say.
    pub fn encode(&self, out: &mut Writer) -> Result<(), EncodeError> {
        out.u8(self.kind.into());
        out.zeros(3);
        self.attributes.iter().try_for_each(|attribute| attribute.encode(out))
    }
}

/// An IPv4 network, or an address in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv4Prefix {
    address: Ipv4Addr,
    length: u8,
}

impl Ipv4Prefix {
    /// `None` when `length` is more than 32.
    #[must_use]
    pub const fn new(address: Ipv4Addr, length: u8) -> Option<Self> {
        if length <= 32 { Some(Self { address, length }) } else { None }
    }

    /// The address.
    #[must_use]
    pub const fn address(self) -> Ipv4Addr {
        self.address
    }

    /// Bits that all addresses of the network share.
    #[must_use]
    pub const fn length(self) -> u8 {
        self.length
    }
}

/// An IPv6 network, or an address in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv6Prefix {
    address: Ipv6Addr,
    length: u8,
}

impl Ipv6Prefix {
    /// `None` when `length` is more than 128.
    #[must_use]
    pub const fn new(address: Ipv6Addr, length: u8) -> Option<Self> {
        if length <= 128 { Some(Self { address, length }) } else { None }
    }

    /// The address.
    #[must_use]
    pub const fn address(self) -> Ipv6Addr {
        self.address
    }

    /// Bits that all addresses of the network share.
    #[must_use]
    pub const fn length(self) -> u8 {
        self.length
    }
}

/// One thing to configure. `None` where a request has no wish of its own.
///
/// ```text
///  0                   1                   2                   3
/// ┌───────────────────────────────────────────────────────────────┐
/// │R│       Attribute type        │            Length             │
/// │                             Value                             │
/// └───────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute<'a> {
    /// The client's address.
    Ip4Address(Option<Ipv4Addr>),
    /// The mask that goes with it, as its number of bits.
    Ip4Netmask(Option<MaskLength>),
    /// Name server.
    Ip4Dns(Option<Ipv4Addr>),
    /// NetBIOS name server.
    Ip4Nbns(Option<Ipv4Addr>),
    /// DHCP server.
    Ip4Dhcp(Option<Ipv4Addr>),
    /// What the sender is.
    ApplicationVersion(Cow<'a, [u8]>),
    /// The client's address, with the length of its network's prefix.
    Ip6Address(Option<Ipv6Prefix>),
    /// Name server.
    Ip6Dns(Option<Ipv6Addr>),
    /// DHCP server.
    Ip6Dhcp(Option<Ipv6Addr>),
    /// Network behind the gateway.
    Ip4Subnet(Option<Ipv4Prefix>),
    /// Supported attributes; none asks for them.
    Supported(Vec<AttributeType>),
    /// Network behind the gateway.
    Ip6Subnet(Option<Ipv6Prefix>),
    /// Domain whose names the gateway's name servers know; empty asks for them.
    DnsDomain(Cow<'a, str>),
    /// Something else.
    Other {
        /// What it configures.
        kind: OtherAttribute,
        /// Its value.
        value: Cow<'a, [u8]>,
    },
}

/// The type of an attribute whose value is not looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OtherAttribute(AttributeType);

impl OtherAttribute {
    /// The type.
    #[must_use]
    pub const fn kind(self) -> AttributeType {
        self.0
    }
}

/// Bits of an IPv4 mask: 0 to 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MaskLength(u8);

impl MaskLength {
    /// `None` when `length` is more than 32.
    #[must_use]
    pub const fn new(length: u8) -> Option<Self> {
        if length <= 32 { Some(Self(length)) } else { None }
    }

    /// The number of bits.
    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }

    /// As a mask, such as 255.255.255.0.
    #[must_use]
    pub fn to_mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(self.0)).unwrap_or(0))
    }

    /// From a mask; its bits must be in one piece.
    fn from_mask(mask: Ipv4Addr) -> Result<Self, DecodeError> {
        let length = mask.to_bits().leading_ones();
        u8::try_from(length)
            .ok()
            .and_then(Self::new)
            .filter(|length| length.to_mask() == mask)
            .ok_or_else(|| DecodeError::Value { what: "netmask", value: u64::from(mask.to_bits()) })
    }
}

impl<'a> Attribute<'a> {
    /// What it configures.
    #[must_use]
    pub const fn kind(&self) -> AttributeType {
        match self {
            Self::Ip4Address(_) => AttributeType::Ip4Address,
            Self::Ip4Netmask(_) => AttributeType::Ip4Netmask,
            Self::Ip4Dns(_) => AttributeType::Ip4Dns,
            Self::Ip4Nbns(_) => AttributeType::Ip4Nbns,
            Self::Ip4Dhcp(_) => AttributeType::Ip4Dhcp,
            Self::ApplicationVersion(_) => AttributeType::ApplicationVersion,
            Self::Ip6Address(_) => AttributeType::Ip6Address,
            Self::Ip6Dns(_) => AttributeType::Ip6Dns,
            Self::Ip6Dhcp(_) => AttributeType::Ip6Dhcp,
            Self::Ip4Subnet(_) => AttributeType::Ip4Subnet,
            Self::Supported(_) => AttributeType::Supported,
            Self::Ip6Subnet(_) => AttributeType::Ip6Subnet,
            Self::DnsDomain(_) => AttributeType::DnsDomain,
            Self::Other { kind, .. } => kind.0,
        }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let kind = AttributeType::from(reader.u16("attribute type")? & !RESERVED);
        let length = usize::from(reader.u16("attribute length")?);
        Self::new(kind, reader.take(length, "attribute value")?)
    }

    /// The attribute of a type with a value.
    ///
    /// # Errors
    ///
    /// A value that the attribute cannot have.
    pub fn new(kind: AttributeType, value: &'a [u8]) -> Result<Self, DecodeError> {
        let length = value.len();
        Ok(match kind {
            AttributeType::Ip4Address => Self::Ip4Address(whole(value)?.map(|v: [u8; 4]| v.into())),
            AttributeType::Ip4Netmask => {
                let mask = whole(value)?.map(|mask: [u8; 4]| MaskLength::from_mask(mask.into()));
                Self::Ip4Netmask(mask.transpose()?)
            }
            AttributeType::Ip4Dns => Self::Ip4Dns(whole(value)?.map(|v: [u8; 4]| v.into())),
            AttributeType::Ip4Nbns => Self::Ip4Nbns(whole(value)?.map(|v: [u8; 4]| v.into())),
            AttributeType::Ip4Dhcp => Self::Ip4Dhcp(whole(value)?.map(|v: [u8; 4]| v.into())),
            AttributeType::ApplicationVersion => Self::ApplicationVersion(value.into()),
            AttributeType::Ip6Address => Self::Ip6Address(ipv6_prefix(value)?),
            AttributeType::Ip6Dns => Self::Ip6Dns(whole(value)?.map(|v: [u8; 16]| v.into())),
            AttributeType::Ip6Dhcp => Self::Ip6Dhcp(whole(value)?.map(|v: [u8; 16]| v.into())),
            AttributeType::Ip4Subnet => {
                let subnet = whole(value)?.map(|[a, b, c, d, mask @ ..]: [u8; 8]| {
                    let length = MaskLength::from_mask(mask.into())?.0;
                    Ok(Ipv4Prefix { address: Ipv4Addr::new(a, b, c, d), length })
                });
                Self::Ip4Subnet(subnet.transpose()?)
            }
            AttributeType::Supported => {
                let (kinds, rest) = value.as_chunks::<2>();
                if !rest.is_empty() {
                    return Err(DecodeError::Length { what: "supported attributes", value: length });
                }
                let kinds =
                    kinds.iter().map(|kind| AttributeType::from(u16::from_be_bytes(*kind) & !RESERVED));
                Self::Supported(kinds.collect())
            }
            AttributeType::Ip6Subnet => Self::Ip6Subnet(ipv6_prefix(value)?),
            AttributeType::DnsDomain => {
                let domain = std::str::from_utf8(value).ok().filter(|name| !name.contains(char::is_control));
                let wrong = DecodeError::Length { what: "name of a domain", value: length };
                Self::DnsDomain(domain.ok_or(wrong)?.into())
            }
            AttributeType::DnssecTa | AttributeType::Unknown(_) => {
                Self::Other { kind: OtherAttribute(kind), value: value.into() }
            }
        })
    }

    fn encode(&self, out: &mut Writer) -> Result<(), EncodeError> {
        out.u16(self.kind().into());
        let length_at = out.len();
        out.u16(0);
        match self {
            Self::Ip4Address(address)
            | Self::Ip4Dns(address)
            | Self::Ip4Nbns(address)
            | Self::Ip4Dhcp(address) => {
                if let Some(address) = address {
                    out.octets(&address.octets());
                }
            }
            Self::Ip4Netmask(length) => {
                if let Some(length) = length {
                    out.octets(&length.to_mask().octets());
                }
            }
            Self::Ip6Address(prefix) | Self::Ip6Subnet(prefix) => {
                if let Some(prefix) = prefix {
                    out.octets(&prefix.address.octets());
                    out.u8(prefix.length);
                }
            }
            Self::Ip6Dns(address) | Self::Ip6Dhcp(address) => {
                if let Some(address) = address {
                    out.octets(&address.octets());
                }
            }
            Self::Ip4Subnet(prefix) => {
                if let Some(prefix) = prefix {
                    out.octets(&prefix.address.octets());
                    out.octets(&MaskLength(prefix.length).to_mask().octets());
                }
            }
            Self::Supported(kinds) => {
                for kind in kinds {
                    out.u16((*kind).into());
                }
            }
            Self::DnsDomain(name) => out.octets(name.as_bytes()),
            Self::ApplicationVersion(value) | Self::Other { value, .. } => out.octets(value),
        }
        let length: u16 = fit(out.len() - length_at - 2, "configuration attribute")?;
        out.patch(length_at, &length.to_be_bytes());
        Ok(())
    }
}

/// A value of a fixed length, or none.
fn whole<const N: usize>(value: &[u8]) -> Result<Option<[u8; N]>, DecodeError> {
    match value.try_into() {
        Ok(octets) => Ok(Some(octets)),
        Err(_) if value.is_empty() => Ok(None),
        Err(_) => Err(DecodeError::Length { what: "configuration attribute", value: value.len() }),
    }
}

fn ipv6_prefix(value: &[u8]) -> Result<Option<Ipv6Prefix>, DecodeError> {
    let Some([address @ .., length]) = whole::<17>(value)? else { return Ok(None) };
    let prefix = Ipv6Prefix::new(Ipv6Addr::from(address), length);
    prefix
        .map(Some)
        .ok_or_else(|| DecodeError::Value { what: "IPv6 prefix length", value: u64::from(length) })
}

/// The reserved bit before an attribute's type.
const RESERVED: u16 = 0x8000;
