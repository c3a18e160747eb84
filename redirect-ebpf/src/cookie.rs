//! The program `ikev2_cookie`: the gate's verdict to an action.
//!
//! It runs only by a tail call of [`crate::program`], on frames that that one leaves alone, so that a
//! redirect does not pay for it.

#![expect(unsafe_code, reason = "a tail call goes wherever the map says")]

use aya_ebpf::bindings::xdp_action::{XDP_PASS, XDP_TX};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use common::gate::{Asked, Verdict, gate};

use crate::counters;
use crate::maps::{Gates, PROGRAMS};
use crate::packet::Frame;

/// Goes on with the gate's program. Comes back only where there is none.
#[inline(always)]
pub(crate) fn run(ctx: &XdpContext) {
    // SAFETY: the kernel takes only a program of the same kind into the map, and a call that fails
    // comes back and has changed nothing.
    unsafe { PROGRAMS.tail_call(ctx, 0) };
}

/// Asks for cookies.
#[xdp]
#[inline(always)]
fn ikev2_cookie(ctx: XdpContext) -> u32 {
    let mut frame = Frame::new(&ctx);
    match gate(&mut frame, &Gates) {
        Verdict::Pass => XDP_PASS,
        Verdict::Good => {
            counters::cookie(Asked::Good);
            XDP_PASS
        }
        // A driver that does not cut frames leaves octets behind the reply: nobody would take that for
        // one, and the gateway not for a request.
        Verdict::Ask { length } => {
            if frame.resize(&ctx, length) {
                counters::cookie(Asked::Cookie);
                XDP_TX
            } else {
                XDP_PASS
            }
        }
    }
}
