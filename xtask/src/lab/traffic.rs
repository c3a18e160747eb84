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

/// How far a [`stream`] has come.
#[derive(Debug)]
pub struct Progress<'a>(&'a AtomicU64);

impl Progress<'_> {
    /// Waits until so many more octets have come back.
    ///
    /// # Errors
    ///
    /// When they do not in time.
    pub fn wait_for(&self, octets: u64, within: Duration) -> Result<()> {
        let goal = self.0.load(Ordering::Relaxed) + octets;
        wait::until("the stream goes on", within, || {
            let now = self.0.load(Ordering::Relaxed);
            ensure!(now >= goal, "{now} of {goal} octets have come back");
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
