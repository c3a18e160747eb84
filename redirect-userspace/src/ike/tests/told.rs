//! What the gateway knows of the clients that it tells to go: who follows redirects, and who has not
//! answered.

use std::time::Duration;

use super::redirect::{following, redirect, redirected, targets};
use super::*;
use crate::ike::wire::{Message, NotifyType};
use crate::ike::{CloseReason, Input, SaState, Selection};
use crate::machine::Machine as _;
use crate::testing::pair::Fate;

const GRACE: Duration = Duration::from_secs(3_600);

/// A client with an SA, of which the gateway would get rid.
fn unwanted(mut pair: Pair) -> Pair {
    pair.step(End::Gateway, targets(1, &[]));
    pair.establish();
    pair.sent.clear();
    pair.events(End::Gateway);
    pair
}

// RDX-03: test of RFC 5685 §5, RFC 7296 §2.1
#[test]
fn a_redirect_that_is_not_answered_is_repeated_octet_by_octet_until_the_sa_is_given_up() {
    let mut pair = unwanted(following(open()));
    pair.fates.extend((0..200).map(|number| (number, Fate::Lost)));
    let start = pair.now.mono;

    pair.command(End::Gateway, redirect(Selection::All, GRACE));
    let mut times = vec![0];
    while !pair.sas(End::Gateway).is_empty() {
        let due = pair.gateway.endpoint.deadline().unwrap().at;
        pair.now = pair.now.after(due.since(pair.now.mono));
        let before = pair.sent.len();
        pair.step(End::Gateway, Input::Timeout);
        times.extend((before..pair.sent.len()).map(|_| pair.now.mono.since(start).as_secs()));
    }

    assert_eq!(times, [0, 1, 3, 7, 15, 31, 63, 95, 127, 159]);
    assert_eq!(pair.now.mono.since(start).as_secs(), 165, "long before its grace is over");
    let first = Plain::open(&pair.sent[0].octets);
    assert_eq!(first.header.exchange, ExchangeType::Informational);
    assert!(first.notifies().contains(&NotifyType::Redirect));
    assert!(pair.sent.iter().all(|flying| flying.octets == pair.sent[0].octets));
    assert_eq!(pair.closed(End::Gateway), [CloseReason::Redirected], "it was told to go, and is gone");
    assert_eq!(pair.gateway.endpoint.counters().redirects, [0, 0, 1], "one redirect, however often");
}

// RDX-03
#[test]
fn the_answer_to_any_of_the_repetitions_will_do() {
    let mut pair = unwanted(following(Plan::shared_key()));
    pair.fates.extend((0..4).map(|number| (number, Fate::Lost)));

    pair.command(End::Gateway, redirect(Selection::All, GRACE));
    pair.pass(Duration::from_secs(14));
    assert_eq!(pair.sent.len(), 4);
    pair.pass(Duration::from_secs(1));

    let answers: Vec<_> = pair.sent.iter().filter(|flying| flying.to == End::Gateway).collect();
    let answer = Message::decode(&answers[0].octets).unwrap().header;
    assert_eq!((answer.exchange, answer.direction), (ExchangeType::Informational, Direction::Response));
    assert_eq!(sole(&pair, End::Gateway).state, SaState::Redirected);
    pair.pass(GRACE / 2);
    let told =
        pair.sent.iter().filter(|flying| flying.to == End::Client && flying.octets == pair.sent[0].octets);
    assert_eq!(told.count(), 5, "and not once more");
}

// RDI-26: test of RFC 5685 §3
#[test]
fn who_follows_redirects_is_remembered_as_long_as_the_session_goes_on() {
    for does_follow in [true, false] {
        let mut plan = Plan::shared_key();
        plan.client.follows_redirects = does_follow;
        let mut pair = unwanted(plan.build());
        assert_eq!(sole(&pair, End::Gateway).follows_redirects, does_follow);

        // The request that said so is long past, and two generations of keys.
        for end in ENDS {
            let id = sole(&pair, end).id;
            pair.command(end, Command::RekeyIke(id));
            pair.settle();
            assert_eq!(sole(&pair, End::Gateway).follows_redirects, does_follow, "{end:?}");
        }
        pair.pass(Duration::from_secs(1_800));
        pair.events(End::Gateway);
        pair.command(End::Gateway, redirect(Selection::All, GRACE));

        assert_eq!(pair.wire.len(), usize::from(does_follow));
        assert_eq!(redirected(&pair.events(End::Gateway)).is_some(), does_follow);
    }
}
