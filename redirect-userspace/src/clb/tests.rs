//! Properties of the table, and the few cases worth reading.

use common::maps::{MAX_GATEWAYS, SLOTS};
use proptest::prelude::*;

use crate::clb::llg::fill;
use crate::gateway::GatewayIndex;

type Slots = [Option<GatewayIndex>];

fn index(value: u16) -> GatewayIndex {
    GatewayIndex::new(value).unwrap()
}

/// Slots of each gateway.
struct Counts([u32; MAX_GATEWAYS]);

impl Counts {
    fn of(&self, gateway: GatewayIndex) -> u32 {
        self.0[gateway.position()]
    }
}

fn count(slots: &Slots) -> Counts {
    let mut counts = Counts([0; MAX_GATEWAYS]);
    for gateway in slots.iter().flatten() {
        counts.0[gateway.position()] += 1;
    }
    counts
}

fn moved(before: &Slots, after: &Slots) -> u32 {
    u32::try_from(before.iter().zip(after).filter(|(before, after)| before != after).count()).unwrap()
}

/// The most by which any window of slots, also across the end of the table, differs from an even
/// spread for any gateway, in slots times `SLOTS`.
fn unevenness(slots: &Slots) -> i64 {
    let counts = count(slots);
    let of = |gateway| i64::from(counts.of(gateway));
    let spread = |gateway| {
        let mut lag = 0;
        let (mut least, mut most) = (0, 0);
        for slot in slots {
            lag += if *slot == Some(gateway) { SLOTS as i64 } else { 0 } - of(gateway);
            (least, most) = (lag.min(least), lag.max(most));
        }
        most - least
    };
    GatewayIndex::all().filter(|gateway| of(*gateway) > 0).map(spread).max().unwrap_or(0)
}

/// Shares of up to `most` gateways with scattered indexes; one in five is 0.
fn shares(most: usize) -> impl Strategy<Value = Vec<(GatewayIndex, u32)>> {
    let share = prop_oneof![1 => Just(0_u32), 2 => 1..=3_u32, 2 => 1..=65_535_u32];
    proptest::collection::btree_map(0..512_u16, share, 0..=most)
        .prop_map(|shares| shares.into_iter().map(|(gateway, share)| (index(gateway), share)).collect())
}

/// A table as it can be after a while.
fn table() -> impl Strategy<Value = Box<Slots>> {
    proptest::collection::vec(shares(40), 0..4)
        .prop_map(|history| history.iter().fold(fill(&[], &[]), |slots, shares| fill(&slots, shares)))
}

#[test]
fn equal_shares_take_turns() {
    let slots = fill(&[], &[(index(0), 1), (index(1), 1), (index(2), 1), (index(3), 1)]);

    let start: Vec<_> = slots.iter().take(8).flatten().map(|gateway| gateway.value()).collect();
    assert_eq!(start, [0, 1, 2, 3, 0, 1, 2, 3]);
    assert_eq!(count(&slots).of(index(3)), 256);
}

#[test]
fn a_heavier_gateway_is_interleaved_with_the_others() {
    let slots = fill(&[], &[(index(0), 2), (index(1), 1), (index(2), 1)]);

    let start: Vec<_> = slots.iter().take(8).flatten().map(|gateway| gateway.value()).collect();
    assert_eq!(start, [0, 1, 0, 2, 0, 1, 0, 2]);
}

#[test]
fn without_shares_the_table_is_empty() {
    let before = fill(&[], &[(index(1), 1)]);

    assert!(fill(&before, &[]).iter().all(Option::is_none));
    assert!(fill(&before, &[(index(1), 0)]).iter().all(Option::is_none));
    assert_eq!(fill(&before, &[]).len(), SLOTS);
}

#[test]
fn the_smallest_share_still_has_a_slot() {
    let shares: Vec<_> = (0..512).map(|n| (index(n), if n == 9 { u32::MAX } else { 1 })).collect();

    let counts = count(&fill(&[], &shares));

    assert_eq!(counts.of(index(9)), 513);
    assert!((0..512).filter(|n| *n != 9).all(|n| counts.of(index(n)) == 1));
}

#[test]
fn the_largest_shares_do_not_overflow() {
    let shares: Vec<_> = (0..512).map(|n| (index(n), u32::MAX)).collect();

    let counts = count(&fill(&[], &shares));

    assert!((0..512).all(|n| counts.of(index(n)) == 2));
}

#[test]
fn a_previous_table_of_another_size_is_used_as_far_as_it_goes() {
    let short = [Some(index(1)), Some(index(2))];
    let long = vec![Some(index(1)); 3 * SLOTS];

    let slots = fill(&short, &[(index(1), 1), (index(2), 1)]);

    assert_eq!(slots.first(), Some(&Some(index(1))));
    assert_eq!(slots.len(), SLOTS);
    assert_eq!(fill(&long, &[(index(1), 1)]).len(), SLOTS);
}

#[test]
fn a_tie_goes_to_whoever_holds_the_slot_already() {
    // 1024 = 3 * 341 + 1: one of the three equals has a slot more.
    let all = [(index(0), 1), (index(1), 1), (index(2), 1)];
    let two = fill(&fill(&[], &all), &all[1..]);

    let counts = count(&fill(&two, &all));

    assert_eq!([0, 1, 2].map(|n| counts.of(index(n))), [341, 342, 341]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn counts_are_those_of_the_largest_remainder_method(before in table(), shares in shares(512)) {
        let after = count(&fill(&before, &shares));

        let mut large: Vec<_> = shares.iter().copied().filter(|(_, share)| *share > 0).collect();
        let total = |shares: &[(GatewayIndex, u32)]| shares.iter().map(|(_, share)| u64::from(*share)).sum::<u64>();
        let slots: u32 = shares.iter().map(|(gateway, _)| after.of(*gateway)).sum();
        prop_assert_eq!(slots as usize, if large.is_empty() { 0 } else { SLOTS });

        let mut seats = SLOTS as u64;
        while let Some(at) = large.iter().position(|(_, share)| u64::from(*share) * seats < total(&large)) {
            prop_assert_eq!(after.of(large.swap_remove(at).0), 1);
            seats -= 1;
        }
        let all = total(&large);
        let (mut rounded_up, mut rounded_down) = (u64::MAX, 0);
        for (gateway, share) in large {
            let (quota, remainder) = (u64::from(share) * seats / all, u64::from(share) * seats % all);
            match u64::from(after.of(gateway)).checked_sub(quota) {
                Some(0) => rounded_down = rounded_down.max(remainder),
                Some(1) => rounded_up = rounded_up.min(remainder),
                other => prop_assert!(false, "{gateway:?} is {other:?} above its quota of {quota}"),
            }
        }
        prop_assert!(rounded_up >= rounded_down, "{rounded_up} was rounded up, {rounded_down} was not");
    }

    #[test]
    fn only_slots_that_must_move_move(before in table(), shares in shares(60)) {
        let after = fill(&before, &shares);

        let (old, new) = (count(&before), count(&after));
        let given_back: u32 = GatewayIndex::all().map(|gateway| old.of(gateway).saturating_sub(new.of(gateway))).sum();
        let filled = before.iter().zip(&after).filter(|(before, after)| before.is_none() && after.is_some()).count();
        prop_assert_eq!(moved(&before, &after) as usize, given_back as usize + filled);
    }

    #[test]
    fn a_gateway_without_share_is_not_in_the_table(before in table(), shares in shares(60)) {
        let after = fill(&before, &shares);

        for gateway in after.iter().flatten() {
            prop_assert!(shares.iter().any(|(with, share)| with == gateway && *share > 0), "{gateway:?}");
        }
    }

    #[test]
    fn one_change_of_a_fresh_table_keeps_it_even(shares in shares(60), which in any::<prop::sample::Index>(), share in 0..100_u32) {
        prop_assume!(!shares.is_empty());
        let mut changed = shares.clone();
        changed[which.index(shares.len())].1 = share;

        let after = fill(&fill(&[], &shares), &changed);

        prop_assert!(unevenness(&after) < 6 * SLOTS as i64, "{}/1024", unevenness(&after));
    }

    #[test]
    fn equal_arguments_give_equal_tables(before in table(), shares in shares(60)) {
        let mut reversed = shares.clone();
        reversed.reverse();

        prop_assert_eq!(fill(&before, &shares), fill(&before, &shares));
        prop_assert_eq!(fill(&before, &shares), fill(&before, &reversed));
    }

    #[test]
    fn equal_shares_move_nothing(shares in shares(60)) {
        let before = fill(&[], &shares);

        prop_assert_eq!(fill(&before, &shares), before);
    }

    #[test]
    fn a_change_of_one_share_moves_only_what_it_is_worth(
        shares in shares(16),
        which in any::<prop::sample::Index>(),
        share in 0..65_536_u32,
    ) {
        prop_assume!(shares.iter().filter(|(_, share)| *share > 0).count() > 1);
        let before = fill(&[], &shares);
        let mut changed = shares.clone();
        let which = which.index(shares.len());
        changed[which].1 = share;

        let after = fill(&before, &changed);

        let gateway = shares[which].0;
        let worth = count(&before).of(gateway).abs_diff(count(&after).of(gateway));
        // Of the others, each may be rounded differently than before.
        prop_assert!(moved(&before, &after) as usize <= worth as usize + shares.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_fresh_table_never_leaves_a_share_by_a_whole_slot(shares in shares(512)) {
        let slots = fill(&[], &shares);

        let counts = count(&slots);
        for (gateway, _) in &shares {
            let mut taken = 0_i64;
            for (end, slot) in (1..).zip(&slots) {
                taken += i64::from(*slot == Some(*gateway));
                let lag = taken * SLOTS as i64 - i64::from(counts.of(*gateway)) * end;
                prop_assert!(lag.abs() < SLOTS as i64, "{gateway:?} is {lag}/1024 off after {end} slots");
            }
        }
    }

    #[test]
    fn many_changes_keep_the_table_even(changes in proptest::collection::vec((0..20_u16, 0..30_u32), 1..120)) {
        let mut shares: Vec<_> = (0..20).map(|n| (index(n), 1)).collect();
        let mut slots = fill(&[], &shares);
        for (gateway, share) in changes {
            shares[usize::from(gateway)].1 = share;
            slots = fill(&slots, &shares);
        }

        prop_assert!(unevenness(&slots) < 16 * SLOTS as i64, "{}/1024", unevenness(&slots));
    }
}
