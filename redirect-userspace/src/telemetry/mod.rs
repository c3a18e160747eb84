//! What happened, for people and counters.
//!
//! The core records an [`Event`] for everything an operator may want to know; each becomes a log
//! line and an entry of the journal behind `redirectctl show events`. Numbers do not come from
//! events but from the [`Snapshot`](crate::control::Snapshot) that the core publishes.
//!
//! # Invariants
//!
//! - Every field of an event comes from the configuration, the kernel or this program, never from
//!   a packet to the VIP. Of clients of the gateway identities are told, no longer than a line: each
//!   time of those who have proved who they are, of others at a limited rate. What neighbours and peers do wrong is counted where it is met, and told at a
//!   limited rate: neither the log nor a metric can be filled up from outside.
//! - No event carries a secret.

mod clb;
mod cluster;
mod elected;
pub mod export;
mod ike;
pub mod journal;
pub mod log;
pub mod metrics;
mod papers;
mod radius;
mod standby;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clb::Event as ClbEvent;
use crate::control::AttachMode;
use crate::gateway::GatewayName;
use crate::hsrp::{Event as HsrpEvent, GroupName};
use crate::ike::Event as IkeEvent;
use crate::radius::Event as RadiusEvent;
use crate::time::UnixTime;

pub use self::elected::Elected;
use self::log::write as write_line;
pub use self::papers::Papers;
use journal::Journal;

/// Something that happened in the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Requests are answered from now on.
    Armed,
    /// The fast path could not be brought to an interface.
    AttachFailed {
        /// The interface.
        interface: String,
        /// Every mode that was tried and what the kernel said.
        why: String,
    },
    /// The fast path sees the packets of an interface.
    Attached {
        /// The interface.
        interface: String,
        /// How.
        mode: AttachMode,
        /// Why this mode and not a better one.
        why: String,
    },
    /// The fast path left an interface as it was found.
    Detached {
        /// The interface.
        interface: String,
    },
    /// Requests are passed to the stack from now on.
    Disarmed {
        /// Why.
        reason: DisarmReason,
    },
    /// The fast path asks whoever would like an SA with this node for a cookie from now on, or no longer.
    GateChanged {
        /// Whether it does.
        is_closed: bool,
        /// Cookies that it has asked for since the start.
        asked: u64,
        /// Requests that have brought a good one.
        good: u64,
    },
    /// Something happened between the master and its slaves.
    Clb(ClbEvent),
    /// Something happened in the cluster that elects its master.
    Elected(Elected),
    /// Something happened to an IKE SA.
    Ike(IkeEvent),
    /// Something happened between the gateway and its RADIUS servers.
    Radius(RadiusEvent),
    /// The core did not say in time that it is alive, and the fast path let go of the VIP.
    Lapsed {
        /// How long it was silent.
        silent_for: Duration,
    },
    /// A gateway joined the cluster.
    MemberAdded {
        /// The gateway.
        gateway: GatewayName,
    },
    /// A gateway's configuration changed.
    MemberChanged {
        /// The gateway.
        gateway: GatewayName,
        /// What is new.
        change: MemberChange,
    },
    /// A gateway is not offered any more.
    MemberDown {
        /// The gateway.
        gateway: GatewayName,
        /// Why.
        reason: DownReason,
    },
    /// This node begins to lose its clients.
    DrainBegan {
        /// IKE SAs there are.
        sas: u64,
    },
    /// This node keeps the clients that it has still, and takes others again.
    DrainCancelled {
        /// IKE SAs there are.
        left: u64,
    },
    /// This node has lost its clients.
    DrainDone {
        /// How long it took.
        took: Duration,
    },
    /// A gateway left the cluster.
    MemberRemoved {
        /// The gateway.
        gateway: GatewayName,
    },
    /// A gateway is offered to clients.
    MemberUp {
        /// The gateway.
        gateway: GatewayName,
    },
    /// Something happened to certificates, keys, lists of revoked certificates and OCSP responses.
    Papers(Papers),
    /// The configuration was refused; the one before stays in force.
    ReloadFailed {
        /// What is wrong with it.
        why: String,
    },
    /// A new configuration is in force.
    Reloaded,
    /// Something happened in a standby group.
    Standby {
        /// Which.
        group: GroupName,
        /// What.
        event: HsrpEvent,
    },
    /// The daemon runs.
    Started {
        /// Its version.
        version: &'static str,
    },
    /// The daemon ends.
    Stopped {
        /// Why.
        reason: StopReason,
    },
    /// A new table is in force.
    TablePublished {
        /// Its number.
        generation: u32,
        /// How many slots lead elsewhere than before.
        moved: u32,
    },
}

macro_rules! named {
    ($( $(#[doc = $doc:literal])+ $kind:ident { $( $(#[doc = $variant_doc:literal])+ $variant:ident = $name:literal, )+ } )+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            pub enum $kind {
                $( $(#[doc = $variant_doc])+ $variant, )+
            }

            impl $kind {
                /// The name operators see.
                #[must_use]
                pub const fn name(self) -> &'static str {
                    match self { $( Self::$variant => $name, )+ }
                }
            }
        )+
    };
}

named! {
    /// How much an event matters.
    Severity {
        /// A change an operator may want to know.
        Info = "info",
        /// Odd, but the daemon works.
        Warn = "warn",
        /// Something does not work.
        Error = "error",
    }

    /// Why requests are passed to the stack.
    DisarmReason {
        /// The core was silent for too long.
        Lapsed = "lapsed",
        /// No gateway is offered.
        NoGateway = "no-gateway",
        /// This node answers for no VIP now.
        NoVip = "no-vip",
        /// The fast path is attached nowhere.
        NotAttached = "not-attached",
        /// The configuration says so.
        Off = "off",
        /// The daemon ends.
        Stopping = "stopping",
    }

    /// Why a gateway is not offered.
    DownReason {
        /// The operator took it out.
        Draining = "draining",
        /// Too many gateways changed at once, and none of the table's indexes is free yet.
        NoIndex = "no-index",
        /// Its load is beyond the limit.
        Overloaded = "overloaded",
        /// It was not heard of in time.
        Silent = "silent",
        /// Its weight is zero.
        ZeroWeight = "zero-weight",
    }

    /// What changed about a gateway.
    MemberChange {
        /// Where clients are sent.
        Addresses = "addresses",
        /// Whether it is this node.
        Locality = "locality",
        /// How many clients are sent.
        Weight = "weight",
    }

    /// Why the daemon ends.
    StopReason {
        /// Something failed that it cannot run without.
        Error = "error",
        /// It was told to.
        Signal = "signal",
    }
}

impl Event {
    /// The name operators see.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Armed => "armed",
            Self::AttachFailed { .. } => "attach-failed",
            Self::Attached { .. } => "attached",
            Self::Detached { .. } => "detached",
            Self::Disarmed { .. } => "disarmed",
            Self::Clb(event) => clb::name(event),
            Self::DrainBegan { .. } => "drain-began",
            Self::DrainCancelled { .. } => "drain-cancelled",
            Self::DrainDone { .. } => "drain-done",
            Self::Elected(event) => event.name(),
            Self::GateChanged { .. } => "gate-changed",
            Self::Ike(event) => ike::name(event),
            Self::Radius(event) => radius::name(event),
            Self::Lapsed { .. } => "lapsed",
            Self::MemberAdded { .. } => "member-added",
            Self::MemberChanged { .. } => "member-changed",
            Self::MemberDown { .. } => "member-down",
            Self::MemberRemoved { .. } => "member-removed",
            Self::MemberUp { .. } => "member-up",
            Self::Papers(event) => event.name(),
            Self::ReloadFailed { .. } => "reload-failed",
            Self::Reloaded => "reloaded",
            Self::Standby { event, .. } => standby::name(event),
            Self::Started { .. } => "started",
            Self::Stopped { .. } => "stopped",
            Self::TablePublished { .. } => "table-published",
        }
    }

    /// How much it matters.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Armed
            | Self::DrainBegan { .. }
            | Self::DrainCancelled { .. }
            | Self::DrainDone { .. }
            | Self::Attached { .. }
            | Self::Detached { .. }
            | Self::MemberAdded { .. }
            | Self::MemberChanged { .. }
            | Self::MemberRemoved { .. }
            | Self::MemberUp { .. }
            | Self::Reloaded
            | Self::Started { .. }
            | Self::TablePublished { .. } => Severity::Info,
            Self::Disarmed { reason } => match reason {
                DisarmReason::NoVip | DisarmReason::Off | DisarmReason::Stopping => Severity::Info,
                DisarmReason::Lapsed | DisarmReason::NoGateway | DisarmReason::NotAttached => Severity::Warn,
            },
            Self::Clb(event) => clb::severity(event),
            Self::Elected(event) => event.severity(),
            Self::GateChanged { .. } => Severity::Warn,
            Self::Ike(event) => ike::severity(event),
            Self::Radius(event) => radius::severity(event),
            Self::MemberDown { reason, .. } => match reason {
                DownReason::Draining | DownReason::ZeroWeight => Severity::Info,
                DownReason::NoIndex | DownReason::Overloaded | DownReason::Silent => Severity::Warn,
            },
            Self::Papers(event) => event.severity(),
            Self::Standby { event, .. } => standby::severity(event),
            Self::Stopped { reason } => match reason {
                StopReason::Signal => Severity::Info,
                StopReason::Error => Severity::Error,
            },
            Self::AttachFailed { .. } | Self::Lapsed { .. } | Self::ReloadFailed { .. } => Severity::Error,
        }
    }

    /// Its details by name, as the log and `show events --json` have them.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Armed | Self::Reloaded => vec![],
            Self::AttachFailed { interface, why } => {
                vec![("interface", interface.clone()), ("why", why.clone())]
            }
            Self::Attached { interface, mode, why } => {
                vec![("interface", interface.clone()), ("mode", mode.name().to_owned()), ("why", why.clone())]
            }
            Self::Detached { interface } => vec![("interface", interface.clone())],
            Self::Disarmed { reason } => vec![("reason", reason.name().to_owned())],
            Self::GateChanged { is_closed, asked, good } => vec![
                ("closed", is_closed.to_string()),
                ("asked", asked.to_string()),
                ("good", good.to_string()),
            ],
            Self::Clb(event) => clb::fields(event),
            Self::DrainBegan { sas } => vec![("sas", sas.to_string())],
            Self::DrainCancelled { left } => vec![("left", left.to_string())],
            Self::DrainDone { took } => vec![("took-ms", took.as_millis().to_string())],
            Self::Elected(event) => event.fields(),
            Self::Ike(event) => ike::fields(event),
            Self::Radius(event) => radius::fields(event),
            Self::Lapsed { silent_for } => vec![("silent-ms", silent_for.as_millis().to_string())],
            Self::MemberChanged { gateway, change } => {
                vec![("gateway", gateway.to_string()), ("change", change.name().to_owned())]
            }
            Self::MemberDown { gateway, reason } => {
                vec![("gateway", gateway.to_string()), ("reason", reason.name().to_owned())]
            }
            Self::MemberAdded { gateway } | Self::MemberRemoved { gateway } | Self::MemberUp { gateway } => {
                vec![("gateway", gateway.to_string())]
            }
            Self::Papers(event) => event.fields(),
            Self::ReloadFailed { why } => vec![("why", why.clone())],
            Self::Standby { group, event } => standby::fields(group, event),
            Self::Started { version } => vec![("version", (*version).to_owned())],
            Self::Stopped { reason } => vec![("reason", reason.name().to_owned())],
            Self::TablePublished { generation, moved } => {
                vec![("generation", generation.to_string()), ("moved", moved.to_string())]
            }
        }
    }
}

/// In words, for a person who reads one line.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Armed => f.write_str("requests to the VIP are answered"),
            Self::AttachFailed { interface, why } => write!(f, "{interface}: cannot attach: {why}"),
            Self::Attached { interface, mode, why } => {
                write!(f, "{interface}: attached in {} mode: {why}", mode.name())
            }
            Self::Detached { interface } => write!(f, "{interface}: detached"),
            Self::Disarmed { reason } => write!(f, "requests go to the stack: {}", reason.name()),
            Self::GateChanged { is_closed, asked, good } => write!(
                f,
                "the fast path asks for cookies in the gateway's place: {is_closed}, {asked} so far, {good} good"
            ),
            Self::Clb(event) => clb::display(event, f),
            Self::DrainBegan { sas } => write!(f, "this node loses its clients: {sas} SAs"),
            Self::DrainCancelled { left } => write!(f, "this node keeps its clients: {left} SAs"),
            Self::DrainDone { took } => {
                write!(f, "this node has lost its clients, after {} ms", took.as_millis())
            }
            Self::Elected(event) => event.fmt(f),
            Self::Ike(event) => ike::display(event, f),
            Self::Radius(event) => radius::display(event, f),
            Self::Lapsed { silent_for } => {
                write!(f, "the core was silent for {} ms, the fast path let go", silent_for.as_millis())
            }
            Self::MemberAdded { gateway } => write!(f, "{gateway} joined"),
            Self::MemberChanged { gateway, change } => write!(f, "{gateway} has new {}", change.name()),
            Self::MemberDown { gateway, reason } => write!(f, "{gateway} is not offered: {}", reason.name()),
            Self::MemberRemoved { gateway } => write!(f, "{gateway} left"),
            Self::MemberUp { gateway } => write!(f, "{gateway} is offered"),
            Self::Papers(event) => event.fmt(f),
            Self::ReloadFailed { why } => write!(f, "configuration refused: {why}"),
            Self::Reloaded => f.write_str("the new configuration is in force"),
            Self::Standby { group, event } => standby::display(group, event, f),
            Self::Started { version } => write!(f, "redirectd {version} runs"),
            Self::Stopped { reason } => write!(f, "redirectd ends: {}", reason.name()),
            Self::TablePublished { generation, moved } => {
                write!(f, "table {generation} is in force, {moved} slots moved")
            }
        }
    }
}

/// Where the core records events.
#[derive(Clone, Debug, Default)]
pub struct Telemetry {
    journal: Arc<Journal>,
}

impl Telemetry {
    /// An empty journal; log lines go to the global subscriber, see [`log::init`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Logs the event and enters it into the journal.
    pub fn record(&self, at: UnixTime, event: &Event) {
        write_line(event);
        self.journal.record(at, event);
    }

    /// The journal, for the control server.
    #[must_use]
    pub fn journal(&self) -> Arc<Journal> {
        Arc::clone(&self.journal)
    }
}

#[cfg(test)]
pub(crate) mod fixtures {
    use super::*;

    pub(crate) fn gateway(name: &str) -> GatewayName {
        name.parse().unwrap()
    }

    /// One event of each kind.
    pub(crate) fn events() -> Vec<Event> {
        let interface = || "eth0".to_owned();
        let gateway = || gateway("gw2");
        let mut events = vec![
            Event::Armed,
            Event::AttachFailed { interface: interface(), why: "native: Operation not permitted".to_owned() },
            Event::Attached {
                interface: interface(),
                mode: AttachMode::Generic,
                why: "native: Operation not supported".to_owned(),
            },
            Event::Detached { interface: interface() },
            Event::Disarmed { reason: DisarmReason::NoGateway },
            Event::GateChanged { is_closed: true, asked: 6_000, good: 40 },
            Event::DrainBegan { sas: 12 },
            Event::DrainCancelled { left: 5 },
            Event::DrainDone { took: Duration::from_millis(4_321) },
            Event::Lapsed { silent_for: Duration::from_millis(1500) },
            Event::MemberAdded { gateway: gateway() },
            Event::MemberChanged { gateway: gateway(), change: MemberChange::Weight },
            Event::MemberDown { gateway: gateway(), reason: DownReason::Draining },
            Event::MemberRemoved { gateway: gateway() },
            Event::MemberUp { gateway: gateway() },
            Event::ReloadFailed { why: "redirectd.toml:3:1: unknown key".to_owned() },
            Event::Reloaded,
            Event::Started { version: "1.2.3" },
            Event::Stopped { reason: StopReason::Signal },
            Event::TablePublished { generation: 7, moved: 341 },
        ];
        events.extend(clb::fixtures::events().into_iter().map(Event::Clb));
        events.extend(elected::fixtures::events().into_iter().map(Event::Elected));
        events.extend(ike::fixtures::events().into_iter().map(Event::Ike));
        events.extend(papers::fixtures::events().into_iter().map(Event::Papers));
        events.extend(radius::fixtures::events().into_iter().map(Event::Radius));
        let group = || "group1".parse().unwrap();
        events.extend(
            standby::fixtures::events().into_iter().map(|event| Event::Standby { group: group(), event }),
        );
        events
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn event_names_are_unique_and_kebab_case() {
        let events = fixtures::events();
        let names: BTreeSet<_> = events.iter().map(Event::name).collect();

        assert_eq!(names.len(), events.len());
        assert!(
            names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')),
            "{names:?}"
        );
    }

    #[test]
    fn every_event_is_explained_in_the_glossary() {
        const GLOSSARY: &str = include_str!("../manual/glossary.rs");

        for event in fixtures::events() {
            let explained =
                |line: &str| line.starts_with("//! | `") && line.contains(&format!("`{}`", event.name()));
            assert_eq!(GLOSSARY.lines().filter(|line| explained(line)).count(), 1, "{}", event.name());
        }
    }

    #[test]
    fn the_words_contain_every_detail() {
        for event in fixtures::events() {
            for (name, value) in event.fields() {
                assert!(event.to_string().contains(&value), "{name}={value} is not in {event:?}: {event}");
            }
        }
    }

    #[test]
    fn what_needs_an_operator_is_a_warning_or_an_error() {
        let matters: Vec<_> = fixtures::events()
            .iter()
            .filter(|event| event.severity() != Severity::Info)
            .map(|event| (event.name(), event.severity()))
            .collect();

        assert_eq!(
            matters,
            [
                ("attach-failed", Severity::Error),
                ("disarmed", Severity::Warn),
                ("gate-changed", Severity::Warn),
                ("lapsed", Severity::Error),
                ("reload-failed", Severity::Error),
                ("master-lost", Severity::Warn),
                ("holdtime-differs", Severity::Warn),
                ("member-left", Severity::Warn),
                ("master-unreachable", Severity::Warn),
                ("peer-refused", Severity::Warn),
                ("all-overloaded", Severity::Warn),
                ("hook-failed", Severity::Warn),
                ("listen-failed", Severity::Error),
                ("real-time-denied", Severity::Warn),
                ("vip-conflict", Severity::Error),
                ("vip-failed", Severity::Error),
                ("sa-refused", Severity::Warn),
                ("connect-failed", Severity::Warn),
                ("sa-closed", Severity::Warn),
                ("child-refused", Severity::Warn),
                ("redirect-refused", Severity::Warn),
                ("cookies-changed", Severity::Warn),
                ("certificate-expires", Severity::Warn),
                ("revocation-outdated", Severity::Warn),
                ("credentials-refused", Severity::Error),
                ("radius-server-dead", Severity::Error),
                ("radius-discarded", Severity::Warn),
                ("radius-failed", Severity::Warn),
                ("hsrp-different-vip", Severity::Warn),
                ("hsrp-discarded", Severity::Warn),
                ("hsrp-duplicate-address", Severity::Warn),
            ]
        );
    }

    #[test]
    fn recorded_events_are_in_the_journal() {
        let telemetry = Telemetry::new();

        telemetry.record(UnixTime::EPOCH, &Event::Armed);

        let entries = crate::control::EventLog::entries(&*telemetry.journal(), None);
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].event, "armed");
    }
}
