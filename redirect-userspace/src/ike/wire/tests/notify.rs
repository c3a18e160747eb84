use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use crate::codec::{DecodeError, Writer};
use crate::gateway::GatewayAddress;

use super::super::*;
use super::{both_ways, fails};

/// The content is what the octets say, and the octets are what the content becomes.
fn content_both_ways(body: &[u8], value: &NotifyContent<'_>) {
    let notify = Notify::decode(body).unwrap();
    let mut out = Writer::new();
    value.encode(&mut out).unwrap();

    assert_eq!(notify.content().as_ref(), Ok(value));
    assert_eq!(out.as_slice(), body);
    assert_eq!(value.kind(), notify.kind);
    both_ways(PayloadType::Notify, body, &Payload::Notify(notify));
}

fn content(kind: NotifyType, data: &[u8]) -> Result<NotifyContent<'_>, DecodeError> {
    Notify { kind, protocol: 0, spi: &[], data }.content()
}

fn spi() -> ChildSpi {
    ChildSpi(NonZeroU32::new(0xc0de_0001).unwrap())
}

const NONCE: [u8; 16] = [0xa5; 16];

#[test]
fn what_notifies_say_is_written_and_read() {
    let v6: Ipv6Addr = "2001:db8::a".parse().unwrap();
    let v6_octets = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10];
    let hash: [u8; 20] = [7; 20];
    let algorithms = HashAlgorithms::new(&[HashAlgorithm::Sha2_256, HashAlgorithm::Identity]).unwrap();
    assert_eq!(algorithms.iter().count(), 2);
    for (data, value) in [
        (&[0, 0, 0, 1, 200][..], NotifyContent::UnsupportedCriticalPayload(200)),
        (&[0, 0, 0, 9, 0, 0, 1, 2], NotifyContent::InvalidMessageId(MessageId(0x0102))),
        (&[0, 0, 0, 11, 0xc0, 0xde, 0, 1], NotifyContent::InvalidSpi(spi())),
        (&[0, 0, 0, 17, 0, 19], NotifyContent::InvalidKePayload(KeyExchangeMethod::Ecp256)),
        (&[0, 0, 0x40, 1, 0, 0, 0, 5], NotifyContent::SetWindowSize(NonZeroU32::new(5).unwrap())),
        (&[0, 0, 0x40, 3, 0x12, 0x34, 2], NotifyContent::IpcompSupported { cpi: 0x1234, transform: 2 }),
        (&[&[0, 0, 0x40, 4][..], &hash].concat(), NotifyContent::NatDetectionSource(hash)),
        (&[&[0, 0, 0x40, 5][..], &hash].concat(), NotifyContent::NatDetectionDestination(hash)),
        (&[0, 0, 0x40, 6, 1], NotifyContent::Cookie(Cookie::new(&[1][..]).unwrap())),
        (&[3, 4, 0x40, 9, 0xc0, 0xde, 0, 1], NotifyContent::RekeySa(ChildProtocol::Esp, spi())),
        (&[2, 4, 0, 44, 0xc0, 0xde, 0, 1], NotifyContent::ChildSaNotFound(ChildProtocol::Ah, spi())),
        (&[0, 0, 0x40, 13, 192, 0, 2, 1], NotifyContent::AdditionalIp4Address([192, 0, 2, 1].into())),
        (&[&[0, 0, 0x40, 14][..], &v6_octets].concat(), NotifyContent::AdditionalIp6Address(v6)),
        (&[0, 0, 0x40, 17, 1, 2, 3, 4, 5, 6, 7, 8], NotifyContent::Cookie2(&[1, 2, 3, 4, 5, 6, 7, 8])),
        (&[0, 0, 0x40, 19, 0, 0, 0x0e, 0x10], NotifyContent::AuthLifetime(3600)),
        (
            &[0, 0, 0x40, 25, 0, 0, 0, 60, 9],
            NotifyContent::TicketLtOpaque { lifetime: 60, ticket: Opaque(&[9]) },
        ),
        (&[0, 0, 0x40, 29, 9, 8], NotifyContent::TicketOpaque(Opaque(&[9, 8]))),
        (&[&[0, 0, 0x40, 35][..], &NONCE].concat(), NotifyContent::QuickCrashDetection(Opaque(&NONCE))),
        (&[0, 0, 0x40, 47, 0, 2, 0, 5], NotifyContent::SignatureHashAlgorithms(algorithms)),
        (&[0, 0, 0x40, 52, 2, b'k'], NotifyContent::PpkIdentity { kind: PpkIdType::Fixed, id: b"k" }),
        (&[0, 0, 0x40, 53, 1], NotifyContent::NoPpkAuth(Opaque(&[1]))),
        (&[0, 0, 0x40, 57, 1], NotifyContent::AdditionalKeyExchange(&[1])),
        (&[0, 0, 0x40, 22], NotifyContent::Plain(NotifyType::RedirectSupported)),
        (&[0, 0, 0, 24], NotifyContent::Plain(NotifyType::AuthenticationFailed)),
        (&[0, 0, 0xa0, 0], NotifyContent::Plain(NotifyType::from(40960))),
    ] {
        content_both_ways(data, &value);
    }
}

// test of RFC 5685 §9.2 and §9.3
#[test]
fn redirects_name_a_gateway_and_repeat_the_nonce() {
    let v6: Ipv6Addr = "2001:db8::a".parse().unwrap();
    let nonce = || Some(Nonce::new(&NONCE[..]).unwrap());
    let redirect =
        |gateway: &str, nonce| NotifyContent::Redirect { gateway: gateway.parse().unwrap(), nonce };
    let v6_octets = v6.octets();
    for (octets, value) in [
        (&[0, 0, 0x40, 0x17, 1, 4, 192, 0, 2, 10][..], redirect("192.0.2.10", None)),
        (&[&[0, 0, 0x40, 0x17, 1, 4, 192, 0, 2, 10][..], &NONCE].concat(), redirect("192.0.2.10", nonce())),
        (&[&[0, 0, 0x40, 0x17, 2, 16][..], &v6_octets, &NONCE].concat(), redirect("2001:db8::a", nonce())),
        (&[&[0, 0, 0x40, 0x17, 3, 7][..], b"gw.test", &NONCE].concat(), redirect("gw.test", nonce())),
        (
            &[0, 0, 0x40, 0x18, 1, 4, 192, 0, 2, 10],
            NotifyContent::RedirectedFrom(IpAddr::from([192, 0, 2, 10])),
        ),
        (&[&[0, 0, 0x40, 0x18, 2, 16][..], &v6_octets].concat(), NotifyContent::RedirectedFrom(v6.into())),
    ] {
        content_both_ways(octets, &value);
    }
}

#[test]
fn redirects_that_lead_nowhere_are_refused() {
    for data in [
        &[1, 5, 192, 0, 2, 10, 1][..],
        &[1, 4, 192, 0, 2],
        &[1, 3, 192, 0, 2],
        &[2, 4, 192, 0, 2, 10],
        &[3, 0],
        &[3, 8, b'g', b'w', b'.', b't', b'e', b's', b't', 0],
        &[3, 8, b'g', b'w', b'.', b't', b'e', b's', b't', b'.'],
        &[3, 255, b'g'],
        &[0, 4, 192, 0, 2, 10],
        &[9, 4, 192, 0, 2, 10],
        // Nobody can go there.
        &[1, 4, 0, 0, 0, 0],
        &[1, 4, 127, 0, 0, 1],
        &[1, 4, 224, 0, 0, 18],
        &[1, 4, 255, 255, 255, 255],
        // A nonce of 1 and of 15 octets.
        &[1, 4, 192, 0, 2, 10, 1],
        &[1, 4, 192, 0, 2, 10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        &[1],
        &[],
    ] {
        assert!(content(NotifyType::Redirect, data).is_err(), "{data:?}");
    }
    let long = [&[1, 4, 192, 0, 2, 10][..], &[1; 257]].concat();
    fails(content(NotifyType::Redirect, &long), "nonce: a length of 257");
    for data in [
        // RFC 5685 §9.3: no name here, and nothing after the address.
        &[3, 7, b'g', b'w', b'.', b't', b'e', b's', b't'][..],
        &[1, 4, 192, 0, 2, 10, 0],
        &[1, 16, 192, 0, 2, 10],
        &[0, 4, 192, 0, 2, 10],
        &[1, 4, 192, 0],
        &[],
    ] {
        assert!(content(NotifyType::RedirectedFrom, data).is_err(), "{data:?}");
    }
}

#[test]
fn a_name_is_redirected_to_in_lower_case() {
    let content = content(NotifyType::Redirect, b"\x03\x07GW.Test").unwrap();
    let gateway: GatewayAddress = "gw.test".parse().unwrap();

    assert_eq!(content, NotifyContent::Redirect { gateway, nonce: None });
}

#[test]
fn data_has_the_length_of_its_type() {
    let octets = [1; 129];
    for (kind, lengths) in [
        (NotifyType::UnsupportedCriticalPayload, 1..=1),
        (NotifyType::InvalidMessageId, 4..=4),
        (NotifyType::InvalidSpi, 4..=4),
        (NotifyType::InvalidKePayload, 2..=2),
        (NotifyType::SetWindowSize, 4..=4),
        (NotifyType::IpcompSupported, 3..=3),
        (NotifyType::NatDetectionSource, 20..=20),
        (NotifyType::NatDetectionDestination, 20..=20),
        (NotifyType::Cookie, 1..=64),
        (NotifyType::AdditionalIp4Address, 4..=4),
        (NotifyType::AdditionalIp6Address, 16..=16),
        (NotifyType::Cookie2, 8..=64),
        (NotifyType::AuthLifetime, 4..=4),
        (NotifyType::RedirectSupported, 0..=0),
        (NotifyType::TicketLtOpaque, 5..=129),
        (NotifyType::TicketOpaque, 1..=129),
        (NotifyType::QuickCrashDetection, 16..=128),
        (NotifyType::PpkIdentity, 2..=129),
        (NotifyType::NoPpkAuth, 1..=129),
        (NotifyType::AdditionalKeyExchange, 1..=129),
        // RFC 4555 §4.2.1, RFC 9242 §3.1: what comes nevertheless is ignored.
        (NotifyType::MobikeSupported, 0..=129),
        (NotifyType::IntermediateSupported, 0..=129),
        (NotifyType::InitialContact, 0..=129),
        (NotifyType::from(40960), 0..=129),
    ] {
        for length in 0..=octets.len() {
            let content = content(kind, &octets[..length]);
            assert_eq!(content.is_ok(), lengths.contains(&length), "{kind} of {length}: {content:?}");
        }
    }
    for length in 0..=octets.len() {
        let is_ok = content(NotifyType::SignatureHashAlgorithms, &octets[..length]).is_ok();
        assert_eq!(is_ok, length != 0 && length % 2 == 0, "{length}");
    }
    fails(content(NotifyType::SetWindowSize, &[0; 4]), "SET_WINDOW_SIZE: 0");
    fails(content(NotifyType::InvalidSpi, &[0; 4]), "INVALID_SPI: 0");
    assert!(HashAlgorithms::new(&[]).is_none());
}

#[test]
fn only_notifies_about_child_sas_have_an_spi() {
    let notify = |kind, protocol, spi| Notify { kind, protocol, spi, data: &[] }.content();

    assert!(notify(NotifyType::RekeySa, 3, &[0, 0, 1, 0]).is_ok());
    fails(notify(NotifyType::RekeySa, 1, &[0, 0, 1, 0]), "protocol of a notify: 1");
    fails(notify(NotifyType::RekeySa, 3, &[0, 0, 0, 0]), "REKEY_SA: 0");
    fails(notify(NotifyType::RekeySa, 3, &[0, 0, 1]), "REKEY_SA: 4 octets needed");
    fails(notify(NotifyType::RekeySa, 3, &[0, 0, 1, 0, 0]), "REKEY_SA: 1 octets too many");
    fails(notify(NotifyType::RekeySa, 3, &[]), "REKEY_SA: 4 octets needed");
    fails(notify(NotifyType::RedirectSupported, 1, &[0; 8]), "SPI of a notify: a length of 8");
    // RFC 7296 §3.10: without an SPI the protocol says nothing.
    assert!(notify(NotifyType::RedirectSupported, 1, &[]).is_ok());
    assert!(notify(NotifyType::TemporaryFailure, 3, &[0, 0, 1, 0]).is_ok());
}

#[test]
fn a_notify_that_is_cut_is_refused() {
    fails(Notify::decode(&[]), "protocol of a notify");
    fails(Notify::decode(&[0]), "SPI size of a notify");
    fails(Notify::decode(&[0, 0, 1]), "notify message type");
    fails(Notify::decode(&[3, 4, 0x40, 9, 1, 2, 3]), "SPI of a notify: 4 octets needed, 3 there");
    let long = [0; 256];
    let notify = Notify { kind: NotifyType::InvalidSpi, protocol: 3, spi: &long, data: &[] };
    assert!(notify.encode(&mut Writer::new()).is_err());
}

#[test]
fn a_cookie_has_1_to_64_octets() {
    for length in 0..=65 {
        assert_eq!(Cookie::new(vec![1; length]).is_ok(), (1..=64).contains(&length), "{length}");
    }
    assert_eq!(Cookie::new(&[1, 2][..]).unwrap().into_owned().as_slice(), [1, 2]);
}
