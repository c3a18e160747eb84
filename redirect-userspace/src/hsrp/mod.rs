//! Hot Standby Router Protocol: who owns the virtual IP.
//!
//! One machine per standby group and interface: [`Group`]. The machine neither knows the
//! interface nor touches it: it says what to send, and when to take the virtual addresses and to
//! let go of them. Beside the groups of an interface stands a [`Presence`], which tells the link
//! whether any of them is active.
//!
//! # Invariants
//!
//! - The table in `fsm.rs` alone decides about the state.
//! - A packet that is malformed, of another group or not authenticated changes nothing but a
//!   counter.
//! - Virtual addresses are held between [`Output::AcquireVip`] and [`Output::ReleaseVip`], which
//!   alternate.
//!
//! # Picture
//!
//! ```text
//!            interface up               nobody active, or
//!  Initial ──────────────▶ Listen ◀──┐  nobody standby
//!     │                     │  ▲     └───────────────────┐
//!     │ VIP unknown         │  │ a higher speaker         │ a higher standby
//!     ▼      active heard   │  │ or standby               │ or speaker
//!   Learn ──────────────────┘  │                          │
//!                              │   hold time      ┌───────┴─┐  active silent  ┌────────┐
//!                            Speak ──────────────▶│ Standby │────────────────▶│ Active │
//!                              ▲                  └─────────┘   or resigned   └───┬────┘
//!                              └──────── a higher active router, or its coup ─────┘
//!
//!  Listen, Speak, Standby ── a lower active router, and preempt ──▶ Active
//!  any state ── interface down, or shut down ──▶ Initial
//! ```
//!
//! # Beyond the RFC
//!
//! - Speak has no cell for the Active timer. When it runs out there, it is remembered: a router
//!   that then becomes standby becomes active at once, instead of never.
//! - A resign carries the state that follows and leaves from the burned-in address, as Cisco's
//!   does. From the virtual MAC it might come after the successor's first hello and move that
//!   address back in the switches.
//! - A change of the priority is said at once, not with the next hello; so a planned hand-over
//!   does not wait.
//! - Whether any group of an interface is active is told beside the hellos, as Cisco's routers do.
//! - A router that is active and stood still for longer than its hold time starts over, without a
//!   resign.
//! - Times of version 1 are whole seconds on the wire. A router whose own times are shorter
//!   measures by its own.
//!
//! # References
//!
//! `RFC 2281` (version 1): packets §5.1 in [`wire`], authentication in [`auth`], timers §5.4 in
//! [`Group`], table §5.7 in `fsm.rs`, MAC addresses §6 in [`Settings::virtual_mac`]. Version 2,
//! IPv6 and MD5 authentication are Cisco's and were learned from packets.

#![forbid(unsafe_code)]

pub mod auth;
mod config;
mod event;
mod fsm;
mod group;
mod notices;
mod presence;
mod receive;
mod snapshot;
#[cfg(test)]
mod tests;
pub mod wire;

pub use self::config::{
    Authentication, AuthenticationText, AuthenticationTextError, GroupName, GroupNameError, GroupNumber,
    Md5Key, Md5KeyError, Md5Keys, Preempt, Settings, SettingsError, Timers, TimersError, Track, Version,
};
pub use self::event::{Cause, Discard, Event};
pub use self::group::Group;
pub use self::presence::{Presence, PresenceInput};
pub use self::snapshot::{RouterSnapshot, Snapshot, TrackSnapshot};

use std::fmt::{Display, Formatter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// State of a group (`RFC 2281 §5.3`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// HSRP does not run: the interface is down, or the group is shut down.
    #[default]
    Initial,
    /// The virtual IP is not known yet.
    Learn,
    /// Others are active and standby.
    Listen,
    /// Takes part in the election.
    Speak,
    /// Next to become active.
    Standby,
    /// Owns the virtual IP.
    Active,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Initial, Self::Learn, Self::Listen, Self::Speak, Self::Standby, Self::Active];

    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Learn => "learn",
            Self::Listen => "listen",
            Self::Speak => "speak",
            Self::Standby => "standby",
            Self::Active => "active",
        }
    }
}

impl Display for State {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl Display for MacAddress {
    /// As Cisco writes it: `0000.0c9f.f001`.
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}{b:02x}.{c:02x}{d:02x}.{e:02x}{g:02x}")
    }
}

/// The interface that a group runs on, while it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its burned-in address.
    pub mac: MacAddress,
    /// Its primary IPv4 address and prefix length: the source of hellos.
    pub ipv4: Option<(Ipv4Addr, u8)>,
    /// Its link-local IPv6 address: the source of hellos in an IPv6 group.
    pub link_local: Option<Ipv6Addr>,
}

/// A fact about the world.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// The interface: `None` while it is down, gone, or has no address of the group's family. One
    /// that was removed and made anew was `None` in between. New addresses are taken over as they
    /// are.
    Interface(Option<Interface>),
    /// A datagram that was sent to the group's address and port on this interface. What has
    /// arrived is handed in before a timeout that is due.
    Packet {
        /// Who sent it.
        source: IpAddr,
        /// What the UDP header was followed by.
        payload: &'a [u8],
    },
    /// A tracked interface went up or down. One that nothing has been said about counts as up.
    Tracked {
        /// Which.
        interface: &'a str,
        /// Whether it is up.
        is_up: bool,
    },
    /// The operator has changed the group. Its name and interface stay. What this step says to send
    /// goes by the addresses of the settings before.
    Reconfigure(Settings),
    /// The group is to run, as it is from the start.
    Start,
    /// The group is to leave in order and to stay in [`State::Initial`].
    Stop,
    /// The deadline has come.
    Timeout,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Take these virtual addresses, on the virtual MAC unless the settings say otherwise.
    AcquireVip {
        /// The addresses in the order of the settings, then the link-local one that an IPv6
        /// election is about if it is not among them.
        vips: Vec<IpAddr>,
    },
    /// Tell the link who has the virtual addresses now: gratuitous ARP, unsolicited neighbour
    /// advertisement. Only while they are held.
    AnnounceVip,
    /// Let go of the virtual addresses.
    ReleaseVip,
    /// Send a datagram to the group's address and port. It may fail when the interface is down.
    Send {
        /// From which Ethernet address.
        source: SourceMac,
        /// What the UDP header is followed by.
        payload: Vec<u8>,
    },
    /// Something happened.
    Event(Event),
}

/// Ethernet source of a datagram (`RFC 2281 §5.4`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceMac {
    /// The interface's own.
    BurnedIn,
    /// The group's: an active router speaks with it, so that switches learn where it is.
    Virtual,
}
