//! The seam between EAP and its methods: a method sees type data and nothing else. Identifiers,
//! lengths, Identity, Nak and limits are the matter of the conversation around it.
//!
//! A server method is asked to begin with empty data, and then gets what the client answers. A
//! method of the client gets what the server asks.
//!
//! # References
//!
//! `RFC 3748 §7`, `RFC 5247`.

use std::fmt::{Debug, Formatter};

use super::guesses::Guesses;
use crate::codec::DecodeError;
use crate::ike::wire::EapType;
use crate::rng::Rng;
use crate::secret::Secret;
use crate::time::{Now, UnixTime};

/// What is configured of a method: it begins one conversation after the other.
pub trait Maker: Debug + Send + Sync {
    /// Which method.
    fn kind(&self) -> EapType;

    /// Whether the gateway may leave out its own AUTH until the end: both sides prove who they are,
    /// there is a key, and whoever listens cannot try passwords (`RFC 5998 §4`).
    fn may_stand_alone(&self) -> bool;

    /// Begins a conversation. `identity` is what the client has said of itself, or what we as a
    /// client have said; nothing is proved of it yet.
    fn begin(&self, identity: &str) -> Box<dyn Method>;
}

/// One side of a method in one conversation.
pub trait Method: Debug + Send {
    /// Which method.
    fn kind(&self) -> EapType;

    /// Takes in the type data of the other side's packet: what follows the Type octet. Empty for the
    /// first call of a server.
    fn step(&mut self, ctx: &mut MethodContext<'_>, data: &[u8]) -> Turn;
}

/// What a method may use besides itself.
pub struct MethodContext<'a> {
    /// The time, for certificates and for what is remembered.
    pub now: Now,
    /// Randomness.
    pub rng: &'a mut Rng,
    /// Who has failed how often.
    pub guesses: &'a mut Guesses,
}

impl Debug for MethodContext<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "MethodContext({:?})", self.now)
    }
}

/// What a method makes of what it got.
#[derive(Debug)]
pub enum Turn {
    /// Type data for the other side, which is to go on.
    Send(Vec<u8>),
    /// The other side is believed.
    ///
    /// A client has a `last` word always, since every request is answered; it waits for Success
    /// then. A server has one if the client is to be told something more; its answer to that is not
    /// looked at, and Success follows it.
    Done {
        /// Type data that is sent before.
        last: Option<Vec<u8>>,
        /// What has come of it.
        outcome: Outcome,
    },
    /// It is not, or it does not believe us. The last word is as above, with Failure in the place of
    /// Success.
    Failed {
        /// Type data that is sent before.
        last: Option<Vec<u8>>,
        /// Why.
        error: MethodError,
    },
}

impl Turn {
    /// An end without a last word.
    #[must_use]
    pub const fn failed(error: MethodError) -> Self {
        Self::Failed { last: None, error }
    }
}

/// What has come of a method.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The key that both sides have, if the method makes one.
    pub keys: Option<Msk>,
    /// Who has proved who it is, as a server knows it; `None` = whoever the identity names.
    pub identity: Option<Box<str>>,
    /// Until when the proof is good, such as that by a certificate.
    pub valid_until: Option<UnixTime>,
}

/// The master session key of a method (`RFC 3748 §7.10`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Msk(Secret);

impl Msk {
    /// Octets.
    pub const LENGTH: usize = 64;

    /// What is shorter is filled up with zeros: MSCHAPv2 makes 32 octets, and RADIUS servers hand on
    /// as many. `None` for nothing, and for more than there can be.
    #[must_use]
    pub fn new(octets: &[u8]) -> Option<Self> {
        if octets.is_empty() || octets.len() > Self::LENGTH {
            return None;
        }
        let mut key = Secret::from(&[0; Self::LENGTH][..]);
        for (place, octet) in key.expose_mut().iter_mut().zip(octets) {
            *place = *octet;
        }
        Some(Self(key))
    }

    /// The octets.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.0
    }
}

/// Why a method has failed, for operators. There is nothing secret in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    /// There is no such user, or the password is another one: nobody is told which.
    #[error("the user is unknown, or the password is wrong")]
    Credentials,
    /// There were too many wrong passwords for this user.
    #[error("locked out: too many wrong passwords")]
    Locked,
    /// The other side has refused.
    #[error("refused by the other side with error {0}")]
    Refused(u32),
    /// The server does not know the password either: it is none of ours.
    #[error("the server does not know the password")]
    Server,
    /// A packet that cannot be read.
    #[error("{0}")]
    Malformed(#[from] DecodeError),
    /// A packet that has no business there.
    #[error("{0} at the wrong time")]
    Unexpected(&'static str),
    /// A certificate, or what goes with it, is not to be believed.
    #[error("{0}")]
    Certificate(Box<str>),
    /// The TLS library refuses to go on.
    #[error("TLS: {0}")]
    Tls(Box<str>),
    /// Something of our own failed.
    #[error("a local error: {0}")]
    Local(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_length_and_is_not_shown() {
        let key = Msk::new(&[7; 32]).unwrap();

        assert_eq!(key.secret().expose(), [[7; 32], [0; 32]].concat());
        assert_eq!(format!("{key:?}"), "Msk(Secret(…))");
        assert!(Msk::new(&[1; 64]).is_some());
        assert_eq!((Msk::new(&[]), Msk::new(&[1; 65])), (None, None));
    }
}
