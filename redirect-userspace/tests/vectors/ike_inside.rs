//! What other implementations send inside encrypted payloads, opened with the keys that came with
//! the captures.

use std::collections::BTreeMap;
use std::path::Path;

use redirect_userspace::crypto::Legacy;
use redirect_userspace::crypto::cipher::{Around, Encr, Protection, TrafficKeys};
use redirect_userspace::crypto::integ::Integ;
use redirect_userspace::ike::rules::{self, Form, Outside};
use redirect_userspace::ike::wire::{
    Chain, Header, Message, OriginalRole, Payload, PayloadType, encode_chain,
};

use crate::data;
use crate::frame::{Datagram, Named};
use crate::pcap;

/// Payloads from inside an encrypted one.
struct Inside {
    header: Header,
    first: Option<PayloadType>,
    octets: Vec<u8>,
}

#[test]
fn everything_inside_is_read_and_written_octet_by_octet_as_it_was_sent() {
    let Some(root) = data::root() else { return };
    let mut written = BTreeMap::new();
    for (name, Inside { first, octets, .. }) in opened(&root) {
        let chain = Chain::decode(first, &octets).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        let payloads: Vec<_> = chain
            .iter()
            .map(|raw| Payload::decode(&raw).unwrap_or_else(|wrong| panic!("{name}, {}: {wrong}", raw.kind)))
            .collect();
        for notify in chain.notifies() {
            notify.content().unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        }

        let again = encode_chain(|chain| payloads.iter().try_for_each(|payload| chain.push(payload)));

        for payload in &payloads {
            *written.entry(payload.kind().to_string()).or_insert(0) += 1;
        }
        assert_eq!(again, Ok((first, octets)), "{name}");
    }
    data::say(&format!("payloads written as they were sent: {written:?}"));
    for kind in ["IDi", "IDr", "AUTH", "CERT", "SA", "TSi", "TSr", "N", "D", "KE", "Nonce"] {
        assert!(written.contains_key(kind), "{kind}: {written:?}");
    }
}

#[test]
fn everything_inside_keeps_the_rules() {
    let Some(root) = data::root() else { return };
    let mut forms: BTreeMap<Form, usize> = BTreeMap::new();
    for (name, Inside { header, first, octets }) in opened(&root) {
        let chain = Chain::decode(first, &octets).unwrap();

        let form = rules::check(header.exchange, header.direction, &chain);

        let form = form.unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        *forms.entry(form).or_default() += 1;
    }
    data::say(&format!("{forms:?}"));
    for form in [
        Form::AuthRequest,
        Form::AuthResponse,
        Form::NewChildRequest,
        Form::ChildResponse,
        Form::Informational,
    ] {
        assert!(forms.contains_key(&form), "{form:?}: {forms:?}");
    }
}

/// Everything that can be opened.
fn opened(root: &Path) -> Vec<Named<Inside>> {
    let mut inside = Vec::new();
    for entry in data::list(&root.join("ikev2-pcap/openswan/INDEX.json")) {
        let file = entry["file"].as_str().unwrap();
        // A key was written down only if the same test used it.
        let is_good = |frame: usize| {
            let checks = entry["icv_check"].as_array().unwrap();
            checks.iter().any(|check| {
                check["frame"] == frame && check["icv_ok_with_listed_key"].as_bool() == Some(true)
            })
        };
        let keys = entry["tcpdump_E_keys"].as_array().unwrap();
        let keys: Vec<_> = keys.iter().filter_map(|line| openswan_keys(line.as_str().unwrap())).collect();
        for (number, octets) in messages(&root.join("ikev2-pcap/openswan").join(file)) {
            let sender = Message::decode(&octets).map(|message| message.header.sender);
            if !is_good(number) {
                continue;
            }
            // There may be keys of several runs.
            let mut theirs = keys.iter().filter(|(role, _)| Ok(*role) == sender);
            let name = format!("{file} packet {number}");
            match theirs.find_map(|(_, keys)| open(&octets, keys)) {
                Some(opened) => inside.push((name, opened)),
                None => panic!("{name}: no key opens it"),
            }
        }
    }
    for entry in data::list(&root.join("ikev2-pcap/wireshark/keys.json")) {
        let file = entry["file"].as_str().unwrap();
        let Some(protection) = wireshark_protection(entry["encr"].as_str().unwrap()) else {
            data::say(&format!("SKIPPED: {file}: {} is not supported", entry["encr"]));
            continue;
        };
        for (number, octets) in messages(&root.join("ikev2-pcap/wireshark").join(file)) {
            let Ok(message) = Message::decode(&octets) else { continue };
            let key = match message.header.sender {
                OriginalRole::Initiator => &entry["sk_ei"],
                OriginalRole::Responder => &entry["sk_er"],
            };
            let keys = TrafficKeys::new(protection, &data::octets(key.as_str().unwrap()), &[]).unwrap();
            inside.extend(open(&octets, &keys).map(|inside| (format!("{file} packet {number}"), inside)));
        }
    }
    data::say(&format!("{} messages opened", inside.len()));
    assert!(inside.len() >= 20, "{} messages opened", inside.len());
    inside
}

/// Whose keys a line holds, and the keys: `ikev2 I SPIi SPIr sha256:0x… aes128:0x…`.
fn openswan_keys(line: &str) -> Option<(OriginalRole, TrafficKeys)> {
    let words: Vec<_> = line.split(' ').collect();
    let ["ikev2", role, _, _, integ, encr] = words[..] else { return None };
    let role = if role == "I" { OriginalRole::Initiator } else { OriginalRole::Responder };
    let (integ, integ_key) = integ.split_once(":0x")?;
    let integ = match integ {
        "sha256" => Integ::HmacSha256_128,
        "sha1" => Integ::HmacSha1_96(Legacy::permit()),
        _ => return None,
    };
    let (_, encr_key) = encr.split_once("aes128:0x")?;
    let protection = Protection::new(Encr::AesCbc128, Some(integ)).unwrap();
    TrafficKeys::new(protection, &data::octets(encr_key), &data::octets(integ_key))
        .ok()
        .map(|keys| (role, keys))
}

fn wireshark_protection(encr: &str) -> Option<Protection> {
    encr.starts_with("AES-GCM-256").then(|| Protection::new(Encr::AesGcm256, None).unwrap())
}

/// Opens an encrypted payload; `None` when there is none, or the keys are others.
fn open(octets: &[u8], keys: &TrafficKeys) -> Option<Inside> {
    let message = Message::decode(octets).unwrap();
    let Ok(Outside::Encrypted(encrypted)) = rules::outside(&message) else { return None };
    let protection = keys.protection();
    let (iv, rest) = encrypted.content.split_at(protection.iv_length());
    let (body, icv) = rest.split_at(rest.len() - protection.icv_length());
    let mut body = body.to_vec();
    let around = Around { head: message.before(encrypted.content), iv, ..Around::default() };
    keys.opener().unwrap().open(around, &mut body, icv).ok()?;
    let padding = usize::from(*body.last().unwrap());
    body.truncate(body.len() - 1 - padding);
    Some(Inside { header: message.header, first: encrypted.first, octets: body })
}

/// The IKE messages of a capture, with their numbers.
fn messages(file: &Path) -> Vec<(usize, Vec<u8>)> {
    let datagrams = pcap::read(file).into_iter().filter_map(|captured| {
        let datagram = Datagram::of(&captured.frame)?;
        Some((captured.number, datagram.message().to_vec()))
    });
    datagrams.collect()
}
