//! Which Child SA a packet leaves through.
//!
//! Any thread may ask; one at a time changes something. Hosts are found by their address, networks
//! by their prefix, the longest first, and what is neither one after the other.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::dataplane::esp::Outbound;
use crate::dataplane::packet::Flow;
use crate::dataplane::prefix::{masked, prefix};
use crate::ike::Path;
use crate::ike::wire::{ChildSpi, TrafficSelector};
use crate::net::tun::Prefix;

/// The sending end of a Child SA, for every thread.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) inbound: ChildSpi,
    pub(super) esp: Outbound,
    pub(super) local_ts: Arc<[TrafficSelector]>,
    pub(super) remote_ts: Arc<[TrafficSelector]>,
    path: Mutex<Path>,
    pub(super) carried: Carried,
}

/// What was carried.
#[derive(Debug, Default)]
pub(super) struct Carried {
    bytes: AtomicU64,
    packets: AtomicU64,
}

impl Carried {
    pub(super) fn add(&self, octets: usize) {
        self.bytes.fetch_add(u64::try_from(octets).unwrap_or(0), Ordering::Relaxed);
        self.packets.fetch_add(1, Ordering::Relaxed);
    }

    /// Octets and packets.
    pub(super) fn get(&self) -> (u64, u64) {
        (self.bytes.load(Ordering::Relaxed), self.packets.load(Ordering::Relaxed))
    }
}

impl Outgoing {
    pub(super) fn new(
        inbound: ChildSpi,
        esp: Outbound,
        local_ts: Arc<[TrafficSelector]>,
        remote_ts: Arc<[TrafficSelector]>,
        path: Path,
    ) -> Self {
        Self { inbound, esp, local_ts, remote_ts, path: Mutex::new(path), carried: Carried::default() }
    }

    pub(super) fn path(&self) -> Path {
        *self.path.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_path(&self, path: Path) {
        *self.path.lock().unwrap_or_else(PoisonError::into_inner) = path;
    }
}

/// The routes, shared by all threads.
#[derive(Debug, Default)]
pub(super) struct Routes(RwLock<Tables>);

/// SAs for the same packets, the newest first.
type ByAddress = HashMap<IpAddr, Vec<Arc<Outgoing>>>;

#[derive(Debug, Default)]
struct Tables {
    hosts: ByAddress,
    /// By length, negated, so that the longest come first; then by network.
    networks: BTreeMap<(bool, i16), ByAddress>,
    others: Vec<Arc<Outgoing>>,
}

impl Routes {
    /// The SA that a packet leaves through.
    pub(super) fn find(&self, flow: &Flow) -> Option<Arc<Outgoing>> {
        let tables = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let fits = |sa: &&Arc<Outgoing>| flow.goes_to(&sa.remote_ts) && flow.comes_from(&sa.local_ts);
        let host = tables.hosts.get(&flow.destination);
        if let Some(found) = host.and_then(|sas| sas.iter().find(fits)) {
            return Some(Arc::clone(found));
        }
        let is_ipv6 = flow.destination.is_ipv6();
        for ((_, length), networks) in tables.networks.range((is_ipv6, i16::MIN)..=(is_ipv6, 0)) {
            let network = masked(flow.destination, length.unsigned_abs());
            if let Some(found) = networks.get(&network).and_then(|sas| sas.iter().find(fits)) {
                return Some(Arc::clone(found));
            }
        }
        tables.others.iter().find(fits).map(Arc::clone)
    }

    /// Adds an SA, before all others for the same packets.
    pub(super) fn add(&self, sa: &Arc<Outgoing>) {
        let mut tables = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for place in places(&sa.remote_ts) {
            tables.at(place).insert(0, Arc::clone(sa));
        }
    }

    /// Removes an SA, and nothing that others have.
    pub(super) fn remove(&self, sa: &Outgoing) {
        let mut tables = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for place in places(&sa.remote_ts) {
            tables.at(place).retain(|other| other.inbound != sa.inbound);
            tables.tidy(place);
        }
    }
}

impl Tables {
    fn at(&mut self, place: Place) -> &mut Vec<Arc<Outgoing>> {
        match place {
            Place::Host(address) => self.hosts.entry(address).or_default(),
            Place::Network(prefix) => {
                let networks = self.networks.entry(key(prefix)).or_default();
                networks.entry(prefix.network).or_default()
            }
            Place::Other => &mut self.others,
        }
    }

    /// Lets go of a place that nobody has any more.
    fn tidy(&mut self, place: Place) {
        match place {
            Place::Host(address) => {
                if self.hosts.get(&address).is_some_and(Vec::is_empty) {
                    self.hosts.remove(&address);
                }
            }
            Place::Network(prefix) => {
                let key = key(prefix);
                if let Some(networks) = self.networks.get_mut(&key) {
                    if networks.get(&prefix.network).is_some_and(Vec::is_empty) {
                        networks.remove(&prefix.network);
                    }
                    if networks.is_empty() {
                        self.networks.remove(&key);
                    }
                }
            }
            Place::Other => {}
        }
    }
}

/// Where an SA is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Host(IpAddr),
    Network(Prefix),
    Other,
}

fn key(prefix: Prefix) -> (bool, i16) {
    (prefix.network.is_ipv6(), -i16::from(prefix.length))
}

/// The places of these selectors, each once.
fn places(selectors: &[TrafficSelector]) -> Vec<Place> {
    let mut places: Vec<Place> = selectors
        .iter()
        .map(|selector| match prefix(selector) {
            Some(Prefix { network: IpAddr::V4(host), length: 32 }) => Place::Host(host.into()),
            Some(Prefix { network: IpAddr::V6(host), length: 128 }) => Place::Host(host.into()),
            Some(prefix) => Place::Network(prefix),
            None => Place::Other,
        })
        .collect();
    places.sort_unstable();
    places.dedup();
    places
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::crypto::cipher::{Encr, Protection, TrafficKeys};
    use crate::dataplane::esp::SequenceNumbers;
    use crate::ike::wire::{AddressRange, Ports, Span};

    fn range(first: &str, last: &str) -> TrafficSelector {
        let addresses = match (first.parse().unwrap(), last.parse().unwrap()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => AddressRange::V4(Span::new(first, last).unwrap()),
            (IpAddr::V6(first), IpAddr::V6(last)) => AddressRange::V6(Span::new(first, last).unwrap()),
            _ => panic!("two families"),
        };
        TrafficSelector::Ip { protocol: 0, ports: Ports::Any, addresses }
    }

    fn outgoing(spi: u32, remote: &[TrafficSelector]) -> Arc<Outgoing> {
        let protection = Protection::new(Encr::AesGcm128, None).unwrap();
        let keys = TrafficKeys::new(protection, &[1; 20], &[]).unwrap();
        let esp = Outbound::new(spi.to_be_bytes(), keys, SequenceNumbers::Short);
        let all: Arc<[TrafficSelector]> =
            [range("0.0.0.0", "255.255.255.255"), range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")]
                .into();
        let address = "192.0.2.1:4500".parse().unwrap();
        let path = Path { local: address, remote: address };
        Arc::new(Outgoing::new(ChildSpi(NonZeroU32::new(spi).unwrap()), esp, all, remote.into(), path))
    }

    fn found(routes: &Routes, destination: &str) -> Option<u32> {
        let destination: IpAddr = destination.parse().unwrap();
        let source = if destination.is_ipv4() { "10.1.0.1" } else { "fd01::1" }.parse().unwrap();
        let flow = Flow { source, destination, protocol: 17, ports: Some((1, 2)) };
        routes.find(&flow).map(|sa| sa.inbound.0.get())
    }

    #[test]
    fn the_narrowest_sa_is_found_and_the_newest_of_equals() {
        let routes = Routes::default();
        let sas = [
            outgoing(1, &[range("10.0.0.0", "10.255.255.255")]),
            outgoing(2, &[range("10.99.0.0", "10.99.255.255")]),
            outgoing(3, &[range("10.99.0.7", "10.99.0.7"), range("fd99::7", "fd99::7")]),
            outgoing(4, &[range("10.99.0.7", "10.99.0.7")]),
            outgoing(5, &[range("172.16.0.3", "172.16.0.9")]),
        ];
        sas.iter().for_each(|sa| routes.add(sa));

        assert_eq!(found(&routes, "10.99.0.7"), Some(4));
        assert_eq!(found(&routes, "10.99.0.8"), Some(2));
        assert_eq!(found(&routes, "10.1.1.1"), Some(1));
        assert_eq!(found(&routes, "172.16.0.5"), Some(5));
        assert_eq!(found(&routes, "fd99::7"), Some(3));
        assert_eq!((found(&routes, "11.0.0.1"), found(&routes, "fd99::8")), (None, None));

        routes.remove(&sas[3]);
        assert_eq!(found(&routes, "10.99.0.7"), Some(3));
        sas.iter().for_each(|sa| routes.remove(sa));
        assert_eq!(found(&routes, "10.99.0.7"), None);
        let tables = routes.0.read().unwrap();
        assert!(tables.hosts.is_empty() && tables.networks.is_empty() && tables.others.is_empty());
    }

    #[test]
    fn a_default_route_takes_what_nothing_else_does() {
        let routes = Routes::default();
        routes.add(&outgoing(1, &[range("0.0.0.0", "255.255.255.255")]));
        routes.add(&outgoing(2, &[range("10.99.0.0", "10.99.0.255")]));

        assert_eq!((found(&routes, "8.8.8.8"), found(&routes, "10.99.0.1")), (Some(1), Some(2)));
    }
}
