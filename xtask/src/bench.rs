//! Benchmarks: tables on the standard output, JSON in `target/bench`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::check::TESTING;
use crate::exec::{self, Run};
use crate::setup::{self, Group};
use crate::{build, paths, test, vm};

/// One benchmark: a target of cargo's in `redirect-userspace/benches`.
struct Bench {
    name: &'static str,
    what: &'static str,
    /// Whether it measures the programs that are installed, not only the code in them.
    needs_release: bool,
    /// Whether it runs in the virtual machine.
    in_machine: bool,
    /// What it needs of the machine besides.
    groups: &'static [Group],
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "balance",
        what: "how evenly the policies spread sessions, in simulation",
        needs_release: false,
        in_machine: false,
        groups: &[],
    },
    Bench {
        name: "crypto",
        what: "time per cryptographic operation",
        needs_release: false,
        in_machine: false,
        groups: &[],
    },
    Bench {
        name: "fastpath",
        what: "time per packet, in the kernel and on the host",
        needs_release: false,
        in_machine: false,
        groups: &[],
    },
    Bench {
        name: "failover",
        what: "how long nobody answers when the master dies or leaves",
        needs_release: true,
        in_machine: false,
        groups: &[Group::Lab, Group::Bench],
    },
    Bench {
        name: "gateway",
        what: "what our gateway costs, beside strongSwan's",
        needs_release: true,
        in_machine: false,
        groups: &[Group::Lab],
    },
    Bench {
        name: "ike",
        what: "time of a handshake, memory of an SA",
        needs_release: false,
        in_machine: false,
        groups: &[],
    },
    Bench {
        name: "kernel",
        what: "what a tunnel of the kernel carries, for our gateway and strongSwan's",
        needs_release: true,
        in_machine: true,
        groups: &[Group::Lab, Group::Test, Group::Vm],
    },
];

/// The verb `bench`: one benchmark, or all of them.
pub(crate) fn run(name: Option<&str>) -> Result<()> {
    let wanted: Vec<&Bench> =
        BENCHES.iter().filter(|bench| name.is_none_or(|name| name == bench.name)).collect();
    if wanted.is_empty() {
        let names: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
        bail!("there is no benchmark `{}`; there are: {}", name.unwrap_or_default(), names.join(", "));
    }
    let groups: Vec<Group> = wanted.iter().flat_map(|bench| bench.groups).copied().collect();
    setup::ensure(&groups)?;
    if wanted.iter().any(|bench| bench.needs_release) {
        build::release()?;
    } else {
        build::ebpf()?;
    }
    let results = paths::bench();
    fs::create_dir_all(&results).with_context(|| format!("creating {}", results.display()))?;
    for bench in wanted {
        exec::timed(&format!("{}: {}", bench.name, bench.what), || {
            if bench.in_machine {
                return in_machine(bench.name, &results);
            }
            Run::cargo("bench")
                .env("REDIRECT_BPF_DIR", paths::bpf())
                .args(["--package", "redirect-userspace", "--features", TESTING, "--bench", bench.name])
                .run()
        })?;
    }
    eprintln!("Results: {}", results.display());
    Ok(())
}

/// Runs a benchmark in the virtual machine; what it says in JSON is kept.
fn in_machine(name: &str, results: &Path) -> Result<()> {
    let messages = Run::cargo("bench")
        .env("REDIRECT_BPF_DIR", paths::bpf())
        .args(["--package", "redirect-userspace", "--features", TESTING, "--bench", name])
        .args(["--no-run", "--message-format", "json-render-diagnostics"])
        .read()?;
    let binary = test::executable(&messages, "bench", name)
        .with_context(|| format!("cargo did not name the benchmark `{name}`"))?;
    let outcome = vm::run_binary(&paths::root(), &binary, &[], &[], DEADLINE)?;
    let json = outcome.output.lines().find_map(|line| line.trim_end().strip_prefix("JSON: "));
    let path = results.join(format!("{name}.json"));
    let json = json.with_context(|| format!("the benchmark told nothing (exit code {})", outcome.code))?;
    fs::write(&path, json).with_context(|| format!("writing {}", path.display()))?;
    ensure!(outcome.code == 0, "the benchmark in the virtual machine failed (exit code {})", outcome.code);
    Ok(())
}

/// How long a benchmark in the virtual machine may take.
const DEADLINE: Duration = Duration::from_secs(1_200);
