//! As many requests as the machine can make, by senders who do not wait for answers.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use nix::errno::Errno;

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

fn is_passing(error: &io::Error) -> bool {
    let is_full = error.raw_os_error() == Some(Errno::ENOBUFS as i32);
    is_full || matches!(error.kind(), io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable)
}
