//! The gateway, with clients as they should be and as they should not.

use super::*;
use crate::crypto::x509::builder::KeyKind;
use crate::ike::wire::{Auth, AuthMethod, Id, Notify, NotifyType};
use crate::ike::{CloseReason, Discard, SaState, Selection};

// test of RFC 7296 §2.16
#[test]
fn a_client_with_a_password_gets_an_address_and_a_child_sa() {
    let mut pair = plan().build();

    pair.establish();

    assert_eq!(pair.delivered, 10);
    let gateway = sole(&pair, End::Gateway);
    assert_eq!((&*gateway.remote_id, &*gateway.local_id), ("alice", "vpn.example.net"));
    assert_eq!(gateway.addresses, ["10.99.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!((gateway.children.len(), gateway.state), (1, SaState::Established));
    assert_eq!(&*sole(&pair, End::Client).remote_id, "vpn.example.net");
    assert_one_of_each(&mut pair, "rekeyed");
    assert_eq!(&*sole(&pair, End::Gateway).remote_id, "alice");
}

/// The gateway proves itself by a certificate, and nobody can read what is said.
pub(super) fn by_certificate(plan: Plan, kind: KeyKind) -> Plan {
    use crate::crypto::x509::builder::Recipe;
    use crate::crypto::x509::{Revocation, TrustStore};
    let root = Recipe::ca("root").issue(None);
    let owner = Recipe::gateway("vpn.example.net").key(kind).issue(Some(&root));
    let mut store = TrustStore::new(Revocation::Relaxed);
    store.add_anchor(root.certificate()).unwrap();
    let mut plan = Plan { provider: Provider::Real, ..plan };
    plan.client_profile(|profile| profile.authentication.remote = RemoteProof::Certificate(Arc::new(store)));
    plan.gateway_profile(|profile| {
        let chain = vec![owner.certificate()];
        let credential = crate::ike::config::Credential { chain, key: owner.key() };
        profile.authentication.local = LocalProof::Certificate(Arc::new(credential));
    });
    plan
}

#[test]
fn a_gateway_with_a_certificate_lets_a_client_in_with_real_primitives() {
    let mut pair = by_certificate(plan(), KeyKind::P256).build();

    pair.establish();

    assert_one_of_each(&mut pair, "with a certificate");
}

#[test]
fn a_client_is_asked_who_it_is_when_the_profile_says_so_or_its_address_is_all_it_has_said() {
    let asks = |asks_identity| Gate { asks_identity, ..gate(vec![passwords()]) };
    for (asks_identity, id, packets) in
        [(true, "alice", 12), (false, "192.0.2.2", 12), (false, "O=Example, CN=x", 12), (false, "alice", 10)]
    {
        let mut plan = with(asks(asks_identity), user("alice", PASSWORD));
        plan.client_profile(|profile| {
            let id = crate::ike::identity::parse(id).unwrap();
            profile.authentication.local_id = crate::ike::identity::Claim::Id(id);
        });
        let mut pair = plan.build();

        pair.establish();

        assert_eq!(pair.delivered, packets, "{asks_identity} {id}");
        assert_eq!(&*sole(&pair, End::Gateway).remote_id, "alice", "{asks_identity} {id}");
    }
}

// Android's own client answers so.
#[test]
fn an_empty_identity_is_one_and_the_method_says_who_it_is() {
    let mut pair =
        after(with(Gate { asks_identity: true, ..gate(vec![passwords()]) }, user("alice", PASSWORD)), 4);
    replace(&mut pair, End::Gateway, |eap| packet::response(eap.identifier, EapType::Identity, b"").unwrap());

    pair.settle();

    assert_eq!(&*sole(&pair, End::Gateway).remote_id, "alice");
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_the_same_and_nothing_is_left() {
    let mut shapes = Vec::new();
    for (identity, password) in [("alice", "wrong"), ("carol", PASSWORD)] {
        let mut pair = with(gate(vec![passwords()]), user(identity, password)).build();

        pair.initiate();
        pair.settle();

        let events = pair.events(End::Gateway);
        let [Event::Refused { failure, identity: who, detail, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((*failure, who.as_deref()), (Failure::Eap, Some(identity)));
        assert_eq!(&**detail, "EAP-MSCHAPv2: the user is unknown, or the password is wrong");
        let events = pair.events(End::Client);
        let [Event::ConnectFailed { failure, detail, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!(*failure, Failure::Eap);
        assert_eq!(&**detail, "EAP-MSCHAPv2: refused by the other side with error 691");
        let is_said =
            |flying: &&Flying| Plain::open(&flying.octets).header.exchange == ExchangeType::Informational;
        assert_eq!(pair.sent.iter().filter(is_said).count(), 0, "the gateway knows that it has refused");
        shapes.push(pair.sent.iter().map(|flying| flying.octets.len()).collect::<Vec<_>>());
        assert_nothing(&mut pair, identity);
    }
    assert_eq!(shapes[0], shapes[1]);
}

#[test]
fn many_wrong_passwords_lock_a_user_out_for_a_while() {
    let mut plan = plan();
    let wrong = Arc::new(user("alice", "wrong"));
    plan.client_profile(|profile| profile.authentication.local = LocalProof::Eap(wrong));
    let mut pair = plan.build();
    for _ in 0..=crate::ike::authn::eap::Guesses::FREE {
        pair.initiate();
        pair.settle();
    }

    let failures = pair.gateway.endpoint.counters().failures;
    assert_eq!(failures[Failure::EapLocked.position()], 1);
    assert_eq!(failures[Failure::Eap.position()], u64::from(crate::ike::authn::eap::Guesses::FREE));
}

#[test]
fn a_wrong_auth_after_success_is_refused() {
    let mut pair = after(plan(), 8);
    change(&mut pair, End::Gateway, |payloads| {
        *payloads = vec![Payload::Auth(Auth { method: AuthMethod::SharedKey, data: vec![1; 32].into() })];
    });

    pair.settle();

    assert_eq!(failures(&pair.events(End::Gateway)), [Failure::Authentication]);
    assert_eq!(failures(&pair.events(End::Client)), [Failure::PeerRefused]);
    assert_nothing(&mut pair, "AUTH");
}

#[test]
fn an_auth_by_another_method_after_success_is_refused() {
    for method in [AuthMethod::Signature, AuthMethod::Rsa, AuthMethod::Null, AuthMethod::from(99)] {
        let mut pair = after(plan(), 8);
        change(&mut pair, End::Gateway, |payloads| {
            let Some(Payload::Auth(auth)) = payloads.first_mut() else { panic!("AUTH") };
            auth.method = method;
        });

        pair.settle();

        assert_eq!(failures(&pair.events(End::Gateway)), [Failure::Authentication], "{method:?}");
        assert_nothing(&mut pair, "AUTH");
    }
}

#[test]
fn an_eap_packet_that_should_not_be_ends_the_conversation() {
    let wrong: [(&str, Replacement); 9] = [
        ("another number", |eap| {
            packet::response(eap.identifier ^ 1, EapType::MschapV2, eap.data()).unwrap()
        }),
        ("a request", |eap| packet::request(eap.identifier, EapType::MschapV2, eap.data()).unwrap()),
        ("success", |eap| packet::success(eap.identifier)),
        ("failure", |eap| packet::failure(eap.identifier)),
        ("another method", |eap| packet::response(eap.identifier, EapType::Tls, eap.data()).unwrap()),
        ("nak for nothing", |eap| packet::response(eap.identifier, EapType::Nak, &[]).unwrap()),
        ("nak for another", |eap| packet::response(eap.identifier, EapType::Nak, &[13]).unwrap()),
        ("cut short", |eap| packet::response(eap.identifier, EapType::MschapV2, &eap.data()[..20]).unwrap()),
        ("endless", |eap| packet::response(eap.identifier, EapType::MschapV2, &[2; 60_000]).unwrap()),
    ];
    for (what, packet) in wrong {
        // The response to the challenge.
        let mut pair = after(plan(), 4);
        replace(&mut pair, End::Gateway, packet);

        pair.settle();

        assert_eq!(failures(&pair.events(End::Gateway)), [Failure::Eap], "{what}");
        assert_eq!(failures(&pair.events(End::Client)), [Failure::Eap], "{what}");
        assert_nothing(&mut pair, what);
    }
}

#[test]
fn an_eap_packet_whose_length_is_not_its_own_ends_the_conversation() {
    for (at, octet) in [(2, 1), (3, 0), (3, 4), (3, 255)] {
        let mut pair = after(plan(), 4);
        let flying = pair.take(End::Gateway);
        let mut plain = Plain::open(&flying.octets);
        assert_eq!(plain.kinds(), [PayloadType::Eap]);
        plain.octets[4 + at] = octet;

        pair.put(&Flying { octets: plain.seal(), ..flying });
        pair.settle();

        assert_eq!(failures(&pair.events(End::Gateway)), [Failure::Eap], "{at} {octet}");
        assert_nothing(&mut pair, "length");
    }
}

#[test]
fn a_message_of_ike_auth_that_does_not_come_then_is_refused() {
    let auth = || Payload::Auth(Auth { method: AuthMethod::SharedKey, data: vec![1; 32].into() });
    let eap = || Payload::Eap(Eap::new(packet::response(1, EapType::MschapV2, &[3]).unwrap()).unwrap());
    let id = || Payload::IdI(Id::Fqdn("alice".into()));
    let cases: [(usize, Vec<Payload<'static>>, Failure); 7] = [
        // In the place of the first request.
        (2, vec![eap()], Failure::Syntax),
        (2, vec![auth()], Failure::Syntax),
        // In the place of the response to the challenge: whoever skips EAP gets nowhere.
        (4, vec![auth()], Failure::Syntax),
        (4, vec![id()], Failure::Syntax),
        (4, vec![id(), auth()], Failure::Syntax),
        (4, vec![eap(), auth()], Failure::Syntax),
        // In the place of AUTH.
        (8, vec![eap()], Failure::Syntax),
    ];
    for (number, with, failure) in cases {
        let what = format!("{number} {with:?}");
        let mut pair = after(plan(), number);
        change(&mut pair, End::Gateway, |payloads| *payloads = with);

        pair.settle();

        assert_eq!(failures(&pair.events(End::Gateway)), [failure], "{what}");
        assert_nothing(&mut pair, &what);
    }
}

#[test]
fn what_is_repeated_is_answered_again_and_nothing_is_done_twice() {
    for number in [2, 4, 6, 8] {
        let mut pair = after(plan(), number);
        let request = pair.take(End::Gateway);
        pair.put(&request);
        let answer = pair.take(End::Client);

        pair.put(&request);

        assert_eq!(pair.take(End::Client), answer, "{number}");
        pair.put(&answer);
        pair.settle();
        assert_one_of_each(&mut pair, "repeated");
        assert_eq!(pair.gateway.endpoint.counters().discards[Discard::Retransmission.position()], 1);
    }
}

#[test]
fn a_late_first_message_begins_nothing_while_eap_goes_on() {
    let mut pair = after(plan(), 4);
    let (first, sent) = (pair.sent[0].clone(), pair.sent.len());

    pair.put(&first);

    assert_eq!((pair.sent.len(), pair.gateway.endpoint.counts().half_open), (sent, 1));
    pair.settle();
    assert_one_of_each(&mut pair, "it goes on");
}

#[test]
fn nothing_that_is_forged_changes_anything_in_the_middle_of_eap() {
    for number in [2, 4, 6, 8] {
        let mut pair = after(by_certificate(plan(), KeyKind::P256), number);
        let real = pair.take(End::Gateway);
        let before = pair.gateway.endpoint.state();
        let sent = pair.sent.len();
        for at in [16, 18, 19, 23, 30, real.octets.len() - 1] {
            let mut octets = real.octets.clone();
            octets[at] ^= 1;
            pair.put(&Flying { octets, ..real.clone() });
        }
        // The first one that comes makes the gateway compute its keys, and is not believed.
        if number > 2 {
            assert_eq!(pair.gateway.endpoint.state(), before, "{number}");
        }
        assert_eq!(pair.sent.len(), sent, "{number}");
        pair.put(&real);
        pair.settle();
        assert_one_of_each(&mut pair, "the real one");
    }
}

#[test]
fn requests_of_earlier_rounds_and_of_later_ones_are_not_acted_upon() {
    let mut pair = after(plan(), 4);
    let early = pair.sent[2].clone();
    let next = pair.take(End::Gateway);
    pair.put(&next);
    pair.put(&early);
    assert_eq!(pair.gateway.endpoint.counters().discards[Discard::MessageId.position()], 1);

    let mut skipping = Plain::open(&next.octets);
    skipping.header.message_id = MessageId(9);
    pair.put(&Flying { octets: skipping.seal(), ..next });
    assert_eq!(pair.gateway.endpoint.counters().discards[Discard::MessageId.position()], 2);

    pair.settle();
    assert_one_of_each(&mut pair, "it goes on");
}

#[test]
fn a_client_that_stops_is_forgotten_wherever_it_stops() {
    for number in [3, 5, 7] {
        let mut pair = after(plan(), number);
        pair.wire.clear();
        pair.events(End::Gateway);
        // What the client repeats gets nowhere.
        let step = Duration::from_secs(1);
        for _ in 0..29 {
            pair.skip(step);
            pair.wire.clear();
        }
        assert_eq!(pair.gateway.endpoint.counts().half_open, 1, "{number}");
        pair.skip(Duration::from_secs(2));
        assert_eq!(pair.gateway.endpoint.counts().half_open, 0, "{number}");
        let events = pair.events(End::Gateway);
        let [Event::Refused { failure: Failure::Timeout, identity, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(identity.as_deref(), Some("alice"));
    }
}

// strongSwan's client does so when it hears that its password is wrong.
#[test]
fn a_client_that_gives_up_is_forgotten_at_once_and_the_operator_hears_why() {
    let gives_up: [fn(&mut Vec<Payload<'_>>); 2] = [
        |payloads| *payloads = vec![Payload::Notify(Notify::plain(NotifyType::AuthenticationFailed))],
        |payloads| *payloads = vec![Payload::Delete(crate::ike::wire::Delete::Ike)],
    ];
    for (number, payloads) in gives_up.into_iter().enumerate() {
        for (password, failure) in [("wrong", Failure::Eap), (PASSWORD, Failure::Timeout)] {
            let what = format!("{number} {password}");
            let mut pair = after(with(gate(vec![passwords()]), user("alice", password)), 6);
            let flying = pair.take(End::Gateway);
            let mut plain = Plain::open(&flying.octets).with(payloads);
            plain.header.exchange = ExchangeType::Informational;
            let farewell = Flying { octets: plain.seal(), ..flying };

            pair.put(&farewell);

            assert_eq!(failures(&pair.events(End::Gateway)), [failure], "{what}");
            let answer = pair.take(End::Client);
            let answered = Plain::open(&answer.octets);
            assert_eq!(
                (answered.header.exchange, answered.kinds()),
                (ExchangeType::Informational, vec![]),
                "{what}"
            );
            pair.put(&farewell);
            assert_eq!(pair.take(End::Client), answer, "{what}: repeated");
            pair.wire.clear();
            assert_nothing(&mut pair, &what);
        }
    }
}

#[test]
fn an_informational_that_says_nothing_does_not_end_eap() {
    let mut pair = after(plan(), 4);
    let flying = pair.take(End::Gateway);
    let mut plain = Plain::open(&flying.octets).with(|payloads| payloads.clear());
    plain.header.exchange = ExchangeType::Informational;

    pair.put(&Flying { octets: plain.seal(), ..flying.clone() });
    pair.put(&flying);
    pair.settle();

    assert_one_of_each(&mut pair, "it goes on");
}

#[test]
fn a_conversation_that_goes_on_very_slowly_ends_all_the_same() {
    let mut pair =
        after(with(gate(vec![Arc::new(Toy::server(200))]), by(Toy::server(200).client(), false)), 3);
    let start = pair.now;
    while pair.gateway.endpoint.counts().half_open > 0 {
        pair.deliver();
        pair.wire.retain(|flying| flying.to == End::Gateway);
        let answer = pair.wire.pop_front();
        pair.wire.clear();
        pair.skip(Duration::from_secs(20));
        pair.wire.clear();
        pair.wire.extend(answer);
        pair.deliver();
        assert!(pair.now.mono.since(start.mono) <= Duration::from_secs(140), "half-open for ever");
    }
    assert_eq!(failures(&pair.events(End::Gateway)).len(), 1);
}

#[test]
fn rounds_without_end_have_an_end() {
    let endless = Toy::server(255);
    let mut pair = with(gate(vec![Arc::new(endless)]), by(endless.client(), false)).build();

    pair.initiate();
    pair.settle();

    // Both count, and the client has counted one more than the gateway.
    let events = pair.events(End::Client);
    let [Event::ConnectFailed { failure: Failure::EapGateway, detail, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(&**detail, "the conversation has no end");
    assert!(pair.delivered < 210, "{}", pair.delivered);
    assert_nothing(&mut pair, "endless");
}

#[test]
fn a_client_that_wants_another_method_gets_it_or_is_refused() {
    let toy = Toy::server(1);
    let both: Vec<Arc<dyn Maker>> = vec![passwords(), Arc::new(toy)];
    let mut pair = with(gate(both), by(toy.client(), false)).build();
    pair.establish();
    assert_eq!(said(&pair, End::Client)[0].1, Some(EapType::Nak));
    assert_one_of_each(&mut pair, "after a Nak");

    let mut pair = with(gate(vec![passwords()]), by(toy.client(), false)).build();
    pair.initiate();
    pair.settle();
    let events = pair.events(End::Gateway);
    let [Event::Refused { failure: Failure::Eap, detail, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(&**detail, "no common method: the client wants EAP-TLS");
    assert_nothing(&mut pair, "Nak");
}

// test of RFC 7296 §2.16
#[test]
fn a_method_without_a_key_leaves_that_of_the_ike_sa() {
    let keyless = Toy { has_key: false, ..Toy::server(2) };
    let mut pair = with(gate(vec![Arc::new(keyless)]), by(keyless.client(), false)).build();

    pair.establish();

    assert_one_of_each(&mut pair, "keyless");
    // One of them has a key, and the other one has not.
    let keyed = Toy { has_key: true, ..keyless };
    let mut pair = with(gate(vec![Arc::new(keyless)]), by(keyed.client(), false)).build();
    pair.initiate();
    pair.settle();
    assert_eq!(failures(&pair.events(End::Gateway)), [Failure::Authentication]);
    assert_nothing(&mut pair, "no key");
}

#[test]
fn nobody_gets_eap_where_no_profile_has_it() {
    let mut plan = plan();
    plan.gateway_profile(|profile| {
        profile.authentication.remote = RemoteProof::SharedKey(Secret::from(&b"x"[..]));
    });
    let mut pair = plan.build();

    pair.initiate();
    pair.settle();

    let events = pair.events(End::Gateway);
    let [Event::Refused { failure, detail, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(*failure, Failure::NoProfile);
    assert_eq!(&**detail, "no profile for alice by eap: test wants psk");
    assert_nothing(&mut pair, "no profile");
}

#[test]
fn it_is_the_proved_name_that_a_profile_is_for() {
    let patterned = |id: &str, pattern: &str| {
        let mut plan = with(Gate { asks_identity: true, ..gate(vec![passwords()]) }, user("alice", PASSWORD));
        plan.client_profile(|profile| {
            let id = crate::ike::identity::parse(id).unwrap();
            profile.authentication.local_id = crate::ike::identity::Claim::Id(id);
        });
        plan.gateway_profile(|profile| {
            profile.authentication.remote_ids = vec![crate::ike::identity::parse_pattern(pattern).unwrap()];
        });
        let mut pair = plan.build();
        pair.initiate();
        pair.settle();
        pair
    };

    let mut pair = patterned("10.0.0.1", "alice");
    assert_one_of_each(&mut pair, "whatever its IDi");
    let mut pair = patterned("boss@example.net", "*@example.net");
    let events = pair.events(End::Gateway);
    let [Event::Refused { failure, detail, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(
        (*failure, &**detail),
        (Failure::OtherIdentity, "the peer is alice, expected was *@example.net")
    );
    assert_nothing(&mut pair, "a claim");
}

#[test]
fn a_user_that_comes_anew_takes_the_place_of_its_own_sa_and_of_no_other() {
    let mut plan = plan();
    // A peer of that name by IKE, which is somebody else.
    let key = || Secret::from(&b"another key"[..]);
    let (local, remote) = (LocalProof::SharedKey(key()), RemoteProof::SharedKey(key()));
    let mut other = profile("vpn.example.net", "alice", local, remote);
    other.name = name("other");
    other.pools = vec![name("ra4")];
    other.local_ts = vec![crate::testing::pair::prefix("10.1.0.0/16")];
    plan.gateway.profiles.push(Arc::new(other));
    let mut pair = plan.build();
    pair.establish();
    let by_key =
        profile("alice", "vpn.example.net", LocalProof::SharedKey(key()), RemoteProof::SharedKey(key()));
    let mut other = Plan {
        seed: 5,
        ..Plan::with(by_key, profile("x", "*", LocalProof::SharedKey(key()), RemoteProof::SharedKey(key())))
    };
    other.provider = Provider::Null;
    let mut stranger = other.build();
    std::mem::swap(&mut stranger.gateway, &mut pair.gateway);
    stranger.initiate();
    stranger.settle();
    assert_eq!(stranger.sas(End::Gateway).len(), 2, "{:?}", stranger.gateway.events);
    std::mem::swap(&mut stranger.gateway, &mut pair.gateway);

    // The client has lost its SA.
    pair.client = plan_side(9);
    pair.initiate();
    pair.settle();

    let sas = pair.sas(End::Gateway);
    let profiles: Vec<String> = sas.iter().map(|sa| sa.profile.as_ref().unwrap().to_string()).collect();
    assert_eq!(profiles, ["other", "test"]);
    assert_eq!(pair.closed(End::Gateway), [CloseReason::Superseded]);
}

/// Another client of the same user.
fn plan_side(seed: u64) -> crate::testing::pair::Side {
    Plan { seed, ..plan() }.build().client
}

#[test]
fn an_sa_is_found_by_the_name_of_its_user() {
    let mut pair = plan().build();
    pair.establish();
    let of = |text: &str| Selection::Identity(crate::ike::identity::parse(text).unwrap());

    pair.command(End::Gateway, Command::Clear(of("bob")));
    assert_eq!(pair.sas(End::Gateway).len(), 1);
    pair.command(End::Gateway, Command::Clear(of("alice")));
    pair.settle();

    assert!(pair.sas(End::Gateway).is_empty() && pair.sas(End::Client).is_empty());
}

#[test]
fn what_the_first_request_asks_for_is_read_before_anybody_types_a_password() {
    let mut pair = after(plan(), 2);
    change(&mut pair, End::Gateway, |payloads| {
        payloads.retain(|payload| !matches!(payload, Payload::TsR(_)));
    });

    pair.settle();

    assert_eq!(failures(&pair.events(End::Gateway)), [Failure::Syntax]);
    assert_eq!(said(&pair, End::Gateway), []);
    assert_nothing(&mut pair, "TSr");
}

#[test]
fn an_ike_sa_without_a_child_sa_is_had_by_eap_as_well() {
    let mut pair = after(plan(), 2);
    change(&mut pair, End::Gateway, |payloads| {
        payloads.retain(|payload| {
            !matches!(payload, Payload::Sa(_) | Payload::TsI(_) | Payload::TsR(_) | Payload::Configuration(_))
        });
    });

    pair.settle();

    assert_eq!(sole(&pair, End::Gateway).children.len(), 0);
    assert_eq!(pair.gateway.pools.held(), 0);
}

#[test]
fn a_notify_beside_an_eap_packet_is_passed_over() {
    let mut pair = after(plan(), 4);
    change(&mut pair, End::Gateway, |payloads| {
        payloads.push(Payload::Notify(Notify::plain(NotifyType::InitialContact)));
    });

    pair.settle();

    assert_one_of_each(&mut pair, "a notify in a round");
}
