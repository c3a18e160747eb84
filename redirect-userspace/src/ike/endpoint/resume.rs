//! IKE_SESSION_RESUME requests: a ticket in the place of a proposal and a key exchange.
//!
//! In everything else it is as with IKE_SA_INIT. Nothing is kept for a ticket that is refused, and who
//! sends one learns nothing but that.
//!
//! # References
//!
//! `RFC 5723 §4.3.2`, `§9.3`; `RFC 5685 §3`.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::Endpoint;
use super::init::{digest, redirected_from};
use super::table::Beginning;
use crate::ike::authn::eap::proof::is_for;
use crate::ike::event::{CloseReason, Discard, Failure};
use crate::ike::io::{Output, Path, UsedTicket};
use crate::ike::sa::answered::{Answered, Secrets, abilities};
use crate::ike::sa::child::NONCE_LENGTH;
use crate::ike::sa::context::Refusal;
use crate::ike::sa::established::nonce;
use crate::ike::sa::keymat::DerivationKey;
use crate::ike::sa::natt::{self, Nat};
use crate::ike::sa::resumption::{Resumption, is_ours};
use crate::ike::sa::{IkeSa, Names, State, payloads, suite};
use crate::ike::ticket::{Ticket, TicketId, Unusable};
use crate::ike::wire::{
    Direction, ExchangeType, Message, MessageId, Nonce, NotifyContent, NotifyType, OriginalRole, SpiR,
    encode_message,
};
use crate::machine::Outbox;
use crate::time::Now;

impl Endpoint {
    /// Answers an IKE_SESSION_RESUME request.
    pub(super) fn resume(&mut self, now: Now, path: Path, message: &Message<'_>, out: &mut Outbox<Output>) {
        self.counters.resume_requests = self.counters.resume_requests.saturating_add(1);
        let beginning: Beginning = (message.header.spi_i, path.remote);
        let digest = digest(message.octets());
        if self.is_repeated(now, (&beginning, digest), message, path, out) {
            return;
        }
        let ni = match payloads::nonce(&message.payloads) {
            Ok(ni) => ni,
            Err(_malformed) => {
                self.counters.discard(Discard::Syntax);
                self.refuse_clear(message, path, out, |chain| chain.plain(NotifyType::InvalidSyntax));
                return;
            }
        };
        if self.is_redirected(path, message, &ni, out) || !self.may_enter(now, path, message, &ni, out) {
            return;
        }
        match self.ticket(now, message) {
            Ok(resumption) => self.answer_resume(now, path, message, (&ni, digest), resumption, out),
            Err(refusal) => {
                self.refuse(now, path, refusal, out);
                self.refuse_clear(message, path, out, |chain| chain.plain(NotifyType::TicketNack));
            }
        }
    }

    /// The ticket of a request, if it is good and what it says still holds here.
    fn ticket(&self, now: Now, message: &Message<'_>) -> Result<Resumption, Refusal> {
        let (id, ticket) = self
            .open_ticket(now, message)
            .map_err(|unusable| Refusal::new(unusable.failure(), unusable.to_string()))?;
        let settings = &self.settings;
        let named = settings.profiles.iter().find(|profile| profile.name == ticket.profile);
        let is_of = |profile: &&Arc<crate::ike::config::Profile>| {
            let authentication = &profile.authentication;
            let is_of = match &ticket.basis.eap_identity {
                Some(user) => is_for(profile, user),
                None => authentication.remote_ids.iter().any(|ids| ids.is_match(&ticket.initiator)),
            };
            let expected = crate::ike::authn::Means::expected(&authentication.remote);
            profile.resumes && is_of && expected == ticket.basis.means
        };
        let Some(profile) = named.filter(is_of).cloned() else {
            let detail = format!("a ticket of profile {}, which does not resume it here", ticket.profile);
            return Err(Refusal::new(Failure::NoProfile, detail));
        };
        // What an operator does not want any more is not brought back.
        let is_allowed = settings.accepted().any(|proposal| proposal.has(&ticket.suite));
        if !is_allowed || suite::ike(ticket.suite, settings.legacy).is_none() {
            let detail = format!("a ticket with {}, which is no proposal here", ticket.suite);
            return Err(Refusal::new(Failure::NoProposal, detail));
        }
        Ok(Resumption { id, ticket, profile })
    }

    fn open_ticket(&self, now: Now, message: &Message<'_>) -> Result<(TicketId, Ticket), Unusable> {
        let sealer = self.settings.tickets.as_ref().ok_or(Unusable::NoKeys)?;
        let notify = message.payloads.notify(NotifyType::TicketOpaque);
        let content = notify.and_then(|notify| notify.content().ok());
        let Some(NotifyContent::TicketOpaque(octets)) = content else {
            return Err(Unusable::Malformed { length: 0 });
        };
        let (id, ticket) = sealer.open(now.wall, octets.0)?;
        if self.tickets.used.is_used(id) {
            return Err(Unusable::Used);
        }
        Ok((id, ticket))
    }

    /// Makes a half-open SA, and sends the response.
    fn answer_resume(
        &mut self,
        now: Now,
        path: Path,
        message: &Message<'_>,
        (ni, digest): (&Nonce<'_>, u64),
        resumption: Resumption,
        out: &mut Outbox<Output>,
    ) {
        let id = self.id();
        let spi: NonZeroU64 = self.spis.ike(&mut self.rng);
        let spi_i = message.header.spi_i;
        let names = Names { id, spi_i, spi_r: Some(SpiR(spi)), role: OriginalRole::Responder };
        let settings = Arc::clone(&self.settings);
        let nr: [u8; NONCE_LENGTH] = self.rng.array();
        let header = names.header(ExchangeType::IkeSessionResume, Direction::Response, MessageId::FIRST);
        let response = encode_message(Vec::new(), &header, |chain| {
            nonce(chain, &nr)?;
            natt::announce(chain, spi_i, names.spi_r, path, settings.encapsulation, &mut self.rng)?;
            abilities(chain)
        });
        let Ok(response) = response else { return };
        let chain = &message.payloads;
        let nat = Nat::detect(chain, spi_i, None, path, settings.encapsulation);
        let redirected_from = redirected_from(message);
        // RFC 5723 §5: nothing of what the client could do is taken over from the session.
        let follows_redirects =
            redirected_from.is_some() || chain.notify(NotifyType::RedirectSupported).is_some();
        let prf = suite::ike(resumption.ticket.suite, settings.legacy).map(|suite| suite.prf);
        let Some(prf) = prf else { return };
        let state = Answered {
            request: message.octets().into(),
            response: response.as_slice().into(),
            ni: ni.as_slice().into(),
            nr: nr.into(),
            suite: resumption.ticket.suite,
            path,
            nat,
            fragments: chain.notify(NotifyType::FragmentationSupported).is_some(),
            hashes: payloads::hashes(chain),
            redirected_from,
            follows_redirects,
            // RFC 8784 §3: what was mixed in is in the keys of the session.
            uses_ppk: false,
            secrets: Secrets::Session(DerivationKey::new(prf, resumption.ticket.key.clone())),
            resumption: Some(Box::new(resumption)),
            // The session has the keys of its key exchanges; there is none now.
            further: None,
            made_at: now.mono,
            expires_at: now.mono + settings.half_open_timeout,
        };
        let sa = IkeSa { names, state: State::Answered(Box::new(state)) };
        self.table.insert(now, spi.get(), Box::new(sa));
        self.table.begin(spi.get(), (spi_i, path.remote), digest);
        out.push(Output::Transmit { path, octets: response });
    }

    /// Drops the SA of a session that goes on in another one (`RFC 5723 §4.3.4`: without a word).
    pub(super) fn retire(&mut self, now: Now, used: &UsedTicket, out: &mut Outbox<Output>) {
        let Some(origin) = &used.origin else { return };
        let (table, mut ctx) = self.split(now, out);
        if !is_ours(&ctx, origin) {
            return;
        }
        let (spi_i, spi_r) = origin.spis;
        // Whichever of the two is ours: keys and roles may have changed since the session began.
        for spi in [spi_i.0.get(), spi_r.0.get()] {
            let is_it = table.get(spi).is_some_and(|sa| {
                sa.names.spi_i == spi_i && sa.names.spi_r == Some(spi_r) && !sa.is_half_open()
            });
            if is_it && let Some(mut sa) = table.take(spi) {
                sa.drop_silently(&mut ctx, CloseReason::Resumed);
                table.remove(spi);
            }
        }
    }
}
