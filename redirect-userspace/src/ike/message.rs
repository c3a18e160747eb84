//! Protected messages: opening what came, sealing what goes.
//!
//! # Invariants
//!
//! - Nothing of a protected message is seen before its integrity was verified: [`Verified`] is made
//!   here and nowhere else.
//! - No IV is used twice with one key: the count is part of the [`Channel`].
//!
//! # References
//!
//! `RFC 7296 §3.14`, `RFC 5282 §3`, `§5.1`, `RFC 7383 §2.5`.

use std::ops::Range;

use super::config::FragmentSize;
use super::event::Discard;
use super::io::Path;
use super::rules::Outside;
use super::sa::fragment::{Collected, Lead, Reassembly, cut};
use super::sa::window::{Datagrams, Window};
use super::wire::{
    Chain, ChainWriter, Direction, EncodeError, FragmentNumber, Header, Message, PayloadType,
    begin_encrypted, begin_fragment, encode_chain,
};
use crate::codec::{DecodeError, Writer};
use crate::crypto::cipher::{Around, CipherError, KeyError, Opener, Protection, Sealer, TrafficKeys};
use crate::rng::Rng;

/// The protected messages of one IKE SA.
#[derive(Debug)]
pub(crate) struct Channel {
    ours: TrafficKeys,
    theirs: TrafficKeys,
    /// What the peer sealed with before it got other keys.
    former: Option<Box<TrafficKeys>>,
    /// How many messages were sealed with our keys.
    sealed: u64,
    /// Whether the peer takes fragments.
    pub(crate) fragments: bool,
    /// Message IDs.
    pub(crate) window: Window,
    /// Fragments of the peer's requests and of its responses: both may be under way, and both count
    /// their messages on their own.
    requests: Option<Box<Reassembly>>,
    responses: Option<Box<Reassembly>>,
}

/// Payloads whose integrity was verified.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    first: Option<PayloadType>,
    octets: Vec<u8>,
    range: Range<usize>,
    /// What stood before the content of the first fragment, of a message that came in fragments.
    head: Box<[u8]>,
}

impl Verified {
    /// The payloads.
    ///
    /// # Errors
    ///
    /// They do not fill their envelope.
    pub(crate) fn chain(&self) -> Result<Chain<'_>, DecodeError> {
        Chain::decode(self.first, self.plain())
    }

    /// What stood before the content of the first fragment; empty if it came in one piece.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// The payloads as they came.
    pub(crate) fn plain(&self) -> &[u8] {
        self.octets.get(self.range.clone()).unwrap_or_default()
    }
}

/// A verified envelope.
#[derive(Debug)]
pub(crate) enum Opened {
    /// A whole message.
    Whole(Verified),
    /// A part of one.
    Fragment(FragmentNumber, Verified),
}

impl Opened {
    /// Whether a repeated request in this form is answered: of fragments only the first one is, so
    /// that one repetition gives one answer (`RFC 7383 §2.6.1`).
    pub(crate) const fn wants_answer(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Fragment(number, _) => number.is_first(),
        }
    }
}

/// Why a message is not sealed. It takes a bug or a lack of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Cipher(#[from] CipherError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("every IV was used")]
    Exhausted,
    #[error("the message has too many fragments")]
    Fragments,
}

impl Channel {
    /// A channel that has carried nothing.
    pub(crate) const fn new(ours: TrafficKeys, theirs: TrafficKeys, window: Window) -> Self {
        Self {
            ours,
            theirs,
            former: None,
            sealed: 0,
            fragments: false,
            window,
            requests: None,
            responses: None,
        }
    }

    /// Goes on with other keys, between two exchanges. Message IDs go on as they were.
    pub(crate) fn rekey(&mut self, ours: TrafficKeys, theirs: TrafficKeys) {
        self.former = Some(Box::new(std::mem::replace(&mut self.theirs, theirs)));
        self.ours = ours;
        self.sealed = 0;
    }

    /// As [`Self::check`], of a request that was answered before: it may have been the last one with the
    /// keys before these.
    ///
    /// # Errors
    ///
    /// Why the datagram is not acted upon.
    pub(crate) fn check_repeated(
        &self,
        message: &Message<'_>,
        outside: &Outside<'_>,
    ) -> Result<Opened, Discard> {
        let checked = self.check(message, outside);
        match &self.former {
            Some(former) if checked.is_err() => check(former, message, outside),
            Some(_) | None => checked,
        }
    }

    /// The keys before these are of no more use: what was sealed with them is not answered again.
    pub(crate) fn forget_former(&mut self) {
        self.former = None;
    }

    /// Verifies and decrypts an envelope. Changes nothing: a forged one does no harm.
    ///
    /// # Errors
    ///
    /// Why the datagram is not acted upon.
    pub(crate) fn check(&self, message: &Message<'_>, outside: &Outside<'_>) -> Result<Opened, Discard> {
        check(&self.theirs, message, outside)
    }

    /// Takes in the response that is awaited; gives it once it is whole. There is no request under way
    /// then.
    ///
    /// # Errors
    ///
    /// Why the datagram is not acted upon.
    pub(crate) fn response(
        &mut self,
        message: &Message<'_>,
        outside: &Outside<'_>,
    ) -> Result<Option<Verified>, Discard> {
        let header = &message.header;
        let is_awaited = self.window.is_awaited(header.message_id, header.exchange);
        if header.direction != Direction::Response || !is_awaited {
            return Err(Discard::UnexpectedExchange);
        }
        let opened = self.check(message, outside)?;
        let verified = self.collect(header, opened)?;
        if verified.is_some() {
            self.window.responded();
        }
        Ok(verified)
    }

    /// Takes in what was verified; gives a message once it is whole.
    ///
    /// # Errors
    ///
    /// Why the datagram is not acted upon further.
    pub(crate) fn collect(&mut self, header: &Header, opened: Opened) -> Result<Option<Verified>, Discard> {
        let (number, verified) = match opened {
            Opened::Whole(verified) => return Ok(Some(verified)),
            Opened::Fragment(number, verified) => (number, verified),
        };
        let part = verified.octets.get(verified.range.clone()).unwrap_or_default();
        let reassembly = match header.direction {
            Direction::Request => &mut self.requests,
            Direction::Response => &mut self.responses,
        };
        let lead = Lead { first: verified.first, head: verified.head };
        match Reassembly::add(reassembly, header.message_id, number, lead, part) {
            Collected::Incomplete => Ok(None),
            Collected::Useless => Err(Discard::Fragment),
            Collected::Whole(Lead { first, head }, octets) => {
                let range = 0..octets.len();
                Ok(Some(Verified { first, octets, range, head }))
            }
        }
    }

    /// Seals a message: one datagram, or fragments if it is too long for one and the peer takes them.
    ///
    /// # Errors
    ///
    /// [`SealError`]
    pub(crate) fn seal(
        &mut self,
        header: &Header,
        path: Path,
        size: FragmentSize,
        rng: &mut Rng,
        payloads: impl FnOnce(&mut ChainWriter<'_>) -> Result<(), EncodeError>,
    ) -> Result<Datagrams, SealError> {
        let (first, octets) = encode_chain(payloads)?;
        self.seal_encoded(header, path, size, rng, (first, &octets))
    }

    /// As [`Self::seal`], of payloads as they are sent.
    ///
    /// # Errors
    ///
    /// [`SealError`]
    pub(crate) fn seal_encoded(
        &mut self,
        header: &Header,
        path: Path,
        size: FragmentSize,
        rng: &mut Rng,
        (first, octets): (Option<PayloadType>, &[u8]),
    ) -> Result<Datagrams, SealError> {
        let sealer = self.ours.sealer()?;
        let protection = sealer.protection();
        let room = room(path, size, protection);
        let is_whole = content_length(protection, octets.len()) <= room + FragmentNumber::LENGTH;
        if is_whole || !self.fragments {
            let datagram = self.seal_one(&sealer, header, Envelope::Whole, first, octets, rng)?;
            return Ok(vec![datagram].into());
        }
        let each = plain_length(protection, room);
        let parts = cut(octets, each).ok_or(SealError::Fragments)?;
        parts
            .into_iter()
            .map(|(number, part)| {
                self.seal_one(&sealer, header, Envelope::Fragment(number), first, part, rng)
            })
            .collect()
    }

    fn seal_one(
        &mut self,
        sealer: &Sealer,
        header: &Header,
        envelope: Envelope,
        first: Option<PayloadType>,
        payloads: &[u8],
        rng: &mut Rng,
    ) -> Result<Box<[u8]>, SealError> {
        let protection = sealer.protection();
        self.sealed = self.sealed.checked_add(1).ok_or(SealError::Exhausted)?;
        let content = content_length(protection, payloads.len());
        let mut out = Writer::after(Vec::with_capacity(Header::LENGTH + 8 + content));
        match envelope {
            Envelope::Whole => begin_encrypted(&mut out, header, first, content)?,
            Envelope::Fragment(number) => begin_fragment(&mut out, header, first, number, content)?,
        }
        let head = out.len();
        let iv = protection.iv_length();
        out.zeros(iv);
        out.octets(payloads);
        let padding = padding(protection, payloads.len());
        out.zeros(padding);
        // Blocks have at most 16 octets.
        out.u8(u8::try_from(padding).unwrap_or(u8::MAX));
        out.zeros(protection.icv_length());
        let mut octets = out.into_octets();
        let (head, rest) = octets.split_at_mut_checked(head).ok_or(SealError::Exhausted)?;
        let (iv, rest) = rest.split_at_mut_checked(iv).ok_or(SealError::Exhausted)?;
        let body = rest.len().saturating_sub(protection.icv_length());
        let (body, icv) = rest.split_at_mut_checked(body).ok_or(SealError::Exhausted)?;
        protection.write_iv(self.sealed, rng, iv)?;
        sealer.seal(Around { head, iv, tail: &[] }, body, icv)?;
        Ok(octets.into())
    }
}

#[derive(Clone, Copy)]
enum Envelope {
    Whole,
    Fragment(FragmentNumber),
}

fn check(keys: &TrafficKeys, message: &Message<'_>, outside: &Outside<'_>) -> Result<Opened, Discard> {
    match outside {
        Outside::Encrypted(encrypted) => {
            let verified = open(keys, message, encrypted.content, encrypted.first)?;
            Ok(Opened::Whole(verified))
        }
        Outside::Fragment(fragment) => {
            let mut verified = open(keys, message, fragment.content, fragment.first)?;
            if fragment.number.is_first() {
                verified.head = message.before(fragment.content).into();
            }
            Ok(Opened::Fragment(fragment.number, verified))
        }
        Outside::Clear(_) => Err(Discard::Unprotected),
        Outside::Hint => Err(Discard::Hint),
    }
}

fn open(
    keys: &TrafficKeys,
    message: &Message<'_>,
    content: &[u8],
    first: Option<PayloadType>,
) -> Result<Verified, Discard> {
    let opener = keys.opener().map_err(|_library| Discard::Integrity)?;
    let mut octets = content.to_vec();
    let range = open_content(&opener, message.before(content), &mut octets)?;
    Ok(Verified { first, octets, range, head: Box::default() })
}

/// Decrypts the content of an envelope where it stands; says where the payloads are.
fn open_content(opener: &Opener, head: &[u8], content: &mut [u8]) -> Result<Range<usize>, Discard> {
    let protection = opener.protection();
    let start = protection.iv_length();
    let (iv, rest) = content.split_at_mut_checked(start).ok_or(Discard::Integrity)?;
    let length = rest.len().checked_sub(protection.icv_length()).ok_or(Discard::Integrity)?;
    let (body, icv) = rest.split_at_mut_checked(length).ok_or(Discard::Integrity)?;
    opener.open(Around { head, iv, tail: &[] }, body, icv).map_err(|_refused| Discard::Integrity)?;
    // RFC 7296 §3.14: whatever the padding, its length stands in the last octet.
    let padding = body.last().copied().ok_or(Discard::Integrity)?;
    let length = body.len().checked_sub(usize::from(padding) + 1).ok_or(Discard::Integrity)?;
    Ok(start..start + length)
}

/// Octets of padding behind `length` octets of payloads, the pad length not counted.
const fn padding(protection: Protection, length: usize) -> usize {
    (length + 1).next_multiple_of(protection.block_length()) - length - 1
}

/// Octets of an envelope's content around `length` octets of payloads.
const fn content_length(protection: Protection, length: usize) -> usize {
    let body = (length + 1).next_multiple_of(protection.block_length());
    protection.iv_length() + body + protection.icv_length()
}

/// Most octets of payloads whose content has at most `room` octets.
const fn plain_length(protection: Protection, room: usize) -> usize {
    let around = protection.iv_length() + protection.icv_length();
    let body = room.saturating_sub(around);
    let blocks = body - body % protection.block_length();
    blocks.saturating_sub(1)
}

/// Octets that the content of a fragment may have on this path.
fn room(path: Path, size: FragmentSize, protection: Protection) -> usize {
    let ip = if path.remote.is_ipv4() { IPV4_HEADER } else { IPV6_HEADER };
    let marker = if path.has_marker() { MARKER } else { 0 };
    let around = ip + UDP_HEADER + marker + Header::LENGTH + PAYLOAD_HEADER + FragmentNumber::LENGTH;
    let least = content_length(protection, 1);
    usize::from(size.octets()).saturating_sub(around).max(least)
}

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;
/// Zeros between the UDP header and an IKE message on port 4500.
const MARKER: usize = 4;
const PAYLOAD_HEADER: usize = 4;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::rules;
    use super::super::wire::{ExchangeType, MessageId, OriginalRole, Payload, SpiI, SpiR, VendorId, Version};
    use super::*;
    use crate::crypto::cipher::Encr;
    use crate::crypto::integ::Integ;
    use std::num::NonZeroU64;

    fn protections() -> [Protection; 3] {
        [
            Protection::new(Encr::AesGcm256, None).unwrap(),
            Protection::new(Encr::ChaCha20Poly1305, None).unwrap(),
            Protection::new(Encr::AesCbc256, Some(Integ::HmacSha256_128)).unwrap(),
        ]
    }

    fn channels(protection: Protection) -> (Channel, Channel) {
        let keys = |fill: u8| {
            let (encr, integ) = (protection.encr_key_length(), protection.integ_key_length());
            TrafficKeys::new(protection, &vec![fill; encr], &vec![fill + 1; integ]).unwrap()
        };
        let window = || Window::new(MessageId(1), MessageId(1));
        (Channel::new(keys(1), keys(7), window()), Channel::new(keys(7), keys(1), window()))
    }

    fn header(id: u32) -> Header {
        Header {
            spi_i: SpiI(NonZeroU64::new(1).unwrap()),
            spi_r: NonZeroU64::new(2).map(SpiR),
            version: Version::V2,
            exchange: ExchangeType::IkeAuth,
            sender: OriginalRole::Initiator,
            direction: Direction::Request,
            message_id: MessageId(id),
        }
    }

    fn path() -> Path {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        Path { local: address("10.0.0.1:4500"), remote: address("10.0.0.2:4500") }
    }

    fn seal(channel: &mut Channel, body: &[u8], size: FragmentSize) -> Datagrams {
        let mut rng = Rng::from_number(1);
        channel
            .seal(&header(1), path(), size, &mut rng, |chain| {
                chain.push(&Payload::Vendor(VendorId(body.into())))
            })
            .unwrap()
    }

    fn open(channel: &mut Channel, datagram: &[u8]) -> Result<Option<Verified>, Discard> {
        let message = Message::decode(datagram).unwrap();
        let outside = rules::outside(&message).unwrap();
        let opened = channel.check(&message, &outside)?;
        channel.collect(&message.header, opened)
    }

    fn body(verified: &Verified) -> Vec<u8> {
        verified.chain().unwrap().find(PayloadType::Vendor).unwrap().body.to_vec()
    }

    #[test]
    fn what_is_sealed_is_opened_whatever_its_length() {
        for protection in protections() {
            let (mut ours, mut theirs) = channels(protection);
            for length in 0..40 {
                let sealed = seal(&mut ours, &vec![length; usize::from(length)], FragmentSize::default());
                let verified = open(&mut theirs, &sealed[0]).unwrap().unwrap();
                assert_eq!(body(&verified), vec![length; usize::from(length)], "{protection:?}");
            }
        }
    }

    #[test]
    fn no_octet_can_be_changed() {
        for protection in protections() {
            let (mut ours, mut theirs) = channels(protection);
            let sealed = seal(&mut ours, b"payload", FragmentSize::default());
            for at in [0, 9, 20, 23, 32, 40, sealed[0].len() - 1] {
                let mut forged = sealed[0].to_vec();
                forged[at] ^= 1;
                let Ok(message) = Message::decode(&forged) else { continue };
                let Ok(outside) = rules::outside(&message) else { continue };
                assert_eq!(
                    theirs.check(&message, &outside).map(|_| ()),
                    Err(Discard::Integrity),
                    "{protection:?} {at}"
                );
            }
            assert!(open(&mut theirs, &sealed[0]).unwrap().is_some());
        }
    }

    // test of RFC 7383 §2.5
    #[test]
    fn a_long_message_is_cut_into_fragments_that_fit() {
        let long: Vec<u8> = (0..5_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        for protection in protections() {
            let (mut ours, mut theirs) = channels(protection);
            assert_eq!(seal(&mut ours, &long, FragmentSize::LEAST).len(), 1, "not without the peer's word");
            ours.fragments = true;

            let mut sealed = seal(&mut ours, &long, FragmentSize::LEAST).into_vec();

            for datagram in &sealed {
                let packet = datagram.len() + IPV4_HEADER + UDP_HEADER + MARKER;
                assert!(packet <= 576, "{packet}");
            }
            assert!(sealed.len() >= 10);
            sealed.rotate_left(3);
            let last = sealed.pop().unwrap();
            for datagram in &sealed {
                assert!(open(&mut theirs, datagram).unwrap().is_none());
            }
            assert_eq!(body(&open(&mut theirs, &last).unwrap().unwrap()), long);
        }
    }

    #[test]
    fn no_iv_comes_twice() {
        let (mut ours, _) = channels(protections()[0]);
        let one = seal(&mut ours, b"same", FragmentSize::default());
        let two = seal(&mut ours, b"same", FragmentSize::default());

        assert_eq!(one[0][..32], two[0][..32]);
        assert_ne!(one[0][32..40], two[0][32..40]);
    }
}
