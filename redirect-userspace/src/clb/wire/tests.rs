//! The bodies, octet by octet and at random.

use proptest::prelude::*;

use super::*;
use crate::clb::frame::{MAX_FROM_SLAVE, MAX_HANDSHAKE, split};
use crate::gateway::Fqdn;

fn registration(addresses: &[&str]) -> Registration {
    Registration {
        name: "gw1".parse().unwrap(),
        addresses: GatewayAddresses::new(addresses.iter().map(|text| text.parse().unwrap())).unwrap(),
        priority: 90,
        max_session: 2_000,
    }
}

fn report() -> AgedReport {
    AgedReport {
        report: Report {
            ike_sas: 1,
            child_sas: 2,
            cpu: BasisPoints::saturating(0x0304),
            memory: BasisPoints::saturating(0x0506),
            availability: Availability::Draining,
        },
        age: Duration::from_millis(7),
    }
}

const REPORT_OCTETS: [u8; 20] = [0, 0, 0, 1, 0, 0, 0, 2, 3, 4, 5, 6, 1, 0, 0, 0, 0, 0, 0, 7];

#[test]
fn an_offer_is_laid_out_as_documented() {
    let offer = Offer { versions: (1, 1), nonce: [9; 32], cluster: "group1".parse().unwrap() };

    let frame = offer.to_frame();

    let body = [&b"RCLB\x01\x01"[..], &[9; 32], b"\x06group1"].concat();
    assert_eq!(frame, [&[0, 49, 1, 0], &body[..]].concat());
    assert_eq!(Offer::decode(&body), Ok(offer));
    assert_eq!(Offer::versions(&body[..6]), Ok((1, 1)));
}

#[test]
fn the_rest_of_the_handshake_is_laid_out_as_documented() {
    let challenge = Challenge { version: 1, nonce: [8; 32] };
    let body = [&[1][..], &[8; 32]].concat();

    assert_eq!(challenge.to_frame(), [&[0, 37, 2, 0], &body[..]].concat());
    assert_eq!(Challenge::decode(&body), Ok(challenge));
    assert_eq!(proof_frame(kind::SLAVE_PROOF, &[5; 32]), [&[0, 36, 3, 0], &[5; 32][..]].concat());
    assert_eq!(decode_proof(&[5; 32]), Ok([5; 32]));
    let both = SlaveProof { first: [5; 32], second: Some([6; 32]) };
    let octets = [[5; 32], [6; 32]].concat();
    assert_eq!(both.to_frame(), [&[0, 68, 3, 0], &octets[..]].concat());
    assert_eq!(SlaveProof::decode(&octets, 2), Ok(both));
    let one = SlaveProof { second: None, ..both };
    assert_eq!(one.to_frame(), proof_frame(kind::SLAVE_PROOF, &[5; 32]));
    assert_eq!(SlaveProof::decode(&[5; 32], 2), Ok(one));
    assert_eq!(SlaveProof::decode(&[5; 32], 1), Ok(one));
    assert!(SlaveProof::decode(&octets, 1).is_err());
    assert!(SlaveProof::decode(&octets[..63], 2).is_err());
    assert_eq!(rejected_frame(Refusal::Key), [0, 7, 5, 0, 3, 1, 2]);
    assert_eq!(decode_rejected(&[3, 1, 1]), Ok(Refusal::Key));
}

#[test]
fn an_offer_that_is_none_is_refused() {
    let good = Offer { versions: (1, 1), nonce: [9; 32], cluster: "g".parse().unwrap() }.to_frame();
    let (_, good) = split(&good).unwrap();
    let changed = |at: usize, octet| {
        let mut body = good.to_vec();
        body[at] = octet;
        Offer::decode(&body)
    };

    assert_eq!(changed(0, b'G'), Err(value("magic", u64::from(u32::from_be_bytes(*b"GCLB")))));
    assert_eq!(changed(39, b'/'), Err(value("cluster name", u64::from(b'/'))));
    assert_eq!(changed(38, 0), Err(DecodeError::Length { what: "cluster name", value: 0 }));
    assert_eq!(changed(38, 2), Err(DecodeError::Truncated { what: "cluster name", need: 2, have: 1 }));
    assert_eq!(Offer::decode(&[good, &[0]].concat()), Err(DecodeError::Trailing { what: "offer", extra: 1 }));
}

#[test]
fn the_greatest_common_version_is_chosen() {
    assert_eq!(common_version((1, 1)), Some(1));
    assert_eq!(common_version((0, 9)), Some(2));
    assert_eq!(common_version((3, 9)), None);
    assert_eq!(common_version((0, 0)), None);
    assert_eq!(common_version((1, 0)), None);
}

#[test]
fn what_a_slave_says_is_laid_out_as_documented() {
    let whole = registration(&["gw1.example", "fd50::1", "10.0.0.1"]);
    let whole_octets = [
        &b"\x03gw1\x07\x0a\x00\x00\x01"[..],
        &[0xfd, 0x50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        b"\x0bgw1.example",
        &[90, 0, 0, 0x07, 0xd0],
        &REPORT_OCTETS,
    ]
    .concat();
    let cases = [
        (FromSlave::Register(whole, report()), 0x10, whole_octets),
        (
            FromSlave::Register(registration(&["10.0.0.1"]), report()),
            0x10,
            [&b"\x03gw1\x01\x0a\x00\x00\x01"[..], &[90, 0, 0, 0x07, 0xd0], &REPORT_OCTETS].concat(),
        ),
        (FromSlave::Update(report()), 0x11, REPORT_OCTETS.to_vec()),
        (FromSlave::Hello, 0x12, vec![]),
        (FromSlave::Leave(LeaveReason::Promoted), 0x13, vec![4]),
    ];
    for (message, kind, body) in cases {
        assert_eq!(message.kind(), kind);
        assert_eq!(message.to_body(), body, "{message:?}");
        assert_eq!(FromSlave::decode(kind, &body), Ok(Some(message)));
    }
}

#[test]
fn what_a_master_says_is_laid_out_as_documented() {
    let vouched = Vouched { generation: 5, oldest: Duration::from_millis(6) };
    let accepted =
        FromMaster::Accepted { master: "gw9".parse().unwrap(), holdtime: Duration::from_millis(3_000) };
    let cases = [
        (accepted, 0x20, b"\x03gw9\x00\x00\x0b\xb8".to_vec()),
        (FromMaster::Refused(Refusal::Full), 0x21, vec![6]),
        (FromMaster::View(b"part"), 0x22, b"part".to_vec()),
        (FromMaster::Alive(Some(vouched)), 0x23, vec![0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 6]),
        (FromMaster::Alive(None), 0x23, vec![0; 12]),
        (FromMaster::Order(Order::Drain), 0x24, vec![1]),
        (FromMaster::Order(Order::Undrain), 0x24, vec![2]),
    ];
    for (message, kind, body) in cases {
        assert_eq!(message.kind(), kind);
        assert_eq!(message.to_body(), body, "{message:?}");
        assert_eq!(FromMaster::decode(kind, &body), Ok(Some(message)));
    }
}

#[test]
fn a_type_that_nobody_knows_is_skipped_when_it_may_be() {
    for kind in [0x00, 0x01, 0x14, 0x20, 0x7f] {
        assert_eq!(FromSlave::decode(kind, b"x"), Err(WireError::Unknown(kind)));
    }
    for kind in [0x00, 0x04, 0x10, 0x25, 0x7f] {
        assert_eq!(FromMaster::decode(kind, b"x"), Err(WireError::Unknown(kind)));
    }
    for kind in [0x80, 0x90, 0xff] {
        assert_eq!(FromSlave::decode(kind, b"x"), Ok(None));
        assert_eq!(FromMaster::decode(kind, b"x"), Ok(None));
    }
    assert_eq!(FromMaster::decode(kind::ORDER, b"\x09with more"), Ok(None));
}

#[test]
fn a_registration_that_cannot_be_is_refused() {
    let good = FromSlave::Register(registration(&["10.0.0.1"]), report()).to_body();
    let changed = |at: usize, octet: u8| {
        let mut body = good.clone();
        body[at] = octet;
        match FromSlave::decode(kind::REGISTER, &body) {
            Err(WireError::Malformed(DecodeError::Value { what, .. })) => what,
            other => panic!("{other:?}"),
        }
    };

    assert_eq!(changed(1, b' '), "name");
    assert_eq!(changed(4, 0), "kinds of addresses");
    assert_eq!(changed(4, 9), "kinds of addresses");
    assert_eq!(changed(5, 127), "IPv4 address");
    assert_eq!(changed(5, 224), "IPv4 address");
    assert_eq!(changed(9, 0), "priority");
    assert_eq!(changed(9, 101), "priority");
    assert_eq!(changed(10, 1), "max-session");
    assert_eq!(changed(22, 0xff), "cpu");
    assert_eq!(changed(24, 0xff), "memory");
    assert_eq!(changed(26, 2), "availability");
}

#[test]
fn a_holdtime_out_of_range_is_refused() {
    for ms in [0, 99, 120_001, u32::MAX] {
        let body = [b"\x03gw9", &ms.to_be_bytes()[..]].concat();
        assert!(FromMaster::decode(kind::ACCEPTED, &body).is_err(), "{ms}");
    }
}

#[test]
fn the_longest_messages_fit_their_frames() {
    let label = "a".repeat(63);
    let fqdn: Fqdn = [label.as_str(); 4].join(".").parse().unwrap();
    let list = [
        GatewayAddress::Ipv4([10, 0, 0, 1].into()),
        GatewayAddress::Ipv6("fd50::1".parse().unwrap()),
        GatewayAddress::Fqdn(fqdn),
    ];
    let longest = Registration {
        name: "x".repeat(63).parse().unwrap(),
        addresses: GatewayAddresses::new(list).unwrap(),
        ..registration(&["10.0.0.1"])
    };

    let register = FromSlave::Register(longest, report()).to_body().len();
    let offer = Offer { versions: (1, 1), nonce: [0; 32], cluster: "x".repeat(63).parse().unwrap() };

    assert!(register + HEADER + crate::clb::auth::SEAL <= MAX_FROM_SLAVE);
    assert!(offer.to_frame().len() <= MAX_HANDSHAKE);
}

proptest! {
    #[test]
    fn whatever_is_decoded_is_encoded_and_decoded_to_the_same(
        kind in prop_oneof![4 => 0x10..0x14_u8, 4 => 0x20..0x25_u8, 1 => any::<u8>()],
        mut body in proptest::collection::vec(any::<u8>(), 0..80),
        start in proptest::option::of(Just(b"\x03gw1\x01\x0a\x00\x00\x01\x5a\x00\x00\x07\xd0")),
    ) {
        if let Some(start) = start {
            body.splice(0..0, *start);
        }
        if let Ok(Some(message)) = FromSlave::decode(kind, &body) {
            prop_assert_eq!(FromSlave::decode(kind, &message.to_body()), Ok(Some(message.clone())));
        }
        if let Ok(Some(message)) = FromMaster::decode(kind, &body) {
            let again = message.to_body();
            prop_assert_eq!(FromMaster::decode(kind, &again), Ok(Some(message.clone())));
        }
        if let Ok(offer) = Offer::decode(&body) {
            let frame = offer.to_frame();
            prop_assert_eq!(split(&frame), Ok((kind::OFFER, &body[..])));
        }
    }
}
