//! The interface that packets of Child SAs enter and leave the kernel through, with the routes that
//! lead there and how many hold each of them.

use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use super::held::Lanes;
use super::prefix::{masked, prefix};
use crate::ike::Path;
use crate::ike::wire::TrafficSelector;
use crate::net::tun::{Lane, Prefix, Tun};

/// The interface, of all workers.
#[derive(Debug)]
pub(super) struct Inside {
    tun: Tun,
    held: Mutex<Lanes>,
}

/// A route that an SA holds, and where it stands.
pub(super) type Route = (Prefix, Lane);

impl Inside {
    /// An interface that no route leads to.
    pub(super) fn new(tun: Tun) -> Self {
        Self { tun, held: Mutex::default() }
    }

    /// Leads packets here.
    pub(super) fn hold_route(&self, (prefix, lane): Route) {
        // Locked until the kernel knows, or another worker's change could come in between.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.of(lane).hold(prefix)
            && let Err(error) = self.tun.add_route(prefix, lane)
        {
            tracing::warn!(%error, network = %prefix.network, length = prefix.length, "no route");
        }
    }

    /// No longer, unless others hold the route as well.
    pub(super) fn release_route(&self, (prefix, lane): Route) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.of(lane).release(prefix) {
            // It is gone already when the interface is.
            let _gone = self.tun.remove_route(prefix, lane);
        }
    }

    /// The routes that an SA for these networks has to hold.
    pub(super) fn routes_for(&self, remote_ts: &[TrafficSelector], path: Path) -> Vec<Route> {
        let routes = remote_ts.iter().filter_map(prefix).map(|prefix| (prefix, lane(prefix, path)));
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        routes.filter(|(prefix, lane)| held.of(*lane).is_needed(*prefix)).collect()
    }

    /// The routes to networks whose peer is not known yet, and may be in one of them.
    pub(super) fn routes_beside(remote_ts: &[TrafficSelector]) -> Vec<Route> {
        remote_ts.iter().filter_map(prefix).map(|prefix| (prefix, Lane::Aside)).collect()
    }

    /// Routes of an SA stand where they should when its packets travel so.
    pub(super) fn shift(&self, routes: &mut [Route], path: Path) {
        for (prefix, place) in routes {
            let new = lane(*prefix, path);
            if new != *place {
                // The new one first: no packet is without a way in between.
                self.hold_route((*prefix, new));
                self.release_route((*prefix, *place));
                *place = new;
            }
        }
    }

    /// Gives the interface an address.
    pub(super) fn add_address(&self, address: IpAddr) -> io::Result<()> {
        self.tun.add_address(address)
    }

    /// Takes an address away again.
    pub(super) fn remove_address(&self, address: IpAddr) {
        // It is gone already when the interface is.
        let _gone = self.tun.remove_address(address);
    }
}

/// Where the route to a network of a Child SA stands.
fn lane(prefix: Prefix, path: Path) -> Lane {
    let peer = path.remote.ip();
    let is_alike = peer.is_ipv4() == prefix.network.is_ipv4();
    let is_in = is_alike && masked(peer, prefix.length.into()) == prefix.network;
    if is_in { Lane::Aside } else { Lane::Main }
}
