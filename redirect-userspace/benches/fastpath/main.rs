//! How much a redirect costs. `cargo xtask bench fastpath`.

#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark prints its table and may fail loudly"
)]

mod program;
mod report;

use std::path::PathBuf;

fn main() -> anyhow::Result<()> {
    let target = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"));
    let bpf = std::env::var_os("REDIRECT_BPF_DIR").map_or_else(|| target.join("bpf"), PathBuf::from);
    let mut report = report::Report::default();
    program::run(&mut report, &bpf)?;
    report.finish(&target.join("bench/fastpath.json"))
}
