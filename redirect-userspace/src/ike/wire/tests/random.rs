//! Any octets, and changed ones: never a panic, and what is decoded can be encoded and decoded.

use proptest::prelude::*;

use super::super::*;
use super::HEADER;

/// What is decoded is encoded to something that is decoded to the same.
fn comes_back(raw: &RawPayload<'_>) {
    let Ok(payload) = Payload::decode(raw) else { return };
    let (kind, octets) = encode_chain(|chain| chain.push(&payload)).unwrap();
    let chain = Chain::decode(kind, &octets).unwrap();
    let again = chain.iter().next().unwrap();
    // What it names as next is that of its place in a chain.
    let again = RawPayload { next: raw.next, ..again };

    assert_eq!(Payload::decode(&again), Ok(payload.clone()));
    if let Payload::Notify(notify) = &payload
        && let Ok(content) = notify.content()
    {
        let (kind, octets) = encode_chain(|chain| chain.notify(&content)).unwrap();
        let raw = Chain::decode(kind, &octets).unwrap().iter().next().unwrap();
        assert_eq!(Notify::decode(raw.body).unwrap().content(), Ok(content));
    }
}

fn kind() -> impl Strategy<Value = PayloadType> {
    (33_u8..=54).prop_map(PayloadType::from)
}

/// Bodies that get somewhere: small numbers where lengths and counts are.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![3 => 0_u8..=48, 1 => any::<u8>()];
    prop_oneof![proptest::collection::vec(octet, 0..80), proptest::collection::vec(any::<u8>(), 0..300)]
}

fn transform() -> impl Strategy<Value = Transform> {
    prop_oneof![
        prop_oneof![
            (12_u16..=16, 1_u16..).prop_map(|(id, bits)| Transform::Encryption(id.into(), Some(bits))),
            Just(Transform::Encryption(Encryption::ChaCha20Poly1305, None)),
            (100_u16.., proptest::option::of(1_u16..))
                .prop_map(|(id, bits)| Transform::Encryption(id.into(), bits)),
        ],
        any::<u16>().prop_map(|id| Transform::Prf(id.into())),
        any::<u16>().prop_map(|id| Transform::Integrity(id.into())),
        any::<u16>().prop_map(|id| Transform::KeyExchange(id.into())),
        any::<u16>().prop_map(|id| Transform::SequenceNumbers(id.into())),
        (0..AdditionalIndex::COUNT, any::<u16>()).prop_map(|(index, id)| {
            Transform::AdditionalKeyExchange(AdditionalIndex::new(index).unwrap(), id.into())
        }),
    ]
}

fn sa() -> impl Strategy<Value = Sa> {
    let spi = prop_oneof![
        any::<u64>().prop_map(|spi| ProposalSpi::Ike(std::num::NonZeroU64::new(spi))),
        (any::<std::num::NonZeroU32>(), any::<bool>()).prop_map(|(spi, is_esp)| {
            let protocol = if is_esp { ChildProtocol::Esp } else { ChildProtocol::Ah };
            ProposalSpi::Child(protocol, ChildSpi(spi))
        }),
    ];
    let proposal = (spi, proptest::collection::vec(transform(), 0..20));
    proptest::collection::vec(proposal, 1..10).prop_map(|proposals| {
        let numbered = (1_u8..).zip(proposals).map(|(number, (spi, transforms))| Proposal {
            number: number.try_into().unwrap(),
            spi,
            transforms,
        });
        Sa::new(numbered.collect()).unwrap()
    })
}

fn selector() -> impl Strategy<Value = TrafficSelector> {
    let ports = prop_oneof![
        Just(Ports::Opaque),
        any::<(u16, u16)>().prop_map(|(a, b)| Ports::range(a.min(b), a.max(b)).unwrap()),
    ];
    let addresses = prop_oneof![
        any::<(u32, u32)>()
            .prop_map(|(a, b)| { AddressRange::V4(Span::new(a.min(b).into(), a.max(b).into()).unwrap()) }),
        any::<(u128, u128)>()
            .prop_map(|(a, b)| { AddressRange::V6(Span::new(a.min(b).into(), a.max(b).into()).unwrap()) }),
    ];
    (any::<u8>(), ports, addresses).prop_map(|(protocol, ports, addresses)| TrafficSelector::Ip {
        protocol,
        ports,
        addresses,
    })
}

fn same_again(payload: &Payload<'_>) -> Result<(), TestCaseError> {
    let (kind, octets) = encode_chain(|chain| chain.push(payload)).unwrap();
    let chain = Chain::decode(kind, &octets).unwrap();
    let raw = chain.iter().next().unwrap();
    prop_assert_eq!(&Payload::decode(&raw).unwrap(), payload);
    // Cut anywhere, the message is refused.
    for length in 0..octets.len() {
        prop_assert!(Chain::decode(kind, &octets[..length]).is_err());
    }
    // So is the body, cut anywhere.
    for length in 0..raw.body.len() {
        let cut = RawPayload { body: &raw.body[..length], ..raw };
        prop_assert!(Payload::decode(&cut).is_err());
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_body_is_refused_or_comes_back(kind in kind(), body in body()) {
        comes_back(&RawPayload { kind, is_critical: false, next: None, body: &body });
    }

    #[test]
    fn any_notify_is_refused_or_comes_back(kind in any::<u16>(), known in 0..NotifyType::NAMED.len(), body in body()) {
        for kind in [kind.to_be_bytes(), u16::from(NotifyType::NAMED[known]).to_be_bytes()] {
            let body = [&[0, 0][..], &kind, &body].concat();
            comes_back(&RawPayload { kind: PayloadType::Notify, is_critical: false, next: None, body: &body });
        }
    }

    #[test]
    fn any_datagram_is_refused_or_a_message(mut octets in body(), first in kind()) {
        let mut whole = encode_message(Vec::new(), &HEADER, |_| Ok(())).unwrap();
        whole[16] = first.into();
        whole.append(&mut octets);
        let length = u32::try_from(whole.len()).unwrap();
        whole[24..28].copy_from_slice(&length.to_be_bytes());
        if let Ok(message) = Message::decode(&whole) {
            for payload in &message.payloads {
                comes_back(&payload);
            }
        }
    }

    #[test]
    fn any_sa_comes_back(sa in sa()) {
        same_again(&Payload::Sa(sa))?;
    }

    #[test]
    fn any_traffic_selectors_come_back(selectors in proptest::collection::vec(selector(), 0..20)) {
        same_again(&Payload::TsI(TrafficSelectors(selectors)))?;
    }

    #[test]
    fn any_delete_comes_back(spis in proptest::collection::vec(any::<std::num::NonZeroU32>(), 0..20)) {
        let spis = spis.into_iter().map(ChildSpi).collect();
        same_again(&Payload::Delete(Delete::Child(ChildProtocol::Esp, spis)))?;
    }
}
