//! The XDP program `ikev2_redirect`: glue between a frame in the driver and [`common::decide`]. Behind it,
//! while the gateway on this node is under attack, `ikev2_cookie`: the same for [`common::gate`].
//!
//! # Invariants
//!
//! - Every frame is counted exactly once, by reason.
//! - A frame that is not answered goes to the stack as it came. Dropped is only a request that
//!   would be redirected, while the table says that every gateway is overloaded. With the gate, a
//!   request for an SA goes to the stack only with a good cookie.
//! - The only helper on the way of a redirect is `bpf_xdp_adjust_tail`: map lookups are inlined
//!   by the JIT, and there is no clock, no hash map and no checksum helper.
//!
//! On the host this is a stub, so that the workspace can be checked and tested with the usual
//! tools.

#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]
#![cfg_attr(
    target_arch = "bpf",
    expect(unsafe_code, reason = "program and licence sections are placed by name")
)]

#[cfg(target_arch = "bpf")]
mod cookie;
#[cfg(target_arch = "bpf")]
mod counters;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod packet;
#[cfg(target_arch = "bpf")]
mod program;

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier rejects a program in which this could be reached.
    loop {}
}

/// Helpers that every program may call regardless of their licence, and ours besides.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(target_arch = "bpf"))]
fn main() {}
