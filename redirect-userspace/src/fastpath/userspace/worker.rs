//! The threads that read the sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use anyhow::Context as _;
use common::decide::Verdict;
use common::maps::MAX_VIPS;
use common::reason::Reason;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{Keep, Kept, Wire};
use crate::fastpath::guard::give_way;
use crate::fastpath::memory::TablesReader;
use crate::net::udp::{Answer, BATCH, Batch, HEADROOM, Listener};

/// A thread and the way to reach it.
#[derive(Debug)]
pub(super) struct Worker {
    orders: mpsc::Sender<Order>,
    bell: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

/// What a thread is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Read this socket.
    Listen(Listener),
    /// Close the socket of this address.
    Close(SocketAddr),
    /// Drop the sender: everything before it has been done.
    Settle(mpsc::Sender<()>),
    /// Close everything and end.
    Stop,
}

impl Worker {
    /// Starts a thread that reads no socket yet.
    pub(super) fn start(
        number: usize,
        reader: TablesReader,
        keep: Arc<dyn Keep>,
        unsent: Arc<AtomicU64>,
    ) -> anyhow::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("creating an epoll instance")?;
        epoll.add(&bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL)).context("watching an eventfd")?;
        let ring = Arc::clone(&bell);
        let thread = thread::Builder::new()
            .name(format!("fastpath-{number}"))
            .spawn(move || {
                // Work of this kind comes after the core that watches over it.
                give_way();
                let turn =
                    Turn { reader, keep, unsent, batch: Batch::new(), answers: Vec::with_capacity(BATCH) };
                serve(&epoll, &ring, &receiver, turn);
            })
            .context("starting a thread of the fast path")?;
        Ok(Self { orders: sender, bell, thread: Some(thread) })
    }

    /// Tells the thread what to do next.
    pub(super) fn order(&self, order: Order) {
        // Fails only when the thread has ended, and with it all that could be ordered.
        drop(self.orders.send(order));
        let _ = self.bell.write(1);
    }

    /// Waits until everything ordered so far has been done.
    pub(super) fn settle(&self) {
        let (sender, receiver) = mpsc::channel();
        self.order(Order::Settle(sender));
        let _ = receiver.recv();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.order(Order::Stop);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The bell's number among the events; sockets count from zero.
const BELL: u64 = u64::MAX;
/// Batches read from one socket before the next socket has its turn.
const BATCHES_PER_TURN: usize = 8;

/// The loop of one thread.
fn serve(epoll: &Epoll, bell: &EventFd, orders: &mpsc::Receiver<Order>, mut turn: Turn) {
    let mut sockets: BTreeMap<u64, Socket> = BTreeMap::new();
    let mut next = 0;
    let mut events = [EpollEvent::empty(); 2 * MAX_VIPS + 1];
    loop {
        let ready = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 0,
            Err(error) => {
                tracing::error!(%error, "the userspace fast path stops: epoll failed");
                return;
            }
        };
        for event in events.iter().take(ready) {
            if let Some(socket) = sockets.get(&event.data()) {
                turn.take(socket);
            }
        }
        if !events.iter().take(ready).any(|event| event.data() == BELL) {
            continue;
        }
        let _ = bell.read();
        for order in orders.try_iter() {
            match order {
                Order::Listen(listener) => {
                    let event = EpollEvent::new(EpollFlags::EPOLLIN, next);
                    if let Err(error) = epoll.add(&listener, event) {
                        tracing::error!(%error, local = %listener.local(), "cannot watch a socket");
                        continue;
                    }
                    sockets.insert(next, Socket { wire: Wire::new(listener.local()), listener });
                    next += 1;
                }
                // Closing a socket takes it out of the epoll instance too.
                Order::Close(local) => sockets.retain(|_, socket| socket.listener.local() != local),
                Order::Settle(done) => drop(done),
                Order::Stop => return,
            }
        }
    }
}

/// A socket and the headers its datagrams had.
#[derive(Debug)]
struct Socket {
    listener: Listener,
    wire: Wire,
}

/// What one thread works with.
struct Turn {
    reader: TablesReader,
    keep: Arc<dyn Keep>,
    unsent: Arc<AtomicU64>,
    batch: Batch,
    answers: Vec<Answer>,
}

impl Turn {
    /// Handles what has arrived at a socket.
    fn take(&mut self, socket: &Socket) {
        for _ in 0..BATCHES_PER_TURN {
            let received = match self.batch.receive(&socket.listener) {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, local = %socket.listener.local(), "reading a socket failed");
                    return;
                }
            };
            self.reader.refresh();
            self.answer(socket);
            // A batch that is not full has emptied the socket.
            if received < BATCH {
                return;
            }
        }
    }

    fn answer(&mut self, socket: &Socket) {
        self.answers.clear();
        for (slot, datagram) in self.batch.datagrams().enumerate() {
            if !datagram.is_whole {
                self.reader.count(Verdict::Pass(Reason::IkeTooLong));
                continue;
            }
            let verdict = socket.wire.decide(datagram.peer, datagram.octets, self.reader.tables());
            self.reader.count(verdict);
            match verdict {
                Verdict::Redirect { length, .. } => {
                    self.answers.push(Answer { slot, range: socket.wire.reply(length) });
                }
                Verdict::Drop(_) => {}
                Verdict::Pass(reason) => self.keep.keep(&Kept {
                    local: socket.listener.local(),
                    peer: datagram.peer,
                    reason,
                    payload: datagram.octets.get(HEADROOM..).unwrap_or_default(),
                }),
            }
        }
        if !self.answers.is_empty() {
            let lost = self.batch.send(&socket.listener, &self.answers);
            self.unsent.fetch_add(u64::try_from(lost).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}
