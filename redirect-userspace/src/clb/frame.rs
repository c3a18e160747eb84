//! From a stream of octets to frames, and the header that every frame begins with.
//!
//! # Invariants
//!
//! - A frame that is longer than its reader's limit is refused as soon as its length has come:
//!   nobody makes us keep more octets than the limit.
//! - Where the stream is cut makes no difference.
//! - A frame that comes in one piece is not copied.
//!
//! # Picture
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+---------------+---------------+
//! |            Length             |     Type      |   0 (zero)    |
//! +-------------------------------+---------------+---------------+
//! |                            Body ...
//! ```
//!
//! `Length` is that of the whole frame, header included.

use crate::codec::{DecodeError, Reader};

/// Octets of the header.
pub(crate) const HEADER: usize = 4;
/// Longest frame of the handshake: nobody has proven anything yet.
pub(crate) const MAX_HANDSHAKE: usize = 128;
/// Longest frame of a slave that has proven that it knows the key.
pub(crate) const MAX_FROM_SLAVE: usize = 1_024;
/// Longest frame of a master that has.
pub(crate) const MAX_FROM_MASTER: usize = 16_384;
/// A frame whose type has this bit may be skipped by whoever does not know the type.
pub(crate) const OPTIONAL: u8 = 0x80;

/// The header of a frame of `length` octets, the header's own included.
pub(crate) fn header(kind: u8, length: usize) -> [u8; HEADER] {
    // Every frame we build is below one of the limits, and they all fit.
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    [high, low, kind, 0]
}

/// Takes a whole frame apart: its type, and what follows the header.
///
/// # Errors
///
/// The octets are not one whole frame.
pub(crate) fn split(frame: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
    let mut reader = Reader::new(frame);
    let length = usize::from(reader.u16("frame length")?);
    if length != frame.len() {
        return Err(DecodeError::Length { what: "frame length", value: length });
    }
    let kind = reader.u8("frame type")?;
    match reader.u8("octet after the frame type")? {
        0 => Ok((kind, reader.rest())),
        other => Err(DecodeError::Value { what: "octet after the frame type", value: u64::from(other) }),
    }
}

/// Why a stream cannot be cut into frames: it is not our protocol, or not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// Longer than the limit.
    #[error("a frame of {length} octets, at most {limit} are allowed here")]
    TooLong {
        /// Octets it would have.
        length: usize,
        /// Octets it may have.
        limit: usize,
    },
    /// Shorter than its own header.
    #[error("a frame of {length} octets is shorter than its header")]
    TooShort {
        /// Octets it would have.
        length: usize,
    },
}

/// Cuts a stream into frames.
#[derive(Debug, Default)]
pub(crate) struct Deframer {
    /// The start of a frame whose end has not come yet, or the frame that was given out last.
    partial: Vec<u8>,
    /// Whether `partial` was given out.
    is_whole: bool,
}

impl Deframer {
    /// The next frame, header included, once it is complete. What it takes it takes off the front
    /// of `octets`; when it gives no frame, it has taken them all.
    ///
    /// # Errors
    ///
    /// The frame cannot be; the stream is of no use any more.
    pub(crate) fn next<'a, 'b: 'a>(
        &'a mut self,
        octets: &mut &'b [u8],
        limit: usize,
    ) -> Result<Option<&'a [u8]>, FrameError> {
        if self.is_whole {
            self.partial.clear();
            self.is_whole = false;
        }
        if self.partial.is_empty()
            && let Some(length) = length(octets, limit)?
            && let Some((frame, rest)) = octets.split_at_checked(length)
        {
            *octets = rest;
            return Ok(Some(frame));
        }
        self.fill(octets, HEADER);
        let Some(length) = length(&self.partial, limit)? else { return Ok(None) };
        self.fill(octets, length);
        if self.partial.len() < length {
            return Ok(None);
        }
        self.is_whole = true;
        Ok(Some(&self.partial))
    }

    /// Octets of a frame whose end has not come yet.
    #[cfg(test)]
    pub(crate) const fn waiting(&self) -> usize {
        if self.is_whole { 0 } else { self.partial.len() }
    }

    /// Moves octets over until `partial` has `target`, or there are no more.
    fn fill(&mut self, octets: &mut &[u8], target: usize) {
        let missing = target.saturating_sub(self.partial.len()).min(octets.len());
        if let Some((taken, rest)) = octets.split_at_checked(missing) {
            self.partial.reserve_exact(taken.len());
            self.partial.extend_from_slice(taken);
            *octets = rest;
        }
    }
}

/// The length of the frame that begins here, once it is known.
fn length(octets: &[u8], limit: usize) -> Result<Option<usize>, FrameError> {
    let Some(length) = octets.first_chunk().map(|first| usize::from(u16::from_be_bytes(*first))) else {
        return Ok(None);
    };
    if length < HEADER {
        return Err(FrameError::TooShort { length });
    }
    if length > limit {
        return Err(FrameError::TooLong { length, limit });
    }
    Ok(Some(length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
        [&header(kind, HEADER + body.len()), body].concat()
    }

    /// Reads a stream that comes in `pieces`.
    fn read(pieces: &[&[u8]], limit: usize) -> Result<Vec<Vec<u8>>, FrameError> {
        let mut deframer = Deframer::default();
        let mut frames = Vec::new();
        for piece in pieces {
            let mut octets = *piece;
            while let Some(frame) = deframer.next(&mut octets, limit)? {
                frames.push(frame.to_vec());
            }
            assert!(octets.is_empty());
            assert!(deframer.waiting() < limit);
        }
        Ok(frames)
    }

    #[test]
    fn frames_come_out_whole_wherever_the_stream_is_cut() {
        let frames = [frame(1, b"abc"), frame(2, b""), frame(3, &[7; 100])];
        let stream = frames.concat();

        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
                assert_eq!(read(&pieces, 104).unwrap(), frames, "cut at {first} and {second}");
            }
        }
        let octets: Vec<_> = stream.chunks(1).collect();
        assert_eq!(read(&octets, 104).unwrap(), frames);
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_the_frame_comes() {
        let error = FrameError::TooLong { length: 129, limit: 128 };

        assert_eq!(read(&[&[0], &[129]], 128), Err(error));
        assert_eq!(read(&[&[0, 129]], 128), Err(error));
        assert_eq!(
            read(&[b"GET / HTTP/1.1\r\n"], 128),
            Err(FrameError::TooLong { length: 0x4745, limit: 128 })
        );
        assert_eq!(read(&[&[0, 128]], 128), Ok(vec![]));
    }

    #[test]
    fn a_frame_is_not_shorter_than_its_header() {
        for length in 0..4 {
            let error = FrameError::TooShort { length: usize::from(length) };
            assert_eq!(read(&[&[0, length, 0, 0]], 128), Err(error));
            assert_eq!(read(&[&[0], &[length]], 128), Err(error));
        }
    }

    #[test]
    fn a_frame_says_how_long_it_is() {
        assert_eq!(frame(5, b"xy"), [0, 6, 5, 0, b'x', b'y']);
        assert_eq!(split(&[0, 6, 5, 0, b'x', b'y']), Ok((5, &b"xy"[..])));
        assert_eq!(
            split(&[0, 7, 5, 0, b'x', b'y']),
            Err(DecodeError::Length { what: "frame length", value: 7 })
        );
        assert_eq!(
            split(&[0, 4, 5, 1]),
            Err(DecodeError::Value { what: "octet after the frame type", value: 1 })
        );
    }

    proptest! {
        #[test]
        fn any_stream_is_cut_the_same_way_in_pieces_as_at_once(
            stream in proptest::collection::vec(prop_oneof![3 => 0..8_u8, 1 => any::<u8>()], 0..300),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();

            prop_assert_eq!(read(&pieces, 128), read(&[&stream], 128));
        }
    }
}
