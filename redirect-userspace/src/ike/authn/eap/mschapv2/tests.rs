//! Both sides, and packets that should not be.

use std::sync::Arc;
use std::time::Duration;

use super::packet::Packet;
use super::*;
use crate::codec::DecodeError;
use crate::crypto::mschap::NtHash;
use crate::ike::authn::eap::{Guesses, Maker as _, Method, MethodContext, MethodError, Outcome, Turn};
use crate::rng::Rng;
use crate::time::Now;

struct World {
    now: Now,
    rng: Rng,
    guesses: Guesses,
    server: Passwords,
}

impl World {
    fn new() -> Self {
        let users = [("alice", "correct horse"), ("bob@example.net", "battery")];
        let users = users.map(|(name, password)| (name.into(), NtHash::new(password).unwrap()));
        let server = Passwords { users: Arc::new(Users::new(users)), name: "gw1".into() };
        Self { now: Now::default(), rng: Rng::from_number(3), guesses: Guesses::default(), server }
    }

    fn step(&mut self, method: &mut dyn Method, data: &[u8]) -> Turn {
        let ctx = &mut MethodContext { now: self.now, rng: &mut self.rng, guesses: &mut self.guesses };
        method.step(ctx, data)
    }

    /// Lets a client with this name and password talk to the end; gives what both make of it.
    fn talk(&mut self, name: &str, password: &str) -> [Result<Outcome, MethodError>; 2] {
        let mut server = self.server.begin("");
        let mut client = Password(NtHash::new(password).unwrap()).begin(name);
        let mut ends = [None, None];
        let mut data = Vec::new();
        for turn in 0..10 {
            let end = turn % 2;
            let method: &mut dyn Method = if end == 0 { &mut *server } else { &mut *client };
            let last = match self.step(method, &data) {
                Turn::Send(data) => Some(data),
                Turn::Done { last, outcome } => {
                    ends[end] = Some(Ok(outcome));
                    last
                }
                Turn::Failed { last, error } => {
                    ends[end] = Some(Err(error));
                    last
                }
            };
            match last {
                // Whoever has failed waits for an answer, and does not look at it.
                Some(next) if ends[end ^ 1].is_none() => data = next,
                Some(_) | None => break,
            }
        }
        ends.map(|end| end.unwrap_or(Err(MethodError::Local("it has not ended"))))
    }
}

fn challenge(turn: Turn) -> Vec<u8> {
    let Turn::Send(data) = turn else { panic!("{turn:?}") };
    data
}

#[test]
fn both_believe_each_other_and_have_the_same_key() {
    for (name, password, known) in [
        ("alice", "correct horse", "alice"),
        ("EXAMPLE\\alice", "correct horse", "alice"),
        ("bob@example.net", "battery", "bob@example.net"),
    ] {
        let [ours, theirs] = World::new().talk(name, password);

        let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
        assert_eq!(ours.identity.as_deref(), Some(known));
        assert!(ours.keys.is_some() && ours.keys == theirs.keys, "{name}");
    }
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_the_same() {
    for (name, password) in [("alice", "wrong"), ("carol", "correct horse"), ("carol", ""), ("Alice", "x")] {
        let [ours, theirs] = World::new().talk(name, password);

        assert_eq!(ours.unwrap_err(), MethodError::Credentials, "{name}");
        assert_eq!(theirs.unwrap_err(), MethodError::Refused(691), "{name}");
    }
    // What is tried for those who are none is nobody's password.
    let mut world = World::new();
    let mut server = world.server.begin("");
    let asked = challenge(world.step(&mut *server, &[]));
    let mut client = Password(NtHash::of_nobody()).begin("carol");
    let response = challenge(world.step(&mut *client, &asked));
    assert!(matches!(
        world.step(&mut *server, &response),
        Turn::Failed { error: MethodError::Credentials, .. }
    ));
}

#[test]
fn a_user_is_locked_out_after_too_many_wrong_passwords_known_or_not() {
    for name in ["alice", "carol"] {
        let mut world = World::new();
        for number in 0..Guesses::FREE {
            // A domain in front of it does not make another user.
            let [_, theirs] = world.talk(&format!("D{number}\\{name}"), "wrong");
            assert_eq!(theirs.unwrap_err(), MethodError::Refused(691));
        }

        let [ours, theirs] = world.talk(name, "correct horse");
        assert_eq!(ours.unwrap_err(), MethodError::Locked, "{name}");
        assert_eq!(theirs.unwrap_err(), MethodError::Refused(647), "{name}");
        let [ours, _] = world.talk("bob@example.net", "battery");
        assert!(ours.is_ok(), "others are not");
    }
    let mut world = World::new();
    for _ in 0..Guesses::FREE {
        drop(world.talk("alice", "wrong"));
    }
    world.now = world.now.after(Guesses::LOCKED + Duration::from_secs(1));
    let [ours, _] = world.talk("alice", "correct horse");
    assert!(ours.is_ok(), "later it is over");
}

// test of RFC 2759 §5
#[test]
fn a_client_does_not_believe_a_server_that_does_not_know_its_password() {
    let mut world = World::new();
    let mut client = Password(NtHash::new("correct horse").unwrap()).begin("alice");
    let asked = Packet::Challenge { id: 7, challenge: [9; 16], name: b"gw"[..].into() }.encode();
    challenge(world.step(&mut *client, &asked));

    let turn = world.step(&mut *client, &Packet::Success { id: 7, authenticator: [1; 20] }.encode());

    assert!(matches!(turn, Turn::Failed { last: None, error: MethodError::Server }), "{turn:?}");
    let again = world.step(&mut *client, &Packet::Success { id: 7, authenticator: [1; 20] }.encode());
    assert!(matches!(again, Turn::Failed { .. }));
}

#[test]
fn a_server_whose_client_does_not_believe_it_lets_nobody_in() {
    let mut world = World::new();
    let mut server = world.server.begin("");
    let asked = challenge(world.step(&mut *server, &[]));
    let mut client = Password(NtHash::new("correct horse").unwrap()).begin("alice");
    let response = challenge(world.step(&mut *client, &asked));
    challenge(world.step(&mut *server, &response));

    let turn = world.step(&mut *server, &Packet::FailureSeen.encode());

    assert!(matches!(turn, Turn::Failed { last: None, error: MethodError::Refused(0) }));
}

#[test]
fn whatever_comes_at_the_wrong_time_ends_it() {
    let mut world = World::new();
    let response = |id| Packet::Response { id, challenge: [1; 16], response: [2; 24], name: "alice".into() };
    let of_client = [Packet::SuccessSeen.encode(), Packet::FailureSeen.encode()];
    for data in of_client {
        let mut server = world.server.begin("");
        challenge(world.step(&mut *server, &[]));
        assert!(matches!(world.step(&mut *server, &data), Turn::Failed { last: None, .. }), "{data:?}");
        let later = response(1).encode();
        assert!(matches!(world.step(&mut *server, &later), Turn::Failed { last: None, .. }), "later");
    }
    let mut server = world.server.begin("");
    let id = challenge(world.step(&mut *server, &[]))[1];
    let other = response(id.wrapping_add(1)).encode();
    assert!(matches!(world.step(&mut *server, &other), Turn::Failed { last: None, .. }), "another number");

    let of_server = [
        Packet::Success { id: 1, authenticator: [0; 20] }.encode(),
        Packet::Failure { id: 1, error: 691 }.encode(),
    ];
    for data in of_server {
        let mut client = Password(NtHash::new("x").unwrap()).begin("alice");
        assert!(matches!(world.step(&mut *client, &data), Turn::Failed { last: None, .. }), "{data:?}");
    }
}

#[test]
fn packets_are_read_as_they_are_written() {
    let of_server = [
        Packet::Challenge { id: 7, challenge: [9; 16], name: b"gw1"[..].into() },
        Packet::Success { id: 7, authenticator: [0xa5; 20] },
        Packet::Failure { id: 7, error: 648 },
    ];
    for packet in of_server {
        assert_eq!(Packet::of_server(&packet.encode()), Ok(packet));
    }
    let of_client = [
        Packet::Response { id: 7, challenge: [9; 16], response: [8; 24], name: "alice".into() },
        Packet::SuccessSeen,
        Packet::FailureSeen,
    ];
    for packet in of_client {
        assert_eq!(Packet::of_client(&packet.encode()), Ok(packet));
    }
    let failure = b"\x04\x07\x00\x35E=691 R=1 C=00112233445566778899AABBCCDDEEFF V=3 M=x".to_vec();
    let failure =
        [&failure[..2], &u16::try_from(failure.len()).unwrap().to_be_bytes(), &failure[4..]].concat();
    assert_eq!(Packet::of_server(&failure), Ok(Packet::Failure { id: 7, error: 691 }));
}

#[test]
fn no_packet_is_read_that_is_cut_short_or_goes_on() {
    let server = [
        Packet::Challenge { id: 7, challenge: [9; 16], name: b""[..].into() }.encode(),
        Packet::Success { id: 7, authenticator: [0xa5; 20] }.encode(),
        Packet::Failure { id: 7, error: 648 }.encode(),
    ];
    for packet in server {
        for length in 0..packet.len() {
            assert!(Packet::of_server(&packet[..length]).is_err(), "{length} of {packet:?}");
        }
        assert!(Packet::of_server(&[&packet[..], b"x"].concat()).is_err());
    }
    let response =
        Packet::Response { id: 7, challenge: [9; 16], response: [8; 24], name: "a".into() }.encode();
    for length in 0..response.len() {
        assert!(Packet::of_client(&response[..length]).is_err(), "{length}");
    }
    let with = |at: usize, octet: u8| {
        let mut packet = response.clone();
        packet[at] = octet;
        packet
    };
    assert!(Packet::of_client(&with(4, 48)).is_err(), "value size");
    assert!(Packet::of_client(&with(54, 0xff)).is_err(), "no text");
    assert!(Packet::of_client(&with(54, b'\n')).is_err(), "no name");
    assert_eq!(
        Packet::of_client(&[7]),
        Err(DecodeError::Value { what: "MSCHAPv2 packet", value: 7 }),
        "changing passwords is not for here"
    );
    for wrong in ["S=", "S=zz", "M=x", "E=", "E=x R=0", ""] {
        for code in [3, 4] {
            let length = u16::try_from(4 + wrong.len()).unwrap().to_be_bytes();
            let packet = [&[code, 1], &length[..], wrong.as_bytes()].concat();
            assert!(Packet::of_server(&packet).is_err(), "{code} {wrong:?}");
        }
    }
}
