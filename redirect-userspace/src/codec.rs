//! Reading and writing octets in network order.
//!
//! # Invariants
//!
//! - A reader never looks beyond its end; what is missing is an error that says what and where.
//! - Nothing is allocated while reading.
//! - Octets that nobody asked for are an error: see [`Reader::finish`].

#![forbid(unsafe_code)]

/// Why octets are not what they should be. Says what was being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The octets end too early.
    #[error("{what}: {need} octets needed, {have} there")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Octets it needs.
        need: usize,
        /// Octets there are.
        have: usize,
    },
    /// A length that cannot be.
    #[error("{what}: a length of {value} cannot be")]
    Length {
        /// What was being read.
        what: &'static str,
        /// The length.
        value: usize,
    },
    /// A value that cannot be.
    #[error("{what}: {value} cannot be")]
    Value {
        /// What was being read.
        what: &'static str,
        /// The value.
        value: u64,
    },
    /// Octets are left over.
    #[error("{what}: {extra} octets too many")]
    Trailing {
        /// What was being read.
        what: &'static str,
        /// How many.
        extra: usize,
    },
}

/// Reads from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    octets: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `octets` from their start.
    #[must_use]
    pub const fn new(octets: &'a [u8]) -> Self {
        Self { octets }
    }

    /// How many octets are left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.octets.len()
    }

    /// Whether everything has been read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// The octets that are left, without reading them.
    #[must_use]
    pub const fn as_slice(&self) -> &'a [u8] {
        self.octets
    }

    /// The next `count` octets.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`]
    pub const fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.octets.split_at_checked(count) else {
            return Err(DecodeError::Truncated { what, need: count, have: self.octets.len() });
        };
        self.octets = rest;
        Ok(taken)
    }

    /// A reader of the next `count` octets.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`]
    pub fn inner(&mut self, count: usize, what: &'static str) -> Result<Self, DecodeError> {
        self.take(count, what).map(Self::new)
    }

    /// Everything that is left.
    pub const fn rest(&mut self) -> &'a [u8] {
        let rest = self.octets;
        self.octets = &[];
        rest
    }

    /// The next `N` octets, as an array.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`]
    pub const fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let Some((taken, rest)) = self.octets.split_first_chunk::<N>() else {
            return Err(DecodeError::Truncated { what, need: N, have: self.octets.len() });
        };
        self.octets = rest;
        Ok(*taken)
    }

    /// An octet.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`]
    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.array(what).map(u8::from_be_bytes)
    }

    /// A number of two octets.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`]
    pub fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        self.array(what).map(u16::from_be_bytes)
    }

    /// A number of four octets.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`]
    pub fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.array(what).map(u32::from_be_bytes)
    }

    /// A number of eight octets.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`]
    pub fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        self.array(what).map(u64::from_be_bytes)
    }

    /// Ends reading.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Trailing`] when something is left over.
    pub const fn finish(self, what: &'static str) -> Result<(), DecodeError> {
        match self.octets.len() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { what, extra }),
        }
    }
}

/// Appends to a vector.
#[derive(Debug, Default)]
pub struct Writer {
    octets: Vec<u8>,
}

impl Writer {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { octets: Vec::new() }
    }

    /// One that goes on after `octets`, whose memory it keeps.
    #[must_use]
    pub const fn after(octets: Vec<u8>) -> Self {
        Self { octets }
    }

    /// How many octets there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.octets.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// What has been written.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.octets
    }

    /// Appends octets.
    pub fn octets(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    /// Appends `count` zeros.
    pub fn zeros(&mut self, count: usize) {
        self.octets.resize(self.octets.len() + count, 0);
    }

    /// Appends an octet.
    pub fn u8(&mut self, value: u8) {
        self.octets.push(value);
    }

    /// Appends two octets.
    pub fn u16(&mut self, value: u16) {
        self.octets(&value.to_be_bytes());
    }

    /// Appends four octets.
    pub fn u32(&mut self, value: u32) {
        self.octets(&value.to_be_bytes());
    }

    /// Appends eight octets.
    pub fn u64(&mut self, value: u64) {
        self.octets(&value.to_be_bytes());
    }

    /// Writes over what is already there; nothing happens beyond the end.
    pub fn patch(&mut self, at: usize, octets: &[u8]) {
        let end = at.saturating_add(octets.len());
        if let Some(place) = self.octets.get_mut(at..end) {
            place.copy_from_slice(octets);
        }
    }

    /// What has been written.
    #[must_use]
    pub fn into_octets(self) -> Vec<u8> {
        self.octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_network_order() {
        let mut reader = Reader::new(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);

        assert_eq!(reader.u8("a"), Ok(1));
        assert_eq!(reader.u16("b"), Ok(0x0203));
        assert_eq!(reader.u32("c"), Ok(0x0405_0607));
        assert_eq!(reader.u64("d"), Ok(0x0809_0a0b_0c0d_0e0f));
        assert_eq!(reader.take(1, "e"), Ok(&[16][..]));
        assert_eq!(reader.finish("f"), Ok(()));
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_is_read() {
        let mut reader = Reader::new(&[1, 2, 3]);

        assert_eq!(reader.u32("count"), Err(DecodeError::Truncated { what: "count", need: 4, have: 3 }));
        assert_eq!(reader.remaining(), 3);
        assert_eq!(
            reader.take(usize::MAX, "body"),
            Err(DecodeError::Truncated { what: "body", need: usize::MAX, have: 3 })
        );
    }

    #[test]
    fn what_is_left_over_is_an_error() {
        let mut reader = Reader::new(&[1, 2, 3]);
        let inner = reader.inner(2, "inner").unwrap();

        assert_eq!(inner.finish("inner"), Err(DecodeError::Trailing { what: "inner", extra: 2 }));
        assert_eq!(reader.rest(), [3]);
        assert_eq!(reader.finish("outer"), Ok(()));
    }

    #[test]
    fn a_length_can_be_written_once_it_is_known() {
        let mut writer = Writer::new();
        writer.u16(0);
        writer.octets(b"abc");
        writer.zeros(2);
        writer.patch(0, &7_u16.to_be_bytes());
        writer.patch(6, &[1, 1]);

        assert_eq!(writer.into_octets(), [0, 7, b'a', b'b', b'c', 0, 0]);
    }
}
