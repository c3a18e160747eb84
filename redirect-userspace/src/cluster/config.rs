//! Settings of the cluster.

use std::fmt::{Display, Formatter};

/// What the operator decides about the cluster as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How loads become shares.
    pub policy: Policy,
    /// Load from which a member takes no more clients.
    pub overload_limit: OverloadLimit,
}

/// How the loads of the members become their shares of the table.
///
/// Members that do not report loads are served by weight alone, whatever the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// In proportion to what each member has left.
    #[default]
    Balanced,
    /// Everything to the member with the least load.
    LeastLoaded,
}

impl Policy {
    /// Every policy.
    pub const ALL: [Self; 2] = [Self::Balanced, Self::LeastLoaded];

    /// The name, as in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::LeastLoaded => "least-loaded",
        }
    }
}

impl Display for Policy {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The load in percent from which a member takes no more clients: 50 to 99.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OverloadLimit(u8);

impl OverloadLimit {
    /// Least limit.
    pub const MIN: u8 = 50;
    /// Greatest limit.
    pub const MAX: u8 = 99;

    /// The limit `percent`; `None` when it is out of range.
    #[must_use]
    pub const fn new(percent: u8) -> Option<Self> {
        match percent {
            Self::MIN..=Self::MAX => Some(Self(percent)),
            _ => None,
        }
    }

    /// The limit.
    #[must_use]
    pub const fn percent(self) -> u8 {
        self.0
    }
}

impl Default for OverloadLimit {
    fn default() -> Self {
        Self(Self::MAX)
    }
}
