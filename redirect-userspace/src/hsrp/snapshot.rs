//! What the operator may see of a group.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::hsrp::group::Router;
use crate::hsrp::{Discard, Group, MacAddress, Settings, State, Timers};
use crate::time::Instant;

/// A group at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The settings in force.
    pub settings: Settings,
    /// The state.
    pub state: State,
    /// How often the state has changed.
    pub state_changes: u64,
    /// How long ago it changed last; `None` if it never has.
    pub last_change: Option<Duration>,
    /// The virtual addresses: configured or learned, the one of the election first.
    pub vips: Vec<IpAddr>,
    /// The group's virtual MAC; with `use-bia` the interface's own while that is known.
    pub virtual_mac: MacAddress,
    /// The priority now, after tracking.
    pub priority: u8,
    /// The times in force: configured, learned or default.
    pub timers: Timers,
    /// When the next hello is due; `None` in states that send none.
    pub next_hello: Option<Duration>,
    /// The active router; `None` while it is unknown.
    pub active: Option<RouterSnapshot>,
    /// The standby router; `None` while it is unknown.
    pub standby: Option<RouterSnapshot>,
    /// The tracked interfaces.
    pub track: Vec<TrackSnapshot>,
    /// Packets that were not used, by reason.
    pub discards: BTreeMap<Discard, u64>,
}

/// A router of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouterSnapshot {
    /// This one.
    Local,
    /// Another one.
    Remote {
        /// Where its hellos come from.
        address: IpAddr,
        /// Its priority.
        priority: u8,
        /// When it will be given up unless it is heard.
        expires: Duration,
    },
}

/// A tracked interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackSnapshot {
    /// Its name.
    pub interface: Box<str>,
    /// What its loss costs.
    pub decrement: u8,
    /// Whether it is up; `None` while that is unknown.
    pub is_up: Option<bool>,
}

impl Group {
    /// What the operator may see at `now`.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let remote = |router: Option<Router>, due: Option<Instant>| {
            let Router { address, priority } = router?;
            Some(RouterSnapshot::Remote { address, priority, expires: due?.since(now) })
        };
        let is_up = |name: &str| self.tracked.get(name).copied();
        let track = self.settings().track.iter().map(|track| TrackSnapshot {
            interface: track.interface.clone(),
            decrement: track.decrement,
            is_up: is_up(&track.interface),
        });
        Snapshot {
            settings: self.settings().clone(),
            state: self.state(),
            state_changes: self.state_changes,
            last_change: self.last_change.map(|last| now.since(last)),
            vips: self.vips(),
            virtual_mac: self.virtual_mac(),
            priority: self.priority(),
            timers: self.timers(),
            next_hello: self.due.hello.map(|due| due.since(now)),
            active: match self.state() {
                State::Active => Some(RouterSnapshot::Local),
                State::Initial | State::Learn | State::Listen | State::Speak | State::Standby => {
                    remote(self.active, self.due.active)
                }
            },
            standby: match self.state() {
                State::Standby => Some(RouterSnapshot::Local),
                State::Initial | State::Learn | State::Listen | State::Speak | State::Active => {
                    remote(self.standby, self.due.standby)
                }
            },
            track: track.collect(),
            discards: self.notices.discards(),
        }
    }
}
