//! ESP in tunnel mode: IP packet to ESP packet and back, where it stands.
//!
//! # Invariants
//!
//! - No sequence number is sent twice with one key: [`Outbound`] stops at the last one.
//! - Nothing of a packet is used before its integrity is verified, and a packet that is not
//!   authentic moves no replay window.
//! - No memory is allocated for a packet: the caller's buffer has room in front ([`HEADROOM`]) and
//!   behind ([`TAILROOM`]). Keys are prepared for the first one: an SA that carries nothing, as most
//!   do at a time when all clients have just come, is small.
//!
//! # Picture
//!
//! ```text
//! SPI (4) │ sequence (4) │ IV │ inner packet │ 1 2 3 … │ pad length │ next header │ ICV
//! └────── authenticated ─┴────┴───────────── encrypted ───────────────────────────┘
//! ```
//!
//! # References
//!
//! `RFC 4303 §2`, `§3.3`, `§3.4`; `RFC 4106 §5` and `RFC 7634 §2` for the associated data.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::crypto::cipher::{Around, CipherError, Opener, Sealer, TrafficKeys};
use crate::dataplane::replay::{Replay, Window};
use crate::rng::Rng;

/// Octets of SPI and sequence number.
const HEADER: usize = 8;
/// Longest IV: a block of AES.
const MAX_IV: usize = 16;
/// Longest check value: HMAC-SHA2-512-256.
const MAX_ICV: usize = 32;
/// Octets of pad length and next header.
const TRAILER: usize = 2;
/// What the inner packet with its trailer is a multiple of at least (`RFC 4303 §2.4`).
const ALIGNMENT: usize = 4;

/// Octets that [`Outbound::seal`] needs in front of the inner packet.
pub const HEADROOM: usize = HEADER + MAX_IV;
/// Octets that [`Outbound::seal`] needs behind it.
pub const TAILROOM: usize = 15 + TRAILER + MAX_ICV;

/// Next header of an inner packet (`RFC 4303 §2.6`).
const NEXT_IPV4: u8 = 4;
const NEXT_IPV6: u8 = 41;
/// A dummy packet (`RFC 4303 §2.6`): to be dropped without a word.
#[cfg(test)]
const NEXT_NONE: u8 = 59;

/// Whether sequence numbers have 64 bits (`RFC 4303 §2.2.1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SequenceNumbers {
    /// 32 bits.
    Short,
    /// 64 bits, of which the lower half is sent.
    Extended,
}

/// Why a packet cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Every sequence number was used: the SA must have been rekeyed by now.
    #[error("sequence numbers used up")]
    Exhausted,
    /// Neither IPv4 nor IPv6.
    #[error("the inner packet is no IP packet")]
    NotIp,
    /// The buffer is too short for what stands around the packet.
    #[error("no room around the inner packet")]
    Room,
    /// The cipher refuses.
    #[error(transparent)]
    Cipher(#[from] CipherError),
}

/// Why a packet is not taken in. Each has its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum OpenError {
    /// It is shorter than an ESP packet can be, or not made of whole blocks.
    #[error("malformed ESP packet")]
    Malformed,
    /// Its integrity check value does not match.
    #[error("wrong integrity check value")]
    Authentication,
    /// Its sequence number is not new.
    #[error(transparent)]
    Replay(#[from] Replay),
    /// Its padding is longer than the packet.
    #[error("padding longer than the packet")]
    Padding,
    /// It is a dummy packet, or carries something other than IP.
    #[error("no inner IP packet")]
    NoPacket,
}

/// The sending end of an SA. Several threads may send at the same time.
#[derive(Debug)]
pub struct Outbound {
    spi: [u8; 4],
    keys: TrafficKeys,
    /// Those, prepared.
    sealer: OnceLock<Box<Sealer>>,
    /// The number of the packet that will be sent next; 0 when all are used up.
    next: AtomicU64,
    numbers: SequenceNumbers,
}

impl Outbound {
    /// An SA that has sent nothing.
    #[must_use]
    pub const fn new(spi: [u8; 4], keys: TrafficKeys, numbers: SequenceNumbers) -> Self {
        Self { spi, keys, sealer: OnceLock::new(), next: AtomicU64::new(1), numbers }
    }

    fn sealer(&self) -> Result<&Sealer, SealError> {
        if let Some(sealer) = self.sealer.get() {
            return Ok(sealer);
        }
        let made = Box::new(self.keys.sealer().map_err(|_library| CipherError::Library)?);
        // Another thread may have been first.
        Ok(self.sealer.get_or_init(|| made))
    }

    /// The sequence number of the packet that will be sent next; `None` when all are used up.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        Some(self.next.load(Ordering::Relaxed)).filter(|next| *next > 0)
    }

    /// Takes the next number: nobody else gets it.
    fn take_number(&self) -> Result<u64, SealError> {
        let last = match self.numbers {
            SequenceNumbers::Extended => u64::MAX,
            SequenceNumbers::Short => u64::from(u32::MAX),
        };
        let after = |next: u64| match next {
            0 => None,
            next if next == last => Some(0),
            next => Some(next + 1),
        };
        let taken = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
        taken.map_err(|_used_up| SealError::Exhausted)
    }

    /// Wraps the IP packet at `inner` in `buffer` and returns where the ESP packet lies, which
    /// needs up to [`HEADROOM`] octets in front of it and [`TAILROOM`] behind.
    ///
    /// # Errors
    ///
    /// [`SealError`]; the buffer's content then has no meaning.
    pub fn seal(
        &self,
        rng: &mut Rng,
        buffer: &mut [u8],
        inner: Range<usize>,
    ) -> Result<Range<usize>, SealError> {
        let (sealer, protection) = (self.sealer()?, self.keys.protection());
        let next_header = next_header(buffer.get(inner.clone()).ok_or(SealError::Room)?)?;
        let before = HEADER + protection.iv_length();
        let start = inner.start.checked_sub(before).ok_or(SealError::Room)?;
        let length = inner.len();
        let padding = padding(length, protection.block_length());
        let body_length = length + padding + TRAILER;
        let end = inner.start + body_length + protection.icv_length();

        let packet = buffer.get_mut(start..end).ok_or(SealError::Room)?;
        let number = self.take_number()?;
        let (head, rest) = packet.split_at_mut_checked(HEADER).ok_or(SealError::Room)?;
        let (iv, rest) = rest.split_at_mut_checked(protection.iv_length()).ok_or(SealError::Room)?;
        let (body, icv) = rest.split_at_mut_checked(body_length).ok_or(SealError::Room)?;
        let whole = number.to_be_bytes();
        let (high, low) = whole.split_at(4);
        let (spi_place, number_place) = head.split_at_mut(4);
        spi_place.copy_from_slice(&self.spi);
        number_place.copy_from_slice(low);
        protection.write_iv(number, rng, iv)?;
        // RFC 4303 §2.4: the padding counts from 1.
        for (octet, count) in body.iter_mut().skip(length).zip(1..) {
            *octet = count;
        }
        if let Some([pad_length, next]) = body.last_chunk_mut() {
            *pad_length = u8::try_from(padding).unwrap_or(u8::MAX);
            *next = next_header;
        }
        let associated = Associated::new(self.spi, number, self.numbers, protection.encr().is_aead());
        let tail = associated.tail(high);
        sealer.seal(Around { head: associated.head(), iv, tail }, body, icv)?;
        Ok(start..end)
    }
}

/// The receiving end of an SA.
#[derive(Debug)]
pub struct Inbound {
    keys: TrafficKeys,
    numbers: SequenceNumbers,
    /// What the first packet has made necessary.
    work: Option<Box<Work>>,
}

#[derive(Debug)]
struct Work {
    opener: Opener,
    window: Window,
}

impl Inbound {
    /// An SA that has received nothing.
    #[must_use]
    pub const fn new(keys: TrafficKeys, numbers: SequenceNumbers) -> Self {
        Self { keys, numbers, work: None }
    }

    /// The highest sequence number received.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.work.as_ref().map_or(0, |work| work.window.highest())
    }

    fn work(&mut self) -> Result<&mut Work, OpenError> {
        match &mut self.work {
            Some(work) => Ok(work),
            none @ None => {
                // Fails when the library is out of memory: the packet is lost.
                let opener = self.keys.opener().map_err(|_library| OpenError::Authentication)?;
                let window = Window::new(self.numbers == SequenceNumbers::Extended);
                Ok(none.insert(Box::new(Work { opener, window })))
            }
        }
    }

    /// Opens an ESP packet, from its SPI on, where it stands, and returns where in it the inner IP
    /// packet lies.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; the packet's content then has no meaning.
    pub fn open(&mut self, packet: &mut [u8]) -> Result<Range<usize>, OpenError> {
        let (protection, numbers) = (self.keys.protection(), self.numbers);
        let (head, rest) = packet.split_first_chunk_mut::<HEADER>().ok_or(OpenError::Malformed)?;
        let (iv, rest) = rest.split_at_mut_checked(protection.iv_length()).ok_or(OpenError::Malformed)?;
        let body_length = rest.len().checked_sub(protection.icv_length()).ok_or(OpenError::Malformed)?;
        let (body, icv) = rest.split_at_mut_checked(body_length).ok_or(OpenError::Malformed)?;
        if body_length < TRAILER || !body_length.is_multiple_of(protection.block_length()) {
            return Err(OpenError::Malformed);
        }
        let [s0, s1, s2, s3, n0, n1, n2, n3] = *head;
        let Work { opener, window } = self.work()?;
        let number = window.whole(u32::from_be_bytes([n0, n1, n2, n3]));
        // Before the cipher: a replayed packet costs nothing.
        window.check(number)?;

        let spi = [s0, s1, s2, s3];
        let associated = Associated::new(spi, number, numbers, protection.encr().is_aead());
        let whole = number.to_be_bytes();
        let tail = associated.tail(whole.split_at(4).0);
        opener
            .open(Around { head: associated.head(), iv, tail }, body, icv)
            .map_err(|_mismatch| OpenError::Authentication)?;
        window.accept(number)?;

        let [content @ .., pad_length, next_header] = &*body else { return Err(OpenError::Malformed) };
        let length = content.len().checked_sub(usize::from(*pad_length)).ok_or(OpenError::Padding)?;
        let inner = content.get(..length).ok_or(OpenError::Padding)?;
        match (next_header, inner.first().map(|octet| octet >> 4)) {
            (&NEXT_IPV4, Some(4)) | (&NEXT_IPV6, Some(6)) => {}
            _ => return Err(OpenError::NoPacket),
        }
        let start = HEADER + protection.iv_length();
        Ok(start..start + length)
    }
}

/// What is authenticated besides the encrypted part.
struct Associated {
    octets: [u8; 12],
    length: usize,
    is_tailed: bool,
}

impl Associated {
    /// `RFC 4106 §5`: an AEAD takes the SPI and the whole sequence number; `RFC 4303 §2.8`: an HMAC
    /// takes what is sent, and the upper half behind the packet.
    fn new(spi: [u8; 4], number: u64, numbers: SequenceNumbers, is_aead: bool) -> Self {
        let [h0, h1, h2, h3, l0, l1, l2, l3] = number.to_be_bytes();
        let [s0, s1, s2, s3] = spi;
        match (numbers, is_aead) {
            (SequenceNumbers::Extended, true) => Self {
                octets: [s0, s1, s2, s3, h0, h1, h2, h3, l0, l1, l2, l3],
                length: 12,
                is_tailed: false,
            },
            (numbers, _) => Self {
                octets: [s0, s1, s2, s3, l0, l1, l2, l3, 0, 0, 0, 0],
                length: HEADER,
                is_tailed: numbers == SequenceNumbers::Extended,
            },
        }
    }

    fn head(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }

    const fn tail<'a>(&self, high: &'a [u8]) -> &'a [u8] {
        if self.is_tailed { high } else { &[] }
    }
}

const fn next_header(packet: &[u8]) -> Result<u8, SealError> {
    match packet {
        [first, ..] if *first >> 4 == 4 => Ok(NEXT_IPV4),
        [first, ..] if *first >> 4 == 6 => Ok(NEXT_IPV6),
        _ => Err(SealError::NotIp),
    }
}

/// Octets of padding behind a packet of `length` octets.
const fn padding(length: usize, block_length: usize) -> usize {
    let block = if block_length > ALIGNMENT { block_length } else { ALIGNMENT };
    (length + TRAILER).next_multiple_of(block) - length - TRAILER
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::cipher::{Encr, Protection};
    use crate::crypto::integ::Integ;
    use crate::rng::Rng;

    const SPI: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

    fn protections() -> Vec<Protection> {
        let aead = |encr| Protection::new(encr, None).unwrap();
        let cbc = |encr, integ| Protection::new(encr, Some(integ)).unwrap();
        vec![
            aead(Encr::AesGcm128),
            aead(Encr::AesGcm256),
            aead(Encr::ChaCha20Poly1305),
            cbc(Encr::AesCbc128, Integ::from_transform(12, None).unwrap()),
            cbc(Encr::AesCbc256, Integ::from_transform(14, None).unwrap()),
        ]
    }

    fn keys(protection: Protection) -> TrafficKeys {
        let octets: Vec<u8> = (0..128).collect();
        let (encr, integ) = (protection.encr_key_length(), protection.integ_key_length());
        TrafficKeys::new(protection, &octets[..encr], &octets[encr..encr + integ]).unwrap()
    }

    fn ends(protection: Protection, numbers: SequenceNumbers) -> (Outbound, Inbound) {
        let keys = keys(protection);
        (Outbound::new(SPI, keys.clone(), numbers), Inbound::new(keys, numbers))
    }

    fn ip(length: usize) -> Vec<u8> {
        (0..length).map(|n| if n == 0 { 0x45 } else { u8::try_from(n % 251).unwrap() }).collect()
    }

    fn seal(out: &Outbound, packet: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0xee; HEADROOM + packet.len() + TAILROOM];
        let inner = HEADROOM..HEADROOM + packet.len();
        buffer[inner.clone()].copy_from_slice(packet);
        let range = out.seal(&mut Rng::from_number(1), &mut buffer, inner).unwrap();
        buffer[range].to_vec()
    }

    #[test]
    fn what_is_sealed_is_opened_by_every_algorithm_and_both_kinds_of_numbers() {
        for protection in protections() {
            for numbers in [SequenceNumbers::Short, SequenceNumbers::Extended] {
                let (out, mut inbound) = ends(protection, numbers);
                for length in [1, 20, 21, 22, 23, 24, 576, 1_400] {
                    let packet = ip(length);
                    let mut sealed = seal(&out, &packet);

                    assert_eq!(sealed[..4], SPI);
                    assert!(!sealed.windows(16).any(|part| length > 20 && part == &packet[1..17]));
                    let inner = inbound.open(&mut sealed).unwrap();
                    assert_eq!(sealed[inner], packet, "{protection:?} {numbers:?} {length}");
                }
                assert_eq!((out.next(), inbound.highest()), (Some(9), 8));
            }
        }
    }

    #[test]
    fn the_layout_is_that_of_the_rfc() {
        let protection = Protection::new(Encr::AesGcm128, None).unwrap();
        let (out, _) = ends(protection, SequenceNumbers::Short);

        let sealed = seal(&out, &ip(20));

        // 20 octets, 2 of padding, 2 of trailer; 8 of IV, which counts; 16 of tag.
        assert_eq!(sealed.len(), 8 + 8 + 24 + 16);
        assert_eq!(sealed[4..8], [0, 0, 0, 1]);
        assert_eq!(sealed[8..16], [0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn padding_counts_from_one_and_fills_whole_blocks() {
        assert_eq!([1, 2, 3, 4, 5].map(|length| padding(length, 1)), [1, 0, 3, 2, 1]);
        assert_eq!([14, 15, 30].map(|length| padding(length, 16)), [0, 15, 0]);

        let protection = Protection::new(Encr::AesGcm128, None).unwrap();
        let keys = keys(protection);
        let mut sealed = seal(&ends(protection, SequenceNumbers::Short).0, &ip(21));
        let (head, body) = sealed.split_at_mut(16);
        let (body, icv) = body.split_at_mut(body.len() - 16);
        let opener = keys.opener().unwrap();
        opener.open(Around { head: &head[..8], iv: &head[8..], tail: &[] }, body, icv).unwrap();

        assert_eq!(body[21..], [1, 1, NEXT_IPV4]);
    }

    #[test]
    fn a_packet_is_taken_in_once() {
        for protection in protections() {
            let (out, mut inbound) = ends(protection, SequenceNumbers::Extended);
            let sealed = seal(&out, &ip(100));

            assert!(inbound.open(&mut sealed.clone()).is_ok());
            assert_eq!(inbound.open(&mut sealed.clone()), Err(OpenError::Replay(Replay::Duplicate)));
        }
    }

    #[test]
    fn no_octet_can_be_changed_and_a_forged_packet_moves_no_window() {
        for protection in protections() {
            let (out, mut inbound) = ends(protection, SequenceNumbers::Extended);
            let sealed = seal(&out, &ip(60));
            for position in 0..sealed.len() {
                let mut forged = sealed.clone();
                forged[position] ^= 1;

                let result = inbound.open(&mut forged);

                assert!(
                    matches!(result, Err(OpenError::Authentication | OpenError::Replay(Replay::Zero))),
                    "{position}: {result:?}"
                );
            }
            assert_eq!(inbound.highest(), 0);
            assert!(inbound.open(&mut sealed.clone()).is_ok());
        }
    }

    #[test]
    fn the_upper_half_is_authenticated() {
        for protection in protections() {
            let (out, mut inbound) = ends(protection, SequenceNumbers::Extended);
            out.next.store((1 << 32) + 5, Ordering::Relaxed);
            let sealed = seal(&out, &ip(60));

            assert_eq!(inbound.open(&mut sealed.clone()), Err(OpenError::Authentication));

            inbound.work().unwrap().window.accept((1 << 32) - 1).unwrap();
            assert!(inbound.open(&mut sealed.clone()).is_ok());
            assert_eq!(inbound.highest(), (1 << 32) + 5);
        }
    }

    #[test]
    fn numbers_are_used_up_and_not_used_again() {
        let protection = protections()[0];
        let (out, _) = ends(protection, SequenceNumbers::Short);
        out.next.store(u32::MAX.into(), Ordering::Relaxed);
        seal(&out, &ip(20));
        let mut buffer = vec![0x45; HEADROOM + 20 + TAILROOM];

        let result = out.seal(&mut Rng::from_number(1), &mut buffer, HEADROOM..HEADROOM + 20);

        assert_eq!((out.next(), result), (None, Err(SealError::Exhausted)));
    }

    #[test]
    fn a_packet_needs_room_around_it_and_must_be_ip() {
        let (out, _) = ends(protections()[0], SequenceNumbers::Short);
        let mut rng = Rng::from_number(1);
        let mut buffer = vec![0x45; 200];

        assert_eq!(out.seal(&mut rng, &mut buffer, 3..30), Err(SealError::Room));
        assert_eq!(out.seal(&mut rng, &mut buffer, 100..200), Err(SealError::Room));
        assert_eq!(out.seal(&mut rng, &mut buffer, 100..300), Err(SealError::Room));
        assert_eq!(out.seal(&mut rng, &mut buffer, 100..100), Err(SealError::NotIp));
        buffer[100] = 0x10;
        assert_eq!(out.seal(&mut rng, &mut buffer, 100..120), Err(SealError::NotIp));
        assert_eq!(out.next(), Some(1), "no number was used");
    }

    #[test]
    fn a_dummy_packet_is_no_packet() {
        let protection = protections()[0];
        let keys = keys(protection);
        let mut packet = [0_u8; 8 + 8 + 4 + 16];
        packet[..4].copy_from_slice(&SPI);
        packet[7] = 1;
        let (head, rest) = packet.split_at_mut(16);
        let (body, icv) = rest.split_at_mut(4);
        body.copy_from_slice(&[1, 2, 2, NEXT_NONE]);
        let (head, iv) = head.split_at(8);
        keys.sealer().unwrap().seal(Around { head, iv, tail: &[] }, body, icv).unwrap();

        let result = Inbound::new(keys, SequenceNumbers::Short).open(&mut packet);

        assert_eq!(result, Err(OpenError::NoPacket));
    }

    proptest! {
        #[test]
        fn octets_from_anywhere_are_refused_and_do_no_harm(
            octets in proptest::collection::vec(any::<u8>(), 0..200),
            which in 0..5_usize,
        ) {
            let (out, mut inbound) = ends(protections()[which], SequenceNumbers::Extended);

            prop_assert!(inbound.open(&mut octets.clone()).is_err());
            prop_assert_eq!(inbound.highest(), 0);
            prop_assert!(inbound.open(&mut seal(&out, &ip(40))).is_ok());
        }
    }
}
