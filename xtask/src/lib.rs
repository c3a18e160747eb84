//! What the `xtask` command shares with the end-to-end tests: the laboratory.
//!
//! Everything else `xtask` does belongs to the command alone.

#![forbid(unsafe_code)]

pub mod lab;
