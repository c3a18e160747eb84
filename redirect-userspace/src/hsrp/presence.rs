//! What a router says about all its groups of an interface: whether it is active for any.
//!
//! Cisco's routers say it beside their hellos and redirect hosts by it; the election needs none of
//! it. It is never authenticated.
//!
//! # Invariants
//!
//! - A change of the status is said at once, and before what the groups themselves say about it.
//! - Passive is said again and again, active is not.
//! - Nothing is said while no group runs.
//!
//! # Picture
//!
//! ```text
//!          a group runs             a group is active
//!  dormant ───────────▶ passive ──────────────────────▶ active
//!     ▲                 │ ▲  └ every 25 to 30 s          │ │
//!     │ none runs       │ └────────── none is active ────┘ │
//!     └─────────────────┴──────────────────────────────────┘
//! ```

use std::time::Duration;

use crate::hsrp::wire::{Datagram, InterfaceState};
use crate::hsrp::{State, Version};
use crate::machine::{Deadline, Machine, Outbox};
use crate::rng::Rng;
use crate::time::{Instant, Now};

/// A router's groups of one interface that talk to the same address.
#[derive(Debug)]
pub struct Presence {
    version: Version,
    rng: Rng,
    groups: InterfaceState,
    /// When passive is said again.
    due: Option<Instant>,
}

/// A fact about the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceInput {
    /// How many are active, and how many run and are not.
    Groups {
        /// Those in [`State::Active`].
        active: u16,
        /// Those in any other state but [`State::Initial`].
        passive: u16,
    },
    /// The deadline has come.
    Timeout,
}

impl PresenceInput {
    /// Counts groups by their states.
    pub fn of(states: impl IntoIterator<Item = State>) -> Self {
        let (mut active, mut passive) = (0_u16, 0_u16);
        for state in states {
            match state {
                State::Initial => {}
                State::Active => active = active.saturating_add(1),
                State::Learn | State::Listen | State::Speak | State::Standby => {
                    passive = passive.saturating_add(1);
                }
            }
        }
        Self::Groups { active, passive }
    }
}

impl Presence {
    /// Least and greatest time until passive is said again, as Cisco's routers do.
    pub const AGAIN: (Duration, Duration) = (Duration::from_secs(25), Duration::from_secs(30));

    /// An interface on which no group runs yet.
    #[must_use]
    pub const fn new(version: Version, rng: Rng) -> Self {
        Self { version, rng, groups: InterfaceState::new(0, 0), due: None }
    }

    /// Says what is so, from the interface's own address.
    fn say(&mut self, now: Instant, out: &mut Outbox<Vec<u8>>) {
        let is_passive = self.groups.state == InterfaceState::PASSIVE;
        self.due = is_passive.then(|| now + self.rng.between(Self::AGAIN.0, Self::AGAIN.1));
        if self.groups.state != InterfaceState::DORMANT {
            out.push(Datagram { interface: Some(self.groups), ..Datagram::default() }.encode(self.version));
        }
    }
}

impl Machine for Presence {
    type Input<'a> = PresenceInput;
    /// What the UDP header is followed by.
    type Output = Vec<u8>;

    fn step(&mut self, now: Now, input: PresenceInput, out: &mut Outbox<Vec<u8>>) {
        match input {
            PresenceInput::Groups { active, passive } => {
                let before = std::mem::replace(&mut self.groups, InterfaceState::new(active, passive));
                if before.state != self.groups.state {
                    self.say(now.mono, out);
                }
            }
            PresenceInput::Timeout => {
                if self.due.is_some_and(|due| due <= now.mono) {
                    self.say(now.mono, out);
                }
            }
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        self.due.map(|at| Deadline { at, why: "hsrp interface state" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Script {
        presence: Presence,
        now: Now,
    }

    impl Script {
        fn new(version: Version) -> Self {
            Self { presence: Presence::new(version, Rng::from_number(1)), now: Now::default() }
        }

        fn give(&mut self, input: PresenceInput) -> Vec<Vec<u8>> {
            let mut out = Outbox::new();
            self.presence.step(self.now, input, &mut out);
            out.drain().collect()
        }

        fn groups(&mut self, states: &[State]) -> Vec<Vec<u8>> {
            self.give(PresenceInput::of(states.iter().copied()))
        }
    }

    const PASSIVE_V1: &[u8] = &[0, 3, 0, 1, 0, 14, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    const ACTIVE_V1: &[u8] = &[0, 3, 0, 1, 0, 14, 3, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    const PASSIVE_V2: &[u8] = &[2, 4, 0, 0, 0, 1];
    const ACTIVE_V2: &[u8] = &[2, 4, 0, 1, 0, 0];

    #[test]
    fn each_change_of_the_status_is_said_once_in_ciscos_octets() {
        for (version, passive, active) in
            [(Version::V1, PASSIVE_V1, ACTIVE_V1), (Version::V2, PASSIVE_V2, ACTIVE_V2)]
        {
            let mut script = Script::new(version);

            assert!(script.groups(&[State::Initial]).is_empty());
            assert_eq!(script.groups(&[State::Listen]), [passive]);
            assert!(script.groups(&[State::Speak]).is_empty());
            assert!(script.groups(&[State::Standby]).is_empty());
            assert_eq!(script.groups(&[State::Active]), [active]);
            assert_eq!(script.groups(&[State::Speak]), [passive]);
            assert_eq!(script.groups(&[State::Active]), [active]);
            assert!(script.groups(&[State::Initial]).is_empty());
            assert_eq!(script.groups(&[State::Learn]), [passive]);
        }
    }

    #[test]
    fn one_active_group_makes_the_interface_active() {
        let mut script = Script::new(Version::V2);

        assert_eq!(script.groups(&[State::Standby, State::Listen]), [[2, 4, 0, 0, 0, 2]]);
        assert_eq!(script.groups(&[State::Active, State::Listen]), [[2, 4, 0, 1, 0, 1]]);
        assert!(script.groups(&[State::Active, State::Active]).is_empty());
        assert_eq!(script.groups(&[State::Standby, State::Initial]), [[2, 4, 0, 0, 0, 1]]);
    }

    #[test]
    fn passive_is_repeated_and_active_is_not() {
        let mut script = Script::new(Version::V2);
        script.groups(&[State::Listen]);
        for _ in 0..50 {
            let before = script.now.mono;
            let due = script.presence.deadline().unwrap().at;
            assert!((Presence::AGAIN.0..Presence::AGAIN.1).contains(&due.since(before)));

            assert!(script.give(PresenceInput::Timeout).is_empty(), "too early");
            script.now.mono = due;
            assert_eq!(script.give(PresenceInput::Timeout), [PASSIVE_V2]);
        }

        script.groups(&[State::Active]);
        assert_eq!(script.presence.deadline(), None);
        script.groups(&[State::Speak]);
        assert!(script.presence.deadline().is_some());
        script.groups(&[State::Initial]);
        assert_eq!(script.presence.deadline(), None);
    }
}
