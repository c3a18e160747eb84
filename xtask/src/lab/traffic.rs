//! Bulk data between two namespaces, compared octet by octet.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use super::load::mix;
use super::netns::Namespace;
use super::wait;

/// Octets of a stream that are under way at a time.
const PIECE: usize = 4_096;
/// How long the data may stand still.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends as many octets by TCP from an address in one namespace to one in another, and as many
/// other ones back.
///
/// # Errors
///
/// When the connection comes from another address, stands still, or carries what was not sent.
pub fn transfer(from: (&Namespace, IpAddr), to: (&Namespace, IpAddr), octets: usize) -> Result<()> {
    let listener = to.0.enter(|| TcpListener::bind((to.1, 0))).context("listening")?;
    let address = listener.local_addr().context("listening")?;
    let (up, down) = (pattern(1, octets), pattern(2, octets));
    std::thread::scope(|scope| {
        let server = scope.spawn(|| -> Result<()> {
            let (stream, peer) = listener.accept().context("accepting")?;
            ensure!(peer.ip() == from.1, "the connection comes from {peer}, not from {}", from.1);
            receive(&stream, &up).context("from the client")?;
            send(&stream, &down)
        });
        let client = || -> Result<()> {
            let stream = from.0.enter(|| connect(from.1, address)).context("connecting")?;
            send(&stream, &up)?;
            receive(&stream, &down).context("from the server")
        };
        let outcome = client();
        if outcome.is_err() {
            // The server may still wait for somebody to come.
            let _woken = to.0.enter(|| TcpStream::connect_timeout(&address, PATIENCE));
        }
        let served = server.join().map_err(|_panic| anyhow!("the server panicked"))?;
        outcome.and(served)
    })
}

/// Sends so many octets by TCP from one address to the other, and waits until all have come.
///
/// # Errors
///
/// When the connection stands still, or not all of them come.
pub fn send_all(from: (&Namespace, IpAddr), to: (&Namespace, IpAddr), octets: usize) -> Result<()> {
    let listener = to.0.enter(|| TcpListener::bind((to.1, 0))).context("listening")?;
    let address = listener.local_addr().context("listening")?;
    let stream = from.0.enter(|| connect(from.1, address)).context("connecting")?;
    let (mut end, _) = listener.accept().context("accepting")?;
    std::thread::scope(|scope| {
        let receiver = scope.spawn(move || -> Result<usize> {
            end.set_read_timeout(Some(PATIENCE)).context("setting a timeout")?;
            let (mut piece, mut received) = (vec![0; 1 << 16], 0);
            loop {
                match end.read(&mut piece).context("receiving")? {
                    0 => return Ok(received),
                    length => received += length,
                }
            }
        });
        let piece = vec![0x55; 1 << 16];
        let mut left = octets;
        while let Some(next) = piece.get(..left.min(piece.len())).filter(|next| !next.is_empty()) {
            send(&stream, next)?;
            left -= next.len();
        }
        stream.shutdown(Shutdown::Write).context("ending the stream")?;
        let received = receiver.join().map_err(|_panic| anyhow!("the receiver panicked"))??;
        ensure!(received == octets, "{received} of {octets} octets came");
        Ok(())
    })
}

/// How far a [`stream`] has come.
#[derive(Debug)]
pub struct Progress<'a>(&'a AtomicU64);

impl Progress<'_> {
    /// Waits until so many more octets, or datagrams, have come back.
    ///
    /// # Errors
    ///
    /// When they do not in time.
    pub fn wait_for(&self, octets: u64, within: Duration) -> Result<()> {
        let goal = self.0.load(Ordering::Relaxed) + octets;
        wait::until("the stream goes on", within, || {
            let now = self.0.load(Ordering::Relaxed);
            ensure!(now >= goal, "{now} of {goal} have come back");
            Ok(())
        })
    }
}

/// Has octets go to and fro over one TCP connection, each compared, for as long as `act` takes.
///
/// # Errors
///
/// When the connection stands still, ends, or carries what was not sent, or `act` fails.
pub fn stream<T>(
    from: (&Namespace, IpAddr),
    to: (&Namespace, IpAddr),
    act: impl FnOnce(&Progress<'_>) -> Result<T>,
) -> Result<T> {
    let listener = to.0.enter(|| TcpListener::bind((to.1, 0))).context("listening")?;
    let address = listener.local_addr().context("listening")?;
    let stream = from.0.enter(|| connect(from.1, address)).context("connecting")?;
    let (echo, peer) = listener.accept().context("accepting")?;
    ensure!(peer.ip() == from.1, "the connection comes from {peer}, not from {}", from.1);
    let (count, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let far = scope.spawn(|| -> Result<()> {
            let mut piece = vec![0; PIECE];
            loop {
                echo.set_read_timeout(Some(PATIENCE)).context("setting a timeout")?;
                match (&echo).read_exact(&mut piece) {
                    Ok(()) => send(&echo, &piece)?,
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                    Err(error) => return Err(error).context("at the far end"),
                }
            }
        });
        let near = scope.spawn(|| -> Result<()> {
            for number in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let piece = pattern(number, PIECE);
                send(&stream, &piece)?;
                receive(&stream, &piece)?;
                count.fetch_add(PIECE as u64, Ordering::Relaxed);
            }
            stream.shutdown(Shutdown::Write).context("ending the stream")
        });
        let outcome = act(&Progress(&count));
        is_over.store(true, Ordering::Relaxed);
        for end in [near, far] {
            end.join().map_err(|_panic| anyhow!("an end of the stream panicked"))??;
        }
        outcome
    })
}

/// What became of datagrams that were to be echoed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echoed {
    /// How many there were.
    pub sent: usize,
    /// How many did not come back.
    pub lost: usize,
}

/// Has datagrams go to and fro, a few at a time, for as long as `act` takes. Nobody repeats one that is
/// lost.
///
/// # Errors
///
/// When a socket fails, or `act` does.
pub fn echo<T>(
    from: (&Namespace, IpAddr),
    to: (&Namespace, IpAddr),
    act: impl FnOnce(&Progress<'_>) -> Result<T>,
) -> Result<(T, Echoed)> {
    let far = to.0.udp((to.1, 0))?;
    let near = from.0.udp((from.1, 0))?;
    near.connect(far.local_addr().context("the far end")?).context("connecting")?;
    near.set_read_timeout(Some(LATE)).context("setting a timeout")?;
    far.set_read_timeout(Some(GLANCE)).context("setting a timeout")?;
    let (count, is_over, is_done) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (is_done, count, is_over) = (&is_done, &count, &is_over);
        let mirror = scope.spawn(move || {
            let mut octets = [0; 64];
            while !is_done.load(Ordering::Relaxed) {
                if let Ok((length, peer)) = far.recv_from(&mut octets) {
                    // What is lost here is lost as well.
                    let _sent = far.send_to(octets.get(..length).unwrap_or_default(), peer);
                }
            }
        });
        let source = scope.spawn(move || -> Result<Echoed> {
            let mut is_back: Vec<bool> = Vec::new();
            let mut under_way = 0;
            let mut octets = [0; 64];
            loop {
                let is_last = is_over.load(Ordering::Relaxed);
                while !is_last && under_way < AT_A_TIME {
                    // A tunnel that is not there for a moment loses it.
                    let _sent = near.send(&u64::try_from(is_back.len())?.to_be_bytes());
                    is_back.push(false);
                    under_way += 1;
                }
                if under_way == 0 {
                    break;
                }
                let Ok(_length) = near.recv(&mut octets) else {
                    // All of them are late enough to be lost.
                    under_way = 0;
                    continue;
                };
                let number = octets.first_chunk().map(|number| u64::from_be_bytes(*number));
                let number = number.and_then(|number| usize::try_from(number).ok());
                if let Some(place) = number.and_then(|number| is_back.get_mut(number))
                    && !std::mem::replace(place, true)
                {
                    under_way = under_way.saturating_sub(1);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(Echoed { sent: is_back.len(), lost: is_back.iter().filter(|is_back| !**is_back).count() })
        });
        let outcome = act(&Progress(count));
        is_over.store(true, Ordering::Relaxed);
        let echoed = source.join().map_err(|_panic| anyhow!("the source panicked"));
        is_done.store(true, Ordering::Relaxed);
        mirror.join().map_err(|_panic| anyhow!("the mirror panicked"))?;
        Ok((outcome?, echoed??))
    })
}

/// Datagrams that are under way at a time.
const AT_A_TIME: usize = 8;
/// One that has not come back after that is lost.
const LATE: Duration = Duration::from_secs(5);
/// How long the far end waits until it looks whether it is over.
const GLANCE: Duration = Duration::from_millis(200);

/// Connects from an address: routes may prefer another one.
fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let family = if from.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let seconds = PATIENCE.as_secs().try_into().map_err(io::Error::other)?;
    // It bounds the time of connecting as well.
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::new(seconds, 0))?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0)))?;
    nix::sys::socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(to))?;
    Ok(socket.into())
}

fn send(mut stream: &TcpStream, octets: &[u8]) -> Result<()> {
    stream.set_write_timeout(Some(PATIENCE)).context("setting a timeout")?;
    stream.write_all(octets).context("sending")
}

fn receive(mut stream: &TcpStream, expected: &[u8]) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE)).context("setting a timeout")?;
    let mut received = vec![0; expected.len()];
    stream.read_exact(&mut received).context("receiving")?;
    let wrong = received.iter().zip(expected).position(|(received, sent)| received != sent);
    ensure!(wrong.is_none(), "octet {wrong:?} is not what was sent");
    Ok(())
}

/// Octets that do not repeat.
fn pattern(seed: u64, octets: usize) -> Vec<u8> {
    let words = (0_u64..).map(|at| mix((seed << 48) | at).to_le_bytes());
    let mut all: Vec<u8> = words.take(octets.div_ceil(8)).flatten().collect();
    all.truncate(octets);
    all
}
