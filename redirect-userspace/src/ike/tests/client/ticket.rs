//! A client whose session goes on at another gateway, by the ticket of the one before.

use super::*;
use crate::ike::Input;
use crate::ike::config::Settings;
use crate::ike::ticket::{Sealer, TicketKey};

/// The client with a list of gateways, and so many gateways of a cluster.
fn cluster(plan: Plan, list: &[usize], gateways: usize) -> World {
    let mut plan = plan.resuming();
    plan.client_profile(|profile| profile.dpd = Some(Duration::from_secs(10)));
    plan.connection(|connection| {
        connection.remotes = list.iter().map(|who| (at(*who), 500).into()).collect();
    });
    let settings = plan.gateway.clone();
    let mut world = World::new(plan, gateways);
    for who in 1..=gateways {
        let key = TicketKey::new(&Secret::new(vec![1; 32])).unwrap();
        let sealer = Sealer::new(&format!("gw{who}"), "group1", Some(key), Vec::new());
        let own = Settings { tickets: Some(Arc::new(sealer)), ..settings.clone() };
        world.step(who, Input::Configure(Arc::new(own)));
    }
    world
}

/// The client has one SA, at this gateway, which goes on with its session; and no key exchange was
/// needed.
fn assert_resumed_at(world: &World, who: usize) {
    world.assert_up_at(who);
    assert!(sole(world).is_resumed);
    assert!(begun(world, who).is_empty(), "without IKE_SA_INIT");
}

#[test]
fn a_client_whose_gateway_dies_is_back_at_the_next_of_its_list_by_ticket() {
    let mut world = cluster(plan(), &[1, 2], 2);
    world.initiate();
    world.settle();
    world.assert_up_at(1);
    assert!(!sole(&world).is_resumed);

    world.dead.insert(1);
    world.pass(Duration::from_secs(400));

    assert_resumed_at(&world, 2);
    assert_eq!(world.client().endpoint.counters().resumed, 1);
}

// RDM-01
#[test]
fn a_ticket_is_presented_where_the_vip_sends_it() {
    let mut world = cluster(plan(), &[1], 3);
    world.lead(1, Some(&at(2).to_string()));
    world.initiate();
    world.settle();
    world.assert_up_at(2);
    world.events(CLIENT);

    world.dead.insert(2);
    world.lead(1, Some(&at(3).to_string()));
    world.pass(Duration::from_secs(400));

    assert_resumed_at(&world, 3);
    let events = world.events(CLIENT);
    assert_eq!(followed(&events), [(at(3).to_string(), ExchangeType::IkeSessionResume)]);
    assert_eq!(sole(&world).redirected_from, Some(at(1)));
}

#[test]
fn a_live_redirect_is_followed_by_ticket_and_the_old_sa_is_deleted_afterwards() {
    let mut world = cluster(plan(), &[1], 2);
    world.initiate();
    world.settle();
    let old = sole(&world);

    world.command(1, elsewhere(&at(2).to_string(), Duration::from_secs(60)));
    world.settle();
    world.pass(LINGERING);

    assert_resumed_at(&world, 2);
    assert_ne!(sole(&world).id, old.id);
    assert!(world.sas(1).is_empty());
}

// RDM-03: test of RFC 5723 §4.3.2. The client takes a gateway that its own one sends it to for a member
// of the same cluster, and is told when it is none.
#[test]
fn rdm_03_a_gateway_that_cannot_open_the_ticket_of_another_one_refuses_it_and_a_full_exchange_follows() {
    let mut world = cluster(plan(), &[1], 2);
    let mut settings = plan().resuming().gateway;
    let key = TicketKey::new(&Secret::new(vec![2; 32])).unwrap();
    settings.tickets = Some(Arc::new(Sealer::new("gw2", "group2", Some(key), Vec::new())));
    world.step(2, Input::Configure(Arc::new(settings)));
    world.initiate();
    world.settle();
    world.assert_up_at(1);
    world.events(CLIENT);

    world.command(1, elsewhere(&at(2).to_string(), Duration::from_secs(60)));
    world.settle();
    world.pass(LINGERING);

    world.assert_up_at(2);
    assert!(!sole(&world).is_resumed);
    assert_eq!(begun(&world, 2).len(), 1, "one full exchange");
    let refusals = world.sent.iter().filter(|packet| {
        let message = Message::decode(&packet.octets).unwrap();
        packet.path.remote.ip() == at(2) && message.payloads.notify(NotifyType::TicketNack).is_some()
    });
    assert_eq!(refusals.count(), 1);
    let events = world.events(CLIENT);
    assert_eq!(events.iter().filter(|event| matches!(event, Event::TicketRefused { .. })).count(), 1);
    assert_eq!(world.client().endpoint.counters().resumed, 0);

    // The ticket that it has now is the new gateway's.
    world.dead.insert(2);
    world.events(CLIENT);
    world.pass(Duration::from_secs(400));
    world.assert_up_at(1);
    assert!(!sole(&world).is_resumed);
}

#[test]
fn a_redirect_in_ike_auth_is_followed_by_ticket() {
    let mut plan = plan();
    plan.gateway_profile(|profile| profile.redirect_auth = true);
    let mut world = cluster(plan, &[1], 2);
    world.lead_known(1, Some(&at(2).to_string()));

    world.initiate();
    world.settle();

    assert_resumed_at(&world, 2);
}

#[test]
fn a_ticket_survives_a_member_that_is_dead_as_well() {
    let mut world = cluster(plan(), &[1, 2, 3], 3);
    world.initiate();
    world.settle();

    world.dead.insert(1);
    world.dead.insert(2);
    world.pass(Duration::from_secs(500));

    assert_resumed_at(&world, 3);
}
