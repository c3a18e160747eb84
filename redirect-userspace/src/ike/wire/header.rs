//! The IKE header and its numbers (`RFC 7296 §3.1`).

use std::fmt::{Debug, Display, Formatter};
use std::num::{NonZeroU32, NonZeroU64};

use common::ike::{self, FLAG_INITIATOR, FLAG_RESPONSE, IKE_LENGTH, VERSION_2};

use crate::codec::{DecodeError, Reader, Writer};

use super::{Chain, ChainWriter, EncodeError, PayloadType, fit, wire_enum};

/// The original initiator's SPI of an IKE SA. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiI(pub NonZeroU64);

/// The original responder's SPI of an IKE SA. Never zero: before there is one, there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiR(pub NonZeroU64);

impl SpiI {
    /// As on the wire.
    #[must_use]
    pub const fn to_octets(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }
}

impl SpiR {
    /// As on the wire.
    #[must_use]
    pub const fn to_octets(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }
}

impl Display for SpiI {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Display for SpiR {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The SPI of an ESP or AH SA. Never zero, which is not for the wire (`RFC 4303 §2.1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildSpi(pub NonZeroU32);

impl ChildSpi {
    /// The lowest that we assign: those below are reserved (`RFC 4303 §2.1`).
    pub const LOWEST: u32 = 256;
    /// Octets on the wire.
    pub const LENGTH: usize = 4;

    /// As on the wire.
    #[must_use]
    pub const fn to_octets(self) -> [u8; Self::LENGTH] {
        self.0.get().to_be_bytes()
    }

    /// Reads one.
    pub(super) fn read(reader: &mut Reader<'_>, what: &'static str) -> Result<Self, DecodeError> {
        NonZeroU32::new(reader.u32(what)?).map(Self).ok_or(DecodeError::Value { what, value: 0 })
    }
}

impl Display for ChildSpi {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The protocol of a Child SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChildProtocol {
    /// Authentication Header.
    Ah,
    /// Encapsulating Security Payload.
    Esp,
}

impl ChildProtocol {
    /// As in Security Protocol Identifier fields (`RFC 7296 §3.3.1`); `None` for any other.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            PROTOCOL_AH => Some(Self::Ah),
            PROTOCOL_ESP => Some(Self::Esp),
            _ => None,
        }
    }

    /// As in Security Protocol Identifier fields.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Ah => PROTOCOL_AH,
            Self::Esp => PROTOCOL_ESP,
        }
    }
}

impl Display for ChildProtocol {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Ah => "AH",
            Self::Esp => "ESP",
        })
    }
}

/// IKE, as a Security Protocol Identifier.
pub(super) const PROTOCOL_IKE: u8 = 1;
const PROTOCOL_AH: u8 = 2;
const PROTOCOL_ESP: u8 = 3;

/// The number of a request and of its response, counted for each direction on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u32);

impl MessageId {
    /// That of the first exchange.
    pub const FIRST: Self = Self(0);

    /// The next one; `None` at the end, since they never begin anew (`RFC 7296 §2.2`).
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(next) => Some(Self(next)),
            None => None,
        }
    }
}

impl Display for MessageId {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.0, f)
    }
}

/// Major and minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u8);

impl Version {
    /// What we speak: 2.0.
    pub const V2: Self = Self(VERSION_2);

    /// The part that must be the same.
    #[must_use]
    pub const fn major(self) -> u8 {
        self.0 >> 4
    }

    /// The part that is ignored (`RFC 7296 §2.5`).
    #[must_use]
    pub const fn minor(self) -> u8 {
        self.0 & 0x0f
    }
}

impl Display for Version {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major(), self.minor())
    }
}

/// Who began an IKE SA: fixes the order of its SPIs and the direction of its keys. Not who began
/// the exchange at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OriginalRole {
    /// Sent the first IKE_SA_INIT request, or the request that rekeyed the IKE SA.
    Initiator,
    /// Answered it.
    Responder,
}

impl OriginalRole {
    /// The other one.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// Which half of an exchange a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Asks.
    Request,
    /// Answers.
    Response,
}

impl Display for Direction {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Request => "request",
            Self::Response => "response",
        })
    }
}

wire_enum! {
    /// What an exchange is about (`RFC 7296 §3.1`).
    pub enum ExchangeType: u8 {
        /// First exchange: algorithms, keys.
        IkeSaInit = ike::EXCHANGE_IKE_SA_INIT => "IKE_SA_INIT",
        /// Identities, authentication, first Child SA.
        IkeAuth = 35 => "IKE_AUTH",
        /// Another Child SA, or new keys.
        CreateChildSa = 36 => "CREATE_CHILD_SA",
        /// Delete, configure, notify, check liveness.
        Informational = 37 => "INFORMATIONAL",
        /// Instead of IKE_SA_INIT, with a ticket (`RFC 5723`).
        IkeSessionResume = ike::EXCHANGE_IKE_SESSION_RESUME => "IKE_SESSION_RESUME",
        /// Between IKE_SA_INIT and IKE_AUTH (`RFC 9242`).
        IkeIntermediate = 43 => "IKE_INTERMEDIATE",
        /// Further key exchanges of a CREATE_CHILD_SA (`RFC 9370`).
        IkeFollowupKe = 44 => "IKE_FOLLOWUP_KE",
    }
}

/// What stands before the payloads.
///
/// ```text
///  0                   1                   2                   3
/// ┌───────────────────────────────────────────────────────────────┐
/// │                    IKE SA Initiator's SPI (8)                 │
/// │                    IKE SA Responder's SPI (8)                 │
/// │ Next payload  │ Version       │ Exchange type │ Flags         │
/// │                          Message ID                           │
/// │                            Length                             │
/// └───────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The original initiator's SPI.
    pub spi_i: SpiI,
    /// The original responder's SPI, once it has chosen one.
    pub spi_r: Option<SpiR>,
    /// Version.
    pub version: Version,
    /// Exchange.
    pub exchange: ExchangeType,
    /// Which of the two the sender is.
    pub sender: OriginalRole,
    /// Request or response.
    pub direction: Direction,
    /// Which exchange.
    pub message_id: MessageId,
}

impl Header {
    /// Octets on the wire.
    pub const LENGTH: usize = IKE_LENGTH;

    /// Reads the header at the start of a datagram, of whatever version: one of a later major
    /// version is answered too (`RFC 7296 §2.5`).
    ///
    /// # Errors
    ///
    /// Too short, or the initiator's SPI is zero.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(octets)).map(|(header, _, _)| header)
    }

    /// The header, the first payload's type, the length of the message.
    fn read(reader: &mut Reader<'_>) -> Result<(Self, u8, u32), DecodeError> {
        let mut reader = reader.inner(IKE_LENGTH, "IKE header")?;
        let spi_i = reader.u64("initiator's SPI")?;
        let spi_r = reader.u64("responder's SPI")?;
        let next = reader.u8("next payload")?;
        let version = Version(reader.u8("version")?);
        let exchange = ExchangeType::from(reader.u8("exchange type")?);
        let flags = reader.u8("flags")?;
        let message_id = MessageId(reader.u32("message ID")?);
        let length = reader.u32("message length")?;
        // RFC 7296 §3.1: the initiator's SPI "MUST NOT be zero".
        let spi_i = NonZeroU64::new(spi_i)
            .map(SpiI)
            .ok_or(DecodeError::Value { what: "initiator's SPI", value: 0 })?;
        let sender =
            if flags & FLAG_INITIATOR == 0 { OriginalRole::Responder } else { OriginalRole::Initiator };
        let direction = if flags & FLAG_RESPONSE == 0 { Direction::Request } else { Direction::Response };
        let spi_r = NonZeroU64::new(spi_r).map(SpiR);
        Ok((Self { spi_i, spi_r, version, exchange, sender, direction, message_id }, next, length))
    }

    /// Appends the header of a message with `payloads` octets of payloads.
    ///
    /// # Errors
    ///
    /// When its length does not fit.
    pub fn encode(
        &self,
        out: &mut Writer,
        first: Option<PayloadType>,
        payloads: usize,
    ) -> Result<(), EncodeError> {
        let length = fit(IKE_LENGTH.saturating_add(payloads), "message")?;
        let initiator = match self.sender {
            OriginalRole::Initiator => FLAG_INITIATOR,
            OriginalRole::Responder => 0,
        };
        let response = match self.direction {
            Direction::Request => 0,
            Direction::Response => FLAG_RESPONSE,
        };
        out.octets(&self.spi_i.to_octets());
        out.u64(self.spi_r.map_or(0, |spi| spi.0.get()));
        out.u8(PayloadType::to_next(first));
        out.u8(self.version.0);
        out.u8(self.exchange.into());
        out.u8(initiator | response);
        out.u32(self.message_id.0);
        out.u32(length);
        Ok(())
    }
}

/// A datagram that is an IKEv2 message as far as its outside goes.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// Header.
    pub header: Header,
    /// Payloads that stand in clear; the last one may be an encrypted one.
    pub payloads: Chain<'a>,
    octets: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a datagram, without the non-ESP marker.
    ///
    /// # Errors
    ///
    /// Not version 2, the length in the header is not the datagram's, or the payloads do not
    /// fill it.
    pub fn decode(octets: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(octets);
        let (header, first, length) = Header::read(&mut reader)?;
        if header.version.major() != Version::V2.major() {
            return Err(DecodeError::Value {
                what: "major version",
                value: u64::from(header.version.major()),
            });
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length < IKE_LENGTH {
            return Err(DecodeError::Length { what: "message", value: length });
        }
        let payloads = reader.inner(length - IKE_LENGTH, "message")?;
        reader.finish("message")?;
        let payloads = Chain::decode(PayloadType::from_next(first), payloads.as_slice())?;
        Ok(Self { header, payloads, octets })
    }

    /// The whole message: what AUTH and integrity checks cover.
    #[must_use]
    pub const fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// What stands before the content of the encrypted payload or fragment that ends this
    /// message: the associated data (`RFC 5282 §5.1`, `RFC 7383 §2.5`).
    #[must_use]
    pub fn before(&self, content: &[u8]) -> &'a [u8] {
        let end = self.octets.len().saturating_sub(content.len());
        self.octets.get(..end).unwrap_or_default()
    }
}

impl Debug for Message<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message").field("header", &self.header).field("payloads", &self.payloads).finish()
    }
}

/// Writes a message whose payloads stand in clear, after whatever `octets` holds already.
///
/// # Errors
///
/// When a length or count does not fit.
pub fn encode_message(
    octets: Vec<u8>,
    header: &Header,
    payloads: impl FnOnce(&mut ChainWriter<'_>) -> Result<(), EncodeError>,
) -> Result<Vec<u8>, EncodeError> {
    let mut out = Writer::after(octets);
    let start = out.len();
    header.encode(&mut out, None, 0)?;
    let mut chain = ChainWriter::new(&mut out);
    payloads(&mut chain)?;
    let first = chain.finish();
    let length: u32 = fit(out.len() - start, "message")?;
    out.patch(start + NEXT_PAYLOAD_AT, &[PayloadType::to_next(first)]);
    out.patch(start + LENGTH_AT, &length.to_be_bytes());
    Ok(out.into_octets())
}

/// Where the first payload's type stands, counted from the start of the message.
const NEXT_PAYLOAD_AT: usize = 16;
/// Where the length stands, counted from the start of the message.
const LENGTH_AT: usize = 24;
