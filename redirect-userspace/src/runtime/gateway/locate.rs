//! Where gateways are: addresses of names, and our own address on the way to each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{SockaddrStorage, setsockopt, sockopt};

use super::door::{Door, Order};
use crate::gateway::{Fqdn, GatewayAddress};
use crate::ike::{NAT_T_PORT, Request, SaId, Way};
use crate::net::ike::Port;
use crate::net::rules::MARK;

/// Answers one worker's questions, without keeping it waiting.
#[derive(Debug)]
pub(super) struct Locator {
    door: Door,
    /// Names that are being resolved.
    busy: Arc<AtomicUsize>,
}

impl Locator {
    /// Answers by this way into the worker.
    pub(super) fn new(door: Door) -> Self {
        Self { door, busy: Arc::default() }
    }

    /// Finds a gateway, now or later.
    pub(super) fn locate(&self, request: Request, host: GatewayAddress) {
        match host {
            GatewayAddress::Ipv4(address) => self.answer(request, &[address.into()]),
            GatewayAddress::Ipv6(address) => self.answer(request, &[address.into()]),
            GatewayAddress::Fqdn(name) => self.resolve(request, name),
        }
    }

    /// The system's resolver may take its time, so it is asked on another thread.
    fn resolve(&self, request: Request, name: Fqdn) {
        let own = Self { door: self.door.clone(), busy: Arc::clone(&self.busy) };
        if self.busy.fetch_add(1, Ordering::Relaxed) < MAX_BUSY {
            let find = move || {
                own.answer(request, &addresses(&name));
                own.busy.fetch_sub(1, Ordering::Relaxed);
            };
            match thread::Builder::new().name("ike-names".to_owned()).spawn(find) {
                Ok(_detached) => return,
                Err(error) => tracing::warn!(%error, "a name cannot be resolved: no thread"),
            }
        }
        self.busy.fetch_sub(1, Ordering::Relaxed);
        self.answer(request, &[]);
    }

    fn answer(&self, request: Request, hosts: &[IpAddr]) {
        self.door.order(Order::Located(request, ways(hosts)));
    }

    /// Finds the ways to peers that can be spoken to through these sockets.
    pub(super) fn find_ways(&self, asker: Option<SaId>, remotes: Vec<IpAddr>, ports: &[Port]) {
        let mut ways = ways(&remotes);
        let is_open = |way: &Way| ports.iter().any(|port| port.is_for((way.local, NAT_T_PORT).into()));
        ways.retain(is_open);
        self.door.order(Order::Ways(asker, remotes, ways));
    }
}

/// The ways to these addresses, as far as there are any.
fn ways(hosts: &[IpAddr]) -> Vec<Way> {
    let own = if hosts.is_empty() { Vec::new() } else { own_addresses() };
    let way = |remote: &IpAddr| {
        // The system would not always talk to itself from the address that it talks to.
        let is_own = own.contains(remote);
        let local = if is_own { *remote } else { local_address((*remote, ANY_PORT).into()).ok()? };
        Some(Way { local, remote: *remote })
    };
    hosts.iter().filter_map(way).collect()
}

/// The addresses of a name, the preferred one first, each once.
fn addresses(name: &Fqdn) -> Vec<IpAddr> {
    let found = match (name.as_str(), ANY_PORT).to_socket_addrs() {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(%error, %name, "a name was not resolved");
            return Vec::new();
        }
    };
    let mut addresses = Vec::new();
    for address in found.map(|address| address.ip()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// The addresses that this machine has.
fn own_addresses() -> Vec<IpAddr> {
    let address = |storage: SockaddrStorage| {
        let ipv4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        ipv4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    };
    match getifaddrs() {
        Ok(interfaces) => interfaces.filter_map(|interface| address(interface.address?)).collect(),
        Err(error) => {
            tracing::warn!(%error, "the addresses of this machine are not known");
            Vec::new()
        }
    }
}

/// Our address on the way to a peer.
pub(super) fn local_address(remote: SocketAddr) -> std::io::Result<IpAddr> {
    let any: SocketAddr = match remote {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    // As the sockets of IKE are routed: not into a tunnel. Without the right to it, neither are they.
    let _denied = setsockopt(&socket, sockopt::Mark, &MARK);
    // Sends nothing: it only asks for the route.
    socket.connect(remote)?;
    Ok(socket.local_addr()?.ip())
}

/// Routes do not depend on it.
const ANY_PORT: u16 = 500;
/// Most names that are resolved at the same time.
const MAX_BUSY: usize = 8;

#[cfg(test)]
mod tests {
    use super::super::door::Mailbox;
    use super::*;

    fn ask(host: &str) -> Vec<Way> {
        let mailbox = Mailbox::new().unwrap();
        let request = Request::default();
        Locator::new(mailbox.door()).locate(request, host.parse().unwrap());
        let Some(Order::Located(answered, ways)) = mailbox.wait() else { panic!("no answer") };
        assert_eq!(answered, request);
        ways
    }

    #[test]
    fn the_way_to_an_address_of_our_own_begins_and_ends_there() {
        let own = own_addresses();
        assert!(own.contains(&[127, 0, 0, 1].into()), "{own:?}");

        for address in own.into_iter().filter(|address| crate::gateway::unicast(*address).is_ok()) {
            assert_eq!(ask(&address.to_string()), [Way { local: address, remote: address }]);
        }
    }

    #[test]
    fn a_name_that_is_nobodys_is_answered_with_nothing() {
        // RFC 6761 §6.4: it does not exist.
        assert_eq!(ask("gateway.invalid"), []);
    }
}
