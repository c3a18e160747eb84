//! Messages that other projects publish as octets, on every port and in both families.

use std::net::IpAddr;
use std::path::Path;

use common::reason::Reason;
use redirect_userspace::testing::fixtures::{CLIENT4, CLIENT6, GATEWAY_ALL, VIP4, VIP6};
use redirect_userspace::testing::packets::Packet;

use crate::captures::appended;
use crate::data;
use crate::frame::{Named, decided, world};

#[test]
fn of_the_published_messages_only_the_one_that_announces_support_is_redirected() {
    let Some(root) = data::root() else { return };
    let (mut redirected, mut alone) = (0, 0);
    for (name, message) in messages(&root) {
        // Header of a first request, and an empty REDIRECT_SUPPORTED somewhere in it.
        let is_request = matches!(message.get(8..20), Some([0, 0, 0, 0, 0, 0, 0, 0, _, 0x20, 34, 0x08]));
        let is_capable = message.windows(6).any(|octets| octets == [0, 8, 0, 0, 0x40, 0x16]);

        for (place, marked, frame) in everywhere(&message) {
            let reason = decided(&name, &frame, &world(&frame, GATEWAY_ALL));

            assert_eq!(
                reason == Reason::Redirected,
                is_request && is_capable && marked,
                "{name}, {place}: {}",
                reason.name()
            );
            redirected += usize::from(reason == Reason::Redirected);
            alone += usize::from(reason != Reason::Redirected);
        }
    }
    data::say(&format!("{redirected} redirected, {alone} left alone"));
    // One message, on two ports, in two families.
    assert_eq!(redirected, 4);
    assert!(alone >= 200, "{alone}");
}

#[test]
fn published_requests_are_redirected_once_they_announce_support() {
    let Some(root) = data::root() else { return };
    let mut redirected = 0;
    for (name, message) in messages(&root) {
        if !["rusticata.json ike-sa-init-req", "openiked-parser-payloads.json valid_packet"]
            .iter()
            .any(|end| name.ends_with(end))
        {
            continue;
        }
        let message = appended(&message, &[0, 0, 0x40, 0x16]);
        for (place, marked, frame) in everywhere(&message) {
            let reason = decided(&name, &frame, &world(&frame, GATEWAY_ALL));

            assert_eq!(reason == Reason::Redirected, marked, "{name}, {place}: {}", reason.name());
            redirected += usize::from(reason == Reason::Redirected);
        }
    }
    data::say(&format!("{redirected} redirected"));
    // Two messages, on two ports, in two families.
    assert_eq!(redirected, 2 * 4);
}

/// Frames for the kernel.
pub(crate) fn frames(root: &Path) -> Vec<Named<Vec<u8>>> {
    let mut frames = Vec::new();
    for (name, message) in messages(root) {
        for (place, _, frame) in everywhere(&message) {
            frames.push((format!("{name}, {place}"), frame));
        }
    }
    frames
}

/// All of them, with their names.
pub(crate) fn messages(root: &Path) -> Vec<Named<Vec<u8>>> {
    let folder = data::files(&root.join("ikev2-hex"));
    let fuzzer = root.join("fuzz/libreswan/ikev2-15-fuzzer.json");
    let mut messages = Vec::new();
    for file in folder.iter().chain([&fuzzer]) {
        for entry in data::list(file) {
            let label = [&entry["name"], &entry["file"], &entry["n"]]
                .into_iter()
                .filter(|label| !label.is_null())
                .map(|label| label.as_str().map_or_else(|| label.to_string(), str::to_owned))
                .collect::<Vec<_>>()
                .join(" ");
            let octets = data::octets(entry["hex"].as_str().unwrap());
            messages.push((format!("{} {label}", data::name(root, file)), octets));
        }
    }
    assert!(messages.len() >= 40, "{} messages", messages.len());
    messages
}

/// A UDP payload on port 500, on port 4500 behind the marker, and there without it: place, whether
/// an IKE message is where it belongs, frame.
pub(crate) fn everywhere(message: &[u8]) -> Vec<(String, bool, Vec<u8>)> {
    let families: [(IpAddr, IpAddr); 2] = [(CLIENT4.into(), VIP4.into()), (CLIENT6.into(), VIP6.into())];
    let mut frames = Vec::new();
    for (source, destination) in families {
        for (port, marker) in [(500, None), (4500, Some([0; 4])), (4500, None)] {
            let mut packet = Packet::request(source, destination);
            packet.destination_port = port;
            packet.marker = marker;
            packet.raw = Some(message.to_vec());
            let is_in_place = port == 500 || marker.is_some();
            let place = format!("to {destination} port {port}, marker {}", marker.is_some());
            frames.push((place, is_in_place, packet.build()));
        }
    }
    frames
}
