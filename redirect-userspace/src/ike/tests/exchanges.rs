//! From the first message to a Child SA, and to its end.

use std::time::Duration;

use crate::ike::{CloseReason, Command, Event, Failure, Selection};
use crate::testing::pair::{End, Pair, Plan};

#[test]
fn a_client_with_a_shared_key_gets_an_address_and_a_child_sa() {
    let mut pair = Plan::shared_key().build();

    pair.initiate();
    pair.settle();

    pair.assert_in_step();
    assert_eq!(pair.delivered, 4);
    let [client] = &pair.sas(End::Client)[..] else { panic!("one SA") };
    let [gateway] = &pair.sas(End::Gateway)[..] else { panic!("one SA") };
    assert_eq!((&*client.remote_id, &*gateway.remote_id), ("vpn.example.net", "alice@example.net"));
    assert_eq!((client.spi_i, client.spi_r), (gateway.spi_i, gateway.spi_r));
    assert_eq!(gateway.addresses, ["10.99.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(pair.client.plane.values().next().unwrap().own_addresses, gateway.addresses);
    assert_eq!(gateway.children.len(), 1);
    assert_eq!(gateway.children[0].remote_ts[0].to_string(), "10.99.0.1/32");
    assert_eq!(gateway.children[0].local_ts[0].to_string(), "10.1.0.0/16");
}

#[test]
fn a_wrong_key_is_refused_and_nothing_is_left() {
    let mut plan = Plan::shared_key();
    plan.client_profile(|profile| {
        let wrong = crate::secret::Secret::from(&b"another key"[..]);
        profile.authentication.local = crate::ike::config::LocalProof::SharedKey(wrong);
    });
    let mut pair = plan.build();

    pair.initiate();
    pair.settle();

    pair.assert_in_step();
    assert!(pair.client.plane.is_empty());
    let events = pair.events(End::Gateway);
    let [Event::Refused { failure, identity, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((*failure, identity.as_deref()), (Failure::Authentication, Some("alice@example.net")));
    pair.pass(Duration::from_secs(60));
    assert_eq!(pair.sas(End::Gateway), []);
    assert_eq!(pair.sas(End::Client), []);
}

#[test]
fn either_side_can_delete_the_sa() {
    for end in [End::Client, End::Gateway] {
        let mut pair = Plan::shared_key().build();
        pair.initiate();
        pair.settle();

        pair.command(end, Command::Clear(Selection::All));
        pair.settle();

        pair.assert_in_step();
        assert!(pair.gateway.plane.is_empty());
        assert_eq!((pair.sas(End::Client), pair.sas(End::Gateway)), (vec![], vec![]));
        let closed = |events: Vec<Event>| {
            events
                .into_iter()
                .find_map(|event| if let Event::Closed { reason, .. } = event { Some(reason) } else { None })
        };
        assert_eq!(closed(pair.events(end)), Some(CloseReason::Cleared));
        assert_eq!(closed(pair.events(end.other())), Some(CloseReason::DeletedByPeer));
    }
}

#[test]
fn either_side_can_rekey_the_child_sa() {
    for end in [End::Client, End::Gateway] {
        let mut pair = Plan::shared_key().build();
        pair.initiate();
        pair.settle();
        let id = pair.sas(end)[0].id;
        let before = pair.gateway.outbound;

        pair.command(end, Command::RekeyChildren(id));
        pair.settle();

        pair.assert_in_step();
        assert_eq!(pair.gateway.plane.len(), 1);
        assert_ne!(pair.gateway.outbound, before, "{:?} {:?}", pair.client.events, pair.gateway.events);
        assert!(pair.gateway.outbound.is_some());
    }
}

#[test]
fn either_side_can_rekey_the_ike_sa_and_the_child_sa_goes_on() {
    for end in [End::Client, End::Gateway] {
        let mut pair = Plan::shared_key().build();
        pair.initiate();
        pair.settle();
        let before = pair.sas(end)[0].clone();
        let plane = pair.gateway.outbound;

        pair.command(end, Command::RekeyIke(before.id));
        pair.settle();

        pair.assert_in_step();
        let [after] = &pair.sas(end)[..] else { panic!("one SA") };
        assert_eq!(after.id, before.id);
        assert_ne!(after.spi_i, before.spi_i);
        assert_eq!(pair.gateway.outbound, plane);
        assert_eq!(after.children.len(), 1);
        pair.command(end, Command::RekeyChildren(before.id));
        pair.settle();
        pair.assert_in_step();
        pair.command(end.other(), Command::Clear(Selection::All));
        pair.settle();
        assert!(pair.sas(end).is_empty() && pair.client.plane.is_empty());
    }
}

#[test]
fn both_rekeying_the_child_sa_at_once_leaves_one() {
    for seed in 0..20 {
        let mut pair = Plan { seed, ..Plan::shared_key() }.build();
        pair.initiate();
        pair.settle();
        let ids = [End::Client, End::Gateway].map(|end| (end, pair.sas(end)[0].id));

        for (end, id) in ids {
            pair.command(end, Command::RekeyChildren(id));
        }
        pair.settle();

        pair.assert_in_step();
        assert_eq!(pair.gateway.plane.len(), 1, "seed {seed}");
        assert!(pair.gateway.outbound.is_some());
    }
}

#[test]
fn both_rekeying_the_ike_sa_at_once_leaves_one() {
    for seed in 0..20 {
        let mut pair = Plan { seed, ..Plan::shared_key() }.build();
        pair.initiate();
        pair.settle();
        let ids = [End::Client, End::Gateway].map(|end| (end, pair.sas(end)[0].id));

        for (end, id) in ids {
            pair.command(end, Command::RekeyIke(id));
        }
        pair.settle();

        pair.assert_in_step();
        for end in [End::Client, End::Gateway] {
            assert_eq!(pair.sas(end).len(), 1, "seed {seed}");
            assert_eq!(pair.sas(end)[0].children.len(), 1, "seed {seed}");
        }
        assert_eq!(pair.client.endpoint.counts().established, 1);
        assert_eq!(pair.gateway.endpoint.counts().established, 1);
    }
}

#[test]
fn a_kem_can_be_the_key_exchange_of_ike_and_of_its_child_sas() {
    for kem in ["mlkem512", "mlkem768", "mlkem1024"] {
        let mut plan = Plan::shared_key();
        for settings in [&mut plan.client, &mut plan.gateway] {
            settings.ike_proposals = vec![format!("aes128gcm16-prfsha256-{kem}").parse().unwrap()];
            settings.esp_proposals = vec![format!("aes128gcm16-{kem}").parse().unwrap()];
        }
        let mut pair = plan.build();
        pair.initiate();
        pair.settle();
        let id = |pair: &Pair, end| pair.sas(end)[0].id;

        for end in [End::Client, End::Gateway] {
            let sa = id(&pair, end);
            pair.command(end, Command::RekeyChildren(sa));
            pair.settle();
            pair.command(end, Command::RekeyIke(sa));
            pair.settle();
            pair.assert_in_step();
        }

        let sa = &pair.sas(End::Gateway)[0];
        assert!(sa.suite.ends_with(kem), "{}", sa.suite);
        assert!(sa.children[0].suite.contains(kem), "{}", sa.children[0].suite);
    }
}

#[test]
fn octets_that_are_no_key_of_a_kem_leave_nothing_behind() {
    let mut plan = Plan::shared_key();
    for settings in [&mut plan.client, &mut plan.gateway] {
        settings.ike_proposals = vec!["aes128gcm16-prfsha256-mlkem768".parse().unwrap()];
    }
    let mut pair = plan.build();
    pair.initiate();
    let request = pair.wire.front_mut().unwrap();
    // Coefficients of twelve bits that are all too large.
    let key = request.octets.windows(4).position(|octets| octets == [0, 36, 0, 0]).unwrap() + 4;
    request.octets[key..key + 300].fill(0xff);

    pair.settle();

    assert_eq!(pair.sas(End::Gateway), []);
    let events = pair.events(End::Gateway);
    let [Event::Refused { failure, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(*failure, Failure::BadPublicValue);
}
