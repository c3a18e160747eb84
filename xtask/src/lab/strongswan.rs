//! strongSwan as client and gateway: one `charon-systemd` in a namespace, driven over vici.
//!
//! The kernel of the test machines has no ESP, so the Child SAs are strongSwan's own
//! (`kernel-libipsec`: ESP in UDP over a TUN device). That device is named `ipsec0` in every
//! namespace and is where virtual addresses and routes go.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::netns::Namespace;
use super::process::Process;
use super::vici::{Section, Vici};
use super::wait;

/// Key of every connection of the laboratory.
const SHARED_KEY: &str = "the laboratory's shared key, which protects nothing";
/// One cheap suite on both sides: the laboratory measures redirects, not arithmetic.
const IKE_PROPOSAL: &str = "aes128gcm16-prfsha256-x25519";
const ESP_PROPOSAL: &str = "aes128gcm16";
/// The one Child SA of every connection.
const CHILD: &str = "net";
/// How long a daemon may take to answer for the first time.
const START: Duration = Duration::from_secs(10);

/// A gateway's side of the laboratory's tunnels.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Its identity.
    pub identity: String,
    /// Address pools for clients, in CIDR notation.
    pub pools: Vec<String>,
    /// Networks behind it, in CIDR notation.
    pub inside: Vec<String>,
}

/// A client's side of one tunnel.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Name of the connection, and its identity: a pool gives each identity one lease.
    pub name: String,
    /// Where it sends its first request from.
    pub local: IpAddr,
    /// Where it sends its first request to.
    pub remote: IpAddr,
    /// 500, or 4500 (which strongSwan then uses at both ends, with the non-ESP marker).
    pub port: u16,
    /// Networks it wants to reach, in CIDR notation; gateways narrow them to their own.
    pub inside: Vec<String>,
    /// Whether it notices that its gateway is gone, and then asks `remote` again.
    pub is_watchful: bool,
}

/// An IKE SA with its Child SA, as strongSwan lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Name of the connection.
    pub name: String,
    /// State of the IKE SA: `ESTABLISHED` when it is up.
    pub state: String,
    /// State of the Child SA: `INSTALLED` when it is up.
    pub child_state: String,
    /// The peer's address.
    pub remote: IpAddr,
    /// The peer's identity.
    pub remote_id: String,
    /// Virtual addresses, of a client.
    pub virtual_addresses: Vec<IpAddr>,
    /// The peer's side of the Child SA, as networks in CIDR notation.
    pub remote_networks: Vec<String>,
}

impl Tunnel {
    /// Whether data can flow.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == "ESTABLISHED" && self.child_state == "INSTALLED"
    }

    fn read(name: &str, sa: &Section) -> Result<Self> {
        let text = |key: &str| sa.text_of(key).unwrap_or_default().to_owned();
        let remote = text("remote-host");
        let child = sa.section_of("child-sas").and_then(|children| children.sections().last());
        let (child_state, remote_networks) = match child {
            Some((_, child)) => {
                (child.text_of("state").unwrap_or_default().to_owned(), child.list_of("remote-ts").to_vec())
            }
            None => (String::from("none"), Vec::new()),
        };
        let virtual_addresses = sa
            .list_of("local-vips")
            .iter()
            .map(|address| address.parse().with_context(|| format!("reading the virtual address {address}")))
            .collect::<Result<_>>()?;
        Ok(Self {
            name: name.to_owned(),
            state: text("state"),
            child_state,
            remote: remote.parse().with_context(|| format!("reading the peer's address {remote:?}"))?,
            remote_id: text("remote-id"),
            virtual_addresses,
            remote_networks,
        })
    }
}

/// A client obeyed a REDIRECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Name of the connection.
    pub client: String,
    /// Where it was sent.
    pub gateway: IpAddr,
}

impl Redirect {
    /// Reads a line of strongSwan's log:
    /// `07[IKE] <alice|1> redirected to 10.50.0.11`.
    fn read(line: &str) -> Option<Self> {
        let (head, gateway) = line.split_once("> redirected to ")?;
        let (_, name) = head.split_once('<')?;
        let (client, _) = name.split_once('|')?;
        let gateway = gateway.parse().ok()?;
        Some(Self { client: client.to_owned(), gateway })
    }
}

/// Settings of a daemon that tests vary.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether it announces redirect support and obeys.
    pub follow_redirects: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { follow_redirects: true }
    }
}

/// A running strongSwan daemon; ends with its guard.
#[derive(Debug)]
pub struct Charon {
    process: Process,
    namespace: Namespace,
    socket: PathBuf,
}

impl Charon {
    /// Starts a daemon and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start(namespace: &Namespace, settings: Settings) -> Result<Self> {
        let role = namespace.role();
        let directory = namespace.lab().directory().join(role);
        fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        let (config, socket) = (directory.join("strongswan.conf"), socket(namespace));
        let follow = if settings.follow_redirects { "yes" } else { "no" };
        let text = format!(
            "charon-systemd {{
    load = random nonce openssl kdf hmac sha1 sha2 gcm aes pem pubkey x509 constraints socket-default \
             kernel-libipsec kernel-netlink updown vici
    follow_redirects = {follow}
    # A laboratory's clients share an address and come all at once.
    dos_protection = no
    init_limit_half_open = 0
    # A lost packet should show as a delay, not as a failed test; and who was sent to a gateway
    # that has just died should soon ask the VIP again.
    retransmit_timeout = 1.0
    retransmit_base = 1.0
    retransmit_tries = 4
    plugins {{
        vici {{
            socket = unix://{socket}
        }}
    }}
    filelog {{
        standard {{
            path = {log}
            flush_line = yes
            ike_name = yes
            default = 1
            lib = 0
            enc = 0
        }}
    }}
    journal {{
        default = -1
    }}
}}
",
            socket = socket.display(),
            log = directory.join("charon.log").display(),
        );
        fs::write(&config, text).with_context(|| format!("writing {}", config.display()))?;
        let mut process = Process::spawn(
            &format!("charon in {role}"),
            namespace
                .command("charon-systemd")
                .env("STRONGSWAN_CONF", &config)
                .env("SWANCTL_DIR", &directory),
            &directory.join("output"),
        )?;
        process.until(&format!("charon in {role} answers"), START, || {
            Vici::connect(&socket)?.request("version", &Section::new())
        })?;
        let charon = Self { process, namespace: namespace.clone(), socket };
        charon.vici()?.request(
            "load-shared",
            &Section::new().text("id", "laboratory").text("type", "IKE").text("data", SHARED_KEY),
        )?;
        Ok(charon)
    }

    /// Makes it a gateway: answers every client that knows the laboratory's key.
    ///
    /// # Errors
    ///
    /// When strongSwan refuses the configuration.
    pub fn serve(&self, config: &GatewayConfig) -> Result<()> {
        let mut vici = self.vici()?;
        let mut pools = Vec::new();
        for (number, subnet) in config.pools.iter().enumerate() {
            let name = format!("pool{number}");
            let pool = Section::new().text("addrs", subnet);
            vici.request("load-pool", &Section::new().section(&name, pool))?;
            pools.push(name);
        }
        let child = Section::new()
            .list("local_ts", &config.inside)
            .list("esp_proposals", [ESP_PROPOSAL])
            .text("mode", "tunnel");
        let connection = connection()
            .section("local", Section::new().text("auth", "psk").text("id", &config.identity))
            .section("remote", Section::new().text("auth", "psk"))
            .list("pools", pools)
            .section("children", Section::new().section(CHILD, child));
        vici.request("load-conn", &Section::new().section("gateway", connection))?;
        Ok(())
    }

    /// Adds a client's connection.
    ///
    /// # Errors
    ///
    /// When strongSwan refuses the configuration.
    pub fn add_client(&self, config: &ClientConfig) -> Result<()> {
        let child = Section::new()
            .list("remote_ts", &config.inside)
            .list("esp_proposals", [ESP_PROPOSAL])
            .text("mode", "tunnel")
            .text("dpd_action", if config.is_watchful { "start" } else { "none" });
        let connection = connection()
            .text("dpd_delay", if config.is_watchful { "2s" } else { "0s" })
            .list("local_addrs", [config.local])
            .list("remote_addrs", [config.remote])
            .text("local_port", config.port)
            .text("remote_port", config.port)
            .text("keyingtries", 0)
            .list("vips", ["0.0.0.0", "::"])
            .section("local", Section::new().text("auth", "psk").text("id", &config.name))
            .section("remote", Section::new().text("auth", "psk").text("id", "%any"))
            .section("children", Section::new().section(CHILD, child));
        self.vici()?.request("load-conn", &Section::new().section(&config.name, connection))?;
        Ok(())
    }

    /// Starts a client's connection without waiting for it.
    ///
    /// strongSwan's own waiting ends at the first redirect, with the IKE SA that was redirected.
    ///
    /// # Errors
    ///
    /// When there is no such connection.
    pub fn initiate(&self, name: &str) -> Result<()> {
        let message = Section::new().text("ike", name).text("child", CHILD).text("timeout", -1);
        self.vici()?.request("initiate", &message)?;
        Ok(())
    }

    /// Every IKE SA.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer.
    pub fn tunnels(&self) -> Result<Vec<Tunnel>> {
        tunnels(&mut self.vici()?)
    }

    /// Waits until a client's tunnel carries data.
    ///
    /// # Errors
    ///
    /// When it does not within `within`: with its last state and the end of the log.
    pub fn wait_for_tunnel(&self, name: &str, within: Duration) -> Result<Tunnel> {
        let what = format!("the tunnel {name} in {} is up", self.namespace.role());
        wait::until(&what, within, || {
            let tunnels = self.tunnels()?;
            // A redirected IKE SA stands beside its replacement for a moment.
            let tunnel = tunnels.iter().find(|tunnel| tunnel.name == name && tunnel.is_up());
            tunnel.cloned().with_context(|| {
                let states: Vec<_> = tunnels.iter().filter(|tunnel| tunnel.name == name).collect();
                format!("{states:?}")
            })
        })
        .with_context(|| self.log_tail())
    }

    /// Ends a client's tunnel and forgets its connection.
    ///
    /// # Errors
    ///
    /// When there is none of that name.
    pub fn remove_client(&self, name: &str) -> Result<()> {
        let mut vici = self.vici()?;
        vici.request("unload-conn", &Section::new().text("name", name))?;
        // Milliseconds; a peer that lives answers sooner, and the others are not waited for.
        let message = Section::new().text("ike", name).text("timeout", 1000).text("force", "yes");
        let Err(error) = vici.request("terminate", &message) else { return Ok(()) };
        // Said also when the peer is dead and did not answer in time: what counts is that the
        // tunnel is gone.
        let is_up = self.tunnels()?.iter().any(|tunnel| tunnel.name == name && tunnel.is_up());
        if is_up { Err(error) } else { Ok(()) }
    }

    /// The redirects that this daemon's clients have obeyed since `position`, which is moved on.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn redirects(&self, position: &mut u64) -> Result<Vec<Redirect>> {
        let path = self.log_file();
        let mut file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        file.seek(SeekFrom::Start(*position)).context("seeking in the log")?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).context("reading the log")?;
        // The daemon may be in the middle of a line.
        let whole = text.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
        *position += u64::try_from(whole).context("position in the log")?;
        let text = String::from_utf8_lossy(text.get(..whole).unwrap_or_default());
        Ok(text.lines().filter_map(Redirect::read).collect())
    }

    /// Pings through a tunnel from each virtual address, at the gateway's inside address of that
    /// family: `.1` of the network it offered. Returns the last round trip.
    ///
    /// # Errors
    ///
    /// When there is no virtual address, or nothing answers.
    pub fn ping_through(&self, tunnel: &Tunnel, within: Duration) -> Result<Duration> {
        let mut round_trip = None;
        for from in &tunnel.virtual_addresses {
            let to = tunnel
                .remote_networks
                .iter()
                .filter_map(|network| first_host(network))
                .find(|host| host.is_ipv4() == from.is_ipv4())
                .with_context(|| format!("no network of the family of {from} in {tunnel:?}"))?;
            round_trip = Some(self.namespace.ping(*from, to, within)?);
        }
        round_trip.with_context(|| format!("no virtual address in {tunnel:?}"))
    }

    /// Fails when the daemon has ended.
    ///
    /// # Errors
    ///
    /// With its exit status.
    pub fn check_running(&mut self) -> Result<()> {
        self.process.check_running()
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        const LINES: usize = 40;
        let text = fs::read(self.log_file()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        let skip = lines.len().saturating_sub(LINES);
        format!("charon in {}:\n{}", self.namespace.role(), lines.get(skip..).unwrap_or_default().join("\n"))
    }

    /// The namespace it runs in.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    fn log_file(&self) -> PathBuf {
        self.socket.with_file_name("charon.log")
    }

    fn vici(&self) -> Result<Vici> {
        let vici = Vici::connect(&self.socket);
        vici.with_context(|| format!("asking charon in {}", self.namespace.role()))
    }
}

/// Counts the SAs of a daemon that comes and goes.
#[derive(Clone, Debug)]
pub struct SaCounter {
    socket: PathBuf,
}

impl SaCounter {
    /// For the daemon in a namespace, whether it runs or not.
    #[must_use]
    pub fn of(namespace: &Namespace) -> Self {
        Self { socket: socket(namespace) }
    }

    /// How many IKE SAs are established, and how many Child SAs are installed.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer.
    pub fn counts(&self) -> Result<(usize, usize)> {
        let tunnels = tunnels(&mut Vici::connect(&self.socket)?)?;
        let ike_sas = tunnels.iter().filter(|tunnel| tunnel.state == "ESTABLISHED").count();
        Ok((ike_sas, tunnels.iter().filter(|tunnel| tunnel.child_state == "INSTALLED").count()))
    }
}

/// Where the daemon in a namespace is told what to do.
fn socket(namespace: &Namespace) -> PathBuf {
    namespace.lab().directory().join(namespace.role()).join("vici")
}

fn tunnels(vici: &mut Vici) -> Result<Vec<Tunnel>> {
    let events = vici.stream("list-sas", "list-sa", &Section::new())?;
    events.iter().flat_map(Section::sections).map(|(name, sa)| Tunnel::read(name, sa)).collect()
}

/// What both sides of a connection have in common.
fn connection() -> Section {
    Section::new()
        .text("version", 2)
        .text("mobike", "no")
        .text("unique", "never")
        .list("proposals", [IKE_PROPOSAL])
}

/// The first host address of a network in CIDR notation.
pub(super) fn first_host(network: &str) -> Option<IpAddr> {
    match network.split('/').next()?.parse().ok()? {
        IpAddr::V4(address) => Some(IpAddr::V4((u32::from(address) + 1).into())),
        IpAddr::V6(address) => Some(IpAddr::V6((u128::from(address) + 1).into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_host_of_a_network_follows_its_address() {
        assert_eq!(first_host("10.99.1.0/24"), Some("10.99.1.1".parse().unwrap()));
        assert_eq!(first_host("fd99:1::/64"), Some("fd99:1::1".parse().unwrap()));
        assert_eq!(first_host("gw1"), None);
    }

    #[test]
    fn a_redirect_is_read_from_strongswans_log() {
        let line = "07[IKE] <alice|1> redirected to fd50::11";

        let redirect = Redirect::read(line).unwrap();

        assert_eq!((redirect.client.as_str(), redirect.gateway), ("alice", "fd50::11".parse().unwrap()));
        assert_eq!(Redirect::read("07[IKE] <alice|1> initiating IKE_SA alice[1] to fd50::11"), None);
    }

    #[test]
    fn a_tunnel_is_read_from_what_strongswan_lists() {
        let child = Section::new().text("state", "INSTALLED").list("remote-ts", ["10.99.2.0/24"]);
        let sa = Section::new()
            .text("state", "ESTABLISHED")
            .text("remote-host", "10.50.0.12")
            .text("remote-id", "gw2")
            .list("local-vips", ["10.98.2.1"])
            .section("child-sas", Section::new().section("net-1", child));

        let tunnel = Tunnel::read("c1", &sa).unwrap();

        assert!(tunnel.is_up());
        assert_eq!(tunnel.remote, "10.50.0.12".parse::<IpAddr>().unwrap());
        assert_eq!(tunnel.virtual_addresses, ["10.98.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(tunnel.remote_networks, ["10.99.2.0/24"]);
    }
}
