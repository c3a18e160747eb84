//! `[[hsrp]]` and the cluster that is elected by it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::clb::{LoadWeights, OverloadAction};
use crate::hsrp::{Authentication, AuthenticationText, Preempt, Timers, Track, Version};

/// A key that is in no message.
const KEY: &str = "correct horse battery staple";

/// What `[[hsrp]]` needs, followed by what a test is about. The section begins in line 5.
fn group(rest: &str) -> String {
    after_start(&format!("[[hsrp]]\ninterface = \"eth0\"\n{rest}"))
}

/// A group `group1` and a cluster that is bound to it. The section `[cluster]` begins in line 8.
fn cluster(rest: &str) -> String {
    group(&format!("name = \"group1\"\n[cluster]\nstandby-group = \"group1\"\n{rest}"))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn only_group(text: &str) -> HsrpGroup {
    let [group] = &parse(text).unwrap().hsrp[..] else { panic!("one group") };
    group.clone()
}

#[test]
fn a_group_needs_only_its_interface() {
    assert_eq!(
        only_group(&group("")),
        HsrpGroup {
            interface: "eth0".parse().unwrap(),
            settings: HsrpSettings {
                name: "hsrp-eth0-0".parse().unwrap(),
                group: crate::hsrp::GroupNumber::new(0).unwrap(),
                version: Version::V1,
                vips: Vec::new(),
                priority: 100,
                preempt: None,
                timers: None,
                authentication: Authentication::Text(AuthenticationText::default()),
                track: Vec::new(),
                use_bia: false,
            },
            notify: Vec::new(),
        }
    );
}

#[test]
fn every_key_of_a_group_is_taken_over() {
    let group = only_group(&group(
        r#"
            name = "group1"
            group = 4095
            version = 2
            vip = ["10.50.0.5", "fd50::5"]
            priority = 110
            preempt = { delay-minimum = "30s", delay-reload = "1m" }
            hello = "250ms"
            hold = "800ms"
            authentication = { md5 = { key = "sent", accept-key = "taken", timeout = "1h" } }
            track = [{ interface = "eth1", decrement = 20 }, { interface = "eth2" }]
            use-bia = true
            notify = ["/etc/redirectd/notify", "/usr/local/bin/tell"]
        "#,
    ));

    let HsrpGroup { interface, settings, notify } = group;
    assert_eq!((interface.as_str(), settings.name.as_str()), ("eth0", "group1"));
    assert_eq!((settings.group.value(), settings.version), (4095, Version::V2));
    assert_eq!(settings.vips, ["10.50.0.5".parse::<IpAddr>().unwrap(), "fd50::5".parse().unwrap()]);
    assert_eq!(settings.priority, 110);
    assert_eq!(settings.preempt, Some(Preempt { delay_minimum: seconds(30), delay_reload: seconds(60) }));
    let timers = Timers::new(Duration::from_millis(250), Duration::from_millis(800)).unwrap();
    assert_eq!(settings.timers, Some(timers));
    let Authentication::Md5(keys) = settings.authentication else { panic!("MD5") };
    assert_eq!(keys.key.secret().expose(), b"sent");
    assert_eq!(keys.accept.unwrap().secret().expose(), b"taken");
    assert_eq!(keys.timeout, seconds(3_600));
    let track = |interface: &str, decrement| Track { interface: interface.into(), decrement };
    assert_eq!(settings.track, [track("eth1", 20), track("eth2", Track::DEFAULT_DECREMENT)]);
    assert!(settings.use_bia);
    assert_eq!(notify, [Path::new("/etc/redirectd/notify"), Path::new("/usr/local/bin/tell")]);
}

#[test]
fn short_forms_mean_what_they_say() {
    assert_eq!(only_group(&group("preempt = true\n")).settings.preempt, Some(Preempt::default()));
    assert_eq!(only_group(&group("preempt = false\n")).settings.preempt, None);
    assert_eq!(only_group(&group("preempt = {}\n")).settings.preempt, Some(Preempt::default()));
    assert_eq!(only_group(&group("notify = \"/bin/tell\"\n")).notify, [Path::new("/bin/tell")]);
    assert_eq!(
        only_group(&group("hello = \"1s\"\n")).settings.timers,
        Some(Timers::new(seconds(1), seconds(10)).unwrap())
    );
    assert_eq!(
        only_group(&group("authentication = { text = \"lab\" }\n")).settings.authentication,
        Authentication::Text("lab".parse().unwrap())
    );
}

#[test]
fn the_same_number_serves_two_families_and_two_interfaces() {
    let config = parse(&group(
        "version = 2\nvip = [\"10.50.0.5\"]\n\
         [[hsrp]]\ninterface = \"eth0\"\nversion = 2\nvip = [\"fe80::5\", \"fd50::5\"]\nname = \"six\"\n\
         [[hsrp]]\ninterface = \"eth1\"\n",
    ))
    .unwrap();

    let names: Vec<_> = config.hsrp.iter().map(|group| group.settings.name.as_str()).collect();
    assert_eq!(names, ["hsrp-eth0-0", "six", "hsrp-eth1-0"]);
    assert_eq!(config.standby_group(), None);
}

#[test]
fn a_bound_cluster_has_ciscos_defaults() {
    let config = parse(&cluster(&format!("key = \"{KEY}\"\n"))).unwrap();

    let election = config.cluster.election.as_ref().unwrap();
    assert_eq!((election.standby_group.as_str(), election.port), ("group1", 2012));
    let clb = election.clb.as_ref().unwrap();
    assert_eq!(clb.key.secret().expose(), KEY.as_bytes());
    assert_eq!(clb.holdtime, seconds(3));
    assert_eq!(election.slave, SlaveSettings::default());
    assert_eq!(config.standby_group(), config.hsrp.first());
    assert!(!format!("{config:?}").contains("horse"), "the key is shown");
}

#[test]
fn every_key_of_a_bound_cluster_is_taken_over() {
    let config = parse(&cluster(&format!(
        r#"
            port = 2000
            holdtime = "1500ms"
            key = "{KEY}"
            shutdown = false
            [cluster.master]
            overload-limit = 80
            overload-action = "refuse"
            weight = {{ crypto-load = 30, system-load = 0 }}
            policy = "least-loaded"
            [cluster.slave]
            hello = "500ms"
            update = "2s"
            priority = 90
            max-session = 2000
            [[cluster.static]]
            name = "gw9"
            addresses = ["10.50.0.19"]
            [redirect]
            vip = ["10.50.0.99"]
        "#
    )))
    .unwrap();

    let Cluster { settings, members, election } = config.cluster;
    assert_eq!(settings.policy, Policy::LeastLoaded);
    assert_eq!(settings.overload_limit.percent(), 80);
    assert_eq!(settings.overload_action, OverloadAction::Refuse);
    assert_eq!(settings.weights, LoadWeights { crypto: 30, system: 0 });
    assert_eq!(members.len(), 1);
    let election = election.unwrap();
    assert_eq!((election.port, election.clb.unwrap().holdtime), (2000, Duration::from_millis(1_500)));
    assert_eq!(
        election.slave,
        SlaveSettings {
            hello: Duration::from_millis(500),
            update: seconds(2),
            priority: 90,
            max_session: 2000
        }
    );
}

#[test]
fn a_cluster_that_is_shut_down_needs_no_key() {
    let shut = |rest: &str| parse(&cluster(&format!("shutdown = true\n{rest}"))).unwrap();

    assert_eq!(shut("").cluster.election.unwrap().clb, None);
    assert_eq!(shut(&format!("key = \"{KEY}\"\n")).cluster.election.unwrap().clb, None);
}

#[test]
fn keys_may_be_in_files_of_their_own() {
    let dir = TempDir::new();
    let path = |name: &str| dir.path().join(name);
    for (name, content) in [("hsrp", "old\n"), ("cluster", KEY), ("accepted", "the key of last year\n")] {
        fs::write(path(name), content).unwrap();
        fs::set_permissions(path(name), Permissions::from_mode(0o600)).unwrap();
    }
    let text =
        cluster(&format!("key-file = {:?}\naccept-key-file = {:?}\n", path("cluster"), path("accepted")));
    let text = text.replace(
        "name = \"group1\"\n[c",
        &format!(
            "name = \"group1\"\nauthentication = {{ md5 = {{ key = \"new\", accept-key-file = {:?} }} }}\n[c",
            path("hsrp")
        ),
    );

    let config = parse(&text).unwrap();

    let clb = config.cluster.election.unwrap().clb.unwrap();
    assert_eq!(clb.key.secret().expose(), KEY.as_bytes());
    assert_eq!(clb.accept_key.unwrap().secret().expose(), b"the key of last year");
    let Authentication::Md5(keys) = &config.hsrp[0].settings.authentication else { panic!("MD5") };
    assert_eq!(keys.accept.as_ref().unwrap().secret().expose(), b"old");
}

#[test]
fn a_file_with_a_key_in_it_is_its_owners_alone() {
    let dir = TempDir::new();
    let path = dir.path().join("redirectd.toml");
    let load = |text: &str, mode| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        Config::load(&path, NOW)
    };
    let with_keys = cluster(&format!("key = \"{KEY}\"\n"))
        .replace("[cluster]", "authentication = { md5 = { key = \"secret\" } }\n[cluster]");

    assert!(load(&with_keys, 0o600).is_ok());
    assert!(load(&after_start(""), 0o644).is_ok());
    for mode in [0o640, 0o644] {
        let errors = load(&with_keys, mode).unwrap_err().to_string();
        let place = path.display();
        assert_eq!(
            errors,
            format!(
                "{place}:8:34: `key` in [hsrp.authentication.md5] is a secret, but this file has mode \
                 {mode:04o}: chmod 600\n\
                 {place}:11:7: `key` in [cluster] is a secret, but this file has mode {mode:04o}: chmod 600"
            )
        );
    }
}

#[test]
fn an_unusable_key_file_is_named_with_the_reason() {
    let dir = TempDir::new();
    let path = dir.path().join("cluster.key");
    let mistake = |content: &str, mode| {
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        mistakes(&cluster(&format!("key-file = {path:?}\n"))).join("\n")
    };

    assert_eq!(mistake(KEY, 0o600), "");
    assert_eq!(
        mistake(KEY, 0o644),
        format!("10:12: {path:?}: mode 0644 lets others than the owner at the key: chmod 600")
    );
    assert_eq!(mistake("short\n", 0o600), "10:12: a cluster key has 16 to 1024 octets, not 5");
    fs::remove_file(&path).unwrap();
    assert_eq!(
        mistakes(&cluster(&format!("key-file = {path:?}\n"))),
        [format!("10:12: {path:?}: cannot be read: No such file or directory (os error 2)")]
    );
}

/// What is wrong with a group, from line 7 on.
const GROUP_MISTAKES: &[(&str, &[&str])] = &[
    // Names and numbers.
    (
        "name = \"group 1\"\n",
        &["7:8: \"group 1\": a standby name has 1 to 63 letters, digits, `-`, `_` and `.`"],
    ),
    ("group = 256\n", &["7:9: groups of HSRP version 1 are 0 to 255, not 256"]),
    ("version = 2\ngroup = 4096\n", &["8:9: `group` is 0 to 4095, not 4096"]),
    ("version = 3\n", &["7:11: `version` is 1 to 2, not 3"]),
    ("priority = 256\n", &["7:12: `priority` is 0 to 255, not 256"]),
    ("prioritty = 1\n", &["7:1: unknown key `prioritty` in [[hsrp]], did you mean `priority`?"]),
    // VIPs.
    ("vip = [\"fd50::5\"]\n", &["7:8: an election among IPv6 addresses needs version 2: set `version = 2`"]),
    ("vip = [\"10.50.0.300\"]\n", &["7:8: \"10.50.0.300\": not an IP address"]),
    ("vip = [\"10.50.0.5\", \"10.50.0.5\"]\n", &["7:21: VIP 10.50.0.5 is listed twice"]),
    ("vip = [\"10.50.0.11\"]\n", &["7:8: VIP 10.50.0.11 is the address of gateway \"gw1\""]),
    (
        "version = 2\nvip = [\"fd50::5\", \"fe80::5\"]\n",
        &["8:19: \"fe80::5\": a link-local address means nothing to a client on another link"],
    ),
    (
        "vip = [\"10.50.0.12\"]\n[[cluster.static]]\nname = \"gw2\"\naddresses = [\"10.50.0.12\"]\n",
        &["7:8: VIP 10.50.0.12 is the address of gateway \"gw2\""],
    ),
    (
        "vip = [\"10.50.0.5\"]\n[redirect]\nvip = [\"10.50.0.5\"]\n",
        &["9:8: VIP 10.50.0.5 is one of HSRP group \"hsrp-eth0-0\" already"],
    ),
    // Preemption.
    ("preempt = \"yes\"\n", &["7:11: `preempt` is true, false or a table, not a string"]),
    ("preempt = { delay-minimum = \"2h\" }\n", &["7:29: `delay-minimum` is 0s to 1h, not 2h"]),
    ("preempt = { delay = \"2s\" }\n", &["7:13: unknown key `delay` in [hsrp.preempt]"]),
    // Timers.
    ("hello = 3\n", &["7:9: `hello` is a string, not an integer"]),
    ("hello = \"3\"\n", &["7:9: \"3\": a duration needs a unit: ms, s, m or h"]),
    (
        "hello = \"10ms\"\nhold = \"50ms\"\n",
        &["7:9: `hello` is 15 ms to 999 ms, or 1 s to 254 s in whole seconds, not 10ms"],
    ),
    ("hold = \"256s\"\n", &["7:8: `hold` is 50 ms to 3000 ms, or up to 255 s in whole seconds, not 256s"]),
    (
        "hello = \"20ms\"\nhold = \"50ms\"\n",
        &["8:8: with times below a second, `hold` is at least three times `hello`, not 50ms \
               with `hello` at 20ms"],
    ),
    ("hello = \"10s\"\n", &["7:9: `hold` is longer than `hello`, not 10s with `hello` at 10s"]),
    // Authentication.
    ("authentication = {}\n", &["7:18: [hsrp.authentication] needs `text` or `md5`"]),
    ("authentication = \"cisco\"\n", &["7:18: [hsrp.authentication] is a table, not a string"]),
    (
        "authentication = { text = \"password123\" }\n",
        &["7:27: an authentication text has 1 to 8 printable ASCII characters"],
    ),
    (
        "authentication = { text = \"a\", md5 = { key = \"b\" } }\n",
        &["7:27: `text` and `md5` in [hsrp.authentication] exclude each other"],
    ),
    ("authentication = { md5 = {} }\n", &["7:26: `key` in [hsrp.authentication.md5] is missing"]),
    ("authentication = { md5 = { key = \"\" } }\n", &["7:34: an HSRP key has 1 to 55 octets, not 0"]),
    (
        "authentication = { md5 = { key = \"a\", key-file = \"/k\" } }\n",
        &["7:50: `key` in [hsrp.authentication.md5] and `key-file` exclude each other"],
    ),
    ("authentication = { md5 = { key-file = \"k\" } }\n", &["7:39: \"k\": not an absolute path"]),
    (
        "authentication = { md5 = { key = \"a\", timeout = \"10h\" } }\n",
        &["7:49: `timeout` is 0s to 32767s, not 10h"],
    ),
    // Tracking and hooks.
    ("track = [\"eth1\"]\n", &["7:10: [[hsrp.track]] is a table, not a string"]),
    ("track = [{ decrement = 1 }]\n", &["7:10: `interface` in [[hsrp.track]] is missing"]),
    ("track = [{ interface = \"eth1\", decrement = 0 }]\n", &["7:44: `decrement` is 1 to 255, not 0"]),
    (
        "track = [{ interface = \"eth1\" }, { interface = \"eth1\" }]\n",
        &["7:48: interface \"eth1\" is tracked twice"],
    ),
    ("use-bia = 1\n", &["7:11: `use-bia` is true or false, not an integer"]),
    ("notify = \"notify.sh\"\n", &["7:10: \"notify.sh\": not an absolute path"]),
    ("notify = 1\n", &["7:10: `notify` is a string or a list of strings, not an integer"]),
    // Two groups.
    (
        "name = \"a\"\n[[hsrp]]\ninterface = \"eth1\"\nname = \"a\"\n",
        &["10:8: HSRP group \"a\" is already defined in line 7"],
    ),
    (
        "name = \"a\"\ngroup = 7\n[[hsrp]]\ninterface = \"eth0\"\ngroup = 7\n",
        &["11:9: group 7 for IPv4 on eth0 is \"a\""],
    ),
    (
        "name = \"a\"\n[[hsrp]]\ninterface = \"eth0\"\ngroup = 1\nversion = 2\n",
        &["11:11: eth0 has HSRP version 1 by \"a\", and only one version at a time"],
    ),
    (
        "name = \"a\"\nuse-bia = true\n[[hsrp]]\ninterface = \"eth0\"\ngroup = 1\n",
        &["9:1: `use-bia` allows one group on eth0, which has \"a\""],
    ),
    (
        "vip = [\"10.50.0.5\"]\n[[hsrp]]\ninterface = \"eth1\"\nvip = [\"10.50.0.5\"]\n",
        &["10:8: VIP 10.50.0.5 is one of HSRP group \"hsrp-eth0-0\" already"],
    ),
];

#[test]
fn every_mistake_in_a_group_is_named_at_its_place() {
    for (rest, expected) in GROUP_MISTAKES {
        assert_eq!(mistakes(&group(rest)), *expected, "{rest}");
    }
}

/// What is wrong with a cluster bound to `group1`, from line 10 on.
const CLUSTER_MISTAKES: &[(&str, &[&str])] = &[
    ("", &["9:17: `key` or `key-file` in [cluster] is missing: members know each other by it"]),
    ("key = \"short\"\n", &["10:7: a cluster key has 16 to 1024 octets, not 5"]),
    (
        "key = \"correct horse battery staple\"\naccept-key = \"short\"\n",
        &["11:14: a cluster key has 16 to 1024 octets, not 5"],
    ),
    (
        "key = \"correct horse battery staple\"\naccept-key-file = \"k\"\n",
        &["11:19: \"k\": not an absolute path"],
    ),
    (
        "accept-key = \"correct horse battery staple\"\n",
        &["9:17: `key` or `key-file` in [cluster] is missing: members know each other by it"],
    ),
    (
        "key = \"correct horse battery staple\"\nkey-file = \"/k\"\n",
        &["11:12: `key` in [cluster] and `key-file` exclude each other"],
    ),
    ("shutdown = true\nport = 0\n", &["11:8: `port` is 1 to 65535, not 0"]),
    ("shutdown = true\nholdtime = \"99ms\"\n", &["11:12: `holdtime` is 100ms to 2m, not 99ms"]),
    (
        "shutdown = true\nholdtime = \"1s\"\n",
        &["11:12: `holdtime` in [cluster], 1s, is to be longer than `hello` in [cluster.slave], 1s"],
    ),
    (
        "shutdown = true\n[cluster.slave]\nhello = \"30s\"\n",
        &["12:9: `holdtime` in [cluster], 3s, is to be longer than `hello` in [cluster.slave], 30s"],
    ),
    ("shutdown = true\n[cluster.slave]\nhello = \"31s\"\n", &["12:9: `hello` is 100ms to 30s, not 31s"]),
    ("shutdown = true\n[cluster.slave]\nupdate = \"2m\"\n", &["12:10: `update` is 100ms to 1m, not 2m"]),
    ("shutdown = true\n[cluster.slave]\npriority = 0\n", &["12:12: `priority` is 1 to 100, not 0"]),
    (
        "shutdown = true\n[cluster.slave]\nmax-session = 100001\n",
        &["12:15: `max-session` is 1 to 100000, not 100001"],
    ),
    (
        "shutdown = true\n[cluster.master]\noverload-action = \"drop\"\n",
        &["12:19: `overload-action` is \"spread\" or \"refuse\", not \"drop\""],
    ),
    (
        "shutdown = true\n[cluster.master]\nweight = { crypto-load = 101, system = 1 }\n",
        &[
            "12:26: `crypto-load` is 0 to 100, not 101",
            "12:31: unknown key `system` in [cluster.master.weight]",
        ],
    ),
    (
        "shutdown = true\n[[cluster.static]]\nname = \"gw1\"\naddresses = [\"10.50.0.12\"]\n",
        &["12:8: this node is a member already, by `standby-group`"],
    ),
];

#[test]
fn every_mistake_in_a_bound_cluster_is_named_at_its_place() {
    for (rest, expected) in CLUSTER_MISTAKES {
        assert_eq!(mistakes(&cluster(rest)), *expected, "{rest}");
    }
}

#[test]
fn a_cluster_is_bound_to_a_group_that_exists() {
    let bound = |name: &str| {
        group(&format!("name = \"group1\"\n[cluster]\nstandby-group = \"{name}\"\nshutdown = true\n"))
    };

    assert_eq!(mistakes(&bound("group1")), [""; 0]);
    assert_eq!(
        mistakes(&bound("group2")),
        ["9:17: no [[hsrp]] has the name \"group2\", did you mean \"group1\"?"]
    );
    assert_eq!(mistakes(&bound("vpn")), ["9:17: no [[hsrp]] has the name \"vpn\""]);
}

#[test]
fn a_cluster_has_an_address_that_others_can_reach() {
    let text = |vips: &str| {
        cluster("shutdown = true\n").replace("[cluster]", &format!("version = 2\nvip = [{vips}]\n[cluster]"))
    };

    assert_eq!(
        mistakes(&text("\"fe80::5\"")),
        ["11:17: the VIP of \"group1\" is link-local: members and clients need another one"]
    );
    let config = parse(&text("\"fe80::5\", \"fd50::5\"")).unwrap();
    let vips = &config.standby_group().unwrap().settings.vips;
    assert_eq!(cluster_ip(vips), Some("fd50::5".parse().unwrap()));
}

#[test]
fn a_broken_name_is_not_also_a_missing_one() {
    let text = group("name = \"group 1\"\n[cluster]\nstandby-group = \"group1\"\nshutdown = true\n");

    assert_eq!(mistakes(&text).len(), 1);
}

#[test]
fn what_belongs_to_an_election_needs_one() {
    assert_eq!(
        mistakes(&after_start(
            "[cluster]\nport = 1\nholdtime = \"3s\"\nkey = \"correct horse battery staple\"\n\
             shutdown = true\n[cluster.slave]\n"
        )),
        [
            "6:1: `port` in [cluster] needs `standby-group`",
            "7:1: `holdtime` in [cluster] needs `standby-group`",
            "8:1: `key` in [cluster] needs `standby-group`",
            "9:1: `shutdown` in [cluster] needs `standby-group`",
            "10:10: [cluster.slave] needs `standby-group`",
        ]
    );
}

#[test]
fn a_bound_node_says_where_its_clients_are_sent() {
    let text = cluster("shutdown = true\n").replace("addresses = [\"10.50.0.11\"]\n", "");

    assert_eq!(
        mistakes(&text),
        ["2:1: `addresses` in [node] is missing: with `standby-group` this node is a member"]
    );
}

#[test]
fn an_interface_with_an_odd_name_needs_a_name_for_its_group() {
    let text = after_start("[[hsrp]]\ninterface = \"wan@2\"\n");

    assert_eq!(mistakes(&text), ["6:13: `name` is missing: \"wan@2\" cannot be part of one"]);
    assert!(parse(&format!("{text}name = \"wan\"\n")).is_ok());
}

#[test]
fn the_elected_vips_take_room_in_the_map() {
    let list = |from: usize, count: usize| {
        (from..from + count).map(|n| format!("\"192.0.2.{n}\"")).collect::<Vec<_>>().join(", ")
    };
    let text = |elected, others| {
        cluster(&format!("shutdown = true\n[redirect]\nvip = [{}]\n", list(100, others)))
            .replace("[cluster]", &format!("vip = [{}]\n[cluster]", list(1, elected)))
    };

    assert!(parse(&text(4, 12)).is_ok());
    assert_eq!(mistakes(&text(4, 13)), ["13:188: there are at most 16 VIPs, not 17"]);
    assert_eq!(mistakes(&text(0, 16)), ["13:233: there are at most 16 VIPs, not 17"]);
    assert_eq!(mistakes(&text(17, 0)), ["8:223: an HSRP group has at most 16 VIPs, not 17"]);
}

#[test]
fn no_message_shows_a_key() {
    let secrets = ["sesame-hsrp", "sesame-cluster-key", "sesame-text"];
    let text = group(&format!(
        "authentication = {{ text = \"{}\", md5 = {{ key = \"{}\", accept-key = [\"{}\"] }} }}\n\
         [cluster]\nkey = \"{}\"\nkey-file = \"/none\"\nport = \"2012\"\n",
        secrets[2], secrets[0], secrets[0], secrets[1]
    ));

    let errors = parse(&text).unwrap_err().to_string();

    assert!(errors.lines().count() >= 5, "{errors}");
    assert!(!errors.contains("sesame"), "{errors}");
    for broken in ["key = sesame", "key = \"sesame", "key = 'ses\name", "key = \"sesame\" sesame"] {
        let errors = parse(&after_start(&format!("[cluster]\n{broken}\n"))).unwrap_err().to_string();
        assert!(!errors.contains("ses"), "{errors}");
    }
}
