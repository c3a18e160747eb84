//! Further key exchanges before IKE_AUTH: IKE_INTERMEDIATE, as it should be and as it should not.

use std::time::Duration;

use super::*;
use crate::ike::config::FragmentSize;
use crate::ike::proposal::IkeProposal;
use crate::ike::wire::{KeyExchange as KePayload, KeyExchangeMethod, Notify, NotifyType, Payload, SpiI};
use crate::testing::pair::Fate;

pub(super) const HYBRID: &str = "aes128gcm16-prfsha256-x25519-ke1_mlkem768";

/// Both sides want further key exchanges.
pub(super) fn hybrid(plan: Plan, ike: &str) -> Plan {
    let mut plan = plan;
    for settings in [&mut plan.client, &mut plan.gateway] {
        settings.ike_proposals = vec![ike.parse().unwrap()];
    }
    plan
}

fn exchanges(pair: &Pair) -> Vec<(ExchangeType, u32)> {
    let mut all: Vec<_> = pair.sent.iter().map(said).collect();
    all.dedup();
    all
}

fn said(flying: &Flying) -> (ExchangeType, u32) {
    let message = crate::ike::wire::Message::decode(&flying.octets).unwrap();
    (message.header.exchange, message.header.message_id.0)
}

// test of RFC 9370 §2.2.2
#[test]
fn each_further_key_exchange_has_an_exchange_of_its_own_before_ike_auth() {
    use ExchangeType::{IkeAuth, IkeIntermediate, IkeSaInit};
    let ike = "aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke2_ecp256-ke7_mlkem1024";
    let mut pair = hybrid(Plan::shared_key(), ike).build();

    pair.establish();

    let expected =
        [(IkeSaInit, 0), (IkeIntermediate, 1), (IkeIntermediate, 2), (IkeIntermediate, 3), (IkeAuth, 4)];
    assert_eq!(exchanges(&pair), expected);
    for end in ENDS {
        assert_eq!(&*sole(&pair, end).suite, ike);
    }
    assert_one_of_each(&mut pair, "hybrid");
    assert_eq!(&*sole(&pair, End::Gateway).suite, ike, "rekeyed as well");
}

#[test]
fn every_prf_and_every_way_to_protect_a_message_goes_with_it() {
    for ike in [
        "aes256gcm16-prfsha384-ecp384-ke1_mlkem1024",
        "aes256-sha512-modp2048-ke1_mlkem512",
        "chacha20poly1305-prfsha512-mlkem768-ke1_x25519",
    ] {
        let mut pair = hybrid(Plan::shared_key(), ike).build();
        pair.establish();
        assert_one_of_each(&mut pair, ike);
    }
}

// test of RFC 9242 §3.3.2
#[test]
fn fragments_are_covered_as_if_the_message_had_come_in_one_piece() {
    // Whatever pieces either side cuts, and even if the other one is in no need of it.
    for sizes in [[FragmentSize::LEAST; 2], [FragmentSize::LEAST, FragmentSize::default()]] {
        let mut plan = hybrid(Plan::shared_key(), "aes128gcm16-prfsha256-x25519-ke1_mlkem1024");
        [plan.client.fragment_size, plan.gateway.fragment_size] = sizes;
        let mut pair = plan.build();

        pair.establish();

        let is_further = |flying: &&Flying| said(flying).0 == ExchangeType::IkeIntermediate;
        assert!(pair.sent.iter().filter(is_further).count() > 4, "in fragments");
        assert!(pair.sent.iter().all(|flying| flying.octets.len() < 1_280));
    }
}

#[test]
fn a_handshake_with_further_key_exchanges_comes_to_its_end_whatever_is_lost() {
    let plan = || hybrid(Plan::shared_key(), "aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke2_ecp256");
    loss::each(plan, |_pair| {}, Pair::initiate, assert_one_of_each);
}

#[test]
fn so_it_does_in_fragments_and_with_a_cookie_and_another_group() {
    let plan = || {
        let mut plan = Plan::shared_key();
        plan.client.ike_proposals = vec!["aes128gcm16-prfsha256-ecp256-x25519-ke1_mlkem768".parse().unwrap()];
        plan.gateway.ike_proposals = vec!["aes128gcm16-prfsha256-x25519-ke1_mlkem768".parse().unwrap()];
        plan.gateway.limits.cookie_threshold = 0;
        plan.client.fragment_size = FragmentSize::LEAST;
        plan
    };
    loss::each(plan, |_pair| {}, Pair::initiate, assert_one_of_each);
}

#[test]
fn whoever_does_not_know_them_gets_the_proposal_without() {
    let both: Vec<IkeProposal> =
        [HYBRID, "aes128gcm16-prfsha256-x25519"].map(|text| text.parse().unwrap()).into();
    for (client, gateway, suite) in [
        (&both[..], &both[..], HYBRID),
        (&both[..], &both[1..], "aes128gcm16-prfsha256-x25519"),
        (&both[1..], &both[..], "aes128gcm16-prfsha256-x25519"),
    ] {
        let mut plan = Plan::shared_key();
        plan.client.ike_proposals = client.to_vec();
        plan.gateway.ike_proposals = gateway.to_vec();
        let mut pair = plan.build();
        pair.establish();
        assert_eq!(&*sole(&pair, End::Client).suite, suite);
    }
}

#[test]
fn what_is_acceptable_is_accepted_and_never_offered_first() {
    let mut plan = Plan::shared_key();
    plan.gateway.acceptable = vec![HYBRID.parse().unwrap()];
    plan.client.ike_proposals = vec![HYBRID.parse().unwrap()];
    let mut pair = plan.build();
    pair.establish();
    // Whoever replaces it.
    for end in ENDS {
        rekey_ike(&mut pair, end);
        pair.settle();
        assert_eq!(&*sole(&pair, end).suite, HYBRID);
    }

    let mut plan = Plan::shared_key();
    plan.client.acceptable = vec![HYBRID.parse().unwrap()];
    plan.gateway.acceptable = vec![HYBRID.parse().unwrap()];
    let mut pair = plan.build();
    pair.establish();
    assert_eq!(&*sole(&pair, End::Client).suite, "aes128gcm16-prfsha256-x25519");
}

// test of RFC 9370 §2.2.1
#[test]
fn nothing_follows_where_the_peer_does_not_say_that_it_can() {
    let mut plan = hybrid(open(), HYBRID);
    plan.gateway.ike_proposals.push("aes128gcm16-prfsha256-x25519".parse().unwrap());
    let without = |flying: &Flying| {
        let said = |payload: &Payload<'_>| matches!(payload, Payload::Notify(notify) if notify.kind == NotifyType::IntermediateSupported);
        let plain = Plain::open(&flying.octets).with(|payloads| payloads.retain(|payload| !said(payload)));
        Flying { octets: plain.seal(), ..flying.clone() }
    };
    // Not in the request.
    let mut pair = plan.build();
    pair.initiate();
    let request = pair.take(End::Gateway);
    assert!(Plain::open(&request.octets).notifies().contains(&NotifyType::IntermediateSupported));
    pair.put(&without(&request));
    assert_eq!(Plain::open(&pair.wire[0].octets).notifies(), [NotifyType::NoProposalChosen]);

    // Nor in the answer: the client goes on waiting for the right one.
    let mut pair = hybrid(open(), HYBRID).build();
    pair.initiate();
    let request = pair.take(End::Gateway);
    pair.put(&request);
    let answer = pair.take(End::Client);
    assert!(Plain::open(&answer.octets).notifies().contains(&NotifyType::IntermediateSupported));
    pair.put(&without(&answer));
    assert!(pair.wire.is_empty());
    pair.put(&answer);
    pair.settle();
    assert_eq!(pair.sas(End::Client).len(), 1);
    pair.assert_in_step();
}

#[test]
fn a_classic_exchange_says_nothing_of_them() {
    let mut pair = open().build();
    pair.establish();
    for flying in &pair.sent[..2] {
        assert!(!Plain::open(&flying.octets).notifies().contains(&NotifyType::IntermediateSupported));
    }
}

/// A pair whose IKE_INTERMEDIATE request is under way, or its response, with the messages before it.
fn under_way(to: End) -> (Pair, Flying) {
    let mut pair = hybrid(open(), HYBRID).build();
    pair.initiate();
    for _ in 0..if to == End::Gateway { 2 } else { 3 } {
        pair.deliver();
    }
    let flying = pair.take(to);
    assert_eq!(said(&flying), (ExchangeType::IkeIntermediate, 1));
    (pair, flying)
}

// test of RFC 9242 §3.2
#[test]
fn a_message_at_the_wrong_time_changes_nothing() {
    for to in ENDS {
        let (mut pair, right) = under_way(to);
        let before = pair.side(to).endpoint.state();
        for (exchange, id) in [
            (ExchangeType::IkeIntermediate, 0),
            (ExchangeType::IkeIntermediate, 2),
            (ExchangeType::IkeAuth, 1),
            (ExchangeType::IkeAuth, 2),
            (ExchangeType::Informational, 1),
            (ExchangeType::CreateChildSa, 1),
            (ExchangeType::IkeFollowupKe, 1),
        ] {
            let mut plain = Plain::open(&right.octets);
            plain.header.exchange = exchange;
            plain.header.message_id = MessageId(id);
            pair.put(&Flying { octets: plain.seal(), ..right.clone() });
            assert!(pair.wire.is_empty(), "{exchange} {id}");
        }
        // One of nobody, too.
        let mut plain = Plain::open(&right.octets);
        plain.header.spi_i = SpiI(std::num::NonZeroU64::MAX);
        pair.put(&Flying { octets: plain.seal(), ..right.clone() });
        pair.wire.clear();
        if to == End::Client {
            assert_eq!(pair.side(to).endpoint.state(), before);
        }
        pair.put(&right);
        pair.settle();
        assert_one_of_each(&mut pair, "as ever");
    }
}

#[test]
fn a_forged_message_changes_nothing() {
    for to in ENDS {
        let mut pair = hybrid(Plan::shared_key(), HYBRID).build();
        pair.initiate();
        for _ in 0..if to == End::Gateway { 2 } else { 3 } {
            pair.deliver();
        }
        let right: Vec<Flying> = pair.wire.drain(..).collect();
        for at in [20, 30, right[0].octets.len() - 1, right[0].octets.len() / 2] {
            let mut forged = right[0].clone();
            forged.octets[at] ^= 1;
            pair.put(&forged);
            assert!(pair.wire.is_empty(), "{at}");
            let short = Flying { octets: forged.octets[..at].to_vec(), ..forged };
            pair.put(&short);
            assert!(pair.wire.is_empty(), "{at}");
        }
        for right in &right {
            pair.put(right);
        }
        pair.settle();
        pair.assert_in_step();
        assert_eq!(pair.sas(End::Client).len(), 1);
    }
}

/// The request or response with other payloads.
fn changed(flying: &Flying, change: impl FnOnce(&mut Vec<Payload<'_>>)) -> Flying {
    Flying { octets: Plain::open(&flying.octets).with(change).seal(), ..flying.clone() }
}

#[test]
fn a_request_without_the_right_public_value_ends_the_attempt() {
    let other =
        |method, length: usize| Payload::KeyExchange(KePayload { method, data: vec![7; length].into() });
    for (name, payloads, failure) in [
        ("nothing", vec![], Failure::BadPublicValue),
        ("another method", vec![other(KeyExchangeMethod::MlKem512, 800)], Failure::BadPublicValue),
        ("too short", vec![other(KeyExchangeMethod::MlKem768, 1_183)], Failure::BadPublicValue),
        ("too long", vec![other(KeyExchangeMethod::MlKem768, 1_185)], Failure::BadPublicValue),
        ("two", vec![other(KeyExchangeMethod::MlKem768, 1_184); 2], Failure::Syntax),
        ("a nonce", vec![Payload::Nonce(crate::ike::wire::Nonce::new(&[1; 32]).unwrap())], Failure::Syntax),
    ] {
        let (mut pair, right) = under_way(End::Gateway);
        pair.put(&changed(&right, |all| *all = payloads));

        let answer = pair.take(End::Client);
        assert_eq!(Plain::open(&answer.octets).notifies(), [NotifyType::InvalidSyntax], "{name}");
        assert_eq!(failures(&pair.gateway.events), [failure], "{name}");
        assert_eq!(said(&answer), (ExchangeType::IkeIntermediate, 1));
        // The real one comes too late: it gets the same answer.
        pair.put(&right);
        assert_eq!(pair.take(End::Client), answer, "{name}");
        pair.put(&answer);
        assert_eq!(failures(&pair.client.events), [Failure::PeerRefused], "{name}");
        pair.pass(Duration::from_secs(60));
        for end in ENDS {
            assert!(pair.sas(end).is_empty(), "{name}");
        }
    }
}

#[test]
fn a_response_without_the_right_public_value_ends_the_attempt() {
    let other =
        |method, length: usize| Payload::KeyExchange(KePayload { method, data: vec![7; length].into() });
    for (name, payloads, failure) in [
        ("nothing", vec![], Failure::BadPublicValue),
        ("another method", vec![other(KeyExchangeMethod::MlKem512, 768)], Failure::BadPublicValue),
        ("too short", vec![other(KeyExchangeMethod::MlKem768, 1_087)], Failure::BadPublicValue),
        ("two", vec![other(KeyExchangeMethod::MlKem768, 1_088); 2], Failure::Syntax),
        ("a refusal", vec![Payload::Notify(Notify::plain(NotifyType::InvalidSyntax))], Failure::PeerRefused),
    ] {
        let (mut pair, right) = under_way(End::Client);
        pair.put(&changed(&right, |all| *all = payloads));

        assert_eq!(failures(&pair.client.events), [failure], "{name}");
        assert!(pair.sas(End::Client).is_empty(), "{name}");
        assert!(pair.wire.is_empty(), "{name}: {:?}", pair.wire);
    }
}

/// What a man in the middle could change who has broken the first key exchange.
// test of RFC 9242 §5
#[test]
fn what_was_changed_under_way_is_seen_in_auth() {
    for to in ENDS {
        let (mut pair, right) = under_way(to);
        let more = Payload::Notify(Notify::plain(NotifyType::from(40_000)));

        pair.put(&changed(&right, |payloads| payloads.push(more)));
        pair.settle();

        let seen = failures(&pair.gateway.events);
        assert_eq!(seen, [Failure::Authentication], "{to:?}");
        assert!(pair.sas(End::Client).is_empty());
    }
}

#[test]
fn a_request_that_is_repeated_is_answered_again_with_the_old_keys_and_not_for_ever() {
    let (mut pair, request) = under_way(End::Gateway);
    pair.put(&request);
    let first = pair.take(End::Client);
    pair.put(&request);
    assert_eq!(pair.take(End::Client), first, "the same octets");
    pair.put(&first);
    let auth = pair.take(End::Gateway);
    assert_eq!(said(&auth), (ExchangeType::IkeAuth, 2));
    // The answer came twice.
    pair.put(&first);
    assert!(pair.wire.is_empty());
    pair.put(&auth);
    // The request, once more, after everything.
    let answer = pair.take(End::Client);
    pair.put(&request);
    assert!(pair.wire.is_empty());
    pair.put(&answer);
    pair.settle();
    assert_one_of_each(&mut pair, "repeated");
}

#[test]
fn nobody_waits_for_ever_for_what_does_not_come() {
    // The gateway hears nothing more.
    let (mut pair, _request) = under_way(End::Gateway);
    let at = pair.sent.len();
    pair.fates.extend((at..at + 100).map(|number| (number, Fate::Lost)));

    pair.pass(Duration::from_secs(600));

    assert_eq!(failures(&pair.gateway.events), [Failure::Timeout]);
    assert_eq!(failures(&pair.client.events), [Failure::Timeout]);
    for end in ENDS {
        assert!(pair.sas(end).is_empty());
        assert_eq!(pair.side(end).endpoint.counts().half_open, 0);
    }
}

#[test]
fn an_attempt_can_be_called_off() {
    let (mut pair, _request) = under_way(End::Gateway);
    assert_eq!(pair.sas(End::Client).len(), 1);

    pair.command(End::Client, Command::Clear(crate::ike::Selection::All));

    assert!(pair.sas(End::Client).is_empty());
}

// test of RFC 9242 §3.2
#[test]
fn behind_a_nat_it_is_the_first_further_exchange_that_goes_to_the_other_port() {
    let mut pair = hybrid(Plan::shared_key(), HYBRID).build();
    let outside = "198.51.100.1".parse().unwrap();
    pair.client.nat = Some(crate::testing::pair::Nat { outside, ports: Some(40_000) });

    pair.establish();

    let is_further = |flying: &&Flying| said(flying).0 == ExchangeType::IkeIntermediate;
    let request = pair.sent.iter().find(is_further).unwrap();
    assert_eq!((request.path.local.port(), request.path.remote.port()), (4_500, 40_001));
    assert_one_of_each(&mut pair, "behind a NAT");
}
