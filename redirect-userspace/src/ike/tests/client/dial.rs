//! Which gateway is tried when.

use super::*;
use crate::ike::config::Settings;
use crate::ike::{CloseReason, SaState};
use crate::machine::Machine as _;
use crate::testing::world::{Who, at6};

/// A client whose list has these gateways.
fn listed(gateways: &[Who]) -> Plan {
    let mut plan = plan();
    plan.connection(|connection| {
        connection.remotes = gateways.iter().map(|who| (at(*who), 500).into()).collect();
    });
    plan
}

/// The gateways that were asked, in order, repetitions not counted.
fn order(world: &World) -> Vec<IpAddr> {
    let mut seen = Vec::new();
    for packet in &world.sent {
        let message = Message::decode(&packet.octets).unwrap();
        let is_request = message.header.exchange == ExchangeType::IkeSaInit
            && message.header.direction == Direction::Request;
        if is_request && !seen.contains(&(packet.path.local.ip(), message.header.spi_i)) {
            seen.push((packet.path.local.ip(), message.header.spi_i));
        }
    }
    seen.into_iter().map(|(address, _)| address).collect()
}

fn clear(world: &mut World) {
    world.command(CLIENT, Command::Clear(Selection::All));
    world.settle();
}

#[test]
fn all_remotes_are_tried_in_their_order_and_each_for_its_own_patience() {
    let mut world = World::new(listed(&[1, 2, 3]), 3);
    world.dead.extend([1, 2]);

    world.initiate();
    world.pass(PATIENCE - Duration::from_secs(1));
    assert_eq!(order(&world), [at(1)]);
    world.pass(Duration::from_secs(2));
    assert_eq!(order(&world), [at(1), at(2)]);
    world.pass(PATIENCE);

    assert_eq!(order(&world), [at(1), at(2), at(3)]);
    world.assert_up_at(3);
    assert_eq!(failures(&world.events(CLIENT)), [Failure::Timeout, Failure::Timeout]);
}

#[test]
fn a_remote_that_refuses_is_no_reason_to_wait_for_the_next_one() {
    let mut world = World::new(listed(&[1, 2]), 2);
    let mut refusing = plan();
    refusing.gateway_profile(|profile| {
        profile.authentication.local_id =
            crate::ike::identity::Claim::Id(crate::ike::identity::parse("other.example.net").unwrap());
    });
    world.step(1, crate::ike::Input::Configure(Arc::new(refusing.gateway)));

    world.initiate();
    world.settle();

    world.assert_up_at(2);
}

#[test]
fn a_connection_that_is_kept_up_is_tried_again_ever_more_slowly() {
    let mut world = World::new(listed(&[1]), 1);
    world.dead.insert(1);

    world.initiate();
    world.pass(Duration::from_secs(20 * 60));

    let events = world.events(CLIENT);
    let rounds = failures(&events).len();
    // Each takes 30 s, and the waits between them grow to a minute.
    assert!((13..=22).contains(&rounds), "{rounds}");
    world.dead.clear();
    world.pass(ROUND);
    world.assert_up_at(1);
}

#[test]
fn a_connection_that_an_operator_has_begun_is_tried_once() {
    let mut plan = listed(&[1, 2]);
    plan.connection(|connection| connection.upkeep.start = Start::Manual);
    let mut world = World::new(plan, 2);
    world.dead.extend([1, 2]);

    world.initiate();
    world.pass(Duration::from_secs(3_600));

    assert_eq!(order(&world), [at(1), at(2)]);
    world.dead.clear();
    world.pass(ROUND);
    assert!(world.sas(CLIENT).is_empty());
    world.initiate();
    world.settle();
    world.assert_up_at(1);
    clear(&mut world);
    world.pass(ROUND);
    assert!(world.sas(CLIENT).is_empty(), "it stays down");
}

#[test]
fn a_connection_without_a_patience_of_its_own_has_that_of_all_requests() {
    let mut plan = listed(&[1]);
    plan.connection(|connection| connection.upkeep.patience = None);
    let patience = plan.client.retransmission.patience;
    let mut world = World::new(plan, 1);
    world.dead.insert(1);

    world.initiate();
    world.pass(patience - Duration::from_secs(1));
    assert!(failures(&world.events(CLIENT)).is_empty());
    world.pass(Duration::from_secs(2));

    assert_eq!(failures(&world.events(CLIENT)), [Failure::Timeout]);
}

#[test]
fn a_connection_that_is_kept_up_comes_back_whatever_has_ended_it() {
    let mut world = World::new(listed(&[1, 2]), 2);
    world.initiate();
    world.settle();
    world.assert_up_at(1);

    // By an operator here, and there.
    clear(&mut world);
    world.pass(ROUND);
    world.assert_up_at(1);
    world.command(1, Command::Clear(Selection::All));
    world.settle();
    assert!(world.sas(CLIENT).is_empty());
    world.pass(ROUND);
    world.assert_up_at(1);
    // By its gateway's death, which a liveness check finds.
    let id = sole(&world).id;
    world.dead.insert(1);
    world.command(CLIENT, Command::RekeyIke(id));
    world.pass(Duration::from_secs(300));

    world.assert_up_at(2);
    let ends: Vec<_> = world
        .events(CLIENT)
        .into_iter()
        .filter_map(|event| if let Event::Closed { reason, .. } = event { Some(reason) } else { None })
        .collect();
    assert_eq!(ends, [CloseReason::Cleared, CloseReason::DeletedByPeer, CloseReason::PeerDead]);
}

#[test]
fn clients_that_have_lost_their_gateway_together_do_not_come_back_together() {
    let returns: std::collections::BTreeSet<_> = (1..=8)
        .map(|seed| {
            let mut world = World::new(Plan { seed, ..listed(&[1]) }, 1);
            world.initiate();
            world.settle();
            let lost_at = world.now.mono;
            world.command(1, Command::Clear(Selection::All));
            world.settle();
            let deadline = world.client().endpoint.deadline().unwrap().at;
            let wait = deadline.since(lost_at);
            assert!(Duration::from_secs(1) <= wait && wait < Duration::from_secs(2), "{wait:?}");
            wait
        })
        .collect();

    assert_eq!(returns.len(), 8);
}

#[test]
fn whoever_is_told_to_connect_while_it_waits_does_not_wait() {
    let mut world = World::new(listed(&[1]), 1);
    world.dead.insert(1);
    world.initiate();
    world.pass(PATIENCE + Duration::from_millis(500));
    world.dead.clear();
    assert!(world.sas(CLIENT).is_empty());

    world.initiate();
    world.settle();

    world.assert_up_at(1);
    world.pass(Duration::from_secs(600));
    world.assert_up_at(1);
}

#[test]
fn a_remote_without_a_way_is_passed_over() {
    let mut plan = plan();
    plan.connection(|connection| connection.remotes = vec![(at6(1), 500).into(), (at(1), 500).into()]);
    let mut world = World::new(plan, 1);
    world.is_silent = true;
    world.initiate();
    let (request, host) = world.client().asked.pop().unwrap();
    assert_eq!(host.to_string(), at6(1).to_string());

    world.step(CLIENT, crate::ike::Input::Located { request, ways: Vec::new() });
    assert_eq!(failures(&world.events(CLIENT)), [Failure::Local]);
    world.is_silent = false;
    let (request, host) = world.client().asked.pop().unwrap();
    world.locate(CLIENT, request, &host);
    world.settle();

    world.assert_up_at(1);
}

#[test]
fn a_connection_that_is_not_in_the_settings_any_more_is_not_brought_up_again() {
    let mut world = World::new(listed(&[1]), 1);
    world.initiate();
    world.settle();
    let settings = Settings { connections: Vec::new(), ..plan().client };

    world.configure(&settings);
    world.pass(ROUND);
    world.assert_up_at(1);
    world.command(1, Command::Clear(Selection::All));
    world.pass(10 * ROUND);

    assert!(world.sas(CLIENT).is_empty());
    assert_eq!(world.client().endpoint.deadline(), None);
}

#[test]
fn the_next_round_goes_by_the_new_list() {
    let mut world = World::new(listed(&[1]), 2);
    world.dead.insert(1);
    world.initiate();

    world.configure(&listed(&[2]).client);
    world.pass(PATIENCE + ROUND);

    world.assert_up_at(2);
}

#[test]
fn after_the_end_of_the_daemon_nothing_is_begun() {
    let mut world = World::new(listed(&[1]), 1);
    world.initiate();
    world.settle();

    world.command(CLIENT, Command::Shutdown);
    world.pass(10 * ROUND);

    assert!(world.sas(CLIENT).is_empty());
    assert_eq!(world.client().endpoint.deadline(), None);
}

#[test]
fn an_attempt_that_an_operator_ends_is_over() {
    let mut plan = listed(&[1, 2]);
    plan.connection(|connection| connection.upkeep.start = Start::Manual);
    let mut world = World::new(plan, 2);
    world.dead.insert(1);
    world.initiate();
    assert_eq!(sole(&world).state, SaState::HalfOpen);

    clear(&mut world);
    world.pass(ROUND);

    assert_eq!(order(&world), [at(1)]);
}
