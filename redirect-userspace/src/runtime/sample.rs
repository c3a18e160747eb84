//! What this node reports about itself: processors, memory, SAs.
//!
//! The processors' part is the greater of how busy they were since the last sample and of how
//! long somebody had to wait for one (pressure, where the kernel tells it): a machine with one
//! busy thread on many processors is not loaded, one whose threads queue is, whatever its
//! utilisation says.
//!
//! Counts of SAs come from whoever serves IKE here. An agent beside another IKE daemon tells them
//! over the control socket, with a time for which they hold.
//!
//! # References
//!
//! `proc_stat(5)`, `proc_meminfo(5)`, the kernel's `Documentation/accounting/psi.rst`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clb::{Availability, BasisPoints, Report};
use crate::time::{Instant, Now};

/// Reads the kernel's files and remembers what is needed between two samples.
pub(super) struct Sampler {
    proc: PathBuf,
    /// Busy and total time of the processors at the last sample.
    processors: Option<(u64, u64)>,
    utilisation: BasisPoints,
    sessions: Option<Sessions>,
    /// Whether this node takes clients, as its operator says.
    pub(super) availability: Availability,
}

/// SAs that somebody else has counted.
#[derive(Clone, Copy, Debug)]
struct Sessions {
    ike_sas: u32,
    child_sas: u32,
    until: Instant,
}

impl Sampler {
    /// Reads below `/proc`.
    pub(super) fn new() -> Self {
        Self::below(Path::new("/proc"))
    }

    fn below(proc: &Path) -> Self {
        Self {
            proc: proc.to_owned(),
            processors: None,
            utilisation: BasisPoints::default(),
            sessions: None,
            availability: Availability::Up,
        }
    }

    /// Takes over counts that hold for `valid`.
    pub(super) fn set_sessions(&mut self, now: Now, ike_sas: u32, child_sas: u32, valid: Duration) {
        self.sessions = Some(Sessions { ike_sas, child_sas, until: now.mono + valid });
    }

    /// The load now. What the kernel does not tell counts as nothing.
    pub(super) fn sample(&mut self, now: Now) -> Report {
        let read = |name: &str| std::fs::read_to_string(self.proc.join(name)).unwrap_or_default();
        if let Some((busy, total)) = processors(&read("stat")) {
            if let Some((busy_before, total_before)) = self.processors
                && total > total_before
            {
                let busy = busy.saturating_sub(busy_before);
                self.utilisation = BasisPoints::ratio(busy, total - total_before);
            }
            self.processors = Some((busy, total));
        }
        let pressure = pressure(&read("pressure/cpu")).unwrap_or_default();
        let sessions = self.sessions.filter(|sessions| now.mono < sessions.until);
        Report {
            ike_sas: sessions.map_or(0, |sessions| sessions.ike_sas),
            child_sas: sessions.map_or(0, |sessions| sessions.child_sas),
            cpu: self.utilisation.max(pressure),
            memory: memory(&read("meminfo")).unwrap_or_default(),
            availability: self.availability,
        }
    }
}

/// Busy and total time from `/proc/stat`, in ticks. Waiting for a disk is idling.
fn processors(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_ascii_whitespace().map_while(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest time is in user time already.
    let ticks = ticks.get(..ticks.len().min(8))?;
    let total = ticks.iter().fold(0_u64, |sum, ticks| sum.saturating_add(*ticks));
    let idle = ticks.get(3)?.saturating_add(*ticks.get(4)?);
    Some((total.saturating_sub(idle), total))
}

/// The part of the last ten seconds in which somebody waited for a processor.
fn pressure(cpu: &str) -> Option<BasisPoints> {
    let line = cpu.lines().find_map(|line| line.strip_prefix("some "))?;
    let percent = line.split_ascii_whitespace().find_map(|field| field.strip_prefix("avg10="))?;
    let (whole, hundredths) = percent.split_once('.').unwrap_or((percent, "0"));
    let points = whole.parse::<u16>().ok()?.checked_mul(100)?;
    Some(BasisPoints::saturating(points.saturating_add(hundredths.parse().ok()?)))
}

/// The part of the memory that no program could get without swapping.
fn memory(meminfo: &str) -> Option<BasisPoints> {
    let kilobytes = |key: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
        line.strip_prefix(':')?.split_ascii_whitespace().next()?.parse().ok()
    };
    let total = kilobytes("MemTotal")?;
    Some(BasisPoints::ratio(total.saturating_sub(kilobytes("MemAvailable")?), total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_a_disk_is_not_busy() {
        let stat = "cpu  100 20 30 800 40 5 5 0 60 0\ncpu0 1 2 3 4 5 6 7 8\n";

        assert_eq!(processors(stat), Some((160, 1_000)));
        assert_eq!(processors("cpu  1 2 3\n"), None);
        assert_eq!(processors(""), None);
    }

    #[test]
    fn pressure_is_what_somebody_waited() {
        let cpu = "some avg10=12.34 avg60=1.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00\n";

        assert_eq!(pressure(cpu), Some(BasisPoints::saturating(1_234)));
        assert_eq!(pressure("some avg10=100.00 avg60=1"), Some(BasisPoints::ALL));
        assert_eq!(pressure("full avg10=1.00"), None);
        assert_eq!(pressure("some avg10=nonsense"), None);
    }

    #[test]
    fn memory_that_could_be_had_is_not_in_use() {
        let meminfo = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    750 kB\n";

        assert_eq!(memory(meminfo), Some(BasisPoints::saturating(2_500)));
        assert_eq!(memory("MemTotal: 1000 kB\n"), None);
    }

    #[test]
    fn utilisation_is_that_of_the_time_since_the_last_sample() {
        let proc = tempdir();
        let mut sampler = Sampler::below(&proc);
        let mut sample = |stat: &str| {
            std::fs::write(proc.join("stat"), stat).unwrap();
            sampler.sample(Now::default()).cpu.value()
        };

        let first = sample("cpu 100 0 0 100 0 0 0 0\n");
        let second = sample("cpu 130 0 0 170 0 0 0 0\n");
        let unchanged = sample("cpu 130 0 0 170 0 0 0 0\n");

        assert_eq!((first, second, unchanged), (0, 3_000, 3_000));
        std::fs::remove_dir_all(proc).unwrap();
    }

    #[test]
    fn counts_hold_as_long_as_they_were_said_to() {
        let mut sampler = Sampler::below(Path::new("/nonexistent"));
        let now = Now::default();
        sampler.set_sessions(now, 3, 4, Duration::from_secs(10));

        let during = sampler.sample(now.after(Duration::from_millis(9_999)));
        let after = sampler.sample(now.after(Duration::from_secs(10)));

        assert_eq!((during.ike_sas, during.child_sas), (3, 4));
        assert_eq!(after, Report::default());
    }

    #[test]
    fn this_machine_can_be_sampled() {
        let report = Sampler::new().sample(Now::default());

        assert!(report.memory > BasisPoints::default(), "{report:?}");
    }

    fn tempdir() -> PathBuf {
        let path = std::env::temp_dir().join(format!("redirectd-sample-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }
}
