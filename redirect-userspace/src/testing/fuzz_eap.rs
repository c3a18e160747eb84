//! Bodies of the fuzz targets for EAP, which tests call as well. Each takes any octets and panics when a
//! promise is broken.

use std::sync::Arc;

use crate::crypto::mschap::{AUTHENTICATOR_LENGTH, CHALLENGE_LENGTH, NtHash, RESPONSE_LENGTH};
use crate::ike::authn::eap::mschapv2::packet::Packet;
use crate::ike::authn::eap::mschapv2::{Password, Passwords, Users};
use crate::ike::authn::eap::{
    Budget, Client, Credentials, Guesses, Heard, Maker, MethodContext, Reply, Server, identity, packet,
};
use crate::ike::wire::{Eap, EapCode, EapType};
use crate::rng::Rng;
use crate::time::Now;

/// Any octets as an EAP packet, and as what is inside one of MSCHAPv2: what is read is written as it was.
///
/// # Panics
///
/// A promise is broken.
pub fn eap_packets(octets: &[u8]) {
    if let Ok(eap) = Eap::decode(octets) {
        assert_eq!(eap.packet(), octets, "a packet is all of its octets");
        let again = match (eap.code, eap.kind) {
            (EapCode::Request, Some(kind)) => packet::request(eap.identifier, kind, eap.data()),
            (EapCode::Response, Some(kind)) => packet::response(eap.identifier, kind, eap.data()),
            (EapCode::Success, _) => Some(packet::success(eap.identifier)),
            (EapCode::Failure, _) => Some(packet::failure(eap.identifier)),
            (_, _) => None,
        };
        assert!(again.is_none_or(|again| again == octets), "it is written as it was");
        assert!(packet::wanted(&eap).count() <= eap.data().len());
        drop(identity(&eap));
    }
    if let Ok(packet) = Packet::of_client(octets) {
        assert_eq!(Packet::of_client(&packet.encode()).as_ref(), Ok(&packet), "what is said comes back");
    }
    if let Ok(packet) = Packet::of_server(octets) {
        assert_eq!(Packet::of_server(&packet.encode()).as_ref(), Ok(&packet), "what is said comes back");
    }
}

/// What a fuzzer of EAP packets starts from: one packet of each kind, whole, and what is inside those of
/// MSCHAPv2.
#[must_use]
pub fn eap_seeds() -> Vec<Vec<u8>> {
    let (challenge, response) = ([7; CHALLENGE_LENGTH], [8; RESPONSE_LENGTH]);
    let of_server = [
        Packet::Challenge { id: 1, challenge, name: b"gateway".into() },
        Packet::Success { id: 1, authenticator: [9; AUTHENTICATOR_LENGTH] },
        Packet::Failure { id: 1, error: 691 },
    ];
    let of_client = [
        Packet::Response { id: 1, challenge, response, name: "alice".into() },
        Packet::SuccessSeen,
        Packet::FailureSeen,
    ];
    // EAP-TLS: a start; a message whole, with its length, and as a fragment; and a confirmation.
    let tls: [&[u8]; 5] = [
        &[0x20],
        &[0x00, 0x16, 0x03, 0x03, 0x00, 0x01, 0x00],
        &[0x80, 0, 0, 0, 6, 0x16, 0x03, 0x03, 0x00, 0x01, 0x00],
        &[0xc0, 0, 0, 0, 12, 0x16, 0x03, 0x03, 0x00, 0x07, 0x00],
        &[0x00],
    ];
    let bare = of_server.iter().chain(&of_client).map(Packet::encode);
    let mut packets: Vec<Option<Vec<u8>>> = vec![
        packet::request(1, EapType::Identity, b""),
        packet::request(1, EapType::Identity, b"Who are you?"),
        packet::response(1, EapType::Identity, b"alice@example.net"),
        packet::request(2, EapType::Notification, b"The password ends soon."),
        packet::response(2, EapType::Notification, b""),
        packet::response(3, EapType::Nak, &[26, 13]),
        Some(packet::success(4)),
        Some(packet::failure(5)),
    ];
    packets.extend(of_server.iter().map(|it| packet::request(6, EapType::MschapV2, &it.encode())));
    packets.extend(of_client.iter().map(|it| packet::response(6, EapType::MschapV2, &it.encode())));
    packets.extend(tls.iter().map(|data| packet::request(7, EapType::Tls, data)));
    packets.extend(tls.iter().map(|data| packet::response(7, EapType::Tls, data)));
    packets.into_iter().flatten().chain(bare).collect()
}

/// A client and a gateway between whom every packet may be changed: octets of `script` say which and
/// how. Nobody passes whose packets were changed in what counts, and everything has an end.
///
/// # Panics
///
/// A promise is broken.
pub fn eap_conversations(script: &[u8]) {
    let mut script = script.iter().copied();
    let (Some(knows), Some(asks)) = (script.next(), script.next()) else { return };
    let Some(password) = NtHash::new("correct horse") else { return };
    let is_right = knows & 1 == 0;
    let Some(claimed) = (if is_right { Some(password.clone()) } else { NtHash::new("wrong") }) else {
        return;
    };
    let users = Arc::new(Users::new([("alice".into(), password)]));
    let makers: Vec<Arc<dyn Maker>> = vec![Arc::new(Passwords { users, name: "gw".into() })];
    let credentials =
        Credentials { identity: "alice".into(), maker: Arc::new(Password(claimed)), stands_alone: false };
    let (mut rng, mut guesses) = (Rng::from_number(1), Guesses::default());
    let ctx = &mut MethodContext { now: Now::default(), rng: &mut rng, guesses: &mut guesses };
    let mut client = Client::new(Arc::new(credentials));
    let (mut server, mut reply) = Server::begin(ctx, makers, (asks & 1 == 0).then_some("alice"));
    for _ in 0..=2 * Budget::ROUNDS {
        let sent = match reply {
            Reply::Request(packet) => packet,
            Reply::Success(_, outcome) => {
                assert!(is_right && outcome.keys.is_some(), "nobody gets in without a password");
                return;
            }
            Reply::Failure(..) => return,
        };
        let Some(answer) = hear(&mut client, ctx, &changed(sent, &mut script)) else { return };
        let answer = changed(answer, &mut script);
        let Ok(eap) = Eap::decode(&answer) else { return };
        reply = server.take(ctx, &eap);
    }
    unreachable_end();
}

/// What the client answers.
fn hear(client: &mut Client, ctx: &mut MethodContext<'_>, packet: &[u8]) -> Option<Vec<u8>> {
    match client.take(ctx, &Eap::decode(packet).ok()?) {
        Heard::Answer(answer) => Some(answer),
        Heard::Success(outcome) => {
            assert!(outcome.keys.is_some(), "no success without a key");
            None
        }
        Heard::Failure(_) => None,
    }
}

/// The packet, with some octets other ones.
fn changed(mut packet: Vec<u8>, script: &mut impl Iterator<Item = u8>) -> Vec<u8> {
    // Mostly it stays as it is, so that something comes of it.
    for _ in 0..script.next().unwrap_or(0) & 3 {
        let (Some(at), Some(flip)) = (script.next(), script.next()) else { break };
        let length = packet.len().max(1);
        if let Some(octet) = packet.get_mut(usize::from(at) % length) {
            *octet ^= flip;
        }
    }
    packet
}

#[expect(clippy::panic, reason = "test support may fail loudly")]
fn unreachable_end() {
    panic!("a conversation without an end");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seeds_are_what_they_should_be_whole_cut_and_changed() {
        let seeds = eap_seeds();

        let whole = seeds.iter().filter(|seed| Eap::decode(seed).is_ok()).count();
        let inside =
            seeds.iter().filter(|seed| Packet::of_server(seed).is_ok() || Packet::of_client(seed).is_ok());
        assert!(whole >= 24 && inside.count() >= 6, "{whole}");
        for seed in seeds {
            for length in 0..=seed.len() {
                eap_packets(&seed[..length]);
            }
            for at in 0..seed.len() {
                for flip in [0x01, 0x02, 0x10, 0x80, 0xff] {
                    let mut changed = seed.clone();
                    changed[at] ^= flip;
                    eap_packets(&changed);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn anything_can_be_a_packet(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            eap_packets(&octets);
        }

        #[test]
        fn anything_can_be_inside_a_packet(
            code in 0_u8..6, id in any::<u8>(), rest in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let length = u16::try_from(4 + rest.len()).unwrap().to_be_bytes();
            eap_packets(&[&[code, id], &length[..], &rest].concat());
        }

        #[test]
        fn anything_can_happen_on_the_way(script in proptest::collection::vec(any::<u8>(), 0..60)) {
            eap_conversations(&script);
        }

        #[test]
        fn little_can_happen_on_the_way(
            knows in 0_u8..2, asks in 0_u8..2, script in proptest::collection::vec(0_u8..4, 0..60),
        ) {
            eap_conversations(&[&[knows, asks], &script[..]].concat());
        }
    }
}
