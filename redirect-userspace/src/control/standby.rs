//! The standby groups in the words of the control socket.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::hsrp::{Authentication as Authenticated, Discard, RouterSnapshot, Snapshot, State, TrackSnapshot};

/// One standby group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StandbyView {
    /// The standby name.
    pub name: String,
    /// Whether the name follows from interface and number.
    #[serde(default)]
    pub name_is_default: bool,
    /// The number.
    pub group: u16,
    /// Version of the protocol.
    pub version: u8,
    /// Where it runs.
    pub interface: String,
    /// The state.
    pub state: StandbyState,
    /// The virtual addresses, the one of the election first.
    pub vip: Vec<String>,
    /// In an IPv6 group: the link-local address by which the election goes.
    #[serde(default)]
    pub link_local: Option<String>,
    /// As `0000.0c9f.f001`.
    pub virtual_mac: String,
    /// Whether the virtual MAC is the interface's own.
    #[serde(default)]
    pub use_bia: bool,
    /// The priority now, after tracking.
    pub priority: u8,
    /// The priority as configured.
    #[serde(default)]
    pub configured_priority: Option<u8>,
    /// Whether it takes over from a live active router of lower priority.
    pub preempt: bool,
    /// Milliseconds from the interface's coming up to the first take-over of that kind.
    #[serde(default)]
    pub preempt_delay_minimum_ms: u64,
    /// The same from the daemon's start.
    #[serde(default)]
    pub preempt_delay_reload_ms: u64,
    /// `local`, or where its hellos come from; nothing while it is unknown.
    pub active_router: Option<String>,
    /// The priority of another active router.
    #[serde(default)]
    pub active_priority: Option<u8>,
    /// Milliseconds until another active router is given up unless it is heard.
    #[serde(default)]
    pub active_expires_ms: Option<u64>,
    /// `local`, or where its hellos come from; nothing while it is unknown.
    pub standby_router: Option<String>,
    /// The priority of another standby router.
    #[serde(default)]
    pub standby_priority: Option<u8>,
    /// Milliseconds until another standby router is given up unless it is heard.
    #[serde(default)]
    pub standby_expires_ms: Option<u64>,
    /// Milliseconds between hellos: configured, learned or default.
    pub hello_ms: u64,
    /// Milliseconds for which a hello counts.
    pub hold_ms: u64,
    /// The configured time, if there is one.
    #[serde(default)]
    pub configured_hello_ms: Option<u64>,
    /// The configured time, if there is one.
    #[serde(default)]
    pub configured_hold_ms: Option<u64>,
    /// Milliseconds until the next hello is sent, in states that send any.
    #[serde(default)]
    pub next_hello_ms: Option<u64>,
    /// How often the state has changed.
    pub state_changes: u64,
    /// Milliseconds since it changed last.
    #[serde(default)]
    pub last_change_ms: Option<u64>,
    /// How packets are authenticated. Neither text nor key is ever told.
    #[serde(default)]
    pub authentication: AuthenticationKind,
    /// Interfaces without which the priority is lower.
    #[serde(default)]
    pub track: Vec<TrackView>,
    /// Packets that were not used, by [`Discard::as_str`], all reasons.
    #[serde(default)]
    pub discards: BTreeMap<String, u64>,
}

/// States of a group (`RFC 2281 §5.3`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StandbyState {
    /// HSRP does not run.
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

/// How packets are authenticated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthenticationKind {
    /// By a word in the clear.
    #[default]
    Text,
    /// By keyed MD5.
    Md5,
}

/// A tracked interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TrackView {
    /// The interface.
    pub interface: String,
    /// What its loss costs.
    pub decrement: u8,
    /// Whether it is up; nothing while that is unknown.
    pub up: Option<bool>,
}

impl StandbyState {
    /// Every state, in the order of RFC 2281.
    pub const ALL: [Self; 6] =
        [Self::Initial, Self::Learn, Self::Listen, Self::Speak, Self::Standby, Self::Active];

    /// The name in JSON and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
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

impl From<State> for StandbyState {
    fn from(state: State) -> Self {
        match state {
            State::Initial => Self::Initial,
            State::Learn => Self::Learn,
            State::Listen => Self::Listen,
            State::Speak => Self::Speak,
            State::Standby => Self::Standby,
            State::Active => Self::Active,
        }
    }
}

impl StandbyView {
    /// What `show standby` tells about a group on `interface`.
    #[must_use]
    pub fn new(interface: &str, group: &Snapshot) -> Self {
        let Snapshot { settings, state, state_changes, last_change, vips, virtual_mac, priority, .. } = group;
        let Snapshot { timers, next_hello, active, standby, track, discards, .. } = group;
        let (active, standby) = (Router::from(*active), Router::from(*standby));
        Self {
            name: settings.name.to_string(),
            name_is_default: *settings.name.as_str() == *format!("hsrp-{interface}-{}", settings.group),
            group: settings.group.value(),
            version: settings.version.number(),
            interface: interface.to_owned(),
            state: (*state).into(),
            vip: vips.iter().map(IpAddr::to_string).collect(),
            link_local: settings.election_vip().filter(IpAddr::is_ipv6).map(|address| address.to_string()),
            virtual_mac: virtual_mac.to_string(),
            use_bia: settings.use_bia,
            priority: *priority,
            configured_priority: Some(settings.priority),
            preempt: settings.preempt.is_some(),
            preempt_delay_minimum_ms: settings.preempt.map_or(0, |preempt| millis(preempt.delay_minimum)),
            preempt_delay_reload_ms: settings.preempt.map_or(0, |preempt| millis(preempt.delay_reload)),
            active_router: active.name,
            active_priority: active.priority,
            active_expires_ms: active.expires_ms,
            standby_router: standby.name,
            standby_priority: standby.priority,
            standby_expires_ms: standby.expires_ms,
            hello_ms: millis(timers.hello()),
            hold_ms: millis(timers.hold()),
            configured_hello_ms: settings.timers.map(|timers| millis(timers.hello())),
            configured_hold_ms: settings.timers.map(|timers| millis(timers.hold())),
            next_hello_ms: next_hello.map(millis),
            state_changes: *state_changes,
            last_change_ms: last_change.map(millis),
            authentication: match settings.authentication {
                Authenticated::Text(_) => AuthenticationKind::Text,
                Authenticated::Md5(_) => AuthenticationKind::Md5,
            },
            track: track.iter().map(TrackView::from).collect(),
            discards: Discard::ALL
                .iter()
                .map(|why| (why.as_str().to_owned(), discards.get(why).copied().unwrap_or(0)))
                .collect(),
        }
    }
}

impl From<&TrackSnapshot> for TrackView {
    fn from(track: &TrackSnapshot) -> Self {
        Self { interface: track.interface.to_string(), decrement: track.decrement, up: track.is_up }
    }
}

/// Active or standby router.
#[derive(Default)]
struct Router {
    name: Option<String>,
    priority: Option<u8>,
    expires_ms: Option<u64>,
}

impl From<Option<RouterSnapshot>> for Router {
    fn from(router: Option<RouterSnapshot>) -> Self {
        match router {
            None => Self::default(),
            Some(RouterSnapshot::Local) => Self { name: Some("local".to_owned()), ..Self::default() },
            Some(RouterSnapshot::Remote { address, priority, expires }) => Self {
                name: Some(address.to_string()),
                priority: Some(priority),
                expires_ms: Some(millis(expires)),
            },
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hsrp::{
        Authentication, GroupNumber, MacAddress, Md5Key, Md5Keys, Preempt, Settings, Timers, Version,
    };
    use crate::secret::Secret;

    #[test]
    fn every_field_of_the_contract_is_there() {
        let value = serde_json::to_value(StandbyView::new("eth0", &snapshot())).unwrap();

        for (name, expected) in [
            ("name", json!("group1")),
            ("group", json!(1)),
            ("version", json!(2)),
            ("interface", json!("eth0")),
            ("state", json!("standby")),
            ("vip", json!(["10.50.0.5", "fd50::5"])),
            ("virtual-mac", json!("0000.0c9f.f001")),
            ("priority", json!(90)),
            ("preempt", json!(true)),
            ("active-router", json!("10.50.0.11")),
            ("standby-router", json!("local")),
            ("hello-ms", json!(250)),
            ("hold-ms", json!(800)),
            ("state-changes", json!(4)),
        ] {
            assert_eq!(value[name], expected, "{name}");
        }
    }

    #[test]
    fn what_operators_of_cisco_routers_look_for_is_there_too() {
        let view = StandbyView::new("eth0", &snapshot());

        assert_eq!((view.active_priority, view.active_expires_ms), (Some(120), Some(816)));
        assert_eq!((view.standby_priority, view.standby_expires_ms), (None, None));
        assert_eq!((view.priority, view.configured_priority), (90, Some(110)));
        assert_eq!((view.preempt_delay_minimum_ms, view.preempt_delay_reload_ms), (5_000, 60_000));
        assert_eq!((view.configured_hello_ms, view.configured_hold_ms), (None, None));
        assert_eq!((view.next_hello_ms, view.last_change_ms), (Some(100), Some(62_000)));
        assert_eq!(view.track, [TrackView { interface: "eth1".to_owned(), decrement: 20, up: Some(false) }]);
        assert_eq!(view.discards.len(), Discard::ALL.len());
        assert_eq!((view.discards["off-subnet"], view.discards["malformed"]), (3, 0));
        assert!(!view.name_is_default);
        assert_eq!(view.link_local, None);
    }

    #[test]
    fn no_key_is_told() {
        let mut group = snapshot();
        group.settings.authentication = Authentication::Md5(Md5Keys {
            key: Md5Key::new(Secret::new(b"sesame".to_vec())).unwrap(),
            accept: None,
            timeout: Duration::ZERO,
        });

        let view = StandbyView::new("eth0", &group);

        assert_eq!(view.authentication, AuthenticationKind::Md5);
        assert!(!serde_json::to_string(&view).unwrap().contains("sesame"));
    }

    #[test]
    fn a_group_without_a_name_of_its_own_says_so() {
        let mut group = snapshot();
        group.settings.name = "hsrp-eth0-1".parse().unwrap();

        assert!(StandbyView::new("eth0", &group).name_is_default);
        assert!(!StandbyView::new("eth1", &group).name_is_default);
    }

    #[test]
    fn an_ipv6_group_has_a_link_local_address() {
        let mut group = snapshot();
        group.settings.group = GroupNumber::new(4095).unwrap();

        group.settings.vips = vec!["fd50::5".parse().unwrap()];
        assert_eq!(StandbyView::new("eth0", &group).link_local.as_deref(), Some("fe80::5:73ff:fea0:fff"));
        group.settings.vips = vec!["fe80::1".parse().unwrap(), "fd50::5".parse().unwrap()];
        assert_eq!(StandbyView::new("eth0", &group).link_local.as_deref(), Some("fe80::1"));
    }

    #[test]
    fn states_have_the_names_of_the_protocol() {
        for (state, shown) in State::ALL.into_iter().zip(StandbyState::ALL) {
            assert_eq!(StandbyState::from(state), shown);
            assert_eq!(shown.name(), state.as_str());
            assert_eq!(serde_json::to_value(shown).unwrap(), json!(shown.name()));
        }
    }

    fn snapshot() -> Snapshot {
        Snapshot {
            settings: Settings {
                name: "group1".parse().unwrap(),
                group: GroupNumber::new(1).unwrap(),
                version: Version::V2,
                vips: vec!["10.50.0.5".parse().unwrap(), "fd50::5".parse().unwrap()],
                priority: 110,
                preempt: Some(Preempt {
                    delay_minimum: Duration::from_secs(5),
                    delay_reload: Duration::from_secs(60),
                }),
                timers: None,
                authentication: Authentication::default(),
                track: Vec::new(),
                use_bia: false,
            },
            state: State::Standby,
            state_changes: 4,
            last_change: Some(Duration::from_secs(62)),
            vips: vec!["10.50.0.5".parse().unwrap(), "fd50::5".parse().unwrap()],
            virtual_mac: MacAddress([0x00, 0x00, 0x0c, 0x9f, 0xf0, 0x01]),
            priority: 90,
            timers: Timers::new(Duration::from_millis(250), Duration::from_millis(800)).unwrap(),
            next_hello: Some(Duration::from_millis(100)),
            active: Some(RouterSnapshot::Remote {
                address: "10.50.0.11".parse().unwrap(),
                priority: 120,
                expires: Duration::from_millis(816),
            }),
            standby: Some(RouterSnapshot::Local),
            track: vec![TrackSnapshot { interface: "eth1".into(), decrement: 20, is_up: Some(false) }],
            discards: BTreeMap::from([(Discard::OffSubnet, 3)]),
        }
    }
}
