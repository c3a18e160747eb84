//! MODP groups: powers modulo a safe prime.
//!
//! Private exponents are short, at least twice as long as the group is strong: that costs nothing
//! in security, since the primes are safe and 2 generates a subgroup of prime order, and makes an
//! exchange eight times as fast as one with full exponents.
//!
//! | group | strength (`RFC 3526 §8`, `RFC 7919 §A`) | least exponent (`RFC 7919 §A`) | ours |
//! |---|---|---|---|
//! | 14 | 103 to 110 bits | 225 bits | 256 bits |
//! | 15 | 125 to 130 bits | 275 bits | 320 bits |
//! | 16 | 150 bits | 325 bits | 384 bits |
//!
//! Both powers take a time that does not depend on the exponent. The one of 2 is read off a table
//! that is computed when a group is first used.

#![forbid(unsafe_code)]

use std::sync::OnceLock;

use crypto_bigint::modular::{ConstMontyForm, ConstMontyParams};
use crypto_bigint::{CtAssign as _, CtEq as _, U2048, U3072, U4096, Uint, const_monty_params};
use zeroize::Zeroizing;

use super::{Group, KeyExchangeError};
use crate::rng::Rng;
use crate::secret::Secret;

/// A private exponent, of one of the groups.
pub(super) enum ModpExchange {
    Modp2048(Exponent<4>),
    Modp3072(Exponent<5>),
    Modp4096(Exponent<6>),
}

impl ModpExchange {
    /// A private exponent, and the public value that goes with it.
    pub(super) fn generate(prime: Prime, rng: &mut Rng) -> (Self, Box<[u8]>) {
        match prime {
            Prime::Modp2048 => {
                let exponent = Exponent::generate(rng);
                let public = exponent.power_of_two::<Modulus2048, _>(comb_2048());
                (Self::Modp2048(exponent), public)
            }
            Prime::Modp3072 => {
                let exponent = Exponent::generate(rng);
                let public = exponent.power_of_two::<Modulus3072, _>(comb_3072());
                (Self::Modp3072(exponent), public)
            }
            Prime::Modp4096 => {
                let exponent = Exponent::generate(rng);
                let public = exponent.power_of_two::<Modulus4096, _>(comb_4096());
                (Self::Modp4096(exponent), public)
            }
        }
    }

    pub(super) const fn group(&self) -> Group {
        match self {
            Self::Modp2048(_) => Group::Modp2048,
            Self::Modp3072(_) => Group::Modp3072,
            Self::Modp4096(_) => Group::Modp4096,
        }
    }

    /// The shared secret. `peer` is as long as the prime.
    pub(super) fn agree(&self, peer: &[u8]) -> Result<Secret, KeyExchangeError> {
        let secret = match self {
            Self::Modp2048(exponent) => exponent.power_of::<Modulus2048, _>(peer),
            Self::Modp3072(exponent) => exponent.power_of::<Modulus3072, _>(peer),
            Self::Modp4096(exponent) => exponent.power_of::<Modulus4096, _>(peer),
        };
        secret.ok_or_else(|| KeyExchangeError::Degenerate { group: self.group() })
    }
}

/// Which prime.
#[derive(Clone, Copy)]
pub(super) enum Prime {
    Modp2048,
    Modp3072,
    Modp4096,
}

/// A private exponent of `WORDS` times 64 bits.
pub(super) struct Exponent<const WORDS: usize>(Zeroizing<Uint<WORDS>>);

impl<const WORDS: usize> Exponent<WORDS> {
    fn generate(rng: &mut Rng) -> Self {
        let mut words = Zeroizing::new([0; WORDS]);
        for word in words.iter_mut() {
            *word = rng.u64();
        }
        Self(Zeroizing::new(Uint::from_words(*words)))
    }

    /// 2 to this power, as octets.
    fn power_of_two<M: ConstMontyParams<LIMBS>, const LIMBS: usize>(
        &self,
        comb: &Comb<M, LIMBS>,
    ) -> Box<[u8]> {
        octets(&comb.power(self.0.as_words()).retrieve()).into()
    }

    /// `base` to this power; `None` when `base` is not between 2 and p-2.
    // RFC 6989 §2.1: the test for groups whose prime is safe.
    fn power_of<M: ConstMontyParams<LIMBS>, const LIMBS: usize>(&self, base: &[u8]) -> Option<Secret> {
        if base.len() != Uint::<LIMBS>::BYTES {
            return None;
        }
        let base = Uint::<LIMBS>::from_be_slice(base);
        let last = M::PARAMS.modulus().as_ref().wrapping_sub(&Uint::ONE);
        if base <= Uint::ONE || base >= last {
            return None;
        }
        let power = ConstMontyForm::<M, LIMBS>::new(&base).pow(&*self.0);
        Some(Secret::new(octets(&Zeroizing::new(power.retrieve()))))
    }
}

/// A number as octets in network order, zeros at the front kept.
// RFC 7296 §2.14: padded with zeros to the length of the modulus.
fn octets<const LIMBS: usize>(number: &Uint<LIMBS>) -> Vec<u8> {
    number.as_words().iter().rev().flat_map(|word| word.to_be_bytes()).collect()
}

/// Powers of 2 from which any other is put together with few multiplications (Lim and Lee's
/// comb): the exponent is cut into [`TEETH`] parts, of which one bit each is handled at a time,
/// and the parts into [`BLOCKS`], which share the squarings.
struct Comb<M: ConstMontyParams<LIMBS>, const LIMBS: usize> {
    /// For each block, the products for each choice of teeth.
    blocks: Vec<[ConstMontyForm<M, LIMBS>; 1 << TEETH]>,
    /// Bits of a block.
    width: usize,
}

impl<M: ConstMontyParams<LIMBS>, const LIMBS: usize> Comb<M, LIMBS> {
    /// A table for exponents of `bits` bits.
    fn new(bits: usize) -> Self {
        let width = bits / TEETH / BLOCKS;
        let two = ConstMontyForm::<M, LIMBS>::ONE.double();
        let mut blocks = vec![[ConstMontyForm::ONE; 1 << TEETH]; BLOCKS];
        let mut power = two;
        for tooth in 0..TEETH {
            for block in &mut blocks {
                // Every choice with this tooth is one without it, times this power.
                let half = 1 << tooth;
                let (without, with) = block.split_at_mut(half);
                for (with, without) in with.iter_mut().zip(without) {
                    *with = without.mul(&power);
                }
                for _ in 0..width {
                    power = power.square();
                }
            }
        }
        Self { blocks, width }
    }

    /// 2 to the power of `exponent`, words of which the first is the least.
    fn power(&self, exponent: &[u64]) -> ConstMontyForm<M, LIMBS> {
        let mut power = ConstMontyForm::ONE;
        for column in (0..self.width).rev() {
            power = power.square();
            for (number, block) in self.blocks.iter().enumerate() {
                let choice = (0..TEETH).fold(0, |choice, tooth| {
                    let bit = (tooth * BLOCKS + number) * self.width + column;
                    let word = exponent.get(bit / 64).copied().unwrap_or(0);
                    choice | ((word >> (bit % 64)) & 1) << tooth
                });
                // All are read, so that the cache does not tell which one was wanted.
                let mut factor = ConstMontyForm::ONE;
                for (index, entry) in (0_u64..).zip(block) {
                    factor.ct_assign(entry, index.ct_eq(&choice));
                }
                power = power.mul(&factor);
            }
        }
        power
    }
}

/// Bits of the exponent that are handled at a time, per block.
const TEETH: usize = 4;
/// Blocks. A table has 64 entries: 16 kB for group 14.
const BLOCKS: usize = 4;

/// The tables depend on nothing but the group, so that all workers can share them.
fn comb_2048() -> &'static Comb<Modulus2048, { U2048::LIMBS }> {
    static COMB: OnceLock<Comb<Modulus2048, { U2048::LIMBS }>> = OnceLock::new();
    COMB.get_or_init(|| Comb::new(4 * 64))
}

fn comb_3072() -> &'static Comb<Modulus3072, { U3072::LIMBS }> {
    static COMB: OnceLock<Comb<Modulus3072, { U3072::LIMBS }>> = OnceLock::new();
    COMB.get_or_init(|| Comb::new(5 * 64))
}

fn comb_4096() -> &'static Comb<Modulus4096, { U4096::LIMBS }> {
    static COMB: OnceLock<Comb<Modulus4096, { U4096::LIMBS }>> = OnceLock::new();
    COMB.get_or_init(|| Comb::new(6 * 64))
}

const_monty_params!(
    Modulus2048,
    U2048,
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
     EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
     EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F\
     83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
     E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510\
     15728E5A8AACAA68FFFFFFFFFFFFFFFF",
    "The prime of `RFC 3526 §3`."
);

const_monty_params!(
    Modulus3072,
    U3072,
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
     EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
     EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F\
     83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
     E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510\
     15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7\
     ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C\
     BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF",
    "The prime of `RFC 3526 §4`."
);

const_monty_params!(
    Modulus4096,
    U4096,
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
     EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
     EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F\
     83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
     E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510\
     15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7\
     ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C\
     BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A92108011A723C12A787E6D7\
     88719A10BDBA5B2699C327186AF4E23C1A946834B6150BDA2583E9CA2AD44CE8DBBBC2DB04DE8EF92E8EFC141FBECAA6\
     287C59474E6BC05D99B2964FA090C3A2233BA186515BE7ED1F612970CEE2D7AFB81BDD762170481CD0069127D5B05AA9\
     93B4EA988D8FDDC186FFB7DC90A6C08F4DF435C934063199FFFFFFFFFFFFFFFF",
    "The prime of `RFC 3526 §5`."
);

#[cfg(test)]
mod tests;
