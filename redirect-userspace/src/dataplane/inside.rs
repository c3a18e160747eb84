//! The interface that packets of Child SAs enter and leave the kernel through, with the routes that
//! lead there and how many hold each of them.

use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use super::held::Held;
use crate::net::tun::{Prefix, Tun};

/// The interface, of all workers.
#[derive(Debug)]
pub(super) struct Inside {
    tun: Tun,
    held: Mutex<Held>,
}

impl Inside {
    /// An interface that no route leads to.
    pub(super) fn new(tun: Tun) -> Self {
        Self { tun, held: Mutex::default() }
    }

    /// Leads packets here.
    pub(super) fn hold_route(&self, prefix: Prefix) {
        // Locked until the kernel knows, or another worker's change could come in between.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.hold(prefix)
            && let Err(error) = self.tun.add_route(prefix)
        {
            tracing::warn!(%error, network = %prefix.network, length = prefix.length, "no route");
        }
    }

    /// No longer, unless others hold the route as well.
    pub(super) fn release_route(&self, prefix: Prefix) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.release(prefix) {
            // It is gone already when the interface is.
            let _gone = self.tun.remove_route(prefix);
        }
    }

    /// Whether an SA has to hold the route to a network.
    pub(super) fn needs_route(&self, prefix: Prefix) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).is_needed(prefix)
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
