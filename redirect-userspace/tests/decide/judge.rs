//! Judges a reply octet by octet, from the text of the RFCs, with slices and no shared parser.

use std::net::IpAddr;

use common::maps::Gateway;
use redirect_userspace::testing::packets::{sum, udp_checksum};

macro_rules! same {
    ($left:expr, $right:expr, $what:literal) => {
        let (left, right) = (&$left, &$right);
        if left != right {
            return Err(format!("{}: {left:02x?}, expected {right:02x?}", $what));
        }
    };
}

/// Whether `reply` answers `request` with `gateway`.
pub(crate) fn judge(request: &[u8], reply: &[u8], gateway: &Gateway) -> Result<(), String> {
    let (at, is_ipv6) = frame(request, reply)?;
    let expected = message(&request[at..], gateway, is_ipv6)?;
    same!(reply[at..], expected[..], "IKE message");
    Ok(())
}

/// Judges what is below IKE; where the message begins, and whether it is IPv6.
pub(crate) fn frame(request: &[u8], reply: &[u8]) -> Result<(usize, bool), String> {
    if reply.len() >= request.len() {
        return Err(format!("{} octets answer {}", reply.len(), request.len()));
    }
    same!(reply[0..6], request[6..12], "destination MAC");
    same!(reply[6..12], request[0..6], "source MAC");
    let mut at = 12;
    while [[0x81, 0x00], [0x88, 0xa8]].contains(&[request[at], request[at + 1]]) {
        same!(reply[at..at + 4], request[at..at + 4], "VLAN tag");
        at += 4;
    }
    same!(reply[at..at + 2], request[at..at + 2], "EtherType");
    let ethertype = [request[at], request[at + 1]];
    at += 2;
    let (from, to, header): (IpAddr, IpAddr, usize) = match ethertype {
        [0x08, 0x00] => {
            let ip = &reply[at..at + 20];
            same!(ip[0..2], [0x45, 0], "version and header length");
            same!(usize::from(u16::from_be_bytes([ip[2], ip[3]])), reply.len() - at, "total length");
            same!(ip[4..8], [0, 0, 0x40, 0], "identification and DF");
            same!(ip[8..10], [64, 17], "TTL and protocol");
            same!(sum(ip), 0xffff, "IPv4 checksum");
            same!(ip[12..16], request[at + 16..at + 20], "source address");
            same!(ip[16..20], request[at + 12..at + 16], "destination address");
            let address = |octets: &[u8]| <[u8; 4]>::try_from(octets).unwrap().into();
            (address(&ip[12..16]), address(&ip[16..20]), 20)
        }
        _ => {
            let ip = &reply[at..at + 40];
            same!(ip[0..4], [0x60, 0, 0, 0], "version, class and flow");
            same!(usize::from(u16::from_be_bytes([ip[4], ip[5]])), reply.len() - at - 40, "payload length");
            same!(ip[6..8], [17, 64], "next header and hop limit");
            same!(ip[8..24], request[at + 24..at + 40], "source address");
            same!(ip[24..40], request[at + 8..at + 24], "destination address");
            let address = |octets: &[u8]| <[u8; 16]>::try_from(octets).unwrap().into();
            (address(&ip[8..24]), address(&ip[24..40]), 40)
        }
    };
    at += header;
    same!(reply[at..at + 2], request[at + 2..at + 4], "source port");
    same!(reply[at + 2..at + 4], request[at..at + 2], "destination port");
    same!(usize::from(u16::from_be_bytes([reply[at + 4], reply[at + 5]])), reply.len() - at, "UDP length");
    let mut udp = reply[at..].to_vec();
    udp[6..8].fill(0);
    same!(u16::from_be_bytes([reply[at + 6], reply[at + 7]]), udp_checksum(from, to, &udp), "UDP checksum");
    let port = u16::from_be_bytes([request[at + 2], request[at + 3]]);
    at += 8;
    if port == 4500 {
        same!(reply[at..at + 4], [0; 4], "non-ESP marker");
        at += 4;
    }
    Ok((at, header == 40))
}

/// The REDIRECT message for an IKE_SA_INIT request (`RFC 5685 §3`, `§9.2`).
fn message(request: &[u8], gateway: &Gateway, v6: bool) -> Result<Vec<u8>, String> {
    let nonce = nonce(request)?;
    let name = &gateway.fqdn[8..8 + gateway.fqdn_length as usize];
    let identity = match (v6, gateway.flags & 3) {
        (false, 1 | 3) => [[1, 4].as_slice(), &gateway.ipv4].concat(),
        (true, 2 | 3) => [[2, 16].as_slice(), &gateway.ipv6].concat(),
        _ => [[3, u8::try_from(name.len()).unwrap()].as_slice(), name].concat(),
    };
    let notify = u16::try_from(8 + identity.len() + nonce.len()).unwrap();
    let mut message = request[0..8].to_vec();
    message.extend([0; 8]);
    message.extend([41, 0x20, 34, 0x20, 0, 0, 0, 0]);
    message.extend((u32::from(notify) + 28).to_be_bytes());
    message.extend([0, 0]);
    message.extend(notify.to_be_bytes());
    message.extend([0, 0, 0x40, 0x17]);
    message.extend(identity);
    message.extend(nonce);
    Ok(message)
}

fn nonce(message: &[u8]) -> Result<&[u8], String> {
    let (mut kind, mut at) = (message[16], 28);
    while kind != 0 {
        let length = usize::from(u16::from_be_bytes([message[at + 2], message[at + 3]]));
        if kind == 40 {
            return Ok(&message[at + 4..at + length]);
        }
        (kind, at) = (message[at], at + length);
    }
    Err("answered a request without a nonce".into())
}
