//! Published octets: requests whose replies are known in full.

use common::decide::{Verdict, decide};
use redirect_userspace::testing::fixtures::{CLIENT4, CLIENT6, GATEWAY_ALL, VIP4, VIP6, World};
use redirect_userspace::testing::packets::Packet;

const REQUEST: &str = "1122334455667788000000000000000021202208000000000000009822000028000000240101000303\
    00000c01000014800e01000300000802000005000000080400001f28000028001f0000404142434445464748494a4b4c4d4e4f\
    505152535455565758595a5b5c5d5e5f29000024000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\
    0000000800004016";
const NONCE: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

#[test]
fn the_reply_to_an_ipv4_request_is_known_to_the_octet() {
    let reply = answer(Packet::request(CLIENT4, VIP4));

    // IP, UDP and IKE, with the UDP checksum.
    let expected = "450000660000400040114e42c000020ac633640701f401f40052bddd\
        1122334455667788000000000000000029202220000000000000004a0000002e000040170104c0000215";
    assert_eq!(hex(&reply[14..]), format!("{expected}{NONCE}"));
}

#[test]
fn the_reply_to_an_ipv6_request_is_known_to_the_octet() {
    let reply = answer(Packet::request(CLIENT6, VIP6));

    let expected = "112233445566778800000000000000002920222000000000000000560000003a00004017\
        021020010db8000000000000000000000021";
    assert_eq!(hex(&reply[14 + 40 + 8..]), format!("{expected}{NONCE}"));
}

fn answer(mut packet: Packet) -> Vec<u8> {
    packet.raw = Some(octets(REQUEST));
    let mut frame = packet.build();
    let Verdict::Redirect { length, .. } = decide(frame.as_mut_slice(), &World::towards(GATEWAY_ALL)) else {
        panic!("not redirected");
    };
    frame.truncate(length);
    frame
}

fn octets(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
