//! Who has which address: the pools, behind a seam that lets several endpoints share them.
//!
//! # Invariants
//!
//! - A lease is returned once: what is returned a second time, or was taken over by the same
//!   client's next SA meanwhile, changes nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::config::Name;
use super::pool::Pool;

/// An address that a client has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The pool.
    pub pool: Name,
    /// The address.
    pub address: IpAddr,
    /// Which of the leases of this address it is.
    number: u64,
}

impl Lease {
    /// Which of the leases of this address it is: no two have the same, as long as the daemon runs.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }
}

/// The address that a client had in the session that it goes on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Former {
    /// The address.
    pub address: IpAddr,
    /// The number of its lease, if that was made here: while the old SA has it, it is taken over.
    pub lease: Option<u64>,
}

/// Who hands out addresses. The endpoint asks while it answers, so an answer must be there at once.
pub trait Leases: Send {
    /// An address of a pool for a client: the one it had, else the one it wants, else another one.
    /// With `takes_over` it also gets the one that an earlier SA of its still has, whose lease is
    /// void then. `None` when there is none, or no such pool, or the pool is of the other family.
    fn lease(&mut self, request: &LeaseRequest<'_>) -> Option<Lease>;

    /// The address that a server has granted to a client, whatever pools there are, if nobody else has
    /// it: its own earlier SAs give it up.
    fn claim(&mut self, holder: &[u8], address: IpAddr) -> Option<Lease>;

    /// A client does not need its address any more.
    fn release(&mut self, lease: Lease);
}

/// Which address is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRequest<'a> {
    /// From which pool.
    pub pool: &'a Name,
    /// For whom.
    pub holder: &'a [u8],
    /// Of which family.
    pub is_ipv6: bool,
    /// The one that the client asks for.
    pub wanted: Option<IpAddr>,
    /// Whether it may have the address that an earlier SA of its still has.
    pub takes_over: bool,
    /// The one that it had in the session that it goes on with: before all others, if nobody else has
    /// it.
    pub former: Option<Former>,
}

/// Pools by their names.
#[derive(Debug, Default)]
pub struct Pools {
    pools: BTreeMap<Name, Pool>,
    numbers: BTreeMap<(Name, IpAddr), u64>,
    /// Addresses of no pool that servers have granted: to whom, and the number of the lease.
    granted: BTreeMap<IpAddr, (Box<[u8]>, u64)>,
    next: u64,
}

impl Pools {
    /// No pools.
    #[must_use]
    pub const fn new() -> Self {
        Self { pools: BTreeMap::new(), numbers: BTreeMap::new(), granted: BTreeMap::new(), next: 0 }
    }

    /// Adds a pool, or leaves the one of this name as it is.
    pub fn add(&mut self, name: Name, pool: Pool) {
        self.pools.entry(name).or_insert(pool);
    }

    /// Keeps only pools that `is_wanted`.
    pub fn retain(&mut self, mut is_wanted: impl FnMut(&Name) -> bool) {
        self.pools.retain(|name, _| is_wanted(name));
        self.numbers.retain(|(name, _), _| self.pools.contains_key(name));
    }

    /// How many addresses clients have.
    #[must_use]
    pub fn held(&self) -> usize {
        self.granted.len() + self.pools.values().map(Pool::held).sum::<usize>()
    }

    /// The pools.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Pool)> {
        self.pools.iter()
    }
}

impl Leases for Pools {
    fn lease(&mut self, request: &LeaseRequest<'_>) -> Option<Lease> {
        let pool = self.pools.get_mut(request.pool)?;
        if pool.is_ipv6() != request.is_ipv6 {
            return None;
        }
        if request.takes_over
            && let Some(held) = pool.held_by(request.holder)
        {
            pool.release(held);
        }
        if let Some(Former { address, lease: Some(number) }) = request.former
            && self.numbers.get(&(request.pool.clone(), address)) == Some(&number)
            && pool.holder(address) == Some(request.holder)
        {
            pool.release(address);
        }
        let former = request.former.and_then(|former| pool.lease_this(request.holder, former.address));
        let address = former.or_else(|| pool.lease(request.holder, request.wanted))?;
        self.next = self.next.saturating_add(1);
        self.numbers.insert((request.pool.clone(), address), self.next);
        Some(Lease { pool: request.pool.clone(), address, number: self.next })
    }

    fn claim(&mut self, holder: &[u8], address: IpAddr) -> Option<Lease> {
        self.next = self.next.saturating_add(1);
        let number = self.next;
        if let Some((name, pool)) = self.pools.iter_mut().find(|(_, pool)| pool.contains(address)) {
            if pool.holder(address) == Some(holder) {
                pool.release(address);
            }
            pool.lease_this(holder, address)?;
            let pool = name.clone();
            self.numbers.insert((pool.clone(), address), number);
            return Some(Lease { pool, address, number });
        }
        if self.granted.get(&address).is_some_and(|(held, _)| **held != *holder) {
            return None;
        }
        let pool = Name::new(GRANTED)?;
        self.granted.insert(address, (holder.into(), number));
        Some(Lease { pool, address, number })
    }

    fn release(&mut self, lease: Lease) {
        if self.granted.get(&lease.address).is_some_and(|(_, number)| *number == lease.number) {
            self.granted.remove(&lease.address);
            return;
        }
        let key = (lease.pool, lease.address);
        if self.numbers.get(&key) == Some(&lease.number) {
            self.numbers.remove(&key);
            if let Some(pool) = self.pools.get_mut(&key.0) {
                pool.release(key.1);
            }
        }
    }
}

/// What the pool of granted addresses that are in no pool is called.
const GRANTED: &str = "granted";

#[cfg(test)]
mod tests {
    use super::*;

    fn pools() -> (Pools, Name) {
        let name = Name::new("ra4").unwrap();
        let mut pools = Pools::new();
        pools.add(name.clone(), Pool::new("10.99.0.0".parse().unwrap(), 29).unwrap());
        (pools, name)
    }

    fn request<'a>(pool: &'a Name, holder: &'a [u8], takes_over: bool) -> LeaseRequest<'a> {
        LeaseRequest { pool, holder, is_ipv6: false, wanted: None, takes_over, former: None }
    }

    #[test]
    fn a_client_takes_its_own_address_over_and_the_old_sa_cannot_return_it() {
        let (mut pools, name) = pools();
        let old = pools.lease(&request(&name, b"alice", false)).unwrap();

        let new = pools.lease(&request(&name, b"alice", true)).unwrap();
        pools.release(old.clone());

        assert_eq!(new.address, old.address);
        assert_eq!(pools.pools.get(&name).unwrap().held(), 1);
        pools.release(new);
        assert_eq!(pools.pools.get(&name).unwrap().held(), 0);
    }

    #[test]
    fn who_goes_on_with_a_session_has_its_address_unless_somebody_else_has() {
        let (mut pools, name) = pools();
        let resumes = |address, lease| LeaseRequest {
            former: Some(Former { address, lease }),
            ..request(&name, b"alice", false)
        };
        let old = pools.lease(&request(&name, b"alice", false)).unwrap();
        let other = pools.lease(&request(&name, b"bob", false)).unwrap();

        let new = pools.lease(&resumes(old.address, Some(old.number()))).unwrap();
        assert_eq!(new.address, old.address);
        pools.release(old.clone());
        assert_eq!(pools.pools.get(&name).unwrap().holder(new.address), Some(&b"alice"[..]));

        // A second device of hers has it by now, or bob has: another one will do.
        for (address, lease) in
            [(old.address, Some(old.number())), (old.address, None), (other.address, Some(other.number()))]
        {
            let another = pools.lease(&resumes(address, lease)).unwrap();
            assert!(another.address != old.address && another.address != other.address);
            pools.release(another);
        }

        // Somewhere else it was free all the time.
        let free: IpAddr = [10, 99, 0, 6].into();
        assert_eq!(pools.lease(&resumes(free, None)).unwrap().address, free);
    }

    #[test]
    fn a_granted_address_is_its_holders_in_a_pool_or_without_one() {
        for address in ["10.99.0.3", "172.16.0.3", "fd00::3"] {
            let address: IpAddr = address.parse().unwrap();
            let (mut pools, name) = pools();

            let old = pools.claim(b"alice", address).unwrap();
            assert_eq!((old.address, pools.held()), (address, 1));
            assert_eq!(pools.claim(b"bob", address), None);
            let new = pools.claim(b"alice", address).unwrap();
            pools.release(old);
            assert_eq!((pools.held(), pools.claim(b"bob", address)), (1, None), "{address}");
            for _ in 0..4 {
                let other = pools.lease(&request(&name, b"carol", false));
                assert!(other.is_none_or(|other| other.address != address));
            }
            pools.release(new);
            assert!(pools.claim(b"bob", address).is_some(), "{address}");
        }
    }

    #[test]
    fn a_pool_gives_addresses_of_its_family_only() {
        let (mut pools, name) = pools();
        let other = Name::new("none").unwrap();

        let wrong = LeaseRequest { is_ipv6: true, ..request(&name, b"a", false) };
        assert_eq!(pools.lease(&wrong), None);
        assert_eq!(pools.lease(&request(&other, b"a", false)), None);
    }

    #[test]
    fn what_is_returned_twice_stays_with_its_new_holder() {
        let (mut pools, name) = pools();
        let first = pools.lease(&request(&name, b"alice", false)).unwrap();
        pools.release(first.clone());
        let second = pools.lease(&request(&name, b"alice", false)).unwrap();

        pools.release(first);

        assert_eq!(pools.pools.get(&name).unwrap().holder(second.address), Some(&b"alice"[..]));
    }
}
