//! `[ike]`: the IKEv2 gateway of this node, and its client side.
//!
//! # Invariants
//!
//! - Certificates, keys, CAs and lists of revoked certificates are read and checked here: a private
//!   key belongs to its certificate, which is valid now, for authentication in IKE, and for the
//!   identity that goes with it.
//! - Two values are equal when everything is that they were made of, keys and files included.

mod authentication;
mod credentials;
mod eap;
mod files;
mod limits;
mod peer;
mod pool;
mod ppk;
mod radius;
mod selector;

use std::fmt::{Debug, Formatter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;

pub(super) use self::files::Files;
use self::files::Kept;
use self::limits::{Times, limits, retransmission, times, tun};
use self::peer::Peers;
use self::pool::Pools;
use crate::config::error::Problems;
use crate::config::reader::{At, Section};
use crate::config::reconnect::Reconnect;
use crate::config::{InterfaceName, Redirect, RedirectClient};
use crate::crypto::Legacy;
use crate::crypto::digest::{SHA256_LENGTH, sha256};
use crate::gateway::unicast;
use crate::ike::authn::eap::mschapv2::Users;
use crate::ike::config::{Encapsulation, Name, Ppk, Settings, Start};
use crate::ike::ticket::Sealer;
use crate::time::UnixTime;

pub use self::files::Reread;
pub use self::limits::{
    CHILDREN, COOKIE_THRESHOLD, FRAGMENT_SIZE, HALF_OPEN, HALF_OPEN_PER_PREFIX, HALF_OPEN_PER_SOURCE,
    HALF_OPEN_TIMEOUT, NAT_KEEPALIVE, PATIENCE, RETRANSMISSION, SAS, TUN_MTU,
};
pub use self::peer::{CONNECTION_PATIENCE, DPD, MAX_PSK, REKEY, REKEY_BYTES, REKEY_GRACE, REKEY_PACKETS};
pub use self::pool::AddressPool;
pub use self::ppk::{MAX_PPK_ID, PPK};
pub use self::radius::{
    MAX_RADIUS_SECRET, MAX_RADIUS_SERVERS, RADIUS_DEAD_TIME, RADIUS_INTERIM, RADIUS_RETRIES, RADIUS_TIMEOUT,
};

/// What IKE SAs are protected with unless the file says.
pub const IKE_PROPOSALS: [&str; 3] =
    ["aes256gcm16-prfsha384-ecp384", "aes128gcm16-prfsha256-x25519", "aes256-sha256-modp2048"];
/// What IKE SAs of peers may be protected with besides, unless the file says: we offer none of it.
pub const HYBRID_PROPOSALS: [&str; 2] = [
    "aes256gcm16-prfsha384-prfsha256-ecp384-x25519-ke1_mlkem1024-ke1_mlkem768",
    "aes128gcm16-prfsha256-x25519-ecp256-ke1_mlkem768",
];
/// What Child SAs are protected with unless the file says.
pub const ESP_PROPOSALS: [&str; 3] = ["aes256gcm16", "aes128gcm16", "aes256-sha256"];
/// Most proposals of a list.
pub const MAX_PROPOSALS: usize = 32;
/// Most addresses that clients are told of.
pub const MAX_ADDITIONAL: usize = 8;
/// Most workers.
pub const MAX_WORKERS: u16 = 256;

/// The IKEv2 gateway of this node.
#[derive(Clone, Debug)]
pub struct Ike {
    /// What the endpoints work by: a reload may replace it.
    pub settings: Arc<Settings>,
    /// `[[ike.pool]]`: a reload may replace them, too.
    pub pools: Vec<AddressPool>,
    /// The connections among the settings that nobody has to bring up, and what does.
    pub start: Vec<(Name, Start)>,
    /// `[[ike.radius]]`: a reload may replace them.
    pub radius: Arc<crate::radius::config::Settings>,
    /// What changes only with a restart.
    pub engine: Engine,
    kept: Kept,
    fingerprint: Fingerprint,
}

impl PartialEq for Ike {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Ike {}

/// What the endpoints run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Addresses that ports 500 and 4500 are opened on; at least one.
    pub listen: Vec<IpAddr>,
    /// Who carries the packets of Child SAs.
    pub dataplane: Dataplane,
    /// How many endpoints share the work; `None` = one for each processor.
    pub workers: Option<NonZeroU16>,
    /// Where packets of Child SAs enter and leave the kernel, or its ESP.
    pub tun: Tun,
}

/// Who carries the packets of Child SAs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dataplane {
    /// Whoever does it best of those that are there.
    #[default]
    Auto,
    /// The kernel, through an xfrm interface.
    Kernel,
    /// The daemon, through a TUN interface.
    Userspace,
    /// Nobody: SAs are negotiated and carry nothing, for tests of IKE itself.
    None,
}

/// The interface of the data plane: a TUN interface of the daemon, or an xfrm interface of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tun {
    /// Its name.
    pub name: InterfaceName,
    /// Octets of the largest packet on it.
    pub mtu: u16,
}

/// What all parts of the section need while they are read.
struct Reading<'p> {
    problems: &'p mut Problems,
    /// The file, to name lines of it.
    text: &'p str,
    /// What certificates are judged by.
    now: UnixTime,
    /// Whether clients of every profile are redirected in IKE_AUTH.
    redirect_auth: bool,
    /// What tickets are made with.
    tickets: Option<Arc<Sealer>>,
    /// What we, as a client, make of redirects.
    client: &'p RedirectClient,
    /// `[[ike.user]]`
    users: Arc<Users>,
    files: Files,
    /// `[[ike.radius]]`, and whether one of them is to let clients in.
    radius: (Arc<crate::radius::config::Settings>, bool),
    /// `[[ike.ppk]]`
    ppks: Vec<Arc<Ppk>>,
    fingerprint: Fingerprint,
}

/// Stands for everything that was read. Not shown: it is made of keys, too.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Fingerprint([u8; SHA256_LENGTH]);

impl Fingerprint {
    const EMPTY: Self = Self([0; SHA256_LENGTH]);

    /// Takes something in. What was taken in earlier has a fixed length, so that no two sequences
    /// are the same octets.
    fn add(&mut self, octets: &[u8]) {
        self.0 = sha256(&[&self.0, octets]);
    }
}

impl Debug for Fingerprint {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fingerprint(…)")
    }
}

/// Reads the section; `None` when it is absent or wrong.
pub(super) fn ike(
    root: &mut Section<'_>,
    (redirect, reconnect): (&Redirect, Option<Reconnect>),
    node: &str,
    (text, now, files): (&str, UnixTime, Files),
    problems: &mut Problems,
) -> Option<Ike> {
    let mut section = root.section("ike", problems);
    if !section.is_there() {
        if let Some(reconnect) = reconnect {
            problems.add(&reconnect.span, "[reconnect] needs [ike]: there are no sessions to go on with");
        }
        return None;
    }
    let redirect_auth = redirect.on_auth;
    let tickets = reconnect.as_ref().map(|reconnect| Arc::clone(&reconnect.sealer));
    let (client, fingerprint) = (&redirect.client, Fingerprint::EMPTY);
    let (users, ppks) = (Arc::new(Users::new([])), Vec::new());
    let radius = (Arc::default(), false);
    let mut reading = Reading {
        problems,
        text,
        now,
        redirect_auth,
        tickets,
        client,
        users,
        files,
        radius,
        ppks,
        fingerprint,
    };
    if let Some(reconnect) = &reconnect {
        reading.fingerprint.add(&reconnect.digest);
    }
    reading.radius = radius::radius(&mut section, node, &mut reading);
    let ike = read(&mut section, &mut reading);
    section.finish(reading.problems);
    ike
}

fn read(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Ike> {
    let engine = engine(section, reading.problems);
    let named = engine.as_ref().map(|engine| &*engine.listen).unwrap_or_default();
    let additional = additional(section, named, reading.problems);
    // Whoever says what he wants has said everything.
    let others: &[&str] = if section.has("ike-proposals") { &[] } else { &HYBRID_PROPOSALS };
    let acceptable = others.iter().filter_map(|text| text.parse().ok()).collect();
    let ike_proposals = proposals(section, "ike-proposals", &IKE_PROPOSALS, reading.problems);
    let esp_proposals = proposals(section, "esp-proposals", &ESP_PROPOSALS, reading.problems);
    let limits = limits(section, reading.problems);
    let retransmission = retransmission(section, reading.problems);
    let Times { fragment_size, half_open_timeout, nat_keepalive } = times(section, reading.problems);
    let encapsulations = [("behind-nat", Encapsulation::BehindNat), ("always", Encapsulation::Always)];
    let encapsulation = section.word("encapsulation", &encapsulations, reading.problems);
    let legacy = section.flag("legacy-sha1", reading.problems);
    let pools = Pools::new(section, reading);
    reading.users = eap::users(section, reading);
    reading.ppks = ppk::keys(section, reading);
    let peers = Peers::new(section, &pools, reading);
    if !section.has("profile") && !section.has("connection") {
        let message = "[ike] needs a [[ike.profile]] or [[ike.connection]]: nobody could get an SA";
        reading.problems.add(section.span(), message);
    }
    let settings = Settings {
        ike_proposals: ike_proposals?,
        acceptable,
        esp_proposals: esp_proposals?,
        profiles: peers.profiles,
        connections: peers.connections,
        limits,
        retransmission,
        fragment_size,
        encapsulation: encapsulation.map(|word| word.value).unwrap_or_default(),
        half_open_timeout,
        nat_keepalive,
        legacy: legacy.is_some_and(|flag| flag.value).then(Legacy::permit),
        is_sole_client: true,
        follows_redirects: reading.client.is_enabled,
        following: reading.client.following.clone(),
        tickets: reading.tickets.clone(),
        additional: additional?.into(),
    };
    let (pools, start, engine) = (pools.into_all(), peers.start, engine?);
    // Whatever is not in this text was added when it was read.
    let radius = Arc::clone(&reading.radius.0);
    let read = format!("{settings:?} {pools:?} {start:?} {engine:?} {radius:?}");
    reading.fingerprint.add(read.as_bytes());
    let (kept, fingerprint) = (std::mem::take(&mut reading.files).finish(), reading.fingerprint);
    Some(Ike { settings: Arc::new(settings), pools, start, radius, engine, kept, fingerprint })
}

fn engine(section: &mut Section<'_>, problems: &mut Problems) -> Option<Engine> {
    let listen = listen(section, problems);
    let words = [
        ("auto", Dataplane::Auto),
        ("kernel", Dataplane::Kernel),
        ("userspace", Dataplane::Userspace),
        ("none", Dataplane::None),
    ];
    let dataplane = section.word("dataplane", &words, problems);
    let workers = section.number("workers", 1..=MAX_WORKERS, problems);
    let tun = tun(section, problems);
    Some(Engine {
        listen: listen?,
        dataplane: dataplane.map(|word| word.value).unwrap_or_default(),
        workers: workers.and_then(|workers| NonZeroU16::new(workers.value)),
        tun: tun?,
    })
}

/// `mobike-addresses`: where clients reach us besides where they came to. Without the key, those that are
/// listened on by name.
fn additional(section: &mut Section<'_>, listen: &[IpAddr], problems: &mut Problems) -> Option<Vec<IpAddr>> {
    if !section.has("mobike-addresses") {
        section.value("mobike-addresses");
        return Some(listen.iter().copied().filter(|address| unicast(*address).is_ok()).collect());
    }
    let list = section.strings("mobike-addresses", problems)?;
    if let Some(surplus) = list.value.get(MAX_ADDITIONAL) {
        let message = format!("`mobike-addresses` has at most {MAX_ADDITIONAL} addresses");
        problems.add(&surplus.span, message);
    }
    let mut addresses: Vec<IpAddr> = Vec::new();
    for text in &list.value {
        let Some(ListenAddress(address)) = text.parse(problems).map(|address| address.value) else {
            continue;
        };
        if let Err(error) = unicast(address) {
            problems.add(&text.span, error.to_string());
        }
        if addresses.contains(&address) {
            problems.add(&text.span, format!("{address} is listed twice"));
        }
        addresses.push(address);
    }
    (addresses.len() == list.value.len()).then_some(addresses)
}

fn listen(section: &mut Section<'_>, problems: &mut Problems) -> Option<Vec<IpAddr>> {
    if !section.has("listen") {
        section.value("listen");
        return Some(vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]);
    }
    let list = section.strings("listen", problems)?;
    if list.value.is_empty() {
        problems.add(&list.span, "`listen` needs at least one address");
    }
    let mut addresses: Vec<IpAddr> = Vec::new();
    for text in &list.value {
        let Some(ListenAddress(address)) = text.parse(problems).map(|address| address.value) else {
            continue;
        };
        if addresses.contains(&address) {
            problems.add(&text.span, format!("{address} is listed twice"));
        }
        addresses.push(address);
    }
    (addresses.len() == list.value.len()).then_some(addresses)
}

/// An address of this node, or all of a family.
struct ListenAddress(IpAddr);

impl FromStr for ListenAddress {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        match text.parse::<IpAddr>() {
            Ok(address) if address.is_multicast() => Err(ListenError::Multicast),
            Ok(address) => Ok(Self(address)),
            Err(_) => Err(ListenError::Address),
        }
    }
}

/// Why a [`ListenAddress`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum ListenError {
    #[error("not an IP address (write no port)")]
    Address,
    #[error("a multicast address belongs to no single host")]
    Multicast,
}

/// Proposals of a list; the `default` without one, nothing if one of them is wrong.
fn proposals<T>(
    section: &mut Section<'_>,
    key: &'static str,
    default: &[&str],
    problems: &mut Problems,
) -> Option<Vec<T>>
where
    T: FromStr<Err: std::fmt::Display> + PartialEq,
{
    if !section.has(key) {
        section.value(key);
        return default.iter().map(|text| text.parse().ok()).collect();
    }
    let list = section.strings(key, problems)?;
    if list.value.is_empty() {
        problems.add(&list.span, format!("`{key}` needs at least one proposal"));
        return None;
    }
    if let Some(surplus) = list.value.get(MAX_PROPOSALS) {
        let count = list.value.len();
        problems.add(&surplus.span, format!("`{key}` has at most {MAX_PROPOSALS} proposals, not {count}"));
    }
    let mut proposals: Vec<T> = Vec::new();
    for text in &list.value {
        let Some(proposal) = text.parse(problems).map(|proposal| proposal.value) else {
            continue;
        };
        if proposals.contains(&proposal) {
            problems.add(&text.span, format!("{:?} is listed twice", text.value));
        }
        proposals.push(proposal);
    }
    (proposals.len() == list.value.len()).then_some(proposals)
}

/// The name of a pool, profile or connection.
struct OwnName(Name);

impl FromStr for OwnName {
    type Err = OwnNameError;

    fn from_str(text: &str) -> Result<Self, OwnNameError> {
        Name::new(text).map(Self).ok_or(OwnNameError)
    }
}

/// Why an [`OwnName`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to {} octets and no white space", Name::MAX_LENGTH)]
struct OwnNameError;

/// The required `name`.
fn name(section: &mut Section<'_>, problems: &mut Problems) -> Option<At<Name>> {
    let name = section.parsed::<OwnName>("name", problems);
    let name = section.required("name", name, problems)?;
    Some(At { value: name.value.0, span: name.span })
}
