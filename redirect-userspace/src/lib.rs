//! The daemon `redirectd` and the operator's command `redirectctl`, as one library.
//!
//! Modules come in layers; each may import the ones above it in this list and nothing below.
//! `cargo xtask check` enforces it.
//!
//! | layer | modules |
//! |---|---|
//! | base | [`time`], [`machine`], [`codec`], [`rng`], [`secret`], [`gateway`], `throttle` |
//! | cryptography | [`crypto`] |
//! | protocols | [`hsrp`], [`clb`], [`ike`], [`radius`] |
//! | composition | [`cluster`] |
//! | configuration | [`config`] |
//! | outside world | [`fastpath`], [`dataplane`], [`net`], [`telemetry`], [`control`] |
//! | the daemon | [`runtime`] |
//! | the operator | [`cli`] |
//! | for people | [`manual`] |

pub mod codec;
pub mod gateway;
pub mod machine;
pub mod rng;
pub mod secret;
mod throttle;
pub mod time;

pub mod crypto;

pub mod clb;
pub mod hsrp;
pub mod ike;
pub mod radius;

pub mod cluster;

pub mod config;

pub mod control;
pub mod dataplane;
pub mod fastpath;
pub mod net;
pub mod telemetry;

pub mod runtime;

pub mod cli;

pub mod manual;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
