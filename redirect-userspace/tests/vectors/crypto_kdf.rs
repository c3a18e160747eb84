//! Keys of IKE SAs and Child SAs, as NIST, NSS and strongSwan compute them.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::Path;

use redirect_userspace::crypto::cipher::{Encr, Protection};
use redirect_userspace::crypto::integ::Integ;
use redirect_userspace::crypto::kex::Group;
use redirect_userspace::crypto::prf::{Prf, prf, prf_plus};
use redirect_userspace::crypto::{Legacy, Suite};
use redirect_userspace::ike::derive;
use redirect_userspace::ike::wire::{SpiI, SpiR};
use serde_json::Value;

use crate::data::{list, octets, root, say};

fn plus(function: Prf, key: &[u8], seed: &[&[u8]], length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    prf_plus(function, key, seed, &mut out).unwrap();
    out
}

/// The function a heading or a file names.
fn function(name: &str) -> Option<Prf> {
    match name {
        "SHA-1" | "ike-sha1.json" => Some(Prf::HmacSha1(Legacy::permit())),
        "SHA-256" | "ike-sha256.json" | "PRF_HMAC_SHA2_256" => Some(Prf::HmacSha256),
        "SHA-384" | "PRF_HMAC_SHA2_384" => Some(Prf::HmacSha384),
        "SHA-512" | "ike-sha512.json" | "PRF_HMAC_SHA2_512" => Some(Prf::HmacSha512),
        _ => None,
    }
}

// test of RFC 7296 §2.14, §2.17 and §2.18
#[test]
fn the_keys_of_an_sa_are_those_that_nist_computes() {
    let Some(root) = root() else { return };
    let file = root.join("crypto/nist-cavs-ikev2-kdf/ikev2.fax");
    let text = std::fs::read_to_string(file).unwrap();
    let (mut current, mut case, mut checked) = (None, BTreeMap::new(), 0);
    for line in text.lines().chain([""]) {
        if let Some(heading) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            current = function(heading).or(current);
        } else if let Some((name, value)) = line.split_once(" = ") {
            case.insert(name.trim().to_owned(), value.trim().to_owned());
        } else if case.contains_key("SKEYSEED(Rekey)") {
            check_nist(current.unwrap(), &case);
            checked += 1;
            case.clear();
        } else {
            case.clear();
        }
    }
    assert_eq!(checked, 630);
    say(&format!("{checked} cases"));
}

// test of RFC 7296 §2.14, §2.17 and §2.18
#[test]
fn the_keys_of_an_ike_sa_are_taken_from_the_right_places_of_what_nist_computes() {
    let Some(root) = root() else { return };
    let text = std::fs::read_to_string(root.join("crypto/nist-cavs-ikev2-kdf/ikev2.fax")).unwrap();
    let (mut current, mut case, mut checked) = (None, BTreeMap::new(), 0);
    for line in text.lines().chain([""]) {
        if let Some(heading) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            current = function(heading).or(current);
        } else if let Some((name, value)) = line.split_once(" = ") {
            case.insert(name.trim().to_owned(), value.trim().to_owned());
        } else {
            if case.contains_key("SKEYSEED(Rekey)") && check_places(current.unwrap(), &case) {
                checked += 1;
            }
            case.clear();
        }
    }
    say(&format!("{checked} cases with keys of a suite of ours"));
    assert!(checked >= 100, "{checked}");
}

/// Whether the answers are long enough for a suite that we have.
fn check_places(function: Prf, case: &BTreeMap<String, String>) -> bool {
    let field = |name: &str| octets(&case[name]);
    let integ = match function {
        Prf::HmacSha1(legacy) => Integ::HmacSha1_96(legacy),
        Prf::HmacSha256 => Integ::HmacSha256_128,
        Prf::HmacSha384 => Integ::HmacSha384_192,
        Prf::HmacSha512 => Integ::HmacSha512_256,
    };
    let protection = Protection::new(Encr::AesCbc128, Some(integ)).unwrap();
    let suite = Suite { protection, prf: function, group: Group::Curve25519 };
    let dkm = field("DKM");
    if dkm.len() < suite.keymat_length() {
        return false;
    }
    let spi = |name| NonZeroU64::new(u64::from_be_bytes(field(name).try_into().unwrap()));
    let (Some(spi_i), Some(spi_r)) = (spi("SPIi"), spi("SPIr")) else { return false };
    let [ni, nr, shared, new] = ["Ni", "Nr", "g^ir", "g^ir (new)"].map(field);

    let derived = derive(suite, [&ni, &nr], (SpiI(spi_i), SpiR(spi_r)), [&shared, &new]).unwrap();

    let (prf_length, ours) = (function.key_length(), derived.ike.len());
    let direction = protection.encr_key_length() + protection.integ_key_length();
    assert_eq!(ours, prf_length + 2 * direction);
    assert_eq!(derived.ike, dkm[..ours]);
    for (at, proof) in [ours, ours + prf_length].into_iter().zip(&derived.proofs) {
        assert_eq!(prf(function, &dkm[at..at + prf_length], &[]).expose(), proof);
    }
    for (name, child) in ["DKM(Child SA)", "DKM(Child SA D-H)"].into_iter().zip(&derived.children) {
        assert_eq!(*child, field(name)[..2 * direction]);
    }
    let seed = field("SKEYSEED(Rekey)");
    let spis = [field("SPIi"), field("SPIr")];
    assert_eq!(derived.rekeyed, plus(function, &seed, &[&ni, &nr, &spis[0], &spis[1]], prf_length));
    true
}

fn check_nist(function: Prf, case: &BTreeMap<String, String>) {
    let field = |name: &str| octets(&case[name]);
    let [ni, nr, spi_i, spi_r] = ["Ni", "Nr", "SPIi", "SPIr"].map(field);
    let (secret, new_secret) = (field("g^ir"), field("g^ir (new)"));

    let skeyseed = prf(function, &[&ni[..], &nr].concat(), &[&secret]);
    let keymat = plus(function, skeyseed.expose(), &[&ni, &nr, &spi_i, &spi_r], field("DKM").len());
    let sk_d = &keymat[..function.key_length()];
    let child = plus(function, sk_d, &[&ni, &nr], field("DKM(Child SA)").len());
    let child_with_kex = plus(function, sk_d, &[&new_secret, &ni, &nr], field("DKM(Child SA D-H)").len());
    let rekeyed = prf(function, sk_d, &[&new_secret, &ni, &nr]);

    assert_eq!(skeyseed.expose(), field("SKEYSEED"));
    assert_eq!(keymat, field("DKM"));
    assert_eq!(child, field("DKM(Child SA)"));
    assert_eq!(child_with_kex, field("DKM(Child SA D-H)"));
    assert_eq!(rekeyed.expose(), field("SKEYSEED(Rekey)"));
}

#[test]
fn skeyseed_and_prf_plus_are_those_of_nss() {
    let Some(root) = root() else { return };
    let mut checked = 0;
    for name in ["ike-sha1.json", "ike-sha256.json", "ike-sha512.json"] {
        let function = function(name).unwrap();
        for case in list(&root.join("crypto/nss-ike").join(name)) {
            let field = |name: &str| octets(case[name].as_str().unwrap());
            let (ikm, ni, nr, expected) = (field("ikm"), field("Ni"), field("Nr"), field("okm"));
            let got = match case["type"].as_str().unwrap() {
                "ikeGxy" => prf(function, &[&ni[..], &nr].concat(), &[&ikm]).expose().to_vec(),
                "ikeV2Rekey" => prf(function, &ikm, &[&field("gxykm"), &ni, &nr]).expose().to_vec(),
                "ikePlus" => plus(function, &ikm, &[&field("seed_data")], expected.len()),
                other => panic!("{other}: what is that?"),
            };
            assert_eq!(got, expected, "{case}");
            checked += 1;
        }
    }
    assert_eq!(checked, 18);
}

#[test]
fn prf_and_prf_plus_are_those_of_strongswan() {
    let Some(root) = root() else { return };
    let mut checked = 0;
    for case in strongswan(&root.join("crypto/strongswan-kdf")) {
        let field = |name: &str| octets(case[name].as_str().unwrap());
        let Some(function) = function(case["prf"].as_str().unwrap()) else { continue };
        let got = match case["alg"].as_str().unwrap() {
            "KDF_PRF" => prf(function, &field("salt"), &[&field("key")]).expose().to_vec(),
            "KDF_PRF_PLUS" => plus(function, &field("key"), &[&field("salt")], field("out").len()),
            other => panic!("{other}: what is that?"),
        };
        assert_eq!(got, field("out"), "{}", case["name"]);
        checked += 1;
    }
    assert!(checked >= 8, "{checked}");
}

fn strongswan(folder: &Path) -> Vec<Value> {
    ["kdf_prf.json", "kdf_prf_plus.json"].iter().flat_map(|name| list(&folder.join(name))).collect()
}
