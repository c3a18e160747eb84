//! The table of states and events: `RFC 2281 §5.7`.
//!
//! Nothing else decides in which state a group is. `tests/data/hsrp-table.txt` shows the table as
//! the RFC prints it.

use crate::hsrp::State;

/// What drives the table: the events of `RFC 2281 §5.5`, with what a note of §5.7 asks about.
///
/// Higher and lower compare priority first and then source address (`RFC 2281 §5.1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    /// a: the group runs on an enabled interface.
    Enabled {
        /// Note `+`: whether the virtual IP is configured.
        has_vip: bool,
    },
    /// b: the group or the interface is disabled.
    Disabled {
        /// Whether the others are told. Not so by a router that stood still for longer than they
        /// wait: another one is active by now, and a late resign would only confuse.
        resigns: bool,
    },
    /// c: the active router was silent for its hold time.
    ActiveTimerExpired,
    /// d: the standby router was silent for its hold time.
    StandbyTimerExpired,
    /// e: the next hello is due.
    HelloTimerExpired,
    /// f: hello of higher priority from a router in speak state.
    HigherSpeaker,
    /// g: hello of higher priority from the active router.
    HigherActive,
    /// h: hello of lower priority from the active router.
    LowerActive {
        /// Note `*`: whether this router preempts, and has waited for as long as it was told.
        may_preempt: bool,
    },
    /// i: resign from the active router.
    ActiveResigned,
    /// j: coup from a router of higher priority.
    Coup,
    /// k: hello of higher priority from the standby router.
    HigherStandby,
    /// l: hello of lower priority from the standby router.
    LowerStandby,
}

/// The actions of `RFC 2281 §5.6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A
    StartActiveTimer,
    /// B
    StartStandbyTimer,
    /// C
    StopActiveTimer,
    /// D
    StopStandbyTimer,
    /// E
    Learn,
    /// F
    SendHello,
    /// G
    SendCoup,
    /// H
    SendResign,
    /// I
    Announce,
}

impl Action {
    /// Whether the action is carried out in the next state. A coup is sent in the old one and a
    /// resign before the VIP is let go of; hello and announcement speak of what is already so.
    pub(super) const fn is_of_next_state(self) -> bool {
        match self {
            Self::SendHello | Self::Announce => true,
            Self::StartActiveTimer
            | Self::StartStandbyTimer
            | Self::StopActiveTimer
            | Self::StopStandbyTimer
            | Self::Learn
            | Self::SendCoup
            | Self::SendResign => false,
        }
    }
}

/// What `trigger` leads to in `state`: actions in their order, and the next state.
pub(super) const fn transition(state: State, trigger: Trigger) -> (&'static [Action], State) {
    use Action::{
        Announce as I, Learn as E, SendCoup as G, SendHello as F, SendResign as H, StartActiveTimer as A,
        StartStandbyTimer as B, StopActiveTimer as C, StopStandbyTimer as D,
    };
    use State::{Active, Initial, Learn, Listen, Speak, Standby};

    match (trigger, state) {
        // RFC 2281 §5.7 a, note +
        (Trigger::Enabled { has_vip: true }, Initial) => (&[A, B], Listen),
        (Trigger::Enabled { has_vip: false }, Initial) => (&[A, B], Learn),
        (Trigger::Enabled { .. }, Learn | Listen | Speak | Standby | Active) => (&[], state),

        // RFC 2281 §5.7 b
        (Trigger::Disabled { .. }, Initial) => (&[], state),
        (Trigger::Disabled { .. }, Learn | Listen | Speak | Standby) => (&[C, D], Initial),
        (Trigger::Disabled { resigns: true }, Active) => (&[C, D, H], Initial),
        (Trigger::Disabled { resigns: false }, Active) => (&[C, D], Initial),

        // RFC 2281 §5.7 c
        (Trigger::ActiveTimerExpired, Initial | Learn | Speak | Active) => (&[], state),
        (Trigger::ActiveTimerExpired, Listen) => (&[A, B], Speak),
        (Trigger::ActiveTimerExpired, Standby) => (&[C, D, F, I], Active),

        // RFC 2281 §5.7 d
        (Trigger::StandbyTimerExpired, Initial | Learn | Standby | Active) => (&[], state),
        (Trigger::StandbyTimerExpired, Listen) => (&[B], Speak),
        (Trigger::StandbyTimerExpired, Speak) => (&[D], Standby),

        // RFC 2281 §5.7 e
        (Trigger::HelloTimerExpired, Initial | Learn | Listen) => (&[], state),
        (Trigger::HelloTimerExpired, Speak | Standby | Active) => (&[F], state),

        // RFC 2281 §5.7 f
        (Trigger::HigherSpeaker, Initial | Learn | Listen | Active) => (&[], state),
        (Trigger::HigherSpeaker, Speak | Standby) => (&[B], Listen),

        // RFC 2281 §5.7 g
        (Trigger::HigherActive, Initial) => (&[], state),
        (Trigger::HigherActive, Learn) => (&[E, A, B], Listen),
        (Trigger::HigherActive, Listen | Speak | Standby) => (&[E, A], state),
        (Trigger::HigherActive, Active) => (&[A, B], Speak),

        // RFC 2281 §5.7 h, note *
        (Trigger::LowerActive { .. }, Initial) => (&[], state),
        (Trigger::LowerActive { .. }, Learn) => (&[E, A, B], Listen),
        (Trigger::LowerActive { may_preempt: false }, Listen | Speak | Standby) => (&[A], state),
        (Trigger::LowerActive { may_preempt: true }, Listen | Speak | Standby) => (&[B, G, F, I], Active),
        (Trigger::LowerActive { .. }, Active) => (&[G], state),

        // RFC 2281 §5.7 i
        (Trigger::ActiveResigned, Initial | Learn | Active) => (&[], state),
        (Trigger::ActiveResigned, Listen) => (&[A, B], Speak),
        (Trigger::ActiveResigned, Speak) => (&[A], state),
        (Trigger::ActiveResigned, Standby) => (&[C, F, I], Active),

        // RFC 2281 §5.7 j
        (Trigger::Coup, Initial | Learn | Listen | Speak | Standby) => (&[], state),
        (Trigger::Coup, Active) => (&[A, B, H], Speak),

        // RFC 2281 §5.7 k
        (Trigger::HigherStandby, Initial | Learn) => (&[], state),
        (Trigger::HigherStandby, Listen | Active) => (&[B], state),
        (Trigger::HigherStandby, Speak | Standby) => (&[B], Listen),

        // RFC 2281 §5.7 l
        (Trigger::LowerStandby, Initial | Learn | Standby) => (&[], state),
        (Trigger::LowerStandby, Listen) => (&[B], Speak),
        (Trigger::LowerStandby, Speak) => (&[D], Standby),
        (Trigger::LowerStandby, Active) => (&[B], state),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// Every trigger, each alternative of a note by itself.
    const TRIGGERS: [(&str, Trigger); 15] = [
        ("a enabled, VIP known", Trigger::Enabled { has_vip: true }),
        ("a enabled, VIP unknown", Trigger::Enabled { has_vip: false }),
        ("b disabled", Trigger::Disabled { resigns: true }),
        ("b disabled in silence", Trigger::Disabled { resigns: false }),
        ("c active timer", Trigger::ActiveTimerExpired),
        ("d standby timer", Trigger::StandbyTimerExpired),
        ("e hello timer", Trigger::HelloTimerExpired),
        ("f higher speaker", Trigger::HigherSpeaker),
        ("g higher active", Trigger::HigherActive),
        ("h lower active, stay", Trigger::LowerActive { may_preempt: false }),
        ("h lower active, preempt", Trigger::LowerActive { may_preempt: true }),
        ("i active resigned", Trigger::ActiveResigned),
        ("j higher coup", Trigger::Coup),
        ("k higher standby", Trigger::HigherStandby),
        ("l lower standby", Trigger::LowerStandby),
    ];

    const fn letter(action: Action) -> char {
        match action {
            Action::StartActiveTimer => 'A',
            Action::StartStandbyTimer => 'B',
            Action::StopActiveTimer => 'C',
            Action::StopStandbyTimer => 'D',
            Action::Learn => 'E',
            Action::SendHello => 'F',
            Action::SendCoup => 'G',
            Action::SendResign => 'H',
            Action::Announce => 'I',
        }
    }

    /// A cell as the RFC prints it: letters, a slash, the number of the next state.
    fn cell(state: State, trigger: Trigger) -> String {
        let (actions, next) = transition(state, trigger);
        let mut cell: String = actions.iter().copied().map(letter).collect();
        if next != state {
            let number = 1 + State::ALL.iter().position(|other| *other == next).unwrap();
            write!(cell, "/{number}").unwrap();
        }
        cell
    }

    #[test]
    fn the_table_is_the_reviewed_one() {
        let mut table = format!("{:24}", "");
        for (number, state) in (1..).zip(State::ALL) {
            let head = format!("{number} {state}");
            write!(table, "| {head:9}").unwrap();
        }
        for (name, trigger) in TRIGGERS {
            write!(table, "\n{name:24}").unwrap();
            for state in State::ALL {
                write!(table, "| {:9}", cell(state, trigger)).unwrap();
            }
        }
        let table: String = table.lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
        println!("{table}");

        let reviewed = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/hsrp-table.txt"));
        assert_eq!(table, reviewed);
    }

    // test of RFC 2281 §5.7
    #[test]
    fn the_table_is_that_of_the_rfc() {
        // Rows as the RFC prints them, and the resign that is kept back. Of `x|y` the second is for
        // the trigger that says yes.
        let rfc = [
            ('a', ["AB/2|AB/3", "", "", "", "", ""]),
            ('b', ["", "CD/1", "CD/1", "CD/1", "CD/1", "CD/1|CDH/1"]),
            ('c', ["", "", "AB/4", "", "CDFI/6", ""]),
            ('d', ["", "", "B/4", "D/5", "", ""]),
            ('e', ["", "", "", "F", "F", "F"]),
            ('f', ["", "", "", "B/3", "B/3", ""]),
            ('g', ["", "EAB/3", "EA", "EA", "EA", "AB/4"]),
            ('h', ["", "EAB/3", "A|BGFI/6", "A|BGFI/6", "A|BGFI/6", "G"]),
            ('i', ["", "", "AB/4", "A", "CFI/6", ""]),
            ('j', ["", "", "", "", "", "ABH/4"]),
            ('k', ["", "", "B", "B/3", "B/3", "B"]),
            ('l', ["", "", "B/4", "D/5", "", "B"]),
        ];
        for (name, trigger) in TRIGGERS {
            let (_, row) = rfc.iter().find(|(letter, _)| name.starts_with(*letter)).unwrap();
            let is_second = matches!(
                trigger,
                Trigger::Enabled { has_vip: true }
                    | Trigger::Disabled { resigns: true }
                    | Trigger::LowerActive { may_preempt: true }
            );
            for (state, text) in State::ALL.into_iter().zip(row) {
                let (first, second) = text.split_once('|').unwrap_or((text, text));
                let expected = if is_second { second } else { first };
                assert_eq!(cell(state, trigger), expected, "{name} in {state}");
            }
        }
    }
}
