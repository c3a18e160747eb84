//! What has come of our requests.

use std::sync::Arc;

use crate::ike::event::{CloseReason, Event, Failure};
use crate::ike::message::{Channel, Verified};
use crate::ike::proposal::IkeSuite;
use crate::ike::rules::{self, Form};
use crate::ike::sa::child::{Answer, ChildStage, Request, Wanted, agree};
use crate::ike::sa::context::{Context, Refusal};
use crate::ike::sa::established::requests::lower;
use crate::ike::sa::established::tasks::{ChildRival, Doing, IkeRequest, IkeRival, Task, retry_at};
use crate::ike::sa::established::{Established, Stage};
use crate::ike::sa::keymat::{IkeKeys, Nonces, Origin};
use crate::ike::sa::payloads::{self, ChildPayloads, unreadable};
use crate::ike::sa::window::Window;
use crate::ike::sa::{Effects, IkeSa, Names, RivalFate, State, spi_pair, suite};
use crate::ike::wire::{
    Chain, ChildSpi, Direction, ExchangeType, KeyExchangeMethod, MessageId, NotifyContent, NotifyType,
    OriginalRole, PayloadType, ProposalSpi, Sa,
};

impl Established {
    /// Goes on with a response.
    pub(super) fn response(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        exchange: ExchangeType,
        verified: &Verified,
        effects: &mut Effects,
    ) {
        let Some(doing) = self.doing.take() else { return };
        let checked = Self::chain_of(verified)
            .and_then(|chain| Ok((chain, rules::check(exchange, Direction::Response, &chain)?)));
        let (chain, form) = match checked {
            Ok(checked) => checked,
            Err(_violation) => {
                // RFC 7296 §2.21.3: both sides must agree upon what the SA is at; here they do not.
                self.doing = Some(doing);
                return self.shut(ctx, names, CloseReason::ProtocolError, effects);
            }
        };
        self.stray_redirect(ctx, &chain);
        if chain.notify(NotifyType::InvalidSyntax).is_some() {
            // RFC 7296 §2.21.3: the peer has forgotten the SA already.
            self.doing = Some(doing);
            return self.shut(ctx, names, CloseReason::ProtocolError, effects);
        }
        match *doing {
            // RFC 5685 §5: the client deletes the SA once it is elsewhere.
            Doing::Redirect | Doing::Addresses => {}
            Doing::Liveness => self.liveness_answered(ctx, names, &chain),
            Doing::Update { change, cookie } => {
                self.update_answered(ctx, names, &chain, (change, cookie), effects);
            }
            Doing::Check { change, cookie } => {
                self.check_answered(ctx, names, &chain, (change, cookie), effects);
            }
            Doing::Ticket => self.take_ticket(ctx, names, &chain),
            Doing::DeleteIke => self.shut(ctx, names, CloseReason::Cleared, effects),
            Doing::DeleteChild { inbound, reason } => {
                self.drop_child(ctx, names, inbound, reason);
            }
            Doing::DisownChild { inbound } => ctx.spis.release(inbound),
            // The IKE SA is being deleted, and with it whatever has been made.
            Doing::NewChild(request) | Doing::RekeyChild { request, .. } if self.stage != Stage::Active => {
                ctx.spis.release(request.inbound);
            }
            Doing::NewChild(request) => self.child_answered(ctx, names, &chain, form, request),
            Doing::RekeyChild { old, request, rival, is_old_gone } => {
                let collision = Collision { old, rival, is_old_gone };
                self.child_rekeyed(ctx, names, &chain, form, request, collision);
            }
            Doing::RekeyIke { request, rival } => {
                self.ike_rekeyed(ctx, names, (&chain, form), request, rival, effects);
            }
        }
    }

    /// The answer to our wish for another Child SA.
    fn child_answered(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        chain: &Chain<'_>,
        form: Form,
        request: Request,
    ) {
        let selectors = (request.local_ts.clone(), request.remote_ts.clone());
        let is_retry = request.is_retry;
        match self.complete(ctx, names, chain, form, request) {
            Ok((child, install, _lowest)) => self.adopt(ctx, names, child, install),
            Err(Setback::OtherMethod(method)) if !is_retry => {
                let (local_ts, remote_ts) = selectors;
                self.want(Task::NewChild { local_ts, remote_ts, wanted: Wanted::Method(method) });
            }
            Err(setback) => {
                let refusal = Refusal::from(setback);
                self.distrust(ctx, &refusal);
                ctx.refuse_child(self.label(names), refusal);
            }
        }
    }

    /// `RFC 6989 §2.5`: a peer whose public values are wrong does not keep its IKE SA.
    fn distrust(&mut self, ctx: &mut Context<'_>, refusal: &Refusal) {
        if refusal.failure == Failure::BadPublicValue && self.stage == Stage::Active {
            self.drop_children(ctx);
            self.clear_tasks(ctx);
            self.stage = Stage::Closing { reason: CloseReason::ProtocolError, is_remnant: false };
            self.want(Task::DeleteIke);
        }
    }

    /// The answer to our wish for a Child SA in the place of another.
    fn child_rekeyed(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        chain: &Chain<'_>,
        form: Form,
        request: Request,
        collision: Collision,
    ) {
        let Collision { old, rival, is_old_gone } = collision;
        // What the peer has deleted since is no rival any more.
        let rival = rival.filter(|rival| self.child(rival.inbound).is_some());
        let is_retry = request.is_retry;
        let completed = self.complete(ctx, names, chain, form, request);
        match (completed, rival) {
            // RFC 7296 §2.8.1: the SA that was made with the lowest of the four nonces is too much,
            // and whoever made it deletes it.
            (Ok((child, _install, lowest)), Some(rival)) if lowest <= rival.lowest || is_old_gone => {
                self.want(Task::DisownChild { inbound: child.inbound });
                self.yield_to(old, rival.inbound);
            }
            // The peer has not waited for us to delete the old one.
            (Ok((mut child, mut install, _lowest)), None) if is_old_gone => {
                child.stage = ChildStage::Active;
                install.replaces = None;
                self.adopt(ctx, names, child, install);
            }
            (Ok((child, install, _lowest)), rival) => {
                let inbound = child.inbound;
                self.adopt(ctx, names, child, install);
                if let Some(rival) = rival {
                    // The peer deletes it.
                    self.yield_to(rival.inbound, inbound);
                }
                self.want(Task::DeleteChild { inbound: old, reason: CloseReason::Rekeyed });
            }
            (Err(_), Some(rival)) => self.yield_to(old, rival.inbound),
            (Err(_), None) if is_old_gone => {}
            (Err(Setback::OtherMethod(method)), None) if !is_retry => {
                self.want(Task::RekeyChild { inbound: old, wanted: Wanted::Method(method) });
            }
            (Err(setback), None) => {
                let refusal = setback.into();
                self.rekey_refused(
                    ctx,
                    names,
                    old,
                    refusal,
                    chain.notify(NotifyType::ChildSaNotFound).is_some(),
                );
            }
        }
    }

    /// The Child SA goes on as it is until the next try.
    fn rekey_refused(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        old: ChildSpi,
        refusal: Refusal,
        is_unknown: bool,
    ) {
        if is_unknown {
            // RFC 7296 §2.25: the peer does not have it any more. What it was for is made anew.
            let selectors = self.child(old).map(|child| (child.local_ts.to_vec(), child.remote_ts.to_vec()));
            self.drop_child(ctx, names, old, CloseReason::DeletedByPeer);
            if let Some((local_ts, remote_ts)) = selectors {
                let (local_ts, remote_ts) = (
                    crate::ike::wire::TrafficSelectors(local_ts),
                    crate::ike::wire::TrafficSelectors(remote_ts),
                );
                self.want(Task::NewChild { local_ts, remote_ts, wanted: Wanted::First });
            }
            return;
        }
        self.distrust(ctx, &refusal);
        let again = retry_at(ctx);
        if let Some(child) = self.child(old) {
            child.rekey_at = Some(again);
        }
        ctx.refuse_child(self.label(names), refusal);
    }

    /// The peer will delete `old`; traffic then leaves through `by`.
    fn yield_to(&mut self, old: ChildSpi, by: ChildSpi) {
        if let Some(child) = self.child(old) {
            child.stage = ChildStage::Replaced { by };
        }
    }

    /// What the answer makes of our offer. A Child SA that the peer has made and that we cannot have is
    /// disowned.
    fn complete(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        chain: &Chain<'_>,
        form: Form,
        mut request: Request,
    ) -> Result<Completed, Setback> {
        if let Some(setback) = setback(chain, form, Form::ChildResponse) {
            ctx.spis.release(request.inbound);
            return Err(setback);
        }
        let inbound = request.inbound;
        let gone = std::mem::take(&mut request.gone);
        let read = || -> Result<_, Refusal> {
            let payloads = ChildPayloads::read(chain).map_err(unreadable)?;
            let payloads = payloads.ok_or_else(|| Refusal::new(Failure::Syntax, "no selectors"))?;
            let nr = payloads::nonce(chain).map_err(unreadable)?;
            Ok((payloads, nr, payloads::public(chain).map_err(unreadable)?))
        };
        let (payloads, nr, public) =
            read().inspect_err(|_refused| self.want(Task::DisownChild { inbound }))?;
        let ni = request.nonce.clone();
        let answer = Answer {
            sa: &payloads.sa,
            ts_i: &payloads.ts_i,
            ts_r: &payloads.ts_r,
            nonces: Nonces { initiator: &ni, responder: nr.as_slice() },
            public: public.as_ref(),
        };
        let profile = Arc::clone(self.peer.profile());
        let (child, install) = request
            .complete(ctx, self.ground(names, &profile), &answer)
            .inspect_err(|_refused| self.want(Task::DisownChild { inbound }))?;
        if gone.contains(&child.outbound) {
            ctx.spis.release(inbound);
            return Err(Refusal::new(Failure::PeerRefused, "the peer has deleted it already").into());
        }
        Ok((child, install, lower(&ni, nr.as_slice()).into()))
    }

    /// The answer to our wish for an IKE SA in the place of this one.
    fn ike_rekeyed(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        (chain, form): (&Chain<'_>, Form),
        request: IkeRequest,
        rival: Option<IkeRival>,
        effects: &mut Effects,
    ) {
        let is_retry = request.is_retry;
        let completed = self.complete_ike(ctx, names, chain, form, request);
        if let Stage::Closing { reason, .. } = self.stage {
            // It is to be deleted, and so is everything in its place.
            if let Ok((mut sa, _lowest)) = completed {
                if let Some(new) = sa.established() {
                    new.close_remnant(ctx, reason);
                }
                effects.spawned = Some(sa);
            }
            effects.rival = rival.map(|rival| (rival.spi, RivalFate::Closes(reason)));
            return;
        }
        match (completed, rival) {
            // RFC 7296 §2.8.2: ours is too much.
            (Ok((mut sa, lowest)), Some(rival)) if lowest <= rival.lowest => {
                if let Some(redundant) = sa.established() {
                    redundant.close_remnant(ctx, CloseReason::Redundant);
                }
                effects.spawned = Some(sa);
                self.give_way(ctx, names, rival.spi, effects);
            }
            (Ok((mut sa, _lowest)), rival) => {
                let spi = sa.names;
                let had_ticket = self.renew_at.is_some();
                if let Some(new) = sa.established() {
                    let estate = self.bequeath(ctx, names);
                    new.inherit(ctx, spi, estate);
                    if had_ticket {
                        new.take_ticket(ctx, spi, chain);
                    }
                }
                effects.spawned = Some(sa);
                effects.rival = rival.map(|rival| (rival.spi, RivalFate::Yields));
                ctx.counters.ike_rekeys = ctx.counters.ike_rekeys.saturating_add(1);
                ctx.event(Event::Rekeyed { sa: self.label(names), by_us: true });
                self.close_remnant(ctx, CloseReason::Rekeyed);
            }
            (Err(_), Some(rival)) => self.give_way(ctx, names, rival.spi, effects),
            (Err(Setback::OtherMethod(method)), None) if !is_retry => {
                self.want(Task::RekeyIke { method: Some(method) });
            }
            (Err(setback), None) => {
                let refusal = Refusal::from(setback);
                self.rekey_at = Some(retry_at(ctx));
                ctx.counters.failure(refusal.failure);
                self.distrust(ctx, &refusal);
            }
        }
    }

    fn complete_ike(
        &self,
        ctx: &mut Context<'_>,
        names: Names,
        chain: &Chain<'_>,
        form: Form,
        request: IkeRequest,
    ) -> Result<(Box<IkeSa>, Box<[u8]>), Setback> {
        if let Some(setback) = setback(chain, form, Form::RekeyIkeResponse) {
            return Err(setback);
        }
        let IkeRequest { spi, sa: offer, nonce: ni, method, key_exchange, is_retry: _ } = request;
        let answer = payloads::required(chain, PayloadType::Sa, Sa::decode).map_err(unreadable)?;
        let nr = payloads::nonce(chain).map_err(unreadable)?;
        let public = payloads::public(chain).map_err(unreadable)?;
        let public = public.filter(|public| public.method == method).ok_or_else(|| {
            Refusal::new(Failure::BadPublicValue, "a public value of another group, or none")
        })?;
        let choice = IkeSuite::chosen(&offer, &answer)
            .map_err(|not_offered| Refusal::new(Failure::NoProposal, not_offered.to_string()))?;
        let chosen = choice.suite;
        let ProposalSpi::Ike(Some(theirs)) = choice.spi else {
            return Err(Refusal::new(Failure::Syntax, "no SPI for the new IKE SA").into());
        };
        if chosen.key_exchange != method {
            return Err(Refusal::new(Failure::NoProposal, "a group without a public value").into());
        }
        let algorithms = suite::ike(chosen, ctx.settings.legacy)
            .ok_or_else(|| Refusal::new(Failure::NoProposal, "an unknown algorithm"))?;
        let shared = agree(key_exchange, &public.data)?;
        let (spi_i, spi_r) = spi_pair(spi, theirs, OriginalRole::Initiator);
        let origin = Origin {
            provider: ctx.provider,
            suite: algorithms,
            nonces: Nonces { initiator: &ni, responder: nr.as_slice() },
            spi_i,
            spi_r,
            role: OriginalRole::Initiator,
        };
        let keys = IkeKeys::rekeyed(origin, &self.derivation, &shared)
            .map_err(|error| Refusal::new(Failure::Local, error.to_string()))?;
        let mut channel = Channel::new(keys.ours, keys.theirs, Window::new(MessageId(0), MessageId(0)));
        channel.fragments = self.channel.fragments;
        let sa = self.successor(ctx, channel, keys.derivation, chosen);
        let names = Names { id: names.id, spi_i, spi_r: Some(spi_r), role: OriginalRole::Initiator };
        let sa = Box::new(IkeSa { names, state: State::Established(Box::new(sa)) });
        Ok((sa, lower(&ni, nr.as_slice()).into()))
    }
}

/// A Child SA, and the lower one of the nonces that it was made with.
type Completed = (crate::ike::sa::child::Child, Box<crate::ike::io::InstallChild>, Box<[u8]>);

/// What the peer has done with a Child SA while we were replacing it.
struct Collision {
    old: ChildSpi,
    rival: Option<ChildRival>,
    is_old_gone: bool,
}

/// Why nothing has come of a request.
enum Setback {
    /// The peer wants another key exchange method.
    OtherMethod(KeyExchangeMethod),
    Refused(Refusal),
}

impl From<Setback> for Refusal {
    fn from(setback: Setback) -> Self {
        match setback {
            // RFC 7296 §1.3: it has had its way once.
            Setback::OtherMethod(method) => {
                Self::new(Failure::OtherGroup, format!("{method} is wanted, after another one was"))
            }
            Setback::Refused(refusal) => refusal,
        }
    }
}

impl From<Refusal> for Setback {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What is in the way of going on with a response.
fn setback(chain: &Chain<'_>, form: Form, wanted: Form) -> Option<Setback> {
    if let Some(notify) = chain.notify(NotifyType::InvalidKePayload)
        && let Ok(NotifyContent::InvalidKePayload(method)) = notify.content()
    {
        return Some(Setback::OtherMethod(method));
    }
    let refused = |failure, detail: String| Some(Setback::Refused(Refusal::new(failure, detail)));
    match payloads::error(chain) {
        Some(NotifyType::TemporaryFailure) => {
            refused(Failure::Temporary, NotifyType::TemporaryFailure.label().to_owned())
        }
        Some(kind) => refused(Failure::PeerRefused, kind.to_string()),
        None if form != wanted => refused(Failure::PeerRefused, "an answer to something else".to_owned()),
        None => None,
    }
}
