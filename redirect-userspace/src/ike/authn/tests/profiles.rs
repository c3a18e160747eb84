//! Which profile a peer belongs to.

use super::*;

const ALICE: &str = "alice@example.net";

/// What comes of a peer that knows this key, and asks for somebody.
fn by_key(
    profiles: &[Arc<Profile>],
    claimed: &str,
    secret: &str,
    asked: Option<&str>,
) -> Result<String, String> {
    let body = body(&id(claimed));
    let octets = octets(Provider::Real, &body);
    let made = TERMS.prove(&psk(secret).0, &octets).unwrap();
    let evidence = Evidence { octets: &octets, auth: &made, certificates: &[] };
    profile_of(TERMS.initiator(profiles, asked.map(id).as_ref(), LOCAL, evidence))
}

fn named(profile: Arc<Profile>, local_id: &str) -> Arc<Profile> {
    let mut profile = Arc::into_inner(profile).unwrap();
    profile.authentication.local_id = Claim::Id(id(local_id));
    Arc::new(profile)
}

#[test]
fn the_first_profile_that_is_for_the_identity_is_taken() {
    let profiles = [
        psk_profile("alice", &[ALICE], "secret"),
        psk_profile("ra", &["*@example.net", "*.example.net"], "secret"),
        psk_profile("anyone", &["*"], "secret"),
    ];

    assert_eq!(by_key(&profiles, ALICE, "secret", None), Ok("alice".into()));
    assert_eq!(by_key(&profiles, "ALICE@example.NET", "secret", None), Ok("alice".into()));
    assert_eq!(by_key(&profiles, "bob@example.net", "secret", None), Ok("ra".into()));
    assert_eq!(by_key(&profiles, "gw7.example.net", "secret", None), Ok("ra".into()));
    assert_eq!(by_key(&profiles, "example.net", "secret", None), Ok("anyone".into()));
    assert_eq!(
        by_key(&profiles[..2], "example.net", "secret", None),
        Err("no profile for example.net by psk: none is for this identity".into())
    );
    assert_eq!(
        by_key(&[], "example.net", "secret", None),
        Err("no profile for example.net by psk: none is for this identity".into())
    );
}

#[test]
fn the_key_chooses_among_profiles_for_the_same_identity() {
    let profiles = [
        psk_profile("one", &["*"], "first"),
        psk_profile("two", &["*"], "second"),
        psk_profile("three", &["*"], "second"),
        psk_profile("bob", &["bob"], "third"),
    ];

    assert_eq!(by_key(&profiles, ALICE, "first", None), Ok("one".into()));
    assert_eq!(by_key(&profiles, ALICE, "second", None), Ok("two".into()));
    // The key of a profile that is for somebody else does not help.
    assert_eq!(
        by_key(&profiles, ALICE, "third", None),
        Err("alice@example.net does not know the key: tried one, two, three".into())
    );
}

#[test]
fn a_profile_is_for_one_way_to_prove_oneself() {
    let [root, alice] = issued(&[mail(ALICE)], KeyKind::P256);
    let both = [psk_profile("key", &["*"], "secret"), ca_profile("certificate", &["*"], &[&root])];
    let made = proof(&TERMS, &by_certificate(&alice, &[]), &id(ALICE)).unwrap();
    let check = |profiles: &[Arc<Profile>]| {
        profile_of(meet(&TERMS, profiles, &id(ALICE), &made, &[x509(&alice.der)]))
    };

    assert_eq!(by_key(&both, ALICE, "secret", None), Ok("key".into()));
    assert_eq!(check(&both), Ok("certificate".into()));
    assert_eq!(check(&both[..1]), Err("no profile for alice@example.net by pubkey: key wants psk".into()));
    assert_eq!(
        by_key(&both[1..], ALICE, "secret", None),
        Err("no profile for alice@example.net by psk: certificate wants pubkey".into())
    );
}

#[test]
fn the_ca_chooses_among_profiles_for_the_same_identity() {
    let (staff, partners) = (Recipe::ca("staff").issue(None), Recipe::ca("partners").issue(None));
    let profiles = [ca_profile("staff", &["*"], &[&staff]), ca_profile("partners", &["*"], &[&partners])];
    let check = |issuer: &Owner| {
        let alice = Recipe::end_entity("CN=alice", &[mail(ALICE)]).issue(Some(issuer));
        let made = proof(&TERMS, &by_certificate(&alice, &[]), &id(ALICE)).unwrap();
        profile_of(meet(&TERMS, &profiles, &id(ALICE), &made, &[x509(&alice.der)]))
    };

    assert_eq!(check(&staff), Ok("staff".into()));
    assert_eq!(check(&partners), Ok("partners".into()));
    let reasons = "staff: no trusted CA issued it, partners: no trusted CA issued it";
    assert_eq!(
        check(&Recipe::ca("nobody").issue(None)),
        Err(format!("alice@example.net: the certificate is refused: {reasons}"))
    );
}

#[test]
fn subjects_of_an_organisation_are_a_profile() {
    let root = Recipe::ca("root").issue(None);
    let profiles = [ca_profile("example", &["C=CH, O=Example, CN=*"], &[&root])];
    let check = |subject: &str| {
        let owner = Recipe::end_entity(subject, &[]).issue(Some(&root));
        let made = proof(&TERMS, &by_certificate(&owner, &[]), &id(subject)).unwrap();
        profile_of(meet(&TERMS, &profiles, &id(subject), &made, &[x509(&owner.der)]))
    };

    assert_eq!(check("C=CH, O=Example, CN=alice"), Ok("example".into()));
    assert_eq!(
        check("C=CH, O=Other, CN=alice"),
        Err("no profile for C=CH, O=Other, CN=alice by pubkey: none is for this identity".into())
    );
}

// test of RFC 7296 §3.5
#[test]
fn whom_the_initiator_asks_for_chooses_the_profile() {
    let profiles = [
        named(psk_profile("one", &["*"], "secret"), "gw1.example.net"),
        named(psk_profile("two", &["*"], "secret"), "gw2.example.net"),
        psk_profile("address", &["*"], "secret"),
    ];

    assert_eq!(by_key(&profiles, ALICE, "secret", None), Ok("one".into()));
    assert_eq!(by_key(&profiles, ALICE, "secret", Some("GW2.example.net")), Ok("two".into()));
    assert_eq!(by_key(&profiles, ALICE, "secret", Some("192.0.2.11")), Ok("address".into()));
    // The address by which a client behind a NAT knows us.
    assert_eq!(by_key(&profiles, ALICE, "secret", Some("203.0.113.9")), Ok("address".into()));
    let near = "one is another one of ours, two is another one of ours, address is another one of ours";
    assert_eq!(
        by_key(&profiles, ALICE, "secret", Some("gw3.example.net")),
        Err(format!("no profile for alice@example.net by psk, who asks for gw3.example.net: {near}"))
    );
}

#[test]
fn a_detail_does_not_grow_with_the_number_of_profiles() {
    let many: Vec<_> = (0..50).map(|n| psk_profile(&format!("p{n}"), &["*"], "secret")).collect();
    let [_, alice] = issued(&[mail(ALICE)], KeyKind::P256);
    let made = proof(&TERMS, &by_certificate(&alice, &[]), &id(ALICE)).unwrap();

    assert_eq!(
        by_key(&many, ALICE, "other", None),
        Err("alice@example.net does not know the key: tried p0, p1, p2, p3, p4, …".into())
    );
    let refused = profile_of(meet(&TERMS, &many, &id(ALICE), &made, &[x509(&alice.der)]));
    assert!(refused.unwrap_err().ends_with("p3 wants psk, p4 wants psk, …"));
}

#[test]
fn the_responder_is_whom_the_connection_expects() {
    let [root, gateway] = issued(&[AltName::Dns("gw1.example.net".into())], KeyKind::P256);
    let connection = ca_profile("hq", &["gw1.example.net", "*.vpn.example.net"], &[&root]);
    let check = |claimed: &str, auth: &Auth<'_>| {
        let body = body(&id(claimed));
        let octets = octets(Provider::Real, &body);
        let certificates = [x509(&gateway.der)];
        TERMS.responder(&connection, Evidence { octets: &octets, auth, certificates: &certificates })
    };
    let local = by_certificate(&gateway, &[]);
    let made = |claimed: &str| proof(&TERMS, &local, &id(claimed)).unwrap();

    let peer = check("gw1.example.net", &made("gw1.example.net")).unwrap();
    assert_eq!(&**peer.shown(), "gw1.example.net");
    assert_eq!(peer.profile().name.as_str(), "hq");
    let refused = check("gw2.example.net", &made("gw2.example.net")).unwrap_err();
    assert_eq!(refused.failure(), Failure::OtherIdentity);
    assert_eq!(
        refused.to_string(),
        "the peer is gw2.example.net, expected was gw1.example.net or *.vpn.example.net"
    );
    // One of those who are expected, but not the one that the certificate is for.
    let refused = check("a.vpn.example.net", &made("a.vpn.example.net")).unwrap_err();
    assert_eq!(refused.failure(), Failure::Certificate);
    let code = proof(&TERMS, &psk("secret").0, &id("gw1.example.net")).unwrap();
    let refused = check("gw1.example.net", &code).unwrap_err();
    assert_eq!(refused.failure(), Failure::Authentication);
    assert_eq!(refused.to_string(), "gw1.example.net comes with psk, expected was pubkey");
    let other = made("a.vpn.example.net");
    assert_eq!(check("gw1.example.net", &other).unwrap_err().failure(), Failure::Authentication);
}
