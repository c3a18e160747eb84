//! Connections that a packet brings up.

use super::*;
use crate::ike::config::Settings;
use crate::ike::identity::{holder, parse};
use crate::ike::{Input, TrapId};
use crate::testing::pair::NAME;

/// Longer than the first pause.
const PAUSE: Duration = Duration::from_secs(3);

/// A client whose connection waits for a packet.
fn waiting() -> Plan {
    let mut plan = plan();
    plan.connection(|connection| connection.upkeep.start = Start::Trap);
    plan
}

/// The same, told so.
fn watching(plan: Plan, gateways: usize) -> World {
    let mut world = World::new(plan, gateways);
    world.command(CLIENT, Command::Watch { connection: name(NAME) });
    world.settle();
    world
}

/// A packet for the connection comes.
fn packet(world: &mut World) {
    let packet = ([10, 7, 0, 3].into(), [10, 99, 0, 1].into());
    // Whichever number it has: those of former ones are nobody's.
    for trap in (1..=3).map(TrapId) {
        world.step(CLIENT, Input::Wanted { trap, packet });
    }
    world.settle();
}

/// How often it was said that the packets of the connection are watched for; `None` = they are not.
fn watches(world: &World) -> Option<u32> {
    let watched = &world.sides[CLIENT].watched;
    assert!(watched.len() <= 1, "{watched:?}");
    watched.values().next().copied()
}

/// Other settings with this change of the connection.
fn changed(change: impl FnOnce(&mut Connection)) -> Settings {
    let mut plan = waiting();
    plan.connection(|connection| connection.remotes = vec![(at(1), 500).into()]);
    plan.connection(change);
    plan.client
}

fn clear(world: &mut World) {
    world.command(CLIENT, Command::Clear(Selection::All));
    world.settle();
}

#[test]
fn nothing_is_begun_before_a_packet_comes_and_everything_by_the_first_one() {
    let mut world = watching(waiting(), 1);
    world.pass(Duration::from_secs(3_600));
    assert!(world.sent.is_empty(), "nobody has asked for anything");
    assert_eq!(watches(&world), Some(1));

    packet(&mut world);

    world.assert_up_at(1);
    let wanted = |event: &Event| matches!(event, Event::Wanted { to, .. } if to.to_string() == "10.99.0.1");
    assert_eq!(world.events(CLIENT).iter().filter(|event| wanted(event)).count(), 1);

    let sent = world.sent.len();
    packet(&mut world);
    assert_eq!(world.sent.len(), sent, "it is up already");
}

#[test]
fn what_has_ended_is_brought_up_again_by_the_next_packet() {
    let mut world = watching(waiting(), 1);
    packet(&mut world);

    clear(&mut world);
    packet(&mut world);
    assert!(world.sas(CLIENT).is_empty(), "not at once");
    world.pass(PAUSE);
    assert!(world.sas(CLIENT).is_empty(), "not by itself");
    assert_eq!(watches(&world), Some(2));

    packet(&mut world);
    world.assert_up_at(1);
}

#[test]
fn a_gateway_that_does_not_answer_is_asked_ever_more_slowly() {
    let mut world = watching(waiting(), 1);
    world.dead.insert(1);

    let mut asked = 0;
    for _ in 0..600 {
        packet(&mut world);
        world.pass(Duration::from_secs(2));
        asked += failures(&world.events(CLIENT)).len();
    }
    // Each takes 30 s, and the pauses grow to a minute.
    assert!((13..=22).contains(&asked), "{asked}");

    // What is under way ends.
    world.pass(PATIENCE + ROUND);
    world.dead.clear();
    world.pass(ROUND);
    assert!(world.sas(CLIENT).is_empty(), "there was no packet");
    packet(&mut world);
    world.assert_up_at(1);
}

#[test]
fn an_operator_need_not_wait_for_a_packet() {
    let mut world = watching(waiting(), 1);

    world.initiate();
    world.settle();

    world.assert_up_at(1);
    clear(&mut world);
    world.pass(PAUSE);
    assert_eq!(watches(&world), Some(2), "it is the same connection");
    packet(&mut world);
    world.assert_up_at(1);
}

#[test]
fn other_settings_set_it_anew_or_take_it_away() {
    let mut world = watching(waiting(), 1);

    world.configure(&changed(|_| {}));
    assert_eq!(watches(&world), Some(2), "it may be for other packets");
    world.configure(&changed(|connection| connection.upkeep.start = Start::Manual));
    assert_eq!(watches(&world), None);
    packet(&mut world);
    assert!(world.sas(CLIENT).is_empty());

    world.configure(&changed(|_| {}));
    world.command(CLIENT, Command::Watch { connection: name(NAME) });
    assert_eq!(watches(&world), Some(1));
    packet(&mut world);
    world.assert_up_at(1);
    let mut without = changed(|_| {});
    without.connections.clear();
    world.configure(&without);
    assert_eq!(watches(&world), None);
    world.assert_up_at(1);
    clear(&mut world);
    world.pass(ROUND);
    assert_eq!((watches(&world), world.sas(CLIENT).len()), (None, 0));
}

#[test]
fn what_is_under_way_is_watched_for_when_it_ends_if_the_settings_say_so_meanwhile() {
    for start in [Start::Manual, Start::Auto] {
        let mut plan = plan();
        plan.connection(|connection| connection.upkeep.start = start);
        let mut world = World::new(plan, 1);
        world.initiate();
        world.settle();

        world.configure(&changed(|_| {}));
        world.command(CLIENT, Command::Watch { connection: name(NAME) });
        assert_eq!(watches(&world), None, "it is up");
        clear(&mut world);
        world.pass(PAUSE);

        assert_eq!((watches(&world), world.sas(CLIENT).len()), (Some(1), 0), "{start:?}");
        packet(&mut world);
        world.assert_up_at(1);
    }
}

#[test]
fn one_that_waits_for_its_next_round_waits_for_a_packet_from_then_on() {
    let mut world = World::new(plan(), 1);
    world.dead.insert(1);
    world.initiate();
    world.pass(PATIENCE + Duration::from_millis(500));

    world.configure(&changed(|_| {}));
    world.dead.clear();
    world.pass(ROUND);

    assert_eq!((watches(&world), world.sas(CLIENT).len()), (Some(1), 0));
    packet(&mut world);
    world.assert_up_at(1);
}

#[test]
fn a_connection_that_was_begun_twice_is_watched_for_once() {
    let mut world = watching(waiting(), 1);
    packet(&mut world);
    world.initiate();
    world.settle();
    assert_eq!(world.sas(CLIENT).len(), 2);

    clear(&mut world);
    world.pass(PAUSE);
    packet(&mut world);

    world.assert_up_at(1);
}

#[test]
fn one_that_is_kept_up_from_now_on_is_no_longer_watched_for() {
    let mut world = watching(waiting(), 1);

    world.configure(&changed(|connection| connection.upkeep.start = Start::Auto));
    world.initiate();
    world.settle();

    assert_eq!(watches(&world), None);
    world.assert_up_at(1);
    clear(&mut world);
    world.pass(ROUND);
    world.assert_up_at(1);
}

#[test]
fn one_that_was_up_when_it_began_to_be_kept_up_does_not_come_back_twice() {
    let mut world = watching(waiting(), 1);
    packet(&mut world);

    world.configure(&changed(|connection| connection.upkeep.start = Start::Auto));
    world.initiate();
    world.settle();
    clear(&mut world);
    world.pass(ROUND);

    world.assert_up_at(1);
}

#[test]
fn a_client_that_was_sent_elsewhere_comes_back_to_its_list_by_itself() {
    let mut world = watching(waiting(), 2);
    packet(&mut world);
    world.command(1, elsewhere(&at(2).to_string(), Duration::from_secs(5)));
    world.settle();
    world.pass(PAUSE);
    world.assert_up_at(2);

    clear(&mut world);
    world.pass(PAUSE);
    packet(&mut world);
    world.assert_up_at(1);
}

#[test]
fn an_sa_that_the_gateway_began_does_not_keep_packets_from_bringing_up_the_next_one() {
    let mut world = watching(waiting(), 1);
    packet(&mut world);
    let holder = holder(&parse("vpn.example.net").unwrap());

    world.step(CLIENT, Input::Supersede { holder });
    world.pass(PAUSE);

    assert_eq!(watches(&world), Some(2));
}
