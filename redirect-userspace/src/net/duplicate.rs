//! Finds out whether another host of the link uses a virtual address.
//!
//! # References
//!
//! `RFC 5227 §2.1` (probing with ARP), `RFC 4862 §5.4` (duplicate address detection).

#![expect(unsafe_code, reason = "attaching a filter to a packet socket has no safe wrapper")]

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::Duration;

use common::inet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, recv};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

use super::ethernet::{
    ETHERNET, ETHERTYPE_ARP, HOP_LIMIT, ICMPV6_ADVERTISEMENT, PROTOCOL_ICMPV6, Sender, open, probe,
};
use super::readable;
use crate::codec::{DecodeError, Reader};
use crate::hsrp::MacAddress;

/// Another host has a virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// The address.
    pub vip: IpAddr,
    /// The host.
    pub mac: MacAddress,
}

/// Asks the link who has `vips` and waits for `patience`, or until each has been claimed.
///
/// Claims from the MAC addresses in `own` do not count: the first is the one we ask from, the
/// virtual MAC belongs to them, since the active router of our own group answers with it. With
/// `use-bia` it answers with another one, so ask only while no router of the group is active.
///
/// Must be called within a tokio runtime.
///
/// # Errors
///
/// There is no such interface, it is down, or we may not.
pub async fn find(
    interface: u32,
    own: &[MacAddress],
    vips: &[IpAddr],
    patience: Duration,
) -> io::Result<Vec<Duplicate>> {
    let mut found = Vec::new();
    let Some(asker) = own.first() else { return Ok(found) };
    let sender = Sender::open(interface)?;
    let arp = Ears::open(interface, ETHERTYPE_ARP)?;
    let nd = Ears::open(interface, ETHERTYPE_IPV6)?;
    // One question may be lost, and so may an answer.
    for _ in 0..QUESTIONS {
        for vip in vips {
            sender.send(&probe(*asker, *vip))?;
        }
        let hear = async {
            loop {
                let claim = tokio::select! {
                    claim = arp.hear() => claim?,
                    claim = nd.hear() => claim?,
                };
                let is_news = vips.contains(&claim.vip) && !own.contains(&claim.mac);
                if is_news && !found.contains(&claim) {
                    found.push(claim);
                }
                if vips.iter().all(|vip| found.iter().any(|duplicate| duplicate.vip == *vip)) {
                    return io::Result::Ok(());
                }
            }
        };
        match timeout(patience / QUESTIONS, hear).await {
            Ok(Ok(())) => break,
            Ok(Err(error)) => return Err(error),
            Err(_time_to_ask_again) => {}
        }
    }
    Ok(found)
}

/// A packet socket for ARP or for neighbour advertisements.
struct Ears {
    socket: AsyncFd<OwnedFd>,
    ethertype: u16,
}

impl Ears {
    fn open(interface: u32, ethertype: u16) -> io::Result<Self> {
        let socket = open(interface, Some(ethertype))?;
        if ethertype == ETHERTYPE_IPV6 {
            hear_advertisements_only(&socket)?;
        }
        Ok(Self { socket: readable(socket)?, ethertype })
    }

    async fn hear(&self) -> io::Result<Duplicate> {
        let mut buffer = [0; LONGEST];
        loop {
            let received = self.socket.async_io(Interest::READABLE, |socket| {
                Ok(recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)?)
            });
            let length = received.await?;
            let frame = buffer.get(..length).unwrap_or_default();
            let claim = if self.ethertype == ETHERTYPE_IPV6 { advertised(frame) } else { answered(frame) };
            if let Ok(claim) = claim {
                return Ok(claim);
            }
        }
    }
}

/// Whom an ARP frame says an address belongs to, be it an answer or a question of its owner.
fn answered(frame: &[u8]) -> Result<Duplicate, DecodeError> {
    let mut reader = Reader::new(frame);
    reader.take(ETHERNET, "Ethernet header")?;
    is(1, reader.u16("hardware type")?, "hardware type")?;
    is(ETHERTYPE_IPV4, reader.u16("protocol type")?, "protocol type")?;
    is(0x0604, reader.u16("address lengths")?, "address lengths")?;
    reader.u16("operation")?;
    let mac = MacAddress(reader.array("sender's MAC address")?);
    let vip = reader.array::<4>("sender's address")?.into();
    Ok(Duplicate { vip, mac })
}

/// Whom a neighbour advertisement says an address belongs to.
fn advertised(frame: &[u8]) -> Result<Duplicate, DecodeError> {
    let mut reader = Reader::new(frame);
    reader.take(6, "Ethernet destination")?;
    let mac = MacAddress(reader.array("Ethernet source")?);
    reader.u16("Ethertype")?;
    reader.take(6, "IPv6 header")?;
    is(PROTOCOL_ICMPV6, reader.u8("next header")?, "next header")?;
    is(HOP_LIMIT, reader.u8("hop limit")?, "hop limit")?;
    reader.take(32, "IPv6 addresses")?;
    is(ICMPV6_ADVERTISEMENT, reader.u8("type")?, "type")?;
    is(0, reader.u8("code")?, "code")?;
    reader.take(6, "checksum and flags")?;
    let vip = reader.array::<16>("target")?.into();
    Ok(Duplicate { vip, mac })
}

fn is<T: PartialEq + Into<u64>>(expected: T, value: T, what: &'static str) -> Result<(), DecodeError> {
    if value == expected { Ok(()) } else { Err(DecodeError::Value { what, value: value.into() }) }
}

/// Leaves the rest of the interface's IPv6 packets to others: the queue is short.
fn hear_advertisements_only(socket: &OwnedFd) -> nix::Result<()> {
    let load = |at: u32| statement(BPF_LOAD_OCTET, 0, at);
    // Skips so many statements when the loaded octet is another.
    let unless = |octet: u8, skip: u8| statement(BPF_JUMP_EQUAL, skip, u32::from(octet));
    let mut program = [
        load(20),
        unless(PROTOCOL_ICMPV6, 3),
        load(54),
        unless(ICMPV6_ADVERTISEMENT, 1),
        statement(BPF_RETURN, 0, u32::MAX),
        statement(BPF_RETURN, 0, 0),
    ];
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap_or_default(),
        filter: program.as_mut_ptr(),
    };
    let length = u32::try_from(size_of_val(&filter)).unwrap_or_default();
    let (level, option) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
    let (socket, value) = (socket.as_fd().as_raw_fd(), (&raw const filter).cast());
    // SAFETY: `value` is valid for `length` octets, and `program` behind it for as many statements
    // as it says; both outlive the call, and the kernel only reads them.
    Errno::result(unsafe { libc::setsockopt(socket, level, option, value, length) }).map(drop)
}

const fn statement(code: u16, jump_if_not: u8, value: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: jump_if_not, k: value }
}

const QUESTIONS: u32 = 3;
/// Of a frame: an advertisement with a few options.
const LONGEST: usize = 256;
/// `BPF_LD | BPF_B | BPF_ABS`
const BPF_LOAD_OCTET: u16 = 0x30;
/// `BPF_JMP | BPF_JEQ | BPF_K`
const BPF_JUMP_EQUAL: u16 = 0x15;
/// `BPF_RET | BPF_K`
const BPF_RETURN: u16 = 0x06;

#[cfg(test)]
mod tests {
    use super::super::ethernet::announcements;
    use super::*;

    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

    #[test]
    fn every_announcement_is_a_claim() {
        let vip4: IpAddr = "10.50.0.5".parse().unwrap();
        let vip6: IpAddr = "fd50::5".parse().unwrap();

        for frame in announcements(MAC, vip4, false) {
            assert_eq!(answered(&frame), Ok(Duplicate { vip: vip4, mac: MAC }));
        }
        for frame in announcements(MAC, vip6, false) {
            assert_eq!(advertised(&frame), Ok(Duplicate { vip: vip6, mac: MAC }));
        }
    }

    #[test]
    fn a_probe_claims_nothing() {
        let vip4: IpAddr = "10.50.0.5".parse().unwrap();
        let nobody: IpAddr = "0.0.0.0".parse().unwrap();

        assert_eq!(answered(&probe(MAC, vip4)), Ok(Duplicate { vip: nobody, mac: MAC }));
        assert!(advertised(&probe(MAC, "fd50::5".parse().unwrap())).is_err());
    }

    #[test]
    fn an_advertisement_from_behind_a_router_does_not_count() {
        let mut frame = announcements(MAC, "fd50::5".parse().unwrap(), false).remove(0);
        frame[21] = 254;

        assert_eq!(advertised(&frame), Err(DecodeError::Value { what: "hop limit", value: 254 }));
    }

    #[test]
    fn frames_that_end_early_are_errors_at_every_length() {
        let arp = announcements(MAC, "10.50.0.5".parse().unwrap(), false).remove(0);
        let advertisement = announcements(MAC, "fd50::5".parse().unwrap(), false).remove(0);

        // The target's part of an ARP frame and the option of an advertisement say nothing here.
        assert!((0..32).all(|length| answered(&arp[..length]).is_err()));
        assert!((0..78).all(|length| advertised(&advertisement[..length]).is_err()));
    }
}
