//! HMAC: the crates hmac and sha2 against aws-lc-rs, and what a prepared key saves.

use std::hint::black_box;

use aws_lc_rs::hmac as lc;
use redirect_userspace::crypto::prf::{Prf, PrfKey, prf};

use crate::table::Table;

pub(crate) fn run() {
    for (function, algorithm) in [(Prf::HmacSha256, lc::HMAC_SHA256), (Prf::HmacSha512, lc::HMAC_SHA512)] {
        for length in [64, 300, 1400] {
            let key = [7; 32];
            let data = vec![1; length];
            let ours = PrfKey::new(function, &key);
            let theirs = lc::Key::new(algorithm, &key);
            Table::new(format!("{function:?}, {length} octets"))
                .row("ours, prepared key", || {
                    black_box(ours.compute(&[black_box(&data)]));
                })
                .row("ours, key used once", || {
                    black_box(prf(function, black_box(&key), &[&data]));
                })
                .row("aws-lc-rs, prepared key", || {
                    black_box(lc::sign(&theirs, black_box(&data)));
                })
                .row("aws-lc-rs, key used once", || {
                    black_box(lc::sign(&lc::Key::new(algorithm, black_box(&key)), &data));
                })
                .run();
        }
    }
    let (nonces, mut keymat) = ([3; 80], [0; 7 * 32 + 8]);
    Table::new("keys of an IKE SA: prf+, HMAC-SHA2-256, 232 octets")
        .row("ours", || {
            let skeyseed = PrfKey::new(Prf::HmacSha256, black_box(&[9; 32]));
            skeyseed.expand(&[&nonces]).fill(&mut keymat).unwrap();
            black_box(&keymat);
        })
        .run();
}
