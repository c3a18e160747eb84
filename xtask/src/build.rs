//! Builds the XDP programs, then the daemon that carries one of them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::exec::Run;
use crate::setup::{self, Group};
use crate::{ebpf, paths};

/// Builds the eBPF objects into `target/bpf`.
pub(crate) fn ebpf() -> Result<()> {
    setup::ensure(&[Group::Ebpf])?;
    let toolchain = ebpf::Toolchain::find_or_install()?;
    eprintln!("{toolchain}");
    toolchain.build(&paths::root().join("redirect-ebpf/Cargo.toml"), &ebpf::PROGRAMS, &paths::bpf())
}

/// Builds everything an operator installs: `redirectd`, with the XDP program inside, and `redirectctl`.
pub(crate) fn release() -> Result<()> {
    ebpf()?;
    let object = paths::bpf().join("redirect");
    Run::cargo("build")
        .env("REDIRECT_EBPF_OBJECT", &object)
        .args(["--release", "--package", "redirect-userspace", "--bins"])
        .run()?;
    let daemon = paths::release("redirectd");
    carries(&daemon, &object)?;
    eprintln!("{} (carries the XDP program)", daemon.display());
    eprintln!("{}", paths::release("redirectctl").display());
    Ok(())
}

/// A daemon without the XDP program would start, and answer slowly: nobody is to ship that by accident.
fn carries(binary: &Path, object: &Path) -> Result<()> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("reading {}", path.display()));
    ensure!(
        contains(&read(binary)?, &read(object)?),
        "{} does not contain {}: it was built without",
        binary.display(),
        object.display(),
    );
    Ok(())
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    let Some((first, _)) = needle.split_first() else { return false };
    let mut rest = hay;
    while let Some(at) = rest.iter().position(|octet| octet == first) {
        rest = rest.get(at..).unwrap_or_default();
        if rest.starts_with(needle) {
            return true;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}

/// Builds the release and gives the path of the daemon.
pub(crate) fn daemon() -> Result<PathBuf> {
    release()?;
    Ok(paths::release("redirectd"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_found_inside_a_binary() {
        let binary = [&[0x7f; 9][..], b"\x7fELF object", &[0x7f; 3]].concat();

        assert!(contains(&binary, b"\x7fELF object"));
        assert!(contains(&binary, &binary));
        assert!(!contains(&binary, b"\x7fELF another"));
        assert!(!contains(&binary, b""));
        assert!(!contains(b"", b"x"));
    }
}
