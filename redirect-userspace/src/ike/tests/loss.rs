//! Each of the main exchanges with its datagram N lost, doubled or late, for every N: both sides come
//! to the same end, nothing is lost, and nothing is repeated for ever.

use std::time::Duration;

use super::*;
use crate::ike::{CloseReason, Selection};
use crate::testing::pair::Fate;

/// Most repetitions that one datagram's loss may cause: as many as an answer is waited for in vain, which
/// happens when the other side has deleted the SA and its answer is lost.
const FEW: u64 = 9;
/// Longer than any chain of repetitions.
const LONG: Duration = Duration::from_secs(300);

/// Runs a scenario once for each datagram and fate, and checks what has come of it.
pub(super) fn each(
    plan: impl Fn() -> Plan,
    begin: impl Fn(&mut Pair),
    act: impl Fn(&mut Pair),
    check: impl Fn(&mut Pair, &str),
) {
    let datagrams = {
        let mut pair = plan().build();
        begin(&mut pair);
        let before = pair.sent.len();
        act(&mut pair);
        pair.pass(LONG);
        pair.sent.len() - before
    };
    assert!(datagrams >= 2, "{datagrams}");
    for fate in [Fate::Lost, Fate::Doubled, Fate::Late] {
        // One repetition of each as well.
        for number in 0..=datagrams {
            let what = format!("{fate:?} {number} of {datagrams}");
            let mut pair = plan().build();
            begin(&mut pair);
            pair.fates.insert(pair.sent.len() + number, fate);
            act(&mut pair);
            pair.pass(LONG);
            pair.fates.clear();
            let repeated = pair.client.endpoint.counters().retransmissions
                + pair.gateway.endpoint.counters().retransmissions;
            assert!(repeated <= FEW, "{what}: {repeated} repetitions");
            check(&mut pair, &what);
        }
    }
}

fn up(pair: &mut Pair) {
    pair.establish();
}

/// The client's certificates, so that IKE_AUTH comes in fragments.
fn fragmented() -> Plan {
    let mut plan = auth::certificates(crate::crypto::x509::builder::KeyKind::P256);
    plan.client.fragment_size = crate::ike::config::FragmentSize::LEAST;
    plan.gateway.fragment_size = crate::ike::config::FragmentSize::LEAST;
    plan
}

// RTX-01 RTX-04 RTX-07 RTX-09 RTX-19
#[test]
fn a_handshake_comes_to_its_end() {
    each(Plan::shared_key, |_pair| {}, Pair::initiate, assert_one_of_each);
}

// FRG-01 FRG-07 FRG-08 FRG-10
#[test]
fn a_handshake_in_fragments_comes_to_its_end() {
    each(fragmented, |_pair| {}, Pair::initiate, assert_one_of_each);
}

// COO-02 COO-10
#[test]
fn a_handshake_with_a_cookie_and_another_group_comes_to_its_end() {
    let plan = || {
        let mut plan = Plan::shared_key();
        plan.client.ike_proposals = vec!["aes128gcm16-prfsha256-ecp256-x25519".parse().unwrap()];
        plan.gateway.ike_proposals = vec!["aes128gcm16-prfsha256-x25519".parse().unwrap()];
        plan.gateway.limits.cookie_threshold = 0;
        plan
    };
    each(plan, |_pair| {}, Pair::initiate, assert_one_of_each);
}

// RTX-05 COL-01
#[test]
fn the_rekeying_of_a_child_sa_comes_to_its_end() {
    for end in ENDS {
        each(
            Plan::shared_key,
            up,
            |pair| rekey_child(pair, end),
            |pair, what| {
                let rekeyed = pair.side(end).endpoint.counters().child_rekeys;
                assert_eq!(rekeyed, 1, "{what}");
                assert_one_of_each(pair, what);
            },
        );
    }
}

// RTX-05
#[test]
fn the_rekeying_of_a_child_sa_with_another_group_comes_to_its_end() {
    let plan = || {
        let mut plan = Plan::shared_key();
        plan.client.esp_proposals = vec!["aes128gcm16-ecp256-x25519".parse().unwrap()];
        plan.gateway.esp_proposals = vec!["aes128gcm16-x25519".parse().unwrap()];
        plan
    };
    each(plan, up, |pair| rekey_child(pair, End::Client), assert_one_of_each);
}

// RTX-05 RTX-16 COL-19
#[test]
fn the_rekeying_of_an_ike_sa_comes_to_its_end() {
    for end in ENDS {
        each(
            Plan::shared_key,
            up,
            |pair| rekey_ike(pair, end),
            |pair, what| {
                for end in ENDS {
                    assert_eq!(pair.side(end).endpoint.counters().ike_rekeys, 1, "{what}");
                    assert_eq!(pair.closed(end), [], "{what}");
                }
                assert_one_of_each(pair, what);
            },
        );
    }
}

// RTX-05 COL-24
#[test]
fn the_deletion_of_an_ike_sa_comes_to_its_end() {
    for end in ENDS {
        for fate in [Fate::Lost, Fate::Doubled, Fate::Late] {
            for number in 0..3 {
                let mut pair = Plan::shared_key().build();
                // A side that has forgotten the SA answers nothing: the other waits in vain.
                pair.establish();
                pair.fates.insert(pair.sent.len() + number, fate);

                pair.command(end, Command::Clear(Selection::All));
                pair.pass(LONG);

                pair.assert_in_step();
                for end in ENDS {
                    assert_eq!(pair.side(end).endpoint.counts().established, 0, "{fate:?} {number}");
                    assert!(pair.side(end).plane.is_empty());
                }
                assert_eq!(pair.closed(end), [CloseReason::Cleared]);
                assert_eq!(pair.closed(end.other()), [CloseReason::DeletedByPeer]);
                let repeated = pair.side(end).endpoint.counters().retransmissions;
                assert!(repeated <= 10, "{repeated}");
            }
        }
    }
}

// RTX-05
#[test]
fn another_child_sa_is_made_once_whatever_happens_under_way() {
    each(
        Plan::shared_key,
        up,
        |pair| {
            let sa = sole(pair, End::Client);
            let (local_ts, remote_ts) = (sa.children[0].local_ts.to_vec(), sa.children[0].remote_ts.to_vec());
            pair.command(End::Client, Command::NewChild { sa: sa.id, local_ts, remote_ts });
        },
        |pair, what| {
            for end in ENDS {
                assert_eq!(sole(pair, end).children.len(), 2, "{what}");
                assert_eq!(pair.side(end).plane.len(), 2, "{what}");
            }
        },
    );
}

// RTX-13
#[test]
fn what_is_wanted_at_the_same_time_is_asked_one_after_the_other() {
    let mut pair = opened();
    let id = sole(&pair, End::Client).id;
    for _ in 0..3 {
        let child = sole(&pair, End::Client).children[0].clone();
        let (local_ts, remote_ts) = (child.local_ts.to_vec(), child.remote_ts.to_vec());
        pair.command(End::Client, Command::NewChild { sa: id, local_ts, remote_ts });
    }
    rekey_child(&mut pair, End::Client);

    assert_eq!(pair.wire.len(), 1, "one request at a time");
    while let Some(flying) = pair.wire.pop_front() {
        pair.put(&flying);
        let to_gateway = pair.wire.iter().filter(|flying| flying.to == End::Gateway).count();
        assert!(to_gateway <= 1);
    }
    // What is wanted already is not wanted twice: of three one was asked for, and two are one.
    assert_eq!(sole(&pair, End::Gateway).children.len(), 3);
}

// RTX-14
#[test]
fn a_request_is_answered_while_ours_waits() {
    for end in ENDS {
        let mut pair = opened();
        rekey_child(&mut pair, end);
        let ours = pair.take(end.other());
        let first = if end == End::Client { 0 } else { 2 };
        let probe =
            made_up(&pair, end.other(), ExchangeType::Informational, (Direction::Request, first), |_chain| {
                Ok(())
            });

        pair.put(&probe);

        let answer = Plain::open(&pair.take(end.other()).octets);
        assert_eq!((answer.header.message_id, answer.kinds()), (MessageId(first), vec![]));
        pair.put(&ours);
    }
}

// RTX-10 RTX-11 RTX-12 RTX-17 BAS-26
#[test]
fn only_the_next_request_and_the_awaited_response_are_taken_in() {
    for end in ENDS {
        let mut pair = opened();
        let from = end.other();
        // RTX-17: the first request of the original responder has number 0.
        let first = if from == End::Client { 2 } else { 0 };
        for id in [first + 1, first + 7, u32::MAX] {
            let flying =
                made_up(&pair, from, ExchangeType::Informational, (Direction::Request, id), |_chain| Ok(()));
            pair.put(&flying);
            assert!(pair.wire.is_empty(), "{id} is too high");
        }
        for (id, expected) in [(first, 1), (first + 1, 1), (first, 0)] {
            let flying =
                made_up(&pair, from, ExchangeType::Informational, (Direction::Request, id), |_chain| Ok(()));
            pair.put(&flying);
            assert_eq!(pair.wire.drain(..).count(), expected, "{id}");
        }
        for id in 0..4 {
            let flying =
                made_up(&pair, from, ExchangeType::Informational, (Direction::Response, id), |_chain| Ok(()));
            pair.put(&flying);
            assert!(pair.wire.is_empty());
        }
        // BAS-26: nor a response of another exchange than the one that waits.
        rekey_child(&mut pair, end);
        let waiting = pair.take(from);
        let id = Plain::open(&waiting.octets).header.message_id.0;
        let flying =
            made_up(&pair, from, ExchangeType::Informational, (Direction::Response, id), |_chain| Ok(()));
        pair.put(&flying);
        assert!(pair.wire.is_empty());
        pair.put(&waiting);
        pair.settle();
        assert_eq!(sole(&pair, end).children.len(), 1);
    }
}

// test of RFC 7296 §2.3
// RTX-15
#[test]
fn a_larger_window_of_the_peer_is_not_made_use_of() {
    use crate::ike::wire::NotifyContent;
    let mut pair = opened();
    let five = std::num::NonZeroU32::new(5).unwrap();
    let flying =
        made_up(&pair, End::Gateway, ExchangeType::Informational, (Direction::Request, 0), |chain| {
            chain.notify(&NotifyContent::SetWindowSize(five))
        });
    pair.put(&flying);
    pair.wire.clear();

    rekey_child(&mut pair, End::Client);
    rekey_ike(&mut pair, End::Client);

    assert_eq!(pair.wire.len(), 1);
}

// RTX-19
#[test]
fn a_network_that_doubles_everything_changes_nothing() {
    let mut pair = Plan::shared_key().build();
    for number in 0..1_000 {
        pair.fates.insert(number, Fate::Doubled);
    }
    pair.initiate();
    pair.settle();
    for end in ENDS {
        rekey_child(&mut pair, end);
        pair.settle();
        rekey_ike(&mut pair, end);
        pair.settle();
    }

    assert!(pair.sent.len() <= 60, "{} datagrams", pair.sent.len());
    assert_one_of_each(&mut pair, "all doubled");
}

// RTX-16
#[test]
fn numbers_begin_anew_with_a_new_ike_sa() {
    for end in ENDS {
        let mut pair = opened();
        rekey_ike(&mut pair, end);
        pair.settle();

        rekey_child(&mut pair, end.other());

        assert_eq!(Plain::open(&pair.wire[0].octets).header.message_id, MessageId(0));
        pair.settle();
        pair.assert_in_step();
    }
}
