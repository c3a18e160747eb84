//! Benchmarks: tables on the standard output, JSON in `target/bench`.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::check::TESTING;
use crate::exec::{self, Run};
use crate::setup::{self, Group};
use crate::{build, paths};

/// One benchmark: a target of cargo's in `redirect-userspace/benches`.
struct Bench {
    name: &'static str,
    what: &'static str,
    /// Whether it measures the programs that are installed, not only the code in them.
    needs_release: bool,
    /// What it needs of the machine besides.
    groups: &'static [Group],
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "balance",
        what: "how evenly the policies spread sessions, in simulation",
        needs_release: false,
        groups: &[],
    },
    Bench { name: "crypto", what: "time per cryptographic operation", needs_release: false, groups: &[] },
    Bench {
        name: "fastpath",
        what: "time per packet, in the kernel and on the host",
        needs_release: false,
        groups: &[],
    },
    Bench {
        name: "failover",
        what: "how long nobody answers when the master dies or leaves",
        needs_release: true,
        groups: &[Group::Lab, Group::Bench],
    },
    Bench {
        name: "gateway",
        what: "what our gateway costs, beside strongSwan's",
        needs_release: true,
        groups: &[Group::Lab],
    },
    Bench { name: "ike", what: "time of a handshake, memory of an SA", needs_release: false, groups: &[] },
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
            Run::cargo("bench")
                .env("REDIRECT_BPF_DIR", paths::bpf())
                .args(["--package", "redirect-userspace", "--features", TESTING, "--bench", bench.name])
                .run()
        })?;
    }
    eprintln!("Results: {}", results.display());
    Ok(())
}
