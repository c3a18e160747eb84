//! Test kit: packet builders and capture files. Only in tests and with the feature `testing`.

pub mod fixtures;
pub mod fleet;
pub mod fuzz;
pub mod fuzz_clb;
pub mod fuzz_eap;
pub mod fuzz_hsrp;
pub mod fuzz_ike;
pub mod fuzz_radius;
pub mod fuzz_ticket;
pub mod fuzz_xfrm;
pub mod gate;
pub mod packets;
pub mod pair;
pub mod plain;
pub mod sessions;
pub mod world;
