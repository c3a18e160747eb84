//! The same decision over UDP sockets, for interfaces where XDP cannot attach.
//!
//! Every VIP has a socket on each IKE port. Threads of their own read datagrams in batches, put
//! in front of each the headers it had on the wire, as far as the socket still knows them, and
//! leave the rest to [`common::decide::decide`], as the XDP program does.
//!
//! # Invariants
//!
//! - A reply holds the octets that the XDP program would have sent for the same datagram.
//! - Whatever is not redirected is counted and handed to [`Keep`].
//! - What the kernel has done to a datagram before (fragments joined, options removed, checksums
//!   verified) is no reason any more: the XDP program passes such frames, and this answers them.
//!
//! # Picture
//!
//! ```text
//! socket ─recvmmsg─▶ slot: │ room │ datagram │
//!                          │Eth IP UDP│datagram│ ─▶ decide ─┬─ redirect ─▶ sendmmsg ─▶ socket
//!                                                           └─ pass ─────▶ Keep
//! ```

mod watchdog;
mod wire;
mod worker;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::inet::{PORT_IKE, PORT_NAT_T};
use common::reason::Reason;

use self::watchdog::Watchdog;
use self::worker::{Order, Worker};
use crate::fastpath::guard::PATIENCE;
use crate::fastpath::memory::SharedTables;
use crate::net::udp::{Binding, Listener};

pub use self::wire::Wire;

/// What becomes of the datagrams that are not redirected.
///
/// Called by the threads that read the sockets: an implementation queues, and drops when its
/// queue is full, since IKE peers repeat what gets lost.
pub trait Keep: Send + Sync {
    /// Takes one datagram.
    fn keep(&self, datagram: &Kept<'_>);
}

/// A datagram that this node has to handle itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept<'a> {
    /// The VIP and port it was sent to.
    pub local: SocketAddr,
    /// Who sent it.
    pub peer: SocketAddr,
    /// Why it was not redirected.
    pub reason: Reason,
    /// The UDP payload, on port 4500 with the non-ESP marker if there is one.
    pub payload: &'a [u8],
}

/// Keeps nothing: for nodes that only redirect.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl Keep for Discard {
    fn keep(&self, _: &Kept<'_>) {}
}

/// How the fallback runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Threads. The kernel spreads peers over them.
    pub workers: NonZeroUsize,
    /// Octets of receive buffer per socket.
    pub buffer: usize,
    /// How long the core may be silent before nothing is answered any more.
    pub patience: Duration,
}

impl Default for Options {
    /// A thread per processor, and room for about 4000 requests.
    fn default() -> Self {
        Self {
            workers: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            buffer: 4 << 20,
            patience: PATIENCE,
        }
    }
}

/// The running fallback. Dropping it closes the sockets and ends the threads.
#[derive(Debug)]
pub struct Userspace {
    watchdog: Watchdog,
    workers: Vec<Worker>,
    listening: BTreeSet<SocketAddr>,
    binding: Binding,
    unsent: Arc<AtomicU64>,
}

impl Userspace {
    /// Starts the threads, without any socket yet: [`Self::set_vips`].
    ///
    /// # Errors
    ///
    /// When the system has no room for a thread or a descriptor.
    pub fn start(tables: &SharedTables, keep: Arc<dyn Keep>, options: Options) -> anyhow::Result<Self> {
        let unsent = Arc::new(AtomicU64::new(0));
        let workers = (0..options.workers.get())
            .map(|number| Worker::start(number, tables.reader(), Arc::clone(&keep), Arc::clone(&unsent)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let binding = Binding { buffer: options.buffer, is_shared: workers.len() > 1 };
        let watchdog = Watchdog::start(tables, options.patience)?;
        Ok(Self { watchdog, workers, listening: BTreeSet::new(), binding, unsent })
    }

    /// Listens on the two IKE ports of exactly these addresses; sockets that stay keep what is
    /// queued in them. When this returns, the others are closed.
    ///
    /// The tables are not touched: a VIP that is only listened on is answered for by nobody. It may
    /// be another machine's; then nothing arrives until it comes here, and nothing has to be opened
    /// when it does.
    ///
    /// # Errors
    ///
    /// When a socket cannot be had. Then everything stays as it was.
    pub fn set_vips(&mut self, vips: &[IpAddr]) -> anyhow::Result<()> {
        let ports = [PORT_IKE, PORT_NAT_T];
        let wanted: BTreeSet<SocketAddr> =
            vips.iter().flat_map(|vip| ports.map(|port| SocketAddr::new(*vip, port))).collect();
        if wanted == self.listening {
            // Whoever takes over has no time to wait for the threads.
            return Ok(());
        }

        let mut fresh = Vec::new();
        for worker in &self.workers {
            for local in wanted.difference(&self.listening) {
                fresh.push((worker, Listener::bind(*local, self.binding)?));
            }
        }
        for (worker, listener) in fresh {
            worker.order(Order::Listen(listener));
        }
        for worker in &self.workers {
            for local in self.listening.difference(&wanted) {
                worker.order(Order::Close(*local));
            }
            worker.settle();
        }
        self.listening = wanted;
        Ok(())
    }

    /// The core is alive. To be said several times within [`Options::patience`].
    pub fn beat(&self) {
        self.watchdog.beat();
    }

    /// Replies that the kernel did not take.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.unsent.load(Ordering::Relaxed)
    }
}
