//! Handshakes of clients that are there, while a flood from everywhere fills one core.
//!
//! The flood has one core, with everything that the kernel does for its packets on the way to the
//! gateway's sockets; the gateway and its clients have the other. As many handshakes as there are clients
//! at a time are always under way.

use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use xtask::lab::flood::{Flood, NOWHERE};
use xtask::lab::gateway::{Place, addresses};

use crate::Effort;
use crate::report::{Report, Samples};
use crate::responder::{Kind, Responder, Stage, Suite, Told};

/// Number of the place that the flood comes from.
const FLOOD: u8 = 9;
/// The core of the flood, and that of everybody else.
const CORES: [usize; 2] = [1, 0];

pub(crate) fn run(report: &mut Report, effort: Effort) -> Result<()> {
    ensure!(available_parallelism()?.get() > 1, "a flood needs a core of its own");
    let stage = Stage::new()?;
    let source = stage.scene.place(FLOOD)?;
    // Whoever is told that there is no way to a client has nothing to send.
    let route = format!("route add {NOWHERE} via {}", source.address4);
    stage.scene.site.ip(&route).context("a way to the flood's addresses")?;
    let kinds = [(Kind::Gated, "ours, XDP"), (Kind::Idle, "ours, no XDP"), (Kind::Charon, "charon")];
    let mut quiet = kinds.map(|_| Samples::new());
    let mut flooded = kinds.map(|_| Samples::new());
    let mut floods = kinds.map(|_| Samples::new());
    for _ in 0..effort.of(9, 2) {
        for (number, (kind, _)) in kinds.into_iter().enumerate() {
            let time = Duration::from_secs(effort.of(5, 2));
            quiet[number].push(turn(&stage, kind, time, None)?.0);
            let (rate, flood) = turn(&stage, kind, time, Some(&source))?;
            flooded[number].push(rate);
            floods[number].push(flood);
        }
    }
    for (number, (kind, case)) in kinds.into_iter().enumerate() {
        let (what, quiet, flooded) =
            ("goodput under a flood over that without", &quiet[number], &flooded[number]);
        if kind == Kind::Gated {
            report.rate(what, case, "/s", flooded, quiet, 0.7, 0.9);
        } else {
            let ratio = Samples::one(flooded.median() / quiet.median() * 100.0);
            report.info(what, case, "%", &ratio);
        }
        report.info("  handshakes without a flood", case, "/s", quiet);
        report.info("  handshakes under a flood", case, "/s", flooded);
        report.info("  flood", case, "/s", &floods[number]);
    }
    Ok(())
}

/// Handshakes a second of a gateway that has just been started, and requests of the flood a second.
fn turn(stage: &Stage, kind: Kind, time: Duration, source: Option<&Place>) -> Result<(f64, f64)> {
    let responder = stage.start(kind, Suite::PSK)?;
    keep(&responder)?;
    stage.clients(Suite::PSK, 1, 50)?;
    let Some(source) = source else {
        return Ok((rate(&stage.goodput(Suite::PSK, 100, time, CORES[1])?, time), 0.0));
    };
    let all = sched_getaffinity(Pid::from_raw(0)).context("this thread's cores")?;
    only(Pid::from_raw(0), CORES[0])?;
    // Its thread inherits the core.
    let flood = Flood::spoofed(&source.namespace, addresses()[0], 1);
    sched_setaffinity(Pid::from_raw(0), &all).context("letting this thread go")?;
    let flood = flood?;
    stage.settle(|| {
        ensure!(stage.is_flood_felt()?, "{kind:?} takes no notice of the flood");
        Ok(())
    })?;
    let (sent, since) = (flood.sent(), flood.elapsed());
    let goodput = stage.goodput(Suite::PSK, 100, time, CORES[1]);
    let (sent, since) = (flood.sent() - sent, flood.elapsed() - since);
    flood.stop()?;
    let goodput = goodput?;
    // Whoever has no gate loses some of those that come.
    ensure!(kind != Kind::Gated || goodput.failed == 0, "{kind:?}: {}", goodput.reasons.join("; "));
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    Ok((rate(&goodput, time), sent as f64 / since.as_secs_f64()))
}

/// How many have come up a second, of those that were begun in that time.
#[expect(clippy::cast_precision_loss, reason = "a count of handshakes")]
fn rate(goodput: &Told, time: Duration) -> f64 {
    goodput.done as f64 / time.as_secs_f64()
}

/// Keeps a gateway off the flood's core.
fn keep(responder: &Responder) -> Result<()> {
    let process = responder.id()?;
    for task in std::fs::read_dir(format!("/proc/{process}/task")).context("the gateway's threads")? {
        let name = task?.file_name();
        let number = name.to_str().and_then(|name| name.parse().ok()).context("a thread's number")?;
        only(Pid::from_raw(number), CORES[1])?;
    }
    Ok(())
}

fn only(thread: Pid, core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    sched_setaffinity(thread, &cores).context("keeping a thread on a core")
}
