//! Why somebody is not believed, or why we cannot make ourselves believed, for the operator.
//!
//! The peer is told that authentication failed, and nothing of this (`RFC 7296 §2.21.2`).

use std::fmt::{Display, Formatter};
use std::sync::Arc;

use super::bundle::{BundleError, Ignored};
use super::cert::{ProofError, SignError};
use crate::codec::DecodeError;
use crate::crypto::sign::PublicKeyError;
use crate::crypto::x509::ChainError;
use crate::ike::config::{Name, RemoteProof};
use crate::ike::event::Failure;
use crate::ike::wire::{AuthMethod, IdType};

/// Why somebody is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The ID payload cannot be read.
    #[error("{0}")]
    Identity(DecodeError),
    /// A method that is none of ours, whoever uses it.
    #[error("{identity} comes with authentication method {method}, which is not accepted")]
    Method {
        /// Who.
        identity: Arc<str>,
        /// Which.
        method: AuthMethod,
    },
    /// No profile is for this identity, for whom it asks, and for how it proves itself.
    #[error("no profile for {identity} by {means}{}: {}", Asked(asked.as_deref()), Near(near))]
    NoProfile {
        /// Who.
        identity: Arc<str>,
        /// How it proves itself.
        means: Means,
        /// Whom it asks for.
        asked: Option<Arc<str>>,
        /// Profiles that are for this identity, some of them, and what they miss.
        near: Vec<(Name, Miss)>,
    },
    /// The responder is somebody else than was expected.
    #[error("the peer is {identity}, expected was {expected}")]
    OtherIdentity {
        /// Who it is.
        identity: Arc<str>,
        /// Who it should be.
        expected: Box<str>,
    },
    /// The responder proves itself in another way than was expected.
    #[error("{identity} comes with {means}, expected was {expected}")]
    OtherMeans {
        /// Who.
        identity: Arc<str>,
        /// How.
        means: Means,
        /// How it should.
        expected: Means,
    },
    /// The key is not that of any profile.
    #[error("{identity} does not know the key: tried {}", List(tried))]
    Key {
        /// Who.
        identity: Arc<str>,
        /// With which keys.
        tried: Vec<Name>,
    },
    /// The certificate is not to be believed.
    #[error("{identity}: {error}{ignored}")]
    Certificate {
        /// Who.
        identity: Arc<str>,
        /// Why.
        error: CertificateError,
        /// What was sent besides.
        ignored: Ignored,
    },
    /// The signature proves nothing.
    #[error("{identity}: {error}")]
    Proof {
        /// Who.
        identity: Arc<str>,
        /// Why.
        error: ProofError,
    },
    /// A certificate where none may be (`RFC 5723 §4.3.3`).
    #[error("{identity} comes with a ticket and a certificate")]
    SurplusCertificate {
        /// Who.
        identity: Arc<str>,
    },
    /// The keys are not those of the session that is to be resumed.
    #[error("{identity} does not know the keys of the session that its ticket is of")]
    Session {
        /// Who.
        identity: Arc<str>,
    },
    /// The AUTH after EAP does not agree with what EAP has left behind.
    #[error("{identity} has passed EAP, and does not know its key")]
    EapKey {
        /// Who.
        identity: Arc<str>,
    },
    /// We cannot prove who we are.
    #[error(transparent)]
    Own(#[from] SignError),
}

impl Refusal {
    /// What it is counted as.
    #[must_use]
    pub const fn failure(&self) -> Failure {
        match self {
            Self::Identity(_) => Failure::Syntax,
            Self::NoProfile { .. } => Failure::NoProfile,
            Self::OtherIdentity { .. } => Failure::OtherIdentity,
            Self::Method { .. }
            | Self::OtherMeans { .. }
            | Self::Key { .. }
            | Self::Proof { .. }
            | Self::SurplusCertificate { .. }
            | Self::EapKey { .. }
            | Self::Session { .. } => Failure::Authentication,
            Self::Certificate { .. } => Failure::Certificate,
            Self::Own(_) => Failure::Local,
        }
    }
}

/// Why a certificate is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// There is none.
    #[error("no certificate came")]
    Missing,
    /// It cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Malformed(DecodeError),
    /// Its key is none of ours.
    #[error("the certificate: {0}")]
    Key(#[from] PublicKeyError),
    /// No certificate gives identities of this kind.
    #[error("no certificate gives an identity of type {0}")]
    Kind(IdType),
    /// It is somebody else's.
    #[error("the certificate is that of {subject}, which is somebody else")]
    SomebodyElse {
        /// Whose.
        subject: Box<str>,
    },
    /// No profile believes it.
    #[error("the certificate is refused: {}", Chains(.0))]
    Chain(Vec<(Name, ChainError)>),
}

impl From<BundleError> for CertificateError {
    fn from(error: BundleError) -> Self {
        match error {
            BundleError::Missing => Self::Missing,
            BundleError::Malformed(error) => Self::Malformed(error),
        }
    }
}

/// How somebody proves who he is, in the words of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// With a key that both know.
    SharedKey,
    /// With a signature and a certificate.
    Signature,
    /// By EAP.
    Eap,
}

impl Means {
    /// That of a method; `None` when it is none of ours.
    pub(super) const fn of(method: AuthMethod) -> Option<Self> {
        match method {
            AuthMethod::SharedKey => Some(Self::SharedKey),
            AuthMethod::Rsa
            | AuthMethod::Ecdsa256
            | AuthMethod::Ecdsa384
            | AuthMethod::Ecdsa521
            | AuthMethod::Signature => Some(Self::Signature),
            // DSS has SHA-1 and short keys only (RFC 8247 §3.1); Null proves nothing.
            AuthMethod::Dss | AuthMethod::Null | AuthMethod::Unknown(_) => None,
        }
    }

    /// That which is expected.
    pub(crate) const fn expected(remote: &RemoteProof) -> Self {
        match remote {
            RemoteProof::SharedKey(_) => Self::SharedKey,
            RemoteProof::Certificate(_) => Self::Signature,
            RemoteProof::Eap(_) => Self::Eap,
        }
    }
}

impl Display for Means {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::SharedKey => "psk",
            Self::Signature => "pubkey",
            Self::Eap => "eap",
        })
    }
}

/// What a profile that is for an identity misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The peer is to prove itself in another way.
    Means(Means),
    /// We are somebody else there than the peer asks for.
    OwnIdentity,
}

/// How many profiles are named at most.
pub(super) const MAX_NAMED: usize = 5;

struct Asked<'a>(Option<&'a str>);

impl Display for Asked<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |asked| write!(f, ", who asks for {asked}"))
    }
}

struct Near<'a>(&'a [(Name, Miss)]);

impl Display for Near<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none is for this identity");
        }
        joined(f, self.0, |f, (name, miss)| match miss {
            Miss::Means(means) => write!(f, "{name} wants {means}"),
            Miss::OwnIdentity => write!(f, "{name} is another one of ours"),
        })
    }
}

struct Chains<'a>(&'a [(Name, ChainError)]);

impl Display for Chains<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        joined(f, self.0, |f, (name, error)| write!(f, "{name}: {error}"))
    }
}

struct List<'a>(&'a [Name]);

impl Display for List<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        joined(f, self.0, |f, name| write!(f, "{name}"))
    }
}

fn joined<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    show: impl Fn(&mut Formatter<'_>, &T) -> std::fmt::Result,
) -> std::fmt::Result {
    for (position, item) in items.iter().enumerate() {
        if position == MAX_NAMED {
            return f.write_str(", …");
        }
        if position > 0 {
            f.write_str(", ")?;
        }
        show(f, item)?;
    }
    Ok(())
}
