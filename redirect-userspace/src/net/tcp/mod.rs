//! TCP connections, as octets: the listener of the CLB master and the dialler of the slaves.
//!
//! # Invariants
//!
//! - What a peer can make us hold is bounded: so many connections, so many per peer, so many
//!   octets on their way out to each, and one piece on its way in from each.
//! - Whoever reads the events sets the pace. While they are not read, nothing is read from the
//!   peers, whose own sending then stops.
//! - A connection whose peer does not take what is sent is closed as [`Closed::Slow`]; it delays
//!   nobody else.
//! - Each connection that was [`TcpEvent::Accepted`] or dialled is [`TcpEvent::Closed`] once, last,
//!   unless the handle has been dropped before. No two connections of a process have the same id,
//!   so that events of a former listener cannot be taken for those of the present one.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, bind, listen,
    setsockopt, socket, sockopt,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// A connection of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);

        Self(LAST.fetch_add(1, Ordering::Relaxed))
    }

    /// The connection with this number.
    #[must_use]
    pub const fn from_value(value: u64) -> Self {
        Self(value)
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

/// What happens to connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpEvent {
    /// A peer has connected.
    Accepted {
        /// Its connection.
        id: ConnectionId,
        /// Who.
        from: SocketAddr,
    },
    /// We have connected.
    Connected {
        /// The connection.
        id: ConnectionId,
        /// Our end of it.
        local: SocketAddr,
    },
    /// Octets have arrived, cut anywhere.
    Bytes {
        /// From where.
        id: ConnectionId,
        /// At least one, at most [`LONGEST_PIECE`].
        octets: Vec<u8>,
    },
    /// A connection has ended, or could not be made.
    Closed {
        /// Which.
        id: ConnectionId,
        /// Why.
        why: Closed,
    },
    /// A peer was turned away. Not told when nobody has been reading events.
    Refused {
        /// Who.
        from: SocketAddr,
        /// Why.
        why: Refused,
    },
}

/// Why a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The peer has closed it.
    Peer,
    /// We have, by [`Connections::close`].
    Ours,
    /// The peer did not take what was written to it.
    Slow,
    /// It could not be made in time.
    TimedOut,
    /// The system says so.
    Failed(io::ErrorKind),
}

/// Why a peer is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// [`Limits::connections`] are open.
    Full,
    /// [`Limits::per_peer`] are open from this address.
    FullForPeer,
}

/// What connections may take up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most connections of a listener at a time.
    pub connections: usize,
    /// Most of them from one address.
    pub per_peer: usize,
    /// Most octets that wait to be sent on one connection.
    pub queue: usize,
    /// How long the other end may leave what was sent unacknowledged.
    pub silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 1024, per_peer: 8, queue: 1 << 18, silence: Duration::from_secs(10) }
    }
}

/// Connections that can be written to and closed. Dropping it closes all of them at once, and the
/// listener if there is one.
#[derive(Debug)]
pub struct Connections {
    registry: Arc<Registry>,
    local: Option<SocketAddr>,
    task: JoinHandle<()>,
}

impl Connections {
    /// Listens on `local`, which need not be an address of this machine yet, and tells `events`.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// The port is in use, or we may not.
    pub fn listen(local: SocketAddr, limits: Limits, events: Sender<TcpEvent>) -> Result<Self> {
        let listener = open(local).with_context(|| format!("listening on TCP {local}"))?;
        let local = listener.local_addr().ok();
        let registry = Arc::new(Registry::new(limits));
        let task = tokio::spawn(accept(listener, Arc::clone(&registry), events));
        Ok(Self { registry, local, task })
    }

    /// Connects to `to`, gives up after `patience`, and tells `events`. What is written meanwhile
    /// is sent once there is a connection. Failing is an event as well: [`TcpEvent::Closed`].
    ///
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn dial(
        to: SocketAddr,
        patience: Duration,
        limits: Limits,
        events: Sender<TcpEvent>,
    ) -> (Self, ConnectionId) {
        let registry = Arc::new(Registry::new(limits));
        let id = ConnectionId::next();
        let outgoing = registry.add(id, to.ip());
        // Here and not in the task: a socket belongs to the network namespace it is made in.
        let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let task = {
            let registry = Arc::clone(&registry);
            async move {
                let why = match connect(socket, to, patience).await {
                    Err(why) => why,
                    Ok((stream, local)) => {
                        if events.send(TcpEvent::Connected { id, local }).await.is_err() {
                            return;
                        }
                        converse(stream, id, limits, outgoing, &events).await
                    }
                };
                registry.lock().remove(&id);
                // Nobody listens any more: then it does not matter either.
                let _unheard = events.send(TcpEvent::Closed { id, why }).await;
            }
        };
        (Self { registry, local: None, task: tokio::spawn(task) }, id)
    }

    /// Where it listens.
    #[must_use]
    pub const fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Writes, without waiting. When more than [`Limits::queue`] octets would wait to be sent, the
    /// connection is closed instead as [`Closed::Slow`]. Nothing happens when it has ended.
    pub fn write(&self, id: ConnectionId, octets: Vec<u8>) {
        let mut outlets = self.registry.lock();
        let Some(outlet) = outlets.get(&id) else { return };
        // The task makes it less meanwhile, never more.
        let waiting = outlet.waiting.load(Ordering::Relaxed);
        if waiting.saturating_add(octets.len()) > self.registry.limits.queue {
            if let Some(outlet) = outlets.remove(&id) {
                outlet.end(End::Slow);
            }
            return;
        }
        outlet.waiting.fetch_add(octets.len(), Ordering::Relaxed);
        // It has just ended: its last event says so.
        let _ended = outlet.queue.send(octets);
    }

    /// Closes a connection once what was written has been sent, which may take a second at most.
    pub fn close(&self, id: ConnectionId) {
        if let Some(outlet) = self.registry.lock().remove(&id) {
            outlet.end(End::Ours);
        }
    }

    /// Closes everything and waits until it is: then the port is free.
    pub async fn shut_down(mut self) {
        self.task.abort();
        let _cancelled = (&mut self.task).await;
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        // The task owns the listener and the tasks of its connections, and they own the streams.
        self.task.abort();
    }
}

/// The open connections of a handle.
#[derive(Debug)]
struct Registry {
    limits: Limits,
    outlets: Mutex<BTreeMap<ConnectionId, Outlet>>,
}

/// The way to the task of a connection.
#[derive(Debug)]
struct Outlet {
    peer: IpAddr,
    queue: UnboundedSender<Vec<u8>>,
    /// Octets in the queue.
    waiting: Arc<AtomicUsize>,
    end: oneshot::Sender<End>,
}

impl Outlet {
    fn end(self, end: End) {
        let _ended_already = self.end.send(end);
    }
}

/// The task's end of an [`Outlet`].
#[derive(Debug)]
struct Outgoing {
    queue: UnboundedReceiver<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
    end: oneshot::Receiver<End>,
    /// What is being sent, and how much of it has been.
    current: Vec<u8>,
    sent: usize,
}

/// How a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// In order.
    Ours,
    /// At once.
    Slow,
}

impl Registry {
    fn new(limits: Limits) -> Self {
        Self { limits, outlets: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Outlet>> {
        self.outlets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, id: ConnectionId, peer: IpAddr) -> Outgoing {
        let (sender, queue) = unbounded_channel();
        let (end_sender, end) = oneshot::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let outlet = Outlet { peer, queue: sender, waiting: Arc::clone(&waiting), end: end_sender };
        self.lock().insert(id, outlet);
        Outgoing { queue, waiting, end, current: Vec::new(), sent: 0 }
    }

    fn admit(&self, peer: IpAddr, open: usize) -> Result<(), Refused> {
        if open >= self.limits.connections {
            return Err(Refused::Full);
        }
        let from_peer = self.lock().values().filter(|outlet| outlet.peer == peer).count();
        if from_peer >= self.limits.per_peer { Err(Refused::FullForPeer) } else { Ok(()) }
    }
}

fn open(local: SocketAddr) -> io::Result<TcpListener> {
    let family = if local.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket: OwnedFd = socket(family, SockType::Stream, flags, SockProtocol::Tcp)?;
    // Connections of the last time that the address was here may still be dying.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    // Linux takes this one for both families.
    setsockopt(&socket, sockopt::IpFreebind, &true)?;
    match local {
        SocketAddr::V4(local) => bind(socket.as_raw_fd(), &SockaddrIn::from(local))?,
        SocketAddr::V6(local) => {
            setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
            bind(socket.as_raw_fd(), &SockaddrIn6::from(local))?;
        }
    }
    listen(&socket, Backlog::new(BACKLOG)?)?;
    TcpListener::from_std(socket.into())
}

/// Takes connections in, each with a task of its own, until it is aborted.
async fn accept(listener: TcpListener, registry: Arc<Registry>, events: Sender<TcpEvent>) {
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: trying again at once would take the processor
                // from those who could free some.
                tracing::debug!(%error, "connection lost before it was accepted");
                let _always_elapses = timeout(ACCEPT_PAUSE, pending::<()>()).await;
                continue;
            }
        };
        // Those that have ended make room, whichever of the two was noticed first.
        while tasks.try_join_next().is_some() {}
        if let Err(why) = registry.admit(from.ip(), tasks.len()) {
            reset(stream);
            let _nobody_reads = events.try_send(TcpEvent::Refused { from, why });
            continue;
        }
        let id = ConnectionId::next();
        let outgoing = registry.add(id, from.ip());
        let (registry, events) = (Arc::clone(&registry), events.clone());
        tasks.spawn(async move {
            if events.send(TcpEvent::Accepted { id, from }).await.is_err() {
                return;
            }
            let why = converse(stream, id, registry.limits, outgoing, &events).await;
            registry.lock().remove(&id);
            // Nobody listens any more: then it does not matter either.
            let _unheard = events.send(TcpEvent::Closed { id, why }).await;
        });
    }
}

async fn connect(
    socket: io::Result<TcpSocket>,
    to: SocketAddr,
    patience: Duration,
) -> Result<(TcpStream, SocketAddr), Closed> {
    let failed = |error: io::Error| Closed::Failed(error.kind());
    let connecting = socket.map_err(failed)?.connect(to);
    let stream = timeout(patience, connecting).await.map_err(|_elapsed| Closed::TimedOut)?.map_err(failed)?;
    let local = stream.local_addr().map_err(failed)?;
    Ok((stream, local))
}

/// The whole life of a connection.
async fn converse(
    mut stream: TcpStream,
    id: ConnectionId,
    limits: Limits,
    mut outgoing: Outgoing,
    events: &Sender<TcpEvent>,
) -> Closed {
    if let Err(error) = set_up(&stream, limits) {
        return Closed::Failed(error.kind());
    }
    let (mut reader, mut writer) = stream.split();
    let why = {
        let Outgoing { queue, waiting, end, current, sent } = &mut outgoing;
        tokio::select! {
            // A slow peer is dropped even when there is something to read.
            biased;
            Ok(how) = end => match how {
                End::Slow => Closed::Slow,
                End::Ours => Closed::Ours,
            },
            why = send(&mut writer, queue, waiting, current, sent) => why,
            why = hear(&mut reader, id, events) => why,
        }
    };
    match why {
        Closed::Ours => {
            // In vain against a peer that does not read, or never stops talking.
            let _given_up = timeout(LINGER, part(&mut reader, &mut writer, outgoing)).await;
        }
        Closed::Slow => reset(stream),
        Closed::Peer | Closed::TimedOut | Closed::Failed(_) => {}
    }
    why
}

fn set_up(stream: &TcpStream, limits: Limits) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let silence = u32::try_from(limits.silence.as_millis()).unwrap_or(u32::MAX);
    setsockopt(stream, sockopt::TcpUserTimeout, &silence)?;
    // A peer that has gone without a word while nothing is sent.
    let seconds = u32::try_from(limits.silence.as_secs()).unwrap_or(u32::MAX).clamp(1, KEEPALIVE_MAX);
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &seconds)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &seconds)?;
    Ok(())
}

/// Sends what is in the queue. May be cancelled anywhere and called again.
async fn send(
    writer: &mut WriteHalf<'_>,
    queue: &mut UnboundedReceiver<Vec<u8>>,
    waiting: &AtomicUsize,
    current: &mut Vec<u8>,
    sent: &mut usize,
) -> Closed {
    loop {
        while let Some(rest) = current.get(*sent..).filter(|rest| !rest.is_empty()) {
            match writer.write(rest).await {
                Ok(written) => {
                    *sent += written;
                    waiting.fetch_sub(written, Ordering::Relaxed);
                }
                Err(error) => return Closed::Failed(error.kind()),
            }
        }
        match queue.recv().await {
            Some(octets) => (*current, *sent) = (octets, 0),
            // The handle has let go of it, which the other branch learns as well.
            None => return Closed::Ours,
        }
    }
}

/// Hands over what arrives, piece by piece.
async fn hear(reader: &mut ReadHalf<'_>, id: ConnectionId, events: &Sender<TcpEvent>) -> Closed {
    loop {
        let mut octets = Vec::with_capacity(LONGEST_PIECE);
        match reader.read_buf(&mut octets).await {
            Ok(0) => return Closed::Peer,
            Ok(_) => {
                octets.shrink_to_fit();
                if events.send(TcpEvent::Bytes { id, octets }).await.is_err() {
                    return Closed::Ours;
                }
            }
            Err(error) => return Closed::Failed(error.kind()),
        }
    }
}

/// Sends what is left, says that this was all, and waits for the peer to say the same. A socket
/// that is closed with something unread resets the connection, and the peer may then never see
/// our last words.
async fn part(reader: &mut ReadHalf<'_>, writer: &mut WriteHalf<'_>, mut outgoing: Outgoing) {
    outgoing.queue.close();
    let Outgoing { queue, waiting, current, sent, .. } = &mut outgoing;
    if send(writer, queue, waiting, current, sent).await == Closed::Ours && writer.shutdown().await.is_ok() {
        let mut unheard = [0; 1024];
        while reader.read(&mut unheard).await.is_ok_and(|length| length > 0) {}
    }
}

/// Closes a connection with a reset: the kernel then forgets what it still had to send.
fn reset(stream: TcpStream) {
    // Otherwise it is closed in order.
    let _best_effort = stream.set_zero_linger();
    drop(stream);
}

/// Most octets in one [`TcpEvent::Bytes`].
pub const LONGEST_PIECE: usize = 4096;
const BACKLOG: i32 = 1024;
/// How long to wait when connections cannot be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the end of a connection that we close may take.
const LINGER: Duration = Duration::from_secs(1);
/// The kernel's, in seconds.
const KEEPALIVE_MAX: u32 = 32_767;

#[cfg(test)]
mod tests;
