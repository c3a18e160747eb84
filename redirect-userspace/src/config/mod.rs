//! The daemon's configuration, typed and checked.
//!
//! Reads one file and the key files and certificates it names, and nothing else: neither the network
//! nor the machine it runs on, so that a configuration can be checked wherever its keys are. The
//! time, which certificates are judged by, comes from the caller.
//!
//! # Invariants
//!
//! - A [`Config`] is valid: nobody behind it checks again.
//! - Every mistake has a place, `FILE:LINE:COLUMN`, and all mistakes are reported at once.
//! - A key that this version does not act on is refused, never ignored.
//! - A secret is taken only from a file that nobody but its owner has access to, and is in no
//!   message.

#![forbid(unsafe_code)]

mod client;
mod cluster;
mod drain;
mod duration;
mod error;
mod file;
mod hsrp;
pub mod ike;
mod key;
mod reader;
mod reconnect;

use std::fmt::{Display, Formatter};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use common::inet::Address;
use common::maps;

pub use self::client::{MAX_ALLOWED, PERIOD};
pub use self::drain::Drain;
pub use self::duration::{DurationError, DurationText};
pub use self::error::{ConfigError, ConfigErrors};
pub use self::ike::{AddressPool, Dataplane, Engine, Ike, Tun};
pub use self::key::MAX_KEY_FILE;
pub use self::reconnect::{LIFETIME as RECONNECT_LIFETIME, MAX_KEYS as MAX_RECONNECT_KEYS};
use crate::clb::{Settings as ClbSettings, SlaveSettings};
use crate::cluster::{Member, MemberState, Settings};
use crate::gateway::{AddressError, GatewayAddresses, GatewayName, Weight, unicast};
use crate::hsrp::{GroupName, Settings as HsrpSettings};
use crate::ike::following::Following;
use crate::time::UnixTime;

/// The configuration of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[node]`
    pub node: Node,
    /// `[runtime]`
    pub runtime: Runtime,
    /// `[fast-path]`
    pub fast_path: FastPath,
    /// `[[hsrp]]`
    pub hsrp: Vec<HsrpGroup>,
    /// `[cluster]`
    pub cluster: Cluster,
    /// `[redirect]`
    pub redirect: Redirect,
    /// `[ike]`; `None` = this node has no gateway of its own.
    pub ike: Option<Ike>,
}

/// This node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name in the cluster.
    pub name: GatewayName,
    /// Where clients are sent for this node.
    pub addresses: Option<GatewayAddresses>,
}

/// Where the daemon is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Control socket.
    pub socket: PathBuf,
    /// Directory of the pinned maps.
    pub bpf_pin: PathBuf,
    /// Where metrics are served.
    pub metrics: SocketAddr,
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            socket: "/run/redirectd/redirectd.sock".into(),
            bpf_pin: "/sys/fs/bpf/redirectd".into(),
            metrics: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9469),
        }
    }
}

/// Where requests are answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FastPath {
    /// Interfaces that requests arrive on; at least one if the mode needs any.
    pub interfaces: Vec<InterfaceName>,
    /// How.
    pub mode: Mode,
    /// Whether the XDP program's own log lines are wanted. They are about rare events; with this
    /// off, as it is unless the file says otherwise, the program has no code for them.
    pub program_log: bool,
}

/// How requests are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// By XDP in the driver, or else in the stack, or else in userspace.
    #[default]
    Auto,
    /// By XDP in the driver.
    Native,
    /// By XDP in the stack, whatever the driver.
    Generic,
    /// By the daemon itself.
    Userspace,
    /// Not at all.
    Off,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 5] = [Self::Auto, Self::Native, Self::Generic, Self::Userspace, Self::Off];

    /// The name, as in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Userspace => "userspace",
            Self::Off => "off",
        }
    }

    /// Whether a program is attached to interfaces.
    #[must_use]
    pub const fn needs_interfaces(self) -> bool {
        match self {
            Self::Auto | Self::Native | Self::Generic => true,
            Self::Userspace | Self::Off => false,
        }
    }
}

impl Display for Mode {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The cluster and its configured members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// `[cluster.master]`
    pub settings: Settings,
    /// `[[cluster.static]]`: members that do not report their load.
    pub members: Vec<StaticMember>,
    /// How the master is elected; `None` = there is none, and each node works for itself.
    pub election: Option<Election>,
}

/// A standby group of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HsrpGroup {
    /// Where it runs.
    pub interface: InterfaceName,
    /// What it is.
    pub settings: HsrpSettings,
    /// Programs that are told every change of its role.
    pub notify: Vec<PathBuf>,
}

/// The cluster whose master is the active router of a standby group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// The group: one of [`Config::hsrp`].
    pub standby_group: GroupName,
    /// TCP port of the master, at the group's [`cluster_ip`].
    pub port: u16,
    /// What every member must agree on, without the virtual IPs, which may be learned; `None`
    /// while the operator has shut the cluster down on this node.
    pub clb: Option<ClbSettings>,
    /// What this node tells about itself.
    pub slave: SlaveSettings,
}

/// A configured member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticMember {
    /// Its name.
    pub name: GatewayName,
    /// Where clients are sent.
    pub addresses: GatewayAddresses,
    /// How many clients it takes; `None` = none.
    pub weight: Option<Weight>,
}

/// What is redirected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Addresses that requests are answered for: those of another program, which owns them.
    pub vips: Vec<IpAddr>,
    /// Whether clients are redirected in IKE_SA_INIT (`RFC 5685 §3`).
    pub on_init: bool,
    /// Whether clients of every profile are redirected in IKE_AUTH (`RFC 5685 §6`): the profiles
    /// have it as well.
    pub on_auth: bool,
    /// Only these clients are redirected; empty = all.
    pub accept_from: Vec<ClientPrefix>,
    /// `[redirect.client]`: the connections of `[ike]` have it as well.
    pub client: RedirectClient,
    /// `[redirect.drain]`
    pub drain: Drain,
}

/// What we, as a client, make of redirects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectClient {
    /// Whether they are followed, and gateways are told so.
    pub is_enabled: bool,
    /// How far.
    pub following: Following,
}

impl Default for RedirectClient {
    fn default() -> Self {
        Self { is_enabled: true, following: Following::default() }
    }
}

impl Redirect {
    /// The entries of the VIP map.
    #[must_use]
    pub fn vips_to_map(&self) -> Vec<maps::Vip> {
        vips_to_map(&self.vips)
    }

    /// The entries of the client map.
    #[must_use]
    pub fn clients_to_map(&self) -> Vec<maps::Prefix> {
        self.accept_from.iter().map(ClientPrefix::to_map).collect()
    }
}

/// The address of a cluster that has these VIPs: the first that members and clients on another
/// link can reach.
#[must_use]
pub fn cluster_ip(vips: &[IpAddr]) -> Option<IpAddr> {
    vips.iter().copied().find(|vip| unicast(*vip).is_ok())
}

/// Entries of the VIP map.
#[must_use]
pub fn vips_to_map(vips: &[IpAddr]) -> Vec<maps::Vip> {
    vips.iter().map(|vip| maps::Vip::new(to_octets(*vip))).collect()
}

impl Default for Redirect {
    fn default() -> Self {
        Self {
            vips: Vec::new(),
            on_init: true,
            on_auth: false,
            accept_from: Vec::new(),
            client: RedirectClient::default(),
            drain: Drain::default(),
        }
    }
}

impl Config {
    /// Reads and checks a file. Certificates have to be valid `now`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn load(path: &Path, now: UnixTime) -> Result<Self, ConfigErrors> {
        file::load(path, now)
    }

    /// Checks the content of a file; `path` is only named in errors. Certificates have to be valid
    /// `now`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn parse(path: &Path, text: &str, now: UnixTime) -> Result<Self, ConfigErrors> {
        file::parse(path, text, now)
    }

    /// The standby group whose active router is the master of the cluster.
    #[must_use]
    pub fn standby_group(&self) -> Option<&HsrpGroup> {
        let name = &self.cluster.election.as_ref()?.standby_group;
        self.hsrp.iter().find(|group| group.settings.name == *name)
    }

    /// The configured members as the cluster wants them, all of them up.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let member = |member: &StaticMember| Member {
            name: member.name.clone(),
            addresses: member.addresses.clone(),
            weight: member.weight,
            is_self: self.node.is(member),
            state: MemberState::Up,
        };
        self.cluster.members.iter().map(member).collect()
    }
}

impl Node {
    /// Whether `member` is this node: by its name, or by one of its addresses.
    #[must_use]
    pub fn is(&self, member: &StaticMember) -> bool {
        let overlaps = |addresses: &GatewayAddresses| addresses.overlaps(&member.addresses);
        self.name == member.name || self.addresses.as_ref().is_some_and(overlaps)
    }
}

/// The name of a network interface, as the kernel allows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(Box<str>);

impl InterfaceName {
    /// Longest name: `IFNAMSIZ` without the final zero.
    pub const MAX_LENGTH: usize = 15;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = InterfaceNameError;

    fn from_str(text: &str) -> Result<Self, InterfaceNameError> {
        let is_wrong = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':');
        if text.is_empty() || text.len() > Self::MAX_LENGTH {
            return Err(InterfaceNameError::Length);
        }
        if matches!(text, "." | "..") || text.contains(is_wrong) {
            return Err(InterfaceNameError::Character);
        }
        Ok(Self(text.into()))
    }
}

impl AsRef<str> for InterfaceName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Display for InterfaceName {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// Why an [`InterfaceName`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceNameError {
    /// A space, slash or colon.
    #[error("no interface has such a name")]
    Character,
    /// Empty or too long.
    #[error("the name of an interface has 1 to {} characters", InterfaceName::MAX_LENGTH)]
    Length,
}

/// A range of client addresses, with all host bits zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientPrefix {
    network: IpAddr,
    length: u8,
}

impl ClientPrefix {
    /// Its first address.
    #[must_use]
    pub const fn network(&self) -> IpAddr {
        self.network
    }

    /// Its length in bits.
    #[must_use]
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// The entry of the client map.
    #[must_use]
    pub fn to_map(&self) -> maps::Prefix {
        // Parsing has excluded lengths that do not fit; an unused entry matches nobody.
        maps::Prefix::new(to_octets(self.network), self.length).unwrap_or(maps::Prefix::EMPTY)
    }
}

impl FromStr for ClientPrefix {
    type Err = PrefixError;

    /// `ADDRESS/LENGTH`, or an address alone for one client.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(PrefixError::Address);
        };
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            Some(length) if length.bytes().all(|digit| digit.is_ascii_digit()) => length.parse().ok(),
            Some(_) => None,
            None => Some(bits),
        };
        let length = length.filter(|length| *length <= bits).ok_or(PrefixError::Length { bits })?;
        let prefix = Self { network: address, length };
        let network = prefix.without_host_bits();
        if network != address {
            return Err(PrefixError::HostBits { network, length });
        }
        Ok(prefix)
    }
}

impl ClientPrefix {
    fn without_host_bits(&self) -> IpAddr {
        let [a, b, c, d, ..] = self.to_map().address;
        match self.network {
            IpAddr::V4(_) => IpAddr::from([a, b, c, d]),
            IpAddr::V6(_) => IpAddr::from(self.to_map().address),
        }
    }
}

impl Display for ClientPrefix {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

/// Why a [`ClientPrefix`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Not an address.
    #[error("neither an IP address nor ADDRESS/LENGTH")]
    Address,
    /// More precise than its length says.
    #[error("has bits beyond its length, did you mean \"{network}/{length}\"?")]
    HostBits {
        /// Without them.
        network: IpAddr,
        /// Length in bits.
        length: u8,
    },
    /// Length out of range.
    #[error("the length of this prefix is 0 to {bits}")]
    Length {
        /// Greatest length.
        bits: u8,
    },
}

/// A VIP before it is one among others.
struct VipAddress(IpAddr);

impl FromStr for VipAddress {
    type Err = VipError;

    fn from_str(text: &str) -> Result<Self, VipError> {
        let Ok(address) = text.parse() else {
            return Err(VipError::Address);
        };
        unicast(address)?;
        Ok(Self(address))
    }
}

/// Why a VIP is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum VipError {
    #[error("not an IP address")]
    Address,
    #[error(transparent)]
    NotUnicast(#[from] AddressError),
}

const fn to_octets(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => Address::V4(address.octets()),
        IpAddr::V6(address) => Address::V6(address.octets()),
    }
}

#[cfg(test)]
mod tests;
