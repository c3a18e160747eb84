//! The algorithms' numbers and lengths, and what they say about themselves.

use super::cipher::{Encr, ProtectionError};
use super::integ::Integ;
use super::*;

const LEGACY: Legacy = Legacy::permit();

#[test]
fn every_algorithm_is_found_by_its_number() {
    for prf in [Prf::HmacSha1(LEGACY), Prf::HmacSha256, Prf::HmacSha384, Prf::HmacSha512] {
        assert_eq!(Prf::from_transform(prf.transform(), Some(LEGACY)), Some(prf));
    }
    for integ in
        [Integ::HmacSha1_96(LEGACY), Integ::HmacSha256_128, Integ::HmacSha384_192, Integ::HmacSha512_256]
    {
        assert_eq!(Integ::from_transform(integ.transform(), Some(LEGACY)), Some(integ));
    }
    for encr in [Encr::AesCbc128, Encr::AesCbc256, Encr::AesGcm128, Encr::AesGcm256, Encr::ChaCha20Poly1305] {
        assert_eq!(Encr::from_transform(encr.transform(), encr.key_bits()), Some(encr));
    }
    for group in Group::ALL {
        assert_eq!(Group::from_transform(group.transform()), Some(group));
    }
}

// test of RFC 8247 §2
#[test]
fn weak_algorithms_are_not_there() {
    // 3DES, NULL, AES-CTR; DES is 2.
    for id in [1, 2, 3, 11, 13] {
        assert_eq!(Encr::from_transform(id, None), None);
        assert_eq!(Encr::from_transform(id, Some(128)), None);
    }
    // HMAC-MD5, and the PRFs of Tiger and XCBC.
    for id in [1, 3, 4] {
        assert_eq!(Prf::from_transform(id, Some(LEGACY)), None);
    }
    // NONE, MD5-96, DES-MAC, KPDK-MD5.
    for id in [0, 1, 3, 4] {
        assert_eq!(Integ::from_transform(id, Some(LEGACY)), None);
    }
    for id in [1, 2, 5, 22, 23, 24] {
        assert_eq!(Group::from_transform(id), None);
    }
}

#[test]
fn sha1_is_only_for_those_who_are_permitted_to() {
    assert_eq!(Prf::from_transform(2, None), None);
    assert_eq!(Integ::from_transform(2, None), None);
    assert_eq!(Prf::from_transform(5, None), Some(Prf::HmacSha256));
    assert_eq!(Integ::from_transform(12, None), Some(Integ::HmacSha256_128));
}

// test of RFC 7296 §3.3.5
#[test]
fn the_key_length_attribute_is_there_exactly_when_the_cipher_has_one() {
    assert_eq!(Encr::from_transform(20, None), None);
    assert_eq!(Encr::from_transform(20, Some(192)), None);
    assert_eq!(Encr::from_transform(12, Some(0)), None);
    assert_eq!(Encr::from_transform(28, Some(256)), None);
}

// test of RFC 5282 §8
#[test]
fn an_aead_goes_alone_and_cbc_does_not() {
    let integ = Some(Integ::HmacSha256_128);

    assert_eq!(Protection::new(Encr::AesGcm128, integ), Err(ProtectionError::Surplus(Encr::AesGcm128)));
    assert_eq!(Protection::new(Encr::AesCbc256, None), Err(ProtectionError::Missing(Encr::AesCbc256)));
    assert!(Protection::new(Encr::AesCbc256, integ).is_ok());
    assert!(Protection::new(Encr::ChaCha20Poly1305, None).is_ok());
}

#[test]
fn a_suite_knows_how_much_key_material_it_needs() {
    let suite = |encr, integ, prf| Suite {
        protection: Protection::new(encr, integ).unwrap(),
        prf,
        group: Group::Curve25519,
    };

    assert_eq!(suite(Encr::AesGcm256, None, Prf::HmacSha256).keymat_length(), 3 * 32 + 2 * 36);
    assert_eq!(
        suite(Encr::AesCbc128, Some(Integ::HmacSha512_256), Prf::HmacSha384).keymat_length(),
        3 * 48 + 2 * 64 + 2 * 16
    );
}
