//! The UDP sockets of an IKE worker: ports 500 and 4500 on every address that is listened on.
//!
//! A datagram says which of our addresses it was sent to, and what is sent leaves from the one that
//! is named. Sockets of several workers share their addresses; a small program in the kernel gives
//! each datagram to the worker that its SA belongs to.
//!
//! # Picture
//!
//! ```text
//! port 500    IKE message ────────────────────────▶ worker: last 4 octets of our SPI % workers
//! port 4500   0 0 0 0 │ IKE message ──────────────▶ the same
//!             ESP SPI │ … ────────────────────────▶ worker: SPI % workers
//!             no SPI of ours yet ─────────────────▶ worker: hash of the source address % workers
//! ```
//!
//! A worker has three sockets for each address and port, one for each [`Rank`]: those who have an SA
//! here never wait behind those who would like one, and lose nothing to them.
//!
//! # References
//!
//! `RFC 3948 §2`, `RFC 7296 §2.23`.

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockFlag,
    SockProtocol, SockType, SockaddrIn, SockaddrIn6, bind, recvmmsg, sendmsg, setsockopt, socket, sockopt,
};

use super::rules::MARK;
pub use super::steer::Rank;
use super::{encap, steer};

/// Most datagrams read with one system call.
pub const BATCH: usize = 64;
/// Octets in front of a datagram that may be written.
pub const HEADROOM: usize = 64;
/// Longest datagram that is taken in whole, the limit that strongSwan has as well.
pub const MAX_DATAGRAM: usize = 10_000;

/// A socket.
#[derive(Debug)]
pub struct Port {
    socket: OwnedFd,
    bound: SocketAddr,
    rank: Rank,
}

impl Port {
    /// Binds to an address, which may be the unspecified one, together with the other workers' and
    /// with those of other ranks.
    ///
    /// # Errors
    ///
    /// Those of the system calls, with the address.
    pub fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let open = || -> nix::Result<Self> {
            let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let socket = socket(family, SockType::Datagram, flags, SockProtocol::Udp)?;
            setsockopt(&socket, sockopt::ReusePort, &true)?;
            // Linux takes this one for both families.
            setsockopt(&socket, sockopt::IpFreebind, &true)?;
            // Without the right to it, a tunnel for everything would swallow itself.
            let _denied = setsockopt(&socket, sockopt::Mark, &MARK);
            for size in [BUFFER, BUFFER / 8] {
                let grows = setsockopt(&socket, sockopt::RcvBufForce, &size).is_ok()
                    || setsockopt(&socket, sockopt::RcvBuf, &size).is_ok();
                if grows {
                    break;
                }
            }
            if setsockopt(&socket, sockopt::SndBufForce, &BUFFER).is_err() {
                setsockopt(&socket, sockopt::SndBuf, &BUFFER)?;
            }
            if address.is_ipv4() {
                // What is to be said when an address has just gone can only be said in its name. IPv6
                // needs no more for that than the above. Without the right to it, it is not said.
                let _denied = setsockopt(&socket, sockopt::IpTransparent, &true);
            }
            match address {
                SocketAddr::V4(address) => {
                    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
                    bind(socket.as_raw_fd(), &SockaddrIn::from(address))?;
                }
                SocketAddr::V6(address) => {
                    setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
                    setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
                    bind(socket.as_raw_fd(), &SockaddrIn6::from(address))?;
                }
            }
            Ok(Self { socket, bound: address, rank: Rank::Known })
        };
        open().with_context(|| format!("binding UDP {address}"))
    }

    /// Where it is bound.
    #[must_use]
    pub const fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// The same, for datagrams of this rank once they are steered.
    #[must_use]
    pub fn of_rank(self, rank: Rank) -> Self {
        Self { rank, ..self }
    }

    /// What comes to it.
    #[must_use]
    pub const fn rank(&self) -> Rank {
        self.rank
    }

    /// Whether datagrams from this address of ours leave through it.
    #[must_use]
    pub fn is_for(&self, local: SocketAddr) -> bool {
        let is_there = self.bound.ip() == local.ip() || self.bound.ip().is_unspecified();
        self.bound.port() == local.port() && self.bound.is_ipv4() == local.is_ipv4() && is_there
    }

    /// Gives each datagram of the address to the worker that its SA belongs to. To be called once
    /// for all sockets of the address, when all are bound, in the order of the workers, rank after
    /// rank.
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn steer(&self, workers: u16) -> anyhow::Result<()> {
        let has_marker = self.bound.port() == NAT_T;
        let program = steer::steering(workers.max(1), has_marker);
        steer::attach(&self.socket, &program).with_context(|| format!("steering datagrams to {}", self.bound))
    }

    /// Leaves ESP that comes to port 4500 to the kernel.
    ///
    /// # Errors
    ///
    /// The kernel has no ESP in UDP.
    pub fn decapsulate(&self) -> anyhow::Result<()> {
        if self.bound.port() == NAT_T {
            encap::decapsulate(&self.socket).with_context(|| format!("ESP in UDP on {}", self.bound))?;
        }
        Ok(())
    }

    /// Sends octets from `local` to `remote`. Several parts of the same length, the last of which
    /// may be shorter, leave as one datagram each.
    ///
    /// # Errors
    ///
    /// Those of the system call: nothing was sent.
    pub fn send(
        &self,
        local: IpAddr,
        remote: SocketAddr,
        parts: &[IoSlice<'_>],
        segment: Option<u16>,
    ) -> nix::Result<()> {
        let segments = segment.as_ref().map(ControlMessage::UdpGsoSegments);
        let flags = MsgFlags::MSG_DONTWAIT;
        let fd = self.socket.as_raw_fd();
        match (local, remote) {
            (IpAddr::V4(local), SocketAddr::V4(remote)) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(local.octets()) },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                let from = ControlMessage::Ipv4PacketInfo(&info);
                let to = SockaddrIn::from(remote);
                match segments {
                    Some(segments) => sendmsg(fd, parts, &[from, segments], flags, Some(&to)),
                    None => sendmsg(fd, parts, &[from], flags, Some(&to)),
                }
            }
            (IpAddr::V6(local), SocketAddr::V6(remote)) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: local.octets() },
                    ipi6_ifindex: 0,
                };
                let from = ControlMessage::Ipv6PacketInfo(&info);
                let to = SockaddrIn6::from(remote);
                match segments {
                    Some(segments) => sendmsg(fd, parts, &[from, segments], flags, Some(&to)),
                    None => sendmsg(fd, parts, &[from], flags, Some(&to)),
                }
            }
            (IpAddr::V4(_), SocketAddr::V6(_)) | (IpAddr::V6(_), SocketAddr::V4(_)) => {
                return Err(Errno::EAFNOSUPPORT);
            }
        }
        .map(drop)
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Room for a batch of datagrams.
pub struct Inbox {
    slots: Box<[Slot]>,
    arrived: Vec<Arrived>,
    ipv4: MultiHeaders<SockaddrIn>,
    ipv6: MultiHeaders<SockaddrIn6>,
}

#[derive(Clone)]
#[repr(align(64))]
struct Slot([u8; HEADROOM + MAX_DATAGRAM]);

#[derive(Clone, Copy)]
struct Arrived {
    local: SocketAddr,
    remote: SocketAddr,
    length: usize,
    is_whole: bool,
}

/// A datagram that came.
#[derive(Debug)]
pub struct Received<'a> {
    /// The address that it was sent to.
    pub local: SocketAddr,
    /// Who sent it.
    pub remote: SocketAddr,
    /// False when its end is lost.
    pub is_whole: bool,
    /// Its octets.
    pub octets: &'a mut [u8],
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Inbox({} of {})", self.arrived.len(), self.slots.len())
    }
}

impl Inbox {
    /// Reserves the room, which is much: one is made once.
    #[expect(clippy::new_without_default, reason = "a default is taken for cheap")]
    #[must_use]
    pub fn new() -> Self {
        Self {
            slots: vec![Slot([0; HEADROOM + MAX_DATAGRAM]); BATCH].into_boxed_slice(),
            arrived: Vec::with_capacity(BATCH),
            ipv4: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(libc::in_pktinfo))),
            ipv6: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(libc::in6_pktinfo))),
        }
    }

    /// Takes in what has arrived, up to [`BATCH`] datagrams; says how many.
    ///
    /// # Errors
    ///
    /// Those of the system call. The next call goes on.
    pub fn receive(&mut self, port: &Port) -> nix::Result<usize> {
        self.receive_some(port, BATCH)
    }

    /// The same, with fewer than [`BATCH`] datagrams at a time.
    ///
    /// # Errors
    ///
    /// As [`Self::receive`].
    pub fn receive_some(&mut self, port: &Port, most: usize) -> nix::Result<usize> {
        self.arrived.clear();
        let mut slots = self.slots.iter_mut();
        let mut vectors: [_; BATCH] = std::array::from_fn(|_| {
            let room = slots.next().and_then(|slot| slot.0.get_mut(HEADROOM..));
            [IoSliceMut::new(room.unwrap_or_default())]
        });
        let vectors = vectors.iter_mut().take(most);
        let fd = port.socket.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        let own = port.bound;
        let result = match own {
            SocketAddr::V4(_) => recvmmsg(fd, &mut self.ipv4, vectors, flags, None).map(|messages| {
                for message in messages {
                    let remote = message.address.map(|address| SocketAddr::V4(address.into()));
                    let local = destination4(&message).map_or(own, |ip| (ip, own.port()).into());
                    self.arrived.extend(remote.map(|remote| arrived(local, remote, &message)));
                }
            }),
            SocketAddr::V6(_) => recvmmsg(fd, &mut self.ipv6, vectors, flags, None).map(|messages| {
                for message in messages {
                    let remote = message.address.map(|address| SocketAddr::V6(address.into()));
                    let local = destination6(&message, own);
                    self.arrived.extend(remote.map(|remote| arrived(local, remote, &message)));
                }
            }),
        };
        match result {
            Ok(()) => Ok(self.arrived.len()),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// The datagrams of the last [`Self::receive`].
    pub fn datagrams(&mut self) -> impl Iterator<Item = Received<'_>> {
        self.slots.iter_mut().zip(&self.arrived).map(|(slot, arrived)| Received {
            local: arrived.local,
            remote: arrived.remote,
            is_whole: arrived.is_whole,
            octets: slot.0.get_mut(HEADROOM..HEADROOM + arrived.length).unwrap_or_default(),
        })
    }
}

fn arrived<A>(local: SocketAddr, remote: SocketAddr, message: &RecvMsg<'_, '_, A>) -> Arrived {
    let is_whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
    Arrived { local, remote, length: message.bytes, is_whole }
}

fn destination4<A>(message: &RecvMsg<'_, '_, A>) -> Option<Ipv4Addr> {
    message.cmsgs().ok()?.find_map(|control| {
        if let ControlMessageOwned::Ipv4PacketInfo(info) = control {
            Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()))
        } else {
            None
        }
    })
}

fn destination6<A>(message: &RecvMsg<'_, '_, A>, own: SocketAddr) -> SocketAddr {
    let found = message.cmsgs().ok().and_then(|mut controls| {
        controls.find_map(|control| {
            if let ControlMessageOwned::Ipv6PacketInfo(info) = control { Some(info) } else { None }
        })
    });
    match found {
        Some(info) => SocketAddrV6::new(info.ipi6_addr.s6_addr.into(), own.port(), 0, 0).into(),
        None => own,
    }
}

/// Octets of receive and send buffer: some thousand requests, or a tenth of a second of bulk.
const BUFFER: usize = 4 << 20;
/// The port that IKE and ESP share.
pub(super) const NAT_T: u16 = 4500;
