//! The speaker: the thread in which HSRP runs.
//!
//! A hello that is late is a failover. Therefore the groups have a thread of their own, which the
//! kernel runs before all others where it may, and which does nothing but speak: it owns the
//! sockets, the virtual addresses and the machines, and waits for nobody. The core hears from it
//! through channels.
//!
//! # Invariants
//!
//! - The core is told that a group is active after its addresses are up and announced.
//! - A core that is silent for [`PATIENCE`] is not worth being active for: the groups leave in
//!   order, another node takes over, and they come back when the core does.
//!
//! # Picture
//!
//! ```text
//!            ┌──────────────── thread, real-time ────────────────┐
//!  core ──Order──▶ ┌──────────┐  hellos   ┌─────────┐            │
//!       ◀──News─── │  Voice   │◀─────────▶│ Channel │◀─▶ routers │
//!       ◀─watch─── │ (groups) │           ├─────────┤            │
//!         shown    │          │◀─ facts ──│ monitor │◀── kernel  │
//!                  └──────────┘─ orders ─▶│ vip     │──▶ kernel  │
//!                                         └─────────┘            │
//! ```

mod voice;

use std::net::IpAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::HsrpGroup;
use crate::hsrp::{self, GroupName, MacAddress, State};
use crate::net::schedule::{Granted, take_real_time};
use crate::runtime::clock::{Clock, random};
use crate::time::Instant;

use self::voice::Voice;

/// How long the core may be silent. As long as the guard waits.
pub(super) const PATIENCE: Duration = crate::fastpath::guard::PATIENCE;

/// Among real-time threads: above those with the default priority of 1, below those of the kernel.
const REAL_TIME_PRIORITY: u8 = 20;

/// What the core wants.
#[derive(Debug)]
pub(super) enum Order {
    /// The core is alive.
    Beat,
    /// These are the groups from now on.
    Groups(Vec<HsrpGroup>),
    /// The guard has let go of the addresses while we stood still: take them again if they are
    /// ours.
    Restore,
    /// Leave every group in order.
    Stop(oneshot::Sender<()>),
}

/// What the core is told.
#[derive(Debug)]
pub(super) enum News {
    /// Another host answers for a virtual address.
    Conflict {
        /// The group whose address it is.
        group: GroupName,
        /// The address.
        vip: IpAddr,
        /// The other host.
        by: MacAddress,
    },
    /// Something happened in a group.
    Event {
        /// Which.
        group: GroupName,
        /// What.
        event: hsrp::Event,
        /// The group's priority then.
        priority: u8,
    },
    /// A group's place in the network could not be taken, or was lost.
    Trouble {
        /// Which.
        group: GroupName,
        /// What is wrong.
        why: String,
    },
    /// How the thread is scheduled.
    Scheduled(Granted),
    /// Where a group stands now.
    Standing {
        /// Which.
        group: GroupName,
        /// Its state.
        state: State,
        /// The active router, if that is another one.
        active: Option<IpAddr>,
        /// Its virtual addresses.
        vips: Vec<IpAddr>,
        /// When this began.
        since: Instant,
        /// The group's priority.
        priority: u8,
    },
}

/// A group, as it is shown.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    /// The interface it runs on.
    pub(super) interface: String,
    /// The group.
    pub(super) group: hsrp::Snapshot,
}

/// The core's end of the thread. Dropping it ends the thread; groups that are active resign.
pub(super) struct Speaker {
    orders: mpsc::UnboundedSender<Order>,
    news: mpsc::UnboundedReceiver<News>,
    shown: watch::Receiver<Vec<Shown>>,
    thread: Option<JoinHandle<()>>,
}

impl Speaker {
    /// Starts the thread with these groups.
    ///
    /// # Errors
    ///
    /// A thread cannot be started, or the kernel has no randomness.
    pub(super) fn start(clock: Clock, groups: Vec<HsrpGroup>) -> Result<Self> {
        // Both ends are ours: the core sends a few orders a second, and takes whatever news there
        // are before anything else. News are bounded by what the machines' events are.
        let (orders, inbox) = mpsc::unbounded_channel();
        let (outbox, news) = mpsc::unbounded_channel();
        let (show, shown) = watch::channel(Vec::new());
        let rng = random()?;
        let thread = std::thread::Builder::new()
            .name("speaker".to_owned())
            .spawn(move || {
                // Whoever has stopped listening does not hear it.
                let _told = outbox.send(News::Scheduled(take_real_time(REAL_TIME_PRIORITY)));
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                match runtime {
                    Ok(runtime) => {
                        runtime.block_on(Voice::new(clock, rng, groups, outbox, show).run(inbox));
                    }
                    Err(error) => tracing::error!(%error, "the speaker has no event loop"),
                }
            })
            .context("starting the speaker")?;
        Ok(Self { orders, news, shown, thread: Some(thread) })
    }

    /// Says that the core is alive.
    pub(super) fn beat(&self) {
        self.order(Order::Beat);
    }

    /// Gives an order.
    pub(super) fn order(&self, order: Order) {
        // A thread that has ended has said why.
        let _ended = self.orders.send(order);
    }

    /// Waits for news; `None` when the thread has ended.
    pub(super) async fn news(&mut self) -> Option<News> {
        self.news.recv().await
    }

    /// The groups, as they were a moment ago.
    pub(super) fn shown(&self) -> Vec<Shown> {
        self.shown.borrow().clone()
    }

    /// Leaves every group and ends the thread.
    pub(super) async fn stop(mut self) {
        let (answer, left) = oneshot::channel();
        self.order(Order::Stop(answer));
        // A thread that is gone has left.
        let _left_or_gone = left.await;
        let thread = self.thread.take();
        drop(self);
        if let Some(thread) = thread {
            // It ends by itself once its orders have ended.
            let _panicked = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}
