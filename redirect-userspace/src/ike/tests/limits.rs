//! How much is taken on: cookies, half-open SAs, SAs, Child SAs, and how long.

use std::time::Duration;

use super::*;
use crate::ike::wire::{Notify, NotifyContent, NotifyType, Payload};
use crate::ike::{Discard, Input};

/// A gateway with these limits, and a first message for it that can be sent from anywhere.
fn flooded(change: impl FnOnce(&mut crate::ike::config::Limits)) -> (Pair, Flying) {
    let mut plan = open();
    change(&mut plan.gateway.limits);
    let mut pair = plan.build();
    pair.initiate();
    let request = pair.take(End::Gateway);
    pair.sent.clear();
    (pair, request)
}

/// The same message from another client: number `n`, with its own SPI and address.
fn from(request: &Flying, n: u16) -> Flying {
    let mut flying = request.clone();
    let [high, low] = n.to_be_bytes();
    flying.octets[..2].copy_from_slice(&[high, low]);
    flying.octets[2] |= 1;
    flying.path.remote = ([10, 0, high, low], 500).into();
    flying
}

fn count(pair: &Pair, discard: Discard) -> u64 {
    pair.gateway.endpoint.counters().discards[discard.position()]
}

/// The cookie that is asked for, if one is.
fn cookie(pair: &mut Pair) -> Option<Vec<u8>> {
    // Most of those who flood are not there.
    pair.wire.clear();
    let answer = Plain::open(&pair.sent.pop()?.octets);
    assert!(pair.sent.is_empty());
    let cookie = answer.chain().notify(NotifyType::Cookie)?.data.to_vec();
    assert_eq!((answer.header.spi_r, answer.kinds().len()), (None, 1), "and nothing else");
    Some(cookie)
}

/// The request with a cookie before everything else.
fn with_cookie(request: &Flying, cookie: &[u8]) -> Flying {
    let notify = Notify { data: cookie, ..Notify::plain(NotifyType::Cookie) };
    let plain = Plain::open(&request.octets);
    let mut payloads = plain.payloads();
    payloads.insert(0, Payload::Notify(notify));
    let mut again =
        Plain::new(plain.header, |chain| payloads.iter().try_for_each(|payload| chain.push(payload)));
    again.is_protected = false;
    Flying { octets: again.seal(), ..request.clone() }
}

// test of RFC 7296 §2.6
// COO-01
#[test]
fn from_a_threshold_on_cookies_are_asked_for_and_nothing_is_kept() {
    let (mut pair, request) = flooded(|limits| limits.cookie_threshold = 3);
    for n in 1..=3 {
        pair.put(&from(&request, n));
        assert_eq!(cookie(&mut pair), None);
    }

    for n in 4..=20 {
        pair.put(&from(&request, n));

        let cookie = cookie(&mut pair).expect("a cookie");
        assert!((1..=64).contains(&cookie.len()));
    }
    assert_eq!(pair.gateway.endpoint.counts().half_open, 3);
    let changes: Vec<&Event> =
        pair.gateway.events.iter().filter(|event| matches!(event, Event::CookiesChanged { .. })).collect();
    assert_eq!(changes, [&Event::CookiesChanged { are_wanted: true, half_open: 3, is_crowded: false }]);
    assert_eq!(pair.gateway.endpoint.counters().cookies, 17);
}

// COO-01
#[test]
fn cookies_are_asked_for_until_half_as_many_are_half_open() {
    let (mut pair, request) = flooded(|limits| limits.cookie_threshold = 4);
    for n in 1..=4 {
        pair.put(&from(&request, n));
        pair.sent.clear();
        pair.now = pair.now.after(Duration::from_secs(5));
    }
    pair.put(&from(&request, 9));
    assert!(cookie(&mut pair).is_some(), "four are half-open");

    // They end one by one, 5 seconds apart, 30 seconds after they began.
    let mut wanted = Vec::new();
    for _ in 0..4 {
        pair.now = pair.now.after(Duration::from_secs(5));
        pair.step(End::Gateway, Input::Timeout);
        pair.put(&from(&request, 9));
        wanted.push((cookie(&mut pair).is_some(), pair.gateway.endpoint.counts().half_open));
    }

    assert_eq!(wanted, [(true, 4), (true, 3), (false, 3), (false, 2)], "with the new one");
}

// COO-02 COO-03
#[test]
fn with_the_right_cookie_a_client_comes_in_and_with_a_wrong_one_it_gets_another() {
    let (mut pair, request) = flooded(|limits| limits.cookie_threshold = 0);
    pair.put(&request);
    let good = cookie(&mut pair).unwrap();

    for wrong in [&good[..good.len() - 1], &[7; 17], &[good.clone(), vec![0]].concat()] {
        pair.put(&with_cookie(&request, wrong));
        assert_eq!(cookie(&mut pair), Some(good.clone()), "RFC 7296 §2.6: as if there were none");
    }
    assert_eq!(count(&pair, Discard::Cookie), 3);
    assert_eq!(pair.gateway.endpoint.counts().half_open, 0);

    pair.put(&with_cookie(&request, &good));
    assert_eq!(pair.gateway.endpoint.counts().half_open, 1);
}

// COO-06 COO-07
#[test]
fn a_cookie_is_good_for_nobody_else() {
    let (mut pair, request) = flooded(|limits| limits.cookie_threshold = 0);
    pair.put(&request);
    let good = cookie(&mut pair).unwrap();

    let mut elsewhere = with_cookie(&request, &good);
    elsewhere.path.remote.set_ip([10, 9, 9, 9].into());
    let mut other_spi = with_cookie(&request, &good);
    other_spi.octets[0] ^= 1;
    let other_nonce = Plain::open(&request.octets).with(|payloads| {
        for payload in payloads {
            if let Payload::Nonce(nonce) = payload {
                *nonce = crate::ike::wire::Nonce::new(vec![9; 32]).unwrap();
            }
        }
    });
    let other_nonce = with_cookie(&Flying { octets: other_nonce.seal(), ..request.clone() }, &good);
    for forged in [elsewhere, other_spi, other_nonce] {
        pair.put(&forged);
        assert!(cookie(&mut pair).is_some_and(|cookie| cookie != good));
    }
    assert_eq!(pair.gateway.endpoint.counts().half_open, 0);
    // Another port is the same host behind its NAT.
    let mut other_port = with_cookie(&request, &good);
    other_port.path.remote.set_port(1024);
    pair.put(&other_port);
    assert_eq!(pair.gateway.endpoint.counts().half_open, 1);
}

// COO-04
#[test]
fn a_cookie_that_nobody_has_asked_for_is_ignored() {
    let (mut pair, request) = flooded(|_limits| {});

    pair.put(&with_cookie(&request, b"whatever"));

    assert_eq!(pair.gateway.endpoint.counts().half_open, 1);
    assert_eq!(count(&pair, Discard::Cookie), 0);
}

// COO-05
#[test]
fn a_cookie_is_good_for_a_while_after_its_secret_has_changed() {
    let (mut pair, request) = flooded(|limits| limits.cookie_threshold = 0);
    pair.put(&request);
    let good = cookie(&mut pair).unwrap();

    pair.now = pair.now.after(Duration::from_secs(31));
    pair.put(&with_cookie(&request, &good));
    assert_eq!(pair.gateway.endpoint.counts().half_open, 1);
    pair.sent.clear();
    pair.now = pair.now.after(Duration::from_secs(60));
    let mut late = with_cookie(&request, &good);
    late.path.remote.set_port(777);
    pair.put(&late);
    assert!(cookie(&mut pair).is_some(), "not for ever");
}

// COO-02 COO-10
#[test]
fn a_client_comes_up_through_cookies_and_another_group_in_any_order() {
    for (client, gateway) in [
        ("aes128gcm16-prfsha256-x25519", "aes128gcm16-prfsha256-x25519"),
        ("aes128gcm16-prfsha256-ecp256-x25519", "aes128gcm16-prfsha256-x25519"),
    ] {
        for provider in [Provider::Null, Provider::Real] {
            let mut plan = Plan { provider, ..open() };
            plan.client.ike_proposals = vec![client.parse().unwrap()];
            plan.gateway.ike_proposals = vec![gateway.parse().unwrap()];
            plan.gateway.limits.cookie_threshold = 0;
            let mut pair = plan.build();
            pair.establish();
            assert_eq!(sole(&pair, End::Client).children.len(), 1);
        }
    }
    // The other order: first another group, then busy.
    let mut plan = open();
    plan.client.ike_proposals = vec!["aes128gcm16-prfsha256-ecp256-x25519".parse().unwrap()];
    plan.gateway.ike_proposals = vec!["aes128gcm16-prfsha256-x25519".parse().unwrap()];
    let gateway = plan.gateway.clone();
    let mut pair = plan.build();
    pair.initiate();
    pair.deliver();
    let mut busy = gateway;
    busy.limits.cookie_threshold = 0;
    pair.step(End::Gateway, Input::Configure(std::sync::Arc::new(busy)));
    pair.settle();
    pair.assert_in_step();
    assert_eq!(sole(&pair, End::Client).children.len(), 1);
}

#[test]
fn no_more_than_so_many_sas_are_half_open() {
    let (mut pair, request) = flooded(|limits| limits.half_open = 5);
    for n in 1..=20 {
        pair.put(&from(&request, n));
    }

    assert_eq!(pair.gateway.endpoint.counts().half_open, 5);
    assert_eq!(pair.sent.len(), 5, "the others are not answered");
    assert_eq!(count(&pair, Discard::Limit), 15);
    let refused: Vec<&Event> =
        pair.gateway.events.iter().filter(|event| matches!(event, Event::Refused { .. })).collect();
    assert_eq!(refused.len(), 1, "said once, not fifteen times: {refused:?}");
    assert_eq!(failures(&pair.gateway.events), [Failure::HalfOpenLimit]);
}

#[test]
fn no_more_than_so_many_of_one_address_are_half_open() {
    let (mut pair, request) = flooded(|limits| limits.half_open_per_source = 6);
    let of_one = |n| {
        let mut flying = from(&request, n);
        flying.path.remote = ([10, 0, 0, 1], 1_000 + n).into();
        flying
    };
    for n in 1..=20 {
        pair.put(&of_one(n));
    }
    assert_eq!(pair.gateway.endpoint.counts().half_open, 3, "the others are asked for a cookie");
    assert_eq!(pair.gateway.endpoint.counters().cookies, 17);
    pair.sent.clear();

    for n in 21..=30 {
        pair.put(&of_one(n));
        let cookie = cookie(&mut pair).unwrap();
        pair.put(&with_cookie(&of_one(n), &cookie));
        pair.sent.clear();
    }
    pair.put(&from(&request, 99));

    assert_eq!(pair.gateway.endpoint.counts().half_open, 7);
    assert_eq!(failures(&pair.gateway.events), [Failure::SourceLimit]);
}

#[test]
fn no_more_than_so_many_of_one_network_are_half_open() {
    let (mut pair, request) = flooded(|limits| limits.half_open_per_prefix = 6);
    for n in 1..=20 {
        pair.put(&from(&request, n));
    }
    assert_eq!(pair.gateway.endpoint.counts().half_open, 3, "the others are asked for a cookie");
    pair.sent.clear();

    for n in 21..=30 {
        pair.put(&from(&request, n));
        let cookie = cookie(&mut pair).unwrap();
        pair.put(&with_cookie(&from(&request, n), &cookie));
        pair.sent.clear();
    }
    assert_eq!(pair.gateway.endpoint.counts().half_open, 6);
    assert_eq!(failures(&pair.gateway.events), [Failure::PrefixLimit]);

    pair.put(&from(&request, 0x1_00));
    assert_eq!(pair.gateway.endpoint.counts().half_open, 7, "there is room for others");
}

#[test]
fn where_clients_have_come_up_there_may_be_as_many_more() {
    let mut plan = open();
    plan.gateway.limits.half_open_per_source = 2;
    let mut pair = plan.build();
    for _ in 0..4 {
        pair.initiate();
        pair.settle();
    }
    pair.initiate();
    let request = pair.take(End::Gateway);
    let of_client = |n| Flying { path: request.path, ..from(&request, n) };

    // Two, and one for each of those four. From half of them on a cookie is asked for.
    for n in 1..=9 {
        pair.wire.clear();
        pair.sent.clear();
        pair.put(&of_client(n));
        let asked = cookie(&mut pair);
        assert_eq!(asked.is_some(), n > 3, "{n}");
        if let Some(cookie) = asked {
            pair.put(&with_cookie(&of_client(n), &cookie));
        }
    }

    assert_eq!(pair.gateway.endpoint.counts().half_open, 6);
    assert_eq!(failures(&pair.gateway.events), [Failure::SourceLimit]);
}

// COO-01
#[test]
fn in_a_crowd_everyone_is_asked_for_a_cookie_and_for_a_while_after() {
    let (mut pair, request) = flooded(|_limits| {});
    pair.step(End::Gateway, Input::Crowded(true));
    let is_asked = |pair: &mut Pair, n| {
        pair.put(&from(&request, n));
        cookie(pair).is_some()
    };
    assert!(is_asked(&mut pair, 1));

    pair.step(End::Gateway, Input::Crowded(false));
    assert!(is_asked(&mut pair, 2), "it may come back");
    pair.now = pair.now.after(Duration::from_secs(9));
    assert!(is_asked(&mut pair, 3));
    pair.now = pair.now.after(Duration::from_secs(1));
    assert!(!is_asked(&mut pair, 4));

    let changes: Vec<bool> = pair.gateway.events.iter().filter_map(are_cookies_wanted).collect();
    assert_eq!(changes, [true, false], "said once each");
}

const fn are_cookies_wanted(event: &Event) -> Option<bool> {
    if let Event::CookiesChanged { are_wanted, .. } = event { Some(*are_wanted) } else { None }
}

// test of RFC 7296 §2.6
// COO-01
#[test]
fn whoever_says_to_be_at_a_clients_address_can_not_keep_it_out() {
    let (mut pair, request) = flooded(|_limits| {});
    for n in 1..=1_000 {
        let mut flying = from(&request, n);
        flying.path.remote = request.path.remote;
        pair.put(&flying);
    }
    pair.wire.clear();

    pair.put(&request);
    pair.settle();

    pair.assert_in_step();
    assert_eq!(pair.gateway.endpoint.counts().established, 1);
}

#[test]
fn whoever_has_come_up_does_not_count_as_half_open() {
    let mut plan = open();
    plan.gateway.limits.half_open = 1;
    plan.gateway.limits.half_open_per_source = 1;
    let mut pair = plan.build();
    pair.establish();
    assert_eq!(pair.gateway.endpoint.counts().half_open, 0);

    pair.initiate();
    pair.settle();

    assert_eq!(pair.gateway.endpoint.counts().established, 2);
}

#[test]
fn no_more_than_so_many_sas_there_are() {
    let mut plan = open();
    plan.gateway.limits.sas = 2;
    let mut pair = plan.build();
    for _ in 0..5 {
        pair.initiate();
        pair.settle();
    }

    assert_eq!(pair.gateway.endpoint.counts().established, 2);
    assert_eq!(failures(&pair.gateway.events), [Failure::SaLimit]);
    assert_eq!(count(&pair, Discard::Limit), 3);
}

#[test]
fn no_more_than_so_many_child_sas_an_ike_sa_has_and_rekeying_them_goes_on() {
    let mut plan = open();
    plan.gateway.limits.children = 3;
    let mut pair = plan.build();
    pair.establish();
    let id = sole(&pair, End::Client).id;
    for _ in 0..5 {
        let (local_ts, remote_ts) = selectors(&pair);
        pair.command(End::Client, Command::NewChild { sa: id, local_ts, remote_ts });
        pair.settle();
    }

    assert_eq!(sole(&pair, End::Gateway).children.len(), 3);
    assert_eq!(failures(&pair.gateway.events), [Failure::ChildLimit; 3]);
    assert_eq!(failures(&pair.client.events), [Failure::PeerRefused; 3]);
    let answers = pair.sent.iter().map(|flying| Plain::open(&flying.octets).notifies());
    assert_eq!(answers.filter(|notifies| notifies.contains(&NotifyType::NoAdditionalSas)).count(), 3);

    rekey_child(&mut pair, End::Client);
    pair.settle();
    assert_eq!(sole(&pair, End::Gateway).children.len(), 3);
}

fn selectors(
    pair: &Pair,
) -> (Vec<crate::ike::wire::TrafficSelector>, Vec<crate::ike::wire::TrafficSelector>) {
    let child = sole(pair, End::Client).children[0].clone();
    (child.local_ts.to_vec(), child.remote_ts.to_vec())
}

#[test]
fn half_open_sas_end_after_their_time_and_are_counted() {
    let (mut pair, request) = flooded(|_limits| {});
    for n in 1..=7 {
        pair.put(&from(&request, n));
    }
    pair.wire.clear();

    pair.now = pair.now.after(Duration::from_millis(29_999));
    pair.step(End::Gateway, Input::Timeout);
    assert_eq!(pair.gateway.endpoint.counts().half_open, 7);
    pair.now = pair.now.after(Duration::from_millis(1));
    pair.step(End::Gateway, Input::Timeout);
    assert_eq!(pair.gateway.endpoint.counts().half_open, 0);

    assert_eq!(failures(&pair.gateway.events), [Failure::Timeout], "said once");
    assert_eq!(pair.gateway.endpoint.counters().failures[Failure::Timeout.position()], 7);
    // The others are told of later, all at once.
    pair.now = pair.now.after(Duration::from_secs(11));
    pair.step(End::Gateway, Input::Timeout);
    let Some(Event::Refused { count, .. }) = pair.gateway.events.last() else { panic!("told") };
    assert_eq!(*count, 6);
}

// COO-01
#[test]
fn a_request_that_breaks_the_rules_gets_no_cookie() {
    let (mut pair, request) = flooded(|limits| limits.cookie_threshold = 0);
    let plain = Plain::open(&request.octets).with(|payloads| {
        payloads.retain(|payload| !matches!(payload, Payload::Nonce(_)));
    });

    pair.put(&Flying { octets: plain.seal(), ..request });

    let answer = Plain::open(&pair.take(End::Client).octets);
    let content = answer.chain().notifies().next().unwrap().content();
    assert_eq!(content, Ok(NotifyContent::Plain(NotifyType::InvalidSyntax)));
}
