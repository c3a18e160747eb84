//! Sealing and opening: the bare library, prepared keys, and kept keys prepared for one message.

use std::hint::black_box;

use aws_lc_rs::aead;
use redirect_userspace::crypto::cipher::{Around, Encr, Protection, TrafficKeys};
use redirect_userspace::crypto::integ::Integ;

use crate::table::Table;

pub(crate) fn run() {
    let sha256 = Some(Integ::HmacSha256_128);
    let aeads = [
        (Encr::AesGcm128, &aead::AES_128_GCM),
        (Encr::AesGcm256, &aead::AES_256_GCM),
        (Encr::ChaCha20Poly1305, &aead::CHACHA20_POLY1305),
    ];
    for length in [80, 304, 1408] {
        for (encr, algorithm) in aeads {
            let (mut bare_body, head) = (vec![0; length], [0; 8]);
            let octets = vec![3; algorithm.key_len()];
            let key = aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, &octets).unwrap());
            let bare = move || {
                let nonce = aead::Nonce::assume_unique_for_key([1; 12]);
                let tag =
                    key.seal_in_place_separate_tag(nonce, aead::Aad::from(&head), &mut bare_body).unwrap();
                black_box(tag.as_ref());
            };
            measure(Protection::new(encr, None).unwrap(), length, Some(Box::new(bare)));
        }
        for encr in [Encr::AesCbc128, Encr::AesCbc256] {
            measure(Protection::new(encr, sha256).unwrap(), length, None);
        }
    }
}

fn measure(protection: Protection, length: usize, bare: Option<Box<dyn FnMut()>>) {
    let keys = TrafficKeys::new(
        protection,
        &vec![3; protection.encr_key_length()],
        &vec![4; protection.integ_key_length()],
    )
    .unwrap();
    let iv = vec![5; protection.iv_length()];
    let around = Around { head: &[0; 8], iv: &iv, tail: &[] };
    let (sealer, opener) = (keys.sealer().unwrap(), keys.opener().unwrap());
    let mut sealed = (vec![6; length], vec![0; protection.icv_length()]);
    let mut once = sealed.clone();
    sealer.seal(around, &mut sealed.0, &mut sealed.1).unwrap();
    let (mut opened, mut opened_once) = (sealed.clone(), sealed.clone());

    let name = match protection.integ() {
        Some(integ) => format!("{:?} with {integ:?}", protection.encr()),
        None => format!("{:?}", protection.encr()),
    };
    let mut table = Table::new(format!("{name}, {length} octets"));
    if let Some(bare) = bare {
        table = table.row("seal, aws-lc-rs alone", bare);
    }
    table
        .row("seal, prepared", || {
            sealer.seal(around, &mut once.0, &mut once.1).unwrap();
        })
        .row("seal, prepared for this message", || {
            keys.sealer().unwrap().seal(around, &mut opened_once.0, &mut opened_once.1).unwrap();
        })
        // What is opened must be sealed, so the copy is part of it.
        .row("open, prepared, with a copy", || {
            opened.0.copy_from_slice(&sealed.0);
            opener.open(around, &mut opened.0, &sealed.1).unwrap();
        })
        .run();
}
