//! What is good until a time: certificates, and what CAs say about them.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use crate::time::UnixTime;

/// Something that is good until a time: a certificate, a list, a response.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Paper {
    /// What it is.
    pub kind: PaperKind,
    /// Where it is.
    pub file: PathBuf,
    /// Whose it is, in words: of lists and responses the CA.
    pub owner: Box<str>,
    /// Until when it is good.
    pub until: UnixTime,
}

impl Paper {
    /// For how long it is good; zero when that is over.
    #[must_use]
    pub fn left(&self, now: UnixTime) -> Duration {
        self.until.since_epoch().saturating_sub(now.since_epoch())
    }
}

/// What is good until a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PaperKind {
    /// Our certificate.
    Own,
    /// The certificate of a CA between ours and one that peers believe.
    Chain,
    /// The certificate of a CA that we believe.
    Ca,
    /// A list of revoked certificates.
    Crl,
    /// An OCSP response about our certificate.
    Ocsp,
}

impl PaperKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Own, Self::Chain, Self::Ca, Self::Crl, Self::Ocsp];

    /// The name operators see.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Chain => "chain",
            Self::Ca => "ca",
            Self::Crl => "crl",
            Self::Ocsp => "ocsp",
        }
    }

    /// Whether it is a certificate, and not what a CA says about some.
    #[must_use]
    pub const fn is_certificate(self) -> bool {
        match self {
            Self::Own | Self::Chain | Self::Ca => true,
            Self::Crl | Self::Ocsp => false,
        }
    }
}
