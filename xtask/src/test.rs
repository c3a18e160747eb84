//! Runs the tests: without a kind all of them, fastest first.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::check::TESTING;
use crate::exec::{self, Run};
use crate::setup::{self, Group};
use crate::{build, paths, vm};

/// A kind of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Everything that needs no root: beside the code, and known answers.
    Unit,
    /// The XDP program in the kernel, packet by packet (root).
    Xdp,
    /// Daemons in network namespaces, with strongSwan as the foreign peer (root).
    E2e,
    /// In a virtual machine with Debian's 6.1 kernel: the XDP program, whose verifier is stricter there,
    /// and tunnels that the kernel carries.
    Vm,
}

impl Kind {
    /// What `cargo xtask test` runs.
    const ALL: [Self; 4] = [Self::Unit, Self::Xdp, Self::E2e, Self::Vm];

    fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Xdp => "xdp",
            Self::E2e => "e2e",
            Self::Vm => "vm",
        }
    }

    fn needs(self) -> &'static [Group] {
        match self {
            Self::Unit => &[],
            Self::Xdp => &[Group::Ebpf],
            Self::E2e => &[Group::Ebpf, Group::Lab, Group::Test],
            Self::Vm => &[Group::Ebpf, Group::Lab, Group::Test, Group::Vm],
        }
    }

    fn needs_root(self) -> bool {
        match self {
            Self::Unit => false,
            Self::Xdp | Self::E2e | Self::Vm => true,
        }
    }

    /// Runs the tests of this kind and gives their number, where it is known.
    fn run(self) -> Result<Option<usize>> {
        match self {
            Self::Unit => unit().map(|()| None),
            Self::Xdp => {
                build::ebpf()?;
                let fixtures = group(XDP, Ignored::Run, None)?;
                // What others have captured, through the same comparison.
                let vectors = group(Target::Folder("vectors"), Ignored::Only, None)?;
                Ok(Some(fixtures + vectors))
            }
            Self::E2e => {
                build::release()?;
                // What needs namespaces but no daemon stands beside the code.
                let library = group(Target::Library, Ignored::Only, None)?;
                // Timers of real daemons are watched: more of them than processors would be late.
                let network = group(Target::Folder("net"), Ignored::Run, Some(2))?;
                let daemons = group(Target::Folder("e2e"), Ignored::Run, Some(2))?;
                Ok(Some(library + network + daemons))
            }
            Self::Vm => {
                build::release()?;
                in_virtual_machine().map(Some)
            }
        }
    }
}

/// The verb `test`.
pub(crate) fn run(kind: Option<Kind>) -> Result<()> {
    let kinds = match &kind {
        Some(kind) => std::slice::from_ref(kind),
        None => &Kind::ALL,
    };
    if !exec::is_root()
        && let Some(kind) = kinds.iter().find(|kind| kind.needs_root())
    {
        bail!(
            "the tests `{}` need root (namespaces, XDP): try `sudo --preserve-env=PATH cargo xtask test`; \
             `cargo xtask test unit` does not",
            kind.name()
        );
    }
    let groups: Vec<Group> = kinds.iter().flat_map(|kind| kind.needs()).copied().collect();
    setup::ensure(&groups)?;

    let mut done: Vec<(Kind, Option<usize>, Duration)> = Vec::new();
    for kind in kinds {
        let (count, took) = exec::timed(&format!("test {}", kind.name()), || kind.run())?;
        done.push((*kind, count, took));
    }

    eprintln!("== all passed");
    for (kind, count, took) in done {
        let count = count.map(|count| format!("{count} tests")).unwrap_or_default();
        eprintln!("  {:<6}{:>8.1} s  {count}", kind.name(), took.as_secs_f64());
    }
    Ok(())
}

/// What is done with tests that are marked `#[ignore]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ignored {
    /// They run as well.
    Run,
    /// Nothing else runs.
    Only,
}

/// A set of tests in `redirect-userspace`, as cargo knows it.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// Beside the code of the library.
    Library,
    /// A folder of `tests`.
    Folder(&'static str),
}

impl Target {
    fn args(self) -> Vec<&'static str> {
        let mut args = vec!["--package", "redirect-userspace", "--features", TESTING];
        match self {
            Self::Library => args.push("--lib"),
            Self::Folder(name) => args.extend(["--test", name]),
        }
        args
    }
}

fn unit() -> Result<()> {
    if !has_nextest() {
        return with_bpf_dir(Run::cargo("test").args(["--features", TESTING])).run();
    }
    with_bpf_dir(Run::cargo("nextest").args(["run", "--features", TESTING])).run()?;
    // nextest leaves out the examples of the documentation.
    Run::cargo("test").args(["--doc", "--features", TESTING]).run()
}

/// Runs one set of tests and gives their number.
fn group(target: Target, ignored: Ignored, threads: Option<usize>) -> Result<usize> {
    if let Target::Folder(name) = target {
        let file = paths::root().join("redirect-userspace/tests").join(name).join("main.rs");
        ensure!(file.is_file(), "there are no such tests: {} is missing", file.display());
    }
    let count = count(target, ignored)?;
    let threads = threads.map(|threads| threads.to_string());
    let (mut run, flags): (_, &[&str]) = if has_nextest() {
        let flags: &[&str] = match ignored {
            Ignored::Run => &["--run-ignored", "all"],
            Ignored::Only => &["--run-ignored", "only"],
        };
        (Run::cargo("nextest").arg("run").args(target.args()), flags)
    } else {
        let flags: &[&str] = match ignored {
            Ignored::Run => &["--include-ignored"],
            Ignored::Only => &["--ignored"],
        };
        (Run::cargo("test").args(target.args()).arg("--"), flags)
    };
    run = run.args(flags);
    if let Some(threads) = &threads {
        run = run.args(["--test-threads", threads]);
    }
    with_bpf_dir(run).run()?;
    Ok(count)
}

/// The number of tests in a set; none at all is an error.
fn count(target: Target, ignored: Ignored) -> Result<usize> {
    // With everything ignored, or nothing at all compiled in, a run would pass and show nothing.
    let mut list = Run::cargo("test").args(target.args()).args(["--", "--list", "--format", "terse"]);
    if ignored == Ignored::Only {
        list = list.arg("--ignored");
    }
    let count = count_tests(&list.read()?);
    ensure!(count > 0, "there are no tests in {target:?}");
    Ok(count)
}

const XDP: Target = Target::Folder("xdp");

/// What runs in the older kernel, and how long it may take.
const IN_MACHINE: [(&str, Duration); 2] = [("xdp", vm::DEADLINE), ("vm", Duration::from_secs(900))];

/// Runs tests in the older kernel and gives their number.
fn in_virtual_machine() -> Result<usize> {
    let mut sum = 0;
    for (name, deadline) in IN_MACHINE {
        sum += folder_in_machine(name, deadline)?;
    }
    // The machine's own tests: each starts one, so one at a time.
    Run::cargo("test")
        .args(["--package", "xtask", "--bin", "xtask", "--", "--ignored", "--test-threads", "1", "vm::"])
        .run()?;
    Ok(sum)
}

fn folder_in_machine(name: &'static str, deadline: Duration) -> Result<usize> {
    let target = Target::Folder(name);
    let messages = Run::cargo("test")
        .args(target.args())
        .args(["--no-run", "--message-format", "json-render-diagnostics"])
        .read()?;
    let binary = executable(&messages, "test", name)
        .with_context(|| format!("cargo did not name the test binary `{name}`"))?;
    let count = count(target, Ignored::Run)?;

    // Two emulated processors: daemons that are watched want one for themselves.
    let args = ["--include-ignored", "--test-threads", "1"].map(OsString::from);
    let env = [(OsString::from("REDIRECT_BPF_DIR"), paths::bpf().into_os_string())];
    eprintln!("Debian's 6.1 kernel runs {} --include-ignored", binary.display());
    let outcome = vm::run_binary(&paths::root(), &binary, &args, &env, deadline)?;
    ensure!(
        outcome.code == 0,
        "the tests `{name}` in the virtual machine failed (exit code {})",
        outcome.code
    );
    let passed = format!("test result: ok. {count} passed");
    ensure!(outcome.output.contains(&passed), "the virtual machine did not run all of {count} tests");
    Ok(count)
}

/// The executable of a target of this kind (`test`, `bench`), in the messages of cargo.
pub(crate) fn executable(messages: &str, kind: &str, name: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_wanted =
            message.pointer("/target/name")? == name && message.pointer("/target/kind/0")? == kind;
        let executable = message.get("executable")?.as_str()?;
        is_wanted.then(|| PathBuf::from(executable))
    })
}

fn with_bpf_dir(run: Run) -> Run {
    run.env("REDIRECT_BPF_DIR", paths::bpf())
}

fn has_nextest() -> bool {
    paths::find_program("cargo-nextest").is_some()
}

/// Tests in what `--list --format terse` prints.
fn count_tests(list: &str) -> usize {
    list.lines().filter(|line| line.ends_with(": test")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_of_a_list_are_counted() {
        assert_eq!(count_tests("a::b: test\nc: test\nd: benchmark\n"), 2);
        assert_eq!(count_tests(""), 0);
    }

    #[test]
    fn the_binary_of_a_test_target_is_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"xdp"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"xdp"},"executable":"/t/bin"}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"xdp"},"executable":"/t/deps/xdp-1"}
{"reason":"build-finished","success":true}"#;

        assert_eq!(executable(messages, "test", "xdp"), Some(PathBuf::from("/t/deps/xdp-1")));
        assert_eq!(executable(messages, "test", "e2e"), None);
    }

    #[test]
    fn every_kind_is_part_of_the_whole_run() {
        use clap::ValueEnum as _;

        let left_out: Vec<&Kind> =
            Kind::value_variants().iter().filter(|kind| !Kind::ALL.contains(kind)).collect();

        assert_eq!(left_out, [] as [&Kind; 0]);
    }
}
