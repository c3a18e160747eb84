//! Captures of other implementations, each packet to its own destination as the VIP.

use std::path::Path;

use common::decide::{Verdict, decide};
use common::maps::Gateway;
use common::reason::Reason;
use redirect_userspace::testing::fixtures::{
    GATEWAY_ALL, GATEWAY_LOCAL, GATEWAY_NAME, GATEWAY_ODD_NAME, GATEWAY_SHORT_NAME,
};
use redirect_userspace::testing::packets::sum;

use crate::data;
use crate::frame::{Datagram, Named, decided, world};
use crate::pcap;
use crate::table::{self, Row};

const FOLDERS: [&str; 4] = ["ikev2-pcap", "ikev2-redirect", "ikev1-negative", "fuzz"];

/// Reasons that are met without a look at any IKE header.
const BEFORE_IKE: [Reason; 7] = [
    Reason::NotIp,
    Reason::NotUdp,
    Reason::NotIkePort,
    Reason::Esp,
    Reason::NatKeepalive,
    Reason::Ipv4Fragment,
    Reason::Ipv6Extension,
];

/// A packet of a capture and what its decoder says about it.
struct Packet {
    name: String,
    frame: Vec<u8>,
    /// `None`: the decoder does not see IKE in it, or there is no table.
    row: Option<Row>,
    has_table: bool,
}

#[test]
fn every_captured_packet_has_the_fate_that_its_decoder_predicts() {
    let Some(root) = data::root() else { return };
    let (mut predicted, mut others, mut redirected, mut capable) = (0, 0, 0, 0);

    for Packet { name, frame, row, has_table } in packets(&root) {
        let reason = decided(&name, &frame, &world(&frame, GATEWAY_ALL));

        match row {
            Some(row) => {
                // The decoder shows a reassembled datagram at its last fragment.
                let expected = if is_fragment(&frame) {
                    Reason::Ipv4Fragment
                } else if has_impossible_source(&frame) {
                    Reason::BadSource
                } else {
                    row.expected()
                };
                assert_eq!(reason, expected, "{name}: {row:?}");
                predicted += 1;
                capable += usize::from(row.is_first_request() && row.announces_support());
            }
            None => {
                // Whatever the decoder does not call IKE must not get as far as an IKE header.
                assert!(!has_table || BEFORE_IKE.contains(&reason), "{name}: {}", reason.name());
                assert_ne!(reason, Reason::Redirected, "{name}");
                others += 1;
            }
        }
        redirected += usize::from(reason == Reason::Redirected);
    }

    data::say(&format!(
        "{predicted} IKE packets as predicted, {redirected} of them redirected; \
         {others} other packets left alone"
    ));
    assert_eq!(redirected, capable);
    assert!(predicted >= 200 && redirected >= 4 && others >= 500, "{predicted} {redirected} {others}");
}

#[test]
fn a_captured_packet_with_a_wrong_header_checksum_is_left_alone() {
    let Some(root) = data::root() else { return };
    let mut refused = 0;
    for (name, frame) in as_captured(&root) {
        if !is_ipv4(&frame) || header_checksum(&frame) == [frame[24], frame[25]] {
            continue;
        }

        let reason = decided(&name, &frame, &world(&frame, GATEWAY_ALL));

        assert_ne!(reason, Reason::Redirected, "{name}");
        refused += usize::from(reason == Reason::Ipv4Checksum);
    }
    data::say(&format!("{refused} packets with a wrong header checksum left alone"));
    assert!(refused >= 40, "{refused}");
}

#[test]
fn a_capable_client_gets_any_form_of_identity_and_none_from_this_node_itself() {
    let Some(root) = data::root() else { return };
    let mut answered = 0;
    for Packet { name, frame, .. } in capable(&root) {
        for gateway in [GATEWAY_ALL, GATEWAY_NAME, GATEWAY_ODD_NAME, GATEWAY_SHORT_NAME] {
            assert_eq!(decided(&name, &frame, &world(&frame, gateway)), Reason::Redirected, "{name}");
            answered += 1;
        }
        assert_eq!(decided(&name, &frame, &world(&frame, GATEWAY_LOCAL)), Reason::LocalIsLlg, "{name}");
    }
    data::say(&format!("{answered} replies judged"));
    assert!(answered >= 16, "{answered}");
}

#[test]
fn every_foreign_first_request_is_redirected_once_it_announces_support() {
    let Some(root) = data::root() else { return };
    let (mut redirected, mut refused) = (0, 0);
    for (name, (frame, row)) in announcing(&root) {
        let expected = if row.has_cookie() { Reason::Cookie } else { Reason::Redirected };

        assert_eq!(decided(&name, &frame, &world(&frame, GATEWAY_ALL)), expected, "{name}");

        redirected += usize::from(expected == Reason::Redirected);
        refused += usize::from(expected == Reason::Cookie);
    }
    data::say(&format!("{redirected} requests redirected, {refused} left alone for their cookie"));
    assert!(redirected >= 2 * 20 && refused >= 2, "{redirected} {refused}");
}

#[test]
fn a_request_that_is_cut_anywhere_is_left_alone() {
    let Some(root) = data::root() else { return };
    let mut cut = 0;
    for (name, (frame, _)) in announcing(&root) {
        let datagram = Datagram::of(&frame).unwrap();
        let message = datagram.message();
        for length in 0..message.len() {
            let frame = datagram.carrying(&message[..length]);
            let reason = decided(&name, &frame, &world(&frame, GATEWAY_ALL));
            assert_eq!(reason, Reason::IkeLength, "{name} cut to {length}");

            // With a length that tells the truth, the chain is what breaks.
            if length >= 28 {
                let frame = datagram.carrying(&with_length(&message[..length]));
                let reason = decided(&name, &frame, &world(&frame, GATEWAY_ALL));
                assert_ne!(reason, Reason::Redirected, "{name} cut to {length}");
            }
            cut += 1;
        }
    }
    data::say(&format!("{cut} cuts"));
    assert!(cut >= 10_000);
}

#[test]
fn a_foreign_request_whose_header_says_something_else_is_left_alone() {
    let Some(root) = data::root() else { return };
    // Offset in the IKE header, value, and what it then is.
    let changes = [
        (8, 1, Reason::SpiResponderSet),
        (15, 1, Reason::SpiResponderSet),
        (17, 0x10, Reason::IkeVersion),
        (17, 0x30, Reason::IkeVersion),
        (18, 35, Reason::OtherExchange),
        (18, 36, Reason::OtherExchange),
        (18, 37, Reason::OtherExchange),
        (18, 38, Reason::SessionResume),
        (19, 0x00, Reason::NotInitiator),
        (19, 0x20, Reason::IkeResponse),
        (19, 0x28, Reason::IkeResponse),
        (20, 1, Reason::MessageId),
        (23, 1, Reason::MessageId),
    ];
    let mut changed = 0;
    for (name, (frame, _)) in announcing(&root) {
        let datagram = Datagram::of(&frame).unwrap();
        for (at, value, expected) in changes {
            let mut message = datagram.message().to_vec();
            message[at] = value;
            let frame = datagram.carrying(&message);

            let reason = decided(&name, &frame, &world(&frame, GATEWAY_ALL));

            assert_eq!(reason, expected, "{name}: octet {at} is {value}");
            changed += 1;
        }
    }
    data::say(&format!("{changed} packets left alone"));
    assert!(changed >= 500, "{changed}");
}

#[test]
fn a_foreign_request_with_any_octet_changed_is_answered_well_or_left_alone() {
    let Some(root) = data::root() else { return };
    let (mut redirected, mut alone) = (0, 0);
    for (name, (frame, _)) in announcing(&root) {
        let world = world(&frame, GATEWAY_ODD_NAME);
        for at in 0..frame.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut frame = frame.clone();
                frame[at] ^= flip;

                match decided(&name, &frame, &world) == Reason::Redirected {
                    true => redirected += 1,
                    false => alone += 1,
                }
            }
        }
    }
    data::say(&format!("{redirected} packets redirected, {alone} left alone"));
    assert!(redirected >= 30_000 && alone >= 3_000, "{redirected} {alone}");
}

#[test]
fn a_capable_client_that_loses_its_announcement_is_left_alone() {
    let Some(root) = data::root() else { return };
    let mut stripped = 0;
    for Packet { name, frame, .. } in capable(&root) {
        // What is left is a notify that says nothing about redirects: MOBIKE_SUPPORTED.
        let datagram = Datagram::of(&frame).unwrap();
        let mut message = datagram.message().to_vec();
        let is_announcement = |octets: &[u8]| matches!(octets, [0, 0, 0x40, 0x16 | 0x18]);
        let at = message.windows(4).position(is_announcement).unwrap();
        message[at + 3] = 0x0c;

        let frame = datagram.carrying(&message);

        assert_eq!(decided(&name, &frame, &world(&frame, GATEWAY_ALL)), Reason::NoRedirectSupport, "{name}");
        stripped += 1;
    }
    data::say(&format!("{stripped} packets left alone"));
    assert!(stripped >= 4, "{stripped}");
}

#[test]
fn our_redirect_is_the_captured_one_octet_by_octet() {
    // RDI-01, RDI-04, RDI-05, RDI-22
    let Some(root) = data::root() else { return };
    let capture = pcap::read(&root.join("ikev2-redirect/redirect_frames_1-2.pcap"));
    let [request, response] = &capture[..] else { panic!("{} frames", capture.len()) };
    // Whoever published the capture has changed its addresses, and not its header checksums.
    let request = repaired(&request.frame);
    let mut world = world(&request, 0);
    world.gateways =
        Gateway::new(None, None, Some(b"moneybin.duckburg.disney.com"), false).into_iter().collect();
    let mut packet = request.clone();

    let Verdict::Redirect { length, .. } = decide(packet.as_mut_slice(), &world) else {
        panic!("not redirected: {}", decided("request", &request, &world).name());
    };

    let ours = Datagram::of(&packet[..length]).unwrap();
    let mut theirs = Datagram::of(&response.frame).unwrap();
    // That gateway writes Protocol ID 1 where RFC 5685 §9.2 wants 0. All else is equal.
    assert_eq!(std::mem::replace(&mut theirs.payload[32], 0), 1);
    assert_eq!(ours.payload, theirs.payload);
    assert_eq!((ours.source, ours.source_port), (theirs.source, theirs.source_port));
    assert_eq!((ours.destination, ours.destination_port), (theirs.destination, theirs.destination_port));
    assert_eq!(ours.payload.len(), 106, "the decoder's length of the captured response");
    data::say("1 reply equal to the captured one");
}

/// Frames for the kernel: everything captured, with and without its own header checksums, and every
/// request with support announced.
pub(crate) fn frames(root: &Path) -> Vec<Named<Vec<u8>>> {
    let repaired = packets(root).into_iter().map(|packet| (packet.name, packet.frame));
    let announced = announcing(root).into_iter().map(|(name, (frame, _))| (name, frame));
    as_captured(root).into_iter().chain(repaired).chain(announced).collect()
}

/// Packets of clients that may be redirected, by their decoder's word.
fn capable(root: &Path) -> impl Iterator<Item = Packet> {
    packets(root)
        .into_iter()
        .filter(|packet| packet.row.as_ref().is_some_and(|row| row.expected() == Reason::Redirected))
}

/// All packets of all captures of IKE, with good IPv4 header checksums: many were captured before the
/// network card filled them in.
fn packets(root: &Path) -> Vec<Packet> {
    let openswan = table::openswan(root);
    let mut packets = Vec::new();
    for folder in FOLDERS {
        for file in data::files(&root.join(folder)).into_iter().filter(|file| pcap::is_capture(file)) {
            let table = table::beside(&file);
            let index = file.file_name().and_then(|name| openswan.get(name.to_str()?));
            let has_table = table.is_some() || index.is_some();
            let captured = pcap::read(&file);
            assert!(!captured.is_empty(), "{} is empty", file.display());
            for pcap::Captured { number, frame } in captured {
                let row = match index {
                    Some(rows) => {
                        let datagram = Datagram::of(&frame).unwrap();
                        Some(table::complete(rows[number - 1].clone(), &datagram))
                    }
                    None => table.as_ref().and_then(|table| table.get(&number)).cloned(),
                };
                let name = format!("{} packet {number}", data::name(root, &file));
                packets.push(Packet { name, frame: repaired(&frame), row, has_table });
            }
        }
    }
    packets
}

/// The same packets, not an octet changed.
fn as_captured(root: &Path) -> Vec<Named<Vec<u8>>> {
    let mut frames = Vec::new();
    for folder in FOLDERS {
        for file in data::files(&root.join(folder)).into_iter().filter(|file| pcap::is_capture(file)) {
            for pcap::Captured { number, frame } in pcap::read(&file) {
                frames.push((format!("{} packet {number} as captured", data::name(root, &file)), frame));
            }
        }
    }
    frames
}

/// The frame with a good IPv4 header checksum.
fn repaired(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if is_ipv4(&frame) {
        let checksum = header_checksum(&frame);
        frame[24..26].copy_from_slice(&checksum);
    }
    frame
}

/// An address that nobody can be answered at (`RFC 1122 §3.2.1.3`): captures may be anonymised.
fn has_impossible_source(frame: &[u8]) -> bool {
    is_ipv4(frame) && (matches!(frame[26], 0 | 127 | 224..) || frame[26..30] == frame[30..34])
}

fn is_fragment(frame: &[u8]) -> bool {
    is_ipv4(frame) && (frame[20] & 0x3f, frame[21]) != (0, 0)
}

fn is_ipv4(frame: &[u8]) -> bool {
    frame.len() >= 34 && frame[12..15] == [0x08, 0x00, 0x45]
}

fn header_checksum(frame: &[u8]) -> [u8; 2] {
    let header = [&frame[14..24], &[0, 0], &frame[26..34]].concat();
    (!sum(&header)).to_be_bytes()
}

/// The first requests of all captures, each with REDIRECT_SUPPORTED and with REDIRECTED_FROM
/// at its end if it announced nothing itself.
fn announcing(root: &Path) -> Vec<Named<(Vec<u8>, Row)>> {
    let mut requests = Vec::new();
    for Packet { name, frame, row, .. } in packets(root) {
        let Some(row) = row.filter(|row| row.is_first_request() && !row.announces_support()) else {
            continue;
        };
        let datagram = Datagram::of(&frame).unwrap();
        assert_eq!(datagram.message().len(), row.length, "{name}: the decoder's length");
        for (announcement, notify) in [
            ("REDIRECT_SUPPORTED", [0, 0, 0x40, 0x16].as_slice()),
            ("REDIRECTED_FROM", &[0, 0, 0x40, 0x18, 1, 4, 203, 0, 113, 9]),
        ] {
            let frame = datagram.carrying(&appended(datagram.message(), notify));
            requests.push((format!("{name} with {announcement}"), (frame, row.clone())));
        }
    }
    requests
}

/// A message with one more notify at its end.
pub(crate) fn appended(message: &[u8], notify: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let (mut next_at, mut at) = (16, 28);
    while message[next_at] != 0 {
        next_at = at;
        at += usize::from(u16::from_be_bytes([message[at + 2], message[at + 3]]));
    }
    assert_eq!(at, message.len(), "the chain ends with the message");
    message[next_at] = 41;
    message.extend([0, 0]);
    message.extend(u16::try_from(notify.len() + 4).unwrap().to_be_bytes());
    message.extend(notify);
    with_length(&message)
}

/// A message whose header tells its length.
fn with_length(message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let length = u32::try_from(message.len()).unwrap();
    message[24..28].copy_from_slice(&length.to_be_bytes());
    message
}
