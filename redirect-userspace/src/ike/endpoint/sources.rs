//! Where those come from whose SAs are half-open, and how many of one place there may be.
//!
//! A place is an address, and the network around it: whoever floods from many addresses has them side
//! by side. Many clients share an address behind a carrier's NAT, so that a place may have as many more
//! as clients have come up from it lately: nobody who has not authenticated himself there gains by it.
//!
//! # Invariants
//!
//! - There are as many places as half-open SAs, twice; and at most [`MAX_PROVEN`] that are trusted, twice.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::ike::config::Limits;
use crate::time::{Instant, Now};

/// A network by its first address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place(IpAddr, Extent);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Extent {
    /// One customer: an IPv4 address, or what is given to an IPv6 link.
    Source,
    /// Those around him: 256 IPv4 addresses, or what is given to an IPv6 site (`RFC 6177`).
    Prefix,
}

impl Place {
    const fn of(address: IpAddr, extent: Extent) -> Self {
        let network = match (address, extent) {
            (IpAddr::V4(_), Extent::Source) => address,
            (IpAddr::V4(address), Extent::Prefix) => {
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 8)))
            }
            (IpAddr::V6(address), Extent::Source) => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
            }
            (IpAddr::V6(address), Extent::Prefix) => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 80)))
            }
        };
        Self(network, extent)
    }
}

/// Whether a place may have another half-open SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It may.
    Enough,
    /// It may, if whoever asks is there: half of it is in use.
    ForThoseWhoAreThere,
    /// The address has as many as it may.
    NoneForSource(usize),
    /// The network has as many as it may.
    NoneForPrefix(usize),
}

#[derive(Debug, Default)]
pub(super) struct Sources {
    half_open: HashMap<Place, usize>,
    /// Clients that have come up, by their place: lately, and in the time before that.
    proven: [HashMap<Place, usize>; 2],
    turned_at: Instant,
}

impl Sources {
    /// Another half-open SA.
    pub(super) fn begin(&mut self, source: IpAddr) {
        for extent in [Extent::Source, Extent::Prefix] {
            *self.half_open.entry(Place::of(source, extent)).or_insert(0) += 1;
        }
    }

    /// It is not half-open any more.
    pub(super) fn end(&mut self, source: IpAddr) {
        for extent in [Extent::Source, Extent::Prefix] {
            let place = Place::of(source, extent);
            if let Some(count) = self.half_open.get_mut(&place) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.half_open.remove(&place);
                }
            }
        }
    }

    /// A client has authenticated itself from there.
    pub(super) fn prove(&mut self, now: Now, source: IpAddr) {
        self.turn(now);
        let [lately, _] = &mut self.proven;
        for extent in [Extent::Source, Extent::Prefix] {
            let place = Place::of(source, extent);
            if lately.len() < MAX_PROVEN || lately.contains_key(&place) {
                *lately.entry(place).or_insert(0) += 1;
            }
        }
    }

    /// Whether there may be another half-open SA of this source.
    pub(super) fn room(&mut self, now: Now, source: IpAddr, limits: &Limits) -> Room {
        self.turn(now);
        let of = |extent, least: usize| {
            let place = Place::of(source, extent);
            let has = self.half_open.get(&place).copied().unwrap_or(0);
            let proven = self.proven.iter().filter_map(|proven| proven.get(&place)).sum::<usize>();
            // Not all, whoever they are: others want to come in as well.
            (has, least.saturating_add(proven.min(limits.half_open / 2)))
        };
        let (of_source, may_source) = of(Extent::Source, limits.half_open_per_source);
        let (of_prefix, may_prefix) = of(Extent::Prefix, limits.half_open_per_prefix);
        if of_source >= may_source {
            Room::NoneForSource(may_source)
        } else if of_prefix >= may_prefix {
            Room::NoneForPrefix(may_prefix)
        } else if of_source >= may_source.div_ceil(2) || of_prefix >= may_prefix.div_ceil(2) {
            Room::ForThoseWhoAreThere
        } else {
            Room::Enough
        }
    }

    fn turn(&mut self, now: Now) {
        let age = now.mono.since(self.turned_at);
        if age < TRUST {
            return;
        }
        let [lately, before] = &mut self.proven;
        *before = std::mem::take(lately);
        if age >= 2 * TRUST {
            before.clear();
        }
        self.turned_at = now.mono;
    }

    /// Checks that these are the sources of the half-open SAs.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn audit(&self, sources: impl Iterator<Item = IpAddr>) {
        let mut expected = Self::default();
        sources.for_each(|source| expected.begin(source));
        assert_eq!(expected.half_open, self.half_open);
        assert!(self.proven.iter().all(|proven| proven.len() <= MAX_PROVEN));
    }
}

/// How long a client that has come up speaks for its place; for at most as long again it still does.
const TRUST: Duration = Duration::from_secs(1_800);
/// Places that are trusted at a time.
const MAX_PROVEN: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(source: usize, prefix: usize) -> Limits {
        Limits {
            half_open: 1_000,
            half_open_per_source: source,
            half_open_per_prefix: prefix,
            ..Limits::default()
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_ipv6_source_is_a_link_and_its_prefix_a_site() {
        let (now, mut sources) = (Now::default(), Sources::default());
        let limits = limits(2, 4);
        for host in ["2001:db8:1:1::1", "2001:db8:1:1:ffff::2"] {
            sources.begin(ip(host));
        }
        let mut room = |host| sources.room(now, ip(host), &limits);

        assert_eq!(room("2001:db8:1:1::3"), Room::NoneForSource(2));
        assert_eq!(room("2001:db8:1:2::1"), Room::ForThoseWhoAreThere);
        assert_eq!(room("2001:db8:2:1::1"), Room::Enough);
    }

    #[test]
    fn side_by_side_with_many_there_is_no_room_and_elsewhere_there_is() {
        let (now, mut sources) = (Now::default(), Sources::default());
        let limits = limits(2, 4);
        for host in ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.255"] {
            sources.begin(ip(host));
        }

        assert_eq!(sources.room(now, ip("10.0.0.4"), &limits), Room::NoneForPrefix(4));
        assert_eq!(sources.room(now, ip("10.0.1.4"), &limits), Room::Enough);
        sources.end(ip("10.0.0.255"));
        assert_eq!(sources.room(now, ip("10.0.0.4"), &limits), Room::ForThoseWhoAreThere);
    }

    #[test]
    fn a_place_may_have_as_many_more_as_have_come_up_from_it_for_a_while() {
        let (start, mut sources) = (Now::default(), Sources::default());
        let limits = limits(1, 1);
        let client = ip("10.0.0.1");
        (0..3).for_each(|_| sources.prove(start, client));
        (0..3).for_each(|_| sources.begin(client));
        let mut at = |after| sources.room(start.after(after), client, &limits);

        assert_eq!(at(Duration::ZERO), Room::ForThoseWhoAreThere, "one and three");
        assert_eq!(at(TRUST), Room::ForThoseWhoAreThere);
        assert_eq!(at(2 * TRUST), Room::NoneForSource(1), "not for ever");
    }

    #[test]
    fn trust_ends_where_nobody_has_asked_for_long() {
        let (start, mut sources) = (Now::default(), Sources::default());
        let client = ip("10.0.0.1");
        sources.prove(start, client);
        sources.begin(client);

        assert_eq!(sources.room(start.after(2 * TRUST), client, &limits(1, 9)), Room::NoneForSource(1));
    }

    #[test]
    fn no_place_is_trusted_with_more_than_half_of_all() {
        let (now, mut sources) = (Now::default(), Sources::default());
        let client = ip("10.0.0.1");
        for _ in 0..2_000 {
            sources.prove(now, client);
            sources.begin(client);
        }

        assert_eq!(sources.room(now, client, &limits(10, 10)), Room::NoneForSource(510));
    }
}
