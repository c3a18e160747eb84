//! What cryptography costs, and why it is done by the library that does it.
//! `cargo bench --features testing --bench crypto`, or one part by name: `hmac`, `cipher`, `kex`.
//!
//! Candidates take turns, so that what disturbs the machine disturbs all of them. Figures are
//! nanoseconds per operation; a ratio is to the first candidate of its table, min to min.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its table and may fail loudly"
)]

mod cipher;
mod hmac;
mod kex;
mod table;

type Part = fn();

const PARTS: [(&str, Part); 3] = [("hmac", hmac::run), ("cipher", cipher::run), ("kex", kex::run)];

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
