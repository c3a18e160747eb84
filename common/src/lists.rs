//! Look-ups in the short lists of the maps: VIPs and client prefixes.

use crate::maps::{Control, MAX_CLIENTS, MAX_VIPS, Tables};
use crate::packet::PacketRead;
use crate::reason::Reason;

/// Whether an IPv4 address is a VIP.
#[inline(always)]
pub(crate) fn is_vip4<P, T>(tables: &T, control: &Control, address: [u8; 4]) -> bool
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    any::<P>(control.vips, MAX_VIPS, |index| {
        let vip = tables.vip(index)?;
        let [a, b, c, d, ..] = vip.address;
        Some(vip.family == 4 && [a, b, c, d] == address)
    })
}

/// Whether an IPv6 address is a VIP.
#[inline(always)]
pub(crate) fn is_vip6<P, T>(tables: &T, control: &Control, address: [u8; 16]) -> bool
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    any::<P>(control.vips, MAX_VIPS, |index| {
        let vip = tables.vip(index)?;
        Some(vip.family == 6 && vip.address == address)
    })
}

/// Whether a client is within the prefixes that may be answered.
///
/// # Errors
///
/// [`Reason::ClientNotAccepted`].
#[inline(always)]
pub(crate) fn accept<P, T>(tables: &T, control: &Control, family: u32, source: [u8; 16]) -> Result<(), Reason>
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    let source = u128::from_ne_bytes(source);
    let is_accepted = any::<P>(control.clients, MAX_CLIENTS, |index| {
        let prefix = tables.client(index)?;
        let masked = source & u128::from_ne_bytes(prefix.mask);
        Some(prefix.family == family && masked == u128::from_ne_bytes(prefix.address))
    });
    if is_accepted { Ok(()) } else { Err(P::refuse(Reason::ClientNotAccepted)) }
}

/// Whether one of the first `count` entries, of at most `most`, is the one. Ends at `None`.
#[inline(always)]
fn any<P>(count: u32, most: usize, is_it: impl Fn(u32) -> Option<bool>) -> bool
where
    P: PacketRead + ?Sized,
{
    let mut index = 0_usize;
    while index < most {
        #[expect(clippy::cast_possible_truncation, reason = "below `most`, the size of a map")]
        let number = index as u32;
        if number >= count {
            return false;
        }
        match is_it(number) {
            Some(true) => return true,
            Some(false) => {}
            None => return false,
        }
        // Nearly always the first entry is the one: this is not worth unrolling, and the compiler
        // does not see how often it will turn.
        index = P::octet(index + 1);
    }
    false
}
