//! How long nobody answers: requests at a constant rate, each with what became of it.
//!
//! The measure is requests lost over the rate at which they were sent. It is independent of how
//! the outage is spread, and of how long a single request is waited for.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use nix::sys::socket::{setsockopt, sockopt};

use super::load::{mix, read_reply, request};
use super::netns::Namespace;
use super::wait::{Stopwatch, rest};

/// How long a reply may take before the request counts as lost.
///
/// A reply takes microseconds; the rest is for a machine with other work.
const PATIENCE: Duration = Duration::from_millis(250);
/// Octets of replies that may wait for the receiver, as the kernel counts them: some 4 KB each.
/// With the usual room for 50, a receiver that waits for a processor would itself lose replies.
const ROOM: usize = 64 << 20;
const PORT: u16 = 500;

/// One request of a [`Record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When it was sent, since the start.
    pub at: Duration,
    /// The gateway named by the reply, if there was one.
    pub gateway: Option<IpAddr>,
}

/// Every request of a [`Generator`], in the order they were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Requests per second.
    pub rate: u32,
    /// The requests.
    pub asked: Vec<Asked>,
}

/// An outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Requests without a reply.
    pub lost: u32,
    /// The time that many requests stand for.
    pub time: Duration,
    /// The longest time without a request that was answered.
    pub silence: Duration,
}

impl Record {
    /// What was lost of the requests sent at `from` or later.
    #[must_use]
    pub fn gap(&self, from: Duration) -> Gap {
        let since = self.asked.iter().filter(|asked| asked.at >= from);
        let (mut lost, mut silence, mut answered_at) = (0, Duration::ZERO, from);
        let mut last = from;
        for asked in since {
            last = asked.at;
            if asked.gateway.is_some() {
                silence = silence.max(asked.at.saturating_sub(answered_at));
                answered_at = asked.at;
            } else {
                lost += 1;
            }
        }
        let silence = silence.max(last.saturating_sub(answered_at));
        Gap { lost, time: Duration::from_secs(1) * lost / self.rate.max(1), silence }
    }

    /// How many requests sent before `until` were not answered.
    #[must_use]
    pub fn lost_before(&self, until: Duration) -> usize {
        self.asked.iter().filter(|asked| asked.at < until && asked.gateway.is_none()).count()
    }
}

/// Sends requests at a constant rate until it is stopped.
#[derive(Debug)]
pub struct Generator {
    rate: u32,
    watch: Stopwatch,
    stop: Arc<AtomicBool>,
    sender: JoinHandle<Result<Vec<(u64, Duration)>>>,
    receiver: JoinHandle<Result<Vec<(u64, IpAddr)>>>,
}

impl Generator {
    /// Starts to ask the VIP from an address in a namespace, `rate` times a second. SPIs follow
    /// from `seed`.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound, or the kernel has no room for replies.
    pub fn start(namespace: &Namespace, local: IpAddr, vip: IpAddr, rate: u32, seed: u64) -> Result<Self> {
        // Not connected: nobody at the VIP is the expected case, and no error of this socket.
        let socket = namespace.udp((local, 0))?;
        socket.set_read_timeout(Some(PATIENCE)).context("setting a timeout")?;
        setsockopt(&socket, sockopt::RcvBufForce, &ROOM).context("making room for replies")?;
        let receiving = socket.try_clone().context("sharing a socket")?;
        let stop = Arc::new(AtomicBool::new(false));
        let watch = Stopwatch::start();
        let stopped = Arc::clone(&stop);
        let sender = std::thread::spawn(move || send(&socket, vip, rate, seed, watch, &stopped));
        let stopped = Arc::clone(&stop);
        let receiver = std::thread::spawn(move || receive(&receiving, vip, &stopped));
        Ok(Self { rate, watch, stop, sender, receiver })
    }

    /// Time since the start, to compare with [`Asked::at`].
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.watch.elapsed()
    }

    /// Ends it, waits for late replies, and tells what became of every request.
    ///
    /// # Errors
    ///
    /// When a reply was wrong, or a request could not be sent for another reason than that nobody
    /// has the VIP.
    pub fn stop(self) -> Result<Record> {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().map_err(|_panic| anyhow!("the sender panicked"))??;
        let replies = self.receiver.join().map_err(|_panic| anyhow!("the receiver panicked"))??;
        Ok(Record { rate: self.rate, asked: matched(&sent, replies) })
    }
}

fn matched(sent: &[(u64, Duration)], replies: Vec<(u64, IpAddr)>) -> Vec<Asked> {
    let replies: BTreeMap<u64, IpAddr> = replies.into_iter().collect();
    sent.iter().map(|(spi_i, at)| Asked { at: *at, gateway: replies.get(spi_i).copied() }).collect()
}

fn send(
    socket: &UdpSocket,
    vip: IpAddr,
    rate: u32,
    seed: u64,
    watch: Stopwatch,
    stop: &AtomicBool,
) -> Result<Vec<(u64, Duration)>> {
    let mut sent = Vec::new();
    for number in 0_u32.. {
        // By the schedule, not by the last request: what is late is caught up with.
        let due = Duration::from_secs(1) * number / rate;
        while watch.elapsed() < due {
            if stop.load(Ordering::Relaxed) {
                return Ok(sent);
            }
            rest(due.saturating_sub(watch.elapsed()).min(PATIENCE));
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        // From 1: the initiator's SPI is never zero (`RFC 7296 §3.1`), and `mix` leaves zero alone.
        let spi_i = mix(seed.wrapping_add(u64::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let at = watch.elapsed();
        match socket.send_to(&request(spi_i), (vip, PORT)) {
            Ok(_) => {}
            // The neighbour cache has given up on the VIP: a request that nobody got.
            Err(error) if is_unreachable(&error) => {}
            Err(error) => return Err(error).with_context(|| format!("asking {vip}")),
        }
        sent.push((spi_i, at));
    }
    Ok(sent)
}

fn is_unreachable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable)
}

fn receive(socket: &UdpSocket, vip: IpAddr, stop: &AtomicBool) -> Result<Vec<(u64, IpAddr)>> {
    let mut replies = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        // What is under way when the sender stops is still waited for.
        let is_last = stop.load(Ordering::Relaxed);
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) if from.ip() == vip && from.port() == PORT => {
                let reply = buffer.get(..length).unwrap_or_default();
                let (spi_i, _) = reply.split_first_chunk().context("a reply without an SPI")?;
                let spi_i = u64::from_be_bytes(*spi_i);
                replies.push((spi_i, read_reply(spi_i, reply)?));
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                if is_last {
                    return Ok(replies);
                }
            }
            Err(error) => return Err(error).context("waiting for replies"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));

    fn record(answers: &[bool]) -> Record {
        let asked = (0..)
            .zip(answers)
            .map(|(number, is_answered)| Asked {
                at: Duration::from_millis(number * 10),
                gateway: GATEWAY.filter(|_| *is_answered),
            })
            .collect();
        Record { rate: 100, asked }
    }

    #[test]
    fn an_outage_is_as_long_as_what_was_lost_in_it() {
        let record = record(&[true, true, false, false, false, true, true]);

        assert_eq!(
            record.gap(Duration::from_millis(20)),
            Gap { lost: 3, time: Duration::from_millis(30), silence: Duration::from_millis(30) }
        );
        assert_eq!(record.lost_before(Duration::from_millis(20)), 0);
    }

    #[test]
    fn an_outage_in_parts_has_a_shorter_silence() {
        let record = record(&[true, false, false, true, false, true]);

        assert_eq!(
            record.gap(Duration::ZERO),
            Gap { lost: 3, time: Duration::from_millis(30), silence: Duration::from_millis(30) }
        );
        assert_eq!(record.gap(Duration::from_millis(30)).lost, 1);
        assert_eq!(record.lost_before(Duration::from_millis(30)), 2);
    }

    #[test]
    fn silence_to_the_end_is_silence() {
        let record = record(&[true, false, false, false]);

        assert_eq!(record.gap(Duration::ZERO).silence, Duration::from_millis(30));
    }

    #[test]
    fn nothing_lost_is_no_gap() {
        assert_eq!(record(&[true, true]).gap(Duration::ZERO).lost, 0);
        assert_eq!(record(&[]).gap(Duration::ZERO).time, Duration::ZERO);
    }

    #[test]
    fn replies_find_their_requests_in_any_order() {
        let at = Duration::from_millis;
        let gateway = IpAddr::from([192, 0, 2, 1]);

        let asked = matched(&[(7, at(1)), (8, at(2)), (9, at(3))], vec![(9, gateway), (7, gateway)]);

        let answered: Vec<_> = asked.iter().map(|asked| asked.gateway.is_some()).collect();
        assert_eq!(answered, [true, false, true]);
    }

    #[test]
    fn requests_follow_the_schedule_and_differ() {
        const RATE: u32 = 2000;
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let socket = UdpSocket::bind((loopback, 0)).unwrap();
        let stop = AtomicBool::new(false);
        let watch = Stopwatch::start();

        let sent = std::thread::scope(|scope| {
            let sender = scope.spawn(|| send(&socket, loopback, RATE, 0, watch, &stop));
            while watch.elapsed() < Duration::from_millis(100) {
                std::thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
            sender.join().unwrap().unwrap()
        });

        // None comes early; how late they may be is the machine's business.
        for (number, (_, at)) in (0..).zip(&sent) {
            assert!(*at >= Duration::from_secs(1) * number / RATE, "request {number} at {at:?}");
        }
        let spis: std::collections::BTreeSet<_> = sent.iter().map(|(spi_i, _)| spi_i).collect();
        assert_eq!(spis.len(), sent.len());
        assert!(!spis.contains(&0));
        assert!(sent.len() > 1, "{} requests", sent.len());
    }
}
