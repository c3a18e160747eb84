//! SAs that are agreed upon, while further key exchanges are done for them: CREATE_CHILD_SA, and an
//! IKE_FOLLOWUP_KE exchange for each.
//!
//! The responder keeps one [`Pending`] draft at most: the window is one, and whoever begins something
//! else has given it up. It ends with its time.
//!
//! # Two at once
//!
//! Both sides may be replacing the same SA. As ever, the one that was begun with the lowest of the four
//! nonces is too much. Whoever has begun it does not go on with it; whoever has won forgets the other
//! side's draft. A finished SA goes before a draft. Should the two sides see that differently, because a
//! message was late, then the one that has gone on hears STATE_NOT_FOUND, and goes with the SA that there
//! is.
//!
//! # References
//!
//! `RFC 9370 §2.2.4`, `RFC 7296 §2.8.1`, `§2.8.2`, `§2.25`.

use std::num::NonZeroU64;

use crate::ike::error;
use crate::ike::event::Failure;
use crate::ike::io::Path;
use crate::ike::message::Channel;
use crate::ike::proposal::IkeSuite;
use crate::ike::sa::child::{self, Child, Draft, lower};
use crate::ike::sa::context::{Context, Refusal};
use crate::ike::sa::established::tasks::{Doing, IkeRival};
use crate::ike::sa::established::{Established, Stage};
use crate::ike::sa::followup::{Followup, link};
use crate::ike::sa::intermediate::public;
use crate::ike::sa::keymat::{IkeKeys, Nonces, Origin};
use crate::ike::sa::window::Window;
use crate::ike::sa::{Effects, IkeSa, Names, State, spi_pair, suite};
use crate::ike::wire::{
    Chain, ChildSpi, ExchangeType, KeyExchange as KePayload, KeyExchangeMethod, MessageId, NotifyContent,
    NotifyType, OriginalRole, Payload,
};
use crate::secret::Secret;
use crate::time::Instant;

/// An IKE SA in the place of another, until all key exchanges are done.
#[derive(Debug)]
pub(crate) struct IkeDraft {
    pub(super) chosen: IkeSuite,
    /// Our SPI, and the peer's.
    pub(super) spis: (NonZeroU64, NonZeroU64),
    pub(super) role: OriginalRole,
    pub(super) ni: Box<[u8]>,
    pub(super) nr: Box<[u8]>,
    /// Of the key exchanges so far.
    pub(super) secrets: Vec<Secret>,
}

impl IkeDraft {
    /// The method of the next key exchange.
    pub(super) fn next(&self) -> Option<KeyExchangeMethod> {
        self.chosen.additional.methods().nth(self.secrets.len().saturating_sub(1))
    }

    /// The lower one of the nonces, which decides between two of them.
    pub(super) fn lowest(&self) -> &[u8] {
        lower(&self.ni, &self.nr)
    }

    /// The SA, in the place of `old`, which has these names.
    pub(super) fn finish(
        self,
        ctx: &mut Context<'_>,
        old: &Established,
        names: Names,
    ) -> Result<Box<IkeSa>, Refusal> {
        let Self { chosen, spis: (ours, theirs), role, ni, nr, secrets } = self;
        let suite = suite::ike(chosen, ctx.settings.legacy)
            .ok_or_else(|| Refusal::new(Failure::NoProposal, "an unknown algorithm"))?;
        let (spi_i, spi_r) = spi_pair(ours, theirs, role);
        let nonces = Nonces { initiator: &ni, responder: &nr };
        let origin = Origin { provider: ctx.provider, suite, nonces, spi_i, spi_r, role };
        let keys = IkeKeys::rekeyed(origin, &old.derivation, &secrets)
            .map_err(|error| Refusal::new(Failure::Local, error.to_string()))?;
        // RFC 7296 §2.18: Message IDs begin with 0 on both sides.
        let mut channel = Channel::new(keys.ours, keys.theirs, Window::new(MessageId(0), MessageId(0)));
        channel.fragments = old.channel.fragments;
        let sa = old.successor(ctx, channel, keys.derivation, chosen);
        let names = Names { id: names.id, spi_i, spi_r: Some(spi_r), role };
        Ok(Box::new(IkeSa { names, state: State::Established(Box::new(sa)) }))
    }
}

/// A draft of the peer's, which it is to go on with.
#[derive(Debug)]
pub(super) struct Pending {
    what: What,
    /// By what its next message is known.
    link: [u8; LINK_LENGTH],
    expires_at: Instant,
}

#[derive(Debug)]
enum What {
    Child(Draft),
    Ike(IkeDraft),
}

impl Pending {
    /// The SPI that is reserved for it.
    pub(super) const fn reserved(&self) -> Option<ChildSpi> {
        match &self.what {
            What::Child(draft) => Some(draft.inbound),
            What::Ike(_) => None,
        }
    }

    fn next(&self) -> Option<KeyExchangeMethod> {
        match &self.what {
            What::Child(draft) => draft.next(),
            What::Ike(draft) => draft.next(),
        }
    }

    /// What came is one of it.
    fn add(&mut self, secret: Secret) {
        match &mut self.what {
            What::Child(draft) => draft.add(secret),
            What::Ike(draft) => draft.secrets.push(secret),
        }
    }

    pub(super) const fn expires_at(&self) -> Instant {
        self.expires_at
    }
}

impl Established {
    /// Keeps what the peer is to go on with; gives what links the next message to it.
    pub(super) fn keep_child(&mut self, ctx: &mut Context<'_>, draft: Draft) -> [u8; LINK_LENGTH] {
        self.keep(ctx, What::Child(draft))
    }

    /// As [`Self::keep_child`], of an IKE SA.
    pub(super) fn keep_ike(&mut self, ctx: &mut Context<'_>, draft: IkeDraft) -> [u8; LINK_LENGTH] {
        self.keep(ctx, What::Ike(draft))
    }

    fn keep(&mut self, ctx: &mut Context<'_>, what: What) -> [u8; LINK_LENGTH] {
        self.abandon_draft(ctx);
        let (link, expires_at) = (ctx.rng.array(), ctx.now.mono + PATIENCE);
        self.pending = Some(Box::new(Pending { what, link, expires_at }));
        link
    }

    /// Whatever the peer was to go on with is forgotten.
    pub(super) fn abandon_draft(&mut self, ctx: &mut Context<'_>) {
        if let Some(inbound) = self.pending.take().and_then(|pending| pending.reserved()) {
            ctx.spis.release(inbound);
        }
    }

    /// The lowest nonce of the peer's draft in the place of this Child SA.
    pub(super) fn draft_of_child(&self, old: ChildSpi) -> Option<&[u8]> {
        match &self.pending.as_deref()?.what {
            What::Child(draft) if draft.replaces == Some(old) => Some(draft.lowest()),
            What::Child(_) | What::Ike(_) => None,
        }
    }

    /// The lowest nonce of the peer's draft in the place of this IKE SA.
    pub(super) fn draft_of_ike(&self) -> Option<&[u8]> {
        match &self.pending.as_deref()?.what {
            What::Ike(draft) => Some(draft.lowest()),
            What::Child(_) => None,
        }
    }

    /// The peer goes on with its draft, or thinks so.
    pub(super) fn followup(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        path: Path,
        chain: &Chain<'_>,
        effects: &mut Effects,
    ) {
        let exchange = ExchangeType::IkeFollowupKe;
        let link = link(chain);
        let is_it = |pending: &Pending| link.is_some_and(|link| *link == pending.link);
        let pending = self.pending.take_if(|pending| is_it(pending));
        let Some(mut pending) = pending else {
            // RFC 9370 §2.2.4: it may have been forgotten, or lost against ours.
            ctx.counters.failure(Failure::Temporary);
            return self.plain(ctx, names, path, exchange, NotifyType::StateNotFound, effects);
        };
        let result = self.one_more(ctx, &mut pending, chain);
        let public = match result {
            Ok(public) => public,
            Err(refusal) => {
                if let Some(inbound) = pending.reserved() {
                    ctx.spis.release(inbound);
                }
                return self.refuse_draft(ctx, names, path, refusal, effects);
            }
        };
        if pending.next().is_some() {
            let link = self.keep(ctx, pending.what);
            return self.answer(ctx, names, path, exchange, effects, |chain| {
                chain.push(&Payload::KeyExchange(public))?;
                chain.notify(&NotifyContent::AdditionalKeyExchange(&link))
            });
        }
        match pending.what {
            What::Child(draft) => {
                let (inbound, replaces) = (draft.inbound, draft.replaces);
                let lowest: Box<[u8]> = draft.lowest().into();
                match self.finish_child(ctx, names, draft) {
                    Ok((child, install)) => {
                        if let Some(old) = replaces {
                            self.replaced(old, inbound, &lowest);
                        }
                        self.adopt(ctx, names, child, install);
                        self.answer(ctx, names, path, exchange, effects, |chain| {
                            chain.push(&Payload::KeyExchange(public))
                        });
                    }
                    Err(refusal) => self.refuse_draft(ctx, names, path, refusal, effects),
                }
            }
            What::Ike(draft) => match self.make_way(ctx, names, draft, effects) {
                Ok(mut sa) => {
                    let new = sa.names;
                    let grant = sa.established().and_then(|sa| sa.grant(ctx, new, chain));
                    effects.spawned = Some(sa);
                    self.answer(ctx, names, path, exchange, effects, |chain| {
                        chain.push(&Payload::KeyExchange(public))?;
                        grant.map_or(Ok(()), |grant| grant.write(chain))
                    });
                }
                Err(refusal) => self.refuse_draft(ctx, names, path, refusal, effects),
            },
        }
    }

    /// The next key exchange of a draft: gives our half.
    fn one_more(
        &mut self,
        ctx: &mut Context<'_>,
        pending: &mut Pending,
        chain: &Chain<'_>,
    ) -> Result<KePayload<'static>, Refusal> {
        match &pending.what {
            What::Child(draft) => self.may_make_child(draft.replaces)?,
            What::Ike(_) => self.may_make_ike()?,
        }
        let method =
            pending.next().ok_or_else(|| Refusal::new(Failure::Local, "no key exchange is to follow"))?;
        let half = child::respond(ctx, method, &public(chain, method)?.data)?;
        let data = half.public().to_vec().into();
        pending.add(child::secret(half)?);
        Ok(KePayload { method, data })
    }

    /// A Child SA of the peer's that is agreed upon and has all its keys.
    pub(super) fn finish_child(
        &self,
        ctx: &mut Context<'_>,
        names: Names,
        draft: Draft,
    ) -> Result<(Child, Box<crate::ike::io::InstallChild>), Refusal> {
        let inbound = draft.inbound;
        let profile = std::sync::Arc::clone(self.peer.profile());
        draft.finish(ctx, self.ground(names, &profile)).inspect_err(|_local| ctx.spis.release(inbound))
    }

    /// An IKE SA of the peer's that is agreed upon and has all its keys: everything goes to it, or will if
    /// it goes on.
    pub(super) fn make_way(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        draft: IkeDraft,
        effects: &mut Effects,
    ) -> Result<Box<IkeSa>, Refusal> {
        let lowest = draft.lowest().into();
        let mut sa = draft.finish(ctx, self, names)?;
        let spi = sa.names.ours();
        if let Some(Doing::RekeyIke { rival, .. }) = self.doing.as_deref_mut() {
            // RFC 7296 §2.8.2: which one of the two goes on is known when our response comes.
            *rival = Some(IkeRival { spi, lowest });
            if let Some(rival) = sa.established() {
                rival.stage = Stage::Contending;
            }
        } else {
            self.give_way(ctx, names, spi, effects);
        }
        Ok(sa)
    }

    fn refuse_draft(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        path: Path,
        refusal: Refusal,
        effects: &mut Effects,
    ) {
        let kind = error::notify(refusal.failure).unwrap_or(NotifyType::TemporaryFailure);
        if refusal.failure == Failure::Temporary {
            ctx.counters.failure(Failure::Temporary);
        } else {
            ctx.refuse_child(self.label(names), refusal);
        }
        self.plain(ctx, names, path, ExchangeType::IkeFollowupKe, kind, effects);
    }

    /// Sends the request of a key exchange that follows.
    pub(super) fn follow_up<D>(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        followup: &Followup<D>,
        wants_ticket: bool,
    ) -> Result<(), crate::ike::message::SealError> {
        self.ask(ctx, names, ExchangeType::IkeFollowupKe, |chain| {
            followup.write(chain)?;
            // RFC 5723 §6.2: that of the old SA is void then. The one that makes the new SA may be this.
            if wants_ticket { chain.plain(NotifyType::TicketRequest) } else { Ok(()) }
        })
    }
}

/// Octets of our links.
pub(super) const LINK_LENGTH: usize = 8;
/// How long the peer has for each of its messages. RFC 9370 §2.2.4 finds 5 to 20 seconds appropriate;
/// whoever is later hears STATE_NOT_FOUND, and begins anew.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);
