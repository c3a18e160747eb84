//! TLS messages in EAP packets: flags, fragments, acknowledgements.
//!
//! ```text
//!  0                   1                   2                   3
//! ┌───────────────────────────────────────────────────────────────┐
//! │L M S R R R R R│          TLS message length (with L)          │
//! │               │  TLS data …
//! └───────────────────────────────────────────────────────────────┘
//! ```
//!
//! # Invariants
//!
//! - What is put together is never longer than [`MAX_MESSAGE`], whatever length is announced, and
//!   nothing is allocated for octets that have not come.
//! - Every conversation ends: after [`MAX_ROUNDS`] packets, if by nothing else.
//! - A message is as long as was announced, or it is refused.
//!
//! # References
//!
//! `RFC 5216 §2.1.5` (fragmentation) and `§3` (formats).

use crate::codec::{DecodeError, Reader, Writer};

/// The type data of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packet<'a> {
    /// The gateway begins.
    is_start: bool,
    /// More of the message follows.
    has_more: bool,
    /// How long the whole message is.
    announced: Option<u32>,
    data: &'a [u8],
}

impl<'a> Packet<'a> {
    // RFC 5216 §3.1: reserved flags are ignored.
    fn decode(octets: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(octets);
        let flags = reader.u8("EAP-TLS flags")?;
        let announced = match flags & LENGTH {
            0 => None,
            _ => Some(reader.u32("TLS message length")?),
        };
        Ok(Self { is_start: flags & START != 0, has_more: flags & MORE != 0, announced, data: reader.rest() })
    }

    fn encode(&self) -> Vec<u8> {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let mut out = Writer::new();
        out.u8(flag(self.announced.is_some(), LENGTH)
            | flag(self.has_more, MORE)
            | flag(self.is_start, START));
        if let Some(length) = self.announced {
            out.u32(length);
        }
        out.octets(self.data);
        out.into_octets()
    }
}

/// The packet with which the gateway begins.
pub(super) fn start() -> Vec<u8> {
    Packet { is_start: true, has_more: false, announced: None, data: &[] }.encode()
}

/// A packet with nothing in it: an acknowledgement.
pub(super) fn nothing() -> Vec<u8> {
    Packet { is_start: false, has_more: false, announced: None, data: &[] }.encode()
}

/// What a packet from the other side amounts to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The gateway begins.
    Start,
    /// It belongs to a message that is still on its way; this goes back.
    Reply(Vec<u8>),
    /// A whole message.
    Message(Vec<u8>),
    /// Nothing, and all that was sent has arrived.
    Nothing,
}

/// One side of a conversation.
#[derive(Debug)]
pub(super) struct Framing {
    incoming: Option<Incoming>,
    outgoing: Outgoing,
    rounds: usize,
}

/// A message that is still on its way to us.
#[derive(Debug)]
struct Incoming {
    announced: u32,
    octets: Vec<u8>,
}

/// A message that is still on its way to the other side.
#[derive(Debug)]
struct Outgoing {
    octets: Vec<u8>,
    sent: usize,
    /// Most octets of it in a packet.
    most: usize,
}

impl Framing {
    /// With at most so many octets of a message in a packet; at least one.
    pub(super) fn new(most: usize) -> Self {
        let outgoing = Outgoing { octets: Vec::new(), sent: 0, most: most.max(1) };
        Self { incoming: None, outgoing, rounds: 0 }
    }

    /// The first packet of a message that is to be sent. The other packets go out as the
    /// acknowledgements come in.
    pub(super) fn send(&mut self, message: Vec<u8>) -> Vec<u8> {
        self.outgoing.octets = message;
        self.outgoing.sent = 0;
        self.outgoing.next()
    }

    /// Takes the type data of a packet.
    pub(super) fn receive(&mut self, octets: &[u8]) -> Result<Arrival, FrameError> {
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds > MAX_ROUNDS {
            return Err(FrameError::TooManyRounds);
        }
        let packet = Packet::decode(octets)?;
        let is_empty = packet.data.is_empty() && !packet.has_more && packet.announced.unwrap_or(0) == 0;
        if packet.is_start {
            let is_first = self.rounds == 1;
            return if is_empty && is_first { Ok(Arrival::Start) } else { Err(FrameError::Start) };
        }
        if self.outgoing.is_pending() {
            return if is_empty {
                Ok(Arrival::Reply(self.outgoing.next()))
            } else {
                Err(FrameError::NotAcknowledged)
            };
        }
        match (self.incoming.take(), is_empty) {
            (None, true) => Ok(Arrival::Nothing),
            (None, false) => self.first(packet),
            (Some(incoming), _) => self.next(incoming, packet),
        }
    }

    fn first(&mut self, packet: Packet<'_>) -> Result<Arrival, FrameError> {
        let length = match (packet.announced, u32::try_from(packet.data.len())) {
            (Some(announced), _) => announced,
            // RFC 5216 §2.1.5: the first fragment says how long the message is.
            (None, _) if packet.has_more => return Err(FrameError::NotAnnounced),
            (None, Ok(length)) => length,
            (None, Err(_beyond_any_packet)) => u32::MAX,
        };
        if usize::try_from(length).map_or(true, |length| length > MAX_MESSAGE) {
            return Err(FrameError::Oversize { announced: length });
        }
        self.next(Incoming { announced: length, octets: Vec::new() }, packet)
    }

    fn next(&mut self, mut incoming: Incoming, packet: Packet<'_>) -> Result<Arrival, FrameError> {
        let Incoming { announced, octets } = &mut incoming;
        if packet.announced.is_some_and(|again| again != *announced) {
            return Err(FrameError::OtherLength);
        }
        if packet.data.is_empty() {
            return Err(FrameError::Empty);
        }
        octets.extend_from_slice(packet.data);
        let have = octets.len();
        let announced = usize::try_from(*announced).unwrap_or(usize::MAX);
        match (have.cmp(&announced), packet.has_more) {
            (std::cmp::Ordering::Greater, _) => Err(FrameError::Beyond { announced }),
            (std::cmp::Ordering::Less, false) => Err(FrameError::Short { announced, have }),
            // A message that is complete needs no more.
            (std::cmp::Ordering::Equal, true) => Err(FrameError::Beyond { announced }),
            (std::cmp::Ordering::Less, true) => {
                self.incoming = Some(incoming);
                Ok(Arrival::Reply(nothing()))
            }
            (std::cmp::Ordering::Equal, false) => {
                check_records(&incoming.octets)?;
                Ok(Arrival::Message(incoming.octets))
            }
        }
    }
}

/// Checks that a message is whole TLS records, so that TLS never waits for the rest of one.
// RFC 8446 §5.1, RFC 5246 §6.2.1
fn check_records(message: &[u8]) -> Result<(), DecodeError> {
    let mut reader = Reader::new(message);
    while !reader.is_empty() {
        reader.take(RECORD_TYPE_AND_VERSION, "TLS record")?;
        let length = reader.u16("TLS record")?;
        reader.take(length.into(), "TLS record")?;
    }
    Ok(())
}

impl Outgoing {
    const fn is_pending(&self) -> bool {
        self.sent < self.octets.len()
    }

    /// The next fragment.
    fn next(&mut self) -> Vec<u8> {
        let rest = self.octets.get(self.sent..).unwrap_or_default();
        let (data, beyond) = rest.split_at_checked(self.most).unwrap_or((rest, &[]));
        let (is_first, has_more) = (self.sent == 0, !beyond.is_empty());
        let announced = match u32::try_from(self.octets.len()) {
            Ok(length) if is_first && has_more => Some(length),
            Ok(_) | Err(_) => None,
        };
        let packet = Packet { is_start: false, has_more, announced, data }.encode();
        self.sent = self.sent.saturating_add(data.len());
        if !has_more {
            self.octets = Vec::new();
            self.sent = 0;
        }
        packet
    }
}

/// Why packets are no messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It ends too early.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// A start where none may be.
    #[error("EAP-TLS is started in the middle")]
    Start,
    /// A message longer than any that is taken.
    #[error("a TLS message of {announced} octets, more than the {MAX_MESSAGE} that are taken")]
    Oversize {
        /// How long.
        announced: u32,
    },
    /// The first fragment does not say how long the message is.
    #[error("the first fragment of a TLS message does not say how long it is")]
    NotAnnounced,
    /// A later fragment says something else than the first.
    #[error("the fragments of a TLS message do not agree about its length")]
    OtherLength,
    /// More than was announced.
    #[error("a TLS message goes on beyond its {announced} octets")]
    Beyond {
        /// How much was.
        announced: usize,
    },
    /// Less than was announced.
    #[error("a TLS message ends after {have} of {announced} octets")]
    Short {
        /// How much was.
        announced: usize,
        /// How much came.
        have: usize,
    },
    /// A fragment with nothing in it.
    #[error("an empty fragment of a TLS message")]
    Empty,
    /// Something else than an acknowledgement, while our message is still on its way.
    #[error("a fragment was answered with something else than an acknowledgement")]
    NotAcknowledged,
    /// The conversation does not end.
    #[error("more than {MAX_ROUNDS} packets")]
    TooManyRounds,
}

/// Octets of a message in a packet, so that the packet fits into every link that EAP is for.
// RFC 3748 §3.1: 1020 octets at least, of which the EAP header, flags and length take ten.
pub const FRAGMENT: usize = 1_010;
/// Most octets of a TLS message. A flight with a dozen long certificates has less.
const MAX_MESSAGE: usize = 64 * 1_024;
/// Most packets from the other side: enough for the longest message in the shortest usual fragments.
const MAX_ROUNDS: usize = 192;

const RECORD_TYPE_AND_VERSION: usize = 3;
const LENGTH: u8 = 0x80;
const MORE: u8 = 0x40;
const START: u8 = 0x20;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(flags: u8, announced: Option<u32>, data: &[u8]) -> Vec<u8> {
        let length = announced.map_or(Vec::new(), |length| length.to_be_bytes().to_vec());
        [&[flags], length.as_slice(), data].concat()
    }

    /// A TLS record with so many octets in it.
    fn record(count: u16) -> Vec<u8> {
        let content = (0..=250).cycle().take(count.into());
        [0x16, 3, 3].into_iter().chain(count.to_be_bytes()).chain(content).collect()
    }

    /// What becomes of these packets, one after the other, up to the first that is refused.
    fn receive(packets: &[Vec<u8>]) -> Result<Arrival, FrameError> {
        let mut framing = Framing::new(FRAGMENT);
        let (last, before) = packets.split_last().unwrap();
        for packet in before {
            assert_eq!(framing.receive(packet)?, Arrival::Reply(vec![0]));
        }
        framing.receive(last)
    }

    #[test]
    fn a_message_arrives_whole_however_it_is_cut() {
        let message = record(2_995);
        for most in [1, 20, 999, 1_000, 2_999, 3_000, 5_000] {
            let mut sender = Framing::new(most);
            let mut receiver = Framing::new(FRAGMENT);
            let mut packet = sender.send(message.clone());
            let mut packets = 1;
            let arrived = loop {
                // Neither side counts here: it is what lies between that is looked at.
                (sender.rounds, receiver.rounds) = (0, 1);
                match receiver.receive(&packet).unwrap() {
                    Arrival::Reply(reply) => match sender.receive(&reply).unwrap() {
                        Arrival::Reply(next) => packet = next,
                        other @ (Arrival::Start | Arrival::Message(_) | Arrival::Nothing) => {
                            panic!("{other:?}")
                        }
                    },
                    Arrival::Message(message) => break message,
                    other @ (Arrival::Start | Arrival::Nothing) => panic!("{other:?}"),
                }
                packets += 1;
            };
            assert_eq!(arrived, message);
            assert_eq!(packets, 3_000_usize.div_ceil(most), "{most}");
            assert!(!sender.outgoing.is_pending());
        }
    }

    // test of RFC 5216 §3.1
    #[test]
    fn flags_and_lengths_are_where_they_belong() {
        let mut framing = Framing::new(4);

        assert_eq!(start(), [0x20]);
        assert_eq!(nothing(), [0]);
        assert_eq!(framing.send(b"abcdef".to_vec()), *b"\xc0\0\0\0\x06abcd");
        assert_eq!(framing.receive(&[0]), Ok(Arrival::Reply(b"\0ef".to_vec())));
        assert_eq!(framing.receive(&[0]), Ok(Arrival::Nothing));
        assert_eq!(framing.send(b"abcd".to_vec()), *b"\0abcd");
        assert_eq!(Framing::new(4).receive(&[0x20]), Ok(Arrival::Start));
    }

    #[test]
    fn what_others_send_without_need_is_taken() {
        // The length in every packet, also of a message in one piece; flags without a meaning.
        let whole = record(4);
        assert_eq!(receive(&[packet(0x80, Some(9), &whole)]), Ok(Arrival::Message(whole.clone())));
        assert_eq!(
            receive(&[packet(0xc0, Some(9), &whole[..2]), packet(0x9f, Some(9), &whole[2..])]),
            Ok(Arrival::Message(whole))
        );
        assert_eq!(receive(&[packet(0x80, Some(0), b"")]), Ok(Arrival::Nothing));
    }

    #[test]
    fn a_message_that_is_not_as_announced_is_refused() {
        let announced = u32::try_from(MAX_MESSAGE).unwrap();
        for (packets, error) in [
            (vec![packet(0x40, None, b"ab")], FrameError::NotAnnounced),
            (vec![packet(0x80, Some(3), b"ab")], FrameError::Short { announced: 3, have: 2 }),
            (vec![packet(0x80, Some(1), b"ab")], FrameError::Beyond { announced: 1 }),
            (vec![packet(0xc0, Some(2), b"ab")], FrameError::Beyond { announced: 2 }),
            (vec![packet(0xc0, Some(4), b"")], FrameError::Empty),
            (vec![packet(0x40, None, b"")], FrameError::NotAnnounced),
            (vec![packet(0x80, Some(4), b"")], FrameError::Empty),
            (vec![packet(0xc0, Some(4), b"ab"), packet(0, None, b"")], FrameError::Empty),
            (vec![packet(0xc0, Some(4), b"ab"), packet(0x40, None, b"")], FrameError::Empty),
            (vec![packet(0xc0, Some(4), b"ab"), packet(0x80, Some(5), b"cd")], FrameError::OtherLength),
            (
                vec![packet(0xc0, Some(4), b"ab"), packet(0, None, b"c")],
                FrameError::Short { announced: 4, have: 3 },
            ),
            (
                vec![packet(0xc0, Some(4), b"ab"), packet(0x40, None, b"cde")],
                FrameError::Beyond { announced: 4 },
            ),
            (
                vec![packet(0xc0, Some(announced + 1), b"ab")],
                FrameError::Oversize { announced: announced + 1 },
            ),
            (vec![packet(0x80, Some(u32::MAX), b"ab")], FrameError::Oversize { announced: u32::MAX }),
            (vec![vec![0; MAX_MESSAGE + 2]], FrameError::Oversize { announced: announced + 1 }),
            (vec![packet(0xc0, Some(4), b"ab"), vec![0x20]], FrameError::Start),
            (vec![packet(0x20, None, b"ab")], FrameError::Start),
        ] {
            assert_eq!(receive(&packets), Err(error), "{packets:?}");
        }
        let longest = record(16_379).repeat(4);
        assert_eq!(
            receive(&[packet(0x80, Some(announced), &longest)]),
            Ok(Arrival::Message(longest.clone()))
        );
        // What is no records is no message.
        for length in 1..=longest.len() {
            if length % 16_384 != 0 && (length < 100 || length % 1_000 == 0) {
                let cut = receive(&[packet(0, None, &longest[..length])]);
                assert!(matches!(cut, Err(FrameError::Malformed(_))), "{length}: {cut:?}");
            }
        }
    }

    #[test]
    fn what_is_cut_off_is_named() {
        assert_eq!(
            receive(&[vec![]]),
            Err(FrameError::Malformed(DecodeError::Truncated { what: "EAP-TLS flags", need: 1, have: 0 }))
        );
        for have in 0..4 {
            let what = "TLS message length";
            assert_eq!(
                receive(&[packet(0x80, Some(4), b"").get(..=have).unwrap().to_vec()]),
                Err(FrameError::Malformed(DecodeError::Truncated { what, need: 4, have }))
            );
        }
    }

    #[test]
    fn only_an_acknowledgement_brings_the_next_fragment() {
        for wrong in [packet(0, None, b"x"), packet(0x40, None, b""), packet(0x80, Some(1), b"")] {
            let mut framing = Framing::new(2);
            framing.send(b"abcd".to_vec());

            assert_eq!(framing.receive(&wrong), Err(FrameError::NotAcknowledged), "{wrong:?}");
        }
    }

    #[test]
    fn a_message_that_never_ends_ends() {
        let mut framing = Framing::new(FRAGMENT);
        assert_eq!(framing.receive(&packet(0xc0, Some(60_000), b"a")), Ok(Arrival::Reply(vec![0])));
        let mut rounds = 1;
        let end = loop {
            match framing.receive(&packet(0x40, None, b"a")) {
                Ok(arrival) => assert_eq!(arrival, Arrival::Reply(vec![0])),
                Err(error) => break error,
            }
            rounds += 1;
        };
        assert_eq!((end, rounds), (FrameError::TooManyRounds, MAX_ROUNDS));
    }
}
