//! Raw IKE_SA_INIT requests and a strict reader of the replies: load without a peer's arithmetic.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::netns::Namespace;
use super::wait::Stopwatch;

/// How long a reply may take before the request counts as unanswered.
///
/// A reply takes microseconds; the rest is for a machine with other work.
const PATIENCE: Duration = Duration::from_millis(250);
/// The port on which IKE comes with a marker (`RFC 3948 §2.2`).
const NAT_PORT: u16 = 4500;
const MARKER: [u8; 4] = [0; 4];
const NONCE: usize = 32;

/// IKE header after the SPIs, SA, and KE of a 152-octet request: AES-GCM-16-256,
/// PRF-HMAC-SHA2-256, X25519.
const HEAD: &str = "2120220800000000000000982200002800000024010100030300000c01000014800e0100\
    030000080200000500000008040000\
    1f28000028001f0000404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f29000024";
/// The last payload: REDIRECT_SUPPORTED (`RFC 5685 §9.1`).
const TAIL: &str = "0000000800004016";

/// A request with this initiator's SPI, and a nonce that follows from it.
#[must_use]
pub fn request(spi_i: u64) -> Vec<u8> {
    let mut request = spi_i.to_be_bytes().to_vec();
    request.extend([0; 8]);
    request.extend(octets(HEAD));
    request.extend(nonce(spi_i));
    request.extend(octets(TAIL));
    request
}

/// Reads the one right reply to [`request`] and returns the gateway it names.
///
/// # Errors
///
/// When any octet differs from what `RFC 5685 §3` and `§9.2` ask for.
pub fn read_reply(spi_i: u64, reply: &[u8]) -> Result<IpAddr> {
    let (head, rest) = reply.split_at_checked(36).context("shorter than its headers")?;
    let (kind, rest) = rest.split_first().context("no identity type")?;
    let (length, rest) = rest.split_first().context("no identity length")?;
    let (identity, echo) = rest.split_at_checked((*length).into()).context("identity truncated")?;
    let gateway = match kind {
        1 => IpAddr::from(<[u8; 4]>::try_from(identity).context("IPv4 identity")?),
        2 => IpAddr::from(<[u8; 16]>::try_from(identity).context("IPv6 identity")?),
        other => bail!("identity of type {other}"),
    };
    ensure!(echo == nonce(spi_i), "another nonce comes back: {echo:02x?}");
    let total = u32::try_from(reply.len()).context("length")?;
    let payload = u16::try_from(reply.len() - 28).context("length")?;
    let mut expected = spi_i.to_be_bytes().to_vec();
    expected.extend([0; 8]);
    expected.extend([41, 0x20, 34, 0x20, 0, 0, 0, 0]);
    expected.extend(total.to_be_bytes());
    expected.extend([0, 0]);
    expected.extend(payload.to_be_bytes());
    expected.extend([0, 0, 0x40, 0x17]);
    ensure!(head == expected, "headers {head:02x?} instead of {expected:02x?}");
    Ok(gateway)
}

/// A nonce that no two SPIs share: the SPI four times, each differently.
fn nonce(spi_i: u64) -> [u8; NONCE] {
    let mut nonce = [0; NONCE];
    for (part, octets) in (0..).zip(nonce.chunks_exact_mut(8)) {
        octets.copy_from_slice(&spi_i.rotate_left(part * 8).to_le_bytes());
    }
    nonce
}

/// The finalizer of SplitMix64: a bijection that leaves no trace of the order of its inputs.
pub(super) const fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|digit| u8::try_from(digit.to_digit(16)?).ok()).collect();
    digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |octet, digit| octet << 4 | digit)).collect()
}

/// A source of requests, one at a time.
#[derive(Debug)]
pub struct Asker {
    socket: UdpSocket,
    has_marker: bool,
    /// The last SPI, and what the next one follows from.
    spi_i: u64,
    state: u64,
}

impl Asker {
    /// A source in a namespace; its SPIs follow from `seed`.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound or the VIP has no route.
    pub fn new(namespace: &Namespace, local: IpAddr, vip: IpAddr, port: u16, seed: u64) -> Result<Self> {
        let socket = namespace.udp((local, 0))?;
        // A connected socket takes replies from the VIP and this port only.
        socket.connect((vip, port)).with_context(|| format!("connecting to {vip}"))?;
        socket.set_read_timeout(Some(PATIENCE)).context("setting a timeout")?;
        Ok(Self { socket, has_marker: port == NAT_PORT, spi_i: 0, state: seed })
    }

    /// Sends the next request and waits for its reply: the gateway, or nothing.
    ///
    /// # Errors
    ///
    /// When something came back that is not the right reply.
    pub fn ask(&mut self) -> Result<Option<IpAddr>> {
        // Clients choose SPIs at random (`RFC 7296 §2.6`); these are as random, and repeatable.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.spi_i = mix(self.state);
        self.repeat()
    }

    /// Sends the last request again and waits for its reply.
    ///
    /// # Errors
    ///
    /// As [`Asker::ask`].
    pub fn repeat(&mut self) -> Result<Option<IpAddr>> {
        let mut datagram = if self.has_marker { MARKER.to_vec() } else { Vec::new() };
        datagram.extend(request(self.spi_i));
        if let Err(error) = self.socket.send(&datagram) {
            return unreachable_is_silence(error);
        }
        let mut buffer = [0; 2048];
        loop {
            let length = match self.socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) => return unreachable_is_silence(error),
            };
            let reply = buffer.get(..length).unwrap_or_default();
            let reply = if self.has_marker {
                reply.strip_prefix(&MARKER).context("a reply without the non-ESP marker")?
            } else {
                reply
            };
            // A late reply to an earlier request is not the one that was asked for.
            if reply.starts_with(&self.spi_i.to_be_bytes()) {
                return read_reply(self.spi_i, reply).map(Some);
            }
        }
    }

    /// Asks over and over on a thread of its own until told to stop.
    #[must_use]
    pub fn barrage(mut self) -> Barrage {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let watch = Stopwatch::start();
        let thread = std::thread::spawn(move || {
            let mut answers = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let gateway = self.ask()?;
                answers.push(Answer { at: watch.elapsed(), gateway });
            }
            Ok(answers)
        });
        Barrage { stop, watch, thread }
    }
}

/// Without an answer the node's kernel says that nobody listens, or nobody says anything.
fn unreachable_is_silence(error: io::Error) -> Result<Option<IpAddr>> {
    let silence = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut, io::ErrorKind::ConnectionRefused];
    if silence.contains(&error.kind()) { Ok(None) } else { Err(error).context("asking the VIP") }
}

/// What became of one request of a [`Barrage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When that was clear, since the start of the barrage.
    pub at: Duration,
    /// The gateway named, if there was a reply.
    pub gateway: Option<IpAddr>,
}

/// Requests one after the other.
#[derive(Debug)]
pub struct Barrage {
    stop: Arc<AtomicBool>,
    watch: Stopwatch,
    thread: JoinHandle<Result<Vec<Answer>>>,
}

impl Barrage {
    /// Time since the start, to compare with [`Answer::at`].
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.watch.elapsed()
    }

    /// Ends it and returns what became of every request, in order.
    ///
    /// # Errors
    ///
    /// When a reply was wrong.
    pub fn stop(self) -> Result<Vec<Answer>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_panic| anyhow!("the barrage panicked"))?
    }
}

/// How often each gateway was named; `None` stands for silence.
#[must_use]
pub fn tally(answers: impl IntoIterator<Item = Option<IpAddr>>) -> BTreeMap<Option<IpAddr>, u32> {
    let mut tally = BTreeMap::new();
    for gateway in answers {
        *tally.entry(gateway).or_default() += 1;
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPI_I: u64 = 0x1122_3344_5566_7788;

    fn reply(identity: &[u8]) -> Vec<u8> {
        let length = u8::try_from(identity.len()).unwrap();
        let mut reply = SPI_I.to_be_bytes().to_vec();
        reply.extend(octets("0000000000000000292022200000000000000000"));
        reply[27] = 42 + 32 + length - 4;
        reply.extend([0, 0, 0, 14 + 32 + length - 4, 0, 0, 0x40, 0x17]);
        reply.extend([if length == 4 { 1 } else { 2 }, length]);
        reply.extend(identity);
        reply.extend(nonce(SPI_I));
        reply
    }

    #[test]
    fn a_request_is_as_long_as_it_says() {
        let request = request(SPI_I);

        assert_eq!(request.len(), 152);
        assert_eq!(request[24..28], [0, 0, 0, 152]);
        assert_eq!(request[..8], SPI_I.to_be_bytes());
    }

    #[test]
    fn the_right_reply_names_its_gateway() {
        assert_eq!(read_reply(SPI_I, &reply(&[192, 0, 2, 21])).unwrap(), IpAddr::from([192, 0, 2, 21]));
        assert_eq!(read_reply(SPI_I, &reply(&[0x20; 16])).unwrap(), IpAddr::from([0x20; 16]));
    }

    #[test]
    fn a_reply_with_any_wrong_octet_is_refused() {
        let right = reply(&[192, 0, 2, 21]);
        // The identity itself may be any address.
        for at in (0..right.len()).filter(|at| !(38..42).contains(at)) {
            let mut wrong = right.clone();
            wrong[at] ^= 1;
            assert!(read_reply(SPI_I, &wrong).is_err(), "octet {at}");
        }
        for length in 0..right.len() {
            assert!(read_reply(SPI_I, &right[..length]).is_err(), "cut at {length}");
        }
    }
}
