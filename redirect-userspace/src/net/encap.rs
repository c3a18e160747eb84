//! ESP in UDP, taken out by the kernel: what comes to such a socket and is no IKE message goes to the
//! kernel's SAs, and a NAT's keepalive nowhere.
//!
//! # References
//!
//! `RFC 3948 §2`, `udp(7)`.

#![expect(unsafe_code, reason = "the socket option has no safe wrapper")]

use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::libc;

/// Has the kernel take ESP out of what comes to a socket.
///
/// # Errors
///
/// The kernel cannot.
pub(super) fn decapsulate(socket: &OwnedFd) -> nix::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(|_large| Errno::EINVAL)?;
    // SAFETY: the option is a number, which lives beyond the call and is copied by it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_UDP,
            UDP_ENCAP,
            (&raw const UDP_ENCAP_ESPINUDP).cast(),
            length,
        )
    };
    Errno::result(result).map(drop)
}

/// `include/uapi/linux/udp.h`
const UDP_ENCAP: libc::c_int = 100;
static UDP_ENCAP_ESPINUDP: libc::c_int = 2;
