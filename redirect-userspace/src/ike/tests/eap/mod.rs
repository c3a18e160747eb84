//! IKE_AUTH with EAP, of both roles.

mod aaa;
mod client;
mod ends;
mod gateway;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::crypto::mschap::NtHash;
use crate::ike::authn::eap::mschapv2::{Password, Passwords, Users};
use crate::ike::authn::eap::{
    By, Credentials, Gate, Maker, Method, MethodContext, Msk, Outcome, Turn, packet,
};
use crate::ike::config::{LocalProof, RemoteProof};
use crate::ike::wire::{Eap, EapCode, EapType, Payload, PayloadType};
use crate::secret::Secret;
use crate::testing::pair::{name, profile};

/// The password of alice.
const PASSWORD: &str = "correct horse";

/// A method of so many rounds, after which both have the same key.
#[derive(Clone, Copy, Debug)]
struct Toy {
    kind: EapType,
    rounds: u8,
    is_server: bool,
    is_safe: bool,
    has_key: bool,
}

impl Toy {
    fn server(rounds: u8) -> Self {
        Self { kind: EapType::Tls, rounds, is_server: true, is_safe: true, has_key: true }
    }

    fn client(self) -> Self {
        // One round more of the server: its last request is answered by the end.
        Self { is_server: false, rounds: self.rounds.saturating_sub(1), ..self }
    }
}

impl Maker for Toy {
    fn kind(&self) -> EapType {
        self.kind
    }

    fn may_stand_alone(&self) -> bool {
        self.is_safe
    }

    fn begin(&self, _identity: &str) -> Box<dyn Method> {
        Box::new(*self)
    }
}

impl Method for Toy {
    fn kind(&self) -> EapType {
        self.kind
    }

    fn step(&mut self, _ctx: &mut MethodContext<'_>, _data: &[u8]) -> Turn {
        if self.rounds > 0 {
            self.rounds -= 1;
            return Turn::Send(vec![self.rounds]);
        }
        let keys = self.has_key.then(|| Msk::new(&[7; 64])).flatten();
        let last = (!self.is_server).then(Vec::new);
        Turn::Done { last, outcome: Outcome { keys, identity: None, valid_until: None } }
    }
}

fn passwords() -> Arc<dyn Maker> {
    let users = [("alice", PASSWORD), ("bob", "battery")];
    let users = users.map(|(name, password)| (name.into(), NtHash::new(password).unwrap()));
    Arc::new(Passwords { users: Arc::new(Users::new(users)), name: "gw1".into() })
}

fn gate(makers: Vec<Arc<dyn Maker>>) -> Gate {
    Gate { by: By::Us(makers), asks_identity: false, redirects_first: false, stands_alone: true }
}

/// Who a client is by EAP, with a password.
fn user(identity: &str, password: &str) -> Credentials {
    let maker = Arc::new(Password(NtHash::new(password).unwrap()));
    Credentials { identity: identity.into(), maker, stands_alone: false }
}

fn by(toy: Toy, stands_alone: bool) -> Credentials {
    Credentials { identity: "alice".into(), maker: Arc::new(toy), stands_alone }
}

/// A gateway with this gate, and a client with these credentials, whose messages can be read. The gateway
/// proves itself by a key that both know.
fn with(gate: Gate, credentials: Credentials) -> Plan {
    let key = || Secret::from(&b"the gateway's key"[..]);
    let client =
        profile("", "vpn.example.net", LocalProof::Eap(Arc::new(credentials)), RemoteProof::SharedKey(key()));
    let gateway =
        profile("vpn.example.net", "*", LocalProof::SharedKey(key()), RemoteProof::Eap(Arc::new(gate)));
    Plan { provider: Provider::Null, ..Plan::with(client, gateway) }
}

/// The same with passwords, and alice.
fn plan() -> Plan {
    with(gate(vec![passwords()]), user("alice", PASSWORD))
}

/// The pair after so many datagrams.
fn after(plan: Plan, datagrams: usize) -> Pair {
    let mut pair = plan.build();
    pair.initiate();
    for number in 0..datagrams {
        assert!(pair.deliver(), "datagram {number}");
    }
    pair
}

/// Changes the next datagram, which is for `to`.
fn change(pair: &mut Pair, to: End, change: impl FnOnce(&mut Vec<Payload<'_>>)) {
    let flying = pair.take(to);
    let octets = Plain::open(&flying.octets).with(change).seal();
    pair.wire.push_front(Flying { octets, ..flying });
}

/// What is put in the place of an EAP packet.
type Replacement = fn(&Eap<'_>) -> Vec<u8>;

/// Puts this EAP packet in the place of the one in the next datagram.
fn replace(pair: &mut Pair, to: End, with: impl FnOnce(&Eap<'_>) -> Vec<u8>) {
    change(pair, to, |payloads| {
        for payload in payloads {
            if let Payload::Eap(eap) = payload {
                let packet = with(eap);
                *payload = Payload::Eap(Eap::new(packet).unwrap());
                return;
            }
        }
        panic!("no EAP packet");
    });
}

/// Nothing has come of it, and in the end nothing is left of it.
fn assert_nothing(pair: &mut Pair, what: &str) {
    assert!(pair.client.plane.is_empty() && pair.gateway.plane.is_empty(), "{what}");
    for end in ENDS {
        assert_eq!(pair.side(end).endpoint.counts().established, 0, "{what} {end:?}");
    }
    assert_eq!(pair.gateway.pools.held(), 0, "{what}");
    pair.pass(Duration::from_secs(200));
    for end in ENDS {
        assert_eq!(pair.sas(end), [], "{what} {end:?}");
    }
}

/// The types of EAP packets that were sent by one of them, as far as they have one.
fn said(pair: &Pair, by: End) -> Vec<(EapCode, Option<EapType>)> {
    let mut packets = Vec::new();
    for flying in pair.sent.iter().filter(|flying| flying.to == by.other()) {
        let plain = Plain::open(&flying.octets);
        for payload in plain.payloads() {
            if let Payload::Eap(eap) = payload {
                packets.push((eap.code, eap.kind));
            }
        }
    }
    packets
}
