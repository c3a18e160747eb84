//! ML-KEM: the library computes, this module has it fit into an exchange of two public values.
//!
//! The random octets of it are the library's own, which takes no generator.
//!
//! # References
//!
//! `FIPS 203`; `RFC 9370 §2.2`; `draft-ietf-ipsecme-ikev2-mlkem` (encoding, sizes).

#![forbid(unsafe_code)]

use aws_lc_rs::kem::{
    Algorithm, AlgorithmId, Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_512, ML_KEM_768,
    ML_KEM_1024,
};

use super::{Group, KeyExchangeError};
use crate::secret::Secret;

/// Which parameters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kem {
    MlKem512,
    MlKem768,
    MlKem1024,
}

impl Kem {
    const fn group(self) -> Group {
        match self {
            Self::MlKem512 => Group::MlKem512,
            Self::MlKem768 => Group::MlKem768,
            Self::MlKem1024 => Group::MlKem1024,
        }
    }

    const fn algorithm(self) -> &'static Algorithm<AlgorithmId> {
        match self {
            Self::MlKem512 => &ML_KEM_512,
            Self::MlKem768 => &ML_KEM_768,
            Self::MlKem1024 => &ML_KEM_1024,
        }
    }

    /// The responder's half, from the initiator's: a ciphertext, and the secret in it.
    ///
    /// # Errors
    ///
    /// The octets are no encapsulation key (`FIPS 203 §7.2`).
    pub(super) fn encapsulate(self, peer: &[u8]) -> Result<(Box<[u8]>, Secret), KeyExchangeError> {
        let group = self.group();
        let refused = KeyExchangeError::BadKey { group };
        let key = EncapsulationKey::new(self.algorithm(), peer).map_err(|_rejected| refused)?;
        // The library looks at the coefficients when it computes with them.
        let (ciphertext, secret) = key.encapsulate().map_err(|_rejected| refused)?;
        Ok((ciphertext.as_ref().into(), Secret::from(secret.as_ref())))
    }
}

/// The initiator's half: the key that opens a ciphertext.
pub(super) struct KemExchange {
    kem: Kem,
    key: DecapsulationKey,
}

impl KemExchange {
    /// A key, and the public one that goes with it.
    pub(super) fn generate(kem: Kem) -> Result<(Self, Box<[u8]>), KeyExchangeError> {
        let library = |_unspecified| KeyExchangeError::Library;
        let key = DecapsulationKey::generate(kem.algorithm()).map_err(library)?;
        let public = key.encapsulation_key().and_then(|public| public.key_bytes()).map_err(library)?;
        let public = public.as_ref().into();
        Ok((Self { kem, key }, public))
    }

    /// The half with a given key, and the public one in it, for vectors.
    // FIPS 203 §7.1: dk = dk_PKE | ek | H(ek) | z, of which dk_PKE is as long as ek without its seed
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn from_key(kem: Kem, octets: &[u8]) -> Result<(Self, Box<[u8]>), KeyExchangeError> {
        let key =
            DecapsulationKey::new(kem.algorithm(), octets).map_err(|_rejected| KeyExchangeError::Library)?;
        let length = kem.group().public_length();
        let public = octets.get(length - 32..2 * length - 32).ok_or(KeyExchangeError::Library)?;
        Ok((Self { kem, key }, public.into()))
    }

    pub(super) const fn group(&self) -> Group {
        self.kem.group()
    }

    /// The secret. Of a ciphertext that was made up or changed there comes another one, which nobody
    /// knows (`FIPS 203 §6.3`): whoever sent it does not learn whether it was right.
    pub(super) fn decapsulate(&self, peer: &[u8]) -> Result<Secret, KeyExchangeError> {
        let secret = self.key.decapsulate(Ciphertext::from(peer));
        secret.map(|secret| Secret::from(secret.as_ref())).map_err(|_unspecified| KeyExchangeError::Library)
    }
}
