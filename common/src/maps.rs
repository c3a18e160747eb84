//! The BPF maps: names, value layouts, and the tables the decision reads.
//!
//! Values are an ABI: `repr(C)`, no hidden padding, big-endian where octets go into packets and
//! native where they are numbers. The daemon refuses pinned maps of another [`ABI_VERSION`].
//!
//! # Swapping the table
//!
//! `LLG` holds two whole tables. [`Control::generation`] says which one is live: the one at index
//! `generation & 1`. The daemon writes the other one with a single map update and then makes it
//! live with a second, so that a packet sees the old table or the new one, never a mixture.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::checksum::Sum;
use crate::cookie::Key;
use crate::ike::{EXCHANGE_IKE_SA_INIT, FLAG_RESPONSE, PAYLOAD_NOTIFY};
use crate::ike::{IDENTITY_FQDN, IDENTITY_IPV4, IDENTITY_IPV6, NOTIFY_REDIRECT, VERSION_2};
use crate::inet::{Address, Family};

/// Version of the layouts below; changes whenever one of them does.
pub const ABI_VERSION: u32 = 1;

/// Name of the table map: two [`LlgTable`].
pub const LLG: &str = "LLG";
/// Name of the map of redirect targets: [`Gateway`] by gateway index.
pub const GATEWAYS: &str = "GATEWAYS";
/// Name of the map of virtual IPs: [`Vip`], the first [`Control::vips`] entries count.
pub const VIPS: &str = "VIPS";
/// Name of the map of client prefixes: [`Prefix`], the first [`Control::clients`] entries count.
pub const CLIENTS: &str = "CLIENTS";
/// Name of the control map: one [`Control`].
pub const CONTROL: &str = "CONTROL";
/// Name of the per-CPU counters: packets by reason number.
pub const COUNTERS: &str = "COUNTERS";
/// Name of the per-CPU counters: redirects by gateway index.
pub const REDIRECTS: &str = "REDIRECTS";

/// Name of the map of the gate: one [`Gate`].
pub const GATE: &str = "GATE";
/// Name of the map of addresses that are gated: [`Vip`], the first [`Control::vips`] entries of
/// [`Gate::control`] count.
pub const GATED: &str = "GATED";
/// Name of the per-CPU counters of the gate: by [`Asked`](crate::gate::Asked).
pub const COOKIES: &str = "COOKIES";
/// Name of the map that leads to the gate's program.
pub const PROGRAMS: &str = "PROGRAMS";

/// Slots in a table. A power of two.
pub const SLOTS: usize = 1024;
/// Most gateways.
pub const MAX_GATEWAYS: usize = 544;
/// Most VIPs.
pub const MAX_VIPS: usize = 16;
/// Most `accept-from` prefixes.
pub const MAX_CLIENTS: usize = 64;
/// Longest name: the identity's length is one octet (`RFC 5685 §9.2`).
pub const MAX_NAME: usize = 255;
/// A slot that leads nowhere: its requests are kept by this node.
pub const NO_GATEWAY: u16 = u16::MAX;
/// A slot whose requests are dropped: every gateway is overloaded, and the operator wants clients
/// to try again later.
pub const REFUSE: u16 = u16::MAX - 1;

/// What the fast path is allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Control {
    /// Not zero: requests are answered.
    pub armed: u32,
    /// Counts table swaps; its lowest bit says which table is live.
    pub generation: u32,
    /// How many entries of `VIPS` count.
    pub vips: u32,
    /// How many entries of `CLIENTS` count; 0 = every client is accepted.
    pub clients: u32,
    /// Odd multiplier of the slot hash, random per daemon start so that nobody outside can aim
    /// at a slot.
    pub multiplier: u64,
    /// Zero. The kernel's verifier does not know that: see [`crate::classify`].
    pub zero: u64,
    /// [`ABI_VERSION`].
    pub abi: u32,
    /// Unused, zero.
    pub reserved: u32,
}

impl Control {
    /// Disarmed and empty. The multiplier is made odd.
    #[must_use]
    pub const fn new(multiplier: u64) -> Self {
        Self {
            armed: 0,
            generation: 0,
            vips: 0,
            clients: 0,
            multiplier: multiplier | 1,
            zero: 0,
            abi: ABI_VERSION,
            reserved: 0,
        }
    }

    /// The zero that the verifier does not know, as an offset.
    #[inline(always)]
    pub(crate) fn zero(&self) -> usize {
        usize::try_from(self.zero).unwrap_or(0)
    }
}

/// What the gate works by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Gate {
    /// [`Control::armed`]: whether cookies are asked for; [`Control::vips`]: how many addresses are
    /// gated. The others are those of a control that has no table.
    pub control: Control,
    /// The key that cookies are made with, and the one before or after it: each has the place that the
    /// lowest bit of its number says.
    pub keys: [Key; 2],
    /// The number of the one that cookies are made with.
    pub current: u64,
}

impl Gate {
    /// Nobody is asked for anything.
    #[must_use]
    pub const fn new() -> Self {
        Self { control: Control::new(0), keys: [Key { halves: [0; 2], number: 0 }; 2], current: 0 }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

/// A whole table: which gateway each slot leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LlgTable {
    /// The [`Control::generation`] this table is live in.
    pub generation: u32,
    /// Number of slots.
    pub slots: u32,
    /// Gateway index by slot, or [`NO_GATEWAY`].
    pub gateway: [u16; SLOTS],
}

/// A virtual IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Vip {
    /// 4 or 6; 0 = unused entry.
    pub family: u32,
    /// The address; an IPv4 address takes the first four octets.
    pub address: [u8; 16],
}

/// A client prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Prefix {
    /// 4 or 6; 0 = unused entry.
    pub family: u32,
    /// Prefix, all host bits zero.
    pub address: [u8; 16],
    /// Netmask.
    pub mask: [u8; 16],
}

/// A redirect target, ready to be copied into a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Gateway {
    /// [`Gateway::HAS_IPV4`], [`Gateway::HAS_IPV6`], [`Gateway::IS_LOCAL`].
    pub flags: u32,
    /// Folded checksum of the reply's fixed part with the IPv4 identity.
    pub ipv4_sum: u32,
    /// Folded checksum of the reply's fixed part with the IPv6 identity.
    pub ipv6_sum: u32,
    /// Folded checksum of the reply's fixed part with the name.
    pub fqdn_sum: u32,
    /// IPv4 address.
    pub ipv4: [u8; 4],
    /// Octets of name, 0 = no name.
    pub fqdn_length: u32,
    /// IPv6 address.
    pub ipv6: [u8; 16],
    /// Eight zero octets, then the name, then zeros. The padding in front lets the name be
    /// copied eight octets at a time from its end, whatever its length.
    pub fqdn: [u8; FQDN_FIELD],
}

/// Octets in front of the name in [`Gateway::fqdn`].
pub const FQDN_PADDING: usize = 8;
/// Size of [`Gateway::fqdn`].
pub const FQDN_FIELD: usize = 264;

/// Which identity a reply carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The gateway's IPv4 address.
    Ipv4,
    /// The gateway's IPv6 address.
    Ipv6,
    /// The gateway's name.
    Fqdn,
}

impl Gateway {
    /// [`Gateway::ipv4`] is set.
    pub const HAS_IPV4: u32 = 1;
    /// [`Gateway::ipv6`] is set.
    pub const HAS_IPV6: u32 = 2;
    /// The gateway is this node: its requests are kept.
    pub const IS_LOCAL: u32 = 4;

    /// An entry that leads nowhere.
    pub const EMPTY: Self = Self {
        flags: 0,
        ipv4_sum: 0,
        ipv6_sum: 0,
        fqdn_sum: 0,
        ipv4: [0; 4],
        fqdn_length: 0,
        ipv6: [0; 16],
        fqdn: [0; FQDN_FIELD],
    };

    /// Prepares a target. A name longer than [`MAX_NAME`] is refused with `None`.
    #[must_use]
    pub fn new(
        ipv4: Option<[u8; 4]>,
        ipv6: Option<[u8; 16]>,
        name: Option<&[u8]>,
        is_local: bool,
    ) -> Option<Self> {
        let mut gateway = Self::EMPTY;
        if is_local {
            gateway.flags |= Self::IS_LOCAL;
        }
        if let Some(address) = ipv4 {
            gateway.flags |= Self::HAS_IPV4;
            gateway.ipv4 = address;
            gateway.ipv4_sum = fixed_sum(IDENTITY_IPV4, 4).add4(address).folded();
        }
        if let Some(address) = ipv6 {
            gateway.flags |= Self::HAS_IPV6;
            gateway.ipv6 = address;
            gateway.ipv6_sum = fixed_sum(IDENTITY_IPV6, 16).add16(address).folded();
        }
        if let Some(name) = name {
            let length = u8::try_from(name.len()).ok().filter(|length| *length > 0)?;
            gateway.fqdn_length = u32::from(length);
            gateway.fqdn.get_mut(FQDN_PADDING..)?.get_mut(..name.len())?.copy_from_slice(name);
            let mut sum = fixed_sum(IDENTITY_FQDN, length);
            for pair in name.chunks(2) {
                let first = pair.first().copied().unwrap_or(0);
                let second = pair.get(1).copied().unwrap_or(0);
                sum = sum.add2([first, second]);
            }
            gateway.fqdn_sum = sum.folded();
        }
        Some(gateway)
    }

    /// Whether this gateway is the node itself.
    #[inline(always)]
    #[must_use]
    pub const fn is_local(&self) -> bool {
        self.flags & Self::IS_LOCAL != 0
    }

    /// The identity for a request of `family`: the address of the same family, so that the
    /// client can surely reach it, otherwise the name.
    #[inline(always)]
    #[must_use]
    pub const fn identity(&self, family: Family) -> Option<Identity> {
        match family {
            Family::V4 if self.flags & Self::HAS_IPV4 != 0 => Some(Identity::Ipv4),
            Family::V6 if self.flags & Self::HAS_IPV6 != 0 => Some(Identity::Ipv6),
            Family::V4 | Family::V6 if self.fqdn_length != 0 => Some(Identity::Fqdn),
            Family::V4 | Family::V6 => None,
        }
    }
}

/// Checksum of what is the same in every reply: the constants of the IKE, notify and identity
/// headers, without SPIs and lengths.
fn fixed_sum(kind: u8, length: u8) -> Sum {
    Sum::ZERO
        .add4([PAYLOAD_NOTIFY, VERSION_2, EXCHANGE_IKE_SA_INIT, FLAG_RESPONSE])
        .add_be16(NOTIFY_REDIRECT)
        .add2([kind, length])
}

impl Vip {
    /// An unused entry.
    pub const EMPTY: Self = Self { family: 0, address: [0; 16] };

    /// The entry for an address.
    #[must_use]
    pub fn new(address: Address) -> Self {
        let (family, address) = widen(address);
        Self { family, address }
    }
}

impl Prefix {
    /// An unused entry.
    pub const EMPTY: Self = Self { family: 0, address: [0; 16], mask: [0; 16] };

    /// The entry for `address/length`; host bits are cleared. `None` when the length does not
    /// fit the family.
    #[must_use]
    pub fn new(address: Address, length: u8) -> Option<Self> {
        let (family, mut octets) = widen(address);
        let bits = if family == 4 { 32 } else { 128 };
        if u32::from(length) > bits {
            return None;
        }
        let mask = if length == 0 { 0 } else { u128::MAX << (128 - u32::from(length)) }.to_be_bytes();
        for (octet, mask) in octets.iter_mut().zip(mask) {
            *octet &= mask;
        }
        Some(Self { family, address: octets, mask })
    }
}

fn widen(address: Address) -> (u32, [u8; 16]) {
    match address {
        Address::V4([a, b, c, d]) => (4, [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        Address::V6(address) => (6, address),
    }
}

/// Read access to the maps.
pub trait Tables {
    /// The control word, `None` only when the map is broken.
    fn control(&self) -> Option<&Control>;
    /// VIP by index.
    fn vip(&self, index: u32) -> Option<&Vip>;
    /// Client prefix by index.
    fn client(&self, index: u32) -> Option<&Prefix>;
    /// Table by generation.
    fn llg(&self, generation: u32) -> Option<&LlgTable>;
    /// Gateway by index.
    fn gateway(&self, index: u32) -> Option<&Gateway>;
}

/// The slot of a request: a multiplicative hash of the initiator's SPI, so that retransmissions
/// meet the same gateway without any state.
#[inline(always)]
#[must_use]
pub const fn slot(spi_i: u64, multiplier: u64) -> usize {
    let hash = spi_i.wrapping_mul(multiplier);
    #[expect(clippy::cast_possible_truncation, reason = "the shift leaves log2(SLOTS) bits")]
    let slot = (hash >> (64 - SLOTS.trailing_zeros())) as usize;
    slot & (SLOTS - 1)
}

const _: () = {
    assert!(SLOTS.is_power_of_two());
    assert!(MAX_GATEWAYS <= NO_GATEWAY as usize);
    assert!(size_of::<Control>() == 40 && align_of::<Control>() == 8);
    assert!(size_of::<Gate>() == 40 + 2 * 24 + 8 && align_of::<Gate>() == 8);
    assert!(size_of::<LlgTable>() == 8 + 2 * SLOTS && align_of::<LlgTable>() == 4);
    assert!(size_of::<Vip>() == 20 && align_of::<Vip>() == 4);
    assert!(size_of::<Prefix>() == 36 && align_of::<Prefix>() == 4);
    assert!(size_of::<Gateway>() == 40 + FQDN_FIELD && align_of::<Gateway>() == 4);
    // A chunk read that starts at the longest name's end stays inside the field.
    assert!(FQDN_FIELD > FQDN_PADDING + MAX_NAME);
};

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn a_name_that_one_octet_cannot_count_is_refused() {
        assert!(Gateway::new(None, None, Some(&[b'a'; 255]), false).is_some());
        assert!(Gateway::new(None, None, Some(&[b'a'; 256]), false).is_none());
        assert!(Gateway::new(None, None, Some(&[]), false).is_none());
    }

    #[test]
    fn the_identity_follows_the_family_of_the_request() {
        let both = Gateway::new(Some([192, 0, 2, 1]), Some([1; 16]), Some(b"gw"), false).unwrap();
        let named = Gateway::new(Some([192, 0, 2, 1]), None, Some(b"gw"), false).unwrap();
        let v4 = Gateway::new(Some([192, 0, 2, 1]), None, None, false).unwrap();

        assert_eq!(both.identity(Family::V4), Some(Identity::Ipv4));
        assert_eq!(both.identity(Family::V6), Some(Identity::Ipv6));
        assert_eq!(named.identity(Family::V6), Some(Identity::Fqdn));
        assert_eq!(v4.identity(Family::V6), None);
    }

    #[test]
    fn a_prefix_clears_its_host_bits() {
        let prefix = Prefix::new(Address::V4([10, 1, 2, 3]), 9).unwrap();

        assert_eq!(prefix.address[..4], [10, 0, 0, 0]);
        assert_eq!(prefix.mask[..5], [0xff, 0x80, 0, 0, 0]);
        assert!(Prefix::new(Address::V4([10, 1, 2, 3]), 33).is_none());
    }

    #[test]
    fn the_slot_hash_spreads_sequential_spis() {
        let mut hits = std::vec![0_u32; SLOTS];
        for spi in 1..=64_000_u64 {
            hits[slot(spi.swap_bytes(), 0x9e37_79b9_7f4a_7c15)] += 1;
        }

        let most = hits.iter().max().copied().unwrap();
        assert!(most < 63 * 2, "a slot got {most} of 64000, fair share 62.5");
    }
}
