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
    let one = Key::power(&message, &key.p, &key.exponent_p)?;
    let two = Key::power(&message, &key.q, &key.exponent_q)?;
    let p = BoxedMontyParams::new(key.p.clone());
    let form = |number: &BoxedUint| {
        let modulus = NonZero::new((*key.p).clone()).into_option()?;
        Some(BoxedMontyForm::new(number.rem(&modulus), &p))
    };
    let difference = form(&one)?.sub(&form(&two)?);
    let h = Zeroizing::new(difference.mul(&form(&key.coefficient)?).retrieve());
    let signature = h.concatenating_mul(&*key.q).concatenating_add(&*two);

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
    p: Odd<BoxedUint>,
    q: Odd<BoxedUint>,
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
        let secret = |octets: &[u8]| Zeroizing::new(BoxedUint::from_be_slice_vartime(octets));
        Some(Self {
            length: modulus.len(),
            p: Odd::new(BoxedUint::from_be_slice_vartime(p)).into_option()?,
            q: Odd::new(BoxedUint::from_be_slice_vartime(q)).into_option()?,
            exponent_p: secret(number("exponent")?),
            exponent_q: secret(number("exponent")?),
            coefficient: secret(number("coefficient")?),
        })
    }

    /// `base` to the power of `exponent` modulo `prime`.
    fn power(base: &BoxedUint, prime: &Odd<BoxedUint>, exponent: &BoxedUint) -> Option<Zeroizing<BoxedUint>> {
        let modulus = NonZero::new((**prime).clone()).into_option()?;
        let params = BoxedMontyParams::new(prime.clone());
        Some(Zeroizing::new(BoxedMontyForm::new(base.rem(&modulus), &params).pow(exponent).retrieve()))
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
