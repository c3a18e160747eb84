//! Servers of RADIUS, and profiles that let them decide.

use super::*;
use crate::ike::authn::eap::By;
use crate::ike::config::RemoteProof;
use crate::radius::config::Server;

/// `[ike]` with a profile in lines 5 to 9, whose clients are let in by RADIUS, and what a test is about
/// from line 10 on.
fn with_profile(rest: &str) -> String {
    after_start(&format!(
        "[[ike.profile]]\nname = \"ra\"\nlocal-auth = \"psk\"\npsk = \"gateway\"\n\
         remote-auth = \"eap-radius\"\n{rest}"
    ))
}

const SECRET: &str = "xyzzy5461";

#[test]
fn servers_are_asked_in_the_order_of_the_file_and_nobody_sees_their_secrets() {
    let text = with_profile(&format!(
        "[[ike.radius]]\nserver = \"10.50.0.200\"\naccounting = \"10.50.0.200\"\nsecret = \"{SECRET}\"\n\
         [[ike.radius]]\nserver = \"[fd50::200]:11812\"\nsecret = \"{SECRET}\"\ntimeout = \"500ms\"\n\
         retries = 1\ndead-time = \"5m\"\nstatus-server = false\nnas-identifier = \"vpn\"\n"
    ));
    let ike = parse(&text).unwrap().ike.unwrap();
    let RemoteProof::Eap(gate) = &ike.settings.profiles[0].authentication.remote else { panic!("EAP") };

    assert!(matches!(gate.by, By::Aaa));
    let first = Server {
        address: "10.50.0.200:1812".parse().unwrap(),
        secret: SECRET.as_bytes().into(),
        nas_identifier: "gw1".into(),
        timeout: Duration::from_secs(1),
        retries: 2,
        dead_time: Duration::from_secs(60),
        is_probed: true,
    };
    let second = Server {
        address: "[fd50::200]:11812".parse().unwrap(),
        nas_identifier: "vpn".into(),
        timeout: Duration::from_millis(500),
        retries: 1,
        dead_time: Duration::from_secs(300),
        is_probed: false,
        ..first.clone()
    };
    let accounts = Server { address: "10.50.0.200:1813".parse().unwrap(), ..first.clone() };
    assert_eq!(ike.radius.authentication, [first, second]);
    assert_eq!((&ike.radius.accounting[..], ike.radius.interim), (&[accounts][..], None));
    assert!(!format!("{ike:?}").contains(SECRET));
}

#[test]
fn another_secret_or_server_is_another_configuration() {
    let text = with_profile(&format!("[[ike.radius]]\nserver = \"10.50.0.200\"\nsecret = \"{SECRET}\"\n"));

    assert_eq!(parse(&text).unwrap().ike, parse(&text).unwrap().ike);
    for other in [text.replace(SECRET, "other"), text.replace(".200", ".201")] {
        assert_ne!(parse(&text).unwrap().ike, parse(&other).unwrap().ike);
    }
}

#[test]
fn the_server_that_wants_to_hear_most_often_is_pleased() {
    let server = |number: u8, interim: &str| {
        format!(
            "[[ike.radius]]\naccounting = \"10.50.0.{number}\"\nsecret = \"s\"\n\
             interim-interval = \"{interim}\"\n"
        )
    };
    let ours = "[[ike.radius]]\nserver = \"10.50.0.200\"\nsecret = \"s\"\n";
    let text = with_profile(&format!("{ours}{}{}", server(1, "10m"), server(2, "5m")));

    assert_eq!(parse(&text).unwrap().ike.unwrap().radius.interim, Some(Duration::from_secs(300)));
}

#[test]
fn every_mistake_with_servers_is_named_at_its_place() {
    let good = "server = \"10.50.0.200\"\nsecret = \"s\"\n";
    let twice = format!("{good}[[ike.radius]]\n{good}");
    let cases: [(&str, &[&str]); 12] = [
        (
            "",
            &[
                "9:15: \"eap-radius\" needs [[ike.radius]] with `server`: nobody could get in",
                "10:1: `secret` or `secret-file` in [[ike.radius]] is missing",
                "10:1: `server` in [[ike.radius]] is missing",
            ],
        ),
        (
            "server = \"radius.example.net\"\nsecret = \"s\"\n",
            &["11:10: \"radius.example.net\": not an IP address with a port"],
        ),
        (
            "server = \"10.50.0.200:0\"\nsecret = \"s\"\n",
            &["11:10: \"10.50.0.200:0\": no server is at port 0"],
        ),
        ("server = \"0.0.0.0\"\nsecret = \"s\"\n", &["11:10: \"0.0.0.0\": not the address of a single host"]),
        (
            "server = \"10.50.0.200\"\nsecret = \"\"\n",
            &["12:10: a secret of RADIUS has 1 to 128 octets, not 0"],
        ),
        (&twice, &["14:10: 10.50.0.200:1812 is listed twice"]),
        (&format!("{good}timeout = \"50ms\"\n"), &["13:11: `timeout` is 100ms to 30s, not 50ms"]),
        (&format!("{good}retries = 11\n"), &["13:11: `retries` is 0 to 10, not 11"]),
        (&format!("{good}dead-time = \"2h\"\n"), &["13:13: `dead-time` is 1s to 1h, not 2h"]),
        (&format!("{good}interim-interval = \"5m\"\n"), &["13:20: `interim-interval` needs `accounting`"]),
        (&format!("{good}nas-identifier = \"\"\n"), &["13:18: `nas-identifier` is text of 1 to 253 octets"]),
        (
            &format!("{good}time-out = \"1s\"\n"),
            &["13:1: unknown key `time-out` in [[ike.radius]], did you mean `timeout`?"],
        ),
    ];
    for (rest, expected) in cases {
        assert_eq!(mistakes(&with_profile(&format!("[[ike.radius]]\n{rest}")))[..], *expected, "{rest}");
    }
}

#[test]
fn a_profile_that_asks_servers_needs_one_and_accounting_alone_is_none() {
    let message = "9:15: \"eap-radius\" needs [[ike.radius]] with `server`: nobody could get in";

    assert_eq!(mistakes(&with_profile("")), [message]);
    let accounting = "[[ike.radius]]\naccounting = \"10.50.0.200\"\nsecret = \"s\"\n";
    assert_eq!(mistakes(&with_profile(accounting)), [message]);
    let wrong = "[[ike.radius]]\nserver = \"10.50.0\"\nsecret = \"s\"\n";
    assert_eq!(mistakes(&with_profile(wrong)), ["11:10: \"10.50.0\": not an IP address with a port"]);
}

#[test]
fn there_are_no_more_servers_than_may_be() {
    let servers: String = (1..=17)
        .map(|number| format!("[[ike.radius]]\nserver = \"10.50.0.{number}\"\nsecret = \"s\"\n"))
        .collect();

    assert_eq!(mistakes(&with_profile(&servers)), ["58:1: there are at most 16 [[ike.radius]]"]);
}
