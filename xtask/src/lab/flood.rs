//! As many requests as the machine can make, by senders who do not wait for answers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};

use super::load::{mix, request};
use super::netns::Namespace;
use super::wait::Stopwatch;

const PORT: u16 = 500;
/// Requests between two looks at the flag and the counter.
const BATCH: u64 = 64;

/// A flood of IKE_SA_INIT requests, each with an SPI of its own.
///
/// One sender keeps one processor busy: the veth pair delivers in the sender's time.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    watch: Stopwatch,
    senders: Vec<JoinHandle<Result<()>>>,
}

impl Flood {
    /// Starts `senders` threads that flood the VIP from an address in a namespace.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound.
    pub fn start(namespace: &Namespace, local: IpAddr, vip: IpAddr, senders: u16) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let watch = Stopwatch::start();
        let mut threads = Vec::new();
        for number in 0..senders {
            let socket = namespace.udp((local, 0))?;
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            // Senders' SPIs come from places far apart in the sequence.
            let seed = u64::from(number) << 48;
            threads.push(std::thread::spawn(move || flood(&socket, vip, seed, &stop, &sent)));
        }
        Ok(Self { stop, sent, watch, senders: threads })
    }

    /// Starts `senders` threads that flood an IPv4 address from everywhere in [`NOWHERE`], with raw
    /// sockets of a namespace.
    ///
    /// # Errors
    ///
    /// When there is no right to a raw socket.
    pub fn spoofed(namespace: &Namespace, at: IpAddr, senders: u16) -> Result<Self> {
        let IpAddr::V4(at) = at else { bail!("{at} is not IPv4") };
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let watch = Stopwatch::start();
        let mut threads = Vec::new();
        for number in 0..senders {
            let socket = namespace.enter(|| {
                let flags = SockFlag::SOCK_CLOEXEC;
                Ok(socket(AddressFamily::Inet, SockType::Raw, flags, SockProtocol::Raw)?)
            })?;
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            let seed = u64::from(number) << 48;
            threads.push(std::thread::spawn(move || flood_from_everywhere(&socket, at, seed, &stop, &sent)));
        }
        Ok(Self { stop, sent, watch, senders: threads })
    }

    /// Requests sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.watch.elapsed()
    }

    /// Ends it and returns the number of requests sent.
    ///
    /// # Errors
    ///
    /// When a request could not be sent for another reason than a full queue or nobody there.
    pub fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        for sender in self.senders {
            sender.join().map_err(|_panic| anyhow!("a sender panicked"))??;
        }
        Ok(self.sent.load(Ordering::Relaxed))
    }
}

fn flood(socket: &UdpSocket, vip: IpAddr, seed: u64, stop: &AtomicBool, sent: &AtomicU64) -> Result<()> {
    let mut number = seed;
    while !stop.load(Ordering::Relaxed) {
        let mut count = 0;
        for _ in 0..BATCH {
            number += 1;
            match socket.send_to(&request(mix(number)), (vip, PORT)) {
                Ok(_) => count += 1,
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error).with_context(|| format!("flooding {vip}")),
            }
        }
        sent.fetch_add(count, Ordering::Relaxed);
    }
    Ok(())
}

/// Where nobody is (`RFC 2544`, appendix C.2.2): 131072 addresses.
pub const NOWHERE: &str = "198.18.0.0/15";

fn flood_from_everywhere(
    socket: &OwnedFd,
    at: Ipv4Addr,
    seed: u64,
    stop: &AtomicBool,
    sent: &AtomicU64,
) -> Result<()> {
    const HOSTS: u64 = 1 << 17;
    let message = request(0);
    let length = u16::try_from(8 + message.len())?;
    let ports = [500_u16, PORT, length, 0].map(u16::to_be_bytes).concat();
    let to = SockaddrIn::from(SocketAddrV4::new(at, PORT));
    let mut packet = Vec::new();
    let mut number = seed;
    while !stop.load(Ordering::Relaxed) {
        let mut count = 0;
        for _ in 0..BATCH {
            number += 1;
            let random = mix(number);
            let host = u32::from_be_bytes([198, 18, 0, 0]) + u32::try_from(random % HOSTS)?;
            packet.clear();
            // The kernel fills in the length and the checksum of the IP header; UDP's may be zero.
            packet.extend([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0]);
            packet.extend(host.to_be_bytes());
            packet.extend(at.octets());
            packet.extend(&ports);
            packet.extend(random.to_be_bytes());
            packet.extend(message.iter().skip(8));
            match sendto(socket.as_raw_fd(), &packet, &to, MsgFlags::empty()) {
                Ok(_) => count += 1,
                Err(Errno::ENOBUFS | Errno::EHOSTUNREACH | Errno::ENETUNREACH) => {}
                Err(error) => return Err(error).with_context(|| format!("flooding {at}")),
            }
        }
        sent.fetch_add(count, Ordering::Relaxed);
    }
    Ok(())
}

fn is_passing(error: &io::Error) -> bool {
    let is_full = error.raw_os_error() == Some(Errno::ENOBUFS as i32);
    is_full || matches!(error.kind(), io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable)
}
