//! Connections that the next packet brings up. Any thread may find one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::dataplane::inside::Route;
use crate::dataplane::packet::Flow;
use crate::dataplane::prefix::prefix;
use crate::ike::{Trap, TrapId};

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Traps(RwLock<Vec<Set>>);

#[derive(Debug)]
struct Set {
    trap: Trap,
    routes: Vec<Route>,
    /// Whether its packet has not come yet.
    is_open: AtomicBool,
}

impl Set {
    /// Bits of the longest network in it that a packet goes to.
    fn width(&self, flow: &Flow) -> Option<u8> {
        let networks = self.trap.remote_ts.iter().filter(|it| flow.goes_to(std::slice::from_ref(it)));
        networks.filter_map(prefix).map(|prefix| prefix.length).max()
    }
}

impl Traps {
    /// Sets one, in the place of an earlier one of its number; gives the routes of that one.
    pub(super) fn set(&self, trap: Trap, routes: Vec<Route>) -> Vec<Route> {
        let mut sets = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let set = Set { trap, routes, is_open: true.into() };
        match sets.iter_mut().find(|old| old.trap.id == set.trap.id) {
            Some(old) => std::mem::replace(old, set).routes,
            None => {
                sets.push(set);
                Vec::new()
            }
        }
    }

    /// Takes one away; gives its routes.
    pub(super) fn remove(&self, trap: TrapId) -> Vec<Route> {
        let mut sets = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let found = sets.iter().position(|set| set.trap.id == trap);
        found.map(|at| sets.remove(at).routes).unwrap_or_default()
    }

    /// Whom a packet without an SA brings up, if nobody else has yet: the narrowest, as with SAs.
    pub(super) fn spring(&self, flow: &Flow) -> Option<TrapId> {
        if !Trap::is_reason(flow.destination) {
            return None;
        }
        let sets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let fits = |set: &&Set| flow.goes_to(&set.trap.remote_ts) && flow.comes_from(&set.trap.local_ts);
        let set = sets.iter().filter(fits).max_by_key(|set| set.width(flow))?;
        set.is_open.swap(false, Ordering::Relaxed).then_some(set.trap.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tun::Lane;
    use crate::testing::pair::prefix as network;

    const HQ: TrapId = TrapId(7);

    fn trap(remote: &str) -> Trap {
        Trap {
            id: HQ,
            local_ts: [network("10.7.0.0/16")].into(),
            remote_ts: [network(remote)].into(),
            remote: [192, 0, 2, 1].into(),
        }
    }

    fn flow(source: &str, destination: &str) -> Flow {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        Flow { source, destination, protocol: 17, ports: Some((1, 2)) }
    }

    #[test]
    fn the_first_packet_is_told_of_and_the_next_one_when_it_is_set_again() {
        let traps = Traps::default();
        traps.set(trap("10.99.0.0/16"), Vec::new());
        let packet = flow("10.7.0.1", "10.99.0.1");

        assert_eq!(traps.spring(&flow("10.8.0.1", "10.99.0.1")), None, "it is not from here");
        assert_eq!(traps.spring(&flow("10.7.0.1", "10.98.0.1")), None, "it is not for there");
        assert_eq!(traps.spring(&packet), Some(HQ));
        assert_eq!(traps.spring(&packet), None);

        traps.set(trap("10.99.0.0/16"), Vec::new());
        assert_eq!(traps.spring(&packet), Some(HQ));
    }

    #[test]
    fn the_narrowest_is_found_wherever_it_stands() {
        let (wide, narrow) = (trap("10.0.0.0/8"), Trap { id: TrapId(8), ..trap("10.99.0.0/16") });
        for order in [[&wide, &narrow], [&narrow, &wide]] {
            let traps = Traps::default();
            for trap in order {
                traps.set(trap.clone(), Vec::new());
            }

            assert_eq!(traps.spring(&flow("10.7.0.1", "10.99.0.1")), Some(narrow.id));
            assert_eq!(traps.spring(&flow("10.7.0.1", "10.1.0.1")), Some(wide.id));
        }
    }

    #[test]
    fn what_takes_its_place_gives_its_routes_back() {
        let traps = Traps::default();
        let route = |text| (prefix(&network(text)).unwrap(), Lane::Aside);
        assert_eq!(traps.set(trap("10.99.0.0/16"), vec![route("10.99.0.0/16")]), []);

        let old = traps.set(trap("10.1.0.0/16"), vec![route("10.1.0.0/16")]);

        assert_eq!(old, [route("10.99.0.0/16")]);
        assert_eq!(traps.spring(&flow("10.7.0.1", "10.99.0.1")), None);
        assert_eq!(traps.remove(HQ), [route("10.1.0.0/16")]);
        assert_eq!(traps.remove(HQ), []);
        assert_eq!(traps.spring(&flow("10.7.0.1", "10.1.0.1")), None);
    }
}
