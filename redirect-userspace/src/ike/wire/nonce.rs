//! Nonce payload (`RFC 7296 §3.9`).

use std::borrow::Cow;

use common::ike::{MAX_NONCE, MIN_NONCE};

use crate::codec::{DecodeError, Writer};

/// Random octets of one side of an exchange: 16 to 256 of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce<'a>(Cow<'a, [u8]>);

impl<'a> Nonce<'a> {
    /// Takes a payload's body, or octets of our own.
    ///
    /// # Errors
    ///
    /// Too short or too long.
    pub fn new(octets: impl Into<Cow<'a, [u8]>>) -> Result<Self, DecodeError> {
        let octets = octets.into();
        if !(MIN_NONCE..=MAX_NONCE).contains(&octets.len()) {
            return Err(DecodeError::Length { what: "nonce", value: octets.len() });
        }
        Ok(Self(octets))
    }

    /// Reads a payload's body.
    ///
    /// # Errors
    ///
    /// Too short or too long.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        Self::new(body)
    }

    /// The octets.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The same nonce, on its own memory.
    #[must_use]
    pub fn into_owned(self) -> Nonce<'static> {
        Nonce(self.0.into_owned().into())
    }

    /// Appends a payload's body.
    pub fn encode(&self, out: &mut Writer) {
        out.octets(&self.0);
    }
}
