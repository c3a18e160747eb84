//! Packets that nobody in this project made: captures of other implementations, messages that
//! others have published, and what their fuzzers have found.
//!
//! The data lies beside the checkout, in `../shared/testdata`, or where `REDIRECT_TESTDATA` says.
//! Its licences differ, so nothing of it is part of the repository. Without it each test says
//! aloud that it skips. What is expected of a packet comes from the decoder's table beside the
//! capture (tshark), never from the code under test.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may fail loudly"
)]

mod captures;
mod conformance;
mod crypto_kdf;
mod crypto_mlkem;
mod crypto_wycheproof;
mod data;
mod frame;
mod hsrp;
mod ike_auth;
mod ike_captures;
mod ike_inside;
mod ike_seeds;
mod in_kernel;
#[path = "../decide/judge.rs"]
mod judge;
#[path = "../xdp/kernel.rs"]
mod kernel;
mod messages;
mod pcap;
mod seeds;
mod table;
