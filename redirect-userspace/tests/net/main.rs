//! What the daemon does to interfaces and hears from them, on real links in network namespaces.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

mod frames;
mod monitor;
mod tcp;
mod vip;
mod wire;
