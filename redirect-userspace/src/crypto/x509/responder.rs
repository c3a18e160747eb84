//! Makes OCSP responses for tests, wrong ones too.

use super::super::der::{element, tag};
use super::super::digest::{sha1, sha256};
use super::builder::{FROM, Owner, UNTIL, extension, integer, sequence};
use super::ocsp::{OID_BASIC, OID_SHA1, OID_SHA256};

/// What a response says about one certificate.
#[derive(Clone, Debug)]
pub struct Answer {
    serial: u32,
    /// CertStatus
    status: Vec<u8>,
    /// GeneralizedTimes.
    this_update: &'static str,
    next_update: Option<&'static str>,
    has_sha256: bool,
    is_by_name: bool,
    is_critical: bool,
    /// How often it is said.
    count: usize,
}

impl Answer {
    const fn new(serial: u32, status: Vec<u8>) -> Self {
        Self {
            serial,
            status,
            this_update: FROM,
            next_update: Some(UNTIL),
            has_sha256: false,
            is_by_name: false,
            is_critical: false,
            count: 1,
        }
    }

    /// The certificate with this serial number is good, for as long as those made here are valid.
    #[must_use]
    pub fn good(serial: u32) -> Self {
        Self::new(serial, element(tag::context(0), &[]))
    }

    /// It is revoked.
    #[must_use]
    pub fn revoked(serial: u32) -> Self {
        let time = generalized(FROM);
        Self::new(serial, element(tag::constructed(1), &[&time]))
    }

    /// Nobody knows it.
    #[must_use]
    pub fn unknown(serial: u32) -> Self {
        Self::new(serial, element(tag::context(2), &[]))
    }

    /// With these times, as GeneralizedTimes.
    #[must_use]
    pub const fn valid(mut self, this_update: &'static str, next_update: Option<&'static str>) -> Self {
        (self.this_update, self.next_update) = (this_update, next_update);
        self
    }

    /// With the issuer named by SHA-256.
    #[must_use]
    pub const fn sha256(mut self) -> Self {
        self.has_sha256 = true;
        self
    }

    /// With the responder named by its distinguished name, not by its key.
    #[must_use]
    pub const fn by_name(mut self) -> Self {
        self.is_by_name = true;
        self
    }

    /// With an extension that nobody knows and everybody must.
    #[must_use]
    pub const fn critical(mut self) -> Self {
        self.is_critical = true;
        self
    }

    /// Said so often.
    #[must_use]
    pub const fn times(mut self, count: usize) -> Self {
        self.count = count;
        self
    }

    /// The response, signed by the CA that has issued the certificate.
    #[must_use]
    pub fn sign(&self, issuer: &Owner) -> Vec<u8> {
        self.response(issuer, issuer, &[])
    }

    /// The response, signed by somebody else, whose certificate comes with it.
    #[must_use]
    pub fn sign_by(&self, issuer: &Owner, responder: &Owner) -> Vec<u8> {
        let certificates = element(tag::constructed(0), &[&sequence(&[&responder.der])]);
        self.response(issuer, responder, &certificates)
    }

    fn response(&self, issuer: &Owner, responder: &Owner, certificates: &[u8]) -> Vec<u8> {
        let single = self.single(issuer);
        let singles: Vec<&[u8]> = std::iter::repeat_n(single.as_slice(), self.count).collect();
        let id = if self.is_by_name {
            element(tag::constructed(1), &[responder.subject()])
        } else {
            element(
                tag::constructed(2),
                &[&element(tag::OCTET_STRING, &[&sha1(&[key(responder).as_slice()])])],
            )
        };
        let data = sequence(&[&id, &generalized(self.this_update), &sequence(&singles)]);
        let basic = responder.signed_with(&data, certificates);
        let bytes = sequence(&[&element(tag::OID, &[OID_BASIC]), &element(tag::OCTET_STRING, &[&basic])]);
        sequence(&[&element(tag::ENUMERATED, &[&[0]]), &element(tag::constructed(0), &[&bytes])])
    }

    fn single(&self, issuer: &Owner) -> Vec<u8> {
        let hash = |octets: &[u8]| {
            if self.has_sha256 { sha256(&[octets]).to_vec() } else { sha1(&[octets]).to_vec() }
        };
        let oid = if self.has_sha256 { OID_SHA256 } else { OID_SHA1 };
        let id = sequence(&[
            &sequence(&[&element(tag::OID, &[oid]), &element(tag::NULL, &[])]),
            &element(tag::OCTET_STRING, &[&hash(issuer.subject())]),
            &element(tag::OCTET_STRING, &[&hash(&key(issuer))]),
            &integer(self.serial),
        ]);
        let next =
            self.next_update.map_or(Vec::new(), |next| element(tag::constructed(0), &[&generalized(next)]));
        let extensions = if self.is_critical {
            element(tag::constructed(1), &[&sequence(&[&extension(&[0x2a, 3], true, &[5, 0])])])
        } else {
            Vec::new()
        };
        sequence(&[&id, &self.status, &generalized(self.this_update), &next, &extensions])
    }
}

/// A response of a responder that has an error to tell.
#[must_use]
pub fn unsuccessful(status: u8) -> Vec<u8> {
    sequence(&[&element(tag::ENUMERATED, &[&[status]])])
}

/// The octets of somebody's public key.
fn key(owner: &Owner) -> Vec<u8> {
    owner.key().public().octets().to_vec()
}

fn generalized(time: &str) -> Vec<u8> {
    element(tag::GENERALIZED_TIME, &[time.as_bytes()])
}
