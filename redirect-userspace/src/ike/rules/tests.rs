use std::num::NonZeroU64;

use super::*;
use crate::ike::wire::{
    Header, MessageId, OriginalRole, Payload, SpiI, Version, encode_chain, encode_message,
};

use Direction::{Request, Response};
use ExchangeType as Exchange;
use PayloadType as Kind;

/// Payloads by type, with empty bodies; a notify has a type without meaning.
fn chain(kinds: &[Kind]) -> (Option<Kind>, Vec<u8>) {
    let mut octets = Vec::new();
    for (position, kind) in kinds.iter().enumerate() {
        let next = Kind::to_next(kinds.get(position + 1).copied());
        let body: &[u8] = if *kind == Kind::Notify { &[0, 0, 0xa0, 0] } else { &[] };
        octets.extend([next, 0, 0, u8::try_from(4 + body.len()).unwrap()]);
        octets.extend(body);
    }
    (kinds.first().copied(), octets)
}

fn judged(exchange: Exchange, direction: Direction, kinds: &[Kind]) -> Result<Form, Violation> {
    let (first, octets) = chain(kinds);
    check(exchange, direction, &Chain::decode(first, &octets).unwrap())
}

fn with_notifies(
    exchange: Exchange,
    direction: Direction,
    kinds: &[Kind],
    notifies: &[NotifyType],
) -> Result<Form, Violation> {
    let (first, octets) = encode_chain(|writer| {
        notifies.iter().try_for_each(|kind| writer.plain(*kind))?;
        kinds.iter().try_for_each(|kind| {
            let raw = RawPayload { kind: *kind, is_critical: false, next: None, body: &[] };
            writer.push(&Payload::Unknown(raw))
        })
    })
    .unwrap();
    check(exchange, direction, &Chain::decode(first, &octets).unwrap())
}

type Line = (Exchange, Direction, &'static [Kind], &'static [Kind], Form);

/// RFC 7296 appendix C, line by line: what is always there, what may be there as well, what comes
/// out. `N` and `V` may always be there.
const APPENDIX_C: &[Line] = &[
    (Exchange::IkeSaInit, Request, &[Kind::Sa, Kind::KeyExchange, Kind::Nonce], &[], Form::InitRequest),
    (
        Exchange::IkeSaInit,
        Response,
        &[Kind::Sa, Kind::KeyExchange, Kind::Nonce],
        &[Kind::CertRequest],
        Form::InitResponse,
    ),
    (Exchange::IkeSaInit, Response, &[Kind::Notify], &[], Form::NotifyOnly),
    // RFC 6023: IKE_AUTH may do without a Child SA.
    (
        Exchange::IkeAuth,
        Request,
        &[Kind::IdI, Kind::Auth],
        &[Kind::Cert, Kind::CertRequest, Kind::IdR, Kind::Configuration, Kind::Sa, Kind::TsI, Kind::TsR],
        Form::AuthRequest,
    ),
    (
        Exchange::IkeAuth,
        Response,
        &[Kind::IdR, Kind::Auth],
        &[Kind::Cert, Kind::Configuration, Kind::Sa, Kind::TsI, Kind::TsR],
        Form::AuthResponse,
    ),
    // A certificate without a proof is of no use, and does no harm.
    (
        Exchange::IkeAuth,
        Request,
        &[Kind::IdI],
        &[Kind::Cert, Kind::CertRequest, Kind::IdR, Kind::Configuration, Kind::Sa, Kind::TsI, Kind::TsR],
        Form::EapStart,
    ),
    // RFC 5998: there may be no AUTH.
    (Exchange::IkeAuth, Response, &[Kind::IdR, Kind::Eap], &[Kind::Cert, Kind::Auth], Form::EapOffer),
    (Exchange::IkeAuth, Request, &[Kind::Eap], &[], Form::EapRound),
    (Exchange::IkeAuth, Response, &[Kind::Eap], &[], Form::EapRound),
    (Exchange::IkeAuth, Request, &[Kind::Auth], &[], Form::EapEnd),
    (
        Exchange::IkeAuth,
        Response,
        &[Kind::Auth],
        &[Kind::Configuration, Kind::Sa, Kind::TsI, Kind::TsR],
        Form::EapEnd,
    ),
    (Exchange::IkeAuth, Response, &[Kind::Notify], &[], Form::NotifyOnly),
    (
        Exchange::CreateChildSa,
        Request,
        &[Kind::Sa, Kind::Nonce, Kind::TsI, Kind::TsR],
        &[Kind::KeyExchange, Kind::Configuration],
        Form::NewChildRequest,
    ),
    (
        Exchange::CreateChildSa,
        Response,
        &[Kind::Sa, Kind::Nonce, Kind::TsI, Kind::TsR],
        &[Kind::KeyExchange, Kind::Configuration],
        Form::ChildResponse,
    ),
    (
        Exchange::CreateChildSa,
        Request,
        &[Kind::Sa, Kind::Nonce, Kind::KeyExchange],
        &[],
        Form::RekeyIkeRequest,
    ),
    (
        Exchange::CreateChildSa,
        Response,
        &[Kind::Sa, Kind::Nonce, Kind::KeyExchange],
        &[],
        Form::RekeyIkeResponse,
    ),
    (Exchange::CreateChildSa, Response, &[Kind::Notify], &[], Form::NotifyOnly),
    (Exchange::Informational, Request, &[], &[Kind::Delete, Kind::Configuration], Form::Informational),
    (Exchange::Informational, Response, &[], &[Kind::Delete, Kind::Configuration], Form::Informational),
    // RFC 5723 §4.3
    (Exchange::IkeSessionResume, Request, &[Kind::Nonce], &[Kind::Notify], Form::ResumeRequest),
    (Exchange::IkeSessionResume, Response, &[Kind::Nonce], &[Kind::Notify], Form::ResumeResponse),
    (Exchange::IkeSessionResume, Response, &[Kind::Notify], &[], Form::NotifyOnly),
    // RFC 9242 §3, RFC 9370 §2.2
    (Exchange::IkeIntermediate, Request, &[], &[Kind::KeyExchange], Form::Intermediate),
    (Exchange::IkeIntermediate, Response, &[], &[Kind::KeyExchange], Form::Intermediate),
    (Exchange::IkeFollowupKe, Request, &[Kind::KeyExchange, Kind::Notify], &[], Form::FollowupKe),
    (Exchange::IkeFollowupKe, Response, &[Kind::KeyExchange], &[Kind::Notify], Form::FollowupKe),
    (Exchange::IkeFollowupKe, Response, &[Kind::Notify], &[], Form::NotifyOnly),
];

#[test]
fn every_message_of_appendix_c_is_known() {
    for (exchange, direction, always, maybe, form) in APPENDIX_C {
        let all = [always, *maybe, &[Kind::Notify, Kind::Vendor, Kind::from(200)]].concat();
        let reversed: Vec<_> = all.iter().rev().copied().collect();

        for kinds in [always, &all[..], &reversed[..]] {
            assert_eq!(judged(*exchange, *direction, kinds), Ok(*form), "{exchange} {direction} {kinds:?}");
        }
    }
}

#[test]
fn nothing_else_belongs_into_a_message() {
    for (exchange, direction, always, maybe, form) in APPENDIX_C {
        let known = [always, *maybe, &[Kind::Notify, Kind::Vendor]].concat();
        for other in Kind::NAMED.iter().filter(|kind| !known.contains(kind)) {
            let result = judged(*exchange, *direction, &[always, &[*other][..]].concat());

            assert_ne!(result, Ok(*form), "{exchange} {direction} {always:?} and {other}");
        }
    }
}

#[test]
fn what_must_be_there_must_be_there_once() {
    for (exchange, direction, always, _, form) in APPENDIX_C {
        for (position, kind) in always.iter().enumerate() {
            let mut without = always.to_vec();
            without.remove(position);
            let result = judged(*exchange, *direction, &without);
            assert_ne!(result, Ok(*form), "{exchange} {direction} without {kind}");

            if *kind != Kind::Notify {
                let twice = [always, &[*kind][..]].concat();
                let result = judged(*exchange, *direction, &twice);
                assert_eq!(result, Err(Violation::Surplus(*kind)), "{exchange} {direction} {kind} twice");
            }
        }
    }
}

#[test]
fn what_is_missing_surplus_or_misplaced_is_named() {
    let init = &[Kind::Sa, Kind::KeyExchange, Kind::Nonce];
    let child = &[Kind::IdI, Kind::Auth, Kind::Sa, Kind::TsI];
    for (exchange, direction, kinds, violation) in [
        (Exchange::IkeSaInit, Request, &init[..2], Violation::Missing(Kind::Nonce)),
        (Exchange::IkeSaInit, Request, &[][..], Violation::Missing(Kind::Sa)),
        (Exchange::IkeSaInit, Response, &init[1..], Violation::Missing(Kind::Sa)),
        (Exchange::IkeSaInit, Response, &[], Violation::Missing(Kind::Notify)),
        (Exchange::IkeSaInit, Response, &[Kind::Delete], Violation::Misplaced(Kind::Delete)),
        (Exchange::IkeSaInit, Request, &[Kind::Encrypted], Violation::Misplaced(Kind::Encrypted)),
        (Exchange::IkeAuth, Request, child, Violation::Missing(Kind::TsR)),
        (Exchange::IkeAuth, Request, &[], Violation::Missing(Kind::IdI)),
        (Exchange::IkeAuth, Request, &[Kind::Notify], Violation::Missing(Kind::IdI)),
        (Exchange::IkeAuth, Request, &[Kind::Eap, Kind::Auth], Violation::Misplaced(Kind::Auth)),
        (Exchange::IkeAuth, Request, &[Kind::IdI, Kind::Eap], Violation::Misplaced(Kind::Eap)),
        (Exchange::IkeAuth, Response, &[Kind::IdR], Violation::Missing(Kind::Auth)),
        (Exchange::IkeAuth, Response, &[Kind::IdR, Kind::Auth, Kind::TsR], Violation::Missing(Kind::Sa)),
        (Exchange::IkeAuth, Response, &[], Violation::Missing(Kind::Notify)),
        (Exchange::IkeSessionResume, Request, init, Violation::Misplaced(Kind::Sa)),
        (Exchange::CreateChildSa, Request, &[Kind::Sa, Kind::Nonce], Violation::Missing(Kind::KeyExchange)),
        (
            Exchange::CreateChildSa,
            Request,
            &[Kind::Sa, Kind::Nonce, Kind::TsI],
            Violation::Missing(Kind::TsR),
        ),
        (Exchange::Informational, Request, &[Kind::Auth], Violation::Misplaced(Kind::Auth)),
        (
            Exchange::Informational,
            Request,
            &[Kind::Configuration; 2],
            Violation::Surplus(Kind::Configuration),
        ),
    ] {
        assert_eq!(judged(exchange, direction, kinds), Err(violation), "{exchange} {direction} {kinds:?}");
    }
}

#[test]
fn a_notify_tells_a_rekeyed_child_sa_from_a_new_one() {
    let kinds = [Kind::Sa, Kind::Nonce, Kind::TsI, Kind::TsR];

    let form = with_notifies(Exchange::CreateChildSa, Request, &kinds, &[NotifyType::RekeySa]);

    assert_eq!(form, Ok(Form::RekeyChildRequest));
    let twice = with_notifies(Exchange::CreateChildSa, Request, &kinds, &[NotifyType::RekeySa; 2]);
    assert_eq!(twice, Err(Violation::SurplusNotify(NotifyType::RekeySa)));
}

#[test]
fn a_response_does_not_both_accept_and_decline() {
    let accept = [Kind::Sa, Kind::KeyExchange, Kind::Nonce];
    for kind in [NotifyType::Redirect, NotifyType::Cookie, NotifyType::InvalidKePayload] {
        let both = with_notifies(Exchange::IkeSaInit, Response, &accept, &[kind]);
        assert_eq!(both, Err(Violation::ContradictingNotify(kind)));
        let declines = with_notifies(Exchange::IkeSaInit, Response, &[], &[kind]);
        assert_eq!(declines, Ok(Form::NotifyOnly));
        let twice = with_notifies(Exchange::IkeSaInit, Response, &[], &[kind; 2]);
        assert_eq!(twice, Err(Violation::SurplusNotify(kind)));
    }
    let several = [NotifyType::NatDetectionSource; 3];
    assert_eq!(with_notifies(Exchange::IkeSaInit, Response, &accept, &several), Ok(Form::InitResponse));
}

#[test]
fn a_notify_that_is_cut_is_malformed() {
    let chain = Chain::decode(Some(Kind::Notify), &[0, 0, 0, 7, 0, 0, 0]).unwrap();

    let result = check(Exchange::Informational, Request, &chain);

    assert!(matches!(result, Err(Violation::Malformed(_))), "{result:?}");
}

// test of RFC 7296 §2.5
#[test]
fn an_unknown_payload_is_skipped_unless_it_is_critical() {
    let octets = |flags| [0, flags, 0, 5, 1];
    let judge = |flags| {
        let octets = octets(flags);
        check(Exchange::Informational, Request, &Chain::decode(Some(Kind::from(255)), &octets).unwrap())
    };

    assert_eq!(judge(0), Ok(Form::Informational));
    assert_eq!(judge(0x7f), Ok(Form::Informational));
    assert_eq!(judge(0x80), Err(Violation::UnsupportedCritical(255)));
}

#[test]
fn a_critical_payload_is_named_before_anything_else_is() {
    let chain = Chain::decode(Some(Kind::Auth), &[200, 0, 0, 4, 0, 0x80, 0, 4]).unwrap();

    let result = check(Exchange::IkeSaInit, Request, &chain);

    assert_eq!(result, Err(Violation::UnsupportedCritical(200)));
}

#[test]
fn the_critical_bit_of_a_known_payload_says_nothing() {
    let chain = Chain::decode(Some(Kind::Delete), &[0, 0x80, 0, 4]).unwrap();

    assert_eq!(check(Exchange::Informational, Request, &chain), Ok(Form::Informational));
}

#[test]
fn an_unknown_exchange_is_named() {
    assert_eq!(judged(Exchange::from(240), Request, &[]), Err(Violation::UnknownExchange(240)));
}

/// A message with payloads in clear, judged from outside.
fn seen(exchange: Exchange, direction: Direction, first: Option<Kind>, payloads: &[u8]) -> String {
    let header = Header {
        spi_i: SpiI(NonZeroU64::MIN),
        spi_r: None,
        version: Version::V2,
        exchange,
        sender: OriginalRole::Initiator,
        direction,
        message_id: MessageId::FIRST,
    };
    let mut octets = encode_message(Vec::new(), &header, |_| Ok(())).unwrap();
    octets[16] = Kind::to_next(first);
    octets.extend(payloads);
    octets[27] = u8::try_from(octets.len()).unwrap();
    let message = Message::decode(&octets).unwrap();
    match outside(&message) {
        Ok(outside) => format!("{outside:?}"),
        Err(violation) => violation.to_string(),
    }
}

#[test]
fn an_exchange_with_keys_is_an_envelope_or_a_mere_hint() {
    let envelope = [35, 0, 0, 5, 9];
    let fragment = [35, 0, 0, 9, 0, 1, 0, 2, 9];
    let notify = [0, 0, 0, 8, 0, 0, 0, 4];
    let after_vendor = [46, 0, 0, 4, 35, 0, 0, 5, 9];

    let seen = |first, payloads: &[u8]| seen(Exchange::IkeAuth, Response, Some(first), payloads);
    assert_eq!(seen(Kind::Encrypted, &envelope), "Encrypted(Encrypted { first: Some(IdI), content: [9] })");
    assert_eq!(
        seen(Kind::EncryptedFragment, &fragment),
        "Fragment(EncryptedFragment { first: Some(IdI), number: FragmentNumber { number: 1, total: 2 }, \
         content: [9] })"
    );
    assert_eq!(seen(Kind::Notify, &notify), "Hint");
    assert!(seen(Kind::Vendor, &after_vendor).starts_with("Encrypted("));
    assert!(seen(Kind::from(200), &after_vendor).starts_with("Encrypted("));
    assert_eq!(seen(Kind::Auth, &after_vendor), "AUTH does not belong here");
    assert_eq!(seen(Kind::IdI, &[0, 0, 0, 4]), "IDi does not belong here");
    assert_eq!(
        seen(Kind::from(200), &[46, 0x80, 0, 4, 35, 0, 0, 5, 9]),
        "a critical payload of the unknown type 200"
    );
    assert_eq!(seen(Kind::EncryptedFragment, &[35, 0, 0, 8, 0, 3, 0, 2]), "fragment number: 3 cannot be");
}

#[test]
fn an_exchange_without_keys_is_judged_as_it_is() {
    assert_eq!(
        seen(Exchange::IkeSaInit, Response, Some(Kind::Notify), &[0, 0, 0, 8, 0, 0, 0, 14]),
        "Clear(NotifyOnly)"
    );
    assert_eq!(
        seen(Exchange::IkeSaInit, Request, Some(Kind::Encrypted), &[35, 0, 0, 5, 9]),
        "SK does not belong here"
    );
    assert_eq!(seen(Exchange::Informational, Request, None, &[]), "N is missing");
    assert_eq!(seen(Exchange::from(0), Request, None, &[]), "an exchange of the unknown type 0");
}
