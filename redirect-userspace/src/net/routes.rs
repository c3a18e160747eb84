//! That this machine's addresses, links or routes have changed.
//!
//! What has changed is not read: whoever wants to know asks for the route that matters.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

/// The kernel's notifications, to be waited for.
#[derive(Debug)]
pub struct Changes(OwnedFd);

impl Changes {
    /// Those of this thread's network namespace, from now on.
    ///
    /// # Errors
    ///
    /// Those of the system calls.
    pub fn subscribe() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        Ok(Self(socket))
    }

    /// Takes in what there is, a bounded number of notifications; says whether there was any.
    #[must_use]
    pub fn take(&self) -> bool {
        let mut has_any = false;
        // The rest of a notification is cut off, and nobody wants it.
        let mut start = [0; 16];
        for _ in 0..MOST_AT_ONCE {
            match recv(self.0.as_raw_fd(), &mut start, MsgFlags::MSG_DONTWAIT) {
                // Some did not fit: whatever they were, there were some.
                Ok(_) | Err(Errno::ENOBUFS) => has_any = true,
                Err(Errno::EINTR) => {}
                Err(_nothing_left) => break,
            }
        }
        has_any
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// `RTMGRP_LINK`, and for either family `RTMGRP_…_IFADDR` and `RTMGRP_…_ROUTE`.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
const MOST_AT_ONCE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_changes_there_is_nothing() {
        let changes = Changes::subscribe().unwrap();
        // Whatever another test may have changed meanwhile.
        while changes.take() {}

        assert!(!changes.take());
    }
}
