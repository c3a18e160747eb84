//! Bodies of the fuzz targets for the IKE endpoint, which tests call as well.
//!
//! Each takes any octets and panics when a promise is broken: after every step the books of an
//! endpoint agree with each other, with the data plane and with the pools, and no deadline is past
//! ([`Pair`] sees to that). With the provider without security everything that is made up passes the
//! integrity check, so that it gets to the states behind it.

use std::sync::Arc;
use std::time::Duration;

use super::pair::{End, Flying, Nat, Pair, Plan};
use super::plain::Plain;
use crate::crypto::Provider;
use crate::crypto::mschap::NtHash;
use crate::ike::authn::eap::mschapv2::{Password, Passwords, Users};
use crate::ike::authn::eap::{By, Credentials, Gate, Msk, packet};
use crate::ike::config::{LocalProof, RemoteProof};
use crate::ike::wire::{
    Chain, Direction, ExchangeType, Header, Message, MessageId, OriginalRole, PayloadType, Version,
};
use crate::ike::{AaaAnswer, AaaVerdict, Command, Grants, Input, Path, SaSnapshot, SaState, Selection};

/// Octets of `script` are what happens to a client and a gateway: commands, time, and what a network
/// does whose every datagram they believe.
pub fn ike_endpoints(script: &[u8]) {
    run(short_lived(), script);
}

/// The same, where the client proves by EAP who it is: to the gateway, or to a server behind it, which
/// answers as the script says.
pub fn ike_endpoints_with_eap(script: &[u8]) {
    let Some((first, script)) = script.split_first() else { return };
    run(by_eap(short_lived(), first & 1 == 1), script);
}

fn run(plan: Plan, script: &[u8]) {
    let mut pair = Plan { provider: Provider::Null, ..plan }.build();
    let mut script = Script { octets: script };
    while let Some(act) = script.next() {
        let end = if act & 0x80 == 0 { End::Client } else { End::Gateway };
        match act & 0x1f {
            0 => pair.initiate(),
            1 => each_sa(&mut pair, end, |id| Command::RekeyIke(id.id)),
            2 => each_sa(&mut pair, end, |id| Command::RekeyChildren(id.id)),
            3 => another_child(&mut pair, end),
            4 => pair.command(end, Command::Clear(Selection::All)),
            5 if act & 0x60 == 0x60 => pair.command(end, Command::Shutdown),
            6 => pair.skip(Duration::from_millis(u64::from(script.or_zero()) * 100)),
            7 => pair.skip(Duration::from_secs(u64::from(script.or_zero()) * 4)),
            8 => drop(pair.wire.pop_front()),
            9 => {
                if let Some(flying) = pair.wire.front().cloned() {
                    pair.put(&flying);
                }
            }
            10 => {
                let count = pair.wire.len().max(1);
                pair.wire.rotate_left(usize::from(script.or_zero()) % count);
            }
            11 => change(&mut pair, &mut script),
            12 => change_inside(&mut pair, &mut script),
            13 => inject(&mut pair, end, &mut script),
            14 => replay(&mut pair, &mut script),
            // Long enough for both to take each other for dead.
            16 => {
                for _ in 0..8 {
                    pair.wire.clear();
                    pair.skip(Duration::from_secs(60));
                }
            }
            17 if !pair.gateway.questions.is_empty() => advise(&mut pair, &mut script),
            15 => pair.client.nat = Some(Nat { outside: [198, 51, 100, act].into(), ports: Some(20_000) }),
            _ => drop(pair.deliver()),
        }
    }
    // Time ends everything that nobody goes on with.
    pair.wire.clear();
    for _ in 0..40 {
        pair.skip(Duration::from_secs(3_600));
        pair.wire.clear();
    }
    for side in [&pair.client, &pair.gateway] {
        assert_eq!(side.endpoint.counts(), crate::ike::CountSnapshot::default(), "something stays for ever");
    }
}

/// A protected message whose payloads, exchange, direction and number are octets of `script`, to a
/// client and to a gateway whose SA is up.
pub fn ike_inside(script: &[u8]) {
    for end in [End::Client, End::Gateway] {
        let mut pair = Plan { provider: Provider::Null, ..short_lived() }.build();
        pair.establish();
        let mut script = Script { octets: script };
        if script.or_zero() & 1 == 1 {
            each_sa(&mut pair, end, |id| Command::RekeyChildren(id.id));
        }
        inject(&mut pair, end, &mut script);
        pair.wire.clear();
    }
}

/// Any octets as datagrams to an endpoint that is at something: nobody who has no key changes that.
pub fn ike_stranger(octets: &[u8]) {
    let mut pair = short_lived().build();
    pair.establish();
    let before = [&pair.client, &pair.gateway].map(|side| side.endpoint.state());
    let mut behind_header = pair.sent.last().map(|flying| flying.octets.clone()).unwrap_or_default();
    behind_header.truncate(Header::LENGTH);
    behind_header.extend_from_slice(octets);
    if let Ok(length) = u32::try_from(behind_header.len()) {
        for (place, octet) in behind_header.iter_mut().skip(24).zip(length.to_be_bytes()) {
            *place = octet;
        }
    }
    for end in [End::Client, End::Gateway] {
        for octets in [octets, &behind_header] {
            let path = Path { local: ([192, 0, 2, 1], 500).into(), remote: ([10, 9, 9, 9], 500).into() };
            let sent = pair.sent.len();
            pair.put(&Flying { to: end, path, octets: octets.to_vec() });
            let answered: usize = pair.sent.iter().skip(sent).map(|flying| flying.octets.len()).sum();
            let is_first = Message::decode(octets).is_ok_and(|message| message.header.spi_r.is_none());
            assert!(is_first || answered <= octets.len(), "{answered} octets for {}", octets.len());
        }
    }
    let after = [&pair.client, &pair.gateway].map(|side| side.endpoint.state());
    for (before, after) in before.iter().zip(&after) {
        // A first message makes an SA of its own.
        assert!(after.contains(before.as_str()), "a stranger has changed an SA");
    }
}

/// Octets of `script` are what a client and a gateway do and what a bad network does to their
/// datagrams, for some minutes; then the network is good. In the end both have the same.
pub fn ike_convergence(script: &[u8]) {
    let mut pair = Plan { provider: Provider::Null, ..Plan::shared_key() }.resuming().build();
    pair.establish();
    for [act, amount] in script.as_chunks::<2>().0 {
        let end = if act & 0x80 == 0 { End::Client } else { End::Gateway };
        match act & 0x0f {
            0 => each_sa(&mut pair, end, |id| Command::RekeyIke(id.id)),
            1 | 2 => each_sa(&mut pair, end, |id| Command::RekeyChildren(id.id)),
            3 if pair.gateway.plane.len() < 4 => another_child(&mut pair, end),
            4 if *amount >= 0xf0 => pair.command(end, Command::Clear(Selection::All)),
            5 => drop(pair.wire.pop_front()),
            6 => {
                if let Some(flying) = pair.wire.front().cloned() {
                    pair.put(&flying);
                }
            }
            7 => {
                let count = pair.wire.len().max(1);
                pair.wire.rotate_left(usize::from(*amount) % count);
            }
            // A while that is far from what a dead peer is.
            8 => pair.skip(Duration::from_millis(u64::from(*amount) * 20)),
            _ => drop(pair.deliver()),
        }
    }
    pair.pass(Duration::from_secs(900));
    pair.assert_same_children();
    let living = |sas: Vec<SaSnapshot>| sas.iter().filter(|sa| sa.state != SaState::HalfOpen).count();
    let (client, gateway) = (living(pair.sas(End::Client)), living(pair.sas(End::Gateway)));
    assert_eq!(client, gateway, "both have as many SAs");
    for side in [&pair.client, &pair.gateway] {
        assert_eq!(side.endpoint.counts().established, client, "and nothing is left of others");
    }
    if client == 1 {
        assert!(!pair.gateway.plane.is_empty(), "a Child SA was lost");
    }
}

/// Whatever nobody touches any more ends within a day.
fn short_lived() -> Plan {
    let mut plan = Plan::shared_key().resuming();
    let lifetimes = crate::ike::config::Lifetimes {
        ike: Some(Duration::from_secs(7_200)),
        child: Some(Duration::from_secs(3_600)),
        grace: Duration::from_secs(600),
        ..crate::ike::config::Lifetimes::default()
    };
    plan.client_profile(|profile| {
        profile.lifetimes = lifetimes;
        profile.dpd = Some(Duration::from_secs(60));
    });
    plan.gateway_profile(|profile| {
        profile.lifetimes = lifetimes;
        profile.dpd = Some(Duration::from_secs(60));
    });
    plan.gateway.limits =
        crate::ike::config::Limits { half_open: 8, sas: 16, children: 4, ..plan.gateway.limits };
    plan
}

struct Script<'a> {
    octets: &'a [u8],
}

impl Script<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.octets.split_first()?;
        self.octets = rest;
        Some(*first)
    }

    fn or_zero(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    /// As many octets as the next one says.
    fn some(&mut self) -> Vec<u8> {
        let count = usize::from(self.or_zero()).min(self.octets.len());
        let (taken, rest) = self.octets.split_at_checked(count).unwrap_or_default();
        self.octets = rest;
        taken.to_vec()
    }
}

fn each_sa(pair: &mut Pair, end: End, command: impl Fn(&SaSnapshot) -> Command) {
    for sa in pair.sas(end) {
        pair.command(end, command(&sa));
    }
}

fn another_child(pair: &mut Pair, end: End) {
    for sa in pair.sas(end) {
        if let Some(child) = sa.children.first() {
            let (local_ts, remote_ts) = (child.local_ts.to_vec(), child.remote_ts.to_vec());
            pair.command(end, Command::NewChild { sa: sa.id, local_ts, remote_ts });
        }
    }
}

/// Changes an octet of the next datagram.
fn change(pair: &mut Pair, script: &mut Script<'_>) {
    let (at, flip) = (usize::from(script.or_zero()), script.or_zero());
    if let Some(flying) = pair.wire.front_mut() {
        let length = flying.octets.len().max(1);
        if let Some(octet) = flying.octets.get_mut(at % length) {
            *octet ^= flip;
        }
    }
}

/// Changes octets inside the next datagram, whose lengths stay right.
fn change_inside(pair: &mut Pair, script: &mut Script<'_>) {
    let (at, octets) = (usize::from(script.or_zero()), script.some());
    let Some(flying) = pair.wire.front_mut() else { return };
    // It may have been changed before.
    let Some(mut plain) = Plain::try_open(&flying.octets) else { return };
    for (place, octet) in plain.octets.iter_mut().skip(at).zip(octets) {
        *place = octet;
    }
    flying.octets = plain.seal();
}

/// A message of one's own, to one of the two, over one of its SAs.
fn inject(pair: &mut Pair, to: End, script: &mut Script<'_>) {
    let sas = pair.sas(to);
    let which = usize::from(script.or_zero());
    let (flags, exchange, id) = (script.or_zero(), script.or_zero(), script.or_zero());
    let first = PayloadType::from_next(script.or_zero());
    let octets = script.some();
    let Some(sa) = sas.get(which % sas.len().max(1)) else { return };
    let header = Header {
        spi_i: sa.spi_i,
        spi_r: sa.spi_r,
        version: Version::V2,
        // Most numbers are no exchange.
        exchange: ExchangeType::from(34 + exchange % 12),
        sender: if flags & 1 == 0 { OriginalRole::Initiator } else { OriginalRole::Responder },
        direction: if flags & 2 == 0 { Direction::Request } else { Direction::Response },
        message_id: MessageId(u32::from(id % 8)),
    };
    let is_protected = flags & 4 == 0;
    if !is_protected && Chain::decode(first, &octets).is_err() && flags & 8 == 0 {
        return;
    }
    let plain = Plain { header, is_protected, first, octets };
    let path = Path { local: sa.local, remote: sa.remote };
    pair.put(&Flying { to, path, octets: plain.seal() });
}

/// Client and gateway with EAP.
fn by_eap(mut plan: Plan, asks_server: bool) -> Plan {
    let password = || NtHash::new("correct horse").unwrap_or_else(NtHash::of_nobody);
    let users = Users::new([("alice".into(), password())]);
    let passwords = Passwords { users: Arc::new(users), name: "gw".into() };
    let by = if asks_server { By::Aaa } else { By::Us(vec![Arc::new(passwords)]) };
    let gate = Gate { by, asks_identity: true, redirects_first: false, stands_alone: true };
    plan.gateway_profile(|profile| profile.authentication.remote = RemoteProof::Eap(Arc::new(gate)));
    plan.client_profile(|profile| {
        let maker = Arc::new(Password(password()));
        let credentials = Credentials { identity: "alice".into(), maker, stands_alone: false };
        profile.authentication.local = LocalProof::Eap(Arc::new(credentials));
    });
    plan
}

/// A server says something to the last question, if there was one.
fn advise(pair: &mut Pair, script: &mut Script<'_>) {
    let Some(asked) = pair.gateway.questions.last() else { return };
    let (conversation, round) = (asked.conversation, asked.round);
    let verdict = match script.or_zero() & 7 {
        0 => AaaVerdict::Unreachable,
        1 => AaaVerdict::Reject { packet: Some(script.some()) },
        2 => AaaVerdict::Reject { packet: None },
        3 => AaaVerdict::Accept {
            packet: packet::success(1),
            msk: Msk::new(&[1; 64]),
            grants: Grants {
                ipv4: Some([10, 99, 0, script.or_zero()].into()),
                session_timeout: Some(Duration::from_secs(script.or_zero().into())),
                interim: Some(Duration::from_secs(script.or_zero().into())),
                ..Grants::default()
            },
        },
        _ => AaaVerdict::Challenge(script.some()),
    };
    pair.step(End::Gateway, Input::Aaa(Box::new(AaaAnswer { conversation, round, verdict })));
}

/// Something that was sent before.
fn replay(pair: &mut Pair, script: &mut Script<'_>) {
    let count = pair.sent.len().max(1);
    if let Some(flying) = pair.sent.get(usize::from(script.or_zero()) % count).cloned() {
        pair.put(&flying);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn anything_can_happen_to_two_endpoints(script in proptest::collection::vec(any::<u8>(), 0..400)) {
            ike_endpoints(&script);
        }

        #[test]
        fn anything_can_happen_to_two_endpoints_with_eap(
            script in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            ike_endpoints_with_eap(&script);
        }

        #[test]
        fn anything_can_be_inside(script in proptest::collection::vec(any::<u8>(), 0..200)) {
            ike_inside(&script);
        }

        #[test]
        fn anything_can_come_from_strangers(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            ike_stranger(&octets);
        }

        #[test]
        fn both_come_to_the_same_end(script in proptest::collection::vec(any::<u8>(), 0..400)) {
            ike_convergence(&script);
        }
    }

    #[test]
    fn a_datagram_may_be_changed_until_it_is_no_envelope_any_more() {
        ike_endpoints(&[0, 177, 17, 17, 17, 193, 209, 206, 5, 209, 81, 203, 154, 1, 76]);
    }

    #[test]
    fn a_script_may_do_nothing() {
        ike_endpoints(&[]);
        ike_convergence(&[]);
    }
}
