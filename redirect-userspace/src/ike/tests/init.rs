//! IKE_SA_INIT: what is accepted, what is refused and how, and what an initiator makes of answers
//! that anybody may have sent.

use std::num::{NonZeroU8, NonZeroU64};
use std::time::Duration;

use super::*;
use crate::ike::wire::{
    AdditionalIndex, Cookie, KeyExchange, KeyExchangeMethod, Notify, NotifyContent, NotifyType, Payload,
    PayloadType, RawPayload, Sa, SpiR, Transform,
};
use crate::ike::{Discard, Input, Path};
use crate::machine::Machine as _;

/// The client's first message, which has not arrived.
fn begun(plan: Plan) -> (Pair, Flying) {
    let mut pair = plan.build();
    pair.initiate();
    let request = pair.take(End::Gateway);
    (pair, request)
}

/// What a gateway answers to a request that was changed under way: nothing, or one message.
fn answer(change: impl FnOnce(&mut Vec<u8>)) -> (Pair, Option<Plain>) {
    let (mut pair, mut request) = begun(open());
    change(&mut request.octets);
    let length = request.octets.len();
    pair.put(&request);
    let answer = pair.wire.pop_front();
    assert!(pair.wire.is_empty());
    if let Some(answer) = &answer {
        assert_eq!(answer.to, End::Client);
        let is_refusal = Plain::open(&answer.octets).header.spi_r.is_none();
        assert!(!is_refusal || answer.octets.len() <= length, "no refusal is longer than its request");
    }
    (pair, answer.map(|answer| Plain::open(&answer.octets)))
}

/// The same for a request whose payloads were changed.
fn answer_to(change: impl FnOnce(&mut Vec<Payload<'_>>)) -> (Pair, Option<Plain>) {
    answer(|octets| *octets = Plain::open(octets).with(change).seal())
}

/// A refusal leaves nothing behind.
fn assert_refused((pair, answer): (Pair, Option<Plain>), expected: &NotifyContent<'_>) {
    let answer = answer.expect("an answer");
    let [Payload::Notify(notify)] = &answer.payloads()[..] else { panic!("{answer:?}") };
    assert_eq!(notify.content().as_ref(), Ok(expected));
    let header = answer.header;
    assert_eq!((header.spi_r, header.version, header.message_id), (None, Version::V2, MessageId(0)));
    assert_eq!((header.direction, header.sender), (Direction::Response, OriginalRole::Responder));
    assert_eq!(pair.gateway.endpoint.counts().half_open, 0);
}

fn assert_accepted((pair, answer): (Pair, Option<Plain>)) -> Plain {
    let answer = answer.expect("an answer");
    let kinds = answer.kinds();
    assert!(kinds.starts_with(&[PayloadType::Sa, PayloadType::KeyExchange, PayloadType::Nonce]), "{kinds:?}");
    assert_eq!(answer.header.version, Version::V2);
    assert_eq!(pair.gateway.endpoint.counts().half_open, 1);
    answer
}

fn assert_silent((pair, answer): (Pair, Option<Plain>), discard: Discard) {
    assert_eq!(answer, None);
    assert_eq!(pair.gateway.endpoint.counts().half_open, 0);
    assert_eq!(pair.gateway.endpoint.counters().discards[discard.position()], 1, "{discard}");
}

fn set_length(octets: &mut Vec<u8>, length: usize) {
    octets.resize(length, 0);
    let length = u32::try_from(length).unwrap();
    octets[24..28].copy_from_slice(&length.to_be_bytes());
}

fn without(kind: PayloadType) -> impl FnOnce(&mut Vec<Payload<'_>>) {
    move |payloads| payloads.retain(|payload| payload.kind() != kind)
}

fn unknown(kind: u8, is_critical: bool) -> Payload<'static> {
    Payload::Unknown(RawPayload { kind: PayloadType::from(kind), is_critical, next: None, body: b"what" })
}

/// What the client makes of an answer that was changed under way: nothing. The real one, which
/// comes next, is taken.
fn assert_client_waits(change: impl FnOnce(&Plain) -> Vec<u8>) {
    let (mut pair, request) = begun(open());
    pair.put(&request);
    let real = pair.take(End::Client);
    let forged = Flying { octets: change(&Plain::open(&real.octets)), ..real.clone() };

    pair.put(&forged);

    assert!(pair.wire.is_empty(), "nothing is answered");
    assert_eq!(pair.client.endpoint.counts().half_open, 1, "it still waits");
    assert_eq!(pair.client.events, []);
    pair.put(&real);
    pair.settle();
    pair.assert_in_step();
    assert_eq!(pair.client.plane.len(), 1);
}

// BAS-01
#[test]
fn whatever_is_shorter_than_a_header_is_dropped() {
    for length in 0..28 {
        assert_silent(answer(|octets| octets.truncate(length)), Discard::Malformed);
    }
}

// BAS-02 BAS-03
#[test]
fn a_datagram_that_is_longer_or_shorter_than_its_header_says_is_dropped() {
    assert_silent(answer(|octets| octets.push(0)), Discard::Malformed);
    assert_silent(answer(|octets| octets.truncate(octets.len() - 1)), Discard::Malformed);
}

// BAS-04 BAS-05 BAS-06
#[test]
fn payloads_that_do_not_fill_their_message_are_dropped() {
    for length in 0..4 {
        assert_silent(answer(|octets| octets[30..32].copy_from_slice(&[0, length])), Discard::Malformed);
    }
    assert_silent(answer(|octets| octets[30] = 0xff), Discard::Malformed);
    // The chain ends before the message does.
    assert_silent(answer(|octets| octets[28] = 0), Discard::Malformed);
}

// BAS-06
#[test]
fn a_payload_that_is_not_what_it_is_called_is_refused() {
    // The SA payload as a nonce.
    let answer = answer(|octets| octets[16] = 40);
    assert_refused(answer, &NotifyContent::Plain(NotifyType::InvalidSyntax));
}

// BAS-07
#[test]
fn a_message_of_very_many_payloads_costs_little() {
    let (pair, _) = answer_to(|payloads| {
        payloads.extend((0..4_000).map(|_| Payload::Notify(Notify::plain(NotifyType::from(40_000)))));
    });

    assert_eq!(pair.gateway.endpoint.counts().half_open, 0);
}

// BAS-08
#[test]
fn a_request_without_one_of_its_payloads_is_refused() {
    for kind in [PayloadType::Sa, PayloadType::KeyExchange, PayloadType::Nonce] {
        assert_refused(answer_to(without(kind)), &NotifyContent::Plain(NotifyType::InvalidSyntax));
    }
}

// BAS-09
#[test]
fn an_answer_without_one_of_its_payloads_is_not_acted_upon() {
    for kind in [PayloadType::Sa, PayloadType::KeyExchange, PayloadType::Nonce] {
        assert_client_waits(|real| real.with(without(kind)).seal());
    }
}

// BAS-10 BAS-12
#[test]
fn a_public_value_of_another_length_is_refused() {
    for length in [0, 1, 31, 33, 64, 128] {
        let answer = answer_to(|payloads| {
            for payload in payloads {
                if let Payload::KeyExchange(public) = payload {
                    public.data = vec![1; length].into();
                }
            }
        });
        assert_refused(answer, &NotifyContent::Plain(NotifyType::InvalidSyntax));
    }
}

// test of RFC 8031 §4
// BAS-11
#[test]
fn a_public_value_that_makes_the_secret_zero_comes_to_nothing() {
    let (mut pair, request) = begun(Plan::shared_key());
    let zero = Plain::open(&request.octets).with(|payloads| {
        for payload in payloads {
            if let Payload::KeyExchange(public) = payload {
                public.data = vec![0; 32].into();
            }
        }
    });
    pair.put(&Flying { octets: zero.seal(), ..request });
    pair.settle();

    assert_eq!(failures(&pair.gateway.events), [Failure::BadPublicValue]);
    assert_eq!(pair.gateway.endpoint.counts().half_open, 0);
    assert_eq!(pair.gateway.endpoint.counts().established, 0);
}

// test of RFC 7296 §2.21.1
// BAS-11
#[test]
fn a_forged_answer_with_a_public_value_of_no_use_does_not_keep_the_real_one_out() {
    let (mut pair, request) = begun(Plan::shared_key());
    pair.put(&request);
    let real = pair.take(End::Client);
    let zero = Plain::open(&real.octets).with(|payloads| {
        for payload in payloads {
            if let Payload::KeyExchange(public) = payload {
                public.data = vec![0; 32].into();
            }
        }
    });

    pair.put(&Flying { octets: zero.seal(), ..real.clone() });
    pair.put(&real);
    pair.settle();

    pair.assert_in_step();
    assert_eq!(sole(&pair, End::Client).children.len(), 1);
}

// test of RFC 7296 §2.5
// BAS-13
#[test]
fn payloads_may_come_in_any_order() {
    for turns in 1..4 {
        assert_accepted(answer_to(|payloads| payloads.rotate_left(turns)));
    }
    assert_accepted(answer_to(|payloads| payloads.reverse()));
}

// test of RFC 7296 §2.5
// BAS-14 BAS-15 BAS-16 VER-06 VER-16
#[test]
fn reserved_bits_and_the_critical_bit_of_what_is_known_are_ignored() {
    for bit in [0x01, 0x02, 0x04, 0x10, 0x40, 0x80] {
        assert_accepted(answer(|octets| octets[19] |= bit));
    }
    for bits in [0x7f, 0x80, 0xff] {
        assert_accepted(answer(|octets| octets[29] = bits));
    }
    // Behind "last proposal", and behind "last transform" of the first one.
    assert_accepted(answer(|octets| octets[33] = 0xff));
    assert_accepted(answer(|octets| octets[41] = 0xff));
}

// BAS-18 BAS-19
#[test]
fn notifies_that_are_not_known_are_ignored() {
    for kind in [16_383, 65_535, 40_959] {
        let notify = Payload::Notify(Notify { data: b"data", ..Notify::plain(NotifyType::from(kind)) });
        assert_accepted(answer_to(|payloads| payloads.push(notify)));
    }
}

// BAS-20
#[test]
fn abilities_that_nobody_has_asked_for_are_ignored_in_an_answer() {
    let (mut pair, request) = begun(open());
    pair.put(&request);
    let real = pair.take(End::Client);
    let more = Plain::open(&real.octets).with(|payloads| {
        for kind in [NotifyType::IntermediateSupported, NotifyType::MobikeSupported] {
            payloads.push(Payload::Notify(Notify::plain(kind)));
        }
    });

    pair.put(&Flying { octets: more.seal(), ..real });

    assert_eq!(pair.wire.len(), 1, "IKE_AUTH is sent");
}

// BAS-22
#[test]
fn the_number_of_the_proposal_that_is_chosen_comes_back() {
    let mut plan = open();
    plan.client.ike_proposals = vec![
        "aes256gcm16-prfsha384-ecp384".parse().unwrap(),
        "aes128gcm16-prfsha256-x25519".parse().unwrap(),
    ];
    plan.client.esp_proposals = vec!["aes256gcm16".parse().unwrap(), "aes128gcm16".parse().unwrap()];
    plan.gateway.ike_proposals = vec!["aes128gcm16-prfsha256-x25519".parse().unwrap()];
    let mut pair = plan.build();
    pair.initiate();
    pair.settle();

    let chosen = |plain: &Plain| match plain
        .payloads()
        .into_iter()
        .find(|payload| payload.kind() == PayloadType::Sa)
    {
        Some(Payload::Sa(sa)) => sa.proposals().iter().map(|proposal| proposal.number.get()).collect(),
        _ => Vec::new(),
    };
    let answers: Vec<Vec<u8>> = pair
        .sent
        .iter()
        .filter(|flying| flying.to == End::Client)
        .map(|flying| chosen(&Plain::open(&flying.octets)))
        .collect();
    // The client's first group is not the gateway's: an answer without a proposal comes first.
    assert_eq!(answers, [vec![], vec![2], vec![2]]);
    pair.assert_in_step();
}

// BAS-23 BAS-24 BAS-25
#[test]
fn what_is_no_exchange_of_ikev2_is_dropped() {
    // Main and aggressive mode of IKEv1.
    for exchange in [2, 4] {
        assert_silent(
            answer(|octets| {
                octets[17] = 0x10;
                octets[18] = exchange;
            }),
            Discard::MajorVersion,
        );
    }
    for exchange in [0, 33, 35, 36, 37, 43, 44, 240, 243, 255] {
        assert_silent(answer(|octets| octets[18] = exchange), Discard::UnknownSpi);
    }
}

// BAS-27
#[test]
fn a_request_of_the_wrong_role_or_direction_or_number_is_dropped() {
    assert_silent(answer(|octets| octets[19] = 0), Discard::UnknownSpi);
    assert_silent(answer(|octets| octets[19] = 0x28), Discard::UnknownSpi);
    assert_silent(answer(|octets| octets[23] = 1), Discard::UnknownSpi);
}

// SPI-05 SPI-06
#[test]
fn a_request_without_an_spi_or_with_one_too_many_is_dropped() {
    assert_silent(answer(|octets| octets[..8].fill(0)), Discard::Malformed);
    assert_silent(answer(|octets| octets[15] = 1), Discard::UnknownSpi);
}

// test of RFC 7296 §2.21.4
// SPI-01 SPI-02 SPI-04
#[test]
fn messages_of_no_sa_change_nothing_and_only_requests_are_answered() {
    let mut pair = opened();
    for direction in [Direction::Request, Direction::Response] {
        for (spi_i, spi_r) in [(1, 2), (3, 0)] {
            let sa = sole(&pair, End::Gateway);
            let flying =
                made_up(&pair, End::Client, ExchangeType::Informational, (direction, 2), |_chain| Ok(()));
            let mut octets = flying.octets.clone();
            octets[7] ^= spi_i;
            octets[15] ^= spi_r;

            pair.put(&Flying { octets, ..flying });

            // One that has the SPI of an SA is none of its peer, and not one of a lost SA either.
            let is_answered = direction == Direction::Request && spi_r != 0;
            assert_eq!(pair.wire.len(), usize::from(is_answered), "{direction:?} {spi_r}");
            pair.wire.clear();
            assert_eq!(sole(&pair, End::Gateway), sa);
        }
    }
    assert_eq!(pair.gateway.endpoint.counters().discards[Discard::UnknownSpi.position()], 4);
}

// test of RFC 7296 §2.5
// VER-01 VER-03
#[test]
fn a_request_of_a_later_version_is_told_ours_and_an_answer_is_not() {
    let (pair, plain) = answer(|octets| octets[17] = 0x30);
    assert_refused((pair, plain), &NotifyContent::Plain(NotifyType::InvalidMajorVersion));
    assert_silent(
        answer(|octets| {
            octets[17] = 0x30;
            octets[19] = 0x20;
        }),
        Discard::MajorVersion,
    );
    assert_client_waits(|real| {
        let mut octets = real.seal();
        octets[17] = 0x30;
        octets
    });
}

// VER-04 VER-05
#[test]
fn a_later_minor_version_makes_no_difference() {
    assert_accepted(answer(|octets| octets[17] = 0x21));
    let (mut pair, request) = begun(open());
    pair.put(&request);
    let mut answer = pair.take(End::Client);
    answer.octets[17] = 0x21;
    pair.put(&answer);
    assert_eq!(pair.wire.len(), 1, "IKE_AUTH is sent");
}

// test of RFC 7296 §2.21.1
// VER-02 SPI-03
#[test]
fn refusals_that_anybody_may_have_sent_are_not_believed_while_the_real_answer_may_come() {
    for kind in [
        NotifyType::InvalidMajorVersion,
        NotifyType::NoProposalChosen,
        NotifyType::InvalidSyntax,
        NotifyType::InvalidIkeSpi,
        NotifyType::AuthenticationFailed,
        NotifyType::from(16_383),
    ] {
        assert_client_waits(|real| {
            let mut refusal = real.with(|payloads| *payloads = vec![Payload::Notify(Notify::plain(kind))]);
            refusal.header.spi_r = None;
            refusal.seal()
        });
    }
}

// VER-02
#[test]
fn a_refusal_that_stays_the_only_answer_is_the_reason_in_the_end() {
    let (mut pair, request) = begun(open());
    let refusal = Plain::open(&request.octets).with(|payloads| {
        *payloads = vec![Payload::Notify(Notify::plain(NotifyType::NoProposalChosen))];
    });
    let mut octets = refusal.seal();
    octets[19] = 0x20;
    let path = Path { local: request.path.remote, remote: request.path.local };
    pair.put(&Flying { to: End::Client, path, octets });
    // The gateway is never heard of.
    for number in 0..100 {
        pair.fates.insert(number, crate::testing::pair::Fate::Lost);
    }

    pair.pass(Duration::from_secs(166));

    assert_eq!(failures(&pair.client.events), [Failure::PeerRefused]);
    assert_eq!(pair.client.endpoint.counts().half_open, 0);
}

// VER-07 VER-08
#[test]
fn a_payload_that_is_not_known_is_skipped_unless_it_is_critical() {
    for kind in [1, 32, 55, 255] {
        assert_accepted(answer_to(|payloads| payloads.push(unknown(kind, false))));
        assert_accepted(answer_to(|payloads| payloads.insert(0, unknown(kind, false))));
        assert_refused(
            answer_to(|payloads| payloads.push(unknown(kind, true))),
            &NotifyContent::UnsupportedCriticalPayload(kind),
        );
    }
}

// VER-09
#[test]
fn an_answer_with_a_critical_payload_that_is_not_known_is_not_acted_upon() {
    assert_client_waits(|real| real.with(|payloads| payloads.push(unknown(255, true))).seal());
}

fn groups(client: &str, gateway: &str) -> Plan {
    let mut plan = open();
    plan.client.ike_proposals = vec![client.parse().unwrap()];
    plan.gateway.ike_proposals = vec![gateway.parse().unwrap()];
    plan
}

// test of RFC 7296 §1.2
// KEX-01 KEX-02 KEX-03
#[test]
fn a_client_whose_group_is_not_wanted_begins_again_with_the_one_that_is() {
    let (mut pair, first) =
        begun(groups("aes128gcm16-prfsha256-ecp384-x25519-ecp256", "aes128gcm16-prfsha256-x25519-ecp256"));
    pair.put(&first);
    assert_eq!(pair.gateway.endpoint.counts().half_open, 0);
    let refusal = pair.take(End::Client);
    let plain = Plain::open(&refusal.octets);
    let wanted = NotifyContent::InvalidKePayload(KeyExchangeMethod::Curve25519);
    assert_eq!(plain.chain().notifies().next().unwrap().content(), Ok(wanted));
    assert_eq!(plain.header.spi_r, None);

    pair.put(&refusal);

    let second = pair.take(End::Gateway);
    let (one, two) = (Plain::open(&first.octets), Plain::open(&second.octets));
    assert_eq!(one.header, two.header);
    let (one, two) = (one.payloads(), two.payloads());
    for (one, two) in one.iter().zip(&two) {
        if let Payload::KeyExchange(public) = two {
            assert_eq!((public.method, public.data.len()), (KeyExchangeMethod::Curve25519, 32));
        } else {
            assert_eq!(one, two, "everything else is as it was");
        }
    }
    pair.put(&second);
    pair.settle();
    pair.assert_in_step();
    assert_eq!(sole(&pair, End::Client).children.len(), 1);
}

// KEX-04
#[test]
fn another_group_is_wanted_even_when_the_answer_has_an_spi() {
    let (mut pair, first) =
        begun(groups("aes128gcm16-prfsha256-ecp256-x25519", "aes128gcm16-prfsha256-x25519"));
    pair.put(&first);
    let mut refusal = pair.take(End::Client);
    refusal.octets[15] = 7;

    pair.put(&refusal);
    pair.settle();

    pair.assert_in_step();
    assert_eq!(sole(&pair, End::Client).children.len(), 1);
}

// KEX-05
#[test]
fn a_group_that_was_not_offered_is_not_gone_along_with() {
    for method in [KeyExchangeMethod::Modp1024, KeyExchangeMethod::Modp4096, KeyExchangeMethod::None] {
        assert_client_waits(|real| {
            let wanted = method;
            let mut refusal =
                Plain::new(real.header, |chain| chain.notify(&NotifyContent::InvalidKePayload(wanted)));
            refusal.is_protected = false;
            refusal.header.spi_r = None;
            refusal.seal()
        });
    }
}

// COO-08
#[test]
fn whoever_is_sent_from_group_to_group_stops_after_a_few() {
    let (mut pair, first) =
        begun(groups("aes128gcm16-prfsha256-ecp256-x25519", "aes128gcm16-prfsha256-x25519"));
    let mut requests = 0;
    for turn in 0..20 {
        let wanted = if turn % 2 == 0 { KeyExchangeMethod::Curve25519 } else { KeyExchangeMethod::Ecp256 };
        let mut refusal = Plain::new(Plain::open(&first.octets).header, |chain| {
            chain.notify(&NotifyContent::InvalidKePayload(wanted))
        });
        refusal.is_protected = false;
        refusal.header.direction = Direction::Response;
        refusal.header.sender = OriginalRole::Responder;
        let path = Path { local: first.path.remote, remote: first.path.local };
        pair.put(&Flying { to: End::Client, path, octets: refusal.seal() });
        requests += pair.wire.len();
        pair.wire.clear();
    }
    assert!((1..=4).contains(&requests), "{requests}");
}

// KEX-06
#[test]
fn a_client_that_offers_nothing_of_ours_is_told_so() {
    let (mut pair, request) = begun(groups("aes256gcm16-prfsha384-x25519", "aes128gcm16-prfsha256-x25519"));
    pair.put(&request);

    let answer = Plain::open(&pair.take(End::Client).octets);
    assert_eq!(answer.notifies(), [NotifyType::NoProposalChosen]);
    assert_eq!(answer.header.spi_r, None);
    assert_eq!(failures(&pair.gateway.events), [Failure::NoProposal]);
    assert_eq!(pair.gateway.endpoint.counts().half_open, 0);
}

// KEX-07
#[test]
fn whoever_goes_on_after_a_refusal_is_not_heard() {
    let (mut pair, request) = begun(groups("aes256gcm16-prfsha384-x25519", "aes128gcm16-prfsha256-x25519"));
    pair.put(&request);
    let refusal = Plain::open(&pair.take(End::Client).octets);
    assert_eq!(refusal.notifies(), [NotifyType::NoProposalChosen]);
    let header = Header {
        spi_i: refusal.header.spi_i,
        spi_r: NonZeroU64::new(7).map(SpiR),
        version: Version::V2,
        exchange: ExchangeType::IkeAuth,
        sender: OriginalRole::Initiator,
        direction: Direction::Request,
        message_id: MessageId(1),
    };
    let identity = Plain::new(header, |chain| chain.plain(NotifyType::InitialContact));

    pair.put(&Flying { octets: identity.seal(), ..request });

    assert_eq!(pair.gateway.endpoint.counts().half_open, 0);
    assert!(pair.sas(End::Gateway).is_empty());
    assert!(pair.wire.iter().all(|answer| {
        let answer = Plain::open(&answer.octets);
        answer.notifies() == [NotifyType::InvalidIkeSpi]
    }));
}

// KEX-12
#[test]
fn a_client_that_would_like_more_key_exchanges_gets_the_proposal_without() {
    let (pair, answer) = answer_to(|payloads| {
        for payload in payloads {
            let Payload::Sa(sa) = payload else { continue };
            let [classic] = sa.proposals() else { panic!("one proposal") };
            let (mut hybrid, mut classic) = (classic.clone(), classic.clone());
            let first = AdditionalIndex::new(0).unwrap();
            hybrid.transforms.push(Transform::AdditionalKeyExchange(first, KeyExchangeMethod::MlKem768));
            classic.number = NonZeroU8::new(2).unwrap();
            *sa = Sa::new(vec![hybrid, classic]).unwrap();
        }
    });

    let answer = assert_accepted((pair, answer));
    let payloads = answer.payloads();
    let Payload::Sa(sa) = &payloads[0] else { panic!("{payloads:?}") };
    let [chosen] = sa.proposals() else { panic!("{sa:?}") };
    assert_eq!(chosen.number.get(), 2);
    assert!(
        !chosen
            .transforms
            .iter()
            .any(|transform| { matches!(transform, Transform::AdditionalKeyExchange(..)) })
    );
}

// NAT-06
#[test]
fn there_is_no_marker_before_a_message_on_port_500() {
    let marked = answer(|octets| {
        octets.splice(0..0, [0; 4]);
    });
    assert_eq!(marked.1, None);
    assert_eq!(marked.0.gateway.endpoint.counts().half_open, 0);
    assert_eq!(marked.0.gateway.endpoint.counters().discards.iter().sum::<u64>(), 1);
}

// KEX-09
#[test]
fn of_each_kind_of_transform_exactly_one_is_chosen() {
    let (mut pair, request) = begun(groups(
        "chacha20poly1305-aes256gcm16-aes128gcm16-prfsha512-prfsha256-x25519-ecp256",
        "aes128gcm16-aes256gcm16-prfsha256-prfsha512-x25519-ecp256",
    ));
    pair.put(&request);

    let answer = Plain::open(&pair.take(End::Client).octets);
    let payloads = answer.payloads();
    let Payload::Sa(sa) = &payloads[0] else { panic!("{payloads:?}") };
    let [proposal] = sa.proposals() else { panic!("{sa:?}") };
    let mut kinds: Vec<_> = proposal.transforms.iter().map(Transform::kind).collect();
    kinds.sort_unstable();
    let count = kinds.len();
    kinds.dedup();
    assert_eq!((kinds.len(), count), (3, 3), "{proposal:?}");
}

// KEX-10
#[test]
fn an_answer_that_was_not_offered_is_not_acted_upon() {
    for wrong in
        ["aes256gcm16-prfsha256-x25519", "aes128gcm16-prfsha512-x25519", "aes128gcm16-prfsha256-ecp384"]
    {
        let proposals: Vec<crate::ike::proposal::IkeProposal> = vec![wrong.parse().unwrap()];
        let sa: Sa = crate::ike::proposal::IkeProposal::offer(&proposals, None).unwrap();
        assert_client_waits(|real| {
            real.with(|payloads| {
                for payload in payloads {
                    if let Payload::Sa(chosen) = payload {
                        *chosen = sa.clone();
                    }
                }
            })
            .seal()
        });
    }
    // All that was offered instead of one of each kind.
    assert_client_waits(|real| {
        let proposals: Vec<crate::ike::proposal::IkeProposal> =
            vec!["aes128gcm16-prfsha256-x25519-ecp256".parse().unwrap()];
        let all = crate::ike::proposal::IkeProposal::offer(&proposals, None).unwrap();
        real.with(|payloads| {
            for payload in payloads {
                if let Payload::Sa(chosen) = payload {
                    *chosen = all.clone();
                }
            }
        })
        .seal()
    });
    assert_client_waits(|real| {
        real.with(|payloads| {
            for payload in payloads {
                if let Payload::KeyExchange(public) = payload {
                    *public = KeyExchange { method: KeyExchangeMethod::Ecp256, data: vec![1; 64].into() };
                }
            }
        })
        .seal()
    });
}

// test of RFC 7296 §2.1
// RTX-01 RTX-06
#[test]
fn a_request_that_comes_twice_is_answered_twice_with_the_same_octets() {
    let (mut pair, request) = begun(open());
    pair.put(&request);
    pair.put(&request);
    pair.put(&request);

    let answers: Vec<_> = pair.wire.drain(..).collect();
    assert_eq!(answers.len(), 3);
    assert!(answers.iter().all(|answer| answer.octets == answers[0].octets));
    assert_eq!(pair.gateway.endpoint.counts().half_open, 1);
    // It never comes back to the matter of itself.
    for _ in 0..10 {
        pair.now = pair.now.after(Duration::from_secs(1));
        pair.step(End::Gateway, Input::Timeout);
    }
    assert!(pair.wire.is_empty());
}

// test of RFC 7296 §2.1
// RTX-02
#[test]
fn a_late_copy_of_the_first_request_is_ignored_once_the_client_has_gone_on() {
    for wrong_key in [false, true] {
        let mut plan = open();
        if wrong_key {
            plan.client_profile(|profile| {
                let other = crate::secret::Secret::from(&b"another key"[..]);
                profile.authentication.local = crate::ike::config::LocalProof::SharedKey(other);
            });
        }
        let (mut pair, request) = begun(plan);
        pair.put(&request);
        pair.settle();
        let before = pair.gateway.endpoint.counts();

        pair.put(&request);

        assert!(pair.wire.is_empty(), "not answered");
        assert_eq!(pair.gateway.endpoint.counts(), before);
        // RFC 7296 §2.1: nor is one that only looks like it taken for it.
        let mut other = request.clone();
        *other.octets.last_mut().unwrap() ^= 1;
        pair.put(&other);
        assert_eq!(pair.wire.len(), 1, "another client with the same SPI");
    }
}

// RTX-03
#[test]
fn two_clients_behind_one_address_may_have_the_same_spi() {
    let (mut pair, request) = begun(open());
    let other = Plain::open(&request.octets).with(|payloads| {
        for payload in payloads {
            if let Payload::Nonce(nonce) = payload {
                *nonce = crate::ike::wire::Nonce::new(vec![9; 32]).unwrap();
            }
        }
    });
    pair.put(&Flying { octets: other.seal(), ..request.clone() });
    pair.put(&request);
    assert_eq!(pair.gateway.endpoint.counts().half_open, 2);
    let (theirs, ours) = (pair.take(End::Client), pair.take(End::Client));
    assert_ne!(Plain::open(&theirs.octets).header.spi_r, Plain::open(&ours.octets).header.spi_r);

    pair.put(&ours);
    pair.settle();

    assert_eq!(pair.gateway.endpoint.counts().established, 1);
    pair.pass(Duration::from_secs(60));
    assert_eq!(pair.gateway.endpoint.counts().half_open, 0);
}

// RTX-07 RTX-08
#[test]
fn a_client_repeats_its_request_octet_by_octet_ever_more_slowly_and_stops_with_the_answer() {
    let (mut pair, request) = begun(open());
    let mut times = Vec::new();
    let start = pair.now.mono;
    while pair.client.endpoint.counts().half_open > 0 {
        let due = pair.client.endpoint.deadline().unwrap().at;
        pair.now = pair.now.after(due.since(pair.now.mono));
        pair.step(End::Client, Input::Timeout);
        if let Some(again) = pair.wire.pop_front() {
            assert_eq!(again, request);
            times.push(pair.now.mono.since(start).as_secs());
        }
    }
    assert_eq!(times, [1, 3, 7, 15, 31, 63, 95, 127, 159]);
    assert_eq!(failures(&pair.client.events), [Failure::Timeout]);
    assert_eq!(pair.now.mono.since(start).as_secs(), 165);

    let mut pair = open().build();
    pair.establish();
    let sent = pair.sent.len();
    pair.pass(Duration::from_secs(600));
    assert_eq!(pair.sent.len(), sent, "nothing more is sent");
}

// RTX-09
#[test]
fn an_answer_that_comes_twice_is_taken_once() {
    let (mut pair, request) = begun(open());
    pair.put(&request);
    let answer = pair.take(End::Client);
    pair.put(&answer);
    let auth = pair.take(End::Gateway);
    pair.put(&answer);
    assert!(pair.wire.is_empty());
    pair.put(&auth);
    let answer = pair.take(End::Client);
    pair.put(&answer);
    pair.put(&answer);
    pair.settle();
    pair.assert_in_step();
}

// COO-09
#[test]
fn a_cookie_of_a_length_that_can_not_be_is_not_sent_back() {
    for length in [0, 65, 200] {
        assert_client_waits(|real| {
            let data = vec![7; length];
            let notify = Notify { data: &data, ..Notify::plain(NotifyType::Cookie) };
            let mut refusal = Plain::new(real.header, |chain| chain.push(&Payload::Notify(notify)));
            refusal.is_protected = false;
            refusal.header.spi_r = None;
            refusal.seal()
        });
    }
}

// test of RFC 7296 §2.6
// COO-02 COO-08
#[test]
fn a_cookie_goes_first_and_everything_else_stays_until_there_were_too_many() {
    let (mut pair, first) = begun(open());
    let before = Plain::open(&first.octets);
    let mut requests = 0;
    for length in [1, 16, 64, 8, 9, 10, 11] {
        let cookie = Cookie::new(vec![length; usize::from(length)]).unwrap();
        let mut demand =
            Plain::new(before.header, |chain| chain.notify(&NotifyContent::Cookie(cookie.clone())));
        demand.is_protected = false;
        demand.header.direction = Direction::Response;
        demand.header.sender = OriginalRole::Responder;
        let path = Path { local: first.path.remote, remote: first.path.local };
        pair.put(&Flying { to: End::Client, path, octets: demand.seal() });
        let Some(request) = pair.wire.pop_front() else { continue };
        requests += 1;
        let request = Plain::open(&request.octets);
        assert_eq!(request.header, before.header);
        let payloads = request.payloads();
        let Payload::Notify(notify) = payloads[0] else { panic!("{payloads:?}") };
        assert_eq!(notify.content(), Ok(NotifyContent::Cookie(cookie)));
        assert_eq!(payloads[1..], before.payloads()[..]);
    }
    assert_eq!(requests, 4);
}

// NAT-09
#[test]
fn a_client_of_a_gateway_on_port_4500_speaks_from_there() {
    let mut plan = open();
    plan.connection(|connection| connection.remotes = vec!["192.0.2.1:4500".parse().unwrap()]);
    let mut pair = plan.build();

    pair.establish();

    assert!(pair.sent.iter().all(|flying| flying.path.local.port() == 4500 && flying.path.has_marker()));
    assert!(!sole(&pair, End::Gateway).children[0].is_encapsulated);
}

#[test]
fn malformed_lengths_inside_a_message_of_the_right_length_are_refused_or_dropped() {
    let (_, request) = begun(open());
    for length in 28..request.octets.len() {
        let (pair, answer) = answer(|octets| set_length(octets, length));
        assert_eq!(pair.gateway.endpoint.counts().half_open, 0, "{length}");
        assert!(answer.is_none_or(|answer| answer.header.spi_r.is_none()));
    }
}
