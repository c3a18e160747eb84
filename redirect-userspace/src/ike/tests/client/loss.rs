//! Each of the ways from one gateway to another, with a message lost, doubled or late.

use super::*;
use crate::ike::config::Retransmission;
use crate::testing::pair::Fate;

/// Lets every message of a scenario meet every fate, one at a time. It ends at the second gateway.
fn in_every_weather(build: impl Fn() -> World, go: impl Fn(&mut World)) {
    let mut calm = build();
    let begins = calm.sent.len();
    go(&mut calm);
    calm.pass(Duration::from_secs(1));
    calm.assert_up_at(2);
    let messages = calm.sent.len();
    assert!(messages - begins >= 6, "{}", messages - begins);
    for number in begins..messages {
        for fate in [Fate::Lost, Fate::Doubled, Fate::Late] {
            let mut world = build();
            world.fates.insert(number, fate);
            go(&mut world);
            // Nothing is there to be seen of the fate but what takes a repetition; the answer to a
            // Delete is never repeated, since whoever could do that is gone.
            world.pass(PATIENCE);
            assert!(world.sas(1).is_empty(), "message {number} is {fate:?}: {:?}", world.sas(1));
            world.pass(Retransmission::default().patience);

            let what = format!("message {number} is {fate:?}");
            assert_eq!(world.with(), [2], "{what}: {:?}", world.client().events);
            world.assert_up_at(2);
            let events = world.events(CLIENT);
            assert_eq!(followed(&events).len(), 1, "{what}: {events:?}");
            assert!(refused(&events).is_empty(), "{what}: {events:?}");
        }
    }
}

#[test]
fn a_redirect_in_ike_sa_init_survives_every_loss() {
    let build = || {
        let mut world = world(2);
        world.lead(1, Some("192.0.2.102"));
        world
    };

    in_every_weather(build, World::initiate);
}

#[test]
fn a_redirect_in_ike_auth_survives_every_loss() {
    let build = || {
        let mut plan = plan();
        plan.gateway_profile(|profile| profile.redirect_auth = true);
        let mut world = World::new(plan, 2);
        world.lead_known(1, Some("192.0.2.102"));
        world
    };

    in_every_weather(build, World::initiate);
}

#[test]
fn a_redirect_of_an_sa_in_use_survives_every_loss() {
    let build = || {
        let mut world = world(2);
        world.initiate();
        world.settle();
        let sa = sole(&world);
        let local_ts = sa.children[0].local_ts.to_vec();
        let remote_ts = vec![prefix("10.2.0.0/16")];
        world.command(CLIENT, Command::NewChild { sa: sa.id, local_ts, remote_ts });
        world.settle();
        world.assert_up_at(1);
        world
    };

    in_every_weather(build, |world| {
        world.command(1, elsewhere("192.0.2.102", Duration::from_secs(20)));
        world.settle();
    });
}
