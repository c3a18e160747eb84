//! Puts the XDP program into the daemon.
//!
//! The object comes from `REDIRECT_EBPF_OBJECT`, else from `target/bpf/redirect`, where
//! `cargo xtask build` leaves it. Without one the daemon is built all the same, with no fast path
//! but the one in userspace, and cargo says so. Code asks for `cfg(ebpf_object)`, and takes the
//! octets with `include_bytes_aligned!(env!("REDIRECT_EBPF_OBJECT_PATH"))`.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[expect(clippy::disallowed_methods, reason = "cargo speaks to a build script by environment variables")]
fn main() -> Result<(), io::Error> {
    println!("cargo:rustc-check-cfg=cfg(ebpf_object)");
    println!("cargo:rerun-if-env-changed={GIVEN}");

    let source = match env::var_os(GIVEN) {
        Some(given) => {
            let given = PathBuf::from(given);
            if !given.is_file() {
                let message = format!("{GIVEN}={} is not a file", given.display());
                return Err(io::Error::new(io::ErrorKind::NotFound, message));
            }
            given
        }
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bpf/redirect"),
    };
    // Cargo also notices when the file appears for the first time.
    println!("cargo:rerun-if-changed={}", source.display());
    if !source.is_file() {
        println!("cargo:warning=no XDP program to put into the daemon: `cargo xtask build` makes it");
        return Ok(());
    }

    // A copy of our own does not change between this moment and the compiler's.
    let copy = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("redirect.bpf.o");
    fs::copy(&source, &copy)?;
    println!("cargo:rustc-env=REDIRECT_EBPF_OBJECT_PATH={}", copy.display());
    println!("cargo:rustc-cfg=ebpf_object");
    Ok(())
}

const GIVEN: &str = "REDIRECT_EBPF_OBJECT";
