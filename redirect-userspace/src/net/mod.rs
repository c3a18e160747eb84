//! Sockets and interfaces.

#![expect(unsafe_code, reason = "registering a descriptor with tokio has no safe wrapper")]

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub mod duplicate;
pub mod ethernet;
pub mod hsrp;
pub mod ike;
pub mod link;
pub mod monitor;
pub mod routes;
pub mod rules;
pub mod schedule;
pub mod steer;
pub mod tcp;
pub mod tun;
pub mod udp;
pub mod vip;
pub mod xfrm;
pub mod xfrm_link;

mod encap;
mod netlink;

/// A descriptor that can be waited for until there is something to read.
///
/// Must be called within a tokio runtime.
fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open for as long as it lives, and its number never changes.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    Ok(registered?)
}
