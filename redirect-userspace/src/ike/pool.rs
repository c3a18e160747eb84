//! Addresses that clients are given: pools of IPv4 and IPv6 addresses.
//!
//! # Invariants
//!
//! - No address has two holders at a time.
//! - A client that comes back gets the address it had, unless somebody else needed it since.
//! - Of the free addresses the one is given that was returned longest ago, after those that nobody
//!   has had: whoever comes back finds its address as long as possible.
//! - What is remembered about clients that have left is bounded by the size of the pool and by
//!   [`MAX_REMEMBERED`].
//!
//! # References
//!
//! `RFC 7296 §2.19`, `§3.15`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most clients that are remembered after they have left.
pub const MAX_REMEMBERED: usize = 65_536;

/// A client, as it has authenticated itself: two with the same octets are the same one.
pub type Holder = Box<[u8]>;

/// The addresses of one subnet.
#[derive(Debug)]
pub struct Pool {
    base: u128,
    is_ipv6: bool,
    /// How many addresses it has. Offsets are below.
    size: u64,
    /// Offsets below have been given to somebody once.
    fresh: u64,
    /// Who has an address now.
    held: BTreeMap<u64, Holder>,
    /// Who had which address last, held or not.
    remembered: BTreeMap<Holder, u64>,
    /// Who had an address that is free now.
    former: BTreeMap<u64, Holder>,
    /// Free addresses that somebody has had, in the order in which they were returned.
    returned: BTreeSet<(u64, u64)>,
    /// When each of them was returned.
    returned_at: BTreeMap<u64, u64>,
    clock: u64,
}

impl Pool {
    /// The addresses of `network`/`length`, without the network's own and without IPv4's
    /// broadcast address. Of a subnet with one or two addresses all are given.
    ///
    /// # Errors
    ///
    /// The length is longer than an address, or bits of the host are set.
    pub fn new(network: IpAddr, length: u8) -> Result<Self, PoolError> {
        let (base, bits) = number(network);
        let host_bits = bits.checked_sub(u32::from(length)).ok_or(PoolError::Length)?;
        // No pool needs more addresses than a /64 half has.
        let hosts = 1_u128.checked_shl(host_bits).unwrap_or(0);
        if hosts > 0 && base & (hosts - 1) != 0 || hosts == 0 && base != 0 {
            return Err(PoolError::HostBits);
        }
        let (first, size) = match (network.is_ipv4(), host_bits) {
            (_, 0 | 1) => (base, hosts),
            (true, _) => (base + 1, hosts - 2),
            (false, 64..) => (base + 1, u128::from(u64::MAX)),
            (false, _) => (base + 1, hosts - 1),
        };
        Ok(Self {
            base: first,
            is_ipv6: network.is_ipv6(),
            size: u64::try_from(size).unwrap_or(u64::MAX),
            fresh: 0,
            held: BTreeMap::new(),
            remembered: BTreeMap::new(),
            former: BTreeMap::new(),
            returned: BTreeSet::new(),
            returned_at: BTreeMap::new(),
            clock: 0,
        })
    }

    /// Addresses in use.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Addresses that the pool has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Who has an address.
    #[must_use]
    pub fn holder(&self, address: IpAddr) -> Option<&[u8]> {
        self.held.get(&self.offset(address)?).map(AsRef::as_ref)
    }

    /// Whether its addresses are IPv6 addresses.
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        self.is_ipv6
    }

    /// Whether it is a pool of the same addresses.
    #[must_use]
    pub const fn has_same_addresses(&self, other: &Self) -> bool {
        self.base == other.base && self.size == other.size && self.is_ipv6 == other.is_ipv6
    }

    /// The address that `holder` was given last, while it still has it.
    #[must_use]
    pub fn held_by(&self, holder: &[u8]) -> Option<IpAddr> {
        let offset = *self.remembered.get(holder)?;
        let is_held = self.held.get(&offset).is_some_and(|held| **held == *holder);
        is_held.then(|| self.address(offset))
    }

    /// Gives `holder` an address: the one it had, else the one it asks for, else another one.
    /// `None` when all are in use. A holder may have several.
    pub fn lease(&mut self, holder: &[u8], wanted: Option<IpAddr>) -> Option<IpAddr> {
        let had = self.remembered.get(holder).copied();
        let asked = wanted.and_then(|address| self.offset(address));
        let is_free = |offset: &u64| !self.held.contains_key(offset);
        let offset = had.filter(is_free).or_else(|| asked.filter(is_free)).or_else(|| self.any_free())?;
        self.take(offset, holder);
        Some(self.address(offset))
    }

    /// Gives `holder` this address, if nobody has it.
    pub fn lease_this(&mut self, holder: &[u8], address: IpAddr) -> Option<IpAddr> {
        let offset = self.offset(address).filter(|offset| !self.held.contains_key(offset))?;
        self.take(offset, holder);
        Some(address)
    }

    /// Takes an address back from whoever has it.
    pub fn release(&mut self, address: IpAddr) {
        let Some(offset) = self.offset(address) else { return };
        let Some(holder) = self.held.remove(&offset) else { return };
        self.clock = self.clock.saturating_add(1);
        self.returned.insert((self.clock, offset));
        self.returned_at.insert(offset, self.clock);
        self.former.insert(offset, holder);
        while self.former.len() > MAX_REMEMBERED {
            // The one that was returned longest ago is the first one.
            let oldest = self.returned.iter().find(|(_, offset)| self.former.contains_key(offset));
            let Some((_, oldest)) = oldest.copied() else { break };
            self.forget(oldest);
        }
    }

    fn any_free(&mut self) -> Option<u64> {
        while self.fresh < self.size {
            let offset = self.fresh;
            self.fresh += 1;
            // Somebody may have asked for it before its turn came.
            if !self.held.contains_key(&offset) && !self.returned_at.contains_key(&offset) {
                return Some(offset);
            }
        }
        self.returned.first().map(|(_, offset)| *offset)
    }

    fn take(&mut self, offset: u64, holder: &[u8]) {
        self.forget(offset);
        if let Some(at) = self.returned_at.remove(&offset) {
            self.returned.remove(&(at, offset));
        }
        self.held.insert(offset, holder.into());
        self.remembered.insert(holder.into(), offset);
    }

    /// Whoever had a free address last will get another one.
    fn forget(&mut self, offset: u64) {
        if let Some(holder) = self.former.remove(&offset)
            && self.remembered.get(&holder) == Some(&offset)
        {
            self.remembered.remove(&holder);
        }
    }

    /// Whether an address is one of those that it gives.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.offset(address).is_some()
    }

    fn offset(&self, address: IpAddr) -> Option<u64> {
        if address.is_ipv6() != self.is_ipv6 {
            return None;
        }
        let offset = u64::try_from(number(address).0.checked_sub(self.base)?).ok()?;
        (offset < self.size).then_some(offset)
    }

    fn address(&self, offset: u64) -> IpAddr {
        let number = self.base.saturating_add(u128::from(offset));
        if self.is_ipv6 {
            return Ipv6Addr::from(number).into();
        }
        Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into()
    }
}

/// An address as a number, and the bits of its family.
fn number(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u32::from(address).into(), 32),
        IpAddr::V6(address) => (address.into(), 128),
    }
}

/// Not a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Bits beyond the prefix are set.
    #[error("bits beyond the prefix length are set")]
    HostBits,
    /// The prefix is longer than an address.
    #[error("the prefix is longer than an address")]
    Length,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pool(network: &str, length: u8) -> Pool {
        Pool::new(network.parse().unwrap(), length).unwrap()
    }

    fn lease(pool: &mut Pool, holder: &str) -> Option<String> {
        pool.lease(holder.as_bytes(), None).map(|address| address.to_string())
    }

    #[test]
    fn the_network_and_broadcast_addresses_are_nobodys() {
        let mut pool = pool("10.99.0.0", 30);

        assert_eq!(lease(&mut pool, "a").as_deref(), Some("10.99.0.1"));
        assert_eq!(lease(&mut pool, "b").as_deref(), Some("10.99.0.2"));
        assert_eq!(lease(&mut pool, "c"), None);
        assert_eq!((pool.held(), pool.size()), (2, 2));
    }

    #[test]
    fn small_and_huge_subnets_are_pools_too() {
        assert_eq!(lease(&mut pool("10.0.0.7", 32), "a").as_deref(), Some("10.0.0.7"));
        assert_eq!(pool("10.0.0.6", 31).size(), 2);
        assert_eq!(lease(&mut pool("fd00::", 8), "a").as_deref(), Some("fd00::1"));
        assert_eq!(pool("::", 0).size(), u64::MAX);
        assert_eq!(pool("0.0.0.0", 0).size(), u64::from(u32::MAX) - 1);
        assert_eq!(Pool::new("10.0.0.1".parse().unwrap(), 24).unwrap_err(), PoolError::HostBits);
        assert_eq!(Pool::new("::1".parse().unwrap(), 0).unwrap_err(), PoolError::HostBits);
        assert_eq!(Pool::new("10.0.0.0".parse().unwrap(), 33).unwrap_err(), PoolError::Length);
    }

    #[test]
    fn a_client_that_comes_back_gets_its_address() {
        let mut pool = pool("10.99.0.0", 24);
        let address = pool.lease(b"alice", None).unwrap();
        pool.release(address);
        for other in ["b", "c", "d"] {
            assert_ne!(lease(&mut pool, other), Some(address.to_string()));
        }

        assert_eq!(pool.lease(b"alice", None), Some(address));
        assert_eq!(pool.holder(address), Some(&b"alice"[..]));
    }

    #[test]
    fn the_address_that_was_free_longest_is_given_when_no_other_is_left() {
        let mut pool = pool("10.99.0.0", 30);
        let [a, b] = ["a", "b"].map(|holder| pool.lease(holder.as_bytes(), None).unwrap());
        pool.release(b);
        pool.release(a);

        assert_eq!(pool.lease(b"c", None), Some(b));
        assert_eq!(pool.lease(b"b", None), Some(a), "its own is taken");
        assert_eq!(pool.lease(b"a", None), None);
    }

    #[test]
    fn a_client_that_still_has_its_address_gets_a_second_one() {
        let mut pool = pool("10.99.0.0", 24);
        let first = pool.lease(b"alice", None).unwrap();

        assert_ne!(pool.lease(b"alice", None), Some(first));
    }

    #[test]
    fn what_a_client_asks_for_is_given_if_it_is_free_and_in_the_pool() {
        let mut pool = pool("10.99.0.0", 24);
        let wanted = "10.99.0.1".parse().unwrap();

        assert_eq!(pool.lease(b"a", Some(wanted)), Some(wanted));
        assert_ne!(pool.lease(b"b", Some(wanted)), Some(wanted));
        for outside in ["10.99.1.1", "10.99.0.0", "10.99.0.255", "fd00::1"] {
            let outside = outside.parse().unwrap();
            assert_ne!(pool.lease(b"c", Some(outside)), Some(outside));
        }
    }

    #[test]
    fn what_is_returned_twice_or_was_never_given_changes_nothing() {
        let mut pool = pool("10.99.0.0", 24);
        let address = pool.lease(b"a", None).unwrap();
        pool.release(address);
        pool.release(address);
        pool.release("10.99.0.77".parse().unwrap());

        assert_eq!(pool.held(), 0);
        assert_eq!(pool.lease(b"a", None), Some(address));
    }

    proptest! {
        #[test]
        fn no_address_ever_has_two_holders(
            steps in proptest::collection::vec((0..12_u8, prop::option::of(0..8_u8), prop::bool::ANY), 1..200),
        ) {
            let mut pool = pool("10.99.0.0", 29);
            let mut held: Vec<(IpAddr, u8)> = Vec::new();
            for (holder, wanted, is_lease) in steps {
                if is_lease {
                    let wanted = wanted.map(|host| Ipv4Addr::new(10, 99, 0, host).into());
                    match pool.lease(&[holder], wanted) {
                        Some(address) => {
                            prop_assert!(held.iter().all(|(taken, _)| *taken != address));
                            held.push((address, holder));
                        }
                        None => prop_assert_eq!(held.len(), 6),
                    }
                } else if !held.is_empty() {
                    let (address, _) = held.remove(usize::from(holder) % held.len());
                    pool.release(address);
                }
                prop_assert_eq!(pool.held(), held.len());
                for (address, holder) in &held {
                    prop_assert_eq!(pool.holder(*address), Some(&[*holder][..]));
                }
            }
        }
    }
}
