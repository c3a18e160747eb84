use std::num::{NonZeroU8, NonZeroU32, NonZeroU64};

use super::super::*;
use super::{both_ways, exact, fails};

fn number(number: u8) -> NonZeroU8 {
    NonZeroU8::new(number).unwrap()
}

fn child_spi(spi: u32) -> ChildSpi {
    ChildSpi(NonZeroU32::new(spi).unwrap())
}

/// Two proposals for IKE: CBC with integrity, GCM without.
fn ike() -> Vec<u8> {
    [
        &[2, 0, 0, 52, 1, 1, 0, 5][..],
        &[3, 0, 0, 12, 1, 0, 0, 12, 0x80, 14, 1, 0],
        &[3, 0, 0, 8, 2, 0, 0, 5],
        &[3, 0, 0, 8, 3, 0, 0, 12],
        &[3, 0, 0, 8, 4, 0, 0, 14],
        &[0, 0, 0, 8, 4, 0, 0, 19],
        &[0, 0, 0, 44, 2, 1, 0, 4],
        &[3, 0, 0, 12, 1, 0, 0, 20, 0x80, 14, 0, 128],
        &[3, 0, 0, 8, 2, 0, 0, 5],
        &[3, 0, 0, 8, 4, 0, 0, 31],
        &[0, 0, 0, 8, 6, 0, 0, 36],
    ]
    .concat()
}

#[test]
fn proposals_for_ike_are_written_and_read() {
    let sa = Sa::new(vec![
        Proposal {
            number: number(1),
            spi: ProposalSpi::Ike(None),
            transforms: vec![
                Transform::Encryption(Encryption::AesCbc, Some(256)),
                Transform::Prf(Prf::HmacSha2_256),
                Transform::Integrity(Integrity::HmacSha2_256_128),
                Transform::KeyExchange(KeyExchangeMethod::Modp2048),
                Transform::KeyExchange(KeyExchangeMethod::Ecp256),
            ],
        },
        Proposal {
            number: number(2),
            spi: ProposalSpi::Ike(None),
            transforms: vec![
                Transform::Encryption(Encryption::AesGcm16, Some(128)),
                Transform::Prf(Prf::HmacSha2_256),
                Transform::KeyExchange(KeyExchangeMethod::Curve25519),
                Transform::AdditionalKeyExchange(
                    AdditionalIndex::new(0).unwrap(),
                    KeyExchangeMethod::MlKem768,
                ),
            ],
        },
    ]);

    both_ways(PayloadType::Sa, &ike(), &Payload::Sa(sa.unwrap()));
    exact(PayloadType::Sa, &ike());
}

#[test]
fn spis_have_the_size_of_their_protocol() {
    let esp = [
        &[0, 0, 0, 32, 7, 3, 4, 2, 0xc0, 0, 0, 1][..],
        &[3, 0, 0, 12, 1, 0, 0, 20, 0x80, 14, 1, 0],
        &[0, 0, 0, 8, 5, 0, 0, 1],
    ]
    .concat();
    let rekey = [&[0, 0, 0, 24, 1, 1, 8, 1, 1, 2, 3, 4, 5, 6, 7, 8][..], &[0, 0, 0, 8, 2, 0, 0, 5]].concat();

    let proposal = Proposal {
        number: number(7),
        spi: ProposalSpi::Child(ChildProtocol::Esp, child_spi(0xc000_0001)),
        transforms: vec![
            Transform::Encryption(Encryption::AesGcm16, Some(256)),
            Transform::SequenceNumbers(SequenceNumbers::Extended),
        ],
    };
    both_ways(PayloadType::Sa, &esp, &Payload::Sa(Sa::new(vec![proposal]).unwrap()));
    let proposal = Proposal {
        number: number(1),
        spi: ProposalSpi::Ike(NonZeroU64::new(0x0102_0304_0506_0708)),
        transforms: vec![Transform::Prf(Prf::HmacSha2_256)],
    };
    both_ways(PayloadType::Sa, &rekey, &Payload::Sa(Sa::new(vec![proposal]).unwrap()));

    for (protocol, size) in [(1, 4), (1, 1), (2, 0), (3, 0), (3, 8), (3, 3)] {
        let octets = [&[0, 0, 0, 8 + size, 1, protocol, size, 0][..], &vec![1; usize::from(size)]].concat();
        fails(Sa::decode(&octets), "SPI of a proposal: a length");
    }
    fails(Sa::decode(&[0, 0, 0, 12, 1, 3, 4, 0, 0, 0, 0, 0]), "SPI of a proposal: 0");
    fails(Sa::decode(&[0, 0, 0, 16, 1, 1, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0]), "IKE SPI of a proposal: 0");
}

#[test]
fn a_protocol_that_is_not_known_makes_its_proposal_unusable_and_no_other() {
    let octets =
        [&[2, 0, 0, 11, 1, 9, 3, 0, 1, 2, 3][..], &[0, 0, 0, 16, 2, 1, 0, 1], &[0, 0, 0, 8, 2, 0, 0, 5]]
            .concat();

    let sa = Sa::decode(&octets).unwrap();

    let understood: Vec<_> = sa.proposals().iter().map(Proposal::is_understood).collect();
    assert_eq!(understood, [false, true]);
    both_ways(PayloadType::Sa, &octets, &Payload::Sa(sa));
}

#[test]
fn a_transform_type_that_is_not_known_makes_its_proposal_unusable() {
    let octets = [0, 0, 0, 20, 1, 1, 0, 1, 0, 0, 0, 12, 13, 0, 0, 1, 0x80, 14, 0, 128];

    let sa = Sa::decode(&octets).unwrap();

    assert!(!sa.proposals()[0].is_understood());
    both_ways(PayloadType::Sa, &octets, &Payload::Sa(sa));
}

/// The only transform of a proposal that has nothing else.
fn transform(kind: u8, id: u16, attributes: &[u8]) -> Transform {
    let length = u8::try_from(8 + attributes.len()).unwrap();
    let [high, low] = id.to_be_bytes();
    let octets =
        [&[0, 0, 0, 8 + length, 1, 1, 0, 1, 0, 0, 0, length, kind, 0, high, low][..], attributes].concat();
    let sa = Sa::decode(&octets).unwrap();
    both_ways(PayloadType::Sa, &octets, &Payload::Sa(sa.clone()));
    assert!(sa.proposals()[0].is_understood());
    sa.proposals()[0].transforms[0].clone()
}

fn is_usable(transform: &Transform) -> bool {
    !matches!(transform, Transform::Unusable { .. })
}

#[test]
fn a_key_length_is_where_it_must_be_and_nowhere_else() {
    const BITS: [u8; 4] = [0x80, 14, 0, 128];

    // RFC 7296 §3.3.5: AES is nothing without a key length, ChaCha20 nothing with one.
    for id in [12, 13, 14, 15, 16, 18, 19, 20, 21, 23] {
        assert!(is_usable(&transform(1, id, &BITS)), "{id}");
        assert!(!is_usable(&transform(1, id, &[])), "{id}");
    }
    for id in [2, 3, 11, 28] {
        assert!(is_usable(&transform(1, id, &[])), "{id}");
        assert!(!is_usable(&transform(1, id, &BITS)), "{id}");
    }
    for kind in 2..=12 {
        assert!(is_usable(&transform(kind, 5, &[])), "{kind}");
        assert!(!is_usable(&transform(kind, 5, &BITS)), "{kind}");
    }
    // What is not known may have one or not.
    assert!(is_usable(&transform(1, 99, &BITS)) && is_usable(&transform(1, 99, &[])));
}

#[test]
fn an_attribute_that_is_not_understood_makes_its_transform_unusable() {
    for attributes in [
        &[0x80, 15, 0, 1][..],
        // The key length twice, as long attribute, as zero, beside something else.
        &[0x80, 14, 0, 128, 0x80, 14, 0, 128],
        &[0, 14, 0, 2, 0, 128],
        &[0x80, 14, 0, 0],
        &[0x80, 14, 0, 128, 0, 99, 0, 0],
    ] {
        let transform = transform(1, 12, attributes);
        assert!(!is_usable(&transform), "{attributes:?}");
        assert_eq!((transform.kind(), transform.id()), (TransformType::Encryption, 12));
    }
}

#[test]
fn attributes_end_where_their_transform_ends() {
    for attributes in [&[0x80][..], &[0x80, 14, 0], &[0, 99, 0, 2, 1], &[0x80, 14, 0, 128, 1]] {
        let length = u8::try_from(8 + attributes.len()).unwrap();
        let octets =
            [&[0, 0, 0, 8 + length, 1, 1, 0, 1, 0, 0, 0, length, 1, 0, 0, 12][..], attributes].concat();
        fails(Sa::decode(&octets), "transform attribute");
    }
}

#[test]
fn numbers_of_proposals_rise() {
    let proposals = |numbers: [u8; 2]| {
        let [first, second] = numbers;
        [&[2, 0, 0, 8, first, 1, 0, 0][..], &[0, 0, 0, 8, second, 1, 0, 0]].concat()
    };

    assert!(Sa::decode(&proposals([1, 2])).is_ok());
    assert!(Sa::decode(&proposals([1, 9])).is_ok());
    fails(Sa::decode(&proposals([1, 1])), "proposal number: 1");
    fails(Sa::decode(&proposals([2, 1])), "proposal number: 1");
    fails(Sa::decode(&proposals([0, 1])), "proposal number: 0");
    let proposal = |n| Proposal { number: number(n), spi: ProposalSpi::Ike(None), transforms: Vec::new() };
    assert_eq!(Sa::new(vec![proposal(2), proposal(1)]), None);
    assert_eq!(Sa::new(Vec::new()), None);
}

#[test]
fn counts_lengths_and_last_marks_agree() {
    // Fewer transforms than announced, more than announced, a last one in the middle, none last.
    for (octets, what) in [
        (&[0, 0, 0, 16, 1, 1, 0, 2, 0, 0, 0, 8, 2, 0, 0, 5][..], "last transform"),
        (&[0, 0, 0, 16, 1, 1, 0, 0, 0, 0, 0, 8, 2, 0, 0, 5], "proposal: 8 octets too many"),
        (&[0, 0, 0, 16, 1, 1, 0, 1, 3, 0, 0, 8, 2, 0, 0, 5], "last transform: 1"),
        (&[0, 0, 0, 16, 1, 1, 0, 1, 1, 0, 0, 8, 2, 0, 0, 5], "last transform: 1"),
        (&[1, 0, 0, 8, 1, 1, 0, 0], "last proposal: 1"),
        (&[2, 0, 0, 8, 1, 1, 0, 0], "last proposal: 1 octets needed"),
        (&[0, 0, 0, 3, 1, 1, 0, 0], "proposal: a length of 3"),
        (&[0, 0, 0, 9, 1, 1, 0, 0], "proposal: 5 octets needed"),
        (&[0, 0, 0, 16, 1, 1, 0, 1, 0, 0, 0, 3, 2, 0, 0, 5], "transform: a length of 3"),
        (&[0, 0, 0, 16, 1, 1, 0, 1, 0, 0, 0, 7, 2, 0, 0, 5], "transform ID"),
        (&[0, 0, 0, 16, 1, 1, 0, 1, 0, 0, 0, 9, 2, 0, 0, 5], "transform: 5 octets needed"),
        (&[0, 0, 0, 8, 1, 1, 0, 0, 0], "SA payload: 1 octets too many"),
        (&[], "last proposal"),
    ] {
        fails(Sa::decode(octets), what);
    }
}

#[test]
fn reserved_octets_of_proposals_are_ignored() {
    let mut octets = ike();
    octets[1] = 0xff;
    octets[9] = 0xff;
    octets[13] = 0xff;

    assert_eq!(Sa::decode(&octets), Sa::decode(&ike()));
}
