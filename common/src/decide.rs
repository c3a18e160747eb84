//! From a frame to its verdict: classify, choose the gateway, write the reply.

use crate::classify::classify;
use crate::maps::{NO_GATEWAY, REFUSE, SLOTS, Tables, slot};
use crate::packet::PacketWrite;
use crate::reason::Reason;
use crate::reply::reply;

/// What is to be done with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The frame was not touched and goes on to the stack.
    Pass(Reason),
    /// The frame was not touched and goes nowhere.
    Drop(Reason),
    /// The frame now holds the reply in its first `length` octets; send it back.
    Redirect {
        /// Index of the gateway the client is sent to.
        gateway: u32,
        /// Octets of the reply's frame.
        length: usize,
    },
}

impl Verdict {
    /// The counter to increment.
    #[inline(always)]
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Pass(reason) | Self::Drop(reason) => reason,
            Self::Redirect { .. } => Reason::Redirected,
        }
    }
}

/// Decides about one frame, and writes the reply if there is one.
#[inline(always)]
pub fn decide<P, T>(packet: &mut P, tables: &T) -> Verdict
where
    P: PacketWrite + ?Sized,
    T: Tables,
{
    match redirect(packet, tables) {
        Ok((gateway, length)) => Verdict::Redirect { gateway, length },
        Err(Reason::Refused) => Verdict::Drop(Reason::Refused),
        Err(reason) => Verdict::Pass(reason),
    }
}

#[inline(always)]
fn redirect<P, T>(packet: &mut P, tables: &T) -> Result<(u32, usize), Reason>
where
    P: PacketWrite + ?Sized,
    T: Tables,
{
    let (request, control) = classify(packet, tables)?;
    let table = tables.llg(control.generation).ok_or_else(|| P::refuse(Reason::NoGateway))?;
    let slot = slot(request.spi_i, control.multiplier) & (SLOTS - 1);
    let index = table.gateway.get(slot).copied().unwrap_or(NO_GATEWAY);
    if index >= REFUSE {
        return Err(P::refuse(if index == REFUSE { Reason::Refused } else { Reason::NoGateway }));
    }
    let gateway = tables.gateway(u32::from(index)).ok_or_else(|| P::refuse(Reason::NoGateway))?;
    if gateway.is_local() {
        return Err(P::refuse(Reason::LocalIsLlg));
    }
    let length = reply(packet, &request, gateway)?;
    Ok((u32::from(index), length))
}
