//! Test kit: packet builders and capture files. Only in tests and with the feature `testing`.

pub mod fixtures;
pub mod fuzz_clb;
pub mod packets;
