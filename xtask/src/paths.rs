//! Where things lie in the workspace.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The workspace's top folder.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// The target folder of the host's compiler.
pub(crate) fn target() -> PathBuf {
    match variable("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Finished eBPF objects, one file per program. The build script and the tests look here.
pub(crate) fn bpf() -> PathBuf {
    root().join("target/bpf")
}

/// The target folder of the eBPF compiler: another compiler must not share the host's.
pub(crate) fn bpf_build() -> PathBuf {
    root().join("target/bpf-build")
}

/// The project's own tools, never installed for the whole machine.
pub(crate) fn tools() -> PathBuf {
    root().join(".tools")
}

/// Results of benchmarks.
pub(crate) fn bench() -> PathBuf {
    root().join("target/bench")
}

/// A release binary.
pub(crate) fn release(name: &str) -> PathBuf {
    target().join("release").join(name)
}

/// A variable of the environment: `PATH`, and what cargo says to the programs it runs.
#[expect(clippy::disallowed_methods, reason = "this program is steered by cargo, which uses the environment")]
pub(crate) fn variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}

/// The first file called `name` in the folders of `PATH`, or where Debian keeps system commands.
///
/// A user's `PATH` often lacks the `sbin` folders.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = variable("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}
