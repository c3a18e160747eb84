//! What libreswan calls global redirect (rows `RDF`), by what the cluster gives instead: which member
//! serves a client is the table's, of which every slot has one.
//!
//! Not ours: a mode that redirects only under a flood (RDF-03 and RDF-04: without a table nobody is
//! redirected, and whoever has one does so always), and IKE over TCP (RDF-11).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::redirect::{follow, targets};
use super::*;
use crate::gateway::{EmptySlot, GatewayAddress, GatewayAddresses, GatewayIndex, LlgTable};
use crate::ike::Input;
use crate::ike::redirect::{Target, Targets};
use crate::ike::wire::{Message, NotifyContent, NotifyType};

const VIP: &str = "192.0.2.1";

/// A table whose slots lead to these members in turn.
fn in_turn(members: &[&str]) -> Input<'static> {
    let lead = |at: usize| (!members.is_empty()).then(|| u16::try_from(at % members.len()).unwrap());
    let slots = (0..common::maps::SLOTS).map(|at| lead(at).and_then(GatewayIndex::new)).collect();
    let table = LlgTable { generation: 1, slots, empty: EmptySlot::Keep };
    let member = |text: &&str| {
        let addresses = GatewayAddresses::new([text.parse().unwrap()]).unwrap();
        Some(Target { addresses, is_self: false })
    };
    let members = members.iter().map(member).collect();
    let vips = vec![VIP.parse().unwrap()];
    Input::Targets(Arc::new(Targets::new(&table, members, 0x9e37_79b9_7f4a_7c15, vips)))
}

/// A client's first request, which says that it follows redirects if it `does`.
fn request(pair: &mut Pair, does: bool) -> Flying {
    pair.initiate();
    if does {
        follow(pair);
    }
    pair.take(End::Gateway)
}

/// Where the gateway sends whoever has sent this request.
fn asked(pair: &mut Pair, request: &Flying) -> Option<GatewayAddress> {
    pair.put(request);
    let answer = pair.take(End::Client);
    let message = Message::decode(&answer.octets).unwrap();
    let notify = message.payloads.notify(NotifyType::Redirect)?;
    let NotifyContent::Redirect { gateway, .. } = notify.content().unwrap() else { panic!("{notify:?}") };
    Some(gateway)
}

/// Where a new client is sent by a gateway that has this table.
fn sent(table: Option<Input<'_>>, does: bool) -> (Pair, Option<GatewayAddress>) {
    let mut pair = Plan::shared_key().build();
    if let Some(table) = table {
        pair.step(End::Gateway, table);
    }
    let request = request(&mut pair, does);
    let to = asked(&mut pair, &request);
    (pair, to)
}

#[test]
fn rdf_01_without_a_table_nobody_is_redirected() {
    for does_follow in [true, false] {
        let (pair, to) = sent(None, does_follow);
        assert_eq!((to, pair.gateway.endpoint.counts().half_open), (None, 1));
    }
}

// RDF-02, RDF-09: how many were redirected, and how many stayed because they do not follow.
#[test]
fn rdf_02_and_09_with_a_table_everybody_is_redirected_who_follows_and_all_are_counted() {
    let mut pair = Plan::shared_key().build();
    pair.step(End::Gateway, targets(1, &[VIP]));
    for (does_follow, count) in [(true, 7), (false, 3)] {
        for _ in 0..count {
            let request = request(&mut pair, does_follow);
            assert_eq!(asked(&mut pair, &request).is_some(), does_follow);
        }
    }

    assert_eq!(pair.gateway.endpoint.counters().redirects, [7, 0, 0]);
    assert_eq!(pair.gateway.endpoint.counts().half_open, 3);
}

// RDF-05: shares are equal, by the client's SPI and not by whose turn it is, so that a request that comes
// again is answered as before.
#[test]
fn rdf_05_three_members_get_equal_shares_and_a_repeated_request_the_same_member() {
    let members = ["192.0.2.11", "192.0.2.12", "192.0.2.13"];
    let mut shares = BTreeMap::new();
    let mut pair = Plan::shared_key().build();
    pair.step(End::Gateway, in_turn(&members));
    for _ in 0..CLIENTS {
        let request = request(&mut pair, true);
        let to = asked(&mut pair, &request).unwrap();
        for _ in 0..3 {
            assert_eq!(asked(&mut pair, &request).as_ref(), Some(&to));
        }
        *shares.entry(to.to_string()).or_insert(0_usize) += 1;
    }

    assert_eq!(shares.keys().map(String::as_str).collect::<Vec<_>>(), members);
    // Five standard deviations of a share.
    assert!(shares.values().all(|share| share.abs_diff(CLIENTS / 3) < 41), "{shares:?}");
}

// RDF-07
#[test]
fn rdf_07_another_table_counts_from_the_next_request_on() {
    let mut pair = Plan::shared_key().build();
    let mut next = |table: Input<'_>| {
        pair.step(End::Gateway, table);
        let request = request(&mut pair, true);
        asked(&mut pair, &request).map(|to| to.to_string())
    };

    assert_eq!(next(in_turn(&["192.0.2.11"])).as_deref(), Some("192.0.2.11"));
    assert_eq!(next(in_turn(&["192.0.2.12"])).as_deref(), Some("192.0.2.12"));
    assert_eq!(next(in_turn(&[])), None, "nobody is left to be sent to");
    assert_eq!(next(in_turn(&["192.0.2.13"])).as_deref(), Some("192.0.2.13"));
    assert_eq!(next(targets(1, &[])), None, "the address is not the cluster's any more");
}

// RDF-10, RDF-12: a name is sent only where a member has no address: Cisco's clients follow addresses alone.
#[test]
fn rdf_10_and_12_every_member_is_sent_by_what_it_has_and_an_address_before_a_name() {
    let (_, to) = sent(Some(in_turn(&["192.0.2.11"])), true);
    assert!(matches!(to, Some(GatewayAddress::Ipv4(_))), "{to:?}");
    let (_, to) = sent(Some(in_turn(&["gw3.example.net"])), true);
    assert!(matches!(to, Some(GatewayAddress::Fqdn(_))), "{to:?}");
    let (_, to) = sent(Some(in_turn(&["fd50::11"])), true);
    assert_eq!(to, None, "not to another family");

    let both = ["gw3.example.net", "192.0.2.11", "fd50::11"].map(|text| text.parse().unwrap());
    let both = GatewayAddresses::new(both).unwrap();
    let seen =
        ["192.0.2.1", "fd50::1"].map(|text| both.for_peer_of(text.parse().unwrap()).unwrap().to_string());
    assert_eq!(seen, ["192.0.2.11", "fd50::11"]);
}

/// Enough to see that shares are equal.
const CLIENTS: usize = 300;
