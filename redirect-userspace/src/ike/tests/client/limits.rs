//! Loops, and how often redirects are followed (`RFC 5685 §7`).

use super::*;

/// Gateways by name, which know too little of each other to see that a client goes round.
fn ring(plan: Plan, gateways: usize) -> World {
    let mut world = World::new(plan, gateways);
    for who in 1..=gateways {
        world.names.insert(format!("gw{who}.example.net"), vec![at(who)]);
        world.lead(who, Some(&format!("gw{}.example.net", who % gateways + 1)));
    }
    world
}

// test of RFC 5685 §7: RDL-01
#[test]
fn rdl_01_of_a_loop_of_two_gateways_five_redirects_are_followed_and_the_sixth_is_refused() {
    let mut world = ring(plan(), 2);

    world.initiate();
    world.settle();

    let events = world.events(CLIENT);
    assert_eq!(followed(&events).len(), 5);
    assert_eq!(refused(&events), [RedirectRefusal::TooMany]);
    assert_eq!((begun(&world, 1).len(), begun(&world, 2).len()), (3, 3));
    assert!(world.sas(CLIENT).is_empty());
}

// RDL-01
#[test]
fn a_loop_of_three_gateways_is_seen_as_well_and_survived() {
    let mut world = ring(plan(), 3);

    world.initiate();
    world.settle();

    assert_eq!([1, 2, 3].map(|who| begun(&world, who).len()), [2, 2, 2]);
    // One of them keeps whoever comes.
    world.lead(3, None);
    world.pass(Duration::from_secs(300) + ROUND);
    world.assert_up_at(3);
}

// RDL-02
#[test]
fn rdl_02_a_loop_in_ike_auth_is_seen_and_nothing_is_left_at_either_gateway() {
    let mut plan = plan();
    plan.gateway_profile(|profile| profile.redirect_auth = true);
    let mut world = ring(plan, 2);
    world.lead_known(1, Some("gw2.example.net"));
    world.lead_known(2, Some("gw1.example.net"));

    world.initiate();
    world.settle();

    let events = world.events(CLIENT);
    assert_eq!(followed(&events).len(), 5);
    assert_eq!(refused(&events), [RedirectRefusal::TooMany]);
    assert!(world.sas(CLIENT).is_empty() && world.sas(1).is_empty() && world.sas(2).is_empty());
}

// RDL-03
#[test]
fn rdl_03_after_the_limit_the_configured_gateway_is_asked_and_later_its_redirects_are_followed() {
    let mut world = ring(plan(), 2);
    world.initiate();
    world.settle();
    let before = begun(&world, 2).len();

    world.pass(Duration::from_secs(240));
    assert!(begun(&world, 1).len() > 3, "it goes on asking");
    assert_eq!(begun(&world, 2).len(), before, "and goes nowhere else");
    world.lead(2, None);
    world.pass(Duration::from_secs(60) + ROUND);

    world.assert_up_at(2);
}

// RDL-04
#[test]
fn rdl_04_the_limit_is_about_a_period_that_goes_along() {
    let mut world = ring(plan(), 2);
    world.initiate();
    world.settle();
    world.events(CLIENT);

    // All five are forgotten at once, since they came at once: the next loop has five again.
    world.pass(Duration::from_secs(300) + ROUND);

    let events = world.events(CLIENT);
    assert_eq!(followed(&events).len(), 5);
}

// RDL-05
#[test]
fn rdl_05_redirects_of_an_sa_in_use_and_of_its_beginning_are_counted_together() {
    let mut plan = plan();
    plan.client.following.most = 2;
    let mut world = World::new(plan, 3);
    world.lead(1, Some("192.0.2.102"));
    world.initiate();
    world.settle();
    world.assert_up_at(2);

    send_away(&mut world, 2, "192.0.2.103");
    world.assert_up_at(3);
    world.lead(1, None);
    send_away(&mut world, 3, "192.0.2.101");

    assert_eq!(refused(&world.events(CLIENT)), [RedirectRefusal::TooMany]);
    world.assert_up_at(3);
}

fn send_away(world: &mut World, who: usize, to: &str) {
    world.command(who, elsewhere(to, Duration::from_secs(600)));
    world.settle();
    world.pass(LINGERING);
}

// RDL-06
#[test]
fn rdl_06_a_redirect_on_the_next_day_is_followed() {
    let mut world = World::new(plan(), 2);
    world.initiate();
    world.settle();
    for day in 0..8 {
        let (from, to) = if day % 2 == 0 { (1, 2) } else { (2, 1) };
        send_away(&mut world, from, &at(to).to_string());
        world.assert_up_at(to);
        world.pass(Duration::from_secs(86_400));
    }
    assert!(refused(&world.events(CLIENT)).is_empty());
}

// RDL-07
#[test]
fn rdl_07_limits_are_those_of_the_settings() {
    let mut plan = plan();
    (plan.client.following.most, plan.client.following.period) = (1, Duration::from_secs(10));
    let mut world = World::new(plan, 3);
    world.initiate();
    world.settle();

    send_away(&mut world, 1, "192.0.2.102");
    world.assert_up_at(2);
    world.pass(Duration::from_secs(8));
    send_away(&mut world, 2, "192.0.2.103");
    assert_eq!(refused(&world.events(CLIENT)), [RedirectRefusal::TooMany]);
    world.assert_up_at(2);
}

// RDL-08
#[test]
fn rdl_08_a_gateway_that_sends_us_to_itself_is_followed_and_counted() {
    let mut world = World::new(plan(), 1);

    world.initiate();
    for _ in 0..6 {
        let request = world.take(1);
        world.put(&redirect(&request, "192.0.2.101"));
    }

    let events = world.events(CLIENT);
    assert_eq!(followed(&events).len(), 5);
    assert_eq!(refused(&events), [RedirectRefusal::TooMany]);
    assert_eq!(begun(&world, 1).len(), 6);
}

// RDL-09
#[test]
fn rdl_09_a_flood_of_forged_redirects_begins_nothing_counts_as_nothing_and_is_told_once() {
    let mut world = World::new(plan(), 2);
    world.lead(1, Some("192.0.2.102"));
    world.initiate();
    let request = world.take(1);
    let sent = world.sent.len();

    for number in 0..1_000_u32 {
        let nonce = [&number.to_be_bytes()[..], &[0; 28]].concat();
        world.put(&answer(&request, &[identity("192.0.2.102"), nonce].concat()));
    }

    assert_eq!(world.sent.len(), sent);
    assert_eq!(count(&mut world, RedirectRefusal::BadNonce), 1_000);
    assert_eq!(refused(&world.events(CLIENT)), [RedirectRefusal::BadNonce]);
    // The true one is still among the first five.
    world.put(&request);
    world.settle();
    world.assert_up_at(2);
    world.pass(Duration::from_secs(20));
    let told: Vec<_> = world
        .events(CLIENT)
        .into_iter()
        .filter_map(|event| if let Event::RedirectRefused { count, .. } = event { Some(count) } else { None })
        .collect();
    assert_eq!(told, [999]);
}
