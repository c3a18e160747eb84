//! Octets, written out, both ways.

mod notify;
mod payloads;
mod random;
mod sa;

use std::num::NonZeroU64;

use crate::codec::{DecodeError, Writer};

use super::*;

/// The value is what the octets say, and the octets are what the value becomes.
fn both_ways(kind: PayloadType, body: &[u8], value: &Payload<'_>) {
    let raw = RawPayload { kind, is_critical: false, next: None, body };
    let decoded = Payload::decode(&raw).unwrap();
    let mut out = Writer::new();
    value.encode(&mut out).unwrap();

    assert_eq!(&decoded, value);
    assert_eq!(out.as_slice(), body);
    assert_eq!(value.kind(), kind);
}

/// Shorter by any number of octets, and longer by one, it is an error.
fn exact(kind: PayloadType, body: &[u8]) {
    let decode = |body| Payload::decode(&RawPayload { kind, is_critical: false, next: None, body });
    for length in 0..body.len() {
        let cut = decode(&body[..length]);
        assert!(cut.is_err(), "{kind} of {length} octets: {cut:?}");
    }
    let longer = [body, &[0]].concat();
    let long = decode(&longer);
    assert!(long.is_err(), "{kind} and another octet: {long:?}");
}

fn fails<T: Debug>(result: Result<T, DecodeError>, what: &str) {
    let error = result.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with(what), "{text}");
}

const HEADER: Header = Header {
    spi_i: SpiI(NonZeroU64::new(0x0102_0304_0506_0708).unwrap()),
    spi_r: None,
    version: Version::V2,
    exchange: ExchangeType::IkeSaInit,
    sender: OriginalRole::Initiator,
    direction: Direction::Request,
    message_id: MessageId::FIRST,
};

#[test]
fn a_message_is_written_and_read() {
    let octets = encode_message(vec![9], &HEADER, |chain| {
        chain.push(&Payload::Nonce(Nonce::new(&[7; 16]).unwrap()))?;
        chain.plain(NotifyType::RedirectSupported)
    });

    let expected = [
        &[9][..],
        &[1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 40, 0x20, 34, 0x08, 0, 0, 0, 0, 0, 0, 0, 56],
        &[41, 0, 0, 20, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
        &[0, 0, 0, 8, 0, 0, 0x40, 0x16],
    ]
    .concat();
    assert_eq!(octets, Ok(expected.clone()));
    let message = Message::decode(&expected[1..]).unwrap();
    assert_eq!(message.header, HEADER);
    assert_eq!(message.octets(), &expected[1..]);
    let kinds: Vec<_> = message.payloads.iter().map(|payload| payload.kind).collect();
    assert_eq!(kinds, [PayloadType::Nonce, PayloadType::Notify]);
    assert_eq!(message.payloads.find(PayloadType::Nonce).unwrap().body, [7; 16]);
    assert_eq!(message.payloads.count(PayloadType::Sa), 0);
}

#[test]
fn a_message_that_is_cut_or_continued_is_refused() {
    let octets =
        encode_message(Vec::new(), &HEADER, |chain| chain.plain(NotifyType::InitialContact)).unwrap();

    for length in 0..octets.len() {
        assert!(Message::decode(&octets[..length]).is_err(), "{length} octets");
    }
    let longer = [&octets[..], &[0]].concat();
    fails(Message::decode(&longer), "message: 1 octets too many");
}

#[test]
fn every_part_of_the_header_has_its_place() {
    let header = Header {
        spi_r: Some(SpiR(NonZeroU64::new(9).unwrap())),
        exchange: ExchangeType::from(240),
        sender: OriginalRole::Responder,
        direction: Direction::Response,
        message_id: MessageId(0x0a0b_0c0d),
        ..HEADER
    };

    let octets = encode_message(Vec::new(), &header, |_| Ok(())).unwrap();

    assert_eq!(
        octets,
        [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0x20, 240, 0x20, 10, 11, 12, 13, 0, 0, 0, 28]
    );
    assert_eq!(Header::decode(&octets), Ok(header));
    assert!(Message::decode(&octets).unwrap().payloads.first().is_none());
}

#[test]
fn reserved_flags_and_the_minor_version_are_ignored() {
    let mut octets = encode_message(Vec::new(), &HEADER, |_| Ok(())).unwrap();
    octets[17] = 0x2f;
    octets[19] = 0xd7 | 0x08;

    let message = Message::decode(&octets).unwrap();

    assert_eq!(message.header, Header { version: Version(0x2f), ..HEADER });
    assert_eq!(message.header.version.to_string(), "2.15");
}

#[test]
fn a_header_of_a_later_version_can_be_answered() {
    let mut octets = encode_message(Vec::new(), &HEADER, |_| Ok(())).unwrap();
    octets[17] = 0x30;

    assert_eq!(Header::decode(&octets).map(|header| header.version.major()), Ok(3));
    fails(Message::decode(&octets), "major version: 3");
}

#[test]
fn an_initiator_without_an_spi_is_refused() {
    fails(Header::decode(&[0; 28]), "initiator's SPI: 0");
}

#[test]
fn message_ids_never_begin_anew() {
    assert_eq!(MessageId(7).next(), Some(MessageId(8)));
    assert_eq!(MessageId(u32::MAX).next(), None);
}

#[test]
fn a_chain_ends_where_its_octets_end() {
    let nonce = [0, 0, 0, 20, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7];

    assert!(Chain::decode(Some(PayloadType::Nonce), &nonce).is_ok());
    assert_eq!(Chain::decode(None, &[]), Ok(Chain::EMPTY));
    fails(Chain::decode(None, &nonce), "chain of payloads: 20 octets too many");
    fails(Chain::decode(Some(PayloadType::Nonce), &nonce[..19]), "payload: 16 octets needed, 15 there");
    fails(Chain::decode(Some(PayloadType::Nonce), &[]), "next payload: 1 octets needed");
}

#[test]
fn a_payload_that_is_shorter_than_its_header_does_not_stop_the_walk_forever() {
    for length in 0..4 {
        let error = Chain::decode(Some(PayloadType::Nonce), &[40, 0, 0, length]).unwrap_err();
        assert_eq!(error, DecodeError::Length { what: "payload", value: usize::from(length) });
    }
}

#[test]
fn a_chain_has_so_many_payloads_and_no_more() {
    let chain = |count: usize| {
        encode_chain(|chain| {
            (0..count).try_for_each(|_| chain.push(&Payload::Vendor(VendorId([].as_slice().into()))))
        })
        .unwrap()
    };

    let (first, octets) = chain(MAX_PAYLOADS);
    assert_eq!(Chain::decode(first, &octets).map(|chain| chain.iter().count()), Ok(MAX_PAYLOADS));
    let (first, octets) = chain(MAX_PAYLOADS + 1);
    fails(Chain::decode(first, &octets), "chain of payloads: a length of 65 cannot be");
}

#[test]
fn unknown_and_critical_payloads_keep_what_they_are() {
    let octets = [41, 0xff, 0, 5, 1, 0, 0x7f, 0, 8, 0, 0, 0, 1];

    let chain = Chain::decode(PayloadType::from_next(200), &octets).unwrap();

    let payloads: Vec<_> = chain.iter().collect();
    assert_eq!(
        payloads,
        [
            RawPayload {
                kind: PayloadType::from(200),
                is_critical: true,
                next: Some(PayloadType::Notify),
                body: &[1]
            },
            RawPayload { kind: PayloadType::Notify, is_critical: false, next: None, body: &[0, 0, 0, 1] },
        ]
    );
    assert_eq!(PayloadType::from(200).to_string(), "200");
    assert_eq!(Payload::decode(&payloads[0]), Ok(Payload::Unknown(payloads[0])));
}

#[test]
fn notifies_are_found_by_their_type() {
    let (first, octets) = encode_chain(|chain| {
        chain.push(&Payload::Nonce(Nonce::new(&[7; 16]).unwrap()))?;
        chain.plain(NotifyType::MobikeSupported)?;
        chain.notify(&NotifyContent::AuthLifetime(60))?;
        chain.notify(&NotifyContent::AuthLifetime(61))
    })
    .unwrap();

    let chain = Chain::decode(first, &octets).unwrap();

    assert_eq!(chain.notifies().count(), 3);
    assert_eq!(chain.notify(NotifyType::MobikeSupported), Some(Notify::plain(NotifyType::MobikeSupported)));
    let lifetime = chain.notify(NotifyType::AuthLifetime).map(|notify| notify.content());
    assert_eq!(lifetime, Some(Ok(NotifyContent::AuthLifetime(60))));
    assert_eq!(chain.notify(NotifyType::Redirect), None);
}

#[test]
fn an_encrypted_payload_ends_its_message_and_names_what_is_inside() {
    let octets = [35, 0, 0, 6, 1, 2];

    let chain = Chain::decode(Some(PayloadType::Encrypted), &octets).unwrap();

    let raw = chain.find(PayloadType::Encrypted).unwrap();
    let encrypted = Encrypted { first: Some(PayloadType::IdI), content: &[1, 2] };
    assert_eq!(Encrypted::from_raw(&raw), encrypted);
    assert_eq!(chain.iter().count(), 1);
    let followed = [&octets[..], &[0, 0, 0, 4]].concat();
    fails(Chain::decode(Some(PayloadType::Encrypted), &followed), "chain of payloads: 4 octets too many");
    let nothing_after = encode_chain(|chain| {
        chain.push(&Payload::Encrypted(encrypted))?;
        chain.plain(NotifyType::InitialContact)
    });
    assert!(nothing_after.is_err());
}

#[test]
fn a_fragment_is_counted_from_one_to_the_total() {
    let fragment = |next: u8, number: u8, total: u8| {
        let octets = [next, 0, 0, 10, 0, number, 0, total, 1, 2];
        let chain = Chain::decode(Some(PayloadType::EncryptedFragment), &octets).unwrap();
        let raw = chain.find(PayloadType::EncryptedFragment).unwrap();
        EncryptedFragment::from_raw(&raw).map(|f| (f.first, f.number, f.content.to_vec()))
    };
    let number = |number, total| FragmentNumber::new(number, total).unwrap();

    assert_eq!(fragment(35, 1, 2), Ok((Some(PayloadType::IdI), number(1, 2), vec![1, 2])));
    assert_eq!(fragment(35, 2, 2), Ok((None, number(2, 2), vec![1, 2])));
    fails(fragment(35, 0, 2), "fragment number: 0");
    fails(fragment(0, 3, 2), "fragment number: 3");
    fails(fragment(35, 1, 0), "fragment number: 1");
}

#[test]
fn what_stands_before_encrypted_content_is_written_with_its_final_lengths() {
    let header = Header { exchange: ExchangeType::IkeAuth, message_id: MessageId(1), ..HEADER };
    let mut out = Writer::new();
    begin_encrypted(&mut out, &header, Some(PayloadType::IdI), 3).unwrap();
    let before = out.as_slice().to_vec();
    out.octets(&[0xa, 0xb, 0xc]);

    assert_eq!(before[16..], [46, 0x20, 35, 0x08, 0, 0, 0, 1, 0, 0, 0, 35, 35, 0, 0, 7]);
    let message = Message::decode(out.as_slice()).unwrap();
    let raw = message.payloads.find(PayloadType::Encrypted).unwrap();
    assert_eq!(Encrypted::from_raw(&raw).content, [0xa, 0xb, 0xc]);
    assert_eq!(message.before(raw.body), before);
}

#[test]
fn what_stands_before_a_fragment_has_its_number() {
    let header = Header { exchange: ExchangeType::IkeAuth, message_id: MessageId(1), ..HEADER };
    let written = |number| {
        let mut out = Writer::new();
        let number = FragmentNumber::new(number, 2).unwrap();
        begin_fragment(&mut out, &header, Some(PayloadType::IdI), number, 1).unwrap();
        out.u8(0xa);
        out.into_octets()
    };

    assert_eq!(written(1)[24..], [0, 0, 0, 37, 35, 0, 0, 9, 0, 1, 0, 2, 0xa]);
    assert_eq!(written(2)[24..], [0, 0, 0, 37, 0, 0, 0, 9, 0, 2, 0, 2, 0xa]);
    let octets = written(2);
    let message = Message::decode(&octets).unwrap();
    let fragment =
        EncryptedFragment::from_raw(&message.payloads.find(PayloadType::EncryptedFragment).unwrap()).unwrap();
    assert_eq!(fragment.content, [0xa]);
    assert_eq!(message.before(fragment.content), &octets[..36]);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let vendor = vec![0; 65532];
    let written = encode_chain(|chain| chain.push(&Payload::Vendor(VendorId(vendor.as_slice().into()))));

    assert_eq!(written, Err(EncodeError::TooMuch { what: "payload", count: 65536 }));
}

#[test]
fn every_named_number_is_itself_and_every_other_is_kept() {
    fn check<E, N>(named: &[E])
    where
        E: Copy + Debug + PartialEq + From<N> + Display,
        N: Copy + From<E> + Debug + PartialEq,
    {
        for value in named {
            assert_eq!(E::from(N::from(*value)), *value);
            assert!(!value.to_string().is_empty());
        }
    }
    check::<_, u8>(ExchangeType::NAMED);
    check::<_, u8>(PayloadType::NAMED);
    check::<_, u8>(TransformType::NAMED);
    check::<_, u16>(Encryption::NAMED);
    check::<_, u16>(Prf::NAMED);
    check::<_, u16>(Integrity::NAMED);
    check::<_, u16>(KeyExchangeMethod::NAMED);
    check::<_, u16>(SequenceNumbers::NAMED);
    check::<_, u8>(IdType::NAMED);
    check::<_, u8>(CertEncoding::NAMED);
    check::<_, u8>(AuthMethod::NAMED);
    check::<_, u16>(NotifyType::NAMED);
    check::<_, u16>(HashAlgorithm::NAMED);
    check::<_, u8>(PpkIdType::NAMED);
    check::<_, u8>(TsType::NAMED);
    check::<_, u8>(ConfigurationType::NAMED);
    check::<_, u16>(AttributeType::NAMED);
    check::<_, u8>(EapCode::NAMED);
    check::<_, u8>(EapType::NAMED);

    for number in 0..=u16::MAX {
        assert_eq!(u16::from(NotifyType::from(number)), number);
        assert_eq!(u16::from(KeyExchangeMethod::from(number)), number);
    }
    assert_eq!(NotifyType::from(40960).to_string(), "40960");
    assert_eq!(NotifyType::Redirect.to_string(), "REDIRECT");
    assert!(NotifyType::from(16383).is_error());
    assert!(!NotifyType::InitialContact.is_error());
}
