//! Lists of revoked certificates, as far as webpki does not say what is in them: whose they are, and
//! for how long they count.
//!
//! # References
//!
//! `RFC 5280 §5.1`.

#![forbid(unsafe_code)]

use webpki::{CertRevocationList, OwnedCertRevocationList};

use super::{CrlError, name};
use crate::codec::DecodeError;
use crate::crypto::der::{Der, tag};
use crate::time::UnixTime;

/// A list that could be read. Its signature is checked when a chain leads to its CA.
pub(super) struct Crl {
    list: CertRevocationList<'static>,
    /// `None` when it is too long to be read here: then webpki alone knows.
    head: Option<Head>,
}

struct Head {
    issuer: Box<[u8]>,
    this_update: UnixTime,
    next_update: UnixTime,
}

/// Whose a list is, and when the next one is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListDates {
    /// The distinguished name of the CA, in DER.
    pub issuer: Box<[u8]>,
    /// When the next one is due.
    pub next_update: UnixTime,
}

impl Crl {
    /// Reads a list in DER.
    pub(super) fn read(octets: &[u8]) -> Result<Self, CrlError> {
        let Ok(list) = OwnedCertRevocationList::from_der(octets) else { return Err(CrlError::Malformed) };
        Ok(Self { list: list.into(), head: Head::read(octets).ok() })
    }

    pub(super) const fn list(&self) -> &CertRevocationList<'static> {
        &self.list
    }

    /// When it was made, the earliest of all times if that is not known.
    pub(super) fn this_update(&self) -> UnixTime {
        self.head.as_ref().map_or(UnixTime::EPOCH, |head| head.this_update)
    }

    /// Whether it is by the CA of this name.
    pub(super) fn is_by(&self, issuer: &[u8]) -> bool {
        self.head.as_ref().is_none_or(|head| *head.issuer == *issuer)
    }

    /// Whether it is about everything that its CA has issued, and not out of date.
    pub(super) fn is_current_and_whole(&self, now: UnixTime) -> bool {
        self.is_whole() && self.head.as_ref().is_some_and(|head| now < head.next_update)
    }

    /// Whether it is about everything that its CA has issued.
    pub(super) fn is_whole(&self) -> bool {
        self.list.issuing_distribution_point().is_none()
    }

    pub(super) fn dates(&self) -> Option<ListDates> {
        let Head { issuer, this_update: _, next_update } = self.head.as_ref()?;
        Some(ListDates { issuer: issuer.clone(), next_update: *next_update })
    }
}

impl Head {
    fn read(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut der = Der::new(octets);
        let mut list = der.sequence("CertificateList")?;
        let mut signed = list.sequence("TBSCertList")?;
        signed.expect(tag::INTEGER, "version")?;
        signed.sequence("signature algorithm")?;
        let issuer = name(&mut signed, "issuer")?.into();
        let this_update = signed.time("thisUpdate")?;
        let next_update = signed.time("nextUpdate")?;
        Ok(Self { issuer, this_update, next_update })
    }
}
