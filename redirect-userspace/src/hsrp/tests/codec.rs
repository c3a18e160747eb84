//! Octets of both versions, literally.

use proptest::prelude::*;

use super::*;
use crate::codec::DecodeError;
use crate::hsrp::Discard;
use crate::hsrp::wire::{Datagram, InterfaceState, WireError, decode};

fn octets(hex: &str) -> Vec<u8> {
    let hex: Vec<u8> = hex.bytes().filter(|octet| !octet.is_ascii_whitespace()).collect();
    hex.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn malformed(error: DecodeError) -> Result<Datagram, WireError> {
    Err(WireError::Malformed(error))
}

/// Payloads of Cisco's routers with their key and sender: state, opcode, and all octets.
const MD5_VECTORS: [(Version, &str, &str, State, Opcode, &str); 9] = [
    (
        Version::V1,
        "password12345",
        "10.0.0.20",
        State::Speak,
        Opcode::Hello,
        "000004030a64010000000000000000000a000064041c010000000a0000140000000052e1db09d18d695b8fefb3730ff8d9d6",
    ),
    (
        Version::V1,
        "password12345",
        "10.0.0.20",
        State::Standby,
        Opcode::Hello,
        "000008030a64010000000000000000000a000064041c010000000a00001400000000e642b4bf20d0e4f9ac4cb36d7734bb86",
    ),
    (
        Version::V1,
        "password12345",
        "10.0.0.10",
        State::Active,
        Opcode::Hello,
        "000010030a6e010000000000000000000a000064041c010000000a00000a0000000054fc3be1c0c4adc5abec53109d6c6c79",
    ),
    (
        Version::V1,
        "password12345",
        "10.0.0.10",
        State::Active,
        Opcode::Coup,
        "000110030a6e010000000000000000000a000064041c010000000a00000a0000000070c7f0906c4deb74a38a798a200f91d6",
    ),
    (
        Version::V1,
        "openwall12345",
        "10.0.0.20",
        State::Active,
        Opcode::Hello,
        "000010030a64010000000000000000000a000064041c010000000a00001400000000f02fc41b1b516e2d1261d8800d39ccea",
    ),
    (
        Version::V2,
        "password12345",
        "10.0.0.10",
        State::Speak,
        Opcode::Hello,
        "0128020004040001aabbcc000a000000006400000bb8000027100a000064000000000000000000000000041c010000000a00000a0000000057df79f8255f587e39fe1949eb100047",
    ),
    (
        Version::V2,
        "password12345",
        "10.0.0.10",
        State::Standby,
        Opcode::Hello,
        "0128020005040001aabbcc000a000000006400000bb8000027100a000064000000000000000000000000041c010000000a00000a000000000fda2a976fe98345b10123a3098b483e",
    ),
    (
        Version::V2,
        "password12345",
        "10.0.0.10",
        State::Active,
        Opcode::Hello,
        "0128020006040001aabbcc000a000000006400000bb8000027100a000064000000000000000000000000041c010000000a00000a000000008a5f94400d98328e808cea6941c330e9",
    ),
    (
        Version::V2,
        "password",
        "10.0.0.10",
        State::Active,
        Opcode::Hello,
        "0128020006040001aabbcc000a000000006400000bb8000027100a000064000000000000000000000000041c010000000a00000a00000000642fedafe1f374bd2fdd8f1ba81d87a2",
    ),
];

#[test]
fn what_ciscos_routers_send_with_md5_is_what_we_send_and_accept() {
    for (version, key, sender, state, opcode, hex) in MD5_VECTORS {
        let payload = octets(hex);
        let sender: IpAddr = sender.parse().unwrap();
        let message = Message {
            opcode,
            state: SenderState::Is(state),
            group: GroupNumber::new(1).unwrap(),
            priority: if sender.to_string() == "10.0.0.10" && version == Version::V1 { 110 } else { 100 },
            hello: secs(3),
            hold: secs(10),
            vip: "10.0.0.100".parse().unwrap(),
            identifier: match version {
                Version::V1 => MacAddress::default(),
                Version::V2 => MacAddress([0xaa, 0xbb, 0xcc, 0, 0x0a, 0]),
            },
        };
        let keys = md5(key, None, 0);

        assert_eq!(auth::seal(version, message, &keys, sender), payload, "{hex}");

        let datagram = decode(version, &payload).unwrap();
        assert_eq!(datagram.message, Some(message), "{hex}");
        assert_eq!(datagram.encode(version), payload, "{hex}");
        assert_eq!(auth::check(&datagram, &payload, sender, &keys, None), Ok(()), "{hex}");
    }
}

#[test]
fn a_version_1_hello_has_the_octets_of_the_rfc() {
    let mut settings = settings();
    settings.version = Version::V1;

    let payload = sealed(&settings, 2, message(&settings, 2, Opcode::Hello, State::Active));

    assert_eq!(payload, octets("00 00 10 03 0a 64 01 00  63 69 73 63 6f 00 00 00  0a 00 00 64"));
}

#[test]
fn a_version_2_hello_with_text_has_its_two_elements() {
    let mut settings = settings();
    settings.timers = timers(250, 800);
    settings.group = GroupNumber::new(920).unwrap();

    let payload = sealed(&settings, 2, message(&settings, 2, Opcode::Coup, State::Listen));

    assert_eq!(
        payload,
        octets(
            "01 28 02 01 03 04 03 98  02 00 00 00 00 02  00 00 00 64  00 00 00 fa  00 00 03 20
             0a 00 00 64 00 00 00 00 00 00 00 00 00 00 00 00  03 08 63 69 73 63 6f 00 00 00"
        )
    );
}

#[test]
fn an_ipv6_hello_carries_the_link_local_virtual_address() {
    let mut settings = settings();
    settings.vips = vec!["fd50::5".parse().unwrap()];
    settings.authentication = md5("secret", None, 0);

    let payload = sealed(&settings, 2, message(&settings, 2, Opcode::Hello, State::Standby));

    let expected = octets(
        "01 28 02 00 05 06 00 01  02 00 00 00 00 02  00 00 00 64  00 00 0b b8  00 00 27 10
         fe 80 00 00 00 00 00 00 00 05 73 ff fe a0 00 01
         04 1c 01 00 00 00  00 00 00 02  00 00 00 00",
    );
    assert_eq!(payload[..56], expected);
    assert_eq!(payload.len(), 72);
    let datagram = decode(Version::V2, &payload).unwrap();
    let source = address(2, &settings);
    assert_eq!(auth::check(&datagram, &payload, source, &settings.authentication, None), Ok(()));
}

#[test]
fn version_1_rounds_times_up_and_keeps_the_hold_time_longer() {
    let mut settings = settings();
    settings.version = Version::V1;
    for (hello, hold, expected) in [(15, 50, [1, 2]), (250, 800, [1, 2]), (999, 3_000, [1, 3])] {
        settings.timers = timers(hello, hold);

        let payload = sealed(&settings, 2, message(&settings, 2, Opcode::Hello, State::Active));

        assert_eq!(payload[3..5], expected, "{hello} {hold}");
    }
}

#[test]
fn interface_states_of_both_versions_are_read_and_written() {
    let state = |state, active, passive| Datagram {
        interface: Some(InterfaceState { state, active, passive }),
        ..Datagram::default()
    };
    for (version, hex, expected) in [
        (Version::V1, "0003 0001 000e 02 00 0000 0001 00000000", state(2, 0, 1)),
        (Version::V1, "0003 0001 000e 03 00 0001 0000 00000000", state(3, 1, 0)),
        (Version::V2, "02 04 0000 0001", state(2, 0, 1)),
        (Version::V2, "02 04 0001 0000", state(3, 1, 0)),
    ] {
        let payload = octets(hex);

        assert_eq!(decode(version, &payload), Ok(expected), "{hex}");
        assert_eq!(expected.encode(version), payload, "{hex}");
    }
    // Cisco leaves octets of earlier packets at the end.
    let payload = octets("0003 0001 000e 02 00 0000 0001 6f000000");
    assert_eq!(decode(Version::V1, &payload), Ok(state(2, 0, 1)));
}

#[test]
fn unknown_elements_are_skipped_by_their_length() {
    let settings = settings();
    let hello = sealed(&settings, 2, message(&settings, 2, Opcode::Hello, State::Speak));
    let plain = decode(Version::V2, &hello);
    let (group, text) = hello.split_at(42);

    for unknown in [&[9, 0][..], &[200, 3, 1, 2, 3], &[0, 1, 7]] {
        assert_eq!(decode(Version::V2, &[group, unknown, text].concat()), plain);
        assert_eq!(decode(Version::V2, &[&hello, unknown].concat()), plain);
    }
    // The first octet alone tells the versions apart.
    assert_eq!(decode(Version::V2, &[&[200, 0], &hello[..]].concat()), plain);
}

#[test]
fn a_datagram_with_wrong_octets_says_what_is_wrong() {
    let settings = settings();
    let v2 = sealed(&settings, 2, message(&settings, 2, Opcode::Hello, State::Speak));
    let with = |at: usize, octet: u8| {
        let mut payload = v2.clone();
        payload[at] = octet;
        decode(Version::V2, &payload)
    };
    let value = |what, value| malformed(DecodeError::Value { what, value });
    let length = |what, value| malformed(DecodeError::Length { what, value });

    assert_eq!(with(0, 0), Err(WireError::OtherVersion));
    assert_eq!(with(2, 3), value("version", 3));
    assert_eq!(with(3, 3), value("opcode", 3));
    assert_eq!(with(5, 5), value("IP version", 5));
    assert_eq!(with(6, 0x10), value("group", 0x1001));
    assert_eq!(with(14, 1), value("priority", 0x0100_0064));
    assert_eq!(with(1, 39), length("group state", 39));
    assert_eq!(with(43, 7), length("text element", 7));
    assert_eq!(with(42, 1), length("group state", 8));
    assert_eq!(with(1, 255), malformed(DecodeError::Truncated { what: "element", need: 255, have: 50 }));
    assert_eq!(
        decode(Version::V2, &[&v2[..], &v2[..42]].concat()),
        value("group state", 2),
        "a second group state"
    );
    assert_eq!(
        decode(Version::V2, &v2[42..]),
        malformed(DecodeError::Truncated { what: "datagram", need: 40, have: 10 }),
        "no group state"
    );
    assert!(matches!(decode(Version::V1, &v2), Err(WireError::OtherVersion)));

    let v1 = octets("00 00 10 03 0a 64 01 00  63 69 73 63 6f 00 00 00  0a 00 00 64");
    for cut in 0..v1.len() {
        assert!(matches!(decode(Version::V1, &v1[..cut]), Err(WireError::Malformed(_))), "{cut}");
    }
    assert!(matches!(decode(Version::V1, &[&v1[..], &[0]].concat()), Err(WireError::Malformed(_))));
    let mut opcode = v1.clone();
    opcode[1] = 4;
    assert_eq!(decode(Version::V1, &opcode), value("opcode", 4));
    let advertisement = octets("0003 0002 000e 02 00 0000 0001 00000000");
    assert_eq!(decode(Version::V1, &advertisement), value("type of advertisement", 2));
    let advertisement = octets("0003 0001 000d 02 00 0000 0001 00000000");
    assert_eq!(decode(Version::V1, &advertisement), length("advertisement", 13));
    let advertisement = octets("0003 0001 000e 02 00 0000 0001 0000000000");
    assert_eq!(
        decode(Version::V1, &advertisement),
        malformed(DecodeError::Trailing { what: "advertisement", extra: 1 })
    );
}

#[test]
fn unknown_states_are_kept_as_they_are() {
    for (version, at) in [(Version::V1, 2), (Version::V2, 4)] {
        let settings = Settings { version, ..settings() };
        let mut payload = sealed(&settings, 2, message(&settings, 2, Opcode::Coup, State::Speak));
        payload[at] = 77;

        let datagram = decode(version, &payload).unwrap();

        assert_eq!(datagram.message.unwrap().state, SenderState::Unknown(77));
        assert_eq!(datagram.encode(version), payload);
    }
}

#[test]
fn one_octet_of_difference_makes_a_digest_worthless() {
    for version in [Version::V1, Version::V2] {
        let settings = Settings { version, authentication: md5("secret", None, 0), ..settings() };
        let source = address(2, &settings);
        let payload = sealed(&settings, 2, message(&settings, 2, Opcode::Hello, State::Active));
        for at in 0..payload.len() {
            for flip in [0x01, 0x80] {
                let mut payload = payload.clone();
                payload[at] ^= flip;
                let Ok(datagram) = decode(version, &payload) else { continue };

                let checked = auth::check(&datagram, &payload, source, &settings.authentication, None);

                assert!(checked.is_err(), "octet {at} of version {version}");
            }
        }
    }
}

#[test]
fn octets_that_mean_nothing_are_under_the_digest() {
    // Behind an IPv4 address, as Cisco's routers leave them there.
    let settings = Settings { authentication: md5("secret", None, 0), ..settings() };
    let source = address(2, &settings);
    let mut payload = sealed(&settings, 2, message(&settings, 2, Opcode::Hello, State::Active));
    payload[30..42].copy_from_slice(&octets("0a000064910102ee05000000"));
    let Authentication::Md5(keys) = &settings.authentication else { panic!() };

    let digest = auth::digest(&keys.key, &payload, payload.len() - 16);
    let at = payload.len() - 16;
    payload[at..].copy_from_slice(&digest);

    let datagram = decode(Version::V2, &payload).unwrap();
    assert_eq!(auth::check(&datagram, &payload, source, &settings.authentication, None), Ok(()));
    assert_eq!(datagram.message.unwrap().vip.to_string(), "10.0.0.100");
}

#[test]
fn each_way_of_authentication_refuses_the_others() {
    let text = Authentication::Text("secret".parse().unwrap());
    let other_text = Authentication::Text("secreT".parse().unwrap());
    let keyed = md5("secret", None, 0);
    for version in [Version::V1, Version::V2] {
        let check = |sender: &Authentication, receiver: &Authentication, source: u8| {
            let settings = Settings { version, authentication: sender.clone(), ..settings() };
            let payload = sealed(&settings, 2, message(&settings, 2, Opcode::Hello, State::Active));
            let datagram = decode(version, &payload).unwrap();
            auth::check(&datagram, &payload, address(source, &settings), receiver, None)
        };

        assert_eq!(check(&text, &text, 2), Ok(()));
        assert_eq!(check(&text, &other_text, 2), Err(Discard::AuthenticationValue));
        assert_eq!(check(&text, &keyed, 2), Err(Discard::AuthenticationScheme));
        assert_eq!(check(&keyed, &text, 2), Err(Discard::AuthenticationScheme));
        assert_eq!(check(&keyed, &keyed, 2), Ok(()));
        assert_eq!(check(&keyed, &md5("other", None, 0), 2), Err(Discard::AuthenticationValue));
        assert_eq!(check(&keyed, &md5("new", Some("secret"), 0), 2), Ok(()));
        assert_eq!(check(&keyed, &keyed, 3), Err(Discard::AuthenticationValue), "under another address");
    }
}

#[test]
fn a_version_2_hello_without_authentication_is_of_another_scheme() {
    let settings = settings();
    let payload = sealed(&settings, 2, message(&settings, 2, Opcode::Hello, State::Active));
    let datagram = decode(Version::V2, &payload[..42]).unwrap();

    let checked =
        auth::check(&datagram, &payload[..42], address(2, &settings), &settings.authentication, None);

    assert_eq!(checked, Err(Discard::AuthenticationScheme));
}

fn any_message() -> impl Strategy<Value = Message> {
    let opcode = prop_oneof![Just(Opcode::Hello), Just(Opcode::Coup), Just(Opcode::Resign)];
    let vip = prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| IpAddr::V4(octets.into())),
        any::<[u8; 16]>().prop_map(|octets| IpAddr::V6(octets.into())),
    ];
    (opcode, 0..6_usize, 0..=4_095_u16, any::<u8>(), any::<[u32; 2]>(), vip, any::<[u8; 6]>()).prop_map(
        |(opcode, state, group, priority, [hello, hold], vip, identifier)| Message {
            opcode,
            state: SenderState::Is(State::ALL[state]),
            group: GroupNumber::new(group).unwrap(),
            priority,
            hello: Duration::from_millis(hello.into()),
            hold: Duration::from_millis(hold.into()),
            vip,
            identifier: MacAddress(identifier),
        },
    )
}

proptest! {
    #[test]
    fn what_version_2_writes_it_reads(message in any_message(), text in any::<Option<[u8; 8]>>()) {
        let datagram = Datagram { message: Some(message), text, ..Datagram::default() };

        prop_assert_eq!(decode(Version::V2, &datagram.encode(Version::V2)), Ok(datagram));
    }

    #[test]
    fn any_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        for version in [Version::V1, Version::V2] {
            if let Ok(datagram) = decode(version, &octets) {
                // Whatever can be read can be written, and then reads the same.
                let again = decode(version, &datagram.encode(version)).unwrap();
                prop_assert_eq!(datagram.message, again.message);
                prop_assert_eq!(datagram.interface, again.interface);
                prop_assert_eq!(datagram.text, again.text);
                prop_assert_eq!(datagram.md5.map(|md5| md5.digest), again.md5.map(|md5| md5.digest));
            }
        }
    }
}
