//! UDP sockets for addresses that come and go, read and written in batches.
//!
//! # Invariants
//!
//! - Datagrams stay where the kernel put them, and a batch costs two system calls whatever its
//!   size: nothing is copied or allocated per datagram.
//! - A datagram that cannot be sent holds up none of those behind it.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6,
    SockaddrLike, bind, getsockname, recvmmsg, setsockopt, socket, sockopt,
};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};

/// Most datagrams read or written with one system call.
pub const BATCH: usize = 64;
/// Longest datagram that is taken in whole, the limit strongSwan has as well. Requests are far
/// shorter; the longest IKE messages are IKE_AUTH with chains of certificates.
pub const MAX_DATAGRAM: usize = 10_000;
/// Octets in front of a received datagram, for headers that are written there later. A multiple
/// of a cache line.
pub const HEADROOM: usize = 64;

/// How a socket is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Octets of receive and of send buffer.
    pub buffer: usize,
    /// Whether several sockets share the address and the kernel spreads the peers over them.
    pub is_shared: bool,
}

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    local: SocketAddr,
}

impl Listener {
    /// Binds to `local`, which need not be an address of this machine yet. More specific than
    /// another program's socket on the unspecified address, it gets the datagrams first.
    ///
    /// # Errors
    ///
    /// Those of the system calls, with the address.
    pub fn bind(local: SocketAddr, binding: Binding) -> anyhow::Result<Self> {
        let open = || -> nix::Result<Self> {
            let socket = open(local, binding)?;
            // Tells the port when it was left to the kernel.
            let local = match local {
                SocketAddr::V4(_) => SocketAddr::V4(getsockname::<SockaddrIn>(socket.as_raw_fd())?.into()),
                SocketAddr::V6(_) => SocketAddr::V6(getsockname::<SockaddrIn6>(socket.as_raw_fd())?.into()),
            };
            Ok(Self { socket, local })
        };
        open().with_context(|| format!("binding UDP {local}"))
    }

    /// The address that was bound.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends datagrams, at most [`BATCH`], to one peer and returns how many of them could not be sent.
    pub fn send(&self, to: SocketAddr, datagrams: &[Vec<u8>]) -> usize {
        let to = SocketAddrAny::from(to);
        let parts: Vec<_> = datagrams.iter().map(|octets| (IoSlice::new(octets), to.clone())).collect();
        send(self, &parts)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn open(local: SocketAddr, binding: Binding) -> nix::Result<OwnedFd> {
    let family = if local.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Datagram, flags, SockProtocol::Udp)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if binding.is_shared {
        setsockopt(&socket, sockopt::ReusePort, &true)?;
    }
    // Linux takes this one for both families.
    setsockopt(&socket, sockopt::IpFreebind, &true)?;
    // Beyond the system's limit where we may, up to it otherwise.
    if setsockopt(&socket, sockopt::RcvBufForce, &binding.buffer).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &binding.buffer)?;
    }
    if setsockopt(&socket, sockopt::SndBufForce, &binding.buffer).is_err() {
        setsockopt(&socket, sockopt::SndBuf, &binding.buffer)?;
    }
    match local {
        SocketAddr::V4(local) => bind(socket.as_raw_fd(), &SockaddrIn::from(local))?,
        SocketAddr::V6(local) => {
            setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
            bind(socket.as_raw_fd(), &SockaddrIn6::from(local))?;
        }
    }
    Ok(socket)
}

/// Room for the datagrams of one batch, and for their answers in the same place.
#[derive(Debug)]
pub struct Batch {
    slots: Box<[Slot]>,
    arrived: Vec<Arrived>,
    /// The kernel leaves the length of the last address in these, hence one per family.
    ipv4: MultiHeaders<SockaddrIn>,
    ipv6: MultiHeaders<SockaddrIn6>,
}

/// Where one datagram lies: [`HEADROOM`], then its octets.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Slot([u8; HEADROOM + MAX_DATAGRAM]);

/// What is known of a received datagram besides its octets.
#[derive(Clone, Copy, Debug)]
struct Arrived {
    peer: SocketAddr,
    length: usize,
    is_whole: bool,
}

/// A received datagram.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub peer: SocketAddr,
    /// False when it was longer than [`MAX_DATAGRAM`] and its end is lost.
    pub is_whole: bool,
    /// [`HEADROOM`] octets that may be written, then the datagram.
    pub octets: &'a mut [u8],
}

/// Which octets of a slot to send back to the peer of the datagram that came in it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Position of the datagram in the batch.
    pub slot: usize,
    /// Position of the answer in [`Datagram::octets`].
    pub range: Range<usize>,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// Reserves the room.
    #[must_use]
    pub fn new() -> Self {
        Self {
            slots: vec![Slot([0; HEADROOM + MAX_DATAGRAM]); BATCH].into_boxed_slice(),
            arrived: Vec::with_capacity(BATCH),
            ipv4: MultiHeaders::preallocate(BATCH, None),
            ipv6: MultiHeaders::preallocate(BATCH, None),
        }
    }

    /// Takes in what has arrived, up to [`BATCH`] datagrams, and returns their number: zero when
    /// nothing has.
    ///
    /// # Errors
    ///
    /// Those of the system call. The next call goes on.
    pub fn receive(&mut self, listener: &Listener) -> nix::Result<usize> {
        self.arrived.clear();
        let received = match listener.local {
            SocketAddr::V4(_) => {
                receive(listener, &mut self.slots, &mut self.ipv4, &mut self.arrived, |peer| {
                    SocketAddr::V4(peer.into())
                })
            }
            SocketAddr::V6(_) => {
                receive(listener, &mut self.slots, &mut self.ipv6, &mut self.arrived, |peer| {
                    SocketAddr::V6(peer.into())
                })
            }
        };
        match received {
            Ok(()) => Ok(self.arrived.len()),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// The datagrams of the last [`Self::receive`].
    pub fn datagrams(&mut self) -> impl Iterator<Item = Datagram<'_>> {
        self.slots.iter_mut().zip(&self.arrived).map(|(slot, arrived)| Datagram {
            peer: arrived.peer,
            is_whole: arrived.is_whole,
            octets: slot.0.get_mut(..HEADROOM + arrived.length).unwrap_or_default(),
        })
    }

    /// Sends answers, at most [`BATCH`], from the address of `listener` and returns how many of
    /// them could not be sent.
    pub fn send(&self, listener: &Listener, answers: &[Answer]) -> usize {
        let parts: Vec<(IoSlice<'_>, SocketAddrAny)> = answers
            .iter()
            .filter_map(|answer| {
                let octets = self.slots.get(answer.slot)?.0.get(answer.range.clone())?;
                let peer = self.arrived.get(answer.slot)?.peer;
                Some((IoSlice::new(octets), SocketAddrAny::from(peer)))
            })
            .collect();
        answers.len() - parts.len() + send(listener, &parts)
    }
}

/// Sends each part to its peer; says how many could not be sent.
fn send(listener: &Listener, parts: &[(IoSlice<'_>, SocketAddrAny)]) -> usize {
    let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> = Vec::with_capacity(parts.len());
    controls.resize_with(parts.len(), SendAncillaryBuffer::default);
    let mut messages: Vec<MMsgHdr<'_>> = parts
        .iter()
        .zip(&mut controls)
        .map(|((octets, peer), control)| MMsgHdr::new_with_addr(peer, std::slice::from_ref(octets), control))
        .collect();

    let mut lost = 0;
    let mut rest = messages.as_mut_slice();
    while !rest.is_empty() {
        let done = match sendmmsg(listener, rest, SendFlags::DONTWAIT) {
            Ok(sent) => sent,
            Err(rustix::io::Errno::INTR) => 0,
            // No room for any of them. Their senders repeat the request.
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::NOBUFS) => {
                lost += rest.len();
                break;
            }
            // The first one cannot be sent, to an address without a route for instance.
            Err(_) => {
                lost += 1;
                1
            }
        };
        rest = rest.get_mut(done..).unwrap_or_default();
    }
    lost
}

fn receive<A: SockaddrLike + Copy>(
    listener: &Listener,
    slots: &mut [Slot],
    headers: &mut MultiHeaders<A>,
    arrived: &mut Vec<Arrived>,
    address: impl Fn(A) -> SocketAddr,
) -> nix::Result<()> {
    let mut slots = slots.iter_mut();
    let mut vectors: [_; BATCH] = std::array::from_fn(|_| {
        let room = slots.next().and_then(|slot| slot.0.get_mut(HEADROOM..));
        [IoSliceMut::new(room.unwrap_or_default())]
    });
    let descriptor = listener.socket.as_raw_fd();
    for message in recvmmsg(descriptor, headers, &mut vectors, MsgFlags::MSG_DONTWAIT, None)? {
        arrived.push(Arrived {
            // UDP always has one; without it the datagram could not be answered.
            peer: message.address.map_or(NOBODY, &address),
            length: message.bytes,
            is_whole: !message.flags.contains(MsgFlags::MSG_TRUNC),
        });
    }
    Ok(())
}

/// A source that no datagram can have.
const NOBODY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    const BINDING: Binding = Binding { buffer: 1 << 20, is_shared: false };

    /// A listener on the loopback address of a family, and a peer that talks to it.
    fn pair(address: &str) -> (Listener, UdpSocket) {
        let listener = Listener::bind(address.parse().unwrap(), BINDING).unwrap();
        let peer = UdpSocket::bind(address).unwrap();
        peer.connect(listener.local()).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        (listener, peer)
    }

    /// Waits for something to read and reads one batch.
    fn receive(batch: &mut Batch, listener: &Listener) -> usize {
        let mut watched = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut watched, PollTimeout::from(10_000_u16)), Ok(1), "nothing arrived");
        batch.receive(listener).unwrap()
    }

    fn answer(slot: usize, length: usize) -> Answer {
        Answer { slot, range: HEADROOM..HEADROOM + length }
    }

    #[test]
    fn batches_of_both_families_come_in_and_go_back_in_order() {
        let mut batch = Batch::new();
        for address in ["127.0.0.1:0", "[::1]:0", "127.0.0.1:0"] {
            let (listener, peer) = pair(address);
            for number in 0..100_u32 {
                peer.send(&number.to_be_bytes()).unwrap();
            }

            let mut seen = Vec::new();
            while seen.len() < 100 {
                let count = receive(&mut batch, &listener);
                for datagram in batch.datagrams() {
                    assert_eq!(datagram.peer, peer.local_addr().unwrap());
                    assert!(datagram.is_whole);
                    seen.push(u32::from_be_bytes(datagram.octets[HEADROOM..].try_into().unwrap()));
                }
                let answers: Vec<_> = (0..count).map(|slot| answer(slot, 4)).collect();
                assert_eq!(batch.send(&listener, &answers), 0);
            }

            assert_eq!(seen, (0..100).collect::<Vec<_>>());
            for number in 0..100_u32 {
                let mut octets = [0; 16];
                assert_eq!(peer.recv(&mut octets).unwrap(), 4);
                assert_eq!(octets[..4], number.to_be_bytes());
            }
        }
    }

    #[test]
    fn a_datagram_that_does_not_fit_is_known_to_be_cut() {
        let (listener, peer) = pair("127.0.0.1:0");
        let mut batch = Batch::new();
        peer.send(&[1; MAX_DATAGRAM]).unwrap();
        peer.send(&[2; MAX_DATAGRAM + 1]).unwrap();
        peer.send(&[]).unwrap();

        let mut seen = Vec::new();
        while seen.len() < 3 {
            receive(&mut batch, &listener);
            seen.extend(
                batch.datagrams().map(|datagram| (datagram.octets.len() - HEADROOM, datagram.is_whole)),
            );
        }

        assert_eq!(seen, [(MAX_DATAGRAM, true), (MAX_DATAGRAM, false), (0, true)]);
    }

    #[test]
    fn a_socket_without_datagrams_gives_an_empty_batch() {
        let (listener, _peer) = pair("127.0.0.1:0");
        let mut batch = Batch::new();

        assert_eq!(batch.receive(&listener), Ok(0));
        assert_eq!(batch.datagrams().count(), 0);
    }

    #[test]
    fn an_answer_that_cannot_be_sent_does_not_hold_up_the_next() {
        let (listener, peer) = pair("127.0.0.1:0");
        let mut batch = Batch::new();
        peer.send(b"a").unwrap();
        receive(&mut batch, &listener);
        // Longer than a datagram can be: the kernel refuses it.
        batch.arrived.push(Arrived { peer: NOBODY, length: 1, is_whole: true });

        let lost = batch.send(&listener, &[answer(1, 1), answer(0, 1), answer(7, 1), answer(1, 1)]);

        let mut octets = [0; 4];
        assert_eq!(lost, 3);
        assert_eq!(peer.recv(&mut octets).unwrap(), 1);
    }
}
