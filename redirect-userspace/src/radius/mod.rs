//! RADIUS as a client: who may come in, and what they use.
//!
//! The gateway relays EAP between its clients and the servers (`RFC 3579`), so it knows no method
//! and no password: it gets the key that both ends of the method have made, and what the client
//! may do. Of sessions that have come up it tells their beginning, their course and their end.
//!
//! # Invariants
//!
//! - A conversation stays with the server that has answered it first: what that server calls State
//!   means nothing to another one. Before that it goes on to the next server by itself.
//! - What is not authentic changes nothing but a counter: who can send to the gateway can neither let
//!   anybody in nor keep anybody out.
//! - Every table and every queue has a limit; what finds no room is refused, with a reason.
//! - User-Password is never used: nothing that is sent contains a secret of a client.
//!
//! # Picture
//!
//! ```text
//!             ┌ conversations ┐   ┌ authentication servers, in order ┐
//!  Ask ─────▶ │ number ─ State├──▶│ health ─ sockets ─ 256 requests  ├─▶ Send
//!  Answer ◀── └───────────────┘   └──────────────────────────────────┘◀─ Datagram
//!             ┌ records ──────┐   ┌ accounting servers, in order ────┐
//!  Account ─▶ │ of each session├─▶│ the same                         ├─▶ Send
//!             └───────────────┘   └──────────────────────────────────┘
//! ```
//!
//! # References
//!
//! `RFC 2865`, `RFC 2866`, `RFC 2869`, `RFC 3579` (EAP), `RFC 3162` and `RFC 6911` (IPv6),
//! `RFC 2548` (keys), `RFC 5080` (repetition), `RFC 5997` (probes), `RFC 3539 §3` (dead servers).

#![forbid(unsafe_code)]

mod answer;
mod client;
pub mod config;
mod digest;
mod event;
#[cfg(any(test, feature = "testing"))]
pub mod kit;
mod request;
mod wire;

#[cfg(test)]
mod tests;

pub use self::answer::{Grants, MSK_LENGTH};
pub use self::client::{Client, Input, Output, SocketId, Verdict};
pub use self::event::{
    Counters, DeathCause, Discard, Event, Outcome, Role, ServerSnapshot, ServerState, Tally,
};
pub use self::request::{Cause, Question, Record, Station, Status, Use};
