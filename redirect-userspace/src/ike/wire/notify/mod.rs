//! Notify payload (`RFC 7296 §3.10`).

mod content;

use std::borrow::Cow;
use std::fmt::{Debug, Formatter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

use common::ike::{
    IDENTITY_FQDN, IDENTITY_IPV4, IDENTITY_IPV6, NOTIFY_COOKIE, NOTIFY_REDIRECT, NOTIFY_REDIRECT_SUPPORTED,
    NOTIFY_REDIRECTED_FROM,
};

use crate::codec::{DecodeError, Reader, Writer};
use crate::gateway::{Fqdn, GatewayAddress, unicast};

use super::{
    ChildProtocol, ChildSpi, EncodeError, KeyExchangeMethod, MessageId, Nonce, Opaque, fit, wire_enum,
};

wire_enum! {
    /// What is notified.
    pub enum NotifyType: u16 {
        /// A critical payload is not understood.
        UnsupportedCriticalPayload = 1 => "UNSUPPORTED_CRITICAL_PAYLOAD",
        /// No such IKE SA.
        InvalidIkeSpi = 4 => "INVALID_IKE_SPI",
        /// Another major version is wanted.
        InvalidMajorVersion = 5 => "INVALID_MAJOR_VERSION",
        /// The message is malformed.
        InvalidSyntax = 7 => "INVALID_SYNTAX",
        /// A Message ID outside the window.
        InvalidMessageId = 9 => "INVALID_MESSAGE_ID",
        /// No such Child SA.
        InvalidSpi = 11 => "INVALID_SPI",
        /// None of the proposals will do.
        NoProposalChosen = 14 => "NO_PROPOSAL_CHOSEN",
        /// Another key exchange method is wanted.
        InvalidKePayload = 17 => "INVALID_KE_PAYLOAD",
        /// Not who it says it is.
        AuthenticationFailed = 24 => "AUTHENTICATION_FAILED",
        /// Only one pair of addresses at a time.
        SinglePairRequired = 34 => "SINGLE_PAIR_REQUIRED",
        /// No more Child SAs.
        NoAdditionalSas = 35 => "NO_ADDITIONAL_SAS",
        /// No address to give.
        InternalAddressFailure = 36 => "INTERNAL_ADDRESS_FAILURE",
        /// A configuration payload was expected.
        FailedCpRequired = 37 => "FAILED_CP_REQUIRED",
        /// None of the traffic selectors will do.
        TsUnacceptable = 38 => "TS_UNACCEPTABLE",
        /// A packet that its SA is not for.
        InvalidSelectors = 39 => "INVALID_SELECTORS",
        /// Addresses will not do (`RFC 4555`).
        UnacceptableAddresses = 40 => "UNACCEPTABLE_ADDRESSES",
        /// There is a NAT where none may be (`RFC 4555`).
        UnexpectedNatDetected = 41 => "UNEXPECTED_NAT_DETECTED",
        /// Not now.
        TemporaryFailure = 43 => "TEMPORARY_FAILURE",
        /// The Child SA to be rekeyed is not there.
        ChildSaNotFound = 44 => "CHILD_SA_NOT_FOUND",
        /// Authenticated, but may not.
        AuthorizationFailed = 46 => "AUTHORIZATION_FAILED",
        /// The key exchange to be continued is not there (`RFC 9370`).
        StateNotFound = 47 => "STATE_NOT_FOUND",
        /// No more queues for these traffic selectors (`RFC 9611`).
        TsMaxQueue = 48 => "TS_MAX_QUEUE",

        /// The only IKE SA between these two.
        InitialContact = 16384 => "INITIAL_CONTACT",
        /// How many requests may be under way.
        SetWindowSize = 16385 => "SET_WINDOW_SIZE",
        /// Other traffic selectors would have done as well.
        AdditionalTsPossible = 16386 => "ADDITIONAL_TS_POSSIBLE",
        /// Compression of packets.
        IpcompSupported = 16387 => "IPCOMP_SUPPORTED",
        /// Hash of the sender's address.
        NatDetectionSource = 16388 => "NAT_DETECTION_SOURCE_IP",
        /// Hash of the receiver's address.
        NatDetectionDestination = 16389 => "NAT_DETECTION_DESTINATION_IP",
        /// To be repeated, as a proof of the sender's address.
        Cookie = NOTIFY_COOKIE => "COOKIE",
        /// The Child SA is to have transport mode.
        UseTransportMode = 16391 => "USE_TRANSPORT_MODE",
        /// Certificates may be fetched.
        HttpCertLookupSupported = 16392 => "HTTP_CERT_LOOKUP_SUPPORTED",
        /// The Child SA to be rekeyed.
        RekeySa = 16393 => "REKEY_SA",
        /// No padding beyond what encryption needs.
        EspTfcPaddingNotSupported = 16394 => "ESP_TFC_PADDING_NOT_SUPPORTED",
        /// Later fragments may go through the Child SA.
        NonFirstFragmentsAlso = 16395 => "NON_FIRST_FRAGMENTS_ALSO",
        /// MOBIKE (`RFC 4555`).
        MobikeSupported = 16396 => "MOBIKE_SUPPORTED",
        /// Another address of the sender.
        AdditionalIp4Address = 16397 => "ADDITIONAL_IP4_ADDRESS",
        /// Another address of the sender.
        AdditionalIp6Address = 16398 => "ADDITIONAL_IP6_ADDRESS",
        /// The sender has no other address.
        NoAdditionalAddresses = 16399 => "NO_ADDITIONAL_ADDRESSES",
        /// The SAs are to use the addresses of this message.
        UpdateSaAddresses = 16400 => "UPDATE_SA_ADDRESSES",
        /// To be repeated, as a proof that a path works.
        Cookie2 = 16401 => "COOKIE2",
        /// Addresses that no NAT may change.
        NoNatsAllowed = 16402 => "NO_NATS_ALLOWED",
        /// When to authenticate anew (`RFC 4478`).
        AuthLifetime = 16403 => "AUTH_LIFETIME",
        /// More than one authentication is possible (`RFC 4739`).
        MultipleAuthSupported = 16404 => "MULTIPLE_AUTH_SUPPORTED",
        /// Another authentication is to come.
        AnotherAuthFollows = 16405 => "ANOTHER_AUTH_FOLLOWS",
        /// The client may be redirected (`RFC 5685`).
        RedirectSupported = NOTIFY_REDIRECT_SUPPORTED => "REDIRECT_SUPPORTED",
        /// Where to go instead.
        Redirect = NOTIFY_REDIRECT => "REDIRECT",
        /// Who has redirected the client.
        RedirectedFrom = NOTIFY_REDIRECTED_FROM => "REDIRECTED_FROM",
        /// A ticket and how long it is good for (`RFC 5723`).
        TicketLtOpaque = 16409 => "TICKET_LT_OPAQUE",
        /// A ticket is wanted.
        TicketRequest = 16410 => "TICKET_REQUEST",
        /// The ticket comes later.
        TicketAck = 16411 => "TICKET_ACK",
        /// No ticket, or not this one.
        TicketNack = 16412 => "TICKET_NACK",
        /// A ticket.
        TicketOpaque = 16413 => "TICKET_OPAQUE",
        /// The gateway need not prove who it is before EAP is over (`RFC 5998`).
        EapOnlyAuthentication = 16417 => "EAP_ONLY_AUTHENTICATION",
        /// IKE_AUTH without a Child SA (`RFC 6023`).
        ChildlessSupported = 16418 => "CHILDLESS_IKEV2_SUPPORTED",
        /// A proof to come that the sender has lost its SAs (`RFC 6290`).
        QuickCrashDetection = 16419 => "QUICK_CRASH_DETECTION",
        /// Fragmentation (`RFC 7383`).
        FragmentationSupported = 16430 => "IKEV2_FRAGMENTATION_SUPPORTED",
        /// Hash functions for signatures (`RFC 7427`).
        SignatureHashAlgorithms = 16431 => "SIGNATURE_HASH_ALGORITHMS",
        /// Postquantum preshared keys (`RFC 8784`).
        UsePpk = 16435 => "USE_PPK",
        /// Which of them.
        PpkIdentity = 16436 => "PPK_IDENTITY",
        /// Authentication data for the case that it is not there.
        NoPpkAuth = 16437 => "NO_PPK_AUTH",
        /// IKE_INTERMEDIATE (`RFC 9242`).
        IntermediateSupported = 16438 => "INTERMEDIATE_EXCHANGE_SUPPORTED",
        /// The client may ask for an IPv4 address (`RFC 8983`).
        Ip4Allowed = 16439 => "IP4_ALLOWED",
        /// The client may ask for an IPv6 address.
        Ip6Allowed = 16440 => "IP6_ALLOWED",
        /// Which key exchange is continued (`RFC 9370`).
        AdditionalKeyExchange = 16441 => "ADDITIONAL_KEY_EXCHANGE",
    }
}

impl NotifyType {
    /// The lowest number that does not stand for an error.
    pub const FIRST_STATUS: u16 = 16384;

    /// Whether it means that something went wrong. In a response such a notify that is not known
    /// means that the request has failed (`RFC 7296 §3.10.1`).
    #[must_use]
    pub fn is_error(self) -> bool {
        u16::from(self) < Self::FIRST_STATUS
    }
}

/// A notify. What its data says: [`Self::content`].
///
/// ```text
///  0                   1                   2                   3
/// ┌───────────────────────────────────────────────────────────────┐
/// │  Protocol ID  │   SPI size    │     Notify message type       │
/// │                             SPI                               │
/// │                       Notification data                       │
/// └───────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Notify<'a> {
    /// What is notified.
    pub kind: NotifyType,
    /// Protocol of the SPI; says nothing where there is none.
    pub protocol: u8,
    /// Which SA is meant; empty when it is the IKE SA, or none. At most 255 octets.
    pub spi: &'a [u8],
    /// Data.
    pub data: &'a [u8],
}

impl<'a> Notify<'a> {
    /// One whose type says all.
    #[must_use]
    pub const fn plain(kind: NotifyType) -> Self {
        Self { kind, protocol: 0, spi: &[], data: &[] }
    }

    /// Reads a payload's body.
    ///
    /// # Errors
    ///
    /// Too short.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let protocol = reader.u8("protocol of a notify")?;
        let spi_size = usize::from(reader.u8("SPI size of a notify")?);
        let kind = NotifyType::from(reader.u16("notify message type")?);
        let spi = reader.take(spi_size, "SPI of a notify")?;
        Ok(Self { kind, protocol, spi, data: reader.rest() })
    }

    /// Appends a payload's body.
    ///
    /// # Errors
    ///
    /// When the SPI is longer than its length can say.
    pub fn encode(&self, out: &mut Writer) -> Result<(), EncodeError> {
        out.u8(self.protocol);
        out.u8(fit(self.spi.len(), "SPI of a notify")?);
        out.u16(self.kind.into());
        out.octets(self.spi);
        out.octets(self.data);
        Ok(())
    }

    /// Looks into SPI and data.
    ///
    /// # Errors
    ///
    /// A length or value that the type does not have. What becomes of the message then is for
    /// the receiver to say: most notifies may just as well not have come.
    pub fn content(&self) -> Result<NotifyContent<'a>, DecodeError> {
        content::read(self)
    }
}

impl Debug for Notify<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { kind, protocol, spi, data } = self;
        write!(f, "Notify({kind:?}, protocol {protocol}, SPI {spi:02x?}, {:?})", Opaque(data))
    }
}

/// What a notify says beyond its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotifyContent<'a> {
    /// The type of the payload that is not understood.
    UnsupportedCriticalPayload(u8),
    /// The Message ID that is wrong.
    InvalidMessageId(MessageId),
    /// The SPI of an ESP or AH packet.
    InvalidSpi(ChildSpi),
    /// The method that is wanted.
    InvalidKePayload(KeyExchangeMethod),
    /// The Child SA that is not there, by the SPI of the request.
    ChildSaNotFound(ChildProtocol, ChildSpi),
    /// How many requests may be under way.
    SetWindowSize(NonZeroU32),
    /// Compression of packets to the sender.
    IpcompSupported {
        /// Compression parameter index.
        cpi: u16,
        /// Algorithm.
        transform: u8,
    },
    /// Hash of SPIs, the sender's address and port.
    NatDetectionSource([u8; HASH_LENGTH]),
    /// Hash of SPIs, the receiver's address and port.
    NatDetectionDestination([u8; HASH_LENGTH]),
    /// To be repeated.
    Cookie(Cookie<'a>),
    /// The Child SA to be rekeyed, by the SPI that leads to the sender.
    RekeySa(ChildProtocol, ChildSpi),
    /// Another address of the sender.
    AdditionalIp4Address(Ipv4Addr),
    /// Another address of the sender.
    AdditionalIp6Address(Ipv6Addr),
    /// To be repeated: 8 to 64 octets.
    Cookie2(&'a [u8]),
    /// Seconds after which the IKE SA ends if it is not authenticated anew.
    AuthLifetime(u32),
    /// Where to go instead.
    Redirect {
        /// The gateway.
        gateway: GatewayAddress,
        /// The nonce of the IKE_SA_INIT request; nowhere else is there one.
        nonce: Option<Nonce<'a>>,
    },
    /// Who has redirected the client.
    RedirectedFrom(IpAddr),
    /// A ticket, and how many seconds it is good for.
    TicketLtOpaque {
        /// Seconds.
        lifetime: u32,
        /// The ticket; not empty.
        ticket: Opaque<'a>,
    },
    /// A ticket; not empty.
    TicketOpaque(Opaque<'a>),
    /// A token: 16 to 128 octets.
    QuickCrashDetection(Opaque<'a>),
    /// Hash functions for signatures.
    SignatureHashAlgorithms(HashAlgorithms<'a>),
    /// A postquantum preshared key.
    PpkIdentity {
        /// What kind of identifier.
        kind: PpkIdType,
        /// The identifier; not empty.
        id: &'a [u8],
    },
    /// Authentication data; not empty.
    NoPpkAuth(Opaque<'a>),
    /// What the responder said, to be repeated; not empty.
    AdditionalKeyExchange(&'a [u8]),
    /// Nothing, or nothing that is known.
    Plain(NotifyType),
}

impl NotifyContent<'_> {
    /// The type.
    #[must_use]
    pub const fn kind(&self) -> NotifyType {
        match self {
            Self::UnsupportedCriticalPayload(_) => NotifyType::UnsupportedCriticalPayload,
            Self::InvalidMessageId(_) => NotifyType::InvalidMessageId,
            Self::InvalidSpi(_) => NotifyType::InvalidSpi,
            Self::InvalidKePayload(_) => NotifyType::InvalidKePayload,
            Self::ChildSaNotFound(..) => NotifyType::ChildSaNotFound,
            Self::SetWindowSize(_) => NotifyType::SetWindowSize,
            Self::IpcompSupported { .. } => NotifyType::IpcompSupported,
            Self::NatDetectionSource(_) => NotifyType::NatDetectionSource,
            Self::NatDetectionDestination(_) => NotifyType::NatDetectionDestination,
            Self::Cookie(_) => NotifyType::Cookie,
            Self::RekeySa(..) => NotifyType::RekeySa,
            Self::AdditionalIp4Address(_) => NotifyType::AdditionalIp4Address,
            Self::AdditionalIp6Address(_) => NotifyType::AdditionalIp6Address,
            Self::Cookie2(_) => NotifyType::Cookie2,
            Self::AuthLifetime(_) => NotifyType::AuthLifetime,
            Self::Redirect { .. } => NotifyType::Redirect,
            Self::RedirectedFrom(_) => NotifyType::RedirectedFrom,
            Self::TicketLtOpaque { .. } => NotifyType::TicketLtOpaque,
            Self::TicketOpaque(_) => NotifyType::TicketOpaque,
            Self::QuickCrashDetection(_) => NotifyType::QuickCrashDetection,
            Self::SignatureHashAlgorithms(_) => NotifyType::SignatureHashAlgorithms,
            Self::PpkIdentity { .. } => NotifyType::PpkIdentity,
            Self::NoPpkAuth(_) => NotifyType::NoPpkAuth,
            Self::AdditionalKeyExchange(_) => NotifyType::AdditionalKeyExchange,
            Self::Plain(kind) => *kind,
        }
    }

    /// The Child SA that is meant.
    #[must_use]
    pub const fn child(&self) -> Option<(ChildProtocol, ChildSpi)> {
        if let Self::ChildSaNotFound(protocol, spi) | Self::RekeySa(protocol, spi) = self {
            return Some((*protocol, *spi));
        }
        None
    }
}

/// Octets of a NAT detection hash: SHA-1 (`RFC 7296 §2.23`).
pub const HASH_LENGTH: usize = 20;

/// What a responder under load wants to see again: 1 to 64 octets (`RFC 7296 §2.6`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie<'a>(Cow<'a, [u8]>);

impl<'a> Cookie<'a> {
    /// Takes a notify's data, or octets of our own.
    ///
    /// # Errors
    ///
    /// Empty or too long.
    pub fn new(octets: impl Into<Cow<'a, [u8]>>) -> Result<Self, DecodeError> {
        let octets = octets.into();
        if !(1..=64).contains(&octets.len()) {
            return Err(DecodeError::Length { what: "COOKIE", value: octets.len() });
        }
        Ok(Self(octets))
    }

    /// The octets.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The same cookie, on its own memory.
    #[must_use]
    pub fn into_owned(self) -> Cookie<'static> {
        Cookie(self.0.into_owned().into())
    }
}

wire_enum! {
    /// Hash functions for signatures (`RFC 7427 §4`).
    pub enum HashAlgorithm: u16 {
        /// SHA-1.
        Sha1 = 1 => "SHA1",
        /// SHA-256.
        Sha2_256 = 2 => "SHA2_256",
        /// SHA-384.
        Sha2_384 = 3 => "SHA2_384",
        /// SHA-512.
        Sha2_512 = 4 => "SHA2_512",
        /// None: the signature takes the message itself (`RFC 8420`).
        Identity = 5 => "IDENTITY",
    }
}

/// Hash functions, the octets of at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashAlgorithms<'a>(Cow<'a, [u8]>);

impl HashAlgorithms<'_> {
    /// `None` when there is none.
    #[must_use]
    pub fn new(algorithms: &[HashAlgorithm]) -> Option<HashAlgorithms<'static>> {
        let octets: Vec<u8> =
            algorithms.iter().flat_map(|algorithm| u16::from(*algorithm).to_be_bytes()).collect();
        (!octets.is_empty()).then_some(HashAlgorithms(octets.into()))
    }

    /// The functions, in the sender's order.
    pub fn iter(&self) -> impl Iterator<Item = HashAlgorithm> {
        self.0.as_chunks().0.iter().map(|number| u16::from_be_bytes(*number).into())
    }
}

wire_enum! {
    /// What kind of identifier a postquantum preshared key has (`RFC 8784 §5.1`).
    pub enum PpkIdType: u8 {
        /// Something that only the responder understands.
        Opaque = 1 => "PPK_ID_OPAQUE",
        /// A fixed one.
        Fixed = 2 => "PPK_ID_FIXED",
    }
}
