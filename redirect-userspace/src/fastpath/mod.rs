//! The fast path: where requests are answered.
//!
//! [`FastPath`] is what the daemon needs of it: tables in, counters out. Two kinds exist: the maps
//! of the XDP program, and the same tables in memory for the userspace fallback and the tests.
//!
//! # Invariants
//!
//! - A table is written whole before it becomes live ([`FastPath::publish`]), and a gateway's
//!   entry is written before a table that names it.
//! - Nothing is answered before [`FastPath::arm`].

use anyhow::Result;
use common::maps::{Gateway, LlgTable, Prefix, Vip};
use common::reason::Reason;

pub mod guard;
pub mod memory;
pub mod userspace;
pub mod xdp;

/// The tables that [`common::decide`] reads, and the counters it feeds.
pub trait FastPath {
    /// Replaces the virtual IPs.
    ///
    /// # Errors
    ///
    /// More than [`common::maps::MAX_VIPS`], or the kernel refuses the update.
    fn set_vips(&mut self, vips: &[Vip]) -> Result<()>;

    /// Replaces the client prefixes; none = every client is accepted.
    ///
    /// # Errors
    ///
    /// More than [`common::maps::MAX_CLIENTS`], or the kernel refuses the update.
    fn set_clients(&mut self, clients: &[Prefix]) -> Result<()>;

    /// Writes one redirect target. Must not be one that the live table names.
    ///
    /// # Errors
    ///
    /// An index beyond [`common::maps::MAX_GATEWAYS`], or the kernel refuses the update.
    fn set_gateway(&mut self, index: u32, gateway: &Gateway) -> Result<()>;

    /// Writes a table and makes it live. [`LlgTable::generation`] must be one more than the last.
    ///
    /// # Errors
    ///
    /// The kernel refuses the update; the old table then stays live.
    fn publish(&mut self, table: &LlgTable) -> Result<()>;

    /// Starts or stops answering.
    ///
    /// # Errors
    ///
    /// The kernel refuses the update.
    fn arm(&mut self, armed: bool) -> Result<()>;

    /// Reads the counters, all CPUs added up.
    ///
    /// # Errors
    ///
    /// The kernel refuses the read.
    fn counters(&self) -> Result<Counters>;
}

/// What the fast path has done since it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Packets by [`Reason::index`].
    pub packets: [u64; Reason::COUNT],
    /// Redirects by gateway index.
    pub redirects: Vec<u64>,
}

impl Default for Counters {
    fn default() -> Self {
        Self { packets: [0; Reason::COUNT], redirects: Vec::new() }
    }
}

impl Counters {
    /// Packets counted for one reason.
    #[must_use]
    pub fn packets(&self, reason: Reason) -> u64 {
        usize::try_from(reason.index()).ok().and_then(|index| self.packets.get(index)).copied().unwrap_or(0)
    }

    /// Adds another fast path's counters, for a daemon that serves several.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.packets.iter_mut().zip(other.packets) {
            *sum += more;
        }
        if self.redirects.len() < other.redirects.len() {
            self.redirects.resize(other.redirects.len(), 0);
        }
        for (sum, more) in self.redirects.iter_mut().zip(&other.redirects) {
            *sum += more;
        }
    }
}
