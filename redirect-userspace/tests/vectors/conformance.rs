//! The conformance cases of redirects in IKE_SA_INIT, gateway side: one test per case that concerns
//! the fast path. What a whole gateway owes (tables, configuration, IKE SAs) is tested elsewhere.

use std::net::{IpAddr, Ipv4Addr};

use common::decide::{Verdict, decide};
use common::ike::{CRITICAL, PAYLOAD_NONCE, PAYLOAD_NOTIFY};
use common::maps::{Gateway, NO_GATEWAY};
use common::reason::Reason;
use redirect_userspace::testing::fixtures::{
    self, CLIENT4, GATEWAY_ALL, GATEWAY_LONG_NAME, GATEWAY_NAME, GATEWAY_ODD_NAME, GATEWAY_SHORT_NAME,
    GATEWAY_V6, VIP4, VIP6, World,
};
use redirect_userspace::testing::packets::{Packet, Payload};

use crate::frame::{Datagram, decided};

#[test]
fn a_redirect_is_one_stateless_response_that_holds_nothing_else() {
    // RDI-01
    let reply = answer(&fixtures::v4(), GATEWAY_ALL);
    let message = reply.message();

    assert_eq!(message[0..8], 0x1122_3344_5566_7788_u64.to_be_bytes(), "SPIi of the request");
    assert_eq!(message[8..16], [0; 8], "SPIr zero");
    assert_eq!(message[16..20], [41, 0x20, 34, 0x20], "notify, version 2.0, IKE_SA_INIT, response only");
    assert_eq!(message[20..24], [0; 4], "Message ID 0");
    assert_eq!(length(&message[24..28]), message.len());
    assert_eq!(message[28..30], [0, 0], "no further payload, not critical");
    assert_eq!(length(&message[30..32]), message.len() - 28, "the notify ends the message");
}

#[test]
fn an_ipv4_gateway_has_type_1_and_four_octets() {
    // RDI-02
    let notify = answer(&fixtures::v4(), GATEWAY_ALL).message()[28..].to_vec();

    assert_eq!(length(&notify[2..4]), 4 + 4 + 2 + 4 + 32);
    assert_eq!(notify[4..14], [0, 0, 0x40, 0x17, 1, 4, 192, 0, 2, 21]);
    assert_eq!(notify[14..], nonce(32));
}

#[test]
fn an_ipv6_gateway_has_type_2_and_sixteen_octets() {
    // RDI-03
    let notify = answer(&fixtures::v6(), GATEWAY_V6).message()[28..].to_vec();

    assert_eq!(length(&notify[2..4]), 4 + 4 + 2 + 16 + 32);
    assert_eq!(notify[4..10], [0, 0, 0x40, 0x17, 2, 16]);
    assert_eq!(notify[10..26], [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x21]);
    assert_eq!(notify[26..], nonce(32));
}

#[test]
fn a_named_gateway_has_type_3_and_its_name_without_terminator() {
    // RDI-04
    for packet in [fixtures::v4(), fixtures::v6()] {
        let notify = answer(&packet, GATEWAY_ODD_NAME).message()[28..].to_vec();

        assert_eq!(notify[4..10], [0, 0, 0x40, 0x17, 3, 15]);
        assert_eq!(&notify[10..25], b"gw5.vpn.example");
        assert_eq!(notify[25..], nonce(32));
    }
}

#[test]
fn a_nonce_of_any_allowed_length_comes_back_whole() {
    // RDI-05
    for octets in 16..=256 {
        for gateway in [GATEWAY_ALL, GATEWAY_NAME, GATEWAY_ODD_NAME, GATEWAY_SHORT_NAME] {
            let packet = fixtures::v4().with_payloads(payloads(Payload::nonce(octets)));

            let reply = answer(&packet, gateway);

            let notify = &reply.message()[28..];
            assert_eq!(notify[10 + usize::from(notify[9])..], nonce(octets), "{octets} octets");
        }
    }
}

#[test]
fn a_client_without_support_is_never_redirected() {
    // RDI-06
    for packet in [fixtures::v4(), fixtures::v6(), fixtures::v4().nat_t(), fixtures::v6().nat_t()] {
        let packet = packet.with_payloads(vec![Payload::sa(), Payload::ke(14, 256), Payload::nonce(32)]);

        assert_eq!(fate(&packet, GATEWAY_ALL), Reason::NoRedirectSupport);
    }
}

#[test]
fn redirected_from_alone_announces_support() {
    // RDI-07
    for from in [Ipv4Addr::new(10, 5, 2, 52).into(), IpAddr::from([0x20; 16])] {
        let packet = fixtures::v4().with_payloads(vec![
            Payload::sa(),
            Payload::ke(31, 32),
            Payload::nonce(32),
            Payload::redirected_from(from),
        ]);

        assert_eq!(fate(&packet, GATEWAY_ALL), Reason::Redirected);
    }
}

#[test]
fn a_malformed_redirected_from_is_no_support() {
    // RDI-08
    for data in
        [&[0, 4, 9, 9, 9, 9][..], &[9, 4, 9, 9, 9, 9], &[1, 200, 9, 9, 9, 9], &[1, 5, 9, 9, 9, 9], &[1], &[]]
    {
        assert_eq!(fate(&announced_by(Payload::notify(16408, data)), GATEWAY_ALL), Reason::NotifyMalformed);
    }
    // The whole payload runs past the end of the message.
    let mut packet = announced_by(Payload::redirected_from(IpAddr::V4(CLIENT4)));
    packet.payloads.last_mut().unwrap().length = Some(200);
    assert_eq!(fate(&packet, GATEWAY_ALL), Reason::NotifyMalformed);
}

#[test]
fn a_name_in_redirected_from_is_no_support() {
    // RDI-09
    let name = Payload::notify(16408, b"\x03\x0bexample.net");

    assert_eq!(fate(&announced_by(name), GATEWAY_ALL), Reason::NotifyMalformed);
}

#[test]
fn a_request_without_nonce_is_not_redirected() {
    // RDI-10
    let mut packet = fixtures::v4();
    packet.payloads.retain(|payload| payload.kind != PAYLOAD_NONCE);

    assert_eq!(fate(&packet, GATEWAY_ALL), Reason::NonceMissing);
}

#[test]
fn an_empty_nonce_and_one_out_of_range_are_not_redirected() {
    // RDI-11, RDI-12
    for octets in [0, 1, 15, 257, 300] {
        let packet = fixtures::v4().with_payloads(payloads(Payload::nonce(octets)));

        assert_eq!(fate(&packet, GATEWAY_ALL), Reason::NonceLength, "{octets} octets");
    }
}

#[test]
fn without_a_target_nothing_is_sent() {
    // RDI-13
    assert_eq!(fate(&fixtures::v4(), NO_GATEWAY), Reason::NoGateway);
}

#[test]
fn a_name_longer_than_its_length_octet_can_say_is_refused() {
    // RDI-14
    assert!(Gateway::new(None, None, Some(&[b'a'; 255]), false).is_some());
    assert!(Gateway::new(None, None, Some(&[b'a'; 256]), false).is_none());
    assert!(Gateway::new(None, None, Some(&[]), false).is_none());
}

#[test]
fn the_same_request_gets_the_same_response_again() {
    // RDI-16
    for packet in [fixtures::v4(), fixtures::v6().nat_t()] {
        let mut world = World::towards(GATEWAY_ALL);
        for (slot, gateway) in (0..).zip(&mut world.table.gateway) {
            *gateway = [GATEWAY_ALL, GATEWAY_NAME, GATEWAY_ODD_NAME][slot % 3];
        }

        let first = answer_in(&packet, &world);

        assert!((0..100).all(|_| answer_in(&packet, &world).payload == first.payload));
    }
}

#[test]
fn after_a_redirect_the_old_exchange_is_the_business_of_the_stack() {
    // RDI-17
    for spi_r in [0, 1, u64::MAX] {
        let mut packet = fixtures::v4().with_payloads(vec![Payload::new(46, [0x5a; 200])]);
        (packet.exchange, packet.message_id, packet.spi_r) = (35, 1, spi_r);

        assert_eq!(fate(&packet, GATEWAY_ALL), Reason::OtherExchange);
    }
}

#[test]
fn a_broken_chain_is_not_redirected_wherever_support_stands() {
    // RDI-18
    for position in 0..4 {
        let mut packet = fixtures::v4().with_payloads(payloads(Payload::nonce(32)));
        packet.payloads.rotate_right(position);
        assert_eq!(fate(&packet, GATEWAY_ALL), Reason::Redirected, "position {position}");

        let last = packet.payloads.len() - 1;
        for length in [3, 0] {
            packet.payloads[last].length = Some(length);
            assert_eq!(fate(&packet, GATEWAY_ALL), Reason::PayloadLength, "position {position}");
        }
        // A REDIRECT_SUPPORTED that is longer than its header is wrong in itself.
        let is_notify = packet.payloads[last].kind == PAYLOAD_NOTIFY;
        let expected = if is_notify { Reason::NotifyMalformed } else { Reason::ChainTruncated };
        packet.payloads[last].length = Some(u16::try_from(packet.payloads[last].body.len()).unwrap() + 5);
        assert_eq!(fate(&packet, GATEWAY_ALL), expected, "position {position}");
    }
}

#[test]
fn an_unknown_critical_payload_wins_over_the_redirect() {
    // RDI-19
    for kind in (1..33).chain(55..=255) {
        for position in [0, 2, 4] {
            let mut packet = fixtures::v4().with_payloads(payloads(Payload::nonce(32)));
            packet.payloads.insert(position, Payload { critical: CRITICAL, ..Payload::new(kind, [7; 9]) });
            assert_eq!(fate(&packet, GATEWAY_ALL), Reason::CriticalPayload, "payload {kind}");

            packet.payloads[position].critical = 0;
            assert_eq!(fate(&packet, GATEWAY_ALL), Reason::Redirected, "payload {kind}");
        }
    }
}

#[test]
fn a_returned_cookie_belongs_to_whoever_asked_for_it() {
    // RDI-20
    let mut packet = fixtures::v4();
    assert_eq!(fate(&packet, GATEWAY_ALL), Reason::Redirected, "no cookie is asked for first");

    packet.payloads.insert(0, Payload::notify(16390, &[7; 20]));
    assert_eq!(fate(&packet, GATEWAY_ALL), Reason::Cookie);
}

#[test]
fn no_response_is_as_long_as_its_request() {
    // RDI-21: `decided` has every reply judged, its length first. Here the request grows octet by
    // octet, from the smallest that is well-formed to one that the longest name fits in.
    let smallest = [
        Payload::new(33, [0; 16]),
        Payload::new(34, [0; 5]),
        Payload::nonce(16),
        Payload::redirect_supported(),
    ];
    for gateway in [GATEWAY_ALL, GATEWAY_ODD_NAME, GATEWAY_SHORT_NAME, GATEWAY_LONG_NAME] {
        let mut redirected = 0;
        for octets in 0..300 {
            let mut packet = fixtures::v4().with_payloads(smallest.to_vec());
            packet.payloads.push(Payload::vendor(&vec![0; octets]));

            let reason = fate(&packet, gateway);

            // Once a request is long enough, every longer one is.
            let expected = if redirected > 0 { Reason::Redirected } else { Reason::ReplyNotShorter };
            assert!(reason == expected || reason == Reason::Redirected, "{octets}: {}", reason.name());
            redirected += usize::from(reason == Reason::Redirected);
        }
        assert!(redirected > 50, "{redirected}");
    }
}

#[test]
fn the_response_goes_back_the_way_the_request_came() {
    // RDI-22
    for (source_port, nat_t) in [(500, false), (10952, false), (4500, true), (10954, true), (1, true)] {
        for packet in [fixtures::v4(), fixtures::v6()] {
            let mut packet = if nat_t { packet.nat_t() } else { packet };
            packet.source_port = source_port;

            let reply = answer(&packet, GATEWAY_ALL);

            assert_eq!((reply.source, reply.source_port), (packet.destination, packet.destination_port));
            assert_eq!((reply.destination, reply.destination_port), (packet.source, source_port));
            assert_eq!(reply.payload.starts_with(&[0; 4]), nat_t, "the marker, on port 4500 only");
        }
    }
}

#[test]
fn the_shared_address_answers_and_never_names_itself() {
    // RDI-23, RDI-24
    for (packet, vip) in [(fixtures::v4(), IpAddr::V4(VIP4)), (fixtures::v6(), IpAddr::V6(VIP6))] {
        let reply = answer(&packet, GATEWAY_ALL);

        assert_eq!(reply.source, vip);
        let notify = &reply.message()[28..];
        let target = &notify[10..10 + usize::from(notify[9])];
        let shared = match vip {
            IpAddr::V4(vip) => vip.octets().to_vec(),
            IpAddr::V6(vip) => vip.octets().to_vec(),
        };
        assert_ne!(target, shared);
    }
}

#[test]
fn support_in_any_later_exchange_triggers_nothing() {
    // RDI-25
    for exchange in [35, 36, 37] {
        for flags in [0x00, 0x08] {
            let mut packet = fixtures::v4();
            (packet.exchange, packet.flags) = (exchange, flags);
            (packet.spi_r, packet.message_id) = (9, 2);

            assert_eq!(fate(&packet, GATEWAY_ALL), Reason::OtherExchange);
        }
    }
}

fn answer(packet: &Packet, gateway: u16) -> Datagram {
    answer_in(packet, &World::towards(gateway))
}

fn answer_in(packet: &Packet, world: &World) -> Datagram {
    let mut frame = packet.build();
    assert_eq!(decided("request", &frame, world), Reason::Redirected);
    let Verdict::Redirect { length, .. } = decide(frame.as_mut_slice(), world) else {
        panic!("decided twice")
    };
    Datagram::of(&frame[..length]).unwrap()
}

fn fate(packet: &Packet, gateway: u16) -> Reason {
    decided("request", &packet.build(), &World::towards(gateway))
}

/// A request whose only announcement is `notify`.
fn announced_by(notify: Payload) -> Packet {
    fixtures::v4().with_payloads(vec![Payload::sa(), Payload::ke(31, 32), Payload::nonce(32), notify])
}

fn payloads(nonce: Payload) -> Vec<Payload> {
    vec![Payload::redirect_supported(), nonce, Payload::sa(), Payload::ke(14, 256)]
}

fn nonce(octets: usize) -> Vec<u8> {
    Payload::nonce(octets).body
}

fn length(octets: &[u8]) -> usize {
    octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet))
}
