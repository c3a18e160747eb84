//! Settings of the cluster: Cisco's `crypto ikev2 cluster` commands, with their ranges.

use std::fmt::{Display, Formatter};
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use crate::gateway::GatewayAddresses;
use crate::secret::Secret;

/// What every member must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Proves that a peer belongs to the cluster.
    pub key: ClusterKey,
    /// Proves it as well, while the key is being changed on all members. This node uses it only
    /// with a peer that does not know [`Self::key`].
    pub accept_key: Option<ClusterKey>,
    /// How long a member counts as alive without being heard: 100 ms to 120 s.
    pub holdtime: Duration,
    /// The virtual IPs. Nobody is a member at one of them: clients would be sent back to where
    /// they have asked.
    pub vips: Vec<IpAddr>,
}

impl Settings {
    /// Least and greatest [`Self::holdtime`].
    pub const HOLDTIME: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(120));
    /// [`Self::holdtime`] unless the operator says otherwise.
    pub const DEFAULT_HOLDTIME: Duration = Duration::from_secs(3);
    /// TCP port of the master unless the operator says otherwise.
    pub const DEFAULT_PORT: u16 = 2012;

    /// The settings of a cluster with this key and nothing else that is special.
    #[must_use]
    pub const fn new(key: ClusterKey) -> Self {
        Self { key, accept_key: None, holdtime: Self::DEFAULT_HOLDTIME, vips: Vec::new() }
    }

    /// Whether one of the addresses is a virtual IP.
    pub(crate) fn has_vip_among(&self, addresses: &GatewayAddresses) -> bool {
        self.vips.iter().any(|vip| addresses.contains(*vip))
    }
}

/// The cluster's key: at least 16 octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterKey(Secret);

impl ClusterKey {
    /// Shortest key: 128 bits if it is random.
    pub const MIN_LENGTH: usize = 16;
    /// Longest key.
    pub const MAX_LENGTH: usize = 1_024;

    /// Takes a key over.
    ///
    /// # Errors
    ///
    /// It is too short or too long.
    pub fn new(key: Secret) -> Result<Self, ClusterKeyError> {
        match key.len() {
            Self::MIN_LENGTH..=Self::MAX_LENGTH => Ok(Self(key)),
            length => Err(ClusterKeyError { length }),
        }
    }

    /// The key.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.0
    }
}

/// Not a cluster key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cluster key has {} to {} octets, not {length}", ClusterKey::MIN_LENGTH, ClusterKey::MAX_LENGTH)]
pub struct ClusterKeyError {
    /// Octets of the key.
    pub length: usize,
}

/// The name of the cluster: that of the standby group it is bound to. 1 to 63 letters, digits,
/// `-`, `_` and `.`. Members of two clusters do not talk to each other, even with the same key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(Box<str>);

impl ClusterName {
    /// Longest name.
    pub const MAX_LENGTH: usize = 63;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterName {
    type Err = ClusterNameError;

    fn from_str(text: &str) -> Result<Self, ClusterNameError> {
        let is_right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.is_empty() || text.len() > Self::MAX_LENGTH || !text.chars().all(is_right) {
            return Err(ClusterNameError);
        }
        Ok(Self(text.into()))
    }
}

impl Display for ClusterName {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// Not the name of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a cluster has 1 to {} letters, digits, `-`, `_` and `.`", ClusterName::MAX_LENGTH)]
pub struct ClusterNameError;

/// How the master chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MasterSettings {
    /// How loads become shares.
    pub policy: Policy,
    /// Load from which a member takes no more clients.
    pub overload_limit: OverloadLimit,
    /// What happens when every member has reached it.
    pub overload_action: OverloadAction,
    /// What the parts of the load count.
    pub weights: LoadWeights,
}

/// What a slave tells about itself, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlaveSettings {
    /// Time between two signs of life: 100 ms to 30 s.
    pub hello: Duration,
    /// Time between two reports: 100 ms to 60 s.
    pub update: Duration,
    /// 1 to 100: of two members with the same load, the higher one is chosen.
    pub priority: u8,
    /// IKE and Child SAs that this node takes, 1 to 100 000: a crypto load of 100 %.
    pub max_session: u32,
}

impl SlaveSettings {
    /// Least and greatest [`Self::hello`].
    pub const HELLO: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
    /// Least and greatest [`Self::update`].
    pub const UPDATE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
    /// Greatest [`Self::priority`].
    pub const MAX_PRIORITY: u8 = 100;
    /// Greatest [`Self::max_session`].
    pub const MAX_MAX_SESSION: u32 = 100_000;
}

impl Default for SlaveSettings {
    fn default() -> Self {
        Self {
            hello: Duration::from_secs(1),
            update: Duration::from_secs(5),
            priority: Self::MAX_PRIORITY,
            max_session: 10_000,
        }
    }
}

/// What the two parts of a load count, each 0 to 100. If both are 0, they count the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadWeights {
    /// IKE and Child SAs.
    pub crypto: u8,
    /// CPU and memory.
    pub system: u8,
}

impl LoadWeights {
    /// Greatest weight.
    pub const MAX: u8 = 100;
}

impl Default for LoadWeights {
    fn default() -> Self {
        Self { crypto: Self::MAX, system: Self::MAX }
    }
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

/// What happens to new clients when every member has reached the overload limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverloadAction {
    /// They are spread by what each member has left, beyond the limit.
    #[default]
    Spread,
    /// They are not answered until a member has room: most clients try again.
    Refuse,
}

impl OverloadAction {
    /// Every action.
    pub const ALL: [Self; 2] = [Self::Spread, Self::Refuse];

    /// The name, as in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::Refuse => "refuse",
        }
    }
}

impl Display for OverloadAction {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
