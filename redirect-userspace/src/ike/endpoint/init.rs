//! IKE_SA_INIT requests: cookie, limits, proposal, and a new half-open SA.
//!
//! Nothing is kept for a request that is refused, and no answer is longer than its request.
//!
//! # References
//!
//! `RFC 7296 §1.2`, `§2.6`, `§2.7`, `§2.10`, `§2.23`.

use std::hash::{DefaultHasher, Hasher as _};
use std::net::IpAddr;
use std::num::NonZeroU64;

use super::Endpoint;
use super::sources::Room;
use super::table::Beginning;
use crate::codec::DecodeError;
use crate::ike::authn;
use crate::ike::error;
use crate::ike::event::{Discard, Failure, RedirectExchange};
use crate::ike::io::{Output, Path};
use crate::ike::proposal::{Choice, IkeProposal, IkeSuite, NoChoice};
use crate::ike::redirect::OnInit;
use crate::ike::sa::answered::{Answered, Secrets, abilities};
use crate::ike::sa::child::{NONCE_LENGTH, offered, respond};
use crate::ike::sa::context::Refusal;
use crate::ike::sa::intermediate::Further;
use crate::ike::sa::natt::{self, Nat};
use crate::ike::sa::{IkeSa, Names, State, payloads, ppk, suite};
use crate::ike::wire::{
    ChainWriter, Direction, EncodeError, ExchangeType, Header, KeyExchange as KePayload, KeyExchangeMethod,
    Message, MessageId, Nonce, NotifyContent, NotifyType, OriginalRole, Payload, PayloadType, ProposalSpi,
    Sa, SpiR, Version, encode_message,
};
use crate::machine::Outbox;
use crate::time::Now;

/// What is in an IKE_SA_INIT request.
struct Request<'a> {
    offer: Sa,
    public: KePayload<'a>,
    ni: Nonce<'a>,
    /// By what it is known again.
    digest: u64,
}

impl<'a> Request<'a> {
    fn read(message: &Message<'a>, digest: u64) -> Result<Self, DecodeError> {
        let chain = &message.payloads;
        Ok(Self {
            offer: payloads::required(chain, PayloadType::Sa, Sa::decode)?,
            public: payloads::required(chain, PayloadType::KeyExchange, KePayload::decode)?,
            ni: payloads::nonce(chain)?,
            digest,
        })
    }
}

impl Endpoint {
    /// Answers an IKE_SA_INIT request.
    pub(super) fn init(&mut self, now: Now, path: Path, message: &Message<'_>, out: &mut Outbox<Output>) {
        self.counters.init_requests = self.counters.init_requests.saturating_add(1);
        let beginning: Beginning = (message.header.spi_i, path.remote);
        let digest = digest(message.octets());
        if self.is_repeated(now, (&beginning, digest), message, path, out) {
            return;
        }
        let request = match Request::read(message, digest) {
            Ok(request) => request,
            Err(_malformed) => {
                self.counters.discard(Discard::Syntax);
                self.refuse_clear(message, path, out, |chain| chain.plain(NotifyType::InvalidSyntax));
                return;
            }
        };
        if self.is_redirected(path, message, &request.ni, out) {
            return;
        }
        if !self.may_enter(now, path, message, &request.ni, out) {
            return;
        }
        let Some(choice) = self.choose(now, path, message, &request, out) else { return };
        self.open(now, path, message, &request, choice, out);
    }

    /// Sends the answer again to whoever has not got it; whoever must have got it, since he has gone
    /// on, is not answered (`RFC 7296 §2.1`). Another request with the same SPI and from the same
    /// address is another client behind the same NAT, or the same one beginning anew.
    pub(super) fn is_repeated(
        &mut self,
        now: Now,
        (beginning, digest): (&Beginning, u64),
        message: &Message<'_>,
        path: Path,
        out: &mut Outbox<Output>,
    ) -> bool {
        if self.table.is_late(now, beginning, digest) {
            self.counters.discard(Discard::Retransmission);
            return true;
        }
        let Some(sa) = self.table.begun(beginning).and_then(|spi| self.table.get(spi)) else { return false };
        if let State::AnsweredEap(state) = &sa.state
            && state.was_begun_by(message.octets())
        {
            // Its sender has gone on.
            self.counters.discard(Discard::Retransmission);
            return true;
        }
        let State::Answered(answered) = &sa.state else { return false };
        if *answered.request != *message.octets() {
            return false;
        }
        out.push(Output::Transmit { path, octets: answered.response.to_vec() });
        self.counters.discard(Discard::Retransmission);
        true
    }

    /// Sends the client to another gateway if the cluster's table says so: what the fast path does
    /// with requests that reach it, for those that do not. Nothing is kept, so that a cookie would
    /// protect nothing (`RFC 5685 §3`).
    pub(super) fn is_redirected(
        &mut self,
        path: Path,
        message: &Message<'_>,
        ni: &Nonce<'_>,
        out: &mut Outbox<Output>,
    ) -> bool {
        let from = redirected_from(message);
        if from.is_none() && message.payloads.notify(NotifyType::RedirectSupported).is_none() {
            return false;
        }
        let (local, client) = (path.local.ip(), path.remote.ip());
        let to = match self.targets.on_init(message.header.spi_i, local, client, from) {
            OnInit::Keep => return false,
            OnInit::To(to) => to,
            OnInit::Refuse => {
                self.counters.discard(Discard::Limit);
                return true;
            }
        };
        let is_sent = self.refuse_clear(message, path, out, |chain| {
            chain.notify(&NotifyContent::Redirect { gateway: to, nonce: Some(ni.clone()) })
        });
        if is_sent {
            self.counters.redirect(RedirectExchange::Init);
        }
        is_sent
    }

    /// Whether there is room, and whether the sender is where it says it is.
    pub(super) fn may_enter(
        &mut self,
        now: Now,
        path: Path,
        message: &Message<'_>,
        ni: &Nonce<'_>,
        out: &mut Outbox<Output>,
    ) -> bool {
        self.weigh_cookies(now, out);
        let limits = self.settings.limits;
        // Nobody can use up what a place may have without being there.
        let room = self.table.sources.room(now, path.remote.ip(), &limits);
        let has_many = room != Room::Enough;
        if (self.asks_for_cookies || has_many) && !self.has_cookie(now, path, message, ni) {
            let source = path.remote.ip();
            let spi = message.header.spi_i;
            let ni = ni.as_slice();
            if let Some(cookie) = self.jar.bake(now, source, spi, ni) {
                self.counters.cookies = self.counters.cookies.saturating_add(1);
                self.refuse_clear(message, path, out, |chain| chain.notify(&NotifyContent::Cookie(cookie)));
            }
            return false;
        }
        let refusal = if self.table.half_open() >= limits.half_open {
            let detail = format!("{} half-open SAs are the limit", limits.half_open);
            Some(Refusal::new(Failure::HalfOpenLimit, detail))
        } else if let Room::NoneForSource(limit) = room {
            let detail = format!("{limit} half-open SAs of one address are the limit");
            Some(Refusal::new(Failure::SourceLimit, detail))
        } else if let Room::NoneForPrefix(limit) = room {
            let detail = format!("{limit} half-open SAs of one network are the limit");
            Some(Refusal::new(Failure::PrefixLimit, detail))
        } else if self.table.len() >= limits.sas {
            Some(Refusal::new(Failure::SaLimit, format!("{} SAs are the limit", limits.sas)))
        } else {
            None
        };
        match refusal {
            Some(refusal) => {
                self.counters.discard(Discard::Limit);
                self.refuse(now, path, refusal, out);
                false
            }
            None => true,
        }
    }

    fn has_cookie(&mut self, now: Now, path: Path, message: &Message<'_>, ni: &Nonce<'_>) -> bool {
        let Some(notify) = message.payloads.notify(NotifyType::Cookie) else { return false };
        let source = path.remote.ip();
        let spi = message.header.spi_i;
        let is_good = self.jar.is_good(now, source, spi, ni.as_slice(), notify.data);
        if !is_good {
            self.counters.discard(Discard::Cookie);
        }
        is_good
    }

    fn choose(
        &mut self,
        now: Now,
        path: Path,
        message: &Message<'_>,
        request: &Request<'_>,
        out: &mut Outbox<Output>,
    ) -> Option<Choice<IkeSuite>> {
        let settings = std::sync::Arc::clone(&self.settings);
        let proposals = settings.accepted();
        // RFC 9370 §2.2.1: they need an exchange of their own.
        let can_follow = message.payloads.notify(NotifyType::IntermediateSupported).is_some();
        match IkeProposal::choose(proposals.clone(), &request.offer, request.public.method, can_follow) {
            Ok(choice) => {
                let group = suite::group(choice.suite.key_exchange);
                let length = group.map(crate::crypto::kex::Group::public_length);
                if length == Some(request.public.data.len()) {
                    return Some(choice);
                }
                let detail = format!("{} octets for {}", request.public.data.len(), request.public.method);
                self.refuse(now, path, Refusal::new(Failure::BadPublicValue, detail), out);
                self.refuse_clear(message, path, out, |chain| chain.plain(NotifyType::InvalidSyntax));
            }
            Err(NoChoice::NoProposal) => {
                let wanted: Vec<String> = proposals.map(ToString::to_string).collect();
                let detail = format!("offered {}, wanted {}", offered(&request.offer), wanted.join(" or "));
                self.refuse(now, path, Refusal::new(Failure::NoProposal, detail), out);
                self.refuse_clear(message, path, out, |chain| {
                    error::notify(Failure::NoProposal).map_or(Ok(()), |kind| chain.plain(kind))
                });
            }
            Err(NoChoice::OtherMethod { wanted }) => self.want_method(message, path, wanted, out),
        }
        None
    }

    fn want_method(
        &mut self,
        message: &Message<'_>,
        path: Path,
        wanted: KeyExchangeMethod,
        out: &mut Outbox<Output>,
    ) {
        self.counters.failure(Failure::OtherGroup);
        self.refuse_clear(message, path, out, |chain| chain.notify(&NotifyContent::InvalidKePayload(wanted)));
    }

    /// Makes a half-open SA, and sends the response.
    fn open(
        &mut self,
        now: Now,
        path: Path,
        message: &Message<'_>,
        request: &Request<'_>,
        choice: Choice<IkeSuite>,
        out: &mut Outbox<Output>,
    ) {
        let chosen = choice.suite;
        let id = self.id();
        let spi: NonZeroU64 = self.spis.ike(&mut self.rng);
        let spi_i = message.header.spi_i;
        let names = Names { id, spi_i, spi_r: Some(SpiR(spi)), role: OriginalRole::Responder };
        let settings = std::sync::Arc::clone(&self.settings);
        let (_, mut ctx) = self.split(now, out);
        let half = match respond(&mut ctx, chosen.key_exchange, &request.public.data) {
            Ok(half) => half,
            Err(refusal) => return ctx.refuse(path.remote, refusal),
        };
        let nr: [u8; NONCE_LENGTH] = ctx.rng.array();
        let uses_ppk = message.payloads.notify(NotifyType::UsePpk).is_some() && ppk::has_any(&settings);
        let header = names.header(ExchangeType::IkeSaInit, Direction::Response, MessageId::FIRST);
        let public = KePayload { method: chosen.key_exchange, data: half.public().into() };
        let profiles = || settings.profiles.iter().map(AsRef::as_ref);
        let requests = [authn::request(profiles()), authn::status_request(profiles())];
        let response = encode_message(Vec::new(), &header, |chain| {
            chain.push(&Payload::Sa(choice.answer(ProposalSpi::Ike(None))))?;
            chain.push(&Payload::KeyExchange(public))?;
            crate::ike::sa::established::nonce(chain, &nr)?;
            natt::announce(chain, spi_i, names.spi_r, path, settings.encapsulation, ctx.rng)?;
            for request_for in requests.into_iter().flatten() {
                chain.push(&Payload::CertRequest(request_for))?;
            }
            abilities(chain)?;
            if uses_ppk {
                chain.plain(NotifyType::UsePpk)?;
            }
            if !chosen.additional.is_empty() {
                chain.plain(NotifyType::IntermediateSupported)?;
            }
            // RFC 6023 §3: only the responder says so.
            chain.plain(NotifyType::ChildlessSupported)
        });
        let Ok(response) = response else { return };
        let nat = Nat::detect(&message.payloads, spi_i, None, path, settings.encapsulation);
        let redirected_from = redirected_from(message);
        let chain = &message.payloads;
        let follows_redirects =
            redirected_from.is_some() || chain.notify(NotifyType::RedirectSupported).is_some();
        let state = Answered {
            request: message.octets().into(),
            response: response.as_slice().into(),
            ni: request.ni.as_slice().into(),
            nr: nr.into(),
            suite: chosen,
            path,
            nat,
            fragments: chain.notify(NotifyType::FragmentationSupported).is_some(),
            hashes: payloads::hashes(chain),
            redirected_from,
            follows_redirects,
            uses_ppk,
            resumption: None,
            secrets: Secrets::Halves(half),
            further: Further::new(chosen.additional),
            made_at: now.mono,
            expires_at: now.mono + settings.half_open_timeout,
        };
        let sa = IkeSa { names, state: State::Answered(Box::new(state)) };
        self.table.insert(now, spi.get(), Box::new(sa));
        self.table.begin(spi.get(), (spi_i, path.remote), request.digest);
        out.push(Output::Transmit { path, octets: response });
    }

    /// Answers in clear, without an SPI of ours, unless the answer would be longer than the request;
    /// says whether it did.
    pub(super) fn refuse_clear(
        &self,
        message: &Message<'_>,
        path: Path,
        out: &mut Outbox<Output>,
        payloads: impl FnOnce(&mut ChainWriter<'_>) -> Result<(), EncodeError>,
    ) -> bool {
        let header = Header {
            spi_i: message.header.spi_i,
            spi_r: None,
            version: Version::V2,
            exchange: message.header.exchange,
            sender: OriginalRole::Responder,
            direction: Direction::Response,
            message_id: message.header.message_id,
        };
        let Ok(octets) = encode_message(Vec::new(), &header, payloads) else { return false };
        if octets.len() > message.octets().len() {
            return false;
        }
        out.push(Output::Transmit { path, octets });
        true
    }
}

/// By what a request is known again. Whoever makes two with the same one harms himself.
pub(super) fn digest(octets: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(octets);
    hasher.finish()
}

/// The gateway that has sent the client here. A notify that cannot be read says nothing.
pub(super) fn redirected_from(message: &Message<'_>) -> Option<IpAddr> {
    match message.payloads.notify(NotifyType::RedirectedFrom)?.content() {
        Ok(NotifyContent::RedirectedFrom(address)) => Some(address),
        Ok(_) | Err(_) => None,
    }
}
