//! Further key exchanges for SAs in the place of others: IKE_FOLLOWUP_KE, as it should be and as it
//! should not.

use std::time::Duration;

use super::further::{HYBRID, hybrid};
use super::*;
use crate::ike::config::FragmentSize;
use crate::ike::wire::{
    KeyExchange as KePayload, KeyExchangeMethod, Notify, NotifyContent, NotifyType, Payload,
};
use crate::ike::{CloseReason, Selection};
use crate::testing::pair::Fate;

const ESP: &str = "aes128gcm16-x25519-ke1_mlkem768-ke2_ecp256";

/// Both sides want further key exchanges, for all their SAs.
fn plan(provider: Provider) -> Plan {
    let mut plan = Plan { provider, ..hybrid(Plan::shared_key(), HYBRID) };
    for settings in [&mut plan.client, &mut plan.gateway] {
        settings.esp_proposals = vec![ESP.parse().unwrap()];
        if plan.provider == Provider::Null {
            // A test can read what is in one piece.
            settings.fragment_size = FragmentSize::new(2_000).unwrap();
        }
    }
    plan
}

fn up(provider: Provider) -> Pair {
    let mut pair = plan(provider).build();
    pair.establish();
    pair
}

fn said(flying: &Flying) -> (ExchangeType, Direction) {
    let message = crate::ike::wire::Message::decode(&flying.octets).unwrap();
    (message.header.exchange, message.header.direction)
}

const FOLLOWS: (ExchangeType, Direction) = (ExchangeType::IkeFollowupKe, Direction::Request);
const FOLLOWED: (ExchangeType, Direction) = (ExchangeType::IkeFollowupKe, Direction::Response);

/// How many requests of that kind were sent, in however many pieces.
fn followed(pair: &Pair) -> usize {
    let id = |flying: &Flying| crate::ike::wire::Message::decode(&flying.octets).unwrap().header.message_id;
    let ids: std::collections::BTreeSet<_> =
        pair.sent.iter().filter(|flying| said(flying) == FOLLOWS).map(id).collect();
    ids.len()
}

/// Delivers until a message like this is the next one, and takes it off the wire.
fn until(pair: &mut Pair, what: (ExchangeType, Direction)) -> Flying {
    for _ in 0..20 {
        let next = pair.wire.front().expect("more to come");
        if said(next) == what {
            return pair.wire.pop_front().unwrap();
        }
        pair.deliver();
    }
    panic!("no such message")
}

// test of RFC 9370 §2.2.4
#[test]
fn each_further_key_exchange_of_a_child_sa_has_an_exchange_of_its_own() {
    for provider in [Provider::Real, Provider::Null] {
        for end in ENDS {
            let mut pair = up(provider);
            assert_eq!(&*sole(&pair, end).children[0].suite, "aes128gcm16-noesn", "none in IKE_AUTH");
            pair.sent.clear();

            rekey_child(&mut pair, end);
            pair.settle();

            assert_eq!(followed(&pair), 2);
            for end in ENDS {
                assert_eq!(&*sole(&pair, end).children[0].suite, format!("{ESP}-noesn"));
            }
            assert_one_of_each(&mut pair, "rekeyed");
        }
    }
}

// test of RFC 9370 §2.2.4
#[test]
fn each_further_key_exchange_of_an_ike_sa_has_an_exchange_of_its_own() {
    for provider in [Provider::Real, Provider::Null] {
        for end in ENDS {
            let mut pair = up(provider);
            pair.sent.clear();

            rekey_ike(&mut pair, end);
            pair.settle();

            assert_eq!(followed(&pair), 1);
            for end in ENDS {
                assert_eq!(&*sole(&pair, end).suite, HYBRID);
                assert_eq!(pair.closed(end), []);
            }
            assert_one_of_each(&mut pair, "rekeyed");
        }
    }
}

#[test]
fn what_follows_is_linked_to_what_it_follows_and_the_last_one_links_nothing() {
    let mut pair = up(Provider::Null);
    rekey_child(&mut pair, End::Client);
    let mut links = Vec::new();
    let link = |flying: &Flying| {
        let plain = Plain::open(&flying.octets);
        let notify = plain.chain().notify(NotifyType::AdditionalKeyExchange);
        notify.map(|notify| notify.data.to_vec())
    };
    for _ in 0..6 {
        links.push(link(&pair.wire[0]));
        pair.deliver();
    }

    // CREATE_CHILD_SA, then IKE_FOLLOWUP_KE twice: each answer but the last one has a new link, which
    // the next request brings back.
    let [None, Some(first), Some(back), Some(second), Some(again), None] = &links[..] else {
        panic!("{links:?}")
    };
    assert_eq!((first, second), (back, again));
    assert_ne!(first, second);
}

#[test]
fn another_child_sa_has_them_too() {
    let mut pair = up(Provider::Real);
    let sa = sole(&pair, End::Client);
    let (local_ts, remote_ts) = (sa.children[0].local_ts.to_vec(), sa.children[0].remote_ts.to_vec());

    pair.command(End::Client, Command::NewChild { sa: sa.id, local_ts, remote_ts });
    pair.settle();

    pair.assert_in_step();
    let suites = |end| sole(&pair, end).children.iter().filter(|child| child.suite.contains("ke2")).count();
    assert_eq!(ENDS.map(suites), [1, 1]);
}

#[test]
fn everything_comes_to_its_end_whatever_is_lost() {
    for act in [rekey_child, rekey_ike] {
        for end in ENDS {
            loss::each(|| plan(Provider::Real), Pair::establish, |pair| act(pair, end), assert_one_of_each);
        }
    }
}

#[test]
fn so_it_does_in_fragments() {
    let plan = || {
        let mut plan = plan(Provider::Real);
        plan.client.fragment_size = FragmentSize::LEAST;
        plan.gateway.fragment_size = FragmentSize::LEAST;
        plan
    };
    loss::each(plan, Pair::establish, |pair| rekey_ike(pair, End::Gateway), assert_one_of_each);
}

/// Both begin; what follows comes in an order that is named by a number.
fn cross(plan: Plan, order: usize, acts: [fn(&mut Pair, End); 2]) -> Pair {
    let mut pair = plan.build();
    pair.establish();
    for (end, act) in ENDS.into_iter().zip(acts) {
        act(&mut pair, end);
    }
    let mut bits = order;
    for _ in 0..24 {
        let to = if bits & 1 == 0 { End::Client } else { End::Gateway };
        bits >>= 1;
        if pair.wire.iter().any(|flying| flying.to == to) {
            let flying = pair.take(to);
            pair.put(&flying);
        }
    }
    // What was given up is tried again.
    pair.pass(Duration::from_secs(300));
    pair
}

// test of RFC 9370 §2.2.4
// COL-02 COL-12
#[test]
fn two_who_begin_at_once_agree_whoever_hears_first() {
    type Act = fn(&mut Pair, End);
    let all: [[Act; 2]; 4] = [
        [rekey_child, rekey_child],
        [rekey_ike, rekey_ike],
        [rekey_child, rekey_ike],
        [rekey_ike, rekey_child],
    ];
    for acts in all {
        for seed in 1..=3 {
            for order in 0..128 {
                let mut pair = cross(Plan { seed, ..plan(Provider::Null) }, order, acts);
                let what = format!("seed {seed}, order {order:b}");
                for end in ENDS {
                    assert_eq!(pair.closed(end), [], "{what}");
                }
                assert_one_of_each(&mut pair, &what);
            }
        }
    }
}

#[test]
fn they_agree_when_only_one_of_them_has_further_key_exchanges() {
    for seed in 1..=3 {
        for order in 0..128 {
            let mut plan = Plan { seed, ..plan(Provider::Null) };
            plan.client.esp_proposals = vec![ESP.parse().unwrap(), "aes128gcm16-x25519".parse().unwrap()];
            plan.gateway.esp_proposals = vec!["aes128gcm16-x25519".parse().unwrap(), ESP.parse().unwrap()];
            plan.client.ike_proposals.push("aes128gcm16-prfsha256-x25519".parse().unwrap());
            let mut pair = cross(plan, order, [rekey_child, rekey_child]);
            assert_one_of_each(&mut pair, &format!("seed {seed}, order {order:b}"));
        }
    }
}

#[test]
fn they_agree_with_any_one_datagram_lost_doubled_or_late() {
    for seed in 1..=3 {
        for act in [rekey_child, rekey_ike] {
            for fate in [Fate::Lost, Fate::Doubled, Fate::Late] {
                for number in 0..14 {
                    let mut pair = Plan { seed, ..plan(Provider::Null) }.build();
                    pair.establish();
                    let at = pair.sent.len() + number;
                    pair.fates.insert(at, fate);
                    for end in ENDS {
                        act(&mut pair, end);
                    }
                    pair.pass(Duration::from_secs(600));

                    pair.fates.clear();
                    assert_one_of_each(&mut pair, &format!("seed {seed}, {fate:?} {number}"));
                }
            }
        }
    }
}

// test of RFC 9370 §2.2.4
#[test]
fn what_is_linked_to_nothing_is_told_so_and_changes_nothing() {
    for end in ENDS {
        let mut pair = up(Provider::Null);
        rekey_child(&mut pair, end);
        let right = until(&mut pair, FOLLOWS);
        let plain = Plain::open(&right.octets);
        let other = plain.with(|payloads| {
            for payload in payloads {
                if let Payload::Notify(notify) = payload
                    && notify.kind == NotifyType::AdditionalKeyExchange
                {
                    *notify = Notify { data: b"12345678", ..*notify };
                }
            }
        });
        pair.put(&Flying { octets: other.seal(), ..right });

        let answer = pair.take(end);
        assert_eq!(Plain::open(&answer.octets).notifies(), [NotifyType::StateNotFound]);
        pair.put(&answer);
        // Whoever has begun begins anew, later.
        pair.settle();
        pair.assert_in_step();
        pair.pass(Duration::from_secs(200));
        assert_eq!(&*sole(&pair, end).children[0].suite, format!("{ESP}-noesn"));
        assert_one_of_each(&mut pair, "anew");
    }
}

#[test]
fn another_child_sa_whose_state_is_lost_is_asked_for_once_more_and_no_more() {
    let mut pair = up(Provider::Null);
    let sa = sole(&pair, End::Client);
    let (local_ts, remote_ts) = (sa.children[0].local_ts.to_vec(), sa.children[0].remote_ts.to_vec());
    pair.command(End::Client, Command::NewChild { sa: sa.id, local_ts, remote_ts });
    for _ in 0..2 {
        let follows = until(&mut pair, FOLLOWS);
        pair.put(&follows);
        let answer = until(&mut pair, FOLLOWED);
        let lost = Plain::open(&answer.octets).with(|payloads| {
            *payloads = vec![Payload::Notify(Notify::plain(NotifyType::StateNotFound))];
        });
        pair.put(&Flying { octets: lost.seal(), ..answer });
    }
    pair.settle();

    assert_eq!(failures(&pair.client.events), [Failure::PeerRefused]);
    assert_eq!(sole(&pair, End::Client).children.len(), 1);
    // The gateway forgets in time what nobody goes on with.
    pair.pass(Duration::from_secs(200));
    pair.assert_in_step();
}

#[test]
fn what_nobody_has_begun_cannot_be_gone_on_with() {
    for end in ENDS {
        let mut pair = opened();
        let id = if end == End::Client { 0 } else { 2 };
        let request = (Direction::Request, id);
        let public = KePayload { method: KeyExchangeMethod::Curve25519, data: vec![9; 32].into() };
        let flying = made_up(&pair, end.other(), ExchangeType::IkeFollowupKe, request, |chain| {
            chain.push(&Payload::KeyExchange(public))?;
            chain.notify(&NotifyContent::AdditionalKeyExchange(b"something"))
        });

        pair.put(&flying);

        let answer = Plain::open(&pair.take(end.other()).octets);
        assert_eq!(answer.notifies(), [NotifyType::StateNotFound]);
        assert_one_of_each(&mut pair, "as ever");
    }
}

/// Message with other payloads.
fn changed(flying: &Flying, change: impl FnOnce(&mut Vec<Payload<'_>>)) -> Flying {
    Flying { octets: Plain::open(&flying.octets).with(change).seal(), ..flying.clone() }
}

#[test]
fn a_request_without_the_right_public_value_ends_the_ike_sa() {
    for act in [rekey_child, rekey_ike] {
        for method in [KeyExchangeMethod::MlKem512, KeyExchangeMethod::MlKem768] {
            for end in ENDS {
                let mut pair = up(Provider::Null);
                act(&mut pair, end);
                let right = until(&mut pair, FOLLOWS);
                let wrong = changed(&right, |payloads| {
                    payloads[0] = Payload::KeyExchange(KePayload { method, data: vec![7; 800].into() });
                });
                pair.put(&wrong);

                let answer = Plain::open(&pair.wire[0].octets);
                assert_eq!(answer.notifies(), [NotifyType::InvalidSyntax]);
                pair.settle();
                for end in ENDS {
                    assert!(pair.sas(end).is_empty(), "{:?}", pair.sas(end));
                    assert_eq!(pair.closed(end), [CloseReason::ProtocolError]);
                }
            }
        }
    }
}

#[test]
fn a_response_without_the_right_public_value_or_link_leaves_nothing_behind() {
    type Change = fn(&mut Vec<Payload<'_>>);
    let changes: [Change; 3] = [
        |payloads| {
            let method = KeyExchangeMethod::MlKem768;
            payloads[0] = Payload::KeyExchange(KePayload { method, data: vec![7; 5].into() });
        },
        |payloads| {
            let method = KeyExchangeMethod::Ecp256;
            payloads[0] = Payload::KeyExchange(KePayload { method, data: vec![7; 64].into() });
        },
        |payloads| payloads.truncate(1),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        for end in ENDS {
            let mut pair = up(Provider::Null);
            rekey_child(&mut pair, end);
            let right = until(&mut pair, FOLLOWED);
            pair.put(&changed(&right, change));
            pair.settle();
            if number < 2 {
                assert!(pair.sas(end).is_empty(), "RFC 6989 §2.5: {:?}", pair.sas(end));
            } else {
                pair.pass(Duration::from_secs(200));
                assert_one_of_each(&mut pair, "tried again");
            }
        }
    }
}

#[test]
fn an_sa_that_is_deleted_meanwhile_is_gone_on_both_sides() {
    for end in ENDS {
        for closer in ENDS {
            for act in [rekey_child, rekey_ike] {
                let mut pair = up(Provider::Null);
                act(&mut pair, end);
                let follows = until(&mut pair, FOLLOWS);
                pair.command(closer, Command::Clear(Selection::All));
                pair.put(&follows);
                pair.pass(Duration::from_secs(300));
                for end in ENDS {
                    assert!(pair.sas(end).is_empty());
                    assert!(pair.side(end).plane.is_empty());
                    assert_eq!(pair.side(end).endpoint.counts().established, 0);
                }
            }
        }
    }
}
