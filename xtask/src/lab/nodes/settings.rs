//! What a node of the cluster is told: settings that tests vary, and the file they become.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::lab::gateway;
use crate::lab::topology::{VIP4, VIP6};

/// Name of the HSRP group, which the cluster is bound to.
pub const GROUP: &str = "group1";

/// How fast the election is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Time between two hellos.
    pub hello: Duration,
    /// How long a silent Active is believed in.
    pub hold: Duration,
}

impl Pace {
    /// What a busy machine can keep up with.
    pub const CALM: Self = Self::new(250, 800);
    /// For tests in which time is the subject.
    pub const BRISK: Self = Self::new(50, 150);
    /// The fastest that HSRP's limits allow.
    pub const FASTEST: Self = Self::new(15, 50);

    /// A pace in milliseconds.
    #[must_use]
    pub const fn new(hello: u64, hold: u64) -> Self {
        Self { hello: Duration::from_millis(hello), hold: Duration::from_millis(hold) }
    }
}

/// Settings of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Priority in the election.
    pub priority: u8,
    /// Whether it takes over from an Active of lower priority.
    pub preempt: bool,
    /// Timers of the election.
    pub pace: Pace,
    /// Key of the election's messages, if they are authenticated.
    pub election_key: Option<String>,
    /// The virtual IPs; the election runs in the family of the first.
    pub vips: Vec<IpAddr>,
    /// Key of the load reports.
    pub cluster_key: String,
    /// Another one that is accepted, while the key is being changed.
    pub accept_key: Option<String>,
    /// TCP port of the load reports.
    pub port: u16,
    /// How long a silent slave is believed in.
    pub holdtime: Duration,
    /// Time between a slave's signs of life.
    pub slave_hello: Duration,
    /// Time between a slave's load reports.
    pub update: Duration,
    /// What counts as full.
    pub max_session: u32,
    /// `balanced` or `least-loaded`.
    pub policy: String,
    /// How the fast path is attached.
    pub mode: String,
    /// Hook, called at every change of state.
    pub notify: Option<String>,
    /// Whether it is drained before it ends.
    pub drains_before_stop: bool,
    /// The gateway that the daemon itself is, if it is one.
    pub ike: Option<gateway::Settings>,
}

impl Settings {
    /// The settings of node `number`: the first has the highest priority.
    #[must_use]
    pub fn of(number: u8) -> Self {
        Self {
            priority: 120_u8.saturating_sub(number),
            preempt: false,
            pace: Pace::CALM,
            election_key: Some(String::from("the election's key")),
            vips: vec![VIP4.into(), VIP6.into()],
            cluster_key: String::from("the cluster's key, which protects nothing"),
            accept_key: None,
            port: 2012,
            holdtime: Duration::from_secs(2),
            slave_hello: Duration::from_millis(500),
            update: Duration::from_secs(1),
            max_session: 200,
            policy: String::from("balanced"),
            mode: String::from("auto"),
            notify: None,
            drains_before_stop: false,
            ike: None,
        }
    }
}

/// Who a node is, and where its daemon keeps things.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity<'a> {
    pub(super) name: &'a str,
    pub(super) addresses: [IpAddr; 2],
    pub(super) socket: &'a Path,
    pub(super) pins: &'a Path,
}

/// The configuration file of a node.
pub(super) fn file(identity: Identity<'_>, settings: &Settings) -> Result<String> {
    let Identity { name, addresses, socket, pins } = identity;
    let vips = quoted(&settings.vips);
    let mut text = format!(
        r#"[node]
name = "{name}"
addresses = {addresses}

[runtime]
socket = "{socket}"
bpf-pin = "{pins}"
metrics = "127.0.0.1:9469"

[fast-path]
interfaces = ["eth0"]
mode = "{mode}"

[[hsrp]]
name = "{GROUP}"
interface = "eth0"
group = 1
version = 2
vip = {vips}
priority = {priority}
preempt = {preempt}
hello = "{hello}ms"
hold = "{hold}ms"
"#,
        addresses = quoted(&addresses),
        socket = socket.display(),
        pins = pins.display(),
        mode = settings.mode,
        priority = settings.priority,
        preempt = settings.preempt,
        hello = settings.pace.hello.as_millis(),
        hold = settings.pace.hold.as_millis(),
    );
    if let Some(key) = &settings.election_key {
        writeln!(text, "authentication = {{ md5 = {{ key = {key:?} }} }}")?;
    }
    if let Some(notify) = &settings.notify {
        writeln!(text, "notify = {notify:?}")?;
    }
    write!(
        text,
        r#"
[cluster]
standby-group = "{GROUP}"
port = {port}
holdtime = "{holdtime}ms"
key = {key:?}
{accept_key}
[cluster.master]
policy = "{policy}"

[cluster.slave]
hello = "{slave_hello}ms"
update = "{update}ms"
max-session = {max_session}
"#,
        port = settings.port,
        holdtime = settings.holdtime.as_millis(),
        key = settings.cluster_key,
        accept_key =
            settings.accept_key.as_ref().map(|key| format!("accept-key = {key:?}\n")).unwrap_or_default(),
        policy = settings.policy,
        slave_hello = settings.slave_hello.as_millis(),
        update = settings.update.as_millis(),
        max_session = settings.max_session,
    )?;
    if settings.drains_before_stop {
        text.push_str("\n[redirect.drain]\nbefore-stop = true\n");
    }
    if let Some(ike) = &settings.ike {
        text.push_str(&gateway::sections(ike)?);
    }
    Ok(text)
}

fn quoted(addresses: &[IpAddr]) -> String {
    format!("{:?}", addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(settings: &Settings) -> String {
        let identity = Identity {
            name: "gw2",
            addresses: ["10.50.0.12".parse().unwrap(), "fd50::12".parse().unwrap()],
            socket: Path::new("/lab/gw2.sock"),
            pins: Path::new("/lab/bpf/gw2"),
        };
        file(identity, settings).unwrap()
    }

    #[test]
    fn a_node_is_told_who_it_is_and_whom_it_stands_for() {
        let text = text(&Settings::of(2));

        for line in [
            r#"addresses = ["10.50.0.12", "fd50::12"]"#,
            r#"vip = ["10.50.0.5", "fd50::5"]"#,
            "priority = 118",
            r#"hello = "250ms""#,
            r#"authentication = { md5 = { key = "the election's key" } }"#,
            r#"standby-group = "group1""#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn an_election_without_a_key_has_no_authentication() {
        let text = text(&Settings { election_key: None, ..Settings::of(1) });

        assert!(!text.contains("authentication"), "{text}");
        assert!(!text.contains("notify"), "{text}");
        assert!(!text.contains("[ike"), "{text}");
    }

    #[test]
    fn a_node_that_is_a_gateway_has_pools_of_its_own() {
        let ike = Some(gateway::Settings::of_node(2, "gw2"));

        let text = text(&Settings { ike, ..Settings::of(2) });

        for line in [
            r#"subnet = "10.98.2.0/24""#,
            r#"local-id = "gw2""#,
            r#"local-ts = ["10.99.2.0/24", "fd99:2::/64"]"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
