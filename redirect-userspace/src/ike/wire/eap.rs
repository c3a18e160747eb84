//! EAP payload (`RFC 7296 §3.16`, `RFC 3748 §4`).

use std::borrow::Cow;
use std::fmt::{Debug, Formatter};

use crate::codec::{DecodeError, Reader, Writer};

use super::{Opaque, wire_enum};

wire_enum! {
    /// What an EAP packet is.
    pub enum EapCode: u8 {
        /// From the gateway.
        Request = 1 => "Request",
        /// From the client.
        Response = 2 => "Response",
        /// The client has proved who it is.
        Success = 3 => "Success",
        /// It has not.
        Failure = 4 => "Failure",
    }
}

wire_enum! {
    /// EAP methods, and what is said about them.
    pub enum EapType: u8 {
        /// Who is it?
        Identity = 1 => "Identity",
        /// Something for the user to read.
        Notification = 2 => "Notification",
        /// Not this method.
        Nak = 3 => "Nak",
        /// MD5 challenge.
        Md5Challenge = 4 => "MD5-Challenge",
        /// TLS.
        Tls = 13 => "EAP-TLS",
        /// TTLS.
        Ttls = 21 => "EAP-TTLS",
        /// PEAP.
        Peap = 25 => "PEAP",
        /// MSCHAPv2.
        MschapV2 = 26 => "EAP-MSCHAPv2",
        /// A type of a vendor.
        Expanded = 254 => "Expanded",
    }
}

/// An EAP packet, to be handed on as it is. It may have passwords in it.
///
/// ```text
///  0                   1                   2                   3
/// ┌───────────────────────────────────────────────────────────────┐
/// │     Code      │  Identifier   │            Length             │
/// │     Type      │                  Type data                    │
/// └───────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Eap<'a> {
    /// What it is.
    pub code: EapCode,
    /// Which request it is or answers.
    pub identifier: u8,
    /// The type; only requests and responses have one.
    pub kind: Option<EapType>,
    packet: Cow<'a, [u8]>,
}

impl<'a> Eap<'a> {
    /// Takes a payload's body, or a packet of our own.
    ///
    /// # Errors
    ///
    /// The length in the packet is not its own, a request or response has no type, or a success
    /// or failure has something after its length.
    pub fn new(packet: impl Into<Cow<'a, [u8]>>) -> Result<Self, DecodeError> {
        let packet = packet.into();
        let mut reader = Reader::new(&packet);
        let code = EapCode::from(reader.u8("EAP code")?);
        let identifier = reader.u8("EAP identifier")?;
        let length = usize::from(reader.u16("EAP length")?);
        if length != packet.len() {
            return Err(DecodeError::Length { what: "EAP packet", value: length });
        }
        let kind = match code {
            EapCode::Request | EapCode::Response => Some(EapType::from(reader.u8("EAP type")?)),
            EapCode::Success | EapCode::Failure => {
                reader.finish("EAP packet")?;
                None
            }
            EapCode::Unknown(_) => None,
        };
        Ok(Self { code, identifier, kind, packet })
    }

    /// Reads a payload's body.
    ///
    /// # Errors
    ///
    /// Those of [`Self::new`].
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        Self::new(body)
    }

    /// The whole packet.
    #[must_use]
    pub fn packet(&self) -> &[u8] {
        &self.packet
    }

    /// What follows the type of a request or response.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        let at = if self.kind.is_some() { TYPE_DATA_AT } else { self.packet.len() };
        self.packet.get(at..).unwrap_or_default()
    }

    /// Appends a payload's body.
    pub fn encode(&self, out: &mut Writer) {
        out.octets(&self.packet);
    }
}

impl Debug for Eap<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { code, identifier, kind, packet } = self;
        write!(f, "Eap({code:?}, {identifier}, {kind:?}, {:?})", Opaque(packet))
    }
}

/// Octets before the type data.
const TYPE_DATA_AT: usize = 5;
