//! The redirect decision, written once.
//!
//! The XDP program, the userspace fallback and the tests all run the code of this crate: they
//! bring access to a packet ([`packet`]) and to the tables ([`maps::Tables`]), and
//! [`decide::decide`] says what happens to the packet and, where it is to be redirected, turns
//! the request in place into the reply.
//!
//! [`gate::gate`] is another decision, for a gateway under attack: it asks those who would like an SA
//! for a cookie ([`cookie`]), so that whoever is not where it says it is costs the gateway nothing.
//!
//! # Invariants
//!
//! - No packet gets more or less than one [`reason::Reason`].
//! - A packet that is not redirected is not changed by a single octet.
//! - A reply is always shorter than its request (`RFC 7296 §2.6`: no amplification).
//! - No allocation, no panic, no loop without a constant bound: the kernel's verifier checks it.
//!
//! # Picture
//!
//! ```text
//! frame ─▶ classify ─▶ Request ─▶ LLG slot by hash of SPIi ─▶ gateway ─▶ reply ─▶ Verdict
//!             │                        │                        │
//!             └── Pass(reason) ◀───────┴────────────────────────┘
//! ```

#![no_std]
#![forbid(unsafe_code)]

mod chain;
pub mod checksum;
pub mod classify;
pub mod cookie;
pub mod decide;
pub mod gate;
pub mod ike;
pub mod inet;
mod lists;
pub mod maps;
pub mod packet;
pub mod reason;
pub mod reply;
