//! What a gateway is told: settings that tests vary, and the `[ike]` sections they become.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::lab::pki::{Credential, Pki};
use crate::lab::radius;
use crate::lab::strongswan::SHARED_KEY;

/// The `[ike]` part of a configuration. What is empty or absent is left to the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Proposals for IKE SAs.
    pub ike_proposals: Vec<String>,
    /// Proposals for Child SAs.
    pub esp_proposals: Vec<String>,
    /// Octets of an IP packet beyond which IKE messages are fragmented.
    pub fragment_size: Option<u16>,
    /// Threads that SAs are spread over.
    pub workers: Option<u16>,
    /// `userspace`, `kernel`, or `none` for IKE alone.
    pub dataplane: Option<String>,
    /// Addresses that clients are told of.
    pub mobike_addresses: Vec<String>,
    /// Whether peers may sign with SHA-1.
    pub legacy_sha1: bool,
    /// Time until a request is repeated for the first time, and until the peer is given up.
    pub retransmission: Option<(Duration, Duration)>,
    /// The node's own addresses, for which the fast path is attached; none = it is off.
    pub addresses: Vec<IpAddr>,
    /// Whether it logs warnings only.
    pub is_quiet: bool,
    /// Keys of `[ike.limits]`.
    pub limits: Vec<(String, u32)>,
    /// Address pools: name and network.
    pub pools: Vec<(String, String)>,
    /// For those who come, in the order in which they are tried.
    pub profiles: Vec<Profile>,
    /// To whom it goes itself.
    pub connections: Vec<Connection>,
    /// More sections, as they are.
    pub extra: String,
    /// Names that the daemon resolves: the lines of its `/etc/hosts`.
    pub hosts: String,
    /// A whole file, in the place of everything above: `@LAB@` in it stands for the laboratory's directory,
    /// `@PINS@` for where programs and maps are pinned.
    pub file: Option<&'static str>,
}

/// One `[[ike.connection]]` with the laboratory's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its name.
    pub name: String,
    /// Where the peer is, in the order in which they are tried.
    pub remotes: Vec<String>,
    /// Who we say we are.
    pub local_id: String,
    /// Whom we take for the peer.
    pub remote_ids: Vec<String>,
    /// Networks behind the peer.
    pub inside: Vec<String>,
    /// What brings it up: `auto`, `trap` or `manual`.
    pub start: &'static str,
    /// How long one remote is tried.
    pub patience: Option<Duration>,
    /// How long the gateway may be silent.
    pub dpd: Option<Duration>,
    /// The user that it is by EAP-MSCHAPv2, and the password.
    pub user: Option<(String, String)>,
    /// The certificate that it has by EAP-TLS, if it is no user with a password.
    pub tls: Option<Credential>,
    /// The certificate that it has without EAP, in the place of the laboratory's key.
    pub own: Option<Credential>,
    /// The CA by which the gateway proves who it is, in the place of the laboratory's key.
    pub ca: Option<PathBuf>,
    /// More keys, as they are.
    pub extra: String,
}

impl Connection {
    /// One that asks for addresses of both families and is brought up by itself.
    #[must_use]
    pub fn new<T: ToString>(name: &str, remotes: &[T], remote_ids: &[&str], inside: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            remotes: remotes.iter().map(ToString::to_string).collect(),
            local_id: format!("{name}@example.net"),
            remote_ids: remote_ids.iter().map(ToString::to_string).collect(),
            inside: inside.iter().map(ToString::to_string).collect(),
            start: "auto",
            patience: Some(Duration::from_secs(2)),
            dpd: None,
            user: None,
            tls: None,
            own: None,
            ca: None,
            extra: String::new(),
        }
    }
}

/// One `[[ike.profile]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Who the gateway says it is.
    pub local_id: String,
    /// Who may come.
    pub remote_ids: Vec<String>,
    /// How the gateway proves who it is.
    pub local: LocalProof,
    /// How its peers do.
    pub remote: RemoteProof,
    /// Names of pools.
    pub pools: Vec<String>,
    /// What may be reached.
    pub local_ts: Vec<String>,
    /// How long a peer may be silent.
    pub dpd: Option<Duration>,
    /// When the gateway asks for new keys: of IKE SAs, and of Child SAs.
    pub rekey: Option<(Duration, Duration)>,
    /// More keys, as they are.
    pub extra: String,
}

/// How the gateway proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalProof {
    /// With a shared key.
    SharedKey(String),
    /// With a signature.
    Signature(Credential),
}

/// How its peers prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteProof {
    /// With a shared key.
    SharedKey(String),
    /// With a signature, and a certificate that this CA or one below has issued.
    Signature {
        /// The CA's certificate.
        ca: PathBuf,
        /// What has been revoked.
        revoked: Vec<PathBuf>,
    },
    /// By EAP-MSCHAPv2: users with their passwords.
    Users(Vec<(String, String)>),
    /// By EAP-TLS, with a certificate that this CA or one below has issued.
    Tls {
        /// The CA's certificate.
        ca: PathBuf,
    },
    /// By whatever these servers want, in the order in which they are asked.
    Radius(Vec<RadiusServer>),
}

/// One `[[ike.radius]]`, whose patience is that of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RadiusServer {
    /// Where it is asked who may come in.
    pub server: SocketAddr,
    /// Where it is told what is used.
    pub accounting: Option<SocketAddr>,
    /// What it shares with the gateway.
    pub secret: String,
    /// How long it is waited for, the first time.
    pub timeout: Duration,
}

impl RadiusServer {
    /// The laboratory's server at an address, with the laboratory's secret.
    #[must_use]
    pub fn at(address: Ipv4Addr) -> Self {
        Self {
            server: radius::server(address),
            accounting: Some(radius::accounting(address)),
            secret: radius::SECRET.to_owned(),
            timeout: Duration::from_millis(300),
        }
    }
}

impl Profile {
    /// Anybody who knows the laboratory's key, with addresses from all pools.
    #[must_use]
    pub fn of_shared_key(name: &str, local_id: &str) -> Self {
        Self {
            name: name.to_owned(),
            local_id: local_id.to_owned(),
            remote_ids: Vec::new(),
            local: LocalProof::SharedKey(SHARED_KEY.to_owned()),
            remote: RemoteProof::SharedKey(SHARED_KEY.to_owned()),
            pools: Vec::new(),
            local_ts: Vec::new(),
            dpd: None,
            rekey: None,
            extra: String::new(),
        }
    }

    /// Anybody with a certificate of these CAs, with addresses from all pools.
    #[must_use]
    pub fn of_certificates(name: &str, local_id: &str, own: &Credential, pki: &Pki) -> Self {
        Self {
            local: LocalProof::Signature(own.clone()),
            remote: RemoteProof::Signature { ca: pki.ca(), revoked: Vec::new() },
            ..Self::of_shared_key(name, local_id)
        }
    }
}

/// The `[ike]` sections of a configuration file.
pub(in crate::lab) fn sections(settings: &Settings) -> Result<String> {
    let mut text = String::from("\n[ike]\n");
    if !settings.ike_proposals.is_empty() {
        writeln!(text, "ike-proposals = {:?}", settings.ike_proposals)?;
    }
    if !settings.esp_proposals.is_empty() {
        writeln!(text, "esp-proposals = {:?}", settings.esp_proposals)?;
    }
    if let Some(size) = settings.fragment_size {
        writeln!(text, "fragment-size = {size}")?;
    }
    if let Some(workers) = settings.workers {
        writeln!(text, "workers = {workers}")?;
    }
    if let Some(dataplane) = &settings.dataplane {
        writeln!(text, "dataplane = {dataplane:?}")?;
    }
    if !settings.mobike_addresses.is_empty() {
        writeln!(text, "mobike-addresses = {:?}", settings.mobike_addresses)?;
    }
    if settings.legacy_sha1 {
        writeln!(text, "legacy-sha1 = true")?;
    }
    if let Some((first, patience)) = settings.retransmission {
        writeln!(
            text,
            "\n[ike.retransmission]\nfirst = \"{0}ms\"\nlongest = \"{0}ms\"\npatience = \"{1}ms\"",
            first.as_millis(),
            patience.as_millis()
        )?;
    }
    if !settings.limits.is_empty() {
        writeln!(text, "\n[ike.limits]")?;
    }
    for (key, value) in &settings.limits {
        writeln!(text, "{key} = {value}")?;
    }
    for (name, subnet) in &settings.pools {
        writeln!(text, "\n[[ike.pool]]\nname = {name:?}\nsubnet = {subnet:?}")?;
    }
    for profile in &settings.profiles {
        add_profile(&mut text, settings, profile)?;
    }
    for connection in &settings.connections {
        add_connection(&mut text, connection)?;
    }
    text.push_str(&settings.extra);
    Ok(text)
}

fn add_connection(text: &mut String, connection: &Connection) -> Result<()> {
    let Connection {
        name,
        remotes,
        local_id,
        remote_ids,
        inside,
        start,
        patience,
        dpd,
        user,
        tls,
        own,
        ca,
        extra,
    } = connection;
    writeln!(
        text,
        "\n[[ike.connection]]\nname = {name:?}\nremote = {remotes:?}\nlocal-id = {local_id:?}\n\
         remote-id = {remote_ids:?}"
    )?;
    match (user, tls) {
        (None, None) => match own {
            None => writeln!(text, "local-auth = \"psk\"")?,
            Some(Credential { chain, key, .. }) => {
                writeln!(text, "local-auth = \"pubkey\"\ncertificate = {chain:?}\nprivate-key = {key:?}")?;
            }
        },
        (None, Some(Credential { chain, key, .. })) => {
            writeln!(text, "local-auth = \"eap-tls\"\ncertificate = {chain:?}\nprivate-key = {key:?}")?;
        }
        (Some((user, password)), _) => {
            writeln!(text, "local-auth = \"eap-mschapv2\"\neap-identity = {user:?}\npassword = {password:?}")?
        }
    }
    match ca {
        None => writeln!(text, "remote-auth = \"psk\"")?,
        Some(ca) => writeln!(text, "remote-auth = \"pubkey\"\nca = {ca:?}")?,
    }
    if user.is_none() && tls.is_none() && own.is_none() || ca.is_none() {
        writeln!(text, "psk = {SHARED_KEY:?}")?;
    }
    writeln!(text, "request = [\"ipv4\", \"ipv6\"]\nremote-ts = {inside:?}\nstart = {start:?}")?;
    if let Some(patience) = patience {
        writeln!(text, "patience = \"{}ms\"", patience.as_millis())?;
    }
    if let Some(dpd) = dpd {
        writeln!(text, "dpd = \"{}ms\"", dpd.as_millis())?;
    }
    text.push_str(extra);
    Ok(())
}

fn add_profile(text: &mut String, settings: &Settings, profile: &Profile) -> Result<()> {
    writeln!(text, "\n[[ike.profile]]\nname = {:?}\nlocal-id = {:?}", profile.name, profile.local_id)?;
    if !profile.remote_ids.is_empty() {
        writeln!(text, "remote-id = {:?}", profile.remote_ids)?;
    }
    // A key of both sides is said once.
    let mut key = None;
    match &profile.local {
        LocalProof::SharedKey(shared) => {
            writeln!(text, "local-auth = \"psk\"")?;
            key = Some(shared);
        }
        LocalProof::Signature(Credential { chain, key, .. }) => {
            writeln!(text, "local-auth = \"pubkey\"\ncertificate = {chain:?}\nprivate-key = {key:?}")?;
        }
    }
    match &profile.remote {
        RemoteProof::SharedKey(shared) => {
            writeln!(text, "remote-auth = \"psk\"")?;
            key = Some(shared);
        }
        RemoteProof::Signature { ca, revoked } => {
            writeln!(text, "remote-auth = \"pubkey\"\nca = {ca:?}")?;
            if !revoked.is_empty() {
                writeln!(text, "crl = {revoked:?}")?;
            }
        }
        RemoteProof::Users(_) => writeln!(text, "remote-auth = \"eap-mschapv2\"")?,
        RemoteProof::Radius(_) => writeln!(text, "remote-auth = \"eap-radius\"")?,
        RemoteProof::Tls { ca } => writeln!(text, "remote-auth = \"eap-tls\"\nca = {ca:?}")?,
    }
    if let Some(key) = key {
        writeln!(text, "psk = {key:?}")?;
    }
    let all: Vec<_> = settings.pools.iter().map(|(name, _)| name.clone()).collect();
    let pools = if profile.pools.is_empty() { &all } else { &profile.pools };
    writeln!(text, "pools = {pools:?}")?;
    if !profile.local_ts.is_empty() {
        writeln!(text, "local-ts = {:?}", profile.local_ts)?;
    }
    if let Some(dpd) = profile.dpd {
        writeln!(text, "dpd = \"{}ms\"", dpd.as_millis())?;
    }
    if let Some((ike, child)) = profile.rekey {
        writeln!(
            text,
            "rekey-ike = \"{}ms\"\nrekey-child = \"{}ms\"\nrekey-grace = \"30s\"",
            ike.as_millis(),
            child.as_millis()
        )?;
    }
    text.push_str(&profile.extra);
    if let RemoteProof::Radius(servers) = &profile.remote {
        for RadiusServer { server, accounting, secret, timeout } in servers {
            writeln!(text, "\n[[ike.radius]]\nserver = \"{server}\"\nsecret = {secret:?}")?;
            if let Some(accounting) = accounting {
                writeln!(text, "accounting = \"{accounting}\"")?;
            }
            writeln!(text, "timeout = \"{}ms\"", timeout.as_millis())?;
        }
    }
    if let RemoteProof::Users(users) = &profile.remote {
        for (name, password) in users {
            writeln!(text, "\n[[ike.user]]\nname = {name:?}\npassword = {password:?}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_with_a_key_becomes_its_section() {
        let settings = Settings {
            pools: vec![("ra4".to_owned(), "10.98.1.0/24".to_owned())],
            profiles: vec![Profile {
                remote_ids: vec!["*@example.net".to_owned()],
                dpd: Some(Duration::from_secs(2)),
                ..Profile::of_shared_key("clients", "gw1")
            }],
            ..Settings::default()
        };

        let text = sections(&settings).unwrap();

        assert_eq!(
            text,
            format!(
                r#"
[ike]

[[ike.pool]]
name = "ra4"
subnet = "10.98.1.0/24"

[[ike.profile]]
name = "clients"
local-id = "gw1"
remote-id = ["*@example.net"]
local-auth = "psk"
remote-auth = "psk"
psk = "{SHARED_KEY}"
pools = ["ra4"]
dpd = "2000ms"
"#
            )
        );
    }

    #[test]
    fn a_connection_becomes_its_section_and_more_sections_follow() {
        let settings = Settings {
            connections: vec![Connection::new("alice", &["10.50.0.5"], &["gw1", "gw2"], &["10.99.0.0/16"])],
            extra: "\n[redirect.client]\nenabled = false\n".to_owned(),
            ..Settings::default()
        };

        let text = sections(&settings).unwrap();

        assert_eq!(
            text,
            format!(
                r#"
[ike]

[[ike.connection]]
name = "alice"
remote = ["10.50.0.5"]
local-id = "alice@example.net"
remote-id = ["gw1", "gw2"]
local-auth = "psk"
remote-auth = "psk"
psk = "{SHARED_KEY}"
request = ["ipv4", "ipv6"]
remote-ts = ["10.99.0.0/16"]
start = "auto"
patience = "2000ms"

[redirect.client]
enabled = false
"#
            )
        );
    }

    #[test]
    fn a_profile_with_certificates_names_their_files() {
        let credential = Credential {
            certificate: "/p/vpn.crt".into(),
            chain: "/p/vpn.chain".into(),
            key: "/p/vpn.key".into(),
        };
        let profile = Profile {
            local: LocalProof::Signature(credential),
            remote: RemoteProof::Signature { ca: "/p/root.crt".into(), revoked: vec!["/p/a.crl".into()] },
            ..Profile::of_shared_key("clients", "vpn.example.net")
        };

        let text = sections(&Settings { profiles: vec![profile], ..Settings::default() }).unwrap();

        for line in [
            r#"local-auth = "pubkey""#,
            r#"certificate = "/p/vpn.chain""#,
            r#"private-key = "/p/vpn.key""#,
            r#"ca = "/p/root.crt""#,
            r#"crl = ["/p/a.crl"]"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(!text.contains("psk"), "{text}");
    }
}
