//! One snapshot for the tests of everything that shows it.

use super::*;

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
    Snapshot {
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
        },
        cluster: ClusterView {
            role: Role::None,
            status: "static".to_owned(),
            standby_group: None,
            vip: vec!["10.50.0.5".to_owned(), "fd50::5".to_owned()],
            policy: "balanced".to_owned(),
            overload_limit: 99,
            gateways: vec![
                gateway("gw1", &["10.50.0.11"], true, GatewayState::Up, 0.25, 617),
                gateway("gw2", &["10.50.0.12", "fd50::12"], false, GatewayState::Up, 0.5, 1234),
                gateway("gw3", &["gw3.vpn.example.net"], false, GatewayState::Draining, 0.125, 617),
            ],
        },
        llg: LlgView {
            generation: 7,
            slots: 1024,
            gateways: vec![slots("gw1", 256), slots("gw2", 512), slots("gw3", 128)],
        },
    }
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
