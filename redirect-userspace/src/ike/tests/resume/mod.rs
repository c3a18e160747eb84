//! Sessions that go on by ticket: given by a gateway, presented by a client, at the same gateway and at
//! another one of its cluster.
//!
//! Pictures are those of `RFC 5723 §4.3`.

mod back;
mod grant;
mod proof;
mod refusal;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::crypto::prf::PrfKey;
use crate::crypto::x509::builder::KeyKind;
use crate::ike::config::{LocalProof, RemoteProof, Settings};
use crate::ike::sa::keymat::{DerivationKey, IkeKeys, Nonces, Origin};
use crate::ike::ticket::{Sealer, TicketKey};
use crate::ike::wire::{
    Message, Notify, NotifyContent, NotifyType, Opaque, Payload, PayloadType, encode_message,
};
use crate::ike::{CloseReason, Counters, Discard, Input, LeaseRequest, Leases as _, Selection, UsedTicket};
use crate::secret::Secret;
use crate::time::UnixTime;

/// A reconnect key of the cluster.
fn key(number: u8) -> TicketKey {
    TicketKey::new(&Secret::new(vec![number; 32])).unwrap()
}

/// What a member makes and opens tickets with: the first key is the active one.
fn sealer(node: &str, keys: &[u8]) -> Sealer {
    let (active, others) = keys.split_first().unwrap();
    Sealer::new(node, "group1", Some(key(*active)), others.iter().map(|number| key(*number)).collect())
}

/// A client that asks for tickets, and a gateway that gives some; both ask whether the other lives.
fn plan() -> Plan {
    with_tickets(Plan::shared_key())
}

fn with_tickets(plan: Plan) -> Plan {
    let mut plan = plan.resuming();
    plan.client_profile(|profile| profile.dpd = Some(Duration::from_secs(10)));
    plan
}

/// Settings of another member.
fn member(node: &str, keys: &[u8]) -> Settings {
    let mut plan = plan();
    plan.gateway.tickets = Some(Arc::new(sealer(node, keys)));
    plan.gateway
}

/// The client is up, and has a ticket.
fn up() -> Pair {
    let mut pair = plan().build();
    pair.establish();
    assert_eq!(pair.gateway.endpoint.counters().tickets_granted, 1);
    pair
}

/// The gateway is gone without a word, and the client has noticed it.
fn bereaved(pair: &mut Pair) {
    for _ in 0..40 {
        pair.wire.clear();
        pair.now = pair.now.after(Duration::from_secs(10));
        pair.step(End::Client, Input::Timeout);
    }
    assert_eq!(pair.closed(End::Client), [CloseReason::PeerDead]);
    pair.wire.clear();
    pair.sent.clear();
}

/// The client has noticed that its gateway is gone, and another member is where that one was.
fn orphaned() -> Pair {
    let mut pair = up();
    elsewhere(&mut pair, member("gw2", &[1]));
    pair
}

fn elsewhere(pair: &mut Pair, settings: Settings) {
    pair.fail_over(Provider::Real, settings, 2);
    bereaved(pair);
    pair.events(End::Client);
    pair.events(End::Gateway);
}

/// The exchanges of all datagrams so far, in order.
fn exchanges(pair: &Pair) -> Vec<ExchangeType> {
    pair.sent.iter().map(|flying| Message::decode(&flying.octets).unwrap().header.exchange).collect()
}

const RESUMED: [ExchangeType; 4] = [
    ExchangeType::IkeSessionResume,
    ExchangeType::IkeSessionResume,
    ExchangeType::IkeAuth,
    ExchangeType::IkeAuth,
];
const ANEW: [ExchangeType; 6] = [
    ExchangeType::IkeSessionResume,
    ExchangeType::IkeSessionResume,
    ExchangeType::IkeSaInit,
    ExchangeType::IkeSaInit,
    ExchangeType::IkeAuth,
    ExchangeType::IkeAuth,
];

/// Both have one SA, which goes on with the session.
fn assert_resumed(pair: &mut Pair) {
    pair.assert_in_step();
    for end in ENDS {
        assert!(sole(pair, end).is_resumed, "{end:?}");
        assert_eq!(sole(pair, end).children.len(), 1);
        assert_eq!(pair.side(end).endpoint.counters().resumed, 1);
    }
    assert_one_of_each(pair, "resumed");
}

/// Both have one SA, which was made as if there had been no ticket; the gateway says why.
fn assert_anew(pair: &Pair, why: Failure) {
    pair.assert_in_step();
    assert_eq!(exchanges(pair), ANEW);
    for end in ENDS {
        assert!(!sole(pair, end).is_resumed, "{end:?}");
    }
    let answer = Message::decode(&pair.sent[1].octets).unwrap();
    assert_eq!((answer.header.spi_r, answer.payloads.iter().count()), (None, 1), "nothing but TICKET_NACK");
    assert!(answer.payloads.notify(NotifyType::TicketNack).unwrap().data.is_empty());
    assert!(pair.sent[1].octets.len() < pair.sent[0].octets.len());
    assert_eq!(failures(&pair.gateway.events), [why]);
    let refused = |event: &Event| matches!(event, Event::TicketRefused { .. });
    assert_eq!(pair.client.events.iter().filter(|event| refused(event)).count(), 1);
}

/// A notify of the n-th datagram that was sent, as a copy.
fn notify(pair: &Pair, number: usize, kind: NotifyType) -> Option<Vec<u8>> {
    let message = Message::decode(&pair.sent[number].octets).unwrap();
    message.payloads.notify(kind).map(|notify| notify.data.to_vec())
}

/// The same datagram with other payloads.
fn changed(flying: &Flying, change: impl FnOnce(&mut Vec<Payload<'_>>)) -> Flying {
    let message = Message::decode(&flying.octets).unwrap();
    let mut payloads: Vec<_> = message.payloads.iter().map(|raw| Payload::decode(&raw).unwrap()).collect();
    change(&mut payloads);
    let octets = encode_message(Vec::new(), &message.header, |chain| {
        payloads.iter().try_for_each(|payload| chain.push(payload))
    });
    Flying { octets: octets.unwrap(), ..flying.clone() }
}

/// Another ticket in the place of the one of a request.
fn with_ticket(flying: &Flying, ticket: &[u8]) -> Flying {
    let message = Message::decode(&flying.octets).unwrap();
    let octets = encode_message(Vec::new(), &message.header, |chain| {
        for raw in message.payloads.iter() {
            let payload = Payload::decode(&raw).unwrap();
            if !is_ticket(&payload) {
                chain.push(&payload)?;
            }
        }
        chain.notify(&NotifyContent::TicketOpaque(Opaque(ticket)))
    });
    Flying { octets: octets.unwrap(), ..flying.clone() }
}

fn is_ticket(payload: &Payload<'_>) -> bool {
    matches!(payload, Payload::Notify(notify) if notify.kind == NotifyType::TicketOpaque)
}

fn elsewhere_again(pair: &mut Pair, node: &str, run: usize) {
    pair.fail_over(Provider::Real, member(node, &[1]), u64::try_from(run).unwrap());
    pair.client.events.clear();
    bereaved(pair);
    pair.client.events.clear();
}

/// As [`orphaned`], with a provider whose messages can be read.
fn null_orphan() -> Pair {
    let mut pair = Plan { provider: Provider::Null, ..plan() }.build();
    pair.establish();
    pair.fail_over(Provider::Null, member("gw2", &[1]), 2);
    bereaved(&mut pair);
    pair.events(End::Client);
    pair
}

/// Nothing has reached the client for so long that it takes its gateway for dead.
fn bereaved_client_only(pair: &mut Pair) {
    for _ in 0..40 {
        pair.now = pair.now.after(Duration::from_secs(10));
        pair.step(End::Client, Input::Timeout);
        pair.wire.clear();
    }
    assert_eq!(pair.closed(End::Client), [CloseReason::PeerDead]);
    pair.sent.clear();
    pair.events(End::Client);
    pair.events(End::Gateway);
}

/// What the gateway of a world like that of [`up`] tells when its client resumes.
fn used_by_resuming() -> UsedTicket {
    let mut pair = up();
    bereaved_client_only(&mut pair);
    pair.initiate();
    pair.settle();
    let [used] = &pair.gateway.used[..] else { panic!("{:?}", pair.gateway.used) };
    used.clone()
}
