//! How much a redirect costs. `cargo xtask bench fastpath`, or one part of it by name:
//! `program`, `veth`, `swap`, `fallback`, `libreswan`.
//!
//! Needs root. All traffic stays in network namespaces that live no longer than the bench.

#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark prints its table and may fail loudly"
)]

mod cost;
mod cpu;
mod fallback;
mod lab;
mod libreswan;
mod live;
mod program;
mod report;
mod sockets;
mod swap;
mod veth;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::report::Report;

/// Where requests are answered, when they are not made there.
const RESPONDER_CORE: usize = 1;
/// Where requests are made, and tables written.
const CLIENT_CORE: usize = 0;

/// The eBPF objects.
pub(crate) struct Objects {
    redirect: Vec<u8>,
    testing: Vec<u8>,
    pass: Vec<u8>,
}

type Part = fn(&mut Report, &Objects) -> Result<()>;

const PARTS: [(&str, Part); 5] = [
    ("program", program::run),
    ("veth", veth::run),
    ("swap", swap::run),
    ("fallback", fallback::run),
    ("libreswan", libreswan::run),
];

fn main() -> Result<()> {
    let target = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"));
    let bpf = std::env::var_os("REDIRECT_BPF_DIR").map_or_else(|| target.join("bpf"), PathBuf::from);
    // Cargo adds options of its own.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    for name in &wanted {
        let known = PARTS.map(|(known, _)| known);
        ensure!(known.contains(&name.as_str()), "no part {name}; there are {}", known.join(", "));
    }
    let objects = Objects {
        redirect: object(&bpf, "redirect")?,
        testing: object(&bpf, "redirect-testing")?,
        pass: object(&bpf, "redirect-pass")?,
    };
    let mut report = Report::default();
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            part(&mut report, &objects).with_context(|| format!("part {name}"))?;
        }
    }
    // The figures of a part do not replace those of the whole.
    let file =
        ["fastpath"].into_iter().chain(wanted.iter().map(String::as_str)).collect::<Vec<_>>().join("-");
    report.finish(&target.join(format!("bench/{file}.json")))
}

fn object(directory: &Path, name: &str) -> Result<Vec<u8>> {
    let path = directory.join(name);
    std::fs::read(&path).with_context(|| format!("{}: cargo xtask build makes it", path.display()))
}
