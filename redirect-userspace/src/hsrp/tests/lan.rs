//! Several routers on one link, in virtual time.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::hsrp::{Discard, Preempt, Track};

/// A link with routers on it. Router `n` has the addresses that end in `n`.
struct Lan {
    now: Instant,
    routers: BTreeMap<u8, Desk>,
    /// Routers that hold the virtual addresses, by what they were told.
    holders: BTreeSet<u8>,
    /// Datagrams under way: when they arrive, in which order, from whom, to whom.
    mail: BTreeMap<(Instant, u64), (u8, u8, Vec<u8>)>,
    sent: u64,
    latency: Duration,
    /// Of 1000 datagrams so many are lost.
    loss: u64,
    rng: Rng,
    /// Which part of a divided link a router is on.
    side: BTreeMap<u8, u8>,
    /// Who became active when.
    activations: Vec<(Instant, u8)>,
    /// When a hello of an active router arrived last.
    last_active_hello: Instant,
}

impl Lan {
    fn new(seed: u64) -> Self {
        Self {
            now: Instant::START,
            routers: BTreeMap::new(),
            holders: BTreeSet::new(),
            mail: BTreeMap::new(),
            sent: 0,
            latency: Duration::from_micros(200),
            loss: 0,
            rng: Rng::from_number(seed),
            side: BTreeMap::new(),
            activations: Vec::new(),
            last_active_hello: Instant::START,
        }
    }

    /// A link with routers of these settings, numbered from 1, all switched on now.
    fn of(settings: impl IntoIterator<Item = Settings>) -> Self {
        let mut lan = Self::new(1);
        for (last, settings) in (1..).zip(settings) {
            lan.plug_in(last, settings);
        }
        lan
    }

    fn plug_in(&mut self, last: u8, settings: Settings) {
        let group = Group::new(settings, self.rng.fork(), self.now);
        self.routers.insert(last, Desk::of(group));
        self.give(last, Input::Interface(Some(interface(last))));
    }

    /// A router dies without a word.
    fn kill(&mut self, last: u8) {
        self.routers.remove(&last);
        self.holders.remove(&last);
    }

    fn give(&mut self, last: u8, input: Input<'_>) {
        let now = Now { mono: self.now, ..Now::default() };
        let Some(router) = self.routers.get_mut(&last) else { return };
        let is_timeout = matches!(input, Input::Timeout);
        let outputs = router.outputs(now, input);
        assert!(outputs.len() <= 16, "{outputs:?}");
        if is_timeout {
            let deadline = router.group.deadline();
            assert!(deadline.is_none_or(|deadline| deadline.at > self.now), "{deadline:?} spins");
        }
        for output in outputs {
            self.carry_out(last, output);
        }
        let router = &self.routers[&last].group;
        assert_eq!(router.state() == State::Active, self.holders.contains(&last), "router {last}");
    }

    fn carry_out(&mut self, last: u8, output: Output) {
        match output {
            Output::AcquireVip { .. } => {
                assert!(self.holders.insert(last), "router {last} holds them already");
                self.activations.push((self.now, last));
            }
            Output::ReleaseVip => assert!(self.holders.remove(&last), "router {last} has none"),
            Output::AnnounceVip => assert!(self.holders.contains(&last), "router {last} has none"),
            Output::Send { source, payload } => {
                // RFC 2281 §6.1
                assert_eq!(
                    source == SourceMac::Virtual,
                    self.holders.contains(&last) && !is_resign(&payload)
                );
                let others: Vec<u8> = self.routers.keys().copied().filter(|other| *other != last).collect();
                for other in others {
                    let is_cut = self.side.get(&last) != self.side.get(&other);
                    if is_cut || self.rng.below(1_000) < self.loss {
                        continue;
                    }
                    self.sent += 1;
                    let jitter = self.rng.between(Duration::ZERO, self.latency);
                    let arrival = self.now + self.latency + jitter;
                    self.mail.insert((arrival, self.sent), (last, other, payload.clone()));
                }
            }
            Output::Event(_) => {}
        }
    }

    /// Lets time pass until `until` ms.
    fn run(&mut self, until: u64) {
        self.run_to(at(until).mono);
    }

    fn run_to(&mut self, until: Instant) {
        loop {
            let arrival = self.mail.first_key_value().map(|((at, _), _)| *at);
            let timeout = self
                .routers
                .iter()
                .filter_map(|(last, router)| Some((router.group.deadline()?.at, *last)))
                .min();
            // What has arrived is handed in before a timeout that is due.
            match (arrival, timeout) {
                (Some(at), due) if at <= until && due.is_none_or(|(due, _)| at <= due) => {
                    self.now = at;
                    let Some((_, (from, to, payload))) = self.mail.pop_first() else { return };
                    self.deliver(from, to, &payload);
                }
                (_, Some((at, last))) if at <= until => {
                    self.now = at;
                    self.give(last, Input::Timeout);
                }
                (_, _) => break,
            }
        }
        self.now = until;
    }

    fn deliver(&mut self, from: u8, to: u8, payload: &[u8]) {
        let Some(router) = self.routers.get(&to) else { return };
        let source = address(from, router.group.settings());
        let version = router.group.settings().version;
        let message = wire::decode(version, payload).ok().and_then(|datagram| datagram.message);
        if message.is_some_and(|message| message.state == SenderState::Is(State::Active)) {
            self.last_active_hello = self.now;
        }
        self.give(to, Input::Packet { source, payload });
    }

    fn states(&self) -> Vec<State> {
        self.routers.values().map(|router| router.group.state()).collect()
    }

    fn discards(&self, last: u8, discard: Discard) -> u64 {
        let snapshot = self.routers[&last].group.snapshot(self.now);
        snapshot.discards.get(&discard).copied().unwrap_or(0)
    }
}

fn is_resign(payload: &[u8]) -> bool {
    [Version::V1, Version::V2].into_iter().any(|version| {
        wire::decode(version, payload)
            .is_ok_and(|datagram| datagram.message.is_some_and(|message| message.opcode == Opcode::Resign))
    })
}

fn with(priority: u8) -> Settings {
    Settings { priority, ..settings() }
}

fn preempting(priority: u8) -> Settings {
    Settings { preempt: Some(Preempt::default()), ..with(priority) }
}

/// Hello 15 ms, hold 50 ms.
fn quick(settings: Settings) -> Settings {
    Settings { timers: timers(15, 50), ..settings }
}

#[test]
fn the_highest_priority_is_active_and_the_next_one_standby() {
    for version in [Version::V1, Version::V2] {
        let with = |priority| Settings { version, ..with(priority) };
        let mut lan = Lan::of([with(100), with(120), with(110)]);

        lan.run(60_000);

        assert_eq!(lan.states(), [State::Listen, State::Active, State::Standby]);
        assert_eq!(lan.activations.len(), 1);
    }
}

// test of RFC 2281 §5.1
#[test]
fn among_equal_priorities_the_higher_address_wins() {
    let ipv6 = Settings { vips: vec!["fd50::5".parse().unwrap()], ..with(100) };
    for settings in [with(100), ipv6] {
        let mut lan = Lan::of([settings.clone(), settings.clone(), settings]);

        lan.run(60_000);

        assert_eq!(lan.states(), [State::Listen, State::Standby, State::Active]);
    }
}

#[test]
fn a_standby_router_takes_over_exactly_one_hold_time_after_the_last_hello() {
    for (hello, hold) in [(3_000, 10_000), (250, 800), (15, 50)] {
        for version in [Version::V1, Version::V2] {
            let own = timers(hello, hold);
            let with = |priority| Settings { version, timers: own, ..with(priority) };
            let mut lan = Lan::of([with(100), with(120), with(110)]);
            lan.run(60_000);
            lan.kill(2);
            lan.run(60_000 + 1);
            let last = lan.last_active_hello;

            lan.run(120_000);

            // Router 3 heard the hello last or second to last.
            let (when, who) = lan.activations[1];
            let gap = when.since(last) + lan.latency;
            let hold = Duration::from_millis(hold);
            assert_eq!(who, 3);
            assert!(gap >= hold && gap <= hold + lan.latency, "{gap:?}");
            assert_eq!(lan.states(), [State::Standby, State::Active]);
        }
    }
}

#[test]
fn the_best_router_that_comes_late_waits_unless_it_preempts() {
    let mut lan = Lan::of([with(100), with(90)]);
    lan.run(60_000);

    lan.plug_in(3, with(200));
    lan.run(120_000);
    assert_eq!(lan.states(), [State::Active, State::Listen, State::Standby]);

    lan.kill(3);
    lan.plug_in(3, preempting(200));
    lan.run(123_100);
    assert_eq!(lan.states()[2], State::Active);
    lan.run(180_000);
    assert_eq!(lan.states(), [State::Standby, State::Listen, State::Active]);
    assert_eq!(lan.activations.len(), 2);
}

#[test]
fn a_delay_of_preemption_is_kept_to_the_moment() {
    let mut lan = Lan::of([with(100)]);
    lan.run(60_000);
    let preempt = |minimum, reload| Preempt {
        delay_minimum: Duration::from_secs(minimum),
        delay_reload: Duration::from_secs(reload),
    };

    lan.plug_in(2, Settings { preempt: Some(preempt(30, 45)), ..with(200) });
    lan.run(200_000);
    assert_eq!(lan.activations[1..], [(at(105_000).mono, 2)]);

    // The cable is pulled and put back: only the delay after that counts.
    lan.give(2, Input::Interface(None));
    lan.run(300_000);
    lan.give(2, Input::Interface(Some(interface(2))));
    lan.run(400_000);
    assert_eq!(lan.activations[3..], [(at(330_000).mono, 2)]);
}

#[test]
fn a_router_that_leaves_in_order_hands_over_within_one_latency() {
    let mut lan = Lan::of([quick(with(100)), quick(with(110)), quick(with(90))]);
    lan.run(1_000);
    assert_eq!(lan.states(), [State::Standby, State::Active, State::Listen]);

    let left = lan.now;
    lan.give(2, Input::Stop);
    lan.run(2_000);

    let (when, who) = lan.activations[1];
    assert_eq!(who, 1);
    assert!(when.since(left) <= 2 * lan.latency, "{:?}", when.since(left));
    assert_eq!(lan.states(), [State::Active, State::Initial, State::Standby]);
}

#[test]
fn a_lowered_priority_hands_over_within_one_latency() {
    // Every router but the lowered one would preempt.
    let mut lan = Lan::of((0..10).map(|number| quick(preempting(100 + number))));
    lan.run(2_000);
    assert_eq!(lan.states()[8..], [State::Standby, State::Active]);
    lan.activations.clear();

    let lowered = lan.now;
    lan.give(10, Input::Reconfigure(quick(preempting(50))));
    lan.run(3_000);

    let [(when, 9)] = lan.activations[..] else { panic!("{:?}", lan.activations) };
    assert!(when.since(lowered) <= 2 * lan.latency, "{:?}", when.since(lowered));
    assert_eq!(lan.states()[7..], [State::Standby, State::Active, State::Listen]);
}

#[test]
fn losing_a_tracked_interface_hands_over_and_its_return_takes_back() {
    let track = vec![Track { interface: "eth1".into(), decrement: 20 }];
    let mut lan = Lan::of([preempting(100), Settings { track, ..preempting(110) }]);
    lan.run(60_000);
    assert_eq!(lan.states(), [State::Standby, State::Active]);

    lan.give(2, Input::Tracked { interface: "eth1", is_up: false });
    lan.run(60_001);
    assert_eq!(lan.states(), [State::Active, State::Speak]);
    lan.run(80_000);
    assert_eq!(lan.states(), [State::Active, State::Standby]);

    lan.give(2, Input::Tracked { interface: "eth1", is_up: true });
    lan.run(80_001);
    assert_eq!(lan.states(), [State::Speak, State::Active]);
}

#[test]
fn of_two_active_routers_one_remains_when_the_link_heals() {
    for preempts in [false, true] {
        let with = |priority| quick(if preempts { preempting(priority) } else { with(priority) });
        let mut lan = Lan::of([with(100), with(120), with(110), with(90)]);
        lan.run(1_000);
        lan.side = BTreeMap::from([(1, 0), (2, 0), (3, 1), (4, 1)]);
        lan.run(2_000);
        assert_eq!(lan.states(), [State::Standby, State::Active, State::Active, State::Standby]);

        lan.side.clear();
        lan.run(2_000 + 15 + 1);
        assert_eq!(lan.holders, BTreeSet::from([2]));
        lan.run(3_000);

        assert_eq!(lan.states(), [State::Listen, State::Active, State::Standby, State::Listen]);
    }
}

#[test]
fn a_vip_is_learned_and_the_learner_can_take_over() {
    let mut lan = Lan::of([with(120), Settings { vips: Vec::new(), ..with(100) }]);
    lan.run(60_000);
    assert_eq!(lan.states(), [State::Active, State::Standby]);

    lan.kill(1);
    lan.run(120_000);

    assert_eq!(lan.states(), [State::Active]);
    assert_eq!(lan.routers[&2].group.vips(), with(0).vips);
}

#[test]
fn with_different_keys_both_stay_active() {
    let keyed = |key: &str, priority| quick(Settings { authentication: md5(key, None, 0), ..with(priority) });
    let mut lan = Lan::of([keyed("one", 100), keyed("two", 110)]);
    lan.run(1_000);
    assert_eq!(lan.states(), [State::Active, State::Active]);
    assert!(lan.discards(1, Discard::AuthenticationValue) > 50);

    lan.give(1, Input::Reconfigure(keyed("two", 100)));
    lan.run(2_000);

    assert_eq!(lan.states(), [State::Standby, State::Active]);
}

#[test]
fn a_key_is_changed_router_by_router_without_a_change_of_state() {
    // With the new key accepted first, and by the timeout of the old one.
    let keyed =
        |key, accept, timeout| quick(Settings { authentication: md5(key, accept, timeout), ..with(100) });
    let plans = [
        vec![keyed("old", Some("new"), 0), keyed("new", Some("old"), 0), keyed("new", None, 0)],
        vec![keyed("old", Some("new"), 0), keyed("new", None, 10)],
    ];
    for plan in plans {
        let mut lan = Lan::of([keyed("old", None, 0), keyed("old", None, 0), keyed("old", None, 0)]);
        lan.run(1_000);
        let states = lan.states();
        let mut ms = 1_000;
        for settings in plan {
            for last in 1..=3 {
                lan.give(last, Input::Reconfigure(settings.clone()));
                ms += 500;
                lan.run(ms);
            }
        }

        assert_eq!(lan.states(), states);
        assert_eq!(lan.activations.len(), 1);
        assert!((1..=3).all(|last| lan.discards(last, Discard::AuthenticationValue) == 0));
    }
}

#[test]
fn the_two_versions_take_no_notice_of_each_other() {
    let mut lan = Lan::of([quick(Settings { version: Version::V1, ..with(100) }), quick(with(110))]);

    lan.run(1_000);

    assert_eq!(lan.states(), [State::Active, State::Active]);
    assert!(lan.discards(1, Discard::OtherVersion) > 50);
    assert!(lan.discards(2, Discard::OtherVersion) > 50);
}

#[test]
fn two_groups_on_one_link_do_not_disturb_each_other() {
    let group = |number, priority| Settings { group: GroupNumber::new(number).unwrap(), ..with(priority) };
    let mut lan = Lan::of([group(1, 120), group(2, 100), group(1, 100), group(2, 120)]);

    lan.run(60_000);

    assert_eq!(lan.states(), [State::Active, State::Standby, State::Standby, State::Active]);
    assert_eq!(lan.activations.len(), 2);
}

#[test]
fn an_active_router_that_crashes_and_restarts_at_once_is_out_for_one_hold_time() {
    let mut lan = Lan::of([quick(with(100)), quick(with(110))]);
    lan.run(1_000);

    lan.kill(2);
    lan.plug_in(2, quick(with(110)));
    lan.run(2_000);

    // The standby router gives way to it while it waits for an active router that it was itself.
    assert_eq!(lan.states(), [State::Standby, State::Active]);
    let (when, who) = lan.activations[1];
    assert_eq!((who, lan.activations.len()), (2, 2));
    assert!(when >= at(1_050).mono && when < at(1_051).mono, "{when:?}");
}

/// What may befall a link: loss, partition, cable pulls, crashes, leaving in order, new
/// priorities.
fn disturb(lan: &mut Lan, count: u8) {
    let last = 1 + u8::try_from(lan.rng.below(count.into())).unwrap();
    let priority = u8::try_from(lan.rng.below(256)).unwrap();
    let preempts = lan.rng.below(2) == 0;
    let settings = quick(if preempts { preempting(priority) } else { with(priority) });
    match lan.rng.below(9) {
        0 => lan.loss = lan.rng.below(500),
        1 => lan.side = (1..=count).map(|last| (last, u8::from(lan.rng.below(2) == 0))).collect(),
        2 => lan.side.clear(),
        3 => lan.give(last, Input::Interface(None)),
        4 => lan.give(last, Input::Interface(Some(interface(last)))),
        5 => lan.kill(last),
        6 if !lan.routers.contains_key(&last) => lan.plug_in(last, settings),
        6 => lan.give(last, Input::Stop),
        7 => lan.give(last, Input::Start),
        _ => lan.give(last, Input::Reconfigure(settings)),
    }
}

#[test]
fn after_any_trouble_one_router_is_active_and_the_next_one_standby() {
    for seed in 0..200 {
        let mut lan = Lan::new(seed);
        let count = 2 + u8::try_from(seed % 4).unwrap();
        for last in 1..=count {
            lan.plug_in(last, quick(with(100)));
        }
        for _ in 0..30 {
            disturb(&mut lan, count);
            let pause = lan.rng.between(Duration::ZERO, Duration::from_millis(120));
            lan.run_to(lan.now + pause);
        }

        lan.loss = 0;
        lan.side.clear();
        for last in 1..=count {
            if lan.routers.contains_key(&last) {
                lan.give(last, Input::Start);
                lan.give(last, Input::Interface(Some(interface(last))));
            } else {
                lan.plug_in(last, quick(with(100)));
            }
        }
        // Hellos have had a hold time to travel: one active router at most, from now on.
        lan.run_to(lan.now + Duration::from_millis(50));
        for _ in 0..20 {
            lan.run_to(lan.now + Duration::from_millis(17));
            assert!(lan.holders.len() <= 1, "seed {seed}: {:?}", lan.holders);
        }

        let count_of = |state| lan.states().iter().filter(|other| **other == state).count();
        assert_eq!(
            (count_of(State::Active), count_of(State::Standby)),
            (1, 1),
            "seed {seed}: {:?}",
            lan.states()
        );
        // Who stays where it is has a right to: nobody who preempts is above the active router.
        let active = *lan.holders.first().unwrap();
        let order = |last: u8| (lan.routers[&last].group.priority(), last);
        for (last, router) in &lan.routers {
            let is_above = order(*last) > order(active);
            assert!(!(is_above && router.group.settings().preempt.is_some()), "seed {seed}: router {last}");
        }
    }
}
