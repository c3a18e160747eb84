use super::*;
use crate::crypto::{Provider, hex};

const LEGACY: Legacy = Legacy::permit();
const SHA2: [Prf; 3] = [Prf::HmacSha256, Prf::HmacSha384, Prf::HmacSha512];

/// Key and data as hexadecimal digits, and what each of [`SHA2`] gives.
struct Case {
    key: &'static str,
    data: &'static str,
    outputs: [&'static str; 3],
}

/// The vectors of `RFC 4868 §2.7.1`, which are those of RFC 4231.
const RFC_4868: [Case; 6] = [
    Case {
        key: "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
        data: "4869205468657265",
        outputs: [
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c
            faea9ea9076ede7f4af152e8b2fa9cb6",
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde
            daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
        ],
    },
    Case {
        key: "4a656665",
        data: "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
        outputs: [
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e
            8e2240ca5e69e2c78b3239ecfab21649",
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554
            9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ],
    },
    Case {
        key: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        data: "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd
        dddddddddddddddddddddddddddddddddddd",
        outputs: [
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b
            2a5ab39dc13814b94e3ab6e101a34f27",
            "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39
            bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb",
        ],
    },
    Case {
        key: "0102030405060708090a0b0c0d0e0f10111213141516171819",
        data: "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd
        cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
        outputs: [
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            "3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e
            6801dd23c4a7d679ccf8a386c674cffb",
            "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3db
            a91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd",
        ],
    },
    Case {
        key: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        aaaaaa",
        data: "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a
        65204b6579202d2048617368204b6579204669727374",
        outputs: [
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c6
            0c2ef6ab4030fe8296248df163f44952",
            "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352
            6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
        ],
    },
    Case {
        key: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        aaaaaa",
        data: "5468697320697320612074657374207573696e672061206c6172676572207468
        616e20626c6f636b2d73697a65206b657920616e642061206c61726765722074
        68616e20626c6f636b2d73697a6520646174612e20546865206b6579206e6565
        647320746f20626520686173686564206265666f7265206265696e6720757365
        642062792074686520484d414320616c676f726974686d2e",
        outputs: [
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            "6617178e941f020d351e2f254e8fd32c602420feb0b8fb9adccebb82461e99c5
            a678cc31e799176d3860e6110c46523e",
            "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944
            b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58",
        ],
    },
];

// test of RFC 4868 §2.7.1
#[test]
fn the_functions_give_what_the_rfc_says() {
    for case in &RFC_4868 {
        for (function, output) in SHA2.into_iter().zip(case.outputs) {
            let output = hex(output);

            assert_eq!(prf(function, &hex(case.key), &[&hex(case.data)]).expose(), output);
            assert_eq!(output.len(), function.output_length());
        }
    }
}

// RFC 2202 §3, cases 1, 2 and 6.
#[test]
fn hmac_sha1_gives_what_the_rfc_says() {
    let cases: [(&[u8], &[u8], &str); 3] = [
        (&[0x0b; 20], b"Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"),
        (b"Jefe", b"what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        (
            &[0xaa; 80],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "aa4ae5e15272d00e95705637ce8a3b55ed402112",
        ),
    ];
    for (key, data, output) in cases {
        assert_eq!(prf(Prf::HmacSha1(LEGACY), key, &[data]).expose(), hex(output));
    }
}

#[test]
fn parts_are_taken_one_after_the_other() {
    let key = PrfKey::new(Prf::HmacSha256, b"key");

    let output = key.compute(&[b"ab", b"", b"cde"]);

    assert!(output.is_same(key.compute(&[b"abcde"]).expose()));
    assert!(!output.is_same(key.compute(&[b"abcd"]).expose()));
    assert!(!output.is_same(&output.expose()[..31]));
}

/// prf+ written down as the RFC has it.
fn plainly(function: Prf, key: &[u8], seed: &[u8], length: usize) -> Vec<u8> {
    let (mut all, mut block) = (Vec::new(), Vec::new());
    for number in 1..=255_u8 {
        block = prf(function, key, &[&block, seed, &[number]]).expose().to_vec();
        all.extend_from_slice(&block);
    }
    all.truncate(length);
    all
}

// test of RFC 7296 §2.13
#[test]
fn prf_plus_is_the_chain_of_the_rfc_however_its_seed_is_cut() {
    let seed = b"0123456789abcdef";
    let seeds: [&[&[u8]]; 6] = [
        &[seed],
        &[b"0123", b"456789abcdef"],
        &[b"0123", b"4567", b"89abcdef"],
        &[b"0123", b"4567", b"89ab", b"cdef"],
        &[b"01", b"23", b"4567", b"89ab", b"cdef"],
        &[b"", b"01", b"23", b"4567", b"", b"89ab", b"cdef"],
    ];
    for function in [Prf::HmacSha1(LEGACY), Prf::HmacSha256, Prf::HmacSha384, Prf::HmacSha512] {
        let expected = plainly(function, b"key", seed, 300);
        for parts in seeds {
            let mut octets = [0; 300];
            prf_plus(function, b"key", parts, &mut octets).unwrap();

            assert_eq!(octets[..], expected);
        }
    }
}

#[test]
fn prf_plus_can_be_read_piece_by_piece() {
    let key = PrfKey::new(Prf::HmacSha384, b"key");
    let expected = plainly(Prf::HmacSha384, b"key", b"seed", 48 * 3);
    let seed: [&[u8]; 1] = [b"seed"];
    let mut stream = key.expand(&seed);
    let mut octets = Vec::new();

    for length in [0, 1, 47, 48, 2, 46] {
        let mut piece = vec![0; length];
        stream.fill(&mut piece).unwrap();
        octets.extend_from_slice(&piece);
    }

    assert_eq!(octets, expected);
    assert_eq!(key.expand(&seed).secret(144).unwrap().expose(), expected);
}

// test of RFC 7296 §2.13
#[test]
fn prf_plus_ends_after_255_outputs() {
    for provider in [Provider::Real, Provider::Null] {
        let key = provider.prf(Prf::HmacSha256, b"key");
        let seed: [&[u8]; 1] = [b"seed"];
        let mut stream = key.expand(&seed);
        let mut all = vec![0; 255 * 32];

        assert_eq!(stream.fill(&mut all), Ok(()));
        assert_eq!(stream.fill(&mut []), Ok(()));
        assert_eq!(stream.fill(&mut [0]), Err(Exhausted));
        assert_eq!(key.expand(&seed).fill(&mut vec![0; 255 * 32 + 1]), Err(Exhausted));
        assert_eq!(key.expand(&seed).secret(usize::MAX), Err(Exhausted));
    }
}

#[test]
fn nothing_of_a_key_is_shown() {
    let key = PrfKey::new(Prf::HmacSha256, b"hunter2");
    let seed: [&[u8]; 1] = [b"seed"];

    assert_eq!(format!("{key:?}"), "PrfKey(HmacSha256, …)");
    assert_eq!(format!("{:?}", key.compute(&[])), "PrfOutput(…)");
    assert_eq!(format!("{:?}", key.expand(&seed)), "PrfPlus(…)");
}
