//! Loss, tickets, and redirects around EAP.

use super::*;
use crate::gateway::GatewayAddress;
use crate::ike::wire::{NotifyContent, NotifyType};
use crate::ike::{CloseReason, Input, RedirectRefusal, SaState};
use crate::testing::world::{CLIENT, World};

// RTX-01 RTX-04 with EAP
#[test]
fn a_handshake_with_eap_comes_to_its_end_whatever_is_lost_doubled_or_late() {
    for asks_identity in [false, true] {
        let plan = || with(Gate { asks_identity, ..gate(vec![passwords()]) }, user("alice", PASSWORD));
        loss::each(plan, |_pair| {}, Pair::initiate, assert_one_of_each);
    }
}

#[test]
fn a_refusal_by_eap_comes_to_its_end_whatever_is_lost_doubled_or_late() {
    loss::each(
        || with(gate(vec![passwords()]), user("alice", "wrong")),
        |_pair| {},
        Pair::initiate,
        |pair, what| {
            assert!(pair.client.plane.is_empty() && pair.gateway.plane.is_empty(), "{what}");
            assert_eq!(pair.sas(End::Gateway), [], "{what}");
            let failures = pair.gateway.endpoint.counters().failures;
            assert!(failures[Failure::Eap.position()] >= 1, "{what}");
        },
    );
}

// FRG-01 with EAP
#[test]
fn a_handshake_with_eap_in_fragments_comes_to_its_end() {
    let small = || {
        let mut plan = gateway::by_certificate(plan(), crate::crypto::x509::builder::KeyKind::Rsa);
        plan.client.fragment_size = crate::ike::config::FragmentSize::LEAST;
        plan.gateway.fragment_size = crate::ike::config::FragmentSize::LEAST;
        plan
    };
    let mut pair = small().build();
    pair.establish();
    let fragments = |flying: &&Flying| flying.octets[16] == 53;
    assert!(pair.sent.iter().filter(fragments).count() >= 2, "the gateway's certificate is long");

    loss::each(small, |_pair| {}, Pair::initiate, assert_one_of_each);
}

// RES-04
#[test]
fn res_04_a_ticket_is_asked_for_in_the_first_request_and_given_in_the_last_response() {
    let mut pair = plan().resuming().build();
    pair.establish();

    let kinds: Vec<Vec<NotifyType>> =
        pair.sent.iter().map(|flying| Plain::open(&flying.octets).notifies()).collect();
    let with = |kind: NotifyType| {
        kinds
            .iter()
            .enumerate()
            .filter(|(_, kinds)| kinds.contains(&kind))
            .map(|(at, _)| at)
            .collect::<Vec<_>>()
    };
    assert_eq!(with(NotifyType::TicketRequest), [2]);
    assert_eq!(with(NotifyType::TicketLtOpaque), [9]);
}

/// A client with a ticket whose gateway is gone, with another member of the cluster where it was.
fn orphaned() -> Pair {
    orphan(plan())
}

fn orphan(plan: Plan) -> Pair {
    let mut plan = plan.resuming();
    plan.client_profile(|profile| profile.dpd = Some(Duration::from_secs(10)));
    let settings = plan.gateway.clone();
    let mut pair = plan.build();
    pair.establish();
    pair.fail_over(Provider::Null, settings, 2);
    for _ in 0..40 {
        pair.wire.clear();
        pair.now = pair.now.after(Duration::from_secs(10));
        pair.step(End::Client, Input::Timeout);
    }
    assert_eq!(pair.closed(End::Client), [CloseReason::PeerDead]);
    pair.wire.clear();
    pair.sent.clear();
    pair.events(End::Client);
    pair.events(End::Gateway);
    pair
}

// test of RFC 5723 §4.3.3
#[test]
fn a_session_that_goes_on_is_that_of_its_user_who_types_no_password_again() {
    let mut pair = orphaned();

    pair.initiate();
    pair.settle();

    let sa = sole(&pair, End::Gateway);
    assert_eq!((&*sa.remote_id, sa.is_resumed), ("alice", true));
    assert_eq!((said(&pair, End::Client), said(&pair, End::Gateway)), (vec![], vec![]));
    assert_one_of_each(&mut pair, "resumed");
}

#[test]
fn a_session_goes_on_by_the_name_that_was_proved_whatever_the_idi() {
    let mut plan = with(Gate { asks_identity: true, ..gate(vec![passwords()]) }, user("alice", PASSWORD));
    plan.client_profile(|profile| {
        let id = crate::ike::identity::parse("10.0.0.1").unwrap();
        profile.authentication.local_id = crate::ike::identity::Claim::Id(id);
    });
    plan.gateway_profile(|profile| {
        profile.authentication.remote_ids = vec![crate::ike::identity::parse_pattern("alice").unwrap()];
    });
    let mut pair = orphan(plan);

    pair.initiate();
    pair.settle();

    let sa = sole(&pair, End::Gateway);
    assert_eq!((&*sa.remote_id, sa.is_resumed), ("alice", true));
}

// test of RFC 5723 §4.3.3
#[test]
fn a_ticket_without_a_proof_of_its_keys_is_no_way_into_eap() {
    let mut pair = orphaned();
    pair.initiate();
    pair.deliver();
    pair.deliver();
    change(&mut pair, End::Gateway, |payloads| payloads.retain(|it| !matches!(it, Payload::Auth(_))));

    pair.deliver();

    let events = pair.events(End::Gateway);
    let [Event::Refused { failure, detail, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(*failure, Failure::Authentication);
    assert_eq!(&**detail, "a ticket, and no proof that its keys are known");
    assert_eq!(said(&pair, End::Gateway), []);
}

fn follows(mut plan: Plan, first: bool) -> Plan {
    plan.client.follows_redirects = true;
    plan.gateway_profile(|profile| {
        profile.redirect_auth = true;
        let gate = Gate { redirects_first: first, ..gate(vec![passwords()]) };
        profile.authentication.remote = RemoteProof::Eap(Arc::new(gate));
    });
    plan
}

fn followed(world: &World) -> Vec<String> {
    let events = world.sides[CLIENT].events.clone();
    let follows = |event: &Event| {
        if let Event::RedirectFollowed { to, .. } = event { Some(to.to_string()) } else { None }
    };
    events.iter().filter_map(follows).collect()
}

/// Which IKE_AUTH response of a gateway had a REDIRECT, counted from 0, and what else was in it.
fn redirecting(world: &World) -> Vec<(u32, Vec<PayloadType>)> {
    let mut found = Vec::new();
    for packet in &world.sent {
        let plain = Plain::open(&packet.octets);
        let is_it =
            plain.header.direction == Direction::Response && plain.header.exchange == ExchangeType::IkeAuth;
        if is_it && plain.notifies().contains(&NotifyType::Redirect) {
            found.push((plain.header.message_id.0 - 1, plain.kinds()));
        }
    }
    found
}

// RDA-09: test of RFC 5685 §6
#[test]
fn rda_09_a_client_may_be_sent_elsewhere_in_the_first_response_with_the_gateways_proof_and_no_sa() {
    let mut world = World::new(follows(plan(), true), 2);
    world.lead_known(1, Some("192.0.2.102"));

    world.initiate();
    world.settle();

    use PayloadType::{Auth, IdR, Notify};
    assert_eq!(redirecting(&world), [(0, vec![IdR, Auth, Notify])]);
    assert_eq!(followed(&world), ["192.0.2.102"]);
    assert_eq!((world.sas(1).len(), world.sas(2).len()), (0, 1));
    assert_eq!(world.sides[1].endpoint.counts().established, 0);
    // Nobody was there, so there is nothing to delete.
    let deletes =
        world.sent.iter().filter(|packet| Plain::open(&packet.octets).kinds() == [PayloadType::Delete]);
    assert_eq!(deletes.count(), 0);
}

// RDA-09: the proof is looked at.
#[test]
fn rda_09_a_redirect_in_the_first_response_without_a_right_proof_is_not_followed() {
    for strip in [true, false] {
        let mut world = World::new(follows(plan(), true), 2);
        world.lead_known(1, Some("192.0.2.102"));
        world.initiate();
        for _ in 0..3 {
            world.deliver();
        }
        let answer = world.take(CLIENT);
        let forged = Plain::open(&answer.octets).with(|payloads| {
            if strip {
                payloads.retain(|it| !matches!(it, Payload::Auth(_)));
            }
            for payload in payloads {
                if let Payload::Auth(auth) = payload {
                    auth.data = vec![1; 32].into();
                }
            }
        });
        world.put(&crate::testing::world::Packet { path: answer.path, octets: forged.seal() });
        world.settle();

        assert_eq!(followed(&world), Vec::<String>::new(), "{strip}");
    }
}

// RDA-10: test of RFC 5685 §6
#[test]
fn rda_10_a_client_is_sent_elsewhere_in_the_last_response_unless_it_is_configured_otherwise() {
    let mut world = World::new(follows(plan(), false), 2);
    world.lead_known(1, Some("192.0.2.102"));

    world.initiate();
    world.settle();

    use PayloadType::{Auth, Notify};
    assert_eq!(redirecting(&world), [(3, vec![Auth, Notify])]);
    assert_eq!(followed(&world), ["192.0.2.102"]);
    assert_eq!((world.sas(1).len(), world.sas(2).len()), (0, 1));
    let [sa] = &world.sas(2)[..] else { panic!("one SA") };
    assert_eq!((&*sa.remote_id, sa.state), ("alice", SaState::Established));
}

// RDA-11: test of RFC 5685 §6
#[test]
fn rda_11_a_redirect_in_the_middle_of_eap_is_not_followed() {
    for number in [3, 5, 7] {
        let mut pair = after(
            {
                let mut plan = plan();
                plan.client.follows_redirects = true;
                plan
            },
            number,
        );
        let gateway: GatewayAddress = "192.0.2.102".parse().unwrap();
        let flying = pair.take(End::Client);
        let plain = Plain::open(&flying.octets);
        let changed = Plain::new(plain.header, |chain| {
            plain.payloads().iter().try_for_each(|payload| chain.push(payload))?;
            chain.notify(&NotifyContent::Redirect { gateway, nonce: None })
        });
        pair.put(&Flying { octets: changed.seal(), ..flying });
        pair.settle();

        let refused = pair.client.endpoint.counters().redirects_refused;
        assert_eq!(refused[RedirectRefusal::WrongTime.position()], 1, "{number}");
        assert_eq!(pair.client.endpoint.counters().redirects_followed, 0, "{number}");
        assert_eq!(&*sole(&pair, End::Client).remote_id, "vpn.example.net", "{number}: it goes on");
    }
}

// test of RFC 8784 §3
#[test]
fn a_key_from_before_is_named_in_the_last_request_and_confirmed_in_the_last_response() {
    use crate::ike::config::{Ppk, Ppks};
    let ppks = |id: &str, fill, is_required| {
        let secret = Secret::new(vec![fill; 32]);
        Some(Ppks { keys: vec![Arc::new(Ppk { id: id.as_bytes().into(), secret })], is_required })
    };
    let with = |client, gateway| {
        let mut plan = plan();
        plan.client_profile(|profile| profile.ppk = client);
        plan.gateway_profile(|profile| profile.ppk = gateway);
        let mut pair = plan.build();
        pair.initiate();
        pair.settle();
        pair
    };
    let is_about = |kind: &NotifyType| {
        matches!(kind, NotifyType::UsePpk | NotifyType::PpkIdentity | NotifyType::NoPpkAuth)
    };
    let mut pair = with(ppks("a", 1, false), ppks("a", 1, true));
    let said: Vec<Vec<NotifyType>> = pair
        .sent
        .iter()
        .map(|flying| Plain::open(&flying.octets).notifies().into_iter().filter(is_about).collect())
        .collect();
    let (first, last) = (&said[..2], &said[said.len() - 2..]);
    assert_eq!(first, [vec![NotifyType::UsePpk], vec![NotifyType::UsePpk]]);
    assert_eq!(last, [vec![NotifyType::PpkIdentity, NotifyType::NoPpkAuth], vec![NotifyType::PpkIdentity]]);
    assert!(said[2..said.len() - 2].iter().all(Vec::is_empty));
    assert_one_of_each(&mut pair, "with a key from before");

    // Both can do without one that is not known.
    let mut pair = with(ppks("a", 1, false), ppks("b", 2, false));
    assert_one_of_each(&mut pair, "without");
    for (client, gateway) in [
        (ppks("a", 1, true), ppks("b", 2, false)),
        (ppks("a", 1, false), ppks("b", 2, true)),
        (ppks("a", 1, false), ppks("a", 2, false)),
        (None, ppks("a", 1, true)),
        (ppks("a", 1, true), None),
    ] {
        let pair = with(client, gateway);
        assert!(pair.sas(End::Client).is_empty());
        assert!(pair.gateway.plane.is_empty());
        assert_eq!(failures(&pair.client.events).len(), 1);
    }
}

// test of RFC 9242 §3.3.2
#[test]
fn both_proofs_of_the_gateway_cover_further_key_exchanges() {
    let mut plan = further::hybrid(plan(), further::HYBRID);
    plan.provider = Provider::Real;
    let mut pair = plan.build();
    pair.establish();
    assert_one_of_each(&mut pair, "hybrid");
    let plan = || further::hybrid(plan_real(), further::HYBRID);
    loss::each(plan, |_pair| {}, Pair::initiate, assert_one_of_each);
}

fn plan_real() -> Plan {
    Plan { provider: Provider::Real, ..plan() }
}
