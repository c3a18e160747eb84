//! RSASSA-PKCS1-v1_5 with SHA-1, which the library verifies but does not make. Peers that do not
//! know `RFC 7427` expect it of an RSA key (`RFC 7296 §3.8`), among them the one in Windows.

#![forbid(unsafe_code)]

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, ConcatenatingMul as _, NonZero, Odd};
use zeroize::Zeroizing;

use crate::crypto::der::Der;
use crate::crypto::digest;

/// Signs with an RSAPrivateKey; `None` when its numbers make no sense. The caller verifies what
/// comes out before anybody sees it.
pub(super) fn sign(key: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let key = Key::read(key)?;
    let message = BoxedUint::from_be_slice_vartime(&encode(message, key.length)?);

    // RFC 8017 §5.2.1, 2.b, the second form: half the length, an eighth of the work, twice.
    let one = key.p.power(&message, &key.exponent_p);
    let two = key.q.power(&message, &key.exponent_q);
    let difference = key.p.form(&one).sub(&key.p.form(&two));
    let h = Zeroizing::new(difference.mul(&key.p.form(&key.coefficient)).retrieve());
    let signature = h.concatenating_mul(&**key.q.modulus).concatenating_add(&*two);

    // Padded to the length of the modulus; what is cut off is zero.
    let octets = signature.to_be_bytes();
    let mut padded = vec![0; key.length];
    for (place, octet) in padded.iter_mut().rev().zip(octets.iter().rev()) {
        *place = *octet;
    }
    Some(padded)
}

/// What of a key is needed.
struct Key {
    /// Octets of the modulus.
    length: usize,
    p: Prime,
    q: Prime,
    exponent_p: Zeroizing<BoxedUint>,
    exponent_q: Zeroizing<BoxedUint>,
    coefficient: Zeroizing<BoxedUint>,
}

impl Key {
    // RFC 8017 §A.1.2
    fn read(der: &[u8]) -> Option<Self> {
        let mut key = Der::new(der).sequence("RSAPrivateKey").ok()?;
        let mut number = |what| key.unsigned(what).ok();
        let [_version, modulus, _public, _private] =
            [number("version")?, number("modulus")?, number("exponent")?, number("exponent")?];
        let [p, q] = [number("prime")?, number("prime")?];
        let (p, q) = (Prime::new(p)?, Prime::new(q)?);
        let secret = |octets: &[u8]| Zeroizing::new(BoxedUint::from_be_slice_vartime(octets));
        Some(Self {
            length: modulus.len(),
            p,
            q,
            exponent_p: secret(number("exponent")?),
            exponent_q: secret(number("exponent")?),
            coefficient: secret(number("coefficient")?),
        })
    }
}

/// A prime, and what computing modulo it takes.
struct Prime {
    modulus: Zeroizing<NonZero<BoxedUint>>,
    /// Shared by all numbers modulo the prime, and therefore not zeroed by the library.
    params: BoxedMontyParams,
}

impl Prime {
    fn new(octets: &[u8]) -> Option<Self> {
        let odd = Zeroizing::new(Odd::new(BoxedUint::from_be_slice_vartime(octets)).into_option()?);
        let modulus = Zeroizing::new(NonZero::new(BoxedUint::clone(&odd)).into_option()?);
        Some(Self { modulus, params: BoxedMontyParams::new(Odd::clone(&odd)) })
    }

    fn form(&self, number: &BoxedUint) -> Zeroizing<BoxedMontyForm> {
        Zeroizing::new(BoxedMontyForm::new(number.rem(&*self.modulus), &self.params))
    }

    fn power(&self, base: &BoxedUint, exponent: &BoxedUint) -> Zeroizing<BoxedUint> {
        Zeroizing::new(self.form(base).pow(exponent).retrieve())
    }
}

/// EMSA-PKCS1-v1_5 of the message, as long as the modulus.
// RFC 8017 §9.2: 0x00 || 0x01 || PS || 0x00 || T, PS at least eight octets.
fn encode(message: &[u8], length: usize) -> Option<Vec<u8>> {
    let hash = digest::sha1(&[message]);
    let padding = length.checked_sub(3 + DIGEST_INFO.len() + hash.len()).filter(|count| *count >= 8)?;
    Some([&[0, 1], vec![0xff; padding].as_slice(), &[0], &DIGEST_INFO, &hash].concat())
}

/// What a DigestInfo of SHA-1 begins with.
// RFC 8017 §9.2, note 1
const DIGEST_INFO: [u8; 15] =
    [0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14];
