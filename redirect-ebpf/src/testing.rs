//! Programs for benchmarks: never loaded by the daemon.
//!
//! `BPF_PROG_TEST_RUN` does not restore the packet between repetitions, so a program that
//! rewrites its packet would meet its own reply at the second turn. `restore` therefore stands
//! in front of every measured program: it grows the frame back to the request's length, copies the
//! request in and goes on to the program under test by a tail call.

#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        unsafe_code,
        reason = "sections are placed by name; frames and map values are reached by address"
    )
)]

#[cfg(target_arch = "bpf")]
mod packet;

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_TX};
    use aya_ebpf::btf_maps::{Array, PerCpuArray, ProgramArray};
    use aya_ebpf::macros::{btf_map, xdp};
    use aya_ebpf::programs::XdpContext;
    use common::packet::PacketWrite as _;
    use common::reply::swap_addresses;

    use crate::packet::Frame;

    /// Octets copied at a time.
    const CHUNK: usize = 8;
    /// Longest request.
    const LONGEST: usize = 1024;

    /// What `restore` puts back.
    #[repr(C)]
    struct Request {
        /// Octets of request frame, a multiple of [`CHUNK`] at most [`LONGEST`].
        length: u32,
        /// Octets the reply's frame has: what [`mac_swap`] cuts to, so that both programs pay for
        /// the same shrinking.
        cut: u32,
        frame: [[u8; CHUNK]; LONGEST / CHUNK],
    }

    #[btf_map]
    static REQUEST: Array<Request, 1> = Array::new();
    #[btf_map]
    static TARGET: ProgramArray<1> = ProgramArray::new();
    /// Frames that came back to [`count`].
    #[btf_map]
    static RETURNED: PerCpuArray<u64, 1> = PerCpuArray::new();

    #[xdp]
    #[inline(always)]
    fn restore(ctx: XdpContext) -> u32 {
        let Some(request) = REQUEST.get(0) else { return XDP_ABORTED };
        if !Frame::new(&ctx).resize(&ctx, request.length as usize) {
            return XDP_ABORTED;
        }
        let mut frame = Frame::new(&ctx);
        for (index, chunk) in request.frame.iter().enumerate() {
            if frame.store(index * CHUNK, *chunk).is_none() {
                break;
            }
        }
        // SAFETY: on success the call does not return; on failure nothing has happened.
        let _not_loaded = unsafe { TARGET.tail_call(&ctx, 0) };
        XDP_ABORTED
    }

    /// The yardstick: swaps the addresses and sends the frame back, cut to the reply's length.
    #[xdp]
    #[inline(always)]
    fn mac_swap(ctx: XdpContext) -> u32 {
        if swap(&ctx).is_some() { nothing_but_cut(&ctx) } else { XDP_ABORTED }
    }

    /// The yardstick without cutting.
    #[xdp]
    #[inline(always)]
    fn mac_swap_only(ctx: XdpContext) -> u32 {
        if swap(&ctx).is_some() { XDP_TX } else { XDP_ABORTED }
    }

    /// The cost of restoring and cutting alone.
    #[xdp]
    #[inline(always)]
    fn nothing(ctx: XdpContext) -> u32 {
        nothing_but_cut(&ctx)
    }

    /// The generator of live frames: sends the request out of the interface it is run for.
    ///
    /// The kernel uses the pages of live frames again as they came back. Octets that no reply
    /// overwrites are still there, so only the first `cut` are copied. The frame is to be run with
    /// more octets than the request has: the kernel sends the length that the last receiver left
    /// unless the program changes it.
    #[xdp]
    #[inline(always)]
    fn generate(ctx: XdpContext) -> u32 {
        let Some(request) = REQUEST.get(0) else { return XDP_ABORTED };
        if !Frame::new(&ctx).resize(&ctx, request.length as usize) {
            return XDP_ABORTED;
        }
        let mut frame = Frame::new(&ctx);
        for (index, chunk) in request.frame.iter().enumerate() {
            let at = index * CHUNK;
            if at >= request.cut as usize || frame.store(at, *chunk).is_none() {
                break;
            }
        }
        XDP_TX
    }

    /// Takes the frames that come back, and counts them.
    #[xdp]
    #[inline(always)]
    fn count(_ctx: XdpContext) -> u32 {
        if let Some(counter) = RETURNED.get_ptr_mut(0) {
            // SAFETY: the pointer comes from a map lookup that succeeded; only this CPU uses it.
            unsafe { *counter += 1 };
        }
        XDP_DROP
    }

    #[inline(always)]
    fn nothing_but_cut(ctx: &XdpContext) -> u32 {
        let Some(request) = REQUEST.get(0) else { return XDP_ABORTED };
        if Frame::new(ctx).resize(ctx, request.cut as usize) { XDP_TX } else { XDP_ABORTED }
    }

    #[inline(always)]
    fn swap(ctx: &XdpContext) -> Option<()> {
        swap_addresses(&mut Frame::new(ctx))
    }
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier rejects a program in which this could be reached.
    loop {}
}

/// Licence of the programs.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(target_arch = "bpf"))]
fn main() {}
