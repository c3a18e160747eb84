//! The laboratory: network namespaces with real IKEv2 peers in them.
//!
//! The demonstration cluster (`cargo xtask run`) and the end-to-end tests are built from it.
//!
//! # Picture
//!
//! ```text
//!   gw1 ── gw2 ── gw3        strongSwan responders, each with a pool and an inside network
//!    │      │      │
//!  ══╧══════╧══════╧══╤══════╤═════  bridge `wire` in the namespace `switch`
//!                     │      │
//!                    lb     c1 …     redirectd on the VIP; strongSwan clients
//! ```
//!
//! # Invariants
//!
//! - Nothing outlives its [`Lab`]: not when the owner returns, panics, gets a signal or is killed.
//!   All of these run the same clean-up ([`Lab`] has the mechanism).
//! - Nothing outside the laboratory's own namespaces and its own temporary directory is touched.
//! - Names of namespaces carry the owner's process id, so that owners do not meet.

pub mod balancer;
pub mod capture;
pub mod control;
pub mod demo;
pub mod flood;
pub mod gap;
pub mod gateway;
pub mod keepalived;
pub mod keys;
pub mod libreswan;
pub mod load;
pub mod nat;
pub mod netns;
pub mod nodes;
pub mod pki;
pub mod process;
pub mod radius;
pub mod scapy;
pub mod strongswan;
pub mod topology;
pub mod traffic;
pub mod vici;
pub mod wait;

mod guard;

pub use guard::{Lab, sweep};
