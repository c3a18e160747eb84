//! Keys: from the secret of a key exchange to those of the IKE SA, and from those to the keys of
//! its Child SAs.
//!
//! # Picture
//!
//! ```text
//! g^ir ─▶ SKEYSEED ─▶ SK_d │ SK_ai │ SK_ar │ SK_ei │ SK_er │ SK_pi │ SK_pr
//!                      │ ├──▶ SKEYSEED of the IKE SA that takes this one's place, or resumes it
//!                      │ ├──▶ SKEYSEED of the same IKE SA, after one more key exchange
//!                      └────▶ KEYMAT of each Child SA
//! ```
//!
//! # References
//!
//! `RFC 7296 §2.14`, `§2.17`, `§2.18`, `RFC 5723 §5.1`, `RFC 9370 §2.2` (several key exchanges),
//! `RFC 8784 §3` (a preshared key beside them).

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
    /// The octets of both.
    pub(crate) proofs: Proofs,
}

/// The octets of SK_pi and SK_pr.
#[derive(Clone, Debug)]
pub(crate) struct Proofs {
    i: Secret,
    r: Secret,
}

/// What AUTH is made with and everything after it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Roots {
    /// SK_d
    pub(crate) derivation: DerivationKey,
    /// SK_pi
    pub(crate) proof_i: PrfKey,
    /// SK_pr
    pub(crate) proof_r: PrfKey,
}

impl Roots {
    /// Those with a key mixed in that both sides have had before (`RFC 8784 §3`).
    pub(crate) fn mixed(
        provider: Provider,
        old: &DerivationKey,
        proofs: &Proofs,
        ppk: &Secret,
    ) -> Result<Self, KeymatError> {
        let prf = old.prf;
        let key = provider.prf(prf, ppk.expose());
        let mix = |old: &Secret| key.expand(&[old.expose()]).secret(prf.key_length());
        let proof = |old: &Secret| mix(old).map(|octets| provider.prf(prf, octets.expose()));
        Ok(Self {
            derivation: DerivationKey { prf, octets: mix(&old.octets)? },
            proof_i: proof(&proofs.i)?,
            proof_r: proof(&proofs.r)?,
        })
    }
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

    /// The keys of an IKE SA in the place of another: SKEYSEED = prf(SK_d (old), g^ir | Ni | Nr), with
    /// the secrets of further key exchanges behind it. So it is, too, with the secret of one more key
    /// exchange for the same IKE SA (`RFC 9370 §2.2.2`).
    // RFC 7296 §2.18: with the old SA's PRF, but everything after it with the new one's.
    pub(crate) fn rekeyed(
        origin: Origin<'_>,
        old: &DerivationKey,
        shared: &[Secret],
    ) -> Result<Self, KeymatError> {
        let key = origin.provider.prf(old.prf, old.octets.expose());
        let seed = key.compute(&in_order(shared, origin.nonces));
        Self::expand(origin, seed.expose())
    }

    /// The keys of an IKE SA that goes on with an earlier session: SKEYSEED = prf(SK_d (old),
    /// "Resumption" | Ni | Nr).
    pub(crate) fn resumed(origin: Origin<'_>, old: &DerivationKey) -> Result<Self, KeymatError> {
        let Nonces { initiator, responder } = origin.nonces;
        let key = origin.provider.prf(old.prf, old.octets.expose());
        // RFC 5723 §5.1: the text without a zero at its end.
        let seed = key.compute(&[RESUMPTION, initiator, responder]);
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
            proofs: Proofs { i: pi, r: pr },
        })
    }
}

/// The secrets of key exchanges around the nonces: the first one before them, the others behind
/// (`RFC 9370 §2.2.4`).
fn in_order<'a>(shared: &'a [Secret], nonces: Nonces<'a>) -> Vec<&'a [u8]> {
    let mut parts = Vec::with_capacity(shared.len() + 2);
    let mut shared = shared.iter().map(Secret::expose);
    parts.extend(shared.next());
    parts.extend([nonces.initiator, nonces.responder]);
    parts.extend(shared);
    parts
}

impl DerivationKey {
    /// The one that a ticket has.
    pub(crate) const fn new(prf: Prf, octets: Secret) -> Self {
        Self { prf, octets }
    }

    /// SK_d, for a ticket.
    pub(crate) const fn octets(&self) -> &Secret {
        &self.octets
    }

    /// KEYMAT of a Child SA: prf+(SK_d, [g^ir |] Ni | Nr), with the secrets of further key exchanges
    /// behind it.
    pub(crate) fn child(
        &self,
        provider: Provider,
        protection: Protection,
        nonces: Nonces<'_>,
        shared: &[Secret],
    ) -> Result<ChildKeys, KeymatError> {
        let key = provider.prf(self.prf, self.octets.expose());
        let parts = in_order(shared, nonces);
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

/// What SKEYSEED of a resumed session is told apart by.
const RESUMPTION: &[u8] = b"Resumption";

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
    let new = [Secret::from(new)];
    let keys = IkeKeys::initial(origin, &Secret::from(shared))?;
    let ((ei, ai), (er, ar)) = (keys.ours.expose(), keys.theirs.expose());
    let d = keys.derivation.octets.expose();
    let child = |shared: &[Secret]| -> Result<Vec<u8>, KeymatError> {
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
        children: [child(&[])?, child(&new)?],
        rekeyed: rekeyed.derivation.octets.expose().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::crypto::cipher::Encr;
    use crate::crypto::hex;
    use crate::crypto::kex::Group;

    // test of RFC 5723 §5.1: RES-11
    #[test]
    fn the_keys_of_a_resumed_session_come_from_its_old_key_and_new_nonces_and_spis() {
        let octets = |first: u8| (first..first + 32).collect::<Vec<u8>>();
        let spi = |octet: u8| NonZeroU64::new(u64::from_be_bytes([octet; 8])).unwrap();
        let (ni, nr) = (octets(0x20), octets(0x40));
        let suite = Suite {
            protection: Protection::new(Encr::AesGcm256, None).unwrap(),
            prf: Prf::HmacSha256,
            group: Group::Curve25519,
        };
        let origin = Origin {
            provider: Provider::Real,
            suite,
            nonces: Nonces { initiator: &ni, responder: &nr },
            spi_i: SpiI(spi(0x11)),
            spi_r: SpiR(spi(0x22)),
            role: OriginalRole::Initiator,
        };
        let old = DerivationKey::new(Prf::HmacSha256, Secret::new(octets(0)));

        let keys = IkeKeys::resumed(origin, &old).unwrap();

        let d = hex("02a11d87272c49025242e0e7db132a38ca0c6f079dee1b84fcc9322cf6011198");
        let ei = hex("adc7401fb4eb3e955b7b2cefe0d4795e7cec94c34914efdf5b5a4160dacbc6f6aa9a1ebe");
        let er = hex("c7307432d73da8365baa098f69013d4006d44b7dc86943c4bde7b5a5d69471cc910efc39");
        let pi = hex("d2b9a93d19f2a6c6803b74541c269fb6f0f4115628913e2d115b3e129e4600e8");
        let pr = hex("d3adf2c403746328d03593315ea99450400d9da2b6e151914300a5f74aeb7f39");
        assert_eq!(keys.derivation.octets().expose(), d);
        assert_eq!((keys.ours.expose().0, keys.theirs.expose().0), (&ei[..], &er[..]));
        let code = |key: &[u8]| PrfKey::new(Prf::HmacSha256, key).compute(&[b"x"]).expose().to_vec();
        assert_eq!(keys.proof_i.compute(&[b"x"]).expose(), code(&pi));
        assert_eq!(keys.proof_r.compute(&[b"x"]).expose(), code(&pr));
    }
}
