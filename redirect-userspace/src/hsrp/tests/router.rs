//! One router, told what happens around it.

use super::*;
use crate::hsrp::{Cause, Discard, Preempt, RouterSnapshot, Track, TrackSnapshot};

fn preempt(minimum: u64, reload: u64) -> Option<Preempt> {
    Some(Preempt { delay_minimum: Duration::from_secs(minimum), delay_reload: Duration::from_secs(reload) })
}

fn nothing() -> Vec<String> {
    Vec::new()
}

#[test]
fn a_lone_router_is_active_after_two_hold_times() {
    let mut desk = Desk::new(settings(), 2);

    assert_eq!(desk.give(0, Input::Interface(Some(interface(2)))), ["initial -a-> listen"]);
    assert_eq!(desk.wait(10_000), [(10_000, "listen -c-> speak".to_owned())]);
    let said = desk.wait(20_000);

    let hellos = said.iter().filter(|(_, words)| words == "hello speak 100 from own MAC").count();
    assert!((3..=4).contains(&hellos), "{said:?}");
    let rest: Vec<_> = said.iter().filter(|(_, words)| !words.starts_with("hello speak")).collect();
    let expected = [
        "speak -d-> standby",
        "acquire 10.0.0.100",
        "hello active 100 from virtual MAC",
        "announce",
        "standby -c-> active",
    ];
    assert!(rest.iter().map(|(ms, words)| (*ms, &**words)).eq(expected.map(|words| (20_000, words))));
}

#[test]
fn an_active_router_announces_itself_three_times() {
    let mut desk = Desk::in_state(settings(), State::Active);

    let said = desk.wait(60_000);

    let announced: Vec<_> = said.iter().filter(|(_, words)| words == "announce").map(|(ms, _)| *ms).collect();
    assert_eq!(announced, [23_000, 26_000]);
}

// test of RFC 2281 §5.4
#[test]
fn hellos_come_at_random_and_never_late() {
    for (hello, hold, least) in [(3_000, 10_000, 2_400), (250, 800, 225), (15, 50, 13)] {
        let settings = Settings { timers: timers(hello, hold), ..settings() };
        let mut desk = Desk::in_state(settings, State::Active);

        let said = desk.wait(20_000 + 100 * hello);

        let at: Vec<u64> =
            said.iter().filter(|(_, words)| words.starts_with("hello")).map(|(ms, _)| *ms).collect();
        let gaps: Vec<u64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.len() >= 99, "{gaps:?}");
        // Times in whole milliseconds, cut off: a gap may look 1 ms longer or shorter.
        assert!(gaps.iter().all(|gap| (least..=hello).contains(gap)), "{gaps:?}");
        assert!(gaps.iter().max() > gaps.iter().min(), "{gaps:?}");
    }
}

#[test]
fn a_hello_that_is_sent_late_does_not_delay_the_next_one() {
    let settings = Settings { timers: timers(15, 50), ..settings() };
    let mut desk = Desk::in_state(settings, State::Active);
    let start = desk.group.deadline().unwrap().at;

    // Every timeout comes 5 ms after it was due.
    let mut now = start;
    for _ in 0..100 {
        now = desk.group.deadline().unwrap().at + Duration::from_millis(5);
        desk.outputs(Now { mono: now, ..Now::default() }, Input::Timeout);
    }

    assert!(now.since(start) <= Duration::from_millis(100 * 15 + 5), "{:?}", now.since(start));
}

#[test]
fn preemption_says_the_coup_in_the_old_state_before_it_takes_over() {
    let settings = Settings { preempt: preempt(0, 0), ..settings() };
    let mut desk = Desk::up(settings, 2);

    assert_eq!(
        desk.hear(100, LOW, Opcode::Hello, State::Active),
        [
            "coup listen 100 from own MAC",
            "acquire 10.0.0.100",
            "hello active 100 from virtual MAC",
            "announce",
            "listen -h-> active"
        ]
    );
    // The coup is lost, and said again as long as the other one does not listen.
    assert_eq!(desk.hear(200, LOW, Opcode::Hello, State::Active), nothing());
    assert_eq!(desk.hear(2_600, LOW, Opcode::Hello, State::Active), ["coup active 100 from virtual MAC"]);
    assert_eq!(desk.hear(2_601, LOW, Opcode::Hello, State::Active), nothing());
    assert_eq!(desk.hear(2_700, LOW, Opcode::Hello, State::Speak), nothing());
}

#[test]
fn a_listening_router_lets_the_better_standby_router_preempt_first() {
    let settings = Settings { preempt: preempt(0, 0), ..settings() };
    let mut desk = Desk::up(settings, 2);

    assert_eq!(desk.hear(100, HIGH, Opcode::Hello, State::Standby), nothing());
    assert_eq!(desk.hear(200, LOW, Opcode::Hello, State::Active), nothing());
    // The standby router does not preempt.
    assert_eq!(desk.hear(2_700, HIGH, Opcode::Hello, State::Standby), nothing());
    let said = desk.hear(2_800, LOW, Opcode::Hello, State::Active);

    assert_eq!(said.first().unwrap(), "coup listen 100 from own MAC");
}

#[test]
fn a_replayed_coup_or_hello_costs_a_lone_active_router_one_hold_time() {
    for opcode in [Opcode::Coup, Opcode::Hello] {
        let mut desk = Desk::in_state(settings(), State::Active);
        desk.wait(50_000);

        assert!(desk.hear(50_000, HIGH, opcode, State::Active).contains(&"release".to_owned()));
        let said = desk.wait(60_000);

        assert_eq!(said.last(), Some(&(60_000, "standby -c-> active".to_owned())));
    }
}

#[test]
fn a_delay_of_preemption_ends_without_waiting_for_a_hello() {
    for (preempt, ms) in [(preempt(7, 0), 12_000), (preempt(0, 9), 9_000), (preempt(3, 9), 9_000)] {
        let settings = Settings { preempt, ..settings() };
        let mut desk = Desk::new(settings, 2);
        desk.give(5_000, Input::Interface(Some(interface(2))));

        assert_eq!(desk.hear(8_500, LOW, Opcode::Hello, State::Active), nothing());
        let said = desk.wait(14_000);

        assert_eq!(said.first(), Some(&(ms, "coup listen 100 from own MAC".to_owned())), "{preempt:?}");
        assert_eq!(desk.group.state(), State::Active);
    }
}

#[test]
fn without_preemption_a_lower_active_router_stays() {
    let mut desk = Desk::in_state(settings(), State::Speak);
    for ms in [11_000, 14_000, 17_000] {
        desk.wait(ms);
        assert_eq!(desk.hear(ms, LOW, Opcode::Hello, State::Active), nothing());
    }
    desk.wait(21_000);
    assert_eq!(desk.group.state(), State::Standby);
    assert_eq!(desk.wait(26_999).iter().filter(|(_, words)| !words.starts_with("hello")).count(), 0);

    let said: Vec<_> = desk.wait(27_000).into_iter().map(|(_, words)| words).collect();

    assert!(said.contains(&"standby -c-> active".to_owned()), "{said:?}");
}

#[test]
fn leaving_says_the_resign_before_the_addresses_are_let_go_of() {
    let mut desk = Desk::in_state(settings(), State::Active);

    assert_eq!(
        desk.give(20_000, Input::Stop),
        ["resign initial 100 from own MAC", "release", "active -b-> initial"]
    );
    assert_eq!(desk.group.deadline(), None);
    assert_eq!(desk.give(20_000, Input::Stop), nothing());
    assert_eq!(desk.give(21_000, Input::Interface(None)), nothing());
    assert_eq!(desk.give(22_000, Input::Interface(Some(interface(2)))), nothing());
    assert_eq!(desk.give(23_000, Input::Start), ["initial -a-> listen"]);
}

#[test]
fn a_coup_is_answered_by_a_resign() {
    let mut desk = Desk::in_state(settings(), State::Active);

    assert_eq!(
        desk.hear(20_500, HIGH, Opcode::Coup, State::Listen),
        ["resign speak 100 from own MAC", "release", "active -j-> speak"]
    );
    // The usurper is the active router already: its resign would count.
    assert!(desk.group.is_active_router("10.0.0.3".parse().unwrap()));
    assert_eq!(desk.hear(20_600, LOW, Opcode::Coup, State::Listen), nothing());
}

#[test]
fn only_the_active_routers_resign_counts() {
    let mut desk = Desk::in_state(settings(), State::Standby);

    assert_eq!(desk.hear(20_500, LOW, Opcode::Resign, State::Speak), nothing());
    assert_eq!(desk.hear(20_500, HIGH, Opcode::Resign, State::Speak).last().unwrap(), "standby -i-> active");
}

#[test]
fn with_use_bia_everything_comes_from_the_interfaces_own_address() {
    let settings = Settings { use_bia: true, ..settings() };
    let mut desk = Desk::in_state(settings, State::Active);

    assert_eq!(desk.group.virtual_mac(), interface(2).mac);
    assert_eq!(desk.hear(20_000, LOW, Opcode::Hello, State::Active), ["coup active 100 from own MAC"]);
    assert!(desk.wait(24_000).contains(&(23_000, "announce".to_owned())));
}

#[test]
fn an_ipv6_group_holds_the_link_local_address_after_its_own_ones() {
    let vips = vec!["fd50::5".parse().unwrap(), "10.0.0.100".parse().unwrap()];
    let mut desk = Desk::up(Settings { vips, ..settings() }, 2);

    let said = desk.wait(20_000);

    assert!(
        said.contains(&(20_000, "acquire fd50::5 10.0.0.100 fe80::5:73ff:fea0:1".to_owned())),
        "{said:?}"
    );
    assert_eq!(desk.group.virtual_mac().to_string(), "0005.73a0.0001");
    assert_eq!(desk.group.vips().len(), 2);
}

#[test]
fn a_family_without_an_address_does_not_run() {
    let no_ipv4 = Interface { ipv4: None, ..interface(2) };
    let mut desk = Desk::new(settings(), 2);
    assert_eq!(desk.give(0, Input::Interface(Some(no_ipv4.clone()))), nothing());

    let mut desk = Desk::in_state(settings(), State::Active);
    assert_eq!(
        desk.give(20_000, Input::Interface(Some(no_ipv4))),
        ["resign initial 100 from own MAC", "release", "active -b-> initial"]
    );
}

#[test]
fn a_new_own_address_is_said_and_announced_at_once() {
    let mut desk = Desk::in_state(settings(), State::Active);

    let said = desk.give(21_000, Input::Interface(Some(interface(7))));

    assert_eq!(said, ["hello active 100 from virtual MAC", "announce"]);
    assert_eq!(desk.give(21_000, Input::Interface(Some(interface(7)))), nothing());
}

// test of RFC 2281 §5.1
#[test]
fn what_is_not_configured_is_learned_from_the_active_router() {
    let mut desk = Desk::in_state(Settings { vips: Vec::new(), ..settings() }, State::Learn);
    assert_eq!(desk.wait(60_000), []);
    let hello = |hello, hold| {
        let settings = Settings { timers: timers(hello, hold), ..settings() };
        message(&settings, HIGH.0, Opcode::Hello, State::Active)
    };

    assert_eq!(desk.hear(60_000, HIGH, Opcode::Hello, State::Standby), nothing());
    assert_eq!(
        desk.hear_message(60_000, HIGH.0, hello(5_000, 15_000)),
        ["LearnedVip { vip: 10.0.0.100 }", "learn -g-> listen"]
    );
    assert_eq!(Some(desk.group.timers()), timers(5_000, 15_000));
    assert_eq!(desk.group.vips(), ["10.0.0.100".parse::<IpAddr>().unwrap()]);

    // Below a second: only for those who were told so.
    assert_eq!(desk.hear_message(61_000, HIGH.0, hello(250, 800)), nothing());
    assert_eq!(Some(desk.group.timers()), timers(5_000, 15_000));

    // A timer that cannot work is not learned, nor one of two.
    let odd = Message { hold: Duration::from_secs(4), ..hello(5_000, 15_000) };
    desk.hear_message(61_100, HIGH.0, odd);
    assert_eq!(Some(desk.group.timers()), timers(5_000, 15_000));

    // What was learned holds while active, and nothing new is learned then.
    desk.wait(200_000);
    assert_eq!(desk.group.state(), State::Active);
    let lower = Message { priority: 90, vip: "10.0.0.77".parse().unwrap(), ..hello(2_000, 9_000) };
    let said = desk.hear_message(200_000, LOW.0, lower);
    assert_eq!(
        said,
        ["DifferentVip { source: 10.0.0.1, theirs: 10.0.0.77 }", "coup active 100 from virtual MAC"]
    );
    assert_eq!(Some(desk.group.timers()), timers(5_000, 15_000));
}

#[test]
fn an_address_that_cannot_be_virtual_is_not_learned() {
    for vip in ["0.0.0.0", "224.0.0.5", "127.0.0.1", "255.255.255.255", "10.0.0.2"] {
        let mut desk = Desk::in_state(Settings { vips: Vec::new(), ..settings() }, State::Learn);
        let hello = message(&settings(), HIGH.0, Opcode::Hello, State::Active);

        assert_eq!(
            desk.hear_message(1_000, HIGH.0, Message { vip: vip.parse().unwrap(), ..hello }),
            nothing()
        );
        assert_eq!(desk.group.state(), State::Learn, "{vip}");
    }
}

#[test]
fn configured_times_are_not_replaced() {
    let mut desk = Desk::up(Settings { timers: timers(3_000, 10_000), ..settings() }, 2);
    let other = Settings { timers: timers(5_000, 15_000), ..settings() };

    desk.hear_message(1_000, HIGH.0, message(&other, HIGH.0, Opcode::Hello, State::Active));

    assert_eq!(Some(desk.group.timers()), timers(3_000, 10_000));
    // The Active timer goes by the hello all the same.
    assert_eq!(desk.group.due.active, Some(at(16_000).mono));
}

#[test]
fn a_hold_time_that_cannot_be_is_replaced_by_the_own_one() {
    // Hello and hold time of the message, in ms, and how long it counts.
    let cases = [
        (3_000, 10_000, 10_000),
        (0, 0, 10_000),
        (3_000, 3_000, 10_000),
        (1, 49, 10_000),
        (15, 50, 50),
        (1_000, 4_000_000_000, 255_000),
    ];
    for (hello, hold, expected) in cases {
        let mut desk = Desk::up(settings(), 2);
        let plain = message(&settings(), HIGH.0, Opcode::Hello, State::Active);
        let (hello, hold) = (Duration::from_millis(hello), Duration::from_millis(hold));

        desk.hear_message(1_000, HIGH.0, Message { hello, hold, ..plain });

        assert_eq!(desk.group.due.active, Some(at(1_000 + expected).mono), "{hello:?} {hold:?}");
    }
}

#[test]
fn version_1_with_times_below_a_second_measures_by_its_own() {
    let settings = Settings { version: Version::V1, timers: timers(250, 800), ..settings() };
    let mut desk = Desk::up(settings, 2);

    desk.hear(100, HIGH, Opcode::Hello, State::Active);

    assert_eq!(desk.group.due.active, Some(at(900).mono));
}

#[test]
fn tracked_interfaces_cost_priority_and_give_it_back() {
    let track = |interface: &str, decrement| Track { interface: interface.into(), decrement };
    let mut desk = Desk::in_state(
        Settings { track: vec![track("eth1", 20), track("eth2", 90)], ..settings() },
        State::Active,
    );
    let mut tracked = |ms, interface, is_up| desk.give(ms, Input::Tracked { interface, is_up });

    assert_eq!(tracked(20_000, "eth1", true), nothing());
    assert_eq!(tracked(20_000, "eth9", false), nothing());
    assert_eq!(
        tracked(20_100, "eth1", false),
        ["PriorityChanged { from: 100, to: 80 }", "hello active 80 from virtual MAC"]
    );
    assert_eq!(tracked(20_200, "eth1", false), nothing());
    assert_eq!(tracked(20_300, "eth2", false)[0], "PriorityChanged { from: 80, to: 0 }");
    assert_eq!(tracked(20_400, "eth1", true)[0], "PriorityChanged { from: 0, to: 10 }");
    assert_eq!(tracked(20_500, "eth2", true)[0], "PriorityChanged { from: 10, to: 100 }");

    let snapshot = desk.group.snapshot(at(20_500).mono);
    let up = |interface: &str, decrement| TrackSnapshot {
        interface: interface.into(),
        decrement,
        is_up: Some(true),
    };
    assert_eq!(snapshot.track, [up("eth1", 20), up("eth2", 90)]);
}

#[test]
fn a_lowered_active_router_says_so_at_once() {
    let mut desk = Desk::in_state(settings(), State::Active);

    let said = desk.give(20_100, Input::Reconfigure(Settings { priority: 50, ..settings() }));

    assert_eq!(said, ["PriorityChanged { from: 100, to: 50 }", "hello active 50 from virtual MAC"]);
}

#[test]
fn a_raised_standby_router_that_preempts_takes_over_at_once() {
    let mut desk = Desk::in_state(settings(), State::Standby);
    let raised = Settings { priority: 200, ..settings() };

    assert_eq!(
        desk.give(20_100, Input::Reconfigure(raised.clone())),
        ["PriorityChanged { from: 100, to: 200 }", "hello standby 200 from own MAC"]
    );
    assert_eq!(
        desk.give(20_200, Input::Reconfigure(Settings { preempt: preempt(0, 0), ..raised })),
        [
            "coup standby 200 from own MAC",
            "acquire 10.0.0.100",
            "hello active 200 from virtual MAC",
            "announce",
            "standby -h-> active"
        ]
    );
}

#[test]
fn another_vip_version_or_number_is_another_group() {
    let vips = || vec!["10.0.0.101".parse().unwrap()];
    let others = [
        Settings { vips: vips(), ..settings() },
        Settings { version: Version::V1, ..settings() },
        Settings { group: GroupNumber::new(2).unwrap(), ..settings() },
        Settings { use_bia: true, ..settings() },
    ];
    for other in others {
        let mut desk = Desk::in_state(settings(), State::Active);

        let outputs = desk.outputs(at(20_100), Input::Reconfigure(other.clone()));

        // The resign is one of the group before.
        let said: Vec<_> = outputs.iter().map(|output| words(Version::V2, output)).collect();
        assert_eq!(
            said,
            ["resign initial 100 from own MAC", "release", "active -b-> initial", "initial -a-> listen"]
        );
        assert_eq!(*desk.group.settings(), other);
    }
}

#[test]
fn the_same_settings_change_nothing() {
    for state in State::ALL {
        let mut desk = Desk::in_state(
            if state == State::Learn { Settings { vips: Vec::new(), ..settings() } } else { settings() },
            state,
        );
        let before = desk.group.settings().clone();
        let deadline = desk.group.deadline();

        assert_eq!(desk.give(20_000, Input::Reconfigure(before)), nothing(), "{state}");
        assert_eq!(desk.group.deadline(), deadline, "{state}");
    }
}

#[test]
fn new_times_hold_from_now_on() {
    let mut desk = Desk::in_state(settings(), State::Active);

    let said = desk.give(20_100, Input::Reconfigure(Settings { timers: timers(15, 50), ..settings() }));

    assert_eq!(said, ["hello active 100 from virtual MAC"]);
    assert!(desk.group.due.hello.unwrap() <= at(20_115).mono);
}

#[test]
fn the_key_of_before_a_reload_is_accepted_until_its_timeout() {
    let with = |authentication| Settings { authentication, ..settings() };
    let mut desk = Desk::up(with(md5("old", None, 0)), 2);
    desk.give(1_000, Input::Reconfigure(with(md5("new", None, 60))));
    // Another reload that has nothing to do with the key.
    let unrelated = Settings { priority: 99, ..with(md5("new", None, 60)) };
    desk.give(1_500, Input::Reconfigure(unrelated));
    let mut hear = |ms, key: &str| {
        let settings = Settings { priority: 110, ..with(md5(key, None, 0)) };
        let payload = sealed(&settings, 3, message(&settings, 3, Opcode::Hello, State::Active));
        desk.give(ms, Input::Packet { source: address(3, &settings), payload: &payload });
        desk.group.due.active == Some(at(ms + 10_000).mono)
    };

    assert!(hear(2_000, "old"));
    assert!(hear(3_000, "new"));
    assert!(!hear(4_000, "older"));
    assert!(hear(60_999, "old"));
    assert!(!hear(61_000, "old"));
    assert!(hear(61_000, "new"));
    desk.wait(61_000);
    assert!(desk.group.retired_key(at(0).mono).is_none(), "it is forgotten, not only unused");
}

#[test]
fn a_router_that_stood_still_while_active_starts_over_in_silence() {
    let settings = Settings { timers: timers(15, 50), ..settings() };
    let due = |desk: &Desk| desk.group.deadline().unwrap().at.since_start();
    let stalled = ["release", "active -b-> initial", "initial -a-> listen"];

    // Just not too long.
    let mut desk = Desk::in_state(settings.clone(), State::Active);
    let now = Now::default().after(due(&desk) + Duration::from_millis(50));
    desk.outputs(now, Input::Timeout);
    assert_eq!(desk.group.state(), State::Active);

    // Too long, whatever comes first.
    for is_packet in [false, true] {
        let mut desk = Desk::in_state(settings.clone(), State::Active);
        let now = Now::default().after(due(&desk) + Duration::from_micros(50_001));
        let outputs = if is_packet {
            let (source, payload) = (address(9, &settings), [1, 2, 3]);
            desk.outputs(now, Input::Packet { source, payload: &payload })
        } else {
            desk.outputs(now, Input::Timeout)
        };
        let said: Vec<_> = outputs.iter().map(|output| words(Version::V2, output)).collect();
        assert_eq!(said[..3], stalled);
        assert!(outputs.iter().any(|output| matches!(
            output,
            Output::Event(Event::StateChanged { cause: Cause::Stalled, .. })
        )));
    }
}

#[test]
fn packets_that_are_not_for_the_group_change_nothing_and_are_counted() {
    let settings = Settings { preempt: preempt(0, 0), authentication: md5("key", None, 0), ..settings() };
    let low = |settings: &Settings| {
        let message = Message { priority: 1, ..message(settings, 1, Opcode::Hello, State::Active) };
        sealed(settings, 1, message)
    };
    let sources = ["10.0.0.1", "10.0.0.2", "10.0.0.100", "10.0.1.1", "fe80::1"].map(|a| a.parse().unwrap());
    let [peer, own, vip, far, v6] = sources;
    let version_1 = Settings { version: Version::V1, ..settings.clone() };
    let group_2 = Settings { group: GroupNumber::new(2).unwrap(), ..settings.clone() };
    let ipv6 = Settings { vips: vec!["fe80::100".parse().unwrap()], ..settings.clone() };
    let text = Settings { authentication: Authentication::default(), ..settings.clone() };
    let key = Settings { authentication: md5("other", None, 0), ..settings.clone() };
    let unknown = {
        let message = message(&settings, 1, Opcode::Hello, State::Active);
        sealed(&settings, 1, Message { state: SenderState::Unknown(9), ..message })
    };
    let cases: [(Discard, IpAddr, Vec<u8>); 13] = [
        (Discard::AuthenticationScheme, peer, low(&text)),
        (Discard::AuthenticationValue, peer, low(&key)),
        (Discard::Malformed, peer, Vec::new()),
        (Discard::Malformed, peer, low(&settings)[..41].to_vec()),
        (Discard::Malformed, peer, unknown),
        (Discard::OffSubnet, far, low(&settings)),
        (Discard::Own, own, low(&settings)),
        (Discard::Own, vip, low(&settings)),
        (Discard::OtherGroup, peer, low(&group_2)),
        (Discard::OtherVersion, peer, low(&version_1)),
        (Discard::OtherFamily, v6, low(&settings)),
        (Discard::OtherFamily, peer, low(&ipv6)),
        (Discard::Advertisement, peer, vec![2, 4, 0, 0, 0, 1]),
    ];
    for state in [State::Listen, State::Speak, State::Standby, State::Active] {
        for (discard, source, payload) in &cases {
            let mut desk = Desk::in_state(settings.clone(), state);
            let deadline = desk.group.deadline();

            let said = desk.give(20_000, Input::Packet { source: *source, payload });

            let expected = if [Discard::OtherGroup, Discard::Advertisement].contains(discard) {
                Vec::new()
            } else if *discard == Discard::Own {
                vec![format!("DuplicateAddress {{ address: {source} }}")]
            } else {
                vec![format!("Discarded {{ source: {source}, discard: {discard:?}, count: 1 }}")]
            };
            assert_eq!(said, expected, "{discard} in {state}");
            assert_eq!(desk.group.state(), state, "{discard}");
            assert_eq!(desk.group.deadline(), deadline, "{discard} in {state}");
            let discards = desk.group.snapshot(at(20_000).mono).discards;
            assert_eq!(discards.into_iter().collect::<Vec<_>>(), [(*discard, 1)]);
        }
    }
    // The same message from a router of the group is a reason to take over.
    let mut desk = Desk::up(settings.clone(), 2);
    desk.give(1, Input::Packet { source: peer, payload: &low(&settings) });
    assert_eq!(desk.group.state(), State::Active);
}

#[test]
fn a_router_with_another_vip_is_reported_and_elected_with_all_the_same() {
    let mut desk = Desk::up(settings(), 2);
    let hello = message(&settings(), HIGH.0, Opcode::Hello, State::Active);
    let other = Message { vip: "10.0.0.101".parse().unwrap(), ..hello };

    assert_eq!(
        desk.hear_message(1_000, HIGH.0, other),
        ["DifferentVip { source: 10.0.0.3, theirs: 10.0.0.101 }"]
    );
    assert_eq!(desk.hear_message(2_000, HIGH.0, other), nothing());
    assert_eq!(desk.group.due.active, Some(at(12_000).mono));
    assert_eq!(desk.group.vips(), settings().vips);
}

#[test]
fn a_snapshot_shows_who_is_who_and_for_how_long() {
    let mut desk = Desk::up(settings(), 2);
    let remote = |address: &str, priority, expires| {
        let expires = Duration::from_millis(expires);
        Some(RouterSnapshot::Remote { address: address.parse().unwrap(), priority, expires })
    };
    assert_eq!(desk.group.snapshot(at(0).mono).active, None);

    desk.hear(1_000, HIGH, Opcode::Hello, State::Active);
    desk.hear(2_000, (4, 105), Opcode::Hello, State::Standby);
    let snapshot = desk.group.snapshot(at(3_500).mono);
    assert_eq!(snapshot.state, State::Listen);
    assert_eq!(snapshot.active, remote("10.0.0.3", 110, 7_500));
    assert_eq!(snapshot.standby, remote("10.0.0.4", 105, 8_500));
    assert_eq!(snapshot.next_hello, None);
    assert_eq!((snapshot.state_changes, snapshot.last_change), (1, Some(Duration::from_millis(3_500))));
    assert_eq!(snapshot.virtual_mac.to_string(), "0000.0c9f.f001");

    // The standby router has become active.
    desk.hear(3_600, (4, 105), Opcode::Hello, State::Active);
    let snapshot = desk.group.snapshot(at(3_600).mono);
    assert_eq!(snapshot.active, remote("10.0.0.4", 105, 10_000));
    assert_eq!(snapshot.standby, None);

    desk.wait(60_000);
    let snapshot = desk.group.snapshot(at(60_000).mono);
    assert_eq!(snapshot.active, Some(RouterSnapshot::Local));
    assert!(snapshot.next_hello.is_some());
}
