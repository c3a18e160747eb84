//! What an IKE SA costs the gateway: processor time of a handshake, and memory of an SA in use.
//! `cargo bench --features testing --bench ike`, or one part by name: `handshake`, `memory`,
//! `resume`.
//!
//! A handshake is IKE_SA_INIT, IKE_AUTH with shared keys and the first Child SA; X25519, AES-GCM and
//! HMAC-SHA-256. Only the steps of the gateway's endpoint count, without sockets and data plane. Its
//! parts take turns with the arithmetic that cannot be avoided, so that what disturbs the machine
//! disturbs both. Figures are of the processor time of this thread.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark prints its table and may fail loudly"
)]

mod handshake;
mod memory;
mod resume;
mod rig;

type Part = fn();

const PARTS: [(&str, Part); 3] =
    [("handshake", handshake::run), ("memory", memory::run), ("resume", resume::run)];

fn main() {
    // Cargo adds options of its own.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    for name in &wanted {
        let known = PARTS.map(|(known, _)| known);
        assert!(known.contains(&name.as_str()), "no part {name}; there are {}", known.join(", "));
    }
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            part();
        }
    }
}
