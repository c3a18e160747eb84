//! A long packet of the kernel becomes packets that fit the path.

use super::{
    CHECKSUM, CWR, FIN, FLAGS, IPV4, PSH, SEQUENCE, checksum, finish_ip, pseudo_header, put, sum, tcp_header,
};
use crate::net::tun::Offload;

/// The packets that are in one of the kernel's.
#[derive(Debug)]
pub struct Segments<'a> {
    /// What all of them begin with; of a packet that is not cut, everything.
    headers: &'a [u8],
    payload: &'a [u8],
    /// Where the TCP header begins and how much goes into each; `None` when it is not cut.
    cut: Option<(usize, usize)>,
    /// Payload octets that were written.
    done: usize,
    number: u16,
    is_over: bool,
}

impl<'a> Segments<'a> {
    /// Looks at a packet and completes its checksum if it is not to be cut; `None` when it is not
    /// what the kernel says it is.
    pub fn new(packet: &'a mut [u8], offload: Offload) -> Option<Self> {
        let start = offload.checksum.map(|(start, _)| usize::from(start));
        let Some(segment) = offload.segment else {
            if let Some((start, at)) = offload.checksum {
                complete(packet.get_mut(usize::from(start)..)?, usize::from(at))?;
            }
            return Some(Self {
                headers: packet,
                payload: &[],
                cut: None,
                done: 0,
                number: 0,
                is_over: false,
            });
        };
        let (start, size) = (start?, usize::from(segment.size));
        let header = tcp_header(packet.get(start..)?)?;
        let is_ipv6 = packet.first()? >> 4 == 6;
        let (headers, payload) = packet.split_at_checked(start + header)?;
        if size == 0 || payload.is_empty() || start < IPV4 || is_ipv6 != segment.is_ipv6 {
            return None;
        }
        Some(Self { headers, payload, cut: Some((start, size)), done: 0, number: 0, is_over: false })
    }

    /// Writes the next one and says how long it is; `None` when there are no more, or there is no
    /// room for it.
    pub fn write(&mut self, room: &mut [u8]) -> Option<usize> {
        if self.is_over {
            return None;
        }
        let Some((start, size)) = self.cut else {
            self.is_over = true;
            room.get_mut(..self.headers.len())?.copy_from_slice(self.headers);
            return Some(self.headers.len());
        };
        let rest = self.payload.get(self.done..).unwrap_or_default();
        let payload = rest.get(..size).unwrap_or(rest);
        let length = self.headers.len() + payload.len();
        let packet = room.get_mut(..length)?;
        let (headers, place) = packet.split_at_mut_checked(self.headers.len())?;
        headers.copy_from_slice(self.headers);
        place.copy_from_slice(payload);

        let (is_first, is_last) = (self.done == 0, payload.len() == rest.len());
        self.number_ip(packet);
        finish_ip(packet);
        self.finish_tcp(packet, start, is_first, is_last)?;
        self.done += payload.len();
        self.number = self.number.wrapping_add(1);
        self.is_over = is_last;
        Some(length)
    }

    /// IPv4 packets have numbers, which go on from that of the long one.
    fn number_ip(&self, packet: &mut [u8]) {
        if let Some([0x40..=0x4f, _, _, _, high, low]) = packet.first_chunk_mut() {
            let number = u16::from_be_bytes([*high, *low]).wrapping_add(self.number);
            [*high, *low] = number.to_be_bytes();
        }
    }

    fn finish_tcp(&self, packet: &mut [u8], start: usize, is_first: bool, is_last: bool) -> Option<()> {
        let (ip, segment) = packet.split_at_mut_checked(start)?;
        let sequence: &mut [u8; 4] = segment.get_mut(SEQUENCE)?.first_chunk_mut()?;
        // Sequence numbers begin anew after the highest one.
        let done = u32::try_from(self.done).ok()?;
        *sequence = u32::from_be_bytes(*sequence).wrapping_add(done).to_be_bytes();
        let flags = segment.get_mut(FLAGS)?;
        if !is_first {
            *flags &= !CWR;
        }
        if !is_last {
            *flags &= !(FIN | PSH);
        }
        put(segment, CHECKSUM, [0, 0]);
        let sum = pseudo_header(ip, segment.len()) + sum(segment);
        put(segment, CHECKSUM, checksum(sum));
        Some(())
    }
}

/// Completes a checksum: the sum of what is outside of `covered` stands in its place.
fn complete(covered: &mut [u8], at: usize) -> Option<()> {
    let value = match checksum(sum(covered)) {
        // To UDP zero says that there is none, and to all others this is the same.
        [0, 0] => [0xff, 0xff],
        value => value,
    };
    *covered.get_mut(at..)?.first_chunk_mut()? = value;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{packet, split};
    use super::super::{ACK, fold};
    use super::*;
    use crate::net::tun::Segment;

    #[test]
    fn flags_that_end_or_begin_something_are_on_the_last_or_first_only() {
        let long = packet(false, 7, ACK | PSH | FIN | CWR, &[1; 25]);
        let segment = Some(Segment { is_ipv6: false, size: 10 });

        let all = split(long, Offload { checksum: Some((20, 16)), segment, headers: 52 });

        let flags: Vec<u8> = all.iter().map(|packet| packet[20 + FLAGS]).collect();
        assert_eq!(flags, [ACK | CWR, ACK, ACK | PSH | FIN]);
        let lengths: Vec<usize> = all.iter().map(Vec::len).collect();
        assert_eq!(lengths, [62, 62, 57]);
        let sequences: Vec<u8> = all.iter().map(|packet| packet[20 + 7]).collect();
        assert_eq!(sequences, [7, 17, 27]);
    }

    #[test]
    fn a_checksum_that_was_left_to_us_is_completed() {
        let whole = packet(true, 7, ACK, b"something");
        let mut partial = whole.clone();
        let outside = fold(pseudo_header(&whole, whole.len() - 40));
        put(&mut partial, 40 + CHECKSUM.start..40 + CHECKSUM.end, outside);

        let all = split(partial, Offload { checksum: Some((40, 16)), segment: None, headers: 0 });

        assert_eq!(all, [whole]);
    }

    #[test]
    fn a_packet_without_orders_stays_as_it_is() {
        let whole = vec![0x45, 1, 2, 3];

        assert_eq!(split(whole.clone(), Offload::default()), [whole]);
    }
}
