//! The initiator before the response of an IKE_INTERMEDIATE exchange: one further key exchange.
//!
//! # References
//!
//! `RFC 9242 §3.2` to `§3.4`, `RFC 9370 §2.2.2`.

use std::sync::Arc;

use crate::crypto::kex::KeyExchange;
use crate::ike::config::Connection;
use crate::ike::event::{Discard, Failure};
use crate::ike::io::Path;
use crate::ike::message::Verified;
use crate::ike::rules::Outside;
use crate::ike::sa::await_auth::Introduced;
use crate::ike::sa::child::{agree, generate};
use crate::ike::sa::context::{Context, Refusal};
use crate::ike::sa::intermediate::{Spoken, head, head_of, payloads_of, public};
use crate::ike::sa::keymat::{IkeKeys, Nonces, Origin};
use crate::ike::sa::opening::{Errand, fail, half_open, unanswered};
use crate::ike::sa::payloads;
use crate::ike::sa::window::Due;
use crate::ike::sa::{Effects, Names, suite, transmit};
use crate::ike::snapshot::SaSnapshot;
use crate::ike::wire::{
    Direction, ExchangeType, KeyExchange as KePayload, KeyExchangeMethod, Message, OriginalRole, Payload,
    encode_chain,
};
use crate::machine::Deadline;
use crate::time::{Instant, Now};

/// IKE_INTERMEDIATE is sent.
#[derive(Debug)]
pub(crate) struct AwaitFurther {
    connection: Arc<Connection>,
    path: Path,
    errand: Errand,
    made_at: Instant,
    /// Until what comes next takes it over.
    asked: Option<Box<Asked>>,
}

/// What was asked, and what it rests upon.
#[derive(Debug)]
struct Asked {
    introduced: Introduced,
    method: KeyExchangeMethod,
    half: KeyExchange,
    /// The request, as AUTH covers it.
    head: Vec<u8>,
    plain: Vec<u8>,
}

impl AwaitFurther {
    /// Sends the request.
    ///
    /// # Errors
    ///
    /// Something of our own failed.
    pub(crate) fn start(
        ctx: &mut Context<'_>,
        names: Names,
        mut introduced: Introduced,
        method: KeyExchangeMethod,
    ) -> Result<Self, Refusal> {
        let half = generate(ctx, method)?;
        let payload = KePayload { method, data: half.public().into() };
        let (first, plain) =
            encode_chain(|chain| chain.push(&Payload::KeyExchange(payload))).map_err(local)?;
        let channel = &mut introduced.channel;
        let id = channel.window.next().ok_or_else(|| local("no Message ID"))?;
        let header = names.header(ExchangeType::IkeIntermediate, Direction::Request, id);
        let head = head(&header, first, plain.len()).ok_or_else(|| local("a message that is too long"))?;
        let (path, size) = (introduced.path, ctx.settings.fragment_size);
        let datagrams = channel.seal_encoded(&header, path, size, ctx.rng, (first, &plain)).map_err(local)?;
        transmit(ctx, path, &datagrams);
        let settings = introduced.connection.upkeep.retransmission(ctx.settings.retransmission);
        channel.window.sent(ctx.now, ExchangeType::IkeIntermediate, datagrams, &settings);
        Ok(Self {
            connection: Arc::clone(&introduced.connection),
            path,
            errand: introduced.errand.clone(),
            made_at: introduced.made_at,
            asked: Some(Box::new(Asked { introduced, method, half, head, plain })),
        })
    }

    pub(crate) fn datagram(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        message: &Message<'_>,
        outside: &Outside<'_>,
        effects: &mut Effects,
    ) -> Result<(), Discard> {
        let Some(asked) = self.asked.as_deref_mut() else { return Err(Discard::UnexpectedExchange) };
        let Some(verified) = asked.introduced.channel.response(message, outside)? else { return Ok(()) };
        let Some(asked) = self.asked.take() else { return Ok(()) };
        let next = asked
            .answered(ctx, names, (message, outside), &verified)
            .and_then(|introduced| introduced.go_on(ctx, names));
        match next {
            Ok(state) => effects.next = Some(state),
            Err(refusal) => {
                fail(ctx, names, &self.connection, &refusal);
                effects.is_gone = true;
            }
        }
        Ok(())
    }

    pub(crate) const fn remote(&self) -> std::net::SocketAddr {
        self.path.remote
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let at = self.asked.as_deref()?.introduced.channel.window.deadline()?;
        Some(Deadline { at, why: "an IKE_INTERMEDIATE request is repeated" })
    }

    pub(crate) fn timeout(&mut self, ctx: &mut Context<'_>, names: Names, effects: &mut Effects) {
        let settings = ctx.settings.retransmission;
        let Some(asked) = self.asked.as_deref_mut() else { return };
        match asked.introduced.channel.window.due(ctx.now, &settings) {
            Due::Nothing => {}
            Due::Repeat(datagrams) => {
                ctx.counters.retransmissions = ctx.counters.retransmissions.saturating_add(1);
                transmit(ctx, self.path, datagrams);
            }
            Due::Dead => {
                let detail = unanswered(ExchangeType::IkeIntermediate, self.path);
                fail(ctx, names, &self.connection, &Refusal::new(Failure::Timeout, detail));
                effects.is_gone = true;
            }
        }
    }

    pub(crate) fn snapshot(&self, names: Names, now: Now) -> SaSnapshot {
        let age = now.mono.since(self.made_at);
        half_open(names, self.path, &self.connection, &self.errand, age)
    }
}

impl Asked {
    /// The response has come: goes on with the keys that it makes.
    fn answered(
        self,
        ctx: &Context<'_>,
        names: Names,
        (message, outside): (&Message<'_>, &Outside<'_>),
        verified: &Verified,
    ) -> Result<Introduced, Refusal> {
        let Self { mut introduced, method, half, head, plain } = self;
        let chain = payloads_of(verified, Direction::Response)
            .map_err(|violation| Refusal::new(Failure::Syntax, violation.to_string()))?;
        if let Some(kind) = payloads::error(&chain) {
            return Err(Refusal::new(Failure::PeerRefused, kind.to_string()));
        }
        let secret = agree(half, &public(&chain, method)?.data)?;
        let algorithms = suite::ike(introduced.suite, ctx.settings.legacy);
        let (Some(suite), Some(spi_r)) = (algorithms, names.spi_r) else {
            return Err(local("an unknown algorithm"));
        };
        let origin = Origin {
            provider: ctx.provider,
            suite,
            nonces: Nonces { initiator: &introduced.ni, responder: &introduced.nr },
            spi_i: names.spi_i,
            spi_r,
            role: OriginalRole::Initiator,
        };
        let new = IkeKeys::rekeyed(origin, &introduced.derivation, &[secret]).map_err(local)?;
        let next = introduced.channel.window.next().ok_or_else(|| local("no Message ID"))?;
        let theirs =
            head_of(message, outside, verified).ok_or_else(|| local("a message that is too long"))?;
        let request = Spoken { head: &head, plain: &plain };
        let response = Spoken { head: &theirs, plain: verified.plain() };
        if let Some(further) = introduced.further.as_deref_mut() {
            further.done((&introduced.proof_i, request), (&introduced.proof_r, response), next);
        }
        // RFC 9242 §3.3.1: everything after it has the new keys.
        let IkeKeys { derivation, ours, theirs, proof_i, proof_r, proofs } = new;
        introduced.channel.rekey(ours, theirs);
        introduced.derivation = derivation;
        introduced.proof_i = proof_i;
        introduced.proof_r = proof_r;
        introduced.proofs = proofs;
        Ok(introduced)
    }
}

fn local(error: impl ToString) -> Refusal {
    Refusal::new(Failure::Local, error.to_string())
}
