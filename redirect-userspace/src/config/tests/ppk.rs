//! `[[ike.ppk]]`, `ppk` and `ppk-required`.

use super::*;

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// `[ike]` in line 5, `ppk` behind it, then a profile with `profile` and a connection with `connection`.
fn config(ppk: &str, profile: &str, connection: &str) -> String {
    let by_key = "local-auth = \"psk\"\nremote-auth = \"psk\"\npsk = \"correct horse battery staple\"\n";
    after_start(&format!(
        "[ike]\n{ppk}[[ike.profile]]\nname = \"branch\"\n{by_key}{profile}[[ike.connection]]\nname = \"hq\"\n\
         remote = [\"10.50.0.5\"]\nremote-id = \"vpn.example.net\"\n{by_key}{connection}"
    ))
}

fn key(id: &str) -> String {
    format!("[[ike.ppk]]\nid = \"{id}\"\nsecret = \"{KEY}\"\n")
}

#[test]
fn a_profile_has_those_keys_that_it_names_and_needs_none_unless_it_says_so() {
    let text =
        config(&(key("a") + &key("b")), "ppk = [\"b\", \"a\"]\n", "ppk = \"a\"\nppk-required = true\n");
    let settings = parse(&text).unwrap().ike.unwrap().settings;
    let (profile, connection) = (&settings.profiles[0], &settings.connections[0].profile);

    let ids = |profile: &crate::ike::config::Profile| -> Vec<Vec<u8>> {
        profile.ppk.as_ref().unwrap().keys.iter().map(|ppk| ppk.id.to_vec()).collect()
    };
    assert_eq!(ids(profile), [b"b", b"a"]);
    assert_eq!(ids(connection), [b"a"]);
    assert_eq!((profile.requires_ppk(), connection.requires_ppk()), (false, true));
    assert_eq!(profile.ppk(b"a").unwrap().secret.expose(), KEY.as_bytes());
    assert!(profile.ppk(b"c").is_none());
    let plain = parse(&config("", "", "")).unwrap().ike.unwrap();
    assert!(plain.settings.profiles[0].ppk.is_none());
}

#[test]
fn another_key_is_another_configuration_and_is_never_shown() {
    let ike = |text: &str| parse(text).unwrap().ike.unwrap();
    let one = config(&key("a"), "ppk = \"a\"\n", "");
    let other = one.replace(KEY, &KEY.replace('0', "1"));

    assert_ne!(ike(&one), ike(&other));
    assert_eq!(ike(&one), ike(&one));
    let shown = format!("{:?}", ike(&one));
    assert!(!shown.contains(KEY) && !shown.contains("48, 49, 50"));
}

#[test]
fn every_mistake_about_them_is_named_at_its_place() {
    let one = key("a");
    for (text, expected) in [
        (config("[[ike.ppk]]\nid = \"a\"\n", "", ""), "`secret` or"),
        (config(&format!("[[ike.ppk]]\nsecret = \"{KEY}\"\n"), "", ""), "`id`"),
        (
            config("[[ike.ppk]]\nid = \"a\"\nsecret = \"short\"\n", "", ""),
            "a PPK has 32 to 1024 octets, not 5",
        ),
        (config(&key(""), "", ""), "the name of a PPK has 1 to 255 octets, not 0"),
        (config(&(one.clone() + &one), "", ""), "there is a PPK \"a\" in line 7 already"),
        (config(&one, "ppk = \"b\"\n", ""), "there is no [[ike.ppk]] with the id \"b\""),
        (config(&one, "ppk = [\"a\", \"a\"]\n", ""), "\"a\" is listed twice"),
        (config(&one, "ppk = []\n", ""), "`ppk` needs at least one id"),
        (config(&one, "ppk-required = true\n", ""), "`ppk-required` needs `ppk`"),
        (config(&one, "", "ppk = [\"a\"]\n"), "`ppk`"),
        (config(&one, "ppk = 7\n", ""), "`ppk`"),
    ] {
        let found = mistakes(&text);
        assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
    }
}
