//! Sessions that go on by ticket: given by a gateway, presented by a client, at the same gateway and at
//! another one of its cluster.
//!
//! Pictures are those of `RFC 5723 §4.3`.

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

// RES-01, RES-04 (there is no EAP yet), RES-06
// test of RFC 5723 §4.1, §7.1
#[test]
fn a_client_that_asks_for_a_ticket_in_ike_auth_gets_one_with_its_lifetime() {
    let mut plan = plan();
    plan.provider = Provider::Null;
    let mut pair = plan.build();
    pair.establish();

    let (request, answer) = (Plain::open(&pair.sent[2].octets), Plain::open(&pair.sent[3].octets));
    let chain = request.chain();
    let asked = chain.notify(NotifyType::TicketRequest).unwrap();
    assert_eq!((asked.data, asked.protocol, asked.spi), (&[][..], 0, &[][..]));
    let chain = answer.chain();
    let given = chain.notify(NotifyType::TicketLtOpaque).unwrap();
    assert_eq!(given.data[..4], 28_800_u32.to_be_bytes(), "eight hours");
    assert!(given.data.len() > 100);
    assert_eq!(answer.notifies(), [NotifyType::TicketLtOpaque]);
    assert!(chain.find(PayloadType::Sa).is_some(), "everything else is as it was");
}

// RES-02
// test of RFC 5723 §4.1
#[test]
fn who_gets_no_ticket_is_told_so_and_its_sa_comes_up() {
    let without_keys: fn(&mut Plan) = |plan| plan.gateway.tickets = None;
    let opening_only: fn(&mut Plan) = |plan| {
        plan.gateway.tickets = Some(Arc::new(Sealer::new("gw1", "group1", None, vec![key(1)])));
    };
    let not_here: fn(&mut Plan) = |plan| plan.gateway_profile(|profile| profile.resumes = false);
    for change in [without_keys, opening_only, not_here] {
        let mut plan = Plan { provider: Provider::Null, ..plan() };
        change(&mut plan);
        let mut pair = plan.build();
        pair.establish();

        assert_eq!(Plain::open(&pair.sent[3].octets).notifies(), [NotifyType::TicketNack]);
        let Counters { tickets_granted, tickets_refused, .. } = pair.gateway.endpoint.counters();
        assert_eq!((*tickets_granted, *tickets_refused), (0, 1));
    }
}

#[test]
fn who_does_not_ask_gets_no_ticket() {
    let mut plan = Plan { provider: Provider::Null, ..plan() };
    plan.client_profile(|profile| profile.resumes = false);
    let mut pair = plan.build();
    pair.establish();

    assert!(Plain::open(&pair.sent[3].octets).notifies().is_empty());
    // Nor does a gateway ask, or push one.
    assert!(pair.sent.iter().all(|flying| Plain::open(&flying.octets).notifies().iter().all(|kind| {
        !matches!(kind, NotifyType::TicketRequest | NotifyType::TicketLtOpaque | NotifyType::TicketNack)
    })));
}

// RES-08
#[test]
fn a_ticket_beside_certificates_comes_in_fragments() {
    let mut plan = with_tickets(auth::certificates(KeyKind::P256));
    plan.gateway.fragment_size = crate::ike::config::FragmentSize::new(576).unwrap();
    let mut pair = plan.build();
    pair.establish();

    assert!(pair.sent.iter().filter(|flying| flying.to == End::Client).count() > 2, "in fragments");
    assert_eq!(pair.gateway.endpoint.counters().tickets_granted, 1);
}

// RES-03
#[test]
fn a_client_that_is_to_have_its_ticket_later_asks_for_it() {
    let mut pair = Plan { provider: Provider::Null, ..plan() }.build();
    pair.initiate();
    for _ in 0..3 {
        pair.deliver();
    }
    let answer = pair.take(End::Client);
    let later = Plain::open(&answer.octets).with(|payloads| {
        payloads.retain(|payload| !matches!(payload, Payload::Notify(_)));
        payloads.push(Payload::Notify(Notify::plain(NotifyType::TicketAck)));
    });
    pair.put(&Flying { octets: later.seal(), ..answer });
    pair.settle();
    assert_eq!(pair.gateway.endpoint.counters().tickets_granted, 1);

    pair.pass(Duration::from_secs(2));

    assert_eq!(pair.gateway.endpoint.counters().tickets_granted, 2);
    let [.., asks, _] = &pair.sent[..] else { panic!("two messages") };
    assert_eq!(Plain::open(&asks.octets).notifies(), [NotifyType::TicketRequest]);
}

// RES-05
// test of RFC 5723 §4.1
#[test]
fn only_who_began_the_session_gets_a_ticket_by_an_informational_exchange() {
    for (from, wanted) in [(End::Client, vec![NotifyType::TicketLtOpaque]), (End::Gateway, Vec::new())] {
        let mut pair = Plan { provider: Provider::Null, ..plan() }.build();
        pair.establish();
        let sent = pair.sent.len();
        let id = if from == End::Client { 2 } else { 0 };
        let asks = made_up(&pair, from, ExchangeType::Informational, (Direction::Request, id), |chain| {
            chain.plain(NotifyType::TicketRequest)
        });
        pair.put(&asks);

        assert_eq!(Plain::open(&pair.sent[sent].octets).notifies(), wanted, "{from:?}");
    }
}

// RES-07
// test of RFC 5723 §6.2
#[test]
fn a_ticket_is_never_good_for_longer_than_its_sa() {
    let mut plan = Plan { provider: Provider::Null, ..plan() };
    plan.gateway_profile(|profile| profile.lifetimes.ike = Some(Duration::from_secs(3_000)));
    let mut pair = plan.build();
    pair.establish();

    let answer = Plain::open(&pair.sent[3].octets);
    let chain = answer.chain();
    let given = chain.notify(NotifyType::TicketLtOpaque).unwrap();
    assert_eq!(given.data[..4], 3_060_u32.to_be_bytes(), "with its grace");
}

// RES-09, RES-10, RES-15, RES-16, RES-32
// test of RFC 5723 §4.3.2, §4.3.3
#[test]
fn a_client_whose_gateway_is_dead_is_back_at_another_member_in_one_round_trip_more() {
    let mut pair = orphaned();
    let before = pair.client.endpoint.counters().clone();

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair), RESUMED);
    let kinds = |number: usize| -> Vec<PayloadType> {
        let message = Message::decode(&pair.sent[number].octets).unwrap();
        message.payloads.iter().map(|payload| payload.kind).collect()
    };
    for number in [0, 1] {
        assert_eq!(kinds(number)[0], PayloadType::Nonce);
        assert!(kinds(number)[1..].iter().all(|kind| *kind == PayloadType::Notify), "neither SA nor KE");
    }
    let (request, answer) =
        (Message::decode(&pair.sent[0].octets).unwrap(), Message::decode(&pair.sent[1].octets).unwrap());
    assert_eq!((request.header.spi_r, request.header.message_id), (None, MessageId(0)));
    assert!(answer.header.spi_r.is_some());
    assert_eq!(answer.header.spi_i, request.header.spi_i);
    assert!(pair.sent[0].octets.len() < 600, "{} octets", pair.sent[0].octets.len());
    assert_eq!(pair.gateway.endpoint.counters().tickets_granted, 1, "and it has another ticket");
    assert_eq!(pair.client.endpoint.counters().resumed, before.resumed + 1);
    assert_resumed(&mut pair);
}

// RES-16
#[test]
fn a_client_comes_back_again_and_again_each_time_with_another_ticket() {
    let mut pair = up();
    let mut tickets = Vec::new();
    for (number, node) in ["gw2", "gw3", "gw1", "gw2"].into_iter().enumerate() {
        elsewhere_again(&mut pair, node, number + 2);
        pair.initiate();
        pair.settle();
        assert_eq!(exchanges(&pair), RESUMED, "{node}");
        tickets.push(notify(&pair, 0, NotifyType::TicketOpaque).unwrap());
        pair.assert_in_step();
    }
    tickets.sort();
    tickets.dedup();
    assert_eq!(tickets.len(), 4);
}

fn elsewhere_again(pair: &mut Pair, node: &str, run: usize) {
    pair.fail_over(Provider::Real, member(node, &[1]), u64::try_from(run).unwrap());
    pair.client.events.clear();
    bereaved(pair);
    pair.client.events.clear();
}

// RES-12
#[test]
fn a_session_of_certificates_goes_on_without_them() {
    let plan = with_tickets(auth::certificates(KeyKind::P256));
    let settings = Settings { tickets: Some(Arc::new(sealer("gw2", &[1]))), ..plan.gateway.clone() };
    let mut pair = plan.build();
    pair.establish();
    elsewhere(&mut pair, settings);

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair), RESUMED);
    assert!(pair.sent[2..].iter().all(|flying| flying.octets.len() < 900), "there is no certificate");
    pair.assert_in_step();
    assert!(sole(&pair, End::Gateway).is_resumed);
}

// RES-12: both readings of RFC 5723 §4.3.3
#[test]
fn a_proof_over_the_first_message_alone_is_believed_and_answered_in_kind() {
    let mut pair = null_orphan();
    pair.initiate();
    pair.deliver();
    pair.deliver();
    let request = pair.take(End::Gateway);
    let plain = Plain::open(&request.octets);

    let (key_i, key_r) = proofs(&pair);
    let code = |key: &PrfKey, number: usize| key.compute(&[&pair.sent[number].octets]).expose().to_vec();
    let (ours, theirs) = (code(&key_i, 0), code(&key_r, 1));
    let other = with_auth(&plain, &ours);
    pair.put(&Flying { octets: other.seal(), ..request });

    let answer = Plain::open(&pair.sent.last().unwrap().octets);
    let Some(Payload::Auth(auth)) =
        answer.payloads().into_iter().find(|payload| payload.kind() == PayloadType::Auth)
    else {
        panic!("{:?}", answer.kinds())
    };
    assert_eq!(auth.data.as_ref(), theirs);
    assert!(sole(&pair, End::Gateway).is_resumed);

    // Our own client believes such an answer as well.
    pair.settle();
    assert!(sole(&pair, End::Client).is_resumed);
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

/// SK_pi and SK_pr of the session that is being resumed.
fn proofs(pair: &Pair) -> (PrfKey, PrfKey) {
    let (request, answer) =
        (Message::decode(&pair.sent[0].octets).unwrap(), Message::decode(&pair.sent[1].octets).unwrap());
    let nonce = |message: &Message<'_>| message.payloads.find(PayloadType::Nonce).unwrap().body.to_vec();
    let ticket = notify(pair, 0, NotifyType::TicketOpaque).unwrap();
    let (_, ticket) = sealer("gw2", &[1]).open(pair.now.wall, &ticket).unwrap();
    let suite = crate::ike::sa::suite::ike(ticket.suite, None).unwrap();
    let origin = Origin {
        provider: Provider::Null,
        suite,
        nonces: Nonces { initiator: &nonce(&request), responder: &nonce(&answer) },
        spi_i: request.header.spi_i,
        spi_r: answer.header.spi_r.unwrap(),
        role: OriginalRole::Responder,
    };
    let keys = IkeKeys::resumed(origin, &DerivationKey::new(suite.prf, ticket.key)).unwrap();
    (keys.proof_i, keys.proof_r)
}

/// The same message with another proof.
fn with_auth(plain: &Plain, data: &[u8]) -> Plain {
    plain.with(|payloads| {
        for payload in payloads {
            if let Payload::Auth(auth) = payload {
                auth.data = data.to_vec().into();
            }
        }
    })
}

/// What comes of an IKE_AUTH request of a session that is being resumed, changed like this.
fn auth_changed(change: impl FnOnce(&mut Vec<Payload<'_>>)) -> Pair {
    let mut pair = null_orphan();
    pair.initiate();
    pair.deliver();
    pair.deliver();
    let request = pair.take(End::Gateway);
    let plain = Plain::open(&request.octets).with(change);
    pair.put(&Flying { octets: plain.seal(), ..request });
    pair
}

// RES-13
// test of RFC 5723 §4.3.3
#[test]
fn a_certificate_beside_a_ticket_is_refused() {
    let pair = auth_changed(|payloads| {
        let encoding = crate::ike::wire::CertEncoding::X509Signature;
        payloads.insert(1, Payload::Cert(crate::ike::wire::Cert { encoding, data: vec![0x30, 0].into() }));
    });

    assert_refused(&pair);
}

// RES-14, RES-36
// test of RFC 5723 §4.3.3
#[test]
fn who_says_he_is_somebody_else_than_his_ticket_or_asks_for_somebody_else_is_refused() {
    let id = |name: &'static str| crate::ike::wire::Id::Email(name.into());
    let other = auth_changed(|payloads| payloads[0] = Payload::IdI(id("bob@example.net")));
    assert_refused(&other);
    let asks = auth_changed(|payloads| payloads.insert(1, Payload::IdR(id("other@example.net"))));
    assert_refused(&asks);
    let right = auth_changed(|payloads| {
        payloads.insert(1, Payload::IdR(crate::ike::wire::Id::Fqdn("vpn.example.net".into())));
    });
    assert!(sole(&right, End::Gateway).is_resumed);
}

#[test]
fn a_wrong_proof_is_refused_and_the_client_begins_anew() {
    let mut pair = auth_changed(|payloads| {
        for payload in payloads {
            if let Payload::Auth(auth) = payload {
                auth.data = vec![0; 32].into();
            }
        }
    });
    assert_refused(&pair);

    pair.settle();

    pair.assert_in_step();
    assert!(!sole(&pair, End::Client).is_resumed);
    assert!(pair.client.events.iter().any(|event| matches!(event, Event::TicketRefused { .. })));
}

fn assert_refused(pair: &Pair) {
    let answer = Plain::open(&pair.sent.last().unwrap().octets);
    assert_eq!(answer.notifies(), [NotifyType::AuthenticationFailed]);
    assert_eq!(answer.kinds(), [PayloadType::Notify]);
    assert_eq!(pair.gateway.endpoint.counters().resumed, 0);
    assert!(pair.gateway.used.is_empty(), "the ticket is not used");
}

// RES-17
// test of RFC 5723 §4.3.4
#[test]
fn the_old_sa_at_the_same_gateway_is_deleted_silently_once_the_new_one_is_up() {
    let mut pair = up();
    let old = sole(&pair, End::Gateway);
    bereaved_client_only(&mut pair);
    pair.initiate();
    pair.deliver();
    assert_eq!(pair.gateway.endpoint.counts().established, 1);
    assert_eq!(pair.gateway.plane.len(), 1, "not before IKE_AUTH");
    let sent = pair.sent.len();

    pair.settle();

    assert_eq!(pair.closed(End::Gateway), [CloseReason::Resumed]);
    assert_eq!(exchanges(&pair)[sent - 2..], RESUMED, "nothing but the exchange: no Delete");
    let new = sole(&pair, End::Gateway);
    assert_ne!(new.id, old.id);
    assert_eq!(new.addresses, old.addresses, "with the address that the old one had");
    assert_eq!(pair.gateway.pools.held(), 1);
    assert_resumed(&mut pair);
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

// RES-18
#[test]
fn the_old_sa_stays_when_the_resumption_fails() {
    let mut pair = up();
    bereaved_client_only(&mut pair);
    pair.initiate();
    pair.deliver();
    pair.deliver();
    // IKE_AUTH is lost, for good.
    pair.wire.clear();
    for _ in 0..10 {
        pair.now = pair.now.after(Duration::from_secs(10));
        pair.step(End::Gateway, Input::Timeout);
        pair.wire.clear();
    }

    assert_eq!(pair.gateway.endpoint.counts().established, 1);
    assert_eq!((pair.gateway.plane.len(), pair.closed(End::Gateway)), (1, vec![]));
    assert_eq!(failures(&pair.gateway.events), [Failure::Timeout]);
}

// RES-17, on several workers
#[test]
fn another_worker_hears_that_the_session_goes_on_and_drops_its_sa() {
    let mut pair = up();
    let used = UsedTicket { origin: None, ..used_by_resuming() };
    pair.step(End::Gateway, Input::TicketUsed(&used));
    assert_eq!(pair.gateway.endpoint.counts().established, 1, "of no session");

    let used = used_by_resuming();
    pair.step(End::Gateway, Input::TicketUsed(&used));

    assert_eq!(pair.gateway.endpoint.counts().established, 0);
    assert_eq!(pair.closed(End::Gateway), [CloseReason::Resumed]);
    assert!(pair.wire.is_empty(), "without a word");
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

#[test]
fn a_ticket_of_another_run_takes_nothing_from_anybody() {
    let mut pair = up();
    let mut used = used_by_resuming();
    used.origin.as_mut().unwrap().run += 1;

    pair.step(End::Gateway, Input::TicketUsed(&used));

    assert_eq!(pair.gateway.endpoint.counts().established, 1);
}

// RES-19, RES-21
#[test]
fn a_ticket_whose_key_was_rotated_away_is_refused_and_the_client_begins_anew() {
    let mut pair = up();
    elsewhere(&mut pair, member("gw2", &[3, 2]));

    pair.initiate();
    pair.settle();

    assert_anew(&pair, Failure::TicketKey);
}

// RES-20
#[test]
fn every_step_of_a_change_of_keys_leaves_every_ticket_good() {
    // Which key made the ticket, and what each member has at that time.
    let steps: [(&[u8], &[u8]); 5] =
        [(&[1], &[1, 2]), (&[1, 2], &[1, 2]), (&[1, 2], &[2, 1]), (&[2, 1], &[1, 2]), (&[2, 1], &[2])];
    for (issuer, other) in steps {
        let mut plan = plan();
        plan.gateway.tickets = Some(Arc::new(sealer("gw1", issuer)));
        let mut pair = plan.build();
        pair.establish();
        elsewhere(&mut pair, member("gw2", other));

        pair.initiate();
        pair.settle();

        assert_eq!(exchanges(&pair), RESUMED, "{issuer:?} at {other:?}");
    }
}

#[test]
fn a_reload_with_other_keys_counts_at_once() {
    let mut pair = up();
    bereaved_client_only(&mut pair);
    pair.step(End::Gateway, Input::Configure(Arc::new(member("gw1", &[2, 1]))));
    pair.initiate();
    pair.settle();
    assert_resumed(&mut pair);
}

// RES-22
// test of RFC 5723 §4.3.1
#[test]
fn a_client_does_not_present_a_ticket_whose_time_is_over() {
    let mut pair = orphaned();
    pair.now = pair.now.after(Duration::from_secs(8 * 3_600));

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair), ANEW[2..]);
    assert!(!sole(&pair, End::Client).is_resumed);
}

// RES-23
#[test]
fn a_gateway_refuses_a_ticket_whose_time_is_over_by_its_own_clock() {
    let mut pair = orphaned();
    pair.now.wall = UnixTime::from_epoch(pair.now.wall.since_epoch() + Duration::from_secs(8 * 3_600));

    pair.initiate();
    pair.settle();

    assert_anew(&pair, Failure::TicketExpired);
}

#[test]
fn a_ticket_of_another_cluster_is_refused() {
    let mut pair = up();
    let mut settings = member("gw2", &[1]);
    settings.tickets = Some(Arc::new(Sealer::new("gw2", "group2", Some(key(1)), Vec::new())));
    elsewhere(&mut pair, settings);

    pair.initiate();
    pair.settle();

    assert_anew(&pair, Failure::TicketCluster);
}

#[test]
fn a_client_that_has_to_authenticate_itself_anew_is_told_so_by_a_refusal() {
    let mut pair = up();
    let mut settings = member("gw2", &[1]);
    let later = pair.now.after(Duration::from_secs(1)).wall;
    settings.tickets = Some(Arc::new(sealer("gw2", &[1]).with_not_before(later)));
    elsewhere(&mut pair, settings);

    pair.initiate();
    pair.settle();

    assert_anew(&pair, Failure::TicketRevoked);
    // What it has now is of today.
    assert_eq!(pair.gateway.endpoint.counters().tickets_granted, 1);
}

// RES-24, RES-25, RES-26, RES-39
// test of RFC 5723 §9.2
#[test]
fn a_ticket_that_is_none_is_refused_and_nothing_is_kept_of_it() {
    let mut pair = orphaned();
    pair.initiate();
    let request = pair.take(End::Gateway);
    let ticket = notify(&pair, 0, NotifyType::TicketOpaque).unwrap();
    let flipped = |at: usize| {
        let mut ticket = ticket.clone();
        ticket[at] ^= 1;
        ticket
    };
    let long = vec![1; 60_000];
    for (ticket, why) in [
        (flipped(0), Failure::TicketVersion),
        (flipped(1), Failure::TicketCluster),
        (flipped(5), Failure::TicketKey),
        (flipped(9), Failure::TicketForged),
        (flipped(40), Failure::TicketForged),
        (flipped(ticket.len() - 1), Failure::TicketForged),
        (ticket[..ticket.len() - 1].to_vec(), Failure::TicketForged),
        (ticket[..30].to_vec(), Failure::TicketMalformed),
        (vec![9], Failure::TicketMalformed),
        (long, Failure::TicketMalformed),
    ] {
        let before = pair.gateway.endpoint.counters().failures[why.position()];
        pair.put(&with_ticket(&request, &ticket));

        let answer = pair.take(End::Client);
        let message = Message::decode(&answer.octets).unwrap();
        assert!(message.payloads.notify(NotifyType::TicketNack).is_some(), "{why}");
        assert_eq!((message.payloads.iter().count(), message.header.spi_r), (1, None));
        assert_eq!(pair.gateway.endpoint.counters().failures[why.position()], before + 1, "{why}");
        assert_eq!(pair.gateway.endpoint.counts(), crate::ike::CountSnapshot::default());
    }
    // Without a ticket at all it is the same; without a nonce there is nothing to be had.
    let without = |kind: fn(&Payload<'_>) -> bool| changed(&request, |all| all.retain(|it| !kind(it)));
    pair.put(&without(is_ticket));
    let answer = pair.take(End::Client);
    assert!(Message::decode(&answer.octets).unwrap().payloads.notify(NotifyType::TicketNack).is_some());
    pair.put(&without(|it| matches!(it, Payload::Nonce(_))));
    let answer = pair.take(End::Client);
    assert!(Message::decode(&answer.octets).unwrap().payloads.notify(NotifyType::InvalidSyntax).is_some());
    assert_eq!(pair.gateway.endpoint.counts(), crate::ike::CountSnapshot::default());

    // The real one still counts.
    pair.put(&request);
    pair.settle();
    assert!(sole(&pair, End::Client).is_resumed);
}

// RES-27
// test of RFC 5723 §4.3.1
#[test]
fn a_ticket_that_was_used_is_refused_the_second_time() {
    let mut pair = orphaned();
    pair.initiate();
    let request = pair.wire[0].clone();
    pair.settle();
    assert!(sole(&pair, End::Gateway).is_resumed);

    // The same ticket, in another request: as whoever has listened could send it.
    let mut again = changed(&request, |payloads| {
        payloads[0] = Payload::Nonce(crate::ike::wire::Nonce::new(&[7; 32]).unwrap().into_owned());
    });
    again.octets[0] ^= 1;
    pair.put(&again);

    let answer = pair.take(End::Client);
    assert!(Message::decode(&answer.octets).unwrap().payloads.notify(NotifyType::TicketNack).is_some());
    assert_eq!(failures(&pair.gateway.events), [Failure::TicketUsed]);
    assert_eq!(pair.gateway.endpoint.counts().established, 1, "and the SA of its owner stays");
}

#[test]
fn of_two_that_present_the_same_ticket_at_the_same_time_one_gets_an_sa() {
    let mut pair = null_orphan();
    pair.initiate();
    pair.deliver();
    pair.deliver();
    let request = pair.wire[0].clone();
    // Another worker has taken it meanwhile.
    let ticket = notify(&pair, 0, NotifyType::TicketOpaque).unwrap();
    let (id, ticket) = sealer("gw2", &[1]).open(pair.now.wall, &ticket).unwrap();
    let used = UsedTicket { id, expires_at: ticket.expires_at, origin: None };
    pair.step(End::Gateway, Input::TicketUsed(&used));

    pair.put(&request);

    assert_eq!(failures(&pair.gateway.events), [Failure::TicketUsed]);
    let answer = Plain::open(&pair.sent.last().unwrap().octets);
    assert_eq!(answer.notifies(), [NotifyType::AuthenticationFailed]);
}

#[test]
fn another_member_that_was_told_refuses_a_used_ticket() {
    let mut pair = orphaned();
    let ticket = {
        pair.initiate();
        let ticket = notify(&pair, 0, NotifyType::TicketOpaque).unwrap();
        let (id, opened) = sealer("gw2", &[1]).open(pair.now.wall, &ticket).unwrap();
        UsedTicket { id, expires_at: opened.expires_at, origin: Some(opened.origin) }
    };
    pair.step(End::Gateway, Input::TicketUsed(&ticket));

    pair.settle();

    assert_anew(&pair, Failure::TicketUsed);
}

// RES-28
#[test]
fn a_ticket_whose_try_failed_can_be_presented_again() {
    let mut pair = orphaned();
    pair.initiate();
    pair.deliver();
    pair.deliver();
    // From now on nothing arrives, until the client gives up.
    for _ in 0..40 {
        pair.wire.clear();
        pair.now = pair.now.after(Duration::from_secs(10));
        pair.step(End::Client, Input::Timeout);
        pair.step(End::Gateway, Input::Timeout);
    }
    pair.wire.clear();
    assert_eq!(failures(&pair.events(End::Client)), [Failure::Timeout]);
    pair.sent.clear();

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair), RESUMED);
    assert_resumed(&mut pair);
}

#[test]
fn a_gateway_that_does_not_answer_a_ticket_leaves_it_good() {
    let mut pair = orphaned();
    pair.initiate();
    for _ in 0..40 {
        pair.wire.clear();
        pair.now = pair.now.after(Duration::from_secs(10));
        pair.step(End::Client, Input::Timeout);
    }
    assert_eq!(failures(&pair.events(End::Client)), [Failure::Timeout]);
    pair.wire.clear();
    pair.sent.clear();

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair), RESUMED);
}

// RES-29
// test of RFC 5723 §6.2
#[test]
fn a_session_that_somebody_has_ended_has_no_ticket_any_more() {
    for end in ENDS {
        let mut pair = up();
        pair.command(end, Command::Clear(Selection::All));
        pair.settle();
        assert_eq!(pair.gateway.used.len(), 1, "the gateway tells the others that it is void");
        pair.sent.clear();

        pair.initiate();
        pair.settle();

        assert_eq!(exchanges(&pair), ANEW[2..], "{end:?}");
        // A client that keeps its ticket all the same has nothing of it.
        let used = &pair.gateway.used[0];
        assert_eq!(used.origin, None);
    }
}

#[test]
fn a_client_that_keeps_its_ticket_after_its_goodbye_is_refused() {
    let mut pair = up();
    let delete = {
        pair.command(End::Client, Command::Clear(Selection::All));
        pair.take(End::Gateway)
    };
    // As if the client had crashed right after the word, and remembered its ticket.
    let mut other = up();
    other.put(&delete);
    other.wire.clear();
    bereaved_client_only(&mut other);
    other.initiate();
    other.settle();

    assert_anew(&other, Failure::TicketUsed);
}

// RES-30
#[test]
fn a_client_that_slept_goes_on_with_its_session() {
    let mut pair = up();
    let old = sole(&pair, End::Client).addresses;
    // Asleep: neither hears the other, and both give up.
    for _ in 0..40 {
        pair.now = pair.now.after(Duration::from_secs(30));
        for end in ENDS {
            pair.step(end, Input::Timeout);
        }
        pair.wire.clear();
    }
    pair.sent.clear();

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair), RESUMED);
    assert_eq!(sole(&pair, End::Client).addresses, old);
}

// RES-31
// test of RFC 5723 §6.2
#[test]
fn new_keys_of_the_ike_sa_make_the_ticket_void_and_bring_another_one() {
    for by in ENDS {
        let mut pair = up();
        rekey_ike(&mut pair, by);
        pair.pass(Duration::from_secs(2));
        assert_eq!(pair.gateway.endpoint.counters().tickets_granted, 2, "{by:?}");
        assert_eq!(pair.gateway.used.len(), 1, "{by:?}");

        bereaved_client_only(&mut pair);
        pair.initiate();
        pair.settle();

        assert_eq!(exchanges(&pair), RESUMED, "{by:?}");
        pair.assert_in_step();
        assert_eq!(pair.closed(End::Gateway), [CloseReason::Resumed], "found by its new SPIs");
    }
}

#[test]
fn a_client_asks_for_another_ticket_before_its_own_is_over() {
    let mut pair = up();

    pair.pass(Duration::from_secs(8 * 3_600));

    assert_eq!(pair.gateway.endpoint.counters().tickets_granted, 2);
    elsewhere(&mut pair, member("gw2", &[1]));
    pair.initiate();
    pair.settle();
    assert_eq!(exchanges(&pair), RESUMED);
}

// RES-33
// test of RFC 5723 §4.3.2
#[test]
fn nats_are_found_out_anew() {
    let mut pair = orphaned();
    pair.client.nat =
        Some(crate::testing::pair::Nat { outside: [198, 51, 100, 9].into(), ports: Some(1_024) });

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair), RESUMED);
    for end in ENDS {
        assert_eq!(sole(&pair, end).local.port(), 4500, "{end:?}");
    }
    assert!(sole(&pair, End::Gateway).is_peer_behind_nat && sole(&pair, End::Client).are_we_behind_nat);
    pair.assert_in_step();
}

// RES-34
// test of RFC 5723 §4.3.2
#[test]
fn a_cookie_is_asked_for_and_brought_with_the_same_nonce_and_ticket() {
    let mut settings = member("gw2", &[1]);
    settings.limits.cookie_threshold = 0;
    let mut pair = up();
    elsewhere(&mut pair, settings);

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair)[..4], [ExchangeType::IkeSessionResume; 4]);
    let nonce = |number: usize| {
        let message = Message::decode(&pair.sent[number].octets).unwrap();
        message.payloads.find(PayloadType::Nonce).unwrap().body.to_vec()
    };
    assert_eq!(notify(&pair, 1, NotifyType::Cookie), notify(&pair, 2, NotifyType::Cookie));
    assert_eq!(nonce(0), nonce(2));
    assert_eq!(notify(&pair, 0, NotifyType::TicketOpaque), notify(&pair, 2, NotifyType::TicketOpaque));
    assert_resumed(&mut pair);
}

// RES-35
#[test]
fn a_profile_that_does_not_resume_sessions_or_is_for_others_refuses_the_ticket() {
    let not_here: fn(&mut Plan) = |plan| plan.gateway_profile(|profile| profile.resumes = false);
    let others: fn(&mut Plan) = |plan| {
        plan.gateway_profile(|profile| {
            profile.authentication.remote_ids = vec![crate::ike::identity::parse_pattern("bob").unwrap()];
        });
    };
    let otherwise: fn(&mut Plan) = |plan| {
        plan.gateway_profile(|profile| {
            let store = crate::crypto::x509::TrustStore::new(crate::crypto::x509::Revocation::Relaxed);
            profile.authentication.remote = RemoteProof::Certificate(Arc::new(store));
        });
    };
    let renamed: fn(&mut Plan) = |plan| {
        plan.gateway_profile(|profile| profile.name = crate::testing::pair::name("other"));
    };
    for change in [not_here, others, otherwise, renamed] {
        let mut pair = up();
        let mut plan = plan();
        plan.gateway.tickets = Some(Arc::new(sealer("gw2", &[1])));
        change(&mut plan);
        elsewhere(&mut pair, plan.gateway);

        pair.initiate();
        pair.settle();

        assert!(failures(&pair.gateway.events).contains(&Failure::NoProfile));
        assert!(pair.sas(End::Gateway).iter().all(|sa| !sa.is_resumed));
    }
}

#[test]
fn algorithms_that_are_not_wanted_any_more_are_not_brought_back() {
    let mut pair = up();
    let mut settings = member("gw2", &[1]);
    settings.ike_proposals = vec!["aes256gcm16-prfsha384-x25519".parse().unwrap()];
    elsewhere(&mut pair, settings);

    pair.initiate();
    pair.settle();

    assert_eq!(failures(&pair.gateway.events)[0], Failure::NoProposal);
    assert!(notify(&pair, 1, NotifyType::TicketNack).is_some());
}

// RES-37
#[test]
fn a_forged_refusal_costs_a_full_exchange_and_nothing_else() {
    let mut pair = orphaned();
    pair.initiate();
    let request = pair.take(End::Gateway);
    let header = Header {
        direction: Direction::Response,
        sender: OriginalRole::Responder,
        ..Message::decode(&request.octets).unwrap().header
    };
    let octets = encode_message(Vec::new(), &header, |chain| chain.plain(NotifyType::TicketNack)).unwrap();
    let path = crate::ike::Path { local: request.path.remote, remote: request.path.local };
    pair.put(&Flying { to: End::Client, path, octets });
    // The answer to the real one comes too late.
    pair.put(&request);
    pair.settle();

    pair.assert_in_step();
    let sas = pair.sas(End::Client);
    assert_eq!(sas.len(), 1);
    assert!(!sas[0].is_resumed && sas[0].children.len() == 1);
    assert_eq!(pair.client.endpoint.counters().discards[Discard::UnexpectedExchange.position()], 1);
}

// RES-38
// test of RFC 5723 §9.4
#[test]
fn nothing_unauthenticated_makes_a_client_resume() {
    let mut pair = up();
    let sent = pair.sent.len();
    let sa = sole(&pair, End::Client);
    let header = Header {
        spi_i: sa.spi_i,
        spi_r: sa.spi_r,
        version: Version::V2,
        exchange: ExchangeType::Informational,
        sender: OriginalRole::Responder,
        direction: Direction::Response,
        message_id: MessageId(0),
    };
    for kind in [NotifyType::from(4), NotifyType::TicketNack, NotifyType::AuthenticationFailed] {
        let octets = encode_message(Vec::new(), &header, |chain| chain.plain(kind)).unwrap();
        let path = crate::ike::Path { local: sa.local, remote: sa.remote };
        pair.put(&Flying { to: End::Client, path, octets });
    }
    assert_eq!(pair.sent.len(), sent);
    assert_eq!(sole(&pair, End::Client).children.len(), 1);
}

// RES-40
#[test]
fn a_gateway_without_keys_refuses_every_ticket_and_the_client_begins_anew() {
    let mut pair = up();
    let mut settings = member("gw2", &[1]);
    settings.tickets = None;
    elsewhere(&mut pair, settings);

    pair.initiate();
    pair.settle();

    assert_anew(&pair, Failure::TicketsOff);
}

// RES-41
// test of RFC 5723 §9.3
#[test]
fn a_flood_of_tickets_leaves_nothing_behind_and_is_told_now_and_then() {
    let mut pair = orphaned();
    pair.initiate();
    let request = pair.take(End::Gateway);
    pair.events(End::Gateway);
    for number in 0..2_000_u32 {
        let mut flood = with_ticket(&request, &[&[1; 60][..], &number.to_be_bytes()].concat());
        flood.octets[..4].copy_from_slice(&number.to_be_bytes());
        pair.put(&flood);
        pair.wire.clear();
    }

    assert_eq!(pair.gateway.endpoint.counts(), crate::ike::CountSnapshot::default());
    assert_eq!(pair.events(End::Gateway).len(), 1);
    assert_eq!(pair.gateway.endpoint.counters().resume_requests, 2_000);
}

#[test]
fn good_tickets_that_nobody_goes_on_with_meet_the_limits_of_half_open_sas() {
    let mut settings = member("gw2", &[1]);
    settings.limits.half_open_per_source = 4;
    let mut pair = up();
    elsewhere(&mut pair, settings);
    pair.initiate();
    let request = pair.take(End::Gateway);
    for number in 0..100_u32 {
        let mut again = request.clone();
        again.octets[..4].copy_from_slice(&number.to_be_bytes());
        pair.put(&again);
    }

    assert_eq!(pair.gateway.endpoint.counts().half_open, 2, "the others are asked for a cookie");
    assert_eq!(pair.gateway.endpoint.counters().cookies, 98);
}

#[test]
fn a_repeated_request_gets_the_same_answer() {
    let mut pair = orphaned();
    pair.initiate();
    let request = pair.take(End::Gateway);
    pair.put(&request);
    let first = pair.take(End::Client);
    pair.put(&request);

    assert_eq!(pair.take(End::Client), first);
    assert_eq!(pair.gateway.endpoint.counts().half_open, 1);
    pair.put(&first);
    pair.settle();
    assert!(sole(&pair, End::Client).is_resumed);
}

#[test]
fn loss_of_any_message_does_not_keep_a_client_from_coming_back() {
    for lost in 0..4 {
        let mut pair = orphaned();
        pair.fates.insert(lost, crate::testing::pair::Fate::Lost);
        pair.initiate();
        pair.pass(Duration::from_secs(5));

        assert_resumed(&mut pair);
    }
}

// RDM-02
#[test]
fn what_the_client_could_do_before_counts_no_more() {
    let mut plan = plan();
    plan.client.follows_redirects = true;
    let mut pair = plan.build();
    pair.establish();
    assert!(sole(&pair, End::Gateway).follows_redirects);
    let mut plan = self::plan();
    plan.client.follows_redirects = false;
    pair.step(End::Client, Input::Configure(Arc::new(plan.client)));
    elsewhere(&mut pair, member("gw2", &[1]));

    pair.initiate();
    pair.settle();

    assert!(sole(&pair, End::Gateway).is_resumed);
    assert!(!sole(&pair, End::Gateway).follows_redirects);
}

#[test]
fn the_address_is_kept_at_another_member() {
    let mut pair = plan().build();
    // Others were there before, so that it is not the one that everybody gets first.
    pair.gateway.pools.with(|pools| {
        let pool = crate::testing::pair::name("ra4");
        let mut lease = |holder| {
            let (is_ipv6, wanted, takes_over, former) = (false, None, false, None);
            let request = LeaseRequest { pool: &pool, holder, is_ipv6, wanted, takes_over, former };
            pools.lease(&request).unwrap()
        };
        let leases = [lease(b"bob"), lease(b"carol")];
        leases.into_iter().for_each(|lease| pools.release(lease));
    });
    pair.establish();
    let old = sole(&pair, End::Client).addresses;
    assert_eq!(old, [IpAddr::from([10, 99, 0, 3])]);
    elsewhere(&mut pair, member("gw2", &[1]));

    pair.initiate();
    pair.settle();

    assert_eq!(sole(&pair, End::Client).addresses, old);
    assert_resumed(&mut pair);
}

#[test]
fn a_client_that_is_redirected_in_ike_auth_has_its_ticket_by_then() {
    let mut plan = Plan { provider: Provider::Null, ..plan() };
    plan.client.follows_redirects = true;
    plan.gateway_profile(|profile| profile.redirect_auth = true);
    let mut pair = plan.build();
    pair.step(End::Gateway, redirect::targets(1, &[]));
    pair.initiate();
    pair.settle();

    let answer = Plain::open(&pair.sent[3].octets);
    assert_eq!(answer.notifies(), [NotifyType::TicketLtOpaque, NotifyType::Redirect]);
}

// RDM-01
#[test]
fn a_ticket_at_the_vip_is_answered_with_a_redirect_that_has_its_nonce_and_is_still_good() {
    let mut plan = plan();
    plan.client.follows_redirects = true;
    let mut pair = plan.build();
    pair.establish();
    elsewhere(&mut pair, member("gw2", &[1]));
    pair.step(End::Gateway, redirect::targets(1, &["192.0.2.1"]));
    pair.initiate();
    pair.deliver();
    let answer = Message::decode(&pair.wire[0].octets).unwrap();
    let redirect = answer.payloads.notify(NotifyType::Redirect).unwrap();
    let Ok(NotifyContent::Redirect { nonce: Some(nonce), .. }) = redirect.content() else { panic!() };
    let request = Message::decode(&pair.sent[0].octets).unwrap();
    assert_eq!(nonce.as_slice(), request.payloads.find(PayloadType::Nonce).unwrap().body);
    assert_eq!((answer.header.exchange, answer.header.spi_r), (ExchangeType::IkeSessionResume, None));
    assert_eq!(pair.gateway.endpoint.counts(), crate::ike::CountSnapshot::default());

    // With another nonce it is nobody's answer.
    let octets = encode_message(Vec::new(), &answer.header, |chain| {
        let nonce = Some(crate::ike::wire::Nonce::new(&[7; 32]).unwrap());
        chain.notify(&NotifyContent::Redirect { gateway: "192.0.2.3".parse().unwrap(), nonce })
    });
    let forged = Flying { octets: octets.unwrap(), ..pair.wire[0].clone() };
    pair.put(&forged);
    assert_eq!(exchanges(&pair).len(), 2, "the client waits on");

    // It asks for the way there; the ticket is still good.
    pair.deliver();
    let [.., (_, host)] = &pair.client.asked[..] else { panic!("it asks") };
    assert_eq!(*host, "192.0.2.3".parse().unwrap());
}

#[test]
fn a_connection_that_has_changed_begins_anew() {
    let mut pair = orphaned();
    let mut plan = plan();
    plan.client_profile(|profile| {
        profile.authentication.local_id =
            crate::ike::identity::Claim::Id(crate::ike::identity::parse("bob@example.net").unwrap());
        profile.authentication.local =
            LocalProof::SharedKey(Secret::from(&b"a shared key of some length"[..]));
    });
    pair.step(End::Client, Input::Configure(Arc::new(plan.client)));

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair), ANEW[2..]);
}

#[test]
fn a_second_connect_while_the_session_is_up_does_not_use_its_ticket() {
    let mut pair = up();
    pair.sent.clear();

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair)[..2], [ExchangeType::IkeSaInit; 2]);
}
