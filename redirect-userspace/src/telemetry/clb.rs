//! What happens between master and slaves, in the words of the daemon.

use std::fmt;

use super::Severity;
use crate::clb::{Departure, Event};

/// The name operators see.
pub(super) const fn name(event: &Event) -> &'static str {
    match event {
        Event::Connected { .. } => "master-connected",
        Event::Disconnected { .. } => "master-lost",
        Event::HoldtimeDiffers { .. } => "holdtime-differs",
        Event::MemberChanged { .. } => "member-registered",
        Event::MemberDrained { .. } => "member-drained",
        Event::MemberJoined { .. } => "member-joined",
        Event::MemberLeft { .. } => "member-left",
        Event::NotConnected { .. } => "master-unreachable",
        Event::PeerRefused { .. } => "peer-refused",
    }
}

/// How much it matters.
pub(super) const fn severity(event: &Event) -> Severity {
    match event {
        Event::Connected { .. }
        | Event::MemberChanged { .. }
        | Event::MemberDrained { .. }
        | Event::MemberJoined { .. }
        | Event::MemberLeft { departure: Departure::Left(_), .. } => Severity::Info,
        Event::Disconnected { .. }
        | Event::HoldtimeDiffers { .. }
        | Event::MemberLeft { .. }
        | Event::NotConnected { .. }
        | Event::PeerRefused { .. } => Severity::Warn,
    }
}

/// Its details by name.
pub(super) fn fields(event: &Event) -> Vec<(&'static str, String)> {
    match event {
        Event::Connected { master, address } => {
            vec![("master", master.to_string()), ("address", address.to_string())]
        }
        Event::Disconnected { master, reason, refusal } => vec![
            ("master", master.to_string()),
            ("reason", reason.to_string()),
            ("refusal", or_none(refusal.as_ref())),
        ],
        Event::HoldtimeDiffers { master, ours, theirs } => vec![
            ("master", master.to_string()),
            ("ours-ms", ours.as_millis().to_string()),
            ("theirs-ms", theirs.as_millis().to_string()),
        ],
        Event::MemberChanged { name } => vec![("gateway", name.to_string())],
        Event::MemberDrained { name, is_drained } => {
            vec![("gateway", name.to_string()), ("drained", is_drained.to_string())]
        }
        Event::MemberJoined { name, from } => {
            vec![("gateway", name.to_string()), ("from", from.to_string())]
        }
        Event::MemberLeft { name, departure } => {
            vec![("gateway", name.to_string()), ("reason", departure.to_string())]
        }
        Event::NotConnected { address, reason, refusal, count } => vec![
            ("address", address.to_string()),
            ("reason", reason.to_string()),
            ("refusal", or_none(refusal.as_ref())),
            ("count", count.to_string()),
        ],
        Event::PeerRefused { from, reason, detail, count } => vec![
            ("from", from.to_string()),
            ("reason", reason.to_string()),
            ("detail", or_none(detail.as_ref())),
            ("count", count.to_string()),
        ],
    }
}

/// What is in a detail that may be missing.
pub(super) fn or_none<T: fmt::Display>(detail: Option<&T>) -> String {
    detail.map_or_else(|| "none".to_owned(), T::to_string)
}

/// In words, for a person who reads one line.
pub(super) fn display(event: &Event, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match event {
        Event::Connected { master, address } => write!(f, "reporting to master {master} at {address}"),
        Event::Disconnected { master, reason, refusal } => {
            write!(f, "no longer reporting to {master}: {reason}; it says: {}", or_none(refusal.as_ref()))
        }
        Event::HoldtimeDiffers { master, ours, theirs } => write!(
            f,
            "`holdtime` in [cluster] is {} ms here and {} ms at {master}: the master's counts",
            ours.as_millis(),
            theirs.as_millis()
        ),
        Event::MemberChanged { name } => write!(f, "{name} has registered anew"),
        Event::MemberDrained { name, is_drained } => write!(f, "{name} drained: {is_drained}"),
        Event::MemberJoined { name, from } => write!(f, "{name} has registered from {from}"),
        Event::MemberLeft { name, departure } => write!(f, "{name} is registered no more: {departure}"),
        Event::NotConnected { address, reason, refusal, count } => write!(
            f,
            "no master at {address}, {count} times: {reason}; it says: {}",
            or_none(refusal.as_ref())
        ),
        Event::PeerRefused { from, reason, detail, count } => write!(
            f,
            "{count} peers refused: {reason}, the last one from {from}; its frame: {}",
            or_none(detail.as_ref())
        ),
    }
}

#[cfg(test)]
pub(super) mod fixtures {
    use std::time::Duration;

    use crate::clb::{CloseReason, Departure, Event, Refusal};
    use crate::codec::DecodeError;

    /// One of each kind.
    pub(crate) fn events() -> Vec<Event> {
        let name = || super::super::fixtures::gateway("gw2");
        let address = "10.50.0.5:2012".parse().unwrap();
        vec![
            Event::Connected { master: name(), address },
            Event::Disconnected {
                master: name(),
                reason: CloseReason::Refused,
                refusal: Some(Refusal::DuplicateName),
            },
            Event::HoldtimeDiffers {
                master: name(),
                ours: Duration::from_secs(3),
                theirs: Duration::from_secs(2),
            },
            Event::MemberChanged { name: name() },
            Event::MemberDrained { name: name(), is_drained: true },
            Event::MemberJoined { name: name(), from: address },
            Event::MemberLeft { name: name(), departure: Departure::Lost(CloseReason::Silent) },
            Event::NotConnected {
                address,
                reason: CloseReason::ConnectFailed,
                refusal: Some(Refusal::Key),
                count: 3,
            },
            Event::PeerRefused {
                from: address,
                reason: CloseReason::WrongKey,
                detail: Some(DecodeError::Value { what: "priority", value: 0 }),
                count: 7,
            },
        ]
    }
}
