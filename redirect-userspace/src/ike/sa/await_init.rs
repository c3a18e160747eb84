//! The initiator before the IKE_SA_INIT response.
//!
//! Nothing that comes here is authenticated. An answer that cannot be used leaves everything as it
//! is, since the right one may still come (`RFC 7296 §2.21.1`); a detour (COOKIE,
//! INVALID_KE_PAYLOAD) changes what is asked next, and a redirect that has our nonce where
//! (`RFC 5685 §3`).
//!
//! # References
//!
//! `RFC 7296 §1.2`, `§2.6`, `§2.7`, `§2.21.1`; `RFC 5685 §3`.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::crypto::kex::KeyExchange;
use crate::ike::config::Connection;
use crate::ike::event::{Discard, Failure};
use crate::ike::io::Path;
use crate::ike::proposal::{IkeProposal, IkeSuite};
use crate::ike::rules::{Form, Outside};
use crate::ike::sa::await_auth::Introduced;
use crate::ike::sa::child::generate;
use crate::ike::sa::context::{Context, Refusal};
use crate::ike::sa::established::nonce;
use crate::ike::sa::intermediate::Further;
use crate::ike::sa::keymat::{IkeKeys, Nonces, Origin};
use crate::ike::sa::opening::{Errand, Opening};
use crate::ike::sa::payloads;
use crate::ike::sa::ppk::Mix;
use crate::ike::sa::{Effects, Names, suite};
use crate::ike::snapshot::SaSnapshot;
use crate::ike::wire::{
    Chain, ChainWriter, ExchangeType, KeyExchange as KePayload, KeyExchangeMethod, Message, Notify,
    NotifyContent, NotifyType, OriginalRole, Payload, PayloadType, Sa,
};
use crate::machine::Deadline;
use crate::time::Now;

/// IKE_SA_INIT is sent.
#[derive(Debug)]
pub(crate) struct AwaitInit {
    opening: Opening,
    offer: Sa,
    method: KeyExchangeMethod,
    key_exchange: Option<KeyExchange>,
    /// What the peer has said, which may not have been the peer.
    hint: Option<NotifyType>,
}

impl AwaitInit {
    /// Begins an SA, and sends its first message.
    ///
    /// # Errors
    ///
    /// There are no proposals, or something of our own failed.
    pub(crate) fn start(
        ctx: &mut Context<'_>,
        names: Names,
        connection: Arc<Connection>,
        path: Path,
        errand: Errand,
    ) -> Result<Self, Refusal> {
        let lacking = || Refusal::new(Failure::Local, "there are no IKE proposals");
        let proposals = &ctx.settings.ike_proposals;
        let offer = IkeProposal::offer(proposals, None).ok_or_else(lacking)?;
        let method = proposals.iter().find_map(|ours| ours.key_exchanges().next()).ok_or_else(lacking)?;
        let key_exchange = generate(ctx, method)?;
        let opening = Opening::new(ctx, ExchangeType::IkeSaInit, connection, path, errand);
        let mut state = Self { opening, offer, method, key_exchange: Some(key_exchange), hint: None };
        state.send(ctx, names)?;
        Ok(state)
    }

    fn send(&mut self, ctx: &mut Context<'_>, names: Names) -> Result<(), Refusal> {
        let Self { opening, offer, method, key_exchange, .. } = self;
        let public = key_exchange.as_ref().map(|ours| ours.public().to_vec()).unwrap_or_default();
        let has_further = ctx.settings.ike_proposals.iter().any(IkeProposal::has_additional);
        let (ours, has_ppk) = (opening.nonce, opening.connection.profile.ppk.is_some());
        let own = |chain: &mut ChainWriter<'_>| {
            chain.push(&Payload::Sa(offer.clone()))?;
            chain.push(&Payload::KeyExchange(KePayload { method: *method, data: public.into() }))?;
            nonce(chain, &ours)
        };
        opening.send(ctx, names, own, |chain| {
            if has_ppk {
                chain.plain(NotifyType::UsePpk)?;
            }
            if has_further { chain.plain(NotifyType::IntermediateSupported) } else { Ok(()) }
        })
    }

    pub(crate) fn datagram(
        &mut self,
        ctx: &mut Context<'_>,
        names: &mut Names,
        path: Path,
        message: &Message<'_>,
        outside: &Outside<'_>,
        effects: &mut Effects,
    ) -> Result<(), Discard> {
        if !self.opening.is_answer(path, message) {
            return Err(Discard::UnexpectedExchange);
        }
        match outside {
            Outside::Clear(Form::InitResponse) => self.answered(ctx, names, path, message, effects),
            Outside::Clear(_) => self.detour(ctx, *names, &message.payloads, effects),
            Outside::Encrypted(_) | Outside::Fragment(_) | Outside::Hint => Err(Discard::UnexpectedExchange),
        }
    }

    /// The peer wants something else first.
    fn detour(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        chain: &Chain<'_>,
        effects: &mut Effects,
    ) -> Result<(), Discard> {
        // Whatever stands beside it, a detour is what the peer wants.
        let wanted = |kind| chain.notify(kind);
        let notify = wanted(NotifyType::Cookie).or_else(|| wanted(NotifyType::InvalidKePayload));
        let Some(notify) = notify.or_else(|| chain.notifies().next()) else { return Err(Discard::Hint) };
        if notify.kind != NotifyType::Cookie
            && notify.kind != NotifyType::InvalidKePayload
            && let Some(notify) = wanted(NotifyType::Redirect)
        {
            return self.sent_elsewhere(ctx, names, &notify, effects);
        }
        match notify.content() {
            _ if !self.opening.may_detour() => return Err(Discard::Hint),
            Ok(NotifyContent::Cookie(cookie)) => self.opening.show(cookie),
            // RFC 7296 §1.2: a group that we have not offered would be a downgrade.
            Ok(NotifyContent::InvalidKePayload(method))
                if self.is_offered(method) && method != self.method =>
            {
                let ours = generate(ctx, method).map_err(|_local| Discard::Hint)?;
                self.method = method;
                self.key_exchange = Some(ours);
            }
            Ok(_) => {
                self.hint = Some(notify.kind);
                return Err(Discard::Hint);
            }
            Err(_malformed) => return Err(Discard::Hint),
        }
        self.opening.detour();
        if let Err(refusal) = self.send(ctx, names) {
            self.opening.fail(ctx, names, &refusal);
            effects.is_gone = true;
        }
        Ok(())
    }

    /// The gateway wants us elsewhere, or somebody else does (`RFC 5685 §3`).
    fn sent_elsewhere(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        notify: &Notify<'_>,
        effects: &mut Effects,
    ) -> Result<(), Discard> {
        let Some(news) = self.opening.sent_elsewhere(ctx, notify) else {
            // The true answer may still come.
            self.hint = Some(notify.kind);
            return Err(Discard::Hint);
        };
        ctx.tell(names.id, news);
        effects.is_gone = true;
        Ok(())
    }

    fn is_offered(&self, method: KeyExchangeMethod) -> bool {
        let wanted = crate::ike::wire::Transform::KeyExchange(method);
        self.offer.proposals().iter().any(|proposal| proposal.transforms.contains(&wanted))
    }

    fn answered(
        &mut self,
        ctx: &mut Context<'_>,
        names: &mut Names,
        path: Path,
        message: &Message<'_>,
        effects: &mut Effects,
    ) -> Result<(), Discard> {
        let chain = &message.payloads;
        let spi_r = message.header.spi_r.ok_or(Discard::Malformed)?;
        let answer = payloads::required(chain, PayloadType::Sa, Sa::decode)
            .map_err(|_unreadable| Discard::Malformed)?;
        let nr = payloads::nonce(chain).map_err(|_unreadable| Discard::Malformed)?;
        let public = payloads::public(chain).ok().flatten().ok_or(Discard::Malformed)?;
        let chosen = IkeSuite::chosen(&self.offer, &answer).map_err(|_not_offered| Discard::Syntax)?.suite;
        if chosen.key_exchange != self.method || public.method != self.method {
            return Err(Discard::Syntax);
        }
        // RFC 9370 §2.2.1: what follows has to have an exchange to follow in.
        let can_follow = chain.notify(NotifyType::IntermediateSupported).is_some();
        if !can_follow && !chosen.additional.is_empty() {
            return Err(Discard::Syntax);
        }
        let algorithms = suite::ike(chosen, ctx.settings.legacy).ok_or(Discard::Syntax)?;
        if public.data.len() != algorithms.group.answer_length() {
            return Err(Discard::Syntax);
        }
        let says_so = chain.notify(NotifyType::UsePpk).is_some();
        let mix = match Mix::agreed(&self.opening.connection.profile, says_so) {
            Ok(mix) => mix,
            Err(refusal) => {
                // RFC 8784 §3: there is no other answer to be had.
                self.opening.fail(ctx, *names, &refusal);
                effects.is_gone = true;
                return Ok(());
            }
        };
        let half = self.key_exchange.take().ok_or(Discard::UnexpectedExchange)?;
        let shared = half.agree_or_keep(&public.data).map_err(|(half, _refused)| {
            self.key_exchange = Some(half);
            Discard::Syntax
        })?;
        let origin = Origin {
            provider: ctx.provider,
            suite: algorithms,
            nonces: Nonces { initiator: &self.opening.nonce, responder: nr.as_slice() },
            spi_i: names.spi_i,
            spi_r,
            role: OriginalRole::Initiator,
        };
        let keys = match IkeKeys::initial(origin, &shared) {
            Ok(keys) => keys,
            Err(error) => {
                let refusal = Refusal::new(Failure::Local, error.to_string());
                self.opening.fail(ctx, *names, &refusal);
                effects.is_gone = true;
                return Ok(());
            }
        };
        names.spi_r = Some(spi_r);
        let introduced = Introduced {
            further: Further::new(chosen.additional),
            mix,
            ..self.opening.introduced(ctx, *names, (path, message), chosen, &nr, keys)
        };
        match introduced.go_on(ctx, *names) {
            Ok(state) => effects.next = Some(state),
            Err(refusal) => {
                self.opening.fail(ctx, *names, &refusal);
                effects.is_gone = true;
            }
        }
        Ok(())
    }

    pub(crate) const fn remote(&self) -> SocketAddr {
        self.opening.remote()
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.opening.deadline("an IKE_SA_INIT request is repeated")
    }

    pub(crate) fn timeout(&mut self, ctx: &mut Context<'_>, names: Names, effects: &mut Effects) {
        if self.opening.is_dead(ctx) {
            let refusal = match self.hint {
                Some(hint) => Refusal::new(Failure::PeerRefused, hint.to_string()),
                None => self.opening.unanswered(),
            };
            self.opening.fail(ctx, names, &refusal);
            effects.is_gone = true;
        }
    }

    pub(crate) fn snapshot(&self, names: Names, now: Now) -> SaSnapshot {
        self.opening.snapshot(names, now)
    }
}
