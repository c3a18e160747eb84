//! What other implementations send, read and written again by the IKEv2 codec.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use redirect_userspace::ike::rules::{self, Form, Outside};
use redirect_userspace::ike::wire::{
    Direction, Message, NotifyContent, OriginalRole, Payload, PayloadType, encode_message,
};

use crate::data;
use crate::frame::{Datagram, Named};
use crate::messages;
use crate::pcap;
use crate::table;

const FOLDERS: [&str; 2] = ["ikev2-pcap", "ikev2-redirect"];

/// Captures that are known to be malformed, and how.
const MALFORMED: [(&str, &str); 2] = [
    ("lp08-parentR1__parentR1notify.pcap packet 1", "two octets of padding after the last payload"),
    ("ikev2-id-normal.pcap", "made by hand, the initiator's SPI is zero"),
];

#[test]
fn every_captured_message_is_read_as_its_decoder_reads_it() {
    let Some(root) = data::root() else { return };
    let mut compared = 0;
    for (name, (octets, row)) in captured(&root) {
        let message = Message::decode(&octets).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));

        let header = message.header;
        assert_eq!(u8::from(header.exchange), row.exchange, "{name}");
        assert_eq!(header.message_id.0, row.message_id, "{name}");
        assert_eq!(header.spi_r.map_or(0, |spi| spi.0.get()), row.spi_r, "{name}");
        assert_eq!(header.sender == OriginalRole::Initiator, row.flags & 0x08 != 0, "{name}");
        assert_eq!(header.direction == Direction::Response, row.flags & 0x20 != 0, "{name}");
        let notifies: Vec<_> = message
            .payloads
            .iter()
            .filter(|raw| raw.kind == PayloadType::Notify)
            .map(|raw| u16::from_be_bytes([raw.body[2], raw.body[3]]))
            .collect();
        for kind in &row.notifies {
            // Those inside encrypted payloads are for those who have the keys.
            assert!(notifies.contains(kind) || is_encrypted(&message), "{name}: notify {kind}");
        }
        compared += 1;
    }
    data::say(&format!("{compared} messages read"));
    assert!(compared >= 100, "{compared}");
}

#[test]
fn every_captured_message_is_written_octet_by_octet_as_it_was_sent() {
    let Some(root) = data::root() else { return };
    let mut written = BTreeMap::new();
    let mut cleared = 0;
    for (name, octets) in all(&root) {
        let message = Message::decode(&octets).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        let payloads: Vec<_> = message
            .payloads
            .iter()
            .map(|raw| Payload::decode(&raw).unwrap_or_else(|wrong| panic!("{name}, {}: {wrong}", raw.kind)))
            .collect();

        let again = encode_message(Vec::new(), &message.header, |chain| {
            payloads.iter().try_for_each(|payload| chain.push(payload))
        });

        let expected = without_reserved_bits(&octets);
        assert_eq!(again.as_deref(), Ok(&expected[..]), "{name}");
        cleared += usize::from(expected != octets);
        for payload in payloads {
            *written.entry(payload.kind().to_string()).or_insert(0) += 1;
        }
    }
    data::say(&format!("payloads written as they were sent: {written:?}"));
    data::say(&format!("{cleared} messages without the reserved bits that they were sent with"));
    assert!(cleared <= 5, "{cleared}");
    for kind in ["SA", "KE", "Nonce", "N", "V", "SK", "CERTREQ"] {
        assert!(written.get(kind).is_some_and(|count| *count >= 4), "{kind}: {written:?}");
    }
}

#[test]
fn every_captured_message_keeps_the_rules() {
    let Some(root) = data::root() else { return };
    let mut forms = BTreeMap::new();
    for (name, octets) in all(&root) {
        let message = Message::decode(&octets).unwrap();

        let outside = rules::outside(&message).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));

        let form = match outside {
            Outside::Clear(form) => format!("{form:?}"),
            Outside::Encrypted(_) => "Encrypted".to_owned(),
            Outside::Fragment(_) => "Fragment".to_owned(),
            Outside::Hint => "Hint".to_owned(),
        };
        *forms.entry(form).or_insert(0) += 1;
    }
    data::say(&format!("{forms:?}"));
    for form in ["InitRequest", "InitResponse", "Encrypted", "NotifyOnly"] {
        assert!(forms.get(form).is_some_and(|count| *count >= 2), "{form}: {forms:?}");
    }
}

#[test]
fn the_captured_redirect_is_understood() {
    let Some(root) = data::root() else { return };
    let capture = pcap::read(&root.join("ikev2-redirect/redirect_frames_1-2.pcap"));
    let [request, response] = [&capture[0], &capture[1]].map(|captured| {
        let datagram = Datagram::of(&captured.frame).unwrap();
        datagram.message().to_vec()
    });
    let request = Message::decode(&request).unwrap();
    let response = Message::decode(&response).unwrap();
    assert_eq!(rules::outside(&request), Ok(Outside::Clear(Form::InitRequest)));
    assert_eq!(rules::outside(&response), Ok(Outside::Clear(Form::NotifyOnly)));

    let Ok(Payload::Notify(notify)) = Payload::decode(&response.payloads.iter().next().unwrap()) else {
        panic!("no notify");
    };
    let Ok(NotifyContent::Redirect { gateway, nonce }) = notify.content() else { panic!("no redirect") };

    assert_eq!(gateway.to_string(), "moneybin.duckburg.disney.com");
    let sent = request.payloads.find(PayloadType::Nonce).unwrap();
    assert_eq!(nonce.unwrap().as_slice(), sent.body);
    data::say("1 redirect understood");
}

#[test]
fn every_captured_message_that_is_cut_is_refused() {
    let Some(root) = data::root() else { return };
    let mut cuts = 0;
    for (name, octets) in all(&root) {
        for length in 0..octets.len() {
            assert!(Message::decode(&octets[..length]).is_err(), "{name} cut to {length}");
            cuts += 1;
        }
        // With a length that tells the truth, the chain is what breaks.
        for length in 28..octets.len() {
            let mut cut = octets[..length].to_vec();
            cut[24..28].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
            assert!(Message::decode(&cut).is_err(), "{name} cut to {length}");
        }
    }
    data::say(&format!("{cuts} cuts refused"));
    assert!(cuts >= 10_000, "{cuts}");
}

/// The message without flags that `RFC 7296 §3.1` does not know, and without critical bits, which
/// `RFC 7296 §3.2` does not want on payloads that it describes: both are ignored.
fn without_reserved_bits(message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    message[19] &= 0x28;
    let (mut kind, mut at) = (message[16], 28);
    while kind != 0 {
        let [next, _, high, low] = message[at..at + 4] else { panic!("no payload at {at}") };
        message[at + 1] = 0;
        at += usize::from(u16::from_be_bytes([high, low]));
        kind = if matches!(kind, 46 | 53) { 0 } else { next };
    }
    message
}

fn is_encrypted(message: &Message<'_>) -> bool {
    message.payloads.iter().any(|raw| raw.kind.is_envelope())
}

/// Everything captured and published that is a whole IKEv2 message.
fn all(root: &Path) -> Vec<Named<Vec<u8>>> {
    let captured = captured(root).into_iter().map(|(name, (octets, _))| (name, octets));
    let published = messages::messages(root).into_iter().filter_map(|(name, octets)| {
        let is_message = ["Message.test.ts", "ike-sa-init", "IKEV2_MSG", "valid_packet"]
            .iter()
            .any(|part| name.contains(part));
        let octets = if name.contains("IKEV2_MSG") { octets[4..].to_vec() } else { octets };
        is_message.then_some((name, octets))
    });
    captured.chain(published).collect()
}

/// IKEv2 messages of all captures, with what their decoder says.
fn captured(root: &Path) -> Vec<Named<(Vec<u8>, table::Row)>> {
    let openswan = table::openswan(root);
    let mut messages = Vec::new();
    for file in FOLDERS.iter().flat_map(|folder| captures(&root.join(folder))) {
        let table = table::beside(&file);
        let index = file.file_name().and_then(|name| openswan.get(name.to_str()?));
        for pcap::Captured { number, frame } in pcap::read(&file) {
            let Some(datagram) = Datagram::of(&frame) else { continue };
            let row = match index {
                Some(rows) => Some(table::complete(rows[number - 1].clone(), &datagram)),
                None => table.as_ref().and_then(|table| table.get(&number)).cloned(),
            };
            let Some(row) = row.filter(|row| row.version >> 4 == 2) else { continue };
            let name = format!("{} packet {number}", data::name(root, &file));
            if let Some((_, how)) = MALFORMED.iter().find(|(part, _)| name.contains(part)) {
                data::say(&format!("SKIPPED: {name}: {how}"));
                continue;
            }
            messages.push((name, (datagram.message().to_vec(), row)));
        }
    }
    messages
}

fn captures(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    data::files(folder).into_iter().filter(|file| pcap::is_capture(file))
}
