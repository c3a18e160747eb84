//! ESP in this process: packets enter and leave the kernel through a TUN interface, and the network
//! through the sockets of IKE, in UDP.
//!
//! # Invariants
//!
//! - What comes in through an SA is what the SA is for, by its selectors, or it goes nowhere
//!   (`RFC 4301 §5.2`).
//! - No lock is held while a packet is sealed or opened.
//!
//! # Picture
//!
//! ```text
//! worker n                       shared                        worker m
//! socket ─▶ Inbound SAs of n     Routes: who sends what        Inbound SAs of m ◀─ socket
//!    │                              ▲                                │
//!    ▼                              │ any worker asks                ▼
//! TUN queue n ─ cut ─▶ seal with the SA's next number ─▶ socket of the worker that seals
//! ```

mod routes;
mod traps;

use std::collections::HashMap;
use std::io::IoSlice;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use self::routes::{Carried, Outgoing, Routes};
use self::traps::Traps;
use super::bulk::merge::Merger;
use super::bulk::split::Segments;
use super::esp::{self, HEADROOM, Inbound, OpenError, Outbound, SequenceNumbers, TAILROOM};
use super::inside::{Inside, Route};
use super::packet::Flow;
use super::{DataPlane, InstallError, News};
use crate::ike::wire::{ChildSpi, TrafficSelector};
use crate::ike::{InstallChild, Outer, Path, Trap, TrapId, Usage, Volume};
use crate::net::ike::Port;
use crate::net::tun::{Lane, Offload, Prefix, Queue, Tun};
use crate::rng::Rng;
use crate::time::{Instant, Now};

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    routes: Routes,
    traps: Traps,
    inside: Inside,
    drops: Drops,
    carried_in: Carried,
    carried_out: Carried,
}

/// Declares the reasons for which packets go nowhere.
macro_rules! drops {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)+) => {
        /// Why a packet goes nowhere.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Drop {
            $($(#[$doc])* $variant,)+
        }

        impl Drop {
            /// Every reason, in the order of their positions.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name, in counters.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

drops! {
    /// It came for an SA that is not there.
    UnknownSpi = "unknown-spi",
    /// It is shorter than it can be.
    Malformed = "malformed",
    /// Its integrity check fails.
    Authentication = "authentication",
    /// It came before.
    Replay = "replay",
    /// There is no IP packet in it, as in dummy packets.
    NoPacket = "no-packet",
    /// The SA it came through is not for such packets.
    Selectors = "selectors",
    /// No SA is for it.
    NoSa = "no-sa",
    /// Its SA has used up its sequence numbers.
    Exhausted = "exhausted",
    /// The socket or the interface did not take it.
    Unsent = "unsent",
}

/// How many packets went nowhere, by reason.
#[derive(Debug, Default)]
struct Drops([AtomicU64; Drop::ALL.len()]);

impl Drops {
    fn count(&self, drop: Drop) {
        if let Some(count) = self.0.get(drop as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Shared {
    /// Makes the interface, with a queue for each worker.
    ///
    /// # Errors
    ///
    /// The interface cannot be made.
    pub fn new(name: &str, mtu: u16, workers: usize) -> anyhow::Result<(Arc<Self>, Vec<Queue>)> {
        let (tun, queues) = Tun::create(name, mtu, workers)?;
        let shared = Self {
            routes: Routes::default(),
            traps: Traps::default(),
            inside: Inside::new(tun),
            drops: Drops::default(),
            carried_in: Carried::default(),
            carried_out: Carried::default(),
        };
        Ok((Arc::new(shared), queues))
    }

    /// Leads packets for a pool's addresses here, whether or not somebody has one: a single route
    /// for all clients.
    pub fn serve(&self, prefix: Prefix) {
        self.inside.hold_route((prefix, Lane::Main));
    }

    /// No longer.
    pub fn unserve(&self, prefix: Prefix) {
        self.inside.release_route((prefix, Lane::Main));
    }

    /// How many packets went nowhere, by reason.
    pub fn drops(&self) -> impl Iterator<Item = (Drop, u64)> {
        let counts = self.drops.0.iter().map(|count| count.load(Ordering::Relaxed));
        Drop::ALL.iter().copied().zip(counts)
    }

    /// What all SAs have carried.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let ((bytes_in, packets_in), (bytes_out, packets_out)) =
            (self.carried_in.get(), self.carried_out.get());
        Usage { bytes_in, bytes_out, packets_in, packets_out, idle: None }
    }
}

/// One worker's part.
#[derive(Debug)]
pub struct Userspace {
    shared: Arc<Shared>,
    queue: Queue,
    rng: Rng,
    /// Boxed: a table that grows has room for many that are not there yet.
    sas: HashMap<ChildSpi, Box<Sa>>,
    batch: Vec<Slot>,
    /// Where the kernel puts its packets.
    long: Box<[u8]>,
    merger: Merger,
    news: Vec<News>,
}

/// A Child SA of this worker.
#[derive(Debug)]
struct Sa {
    inbound: Inbound,
    local_ts: Arc<[TrafficSelector]>,
    remote_ts: Arc<[TrafficSelector]>,
    outgoing: Arc<Outgoing>,
    /// Whether traffic leaves through it.
    is_outbound: bool,
    replaces: Option<ChildSpi>,
    may_move: bool,
    /// Where its last packet came from, if that was told already.
    told: Path,
    told_alive_at: Option<Instant>,
    heard_at: Option<Instant>,
    carried: Carried,
    /// How much it carries in each direction until IKE is told; nothing when it was.
    volume: Volume,
    routes: Vec<Route>,
    own_addresses: Vec<IpAddr>,
}

impl Sa {
    /// Whether it has carried as much as it should, in either direction. Asked when something comes in:
    /// whoever sends is answered now and then.
    fn is_worn(&self) -> bool {
        let is_reached = |(bytes, packets)| self.volume.is_reached(bytes, packets);
        self.volume != Volume::default()
            && (is_reached(self.carried.get()) || is_reached(self.outgoing.carried.get()))
    }
}

/// A packet from the interface, with room around it, and what became of it.
#[derive(Clone, Debug)]
struct Slot {
    octets: Box<[u8]>,
    sealed: std::ops::Range<usize>,
    path: Option<Path>,
}

impl Userspace {
    /// A worker's part, with its queue.
    #[must_use]
    pub fn new(shared: Arc<Shared>, queue: Queue, rng: Rng) -> Self {
        let slot =
            Slot { octets: vec![0; HEADROOM + MAX_PACKET + TAILROOM].into(), sealed: 0..0, path: None };
        Self {
            shared,
            queue,
            rng,
            sas: HashMap::new(),
            batch: vec![slot; BATCH],
            long: vec![0; MAX_LONG].into(),
            merger: Merger::new(),
            news: Vec::new(),
        }
    }

    /// The queue, to wait for packets.
    #[must_use]
    pub const fn queue(&self) -> &Queue {
        &self.queue
    }

    /// What IKE wants to know since it asked last.
    pub fn news(&mut self) -> impl Iterator<Item = News> {
        self.news.drain(..)
    }

    /// Takes in an ESP packet from the network, which is opened where it stands.
    pub fn receive(&mut self, now: Now, path: Path, packet: &mut [u8]) {
        if let Err(drop) = self.open(now, path, packet) {
            self.shared.drops.count(drop);
        }
    }

    fn open(&mut self, now: Now, path: Path, packet: &mut [u8]) -> Result<(), Drop> {
        let spi = packet.first_chunk().map(|spi| u32::from_be_bytes(*spi)).ok_or(Drop::Malformed)?;
        let spi = std::num::NonZeroU32::new(spi).map(ChildSpi).ok_or(Drop::UnknownSpi)?;
        let sa = self.sas.get_mut(&spi).ok_or(Drop::UnknownSpi)?;
        let inner = sa.inbound.open(packet).map_err(|error| match error {
            OpenError::Malformed | OpenError::Padding => Drop::Malformed,
            OpenError::Authentication => Drop::Authentication,
            OpenError::Replay(_) => Drop::Replay,
            OpenError::NoPacket => Drop::NoPacket,
        })?;
        sa.heard_at = Some(now.mono);
        if path != sa.told && sa.may_move {
            sa.told = path;
            self.news.push(News::Moved(spi, path));
        } else if sa.told_alive_at.is_none_or(|at| at + ALIVE <= now.mono) {
            sa.told_alive_at = Some(now.mono);
            self.news.push(News::Alive(spi));
        }
        let packet = packet.get(inner).ok_or(Drop::Malformed)?;
        let flow = Flow::of(packet).ok_or(Drop::NoPacket)?;
        if !flow.comes_from(&sa.remote_ts) || !flow.goes_to(&sa.local_ts) {
            return Err(Drop::Selectors);
        }
        if !self.merger.merge(packet) {
            deliver(&self.shared, &self.queue, &mut self.merger);
            if !self.merger.begin(packet) {
                self.queue.write(Offload::default(), packet).map_err(|_refused| Drop::Unsent)?;
            }
        }
        sa.carried.add(packet.len());
        if sa.is_worn() {
            sa.volume = Volume::default();
            self.news.push(News::Worn(spi));
        }
        self.shared.carried_in.add(packet.len());
        Ok(())
    }

    /// Gives the kernel what was kept back because more might follow. To be called when nothing more
    /// is there for now.
    pub fn flush(&mut self) {
        deliver(&self.shared, &self.queue, &mut self.merger);
    }

    /// Sends what the kernel wants to send through tunnels, as much as fits one turn. `ports` are the
    /// sockets that ESP leaves through.
    pub fn send(&mut self, ports: &[Port]) {
        let (mut count, mut sealed) = (0, 0);
        while sealed < TURN {
            let Ok(Some((offload, length))) = self.queue.read(&mut self.long) else { break };
            sealed += 1;
            let packet = self.long.get_mut(..length).unwrap_or_default();
            let sa = match Flow::of(packet) {
                Some(flow) => self.shared.routes.find(&flow).ok_or_else(|| {
                    let wanted = self.shared.traps.spring(&flow);
                    let ends = (flow.source, flow.destination);
                    self.news.extend(wanted.map(|trap| News::Wanted(trap, ends)));
                    Drop::NoSa
                }),
                None => Err(Drop::NoPacket),
            };
            let (sa, mut segments) = match (sa, Segments::new(packet, offload)) {
                (Ok(sa), Some(segments)) => (sa, segments),
                (Err(drop), _) => {
                    self.shared.drops.count(drop);
                    continue;
                }
                (Ok(_), None) => {
                    self.shared.drops.count(Drop::Malformed);
                    continue;
                }
            };
            loop {
                if count == self.batch.len() {
                    transmit(&self.shared, &self.batch, ports);
                    count = 0;
                }
                let Some(slot) = self.batch.get_mut(count) else { break };
                let room = slot.octets.get_mut(HEADROOM..HEADROOM + MAX_PACKET).unwrap_or_default();
                let Some(length) = segments.write(room) else { break };
                slot.path = match seal(&sa, &mut self.rng, slot, length) {
                    Ok(()) => {
                        self.shared.carried_out.add(length);
                        Some(sa.path())
                    }
                    Err(drop) => {
                        self.shared.drops.count(drop);
                        None
                    }
                };
                count += 1;
                sealed += 1;
            }
        }
        transmit(&self.shared, self.batch.get(..count).unwrap_or_default(), ports);
    }
}

/// Gives the kernel what was put together.
fn deliver(shared: &Shared, queue: &Queue, merger: &mut Merger) {
    if let Some((offload, packet)) = merger.finish()
        && queue.write(offload, packet).is_err()
    {
        shared.drops.count(Drop::Unsent);
    }
}

/// Sends sealed packets, runs of the same length to the same peer with one call.
fn transmit(shared: &Shared, sealed: &[Slot], ports: &[Port]) {
    let mut rest = sealed;
    while let Some((first, _)) = rest.split_first() {
        let Some(path) = first.path else {
            rest = rest.get(1..).unwrap_or_default();
            continue;
        };
        let length = first.sealed.len();
        let most = MAX_RUN.min(MAX_DATAGRAM / length.max(1));
        let mut run = 0;
        for slot in rest.iter().take(most) {
            let is_longer = slot.sealed.len() > length;
            if slot.path != Some(path) || is_longer {
                break;
            }
            run += 1;
            // A shorter one can only be the last.
            if slot.sealed.len() < length {
                break;
            }
        }
        let run = run.max(1);
        let (now, later) = rest.split_at_checked(run).unwrap_or((rest, &[]));
        transmit_run(shared, now, path, length, ports);
        rest = later;
    }
}

fn transmit_run(shared: &Shared, run: &[Slot], path: Path, length: usize, ports: &[Port]) {
    let port = ports.iter().find(|port| port.is_for(path.local));
    let Some(port) = port else { return shared.drops.count(Drop::Unsent) };
    let mut parts = [IoSlice::new(&[]); MAX_RUN];
    for (part, slot) in parts.iter_mut().zip(run) {
        *part = IoSlice::new(slot.octets.get(slot.sealed.clone()).unwrap_or_default());
    }
    let parts = parts.get(..run.len()).unwrap_or(&parts);
    let segment = if run.len() > 1 { u16::try_from(length).ok() } else { None };
    if port.send(path.local.ip(), path.remote, parts, segment).is_ok() {
        return;
    }
    // A path that does not take segments takes them one by one.
    for part in parts {
        let alone = std::slice::from_ref(part);
        if run.len() == 1 || port.send(path.local.ip(), path.remote, alone, None).is_err() {
            shared.drops.count(Drop::Unsent);
        }
    }
}

/// Wraps a packet in its SA.
fn seal(sa: &Outgoing, rng: &mut Rng, slot: &mut Slot, length: usize) -> Result<(), Drop> {
    let inner = HEADROOM..HEADROOM + length;
    slot.sealed = sa.esp.seal(rng, &mut slot.octets, inner).map_err(|error| match error {
        esp::SealError::Exhausted => Drop::Exhausted,
        esp::SealError::NotIp | esp::SealError::Room | esp::SealError::Cipher(_) => Drop::Malformed,
    })?;
    sa.carried.add(length);
    Ok(())
}

impl DataPlane for Userspace {
    fn install(&mut self, child: InstallChild) -> Result<(), InstallError> {
        if self.sas.contains_key(&child.inbound) {
            return Err(InstallError::Spi);
        }
        let numbers = if child.is_extended { SequenceNumbers::Extended } else { SequenceNumbers::Short };
        let inbound = Inbound::new(child.inbound_keys, numbers);
        let outbound = Outbound::new(child.outbound.to_octets(), child.outbound_keys, numbers);
        let outgoing = Arc::new(Outgoing::new(
            child.inbound,
            outbound,
            Arc::clone(&child.local_ts),
            Arc::clone(&child.remote_ts),
            child.path,
        ));
        let routes = self.shared.inside.routes_for(&child.remote_ts, child.path);
        for address in &child.own_addresses {
            if let Err(error) = self.shared.inside.add_address(*address) {
                return Err(InstallError::System(error.to_string()));
            }
        }
        routes.iter().for_each(|route| self.shared.inside.hold_route(*route));
        let sa = Sa {
            inbound,
            local_ts: child.local_ts,
            remote_ts: child.remote_ts,
            outgoing,
            is_outbound: false,
            replaces: child.replaces,
            may_move: child.may_move,
            told: child.path,
            told_alive_at: None,
            heard_at: None,
            carried: Carried::default(),
            volume: child.volume,
            routes,
            own_addresses: child.own_addresses,
        };
        self.sas.insert(child.inbound, Box::new(sa));
        if child.is_outbound {
            self.switch(child.inbound);
        }
        Ok(())
    }

    fn switch(&mut self, inbound: ChildSpi) {
        let Some(sa) = self.sas.get_mut(&inbound) else { return };
        if !std::mem::replace(&mut sa.is_outbound, true) {
            // The new one first: no packet is without a way in between.
            self.shared.routes.add(&sa.outgoing);
        }
        let old = sa.replaces.take();
        if let Some(old) = old.and_then(|old| self.sas.get_mut(&old))
            && std::mem::replace(&mut old.is_outbound, false)
        {
            self.shared.routes.remove(&old.outgoing);
        }
    }

    fn redirect(&mut self, inbound: ChildSpi, outer: Outer) {
        // There is no ESP but in UDP here.
        let Outer { path, is_encapsulated: _, may_move } = outer;
        let Some(sa) = self.sas.get_mut(&inbound) else { return };
        sa.told = path;
        sa.may_move = may_move;
        sa.outgoing.set_path(path);
        self.shared.inside.shift(&mut sa.routes, path);
    }

    fn remove(&mut self, inbound: ChildSpi) {
        let Some(sa) = self.sas.remove(&inbound) else { return };
        if sa.is_outbound {
            self.shared.routes.remove(&sa.outgoing);
        }
        sa.routes.iter().for_each(|route| self.shared.inside.release_route(*route));
        let is_used = |address: &IpAddr| self.sas.values().any(|sa| sa.own_addresses.contains(address));
        for address in sa.own_addresses.iter().filter(|address| !is_used(address)) {
            self.shared.inside.remove_address(*address);
        }
    }

    fn watch(&mut self, trap: Trap) -> Result<(), InstallError> {
        let inside = &self.shared.inside;
        let routes = Inside::routes_beside(&trap.remote_ts);
        // The new ones first: no packet goes another way in between.
        routes.iter().for_each(|route| inside.hold_route(*route));
        let old = self.shared.traps.set(trap, routes);
        old.into_iter().for_each(|route| inside.release_route(route));
        Ok(())
    }

    fn unwatch(&mut self, trap: TrapId) {
        self.shared.traps.remove(trap).into_iter().for_each(|route| self.shared.inside.release_route(route));
    }

    fn usage(&self, inbound: ChildSpi) -> Option<Usage> {
        let sa = self.sas.get(&inbound)?;
        let ((bytes_in, packets_in), (bytes_out, packets_out)) =
            (sa.carried.get(), sa.outgoing.carried.get());
        Some(Usage { bytes_in, bytes_out, packets_in, packets_out, idle: None })
    }
}

/// Longest inner packet: what an interface can have at most.
const MAX_PACKET: usize = 9_216;
/// Longest packet that the kernel leaves to us to cut.
const MAX_LONG: usize = 65_536;
/// Packets that are sealed before they are sent.
const BATCH: usize = 64;
/// Packets after which others have their turn.
const TURN: usize = 256;
/// Octets that one call can send by UDP.
const MAX_DATAGRAM: usize = 65_000;
/// Most datagrams that the kernel sends with one call (`UDP_MAX_SEGMENTS` of old kernels).
const MAX_RUN: usize = 44;
/// Time between two signs of life that IKE is told.
const ALIVE: Duration = Duration::from_secs(2);
