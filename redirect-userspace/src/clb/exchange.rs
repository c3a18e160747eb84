//! Master and slaves together.

use std::collections::BTreeSet;

use super::lan::*;
use super::*;

#[test]
fn a_slave_joins_reports_and_leaves() {
    let mut lan = Lan::with_slaves([1]);

    assert_eq!(lan.take_events(), [Event::MemberJoined { name: name(1), from: address(1) }]);
    assert_eq!(lan.take_slave_events(), [Event::Connected { master: name(0), address: vip() }]);
    let member = lan.member(1).unwrap();
    assert_eq!(member.registration, registration(1));
    assert_eq!(member.report, report(1));
    assert_eq!((member.reported_at, member.joined_at), (lan.now.mono, lan.now.mono));
    assert!(!member.is_local && !member.is_inherited);
    assert_eq!(lan.view(1), ["gw0", "gw1"]);

    lan.pass(ms(1_000));
    lan.slave(1, SlaveInput::Local(report(7)));
    let taken = lan.now.mono;
    lan.pass(ms(5_000));
    assert_eq!(lan.member(1).unwrap().report, report(7));
    assert_eq!(lan.member(1).unwrap().reported_at, taken);

    lan.slave(1, SlaveInput::Leave(LeaveReason::Stopped));
    assert_eq!(lan.members(), ["gw0"]);
    assert_eq!(
        lan.take_events(),
        [Event::MemberLeft { name: name(1), departure: Departure::Left(LeaveReason::Stopped) }]
    );
    assert_eq!(
        lan.take_slave_events(),
        [Event::Disconnected { master: name(0), reason: CloseReason::Left, refusal: None }]
    );
}

#[test]
fn it_makes_no_difference_how_the_octets_are_cut() {
    for piece in [1, 2, 3, 5, 11, 64, 200] {
        let mut lan = Lan::new();
        lan.piece = piece;
        for number in 1..12 {
            lan.add(number, KEY);
        }
        lan.pass(ms(7_000));

        assert_eq!(lan.members().len(), 12);
        for number in 1..12 {
            assert_eq!(lan.view(number), lan.members(), "pieces of {piece}");
        }
        assert_eq!(lan.closed, []);
    }
}

#[test]
fn a_slave_with_another_key_is_refused_and_both_say_so() {
    let mut lan = Lan::with_slaves([1]);
    lan.take_events();
    lan.take_slave_events();
    lan.dials = 0;

    lan.add(2, OTHER_KEY);
    lan.pass(ms(9_000));

    let refused =
        |count| Event::PeerRefused { from: address(2), reason: CloseReason::WrongKey, detail: None, count };
    let told = |count| Event::NotConnected {
        address: vip(),
        reason: CloseReason::Refused,
        refusal: Some(Refusal::Key),
        count,
    };
    assert_eq!(lan.take_events(), [refused(1)]);
    assert_eq!(lan.take_slave_events(), [told(1)]);
    assert!(lan.dials < 10, "{} dials in nine seconds", lan.dials);
    assert_eq!(lan.members(), ["gw0", "gw1"]);
    let total = lan.the_master().refusals().find(|(reason, _)| *reason == CloseReason::WrongKey).unwrap().1;
    lan.pass(ms(1_000));
    assert_eq!(lan.take_events(), [refused(total - 1)]);
    assert_eq!(lan.take_slave_events(), [told(total - 1)]);
}

/// The steps in which a key is changed.
const STEPS: [(&[u8], Option<&[u8]>); 4] =
    [(KEY, None), (KEY, Some(OTHER_KEY)), (OTHER_KEY, Some(KEY)), (OTHER_KEY, None)];

#[test]
fn members_that_are_not_all_of_a_key_change_apart_get_through_to_each_other() {
    for (at, master) in STEPS.into_iter().enumerate() {
        for (other, slave) in STEPS.into_iter().enumerate() {
            let mut lan = Lan::new();
            lan.master(MasterInput::Reconfigure { settings: two_keys(master), limits: Limits::default() });

            lan.slaves.insert(1, slave_with(1, two_keys(slave), lan.now));
            lan.slave(1, SlaveInput::MasterAt(vip()));
            lan.pass(ms(10_000));

            let is_member = lan.members().len() == 2;
            assert_eq!(is_member, at.abs_diff(other) < 3, "master at step {at}, slave at step {other}");
            assert!(is_member || lan.member(1).is_none());
        }
    }
}

#[test]
fn a_key_is_changed_by_reloads_without_a_connection_ending() {
    let mut lan = Lan::with_slaves([1, 2, 3]);
    lan.pass(ms(1));
    let slave = SlaveSettings::default();
    for (step, keys) in (1_u16..).zip(STEPS.into_iter().skip(1)) {
        // The master is the first, in the middle, the last.
        for node in (0..4).map(|node| (node + step) % 4) {
            let settings = two_keys(keys);
            match node {
                0 => lan.master(MasterInput::Reconfigure { settings, limits: Limits::default() }),
                node => lan.slave(node, SlaveInput::Reconfigure { settings, slave }),
            }
            lan.pass(ms(2_000));
            assert_eq!(lan.members(), ["gw0", "gw1", "gw2", "gw3"]);
        }
    }
    assert_eq!((&lan.closed[..], &lan.hung_up[..]), (&[][..], &[][..]));

    lan.add(4, KEY);
    lan.add(5, OTHER_KEY);
    assert_eq!(lan.members(), ["gw0", "gw1", "gw2", "gw3", "gw5"]);
}

#[test]
fn a_slave_of_another_cluster_is_refused() {
    let mut lan = Lan::new();
    let rng = crate::rng::Rng::from_number(5);
    let other = "group2".parse().unwrap();
    let slave =
        Slave::new(settings(KEY), SlaveSettings::default(), other, registration(1), report(0), rng, lan.now);
    lan.slaves.insert(1, slave);

    lan.slave(1, SlaveInput::MasterAt(vip()));
    lan.settle();

    assert_eq!(lan.members(), ["gw0"]);
    assert!(
        lan.take_slave_events()
            .iter()
            .any(|event| matches!(event, Event::NotConnected { refusal: Some(Refusal::Cluster), .. }))
    );
}

#[test]
fn a_silent_slave_is_dropped_after_the_hold_time() {
    let mut lan = Lan::with_slaves([1, 2]);
    lan.pass(ms(500));
    lan.cut(1);
    let last_heard = lan.member(1).unwrap().heard_at;
    lan.take_events();

    lan.pass(Settings::DEFAULT_HOLDTIME - lan.now.mono.since(last_heard) - ms(1));
    assert_eq!(lan.members(), ["gw0", "gw1", "gw2"]);
    lan.pass(ms(1));

    assert_eq!(lan.members(), ["gw0", "gw2"]);
    assert_eq!(
        lan.take_events(),
        [Event::MemberLeft { name: name(1), departure: Departure::Lost(CloseReason::Silent) }]
    );
    assert_eq!(lan.view(2), ["gw0", "gw2"]);
}

#[test]
fn a_silent_master_is_given_up_after_the_hold_time() {
    let mut lan = Lan::with_slaves([1]);
    lan.pass(ms(500));
    lan.cut(1);
    lan.hung_up.clear();

    lan.pass(ms(2_400));
    assert_eq!(lan.hung_up, []);
    lan.pass(ms(200));

    assert_eq!(lan.hung_up, [(1, CloseReason::Silent)]);
    lan.pass(ms(100));
    assert!(lan.slaves[&1].master().is_some(), "it has dialled again");
    assert_eq!(lan.members(), ["gw0", "gw1"]);
}

#[test]
fn a_member_that_crashed_comes_back_before_the_hold_time() {
    let mut lan = Lan::with_slaves([1]);
    lan.pass(ms(500));
    lan.crash(1);
    lan.take_events();

    lan.add(1, KEY);

    assert_eq!(
        lan.take_events(),
        [
            Event::MemberLeft { name: name(1), departure: Departure::Lost(CloseReason::Replaced) },
            Event::MemberJoined { name: name(1), from: address(1) },
        ]
    );
    lan.pass(ms(10_000));
    assert_eq!(lan.members(), ["gw0", "gw1"]);
    assert_eq!(lan.now.mono.since(lan.member(1).unwrap().joined_at), ms(10_000));
}

#[test]
fn a_slave_whose_connection_breaks_is_back_within_a_tenth_of_a_second() {
    let mut lan = Lan::with_slaves([1]);
    lan.pass(ms(20_000));
    let peer = lan.peer_of(1).unwrap();

    lan.master(MasterInput::Closed { peer });
    assert_eq!(lan.members(), ["gw0"]);
    lan.cut(1);
    let connection = ConnectionId(1);
    lan.slave(1, SlaveInput::Closed { connection });
    lan.pass(ms(100));

    assert_eq!(lan.members(), ["gw0", "gw1"]);
}

#[test]
fn the_next_master_starts_with_the_members_of_the_last_one() {
    let mut lan = Lan::with_slaves([1, 2, 3]);
    lan.master(MasterInput::Drain { name: name(3), drain: true });
    lan.pass(ms(4_000));
    let joined = lan.member(2).unwrap().joined_at;
    lan.crash_master();
    lan.pass(ms(50));

    let view = lan.slaves[&1].view(lan.now).unwrap();
    assert_eq!(view.master, name(0));
    lan.slaves.remove(&1);
    let rng = crate::rng::Rng::from_number(9);
    let limits = Limits::default();
    lan.master =
        Some(Master::new(settings(KEY), limits, cluster(), registration(1), rng, lan.now, Some(view)));

    assert_eq!(lan.members(), ["gw1", "gw2", "gw3"]);
    assert!(lan.member(1).unwrap().is_local);
    assert!(lan.member(2).unwrap().is_inherited);
    assert_eq!(lan.member(2).unwrap().report, report(2));
    assert!(lan.member(3).unwrap().drained_by_operator);
    assert_eq!(lan.member(2).unwrap().joined_at, joined);

    lan.take_events();
    lan.ordered.clear();
    lan.slave(3, SlaveInput::MasterAt(vip()));
    lan.pass(ms(1));
    assert!(!lan.member(3).unwrap().is_inherited);
    assert!(lan.member(3).unwrap().drained_by_operator);
    assert_eq!(lan.ordered, [(3, Order::Drain)]);
    assert_eq!(lan.take_events(), []);
    assert_eq!(lan.take_slave_events().last(), Some(&Event::Connected { master: name(1), address: vip() }));

    // gw2 does not come.
    lan.slaves.remove(&2);
    lan.pass(Settings::DEFAULT_HOLDTIME);
    assert_eq!(lan.members(), ["gw1", "gw3"]);
    assert_eq!(lan.take_events(), [Event::MemberLeft { name: name(2), departure: Departure::NotReturned }]);
}

#[test]
fn members_that_were_silent_are_not_inherited() {
    let mut lan = Lan::with_slaves([1, 2]);
    lan.pass(ms(1));
    lan.crash_master();
    lan.slave(1, SlaveInput::NoMaster);
    lan.slave(2, SlaveInput::NoMaster);

    lan.pass(Settings::DEFAULT_HOLDTIME);

    let view = lan.slaves[&1].view(lan.now);
    assert_eq!(view.as_ref().unwrap().entries.len(), 3);
    assert_eq!(master(view, lan.now).members().count(), 1);
}

#[test]
fn a_view_stays_young_while_the_master_vouches_for_it() {
    let mut lan = Lan::with_slaves([1, 2]);

    for _ in 0..50 {
        lan.pass(ms(200));
        let view = lan.slaves[&1].view(lan.now).unwrap();
        assert!(view.entries.iter().all(|entry| entry.heard_age <= ms(2_000)), "{view:?}");
    }
}

#[test]
fn slaves_learn_at_once_who_joins_and_who_leaves() {
    let mut lan = Lan::with_slaves([1, 2]);
    lan.pass(ms(1));
    assert_eq!(lan.view(1), ["gw0", "gw1", "gw2"]);

    lan.add(3, KEY);
    lan.pass(ms(1));
    assert_eq!(lan.view(1), ["gw0", "gw1", "gw2", "gw3"]);
    lan.slave(2, SlaveInput::Leave(LeaveReason::Disabled));
    lan.pass(ms(1));
    assert_eq!(lan.view(1), ["gw0", "gw1", "gw3"]);
    lan.slave(3, SlaveInput::LocalRegistration(Registration { priority: 7, ..registration(3) }));
    lan.pass(ms(1));

    let view = lan.slaves[&1].view(lan.now).unwrap();
    assert_eq!(view.entries[2].registration.priority, 7);
    assert!(lan.take_events().contains(&Event::MemberChanged { name: name(3) }));
}

#[test]
fn a_member_can_change_its_address_and_its_name() {
    let mut lan = Lan::with_slaves([1]);
    lan.pass(ms(100));

    let moved = Registration { addresses: registration(9).addresses, ..registration(1) };
    lan.slave(1, SlaveInput::LocalRegistration(moved.clone()));
    lan.settle();
    assert_eq!(lan.member(1).unwrap().registration, moved);
    // The address is free for somebody else now, the new one is not.
    assert_eq!(lan.hung_up, []);
    lan.slave(1, SlaveInput::LocalRegistration(registration(5)));
    lan.settle();

    assert_eq!(lan.members(), ["gw0", "gw5"]);
    assert_eq!(lan.hung_up, [(1, CloseReason::Left)]);
}

#[test]
fn a_slave_at_a_vip_is_refused_for_that_and_the_others_stay() {
    let mut lan = Lan::with_slaves([1]);
    let vips = vec!["10.1.0.2".parse().unwrap(), "fd50::5".parse().unwrap()];
    let settings = Settings { vips, ..settings(KEY) };
    lan.master(MasterInput::Reconfigure { settings, limits: Limits::default() });
    lan.take_events();
    lan.take_slave_events();

    lan.add(2, KEY);
    lan.slaves.insert(3, slave(3, KEY, lan.now));
    lan.slave(3, SlaveInput::LocalRegistration(registration_at(3, "fd50::5")));
    lan.slave(3, SlaveInput::MasterAt(vip()));
    lan.settle();

    assert_eq!(lan.members(), ["gw0", "gw1"]);
    let reason = CloseReason::VipAddress;
    assert_eq!(
        lan.take_events(),
        [Event::PeerRefused { from: address(2), reason, detail: None, count: 1 }],
        "the other one is counted"
    );
    let told = Event::NotConnected {
        address: vip(),
        reason: CloseReason::Refused,
        refusal: Some(Refusal::VipAddress),
        count: 1,
    };
    assert_eq!(lan.take_slave_events(), [told.clone(), told]);
    lan.slave(3, SlaveInput::LocalRegistration(registration(3)));
    lan.pass(ms(10_000));
    assert_eq!(lan.members(), ["gw0", "gw1", "gw3"]);
}

#[test]
fn a_member_whose_address_becomes_a_vip_is_none_any_more() {
    let mut lan = Lan::with_slaves([1, 2]);
    lan.pass(ms(1));
    lan.take_events();

    let settings = Settings { vips: vec!["10.1.0.2".parse().unwrap()], ..settings(KEY) };
    lan.master(MasterInput::Reconfigure { settings: settings.clone(), limits: Limits::default() });
    lan.settle();

    assert_eq!(lan.members(), ["gw0", "gw1"]);
    let departure = Departure::Lost(CloseReason::VipAddress);
    assert_eq!(lan.take_events(), [Event::MemberLeft { name: name(2), departure }]);
    lan.slave(1, SlaveInput::LocalRegistration(registration_at(1, "10.1.0.2")));
    lan.settle();
    assert_eq!(lan.members(), ["gw0"]);
    let departure = Departure::Lost(CloseReason::VipAddress);
    assert_eq!(lan.take_events(), [Event::MemberLeft { name: name(1), departure }]);
}

#[test]
fn a_member_at_a_vip_is_not_inherited() {
    let mut lan = Lan::with_slaves([1, 2]);
    lan.pass(ms(1));
    lan.crash_master();
    let view = lan.slaves[&1].view(lan.now);

    let settings = Settings { vips: vec!["10.1.0.2".parse().unwrap()], ..settings(KEY) };
    let rng = crate::rng::Rng::from_number(9);
    let limits = Limits::default();
    lan.master = Some(Master::new(settings, limits, cluster(), registration(9), rng, lan.now, view));

    assert_eq!(lan.members(), ["gw1", "gw9"]);
}

#[test]
fn an_order_reaches_its_member_also_after_it_was_away() {
    let mut lan = Lan::with_slaves([1, 2]);

    lan.master(MasterInput::Drain { name: name(1), drain: true });
    lan.settle();
    assert_eq!(lan.ordered, [(1, Order::Drain)]);
    assert!(lan.member(1).unwrap().drained_by_operator);

    lan.slave(1, SlaveInput::Leave(LeaveReason::Stopped));
    lan.slave(1, SlaveInput::MasterAt(vip()));
    lan.pass(ms(1));
    assert_eq!(lan.ordered, [(1, Order::Drain), (1, Order::Drain)]);
    assert!(lan.member(1).unwrap().drained_by_operator);

    lan.master(MasterInput::Drain { name: name(1), drain: false });
    lan.settle();
    assert_eq!(lan.ordered.last(), Some(&(1, Order::Undrain)));
    assert!(!lan.member(1).unwrap().drained_by_operator);
    lan.take_events();
    lan.master(MasterInput::Drain { name: name(77), drain: true });
    assert_eq!(lan.take_events(), []);
}

#[test]
fn an_order_is_sent_again_when_it_is_given_again() {
    let mut lan = Lan::with_slaves([1]);
    lan.take_events();

    // The slave may have been drained by a master that nobody remembers.
    lan.master(MasterInput::Drain { name: name(1), drain: false });
    lan.settle();

    assert_eq!(lan.ordered, [(1, Order::Undrain)]);
    assert_eq!(lan.take_events(), []);
}

#[test]
fn a_member_that_is_undrained_while_it_is_away_is_not_drained_when_it_comes_back() {
    let mut lan = Lan::with_slaves([1]);
    lan.master(MasterInput::Drain { name: name(1), drain: true });
    lan.slave(1, SlaveInput::Leave(LeaveReason::Stopped));

    lan.master(MasterInput::Drain { name: name(1), drain: false });
    lan.slave(1, SlaveInput::MasterAt(vip()));
    lan.pass(ms(1));

    assert!(!lan.member(1).unwrap().drained_by_operator);
}

#[test]
fn who_is_drained_and_away_is_drained_under_the_next_master_too() {
    let mut lan = Lan::with_slaves([1, 2, 3]);
    for number in [2, 3] {
        lan.master(MasterInput::Drain { name: name(number), drain: true });
        lan.slave(number, SlaveInput::Leave(LeaveReason::Stopped));
    }
    lan.pass(ms(100));
    let told = lan.slaves[&1].view(lan.now).unwrap().drained;
    assert_eq!(told, BTreeSet::from([name(2), name(3)]));
    lan.take_events();
    lan.master(MasterInput::Drain { name: name(2), drain: false });
    lan.pass(ms(100));
    assert_eq!(lan.take_events(), [Event::MemberDrained { name: name(2), is_drained: false }]);
    let view = lan.slaves[&1].view(lan.now).unwrap();
    assert_eq!(view.drained, BTreeSet::from([name(3)]));

    lan.crash_master();
    lan.slaves.clear();
    lan.master = Some(master(Some(view), lan.now));
    lan.ordered.clear();
    for number in [1, 2, 3] {
        lan.add(number, KEY);
    }
    lan.pass(ms(1));

    let is_drained = [1, 2, 3].map(|number| lan.member(number).unwrap().drained_by_operator);
    assert_eq!(is_drained, [false, false, true]);
    assert_eq!(lan.ordered, [(3, Order::Drain)]);
    assert_eq!(lan.slaves[&1].view(lan.now).unwrap().drained, BTreeSet::new());
}

#[test]
fn a_drained_member_that_is_not_inherited_is_drained_when_it_comes() {
    let mut lan = Lan::with_slaves([1, 2]);
    lan.master(MasterInput::Drain { name: name(2), drain: true });
    lan.pass(ms(1));
    lan.crash_master();
    lan.slave(1, SlaveInput::NoMaster);
    lan.slaves.remove(&2);
    lan.pass(Settings::DEFAULT_HOLDTIME);

    let view = lan.slaves[&1].view(lan.now);
    lan.master = Some(master(view, lan.now));

    assert_eq!(lan.members(), ["gw0"]);
    assert_eq!(lan.the_master().drained_away().collect::<Vec<_>>(), [&name(2)]);
    lan.add(2, KEY);
    assert!(lan.member(2).unwrap().drained_by_operator);
}

#[test]
fn a_master_that_stops_tells_everybody() {
    let mut lan = Lan::with_slaves([1, 2]);
    lan.pass(ms(1));
    lan.take_slave_events();

    lan.master(MasterInput::Stop);

    let stopped = Event::Disconnected {
        master: name(0),
        reason: CloseReason::Refused,
        refusal: Some(Refusal::Stopped),
    };
    assert_eq!(lan.take_slave_events(), [stopped.clone(), stopped]);
    assert_eq!(crate::machine::Machine::deadline(lan.the_master()), None);
    // What the slaves know is as young as it can be.
    let view = lan.slaves[&1].view(lan.now).unwrap();
    assert!(view.entries.iter().all(|entry| entry.heard_age <= ms(1)));
}

#[test]
fn a_different_hold_time_is_told_and_the_masters_counts() {
    let mut lan = Lan::with_slaves([1]);
    lan.take_slave_events();

    let settings = Settings { holdtime: ms(600), ..settings(KEY) };
    lan.master(MasterInput::Reconfigure { settings, limits: Limits::default() });
    lan.settle();

    assert_eq!(
        lan.take_slave_events(),
        [Event::HoldtimeDiffers { master: name(0), ours: ms(3_000), theirs: ms(600) }]
    );
    // Hellos come every 200 ms now, although 1 s is configured.
    lan.pass(ms(10_000));
    assert_eq!(lan.members(), ["gw0", "gw1"]);
    lan.crash(1);
    lan.pass(ms(601));
    assert_eq!(lan.members(), ["gw0"]);
}

#[test]
fn as_many_slaves_as_the_protocol_allows_know_each_other() {
    let mut lan = Lan::new();
    lan.piece = 20_000;
    let last = u16::try_from(MAX_MEMBERS).unwrap() - 1;
    for number in 1..=last {
        lan.slaves.insert(number, slave(number, KEY, lan.now));
        lan.slave(number, SlaveInput::MasterAt(vip()));
    }
    lan.settle();
    let sent_for_joining = lan.sent;
    lan.pass(ms(8_000));
    let per_second = (lan.sent - sent_for_joining) / 8;

    let names: BTreeSet<_> = lan.members().into_iter().collect();
    assert_eq!(names.len(), MAX_MEMBERS);
    for number in 1..=last {
        assert!(lan.view(number).into_iter().eq(names.iter().cloned()), "gw{number}");
    }
    assert_eq!(lan.closed, []);
    // Views are sent at 4 MB/s, and some slices more at the start.
    assert!(per_second < 4_200_000, "{per_second} octets per second");
    // At 1 MB/s when nobody has anything new to learn, beside the signs of life.
    let sent = lan.sent;
    lan.pass(ms(8_000));
    let per_second = (lan.sent - sent) / 8;
    assert!(per_second < 1_200_000, "{per_second} octets per second");

    lan.add(last + 1, KEY);
    assert!(
        lan.take_slave_events()
            .iter()
            .any(|event| matches!(event, Event::NotConnected { refusal: Some(Refusal::Full), .. }))
    );
}
