//! Sockets and interfaces.

pub mod link;
pub mod udp;
