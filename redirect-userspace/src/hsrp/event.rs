//! What happens in a group, for people and counters.

use std::fmt::{Display, Formatter};
use std::net::IpAddr;

use crate::hsrp::State;

/// Something that happened. The caller knows the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Packets are not used: said once, and again at most every 30 seconds per reason. Packets
    /// that are as they should be and merely not for this group are only counted.
    Discarded {
        /// Who sent the last one.
        source: IpAddr,
        /// Why.
        discard: Discard,
        /// How many since it was said last.
        count: u64,
    },
    /// Somebody in the group has another virtual IP. At most every 30 seconds.
    DifferentVip {
        /// Who.
        source: IpAddr,
        /// Which.
        theirs: IpAddr,
    },
    /// Somebody sends with our own address or with a virtual one: a second router with it, or a
    /// loop in the network. At most every 30 seconds.
    DuplicateAddress {
        /// The address.
        address: IpAddr,
    },
    /// The virtual IP was learned from the active router.
    LearnedVip {
        /// The address.
        vip: IpAddr,
    },
    /// The priority in force is another one: a tracked interface went up or down, or the operator
    /// has changed it.
    PriorityChanged {
        /// Before.
        from: u8,
        /// Now.
        to: u8,
    },
    /// The group is in another state.
    StateChanged {
        /// Before.
        from: State,
        /// Now.
        to: State,
        /// Why.
        cause: Cause,
    },
}

/// Why a group changed its state: the events of `RFC 2281 §5.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// a: the group was enabled, or the interface came up.
    Enabled,
    /// b: the group was disabled, or the interface went down.
    Disabled,
    /// c: the active router was silent for its hold time.
    ActiveTimerExpired,
    /// d: the standby router was silent for its hold time.
    StandbyTimerExpired,
    /// f: a router with a higher priority speaks.
    HigherSpeaker,
    /// g: a router with a higher priority is active.
    HigherActive,
    /// h: a router with a lower priority is active.
    LowerActive,
    /// i: the active router resigned.
    ActiveResigned,
    /// j: a router with a higher priority takes over.
    Coup,
    /// k: a router with a higher priority is standby.
    HigherStandby,
    /// l: a router with a lower priority is standby.
    LowerStandby,
    /// b, because the daemon stood still for longer than the others wait for an active router.
    Stalled,
}

impl Cause {
    /// In words, with the letter of the RFC.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "a/enabled",
            Self::Disabled => "b/disabled",
            Self::ActiveTimerExpired => "c/active timer expired",
            Self::StandbyTimerExpired => "d/standby timer expired",
            Self::HigherSpeaker => "f/hello from a higher speaker",
            Self::HigherActive => "g/hello from a higher active router",
            Self::LowerActive => "h/hello from a lower active router",
            Self::ActiveResigned => "i/the active router resigned",
            Self::Coup => "j/coup from a higher router",
            Self::HigherStandby => "k/hello from a higher standby router",
            Self::LowerStandby => "l/hello from a lower standby router",
            Self::Stalled => "b/the daemon stood still for longer than the hold time",
        }
    }
}

impl Display for Cause {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a packet is not used. Each is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Discard {
    /// It is authenticated in another way than ours.
    AuthenticationScheme,
    /// Its text or digest is not ours.
    AuthenticationValue,
    /// It is not HSRP.
    Malformed,
    /// It came from an address that is not on the interface's network.
    OffSubnet,
    /// It came from our own address, or from a virtual one.
    Own,
    /// It is about another group.
    OtherGroup,
    /// It is of the other version.
    OtherVersion,
    /// It is about the other address family.
    OtherFamily,
    /// An interface-state message: says nothing that we use.
    Advertisement,
}

impl Discard {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::AuthenticationScheme,
        Self::AuthenticationValue,
        Self::Malformed,
        Self::OffSubnet,
        Self::Own,
        Self::OtherGroup,
        Self::OtherVersion,
        Self::OtherFamily,
        Self::Advertisement,
    ];

    /// The name operators see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthenticationScheme => "authentication-scheme",
            Self::AuthenticationValue => "authentication-value",
            Self::Malformed => "malformed",
            Self::OffSubnet => "off-subnet",
            Self::Own => "own",
            Self::OtherGroup => "other-group",
            Self::OtherVersion => "other-version",
            Self::OtherFamily => "other-family",
            Self::Advertisement => "advertisement",
        }
    }
}

impl Display for Discard {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
