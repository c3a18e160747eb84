//! TLS in memory: octets in, octets out, and what both sides know at the end.
//!
//! rustls speaks the protocol. What is ours is whom to believe ([`TrustStore`], as for IKE), how to
//! sign (the keys of IKE's certificates), and the time. Nobody resumes a session, and nobody gets
//! a ticket: a session lasts for one authentication.
//!
//! # Invariants
//!
//! - Both sides show a certificate, or there is no session.
//! - Nothing here looks at a clock: a session has the time that it was begun with.
//! - Why a certificate is refused is kept in our words; the other side gets the alert that fits.
//!
//! # References
//!
//! `RFC 8446` (TLS 1.3), `RFC 5246` (TLS 1.2), `RFC 5705` (exporters).

#![forbid(unsafe_code)]

mod judge;
mod key;

use std::fmt::{Debug, Formatter};
// The library takes plaintext through it, in memory.
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};

use pki_types::{CertificateDer, ServerName};
use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ServerConnection};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, Connection, DistinguishedName, ProtocolVersion, ServerConfig, SupportedProtocolVersion,
};
use zeroize::Zeroizing;

use super::sign::PrivateKey;
use super::x509::{Certificate, ChainError, Staple, TrustStore};
use crate::codec::DecodeError;
use crate::time::UnixTime;
use judge::Judge;
use key::Key;

/// Whoever has certificates and the key of the first one.
pub trait Holder: Debug + Send + Sync {
    /// His certificate, then those of CAs.
    fn chain(&self) -> &[Certificate];
    /// His key.
    fn key(&self) -> &PrivateKey;
}

/// Whether a certificate that is believed is that of somebody who is expected.
pub type Expected = Arc<dyn Fn(&Certificate) -> bool + Send + Sync>;

/// Which versions are spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// 1.3, and 1.2 with those who know nothing else.
    #[default]
    Both,
    /// 1.2 only.
    Only12,
    /// 1.3 only.
    Only13,
}

impl Versions {
    const fn list(self) -> &'static [&'static SupportedProtocolVersion] {
        const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
        const ONLY_12: &[&SupportedProtocolVersion] = &[&TLS12];
        const ONLY_13: &[&SupportedProtocolVersion] = &[&TLS13];
        match self {
            Self::Both => BOTH,
            Self::Only12 => ONLY_12,
            Self::Only13 => ONLY_13,
        }
    }
}

/// What all sessions of one side have in common.
pub struct Party {
    provider: Arc<CryptoProvider>,
    own: Arc<CertifiedKey>,
    staple: Option<Staple>,
    trust: Arc<TrustStore>,
    versions: Versions,
}

impl Party {
    /// One side, which shows the certificates of `own` and believes `trust`.
    #[must_use]
    pub fn new(own: Arc<dyn Holder>, trust: Arc<TrustStore>, versions: Versions) -> Self {
        // Whoever believes a root has it.
        let is_sent = |(position, certificate): &(usize, &Certificate)| {
            *position == 0 || certificate.subject() != certificate.issuer()
        };
        let staple = own.chain().first().and_then(Certificate::staple).cloned();
        let chain = own.chain().iter().enumerate().filter(is_sent);
        let chain = chain.map(|(_, certificate)| CertificateDer::from(certificate.der().to_vec())).collect();
        Self {
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            own: Arc::new(CertifiedKey::new(chain, Arc::new(Key(own)))),
            staple,
            trust,
            versions,
        }
    }

    /// A session with a client that has to be `expected`.
    ///
    /// # Errors
    ///
    /// [`TlsError::Library`]
    pub fn server(&self, expected: Expected, now: UnixTime) -> Result<Session, TlsError> {
        let (judge, refused) = self.judge(expected);
        let config = ServerConfig::builder_with_details(Arc::clone(&self.provider), Arc::new(At(now)))
            .with_protocol_versions(self.versions.list())
            .map_err(|error| TlsError::library(&error))?
            .with_client_cert_verifier(judge);
        let mut config = config.with_cert_resolver(self.resolver(now));
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let connection =
            ServerConnection::new(Arc::new(config)).map_err(|error| TlsError::library(&error))?;
        Ok(Session { connection: connection.into(), refused })
    }

    /// A session with a server that has to be `expected`.
    ///
    /// # Errors
    ///
    /// [`TlsError::Library`]
    pub fn client(&self, expected: Expected, now: UnixTime) -> Result<Session, TlsError> {
        let (judge, refused) = self.judge(expected);
        let config = ClientConfig::builder_with_details(Arc::clone(&self.provider), Arc::new(At(now)))
            .with_protocol_versions(self.versions.list())
            .map_err(|error| TlsError::library(&error))?
            .dangerous()
            .with_custom_certificate_verifier(judge);
        let mut config = config.with_client_cert_resolver(self.resolver(now));
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        // The library wants a name; who is expected is for the judge.
        let nobody = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into());
        let connection =
            ClientConnection::new(Arc::new(config), nobody).map_err(|error| TlsError::library(&error))?;
        Ok(Session { connection: connection.into(), refused })
    }

    /// What is shown: with what the CA says about it, while that counts, which the library sends to those
    /// who ask.
    // RFC 9190 §5.4
    fn resolver(&self, now: UnixTime) -> Arc<SingleCertAndKey> {
        let own = match self.staple.as_ref().filter(|staple| staple.is_current(now)) {
            None => Arc::clone(&self.own),
            Some(staple) => {
                Arc::new(CertifiedKey { ocsp: Some(staple.der().to_vec()), ..CertifiedKey::clone(&self.own) })
            }
        };
        Arc::new(SingleCertAndKey::from(own))
    }

    fn judge(&self, expected: Expected) -> (Arc<Judge>, Arc<OnceLock<TlsError>>) {
        let refused = Arc::new(OnceLock::new());
        let names = self.trust.anchors().take(MAX_HINTS + 1);
        let names = names.map(|anchor| DistinguishedName::from(anchor.subject().to_vec()));
        let names: Vec<_> = names.collect();
        let judge = Judge {
            trust: Arc::clone(&self.trust),
            expected,
            hints: if names.len() > MAX_HINTS { Vec::new() } else { names },
            algorithms: self.provider.signature_verification_algorithms,
            refused: Arc::clone(&refused),
        };
        (Arc::new(judge), refused)
    }
}

impl Debug for Party {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "Party({:?}, {:?})", self.trust, self.versions)
    }
}

/// One side of a session.
pub struct Session {
    connection: Connection,
    /// Why the other side's certificate was refused.
    refused: Arc<OnceLock<TlsError>>,
}

impl Session {
    /// Takes what the other side sent. Whether it is good or bad, there may be something to send
    /// back afterwards: an alert, if it is bad.
    ///
    /// # Errors
    ///
    /// [`TlsError`]
    pub fn receive(&mut self, mut octets: &[u8]) -> Result<(), TlsError> {
        while !octets.is_empty() {
            match self.connection.read_tls(&mut octets) {
                // What follows a close_notify does not count.
                Ok(0) => break,
                Ok(_) => {}
                Err(_buffers_are_full) => return Err(TlsError::Surplus),
            }
            let state = match self.connection.process_new_packets() {
                Ok(state) => state,
                Err(error) => return Err(self.failure(&error)),
            };
            if state.plaintext_bytes_to_read() > MAX_PLAINTEXT {
                return Err(TlsError::Surplus);
            }
        }
        Ok(())
    }

    fn failure(&self, error: &rustls::Error) -> TlsError {
        match (self.refused.get(), error) {
            (Some(refused), rustls::Error::InvalidCertificate(_)) => refused.clone(),
            (_, rustls::Error::NoCertificatesPresented) => TlsError::NoCertificate,
            (_, rustls::Error::AlertReceived(alert)) => TlsError::Alert(short(&format!("{alert:?}"))),
            (_, error) => TlsError::Protocol(short(&error.to_string())),
        }
    }

    /// What is to be sent; nothing, often.
    pub fn to_send(&mut self) -> Vec<u8> {
        let mut octets = Vec::new();
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut octets) {
                Ok(0) => break,
                Ok(_) => {}
                // A vector takes everything.
                Err(_never) => break,
            }
        }
        octets
    }

    /// Whether both sides have shown their certificates and agreed on keys, as far as this side can
    /// know.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.connection.is_handshaking()
    }

    /// Whether it is TLS 1.3; known once it [is open](Self::is_open).
    #[must_use]
    pub fn is_13(&self) -> bool {
        self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// The data that the other side has sent, all of them.
    ///
    /// # Errors
    ///
    /// [`TlsError::Surplus`], when they do not come in one piece.
    pub fn data(&mut self) -> Result<Vec<u8>, TlsError> {
        let state = self.connection.process_new_packets().map_err(|error| self.failure(&error))?;
        let count = state.plaintext_bytes_to_read();
        match self.connection.reader().into_first_chunk() {
            Ok(chunk) if chunk.len() == count => Ok(chunk.to_vec()),
            Ok(_) => Err(TlsError::Surplus),
            // There are none, and may be none yet.
            Err(_none) => Ok(Vec::new()),
        }
    }

    /// Encrypts data, which is then [to be sent](Self::to_send).
    ///
    /// # Errors
    ///
    /// [`TlsError::Library`]
    pub fn write(&mut self, data: &[u8]) -> Result<(), TlsError> {
        match self.connection.writer().write_all(data) {
            Ok(()) => Ok(()),
            Err(_buffers_are_full) => Err(TlsError::Library("no room for data".into())),
        }
    }

    /// Octets that only both sides can know.
    ///
    /// # Errors
    ///
    /// [`TlsError::Library`], before the session is open.
    // RFC 5705 §4, RFC 8446 §7.5. What comes of it depends on the length that is asked for.
    pub fn export<const N: usize>(
        &self,
        label: &[u8],
        context: Option<&[u8]>,
    ) -> Result<Zeroizing<[u8; N]>, TlsError> {
        let mut octets = Zeroizing::new([0; N]);
        match self.connection.export_keying_material(&mut octets[..], label, context) {
            Ok(_) => Ok(octets),
            Err(error) => Err(TlsError::library(&error)),
        }
    }

    /// The certificate that the other side has shown. It is to be believed once the session [is
    /// open](Self::is_open).
    #[must_use]
    pub fn certificate(&self) -> Option<Certificate> {
        let first = self.connection.peer_certificates()?.first()?;
        Certificate::from_der(first).ok()
    }
}

impl Debug for Session {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session(open: {})", self.is_open())
    }
}

/// The time that a session is begun with.
#[derive(Debug)]
struct At(UnixTime);

impl TimeProvider for At {
    fn current_time(&self) -> Option<pki_types::UnixTime> {
        Some(pki_types::UnixTime::since_unix_epoch(self.0.since_epoch()))
    }
}

/// Why there is no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The other side gave up, and said why.
    #[error("the other side ended TLS with the alert {0}")]
    Alert(Box<str>),
    /// The other side has no certificate.
    #[error("no certificate came")]
    NoCertificate,
    /// Its certificate cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Malformed(DecodeError),
    /// Its certificate is not believed.
    #[error("the certificate is refused: {0}")]
    Chain(ChainError),
    /// It is somebody else than was expected.
    #[error("the certificate is that of {0}, who is not expected")]
    SomebodyElse(Box<str>),
    /// It does not keep to the protocol, or has nothing in common with us.
    #[error("{0}")]
    Protocol(Box<str>),
    /// It sends more than anybody has to say.
    #[error("more data than expected")]
    Surplus,
    /// The library fails.
    #[error("it cannot be used: {0}")]
    Library(Box<str>),
}

impl TlsError {
    fn library(error: &rustls::Error) -> Self {
        Self::Library(short(&error.to_string()))
    }
}

/// A line at most, whatever the other side sent.
fn short(text: &str) -> Box<str> {
    text.chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect::<String>().into()
}

/// Most characters of the library's words that are shown.
const MAX_SHOWN: usize = 128;
/// Most CAs that are named to the other side. With more, none is.
const MAX_HINTS: usize = 20;
/// Most octets of data that anybody has to say.
const MAX_PLAINTEXT: usize = 64;

#[cfg(test)]
mod tests;
