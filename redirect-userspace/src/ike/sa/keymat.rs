//! Keys: from the secret of a key exchange to those of the IKE SA, and from those to the keys of
//! its Child SAs.
//!
//! # Picture
//!
//! ```text
//! g^ir ─▶ SKEYSEED ─▶ SK_d │ SK_ai │ SK_ar │ SK_ei │ SK_er │ SK_pi │ SK_pr
//!                      │ └──▶ SKEYSEED of the IKE SA that takes this one's place
//!                      └────▶ KEYMAT of each Child SA
//! ```
//!
//! # References
//!
//! `RFC 7296 §2.14`, `§2.17`, `§2.18`.

use crate::crypto::cipher::{KeyError, Protection, TrafficKeys};
use crate::crypto::prf::{Exhausted, Prf, PrfKey};
use crate::crypto::{Provider, Suite};
use crate::ike::wire::{OriginalRole, SpiI, SpiR};
use crate::secret::Secret;

/// Both nonces of an exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nonces<'a> {
    /// Of whoever began the exchange.
    pub(crate) initiator: &'a [u8],
    /// Of the other side.
    pub(crate) responder: &'a [u8],
}

/// What SK_d, from which all further keys come, is used with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DerivationKey {
    prf: Prf,
    octets: Secret,
}

/// The keys of an IKE SA, seen from one side.
#[derive(Debug)]
pub(crate) struct IkeKeys {
    /// SK_d
    pub(crate) derivation: DerivationKey,
    /// What we seal with: SK_e and SK_a of our direction.
    pub(crate) ours: TrafficKeys,
    /// What the peer seals with.
    pub(crate) theirs: TrafficKeys,
    /// SK_pi
    pub(crate) proof_i: PrfKey,
    /// SK_pr
    pub(crate) proof_r: PrfKey,
}

/// The keys of a Child SA, by direction.
#[derive(Debug)]
pub(crate) struct ChildKeys {
    /// From whoever began the exchange to the other side.
    pub(crate) from_initiator: TrafficKeys,
    /// The other way.
    pub(crate) from_responder: TrafficKeys,
}

/// Why there are no keys. It takes a bug or a lack of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(not(any(test, feature = "testing")), expect(unreachable_pub, reason = "tests of vectors see it"))]
pub enum KeymatError {
    /// More than prf+ gives.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// Keys of a length that the cipher does not have.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Where the keys of an IKE SA come from besides the secret of its key exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) provider: Provider,
    pub(crate) suite: Suite,
    pub(crate) nonces: Nonces<'a>,
    pub(crate) spi_i: SpiI,
    pub(crate) spi_r: SpiR,
    /// Which side we are.
    pub(crate) role: OriginalRole,
}

impl IkeKeys {
    /// The keys of a first IKE SA: SKEYSEED = prf(Ni | Nr, g^ir).
    pub(crate) fn initial(origin: Origin<'_>, shared: &Secret) -> Result<Self, KeymatError> {
        let Nonces { initiator, responder } = origin.nonces;
        let key = Secret::new([initiator, responder].concat());
        let seed = origin.provider.prf(origin.suite.prf, key.expose()).compute(&[shared.expose()]);
        Self::expand(origin, seed.expose())
    }

    /// The keys of an IKE SA in the place of another: SKEYSEED = prf(SK_d (old), g^ir | Ni | Nr).
    // RFC 7296 §2.18: with the old SA's PRF, but everything after it with the new one's.
    pub(crate) fn rekeyed(
        origin: Origin<'_>,
        old: &DerivationKey,
        shared: &Secret,
    ) -> Result<Self, KeymatError> {
        let Nonces { initiator, responder } = origin.nonces;
        let key = origin.provider.prf(old.prf, old.octets.expose());
        let seed = key.compute(&[shared.expose(), initiator, responder]);
        Self::expand(origin, seed.expose())
    }

    fn expand(origin: Origin<'_>, seed: &[u8]) -> Result<Self, KeymatError> {
        let Origin { provider, suite, nonces, spi_i, spi_r, role } = origin;
        let key = provider.prf(suite.prf, seed);
        let (spi_i, spi_r) = (spi_i.to_octets(), spi_r.to_octets());
        let parts: [&[u8]; 4] = [nonces.initiator, nonces.responder, &spi_i, &spi_r];
        let mut stream = key.expand(&parts);
        let protection = suite.protection;
        let (prf, integ, encr) =
            (suite.prf.key_length(), protection.integ_key_length(), protection.encr_key_length());
        let d = stream.secret(prf)?;
        let (ai, ar) = (stream.secret(integ)?, stream.secret(integ)?);
        let (ei, er) = (stream.secret(encr)?, stream.secret(encr)?);
        let (pi, pr) = (stream.secret(prf)?, stream.secret(prf)?);
        let from_i = provider.traffic_keys(protection, ei.expose(), ai.expose())?;
        let from_r = provider.traffic_keys(protection, er.expose(), ar.expose())?;
        let (ours, theirs) = match role {
            OriginalRole::Initiator => (from_i, from_r),
            OriginalRole::Responder => (from_r, from_i),
        };
        Ok(Self {
            derivation: DerivationKey { prf: suite.prf, octets: d },
            ours,
            theirs,
            proof_i: provider.prf(suite.prf, pi.expose()),
            proof_r: provider.prf(suite.prf, pr.expose()),
        })
    }
}

impl DerivationKey {
    /// KEYMAT of a Child SA: prf+(SK_d, [g^ir |] Ni | Nr).
    pub(crate) fn child(
        &self,
        provider: Provider,
        protection: Protection,
        nonces: Nonces<'_>,
        shared: Option<&Secret>,
    ) -> Result<ChildKeys, KeymatError> {
        let key = provider.prf(self.prf, self.octets.expose());
        let shared = shared.map(Secret::expose).unwrap_or_default();
        let parts: [&[u8]; 3] = [shared, nonces.initiator, nonces.responder];
        let mut stream = key.expand(&parts);
        // RFC 7296 §2.17: the initiator's direction first, encryption before integrity.
        let mut direction = || -> Result<TrafficKeys, KeymatError> {
            let encr = stream.secret(protection.encr_key_length())?;
            let integ = stream.secret(protection.integ_key_length())?;
            Ok(provider.traffic_keys(protection, encr.expose(), integ.expose())?)
        };
        Ok(ChildKeys { from_initiator: direction()?, from_responder: direction()? })
    }
}

/// Everything that is derived, in the open: for comparing it with published answers.
#[cfg(any(test, feature = "testing"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// SK_d, SK_ai, SK_ar, SK_ei and SK_er, one after the other.
    pub ike: Vec<u8>,
    /// What SK_pi and SK_pr make of nothing.
    pub proofs: [Vec<u8>; 2],
    /// The keys of a Child SA, in the order of KEYMAT; the second time with a key exchange.
    pub children: [Vec<u8>; 2],
    /// SK_d of an IKE SA in the place of this one, with the same nonces and SPIs.
    pub rekeyed: Vec<u8>,
}

/// Derives everything from the secrets of two key exchanges.
///
/// # Errors
///
/// [`KeymatError`]
#[cfg(any(test, feature = "testing"))]
pub fn derive(
    suite: Suite,
    [initiator, responder]: [&[u8]; 2],
    (spi_i, spi_r): (SpiI, SpiR),
    [shared, new]: [&[u8]; 2],
) -> Result<Derived, KeymatError> {
    let nonces = Nonces { initiator, responder };
    let origin =
        Origin { provider: Provider::Real, suite, nonces, spi_i, spi_r, role: OriginalRole::Initiator };
    let new = Secret::from(new);
    let keys = IkeKeys::initial(origin, &Secret::from(shared))?;
    let ((ei, ai), (er, ar)) = (keys.ours.expose(), keys.theirs.expose());
    let d = keys.derivation.octets.expose();
    let child = |shared| -> Result<Vec<u8>, KeymatError> {
        let ChildKeys { from_initiator, from_responder } =
            keys.derivation.child(Provider::Real, suite.protection, nonces, shared)?;
        let ((ei, ai), (er, ar)) = (from_initiator.expose(), from_responder.expose());
        Ok([ei, ai, er, ar].concat())
    };
    let rekeyed = IkeKeys::rekeyed(origin, &keys.derivation, &new)?;
    // The other side has them the other way round.
    let mirrored =
        IkeKeys::initial(Origin { role: OriginalRole::Responder, ..origin }, &Secret::from(shared))?;
    debug_assert_eq!((&mirrored.ours, &mirrored.theirs), (&keys.theirs, &keys.ours));
    Ok(Derived {
        ike: [d, ai, ar, ei, er].concat(),
        proofs: [&keys.proof_i, &keys.proof_r].map(|key| key.compute(&[]).expose().to_vec()),
        children: [child(None)?, child(Some(&new))?],
        rekeyed: rekeyed.derivation.octets.expose().to_vec(),
    })
}
