//! Wycheproof: what goes wrong elsewhere must not go wrong here.
//!
//! What the files call acceptable may be taken or refused, unless a test says more.

use redirect_userspace::crypto::Legacy;
use redirect_userspace::crypto::cipher::{Around, CipherError, Encr, Protection, TrafficKeys};
use redirect_userspace::crypto::integ::{Integ, IntegKey};
use redirect_userspace::crypto::kex::{Group, KeyExchange, KeyExchangeError};
use redirect_userspace::crypto::prf::{Prf, prf};
use redirect_userspace::crypto::sign::{Curve, PublicKey, Scheme, Sha2, SignatureError};
use serde_json::Value;

use crate::data::{octets, root, say};

/// Runs every case of a file: its group, the case, and what it expects. Says how many `check` took.
fn cases(name: &str, least: usize, check: impl Fn(&Value, &Value, Expected) -> bool) {
    let Some(root) = root() else { return };
    let path = root.join("crypto/wycheproof").join(name);
    let file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let mut checked = 0;
    for group in file["testGroups"].as_array().unwrap() {
        for case in group["tests"].as_array().unwrap() {
            let expected = match case["result"].as_str().unwrap() {
                "valid" => Expected::Valid,
                "invalid" => Expected::Invalid,
                "acceptable" => Expected::Either,
                other => panic!("{other}: what is that?"),
            };
            checked += usize::from(check(group, case, expected));
        }
    }
    assert!(checked >= least, "{name}: only {checked} cases");
    say(&format!("{name}: {checked} cases"));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Valid,
    Invalid,
    Either,
}

impl Expected {
    /// Whether an outcome is as expected.
    fn allows(self, succeeded: bool) -> bool {
        match self {
            Self::Valid => succeeded,
            Self::Invalid => !succeeded,
            Self::Either => true,
        }
    }
}

fn field(value: &Value, name: &str) -> Vec<u8> {
    octets(value[name].as_str().unwrap())
}

#[test]
fn aes_gcm_opens_what_is_valid_and_nothing_else() {
    cases("aes_gcm_test.json", 130, |group, case, expected| {
        let encr = match group["keySize"].as_u64() {
            Some(128) => Encr::AesGcm128,
            Some(256) => Encr::AesGcm256,
            _ => return false,
        };
        aead(encr, group, case, expected)
    });
}

#[test]
fn chacha20_poly1305_opens_what_is_valid_and_nothing_else() {
    cases("chacha20_poly1305_test.json", 300, |group, case, expected| {
        aead(Encr::ChaCha20Poly1305, group, case, expected)
    });
}

/// `false` for nonces that IKE does not have.
fn aead(encr: Encr, group: &Value, case: &Value, expected: Expected) -> bool {
    if group["ivSize"].as_u64() != Some(96) {
        return false;
    }
    let (nonce, head, text) = (field(case, "iv"), field(case, "aad"), field(case, "msg"));
    let (ciphertext, tag) = (field(case, "ct"), field(case, "tag"));
    let (salt, iv) = nonce.split_at(4);
    let material = [&field(case, "key")[..], salt].concat();
    let keys = TrafficKeys::new(Protection::new(encr, None).unwrap(), &material, &[]).unwrap();
    let around = Around { head: &head, iv, tail: &[] };

    let mut body = ciphertext.clone();
    let opened = keys.opener().unwrap().open(around, &mut body, &tag);
    assert!(expected.allows(opened.is_ok()), "{case}");
    if opened.is_ok() {
        assert_eq!(body, text, "{case}");
        let mut made = vec![0; 16];
        keys.sealer().unwrap().seal(around, &mut body, &mut made).unwrap();
        assert_eq!((body, made), (ciphertext, tag), "{case}");
    } else {
        assert_eq!(opened, Err(CipherError::Mismatch), "{case}");
    }
    true
}

/// The padding of these is not ours, so that only what the cipher does to whole blocks is compared.
#[test]
fn aes_cbc_gives_the_same_blocks() {
    cases("aes_cbc_pkcs5_test.json", 40, |group, case, expected| {
        let encr = match (group["keySize"].as_u64(), expected) {
            (Some(128), Expected::Valid) => Encr::AesCbc128,
            (Some(256), Expected::Valid) => Encr::AesCbc256,
            _ => return false,
        };
        let protection = Protection::new(encr, Some(Integ::HmacSha256_128)).unwrap();
        let keys = TrafficKeys::new(protection, &field(case, "key"), &[0; 32]).unwrap();
        let (iv, mut body) = (field(case, "iv"), field(case, "msg"));
        let padding = 16 - body.len() % 16;
        body.resize(body.len() + padding, u8::try_from(padding).unwrap());
        let (padded, around) = (body.clone(), Around { head: &[], iv: &iv, tail: &[] });
        let mut icv = [0; 16];

        keys.sealer().unwrap().seal(around, &mut body, &mut icv).unwrap();

        assert_eq!(body, field(case, "ct"), "{case}");
        keys.opener().unwrap().open(around, &mut body, &icv).unwrap();
        assert_eq!(body, padded);
        true
    });
}

#[test]
fn hmac_gives_what_is_valid_and_nothing_else() {
    let legacy = Legacy::permit();
    let files = [
        ("hmac_sha1_test.json", Prf::HmacSha1(legacy), Integ::HmacSha1_96(legacy)),
        ("hmac_sha256_test.json", Prf::HmacSha256, Integ::HmacSha256_128),
        ("hmac_sha512_test.json", Prf::HmacSha512, Integ::HmacSha512_256),
    ];
    for (name, function, integ) in files {
        cases(name, 170, |_, case, expected| {
            let (key, message, tag) = (field(case, "key"), field(case, "msg"), field(case, "tag"));
            let output = prf(function, &key, &[&message]);
            let is_same = output.expose().starts_with(&tag);
            assert!(expected.allows(is_same), "{case}");
            if key.len() == integ.key_length() && tag.len() == integ.icv_length() {
                let verified = IntegKey::new(integ, &key).unwrap().verify(&[&message], &tag);
                assert!(expected.allows(verified.is_ok()), "{case}");
            }
            true
        });
    }
}

fn agree(group: Group, case: &Value, public: &[u8], private: &[u8]) -> bool {
    let exchange = KeyExchange::from_private(group, private).unwrap();
    match exchange.agree(public) {
        Ok(secret) => {
            assert_eq!(secret.expose(), field(case, "shared"), "{case}");
            true
        }
        Err(error) => {
            assert_ne!(error, KeyExchangeError::Library);
            false
        }
    }
}

// test of RFC 8031 §4
#[test]
fn x25519_gives_the_same_secrets_and_never_zero() {
    cases("x25519_test.json", 518, |_, case, expected| {
        let agreed = agree(Group::Curve25519, case, &field(case, "public"), &field(case, "private"));
        let is_zero = field(case, "shared") == [0; 32];
        assert!(expected.allows(agreed), "{case}");
        assert_eq!(agreed, !is_zero, "{case}");
        true
    });
}

/// A private value as long as the field: the files write numbers, and fill up or leave out zeros.
fn scalar(case: &Value, length: usize) -> Vec<u8> {
    let digits = case["private"].as_str().unwrap();
    let digits = digits.trim_start_matches('0');
    octets(&format!("{digits:0>width$}", width = 2 * length))
}

#[test]
fn p256_gives_the_same_secrets_and_refuses_points_off_the_curve() {
    cases("ecdh_secp256r1_ecpoint_test.json", 330, |_, case, expected| {
        let point = field(case, "public");
        // IKE has no compressed points.
        let Some(public) = point.strip_prefix(&[4]) else { return false };
        let agreed = agree(Group::P256, case, public, &scalar(case, 32));
        assert!(expected.allows(agreed), "{case}");
        true
    });
}

#[test]
fn p256_and_p384_give_the_same_secrets_for_the_keys_of_certificates() {
    let files = [
        ("ecdh_secp256r1_test.json", Group::P256, Curve::P256, 32),
        ("ecdh_secp384r1_test.json", Group::P384, Curve::P384, 48),
    ];
    for (name, group, curve, length) in files {
        cases(name, 330, |_, case, expected| {
            let spki = field(case, "public");
            let key = PublicKey::from_spki(&spki);
            if expected != Expected::Valid {
                // Other curves, other encodings: refused, or read as what they stand for.
                assert!(key.is_err() || spki.len() < 200, "{case}");
                return false;
            }
            assert_eq!(key.unwrap().curve(), Some(curve));
            let public = &spki[spki.len() - 2 * length..];
            assert!(agree(group, case, public, &scalar(case, length)), "{case}");
            true
        });
    }
}

/// Signatures of a file whose groups have the public key in DER.
fn signatures(name: &str, scheme: Scheme, least: usize) {
    cases(name, least, |group, case, expected| {
        let key = PublicKey::from_spki(&field(group, "publicKeyDer")).unwrap();
        let verified = key.verify(scheme, &field(case, "msg"), &field(case, "sig"));
        assert!(expected.allows(verified.is_ok()), "{case}");
        assert!(matches!(verified, Ok(()) | Err(SignatureError::Mismatch)), "{case}");
        true
    });
}

#[test]
fn ecdsa_verifies_what_is_valid_and_nothing_else() {
    signatures("ecdsa_secp256r1_sha256_test.json", Scheme::Ecdsa(Sha2::Sha256), 480);
}

#[test]
fn rsa_verifies_what_is_valid_and_nothing_else() {
    signatures("rsa_signature_2048_sha256_test.json", Scheme::RsaPkcs1(Sha2::Sha256), 250);
    signatures("rsa_signature_2048_sha512_test.json", Scheme::RsaPkcs1(Sha2::Sha512), 250);
    signatures("rsa_pss_2048_sha256_mgf1_32_test.json", Scheme::RsaPss(Sha2::Sha256), 100);
}
