//! What has come of our requests.

use std::sync::Arc;

use crate::ike::event::{CloseReason, Event, Failure};
use crate::ike::io::InstallChild;
use crate::ike::message::Verified;
use crate::ike::proposal::IkeSuite;
use crate::ike::rules::{self, Form};
use crate::ike::sa::child::{Answer, Child, ChildStage, Draft, Request, Wanted, agree};
use crate::ike::sa::context::{Context, Refusal};
use crate::ike::sa::established::drafts::IkeDraft;
use crate::ike::sa::established::tasks::{ChildRival, Doing, IkeRequest, IkeRival, Task, retry_at};
use crate::ike::sa::established::{Established, Stage};
use crate::ike::sa::followup::Followup;
use crate::ike::sa::keymat::Nonces;
use crate::ike::sa::payloads::{self, ChildPayloads, unreadable};
use crate::ike::sa::{Effects, Names, RivalFate};
use crate::ike::wire::{
    Chain, ChildSpi, Direction, ExchangeType, KeyExchangeMethod, NotifyContent, NotifyType, OriginalRole,
    PayloadType, ProposalSpi, Sa,
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
            Doing::NewChild(request) => self.child_answered(ctx, names, (&chain, form), request, effects),
            Doing::RekeyChild { old, request, rival, is_old_gone } => {
                let collision = Collision { old, rival, is_old_gone };
                self.child_rekeyed(ctx, names, (&chain, form), request, collision, effects);
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
        (chain, form): (&Chain<'_>, Form),
        request: Request,
        effects: &mut Effects,
    ) {
        let selectors = (request.local_ts.clone(), request.remote_ts.clone());
        let is_retry = request.is_retry;
        let first = request.followup.as_deref().and_then(|followup| followup.draft.first());
        let again = match self.complete(ctx, names, chain, form, request) {
            Ok(Step::Whole(child, install, _lowest)) => return self.adopt(ctx, names, child, install),
            Ok(Step::More(request, followup)) => {
                return self.go_on_with_child(ctx, names, (request, followup), Doing::NewChild, effects);
            }
            Err(Setback::OtherMethod(method)) if !is_retry => Ok(method),
            // RFC 9370 §2.2.4: from the beginning.
            Err(Setback::Lost) if !is_retry => first.ok_or(Setback::Lost),
            Err(setback) => Err(setback),
        };
        match again {
            Ok(method) => {
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

    /// Goes on with a Child SA that is agreed upon.
    fn go_on_with_child(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        (mut request, followup): (Box<Request>, Box<Followup<Draft>>),
        doing: impl FnOnce(Request) -> Doing,
        effects: &mut Effects,
    ) {
        let asked = self.follow_up(ctx, names, &followup, false);
        request.followup = Some(followup);
        self.doing = Some(Box::new(doing(*request)));
        if asked.is_err() {
            // Message IDs or IVs are used up: nothing can be said any more.
            self.shut(ctx, names, CloseReason::Expired, effects);
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
        (chain, form): (&Chain<'_>, Form),
        request: Request,
        collision: Collision,
        effects: &mut Effects,
    ) {
        let Collision { old, rival, is_old_gone } = collision;
        // What the peer has deleted since is no rival any more.
        let rival = rival.filter(|rival| self.child(rival.inbound).is_some());
        let is_retry = request.is_retry;
        let completed = match self.complete(ctx, names, chain, form, request) {
            Ok(Step::More(request, followup)) => {
                let theirs = rival.as_ref().map(|rival| &*rival.lowest);
                let theirs = theirs.or_else(|| self.draft_of_child(old));
                let is_surplus = theirs.is_some_and(|theirs| followup.draft.lowest() <= theirs);
                if is_surplus || (is_old_gone && rival.is_some()) {
                    // Nothing has come of it yet, and nothing will.
                    ctx.spis.release(request.inbound);
                    return self.leave_to_peer(ctx, old, rival.map(|rival| rival.inbound));
                }
                self.abandon_draft(ctx);
                let doing = |request| Doing::RekeyChild { old, request, rival, is_old_gone };
                return self.go_on_with_child(ctx, names, (request, followup), doing, effects);
            }
            Ok(Step::Whole(child, install, lowest)) => {
                if self.draft_of_child(old).is_some() {
                    // This one is there, the peer's is not.
                    self.abandon_draft(ctx);
                }
                Ok((child, install, lowest))
            }
            Err(setback) => Err(setback),
        };
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

    /// The peer's one goes on: `by`, or what is a draft yet. Should nothing come of that, there is a
    /// next try.
    fn leave_to_peer(&mut self, ctx: &mut Context<'_>, old: ChildSpi, by: Option<ChildSpi>) {
        match by {
            Some(by) => self.yield_to(old, by),
            None => {
                let again = retry_at(ctx);
                if let Some(child) = self.child(old) {
                    child.rekey_at = Some(again);
                }
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

    /// What the answer makes of our offer, or of a key exchange that followed. A Child SA that the peer
    /// has made and that we cannot have is disowned.
    fn complete(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        chain: &Chain<'_>,
        form: Form,
        mut request: Request,
    ) -> Result<Step, Setback> {
        let wanted = if request.followup.is_some() { Form::FollowupKe } else { Form::ChildResponse };
        if let Some(setback) = setback(chain, form, wanted) {
            ctx.spis.release(request.inbound);
            return Err(setback);
        }
        let inbound = request.inbound;
        let drafted = match request.followup.take() {
            None => draft(chain, &mut request),
            Some(followup) => followup.answered(chain).map(|(mut draft, secret)| {
                draft.add(secret);
                draft
            }),
        };
        let draft = drafted.inspect_err(|_refused| self.want(Task::DisownChild { inbound }))?;
        if let Some(method) = draft.next() {
            let followup = Followup::new(ctx, chain, draft, method)
                .inspect_err(|_refused| self.want(Task::DisownChild { inbound }))?;
            return Ok(Step::More(Box::new(request), Box::new(followup)));
        }
        let lowest = draft.lowest().into();
        let profile = Arc::clone(self.peer.profile());
        let (child, install) = draft
            .finish(ctx, self.ground(names, &profile))
            .inspect_err(|_refused| self.want(Task::DisownChild { inbound }))?;
        if request.gone.contains(&child.outbound) {
            ctx.spis.release(inbound);
            return Err(Refusal::new(Failure::PeerRefused, "the peer has deleted it already").into());
        }
        Ok(Step::Whole(child, install, lowest))
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
        let completed = match self.draft_ike_of(ctx, chain, form, request) {
            Ok(IkeStep::More(..)) if self.stage != Stage::Active => Err(None),
            Ok(IkeStep::More(request, followup)) => {
                let theirs = rival.as_ref().map(|rival| &*rival.lowest);
                let is_surplus = |theirs: &[u8]| followup.draft.lowest() <= theirs;
                if theirs.or_else(|| self.draft_of_ike()).is_some_and(is_surplus) {
                    // Nothing has come of it yet, and nothing will.
                    return match rival {
                        Some(rival) => self.give_way(ctx, names, rival.spi, effects),
                        // Should nothing come of the peer's draft, there is a next try.
                        None => self.rekey_at = Some(retry_at(ctx)),
                    };
                }
                self.abandon_draft(ctx);
                return self.go_on_with_ike(ctx, names, (request, followup), rival, effects);
            }
            Ok(IkeStep::Whole(draft)) => {
                let lowest: Box<[u8]> = draft.lowest().into();
                draft.finish(ctx, self, names).map(|sa| (sa, lowest)).map_err(|refusal| Some(refusal.into()))
            }
            Err(setback) => Err(Some(setback)),
        };
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
            (Err(Some(Setback::OtherMethod(method))), None) if !is_retry => {
                self.want(Task::RekeyIke { method: Some(method) });
            }
            (Err(None), None) => {}
            (Err(Some(setback)), None) => {
                let refusal = Refusal::from(setback);
                self.rekey_at = Some(retry_at(ctx));
                ctx.counters.failure(refusal.failure);
                self.distrust(ctx, &refusal);
            }
        }
    }

    /// Goes on with an IKE SA that is agreed upon.
    fn go_on_with_ike(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        (mut request, followup): (Box<IkeRequest>, Box<Followup<IkeDraft>>),
        rival: Option<IkeRival>,
        effects: &mut Effects,
    ) {
        let wants_ticket = self.renew_at.is_some();
        let asked = self.follow_up(ctx, names, &followup, wants_ticket);
        request.followup = Some(followup);
        self.doing = Some(Box::new(Doing::RekeyIke { request: *request, rival }));
        if asked.is_err() {
            // Message IDs or IVs are used up: nothing can be said any more.
            self.shut(ctx, names, CloseReason::Expired, effects);
        }
    }

    /// What the answer makes of our offer, or of a key exchange that followed.
    fn draft_ike_of(
        &self,
        ctx: &mut Context<'_>,
        chain: &Chain<'_>,
        form: Form,
        mut request: IkeRequest,
    ) -> Result<IkeStep, Setback> {
        let wanted = if request.followup.is_some() { Form::FollowupKe } else { Form::RekeyIkeResponse };
        if let Some(setback) = setback(chain, form, wanted) {
            return Err(setback);
        }
        let draft = match request.followup.take() {
            None => draft_ike(chain, &mut request)?,
            Some(followup) => {
                let (mut draft, secret) = followup.answered(chain)?;
                draft.secrets.push(secret);
                draft
            }
        };
        Ok(match draft.next() {
            Some(method) => {
                let followup = Followup::new(ctx, chain, draft, method)?;
                IkeStep::More(Box::new(request), Box::new(followup))
            }
            None => IkeStep::Whole(draft),
        })
    }
}

/// What a CREATE_CHILD_SA response makes of our offer.
fn draft(chain: &Chain<'_>, request: &mut Request) -> Result<Draft, Refusal> {
    let payloads = ChildPayloads::read(chain).map_err(unreadable)?;
    let payloads = payloads.ok_or_else(|| Refusal::new(Failure::Syntax, "no selectors"))?;
    let nr = payloads::nonce(chain).map_err(unreadable)?;
    let public = payloads::public(chain).map_err(unreadable)?;
    let ni = request.nonce.clone();
    request.draft(&Answer {
        sa: &payloads.sa,
        ts_i: &payloads.ts_i,
        ts_r: &payloads.ts_r,
        nonces: Nonces { initiator: &ni, responder: nr.as_slice() },
        public: public.as_ref(),
    })
}

/// The same, of our offer for an IKE SA in the place of this one.
fn draft_ike(chain: &Chain<'_>, request: &mut IkeRequest) -> Result<IkeDraft, Refusal> {
    let method = request.method;
    let answer = payloads::required(chain, PayloadType::Sa, Sa::decode).map_err(unreadable)?;
    let nr = payloads::nonce(chain).map_err(unreadable)?;
    let public = payloads::public(chain).map_err(unreadable)?;
    let public = public
        .filter(|public| public.method == method)
        .ok_or_else(|| Refusal::new(Failure::BadPublicValue, "a public value of another group, or none"))?;
    let choice = IkeSuite::chosen(&request.sa, &answer)
        .map_err(|not_offered| Refusal::new(Failure::NoProposal, not_offered.to_string()))?;
    let chosen = choice.suite;
    let ProposalSpi::Ike(Some(theirs)) = choice.spi else {
        return Err(Refusal::new(Failure::Syntax, "no SPI for the new IKE SA"));
    };
    if chosen.key_exchange != method {
        return Err(Refusal::new(Failure::NoProposal, "a group without a public value"));
    }
    let half = request.key_exchange.take();
    let half = half.ok_or_else(|| Refusal::new(Failure::Local, "no key exchange was begun"))?;
    Ok(IkeDraft {
        chosen,
        spis: (request.spi, theirs),
        role: OriginalRole::Initiator,
        ni: request.nonce.into(),
        nr: nr.as_slice().into(),
        secrets: vec![agree(half, &public.data)?],
    })
}

/// What a response has led to.
enum Step {
    /// A Child SA, and the lower one of the nonces that it was made with.
    Whole(Child, Box<InstallChild>, Box<[u8]>),
    /// Another key exchange.
    More(Box<Request>, Box<Followup<Draft>>),
}

/// The same of an IKE SA.
enum IkeStep {
    Whole(IkeDraft),
    More(Box<IkeRequest>, Box<Followup<IkeDraft>>),
}

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
    /// The peer does not know any more what we go on with.
    Lost,
    Refused(Refusal),
}

impl From<Setback> for Refusal {
    fn from(setback: Setback) -> Self {
        match setback {
            // RFC 7296 §1.3: it has had its way once.
            Setback::OtherMethod(method) => {
                Self::new(Failure::OtherGroup, format!("{method} is wanted, after another one was"))
            }
            Setback::Lost => Self::new(Failure::PeerRefused, NotifyType::StateNotFound.label()),
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
        Some(NotifyType::StateNotFound) if wanted == Form::FollowupKe => Some(Setback::Lost),
        Some(kind) => refused(Failure::PeerRefused, kind.to_string()),
        None if form != wanted => refused(Failure::PeerRefused, "an answer to something else".to_owned()),
        None => None,
    }
}
