//! Bulk data between two namespaces, compared octet by octet.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use super::load::mix;
use super::netns::Namespace;

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
