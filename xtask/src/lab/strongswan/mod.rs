//! strongSwan as client and gateway: one `charon-systemd` in a namespace, driven over vici.
//!
//! The kernel of the test machines has no ESP, so the Child SAs are strongSwan's own
//! (`kernel-libipsec`: ESP in UDP over a TUN device). That device is named `ipsec0` in every
//! namespace and is where virtual addresses and routes go. In the virtual machine they can be the
//! kernel's ([`Settings::has_kernel_esp`]).

mod connection;
mod tunnel;

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use self::connection::CHILD;
pub use self::connection::{ClientConfig, GatewayConfig, Proof, SHARED_KEY};
pub use self::tunnel::{Redirect, Tunnel};
use super::netns::Namespace;
use super::process::{Process, tell_of_failure};
use super::vici::{Section, Vici};
use super::wait;

/// The device that strongSwan's own ESP is behind.
const TUNNELS: &str = "ipsec0";
/// Buckets and locks of its table of IKE SAs, when there are many of them.
const TABLES: &str = "    ikesa_table_size = 32768\n    ikesa_table_segments = 64\n";
/// How long a daemon may take to answer for the first time.
const START: Duration = Duration::from_secs(10);

/// Settings of a daemon that tests vary.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether it announces redirect support and obeys.
    pub follow_redirects: bool,
    /// Octets of an IP packet beyond which it fragments IKE messages.
    pub fragment_size: u16,
    /// Whether it signs by the method that names its algorithm (RFC 7427), or by the older ones.
    pub has_signature_method: bool,
    /// Whether it writes the keys of IKE SAs to its log.
    pub tells_keys: bool,
    /// Whether many thousand SAs come at once: it then keeps no log, and has tables for them.
    pub is_for_load: bool,
    /// Whether the kernel carries its packets.
    pub has_kernel_esp: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            follow_redirects: true,
            fragment_size: 1280,
            has_signature_method: true,
            tells_keys: false,
            is_for_load: false,
            has_kernel_esp: false,
        }
    }
}

/// A part of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sa {
    /// The IKE SA, and with it the Child SA.
    Ike,
    /// The Child SA.
    Child,
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
        let yes = |is_so: bool| if is_so { "yes" } else { "no" };
        let text = format!(
            "charon-systemd {{
    load = random nonce openssl kdf hmac sha1 sha2 gcm aes pem pubkey x509 constraints socket-default \
             {libipsec}kernel-netlink updown eap-identity eap-mschapv2 eap-tls vici
    follow_redirects = {follow}
    fragment_size = {fragment_size}
    signature_authentication = {signature}
    # A laboratory's clients share an address and come all at once.
    dos_protection = no
    init_limit_half_open = 0
{tables}    # A lost packet should show as a delay, not as a failed test; and who was sent to a gateway
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
            default = {log_level}
            ike = {ike}
            lib = {quiet}
            enc = {quiet}
        }}
    }}
    journal {{
        default = -1
    }}
}}
",
            libipsec = if settings.has_kernel_esp { "" } else { "kernel-libipsec " },
            follow = yes(settings.follow_redirects),
            fragment_size = settings.fragment_size,
            signature = yes(settings.has_signature_method),
            socket = socket.display(),
            tables = if settings.is_for_load { TABLES } else { "" },
            log_level = if settings.is_for_load { -1 } else { 1 },
            quiet = if settings.is_for_load { -1 } else { 0 },
            ike = match settings {
                Settings { is_for_load: true, .. } => -1,
                Settings { tells_keys: true, .. } => 4,
                Settings { .. } => 1,
            },
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

    /// Makes it a gateway: answers every client that proves itself.
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
        vici.request("load-conn", &Section::new().section("gateway", config.section(&pools)?))?;
        Ok(())
    }

    /// Adds a client's connection.
    ///
    /// # Errors
    ///
    /// When strongSwan refuses the configuration.
    pub fn add_client(&self, config: &ClientConfig) -> Result<()> {
        self.vici()?.request("load-conn", &Section::new().section(&config.name, config.section()?))?;
        Ok(())
    }

    /// Sends what is for these networks into its tunnels, whatever becomes of its own routes.
    ///
    /// strongSwan has one route to a network behind several tunnels, and takes it away with the one
    /// that brought it.
    ///
    /// # Errors
    ///
    /// When a route is refused.
    pub fn keep_routes(&self, networks: &[&str]) -> Result<()> {
        let lines = networks.iter().map(|network| format!("route replace {network} dev {TUNNELS}\n"));
        self.namespace.ip(&lines.collect::<String>())
    }

    /// Gives it the key that it shares with these identities.
    ///
    /// # Errors
    ///
    /// When strongSwan refuses it.
    pub fn add_shared_key(&self, key: &str, owners: &[&str]) -> Result<()> {
        let message = Section::new().text("type", "IKE").text("data", key).list("owners", owners);
        self.vici()?.request("load-shared", &message)?;
        Ok(())
    }

    /// Gives it the password of a user, for EAP.
    ///
    /// # Errors
    ///
    /// When strongSwan refuses it.
    pub fn add_password(&self, user: &str, password: &str) -> Result<()> {
        let message = Section::new().text("type", "EAP").text("data", password).list("owners", [user]);
        self.vici()?.request("load-shared", &message)?;
        Ok(())
    }

    /// Gives it a certificate that it believes in, or passes on: a CA's.
    ///
    /// # Errors
    ///
    /// When strongSwan refuses it.
    pub fn add_ca(&self, certificate: &Path) -> Result<()> {
        let message = Section::new()
            .text("type", "X509")
            .text("flag", "CA")
            .text("data", connection::read(certificate)?);
        self.vici()?.request("load-cert", &message)?;
        Ok(())
    }

    /// Gives it a private key.
    ///
    /// # Errors
    ///
    /// When strongSwan refuses it.
    pub fn add_private_key(&self, key: &Path) -> Result<()> {
        let message = Section::new().text("type", "any").text("data", connection::read(key)?);
        self.vici()?.request("load-key", &message)?;
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

    /// Tells the clients with this identity to go to another gateway.
    ///
    /// # Errors
    ///
    /// When there is none of that identity that follows redirects.
    pub fn redirect(&self, identity: &str, gateway: &str) -> Result<()> {
        let message = Section::new().text("peer-id", identity).text("gateway", gateway);
        self.vici()?.request("redirect", &message)?;
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

    /// Asks the peer for new keys: of the IKE SA, or of its Child SA.
    ///
    /// # Errors
    ///
    /// When there is no such tunnel.
    pub fn rekey(&self, name: &str, what: Sa) -> Result<()> {
        let message = match what {
            Sa::Ike => Section::new().text("ike", name),
            Sa::Child => Section::new().text("ike", name).text("child", CHILD),
        };
        self.vici()?.request("rekey", &message)?;
        Ok(())
    }

    /// Ends a tunnel, or its Child SA only; the peer is told.
    ///
    /// # Errors
    ///
    /// When there is no such tunnel, or the peer does not answer.
    pub fn terminate(&self, name: &str, what: Sa) -> Result<()> {
        let message = match what {
            Sa::Ike => Section::new().text("ike", name),
            Sa::Child => Section::new().text("ike", name).text("child", CHILD),
        };
        self.vici()?.request("terminate", &message.text("timeout", 5000))?;
        Ok(())
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

    /// Kills the daemon: its peers hear nothing of it.
    ///
    /// # Errors
    ///
    /// When it is gone already, or does not end.
    pub fn kill(&mut self) -> Result<()> {
        self.process.signal(Signal::SIGKILL)?;
        self.process.wait(START)?;
        Ok(())
    }

    /// Fails when the daemon has ended.
    ///
    /// # Errors
    ///
    /// With its exit status.
    pub fn check_running(&mut self) -> Result<()> {
        self.process.check_running()
    }

    /// Waits until a line that contains all of `words` is in its log; returns the line.
    ///
    /// # Errors
    ///
    /// When there is none in time: with the end of the log.
    pub fn wait_for_log(&self, words: &[&str], within: Duration) -> Result<String> {
        let what = format!("charon in {} writes {words:?}", self.namespace.role());
        wait::until(&what, within, || {
            let log = self.log();
            let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
            line.map(str::to_owned).with_context(|| self.log_tail())
        })
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    /// Waits until a tunnel is gone.
    ///
    /// # Errors
    ///
    /// When it is still there after `within`.
    pub fn wait_until_gone(&self, name: &str, within: Duration) -> Result<()> {
        wait::until(&format!("the tunnel {name} in {} is gone", self.namespace.role()), within, || {
            let tunnels = self.tunnels()?;
            ensure!(tunnels.iter().all(|tunnel| tunnel.name != name), "{tunnels:?}");
            Ok(())
        })
        .with_context(|| self.log_tail())
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        const LINES: usize = 40;
        let text = self.log();
        let lines: Vec<_> = text.lines().collect();
        let skip = lines.len().saturating_sub(LINES);
        format!("charon in {}:\n{}", self.namespace.role(), lines.get(skip..).unwrap_or_default().join("\n"))
    }

    /// Its process, to have its use of processor and memory measured.
    #[must_use]
    pub const fn id(&self) -> Pid {
        self.process.id()
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

impl Drop for Charon {
    fn drop(&mut self) {
        tell_of_failure(|| self.log_tail());
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
}
