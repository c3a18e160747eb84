//! Requests and answers on the local control socket.
//!
//! The daemon's core publishes a [`Snapshot`] several times a second; the [`server`] answers
//! from the next one, so that what is shown is never older than the question, and the metrics are
//! made from the same one, so `redirectctl` and a dashboard never disagree. What changes something
//! reaches the core as a [`CoreRequest`].
//!
//! # Picture
//!
//! ```text
//! core ──watch: Snapshot─────▶ server ◀──Unix socket, one JSON object per line──▶ client
//!   ▲                            │
//!   └────mpsc: CoreRequest───────┘
//! ```
//!
//! # Invariants
//!
//! - A client, whatever it sends or leaves unsent, holds at most one of [`MAX_CLIENTS`] places
//!   for at most [`DEADLINE`] and [`MAX_REQUEST`] octets of memory for what it asks.
//! - The names below are an interface: fields and variants may be added, none is renamed.

mod certificates;
pub mod client;
mod figures;
mod radius;
mod request;
mod sa;
pub mod server;
mod standby;
mod views;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::reason::Reason;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use self::certificates::CertificateView;
pub use self::figures::{Durations, IkeFigures, RadiusFigures};
pub use self::radius::{RadiusServerView, RadiusView};
pub use self::request::{Answer, CoreAnswer, CoreRequest, CoreRequests, Envelope, Request, Response};
pub use self::sa::{
    ChildView, ClearView, MAX_PAGE, MAX_PAGE_WEIGHT, Method, SaPage, SaPageView, SaQuery, SaReport, SaRole,
    SaSelector, SaView, StartView,
};
pub use self::standby::{AuthenticationKind, StandbyState, StandbyView, TrackView};
use crate::time::UnixTime;

/// Where the daemon listens unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/redirectd/redirectd.sock";
/// Version of the protocol on the socket.
pub const PROTOCOL: u32 = 1;
/// Longest request, line end included.
pub const MAX_REQUEST: usize = 64 * 1024;
/// Most clients at a time.
pub const MAX_CLIENTS: usize = 16;
/// How long one connection may last, and how long a client waits for its answer.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// Longest time for which reported sessions may stand: an agent that died is not believed for
/// ever.
pub const MAX_VALID: Duration = Duration::from_secs(3_600);

/// Everything the operator may see of the daemon at one instant. The core publishes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// When it was taken.
    pub at: UnixTime,
    /// The fast path.
    pub redirect: RedirectView,
    /// The cluster.
    pub cluster: ClusterView,
    /// The table.
    pub llg: LlgView,
    /// The standby groups, as they are configured.
    pub standby: Vec<StandbyView>,
    /// The gateway's numbers, if this node is one. Its SAs are too many for a snapshot.
    pub ike: Option<IkeFigures>,
    /// How far this node has come in losing its clients.
    pub drain: DrainStatus,
    /// What is good until a time: certificates, lists of revoked ones, OCSP responses.
    pub certificates: Arc<[CertificateView]>,
}

/// Where the newest snapshot is read.
pub type Snapshots = watch::Receiver<Arc<Snapshot>>;

/// Where `show events` is read.
pub trait EventLog: Send + Sync {
    /// The entries after `since`, oldest first.
    fn entries(&self, since: Option<u64>) -> Vec<EventEntry>;
}

/// The fast path: where it is attached and what it did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RedirectView {
    /// The interfaces it is attached to.
    pub attached: Vec<Attachment>,
    /// Whether requests are answered.
    pub armed: bool,
    /// While not armed: why not.
    #[serde(default)]
    pub disarmed_reason: Option<String>,
    /// Packets by [`Reason::name`], all reasons.
    pub counters: BTreeMap<String, u64>,
    /// Redirects by gateway.
    pub gateways: Vec<GatewayRedirects>,
    /// Who carries the packets of this node's own Child SAs, if it is a gateway.
    #[serde(default)]
    pub dataplane: Option<DataplaneView>,
}

/// Who carries the packets of Child SAs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DataplaneView {
    /// `kernel`, `userspace` or `none`.
    pub name: String,
    /// Why it is not what would be better, where that was tried.
    #[serde(default)]
    pub reason: Option<String>,
}

/// The program at one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Attachment {
    /// The interface's name.
    pub interface: String,
    /// Where in the kernel packets are met.
    pub mode: AttachMode,
    /// The kernel's number of the program (`bpftool prog show id`); none in userspace.
    pub program_id: Option<u32>,
    /// Why this mode and not a better one.
    pub why: String,
}

/// Where packets are met, fastest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachMode {
    /// XDP in the driver, before the kernel allocates anything.
    Native,
    /// XDP in the kernel's receive path.
    Generic,
    /// A packet socket of the daemon.
    Userspace,
}

/// What one gateway was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GatewayRedirects {
    /// The gateway's name.
    pub name: String,
    /// Where clients are sent.
    pub addresses: Vec<String>,
    /// How many were.
    pub redirects: u64,
}

/// The cluster as this node sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClusterView {
    /// This node's CLB role.
    pub role: Role,
    /// Its state in one word; `static` while the members come from the configuration alone.
    pub status: String,
    /// The HSRP group that decides the role.
    pub standby_group: Option<String>,
    /// The VIPs.
    pub vip: Vec<String>,
    /// How the table is filled.
    pub policy: String,
    /// Percent of load beyond which a gateway is not offered.
    pub overload_limit: u8,
    /// What becomes of new clients when every gateway is beyond it.
    #[serde(default)]
    pub overload_action: String,
    /// Milliseconds for which a member counts as alive without being heard, where CLB is spoken.
    #[serde(default)]
    pub holdtime_ms: Option<u64>,
    /// Milliseconds between this node's signs of life, where CLB is spoken.
    #[serde(default)]
    pub hello_ms: Option<u64>,
    /// Milliseconds between this node's reports, where CLB is spoken.
    #[serde(default)]
    pub update_ms: Option<u64>,
    /// On a slave, the master that has told it the members marked [`GatewayView::told`].
    #[serde(default)]
    pub told_by: Option<String>,
    /// Milliseconds since it told them, or said that they are still the same.
    #[serde(default)]
    pub told_ms: Option<u64>,
    /// The members.
    pub gateways: Vec<GatewayView>,
    /// Names of those who are drained and no members now.
    #[serde(default)]
    pub drained_away: Vec<String>,
}

/// CLB roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Owns the VIP and the table.
    Master,
    /// Reports its load to the master.
    Slave,
    /// CLB is not spoken here.
    #[default]
    None,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GatewayView {
    /// The gateway's name.
    pub name: String,
    /// Where clients are sent.
    pub addresses: Vec<String>,
    /// Whether it is this node.
    #[serde(rename = "self")]
    pub is_self: bool,
    /// What it is in the cluster, as far as this node knows.
    #[serde(default)]
    pub role: Option<GatewayRole>,
    /// Whether this node has it from the master only: share and redirects are then not known, and
    /// it was heard by the master.
    #[serde(default)]
    pub told: bool,
    /// Whether it is offered to clients.
    pub state: GatewayState,
    /// Its configured weight; members that report have none.
    #[serde(default)]
    pub weight: Option<u32>,
    /// CLB slave priority.
    pub priority: Option<u8>,
    /// Percent of the SAs it takes that it has.
    pub crypto_load: Option<f64>,
    /// Percent of its processors or memory in use.
    pub system_load: Option<f64>,
    /// Percent, both of the above by the master's weights.
    pub load: Option<f64>,
    /// IKE and Child SAs.
    pub sessions: Option<u64>,
    /// Most IKE and Child SAs.
    pub max_session: Option<u64>,
    /// Part of the table's slots that lead to it, 0 to 1.
    pub share: f64,
    /// How many clients were sent there.
    pub redirects: u64,
    /// Milliseconds since it was heard; 0 for this node.
    pub last_seen_ms: Option<u64>,
    /// Why it has the share it has.
    #[serde(default)]
    pub why: Option<String>,
}

/// What a member is in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GatewayRole {
    /// Owns the VIP.
    Master,
    /// Reports its load to the master.
    Slave,
    /// Configured; reports nothing.
    Static,
}

/// Whether a member is offered to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GatewayState {
    /// Offered.
    Up,
    /// Alive, but beyond the overload limit.
    Overloaded,
    /// Alive, but taken out by the operator.
    Draining,
    /// Not heard of, or known not to work.
    Down,
}

/// The least loaded gateway table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LlgView {
    /// Counts published tables.
    pub generation: u32,
    /// Slots in the table.
    pub slots: u32,
    /// Who has how many.
    pub gateways: Vec<LlgGateway>,
}

/// One gateway's part of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LlgGateway {
    /// The gateway's name.
    pub name: String,
    /// Slots that lead to it.
    pub slots: u32,
}

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EventEntry {
    /// Grows by one with every event, from 1 at the daemon's start.
    pub sequence: u64,
    /// When it last happened: `2026-01-31T23:59:59.000Z`.
    pub time: String,
    /// `info`, `warn` or `error`.
    pub severity: String,
    /// The event's name.
    pub event: String,
    /// The same in words.
    pub text: String,
    /// Its details by name.
    pub fields: BTreeMap<String, String>,
    /// How often it happened in a row.
    pub count: u64,
}

/// A member is out of service, or back in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DrainView {
    /// Which.
    pub name: String,
    /// Whether it is out of service now.
    pub draining: bool,
}

/// How far this node has come in losing its clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DrainStatus {
    /// Whether it is to lose them.
    pub draining: bool,
    /// IKE SAs at the beginning.
    pub sas: u64,
    /// IKE SAs now.
    pub left: u64,
    /// Clients that were told to go to another member since.
    pub redirected: u64,
    /// Milliseconds since the beginning.
    #[serde(default)]
    pub since_ms: Option<u64>,
    /// Milliseconds from the beginning after which all that are left are deleted.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
}

/// What came of a `redirect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RedirectedView {
    /// IKE SAs that were meant.
    pub selected: u64,
    /// Clients that were told to go.
    pub redirected: u64,
}

/// What `top` shows, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Overview {
    /// The fast path.
    pub redirect: RedirectView,
    /// The cluster.
    pub cluster: ClusterView,
    /// The standby groups.
    pub standby: Vec<StandbyView>,
}

/// Reported sessions were taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReportView {
    /// Always true; a refusal is an error response.
    pub reported: bool,
}

/// The configuration was read again and is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReloadView {
    /// Always true; a refusal is an error response.
    pub reloaded: bool,
}

/// What runs here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VersionView {
    /// The daemon's version.
    pub version: String,
    /// [`PROTOCOL`].
    pub protocol: u32,
}

impl RedirectView {
    /// Names the counter values, which are indexed by [`Reason::index`]. A value that is missing
    /// counts as zero, so that every reason is always there.
    #[must_use]
    pub fn counters(values: &[u64]) -> BTreeMap<String, u64> {
        Reason::ALL
            .iter()
            .enumerate()
            .map(|(index, reason)| (reason.name().to_owned(), values.get(index).copied().unwrap_or(0)))
            .collect()
    }
}

impl AttachMode {
    /// The name operators see.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Userspace => "userspace",
        }
    }
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Master, Self::Slave, Self::None];

    /// The name operators see.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Slave => "slave",
            Self::None => "none",
        }
    }
}

impl GatewayRole {
    /// The name operators see.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Slave => "slave",
            Self::Static => "static",
        }
    }
}

impl GatewayState {
    /// The name operators see.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
            Self::Down => "down",
        }
    }

    /// Whether the member answers at all.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        match self {
            Self::Up | Self::Overloaded | Self::Draining => true,
            Self::Down => false,
        }
    }
}

#[cfg(test)]
pub(crate) mod fixtures;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn show_redirect_has_every_field_of_the_contract() {
        let value = serde_json::to_value(fixtures::snapshot().redirect).unwrap();

        assert_eq!(
            value["attached"],
            json!([
                {"interface": "eth0", "mode": "native", "program-id": 42, "why": "the driver supports XDP"},
                {"interface": "eth1", "mode": "userspace", "program-id": null,
                 "why": "native: Operation not supported; generic: the interface's MTU is too large"},
            ])
        );
        assert_eq!(value["armed"], json!(true));
        assert_eq!(value["counters"]["redirected"], json!(2468));
        assert_eq!(
            value["gateways"][1],
            json!({"name": "gw2", "addresses": ["10.50.0.12", "fd50::12"], "redirects": 1234})
        );
    }

    #[test]
    fn counters_name_every_reason_even_when_values_are_missing() {
        let counters = RedirectView::counters(&[5, 0, 7]);

        assert_eq!(counters.len(), Reason::COUNT);
        assert_eq!(counters["redirected"], 5);
        assert_eq!(counters["not-udp"], 7);
        assert_eq!(counters["rewrite-failed"], 0);
    }

    #[test]
    fn show_cluster_has_every_field_of_the_contract() {
        let value = serde_json::to_value(fixtures::snapshot().cluster).unwrap();

        assert_eq!(
            keys(&value),
            [
                "drained-away",
                "gateways",
                "hello-ms",
                "holdtime-ms",
                "overload-action",
                "overload-limit",
                "policy",
                "role",
                "standby-group",
                "status",
                "told-by",
                "told-ms",
                "update-ms",
                "vip",
            ]
        );
        assert_eq!(
            keys(&value["gateways"][0]),
            [
                "addresses",
                "crypto-load",
                "last-seen-ms",
                "load",
                "max-session",
                "name",
                "priority",
                "redirects",
                "role",
                "self",
                "sessions",
                "share",
                "state",
                "system-load",
                "told",
                "weight",
                "why",
            ]
        );
        assert_eq!(value["role"], json!("none"));
        assert_eq!(value["status"], json!("static"));
        assert_eq!(value["gateways"][0]["load"], Value::Null);
        assert_eq!(value["gateways"][0]["share"], json!(0.25));
    }

    #[test]
    fn loads_are_in_percent_and_shares_parts_of_one() {
        let value = serde_json::to_value(fixtures::elected()).unwrap();

        assert_eq!(value["role"], json!("master"));
        assert_eq!(value["gateways"][1]["load"], json!(12.34));
        assert_eq!(value["gateways"][1]["role"], json!("slave"));
        assert_eq!(value["gateways"][1]["share"], json!(0.625));
        assert_eq!(value["gateways"][1]["last-seen-ms"], json!(730));
    }

    #[test]
    fn an_older_daemons_answers_are_understood() {
        let mut cluster = serde_json::to_value(fixtures::elected()).unwrap();
        for field in ["overload-action", "holdtime-ms", "hello-ms", "update-ms"] {
            cluster.as_object_mut().unwrap().remove(field);
        }
        let gateways = cluster["gateways"].as_array_mut().unwrap();
        for gateway in gateways {
            for field in ["role", "why", "weight"] {
                gateway.as_object_mut().unwrap().remove(field);
            }
        }

        let view: ClusterView = serde_json::from_value(cluster).unwrap();

        assert_eq!((view.holdtime_ms, view.gateways[1].role), (None, None));
        assert_eq!(view.gateways[1].load, Some(12.34));
    }

    #[test]
    fn show_llg_has_every_field_of_the_contract() {
        let value = serde_json::to_value(fixtures::snapshot().llg).unwrap();

        assert_eq!(
            value,
            json!({"generation": 7, "slots": 1024, "gateways": [
                {"name": "gw1", "slots": 256}, {"name": "gw2", "slots": 512}, {"name": "gw3", "slots": 128},
            ]})
        );
    }

    #[test]
    fn names_are_the_same_in_json_and_in_text() {
        for mode in [AttachMode::Native, AttachMode::Generic, AttachMode::Userspace] {
            assert_eq!(serde_json::to_value(mode).unwrap(), json!(mode.name()));
        }
        for role in [Role::Master, Role::Slave, Role::None] {
            assert_eq!(serde_json::to_value(role).unwrap(), json!(role.name()));
        }
        for role in [GatewayRole::Master, GatewayRole::Slave, GatewayRole::Static] {
            assert_eq!(serde_json::to_value(role).unwrap(), json!(role.name()));
        }
        for state in [GatewayState::Up, GatewayState::Overloaded, GatewayState::Draining, GatewayState::Down]
        {
            assert_eq!(serde_json::to_value(state).unwrap(), json!(state.name()));
        }
    }

    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }
}
