//! What a process uses: processor time and memory.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// Processor time of a process since it was started, all its threads together.
pub(crate) fn processor_time(process: Pid) -> Result<Duration> {
    let clock = ClockId::pid_cpu_clock_id(process).context("the processor clock of a process")?;
    Ok(clock_gettime(clock).context("reading a processor clock")?.into())
}

/// What this thread has used of a processor: others on the machine do not count.
pub(crate) fn own_time() -> Result<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    Ok(time.context("reading a processor clock")?.into())
}

/// Octets of memory that a process has for itself alone.
pub(crate) fn memory(process: Pid) -> Result<f64> {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let mut kilobytes = 0.0;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let Some("Private_Clean:" | "Private_Dirty:" | "Private_Hugetlb:") = words.next() {
            let number = words.next().with_context(|| format!("{path}: no number"))?;
            kilobytes += number.parse::<f64>().with_context(|| format!("{path}: {number}"))?;
        }
    }
    Ok(kilobytes * 1024.0)
}
