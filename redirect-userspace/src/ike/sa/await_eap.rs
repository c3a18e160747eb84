//! The initiator while it proves by EAP who it is.
//!
//! The gateway has proved who it is before a word about the user is said that it could make anything of:
//! its AUTH comes with its first response. It may leave it out only where the method proves that as
//! well, and we have said that this is enough.
//!
//! # References
//!
//! `RFC 7296 §2.16`, `RFC 5998`, `RFC 5685 §6`.

use std::sync::Arc;

use crate::ike::authn::PeerAuthenticated;
use crate::ike::authn::eap::{Client, Credentials, EapError, Heard, MethodError, Msk};
use crate::ike::client::News;
use crate::ike::config::{LocalProof, Profile};
use crate::ike::event::{Discard, Failure, RedirectRefusal};
use crate::ike::message::Verified;
use crate::ike::rules::{self, Form, Outside};
use crate::ike::sa::await_auth::{Answered, AwaitAuth, Response};
use crate::ike::sa::context::{Context, Refusal};
use crate::ike::sa::payloads::{self, unreadable};
use crate::ike::sa::proof::{self, Claimant, Exchange, Introduction, confirm_eap};
use crate::ike::sa::{Effects, Names, State, transmit};
use crate::ike::wire::{
    Auth, Chain, ChainWriter, Direction, Eap, EncodeError, ExchangeType, Message, NotifyType, OriginalRole,
    Payload, PayloadType,
};

/// IKE_AUTH is under way, with EAP.
#[derive(Debug)]
pub(crate) struct AwaitEap {
    /// Everything that is known since the first request.
    pub(crate) auth: AwaitAuth,
    client: Client,
    /// The gateway, if it has proved who it is.
    gateway: Option<PeerAuthenticated>,
    /// The body of its IDr.
    id_body: Box<[u8]>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// An EAP packet.
    Talking,
    /// The gateway's AUTH, made with this.
    Proving(Option<Msk>),
}

/// What we prove ourselves by, if it is EAP.
pub(crate) const fn credentials(profile: &Profile) -> Option<&Arc<Credentials>> {
    match &profile.authentication.local {
        LocalProof::Eap(credentials) => Some(credentials),
        LocalProof::SharedKey(_) | LocalProof::Certificate(_) => None,
    }
}

/// Whether EAP alone is enough for us to believe a gateway (`RFC 5998`).
pub(crate) fn is_alone(profile: &Profile) -> bool {
    credentials(profile).is_some_and(|ours| ours.stands_alone && ours.maker.may_stand_alone())
}

/// What the first response says.
enum First {
    /// EAP has begun.
    Begun(Option<PeerAuthenticated>, Box<[u8]>),
    /// There is no SA to be had.
    Answered(Answered),
}

impl AwaitAuth {
    /// The first response has come.
    pub(crate) fn begin_eap(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        verified: &Verified,
        effects: &mut Effects,
    ) {
        match self.first_of_eap(ctx, verified) {
            Ok(First::Begun(gateway, id_body)) => {
                let Some(credentials) = credentials(&self.connection.profile).cloned() else { return };
                let client = Client::new(credentials);
                let auth = self.take();
                let mut state = AwaitEap { auth, client, gateway, id_body, stage: Stage::Talking };
                state.response(ctx, names, verified, effects);
                if effects.next.is_none() && !effects.is_gone {
                    effects.next = Some(State::AwaitEap(Box::new(state)));
                }
            }
            Ok(First::Answered(Answered::Elsewhere(to))) => {
                // RFC 5685 §6: there is no SA that could be deleted.
                let (exchange, from) = (ExchangeType::IkeAuth, self.path.remote);
                ctx.tell(names.id, News::Sent { exchange, from, to });
                self.release(ctx);
                effects.is_gone = true;
            }
            Ok(First::Answered(Answered::Here | Answered::Nowhere)) => {
                let detail = "the gateway has begun no EAP";
                self.give_up(ctx, names, &Refusal::new(Failure::EapGateway, detail), effects);
                effects.is_gone = true;
            }
            Err(refusal) => {
                self.give_up(ctx, names, &refusal, effects);
                effects.is_gone = true;
            }
        }
    }

    fn first_of_eap(&self, ctx: &mut Context<'_>, verified: &Verified) -> Result<First, Refusal> {
        let chain = verified.chain().map_err(unreadable)?;
        let form = form_of(&chain)?;
        let (true, Some((introduced, _))) =
            (matches!(form, Form::EapOffer | Form::AuthResponse), self.offer.as_deref())
        else {
            return Err(self.refused(ctx, &chain));
        };
        let profile = &self.connection.profile;
        let id_body: Box<[u8]> = payloads::required(&chain, PayloadType::IdR, Ok).map_err(unreadable)?.into();
        if chain.find(PayloadType::Auth).is_none() {
            return if is_alone(profile) {
                Ok(First::Begun(None, id_body))
            } else {
                let detail = "the gateway begins EAP without proving who it is";
                Err(Refusal::new(Failure::EapGateway, detail))
            };
        }
        let claimant = Claimant::responder(&chain).map_err(unreadable)?;
        let gateway = proof::confirm(&introduced.exchange(ctx), profile, &claimant)
            .map_err(|error| Refusal::new(error.failure(), error.to_string()))?;
        if form == Form::EapOffer {
            return Ok(First::Begun(Some(gateway), id_body));
        }
        // RFC 5685 §6: this is the one place before the end where a redirect is good.
        let response = Response::read(chain)?;
        Ok(First::Answered(self.elsewhere(ctx, &response)))
    }

    /// A response in which there is nothing for us.
    fn refused(&self, ctx: &mut Context<'_>, chain: &Chain<'_>) -> Refusal {
        if chain.notify(NotifyType::Redirect).is_some() {
            self.misdirected(ctx, RedirectRefusal::WrongTime, None);
        }
        let kind = payloads::error(chain);
        let detail = kind.map_or_else(|| "something else than EAP".to_owned(), |kind| kind.to_string());
        Refusal::new(Failure::PeerRefused, detail)
    }
}

fn form_of(chain: &Chain<'_>) -> Result<Form, Refusal> {
    rules::check(ExchangeType::IkeAuth, Direction::Response, chain)
        .map_err(|violation| Refusal::new(Failure::Syntax, violation.to_string()))
}

impl AwaitEap {
    pub(crate) fn datagram(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        message: &Message<'_>,
        outside: &Outside<'_>,
        effects: &mut Effects,
    ) -> Result<(), Discard> {
        let Some((introduced, _)) = self.auth.offer.as_deref_mut() else {
            return Err(Discard::UnexpectedExchange);
        };
        let Some(verified) = introduced.channel.response(message, outside)? else { return Ok(()) };
        self.response(ctx, names, &verified, effects);
        Ok(())
    }

    /// Takes in a response, the first one among them.
    fn response(&mut self, ctx: &mut Context<'_>, names: Names, verified: &Verified, effects: &mut Effects) {
        if let Err(refusal) = self.go_on(ctx, names, verified, effects) {
            self.auth.give_up(ctx, names, &refusal, effects);
            effects.is_gone = true;
        }
    }

    fn go_on(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        verified: &Verified,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let chain = verified.chain().map_err(unreadable)?;
        let form = form_of(&chain)?;
        match (form, &self.stage) {
            (Form::EapOffer | Form::EapRound, Stage::Talking) => {
                if chain.notify(NotifyType::Redirect).is_some() {
                    // RFC 5685 §6: not in the middle.
                    self.auth.misdirected(ctx, RedirectRefusal::WrongTime, None);
                }
                let packet = payloads::required(&chain, PayloadType::Eap, Eap::decode)
                    .map_err(|error| failed(&error.into()))?;
                match self.client.take(&mut ctx.of_method(), &packet) {
                    Heard::Answer(packet) => self.answer(ctx, names, packet),
                    Heard::Success(outcome) => self.prove(ctx, names, outcome.keys),
                    Heard::Failure(error) => Err(failed(&error)),
                }
            }
            (Form::EapEnd, Stage::Proving(keys)) => {
                let auth = payloads::required(&chain, PayloadType::Auth, Auth::decode).map_err(unreadable)?;
                let (introduced, _) = self.auth.offer.as_deref_mut().ok_or_else(nothing_offered)?;
                introduced.settle_mix(&chain)?;
                let (exchange, profile) = (introduced.exchange(ctx), &self.auth.connection.profile);
                let (before, theirs) = (self.gateway.take(), (&*self.id_body, &auth));
                let proof = confirm_eap(&exchange, profile, before, theirs, keys.as_ref())
                    .map_err(|error| Refusal::new(error.failure(), error.to_string()))?;
                let response = Response::read(chain)?;
                self.auth.conclude(ctx, names, proof, &response, effects);
                Ok(())
            }
            _ => Err(self.auth.refused(ctx, &chain)),
        }
    }

    fn answer(&mut self, ctx: &mut Context<'_>, names: Names, packet: Vec<u8>) -> Result<(), Refusal> {
        let eap = Eap::new(packet).map_err(|error| Refusal::new(Failure::Local, error.to_string()))?;
        self.ask(ctx, names, |chain| chain.push(&Payload::Eap(eap)))
    }

    fn prove(&mut self, ctx: &mut Context<'_>, names: Names, keys: Option<Msk>) -> Result<(), Refusal> {
        let (introduced, _) = self.auth.offer.as_deref().ok_or_else(nothing_offered)?;
        let id = self.auth.local_id();
        let make = |exchange: &Exchange<'_>| {
            let side = OriginalRole::Initiator;
            Ok(Introduction::after_eap(exchange, side, id.clone(), keys.as_ref()))
        };
        let (ours, mention) = introduced.prove(ctx, make, Introduction::into_auth)?;
        let ours = ours.mentioning(mention);
        self.stage = Stage::Proving(keys);
        self.ask(ctx, names, |chain| ours.write(chain))
    }

    fn ask(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        payloads: impl FnOnce(&mut ChainWriter<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), Refusal> {
        let settings = self.auth.connection.upkeep.retransmission(ctx.settings.retransmission);
        let (introduced, _) = self.auth.offer.as_deref_mut().ok_or_else(nothing_offered)?;
        let (path, channel) = (introduced.path, &mut introduced.channel);
        let id = channel.window.next().ok_or_else(|| Refusal::new(Failure::Local, "no Message ID"))?;
        let header = names.header(ExchangeType::IkeAuth, Direction::Request, id);
        let size = ctx.settings.fragment_size;
        let datagrams = channel
            .seal(&header, path, size, ctx.rng, payloads)
            .map_err(|error| Refusal::new(Failure::Local, error.to_string()))?;
        transmit(ctx, path, &datagrams);
        channel.window.sent(ctx.now, ExchangeType::IkeAuth, datagrams, &settings);
        Ok(())
    }
}

fn nothing_offered() -> Refusal {
    Refusal::new(Failure::Local, "nothing was offered")
}

/// What a failed conversation is counted as.
fn failed(error: &EapError) -> Refusal {
    let failure = match error {
        EapError::Method { error, .. } => match error {
            MethodError::Credentials | MethodError::Locked | MethodError::Refused(_) => Failure::Eap,
            MethodError::Local(_) => Failure::Local,
            MethodError::Server
            | MethodError::Malformed(_)
            | MethodError::Unexpected(_)
            | MethodError::Certificate(_)
            | MethodError::Tls(_) => Failure::EapGateway,
        },
        EapError::Refused => Failure::Eap,
        EapError::TooLong => Failure::Local,
        EapError::Malformed(_)
        | EapError::Code(_)
        | EapError::Identifier { .. }
        | EapError::Type(_)
        | EapError::NoMethod(_)
        | EapError::Identity
        | EapError::Limit
        | EapError::Premature => Failure::EapGateway,
    };
    Refusal::new(failure, error.to_string())
}
