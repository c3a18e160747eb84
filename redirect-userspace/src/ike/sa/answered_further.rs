//! The responder while further key exchanges are done, one in each IKE_INTERMEDIATE exchange.
//!
//! # References
//!
//! `RFC 9242 §3.2` to `§3.4`, `RFC 9370 §2.2.2`.

use crate::ike::event::Failure;
use crate::ike::message::Verified;
use crate::ike::rules::Outside;
use crate::ike::sa::answered::{Answered, Denial, Secrets};
use crate::ike::sa::child;
use crate::ike::sa::context::{Context, Refusal};
use crate::ike::sa::intermediate::{Spoken, head, head_of, payloads_of, public};
use crate::ike::sa::keymat::IkeKeys;
use crate::ike::sa::{Effects, Names, transmit};
use crate::ike::wire::{Direction, ExchangeType, KeyExchange as KePayload, Message, Payload, encode_chain};

impl Answered {
    /// Takes in the request of an IKE_INTERMEDIATE exchange, and answers it.
    pub(crate) fn go_further(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        outside: (&Message<'_>, &Outside<'_>),
        verified: &Verified,
        effects: &mut Effects,
    ) {
        if let Err(denial) = self.further(ctx, names, outside, verified) {
            ctx.refuse(self.path.remote, denial.refusal.clone());
            // RFC 9242 §3.4: as in IKE_AUTH.
            self.refuse(ctx, names, ExchangeType::IkeIntermediate, effects, |chain| denial.write(chain));
        }
    }

    fn further(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        (message, outside): (&Message<'_>, &Outside<'_>),
        verified: &Verified,
    ) -> Result<(), Denial> {
        let nothing = || Refusal::new(Failure::Local, "there is no key exchange to follow");
        let chain = payloads_of(verified, Direction::Request)?;
        let method = self.further.as_deref().and_then(|further| further.next()).ok_or_else(nothing)?;
        let half = child::respond(ctx, method, &public(&chain, method)?.data)?;
        let payload = KePayload { method, data: half.public().to_vec().into() };
        let secret = child::secret(half)?;
        let new = {
            let Secrets::Keys(keys) = &self.secrets else { return Err(nothing().into()) };
            let origin = self.origin(ctx, names)?;
            IkeKeys::rekeyed(origin, &keys.derivation, &[secret]).map_err(local)?
        };
        let (Secrets::Keys(keys), Some(further)) = (&mut self.secrets, self.further.as_deref_mut()) else {
            return Err(nothing().into());
        };
        let id = keys.channel.window.expected().ok_or_else(|| local("no Message ID"))?;
        let next = id.next().ok_or_else(|| local("no Message ID"))?;
        let header = names.header(ExchangeType::IkeIntermediate, Direction::Response, id);
        let (first, plain) =
            encode_chain(|chain| chain.push(&Payload::KeyExchange(payload))).map_err(local)?;
        let too_long = || local("a message that is too long");
        let theirs = head_of(message, outside, verified).ok_or_else(too_long)?;
        let ours = head(&header, first, plain.len()).ok_or_else(too_long)?;
        let size = ctx.settings.fragment_size;
        let datagrams =
            keys.channel.seal_encoded(&header, self.path, size, ctx.rng, (first, &plain)).map_err(local)?;
        let request = Spoken { head: &theirs, plain: verified.plain() };
        let response = Spoken { head: &ours, plain: &plain };
        further.done((&keys.proof_i, request), (&keys.proof_r, response), next);
        transmit(ctx, self.path, &datagrams);
        keys.channel.window.answered(datagrams);
        // RFC 9242 §3.3.1: the answer had the old keys, everything after it has the new ones.
        let IkeKeys { derivation, ours, theirs, proof_i, proof_r, proofs } = new;
        keys.channel.rekey(ours, theirs);
        keys.derivation = derivation;
        keys.proof_i = proof_i;
        keys.proof_r = proof_r;
        keys.proofs = proofs;
        Ok(())
    }
}

fn local(error: impl ToString) -> Refusal {
    Refusal::new(Failure::Local, error.to_string())
}
