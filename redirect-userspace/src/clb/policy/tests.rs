//! The policies, member by member. How good they are under load is measured in `tests/balance`.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clb::{LoadWeights, OverloadLimit};

/// A master with members; every one takes 10 000 SAs unless a test says otherwise.
struct Cluster {
    balancer: Balancer,
    members: Vec<Member>,
    now: Instant,
}

struct Member {
    name: GatewayName,
    addresses: GatewayAddresses,
    is_available: bool,
    basis: Basis,
}

impl Cluster {
    fn new(policy: Policy) -> Self {
        Self::with(MasterSettings { policy, ..MasterSettings::default() })
    }

    fn with(settings: MasterSettings) -> Self {
        Self { balancer: Balancer::new(settings), members: Vec::new(), now: LONG_AGO + HOUR }
    }

    fn add(&mut self, basis: Basis) -> usize {
        let number = self.members.len();
        self.members.push(Member {
            name: format!("gw{number}").parse().unwrap(),
            addresses: addresses(&format!("10.50.{}.{}", number / 250, number % 250 + 1)),
            is_available: true,
            basis,
        });
        number
    }

    /// A member of old that reports so many sessions: an IKE SA and a Child SA each.
    fn reporting(mut self, sessions: &[u32]) -> Self {
        for sessions in sessions {
            let basis = Basis::Reports(Reports {
                priority: 100,
                max_session: 10_000,
                report: report(*sessions),
                reported_at: self.now,
                joined_at: LONG_AGO,
            });
            self.add(basis);
        }
        self
    }

    fn weights(mut self, weights: &[u16]) -> Self {
        for weight in weights {
            self.add(Basis::Weight(Weight::new(*weight).unwrap()));
        }
        self
    }

    fn change(&mut self, at: usize, change: impl FnOnce(&mut Reports)) {
        let Basis::Reports(reports) = &mut self.members[at].basis else { panic!("{at} does not report") };
        change(reports);
    }

    /// The member reports now.
    fn report(&mut self, at: usize, report: Report) {
        let now = self.now;
        self.change(at, |reports| {
            reports.report = report;
            reports.reported_at = now;
        });
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn arrived(&mut self, at: usize, clients: u64) {
        self.balancer.arrived(self.now, &self.members[at].name, clients);
    }

    fn decide(&mut self) -> Decision {
        let candidates: Vec<_> = self.members.iter().map(Member::candidate).collect();
        self.balancer.shares(self.now, &candidates)
    }

    /// The part of the table that each member gets, in percent, rounded.
    fn percents(&mut self) -> Vec<u32> {
        percents(&self.decide())
    }

    fn reasons(&mut self) -> Vec<Why> {
        self.decide().members.iter().map(|member| member.why).collect()
    }

    /// The expected load of a member, in basis points.
    fn expected(&mut self, at: usize) -> u16 {
        self.decide().members[at].expected.unwrap().value()
    }
}

impl Member {
    fn candidate(&self) -> Candidate<'_> {
        Candidate {
            name: &self.name,
            addresses: &self.addresses,
            is_available: self.is_available,
            basis: self.basis,
        }
    }
}

const LONG_AGO: Instant = Instant::START;
const HOUR: Duration = Duration::from_secs(3_600);
const TICK: Duration = Duration::from_millis(100);

fn addresses(address: &str) -> GatewayAddresses {
    GatewayAddresses::new([address.parse().unwrap()]).unwrap()
}

fn report(sessions: u32) -> Report {
    Report { ike_sas: sessions, child_sas: sessions, ..Report::default() }
}

fn cpu(sessions: u32, points: u16) -> Report {
    Report { cpu: BasisPoints::saturating(points), ..report(sessions) }
}

fn percents(decision: &Decision) -> Vec<u32> {
    let all: u64 = decision.members.iter().map(|member| u64::from(member.share)).sum();
    let percent = |share: u32| (u64::from(share) * 200 + all) / (2 * all).max(1);
    decision.members.iter().map(|member| u32::try_from(percent(member.share)).unwrap()).collect()
}

fn settings(limit: u8, overload_action: OverloadAction) -> MasterSettings {
    MasterSettings {
        overload_limit: OverloadLimit::new(limit).unwrap(),
        overload_action,
        weights: LoadWeights { crypto: 100, system: 0 },
        ..MasterSettings::default()
    }
}

mod by_weight {
    use super::*;

    #[test]
    fn without_reports_the_shares_are_the_weights() {
        for policy in Policy::ALL {
            let mut cluster = Cluster::new(policy).weights(&[1, 3, 65_535]);

            let decision = cluster.decide();

            let shares: Vec<_> = decision.members.iter().map(|member| member.share / SHARE).collect();
            assert_eq!(shares, [1, 3, 65_535]);
            assert_eq!(decision.members[0].why, Why::Weight);
            assert_eq!(decision.outcome, Outcome::Room);
        }
    }

    #[test]
    fn a_reporting_member_counts_one_on_average() {
        let mut balanced = Cluster::new(Policy::Balanced).reporting(&[500, 500]).weights(&[2]);
        let mut least = Cluster::new(Policy::LeastLoaded).reporting(&[500, 400]).weights(&[2]);

        assert_eq!(balanced.percents(), [25, 25, 50]);
        assert_eq!(least.percents(), [0, 50, 50]);
    }

    #[test]
    fn a_member_that_is_away_gets_nothing() {
        let mut cluster = Cluster::new(Policy::Balanced).weights(&[1, 1]);
        cluster.members[0].is_available = false;

        assert_eq!(cluster.percents(), [0, 100]);
        assert_eq!(cluster.reasons()[0], Why::Unavailable);
    }
}

mod least_loaded {
    use super::*;

    #[test]
    fn everything_goes_to_the_least_load() {
        let mut cluster = Cluster::new(Policy::LeastLoaded).reporting(&[500, 400, 600]);

        assert_eq!(cluster.percents(), [0, 100, 0]);
        assert_eq!(cluster.reasons(), [Why::NotLeast, Why::Least, Why::NotLeast]);
    }

    #[test]
    fn own_redirects_change_nothing_before_the_next_report() {
        let mut cluster = Cluster::new(Policy::LeastLoaded).reporting(&[500, 400]);
        cluster.decide();

        cluster.arrived(1, 1_000);

        assert_eq!(cluster.percents(), [0, 100]);
    }

    #[test]
    fn of_equal_loads_the_higher_priority_counts_and_then_the_lower_address() {
        let mut cluster = Cluster::new(Policy::LeastLoaded).reporting(&[500, 500, 500]);
        // As text, the first one would be lower.
        cluster.members[0].addresses = addresses("10.50.0.10");
        cluster.members[2].addresses = addresses("10.50.0.9");

        cluster.change(1, |reports| reports.priority = 99);
        assert_eq!(cluster.percents(), [0, 0, 100]);

        cluster.change(0, |reports| reports.priority = 99);
        cluster.change(2, |reports| reports.priority = 98);
        assert_eq!(cluster.percents(), [0, 100, 0]);
    }
}

mod balanced {
    use super::*;

    #[test]
    fn equal_loads_get_equal_shares() {
        let mut cluster = Cluster::new(Policy::Balanced).reporting(&[2_000; 4]);

        assert_eq!(cluster.percents(), [25; 4]);
        assert_eq!(cluster.reasons(), [Why::Balanced; 4]);
    }

    #[test]
    fn shares_follow_the_strength() {
        let mut cluster = Cluster::new(Policy::Balanced).reporting(&[1_000, 2_000]);
        cluster.change(1, |reports| reports.max_session = 20_000);

        assert_eq!(cluster.percents(), [33, 67]);
    }

    #[test]
    fn nobody_gets_more_than_a_fifth_above_the_fair_part() {
        let mut cluster = Cluster::new(Policy::Balanced).reporting(&[0, 2_000, 2_000, 2_000]);
        for _ in 0..20 {
            for at in 0..4 {
                cluster.arrived(at, 100);
            }
            cluster.pass(TICK);
            cluster.decide();
        }

        let decision = cluster.decide();

        assert_eq!(percents(&decision)[0], 30, "a quarter and a fifth of that");
        assert_eq!(decision.members[0].why, Why::SlowStart);
        assert_eq!(decision.members[1].why, Why::Balanced);
    }

    #[test]
    fn an_empty_newcomer_starts_with_little() {
        let mut cluster = Cluster::new(Policy::Balanced).reporting(&[0, 2_000, 2_000, 2_000]);
        let now = cluster.now;
        cluster.change(0, |reports| reports.joined_at = now);

        let mut shares = Vec::new();
        for _ in 0..4 {
            shares.push(cluster.percents()[0]);
            cluster.pass(Duration::from_secs(5));
        }

        // Five seconds, half way: five eighths of 30 %.
        assert_eq!(shares, [8, 19, 30, 30]);
    }

    #[test]
    fn after_a_take_over_a_newcomer_with_sessions_counts_like_the_others() {
        let mut cluster = Cluster::new(Policy::Balanced).reporting(&[2_000; 4]);
        let now = cluster.now;
        for at in 1..4 {
            cluster.change(at, |reports| reports.joined_at = now);
        }

        assert_eq!(cluster.percents(), [25; 4]);
    }

    #[test]
    fn own_redirects_count_at_once() {
        let mut cluster = Cluster::new(Policy::Balanced).reporting(&[2_000, 2_000]);
        cluster.decide();

        cluster.arrived(0, 100);
        cluster.pass(TICK);

        let decision = cluster.decide();
        assert!(decision.members[0].share < decision.members[1].share, "{decision:?}");
        assert_eq!(decision.members[0].load.unwrap().total.value(), 2_000, "as reported");
        assert_eq!(decision.members[0].expected.unwrap().value(), 2_100, "half of 200 more SAs");
    }

    #[test]
    fn a_report_takes_the_place_of_the_redirects_it_covers() {
        let mut cluster = Cluster::new(Policy::Balanced).reporting(&[2_000, 2_000]);
        cluster.decide();
        cluster.arrived(0, 100);
        cluster.pass(Duration::from_secs(2));

        cluster.report(0, report(2_100));

        assert_eq!(cluster.expected(0), 2_100);
        cluster.pass(Duration::from_secs(2));
        cluster.report(0, report(2_100));
        assert_eq!(cluster.expected(0), 2_100);
    }

    #[test]
    fn redirects_just_before_a_report_are_not_in_it_yet() {
        let mut cluster = Cluster::new(Policy::Balanced).reporting(&[2_000, 2_000]);
        cluster.decide();
        cluster.arrived(0, 100);

        cluster.report(0, report(2_000));
        cluster.change(0, |reports| reports.reported_at += Duration::from_millis(1));
        assert!((2_099..=2_100).contains(&cluster.expected(0)), "{}", cluster.expected(0));

        // Half of them, 0.2 s later.
        cluster.pass(Duration::from_millis(200));
        cluster.report(0, report(2_050));
        assert_eq!(cluster.expected(0), 2_100);
    }

    #[test]
    fn what_ends_between_reports_is_learned() {
        let mut cluster = Cluster::new(Policy::Balanced).reporting(&[2_000, 2_000]);
        cluster.decide();
        for second in 1..=20 {
            cluster.pass(Duration::from_secs(1));
            cluster.report(0, report(2_000 - 20 * second));
            cluster.report(1, report(2_000 - 20 * second));
            cluster.decide();
        }

        cluster.pass(Duration::from_secs(1));

        // 20 of 1600 sessions in a second, as before.
        assert!((1_578..=1_584).contains(&cluster.expected(0)), "{}", cluster.expected(0));
    }

    #[test]
    fn a_member_that_comes_back_is_what_it_reports() {
        let mut cluster = Cluster::new(Policy::Balanced).reporting(&[2_000, 2_000]);
        cluster.decide();
        cluster.arrived(1, 400);
        let gone = cluster.members.pop().unwrap();
        cluster.decide();

        cluster.members.push(gone);

        assert_eq!(cluster.expected(1), 2_000);
    }

    #[test]
    fn one_noisy_report_hardly_counts() {
        let mut cluster = Cluster::new(Policy::Balanced).reporting(&[2_000, 2_000]);
        cluster.decide();
        cluster.pass(Duration::from_secs(1));

        cluster.report(0, cpu(2_000, 6_000));

        // A sixtieth of half the load of 60 %.
        assert_eq!(cluster.expected(0), 2_000 + 50);
        assert_eq!(cluster.decide().members[0].load.unwrap().total.value(), 5_000, "as reported");
    }

    #[test]
    fn the_system_loads_of_the_first_moment_send_nobody_all_clients() {
        let mut cluster = Cluster::new(Policy::Balanced).reporting(&[0, 0]);
        cluster.report(0, cpu(0, 1_000));
        cluster.report(1, cpu(0, 4_000));
        // A master sees its own report first.
        let other = cluster.members.pop().unwrap();
        cluster.decide();
        cluster.members.push(other);
        let mut clients = [0, 0];
        for _ in 0..6 {
            for _ in 0..10 {
                cluster.pass(TICK);
                let percents = cluster.percents();
                let at = usize::from(percents[1] > percents[0]);
                cluster.arrived(at, 1);
                clients[at] += 1;
            }
            for (at, clients) in clients.iter().enumerate() {
                cluster.report(at, cpu(*clients, 1_500));
            }
        }

        assert!(clients.iter().all(|clients| *clients >= 10), "{clients:?}");
    }

    #[test]
    fn a_lasting_system_load_moves_clients_away() {
        let mut cluster = Cluster::new(Policy::Balanced).reporting(&[2_000, 2_000]);
        cluster.decide();
        for _ in 0..60 {
            cluster.pass(Duration::from_secs(5));
            cluster.report(0, cpu(2_000, 3_000));
            cluster.report(1, report(2_000));
            cluster.decide();
        }

        let percents = cluster.percents();
        assert!(percents[0] < percents[1], "{percents:?}");
    }

    #[test]
    fn a_flood_does_not_turn_the_order_round() {
        let mut cluster = Cluster::new(Policy::Balanced).reporting(&[1_000, 4_000]);
        cluster.decide();

        // Nothing comes of it, and only the member with less load seems to get it.
        for second in 0..20 {
            for _ in 0..10 {
                cluster.arrived(0, 100_000);
                cluster.pass(TICK);
                let decision = cluster.decide();
                assert!(decision.members[0].share > decision.members[1].share, "{second} s: {decision:?}");
            }
            cluster.report(0, report(1_000));
            cluster.report(1, report(4_000));
        }
        assert!((500..=1_500).contains(&cluster.expected(0)), "{}", cluster.expected(0));
    }

    #[test]
    fn before_the_rate_is_known_shares_stay_near_the_fair_ones() {
        let mut cluster = Cluster::new(Policy::Balanced).reporting(&[1_990, 2_000, 2_005, 2_005]);

        let percents = cluster.percents();

        assert!(percents.iter().all(|percent| (24..=26).contains(percent)), "{percents:?}");
    }

    #[test]
    fn every_one_of_many_equal_members_has_a_slot() {
        let mut cluster = Cluster::new(Policy::Balanced).reporting(&[100; 512]);

        let decision = cluster.decide();

        assert!(decision.members.iter().all(|member| member.share > 0));
    }

    #[test]
    fn an_idle_cluster_spreads_its_first_clients() {
        let mut cluster = Cluster::new(Policy::Balanced).reporting(&[0; 8]);
        cluster.decide();
        cluster.pass(HOUR);

        let percents = cluster.percents();

        assert!(percents.iter().all(|percent| (12..=13).contains(percent)), "{percents:?}");
    }
}

mod overload {
    use super::*;

    #[test]
    fn at_the_limit_a_member_gets_nothing() {
        for policy in Policy::ALL {
            let settings = MasterSettings { policy, ..settings(80, OverloadAction::Spread) };
            let mut cluster = Cluster::with(settings).reporting(&[4_000, 3_999, 4_001]);

            assert_eq!(cluster.percents(), [0, 100, 0], "{policy}");
            assert_eq!(cluster.reasons()[0], Why::Overloaded);
            assert_eq!(cluster.reasons()[2], Why::Overloaded);
        }
    }

    #[test]
    fn who_is_expected_to_be_full_waits_for_the_next_report() {
        let mut cluster = Cluster::with(settings(80, OverloadAction::Spread)).reporting(&[3_900, 3_800]);
        cluster.decide();

        cluster.arrived(0, 150);

        assert_eq!(cluster.percents(), [0, 100]);
        assert_eq!(cluster.reasons()[0], Why::Overloaded);
    }

    #[test]
    fn if_all_are_expected_to_be_full_the_reports_count() {
        let mut cluster = Cluster::with(settings(80, OverloadAction::Refuse)).reporting(&[3_900, 3_900]);
        cluster.decide();

        cluster.arrived(0, 10_000);
        cluster.arrived(1, 10_000);

        let decision = cluster.decide();
        assert_eq!(decision.outcome, Outcome::Room);
        assert!(decision.members.iter().all(|member| member.share > 0), "{decision:?}");
    }

    #[test]
    fn beyond_the_limit_clients_are_spread_by_what_is_left() {
        for policy in Policy::ALL {
            let settings = MasterSettings { policy, ..settings(80, OverloadAction::Spread) };
            let mut cluster = Cluster::with(settings).reporting(&[4_500, 4_750, 5_000]);

            let decision = cluster.decide();

            assert_eq!(decision.outcome, Outcome::Spread);
            assert_eq!(percents(&decision), [67, 33, 0]);
            assert_eq!(decision.members[0].why, Why::BeyondLimit);
        }
    }

    #[test]
    fn clients_are_spread_equally_when_nothing_is_left() {
        let mut cluster = Cluster::with(settings(80, OverloadAction::Spread)).reporting(&[5_000, 6_000]);

        assert_eq!(cluster.percents(), [50, 50]);
    }

    #[test]
    fn refusing_gives_nobody_a_share() {
        let mut cluster = Cluster::with(settings(80, OverloadAction::Refuse)).reporting(&[4_500, 4_750]);

        let decision = cluster.decide();

        assert_eq!(decision.outcome, Outcome::Refuse);
        assert!(decision.members.iter().all(|member| member.share == 0 && member.why == Why::Overloaded));
    }

    #[test]
    fn a_member_that_does_not_report_is_never_full() {
        let mut cluster =
            Cluster::with(settings(80, OverloadAction::Refuse)).reporting(&[4_500]).weights(&[1]);

        let decision = cluster.decide();

        assert_eq!(decision.outcome, Outcome::Room);
        assert_eq!(percents(&decision), [0, 100]);
    }

    #[test]
    fn who_drains_gets_nothing_and_does_not_count_as_full() {
        let mut cluster = Cluster::with(settings(80, OverloadAction::Spread)).reporting(&[100, 4_500]);
        cluster.change(0, |reports| reports.report.availability = Availability::Draining);

        assert_eq!(cluster.percents(), [0, 100]);
        assert_eq!(cluster.reasons(), [Why::Unavailable, Why::BeyondLimit]);
    }

    #[test]
    fn without_anybody_there_is_nobody() {
        let mut cluster = Cluster::new(Policy::Balanced).reporting(&[100]);
        cluster.members[0].is_available = false;

        assert_eq!(cluster.decide().outcome, Outcome::Nobody);
        assert_eq!(Cluster::new(Policy::LeastLoaded).decide().outcome, Outcome::Nobody);
    }

    #[test]
    fn another_policy_applies_at_once() {
        let mut cluster = Cluster::new(Policy::LeastLoaded).reporting(&[500, 500]);
        assert_eq!(cluster.percents(), [100, 0]);

        cluster.balancer.configure(MasterSettings::default());

        assert_eq!(cluster.percents(), [50, 50]);
    }
}

/// Anything a member may say about itself.
fn any_report() -> impl Strategy<Value = Report> {
    let sas = || prop_oneof![Just(0), 0..20_000_u32, any::<u32>()];
    (sas(), sas(), any::<u16>(), any::<u16>(), any::<bool>()).prop_map(
        |(ike_sas, child_sas, cpu, memory, is_up)| Report {
            ike_sas,
            child_sas,
            cpu: BasisPoints::saturating(cpu),
            memory: BasisPoints::saturating(memory),
            availability: if is_up { Availability::Up } else { Availability::Draining },
        },
    )
}

fn any_member() -> impl Strategy<Value = (bool, Basis)> {
    let basis = prop_oneof![
        1 => (1..=u16::MAX).prop_map(|weight| Basis::Weight(Weight::new(weight).unwrap())),
        4 => (any_report(), 0..101_u8, prop_oneof![Just(0), 1..100_001_u32, any::<u32>()], 0..7_200_u64, 0..7_200_u64)
            .prop_map(|(report, priority, max_session, reported, joined)| Basis::Reports(Reports {
                priority,
                max_session,
                report,
                reported_at: LONG_AGO + Duration::from_secs(reported),
                joined_at: LONG_AGO + Duration::from_secs(joined),
            })),
    ];
    (prop::bool::weighted(0.9), basis)
}

fn any_settings() -> impl Strategy<Value = MasterSettings> {
    (0..2_usize, 50..100_u8, 0..2_usize, 0..101_u8, 0..101_u8).prop_map(
        |(policy, limit, action, crypto, system)| MasterSettings {
            policy: Policy::ALL[policy],
            overload_limit: OverloadLimit::new(limit).unwrap(),
            overload_action: OverloadAction::ALL[action],
            weights: LoadWeights { crypto, system },
        },
    )
}

proptest! {
    #[test]
    fn whatever_members_say_the_decision_is_sound(
        settings in any_settings(),
        rounds in proptest::collection::vec(
            (proptest::collection::vec(any_member(), 0..12), any::<u64>(), 0..5_000_u64),
            1..6,
        ),
    ) {
        let mut cluster = Cluster::with(settings);
        let mut mirrored = Cluster::with(settings);
        for (members, clients, millis) in rounds {
            cluster.members.clear();
            for (is_available, basis) in members {
                let at = cluster.add(basis);
                cluster.members[at].is_available = is_available;
            }
            let decision = cluster.decide();

            prop_assert_eq!(decision.members.len(), cluster.members.len());
            let is_any = decision.members.iter().any(|member| member.share > 0);
            prop_assert_eq!(is_any, matches!(decision.outcome, Outcome::Room | Outcome::Spread), "{:?}", decision);
            for (member, assessment) in cluster.members.iter().zip(&decision.members) {
                prop_assert!(member.is_available || assessment.share == 0);
                let is_reporting = matches!(member.basis, Basis::Reports(_));
                prop_assert_eq!(assessment.load.is_some(), is_reporting);
                prop_assert_eq!(assessment.expected.is_some(), is_reporting);
                if matches!(assessment.why, Why::Overloaded | Why::NotLeast | Why::Unavailable) {
                    prop_assert_eq!(assessment.share, 0);
                }
            }
            let candidates: Vec<_> = cluster.members.iter().map(Member::candidate).collect();
            prop_assert_eq!(&mirrored.balancer.shares(cluster.now, &candidates), &decision);
            for member in &cluster.members {
                cluster.balancer.arrived(cluster.now, &member.name, clients);
                mirrored.balancer.arrived(cluster.now, &member.name, clients);
            }
            cluster.pass(Duration::from_millis(millis));
        }
    }
}
