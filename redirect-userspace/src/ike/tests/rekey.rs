//! Time: when keys are replaced, when SAs end, and what data planes are told in which order.

use std::time::Duration;

use super::*;
use crate::ike::config::Lifetimes;
use crate::ike::{CloseReason, Input};

const HOUR: Duration = Duration::from_secs(3_600);

fn lifetimes(ike: Option<Duration>, child: Option<Duration>) -> Lifetimes {
    Lifetimes { ike, child, grace: Duration::from_secs(600), ..Lifetimes::default() }
}

/// Only one of them replaces keys.
fn with(end: End, lifetimes: Lifetimes) -> Plan {
    let mut plan = open();
    match end {
        End::Client => plan.client_profile(|profile| profile.lifetimes = lifetimes),
        End::Gateway => plan.gateway_profile(|profile| profile.lifetimes = lifetimes),
    }
    plan
}

#[test]
fn keys_are_replaced_a_little_before_their_time_by_whoever_has_one() {
    for end in ENDS {
        let mut pair = with(end, lifetimes(Some(4 * HOUR), Some(HOUR))).build();
        pair.establish();
        let sa = sole(&pair, end);
        let child = sa.children[0].rekey_in.unwrap();
        assert!((HOUR * 9 / 10..=HOUR).contains(&child), "{child:?}");
        let ike = sa.rekey_in.unwrap();
        assert!((4 * HOUR * 9 / 10..=4 * HOUR).contains(&ike), "{ike:?}");

        pair.pass(HOUR);
        assert_eq!(pair.side(end).endpoint.counters().child_rekeys, 1);
        assert_eq!(pair.side(end).endpoint.counters().ike_rekeys, 0);
        pair.pass(3 * HOUR);
        assert_eq!(pair.side(end).endpoint.counters().ike_rekeys, 1);

        pair.pass(96 * HOUR);
        assert_eq!(pair.closed(end), []);
        let rekeys = pair.side(end).endpoint.counters().child_rekeys;
        assert!((98..=112).contains(&rekeys), "{rekeys}");
        assert_one_of_each(&mut pair, "after four days");
    }
}

#[test]
fn two_with_the_same_lifetimes_go_on_for_days() {
    for seed in 1..=4 {
        let mut plan = Plan { seed, ..open() };
        plan.client_profile(|profile| profile.lifetimes = lifetimes(Some(4 * HOUR), Some(HOUR)));
        plan.gateway_profile(|profile| profile.lifetimes = lifetimes(Some(4 * HOUR), Some(HOUR)));
        let mut pair = plan.build();
        pair.establish();

        pair.pass(48 * HOUR);

        for end in ENDS {
            assert_eq!(pair.closed(end), []);
        }
        assert_one_of_each(&mut pair, "after two days");
    }
}

#[test]
fn not_all_of_a_thousand_are_replaced_at_once() {
    let times: std::collections::BTreeSet<Duration> = (1..=50)
        .map(|seed| {
            let plan = Plan { seed, ..with(End::Gateway, lifetimes(None, Some(HOUR))) };
            let mut pair = plan.build();
            pair.establish();
            sole(&pair, End::Gateway).children[0].rekey_in.unwrap()
        })
        .collect();

    assert!(times.len() >= 49);
}

#[test]
fn a_child_sa_whose_keys_can_not_be_replaced_is_deleted_when_they_are_too_old() {
    let mut pair = with(End::Gateway, lifetimes(None, Some(HOUR))).build();
    pair.establish();
    // Nothing that the gateway offers is the client's any more.
    let mut other = open().client;
    other.esp_proposals = vec!["aes256gcm16".parse().unwrap()];
    pair.step(End::Client, Input::Configure(std::sync::Arc::new(other)));

    pair.pass(HOUR + Duration::from_secs(599));
    assert_eq!(pair.gateway.plane.len(), 1);
    let tries = pair.gateway.endpoint.counters().failures[Failure::PeerRefused.position()];
    assert!((30..=110).contains(&tries), "{tries} tries, not all at once");
    pair.pass(Duration::from_secs(2));

    pair.assert_in_step();
    assert!(pair.client.plane.is_empty());
    assert_eq!(sole(&pair, End::Gateway).children, [], "the IKE SA stays");
    let is_expired = |event: &Event| matches!(event, Event::ChildDown { reason: CloseReason::Expired, .. });
    assert!(pair.gateway.events.iter().any(is_expired));
}

#[test]
fn an_ike_sa_whose_keys_are_too_old_is_deleted() {
    let mut plan = with(End::Gateway, lifetimes(Some(HOUR), None));
    // Nothing that the client offers for a new IKE SA is the gateway's.
    plan.client.ike_proposals = vec!["aes128gcm16-prfsha256-x25519".parse().unwrap()];
    let mut pair = plan.build();
    pair.establish();
    let mut other = open().client;
    other.ike_proposals = vec!["aes256gcm16-prfsha384-ecp384".parse().unwrap()];
    pair.step(End::Client, Input::Configure(std::sync::Arc::new(other)));

    pair.pass(HOUR + Duration::from_secs(599));
    assert_eq!(pair.gateway.endpoint.counts().established, 1);
    pair.pass(Duration::from_secs(2));

    pair.assert_in_step();
    assert_eq!(pair.closed(End::Gateway), [CloseReason::Expired]);
    assert_eq!(pair.closed(End::Client), [CloseReason::DeletedByPeer]);
    assert!(pair.client.plane.is_empty());
}

// test of RFC 7296 §2.8
#[test]
fn traffic_leaves_through_the_new_sa_once_the_other_side_has_it() {
    for end in ENDS {
        let mut pair = opened();
        let old = [pair.client.outbound, pair.gateway.outbound];
        rekey_child(&mut pair, end);

        // The other side has made it: it receives through it, and sends through the old one.
        pair.deliver();
        let other = end.other();
        assert_eq!(pair.side(other).plane.len(), 2);
        assert!(old.contains(&pair.side(other).outbound));
        assert!(old.contains(&pair.side(end).outbound));

        // Whoever asked for it knows that both have it.
        pair.deliver();
        let new = pair.side(end).outbound;
        assert!(!old.contains(&new));
        assert_eq!(pair.side(end).plane.len(), 2, "the old one still receives");

        // The other side sends through it when the old one is deleted.
        pair.deliver();
        assert!(!old.contains(&pair.side(other).outbound));
        assert_eq!(pair.side(other).plane.len(), 1);
        pair.deliver();
        pair.assert_in_step();
    }
}

#[test]
fn a_rekeyed_ike_sa_has_the_number_of_the_old_one_and_other_keys() {
    for end in ENDS {
        let mut pair = opened();
        let before = sole(&pair, end);
        rekey_ike(&mut pair, end);
        pair.settle();
        let after = sole(&pair, end);

        assert_eq!((before.id, &before.children[0].inbound), (after.id, &after.children[0].inbound));
        assert_ne!((before.spi_i, before.spi_r), (after.spi_i, after.spi_r));
        assert_eq!(before.is_initiator, after.is_initiator, "the client stays the client");
        for end in ENDS {
            let told =
                pair.side(end).events.iter().filter(|event| matches!(event, Event::Rekeyed { .. })).count();
            assert_eq!(told, 1);
        }
        // Whatever is said over the old one is not heard any more.
        let counts = pair.gateway.endpoint.counts();
        assert_eq!(counts.established, 1);
    }
}

// COL-19
#[test]
fn a_request_on_an_ike_sa_that_was_replaced_is_put_off() {
    use crate::ike::wire::{ChildProtocol, NotifyContent, NotifyType, Payload};
    let mut pair = opened();
    let child = sole(&pair, End::Client).children[0].clone();
    rekey_ike(&mut pair, End::Client);
    let request = pair.take(End::Gateway);
    pair.put(&request);
    // The client asks for something over the old one: nothing of it is there any more, and yet it is
    // not lost.
    let old = Plain::open(&request.octets).header;
    let mut header = old;
    header.message_id = MessageId(3);
    let late = Plain::new(header, |chain| {
        chain.notify(&NotifyContent::RekeySa(ChildProtocol::Esp, child.inbound))?;
        let proposals: Vec<crate::ike::proposal::EspProposal> = vec!["aes128gcm16".parse().unwrap()];
        let exchange = crate::ike::proposal::EspExchange::CreateChildSa(None);
        let spi = crate::ike::wire::ChildSpi(std::num::NonZeroU32::new(0x1234_5678).unwrap());
        chain.push(&Payload::Sa(
            crate::ike::proposal::EspProposal::offer(&proposals, spi, exchange).unwrap(),
        ))?;
        crate::ike::sa::established::nonce(chain, &[3; 32])?;
        chain.push(&Payload::TsI(crate::ike::wire::TrafficSelectors(child.local_ts.to_vec())))?;
        chain.push(&Payload::TsR(crate::ike::wire::TrafficSelectors(child.remote_ts.to_vec())))
    });
    let response = pair.take(End::Client);
    pair.put(&Flying { octets: late.seal(), ..request });

    let answer = pair.take(End::Client);
    assert_eq!(Plain::open(&answer.octets).notifies(), [NotifyType::TemporaryFailure]);
    pair.put(&response);
    assert_eq!(sole(&pair, End::Gateway).children.len(), 1);
}

#[test]
fn an_ike_sa_that_was_replaced_and_that_nobody_deletes_is_deleted_by_us() {
    let mut pair = opened();
    rekey_ike(&mut pair, End::Client);
    pair.deliver();
    pair.deliver();
    // The client's delete of the old one is lost for a while, and so is the client's patience.
    let delete = pair.take(End::Gateway);
    let mut client = Plan { seed: 5, ..open() }.build().client;
    std::mem::swap(&mut pair.client, &mut client);
    assert_eq!(pair.gateway.endpoint.counts().established, 2);

    pair.pass(Duration::from_secs(61));
    assert!(pair.sent.iter().any(|flying| flying.to == End::Client
        && Plain::open(&flying.octets).header.exchange == ExchangeType::Informational));
    pair.pass(Duration::from_secs(170));

    assert_eq!(pair.gateway.endpoint.counts().established, 1);
    assert_eq!(pair.closed(End::Gateway), [], "the session goes on");
    drop((delete, client));
}

#[test]
fn a_client_keeps_its_addresses_whoever_replaces_its_child_sa() {
    for end in ENDS {
        let mut pair = opened();
        let given = sole(&pair, End::Client).addresses;
        assert_eq!(given.len(), 1);
        rekey_child(&mut pair, end);
        pair.settle();
        rekey_ike(&mut pair, end);
        pair.settle();
        rekey_child(&mut pair, end);
        pair.settle();

        let child = pair.client.plane.values().next().unwrap();
        assert_eq!(child.own_addresses, given, "{end:?}");
        assert!(pair.gateway.plane.values().all(|child| child.own_addresses.is_empty()));
    }
}
