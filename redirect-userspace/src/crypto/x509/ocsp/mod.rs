//! OCSP responses: what a CA says about a certificate at a time, brought along by whoever shows the
//! certificate.
//!
//! # Invariants
//!
//! - Nothing that a response says counts before its signature is known to be that of the CA which
//!   issued the certificate, or of a responder to which that CA has given a certificate for it.
//! - Work is bounded: a response is read once, and one signature of it is checked for a certificate.
//!
//! # References
//!
//! `RFC 6960 §4.2` (responses), `§3.2` (what makes one acceptable), `§4.2.2.2` (who may sign).

#![forbid(unsafe_code)]

use std::time::Duration;

use pki_types::CertificateDer;
use webpki::{
    ALL_VERIFICATION_ALGS, CertRevocationList, EndEntityCert, ExpirationPolicy, ExtendedKeyUsageValidator,
    KeyPurposeId, KeyPurposeIdIter, RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
    anchor_from_trusted_cert,
};

use super::Certificate;
use crate::codec::DecodeError;
use crate::crypto::der::{Der, tag};
use crate::crypto::digest::{sha1, sha256};
use crate::crypto::sign::{Scheme, SchemeError};
use crate::time::UnixTime;

/// A response that could be read. Whether to believe it is another matter.
#[derive(Debug)]
pub(super) struct OcspResponse<'a> {
    /// What is signed.
    data: &'a [u8],
    scheme: Result<Scheme, SchemeError>,
    signature: &'a [u8],
    responder: ResponderId<'a>,
    statements: Vec<Statement<'a>>,
    /// Certificates that came with it, in DER.
    certificates: Vec<&'a [u8]>,
}

/// Who says that he has signed.
#[derive(Clone, Copy, Debug)]
enum ResponderId<'a> {
    /// Whoever has this distinguished name.
    Name(&'a [u8]),
    /// Whoever has the key with this SHA-1.
    Key(&'a [u8]),
}

/// What is said about one certificate.
#[derive(Clone, Copy, Debug)]
struct Statement<'a> {
    hash: Option<IdHash>,
    issuer_name: &'a [u8],
    issuer_key: &'a [u8],
    serial: &'a [u8],
    status: Status,
    this_update: UnixTime,
    until: UnixTime,
}

/// How the issuer is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdHash {
    Sha1,
    Sha256,
}

/// What a certificate is to its CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Good,
    Revoked,
    Unknown,
}

impl<'a> OcspResponse<'a> {
    /// Reads a response.
    // RFC 6960 §4.2.1
    pub(super) fn read(octets: &'a [u8]) -> Result<Self, OcspError> {
        if octets.len() > MAX_RESPONSE {
            return Err(OcspError::TooLong);
        }
        let what = "OCSPResponse";
        let mut der = Der::new(octets);
        let mut response = der.sequence(what)?;
        der.finish(what)?;
        match *response.expect(tag::ENUMERATED, "responseStatus")? {
            [0] => {}
            [status] => return Err(OcspError::Unsuccessful(status)),
            ref other => return Err(DecodeError::Length { what, value: other.len() }.into()),
        }
        let mut bytes = explicit(response.expect(tag::constructed(0), "responseBytes")?, "ResponseBytes")?;
        response.finish(what)?;
        if bytes.expect(tag::OID, "responseType")? != OID_BASIC {
            return Err(OcspError::Kind);
        }
        let basic = bytes.expect(tag::OCTET_STRING, "response")?;
        bytes.finish("ResponseBytes")?;
        Self::read_basic(basic)
    }

    fn read_basic(octets: &'a [u8]) -> Result<Self, OcspError> {
        let what = "BasicOCSPResponse";
        let mut der = Der::new(octets);
        let mut basic = der.sequence(what)?;
        der.finish(what)?;
        let data = basic.element("ResponseData")?;
        let algorithm = basic.element("signatureAlgorithm")?;
        let signature = basic.bit_string("signature")?;
        let mut certificates = Vec::new();
        if let Some(list) = basic.optional(tag::constructed(0), "certs")? {
            let mut list = explicit(list, "certs")?;
            while !list.is_empty() {
                let certificate = list.element("certs")?;
                if certificates.len() < MAX_CERTIFICATES {
                    certificates.push(certificate.whole);
                }
            }
        }
        basic.finish(what)?;

        let what = "ResponseData";
        let mut der = Der::new(data.whole);
        let mut fields = der.sequence(what)?;
        if let Some(version) = fields.optional(tag::constructed(0), "version")?
            && version != [tag::INTEGER, 1, 0]
        {
            return Err(OcspError::Kind);
        }
        let responder = responder_id(&mut fields)?;
        fields.time("producedAt")?;
        let mut list = fields.sequence("responses")?;
        let mut statements = Vec::new();
        while !list.is_empty() {
            if statements.len() == MAX_STATEMENTS {
                return Err(OcspError::TooLong);
            }
            statements.push(Statement::read(&mut list)?);
        }
        extensions(&mut fields, "responseExtensions")?;
        fields.finish(what)?;
        let scheme = Scheme::from_algorithm_identifier(algorithm.whole);
        Ok(Self { data: data.whole, scheme, signature, responder, statements, certificates })
    }

    /// What is said about a certificate, the newest of it. That it is revoked is never outdone.
    fn about(&self, certificate: &Certificate, issuer: Option<&Certificate>) -> Option<Statement<'a>> {
        let meant = self.statements.iter().filter(|it| it.is_about(certificate, issuer));
        meant.copied().max_by_key(|it| (it.status == Status::Revoked, it.this_update))
    }

    /// What it says about a certificate that `issuer` has issued, if it is to be believed now. `lists`
    /// are what is known of revoked certificates, those of responders among them.
    pub(super) fn judge(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        lists: &[&CertRevocationList<'_>],
        now: UnixTime,
    ) -> Result<Status, OcspError> {
        let statement = self.about(certificate, Some(issuer)).ok_or(OcspError::OtherCertificate)?;
        self.check_signature(issuer, lists, now)?;
        if statement.status == Status::Revoked {
            // However old: no CA takes that back.
            return Ok(Status::Revoked);
        }
        if statement.this_update > later(now, SKEW) {
            return Err(OcspError::NotYetValid);
        }
        if statement.until < now {
            return Err(OcspError::Outdated);
        }
        Ok(statement.status)
    }

    // RFC 6960 §4.2.2.2: the CA itself, or a responder with a certificate that the CA itself issued.
    fn check_signature(
        &self,
        issuer: &Certificate,
        lists: &[&CertRevocationList<'_>],
        now: UnixTime,
    ) -> Result<(), OcspError> {
        let scheme = self.scheme.map_err(|_why| OcspError::Algorithm)?;
        let check = |signer: &Certificate| {
            let key = signer.public_key().map_err(|_why| OcspError::Algorithm)?;
            key.verify(scheme, self.data, self.signature).map_err(|_why| OcspError::Signature)
        };
        if self.responder.is(issuer) {
            return check(issuer);
        }
        let responders = self.certificates.iter().filter_map(|octets| Certificate::from_der(octets).ok());
        let responder =
            responders.filter(|it| self.responder.is(it)).find(|it| it.issuer() == issuer.subject());
        let responder = responder.ok_or(OcspError::Responder)?;
        if !is_delegate(&responder, issuer, lists, now) {
            return Err(OcspError::Responder);
        }
        check(&responder)
    }
}

impl ResponderId<'_> {
    fn is(&self, certificate: &Certificate) -> bool {
        match self {
            Self::Name(name) => certificate.has_subject() && certificate.subject() == *name,
            Self::Key(hash) => {
                certificate.public_key().is_ok_and(|key| sha1(&[key.octets()]).as_slice() == *hash)
            }
        }
    }
}

fn responder_id<'a>(fields: &mut Der<'a>) -> Result<ResponderId<'a>, DecodeError> {
    let what = "responderID";
    let choice = fields.element(what)?;
    let mut inner = Der::new(choice.body);
    let id = match choice.tag {
        it if it == tag::constructed(1) => ResponderId::Name(inner.element(what)?.whole),
        it if it == tag::constructed(2) => ResponderId::Key(inner.expect(tag::OCTET_STRING, what)?),
        other => return Err(DecodeError::Value { what, value: other.into() }),
    };
    inner.finish(what)?;
    Ok(id)
}

impl<'a> Statement<'a> {
    fn read(list: &mut Der<'a>) -> Result<Self, OcspError> {
        let what = "SingleResponse";
        let mut single = list.sequence(what)?;
        let mut id = single.sequence("certID")?;
        let hash = IdHash::read(id.sequence("hashAlgorithm")?)?;
        let issuer_name = id.expect(tag::OCTET_STRING, "issuerNameHash")?;
        let issuer_key = id.expect(tag::OCTET_STRING, "issuerKeyHash")?;
        let serial = id.expect(tag::INTEGER, "serialNumber")?;
        id.finish("certID")?;
        let status = status(&mut single)?;
        let this_update = single.time("thisUpdate")?;
        let until = match single.optional(tag::constructed(0), "nextUpdate")? {
            Some(next) => {
                let mut next = Der::new(next);
                let until = next.time("nextUpdate")?;
                next.finish("nextUpdate")?;
                until
            }
            // RFC 6960 §4.2.2.1: there may be a newer one at any time.
            None => later(this_update, WITHOUT_NEXT),
        };
        extensions(&mut single, "singleExtensions")?;
        single.finish(what)?;
        Ok(Self { hash, issuer_name, issuer_key, serial, status, this_update, until })
    }

    /// Whether it is about this certificate; without its issuer the key of that is not compared.
    // RFC 6960 §4.1.1
    fn is_about(&self, certificate: &Certificate, issuer: Option<&Certificate>) -> bool {
        let Some(hash) = self.hash else { return false };
        let is_key = |issuer: &Certificate| {
            issuer.public_key().is_ok_and(|key| hash.of(key.octets()) == self.issuer_key)
        };
        self.serial == certificate.serial()
            && hash.of(certificate.issuer()) == self.issuer_name
            && issuer.is_none_or(is_key)
    }
}

// RFC 6960 §4.2.1: CertStatus
fn status(single: &mut Der<'_>) -> Result<Status, DecodeError> {
    let what = "certStatus";
    let choice = single.element(what)?;
    match (choice.tag, choice.body) {
        (it, []) if it == tag::context(0) => Ok(Status::Good),
        (it, []) if it == tag::context(2) => Ok(Status::Unknown),
        (it, body) if it == tag::constructed(1) => {
            let mut info = Der::new(body);
            info.time("revocationTime")?;
            info.optional(tag::constructed(0), "revocationReason")?;
            info.finish("RevokedInfo")?;
            Ok(Status::Revoked)
        }
        (other, _) => Err(DecodeError::Value { what, value: other.into() }),
    }
}

impl IdHash {
    /// `None` for a hash that is none of ours: then nothing is said about anybody that we know.
    fn read(mut identifier: Der<'_>) -> Result<Option<Self>, DecodeError> {
        let hash = match identifier.expect(tag::OID, "hashAlgorithm")? {
            OID_SHA1 => Some(Self::Sha1),
            OID_SHA256 => Some(Self::Sha256),
            _ => None,
        };
        identifier.optional(tag::NULL, "hashAlgorithm")?;
        identifier.finish("hashAlgorithm")?;
        Ok(hash)
    }

    fn of(self, octets: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => sha1(&[octets]).to_vec(),
            Self::Sha256 => sha256(&[octets]).to_vec(),
        }
    }
}

/// The sequence in an explicit tag.
fn explicit<'a>(octets: &'a [u8], what: &'static str) -> Result<Der<'a>, DecodeError> {
    let mut der = Der::new(octets);
    let inner = der.sequence(what)?;
    der.finish(what)?;
    Ok(inner)
}

/// Passes over `[1] Extensions`, unless one of them must be understood.
// RFC 6960 §4.4: none of those that are known there must be.
fn extensions(fields: &mut Der<'_>, what: &'static str) -> Result<(), OcspError> {
    let Some(list) = fields.optional(tag::constructed(1), what)? else { return Ok(()) };
    let mut list = explicit(list, what)?;
    while !list.is_empty() {
        let mut extension = list.sequence(what)?;
        extension.expect(tag::OID, what)?;
        let critical = extension.optional(tag::BOOLEAN, what)?;
        extension.expect(tag::OCTET_STRING, what)?;
        extension.finish(what)?;
        if critical.is_some_and(|critical| critical != [0]) {
            return Err(OcspError::CriticalExtension);
        }
    }
    Ok(())
}

/// Whether the CA has given a certificate to somebody so that he speaks for it, and it stands.
fn is_delegate(
    responder: &Certificate,
    issuer: &Certificate,
    lists: &[&CertRevocationList<'_>],
    now: UnixTime,
) -> bool {
    let issuer = CertificateDer::from(issuer.der());
    let (Ok(anchor), Ok(certificate)) =
        (anchor_from_trusted_cert(&issuer), EndEntityCert::try_from(&responder.der))
    else {
        return false;
    };
    let revocation = RevocationOptionsBuilder::new(lists).ok().map(|options| {
        options
            .with_depth(RevocationCheckDepth::EndEntity)
            .with_status_policy(UnknownStatusPolicy::Allow)
            .with_expiration_policy(ExpirationPolicy::Ignore)
            .build()
    });
    let anchors = [anchor];
    let now = pki_types::UnixTime::since_unix_epoch(now.since_epoch());
    certificate.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &[], now, Signer, revocation, None).is_ok()
}

/// The extended usage that a responder must have.
#[derive(Clone, Copy)]
struct Signer;

impl ExtendedKeyUsageValidator for Signer {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        for purpose in purposes {
            if purpose? == KeyPurposeId::new(OCSP_SIGNING) {
                return Ok(());
            }
        }
        Err(webpki::Error::EmptyEkuExtension)
    }
}

/// A response about a certificate of ours, to be shown beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staple {
    der: Box<[u8]>,
    this_update: UnixTime,
    until: UnixTime,
}

impl Staple {
    /// Reads a response about a certificate of ours, and checks it as peers will, as far as its issuer
    /// is known here. That it is out of date is no mistake: it is not shown then.
    ///
    /// # Errors
    ///
    /// [`OcspError`]
    pub fn read(
        octets: &[u8],
        certificate: &Certificate,
        issuer: Option<&Certificate>,
        now: UnixTime,
    ) -> Result<Self, OcspError> {
        let response = OcspResponse::read(octets)?;
        let statement = response.about(certificate, issuer).ok_or(OcspError::OtherCertificate)?;
        if let Some(issuer) = issuer {
            // The responder's certificate need be valid only while the response is.
            let at = now.min(statement.until);
            match response.judge(certificate, issuer, &[], at) {
                Ok(_) | Err(OcspError::NotYetValid | OcspError::Outdated) => {}
                Err(error) => return Err(error),
            }
        }
        match statement.status {
            Status::Good => {}
            Status::Revoked => return Err(OcspError::Revoked),
            Status::Unknown => return Err(OcspError::Unknown),
        }
        let Statement { this_update, until, .. } = statement;
        Ok(Self { der: octets.into(), this_update, until })
    }

    /// The response, as it goes into a CERT payload.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Until when it counts.
    #[must_use]
    pub const fn until(&self) -> UnixTime {
        self.until
    }

    /// Whether peers would believe it at this time.
    #[must_use]
    pub fn is_current(&self, now: UnixTime) -> bool {
        self.this_update <= now && now <= self.until
    }
}

/// Why a response says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OcspError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Malformed(#[from] DecodeError),
    /// It is longer than any about one certificate.
    #[error("too long")]
    TooLong,
    /// The responder had an error to tell.
    #[error("the responder said {0} (RFC 6960 §4.2.1)")]
    Unsuccessful(u8),
    /// It is of a kind that is unknown.
    #[error("of an unknown kind")]
    Kind,
    /// It is about other certificates.
    #[error("about another certificate")]
    OtherCertificate,
    /// It is not signed by the CA, or by somebody who may in its place.
    #[error("not signed by the CA, nor by a responder of it")]
    Responder,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    Signature,
    /// Signed with a key or in a way that is unknown or weak.
    #[error("an unknown or weak signature algorithm")]
    Algorithm,
    /// It is from the future.
    #[error("not valid yet")]
    NotYetValid,
    /// There is a newer one by now.
    #[error("out of date")]
    Outdated,
    /// The responder does not know the certificate.
    #[error("the responder does not know the certificate")]
    Unknown,
    /// The certificate is revoked.
    #[error("the certificate was revoked")]
    Revoked,
    /// It has a critical extension that is unknown.
    #[error("an unknown critical extension")]
    CriticalExtension,
}

/// The time `by` later.
fn later(time: UnixTime, by: Duration) -> UnixTime {
    UnixTime::from_epoch(time.since_epoch().saturating_add(by))
}

/// Most octets of a response: a few thousand are usual, with the responder's certificate in it.
pub const MAX_RESPONSE: usize = 16 * 1_024;
/// Most certificates about which one response speaks.
const MAX_STATEMENTS: usize = 64;
/// Most certificates of a response that are looked at: the responder's is one.
const MAX_CERTIFICATES: usize = 4;
/// How much our clock and a responder's may differ.
const SKEW: Duration = Duration::from_secs(300);
/// How long a response counts that does not say when the next one comes.
const WITHOUT_NEXT: Duration = Duration::from_secs(3_600);

/// id-pkix-ocsp-basic: 1.3.6.1.5.5.7.48.1.1
pub(super) const OID_BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
/// 1.3.14.3.2.26
pub(super) const OID_SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
/// 2.16.840.1.101.3.4.2.1
pub(super) const OID_SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
/// id-kp-OCSPSigning: 1.3.6.1.5.5.7.3.9
const OCSP_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x09];

#[cfg(test)]
mod tests;
