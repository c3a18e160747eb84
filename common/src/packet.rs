//! Access to a packet, by value.
//!
//! A header is copied out, looked at and copied back: no reference into the packet escapes, so
//! nothing can alias and nothing dangles when the packet's tail is cut. Offsets count from the
//! first octet of the Ethernet header.

use core::ops::Deref;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::reason::Reason;

/// The longest frame the decision looks at. Longer ones pass.
///
/// A power of two, so that [`PacketRead::bound`] can state the bound with one mask. The kernel's
/// verifier (6.1) gives a packet pointer no range when its offset might exceed 65535.
pub const MAX_FRAME: usize = 4096;

/// A header copied out of a packet.
///
/// Headers ask for no alignment in the packet, but a copy that the compiler keeps on the stack
/// must have one: the BPF verifier refuses misaligned stack access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(8))]
pub struct Aligned<T>(pub T);

impl<T> Deref for Aligned<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// Checked reading.
pub trait PacketRead {
    /// Copies a header out, or `None` when the packet ends before it does.
    fn load<T: FromBytes>(&self, at: usize) -> Option<Aligned<T>>;

    /// Copies one field out of a header `H` at `at`: the field `T` that begins `offset` octets
    /// after it. `None` when the packet ends before the header does.
    ///
    /// Fields of one header share one check. A small header that is loaded whole comes as one
    /// number, and taking it apart costs more than loading the fields.
    fn field<H, T: FromBytes>(&self, at: usize, offset: usize) -> Option<T>;

    /// Number of octets in the frame.
    fn len(&self) -> usize;

    /// Whether the frame is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns `at`, known to be below [`MAX_FRAME`].
    ///
    /// Every offset that was computed from packet contents goes through here once before it is
    /// used. The caller has already established the bound; the XDP side needs it stated in a way
    /// that the optimiser cannot remove and the verifier can see.
    #[must_use]
    fn bound(at: usize) -> usize {
        at & (MAX_FRAME - 1)
    }

    /// Returns `reason`, on a path that leaves the decision.
    ///
    /// The XDP side makes such a path a place of its own. Otherwise the compiler loads the reason
    /// before every check, on the path of the packets that pass the check.
    #[must_use]
    fn refuse(reason: Reason) -> Reason {
        reason
    }

    /// Returns `value`, known to be below 256, and no longer known to be anything else: the same
    /// for small numbers.
    #[must_use]
    fn octet(value: usize) -> usize {
        value & 0xff
    }
}

/// Checked writing.
pub trait PacketWrite: PacketRead {
    /// Copies a header in, or `None`, changing nothing, when the packet ends before it does.
    fn store<T: IntoBytes + Immutable>(&mut self, at: usize, value: T) -> Option<()>;

    /// Copies one field into a header: the counterpart of [`PacketRead::field`].
    fn set_field<H, T: IntoBytes + Immutable>(&mut self, at: usize, offset: usize, value: T) -> Option<()>;
}

impl PacketRead for [u8] {
    fn load<T: FromBytes>(&self, at: usize) -> Option<Aligned<T>> {
        T::read_from_prefix(self.get(at..)?).ok().map(|(value, _)| Aligned(value))
    }

    fn field<H, T: FromBytes>(&self, at: usize, offset: usize) -> Option<T> {
        let header = self.get(at..)?.get(..size_of::<H>())?;
        T::read_from_prefix(header.get(offset..)?).ok().map(|(value, _)| value)
    }

    fn len(&self) -> usize {
        <[u8]>::len(self)
    }
}

impl PacketWrite for [u8] {
    fn store<T: IntoBytes + Immutable>(&mut self, at: usize, value: T) -> Option<()> {
        value.write_to_prefix(self.get_mut(at..)?).ok()
    }

    fn set_field<H, T: IntoBytes + Immutable>(&mut self, at: usize, offset: usize, value: T) -> Option<()> {
        let header = self.get_mut(at..)?.get_mut(..size_of::<H>())?;
        value.write_to_prefix(header.get_mut(offset..)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_past_the_end_gives_nothing() {
        let frame: &[u8] = &[1, 2, 3, 4];

        assert_eq!(frame.load::<[u8; 4]>(0), Some(Aligned([1, 2, 3, 4])));
        assert_eq!(frame.load::<[u8; 4]>(1), None);
        assert_eq!(frame.load::<[u8; 1]>(usize::MAX), None);
    }

    #[test]
    fn a_store_past_the_end_changes_nothing() {
        let mut octets = [0_u8; 4];
        let frame: &mut [u8] = &mut octets;

        assert_eq!(frame.store(2, [9_u8; 3]), None);
        assert_eq!(frame.store(1, [7_u8; 3]), Some(()));

        assert_eq!(octets, [0, 7, 7, 7]);
    }

    #[test]
    fn a_field_of_a_header_that_is_cut_off_gives_nothing() {
        let mut octets = [1_u8, 2, 3, 4];
        let frame: &mut [u8] = &mut octets;

        assert_eq!(frame.field::<[u8; 4], [u8; 2]>(0, 1), Some([2, 3]));
        assert_eq!(frame.field::<[u8; 4], [u8; 2]>(1, 0), None);
        assert_eq!(frame.set_field::<[u8; 4], [u8; 2]>(1, 0, [9, 9]), None);
        assert_eq!(frame.set_field::<[u8; 4], [u8; 2]>(0, 2, [7, 8]), Some(()));

        assert_eq!(octets, [1, 2, 7, 8]);
    }
}
