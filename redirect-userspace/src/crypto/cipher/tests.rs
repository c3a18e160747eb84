use super::*;
use crate::crypto::{Legacy, hex};

const LEGACY: Legacy = Legacy::permit();

/// Every combination there is.
fn protections() -> Vec<Protection> {
    let mut all: Vec<Protection> = [Encr::AesGcm128, Encr::AesGcm256, Encr::ChaCha20Poly1305]
        .map(|encr| Protection::new(encr, None).unwrap())
        .to_vec();
    for encr in [Encr::AesCbc128, Encr::AesCbc256] {
        for integ in
            [Integ::HmacSha1_96(LEGACY), Integ::HmacSha256_128, Integ::HmacSha384_192, Integ::HmacSha512_256]
        {
            all.push(Protection::new(encr, Some(integ)).unwrap());
        }
    }
    all
}

fn keys(protection: Protection, octet: u8) -> TrafficKeys {
    TrafficKeys::new(
        protection,
        &vec![octet; protection.encr_key_length()],
        &vec![octet + 1; protection.integ_key_length()],
    )
    .unwrap()
}

/// An AEAD's published answer: sealing gives it, and opening undoes it.
fn check_aead(encr: Encr, key: &str, nonce: &str, aad: &str, text: &str, ciphertext: &str, tag: &str) {
    let (nonce, aad, text) = (hex(nonce), hex(aad), hex(text));
    let (salt, iv) = nonce.split_at(SALT_LENGTH);
    let material = [hex(key), salt.to_vec()].concat();
    let keys = TrafficKeys::new(Protection::new(encr, None).unwrap(), &material, &[]).unwrap();
    let around = Around { head: &aad, iv, tail: &[] };
    let (mut body, mut icv) = (text.clone(), [0; TAG_LENGTH]);

    keys.sealer().unwrap().seal(around, &mut body, &mut icv).unwrap();

    assert_eq!((&body, &icv[..]), (&hex(ciphertext), &hex(tag)[..]));
    keys.opener().unwrap().open(around, &mut body, &icv).unwrap();
    assert_eq!(body, text);
}

// McGrew and Viega, "The Galois/Counter Mode of Operation" (submission to NIST), test cases 4 and 16.
#[test]
fn aes_gcm_gives_what_its_authors_say() {
    let nonce = "cafebabefacedbaddecaf888";
    let aad = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
    let text = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
                1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
    check_aead(
        Encr::AesGcm128,
        "feffe9928665731c6d6a8f9467308308",
        nonce,
        aad,
        text,
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
         21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
        "5bc94fbc3221a5db94fae95ae7121a47",
    );
    check_aead(
        Encr::AesGcm256,
        "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
        nonce,
        aad,
        text,
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
         8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
        "76fc6ece0f4e1768cddf8853bb2d551b",
    );
}

// RFC 8439 §2.8.2.
#[test]
fn chacha20_poly1305_gives_what_the_rfc_says() {
    let text =
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
                 sunscreen would be it.";
    let text: String = text.iter().map(|octet| format!("{octet:02x}")).collect();
    check_aead(
        Encr::ChaCha20Poly1305,
        "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
        "070000004041424344454647",
        "50515253c0c1c2c3c4c5c6c7",
        &text,
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6
         3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36
         92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc
         3ff4def08e4b7a9de576d26586cec64b6116",
        "1ae10b594f09e26a7e902ecbd0600691",
    );
}

// NIST SP 800-38A, F.2.1 and F.2.5.
#[test]
fn aes_cbc_gives_what_nist_says() {
    let text = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51
         30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
    let iv = hex("000102030405060708090a0b0c0d0e0f");
    let cases = [
        (
            Encr::AesCbc128,
            "2b7e151628aed2a6abf7158809cf4f3c",
            "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2
             73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7",
        ),
        (
            Encr::AesCbc256,
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d
             39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
        ),
    ];
    for (encr, key, ciphertext) in cases {
        let protection = Protection::new(encr, Some(Integ::HmacSha256_128)).unwrap();
        let keys = TrafficKeys::new(protection, &hex(key), &[7; 32]).unwrap();
        let around = Around { head: b"head", iv: &iv, tail: &[] };
        let (mut body, mut icv) = (text.clone(), [0; 16]);

        keys.sealer().unwrap().seal(around, &mut body, &mut icv).unwrap();

        assert_eq!(body, hex(ciphertext));
        keys.opener().unwrap().open(around, &mut body, &icv).unwrap();
        assert_eq!(body, text);
    }
}

// test of RFC 7296 §3.14 and RFC 4303 §2.8: what the HMAC covers, and in which order.
#[test]
fn the_hmac_covers_head_iv_ciphertext_and_tail() {
    let protection = Protection::new(Encr::AesCbc128, Some(Integ::HmacSha512_256)).unwrap();
    let keys = TrafficKeys::new(protection, &[1; 16], &[2; 64]).unwrap();
    let around = Around { head: b"head", iv: &[3; 16], tail: b"tail" };
    let (mut body, mut icv) = ([4; 48], [0; 32]);
    keys.sealer().unwrap().seal(around, &mut body, &mut icv).unwrap();

    let all = [&b"head"[..], &[3; 16], &body, b"tail"].concat();
    let hmac = super::super::integ::IntegKey::new(Integ::HmacSha512_256, &[2; 64]).unwrap();

    assert_eq!(hmac.verify(&[&all], &icv), Ok(()));
}

#[test]
fn a_change_anywhere_is_noticed() {
    for protection in protections() {
        let (head, iv, text) = (*b"head", vec![5; protection.iv_length()], [6; 64]);
        let around = Around { head: &head, iv: &iv, tail: &[] };
        let (mut sealed, mut icv) = (text, vec![0; protection.icv_length()]);
        keys(protection, 1).sealer().unwrap().seal(around, &mut sealed, &mut icv).unwrap();
        let opener = keys(protection, 1).opener().unwrap();
        let open = |around: Around<'_>, body: [u8; 64], icv: &[u8]| {
            let mut body = body;
            opener.open(around, &mut body, icv).map(|()| body)
        };
        let mismatch = Err(CipherError::Mismatch);

        assert_ne!(sealed, text);
        assert_eq!(open(around, sealed, &icv), Ok(text));
        for at in 0..64 {
            let mut wrong = sealed;
            wrong[at] ^= 0x80;
            assert_eq!(open(around, wrong, &icv), mismatch);
        }
        for at in 0..icv.len() {
            let mut wrong = icv.clone();
            wrong[at] ^= 1;
            assert_eq!(open(around, sealed, &wrong), mismatch);
        }
        let wrong = vec![4; protection.iv_length()];
        assert_eq!(open(Around { iv: &wrong, ..around }, sealed, &icv), mismatch);
        assert_eq!(open(Around { head: b"haed", ..around }, sealed, &icv), mismatch);
        let mut body = sealed;
        assert_eq!(keys(protection, 2).opener().unwrap().open(around, &mut body, &icv), mismatch.map(|_| ()));
    }
}

#[test]
fn wrong_lengths_are_named_before_anything_is_done() {
    for protection in protections() {
        let encr = protection.encr();
        let (sealer, opener) = (keys(protection, 1).sealer().unwrap(), keys(protection, 1).opener().unwrap());
        let check = |around: Around<'_>, body: &[u8], icv: &[u8], expected: CipherError| {
            let (mut one, mut other) = (body.to_vec(), icv.to_vec());
            assert_eq!(sealer.seal(around, &mut one, &mut other), Err(expected));
            assert_eq!(opener.open(around, &mut one, &other), Err(expected));
            assert_eq!((&one[..], &other[..]), (body, icv));
        };
        let (iv, icv) = (vec![0; protection.iv_length()], vec![0; protection.icv_length()]);
        let around = Around { head: &[], iv: &iv, tail: &[] };

        let short = Around { iv: &iv[1..], ..around };
        check(short, &[0; 16], &icv, CipherError::IvLength { encr, length: iv.len() - 1 });
        check(around, &[0; 16], &icv[1..], CipherError::IcvLength { protection, length: icv.len() - 1 });
        if encr.is_aead() {
            check(Around { tail: &[0; 4], ..around }, &[0; 16], &icv, CipherError::Tail { encr });
        } else {
            check(around, &[0; 17], &icv, CipherError::BodyLength { encr, length: 17 });
        }
    }
}

#[test]
fn an_empty_body_is_authenticated_too() {
    for protection in protections() {
        let iv = vec![0; protection.iv_length()];
        let around = Around { head: b"head", iv: &iv, tail: &[] };
        let mut icv = vec![0; protection.icv_length()];
        keys(protection, 1).sealer().unwrap().seal(around, &mut [], &mut icv).unwrap();
        let opener = keys(protection, 1).opener().unwrap();

        assert_eq!(opener.open(around, &mut [], &icv), Ok(()));
        assert_eq!(opener.open(Around { head: b"", ..around }, &mut [], &icv), Err(CipherError::Mismatch));
    }
}

#[test]
fn keys_of_a_wrong_length_are_refused() {
    for protection in protections() {
        let (encr, integ) = (protection.encr_key_length(), protection.integ_key_length());

        let refused = TrafficKeys::new(protection, &vec![0; encr + 1], &vec![0; integ]);
        assert_eq!(refused, Err(KeyError::Length { what: "encryption", need: encr, have: encr + 1 }));
        let refused = TrafficKeys::new(protection, &vec![0; encr], &vec![0; integ + 1]);
        assert_eq!(refused, Err(KeyError::Length { what: "integrity", need: integ, have: integ + 1 }));
    }
}

#[test]
fn kept_keys_can_be_given_to_another_executor() {
    for protection in protections() {
        let keys = keys(protection, 1);
        let (encr, integ) = keys.expose();

        assert_eq!(encr, vec![1; protection.encr_key_length()]);
        assert_eq!(integ, vec![2; protection.integ_key_length()]);
    }
}

#[test]
fn kept_keys_are_small() {
    // One pointer with its length, and the algorithms.
    assert!(size_of::<TrafficKeys>() <= 24, "{}", size_of::<TrafficKeys>());
}

// test of RFC 5282 §3 and RFC 7296 §3.14
#[test]
fn ivs_count_for_an_aead_and_cannot_be_foreseen_for_cbc() {
    let mut rng = Rng::from_number(1);
    let gcm = Protection::new(Encr::AesGcm128, None).unwrap();
    let cbc = Protection::new(Encr::AesCbc128, Some(Integ::HmacSha256_128)).unwrap();
    let (mut counted, mut drawn, mut again) = ([0; 8], [0; 16], [0; 16]);

    gcm.write_iv(0x0102, &mut rng, &mut counted).unwrap();
    cbc.write_iv(0, &mut rng, &mut drawn).unwrap();
    cbc.write_iv(0, &mut rng, &mut again).unwrap();

    assert_eq!(counted, [0, 0, 0, 0, 0, 0, 1, 2]);
    assert_ne!(drawn, again);
    assert_eq!(
        cbc.write_iv(0, &mut rng, &mut counted),
        Err(CipherError::IvLength { encr: Encr::AesCbc128, length: 8 })
    );
}

#[test]
fn nothing_of_a_key_is_shown() {
    let keys = keys(Protection::new(Encr::AesGcm128, None).unwrap(), 1);

    for shown in [
        format!("{keys:?}"),
        format!("{:?}", keys.sealer().unwrap()),
        format!("{:?}", keys.opener().unwrap()),
    ] {
        assert!(shown.ends_with("(Protection { encr: AesGcm128, integ: None }, …)"), "{shown}");
    }
}
