//! An IKE SA in use: what both sides ask of each other, and what time asks of it.
//!
//! Everything we want is a [`Task`]; one at a time becomes a request ([`Doing`]) and is done when
//! its response has come. What the peer wants is done at once.
//!
//! # References
//!
//! `RFC 7296 §1.3` to `§1.5`, `§2.1`, `§2.4`, `§2.8`, `§2.25`.

mod drafts;
mod elsewhere;
pub(crate) mod mobike;
mod requests;
mod responses;
mod tasks;
mod time;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use self::drafts::Pending;
pub(crate) use self::elsewhere::Belongings;
use self::mobike::Mobile;
pub(crate) use self::tasks::nonce;
use self::tasks::{Doing, Task};
use crate::ike::client::News;
use crate::ike::config::{Lifetimes, Profile};
use crate::ike::event::{CloseReason, Discard, Event, SaLabel};
use crate::ike::io::{InstallChild, NAT_T_PORT, Output, Path};
use crate::ike::lease::Lease;
use crate::ike::message::{Channel, SealError, Verified};
use crate::ike::proposal::IkeSuite;
use crate::ike::rules::Outside;
#[cfg(test)]
pub(crate) use crate::ike::sa::child::lower;
use crate::ike::sa::child::{Child, ChildStage, Ground, jittered};
use crate::ike::sa::context::Context;
use crate::ike::sa::grant::Issued;
use crate::ike::sa::keymat::DerivationKey;
use crate::ike::sa::natt::Nat;
use crate::ike::sa::peer::Peer;
use crate::ike::sa::session::Session;
use crate::ike::sa::wallet::Kept;
use crate::ike::sa::window::Requested;
use crate::ike::sa::{Effects, Names, transmit};
use crate::ike::snapshot::{ChildSnapshot, SaSnapshot, SaState};
use crate::ike::wire::{
    Chain, ChainWriter, ChildSpi, Direction, EncodeError, ExchangeType, Message, NotifyContent, NotifyType,
    TrafficSelector,
};
use crate::secret::Secret;
use crate::time::{Instant, Now};

/// An IKE SA whose peer has proved who it is.
#[derive(Debug)]
pub(crate) struct Established {
    channel: Channel,
    derivation: DerivationKey,
    suite: IkeSuite,
    peer: Arc<Peer>,
    path: Path,
    nat: Nat,
    children: Vec<Child>,
    /// Addresses that the client has from us.
    leases: Vec<Lease>,
    /// Addresses that we, as a client, have from the gateway.
    given: Vec<IpAddr>,
    tasks: VecDeque<Task>,
    doing: Option<Box<Doing>>,
    /// What the peer has begun and has to go on with.
    pending: Option<Box<Pending>>,
    stage: Stage,
    /// Whether the address that the peer speaks to is another node's: what it says may go there.
    is_adrift: bool,
    made_at: Instant,
    /// When something that only the peer can have sent came last.
    heard_at: Instant,
    rekey_at: Option<Instant>,
    expires_at: Option<Instant>,
    keepalive_at: Option<Instant>,
    /// What a server has to do with it that knows its client.
    pub(crate) session: Option<Box<Session>>,
    /// The last ticket that its client was given.
    pub(crate) issued: Option<Issued>,
    /// When we, as a client, ask for another ticket; `None` = we have none.
    renew_at: Option<Instant>,
    /// What both sides need to move it; `None` = it cannot be moved.
    mobile: Option<Box<Mobile>>,
}

/// What it is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// In use.
    Active,
    /// The peer has made it while we are making one for the same purpose: which of the two goes on is
    /// known when the response to our request has come.
    Contending,
    /// The peer has made another one in its place and will delete this one.
    Replaced {
        /// When we do it ourselves.
        patience: Instant,
    },
    /// The client was told to go elsewhere and will delete it.
    Leaving {
        /// When we do it ourselves.
        patience: Instant,
    },
    /// We delete it.
    Closing {
        /// Why.
        reason: CloseReason,
        /// Whether another SA goes on in its place.
        is_remnant: bool,
    },
}

/// What a new SA begins with.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) channel: Channel,
    pub(crate) derivation: DerivationKey,
    pub(crate) suite: IkeSuite,
    pub(crate) peer: Arc<Peer>,
    pub(crate) path: Path,
    pub(crate) nat: Nat,
}

/// What an SA leaves to the one in its place.
#[derive(Debug)]
pub(crate) struct Estate {
    children: Vec<Child>,
    leases: Vec<Lease>,
    given: Vec<IpAddr>,
    tasks: VecDeque<Task>,
    /// Until when the client has time to go, if it was told to.
    leaving: Option<Instant>,
    is_adrift: bool,
    /// Whether we have a ticket, as a client.
    has_ticket: bool,
    /// Where it was when it left everything.
    place: Option<(Box<Mobile>, Path, Nat)>,
    session: Option<Box<Session>>,
    /// Whose it was.
    sa: SaLabel,
    made_at: Instant,
}

impl Estate {
    /// There is nobody to have it: the peer has deleted the SA in its place already.
    pub(crate) fn dissolve(self, ctx: &mut Context<'_>) {
        let Self { children, leases, tasks, session, sa, made_at, .. } = self;
        for child in children {
            ctx.out.push(Output::Remove { inbound: child.inbound });
            ctx.spis.release(child.inbound);
        }
        for lease in leases {
            ctx.leases.release(lease);
        }
        for task in tasks {
            task.abandon(ctx);
        }
        if let Some(session) = session {
            session.stop(ctx, CloseReason::DeletedByPeer);
        }
        let age = ctx.now.mono.since(made_at);
        // The client side knows whether it is one of its own.
        ctx.tell(sa.id, News::Closed(CloseReason::DeletedByPeer));
        ctx.event(Event::Closed { sa, reason: CloseReason::DeletedByPeer, age });
    }
}

impl Established {
    /// An SA without children.
    pub(crate) fn new(ctx: &mut Context<'_>, fresh: Fresh) -> Self {
        let Fresh { channel, derivation, suite, peer, path, nat } = fresh;
        let now = ctx.now.mono;
        let Lifetimes { ike, grace, child: _, volume: _ } = peer.profile().lifetimes;
        Self {
            channel,
            derivation,
            suite,
            path,
            nat,
            children: Vec::new(),
            leases: Vec::new(),
            given: Vec::new(),
            tasks: VecDeque::new(),
            doing: None,
            pending: None,
            stage: Stage::Active,
            is_adrift: false,
            made_at: now,
            heard_at: now,
            rekey_at: ike.map(|lifetime| now + jittered(ctx, lifetime)),
            expires_at: ike.map(|lifetime| now + lifetime + grace),
            keepalive_at: nat.before_us.then(|| now + ctx.settings.nat_keepalive),
            session: None,
            issued: None,
            renew_at: None,
            mobile: None,
            peer,
        }
    }

    pub(crate) const fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    pub(crate) const fn suite(&self) -> IkeSuite {
        self.suite
    }

    /// When it ends, if nothing takes its place.
    pub(crate) const fn expires_at(&self) -> Option<Instant> {
        self.expires_at
    }

    pub(crate) const fn derivation(&self) -> &DerivationKey {
        &self.derivation
    }

    /// The SPIs that lead to it: of Child SAs that the data plane has, and of those that are on the
    /// way.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn spis(&self) -> (Vec<ChildSpi>, Vec<ChildSpi>) {
        let doing = self.doing.as_deref().and_then(Doing::reserved);
        let pending = self.pending.as_deref().and_then(Pending::reserved);
        let under_way = doing.into_iter().chain(pending);
        let reserved = under_way.chain(self.tasks.iter().filter_map(Task::reserved));
        (self.children.iter().map(|child| child.inbound).collect(), reserved.collect())
    }

    pub(crate) fn leases(&self) -> &[Lease] {
        &self.leases
    }

    pub(crate) const fn path(&self) -> Path {
        self.path
    }

    /// Whether its peer speaks to an address that another node has now.
    pub(crate) const fn is_adrift(&self) -> bool {
        self.is_adrift
    }

    /// Whether another SA goes on in its place, or will.
    pub(crate) const fn is_remnant(&self) -> bool {
        match self.stage {
            Stage::Active | Stage::Leaving { .. } => false,
            Stage::Contending | Stage::Replaced { .. } => true,
            Stage::Closing { is_remnant, .. } => is_remnant,
        }
    }

    /// Whether the peer is a client that can be told to go elsewhere, and has not been yet.
    pub(crate) fn may_be_sent_away(&self) -> bool {
        // RFC 5685 §5: only the one that began the first IKE SA.
        self.is_active() && !self.peer.are_we_client && self.peer.follows_redirects
    }

    /// Whether it is neither being deleted nor replaced.
    pub(crate) fn is_active(&self) -> bool {
        self.stage == Stage::Active
    }

    /// Addresses that the client was given, whichever of the two we are.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.leases.iter().map(|lease| lease.address).chain(self.given.iter().copied()).collect()
    }

    /// The gateway has given us addresses.
    pub(crate) fn take_addresses(&mut self, given: &[IpAddr]) {
        self.given.extend_from_slice(given);
    }

    pub(crate) fn lend(&mut self, mut leases: Vec<Lease>) {
        self.leases.append(&mut leases);
        self.leases.shrink_to_fit();
    }

    pub(crate) fn return_leases(&mut self, ctx: &mut Context<'_>) {
        for lease in self.leases.drain(..) {
            ctx.leases.release(lease);
        }
    }

    /// The SA for people.
    pub(crate) fn label(&self, names: Names) -> SaLabel {
        self.peer.label(names.id, self.path.remote)
    }

    /// An SA that was just made may have something to say.
    pub(crate) fn wake(&mut self, ctx: &mut Context<'_>, names: Names, effects: &mut Effects) {
        self.next_task(ctx, names, effects);
    }

    pub(crate) fn ground<'a>(&'a self, names: Names, profile: &'a Profile) -> Ground<'a> {
        let (path, nat) = self.ground_path();
        Ground {
            profile,
            leases: &self.leases,
            given: &self.given,
            derivation: &self.derivation,
            path,
            nat,
            owner: names.ours(),
        }
    }

    fn child(&mut self, inbound: ChildSpi) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.inbound == inbound)
    }

    fn child_by_outbound(&mut self, outbound: ChildSpi) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.outbound == outbound)
    }

    /// A Child SA begins its work.
    pub(crate) fn adopt(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        child: Child,
        mut install: Box<InstallChild>,
    ) {
        install.session = self.session.as_ref().and_then(|session| session.name());
        let replaces = install.replaces;
        let event = Event::ChildUp {
            sa: self.label(names),
            inbound: child.inbound,
            outbound: child.outbound,
            suite: child.suite.to_string().into(),
            replaces,
        };
        if replaces.is_some() {
            ctx.counters.child_rekeys = ctx.counters.child_rekeys.saturating_add(1);
        } else {
            ctx.counters.children = ctx.counters.children.saturating_add(1);
        }
        // Most SAs have one for life, and there are very many of them.
        self.children.reserve_exact(1);
        self.children.push(child);
        ctx.out.push(Output::Install(install));
        ctx.event(event);
    }

    /// A Child SA has ended.
    fn drop_child(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        inbound: ChildSpi,
        reason: CloseReason,
    ) -> Option<Child> {
        let at = self.children.iter().position(|child| child.inbound == inbound)?;
        let child = self.children.swap_remove(at);
        if let ChildStage::Replaced { by } = child.stage
            && self.child(by).is_some()
        {
            // Until now it was the one that traffic left through.
            ctx.out.push(Output::Switch { inbound: by });
        }
        for other in &mut self.children {
            if other.stage == (ChildStage::Replaced { by: inbound }) {
                // The one in its place is gone before it is: it goes on.
                other.stage = ChildStage::Active;
            }
        }
        ctx.out.push(Output::Remove { inbound });
        ctx.spis.release(inbound);
        ctx.event(Event::ChildDown { sa: self.label(names), inbound, reason });
        Some(child)
    }

    /// Takes in a datagram.
    pub(crate) fn datagram(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        path: Path,
        message: &Message<'_>,
        outside: &Outside<'_>,
        effects: &mut Effects,
    ) -> Result<(), Discard> {
        let header = &message.header;
        match header.direction {
            Direction::Request => match self.channel.window.requested(header.message_id) {
                Requested::New => {}
                Requested::Repeated => {
                    if self.channel.check(message, outside)?.wants_answer() {
                        transmit(ctx, path, self.channel.window.answer());
                    }
                    return Err(Discard::Retransmission);
                }
                Requested::Outside => return Err(Discard::MessageId),
            },
            Direction::Response if self.channel.window.is_awaited(header.message_id, header.exchange) => {}
            Direction::Response => return Err(Discard::MessageId),
        }
        let opened = self.channel.check(message, outside)?;
        self.heard(ctx, names, path);
        let Some(verified) = self.channel.collect(header, opened)? else { return Ok(()) };
        match header.direction {
            Direction::Request => self.request(ctx, names, path, header.exchange, &verified, effects),
            Direction::Response => {
                self.channel.window.responded();
                self.answered_on(ctx, names, path);
                self.response(ctx, names, header.exchange, &verified, effects);
            }
        }
        if !effects.is_gone {
            self.next_task(ctx, names, effects);
        }
        Ok(())
    }

    /// The peer lives, and is there.
    fn heard(&mut self, ctx: &mut Context<'_>, names: Names, path: Path) {
        self.heard_at = ctx.now.mono;
        // RFC 7296 §2.23: whoever is behind a NAT is where its last authentic message came from. A
        // host that is not stays where it was. RFC 4555 §3.8: with MOBIKE, so does everybody.
        if self.nat.before_peer && self.mobile.is_none() && path != self.path {
            self.move_to(ctx, names, path);
        }
    }

    /// The peer is elsewhere, by what has come from it.
    pub(crate) fn move_to(&mut self, ctx: &mut Context<'_>, names: Names, path: Path) {
        if self.mobile.is_some() {
            return self.esp_from_elsewhere(ctx, names, path);
        }
        if self.path == path || !self.nat.before_peer || path.local.port() != NAT_T_PORT {
            return;
        }
        let from = self.path.remote;
        self.path = path;
        self.settle_children(ctx);
        if from != path.remote {
            ctx.event(Event::Moved { sa: self.label(names), from });
        }
    }

    /// An authentic ESP packet came.
    pub(crate) fn alive(&mut self, now: Now) {
        self.heard_at = now.mono;
    }

    /// Answers a request that came on `path`.
    ///
    /// # Errors
    ///
    /// It cannot be sealed: the SA is of no more use.
    pub(crate) fn respond(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        path: Path,
        exchange: ExchangeType,
        payloads: impl FnOnce(&mut ChainWriter<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), SealError> {
        let id = self.channel.window.expected().ok_or(SealError::Exhausted)?;
        let header = names.header(exchange, Direction::Response, id);
        let size = ctx.settings.fragment_size;
        let datagrams = self.channel.seal(&header, path, size, ctx.rng, payloads)?;
        transmit(ctx, path, &datagrams);
        self.channel.window.answered(datagrams);
        Ok(())
    }

    /// Sends a request of ours.
    fn ask(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        exchange: ExchangeType,
        payloads: impl FnOnce(&mut ChainWriter<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), SealError> {
        let id = self.channel.window.next().ok_or(SealError::Exhausted)?;
        let header = names.header(exchange, Direction::Request, id);
        let settings = Arc::clone(ctx.settings);
        let datagrams = self.channel.seal(&header, self.path, settings.fragment_size, ctx.rng, payloads)?;
        transmit(ctx, self.path, &datagrams);
        let retransmission = self.retransmission(&settings);
        self.channel.window.sent(ctx.now, exchange, datagrams, &retransmission);
        self.asks_anew();
        Ok(())
    }

    /// Ends at once.
    pub(crate) fn shut(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        reason: CloseReason,
        effects: &mut Effects,
    ) {
        effects.is_gone = true;
        self.abandon_draft(ctx);
        self.drop_children(ctx);
        self.give_up_request(ctx, effects);
        self.clear_tasks(ctx);
        let is_remnant = self.is_remnant();
        self.return_leases(ctx);
        let reason = match self.stage {
            Stage::Closing { reason: first, .. } => first,
            Stage::Leaving { .. } => CloseReason::Redirected,
            Stage::Active | Stage::Contending | Stage::Replaced { .. } => reason,
        };
        if let Some(session) = self.session.take() {
            session.stop(ctx, reason);
        }
        if !is_remnant {
            self.end_tickets(ctx, names, reason);
            if self.peer.are_we_client {
                ctx.tell(names.id, News::Closed(reason));
            }
            let age = ctx.now.mono.since(self.made_at);
            ctx.event(Event::Closed { sa: self.label(names), reason, age });
        }
    }

    /// What the end of the SA means for the ticket of its session: whoever has ended it wants that it
    /// does not go on (`RFC 5723 §6.2`).
    fn end_tickets(&mut self, ctx: &mut Context<'_>, names: Names, reason: CloseReason) {
        let goes_on = match reason {
            CloseReason::PeerDead | CloseReason::Redirected | CloseReason::Resumed => true,
            // The client is told that its SA is gone, and not that it has to prove again who it is.
            CloseReason::Shutdown | CloseReason::AddressGone | CloseReason::Drained => {
                !self.peer.are_we_client
            }
            CloseReason::DeletedByPeer
            | CloseReason::Cleared
            | CloseReason::Superseded
            | CloseReason::Rekeyed
            | CloseReason::Redundant
            | CloseReason::Expired
            | CloseReason::ProtocolError
            | CloseReason::SessionOver
            | CloseReason::WithIkeSa => false,
        };
        if goes_on {
            return;
        }
        if self.peer.are_we_client {
            ctx.tickets.wallet.forget(&self.peer.profile().name, names.id);
        }
        self.void_ticket(ctx);
    }

    fn drop_children(&mut self, ctx: &mut Context<'_>) {
        for child in self.children.drain(..) {
            ctx.out.push(Output::Remove { inbound: child.inbound });
            ctx.spis.release(child.inbound);
        }
    }

    /// Takes everything that goes to the SA in its place: what is wanted of its Child SAs too.
    fn bequeath(&mut self, ctx: &mut Context<'_>, names: Names) -> Estate {
        self.abandon_draft(ctx);
        // RFC 5723 §6.2: the ticket is of the keys that are not used any more.
        let has_ticket = self.renew_at.take().is_some();
        if has_ticket {
            ctx.tickets.wallet.forget(&self.peer.profile().name, names.id);
        }
        self.void_ticket(ctx);
        let (tasks, own) = std::mem::take(&mut self.tasks).into_iter().partition(Task::is_left_to_successor);
        self.tasks = own;
        Estate {
            children: std::mem::take(&mut self.children),
            leases: std::mem::take(&mut self.leases),
            given: std::mem::take(&mut self.given),
            tasks,
            leaving: match self.stage {
                Stage::Leaving { patience } => Some(patience),
                Stage::Active | Stage::Contending | Stage::Replaced { .. } | Stage::Closing { .. } => None,
            },
            is_adrift: self.is_adrift,
            has_ticket,
            place: self.mobile_of_heir(),
            session: self.session.take(),
            sa: self.label(names),
            made_at: self.made_at,
        }
    }

    /// Gets what another SA had, and goes on in its place.
    pub(crate) fn inherit(&mut self, ctx: &mut Context<'_>, names: Names, estate: Estate) {
        if self.stage == Stage::Contending {
            self.stage = Stage::Active;
        }
        let Estate { children, leases, given, tasks, leaving, is_adrift, has_ticket, session, place, .. } =
            estate;
        self.session = session;
        if let Some(patience) = leaving.filter(|_| self.stage == Stage::Active) {
            self.stage = Stage::Leaving { patience };
        }
        self.is_adrift = is_adrift;
        self.inherit_path(ctx, place);
        let reserved = tasks.iter().filter_map(Task::reserved);
        for spi in children.iter().map(|child| child.inbound).chain(reserved) {
            ctx.spis.transfer(spi, names.ours());
        }
        self.children.extend(children);
        self.children.shrink_to_fit();
        self.lend(leases);
        self.given.extend(given);
        self.tasks.extend(tasks);
        if has_ticket && self.renew_at.is_none() {
            // Asked for at once, if the answer to our request has not brought one.
            self.renew_at = Some(ctx.now.mono);
        }
    }

    /// Keeps the ticket that a gateway has given, in answer to our wish; asks later if it says so.
    pub(crate) fn take_ticket(&mut self, ctx: &mut Context<'_>, names: Names, chain: &Chain<'_>) {
        let profile = Arc::clone(self.peer.profile());
        if !self.peer.are_we_client || !profile.resumes {
            return;
        }
        if chain.notify(NotifyType::TicketAck).is_some() {
            self.renew_at = Some(ctx.now.mono + TICKET_PAUSE);
            return;
        }
        let content = chain.notify(NotifyType::TicketLtOpaque).and_then(|notify| notify.content().ok());
        let Some(NotifyContent::TicketLtOpaque { lifetime, ticket }) = content else {
            // There is none; whether there will be one, nobody knows.
            self.renew_at = None;
            return;
        };
        let lifetime = Duration::from_secs(lifetime.into()).min(MAX_TICKET_LIFETIME);
        let kept = Kept {
            ticket: Secret::from(ticket.0),
            expires_at: ctx.now.mono + lifetime,
            sa: names.id,
            suite: self.suite,
            derivation: self.derivation.clone(),
            peer: self.peer.proof.clone(),
            local: self.peer.local_id.clone(),
            addresses: self.given.clone(),
        };
        // What cannot be presented in one datagram is of no use.
        if ticket.0.len() <= crate::ike::ticket::MAX_LENGTH {
            ctx.tickets.wallet.keep(profile.name.clone(), kept);
        }
        self.renew_at = Some(ctx.now.mono + (lifetime - lifetime / 4).max(TICKET_PAUSE));
    }

    /// The one that we have made goes on in its place: the peer deletes it.
    pub(crate) fn yields(&mut self, ctx: &Context<'_>) {
        if self.stage == Stage::Contending {
            self.stage = Stage::Replaced { patience: ctx.now.mono + PATIENCE };
        }
    }

    /// The SA for people; `None` when another one goes on in its place.
    pub(crate) fn snapshot(&self, names: Names, now: Now) -> Option<SaSnapshot> {
        if self.is_remnant() {
            return None;
        }
        let is_rekeying = self.doing.as_deref().is_some_and(|doing| matches!(doing, Doing::RekeyIke { .. }));
        let state = match self.stage {
            Stage::Closing { .. } => SaState::Closing,
            Stage::Leaving { .. } => SaState::Redirected,
            Stage::Active | Stage::Contending | Stage::Replaced { .. } if is_rekeying => SaState::Rekeying,
            Stage::Active | Stage::Contending | Stage::Replaced { .. } => SaState::Established,
        };
        let until = |at: Option<Instant>| at.map(|at| at.since(now.mono));
        let children = self.children.iter().map(|child| ChildSnapshot {
            inbound: child.inbound,
            outbound: child.outbound,
            suite: child.suite.to_string().into(),
            is_encapsulated: child.is_encapsulated,
            local_ts: Arc::<[TrafficSelector]>::clone(&child.local_ts),
            remote_ts: Arc::<[TrafficSelector]>::clone(&child.remote_ts),
            age: now.mono.since(child.made_at),
            rekey_in: until(child.rekey_at),
        });
        Some(SaSnapshot {
            id: names.id,
            is_initiator: self.peer.are_we_client,
            state,
            local: self.path.local,
            remote: self.path.remote,
            local_id: Arc::clone(&self.peer.local),
            remote_id: Arc::clone(self.peer.proof.shown()),
            profile: Some(self.peer.profile().name.clone()),
            spi_i: names.spi_i,
            spi_r: names.spi_r,
            suite: self.suite.to_string().into(),
            age: now.mono.since(self.made_at),
            rekey_in: until(self.rekey_at),
            redirected_from: self.peer.redirected_from,
            follows_redirects: self.peer.follows_redirects,
            is_resumed: self.peer.is_resumed,
            is_peer_behind_nat: self.nat.before_peer,
            are_we_behind_nat: self.nat.before_us,
            is_mobile: self.is_mobile(),
            addresses: self.addresses(),
            children: children.collect(),
        })
    }

    fn chain_of(verified: &Verified) -> Result<Chain<'_>, crate::ike::rules::Violation> {
        Ok(verified.chain()?)
    }
}

/// Least time between two wishes for a ticket.
const TICKET_PAUSE: Duration = Duration::from_secs(1);
/// Longest time that a ticket is kept, whatever its gateway says.
const MAX_TICKET_LIFETIME: Duration = Duration::from_secs(30 * 86_400);
/// How long a replaced IKE SA waits for the peer to delete it.
const PATIENCE: Duration = Duration::from_secs(60);
