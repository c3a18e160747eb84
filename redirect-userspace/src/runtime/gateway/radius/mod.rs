//! One worker's RADIUS: the machine with its sockets, joined to what IKE asks and tells.
//!
//! # Invariants
//!
//! - A socket is connected: the kernel drops what comes from anybody else than its server.
//! - What a session has carried is known when its end is told: that of its Child SAs that are there
//!   and of those that have been.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::ike::authn::eap::Msk;
use crate::ike::wire::ChildSpi;
use crate::ike::{
    AaaAnswer, AaaRequest, AaaVerdict, Account, AccountStage, CloseReason, Conversation, Grants, Path, Usage,
};
use crate::machine::{Deadline, Machine as _, Outbox};
use crate::radius::config::Settings;
use crate::radius::{
    Cause, Client, Counters, Input, Output, Question, Record, ServerSnapshot, SocketId, Station, Status, Use,
    Verdict,
};
use crate::rng::Rng;
use crate::runtime::clock::Clock;
use crate::telemetry::Event;
use crate::time::Now;

/// The machine and what it works with.
pub(super) struct Radius {
    clock: Clock,
    client: Client,
    out: Outbox<Output>,
    sockets: BTreeMap<SocketId, UdpSocket>,
    epoll: Epoll,
    /// Conversations and their latest rounds.
    asked: BTreeMap<u64, (Conversation, u32)>,
    answers: Vec<AaaAnswer>,
    events: Vec<Event>,
    /// Which session a Child SA carries for.
    children: BTreeMap<ChildSpi, Arc<str>>,
    sessions: BTreeMap<Arc<str>, Carried>,
    interim: Option<Duration>,
}

/// What a session has carried.
#[derive(Debug, Default)]
struct Carried {
    /// By Child SAs that are there.
    by: Vec<ChildSpi>,
    /// By those that are gone.
    before: Use,
}

impl Radius {
    /// A client of these servers.
    ///
    /// # Errors
    ///
    /// The system has no room.
    pub(super) fn new(clock: Clock, settings: Arc<Settings>, rng: Rng) -> anyhow::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("creating an epoll instance")?;
        let interim = settings.interim;
        Ok(Self {
            client: Client::new(clock.now(), settings, rng),
            clock,
            out: Outbox::new(),
            sockets: BTreeMap::new(),
            epoll,
            asked: BTreeMap::new(),
            answers: Vec::new(),
            events: Vec::new(),
            children: BTreeMap::new(),
            sessions: BTreeMap::new(),
            interim,
        })
    }

    /// Becomes readable when a server has said something.
    pub(super) fn sockets(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    /// When there is something to do.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.client.deadline()
    }

    /// How often things happened.
    pub(super) const fn counters(&self) -> &Counters {
        self.client.counters()
    }

    /// The servers for people.
    pub(super) fn snapshot(&self, now: Now) -> Vec<ServerSnapshot> {
        self.client.snapshot(now)
    }

    /// What servers have said since the last time.
    pub(super) fn answers(&mut self) -> Vec<AaaAnswer> {
        std::mem::take(&mut self.answers)
    }

    /// What has happened since the last time.
    pub(super) fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Other servers are in force.
    pub(super) fn configure(&mut self, settings: Arc<Settings>) {
        self.interim = settings.interim;
        self.step(self.clock.now(), Input::Configure(settings));
    }

    /// Takes in what has come, and does what is due.
    pub(super) fn turn(&mut self, now: Now, has_answers: bool) {
        if has_answers {
            self.receive(now, EpollTimeout::ZERO);
        }
        if self.deadline().is_some_and(|deadline| deadline.is_due(now)) {
            self.step(now, Input::Timeout);
        }
    }

    /// Waits for the records of sessions that have just ended, for a short time.
    pub(super) fn finish(&mut self) {
        let begin = self.clock.now();
        while !self.client.has_told_all() {
            let now = self.clock.now();
            if now.mono.since(begin.mono) >= LINGER {
                tracing::warn!("records of accounting were not taken before the end");
                return;
            }
            self.receive(now, EpollTimeout::from(LOOK_MS));
            self.turn(self.clock.now(), false);
            self.answers.clear();
        }
    }

    /// A client says something.
    pub(super) fn ask(&mut self, request: AaaRequest) {
        let AaaRequest { conversation, round, user, packet, path, profile, session } = request;
        let number = conversation.number();
        self.asked.insert(number, (conversation, round));
        let question = Question {
            conversation: number,
            user: user.as_bytes().to_vec(),
            packet,
            station: station(path, profile.as_str()),
            session,
        };
        self.step(self.clock.now(), Input::Ask(Box::new(question)));
    }

    /// A client does not wait any longer.
    pub(super) fn abandon(&mut self, conversation: Conversation) {
        if self.asked.remove(&conversation.number()).is_some() {
            self.step(self.clock.now(), Input::Abandon(conversation.number()));
        }
    }

    /// A Child SA carries for a session.
    pub(super) fn carries(&mut self, inbound: ChildSpi, session: &Arc<str>) {
        if self.children.insert(inbound, Arc::clone(session)).is_none() {
            self.sessions.entry(Arc::clone(session)).or_default().by.push(inbound);
        }
    }

    /// A Child SA ends.
    pub(super) fn carried(&mut self, inbound: ChildSpi, usage: impl Fn(ChildSpi) -> Usage) {
        let Some(session) = self.children.remove(&inbound) else { return };
        if let Some(carried) = self.sessions.get_mut(&session) {
            carried.by.retain(|other| *other != inbound);
            add(&mut carried.before, &usage(inbound));
        }
    }

    /// Something about a session is to be written down.
    pub(super) fn account(&mut self, account: &Account, usage: impl Fn(ChildSpi) -> Usage) {
        let session = Arc::clone(&account.session);
        let carried = self.sessions.entry(Arc::clone(&session)).or_default();
        let mut sum = carried.before;
        carried.by.iter().for_each(|inbound| add(&mut sum, &usage(*inbound)));
        let status = match account.stage {
            AccountStage::Start => Status::Start,
            AccountStage::Interim => Status::Interim,
            AccountStage::Stop(reason) => Status::Stop(cause(reason)),
        };
        if let Status::Stop(_) = status
            && let Some(carried) = self.sessions.remove(&session)
        {
            carried.by.iter().for_each(|inbound| drop(self.children.remove(inbound)));
        }
        let record = Record {
            session,
            status,
            user: account.user.as_bytes().into(),
            station: station(account.path, account.profile.as_str()),
            ipv4: account.addresses.iter().find_map(ipv4),
            ipv6: account.addresses.iter().find_map(ipv6),
            class: account.class.iter().map(|class| class.to_vec()).collect(),
            lasted: account.time,
            carried: sum,
        };
        self.step(self.clock.now(), Input::Account(Box::new(record)));
    }

    fn receive(&mut self, now: Now, timeout: EpollTimeout) {
        let mut events = [EpollEvent::empty(); MAX_EVENTS];
        let Ok(ready) = self.epoll.wait(&mut events, timeout) else { return };
        for event in events.iter().take(ready) {
            let Ok(number) = u32::try_from(event.data()) else { continue };
            self.receive_from(now, SocketId(number));
        }
    }

    fn receive_from(&mut self, now: Now, id: SocketId) {
        // One more than the longest packet: what is longer is no packet.
        let mut octets = [0; MAX_DATAGRAM];
        for _ in 0..BATCH {
            let Some(socket) = self.sockets.get(&id) else { return };
            match socket.recv(&mut octets) {
                Ok(length) => {
                    let octets = octets.get(..length).unwrap_or_default();
                    self.step(now, Input::Datagram { socket: id, octets });
                }
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    self.step(now, Input::Refused(id));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::debug!(%error, "reading a socket to a RADIUS server failed");
                    return;
                }
            }
        }
    }

    fn step(&mut self, now: Now, input: Input<'_>) {
        self.client.step(now, input, &mut self.out);
        let mut refused = Vec::new();
        while let Some(output) = self.out.pop() {
            match output {
                Output::Open { socket, server } => self.open(socket, server),
                Output::Close { socket } => {
                    if let Some(socket) = self.sockets.remove(&socket) {
                        // Closing it ends that as well.
                        let _gone = self.epoll.delete(&socket);
                    }
                }
                Output::Send { socket, octets } => {
                    let sent = self.sockets.get(&socket).map(|socket| socket.send(&octets));
                    match sent {
                        // The error belongs to an earlier packet; this one is repeated.
                        Some(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                            refused.push(socket);
                        }
                        Some(Err(error)) => {
                            tracing::debug!(%error, "a packet to a RADIUS server was not sent")
                        }
                        Some(Ok(_)) | None => {}
                    }
                }
                Output::Answer { conversation, verdict } => self.answer(conversation, *verdict),
                Output::Event(event) => self.events.push(Event::Radius(event)),
            }
        }
        for socket in refused {
            self.client.step(now, Input::Refused(socket), &mut self.out);
        }
        if !self.out.is_empty() {
            self.step(now, Input::Timeout);
        }
    }

    fn open(&mut self, id: SocketId, server: SocketAddr) {
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let open = || -> anyhow::Result<UdpSocket> {
            let socket = UdpSocket::bind(any)?;
            socket.connect(server)?;
            socket.set_nonblocking(true)?;
            let event = EpollEvent::new(EpollFlags::EPOLLIN, id.0.into());
            self.epoll.add(&socket, event)?;
            Ok(socket)
        };
        match open() {
            Ok(socket) => drop(self.sockets.insert(id, socket)),
            // Its packets are not answered, so that the next server is asked.
            Err(error) => tracing::warn!(%error, %server, "no socket to a RADIUS server"),
        }
    }

    fn answer(&mut self, number: u64, verdict: Verdict) {
        let Some((conversation, round)) = self.asked.get(&number).copied() else { return };
        let verdict = match verdict {
            Verdict::Challenge(packet) => AaaVerdict::Challenge(packet),
            Verdict::Accept { packet, msk, grants } => AaaVerdict::Accept {
                packet,
                msk: msk.and_then(|msk| Msk::new(msk.expose())),
                grants: Grants {
                    user: grants.user.and_then(|user| String::from_utf8(user).ok()).map(Arc::from),
                    ipv4: grants.ipv4,
                    ipv6: grants.ipv6,
                    dns: Vec::new(),
                    session_timeout: grants.session_timeout,
                    interim: if self.client.is_accounting() { grants.interim.or(self.interim) } else { None },
                    class: grants.class.into_iter().map(Vec::into_boxed_slice).collect(),
                },
            },
            Verdict::Reject { packet } => {
                AaaVerdict::Reject { packet: Some(packet).filter(|packet| !packet.is_empty()) }
            }
            Verdict::Unreachable => AaaVerdict::Unreachable,
        };
        if !matches!(verdict, AaaVerdict::Challenge(_)) {
            self.asked.remove(&number);
        }
        self.answers.push(AaaAnswer { conversation, round, verdict });
    }
}

fn station(path: Path, profile: &str) -> Station {
    Station { local: path.local, remote: path.remote, profile: profile.into() }
}

fn add(sum: &mut Use, usage: &Usage) {
    sum.octets_in = sum.octets_in.saturating_add(usage.bytes_in);
    sum.octets_out = sum.octets_out.saturating_add(usage.bytes_out);
    sum.packets_in = sum.packets_in.saturating_add(usage.packets_in);
    sum.packets_out = sum.packets_out.saturating_add(usage.packets_out);
}

const fn ipv4(address: &IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    }
}

const fn ipv6(address: &IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(*address),
        IpAddr::V4(_) => None,
    }
}

/// Why a session is over, in the words of RADIUS.
const fn cause(reason: CloseReason) -> Cause {
    match reason {
        CloseReason::DeletedByPeer => Cause::UserRequest,
        CloseReason::PeerDead => Cause::LostCarrier,
        CloseReason::SessionOver | CloseReason::Expired => Cause::SessionTimeout,
        CloseReason::Cleared => Cause::AdminReset,
        CloseReason::Shutdown => Cause::AdminReboot,
        CloseReason::ProtocolError => Cause::NasError,
        CloseReason::Superseded
        | CloseReason::Rekeyed
        | CloseReason::Redundant
        | CloseReason::WithIkeSa
        | CloseReason::Redirected
        | CloseReason::AddressGone
        | CloseReason::Drained
        | CloseReason::Resumed => Cause::NasRequest,
    }
}

/// How long the end of the daemon waits for servers that keep accounts.
const LINGER: Duration = Duration::from_secs(2);
/// How long is waited at once, meanwhile.
const LOOK_MS: u8 = 50;
/// Sockets that are looked at in one turn.
const MAX_EVENTS: usize = 32;
/// Datagrams of one socket that are taken in before others have their turn.
const BATCH: usize = 64;
/// Octets that are read of a datagram.
const MAX_DATAGRAM: usize = 4_097;
