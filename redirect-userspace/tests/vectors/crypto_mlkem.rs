//! ML-KEM with the key pairs that NIST has published (ACVP, `ML-KEM-keyGen-FIPS203`).
//!
//! The library draws its own random octets, so that what it makes cannot be compared octet by octet. What
//! it makes of a published key is opened with the other half of that key, and with nothing else.

use redirect_userspace::crypto::kex::{Answer, Group, KeyExchange, KeyExchangeError};
use redirect_userspace::rng::Rng;
use serde_json::Value;

use crate::data::{octets, root, say};

const GROUPS: [Group; 3] = [Group::MlKem512, Group::MlKem768, Group::MlKem1024];

/// A group, the key for whoever answers, and the one for whoever has begun.
type Pair = (Group, Vec<u8>, Vec<u8>);

/// The key pairs of each group.
fn pairs() -> Option<Vec<Pair>> {
    let file = root()?.join("crypto/acvp-mlkem/ML-KEM-keyGen-FIPS203/expectedResults.json");
    let file: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let field = |case: &Value, name: &str| octets(case[name].as_str().unwrap());
    let groups = file["testGroups"].as_array().unwrap();
    assert_eq!(groups.len(), GROUPS.len());
    let mut pairs = Vec::new();
    for (group, cases) in GROUPS.into_iter().zip(groups) {
        let cases = cases["tests"].as_array().unwrap();
        pairs.extend(cases.iter().map(|case| (group, field(case, "ek"), field(case, "dk"))));
    }
    say(&format!("{} key pairs of ML-KEM", pairs.len()));
    Some(pairs)
}

#[test]
fn what_is_made_of_a_published_key_is_opened_with_its_other_half_alone() {
    let Some(pairs) = pairs() else { return };
    assert!(pairs.len() >= 75);
    let mut rng = Rng::from_number(1);
    let half = |group, key: &[u8]| KeyExchange::from_private(group, key).unwrap();
    for (number, (group, ek, dk)) in pairs.iter().enumerate() {
        assert_eq!(half(*group, dk).public(), &ek[..], "{group:?} {number}");
        let answer = Answer::new(*group, ek, &mut rng).unwrap();
        let ciphertext = answer.public().to_vec();
        let secret = answer.secret().unwrap();
        assert_eq!(secret.expose().len(), 32);

        assert_eq!(
            half(*group, dk).agree(&ciphertext).unwrap().expose(),
            secret.expose(),
            "{group:?} {number}"
        );
        let mut changed = ciphertext.clone();
        changed[number] ^= 1;
        assert_ne!(half(*group, dk).agree(&changed).unwrap().expose(), secret.expose(), "{group:?} {number}");
        if let Some((_, _, other)) = pairs.iter().skip(number + 1).find(|(other, ..)| other == group) {
            assert_ne!(half(*group, other).agree(&ciphertext).unwrap().expose(), secret.expose());
        }
    }
}

// FIPS 203 §7.2: coefficients are below the modulus, and a key has one length.
#[test]
fn a_published_key_with_a_coefficient_too_large_or_of_another_length_is_refused() {
    let Some(pairs) = pairs() else { return };
    let mut rng = Rng::from_number(2);
    for (group, ek, _) in &pairs {
        let mut large = ek.clone();
        // The first coefficient, of twelve bits: the modulus itself, 3329.
        (large[0], large[1]) = (0x01, large[1] & 0xf0 | 0x0d);
        assert_eq!(
            Answer::new(*group, &large, &mut rng).err(),
            Some(KeyExchangeError::BadKey { group: *group })
        );
        for length in [0, ek.len() - 1, ek.len() + 1] {
            let mut key = ek.clone();
            key.resize(length, 0);
            let refused = Some(KeyExchangeError::Length { group: *group, length });
            assert_eq!(Answer::new(*group, &key, &mut rng).err(), refused);
        }
    }
}
