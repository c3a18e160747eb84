use std::time::Duration;

use super::builder::{
    CRL_SIGN, DIGITAL_SIGNATURE, FROM, KEY_CERT_SIGN, KEY_ENCIPHERMENT, KeyKind, Owner, Recipe, UNTIL,
    basic_constraints, extended_key_usage, extension, key_usage, permitted_dns, subject_alt_name,
};
use super::*;

/// 2030-01-01.
const NOW: UnixTime = UnixTime::from_epoch(Duration::from_secs(1_893_456_000));

/// A file of `testdata`, which OpenSSL made.
macro_rules! made {
    ($name:literal) => {
        include_bytes!(concat!("../testdata/", $name))
    };
}

fn one(pem: &[u8]) -> Certificate {
    let [certificate] = Certificate::list_from_pem(pem).unwrap().try_into().unwrap();
    certificate
}

fn at(time: &str) -> UnixTime {
    let octets = [&[tag::GENERALIZED_TIME, 15], time.as_bytes()].concat();
    Der::new(&octets).time("test").unwrap()
}

fn store(anchors: &[&Owner]) -> TrustStore {
    let mut store = TrustStore::new(Revocation::Relaxed);
    for anchor in anchors {
        store.add_anchor(anchor.certificate()).unwrap();
    }
    store
}

/// A root, a CA below it, and a gateway below that.
fn chain() -> [Owner; 3] {
    let root = Recipe::ca("root").issue(None);
    let ca = Recipe::ca("ca").issue(Some(&root));
    let gateway = Recipe::gateway("gw.example.com").issue(Some(&ca));
    [root, ca, gateway]
}

#[test]
fn what_openssl_wrote_is_read() {
    let gateway = one(made!("gateway.pem"));
    let [from, until] = [FROM, UNTIL].map(at);

    assert_eq!(gateway.validity(), (from, until));
    assert_eq!(
        gateway.alt_names(),
        [
            AltName::Dns("gw1.example.com".into()),
            AltName::Dns("*.vpn.example.com".into()),
            AltName::Rfc822("ops@example.com".into()),
            AltName::Ip("192.0.2.1".parse().unwrap()),
            AltName::Ip("2001:db8::1".parse().unwrap()),
        ]
    );
    assert!(gateway.is_for_ike() && !gateway.is_ca());
    assert_eq!(gateway.issuer(), one(made!("ca.pem")).subject());
    assert!(one(made!("ca.pem")).is_ca() && !one(made!("ca.pem")).is_for_ike());
}

#[test]
fn a_chain_that_openssl_made_is_believed_and_what_it_revoked_is_not() {
    let mut store = TrustStore::new(Revocation::Relaxed);
    store.add_anchor(one(made!("root.pem"))).unwrap();
    let ca = one(made!("ca.pem"));

    assert_eq!(store.validate(&one(made!("gateway.pem")), &[ca.der()], NOW), Ok(()));
    assert_eq!(store.validate(&one(made!("revoked.pem")), &[ca.der()], NOW), Ok(()));
    store.add_crls_from_pem(made!("ca-crl.pem")).unwrap();
    assert_eq!(store.validate(&one(made!("gateway.pem")), &[ca.der()], NOW), Ok(()));
    assert_eq!(store.validate(&one(made!("revoked.pem")), &[ca.der()], NOW), Err(ChainError::Revoked));
}

#[test]
fn the_key_of_a_certificate_is_that_of_its_owner() {
    let key = super::super::sign::PrivateKey::from_pem(made!("gateway-key.pem")).unwrap();

    assert_eq!(one(made!("gateway.pem")).public_key(), Ok(key.public()));
    assert_ne!(one(made!("ca.pem")).public_key(), Ok(key.public()));
}

// test of RFC 7296 §3.7
#[test]
fn a_ca_is_named_by_the_hash_of_its_key() {
    let [root, ..] = chain();

    assert_eq!(root.certificate().key_hash(), &digest::sha1(&[root.spki()]));
    assert!(store(&[&root]).key_hashes().eq([&digest::sha1(&[root.spki()])]));
}

#[test]
fn the_order_of_the_other_certificates_does_not_matter_nor_does_rubbish_among_them() {
    let root = Recipe::ca("root").issue(None);
    let one = Recipe::ca("one").issue(Some(&root));
    let two = Recipe::ca("two").issue(Some(&one));
    let gateway = Recipe::gateway("gw.example.com").issue(Some(&two));
    let store = store(&[&root]);
    let check = |others: &[&[u8]]| store.validate(&gateway.certificate(), others, NOW);

    assert_eq!(check(&[&one.der, &two.der]), Ok(()));
    assert_eq!(check(&[&two.der, &one.der]), Ok(()));
    assert_eq!(check(&[&gateway.der, &root.der, &two.der, &two.der, &one.der]), Ok(()));
    assert_eq!(check(&[&two.der]), Err(ChainError::UnknownCa));
}

#[test]
fn a_chain_to_a_ca_that_nobody_trusts_is_refused() {
    let [_, ca, gateway] = chain();
    // The same name with another key.
    let impostor = Recipe::ca("root").issue(None);
    let stranger = Recipe::ca("stranger").issue(None);

    let check = |anchor: &Owner| store(&[anchor]).validate(&gateway.certificate(), &[&ca.der], NOW);

    assert_eq!(check(&stranger), Err(ChainError::UnknownCa));
    assert_eq!(check(&impostor), Err(ChainError::Signature));
    assert_eq!(
        TrustStore::default().validate(&gateway.certificate(), &[&ca.der], NOW),
        Err(ChainError::UnknownCa)
    );
    // A root that the peer brings along is no anchor.
    let [root, ca, gateway] = chain();
    let brought = store(&[&stranger]).validate(&gateway.certificate(), &[&ca.der, &root.der], NOW);
    assert_eq!(brought, Err(ChainError::UnknownCa));
}

#[test]
fn every_certificate_on_the_way_has_its_time() {
    let root = Recipe::ca("root").valid("20250101000000Z", "20400101000000Z").issue(None);
    let ca = Recipe::ca("ca").valid("20260101000000Z", "20350101000000Z").issue(Some(&root));
    let gateway = Recipe::gateway("gw.example.com").issue(Some(&ca));
    let check = |time| store(&[&root]).validate(&gateway.certificate(), &[&ca.der], at(time));

    assert_eq!(check("20251231235959Z"), Err(ChainError::NotYetValid));
    assert_eq!(check("20260101000000Z"), Ok(()));
    assert_eq!(check("20350101000000Z"), Ok(()));
    assert_eq!(check("20350101000001Z"), Err(ChainError::Expired));
    assert_eq!(check("20360101000001Z"), Err(ChainError::Expired));
}

#[test]
fn an_anchor_has_its_time_too() {
    let root = Recipe::ca("root").valid("20260101000000Z", "20290101000000Z").issue(None);
    let gateway = Recipe::gateway("gw.example.com").issue(Some(&root));
    let check = |time| store(&[&root]).validate(&gateway.certificate(), &[], at(time));

    assert_eq!(check("20281231000000Z"), Ok(()));
    assert_eq!(check("20290101000001Z"), Err(ChainError::AnchorExpired));
}

#[test]
fn only_a_ca_issues_certificates() {
    let root = Recipe::ca("root").issue(None);
    let check = |recipe: Recipe| {
        let issuer = recipe.issue(Some(&root));
        let gateway = Recipe::gateway("gw.example.com").issue(Some(&issuer));
        store(&[&root]).validate(&gateway.certificate(), &[&issuer.der], NOW)
    };

    assert_eq!(check(Recipe::gateway("another.example.com")), Err(ChainError::NotCa));
    assert_eq!(
        check(Recipe::ca("ca").with(&[basic_constraints(false, None), key_usage(KEY_CERT_SIGN)])),
        Err(ChainError::NotCa)
    );
    assert_eq!(
        check(
            Recipe::ca("ca").with(&[basic_constraints(true, None), key_usage(DIGITAL_SIGNATURE | CRL_SIGN)])
        ),
        Err(ChainError::NotCa)
    );
    assert_eq!(check(Recipe::ca("ca").with(&[basic_constraints(true, None)])), Ok(()));
}

// test of RFC 5280 §4.2.1.9
#[test]
fn a_ca_has_no_more_cas_below_it_than_it_may() {
    let usage = key_usage(KEY_CERT_SIGN);
    let root = Recipe::ca("root").issue(None);
    let check = |length| {
        let one = Recipe::ca("one")
            .with(&[basic_constraints(true, Some(length)), usage.clone()])
            .issue(Some(&root));
        let two = Recipe::ca("two").issue(Some(&one));
        let gateway = Recipe::gateway("gw.example.com").issue(Some(&two));
        store(&[&root]).validate(&gateway.certificate(), &[&one.der, &two.der], NOW)
    };

    assert_eq!(check(0), Err(ChainError::PathLength));
    assert_eq!(check(1), Ok(()));
}

#[test]
fn a_chain_that_is_too_long_is_refused() {
    let root = Recipe::ca("root").issue(None);
    let names = ["1", "2", "3", "4", "5", "6", "7", "8"];
    let mut cas: Vec<Owner> = Vec::new();
    for name in names {
        let ca = Recipe::ca(name).issue(Some(cas.last().unwrap_or(&root)));
        cas.push(ca);
    }
    let gateway = Recipe::gateway("gw.example.com").issue(cas.last());
    let others: Vec<&[u8]> = cas.iter().map(|ca| ca.der.as_slice()).collect();

    let refused = store(&[&root]).validate(&gateway.certificate(), &others, NOW);

    assert_eq!(refused, Err(ChainError::TooComplex));
}

// test of RFC 5280 §4.2.1.10
#[test]
fn a_ca_is_responsible_for_its_names_only() {
    let root = Recipe::ca("root").issue(None);
    let ca = Recipe::ca("ca")
        .with(&[basic_constraints(true, None), permitted_dns("example.com")])
        .issue(Some(&root));
    let check = |name| {
        let gateway = Recipe::gateway(name).issue(Some(&ca));
        store(&[&root]).validate(&gateway.certificate(), &[&ca.der], NOW)
    };

    assert_eq!(check("gw.example.com"), Ok(()));
    assert_eq!(check("gw.example.net"), Err(ChainError::NameConstraint));
}

// test of RFC 4945 §5.1.3.2 and §5.1.3.12
#[test]
fn a_key_is_used_for_what_its_certificate_allows() {
    let [root, ca, _] = chain();
    let check = |extensions: &[Vec<u8>]| {
        let gateway = Recipe::gateway("gw.example.com").with(extensions).issue(Some(&ca));
        store(&[&root]).validate(&gateway.certificate(), &[&ca.der], NOW)
    };
    // id-kp-emailProtection
    let mail: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x04];

    assert_eq!(check(&[]), Ok(()));
    assert_eq!(check(&[key_usage(DIGITAL_SIGNATURE | KEY_ENCIPHERMENT)]), Ok(()));
    assert_eq!(check(&[key_usage(0x40)]), Ok(()));
    assert_eq!(check(&[key_usage(KEY_ENCIPHERMENT)]), Err(ChainError::Usage));
    for purpose in IKE_PURPOSES {
        assert_eq!(check(&[extended_key_usage(&[mail, purpose])]), Ok(()));
    }
    assert_eq!(check(&[extended_key_usage(&[mail])]), Err(ChainError::Usage));
    // On the way, too.
    let limited = Recipe::ca("limited")
        .with(&[basic_constraints(true, None), extended_key_usage(&[mail])])
        .issue(Some(&root));
    let gateway = Recipe::gateway("gw.example.com").issue(Some(&limited));
    let refused = store(&[&root]).validate(&gateway.certificate(), &[&limited.der], NOW);
    assert_eq!(refused, Err(ChainError::Usage));
}

#[test]
fn the_certificate_of_a_ca_authenticates_nobody() {
    let root = Recipe::ca("root").issue(None);
    let usage = key_usage(KEY_CERT_SIGN | DIGITAL_SIGNATURE);
    let ca = Recipe::ca("ca").with(&[basic_constraints(true, None), usage]).issue(Some(&root));

    assert_eq!(store(&[&root]).validate(&ca.certificate(), &[], NOW), Err(ChainError::CaAsEndEntity));
}

// test of RFC 5280 §4.2
#[test]
fn a_critical_extension_that_is_unknown_is_refused() {
    let root = Recipe::ca("root").issue(None);
    let check = |is_critical| {
        let unknown = extension(&[0x55, 0x1d, 0x7f], is_critical, &[5, 0]);
        let gateway = Recipe::gateway("gw.example.com").with(&[unknown]).issue(Some(&root));
        store(&[&root]).validate(&gateway.certificate(), &[], NOW)
    };

    assert_eq!(check(false), Ok(()));
    assert_eq!(check(true), Err(ChainError::CriticalExtension));
}

#[test]
fn what_its_ca_revoked_is_refused_wherever_it_stands() {
    let [root, ca, gateway] = chain();
    let sibling = Recipe::gateway("gw2.example.com").serial(9).issue(Some(&ca));
    let check = |lists: &[Vec<u8>]| {
        let mut store = store(&[&root]);
        for list in lists {
            store.add_crl(list).unwrap();
        }
        [&gateway, &sibling].map(|owner| store.validate(&owner.certificate(), &[&ca.der], NOW))
    };

    assert_eq!(check(&[ca.crl(&[], UNTIL)]), [Ok(()), Ok(())]);
    assert_eq!(check(&[ca.crl(&[9, 11], UNTIL)]), [Ok(()), Err(ChainError::Revoked)]);
    assert_eq!(check(&[root.crl(&[1], UNTIL)]), [Err(ChainError::Revoked); 2]);
    // A list that is out of date still names what was revoked.
    assert_eq!(check(&[ca.crl(&[2], "20270101000000Z")]), [Err(ChainError::Revoked), Ok(())]);
}

#[test]
fn a_list_that_its_ca_did_not_sign_is_no_list() {
    let [root, ca, gateway] = chain();
    let check = |list: &[u8]| {
        let mut store = store(&[&root]);
        store.add_crl(list).unwrap();
        store.validate(&gateway.certificate(), &[&ca.der], NOW)
    };
    // Another CA of the same name.
    let impostor = Recipe::ca("ca").issue(None);
    let stranger = Recipe::ca("stranger").issue(None);

    assert_eq!(check(&impostor.crl(&[2], UNTIL)), Err(ChainError::CrlSignature));
    assert_eq!(check(&stranger.crl(&[2], UNTIL)), Ok(()));
    // A CA whose key is not for lists.
    let usage = key_usage(KEY_CERT_SIGN);
    let silent = Recipe::ca("silent").with(&[basic_constraints(true, None), usage]).issue(Some(&root));
    let gateway = Recipe::gateway("gw.example.com").issue(Some(&silent));
    let mut store = store(&[&root]);
    store.add_crl(&silent.crl(&[2], UNTIL)).unwrap();
    let refused = store.validate(&gateway.certificate(), &[&silent.der], NOW);
    assert_eq!(refused, Err(ChainError::CrlSignature));
}

#[test]
fn where_lists_must_be_there_each_ca_has_one_that_is_not_out_of_date() {
    let [root, ca, gateway] = chain();
    let check = |lists: &[Vec<u8>]| {
        let mut store = TrustStore::new(Revocation::Strict);
        store.add_anchor(root.certificate()).unwrap();
        for list in lists {
            store.add_crl(list).unwrap();
        }
        store.validate(&gateway.certificate(), &[&ca.der], NOW)
    };
    let old = "20270101000000Z";

    assert_eq!(check(&[]), Err(ChainError::NoRevocationInformation));
    assert_eq!(check(&[ca.crl(&[], UNTIL)]), Err(ChainError::NoRevocationInformation));
    assert_eq!(check(&[root.crl(&[], UNTIL), ca.crl(&[], UNTIL)]), Ok(()));
    assert_eq!(check(&[root.crl(&[], UNTIL), ca.crl(&[], old)]), Err(ChainError::CrlExpired));
    assert_eq!(check(&[root.crl(&[], UNTIL), ca.crl(&[2], UNTIL)]), Err(ChainError::Revoked));
}

#[test]
fn a_certificate_that_was_changed_is_refused() {
    let [root, ca, gateway] = chain();
    let store = store(&[&root]);
    let mut read = 0;
    for at in 0..gateway.der.len() {
        let mut changed = gateway.der.clone();
        changed[at] ^= 1;
        if let Ok(certificate) = Certificate::from_der(&changed) {
            read += 1;
            assert!(store.validate(&certificate, &[&ca.der], NOW).is_err(), "octet {at}");
        }
    }
    assert!(read > 100, "{read}");
    for at in 0..gateway.der.len() {
        assert!(Certificate::from_der(&gateway.der[..at]).is_err());
    }
}

#[test]
fn only_the_certificate_of_a_ca_is_an_anchor() {
    let [_, _, gateway] = chain();
    let usage = key_usage(DIGITAL_SIGNATURE);
    let other = Recipe::ca("other").with(&[basic_constraints(true, None), usage]).issue(None);
    let mut store = TrustStore::default();

    assert_eq!(store.add_anchor(gateway.certificate()), Err(AnchorError::NotCa));
    assert_eq!(store.add_anchor(other.certificate()), Err(AnchorError::NotCa));
    assert_eq!(store.anchors().count(), 0);
}

#[test]
fn files_without_what_they_should_contain_are_refused() {
    let mut store = TrustStore::default();

    assert_eq!(Certificate::list_from_pem(made!("rsa.pem")), Err(CertificateError::Missing));
    assert_eq!(
        Certificate::list_from_pem(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"),
        Err(CertificateError::Pem)
    );
    assert!(matches!(
        Certificate::list_from_pem(b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"),
        Err(CertificateError::Malformed(_))
    ));
    assert_eq!(store.add_crls_from_pem(made!("gateway.pem")), Err(CrlError::Missing));
    assert_eq!(store.add_crls_from_pem(b"-----BEGIN X509 CRL-----\n"), Err(CrlError::Pem));
    assert_eq!(store.add_crl(&[0x30, 0]), Err(CrlError::Malformed));
    let both = [&made!("gateway.pem")[..], made!("ca.pem")].concat();
    assert_eq!(Certificate::list_from_pem(&both).unwrap(), [one(made!("gateway.pem")), one(made!("ca.pem"))]);
}

// test of RFC 4945 §5.1.3
#[test]
fn a_certificate_gives_the_identities_that_are_in_it() {
    let gateway = one(made!("gateway.pem"));
    let other = one(made!("ca.pem"));

    for identity in [
        Identity::Fqdn("gw1.example.com"),
        Identity::Fqdn("GW1.example.com"),
        Identity::Fqdn("a.vpn.example.com"),
        Identity::Rfc822("ops@EXAMPLE.com"),
        Identity::Ip("192.0.2.1".parse().unwrap()),
        Identity::Ip("2001:db8::1".parse().unwrap()),
        Identity::Dn(gateway.subject()),
    ] {
        assert!(gateway.has(&identity), "{identity:?}");
        assert!(!other.has(&identity), "{identity:?}");
    }
    for identity in [
        Identity::Fqdn("gw2.example.com"),
        Identity::Fqdn("vpn.example.com"),
        Identity::Fqdn("192.0.2.1"),
        Identity::Fqdn("ops@example.com"),
        Identity::Rfc822("gw1.example.com"),
        Identity::Ip("192.0.2.2".parse().unwrap()),
        Identity::Dn(other.subject()),
        Identity::Dn(&[]),
    ] {
        assert!(!gateway.has(&identity), "{identity:?}");
    }
}

#[test]
fn a_common_name_is_not_a_dns_name() {
    let owner = Recipe::gateway("gw.example.com").with(&[]).issue(None);

    assert!(!owner.certificate().has(&Identity::Fqdn("gw.example.com")));
    assert!(owner.certificate().has(&Identity::Dn(&builder::subject("GW.example.com"))));
}

// test of RFC 5280 §4.1.2.6
#[test]
fn an_empty_subject_is_nobody() {
    let owner = Recipe::gateway("gw.example.com").nameless().issue(None);

    assert!(!owner.certificate().has_subject());
    assert!(!owner.certificate().has(&Identity::Dn(owner.certificate().subject())));
}

#[test]
fn keys_of_every_kind_make_chains() {
    for kind in [KeyKind::P256, KeyKind::Rsa, KeyKind::Ed25519([7; 32])] {
        let root = Recipe::ca("C=CH, O=Example, CN=root").key(kind).issue(None);
        let recipe = Recipe::end_entity("C=CH, CN=gw", &[]).serial(300).key(kind);
        let gateway = recipe.issue(Some(&root));

        let certificate = gateway.certificate();
        assert_eq!(certificate.public_key(), Ok(gateway.key().public()));
        assert_eq!(dn_to_text(certificate.issuer()).as_deref(), Some("C=CH, O=Example, CN=root"));
        assert_eq!(store(&[&root]).validate(&certificate, &[], NOW), Ok(()));
        let mut strict = store(&[&root]);
        strict.add_crl(&root.crl(&[300], UNTIL)).unwrap();
        assert_eq!(strict.validate(&certificate, &[], NOW), Err(ChainError::Revoked));
    }
}

#[test]
fn a_name_with_something_hidden_in_it_makes_the_certificate_unreadable() {
    let hidden = subject_alt_name(&[(tag::context(2), b"gw.example.com\0.evil.test")]);
    let owner = Recipe::gateway("gw.example.com").with(&[hidden]).issue(None);

    let refused = Certificate::from_der(&owner.der);

    assert_eq!(refused, Err(DecodeError::Value { what: "subjectAltName", value: 0 }));
}

#[test]
fn whatever_octets_come_they_are_read_or_refused() {
    let mut rng = crate::rng::Rng::from_number(1);
    let [root, ca, gateway] = chain();
    let store = store(&[&root]);
    for _ in 0..300 {
        let mut octets = gateway.der.clone();
        for _ in 0..=rng.below(4) {
            let at = usize::try_from(rng.below(octets.len().try_into().unwrap())).unwrap();
            octets[at] = rng.array::<1>()[0];
        }
        // A peer may send anything as another certificate.
        assert_eq!(store.validate(&gateway.certificate(), &[&octets, &ca.der], NOW), Ok(()));
        if let Ok(certificate) = Certificate::from_der(&octets) {
            let _ = store.validate(&certificate, &[&ca.der], NOW);
        }
    }
}

#[test]
fn cas_that_issue_each_other_lead_nowhere_and_looking_ends() {
    // Two CAs, each with a certificate of the other, and each with one of itself.
    let one = Recipe::ca("one").issue(None);
    let two = Recipe::ca("two").issue(Some(&one));
    let circle = [&one, &two];
    let cross: Vec<Vec<u8>> =
        circle.iter().flat_map(|issuer| circle.iter().map(|owner| owner.cross(issuer))).collect();
    let gateway = Recipe::gateway("gw.example.com").issue(Some(&two));
    let others: Vec<&[u8]> = cross.iter().map(Vec::as_slice).collect();
    let stranger = Recipe::ca("stranger").issue(None);

    let refused = store(&[&stranger]).validate(&gateway.certificate(), &others, NOW);

    assert!(matches!(refused, Err(ChainError::UnknownCa | ChainError::TooComplex)), "{refused:?}");
    assert_eq!(store(&[&one]).validate(&gateway.certificate(), &others, NOW), Ok(()));
}

#[test]
fn a_list_that_was_changed_or_cut_says_nothing() {
    let [root, ca, gateway] = chain();
    let list = ca.crl(&[2], UNTIL);

    for length in 0..list.len() {
        assert_eq!(store(&[&root]).add_crl(&list[..length]), Err(CrlError::Malformed), "{length}");
    }
    // With another name it is another CA's, of which nobody has heard.
    let name = ca.certificate().subject().to_vec();
    let start = list.windows(name.len()).position(|part| part == name).unwrap();
    for position in 0..list.len() {
        let mut changed = list.clone();
        changed[position] ^= 1;
        let mut store = store(&[&root]);
        if store.add_crl(&changed).is_ok() {
            let result = store.validate(&gateway.certificate(), &[&ca.der], NOW);
            let is_in_name = (start..start + name.len()).contains(&position);
            assert_eq!(result.is_ok(), is_in_name, "{position}: {result:?}");
            assert_ne!(result, Err(ChainError::Revoked), "{position}");
        }
    }
}
