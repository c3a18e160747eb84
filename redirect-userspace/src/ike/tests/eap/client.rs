//! The client, with gateways that should not be.

use super::*;
use crate::ike::wire::{Auth, AuthMethod, Notify, NotifyType};

/// What is made of the payloads of a message.
type Change = fn(&mut Vec<Payload<'_>>);

/// Whether a response to a challenge was sent: what passwords could be tried with.
fn has_responded(pair: &Pair) -> bool {
    said(pair, End::Client).iter().any(|(_, kind)| *kind == Some(EapType::MschapV2))
}

/// Nothing has come of it, and the client says so.
fn assert_refused(pair: &mut Pair, failure: Failure, what: &str) {
    assert_eq!(failures(&pair.events(End::Client)), [failure], "{what}");
    assert_nothing(pair, what);
}

// test of RFC 7296 §2.16
#[test]
fn a_gateway_that_has_not_proved_who_it_is_hears_nothing_about_the_password() {
    let cases: [(&str, Change, Failure); 3] = [
        ("no AUTH", |payloads| payloads.retain(|it| !matches!(it, Payload::Auth(_))), Failure::EapGateway),
        (
            "a wrong AUTH",
            |payloads| {
                for payload in payloads {
                    if let Payload::Auth(auth) = payload {
                        *auth = Auth { method: AuthMethod::SharedKey, data: vec![1; 32].into() };
                    }
                }
            },
            Failure::Authentication,
        ),
        (
            "somebody else",
            |payloads| {
                for payload in payloads {
                    if let Payload::IdR(id) = payload {
                        *id = crate::ike::identity::parse("evil.example.net").unwrap();
                    }
                }
            },
            Failure::OtherIdentity,
        ),
    ];
    for (what, wrong, failure) in cases {
        let mut pair = after(plan(), 3);
        change(&mut pair, End::Client, wrong);

        pair.settle();

        assert!(!has_responded(&pair), "{what}");
        assert_refused(&mut pair, failure, what);
    }
}

#[test]
fn success_is_not_believed_before_the_method_is_done() {
    for number in [3, 5] {
        let mut pair = after(plan(), number);
        replace(&mut pair, End::Client, |eap| packet::success(eap.identifier));

        pair.settle();

        assert_refused(&mut pair, Failure::EapGateway, &format!("datagram {number}"));
    }
}

#[test]
fn a_gateway_that_does_not_know_the_password_is_not_believed() {
    let mut pair = after(plan(), 5);
    replace(&mut pair, End::Client, |eap| {
        let mut packet = eap.packet().to_vec();
        // Another digit of the proof.
        packet[11] = if packet[11] == b'0' { b'1' } else { b'0' };
        packet
    });

    pair.settle();

    assert_refused(&mut pair, Failure::EapGateway, "S=");
}

#[test]
fn a_wrong_auth_of_the_gateway_after_success_is_not_believed() {
    let mut pair = after(plan(), 9);
    change(&mut pair, End::Client, |payloads| {
        for payload in payloads {
            if let Payload::Auth(auth) = payload {
                *auth = Auth { method: AuthMethod::SharedKey, data: vec![1; 32].into() };
            }
        }
    });

    pair.settle();

    assert_refused(&mut pair, Failure::Authentication, "AUTH");
}

#[test]
fn an_eap_packet_that_should_not_be_ends_it() {
    let wrong: [(&str, Replacement, Failure); 6] = [
        (
            "a response",
            |eap| packet::response(eap.identifier, EapType::MschapV2, &[3]).unwrap(),
            Failure::EapGateway,
        ),
        ("failure", |eap| packet::failure(eap.identifier), Failure::Eap),
        (
            "another method",
            |eap| packet::request(eap.identifier, EapType::Tls, &[0]).unwrap(),
            Failure::EapGateway,
        ),
        (
            "who are you?",
            |eap| packet::request(eap.identifier, EapType::Identity, &[]).unwrap(),
            Failure::EapGateway,
        ),
        (
            "cut short",
            |eap| packet::request(eap.identifier, EapType::MschapV2, &eap.data()[..9]).unwrap(),
            Failure::EapGateway,
        ),
        (
            "endless",
            |eap| packet::request(eap.identifier, EapType::MschapV2, &[3; 60_000]).unwrap(),
            Failure::EapGateway,
        ),
    ];
    for (what, packet, failure) in wrong {
        let mut pair = after(plan(), 5);
        replace(&mut pair, End::Client, packet);

        pair.settle();

        assert_refused(&mut pair, failure, what);
    }
}

#[test]
fn a_refusal_without_eap_is_told_as_it_came() {
    for number in [3, 5, 7] {
        let mut pair = after(plan(), number);
        change(&mut pair, End::Client, |payloads| {
            *payloads = vec![Payload::Notify(Notify::plain(NotifyType::AuthenticationFailed))];
        });

        pair.settle();

        let events = pair.events(End::Client);
        let [Event::ConnectFailed { failure, detail, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!((*failure, &**detail), (Failure::PeerRefused, "AUTHENTICATION_FAILED"), "{number}");
        assert_nothing(&mut pair, "a notify");
    }
}

#[test]
fn a_gateway_that_lets_us_in_without_eap_is_not_believed() {
    let mut pair = after(plan(), 3);
    change(&mut pair, End::Client, |payloads| {
        payloads.retain(|payload| !matches!(payload, Payload::Eap(_)));
    });

    pair.settle();

    assert_refused(&mut pair, Failure::EapGateway, "no EAP");
    assert!(!has_responded(&pair));
}

#[test]
fn a_gateway_that_ends_before_we_have_proved_who_we_are_is_not_believed() {
    let mut pair = after(plan(), 5);
    change(&mut pair, End::Client, |payloads| {
        *payloads = vec![Payload::Auth(Auth { method: AuthMethod::SharedKey, data: vec![1; 32].into() })];
    });

    pair.settle();

    assert_refused(&mut pair, Failure::PeerRefused, "AUTH");
}

#[test]
fn a_gateway_that_begins_eap_with_a_client_that_has_something_else_is_refused() {
    let mut pair = open().build();
    pair.initiate();
    for _ in 0..3 {
        pair.deliver();
    }
    change(&mut pair, End::Client, |payloads| {
        payloads.retain(|payload| matches!(payload, Payload::IdR(_) | Payload::Auth(_)));
        let packet = packet::request(1, EapType::MschapV2, &[1; 30]).unwrap();
        payloads.push(Payload::Eap(Eap::new(packet).unwrap()));
    });

    pair.settle();

    let events = pair.events(End::Client);
    let [Event::ConnectFailed { failure, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(*failure, Failure::PeerRefused);
    assert_eq!(said(&pair, End::Client), []);
    assert!(pair.client.plane.is_empty() && pair.sas(End::Client).is_empty());
}

// test of RFC 5998 §3
#[test]
fn a_gateway_may_leave_out_its_proof_when_it_is_asked_for_eap_alone_with_a_safe_method() {
    let toy = Toy::server(2);
    let mut pair = with(gate(vec![Arc::new(toy)]), by(toy.client(), true)).build();

    pair.establish();

    let first = Plain::open(&pair.sent[3].octets);
    assert_eq!(first.kinds(), [PayloadType::IdR, PayloadType::Eap]);
    assert_eq!(&*sole(&pair, End::Client).remote_id, "vpn.example.net");
    assert_one_of_each(&mut pair, "EAP alone");
}

// test of RFC 5998 §3
#[test]
fn a_gateway_that_was_not_told_to_proves_who_it_is_whatever_a_client_would_believe() {
    let toy = Toy::server(2);
    let careful = Gate { stands_alone: false, ..gate(vec![Arc::new(toy)]) };
    let mut pair = with(careful, by(toy.client(), true)).build();

    pair.establish();

    let first = Plain::open(&pair.sent[3].octets);
    assert!(first.kinds().contains(&PayloadType::Auth), "{:?}", first.kinds());
    assert_one_of_each(&mut pair, "a proof that was not needed");
}

// test of RFC 5998 §3
#[test]
fn nobody_leaves_out_its_proof_unasked_or_with_a_method_that_proves_nothing_about_it() {
    let toy = Toy::server(2);
    let weak = Toy { is_safe: false, ..toy };
    let plans = [
        ("unasked", with(gate(vec![Arc::new(toy)]), by(toy.client(), false))),
        ("weak here", with(gate(vec![Arc::new(weak)]), by(toy.client(), true))),
        ("weak there", with(gate(vec![Arc::new(toy)]), by(weak.client(), true))),
        ("one is weak", with(gate(vec![Arc::new(toy), passwords()]), by(toy.client(), true))),
        (
            "a password",
            with(gate(vec![passwords()]), Credentials { stands_alone: true, ..user("alice", PASSWORD) }),
        ),
    ];
    for (what, plan) in plans {
        let mut pair = plan.build();

        pair.establish();

        let first = Plain::open(&pair.sent[3].octets);
        assert_eq!(first.kinds(), [PayloadType::IdR, PayloadType::Auth, PayloadType::Eap], "{what}");
    }
}

#[test]
fn a_client_believes_no_gateway_without_its_proof_unless_it_has_asked_for_that() {
    let toy = Toy::server(2);
    for (credentials, failure) in [
        (by(toy.client(), false), Some(Failure::EapGateway)),
        (by(Toy { is_safe: false, ..toy }.client(), true), Some(Failure::EapGateway)),
        (by(toy.client(), true), None),
    ] {
        let mut pair = after(with(gate(vec![Arc::new(toy)]), credentials), 3);
        change(&mut pair, End::Client, |payloads| payloads.retain(|it| !matches!(it, Payload::Auth(_))));

        pair.settle();

        assert_eq!(failures(&pair.events(End::Client)), Vec::from_iter(failure));
        assert_eq!(pair.sas(End::Client).len(), usize::from(failure.is_none()));
    }
}

#[test]
fn a_gateway_that_proves_itself_by_eap_alone_is_the_one_that_was_wanted() {
    let toy = Toy::server(2);
    let mut plan = with(gate(vec![Arc::new(toy)]), by(toy.client(), true));
    plan.gateway_profile(|profile| {
        let other = crate::ike::identity::parse("other.example.net").unwrap();
        profile.authentication.local_id = crate::ike::identity::Claim::Id(other);
    });
    let mut pair = plan.build();

    pair.initiate();
    pair.settle();

    assert_eq!(failures(&pair.events(End::Client)), [Failure::OtherIdentity]);
    assert!(pair.client.plane.is_empty());
}
