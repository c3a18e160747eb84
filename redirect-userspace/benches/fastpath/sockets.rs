//! A client with sockets, for responders that have sockets: 64 requests in flight, every reply
//! checked.
//!
//! # Picture
//!
//! ```text
//! namespace 1, core 0               namespace 2, core 1
//! client ─ sendmmsg ─▶ near ══ veth ══▶ far ─┬─ XDP: nothing | redirect | drop
//!        ◀─ recvmmsg ─                       └─▶ stack ─▶ responder under test
//! ```

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use aya::maps::PerCpuArray;
use aya::programs::xdp::XdpLink;
use aya::{Ebpf, EbpfLoader};
use common::ike::{FLAG_RESPONSE, NOTIFY_REDIRECT, PAYLOAD_NOTIFY};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use nix::unistd::Pid;
use redirect_userspace::fastpath::FastPath as _;
use redirect_userspace::fastpath::xdp::XdpMaps;
use redirect_userspace::testing::fixtures::{self, VIP4, World};

use crate::Objects;
use crate::cpu::{Cost, Meter};
use crate::lab::{self, Namespace, command};
use crate::live::{attach, program};
use crate::program::become_world;

/// Requests in flight.
const WINDOW: usize = 64;
/// Requests before the measured ones.
const WARM_UP: u64 = 1000;
/// SPIs that can be told apart; many times the window.
const REMEMBERED: usize = 1 << 16;
/// A request that has no reply by then has none.
const PATIENCE: Duration = Duration::from_millis(200);
/// The client's address, in the VIP's network.
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Who handles what arrives at the far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Far {
    /// The sockets of whoever listens.
    Stack,
    /// The XDP program.
    Redirect,
    /// Nobody: every frame is counted and dropped.
    Drop,
}

/// Two namespaces and the XDP programs for the far one.
pub(crate) struct Sockets {
    /// Where responders run: they find the VIP on interface `far`.
    pub(crate) far: Namespace,
    near: Namespace,
    maps: XdpMaps,
    programs: Ebpf,
    passing: Ebpf,
    attached: Option<(Far, Vec<XdpLink>)>,
}

impl Sockets {
    pub(crate) fn new(objects: &Objects, world: &World) -> Result<Self> {
        let (near, far) = (Namespace::new()?, Namespace::new()?);
        lab::veth(&near, &far)?;
        let ends = [(&near, "near", CLIENT, VIP4, lab::FAR_MAC), (&far, "far", VIP4, CLIENT, lab::NEAR_MAC)];
        for (namespace, interface, own, other, mac) in ends {
            let (own, other) = (format!("{own}/24"), other.to_string());
            namespace.enter(|| {
                command("ip", &["address", "add", &own, "dev", interface])?;
                // While everything is dropped nobody answers a neighbour's questions.
                command("ip", &["neighbour", "add", &other, "lladdr", mac, "dev", interface])
            })?;
        }
        let mut maps = XdpMaps::load(&objects.redirect, world.control.multiplier, None)?;
        become_world(&mut maps, world)?;
        let mut programs = EbpfLoader::new().load(&objects.testing)?;
        program(&mut programs, "count")?.load()?;
        let mut passing = EbpfLoader::new().load(&objects.pass)?;
        program(&mut passing, "pass")?.load()?;
        Ok(Self { far, near, maps, programs, passing, attached: None })
    }

    /// Lets a client work through `requests` requests; CPU time for each. `others` are processes
    /// that take part.
    pub(crate) fn run(&mut self, far: Far, requests: u64, others: &[Pid]) -> Result<Cost> {
        self.answer(far)?;
        let before = self.handled(far)?;
        let cost = self.near.enter(|| {
            lab::pin(crate::CLIENT_CORE)?;
            let mut client = Client::new()?;
            // The first requests fill the caches.
            match far {
                Far::Stack | Far::Redirect => client.closed_loop(WARM_UP)?,
                Far::Drop => client.send_only(WARM_UP)?,
            }
            let meter = Meter::new(others)?;
            let start = meter.read()?;
            match far {
                Far::Stack | Far::Redirect => client.closed_loop(requests)?,
                Far::Drop => client.send_only(requests)?,
            }
            meter.cost(start, requests)
        });
        let cost = cost.with_context(|| format!("far end: {far:?}"))?;
        let handled = self.handled(far)? - before;
        let expected = if far == Far::Stack { 0 } else { requests + WARM_UP };
        ensure!(handled >= expected, "XDP handled {handled} of {expected} requests");
        Ok(cost)
    }

    fn answer(&mut self, far: Far) -> Result<()> {
        if self.attached.as_ref().map_or(Far::Stack, |(now, _)| *now) == far {
            return Ok(());
        }
        self.attached = None;
        let Self { maps, programs, passing, .. } = self;
        self.attached = match far {
            Far::Stack => None,
            Far::Redirect => {
                let links = vec![
                    // What an XDP program sends by a veth arrives only where another one runs.
                    self.near.enter(|| attach(program(passing, "pass")?, "near"))?,
                    self.far.enter(|| attach(maps.program()?, "far"))?,
                ];
                Some((far, links))
            }
            Far::Drop => Some((far, vec![self.far.enter(|| attach(program(programs, "count")?, "far"))?])),
        };
        Ok(())
    }

    /// Requests that XDP has handled in this way.
    fn handled(&self, far: Far) -> Result<u64> {
        match far {
            Far::Stack => Ok(0),
            Far::Redirect => Ok(self.maps.counters()?.redirects.iter().sum()),
            Far::Drop => {
                let counter = self.programs.map("RETURNED").ok_or_else(|| anyhow!("no map RETURNED"))?;
                Ok(PerCpuArray::<_, u64>::try_from(counter)?.get(&0, 0)?.iter().sum())
            }
        }
    }
}

/// The client.
struct Client {
    socket: UdpSocket,
    requests: Vec<Vec<u8>>,
    replies: Vec<Vec<u8>>,
    sent: MultiHeaders<SockaddrIn>,
    received: MultiHeaders<SockaddrIn>,
    next_spi: u64,
    /// Which of the last SPIs have no reply yet.
    open: Vec<bool>,
}

impl Client {
    fn new() -> Result<Self> {
        let socket = UdpSocket::bind((CLIENT, 500))?;
        socket.connect((VIP4, 500))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            socket,
            requests: vec![fixtures::v4().message(); WINDOW],
            replies: vec![vec![0; 2048]; WINDOW],
            sent: MultiHeaders::preallocate(WINDOW, None),
            received: MultiHeaders::preallocate(WINDOW, None),
            // Another one each time, as a responder may remember them.
            next_spi: u64::from_be_bytes(rand_octets()?) | 1,
            open: vec![false; REMEMBERED],
        })
    }

    /// Keeps the window full until `replies` replies have come.
    fn closed_loop(&mut self, replies: u64) -> Result<()> {
        let (mut in_flight, mut done, mut lost) = (0, 0_u64, 0_u64);
        while done < replies {
            let missing = usize::try_from(replies - done).map_or(WINDOW, |left| left.min(WINDOW));
            let missing = missing.saturating_sub(in_flight);
            in_flight += self.send(missing)?;
            match self.receive()? {
                0 => {
                    lost += in_flight as u64;
                    in_flight = 0;
                    ensure!(lost <= 256 + replies / 100, "{lost} requests had no reply, {done} had one");
                }
                received => {
                    done += received as u64;
                    // Late ones have been given up before.
                    in_flight = in_flight.saturating_sub(received);
                }
            }
        }
        Ok(())
    }

    fn send_only(&mut self, requests: u64) -> Result<()> {
        let mut left = usize::try_from(requests)?;
        while left > 0 {
            left -= self.send(left.min(WINDOW))?;
        }
        Ok(())
    }

    fn send(&mut self, count: usize) -> Result<usize> {
        if count == 0 {
            return Ok(0);
        }
        for request in self.requests.iter_mut().take(count) {
            let spi = self.next_spi;
            self.next_spi = spi.wrapping_add(1);
            request[..8].copy_from_slice(&spi.to_be_bytes());
            self.open[place(spi)] = true;
        }
        let slices: Vec<_> =
            self.requests.iter().take(count).map(|request| [IoSlice::new(request)]).collect();
        let nowhere = [None; WINDOW];
        let sent = sendmmsg(
            self.socket.as_raw_fd(),
            &mut self.sent,
            &slices,
            &nowhere[..count],
            [],
            MsgFlags::empty(),
        )
        .context("sending requests")?
        .count();
        ensure!(sent == count, "{sent} of {count} requests were sent");
        Ok(sent)
    }

    /// Takes in and checks what has come; nothing after [`PATIENCE`].
    fn receive(&mut self) -> Result<usize> {
        let mut slices: Vec<_> = self.replies.iter_mut().map(|reply| [IoSliceMut::new(reply)]).collect();
        let flags = MsgFlags::MSG_WAITFORONE;
        let descriptor = self.socket.as_raw_fd();
        let mut lengths = [0; WINDOW];
        let mut count = 0;
        match recvmmsg(descriptor, &mut self.received, &mut slices, flags, None) {
            Ok(messages) => {
                for (length, message) in lengths.iter_mut().zip(messages) {
                    *length = message.bytes;
                    count += 1;
                }
            }
            Err(Errno::EAGAIN) => return Ok(0),
            Err(error) => bail!("receiving replies: {error}"),
        }
        for (reply, length) in self.replies.iter().zip(lengths).take(count) {
            let spi = redirected(&reply[..length])
                .with_context(|| format!("not a REDIRECT: {:02x?}", &reply[..length]))?;
            let open = &mut self.open[place(spi)];
            ensure!(*open, "a reply to no request: {spi:016x}");
            *open = false;
        }
        Ok(count)
    }
}

/// The initiator's SPI of a REDIRECT.
fn redirected(reply: &[u8]) -> Option<u64> {
    let &spi = reply.first_chunk::<8>()?;
    let is_notify = reply.get(16) == Some(&PAYLOAD_NOTIFY);
    let is_response = reply.get(19)? & FLAG_RESPONSE != 0;
    let kind = reply.get(34..36)?;
    (is_notify && is_response && kind == NOTIFY_REDIRECT.to_be_bytes()).then(|| u64::from_be_bytes(spi))
}

fn place(spi: u64) -> usize {
    usize::try_from(spi % REMEMBERED as u64).unwrap_or(0)
}

fn rand_octets() -> Result<[u8; 8]> {
    use std::io::Read as _;
    let mut octets = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut octets)?;
    Ok(octets)
}
