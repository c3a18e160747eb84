//! IKEv2: the gateway and the client.
//!
//! [`wire`] is octets to values and back, [`rules`] says which payloads each message may carry,
//! [`proposal`] which algorithms are offered and chosen. None of them knows keys, states or clocks.
//! [`authn`] makes and checks the proofs of who both sides are.
//!
//! # References
//!
//! `RFC 7296` (IKEv2), `RFC 5685` (redirect), `RFC 5723` (resumption), `RFC 7383`
//! (fragmentation), `RFC 7427` (signatures), `RFC 9242` (IKE_INTERMEDIATE), `RFC 9370` (several
//! key exchanges).

#![forbid(unsafe_code)]

pub mod authn;
pub mod config;
mod event;
pub mod identity;
mod io;
mod lease;
pub mod pool;
pub mod proposal;
pub mod rules;
pub mod selector;
mod snapshot;
pub mod wire;

pub use event::{CloseReason, Counters, Discard, Event, Failure, SaLabel};
pub use io::{Command, Input, InstallChild, NAT_T_PORT, Output, Path, SaId, Selection, Shard, Usage};
pub use lease::{Lease, LeaseRequest, Leases, Pools};
pub use snapshot::{ChildSnapshot, CountSnapshot, SaSnapshot, SaState};
