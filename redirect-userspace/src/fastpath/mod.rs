//! The fast path: where requests are answered.

pub mod memory;
pub mod userspace;
