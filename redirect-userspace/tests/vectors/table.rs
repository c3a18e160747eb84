//! What an independent decoder says about a capture's packets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::reason::Reason;

use crate::data;
use crate::frame::Datagram;

const REDIRECT_SUPPORTED: u16 = 16406;
const REDIRECTED_FROM: u16 = 16408;
const COOKIE: u16 = 16390;

/// An IKE packet, as the decoder reads it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) destination_port: u16,
    pub(crate) spi_r: u64,
    pub(crate) version: u8,
    pub(crate) exchange: u8,
    pub(crate) flags: u8,
    pub(crate) message_id: u32,
    pub(crate) length: usize,
    pub(crate) notifies: Vec<u16>,
}

impl Row {
    /// An IKE_SA_INIT request, to a port where the fast path listens.
    pub(crate) fn is_first_request(&self) -> bool {
        matches!(self.destination_port, 500 | 4500)
            && self.version >> 4 == 2
            && self.exchange == 34
            && self.flags & 0x28 == 0x08
            && self.spi_r == 0
    }

    /// Whether its sender may be redirected.
    pub(crate) fn announces_support(&self) -> bool {
        self.notifies.iter().any(|kind| matches!(*kind, REDIRECT_SUPPORTED | REDIRECTED_FROM))
    }

    pub(crate) fn has_cookie(&self) -> bool {
        self.notifies.contains(&COOKIE)
    }

    /// What is to become of the packet, if all else about it is in order.
    pub(crate) fn expected(&self) -> Reason {
        match self {
            Self { destination_port, .. } if !matches!(destination_port, 500 | 4500) => Reason::NotIkePort,
            Self { version, .. } if version >> 4 != 2 => Reason::IkeVersion,
            Self { flags, .. } if flags & 0x20 != 0 => Reason::IkeResponse,
            Self { exchange: 38, .. } => Reason::SessionResume,
            Self { exchange, .. } if *exchange != 34 => Reason::OtherExchange,
            Self { flags, .. } if flags & 0x08 == 0 => Reason::NotInitiator,
            Self { spi_r, .. } if *spi_r != 0 => Reason::SpiResponderSet,
            Self { message_id, .. } if *message_id != 0 => Reason::MessageId,
            _ if self.has_cookie() => Reason::Cookie,
            _ if self.announces_support() => Reason::Redirected,
            _ => Reason::NoRedirectSupport,
        }
    }
}

/// The table beside a capture, by packet number; `None` when there is none.
pub(crate) fn beside(capture: &Path) -> Option<BTreeMap<usize, Row>> {
    let file = PathBuf::from(format!("{}.tshark.tsv", capture.display()));
    let text = std::fs::read_to_string(file).ok()?;
    let mut lines = text.lines();
    let header: Vec<_> = lines.next()?.split('\t').collect();
    let column = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let columns = [
        "frame.number",
        "udp.dstport",
        "isakmp.rspi",
        "isakmp.version",
        "isakmp.exchangetype",
        "isakmp.flags",
        "isakmp.messageid",
        "isakmp.length",
        "isakmp.notify.msgtype",
    ]
    .map(column);
    let rows = lines.map(|line| {
        let cells: Vec<_> = line.split('\t').collect();
        let [number, port, spi_r, version, exchange, flags, message_id, length, notifies] =
            columns.map(|column| cells.get(column).copied().unwrap_or(""));
        let row = Row {
            destination_port: port.parse().unwrap(),
            spi_r: hex(spi_r),
            version: hex(version).try_into().unwrap(),
            exchange: exchange.parse().unwrap(),
            flags: hex(flags).try_into().unwrap(),
            message_id: hex(message_id).try_into().unwrap(),
            length: length.parse().unwrap(),
            notifies: notifies.split(';').filter_map(|kind| kind.parse().ok()).collect(),
        };
        (number.parse().unwrap(), row)
    });
    Some(rows.collect())
}

/// The index of the Openswan captures, by file name. It does not list notifies: none of those
/// clients announces support, which the octets themselves show.
pub(crate) fn openswan(root: &Path) -> BTreeMap<String, Vec<Row>> {
    let index = data::list(&root.join("ikev2-pcap/openswan/INDEX.json"));
    let of = |line: &str| {
        let cells: Vec<_> = line.split('\t').collect();
        let [exchange, flags, message_id, _, spi_r] = cells[..] else { panic!("{line}") };
        Row {
            destination_port: 0,
            spi_r: hex(spi_r),
            version: 0x20,
            exchange: exchange.parse().unwrap(),
            flags: hex(flags).try_into().unwrap(),
            message_id: hex(message_id).try_into().unwrap(),
            length: 0,
            notifies: Vec::new(),
        }
    };
    index
        .iter()
        .map(|entry| {
            let packets = entry["packets"].as_array().unwrap();
            let rows = packets.iter().map(|packet| of(packet.as_str().unwrap())).collect();
            (entry["file"].as_str().unwrap().to_owned(), rows)
        })
        .collect()
}

/// Fills in what [`openswan`]'s index leaves out.
pub(crate) fn complete(mut row: Row, datagram: &Datagram) -> Row {
    row.destination_port = datagram.destination_port;
    row.length = datagram.message().len();
    for kind in [REDIRECT_SUPPORTED, REDIRECTED_FROM, COOKIE] {
        let [high, low] = kind.to_be_bytes();
        if datagram.payload.windows(4).any(|octets| octets == [0, 0, high, low]) {
            row.notifies.push(kind);
        }
    }
    row
}

fn hex(digits: &str) -> u64 {
    u64::from_str_radix(digits.trim_start_matches("0x"), 16).unwrap_or_else(|_| panic!("{digits}"))
}
