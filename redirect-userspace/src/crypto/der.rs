//! The little DER that keys and certificates need around the libraries.
//!
//! # Invariants
//!
//! Lengths are definite and as short as they can be; tags have one octet. Anything else is an error
//! that names what was being read.
//!
//! # References
//!
//! ITU-T X.690 §8 and §10; times after `RFC 5280 §4.1.2.5`.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::codec::{DecodeError, Reader};
use crate::time::UnixTime;

/// Tags, with the bits for "context-specific" and "constructed" in them.
pub(super) mod tag {
    pub(in crate::crypto) const BOOLEAN: u8 = 0x01;
    pub(in crate::crypto) const INTEGER: u8 = 0x02;
    pub(in crate::crypto) const BIT_STRING: u8 = 0x03;
    pub(in crate::crypto) const OCTET_STRING: u8 = 0x04;
    pub(in crate::crypto) const NULL: u8 = 0x05;
    pub(in crate::crypto) const OID: u8 = 0x06;
    pub(in crate::crypto) const ENUMERATED: u8 = 0x0a;
    pub(in crate::crypto) const UTF8_STRING: u8 = 0x0c;
    pub(in crate::crypto) const PRINTABLE_STRING: u8 = 0x13;
    pub(in crate::crypto) const TELETEX_STRING: u8 = 0x14;
    pub(in crate::crypto) const IA5_STRING: u8 = 0x16;
    pub(in crate::crypto) const UTC_TIME: u8 = 0x17;
    pub(in crate::crypto) const GENERALIZED_TIME: u8 = 0x18;
    pub(in crate::crypto) const SEQUENCE: u8 = 0x30;
    pub(in crate::crypto) const SET: u8 = 0x31;

    /// `[number]`, primitive.
    pub(in crate::crypto) const fn context(number: u8) -> u8 {
        0x80 | number
    }

    /// `[number]`, constructed.
    pub(in crate::crypto) const fn constructed(number: u8) -> u8 {
        0xa0 | number
    }
}

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    /// What is in it.
    pub(super) body: &'a [u8],
    /// It all, tag and length too.
    pub(super) whole: &'a [u8],
}

/// Reads element after element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Der<'a>(Reader<'a>);

impl<'a> Der<'a> {
    pub(super) const fn new(octets: &'a [u8]) -> Self {
        Self(Reader::new(octets))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element, whatever it is.
    pub(super) fn element(&mut self, what: &'static str) -> Result<Element<'a>, DecodeError> {
        let all = self.0.as_slice();
        let tag = self.0.u8(what)?;
        if tag & LONG_TAG == LONG_TAG {
            return Err(DecodeError::Value { what, value: tag.into() });
        }
        let length = self.length(what)?;
        let body = self.0.take(length, what)?;
        let whole = all.get(..all.len() - self.0.remaining()).unwrap_or_default();
        Ok(Element { tag, body, whole })
    }

    fn length(&mut self, what: &'static str) -> Result<usize, DecodeError> {
        let first = self.0.u8(what)?;
        if first < LONG_LENGTH {
            return Ok(first.into());
        }
        let count = usize::from(first - LONG_LENGTH);
        if count == 0 || count > MAX_LENGTH_OCTETS {
            return Err(DecodeError::Value { what, value: first.into() });
        }
        let octets = self.0.take(count, what)?;
        let length = octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
        let is_shortest = length >= usize::from(LONG_LENGTH) && octets.first() != Some(&0);
        if is_shortest { Ok(length) } else { Err(DecodeError::Length { what, value: length }) }
    }

    /// What is in the next element, which has this tag.
    pub(super) fn expect(&mut self, tag: u8, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let element = self.element(what)?;
        if element.tag == tag {
            Ok(element.body)
        } else {
            Err(DecodeError::Value { what, value: element.tag.into() })
        }
    }

    /// What is in the next element, if it has this tag.
    pub(super) fn optional(&mut self, tag: u8, what: &'static str) -> Result<Option<&'a [u8]>, DecodeError> {
        if self.0.as_slice().first() == Some(&tag) { self.expect(tag, what).map(Some) } else { Ok(None) }
    }

    /// The elements in the next one, a SEQUENCE.
    pub(super) fn sequence(&mut self, what: &'static str) -> Result<Self, DecodeError> {
        self.expect(tag::SEQUENCE, what).map(Self::new)
    }

    /// The octets of the next element, a BIT STRING of whole octets.
    pub(super) fn bit_string(&mut self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        match self.expect(tag::BIT_STRING, what)? {
            [0, octets @ ..] => Ok(octets),
            [unused, ..] => Err(DecodeError::Value { what, value: (*unused).into() }),
            [] => Err(DecodeError::Length { what, value: 0 }),
        }
    }

    /// The octets of the next element, an INTEGER that is not negative, without zeros before them.
    pub(super) fn unsigned(&mut self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        match self.expect(tag::INTEGER, what)? {
            [0] => Ok(&[]),
            [0, octets @ ..] if octets.first().is_some_and(|first| *first >= 0x80) => Ok(octets),
            octets @ [0x01..=0x7f, ..] => Ok(octets),
            octets => Err(DecodeError::Length { what, value: octets.len() }),
        }
    }

    /// The next element, a UTCTime or GeneralizedTime.
    pub(super) fn time(&mut self, what: &'static str) -> Result<UnixTime, DecodeError> {
        let element = self.element(what)?;
        let (year, rest) = match (element.tag, element.body) {
            // RFC 5280 §4.1.2.5.1: two digits stand for the years from 1950 to 2049.
            (tag::UTC_TIME, [a, b, rest @ ..]) => {
                let year = two_digits(what, [*a, *b])?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            (tag::GENERALIZED_TIME, [a, b, c, d, rest @ ..]) => {
                (100 * two_digits(what, [*a, *b])? + two_digits(what, [*c, *d])?, rest)
            }
            (tag, _) => return Err(DecodeError::Value { what, value: tag.into() }),
        };
        let [mo, mo2, d, d2, h, h2, mi, mi2, s, s2, b'Z'] = *rest else {
            return Err(DecodeError::Length { what, value: element.body.len() });
        };
        let month = number(what, [mo, mo2], 1, 12)?;
        let day = number(what, [d, d2], 1, days_of_month(year, month))?;
        let (hour, minute) = (number(what, [h, h2], 0, 23)?, number(what, [mi, mi2], 0, 59)?);
        let second = number(what, [s, s2], 0, 59)?;
        let seconds = ((days_before(year, month) + day - 1) * 24 + hour) * 3_600 + minute * 60 + second;
        // What was before 1970 is long over.
        Ok(UnixTime::from_epoch(Duration::from_secs(seconds.saturating_sub(DAYS_TO_1970 * 86_400))))
    }

    /// Ends reading.
    pub(super) const fn finish(self, what: &'static str) -> Result<(), DecodeError> {
        self.0.finish(what)
    }
}

/// An element in DER: what is in it are the parts, one after the other.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut octets = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < LONG_LENGTH => octets.push(short),
        Ok(_) | Err(_) => {
            let zeros = length.leading_zeros() / u8::BITS;
            let [.., count] = (usize::BITS / u8::BITS - zeros).to_be_bytes();
            octets.push(LONG_LENGTH | count);
            octets.extend(length.to_be_bytes().into_iter().skip_while(|octet| *octet == 0));
        }
    }
    octets.extend(parts.iter().copied().flatten());
    octets
}

/// Days from the beginning of year 0 to the month.
fn days_before(year: u64, month: u64) -> u64 {
    let leap_days = if year == 0 { 0 } else { (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 + 1 };
    365 * year + leap_days + (1..month).map(|month| days_of_month(year, month)).sum::<u64>()
}

const fn days_of_month(year: u64, month: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn number(what: &'static str, digits: [u8; 2], least: u64, most: u64) -> Result<u64, DecodeError> {
    let value = two_digits(what, digits)?;
    if (least..=most).contains(&value) { Ok(value) } else { Err(DecodeError::Value { what, value }) }
}

fn two_digits(what: &'static str, digits: [u8; 2]) -> Result<u64, DecodeError> {
    let [tens, ones] = digits;
    match digits {
        [b'0'..=b'9', b'0'..=b'9'] => Ok(u64::from(tens - b'0') * 10 + u64::from(ones - b'0')),
        [wrong, _] => Err(DecodeError::Value { what, value: wrong.into() }),
    }
}

/// Bits of a tag that goes on in the next octet.
const LONG_TAG: u8 = 0x1f;
/// From here on, an octet says how many octets of a length follow.
const LONG_LENGTH: u8 = 0x80;
/// Nothing we read is larger than 16 MB.
const MAX_LENGTH_OCTETS: usize = 3;
const DAYS_TO_1970: u64 = 719_528;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_one_after_the_other() {
        let mut der = Der::new(&[0x30, 3, 2, 1, 5, 5, 0, 4, 0x81, 0x80]);
        let mut inner = der.sequence("outer").unwrap();

        assert_eq!(inner.unsigned("number"), Ok(&[5][..]));
        assert_eq!(inner.finish("inner"), Ok(()));
        assert_eq!(der.optional(tag::OID, "oid"), Ok(None));
        assert_eq!(der.element("null"), Ok(Element { tag: tag::NULL, body: &[], whole: &[5, 0] }));
        assert_eq!(der.element("long"), Err(DecodeError::Truncated { what: "long", need: 128, have: 0 }));
    }

    #[test]
    fn lengths_have_one_form() {
        let read = |octets: &[u8]| Der::new(octets).element("it").map(|element| element.body.len());
        let long = |header: &[u8], length: usize| [header, &vec![0; length]].concat();

        assert_eq!(read(&long(&[4, 0x7f], 127)), Ok(127));
        assert_eq!(read(&long(&[4, 0x81, 0x80], 128)), Ok(128));
        assert_eq!(read(&long(&[4, 0x82, 1, 0], 256)), Ok(256));
        assert_eq!(read(&long(&[4, 0x81, 0x7f], 127)), Err(DecodeError::Length { what: "it", value: 127 }));
        assert_eq!(
            read(&long(&[4, 0x82, 0, 0x80], 128)),
            Err(DecodeError::Length { what: "it", value: 128 })
        );
        assert_eq!(read(&[4, 0x80, 0, 0]), Err(DecodeError::Value { what: "it", value: 0x80 }));
        assert_eq!(read(&[4, 0x84, 0, 0, 0, 1, 0]), Err(DecodeError::Value { what: "it", value: 0x84 }));
        assert_eq!(read(&[0x1f, 0x81, 1, 0]), Err(DecodeError::Value { what: "it", value: 0x1f }));
    }

    #[test]
    fn what_was_written_is_read() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let body = vec![7; length];
            let (first, second) = body.split_at(length / 3);

            let octets = element(tag::OCTET_STRING, &[first, second]);

            let mut der = Der::new(&octets);
            assert_eq!(der.expect(tag::OCTET_STRING, "it"), Ok(&body[..]), "{length}");
            assert_eq!(der.finish("it"), Ok(()));
        }
    }

    #[test]
    fn numbers_are_not_negative_and_have_one_form() {
        let read = |octets: &[u8]| Der::new(octets).unsigned("n").map(<[u8]>::to_vec);

        assert_eq!(read(&[2, 1, 0]), Ok(vec![]));
        assert_eq!(read(&[2, 2, 0, 0x80]), Ok(vec![0x80]));
        for wrong in [&[2, 0][..], &[2, 1, 0x80], &[2, 2, 0, 0x7f], &[2, 3, 0, 0, 0x80]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn times_are_seconds_since_1970() {
        let read = |tag: u8, text: &str| {
            let octets = [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
            Der::new(&octets).time("t").map(|time| time.since_epoch().as_secs())
        };

        // date -u -d … +%s
        assert_eq!(read(tag::UTC_TIME, "700101000000Z"), Ok(0));
        assert_eq!(read(tag::UTC_TIME, "500101000000Z"), Ok(0));
        assert_eq!(read(tag::UTC_TIME, "261124020643Z"), Ok(1_795_486_003));
        assert_eq!(read(tag::UTC_TIME, "491231235959Z"), Ok(2_524_607_999));
        assert_eq!(read(tag::GENERALIZED_TIME, "20000229120000Z"), Ok(951_825_600));
        assert_eq!(read(tag::GENERALIZED_TIME, "21000301000000Z"), Ok(4_107_542_400));
        assert_eq!(read(tag::GENERALIZED_TIME, "99991231235959Z"), Ok(253_402_300_799));
        assert_eq!(read(tag::GENERALIZED_TIME, "00000101000000Z"), Ok(0));
        for wrong in
            ["21000229000000Z", "20261301000000Z", "20260431000000Z", "20260101240000Z", "2026010100000Z"]
        {
            assert!(read(tag::GENERALIZED_TIME, wrong).is_err(), "{wrong}");
        }
        assert!(read(tag::UTC_TIME, "2611240206Z").is_err());
        assert!(read(tag::UTC_TIME, "261124020643+0100").is_err());
        assert!(read(tag::OCTET_STRING, "261124020643Z").is_err());
    }

    #[test]
    fn whatever_octets_come_reading_ends() {
        let mut rng = crate::rng::Rng::from_number(1);
        for _ in 0..10_000 {
            let octets: [u8; 24] = rng.array();
            let mut der = Der::new(&octets);
            while !der.is_empty() && der.element("it").is_ok() {}
        }
    }
}
