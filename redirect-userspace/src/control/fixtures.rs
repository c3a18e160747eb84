//! One snapshot for the tests of everything that shows it.

use super::*;
use crate::ike::config::Name;
use crate::ike::wire::{AddressRange, ChildSpi, Ports, Span, SpiI, SpiR, TrafficSelector};
use crate::ike::{
    ChildSnapshot, CountSnapshot, Discard as IkeDiscard, Failure, RedirectExchange, SaId, SaSnapshot,
    SaState, Usage,
};
use crate::radius::{
    Discard as RadiusDiscard, Outcome, Role as RadiusRole, ServerSnapshot, ServerState, Tally,
};

/// A static cluster of three, with a part of the table unassigned.
pub(crate) fn snapshot() -> Snapshot {
    let mut counters = RedirectView::counters(&[]);
    for (reason, packets) in [
        (Reason::Redirected, 2468),
        (Reason::NotIkePort, 999_999),
        (Reason::NoRedirectSupport, 3),
        (Reason::LocalIsLlg, 3),
    ] {
        counters.insert(reason.name().to_owned(), packets);
    }
    let certificate = |kind: &str, owner: &str, file: &str, until: &str, left_s| CertificateView {
        kind: kind.to_owned(),
        file: format!("/etc/redirectd/{file}"),
        owner: owner.to_owned(),
        until: until.to_owned(),
        left_s,
    };
    Snapshot {
        certificates: [
            certificate("own", "CN=vpn.example.net", "vpn.crt", "2027-01-22T08:00:00.000Z", 604_800),
            certificate("ca", "CN=VPN CA", "ca.crt", "2027-01-16T08:00:00.000Z", 86_400),
            certificate("crl", "CN=VPN CA", "ca.crl", "2027-01-15T07:59:00.000Z", -60),
        ]
        .into(),
        drain: DrainStatus::default(),
        at: UnixTime::from_epoch(Duration::from_secs(1_800_000_000)),
        redirect: RedirectView {
            attached: vec![
                Attachment {
                    interface: "eth0".to_owned(),
                    mode: AttachMode::Native,
                    program_id: Some(42),
                    why: "the driver supports XDP".to_owned(),
                },
                Attachment {
                    interface: "eth1".to_owned(),
                    mode: AttachMode::Userspace,
                    program_id: None,
                    why: "native: Operation not supported; generic: the interface's MTU is too large"
                        .to_owned(),
                },
            ],
            armed: true,
            disarmed_reason: None,
            counters,
            gateways: vec![
                redirects("gw1", &["10.50.0.11"], 617),
                redirects("gw2", &["10.50.0.12", "fd50::12"], 1234),
                redirects("gw3", &["gw3.vpn.example.net"], 617),
            ],
            dataplane: Some(DataplaneView {
                name: "userspace".to_owned(),
                reason: Some("the kernel has no ESP".to_owned()),
            }),
        },
        cluster: ClusterView {
            role: Role::None,
            status: "static".to_owned(),
            standby_group: None,
            vip: vec!["10.50.0.5".to_owned(), "fd50::5".to_owned()],
            policy: "balanced".to_owned(),
            overload_limit: 99,
            overload_action: "spread".to_owned(),
            holdtime_ms: None,
            hello_ms: None,
            update_ms: None,
            told_by: None,
            told_ms: None,
            gateways: vec![
                gateway("gw1", &["10.50.0.11"], true, GatewayState::Up, 0.25, 617),
                gateway("gw2", &["10.50.0.12", "fd50::12"], false, GatewayState::Up, 0.5, 1234),
                gateway("gw3", &["gw3.vpn.example.net"], false, GatewayState::Draining, 0.125, 617),
            ],
            drained_away: Vec::new(),
        },
        llg: LlgView {
            generation: 7,
            slots: 1024,
            gateways: vec![slots("gw1", 256), slots("gw2", 512), slots("gw3", 128)],
        },
        standby: standby(),
        ike: Some(figures()),
    }
}

/// A gateway with a few SAs.
pub(crate) fn figures() -> IkeFigures {
    let mut figures = IkeFigures {
        counts: CountSnapshot { half_open: 3, established: 812, children: 820 },
        carried: Usage { bytes_in: 123_456, bytes_out: 7_890, packets_in: 120, packets_out: 78, idle: None },
        ..IkeFigures::default()
    };
    figures.counters.established_responder = 900;
    figures.counters.established_initiator = 1;
    figures.counters.cookies = 17;
    for exchange in RedirectExchange::ALL {
        figures.counters.redirect(*exchange);
    }
    figures.counters.redirect(RedirectExchange::Auth);
    figures.counters.unknown_answered = 2;
    figures.counters.failure(Failure::NoProposal);
    figures.counters.discard(IkeDiscard::Integrity);
    for millis in [4, 4, 30] {
        figures.durations.note(Duration::from_millis(millis));
    }
    figures.radius = radius();
    figures
}

/// A server that lets clients in and is gone, and one that keeps accounts.
fn radius() -> RadiusFigures {
    let server = |port, role, state, outstanding, tally| ServerSnapshot {
        address: ([10, 50, 0, 200], port).into(),
        role,
        state,
        since: Duration::from_secs(61),
        outstanding,
        waiting: 0,
        tally,
    };
    let tally = Tally {
        requests: 907,
        retransmissions: 7,
        answered: 901,
        unanswered: 9,
        discarded: 2,
        round_trip: Some(Duration::from_micros(1_250)),
    };
    let mut figures = RadiusFigures::default();
    figures.counters.outcome(Outcome::Accepted);
    figures.counters.discard(RadiusDiscard::WrongAuthenticator);
    figures.servers = vec![
        server(1812, RadiusRole::Authentication, ServerState::Dead, 3, tally),
        server(1813, RadiusRole::Accounting, ServerState::Up, 0, Tally::default()),
    ];
    figures
}

/// An SA of a client behind a NAT that was redirected here, and one that is being made.
pub(crate) fn sas() -> [SaReport; 2] {
    let prefix = |first: [u8; 4], last: [u8; 4], protocol, ports| TrafficSelector::Ip {
        protocol,
        ports,
        addresses: AddressRange::V4(Span::new(first.into(), last.into()).unwrap()),
    };
    let child = ChildSnapshot {
        inbound: ChildSpi(0xc232_0001.try_into().unwrap()),
        outbound: ChildSpi(0x3076_c002.try_into().unwrap()),
        suite: "aes256gcm16-noesn".into(),
        is_encapsulated: true,
        local_ts: Arc::new([
            prefix([10, 99, 0, 0], [10, 99, 255, 255], 0, Ports::Any),
            prefix([10, 97, 0, 1], [10, 97, 0, 1], 6, Ports::one(443)),
        ]),
        remote_ts: Arc::new([prefix([10, 98, 0, 1], [10, 98, 0, 1], 0, Ports::Any)]),
        age: Duration::from_secs(700),
        rekey_in: Some(Duration::from_secs(2_800)),
    };
    let client = SaSnapshot {
        id: SaId(7),
        is_initiator: false,
        state: SaState::Established,
        local: "10.50.0.11:4500".parse().unwrap(),
        remote: "192.0.2.7:61234".parse().unwrap(),
        local_id: "vpn.example.net".into(),
        remote_id: "alice@example.net".into(),
        profile: Name::new("remote-access"),
        spi_i: SpiI(0x1122_3344_5566_7788.try_into().unwrap()),
        spi_r: Some(SpiR(0x99aa_bbcc_ddee_ff00.try_into().unwrap())),
        suite: "aes256gcm16-prfsha384-ecp384".into(),
        age: Duration::from_secs(735),
        rekey_in: Some(Duration::from_secs(13_665)),
        redirected_from: Some([10, 50, 0, 5].into()),
        follows_redirects: true,
        is_resumed: false,
        is_peer_behind_nat: true,
        are_we_behind_nat: false,
        is_mobile: true,
        addresses: vec![[10, 98, 0, 1].into(), "fd98::1".parse().unwrap()],
        children: vec![child],
    };
    let beginning = SaSnapshot {
        id: SaId(8),
        is_initiator: true,
        state: SaState::HalfOpen,
        local: "[fd50::11]:500".parse().unwrap(),
        remote: "[fd60::7]:500".parse().unwrap(),
        remote_id: "".into(),
        profile: Name::new("hq"),
        spi_r: None,
        suite: "".into(),
        age: Duration::from_secs(1),
        rekey_in: None,
        redirected_from: None,
        is_peer_behind_nat: false,
        addresses: Vec::new(),
        children: Vec::new(),
        ..client.clone()
    };
    let usage = Usage {
        bytes_in: 123_456,
        bytes_out: 7_890,
        packets_in: 120,
        packets_out: 78,
        idle: Some(Duration::from_secs(4)),
    };
    [
        SaReport { sa: client, usage: vec![usage], methods: Some([Method::Pubkey, Method::Psk]) },
        SaReport { sa: beginning, usage: Vec::new(), methods: None },
    ]
}

/// The same members, elected: a master with two slaves, one of them overloaded, and a member that
/// does not report.
pub(crate) fn elected() -> ClusterView {
    let reported = |mut gateway: GatewayView, role, [crypto, system, load]: [f64; 3], heard| {
        gateway.role = Some(role);
        gateway.weight = None;
        gateway.priority = Some(100);
        gateway.crypto_load = Some(crypto);
        gateway.system_load = Some(system);
        gateway.load = Some(load);
        gateway.sessions = Some(812);
        gateway.max_session = Some(10_000);
        gateway.last_seen_ms = Some(heard);
        gateway.why = Some("load".to_owned());
        gateway
    };
    let one = gateway("gw1", &["10.50.0.11"], true, GatewayState::Up, 0.25, 617);
    let two = gateway("gw2", &["10.50.0.12", "fd50::12"], false, GatewayState::Up, 0.625, 1234);
    let three = gateway("gw3", &["gw3.vpn.example.net"], false, GatewayState::Overloaded, 0.0, 617);
    ClusterView {
        role: Role::Master,
        status: "up".to_owned(),
        standby_group: Some("group1".to_owned()),
        vip: vec!["10.50.0.5".to_owned(), "fd50::5".to_owned()],
        policy: "balanced".to_owned(),
        overload_limit: 80,
        overload_action: "spread".to_owned(),
        holdtime_ms: Some(3_000),
        hello_ms: Some(1_000),
        update_ms: Some(5_000),
        told_by: None,
        told_ms: None,
        gateways: vec![
            reported(one, GatewayRole::Master, [8.12, 40.5, 24.31], 0),
            reported(two, GatewayRole::Slave, [5.0, 19.68, 12.34], 730),
            reported(three, GatewayRole::Slave, [99.0, 61.0, 80.0], 62_345),
            gateway("gw9", &["10.50.0.19"], false, GatewayState::Up, 0.125, 0),
        ],
        drained_away: Vec::new(),
    }
}

/// Two groups: one that is active, one that has another active router.
pub(crate) fn standby() -> Vec<StandbyView> {
    let active = StandbyView {
        name: "group1".to_owned(),
        name_is_default: false,
        group: 1,
        version: 2,
        interface: "eth0".to_owned(),
        state: StandbyState::Active,
        vip: vec!["10.50.0.5".to_owned(), "fd50::5".to_owned()],
        link_local: None,
        virtual_mac: "0000.0c9f.f001".to_owned(),
        use_bia: false,
        priority: 90,
        configured_priority: Some(110),
        preempt: true,
        preempt_delay_minimum_ms: 5_000,
        preempt_delay_reload_ms: 0,
        active_router: Some("local".to_owned()),
        active_priority: None,
        active_expires_ms: None,
        standby_router: Some("10.50.0.12".to_owned()),
        standby_priority: Some(100),
        standby_expires_ms: Some(9_100),
        hello_ms: 3_000,
        hold_ms: 10_000,
        configured_hello_ms: Some(3_000),
        configured_hold_ms: Some(10_000),
        next_hello_ms: Some(2_848),
        state_changes: 2,
        last_change_ms: Some(3_723_000),
        authentication: AuthenticationKind::Md5,
        track: vec![TrackView { interface: "eth1".to_owned(), decrement: 20, up: Some(false) }],
        discards: BTreeMap::from([("authentication-value".to_owned(), 12), ("other-group".to_owned(), 3)]),
    };
    let other = StandbyView {
        name: "hsrp-eth0-10".to_owned(),
        name_is_default: true,
        group: 10,
        state: StandbyState::Standby,
        vip: vec!["fd51::5".to_owned()],
        link_local: Some("fe80::5:73ff:fea0:a".to_owned()),
        virtual_mac: "0005.73a0.000a".to_owned(),
        priority: 100,
        configured_priority: Some(100),
        preempt: false,
        preempt_delay_minimum_ms: 0,
        active_router: Some("fe80::1".to_owned()),
        active_priority: Some(120),
        active_expires_ms: Some(816),
        standby_router: Some("local".to_owned()),
        standby_priority: None,
        standby_expires_ms: None,
        hello_ms: 250,
        hold_ms: 800,
        configured_hello_ms: None,
        configured_hold_ms: None,
        next_hello_ms: Some(51),
        state_changes: 1,
        last_change_ms: Some(1_000_000_000),
        authentication: AuthenticationKind::Text,
        track: Vec::new(),
        discards: BTreeMap::new(),
        ..active.clone()
    };
    vec![active, other]
}

/// An entry of the journal.
pub(crate) fn event(sequence: u64) -> EventEntry {
    EventEntry {
        sequence,
        time: format!("2026-01-31T23:59:{sequence:02}.000Z"),
        severity: "info".to_owned(),
        event: "member-up".to_owned(),
        text: "gw2 is up".to_owned(),
        fields: BTreeMap::from([("gateway".to_owned(), "gw2".to_owned())]),
        count: 1,
    }
}

fn redirects(name: &str, addresses: &[&str], redirects: u64) -> GatewayRedirects {
    GatewayRedirects { name: name.to_owned(), addresses: owned(addresses), redirects }
}

fn gateway(
    name: &str,
    addresses: &[&str],
    is_self: bool,
    state: GatewayState,
    share: f64,
    redirects: u64,
) -> GatewayView {
    GatewayView {
        name: name.to_owned(),
        addresses: owned(addresses),
        is_self,
        told: false,
        role: Some(GatewayRole::Static),
        state,
        weight: Some(1),
        priority: None,
        crypto_load: None,
        system_load: None,
        load: None,
        sessions: None,
        max_session: None,
        share,
        redirects,
        last_seen_ms: None,
        why: None,
    }
}

fn slots(name: &str, slots: u32) -> LlgGateway {
    LlgGateway { name: name.to_owned(), slots }
}

fn owned(addresses: &[&str]) -> Vec<String> {
    addresses.iter().map(|address| (*address).to_owned()).collect()
}

/// A directory of its own for one test, removed afterwards.
pub(crate) struct TempDir(std::path::PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);

        let name = format!("redirectd-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // What is left behind does no harm, and a panic here would hide the test's own.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
