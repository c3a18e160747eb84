//! The gateway's side of a conversation, where it knows its users itself.

use std::sync::Arc;

use super::packet::{failure, request, success, wanted};
use super::{Budget, EapError, Maker, Method, MethodContext, Outcome, Turn, identity};
use crate::ike::wire::{Eap, EapCode, EapType};

/// A conversation with a client.
#[derive(Debug)]
pub struct Server {
    offers: Vec<Arc<dyn Maker>>,
    /// That of the request that waits for its response.
    identifier: u8,
    identity: Box<str>,
    budget: Budget,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The client was asked for its identity.
    Identity,
    /// A method is under way.
    Method {
        method: Box<dyn Method>,
        /// Whether the client has agreed to it.
        is_agreed: bool,
    },
    /// The last word of a method that is done.
    Passed(EapType, Outcome),
    /// The last word of one that has failed.
    Failed(EapType, EapError),
    /// Nothing.
    Over,
}

/// What the client gets.
#[derive(Debug)]
pub enum Reply {
    /// A request.
    Request(Vec<u8>),
    /// Success: it is who it is.
    Success(Vec<u8>, Outcome),
    /// Failure.
    Failure(Vec<u8>, EapError),
}

impl Server {
    /// Begins: with the first method if it is known whose conversation it is, otherwise with the
    /// question who it is.
    pub fn begin(
        ctx: &mut MethodContext<'_>,
        offers: Vec<Arc<dyn Maker>>,
        identity: Option<&str>,
    ) -> (Self, Reply) {
        // RFC 3748 §4.1: nobody is to foresee it.
        let [identifier] = ctx.rng.array();
        let mut server = Self {
            offers,
            identifier,
            identity: identity.unwrap_or_default().into(),
            budget: Budget::default(),
            stage: Stage::Identity,
        };
        let reply = match identity {
            Some(_) => server.begin_method(ctx, 0),
            None => server.ask(EapType::Identity, &[]),
        };
        (server, reply)
    }

    /// Whom the client says it is; empty before it has said so.
    #[must_use]
    pub const fn identity(&self) -> &str {
        &self.identity
    }

    /// Why it has failed, while the client still gets the last word about it.
    #[must_use]
    pub const fn failing(&self) -> Option<&EapError> {
        if let Stage::Failed(_, error) = &self.stage { Some(error) } else { None }
    }

    /// Takes in a packet of the client.
    pub fn take(&mut self, ctx: &mut MethodContext<'_>, packet: &Eap<'_>) -> Reply {
        match self.heard(ctx, packet) {
            Ok(reply) => reply,
            Err(error) => self.fail(error),
        }
    }

    fn heard(&mut self, ctx: &mut MethodContext<'_>, packet: &Eap<'_>) -> Result<Reply, EapError> {
        self.budget.spend(packet)?;
        let (EapCode::Response, Some(kind)) = (packet.code, packet.kind) else {
            return Err(EapError::Code(packet.code));
        };
        if packet.identifier != self.identifier {
            return Err(EapError::Identifier { found: packet.identifier, expected: self.identifier });
        }
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Identity if kind == EapType::Identity => {
                self.identity = identity(packet)?.into();
                Ok(self.begin_method(ctx, 0))
            }
            Stage::Method { method, is_agreed: false } if kind == EapType::Nak => {
                // RFC 3748 §5.3.1. What was refused is not offered again, so that this has an end.
                self.offers.retain(|maker| maker.kind() != method.kind());
                let is_wanted = |maker: &Arc<dyn Maker>| wanted(packet).any(|kind| kind == maker.kind());
                match self.offers.iter().position(is_wanted) {
                    Some(at) => Ok(self.begin_method(ctx, at)),
                    None => Err(EapError::NoMethod(named(packet))),
                }
            }
            Stage::Method { mut method, is_agreed: _ } if kind == method.kind() => {
                let turn = method.step(ctx, packet.data());
                Ok(self.go_on(method, turn, true))
            }
            Stage::Passed(of, outcome) if kind == of => Ok(Reply::Success(success(self.identifier), outcome)),
            Stage::Failed(of, error) if kind == of => Err(error),
            Stage::Identity | Stage::Method { .. } | Stage::Passed(..) | Stage::Failed(..) | Stage::Over => {
                Err(EapError::Type(kind))
            }
        }
    }

    fn begin_method(&mut self, ctx: &mut MethodContext<'_>, at: usize) -> Reply {
        let Some(maker) = self.offers.get(at) else { return self.fail(EapError::NoMethod("none".into())) };
        let mut method = maker.begin(&self.identity);
        let turn = method.step(ctx, &[]);
        self.go_on(method, turn, false)
    }

    fn go_on(&mut self, method: Box<dyn Method>, turn: Turn, is_agreed: bool) -> Reply {
        let kind = method.kind();
        match turn {
            Turn::Send(data) => {
                self.stage = Stage::Method { method, is_agreed };
                self.ask(kind, &data)
            }
            Turn::Done { last: Some(data), outcome } => {
                self.stage = Stage::Passed(kind, outcome);
                self.ask(kind, &data)
            }
            Turn::Done { last: None, outcome } => Reply::Success(success(self.identifier), outcome),
            Turn::Failed { last: Some(data), error } => {
                self.stage = Stage::Failed(kind, EapError::method(kind, error));
                self.ask(kind, &data)
            }
            Turn::Failed { last: None, error } => self.fail(EapError::method(kind, error)),
        }
    }

    fn ask(&mut self, kind: EapType, data: &[u8]) -> Reply {
        self.identifier = self.identifier.wrapping_add(1);
        match request(self.identifier, kind, data) {
            Some(packet) => Reply::Request(packet),
            None => self.fail(EapError::TooLong),
        }
    }

    fn fail(&mut self, error: EapError) -> Reply {
        self.stage = Stage::Over;
        Reply::Failure(failure(self.identifier), error)
    }
}

/// What a Nak asks for, in words.
fn named(nak: &Eap<'_>) -> Box<str> {
    let all: Vec<String> = wanted(nak).take(MAX_NAMED).map(|kind| kind.to_string()).collect();
    if all.is_empty() { "none".into() } else { all.join(", ").into() }
}

/// Most methods of a Nak that are named.
const MAX_NAMED: usize = 5;
