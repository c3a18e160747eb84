//! What a configuration means, and what is said about wrong ones.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::cluster::{MAX_MEMBERS, OverloadLimit, Policy};
use crate::ike::following::Allowed;

mod eap;
mod elected;
mod files;
mod gateway;
mod mobike;
mod ppk;
mod radius;
mod reconnect;

/// 2027-01-01
const NOW: UnixTime = UnixTime::from_epoch(Duration::from_secs(1_798_761_600));

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(Path::new("redirectd.toml"), text, NOW)
}

/// The mistakes of a file whose name is left out.
fn mistakes(text: &str) -> Vec<String> {
    let errors = parse(text).err();
    errors
        .iter()
        .flat_map(ConfigErrors::iter)
        .map(|error| format!("{}:{}: {}", error.line, error.column, error.message))
        .collect()
}

/// Four lines of a complete configuration, followed by what a test is about.
fn after_start(rest: &str) -> String {
    let start = "fast-path = { mode = \"off\" }\n[node]\nname = \"gw1\"\naddresses = [\"10.50.0.11\"]\n";
    format!("{start}{rest}")
}

#[test]
fn a_switch_is_true_or_false() {
    let text = "[node]\nname = \"gw1\"\n[fast-path]\nmode = \"off\"\nprogram-log = 1\n";

    assert_eq!(mistakes(text), ["5:15: `program-log` is true or false, not an integer"]);
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = parse(&after_start("")).unwrap();

    assert_eq!(
        config,
        Config {
            node: Node {
                name: "gw1".parse().unwrap(),
                addresses: Some(GatewayAddresses::new(["10.50.0.11".parse().unwrap()]).unwrap()),
            },
            runtime: Runtime {
                socket: "/run/redirectd/redirectd.sock".into(),
                bpf_pin: "/sys/fs/bpf/redirectd".into(),
                metrics: "127.0.0.1:9469".parse().unwrap(),
            },
            fast_path: FastPath { interfaces: Vec::new(), mode: Mode::Off, program_log: false },
            hsrp: Vec::new(),
            cluster: Cluster { settings: Settings::default(), members: Vec::new(), election: None },
            redirect: Redirect::default(),
            ike: None,
        }
    );
    assert_eq!(config.cluster.settings.policy, Policy::Balanced);
    assert_eq!(config.cluster.settings.overload_limit.percent(), 99);
}

#[test]
fn every_key_is_taken_over() {
    let config = parse(
        r#"
            [node]
            name = "gw1"
            addresses = ["10.50.0.11", "fd50::11", "gw1.example.net"]
            [runtime]
            socket = "/tmp/r.sock"
            bpf-pin = "/sys/fs/bpf/test"
            metrics = "[::1]:9000"
            [fast-path]
            interfaces = ["eth0", "eth1.20"]
            mode = "generic"
            program-log = true
            [cluster.master]
            policy = "least-loaded"
            overload-limit = 80
            [[cluster.static]]
            name = "gw1"
            addresses = ["10.50.0.11"]
            weight = 3
            [[cluster.static]]
            name = "gw2"
            addresses = ["10.50.0.12", "fd50::12"]
            weight = 0
            [[cluster.static]]
            name = "gw3"
            addresses = ["gw3.example.net"]
            [redirect.client]
            enabled = false
            max-redirects = 10
            period = "1m"
            allow = ["10.50.0.0/24", "fd50::5", "gw1.example.net", "*.VPN.example.net"]
            [redirect]
            vip = ["10.50.0.5", "fd50::5"]
            gateway = []
            accept-from = ["10.0.0.0/8", "192.0.2.7", "fd00::/8", "::/0"]
        "#,
    )
    .unwrap();

    assert_eq!(config.node.addresses.as_ref().unwrap().to_string(), "10.50.0.11, fd50::11, gw1.example.net");
    assert_eq!(config.runtime.socket, Path::new("/tmp/r.sock"));
    assert_eq!(config.runtime.bpf_pin, Path::new("/sys/fs/bpf/test"));
    assert_eq!(config.runtime.metrics.to_string(), "[::1]:9000");
    assert_eq!(config.fast_path.mode, Mode::Generic);
    assert!(config.fast_path.program_log);
    let interfaces: Vec<_> = config.fast_path.interfaces.iter().map(InterfaceName::as_str).collect();
    assert_eq!(interfaces, ["eth0", "eth1.20"]);
    assert_eq!(config.cluster.settings.policy, Policy::LeastLoaded);
    assert_eq!(config.cluster.settings.overload_limit, OverloadLimit::new(80).unwrap());
    let weights: Vec<_> =
        config.cluster.members.iter().map(|member| member.weight.map(Weight::value)).collect();
    assert_eq!(weights, [Some(3), None, Some(1)]);
    assert_eq!(config.redirect.vips, ["10.50.0.5".parse::<IpAddr>().unwrap(), "fd50::5".parse().unwrap()]);
    assert!(!config.redirect.on_init);
    let RedirectClient { is_enabled, following } = &config.redirect.client;
    let prefix = |network: &str, length| Allowed::Prefix { network: network.parse().unwrap(), length };
    let allow = vec![
        prefix("10.50.0.0", 24),
        prefix("fd50::5", 128),
        Allowed::Name("gw1.example.net".parse().unwrap()),
        Allowed::Below("vpn.example.net".parse().unwrap()),
    ];
    assert_eq!(*following, Following { most: 10, period: Duration::from_secs(60), allow });
    assert!(!is_enabled);
    let prefixes: Vec<_> = config.redirect.accept_from.iter().map(ToString::to_string).collect();
    assert_eq!(prefixes, ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8", "::/0"]);
}

#[test]
fn the_member_that_is_this_node_is_known_by_its_name_or_address() {
    let text = |name, address| {
        after_start(&format!(
            "[[cluster.static]]\nname = \"{name}\"\naddresses = [\"{address}\"]\n\
             [[cluster.static]]\nname = \"other\"\naddresses = [\"10.50.0.99\"]\n"
        ))
    };
    for (name, address) in [("gw1", "10.50.0.77"), ("master", "10.50.0.11")] {
        let members = parse(&text(name, address)).unwrap().members();

        assert_eq!(members.iter().map(|member| member.is_self).collect::<Vec<_>>(), [true, false], "{name}");
        assert!(members.iter().all(|member| member.state == MemberState::Up));
    }
}

#[test]
fn map_entries_follow_the_configuration() {
    let config =
        parse(&after_start("[redirect]\nvip = [\"fd50::5\"]\naccept-from = [\"10.128.0.0/9\"]\n")).unwrap();

    let mut address = [0; 16];
    address[..2].copy_from_slice(&[0xfd, 0x50]);
    address[15] = 5;
    assert_eq!(config.redirect.vips_to_map(), [maps::Vip { family: 6, address }]);
    let [prefix] = config.redirect.clients_to_map()[..] else { panic!("one prefix") };
    assert_eq!(
        (prefix.family, &prefix.address[..4], &prefix.mask[..4]),
        (4, &[10, 128, 0, 0][..], &[255, 128, 0, 0][..])
    );
}

#[test]
fn modes_without_a_program_need_no_interface() {
    for mode in Mode::ALL {
        let text = format!("[node]\nname = \"gw1\"\n[fast-path]\nmode = \"{mode}\"\n");

        assert_eq!(parse(&text).is_ok(), matches!(mode, Mode::Userspace | Mode::Off), "{mode}");
    }
}

#[test]
fn an_error_names_file_line_and_column() {
    let errors = parse(&after_start("[runtime]\nsocket = \"r.sock\"\nbpf-pin = 3\n")).unwrap_err();

    assert_eq!(
        errors.to_string(),
        "redirectd.toml:6:10: \"r.sock\": not an absolute path\n\
         redirectd.toml:7:11: `bpf-pin` is a string, not an integer"
    );
}

/// The rest of a file whose first four lines are right, and what is wrong with it.
const MISTAKES: &[(&str, &[&str])] = &[
    // Syntax.
    ("[runtime\n", &["5:9: unclosed table, expected `]`"]),
    ("[runtime]\nsocket = /run\n", &["6:10: string values must be quoted, expected literal string"]),
    ("[redirect]\nvip = []\nvip = []\n", &["7:1: duplicate key"]),
    // Keys.
    (
        "[runtime]\nmetric = \"127.0.0.1:1\"\n",
        &["6:1: unknown key `metric` in [runtime], did you mean `metrics`?"],
    ),
    ("[runtime]\nlisten = 1\n", &["6:1: unknown key `listen` in [runtime]"]),
    ("[redirects]\n", &["5:2: unknown key `redirects`, did you mean `redirect`?"]),
    (
        "[runtime]\n\"so\\ncket\" = 1\n",
        &["6:1: unknown key `so\\ncket` in [runtime], did you mean `socket`?"],
    ),
    // Types.
    ("[runtime]\nsocket = 1\n", &["6:10: `socket` is a string, not an integer"]),
    ("[cluster.static]\nname = \"gw2\"\n", &["5:1: [[cluster.static]] is a list of tables, not a table"]),
    ("[cluster]\nstatic = [1]\n", &["6:11: [[cluster.static]] is a table, not an integer"]),
    ("[cluster]\nmaster = 1\n", &["6:10: [cluster.master] is a table, not an integer"]),
    ("[redirect]\nvip = \"10.0.0.1\"\n", &["6:7: `vip` is a list of strings, not a string"]),
    ("[redirect]\nvip = [\"10.0.0.1\", 2]\n", &["6:20: an element of `vip` is a string, not an integer"]),
    // [runtime]
    ("[runtime]\nmetrics = \"9469\"\n", &["6:11: \"9469\": not ADDRESS:PORT"]),
    // [cluster.master]
    (
        "[cluster.master]\npolicy = \"fair\"\n",
        &["6:10: `policy` is \"balanced\" or \"least-loaded\", not \"fair\""],
    ),
    ("[cluster.master]\noverload-limit = 49\n", &["6:18: `overload-limit` is 50 to 99, not 49"]),
    ("[cluster.master]\noverload-limit = 0x64\n", &["6:18: `overload-limit` is 50 to 99, not 0x64"]),
    ("[cluster.master]\noverload-limit = 99.5\n", &["6:18: `overload-limit` is a whole number, not a float"]),
    // [[cluster.static]]
    (
        "[[cluster.static]]\nweight = 1\n",
        &[
            "5:1: `addresses` in [[cluster.static]] is missing",
            "5:1: `name` in [[cluster.static]] is missing",
        ],
    ),
    (
        "[[cluster.static]]\nname = \"gw 2\"\naddresses = [\"10.0.0.2\"]\n",
        &["6:8: \"gw 2\": a name has only letters, digits, '-', '_' and '.', not ' '"],
    ),
    (
        "[[cluster.static]]\nname = \"gw2\"\naddresses = [\"10.0.0.2\"]\nweight = 65536\n",
        &["8:10: `weight` is 0 to 65535, not 65536"],
    ),
    (
        "[[cluster.static]]\nname = \"gw2\"\naddresses = [\"10.0.0.2\"]\nweight = -1\n",
        &["8:10: `weight` is 0 to 65535, not -1"],
    ),
    ("[[cluster.static]]\nname = \"gw2\"\naddresses = []\n", &["7:13: a gateway needs at least one address"]),
    (
        "[[cluster.static]]\nname = \"gw2\"\naddresses = [\"10.0.0.2\", \"10.0.0.3\"]\n",
        &["7:26: a second IPv4 address: a gateway has at most one address of each kind"],
    ),
    (
        "[[cluster.static]]\nname = \"gw2\"\naddresses = [\"224.0.0.2\", \"fd50::g\"]\n",
        &[
            "7:14: \"224.0.0.2\": a multicast address belongs to no single host",
            "7:27: \"fd50::g\": not a valid IPv6 address (write no port, zone or brackets)",
        ],
    ),
    (
        "[[cluster.static]]\nname = \"gw2\"\naddresses = [\"10.0.0.2\"]\n\
         [[cluster.static]]\nname = \"gw2\"\naddresses = [\"10.0.0.3\"]\n",
        &["9:8: member \"gw2\" is already defined in line 6"],
    ),
    (
        "[[cluster.static]]\nname = \"gw2\"\naddresses = [\"10.0.0.2\"]\n\
         [[cluster.static]]\nname = \"gw3\"\naddresses = [\"fd50::3\", \"10.0.0.2\"]\n",
        &["10:25: 10.0.0.2 is already an address of member \"gw2\""],
    ),
    (
        "[[cluster.static]]\nname = \"gw1\"\naddresses = [\"10.0.0.2\"]\n\
         [[cluster.static]]\nname = \"gw3\"\naddresses = [\"10.50.0.11\"]\n",
        &["9:8: this node is already member \"gw1\", by name or address"],
    ),
    // [redirect]
    ("[redirect]\nvip = [\"vpn.example.net\"]\n", &["6:8: \"vpn.example.net\": not an IP address"]),
    (
        "[redirect]\nvip = [\"127.0.0.1\"]\n",
        &["6:8: \"127.0.0.1\": a loopback address leads every client to itself"],
    ),
    (
        "[redirect]\nvip = [\"::ffff:10.0.0.5\"]\n",
        &[
            "6:8: \"::ffff:10.0.0.5\": an IPv4-mapped IPv6 address never appears in packets: write the IPv4 address",
        ],
    ),
    ("[redirect]\nvip = [\"10.0.0.5\", \"10.0.0.5\"]\n", &["6:20: VIP 10.0.0.5 is listed twice"]),
    ("[redirect]\nvip = [\"10.50.0.11\"]\n", &["6:8: VIP 10.50.0.11 is the address of gateway \"gw1\""]),
    (
        "[[cluster.static]]\nname = \"gw2\"\naddresses = [\"fd50:0::2\"]\n[redirect]\nvip = [\"fd50::2\"]\n",
        &["9:8: VIP fd50::2 is the address of gateway \"gw2\""],
    ),
    (
        "[redirect]\ngateway = [\"init\", \"auth\"]\n",
        &["6:20: \"auth\" needs [ike]: only a gateway gets as far as IKE_AUTH"],
    ),
    ("[redirect]\ngateway = [\"int\"]\n", &["6:12: `gateway` lists \"init\" or \"auth\", not \"int\""]),
    (
        "[redirect]\naccept-from = [\"10.0.0.1/8\", \"10.0.0.0/33\", \"lan\"]\n",
        &[
            "6:16: \"10.0.0.1/8\": has bits beyond its length, did you mean \"10.0.0.0/8\"?",
            "6:30: \"10.0.0.0/33\": the length of this prefix is 0 to 32",
            "6:45: \"lan\": neither an IP address nor ADDRESS/LENGTH",
        ],
    ),
    (
        "[redirect.drain]\nrate = 0\ngrace = \"10ms\"\ndeadline = \"30h\"\nbefore-stop = 1\nspeed = 3\n",
        &[
            "6:8: `rate` is 1 to 100000, not 0",
            "7:9: `grace` is 1s to 1h, not 10ms",
            "8:12: `deadline` is 1s to 24h, not 30h",
            "9:15: `before-stop` is true or false, not an integer",
            "10:1: unknown key `speed` in [redirect.drain]",
        ],
    ),
    ("[redirect]\naccept-from = [\"::/+1\"]\n", &["6:16: \"::/+1\": the length of this prefix is 0 to 128"]),
    (
        "[redirect.client]\nenabled = \"yes\"\nmax-redirects = 256\nperiod = \"0s\"\nmax = 3\n",
        &[
            "6:11: `enabled` is true or false, not a string",
            "7:17: `max-redirects` is 1 to 255, not 256",
            "8:10: `period` is 1s to 24h, not 0s",
            "9:1: unknown key `max` in [redirect.client]",
        ],
    ),
    (
        "[redirect.client]\nallow = [\"10.0.0.1/8\", \"*.vpn..net\", \"*\", \"fd50::g\", \"10.0.0\", \"gw1\", \"gw1\"]\n",
        &[
            "6:10: \"10.0.0.1/8\": has bits beyond its length, did you mean \"10.0.0.0/8\"?",
            "6:24: \"*.vpn..net\": a label of a domain name is not empty",
            "6:38: \"*\": a domain name has only letters, digits, '-' and '.', not '*'",
            "6:43: \"fd50::g\": neither an IP address nor ADDRESS/LENGTH",
            "6:54: \"10.0.0\": neither an IP address nor a domain name",
            "6:71: \"gw1\" is listed twice",
        ],
    ),
    (
        "[redirect.client]\nallow = []\n",
        &["6:9: `allow` needs at least one place: to follow no redirects, say `enabled = false`"],
    ),
];

#[test]
fn every_mistake_is_named_at_its_place() {
    assert_eq!(mistakes(&after_start("")), [""; 0]);
    for (rest, expected) in MISTAKES {
        assert_eq!(mistakes(&after_start(rest)), *expected, "{rest}");
    }
}

#[test]
fn a_node_without_name_is_refused_at_its_header() {
    assert_eq!(
        mistakes("# comment\n[fast-path]\nmode = \"off\"\n[node]\n"),
        ["4:1: `name` in [node] is missing"]
    );
    assert_eq!(
        mistakes("node = 1\n[fast-path]\nmode = \"off\"\n"),
        ["1:8: [node] is a table, not an integer"]
    );
}

#[test]
fn wrong_interfaces_are_named_at_their_places() {
    let mistakes = |rest: &str| mistakes(&format!("[node]\nname = \"gw1\"\n{rest}"));
    let missing = |place: &str, mode: &str| {
        [format!("{place}: mode \"{mode}\" needs at least one of `interfaces` in [fast-path]")]
    };

    assert_eq!(mistakes(""), missing("1:1", "auto"));
    assert_eq!(mistakes("[fast-path]\nmode = \"native\"\n"), missing("3:1", "native"));
    assert_eq!(mistakes("[fast-path]\nmode = \"generic\"\ninterfaces = []\n"), missing("5:14", "generic"));
    assert_eq!(
        mistakes("[fast-path]\nmode = \"xdp\"\n"),
        ["4:8: `mode` is \"auto\", \"native\", \"generic\", \"userspace\" or \"off\", not \"xdp\""]
    );
    assert_eq!(
        mistakes("[fast-path]\ninterfaces = [\"eth0\", \"eth0\", \"a/b\", \"sixteen-letters-\"]\n"),
        [
            "4:23: interface \"eth0\" is listed twice",
            "4:31: \"a/b\": no interface has such a name",
            "4:38: \"sixteen-letters-\": the name of an interface has 1 to 15 characters",
        ]
    );
}

#[test]
fn no_list_is_longer_than_its_map() {
    let list =
        |count: usize, of: &str| (1..=count).map(|n| format!("\"{of}{n}\"")).collect::<Vec<_>>().join(", ");
    let vips = |count| after_start(&format!("[redirect]\nvip = [\n{}]\n", list(count, "192.0.2.")));
    let clients = |count| after_start(&format!("[redirect]\naccept-from = [{}]\n", list(count, "192.0.2.")));
    let members = |count: usize| {
        let member = |n| format!("[[cluster.static]]\nname = \"m{n}\"\naddresses = [\"m{n}.example\"]\n");
        after_start(&(0..count).map(member).collect::<String>())
    };

    assert!(parse(&vips(16)).is_ok());
    assert_eq!(mistakes(&vips(17)), ["7:216: there are at most 16 VIPs, not 17"]);
    assert!(parse(&clients(64)).is_ok());
    assert_eq!(mistakes(&clients(65)), ["6:903: there are at most 64 client prefixes, not 65"]);
    assert!(parse(&members(MAX_MEMBERS)).is_ok());
    assert_eq!(mistakes(&members(MAX_MEMBERS + 1)), ["1541:1: a cluster has at most 512 members, not 513"]);
}

#[test]
fn a_socket_path_fits_its_address() {
    let socket =
        |length: usize| after_start(&format!("[runtime]\nsocket = \"/{}\"\n", "x".repeat(length - 1)));

    assert!(parse(&socket(107)).is_ok());
    assert_eq!(mistakes(&socket(108)), ["6:10: a socket's path has at most 107 octets, not 108"]);
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake_too() {
    let dir = TempDir::new();
    let path = dir.path().join("redirectd.toml");

    let missing = Config::load(&path, NOW).unwrap_err().to_string();
    std::fs::write(&path, b"[node]\nname = \"\xff\"\n").unwrap();
    let binary = Config::load(&path, NOW).unwrap_err().to_string();
    std::fs::write(&path, after_start("")).unwrap();
    let right = Config::load(&path, NOW);

    let name = path.display();
    assert_eq!(missing, format!("{name}:1:1: cannot be read: No such file or directory (os error 2)"));
    assert_eq!(binary, format!("{name}:2:9: not UTF-8 text"));
    assert!(right.is_ok());
}

/// A directory for one test.
pub(super) struct TempDir(PathBuf);

impl TempDir {
    pub(super) fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);

        let name =
            format!("redirectd-config-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // What is left behind does no harm, and a panic here would hide the test's own.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Pieces of which a file may be made.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "[node]",
        "[runtime]",
        "[[cluster.static]]",
        "[cluster.master]",
        "[redirect]",
        "[fast-path]",
        "[[hsrp]]",
        "[cluster]",
        "[cluster.slave]",
        "standby-group",
        "interface",
        "preempt",
        "authentication",
        "hello",
        "hold",
        "key",
        "key-file",
        "md5",
        "track",
        "notify",
        "[ike]",
        "[[ike.pool]]",
        "[[ike.profile]]",
        "[[ike.connection]]",
        "subnet",
        "pools",
        "local-id",
        "remote-id",
        "local-auth",
        "remote-auth",
        "\"psk\"",
        "\"pubkey\"",
        "psk",
        "certificate",
        "ca",
        "local-ts",
        "dpd",
        "remote",
        "\"10.0.0.0/8\"",
        "\"1s\"",
        "name",
        "addresses",
        "weight",
        "vip",
        "mode",
        "policy",
        "accept-from",
        "gateway",
        "=",
        "=",
        "[",
        "]",
        ",",
        "\"gw1\"",
        "\"10.0.0.1\"",
        "\"\"",
        "1",
        "-1",
        "1e9",
        "true",
        "{",
        "}",
        "\n",
        "\n",
        "'''",
        "# ü",
    ];
    prop_oneof![10 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => ".{0,4}"]
}

proptest! {
    #[test]
    fn no_text_is_too_strange(pieces in proptest::collection::vec(piece(), 0..40)) {
        let text = pieces.join(" ");

        if let Err(errors) = parse(&text) {
            prop_assert!(errors.iter().next().is_some(), "refused without a reason");
            let lines = text.matches('\n').count() + 1;
            let mut last = (0, 0);
            for error in errors.iter() {
                prop_assert!((1..=lines).contains(&error.line), "{error}");
                prop_assert!(!error.message.is_empty() && !error.message.contains('\n'), "{error:?}");
                prop_assert!(last <= (error.line, error.column), "{errors}");
                last = (error.line, error.column);
            }
        }
    }
}
