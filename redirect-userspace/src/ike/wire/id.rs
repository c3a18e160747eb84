//! Identification payloads (`RFC 7296 §3.5`).

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::codec::{DecodeError, Reader, Writer};

use super::{Unlisted, wire_enum};

wire_enum! {
    /// What an identity is.
    pub enum IdType: u8 {
        /// An IPv4 address.
        Ipv4 = 1 => "IPV4_ADDR",
        /// A domain name.
        Fqdn = 2 => "FQDN",
        /// An e-mail address.
        Email = 3 => "RFC822_ADDR",
        /// An IPv6 address.
        Ipv6 = 5 => "IPV6_ADDR",
        /// An X.500 distinguished name.
        Dn = 9 => "DER_ASN1_DN",
        /// An X.500 general name.
        Gn = 10 => "DER_ASN1_GN",
        /// Something between the two sides.
        KeyId = 11 => "KEY_ID",
        /// Nobody (`RFC 7619`).
        Null = 13 => "NULL",
    }
}

/// An identity.
///
/// AUTH covers the body of the payload as it came, reserved octets included: keep that beside it.
///
/// ```text
///  0                   1                   2                   3
/// ┌───────────────────────────────────────────────────────────────┐
/// │   ID type     │                  Reserved                     │
/// │                       Identification data                     │
/// └───────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Id<'a> {
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
    /// A domain name. Compared without regard to case by whoever compares.
    Fqdn(Cow<'a, str>),
    /// An e-mail address.
    Email(Cow<'a, str>),
    /// An IPv6 address.
    Ipv6(Ipv6Addr),
    /// An X.500 distinguished name, in DER.
    Dn(Cow<'a, [u8]>),
    /// An X.500 general name, in DER.
    Gn(Cow<'a, [u8]>),
    /// Something between the two sides.
    KeyId(Cow<'a, [u8]>),
    /// Nobody.
    Null,
    /// Something else.
    Unknown {
        /// Its type.
        kind: Unlisted<u8>,
        /// The identity.
        data: Cow<'a, [u8]>,
    },
}

impl<'a> Id<'a> {
    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> IdType {
        match self {
            Self::Ipv4(_) => IdType::Ipv4,
            Self::Fqdn(_) => IdType::Fqdn,
            Self::Email(_) => IdType::Email,
            Self::Ipv6(_) => IdType::Ipv6,
            Self::Dn(_) => IdType::Dn,
            Self::Gn(_) => IdType::Gn,
            Self::KeyId(_) => IdType::KeyId,
            Self::Null => IdType::Null,
            Self::Unknown { kind, .. } => IdType::Unknown(*kind),
        }
    }

    /// Reads a payload's body.
    ///
    /// # Errors
    ///
    /// Too short, an address of the wrong length, a name that is not UTF-8, is empty or has
    /// control characters.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let kind = IdType::from(reader.u8("ID type")?);
        reader.take(3, "ID payload")?;
        let data = reader.rest();
        match kind {
            IdType::Ipv4 => address(data).map(|octets: [u8; 4]| Self::Ipv4(octets.into())),
            IdType::Fqdn => name(data).map(|name| Self::Fqdn(name.into())),
            IdType::Email => name(data).map(|name| Self::Email(name.into())),
            IdType::Ipv6 => address(data).map(|octets: [u8; 16]| Self::Ipv6(octets.into())),
            IdType::Dn => filled(data).map(|data| Self::Dn(data.into())),
            IdType::Gn => filled(data).map(|data| Self::Gn(data.into())),
            IdType::KeyId => filled(data).map(|data| Self::KeyId(data.into())),
            IdType::Null if data.is_empty() => Ok(Self::Null),
            // RFC 7619 §2.2: there is no identification data.
            IdType::Null => Err(DecodeError::Length { what: "identity of nobody", value: data.len() }),
            IdType::Unknown(kind) => Ok(Self::Unknown { kind, data: data.into() }),
        }
    }

    /// Appends a payload's body.
    pub fn encode(&self, out: &mut Writer) {
        out.u8(self.kind().into());
        out.zeros(3);
        match self {
            Self::Ipv4(address) => out.octets(&address.octets()),
            Self::Fqdn(name) | Self::Email(name) => out.octets(name.as_bytes()),
            Self::Ipv6(address) => out.octets(&address.octets()),
            Self::Dn(data) | Self::Gn(data) | Self::KeyId(data) | Self::Unknown { data, .. } => {
                out.octets(data);
            }
            Self::Null => {}
        }
    }

    /// The same identity, on its own memory.
    #[must_use]
    pub fn into_owned(self) -> Id<'static> {
        match self {
            Self::Ipv4(address) => Id::Ipv4(address),
            Self::Fqdn(name) => Id::Fqdn(name.into_owned().into()),
            Self::Email(name) => Id::Email(name.into_owned().into()),
            Self::Ipv6(address) => Id::Ipv6(address),
            Self::Dn(data) => Id::Dn(data.into_owned().into()),
            Self::Gn(data) => Id::Gn(data.into_owned().into()),
            Self::KeyId(data) => Id::KeyId(data.into_owned().into()),
            Self::Null => Id::Null,
            Self::Unknown { kind, data } => Id::Unknown { kind, data: data.into_owned().into() },
        }
    }
}

fn address<const N: usize>(data: &[u8]) -> Result<[u8; N], DecodeError> {
    data.try_into().ok().ok_or(DecodeError::Length { what: "address of an identity", value: data.len() })
}

fn filled(data: &[u8]) -> Result<&[u8], DecodeError> {
    if data.is_empty() {
        return Err(DecodeError::Length { what: "identity", value: 0 });
    }
    Ok(data)
}

/// RFC 7296 §3.5: a name has no terminators; nor anything else that could deceive a reader of logs.
fn name(data: &[u8]) -> Result<&str, DecodeError> {
    let what = "name of an identity";
    let name = std::str::from_utf8(filled(data)?)
        .map_err(|wrong| DecodeError::Value { what, value: first_octet(data, wrong.valid_up_to()) })?;
    match name.chars().find(|c| c.is_control()) {
        Some(control) => Err(DecodeError::Value { what, value: u64::from(u32::from(control)) }),
        None => Ok(name),
    }
}

fn first_octet(data: &[u8], at: usize) -> u64 {
    data.get(at).copied().map_or(0, u64::from)
}
