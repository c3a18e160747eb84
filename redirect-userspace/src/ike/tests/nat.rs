//! NATs: who is found behind one, which ports are used, and whose new address is believed.

use std::time::Duration;

use super::*;
use crate::ike::config::Encapsulation;
use crate::ike::wire::{HASH_LENGTH, Notify, NotifyContent, NotifyType, Payload, VendorId};
use crate::ike::{Input, Path};
use crate::testing::pair::{Nat, prefix};

const OUTSIDE: [u8; 4] = [198, 51, 100, 9];

/// The client behind a NAT that maps ports.
fn behind_nat(plan: Plan) -> Pair {
    let mut pair = plan.build();
    pair.client.nat = Some(Nat { outside: OUTSIDE.into(), ports: Some(20_000) });
    pair.establish();
    pair
}

// test of RFC 7296 §2.23
// NAT-01
#[test]
fn both_say_from_where_to_where_they_send() {
    use crate::crypto::digest::sha1;
    let mut pair = open().build();
    pair.initiate();
    let request = pair.take(End::Gateway);
    pair.put(&request);
    let response = pair.take(End::Client);
    for (flying, source, destination) in
        [(&request, [192, 0, 2, 2], [192, 0, 2, 1]), (&response, [192, 0, 2, 1], [192, 0, 2, 2])]
    {
        let plain = Plain::open(&flying.octets);
        let spi_r = plain.header.spi_r.map_or([0; 8], crate::ike::wire::SpiR::to_octets);
        let hash = |address: [u8; 4]| -> [u8; HASH_LENGTH] {
            sha1(&[&plain.header.spi_i.to_octets(), &spi_r, &address, &500_u16.to_be_bytes()])
        };
        let chain = plain.chain();
        let of = |kind| chain.notify(kind).unwrap().content().unwrap();
        assert_eq!(of(NotifyType::NatDetectionSource), NotifyContent::NatDetectionSource(hash(source)));
        assert_eq!(
            of(NotifyType::NatDetectionDestination),
            NotifyContent::NatDetectionDestination(hash(destination))
        );
    }
}

#[test]
fn without_a_nat_everything_stays_on_port_500() {
    let mut pair = open().build();
    pair.establish();

    assert!(pair.sent.iter().all(|flying| flying.path.local.port() == 500));
    for end in ENDS {
        let sa = sole(&pair, end);
        assert!(!sa.children[0].is_encapsulated && !sa.is_peer_behind_nat && !sa.are_we_behind_nat);
    }
    pair.pass(Duration::from_secs(600));
    assert!(pair.client.keepalives.is_empty() && pair.gateway.keepalives.is_empty());
}

// NAT-02
#[test]
fn a_client_behind_a_nat_goes_on_from_port_4500_and_esp_goes_through_udp() {
    let pair = behind_nat(open());

    let ports: Vec<(u16, u16)> =
        pair.sent.iter().map(|flying| (flying.path.local.port(), flying.path.remote.port())).collect();
    assert_eq!(ports, [(500, 20_000), (500, 500), (4500, 20_001), (4500, 4500)]);
    let (client, gateway) = (sole(&pair, End::Client), sole(&pair, End::Gateway));
    assert!(client.are_we_behind_nat && !client.is_peer_behind_nat);
    assert!(gateway.is_peer_behind_nat && !gateway.are_we_behind_nat);
    assert!(client.children[0].is_encapsulated && gateway.children[0].is_encapsulated);
    assert_eq!(gateway.remote, (OUTSIDE, 20_001).into());
    let child = pair.gateway.plane.values().next().unwrap();
    assert_eq!((child.path.remote, child.may_move), (gateway.remote, true));
    assert!(!pair.client.plane.values().next().unwrap().may_move);
}

#[test]
fn a_gateway_behind_a_nat_is_reached_as_well() {
    let mut plan = open();
    plan.connection(|connection| connection.remotes = vec!["203.0.113.5:500".parse().unwrap()]);
    let mut pair = plan.build();
    pair.gateway.nat = Some(Nat { outside: [203, 0, 113, 5].into(), ports: None });
    pair.client.nat = Some(Nat { outside: OUTSIDE.into(), ports: Some(20_000) });

    pair.establish();

    let (client, gateway) = (sole(&pair, End::Client), sole(&pair, End::Gateway));
    assert!(client.are_we_behind_nat && client.is_peer_behind_nat);
    assert!(gateway.are_we_behind_nat && gateway.is_peer_behind_nat);
    pair.pass(Duration::from_secs(65));
    assert_eq!((pair.client.keepalives.len(), pair.gateway.keepalives.len()), (3, 3));
}

// NAT-03
#[test]
fn whoever_wants_udp_around_its_esp_makes_the_other_see_a_nat() {
    for end in ENDS {
        let mut plan = open();
        match end {
            End::Client => plan.client.encapsulation = Encapsulation::Always,
            End::Gateway => plan.gateway.encapsulation = Encapsulation::Always,
        }
        let mut pair = plan.build();

        pair.establish();

        assert!(pair.sent[2].path.has_marker());
        for end in ENDS {
            assert!(sole(&pair, end).children[0].is_encapsulated, "{end:?}");
        }
        assert!(sole(&pair, end.other()).is_peer_behind_nat);
        rekey_child(&mut pair, end);
        pair.settle();
        pair.assert_in_step();
    }
}

// NAT-07
#[test]
fn of_several_sources_one_that_fits_is_enough() {
    let mut pair = open().build();
    pair.initiate();
    let request = pair.take(End::Gateway);
    for position in [0, 5] {
        let mut pair = open().build();
        pair.initiate();
        pair.wire.clear();
        let more = Plain::open(&request.octets).with(|payloads| {
            let other = Notify { data: &[7; HASH_LENGTH], ..Notify::plain(NotifyType::NatDetectionSource) };
            payloads.insert(position.min(payloads.len()), Payload::Notify(other));
        });
        pair.put(&Flying { octets: more.seal(), ..request.clone() });
        assert!(!sole(&pair, End::Gateway).is_peer_behind_nat);
    }
}

#[test]
fn without_hashes_there_is_no_nat_traversal() {
    let mut pair = open().build();
    pair.client.nat = Some(Nat { outside: OUTSIDE.into(), ports: None });
    pair.initiate();
    let request = pair.take(End::Gateway);
    let none = Plain::open(&request.octets).with(|payloads| {
        payloads.retain(|payload| {
            !matches!(payload, Payload::Notify(notify)
                if matches!(notify.kind, NotifyType::NatDetectionSource | NotifyType::NatDetectionDestination))
        });
    });
    pair.put(&Flying { octets: none.seal(), ..request });

    assert!(!sole(&pair, End::Gateway).is_peer_behind_nat);
}

// test of RFC 3948 §4
// NAT-05
#[test]
fn a_client_behind_a_nat_keeps_its_mapping_alive_and_the_gateway_does_not() {
    let mut pair = behind_nat(open());
    pair.pass(Duration::from_secs(101));

    assert_eq!(pair.client.keepalives.len(), 5);
    let path = pair.client.keepalives[0];
    assert_eq!((path.local.port(), path.remote.port()), (4500, 4500));
    assert!(pair.gateway.keepalives.is_empty());
    // With the SA's successor it goes on, and with its end it ends.
    rekey_ike(&mut pair, End::Gateway);
    pair.settle();
    pair.pass(Duration::from_secs(100));
    assert_eq!(pair.client.keepalives.len(), 10);
    pair.command(End::Client, Command::Clear(crate::ike::Selection::All));
    pair.settle();
    pair.pass(Duration::from_secs(100));
    assert_eq!(pair.client.keepalives.len(), 10);
}

/// The client's NAT has got another address and other ports.
fn rebind(pair: &mut Pair) -> std::net::SocketAddr {
    let nat = Nat { outside: [198, 51, 100, 77].into(), ports: Some(30_000) };
    pair.client.nat = Some(nat);
    (nat.outside, 30_001).into()
}

// test of RFC 7296 §2.23
// NAT-08 NAT-10 SPI-08
#[test]
fn a_client_whose_nat_has_changed_is_found_by_its_next_message() {
    let mut pair = behind_nat(open());
    let old = sole(&pair, End::Gateway).remote;
    let new = rebind(&mut pair);

    rekey_child(&mut pair, End::Client);
    pair.settle();

    pair.assert_in_step();
    assert_eq!(sole(&pair, End::Gateway).remote, new);
    assert!(pair.gateway.plane.values().all(|child| child.path.remote == new));
    assert!(
        pair.gateway.events.iter().any(|event| matches!(event, Event::Moved { from, .. } if *from == old))
    );
    // What the gateway says of itself goes there as well.
    rekey_ike(&mut pair, End::Gateway);
    pair.settle();
    assert_one_of_each(&mut pair, "elsewhere");
}

// NAT-08
#[test]
fn esp_from_elsewhere_moves_the_sa_and_its_children() {
    let mut pair = behind_nat(open());
    let inbound = pair.gateway.outbound.unwrap();
    let new = rebind(&mut pair);
    let local = sole(&pair, End::Gateway).local;

    pair.step(End::Gateway, Input::Moved { inbound, path: Path { local, remote: new } });

    assert_eq!(sole(&pair, End::Gateway).remote, new);
    assert_eq!(pair.gateway.plane[&inbound].path.remote, new);
}

// NAT-08
#[test]
fn whoever_is_not_behind_a_nat_stays_where_it_is() {
    for end in ENDS {
        let mut pair = opened();
        let before = sole(&pair, end).remote;
        let first = if end == End::Client { 0 } else { 2 };
        let mut flying =
            made_up(&pair, end.other(), ExchangeType::Informational, (Direction::Request, first), |_chain| {
                Ok(())
            });
        flying.path.remote = ([203, 0, 113, 66], 4500).into();

        pair.put(&flying);

        assert_eq!(sole(&pair, end).remote, before);
        // The answer goes to where the request came from.
        assert_eq!(pair.sent.last().unwrap().path.local, flying.path.remote);
        let (inbound, local) = (pair.side(end).outbound.unwrap(), sole(&pair, end).local);
        pair.step(end, Input::Moved { inbound, path: Path { local, remote: flying.path.remote } });
        assert_eq!(sole(&pair, end).remote, before);
    }
}

// NAT-08
#[test]
fn only_what_is_authentic_and_new_moves_an_sa() {
    let mut pair = behind_nat(Plan::shared_key());
    let before = sole(&pair, End::Gateway).remote;
    let elsewhere = ([203, 0, 113, 66], 4500).into();
    // Everything that was sent before, from elsewhere.
    for mut flying in pair.sent.clone() {
        flying.path.remote = elsewhere;
        if flying.to == End::Gateway {
            pair.put(&flying);
            assert_eq!(sole_established(&pair).remote, before);
        }
    }
    pair.wire.clear();
    // And what was changed.
    rekey_child(&mut pair, End::Client);
    let request = pair.take(End::Gateway);
    for at in 0..request.octets.len() {
        let mut forged = request.clone();
        forged.octets[at] ^= 0x10;
        forged.path.remote = elsewhere;
        pair.put(&forged);
        assert_eq!(sole_established(&pair).remote, before);
    }
    pair.wire.clear();
    pair.put(&request);
    pair.settle();
    assert_eq!(sole_established(&pair).remote, before);
}

fn sole_established(pair: &Pair) -> SaSnapshot {
    let up = |sa: &SaSnapshot| sa.state == crate::ike::SaState::Established;
    let mut sas: Vec<SaSnapshot> = pair.sas(End::Gateway).into_iter().filter(up).collect();
    assert_eq!(sas.len(), 1);
    sas.remove(0)
}

// NAT-10
#[test]
fn a_response_and_a_fragment_that_are_authentic_move_an_sa_too() {
    let mut pair = behind_nat(open());
    let new = rebind(&mut pair);
    // The gateway's probe is answered from elsewhere, through the new mapping.
    rekey_child(&mut pair, End::Gateway);
    assert!(pair.wire.is_empty(), "the old mapping leads to nobody");
    let flying = pair.sent.last().unwrap().clone();
    pair.put(&Flying {
        to: End::Client,
        path: Path { local: sole(&pair, End::Client).local, remote: flying.path.remote },
        octets: flying.octets,
    });
    pair.settle();
    assert_eq!(sole(&pair, End::Gateway).remote, new);
    assert_one_of_each(&mut pair, "elsewhere");

    let flying = made_up(&pair, End::Client, ExchangeType::Informational, (Direction::Request, 0), |chain| {
        chain.push(&Payload::Vendor(VendorId(vec![1; 300].into())))
    });
    let mut header = Plain::open(&flying.octets);
    let sa = sole(&pair, End::Gateway);
    header.header.spi_i = sa.spi_i;
    let third = ([198, 51, 100, 78], 40_000).into();
    // Which of both is the original initiator now is not for this test to say.
    for sender in [OriginalRole::Initiator, OriginalRole::Responder] {
        for id in 0..6 {
            let mut part = header.clone();
            (part.header.sender, part.header.message_id) = (sender, MessageId(id));
            let octets = part.fragments(100)[1].clone();
            pair.put(&Flying { to: End::Gateway, path: Path { local: sa.local, remote: third }, octets });
        }
    }
    assert_eq!(sole(&pair, End::Gateway).remote, third);
}

#[test]
fn a_client_without_an_address_of_ours_is_reached_at_its_own() {
    let mut plan = open();
    plan.connection(|connection| connection.wants_ipv4 = false);
    let mut pair = plan.build();
    pair.establish();

    assert_eq!(sole(&pair, End::Gateway).children[0].remote_ts[0].to_string(), "192.0.2.2/32");
    assert_eq!(*sole(&pair, End::Client).children[0].remote_ts, [prefix("10.1.0.0/16")]);
    assert_eq!(pair.gateway.pools.held(), 0);
}
