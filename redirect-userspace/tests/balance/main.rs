//! How well the policies balance: the bars of the design, in simulations of the real code.
//!
//! The seeds are fixed, so a figure changes only with the code. `cargo xtask bench balance` prints
//! the figures of longer runs.

use std::time::Duration;

use redirect_userspace::clb::Policy;
use redirect_userspace::testing::sessions::queue::{Chooser, Queues};
use redirect_userspace::testing::sessions::{Fault, Scenario, System};

const SEEDS: [u64; 3] = [1, 2, 3];
const UNEQUAL: [u32; 8] = [1, 1, 1, 1, 2, 2, 4, 4];

/// A run of four minutes with a report every `seconds`; the last 96 s count as settled.
fn scenario(policy: Policy, seconds: u64, seed: u64) -> Scenario {
    Scenario {
        duration: Duration::from_secs(240),
        ..Scenario::new(policy, Duration::from_secs(seconds), seed)
    }
}

/// The mean imbalance over the seeds.
fn imbalance(scenario: impl Fn(u64) -> Scenario) -> f64 {
    SEEDS.map(|seed| scenario(seed).run().imbalance).iter().sum::<f64>() / 3.0
}

#[test]
fn the_simulator_agrees_with_published_figures() {
    let stale = scenario(Policy::LeastLoaded, 5, 1).run();
    let random = Queues { duration: Duration::from_secs(20_000), ..Queues::new(Chooser::Random, 1) };

    // With a report every 5 s, least-loaded is 27 % off, and almost all clients of a second meet
    // the same one of eight gateways.
    assert!((0.22..0.33).contains(&stale.imbalance), "{stale:?}");
    assert!((6.5..8.0).contains(&stale.peak_setups), "{stale:?}");
    // The mean time in an M/M/1 queue with load 0.9 is 10 service times.
    let time = random.mean_time();
    assert!((8.5..11.5).contains(&time), "{time}");
}

#[test]
fn equal_seeds_give_equal_runs() {
    let scenario = Scenario {
        duration: Duration::from_secs(20),
        ..Scenario::new(Policy::Balanced, Duration::from_secs(5), 7)
    };
    let other = Scenario { seed: 8, ..scenario.clone() };

    assert_eq!(scenario.run(), scenario.run());
    assert_ne!(scenario.run(), other.run());
}

#[test]
fn balanced_is_twenty_times_closer_than_least_loaded() {
    for seed in SEEDS {
        let balanced = scenario(Policy::Balanced, 5, seed).run().imbalance;
        let least_loaded = scenario(Policy::LeastLoaded, 5, seed).run().imbalance;

        assert!(balanced * 20.0 <= least_loaded, "{balanced} and {least_loaded}");
    }
}

#[test]
fn no_gateway_gets_a_burst_of_clients_and_an_empty_one_fills_up() {
    for (seconds, seed) in [(1, 1), (5, 1), (5, 2), (5, 3)] {
        let figures = scenario(Policy::Balanced, seconds, seed).run();

        // The table has chance in it: clients choose their slot by hash. What the policy adds to
        // that is little.
        assert!(figures.peak_setups <= 1.3, "{figures:?}");
        assert!(figures.peak_setups <= 1.05 * figures.peak_setups_ideal, "{figures:?}");
        // Also while the empty gateway fills up, which takes less than two session lives.
        assert!(figures.worst_offered_ever <= 1.3, "{figures:?}");
        assert!(figures.filled_after.unwrap() <= 120.0, "{figures:?}");
    }
}

#[test]
fn unequal_gateways_are_balanced_as_well_as_equal_ones() {
    let equal = imbalance(|seed| scenario(Policy::Balanced, 5, seed));
    let unequal = imbalance(|seed| scenario(Policy::Balanced, 5, seed).with_strengths(&UNEQUAL));

    assert!(unequal <= 2.0 * equal, "{unequal} and {equal}");
}

#[test]
fn queues_are_at_most_twice_as_long_as_with_full_information() {
    let time = |chooser| {
        let times = SEEDS.map(|seed| {
            Queues { duration: Duration::from_secs(1_500), ..Queues::new(chooser, seed) }.mean_time()
        });
        times.iter().sum::<f64>() / 3.0
    };

    let (balanced, shortest) = (time(Chooser::Policy(Policy::Balanced)), time(Chooser::Shortest));

    assert!(balanced <= 2.0 * shortest, "{balanced} and {shortest}");
}

#[test]
fn a_flood_of_forged_requests_does_not_upset_the_balance() {
    for rate in [1_000.0, 20_000.0] {
        let (from, until) = (Duration::from_secs(160), Duration::from_secs(180));
        let flood = Fault::Flood { rate, from, until };
        let figures = Scenario { faults: vec![flood], ..scenario(Policy::Balanced, 5, 1) }.run();

        assert!(figures.worst_imbalance <= 0.06, "{figures:?}");
        assert!(figures.worst_offered_ever <= 1.3, "{figures:?}");
    }
}

#[test]
fn lost_reports_hardly_matter() {
    let (from, until) = (Duration::from_secs(160), Duration::from_secs(176));
    let silent = Fault::Silent { gateway: 2, from, until };

    let figures = Scenario { faults: vec![silent], ..scenario(Policy::Balanced, 5, 1) }.run();

    assert!(figures.worst_imbalance <= 0.04, "{figures:?}");
}

#[test]
fn a_dead_gateway_is_left_out_and_taken_back() {
    let (from, until) = (Duration::from_secs(100), Duration::from_secs(115));
    let dead = Fault::Dead { gateway: 2, from, until };

    let figures =
        Scenario { joins_empty: false, faults: vec![dead], ..scenario(Policy::Balanced, 5, 1) }.run();

    // An eighth of the clients of the holdtime, 3 s, and those being set up.
    assert!((100..300).contains(&figures.lost), "{figures:?}");
    assert!(figures.imbalance <= 0.05, "{figures:?}");
    // Seven gateways take what eight did, and a fifth more of that.
    assert!(figures.worst_offered_ever <= 1.3 * 8.0 / 7.0, "{figures:?}");
}

#[test]
fn noise_in_the_system_load_is_not_chased() {
    let system = System { by_setup: 20.0, noise: 500, memory: &[] };

    let figures = Scenario { system, ..scenario(Policy::Balanced, 5, 1) }.run();

    // A single report is off by up to 5 % of the system load, or 10 % of the sessions.
    assert!(figures.worst_imbalance <= 0.04, "{figures:?}");
    assert!(figures.worst_offered_ever <= 1.3, "{figures:?}");
}

#[test]
fn a_table_every_200_ms_does_as_well() {
    let figures =
        Scenario { rewrite_every: Duration::from_millis(200), ..scenario(Policy::Balanced, 5, 1) }.run();

    assert!(figures.imbalance <= 0.01, "{figures:?}");
}
