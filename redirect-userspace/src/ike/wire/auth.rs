//! Authentication payload (`RFC 7296 §3.8`, `RFC 7427 §3`).

use std::borrow::Cow;
use std::fmt::{Debug, Formatter};

use crate::codec::{DecodeError, Reader, Writer};

use super::{EncodeError, Opaque, fit, wire_enum};

wire_enum! {
    /// How one side proves who it is.
    pub enum AuthMethod: u8 {
        /// RSA, PKCS #1 v1.5.
        Rsa = 1 => "RSA_SIGNATURE",
        /// Shared key.
        SharedKey = 2 => "SHARED_KEY_MIC",
        /// DSS.
        Dss = 3 => "DSS_SIGNATURE",
        /// ECDSA, P-256, SHA-256 (`RFC 4754`).
        Ecdsa256 = 9 => "ECDSA_256",
        /// ECDSA, P-384, SHA-384.
        Ecdsa384 = 10 => "ECDSA_384",
        /// ECDSA, P-521, SHA-512.
        Ecdsa521 = 11 => "ECDSA_521",
        /// Not at all (`RFC 7619`).
        Null = 13 => "NULL",
        /// A signature that names its algorithm (`RFC 7427`).
        Signature = 14 => "DIGITAL_SIGNATURE",
    }
}

/// A proof of identity.
///
/// ```text
///  0                   1                   2                   3
/// ┌───────────────────────────────────────────────────────────────┐
/// │ Auth method   │                  Reserved                     │
/// │                      Authentication data                      │
/// └───────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Auth<'a> {
    /// The method.
    pub method: AuthMethod,
    /// The proof; not empty.
    pub data: Cow<'a, [u8]>,
}

impl<'a> Auth<'a> {
    /// Reads a payload's body.
    ///
    /// # Errors
    ///
    /// Too short, or no authentication data.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let method = AuthMethod::from(reader.u8("auth method")?);
        reader.take(3, "AUTH payload")?;
        let data = reader.rest();
        if data.is_empty() {
            return Err(DecodeError::Length { what: "authentication data", value: 0 });
        }
        Ok(Self { method, data: data.into() })
    }

    /// Appends a payload's body.
    pub fn encode(&self, out: &mut Writer) {
        out.u8(self.method.into());
        out.zeros(3);
        out.octets(&self.data);
    }
}

impl Debug for Auth<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "Auth({:?}, {:?})", self.method, Opaque(&self.data))
    }
}

/// Authentication data of [`AuthMethod::Signature`].
///
/// ```text
///  0                   1                   2                   3
/// ┌───────────────────────────────────────────────────────────────┐
/// │ ASN.1 length  │  AlgorithmIdentifier, in DER                  │
/// │                          Signature                            │
/// └───────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature<'a> {
    /// AlgorithmIdentifier, in DER; not empty.
    pub algorithm: Cow<'a, [u8]>,
    /// The signature; not empty.
    pub value: Cow<'a, [u8]>,
}

impl<'a> Signature<'a> {
    /// Reads authentication data.
    ///
    /// # Errors
    ///
    /// Too short, or nothing where something must be.
    pub fn decode(data: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        let length = usize::from(reader.u8("length of a signature's algorithm")?);
        let algorithm = reader.take(length, "algorithm of a signature")?;
        let value = reader.rest();
        for (what, octets) in [("algorithm of a signature", algorithm), ("signature", value)] {
            if octets.is_empty() {
                return Err(DecodeError::Length { what, value: 0 });
            }
        }
        Ok(Self { algorithm: algorithm.into(), value: value.into() })
    }

    /// Appends authentication data.
    ///
    /// # Errors
    ///
    /// When the algorithm's length does not fit.
    pub fn encode(&self, out: &mut Writer) -> Result<(), EncodeError> {
        out.u8(fit(self.algorithm.len(), "algorithm of a signature")?);
        out.octets(&self.algorithm);
        out.octets(&self.value);
        Ok(())
    }
}
