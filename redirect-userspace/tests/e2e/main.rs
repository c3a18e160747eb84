//! End-to-end tests: real processes in network namespaces, strongSwan as the peer.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod lab;
