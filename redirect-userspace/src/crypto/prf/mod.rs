//! Pseudorandom functions, and keys derived with them.
//!
//! # References
//!
//! `RFC 7296 §2.13` (prf and prf+), `RFC 4868 §2.1.2` (HMAC-SHA-2 as a PRF), `RFC 8247 §2.2`.

#![forbid(unsafe_code)]

use std::fmt::{Debug, Formatter};

use super::Legacy;
use super::hmac::{Code, Keyed};
#[cfg(any(test, feature = "testing"))]
use super::null;
use crate::secret::Secret;

/// A pseudorandom function: a transform of type 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prf {
    /// PRF_HMAC_SHA1. Tolerated (MUST- in `RFC 8247 §2.2`).
    HmacSha1(Legacy),
    /// PRF_HMAC_SHA2_256
    HmacSha256,
    /// PRF_HMAC_SHA2_384
    HmacSha384,
    /// PRF_HMAC_SHA2_512
    HmacSha512,
}

impl Prf {
    /// The function with this transform ID; `None` when there is none, or none without permission.
    #[must_use]
    pub const fn from_transform(id: u16, legacy: Option<Legacy>) -> Option<Self> {
        match (id, legacy) {
            (2, Some(legacy)) => Some(Self::HmacSha1(legacy)),
            (5, _) => Some(Self::HmacSha256),
            (6, _) => Some(Self::HmacSha384),
            (7, _) => Some(Self::HmacSha512),
            _ => None,
        }
    }

    /// Its transform ID.
    #[must_use]
    pub const fn transform(self) -> u16 {
        match self {
            Self::HmacSha1(_) => 2,
            Self::HmacSha256 => 5,
            Self::HmacSha384 => 6,
            Self::HmacSha512 => 7,
        }
    }

    /// Octets of what it gives.
    #[must_use]
    pub const fn output_length(self) -> usize {
        match self {
            Self::HmacSha1(_) => 20,
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    /// Octets of the keys derived for it. It takes keys of any length.
    // RFC 7296 §2.13: the preferred key size of an HMAC is the length of its output.
    #[must_use]
    pub const fn key_length(self) -> usize {
        self.output_length()
    }
}

/// A key of a PRF, ready to be used many times.
#[derive(Clone)]
pub struct PrfKey {
    prf: Prf,
    form: Form,
}

#[derive(Clone)]
#[cfg_attr(
    any(test, feature = "testing"),
    expect(clippy::large_enum_variant, reason = "one of them is for tests")
)]
enum Form {
    Hmac(Keyed),
    #[cfg(any(test, feature = "testing"))]
    Null(null::Mixer),
}

impl PrfKey {
    /// Prepares `key`.
    #[must_use]
    pub fn new(prf: Prf, key: &[u8]) -> Self {
        let keyed = match prf {
            Prf::HmacSha1(_) => Keyed::sha1(key),
            Prf::HmacSha256 => Keyed::sha256(key),
            Prf::HmacSha384 => Keyed::sha384(key),
            Prf::HmacSha512 => Keyed::sha512(key),
        };
        Self { prf, form: Form::Hmac(keyed) }
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn null(prf: Prf, key: &[u8]) -> Self {
        Self { prf, form: Form::Null(null::Mixer::new(key)) }
    }

    /// Whose key it is.
    #[must_use]
    pub const fn prf(&self) -> Prf {
        self.prf
    }

    /// prf(key, `parts`), the parts taken one after the other.
    #[must_use]
    pub fn compute(&self, parts: &[&[u8]]) -> PrfOutput {
        match &self.form {
            Form::Hmac(keyed) => PrfOutput(keyed.code(parts)),
            #[cfg(any(test, feature = "testing"))]
            Form::Null(mixer) => PrfOutput(mixer.code(self.prf.output_length(), parts)),
        }
    }

    /// prf+(key, `seed`), to be read piece by piece. The parts of the seed are taken one after the
    /// other.
    #[must_use]
    pub const fn expand<'a>(&'a self, seed: &'a [&'a [u8]]) -> PrfPlus<'a> {
        PrfPlus { key: self, seed, block: None, used: 0, count: 0 }
    }
}

impl Debug for PrfKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrfKey({:?}, …)", self.prf)
    }
}

/// prf(`key`, `parts`), for a key that is used once.
#[must_use]
pub fn prf(prf: Prf, key: &[u8], parts: &[&[u8]]) -> PrfOutput {
    PrfKey::new(prf, key).compute(parts)
}

/// What a PRF gives. Zeroed on drop; compared in constant time.
#[derive(Clone)]
pub struct PrfOutput(Code);

impl PrfOutput {
    /// The octets, for whoever computes with them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Whether it is the same as `octets`; the time tells nothing but the lengths.
    #[must_use]
    pub fn is_same(&self, octets: &[u8]) -> bool {
        crate::secret::is_same(self.expose(), octets)
    }
}

impl From<PrfOutput> for Secret {
    fn from(output: PrfOutput) -> Self {
        Self::from(output.expose())
    }
}

impl Debug for PrfOutput {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrfOutput(…)")
    }
}

/// The stream of prf+, at most [`PrfPlus::MAX_BLOCKS`] outputs of the PRF long.
// RFC 7296 §2.13: prf+ (K,S) = T1 | T2 | …, T1 = prf (K, S | 0x01), Tn = prf (K, Tn-1 | S | n).
pub struct PrfPlus<'a> {
    key: &'a PrfKey,
    seed: &'a [&'a [u8]],
    block: Option<PrfOutput>,
    /// Octets of `block` that have been handed out.
    used: usize,
    /// Blocks there have been.
    count: u8,
}

impl PrfPlus<'_> {
    /// Outputs that the counter of one octet can number.
    pub const MAX_BLOCKS: usize = 255;

    /// Fills `out` with what comes next.
    ///
    /// # Errors
    ///
    /// [`Exhausted`], with part of `out` filled.
    pub fn fill(&mut self, mut out: &mut [u8]) -> Result<(), Exhausted> {
        while !out.is_empty() {
            let fresh = self.block.as_ref().map(PrfOutput::expose).unwrap_or_default();
            let fresh = fresh.get(self.used..).unwrap_or_default();
            if fresh.is_empty() {
                self.next_block()?;
                continue;
            }
            let count = fresh.len().min(out.len());
            let (now, later) = out.split_at_mut(count);
            for (place, octet) in now.iter_mut().zip(fresh) {
                *place = *octet;
            }
            self.used += count;
            out = later;
        }
        Ok(())
    }

    /// The next `length` octets.
    ///
    /// # Errors
    ///
    /// [`Exhausted`]
    pub fn secret(&mut self, length: usize) -> Result<Secret, Exhausted> {
        let most = Self::MAX_BLOCKS * self.key.prf.output_length();
        if length > most {
            return Err(Exhausted);
        }
        let mut octets = vec![0; length];
        self.fill(&mut octets)?;
        Ok(Secret::new(octets))
    }

    fn next_block(&mut self) -> Result<(), Exhausted> {
        self.count = self.count.checked_add(1).ok_or(Exhausted)?;
        let number = [self.count];
        let before = self.block.as_ref().map(PrfOutput::expose).unwrap_or_default();
        // Seeds have at most six parts (RFC 7296 §2.17: g^ir, nonces, SPIs).
        let block = match self.seed {
            [a] => self.key.compute(&[before, a, &number]),
            [a, b] => self.key.compute(&[before, a, b, &number]),
            [a, b, c] => self.key.compute(&[before, a, b, c, &number]),
            [a, b, c, d] => self.key.compute(&[before, a, b, c, d, &number]),
            parts => {
                let mut all = Vec::with_capacity(parts.len() + 2);
                all.push(before);
                all.extend_from_slice(parts);
                all.push(&number);
                self.key.compute(&all)
            }
        };
        self.block = Some(block);
        self.used = 0;
        Ok(())
    }
}

impl Debug for PrfPlus<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrfPlus(…)")
    }
}

/// Fills `out` with prf+(`key`, `seed`), for a key that is used once.
///
/// # Errors
///
/// [`Exhausted`], with part of `out` filled.
pub fn prf_plus(prf: Prf, key: &[u8], seed: &[&[u8]], out: &mut [u8]) -> Result<(), Exhausted> {
    PrfKey::new(prf, key).expand(seed).fill(out)
}

/// More octets were asked for than prf+ has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("prf+ ends after 255 outputs")]
pub struct Exhausted;

#[cfg(test)]
mod tests;
