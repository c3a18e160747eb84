//! Elliptic curves: the library computes, this module speaks IKE's encoding.

#![forbid(unsafe_code)]

use aws_lc_rs::agreement::{
    self, Algorithm, ECDH_P256, ECDH_P384, ECDH_P521, PrivateKey, UnparsedPublicKey, X25519,
};
use zeroize::Zeroizing;

use super::{Group, KeyExchangeError};
use crate::rng::Rng;
use crate::secret::{self, Secret};

/// Which curve.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
    X25519,
}

impl Curve {
    const fn group(self) -> Group {
        match self {
            Self::P256 => Group::P256,
            Self::P384 => Group::P384,
            Self::P521 => Group::P521,
            Self::X25519 => Group::Curve25519,
        }
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::P256 => &ECDH_P256,
            Self::P384 => &ECDH_P384,
            Self::P521 => &ECDH_P521,
            Self::X25519 => &X25519,
        }
    }

    /// Whether public values are x and y, which the library wants with an octet before them.
    const fn is_ecp(self) -> bool {
        match self {
            Self::P256 | Self::P384 | Self::P521 => true,
            Self::X25519 => false,
        }
    }
}

/// A private value on a curve.
pub(super) struct CurveExchange {
    curve: Curve,
    private: PrivateKey,
}

impl CurveExchange {
    /// A private value, and the public one that goes with it.
    pub(super) fn generate(curve: Curve, rng: &mut Rng) -> Result<(Self, Box<[u8]>), KeyExchangeError> {
        let mut octets = Zeroizing::new([0; MAX_SCALAR_LENGTH]);
        for _ in 0..MAX_DRAWS {
            let scalar = octets.get_mut(..curve.group().secret_length()).unwrap_or_default();
            rng.fill(scalar);
            if curve == Curve::P521
                && let Some(first) = scalar.first_mut()
            {
                // 521 bits are 65 octets and one bit.
                *first &= 1;
            }
            // The library refuses zero, and what is not below the order of the group.
            if let Ok(exchange) = Self::from_scalar(curve, scalar) {
                return exchange.public().map(|public| (exchange, public));
            }
        }
        Err(KeyExchangeError::Library)
    }

    pub(super) fn from_scalar(curve: Curve, scalar: &[u8]) -> Result<Self, KeyExchangeError> {
        let private = PrivateKey::from_private_key(curve.algorithm(), scalar)
            .map_err(|_rejected| KeyExchangeError::Library)?;
        Ok(Self { curve, private })
    }

    fn public(&self) -> Result<Box<[u8]>, KeyExchangeError> {
        let public = self.private.compute_public_key().map_err(|_unspecified| KeyExchangeError::Library)?;
        match (self.curve.is_ecp(), public.as_ref()) {
            (true, [UNCOMPRESSED, coordinates @ ..]) => Ok(coordinates.into()),
            (true, _) => Err(KeyExchangeError::Library),
            (false, u) => Ok(u.into()),
        }
    }

    pub(super) const fn group(&self) -> Group {
        self.curve.group()
    }

    /// The shared secret. `peer` is as long as a public value.
    pub(super) fn agree(&self, peer: &[u8]) -> Result<Secret, KeyExchangeError> {
        let group = self.group();
        let mut octets = [UNCOMPRESSED; 1 + MAX_PUBLIC_LENGTH];
        let (encoded, refused) = if self.curve.is_ecp() {
            for (place, octet) in octets.iter_mut().skip(1).zip(peer) {
                *place = *octet;
            }
            (octets.get(..=peer.len()).unwrap_or_default(), KeyExchangeError::OffCurve { group })
        } else {
            (peer, KeyExchangeError::ZeroSecret { group })
        };
        let public = UnparsedPublicKey::new(self.curve.algorithm(), encoded);
        let secret = agreement::agree(&self.private, public, refused, |secret| Ok(Secret::from(secret)))?;
        // The library has refused a zero; RFC 8031 §4 asks for it, so it is not left to the library.
        if !self.curve.is_ecp() && secret::is_same(secret.expose(), &[0; 32]) {
            return Err(refused);
        }
        Ok(secret)
    }
}

/// How SEC 1 §2.3.3 begins a point whose coordinates both follow.
const UNCOMPRESSED: u8 = 4;
/// Those of P-521.
const MAX_SCALAR_LENGTH: usize = 66;
const MAX_PUBLIC_LENGTH: usize = 132;
/// Of P-256, whose order is the furthest below a power of two, one draw in 2^32 is refused.
const MAX_DRAWS: usize = 16;

#[cfg(test)]
mod tests;
