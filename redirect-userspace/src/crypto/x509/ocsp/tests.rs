use super::*;
use crate::crypto::x509::builder::{
    DIGITAL_SIGNATURE, KeyKind, Owner, Recipe, UNTIL, extended_key_usage, extension, key_usage,
};
use crate::crypto::x509::responder::{Answer, unsuccessful};
use crate::crypto::x509::{ChainError, Revocation, TrustStore};

/// 2030-01-01.
const NOW: UnixTime = UnixTime::from_epoch(Duration::from_secs(1_893_456_000));
/// Serial number of a CA's certificate.
const CA: u32 = 1;
/// Serial number of the gateway's.
const GATEWAY: u32 = 2;

/// A root, a CA below it, and a gateway below that.
struct World {
    root: Owner,
    ca: Owner,
    gateway: Owner,
}

impl World {
    fn new() -> Self {
        let root = Recipe::ca("root").issue(None);
        let ca = Recipe::ca("ca").issue(Some(&root));
        let gateway = Recipe::gateway("gw.example.com").issue(Some(&ca));
        Self { root, ca, gateway }
    }

    fn store(&self, revocation: Revocation) -> TrustStore {
        let mut store = TrustStore::new(revocation);
        store.add_anchor(self.root.certificate()).unwrap();
        store
    }

    fn check(&self, store: &TrustStore, staples: &[&[u8]]) -> Result<(), ChainError> {
        store.validate_stapled(&self.gateway.certificate(), &[&self.ca.der], staples, NOW)
    }

    /// What comes of a response about the gateway where the CA has a list, and something must be known.
    fn strict(&self, staple: &[u8]) -> Result<(), ChainError> {
        let mut store = self.store(Revocation::Strict);
        store.add_crl(&self.root.crl(&[], UNTIL)).unwrap();
        self.check(&store, &[staple])
    }
}

fn refused(error: OcspError) -> Result<(), ChainError> {
    Err(ChainError::Ocsp(error))
}

#[test]
fn a_response_of_the_ca_stands_in_for_a_list() {
    let world = World::new();
    let [ca, gateway] = [Answer::good(CA).sign(&world.root), Answer::good(GATEWAY).sign(&world.ca)];
    let strict = world.store(Revocation::Strict);

    assert_eq!(world.check(&strict, &[]), Err(ChainError::NoRevocationInformation));
    assert_eq!(world.check(&strict, &[&gateway]), Err(ChainError::NoRevocationInformation));
    assert_eq!(world.check(&strict, &[&ca]), Err(ChainError::NoRevocationInformation));
    assert_eq!(world.check(&strict, &[&gateway, &ca]), Ok(()));
    assert_eq!(world.check(&strict, &[&ca, &gateway]), Ok(()));
    assert_eq!(world.strict(&gateway), Ok(()));
}

#[test]
fn keys_of_every_kind_hashes_of_both_kinds_and_both_names_will_do() {
    for kind in [KeyKind::P256, KeyKind::Rsa, KeyKind::Ed25519([3; 32])] {
        let root = Recipe::ca("root").key(kind).issue(None);
        let ca = Recipe::ca("ca").key(kind).issue(Some(&root));
        let gateway = Recipe::gateway("gw.example.com").issue(Some(&ca));
        let world = World { root, ca, gateway };
        let good = Answer::good(GATEWAY);

        for answer in [good.clone(), good.clone().sha256(), good.clone().by_name(), good.by_name().sha256()] {
            assert_eq!(world.strict(&answer.sign(&world.ca)), Ok(()), "{kind:?} {answer:?}");
        }
    }
}

#[test]
fn what_a_response_says_is_revoked_is_refused_under_every_rule() {
    let world = World::new();
    let old = Some("20270101000000Z");
    let revoked = Answer::revoked(GATEWAY).sign(&world.ca);
    let long_ago = Answer::revoked(GATEWAY).valid("20260101000000Z", old).sign(&world.ca);
    let good = Answer::good(GATEWAY).sign(&world.ca);

    for rule in [Revocation::Relaxed, Revocation::IfUri, Revocation::Strict] {
        let store = world.store(rule);
        for staples in [&[&*revoked][..], &[&long_ago], &[&good, &revoked], &[&revoked, &good]] {
            assert_eq!(world.check(&store, staples), Err(ChainError::Revoked), "{rule:?}");
        }
        // That of a CA on the way.
        let ca = Answer::revoked(CA).sign(&world.root);
        assert_eq!(world.check(&store, &[&ca]), Err(ChainError::Revoked), "{rule:?}");
    }
}

#[test]
fn a_list_and_a_response_do_not_outdo_each_other() {
    let world = World::new();
    let good = Answer::good(GATEWAY).sign(&world.ca);
    let mut store = world.store(Revocation::Relaxed);
    store.add_crl(&world.ca.crl(&[GATEWAY], UNTIL)).unwrap();

    assert_eq!(world.check(&store, &[&good]), Err(ChainError::Revoked));
}

#[test]
fn a_response_that_says_nothing_does_no_harm_where_nothing_must_be_known() {
    let world = World::new();
    let stranger = Recipe::ca("stranger").issue(None);
    let store = world.store(Revocation::Relaxed);

    for staple in [
        vec![],
        vec![0x30, 0],
        unsuccessful(6),
        Answer::unknown(GATEWAY).sign(&world.ca),
        Answer::revoked(9).sign(&world.ca),
        // What a stranger calls revoked is not.
        Answer::revoked(GATEWAY).sign_by(&world.ca, &stranger),
    ] {
        assert_eq!(world.check(&store, &[&staple]), Ok(()), "{staple:?}");
    }
}

#[test]
fn a_response_has_its_time() {
    let world = World::new();
    let at = |this: &'static str, next: Option<&'static str>| {
        world.strict(&Answer::good(GATEWAY).valid(this, next).sign(&world.ca))
    };

    assert_eq!(at("20291231000000Z", Some("20300102000000Z")), Ok(()));
    assert_eq!(at("20291231000000Z", Some("20300101000000Z")), Ok(()));
    assert_eq!(at("20291231000000Z", Some("20291231235959Z")), refused(OcspError::Outdated));
    // Clocks differ a little.
    assert_eq!(at("20300101000500Z", Some("20300102000000Z")), Ok(()));
    assert_eq!(at("20300101000501Z", Some("20300102000000Z")), refused(OcspError::NotYetValid));
    // Without a time for the next one it counts for an hour.
    assert_eq!(at("20291231230000Z", None), Ok(()));
    assert_eq!(at("20291231225959Z", None), refused(OcspError::Outdated));
}

#[test]
fn a_response_is_about_one_certificate_of_one_ca() {
    let world = World::new();
    // Another CA of the same name, and one with another name.
    let (twin, other) = (Recipe::ca("ca").issue(None), Recipe::ca("other").issue(Some(&world.root)));

    for staple in [
        Answer::good(9).sign(&world.ca),
        Answer::good(GATEWAY).sign(&twin),
        Answer::good(GATEWAY).sign(&other),
        // The CA below the root has another serial number than the gateway.
        Answer::good(GATEWAY).sign(&world.root),
    ] {
        assert_eq!(world.strict(&staple), refused(OcspError::OtherCertificate));
    }
}

// test of RFC 6960 §4.2.2.2
#[test]
fn a_responder_has_a_certificate_of_the_ca_for_it() {
    let world = World::new();
    let responder = |issuer: &Owner, purposes: &[&[u8]]| {
        let usage = [key_usage(DIGITAL_SIGNATURE), extended_key_usage(purposes)];
        Recipe::end_entity("responder", &[]).with(&usage).serial(7).issue(Some(issuer))
    };
    let good = Answer::good(GATEWAY);
    let right = responder(&world.ca, &[OCSP_SIGNING]);

    assert_eq!(world.strict(&good.sign_by(&world.ca, &right)), Ok(()));
    assert_eq!(world.strict(&good.clone().by_name().sign_by(&world.ca, &right)), Ok(()));
    let revoked = Answer::revoked(GATEWAY).sign_by(&world.ca, &right);
    assert_eq!(world.strict(&revoked), Err(ChainError::Revoked));

    let server: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
    let plain = Recipe::end_entity("responder", &[]).serial(7).issue(Some(&world.ca));
    let before = Recipe::end_entity("responder", &[])
        .with(&[extended_key_usage(&[OCSP_SIGNING])])
        .valid("20260101000000Z", "20291231235959Z")
        .issue(Some(&world.ca));
    let twin = Recipe::ca("ca").issue(None);
    for wrong in [
        responder(&world.ca, &[server]),
        plain,
        before,
        // Of the root, which speaks for the CA and not for what the CA has issued.
        responder(&world.root, &[OCSP_SIGNING]),
        // Of somebody with the name of the CA.
        responder(&twin, &[OCSP_SIGNING]),
        // The gateway for itself.
        Recipe::gateway("gw.example.com").issue(Some(&world.ca)),
    ] {
        assert_eq!(world.strict(&good.sign_by(&world.ca, &wrong)), refused(OcspError::Responder));
    }
}

#[test]
fn a_responder_that_was_revoked_says_nothing() {
    let world = World::new();
    let usage = [extended_key_usage(&[OCSP_SIGNING])];
    let responder = Recipe::end_entity("responder", &[]).with(&usage).serial(7).issue(Some(&world.ca));
    let staple = Answer::good(GATEWAY).sign_by(&world.ca, &responder);
    let check = |revoked: &[u32]| {
        let mut store = world.store(Revocation::Strict);
        store.add_crl(&world.root.crl(&[], UNTIL)).unwrap();
        // Out of date, so that the response is needed.
        store.add_crl(&world.ca.crl(revoked, "20270101000000Z")).unwrap();
        world.check(&store, &[&staple])
    };

    assert_eq!(check(&[]), Ok(()));
    assert_eq!(check(&[7]), refused(OcspError::Responder));
}

#[test]
fn a_response_without_the_responders_certificate_or_with_another_signature_is_refused() {
    let world = World::new();
    let twin = Recipe::ca("ca").issue(None);
    let good = Answer::good(GATEWAY).by_name();

    // The twin signs in the CA's name, about the CA's certificate.
    assert_eq!(world.strict(&good.sign_by(&world.ca, &twin)), refused(OcspError::Signature));
    let usage = [extended_key_usage(&[OCSP_SIGNING])];
    let responder = Recipe::end_entity("responder", &[]).with(&usage).issue(Some(&world.ca));
    let with = good.sign_by(&world.ca, &responder);
    assert_eq!(world.strict(&with), Ok(()));
    // The last octets are those of the responder's certificate.
    let mut changed = with;
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(world.strict(&changed), refused(OcspError::Responder));
}

#[test]
fn whatever_octet_is_wrong_or_missing_nothing_is_believed() {
    let world = World::new();
    let staple = Answer::good(GATEWAY).sign(&world.ca);

    for length in 0..staple.len() {
        assert!(world.strict(&staple[..length]).is_err(), "{length}");
    }
    for position in 0..staple.len() {
        let mut changed = staple.clone();
        changed[position] ^= 0x20;
        // The name of the responder is not what makes it the CA: that is the signature, over all of it.
        assert!(world.strict(&changed).is_err(), "{position}");
    }
    let longer = [&staple[..], &[0]].concat();
    assert!(world.strict(&longer).is_err());
}

#[test]
fn what_cannot_be_understood_is_named() {
    let world = World::new();

    for (staple, error) in [
        (unsuccessful(6), OcspError::Unsuccessful(6)),
        (Answer::unknown(GATEWAY).sign(&world.ca), OcspError::Unknown),
        (Answer::good(GATEWAY).critical().sign(&world.ca), OcspError::CriticalExtension),
        (Answer::good(GATEWAY).times(65).sign(&world.ca), OcspError::TooLong),
        (vec![0; MAX_RESPONSE + 1], OcspError::TooLong),
    ] {
        assert_eq!(world.strict(&staple), refused(error));
    }
    assert_eq!(world.strict(&Answer::good(GATEWAY).times(64).sign(&world.ca)), Ok(()));
}

#[test]
fn no_more_responses_are_looked_at_than_a_chain_needs() {
    let world = World::new();
    let strict = world.store(Revocation::Strict);
    let [ca, gateway] = [Answer::good(CA).sign(&world.root), Answer::good(GATEWAY).sign(&world.ca)];
    let rubbish: &[u8] = &[0x30, 0];

    assert_eq!(world.check(&strict, &[rubbish, rubbish, &ca, &gateway]), Ok(()));
    assert!(world.check(&strict, &[rubbish, rubbish, rubbish, &ca, &gateway]).is_err());
}

#[test]
fn something_must_be_known_of_those_who_say_where_it_can_be_had() {
    let root = Recipe::ca("root").issue(None);
    // authorityInfoAccess with an OCSP responder, and cRLDistributionPoints: as DER.
    let ocsp = extension(
        &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x01],
        false,
        &[
            0x30, 0x10, 0x30, 0x0e, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x86, 0x02,
            b'h', b':',
        ],
    );
    let issuers = extension(
        &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x01],
        false,
        &[
            0x30, 0x10, 0x30, 0x0e, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02, 0x86, 0x02,
            b'h', b':',
        ],
    );
    let lists = extension(
        &[0x55, 0x1d, 0x1f],
        false,
        &[0x30, 0x0a, 0x30, 0x08, 0xa0, 0x06, 0xa0, 0x04, 0x86, 0x02, b'h', b':'],
    );
    let check = |extensions: &[Vec<u8>], staples: &[&[u8]]| {
        let gateway = Recipe::end_entity("gw", &[]).with(extensions).issue(Some(&root));
        let mut store = TrustStore::new(Revocation::IfUri);
        store.add_anchor(root.certificate()).unwrap();
        store.validate_stapled(&gateway.certificate(), &[], staples, NOW)
    };
    let good = Answer::good(GATEWAY).sign(&root);

    assert_eq!(check(&[], &[]), Ok(()));
    assert_eq!(check(&[issuers], &[]), Ok(()));
    for extension in [ocsp, lists] {
        assert_eq!(check(std::slice::from_ref(&extension), &[]), Err(ChainError::NoRevocationInformation));
        assert_eq!(check(&[extension], &[&good]), Ok(()));
    }
}

#[test]
fn the_newest_list_of_a_ca_is_the_one_that_counts() {
    let world = World::new();
    let mut store = world.store(Revocation::Strict);
    let root = world.root.crl(&[], UNTIL);
    for list in [&world.ca.crl_from("20260101000000Z", "20270101000000Z", &[]), &root] {
        store.add_crl(list).unwrap();
    }
    assert_eq!(world.check(&store, &[]), Err(ChainError::CrlExpired));

    store.add_crl(&world.ca.crl_from("20290101000000Z", UNTIL, &[])).unwrap();
    assert_eq!(world.check(&store, &[]), Ok(()));
    store.add_crl(&world.ca.crl_from("20290201000000Z", UNTIL, &[GATEWAY])).unwrap();
    assert_eq!(world.check(&store, &[]), Err(ChainError::Revoked));
}

#[test]
fn a_response_about_ours_is_checked_as_peers_will() {
    let world = World::new();
    let (ours, issuer) = (world.gateway.certificate(), world.ca.certificate());
    let read = |staple: &[u8], issuer: Option<&Certificate>| {
        Staple::read(staple, &ours, issuer, NOW).map(|staple| staple.is_current(NOW))
    };
    let good = Answer::good(GATEWAY);
    let twin = Recipe::ca("ca").issue(None);

    assert_eq!(read(&good.sign(&world.ca), Some(&issuer)), Ok(true));
    assert_eq!(read(&good.sign(&world.ca), None), Ok(true));
    // Out of date, or too early: it is kept, and not shown.
    let old = good.clone().valid("20260101000000Z", Some("20270101000000Z")).sign(&world.ca);
    assert_eq!(read(&old, Some(&issuer)), Ok(false));
    let early = good.clone().valid("20310101000000Z", Some("20320101000000Z")).sign(&world.ca);
    assert_eq!(read(&early, Some(&issuer)), Ok(false));
    assert_eq!(read(&Answer::revoked(GATEWAY).sign(&world.ca), Some(&issuer)), Err(OcspError::Revoked));
    assert_eq!(read(&Answer::unknown(GATEWAY).sign(&world.ca), None), Err(OcspError::Unknown));
    assert_eq!(read(&Answer::good(9).sign(&world.ca), None), Err(OcspError::OtherCertificate));
    assert_eq!(read(&good.sign(&twin), Some(&issuer)), Err(OcspError::OtherCertificate));
    assert_eq!(read(&good.by_name().sign_by(&world.ca, &twin), Some(&issuer)), Err(OcspError::Signature));
}

#[test]
fn what_openssl_made_is_believed() {
    let read = |pem: &[u8]| Certificate::list_from_pem(pem).unwrap().remove(0);
    macro_rules! made {
        ($name:literal) => {
            include_bytes!(concat!("../../testdata/", $name))
        };
    }
    let (gateway, ca) = (read(made!("gateway.pem")), read(made!("ca.pem")));
    let mut store = TrustStore::new(Revocation::Strict);
    store.add_anchor(ca.clone()).unwrap();
    let check = |owner: &Certificate, staple: &[u8]| store.validate_stapled(owner, &[], &[staple], NOW);

    assert_eq!(check(&gateway, made!("gateway-ocsp.der")), Ok(()));
    assert_eq!(check(&gateway, made!("gateway-ocsp-delegated.der")), Ok(()));
    assert_eq!(check(&read(made!("revoked.pem")), made!("revoked-ocsp.der")), Err(ChainError::Revoked));
    let staple = Staple::read(made!("gateway-ocsp.der"), &gateway, Some(&ca), NOW).unwrap();
    assert!(staple.is_current(NOW));
}

#[test]
fn whatever_octets_come_reading_ends() {
    let world = World::new();
    let staple = Answer::good(GATEWAY).sign(&world.ca);
    let mut rng = crate::rng::Rng::from_number(7);

    for _ in 0..2_000 {
        let mut changed = staple.clone();
        for _ in 0..4 {
            let [position, value] = rng.array::<2>();
            let length = changed.len();
            changed[usize::from(position) % length] = value;
        }
        // Nothing but the original is to be believed.
        assert!(changed == staple || world.strict(&changed).is_err());
    }
}
