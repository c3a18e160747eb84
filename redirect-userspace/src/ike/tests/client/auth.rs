//! Redirects in IKE_AUTH (`RFC 5685 §6`).

use super::*;
use crate::ike::{Discard, SaState};

/// A client, and gateways of which the first sends whoever has proved who he is to `to`.
fn world_of(mut plan: Plan, gateways: usize, to: &str) -> World {
    plan.gateway_profile(|profile| profile.redirect_auth = true);
    let mut world = World::new(plan, gateways);
    world.lead_known(1, Some(to));
    world
}

/// A client whose IKE_AUTH request is answered, and the answer, which can be read.
fn answered(plan: Plan) -> (World, Packet) {
    let mut world = world_of(plan, 2, "192.0.2.102");
    world.initiate();
    for _ in 0..3 {
        world.deliver();
    }
    let answer = world.take(CLIENT);
    (world, answer)
}

/// The same answer with other payloads.
fn changed(answer: &Packet, change: impl FnOnce(&mut Vec<Payload<'_>>)) -> Packet {
    Packet { path: answer.path, octets: Plain::open(&answer.octets).with(change).seal() }
}

/// The same answer with a REDIRECT with this data.
fn with_redirect(answer: &Packet, data: &[u8]) -> Packet {
    let plain = Plain::open(&answer.octets);
    let is_redirect =
        |payload: &Payload<'_>| matches!(payload, Payload::Notify(it) if it.kind == NotifyType::Redirect);
    let changed = Plain::new(plain.header, |chain| {
        let payloads = plain.payloads();
        payloads.iter().filter(|it| !is_redirect(it)).try_for_each(|payload| chain.push(payload))?;
        chain.push(&Payload::Notify(Notify { kind: NotifyType::Redirect, protocol: 0, spi: &[], data }))
    });
    Packet { path: answer.path, octets: changed.seal() }
}

// test of RFC 5685 §6: RDA-01, RDA-06
#[test]
fn rda_01_and_06_a_client_that_is_sent_away_has_no_child_sa_deletes_the_sa_and_goes() {
    let mut world = world_of(open(), 2, "192.0.2.102");

    world.initiate();
    world.settle();

    world.assert_up_at(2);
    assert!(world.sas(1).is_empty(), "the first gateway's SA is deleted");
    let events = world.events(CLIENT);
    assert_eq!(followed(&events), [("192.0.2.102".to_owned(), ExchangeType::IkeAuth)]);
    assert_eq!(redirected_from(&begun(&world, 2)[0]), Some(at(1)));
    let ups = events.iter().filter(|event| matches!(event, Event::Established { .. })).count();
    assert_eq!((ups, world.client().endpoint.counters().established_initiator), (1, 1));
    // The old SA is deleted without waiting for the answer.
    let kinds: Vec<_> = world.sent.iter().map(|packet| Plain::open(&packet.octets)).collect();
    let delete = kinds.iter().position(|it| it.kinds() == [PayloadType::Delete]).unwrap();
    let next = kinds.iter().rposition(|it| it.header.exchange == ExchangeType::IkeSaInit).unwrap();
    assert!(delete < next && next - delete <= 3, "{delete} {next}");
}

#[test]
fn a_delete_that_is_lost_is_repeated() {
    let mut world = world_of(open(), 2, "192.0.2.102");
    world.initiate();
    for _ in 0..4 {
        world.deliver();
    }
    let delete = world.take(1);
    assert_eq!(Plain::open(&delete.octets).kinds(), [PayloadType::Delete]);

    world.settle();
    world.pass(Duration::from_secs(2));

    assert!(world.sas(1).is_empty());
    world.assert_up_at(2);
}

// RDA-02, RDA-03, DIV-5
#[test]
fn rda_02_and_03_a_nonce_does_not_belong_there_and_the_redirect_is_refused() {
    let (mut world, answer) = answered(open());
    let data = [identity("192.0.2.102"), vec![7; 32]].concat();

    world.put(&with_redirect(&answer, &data));
    world.settle();

    let events = world.events(CLIENT);
    assert_eq!(refused(&events), [RedirectRefusal::BadNonce]);
    assert_eq!(failures(&events), [Failure::PeerRefused]);
    assert!(world.sas(1).is_empty() && begun(&world, 2).is_empty());
    world.lead_known(1, None);
    world.pass(ROUND);
    world.assert_up_at(1);
}

#[test]
fn a_redirect_that_cannot_be_read_leads_back_to_the_list() {
    use RedirectRefusal::{BadAddress, BadLength, BadName, BadType};
    let cases: [(&[u8], RedirectRefusal); 5] = [
        (&[9, 4, 192, 0, 2, 102], BadType),
        (&[1, 3, 192, 0, 2], BadLength),
        (&[1, 9, 192, 0, 2, 102], BadLength),
        (&[3, 2, b'-', b'a'], BadName),
        (&[1, 4, 255, 255, 255, 255], BadAddress),
    ];
    for (data, reason) in cases {
        let (mut world, answer) = answered(open());

        world.put(&with_redirect(&answer, data));
        world.settle();

        assert_eq!(refused(&world.events(CLIENT)), [reason], "{data:?}");
        world.lead_known(1, None);
        world.pass(ROUND);
        world.assert_up_at(1);
    }
}

#[test]
fn a_redirect_that_cannot_be_read_beside_a_child_sa_is_ignored() {
    let mut world = World::new(open(), 2);
    world.initiate();
    for _ in 0..3 {
        world.deliver();
    }
    let answer = world.take(CLIENT);

    world.put(&with_redirect(&answer, &[9, 4, 192, 0, 2, 102]));
    world.settle();

    assert_eq!(refused(&world.events(CLIENT)), [RedirectRefusal::BadType]);
    world.assert_up_at(1);
}

#[test]
fn a_child_sa_beside_a_redirect_is_not_installed() {
    let mut world = World::new(open(), 2);
    world.initiate();
    for _ in 0..3 {
        world.deliver();
    }
    let answer = world.take(CLIENT);

    world.put(&with_redirect(&answer, &identity("192.0.2.102")));
    assert!(world.client().plane.is_empty());
    world.settle();

    world.assert_up_at(2);
}

// test of RFC 5685 §6
#[test]
fn rda_05_a_gateway_that_is_not_believed_sends_nobody_anywhere() {
    let (mut world, answer) = answered(open());
    let forged = changed(&answer, |payloads| {
        for payload in payloads {
            if let Payload::IdR(id) = payload {
                *id = crate::ike::identity::parse("other.example.net").unwrap();
            }
        }
    });

    world.put(&forged);
    world.settle();

    let events = world.events(CLIENT);
    assert!(followed(&events).is_empty() && begun(&world, 2).is_empty());
    assert_eq!(failures(&events).len(), 1, "{events:?}");
}

// test of RFC 5685 §6
#[test]
fn a_redirect_without_auth_is_refused() {
    let (mut world, answer) = answered(open());
    let forged = changed(&answer, |payloads| {
        payloads.retain(|payload| matches!(payload, Payload::Notify(_)));
        payloads.push(Payload::Notify(Notify::plain(NotifyType::AuthenticationFailed)));
    });

    world.put(&forged);
    world.settle();

    let events = world.events(CLIENT);
    assert_eq!(refused(&events), [RedirectRefusal::WrongTime]);
    assert_eq!(failures(&events), [Failure::PeerRefused]);
    assert!(begun(&world, 2).is_empty());
}

// test of RFC 5685 §6: RDA-11
#[test]
fn rda_11_a_redirect_in_an_intermediate_round_of_eap_is_refused() {
    let (mut world, answer) = answered(open());
    let plain = Plain::open(&answer.octets);
    let packet = [1, 1, 0, 5, 1];
    let eap = crate::ike::wire::Eap::decode(&packet).unwrap();
    let round = Plain::new(plain.header, |chain| {
        chain.push(&Payload::Eap(eap))?;
        chain.notify(&NotifyContent::Redirect { gateway: "192.0.2.102".parse().unwrap(), nonce: None })
    });

    world.put(&Packet { path: answer.path, octets: round.seal() });
    world.settle();

    assert_eq!(refused(&world.events(CLIENT)), [RedirectRefusal::WrongTime]);
    assert!(begun(&world, 2).is_empty());
}

// RDA-09 and RDA-10 are RDA-01 for a client without EAP: its first response is its last one. With EAP
// they are in `ike::tests::eap::ends`.

// RDA-12
#[test]
fn rda_12_a_dead_target_leads_back_to_the_gateway_that_has_sent_us_there() {
    let mut world = world_of(plan(), 2, "192.0.2.102");
    world.dead.insert(2);

    world.initiate();
    world.pass(PATIENCE + Duration::from_secs(10));
    assert_eq!(failures(&world.events(CLIENT)), [Failure::Timeout]);
    assert_eq!(begun(&world, 1).len(), 2);
    world.lead_known(1, None);
    world.pass(2 * ROUND);

    world.assert_up_at(1);
}

// RDA-13: as RDC-23.
#[test]
fn rda_13_two_connections_that_are_sent_to_the_same_gateway_have_an_sa_each() {
    let mut plan = plan();
    plan.gateway_profile(|profile| profile.redirect_auth = true);

    let world = both(plan, |world| world.lead_known(1, Some("192.0.2.102")));

    assert_eq!(world.with(), [2, 2]);
    assert!(world.sas(1).is_empty());
    assert_eq!((world.sides[2].plane.len(), world.sides[CLIENT].plane.len()), (2, 2));
}

// test of RFC 5685 §10
#[test]
fn a_client_that_sends_its_gateway_away_in_ike_auth_is_served_all_the_same() {
    let mut world = World::new(open(), 2);
    world.initiate();
    world.deliver();
    world.deliver();
    let request = world.take(1);
    let plain = Plain::open(&request.octets);
    let gateway = "192.0.2.102".parse().unwrap();
    let both = Plain::new(plain.header, |chain| {
        plain.payloads().iter().try_for_each(|payload| chain.push(payload))?;
        chain.notify(&NotifyContent::Redirect { gateway, nonce: None })
    });

    world.put(&Packet { path: request.path, octets: both.seal() });
    world.settle();

    assert_eq!(refused(&world.events(1)), [RedirectRefusal::WrongSide]);
    world.assert_up_at(1);
}

// RDA-14
#[test]
fn rda_14_a_client_that_does_not_follow_has_an_sa_without_a_child_sa_at_most() {
    let (mut world, answer) = answered(open());
    let settings = crate::ike::config::Settings { follows_redirects: false, ..plan().client };
    world.configure(&settings);

    world.put(&answer);

    assert_eq!(refused(&world.events(CLIENT)), [RedirectRefusal::Disabled]);
    let sa = sole(&world);
    assert_eq!((sa.state, sa.children.len(), sa.remote.ip()), (SaState::Established, 0, at(1)));
}

// RDC-17 in IKE_AUTH
#[test]
fn a_target_that_is_not_allowed_leads_back_to_the_list() {
    let mut plan = plan();
    plan.client.following.allow =
        vec![crate::ike::following::Allowed::Name("gw.example.net".parse().unwrap())];
    let mut world = world_of(plan, 2, "192.0.2.102");

    world.initiate();
    world.settle();

    assert_eq!(refused(&world.events(CLIENT)), [RedirectRefusal::NotAllowed]);
    assert!(world.sas(1).is_empty() && world.sas(CLIENT).is_empty());
    world.lead_known(1, None);
    world.pass(ROUND);
    world.assert_up_at(1);
}

// RDA-15
#[test]
fn rda_15_whatever_comes_for_the_sa_that_is_left_is_not_acted_upon() {
    let (mut world, answer) = answered(open());

    world.put(&answer);
    world.put(&answer);
    world.settle();
    world.put(&answer);

    world.assert_up_at(2);
    let discards = world.client().endpoint.counters().discards;
    assert!(discards[Discard::MessageId.position()] + discards[Discard::UnknownSpi.position()] >= 2);
}
