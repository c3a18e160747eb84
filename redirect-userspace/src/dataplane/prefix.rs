//! Networks as routes and tables know them: a prefix, and its length.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ike::wire::{AddressRange, TrafficSelector};
use crate::net::tun::Prefix;

/// The prefix that a selector's addresses are, if they are one.
pub(super) fn prefix(selector: &TrafficSelector) -> Option<Prefix> {
    let TrafficSelector::Ip { addresses, .. } = selector else { return None };
    let (first, last, bits, network): (u128, u128, u8, IpAddr) = match addresses {
        AddressRange::V4(span) => {
            let number = |address: Ipv4Addr| u128::from(address.to_bits());
            (number(span.first()), number(span.last()), 32, span.first().into())
        }
        AddressRange::V6(span) => (span.first().to_bits(), span.last().to_bits(), 128, span.first().into()),
    };
    let host = u8::try_from(u128::BITS - (first ^ last).leading_zeros()).ok()?;
    let mask = 1_u128.checked_shl(u32::from(host)).map_or(u128::MAX, |end| end - 1);
    let is_prefix = first ^ last == mask && first & mask == 0;
    is_prefix.then(|| Prefix { network, length: bits.saturating_sub(host) })
}

/// An address with all but its first bits zero.
pub(super) fn masked(address: IpAddr, length: u16) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length.into())).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length.into())).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}
