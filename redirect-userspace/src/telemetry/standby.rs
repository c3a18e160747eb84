//! The standby groups' events in the words of the daemon.

use std::fmt;

use super::Severity;
use crate::hsrp::{Cause, Discard, Event, GroupName};

/// The name operators see.
pub(super) const fn name(event: &Event) -> &'static str {
    match event {
        Event::DifferentVip { .. } => "hsrp-different-vip",
        Event::Discarded { .. } => "hsrp-discarded",
        Event::DuplicateAddress { .. } => "hsrp-duplicate-address",
        Event::LearnedVip { .. } => "hsrp-learned-vip",
        Event::PriorityChanged { .. } => "hsrp-priority-changed",
        Event::StateChanged { .. } => "hsrp-state-changed",
    }
}

/// How much it matters.
pub(super) const fn severity(event: &Event) -> Severity {
    match event {
        Event::StateChanged { cause: Cause::Stalled, .. } => Severity::Warn,
        Event::LearnedVip { .. } | Event::PriorityChanged { .. } | Event::StateChanged { .. } => {
            Severity::Info
        }
        Event::DifferentVip { .. } | Event::DuplicateAddress { .. } => Severity::Warn,
        Event::Discarded { discard, .. } => match discard {
            // Other groups on the same link are nobody's mistake.
            Discard::Advertisement | Discard::OtherFamily | Discard::OtherGroup | Discard::Own => {
                Severity::Info
            }
            Discard::AuthenticationScheme
            | Discard::AuthenticationValue
            | Discard::Malformed
            | Discard::OffSubnet
            | Discard::OtherVersion => Severity::Warn,
        },
    }
}

/// Its details by name.
pub(super) fn fields(group: &GroupName, event: &Event) -> Vec<(&'static str, String)> {
    let mut fields = vec![("group", group.to_string())];
    match event {
        Event::DifferentVip { source, theirs } => {
            fields.extend([("source", source.to_string()), ("vip", theirs.to_string())]);
        }
        Event::Discarded { source, discard, count } => fields.extend([
            ("source", source.to_string()),
            ("reason", discard.to_string()),
            ("count", count.to_string()),
        ]),
        Event::DuplicateAddress { address } => fields.push(("address", address.to_string())),
        Event::LearnedVip { vip } => fields.push(("vip", vip.to_string())),
        Event::PriorityChanged { from, to } => {
            fields.extend([("from", from.to_string()), ("to", to.to_string())]);
        }
        Event::StateChanged { from, to, cause } => fields.extend([
            ("from", from.to_string()),
            ("to", to.to_string()),
            ("cause", cause.as_str().to_owned()),
        ]),
    }
    fields
}

/// In words, for a person who reads one line.
pub(super) fn display(group: &GroupName, event: &Event, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match event {
        Event::DifferentVip { source, theirs } => {
            write!(f, "{group}: {source} has another virtual IP: {theirs}")
        }
        Event::Discarded { source, discard, count } => {
            write!(f, "{group}: {count} packets not used: {discard}, the last one from {source}")
        }
        Event::DuplicateAddress { address } => {
            write!(f, "{group}: somebody else speaks from our address {address}")
        }
        Event::LearnedVip { vip } => write!(f, "{group}: learned the virtual IP {vip}"),
        Event::PriorityChanged { from, to } => write!(f, "{group}: priority {from} -> {to}"),
        Event::StateChanged { from, to, cause } => {
            write!(f, "{group}: state {from} -> {to}: {}", cause.as_str())
        }
    }
}

#[cfg(test)]
pub(super) mod fixtures {
    use crate::hsrp::{Cause, Discard, Event, State};

    /// One event of each kind.
    pub(crate) fn events() -> Vec<Event> {
        let source = "10.50.0.12".parse().unwrap();
        vec![
            Event::DifferentVip { source, theirs: "10.50.0.6".parse().unwrap() },
            Event::Discarded { source, discard: Discard::AuthenticationValue, count: 31 },
            Event::DuplicateAddress { address: source },
            Event::LearnedVip { vip: "10.50.0.5".parse().unwrap() },
            Event::PriorityChanged { from: 110, to: 90 },
            Event::StateChanged { from: State::Standby, to: State::Active, cause: Cause::ActiveTimerExpired },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hsrp::State;

    #[test]
    fn every_transition_is_told_with_the_letter_of_its_cause() {
        let causes = [
            (Cause::Enabled, "a/"),
            (Cause::Disabled, "b/"),
            (Cause::ActiveTimerExpired, "c/"),
            (Cause::StandbyTimerExpired, "d/"),
            (Cause::HigherSpeaker, "f/"),
            (Cause::HigherActive, "g/"),
            (Cause::LowerActive, "h/"),
            (Cause::ActiveResigned, "i/"),
            (Cause::Coup, "j/"),
            (Cause::HigherStandby, "k/"),
            (Cause::LowerStandby, "l/"),
            (Cause::Stalled, "b/"),
        ];
        for from in State::ALL {
            for to in State::ALL {
                for (cause, letter) in causes {
                    let text = told(Event::StateChanged { from, to, cause });

                    assert!(text.starts_with(&format!("group1: state {from} -> {to}: {letter}")), "{text}");
                }
            }
        }
    }

    #[test]
    fn neighbours_are_told_with_their_address() {
        let texts: Vec<_> = fixtures::events().into_iter().map(told).collect();

        assert_eq!(
            texts,
            [
                "group1: 10.50.0.12 has another virtual IP: 10.50.0.6",
                "group1: 31 packets not used: authentication-value, the last one from 10.50.0.12",
                "group1: somebody else speaks from our address 10.50.0.12",
                "group1: learned the virtual IP 10.50.0.5",
                "group1: priority 110 -> 90",
                "group1: state standby -> active: c/active timer expired",
            ]
        );
    }

    #[test]
    fn a_daemon_that_stood_still_is_a_warning() {
        let changed =
            |cause| severity(&Event::StateChanged { from: State::Active, to: State::Initial, cause });

        assert_eq!(changed(Cause::Disabled), Severity::Info);
        assert_eq!(changed(Cause::Stalled), Severity::Warn);
    }

    #[test]
    fn packets_of_other_groups_are_no_reason_to_worry() {
        let worrying: Vec<_> = Discard::ALL
            .into_iter()
            .filter(|discard| {
                let source = "10.50.0.12".parse().unwrap();
                severity(&Event::Discarded { source, discard: *discard, count: 1 }) == Severity::Warn
            })
            .map(Discard::as_str)
            .collect();

        assert_eq!(
            worrying,
            ["authentication-scheme", "authentication-value", "malformed", "off-subnet", "other-version"]
        );
    }

    fn told(event: Event) -> String {
        super::super::Event::Standby { group: "group1".parse().unwrap(), event }.to_string()
    }
}
