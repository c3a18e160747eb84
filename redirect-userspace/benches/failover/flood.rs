//! Nobody takes over from an Active that lives, however busy the machine.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use xtask::lab::flood::Flood;
use xtask::lab::nodes::{Nodes, Options, Pace};
use xtask::lab::topology::VIP4;

use crate::Effort;
use crate::report::{Report, Samples};

/// Senders: one for each processor of the reference machine.
const SENDERS: u16 = 2;
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run(report: &mut Report, effort: Effort) -> Result<()> {
    let time = effort.of(Duration::from_secs(600), Duration::from_secs(20));
    for (case, pace, aim) in [("hold 250 ms", Pace::new(80, 250), 0.0), ("hold 50 ms", Pace::FASTEST, 0.0)] {
        let mut nodes = Nodes::start(Options { pace, ..Options::default() })?;
        let before = changes(&nodes)?;
        let client = nodes.clients.first().context("no client")?;
        let flood = Flood::start(client.charon.namespace(), client.address4.into(), VIP4.into(), SENDERS)?;
        let idle = idle_ticks()?;
        std::thread::sleep(time);
        let idle = idle_ticks()? - idle;
        let took = flood.elapsed();
        let sent = flood.stop()?;
        let changed = changes(&nodes)? - before;
        // A tick is 10 ms of one processor.
        let idle = idle as f64 / 100.0 / (took.as_secs_f64() * f64::from(SENDERS));
        ensure!(idle < 0.1, "the processors were idle for {:.0} % of the flood", idle * 100.0);
        // What is missed at 50 ms is said and not held against us: the bar is at 250 ms.
        let must = if pace == Pace::FASTEST { f64::INFINITY } else { 0.0 };
        let changed = Samples::one(changed as f64);
        report.tail("flood: false state changes", case, "", &changed, 1.0, must, aim);
        report.info("flood: requests", case, "/s", &Samples::one(sent as f64 / took.as_secs_f64()));
        nodes.wait_settled(PATIENCE)?;
    }
    Ok(())
}

/// State changes of all nodes since their start.
fn changes(nodes: &Nodes) -> Result<u64> {
    nodes.running().map(|node| Ok(node.standby()?.state_changes)).sum()
}

/// Ticks that the processors have been idle.
fn idle_ticks() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let idle = stat.split_ascii_whitespace().nth(4).context("no idle time in /proc/stat")?;
    Ok(idle.parse()?)
}
