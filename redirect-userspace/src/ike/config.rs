//! Settings of the gateway and of its client side. Whoever reads the configuration makes them; here
//! they are only used.
//!
//! # References
//!
//! `RFC 7296 §2.6` (cookies), `§2.8` (lifetimes), `§2.19` (addresses), `§4` (limits).

use std::fmt::{Debug, Display, Formatter};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::authn::eap::{Credentials, Gate};
use super::following::Following;
use super::identity::{Claim, Pattern};
use super::proposal::{EspProposal, IkeProposal};
use super::ticket::Sealer;
use super::wire::{Ipv4Prefix, Ipv6Prefix, TrafficSelector};
use crate::crypto::Legacy;
use crate::crypto::sign::PrivateKey;
use crate::crypto::x509::{Certificate, TrustStore};
use crate::secret::Secret;

/// Everything an endpoint works by. Replaced as a whole by a reload; SAs keep the profile they were
/// made under.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What IKE SAs may be protected with, the preferred one first; at least one.
    pub ike_proposals: Vec<IkeProposal>,
    /// What peers may have besides, before those, if they ask for it: we offer none of it for a first
    /// IKE SA.
    pub acceptable: Vec<IkeProposal>,
    /// What Child SAs may be protected with where the profile does not say; at least one.
    pub esp_proposals: Vec<EspProposal>,
    /// For those who come to us, in the order in which they are tried.
    pub profiles: Vec<Arc<Profile>>,
    /// To whom we go.
    pub connections: Vec<Arc<Connection>>,
    /// How much is taken on.
    pub limits: Limits,
    /// How requests of ours are repeated.
    pub retransmission: Retransmission,
    /// Octets of the largest IP packet that is sent before a message is fragmented (`RFC 7383
    /// §2.5.1`).
    pub fragment_size: FragmentSize,
    /// When ESP goes through UDP.
    pub encapsulation: Encapsulation,
    /// How long a half-open SA is kept (`RFC 7296 §2.6`).
    pub half_open_timeout: Duration,
    /// Time between two NAT keepalives (`RFC 3948 §4`).
    pub nat_keepalive: Duration,
    /// Whether SHA-1 may be used where it is still tolerated.
    pub legacy: Option<Legacy>,
    /// Whether we, as a client, follow redirects, and say so.
    pub follows_redirects: bool,
    /// Whether we, as a client, say of a first SA that it is the only one (`RFC 7296 §2.4`). Not
    /// right where others come with the same identity.
    pub is_sole_client: bool,
    /// How far.
    pub following: Following,
    /// What tickets are made and opened with; `None` = there are none.
    pub tickets: Option<Arc<Sealer>>,
    /// Addresses that clients with MOBIKE reach us at besides the one that they came to (`RFC 4555
    /// §3.4`). Never one that another node may have.
    pub additional: Arc<[IpAddr]>,
}

impl Settings {
    /// What IKE SAs of peers may be protected with, the preferred one first.
    pub fn accepted(&self) -> impl Iterator<Item = &IkeProposal> + Clone {
        self.acceptable.iter().chain(&self.ike_proposals)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ike_proposals: Vec::new(),
            acceptable: Vec::new(),
            esp_proposals: Vec::new(),
            profiles: Vec::new(),
            connections: Vec::new(),
            limits: Limits::default(),
            retransmission: Retransmission::default(),
            fragment_size: FragmentSize::default(),
            encapsulation: Encapsulation::default(),
            half_open_timeout: Duration::from_secs(30),
            nat_keepalive: Duration::from_secs(20),
            legacy: None,
            follows_redirects: false,
            is_sole_client: true,
            following: Following::default(),
            tickets: None,
            additional: Arc::new([]),
        }
    }
}

/// When ESP goes through UDP port 4500.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encapsulation {
    /// When there is a NAT on the way (`RFC 7296 §2.23`).
    #[default]
    BehindNat,
    /// Always: a hash that cannot be ours makes the peer see a NAT. For a data plane without raw
    /// sockets.
    Always,
}

/// How much is taken on. What is beyond is refused, and counted by the limit that was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Half-open SAs from which on a cookie is asked for.
    pub cookie_threshold: usize,
    /// Half-open SAs.
    pub half_open: usize,
    /// Half-open SAs of one source: an IPv4 address, or a /64 of IPv6. From half as many on it is asked
    /// for a cookie, so that nobody else can use them up. Clients that have come up from it lately allow
    /// for as many more.
    pub half_open_per_source: usize,
    /// Half-open SAs of the network around it: a /24 of IPv4, a /48 of IPv6.
    pub half_open_per_prefix: usize,
    /// IKE SAs.
    pub sas: usize,
    /// Child SAs of one IKE SA, those being replaced not counted.
    pub children: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cookie_threshold: 500,
            half_open: 5_000,
            // Many clients share an address behind a carrier's NAT.
            half_open_per_source: 100,
            half_open_per_prefix: 500,
            sas: 100_000,
            children: 16,
        }
    }
}

/// How requests of ours are repeated (`RFC 7296 §2.1`, `§2.4`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retransmission {
    /// Time until the first repetition. It doubles from one to the next.
    pub first: Duration,
    /// Longest time between two.
    pub longest: Duration,
    /// How long an answer is waited for in all: then the peer is dead.
    pub patience: Duration,
}

impl Default for Retransmission {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(32),
            patience: Duration::from_secs(165),
        }
    }
}

/// Octets of an IP packet beyond which messages are fragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentSize(u16);

impl FragmentSize {
    /// Every IPv6 link takes that much, and `RFC 7383 §2.5.1` names it for IPv6.
    pub const IPV6_MINIMUM: Self = Self(1_280);
    /// `RFC 7383 §2.5.1` for IPv4, and Cisco's default.
    pub const LEAST: Self = Self(576);

    /// `None` below [`Self::LEAST`].
    #[must_use]
    pub const fn new(octets: u16) -> Option<Self> {
        if octets >= Self::LEAST.0 { Some(Self(octets)) } else { None }
    }

    /// Octets.
    #[must_use]
    pub const fn octets(self) -> u16 {
        self.0
    }
}

impl Default for FragmentSize {
    fn default() -> Self {
        Self::IPV6_MINIMUM
    }
}

/// The name of a profile, connection or pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Longest name.
    pub const MAX_LENGTH: usize = 63;

    /// `None` when it is empty, too long or has white space or control characters.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let is_wrong = |c: char| c.is_whitespace() || c.is_control();
        let is_right = !text.is_empty() && text.len() <= Self::MAX_LENGTH && !text.contains(is_wrong);
        is_right.then(|| Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// How one kind of peer is dealt with: `[[ike.profile]]`, and the same part of a connection.
#[derive(Debug)]
pub struct Profile {
    /// Its name.
    pub name: Name,
    /// Who both sides are and how they prove it.
    pub authentication: Authentication,
    /// Pools that clients get addresses from, one of a family after the other.
    pub pools: Vec<Name>,
    /// What clients are told besides their addresses.
    pub guidance: Guidance,
    /// What may be reached through us: TSr of a client's offer is narrowed to it.
    pub local_ts: Vec<TrafficSelector>,
    /// What may lie behind the peer. Empty: what it was given from a pool, or else its outer
    /// address.
    pub remote_ts: Vec<TrafficSelector>,
    /// What its Child SAs may be protected with; empty: [`Settings::esp_proposals`].
    pub esp_proposals: Vec<EspProposal>,
    /// How long the peer may be silent before it is asked whether it lives; `None` = never asked.
    pub dpd: Option<Duration>,
    /// How long keys are used.
    pub lifetimes: Lifetimes,
    /// Whether it is redirected in IKE_AUTH (`RFC 5685 §6`).
    pub redirect_auth: bool,
    /// Whether sessions are resumed: a gateway gives tickets, a client asks for them (`RFC 5723`).
    pub resumes: bool,
    /// Whether the SAs of both sides may move to other addresses (`RFC 4555`).
    pub mobility: Mobility,
    /// Keys that both sides have had before, mixed into theirs; `None` = none is.
    pub ppk: Option<Ppks>,
}

/// A key that both sides have had before, for when a key exchange can be broken (`RFC 8784`).
#[derive(Debug)]
pub struct Ppk {
    /// Its name, as it is sent.
    pub id: Box<[u8]>,
    /// The key.
    pub secret: Secret,
}

/// Which of them may be used, and whether one must.
#[derive(Clone, Debug)]
pub struct Ppks {
    /// Those of clients of ours, any of which will do; for a connection the first one.
    pub keys: Vec<Arc<Ppk>>,
    /// Whether there is no SA without one.
    pub is_required: bool,
}

impl Profile {
    /// Whether it has no SAs without a key that both sides have had before.
    #[must_use]
    pub fn requires_ppk(&self) -> bool {
        self.ppk.as_ref().is_some_and(|ppk| ppk.is_required)
    }

    /// The one of its keys with this name.
    #[must_use]
    pub fn ppk(&self, id: &[u8]) -> Option<&Arc<Ppk>> {
        self.ppk.as_ref()?.keys.iter().find(|ppk| *ppk.id == *id)
    }
}

/// Whether SAs may move to other addresses (`RFC 4555`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mobility {
    /// Whether they may.
    pub is_allowed: bool,
    /// Whether a client has to show that it is where it says, before traffic goes there
    /// (`RFC 4555 §3.7`).
    pub is_checked: bool,
}

impl Mobility {
    /// They may, and are checked.
    pub const CHECKED: Self = Self { is_allowed: true, is_checked: true };
    /// They may not.
    pub const NONE: Self = Self { is_allowed: false, is_checked: false };
}

/// How long keys are used before they are replaced. A tenth of it is taken off at random, so that
/// both sides, and thousands of SAs, do not begin at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Until an IKE SA is rekeyed; `None` = never by us.
    pub ike: Option<Duration>,
    /// Until a Child SA is rekeyed; `None` = never by us.
    pub child: Option<Duration>,
    /// What an SA has beyond, before it is deleted.
    pub grace: Duration,
    /// How much a Child SA carries in each direction until it is rekeyed.
    pub volume: Volume,
}

/// How much a Child SA carries in each direction until it is rekeyed; a quarter more, and it carries
/// nothing any longer if the kernel carries for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Octets; `None` = any number.
    pub bytes: Option<u64>,
    /// Packets; `None` = any number.
    pub packets: Option<u64>,
}

impl Volume {
    /// Whether so much is as much as it should carry.
    #[must_use]
    pub fn is_reached(&self, bytes: u64, packets: u64) -> bool {
        self.bytes.is_some_and(|most| bytes >= most) || self.packets.is_some_and(|most| packets >= most)
    }
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            ike: Some(Duration::from_secs(4 * 3_600)),
            child: Some(Duration::from_secs(3_600)),
            grace: Duration::from_secs(600),
            volume: Volume::default(),
        }
    }
}

/// Who both sides are and how they prove it.
pub struct Authentication {
    /// Who we say we are.
    pub local_id: Claim,
    /// Whom we take for one of this profile; at least one.
    pub remote_ids: Vec<Pattern>,
    /// How we prove it.
    pub local: LocalProof,
    /// How the peer does.
    pub remote: RemoteProof,
}

impl Debug for Authentication {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { local_id, remote_ids, local, remote } = self;
        let local = match local {
            LocalProof::SharedKey(_) => "psk",
            LocalProof::Certificate(_) => "pubkey",
            LocalProof::Eap(credentials) => &format!("{credentials:?}"),
        };
        let remote = match remote {
            RemoteProof::SharedKey(_) => "psk",
            RemoteProof::Certificate(_) => "pubkey",
            RemoteProof::Eap(gate) => &format!("{gate:?}"),
        };
        write!(f, "Authentication({local_id:?} by {local}, {remote_ids:?} by {remote})")
    }
}

/// How we prove who we are.
pub enum LocalProof {
    /// With a key that both know.
    SharedKey(Secret),
    /// With a signature.
    Certificate(Arc<Credential>),
    /// By EAP, as a client.
    Eap(Arc<Credentials>),
}

/// How the peer proves who it is.
pub enum RemoteProof {
    /// With a key that both know.
    SharedKey(Secret),
    /// With a signature, and a certificate that one of these CAs has issued.
    Certificate(Arc<TrustStore>),
    /// By EAP, as a client.
    Eap(Arc<Gate>),
}

/// A certificate, those between it and its CA, and its private key.
#[derive(Debug)]
pub struct Credential {
    /// Our certificate, then those of CAs that the peer may not have.
    pub chain: Vec<Certificate>,
    /// The key of the first one.
    pub key: PrivateKey,
}

/// What clients are told with their addresses (`RFC 7296 §3.15.1`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guidance {
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// Networks to be reached through us: INTERNAL_IP4_SUBNET.
    pub subnets4: Vec<Ipv4Prefix>,
    /// Networks to be reached through us: INTERNAL_IP6_SUBNET.
    pub subnets6: Vec<Ipv6Prefix>,
    /// Domains whose names those servers know (`RFC 8598`).
    pub domains: Vec<Box<str>>,
}

/// To whom we go: `[[ike.connection]]`.
#[derive(Debug)]
pub struct Connection {
    /// Who both sides are, what is protected, how long: as for those who come to us.
    pub profile: Arc<Profile>,
    /// Where the peer is, in the order in which they are tried; at least one.
    pub remotes: Vec<SocketAddr>,
    /// Whether we ask for an IPv4 address.
    pub wants_ipv4: bool,
    /// Whether we ask for an IPv6 address.
    pub wants_ipv6: bool,
    /// What is done for it without being asked.
    pub upkeep: Upkeep,
}

/// What is done for a connection without being asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// What brings it up.
    pub start: Start,
    /// How long one remote is tried before the next one has its turn;
    /// [`Retransmission::patience`] if absent.
    pub patience: Option<Duration>,
}

/// What brings a connection up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// An operator does, and it is tried once.
    #[default]
    Manual,
    /// Nothing has to: it is brought up again whenever it is down.
    Auto,
    /// The first packet that it is for, whenever it is down.
    Trap,
}

impl Upkeep {
    /// How the first requests of an SA are repeated.
    #[must_use]
    pub(crate) fn retransmission(&self, settings: Retransmission) -> Retransmission {
        let patience = self.patience.map_or(settings.patience, |ours| ours.min(settings.patience));
        Retransmission { patience, ..settings }
    }
}
