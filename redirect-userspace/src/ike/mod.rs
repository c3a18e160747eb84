//! IKEv2: the gateway and the client.
//!
//! [`wire`] is octets to values and back, [`rules`] says which payloads each message may carry,
//! [`proposal`] which algorithms are offered and chosen. None of them knows keys, states or clocks.
//!
//! # References
//!
//! `RFC 7296` (IKEv2), `RFC 5685` (redirect), `RFC 5723` (resumption), `RFC 7383`
//! (fragmentation), `RFC 7427` (signatures), `RFC 9242` (IKE_INTERMEDIATE), `RFC 9370` (several
//! key exchanges).

#![forbid(unsafe_code)]

pub mod pool;
pub mod proposal;
pub mod rules;
pub mod selector;
pub mod wire;
