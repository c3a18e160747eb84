//! Child SAs that have carried as much as they should, or as they may.

use super::*;
use crate::ike::wire::ChildSpi;
use crate::ike::{CloseReason, Input};

#[test]
fn a_child_sa_that_is_worn_in_both_directions_is_replaced_once() {
    for end in ENDS {
        let mut pair = open().build();
        pair.establish();
        let inbound = sole(&pair, end).children[0].inbound;

        // Each direction tells by itself, and the second one while the peer is asked already.
        for _ in 0..3 {
            pair.step(end, Input::Worn { inbound, is_spent: false });
        }
        pair.settle();

        assert_eq!(pair.side(end).endpoint.counters().child_rekeys, 1);
        assert_ne!(sole(&pair, end).children[0].inbound, inbound);
        assert_one_of_each(&mut pair, "worn");

        // What is said too late of the old one, or of nobody, changes nothing.
        let (new, rekeys) =
            (sole(&pair, end).children[0].inbound, pair.side(end).endpoint.counters().child_rekeys);
        let nobody = ChildSpi(std::num::NonZeroU32::MAX);
        for (inbound, is_spent) in [(inbound, false), (inbound, true), (nobody, false), (nobody, true)] {
            pair.step(end, Input::Worn { inbound, is_spent });
        }
        pair.settle();
        assert_eq!(sole(&pair, end).children[0].inbound, new);
        assert_eq!(pair.side(end).endpoint.counters().child_rekeys, rekeys);
    }
}

#[test]
fn a_child_sa_that_carries_nothing_more_is_deleted() {
    for end in ENDS {
        let mut pair = open().build();
        pair.establish();
        let inbound = sole(&pair, end).children[0].inbound;

        pair.step(end, Input::Worn { inbound, is_spent: true });
        pair.settle();

        assert_eq!(sole(&pair, end).children, [], "the IKE SA stays");
        let is_expired =
            |event: &Event| matches!(event, Event::ChildDown { reason: CloseReason::Expired, .. });
        assert!(pair.events(end).iter().any(is_expired));
        pair.assert_in_step();
        assert!(pair.client.plane.is_empty() && pair.gateway.plane.is_empty());
    }
}

#[test]
fn worn_on_both_sides_at_once_one_child_sa_is_left() {
    let mut pair = open().build();
    pair.establish();

    for end in ENDS {
        let inbound = sole(&pair, end).children[0].inbound;
        for _ in 0..2 {
            pair.step(end, Input::Worn { inbound, is_spent: false });
        }
    }
    pair.settle();

    assert_one_of_each(&mut pair, "worn at once");
}
