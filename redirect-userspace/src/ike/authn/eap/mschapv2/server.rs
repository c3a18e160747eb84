//! The server's side: users with passwords.

use std::sync::Arc;

use super::packet::Packet;
use super::users::{Found, Users};
use super::without_domain;
use crate::crypto::mschap::{CHALLENGE_LENGTH, Challenges, NtHash, RESPONSE_LENGTH, keys};
use crate::ike::authn::eap::{Maker, Method, MethodContext, MethodError, Msk, Outcome, Turn};
use crate::ike::wire::EapType;
use crate::secret::is_same;

/// Lets users in who know their passwords.
#[derive(Debug)]
pub struct Passwords {
    /// Who they are.
    pub users: Arc<Users>,
    /// Who we are, as a client may show it.
    pub name: Box<str>,
}

impl Maker for Passwords {
    fn kind(&self) -> EapType {
        EapType::MschapV2
    }

    // RFC 5998 §4: whoever takes our place could try passwords.
    fn may_stand_alone(&self) -> bool {
        false
    }

    fn begin(&self, _identity: &str) -> Box<dyn Method> {
        Box::new(Server { users: Arc::clone(&self.users), name: self.name.clone(), stage: Stage::Begin })
    }
}

#[derive(Debug)]
struct Server {
    users: Arc<Users>,
    name: Box<str>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Begin,
    /// The response.
    Asked {
        id: u8,
        challenge: [u8; CHALLENGE_LENGTH],
    },
    /// That the client believes us.
    Passed(Outcome),
    Over,
}

impl Method for Server {
    fn kind(&self) -> EapType {
        EapType::MschapV2
    }

    fn step(&mut self, ctx: &mut MethodContext<'_>, data: &[u8]) -> Turn {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Begin => {
                let ([id], challenge) = (ctx.rng.array(), ctx.rng.array());
                self.stage = Stage::Asked { id, challenge };
                Turn::Send(Packet::Challenge { id, challenge, name: self.name.as_bytes().into() }.encode())
            }
            Stage::Asked { id: asked, challenge: ours } => match Packet::of_client(data) {
                Ok(Packet::Response { id, challenge, response, name }) if id == asked => {
                    let challenges =
                        Challenges { server: &ours, client: &challenge, user: without_domain(&name) };
                    self.judge(ctx, id, challenges, &response, &name)
                }
                Ok(_) => Turn::failed(MethodError::Unexpected("a packet of MSCHAPv2")),
                Err(error) => Turn::failed(error.into()),
            },
            Stage::Passed(outcome) => match Packet::of_client(data) {
                Ok(Packet::SuccessSeen) => Turn::Done { last: None, outcome },
                Ok(Packet::FailureSeen) => Turn::failed(MethodError::Refused(0)),
                Ok(_) => Turn::failed(MethodError::Unexpected("a packet of MSCHAPv2")),
                Err(error) => Turn::failed(error.into()),
            },
            Stage::Over => Turn::failed(MethodError::Unexpected("a packet of MSCHAPv2")),
        }
    }
}

impl Server {
    fn judge(
        &mut self,
        ctx: &mut MethodContext<'_>,
        id: u8,
        challenges: Challenges<'_>,
        response: &[u8; RESPONSE_LENGTH],
        name: &str,
    ) -> Turn {
        let Found { name, password, is_known } = self.users.find(name);
        let no =
            |error: u32, why| Turn::Failed { last: Some(Packet::Failure { id, error }.encode()), error: why };
        if ctx.guesses.is_locked(ctx.now.mono, name) {
            return no(ACCOUNT_DISABLED, MethodError::Locked);
        }
        // All of it is computed for everybody.
        let is_right = is_same(&challenges.response(password), response);
        let (authenticator, keys) = prove(password, &challenges, response);
        if !(is_right & is_known) {
            ctx.guesses.wrong(ctx.now.mono, name);
            return no(AUTHENTICATION_FAILURE, MethodError::Credentials);
        }
        ctx.guesses.right(name);
        self.stage = Stage::Passed(Outcome { keys, identity: Some(name.into()), valid_until: None });
        Turn::Send(Packet::Success { id, authenticator }.encode())
    }
}

fn prove(
    password: &NtHash,
    challenges: &Challenges<'_>,
    response: &[u8; RESPONSE_LENGTH],
) -> ([u8; crate::crypto::mschap::AUTHENTICATOR_LENGTH], Option<Msk>) {
    (challenges.authenticator(password, response), Msk::new(keys(password, response).expose()))
}

/// ERROR_ACCT_DISABLED (`RFC 2759 §6`).
const ACCOUNT_DISABLED: u32 = 647;
/// ERROR_AUTHENTICATION_FAILURE
const AUTHENTICATION_FAILURE: u32 = 691;
