//! The responder while a client proves by EAP who it is.
//!
//! What the first request has asked for, addresses and a Child SA, waits until the end: it is kept as it
//! came.
//!
//! # Picture
//!
//! ```text
//! initiator                                    responder
//! IDi, [CERTREQ,] [IDr,] SA, TSi, TSr ────▶
//!                                      ◀──── IDr, CERT, AUTH, EAP request     Local, or Asking a server
//! EAP response ───────────────────────▶
//!                                      ◀──── EAP request, …, EAP Success      Proof
//! AUTH ───────────────────────────────▶
//!                                      ◀──── AUTH, SA, TSi, TSr               established
//! ```
//!
//! # References
//!
//! `RFC 7296 §2.16`, `RFC 5998`, `RFC 5685 §6`, `RFC 5723 §4.2`.

mod relay;

use std::sync::Arc;

use self::relay::Relay;
use crate::gateway::GatewayAddress;
use crate::ike::aaa::Grants;
use crate::ike::authn::asks_for_status;
use crate::ike::authn::eap::proof::{Admission, Passed, admit, named_by};
use crate::ike::authn::eap::{self, By, EapError, Gate, MethodError, Msk, Reply, Server};
use crate::ike::config::Profile;
use crate::ike::event::{Discard, Event, Failure, RedirectExchange, RedirectReason, SaLabel};
use crate::ike::identity::{Shown, shown_user};
use crate::ike::io::{Output, Path};
use crate::ike::message::Verified;
use crate::ike::rules::{self, Form, Outside};
use crate::ike::sa::answered::{Answered, Believed, Denial, Secrets, Wishes, refused};
use crate::ike::sa::context::{Context, Refusal};
use crate::ike::sa::payloads::{self, unreadable};
use crate::ike::sa::peer::Peer;
use crate::ike::sa::proof::{Introduction, accept_eap};
use crate::ike::sa::window::Requested;
use crate::ike::sa::{Effects, Names, State, transmit};
use crate::ike::snapshot::SaSnapshot;
use crate::ike::wire::{
    Auth, Chain, Direction, Eap, ExchangeType, Id, Message, NotifyContent, NotifyType, OriginalRole, Payload,
    PayloadType,
};
use crate::time::{Instant, Now};

/// IKE_AUTH has begun, and a client is to prove by EAP who it is.
#[derive(Debug)]
pub(crate) struct AnsweredEap {
    /// Everything that is known since IKE_SA_INIT.
    answered: Answered,
    /// The first request.
    first: Verified,
    profile: Arc<Profile>,
    gate: Arc<Gate>,
    /// Who the client says it is, for people and servers.
    user: Arc<str>,
    /// Who it is by its IDi, if that names a user.
    named: Option<Arc<str>>,
    /// Who we have said we are, once we have; until then nothing was answered.
    ours: Option<Id<'static>>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The client's next EAP packet, where we know the users.
    Local(Box<Server>),
    /// The client's next EAP packet, where a server knows them.
    Relay(Relay),
    /// What a server says.
    Asking(Relay),
    /// The client's AUTH.
    Proof(Box<Proof>),
    /// Nothing.
    Over,
}

/// What EAP has led to.
#[derive(Debug)]
struct Proof {
    passed: Passed,
    keys: Option<Msk>,
    grants: Grants,
}

impl Answered {
    /// The client wants EAP, says its first request with these payloads.
    pub(crate) fn begin_eap(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        verified: &Verified,
        chain: &Chain<'_>,
        effects: &mut Effects,
    ) -> Result<(), Denial> {
        if self.resumption.is_some() {
            // RFC 5723 §4.3.3: whoever goes on with a session proves that it knows its keys.
            let detail = "a ticket, and no proof that its keys are known";
            return Err(Refusal::new(Failure::Authentication, detail).into());
        }
        let id = payloads::required(chain, PayloadType::IdI, Id::decode).map_err(unreadable)?;
        let asked = payloads::optional(chain, PayloadType::IdR, Id::decode).map_err(unreadable)?;
        // What cannot be read is refused now, and not when somebody has typed a password.
        Wishes::read(chain).map_err(unreadable)?;
        let local = self.path.local.ip();
        let Admission { profile, gate, user } =
            admit(&ctx.settings.profiles, &id, asked.as_ref(), local).map_err(refused)?;
        // Before anybody types a password.
        self.may_do_without(&profile)?;
        if gate.redirects_first
            && let Some(to) = self.redirect(ctx, names, &profile)
        {
            return self.send_away_first(ctx, names, (&profile, &id, asked.as_ref()), to, effects);
        }
        let shown = user.clone().unwrap_or_else(|| Shown(&id).to_string().into());
        let (stage, begins) = match &gate.by {
            By::Us(makers) => {
                let (server, reply) = Server::begin(&mut ctx.of_method(), makers.clone(), user.as_deref());
                (Stage::Local(Box::new(server)), Begins::With(reply))
            }
            By::Aaa => {
                let [identifier] = ctx.rng.array();
                let is_identity = user.is_none();
                let relay = Relay::new(names, identifier, is_identity);
                (Stage::Relay(relay), if is_identity { Begins::AskingWho } else { Begins::AskingAaa })
            }
        };
        let mut state = AnsweredEap {
            answered: self.take(),
            first: verified.clone(),
            profile,
            gate,
            named: named_by(&id),
            user: shown,
            ours: None,
            stage,
        };
        let result = match begins {
            Begins::With(reply) => state.reply(ctx, names, reply, effects),
            Begins::AskingWho => state.ask_who(ctx, names, effects),
            Begins::AskingAaa => state.ask_for_known(ctx, names),
        };
        if let Err(denial) = result {
            state.fail(ctx, names, denial, effects);
        }
        if effects.next.is_none() && !effects.is_gone {
            effects.next = Some(State::AnsweredEap(Box::new(state)));
        }
        Ok(())
    }

    /// Everything, for the state that goes on.
    fn take(&mut self) -> Self {
        Self {
            request: std::mem::take(&mut self.request),
            response: std::mem::take(&mut self.response),
            ni: std::mem::take(&mut self.ni),
            nr: std::mem::take(&mut self.nr),
            hashes: self.hashes.take(),
            resumption: self.resumption.take(),
            secrets: std::mem::replace(&mut self.secrets, Secrets::Failed),
            further: self.further.take(),
            ..*self
        }
    }

    /// Sends a client elsewhere before it has said anything but a name (`RFC 5685 §6`): there is no SA,
    /// and our proof is all that it gets.
    fn send_away_first(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        (profile, id, asked): (&Arc<Profile>, &Id<'_>, Option<&Id<'_>>),
        to: GatewayAddress,
        effects: &mut Effects,
    ) -> Result<(), Denial> {
        let exchange = self.exchange(ctx)?;
        let ours = Introduction::welcome(&exchange, profile, asked, false).map_err(refused)?;
        ctx.counters.redirect(RedirectExchange::Auth);
        let identity = Shown(id).to_string().into();
        let sa = SaLabel { id: names.id, remote: self.path.remote, identity, profile: profile.name.clone() };
        ctx.event(Event::Redirected { sa, to: to.clone(), why: RedirectReason::Profile });
        self.deny(ctx, names, effects, |chain| {
            ours.write(chain)?;
            chain.notify(&NotifyContent::Redirect { gateway: to, nonce: None })
        });
        Ok(())
    }
}

/// How a conversation begins.
enum Begins {
    /// With what we say.
    With(Reply),
    /// With the question who the client is.
    AskingWho,
    /// With a question to a server.
    AskingAaa,
}

impl AnsweredEap {
    pub(crate) const fn expires_at(&self) -> Instant {
        self.answered.expires_at
    }

    pub(crate) const fn path(&self) -> Path {
        self.answered.path
    }

    /// Whether this is the request that it was begun with.
    pub(crate) fn was_begun_by(&self, octets: &[u8]) -> bool {
        *self.answered.request == *octets
    }

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
        let is_farewell = header.exchange == ExchangeType::Informational;
        if !is_farewell && header.exchange != ExchangeType::IkeAuth || header.direction != Direction::Request
        {
            return Err(Discard::UnexpectedExchange);
        }
        let Secrets::Keys(keys) = &mut self.answered.secrets else { return Err(Discard::Integrity) };
        let requested = keys.channel.window.requested(header.message_id);
        let opened = match requested {
            Requested::New | Requested::Repeated => keys.channel.check(message, outside)?,
            Requested::Outside => return Err(Discard::MessageId),
        };
        if requested == Requested::Repeated {
            if opened.wants_answer() {
                transmit(ctx, path, keys.channel.window.answer());
            }
            return Err(Discard::Retransmission);
        }
        if matches!(self.stage, Stage::Asking(_)) {
            // It is answered when the server has answered.
            return Err(Discard::Retransmission);
        }
        self.answered.path = path;
        self.answered.expires_at = self.patience(ctx);
        let Secrets::Keys(keys) = &mut self.answered.secrets else { return Err(Discard::Integrity) };
        let Some(verified) = keys.channel.collect(header, opened)? else { return Ok(()) };
        if is_farewell {
            return self.farewell(ctx, names, &verified, effects);
        }
        if let Err(denial) = self.round(ctx, names, &verified, effects) {
            self.fail(ctx, names, denial, effects);
        }
        Ok(())
    }

    /// Until when it is waited for what comes next: people type passwords, and look for their telephones.
    fn patience(&self, ctx: &Context<'_>) -> Instant {
        let each = ctx.settings.half_open_timeout;
        (ctx.now.mono + each).min(self.answered.made_at + each * MOST_WAITS)
    }

    /// The client gives up, and says so: strongSwan's does, when it hears that its password is wrong.
    // RFC 7296 §1.5, §2.21.2
    fn farewell(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        verified: &Verified,
        effects: &mut Effects,
    ) -> Result<(), Discard> {
        let chain = verified.chain().map_err(|_malformed| Discard::Syntax)?;
        let is_over = chain.find(PayloadType::Delete).is_some() || payloads::error(&chain).is_some();
        if !is_over {
            return Err(Discard::UnexpectedExchange);
        }
        self.abandon(ctx);
        let refusal = self.why_gone("the client has given up");
        ctx.refuse(self.answered.path.remote, refusal.of(shown_user(&self.user)));
        self.stage = Stage::Over;
        self.answered.refuse(ctx, names, ExchangeType::Informational, effects, |_nothing| Ok(()));
        Ok(())
    }

    /// Why a client is gone that has not been refused: what it has heard before, or this.
    fn why_gone(&self, otherwise: &str) -> Refusal {
        let told = match &self.stage {
            Stage::Local(server) => server.failing().map(failed),
            Stage::Relay(relay) => relay.why_gone(),
            Stage::Asking(_) | Stage::Proof(_) | Stage::Over => None,
        };
        told.unwrap_or_else(|| Refusal::new(Failure::Timeout, otherwise))
    }

    /// Takes in a request after the first one.
    fn round(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        verified: &Verified,
        effects: &mut Effects,
    ) -> Result<(), Denial> {
        let chain = verified.chain().map_err(unreadable)?;
        let form = rules::check(ExchangeType::IkeAuth, Direction::Request, &chain)?;
        match (form, std::mem::replace(&mut self.stage, Stage::Over)) {
            (Form::EapRound, Stage::Local(mut server)) => {
                let packet = payloads::required(&chain, PayloadType::Eap, Eap::decode).map_err(malformed)?;
                let reply = server.take(&mut ctx.of_method(), &packet);
                if !server.identity().is_empty() {
                    self.user = server.identity().into();
                }
                self.stage = Stage::Local(server);
                self.reply(ctx, names, reply, effects)
            }
            (Form::EapRound, Stage::Relay(relay)) => {
                self.stage = Stage::Relay(relay);
                let packet = payloads::required(&chain, PayloadType::Eap, Eap::decode).map_err(malformed)?;
                self.hand_on(ctx, names, &packet)
            }
            (Form::EapEnd, Stage::Proof(proof)) => {
                let auth = payloads::required(&chain, PayloadType::Auth, Auth::decode).map_err(unreadable)?;
                self.finish(ctx, names, *proof, (auth, &chain), effects)
            }
            (_, stage) => {
                self.stage = stage;
                let detail = "a message of IKE_AUTH that does not come then";
                Err(Refusal::new(Failure::Syntax, detail).into())
            }
        }
    }

    /// Answers with what EAP says.
    fn reply(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        reply: Reply,
        effects: &mut Effects,
    ) -> Result<(), Denial> {
        match reply {
            Reply::Request(packet) => self.send(ctx, names, packet, effects),
            Reply::Success(packet, outcome) => {
                let eap::Outcome { keys, identity, valid_until } = outcome;
                let name = identity.map_or_else(|| Arc::clone(&self.user), |identity| identity.into());
                self.user = Arc::clone(&name);
                let passed = Passed { name, valid_until };
                self.stage = Stage::Proof(Box::new(Proof { passed, keys, grants: Grants::default() }));
                self.send(ctx, names, packet, effects)
            }
            Reply::Failure(packet, error) => {
                self.stage = Stage::Over;
                self.say_no(ctx, names, Some(packet), failed(&error), effects);
                Ok(())
            }
        }
    }

    /// Sends an EAP packet: the first time with who we are.
    fn send(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        packet: Vec<u8>,
        effects: &mut Effects,
    ) -> Result<(), Denial> {
        let profile = Arc::clone(&self.profile);
        let ours = match &self.ours {
            Some(_) => None,
            None => {
                let chain = self.first.chain().map_err(unreadable)?;
                let asked = payloads::optional(&chain, PayloadType::IdR, Id::decode).map_err(unreadable)?;
                let exchange = self.answered.exchange(ctx)?;
                let is_bare = self.may_be_bare(&chain);
                let ours =
                    Introduction::welcome(&exchange, &profile, asked.as_ref(), is_bare).map_err(refused)?;
                let is_asked = asks_for_status(&chain);
                Some(if is_asked { ours.with_statuses(&exchange, &profile) } else { ours })
            }
        };
        let eap = Eap::new(packet).map_err(|error| Refusal::new(Failure::Local, error.to_string()))?;
        if let Some(ours) = &ours {
            self.ours = Some(ours.id.clone());
        }
        let Secrets::Keys(keys) = &mut self.answered.secrets else {
            effects.is_gone = true;
            return Ok(());
        };
        let channel = &mut keys.channel;
        let id = channel.window.expected().ok_or_else(|| Refusal::new(Failure::Local, "no Message ID"))?;
        let header = names.header(ExchangeType::IkeAuth, Direction::Response, id);
        let size = ctx.settings.fragment_size;
        let sealed = channel.seal(&header, self.answered.path, size, ctx.rng, |chain| {
            if let Some(ours) = ours {
                ours.write(chain)?;
            }
            chain.push(&Payload::Eap(eap))
        });
        let datagrams = sealed.map_err(|error| Refusal::new(Failure::Local, error.to_string()))?;
        transmit(ctx, self.answered.path, &datagrams);
        channel.window.answered(datagrams);
        Ok(())
    }

    /// Whether we need not prove who we are before the client does: it has said so, and every method that
    /// may come is one that proves it (`RFC 5998 §3`).
    fn may_be_bare(&self, first: &Chain<'_>) -> bool {
        let is_safe = match &self.gate.by {
            By::Us(makers) => makers.iter().all(|maker| maker.may_stand_alone()),
            By::Aaa => false,
        };
        self.gate.stands_alone && is_safe && first.notify(NotifyType::EapOnlyAuthentication).is_some()
    }

    /// The client's AUTH has come.
    fn finish(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        proof: Proof,
        (auth, last): (Auth<'_>, &Chain<'_>),
        effects: &mut Effects,
    ) -> Result<(), Denial> {
        let Proof { passed, keys, grants } = proof;
        let first = self.first.clone();
        let chain = first.chain().map_err(unreadable)?;
        let id_body = payloads::required(&chain, PayloadType::IdI, Ok).map_err(unreadable)?;
        let wishes = Wishes::read(&chain).map_err(unreadable)?;
        let auth = self.answered.mix_after_eap(ctx, &self.profile, auth, last)?;
        let exchange = self.answered.exchange(ctx)?;
        let keys = keys.as_ref();
        let proof = accept_eap(&exchange, &self.profile, passed, (id_body, &auth), keys).map_err(refused)?;
        let id = self.ours.clone().ok_or_else(|| Refusal::new(Failure::Local, "nothing was said"))?;
        let ours = Introduction::after_eap(&exchange, OriginalRole::Responder, id, keys);
        let ours = ours.mentioning(self.answered.mention());
        let basis = Peer::basis(&proof, ctx.now.wall);
        let believed = Believed { proof, ours, basis, grants };
        self.answered.complete(ctx, names, &chain, wishes, believed, effects)
    }

    /// Refuses the client.
    fn fail(&mut self, ctx: &mut Context<'_>, names: Names, denial: Denial, effects: &mut Effects) {
        self.abandon(ctx);
        self.stage = Stage::Over;
        let refusal = denial.refusal.clone().of(shown_user(&self.user));
        ctx.refuse(self.answered.path.remote, refusal);
        self.answered.deny(ctx, names, effects, |chain| denial.write(chain));
    }

    /// The same, in the words of EAP.
    // RFC 7296 §2.16: the last word of EAP is all that the client gets.
    fn say_no(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        packet: Option<Vec<u8>>,
        refusal: Refusal,
        effects: &mut Effects,
    ) {
        let Some(eap) = packet.and_then(|packet| Eap::new(packet).ok()) else {
            return self.fail(ctx, names, refusal.into(), effects);
        };
        ctx.refuse(self.answered.path.remote, refusal.of(shown_user(&self.user)));
        // With the first answer the client has to know from whom it comes.
        let profile = Arc::clone(&self.profile);
        let ours = if self.ours.is_some() {
            None
        } else {
            let exchange = self.answered.exchange(ctx);
            exchange.ok().and_then(|it| Introduction::welcome(&it, &profile, None, false).ok())
        };
        self.answered.deny(ctx, names, effects, |chain| {
            if let Some(ours) = ours {
                ours.write(chain)?;
            }
            chain.push(&Payload::Eap(eap))
        });
    }

    /// Nobody waits any more for what was asked.
    pub(crate) fn abandon(&self, ctx: &mut Context<'_>) {
        let begun = match &self.stage {
            Stage::Asking(relay) | Stage::Relay(relay) => relay.begun(),
            Stage::Local(_) | Stage::Proof(_) | Stage::Over => None,
        };
        if let Some(conversation) = begun {
            ctx.out.push(Output::AaaAbandoned(conversation));
        }
    }

    /// A client that does not go on, or a server that does not answer.
    pub(crate) fn timeout(&self, ctx: &mut Context<'_>, effects: &mut Effects) {
        if self.answered.expires_at > ctx.now.mono {
            return;
        }
        self.abandon(ctx);
        let refusal = match self.stage {
            Stage::Asking(_) => Refusal::new(Failure::AaaUnreachable, "no server has answered in time"),
            Stage::Local(_) | Stage::Relay(_) | Stage::Proof(_) | Stage::Over => {
                self.why_gone("the client has not gone on with EAP")
            }
        };
        ctx.refuse(self.answered.path.remote, refusal.of(shown_user(&self.user)));
        effects.is_gone = true;
    }

    pub(crate) fn snapshot(&self, names: Names, now: Now) -> SaSnapshot {
        SaSnapshot {
            remote_id: shown_user(&self.user),
            profile: Some(self.profile.name.clone()),
            ..self.answered.snapshot(names, now)
        }
    }
}

/// How many times as long as a half-open SA it may take in all.
const MOST_WAITS: u32 = 4;

fn malformed(error: crate::codec::DecodeError) -> Denial {
    failed(&error.into()).into()
}

/// What a failed conversation is counted as.
fn failed(error: &EapError) -> Refusal {
    let failure = match error {
        EapError::Method { error: MethodError::Locked, .. } => Failure::EapLocked,
        EapError::Method { error: MethodError::Local(_), .. } | EapError::TooLong => Failure::Local,
        EapError::Method { .. }
        | EapError::Malformed(_)
        | EapError::Code(_)
        | EapError::Identifier { .. }
        | EapError::Type(_)
        | EapError::NoMethod(_)
        | EapError::Identity
        | EapError::Limit
        | EapError::Premature
        | EapError::Refused => Failure::Eap,
    };
    Refusal::new(failure, error.to_string())
}
