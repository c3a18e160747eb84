//! The eBPF side: which compiler and linker, and how they are called.
//!
//! `core` must be built from its sources for a BPF target, which stable rustup toolchains do not
//! allow. Two compilers can: rustup's nightly with the component `rust-src`, and Debian's
//! `rustc-web` with `rust-web-src`. The first that is found is used.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result, bail};

use crate::exec::Run;
use crate::{apt, paths};

/// The programs of package `redirect-ebpf`.
pub(crate) const PROGRAMS: [&str; 3] = ["redirect", "redirect-testing", "redirect-pass"];

const TARGET: &str = "bpfel-unknown-none";

/// LLVM's BPF target splits unaligned accesses into single octets unless told that the kernel's
/// architecture takes them; packet fields are unaligned.
const MISALIGNED: &str = "allows-misaligned-mem-access";

const LINKER_VERSION: &str = "0.13.0";

/// The oldest compiler that knows the workspace's edition and lints.
const OLDEST_MINOR: u32 = 95;

/// A compiler and a linker that work together.
#[derive(Debug)]
pub(crate) struct Toolchain {
    compiler: Compiler,
    linker: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Compiler {
    kind: Kind,
    /// `rustc -vV`'s release.
    release: String,
    /// Major version of the compiler's LLVM: the linker must read what it writes.
    llvm: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rustup,
    System,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Compiler { kind, release, llvm } = &self.compiler;
        let from = match kind {
            Kind::Rustup => "rustup's nightly",
            Kind::System => "the distribution's",
        };
        write!(f, "eBPF compiler: {from} rustc {release} (LLVM {llvm}); linker: {}", self.linker.display())
    }
}

impl Toolchain {
    /// Looks for a compiler and a linker.
    pub(crate) fn find() -> Option<Self> {
        Some(Self { compiler: Compiler::find()?, linker: find_linker()? })
    }

    /// Looks for a compiler and a linker, and installs what is missing.
    pub(crate) fn find_or_install() -> Result<Self> {
        let compiler = match Compiler::find() {
            Some(compiler) => compiler,
            None => Compiler::install()?,
        };
        let linker = match find_linker() {
            Some(linker) => linker,
            None => install_linker(compiler.llvm)?,
        };
        Ok(Self { compiler, linker })
    }

    /// Compiles `programs` of the package whose manifest is given, and puts the objects into `out`.
    pub(crate) fn build(&self, manifest: &Path, programs: &[&str], out: &Path) -> Result<()> {
        let target_dir = paths::bpf_build();
        let mut cargo = self
            .compiler
            .cargo()
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &self.linker)
            .env("RUSTFLAGS", self.flags()?)
            // Rustup's and the host build's settings are for another compiler.
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("CARGO_BUILD_RUSTFLAGS")
            .args(["build", "--release", "--target", TARGET, "-Z", "build-std=core"])
            .arg("--manifest-path")
            .arg(manifest)
            .arg("--target-dir")
            .arg(&target_dir);
        for program in programs {
            cargo = cargo.args(["--bin", program]);
        }
        cargo.run()?;

        fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
        for program in programs {
            let built = target_dir.join(TARGET).join("release").join(program);
            copy_if_changed(&built, &out.join(program))?;
        }
        Ok(())
    }

    fn flags(&self) -> Result<String> {
        let mut flags = format!(
            "--cfg bpf_target_arch=\"{}\" --cfg bpf_linker=\"{}\" -Cdebuginfo=2 -Clink-arg=--btf -Ctarget-cpu=v3",
            bpf_target_arch(),
            fingerprint(&self.linker)?,
        );
        if self.compiler.knows_misaligned() {
            flags.push_str(" -Ctarget-feature=+");
            flags.push_str(MISALIGNED);
        } else {
            eprintln!(
                "This compiler does not know {MISALIGNED}: the XDP program will be about twice as slow."
            );
        }
        Ok(flags)
    }
}

impl Compiler {
    fn find() -> Option<Self> {
        [Kind::Rustup, Kind::System].into_iter().find_map(Self::look)
    }

    fn look(kind: Kind) -> Option<Self> {
        let version = rustc(kind).arg("-vV").ask()?;
        let compiler = Self::parse(kind, &version)?;
        let sysroot = rustc(kind).args(["--print", "sysroot"]).ask()?;
        let sources = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/Cargo.toml");
        sources.is_file().then_some(compiler)
    }

    fn parse(kind: Kind, version: &str) -> Option<Self> {
        let field = |name: &str| version.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let release = field("release:")?.to_owned();
        let minor: u32 = release.split('.').nth(1)?.parse().ok()?;
        let llvm = field("LLVM version:")?.split('.').next()?.parse().ok()?;
        (minor >= OLDEST_MINOR).then_some(Self { kind, release, llvm })
    }

    fn install() -> Result<Self> {
        eprintln!("No compiler here can build for BPF: `core` has to be built from its sources.");
        let packages = ["rustc-web", "cargo-web", "rust-web-src"];
        if apt::may_install() && apt::offers(&packages)? {
            apt::install(&packages)?;
        } else if paths::find_program("rustup").is_some() {
            Run::new("rustup")
                .args(["toolchain", "install", "nightly", "--profile", "minimal", "--component", "rust-src"])
                .run()?;
        }
        Self::find().with_context(|| {
            format!(
                "A compiler for BPF is missing. Please install one of these and try again:\n  \
                 rustup toolchain install nightly --profile minimal --component rust-src\n  \
                 apt-get install --no-install-recommends {}   (Debian 12 or later, as root; \
                 rustc 1.{OLDEST_MINOR} or later)",
                packages.join(" ")
            )
        })
    }

    fn cargo(&self) -> Run {
        match self.kind {
            Kind::Rustup => Run::new("rustup")
                .args(["run", "nightly", "cargo"])
                .env_remove("RUSTC")
                .env_remove("RUSTC_BOOTSTRAP"),
            Kind::System => {
                // Build scripts run with the same rustc; what rustup has set is not for this one.
                Run::new("/usr/bin/cargo")
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("RUSTC", "/usr/bin/rustc")
                    .env_remove("RUSTUP_TOOLCHAIN")
            }
        }
        .env_remove("CARGO")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
    }

    fn knows_misaligned(&self) -> bool {
        rustc(self.kind)
            .args(["--print", "target-features", "--target", TARGET])
            .ask()
            .is_some_and(|features| features.contains(MISALIGNED))
    }
}

fn rustc(kind: Kind) -> Run {
    match kind {
        // Asking must not download anything.
        Kind::Rustup => Run::new("rustup").env("RUSTUP_AUTO_INSTALL", "0").args(["run", "nightly", "rustc"]),
        Kind::System => Run::new("/usr/bin/rustc").env_remove("RUSTUP_TOOLCHAIN"),
    }
}

/// The project's own linker, or one in `PATH`.
fn find_linker() -> Option<PathBuf> {
    [Some(paths::tools().join("bin/bpf-linker")), paths::find_program("bpf-linker")]
        .into_iter()
        .flatten()
        // It does not start when the LLVM it was linked with is gone.
        .find(|linker| Run::new(linker).arg("--version").ask().is_some())
}

/// Builds the linker into the project's own folder.
fn install_linker(llvm: u32) -> Result<PathBuf> {
    eprintln!("bpf-linker is missing: building it into {}.", paths::tools().display());
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    let llvm_dev = format!("llvm-{llvm}-dev");
    let polly_dev = format!("libpolly-{llvm}-dev");
    let packages = [llvm_dev.as_str(), polly_dev.as_str(), "libzstd-dev"];
    let has_llvm = || prefix.join("bin/llvm-config").is_file();
    if !has_llvm() && apt::may_install() && apt::offers(&packages)? {
        apt::install(&packages)?;
    }
    if !has_llvm() {
        bail!(
            "bpf-linker for LLVM {llvm} is missing, and so is what it takes to build it. \
             Please do one of these and try again:\n  \
             apt-get install --no-install-recommends {}   (as root)\n  \
             cargo binstall bpf-linker   (or unpack a release of https://github.com/aya-rs/bpf-linker into a \
             folder of PATH)",
            packages.join(" ")
        );
    }
    let mut path = OsString::from(prefix.join("bin"));
    path.push(":");
    path.push(paths::variable("PATH").unwrap_or_default());
    Run::cargo("install")
        .env("LLVM_PREFIX", &prefix)
        .env("PATH", path)
        .args(["bpf-linker", "--version", LINKER_VERSION, "--locked", "--no-default-features"])
        .arg("--features")
        .arg(format!("llvm-{llvm}"))
        .arg("--root")
        .arg(paths::tools())
        .run()?;
    find_linker().context("bpf-linker was built but does not start")
}

/// The kernel's architecture as the bindings of aya-ebpf call it.
fn bpf_target_arch() -> &'static str {
    if cfg!(target_arch = "riscv64") { "riscv64" } else { std::env::consts::ARCH }
}

/// A word that changes when the linker does.
///
/// Cargo rebuilds when the flags change, but does not look at the linker itself.
fn fingerprint(linker: &Path) -> Result<String> {
    let meta = fs::metadata(linker).with_context(|| format!("looking at {}", linker.display()))?;
    let modified = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(format!("{}-{}", meta.len(), modified.as_secs()))
}

/// Copies a file unless the copy is the same already, so that nothing is rebuilt without need.
fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    // A test that holds the old object open keeps the old one.
    let half = to.with_extension("new");
    fs::write(&half, &new).with_context(|| format!("writing {}", half.display()))?;
    fs::rename(&half, to).with_context(|| format!("writing {}", to.display()))?;
    eprintln!("{}: {} octets", to.display(), new.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NIGHTLY: &str =
        "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n";

    #[test]
    fn the_version_of_compiler_and_llvm_is_read() {
        let compiler = Compiler::parse(Kind::Rustup, NIGHTLY).unwrap();

        assert_eq!(compiler.release, "1.97.0-nightly");
        assert_eq!(compiler.llvm, 22);
    }

    #[test]
    fn a_compiler_that_is_too_old_is_not_taken() {
        let old = "rustc 1.63.0\nrelease: 1.63.0\nLLVM version: 14.0.6\n";

        assert_eq!(Compiler::parse(Kind::System, old), None);
        assert_eq!(Compiler::parse(Kind::System, "something else"), None);
    }

    #[test]
    fn a_copy_is_only_written_when_it_differs() {
        let folder = std::env::temp_dir().join(format!("xtask-copy-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (from, to) = (folder.join("from"), folder.join("to"));
        fs::write(&from, b"one").unwrap();
        fs::write(&to, b"one").unwrap();
        let old = fs::File::options().write(true).open(&to).unwrap();
        old.set_modified(UNIX_EPOCH).unwrap();

        copy_if_changed(&from, &to).unwrap();
        assert_eq!(fs::metadata(&to).unwrap().modified().unwrap(), UNIX_EPOCH);

        fs::write(&from, b"two").unwrap();
        copy_if_changed(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"two");

        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn another_linker_has_another_fingerprint() {
        let one = fingerprint(Path::new("/proc/self/exe")).unwrap();
        let other = fingerprint(Path::new("/bin/sh")).unwrap();

        assert_ne!(one, other);
    }
}
