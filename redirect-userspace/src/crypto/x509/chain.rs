//! Whom to believe: trust anchors, lists of revoked certificates, and the chain between.
//!
//! What is revoked is refused, whoever says so: a list, or an OCSP response that the peer has brought
//! along. Where it must be known that a certificate is not revoked, either will do, for each certificate
//! below the anchor by itself. A list about a part of what its CA has issued counts only where lists
//! cover the whole way.

#![forbid(unsafe_code)]

use std::fmt::{Debug, Formatter};

use pki_types::pem::SectionKind;
use pki_types::{CertificateDer, TrustAnchor};
use webpki::{
    ALL_VERIFICATION_ALGS, CertRevocationList, EndEntityCert, ExpirationPolicy, ExtendedKeyUsageValidator,
    KeyPurposeId, KeyPurposeIdIter, RevocationCheckDepth, RevocationOptions, RevocationOptionsBuilder,
    UnknownStatusPolicy, VerifiedPath, anchor_from_trusted_cert,
};

use super::crl::{Crl, ListDates};
use super::ocsp::{OcspError, OcspResponse, Status};
use super::{Certificate, IKE_PURPOSES, KEY_HASH_LENGTH, NotPem, pem_sections};
use crate::time::UnixTime;

/// What must be known about whether certificates are revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Revocation {
    /// What is known to be revoked is refused, by old lists as well; nothing need be known.
    #[default]
    Relaxed,
    /// Each certificate below the anchor that says where its CA tells what it has revoked needs a list
    /// or an OCSP response that is not out of date.
    IfUri,
    /// Each certificate below the anchor does.
    Strict,
}

/// The CAs that are believed, and what they have revoked.
#[derive(Default)]
pub struct TrustStore {
    anchors: Vec<Anchor>,
    /// The newest first: of several of one CA webpki looks at the first.
    crls: Vec<Crl>,
    revocation: Revocation,
}

struct Anchor {
    certificate: Certificate,
    trusted: TrustAnchor<'static>,
}

impl TrustStore {
    /// A store that believes nobody.
    #[must_use]
    pub fn new(revocation: Revocation) -> Self {
        Self { revocation, ..Self::default() }
    }

    /// Believes a CA.
    ///
    /// # Errors
    ///
    /// [`AnchorError`]
    pub fn add_anchor(&mut self, certificate: Certificate) -> Result<(), AnchorError> {
        if !certificate.is_ca() || !certificate.may_sign_certificates() {
            return Err(AnchorError::NotCa);
        }
        let trusted = match anchor_from_trusted_cert(&certificate.der) {
            Ok(anchor) => anchor.to_owned(),
            Err(_why) => return Err(AnchorError::Malformed),
        };
        self.anchors.push(Anchor { certificate, trusted });
        Ok(())
    }

    /// Takes a CA's list of revoked certificates, in DER, and says whose it is, if that can be read. Its
    /// signature is checked when a chain leads to the CA.
    ///
    /// # Errors
    ///
    /// [`CrlError::Malformed`]
    pub fn add_crl(&mut self, octets: &[u8]) -> Result<Option<ListDates>, CrlError> {
        let crl = Crl::read(octets)?;
        let dates = crl.dates();
        let place = self.crls.partition_point(|other| other.this_update() >= crl.this_update());
        self.crls.insert(place, crl);
        Ok(dates)
    }

    /// Takes all lists of a PEM file, and says whose they are.
    ///
    /// # Errors
    ///
    /// [`CrlError`]
    pub fn add_crls_from_pem(&mut self, text: &[u8]) -> Result<Vec<ListDates>, CrlError> {
        let sections = pem_sections(text, SectionKind::Crl).map_err(|NotPem| CrlError::Pem)?;
        if sections.is_empty() {
            return Err(CrlError::Missing);
        }
        let dates = sections.iter().map(|octets| self.add_crl(octets)).collect::<Result<Vec<_>, _>>()?;
        Ok(dates.into_iter().flatten().collect())
    }

    /// The CAs.
    pub fn anchors(&self) -> impl Iterator<Item = &Certificate> {
        self.anchors.iter().map(|anchor| &anchor.certificate)
    }

    /// Whether something must be known about whether certificates are revoked: then it is worth asking
    /// peers for it.
    #[must_use]
    pub const fn wants_status(&self) -> bool {
        match self.revocation {
            Revocation::Relaxed => false,
            Revocation::IfUri | Revocation::Strict => true,
        }
    }

    /// How a CERTREQ names the CAs.
    pub fn key_hashes(&self) -> impl Iterator<Item = &[u8; KEY_HASH_LENGTH]> {
        self.anchors().map(Certificate::key_hash)
    }

    /// Believes `end_entity`, or says why not. `others` are what the peer sent besides, in any
    /// order, in DER; those that are of no use do no harm.
    ///
    /// Whether the certificate gives its owner the identity that is claimed is for the caller to
    /// ask: [`Certificate::has`].
    ///
    /// # Errors
    ///
    /// [`ChainError`]
    pub fn validate(
        &self,
        end_entity: &Certificate,
        others: &[&[u8]],
        now: UnixTime,
    ) -> Result<(), ChainError> {
        self.validate_stapled(end_entity, others, &[], now)
    }

    /// The same, with the OCSP responses that the peer has brought along, in DER.
    ///
    /// # Errors
    ///
    /// [`ChainError`]
    pub fn validate_stapled(
        &self,
        end_entity: &Certificate,
        others: &[&[u8]],
        staples: &[&[u8]],
        now: UnixTime,
    ) -> Result<(), ChainError> {
        if !end_entity.is_for_ike() {
            return Err(ChainError::Usage);
        }
        end_entity.public_key().map_err(|_why| ChainError::Algorithm)?;
        let others: Vec<CertificateDer<'_>> =
            others.iter().take(MAX_OTHERS).map(|octets| CertificateDer::from(*octets)).collect();
        // An anchor is a name and a key to webpki; that it expires is our business.
        let (valid, outdated): (Vec<&Anchor>, Vec<&Anchor>) =
            self.anchors.iter().partition(|anchor| anchor.certificate.is_valid_at(now));
        let search = |anchors: &[&Anchor]| self.search(end_entity, (&others, staples), anchors, now);
        match search(&valid) {
            Err(ChainError::UnknownCa) if search(&outdated).is_ok() => Err(ChainError::AnchorExpired),
            result => result,
        }
    }

    fn search(
        &self,
        end_entity: &Certificate,
        (others, staples): (&[CertificateDer<'_>], &[&[u8]]),
        anchors: &[&Anchor],
        now: UnixTime,
    ) -> Result<(), ChainError> {
        let trusted: Vec<TrustAnchor<'_>> = anchors.iter().map(|anchor| anchor.trusted.clone()).collect();
        let lists: Vec<&CertRevocationList<'_>> = self.crls.iter().map(Crl::list).collect();
        let certificate = EndEntityCert::try_from(&end_entity.der).map_err(|error| refusal(&error))?;
        let verify = |revocation: Option<RevocationOptions<'_>>| {
            certificate
                .verify_for_usage(
                    ALL_VERIFICATION_ALGS,
                    &trusted,
                    others,
                    pki_types::UnixTime::since_unix_epoch(now.since_epoch()),
                    Purpose,
                    revocation,
                    Some(&issuers_may_sign),
                )
                .map_err(|error| refusal(&error))
        };
        let relaxed = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Allow)
                .with_expiration_policy(ExpirationPolicy::Ignore)
                .build()
        });
        let path = verify(relaxed)?;
        if !self.wants_status() && staples.is_empty() {
            return Ok(());
        }
        let Unknown { is_any, staple } = self.unknown(&Way::of(end_entity, &path, anchors)?, staples, now)?;
        if !is_any {
            return Ok(());
        }
        if let Some(error) = staple {
            return Err(ChainError::Ocsp(error));
        }
        // By lists alone, those about a part of what a CA has issued among them; or why not.
        let Ok(strict) = RevocationOptionsBuilder::new(&lists) else {
            return Err(ChainError::NoRevocationInformation);
        };
        let strict = strict
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(UnknownStatusPolicy::Deny)
            .with_expiration_policy(ExpirationPolicy::Enforce);
        verify(Some(strict.build())).map(|_path| ())
    }

    /// What must be known of the certificates on a way that is believed, and is not. That none is on a
    /// list is known already.
    fn unknown(&self, way: &Way<'_>, staples: &[&[u8]], now: UnixTime) -> Result<Unknown, ChainError> {
        let lists: Vec<&CertRevocationList<'_>> = self.crls.iter().map(Crl::list).collect();
        let (mut good, mut staple) = (Vec::new(), None);
        for octets in staples.iter().take(MAX_STAPLES) {
            match judge(octets, way, &lists, now) {
                Ok(position) => good.push(position),
                Err(OcspError::Revoked) => return Err(ChainError::Revoked),
                Err(why) => {
                    staple.get_or_insert(why);
                }
            }
        }
        let is_needed = |certificate: &Certificate| match self.revocation {
            Revocation::Relaxed => false,
            Revocation::IfUri => certificate.names_status(),
            Revocation::Strict => true,
        };
        let is_listed = |certificate: &Certificate| {
            let mut own = self.crls.iter().filter(|crl| crl.is_by(certificate.issuer())).peekable();
            let newest = own.peek().is_some_and(|crl| crl.is_current_and_whole(now));
            // With parts among them, webpki may have looked at another one than the newest.
            newest && own.all(Crl::is_whole)
        };
        let is_any = way.links().enumerate().any(|(position, (certificate, _))| {
            !good.contains(&position) && is_needed(certificate) && !is_listed(certificate)
        });
        Ok(Unknown { is_any, staple })
    }
}

/// Which certificate of a way an OCSP response says is good.
fn judge(
    octets: &[u8],
    way: &Way<'_>,
    lists: &[&CertRevocationList<'_>],
    now: UnixTime,
) -> Result<usize, OcspError> {
    let response = OcspResponse::read(octets)?;
    for (position, (certificate, issuer)) in way.links().enumerate() {
        // A CA speaks for what it has issued itself: that is one of them.
        match response.judge(certificate, issuer, lists, now) {
            Err(OcspError::OtherCertificate) => {}
            Ok(Status::Good) => return Ok(position),
            Ok(Status::Revoked) => return Err(OcspError::Revoked),
            Ok(Status::Unknown) => return Err(OcspError::Unknown),
            Err(why) => return Err(why),
        }
    }
    Err(OcspError::OtherCertificate)
}

/// What is not known and must be.
struct Unknown {
    /// Whether there is anything.
    is_any: bool,
    /// What was wrong with an OCSP response that might have said it.
    staple: Option<OcspError>,
}

/// The certificates of a way that is believed, from the end entity to the anchor.
struct Way<'a> {
    end_entity: &'a Certificate,
    between: Vec<Certificate>,
    anchor: &'a Certificate,
}

impl<'a> Way<'a> {
    fn of(
        end_entity: &'a Certificate,
        path: &VerifiedPath<'_>,
        anchors: &[&'a Anchor],
    ) -> Result<Self, ChainError> {
        let between =
            path.intermediate_certificates().map(|certificate| Certificate::from_der(&certificate.der()));
        let between = between.collect::<Result<_, _>>().map_err(|_why| ChainError::Malformed)?;
        let found = path.anchor();
        let is_it = |anchor: &&&Anchor| {
            anchor.trusted.subject == found.subject
                && anchor.trusted.subject_public_key_info == found.subject_public_key_info
        };
        let anchor = anchors.iter().find(is_it).ok_or(ChainError::Malformed)?;
        Ok(Self { end_entity, between, anchor: &anchor.certificate })
    }

    /// Each certificate below the anchor with the one above it.
    fn links(&self) -> impl Iterator<Item = (&Certificate, &Certificate)> {
        let below = std::iter::once(self.end_entity).chain(&self.between);
        below.zip(self.between.iter().chain([self.anchor]))
    }
}

impl Debug for TrustStore {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "TrustStore({} anchors, {} lists)", self.anchors.len(), self.crls.len())
    }
}

/// webpki asks whether a certificate that issues others is a CA's, but not whether its key is for
/// signing certificates.
// RFC 5280 §4.2.1.3: keyCertSign
fn issuers_may_sign(path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
    for issuer in path.intermediate_certificates() {
        match Certificate::from_der(&issuer.der()) {
            Ok(issuer) if issuer.may_sign_certificates() => {}
            Ok(_) => return Err(webpki::Error::EndEntityUsedAsCa),
            Err(_why) => return Err(webpki::Error::BadDer),
        }
    }
    Ok(())
}

/// The extended usages that are accepted; none at all is, too.
#[derive(Clone, Copy)]
struct Purpose;

impl ExtendedKeyUsageValidator for Purpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut is_limited = false;
        for purpose in purposes {
            let purpose = purpose?;
            if IKE_PURPOSES.iter().any(|known| KeyPurposeId::new(known) == purpose) {
                return Ok(());
            }
            is_limited = true;
        }
        // The variant with a context can only speak of one purpose.
        if is_limited { Err(webpki::Error::EmptyEkuExtension) } else { Ok(()) }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "webpki's list of reasons is open")]
fn refusal(error: &webpki::Error) -> ChainError {
    use webpki::Error;
    match error {
        Error::CertExpired { .. } => ChainError::Expired,
        Error::CertNotValidYet { .. } => ChainError::NotYetValid,
        Error::CertRevoked => ChainError::Revoked,
        Error::UnknownIssuer => ChainError::UnknownCa,
        Error::UnknownRevocationStatus => ChainError::NoRevocationInformation,
        Error::CrlExpired { .. } => ChainError::CrlExpired,
        Error::InvalidCrlSignatureForPublicKey
        | Error::IssuerNotCrlSigner
        | Error::UnsupportedCrlSignatureAlgorithmContext(_)
        | Error::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => ChainError::CrlSignature,
        Error::CaUsedAsEndEntity => ChainError::CaAsEndEntity,
        Error::EndEntityUsedAsCa => ChainError::NotCa,
        Error::EmptyEkuExtension => ChainError::Usage,
        Error::PathLenConstraintViolated => ChainError::PathLength,
        Error::NameConstraintViolation => ChainError::NameConstraint,
        Error::InvalidSignatureForPublicKey => ChainError::Signature,
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => ChainError::Algorithm,
        Error::UnsupportedCriticalExtension => ChainError::CriticalExtension,
        Error::MaximumNameConstraintComparisonsExceeded
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumPathDepthExceeded
        | Error::MaximumSignatureChecksExceeded => ChainError::TooComplex,
        _ => ChainError::Malformed,
    }
}

/// Why a certificate is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It, or a CA on the way, is no longer valid.
    #[error("a certificate has expired")]
    Expired,
    /// It, or a CA on the way, is not valid yet.
    #[error("a certificate is not valid yet")]
    NotYetValid,
    /// It leads to a CA that is trusted, but whose own certificate is not valid at this time.
    #[error("the trusted CA's own certificate is not valid at this time")]
    AnchorExpired,
    /// It, or a CA on the way, was revoked.
    #[error("a certificate was revoked")]
    Revoked,
    /// No list speaks of it, or of a CA on the way, and one must.
    #[error("nothing is known about revocation")]
    NoRevocationInformation,
    /// The list that speaks of it is out of date.
    #[error("the list of revoked certificates is out of date")]
    CrlExpired,
    /// The list that speaks of it is not signed by its CA, or by one that may not.
    #[error("the list of revoked certificates is not signed by its CA")]
    CrlSignature,
    /// The OCSP response that speaks of it, or should, says nothing.
    #[error("nothing is known about revocation: the OCSP response: {0}")]
    Ocsp(OcspError),
    /// It leads to no CA that is trusted.
    #[error("no trusted CA issued it")]
    UnknownCa,
    /// It is a CA's own, which authenticates nobody.
    #[error("a CA's certificate authenticates nobody")]
    CaAsEndEntity,
    /// What issued it, or a CA on the way, is not a CA or may not sign certificates.
    #[error("something that is not a CA issued a certificate")]
    NotCa,
    /// KeyUsage or ExtendedKeyUsage do not allow what it is used for.
    #[error("the key is not for authentication in IKE")]
    Usage,
    /// A CA has more CAs below it than it may.
    #[error("more CAs on the way than allowed")]
    PathLength,
    /// A CA issued a certificate for a name it may not.
    #[error("a CA is not responsible for a name")]
    NameConstraint,
    /// A signature on the way is wrong.
    #[error("a certificate was not signed by its issuer")]
    Signature,
    /// A signature or key on the way is of an unknown or weak kind.
    #[error("an unknown or weak algorithm")]
    Algorithm,
    /// It has a critical extension that is unknown.
    #[error("an unknown critical extension")]
    CriticalExtension,
    /// Too many ways to look for, or too long ones.
    #[error("the way to a trusted CA is too long or too entangled")]
    TooComplex,
    /// It, or a CA on the way, cannot be read.
    #[error("a certificate cannot be read")]
    Malformed,
}

/// Why a certificate cannot be a trust anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// It is not a CA's, or its key is not for certificates.
    #[error("not the certificate of a CA")]
    NotCa,
    /// It cannot be read.
    #[error("the certificate cannot be read")]
    Malformed,
}

/// Why a list of revoked certificates cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// The file is not PEM.
    #[error("not a PEM file")]
    Pem,
    /// There is no list in it.
    #[error("no list of revoked certificates in the file")]
    Missing,
    /// It cannot be read, or is of an unknown kind.
    #[error("not a list of revoked certificates, or one of an unknown kind")]
    Malformed,
}

/// More certificates than any real chain has are not looked at.
const MAX_OTHERS: usize = 8;
/// More OCSP responses than such a chain needs are not looked at.
pub const MAX_STAPLES: usize = 4;
