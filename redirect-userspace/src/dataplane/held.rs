//! The kernel's routes that lead to the interface, and how many hold each of them.

use std::collections::HashMap;

use super::prefix::masked;
use crate::net::tun::{Lane, Prefix};

/// Networks with a route, of all workers.
#[derive(Debug, Default)]
pub(super) struct Held(HashMap<Prefix, usize>);

/// Those of either kind.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    main: Held,
    aside: Held,
}

impl Lanes {
    /// Those of one kind.
    pub(super) const fn of(&mut self, lane: Lane) -> &mut Held {
        match lane {
            Lane::Main => &mut self.main,
            Lane::Aside => &mut self.aside,
        }
    }
}

impl Held {
    /// Holds the route to a network; says whether it is new.
    pub(super) fn hold(&mut self, prefix: Prefix) -> bool {
        let count = self.0.entry(prefix).or_insert(0);
        *count += 1;
        *count == 1
    }

    /// Lets go of it; says whether nobody holds it any more.
    pub(super) fn release(&mut self, prefix: Prefix) -> bool {
        let Some(count) = self.0.get_mut(&prefix) else { return false };
        *count = count.saturating_sub(1);
        let is_over = *count == 0;
        if is_over {
            self.0.remove(&prefix);
        }
        is_over
    }

    /// Whether an SA has to hold the route to a network: it has one of its own, or none leads there.
    pub(super) fn is_needed(&self, wanted: Prefix) -> bool {
        let around = |length| Prefix { network: masked(wanted.network, u16::from(length)), length };
        self.0.contains_key(&wanted) || !(0..wanted.length).any(|length| self.0.contains_key(&around(length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(network: &str, length: u8) -> Prefix {
        Prefix { network: network.parse().unwrap(), length }
    }

    #[test]
    fn an_address_of_a_pool_needs_no_route_beside_the_pools() {
        let mut held = Held::default();
        assert!(held.is_needed(prefix("10.98.1.7", 32)));

        assert!(held.hold(prefix("10.98.1.0", 24)));

        assert!(!held.is_needed(prefix("10.98.1.7", 32)));
        assert!(held.is_needed(prefix("10.98.2.7", 32)));
        assert!(held.is_needed(prefix("fd98:1::7", 128)));
    }

    #[test]
    fn a_route_stays_until_the_last_of_those_who_need_it_is_gone() {
        let mut held = Held::default();
        let site = prefix("10.7.0.0", 16);
        assert!(held.hold(site));

        // Of another worker: it cannot know when the first one lets go.
        assert!(held.is_needed(site));
        assert!(!held.hold(site));

        assert!(!held.release(site));
        assert!(held.release(site));
        assert!(!held.release(site));
    }
}
