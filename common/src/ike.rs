//! IKEv2 as far as the fast path needs it: headers and numbers.
//!
//! # References
//!
//! `RFC 7296 §3.1`, `§3.2`, `§3.10`; `RFC 5685 §9`.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// IKE header.
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
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct IkeHeader {
    /// Initiator's SPI.
    pub spi_i: [u8; 8],
    /// Responder's SPI.
    pub spi_r: [u8; 8],
    /// Type of the first payload.
    pub next_payload: u8,
    /// Major version (high nibble) and minor version (low nibble).
    pub version: u8,
    /// Exchange type.
    pub exchange: u8,
    /// Flags.
    pub flags: u8,
    /// Message ID.
    pub message_id: U32,
    /// Octets of header and payloads.
    pub length: U32,
}

/// The IKE header once more, as numbers that fit registers: one comparison judges eight octets.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct IkeWords {
    /// Initiator's SPI.
    pub spi_i: [u8; 8],
    /// Responder's SPI.
    pub spi_r: [u8; 8],
    /// Next payload, version, exchange type, flags and Message ID.
    middle: [u8; 8],
    /// Octets of header and payloads.
    pub length: U32,
}

impl IkeWords {
    /// Whether this is the header of an original initiator's first IKE_SA_INIT request
    /// (`RFC 7296 §3.1`): major version 2, not a response, only the initiator's SPI, Message ID 0.
    #[inline(always)]
    #[must_use]
    pub fn begins_ike_sa_init(&self) -> bool {
        const MASK: u64 =
            u64::from_le_bytes([0, 0xf0, 0xff, FLAG_INITIATOR | FLAG_RESPONSE, 0xff, 0xff, 0xff, 0xff]);
        const EXPECTED: u64 =
            u64::from_le_bytes([0, VERSION_2, EXCHANGE_IKE_SA_INIT, FLAG_INITIATOR, 0, 0, 0, 0]);
        u64::from_le_bytes(self.middle) & MASK == EXPECTED && self.spi_i != [0; 8] && self.spi_r == [0; 8]
    }

    /// Type of the first payload.
    #[inline(always)]
    #[must_use]
    pub const fn next_payload(&self) -> u64 {
        u64::from_le_bytes(self.middle) & 0xff
    }
}

/// Generic payload header (`RFC 7296 §3.2`).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct PayloadHeader {
    /// Type of the payload that follows this one.
    pub next_payload: u8,
    /// Critical bit and seven reserved bits.
    pub critical: u8,
    /// Octets of this header and its payload.
    pub length: U16,
}

/// Notify payload up to the SPI, with its generic header (`RFC 7296 §3.10`).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct NotifyHeader {
    /// Generic header.
    pub payload: PayloadHeader,
    /// Protocol of the SPI, 0 when there is none.
    pub protocol: u8,
    /// Octets of SPI.
    pub spi_size: u8,
    /// Notify message type.
    pub kind: U16,
}

/// What REDIRECT and REDIRECTED_FROM carry before the identity (`RFC 5685 §9.2`, `§9.3`).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct IdentityHeader {
    /// [`IDENTITY_IPV4`], [`IDENTITY_IPV6`] or [`IDENTITY_FQDN`].
    pub kind: u8,
    /// Octets of identity.
    pub length: u8,
}

/// IKE header length.
pub const IKE_LENGTH: usize = 28;
/// Generic payload header length.
pub const PAYLOAD_LENGTH: usize = 4;
/// Notify payload length without SPI and data.
pub const NOTIFY_LENGTH: usize = 8;
/// From the start of the IKE header to the identity in a REDIRECT reply: IKE header, notify
/// header, identity header.
pub const REPLY_IDENTITY_AT: usize = IKE_LENGTH + NOTIFY_LENGTH + 2;
/// Length of the non-ESP marker (`RFC 3948 §2.2`).
pub const MARKER_LENGTH: usize = 4;

/// Longest IKE_SA_INIT request the fast path looks at: jumbo messages are the node's own work.
pub const MAX_MESSAGE: usize = 3000;
/// Most payloads the fast path walks.
pub const MAX_PAYLOADS: usize = 32;

/// Version octet of what we send: 2.0.
pub const VERSION_2: u8 = 0x20;
/// IKE_SA_INIT.
pub const EXCHANGE_IKE_SA_INIT: u8 = 34;
/// IKE_SESSION_RESUME (`RFC 5723 §8`).
pub const EXCHANGE_IKE_SESSION_RESUME: u8 = 38;
/// Flag: the sender is the original initiator of the IKE SA.
pub const FLAG_INITIATOR: u8 = 0x08;
/// Flag: this is a response.
pub const FLAG_RESPONSE: u8 = 0x20;
/// Critical bit in [`PayloadHeader::critical`].
pub const CRITICAL: u8 = 0x80;

/// No next payload.
pub const PAYLOAD_NONE: u8 = 0;
/// Security Association.
pub const PAYLOAD_SA: u8 = 33;
/// Key Exchange.
pub const PAYLOAD_KE: u8 = 34;
/// Nonce.
pub const PAYLOAD_NONCE: u8 = 40;
/// Notify.
pub const PAYLOAD_NOTIFY: u8 = 41;
/// Vendor ID.
pub const PAYLOAD_VENDOR: u8 = 43;
/// Puzzle Solution (`RFC 8019 §8.2`), the highest payload type assigned.
pub const PAYLOAD_PUZZLE: u8 = 54;

/// COOKIE.
pub const NOTIFY_COOKIE: u16 = 16390;
/// REDIRECT_SUPPORTED.
pub const NOTIFY_REDIRECT_SUPPORTED: u16 = 16406;
/// REDIRECT.
pub const NOTIFY_REDIRECT: u16 = 16407;
/// REDIRECTED_FROM.
pub const NOTIFY_REDIRECTED_FROM: u16 = 16408;

/// Gateway identity: IPv4 address.
pub const IDENTITY_IPV4: u8 = 1;
/// Gateway identity: IPv6 address.
pub const IDENTITY_IPV6: u8 = 2;
/// Gateway identity: fully qualified domain name.
pub const IDENTITY_FQDN: u8 = 3;

/// Shortest nonce (`RFC 7296 §3.9`).
pub const MIN_NONCE: usize = 16;
/// Longest nonce (`RFC 7296 §3.9`).
pub const MAX_NONCE: usize = 256;
/// Shortest SA payload: generic header, one proposal, one transform (`RFC 7296 §3.3`).
pub const MIN_SA: usize = PAYLOAD_LENGTH + 8 + 8;
/// Shortest KE payload: generic header, group, reserved, one octet (`RFC 7296 §3.4`).
pub const MIN_KE: usize = PAYLOAD_LENGTH + 4 + 1;
