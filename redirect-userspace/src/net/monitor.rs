//! What becomes of interfaces: up, down, gone, back under the same name, other addresses.
//!
//! The kernel's notifications only say that something has changed. What it is now, we ask: a state
//! that is put together from notifications is wrong for ever once one is lost.

#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel has many notifications; we use a few")]

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use tokio::io::unix::AsyncFd;

use super::netlink::{Address, BUFFER, Link, Messages, Netlink, Which};
use super::readable;
use super::vip::ADDRESS_PROTOCOL;
use crate::hsrp::MacAddress;

/// An interface as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceState {
    /// Its number. Another one under the same name means another interface: sockets that were
    /// bound to the former one are dead.
    pub index: u32,
    /// Switched on, and connected.
    pub is_up: bool,
    /// Its own MAC address; `None` when it is no Ethernet.
    pub mac: Option<MacAddress>,
    /// Its primary IPv4 address and prefix length, never a virtual one.
    pub ipv4: Option<(Ipv4Addr, u8)>,
    /// Its link-local IPv6 address, never a virtual one.
    pub link_local: Option<Ipv6Addr>,
}

/// Something has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Name of the interface.
    pub interface: Arc<str>,
    /// What it is now; `None` when there is none of that name.
    pub state: Option<InterfaceState>,
}

/// Watches interfaces by name.
pub struct Monitor {
    notifications: AsyncFd<OwnedFd>,
    netlink: Netlink,
    watched: Vec<Watched>,
    /// Something has changed since the kernel was last asked.
    is_stale: bool,
    /// Not told yet.
    pending: VecDeque<Change>,
    buffer: Box<[u8]>,
}

#[derive(Debug)]
struct Watched {
    name: Arc<str>,
    told: Option<Option<InterfaceState>>,
}

impl Monitor {
    /// Watches the interfaces of this thread's network namespace that have these names, whether
    /// they exist or not.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// The kernel cannot be asked.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let netlink = Netlink::open().context("opening a netlink socket")?;
        // Before the first question, so that nothing changes unnoticed between the two.
        let notifications = subscribe().context("subscribing to changes of interfaces")?;
        let mut monitor = Self {
            notifications,
            netlink,
            watched: Vec::new(),
            is_stale: true,
            pending: VecDeque::new(),
            buffer: vec![0; BUFFER].into_boxed_slice(),
        };
        monitor.watch(names)?;
        Ok(monitor)
    }

    /// Watches these from now on, and no others. Those that are new are told about next.
    ///
    /// # Errors
    ///
    /// The kernel cannot be asked.
    pub fn watch<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let former = std::mem::take(&mut self.watched);
        for name in names {
            if self.watched.iter().all(|other| *other.name != *name) {
                let told = former.iter().find(|other| *other.name == *name).and_then(|it| it.told.clone());
                self.watched.push(Watched { name: name.into(), told });
            }
        }
        self.pending.retain(|change| self.watched.iter().any(|it| it.name == change.interface));
        self.is_stale = true;
        self.ask_again()
    }

    /// Waits for a change. The first one of every interface tells what it is at the start.
    /// Nothing is lost when the caller stops waiting.
    ///
    /// # Errors
    ///
    /// The kernel cannot be asked. The next call tries again.
    pub async fn next(&mut self) -> Result<Change> {
        loop {
            if let Some(change) = self.pending.pop_front() {
                return Ok(change);
            }
            if self.is_stale {
                self.ask_again()?;
                continue;
            }
            let mut ready = self.notifications.readable().await.context("waiting for notifications")?;
            let drained = drain(ready.get_inner(), &mut self.buffer, &self.watched);
            let Drained { is_empty, concerns_us } = drained.context("reading notifications")?;
            if is_empty {
                ready.clear_ready();
            }
            self.is_stale = concerns_us;
        }
    }

    fn ask_again(&mut self) -> Result<()> {
        for watched in &mut self.watched {
            let state = state(&mut self.netlink, &watched.name)
                .with_context(|| format!("asking about interface {}", watched.name))?;
            if watched.told.as_ref() != Some(&state) {
                watched.told = Some(state.clone());
                self.pending.push_back(Change { interface: Arc::clone(&watched.name), state });
            }
        }
        self.is_stale = false;
        Ok(())
    }
}

fn subscribe() -> io::Result<AsyncFd<OwnedFd>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    let groups = GROUP_LINK | GROUP_IPV4_ADDRESS | GROUP_IPV6_ADDRESS;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    readable(socket)
}

/// What reading the notifications has brought.
struct Drained {
    is_empty: bool,
    concerns_us: bool,
}

/// Reads notifications, a bounded number of them: others want the thread as well.
fn drain(socket: &OwnedFd, buffer: &mut [u8], watched: &[Watched]) -> io::Result<Drained> {
    let mut concerns_us = false;
    for _ in 0..MOST_AT_ONCE {
        match recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => {
                let octets = buffer.get(..length).unwrap_or_default();
                concerns_us |= Messages(octets).any(|it| it.is_none_or(|it| concerns(&it, watched)));
            }
            Err(Errno::EAGAIN) => return Ok(Drained { is_empty: true, concerns_us }),
            Err(Errno::EINTR) => {}
            // Some did not fit: whatever they were, we ask.
            Err(Errno::ENOBUFS) => concerns_us = true,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Drained { is_empty: false, concerns_us })
}

/// Whether a notification is about an interface that is watched, or that may have taken the name
/// of one.
fn concerns(message: &NetlinkMessage<RouteNetlinkMessage>, watched: &[Watched]) -> bool {
    let is_known = |index: u32| watched.iter().any(|it| it.told.iter().flatten().any(|is| is.index == index));
    match &message.payload {
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link),
        ) => {
            let link = Link::read(link);
            is_known(link.index) || watched.iter().any(|it| *it.name == *link.name)
        }
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address),
        ) => is_known(address.header.index),
        _ => true,
    }
}

fn state(netlink: &mut Netlink, name: &str) -> io::Result<Option<InterfaceState>> {
    let Some(link) = netlink.link(Which::Name(name))? else { return Ok(None) };
    let addresses = netlink.addresses(Some(link.index))?;
    Ok(Some(InterfaceState {
        index: link.index,
        is_up: link.is_running,
        mac: link.mac.filter(|_| link.is_ethernet),
        ipv4: ipv4(&addresses),
        link_local: link_local(&addresses),
    }))
}

/// The first one that is not the second of its network.
fn ipv4(addresses: &[Address]) -> Option<(Ipv4Addr, u8)> {
    let own =
        addresses.iter().filter(|address| address.protocol != ADDRESS_PROTOCOL && !address.is_secondary);
    own.filter_map(|own| match own.address {
        IpAddr::V4(address) => Some((address, own.prefix)),
        IpAddr::V6(_) => None,
    })
    .next()
}

fn link_local(addresses: &[Address]) -> Option<Ipv6Addr> {
    let own = addresses.iter().filter(|address| address.protocol != ADDRESS_PROTOCOL && address.is_usable);
    own.filter_map(|own| match own.address {
        IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    })
    .next()
}

/// `RTMGRP_LINK`
const GROUP_LINK: u32 = 1;
/// `RTMGRP_IPV4_IFADDR`
const GROUP_IPV4_ADDRESS: u32 = 0x10;
/// `RTMGRP_IPV6_IFADDR`
const GROUP_IPV6_ADDRESS: u32 = 0x100;
const MOST_AT_ONCE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(address: &str, prefix: u8) -> Address {
        let address = address.parse().unwrap();
        Address { interface: 2, address, prefix, protocol: 0, is_secondary: false, is_usable: true }
    }

    #[test]
    fn the_primary_address_is_neither_secondary_nor_virtual() {
        let vip = Address { protocol: ADDRESS_PROTOCOL, ..address("10.50.0.5", 32) };
        let second = Address { is_secondary: true, ..address("10.50.0.4", 24) };

        let found = ipv4(&[vip, second, address("fd50::1", 64), address("10.50.0.3", 24)]);

        assert_eq!(found, Some(([10, 50, 0, 3].into(), 24)));
        assert_eq!(ipv4(&[vip, second]), None);
    }

    #[test]
    fn the_link_local_address_is_neither_tentative_nor_virtual() {
        let vip = Address { protocol: ADDRESS_PROTOCOL, ..address("fe80::5:73ff:fea0:1", 64) };
        let tentative = Address { is_usable: false, ..address("fe80::1", 64) };

        let found = link_local(&[vip, tentative, address("fd50::1", 64), address("fe80::2", 64)]);

        assert_eq!(found, Some("fe80::2".parse().unwrap()));
        assert_eq!(link_local(&[vip, tentative]), None);
    }

    #[tokio::test]
    async fn every_interface_is_told_about_at_the_start() {
        let mut monitor = Monitor::new(["lo", "not-there", "lo"]).unwrap();

        let lo = monitor.next().await.unwrap();
        let absent = monitor.next().await.unwrap();

        assert_eq!((&*lo.interface, lo.state.map(|state| state.index)), ("lo", Some(1)));
        assert_eq!((&*absent.interface, absent.state), ("not-there", None));
        assert!(monitor.pending.is_empty());
    }

    #[tokio::test]
    async fn only_what_is_new_is_told_when_others_are_watched() {
        let mut monitor = Monitor::new(["lo"]).unwrap();
        monitor.next().await.unwrap();

        monitor.watch(["not-there", "lo"]).unwrap();

        assert_eq!(&*monitor.next().await.unwrap().interface, "not-there");
        assert!(monitor.pending.is_empty());
    }
}
