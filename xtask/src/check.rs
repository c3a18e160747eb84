//! Everything that can be said about the code without running it.

use anyhow::{Result, bail};

use crate::exec::{self, Run};
use crate::{arch, paths};

/// Feature that adds the test kit.
pub(crate) const TESTING: &str = "redirect-userspace/testing";

/// The verb `check`.
pub(crate) fn run() -> Result<()> {
    exec::timed("format", format)?;
    exec::timed("import rules", imports)?;
    exec::timed("clippy", clippy)?;
    exec::timed("documentation", documentation)?;
    Ok(())
}

fn format() -> Result<()> {
    Run::cargo("fmt").args(["--all", "--", "--check"]).run()
}

/// Checks the import table, the file sizes and the other rules of `arch`.
pub(crate) fn imports() -> Result<()> {
    let root = paths::root();
    let report = arch::check(&root)?;
    for violation in &report.violations {
        eprintln!("{violation}");
    }
    match report.violations.len() {
        0 => {
            eprintln!("{} files keep the rules.", report.files);
            Ok(())
        }
        count => bail!("{count} violations; the rules are in xtask/src/arch/table.rs"),
    }
}

fn clippy() -> Result<()> {
    Run::cargo("clippy")
        .args(["--workspace", "--all-targets", "--features", TESTING, "--", "-D", "warnings"])
        .run()
}

fn documentation() -> Result<()> {
    Run::cargo("doc")
        .env("RUSTDOCFLAGS", "-D warnings")
        .args(["--workspace", "--no-deps", "--document-private-items", "--features", TESTING])
        .run()
}
