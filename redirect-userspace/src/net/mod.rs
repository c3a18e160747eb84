//! Sockets and interfaces.

pub mod link;
pub mod schedule;
pub mod tcp;
pub mod udp;
