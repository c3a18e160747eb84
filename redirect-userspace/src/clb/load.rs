//! The load of a member, as one number.
//!
//! ```text
//! crypto = (IKE SAs + Child SAs) / max-session          at most 100 %
//! system = the greater of cpu and memory
//! total  = (crypto * crypto-load + system * system-load) / (crypto-load + system-load)
//! ```
//!
//! `crypto-load` and `system-load` are the master's [`LoadWeights`]. If both are 0, they count the
//! same. Cisco publishes the commands but not the formula; this one is ours.

use crate::clb::{BasisPoints, LoadWeights, Report};

/// The load of a member, and what it is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// IKE and Child SAs of those the member takes.
    pub crypto: BasisPoints,
    /// The greater of processors and memory.
    pub system: BasisPoints,
    /// Both, by the master's weights.
    pub total: BasisPoints,
}

impl Load {
    /// The load that `report` tells about. A member that takes no SA at all is full.
    #[must_use]
    pub fn new(report: &Report, max_session: u32, weights: LoadWeights) -> Self {
        let crypto = BasisPoints::ratio(u64::from(report.sessions()), u64::from(max_session));
        let system = report.cpu.max(report.memory);
        let (by_crypto, by_system) = weights.parts();
        let sum = u32::from(crypto.value()) * by_crypto + u32::from(system.value()) * by_system;
        let total = sum.checked_div(by_crypto + by_system).unwrap_or(0);
        let total = u16::try_from(total).map_or(BasisPoints::ALL, BasisPoints::saturating);
        Self { crypto, system, total }
    }
}

impl LoadWeights {
    /// The two weights, of which at least one is not 0.
    fn parts(self) -> (u32, u32) {
        match (self.crypto, self.system) {
            (0, 0) => (1, 1),
            (crypto, system) => (u32::from(crypto), u32::from(system)),
        }
    }

    /// How much of the total the crypto load is, 0 to 1. The rest is the system load.
    #[must_use]
    pub fn crypto_part(self) -> f64 {
        let (crypto, system) = self.parts();
        f64::from(crypto) / f64::from(crypto + system)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(sessions: u32, cpu: u16, memory: u16) -> Report {
        Report {
            ike_sas: sessions / 2,
            child_sas: sessions - sessions / 2,
            cpu: BasisPoints::saturating(cpu),
            memory: BasisPoints::saturating(memory),
            ..Report::default()
        }
    }

    fn total(report: &Report, crypto: u8, system: u8) -> u16 {
        Load::new(report, 1_000, LoadWeights { crypto, system }).total.value()
    }

    #[test]
    fn the_parts_are_sessions_and_the_greater_of_cpu_and_memory() {
        let load = Load::new(&report(250, 1_000, 3_000), 1_000, LoadWeights::default());

        assert_eq!((load.crypto.value(), load.system.value()), (2_500, 3_000));
        assert_eq!(Load::new(&report(0, 4_000, 3_000), 1, LoadWeights::default()).system.value(), 4_000);
    }

    #[test]
    fn the_total_is_the_mean_by_weight() {
        let report = report(200, 6_000, 0);

        assert_eq!(total(&report, 100, 100), 4_000);
        assert_eq!(total(&report, 100, 0), 2_000);
        assert_eq!(total(&report, 0, 50), 6_000);
        assert_eq!(total(&report, 3, 1), 3_000);
        assert_eq!(total(&report, 1, 2), 4_666, "rounded down");
    }

    #[test]
    fn without_weights_both_parts_count_the_same() {
        let report = report(200, 6_000, 0);

        assert_eq!(total(&report, 0, 0), total(&report, 1, 1));
        assert!((LoadWeights { crypto: 0, system: 0 }.crypto_part() - 0.5).abs() < f64::EPSILON);
    }

    #[test]
    fn nobody_is_more_than_full() {
        let report = report(u32::MAX, 10_000, 10_000);

        assert_eq!(total(&report, 100, 100), 10_000);
        assert_eq!(Load::new(&Report::default(), 0, LoadWeights::default()).crypto, BasisPoints::ALL);
    }
}
