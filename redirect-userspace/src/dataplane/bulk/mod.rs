//! Many packets of one TCP connection as one long packet, as the kernel handles them: what it hands
//! over is cut ([`split`]), and what it is given is put together ([`merge`]).
//!
//! A system call for each packet would cost more than all of its cryptography.
//!
//! # References
//!
//! `RFC 1071` (checksums), `RFC 9293 §3.1` (TCP header).

pub mod merge;
pub mod split;

use std::ops::Range;

/// The number of TCP among the protocols.
const TCP: u8 = 6;
/// Octets of an IPv4 header without options.
const IPV4: usize = 20;
/// Octets of an IPv6 header.
const IPV6: usize = 40;
/// Octets of a TCP header without options.
const TCP_HEADER: usize = 20;
/// Where in a TCP header what is.
const SEQUENCE: Range<usize> = 4..8;
const OFFSET: usize = 12;
const FLAGS: usize = 13;
const CHECKSUM: Range<usize> = 16..18;
/// Flags of TCP.
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const CWR: u8 = 0x80;

/// Octets of a TCP header with its options, at the start of `segment`.
fn tcp_header(segment: &[u8]) -> Option<usize> {
    let length = usize::from(segment.get(OFFSET)? >> 4) * 4;
    (length >= TCP_HEADER && length <= segment.len()).then_some(length)
}

/// A sum of 16-bit words, in the order of octets of this machine, which it does not depend on
/// (`RFC 1071 §2`). Of several parts all but the last have an even length.
fn sum(octets: &[u8]) -> u64 {
    let (words, rest) = octets.as_chunks::<4>();
    let mut last = [0; 4];
    for (place, octet) in last.iter_mut().zip(rest) {
        *place = *octet;
    }
    let whole: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    whole + u64::from(u32::from_ne_bytes(last))
}

/// The sum as it stands in a packet, not yet complemented.
fn fold(sum: u64) -> [u8; 2] {
    let mut sum = sum;
    for _ in 0..4 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Four times make 16 bits of 64.
    u16::try_from(sum).unwrap_or(u16::MAX).to_ne_bytes()
}

/// A checksum.
fn checksum(sum: u64) -> [u8; 2] {
    fold(sum).map(|octet| !octet)
}

/// The sum of what TCP protects of the IP header (`RFC 9293 §3.1`, `RFC 8200 §8.1`).
fn pseudo_header(ip: &[u8], length: usize) -> u64 {
    let addresses = match ip.first().map(|first| first >> 4) {
        Some(4) => ip.get(12..20),
        _ => ip.get(8..40),
    };
    let length = u32::try_from(length).unwrap_or(0).to_be_bytes();
    sum(addresses.unwrap_or_default()) + sum(&length) + sum(&[0, TCP])
}

/// Writes the lengths of an IP packet, and its checksum if it has one.
fn finish_ip(packet: &mut [u8]) {
    let is_ipv4 = packet.first().is_some_and(|first| first >> 4 == 4);
    let (place, length) =
        if is_ipv4 { (2..4, packet.len()) } else { (4..6, packet.len().saturating_sub(IPV6)) };
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    put(packet, place, length.to_be_bytes());
    if is_ipv4 {
        let length = packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
        put(packet, 10..12, [0, 0]);
        let sum = packet.get(..length).map_or(0, sum);
        put(packet, 10..12, checksum(sum));
    }
}

/// Writes octets where there is room for them.
fn put<const N: usize>(packet: &mut [u8], place: Range<usize>, octets: [u8; N]) {
    if let Some(place) = packet.get_mut(place).and_then(|place| place.first_chunk_mut()) {
        *place = octets;
    }
}

/// Whether the checksum of a TCP segment behind an IP header is right.
fn is_intact(packet: &[u8], transport: usize) -> bool {
    let Some((ip, segment)) = packet.split_at_checked(transport) else { return false };
    fold(pseudo_header(ip, segment.len()) + sum(segment)) == [0xff, 0xff]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::merge::Merger;
    use super::split::Segments;
    use super::*;
    use crate::net::tun::{Offload, Segment};

    /// A TCP segment in an IP packet, with right checksums.
    pub(super) fn packet(is_ipv6: bool, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = if is_ipv6 {
            let mut ip = vec![0x60, 0, 0, 0, 0, 0, TCP, 64];
            ip.extend([0xfd; 16]);
            ip.extend([0xfc; 16]);
            ip
        } else {
            vec![0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, TCP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]
        };
        let transport = packet.len();
        packet.extend([0x1f, 0x90, 0xc3, 0x50]);
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 9, 0x80, flags, 1, 0, 0, 0, 0, 0]);
        packet.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        packet.extend(payload);
        finish_ip(&mut packet);
        let sum = pseudo_header(&packet, packet.len() - transport) + sum(&packet[transport..]);
        put(&mut packet, transport + CHECKSUM.start..transport + CHECKSUM.end, checksum(sum));
        packet
    }

    /// All packets that a long one is cut into.
    pub(super) fn split(mut long: Vec<u8>, offload: Offload) -> Vec<Vec<u8>> {
        let mut segments = Segments::new(&mut long, offload).unwrap();
        let mut all = Vec::new();
        let mut room = [0xee; 9_216];
        while let Some(length) = segments.write(&mut room) {
            all.push(room[..length].to_vec());
        }
        all
    }

    #[test]
    fn checksums_are_those_of_the_rfc() {
        // RFC 1071 §3
        let octets = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&octets)), [0xdd, 0xf2]);
        assert_eq!(fold(sum(&octets[..4]) + sum(&octets[4..])), [0xdd, 0xf2]);
        assert_eq!(fold(sum(&[0x12])), [0x12, 0x00]);

        for is_ipv6 in [false, true] {
            let transport = if is_ipv6 { IPV6 } else { IPV4 };
            let mut packet = packet(is_ipv6, 1, ACK, b"odd");
            assert!(is_intact(&packet, transport));
            *packet.last_mut().unwrap() ^= 1;
            assert!(!is_intact(&packet, transport));
        }
    }

    proptest! {
        #[test]
        fn what_is_merged_and_split_again_is_what_came(
            is_ipv6 in any::<bool>(),
            first in any::<u32>(),
            size in 1_usize..1400,
            count in 2_usize..40,
            last in 1_usize..1400,
        ) {
            let mut sequence = first;
            let packets: Vec<Vec<u8>> = (0..count).map(|number| {
                let is_last = number + 1 == count;
                let length = if is_last { last.min(size) } else { size };
                let payload: Vec<u8> = (0..length).map(|at| ((at + number) % 251) as u8).collect();
                let flags = if is_last { ACK | PSH } else { ACK };
                let mut packet = packet(is_ipv6, sequence, flags, &payload);
                if !is_ipv6 {
                    // The kernel counts them on.
                    put(&mut packet, 4..6, (0x1234 + number as u16).to_be_bytes());
                    finish_ip(&mut packet);
                }
                sequence = sequence.wrapping_add(length as u32);
                packet
            }).collect();

            let mut merger = Merger::new();
            prop_assert!(merger.begin(&packets[0]));
            for packet in &packets[1..] {
                prop_assert!(merger.merge(packet));
            }
            let (offload, long) = merger.finish().unwrap();
            let expected = Segment { is_ipv6, size: size as u16 };
            prop_assert_eq!(offload.segment, Some(expected));

            let long = long.to_vec();
            prop_assert_eq!(split(long, offload), packets);
        }

        #[test]
        fn nothing_that_comes_makes_us_stop(
            octets in prop::collection::vec(any::<u8>(), 0..200),
            start in any::<u16>(),
            at in any::<u16>(),
            size in any::<u16>(),
            is_ipv6 in any::<bool>(),
            headers in any::<u16>(),
        ) {
            let mut merger = Merger::new();
            merger.begin(&octets);
            merger.merge(&octets);
            merger.finish();
            for checksum in [None, Some((start, at)), Some((start % 64, at % 32))] {
                for segment in [None, Some(Segment { is_ipv6, size })] {
                    let mut octets = octets.clone();
                    let offload = Offload { checksum, segment, headers };
                    let Some(mut segments) = Segments::new(&mut octets, offload) else { continue };
                    let mut room = [0; 100];
                    while segments.write(&mut room).is_some() {}
                }
            }
        }
    }
}
