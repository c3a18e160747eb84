//! Sockets and interfaces.

pub mod duplicate;
pub mod ethernet;
pub mod hsrp;
pub mod link;
pub mod monitor;
pub mod schedule;
pub mod tcp;
pub mod udp;
pub mod vip;

mod netlink;
