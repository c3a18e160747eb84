//! The client: it is elsewhere, or looks for another way to its gateway.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::update::has_cookie;
use super::{COOKIE2, MAX_ADDRESSES, Pending, forbid_nats};
use crate::ike::client::News;
use crate::ike::event::{CloseReason, Event};
use crate::ike::io::{NAT_T_PORT, Output, Path, Way};
use crate::ike::message::SealError;
use crate::ike::sa::context::Context;
use crate::ike::sa::established::tasks::Doing;
use crate::ike::sa::established::{Established, Stage};
use crate::ike::sa::natt::{self, Hashes, Nat};
use crate::ike::sa::payloads;
use crate::ike::sa::{Effects, Names, transmit};
use crate::ike::wire::{Chain, ExchangeType, HASH_LENGTH, NotifyContent, NotifyType};
use crate::time::Instant;

/// What a client keeps of the ways to its gateway.
#[derive(Clone, Debug)]
pub(super) struct Roaming {
    /// Other addresses of the gateway.
    others: Vec<IpAddr>,
    /// Whether it has said that it is not any more where we speak to it.
    is_gone: bool,
    /// The ways to all of its addresses, as they were when they were last asked for.
    ways: Vec<Way>,
    /// Paths on which the request that waits was repeated besides the one in use.
    probed: Vec<Path>,
    /// Paths that it has refused since then.
    refused: Vec<Path>,
    /// How often the request that waits was repeated.
    repeats: u32,
    /// How often an update was answered with a NAT that is not known of.
    nats: u32,
    /// Our address as it has seen it last, hashed.
    seen_as: Option<[u8; HASH_LENGTH]>,
    /// Its address that was last known to be its own.
    proven: IpAddr,
    /// Since when there is no way to it at all.
    cut_off_at: Option<Instant>,
}

impl Roaming {
    pub(super) const fn new(others: Vec<IpAddr>, proven: IpAddr) -> Self {
        Self {
            others,
            is_gone: false,
            ways: Vec::new(),
            probed: Vec::new(),
            refused: Vec::new(),
            repeats: 0,
            nats: 0,
            seen_as: None,
            proven,
            cut_off_at: None,
        }
    }

    /// The SA has new keys: what has to do with its SPIs or requests is void.
    pub(super) fn renew(&mut self) {
        self.seen_as = None;
        self.probed.clear();
        self.repeats = 0;
    }
}

impl Established {
    fn roaming(&mut self) -> Option<&mut Roaming> {
        self.mobile.as_deref_mut()?.roaming.as_deref_mut()
    }

    /// Where its gateway may be reached, if it is an SA of ours as a client.
    pub(crate) fn remotes(&self) -> Vec<IpAddr> {
        if !self.peer.are_we_client {
            return Vec::new();
        }
        let roaming = self.mobile.as_deref().and_then(|mobile| mobile.roaming.as_deref());
        let others = roaming.map(|roaming| &*roaming.others).unwrap_or_default();
        [self.path.remote.ip()].iter().chain(others).copied().collect()
    }

    /// Asks the world for the ways to the gateway.
    pub(super) fn find_ways(&self, ctx: &mut Context<'_>, names: Names) {
        let remotes = self.remotes();
        if !remotes.is_empty() {
            ctx.out.push(Output::FindWays { asker: Some(names.id), remotes });
        }
    }

    /// The gateway has said which addresses it has. The one that it has said it from is one of them.
    pub(super) fn learn_addresses(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        path: Path,
        mut others: Vec<IpAddr>,
    ) {
        let current = self.path.remote.ip();
        let Some(roaming) = self.roaming() else { return };
        let from = path.remote.ip();
        if !others.contains(&from) {
            others.insert(0, from);
        }
        roaming.is_gone = !others.contains(&current);
        others.retain(|other| *other != current);
        others.truncate(MAX_ADDRESSES);
        roaming.others = others;
        self.find_ways(ctx, names);
    }

    /// It is known how the gateways that were asked about are reached now.
    pub(crate) fn take_ways(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        (asked, ways): (&[IpAddr], &[Way]),
        effects: &mut Effects,
    ) {
        let remotes = self.remotes();
        if remotes.is_empty() || !asked.contains(&self.path.remote.ip()) {
            return;
        }
        // What is routed into the tunnel is no way for the tunnel itself.
        let is_outside = |way: &&Way| !self.given.contains(&way.local);
        let to = |remote: &IpAddr| ways.iter().filter(is_outside).find(|way| way.remote == *remote).copied();
        let found: Vec<Way> = remotes.iter().filter_map(to).collect();
        let (now, current) = (ctx.now.mono, self.path);
        let Some(roaming) = self.roaming() else { return self.follow_without(ctx, names, &found) };
        roaming.ways.clone_from(&found);
        roaming.refused.clear();
        let is_usable = |way: &&Way| !roaming.is_gone || way.remote != current.remote.ip();
        let best = found.iter().find(is_usable).or_else(|| found.first()).copied();
        let Some(best) = best else {
            roaming.cut_off_at.get_or_insert(now);
            return;
        };
        let was_cut_off = roaming.cut_off_at.take().is_some();
        let path = by(current, best);
        if path != current || was_cut_off {
            self.roam(ctx, names, path);
            self.next_task(ctx, names, effects);
        }
    }

    /// Whether another SA goes on in its place, or none.
    const fn is_ending(&self) -> bool {
        self.is_remnant() || matches!(self.stage, Stage::Closing { .. })
    }

    /// Goes on from there at once, and says so.
    fn roam(&mut self, ctx: &mut Context<'_>, names: Names, path: Path) {
        let from = std::mem::replace(&mut self.path, path);
        if self.is_ending() {
            // Nothing is left to it but its last words.
            return transmit(ctx, path, self.channel.window.outstanding());
        }
        let Some(mobile) = self.mobile.as_deref_mut() else { return };
        mobile.pending = Pending::Update;
        mobile.changes = mobile.changes.wrapping_add(1);
        if let Some(roaming) = mobile.roaming.as_deref_mut() {
            roaming.probed.clear();
            roaming.repeats = 0;
            roaming.nats = 0;
            roaming.is_gone &= path.remote == from.remote;
            if path.remote.ip() != from.remote.ip() && !roaming.others.contains(&from.remote.ip()) {
                roaming.others.insert(0, from.remote.ip());
                roaming.others.truncate(MAX_ADDRESSES);
            }
            roaming.others.retain(|other| *other != path.remote.ip());
        }
        // RFC 4555 §3.5: the octets are those of before, and so is the Message ID.
        transmit(ctx, path, self.channel.window.outstanding());
        self.settle_children(ctx);
        if path != from {
            mobile_left(self, from);
            ctx.counters.roamed = ctx.counters.roamed.saturating_add(1);
            ctx.event(Event::Roamed { sa: self.label(names), from: from.local, to: path.local });
        }
    }

    /// The gateway does not know MOBIKE. What leaves from the new address may be followed by it, if it
    /// takes us for somebody behind a NAT; a new SA takes its place in any case.
    fn follow_without(&mut self, ctx: &mut Context<'_>, names: Names, found: &[Way]) {
        let remote = self.path.remote;
        let Some(way) = found.iter().find(|way| way.remote == remote.ip()) else { return };
        if way.local == self.path.local.ip() {
            return;
        }
        let from = self.path.local;
        self.path.local.set_ip(way.local);
        transmit(ctx, self.path, self.channel.window.outstanding());
        if self.is_ending() {
            return;
        }
        self.settle_children(ctx);
        ctx.counters.roamed = ctx.counters.roamed.saturating_add(1);
        ctx.event(Event::Roamed { sa: self.label(names), from, to: self.path.local });
        ctx.tell(names.id, News::Stranded { remote });
    }

    /// Says from where we speak now.
    pub(super) fn ask_update(&mut self, ctx: &mut Context<'_>, names: Names) -> Result<(), SealError> {
        let (path, nat) = (self.path, self.nat);
        let change = self.mobile.as_deref().map_or(0, |mobile| mobile.changes);
        let is_proven = self.roaming().is_none_or(|roaming| roaming.proven == path.remote.ip());
        // RFC 4555 §3.7: whether an address is the gateway's, it is to show itself.
        let cookie: Option<[u8; COOKIE2]> = if is_proven { None } else { Some(ctx.rng.array()) };
        let hashes = self.hashes(ctx, names);
        self.ask(ctx, names, ExchangeType::Informational, |chain| {
            chain.plain(NotifyType::UpdateSaAddresses)?;
            if let Some(hashes) = hashes {
                hashes.write(chain)?;
            }
            forbid_nats(chain, path, nat)?;
            match &cookie {
                Some(cookie) => chain.notify(&NotifyContent::Cookie2(cookie)),
                None => Ok(()),
            }
        })?;
        self.doing = Some(Box::new(Doing::Update { change, cookie }));
        Ok(())
    }

    /// What a message of ours says of addresses, where the gateway knows NAT traversal.
    fn hashes(&self, ctx: &mut Context<'_>, names: Names) -> Option<Hashes> {
        let encapsulation = ctx.settings.encapsulation;
        self.nat
            .is_supported
            .then(|| Hashes::new(names.spi_i, names.spi_r, self.path, encapsulation, ctx.rng))
    }

    /// What a liveness check of a client has in it: whether it is still seen as it was
    /// (`RFC 4555 §3.8`).
    pub(in crate::ike::sa::established) fn liveness_hashes(
        &self,
        ctx: &mut Context<'_>,
        names: Names,
    ) -> Option<Hashes> {
        self.mobile.as_deref().filter(|mobile| mobile.roaming.is_some())?;
        self.hashes(ctx, names)
    }

    /// The gateway has answered a liveness check. If it sees us elsewhere than before, the mapping of a
    /// NAT has changed, or there is a NAT where there was none, and it is told.
    pub(in crate::ike::sa::established) fn liveness_answered(
        &mut self,
        ctx: &Context<'_>,
        names: Names,
        chain: &Chain<'_>,
    ) {
        let Some(seen) = natt::seen_as(chain) else { return };
        let nat = Nat::detect(chain, names.spi_i, names.spi_r, self.path, ctx.settings.encapsulation);
        let was_behind_nat = self.nat.before_us;
        let Some(mobile) = self.mobile.as_deref_mut() else { return };
        let Some(roaming) = mobile.roaming.as_deref_mut() else { return };
        let is_other = match roaming.seen_as {
            Some(before) => before != seen,
            None => nat.is_supported && nat.before_us != was_behind_nat,
        };
        if is_other {
            mobile.pending = Pending::Update;
        } else {
            roaming.seen_as = Some(seen);
        }
    }

    /// The gateway has answered an update.
    pub(in crate::ike::sa::established) fn update_answered(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        chain: &Chain<'_>,
        (change, cookie): (u32, Option<[u8; COOKIE2]>),
        effects: &mut Effects,
    ) {
        if cookie.is_some_and(|cookie| !has_cookie(chain, &cookie)) {
            return self.close(ctx, names, CloseReason::ProtocolError, effects);
        }
        let Some(mobile) = self.mobile.as_deref_mut() else { return };
        if mobile.changes != change {
            // It is about where we were, and what is pending about where we are.
            return;
        }
        let remote = self.path.remote.ip();
        let Some(roaming) = mobile.roaming.as_deref_mut() else { return };
        match payloads::error(chain) {
            Some(NotifyType::UnexpectedNatDetected) if roaming.nats < MAX_NATS => {
                roaming.nats += 1;
                mobile.pending = Pending::Update;
            }
            Some(_refusal) => self.refused(ctx, names),
            None => {
                roaming.proven = remote;
                roaming.nats = 0;
                roaming.seen_as = natt::seen_as(chain);
                self.take_nat(ctx, names, chain);
            }
        }
    }

    /// There are other NATs on the way than before.
    fn take_nat(&mut self, ctx: &mut Context<'_>, names: Names, chain: &Chain<'_>) {
        let nat = Nat::detect(chain, names.spi_i, names.spi_r, self.path, ctx.settings.encapsulation);
        if nat.is_supported && nat != self.nat {
            self.nat = nat;
            self.keep_mapping(ctx);
            self.settle_children(ctx);
        }
    }

    /// The gateway does not want us there: another of its addresses may do, or else a new SA.
    fn refused(&mut self, ctx: &mut Context<'_>, names: Names) {
        let current = self.path;
        let Some(roaming) = self.roaming() else { return };
        roaming.refused.push(current);
        let untried = |path: &Path| !roaming.refused.contains(path);
        let next = roaming.ways.iter().map(|way| by(current, *way)).find(untried);
        match next {
            Some(path) => self.roam(ctx, names, path),
            None => ctx.tell(names.id, News::Stranded { remote: current.remote }),
        }
    }

    /// A request is sent for the first time.
    pub(in crate::ike::sa::established) fn asks_anew(&mut self) {
        if let Some(roaming) = self.roaming() {
            roaming.probed.clear();
            roaming.repeats = 0;
        }
    }

    /// A request was repeated in vain: it goes on every other way to the gateway as well, and the one
    /// on which it is answered is taken (`RFC 4555 §3.10`).
    pub(in crate::ike::sa::established) fn repeat_elsewhere(&mut self, ctx: &mut Context<'_>, names: Names) {
        let current = self.path;
        let Some(roaming) = self.roaming() else { return };
        roaming.repeats = roaming.repeats.saturating_add(1);
        if roaming.repeats < LOST {
            return;
        }
        let ways = roaming.ways.iter().map(|way| by(current, *way));
        let others: Vec<Path> = ways.filter(|path| *path != current).collect();
        roaming.probed.clone_from(&others);
        if roaming.repeats.is_multiple_of(LOST) {
            self.find_ways(ctx, names);
        }
        for path in others {
            transmit(ctx, path, self.channel.window.outstanding());
        }
    }

    /// An answer has come on this path, which may be another one than it was asked on.
    pub(in crate::ike::sa::established) fn answered_on(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        path: Path,
    ) {
        let is_other = path != self.path;
        if is_other && self.roaming().is_some_and(|roaming| roaming.probed.contains(&path)) {
            self.roam(ctx, names, path);
        }
    }

    /// Whether there is no way to the gateway, and one is still hoped for.
    pub(in crate::ike::sa::established) fn is_cut_off(&self, now: Instant) -> bool {
        let roaming = self.mobile.as_deref().and_then(|mobile| mobile.roaming.as_deref());
        roaming.and_then(|roaming| roaming.cut_off_at).is_some_and(|at| now < at + HOPE)
    }
}

fn mobile_left(sa: &mut Established, from: Path) {
    if let Some(mobile) = sa.mobile.as_deref_mut() {
        mobile.left = Some(Box::new(from));
    }
}

/// A path by another way than the one in use.
fn by(current: Path, way: Way) -> Path {
    let port = if way.remote == current.remote.ip() {
        current.remote.port()
    } else if current.local.port() == NAT_T_PORT {
        NAT_T_PORT
    } else {
        IKE_PORT
    };
    Path {
        local: SocketAddr::new(way.local, current.local.port()),
        remote: SocketAddr::new(way.remote, port),
    }
}

/// Where IKE is spoken without NATs.
const IKE_PORT: u16 = 500;
/// Repetitions after which a way is taken for lost.
const LOST: u32 = 2;
/// How often an update is tried again that has met a NAT where none may be.
const MAX_NATS: u32 = 3;
/// How long a gateway that cannot be reached is not taken for dead.
const HOPE: Duration = Duration::from_secs(300);
