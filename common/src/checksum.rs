//! The Internet checksum (`RFC 1071`).
//!
//! Sums are kept over little-endian 16-bit words and stored little-endian: the ones' complement
//! sum does not depend on the byte order it is computed in (`RFC 1071 §2(B)`), and this is the
//! order in which the machines we run on load words for nothing.

/// A ones' complement sum that has not been folded yet.
///
/// Wide enough for 32 768 additions of 32 bits, far more than a packet has: then three folds are
/// enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Everything that was added, modulo 2^64.
    total: u64,
    /// The part of it that stands for the upper halves of eight octets. Taking the halves apart
    /// is put off to the end: adding eight octets takes a shift and two additions.
    high: u64,
}

impl Sum {
    /// The empty sum.
    pub const ZERO: Self = Self { total: 0, high: 0 };

    /// A sum that was folded before, for instance one kept in a map.
    #[inline(always)]
    #[must_use]
    pub const fn partial(folded: u32) -> Self {
        Self { total: folded as u64, high: 0 }
    }

    /// Adds a 16-bit word as the packet holds it.
    #[inline(always)]
    #[must_use]
    pub const fn add2(self, octets: [u8; 2]) -> Self {
        self.plus(u16::from_le_bytes(octets) as u64)
    }

    /// Adds two words.
    #[inline(always)]
    #[must_use]
    pub const fn add4(self, octets: [u8; 4]) -> Self {
        self.plus(u32::from_le_bytes(octets) as u64)
    }

    /// Adds four words.
    #[inline(always)]
    #[must_use]
    pub const fn add8(self, octets: [u8; 8]) -> Self {
        let value = u64::from_le_bytes(octets);
        Self { total: self.total.wrapping_add(value), high: self.high + (value >> 32) }
    }

    /// Adds eight words.
    #[inline(always)]
    #[must_use]
    pub const fn add16(self, octets: [u8; 16]) -> Self {
        let value = u128::from_le_bytes(octets);
        #[expect(clippy::cast_possible_truncation, reason = "takes the halves apart")]
        let (low, high) = (value as u64, (value >> 64) as u64);
        self.add8(low.to_le_bytes()).add8(high.to_le_bytes())
    }

    /// Adds a number in network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn add_be16(self, value: u16) -> Self {
        self.add2(value.to_be_bytes())
    }

    /// Adds another sum.
    #[inline(always)]
    #[must_use]
    pub const fn add(self, other: Self) -> Self {
        Self { total: self.total.wrapping_add(other.total), high: self.high + other.high }
    }

    /// Adds another sum whose octets start at an odd offset of the packet.
    #[inline(always)]
    #[must_use]
    pub const fn add_odd(self, other: Self) -> Self {
        self.plus(other.fold16().swap_bytes() as u64)
    }

    /// Folds to 16 bits and keeps the rest as a number for [`Self::partial`].
    #[inline(always)]
    #[must_use]
    pub const fn folded(self) -> u32 {
        self.fold16() as u32
    }

    /// The checksum field: complement of the folded sum.
    #[inline(always)]
    #[must_use]
    pub const fn finish(self) -> [u8; 2] {
        (!self.fold16()).to_le_bytes()
    }

    /// The UDP checksum field: 0 is sent as all ones (`RFC 768`), because 0 means "none".
    #[inline(always)]
    #[must_use]
    pub const fn finish_udp(self) -> [u8; 2] {
        let field = !self.fold16();
        if field == 0 { [0xff, 0xff] } else { field.to_le_bytes() }
    }

    /// Whether a header that contains its own checksum adds up.
    #[inline(always)]
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.fold16() == 0xffff
    }

    #[inline(always)]
    const fn plus(self, value: u64) -> Self {
        Self { total: self.total.wrapping_add(value), high: self.high }
    }

    #[inline(always)]
    const fn fold16(self) -> u16 {
        // Exact: the lower halves alone are far below 2^64.
        let low = self.total.wrapping_sub(self.high << 32);
        let mut sum = low + self.high;
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        #[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits by the lines above")]
        let folded = sum as u16;
        folded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plainest statement of `RFC 1071 §1`.
    fn reference(octets: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in octets.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }

    #[test]
    fn agrees_with_the_plain_sum() {
        let octets: [u8; 16] = core::array::from_fn(|i| u8::try_from(i * 37 % 251).unwrap());

        let sum = Sum::ZERO.add16(octets);

        assert_eq!(u16::from_be_bytes(sum.finish()), !reference(&octets));
    }

    #[test]
    fn an_odd_offset_swaps_the_octets() {
        let whole = [1_u8, 2, 3, 4, 5, 6, 7, 8, 9, 10];

        let sum = Sum::ZERO.add2([1, 0]).add_odd(Sum::ZERO.add8([2, 3, 4, 5, 6, 7, 8, 9]).add2([10, 0]));

        assert_eq!(u16::from_be_bytes(sum.finish()), !reference(&whole));
    }

    #[test]
    fn the_largest_sum_folds_to_all_ones() {
        let sum = (0..64).fold(Sum::ZERO, |sum, _| sum.add8([0xff; 8]));

        assert!(sum.is_valid());
        assert_eq!(sum.finish(), [0, 0]);
        assert_eq!(sum.finish_udp(), [0xff, 0xff]);
    }
}
