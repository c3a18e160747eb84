//! Messages to and from the part of the kernel that carries ESP (`NETLINK_XFRM`), as octets: what is
//! in them is the business of the kernel data plane.
//!
//! # Invariants
//!
//! - Keys may be in every message, so all octets are zeroed when they have been read or sent.
//! - Only what the kernel itself has sent is taken in.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use rtnetlink::sys::Socket;

use super::netlink::BUFFER;
use crate::secret::Secret;

/// `NETLINK_XFRM`
const NETLINK_XFRM: isize = 6;
/// Octets of `nlmsghdr`.
const HEADER: usize = 16;
const ALIGNMENT: usize = 4;
/// `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// Octets that the kernel may have for us before it drops events.
const EVENTS_BUFFER: usize = 1 << 20;

/// A message without its header.
#[derive(Debug)]
pub struct Request {
    /// `XFRM_MSG_*`
    pub kind: u16,
    /// What follows the header.
    pub body: Secret,
}

/// A message from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// `XFRM_MSG_*`, or one of netlink's own.
    pub kind: u16,
    /// Which request it answers; 0 for events.
    pub sequence: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

/// The messages in what the kernel sent in one piece, as far as they are whole.
#[derive(Clone, Copy, Debug)]
pub struct Frames<'a>(pub &'a [u8]);

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let (head, _) = self.0.split_first_chunk::<HEADER>()?;
        let [l0, l1, l2, l3, k0, k1, _, _, s0, s1, s2, s3, ..] = *head;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
        let body = self.0.get(HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        let kind = u16::from_ne_bytes([k0, k1]);
        Some(Frame { kind, sequence: u32::from_ne_bytes([s0, s1, s2, s3]), body })
    }
}

/// A socket for requests, one at a time: the kernel carries each out within the call that sends it.
pub struct Orders {
    socket: Socket,
    sequence: u32,
}

impl std::fmt::Debug for Orders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Orders({})", self.sequence)
    }
}

impl Orders {
    /// A socket in the network namespace of this thread.
    ///
    /// # Errors
    ///
    /// The kernel has no XFRM.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_XFRM)?;
        socket.bind_auto()?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Has something done.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn carry_out(&mut self, request: &Request) -> io::Result<()> {
        let sequence = self.send(request, NLM_F_REQUEST | NLM_F_ACK)?;
        loop {
            let octets = self.receive()?;
            for frame in Frames(octets.expose()).filter(|frame| frame.sequence == sequence) {
                if frame.kind == ERROR {
                    return result(frame.body);
                }
            }
        }
    }

    /// Asks something that has one answer, which `read` reads.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn ask<T>(&mut self, question: &Request, read: impl Fn(Frame<'_>) -> T) -> io::Result<T> {
        let sequence = self.send(question, NLM_F_REQUEST)?;
        loop {
            let octets = self.receive()?;
            if let Some(frame) = Frames(octets.expose()).find(|frame| frame.sequence == sequence) {
                return match frame.kind {
                    ERROR => {
                        Err(result(frame.body).err().unwrap_or_else(|| io::ErrorKind::InvalidData.into()))
                    }
                    _ => Ok(read(frame)),
                };
            }
        }
    }

    /// Asks something that has many answers.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn list<T>(
        &mut self,
        question: &Request,
        read: impl Fn(Frame<'_>) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        let sequence = self.send(question, NLM_F_REQUEST | NLM_F_DUMP)?;
        let mut answers = Vec::new();
        loop {
            let octets = self.receive()?;
            for frame in Frames(octets.expose()).filter(|frame| frame.sequence == sequence) {
                match frame.kind {
                    DONE => return Ok(answers),
                    ERROR => result(frame.body)?,
                    _ => answers.extend(read(frame)),
                }
            }
        }
    }

    fn send(&mut self, request: &Request, flags: u16) -> io::Result<u32> {
        self.sequence = self.sequence.wrapping_add(1);
        let body = request.body.expose();
        let length = HEADER + body.len();
        let mut octets = Vec::with_capacity(length);
        octets.extend(u32::try_from(length).map_err(io::Error::other)?.to_ne_bytes());
        octets.extend(request.kind.to_ne_bytes());
        octets.extend(flags.to_ne_bytes());
        octets.extend(self.sequence.to_ne_bytes());
        octets.extend([0; 4]);
        octets.extend_from_slice(body);
        let octets = Secret::new(octets);
        self.socket.send(octets.expose(), 0)?;
        Ok(self.sequence)
    }

    fn receive(&self) -> io::Result<Secret> {
        loop {
            match receive(&self.socket, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(None) => {}
                Ok(Some(octets)) => return Ok(octets),
                Err(error) => return Err(error),
            }
        }
    }
}

/// What the kernel tells by itself.
pub struct Events(Socket);

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

impl Events {
    /// Listens to groups of events (`XFRMNLGRP_*`) in the network namespace of this thread.
    ///
    /// # Errors
    ///
    /// The kernel has no XFRM, or this process no right to listen.
    pub fn open(groups: &[u32]) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_XFRM)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        // Up to the system's limit, which it is silently cut to.
        socket.set_rx_buf_sz(libc_int(EVENTS_BUFFER))?;
        for group in groups {
            socket.add_membership(*group)?;
        }
        Ok(Self(socket))
    }

    /// The next piece; `None` when there is none at the moment.
    ///
    /// # Errors
    ///
    /// `ENOBUFS` when the kernel has dropped events, the others of the system call.
    pub fn receive(&self) -> io::Result<Option<Secret>> {
        loop {
            match receive(&self.0, 0) {
                // From somebody else than the kernel.
                Ok(None) => {}
                Ok(Some(octets)) => return Ok(Some(octets)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn libc_int(number: usize) -> nix::libc::c_int {
    nix::libc::c_int::try_from(number).unwrap_or(nix::libc::c_int::MAX)
}

/// What came; `None` if not from the kernel.
fn receive(socket: &Socket, flags: nix::libc::c_int) -> io::Result<Option<Secret>> {
    let mut buffer = Vec::with_capacity(BUFFER);
    let received = socket.recv_from(&mut buffer, flags);
    // Zeroes the rest.
    let octets = Secret::new(buffer);
    let (_, sender) = received?;
    Ok((sender.port_number() == 0).then_some(octets))
}

/// What an acknowledgement says (`struct nlmsgerr`): zero, or an error negated.
fn result(body: &[u8]) -> io::Result<()> {
    let code = body.first_chunk().map(|code| i32::from_ne_bytes(*code));
    match code {
        Some(0) => Ok(()),
        Some(code @ i32::MIN..0) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        Some(_) | None => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + body.len()).unwrap();
        let mut octets = length.to_ne_bytes().to_vec();
        octets.extend(kind.to_ne_bytes());
        octets.extend([0; 2]);
        octets.extend(sequence.to_ne_bytes());
        octets.extend([0; 4]);
        octets.extend_from_slice(body);
        octets.resize(octets.len().next_multiple_of(ALIGNMENT), 0);
        octets
    }

    #[test]
    fn messages_follow_each_other_on_boundaries() {
        let octets = [frame(0x10, 7, &[1, 2, 3]), frame(3, 8, &[])].concat();

        let frames: Vec<Frame<'_>> = Frames(&octets).collect();

        assert_eq!(
            frames,
            [Frame { kind: 0x10, sequence: 7, body: &[1, 2, 3] }, Frame { kind: 3, sequence: 8, body: &[] }]
        );
    }

    #[test]
    fn a_message_that_ends_too_early_or_too_late_is_none() {
        let whole = frame(0x10, 7, &[1, 2, 3, 4]);
        for length in 0..whole.len() {
            assert_eq!(Frames(&whole[..length]).count(), 0, "{length}");
        }
        for length in [0_u32, 15, 21, u32::MAX] {
            let mut wrong = whole.clone();
            wrong[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(Frames(&wrong).count(), 0, "{length}");
        }
    }

    #[test]
    fn an_acknowledgement_is_zero_or_an_error() {
        assert!(result(&0_i32.to_ne_bytes()).is_ok());
        let refused = result(&(-nix::libc::EEXIST).to_ne_bytes()).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(nix::libc::EEXIST));
        for wrong in [&[][..], &[1, 2], &1_i32.to_ne_bytes()] {
            assert_eq!(result(wrong).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        assert!(result(&i32::MIN.to_ne_bytes()).is_err());
    }
}
