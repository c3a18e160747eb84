//! Redirects in IKE_SA_INIT (`RFC 5685 §3`).

use std::sync::Arc;

use super::*;
use crate::ike::config::{Connection, Encapsulation, LocalProof, RemoteProof};
use crate::ike::following::Allowed;
use crate::ike::identity::{Claim, parse};
use crate::ike::wire::KeyExchangeMethod;
use crate::ike::{Command, Discard, Input};
use crate::secret::Secret;
use crate::testing::pair::{name, prefix, profile};
use crate::testing::world::at6;

/// A client whose first request is under way, and the request.
fn asked(gateways: usize) -> (World, Packet) {
    let mut world = world(gateways);
    world.initiate();
    let request = world.take(1);
    (world, request)
}

// test of RFC 5685 §9.1
#[test]
fn rdc_01_the_request_says_that_redirects_are_followed_and_nothing_more() {
    let (_world, request) = asked(1);

    let message = Message::decode(&request.octets).unwrap();
    let notify = message.payloads.notify(NotifyType::RedirectSupported).unwrap();
    assert_eq!((notify.protocol, notify.spi, notify.data), (0, &[][..], &[][..]));
    assert_eq!(redirected_from(&request), None);
}

#[test]
fn rdc_02_a_client_that_does_not_follow_does_not_say_that_it_does() {
    let mut plan = plan();
    plan.client.follows_redirects = false;
    let mut world = World::new(plan, 1);

    world.initiate();

    let message = Message::decode(&world.wire[0].octets).unwrap();
    assert!(message.payloads.notify(NotifyType::RedirectSupported).is_none());
}

#[test]
fn rdc_03_a_redirect_that_was_not_asked_for_is_ignored_and_the_true_answer_is_taken() {
    let mut plan = plan();
    plan.client.follows_redirects = false;
    let mut world = World::new(plan, 2);
    world.initiate();
    let request = world.take(1);

    world.put(&redirect(&request, "192.0.2.102"));

    assert_eq!(refused(&world.events(CLIENT)), [RedirectRefusal::Disabled]);
    assert!(begun(&world, 2).is_empty());
    world.put(&request);
    world.settle();
    world.assert_up_at(1);
}

// test of RFC 5685 §3
#[test]
fn rdc_04_and_05_a_client_goes_where_it_is_sent_with_another_spi_and_says_by_whom() {
    let mut world = world(2);
    world.lead(1, Some("192.0.2.102"));

    world.initiate();
    world.settle();

    world.assert_up_at(2);
    let ([first], [second]) = (&begun(&world, 1)[..], &begun(&world, 2)[..]) else {
        panic!("one request each")
    };
    let [one, other] = [first, second].map(|request| Message::decode(&request.octets).unwrap().header);
    assert_ne!(one.spi_i, other.spi_i);
    assert_eq!((other.spi_r, other.message_id), (None, MessageId::FIRST));
    assert_ne!(nonce(first), nonce(second));
    assert_eq!(redirected_from(second), Some(at(1)));
    // Nothing was said to the first gateway but the request.
    assert_eq!(world.sent.iter().filter(|packet| packet.path.local.ip() == at(1)).count(), 1);
    let events = world.events(CLIENT);
    assert_eq!(followed(&events), [("192.0.2.102".to_owned(), ExchangeType::IkeSaInit)]);
    assert_eq!(sole(&world).redirected_from, Some(at(1)));
    assert_eq!(world.sas(2)[0].redirected_from, Some(at(1)));
    assert_eq!(world.client().endpoint.counters().redirects_followed, 1);
}

#[test]
fn rdc_06_whoever_says_where_it_comes_from_need_not_say_that_it_follows() {
    let mut world = world(3);
    world.lead(1, Some("192.0.2.102"));

    world.initiate();
    world.settle();

    let request = &begun(&world, 2)[0];
    let message = Message::decode(&request.octets).unwrap();
    assert!(message.payloads.notify(NotifyType::RedirectSupported).is_none());
    assert!(world.sas(2)[0].follows_redirects);
}

// test of RFC 5685 §3: RDC-07, RDC-08, RDC-09, RDC-10
#[test]
fn rdc_07_to_10_a_redirect_without_our_nonce_is_nothing_and_the_true_answer_is_taken() {
    let (mut world, request) = asked(2);
    let true_nonce = nonce(&request);
    let mut flipped = true_nonce.clone();
    flipped[0] ^= 0x80;
    let longer = [&true_nonce[..], &[0]].concat();
    let wrong = [flipped, Vec::new(), longer, true_nonce[..31].to_vec(), true_nonce[..8].to_vec()];

    for nonce in &wrong {
        world.put(&answer(&request, &[&identity("192.0.2.102")[..], nonce].concat()));
    }

    assert!(world.wire.is_empty() && begun(&world, 2).is_empty());
    assert_eq!(count(&mut world, RedirectRefusal::BadNonce), 5);
    world.put(&request);
    world.settle();
    world.assert_up_at(1);
}

// RDC-11, RDC-12, RDC-13
#[test]
fn rdc_11_to_13_a_redirect_that_cannot_be_read_is_refused_by_its_reason() {
    use RedirectRefusal::{BadAddress, BadLength, BadName, BadType};
    let (mut world, request) = asked(2);
    let nonce = nonce(&request);
    let cases: [(&[u8], RedirectRefusal); 10] = [
        (&[0, 4, 192, 0, 2, 102], BadType),
        (&[4, 4, 192, 0, 2, 102], BadType),
        (&[255, 4, 192, 0, 2, 102], BadType),
        (&[1, 3, 192, 0, 2], BadLength),
        (&[1, 5, 192, 0, 2, 102, 0], BadLength),
        (&[1, 255, 192, 0, 2, 102], BadLength),
        (&[3, 4, b'a', b'.', b'.', b'b'], BadName),
        (&[1, 4, 127, 0, 0, 1], BadAddress),
        (&[1, 4, 239, 1, 1, 1], BadAddress),
        (&[1, 4, 0, 0, 0, 0], BadAddress),
    ];
    for (data, reason) in cases {
        let before = count(&mut world, reason);
        world.put(&answer(&request, &[data, &nonce].concat()));
        assert_eq!(count(&mut world, reason), before + 1, "{data:?}");
    }

    assert!(begun(&world, 2).is_empty());
    world.put(&request);
    world.settle();
    world.assert_up_at(1);
}

// RDC-14
#[test]
fn rdc_14_a_client_goes_to_an_ipv6_address_from_one_of_its_own() {
    let (mut world, request) = asked(2);

    world.put(&redirect(&request, "fd50::66"));

    let second = world.wire.front().unwrap();
    assert_eq!(second.path.remote.ip(), at6(CLIENT));
    assert_eq!(second.path.local.ip(), at6(2));
    assert_eq!(redirected_from(second), Some(at(1)));
    world.settle();
    assert_eq!(world.with(), [2]);
}

// RDC-15
#[test]
fn rdc_15_a_name_is_resolved_and_its_addresses_are_tried_in_order() {
    let mut world = world(3);
    world.lead(1, Some("gw.example.net"));
    world.names.insert("gw.example.net".to_owned(), vec![at(2), at(3)]);
    world.dead.insert(2);

    world.initiate();
    world.settle();
    assert_eq!((begun(&world, 2).len(), begun(&world, 3).len()), (1, 0));
    world.pass(PATIENCE + Duration::from_secs(1));

    world.assert_up_at(3);
    assert_eq!(redirected_from(&begun(&world, 3)[0]), Some(at(1)));
}

// RDC-16
#[test]
fn rdc_16_a_name_without_an_address_leads_back_to_the_list() {
    let mut world = world(1);
    world.lead(1, Some("nowhere.example.net"));

    world.initiate();
    world.settle();

    let events = world.events(CLIENT);
    assert_eq!(refused(&events), [RedirectRefusal::Unresolved]);
    assert!(world.sas(CLIENT).is_empty(), "the first attempt is not left hung");
    world.lead(1, None);
    world.pass(ROUND);
    world.assert_up_at(1);
}

#[test]
fn a_name_that_is_never_answered_for_leads_back_to_the_list() {
    let (mut world, request) = asked(1);
    world.is_silent = true;

    world.put(&redirect(&request, "gw.example.net"));
    let asked = world.client().asked.clone();
    assert_eq!(asked.len(), 1);
    world.pass(LOCATING);

    assert_eq!(refused(&world.events(CLIENT)), [RedirectRefusal::Unresolved]);
    // The answer comes too late, when the client has asked for something else.
    world.is_silent = false;
    let (request, host) = asked[0].clone();
    world.names.insert("gw.example.net".to_owned(), vec![at(2)]);
    world.locate(CLIENT, request, &host);
    assert!(begun(&world, 2).is_empty());
    world.pass(ROUND);
    world.assert_up_at(1);
}

// RDC-17, RDC-18
#[test]
fn rdc_17_and_18_a_client_goes_where_it_may_and_nowhere_else() {
    for (allow, is_followed) in [("192.0.2.102/32", true), ("192.0.2.0/24", true), ("192.0.2.103/32", false)]
    {
        let mut plan = plan();
        let (network, length) = allow.split_once('/').unwrap();
        let (network, length) = (network.parse().unwrap(), length.parse().unwrap());
        plan.client.following.allow = vec![Allowed::Prefix { network, length }];
        let mut world = World::new(plan, 2);
        world.lead(1, Some("192.0.2.102"));

        world.initiate();
        world.settle();

        if is_followed {
            world.assert_up_at(2);
        } else {
            assert_eq!(refused(&world.events(CLIENT)), [RedirectRefusal::NotAllowed]);
            assert!(begun(&world, 2).is_empty());
            // The gateway has changed its mind by the next round.
            world.lead(1, None);
            world.pass(ROUND);
            world.assert_up_at(1);
        }
    }
}

#[test]
fn a_name_that_is_not_allowed_is_not_even_looked_up() {
    let mut plan = plan();
    let domain = "vpn.example.net".parse().unwrap();
    plan.client.following.allow = vec![Allowed::Below(domain)];
    let mut world = World::new(plan, 2);
    world.initiate();
    let request = world.take(1);
    world.is_silent = true;

    world.put(&redirect(&request, "gw2.evil.example"));

    assert_eq!(count(&mut world, RedirectRefusal::NotAllowed), 1);
    assert!(world.client().asked.is_empty());
}

#[test]
fn a_name_that_leads_to_no_gateways_address_is_refused() {
    for (address, reason) in [
        ("127.0.0.1", RedirectRefusal::BadAddress),
        ("224.0.0.1", RedirectRefusal::BadAddress),
        ("::", RedirectRefusal::BadAddress),
        ("fe80::1", RedirectRefusal::BadAddress),
        ("192.0.2.100", RedirectRefusal::OwnAddress),
        ("fd50::64", RedirectRefusal::OwnAddress),
    ] {
        let (mut world, request) = asked(1);
        world.names.insert("gw.example.net".to_owned(), vec![address.parse().unwrap()]);

        world.put(&redirect(&request, "gw.example.net"));

        assert_eq!(refused(&world.events(CLIENT)), [reason], "{address}");
        assert!(world.wire.is_empty(), "{address}");
    }
}

#[test]
fn a_redirect_to_an_address_of_our_own_is_refused() {
    let (mut world, request) = asked(1);

    world.put(&redirect(&request, "192.0.2.100"));

    assert_eq!(refused(&world.events(CLIENT)), [RedirectRefusal::OwnAddress]);
    assert!(world.wire.is_empty());
}

// test of RFC 5685 §3
#[test]
fn rdc_19_whoever_it_is_sent_to_has_to_be_whom_the_connection_says() {
    let mut other = plan();
    other.gateway_profile(|profile| {
        profile.authentication.local_id = Claim::Id(parse("other.example.net").unwrap());
    });
    let mut world = world(2);
    world.lead(1, Some("192.0.2.102"));
    world.step(2, Input::Configure(Arc::new(other.gateway)));

    world.initiate();
    world.settle();

    assert_eq!(failures(&world.events(CLIENT)), [Failure::OtherIdentity]);
    assert!(world.sas(CLIENT).is_empty());
}

// RDC-20 is every test in which a client comes up: all gateways are vpn.example.net.

#[test]
fn rdc_21_a_responders_spi_in_the_redirect_is_no_reason_to_refuse_it() {
    let (mut world, request) = asked(2);
    let mut redirect = redirect(&request, "192.0.2.102");
    redirect.octets[8..16].copy_from_slice(&[7; 8]);

    world.put(&redirect);
    world.settle();

    world.assert_up_at(2);
}

// RDC-22, RDF-06
#[test]
fn rdc_22_a_dead_target_leads_back_to_the_gateway_that_has_sent_us_there_and_it_is_asked_again() {
    let mut world = world(3);
    world.lead(1, Some("192.0.2.102"));
    world.dead.insert(2);

    world.initiate();
    world.pass(PATIENCE + Duration::from_secs(5));
    assert_eq!(failures(&world.events(CLIENT)), [Failure::Timeout]);
    world.pass(Duration::from_secs(20));
    assert_eq!(begun(&world, 1).len(), 2, "the second round began where the first one did");
    world.lead(1, Some("192.0.2.103"));
    world.pass(2 * PATIENCE);

    world.assert_up_at(3);
}

// RDC-23: every connection has an SA of its own, by its own credentials (a deviation).
#[test]
fn rdc_23_two_connections_that_are_sent_to_the_same_gateway_have_an_sa_each() {
    let mut plan = plan();
    plan.connection(|connection| connection.remotes = vec![(at(1), 500).into()]);
    let key = || Secret::from(&b"a shared key of some length"[..]);
    let (ours, theirs) = (LocalProof::SharedKey(key()), RemoteProof::SharedKey(key()));
    let mut twin = profile("bob@example.net", "vpn.example.net", ours, theirs);
    twin.name = name("twin");
    twin.remote_ts = vec![prefix("10.1.0.0/16")];
    let twin = Connection {
        profile: Arc::new(twin),
        remotes: vec![(at(1), 500).into()],
        wants_ipv4: true,
        wants_ipv6: false,
        upkeep: Upkeep::default(),
    };
    plan.client.connections.push(Arc::new(twin));
    let mut world = World::new(plan, 2);
    world.lead(1, Some("192.0.2.102"));

    world.initiate();
    world.settle();
    let twin = Command::Initiate { connection: name("twin"), local: at(CLIENT) };
    world.command(CLIENT, twin);
    world.settle();

    assert_eq!(world.with(), [2, 2]);
    assert_eq!((world.sides[2].plane.len(), world.client().plane.len()), (2, 2));
}

// RDC-24
#[test]
fn rdc_24_a_redirect_beside_an_answer_contradicts_it_and_neither_is_believed() {
    let mut world = World::new(open(), 2);
    world.initiate();
    world.deliver();
    let answer = world.take(CLIENT);
    let data = [identity("192.0.2.102"), nonce(&begun(&world, 1)[0])].concat();
    let notify = Notify { kind: NotifyType::Redirect, protocol: 0, spi: &[], data: &data };
    let both = Plain::open(&answer.octets);
    let both = Plain::new(both.header, |chain| {
        both.payloads().iter().try_for_each(|payload| chain.push(payload))?;
        chain.push(&Payload::Notify(notify))
    });

    world.put(&Packet { path: answer.path, octets: Plain { is_protected: false, ..both }.seal() });

    assert!(world.wire.is_empty() && begun(&world, 2).is_empty());
    assert_eq!(world.client().endpoint.counters().discards[Discard::Syntax.position()], 1);
    world.put(&answer);
    world.settle();
    world.assert_up_at(1);
}

// RDC-25
#[test]
fn rdc_25_a_client_that_is_sent_on_names_whoever_has_sent_it_last() {
    let mut world = world(3);
    world.lead(1, Some("192.0.2.102"));
    world.lead(2, Some("192.0.2.103"));

    world.initiate();
    world.settle();

    world.assert_up_at(3);
    assert_eq!(redirected_from(&begun(&world, 2)[0]), Some(at(1)));
    assert_eq!(redirected_from(&begun(&world, 3)[0]), Some(at(2)));
}

// RDM-04
#[test]
fn rdm_04_a_redirect_after_a_cookie_has_the_nonce_of_the_request_with_the_cookie() {
    let mut plan = plan();
    plan.gateway.limits.cookie_threshold = 0;
    let mut world = World::new(plan, 2);
    world.initiate();
    world.deliver();
    world.deliver();
    let again = world.take(1);
    let message = Message::decode(&again.octets).unwrap();
    assert!(message.payloads.notify(NotifyType::Cookie).is_some());

    world.put(&redirect(&again, "192.0.2.102"));
    world.settle();

    // RDM-06: the target asks for one as well, and the rest of the request is what it was.
    world.assert_up_at(2);
    let [plain, baked] = &begun(&world, 2)[..] else { panic!("two requests") };
    assert_eq!(nonce(plain), nonce(baked));
    assert_eq!([plain, baked].map(redirected_from), [Some(at(1)); 2]);
    assert!(Message::decode(&baked.octets).unwrap().payloads.notify(NotifyType::Cookie).is_some());
    let first = Message::decode(&plain.octets).unwrap();
    assert!(first.payloads.notify(NotifyType::Cookie).is_none(), "the cookie was the other gateway's");
}

// RDM-05
#[test]
fn rdm_05_a_redirect_after_another_group_was_wanted_is_followed() {
    let mut plan = plan();
    plan.gateway.ike_proposals = vec!["aes128gcm16-prfsha256-ecp256".parse().unwrap()];
    let mut world = World::new(plan, 2);
    world.initiate();
    world.deliver();
    world.deliver();
    let again = world.take(1);
    let message = Message::decode(&again.octets).unwrap();
    let public = message.payloads.find(PayloadType::KeyExchange).unwrap();
    assert_eq!(public.body[..2], u16::from(KeyExchangeMethod::Ecp256).to_be_bytes());

    world.put(&redirect(&again, "192.0.2.102"));
    world.settle();

    world.assert_up_at(2);
}

// RDM-07
#[test]
fn rdm_07_nat_detection_is_done_anew_with_the_target() {
    let mut plan = plan();
    plan.client.encapsulation = Encapsulation::Always;
    let mut world = World::new(plan, 2);
    world.lead(1, Some("192.0.2.102"));

    world.initiate();
    world.settle();

    world.assert_up_at(2);
    assert_eq!(begun(&world, 2)[0].path.local.port(), 500);
    let sa = sole(&world);
    assert_eq!((sa.local.port(), sa.remote.port()), (4500, 4500));
}
