//! The cluster every demonstration and test starts from: a balancer, gateways, clients, one wire.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Lab;
use super::gateway::{Place, on_the_wire};
use super::netns::{Namespace, Switch};
use super::strongswan::{Charon, ClientConfig, GatewayConfig, Settings, first_host};

/// The virtual IP, IPv4.
pub const VIP4: Ipv4Addr = Ipv4Addr::new(10, 50, 0, 5);
/// The virtual IP, IPv6.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd50, 0, 0, 0, 0, 0, 0, 5);
/// The balancer's own address.
pub const BALANCER4: Ipv4Addr = Ipv4Addr::new(10, 50, 0, 4);
/// The balancer's own IPv6 address.
pub const BALANCER6: Ipv6Addr = Ipv6Addr::new(0xfd50, 0, 0, 0, 0, 0, 0, 4);

/// Everything behind the gateways, as clients ask for it.
const INSIDE: [&str; 2] = ["10.99.0.0/16", "fd99::/16"];

/// What to build.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Gateways, each with a strongSwan responder.
    pub gateways: u8,
    /// Client namespaces, each with a strongSwan daemon.
    pub clients: u8,
    /// Settings of the clients' daemons.
    pub client_settings: Settings,
}

impl Default for Options {
    fn default() -> Self {
        Self { gateways: 3, clients: 1, client_settings: Settings::default() }
    }
}

/// A strongSwan gateway.
#[derive(Debug)]
pub struct Gateway {
    /// `gw1`, `gw2`, …: name of the member, of its namespace and its identity.
    pub name: String,
    /// Where clients are sent, IPv4.
    pub address4: Ipv4Addr,
    /// Where clients are sent, IPv6.
    pub address6: Ipv6Addr,
    /// Its daemon.
    pub charon: Charon,
}

impl Gateway {
    /// Whether an address is this gateway's.
    #[must_use]
    pub fn has_address(&self, address: IpAddr) -> bool {
        address == IpAddr::V4(self.address4) || address == IpAddr::V6(self.address6)
    }
}

/// A namespace of clients: one strongSwan daemon, any number of connections.
#[derive(Debug)]
pub struct Client {
    /// Its IPv4 address.
    pub address4: Ipv4Addr,
    /// Its IPv6 address.
    pub address6: Ipv6Addr,
    /// Its daemon.
    pub charon: Charon,
}

impl Client {
    /// Describes a connection to `remote` from this client's address of the same family.
    #[must_use]
    pub fn connection(&self, name: &str, remote: IpAddr, port: u16) -> ClientConfig {
        let local = match remote {
            IpAddr::V4(_) => self.address4.into(),
            IpAddr::V6(_) => self.address6.into(),
        };
        let inside = INSIDE.map(str::to_owned).to_vec();
        ClientConfig { port, inside, ..ClientConfig::new(name, local, remote) }
    }
}

/// Gateways, clients and a namespace for the balancer on one wire.
///
/// Fields are dropped in order: daemons before the switch, and the laboratory last.
#[derive(Debug)]
pub struct Cluster {
    /// The clients.
    pub clients: Vec<Client>,
    /// The gateways.
    pub gateways: Vec<Gateway>,
    /// Where the balancer goes; it has the VIPs on `eth0`.
    pub balancer: Namespace,
    /// The wire.
    pub switch: Switch,
    /// The owner of it all.
    pub lab: Lab,
}

impl Cluster {
    /// Builds the cluster and starts its strongSwan daemons.
    ///
    /// # Errors
    ///
    /// When a step fails; what was built is removed.
    pub fn build(options: Options) -> Result<Self> {
        let lab = Lab::new()?;
        let switch = Switch::new(&lab)?;
        let balancer = lab.namespace("lb")?;
        // The balancer's own addresses come first, so that only answers to the VIP carry it.
        switch.wire(
            &balancer,
            &[
                format!("{BALANCER4}/24"),
                format!("{BALANCER6}/64"),
                format!("{VIP4}/32"),
                format!("{VIP6}/128"),
            ],
        )?;
        let gateways = (1..=options.gateways)
            .map(|number| {
                gateway(&lab, &switch, number).with_context(|| format!("building gateway {number}"))
            })
            .collect::<Result<_>>()?;
        let clients = (1..=options.clients)
            .map(|number| {
                client(&lab, &switch, number, options.client_settings)
                    .with_context(|| format!("building client {number}"))
            })
            .collect::<Result<_>>()?;
        Ok(Self { clients, gateways, balancer, switch, lab })
    }

    /// Makes the place of another gateway, with networks behind it and without a daemon: its
    /// number is not that of a gateway there is.
    ///
    /// # Errors
    ///
    /// When a link cannot be made.
    pub fn site(&self, number: u8) -> Result<Namespace> {
        let site = Site::build(&self.lab, &self.switch, number)?.namespace;
        furnish(&site, number)?;
        Ok(site)
    }

    /// Makes a place for another client, without a daemon: its number is not that of a client there
    /// is.
    ///
    /// # Errors
    ///
    /// When a link cannot be made.
    pub fn place(&self, number: u8) -> Result<Place> {
        place(&self.lab, &self.switch, number)
    }

    /// The gateway with an address.
    #[must_use]
    pub fn gateway_at(&self, address: IpAddr) -> Option<&Gateway> {
        self.gateways.iter().find(|gateway| gateway.has_address(address))
    }
}

/// A place on the wire with nothing in it.
pub(super) fn place(lab: &Lab, switch: &Switch, number: u8) -> Result<Place> {
    let (address4, address6) = on_the_wire(number);
    let namespace = lab.namespace(&format!("c{number}"))?;
    switch.wire(&namespace, &[format!("{address4}/24"), format!("{address6}/64")])?;
    Ok(Place { address4, address6, namespace })
}

fn gateway(lab: &Lab, switch: &Switch, number: u8) -> Result<Gateway> {
    let Site { name, address4, address6, namespace } = Site::build(lab, switch, number)?;
    let charon = serve(&namespace, &name, number)?;
    Ok(Gateway { name, address4, address6, charon })
}

/// A gateway's place on the wire, still without daemons.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) name: String,
    pub(super) address4: Ipv4Addr,
    pub(super) address6: Ipv6Addr,
    pub(super) namespace: Namespace,
}

impl Site {
    /// Builds the place of gateway `number`.
    pub(super) fn build(lab: &Lab, switch: &Switch, number: u8) -> Result<Self> {
        let name = format!("gw{number}");
        let host = 10 + number;
        let address4 = Ipv4Addr::new(10, 50, 0, host);
        // Written as the IPv4 host number reads in decimal: fd50::11.
        let address6: Ipv6Addr = format!("fd50::{host}").parse().context("a gateway's address")?;
        let site = Self { namespace: lab.namespace(&name)?, name, address4, address6 };
        switch.wire(&site.namespace, &site.networks())?;
        Ok(site)
    }

    /// Its addresses in CIDR notation.
    pub(super) fn networks(&self) -> [String; 2] {
        [format!("{}/24", self.address4), format!("{}/64", self.address6)]
    }
}

/// Networks behind gateway `number`.
pub(super) fn inside(number: u8) -> [String; 2] {
    [format!("10.99.{number}.0/24"), format!("fd99:{number}::/64")]
}

/// Networks that clients of gateway `number` get their addresses from.
pub(super) fn pools(number: u8) -> [String; 2] {
    [format!("10.98.{number}.0/24"), format!("fd98:{number}::/64")]
}

/// The address that answers in one of those networks.
pub(super) fn first_inside(number: u8, is_ipv6: bool) -> Result<IpAddr> {
    let networks = inside(number);
    let mut hosts = networks.iter().filter_map(|network| first_host(network));
    hosts.find(|host| host.is_ipv6() == is_ipv6).context("no network of that family")
}

/// Gives a gateway an address in each of the networks behind it.
pub(super) fn furnish(namespace: &Namespace, number: u8) -> Result<()> {
    for network in inside(number) {
        let host = first_host(&network).with_context(|| format!("{network} has no host"))?;
        let (length, flags) = if host.is_ipv4() { (32, "") } else { (128, "nodad") };
        namespace.ip(&format!("address replace {host}/{length} dev lo {flags}"))?;
    }
    Ok(())
}

/// Starts a strongSwan gateway with an inside network and pools of its own.
pub(super) fn serve(namespace: &Namespace, name: &str, number: u8) -> Result<Charon> {
    furnish(namespace, number)?;
    let charon = Charon::start(namespace, Settings::default())?;
    charon.serve(&GatewayConfig {
        identity: name.to_owned(),
        pools: pools(number).to_vec(),
        inside: inside(number).to_vec(),
        ..GatewayConfig::default()
    })?;
    Ok(charon)
}

pub(super) fn client(lab: &Lab, switch: &Switch, number: u8, settings: Settings) -> Result<Client> {
    let address4 = Ipv4Addr::new(10, 50, 0, 100 + number);
    let address6 = Ipv6Addr::new(0xfd50, 0, 0, 0, 0, 0, 1, number.into());
    let namespace = lab.namespace(&format!("c{number}"))?;
    switch.wire(&namespace, &[format!("{address4}/24"), format!("{address6}/64")])?;
    let charon = Charon::start(&namespace, settings)?;
    charon.keep_routes(&INSIDE)?;
    Ok(Client { address4, address6, charon })
}

/// The object of an XDP program that `cargo xtask build` leaves: `redirect-pass`, for example.
#[must_use]
pub fn bpf_object(name: &str) -> PathBuf {
    setting("REDIRECT_BPF_DIR").unwrap_or_else(|| workspace().join("target/bpf")).join(name)
}

/// A program of the release build: from the environment variable that carries its name in
/// capitals, or where `cargo xtask build` leaves it.
#[must_use]
pub fn release_binary(name: &str) -> PathBuf {
    setting(&name.to_uppercase()).unwrap_or_else(|| {
        let target = setting("CARGO_TARGET_DIR").unwrap_or_else(|| PathBuf::from("target"));
        workspace().join(target).join("release").join(name)
    })
}

/// As [`release_binary`], as an absolute path.
///
/// # Errors
///
/// When it has not been built.
pub(super) fn installed(name: &str) -> Result<PathBuf> {
    let program = release_binary(name);
    program.canonicalize().with_context(|| format!("{}: `cargo xtask build` makes it", program.display()))
}

#[expect(clippy::disallowed_methods, reason = "`cargo xtask` hands paths to the tests in the environment")]
fn setting(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

pub(super) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
