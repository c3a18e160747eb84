//! Liveness: when a silent peer is asked, and when it is given up.

use std::time::Duration;

use super::*;
use crate::ike::wire::{NotifyType, PayloadType};
use crate::ike::{CloseReason, Input};
use crate::machine::Machine as _;
use crate::testing::pair::Fate;

const SILENCE: Duration = Duration::from_secs(30);

/// Only one of them asks.
fn asks(end: End) -> Pair {
    let mut plan = open();
    match end {
        End::Client => plan.client_profile(|profile| profile.dpd = Some(SILENCE)),
        End::Gateway => plan.gateway_profile(|profile| profile.dpd = Some(SILENCE)),
    }
    let mut pair = plan.build();
    pair.establish();
    pair
}

fn probes(pair: &Pair, from: usize) -> usize {
    let is_probe = |flying: &&Flying| {
        let plain = Plain::open(&flying.octets);
        plain.header.exchange == ExchangeType::Informational
            && plain.header.direction == Direction::Request
            && plain.kinds().is_empty()
    };
    pair.sent[from..].iter().filter(is_probe).count()
}

// test of RFC 7296 §1.4
// LIV-01
#[test]
fn a_question_without_payloads_is_answered_without_payloads() {
    for end in ENDS {
        let mut pair = opened();
        let first = if end == End::Client { 0 } else { 2 };
        let probe =
            made_up(&pair, end.other(), ExchangeType::Informational, (Direction::Request, first), |_chain| {
                Ok(())
            });

        pair.put(&probe);

        let answer = Plain::open(&pair.take(end.other()).octets);
        assert_eq!(answer.kinds(), Vec::<PayloadType>::new());
        assert_eq!(answer.header.message_id, MessageId(first));
    }
}

// test of RFC 7296 §2.4
// LIV-02 LIV-05
#[test]
fn a_silent_peer_is_asked_and_one_that_does_not_answer_is_dead() {
    for end in ENDS {
        let mut pair = asks(end);
        let before = pair.sent.len();
        pair.pass(Duration::from_secs(29));
        assert_eq!(probes(&pair, before), 0);
        pair.pass(Duration::from_secs(1));
        assert_eq!(probes(&pair, before), 1);
        pair.pass(Duration::from_secs(300));
        assert_eq!(probes(&pair, before), 11, "and again each time");

        let before = pair.sent.len();
        for number in before..before + 100 {
            pair.fates.insert(number, Fate::Lost);
        }
        pair.pass(SILENCE + Duration::from_secs(164));
        assert_eq!(pair.closed(end), []);
        pair.pass(Duration::from_secs(2));

        assert_eq!(pair.closed(end), [CloseReason::PeerDead]);
        assert!(pair.side(end).plane.is_empty());
        assert_eq!(pair.side(end).endpoint.counts().established, 0);
        assert!((8..=11).contains(&probes(&pair, before)), "{}", probes(&pair, before));
        if end == End::Gateway {
            assert_eq!(pair.gateway.pools.held(), 0, "its address is free");
        }
    }
}

// LIV-04
#[test]
fn a_peer_whose_traffic_comes_is_not_asked() {
    let mut pair = asks(End::Gateway);
    let before = pair.sent.len();
    let inbound = pair.gateway.outbound.unwrap();
    for _ in 0..20 {
        pair.pass(Duration::from_secs(20));
        pair.step(End::Gateway, Input::Alive { inbound });
    }

    assert_eq!(probes(&pair, before), 0);
    pair.pass(Duration::from_secs(31));
    assert_eq!(probes(&pair, before), 1);
}

// LIV-04
#[test]
fn a_peer_that_asks_for_something_need_not_be_asked() {
    let mut pair = asks(End::Gateway);
    let before = pair.sent.len();
    for _ in 0..10 {
        pair.pass(Duration::from_secs(20));
        rekey_child(&mut pair, End::Client);
        pair.settle();
    }

    assert_eq!(probes(&pair, before), 0);
}

// LIV-02
#[test]
fn a_request_that_waits_asks_already() {
    for end in ENDS {
        let mut pair = asks(end);
        let before = pair.sent.len();
        for number in before..before + 100 {
            pair.fates.insert(number, Fate::Lost);
        }
        rekey_child(&mut pair, end);

        pair.pass(Duration::from_secs(164));
        assert_eq!(probes(&pair, before), 0);
        assert_eq!(pair.closed(end), []);
        pair.pass(Duration::from_secs(2));

        assert_eq!(pair.closed(end), [CloseReason::PeerDead]);
    }
}

// test of RFC 7296 §2.21.4
// LIV-03 SPI-03
#[test]
fn hints_that_anybody_may_have_sent_end_nothing() {
    for end in ENDS {
        let mut pair = opened();
        for kind in [NotifyType::InvalidIkeSpi, NotifyType::InvalidSpi, NotifyType::AuthenticationFailed] {
            for direction in [Direction::Request, Direction::Response] {
                let flying =
                    made_up(&pair, end.other(), ExchangeType::Informational, (direction, 2), |chain| {
                        chain.plain(kind)
                    });
                let mut plain = Plain::open(&flying.octets);
                plain.is_protected = false;
                let before = sole(&pair, end);

                pair.put(&Flying { octets: plain.seal(), ..flying });

                assert!(pair.wire.is_empty());
                assert_eq!(sole(&pair, end), before);
            }
        }
    }
}

#[test]
fn nobody_is_asked_where_that_is_not_wanted() {
    let mut pair = opened();
    pair.pass(Duration::from_secs(1_000_000));

    assert_eq!(pair.sent.len(), 4);
    for end in ENDS {
        assert_eq!(pair.side(end).endpoint.deadline(), None);
    }
}

#[test]
fn old_messages_that_come_again_are_no_sign_of_life() {
    let mut pair = asks(End::Gateway);
    let auth = pair.sent[2].clone();
    let before = pair.sent.len();
    pair.pass(Duration::from_secs(20));
    pair.put(&auth);
    assert_eq!(pair.sent.len(), before + 1, "it is answered once more");
    pair.wire.clear();
    pair.pass(Duration::from_secs(10));

    assert_eq!(probes(&pair, before), 1, "and yet the client is asked");
}
