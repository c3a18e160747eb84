//! What other projects' fuzzers start from and what they have found: never a panic, never an answer
//! that the judge does not accept.

use std::path::Path;

use common::reason::Reason;
use redirect_userspace::testing::fixtures::{self, GATEWAY_ALL, GATEWAY_LONG_NAME, GATEWAY_ODD_NAME};
use redirect_userspace::testing::packets::Payload;

use crate::data;
use crate::frame::{Named, decided, world};
use crate::messages::everywhere;
use crate::pcap;

#[test]
fn no_seed_is_answered_as_it_is() {
    let Some(root) = data::root() else { return };
    let mut packets = 0;
    for (name, seed) in seeds(&root) {
        for (place, _, frame) in everywhere(&seed) {
            let reason = decided(&name, &frame, &world(&frame, GATEWAY_ALL));

            assert_ne!(reason, Reason::Redirected, "{name}, {place}");
            packets += 1;
        }
    }
    data::say(&format!("{packets} packets left alone"));
    assert!(packets >= 900, "{packets}");
}

#[test]
fn a_seed_in_the_place_of_the_chain_is_answered_well_or_left_alone() {
    let Some(root) = data::root() else { return };
    let mut packets = 0;
    for (name, frame) in chains(&root) {
        for gateway in [GATEWAY_ALL, GATEWAY_ODD_NAME, GATEWAY_LONG_NAME] {
            decided(&name, &frame, &world(&frame, gateway));
            packets += 1;
        }
    }
    data::say(&format!("{packets} packets judged"));
    assert!(packets >= 3000, "{packets}");
}

#[test]
fn a_seed_that_is_mere_content_does_not_hinder_a_redirect() {
    let Some(root) = data::root() else { return };
    let mut redirected = 0;
    for (name, frame) in contents(&root) {
        let reason = decided(&name, &frame, &world(&frame, GATEWAY_ALL));

        assert_eq!(reason, Reason::Redirected, "{name}");
        redirected += 1;
    }
    data::say(&format!("{redirected} requests redirected"));
    assert!(redirected >= 400, "{redirected}");
}

/// Frames for the kernel.
pub(crate) fn frames(root: &Path) -> Vec<Named<Vec<u8>>> {
    let mut frames = Vec::new();
    for (name, seed) in seeds(root) {
        for (place, _, frame) in everywhere(&seed) {
            frames.push((format!("{name}, {place}"), frame));
        }
    }
    frames.extend(chains(root));
    frames.extend(contents(root));
    frames
}

/// Every file that is no capture, whole and in its parts.
fn seeds(root: &Path) -> Vec<Named<Vec<u8>>> {
    let mut seeds = Vec::new();
    for file in data::files(&root.join("fuzz")).into_iter().filter(|file| !pcap::is_capture(file)) {
        let octets = std::fs::read(&file).unwrap();
        let name = data::name(root, &file);
        if name.ends_with(".dict") {
            let text = String::from_utf8_lossy(&octets).into_owned();
            let parts = text.lines().enumerate().filter_map(|(line, text)| Some((line, word(text)?)));
            seeds.extend(parts.map(|(line, word)| (format!("{name} line {}", line + 1), word)));
        }
        seeds.push((name, octets));
    }
    assert!(seeds.len() >= 150, "{} seeds", seeds.len());
    seeds
}

/// Seeds behind an IKE header, and behind the payloads of a good request.
fn chains(root: &Path) -> Vec<Named<Vec<u8>>> {
    let mut frames = Vec::new();
    for (name, seed) in seeds(root) {
        for kind in [33, 34, 40, 41, 43, 46, 200] {
            let mut packet = if kind % 2 == 0 { fixtures::v4() } else { fixtures::v6().nat_t() };
            packet.last_next_payload = kind;
            packet.trailing = seed.clone();
            frames.push((format!("{name} after a chain, as payload {kind}"), packet.build()));
            packet.payloads.clear();
            frames.push((format!("{name} as a chain of payload {kind}"), packet.build()));
        }
    }
    frames
}

/// Seeds as content that the fast path need not understand.
fn contents(root: &Path) -> Vec<Named<Vec<u8>>> {
    let mut frames = Vec::new();
    for (name, seed) in seeds(root) {
        // Longer messages are the node's own work.
        if seed.len() > 2500 {
            continue;
        }
        for payload in
            [Payload::vendor(&seed), Payload::notify(40960, &seed), Payload::new(200, seed.clone())]
        {
            let mut packet = fixtures::v4();
            let what = format!("{name} in a payload {}", payload.kind);
            packet.payloads.insert(1, payload);
            frames.push((what, packet.build()));
        }
    }
    frames
}

/// The octets of a dictionary's line.
fn word(line: &str) -> Option<Vec<u8>> {
    let quoted = line.split_once('"')?.1.rsplit_once('"')?.0;
    let mut octets = Vec::new();
    let mut rest = quoted;
    while let Some(first) = rest.chars().next() {
        let hex = rest.strip_prefix("\\x").and_then(|rest| rest.get(..2));
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(octet) => {
                octets.push(octet);
                rest = &rest[4..];
            }
            None => {
                octets.extend(first.to_string().as_bytes());
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    Some(octets)
}

#[test]
fn a_line_of_a_dictionary_is_unescaped() {
    assert_eq!(word(r#"key="\x00\xfeac\x12""#), Some(vec![0, 0xfe, b'a', b'c', 0x12]));
    assert_eq!(word("# comment"), None);
}
