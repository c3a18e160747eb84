//! How long nobody answers. `cargo xtask bench failover`, or one part of it by name: `crash`,
//! `planned`, `flood`, `slaves`. With `--quick` it takes a minute and its figures mean little.
//!
//! Needs root. All traffic stays in network namespaces that live no longer than the bench.
//!
//! # Measure
//!
//! A client asks the VIP at a constant rate. The gap is the number of requests that were not
//! answered over that rate. A crash kills the daemon that answers at that moment, or silences its
//! node; moments are spread evenly over the interval between two hellos. keepalived's VRRPv3 holds
//! the VIP of two daemons with a static table, in the same kind of laboratory, taking turns with
//! ours.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark prints its table and may fail loudly"
)]

mod crash;
mod flood;
mod ours;
mod planned;
#[expect(dead_code, reason = "shared with the other benchmark, which uses the rest of it")]
#[path = "../fastpath/report.rs"]
mod report;
mod slaves;
mod turn;
mod vrrp;

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

const PARTS: [(&str, Part); 4] =
    [("crash", crash::run), ("planned", planned::run), ("flood", flood::run), ("slaves", slaves::run)];

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
    let mut words = vec!["failover"];
    words.extend(effort.is_quick.then_some("quick"));
    words.extend(wanted);
    let target = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"));
    report.finish(&target.join(format!("bench/{}.json", words.join("-"))))
}
