//! The way into a worker, and what comes in by it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as thread_mpsc;

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::oneshot;

use crate::control::{SaPage, SaQuery};
use crate::ike::config::Settings;
use crate::ike::redirect::Targets;
use crate::ike::{
    Command, HandOver, Path, Redirect, Redirected, Request, SaId, Selection, TrapId, UsedTicket, Way,
};
use crate::radius::config::Settings as RadiusSettings;

/// The way into a worker.
#[derive(Clone, Debug)]
pub(super) struct Door {
    orders: thread_mpsc::Sender<Order>,
    bell: Arc<EventFd>,
    /// Datagrams that wait.
    waiting: Arc<AtomicUsize>,
}

impl Door {
    /// Tells the worker what to do next.
    pub(super) fn order(&self, order: Order) {
        // Fails only when the thread has ended, and the core hears of that.
        drop(self.orders.send(order));
        let _ = self.bell.write(1);
    }

    /// Brings a datagram in, unless too many wait: its sender repeats it.
    pub(super) fn bring(&self, path: Path, octets: &[u8]) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.order(Order::Datagram(path, octets.to_vec()));
    }
}

/// What a worker takes its orders from.
#[derive(Debug)]
pub(super) struct Mailbox {
    orders: thread_mpsc::Receiver<Order>,
    door: Door,
}

impl Mailbox {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// The system has no room for it.
    pub(super) fn new() -> anyhow::Result<Self> {
        let (sender, orders) = thread_mpsc::channel();
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let door = Door { orders: sender, bell: Arc::new(bell), waiting: Arc::default() };
        Ok(Self { orders, door })
    }

    /// What rings when there is an order.
    pub(super) fn bell(&self) -> &EventFd {
        &self.door.bell
    }

    /// The bell was heard.
    pub(super) fn hush(&self) {
        // Nothing to read means that it has not rung.
        let _silent = self.door.bell.read();
    }

    /// The next order, if there is one.
    pub(super) fn next(&self) -> Option<Order> {
        let order = self.orders.try_recv().ok()?;
        if matches!(order, Order::Datagram(..)) {
            self.door.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        Some(order)
    }

    /// Waits for an order.
    #[cfg(test)]
    pub(super) fn wait(&self) -> Option<Order> {
        self.orders.recv().ok()
    }

    /// The way into it.
    pub(super) fn door(&self) -> Door {
        self.door.clone()
    }
}

/// What a worker is told.
pub(super) enum Order {
    /// Other settings are in force.
    Configure(Arc<Settings>, Arc<RadiusSettings>),
    /// The cluster has other members or loads.
    Targets(Arc<Targets>),
    /// A gateway was looked for.
    Located(Request, Vec<Way>),
    /// The ways to these peers were looked for.
    Ways(Option<SaId>, Vec<IpAddr>, Vec<Way>),
    /// Other addresses of the cluster than before are another node's.
    HandOver(Arc<HandOver>),
    /// A datagram came to another socket of this node.
    Datagram(Path, Vec<u8>),
    /// An operator wants something.
    Command(Command),
    /// Another worker has seen a packet that a connection is watched for: from where to where.
    Wanted(TrapId, (IpAddr, IpAddr)),
    /// Clients have made new SAs with another worker.
    Supersede(Arc<[Arc<[u8]>]>),
    /// An operator wants clients to go elsewhere.
    Redirect(Redirect, oneshot::Sender<Redirected>),
    /// Tickets were used with another worker, or on another node.
    TicketsUsed(Arc<[Arc<UsedTicket>]>),
    /// How many SAs are meant.
    Count(Selection, oneshot::Sender<u64>),
    /// What of its SAs could be on a page.
    Page(SaQuery, oneshot::Sender<SaPage>),
    /// The daemon ends.
    Stop,
}

/// Datagrams from elsewhere that may wait.
const MAX_WAITING: usize = 4_096;
