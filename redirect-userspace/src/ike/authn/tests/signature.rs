//! Proofs by signature, and the certificates with them.

use super::*;
use crate::crypto::sign::{Curve, DigitalSignature, Scheme, SchemeError, Sha2, SignatureError};
use crate::crypto::x509::ChainError;
use crate::crypto::x509::builder::{UNTIL, basic_constraints, extended_key_usage};
use crate::ike::authn::bundle::MAX_CERTIFICATES;
use crate::ike::wire::IdType;

const ALICE: &str = "alice@example.net";
const KINDS: [KeyKind; 3] = [KeyKind::P256, KeyKind::Rsa, KeyKind::Ed25519([1; 32])];

/// A file that OpenSSL made.
macro_rules! made {
    ($name:literal) => {
        PrivateKey::from_pem(include_bytes!(concat!("../../../crypto/testdata/", $name))).unwrap()
    };
}

/// Why the signature by a key is refused, whoever's it is.
fn checked(terms: &Authenticator<'_>, key: &PrivateKey, auth: &Auth<'_>) -> Result<(), ProofError> {
    cert::verify(terms, key.public(), auth, &octets(terms.provider, &body(&id(ALICE))))
}

fn signed(terms: &Authenticator<'_>, key: &PrivateKey) -> Result<Auth<'static>, SignError> {
    cert::sign(terms, key, &octets(terms.provider, &body(&id(ALICE))))
}

/// The data of method 14 for this scheme, which `PrivateKey::choose` may never choose.
fn data(key: &PrivateKey, scheme: Scheme) -> Vec<u8> {
    let signature = key.sign(scheme, &octets(Provider::Real, &body(&id(ALICE))).concat()).unwrap();
    DigitalSignature { scheme, signature: &signature }.encode().unwrap_or(signature)
}

/// What comes of alice when she presents herself with these certificates.
fn present(
    owner: &Owner,
    certificates: &[Cert<'_>],
    store: TrustStore,
    now: UnixTime,
) -> Result<String, Refusal> {
    let terms = Authenticator { now, ..TERMS };
    let remote = RemoteProof::Certificate(Arc::new(store));
    let profiles = [Arc::new(profile("ra", &["*"], psk("ours").0, remote))];
    let made = proof(&terms, &by_certificate(owner, &[]), &id(ALICE))?;
    meet(&terms, &profiles, &id(ALICE), &made, certificates).map(|peer| peer.profile().name.to_string())
}

/// Why a certificate was refused.
fn why(result: Result<String, Refusal>) -> CertificateError {
    match result {
        Err(Refusal::Certificate { error, .. }) => error,
        other => panic!("{other:?}"),
    }
}

fn chain_error(result: Result<String, Refusal>) -> ChainError {
    let error = why(result);
    let CertificateError::Chain(errors) = &error else { panic!("{error:?}") };
    errors[0].1
}

#[test]
fn whoever_has_a_certificate_of_a_trusted_ca_is_authenticated() {
    for kind in KINDS {
        let [root, alice] = issued(&[mail(ALICE)], kind);
        let profiles = [ca_profile("ra", &["*@example.net"], &[&root])];
        let made = proof(&TERMS, &by_certificate(&alice, &[]), &id(ALICE)).unwrap();

        let peer = meet(&TERMS, &profiles, &id(ALICE), &made, &[x509(&alice.der)]).unwrap();

        assert_eq!(made.method, AuthMethod::Signature);
        assert_eq!(&**peer.shown(), ALICE);
        let certificate = peer.certificate().unwrap();
        assert_eq!(&*certificate.subject, "O=Example, CN=alice");
        assert_eq!(&*certificate.issuer, "CN=root");
        assert_eq!(certificate.not_after, alice.certificate().validity().1);
    }
}

// test of RFC 7427 §3
#[test]
fn method_14_is_used_when_both_sides_announced_their_hashes() {
    let (rsa, p384, ed25519) = (made!("rsa.pem"), made!("p384.pem"), made!("ed25519.pem"));
    let scheme = |key: &PrivateKey, hashes: &[HashAlgorithm]| {
        let terms = Authenticator { peer_hashes: Some(hashes), ..TERMS };
        let auth = signed(&terms, key)?;
        assert_eq!(auth.method, AuthMethod::Signature);
        assert_eq!(checked(&terms, key, &auth), Ok(()));
        Ok(DigitalSignature::decode(&auth.data).unwrap().scheme)
    };

    assert_eq!(scheme(&rsa, ALL), Ok(Scheme::RsaPkcs1(Sha2::Sha256)));
    assert_eq!(scheme(&rsa, &[HashAlgorithm::Sha512]), Ok(Scheme::RsaPkcs1(Sha2::Sha512)));
    assert_eq!(scheme(&p384, ALL), Ok(Scheme::Ecdsa(Sha2::Sha384)));
    assert_eq!(scheme(&ed25519, ALL), Ok(Scheme::Ed25519));
    // SHA-1 only, which is not among those that we know.
    assert_eq!(scheme(&rsa, &[]), Err(SignError::NoCommonHash));
    assert_eq!(scheme(&p384, &[HashAlgorithm::Sha256]), Err(SignError::NoCommonHash));
    assert_eq!(scheme(&ed25519, &[HashAlgorithm::Sha256]), Err(SignError::NoCommonHash));
}

// test of RFC 4754 §3
#[test]
fn ecdsa_keys_have_methods_of_their_own_for_older_peers() {
    let keys = [
        (made!("p256.pem"), AuthMethod::Ecdsa256),
        (made!("p384.pem"), AuthMethod::Ecdsa384),
        (made!("p521.pem"), AuthMethod::Ecdsa521),
    ];
    for (key, method) in &keys {
        let made = signed(&OLDER, key).unwrap();
        assert_eq!(made.method, *method);
        // A peer that announced its hashes and uses an old method all the same is believed.
        for terms in [&OLDER, &TERMS] {
            assert_eq!(checked(terms, key, &made), Ok(()));
        }
        for (other, other_method) in keys.iter().filter(|(_, other)| other != method) {
            assert!(checked(&OLDER, other, &made).is_err());
            assert!(checked(&OLDER, key, &auth(*other_method, &made.data)).is_err());
        }
    }
    // We announced nothing, or the peer did not.
    let silent = Authenticator { own_hashes: &[], ..TERMS };
    assert_eq!(signed(&silent, &keys[0].0).map(|auth| auth.method), Ok(AuthMethod::Ecdsa256));
}

// test of RFC 7296 §3.8
#[test]
fn sha1_is_for_those_who_are_permitted_to() {
    let rsa = made!("rsa.pem");
    let permitted = Authenticator { legacy: Some(LEGACY), ..OLDER };
    let made = signed(&permitted, &rsa).unwrap();

    assert_eq!(made.method, AuthMethod::Rsa);
    assert_eq!(made.data, data(&rsa, Scheme::RsaSha1(LEGACY)));
    assert_eq!(checked(&permitted, &rsa, &made), Ok(()));
    assert_eq!(checked(&OLDER, &rsa, &made), Err(ProofError::PerhapsSha1));
    assert_eq!(signed(&OLDER, &rsa), Err(SignError::Sha1));
    // Method 1 with a better hash needs no permission, whatever was announced.
    for hash in [Sha2::Sha256, Sha2::Sha384, Sha2::Sha512] {
        let made = auth(AuthMethod::Rsa, &data(&rsa, Scheme::RsaPkcs1(hash))[16..]);
        for terms in [&OLDER, &TERMS, &permitted] {
            assert_eq!(checked(terms, &rsa, &made), Ok(()), "{hash:?}");
        }
    }
    let wrong = auth(AuthMethod::Rsa, &[0; 256]);
    assert_eq!(checked(&permitted, &rsa, &wrong), Err(SignatureError::Mismatch.into()));
    // RFC 8247 §3.2.1: never in method 14; sha1WithRSAEncryption.
    let mut sha1 = vec![15];
    sha1.extend(crate::crypto::hex("300d06092a864886f70d0101050500"));
    sha1.extend_from_slice(&made.data);
    let sha1 = auth(AuthMethod::Signature, &sha1);
    assert_eq!(checked(&permitted, &rsa, &sha1), Err(ProofError::Scheme(SchemeError::Unknown)));
}

#[test]
fn a_key_without_an_older_method_cannot_be_used_with_older_peers() {
    let permitted = Authenticator { legacy: Some(LEGACY), ..OLDER };

    assert_eq!(signed(&permitted, &made!("ed25519.pem")), Err(SignError::NoMethod));
    let refused = permitted.prove(
        &LocalProof::Certificate(Arc::new(Credential { chain: vec![], key: made!("ed25519.pem") })),
        &octets(Provider::Real, &[]),
    );
    assert_eq!(refused.unwrap_err().failure(), Failure::Local);
}

// test of RFC 7427 §4
#[test]
fn a_hash_that_we_did_not_announce_is_refused() {
    let keys = [
        (made!("rsa.pem"), Scheme::RsaPkcs1(Sha2::Sha256), HashAlgorithm::Sha256),
        (made!("rsa.pem"), Scheme::RsaPss(Sha2::Sha512), HashAlgorithm::Sha512),
        (made!("p384.pem"), Scheme::Ecdsa(Sha2::Sha384), HashAlgorithm::Sha384),
        (made!("ed25519.pem"), Scheme::Ed25519, HashAlgorithm::Identity),
    ];
    for (key, scheme, hash) in keys {
        let made = auth(AuthMethod::Signature, &data(&key, scheme));
        let others: Vec<HashAlgorithm> = ALL.iter().copied().filter(|other| *other != hash).collect();
        let check = |own_hashes: &[_]| {
            checked(&Authenticator { own_hashes, peer_hashes: None, ..TERMS }, &key, &made)
        };

        assert_eq!(check(ALL), Ok(()));
        assert_eq!(check(&[hash]), Ok(()));
        assert_eq!(check(&others), Err(ProofError::Hash(hash)));
        assert_eq!(check(&[]), Err(ProofError::Hash(hash)));
    }
}

// test of RFC 8247 §3.2.1
#[test]
fn pss_has_the_parameters_that_everybody_uses_or_is_refused() {
    let key = made!("rsa.pem");
    for hash in [Sha2::Sha256, Sha2::Sha384, Sha2::Sha512] {
        let good = data(&key, Scheme::RsaPss(hash));
        assert_eq!(checked(&TERMS, &key, &auth(AuthMethod::Signature, &good)), Ok(()));
        // Another salt; another hash for the mask.
        for (place, value) in [(1 + 66, 20), (1 + 59, 1 + good[1 + 59] % 3)] {
            let mut changed = good.clone();
            changed[place] = value;
            let refused = checked(&TERMS, &key, &auth(AuthMethod::Signature, &changed));
            assert_eq!(refused, Err(ProofError::Scheme(SchemeError::PssParameters)), "{place}");
        }
        // No parameters, which stand for SHA-1; nor the OID alone.
        for blob in ["300f06092a864886f70d01010a3000", "300b06092a864886f70d01010a"] {
            let blob = crate::crypto::hex(blob);
            let mut changed = vec![u8::try_from(blob.len()).unwrap()];
            changed.extend(blob);
            changed.extend(&good[73..]);
            let refused = checked(&TERMS, &key, &auth(AuthMethod::Signature, &changed));
            assert!(matches!(refused, Err(ProofError::Scheme(_))), "{refused:?}");
        }
    }
}

#[test]
fn authentication_data_that_ends_early_are_refused() {
    for (key, scheme) in [
        (made!("rsa.pem"), Scheme::RsaPss(Sha2::Sha256)),
        (made!("p256.pem"), Scheme::Ecdsa(Sha2::Sha256)),
        (made!("p256.pem"), Scheme::EcdsaFixed(Curve::P256)),
        (made!("ed25519.pem"), Scheme::Ed25519),
    ] {
        let (data, method) = (
            data(&key, scheme),
            match scheme.hash() {
                Some(_) => AuthMethod::Signature,
                None => AuthMethod::Ecdsa256,
            },
        );
        assert_eq!(checked(&TERMS, &key, &auth(method, &data)), Ok(()));
        for length in 0..data.len() {
            let refused = checked(&TERMS, &key, &auth(method, &data[..length]));
            assert!(refused.is_err(), "{scheme:?} {length}");
        }
        for place in 0..data.len() {
            let mut changed = data.clone();
            changed[place] ^= 1;
            let refused = checked(&TERMS, &key, &auth(method, &changed));
            assert!(refused.is_err(), "{scheme:?} {place}");
        }
    }
}

#[test]
fn a_method_that_is_none_of_ours_is_refused() {
    let [root, alice] = issued(&[mail(ALICE)], KeyKind::P256);
    let profiles = [ca_profile("ra", &["*"], &[&root]), psk_profile("branch", &["*"], "secret")];
    for method in [AuthMethod::Dss, AuthMethod::Null, 12.into(), 0.into(), 200.into()] {
        let refused = meet(&TERMS, &profiles, &id(ALICE), &auth(method, &[1; 40]), &[x509(&alice.der)]);

        let refused = refused.unwrap_err();
        assert_eq!(refused.failure(), Failure::Authentication);
        let expected = format!("{ALICE} comes with authentication method {method}, which is not accepted");
        assert_eq!(refused.to_string(), expected);
        assert_eq!(checked(&TERMS, &alice.key(), &auth(method, &[1; 40])), Err(ProofError::Method(method)));
    }
}

#[test]
fn a_signature_of_another_key_is_refused() {
    let [root, alice] = issued(&[mail(ALICE)], KeyKind::P256);
    let [_, thief] = issued(&[mail(ALICE)], KeyKind::P256);

    let refused = present(&thief, &[x509(&alice.der)], store(&[&root]), NOW).unwrap_err();

    assert_eq!(refused.failure(), Failure::Authentication);
    assert_eq!(
        refused.to_string(),
        "alice@example.net: signature: the signature is that of other data or another key"
    );
}

#[test]
fn a_certificate_gives_no_identity_that_is_not_in_it() {
    let names = [mail(ALICE), AltName::Dns("alice.example.net".into()), AltName::Ip(LOCAL)];
    let [root, alice] = issued(&names, KeyKind::P256);
    let profiles = [ca_profile("ra", &["*"], &[&root])];
    let local = by_certificate(&alice, &[]);
    let check = |claimed: &Id<'_>| {
        let made = proof(&TERMS, &local, claimed).unwrap();
        meet(&TERMS, &profiles, claimed, &made, &[x509(&alice.der)])
    };

    for own in [ALICE, "alice.example.net", "192.0.2.11", "O=Example, CN=alice", "o=EXAMPLE,CN=Alice"] {
        assert!(check(&id(own)).is_ok(), "{own}");
    }
    for other in ["bob@example.net", "bob.example.net", "192.0.2.12", "O=Example, CN=bob", "CN=alice"] {
        let refused = check(&id(other)).unwrap_err();
        assert_eq!(refused.failure(), Failure::Certificate);
        let expected = "the certificate is that of O=Example, CN=alice, which is somebody else";
        assert_eq!(refused.to_string(), format!("{other}: {expected}"));
    }
    for claimed in [id("keyid:alice"), Id::Null, Id::Gn(b"\x82\x01a"[..].into())] {
        let refused = check(&claimed).map(|_| String::new());
        assert_eq!(why(refused), CertificateError::Kind(claimed.kind()));
    }
    assert_eq!(
        check(&id("keyid:alice")).unwrap_err().to_string(),
        format!("alice: no certificate gives an identity of type {}", IdType::KeyId)
    );
}

#[test]
fn a_certificate_that_is_not_to_be_believed_is_refused() {
    let root = Recipe::ca("root").issue(None);
    let other = Recipe::ca("other").issue(None);
    let recipe = || Recipe::end_entity("O=Example, CN=alice", &[mail(ALICE)]);
    let (from, until) = ("20290101000000Z", "20310101000000Z");
    let alice = recipe().valid(from, until).issue(Some(&root));
    let check = |now: u64, store: TrustStore| {
        present(&alice, &[x509(&alice.der)], store, UnixTime::from_epoch(Duration::from_secs(now)))
    };
    let mut revoked = store(&[&root]);
    revoked.add_crl(&root.crl(&[2], UNTIL)).unwrap();
    let mut mailer = recipe().with(&[]).issue(Some(&root));
    // A purpose other than IKE.
    let purpose = extended_key_usage(&[&[0x2b, 6, 1, 5, 5, 7, 3, 4]]);

    assert_eq!(check(1_893_456_000, store(&[&root])), Ok("ra".into()));
    assert_eq!(chain_error(check(1_830_297_599, store(&[&root]))), ChainError::NotYetValid);
    assert_eq!(chain_error(check(1_930_000_000, store(&[&root]))), ChainError::Expired);
    assert_eq!(chain_error(check(1_893_456_000, store(&[&other]))), ChainError::UnknownCa);
    assert_eq!(chain_error(check(1_893_456_000, TrustStore::default())), ChainError::UnknownCa);
    assert_eq!(chain_error(check(1_893_456_000, revoked)), ChainError::Revoked);
    assert_eq!(
        why(present(&mailer, &[x509(&mailer.der)], store(&[&root]), NOW)),
        CertificateError::SomebodyElse { subject: "O=Example, CN=alice".into() }
    );
    let names = crate::crypto::x509::builder::alt_names(&[mail(ALICE)]);
    mailer = recipe().with(&[names.clone(), purpose]).issue(Some(&root));
    assert_eq!(chain_error(present(&mailer, &[x509(&mailer.der)], store(&[&root]), NOW)), ChainError::Usage);
    let ca = recipe().with(&[names, basic_constraints(true, None)]).issue(Some(&root));
    assert_eq!(chain_error(present(&ca, &[x509(&ca.der)], store(&[&root]), NOW)), ChainError::CaAsEndEntity);
    let refused = check(1_930_000_000, store(&[&root])).unwrap_err();
    assert_eq!(refused.failure(), Failure::Certificate);
    let expected = "alice@example.net: the certificate is refused: ra: a certificate has expired";
    assert_eq!(refused.to_string(), expected);
}

#[test]
fn the_first_certificate_is_that_of_the_key_and_the_others_lead_to_the_ca() {
    let root = Recipe::ca("root").issue(None);
    let ca = Recipe::ca("ca").issue(Some(&root));
    let alice = Recipe::end_entity("CN=alice", &[mail(ALICE)]).issue(Some(&ca));
    let bob = Recipe::end_entity("CN=bob", &[mail("bob@example.net")]).issue(Some(&ca));
    let check = |certificates: &[&Owner]| {
        let certificates: Vec<Cert<'_>> = certificates.iter().map(|owner| x509(&owner.der)).collect();
        present(&alice, &certificates, store(&[&root]), NOW)
    };

    assert_eq!(check(&[&alice, &ca]), Ok("ra".into()));
    assert_eq!(check(&[&alice, &bob, &root, &ca]), Ok("ra".into()));
    assert_eq!(chain_error(check(&[&alice])), ChainError::UnknownCa);
    let somebody = CertificateError::SomebodyElse { subject: "CN=bob".into() };
    assert_eq!(why(check(&[&bob, &alice, &ca])), somebody);
    assert_eq!(why(check(&[])), CertificateError::Missing);
}

// test of RFC 7296 §3.6
#[test]
fn what_is_no_certificate_is_ignored_and_mentioned() {
    let [root, alice] = issued(&[mail(ALICE)], KeyKind::P256);
    let other = |encoding| Cert { encoding, data: (&[1; 40][..]).into() };
    let (url, crl) = (other(CertEncoding::HashUrl), other(CertEncoding::Crl));
    let check = |certificates: &[Cert<'_>]| present(&alice, certificates, store(&[&root]), NOW);

    assert_eq!(check(&[crl.clone(), url.clone(), x509(&alice.der), url.clone()]), Ok("ra".into()));
    assert_eq!(
        check(&[url.clone(), crl, url]).unwrap_err().to_string(),
        "alice@example.net: no certificate came (ignored: HASH_URL, CRL)"
    );
    let refused = check(&[x509(&[0x30, 0])]).unwrap_err();
    assert!(
        refused.to_string().starts_with("alice@example.net: the certificate cannot be read: "),
        "{refused}"
    );
    assert_eq!(refused.failure(), Failure::Certificate);
}

#[test]
fn certificates_beyond_the_limits_are_not_looked_at() {
    let root = Recipe::ca("root").issue(None);
    let ca = Recipe::ca("ca").issue(Some(&root));
    let alice = Recipe::end_entity("CN=alice", &[mail(ALICE)]).issue(Some(&ca));
    let check = |between: &[Cert<'_>]| {
        let all = [&[x509(&alice.der)], between, &[x509(&ca.der)]].concat();
        present(&alice, &all, store(&[&root]), NOW)
    };
    let rubbish = vec![0; 40_000];
    let again = |count: usize| vec![x509(&alice.der); count];

    assert_eq!(check(&again(MAX_CERTIFICATES - 2)), Ok("ra".into()));
    for (between, number) in [(again(MAX_CERTIFICATES - 1), 1), (vec![x509(&rubbish)], 2)] {
        let refused = check(&between).unwrap_err().to_string();
        let expected = format!("no trusted CA issued it (ignored: {number} beyond the limits)");
        assert!(refused.ends_with(&expected), "{refused}");
    }
}

#[test]
fn the_provider_without_security_notices_another_key_too() {
    let terms = Authenticator { provider: Provider::Null, ..TERMS };
    let [root, alice] = issued(&[mail(ALICE)], KeyKind::Ed25519([1; 32]));
    let [_, thief] = issued(&[mail(ALICE)], KeyKind::Ed25519([2; 32]));
    let profiles = [ca_profile("ra", &["*"], &[&root])];
    let check = |owner: &Owner| {
        let made = proof(&terms, &by_certificate(owner, &[]), &id(ALICE)).unwrap();
        meet(&terms, &profiles, &id(ALICE), &made, &[x509(&alice.der)]).map_err(|refusal| refusal.failure())
    };

    assert!(check(&alice).is_ok());
    assert_eq!(check(&thief).err(), Some(Failure::Authentication));
}

#[test]
fn what_is_announced_is_what_we_know_and_each_hash_once() {
    let ours = crate::ike::wire::HashAlgorithms::new(&announcement()).unwrap();
    let theirs = [1, 2, 2, 9, 5, 2].map(crate::ike::wire::HashAlgorithm::from);
    let theirs = crate::ike::wire::HashAlgorithms::new(&theirs).unwrap();

    assert_eq!(announced(&ours), ALL);
    assert_eq!(announced(&theirs), [HashAlgorithm::Sha256, HashAlgorithm::Identity]);
}
