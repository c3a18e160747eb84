//! `[reconnect]`, in files that are right and in files that are not.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use super::*;
use crate::ike::ticket::Sealer;

const KEY: &str = "correct horse battery staple";
const OTHER: &str = "another key of a good length";

/// A gateway in lines 5 to 10, and what a test is about from line 11 on.
fn gateway(rest: &str) -> String {
    after_start(&format!(
        "[ike]\n[[ike.profile]]\nname = \"branch\"\nlocal-auth = \"psk\"\nremote-auth = \"psk\"\n\
         psk = \"a key that both know\"\n{rest}"
    ))
}

/// Line 11 is `[reconnect]`, line 12 what a test is about.
fn reconnect(rest: &str) -> String {
    gateway(&format!("[reconnect]\n{rest}"))
}

fn sealer(text: &str) -> Option<Arc<Sealer>> {
    parse(text).unwrap().ike.unwrap().settings.tickets.clone()
}

#[test]
fn without_the_section_there_are_no_tickets() {
    assert!(sealer(&gateway("")).is_none());
    assert!(mistakes(&after_start("")).is_empty());
}

#[test]
fn every_key_of_the_section_is_taken_over() {
    let text = reconnect(&format!(
        "key = [{{ index = 1, active = true, secret = \"{KEY}\" }}, {{ index = 2, secret = \"{OTHER}\" }}]\n\
         lifetime = \"2h\"\nnot-before = 2026-12-31T23:00:00+01:00\ncluster = \"east\"\n"
    ));

    let sealer = sealer(&text).unwrap();

    assert!(sealer.makes_tickets());
    assert_eq!(sealer.lifetime(), Duration::from_secs(7_200));
    assert_eq!(
        format!("{sealer:?}"),
        "Sealer(gw1 of \"east\", 2 keys, 7200s, UnixTime(1798754400s))",
        "and no key is shown"
    );
}

#[test]
fn a_key_that_is_not_active_opens_only() {
    let sealer = sealer(&reconnect(&format!("key = [{{ index = 2, secret = \"{KEY}\" }}]\n"))).unwrap();

    assert!(!sealer.makes_tickets());
    assert_eq!(sealer.lifetime(), Duration::from_secs(8 * 3_600));
}

#[test]
fn the_cluster_of_a_ticket_is_that_of_the_standby_group() {
    let group = "[[hsrp]]\nname = \"group7\"\ninterface = \"eth0\"\nvip = [\"10.50.0.5\"]\n[cluster]\n\
                 standby-group = \"group7\"\nkey = \"0123456789abcdef\"\n";
    let key = format!("key = [{{ index = 1, active = true, secret = \"{KEY}\" }}]\n");

    let sealer = sealer(&format!("{}{group}", reconnect(&key))).unwrap();

    assert!(format!("{sealer:?}").contains("gw1 of \"group7\""), "{sealer:?}");
}

#[test]
fn a_change_of_the_keys_is_a_change() {
    let with = |index: u8, secret: &str, is_active: bool| {
        let key = format!("key = [{{ index = {index}, active = {is_active}, secret = \"{secret}\" }}]\n");
        parse(&reconnect(&key)).unwrap().ike
    };
    let one = with(1, KEY, true);

    assert_eq!(with(1, KEY, true), one);
    for other in
        [with(1, OTHER, true), with(2, KEY, true), with(1, KEY, false), parse(&gateway("")).unwrap().ike]
    {
        assert_ne!(other, one);
    }
}

/// What is wrong from line 12 on.
const MISTAKES: &[(&str, &[&str])] = &[
    ("", &["11:1: [reconnect] needs a `key`: `key = [{ index = 1, active = true, secret-file = \"…\" }]`"]),
    ("key = []\n", &["11:1: `key` in [reconnect] needs at least one key"]),
    ("key = \"abc\"\n", &["12:7: [[reconnect.key]] is a list of tables, not a string"]),
    (
        "key = [{ active = true }]\n",
        &[
            "12:8: `index` in [[reconnect.key]] is missing",
            "12:8: a key in [reconnect] needs `secret` or `secret-file`",
        ],
    ),
    ("key = [{ index = 3, secret = \"0123456789abcdef\" }]\n", &["12:18: `index` is 1 to 2, not 3"]),
    (
        "key = [{ index = 1, active = true, secret = \"too short\" }]\n",
        &["12:45: a reconnect key has at least 16 octets, not 9"],
    ),
    ("key = [{ index = 1, secret-file = \"keys/one\" }]\n", &["12:35: \"keys/one\": not an absolute path"]),
    (
        "key = [{ index = 1, secret-file = \"/none/such.key\" }]\n",
        &["12:35: \"/none/such.key\": cannot be read: No such file or directory (os error 2)"],
    ),
    (
        "key = [{ index = 1, secret = \"0123456789abcdef\" }, { index = 1, secret = \"fedcba9876543210\" }]\n",
        &["12:62: a key with index 1 is in line 12 already"],
    ),
    (
        "key = [{ index = 1, secret = \"0123456789abcdef\" }, { index = 2, secret = \"0123456789abcdef\" }]\n",
        &["12:74: both keys in [reconnect] are the same"],
    ),
    (
        "key = [{ index = 1, active = true, secret = \"0123456789abcdef\" }, \
         { index = 2, active = true, secret = \"fedcba9876543210\" }]\n",
        &["12:67: one key in [reconnect] is active at a time: tickets are made with it"],
    ),
    (
        "key = [{ index = 1, secret = \"0123456789abcdef\", secret-file = \"/a\" }]\n",
        &["12:64: `secret` in [[reconnect.key]] and `secret-file` exclude each other"],
    ),
    (
        "key = [{ index = 1, secret = \"0123456789abcdef\" }]\nlifetime = \"10s\"\nnot-before = \"now\"\n",
        &[
            "13:12: `lifetime` is 1m to 720h, not 10s",
            "14:14: `not-before` is a time like 2026-11-28T09:30:00Z, without quotes, not a string",
        ],
    ),
    (
        "key = [{ index = 1, secret = \"0123456789abcdef\" }]\nnot-before = 2026-11-28\n",
        &["13:14: `not-before` is a date, a time and an offset, like 2026-11-28T09:30:00Z"],
    ),
    (
        "key = [{ index = 1, secret = \"0123456789abcdef\" }]\nnot-before = 2027-01-01T00:00:01Z\n",
        &["13:14: `not-before` has not come yet: nobody could come back by ticket until then"],
    ),
    (
        "key = [{ index = 1, secret = \"0123456789abcdef\", aktive = true }]\ncluster = \"\"\n",
        &[
            "12:50: unknown key `aktive` in [[reconnect.key]], did you mean `active`?",
            "13:11: \"\": the name of a cluster has 1 to 63 octets and no white space",
        ],
    ),
];

#[test]
fn every_mistake_in_the_section_is_named_at_its_place() {
    for (rest, expected) in MISTAKES {
        assert_eq!(mistakes(&reconnect(rest)), *expected, "{rest}");
    }
    let key = format!("[reconnect]\nkey = [{{ index = 1, secret = \"{KEY}\" }}]\n");
    assert_eq!(
        mistakes(&after_start(&key)),
        ["5:1: [reconnect] needs [ike]: there are no sessions to go on with"]
    );
}

#[test]
fn a_reconnect_key_that_others_can_read_is_refused() {
    let dir = TempDir::new();
    let path = dir.path().join("reconnect1.key");
    let text = |path: &Path| {
        reconnect(&format!("key = [{{ index = 1, active = true, secret-file = \"{}\" }}]\n", path.display()))
    };
    let with_mode = |mode| {
        fs::write(&path, format!("{KEY}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        mistakes(&text(&path))
    };

    assert_eq!(with_mode(0o600), [""; 0]);
    let [refused] = &with_mode(0o640)[..] else { panic!("one mistake") };
    assert!(refused.ends_with("mode 0640 lets others than the owner at the key: chmod 600"), "{refused}");

    let file = dir.path().join("redirectd.toml");
    fs::write(&file, reconnect(&format!("key = [{{ index = 1, secret = \"{KEY}\" }}]\n"))).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let errors = Config::load(&file, NOW).unwrap_err().to_string();
    assert!(
        errors.contains("`secret` in [[reconnect.key]] is a secret, but this file has mode 0644"),
        "{errors}"
    );
    assert!(!errors.contains("horse"));
}
