//! What the peer wants.

use std::sync::Arc;

use crate::ike::error;
use crate::ike::event::{CloseReason, Discard, Event, Failure, RedirectRefusal};
use crate::ike::io::Path;
use crate::ike::message::{Channel, Verified};
use crate::ike::proposal::{EspExchange, IkeProposal, NoChoice};
use crate::ike::rules::{self, Form, Violation};
use crate::ike::sa::child::{
    self, Accepted, ChildRefusal, ChildStage, NONCE_LENGTH, Offer, Replaced, Request, offered,
};
use crate::ike::sa::context::{Context, Refusal};
use crate::ike::sa::established::drafts::IkeDraft;
use crate::ike::sa::established::tasks::{ChildRival, Doing, new_ike_spi, nonce};
use crate::ike::sa::established::{Established, Fresh, PATIENCE, Stage};
use crate::ike::sa::keymat::Nonces;
use crate::ike::sa::payloads::{self, ChildPayloads, unreadable};
use crate::ike::sa::{Effects, Names, RivalFate};
use crate::ike::wire::{
    Chain, ChainWriter, ChildProtocol, ChildSpi, Delete, Direction, EncodeError, ExchangeType,
    KeyExchange as KePayload, NotifyContent, NotifyType, OriginalRole, Payload, PayloadType, ProposalSpi, Sa,
    TrafficSelectors,
};

impl Established {
    /// Acts upon a request and answers it.
    pub(super) fn request(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        path: Path,
        exchange: ExchangeType,
        verified: &Verified,
        effects: &mut Effects,
    ) {
        let checked = Self::chain_of(verified)
            .and_then(|chain| Ok((chain, rules::check(exchange, Direction::Request, &chain)?)));
        let (chain, form) = match checked {
            Ok(checked) => checked,
            Err(Violation::SurplusNotify(NotifyType::Redirect))
                if exchange == ExchangeType::Informational =>
            {
                // Neither is followed, and neither is worth the SA.
                self.misdirected(ctx, RedirectRefusal::WrongTime, None);
                return self.answer(ctx, names, path, exchange, effects, |_chain| Ok(()));
            }
            Err(violation) => return self.violated(ctx, names, path, exchange, &violation, effects),
        };
        if exchange != ExchangeType::Informational {
            self.stray_redirect(ctx, &chain);
        }
        match form {
            Form::Informational => self.informational(ctx, names, path, &chain, effects),
            Form::NewChildRequest | Form::RekeyChildRequest => {
                self.child_request(ctx, names, path, &chain, effects)
            }
            Form::RekeyIkeRequest => self.ike_request(ctx, names, path, &chain, effects),
            Form::FollowupKe => self.followup(ctx, names, path, &chain, effects),
            Form::InitRequest
            | Form::InitResponse
            | Form::ResumeRequest
            | Form::ResumeResponse
            | Form::Intermediate
            | Form::AuthRequest
            | Form::EapStart
            | Form::AuthResponse
            | Form::EapOffer
            | Form::EapRound
            | Form::EapEnd
            | Form::ChildResponse
            | Form::RekeyIkeResponse
            | Form::NotifyOnly => {
                ctx.counters.discard(Discard::UnexpectedExchange);
                self.plain(ctx, names, path, exchange, NotifyType::InvalidSyntax, effects);
            }
        }
    }

    /// A request that breaks the rules. One that cannot be read ends the SA on both sides, without a
    /// word more (`RFC 7296 §2.21.3`).
    fn violated(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        path: Path,
        exchange: ExchangeType,
        violation: &Violation,
        effects: &mut Effects,
    ) {
        ctx.counters.discard(Discard::Syntax);
        self.answer(ctx, names, path, exchange, effects, |chain| error::answer(violation, chain));
        if error::failure(violation) == Failure::Syntax && !effects.is_gone {
            self.shut(ctx, names, CloseReason::ProtocolError, effects);
        }
    }

    /// Answers; an SA that cannot answer any more is gone.
    pub(super) fn answer(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        path: Path,
        exchange: ExchangeType,
        effects: &mut Effects,
        payloads: impl FnOnce(&mut ChainWriter<'_>) -> Result<(), EncodeError>,
    ) {
        if self.respond(ctx, names, path, exchange, payloads).is_err() {
            self.shut(ctx, names, CloseReason::Expired, effects);
        }
    }

    /// Answers with nothing but a notify. INVALID_SYNTAX ends the SA on both sides (`RFC 7296
    /// §2.21.3`, `RFC 6989 §2.5`).
    pub(super) fn plain(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        path: Path,
        exchange: ExchangeType,
        kind: NotifyType,
        effects: &mut Effects,
    ) {
        self.answer(ctx, names, path, exchange, effects, |chain| chain.plain(kind));
        if kind == NotifyType::InvalidSyntax && !effects.is_gone {
            self.shut(ctx, names, CloseReason::ProtocolError, effects);
        }
    }

    /// Delete, liveness check, notifies (`RFC 7296 §1.4`).
    fn informational(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        path: Path,
        chain: &Chain<'_>,
        effects: &mut Effects,
    ) {
        let exchange = ExchangeType::Informational;
        let deletes = match payloads::deletes(chain) {
            Ok(deletes) => deletes,
            Err(error) => {
                return self.violated(ctx, names, path, exchange, &Violation::Malformed(error), effects);
            }
        };
        if self.stage == Stage::Contending && deletes.iter().any(|delete| *delete != Delete::Ike) {
            // The peer knows already that this one goes on, and has its Child SAs: ours are still those
            // of the old one. It asks again, and by then we know as well.
            return ctx.counters.discard(Discard::UnexpectedExchange);
        }
        if deletes.contains(&Delete::Ike) {
            self.answer(ctx, names, path, exchange, effects, |_chain| Ok(()));
            return self.deleted(ctx, names, effects);
        }
        // RFC 7296 §2.21.2: the client does not believe who we are.
        if chain.notify(NotifyType::AuthenticationFailed).is_some() {
            self.answer(ctx, names, path, exchange, effects, |_chain| Ok(()));
            return self.shut(ctx, names, CloseReason::DeletedByPeer, effects);
        }
        let addresses = match self.addresses_asked(ctx, names, path, chain) {
            Ok(reply) => reply,
            Err(error) => {
                return self.violated(ctx, names, path, exchange, &Violation::Malformed(error), effects);
            }
        };
        self.sent_elsewhere(ctx, names, chain);
        let mut ours = Vec::new();
        for delete in deletes {
            if let Delete::Child(ChildProtocol::Esp, spis) = delete {
                for spi in spis {
                    ours.extend(self.child_deleted(ctx, names, spi));
                }
            }
        }
        let grant = if self.is_active() { self.grant(ctx, names, chain) } else { None };
        self.answer(ctx, names, path, exchange, effects, |chain| {
            addresses.write(chain)?;
            if let Some(grant) = grant {
                grant.write(chain)?;
            }
            if ours.is_empty() {
                return Ok(());
            }
            chain.push(&Payload::Delete(Delete::Child(ChildProtocol::Esp, ours)))
        });
    }

    /// The peer has deleted the IKE SA.
    fn deleted(&mut self, ctx: &mut Context<'_>, names: Names, effects: &mut Effects) {
        // RFC 7296 §2.25.2: our own request to rekey it is forgotten. Had the peer made another SA
        // at the same time, that one goes on.
        let rival = match self.doing.as_deref_mut() {
            Some(Doing::RekeyIke { rival, .. }) => rival.take(),
            Some(
                Doing::NewChild(_)
                | Doing::RekeyChild { .. }
                | Doing::DeleteChild { .. }
                | Doing::DisownChild { .. }
                | Doing::DeleteIke
                | Doing::Liveness
                | Doing::Redirect
                | Doing::Ticket
                | Doing::Update { .. }
                | Doing::Check { .. }
                | Doing::Addresses,
            )
            | None => None,
        };
        match (rival, self.stage) {
            (Some(rival), Stage::Active | Stage::Leaving { .. }) => {
                self.give_way(ctx, names, rival.spi, effects)
            }
            (Some(rival), Stage::Closing { reason, .. }) => {
                effects.rival = Some((rival.spi, RivalFate::Closes(reason)));
            }
            (Some(_), Stage::Contending | Stage::Replaced { .. }) | (None, _) => {}
        }
        self.shut(ctx, names, CloseReason::DeletedByPeer, effects);
    }

    /// Everything goes to the SA with this SPI of ours; this one is a remnant from now on.
    pub(super) fn give_way(&mut self, ctx: &mut Context<'_>, names: Names, spi: u64, effects: &mut Effects) {
        effects.bequest = Some((spi, self.bequeath(ctx, names)));
        self.stage = Stage::Replaced { patience: ctx.now.mono + PATIENCE };
        self.clear_tasks(ctx);
        ctx.counters.ike_rekeys = ctx.counters.ike_rekeys.saturating_add(1);
        ctx.event(Event::Rekeyed { sa: self.label(names), by_us: false });
    }

    /// The peer has deleted a Child SA, which it names by the SPI that leads to it. Gives the SPI
    /// that leads to us, if the answer is to have it (`RFC 7296 §1.4.1`).
    fn child_deleted(&mut self, ctx: &mut Context<'_>, names: Names, spi: ChildSpi) -> Option<ChildSpi> {
        let Some(child) = self.child_by_outbound(spi) else {
            if let Some(request) = self.child_in_the_making()
                && request.gone.len() < MAX_GONE
            {
                request.gone.push(spi);
            }
            return None;
        };
        let inbound = child.inbound;
        let reason = match child.stage {
            // RFC 7296 §2.25.1: both have asked for it, and each deletes its own half.
            ChildStage::Deleting => return None,
            ChildStage::Replaced { .. } => CloseReason::Rekeyed,
            ChildStage::Active => CloseReason::DeletedByPeer,
        };
        if let Some(Doing::RekeyChild { old, rival, is_old_gone, .. }) = self.doing.as_deref_mut()
            && *old == inbound
        {
            *is_old_gone = true;
            if let Some(rival) = rival {
                let by = rival.inbound;
                if let Some(child) = self.child(inbound) {
                    child.stage = ChildStage::Replaced { by };
                }
            }
        }
        self.drop_child(ctx, names, inbound, reason);
        Some(inbound)
    }

    /// Another Child SA, or one in the place of another.
    fn child_request(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        path: Path,
        chain: &Chain<'_>,
        effects: &mut Effects,
    ) {
        let exchange = ExchangeType::CreateChildSa;
        // Whoever begins something else has given that up.
        self.abandon_draft(ctx);
        let made = self.make_child(ctx, names, chain).and_then(|accepted| {
            let Accepted { draft, sa, ts_i, ts_r, public } = *accepted;
            let nr = draft.nr().into();
            let answer = ChildAnswer { sa, nr, ts_i, ts_r, public };
            if draft.next().is_some() {
                return Ok((answer, Err(self.keep_child(ctx, draft))));
            }
            let (replaces, inbound) = (draft.replaces, draft.inbound);
            let lowest: Box<[u8]> = draft.lowest().into();
            let made = self.finish_child(ctx, names, draft)?;
            if let Some(old) = replaces {
                self.replaced(old, inbound, &lowest);
            }
            Ok((answer, Ok(made)))
        });
        match made {
            Ok((answer, outcome)) => {
                let mut link = None;
                match outcome {
                    Ok((child, install)) => self.adopt(ctx, names, child, install),
                    Err(more) => link = Some(more),
                }
                let ChildAnswer { sa, nr, ts_i, ts_r, public } = answer;
                self.answer(ctx, names, path, exchange, effects, |chain| {
                    chain.push(&Payload::Sa(sa))?;
                    nonce(chain, &nr)?;
                    if let Some(public) = public {
                        chain.push(&Payload::KeyExchange(public))?;
                    }
                    chain.push(&Payload::TsI(ts_i))?;
                    chain.push(&Payload::TsR(ts_r))?;
                    link.map_or(Ok(()), |link| chain.notify(&NotifyContent::AdditionalKeyExchange(&link)))
                });
            }
            Err(ChildDenial::NotFound(protocol, spi)) => {
                self.answer(ctx, names, path, exchange, effects, |chain| {
                    chain.notify(&NotifyContent::ChildSaNotFound(protocol, spi))
                });
            }
            Err(ChildDenial::OtherMethod(wanted)) => {
                ctx.counters.failure(Failure::OtherGroup);
                self.answer(ctx, names, path, exchange, effects, |chain| {
                    chain.notify(&NotifyContent::InvalidKePayload(wanted))
                });
            }
            Err(ChildDenial::Refused(refusal)) => {
                let kind = error::notify(refusal.failure).unwrap_or(NotifyType::TemporaryFailure);
                if refusal.failure == Failure::Temporary {
                    ctx.counters.failure(Failure::Temporary);
                } else {
                    ctx.refuse_child(self.label(names), refusal);
                }
                self.plain(ctx, names, path, exchange, kind, effects);
            }
        }
    }

    fn make_child(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        chain: &Chain<'_>,
    ) -> Result<Box<Accepted>, ChildDenial> {
        let payloads = ChildPayloads::read(chain).map_err(unreadable)?;
        let payloads = payloads.ok_or_else(|| Refusal::new(Failure::Syntax, "no selectors"))?;
        let ni = payloads::nonce(chain).map_err(unreadable)?;
        let public = payloads::public(chain).map_err(unreadable)?;
        self.may_change_children()?;
        let replaces = match chain.notify(NotifyType::RekeySa) {
            Some(notify) => {
                let content = notify.content().map_err(unreadable)?;
                let (protocol, spi) = content
                    .child()
                    .ok_or_else(|| Refusal::new(Failure::Syntax, "REKEY_SA without an SPI"))?;
                Some(self.rekeyable(protocol, spi)?)
            }
            None => None,
        };
        if replaces.is_none() && self.active_children() >= ctx.settings.limits.children {
            let detail = format!("{} Child SAs are the limit", ctx.settings.limits.children);
            return Err(Refusal::new(Failure::ChildLimit, detail).into());
        }
        let nr: [u8; NONCE_LENGTH] = ctx.rng.array();
        let offer = Offer {
            sa: &payloads.sa,
            ts_i: &payloads.ts_i,
            ts_r: &payloads.ts_r,
            nonces: Nonces { initiator: ni.as_slice(), responder: &nr },
            exchange: EspExchange::CreateChildSa(public.as_ref().map(|public| public.method)),
            public: public.as_ref(),
            replaces: replaces.clone(),
        };
        let profile = Arc::clone(self.peer.profile());
        let accepted =
            child::accept(ctx, self.ground(names, &profile), &offer).map_err(|refusal| match refusal {
                ChildRefusal::OtherMethod(method) => ChildDenial::OtherMethod(method),
                ChildRefusal::Refused(refusal) => ChildDenial::Refused(refusal),
            })?;
        Ok(Box::new(accepted))
    }

    /// RFC 7296 §2.25.2: not while the IKE SA is rekeyed or closed. Before anything is looked for: what
    /// another SA has inherited already is not there any more, and yet not lost.
    fn may_change_children(&self) -> Result<(), Refusal> {
        let is_rekeying = matches!(self.doing.as_deref(), Some(Doing::RekeyIke { .. }));
        if is_rekeying || self.stage != Stage::Active {
            return Err(temporary("the IKE SA is being replaced"));
        }
        Ok(())
    }

    /// Whether what the peer has begun may go on, of a Child SA in the place of `replaces`.
    pub(super) fn may_make_child(&mut self, replaces: Option<ChildSpi>) -> Result<(), Refusal> {
        self.may_change_children()?;
        let Some(old) = replaces else { return Ok(()) };
        match self.child(old).map(|child| child.stage) {
            Some(ChildStage::Active) => Ok(()),
            Some(ChildStage::Deleting | ChildStage::Replaced { .. }) | None => {
                Err(temporary("the Child SA is being replaced or deleted"))
            }
        }
    }

    /// The Child SA that the peer wants to replace, which it names by the SPI that leads to it.
    fn rekeyable(&mut self, protocol: ChildProtocol, spi: ChildSpi) -> Result<Replaced, ChildDenial> {
        let is_in_the_making = self.child_in_the_making().is_some();
        let child = match protocol {
            ChildProtocol::Esp => self.child_by_outbound(spi),
            ChildProtocol::Ah => None,
        };
        let Some(child) = child else {
            // It may be the one that the peer has made for us already: its response is on the way.
            if is_in_the_making {
                return Err(temporary("a Child SA is being made").into());
            }
            return Err(ChildDenial::NotFound(protocol, spi));
        };
        match child.stage {
            ChildStage::Active => Ok(Replaced {
                inbound: child.inbound,
                local_ts: Arc::clone(&child.local_ts),
                remote_ts: Arc::clone(&child.remote_ts),
            }),
            // RFC 7296 §2.25.1
            ChildStage::Deleting | ChildStage::Replaced { .. } => {
                Err(temporary("the Child SA is being replaced or deleted").into())
            }
        }
    }

    /// Our wish for a Child SA that is not answered yet.
    fn child_in_the_making(&mut self) -> Option<&mut Request> {
        match self.doing.as_deref_mut()? {
            Doing::NewChild(request) | Doing::RekeyChild { request, .. } => Some(request),
            Doing::RekeyIke { .. }
            | Doing::DeleteChild { .. }
            | Doing::DisownChild { .. }
            | Doing::DeleteIke
            | Doing::Liveness
            | Doing::Redirect
            | Doing::Ticket
            | Doing::Update { .. }
            | Doing::Check { .. }
            | Doing::Addresses => None,
        }
    }

    /// The peer has made a Child SA in the place of another one.
    pub(super) fn replaced(&mut self, old: ChildSpi, by: ChildSpi, lowest: &[u8]) {
        if let Some(Doing::RekeyChild { old: ours, rival, .. }) = self.doing.as_deref_mut()
            && *ours == old
        {
            // RFC 7296 §2.8.1: which one of the two goes on is known when our response comes.
            *rival = Some(ChildRival { inbound: by, lowest: lowest.into() });
        } else if let Some(child) = self.child(old) {
            child.stage = ChildStage::Replaced { by };
        }
    }

    fn active_children(&self) -> usize {
        self.children.iter().filter(|child| child.stage == ChildStage::Active).count()
    }

    /// An IKE SA in the place of this one (`RFC 7296 §1.3.2`).
    fn ike_request(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        path: Path,
        chain: &Chain<'_>,
        effects: &mut Effects,
    ) {
        let exchange = ExchangeType::CreateChildSa;
        // Whoever begins something else has given that up.
        self.abandon_draft(ctx);
        let made = self.draft_ike(ctx, chain).and_then(|drafted| {
            let DraftedIke { draft, answer, public } = *drafted;
            let answer = (answer, draft.nr.clone(), public);
            if draft.next().is_some() {
                return Ok((answer, Err(self.keep_ike(ctx, draft))));
            }
            Ok((answer, Ok(self.make_way(ctx, names, draft, effects)?)))
        });
        match made {
            Ok(((answer, nr, public), Err(link))) => {
                self.answer(ctx, names, path, exchange, effects, |chain| {
                    chain.push(&Payload::Sa(answer))?;
                    nonce(chain, &nr)?;
                    chain.push(&Payload::KeyExchange(public))?;
                    chain.notify(&NotifyContent::AdditionalKeyExchange(&link))
                });
            }
            Ok(((answer, nr, public), Ok(mut sa))) => {
                // RFC 5723 §4.1: the ticket is of the new SA.
                let new = sa.names;
                let grant = sa.established().and_then(|sa| sa.grant(ctx, new, chain));
                effects.spawned = Some(sa);
                self.answer(ctx, names, path, exchange, effects, |chain| {
                    chain.push(&Payload::Sa(answer))?;
                    nonce(chain, &nr)?;
                    chain.push(&Payload::KeyExchange(public))?;
                    grant.map_or(Ok(()), |grant| grant.write(chain))
                });
            }
            Err(ChildDenial::OtherMethod(wanted)) => {
                ctx.counters.failure(Failure::OtherGroup);
                self.answer(ctx, names, path, exchange, effects, |chain| {
                    chain.notify(&NotifyContent::InvalidKePayload(wanted))
                });
            }
            Err(ChildDenial::NotFound(..)) => {
                self.plain(ctx, names, path, exchange, NotifyType::TemporaryFailure, effects);
            }
            Err(ChildDenial::Refused(refusal)) => {
                let kind = error::notify(refusal.failure).unwrap_or(NotifyType::TemporaryFailure);
                ctx.counters.failure(refusal.failure);
                self.plain(ctx, names, path, exchange, kind, effects);
            }
        }
    }

    /// Whether the peer may replace the IKE SA.
    pub(super) fn may_make_ike(&self) -> Result<(), Refusal> {
        if self.stage != Stage::Active {
            return Err(temporary("the IKE SA is being closed"));
        }
        match self.doing.as_deref() {
            Some(
                Doing::NewChild(_)
                | Doing::RekeyChild { .. }
                | Doing::DeleteChild { .. }
                | Doing::DisownChild { .. }
                | Doing::DeleteIke,
            ) => {
                return Err(temporary("a Child SA is being made or deleted"));
            }
            Some(Doing::RekeyIke { rival: Some(_), .. }) => {
                return Err(temporary("the IKE SA is being replaced"));
            }
            Some(
                Doing::RekeyIke { rival: None, .. }
                | Doing::Liveness
                | Doing::Redirect
                | Doing::Ticket
                | Doing::Update { .. }
                | Doing::Check { .. }
                | Doing::Addresses,
            )
            | None => {}
        }
        Ok(())
    }

    fn draft_ike(&self, ctx: &mut Context<'_>, chain: &Chain<'_>) -> Result<Box<DraftedIke>, ChildDenial> {
        self.may_make_ike()?;
        let offer = payloads::required(chain, PayloadType::Sa, Sa::decode).map_err(unreadable)?;
        let ni = payloads::nonce(chain).map_err(unreadable)?;
        let public = payloads::public(chain).map_err(unreadable)?;
        let public = public.ok_or_else(|| Refusal::new(Failure::Syntax, "no public value"))?;
        let proposals = ctx.settings.accepted();
        let choice =
            IkeProposal::choose(proposals, &offer, public.method, true).map_err(|none| match none {
                NoChoice::NoProposal => Refusal::new(Failure::NoProposal, offered(&offer)).into(),
                NoChoice::OtherMethod { wanted } => ChildDenial::OtherMethod(wanted),
            })?;
        let ProposalSpi::Ike(Some(theirs)) = choice.spi else {
            return Err(Refusal::new(Failure::Syntax, "no SPI for the new IKE SA").into());
        };
        let chosen = choice.suite;
        let half = child::respond(ctx, chosen.key_exchange, &public.data)?;
        let our_public = KePayload { method: chosen.key_exchange, data: half.public().to_vec().into() };
        let shared = child::secret(half)?;
        let ours = new_ike_spi(ctx);
        let nr: [u8; NONCE_LENGTH] = ctx.rng.array();
        let draft = IkeDraft {
            chosen,
            spis: (ours, theirs),
            role: OriginalRole::Responder,
            ni: ni.as_slice().into(),
            nr: nr.into(),
            secrets: vec![shared],
        };
        let answer = choice.answer(ProposalSpi::Ike(Some(ours)));
        Ok(Box::new(DraftedIke { draft, answer, public: our_public }))
    }

    /// An SA with the same peer, on the same path.
    pub(super) fn successor(
        &self,
        ctx: &mut Context<'_>,
        channel: Channel,
        derivation: crate::ike::sa::keymat::DerivationKey,
        suite: crate::ike::proposal::IkeSuite,
    ) -> Self {
        let peer = Arc::clone(&self.peer);
        let fresh = Fresh { channel, derivation, suite, peer, path: self.path, nat: self.nat };
        Self { mobile: self.mobile_of_successor(), ..Self::new(ctx, fresh) }
    }
}

/// What is answered about a Child SA.
struct ChildAnswer {
    sa: Sa,
    nr: Box<[u8]>,
    ts_i: TrafficSelectors,
    ts_r: TrafficSelectors,
    public: Option<KePayload<'static>>,
}

/// An IKE SA for the peer, and what is answered about it.
struct DraftedIke {
    draft: IkeDraft,
    answer: Sa,
    public: KePayload<'static>,
}

/// Why the peer does not get an SA.
enum ChildDenial {
    /// The one that is to be replaced is not there.
    NotFound(ChildProtocol, ChildSpi),
    /// Another key exchange method is wanted.
    OtherMethod(crate::ike::wire::KeyExchangeMethod),
    Refused(Refusal),
}

impl From<Refusal> for ChildDenial {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Most deletes of what we have never heard of that are remembered for one request.
const MAX_GONE: usize = 16;

fn temporary(detail: &str) -> Refusal {
    Refusal::new(Failure::Temporary, detail)
}
