//! Redirects of sessions with further key exchanges (`RFC 9370`): before, between and after them.

use super::*;
use crate::ike::config::FragmentSize;
use crate::ike::tests::further::{HYBRID, hybrid};

const ELSEWHERE: &str = "192.0.2.102";

/// The client is with the second gateway, by the same key exchanges as with the first.
fn assert_gone_on(world: &World, what: &str) {
    world.assert_up_at(2);
    assert!(world.sas(1).is_empty(), "{what}");
    for who in [CLIENT, 2] {
        assert_eq!(&*world.sas(who)[0].suite, HYBRID, "{what}: {who}");
    }
}

/// Messages of an exchange that the client has sent to a gateway.
fn asked(world: &World, exchange: ExchangeType, who: usize) -> usize {
    let is_one = |packet: &&Packet| {
        let header = Message::decode(&packet.octets).unwrap().header;
        packet.path.local.ip() == at(who) && header.exchange == exchange
    };
    world.sent.iter().filter(is_one).count()
}

fn plans(redirects_in_auth: bool) -> [Plan; 2] {
    [FragmentSize::default(), FragmentSize::LEAST].map(|size| {
        let mut plan = hybrid(plan(), HYBRID);
        plan.gateway_profile(|profile| profile.redirect_auth = redirects_in_auth);
        [plan.client.fragment_size, plan.gateway.fragment_size] = [size; 2];
        plan
    })
}

#[test]
fn a_redirect_in_ike_sa_init_comes_before_any_of_them() {
    for plan in plans(false) {
        let mut world = World::new(plan, 2);
        world.lead(1, Some(ELSEWHERE));
        world.initiate();
        world.settle();

        assert_gone_on(&world, "IKE_SA_INIT");
        assert_eq!(asked(&world, ExchangeType::IkeIntermediate, 1), 0, "no work was wasted");
        assert!(asked(&world, ExchangeType::IkeIntermediate, 2) > 0);
    }
}

#[test]
fn a_redirect_in_ike_auth_comes_after_all_of_them_and_they_are_done_again_elsewhere() {
    for plan in plans(true) {
        let mut world = World::new(plan, 2);
        world.lead_known(1, Some(ELSEWHERE));
        world.initiate();
        world.settle();

        assert_gone_on(&world, "IKE_AUTH");
        assert!([1, 2].iter().all(|who| asked(&world, ExchangeType::IkeIntermediate, *who) > 0));
        let events = world.events(CLIENT);
        assert_eq!(followed(&events), [(ELSEWHERE.to_owned(), ExchangeType::IkeAuth)]);
    }
}

#[test]
fn a_redirect_while_the_sa_is_up_is_followed_with_them_before_the_old_sa_goes() {
    for plan in plans(false) {
        let mut world = World::new(plan, 2);
        world.initiate();
        world.settle();
        world.assert_up_at(1);

        world.command(1, elsewhere(ELSEWHERE, Duration::from_secs(60)));
        while world.sides[2].plane.is_empty() {
            assert_eq!(world.sides[1].plane.len(), 1, "nothing is given up yet");
            assert!(world.deliver());
        }
        world.settle();
        world.pass(LINGERING);

        assert_gone_on(&world, "INFORMATIONAL");
    }
}

#[test]
fn a_redirect_in_ike_intermediate_is_none() {
    let mut plan = hybrid(open(), HYBRID);
    for settings in [&mut plan.client, &mut plan.gateway] {
        // A test can read what is in one piece.
        settings.fragment_size = FragmentSize::new(2_000).unwrap();
    }
    let mut world = World::new(plan, 2);
    world.initiate();
    for _ in 0..3 {
        assert!(world.deliver());
    }
    let answer = world.take(CLIENT);
    let plain = Plain::open(&answer.octets);
    assert_eq!(plain.header.exchange, ExchangeType::IkeIntermediate);
    let notify = Notify { kind: NotifyType::Redirect, protocol: 0, spi: &[], data: &[1, 4, 192, 0, 2, 102] };
    let changed = plain.with(|payloads| payloads.push(Payload::Notify(notify)));
    world.put(&Packet { path: answer.path, octets: changed.seal() });
    world.settle();

    assert!(begun(&world, 2).is_empty(), "it goes nowhere");
    assert_eq!(followed(&world.events(CLIENT)), []);
}
