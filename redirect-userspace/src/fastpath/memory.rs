//! The fast path's tables in the daemon's own memory.
//!
//! Where XDP cannot attach, the decision is made by a thread of the daemon. It reads the same
//! tables as the XDP program, held here instead of in BPF maps, and every setter has the meaning
//! of the map update it stands for.
//!
//! # Invariants
//!
//! - A datagram is decided on one state of the tables: a change is made to a copy, and the copy
//!   replaces the old state whole.
//! - No lock is taken to decide: a reader looks at one atomic number per batch and takes the lock
//!   only when a change has happened since.
//! - Counts never fall, also when a reader ends.
//!
//! # Picture
//!
//! ```text
//! core task ─update─▶ SharedTables ─ version changed? ─▶ TablesReader ─▶ decide
//!                          ▲                                  │
//!                          └────── sums of all readers ◀── counts (one writer each)
//! ```

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::decide::Verdict;
use common::maps::{
    Control, Gateway, LlgTable, MAX_CLIENTS, MAX_GATEWAYS, MAX_VIPS, NO_GATEWAY, Prefix, SLOTS, Tables, Vip,
};
use common::reason::Reason;
use thiserror::Error;

use super::FastPath;

impl FastPath for SharedTables {
    fn set_vips(&mut self, vips: &[Vip]) -> anyhow::Result<()> {
        Ok(Self::set_vips(self, vips)?)
    }

    fn set_clients(&mut self, clients: &[Prefix]) -> anyhow::Result<()> {
        Ok(Self::set_clients(self, clients)?)
    }

    fn set_gateway(&mut self, index: u32, gateway: &Gateway) -> anyhow::Result<()> {
        Ok(Self::set_gateway(self, index, *gateway)?)
    }

    fn publish(&mut self, table: &LlgTable) -> anyhow::Result<()> {
        Self::publish(self, *table);
        Ok(())
    }

    fn arm(&mut self, armed: bool) -> anyhow::Result<()> {
        if armed {
            Self::arm(self)
        } else {
            Self::disarm(self)
        }
        Ok(())
    }

    fn counters(&self) -> anyhow::Result<super::Counters> {
        Ok(super::Counters { packets: self.packets(), redirects: self.redirects() })
    }
}

/// A change that the maps could not hold either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TableError {
    /// The gateway index is beyond the `GATEWAYS` map.
    #[error("gateway index {index} is not below {MAX_GATEWAYS}")]
    GatewayIndex {
        /// The index that was given.
        index: u32,
    },
    /// More VIPs than the `VIPS` map has entries.
    #[error("{count} VIPs are more than {MAX_VIPS}")]
    TooManyVips {
        /// How many were given.
        count: usize,
    },
    /// More prefixes than the `CLIENTS` map has entries.
    #[error("{count} client prefixes are more than {MAX_CLIENTS}")]
    TooManyClients {
        /// How many were given.
        count: usize,
    },
}

/// One state of all tables.
///
/// The large ones are shared between a state and its successor, so that a copy costs a few
/// reference counts and only what changes is written anew.
#[derive(Clone, Debug)]
pub struct MemoryTables {
    control: Control,
    /// Armed as far as the core is concerned; [`Control::armed`] is this and nobody holding it.
    is_armed: bool,
    is_held: bool,
    vips: Arc<Vec<Vip>>,
    clients: Arc<Vec<Prefix>>,
    llg: [Arc<LlgTable>; 2],
    gateways: Arc<Vec<Gateway>>,
}

impl MemoryTables {
    /// Empty tables, disarmed. `multiplier` is that of the slot hash; it is made odd.
    #[must_use]
    pub fn new(multiplier: u64) -> Self {
        let empty = Arc::new(LlgTable { generation: 0, slots: 0, gateway: [NO_GATEWAY; SLOTS] });
        Self {
            is_armed: false,
            is_held: false,
            control: Control::new(multiplier),
            vips: Arc::default(),
            clients: Arc::default(),
            llg: [Arc::clone(&empty), empty],
            gateways: Arc::default(),
        }
    }

    /// Allows requests to be answered.
    pub const fn arm(&mut self) {
        self.is_armed = true;
        self.settle();
    }

    /// Forbids requests to be answered.
    pub const fn disarm(&mut self) {
        self.is_armed = false;
        self.settle();
    }

    /// Stops answering without forgetting whether it was allowed, and goes on again: what a
    /// watchdog does to a core that has gone silent.
    pub const fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
        self.settle();
    }

    const fn settle(&mut self) {
        self.control.armed = if self.is_armed && !self.is_held { 1 } else { 0 };
    }

    /// Sets the entry of a gateway index.
    ///
    /// # Errors
    ///
    /// [`TableError::GatewayIndex`].
    pub fn set_gateway(&mut self, index: u32, gateway: Gateway) -> Result<(), TableError> {
        let refused = TableError::GatewayIndex { index };
        let position =
            usize::try_from(index).ok().filter(|position| *position < MAX_GATEWAYS).ok_or(refused)?;
        let gateways = Arc::make_mut(&mut self.gateways);
        if gateways.len() <= position {
            gateways.resize(position + 1, Gateway::EMPTY);
        }
        *gateways.get_mut(position).ok_or(refused)? = gateway;
        Ok(())
    }

    /// Makes `table` the live one. Its generation says which of the two tables it replaces.
    pub fn publish(&mut self, table: LlgTable) {
        let [even, odd] = &mut self.llg;
        let side = if table.generation & 1 == 0 { even } else { odd };
        self.control.generation = table.generation;
        *side = Arc::new(table);
    }

    /// Replaces the VIPs.
    ///
    /// # Errors
    ///
    /// [`TableError::TooManyVips`].
    pub fn set_vips(&mut self, vips: &[Vip]) -> Result<(), TableError> {
        let count = vips.len();
        let refused = TableError::TooManyVips { count };
        self.control.vips = u32::try_from(count).ok().filter(|_| count <= MAX_VIPS).ok_or(refused)?;
        self.vips = Arc::new(vips.to_vec());
        Ok(())
    }

    /// Replaces the prefixes of accepted clients; none accepts every client.
    ///
    /// # Errors
    ///
    /// [`TableError::TooManyClients`].
    pub fn set_clients(&mut self, clients: &[Prefix]) -> Result<(), TableError> {
        let count = clients.len();
        let refused = TableError::TooManyClients { count };
        self.control.clients = u32::try_from(count).ok().filter(|_| count <= MAX_CLIENTS).ok_or(refused)?;
        self.clients = Arc::new(clients.to_vec());
        Ok(())
    }
}

impl Tables for MemoryTables {
    fn control(&self) -> Option<&Control> {
        Some(&self.control)
    }

    fn vip(&self, index: u32) -> Option<&Vip> {
        self.vips.get(usize::try_from(index).ok()?)
    }

    fn client(&self, index: u32) -> Option<&Prefix> {
        self.clients.get(usize::try_from(index).ok()?)
    }

    fn llg(&self, generation: u32) -> Option<&LlgTable> {
        let [even, odd] = &self.llg;
        Some(if generation & 1 == 0 { even } else { odd })
    }

    fn gateway(&self, index: u32) -> Option<&Gateway> {
        self.gateways.get(usize::try_from(index).ok()?)
    }
}

/// The tables as the core task and the deciding threads share them. Clones are the same tables.
#[derive(Clone, Debug)]
pub struct SharedTables(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Counts changes; stored after the change.
    version: AtomicU64,
    current: Mutex<Arc<MemoryTables>>,
    counts: Mutex<Counts>,
}

/// Counts of every reader, past and present.
#[derive(Debug, Default)]
struct Counts {
    /// Sums of the readers that have ended.
    ended: Option<Arc<Counters>>,
    running: Vec<Arc<Counters>>,
}

impl SharedTables {
    /// Shares `tables`.
    #[must_use]
    pub fn new(tables: MemoryTables) -> Self {
        Self(Arc::new(Shared {
            version: AtomicU64::new(0),
            current: Mutex::new(Arc::new(tables)),
            counts: Mutex::default(),
        }))
    }

    /// Makes any number of changes that become visible together.
    ///
    /// # Errors
    ///
    /// Those of `change`; then nothing changes.
    pub fn update<T, E>(&self, change: impl FnOnce(&mut MemoryTables) -> Result<T, E>) -> Result<T, E> {
        let mut current = locked(&self.0.current);
        let mut next = MemoryTables::clone(&current);
        let result = change(&mut next)?;
        *current = Arc::new(next);
        self.0.version.fetch_add(1, Ordering::Release);
        Ok(result)
    }

    /// Allows requests to be answered.
    pub fn arm(&self) {
        self.apply(MemoryTables::arm);
    }

    /// Forbids requests to be answered. Batches that begin after this see it.
    pub fn disarm(&self) {
        self.apply(MemoryTables::disarm);
    }

    /// See [`MemoryTables::hold`].
    pub fn hold(&self, is_held: bool) {
        self.apply(|tables| tables.hold(is_held));
    }

    /// Makes `table` the live one.
    pub fn publish(&self, table: LlgTable) {
        self.apply(|tables| tables.publish(table));
    }

    /// Sets the entry of a gateway index.
    ///
    /// # Errors
    ///
    /// [`TableError::GatewayIndex`].
    pub fn set_gateway(&self, index: u32, gateway: Gateway) -> Result<(), TableError> {
        self.update(|tables| tables.set_gateway(index, gateway))
    }

    /// Replaces the VIPs.
    ///
    /// # Errors
    ///
    /// [`TableError::TooManyVips`].
    pub fn set_vips(&self, vips: &[Vip]) -> Result<(), TableError> {
        self.update(|tables| tables.set_vips(vips))
    }

    /// Replaces the prefixes of accepted clients; none accepts every client.
    ///
    /// # Errors
    ///
    /// [`TableError::TooManyClients`].
    pub fn set_clients(&self, clients: &[Prefix]) -> Result<(), TableError> {
        self.update(|tables| tables.set_clients(clients))
    }

    /// The state as it is now.
    #[must_use]
    pub fn current(&self) -> Arc<MemoryTables> {
        Arc::clone(&locked(&self.0.current))
    }

    /// A reader for one deciding thread.
    #[must_use]
    pub fn reader(&self) -> TablesReader {
        let counters = Arc::new(Counters::new());
        locked(&self.0.counts).running.push(Arc::clone(&counters));
        let current = locked(&self.0.current);
        let (tables, version) = (Arc::clone(&current), self.0.version.load(Ordering::Acquire));
        drop(current);
        TablesReader { shared: self.clone(), version, tables, counters }
    }

    /// Datagrams decided, by reason number.
    #[must_use]
    pub fn packets(&self) -> [u64; Reason::COUNT] {
        let mut sums = [0; Reason::COUNT];
        self.each(|counters| add(&mut sums, &counters.packets));
        sums
    }

    /// Redirects, by gateway index.
    #[must_use]
    pub fn redirects(&self) -> Vec<u64> {
        let mut sums = vec![0; MAX_GATEWAYS];
        self.each(|counters| add(&mut sums, &counters.redirects));
        sums
    }

    fn apply(&self, change: impl FnOnce(&mut MemoryTables)) {
        let Ok(()) = self.update(|tables| {
            change(tables);
            Ok::<_, Infallible>(())
        });
    }

    fn each(&self, mut visit: impl FnMut(&Counters)) {
        let counts = locked(&self.0.counts);
        counts.ended.iter().chain(&counts.running).for_each(|counters| visit(counters));
    }

    /// Moves a reader's counts to the sums of those that have ended.
    fn retire(&self, counters: &Arc<Counters>) {
        let mut counts = locked(&self.0.counts);
        counts.running.retain(|running| !Arc::ptr_eq(running, counters));
        counts.ended.get_or_insert_with(|| Arc::new(Counters::new())).absorb(counters);
    }
}

/// One thread's view of the tables, and its counters.
#[derive(Debug)]
pub struct TablesReader {
    shared: SharedTables,
    version: u64,
    tables: Arc<MemoryTables>,
    counters: Arc<Counters>,
}

impl TablesReader {
    /// Takes over what has changed since the last call. To be called once per batch.
    pub fn refresh(&mut self) {
        if self.shared.0.version.load(Ordering::Acquire) == self.version {
            return;
        }
        let current = locked(&self.shared.0.current);
        self.tables = Arc::clone(&current);
        // Under the lock, where the number cannot be older than the tables.
        self.version = self.shared.0.version.load(Ordering::Acquire);
    }

    /// The tables as of the last [`Self::refresh`].
    #[must_use]
    pub fn tables(&self) -> &MemoryTables {
        &self.tables
    }

    /// Counts a decision.
    pub fn count(&self, verdict: Verdict) {
        increment(&self.counters.packets, verdict.reason().index());
        match verdict {
            Verdict::Redirect { gateway, .. } => increment(&self.counters.redirects, gateway),
            Verdict::Pass(_) | Verdict::Drop(_) => {}
        }
    }
}

impl Drop for TablesReader {
    fn drop(&mut self) {
        self.shared.retire(&self.counters);
    }
}

/// The counterpart of the per-CPU maps: only one thread writes, so that no cache line travels
/// and no addition needs to be atomic.
#[derive(Debug)]
struct Counters {
    packets: Box<[AtomicU64]>,
    redirects: Box<[AtomicU64]>,
}

impl Counters {
    fn new() -> Self {
        let zeros = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self { packets: zeros(Reason::COUNT), redirects: zeros(MAX_GATEWAYS) }
    }

    fn absorb(&self, other: &Self) {
        for (to, from) in [(&self.packets, &other.packets), (&self.redirects, &other.redirects)] {
            for (to, from) in to.iter().zip(from) {
                to.fetch_add(from.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }
}

fn increment(counters: &[AtomicU64], index: u32) {
    if let Some(counter) = usize::try_from(index).ok().and_then(|index| counters.get(index)) {
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }
}

fn add(sums: &mut [u64], counters: &[AtomicU64]) {
    for (sum, counter) in sums.iter_mut().zip(counters) {
        *sum += counter.load(Ordering::Relaxed);
    }
}

/// What is behind these locks is replaced whole, so a thread that panicked while it held one has
/// left nothing half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use common::inet::Address;

    use super::*;

    fn table(generation: u32, gateway: u16) -> LlgTable {
        LlgTable { generation, slots: 1024, gateway: [gateway; SLOTS] }
    }

    #[test]
    fn a_new_table_does_not_overwrite_the_one_before() {
        let mut tables = MemoryTables::new(2);

        tables.publish(table(7, 3));
        tables.publish(table(8, 4));

        let control = tables.control().copied().unwrap();
        assert_eq!(control.generation, 8);
        assert_eq!(control.multiplier, 3);
        assert_eq!(tables.llg(8).unwrap().gateway[0], 4);
        assert_eq!(tables.llg(7).unwrap().gateway[0], 3);
    }

    #[test]
    fn what_the_maps_cannot_hold_is_refused_and_changes_nothing() {
        let shared = SharedTables::new(MemoryTables::new(1));
        let vip = Vip::new(Address::V4([192, 0, 2, 1]));
        shared.set_vips(&[vip]).unwrap();

        let refused = shared.update(|tables| {
            tables.arm();
            tables.set_vips(&[vip; MAX_VIPS + 1])
        });

        assert_eq!(refused, Err(TableError::TooManyVips { count: 17 }));
        assert_eq!(
            shared.set_clients(&[Prefix::EMPTY; MAX_CLIENTS + 1]),
            Err(TableError::TooManyClients { count: 65 })
        );
        assert_eq!(shared.set_gateway(544, Gateway::EMPTY), Err(TableError::GatewayIndex { index: 544 }));
        let control = shared.current().control().copied().unwrap();
        assert_eq!((control.armed, control.vips, control.clients), (0, 1, 0));
    }

    #[test]
    fn a_reader_sees_a_change_whole_and_only_when_it_asks() {
        let shared = SharedTables::new(MemoryTables::new(1));
        let mut reader = shared.reader();
        let gateway = Gateway::new(Some([192, 0, 2, 9]), None, None, false).unwrap();

        shared
            .update(|tables| {
                tables.arm();
                tables.publish(table(1, 5));
                tables.set_gateway(5, gateway)
            })
            .unwrap();

        assert_eq!(reader.tables().control().unwrap().armed, 0);
        assert_eq!(reader.tables().gateway(5), None);
        reader.refresh();
        assert_eq!(reader.tables().control().unwrap().armed, 1);
        assert_eq!(reader.tables().gateway(5), Some(&gateway));
        assert_eq!(reader.tables().gateway(4), Some(&Gateway::EMPTY));
        assert_eq!(reader.tables().llg(1).unwrap().gateway[17], 5);
    }

    #[test]
    fn counts_are_summed_over_readers_and_outlive_them() {
        let shared = SharedTables::new(MemoryTables::new(1));
        let (first, second) = (shared.reader(), shared.reader());

        first.count(Verdict::Redirect { gateway: 2, length: 100 });
        second.count(Verdict::Redirect { gateway: 2, length: 100 });
        second.count(Verdict::Pass(Reason::Esp));
        drop(second);

        assert_eq!(shared.redirects()[2], 2);
        assert_eq!(shared.redirects().iter().sum::<u64>(), 2);
        assert_eq!(shared.packets()[Reason::Redirected as usize], 2);
        assert_eq!(shared.packets()[Reason::Esp as usize], 1);
        assert_eq!(shared.packets().iter().sum::<u64>(), 3);
    }
}
