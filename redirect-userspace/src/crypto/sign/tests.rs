use super::*;
use crate::crypto::hex;

const LEGACY: Legacy = Legacy::permit();

/// A file of `testdata`, which OpenSSL made.
macro_rules! made {
    ($name:literal) => {
        include_bytes!(concat!("../testdata/", $name))
    };
}

const MESSAGE: &[u8] = made!("message");

/// Every key that is taken, in all the forms in which it is.
const KEYS: [&[u8]; 9] = [
    made!("rsa.pem"),
    made!("rsa-pkcs1.pem"),
    made!("p256.pem"),
    made!("p256-sec1.pem"),
    made!("p384.pem"),
    made!("p384-sec1.pem"),
    made!("p521.pem"),
    made!("p521-sec1.pem"),
    made!("ed25519.pem"),
];

fn key(pem: &[u8]) -> PrivateKey {
    PrivateKey::from_pem(pem).unwrap()
}

/// The signature of [`MESSAGE`] that OpenSSL made under this name.
fn signature(name: &str) -> Vec<u8> {
    let lines = std::str::from_utf8(made!("signatures")).unwrap();
    let line = lines.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    hex(line.unwrap())
}

/// Each key with each scheme it has.
fn pairs() -> Vec<(PrivateKey, Scheme)> {
    let mut pairs = Vec::new();
    for hash in Sha2::ALL {
        pairs.push((key(made!("rsa.pem")), Scheme::RsaPkcs1(hash)));
        pairs.push((key(made!("rsa.pem")), Scheme::RsaPss(hash)));
    }
    pairs.push((key(made!("rsa.pem")), Scheme::RsaSha1(LEGACY)));
    for (pem, curve) in [
        (&made!("p256.pem")[..], Curve::P256),
        (made!("p384.pem"), Curve::P384),
        (made!("p521.pem"), Curve::P521),
    ] {
        pairs.push((key(pem), Scheme::Ecdsa(curve.hash())));
        pairs.push((key(pem), Scheme::EcdsaFixed(curve)));
    }
    pairs.push((key(made!("ed25519.pem")), Scheme::Ed25519));
    pairs
}

#[test]
fn signatures_that_openssl_made_are_verified() {
    let rsa = key(made!("rsa.pem"));
    let hashes = [("sha256", Sha2::Sha256), ("sha384", Sha2::Sha384), ("sha512", Sha2::Sha512)];
    let check = |key: &PrivateKey, scheme: Scheme, name: &str| {
        assert_eq!(key.public().verify(scheme, MESSAGE, &signature(name)), Ok(()), "{name}");
    };

    check(&rsa, Scheme::RsaSha1(LEGACY), "rsa-sha1");
    for (name, hash) in hashes {
        check(&rsa, Scheme::RsaPkcs1(hash), &format!("rsa-{name}"));
        check(&rsa, Scheme::RsaPss(hash), &format!("pss-{name}"));
        check(&key(made!("p256.pem")), Scheme::Ecdsa(hash), &format!("p256-{name}"));
        check(&key(made!("p384.pem")), Scheme::Ecdsa(hash), &format!("p384-{name}"));
        check(&key(made!("p521.pem")), Scheme::Ecdsa(hash), &format!("p521-{name}"));
    }
    check(&key(made!("ed25519.pem")), Scheme::Ed25519, "ed25519");
}

#[test]
fn signatures_without_a_random_part_are_those_of_openssl() {
    let rsa = key(made!("rsa.pem"));

    assert_eq!(rsa.sign(Scheme::RsaSha1(LEGACY), MESSAGE), Ok(signature("rsa-sha1")));
    assert_eq!(rsa.sign(Scheme::RsaPkcs1(Sha2::Sha256), MESSAGE), Ok(signature("rsa-sha256")));
    assert_eq!(rsa.sign(Scheme::RsaPkcs1(Sha2::Sha512), MESSAGE), Ok(signature("rsa-sha512")));
    assert_eq!(key(made!("ed25519.pem")).sign(Scheme::Ed25519, MESSAGE), Ok(signature("ed25519")));
}

#[test]
fn what_a_key_signs_its_public_key_verifies_and_nothing_else() {
    let other = key(made!("gateway-key.pem"));
    for (key, scheme) in pairs() {
        let signature = key.sign(scheme, MESSAGE).unwrap();
        let mut wrong = signature.clone();
        *wrong.last_mut().unwrap() ^= 1;

        assert_eq!(key.public().verify(scheme, MESSAGE, &signature), Ok(()), "{scheme:?}");
        assert_eq!(key.public().verify(scheme, b"else", &signature), Err(SignatureError::Mismatch));
        assert_eq!(key.public().verify(scheme, MESSAGE, &wrong), Err(SignatureError::Mismatch));
        assert_eq!(key.public().verify(scheme, MESSAGE, &[]), Err(SignatureError::Mismatch));
        assert!(other.public().verify(scheme, MESSAGE, &signature).is_err());
    }
}

#[test]
fn a_key_is_for_its_own_schemes() {
    let schemes: Vec<Scheme> = pairs().into_iter().map(|(_, scheme)| scheme).collect();
    for pem in KEYS {
        let key = key(pem);
        let own: Vec<Scheme> = pairs()
            .into_iter()
            .filter(|(one, _)| one.public() == key.public())
            .map(|(_, scheme)| scheme)
            .collect();
        assert!(!own.is_empty());
        for scheme in &schemes {
            let signed = key.sign(*scheme, MESSAGE);
            assert_eq!(signed.is_ok(), own.contains(scheme), "{key:?} {scheme:?}");
            if signed.is_err() {
                assert_eq!(signed, Err(SignatureError::Key(*scheme)));
            }
        }
    }
}

// test of RFC 4754 §3
#[test]
fn the_signatures_of_methods_9_to_11_have_a_fixed_length() {
    for (key, scheme) in pairs() {
        let length = match scheme {
            Scheme::EcdsaFixed(Curve::P256) => 64,
            Scheme::EcdsaFixed(Curve::P384) => 96,
            Scheme::EcdsaFixed(Curve::P521) => 132,
            Scheme::RsaSha1(_)
            | Scheme::RsaPkcs1(_)
            | Scheme::RsaPss(_)
            | Scheme::Ecdsa(_)
            | Scheme::Ed25519 => continue,
        };
        for _ in 0..20 {
            assert_eq!(key.sign(scheme, MESSAGE).unwrap().len(), length);
        }
    }
}

#[test]
fn keys_are_the_same_in_all_forms() {
    assert_eq!(key(KEYS[0]).public(), key(KEYS[1]).public());
    for pair in KEYS[2..8].chunks(2) {
        assert_eq!(key(pair[0]).public(), key(pair[1]).public());
    }
    assert_ne!(key(KEYS[2]).public(), key(KEYS[4]).public());
}

#[test]
fn keys_that_cannot_be_used_are_refused_with_a_reason() {
    let refused = |pem: &[u8]| PrivateKey::from_pem(pem).map(|_| ());

    assert_eq!(refused(made!("encrypted-pkcs8.pem")), Err(PrivateKeyError::Encrypted));
    assert_eq!(refused(made!("encrypted-sec1.pem")), Err(PrivateKeyError::Encrypted));
    assert_eq!(
        refused(made!("rsa-1024.pem")),
        Err(PrivateKeyError::Kind(PublicKeyError::RsaLength { bits: 1_024 }))
    );
    assert_eq!(refused(made!("secp256k1.pem")), Err(PrivateKeyError::Kind(PublicKeyError::Unknown)));
    assert_eq!(refused(made!("gateway.pem")), Err(PrivateKeyError::Missing));
    assert_eq!(refused(b""), Err(PrivateKeyError::Missing));
    assert_eq!(
        refused(b"-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n"),
        Err(PrivateKeyError::Pem)
    );
    assert_eq!(refused(b"-----BEGIN PRIVATE KEY-----\nMAA="), Err(PrivateKeyError::Pem));
    assert!(matches!(
        refused(b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"),
        Err(PrivateKeyError::Malformed(_))
    ));
}

// test of RFC 5480 §2.2 and RFC 8410 §4
#[test]
fn public_keys_have_the_length_of_their_kind() {
    let spki = |algorithm: &str, key: &[u8]| {
        let algorithm = hex(algorithm);
        let length = |count: usize| u8::try_from(count).unwrap();
        let bits = [&[tag::BIT_STRING, length(key.len() + 1), 0], key].concat();
        let body = [algorithm, bits].concat();
        PublicKey::from_spki(&[&[tag::SEQUENCE, length(body.len())], &body[..]].concat())
            .map(|key| key.curve())
    };
    let p256 = |key: &[u8]| spki("301306072a8648ce3d020106082a8648ce3d030107", key);
    let ed25519 = |key: &[u8]| spki("300506032b6570", key);
    let wrong = |value| Err(PublicKeyError::Malformed(DecodeError::Length { what: "public key", value }));

    assert_eq!(p256(&[4; 65]), Ok(Some(Curve::P256)));
    assert_eq!(p256(&[3; 33]), Ok(Some(Curve::P256)));
    assert_eq!(p256(&[4; 64]), wrong(64));
    assert_eq!(p256(&[2; 65]), wrong(65));
    assert_eq!(p256(&[6; 65]), wrong(65));
    assert_eq!(p256(&[]), wrong(0));
    assert_eq!(ed25519(&[7; 32]), Ok(None));
    assert_eq!(ed25519(&[7; 33]), wrong(33));
}

#[test]
fn whatever_octets_come_as_a_key_they_are_taken_or_refused() {
    let mut rng = crate::rng::Rng::from_number(1);
    for pem in KEYS {
        let section =
            <(pki_types::pem::SectionKind, Vec<u8>) as pki_types::pem::PemObject>::from_pem_slice(pem);
        let (_, der) = section.unwrap();
        for at in 0..der.len().min(120) {
            let mut changed = der.clone();
            changed[at] ^= rng.array::<1>()[0];
            for octets in [&changed[..], &der[..at]] {
                let _ = PrivateKey::from_pkcs8(octets).map(|_| ());
                let _ = PublicKey::from_spki(octets).map(|_| ());
            }
        }
    }
}

#[test]
fn numbers_that_make_no_sense_give_a_wrong_signature_or_none() {
    let mut rng = crate::rng::Rng::from_number(2);
    let section = <(pki_types::pem::SectionKind, Vec<u8>) as pki_types::pem::PemObject>::from_pem_slice(
        made!("rsa-pkcs1.pem"),
    );
    let (_, der) = section.unwrap();
    let right = signature("rsa-sha1");
    let mut signed = 0;
    for _ in 0..60 {
        let at = usize::try_from(rng.below(der.len().try_into().unwrap())).unwrap();
        let mut changed = der.clone();
        changed[at] ^= 1 << rng.below(8);
        signed += u32::from(rsa_sha1::sign(&changed, MESSAGE).is_some_and(|signature| signature != right));
    }
    assert!(signed > 0);
    assert_eq!(rsa_sha1::sign(&der, MESSAGE), Some(right));
}

// test of RFC 7427 §A and RFC 8420 §A
#[test]
fn the_algorithm_identifiers_are_those_of_the_rfcs() {
    let named = [
        (Scheme::RsaPkcs1(Sha2::Sha256), "300d06092a864886f70d01010b0500"),
        (Scheme::RsaPkcs1(Sha2::Sha384), "300d06092a864886f70d01010c0500"),
        (Scheme::RsaPkcs1(Sha2::Sha512), "300d06092a864886f70d01010d0500"),
        (Scheme::Ecdsa(Sha2::Sha256), "300a06082a8648ce3d040302"),
        (Scheme::Ecdsa(Sha2::Sha384), "300a06082a8648ce3d040303"),
        (Scheme::Ecdsa(Sha2::Sha512), "300a06082a8648ce3d040304"),
        (
            Scheme::RsaPss(Sha2::Sha256),
            "304606092a864886f70d01010a3039a00f300d06096086480165030402010500a11c301a06092a864886f70d01
             0108300d06096086480165030402010500a203020120a303020101",
        ),
        (Scheme::Ed25519, "300506032b6570"),
    ];
    for (scheme, identifier) in named {
        assert_eq!(scheme.algorithm_identifier(), Some(&hex(identifier)[..]), "{scheme:?}");
    }
    for (_, scheme) in pairs() {
        if let Some(identifier) = scheme.algorithm_identifier() {
            assert_eq!(Scheme::from_algorithm_identifier(identifier), Ok(scheme));
        }
    }
}

#[test]
fn other_spellings_of_the_same_algorithm_are_understood() {
    let read = |text: &str| Scheme::from_algorithm_identifier(&hex(text));

    // RSA and its hashes without NULL.
    assert_eq!(read("300b06092a864886f70d01010b"), Ok(Scheme::RsaPkcs1(Sha2::Sha256)));
    // PSS without the trailer field, which has its default, and without NULL.
    assert_eq!(
        read(
            "303d06092a864886f70d01010a3030a00d300b0609608648016503040201a11a301806092a864886f70d010108300b
             0609608648016503040201a203020120"
        ),
        Ok(Scheme::RsaPss(Sha2::Sha256))
    );
}

// test of RFC 8247 §3.2.1
#[test]
fn sha1_and_unusual_parameters_are_refused() {
    let read = |text: &str| Scheme::from_algorithm_identifier(&hex(text));
    let malformed = |text: &str| matches!(read(text), Err(SchemeError::Malformed(_)));

    // sha1WithRSAEncryption, ecdsa-with-SHA1, Ed448.
    for unknown in ["300d06092a864886f70d0101050500", "300906072a8648ce3d0401", "300506032b6571"] {
        assert_eq!(read(unknown), Err(SchemeError::Unknown));
    }
    // PSS with empty and with default parameters.
    assert_eq!(read("300d06092a864886f70d01010a3000"), Err(SchemeError::PssParameters));
    assert!(malformed("300b06092a864886f70d01010a"));
    // Its salt is shorter, its mask has another hash, its trailer another value.
    let usual = Scheme::RsaPss(Sha2::Sha256).algorithm_identifier().unwrap().to_vec();
    for (at, octet) in [(66, 0x14), (59, 0x02), (71, 0x02)] {
        let mut unusual = usual.clone();
        unusual[at] = octet;
        assert_eq!(Scheme::from_algorithm_identifier(&unusual), Err(SchemeError::PssParameters), "{at}");
    }
    // Something after it, something in NULL, parameters of ECDSA.
    assert!(malformed("300d06092a864886f70d01010b050000"));
    assert!(malformed("300e06092a864886f70d01010b050100"));
    assert!(malformed("300c06082a8648ce3d0403020500"));
    for cut in 0..usual.len() {
        assert!(Scheme::from_algorithm_identifier(&usual[..cut]).is_err());
    }
}

// test of RFC 7427 §3
#[test]
fn the_authentication_data_of_method_14_names_its_scheme() {
    let key = key(made!("p256.pem"));
    let scheme = Scheme::Ecdsa(Sha2::Sha256);
    let signature = key.sign(scheme, MESSAGE).unwrap();

    let octets = DigitalSignature { scheme, signature: &signature }.encode().unwrap();

    assert_eq!(octets[..13], hex("0c300a06082a8648ce3d040302"));
    let read = DigitalSignature::decode(&octets).unwrap();
    assert_eq!(read, DigitalSignature { scheme, signature: &signature });
    assert_eq!(key.public().verify(read.scheme, MESSAGE, read.signature), Ok(()));
    assert!(matches!(DigitalSignature::decode(&octets[..9]), Err(SchemeError::Malformed(_))));
    assert!(matches!(DigitalSignature::decode(&[]), Err(SchemeError::Malformed(_))));
    let unnamed = DigitalSignature { scheme: Scheme::EcdsaFixed(Curve::P256), signature: &signature };
    assert_eq!(unnamed.encode(), None);
}

// test of RFC 7427 §4
#[test]
fn the_scheme_needs_a_hash_that_the_peer_announced() {
    use HashAlgorithm::{Identity, Sha256, Sha384, Sha512};
    let rsa = |announced: &[HashAlgorithm]| key(made!("rsa.pem")).choose(announced);
    let p384 = |announced: &[HashAlgorithm]| key(made!("p384.pem")).choose(announced);
    let ed25519 = |announced: &[HashAlgorithm]| key(made!("ed25519.pem")).choose(announced);

    assert_eq!(rsa(&HashAlgorithm::ALL), Some(Scheme::RsaPkcs1(Sha2::Sha256)));
    assert_eq!(rsa(&[Sha512, Sha384]), Some(Scheme::RsaPkcs1(Sha2::Sha384)));
    assert_eq!(rsa(&[Identity]), None);
    assert_eq!(p384(&[Sha256, Sha384, Sha512]), Some(Scheme::Ecdsa(Sha2::Sha384)));
    assert_eq!(p384(&[Sha256]), None);
    assert_eq!(ed25519(&[Sha256, Identity]), Some(Scheme::Ed25519));
    assert_eq!(ed25519(&[Sha256]), None);
    assert_eq!(rsa(&[]), None);
}

#[test]
fn hash_algorithms_have_their_numbers_and_sha1_has_none() {
    for hash in HashAlgorithm::ALL {
        assert_eq!(HashAlgorithm::from_number(hash.number()), Some(hash));
    }
    assert_eq!(HashAlgorithm::from_number(1), None);
    assert_eq!(HashAlgorithm::from_number(0), None);
}

#[test]
fn nothing_of_a_key_is_shown() {
    assert_eq!(format!("{:?}", key(made!("p256.pem"))), "PrivateKey(Ecdsa(P256), …)");
    assert_eq!(format!("{:?}", key(made!("rsa.pem"))), "PrivateKey(Rsa, …)");
}
