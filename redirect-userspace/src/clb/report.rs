//! What a member tells about itself.

use std::fmt::{Display, Formatter};

use crate::gateway::{GatewayAddresses, GatewayName};

/// A ratio in hundredths of a percent: 0 to 10 000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BasisPoints(u16);

impl BasisPoints {
    /// Everything.
    pub const ALL: Self = Self(10_000);

    /// The ratio `value`, at most [`Self::ALL`].
    #[must_use]
    pub const fn saturating(value: u16) -> Self {
        if value > Self::ALL.0 { Self::ALL } else { Self(value) }
    }

    /// `part` of `whole`, rounded down; everything when `part` is not less than `whole`.
    #[must_use]
    pub fn ratio(part: u64, whole: u64) -> Self {
        if part >= whole {
            return Self::ALL;
        }
        let points = u128::from(part) * u128::from(Self::ALL.0) / u128::from(whole);
        Self(u16::try_from(points).unwrap_or(Self::ALL.0))
    }

    /// The number, 0 to 10 000.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }

    /// The ratio, 0 to 1.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / f64::from(Self::ALL.0)
    }

    /// The ratio in percent, 0 to 100.
    #[must_use]
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl Display for BasisPoints {
    /// In percent: `12.34%`.
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02}%", self.0 / 100, self.0 % 100)
    }
}

/// Who a member is: what it registers with, and what changes only when it is configured anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Unique in the cluster.
    pub name: GatewayName,
    /// Where clients are sent.
    pub addresses: GatewayAddresses,
    /// 1 to 100: of two members with the same load, the higher one is chosen.
    pub priority: u8,
    /// IKE and Child SAs that it takes, at least 1.
    pub max_session: u32,
}

/// The load of a member at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// IKE SAs, half-open ones included.
    pub ike_sas: u32,
    /// Child SAs.
    pub child_sas: u32,
    /// How busy the processors are: the greater of utilisation and pressure.
    pub cpu: BasisPoints,
    /// How much of the memory is in use.
    pub memory: BasisPoints,
    /// Whether it takes clients.
    pub availability: Availability,
}

impl Report {
    /// IKE and Child SAs: what `max-session` limits.
    #[must_use]
    pub const fn sessions(&self) -> u32 {
        self.ike_sas.saturating_add(self.child_sas)
    }
}

/// Whether a member wants clients, as it says itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Availability {
    /// It does.
    #[default]
    Up,
    /// It serves the clients it has and takes no new ones.
    Draining,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_rounded_down_and_ends_at_everything() {
        assert_eq!(BasisPoints::ratio(1, 3).value(), 3_333);
        assert_eq!(BasisPoints::ratio(0, 10), BasisPoints::default());
        assert_eq!(BasisPoints::ratio(11, 10), BasisPoints::ALL);
        assert_eq!(BasisPoints::ratio(0, 0), BasisPoints::ALL);
        assert_eq!(BasisPoints::ratio(u64::MAX - 1, u64::MAX).value(), 9_999);
        assert_eq!(BasisPoints::saturating(20_000), BasisPoints::ALL);
    }

    #[test]
    fn a_ratio_is_shown_in_percent() {
        assert_eq!(BasisPoints::saturating(1_205).to_string(), "12.05%");
    }

    #[test]
    fn sessions_are_ike_and_child_sas() {
        let report = Report { ike_sas: 3, child_sas: 4, ..Report::default() };

        assert_eq!(report.sessions(), 7);
    }
}
