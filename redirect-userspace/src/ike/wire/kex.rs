//! Key Exchange payload (`RFC 7296 §3.4`).

use std::borrow::Cow;

use crate::codec::{DecodeError, Reader, Writer};

use super::KeyExchangeMethod;

/// A public value of a key exchange method.
///
/// ```text
///  0                   1                   2                   3
/// ┌───────────────────────────────────────────────────────────────┐
/// │      Key exchange method      │           Reserved            │
/// │                       Key exchange data                       │
/// └───────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyExchange<'a> {
    /// The method.
    pub method: KeyExchangeMethod,
    /// The public value or, from the responder of a KEM, the ciphertext. Its length is the
    /// method's business.
    pub data: Cow<'a, [u8]>,
}

impl<'a> KeyExchange<'a> {
    /// Reads a payload's body.
    ///
    /// # Errors
    ///
    /// Too short, or no key exchange data.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let method = KeyExchangeMethod::from(reader.u16("key exchange method")?);
        reader.u16("KE payload")?;
        let data = reader.rest();
        if data.is_empty() {
            return Err(DecodeError::Length { what: "key exchange data", value: 0 });
        }
        Ok(Self { method, data: data.into() })
    }

    /// Appends a payload's body.
    pub fn encode(&self, out: &mut Writer) {
        out.u16(self.method.into());
        out.u16(0);
        out.octets(&self.data);
    }
}
