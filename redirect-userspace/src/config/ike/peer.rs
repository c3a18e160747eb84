//! `[[ike.profile]]` and `[[ike.connection]]`: those who come to us, and those to whom we go.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::authentication::{Side, authentication};
use super::pool::{AddressPool, Pools};
use super::selector::Selector;
use super::{Reading, name, ppk, proposals};
use crate::config::ClientPrefix;
use crate::config::error::{Problems, place};
use crate::config::reader::{At, Section};
use crate::gateway::Fqdn;
use crate::ike::config::{
    Authentication, Connection, Guidance, Lifetimes, Mobility, Name, Ppks, Profile, RemoteProof, Start,
    Upkeep, Volume,
};
use crate::ike::proposal::EspProposal;
use crate::ike::selector::MAX_SELECTORS;
use crate::ike::wire::{Ipv4Prefix, Ipv6Prefix, TrafficSelector};

/// `dpd`: how long a peer may be silent.
pub const DPD: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);
/// `rekey-ike` and `rekey-child`
pub const REKEY: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(86_400);
/// `rekey-bytes`: fewer would be an exchange for every few packets.
pub const REKEY_BYTES: RangeInclusive<u64> = 100_000..=1_000_000_000_000_000;
/// `rekey-packets`
pub const REKEY_PACKETS: RangeInclusive<u64> = 1_000..=1_000_000_000_000;
/// `rekey-grace`
pub const REKEY_GRACE: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(3_600);
/// Most octets of a PSK.
pub const MAX_PSK: usize = 1_024;

/// `patience` of a connection: how long one remote is tried before the next one has its turn.
pub const CONNECTION_PATIENCE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

/// How long one remote is tried unless the file says: its answer may be lost four times.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);
/// How long a peer may be silent unless the file says.
const DEFAULT_DPD: Duration = Duration::from_secs(30);
/// Everything, of either family.
const ANYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// The profiles and connections of the file, as far as they could be read.
pub(super) struct Peers {
    pub(super) profiles: Vec<Arc<Profile>>,
    pub(super) connections: Vec<Arc<Connection>>,
    /// What brings each of those up that nobody has to bring up.
    pub(super) start: Vec<(Name, Start)>,
}

impl Peers {
    /// Reads all of them.
    pub(super) fn new(ike: &mut Section<'_>, pools: &Pools, reading: &mut Reading<'_>) -> Self {
        let mut peers = Self { profiles: Vec::new(), connections: Vec::new(), start: Vec::new() };
        // What is shown of an SA is the name of either, so they have one name space.
        let mut lines = BTreeMap::new();
        for section in ike.sections("profile", reading.problems) {
            peers.profiles.extend(profile(section, pools, &mut lines, reading).map(Arc::new));
        }
        for section in ike.sections("connection", reading.problems) {
            if let Some(connection) = connection(section, &mut lines, reading) {
                let start = connection.upkeep.start;
                let needs_nobody = start != Start::Manual;
                peers.start.extend(needs_nobody.then(|| (connection.profile.name.clone(), start)));
                peers.connections.push(Arc::new(connection));
            }
        }
        peers
    }
}

type Lines = BTreeMap<Name, (&'static str, usize)>;

fn profile(
    mut section: Section<'_>,
    pools: &Pools,
    lines: &mut Lines,
    reading: &mut Reading<'_>,
) -> Option<Profile> {
    let own = own(&mut section, Side::Responder, "profile", lines, reading);
    let pools = pools_of(&mut section, pools, reading.problems);
    let guidance = guidance(&mut section, &pools, reading.problems);
    let local_ts = selectors(&mut section, "local-ts", &ANYWHERE, reading.problems);
    let remote_ts = selectors(&mut section, "remote-ts", &[], reading.problems);
    let redirect_auth = redirect_auth(&mut section, own.as_ref(), reading.problems);
    let mobike_check = section.flag("mobike-check", reading.problems);
    section.finish(reading.problems);
    let pools = pools.iter().map(|pool| pool.name.clone()).collect();
    let mut profile = own?.profile(pools, guidance, local_ts?, remote_ts?);
    profile.mobility.is_checked = mobike_check.is_none_or(|flag| flag.value);
    profile.redirect_auth = redirect_auth.unwrap_or(reading.redirect_auth);
    Some(profile)
}

/// Whether clients are redirected in IKE_AUTH. `"first"` says where with EAP, and is read by
/// [`is_first`] already; `"last"` is what `true` means.
fn redirect_auth(section: &mut Section<'_>, own: Option<&Own>, problems: &mut Problems) -> Option<bool> {
    let value = section.value("redirect-auth")?;
    if value.get_ref().as_str().is_none() {
        return section.flag("redirect-auth", problems).map(|flag| flag.value);
    }
    let text = section.string("redirect-auth", problems)?;
    let found = REDIRECT_AUTH.iter().find(|(word, _)| *word == text.value);
    let Some(word) = found.map(|(_, is_first)| At { value: *is_first, span: text.span.clone() }) else {
        let message = format!("`redirect-auth` is true, false, \"first\" or \"last\", not {:?}", text.value);
        problems.add(&text.span, message);
        return None;
    };
    let is_eap = own.is_none_or(|own| matches!(own.authentication.remote, RemoteProof::Eap(_)));
    if word.value && !is_eap {
        problems.add(&word.span, "\"first\" needs `remote-auth` by EAP: there is one response without it");
    }
    Some(true)
}

/// Whether `redirect-auth` is `"first"`.
pub(super) fn is_first(section: &mut Section<'_>) -> bool {
    let value = section.value("redirect-auth");
    value.is_some_and(|value| value.get_ref().as_str() == Some("first"))
}

const REDIRECT_AUTH: [(&str, bool); 2] = [("first", true), ("last", false)];

fn connection(mut section: Section<'_>, lines: &mut Lines, reading: &mut Reading<'_>) -> Option<Connection> {
    let own = own(&mut section, Side::Initiator, "connection", lines, reading);
    let remotes = remotes(&mut section, reading.problems);
    let [wants_ipv4, wants_ipv6] = requested(&mut section, reading.problems);
    let local_ts = selectors(&mut section, "local-ts", &[], reading.problems);
    let remote_ts = selectors(&mut section, "remote-ts", &ANYWHERE, reading.problems);
    let starts = [("auto", Start::Auto), ("trap", Start::Trap), ("manual", Start::Manual)];
    let start = section.word("start", &starts, reading.problems);
    let patience = section.duration_in("patience", CONNECTION_PATIENCE, reading.problems);
    section.finish(reading.problems);
    let profile = own?.profile(Vec::new(), Guidance::default(), local_ts?, remote_ts?);
    let start = start.map_or(Start::Auto, |start| start.value);
    let patience = Some(patience.map_or(DEFAULT_PATIENCE, |time| time.value));
    let upkeep = Upkeep { start, patience };
    Some(Connection { profile: Arc::new(profile), remotes: remotes?, wants_ipv4, wants_ipv6, upkeep })
}

/// What a profile and a connection have in common.
struct Own {
    name: Name,
    authentication: Authentication,
    esp_proposals: Vec<EspProposal>,
    dpd: Option<Duration>,
    lifetimes: Lifetimes,
    resumes: bool,
    mobility: Mobility,
    ppk: Option<Ppks>,
}

impl Own {
    /// A profile, with what they do not have in common.
    fn profile(
        self,
        pools: Vec<Name>,
        guidance: Guidance,
        local_ts: Vec<TrafficSelector>,
        remote_ts: Vec<TrafficSelector>,
    ) -> Profile {
        let Self { name, authentication, esp_proposals, dpd, lifetimes, resumes, mobility, ppk } = self;
        Profile {
            name,
            authentication,
            pools,
            guidance,
            local_ts,
            remote_ts,
            esp_proposals,
            dpd,
            lifetimes,
            redirect_auth: false,
            resumes,
            mobility,
            ppk,
        }
    }
}

fn own(
    section: &mut Section<'_>,
    side: Side,
    kind: &'static str,
    lines: &mut Lines,
    reading: &mut Reading<'_>,
) -> Option<Own> {
    let name = name(section, reading.problems);
    if let Some(name) = &name {
        if let Some((earlier, line)) = lines.get(&name.value) {
            let message = format!("\"{}\" is the name of a {earlier} in line {line} already", name.value);
            reading.problems.add(&name.span, message);
        } else {
            lines.insert(name.value.clone(), (kind, place(reading.text, name.span.start).0));
        }
    }
    let authentication = authentication(section, side, reading);
    let problems = &mut *reading.problems;
    let esp_proposals = proposals(section, "esp-proposals", &[], problems);
    let dpd = section.duration_or_false("dpd", DPD, problems);
    let default = Lifetimes::default();
    let ike = section.duration_or_false("rekey-ike", REKEY, problems);
    let child = section.duration_or_false("rekey-child", REKEY, problems);
    let grace = section.duration_in("rekey-grace", REKEY_GRACE, problems);
    let bytes = section.number("rekey-bytes", REKEY_BYTES, problems);
    let packets = section.number("rekey-packets", REKEY_PACKETS, problems);
    let reconnect = section.flag("reconnect", problems);
    let mobike = section.flag("mobike", problems);
    let ppk = ppk::used(section, side, reading);
    Some(Own {
        name: name?.value,
        authentication: authentication?,
        esp_proposals: esp_proposals?,
        dpd: dpd.map_or(Some(DEFAULT_DPD), |dpd| dpd.value),
        lifetimes: Lifetimes {
            ike: ike.map_or(default.ike, |ike| ike.value),
            child: child.map_or(default.child, |child| child.value),
            grace: grace.map_or(default.grace, |grace| grace.value),
            volume: Volume {
                bytes: bytes.map(|bytes| bytes.value),
                packets: packets.map(|packets| packets.value),
            },
        },
        resumes: reconnect.is_none_or(|flag| flag.value),
        mobility: Mobility { is_allowed: mobike.is_none_or(|flag| flag.value), is_checked: true },
        ppk: ppk?,
    })
}

fn pools_of<'p>(
    section: &mut Section<'_>,
    pools: &'p Pools,
    problems: &mut Problems,
) -> Vec<&'p AddressPool> {
    let list = section.strings("pools", problems).map(|list| list.value).unwrap_or_default();
    let mut found: Vec<&AddressPool> = Vec::new();
    for text in list {
        let Some(pool) = pools.find(&text, problems) else { continue };
        if found.iter().any(|earlier| earlier.name == pool.name) {
            problems.add(&text.span, format!("pool \"{}\" is listed twice", pool.name));
        }
        found.push(pool);
    }
    found
}

/// What clients are told: the name servers of their pools, and what the profile has.
fn guidance(section: &mut Section<'_>, pools: &[&AddressPool], problems: &mut Problems) -> Guidance {
    let mut guidance = Guidance::default();
    for server in pools.iter().flat_map(|pool| &pool.dns) {
        if !guidance.dns.contains(server) {
            guidance.dns.push(*server);
        }
    }
    let subnets = section.strings("subnets", problems).map(|list| list.value).unwrap_or_default();
    for prefix in subnets.iter().filter_map(|text| text.parse::<ClientPrefix>(problems)) {
        match prefix.value.network() {
            IpAddr::V4(network) => {
                guidance.subnets4.extend(Ipv4Prefix::new(network, prefix.value.length()));
            }
            IpAddr::V6(network) => {
                guidance.subnets6.extend(Ipv6Prefix::new(network, prefix.value.length()));
            }
        }
    }
    let domains = section.strings("domains", problems).map(|list| list.value).unwrap_or_default();
    for domain in domains.iter().filter_map(|text| text.parse::<Fqdn>(problems)) {
        guidance.domains.push(domain.value.as_str().into());
    }
    guidance
}

/// Traffic selectors; the `default` where there are none, nothing if one of them is wrong.
fn selectors(
    section: &mut Section<'_>,
    key: &'static str,
    default: &[&str],
    problems: &mut Problems,
) -> Option<Vec<TrafficSelector>> {
    if !section.has(key) {
        section.value(key);
        return default.iter().map(|text| text.parse().ok().map(|Selector(selector)| selector)).collect();
    }
    let list = section.strings(key, problems)?;
    if list.value.is_empty() {
        problems.add(&list.span, format!("`{key}` needs at least one traffic selector"));
    }
    if let Some(surplus) = list.value.get(MAX_SELECTORS) {
        let count = list.value.len();
        let message = format!("`{key}` has at most {MAX_SELECTORS} traffic selectors, not {count}");
        problems.add(&surplus.span, message);
    }
    let mut selectors: Vec<TrafficSelector> = Vec::new();
    for text in &list.value {
        let Some(Selector(selector)) = text.parse(problems).map(|at| at.value) else { continue };
        if selectors.contains(&selector) {
            problems.add(&text.span, format!("{:?} is listed twice", text.value));
        }
        selectors.push(selector);
    }
    (selectors.len() == list.value.len()).then_some(selectors)
}

/// Where the peer of a connection is.
fn remotes(section: &mut Section<'_>, problems: &mut Problems) -> Option<Vec<SocketAddr>> {
    let list = section.strings("remote", problems);
    let list = section.required("remote", list, problems)?;
    if list.value.is_empty() {
        problems.add(&list.span, "`remote` needs at least one address");
        return None;
    }
    let mut remotes: Vec<SocketAddr> = Vec::new();
    for text in &list.value {
        let Some(PeerAddress(remote)) = text.parse(problems).map(|at| at.value) else { continue };
        if remotes.contains(&remote) {
            problems.add(&text.span, format!("{:?} is listed twice", text.value));
        }
        remotes.push(remote);
    }
    (remotes.len() == list.value.len()).then_some(remotes)
}

/// Whether an IPv4 address is asked for, and an IPv6 address.
fn requested(section: &mut Section<'_>, problems: &mut Problems) -> [bool; 2] {
    let list = section.strings("request", problems).map(|list| list.value).unwrap_or_default();
    let mut wants = [false; 2];
    for text in list {
        let [ipv4, ipv6] = &mut wants;
        let wish = match text.value {
            "ipv4" => ipv4,
            "ipv6" => ipv6,
            other => {
                problems.add(&text.span, format!("`request` lists \"ipv4\" or \"ipv6\", not {other:?}"));
                continue;
            }
        };
        if *wish {
            problems.add(&text.span, format!("{:?} is listed twice", text.value));
        }
        *wish = true;
    }
    wants
}

/// Where a peer listens.
struct PeerAddress(SocketAddr);

impl FromStr for PeerAddress {
    type Err = PeerAddressError;

    fn from_str(text: &str) -> Result<Self, PeerAddressError> {
        let address = match (text.parse::<IpAddr>(), text.parse()) {
            (Ok(address), _) => SocketAddr::new(address, IKE_PORT),
            (_, Ok(address)) => address,
            (Err(_), Err(_)) => return Err(PeerAddressError::Address),
        };
        let is_host = !address.ip().is_unspecified() && !address.ip().is_multicast();
        if is_host && address.port() != 0 { Ok(Self(address)) } else { Err(PeerAddressError::NoHost) }
    }
}

/// The UDP port of IKE.
const IKE_PORT: u16 = 500;

/// Why a [`PeerAddress`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum PeerAddressError {
    #[error("not ADDRESS or ADDRESS:PORT (names are not supported yet)")]
    Address,
    #[error("nobody listens there")]
    NoHost,
}
