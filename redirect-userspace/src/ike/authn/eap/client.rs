//! The client's side of a conversation.

use std::sync::Arc;

use super::packet::response;
use super::{Budget, Credentials, EapError, Method, MethodContext, Outcome, Turn};
use crate::ike::wire::{Eap, EapCode, EapType};

/// A conversation with a gateway, or whoever is behind it.
#[derive(Debug)]
pub struct Client {
    credentials: Arc<Credentials>,
    budget: Budget,
    /// The last request, and what was answered.
    last: Option<(Box<[u8]>, Vec<u8>)>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Our method has not begun.
    Before,
    /// It has.
    Method(Box<dyn Method>),
    /// It is done: Success is waited for.
    Done(Outcome),
    /// It has failed: Failure is waited for.
    Failed(EapError),
    /// Nothing.
    Over,
}

/// What becomes of it.
#[derive(Debug)]
pub enum Heard {
    /// This is to be answered.
    Answer(Vec<u8>),
    /// We are believed, and believe the other side as far as the method goes.
    Success(Outcome),
    /// It has failed.
    Failure(EapError),
}

impl Client {
    /// A conversation that has not begun.
    #[must_use]
    pub fn new(credentials: Arc<Credentials>) -> Self {
        Self { credentials, budget: Budget::default(), last: None, stage: Stage::Before }
    }

    /// Takes in a packet of the server.
    pub fn take(&mut self, ctx: &mut MethodContext<'_>, packet: &Eap<'_>) -> Heard {
        match self.heard(ctx, packet) {
            Ok(heard) => heard,
            Err(error) => {
                self.stage = Stage::Over;
                Heard::Failure(error)
            }
        }
    }

    fn heard(&mut self, ctx: &mut MethodContext<'_>, packet: &Eap<'_>) -> Result<Heard, EapError> {
        self.budget.spend(packet)?;
        let kind = match (packet.code, packet.kind) {
            (EapCode::Request, Some(kind)) => kind,
            (EapCode::Success, _) => {
                return match std::mem::replace(&mut self.stage, Stage::Over) {
                    Stage::Done(outcome) => Ok(Heard::Success(outcome)),
                    Stage::Failed(error) => Err(error),
                    Stage::Before | Stage::Method(_) | Stage::Over => Err(EapError::Premature),
                };
            }
            (EapCode::Failure, _) => {
                return match std::mem::replace(&mut self.stage, Stage::Over) {
                    Stage::Failed(error) => Err(error),
                    Stage::Before | Stage::Method(_) | Stage::Done(_) | Stage::Over => Err(EapError::Refused),
                };
            }
            (code, _) => return Err(EapError::Code(code)),
        };
        if let Some((asked, answered)) = &self.last {
            // RFC 3748 §4.1: a repeated request has the same answer; a new one another identifier.
            if **asked == *packet.packet() {
                return Ok(Heard::Answer(answered.clone()));
            }
            if asked.get(1) == Some(&packet.identifier) {
                let expected = packet.identifier.wrapping_add(1);
                return Err(EapError::Identifier { found: packet.identifier, expected });
            }
        }
        let (kind, data) = self.answer(ctx, kind, packet.data())?;
        let answer = response(packet.identifier, kind, &data).ok_or(EapError::TooLong)?;
        self.last = Some((packet.packet().into(), answer.clone()));
        Ok(Heard::Answer(answer))
    }

    fn answer(
        &mut self,
        ctx: &mut MethodContext<'_>,
        kind: EapType,
        data: &[u8],
    ) -> Result<(EapType, Vec<u8>), EapError> {
        let maker = &self.credentials.maker;
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Before if kind == EapType::Identity => {
                self.stage = Stage::Before;
                Ok((kind, self.credentials.identity.as_bytes().to_vec()))
            }
            // RFC 3748 §5.2: it has to be answered, and nothing has to be done. It is not shown: it may
            // be anything, and nobody has proved to have sent it.
            stage @ (Stage::Before | Stage::Method(_) | Stage::Done(_) | Stage::Failed(_))
                if kind == EapType::Notification =>
            {
                self.stage = stage;
                Ok((kind, Vec::new()))
            }
            Stage::Before if kind == maker.kind() => {
                let mut method = maker.begin(&self.credentials.identity);
                let turn = method.step(ctx, data);
                self.go_on(method, turn)
            }
            Stage::Before if kind != EapType::Nak => {
                self.stage = Stage::Before;
                Ok((EapType::Nak, vec![maker.kind().into()]))
            }
            Stage::Method(mut method) if kind == method.kind() => {
                let turn = method.step(ctx, data);
                self.go_on(method, turn)
            }
            Stage::Before | Stage::Method(_) | Stage::Done(_) | Stage::Failed(_) | Stage::Over => {
                Err(EapError::Type(kind))
            }
        }
    }

    fn go_on(&mut self, method: Box<dyn Method>, turn: Turn) -> Result<(EapType, Vec<u8>), EapError> {
        let kind = method.kind();
        match turn {
            Turn::Send(data) => {
                self.stage = Stage::Method(method);
                Ok((kind, data))
            }
            Turn::Done { last, outcome } => {
                self.stage = Stage::Done(outcome);
                Ok((kind, last.unwrap_or_default()))
            }
            Turn::Failed { last, error } => {
                let error = EapError::method(kind, error);
                match last {
                    Some(data) => {
                        self.stage = Stage::Failed(error);
                        Ok((kind, data))
                    }
                    None => Err(error),
                }
            }
        }
    }
}
