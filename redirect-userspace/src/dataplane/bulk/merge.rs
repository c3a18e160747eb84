//! Packets that follow each other in a TCP connection become one long packet for the kernel.
//!
//! # Invariants
//!
//! - The kernel makes of the long packet exactly those that it consists of: they differ in nothing
//!   else than what follows from their place.
//! - A packet whose checksum is wrong stays as it is: the long one has a right checksum.

use super::{
    ACK, CHECKSUM, FLAGS, IPV4, IPV6, PSH, SEQUENCE, TCP, finish_ip, fold, is_intact, pseudo_header, put,
    tcp_header,
};
use crate::net::tun::{Offload, Segment};

/// Longest packet that there can be.
const LONGEST: usize = 65_535;

/// A packet that others may be added to.
#[derive(Debug)]
pub struct Merger {
    packet: Vec<u8>,
    run: Option<Run>,
}

/// What is known of it.
#[derive(Clone, Copy, Debug)]
struct Run {
    tcp: Tcp,
    count: usize,
    /// The sequence number that goes on from it.
    next: u32,
    /// Nothing may follow.
    is_closed: bool,
}

/// A packet that consists of an IP header, a TCP header and octets of a stream.
#[derive(Clone, Copy, Debug)]
struct Tcp {
    /// Where the TCP header begins.
    transport: usize,
    /// Octets of both headers.
    headers: usize,
    payload: usize,
    sequence: u32,
    is_pushed: bool,
}

impl Tcp {
    fn of(packet: &[u8]) -> Option<Self> {
        let transport = match packet {
            // Without options, not to be fragmented.
            [0x45, _, h, l, _, _, 0x40, 0, _, TCP, ..] => {
                (usize::from(u16::from_be_bytes([*h, *l])) == packet.len()).then_some(IPV4)?
            }
            [0x60..=0x6f, _, _, _, h, l, TCP, ..] => {
                (usize::from(u16::from_be_bytes([*h, *l])) + IPV6 == packet.len()).then_some(IPV6)?
            }
            _ => return None,
        };
        let segment = packet.get(transport..)?;
        let header = tcp_header(segment)?;
        let flags = *segment.get(FLAGS)?;
        let payload = segment.len() - header;
        let sequence = u32::from_be_bytes(*segment.get(SEQUENCE)?.first_chunk()?);
        let is_plain = flags & !PSH == ACK && payload > 0;
        let is_pushed = flags & PSH != 0;
        is_plain.then_some(Self { transport, headers: transport + header, payload, sequence, is_pushed })
    }

    fn next(&self) -> u32 {
        self.sequence.wrapping_add(u32::try_from(self.payload).unwrap_or(0))
    }
}

impl Default for Merger {
    fn default() -> Self {
        Self::new()
    }
}

impl Merger {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { packet: Vec::with_capacity(LONGEST), run: None }
    }

    /// Keeps a packet that others may be added to; false when it is of no such kind. There must not
    /// be one yet.
    pub fn begin(&mut self, packet: &[u8]) -> bool {
        let Some(tcp) = Tcp::of(packet).filter(|tcp| !tcp.is_pushed) else { return false };
        self.packet.clear();
        self.packet.extend_from_slice(packet);
        self.run = Some(Run { tcp, count: 1, next: tcp.next(), is_closed: false });
        true
    }

    /// Adds a packet if it goes on from what there is.
    pub fn merge(&mut self, packet: &[u8]) -> bool {
        let Some(run) = &mut self.run else { return false };
        let Some(tcp) = Tcp::of(packet) else { return false };
        let fits = !run.is_closed
            && tcp.sequence == run.next
            && tcp.payload <= run.tcp.payload
            && (tcp.transport, tcp.headers) == (run.tcp.transport, run.tcp.headers)
            && self.packet.len() + tcp.payload <= LONGEST
            && are_alike(&self.packet, packet, &tcp)
            && (run.count > 1 || is_intact(&self.packet, run.tcp.transport))
            && is_intact(packet, tcp.transport);
        if !fits {
            return false;
        }
        self.packet.extend_from_slice(packet.get(tcp.headers..).unwrap_or_default());
        run.count += 1;
        run.next = tcp.next();
        if tcp.is_pushed
            && let Some(flags) = self.packet.get_mut(tcp.transport + FLAGS)
        {
            *flags |= PSH;
        }
        // A shorter one can only be the last.
        run.is_closed = tcp.is_pushed || tcp.payload < run.tcp.payload;
        true
    }

    /// What there is, and what the kernel has to be told about it.
    pub fn finish(&mut self) -> Option<(Offload, &[u8])> {
        let Run { tcp, count, .. } = self.run.take()?;
        if count == 1 {
            return Some((Offload::default(), &self.packet));
        }
        finish_ip(&mut self.packet);
        let (ip, segment) = self.packet.split_at_mut_checked(tcp.transport)?;
        // The kernel adds the rest.
        let outside = fold(pseudo_header(ip, segment.len()));
        put(segment, CHECKSUM, outside);
        let number = |octets: usize| u16::try_from(octets).ok();
        let offload = Offload {
            checksum: Some((number(tcp.transport)?, number(CHECKSUM.start)?)),
            segment: Some(Segment { is_ipv6: tcp.transport == IPV6, size: number(tcp.payload)? }),
            headers: number(tcp.headers)?,
        };
        Some((offload, &self.packet))
    }
}

/// Whether the headers differ in nothing but what follows from a packet's place among others.
fn are_alike(one: &[u8], other: &[u8], tcp: &Tcp) -> bool {
    let is_same = |from: usize, to: usize| one.get(from..to) == other.get(from..to);
    let at = tcp.transport;
    let ip = if at == IPV4 {
        // Without length, number and checksum.
        is_same(0, 2) && is_same(6, 10) && is_same(12, IPV4)
    } else {
        is_same(0, 4) && is_same(6, IPV6)
    };
    // Without sequence number, flags and checksum.
    ip && is_same(at, at + SEQUENCE.start)
        && is_same(at + SEQUENCE.end, at + FLAGS)
        && is_same(at + FLAGS + 1, at + CHECKSUM.start)
        && is_same(at + CHECKSUM.end, tcp.headers)
}

#[cfg(test)]
mod tests {
    use super::super::FIN;
    use super::super::tests::packet;
    use super::*;

    /// Whether the second of two packets is added to the first.
    fn is_merged(first: &[u8], second: &[u8]) -> bool {
        let mut merger = Merger::new();
        merger.begin(first) && merger.merge(second)
    }

    #[test]
    fn only_what_goes_on_in_the_stream_is_added() {
        for is_ipv6 in [false, true] {
            let first = packet(is_ipv6, 100, ACK, &[1; 50]);
            let second = |sequence, flags, length| packet(is_ipv6, sequence, flags, &vec![2; length]);

            assert!(is_merged(&first, &second(150, ACK, 50)));
            assert!(is_merged(&first, &second(150, ACK | PSH, 1)));

            assert!(!is_merged(&first, &second(151, ACK, 50)), "a gap");
            assert!(!is_merged(&first, &second(150, ACK, 51)), "a longer one");
            assert!(!is_merged(&first, &second(150, ACK | FIN, 50)), "an end");
            assert!(!is_merged(&first, &second(150, ACK, 0)), "nothing in it");
            let (mut short, mut wrong) = (second(150, ACK, 50), second(150, ACK, 50));
            short.pop();
            *wrong.last_mut().unwrap() ^= 1;
            assert!(!is_merged(&first, &short), "cut off");
            assert!(!is_merged(&first, &wrong), "a wrong checksum");
            let mut wrong = first.clone();
            *wrong.last_mut().unwrap() ^= 1;
            assert!(!is_merged(&wrong, &second(150, ACK, 50)), "a wrong checksum before it");
        }
    }

    #[test]
    fn headers_that_differ_keep_packets_apart() {
        for is_ipv6 in [false, true] {
            let transport = if is_ipv6 { IPV6 } else { IPV4 };
            let first = packet(is_ipv6, 100, ACK, &[1; 50]);
            let second = packet(is_ipv6, 150, ACK, &[1; 50]);
            assert!(is_merged(&first, &second));

            // Traffic class or flow label, hop limit, addresses; ports, acknowledgement, window, options.
            let ip = if is_ipv6 { [1, 7, 8, 39] } else { [1, 8, 12, 19] };
            let tcp = [0, 3, 8, 14, 19, 31].map(|at| at + transport);
            for at in ip.into_iter().chain(tcp) {
                let mut other = second.clone();
                other[at] ^= 1;
                // Both checksums are right again.
                finish_ip(&mut other);
                put(&mut other, transport + CHECKSUM.start..transport + CHECKSUM.end, [0, 0]);
                let sum =
                    pseudo_header(&other, other.len() - transport) + super::super::sum(&other[transport..]);
                put(
                    &mut other,
                    transport + CHECKSUM.start..transport + CHECKSUM.end,
                    super::super::checksum(sum),
                );
                assert!(is_intact(&other, transport));
                assert!(!is_merged(&first, &other), "octet {at}");
            }
        }
    }

    #[test]
    fn a_packet_alone_leaves_as_it_came_and_nothing_grows_beyond_an_ip_packet() {
        let mut merger = Merger::new();
        let first = packet(false, 0, ACK, &[1; 1000]);
        assert!(merger.begin(&first));
        assert_eq!(merger.finish(), Some((Offload::default(), &*first)));
        assert_eq!(merger.finish(), None);

        assert!(merger.begin(&first));
        let mut count = 1_u32;
        while merger.merge(&packet(false, count * 1000, ACK, &[1; 1000])) {
            count += 1;
        }
        assert_eq!(count, 65);
        assert_eq!(merger.finish().unwrap().1.len(), 52 + 65_000);
    }

    #[test]
    fn what_was_pushed_is_not_held_back() {
        let mut merger = Merger::new();

        assert!(!merger.begin(&packet(false, 0, ACK | PSH, &[1; 10])));
        assert!(merger.begin(&packet(false, 0, ACK, &[1; 10])));
        assert!(merger.merge(&packet(false, 10, ACK | PSH, &[1; 10])));
        assert!(!merger.merge(&packet(false, 20, ACK, &[1; 10])));
    }
}
