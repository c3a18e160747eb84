//! What other projects' fuzzers start from and what they have found, fed to the fuzz targets of the
//! IKEv2 codec.

use std::path::Path;

use redirect_userspace::testing::{fuzz, fuzz_ike};

use crate::data;
use crate::frame::{Datagram, Named};
use crate::messages;
use crate::pcap;

#[test]
fn every_seed_keeps_the_promises_of_the_codec() {
    let Some(root) = data::root() else { return };
    let mut fed = 0;
    for (_, seed) in seeds(&root) {
        fuzz::ike_message(&seed);
        for kind in 33..=54 {
            let inside = [&[kind][..], &seed].concat();
            fuzz::ike_chain(&inside);
            fuzz::ike_payload(&inside);
            fuzz::ike_message(&behind_a_header(kind, &seed));
            fed += 3;
        }
        fed += 1;
    }
    data::say(&format!("{fed} inputs"));
    assert!(fed >= 10_000, "{fed}");
}

#[test]
fn every_seed_with_an_octet_changed_keeps_the_promises_of_the_codec() {
    let Some(root) = data::root() else { return };
    let mut fed = 0;
    for (_, seed) in seeds(&root).into_iter().filter(|(_, seed)| seed.len() <= 600) {
        for at in 0..seed.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut seed = seed.clone();
                seed[at] ^= flip;
                fuzz::ike_message(&seed);
                // Many seeds are payloads with their generic header.
                fuzz::ike_chain(&seed);
                fed += 2;
            }
        }
    }
    data::say(&format!("{fed} inputs"));
    assert!(fed >= 50_000, "{fed}");
}

#[test]
fn every_seed_keeps_the_promises_of_the_endpoint() {
    let Some(root) = data::root() else { return };
    let mut fed = 0;
    for (_, seed) in seeds(&root) {
        let seed = seed.get(..600).unwrap_or(&seed);
        fuzz_ike::ike_stranger(seed);
        fuzz_ike::ike_inside(seed);
        fuzz_ike::ike_endpoints(seed);
        fuzz_ike::ike_convergence(seed);
        for kind in 33..=53 {
            // What is to be inside, after which SA, flags, exchange, Message ID, and its length.
            let length = u8::try_from(seed.len().min(255)).unwrap();
            for exchange in [2, 3] {
                let id = [0, 0, 0, exchange, 2, kind, length];
                fuzz_ike::ike_inside(&[&id[..], seed].concat());
            }
        }
        fed += 1;
    }
    data::say(&format!("{fed} inputs"));
    assert!(fed >= 150, "{fed}");
}

/// The seed as the payloads of a message, the first of which is of type `kind`.
fn behind_a_header(kind: u8, seed: &[u8]) -> Vec<u8> {
    let mut message = vec![1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, kind, 0x20, 34, 0x08, 0, 0, 0, 0];
    message.extend(u32::try_from(28 + seed.len()).unwrap().to_be_bytes());
    message.extend(seed);
    message
}

/// Every file that is no capture, every datagram of the captures that crashed others, and every
/// message that is published.
fn seeds(root: &Path) -> Vec<Named<Vec<u8>>> {
    let mut seeds = messages::messages(root);
    for file in data::files(&root.join("fuzz")) {
        let name = data::name(root, &file);
        if pcap::is_capture(&file) {
            for pcap::Captured { number, frame } in pcap::read(&file) {
                let Some(datagram) = Datagram::of(&frame) else { continue };
                seeds.push((format!("{name} packet {number}"), datagram.message().to_vec()));
            }
        } else {
            seeds.push((name, std::fs::read(&file).unwrap()));
        }
    }
    assert!(seeds.len() >= 150, "{} seeds", seeds.len());
    seeds
}
