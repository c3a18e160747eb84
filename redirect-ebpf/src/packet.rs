//! Bounds-checked access to the frame through the context's pointers: the unsafe module.

#![expect(unsafe_code, reason = "a frame in XDP is two addresses; the verifier checks every access")]

use core::arch::asm;

use aya_ebpf::helpers::bpf_xdp_adjust_tail;
use aya_ebpf::programs::XdpContext;
use common::packet::{Aligned, MAX_FRAME, PacketRead, PacketWrite};
use common::reason::Reason;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A frame in the driver's memory. [`Frame::resize`] ends it.
pub(crate) struct Frame {
    start: usize,
    end: usize,
}

impl Frame {
    /// The frame a program was called for.
    #[inline(always)]
    pub(crate) fn new(ctx: &XdpContext) -> Self {
        Self { start: ctx.data(), end: ctx.data_end() }
    }

    #[inline(always)]
    fn at<T>(&self, at: usize) -> Option<*mut T> {
        self.part::<T, T>(at, 0)
    }

    /// The field `T` of a header `H`.
    #[inline(always)]
    fn part<H, T>(&self, at: usize, offset: usize) -> Option<*mut T> {
        if offset + size_of::<T>() > size_of::<H>() {
            return None;
        }
        let address = self.start + at;
        if address + size_of::<H>() > self.end { None } else { Some((address + offset) as *mut T) }
    }

    /// Makes the frame `length` octets long, at its end.
    #[inline(always)]
    pub(crate) fn resize(self, ctx: &XdpContext, length: usize) -> bool {
        let change = length.wrapping_sub(self.len());
        // SAFETY: the context is the one the kernel called the program with. The helper
        // invalidates packet pointers, which is why the frame is gone afterwards.
        let result = unsafe { bpf_xdp_adjust_tail(ctx.ctx, change as i32) };
        result == 0
    }
}

impl PacketRead for Frame {
    #[inline(always)]
    fn load<T: FromBytes>(&self, at: usize) -> Option<Aligned<T>> {
        let pointer = self.at::<T>(at)?;
        // SAFETY: `at` compared the end of the value with the end of the frame, any octets make
        // a `T: FromBytes`, and the read asks for no alignment.
        Some(Aligned(unsafe { pointer.read_unaligned() }))
    }

    #[inline(always)]
    fn field<H, T: FromBytes>(&self, at: usize, offset: usize) -> Option<T> {
        let pointer = self.part::<H, T>(at, offset)?;
        // SAFETY: as in `load`; `part` compared the end of the header with the end of the frame,
        // and the field lies inside the header.
        Some(unsafe { pointer.read_unaligned() })
    }

    #[inline(always)]
    fn len(&self) -> usize {
        octets(self.start, self.end)
    }

    #[inline(always)]
    fn bound(at: usize) -> usize {
        let mut bounded = at;
        // SAFETY: one AND on a register, no memory, no flags. Written in assembly because the
        // optimiser removes a mask whose effect it can prove, and the 6.1 verifier then knows no
        // bound for the offset.
        unsafe {
            asm!("{0} &= {1}", inout(reg) bounded, const MAX_FRAME - 1, options(pure, nomem, nostack));
        }
        bounded
    }

    #[inline(always)]
    fn refuse(reason: Reason) -> Reason {
        // SAFETY: a jump to the next instruction, which the verifier takes out. A block that holds
        // assembly is not merged with others.
        unsafe {
            asm!("goto +0", options(nomem, nostack));
        }
        reason
    }

    #[inline(always)]
    fn octet(value: usize) -> usize {
        let mut bounded = value;
        // SAFETY: as in `bound`.
        unsafe {
            asm!("{0} &= 0xff", inout(reg) bounded, options(pure, nomem, nostack));
        }
        bounded
    }
}

impl PacketWrite for Frame {
    #[inline(always)]
    fn store<T: IntoBytes + Immutable>(&mut self, at: usize, value: T) -> Option<()> {
        let pointer = self.at::<T>(at)?;
        // SAFETY: `at` compared the end of the value with the end of the frame, and the write
        // asks for no alignment. No reference into the frame exists anywhere.
        unsafe { pointer.write_unaligned(value) };
        Some(())
    }

    #[inline(always)]
    fn set_field<H, T: IntoBytes + Immutable>(&mut self, at: usize, offset: usize, value: T) -> Option<()> {
        let pointer = self.part::<H, T>(at, offset)?;
        // SAFETY: as in `store`; the field lies inside the header.
        unsafe { pointer.write_unaligned(value) };
        Some(())
    }
}

/// The distance between two packet pointers, as a number.
#[inline(always)]
fn octets(start: usize, end: usize) -> usize {
    let mut octets = end - start;
    // SAFETY: a register moved to itself. Keeps the optimiser from narrowing the subtraction to
    // 32 bits, which the verifier forbids for pointers. (Assembly without an instruction gives two
    // source lines to one address, which the verifier refuses as well.)
    unsafe {
        asm!("{0} = {0}", inout(reg) octets, options(pure, nomem, nostack));
    }
    octets
}
