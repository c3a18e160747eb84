//! Who we are, what we send and what we ask for.

use super::*;
use crate::ike::wire::CertRequest;

fn authentication(local_id: Claim, local: LocalProof) -> Authentication {
    Authentication { local_id, remote_ids: vec![], local, remote: psk("theirs").1 }
}

#[test]
fn who_we_are_is_what_is_configured_or_what_our_proof_says() {
    let (gw1, asked) = (id("gw1.example.net"), id("gw2.example.net"));
    let [_, owner] = issued(&[mail("gw@example.net")], KeyKind::P256);
    let nameless = Recipe::end_entity("-", &[AltName::Dns("gw1.example.net".into())]).nameless().issue(None);
    let nobody = Recipe::end_entity("-", &[]).nameless().issue(None);
    let who = |local_id: &Claim, local: LocalProof, asked: Option<&Id<'_>>| {
        own_id(&authentication(local_id.clone(), local), asked, LOCAL)
    };
    let certificate = |owner: &Owner| by_certificate(owner, &[]);
    let configured = Claim::Id(gw1.clone());

    assert_eq!(who(&configured, psk("x").0, None), gw1);
    assert_eq!(who(&configured, certificate(&owner), Some(&asked)), gw1);
    assert_eq!(who(&Claim::Implied, psk("x").0, None), id("192.0.2.11"));
    assert_eq!(who(&Claim::Implied, psk("x").0, Some(&asked)), id("192.0.2.11"));
    assert_eq!(who(&Claim::Implied, psk("x").0, Some(&id("203.0.113.9"))), id("203.0.113.9"));
    assert_eq!(who(&Claim::Implied, certificate(&owner), None), id("O=Example, CN=alice"));
    assert_eq!(who(&Claim::Implied, certificate(&owner), Some(&asked)), id("O=Example, CN=alice"));
    // Clients compare the IDr of the answer with what they asked for.
    let alias = id("gw@EXAMPLE.net");
    assert_eq!(who(&Claim::Implied, certificate(&owner), Some(&alias)), alias);
    assert_eq!(who(&Claim::Implied, certificate(&nameless), None), gw1);
    assert_eq!(who(&Claim::Implied, certificate(&nobody), None), id("192.0.2.11"));
}

#[test]
fn a_subject_is_sent_as_it_is_in_the_certificate() {
    let [_, owner] = issued(&[], KeyKind::P256);
    let claim = Claim::Id(id("o=EXAMPLE, CN=Alice"));

    let sent = own_id(&authentication(claim, by_certificate(&owner, &[])), None, LOCAL);

    assert_eq!(sent, Id::Dn(owner.certificate().subject().into()));
}

// test of RFC 7296 §3.6
#[test]
fn our_certificate_goes_first_then_those_of_cas_without_the_root() {
    let root = Recipe::ca("root").issue(None);
    let ca = Recipe::ca("ca").issue(Some(&root));
    let owner = Recipe::gateway("gw1.example.net").issue(Some(&ca));
    let single = Recipe::gateway("self.example.net").issue(None);

    let local = by_certificate(&owner, &[&ca, &root]);
    assert_eq!(certificates(&local), [x509(&owner.der), x509(&ca.der)]);
    assert_eq!(certificates(&by_certificate(&single, &[])), [x509(&single.der)]);
    assert_eq!(certificates(&by_certificate(&owner, &[&ca; 20])).len(), 8);
    assert_eq!(certificates(&psk("secret").0), []);
}

// test of RFC 7296 §3.7
#[test]
fn cas_are_asked_for_each_once_and_none_when_they_are_too_many() {
    let (one, two) = (Recipe::ca("one").issue(None), Recipe::ca("two").issue(None));
    let profiles = [
        psk_profile("key", &["*"], "secret"),
        ca_profile("a", &["*"], &[&one, &two]),
        ca_profile("b", &["*"], &[&two]),
    ];
    let ask = |profiles: &[Arc<Profile>]| request(profiles.iter().map(AsRef::as_ref));
    let hash = |owner: &Owner| *owner.certificate().key_hash();

    assert_eq!(ask(&profiles), Some(CertRequest::x509(&[hash(&one), hash(&two)])));
    assert_eq!(ask(&profiles[..1]), None);
    let many: Vec<Owner> = (0..30).map(|n| Recipe::ca(&n.to_string()).issue(None)).collect();
    let many = [ca_profile("many", &["*"], &many.iter().collect::<Vec<_>>())];
    assert_eq!(ask(&many), Some(CertRequest::x509(&[])));
}

#[test]
fn a_request_is_met_by_the_cas_above_our_certificate() {
    let root = Recipe::ca("root").issue(None);
    let ca = Recipe::ca("ca").issue(Some(&root));
    let other = Recipe::ca("other").issue(None);
    let owner = Recipe::gateway("gw1.example.net").issue(Some(&ca));
    let ours = credential(&owner, &[&ca]);
    let knows = [ca_profile("a", &["*"], &[&root, &other]), psk_profile("b", &["*"], "secret")];
    let ask = |owners: &[&Owner]| {
        let hashes: Vec<_> = owners.iter().map(|owner| *owner.certificate().key_hash()).collect();
        CertRequest::x509(&hashes)
    };

    for met in [vec![], vec![ask(&[])], vec![ask(&[&ca])], vec![ask(&[&other]), ask(&[&other, &root])]] {
        assert!(suits(&ours, &met, &knows), "{met:?}");
    }
    for unmet in [vec![ask(&[&other])], vec![ask(&[&owner])]] {
        assert!(!suits(&ours, &unmet, &knows), "{unmet:?}");
    }
    // A root that is nowhere here is not known to be above.
    assert!(!suits(&ours, &[ask(&[&root])], &[]));
    // Requests for something else than certificates.
    let url = CertRequest::decode(&[12]).unwrap();
    assert!(suits(&ours, &[url], &[]));
}
