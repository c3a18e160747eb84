//! Sockets that hear HSRP on one interface.
//!
//! Sending is the business of [`super::ethernet`]: an active router's frames come from the virtual
//! MAC, which no UDP socket of the interface can do.
//!
//! # Invariants
//!
//! - A datagram counts only when it arrived on this interface and was sent to the group's address
//!   and port. The kernel sees to both, because the sockets are bound to both.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::task::Poll;

use anyhow::{Context as _, Result};
use nix::net::if_::if_indextoname;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, bind, setsockopt, socket,
    sockopt,
};
use rustix::net::sockopt::{set_ip_add_membership_with_ifindex, set_ipv6_add_membership};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use super::ethernet::multicast_mac;
use crate::hsrp::MacAddress;

/// Where the routers of a version and family talk to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Version 1: 224.0.0.2, port 1985.
    V1,
    /// Version 2 among IPv4 addresses: 224.0.0.102, port 1985.
    V2,
    /// Version 2 among IPv6 addresses: ff02::66, port 2029.
    Ipv6,
}

impl Channel {
    /// The group's address.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        match self {
            Self::V1 => IpAddr::V4(Ipv4Addr::new(224, 0, 0, 2)),
            Self::V2 => IpAddr::V4(Ipv4Addr::new(224, 0, 0, 102)),
            Self::Ipv6 => IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x66)),
        }
    }

    /// The UDP port, of both ends.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::V1 | Self::V2 => 1985,
            Self::Ipv6 => 2029,
        }
    }

    /// The Ethernet destination.
    #[must_use]
    pub fn mac(self) -> MacAddress {
        multicast_mac(self.address())
    }
}

/// The sockets of one interface.
#[derive(Debug)]
pub struct Sockets {
    sockets: Vec<(Channel, UdpSocket)>,
    buffer: Box<[u8]>,
    /// Which socket is asked first, so that a flood on one channel does not hide the others.
    turn: usize,
}

/// A datagram of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub source: IpAddr,
    /// Where to.
    pub channel: Channel,
    /// What the UDP header was followed by.
    pub payload: &'a [u8],
}

impl Sockets {
    /// Listens to `channels` on the interface with this number, in the network namespace of this
    /// thread. When the interface is deleted they hear nothing any more, not even on a new one of
    /// the same name.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// There is no such interface, or a system call fails.
    pub fn open(interface: u32, channels: &[Channel]) -> Result<Self> {
        let sockets = channels
            .iter()
            .map(|&channel| {
                let socket = listen(interface, channel).with_context(|| {
                    let (group, port) = (channel.address(), channel.port());
                    format!("listening to {group} port {port} on interface {interface}")
                })?;
                Ok((channel, socket))
            })
            .collect::<Result<_>>()?;
        Ok(Self { sockets, buffer: vec![0; LONGEST].into_boxed_slice(), turn: 0 })
    }

    /// Waits for a datagram. Nothing is lost when the caller stops waiting.
    ///
    /// # Errors
    ///
    /// Those of the system call. The next call goes on.
    pub async fn receive(&mut self) -> io::Result<Datagram<'_>> {
        let Self { sockets, buffer, turn } = self;
        let (source, channel, length) = poll_fn(|context| {
            let (later, first) = sockets.split_at((*turn).min(sockets.len()));
            for (channel, socket) in first.iter().chain(later) {
                let mut room = ReadBuf::new(buffer);
                match socket.poll_recv_from(context, &mut room) {
                    Poll::Ready(Ok(source)) => {
                        return Poll::Ready(Ok((source.ip(), *channel, room.filled().len())));
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {}
                }
            }
            Poll::Pending
        })
        .await?;
        *turn = (*turn + 1) % sockets.len().max(1);
        let payload = buffer.get(..length).unwrap_or_default();
        Ok(Datagram { source, channel, payload })
    }
}

fn listen(interface: u32, channel: Channel) -> io::Result<UdpSocket> {
    let family = match channel {
        Channel::V1 | Channel::V2 => AddressFamily::Inet,
        Channel::Ipv6 => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket: OwnedFd = socket(family, SockType::Datagram, flags, SockProtocol::Udp)?;
    // Other programs may listen as well: every socket gets its copy of a multicast datagram.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    let name = if_indextoname(interface)?;
    let name = std::ffi::OsString::from(name.to_str().map_err(|_not_text| io::ErrorKind::InvalidData)?);
    setsockopt(&socket, sockopt::BindToDevice, &name)?;
    // Beyond the system's limit where we may, up to it otherwise.
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
    }
    match channel.address() {
        IpAddr::V4(group) => {
            bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(group, channel.port())))?;
            set_ip_add_membership_with_ifindex(&socket, &group, &Ipv4Addr::UNSPECIFIED, interface)?;
        }
        IpAddr::V6(group) => {
            setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
            let local = SocketAddrV6::new(group, channel.port(), 0, interface);
            bind(socket.as_raw_fd(), &SockaddrIn6::from(local))?;
            set_ipv6_add_membership(&socket, &group, interface)?;
        }
    }
    UdpSocket::from_std(socket.into())
}

/// No UDP datagram is longer.
const LONGEST: usize = 1 << 16;
/// Holds a second of hellos from many more routers than a link has.
const RECEIVE_BUFFER: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_have_the_macs_of_their_groups() {
        assert_eq!(Channel::V1.mac(), MacAddress([0x01, 0x00, 0x5e, 0, 0, 0x02]));
        assert_eq!(Channel::V2.mac(), MacAddress([0x01, 0x00, 0x5e, 0, 0, 0x66]));
        assert_eq!(Channel::Ipv6.mac(), MacAddress([0x33, 0x33, 0, 0, 0, 0x66]));
    }

    #[tokio::test]
    async fn an_interface_that_is_not_there_is_named_in_the_error() {
        let error = Sockets::open(u32::MAX, &[Channel::V2]).unwrap_err();

        let text = format!("{error:#}");
        assert!(text.contains("224.0.0.102 port 1985 on interface 4294967295"), "{text}");
    }
}
