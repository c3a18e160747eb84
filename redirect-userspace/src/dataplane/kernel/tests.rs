//! What the kernel tells, read from octets as it lays them out, and what it is told, read back.

use std::net::IpAddr;

use super::read::{self, Told};
use super::sa::limits;
use super::wire::{self, Direction, Limit, Network, Numbers, PortMask, Selector, State, StateId, Template};
use crate::crypto::cipher::{Encr, Protection, TrafficKeys};
use crate::crypto::integ::Integ;
use crate::ike::Volume;
use crate::net::xfrm::{Frame, Request};

const OURS: &str = "10.50.0.11";
const THEIRS: &str = "10.50.0.101";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Octets with values at places.
struct Layout(Vec<u8>);

impl Layout {
    fn of(length: usize) -> Self {
        Self(vec![0; length])
    }

    fn at(mut self, place: usize, octets: &[u8]) -> Self {
        self.0[place..place + octets.len()].copy_from_slice(octets);
        self
    }

    fn address(self, place: usize, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => self.at(place, &address.octets()),
            IpAddr::V6(address) => self.at(place, &address.octets()),
        }
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}

fn family(address: IpAddr) -> [u8; 2] {
    (if address.is_ipv4() { 2_u16 } else { 10 }).to_ne_bytes()
}

/// `struct xfrm_usersa_info`, in a message of `length` octets.
fn about(destination: IpAddr, spi: u32, length: usize) -> Layout {
    Layout::of(length)
        .address(56, destination)
        .at(72, &spi.to_be_bytes())
        .at(76, &[50])
        .at(160, &7_000_u64.to_ne_bytes())
        .at(168, &70_u64.to_ne_bytes())
        .at(212, &family(destination))
}

fn expiry(spi: u32, hard: u8) -> Vec<u8> {
    about(ip(OURS), spi, 232).at(224, &[hard]).0
}

fn mapping(destination: IpAddr, to: IpAddr) -> Vec<u8> {
    Layout::of(64)
        .address(0, destination)
        .at(16, &0x1234_5678_u32.to_be_bytes())
        .at(20, &family(destination))
        .address(28, ip(THEIRS))
        .address(44, to)
        .at(60, &4_500_u16.to_be_bytes())
        .at(62, &20_017_u16.to_be_bytes())
        .0
}

fn alive(spi: u32) -> Vec<u8> {
    Layout::of(48).address(0, ip(OURS)).at(16, &spi.to_be_bytes()).at(20, &family(ip(OURS))).0
}

fn wanted(reqid: u32) -> Vec<u8> {
    let selector = 40;
    let template = Layout::of(64).at(44, &reqid.to_ne_bytes()).0;
    Layout::of(280)
        .address(selector, ip("10.98.1.1"))
        .address(selector + 16, ip("10.99.1.1"))
        .at(selector + 40, &family(ip(OURS)))
        .at(selector + 42, &[32, 32])
        .attribute(wire::attribute::TEMPLATE, &template)
        .0
}

fn told(kind: u16, body: &[u8]) -> Option<Told> {
    read::told(Frame { kind, sequence: 0, body })
}

fn id(spi: u32) -> StateId {
    StateId { destination: ip(OURS), spi }
}

#[test]
fn events_are_read_as_the_kernel_lays_them_out() {
    use wire::kind;

    assert_eq!(told(kind::EXPIRE, &expiry(7, 0)), Some(Told::Expired { id: id(7), is_hard: false }));
    assert_eq!(told(kind::EXPIRE, &expiry(7, 1)), Some(Told::Expired { id: id(7), is_hard: true }));
    assert_eq!(told(kind::NEW_AE, &alive(7)), Some(Told::Alive { id: id(7) }));
    for (own, new) in [(OURS, "10.50.0.61"), ("fd50::11", "fd50::61")] {
        let moved = Told::Moved {
            id: StateId { destination: ip(own), spi: 0x1234_5678 },
            remote: (ip(new), 20_017).into(),
        };
        assert_eq!(told(kind::MAPPING, &mapping(ip(own), ip(new))), Some(moved));
    }
    let Some(Told::Wanted { reqid, selector }) = told(kind::ACQUIRE, &wanted(0x4000_0001)) else {
        panic!("an acquisition")
    };
    assert_eq!(reqid, 0x4000_0001);
    assert_eq!((selector.source.address, selector.destination.address), (ip("10.99.1.1"), ip("10.98.1.1")));
}

#[test]
fn an_event_that_ends_too_early_is_none() {
    use wire::kind;

    let events = [
        (kind::EXPIRE, expiry(7, 1)),
        (kind::NEW_AE, alive(7)),
        (kind::MAPPING, mapping(ip(OURS), ip(THEIRS))),
        (kind::ACQUIRE, wanted(1)),
    ];
    for (kind, whole) in events {
        // The last octets of an expiry are padding, and so are those of a template.
        let needed = match kind {
            kind::EXPIRE => 232,
            kind::ACQUIRE => 280 + 4 + 64,
            _ => whole.len(),
        };
        for length in 0..needed {
            assert_eq!(told(kind, &whole[..length]), None, "{kind:#x} {length}");
        }
        assert!(told(kind, &whole).is_some());
    }
}

#[test]
fn what_is_of_another_kind_or_family_is_none() {
    use wire::kind;

    for other in [0, 1, 2, 3, kind::NEW_SA, kind::UPD_SA, 0x1b, 0x20, 0x27, u16::MAX] {
        assert_eq!(told(other, &expiry(7, 1)), None, "{other:#x}");
    }
    let mut wrong = alive(7);
    wrong[20..22].copy_from_slice(&17_u16.to_ne_bytes());
    assert_eq!(told(kind::NEW_AE, &wrong), None);
}

fn state_with(attributes: impl FnOnce(Layout) -> Layout) -> Option<read::StateSeen> {
    let body = attributes(about(ip(OURS), 7, 224)).0;
    read::state(Frame { kind: wire::kind::NEW_SA, sequence: 1, body: &body })
}

#[test]
fn an_sa_tells_what_it_has_carried_and_where_its_numbers_are() {
    // One word, sent 5, received 6, both with 1 above, a window of 32.
    let window: Vec<u8> =
        [1_u32, 5, 6, 1, 1, 32, 0xf0f0].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let seen = state_with(|body| {
        body.attribute(wire::attribute::IF_ID, &9_u32.to_ne_bytes())
            .attribute(wire::attribute::REPLAY_ESN, &window)
    })
    .unwrap();

    assert_eq!((seen.id, seen.if_id, seen.carried[0], seen.carried[1]), (id(7), 9, 7_000, 70));
    let numbers = Numbers { sent: (1 << 32) + 5, received: (1 << 32) + 6, bitmap: vec![0xf0f0] };
    assert_eq!(seen.numbers, Some(numbers));
}

#[test]
fn a_window_that_claims_to_be_longer_than_it_is_is_none() {
    for words in [2_u32, 1 << 20, u32::MAX] {
        let window: Vec<u8> = [words, 5, 6, 0, 0, 32, 1].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let seen = state_with(|body| body.attribute(wire::attribute::REPLAY_ESN, &window)).unwrap();
        assert_eq!(seen.numbers, None, "{words}");
    }
    // An attribute that is shorter than its own head ends the message.
    let seen = state_with(|mut body| {
        body.0.extend([3, 0, 31, 0]);
        body.attribute(wire::attribute::IF_ID, &9_u32.to_ne_bytes())
    });
    assert_eq!(seen.unwrap().if_id, 0);
    assert_eq!(state_with(|body| body.attribute(wire::attribute::IF_ID, &[1, 2])), None);
}

fn keys(protection: Protection) -> TrafficKeys {
    let (encr, integ) = (vec![1; protection.encr_key_length()], vec![2; protection.integ_key_length()]);
    TrafficKeys::new(protection, &encr, &integ).unwrap()
}

fn frame(request: &Request, kind: u16) -> Frame<'_> {
    Frame { kind, sequence: 1, body: request.body.expose() }
}

#[test]
fn an_sa_that_was_told_is_read_back() {
    let numbers = Numbers { sent: 1 << 33, received: (1 << 32) + 7, bitmap: (0..32).collect() };
    let protections = [
        Protection::new(Encr::AesGcm256, None).unwrap(),
        Protection::new(Encr::AesCbc256, Some(Integ::HmacSha512_256)).unwrap(),
    ];
    for protection in protections {
        let keys = keys(protection);
        for is_inbound in [true, false] {
            let state = State {
                id: id(0x1020_3040),
                source: ip(THEIRS),
                keys: &keys,
                reqid: 3,
                is_extended: true,
                window: 1_024,
                encapsulation: Some((20_017, 4_500)),
                is_inbound,
                bytes: Limit { soft: 10, hard: 20 },
                packets: Limit::NONE,
                numbers: Some(&numbers),
                carried: Some([1, 2, 3, 4]),
            };
            let told = wire::new_state(&state, 0x77, Some(9));

            let seen = read::state(frame(&told, wire::kind::NEW_SA)).unwrap();

            assert_eq!((seen.id, seen.if_id), (id(0x1020_3040), 0x77));
            let back = seen.numbers.unwrap();
            assert_eq!((back.sent, back.received), (numbers.sent, numbers.received));
            assert_eq!(back.bitmap.len(), if is_inbound { 32 } else { 1 });
            // Wherever it ends, it is either read or not.
            let whole = told.body.expose();
            for length in 0..whole.len() {
                let body = &whole[..length];
                let cut = read::state(Frame { kind: wire::kind::NEW_SA, sequence: 1, body });
                assert_eq!(cut.is_some(), length >= wire::SA_INFO, "{length}");
            }
        }
    }
}

#[test]
fn a_policy_that_was_told_is_read_back() {
    let selector = Selector {
        source: Network { address: ip("10.99.0.0"), length: 16 },
        destination: Network { address: ip("10.98.1.1"), length: 32 },
        protocol: 6,
        source_port: PortMask { value: 443, mask: u16::MAX },
        destination_port: PortMask::default(),
    };
    let template = Template { spi: 7, source: ip(OURS), destination: ip(THEIRS), reqid: 3 };
    for direction in [Direction::In, Direction::Out, Direction::Forward] {
        let told = wire::update_policy(direction, &selector, 1, &template, 0x77);

        let seen = read::policy(frame(&told, wire::kind::NEW_POLICY)).unwrap();

        assert_eq!(seen, read::PolicySeen { direction, selector, if_id: 0x77 });
        let whole = told.body.expose();
        for length in 0..wire::POLICY_INFO {
            let body = &whole[..length];
            let cut = read::policy(Frame { kind: wire::kind::NEW_POLICY, sequence: 1, body });
            assert_eq!(cut, None, "{length}");
        }
    }
    assert_eq!(read::policy(Frame { kind: wire::kind::NEW_SA, sequence: 1, body: &[0; 300] }), None);
}

#[test]
fn numbers_of_32_bits_end_before_they_come_round() {
    let any = Volume::default();
    let (bytes, packets) = limits(any, false);
    assert_eq!(bytes, Limit::NONE);
    assert!(packets.soft < packets.hard && packets.hard < u64::from(u32::MAX), "{packets:?}");
    assert_eq!(limits(any, true), (Limit::NONE, Limit::NONE));

    let some = Volume { bytes: Some(1_000), packets: Some(u64::MAX) };
    assert_eq!(limits(some, false).0, Limit { soft: 1_000, hard: 1_250 });
    assert_eq!(limits(some, false).1, packets);
    assert!(limits(some, true).1.hard >= limits(some, true).1.soft);
    let least = Volume { bytes: Some(u64::MAX), packets: Some(0) };
    assert_eq!(limits(least, true).1, Limit { soft: 0, hard: 1 });
}
