//! A TUN interface: IP packets that this process reads and writes, and the routes that lead there.
//!
//! # Invariants
//!
//! - The interface, its addresses and its routes are gone when the last queue is closed, however the
//!   process ends.

#![expect(unsafe_code, reason = "making a TUN interface has no safe wrapper")]

use std::fs::OpenOptions;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::{Context as _, ensure};
use nix::errno::Errno;
use nix::libc;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkMessage,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::{Netlink, Order, Which};
use super::rules;

/// A TUN interface.
#[derive(Debug)]
pub struct Tun {
    name: String,
    index: u32,
}

/// One queue of a TUN interface: whoever reads it gets some of the packets, whoever writes it gives
/// packets to the kernel. Never blocks.
#[derive(Debug)]
pub struct Queue(OwnedFd);

/// What the kernel leaves to us in a packet that it hands over, or we to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// The checksum is not complete: where what it covers begins, and where in that it stands.
    pub checksum: Option<(u16, u16)>,
    /// It is to be cut.
    pub segment: Option<Segment>,
    /// Octets of headers of a packet that is to be cut.
    pub headers: u16,
}

/// How a TCP packet is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Which family it is of.
    pub is_ipv6: bool,
    /// Octets of the stream in each part.
    pub size: u16,
}

impl Offload {
    /// Octets of it in front of a packet: `struct virtio_net_hdr`.
    const LENGTH: usize = 10;
    const NEEDS_CHECKSUM: u8 = 1;
    const TCP4: u8 = 1;
    const TCP6: u8 = 4;

    fn to_octets(self) -> [u8; Self::LENGTH] {
        let (flags, (start, at)) = match self.checksum {
            Some(place) => (Self::NEEDS_CHECKSUM, place),
            None => (0, (0, 0)),
        };
        let (kind, size) = match self.segment {
            Some(Segment { is_ipv6, size }) => (if is_ipv6 { Self::TCP6 } else { Self::TCP4 }, size),
            None => (0, 0),
        };
        let [h0, h1] = self.headers.to_ne_bytes();
        let [z0, z1] = size.to_ne_bytes();
        let [s0, s1] = start.to_ne_bytes();
        let [a0, a1] = at.to_ne_bytes();
        [flags, kind, h0, h1, z0, z1, s0, s1, a0, a1]
    }

    /// `None` when it is to be cut in a way that we have not asked for.
    fn from_octets(octets: [u8; Self::LENGTH]) -> Option<Self> {
        let [flags, kind, h0, h1, z0, z1, s0, s1, a0, a1] = octets;
        let number = u16::from_ne_bytes;
        let segment = match kind {
            0 => None,
            Self::TCP4 | Self::TCP6 => Some(Segment { is_ipv6: kind == Self::TCP6, size: number([z0, z1]) }),
            _ => return None,
        };
        let needs = flags & Self::NEEDS_CHECKSUM != 0;
        let checksum = needs.then_some((number([s0, s1]), number([a0, a1])));
        Some(Self { checksum, segment, headers: number([h0, h1]) })
    }
}

/// Addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// The first of them.
    pub network: IpAddr,
    /// How many bits they share.
    pub length: u8,
}

/// Where a route stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// With those of the system.
    Main,
    /// Where the tunnels' own packets do not look: the other end of one is in that network itself.
    Aside,
}

impl Drop for Tun {
    fn drop(&mut self) {
        // Routes go with the interface, rules do not. Those that cannot be removed lead nowhere.
        let _left = Netlink::open().and_then(|mut netlink| rules::clear(&mut netlink));
    }
}

impl Tun {
    /// Makes an interface with so many queues and switches it on.
    ///
    /// # Errors
    ///
    /// The name is taken, TUN is not there, or it takes rights that this process does not have.
    pub fn create(name: &str, mtu: u16, queues: usize) -> anyhow::Result<(Self, Vec<Queue>)> {
        let queues = (0..queues.max(1))
            .map(|_| open(name))
            .collect::<Result<Vec<_>, _>>()
            .with_context(|| format!("making the TUN interface {name}"))?;
        let mut netlink = Netlink::open().context("asking the kernel for interfaces")?;
        Ok((Self::switched_on(name, mtu, &mut netlink)?, queues))
    }

    /// Switches an interface on that has just been made.
    pub(super) fn switched_on(name: &str, mtu: u16, netlink: &mut Netlink) -> anyhow::Result<Self> {
        // Those of one that was killed.
        let _one_table = rules::clear(netlink);
        let link = netlink.link(Which::Name(name))?.with_context(|| format!("{name} is not there"))?;
        let mut message = LinkMessage::default();
        message.header.index = link.index;
        message.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![
            AfSpecInet6::AddrGenMode(In6AddrGenMode::None),
        ])]));
        // Without IPv6 in the kernel there is no such mode, and no need for it.
        let _no_ipv6 = netlink.do_one(Order::new(RouteNetlinkMessage::SetLink(message)));
        let mut message = LinkMessage::default();
        message.header.index = link.index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes.push(LinkAttribute::Mtu(u32::from(mtu)));
        netlink
            .do_one(Order::new(RouteNetlinkMessage::SetLink(message)))
            .with_context(|| format!("switching {name} on"))?;
        Ok(Self { name: name.to_owned(), index: link.index })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Leads packets for these addresses into the interface. A route of the system to the same
    /// network stays behind it.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn add_route(&self, prefix: Prefix, lane: Lane) -> io::Result<()> {
        let mut netlink = Netlink::open()?;
        let message = RouteNetlinkMessage::NewRoute(self.route(prefix, lane));
        netlink.do_one(Order { message, flags: NLM_F_CREATE })?;
        match lane {
            Lane::Main => Ok(()),
            Lane::Aside => rules::add(&mut netlink, prefix),
        }
    }

    /// Does not lead them there any more.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn remove_route(&self, prefix: Prefix, lane: Lane) -> io::Result<()> {
        let mut netlink = Netlink::open()?;
        if lane == Lane::Aside {
            rules::remove(&mut netlink, prefix)?;
        }
        netlink.do_one(Order::new(RouteNetlinkMessage::DelRoute(self.route(prefix, lane))))
    }

    /// Gives the interface an address, which this machine has from then on.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn add_address(&self, address: IpAddr) -> io::Result<()> {
        let message = RouteNetlinkMessage::NewAddress(self.address(address));
        Netlink::open()?.do_one(Order { message, flags: NLM_F_CREATE | NLM_F_REPLACE })
    }

    /// Takes an address away again.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn remove_address(&self, address: IpAddr) -> io::Result<()> {
        Netlink::open()?.do_one(Order::new(RouteNetlinkMessage::DelAddress(self.address(address))))
    }

    fn route(&self, prefix: Prefix, lane: Lane) -> RouteMessage {
        let mut message = RouteMessage::default();
        let address = match prefix.network {
            IpAddr::V4(network) => {
                message.header.address_family = AddressFamily::Inet;
                RouteAddress::Inet(network)
            }
            IpAddr::V6(network) => {
                message.header.address_family = AddressFamily::Inet6;
                RouteAddress::Inet6(network)
            }
        };
        message.header.destination_prefix_length = prefix.length;
        message.header.table = match lane {
            Lane::Main => RouteHeader::RT_TABLE_MAIN,
            Lane::Aside => RouteHeader::RT_TABLE_UNSPEC,
        };
        message.header.protocol = RouteProtocol::Other(ROUTE_PROTOCOL);
        message.header.scope = if prefix.network.is_ipv4() { RouteScope::Link } else { RouteScope::Universe };
        message.header.kind = RouteType::Unicast;
        message.attributes = vec![RouteAttribute::Destination(address), RouteAttribute::Oif(self.index)];
        if lane == Lane::Aside {
            message.attributes.push(RouteAttribute::Table(rules::TABLE));
        }
        // Of equal IPv4 routes the newest is in front, which the least metric, none, makes it;
        // IPv6 has no metric of none.
        if prefix.network.is_ipv6() {
            message.attributes.push(RouteAttribute::Priority(IPV6_METRIC));
        }
        message
    }

    fn address(&self, address: IpAddr) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.index = self.index;
        match address {
            IpAddr::V4(_) => {
                message.header.family = AddressFamily::Inet;
                message.header.prefix_len = 32;
            }
            IpAddr::V6(_) => {
                message.header.family = AddressFamily::Inet6;
                message.header.prefix_len = 128;
                message.header.flags = AddressHeaderFlags::Nodad;
            }
        }
        message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
        message
    }
}

impl Queue {
    /// The next packet, and what is left to us in it; `None` when there is none at the moment.
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn read(&self, packet: &mut [u8]) -> nix::Result<Option<(Offload, usize)>> {
        let mut head = [0; Offload::LENGTH];
        let parts = &mut [IoSliceMut::new(&mut head), IoSliceMut::new(packet)];
        match nix::sys::uio::readv(&self.0, parts) {
            Ok(length) => {
                let offload = Offload::from_octets(head).ok_or(Errno::EPROTO)?;
                Ok(Some((offload, length.saturating_sub(Offload::LENGTH))))
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives a packet to the kernel, and what is left to it.
    ///
    /// # Errors
    ///
    /// Those of the system call: the packet is lost.
    pub fn write(&self, offload: Offload, packet: &[u8]) -> nix::Result<()> {
        let head = offload.to_octets();
        nix::sys::uio::writev(&self.0, &[IoSlice::new(&head), IoSlice::new(packet)]).map(drop)
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Opens a queue of an interface, which the first one makes.
fn open(name: &str) -> anyhow::Result<Queue> {
    ensure!(name.len() < libc::IFNAMSIZ, "the name is too long");
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    // SAFETY: all of its parts are numbers, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, octet) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = libc::c_char::from_ne_bytes([octet]);
    }
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_MULTI_QUEUE | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = i16::try_from(flags)?;
    // SAFETY: `request` lives beyond the call, which reads and writes one `ifreq`.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    Errno::result(result)?;
    let offloads = libc::c_ulong::from(libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6);
    // SAFETY: the argument is a number. A kernel that refuses hands over what is complete.
    let _refused = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD, offloads) };
    Ok(Queue(file.into()))
}

/// Marks our routes: `RTPROT_STATIC` and those below are others'.
pub(super) const ROUTE_PROTOCOL: u8 = 79;
/// Before all IPv6 routes that are made without a metric, which get 1024.
const IPV6_METRIC: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_to_the_kernel_is_read_back() {
        let segment = Some(Segment { is_ipv6: true, size: 1_348 });
        let offload = Offload { checksum: Some((40, 16)), segment, headers: 72 };

        assert_eq!(Offload::from_octets(offload.to_octets()), Some(offload));
        assert_eq!(Offload::default().to_octets(), [0; 10]);
        // `VIRTIO_NET_HDR_GSO_UDP`
        assert_eq!(Offload::from_octets([0, 3, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
