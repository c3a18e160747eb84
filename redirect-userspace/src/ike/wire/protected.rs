//! Encrypted payloads, as far as their layout goes (`RFC 7296 §3.14`, `RFC 7383 §2.5`).
//!
//! Where initialization vector, ciphertext and integrity check value lie in the content depends on
//! the algorithms, so it is not known here.

use std::num::NonZeroU16;

use common::ike::PAYLOAD_LENGTH;

use crate::codec::{DecodeError, Reader, Writer};

use super::{EncodeError, Header, PayloadType, RawPayload, fit};

/// Payloads that only the peer can read.
///
/// ```text
///  0                   1                   2                   3
/// ┌───────────────────────────────────────────────────────────────┐
/// │                    Initialization vector                      │
/// │   Encrypted: payloads, padding (0-255 octets), pad length     │
/// │                    Integrity check value                      │
/// └───────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encrypted<'a> {
    /// Type of the first payload inside.
    pub first: Option<PayloadType>,
    /// Initialization vector, ciphertext, integrity check value.
    pub content: &'a [u8],
}

/// A part of such payloads.
///
/// ```text
///  0                   1                   2                   3
/// ┌───────────────────────────────────────────────────────────────┐
/// │        Fragment number        │        Total fragments        │
/// │                    Initialization vector                      │
/// │                  Encrypted: part of the payloads              │
/// │                    Integrity check value                      │
/// └───────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncryptedFragment<'a> {
    /// Type of the first payload inside; only in the first fragment.
    pub first: Option<PayloadType>,
    /// Which fragment of how many.
    pub number: FragmentNumber,
    /// Initialization vector, ciphertext, integrity check value.
    pub content: &'a [u8],
}

/// Which fragment of how many: from 1 to the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentNumber {
    number: NonZeroU16,
    total: NonZeroU16,
}

impl FragmentNumber {
    /// Octets on the wire.
    pub const LENGTH: usize = 4;

    /// `None` when one is zero or the number is higher than the total.
    #[must_use]
    pub const fn new(number: u16, total: u16) -> Option<Self> {
        match (NonZeroU16::new(number), NonZeroU16::new(total)) {
            (Some(number), Some(total)) if number.get() <= total.get() => Some(Self { number, total }),
            _ => None,
        }
    }

    /// The number, from 1.
    #[must_use]
    pub const fn number(self) -> NonZeroU16 {
        self.number
    }

    /// How many there are.
    #[must_use]
    pub const fn total(self) -> NonZeroU16 {
        self.total
    }

    /// Whether it is the first one, which alone says what is inside.
    #[must_use]
    pub const fn is_first(self) -> bool {
        self.number.get() == 1
    }
}

impl<'a> Encrypted<'a> {
    /// Looks at a payload of type [`PayloadType::Encrypted`].
    #[must_use]
    pub const fn from_raw(payload: &RawPayload<'a>) -> Self {
        Self { first: payload.next, content: payload.body }
    }
}

impl<'a> EncryptedFragment<'a> {
    /// Looks at a payload of type [`PayloadType::EncryptedFragment`].
    ///
    /// # Errors
    ///
    /// Too short, or numbers that cannot be.
    pub fn from_raw(payload: &RawPayload<'a>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload.body);
        let number = reader.u16("fragment number")?;
        let total = reader.u16("total fragments")?;
        let number = FragmentNumber::new(number, total)
            .ok_or_else(|| DecodeError::Value { what: "fragment number", value: u64::from(number) })?;
        let first = payload.next.filter(|_| number.is_first());
        Ok(Self { first, number, content: reader.rest() })
    }
}

/// Appends everything of a message up to the content of its encrypted payload, which takes
/// `content` octets: initialization vector, payloads, padding, pad length, integrity check value.
///
/// What has been appended is the associated data (`RFC 5282 §5.1`).
///
/// # Errors
///
/// When a length does not fit.
pub fn begin_encrypted(
    out: &mut Writer,
    header: &Header,
    first: Option<PayloadType>,
    content: usize,
) -> Result<(), EncodeError> {
    begin(out, header, PayloadType::Encrypted, first, content)
}

/// As [`begin_encrypted`], for a fragment.
///
/// # Errors
///
/// When a length does not fit.
pub fn begin_fragment(
    out: &mut Writer,
    header: &Header,
    first: Option<PayloadType>,
    number: FragmentNumber,
    content: usize,
) -> Result<(), EncodeError> {
    // RFC 7383 §2.5: only the first fragment says what is inside.
    let first = first.filter(|_| number.is_first());
    let body = content.saturating_add(FragmentNumber::LENGTH);
    begin(out, header, PayloadType::EncryptedFragment, first, body)?;
    out.u16(number.number.get());
    out.u16(number.total.get());
    Ok(())
}

fn begin(
    out: &mut Writer,
    header: &Header,
    kind: PayloadType,
    first: Option<PayloadType>,
    body: usize,
) -> Result<(), EncodeError> {
    let length = PAYLOAD_LENGTH.saturating_add(body);
    let payload_length = fit(length, "encrypted payload")?;
    header.encode(out, Some(kind), length)?;
    out.u8(PayloadType::to_next(first));
    out.u8(0);
    out.u16(payload_length);
    Ok(())
}
