//! CERT and CERTREQ: chains, OCSP responses beside them, and certificates that are elsewhere.

use std::sync::Arc;

use super::*;
use crate::crypto::x509::builder::{KeyKind, Owner, Recipe, UNTIL};
use crate::crypto::x509::responder::Answer;
use crate::crypto::x509::{AltName, Certificate, Revocation, Staple, TrustStore};
use crate::ike::config::{Credential, LocalProof, RemoteProof};
use crate::ike::wire::{
    Cert, CertEncoding, CertRequest, Notify, NotifyContent, NotifyType, Payload, PayloadType,
};
use crate::testing::pair::profile;
use crate::time::UnixTime;

const ALICE: &str = "alice@example.net";
const GATEWAY: &str = "vpn.example.net";
/// When both of them meet.
const NOW: UnixTime = UnixTime::from_epoch(std::time::Duration::from_secs(1_800_000_000));

/// A CA, and both sides with certificates of it.
struct World {
    root: Owner,
    alice: Owner,
    gateway: Owner,
}

impl World {
    fn new() -> Self {
        let root = Recipe::ca("root").issue(None);
        let alice = alice().issue(Some(&root));
        let gateway = Recipe::gateway(GATEWAY).serial(3).issue(Some(&root));
        Self { root, alice, gateway }
    }

    fn trust(&self, rule: Revocation) -> RemoteProof {
        let mut store = TrustStore::new(rule);
        store.add_anchor(self.root.certificate()).unwrap();
        RemoteProof::Certificate(Arc::new(store))
    }

    /// What somebody shows, with what the CA says about it.
    fn shows(&self, owner: &Owner, answer: Option<&Answer>) -> LocalProof {
        let mut certificate = owner.certificate();
        if let Some(answer) = answer {
            let staple = Staple::read(&answer.sign(&self.root), &certificate, None, NOW).unwrap();
            certificate = certificate.with_staple(staple);
        }
        credential(vec![certificate], owner)
    }

    /// The two of them, with a rule and a response each.
    fn plan(&self, client: (Revocation, Option<&Answer>), gateway: (Revocation, Option<&Answer>)) -> Plan {
        let plan = Plan::with(
            profile(ALICE, GATEWAY, self.shows(&self.alice, client.1), self.trust(client.0)),
            profile(GATEWAY, "*@example.net", self.shows(&self.gateway, gateway.1), self.trust(gateway.0)),
        );
        Plan { provider: Provider::Null, ..plan }
    }
}

fn alice() -> Recipe {
    Recipe::end_entity("CN=alice", &[AltName::Rfc822(ALICE.into())])
}

fn credential(chain: Vec<Certificate>, owner: &Owner) -> LocalProof {
    LocalProof::Certificate(Arc::new(Credential { chain, key: owner.key() }))
}

/// The first four messages, opened.
fn messages(pair: &mut Pair) -> Vec<Plain> {
    pair.initiate();
    pair.settle();
    pair.sent.iter().take(4).map(|flying| Plain::open(&flying.octets)).collect()
}

fn encodings(message: &Plain) -> Vec<CertEncoding> {
    let payloads = message.payloads();
    let encoding = |payload: &Payload<'_>| {
        if let Payload::Cert(certificate) = payload { Some(certificate.encoding) } else { None }
    };
    payloads.iter().filter_map(encoding).collect()
}

fn requests(message: &Plain) -> Vec<CertRequest<'_>> {
    let chain = message.chain();
    let requests = chain.iter().filter(|payload| payload.kind == PayloadType::CertRequest);
    requests.map(|payload| CertRequest::decode(payload.body).unwrap()).collect()
}

/// Why somebody was refused, in words.
fn details(events: &[Event]) -> Vec<String> {
    let detail = |event: &Event| {
        if let Event::Refused { detail, .. } | Event::ConnectFailed { detail, .. } = event {
            Some(detail.to_string())
        } else {
            None
        }
    };
    events.iter().filter_map(detail).collect()
}

const RELAXED: Revocation = Revocation::Relaxed;
const STRICT: Revocation = Revocation::Strict;
const CERTIFICATE: &[CertEncoding] = &[CertEncoding::X509Signature];
const BOTH: &[CertEncoding] = &[CertEncoding::X509Signature, CertEncoding::Ocsp];

// test of RFC 4806 §3.1, §3.2, §4.1
#[test]
fn a_response_is_shown_to_whoever_asks_for_it_and_to_nobody_else() {
    let world = World::new();
    let (of_alice, of_gateway) = (Answer::good(2), Answer::good(3));

    for (client, gateway) in [(RELAXED, RELAXED), (STRICT, RELAXED), (RELAXED, STRICT), (STRICT, STRICT)] {
        let plan = world.plan((client, Some(&of_alice)), (gateway, Some(&of_gateway)));
        let mut pair = plan.build();

        let messages = messages(&mut pair);

        let asks = |message: &Plain| requests(message).contains(&CertRequest::ocsp());
        let shown = |rule| if rule == STRICT { BOTH } else { CERTIFICATE };
        let what = format!("{client:?} {gateway:?}");
        assert_eq!(asks(&messages[1]), gateway == STRICT, "{what}");
        assert_eq!(encodings(&messages[2]), shown(gateway), "{what}");
        assert_eq!(asks(&messages[2]), client == STRICT, "{what}");
        assert_eq!(encodings(&messages[3]), shown(client), "{what}");
        // The CAs are asked for as before, in a payload of their own.
        assert_eq!(requests(&messages[1])[0].encoding, CertEncoding::X509Signature);
        assert_eq!(sole(&pair, End::Client).children.len(), 1, "{what}");
    }
}

#[test]
fn whoever_must_know_and_hears_nothing_refuses() {
    let world = World::new();
    let good = Answer::good(2);
    let outdated = Answer::good(3).valid("20260101000000Z", Some("20270114000000Z"));
    for answer in [None, Some(&outdated)] {
        let mut pair = world.plan((STRICT, Some(&good)), (RELAXED, answer)).build();

        let messages = messages(&mut pair);

        // One that is out of date would not be believed: it is not shown.
        assert_eq!(encodings(&messages[3]), CERTIFICATE);
        assert_eq!(failures(&pair.client.events), [Failure::Certificate]);
        let details = details(&pair.client.events);
        assert!(details[0].contains("nothing is known about revocation"), "{details:?}");
        assert!(pair.client.plane.is_empty());
    }
    let mut pair = world.plan((RELAXED, None), (STRICT, None)).build();
    messages(&mut pair);
    assert_eq!(failures(&pair.gateway.events), [Failure::Certificate]);
}

/// What comes of a gateway's response when the client gets another one.
fn answered(rule: Revocation, response: &[u8], world: &World) -> Result<(), String> {
    let mut pair = world.plan((rule, None), (RELAXED, Some(&Answer::good(3)))).build();
    pair.initiate();
    pair.deliver();
    pair.deliver();
    pair.deliver();
    let answer = pair.take(End::Client);
    let changed = Plain::open(&answer.octets).with(|payloads| {
        payloads
            .retain(|payload| !matches!(payload, Payload::Cert(Cert { encoding: CertEncoding::Ocsp, .. })));
        let place = payloads.iter().position(|payload| matches!(payload, Payload::Cert(_))).unwrap();
        let response = Cert { encoding: CertEncoding::Ocsp, data: response.to_vec().into() };
        payloads.insert(place, Payload::Cert(response));
    });
    pair.put(&Flying { octets: changed.seal(), ..answer });
    pair.settle();
    match details(&pair.client.events).first() {
        None => {
            assert_eq!(sole(&pair, End::Client).children.len(), 1);
            Ok(())
        }
        Some(detail) => Err(detail.clone()),
    }
}

#[test]
fn a_response_counts_if_it_is_the_cas_and_about_this_certificate() {
    let world = World::new();
    let stranger = Recipe::ca("root").issue(None);
    let good = Answer::good(3).sign(&world.root);
    let revoked = Answer::revoked(3).sign(&world.root);

    assert_eq!(answered(STRICT, &good, &world), Ok(()));
    for rule in [RELAXED, Revocation::IfUri, STRICT] {
        let refused = answered(rule, &revoked, &world).unwrap_err();
        assert!(refused.contains("a certificate was revoked"), "{refused}");
    }
    // A replay of what was true once, that of somebody else, a forged one, and rubbish.
    let old = Answer::good(3).valid("20260101000000Z", Some("20260201000000Z")).sign(&world.root);
    for (response, why) in [
        (old, "out of date"),
        (Answer::good(2).sign(&world.root), "about another certificate"),
        (Answer::good(3).by_name().sign_by(&world.root, &stranger), "the signature is wrong"),
        (Answer::unknown(3).sign(&world.root), "the responder does not know the certificate"),
        (good[..good.len() - 1].to_vec(), "cannot be read"),
        (vec![0xff; 900], "cannot be read"),
    ] {
        let refused = answered(STRICT, &response, &world).unwrap_err();
        assert!(refused.contains("the OCSP response: ") && refused.contains(why), "{why}: {refused}");
        // Where nothing must be known, it does no harm.
        assert_eq!(answered(RELAXED, &response, &world), Ok(()), "{why}");
    }
}

#[test]
fn a_revoked_client_is_refused_whoever_says_so() {
    let world = World::new();
    let mut store = TrustStore::new(RELAXED);
    store.add_anchor(world.root.certificate()).unwrap();
    store.add_crl(&world.root.crl(&[2], UNTIL)).unwrap();
    let mut plan = world.plan((RELAXED, Some(&Answer::good(2))), (STRICT, None));
    plan.gateway_profile(|profile| {
        profile.authentication.remote = RemoteProof::Certificate(Arc::new(store));
    });
    let mut pair = plan.build();

    let answer = messages(&mut pair).remove(3);

    let [Payload::Notify(notify)] = &answer.payloads()[..] else { panic!("{answer:?}") };
    assert_eq!(notify.content(), Ok(NotifyContent::Plain(NotifyType::AuthenticationFailed)));
    assert!(details(&pair.gateway.events)[0].contains("a certificate was revoked"));
}

// test of RFC 7296 §3.6, §3.7
#[test]
fn a_certificate_that_is_elsewhere_is_not_fetched_and_its_owner_is_refused() {
    for encoding in [CertEncoding::HashUrl, CertEncoding::HashUrlBundle] {
        let world = World::new();
        let mut pair = world.plan((RELAXED, None), (RELAXED, None)).build();
        pair.initiate();
        pair.deliver();
        pair.deliver();
        let request = pair.take(End::Gateway);
        let url = [&[7; 20], &b"http://192.0.2.80/alice.der"[..]].concat();
        let changed = Plain::open(&request.octets).with(|payloads| {
            for payload in payloads {
                if let Payload::Cert(certificate) = payload {
                    *certificate = Cert { encoding, data: url.clone().into() };
                }
            }
        });

        pair.put(&Flying { octets: changed.seal(), ..request });
        let answer = Plain::open(&pair.take(End::Client).octets);

        let [Payload::Notify(notify)] = &answer.payloads()[..] else { panic!("{answer:?}") };
        assert_eq!(notify.content(), Ok(NotifyContent::Plain(NotifyType::AuthenticationFailed)));
        assert_eq!(failures(&pair.gateway.events), [Failure::Certificate]);
        let details = details(&pair.gateway.events);
        assert!(details[0].contains(&format!("no certificate came (ignored: {encoding})")), "{details:?}");
        assert!(pair.gateway.plane.is_empty());
    }
}

// test of RFC 7296 §3.6
#[test]
fn nobody_is_told_that_certificates_may_be_elsewhere() {
    let world = World::new();
    let mut pair = world.plan((STRICT, Some(&Answer::good(2))), (STRICT, Some(&Answer::good(3)))).build();

    for message in messages(&mut pair) {
        assert!(!message.notifies().contains(&NotifyType::HttpCertLookupSupported), "{message:?}");
        let is_elsewhere = |encoding| matches!(encoding, CertEncoding::HashUrl | CertEncoding::HashUrlBundle);
        assert!(!requests(&message).iter().any(|request| is_elsewhere(request.encoding)));
    }
}

#[test]
fn a_peer_that_takes_certificates_from_elsewhere_gets_ours_all_the_same() {
    let world = World::new();
    let mut pair = world.plan((RELAXED, None), (RELAXED, None)).build();
    pair.initiate();
    pair.deliver();
    pair.deliver();
    let request = pair.take(End::Gateway);
    let announced = Plain::open(&request.octets).with(|payloads| {
        payloads.push(Payload::Notify(Notify::plain(NotifyType::HttpCertLookupSupported)));
    });
    pair.put(&Flying { octets: announced.seal(), ..request });

    let answer = Plain::open(&pair.take(End::Client).octets);

    assert_eq!(encodings(&answer), CERTIFICATE);
}

/// A root, two CAs one below the other, and somebody below them.
struct Chain {
    root: Owner,
    cas: [Owner; 2],
    owner: Owner,
}

impl Chain {
    fn new(owner: Recipe) -> Self {
        let root = Recipe::ca("root").issue(None);
        let first = Recipe::ca("ica1").issue(Some(&root));
        let second = Recipe::ca("ica2").serial(5).issue(Some(&first));
        let owner = owner.issue(Some(&second));
        Self { root, cas: [first, second], owner }
    }

    fn shows(&self, others: &[&Owner]) -> LocalProof {
        let others = others.iter().map(|owner| owner.certificate());
        credential([self.owner.certificate()].into_iter().chain(others).collect(), &self.owner)
    }

    fn trust(&self) -> RemoteProof {
        let mut store = TrustStore::new(RELAXED);
        store.add_anchor(self.root.certificate()).unwrap();
        RemoteProof::Certificate(Arc::new(store))
    }
}

#[test]
fn chains_with_several_cas_are_sent_and_believed_both_ways_in_any_order() {
    let (client, gateway) = (Chain::new(alice()), Chain::new(Recipe::gateway(GATEWAY)));
    let stranger = Recipe::ca("stranger").key(KeyKind::Ed25519([9; 32])).issue(None);
    let orders = |chain: &Chain| {
        let [first, second] = &chain.cas;
        [
            chain.shows(&[second, first]),
            chain.shows(&[first, second]),
            chain.shows(&[&chain.root, first, &stranger, second, first]),
        ]
    };
    for (ours, theirs) in orders(&client).into_iter().zip(orders(&gateway)) {
        let plan = Plan::with(
            profile(ALICE, GATEWAY, ours, gateway.trust()),
            profile(GATEWAY, "*@example.net", theirs, client.trust()),
        );
        let mut pair = plan.build();

        pair.establish();

        assert_eq!(&*sole(&pair, End::Gateway).remote_id, ALICE);
        assert_eq!(sole(&pair, End::Client).children.len(), 1);
    }
}

#[test]
fn a_chain_with_a_gap_is_refused_by_both() {
    let (client, gateway) = (Chain::new(alice()), Chain::new(Recipe::gateway(GATEWAY)));
    for end in ENDS {
        let [first, second] = match end {
            End::Client => &client.cas,
            End::Gateway => &gateway.cas,
        };
        for missing in [vec![], vec![first], vec![second]] {
            let whole = |chain: &Chain| chain.shows(&[&chain.cas[0], &chain.cas[1]]);
            let (ours, theirs) = match end {
                End::Client => (client.shows(&missing), whole(&gateway)),
                End::Gateway => (whole(&client), gateway.shows(&missing)),
            };
            let plan = Plan::with(
                profile(ALICE, GATEWAY, ours, gateway.trust()),
                profile(GATEWAY, "*@example.net", theirs, client.trust()),
            );
            let mut pair = plan.build();

            pair.initiate();
            pair.settle();

            let events = &pair.side(end.other()).events;
            assert_eq!(failures(events), [Failure::Certificate], "{end:?}");
            assert!(details(events)[0].contains("no trusted CA issued it"), "{:?}", details(events));
        }
    }
}
