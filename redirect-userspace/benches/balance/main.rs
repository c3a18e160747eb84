//! How well the policies balance, and what a decision costs. `cargo xtask bench balance`.
//!
//! The simulations run the real policies on the real table in virtual time, with fixed seeds: their
//! figures change only with the code. Eight gateways, 500 clients a second, sessions of 60 s on
//! average, one gateway joins empty; the last 40 % of 500 s count. The definitions are those of
//! [`Figures`].

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints its table and may fail loudly"
)]

mod report;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant as Clock};

use anyhow::Result;
use redirect_userspace::clb::policy::{Balancer, Basis, Candidate, Reports};
use redirect_userspace::clb::{MasterSettings, Policy, Report as LoadReport, llg};
use redirect_userspace::gateway::{GatewayAddresses, GatewayIndex, GatewayName};
use redirect_userspace::testing::sessions::queue::{Chooser, Queues};
use redirect_userspace::testing::sessions::{Fault, Figures, Scenario, System};
use redirect_userspace::time::Instant;

use crate::report::Report;

const SEEDS: u64 = 9;
const UNEQUAL: [u32; 8] = [1, 1, 1, 1, 2, 2, 4, 4];

fn main() -> Result<()> {
    let mut report = Report::default();
    sessions(&mut report);
    faults(&mut report);
    queues(&mut report);
    cost(&mut report);
    report.finish(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench/balance.json")))
}

/// A figure by scenario, as the mean over the seeds.
fn mean(scenario: impl Fn(u64) -> Scenario) -> impl Fn(fn(&Figures) -> f64) -> f64 {
    let runs: Vec<_> = (1..=SEEDS).map(|seed| scenario(seed).run()).collect();
    move |figure| average(runs.iter().map(figure))
}

fn average(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

fn sessions(report: &mut Report) {
    let mut imbalances = Vec::new();
    for (gateways, strengths) in [("equal", [1; 8]), ("unequal", UNEQUAL)] {
        for seconds in [1, 5] {
            let case = format!("{gateways}, {seconds} s");
            let run = |policy| {
                mean(move |seed| {
                    Scenario::new(policy, Duration::from_secs(seconds), seed).with_strengths(&strengths)
                })
            };
            let (stale, ours) = (run(Policy::LeastLoaded), run(Policy::Balanced));
            for (policy, of) in [(Policy::LeastLoaded, &stale), (Policy::Balanced, &ours)] {
                row(report, &format!("{policy}, {case}"), of);
            }
            let imbalance = ours(|run| run.imbalance);
            let over_stale = imbalance / stale(|run| run.imbalance);
            // With reports every second there is less to gain.
            if seconds == 5 {
                report.bar("imbalance over least-loaded", &case, over_stale, 1.0 / 20.0, 1.0 / 50.0);
            } else {
                report.figure("imbalance over least-loaded", &case, over_stale);
            }
            let setups = ours(|run| run.peak_setups);
            let chance = ours(|run| run.peak_setups_ideal);
            report.bar("peak of set-ups in 1 s over fair", &case, setups, 1.3, 1.05);
            report.bar("the same over constant shares", &case, setups / chance, 1.3, 1.05);
            report.bar(
                "peak of the share, slow start too",
                &case,
                ours(|run| run.worst_offered_ever),
                1.3,
                1.05,
            );
            imbalances.push(imbalance);
        }
    }
    if let [equal_1, equal_5, unequal_1, unequal_5] = imbalances[..] {
        report.bar("unequal over equal", "1 s", unequal_1 / equal_1, 2.0, 1.2);
        report.bar("unequal over equal", "5 s", unequal_5 / equal_5, 2.0, 1.2);
    }
}

fn faults(report: &mut Report) {
    let base = |seed| Scenario::new(Policy::Balanced, Duration::from_secs(5), seed);
    let with = |seed, fault| Scenario { faults: vec![fault], ..base(seed) };
    let (from, until) = (Duration::from_secs(340), Duration::from_secs(360));
    let flood = |rate| Fault::Flood { rate, from, until };
    row(report, "1 000 forged/s for 20 s", &mean(|seed| with(seed, flood(1_000.0))));
    row(report, "50 000 forged/s for 20 s", &mean(|seed| with(seed, flood(50_000.0))));
    row(
        report,
        "no reports of one for 20 s",
        &mean(|seed| with(seed, Fault::Silent { gateway: 2, from, until })),
    );
    row(
        report,
        "one dead for 20 s, then empty",
        &mean(|seed| with(seed, Fault::Dead { gateway: 2, from, until })),
    );
    let system = System { by_setup: 20.0, noise: 500, memory: &[] };
    row(report, "system load with 5 % noise", &mean(|seed| Scenario { system, ..base(seed) }));
    row(
        report,
        "set-up takes 1 s, not 0.2 s",
        &mean(|seed| Scenario { setup: Duration::from_secs(1), ..base(seed) }),
    );
    row(
        report,
        "a table every 200 ms",
        &mean(|seed| Scenario { rewrite_every: Duration::from_millis(200), ..base(seed) }),
    );
    for policy in Policy::ALL {
        row(
            report,
            &format!("{policy}, a report every 60 s"),
            &mean(|seed| Scenario::new(policy, Duration::from_secs(60), seed)),
        );
    }
    row(report, "100 gateways", &mean(|seed| base(seed).with_strengths(&[1; 100])));
}

/// One scenario.
fn row(report: &mut Report, case: &str, of: &impl Fn(fn(&Figures) -> f64) -> f64) {
    report.scenario(
        case,
        &[
            ("imbalance", 100.0 * of(|run| run.imbalance), "%"),
            ("worst", 100.0 * of(|run| run.worst_imbalance), "%"),
            ("set-ups", of(|run| run.peak_setups), ""),
            ("by chance", of(|run| run.peak_setups_ideal), ""),
            ("share", of(|run| run.peak_offered), ""),
            ("worst", of(|run| run.worst_offered_ever), ""),
            ("slots moved/s", 100.0 * of(|run| run.slots_moved), "%"),
            ("filled after", of(|run| run.filled_after.unwrap_or(f64::NAN)), "s"),
        ],
    );
}

fn queues(report: &mut Report) {
    let time = |chooser| average((1..=SEEDS).map(|seed| Queues::new(chooser, seed).mean_time()));
    let shortest = time(Chooser::Shortest);
    for (name, chooser) in
        [("random", Chooser::Random), ("least-loaded", Chooser::Policy(Policy::LeastLoaded))]
    {
        report.figure("time in queue over shortest queue", name, time(chooser) / shortest);
    }
    let ours = time(Chooser::Policy(Policy::Balanced));
    report.bar("time in queue over shortest queue", "balanced", ours / shortest, 2.0, 1.5);
}

/// What one look at the counters costs the master: a decision and a table.
fn cost(report: &mut Report) {
    for count in [8, 100, 512] {
        let members: Vec<_> = (0..count).map(member).collect();
        let mut balancer = Balancer::new(MasterSettings::default());
        let mut slots = llg::fill(&[], &[]);
        let mut now = Instant::START;
        let (mut deciding, mut filling) = (Vec::new(), Vec::new());
        for round in 0..200_u32 {
            now += Duration::from_millis(100);
            for (at, (name, _)) in (0_u32..).zip(&members) {
                balancer.arrived(now, name, u64::from((at * 7 + round * 13) % 11));
            }
            let candidates: Vec<_> = (0_u32..)
                .zip(&members)
                .map(|(at, (name, addresses))| {
                    // Everybody reports every 5 s, in turns.
                    let age = Duration::from_millis(100) * ((round + at) % 50).min(round);
                    candidate(
                        name,
                        addresses,
                        2_000 + (at * 31 + round / 50 * 17) % 90,
                        Instant::from_start(now.since_start() - age),
                    )
                })
                .collect();
            let begun = Clock::now();
            let decision = black_box(balancer.shares(now, &candidates));
            deciding.push(begun.elapsed());
            let shares: Vec<_> = (0_u16..)
                .filter_map(GatewayIndex::new)
                .zip(decision.members.iter().map(|member| member.share))
                .collect();
            let begun = Clock::now();
            slots = black_box(llg::fill(&slots, &shares));
            filling.push(begun.elapsed());
        }
        report.figure("shares, microseconds", &format!("{count} members"), median(deciding));
        report.figure("table, microseconds", &format!("{count} members"), median(filling));
    }
}

fn member(number: u32) -> (GatewayName, GatewayAddresses) {
    let address = format!("10.50.{}.{}", number / 250, number % 250 + 1);
    let addresses = GatewayAddresses::new([address.parse().expect("an address")]).expect("one address");
    (format!("gw{number}").parse().expect("a name"), addresses)
}

fn candidate<'a>(
    name: &'a GatewayName,
    addresses: &'a GatewayAddresses,
    sessions: u32,
    reported_at: Instant,
) -> Candidate<'a> {
    let report = LoadReport { ike_sas: sessions, child_sas: sessions, ..LoadReport::default() };
    let reports =
        Reports { priority: 100, max_session: 10_000, report, reported_at, joined_at: Instant::START };
    Candidate { name, addresses, is_available: true, basis: Basis::Reports(reports) }
}

fn median(mut samples: Vec<Duration>) -> f64 {
    samples.sort_unstable();
    samples.get(samples.len() / 2).map_or(f64::NAN, |sample| sample.as_secs_f64() * 1e6)
}
