//! Policies without an SA: the kernel tells of a packet that one is for.
//!
//! Of a packet it keeps a place for an SA, for half a minute, and tells of no other one meanwhile
//! (`net.core.xfrm_acq_expires`). Places belong to the number of a policy, so a trap that is set again
//! has another number.

use std::net::IpAddr;

use super::claims::{Claims, Key, Owner};
use super::wire::{Direction, Template};
use super::{Kernel, select, system};
use crate::dataplane::inside::{Inside, Route};
use crate::dataplane::{InstallError, News};
use crate::ike::Trap;

/// One that is set.
#[derive(Debug)]
pub(super) struct Set {
    trap: Trap,
    reqid: u32,
    keys: Vec<Key>,
    routes: Vec<Route>,
}

impl Kernel {
    /// Sets one, in the place of an earlier one of its number.
    pub(super) fn set_trap(&mut self, trap: Trap) -> Result<(), InstallError> {
        let selectors = select::outbound(&trap.local_ts, &trap.remote_ts)
            .map_err(|error| InstallError::System(error.to_string()))?;
        let keys = selectors.into_iter().map(|selector| (Direction::Out, selector)).collect();
        let reqid = self.claims(Claims::take_own_reqid);
        let routes = Inside::routes_beside(&trap.remote_ts);
        let set = Set { reqid, keys, routes, trap };
        // Where the gateway will be is not known. With a source the kernel needs no way there, either.
        let template = Template { spi: 0, source: set.trap.remote, destination: set.trap.remote, reqid };
        let claimed = set.keys.iter().try_for_each(|key| {
            self.change(*key, |claims| claims.claim_last(*key, Owner::Trap(reqid), template))
        });
        set.routes.iter().for_each(|route| self.shared.inside.hold_route(*route));
        if let Err(error) = claimed {
            self.release_trap(&set);
            return Err(system("a policy", error));
        }
        if let Some(old) = self.traps.insert(set.trap.id, set) {
            self.release_trap(&old);
        }
        Ok(())
    }

    /// Takes one out of the kernel.
    pub(super) fn release_trap(&self, set: &Set) {
        for key in &set.keys {
            if let Err(error) = self.change(*key, |claims| claims.release(*key, Owner::Trap(set.reqid))) {
                tracing::warn!(%error, trap = %set.trap.id, "a trap was not removed from the kernel");
            }
        }
        set.routes.iter().for_each(|route| self.shared.inside.release_route(*route));
        self.claims(|claims| claims.release_own_reqid(set.reqid));
    }

    /// A packet has no SA, and a policy with this number.
    pub(super) fn spring(&mut self, reqid: u32, (source, destination): (IpAddr, IpAddr)) {
        let Some(set) = self.traps.values().find(|set| set.reqid == reqid) else { return };
        if Trap::is_reason(destination) {
            self.news.push(News::Wanted(set.trap.id, (source, destination)));
            return;
        }
        let trap = set.trap.clone();
        self.set_again(trap);
    }

    /// Sets all of them again: what was told of one may not have arrived.
    pub(super) fn set_all_again(&mut self) {
        let traps: Vec<Trap> = self.traps.values().map(|set| set.trap.clone()).collect();
        traps.into_iter().for_each(|trap| self.set_again(trap));
    }

    fn set_again(&mut self, trap: Trap) {
        let id = trap.id;
        if let Err(error) = self.set_trap(trap) {
            tracing::warn!(%error, trap = %id, "a trap was not set again");
        }
    }
}
