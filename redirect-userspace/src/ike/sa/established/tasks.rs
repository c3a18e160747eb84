//! What we want of the peer, one request at a time.

use crate::crypto::kex::KeyExchange;
use crate::gateway::GatewayAddress;
use crate::ike::event::{CloseReason, Event, Failure, RedirectExchange, RedirectReason};
use crate::ike::message::SealError;
use crate::ike::proposal::{IkeProposal, IkeSuite};
use crate::ike::sa::child::{ChildStage, NONCE_LENGTH, Request, Wanted, generate};
use crate::ike::sa::context::{Context, Refusal};
use crate::ike::sa::established::drafts::IkeDraft;
use crate::ike::sa::established::{Established, Stage};
use crate::ike::sa::followup::Followup;
use crate::ike::sa::{Effects, Names, RivalFate};
use crate::ike::wire::{
    ChainWriter, ChildProtocol, ChildSpi, Delete, EncodeError, ExchangeType, KeyExchange as KePayload,
    KeyExchangeMethod, Nonce, NotifyContent, NotifyType, Payload, Sa, TrafficSelectors,
};
use crate::time::Instant;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

/// Something that we want of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Another Child SA.
    NewChild { local_ts: TrafficSelectors, remote_ts: TrafficSelectors, wanted: Wanted },
    /// A Child SA in the place of this one.
    RekeyChild { inbound: ChildSpi, wanted: Wanted },
    /// An IKE SA in the place of this one.
    RekeyIke { method: Option<KeyExchangeMethod> },
    /// That it deletes this Child SA.
    DeleteChild { inbound: ChildSpi, reason: CloseReason },
    /// That it deletes a Child SA which it has made with us and which we have no use for: there is
    /// nothing of it here but its SPI.
    DisownChild { inbound: ChildSpi },
    /// That it deletes this IKE SA.
    DeleteIke,
    /// A sign of life.
    Liveness,
    /// That it goes to another gateway.
    Redirect { to: GatewayAddress },
    /// A ticket.
    Ticket,
    /// That it knows our other addresses.
    Addresses,
}

impl Task {
    /// Whether it goes to the SA in the place of this one.
    pub(super) const fn is_left_to_successor(&self) -> bool {
        match self {
            Self::NewChild { .. }
            | Self::RekeyChild { .. }
            | Self::DeleteChild { .. }
            | Self::DisownChild { .. }
            | Self::Redirect { .. }
            | Self::Ticket
            | Self::Addresses => true,
            Self::RekeyIke { .. } | Self::DeleteIke | Self::Liveness => false,
        }
    }

    /// The SPI that is reserved for it.
    pub(super) const fn reserved(&self) -> Option<ChildSpi> {
        match self {
            Self::DisownChild { inbound } => Some(*inbound),
            Self::NewChild { .. }
            | Self::RekeyChild { .. }
            | Self::RekeyIke { .. }
            | Self::DeleteChild { .. }
            | Self::DeleteIke
            | Self::Liveness
            | Self::Redirect { .. }
            | Self::Ticket
            | Self::Addresses => None,
        }
    }

    /// Gives back what was reserved for it.
    pub(super) fn abandon(&self, ctx: &mut Context<'_>) {
        if let Some(inbound) = self.reserved() {
            ctx.spis.release(inbound);
        }
    }
}

/// What the request that waits for its response is about.
#[derive(Debug)]
pub(super) enum Doing {
    NewChild(Request),
    RekeyChild {
        old: ChildSpi,
        request: Request,
        /// What the peer has made of the same Child SA meanwhile.
        rival: Option<ChildRival>,
        /// Whether the peer has deleted it meanwhile.
        is_old_gone: bool,
    },
    RekeyIke {
        request: IkeRequest,
        /// What the peer has made meanwhile.
        rival: Option<IkeRival>,
    },
    DeleteChild {
        inbound: ChildSpi,
        reason: CloseReason,
    },
    DisownChild {
        inbound: ChildSpi,
    },
    DeleteIke,
    Liveness,
    Redirect,
    Ticket,
    /// We are elsewhere, by the change of this number.
    Update {
        change: u32,
        cookie: Option<[u8; 16]>,
    },
    /// Whether the peer is where it went by the change of this number.
    Check {
        change: u32,
        cookie: [u8; 16],
    },
    Addresses,
}

/// A Child SA that the peer has made in the place of one that we are replacing as well.
#[derive(Debug)]
pub(super) struct ChildRival {
    pub(super) inbound: ChildSpi,
    /// The lower one of the nonces that it was made with.
    pub(super) lowest: Box<[u8]>,
}

/// An IKE SA that the peer has made while we are making one.
#[derive(Debug)]
pub(super) struct IkeRival {
    /// Our SPI of it.
    pub(super) spi: u64,
    /// The lower one of the nonces that it was made with.
    pub(super) lowest: Box<[u8]>,
}

/// What we have offered for an IKE SA in the place of this one.
#[derive(Debug)]
pub(super) struct IkeRequest {
    pub(super) spi: NonZeroU64,
    pub(super) sa: Sa,
    pub(super) nonce: [u8; NONCE_LENGTH],
    pub(super) method: KeyExchangeMethod,
    pub(super) key_exchange: Option<KeyExchange>,
    /// Whether the peer has chosen the method.
    pub(super) is_retry: bool,
    /// The key exchange that follows, once the offer is agreed upon.
    pub(super) followup: Option<Box<Followup<IkeDraft>>>,
}

impl Doing {
    /// The SPI that is reserved for it.
    pub(super) const fn reserved(&self) -> Option<ChildSpi> {
        match self {
            Self::NewChild(request) | Self::RekeyChild { request, .. } => Some(request.inbound),
            Self::DisownChild { inbound } => Some(*inbound),
            Self::RekeyIke { .. }
            | Self::DeleteChild { .. }
            | Self::DeleteIke
            | Self::Liveness
            | Self::Redirect
            | Self::Ticket
            | Self::Update { .. }
            | Self::Check { .. }
            | Self::Addresses => None,
        }
    }

    /// Gives back what was reserved for it.
    pub(super) fn abandon(&self, ctx: &mut Context<'_>) {
        if let Some(inbound) = self.reserved() {
            ctx.spis.release(inbound);
        }
    }
}

impl Established {
    /// Something is wanted. What is wanted already is not wanted twice.
    pub(super) fn want(&mut self, task: Task) {
        // Nor is anything replaced twice that is being replaced.
        if let (Task::RekeyChild { inbound, wanted: Wanted::First }, Some(doing)) = (&task, &self.doing)
            && matches!(&**doing, Doing::RekeyChild { old, .. } if old == inbound)
        {
            return;
        }
        // What has something reserved is never more than the peer has answers.
        let is_kept = self.tasks.len() < MAX_TASKS || task.reserved().is_some();
        if is_kept && !self.tasks.contains(&task) {
            self.tasks.push_back(task);
        }
    }

    /// The peer has made a Child SA with this SPI of ours that we cannot have.
    pub(crate) fn disown(&mut self, inbound: ChildSpi) {
        self.want(Task::DisownChild { inbound });
    }

    /// The operator wants new keys for the IKE SA.
    pub(crate) fn rekey_ike(&mut self, ctx: &mut Context<'_>, names: Names, effects: &mut Effects) {
        if self.is_active() {
            self.want(Task::RekeyIke { method: None });
            self.next_task(ctx, names, effects);
        }
    }

    /// The operator wants new keys for all Child SAs.
    pub(crate) fn rekey_children(&mut self, ctx: &mut Context<'_>, names: Names, effects: &mut Effects) {
        let active = self.children.iter().filter(|child| child.stage == ChildStage::Active);
        let inbound: Vec<ChildSpi> = active.map(|child| child.inbound).collect();
        for inbound in inbound {
            self.want(Task::RekeyChild { inbound, wanted: Wanted::First });
        }
        self.next_task(ctx, names, effects);
    }

    /// Another Child SA is wanted.
    pub(crate) fn new_child(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        selectors: (TrafficSelectors, TrafficSelectors),
        effects: &mut Effects,
    ) {
        let (local_ts, remote_ts) = selectors;
        self.want(Task::NewChild { local_ts, remote_ts, wanted: Wanted::First });
        self.next_task(ctx, names, effects);
    }

    /// Tells the client to go elsewhere; after `grace` its SA is deleted (`RFC 5685 §5`).
    pub(crate) fn send_away(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        to: GatewayAddress,
        grace: Duration,
        why: RedirectReason,
        effects: &mut Effects,
    ) {
        ctx.counters.redirect(RedirectExchange::Informational);
        self.leave(ctx, names, to.clone(), grace, why);
        self.clear_tasks(ctx);
        self.want(Task::Redirect { to });
        self.next_task(ctx, names, effects);
    }

    /// From now on the client has its time to go elsewhere.
    pub(crate) fn leave(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        to: GatewayAddress,
        grace: Duration,
        why: RedirectReason,
    ) {
        self.stage = Stage::Leaving { patience: ctx.now.mono + grace };
        ctx.event(Event::Redirected { sa: self.label(names), to, why });
    }

    /// The address that the peer speaks to is another node's: nothing that it says will be heard. A
    /// client that follows redirects is told to go to `to`, at once and whatever it was asked before;
    /// its SA goes on for `grace`, for what is under way to it. Any other one is told that its SA is
    /// gone, so that it begins anew.
    pub(crate) fn let_go(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        to: Option<GatewayAddress>,
        grace: Duration,
        effects: &mut Effects,
    ) {
        match self.stage {
            Stage::Leaving { .. } => self.is_adrift = true,
            // Another one has its clients' traffic, or it has ended already.
            Stage::Contending | Stage::Replaced { .. } | Stage::Closing { .. } => {}
            Stage::Active => match to.filter(|_| self.may_be_sent_away()) {
                Some(to) => {
                    self.is_adrift = true;
                    self.hurry_away(ctx, names, to, grace, RedirectReason::AddressGone, effects);
                }
                None => self.farewell(ctx, names, CloseReason::AddressGone, effects),
            },
        }
    }

    /// As [`Self::send_away`], at once and whatever the client was asked before.
    pub(crate) fn hurry_away(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        to: GatewayAddress,
        grace: Duration,
        why: RedirectReason,
        effects: &mut Effects,
    ) {
        self.give_up_request(ctx, effects);
        self.send_away(ctx, names, to, grace, why, effects);
    }

    /// What waits for its response will not get it.
    pub(super) fn give_up_request(&mut self, ctx: &mut Context<'_>, effects: &mut Effects) {
        self.channel.window.responded();
        if let Some(doing) = self.doing.take() {
            if let Doing::RekeyIke { rival: Some(rival), .. } = &*doing {
                effects.rival = Some((rival.spi, RivalFate::Void));
            }
            doing.abandon(ctx);
        }
    }

    /// Begins to delete the SA: its Child SAs are gone at once.
    pub(crate) fn close(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        reason: CloseReason,
        effects: &mut Effects,
    ) {
        let is_remnant = self.is_remnant();
        if !matches!(self.stage, Stage::Closing { .. }) {
            self.stage = Stage::Closing { reason, is_remnant };
            self.drop_children(ctx);
            self.clear_tasks(ctx);
            self.want(Task::DeleteIke);
        }
        self.next_task(ctx, names, effects);
    }

    /// As [`Self::close`], of an SA in whose place another one goes on; begins with the next task.
    pub(crate) fn close_remnant(&mut self, ctx: &mut Context<'_>, reason: CloseReason) {
        self.stage = Stage::Closing { reason, is_remnant: true };
        self.clear_tasks(ctx);
        self.want(Task::DeleteIke);
    }

    /// Nothing is wanted any more.
    pub(super) fn clear_tasks(&mut self, ctx: &mut Context<'_>) {
        for task in self.tasks.drain(..) {
            task.abandon(ctx);
        }
    }

    /// Tells the peer that the SA is gone, without waiting for anything.
    pub(crate) fn farewell(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        reason: CloseReason,
        effects: &mut Effects,
    ) {
        // A request that still waits would keep the window closed.
        self.channel.window.responded();
        let _last_word = self
            .ask(ctx, names, ExchangeType::Informational, |chain| chain.push(&Payload::Delete(Delete::Ike)));
        self.shut(ctx, names, reason, effects);
    }

    /// The daemon ends: tells the peer that the SA is gone. One that was told to go and cannot be
    /// heard is on its way; that its old SA is gone would have it begin anew.
    pub(crate) fn end(&mut self, ctx: &mut Context<'_>, names: Names) {
        if self.is_adrift {
            self.shut(ctx, names, CloseReason::Shutdown, &mut Effects::default());
        } else {
            self.farewell(ctx, names, CloseReason::Shutdown, &mut Effects::default());
        }
    }

    /// Begins the next task, if nothing is under way.
    pub(super) fn next_task(&mut self, ctx: &mut Context<'_>, names: Names, effects: &mut Effects) {
        while !self.channel.window.is_waiting() {
            // Before everything else: what is asked on a way that leads nowhere is not answered.
            let begun = match self.begin_move(ctx, names) {
                Some(result) => result.map_err(Halt::from),
                None => match self.tasks.pop_front() {
                    Some(task) => self.begin(ctx, names, task),
                    None => return,
                },
            };
            match begun {
                Ok(()) => {}
                Err(Halt::Refused(refusal)) => ctx.refuse_child(self.label(names), refusal),
                Err(Halt::Unsealed) => {
                    // Message IDs or IVs are used up: nothing can be said any more.
                    return self.shut(ctx, names, CloseReason::Expired, effects);
                }
            }
        }
    }

    fn begin(&mut self, ctx: &mut Context<'_>, names: Names, task: Task) -> Result<(), Halt> {
        let again = retry_at(ctx);
        match task {
            Task::NewChild { local_ts, remote_ts, wanted } => {
                let profile = Arc::clone(self.peer.profile());
                let selectors = (local_ts, remote_ts);
                let request = Request::new(ctx, &profile, names.ours(), selectors, wanted, None)?;
                self.ask_child(ctx, names, &request, None)?;
                self.doing = Some(Box::new(Doing::NewChild(request)));
            }
            Task::RekeyChild { inbound, wanted } => {
                let Some(child) = self.child(inbound) else { return Ok(()) };
                if child.stage != ChildStage::Active {
                    return Ok(());
                }
                // Whatever comes of it is said by the response. If it is never sent, it is tried again.
                child.rekey_at = Some(again);
                let selectors =
                    (TrafficSelectors(child.local_ts.to_vec()), TrafficSelectors(child.remote_ts.to_vec()));
                let profile = Arc::clone(self.peer.profile());
                let request = Request::new(ctx, &profile, names.ours(), selectors, wanted, Some(inbound))?;
                // RFC 7296 §1.3.3: by the SPI that leads to us.
                self.ask_child(ctx, names, &request, Some(inbound))?;
                if let Some(child) = self.child(inbound) {
                    child.rekey_at = None;
                }
                let doing = Doing::RekeyChild { old: inbound, request, rival: None, is_old_gone: false };
                self.doing = Some(Box::new(doing));
            }
            Task::RekeyIke { method } => {
                self.rekey_at = Some(again);
                let request = IkeRequest::new(ctx, self.suite(), method)?;
                let has_ticket = self.renew_at.is_some();
                let data = request.key_exchange.as_ref().map(|ours| ours.public().to_vec());
                let public = KePayload { method: request.method, data: data.unwrap_or_default().into() };
                self.ask(ctx, names, ExchangeType::CreateChildSa, |chain| {
                    chain.push(&Payload::Sa(request.sa.clone()))?;
                    nonce(chain, &request.nonce)?;
                    chain.push(&Payload::KeyExchange(public))?;
                    // RFC 5723 §6.2: that of the old SA is void then.
                    if has_ticket { chain.plain(NotifyType::TicketRequest) } else { Ok(()) }
                })?;
                self.rekey_at = None;
                self.doing = Some(Box::new(Doing::RekeyIke { request, rival: None }));
            }
            Task::DeleteChild { inbound, reason } => {
                let Some(child) = self.child(inbound) else { return Ok(()) };
                child.stage = ChildStage::Deleting;
                self.ask(ctx, names, ExchangeType::Informational, |chain| {
                    chain.push(&Payload::Delete(Delete::Child(ChildProtocol::Esp, vec![inbound])))
                })?;
                self.doing = Some(Box::new(Doing::DeleteChild { inbound, reason }));
            }
            Task::DisownChild { inbound } => {
                self.ask(ctx, names, ExchangeType::Informational, |chain| {
                    chain.push(&Payload::Delete(Delete::Child(ChildProtocol::Esp, vec![inbound])))
                })
                .inspect_err(|_unsealed| ctx.spis.release(inbound))?;
                self.doing = Some(Box::new(Doing::DisownChild { inbound }));
            }
            Task::DeleteIke => {
                self.ask(ctx, names, ExchangeType::Informational, |chain| {
                    chain.push(&Payload::Delete(Delete::Ike))
                })?;
                self.doing = Some(Box::new(Doing::DeleteIke));
            }
            Task::Redirect { to } => {
                // RFC 5685 §5: without a nonce.
                self.ask(ctx, names, ExchangeType::Informational, |chain| {
                    chain.notify(&NotifyContent::Redirect { gateway: to, nonce: None })
                })?;
                self.doing = Some(Box::new(Doing::Redirect));
            }
            Task::Ticket => {
                self.renew_at = Some(again);
                self.ask(ctx, names, ExchangeType::Informational, |chain| {
                    chain.plain(NotifyType::TicketRequest)
                })?;
                self.doing = Some(Box::new(Doing::Ticket));
            }
            Task::Liveness => {
                let hashes = self.liveness_hashes(ctx, names);
                self.ask(ctx, names, ExchangeType::Informational, |chain| {
                    hashes.map_or(Ok(()), |hashes| hashes.write(chain))
                })?;
                self.doing = Some(Box::new(Doing::Liveness));
            }
            Task::Addresses => {
                self.ask_addresses(ctx, names)?;
                self.doing = Some(Box::new(Doing::Addresses));
            }
        }
        Ok(())
    }

    fn ask_child(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        request: &Request,
        rekeys: Option<ChildSpi>,
    ) -> Result<(), SealError> {
        let public = request.key_exchange.as_ref().map(|ours| KePayload {
            method: KeyExchangeMethod::from(ours.group().transform()),
            data: ours.public().into(),
        });
        let result = self.ask(ctx, names, ExchangeType::CreateChildSa, |chain| {
            if let Some(spi) = rekeys {
                chain.notify(&NotifyContent::RekeySa(ChildProtocol::Esp, spi))?;
            }
            chain.push(&Payload::Sa(request.sa.clone()))?;
            nonce(chain, &request.nonce)?;
            if let Some(public) = public {
                chain.push(&Payload::KeyExchange(public))?;
            }
            chain.push(&Payload::TsI(request.local_ts.clone()))?;
            chain.push(&Payload::TsR(request.remote_ts.clone()))
        });
        if result.is_err() {
            ctx.spis.release(request.inbound);
        }
        result
    }
}

impl IkeRequest {
    /// An offer in the place of an SA with this suite. One that has further key exchanges is replaced by
    /// one that has some, too, or by none.
    fn new(
        ctx: &mut Context<'_>,
        suite: IkeSuite,
        method: Option<KeyExchangeMethod>,
    ) -> Result<Self, Refusal> {
        let spi = new_ike_spi(ctx);
        let settings = Arc::clone(ctx.settings);
        let proposals: Vec<&IkeProposal> = if suite.additional.is_empty() {
            settings.ike_proposals.iter().collect()
        } else {
            settings.accepted().filter(|proposal| proposal.has_additional()).collect()
        };
        let first = || proposals.iter().find_map(|proposal| proposal.key_exchanges().next());
        let lacking = || Refusal::new(Failure::Local, "there are no IKE proposals");
        let is_retry = method.is_some();
        let method = method.or_else(first).ok_or_else(lacking)?;
        // A group that we have not offered would be a downgrade.
        if !proposals.iter().any(|proposal| proposal.key_exchanges().any(|ours| ours == method)) {
            return Err(Refusal::new(Failure::OtherGroup, format!("{method} was not offered")));
        }
        let sa = IkeProposal::offer(proposals, Some(spi)).ok_or_else(lacking)?;
        let key_exchange = generate(ctx, method)?;
        Ok(Self {
            spi,
            sa,
            nonce: ctx.rng.array(),
            method,
            key_exchange: Some(key_exchange),
            is_retry,
            followup: None,
        })
    }
}

/// When something that was refused is tried again (`RFC 7296 §2.25`: not at once).
pub(super) fn retry_at(ctx: &mut Context<'_>) -> Instant {
    ctx.now.mono + ctx.rng.between(RETRY, 2 * RETRY)
}

/// An SPI of ours for an IKE SA: random, and so that it names this worker.
pub(crate) fn new_ike_spi(ctx: &mut Context<'_>) -> NonZeroU64 {
    ctx.spis.ike(ctx.rng)
}

/// Appends a nonce of ours.
pub(crate) fn nonce(chain: &mut ChainWriter<'_>, octets: &[u8]) -> Result<(), EncodeError> {
    match Nonce::new(octets) {
        Ok(nonce) => chain.push(&Payload::Nonce(nonce)),
        // Ours have 32 octets.
        Err(_wrong) => Err(EncodeError::TooMuch { what: "nonce", count: octets.len() }),
    }
}

/// Why a task does not begin.
enum Halt {
    Refused(Refusal),
    Unsealed,
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<SealError> for Halt {
    fn from(_error: SealError) -> Self {
        Self::Unsealed
    }
}

/// Least time before something that was refused is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// Most tasks that wait: more than an SA ever has children.
const MAX_TASKS: usize = 256;
