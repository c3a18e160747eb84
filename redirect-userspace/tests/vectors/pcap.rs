//! Capture files, pcap and pcapng, as Ethernet frames.
//!
//! Other link types get an Ethernet header instead of their own. Only what the captures contain is
//! read: anything else stops the test.

use std::path::Path;
use std::process::Command;

use redirect_userspace::testing::packets::{CLIENT_MAC, VIP_MAC};

/// A packet of a capture.
pub(crate) struct Captured {
    /// Counted from 1, as decoders do.
    pub(crate) number: usize,
    pub(crate) frame: Vec<u8>,
}

/// Reads a capture, compressed or not.
pub(crate) fn read(file: &Path) -> Vec<Captured> {
    let octets = if file.extension().is_some_and(|extension| extension == "gz") {
        let output = Command::new("gzip").arg("-dc").arg(file).output().expect("gzip is there");
        assert!(output.status.success(), "{}: gzip failed", file.display());
        output.stdout
    } else {
        std::fs::read(file).unwrap()
    };
    let packets = match octets[0..4] {
        [0x0a, 0x0d, 0x0d, 0x0a] => blocks(&octets),
        [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1] => records(&octets),
        _ => panic!("{}: neither pcap nor pcapng, or big-endian", file.display()),
    };
    (1..)
        .zip(packets)
        .map(|(number, (link, packet))| Captured { number, frame: ethernet(link, packet, file) })
        .collect()
}

/// Whether a file is a capture.
pub(crate) fn is_capture(file: &Path) -> bool {
    let name = file.to_string_lossy();
    [".pcap", ".pcapng", ".pcap.gz", ".pcapng.gz"].iter().any(|end| name.ends_with(end))
}

/// Link type and octets of each packet of a pcap file.
fn records(octets: &[u8]) -> Vec<(u32, &[u8])> {
    // The highest bits hold the length of a frame check sequence.
    let link = word(octets, 20) & 0x03ff_ffff;
    let mut at = 24;
    let mut packets = Vec::new();
    while at + 16 <= octets.len() {
        let length = size(octets, at + 8);
        // The regression captures of crashers may end inside a packet.
        let end = (at + 16 + length).min(octets.len());
        packets.push((link, &octets[at + 16..end]));
        at += 16 + length;
    }
    packets
}

/// Link type and octets of each packet of a pcapng file.
fn blocks(octets: &[u8]) -> Vec<(u32, &[u8])> {
    const SECTION: u32 = 0x0a0d_0d0a;
    const INTERFACE: u32 = 1;
    const SIMPLE_PACKET: u32 = 3;
    const ENHANCED_PACKET: u32 = 6;
    let mut at = 0;
    let mut links = Vec::new();
    let mut packets = Vec::new();
    while at + 12 <= octets.len() {
        let (kind, length) = (word(octets, at), size(octets, at + 4));
        match kind {
            SECTION => {
                assert_eq!(word(octets, at + 8), 0x1a2b_3c4d, "a big-endian section");
                links.clear();
            }
            INTERFACE => links.push(word(octets, at + 8) & 0xffff),
            ENHANCED_PACKET => {
                let link = links[size(octets, at + 8)];
                packets.push((link, &octets[at + 28..][..size(octets, at + 20)]));
            }
            SIMPLE_PACKET => panic!("simple packet blocks are not read"),
            _ => {}
        }
        at += length;
    }
    packets
}

/// The packet with an Ethernet header.
fn ethernet(link: u32, packet: &[u8], file: &Path) -> Vec<u8> {
    const ETHERNET: u32 = 1;
    const LOOPBACK: u32 = 0;
    const RAW: [u32; 3] = [12, 14, 101];
    const COOKED: u32 = 113;
    let ip = match link {
        ETHERNET => return packet.to_vec(),
        LOOPBACK => &packet[4..],
        COOKED => &packet[16..],
        _ if RAW.contains(&link) => packet,
        _ => panic!("{}: link type {link}", file.display()),
    };
    let ethertype: [u8; 2] = if ip[0] >> 4 == 6 { [0x86, 0xdd] } else { [0x08, 0x00] };
    [&VIP_MAC, &CLIENT_MAC, ethertype.as_slice(), ip].concat()
}

fn word(octets: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(octets[at..at + 4].try_into().unwrap())
}

fn size(octets: &[u8], at: usize) -> usize {
    usize::try_from(word(octets, at)).unwrap()
}

#[test]
fn every_link_type_becomes_ethernet() {
    let ip: &[u8] = &[0x45, 0, 0, 20];
    let file = Path::new("made up");
    let expected = [&VIP_MAC, &CLIENT_MAC, [0x08, 0x00].as_slice(), ip].concat();

    assert_eq!(ethernet(1, &expected, file), expected);
    assert_eq!(ethernet(0, &[&[2, 0, 0, 0], ip].concat(), file), expected);
    assert_eq!(ethernet(101, ip, file), expected);
    assert_eq!(ethernet(113, &[&[0; 16], ip].concat(), file), expected);
    assert_eq!(ethernet(101, &[0x60, 0], file)[12..], [0x86, 0xdd, 0x60, 0]);
}
