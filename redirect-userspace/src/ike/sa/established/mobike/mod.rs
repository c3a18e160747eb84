//! MOBIKE: an SA that goes on while its client moves to other addresses.
//!
//! The client decides: it notices that it is elsewhere, sends from there, and says so
//! (UPDATE_SA_ADDRESSES). The gateway believes the message, and sends the traffic of Child SAs there
//! once the client has shown that it hears what is sent there (COOKIE2).
//!
//! # Invariants
//!
//! - Only the client moves an SA, and only by a message whose integrity was verified. Whoever is
//!   behind a NAT may besides be found by the ESP packets that come from it.
//! - Of several moves in a row the last one counts: what is answered to an earlier one changes
//!   nothing.
//! - What is wanted of a move is no [`Task`](super::tasks::Task): nothing that clears those forgets
//!   it.
//!
//! # Picture
//!
//! ```text
//! client                                             gateway
//!   │ is elsewhere: IKE SA and Child SAs leave from there
//!   │ ── UPDATE_SA_ADDRESSES, hashes ─────────────────▶ │ the IKE SA is there
//!   │ ◀───────────────────────────────────── hashes ─── │
//!   │ ◀──────────────────────────────────── COOKIE2 ─── │ unless only its port is another one
//!   │ ── COOKIE2 ─────────────────────────────────────▶ │ so are the Child SAs
//! ```
//!
//! # References
//!
//! `RFC 4555`

mod roam;
mod update;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use self::roam::Roaming;
use crate::gateway::unicast;
use crate::ike::config::{Mobility, Profile, Retransmission, Settings};
use crate::ike::io::{Outer, Output, Path};
use crate::ike::message::SealError;
use crate::ike::sa::Names;
use crate::ike::sa::context::Context;
use crate::ike::sa::established::tasks::Doing;
use crate::ike::sa::established::{Established, Stage};
use crate::ike::sa::natt::Nat;
use crate::ike::wire::{
    Chain, ChainWriter, EncodeError, ExchangeType, Notify, NotifyContent, NotifyType, Payload,
};
use crate::time::Instant;

/// What one side of an SA with MOBIKE keeps of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mobile {
    /// What is said next.
    pending: Pending,
    /// Where the Child SAs still are, until the client has shown that it is where the IKE SA is.
    held: Option<Box<(Path, Nat)>>,
    /// Where the IKE SA was before: what was sent there may still come.
    left: Option<Box<Path>>,
    /// How often the path has changed.
    changes: u32,
    /// When the client is told our other addresses, which are not those that it knows.
    announce_at: Option<Instant>,
    /// What only the client keeps.
    roaming: Option<Box<Roaming>>,
}

/// What is to be said before anything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pending {
    #[default]
    Nothing,
    /// The client: that it is elsewhere.
    Update,
    /// The gateway: whether it is.
    Check,
}

/// Whether whoever has sent this wants MOBIKE, and may have it.
pub(crate) fn is_wanted(profile: &Profile, chain: &Chain<'_>) -> bool {
    profile.mobility.is_allowed && chain.notify(NotifyType::MobikeSupported).is_some()
}

/// What we, as a gateway, say of MOBIKE in IKE_AUTH.
#[derive(Debug)]
pub(crate) struct Support(Vec<IpAddr>);

impl Support {
    /// For a client that has come on this path.
    pub(crate) fn new(settings: &Settings, path: Path) -> Self {
        Self(additional(settings, path))
    }

    /// Appends it.
    pub(crate) fn write(&self, chain: &mut ChainWriter<'_>) -> Result<(), EncodeError> {
        chain.plain(NotifyType::MobikeSupported)?;
        write_addresses(chain, &self.0)
    }
}

/// Appends what we, as a client, say of MOBIKE in IKE_AUTH.
pub(crate) fn offer(chain: &mut ChainWriter<'_>, path: Path, nat: Nat) -> Result<(), EncodeError> {
    chain.plain(NotifyType::MobikeSupported)?;
    forbid_nats(chain, path, nat)
}

/// Our addresses besides the one that the client knows.
fn additional(settings: &Settings, path: Path) -> Vec<IpAddr> {
    let others = settings.additional.iter().filter(|other| **other != path.local.ip());
    others.copied().take(MAX_ADDRESSES).collect()
}

fn write_addresses(chain: &mut ChainWriter<'_>, addresses: &[IpAddr]) -> Result<(), EncodeError> {
    for address in addresses {
        chain.notify(&match address {
            IpAddr::V4(address) => NotifyContent::AdditionalIp4Address(*address),
            IpAddr::V6(address) => NotifyContent::AdditionalIp6Address(*address),
        })?;
    }
    Ok(())
}

/// Says between which addresses a message goes, which no NAT may change, to a peer that does not
/// know NAT traversal (`RFC 4555 §3.9`).
fn forbid_nats(chain: &mut ChainWriter<'_>, path: Path, nat: Nat) -> Result<(), EncodeError> {
    if nat.is_supported {
        return Ok(());
    }
    let data = no_nats(path.local, path.remote);
    chain.push(&Payload::Notify(Notify { data: &data, ..Notify::plain(NotifyType::NoNatsAllowed) }))
}

/// Whether a message that came on this path has met a NAT where its sender allows none.
pub(crate) fn has_met_forbidden_nat(chain: &Chain<'_>, path: Path) -> bool {
    let stated = chain.notify(NotifyType::NoNatsAllowed);
    stated.is_some_and(|stated| *stated.data != *no_nats(path.remote, path.local))
}

/// The data of NO_NATS_ALLOWED.
fn no_nats(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut data = Vec::new();
    for address in [source, destination] {
        match address.ip() {
            IpAddr::V4(address) => data.extend(address.octets()),
            IpAddr::V6(address) => data.extend(address.octets()),
        }
    }
    for address in [source, destination] {
        data.extend(address.port().to_be_bytes());
    }
    data
}

/// The other addresses of the peer in a message, if it has anything about them.
fn announced(chain: &Chain<'_>) -> Option<Vec<IpAddr>> {
    let mut has_any = false;
    let mut addresses = Vec::new();
    for notify in chain.notifies() {
        let is_about = matches!(
            notify.kind,
            NotifyType::AdditionalIp4Address
                | NotifyType::AdditionalIp6Address
                | NotifyType::NoAdditionalAddresses
        );
        has_any |= is_about;
        let address = match notify.content() {
            Ok(NotifyContent::AdditionalIp4Address(address)) => IpAddr::V4(address),
            Ok(NotifyContent::AdditionalIp6Address(address)) => IpAddr::V6(address),
            // One that cannot be read is none.
            Ok(_) | Err(_) => continue,
        };
        if addresses.len() < MAX_ADDRESSES && unicast(address).is_ok() && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    has_any.then_some(addresses)
}

impl Established {
    /// Both sides have MOBIKE, by the peer's message of IKE_AUTH.
    pub(crate) fn become_mobile(&mut self, ctx: &mut Context<'_>, names: Names, chain: &Chain<'_>) {
        if !is_wanted(self.peer.profile(), chain) {
            return;
        }
        let roaming = self.peer.are_we_client.then(|| {
            let others = announced(chain).unwrap_or_default();
            // Asked for at once: when they are needed, nobody may be there to answer.
            Box::new(Roaming::new(others, self.path.remote.ip()))
        });
        self.mobile = Some(Box::new(Mobile { roaming, ..Mobile::default() }));
        self.find_ways(ctx, names);
    }

    /// Whether both sides have MOBIKE.
    pub(crate) const fn is_mobile(&self) -> bool {
        self.mobile.is_some()
    }

    fn mobility(&self) -> Mobility {
        self.peer.proof.profile().mobility
    }

    /// Where Child SAs are, which may not be where the IKE SA is.
    pub(super) fn ground_path(&self) -> (Path, Nat) {
        let held = self.mobile.as_deref().and_then(|mobile| mobile.held.as_deref().copied());
        held.unwrap_or((self.path, self.nat))
    }

    /// What the SA in the place of this one begins with.
    pub(super) fn mobile_of_successor(&self) -> Option<Box<Mobile>> {
        let mut mobile = self.mobile.clone()?;
        if let Some(roaming) = &mut mobile.roaming {
            roaming.renew();
        }
        Some(mobile)
    }

    /// What the SA in its place gets when everything goes to it: what was asked here and is not
    /// answered is asked there.
    pub(super) fn mobile_of_heir(&self) -> Option<(Box<Mobile>, Path, Nat)> {
        let mut mobile = self.mobile_of_successor()?;
        match self.doing.as_deref() {
            Some(Doing::Update { .. }) => mobile.pending = Pending::Update,
            Some(Doing::Check { .. }) => mobile.pending = Pending::Check,
            Some(
                Doing::NewChild(_)
                | Doing::RekeyChild { .. }
                | Doing::RekeyIke { .. }
                | Doing::DeleteChild { .. }
                | Doing::DisownChild { .. }
                | Doing::DeleteIke
                | Doing::Liveness
                | Doing::Redirect
                | Doing::Ticket
                | Doing::Addresses,
            )
            | None => {}
        }
        Some((mobile, self.path, self.nat))
    }

    /// Goes on where the SA before has been; whichever of both has moved last is right.
    pub(super) fn inherit_path(&mut self, ctx: &Context<'_>, left: Option<(Box<Mobile>, Path, Nat)>) {
        let (Some((theirs, path, nat)), Some(ours)) = (left, self.mobile.as_deref_mut()) else { return };
        if theirs.changes >= ours.changes {
            *ours = *theirs;
            (self.path, self.nat) = (path, nat);
            self.keep_mapping(ctx);
        }
    }

    /// Says what is to be said of a move, if there is anything.
    pub(super) fn begin_move(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
    ) -> Option<Result<(), SealError>> {
        if self.is_remnant() || matches!(self.stage, Stage::Closing { .. }) {
            return None;
        }
        let mobile = self.mobile.as_deref_mut()?;
        match std::mem::take(&mut mobile.pending) {
            Pending::Nothing => None,
            Pending::Update => Some(self.ask_update(ctx, names)),
            Pending::Check => Some(self.ask_check(ctx, names)),
        }
    }

    /// Tells the client which other addresses we have.
    pub(super) fn ask_addresses(&mut self, ctx: &mut Context<'_>, names: Names) -> Result<(), SealError> {
        let (path, nat) = (self.path, self.nat);
        let addresses = additional(ctx.settings, path);
        self.ask(ctx, names, ExchangeType::Informational, |chain| {
            if addresses.is_empty() {
                chain.plain(NotifyType::NoAdditionalAddresses)?;
            }
            write_addresses(chain, &addresses)?;
            forbid_nats(chain, path, nat)
        })
    }

    /// The Child SAs go where the IKE SA is.
    pub(super) fn settle_children(&mut self, ctx: &mut Context<'_>) {
        if let Some(mobile) = self.mobile.as_deref_mut() {
            mobile.held = None;
        }
        let (path, nat) = (self.path, self.nat);
        for child in &mut self.children {
            child.is_encapsulated = nat.is_encapsulated;
            let outer = Outer { path, is_encapsulated: nat.is_encapsulated, may_move: nat.before_peer };
            ctx.out.push(Output::Move { inbound: child.inbound, outer });
        }
    }

    /// Keeps a NAT's mapping alive from now on, or no longer.
    fn keep_mapping(&mut self, ctx: &Context<'_>) {
        let next = ctx.now.mono + ctx.settings.nat_keepalive;
        self.keepalive_at = self.nat.before_us.then(|| self.keepalive_at.unwrap_or(next));
    }

    /// How requests of ours are repeated: whoever is the gateway gives the client time to find
    /// another way (`RFC 4555 §3.11`).
    pub(super) fn retransmission(&self, settings: &Settings) -> Retransmission {
        let ours = settings.retransmission;
        let is_patient =
            self.mobile.is_some() && !self.peer.are_we_client && !matches!(self.stage, Stage::Closing { .. });
        Retransmission {
            patience: if is_patient { ours.patience.max(PATIENCE) } else { ours.patience },
            ..ours
        }
    }

    /// Other addresses of ours are announced from now on: the client hears of them some time later,
    /// so that not all are told at once.
    pub(crate) fn readdress(&mut self, ctx: &mut Context<'_>) {
        if self.peer.are_we_client {
            return;
        }
        if let Some(mobile) = self.mobile.as_deref_mut() {
            mobile.announce_at = Some(ctx.now.mono + ctx.rng.between(Duration::ZERO, ANNOUNCING));
        }
    }

    /// When the client is told of our other addresses.
    pub(super) fn announce_at(&self) -> Option<Instant> {
        self.mobile.as_deref()?.announce_at
    }

    /// Whether the time to do so has come, which it does once.
    pub(super) fn is_to_announce(&mut self, now: Instant) -> bool {
        let Some(mobile) = self.mobile.as_deref_mut() else { return false };
        let is_due = mobile.announce_at.is_some_and(|at| at <= now);
        if is_due {
            mobile.announce_at = None;
        }
        is_due
    }
}

/// Most other addresses of a peer that are kept, or told.
const MAX_ADDRESSES: usize = 8;
/// Octets of a COOKIE2 of ours.
const COOKIE2: usize = 16;
/// How long a gateway repeats a request at least (`RFC 4555 §3.11`).
const PATIENCE: Duration = Duration::from_secs(300);
/// In which time all clients hear of other addresses.
const ANNOUNCING: Duration = Duration::from_secs(60);
