//! Which worker's socket a datagram comes to.

#![expect(unsafe_code, reason = "a program for a group of sockets has no safe wrapper")]

use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use super::ike::NAT_T;

/// How urgent a datagram is. Each rank has sockets of its own: what is less urgent, however much of it
/// comes, takes no room from what is more so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// It names an SA of ours: everything but the first message.
    Known,
    /// A first message that begins with a notify, as one with a cookie does (`RFC 7296 §2.6`).
    Returning,
    /// Any other first message.
    New,
}

impl Rank {
    /// All of them, in the order in which their sockets are bound.
    pub const ALL: [Self; 3] = [Self::Known, Self::Returning, Self::New];
}

/// The program that chooses among the sockets of a group: it sees the datagram from the UDP payload
/// on, and gives the position of the socket. There is one for each worker, rank after rank.
pub(super) fn steering(workers: u16, has_marker: bool) -> Vec<libc::sock_filter> {
    let count = u32::from(workers);
    let base: u32 = if has_marker { 4 } else { 0 };
    let mut program = Vec::new();
    let load = |offset| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset);
    let octet = |offset| statement(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, offset);
    let modulo = [
        statement(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, count),
        statement(libc::BPF_RET | libc::BPF_A, 0),
    ];
    if has_marker {
        // Not the marker: an ESP packet, whose SPI it is.
        program.push(load(0));
        program.push(jump(libc::BPF_JEQ, 0, 2, 0));
        program.extend(modulo);
    }
    // Whose SPI is ours?
    program.push(octet(base + FLAGS_AT));
    program.push(jump(libc::BPF_JSET, INITIATOR, 0, 2));
    program.push(load(base + SPI_R_LOW_AT));
    program.push(statement(libc::BPF_JMP | libc::BPF_JA, 1));
    program.push(load(base + SPI_I_LOW_AT));
    program.push(jump(libc::BPF_JEQ, 0, 2, 0));
    program.extend(modulo);
    // None yet: by the source address, the last octets of which differ most.
    program.push(octet(NETWORK_HEADER));
    program.push(statement(libc::BPF_ALU | libc::BPF_RSH | libc::BPF_K, 4));
    program.push(jump(libc::BPF_JEQ, 6, 0, 2));
    program.push(load(NETWORK_HEADER + 20));
    program.push(statement(libc::BPF_JMP | libc::BPF_JA, 1));
    program.push(load(NETWORK_HEADER + 12));
    // Neighbours get other workers, and so do networks of one step.
    program.push(statement(libc::BPF_ALU | libc::BPF_MUL | libc::BPF_K, MULTIPLIER));
    program.push(statement(libc::BPF_ALU | libc::BPF_RSH | libc::BPF_K, 16));
    program.push(statement(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, count));
    program.push(statement(libc::BPF_MISC | libc::BPF_TAX, 0));
    program.push(octet(base + NEXT_PAYLOAD_AT));
    program.push(jump(libc::BPF_JEQ, NOTIFY, 0, 2));
    program.push(statement(libc::BPF_LD | libc::BPF_IMM, count));
    program.push(statement(libc::BPF_JMP | libc::BPF_JA, 1));
    program.push(statement(libc::BPF_LD | libc::BPF_IMM, 2 * count));
    program.push(statement(libc::BPF_ALU | libc::BPF_ADD | libc::BPF_X, 0));
    program.push(statement(libc::BPF_RET | libc::BPF_A, 0));
    program
}

/// The worker that a datagram to this port belongs to: what the program in the kernel finds.
#[must_use]
pub fn worker_of(port: u16, datagram: &[u8], source: IpAddr, workers: u16) -> u16 {
    let count = u32::from(workers.max(1));
    let number = number_of(port, datagram, source);
    u16::try_from(number % count).unwrap_or(0)
}

fn number_of(port: u16, datagram: &[u8], source: IpAddr) -> u32 {
    let word = |at: usize| -> Option<u32> {
        let octets = datagram.get(at..)?.first_chunk()?;
        Some(u32::from_be_bytes(*octets))
    };
    let base = if port == NAT_T { 4 } else { 0 };
    if port == NAT_T {
        match word(0) {
            Some(0) => {}
            Some(spi) => return spi,
            None => return 0,
        }
    }
    let Some(flags) = datagram.get(base + 19) else { return 0 };
    let at = if u32::from(*flags) & INITIATOR == 0 { 4 } else { 12 };
    match word(base + at) {
        Some(0) => {
            let low = match source {
                IpAddr::V4(source) => source.to_bits(),
                IpAddr::V6(source) => {
                    let [.., a, b, c, d] = source.octets();
                    u32::from_be_bytes([a, b, c, d])
                }
            };
            low.wrapping_mul(MULTIPLIER) >> 16
        }
        Some(spi) => spi,
        None => 0,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "codes of the classic BPF have 16 bits")]
const fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

#[expect(clippy::cast_possible_truncation, reason = "codes of the classic BPF have 16 bits")]
const fn jump(condition: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: (libc::BPF_JMP | condition | libc::BPF_K) as u16, jt, jf, k }
}

pub(super) fn attach(socket: &OwnedFd, program: &[libc::sock_filter]) -> anyhow::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len())?,
        // The kernel only reads it.
        filter: program.as_ptr().cast_mut(),
    };
    let length = libc::socklen_t::try_from(size_of::<libc::sock_fprog>())?;
    // SAFETY: `program` and the instructions that it points to live beyond the call, which copies
    // them.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            length,
        )
    };
    Ok(Errno::result(result).map(drop)?)
}

/// Where the last four octets of the initiator's SPI stand in an IKE message.
const SPI_I_LOW_AT: u32 = 4;
/// Where those of the responder's SPI stand.
const SPI_R_LOW_AT: u32 = 12;
/// Where the type of the first payload stands.
const NEXT_PAYLOAD_AT: u32 = 16;
/// The type of a Notify payload.
const NOTIFY: u32 = 41;
/// Where the flags stand.
const FLAGS_AT: u32 = 19;
/// The sender has begun the IKE SA.
const INITIATOR: u32 = 0x08;
/// `SKF_NET_OFF`: offsets from here on count from the IP header.
const NETWORK_HEADER: u32 = 0xfff0_0000;
/// Knuth's: 2^32 over the golden ratio.
const MULTIPLIER: u32 = 0x9e37_79b1;

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, UdpSocket};

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;
    use crate::net::ike::{Inbox, Port};

    const WORKERS: u16 = 3;
    /// In milliseconds; nearly nothing of it is needed.
    const PATIENCE: u16 = 10_000;

    fn message(spi_i: u32, spi_r: u32, flags: u8) -> Vec<u8> {
        let mut octets = vec![0; 28];
        octets[4..8].copy_from_slice(&spi_i.to_be_bytes());
        octets[12..16].copy_from_slice(&spi_r.to_be_bytes());
        octets[19] = flags;
        octets
    }

    /// Sends datagrams to sockets of several workers; says whose each came to, and of which rank.
    fn steered(at: SocketAddr, from: IpAddr, datagrams: &[Vec<u8>]) -> Vec<(u16, Rank)> {
        let bind = |rank| (0..WORKERS).map(move |_| Port::bind(at).unwrap().of_rank(rank));
        let ports: Vec<Port> = Rank::ALL.into_iter().flat_map(bind).collect();
        ports[0].steer(WORKERS).unwrap();
        let sender = UdpSocket::bind((from, 0)).unwrap();
        let mut inbox = Inbox::new();
        let receiver = |datagram: &Vec<u8>| {
            assert_eq!(sender.send_to(datagram, at).unwrap(), datagram.len());
            let watch = |port| PollFd::new(std::os::fd::AsFd::as_fd(port), PollFlags::POLLIN);
            let mut watched: Vec<_> = ports.iter().map(watch).collect();
            assert_eq!(poll(&mut watched, PollTimeout::from(PATIENCE)).unwrap(), 1, "{datagram:x?}");
            let number = watched.iter().position(|watched| watched.any() == Some(true)).unwrap();
            assert_eq!(inbox.receive(&ports[number]).unwrap(), 1);
            let received = inbox.datagrams().next().unwrap();
            assert_eq!((received.local, received.remote.ip()), (at, from));
            assert_eq!(received.octets, datagram);
            (u16::try_from(number).unwrap() % WORKERS, ports[number].rank())
        };
        datagrams.iter().map(receiver).collect()
    }

    fn workers(at: SocketAddr, from: IpAddr, datagrams: &[Vec<u8>]) -> Vec<u16> {
        steered(at, from, datagrams).into_iter().map(|(worker, _)| worker).collect()
    }

    /// With an SPI of ours as responder, as initiator, with none, and too short for any.
    fn messages() -> Vec<Vec<u8>> {
        let of_ours = (0..6).flat_map(|spi| [message(7, spi, 0x08), message(spi, 7, 0x20)]);
        of_ours.chain((0..20).map(|length| vec![9; length])).collect()
    }

    fn assert_steered(port: u16, datagrams: &[Vec<u8>]) {
        // Addresses of this test alone, as are those of its process.
        let [high, low] = u16::try_from(std::process::id() % 0xffff).unwrap().to_be_bytes();
        let at = SocketAddr::from(([127, 1 + u8::from(port == NAT_T), high, low.max(1)], port));
        for from in ["127.0.0.1", "127.8.0.3", "127.9.4.20"] {
            let from: IpAddr = from.parse().unwrap();

            let found = workers(at, from, datagrams);

            let expected: Vec<u16> =
                datagrams.iter().map(|datagram| worker_of(port, datagram, from, WORKERS)).collect();
            assert_eq!(found, expected, "from {from}");
            for worker in 0..WORKERS {
                assert!(found.contains(&worker), "{worker} of {found:?}");
            }
        }
    }

    #[test]
    fn an_ike_message_comes_to_the_worker_of_its_sa() {
        assert_eq!(worker_of(500, &message(7, 4, 0x08), IpAddr::from([127, 0, 0, 1]), WORKERS), 1);
        assert_eq!(worker_of(500, &message(5, 7, 0x20), IpAddr::from([127, 0, 0, 1]), WORKERS), 2);

        assert_steered(5_500, &messages());
    }

    #[test]
    fn on_port_4500_ike_and_esp_come_to_the_worker_of_their_sa() {
        let marked = messages().into_iter().map(|message| [&[0; 4], &message[..]].concat());
        let esp = (1..7_u32).map(|spi| [&spi.to_be_bytes(), &[0xee; 40][..]].concat());

        assert_steered(NAT_T, &marked.chain(esp).collect::<Vec<_>>());
    }

    #[test]
    fn first_messages_come_to_sockets_of_their_own() {
        let at: SocketAddr = "127.0.0.1:5502".parse().unwrap();
        let first = |next_payload: u8| {
            let mut octets = message(7, 0, 0x08);
            octets[16] = next_payload;
            octets
        };
        let datagrams = [message(7, 4, 0x08), message(5, 7, 0x20), first(33), first(41), first(43)];

        let ranks: Vec<Rank> = steered(at, at.ip(), &datagrams).into_iter().map(|(_, rank)| rank).collect();

        assert_eq!(ranks, [Rank::Known, Rank::Known, Rank::New, Rank::Returning, Rank::New]);
    }

    #[test]
    fn on_port_4500_as_well() {
        let at: SocketAddr = "127.0.0.9:4500".parse().unwrap();
        let marked = |octets: &[u8]| [&[0; 4], octets].concat();
        let mut cookie = message(7, 0, 0x08);
        cookie[16] = 41;
        let esp = [&[1, 2, 3, 4], &[41; 40][..]].concat();
        let datagrams = [marked(&message(7, 4, 0x08)), marked(&cookie), marked(&message(7, 0, 0x08)), esp];

        let ranks: Vec<Rank> = steered(at, at.ip(), &datagrams).into_iter().map(|(_, rank)| rank).collect();

        assert_eq!(ranks, [Rank::Known, Rank::Returning, Rank::New, Rank::Known]);
    }

    #[test]
    fn over_ipv6_as_well() {
        let at: SocketAddr = "[::1]:5501".parse().unwrap();
        let datagrams = messages();

        let found = workers(at, at.ip(), &datagrams);

        let expected: Vec<u16> =
            datagrams.iter().map(|datagram| worker_of(5_501, datagram, at.ip(), WORKERS)).collect();
        assert_eq!(found, expected);
    }
}
