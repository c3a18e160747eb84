//! Deploy, observe, recover.
//!
//! The README has the files of a two-node cluster, every command and every counter. This page is
//! about why it is built that way, and what to do when something is wrong.
//!
//! # Deploy
//!
//! **Where the daemon runs.** On every node that may own the VIP, all the time. The XDP program
//! sees only what arrives at its interface: a node that does not own the VIP counts `not-vip` or
//! nothing, and answers nothing. So there is no hand-over between nodes and no state to copy; a
//! table that was right before the VIP moved is right afterwards.
//!
//! **Same members everywhere.** The table is computed from the configured members alone, by every
//! node for itself. Nodes whose members or weights differ send clients to different places after
//! a failover. Only `[node]` differs between the files.
//!
//! **The node as a member.** A member that has the node's name or one of its addresses is the
//! node. Its share of the requests is passed to the IKE daemon beside us, which serves those
//! clients on the VIP. Such a session hangs on the VIP: when the VIP moves, the IKE daemon has to
//! move it (MOBIKE does, if the old owner is still alive), or the client starts again. To have no
//! session on the VIP, give the node a name that no member has, and no `addresses`: then its own
//! share is redirected to its own address, as `RFC 5685 §4` describes for anycast addresses.
//!
//! **One identity.** A redirected client authenticates the new gateway with the configuration it
//! has for the VIP (`RFC 5685 §3`). All gateways need the same identity, or one that the client's
//! configuration covers.
//!
//! **Order of starting.** None. keepalived, the IKE daemon and `redirectd` may come in any order:
//! requests that come too early go to the IKE daemon, or are repeated by the client.
//!
//! **The gateway.** With `[ike]` the daemon serves the clients itself that it does not redirect, and
//! those that were redirected to it: no other IKE daemon may have ports 500 and 4500 then. All
//! gateways of a cluster have the same `local-id` and certificates for it (*one identity*), and
//! pools that do not overlap: two gateways would give two clients the same address. Route each pool
//! to its gateway. Profiles are tried in their order, by the identity and the way it is proved: put
//! the special ones first. New certificates, keys and lists are taken when their files change, if they
//! can be used: `show events` says so. One that expires keeps SAs from being made, and the daemon from
//! being started; `certificate-expires` says so a month, a week and a day before.
//!
//! **Rights.** `CAP_BPF`, `CAP_NET_ADMIN` and `CAP_PERFMON` for XDP. `CAP_NET_BIND_SERVICE` for the
//! userspace mode. The control socket has mode 0660: its group may read the state, reload, drain
//! members and report sessions.
//!
//! # Observe
//!
//! | question | where |
//! |---|---|
//! | Does it answer? | `redirectctl show redirect`: armed; `redirectd_fast_path_armed` |
//! | On which interface, how? | the same, with the reason for the mode |
//! | Where do clients go? | `show llg` for the table, `show redirect` for what was sent |
//! | Why is this client not redirected? | the reason that counts while it tries: `redirectctl top` |
//! | Who is connected? | `show sa`, `show sa detail identity ID`; `redirectd_ike_sas` |
//! | Why does a client not get in? | `show events`: `sa-refused` with what was offered and what wanted; `redirectd_ike_handshakes_total` |
//! | Why is a client out again? | `show events`: `sa-closed` with the reason |
//! | When does a certificate expire? | `show certificates`, with lists and OCSP responses; `redirectd_certificate_left_seconds`; `certificate-expires` 30, 7 and 1 days before |
//! | What happened at night? | `show events` (the last 256), the log |
//! | What does the program really use? | `bpftool map dump pinned …`: the README has examples |
//!
//! `tcpdump` on the node sees neither a redirected request nor the reply to it, because XDP answers
//! before the point of capture, in native and in generic mode. Capture at the client or on the
//! switch.
//!
//! Log lines are events: `event=` has the name, the other fields are named. `--log-format json`
//! gives one object per line. Nothing of a packet to the VIP appears in the log; such packets are only
//! counted. Of clients of the gateway the identity is told: whenever one has proved it, and of others
//! at most once in ten seconds for each reason.
//!
//! # Recover
//!
//! **A gateway is dead or has to be maintained.** Members are configured, and nobody watches them.
//! Set `weight = 0` on every node and reload: from that swap on no new client is sent there, and
//! as few slots as possible change hands. Sessions are not touched. Clients that were sent there a
//! moment ago and get no answer come back to the VIP when their own patience ends.
//!
//! **All gateways have weight 0.** Every slot is empty, requests pass with `no-gateway`, and the
//! IKE daemon of the node serves the clients on the VIP.
//!
//! **The daemon died.** Within a second nothing is redirected any more, the interface is as it was
//! found, and clients are served by the IKE daemon beside it. That is a working service for as
//! many clients as one node can take, so start the daemon again: `Restart=always` in the unit. The
//! socket and the pins of the dead one are replaced.
//!
//! **`lapsed` in the log.** The daemon was not scheduled for 600 ms: a machine that swaps, a
//! suspended virtual machine, a debugger. The guard let go and the daemon has attached again. If it
//! happens often, give the unit a higher `CPUWeight` or `Nice=-5`.
//!
//! **A reload was refused.** The answer of `redirectctl reload`, the log and `show events` say what
//! is wrong, with line and column. The old configuration is in force, whole. `[runtime]`,
//! `fast-path.mode`, and of `[ike]` the addresses, workers and the data plane change only with a
//! restart.
//!
//! **A client has to go.** `redirectctl clear sa identity ID`; to keep it out, put its certificate on
//! a list of revoked ones (`crl`), or take its identity out of `remote-id`, and reload first. SAs
//! that are up keep the profile they were made under until they are cleared or end.
//!
//! **A peer is stuck.** `redirectctl rekey N` gives its SA new keys and so asks whether it lives;
//! `clear sa id N` ends it on both sides. Our own connections come back by themselves
//! (`start = "auto"`), others by `redirectctl connect NAME`.
//!
//! **A connection does not come up, or goes where it should not.** `show events`: `connect-failed`
//! has a line for every remote that was tried; `redirected` says by whom the client was sent where, and
//! in which exchange; `redirect-refused` why it has not gone. `too-many` is a loop between gateways, or
//! a gateway that sends to a dead one: the `remote` list is tried all the same. `not-allowed` needs
//! `allow` in `[redirect.client]`, `unresolved` a name server.
//!
//! **A flood of half-open SAs.** `cookies-changed` in the log, `redirectd_ike_sas{state="half-open"}`
//! at the threshold: cookies are asked for, which genuine clients answer. If `half-open-limit` or
//! `source-limit` counts among the handshakes that failed, raise the limit in `[ike.limits]` or
//! filter the source.
//!
//! **An interface vanished.** The daemon notices within a second (`detached`) and attaches again
//! when one of that name is back; if it cannot, `attach-failed` says why, once.
//!
//! **Another program has the XDP hook.** It is named and left alone, and the daemon does not start.
//! `bpftool net` shows it. After a crash of that other program: `ip link set dev IF xdp off`.
//!
//! **To be sure that nothing is left:** `bpftool net`, `ls /sys/fs/bpf/redirectd`,
//! `ls /run/redirectd`. All empty after an orderly end.
//!
//! # Upgrade
//!
//! Node by node: move the VIP away, replace the programs, restart, check `show redirect`, move the
//! VIP back. A restart on the owner of the VIP is possible as well: for the seconds it takes to
//! load, the node's IKE daemon serves new clients. The maps belong to one daemon; a new one never
//! adopts them.

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::ops::RangeInclusive;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use common::maps::{MAX_CLIENTS, MAX_VIPS, SLOTS};
    use common::reason::Reason;

    use crate::clb::{ClusterKey, LoadWeights, OverloadLimit, Settings as ClbSettings, SlaveSettings};
    use crate::config::{Config, DurationText, MAX_RECONNECT_KEYS, Mode, RECONNECT_LIFETIME, Tun, ike};
    use crate::hsrp::{GroupNumber, Md5Key, Md5Keys, Preempt, Timers, Track};
    use crate::ike::Failure;
    use crate::ike::config::{Lifetimes, Limits, Retransmission, Settings};
    use crate::ike::ticket::{Sealer, TicketKey};
    use crate::radius::config::Server;
    use crate::time::UnixTime;

    const README: &str = include_str!("../../../README.md");
    /// Pages that name tests.
    const PAGES: [&str; 2] = [include_str!("security.rs"), include_str!("conformance.rs")];
    const TESTS: [&str; 10] = [
        include_str!("../../tests/decide/main.rs"),
        include_str!("../../tests/decide/vectors.rs"),
        include_str!("../../tests/xdp/main.rs"),
        include_str!("../../tests/e2e/client.rs"),
        include_str!("../../tests/e2e/fault.rs"),
        include_str!("../../tests/e2e/gateway/certificates.rs"),
        include_str!("../../tests/e2e/redirect.rs"),
        include_str!("../../tests/e2e/reload.rs"),
        include_str!("../../tests/e2e/strongswan.rs"),
        include_str!("../../tests/e2e/vlan.rs"),
    ];
    /// What the README has made by OpenSSL.
    const PKI: [(&str, &str); 3] = [
        ("ca.crt", include_str!("../../tests/data/pki/ca.crt")),
        ("vpn.crt", include_str!("../../tests/data/pki/vpn.crt")),
        ("vpn.key", include_str!("../../tests/data/pki/vpn.key")),
    ];
    const UNIT_TESTS: [&str; 21] = [
        include_str!("../clb/master/tests.rs"),
        include_str!("../config/key.rs"),
        include_str!("../config/tests/elected.rs"),
        include_str!("../config/tests/files.rs"),
        include_str!("../config/tests/gateway.rs"),
        include_str!("../control/sa/mod.rs"),
        include_str!("../crypto/tls/tests.rs"),
        include_str!("../crypto/x509/ocsp/tests.rs"),
        include_str!("../crypto/x509/tests.rs"),
        include_str!("../ike/tests/certificates.rs"),
        include_str!("../ike/tests/resume/refusal.rs"),
        include_str!("../ike/tests/resume/back.rs"),
        include_str!("../ike/tests/resume/proof.rs"),
        include_str!("../ike/ticket/tests.rs"),
        include_str!("../fastpath/userspace/tests.rs"),
        include_str!("../ike/authn/eap/mschapv2/tests.rs"),
        include_str!("../ike/tests/eap/client.rs"),
        include_str!("../ike/tests/eap/gateway.rs"),
        include_str!("../ike/tests/client/auth.rs"),
        include_str!("../ike/tests/client/init.rs"),
        include_str!("../ike/tests/client/limits.rs"),
    ];

    #[test]
    fn every_reason_has_its_row_in_the_readme() {
        for reason in Reason::ALL {
            let row = format!("| `{}` | {} |", reason.name(), reason.meaning().trim());

            let rows = README.lines().filter(|line| line.starts_with(&row)).count();

            assert_eq!(rows, 1, "{row}");
        }
    }

    #[test]
    fn the_readme_has_no_reason_that_does_not_exist() {
        let (_, counters) = README.split_once("\n## Counters\n").unwrap();
        let (counters, _) = counters.split_once("\n## ").unwrap();

        let rows = counters.lines().filter(|line| line.starts_with("| `")).count();

        assert_eq!(rows, Reason::COUNT);
    }

    #[test]
    fn every_configuration_in_the_readme_is_valid() {
        let blocks: Vec<_> =
            README.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();

        let keys = key_files(&[
            "hsrp.key",
            "cluster.key",
            "branch7.psk",
            "reconnect1.key",
            "alice.password",
            "radius.secret",
        ]);
        for (name, content) in PKI {
            write(&keys.join(name), content);
        }
        // 2027-01-01, when the certificates are valid.
        let now = UnixTime::from_epoch(Duration::from_secs(1_798_761_600));
        let (mut elected, mut gateways) = (0, 0);
        for block in &blocks {
            let block = block.replace("/etc/redirectd/", &format!("{}/", keys.display()));
            let config = Config::parse(Path::new("README.md"), &block, now).unwrap();
            let own = config.members().iter().filter(|member| member.is_self).count();
            // A node that takes part in an election is a member by that. A gateway needs no cluster.
            let by_election = usize::from(config.cluster.election.is_some());
            assert_eq!(own + by_election, usize::from(config.ike.is_none()), "{block}");
            elected += by_election;
            gateways += usize::from(config.ike.is_some());
        }
        std::fs::remove_dir_all(&keys).unwrap();
        assert!(blocks.len() >= 3 && elected >= 1, "{} configurations, {elected} elected", blocks.len());
        assert!(gateways >= 2, "{gateways} gateways");
    }

    /// A directory with key files for the configurations that name some.
    fn key_files(names: &[&str]) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("redirectd-readme-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        for name in names {
            write(&directory.join(name), "0123456789abcdef0123456789abcdef\n");
        }
        directory
    }

    /// Writes a file that is its owner's alone.
    fn write(path: &Path, content: &str) {
        std::fs::write(path, content).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn the_readme_has_the_ranges_of_reconnect_keys() {
        let ends = |range: &RangeInclusive<Duration>| {
            format!("{} to {}", DurationText(*range.start()), DurationText(*range.end()))
        };
        for row in [
            format!("| … `secret`, `secret-file` | at least {} octets |", TicketKey::MIN_LENGTH),
            format!("| `[reconnect]` `lifetime` | {} | `\"8h\"` |", ends(&RECONNECT_LIFETIME)),
        ] {
            assert!(README.contains(&row), "{row}");
        }
        assert_eq!(MAX_RECONNECT_KEYS, 2);
        let sealer = Sealer::new("gw1", "", None, Vec::new());
        assert_eq!(sealer.lifetime(), Duration::from_secs(8 * 3_600));
    }

    #[test]
    fn every_reason_against_a_ticket_is_explained_in_the_readme() {
        let (_, section) = README.split_once("\n## Coming back by ticket\n").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();

        for failure in Failure::ALL.iter().filter(|failure| failure.as_str().starts_with("ticket")) {
            assert!(section.contains(&format!("`{failure}`")), "{failure}");
        }
    }

    #[test]
    fn the_readme_has_the_ranges_that_are_checked() {
        let between =
            |range: (Duration, Duration)| format!("{} to {}", DurationText(range.0), DurationText(range.1));
        let default = SlaveSettings::default();
        for row in [
            format!(
                "| `[cluster]` `key` | {} to {} octets |",
                ClusterKey::MIN_LENGTH,
                ClusterKey::MAX_LENGTH
            ),
            format!(
                "| `[cluster]` `accept-key` | {} to {} octets |",
                ClusterKey::MIN_LENGTH,
                ClusterKey::MAX_LENGTH
            ),
            format!("| `[cluster]` `port` | 1 to 65535 | `{}` |", ClbSettings::DEFAULT_PORT),
            format!(
                "| `[cluster]` `holdtime` | {} | `\"{}\"` |",
                between(ClbSettings::HOLDTIME),
                DurationText(ClbSettings::DEFAULT_HOLDTIME)
            ),
            format!(
                "| `[cluster.slave]` `hello` | {} | `\"{}\"` |",
                between(SlaveSettings::HELLO),
                DurationText(default.hello)
            ),
            format!(
                "| `[cluster.slave]` `update` | {} | `\"{}\"` |",
                between(SlaveSettings::UPDATE),
                DurationText(default.update)
            ),
            format!(
                "| `[cluster.slave]` `priority` | 1 to {} | `{}` |",
                SlaveSettings::MAX_PRIORITY,
                default.priority
            ),
            format!(
                "| `[cluster.slave]` `max-session` | 1 to {} | `{}` |",
                SlaveSettings::MAX_MAX_SESSION,
                default.max_session
            ),
            format!(
                "| `[cluster.master]` `overload-limit` | {} to {} | `{}` |",
                OverloadLimit::MIN,
                OverloadLimit::MAX,
                OverloadLimit::default().percent()
            ),
            format!("`crypto-load`, `system-load` | 0 to {} |", LoadWeights::MAX),
            format!("| `[[hsrp]]` `group` | 0 to 255, in version 2 to {} |", GroupNumber::MAX),
            format!("`md5` with `key` (1 to {} octets)", Md5Key::MAX_LENGTH),
            format!("`timeout` ({})", between((Duration::ZERO, Md5Keys::MAX_TIMEOUT))),
            format!("`delay-reload` ({})", between((Duration::ZERO, Preempt::MAX_DELAY))),
            format!("(1 to 255, else {})", Track::DEFAULT_DECREMENT),
            format!(
                "| `\"{}\"`, `\"{}\"`, or learned |",
                DurationText(Timers::DEFAULT.hello()),
                DurationText(Timers::DEFAULT.hold())
            ),
        ] {
            assert!(README.contains(&row), "{row}");
        }
    }

    #[test]
    fn the_readme_has_the_gateways_ranges_and_defaults() {
        let ends = |range: &RangeInclusive<Duration>| {
            format!("{} to {}", DurationText(*range.start()), DurationText(*range.end()))
        };
        let volume = |range: &RangeInclusive<u64>| format!("{} to {}", range.start(), range.end());
        let numbers = |range: &RangeInclusive<usize>| format!("{} to {}", range.start(), range.end());
        let text = |duration: Duration| format!("`\"{}\"`", DurationText(duration));
        let limits = Limits::default();
        let retransmission = Retransmission::default();
        let lifetimes = Lifetimes::default();
        let settings = Settings::default();
        let rekey = |duration: Option<Duration>| text(duration.unwrap());
        for row in [
            format!("| `[ike]` `workers` | 1 to {} |", ike::MAX_WORKERS),
            format!(
                "| `[ike]` `fragment-size` | {} to {} | `{}` |",
                ike::FRAGMENT_SIZE.start(),
                ike::FRAGMENT_SIZE.end(),
                settings.fragment_size.octets()
            ),
            format!(
                "| `[ike]` `half-open-timeout` | {} | {} |",
                ends(&ike::HALF_OPEN_TIMEOUT),
                text(settings.half_open_timeout)
            ),
            format!(
                "| `[ike]` `nat-keepalive` | {} | {} |",
                ends(&ike::NAT_KEEPALIVE),
                text(settings.nat_keepalive)
            ),
            format!("| `[ike.tun]` `name` | name of an interface | `\"{}\"` |", Tun::DEFAULT_NAME),
            format!(
                "| `[ike.tun]` `mtu` | {} to {} | `{}` |",
                ike::TUN_MTU.start(),
                ike::TUN_MTU.end(),
                Tun::DEFAULT_MTU
            ),
            format!(
                "`cookie-threshold` | {} | `{}` |",
                numbers(&ike::COOKIE_THRESHOLD),
                limits.cookie_threshold
            ),
            format!("`half-open` | {} | `{}` |", numbers(&ike::HALF_OPEN), limits.half_open),
            format!(
                "`half-open-per-source` | {} | `{}` |",
                numbers(&ike::HALF_OPEN_PER_SOURCE),
                limits.half_open_per_source
            ),
            format!(
                "`half-open-per-prefix` | {} | `{}` |",
                numbers(&ike::HALF_OPEN_PER_PREFIX),
                limits.half_open_per_prefix
            ),
            format!("`max-sas` | {} | `{}` |", numbers(&ike::SAS), limits.sas),
            format!("`max-children` | {} | `{}` |", numbers(&ike::CHILDREN), limits.children),
            format!(
                "`first`, `longest` | {} | {}, {} |",
                ends(&ike::RETRANSMISSION),
                text(retransmission.first),
                text(retransmission.longest)
            ),
            format!("`patience` | {} | {} |", ends(&ike::PATIENCE), text(retransmission.patience)),
            format!("| `psk`, `psk-file` | 1 to {} octets |", ike::MAX_PSK),
            format!("| `[[ike.ppk]]` `id` | 1 to {} octets |", ike::MAX_PPK_ID),
            format!("`secret`, `secret-file` | {} to {} octets |", ike::PPK.start(), ike::PPK.end()),
            format!("| `dpd` | {}, false | `\"30s\"` |", ends(&ike::DPD)),
            format!(
                "| `rekey-ike`, `rekey-child` | {}, false | {}, {} |",
                ends(&ike::REKEY),
                rekey(lifetimes.ike),
                rekey(lifetimes.child)
            ),
            format!("| `rekey-bytes` | {} |", volume(&ike::REKEY_BYTES)),
            format!("| `rekey-packets` | {} |", volume(&ike::REKEY_PACKETS)),
            format!("| `rekey-grace` | {} | {} |", ends(&ike::REKEY_GRACE), text(lifetimes.grace)),
            format!("`secret`, `secret-file` | 1 to {} octets |", ike::MAX_RADIUS_SECRET),
            format!(
                "| `[[ike.radius]]` `timeout` | {} | {} |",
                ends(&ike::RADIUS_TIMEOUT),
                text(Server::DEFAULT_TIMEOUT)
            ),
            format!(
                "| `[[ike.radius]]` `retries` | {} to {} | `{}` |",
                ike::RADIUS_RETRIES.start(),
                ike::RADIUS_RETRIES.end(),
                Server::DEFAULT_RETRIES
            ),
            format!(
                "| `[[ike.radius]]` `dead-time` | {} | {} |",
                ends(&ike::RADIUS_DEAD_TIME),
                text(Server::DEFAULT_DEAD_TIME)
            ),
            format!("| `[[ike.radius]]` `interim-interval` | {} | none |", ends(&ike::RADIUS_INTERIM)),
            format!("At most {} sections", ike::MAX_RADIUS_SERVERS),
        ] {
            assert!(README.contains(&row), "{row}");
        }
        let defaults = ike::IKE_PROPOSALS.iter().chain(&ike::HYBRID_PROPOSALS).chain(&ike::ESP_PROPOSALS);
        for proposal in defaults {
            assert!(README.contains(&format!("`{proposal}`")), "{proposal}");
        }
    }

    #[test]
    fn every_test_that_a_page_names_exists() {
        let mut named = 0;
        for name in PAGES.iter().flat_map(|page| page.split('`').skip(1).step_by(2)) {
            // Nothing else in code font has that many underscores.
            if name.matches('_').count() < 3 || name.contains(' ') {
                continue;
            }
            let is_there = |text: &str| text.contains(&format!("fn {name}("));

            named += 1;
            assert!(TESTS.into_iter().chain(UNIT_TESTS).any(is_there), "{name}");
        }

        assert!(named > 20, "only {named} tests are named");
    }

    #[test]
    fn the_readme_names_every_mode_and_the_limits() {
        for mode in Mode::ALL {
            assert!(README.contains(&format!("| `{mode}` | ")), "{mode}");
        }
        for row in [
            format!("| VIPs | {MAX_VIPS} |"),
            format!("| `accept-from` prefixes | {MAX_CLIENTS} |"),
            format!("| slots in the table | {SLOTS};"),
        ] {
            assert!(README.contains(&row), "{row}");
        }
    }
}
