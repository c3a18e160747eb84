//! The client's side: a password.

use super::packet::Packet;
use super::without_domain;
use crate::crypto::mschap::{AUTHENTICATOR_LENGTH, Challenges, NtHash, keys};
use crate::ike::authn::eap::{Maker, Method, MethodContext, MethodError, Msk, Outcome, Turn};
use crate::ike::wire::EapType;
use crate::secret::is_same;

/// A user's password.
#[derive(Debug)]
pub struct Password(pub NtHash);

impl Maker for Password {
    fn kind(&self) -> EapType {
        EapType::MschapV2
    }

    fn may_stand_alone(&self) -> bool {
        false
    }

    fn begin(&self, identity: &str) -> Box<dyn Method> {
        Box::new(Client { password: self.0.clone(), name: identity.into(), stage: Stage::Begin })
    }
}

#[derive(Debug)]
struct Client {
    password: NtHash,
    name: Box<str>,
    stage: Stage,
}

enum Stage {
    Begin,
    /// The server's proof, which is to be this.
    Responded {
        authenticator: [u8; AUTHENTICATOR_LENGTH],
        keys: Option<Msk>,
    },
    Over,
}

/// Without what is to come.
impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Begin => "Begin",
            Self::Responded { .. } => "Responded",
            Self::Over => "Over",
        })
    }
}

impl Method for Client {
    fn kind(&self) -> EapType {
        EapType::MschapV2
    }

    fn step(&mut self, ctx: &mut MethodContext<'_>, data: &[u8]) -> Turn {
        let packet = match Packet::of_server(data) {
            Ok(packet) => packet,
            Err(error) => return Turn::failed(error.into()),
        };
        match (std::mem::replace(&mut self.stage, Stage::Over), packet) {
            (Stage::Begin, Packet::Challenge { id, challenge: theirs, name: _ }) => {
                let ours = ctx.rng.array();
                let challenges =
                    Challenges { server: &theirs, client: &ours, user: without_domain(&self.name) };
                let response = challenges.response(&self.password);
                let authenticator = challenges.authenticator(&self.password, &response);
                let keys = Msk::new(keys(&self.password, &response).expose());
                self.stage = Stage::Responded { authenticator, keys };
                let name = self.name.as_ref().into();
                Turn::Send(Packet::Response { id, challenge: ours, response, name }.encode())
            }
            (Stage::Responded { authenticator, keys }, Packet::Success { authenticator: theirs, .. }) => {
                // RFC 2759 §5: without it the server is none of ours.
                if !is_same(&authenticator, &theirs) {
                    return Turn::failed(MethodError::Server);
                }
                let outcome = Outcome { keys, identity: None, valid_until: None };
                Turn::Done { last: Some(Packet::SuccessSeen.encode()), outcome }
            }
            (Stage::Responded { .. }, Packet::Failure { error, .. }) => {
                Turn::Failed { last: Some(Packet::FailureSeen.encode()), error: MethodError::Refused(error) }
            }
            (Stage::Begin | Stage::Responded { .. } | Stage::Over, _) => {
                Turn::failed(MethodError::Unexpected("a packet of MSCHAPv2"))
            }
        }
    }
}
