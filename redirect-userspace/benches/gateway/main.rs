//! What our IKEv2 gateway costs, beside strongSwan's. `cargo xtask bench gateway`, or one part of it
//! by name: `handshake`, `eap`, `hybrid`, `growth`, `seal`, `tunnel`, `flood`, `detour`, `drain`. With `--quick` it
//! takes a minute and its figures mean little.
//!
//! Needs root. All traffic stays in network namespaces that live no longer than the bench.
//!
//! # Measure
//!
//! Processor time is that of the whole process of the gateway, by the kernel's clock for it: what
//! the kernel does for it in system calls is in it. Gateways take turns in one place, with one and
//! the same client. Neither logs its SAs. charon is Debian's, with its own ESP (`kernel-libipsec`)
//! and a large table of SAs.

#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark prints its table and may fail loudly"
)]

mod detour;
mod drain;
mod flood;
mod growth;
mod handshake;
mod meter;
#[expect(dead_code, reason = "shared with the other benchmark, which uses the rest of it")]
#[path = "../fastpath/report.rs"]
mod report;
mod responder;
mod seal;
mod tunnel;

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::report::Report;

/// How thorough to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    is_quick: bool,
}

impl Effort {
    /// The full number, or the quick one.
    pub(crate) const fn of<T: Copy>(self, full: T, quick: T) -> T {
        if self.is_quick { quick } else { full }
    }
}

type Part = fn(&mut Report, Effort) -> Result<()>;

const PARTS: [(&str, Part); 9] = [
    ("handshake", handshake::run),
    ("eap", handshake::eap),
    ("hybrid", handshake::hybrid),
    ("growth", growth::run),
    ("seal", seal::run),
    ("tunnel", tunnel::run),
    ("flood", flood::run),
    ("detour", detour::run),
    ("drain", drain::run),
];

fn main() -> Result<()> {
    // Cargo adds options of its own.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let effort = Effort { is_quick: arguments.iter().any(|argument| argument == "--quick") };
    let wanted: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|name| !name.starts_with('-')).collect();
    for name in &wanted {
        let known = PARTS.map(|(known, _)| known);
        ensure!(known.contains(name), "no part {name}; there are {}", known.join(", "));
    }
    let mut report = Report::default();
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.contains(&name) {
            part(&mut report, effort).with_context(|| format!("part {name}"))?;
        }
    }
    // The figures of a part, or of a quick run, do not replace those of the whole.
    let mut words = vec!["gateway"];
    words.extend(effort.is_quick.then_some("quick"));
    words.extend(wanted);
    let target = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"));
    report.finish(&target.join(format!("bench/{}.json", words.join("-"))))
}
