//! EAP: users, profiles that let them in, and connections that prove themselves by it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::ike::authn::eap::By;
use crate::ike::config::{LocalProof, RemoteProof};

/// Passwords that are in no message.
const SECRETS: [&str; 2] = ["correct horse", "battery staple"];

/// `[ike]` with two users in lines 5 to 10, and what a test is about from line 11 on.
fn with_users(rest: &str) -> String {
    let [one, two] = SECRETS;
    after_start(&format!(
        "[[ike.user]]\nname = \"alice\"\npassword = \"{one}\"\n\
         [[ike.user]]\nname = \"bob@example.net\"\npassword = \"{two}\"\n{rest}"
    ))
}

/// A profile that lets clients in by EAP, in lines 11 to 15.
fn profile(rest: &str) -> String {
    with_users(&format!(
        "[[ike.profile]]\nname = \"ra\"\nlocal-auth = \"psk\"\npsk = \"gateway\"\n\
         remote-auth = \"eap-mschapv2\"\n{rest}"
    ))
}

/// A connection that proves itself by EAP, in lines 5 to 11.
fn connection(rest: &str) -> String {
    after_start(&format!(
        "[[ike.connection]]\nname = \"hq\"\nremote = [\"10.50.0.5\"]\nremote-id = \"vpn.example.net\"\n\
         local-auth = \"eap-mschapv2\"\nremote-auth = \"psk\"\npsk = \"gateway\"\n{rest}"
    ))
}

#[test]
fn users_get_in_by_their_passwords_and_nobody_sees_them() {
    let config = parse(&profile("eap-identity = \"ask\"\nredirect-auth = \"first\"\n")).unwrap();
    let ike = config.ike.unwrap();
    let [profile] = &ike.settings.profiles[..] else { panic!("one profile") };
    let RemoteProof::Eap(gate) = &profile.authentication.remote else { panic!("EAP") };

    assert!(gate.asks_identity && gate.redirects_first && profile.redirect_auth);
    assert!(matches!(&gate.by, By::Us(makers) if makers.len() == 1));
    let shown = format!("{ike:?}");
    assert!(shown.contains("alice") && SECRETS.iter().all(|secret| !shown.contains(secret)));
}

#[test]
fn what_is_left_out_of_a_profile_with_eap_has_its_default() {
    for (rest, first) in
        [("", false), ("redirect-auth = \"last\"\n", false), ("redirect-auth = true\n", false)]
    {
        let ike = parse(&profile(rest)).unwrap().ike.unwrap();
        let profile = &ike.settings.profiles[0];
        let RemoteProof::Eap(gate) = &profile.authentication.remote else { panic!("EAP") };
        assert_eq!(
            (gate.asks_identity || gate.stands_alone, gate.redirects_first, profile.redirect_auth),
            (false, first, !rest.is_empty())
        );
    }
}

#[test]
fn another_password_is_another_configuration() {
    let text = profile("");

    assert_eq!(parse(&text).unwrap().ike, parse(&text).unwrap().ike);
    assert_ne!(parse(&text).unwrap().ike, parse(&text.replace("horse", "cow")).unwrap().ike);
}

#[test]
fn a_connection_has_a_user_and_its_password() {
    let text = connection("eap-identity = \"alice\"\npassword = \"correct horse\"\n");
    let ike = parse(&text).unwrap().ike.unwrap();
    let LocalProof::Eap(credentials) = &ike.settings.connections[0].profile.authentication.local else {
        panic!("EAP")
    };

    assert_eq!((&*credentials.identity, credentials.stands_alone), ("alice", false));
    assert!(!format!("{ike:?}").contains("horse"));
}

#[test]
fn a_password_may_be_in_a_file_that_is_its_owners_alone() {
    let dir = TempDir::new();
    let path = dir.path().join("alice.password");
    let text = connection(&format!("eap-identity = \"alice\"\npassword-file = \"{}\"\n", path.display()));
    fs::write(&path, "correct horse\n").unwrap();

    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    assert_eq!(
        mistakes(&text),
        [format!("13:17: {path:?}: mode 0640 lets others than the owner at the key: chmod 600")]
    );
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    assert!(parse(&text).is_ok());
    fs::write(&path, b"\xff\xfe\n").unwrap();
    assert_eq!(mistakes(&text), ["13:17: a password is text of 1 to 256 characters"]);
}

#[test]
fn every_mistake_with_users_is_named_at_its_place() {
    let cases: [(&str, &[&str]); 8] = [
        (
            "[[ike.user]]\nname = \"alice\"\npassword = \"x\"\n",
            &["17:8: \"alice\" is the name of a user in line 6 already"],
        ),
        (
            "[[ike.user]]\nname = \"\"\npassword = \"x\"\n",
            &["17:8: \"\": a user has a name of 1 to 253 octets without control characters"],
        ),
        (
            "[[ike.user]]\nname = \"a\\nb\"\npassword = \"x\"\n",
            &["17:8: \"a\\nb\": a user has a name of 1 to 253 octets without control characters"],
        ),
        (
            "[[ike.user]]\nname = \"carol\"\n",
            &["16:1: `password` or `password-file` in [[ike.user]] is missing"],
        ),
        (
            "[[ike.user]]\nname = \"carol\"\npassword = \"\"\n",
            &["18:12: a password is text of 1 to 256 characters"],
        ),
        (
            "[[ike.user]]\nname = \"carol\"\npasword = \"x\"\n",
            &[
                "16:1: `password` or `password-file` in [[ike.user]] is missing",
                "18:1: unknown key `pasword` in [[ike.user]], did you mean `password`?",
            ],
        ),
        ("eap-identity = \"never\"\n", &["16:16: `eap-identity` is \"ask\", not \"never\""]),
        ("password = \"x\"\n", &["16:1: unknown key `password` in [[ike.profile]]"]),
    ];
    for (rest, expected) in cases {
        assert_eq!(mistakes(&profile(rest)), expected, "{rest}");
    }
    let domain = profile("[[ike.user]]\nname = \"EXAMPLE\\\\alice\"\npassword = \"x\"\n");
    assert_eq!(mistakes(&domain).len(), 1, "the same user to Windows");
    let nobody = after_start(
        "[[ike.profile]]\nname = \"ra\"\nlocal-auth = \"psk\"\npsk = \"x\"\nremote-auth = \"eap-mschapv2\"\n",
    );
    assert_eq!(mistakes(&nobody), ["9:15: \"eap-mschapv2\" needs [[ike.user]]: nobody could get in"]);
}

#[test]
fn every_mistake_with_a_user_of_ours_is_named_at_its_place() {
    let cases: [(&str, &[&str]); 4] = [
        (
            "",
            &[
                "5:1: `eap-identity` in [[ike.connection]] is missing",
                "5:1: `password` or `password-file` in [[ike.connection]] is missing",
            ],
        ),
        (
            "eap-identity = \"alice\"\npassword = \"x\"\neap-only = true\n",
            &["14:12: `eap-only` needs a method that proves who the gateway is: \"eap-tls\""],
        ),
        (
            "eap-identity = \"alice\"\npassword = \"x\"\npassword-file = \"/x\"\n",
            &["14:17: `password` in [[ike.connection]] and `password-file` exclude each other"],
        ),
        (
            "eap-identity = \"alice\"\npassword = \"x\"\ncertificate = \"/x\"\n",
            &["14:1: `certificate` in [[ike.connection]] needs `local-auth = \"pubkey\"`"],
        ),
    ];
    for (rest, expected) in cases {
        assert_eq!(mistakes(&connection(rest)), expected, "{rest}");
    }
}

#[test]
fn keys_of_eap_have_no_place_elsewhere() {
    let psk = "[[ike.profile]]\nname = \"b\"\nlocal-auth = \"psk\"\nremote-auth = \"psk\"\npsk = \"x\"\n";

    assert_eq!(
        mistakes(&after_start(&format!("{psk}eap-identity = \"ask\"\n"))),
        ["10:1: `eap-identity` in [[ike.profile]] needs `remote-auth` by EAP"]
    );
    assert_eq!(
        mistakes(&after_start(&format!("{psk}redirect-auth = \"first\"\n"))),
        ["10:17: \"first\" needs `remote-auth` by EAP: there is one response without it"]
    );
    let gateway = connection("")
        .replace("eap-mschapv2", "psk")
        .replace("remote-auth = \"psk\"", "remote-auth = \"eap-tls\"");
    assert_eq!(mistakes(&gateway), ["10:15: `remote-auth` is \"psk\" or \"pubkey\", not \"eap-tls\""]);
}
