//! EAP-TLS: certificates on both sides, shown inside EAP.
//!
//! ```text
//!  client (peer)                                 gateway (server)
//!                             ◀── start
//!  ClientHello                ──▶
//!                             ◀── ServerHello … CertificateRequest … Finished or ServerHelloDone
//!  Certificate … Finished     ──▶
//!                             ◀── TLS 1.2: Finished; TLS 1.3: one octet of zero
//!  nothing                    ──▶
//!                             ◀── EAP-Success
//! ```
//!
//! Each of these is cut into fragments where it has to be (`frame`). With TLS 1.3 the octet of zero
//! is the server's word that nothing else follows; a success without it is no success for the client.
//! Whoever refuses the other side says so with a TLS alert before EAP fails.
//!
//! # Invariants
//!
//! - There are keys only after both certificates were believed.
//! - No session is resumed: each authentication looks at certificates.
//! - Nothing that the other side sends makes a conversation longer than `frame` allows.
//!
//! # References
//!
//! `RFC 5216` (EAP-TLS), `RFC 9190` (with TLS 1.3).

mod frame;
mod identity;
mod keys;
mod method;
mod peer;
mod server;

use crate::crypto::sign::PrivateKey;
use crate::crypto::tls::{Holder, TlsError};
use crate::crypto::x509::Certificate;
use crate::ike::config::Credential;
use crate::secret::Secret;
pub use frame::{FRAGMENT, FrameError};
pub use identity::{Agreement, is_expected, owner};
pub use method::{Client, Gateway};
pub use peer::Peer;
pub use server::Server;

/// What comes of a packet.
#[derive(Debug)]
pub enum Step {
    /// This is to be sent, and more is to come.
    Send(Vec<u8>),
    /// The other side is believed.
    Done(Done),
    /// It is not.
    Failed(EapTlsError),
}

/// What both sides have at the end.
#[derive(Debug)]
pub struct Done {
    /// The client's last word, for which it waits until it has seen everything.
    pub last: Option<Vec<u8>>,
    /// The master session key.
    pub msk: Secret,
    /// Whose certificate the other side has shown.
    pub certificate: Box<Certificate>,
}

/// Why the other side is not believed, or nothing comes of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EapTlsError {
    /// Its packets are no messages.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// There is no session.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It has nothing to say where it has to say something.
    #[error("EAP-TLS goes on before TLS has come to its end")]
    Incomplete,
    /// It says something where everything has been said.
    #[error("EAP-TLS goes on after TLS has come to its end")]
    Beyond,
    /// The last word of TLS 1.3 is not the one that it has to be, or comes too early.
    #[error("what ends TLS 1.3 is not the octet of zero")]
    Commitment,
}

/// What IKE signs with, TLS signs with.
impl Holder for Credential {
    fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    fn key(&self) -> &PrivateKey {
        &self.key
    }
}

#[cfg(test)]
mod tests;
