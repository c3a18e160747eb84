//! Whole clusters in virtual time, over many seeds. Each failure names its seed.

use std::time::Duration;

use redirect_userspace::cluster::MemberState;
use redirect_userspace::testing::fleet::{CALM, Fleet};

#[test]
fn a_cluster_elects_the_best_and_everybody_reports_to_it() {
    for seed in 0..20 {
        let mut fleet = Fleet::new(seed, 2 + u8::try_from(seed % 5).unwrap());

        fleet.run(CALM);

        fleet.check_calm();
    }
}

#[test]
fn the_standby_router_takes_over_from_an_active_router_that_dies() {
    for seed in 0..20 {
        let mut fleet = Fleet::new(seed, 4);
        fleet.run(CALM);
        let active = fleet.active()[0];

        fleet.crash(active, seed % 2 == 0);
        fleet.run(Duration::from_millis(900));

        assert_eq!(fleet.active().len(), 1, "seed {seed}");
        assert_ne!(fleet.active()[0], active, "seed {seed}");
        fleet.run(CALM);
        fleet.check_calm();
    }
}

#[test]
fn a_drained_node_that_was_away_when_the_master_died_is_drained_when_it_returns() {
    for seed in 0..10 {
        let mut fleet = Fleet::new(seed, 4);
        fleet.run(CALM);
        let master = fleet.active()[0];
        // A node that preempts before it was anybody's slave would know nothing.
        let drained = fleet.ranked()[3];
        fleet.drain(drained, true);
        fleet.run(Duration::from_secs(1));
        assert_eq!(fleet.member(drained), Some(MemberState::Draining), "seed {seed}");

        fleet.crash(drained, false);
        fleet.run(Duration::from_secs(3));
        assert_eq!(fleet.member(drained), None, "seed {seed}");
        fleet.crash(master, seed % 2 == 0);
        fleet.run(CALM);
        fleet.start(drained);
        fleet.run(CALM);

        assert_eq!(fleet.member(drained), Some(MemberState::Draining), "seed {seed}");
        fleet.drain(drained, false);
        fleet.start_all();
        fleet.run(CALM);
        fleet.check_calm();
    }
}

#[test]
fn a_key_that_is_changed_node_by_node_loses_no_member() {
    for seed in 0..2 {
        let mut fleet = Fleet::new(seed, 4);
        fleet.run(CALM);
        for (key, accepted) in [(1, Some(2)), (2, Some(1)), (2, None)] {
            for node in 0..4 {
                fleet.set_keys(node, key, accepted);
                fleet.run(Duration::from_millis(500));
                fleet.check_calm();
                // Everybody has to prove anew who it is, to one who is a step ahead or behind.
                fleet.crash(fleet.active()[0], false);
                fleet.run(CALM);
                fleet.check_calm();
                fleet.start_all();
                fleet.run(CALM);
                fleet.check_calm();
            }
        }
        fleet.set_keys(fleet.ranked()[3], 1, None);
        fleet.crash(fleet.active()[0], false);
        fleet.run(CALM);
        assert_eq!(fleet.member(fleet.ranked()[3]), None, "seed {seed}: the old key is worth nothing");
    }
}

#[test]
fn twenty_nodes_agree() {
    for seed in 0..2 {
        let mut fleet = Fleet::new(seed, 20);
        fleet.run(CALM);
        fleet.check_calm();
        for _ in 0..5 {
            let active = fleet.active()[0];
            fleet.crash(active, false);
            fleet.run(Duration::from_secs(3));
            assert_eq!(fleet.active().len(), 1, "seed {seed}");
        }
        fleet.start_all();
        fleet.run(CALM);
        fleet.check_calm();
    }
}

#[test]
fn whatever_happens_the_invariants_hold_and_calm_returns() {
    for seed in 0..24 {
        let mut fleet = Fleet::new(seed, 2 + u8::try_from(seed % 6).unwrap());
        for step in 0..25 {
            fleet.disturb();
            for node in 0..fleet.len() {
                fleet.use_ticket(node);
            }
            fleet.run(Duration::from_millis(50 + (seed * 977 + step * 613) % 2_500));
        }
        fleet.heal();
        fleet.start_all();
        fleet.run(CALM);
        fleet.check_calm();
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = || {
        let mut fleet = Fleet::new(77, 5);
        for _ in 0..10 {
            fleet.disturb();
            fleet.run(Duration::from_millis(700));
        }
        format!("{fleet:?}")
    };

    assert_eq!(run(), run());
}
