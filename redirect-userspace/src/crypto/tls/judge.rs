//! Whether the other side of a session is believed.

#![forbid(unsafe_code)]

use std::fmt::{Debug, Formatter};
use std::sync::{Arc, OnceLock};

use pki_types::{CertificateDer, ServerName};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::{Expected, TlsError};
use crate::crypto::x509::{Certificate, ChainError, TrustStore, dn_to_text};
use crate::time::UnixTime;

/// The rules of IKE for certificates, as the library asks for them.
pub(super) struct Judge {
    pub(super) trust: Arc<TrustStore>,
    pub(super) expected: Expected,
    /// The CAs that are believed, by name.
    pub(super) hints: Vec<DistinguishedName>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    /// Where the reason goes, which has a finer grain than alerts.
    pub(super) refused: Arc<OnceLock<TlsError>>,
}

impl Judge {
    fn believe(
        &self,
        first: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        staple: &[u8],
        now: pki_types::UnixTime,
    ) -> Result<(), Error> {
        let now = UnixTime::from_epoch(std::time::Duration::from_secs(now.as_secs()));
        let others: Vec<&[u8]> = others.iter().map(|certificate| &**certificate).collect();
        // Without one, the library says so by an empty one.
        let staples: &[&[u8]] = if staple.is_empty() { &[] } else { &[staple] };
        let result = match Certificate::from_der(first) {
            Err(error) => Err((TlsError::Malformed(error), CertificateError::BadEncoding)),
            Ok(first) => match self.trust.validate_stapled(&first, &others, staples, now) {
                Err(error) => Err((TlsError::Chain(error), alert(error))),
                Ok(()) if !(self.expected)(&first) => {
                    let refused = TlsError::SomebodyElse(subject(&first));
                    Err((refused, CertificateError::ApplicationVerificationFailure))
                }
                Ok(()) => Ok(()),
            },
        };
        result.map_err(|(refused, told)| {
            // The first reason is the one that counts, and nobody asks twice.
            self.refused.get_or_init(|| refused);
            told.into()
        })
    }
}

/// What the other side is told: that which leads to the alert that fits.
const fn alert(error: ChainError) -> CertificateError {
    match error {
        ChainError::Expired => CertificateError::Expired,
        ChainError::NotYetValid => CertificateError::NotValidYet,
        ChainError::Revoked => CertificateError::Revoked,
        ChainError::UnknownCa | ChainError::AnchorExpired => CertificateError::UnknownIssuer,
        ChainError::NoRevocationInformation | ChainError::CrlExpired | ChainError::CrlSignature => {
            CertificateError::UnknownRevocationStatus
        }
        ChainError::Ocsp(_) => CertificateError::InvalidOcspResponse,
        ChainError::Usage | ChainError::CaAsEndEntity => CertificateError::InvalidPurpose,
        ChainError::CriticalExtension => CertificateError::UnhandledCriticalExtension,
        ChainError::Signature => CertificateError::BadSignature,
        ChainError::NotCa
        | ChainError::PathLength
        | ChainError::NameConstraint
        | ChainError::Algorithm
        | ChainError::TooComplex
        | ChainError::Malformed => CertificateError::BadEncoding,
    }
}

/// Whose a certificate is, for people: a line at most.
fn subject(certificate: &Certificate) -> Box<str> {
    super::short(&dn_to_text(certificate.subject()).unwrap_or_default())
}

impl Debug for Judge {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "Judge({:?})", self.trust)
    }
}

impl ClientCertVerifier for Judge {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: pki_types::UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.believe(end_entity, intermediates, &[], now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: pki_types::UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.believe(end_entity, intermediates, ocsp_response, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
