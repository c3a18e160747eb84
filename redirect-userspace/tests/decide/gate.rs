//! The gate on the host: who is asked for a cookie, and what for.

use std::net::IpAddr;

use common::gate::{Verdict, gate};
use redirect_userspace::testing::fixtures::{self, Fixture, v4, v6};
use redirect_userspace::testing::gate::GateWorld;
use redirect_userspace::testing::packets::{Packet, Payload};

use crate::judge::frame;

/// Whether `reply` asks the sender of `request` for `cookie`.
fn judge_cookie(request: &[u8], reply: &[u8], cookie: &[u8]) -> Result<(), String> {
    let (at, _) = frame(request, reply)?;
    let mut expected = request[at..at + 8].to_vec();
    expected.extend([0; 8]);
    expected.extend([41, 0x20, 34, 0x20, 0, 0, 0, 0]);
    let notify = u16::try_from(8 + cookie.len()).unwrap();
    expected.extend((u32::from(notify) + 28).to_be_bytes());
    expected.extend([0, 0]);
    expected.extend(notify.to_be_bytes());
    expected.extend([0, 0, 0x40, 0x06]);
    expected.extend(cookie);
    if reply[at..] == expected {
        Ok(())
    } else {
        Err(format!("{:02x?}, expected {expected:02x?}", &reply[at..]))
    }
}

fn decide(world: &GateWorld, packet: &Packet) -> Verdict {
    let frame = packet.build();
    let mut answered = frame.clone();
    let verdict = gate(answered.as_mut_slice(), world);
    match verdict {
        Verdict::Pass | Verdict::Good => assert_eq!(answered, frame, "what passes is untouched"),
        Verdict::Ask { length } => {
            let cookie = GateWorld::cookie(world.current(), packet).unwrap();
            judge_cookie(&frame, &answered[..length], &cookie).unwrap_or_else(|wrong| panic!("{wrong}"));
        }
    }
    verdict
}

fn is_asked(world: &GateWorld, packet: &Packet) -> bool {
    matches!(decide(world, packet), Verdict::Ask { .. })
}

#[test]
fn who_would_like_an_sa_is_asked_for_a_cookie_whatever_he_offers() {
    let world = GateWorld::closed();
    for packet in [v4(), v6(), v4().nat_t(), v6().nat_t()] {
        assert!(is_asked(&world, &packet));
        assert!(is_asked(&world, &packet.clone().with_payloads(Payload::apple())));
        assert!(is_asked(&world, &packet.clone().with_payloads(Payload::windows())), "follows no redirects");
        let mut tagged = packet;
        tagged.vlans = vec![(0x8100, 100)];
        assert!(is_asked(&world, &tagged));
    }
}

// COO-02 COO-06 COO-07
#[test]
fn with_its_cookie_a_request_passes_and_with_another_ones_it_is_asked_again() {
    let world = GateWorld::closed();
    for packet in [v4(), v6().nat_t()] {
        let cookie = GateWorld::cookie(world.current(), &packet).unwrap();
        let bringing = |packet: &Packet, cookie: &[u8]| GateWorld::bringing(packet.clone(), cookie);
        assert_eq!(decide(&world, &bringing(&packet, &cookie)), Verdict::Good);

        let mut elsewhere = packet.clone();
        elsewhere.source = match packet.source {
            IpAddr::V4(_) => IpAddr::from([198, 51, 100, 99]),
            IpAddr::V6(_) => "2001:db8::99".parse().unwrap(),
        };
        let mut other_spi = packet.clone();
        other_spi.spi_i ^= 1;
        let mut other_nonce = packet.clone();
        for payload in &mut other_nonce.payloads {
            if payload.kind == 40 {
                payload.body[15] ^= 1;
            }
        }
        for other in [elsewhere, other_spi, other_nonce] {
            assert!(is_asked(&world, &bringing(&other, &cookie)));
        }
        for at in 0..cookie.len() {
            let mut wrong = cookie;
            wrong[at] ^= 1;
            assert!(is_asked(&world, &bringing(&packet, &wrong)), "octet {at}");
        }
        assert!(is_asked(&world, &bringing(&packet, &cookie[..9])));
        assert!(is_asked(&world, &bringing(&packet, &[&cookie[..], &[0]].concat())));
        let mut port = packet.clone();
        port.source_port = 1024;
        assert_eq!(decide(&world, &bringing(&port, &cookie)), Verdict::Good, "the same host behind its NAT");
    }
}

// COO-05
#[test]
fn a_cookie_of_the_key_before_is_good_and_one_of_a_key_long_gone_is_not() {
    let world = GateWorld::closed();
    let [before, _] = world.gate.keys;
    let cookie = GateWorld::cookie(&before, &v4()).unwrap();
    assert_eq!(decide(&world, &GateWorld::bringing(v4(), &cookie)), Verdict::Good);

    let gone = common::cookie::Key { number: 4, ..before };
    let cookie = GateWorld::cookie(&gone, &v4()).unwrap();
    assert!(is_asked(&world, &GateWorld::bringing(v4(), &cookie)));
}

// RFC 7296 §2.6: the cookie is the first payload.
#[test]
fn a_cookie_that_does_not_come_first_is_none() {
    let world = GateWorld::closed();
    let cookie = GateWorld::cookie(world.current(), &v4()).unwrap();
    let mut packet = v4();
    packet.payloads.insert(1, Payload::notify(16390, &cookie));

    assert!(is_asked(&world, &packet));
}

#[test]
fn what_is_no_first_request_to_a_gated_address_passes() {
    let world = GateWorld::closed();
    let change = |change: fn(&mut Packet)| {
        let mut packet = v4();
        change(&mut packet);
        packet
    };
    for (what, packet) in [
        ("another address", change(|p| p.destination = IpAddr::from([203, 0, 113, 77]))),
        ("another exchange", change(|p| p.exchange = 35)),
        ("a session that is resumed", change(|p| p.exchange = 38)),
        ("an SA that there is", change(|p| p.spi_r = 9)),
        ("a response", change(|p| p.flags = 0x20)),
        ("a wrong length", change(|p| p.ike_length_error = 1)),
        ("a fragment", change(|p| p.fragment = 0x2000)),
        ("no nonce", change(|p| p.payloads.retain(|payload| payload.kind != 40))),
        ("a nonce that is too short", change(|p| p.payloads[2] = Payload::nonce(15))),
        ("a payload beyond the end", change(|p| p.payloads[0].length = Some(4_000))),
        ("a payload shorter than its header", change(|p| p.payloads[0].length = Some(3))),
        ("ESP", Packet { marker: Some([0, 0, 0, 1]), ..v4().nat_t() }),
    ] {
        assert_eq!(decide(&world, &packet), Verdict::Pass, "{what}");
    }
}

#[test]
fn an_open_gate_asks_nobody() {
    let mut world = GateWorld::closed();
    world.gate.control.armed = 0;
    assert_eq!(decide(&world, &v4()), Verdict::Pass);
    assert_eq!(decide(&world, &v6()), Verdict::Pass);
}

#[test]
fn nothing_that_may_come_is_answered_with_more_than_it_was() {
    let world = GateWorld::closed();
    let mut asked = 0;
    for Fixture { name, frame, .. } in fixtures::all() {
        let mut answered = frame.clone();
        match gate(answered.as_mut_slice(), &world) {
            Verdict::Pass | Verdict::Good => assert_eq!(answered, frame, "{name}"),
            Verdict::Ask { length } => {
                assert!(length < frame.len(), "{name}");
                asked += 1;
            }
        }
    }
    assert!(asked > 50, "{asked}");
}
