//! Certificates: reading them, what they say about their owner, and whether to believe it.
//!
//! webpki decides what is believed. What is read here serves two ends: identities, of which IKE has
//! kinds that TLS does not, and usages, which webpki leaves to its caller.
//!
//! # References
//!
//! `RFC 5280`, `RFC 4945 §5.1.3` (the profile of IKE), `RFC 7296 §3.6` and `§3.7` (CERT, CERTREQ),
//! `RFC 6960` (OCSP).

#![forbid(unsafe_code)]

#[cfg(any(test, feature = "testing"))]
pub mod builder;
mod chain;
mod crl;
mod dn;
mod name;
mod ocsp;
#[cfg(any(test, feature = "testing"))]
pub mod responder;

use std::sync::Arc;

use pki_types::CertificateDer;
use pki_types::pem::{PemObject as _, SectionKind};

use super::der::{Der, Element, tag};
use super::digest;
use super::sign::{PublicKey, PublicKeyError};
use crate::codec::DecodeError;
use crate::time::UnixTime;
pub use chain::{AnchorError, ChainError, CrlError, MAX_STAPLES, Revocation, TrustStore};
pub use crl::ListDates;
pub use dn::{DnPattern, DnTextError, canonical_dn, dn_from_text, dn_to_text, has_common_name, is_same_dn};
pub use name::{AltName, Identity, is_dns_match};
pub use ocsp::{MAX_RESPONSE, OcspError, Staple};

/// Octets of the hash by which a CERTREQ names a CA: SHA-1 of its SubjectPublicKeyInfo.
pub const KEY_HASH_LENGTH: usize = digest::SHA1_LENGTH;

/// A certificate that could be read. Whether to believe it is another matter: see [`TrustStore`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: CertificateDer<'static>,
    serial: Box<[u8]>,
    issuer: Box<[u8]>,
    subject: Box<[u8]>,
    alt_names: Vec<AltName>,
    not_before: UnixTime,
    not_after: UnixTime,
    public_key: Result<PublicKey, PublicKeyError>,
    key_hash: [u8; KEY_HASH_LENGTH],
    extensions: Extensions,
    /// What its CA has said about it, if it is ours and that is to be shown.
    staple: Option<Arc<Staple>>,
}

/// The extensions that say what a key is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Extensions {
    /// BasicConstraints say that it is a CA's.
    is_ca: bool,
    /// KeyUsage, if it is there.
    key_usage: Option<KeyUsage>,
    /// ExtendedKeyUsage, if it is there, allows authentication in IKE.
    is_for_ike: Option<bool>,
    /// It says where its CA tells what it has revoked: lists, or an OCSP responder.
    names_status: bool,
}

/// Which uses `RFC 5280 §4.2.1.3` a KeyUsage allows, of those that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KeyUsage {
    /// digitalSignature or nonRepudiation.
    signature: bool,
    /// keyCertSign
    certificates: bool,
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]
    // RFC 5280 §4.1
    pub fn from_der(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut der = Der::new(octets);
        let mut certificate = der.sequence("Certificate")?;
        der.finish("Certificate")?;
        let mut signed = certificate.sequence("TBSCertificate")?;
        certificate.sequence("signature algorithm")?;
        certificate.bit_string("signature")?;
        certificate.finish("Certificate")?;

        signed.optional(tag::constructed(0), "version")?;
        let serial = signed.expect(tag::INTEGER, "serial number")?;
        signed.sequence("signature algorithm")?;
        let issuer = name(&mut signed, "issuer")?;
        let mut validity = signed.sequence("validity")?;
        let (not_before, not_after) = (validity.time("notBefore")?, validity.time("notAfter")?);
        validity.finish("validity")?;
        let subject = name(&mut signed, "subject")?;
        let key = signed.element("SubjectPublicKeyInfo")?;
        signed.optional(tag::context(1), "issuerUniqueID")?;
        signed.optional(tag::context(2), "subjectUniqueID")?;
        let (mut extensions, mut alt_names) = (Extensions::default(), Vec::new());
        if let Some(list) = signed.optional(tag::constructed(3), "extensions")? {
            read_extensions(list, &mut extensions, &mut alt_names)?;
        }
        signed.finish("TBSCertificate")?;

        Ok(Self {
            der: CertificateDer::from(octets.to_vec()),
            serial: serial.into(),
            issuer: issuer.into(),
            subject: subject.into(),
            alt_names,
            not_before,
            not_after,
            public_key: PublicKey::from_spki(key.whole),
            key_hash: digest::sha1(&[key.whole]),
            extensions,
            staple: None,
        })
    }

    /// Reads all certificates of a PEM file, in their order.
    ///
    /// # Errors
    ///
    /// [`CertificateError`]
    pub fn list_from_pem(text: &[u8]) -> Result<Vec<Self>, CertificateError> {
        let list = pem_sections(text, SectionKind::Certificate)
            .map_err(|NotPem| CertificateError::Pem)?
            .iter()
            .map(|octets| Self::from_der(octets))
            .collect::<Result<Vec<_>, _>>()?;
        if list.is_empty() { Err(CertificateError::Missing) } else { Ok(list) }
    }

    /// The certificate in DER, as it goes into a CERT payload.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The same certificate, with what its CA has said about it.
    #[must_use]
    pub fn with_staple(self, staple: Staple) -> Self {
        Self { staple: Some(Arc::new(staple)), ..self }
    }

    /// What its CA has said about it, to be shown beside it.
    #[must_use]
    pub fn staple(&self) -> Option<&Staple> {
        self.staple.as_deref()
    }

    /// The serial number, as it is in the DER.
    const fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The distinguished name of the owner, in DER.
    #[must_use]
    pub const fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// Whether the owner has a distinguished name.
    #[must_use]
    pub fn has_subject(&self) -> bool {
        *self.subject != [tag::SEQUENCE, 0]
    }

    /// The distinguished name of the CA, in DER.
    #[must_use]
    pub const fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    /// The owner's other names.
    #[must_use]
    pub fn alt_names(&self) -> &[AltName] {
        &self.alt_names
    }

    /// The first and the last moment at which it is valid.
    #[must_use]
    pub const fn validity(&self) -> (UnixTime, UnixTime) {
        (self.not_before, self.not_after)
    }

    /// The owner's key.
    ///
    /// # Errors
    ///
    /// [`PublicKeyError`], when the key is none of ours.
    pub fn public_key(&self) -> Result<&PublicKey, PublicKeyError> {
        self.public_key.as_ref().map_err(|error| *error)
    }

    /// SHA-1 of the SubjectPublicKeyInfo: how a CERTREQ names a CA.
    #[must_use]
    pub const fn key_hash(&self) -> &[u8; KEY_HASH_LENGTH] {
        &self.key_hash
    }

    /// Whether BasicConstraints say that it is a CA's.
    #[must_use]
    pub const fn is_ca(&self) -> bool {
        self.extensions.is_ca
    }

    /// Whether KeyUsage and ExtendedKeyUsage, where they are there, let its owner authenticate in
    /// IKE: with id-kp-ipsecIKE, with any usage, or with those of TLS, which is what most CAs give.
    // RFC 4945 §5.1.3.2 and §5.1.3.12
    #[must_use]
    pub fn is_for_ike(&self) -> bool {
        self.extensions.key_usage.is_none_or(|usage| usage.signature)
            && self.extensions.is_for_ike != Some(false)
    }

    /// Whether it says where its CA tells what it has revoked.
    const fn names_status(&self) -> bool {
        self.extensions.names_status
    }

    /// Whether KeyUsage, where it is there, lets its owner sign certificates.
    fn may_sign_certificates(&self) -> bool {
        self.extensions.key_usage.is_none_or(|usage| usage.certificates)
    }

    /// Whether it is valid at this time; nothing is said about its issuer.
    #[must_use]
    pub fn is_valid_at(&self, now: UnixTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Whether the certificate gives its owner this identity.
    #[must_use]
    pub fn has(&self, identity: &Identity<'_>) -> bool {
        match identity {
            // RFC 5280 §4.1.2.6: the subject may be empty, and then it is nobody's name.
            Identity::Dn(dn) => self.has_subject() && is_same_dn(&self.subject, dn),
            Identity::Fqdn(_) | Identity::Rfc822(_) | Identity::Ip(_) => {
                self.alt_names.iter().any(|name| name.gives(identity))
            }
        }
    }
}

/// The next element, a name, whole.
fn name<'a>(der: &mut Der<'a>, what: &'static str) -> Result<&'a [u8], DecodeError> {
    let element = der.element(what)?;
    if element.tag == tag::SEQUENCE {
        Ok(element.whole)
    } else {
        Err(DecodeError::Value { what, value: element.tag.into() })
    }
}

// RFC 5280 §4.1: Extensions ::= SEQUENCE OF SEQUENCE { OID, BOOLEAN DEFAULT FALSE, OCTET STRING }
fn read_extensions(
    list: &[u8],
    extensions: &mut Extensions,
    alt_names: &mut Vec<AltName>,
) -> Result<(), DecodeError> {
    let mut der = Der::new(list);
    let mut list = der.sequence("extensions")?;
    der.finish("extensions")?;
    while !list.is_empty() {
        let mut extension = list.sequence("extension")?;
        let oid = extension.expect(tag::OID, "extension")?;
        extension.optional(tag::BOOLEAN, "critical")?;
        let mut value = Der::new(extension.expect(tag::OCTET_STRING, "extension")?);
        extension.finish("extension")?;
        match oid {
            OID_BASIC_CONSTRAINTS => {
                let mut constraints = value.sequence("basicConstraints")?;
                let is_ca = constraints.optional(tag::BOOLEAN, "cA")?;
                extensions.is_ca = is_ca.is_some_and(|is_ca| is_ca == [0xff]);
            }
            OID_KEY_USAGE => extensions.key_usage = Some(key_usage(value)?),
            OID_EXTENDED_KEY_USAGE => {
                let mut purposes = value.sequence("extKeyUsage")?;
                let mut is_for_ike = false;
                while !purposes.is_empty() {
                    is_for_ike |= IKE_PURPOSES.contains(&purposes.expect(tag::OID, "extKeyUsage")?);
                }
                extensions.is_for_ike = Some(is_for_ike);
            }
            OID_SUBJECT_ALT_NAME => {
                let mut names = value.sequence("subjectAltName")?;
                while !names.is_empty() {
                    let Element { tag, body, whole: _ } = names.element("subjectAltName")?;
                    alt_names.extend(AltName::read(tag, body)?);
                }
            }
            OID_CRL_DISTRIBUTION_POINTS => extensions.names_status = true,
            OID_AUTHORITY_INFO_ACCESS => {
                let mut descriptions = value.sequence("authorityInfoAccess")?;
                while !descriptions.is_empty() {
                    let mut description = descriptions.sequence("accessDescription")?;
                    extensions.names_status |= description.expect(tag::OID, "accessMethod")? == OID_AD_OCSP;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

// RFC 5280 §4.2.1.3: bit 0 is the highest of the first octet.
fn key_usage(mut value: Der<'_>) -> Result<KeyUsage, DecodeError> {
    let bits = value.expect(tag::BIT_STRING, "keyUsage")?;
    let first = bits.get(1).copied().unwrap_or(0);
    Ok(KeyUsage { signature: first & 0b1100_0000 != 0, certificates: first & 0b0000_0100 != 0 })
}

/// A file that is not PEM.
struct NotPem;

/// What is in the sections of this kind.
fn pem_sections(text: &[u8], wanted: SectionKind) -> Result<Vec<Vec<u8>>, NotPem> {
    let mut sections = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        let (kind, octets) = section.map_err(|_why| NotPem)?;
        if kind == wanted {
            sections.push(octets);
        }
    }
    Ok(sections)
}

/// Why there are no certificates in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The file is not PEM.
    #[error("not a PEM file")]
    Pem,
    /// There is no certificate in it.
    #[error("no certificate in the file")]
    Missing,
    /// One cannot be read.
    #[error("not a certificate: {0}")]
    Malformed(#[from] DecodeError),
}

/// 2.5.29.15
const OID_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
/// 2.5.29.17
const OID_SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// 2.5.29.19
const OID_BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
/// 2.5.29.31
const OID_CRL_DISTRIBUTION_POINTS: &[u8] = &[0x55, 0x1d, 0x1f];
/// id-pe-authorityInfoAccess: 1.3.6.1.5.5.7.1.1
const OID_AUTHORITY_INFO_ACCESS: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x01];
/// id-ad-ocsp: 1.3.6.1.5.5.7.48.1
const OID_AD_OCSP: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01];
/// 2.5.29.37
const OID_EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];

/// Purposes for which a key may authenticate in IKE.
const IKE_PURPOSES: [&[u8]; 5] = [
    // anyExtendedKeyUsage: 2.5.29.37.0
    &[0x55, 0x1d, 0x25, 0x00],
    // id-kp-ipsecIKE: 1.3.6.1.5.5.7.3.17
    &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x11],
    // iKEIntermediate, which macOS and Windows look for: 1.3.6.1.5.5.8.2.2
    &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x08, 0x02, 0x02],
    // id-kp-serverAuth: 1.3.6.1.5.5.7.3.1
    &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01],
    // id-kp-clientAuth: 1.3.6.1.5.5.7.3.2
    &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02],
];

#[cfg(test)]
mod tests;
