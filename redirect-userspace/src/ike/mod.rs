//! IKEv2: the gateway and the client.
//!
//! An [`Endpoint`] has all IKE SAs of one worker: datagrams and commands go in, datagrams, Child SAs
//! and events come out. Below it, [`wire`] is octets to values and back, [`rules`] says which payloads
//! each message may carry, [`proposal`] which algorithms are offered and chosen, [`authn`] who is
//! believed. None of these knows states or clocks. Which gateway a connection of ours goes to, and
//! when, is the matter of a private machine, `client`: it follows redirects, and [`following`] says
//! how far.
//!
//! # References
//!
//! `RFC 7296` (IKEv2), `RFC 5685` (redirect), `RFC 5723` (resumption), `RFC 7383`
//! (fragmentation), `RFC 7427` (signatures), `RFC 3748` and `RFC 5998` (EAP), `RFC 9242`
//! (IKE_INTERMEDIATE), `RFC 9370` (several key exchanges).

#![forbid(unsafe_code)]

pub mod aaa;
pub mod authn;
mod client;
pub mod config;
mod cookie;
mod endpoint;
mod error;
mod event;
pub mod following;
pub mod identity;
mod io;
mod lease;
mod message;
pub mod paper;
pub mod pool;
pub mod proposal;
pub mod redirect;
pub mod rules;
mod sa;
pub mod selector;
mod snapshot;
pub mod ticket;
mod trap;
pub mod wire;

#[cfg(test)]
mod tests;

pub use aaa::{AaaAnswer, AaaRequest, AaaVerdict, Account, AccountStage, Conversation, Grants};
pub use config::Volume;
pub use cookie::CookieKeys;
pub use endpoint::Endpoint;
pub use event::{
    CloseReason, Counters, Discard, Event, Failure, RedirectExchange, RedirectReason, RedirectRefusal,
    SaLabel,
};
pub use io::{
    Command, Drain, HandOver, Input, InstallChild, NAT_T_PORT, Outer, Output, Path, Redirect, Redirected,
    Request, SaId, Selection, Shard, Usage, UsedTicket, Way,
};
pub use lease::{Former, Lease, LeaseRequest, Leases, Pools};
#[cfg(any(test, feature = "testing"))]
pub use sa::keymat::{Derived, KeymatError, derive};
pub use snapshot::{ChildSnapshot, CountSnapshot, SaSnapshot, SaState};
pub use trap::{Trap, TrapId};
