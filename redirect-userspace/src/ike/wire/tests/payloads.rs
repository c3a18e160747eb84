use std::num::NonZeroU32;

use crate::codec::{DecodeError, Writer};

use super::super::*;
use super::{both_ways, exact, fails};

fn child_spi(spi: u32) -> ChildSpi {
    ChildSpi(NonZeroU32::new(spi).unwrap())
}

#[test]
fn a_key_exchange_has_a_method_and_data() {
    let value = KeyExchange { method: KeyExchangeMethod::Curve25519, data: [1, 2, 3][..].into() };

    both_ways(PayloadType::KeyExchange, &[0, 31, 0, 0, 1, 2, 3], &Payload::KeyExchange(value.clone()));
    assert_eq!(KeyExchange::decode(&[0, 31, 0xff, 0xff, 1, 2, 3]), Ok(value));
    fails(KeyExchange::decode(&[0, 31, 0, 0]), "key exchange data: a length of 0");
    fails(KeyExchange::decode(&[0, 31, 0]), "KE payload");
}

#[test]
fn a_nonce_has_16_to_256_octets() {
    let octets = [3; 257];
    for length in 0..=257 {
        let nonce = Nonce::decode(&octets[..length]);
        assert_eq!(nonce.is_ok(), (16..=256).contains(&length), "{length}");
    }
    both_ways(PayloadType::Nonce, &octets[..16], &Payload::Nonce(Nonce::new(vec![3; 16]).unwrap()));
    assert_eq!(Nonce::new(&octets[..16]).unwrap().into_owned().as_slice(), &octets[..16]);
}

#[test]
fn identities_are_what_their_type_says() {
    let ipv6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    for (octets, id) in [
        (&[1, 0, 0, 0, 192, 0, 2, 1][..], Id::Ipv4("192.0.2.1".parse().unwrap())),
        (b"\x02\0\0\0gw.example.net", Id::Fqdn("gw.example.net".into())),
        (b"\x03\0\0\0a@example.net", Id::Email("a@example.net".into())),
        (&[&[5, 0, 0, 0], &ipv6[..]].concat(), Id::Ipv6("2001:db8::1".parse().unwrap())),
        (&[9, 0, 0, 0, 0x30, 0], Id::Dn([0x30, 0][..].into())),
        (&[10, 0, 0, 0, 0x82, 0], Id::Gn([0x82, 0][..].into())),
        (&[11, 0, 0, 0, 0], Id::KeyId([0][..].into())),
        (&[13, 0, 0, 0], Id::Null),
    ] {
        both_ways(PayloadType::IdI, octets, &Payload::IdI(id.clone()));
        both_ways(PayloadType::IdR, octets, &Payload::IdR(id.clone()));
        assert_eq!(id.clone().into_owned(), id);
    }
    let unknown = Id::decode(&[200, 0, 0, 0, 7]).unwrap();
    assert_eq!(unknown.kind(), IdType::from(200));
    both_ways(PayloadType::IdI, &[200, 0, 0, 0, 7], &Payload::IdI(unknown));
    assert_eq!(Id::decode(&[1, 9, 9, 9, 192, 0, 2, 1]), Id::decode(&[1, 0, 0, 0, 192, 0, 2, 1]));
}

#[test]
fn identities_that_cannot_be_are_refused() {
    for (octets, what) in [
        (&b"\x01\0\0\0abc"[..], "address of an identity: a length of 3"),
        (b"\x05\0\0\0abcd", "address of an identity: a length of 4"),
        (b"\x02\0\0\0", "identity: a length of 0"),
        (b"\x02\0\0\0gw\0", "name of an identity: 0"),
        (b"\x02\0\0\0gw\x1b[2J", "name of an identity: 27"),
        (b"\x03\0\0\0\xff", "name of an identity: 255"),
        (b"\x09\0\0\0", "identity: a length of 0"),
        (b"\x0b\0\0\0", "identity: a length of 0"),
        (b"\x0d\0\0\0x", "identity of nobody: a length of 1"),
        (b"\x01\0\0", "ID payload"),
        (b"", "ID type"),
    ] {
        fails(Id::decode(octets), what);
    }
}

#[test]
fn certificates_and_requests_for_them() {
    let cert = Cert { encoding: CertEncoding::X509Signature, data: [0x30, 0x82][..].into() };
    both_ways(PayloadType::Cert, &[4, 0x30, 0x82], &Payload::Cert(cert));
    fails(Cert::decode(&[4]), "certificate: a length of 0");
    fails(Cert::decode(&[]), "certificate encoding");

    let authorities = [[1; 20], [2; 20]];
    let octets = [&[4][..], &[1; 20], &[2; 20]].concat();
    let request = CertRequest::x509(&authorities);
    assert_eq!(request.authorities().copied().collect::<Vec<_>>(), authorities);
    both_ways(PayloadType::CertRequest, &octets, &Payload::CertRequest(request));
    both_ways(PayloadType::CertRequest, &[4], &Payload::CertRequest(CertRequest::x509(&[])));
    fails(CertRequest::decode(&octets[..40]), "certification authorities: a length of 39");
    let raw_key = CertRequest::decode(&[15, 1, 2, 3]).unwrap();
    assert_eq!(raw_key.authorities().count(), 0);
    both_ways(PayloadType::CertRequest, &[15, 1, 2, 3], &Payload::CertRequest(raw_key));
}

#[test]
fn a_proof_of_identity_has_a_method_and_data() {
    let auth = Auth { method: AuthMethod::SharedKey, data: [1, 2][..].into() };
    both_ways(PayloadType::Auth, &[2, 0, 0, 0, 1, 2], &Payload::Auth(auth));
    fails(Auth::decode(&[2, 0, 0, 0]), "authentication data: a length of 0");
    fails(Auth::decode(&[2, 0, 0]), "AUTH payload");
}

#[test]
fn a_signature_names_its_algorithm() {
    let octets = [2, 0x30, 0, 9, 8, 7];
    let signature = Signature { algorithm: [0x30, 0][..].into(), value: [9, 8, 7][..].into() };
    let mut out = Writer::new();
    signature.encode(&mut out).unwrap();

    assert_eq!(out.as_slice(), octets);
    assert_eq!(Signature::decode(&octets), Ok(signature));
    fails(Signature::decode(&[]), "length of a signature's algorithm");
    fails(Signature::decode(&[3, 0x30, 0]), "algorithm of a signature: 3 octets needed");
    fails(Signature::decode(&[0, 1]), "algorithm of a signature: a length of 0");
    fails(Signature::decode(&[1, 1]), "signature: a length of 0");
    let long = Signature { algorithm: vec![0; 256].into(), value: [1][..].into() };
    assert!(long.encode(&mut Writer::new()).is_err());
}

#[test]
fn deletes_name_the_ike_sa_or_child_sas() {
    both_ways(PayloadType::Delete, &[1, 0, 0, 0], &Payload::Delete(Delete::Ike));
    exact(PayloadType::Delete, &[1, 0, 0, 0]);
    let octets = [3, 4, 0, 2, 0, 0, 1, 0, 0, 0, 1, 1];
    let spis = vec![child_spi(256), child_spi(257)];
    both_ways(PayloadType::Delete, &octets, &Payload::Delete(Delete::Child(ChildProtocol::Esp, spis)));
    exact(PayloadType::Delete, &octets);
    let none = Delete::Child(ChildProtocol::Ah, Vec::new());
    both_ways(PayloadType::Delete, &[2, 4, 0, 0], &Payload::Delete(none));
    for (octets, what) in [
        (&[1, 8, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8][..], "SPI size of a delete: a length of 8"),
        (&[1, 0, 0, 1], "SPIs of a delete: a length of 1"),
        (&[3, 0, 0, 0], "SPI size of a delete: a length of 0"),
        (&[3, 8, 0, 0], "SPI size of a delete: a length of 8"),
        (&[0, 4, 0, 0], "protocol of a delete: 0"),
        (&[4, 4, 0, 0], "protocol of a delete: 4"),
        (&[3, 4, 0xff, 0xff, 0, 0, 1, 0], "SPIs of a delete: 262140 octets needed"),
        (&[3, 4, 0, 1, 0, 0, 0, 0], "SPI of a delete: 0"),
    ] {
        fails(Delete::decode(octets), what);
    }
}

#[test]
fn a_vendor_id_is_any_octets() {
    both_ways(PayloadType::Vendor, b"redirectd", &Payload::Vendor(VendorId(b"redirectd"[..].into())));
    both_ways(PayloadType::Vendor, b"", &Payload::Vendor(VendorId(b""[..].into())));
}

#[test]
fn traffic_selectors_are_written_and_read() {
    let octets = [
        &[3, 0, 0, 0][..],
        &[7, 6, 0, 16, 0, 80, 1, 187, 10, 0, 0, 0, 10, 0, 0, 255],
        &[7, 0, 0, 16, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
        &[8, 0, 0, 40, 0, 0, 0xff, 0xff],
        &[0; 16],
        &[0xff; 16],
    ]
    .concat();
    let v4 = |first: &str, last: &str| {
        AddressRange::V4(Span::new(first.parse().unwrap(), last.parse().unwrap()).unwrap())
    };
    let v6 = AddressRange::V6(Span::new([0; 16].into(), [0xff; 16].into()).unwrap());
    let selectors = TrafficSelectors(vec![
        TrafficSelector::Ip {
            protocol: 6,
            ports: Ports::range(80, 443).unwrap(),
            addresses: v4("10.0.0.0", "10.0.0.255"),
        },
        TrafficSelector::Ip {
            protocol: 0,
            ports: Ports::Opaque,
            addresses: v4("0.0.0.0", "255.255.255.255"),
        },
        TrafficSelector::Ip { protocol: 0, ports: Ports::Any, addresses: v6 },
    ]);

    both_ways(PayloadType::TsI, &octets, &Payload::TsI(selectors.clone()));
    both_ways(PayloadType::TsR, &octets, &Payload::TsR(selectors));
    exact(PayloadType::TsI, &octets);
    both_ways(PayloadType::TsI, &[0, 0, 0, 0], &Payload::TsI(TrafficSelectors(Vec::new())));
}

#[test]
fn a_traffic_selector_that_is_not_known_is_kept() {
    let octets = [1, 0, 0, 0, 10, 1, 0, 6, 0xaa, 0xbb];
    let selectors = TrafficSelectors::decode(&octets).unwrap();

    assert!(matches!(selectors.0[..], [TrafficSelector::Unknown { .. }]));
    both_ways(PayloadType::TsI, &octets, &Payload::TsI(selectors));
}

#[test]
fn traffic_selectors_that_cannot_be_are_refused() {
    for (octets, what) in [
        (&[1, 0, 0, 0, 7, 0, 0, 16, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0][..], "end port before start port: 1"),
        (
            &[1, 0, 0, 0, 7, 0, 0, 16, 0, 0, 0, 1, 10, 0, 0, 1, 10, 0, 0, 0],
            "ending address before the starting address",
        ),
        (&[1, 0, 0, 0, 7, 0, 0, 8, 0, 0, 0, 1], "traffic selector: a length of 8"),
        (&[1, 0, 0, 0, 7, 0, 0, 3], "traffic selector: a length of 3"),
        (&[1, 0, 0, 0, 8, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], "traffic selector: a length of 16"),
        (&[1, 0, 0, 0, 7, 0, 0, 16, 0, 0], "traffic selector: 12 octets needed"),
        (&[1, 0, 0], "TS payload"),
    ] {
        fails(TrafficSelectors::decode(octets), what);
    }
}

#[test]
fn all_ports_have_one_name() {
    assert_eq!(Ports::range(0, u16::MAX), Some(Ports::Any));
    assert_eq!(Ports::range(7, 7), Some(Ports::one(7)));
    assert_eq!(Ports::range(u16::MAX, 0), None);
}

#[test]
fn spans_meet_in_what_they_share() {
    let span = |first, last| Span::new(first, last).unwrap();

    assert_eq!(span(1, 5).intersection(&span(3, 9)), Some(span(3, 5)));
    assert_eq!(span(1, 5).intersection(&span(5, 9)), Some(span(5, 5)));
    assert_eq!(span(1, 5).intersection(&span(6, 9)), None);
    assert!(span(1, 5).contains(5) && !span(1, 5).contains(6));
    assert_eq!(Span::new(2, 1), None);
}

#[test]
fn a_configuration_request_asks_with_empty_values() {
    let octets = [
        &[1, 0, 0, 0][..],
        &[0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0],
        &[0, 8, 0, 0, 0, 10, 0, 0, 0, 12, 0, 0, 0, 13, 0, 0, 0, 14, 0, 0, 0, 15, 0, 0, 0, 25, 0, 0],
    ]
    .concat();
    let attributes = vec![
        Attribute::Ip4Address(None),
        Attribute::Ip4Netmask(None),
        Attribute::Ip4Dns(None),
        Attribute::Ip4Nbns(None),
        Attribute::Ip4Dhcp(None),
        Attribute::ApplicationVersion([][..].into()),
        Attribute::Ip6Address(None),
        Attribute::Ip6Dns(None),
        Attribute::Ip6Dhcp(None),
        Attribute::Ip4Subnet(None),
        Attribute::Supported(Vec::new()),
        Attribute::Ip6Subnet(None),
        Attribute::DnsDomain("".into()),
    ];
    let configuration = Configuration { kind: ConfigurationType::Request, attributes };

    both_ways(PayloadType::Configuration, &octets, &Payload::Configuration(configuration));
}

#[test]
fn a_configuration_reply_answers_with_values() {
    let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let octets = [
        &[2, 0, 0, 0][..],
        &[0, 1, 0, 4, 10, 99, 0, 7, 0, 2, 0, 4, 255, 255, 255, 0, 0, 3, 0, 4, 10, 99, 0, 1],
        &[0, 7, 0, 2, b'v', b'1'],
        &[0, 8, 0, 17],
        &v6,
        &[64, 0, 10, 0, 16],
        &v6,
        &[0, 13, 0, 8, 10, 0, 0, 0, 255, 0, 0, 0],
        &[0, 14, 0, 4, 0, 1, 0, 99],
        &[0, 15, 0, 17],
        &v6,
        &[128, 0, 25, 0, 7],
        b"example",
        &[0x5b, 0xa0, 0, 1, 9],
    ]
    .concat();
    let address = "2001:db8::1".parse().unwrap();
    let attributes = vec![
        Attribute::Ip4Address(Some([10, 99, 0, 7].into())),
        Attribute::Ip4Netmask(MaskLength::new(24)),
        Attribute::Ip4Dns(Some([10, 99, 0, 1].into())),
        Attribute::ApplicationVersion(b"v1"[..].into()),
        Attribute::Ip6Address(Ipv6Prefix::new(address, 64)),
        Attribute::Ip6Dns(Some(address)),
        Attribute::Ip4Subnet(Ipv4Prefix::new([10, 0, 0, 0].into(), 8)),
        Attribute::Supported(vec![AttributeType::Ip4Address, AttributeType::from(99)]),
        Attribute::Ip6Subnet(Ipv6Prefix::new(address, 128)),
        Attribute::DnsDomain("example".into()),
        Attribute::new(AttributeType::from(23456), &[9]).unwrap(),
    ];
    let configuration = Configuration { kind: ConfigurationType::Reply, attributes };

    both_ways(PayloadType::Configuration, &octets, &Payload::Configuration(configuration));
}

#[test]
fn the_reserved_bit_of_an_attribute_is_ignored() {
    assert_eq!(
        Configuration::decode(&[1, 0, 0, 0, 0x80, 1, 0, 0]),
        Configuration::decode(&[1, 0, 0, 0, 0, 1, 0, 0])
    );
}

#[test]
fn values_that_an_attribute_cannot_have_are_refused() {
    for (octets, what) in [
        (&[1, 0, 0, 0, 0, 1, 0, 3, 1, 2, 3][..], "configuration attribute: a length of 3"),
        (&[1, 0, 0, 0, 0, 8, 0, 1, 1], "configuration attribute: a length of 1"),
        (&[1, 0, 0, 0, 0, 2, 0, 4, 255, 0, 255, 0], "netmask"),
        (&[1, 0, 0, 0, 0, 14, 0, 1, 1], "supported attributes: a length of 1"),
        (&[1, 0, 0, 0, 0, 25, 0, 1, 0xff], "name of a domain"),
        (&[1, 0, 0, 0, 0, 1, 0, 4, 1, 2, 3], "attribute value: 4 octets needed"),
        (&[1, 0, 0, 0, 0, 1, 0], "attribute length"),
        (&[1, 0, 0], "CP payload"),
    ] {
        fails(Configuration::decode(octets), what);
    }
    let prefix = [&[1, 0, 0, 0, 0, 8, 0, 17][..], &[0; 16], &[129]].concat();
    fails(Configuration::decode(&prefix), "IPv6 prefix length: 129");
}

#[test]
fn masks_and_lengths_are_the_same() {
    for length in 0..=32 {
        let mask = MaskLength::new(length).unwrap();
        let octets = [&[1, 0, 0, 0, 0, 2, 0, 4][..], &mask.to_mask().octets()].concat();
        let decoded = Configuration::decode(&octets).unwrap();
        assert_eq!(decoded.attributes, [Attribute::Ip4Netmask(Some(mask))]);
    }
    assert_eq!(MaskLength::new(33), None);
    assert_eq!(MaskLength::new(0).unwrap().to_mask().to_string(), "0.0.0.0");
}

#[test]
fn an_eap_packet_is_handed_on_as_it_is() {
    let octets = [1, 7, 0, 6, 26, 9];
    let eap = Eap::new(&octets[..]).unwrap();

    assert_eq!((eap.code, eap.identifier, eap.kind), (EapCode::Request, 7, Some(EapType::MschapV2)));
    assert_eq!(eap.packet(), octets);
    assert_eq!(eap.data(), [9]);
    both_ways(PayloadType::Eap, &octets, &Payload::Eap(eap));
    exact(PayloadType::Eap, &octets);
    let success = Eap::new(vec![3, 7, 0, 4]).unwrap();
    assert_eq!((success.code, success.kind, success.data()), (EapCode::Success, None, &[][..]));
    for (octets, what) in [
        (&[1, 7, 0, 4][..], "EAP type"),
        (&[3, 7, 0, 5, 1], "EAP packet: 1 octets too many"),
        (&[1, 7, 0, 5, 1, 1], "EAP packet: a length of 5"),
        (&[1, 7, 0, 7, 1, 1], "EAP packet: a length of 7"),
    ] {
        fails(Eap::decode(octets), what);
    }
    assert_eq!(Eap::decode(&[9, 7, 0, 4]).map(|eap| eap.code), Ok(EapCode::from(9)));
    let short: Result<_, DecodeError> = Eap::decode(&[1, 7]);
    fails(short, "EAP length");
}

#[test]
fn what_may_give_something_away_is_not_shown() {
    let (first, octets) = encode_chain(|chain| {
        chain.push(&Payload::Auth(Auth { method: AuthMethod::SharedKey, data: b"hunter2"[..].into() }))?;
        chain.push(&Payload::Eap(Eap::new(&b"\x02\x01\0\x0c\x06hunter2"[..]).unwrap()))?;
        chain.notify(&NotifyContent::TicketOpaque(Opaque(b"hunter2")))
    })
    .unwrap();
    let chain = Chain::decode(first, &octets).unwrap();
    let payloads: Vec<_> = chain.iter().map(|raw| Payload::decode(&raw).unwrap()).collect();
    let contents: Vec<_> = chain.notifies().map(|notify| notify.content().unwrap()).collect();

    let shown = format!("{chain:?} {payloads:?} {contents:?}");

    // As letters or as numbers.
    assert!(!shown.contains("hunter2") && !shown.contains("104, 117, 110"), "{shown}");
    assert!(shown.contains("Eap(Response, 1, Some(Unknown(Unlisted(6))), 12 octets)"), "{shown}");
}
