//! Whom to believe: trust anchors, lists of revoked certificates, and the chain between.

#![forbid(unsafe_code)]

use std::fmt::{Debug, Formatter};

use pki_types::pem::SectionKind;
use pki_types::{CertificateDer, TrustAnchor};
use webpki::{
    ALL_VERIFICATION_ALGS, CertRevocationList, EndEntityCert, ExpirationPolicy, ExtendedKeyUsageValidator,
    KeyPurposeId, KeyPurposeIdIter, OwnedCertRevocationList, RevocationCheckDepth, RevocationOptionsBuilder,
    UnknownStatusPolicy, VerifiedPath, anchor_from_trusted_cert,
};

use super::{Certificate, IKE_PURPOSES, KEY_HASH_LENGTH, NotPem, pem_sections};
use crate::time::UnixTime;

/// What is made of lists of revoked certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Revocation {
    /// What a list names is refused; what no list speaks of is not, and old lists still count.
    #[default]
    Relaxed,
    /// Each certificate below the anchor needs a list of its issuer's that is not out of date.
    Strict,
}

/// The CAs that are believed, and what they have revoked.
#[derive(Default)]
pub struct TrustStore {
    anchors: Vec<Anchor>,
    crls: Vec<CertRevocationList<'static>>,
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

    /// Takes a CA's list of revoked certificates, in DER. Its signature is checked when a chain
    /// leads to the CA.
    ///
    /// # Errors
    ///
    /// [`CrlError::Malformed`]
    pub fn add_crl(&mut self, octets: &[u8]) -> Result<(), CrlError> {
        match OwnedCertRevocationList::from_der(octets) {
            Ok(crl) => {
                self.crls.push(crl.into());
                Ok(())
            }
            Err(_why) => Err(CrlError::Malformed),
        }
    }

    /// Takes all lists of a PEM file.
    ///
    /// # Errors
    ///
    /// [`CrlError`]
    pub fn add_crls_from_pem(&mut self, text: &[u8]) -> Result<(), CrlError> {
        let sections = pem_sections(text, SectionKind::Crl).map_err(|NotPem| CrlError::Pem)?;
        if sections.is_empty() {
            return Err(CrlError::Missing);
        }
        sections.iter().try_for_each(|octets| self.add_crl(octets))
    }

    /// The CAs.
    pub fn anchors(&self) -> impl Iterator<Item = &Certificate> {
        self.anchors.iter().map(|anchor| &anchor.certificate)
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
        if !end_entity.is_for_ike() {
            return Err(ChainError::Usage);
        }
        end_entity.public_key().map_err(|_why| ChainError::Algorithm)?;
        let others: Vec<CertificateDer<'_>> =
            others.iter().take(MAX_OTHERS).map(|octets| CertificateDer::from(*octets)).collect();
        // An anchor is a name and a key to webpki; that it expires is our business.
        let (valid, outdated): (Vec<&Anchor>, Vec<&Anchor>) =
            self.anchors.iter().partition(|anchor| anchor.certificate.is_valid_at(now));
        match self.search(end_entity, &others, &valid, now) {
            Err(ChainError::UnknownCa) if self.search(end_entity, &others, &outdated, now).is_ok() => {
                Err(ChainError::AnchorExpired)
            }
            result => result,
        }
    }

    fn search(
        &self,
        end_entity: &Certificate,
        others: &[CertificateDer<'_>],
        anchors: &[&Anchor],
        now: UnixTime,
    ) -> Result<(), ChainError> {
        let anchors: Vec<TrustAnchor<'_>> = anchors.iter().map(|anchor| anchor.trusted.clone()).collect();
        let crls: Vec<&CertRevocationList<'_>> = self.crls.iter().collect();
        let revocation = match (RevocationOptionsBuilder::new(&crls), self.revocation) {
            (Ok(options), Revocation::Relaxed) => Some(
                options
                    .with_depth(RevocationCheckDepth::Chain)
                    .with_status_policy(UnknownStatusPolicy::Allow)
                    .with_expiration_policy(ExpirationPolicy::Ignore)
                    .build(),
            ),
            (Ok(options), Revocation::Strict) => Some(
                options
                    .with_depth(RevocationCheckDepth::Chain)
                    .with_status_policy(UnknownStatusPolicy::Deny)
                    .with_expiration_policy(ExpirationPolicy::Enforce)
                    .build(),
            ),
            (Err(_none), Revocation::Relaxed) => None,
            (Err(_none), Revocation::Strict) => return Err(ChainError::NoRevocationInformation),
        };
        let certificate = EndEntityCert::try_from(&end_entity.der).map_err(|error| refusal(&error))?;
        certificate
            .verify_for_usage(
                ALL_VERIFICATION_ALGS,
                &anchors,
                others,
                pki_types::UnixTime::since_unix_epoch(now.since_epoch()),
                Purpose,
                revocation,
                Some(&issuers_may_sign),
            )
            .map_err(|error| refusal(&error))?;
        Ok(())
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
