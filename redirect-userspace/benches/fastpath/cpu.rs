//! CPU time, by the clocks that count nanoseconds.
//!
//! A thread's clock runs on while soft interrupts are served on top of it: the kernel of the
//! reference machine does not account them apart. What a veth pair does for a sender is therefore
//! in the sender's clock. The kernel's own threads for soft interrupts are added. What is left out
//! is what interrupts the idle task: some hundred nanoseconds for each wake-up.

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// Who is measured.
pub(crate) struct Meter {
    clocks: Vec<ClockId>,
}

/// A reading of a [`Meter`].
#[derive(Clone, Copy)]
pub(crate) struct Reading {
    /// The clocks of all who take part.
    own: Duration,
    /// Time that the machine's processors were not idle, whoever used them. Counted in ticks.
    machine: Duration,
}

/// What was used between two readings, per unit of work, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// By the clocks of those who take part.
    pub(crate) own: f64,
    /// By the machine's idle time, neighbours included.
    pub(crate) machine: f64,
}

impl Meter {
    /// The bench itself, the threads of the kernel for soft interrupts, and other processes.
    pub(crate) fn new(others: &[Pid]) -> Result<Self> {
        let mut clocks = vec![ClockId::CLOCK_PROCESS_CPUTIME_ID];
        for pid in soft_interrupt_threads()?.iter().chain(others) {
            clocks.push(ClockId::pid_cpu_clock_id(*pid).context("the CPU clock of a process")?);
        }
        Ok(Self { clocks })
    }

    /// Reads all clocks.
    pub(crate) fn read(&self) -> Result<Reading> {
        let mut own = Duration::ZERO;
        for clock in &self.clocks {
            own += Duration::from(clock_gettime(*clock).context("reading a CPU clock")?);
        }
        Ok(Reading { own, machine: not_idle()? })
    }

    /// What was used since `start` for each of `units`.
    pub(crate) fn cost(&self, start: Reading, units: u64) -> Result<Cost> {
        let end = self.read()?;
        let each = |used: Duration| used.as_secs_f64() * 1e9 / units as f64;
        Ok(Cost {
            own: each(end.own.saturating_sub(start.own)),
            machine: each(end.machine.saturating_sub(start.machine)),
        })
    }
}

/// The kernel's threads for soft interrupts.
pub(crate) fn soft_interrupt_threads() -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        // A process may end while it is looked at.
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.starts_with("ksoftirqd/") {
            found.extend(number.map(Pid::from_raw));
        }
    }
    Ok(found)
}

fn not_idle() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let ticks = stat
        .lines()
        .next()
        .context("/proc/stat is empty")?
        .split_whitespace()
        .skip(1)
        .enumerate()
        // idle and iowait; guest time is in user time already.
        .filter(|(column, _)| !matches!(column, 3 | 4 | 8 | 9))
        .map(|(_, ticks)| ticks.parse::<u64>().unwrap_or(0))
        .sum::<u64>();
    // The unit is fixed for programs, whatever the kernel's own tick is.
    Ok(Duration::from_millis(ticks * 10))
}
