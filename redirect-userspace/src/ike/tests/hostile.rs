//! What nobody with a key has sent changes nothing, and the promises that every machine makes.

use std::time::Duration;

use super::*;
use crate::ike::{Input, Selection};
use crate::machine::Machine as _;

/// The main exchanges one after the other, message by message: `before` sees each one that is about to
/// arrive.
fn story(pair: &mut Pair, mut before: impl FnMut(&mut Pair, &Flying)) {
    let mut deliver = |pair: &mut Pair| {
        while let Some(flying) = pair.wire.pop_front() {
            let rest = std::mem::take(&mut pair.wire);
            before(pair, &flying);
            pair.wire = rest;
            pair.put(&flying);
        }
    };
    pair.initiate();
    deliver(pair);
    for end in ENDS {
        rekey_child(pair, end);
        deliver(pair);
        rekey_ike(pair, end);
        deliver(pair);
        pair.skip(Duration::from_secs(31));
        deliver(pair);
    }
}

fn with_dpd() -> Plan {
    let mut plan = Plan::shared_key();
    plan.client_profile(|profile| profile.dpd = Some(Duration::from_secs(30)));
    plan.gateway_profile(|profile| profile.dpd = Some(Duration::from_secs(30)));
    plan
}

fn is_init(flying: &Flying) -> bool {
    flying.octets[18] == 34
}

// test of RFC 7296 §2.21
// BAS-28
#[test]
fn no_message_with_any_bit_changed_changes_an_sa_and_the_real_one_still_counts() {
    let mut pair = with_dpd().build();
    let mut tried = 0_u32;
    story(&mut pair, |pair, real| {
        if is_init(real) {
            return;
        }
        let forge = |pair: &mut Pair, bit: usize| {
            let mut forged = real.clone();
            forged.octets[bit / 8] ^= 1 << (bit % 8);
            let sent = pair.sent.len();
            pair.put(&forged);
            let answered: usize = pair.sent[sent..].iter().map(|answer| answer.octets.len()).sum();
            assert!(answered <= forged.octets.len(), "no answer to a stranger is longer than his message");
            pair.wire.clear();
        };
        // The first one of all makes the responder compute its keys.
        forge(pair, 8 * real.octets.len() - 1);
        let before = pair.side(real.to).endpoint.state();
        let counts = pair.side(real.to).endpoint.counts();
        for bit in 0..8 * real.octets.len() {
            forge(pair, bit);
            assert_eq!(pair.side(real.to).endpoint.counts(), counts);
            if bit % 16 == 0 {
                assert_eq!(pair.side(real.to).endpoint.state(), before, "bit {bit} of {real:?}");
            }
            tried += 1;
        }
        assert_eq!(pair.side(real.to).endpoint.state(), before);
    });

    assert!(tried > 10_000, "{tried}");
    assert_one_of_each(&mut pair, "after all");
}

// RTX-05 RTX-10 RTX-19
#[test]
fn nothing_that_was_sent_before_changes_an_sa_when_it_comes_again() {
    let mut pair = with_dpd().build();
    story(&mut pair, |pair, _| {
        let old = pair.sent[..pair.sent.len().saturating_sub(1)].to_vec();
        // What is still under way has not been seen.
        let seen: Vec<Flying> = old.into_iter().filter(|flying| !is_init(flying)).collect();
        let states = |pair: &Pair| [pair.client.endpoint.state(), pair.gateway.endpoint.state()];
        let before = states(pair);
        let arrived = pair.delivered;
        for flying in seen.iter().take(arrived.saturating_sub(3)) {
            let sent = pair.sent.len();
            pair.put(flying);
            assert!(pair.sent.len() - sent <= 1, "at most the same answer again");
            pair.wire.clear();
            pair.sent.truncate(sent);
        }
        pair.delivered = arrived;
        assert_eq!(states(pair), before);
    });
    assert_one_of_each(&mut pair, "after all");
}

#[test]
fn the_same_seed_and_the_same_facts_give_the_same_outputs() {
    for provider in [Provider::Null, Provider::Real] {
        let run = || {
            let mut pair = Plan { provider, seed: 7, ..with_dpd() }.build();
            for _ in 0..3 {
                pair.initiate();
                pair.settle();
            }
            for end in ENDS {
                for sa in pair.sas(end) {
                    pair.command(end, Command::RekeyIke(sa.id));
                    pair.command(end, Command::RekeyChildren(sa.id));
                }
            }
            pair.pass(Duration::from_secs(500));
            pair.command(End::Gateway, Command::Clear(Selection::All));
            pair.settle();
            (pair.sent, pair.client.events, pair.gateway.events)
        };

        let (one, two) = (run(), run());

        assert_eq!(one.0.len(), two.0.len());
        assert!(one == two, "two runs differ");
    }
}

#[test]
fn a_timeout_that_comes_early_changes_nothing() {
    let mut pair = with_dpd().build();
    let early = |pair: &mut Pair| {
        for end in ENDS {
            let side = pair.side(end);
            let (state, deadline) = (side.endpoint.state(), side.endpoint.deadline());
            let (events, sent) = (side.events.len(), pair.sent.len());
            if deadline.is_some_and(|deadline| deadline.is_due(pair.now)) {
                continue;
            }
            pair.step(end, Input::Timeout);
            assert_eq!(pair.sent.len(), sent);
            let side = pair.side(end);
            assert_eq!((side.endpoint.state(), side.endpoint.deadline()), (state, deadline));
            assert_eq!(side.events.len(), events);
        }
    };
    story(&mut pair, |pair, _| early(pair));
    early(&mut pair);
}

#[test]
fn every_prefix_and_every_splice_of_messages_is_survived() {
    let mut pair = with_dpd().build();
    story(&mut pair, |pair, real| {
        if is_init(real) {
            return;
        }
        for length in 0..real.octets.len() {
            let mut cut = real.clone();
            cut.octets.truncate(length);
            pair.put(&cut);
            if length >= 28 {
                cut.octets[24..28].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
                pair.put(&cut);
            }
        }
        let others = pair.sent.clone();
        for other in others.iter().filter(|other| other.octets.len() > 40) {
            // The header of one with the inside of the other.
            let mut spliced = real.clone();
            spliced.octets.truncate(28);
            spliced.octets.extend_from_slice(&other.octets[28..]);
            let length = u32::try_from(spliced.octets.len()).unwrap();
            spliced.octets[24..28].copy_from_slice(&length.to_be_bytes());
            if spliced.octets != real.octets {
                pair.put(&spliced);
            }
        }
        pair.wire.clear();
    });
    assert_one_of_each(&mut pair, "after all");
}

#[test]
fn first_messages_with_any_bit_changed_never_reach_the_sa_of_the_real_one() {
    let mut pair = Plan::shared_key().build();
    pair.initiate();
    let real = pair.take(End::Gateway);
    pair.gateway.events.clear();
    for bit in (0..8 * real.octets.len()).step_by(5) {
        let mut forged = real.clone();
        forged.octets[bit / 8] ^= 1 << (bit % 8);
        pair.put(&forged);
    }
    pair.wire.clear();

    pair.put(&real);
    pair.settle();

    pair.assert_in_step();
    assert_eq!(pair.gateway.endpoint.counts().established, 1);
    pair.pass(Duration::from_secs(31));
    assert_eq!(pair.gateway.endpoint.counts().half_open, 0);
}
