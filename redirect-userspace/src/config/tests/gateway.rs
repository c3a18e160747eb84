//! `[ike]`: the gateway and its client side.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use super::*;
use crate::crypto::Legacy;
use crate::ike::config::{
    Encapsulation, Lifetimes, LocalProof, Name, Profile, RemoteProof, Start, Upkeep, Volume,
};
use crate::ike::identity::{Claim, Pattern, parse as identity};

/// A PSK that is in no message.
const PSK: &str = "correct horse battery staple";

const CA: &str = include_str!("../../../tests/data/pki/ca.crt");
const CRL: &str = include_str!("../../../tests/data/pki/ca.crl");
const VPN: [&str; 2] =
    [include_str!("../../../tests/data/pki/vpn.crt"), include_str!("../../../tests/data/pki/vpn.key")];
const NAMELESS: [&str; 2] = [
    include_str!("../../../tests/data/pki/nameless.crt"),
    include_str!("../../../tests/data/pki/nameless.key"),
];
const SIGNER: [&str; 2] =
    [include_str!("../../../tests/data/pki/signer.crt"), include_str!("../../../tests/data/pki/signer.key")];

/// `[ike]` in line 5 with what a test is about, and a profile.
fn gateway(rest: &str) -> String {
    after_start(&format!("[ike]\n{rest}{}", profile("")))
}

/// A profile of which nothing is wrong, followed by what a test is about.
fn profile(rest: &str) -> String {
    format!(
        "[[ike.profile]]\nname = \"branch\"\nlocal-auth = \"psk\"\nremote-auth = \"psk\"\n\
         psk = \"{PSK}\"\n{rest}"
    )
}

/// A profile in lines 5 to 9, and what a test is about from line 10 on.
fn with_profile(rest: &str) -> String {
    after_start(&profile(rest))
}

/// A connection in lines 5 to 11, and what a test is about from line 12 on.
fn with_connection(rest: &str) -> String {
    after_start(&format!(
        "[[ike.connection]]\nname = \"hq\"\nremote = [\"10.50.0.5\"]\nremote-id = \"vpn.example.net\"\n\
         local-auth = \"psk\"\nremote-auth = \"psk\"\npsk = \"{PSK}\"\n{rest}"
    ))
}

/// A directory with the certificates and keys above.
struct Pki(TempDir);

impl Pki {
    fn new() -> Self {
        let pki = Self(TempDir::new());
        for (name, [certificate, key]) in [("vpn", VPN), ("nameless", NAMELESS), ("signer", SIGNER)] {
            pki.write(&format!("{name}.crt"), certificate, 0o644);
            pki.write(&format!("{name}.key"), key, 0o600);
        }
        pki.write("ca.crt", CA, 0o644);
        pki.write("ca.crl", CRL, 0o644);
        pki
    }

    fn write(&self, name: &str, content: &str, mode: u32) {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    /// A profile that proves itself by a certificate, with a line of its own for each key: `name`
    /// in line 6, `local-id` 7, `local-auth` 8, `remote-auth` 9, `certificate` 10, `private-key`
    /// 11, `ca` 12. `/pki/` stands for the directory.
    fn profile(&self, [from, to]: [&str; 2], rest: &str) -> String {
        let text = "[[ike.profile]]\nname = \"ra\"\nlocal-id = \"vpn.example.net\"\nlocal-auth = \"pubkey\"\n\
                    remote-auth = \"pubkey\"\ncertificate = \"/pki/vpn.crt\"\n\
                    private-key = \"/pki/vpn.key\"\nca = [\"/pki/ca.crt\"]\n";
        assert!(text.contains(from), "{from}");
        let text = format!("{}{rest}", text.replacen(from, to, 1));
        after_start(&text.replace("/pki/", &format!("{}/", self.0.path().display())))
    }

    /// The mistakes of such a profile, with `/pki/` for the directory.
    fn mistakes(&self, change: [&str; 2], rest: &str) -> Vec<String> {
        let directory = format!("{}/", self.0.path().display());
        let mistakes = mistakes(&self.profile(change, rest));
        mistakes.into_iter().map(|mistake| mistake.replace(&directory, "/pki/")).collect()
    }
}

fn ike(text: &str) -> Ike {
    parse(text).unwrap().ike.unwrap()
}

fn only_profile(text: &str) -> Arc<Profile> {
    let [profile] = &ike(text).settings.profiles[..] else { panic!("one profile") };
    Arc::clone(profile)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

#[test]
fn without_the_section_there_is_no_gateway() {
    assert_eq!(parse(&after_start("")).unwrap().ike, None);
}

#[test]
fn a_gateway_has_the_defaults_of_the_contract() {
    let Ike { settings, pools, start, engine, .. } = ike(&gateway(""));

    assert_eq!(
        texts(&settings.ike_proposals),
        ["aes256gcm16-prfsha384-ecp384", "aes128gcm16-prfsha256-x25519", "aes256-prfsha256-sha256-modp2048"]
    );
    assert_eq!(
        texts(&settings.esp_proposals),
        ["aes256gcm16-noesn", "aes128gcm16-noesn", "aes256-sha256-noesn"]
    );
    assert_eq!(texts(&engine.listen), ["0.0.0.0", "::"]);
    assert_eq!((engine.dataplane, engine.workers), (Dataplane::Auto, None));
    assert_eq!((engine.tun.name.as_str(), engine.tun.mtu), ("ike0", 1_400));
    assert_eq!((pools, start.len(), settings.connections.len()), (Vec::new(), 0, 0));
    assert_eq!(settings.limits, crate::ike::config::Limits::default());
    assert_eq!(settings.retransmission, crate::ike::config::Retransmission::default());
    assert_eq!(settings.fragment_size.octets(), 1_280);
    assert_eq!(settings.encapsulation, Encapsulation::BehindNat);
    assert_eq!((settings.half_open_timeout, settings.nat_keepalive), (seconds(30), seconds(20)));
    assert_eq!(settings.legacy, None);
}

#[test]
fn every_key_of_a_gateway_is_taken_over() {
    let Ike { settings, engine, .. } = ike(&gateway(
        r#"
            listen = ["10.50.0.11"]
            ike-proposals = ["aes128-sha256-ecp256"]
            esp-proposals = ["chacha20poly1305-esn"]
            dataplane = "none"
            workers = 4
            fragment-size = 576
            encapsulation = "always"
            half-open-timeout = "5s"
            nat-keepalive = "10s"
            legacy-sha1 = true
            tun = { name = "vpn0", mtu = 1280 }
            limits = { cookie-threshold = 1, half-open = 2, half-open-per-source = 3, half-open-per-prefix = 6, max-sas = 4, max-children = 5 }
            retransmission = { first = "500ms", longest = "4s", patience = "20s" }
        "#,
    ));

    assert_eq!(texts(&settings.ike_proposals), ["aes128-prfsha256-sha256-ecp256"]);
    assert_eq!(texts(&settings.esp_proposals), ["chacha20poly1305-esn"]);
    assert_eq!(texts(&engine.listen), ["10.50.0.11"]);
    assert_eq!(engine.dataplane, Dataplane::None);
    assert_eq!(engine.workers.map(std::num::NonZeroU16::get), Some(4));
    assert_eq!((engine.tun.name.as_str(), engine.tun.mtu), ("vpn0", 1_280));
    assert_eq!(settings.fragment_size.octets(), 576);
    assert_eq!(settings.encapsulation, Encapsulation::Always);
    assert_eq!((settings.half_open_timeout, settings.nat_keepalive), (seconds(5), seconds(10)));
    assert_eq!(settings.legacy, Some(Legacy::permit()));
    let limits = settings.limits;
    assert_eq!((limits.cookie_threshold, limits.half_open), (1, 2));
    assert_eq!((limits.half_open_per_source, limits.half_open_per_prefix), (3, 6));
    assert_eq!((limits.sas, limits.children), (4, 5));
    let retransmission = settings.retransmission;
    assert_eq!((retransmission.first, retransmission.longest), (Duration::from_millis(500), seconds(4)));
    assert_eq!(retransmission.patience, seconds(20));
}

#[test]
fn a_profile_needs_only_its_authentication() {
    let profile = only_profile(&with_profile(""));

    assert_eq!(profile.name.as_str(), "branch");
    assert_eq!(profile.authentication.local_id, Claim::Implied);
    assert_eq!(profile.authentication.remote_ids, [Pattern::Anyone]);
    assert!(
        matches!(&profile.authentication.local, LocalProof::SharedKey(key) if key.expose() == PSK.as_bytes())
    );
    assert!(matches!(&profile.authentication.remote, RemoteProof::SharedKey(_)));
    assert_eq!((profile.pools.len(), profile.remote_ts.len(), profile.esp_proposals.len()), (0, 0, 0));
    assert_eq!(profile.local_ts.len(), 2);
    assert_eq!(profile.guidance, crate::ike::config::Guidance::default());
    assert_eq!((profile.dpd, profile.lifetimes), (Some(seconds(30)), Lifetimes::default()));
    assert!(!profile.redirect_auth);
}

#[test]
fn every_key_of_a_profile_is_taken_over() {
    let text = with_profile(
        r#"
            local-id = "vpn.example.net"
            remote-id = ["*@example.net", "keyid:branch7"]
            pools = ["ra4", "ra6"]
            subnets = ["10.99.0.0/16", "fd99::/64"]
            domains = ["corp.example.net"]
            local-ts = ["10.99.0.0/16[tcp/443]"]
            remote-ts = ["10.7.0.0/16", "fd07::/64"]
            esp-proposals = ["aes256gcm16"]
            redirect-auth = false
            dpd = false
            rekey-ike = "1h"
            rekey-child = false
            rekey-grace = "1m"
            rekey-bytes = 1000000
            rekey-packets = 2000
            [[ike.pool]]
            name = "ra4"
            subnet = "10.98.0.0/24"
            dns = ["10.99.0.1", "10.99.0.2"]
            [[ike.pool]]
            name = "ra6"
            subnet = "fd98::/64"
            dns = ["fd99::1", "10.99.0.1"]
        "#,
    );
    let profile = only_profile(&text);

    assert_eq!(profile.authentication.local_id, Claim::Id(identity("vpn.example.net").unwrap()));
    let [mail, key] = &profile.authentication.remote_ids[..] else { panic!("two patterns") };
    assert_eq!(mail, &Pattern::MailOf("@example.net".into()));
    assert_eq!(key, &Pattern::Id(identity("keyid:branch7").unwrap()));
    assert_eq!(texts(&profile.pools), ["ra4", "ra6"]);
    assert_eq!(texts(&profile.guidance.dns), ["10.99.0.1", "10.99.0.2", "fd99::1"]);
    assert_eq!((profile.guidance.subnets4.len(), profile.guidance.subnets6.len()), (1, 1));
    assert_eq!(profile.guidance.domains, ["corp.example.net".into()]);
    assert_eq!((profile.local_ts.len(), profile.remote_ts.len()), (1, 2));
    assert_eq!(texts(&profile.esp_proposals), ["aes256gcm16-noesn"]);
    assert_eq!(profile.dpd, None);
    let volume = Volume { bytes: Some(1_000_000), packets: Some(2_000) };
    let lifetimes = Lifetimes { ike: Some(seconds(3_600)), child: None, grace: seconds(60), volume };
    assert_eq!(profile.lifetimes, lifetimes);
    let pools: Vec<_> = ike(&text).pools.iter().map(|pool| pool.subnet.to_string()).collect();
    assert_eq!(pools, ["10.98.0.0/24", "fd98::/64"]);
}

#[test]
fn clients_are_redirected_in_ike_auth_by_profile_or_all_of_them() {
    let is_redirected = |rest: &str, list: &str| {
        let text = with_profile(&format!("{rest}[redirect]\ngateway = [{list}]\n"));
        only_profile(&text).redirect_auth
    };

    assert!(!is_redirected("", "\"init\""));
    assert!(is_redirected("", "\"init\", \"auth\""));
    assert!(is_redirected("redirect-auth = true\n", "\"init\""));
    assert!(!is_redirected("redirect-auth = false\n", "\"auth\""));
}

#[test]
fn distinguished_names_are_identities_and_patterns() {
    let authentication = "local-id = \"O=Example, CN=gw1\"\nremote-id = [\"O=Example, CN=*\"]\n";
    let profile = only_profile(&with_profile(authentication));

    let claim = Claim::Id(identity("O=Example, CN=gw1").unwrap());
    assert_eq!(profile.authentication.local_id, claim);
    assert_eq!(texts(&profile.authentication.remote_ids), ["O=Example, CN=*"]);
}

#[test]
fn a_connection_is_a_profile_with_an_address() {
    let Ike { settings, start, .. } = ike(&with_connection(
        "request = [\"ipv4\"]\n[[ike.connection]]\nname = \"dr\"\nremote = [\"[fd50::5]:4500\", \"10.60.0.5\"]\n\
         remote-id = \"*\"\nlocal-auth = \"psk\"\nremote-auth = \"psk\"\npsk = \"x\"\nstart = \"manual\"\npatience = \"5s\"\n",
    ));

    let [hq, dr] = &settings.connections[..] else { panic!("two connections") };
    assert_eq!((texts(&hq.remotes), hq.wants_ipv4, hq.wants_ipv6), (texts(&["10.50.0.5:500"]), true, false));
    assert_eq!((hq.profile.local_ts.len(), hq.profile.remote_ts.len()), (0, 2));
    assert_eq!(texts(&dr.remotes), ["[fd50::5]:4500", "10.60.0.5:500"]);
    assert_eq!((dr.profile.local_ts.len(), dr.wants_ipv4, dr.wants_ipv6), (0, false, false));
    assert_eq!(start, [(Name::new("hq").unwrap(), Start::Auto)]);
    assert_eq!(hq.upkeep, Upkeep { start: Start::Auto, patience: Some(seconds(30)) });
    assert_eq!(dr.upkeep, Upkeep { start: Start::Manual, patience: Some(seconds(5)) });
    assert!(settings.follows_redirects);
    assert_eq!(settings.following, Following::default());
}

#[test]
fn a_connection_can_wait_for_a_packet() {
    let Ike { settings, start, .. } = ike(&with_connection("start = \"trap\"\n"));

    let [hq] = &settings.connections[..] else { panic!("one connection") };
    assert_eq!(hq.upkeep.start, Start::Trap);
    assert_eq!(start, [(Name::new("hq").unwrap(), Start::Trap)]);
}

#[test]
fn connections_follow_redirects_as_far_as_the_section_says() {
    let Ike { settings, .. } =
        ike(&with_connection("[redirect.client]\nenabled = false\nmax-redirects = 1\nperiod = \"10s\"\n"));

    assert!(!settings.follows_redirects);
    assert_eq!((settings.following.most, settings.following.period), (1, seconds(10)));
}

#[test]
fn certificates_are_read_with_their_keys() {
    let pki = Pki::new();
    let text = pki.profile(
        ["ca = [\"/pki/ca.crt\"]", "ca = \"/pki/ca.crt\""],
        "crl = \"/pki/ca.crl\"\nrevocation = \"strict\"\n",
    );
    let profile = only_profile(&text.replace("/pki/", &format!("{}/", pki.0.path().display())));

    let LocalProof::Certificate(credential) = &profile.authentication.local else { panic!("a certificate") };
    assert_eq!(credential.chain.len(), 1);
    assert_eq!(Ok(credential.key.public()), credential.chain[0].public_key());
    let RemoteProof::Certificate(trust) = &profile.authentication.remote else { panic!("a CA") };
    assert_eq!(trust.anchors().count(), 1);
    assert_eq!(trust.validate(&credential.chain[0], &[], NOW), Ok(()));
}

#[test]
fn a_mixed_profile_has_a_key_and_a_certificate() {
    let pki = Pki::new();
    let text =
        pki.profile(["remote-auth = \"pubkey\"\n", "remote-auth = \"psk\"\n"], &format!("psk = \"{PSK}\"\n"));
    let without_ca = text.lines().filter(|line| !line.starts_with("ca ")).collect::<Vec<_>>().join("\n");

    let profile = only_profile(&without_ca);

    assert!(matches!(profile.authentication.local, LocalProof::Certificate(_)));
    assert!(matches!(profile.authentication.remote, RemoteProof::SharedKey(_)));
}

#[test]
fn what_was_read_from_files_makes_a_difference() {
    let pki = Pki::new();
    let text = pki.profile(["ca", "ca"], "");
    let with_file = with_profile("")
        .replace(&format!("psk = \"{PSK}\""), &format!("psk-file = \"{}/psk\"", pki.0.path().display()));
    pki.write("psk", "first", 0o600);
    let (first, first_psk) = (ike(&text), ike(&with_file));
    assert_eq!((&first, &first_psk), (&ike(&text), &ike(&with_file)));

    pki.write("ca.crt", &format!("{CA}\n"), 0o644);
    pki.write("psk", "other", 0o600);

    assert_ne!(first, ike(&text));
    assert_ne!(first_psk, ike(&with_file));
    assert_ne!(ike(&with_profile("")), ike(&with_profile("dpd = \"31s\"\n")));
    assert_ne!(ike(&gateway("")), ike(&gateway("workers = 1\n")));
}

/// What is wrong with `[ike]`, from line 6 on.
const GATEWAY_MISTAKES: &[(&str, &[&str])] = &[
    ("listen = []\n", &["6:10: `listen` needs at least one address"]),
    (
        "listen = [\"10.0.0.1\", \"10.0.0.1\", \"10.0.0.1:500\", \"ff02::1\"]\n",
        &[
            "6:23: 10.0.0.1 is listed twice",
            "6:35: \"10.0.0.1:500\": not an IP address (write no port)",
            "6:51: \"ff02::1\": a multicast address belongs to no single host",
        ],
    ),
    ("ike-proposals = []\n", &["6:17: `ike-proposals` needs at least one proposal"]),
    (
        "ike-proposals = [\"aes256-sha1-modp2048\", \"aes256gcm16-modp2048\", \"aes256gcm16-prfsha256-ecp999\"]\n",
        &[
            "6:18: \"aes256-sha1-modp2048\": `sha1` is refused: SHA-1 is on its way out (RFC 8247 §2.2): \
             use `sha256`",
            "6:42: \"aes256gcm16-modp2048\": a pseudorandom function, such as `prfsha256`, is missing",
            "6:66: \"aes256gcm16-prfsha256-ecp999\": `ecp999` is not a known algorithm",
        ],
    ),
    ("esp-proposals = [\"aes256gcm16\", \"aes256gcm\"]\n", &["6:33: \"aes256gcm\" is listed twice"]),
    ("esp-proposals = \"aes256gcm16\"\n", &["6:17: `esp-proposals` is a list of strings, not a string"]),
    (
        "dataplane = \"xfrm\"\n",
        &["6:13: `dataplane` is \"auto\", \"kernel\", \"userspace\" or \"none\", not \"xfrm\""],
    ),
    ("workers = 0\n", &["6:11: `workers` is 1 to 256, not 0"]),
    (
        "tun = { name = \"a/b\", mtu = 1279 }\n",
        &["6:16: \"a/b\": no interface has such a name", "6:29: `mtu` is 1280 to 9000, not 1279"],
    ),
    (
        "limits = { half-open = 0, max-sa = 1 }\n",
        &[
            "6:24: `half-open` is 1 to 100000, not 0",
            "6:27: unknown key `max-sa` in [ike.limits], did you mean `max-sas`?",
        ],
    ),
    (
        "retransmission = { first = \"5s\", longest = \"4s\", patience = \"3s\" }\n",
        &[
            "6:44: `longest`, 4s, is shorter than `first`, 5s",
            "6:61: `patience`, 3s, is shorter than `first`, 5s",
        ],
    ),
    ("retransmission = { first = \"50ms\" }\n", &["6:28: `first` is 100ms to 1m, not 50ms"]),
    ("retransmission = { first = \"40s\" }\n", &["6:28: `longest`, 32s, is shorter than `first`, 40s"]),
    ("fragment-size = 575\n", &["6:17: `fragment-size` is 576 to 1500, not 575"]),
    ("nat-keepalive = \"4s\"\n", &["6:17: `nat-keepalive` is 5s to 1h, not 4s"]),
    ("half-open-timeout = \"1h\"\n", &["6:21: `half-open-timeout` is 1s to 10m, not 1h"]),
    (
        "encapsulation = \"never\"\n",
        &["6:17: `encapsulation` is \"behind-nat\" or \"always\", not \"never\""],
    ),
    ("legacy-sha1 = \"yes\"\n", &["6:15: `legacy-sha1` is true or false, not a string"]),
    ("workerz = 1\n", &["6:1: unknown key `workerz` in [ike], did you mean `workers`?"]),
    (
        "user = [{}]\nradius = [{}]\n",
        &[
            "6:9: `name` in [[ike.user]] is missing",
            "6:9: `password` or `password-file` in [[ike.user]] is missing",
            "7:11: `secret` or `secret-file` in [[ike.radius]] is missing",
            "7:11: `server` in [[ike.radius]] is missing",
        ],
    ),
    // Pools.
    (
        "[[ike.pool]]\n",
        &["6:1: `name` in [[ike.pool]] is missing", "6:1: `subnet` in [[ike.pool]] is missing"],
    ),
    (
        "[[ike.pool]]\nname = \"a b\"\nsubnet = \"10.0.0.1/24\"\ndns = [\"ns\", \"10.0.0.1\", \"10.0.0.1\"]\n",
        &[
            "7:8: \"a b\": a name has 1 to 63 octets and no white space",
            "8:10: \"10.0.0.1/24\": has bits beyond its length, did you mean \"10.0.0.0/24\"?",
            "9:8: \"ns\": not an IP address",
            "9:26: 10.0.0.1 is listed twice",
        ],
    ),
    (
        "[[ike.pool]]\nname = \"a\"\nsubnet = \"10.0.0.0/8\"\n[[ike.pool]]\nname = \"a\"\nsubnet = \"10.9.0.0/16\"\n",
        &[
            "10:8: pool \"a\" is already defined in line 7",
            "11:10: 10.9.0.0/16 overlaps pool \"a\" in line 7",
        ],
    ),
];

#[test]
fn every_mistake_in_a_gateway_is_named_at_its_place() {
    assert_eq!(mistakes(&gateway("")), [""; 0]);
    for (rest, expected) in GATEWAY_MISTAKES {
        assert_eq!(mistakes(&gateway(rest)), *expected, "{rest}");
    }
}

/// What is wrong with a profile, from line 10 on.
const PROFILE_MISTAKES: &[(&str, &[&str])] = &[
    (
        "local-id = \"\"\n",
        &["10:12: \"\": not an identity: an address, a domain name, NAME@DOMAIN, \
        keyid:TEXT or a distinguished name like \"CN=gw1, O=Example\""],
    ),
    ("remote-id = []\n", &["10:13: `remote-id` needs at least one identity"]),
    ("remote-id = 1\n", &["10:13: `remote-id` is a string or a list of strings, not an integer"]),
    (
        "remote-id = [\"*\", \"*example.net\"]\n",
        &[
            "10:19: \"*example.net\": a pattern is \"*\", \"*.DOMAIN\", \"*@DOMAIN\" or like \"O=Example, CN=*\"",
        ],
    ),
    (
        "certificate = \"/c\"\nca = [\"/c\"]\n",
        &[
            "10:1: `certificate` in [[ike.profile]] needs `local-auth = \"pubkey\"`",
            "11:1: `ca` in [[ike.profile]] needs `remote-auth = \"pubkey\"`",
        ],
    ),
    ("psk-file = \"/k\"\n", &["10:12: `psk` in [[ike.profile]] and `psk-file` exclude each other"]),
    ("pools = [\"ra4\"]\n", &["10:10: no [[ike.pool]] has the name \"ra4\""]),
    (
        "pools = [\"ra4\", \"ra\"]\n[[ike.pool]]\nname = \"ra6\"\nsubnet = \"fd98::/64\"\n",
        &[
            "10:10: no [[ike.pool]] has the name \"ra4\", did you mean \"ra6\"?",
            "10:17: no [[ike.pool]] has the name \"ra\", did you mean \"ra6\"?",
        ],
    ),
    (
        "pools = [\"ra6\", \"ra6\"]\n[[ike.pool]]\nname = \"ra6\"\nsubnet = \"fd98::/64\"\n",
        &["10:17: pool \"ra6\" is listed twice"],
    ),
    (
        "subnets = [\"10.0.0.1/8\"]\ndomains = [\"a..b\"]\n",
        &[
            "10:12: \"10.0.0.1/8\": has bits beyond its length, did you mean \"10.0.0.0/8\"?",
            "11:12: \"a..b\": a label of a domain name is not empty",
        ],
    ),
    (
        "local-ts = []\nremote-ts = [\"10.0.0.9-10.0.0.1\"]\n",
        &[
            "10:12: `local-ts` needs at least one traffic selector",
            "11:14: \"10.0.0.9-10.0.0.1\": the range ends before it begins",
        ],
    ),
    (
        "esp-proposals = [\"aes256gcm16-prfsha256\"]\n",
        &["10:18: \"aes256gcm16-prfsha256\": `prfsha256` has no place in this proposal"],
    ),
    (
        "redirect-auth = \"yes\"\n",
        &["10:17: `redirect-auth` is true, false, \"first\" or \"last\", not \"yes\""],
    ),
    (
        "dpd = true\nrekey-ike = \"9s\"\nrekey-grace = false\n",
        &[
            "10:7: `dpd` is a duration or false, not true",
            "11:13: `rekey-ike` is 10s to 24h, not 9s",
            "12:15: `rekey-grace` is a string, not a boolean",
        ],
    ),
    ("remote = [\"10.0.0.1\"]\n", &["10:1: unknown key `remote` in [[ike.profile]]"]),
    (
        "[[ike.profile]]\nname = \"branch\"\nlocal-auth = \"psk\"\nremote-auth = \"psk\"\npsk = \"x\"\n",
        &["11:8: \"branch\" is the name of a profile in line 6 already"],
    ),
    (
        "[[ike.profile]]\n",
        &[
            "10:1: `local-auth` in [[ike.profile]] is missing",
            "10:1: `name` in [[ike.profile]] is missing",
            "10:1: `remote-auth` in [[ike.profile]] is missing",
        ],
    ),
    (
        "[[ike.profile]]\nname = \"b\"\nlocal-auth = \"rsa\"\nremote-auth = \"eap-tls\"\npsk = \"x\"\nca = [\"/c\"]\n",
        &[
            "12:14: `local-auth` is \"psk\" or \"pubkey\", not \"rsa\"",
            "15:7: \"/c\": cannot be read: No such file or directory (os error 2)",
        ],
    ),
    (
        "[[ike.profile]]\nname = \"b\"\nlocal-auth = \"psk\"\nremote-auth = \"psk\"\n",
        &["10:1: `psk` or `psk-file` in [[ike.profile]] is missing"],
    ),
    (
        "[[ike.profile]]\nname = \"b\"\nlocal-auth = \"pubkey\"\nremote-auth = \"pubkey\"\npsk = \"x\"\n",
        &[
            "10:1: `ca` in [[ike.profile]] is missing",
            "10:1: `certificate` in [[ike.profile]] is missing",
            "10:1: `private-key` in [[ike.profile]] is missing",
            "14:1: `psk` in [[ike.profile]] needs `local-auth` or `remote-auth` to be \"psk\"",
        ],
    ),
];

#[test]
fn every_mistake_in_a_profile_is_named_at_its_place() {
    for (rest, expected) in PROFILE_MISTAKES {
        assert_eq!(mistakes(&with_profile(rest)), *expected, "{rest}");
    }
}

/// What is wrong with a connection, from line 12 on.
const CONNECTION_MISTAKES: &[(&str, &[&str])] = &[
    ("patience = \"700s\"\n", &["12:12: `patience` is 1s to 10m, not 700s"]),
    ("start = \"always\"\n", &["12:9: `start` is \"auto\", \"trap\" or \"manual\", not \"always\""]),
    (
        "request = [\"ipv4\", \"ipv4\", \"dns\"]\n",
        &["12:20: \"ipv4\" is listed twice", "12:28: `request` lists \"ipv4\" or \"ipv6\", not \"dns\""],
    ),
    ("pools = [\"ra4\"]\n", &["12:1: unknown key `pools` in [[ike.connection]]"]),
    (
        "[[ike.connection]]\nname = \"hq\"\nremote = [\"vpn.example.net\", \"0.0.0.0\", \"10.0.0.1\", \
         \"10.0.0.1:500\"]\nlocal-auth = \"psk\"\nremote-auth = \"psk\"\npsk = \"x\"\n",
        &[
            "12:1: `remote-id` in [[ike.connection]] is missing",
            "13:8: \"hq\" is the name of a connection in line 6 already",
            "14:11: \"vpn.example.net\": not ADDRESS or ADDRESS:PORT (names are not supported yet)",
            "14:30: \"0.0.0.0\": nobody listens there",
            "14:53: \"10.0.0.1:500\" is listed twice",
        ],
    ),
    (
        "[[ike.connection]]\nname = \"dr\"\nremote-id = \"*\"\nlocal-auth = \"psk\"\nremote-auth = \"psk\"\npsk = \"\"\n",
        &["12:1: `remote` in [[ike.connection]] is missing", "17:7: a PSK has 1 to 1024 octets, not 0"],
    ),
];

#[test]
fn every_mistake_in_a_connection_is_named_at_its_place() {
    assert_eq!(mistakes(&with_connection("")), [""; 0]);
    for (rest, expected) in CONNECTION_MISTAKES {
        assert_eq!(mistakes(&with_connection(rest)), *expected, "{rest}");
    }
}

#[test]
fn a_gateway_for_nobody_is_refused() {
    assert_eq!(
        mistakes(&after_start("[ike]\nworkers = 1\n")),
        ["5:1: [ike] needs a [[ike.profile]] or [[ike.connection]]: nobody could get an SA"]
    );
    assert_eq!(
        mistakes(&after_start("ike = 1\n").replace("fast-path", "ike = 1\nfast-path"))[0],
        "1:7: [ike] is a table, not an integer"
    );
}

#[test]
fn credentials_that_do_not_fit_are_named_with_the_reason() {
    let pki = Pki::new();
    pki.write("shared.key", VPN[1], 0o640);
    pki.write("empty", "", 0o600);
    pki.write(
        "encrypted.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        0o600,
    );
    pki.write("broken.crt", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", 0o644);
    for (from, to, expected) in [
        ("ca", "ca", &[][..]),
        ("/pki/vpn.key", "/pki/signer.key", &["11:15: \"/pki/signer.key\": not the key of the certificate"]),
        (
            "/pki/vpn.key",
            "/pki/shared.key",
            &["11:15: \"/pki/shared.key\": mode 0640 lets others than the owner at the key: chmod 600"],
        ),
        ("/pki/vpn.key", "/pki/empty", &["11:15: \"/pki/empty\": no private key in the file"]),
        ("/pki/vpn.key", "vpn.key", &["11:15: \"vpn.key\": not an absolute path"]),
        (
            "/pki/vpn.key",
            "/pki/encrypted.key",
            &["11:15: \"/pki/encrypted.key\": the private key is encrypted; store it without a passphrase, \
              readable by the daemon only"],
        ),
        ("/pki/vpn.crt", "/pki/empty", &["10:15: \"/pki/empty\": no certificate in the file"]),
        (
            "/pki/vpn.crt",
            "/pki/none",
            &["10:15: \"/pki/none\": cannot be read: No such file or directory (os error 2)"],
        ),
        (
            "/pki/vpn.crt",
            "/pki/broken.crt",
            &["10:15: \"/pki/broken.crt\": not a certificate: TBSCertificate: 1 octets needed, 0 there"],
        ),
        (
            "\"vpn.example.net\"",
            "\"gw1.example.net\"",
            &["7:12: the certificate does not have this identity in it"],
        ),
        (
            "/pki/ca.crt",
            "/pki/vpn.crt",
            &["12:7: \"/pki/vpn.crt\": O=Example, CN=vpn.example.net: not the certificate of a CA"],
        ),
        ("/pki/ca.crt", "/pki/ca.crl", &["12:7: \"/pki/ca.crl\": no certificate in the file"]),
        ("[\"/pki/ca.crt\"]", "[]", &["12:6: `ca` needs at least one file"]),
    ] {
        assert_eq!(pki.mistakes([from, to], ""), expected, "{to}");
    }
    for (rest, expected) in [
        (
            "crl = [\"/pki/ca.crt\"]\n",
            &["13:8: \"/pki/ca.crt\": no list of revoked certificates in the file"][..],
        ),
        (
            "crl = \"/pki/none\"\n",
            &["13:7: \"/pki/none\": cannot be read: No such file or directory (os error 2)"],
        ),
        // Peers may bring along what must be known.
        ("revocation = \"strict\"\n", &[]),
        (
            "revocation = \"soft\"\n",
            &["13:14: `revocation` is \"relaxed\", \"ifuri\" or \"strict\", not \"soft\""],
        ),
    ] {
        let rest = rest.replace("/pki/", &format!("{}/", pki.0.path().display()));
        assert_eq!(pki.mistakes(["ca", "ca"], &rest), expected, "{rest}");
    }
}

#[test]
fn a_certificate_is_for_ike_and_for_its_owner() {
    let pki = Pki::new();
    let other = |name: &str| {
        let text = pki.profile(["ca", "ca"], "").replace("/vpn.", &format!("/{name}."));
        let text = text.replace("local-id = \"vpn.example.net\"\n", "");
        let mistakes = mistakes(&text);
        mistakes
            .into_iter()
            .map(|text| text.replace(&pki.0.path().display().to_string(), "/pki"))
            .collect::<Vec<_>>()
    };

    assert_eq!(other("vpn"), Vec::<String>::new());
    assert_eq!(
        other("signer"),
        ["9:15: \"/pki/signer.crt\": the usages in the certificate do not allow authentication in IKE"]
    );
    // Its first other name is the identity then.
    assert_eq!(other("nameless"), Vec::<String>::new());
}

#[test]
fn certificates_are_judged_by_the_time_that_is_given() {
    let pki = Pki::new();
    let text = pki.profile(["ca", "ca"], "");
    let mistakes = |now| {
        let errors = Config::parse(Path::new("f"), &text, now).err();
        let errors = errors.iter().flat_map(ConfigErrors::iter);
        let place = |error: &ConfigError| format!("{}:{}: {}", error.line, error.column, error.message);
        errors
            .map(|error| place(error).replace(&pki.0.path().display().to_string(), "/pki"))
            .collect::<Vec<_>>()
    };
    let year_2127 = UnixTime::from_epoch(Duration::from_secs(4_955_000_000));

    assert_eq!(mistakes(NOW), [""; 0]);
    for (now, what) in [(UnixTime::EPOCH, "is not valid yet"), (year_2127, "has expired")] {
        assert_eq!(
            mistakes(now),
            [
                format!("10:15: \"/pki/vpn.crt\": the certificate of O=Example, CN=vpn.example.net {what}"),
                format!("12:7: \"/pki/ca.crt\": the certificate of CN=VPN CA {what}"),
            ]
        );
    }
}

#[test]
fn no_message_and_no_debug_text_shows_a_psk() {
    let text = with_profile("psk-file = \"/none\"\nlocal-id = 1\ndpd = 7\n");

    let errors = parse(&text).unwrap_err().to_string();

    assert!(errors.lines().count() >= 3, "{errors}");
    assert!(!errors.contains("horse"), "{errors}");
    assert!(!format!("{:?}", ike(&with_profile(""))).contains("horse"));
    assert!(format!("{:?}", ike(&with_profile(""))).contains("Fingerprint(…)"));
}

#[test]
fn a_file_with_a_psk_in_it_is_its_owners_alone() {
    let dir = TempDir::new();
    let path = dir.path().join("redirectd.toml");
    let load = |mode| {
        fs::write(&path, with_profile("")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        Config::load(&path, NOW).map_err(|errors| errors.to_string())
    };

    assert!(load(0o600).is_ok());
    assert_eq!(
        load(0o644).unwrap_err(),
        format!(
            "{}:9:7: `psk` in [[ike.profile]] is a secret, but this file has mode 0644: chmod 600",
            path.display()
        )
    );
}

#[test]
fn clients_get_in_by_eap_tls_where_the_gateway_has_a_certificate() {
    let pki = Pki::new();
    let tls = ["remote-auth = \"pubkey\"", "remote-auth = \"eap-tls\""];
    for rest in ["", "eap-tls-identity = \"any\"\n", "eap-tls-identity = \"certificate\"\n"] {
        let profile = only_profile(&pki.profile(tls, rest));
        let RemoteProof::Eap(gate) = &profile.authentication.remote else { panic!("EAP") };
        let crate::ike::authn::eap::By::Us(makers) = &gate.by else { panic!("ours") };
        let kinds: Vec<_> = makers.iter().map(|maker| maker.kind()).collect();
        assert_eq!(kinds, [crate::ike::wire::EapType::Tls]);
        assert!(makers[0].may_stand_alone());
    }
    assert_eq!(
        pki.mistakes(["name = \"ra\"", "name = \"ra\""], "eap-tls-identity = \"any\"\n"),
        ["13:1: `eap-tls-identity` in [[ike.profile]] needs `remote-auth` by EAP"]
    );
    assert_eq!(
        pki.mistakes(tls, "eap-tls-identity = \"some\"\n"),
        ["13:20: `eap-tls-identity` is \"certificate\" or \"any\", not \"some\""]
    );
    let without =
        pki.profile(tls, "").replace("local-auth = \"pubkey\"", "local-auth = \"psk\"\npsk = \"x\"");
    assert!(
        mistakes(&without)
            .iter()
            .any(|mistake| mistake.contains("\"eap-tls\" needs `local-auth = \"pubkey\"`"))
    );
}

/// A connection that proves itself by EAP-TLS, with a line of its own for each key: `name` in line 6,
/// `remote` 7, `remote-id` 8, `local-auth` 9, `remote-auth` 10, `certificate` 11, `private-key` 12, `ca` 13.
fn tls_connection(pki: &Pki, [from, to]: [&str; 2], rest: &str) -> String {
    let text = "[[ike.connection]]\nname = \"hq\"\nremote = [\"10.50.0.5\"]\nremote-id = \"gw.example.net\"\n\
                local-auth = \"eap-tls\"\nremote-auth = \"pubkey\"\ncertificate = \"/pki/vpn.crt\"\n\
                private-key = \"/pki/vpn.key\"\nca = \"/pki/ca.crt\"\n";
    assert!(text.contains(from), "{from}");
    let text = format!("{}{rest}", text.replacen(from, to, 1));
    after_start(&text.replace("/pki/", &format!("{}/", pki.0.path().display())))
}

#[test]
fn a_connection_proves_itself_by_eap_tls_with_its_certificate() {
    let pki = Pki::new();
    for (rest, identity, is_alone) in [
        ("", "vpn.example.net", false),
        ("eap-only = true\n", "vpn.example.net", true),
        ("eap-identity = \"@example.net\"\n", "@example.net", false),
    ] {
        let ike = ike(&tls_connection(&pki, ["ca", "ca"], rest));
        let [connection] = &ike.settings.connections[..] else { panic!("one connection") };
        let LocalProof::Eap(credentials) = &connection.profile.authentication.local else { panic!("EAP") };
        assert_eq!((&*credentials.identity, credentials.stands_alone), (identity, is_alone));
        assert_eq!(credentials.maker.kind(), crate::ike::wire::EapType::Tls);
        assert!(credentials.maker.may_stand_alone());
        assert!(matches!(connection.profile.authentication.remote, RemoteProof::Certificate(_)));
    }
}

#[test]
fn a_connection_by_eap_tls_needs_a_certificate_and_a_ca_and_no_password() {
    let pki = Pki::new();
    let directory = format!("{}/", pki.0.path().display());
    let check = |change: [&str; 2], rest: &str| {
        let mistakes = mistakes(&tls_connection(&pki, change, rest));
        mistakes.into_iter().map(|mistake| mistake.replace(&directory, "/pki/")).collect::<Vec<_>>()
    };

    assert_eq!(check(["ca", "ca"], ""), [""; 0]);
    for (change, rest, expected) in [
        (["certificate = \"/pki/vpn.crt\"\n", ""], "", "5:1: `certificate` in [[ike.connection]] is missing"),
        (["private-key = \"/pki/vpn.key\"\n", ""], "", "5:1: `private-key` in [[ike.connection]] is missing"),
        (["ca = \"/pki/ca.crt\"\n", ""], "", "5:1: `ca` in [[ike.connection]] is missing"),
        (
            ["/pki/vpn.key", "/pki/signer.key"],
            "",
            "12:15: \"/pki/signer.key\": not the key of the certificate",
        ),
        (
            ["remote-auth = \"pubkey\"", "remote-auth = \"psk\""],
            "psk = \"x\"\n",
            "10:15: \"eap-tls\" needs `remote-auth = \"pubkey\"`",
        ),
        (
            ["ca", "ca"],
            "password = \"x\"\n",
            "14:1: `password` in [[ike.connection]] needs `local-auth = \"eap-mschapv2\"`",
        ),
        (
            ["ca", "ca"],
            "eap-tls-identity = \"any\"\n",
            "14:1: unknown key `eap-tls-identity` in [[ike.connection]]",
        ),
    ] {
        let mistakes = check(change, rest);
        assert!(mistakes.iter().any(|mistake| mistake == expected), "{expected}: {mistakes:?}");
    }
}
