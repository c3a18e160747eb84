//! HSRP of Cisco's routers: captures, and digests that others have published.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use redirect_userspace::hsrp::wire::{Datagram, Opcode, SenderState, decode};
use redirect_userspace::hsrp::{Md5Key, State, Version, auth};
use redirect_userspace::secret::Secret;
use redirect_userspace::testing::fuzz_hsrp;
use serde_json::Value;

use crate::data;
use crate::frame;
use crate::pcap;

/// A packet of a capture and what tshark says about it, by the names of its fields.
struct Packet {
    name: String,
    datagram: frame::Datagram,
    row: BTreeMap<String, String>,
}

impl Packet {
    fn field(&self, name: &str) -> &str {
        &self.row[name]
    }

    fn number<N: std::str::FromStr<Err: std::fmt::Debug>>(&self, name: &str) -> N {
        self.field(name).parse().unwrap()
    }

    fn version(&self) -> Version {
        if self.field("hsrp.version").is_empty() { Version::V2 } else { Version::V1 }
    }
}

#[test]
fn every_captured_packet_is_read_as_tshark_reads_it() {
    let Some(root) = data::root() else { return };
    let mut read = [0; 3];
    for packet in packets(&root) {
        let name = &packet.name;
        let datagram = decode(packet.version(), &packet.datagram.payload)
            .unwrap_or_else(|wrong| panic!("{name}: {wrong}"));

        if let Some(interface) = datagram.interface {
            let [active, passive] = match packet.version() {
                Version::V1 => ["hsrp.adv.activegrp", "hsrp.adv.passivegrp"],
                Version::V2 => ["hsrp2.active_groups", "hsrp2.passive_groups"],
            };
            assert_eq!(interface.active, packet.number::<u16>(active), "{name}");
            assert_eq!(interface.passive, packet.number::<u16>(passive), "{name}");
            assert!(
                packet.version() == Version::V2 || interface.state == packet.number::<u8>("hsrp.adv.state")
            );
            assert_eq!(datagram.message, None, "{name}");
            read[2] += 1;
            continue;
        }
        match packet.version() {
            Version::V1 => same_as_version_1(&packet, &datagram),
            Version::V2 => same_as_version_2(&packet, &datagram),
        }
        read[usize::from(packet.version() == Version::V2)] += 1;
    }
    let [v1, v2, interface] = read;
    data::say(&format!("{v1} packets of version 1, {v2} of version 2, {interface} interface states"));
    assert!(v1 >= 600 && v2 >= 1_900 && interface >= 20, "{read:?}");
}

fn same_as_version_1(packet: &Packet, datagram: &Datagram) {
    let (name, message) = (&packet.name, datagram.message.unwrap());
    assert_eq!(opcode(message.opcode), packet.number::<u8>("hsrp.opcode"), "{name}");
    let states = [0, 1, 2, 4, 8, 16];
    assert_eq!(states[position(message.state)], packet.number::<u8>("hsrp.state"), "{name}");
    assert_eq!(message.hello, Duration::from_secs(packet.number("hsrp.hellotime")), "{name}");
    assert_eq!(message.hold, Duration::from_secs(packet.number("hsrp.holdtime")), "{name}");
    assert_eq!(message.priority, packet.number::<u8>("hsrp.priority"), "{name}");
    assert_eq!(message.group.value(), packet.number::<u16>("hsrp.group"), "{name}");
    assert_eq!(message.vip, packet.number::<IpAddr>("hsrp.virt_ip"), "{name}");
    let text = datagram.text.map_or_else(String::new, |text| without_padding(&text));
    assert_eq!(text, packet.field("hsrp.auth_data"), "{name}");
    same_digest(packet, datagram);
}

fn same_as_version_2(packet: &Packet, datagram: &Datagram) {
    let (name, message) = (&packet.name, datagram.message.unwrap());
    assert_eq!(opcode(message.opcode), packet.number::<u8>("hsrp2.opcode"), "{name}");
    assert_eq!(1 + position(message.state), packet.number::<usize>("hsrp2.state"), "{name}");
    assert_eq!(message.hello, Duration::from_millis(packet.number("hsrp2.hellotime")), "{name}");
    assert_eq!(message.hold, Duration::from_millis(packet.number("hsrp2.holdtime")), "{name}");
    assert_eq!(message.priority, packet.number::<u8>("hsrp2.priority"), "{name}");
    assert_eq!(message.group.value(), packet.number::<u16>("hsrp2.group"), "{name}");
    assert_eq!(message.vip, packet.number::<IpAddr>("hsrp2.virt_ip"), "{name}");
    let identifier = message.identifier.0.map(|octet| format!("{octet:02x}")).join(":");
    assert_eq!(identifier, packet.field("hsrp2.identifier"), "{name}");
    let text = datagram.text.map_or_else(String::new, |text| without_padding(&text));
    assert_eq!(text, packet.field("hsrp2.auth_data"), "{name}");
    same_digest(packet, datagram);
}

fn same_digest(packet: &Packet, datagram: &Datagram) {
    let digest = datagram.md5.map_or_else(String::new, |md5| hex(&md5.digest));
    assert_eq!(digest, packet.field("hsrp2.md5_auth_data"), "{}", packet.name);
}

#[test]
fn every_captured_packet_is_written_as_it_was() {
    let Some(root) = data::root() else { return };
    let (mut same, mut garbage) = (0, 0);
    for packet in packets(&root) {
        let payload = &packet.datagram.payload;
        let datagram = decode(packet.version(), payload).unwrap();

        let written = datagram.encode(packet.version());

        // Octets that mean nothing: behind an IPv4 address, and at the end of an advertisement.
        let mut meant = payload.clone();
        match (packet.version(), datagram.message) {
            (Version::V2, Some(_)) => meant[30..42].fill(0),
            (Version::V1, None) => meant[12..16].fill(0),
            _ => {}
        }
        assert_eq!(hex(&written), hex(&meant), "{}", packet.name);
        same += usize::from(meant == *payload);
        garbage += usize::from(meant != *payload);
    }
    data::say(&format!("{same} packets octet by octet, {garbage} but for octets that mean nothing"));
    assert!(same >= 2_500 && garbage >= 1, "{same} {garbage}");
}

#[test]
fn captured_digests_are_those_of_their_keys_and_name_their_senders() {
    let Some(root) = data::root() else { return };
    let folder = root.join("hsrp/kholia-md5");
    let keys: Value = serde_json::from_slice(&std::fs::read(folder.join("md5-keys.json")).unwrap()).unwrap();
    let mut verified = 0;
    for packet in packets(&root) {
        let datagram = decode(packet.version(), &packet.datagram.payload).unwrap();
        let Some(md5) = datagram.md5 else { continue };
        let file = packet.name.split(' ').next().unwrap().rsplit('/').next().unwrap();
        let source = packet.datagram.source;
        let key = keys["password_by_source"][file][source.to_string()].as_str().unwrap();

        let digest = auth::digest(&key_of(key), &packet.datagram.payload, md5.at);

        assert_eq!(IpAddr::V4(md5.address), source, "{}", packet.name);
        assert_eq!(digest, md5.digest, "{}", packet.name);
        verified += 1;
    }
    data::say(&format!("{verified} digests"));
    assert!(verified >= 2_000, "{verified}");
}

#[test]
fn published_digests_are_ours() {
    let Some(root) = data::root() else { return };
    let file = root.join("hsrp/md5-vectors.json");
    let vectors: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let vectors = vectors["vectors"].as_array().unwrap();
    for vector in vectors {
        let payload = data::octets(vector["packet_with_zeroed_digest"].as_str().unwrap());
        let key = key_of(vector["password"].as_str().unwrap());

        let digest = auth::digest(&key, &payload, payload.len() - 16);

        assert_eq!(hex(&digest), vector["expected_md5"].as_str().unwrap());
    }
    data::say(&format!("{} digests", vectors.len()));
    assert!(vectors.len() >= 4);
}

#[test]
fn captured_packets_with_any_octet_changed_keep_every_promise() {
    let Some(root) = data::root() else { return };
    let mut payloads: Vec<_> = packets(&root).into_iter().map(|packet| packet.datagram.payload).collect();
    payloads.sort();
    payloads.dedup();
    // One of each length and opcode is enough: each is changed in every octet.
    payloads.dedup_by_key(|payload| (payload.len(), payload[..4].to_vec()));
    let mut changed = 0;
    for payload in payloads {
        for at in 0..payload.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut octets = payload.clone();
                octets[at] ^= flip;
                fuzz_hsrp::hsrp_packet(&octets);
                fuzz_hsrp::hsrp_packet(&octets[..at]);
                changed += 2;
            }
        }
    }
    data::say(&format!("{changed} packets"));
    assert!(changed >= 1_000, "{changed}");
}

/// Every HSRP packet of every capture.
fn packets(root: &Path) -> Vec<Packet> {
    let mut packets = Vec::new();
    for file in data::files(&root.join("hsrp")).into_iter().filter(|file| pcap::is_capture(file)) {
        let table = std::fs::read_to_string(format!("{}.tshark.tsv", file.display())).unwrap();
        let mut lines = table.lines().map(|line| line.split('\t'));
        let header: Vec<_> = lines.next().unwrap().collect();
        let captured = pcap::read(&file);
        for cells in lines {
            let row: BTreeMap<_, _> =
                header.iter().map(ToString::to_string).zip(cells.map(ToOwned::to_owned)).collect();
            let number: usize = row["frame.number"].parse().unwrap();
            let captured = &captured[number - 1];
            assert_eq!(captured.number, number);
            let datagram = frame::Datagram::of(&without_vlan(&captured.frame)).unwrap();
            let name = format!("{} packet {number}", data::name(root, &file));
            packets.push(Packet { name, datagram, row });
        }
    }
    packets
}

/// The Ethernet frame without its IEEE 802.1Q tag, if it has one.
fn without_vlan(frame: &[u8]) -> Vec<u8> {
    if frame[12..14] == [0x81, 0x00] { [&frame[..12], &frame[16..]].concat() } else { frame.to_vec() }
}

fn key_of(key: &str) -> Md5Key {
    Md5Key::new(Secret::from(key.as_bytes())).unwrap()
}

const fn opcode(opcode: Opcode) -> u8 {
    match opcode {
        Opcode::Hello => 0,
        Opcode::Coup => 1,
        Opcode::Resign => 2,
    }
}

fn position(state: SenderState) -> usize {
    State::ALL.iter().position(|other| SenderState::Is(*other) == state).unwrap()
}

fn without_padding(text: &[u8; 8]) -> String {
    String::from_utf8_lossy(text).trim_end_matches('\0').to_owned()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
