//! The initiator's side of a key exchange that follows a CREATE_CHILD_SA exchange.
//!
//! # References
//!
//! `RFC 9370 §2.2.4`.

use crate::crypto::kex::KeyExchange;
use crate::ike::event::Failure;
use crate::ike::sa::child::{agree, generate};
use crate::ike::sa::context::{Context, Refusal};
use crate::ike::sa::intermediate::public;
use crate::ike::wire::{
    Chain, ChainWriter, EncodeError, KeyExchange as KePayload, KeyExchangeMethod, NotifyContent, NotifyType,
    Payload,
};
use crate::secret::Secret;

/// A key exchange that is to follow, for the SA that a draft is of.
#[derive(Debug)]
pub(crate) struct Followup<D> {
    pub(crate) draft: D,
    method: KeyExchangeMethod,
    half: KeyExchange,
    /// By what the responder knows again what it belongs to.
    link: Box<[u8]>,
}

impl<D> Followup<D> {
    /// The next one, after a response with these payloads.
    pub(crate) fn new(
        ctx: &mut Context<'_>,
        chain: &Chain<'_>,
        draft: D,
        method: KeyExchangeMethod,
    ) -> Result<Self, Refusal> {
        let link = link(chain).filter(|link| link.len() <= MAX_LINK);
        let Some(link) = link else {
            return Err(Refusal::new(Failure::Syntax, "a key exchange is to follow, and nothing links it"));
        };
        Ok(Self { draft, method, half: generate(ctx, method)?, link: link.into() })
    }

    /// Appends the request's payloads.
    pub(crate) fn write(&self, chain: &mut ChainWriter<'_>) -> Result<(), EncodeError> {
        let data = self.half.public().into();
        chain.push(&Payload::KeyExchange(KePayload { method: self.method, data }))?;
        chain.notify(&NotifyContent::AdditionalKeyExchange(&self.link))
    }

    /// What its response makes of it.
    pub(crate) fn answered(self, chain: &Chain<'_>) -> Result<(D, Secret), Refusal> {
        let Self { draft, method, half, link: _ } = self;
        let public = public(chain, method)?;
        Ok((draft, agree(half, &public.data)?))
    }
}

/// What links a message to what it follows.
pub(crate) fn link<'a>(chain: &Chain<'a>) -> Option<&'a [u8]> {
    match chain.notify(NotifyType::AdditionalKeyExchange)?.content() {
        Ok(NotifyContent::AdditionalKeyExchange(link)) => Some(link),
        Ok(_) | Err(_) => None,
    }
}

/// Octets of the longest link of a peer that is kept.
const MAX_LINK: usize = 1_024;
