//! What a peer sent in CERT payloads.
//!
//! # References
//!
//! `RFC 7296 §3.6`, `RFC 4806 §3.2` (OCSP responses among them).

use std::fmt::{Display, Formatter};

use crate::codec::DecodeError;
use crate::crypto::x509::{Certificate, MAX_STAPLES};
use crate::ike::wire::{Cert, CertEncoding};

/// Certificates of a peer, none of which is believed yet.
#[derive(Debug)]
pub(super) struct Bundle<'a> {
    /// The one whose key signed.
    pub(super) first: Certificate,
    /// Those that may lead from it to a CA, in DER.
    pub(super) others: Vec<&'a [u8]>,
    /// What CAs have said about them, in DER.
    pub(super) staples: Vec<&'a [u8]>,
    /// What was not looked at.
    pub(super) ignored: Ignored,
}

impl<'a> Bundle<'a> {
    /// Takes the X.509 certificates out of CERT payloads, up to the limits.
    // RFC 7296 §3.6: the first one has the key that signed, the others come in any order.
    pub(super) fn read(payloads: &'a [Cert<'a>]) -> Result<Self, (BundleError, Ignored)> {
        let mut ignored = Ignored::default();
        let (mut octets, mut taken, mut staples) = (0_usize, Vec::new(), Vec::new());
        for payload in payloads {
            octets = octets.saturating_add(payload.data.len());
            let (list, most) = match payload.encoding {
                CertEncoding::X509Signature => (&mut taken, MAX_CERTIFICATES),
                CertEncoding::Ocsp => (&mut staples, MAX_STAPLES),
                CertEncoding::Pkcs7
                | CertEncoding::Crl
                | CertEncoding::HashUrl
                | CertEncoding::HashUrlBundle
                | CertEncoding::RawPublicKey
                | CertEncoding::Unknown(_) => {
                    ignored.note(payload.encoding);
                    continue;
                }
            };
            if list.len() >= most || octets > MAX_OCTETS {
                ignored.surplus = ignored.surplus.saturating_add(1);
            } else {
                list.push(&*payload.data);
            }
        }
        let mut taken = taken.into_iter();
        let Some(first) = taken.next() else { return Err((BundleError::Missing, ignored)) };
        match Certificate::from_der(first) {
            Ok(first) => Ok(Self { first, others: taken.collect(), staples, ignored }),
            Err(error) => Err((BundleError::Malformed(error), ignored)),
        }
    }
}

/// Why there is no certificate to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BundleError {
    /// None was sent.
    Missing,
    /// It cannot be read.
    Malformed(DecodeError),
}

/// CERT payloads that were not looked at: a certificate elsewhere, which nobody here fetches, may be
/// the one that is missed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// In encodings that are neither X.509 certificates nor OCSP responses.
    encodings: Vec<CertEncoding>,
    /// Certificates and responses beyond the limits.
    surplus: usize,
}

impl Ignored {
    fn note(&mut self, encoding: CertEncoding) {
        if self.encodings.len() < MAX_CERTIFICATES && !self.encodings.contains(&encoding) {
            self.encodings.push(encoding);
        }
    }
}

/// Nothing, or a remark in brackets.
impl Display for Ignored {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let mut notes: Vec<String> = self.encodings.iter().map(CertEncoding::to_string).collect();
        if self.surplus > 0 {
            notes.push(format!("{} beyond the limits", self.surplus));
        }
        if notes.is_empty() { Ok(()) } else { write!(f, " (ignored: {})", notes.join(", ")) }
    }
}

/// Most certificates that are taken from a peer, and sent to one. `RFC 7296 §3.6` wants four at
/// least.
pub(super) const MAX_CERTIFICATES: usize = 8;
/// Octets of all CERT payloads of a message together that are looked at.
const MAX_OCTETS: usize = 32 * 1_024;
