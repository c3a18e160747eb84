//! A Child SA as the kernel is told of it: two states, and the policies that lead to them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::super::inside::Route;
use super::claims::Key;
use super::select;
use super::wire::{Direction, Limit, Selector, State, StateId, Template};
use crate::crypto::cipher::TrafficKeys;
use crate::ike::wire::{ChildSpi, TrafficSelector};
use crate::ike::{InstallChild, Path, Volume};

/// A Child SA of this worker.
#[derive(Debug)]
pub(super) struct Sa {
    pub(super) inbound: StateId,
    pub(super) outbound: StateId,
    /// Kept, because an SA whose peer is elsewhere is made anew, and a locked-down kernel does not
    /// give keys back.
    pub(super) inbound_keys: TrafficKeys,
    pub(super) outbound_keys: TrafficKeys,
    pub(super) is_extended: bool,
    pub(super) path: Path,
    pub(super) is_encapsulated: bool,
    pub(super) may_move: bool,
    pub(super) local_ts: Arc<[TrafficSelector]>,
    pub(super) remote_ts: Arc<[TrafficSelector]>,
    pub(super) reqid: u32,
    /// What leaves through it.
    pub(super) selectors: Box<[Selector]>,
    /// Whether traffic leaves through it.
    pub(super) is_outbound: bool,
    pub(super) replaces: Option<ChildSpi>,
    pub(super) volume: Volume,
    pub(super) routes: Vec<Route>,
    pub(super) own_addresses: Vec<IpAddr>,
    /// Where its last packet came from, if that was told already.
    pub(super) told: Path,
}

impl Sa {
    pub(super) fn new(child: InstallChild, selectors: Vec<Selector>, reqid: u32, routes: Vec<Route>) -> Self {
        Self {
            inbound: StateId { destination: child.path.local.ip(), spi: child.inbound.0.get() },
            outbound: StateId { destination: child.path.remote.ip(), spi: child.outbound.0.get() },
            inbound_keys: child.inbound_keys,
            outbound_keys: child.outbound_keys,
            is_extended: child.is_extended,
            path: child.path,
            is_encapsulated: child.is_encapsulated,
            may_move: child.may_move,
            local_ts: child.local_ts,
            remote_ts: child.remote_ts,
            reqid,
            selectors: selectors.into(),
            is_outbound: false,
            replaces: child.replaces,
            volume: child.volume,
            routes,
            own_addresses: child.own_addresses,
            told: child.path,
        }
    }

    pub(super) fn state(&self, is_inbound: bool, window: u32) -> State<'_> {
        let (local, remote) = (self.path.local, self.path.remote);
        let (id, from, to, keys) = if is_inbound {
            (self.inbound, remote, local, &self.inbound_keys)
        } else {
            (self.outbound, local, remote, &self.outbound_keys)
        };
        let (bytes, packets) = limits(self.volume, self.is_extended);
        State {
            id,
            source: from.ip(),
            keys,
            reqid: self.reqid,
            is_extended: self.is_extended,
            window,
            encapsulation: self.is_encapsulated.then_some((from.port(), to.port())),
            is_inbound,
            bytes,
            packets,
            numbers: None,
            carried: None,
        }
    }

    /// What goes out goes through this one SA.
    pub(super) fn template_out(&self) -> Template {
        Template {
            spi: self.outbound.spi,
            source: self.path.local.ip(),
            destination: self.path.remote.ip(),
            reqid: self.reqid,
        }
    }

    /// What comes in has come through one of those for it, wherever the peer is.
    pub(super) fn template_in(&self) -> Template {
        let any: IpAddr = match self.inbound.destination {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Template { spi: 0, source: any, destination: self.inbound.destination, reqid: self.reqid }
    }

    pub(super) fn keys_out(&self) -> impl Iterator<Item = Key> {
        self.selectors.iter().map(|selector| (Direction::Out, *selector))
    }

    pub(super) fn keys_in(&self) -> impl Iterator<Item = Key> {
        let both = [Direction::In, Direction::Forward];
        self.selectors
            .iter()
            .flat_map(move |selector| both.map(|direction| (direction, select::reversed(selector))))
    }
}

/// How much an SA carries. Half of what is left beyond is for the time that new keys take.
pub(super) fn limits(volume: Volume, is_extended: bool) -> (Limit, Limit) {
    let limit = |soft: Option<u64>| {
        soft.map_or(Limit::NONE, |soft| Limit {
            soft,
            hard: soft.saturating_add(soft / 4).max(soft.saturating_add(1)),
        })
    };
    // RFC 4303 §3.3.3: sequence numbers must not come round.
    let packets = match volume.packets {
        None if !is_extended => Some(MOST_SHORT),
        Some(packets) if !is_extended => Some(packets.min(MOST_SHORT)),
        packets => packets,
    };
    (limit(volume.bytes), limit(packets))
}

/// Packets that may be sent with numbers of 32 bits before new keys are asked for.
const MOST_SHORT: u64 = 3 << 30;
