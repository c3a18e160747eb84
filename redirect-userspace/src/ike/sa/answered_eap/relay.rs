//! The gateway between a client and a server that knows the users: it hands on what each says.
//!
//! # References
//!
//! `RFC 3579 §2`, `RFC 7296 §2.16`.

use std::sync::Arc;

use super::{AnsweredEap, Proof, Stage, failed};
use crate::ike::aaa::{AaaAnswer, AaaRequest, AaaVerdict, Conversation};
use crate::ike::authn::eap::mschapv2::packet::Packet as Mschap;
use crate::ike::authn::eap::proof::Passed;
use crate::ike::authn::eap::{self, Budget, EapError, packet};
use crate::ike::event::Failure;
use crate::ike::io::Output;
use crate::ike::sa::answered::Denial;
use crate::ike::sa::context::{Context, Refusal};
use crate::ike::sa::{Effects, Names, session};
use crate::ike::wire::{Eap, EapCode, EapType};
use crate::time::UnixTime;

/// A conversation that is handed on.
#[derive(Debug)]
pub(super) struct Relay {
    conversation: Conversation,
    /// How many questions were asked.
    round: u32,
    budget: Budget,
    /// That of the request that the client has.
    identifier: u8,
    /// Whether the client was asked who it is, by us.
    is_identity: bool,
    /// Whether the server has told the client that it does not get in: it may leave without an answer.
    is_refused: bool,
}

impl Relay {
    /// Nothing was asked yet. `identifier` is that of the question who the client is, which is asked with
    /// `is_identity`.
    pub(super) fn new(names: Names, identifier: u8, is_identity: bool) -> Self {
        let conversation = Conversation { spi: names.ours() };
        Self { conversation, round: 0, budget: Budget::default(), identifier, is_identity, is_refused: false }
    }

    /// Why the client leaves, if it has heard from the server that it does not get in.
    pub(super) fn why_gone(&self) -> Option<Refusal> {
        let detail = "the server has told it that its password is wrong";
        self.is_refused.then(|| Refusal::new(Failure::Eap, detail))
    }

    /// The conversation that a server has, if it has one.
    pub(super) const fn begun(&self) -> Option<Conversation> {
        if self.round > 0 { Some(self.conversation) } else { None }
    }
}

impl AnsweredEap {
    /// Asks the client who it is, on behalf of a server.
    pub(super) fn ask_who(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        effects: &mut Effects,
    ) -> Result<(), Denial> {
        let Stage::Relay(relay) = &self.stage else { return Ok(()) };
        let packet = packet::request(relay.identifier, EapType::Identity, &[]).unwrap_or_default();
        self.send(ctx, names, packet, effects)
    }

    /// Asks a server, on behalf of a client that has said in its IDi who it is.
    pub(super) fn ask_for_known(&mut self, ctx: &mut Context<'_>, names: Names) -> Result<(), Denial> {
        let Stage::Relay(relay) = &self.stage else { return Ok(()) };
        // RFC 3579 §2.1: so the server hears what the client would have answered.
        let packet = packet::response(relay.identifier, EapType::Identity, self.user.as_bytes());
        self.ask(ctx, names, packet.unwrap_or_default());
        Ok(())
    }

    /// Hands a packet of the client on.
    pub(super) fn hand_on(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        packet: &Eap<'_>,
    ) -> Result<(), Denial> {
        let Stage::Relay(relay) = &mut self.stage else { return Ok(()) };
        relay.budget.spend(packet).map_err(|error| failed(&error))?;
        if packet.code != EapCode::Response {
            return Err(failed(&EapError::Code(packet.code)).into());
        }
        if packet.identifier != relay.identifier {
            let (found, expected) = (packet.identifier, relay.identifier);
            return Err(failed(&EapError::Identifier { found, expected }).into());
        }
        if relay.is_identity {
            if packet.kind != Some(EapType::Identity) {
                return Err(failed(&EapError::Type(packet.kind.unwrap_or(EapType::Nak))).into());
            }
            relay.is_identity = false;
            let identity = eap::identity(packet).map_err(|error| failed(&error))?;
            if identity.is_empty() {
                // A server wants to know whom it is about. Its IDi may say so.
                let user = self.named.clone().ok_or_else(|| failed(&EapError::Identity))?;
                let identity = packet::response(packet.identifier, EapType::Identity, user.as_bytes());
                self.user = user;
                self.ask(ctx, names, identity.unwrap_or_default());
                return Ok(());
            }
            self.user = identity.into();
        }
        self.ask(ctx, names, packet.packet().to_vec());
        Ok(())
    }

    fn ask(&mut self, ctx: &mut Context<'_>, names: Names, packet: Vec<u8>) {
        let Stage::Relay(mut relay) = std::mem::replace(&mut self.stage, Stage::Over) else { return };
        relay.round = relay.round.saturating_add(1);
        ctx.out.push(Output::Aaa(Box::new(AaaRequest {
            conversation: relay.conversation,
            round: relay.round,
            user: Arc::clone(&self.user),
            packet,
            path: self.answered.path,
            profile: self.profile.name.clone(),
            session: session::name_of(names),
        })));
        self.stage = Stage::Asking(relay);
    }

    /// A server has answered. An answer to an earlier question is late.
    pub(crate) fn advised(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        answer: AaaAnswer,
        effects: &mut Effects,
    ) {
        let relay = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Asking(relay) if relay.round == answer.round => relay,
            stage
            @ (Stage::Local(_) | Stage::Relay(_) | Stage::Asking(_) | Stage::Proof(_) | Stage::Over) => {
                self.stage = stage;
                return;
            }
        };
        self.answered.expires_at = self.patience(ctx);
        if let Err(denial) = self.heed(ctx, names, relay, answer.verdict, effects) {
            self.fail(ctx, names, denial, effects);
        }
    }

    fn heed(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        mut relay: Relay,
        verdict: AaaVerdict,
        effects: &mut Effects,
    ) -> Result<(), Denial> {
        let wrong = |what: &str| Refusal::new(Failure::AaaUnreachable, format!("the server has sent {what}"));
        match verdict {
            AaaVerdict::Challenge(packet) => {
                let request = Eap::decode(&packet).ok().filter(|request| request.code == EapCode::Request);
                let spent = match &request {
                    Some(request) => relay.budget.spend(request).map_err(|error| failed(&error)),
                    None => Err(wrong("a challenge without an EAP request")),
                };
                relay.is_refused = request.as_ref().is_some_and(is_refusal);
                relay.identifier = request.map_or(0, |request| request.identifier);
                self.stage = Stage::Relay(relay);
                spent?;
                self.send(ctx, names, packet, effects)
            }
            AaaVerdict::Accept { packet, msk, grants } => {
                let is_success = Eap::decode(&packet).is_ok_and(|packet| packet.code == EapCode::Success);
                if !is_success {
                    return Err(wrong("an acceptance without an EAP success").into());
                }
                if let Some(user) = &grants.user {
                    self.user = Arc::clone(user);
                }
                let valid_until = grants
                    .session_timeout
                    .map(|time| UnixTime::from_epoch(ctx.now.wall.since_epoch().saturating_add(time)));
                let passed = Passed { name: Arc::clone(&self.user), valid_until };
                self.stage = Stage::Proof(Box::new(Proof { passed, keys: msk, grants }));
                self.send(ctx, names, packet, effects)
            }
            AaaVerdict::Reject { packet } => {
                let is_failure = |packet: &Vec<u8>| {
                    Eap::decode(packet).is_ok_and(|packet| packet.code == EapCode::Failure)
                };
                let packet = packet.filter(is_failure);
                let refusal = Refusal::new(Failure::Eap, "the server has rejected it");
                self.say_no(ctx, names, packet, refusal, effects);
                Ok(())
            }
            AaaVerdict::Unreachable => {
                Err(Refusal::new(Failure::AaaUnreachable, "no server has answered").into())
            }
        }
    }
}

/// Whether a request tells the client that its password is wrong. strongSwan's leaves then, and the server
/// is never asked for the end.
fn is_refusal(request: &Eap<'_>) -> bool {
    request.kind == Some(EapType::MschapV2)
        && matches!(Mschap::of_server(request.data()), Ok(Mschap::Failure { .. }))
}
