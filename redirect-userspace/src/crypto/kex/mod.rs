//! Key exchange methods.
//!
//! # Picture
//!
//! ```text
//! KeyExchange::generate ──► public() ──────────► Answer::new
//!                │                                │    └──► secret() ──► Secret
//!                └──► agree(its public) ◄─ public()
//!                              └──► Secret
//! ```
//!
//! With Diffie-Hellman both sides do the same, and the responder computes the secret only when it is
//! asked for. With a KEM what the responder sends is made of what came, and the secret with it.
//!
//! # References
//!
//! `RFC 7296 §3.4` (encoding), `RFC 3526` (MODP), `RFC 5903` (ECP), `RFC 8031` (Curve25519),
//! `RFC 6989` (which public values are refused), `RFC 8247 §2.4`; `FIPS 203` (ML-KEM).

#![forbid(unsafe_code)]

mod curve;
mod kem;
mod modp;

use std::fmt::{Debug, Formatter};

#[cfg(any(test, feature = "testing"))]
use super::null;
use crate::rng::Rng;
use crate::secret::Secret;
use curve::{Curve, CurveExchange};
use kem::{Kem, KemExchange};
use modp::{ModpExchange, Prime};

/// A key exchange method: a transform of type 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// 2048-bit MODP group: 14.
    Modp2048,
    /// 3072-bit MODP group: 15.
    Modp3072,
    /// 4096-bit MODP group: 16.
    Modp4096,
    /// 256-bit random ECP group, P-256: 19.
    P256,
    /// 384-bit random ECP group, P-384: 20.
    P384,
    /// 521-bit random ECP group, P-521: 21.
    P521,
    /// Curve25519: 31.
    Curve25519,
    /// ML-KEM-512: 35.
    MlKem512,
    /// ML-KEM-768: 36.
    MlKem768,
    /// ML-KEM-1024: 37.
    MlKem1024,
}

impl Group {
    /// Every group, in the order of its numbers.
    pub const ALL: [Self; 10] = [
        Self::Modp2048,
        Self::Modp3072,
        Self::Modp4096,
        Self::P256,
        Self::P384,
        Self::P521,
        Self::Curve25519,
        Self::MlKem512,
        Self::MlKem768,
        Self::MlKem1024,
    ];

    /// The group with this transform ID.
    #[must_use]
    pub const fn from_transform(id: u16) -> Option<Self> {
        match id {
            14 => Some(Self::Modp2048),
            15 => Some(Self::Modp3072),
            16 => Some(Self::Modp4096),
            19 => Some(Self::P256),
            20 => Some(Self::P384),
            21 => Some(Self::P521),
            31 => Some(Self::Curve25519),
            35 => Some(Self::MlKem512),
            36 => Some(Self::MlKem768),
            37 => Some(Self::MlKem1024),
            _ => None,
        }
    }

    /// Its transform ID.
    #[must_use]
    pub const fn transform(self) -> u16 {
        match self {
            Self::Modp2048 => 14,
            Self::Modp3072 => 15,
            Self::Modp4096 => 16,
            Self::P256 => 19,
            Self::P384 => 20,
            Self::P521 => 21,
            Self::Curve25519 => 31,
            Self::MlKem512 => 35,
            Self::MlKem768 => 36,
            Self::MlKem1024 => 37,
        }
    }

    /// The word for it in a proposal, as strongSwan's users know it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Modp2048 => "modp2048",
            Self::Modp3072 => "modp3072",
            Self::Modp4096 => "modp4096",
            Self::P256 => "ecp256",
            Self::P384 => "ecp384",
            Self::P521 => "ecp521",
            Self::Curve25519 => "x25519",
            Self::MlKem512 => "mlkem512",
            Self::MlKem768 => "mlkem768",
            Self::MlKem1024 => "mlkem1024",
        }
    }

    /// The group a word stands for. Curve25519 has two.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let name = if name == "curve25519" { "x25519" } else { name };
        Self::ALL.into_iter().find(|group| group.name() == name)
    }

    /// Octets of the initiator's public value.
    // RFC 7296 §3.4: MODP values are as long as the prime. RFC 5903 §7: x and y, each as long as
    // the field. RFC 8031 §3.1: the u-coordinate. FIPS 203 §8: the encapsulation key.
    #[must_use]
    pub const fn public_length(self) -> usize {
        match self {
            Self::Modp2048 => 256,
            Self::Modp3072 => 384,
            Self::Modp4096 => 512,
            Self::P256 => 64,
            Self::P384 => 96,
            Self::P521 => 132,
            Self::Curve25519 => 32,
            Self::MlKem512 => 800,
            Self::MlKem768 => 1_184,
            Self::MlKem1024 => 1_568,
        }
    }

    /// Octets of the responder's public value.
    // FIPS 203 §8: the ciphertext.
    #[must_use]
    pub const fn answer_length(self) -> usize {
        match self {
            Self::MlKem512 => 768,
            Self::MlKem768 => 1_088,
            Self::MlKem1024 => 1_568,
            Self::Modp2048
            | Self::Modp3072
            | Self::Modp4096
            | Self::P256
            | Self::P384
            | Self::P521
            | Self::Curve25519 => self.public_length(),
        }
    }

    /// Octets of the shared secret.
    // RFC 5903 §7: x only.
    #[must_use]
    pub const fn secret_length(self) -> usize {
        match self {
            Self::Modp2048 | Self::Modp3072 | Self::Modp4096 | Self::Curve25519 => self.public_length(),
            Self::P256 | Self::P384 | Self::P521 => self.public_length() / 2,
            Self::MlKem512 | Self::MlKem768 | Self::MlKem1024 => 32,
        }
    }
}

/// Our half of one key exchange, which we have begun.
pub struct KeyExchange {
    public: Box<[u8]>,
    private: Private,
}

enum Private {
    Curve(CurveExchange),
    Modp(ModpExchange),
    Kem(KemExchange),
    #[cfg(any(test, feature = "testing"))]
    Null(null::Exchange),
}

impl KeyExchange {
    /// Draws a private value from `rng`, and computes the public one.
    ///
    /// # Errors
    ///
    /// [`KeyExchangeError::Library`]
    pub fn generate(group: Group, rng: &mut Rng) -> Result<Self, KeyExchangeError> {
        let curve = |curve, rng| {
            let (exchange, public) = CurveExchange::generate(curve, rng)?;
            Ok(Self { public, private: Private::Curve(exchange) })
        };
        let modp = |prime, rng| {
            let (exchange, public) = ModpExchange::generate(prime, rng);
            Ok(Self { public, private: Private::Modp(exchange) })
        };
        let kem = |kem| {
            let (exchange, public) = KemExchange::generate(kem)?;
            Ok(Self { public, private: Private::Kem(exchange) })
        };
        match group {
            Group::Modp2048 => modp(Prime::Modp2048, rng),
            Group::Modp3072 => modp(Prime::Modp3072, rng),
            Group::Modp4096 => modp(Prime::Modp4096, rng),
            Group::P256 => curve(Curve::P256, rng),
            Group::P384 => curve(Curve::P384, rng),
            Group::P521 => curve(Curve::P521, rng),
            Group::Curve25519 => curve(Curve::X25519, rng),
            Group::MlKem512 => kem(Kem::MlKem512),
            Group::MlKem768 => kem(Kem::MlKem768),
            Group::MlKem1024 => kem(Kem::MlKem1024),
        }
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn from_null(exchange: null::Exchange) -> Self {
        Self { public: exchange.public.clone(), private: Private::Null(exchange) }
    }

    /// Our half with a given private value, for vectors; the MODP groups have none. Of ML-KEM it is the
    /// decapsulation key.
    ///
    /// # Errors
    ///
    /// [`KeyExchangeError::Library`] when it is no private value of the group.
    #[cfg(any(test, feature = "testing"))]
    pub fn from_private(group: Group, private: &[u8]) -> Result<Self, KeyExchangeError> {
        let kem = |kem| {
            let (exchange, public) = KemExchange::from_key(kem, private)?;
            Ok(Self { public, private: Private::Kem(exchange) })
        };
        let curve = match group {
            Group::P256 => Curve::P256,
            Group::P384 => Curve::P384,
            Group::P521 => Curve::P521,
            Group::Curve25519 => Curve::X25519,
            Group::MlKem512 => return kem(Kem::MlKem512),
            Group::MlKem768 => return kem(Kem::MlKem768),
            Group::MlKem1024 => return kem(Kem::MlKem1024),
            Group::Modp2048 | Group::Modp3072 | Group::Modp4096 => return Err(KeyExchangeError::Library),
        };
        let exchange = CurveExchange::from_scalar(curve, private)?;
        Ok(Self { public: exchange.public()?, private: Private::Curve(exchange) })
    }

    /// Its group.
    #[must_use]
    pub const fn group(&self) -> Group {
        match &self.private {
            Private::Curve(exchange) => exchange.group(),
            Private::Modp(exchange) => exchange.group(),
            Private::Kem(exchange) => exchange.group(),
            #[cfg(any(test, feature = "testing"))]
            Private::Null(exchange) => exchange.group,
        }
    }

    /// The public value, as it goes into a KE payload.
    #[must_use]
    pub const fn public(&self) -> &[u8] {
        &self.public
    }

    /// The shared secret, as it goes into a PRF, from the public value in the peer's KE payload.
    /// The private value is gone afterwards: it is used for one exchange (`RFC 6989 §2.3` says what
    /// would have to be done otherwise).
    ///
    /// # Errors
    ///
    /// [`KeyExchangeError`]
    pub fn agree(self, peer: &[u8]) -> Result<Secret, KeyExchangeError> {
        self.agree_or_keep(peer).map_err(|(_ours, error)| error)
    }

    /// As [`Self::agree`], but a public value that is refused leaves our half as it was: where nobody
    /// has proved yet to be the peer, the right one may still come. Nothing of the private value can
    /// be seen from a refusal.
    ///
    /// # Errors
    ///
    /// Our half, and why.
    pub fn agree_or_keep(self, peer: &[u8]) -> Result<Secret, (Self, KeyExchangeError)> {
        self.compute(peer).map_err(|error| (self, error))
    }

    fn compute(&self, peer: &[u8]) -> Result<Secret, KeyExchangeError> {
        let group = self.group();
        if peer.len() != group.answer_length() {
            return Err(KeyExchangeError::Length { group, length: peer.len() });
        }
        match &self.private {
            Private::Curve(exchange) => exchange.agree(peer),
            Private::Modp(exchange) => exchange.agree(peer),
            Private::Kem(exchange) => exchange.decapsulate(peer),
            #[cfg(any(test, feature = "testing"))]
            Private::Null(exchange) => exchange.agree(peer),
        }
    }
}

impl Debug for KeyExchange {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyExchange({:?}, …)", self.group())
    }
}

/// Our half of one key exchange, which the peer has begun.
pub struct Answer {
    public: Box<[u8]>,
    group: Group,
    outcome: Outcome,
}

enum Outcome {
    /// The secret is there.
    Known(Secret),
    /// It is computed when it is asked for: our half, and the peer's public value.
    Halves(Private, Box<[u8]>),
}

impl Answer {
    /// Answers the public value of the peer.
    ///
    /// # Errors
    ///
    /// [`KeyExchangeError`]; with Diffie-Hellman of the peer's value only its length is looked at.
    pub fn new(group: Group, peer: &[u8], rng: &mut Rng) -> Result<Self, KeyExchangeError> {
        if peer.len() != group.public_length() {
            return Err(KeyExchangeError::Length { group, length: peer.len() });
        }
        let kem = match group {
            Group::MlKem512 => Kem::MlKem512,
            Group::MlKem768 => Kem::MlKem768,
            Group::MlKem1024 => Kem::MlKem1024,
            Group::Modp2048
            | Group::Modp3072
            | Group::Modp4096
            | Group::P256
            | Group::P384
            | Group::P521
            | Group::Curve25519 => {
                let KeyExchange { public, private } = KeyExchange::generate(group, rng)?;
                return Ok(Self { public, group, outcome: Outcome::Halves(private, peer.into()) });
            }
        };
        let (public, secret) = kem.encapsulate(peer)?;
        Ok(Self { public, group, outcome: Outcome::Known(secret) })
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn from_null(exchange: null::Exchange, peer: &[u8]) -> Self {
        let (public, group) = (exchange.public.clone(), exchange.group);
        Self { public, group, outcome: Outcome::Halves(Private::Null(exchange), peer.into()) }
    }

    /// Its group.
    #[must_use]
    pub const fn group(&self) -> Group {
        self.group
    }

    /// The public value, as it goes into a KE payload.
    #[must_use]
    pub const fn public(&self) -> &[u8] {
        &self.public
    }

    /// The shared secret, as it goes into a PRF.
    ///
    /// # Errors
    ///
    /// [`KeyExchangeError`]
    pub fn secret(self) -> Result<Secret, KeyExchangeError> {
        match self.outcome {
            Outcome::Known(secret) => Ok(secret),
            Outcome::Halves(private, peer) => match private {
                Private::Curve(exchange) => exchange.agree(&peer),
                Private::Modp(exchange) => exchange.agree(&peer),
                Private::Kem(_) => Err(KeyExchangeError::Library),
                #[cfg(any(test, feature = "testing"))]
                Private::Null(exchange) => exchange.agree(&peer),
            },
        }
    }
}

impl Debug for Answer {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({:?}, …)", self.group)
    }
}

/// Why a key exchange fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyExchangeError {
    /// A public value that is too long or too short.
    #[error("{length} octets are no public value of {group:?}")]
    Length {
        /// The group.
        group: Group,
        /// Octets there are.
        length: usize,
    },
    /// A public value with which the secret would be one of a few: 0, 1 or p-1 of a MODP group
    /// (`RFC 6989 §2.1`).
    #[error("a public value of {group:?} that would give the secret away")]
    Degenerate {
        /// The group.
        group: Group,
    },
    /// A point that is not on the curve (`RFC 6989 §2.3`), or coordinates that are too large.
    #[error("a point that is not on the curve of {group:?}")]
    OffCurve {
        /// The group.
        group: Group,
    },
    /// A secret that is all zero (`RFC 8031 §4`, `RFC 7748 §6.1`).
    #[error("a public value of {group:?} with which the secret is zero")]
    ZeroSecret {
        /// The group.
        group: Group,
    },
    /// Octets that are no encapsulation key (`FIPS 203 §7.2`).
    #[error("a public value that is no key of {group:?}")]
    BadKey {
        /// The group.
        group: Group,
    },
    /// The library failed, which it does when it is out of memory.
    #[error("the cryptographic library failed")]
    Library,
}

#[cfg(test)]
mod tests;
