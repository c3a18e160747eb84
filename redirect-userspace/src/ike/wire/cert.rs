//! Certificate and Certificate Request payloads (`RFC 7296 §3.6`, `§3.7`).

use std::borrow::Cow;

use crate::codec::{DecodeError, Reader, Writer};

use super::wire_enum;

wire_enum! {
    /// What a certificate payload has in it.
    pub enum CertEncoding: u8 {
        /// PKCS #7 wrapped X.509 certificate.
        Pkcs7 = 1 => "PKCS7",
        /// X.509 certificate, in DER.
        X509Signature = 4 => "X509_SIGNATURE",
        /// Certificate revocation list, in DER.
        Crl = 7 => "CRL",
        /// SHA-1 of a certificate and where to fetch it.
        HashUrl = 12 => "HASH_URL",
        /// SHA-1 of a bundle of certificates and where to fetch it.
        HashUrlBundle = 13 => "HASH_URL_BUNDLE",
        /// OCSP response (`RFC 4806`).
        Ocsp = 14 => "OCSP",
        /// Public key without a certificate (`RFC 7670`).
        RawPublicKey = 15 => "RAW_PUBLIC_KEY",
    }
}

/// A certificate or something like one.
///
/// ```text
///  0                   1                   2                   3
/// ┌───────────────────────────────────────────────────────────────┐
/// │ Cert encoding │              Certificate data                 │
/// └───────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cert<'a> {
    /// What it is.
    pub encoding: CertEncoding,
    /// The certificate; not empty.
    pub data: Cow<'a, [u8]>,
}

impl<'a> Cert<'a> {
    /// Reads a payload's body.
    ///
    /// # Errors
    ///
    /// Empty, or no certificate data.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let encoding = CertEncoding::from(reader.u8("certificate encoding")?);
        let data = reader.rest();
        if data.is_empty() {
            return Err(DecodeError::Length { what: "certificate", value: 0 });
        }
        Ok(Self { encoding, data: data.into() })
    }

    /// Appends a payload's body.
    pub fn encode(&self, out: &mut Writer) {
        out.u8(self.encoding.into());
        out.octets(&self.data);
    }
}

/// Which certificates would help.
///
/// ```text
///  0                   1                   2                   3
/// ┌───────────────────────────────────────────────────────────────┐
/// │ Cert encoding │            Certification authorities          │
/// └───────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertRequest<'a> {
    /// What is asked for.
    pub encoding: CertEncoding,
    /// Whom it should come from; empty when that does not matter.
    data: Cow<'a, [u8]>,
}

impl<'a> CertRequest<'a> {
    /// Asks for X.509 certificates that one of `authorities` has issued.
    #[must_use]
    pub fn x509(authorities: &[[u8; AUTHORITY_LENGTH]]) -> CertRequest<'static> {
        CertRequest { encoding: CertEncoding::X509Signature, data: authorities.concat().into() }
    }

    /// Asks for OCSP responses, of whatever responder (`RFC 4806 §3.1`).
    #[must_use]
    pub const fn ocsp() -> CertRequest<'static> {
        CertRequest { encoding: CertEncoding::Ocsp, data: Cow::Borrowed(&[]) }
    }

    /// The authorities, by the SHA-1 of their public keys. None for other encodings than
    /// certificates.
    pub fn authorities(&self) -> impl Iterator<Item = &[u8; AUTHORITY_LENGTH]> {
        let hashes: &[u8] = if is_by_authority(self.encoding) { &self.data } else { &[] };
        hashes.as_chunks().0.iter()
    }

    /// Reads a payload's body.
    ///
    /// # Errors
    ///
    /// Empty, or half an authority.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let encoding = CertEncoding::from(reader.u8("certificate encoding")?);
        let data = reader.rest();
        if is_by_authority(encoding) && !data.len().is_multiple_of(AUTHORITY_LENGTH) {
            return Err(DecodeError::Length { what: "certification authorities", value: data.len() });
        }
        Ok(Self { encoding, data: data.into() })
    }

    /// Appends a payload's body.
    pub fn encode(&self, out: &mut Writer) {
        out.u8(self.encoding.into());
        out.octets(&self.data);
    }
}

/// Whether the authorities of a request are hashes of their public keys (`RFC 7296 §3.7`).
const fn is_by_authority(encoding: CertEncoding) -> bool {
    match encoding {
        CertEncoding::X509Signature | CertEncoding::HashUrl | CertEncoding::HashUrlBundle => true,
        CertEncoding::Pkcs7
        | CertEncoding::Crl
        | CertEncoding::Ocsp
        | CertEncoding::RawPublicKey
        | CertEncoding::Unknown(_) => false,
    }
}

/// Octets that stand for an authority: the SHA-1 of its public key.
pub const AUTHORITY_LENGTH: usize = 20;
