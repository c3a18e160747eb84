//! `mobike`, `mobike-check` and `mobike-addresses`.

use super::*;
use crate::ike::config::Mobility;

const PSK: &str = "psk = \"correct horse battery staple\"\n";

/// `[ike]` in line 5 with `ike`, then a profile with `profile` and a connection with `connection`.
fn config(ike: &str, profile: &str, connection: &str) -> String {
    let by_key = format!("local-auth = \"psk\"\nremote-auth = \"psk\"\n{PSK}");
    after_start(&format!(
        "[ike]\n{ike}[[ike.profile]]\nname = \"branch\"\n{by_key}{profile}[[ike.connection]]\nname = \"hq\"\n\
         remote = \"10.50.0.5\"\nremote-id = \"vpn.example.net\"\n{by_key}{connection}"
    ))
    .replace("remote = \"10.50.0.5\"", "remote = [\"10.50.0.5\"]")
}

fn ike(text: &str) -> Ike {
    parse(text).unwrap().ike.unwrap()
}

#[test]
fn sas_may_move_and_clients_are_checked_unless_the_file_says() {
    let both = |profile: &str, connection: &str| {
        let settings = ike(&config("", profile, connection)).settings;
        (settings.profiles[0].mobility, settings.connections[0].profile.mobility.is_allowed)
    };

    assert_eq!(both("", ""), (Mobility::CHECKED, true));
    assert!(!both("mobike = true\nmobike-check = false\n", "mobike = false\n").1);
    let unchecked = Mobility { is_allowed: true, is_checked: false };
    assert_eq!(both("mobike-check = false\n", "").0, unchecked);
    assert!(!both("mobike = false\n", "").0.is_allowed);
}

#[test]
fn clients_are_told_of_what_is_listened_on_by_name_or_of_what_is_listed() {
    let told = |text: &str| -> Vec<String> {
        let addresses = ike(&config(text, "", "")).settings.additional.to_vec();
        addresses.iter().map(IpAddr::to_string).collect()
    };

    assert_eq!(told(""), Vec::<String>::new(), "who listens everywhere does not say where he is");
    assert_eq!(told("listen = [\"10.50.0.11\", \"::\"]\n"), ["10.50.0.11"]);
    let listed = "listen = [\"10.50.0.11\"]\nmobike-addresses = [\"fd50::11\", \"10.60.0.1\"]\n";
    assert_eq!(told(listed), ["fd50::11", "10.60.0.1"]);
    assert_eq!(told("listen = [\"10.50.0.11\"]\nmobike-addresses = []\n"), Vec::<String>::new());
}

#[test]
fn every_mistake_about_them_is_named_at_its_place() {
    for (text, starts) in [
        ("mobike-addresses = \"fd50::11\"\n", "6:20: "),
        ("mobike-addresses = [\"fd50::11\", \"fd50::11\"]\n", "6:33: fd50::11 is listed twice"),
        ("mobike-addresses = [\"gw1.example.net\"]\n", "6:21: \"gw1.example.net\": not an IP address"),
        ("mobike-addresses = [\"224.0.0.1\"]\n", "6:21: \"224.0.0.1\": a multicast address"),
        ("mobike-addresses = [\"0.0.0.0\"]\n", "6:21: "),
    ] {
        let found = mistakes(&config(text, "", ""));
        assert!(found.len() == 1 && found[0].starts_with(starts), "{text}: {found:?}");
    }
    let many: Vec<String> = (1..=9).map(|last| format!("\"10.50.0.{last}\"")).collect();
    let found = mistakes(&config(&format!("mobike-addresses = [{}]\n", many.join(", ")), "", ""));
    assert!(found.len() == 1 && found[0].contains("at most 8"), "{found:?}");
    for (profile, connection) in
        [("mobike = 1\n", ""), ("mobike-check = \"no\"\n", ""), ("", "mobike-check = true\n")]
    {
        assert_eq!(mistakes(&config("", profile, connection)).len(), 1, "{profile}{connection}");
    }
}
