//! Child SAs at work.
//!
//! [`esp`] seals and opens packets, [`replay`] keeps count of them. Both are pure.

#![forbid(unsafe_code)]

pub mod esp;
pub mod replay;
