//! Verdict to action.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::warn;
use common::decide::{Verdict, decide};
use common::reason::Reason;

use crate::cookie;
use crate::counters;
use crate::maps::{Maps, is_gated};
use crate::packet::Frame;

/// Answers IKE_SA_INIT requests to the VIP, passes everything else; drops only what the table says
/// is to try again later.
#[xdp]
#[inline(always)]
fn ikev2_redirect(ctx: XdpContext) -> u32 {
    let mut frame = Frame::new(&ctx);
    let verdict = decide(&mut frame, &Maps);
    match verdict {
        Verdict::Redirect { gateway, length } if frame.resize(&ctx, length) => {
            counters::redirect(gateway);
            counters::packet(Reason::Redirected);
            XDP_TX
        }
        Verdict::Redirect { gateway, length } => {
            // The kernel refused to shorten the frame, which then holds a reply with trailing
            // octets: nobody will accept it. Not seen on any driver; worth a line when it is.
            warn!(&ctx, "frame not cut to {} octets for gateway {}", length, gateway);
            counters::packet(Reason::RewriteFailed);
            XDP_PASS
        }
        Verdict::Pass(reason) => {
            counters::packet(reason);
            if may_want_sa(reason) && is_gated() {
                cookie::run(&ctx);
            }
            XDP_PASS
        }
        Verdict::Drop(reason) => {
            counters::packet(reason);
            XDP_DROP
        }
    }
}

/// Whether a frame that is left alone for this reason may be a request to the gateway on this node.
#[inline(always)]
const fn may_want_sa(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NotVip
            | Reason::Disarmed
            | Reason::NoRedirectSupport
            | Reason::RedirectLoop
            | Reason::ClientNotAccepted
            | Reason::Cookie
            | Reason::NoGateway
            | Reason::LocalIsLlg
            | Reason::NoIdentity
            | Reason::ReplyNotShorter
    )
}
