//! Sockets and interfaces.

pub mod udp;
