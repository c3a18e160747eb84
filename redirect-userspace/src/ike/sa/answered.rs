//! The responder between IKE_SA_INIT and the end of IKE_AUTH.
//!
//! The secret of the key exchange is computed only when the next request comes: whoever sends
//! nothing but IKE_SA_INIT requests costs one half of it. So it is with the keys of a session that is
//! resumed: IKE_SESSION_RESUME takes the place of IKE_SA_INIT, everything after it is the same.
//!
//! # References
//!
//! `RFC 7296 §1.2`, `§2.6`, `§2.15`, `§2.21.2`, `RFC 5723 §4.3.3`, `§4.3.4`.

use std::net::IpAddr;
use std::sync::Arc;

use crate::codec::DecodeError;
use crate::crypto::kex;
use crate::crypto::prf::PrfKey;
use crate::crypto::sign::HashAlgorithm;
use crate::gateway::GatewayAddress;
use crate::ike::aaa::Grants;
use crate::ike::authn::{PeerAuthenticated, asks_for_status};
use crate::ike::config::Profile;
use crate::ike::error;
use crate::ike::event::{Discard, Event, Failure, RedirectExchange, RedirectReason, RedirectRefusal};
use crate::ike::identity::Shown;
use crate::ike::io::{InstallChild, Path};
use crate::ike::message::{Channel, Verified};
use crate::ike::proposal::{EspExchange, IkeSuite};
use crate::ike::rules::{self, Form, Outside};
use crate::ike::sa::child::{self, Accepted, Child, ChildRefusal, Ground, Offer};
use crate::ike::sa::configuration::{self, Given};
use crate::ike::sa::context::{Context, Misdirected, Refusal};
use crate::ike::sa::established::{Established, Fresh, mobike};
use crate::ike::sa::grant::{self, Grant};
use crate::ike::sa::intermediate::{Further, between};
use crate::ike::sa::keymat::{DerivationKey, IkeKeys, KeymatError, Nonces, Origin, Proofs};
use crate::ike::sa::natt::Nat;
use crate::ike::sa::payloads::{self, ChildPayloads, unreadable};
use crate::ike::sa::peer::Peer;
use crate::ike::sa::proof::{Claimant, Exchange, Introduction};
use crate::ike::sa::resumption::Resumption;
use crate::ike::sa::window::{Requested, Window};
use crate::ike::sa::{Effects, Names, State, suite, transmit};
use crate::ike::snapshot::{SaSnapshot, SaState};
use crate::ike::ticket::Basis;
use crate::ike::wire::{
    Chain, ChainWriter, Configuration, Direction, EncodeError, ExchangeType, Id, Message, MessageId,
    NotifyContent, NotifyType, OriginalRole, Payload, PayloadType, Sa, TrafficSelectors,
};
use crate::time::{Instant, Now};

/// IKE_SA_INIT is answered.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The request and the response, as they were sent: AUTH covers both.
    pub(crate) request: Box<[u8]>,
    pub(crate) response: Box<[u8]>,
    pub(crate) ni: Box<[u8]>,
    pub(crate) nr: Box<[u8]>,
    pub(crate) suite: IkeSuite,
    pub(crate) path: Path,
    pub(crate) nat: Nat,
    /// Whether the peer takes fragments.
    pub(crate) fragments: bool,
    /// Hash functions that it has announced.
    pub(crate) hashes: Option<Box<[HashAlgorithm]>>,
    pub(crate) redirected_from: Option<IpAddr>,
    pub(crate) follows_redirects: bool,
    /// Whether both sides have said that they have keys from before.
    pub(crate) uses_ppk: bool,
    /// The ticket that it came with, in an IKE_SESSION_RESUME request.
    pub(crate) resumption: Option<Box<Resumption>>,
    pub(crate) secrets: Secrets,
    /// Key exchanges that follow before IKE_AUTH.
    pub(crate) further: Option<Box<Further>>,
    pub(crate) made_at: Instant,
    pub(crate) expires_at: Instant,
}

/// How far the key exchange has come.
#[derive(Debug)]
pub(crate) enum Secrets {
    /// Our half, and the peer's.
    Halves(kex::Answer),
    /// None is needed: there is the key of an earlier session.
    Session(DerivationKey),
    /// Keys.
    Keys(Box<Keys>),
    /// They do not go together.
    Failed,
}

/// What comes of the key exchange.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) channel: Channel,
    pub(crate) derivation: DerivationKey,
    pub(crate) proof_i: PrfKey,
    pub(crate) proof_r: PrfKey,
    pub(crate) proofs: Proofs,
    /// Whether a key is mixed in that both sides have had before.
    pub(crate) is_mixed: bool,
}

impl Answered {
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
        let has_further = self.further.as_deref().is_some_and(|further| further.next().is_some());
        let awaited = if has_further { ExchangeType::IkeIntermediate } else { ExchangeType::IkeAuth };
        let may_come = header.exchange == awaited
            || (header.exchange == ExchangeType::IkeIntermediate && self.further.is_some());
        if !may_come || header.direction != Direction::Request {
            return Err(Discard::UnexpectedExchange);
        }
        if let Secrets::Halves(_) | Secrets::Session(_) = self.secrets {
            self.agree(ctx, names, effects)?;
        }
        let Secrets::Keys(keys) = &mut self.secrets else { return Err(Discard::Integrity) };
        // A forged request leaves everything as it is; the real one may still come.
        match keys.channel.window.requested(header.message_id) {
            Requested::New if header.exchange == awaited => {}
            Requested::New => return Err(Discard::UnexpectedExchange),
            Requested::Repeated => {
                if keys.channel.check_repeated(message, outside)?.wants_answer() {
                    transmit(ctx, path, keys.channel.window.answer());
                }
                return Err(Discard::Retransmission);
            }
            Requested::Outside => return Err(Discard::MessageId),
        }
        let opened = keys.channel.check(message, outside)?;
        // RFC 7296 §2.23: the client goes on from port 4500 once it has seen a NAT.
        self.path = path;
        let Some(verified) = keys.channel.collect(header, opened)? else { return Ok(()) };
        if has_further {
            self.go_further(ctx, names, (message, outside), &verified, effects);
        } else {
            keys.channel.forget_former();
            self.answer(ctx, names, &verified, effects);
        }
        Ok(())
    }

    /// Computes the keys.
    fn agree(&mut self, ctx: &mut Context<'_>, names: Names, effects: &mut Effects) -> Result<(), Discard> {
        let local = |error: KeymatError| Refusal::new(Failure::Local, error.to_string());
        let secrets = std::mem::replace(&mut self.secrets, Secrets::Failed);
        let keys = self.origin(ctx, names).and_then(|origin| match secrets {
            Secrets::Halves(half) => {
                let shared = child::secret(half)?;
                IkeKeys::initial(origin, &shared).map_err(local)
            }
            Secrets::Session(old) => IkeKeys::resumed(origin, &old).map_err(local),
            Secrets::Keys(_) | Secrets::Failed => Err(Refusal::new(Failure::Local, "there are no secrets")),
        });
        match keys {
            Ok(IkeKeys { derivation, ours, theirs, proof_i, proof_r, proofs }) => {
                let mut channel = Channel::new(ours, theirs, Window::new(MessageId(1), MessageId(0)));
                channel.fragments = self.fragments;
                let is_mixed = false;
                let keys = Keys { channel, derivation, proof_i, proof_r, proofs, is_mixed };
                self.secrets = Secrets::Keys(Box::new(keys));
                Ok(())
            }
            Err(refusal) => {
                // RFC 6989: there is nothing to protect an answer with.
                ctx.refuse(self.path.remote, refusal);
                effects.is_gone = true;
                Err(Discard::Integrity)
            }
        }
    }

    pub(crate) fn origin(&self, ctx: &Context<'_>, names: Names) -> Result<Origin<'_>, Refusal> {
        let (Some(suite), Some(spi_r)) = (suite::ike(self.suite, ctx.settings.legacy), names.spi_r) else {
            return Err(Refusal::new(Failure::Local, "an unknown algorithm"));
        };
        Ok(Origin {
            provider: ctx.provider,
            suite,
            nonces: Nonces { initiator: &self.ni, responder: &self.nr },
            spi_i: names.spi_i,
            spi_r,
            role: OriginalRole::Responder,
        })
    }

    /// Answers the IKE_AUTH request.
    fn answer(&mut self, ctx: &mut Context<'_>, names: Names, verified: &Verified, effects: &mut Effects) {
        let mut identity = None;
        match self.authenticate(ctx, names, verified, &mut identity, effects) {
            Ok(()) => {}
            Err(mut denial) => {
                if let Some(identity) = identity {
                    denial.refusal = denial.refusal.of(identity);
                }
                ctx.refuse(self.path.remote, denial.refusal.clone());
                self.deny(ctx, names, effects, |chain| denial.write(chain));
            }
        }
    }

    fn authenticate(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        verified: &Verified,
        identity: &mut Option<Arc<str>>,
        effects: &mut Effects,
    ) -> Result<(), Denial> {
        let chain = verified.chain().map_err(unreadable)?;
        let form = rules::check(ExchangeType::IkeAuth, Direction::Request, &chain)?;
        let id_i = payloads::required(&chain, PayloadType::IdI, Id::decode).map_err(unreadable)?;
        *identity = Some(Shown(&id_i).to_string().into());
        if chain.notify(NotifyType::Redirect).is_some() {
            // RFC 5685 §10: a client sends no gateway away.
            let misdirected = Misdirected { connection: None, from: self.path.remote, to: None };
            ctx.misdirected(RedirectRefusal::WrongSide, misdirected);
        }
        if mobike::has_met_forbidden_nat(&chain, self.path) {
            return Err(Refusal::new(Failure::UnexpectedNat, "the client allows none").into());
        }
        if form == Form::EapStart {
            return self.begin_eap(ctx, names, verified, &chain, effects);
        }
        if form != Form::AuthRequest {
            return Err(Refusal::new(Failure::Syntax, "an EAP round before there is any EAP").into());
        }
        let claimant = Claimant::initiator(&chain).map_err(unreadable)?;
        let wishes = Wishes::read(&chain).map_err(unreadable)?;
        let exchange = self.exchange(ctx)?;
        let (proof, profile): (_, Arc<Profile>);
        let (ours, basis) = match &self.resumption {
            None => {
                let asked = claimant.asked().cloned();
                let roots;
                (proof, roots) = self.accept(ctx, &exchange, claimant, &chain)?;
                profile = Arc::clone(proof.profile());
                if let Some(roots) = roots {
                    self.take_roots(roots);
                }
                let exchange = self.exchange(ctx)?;
                let ours = Introduction::respond(&exchange, &profile, asked.as_ref()).map_err(refused)?;
                let is_asked = asks_for_status(&chain);
                let ours = if is_asked { ours.with_statuses(&exchange, &profile) } else { ours };
                (ours.mentioning(self.mention()), Peer::basis(&proof, ctx.now.wall))
            }
            Some(resumption) => {
                let ours;
                (proof, ours) = resumption.accept(ctx, &exchange, &claimant)?;
                effects.resumes = Some(Box::new(resumption.used()));
                ctx.counters.resumed = ctx.counters.resumed.saturating_add(1);
                (ours, resumption.ticket.basis.clone())
            }
        };

        let believed = Believed { proof, ours, basis, grants: Grants::default() };
        self.complete(ctx, names, &chain, wishes, believed, effects)
    }

    /// What AUTH is made and checked with.
    pub(crate) fn exchange(&self, ctx: &Context<'_>) -> Result<Exchange<'_>, Refusal> {
        let Secrets::Keys(keys) = &self.secrets else {
            return Err(Refusal::new(Failure::Local, "there are no keys"));
        };
        Ok(Exchange {
            provider: ctx.provider,
            legacy: ctx.settings.legacy,
            now: ctx.now.wall,
            request: &self.request,
            response: &self.response,
            ni: &self.ni,
            nr: &self.nr,
            between: between(self.further.as_deref()),
            proof_i: &keys.proof_i,
            proof_r: &keys.proof_r,
            hashes: self.hashes.as_deref(),
            local: self.path.local.ip(),
        })
    }

    /// The peer is believed: makes the SA that its request, whose payloads these are, has asked for, and
    /// answers.
    pub(crate) fn complete(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        chain: &Chain<'_>,
        wishes: Wishes<'_>,
        believed: Believed<'_>,
        effects: &mut Effects,
    ) -> Result<(), Denial> {
        let Wishes { child, configuration: wishes, is_sole } = wishes;
        let Believed { proof, ours, basis, grants } = believed;
        let profile = Arc::clone(proof.profile());
        if is_sole {
            // Before an address is given: the old SA's is the one that the client gets again.
            effects.supersedes = Some(Arc::clone(proof.holder()));
        }
        effects.registers = Some(Arc::clone(proof.holder()));
        let Secrets::Keys(keys) = std::mem::replace(&mut self.secrets, Secrets::Failed) else {
            return Err(Refusal::new(Failure::Local, "there are no keys").into());
        };
        let Keys { channel, derivation, .. } = *keys;
        let peer = Arc::new(Peer {
            proof,
            local: Arc::clone(&ours.shown),
            local_id: ours.id.clone(),
            basis,
            are_we_client: false,
            redirected_from: self.redirected_from,
            follows_redirects: self.follows_redirects,
            is_resumed: self.resumption.is_some(),
        });
        let mut sa = Established::new(
            ctx,
            Fresh { channel, derivation, suite: self.suite, peer, path: self.path, nat: self.nat },
        );
        if let Some(to) = self.redirect(ctx, names, &profile) {
            // With a ticket it need not say again who it is.
            let grant = sa.grant(ctx, names, chain);
            return self.send_away(ctx, names, sa, (ours, grant), to, effects);
        }
        sa.become_mobile(ctx, names, chain);
        let support = sa.is_mobile().then(|| mobike::Support::new(ctx.settings, self.path));
        sa.begin_session(ctx, names, &grants);
        let first =
            child.map(|child| self.first_child(ctx, names, &mut sa, &child, (wishes, &grants), is_sole));

        let label = sa.label(names);
        let (agreed, reply, child_refusal) = match first {
            None => (None, None, None),
            Some(Ok((agreed, reply))) => (Some(agreed), reply, None),
            Some(Err(refusal)) => (None, None, Some(refusal)),
        };
        ctx.counters.established_responder = ctx.counters.established_responder.saturating_add(1);
        ctx.event(Event::Established {
            sa: label.clone(),
            is_initiator: false,
            suite: self.suite.to_string().into(),
            took: ctx.now.mono.since(self.made_at),
            addresses: sa.addresses(),
            is_resumed: self.resumption.is_some(),
        });
        let grant = sa.grant(ctx, names, chain);
        let grant = grant::beside(grant, ours.has_certificates(), self.fragments);
        let mut answer = None;
        if let Some(agreed) = agreed {
            let Agreed { child, install, proposal, ts_i, ts_r } = agreed;
            sa.adopt(ctx, names, child, install);
            answer = Some((proposal, ts_i, ts_r));
        }
        sa.open_account(ctx);
        let mut notify = None;
        if let Some(refusal) = child_refusal {
            notify = error::notify(refusal.failure);
            ctx.refuse_child(label, refusal);
        }
        let result = sa.respond(ctx, names, self.path, ExchangeType::IkeAuth, |chain| {
            ours.write(chain)?;
            if let Some(reply) = reply {
                chain.push(&Payload::Configuration(reply))?;
            }
            if let Some((proposal, ts_i, ts_r)) = answer {
                chain.push(&Payload::Sa(proposal))?;
                chain.push(&Payload::TsI(ts_i))?;
                chain.push(&Payload::TsR(ts_r))?;
            }
            if let Some(grant) = grant {
                grant.write(chain)?;
            }
            if let Some(support) = support {
                support.write(chain)?;
            }
            notify.map_or(Ok(()), |kind| chain.plain(kind))
        });
        if result.is_err() {
            sa.shut(ctx, names, crate::ike::event::CloseReason::ProtocolError, effects);
            return Ok(());
        }
        effects.next = Some(State::Established(Box::new(sa)));
        Ok(())
    }

    /// Where the client is sent now that it is known who it is, if it is (`RFC 5685 §6`). Whoever
    /// was sent here by the cluster stays.
    pub(crate) fn redirect(
        &self,
        ctx: &Context<'_>,
        names: Names,
        profile: &Profile,
    ) -> Option<GatewayAddress> {
        let is_wanted = profile.redirect_auth && self.follows_redirects;
        let is_sent = self.redirected_from.is_some_and(|from| ctx.targets.is_of_cluster(from));
        if !is_wanted || is_sent || !ctx.targets.accepts(self.path.remote.ip()) {
            return None;
        }
        ctx.targets.choose(names.spi_i, self.path.local.ip())
    }

    /// Answers with who we are and where to go, and makes no Child SA.
    fn send_away(
        &self,
        ctx: &mut Context<'_>,
        names: Names,
        mut sa: Established,
        (ours, grant): (Introduction<'_>, Option<Grant>),
        to: GatewayAddress,
        effects: &mut Effects,
    ) -> Result<(), Denial> {
        ctx.counters.redirect(RedirectExchange::Auth);
        let grace = ctx.settings.half_open_timeout;
        sa.leave(ctx, names, to.clone(), grace, RedirectReason::Profile);
        let result = sa.respond(ctx, names, self.path, ExchangeType::IkeAuth, |chain| {
            ours.write(chain)?;
            if let Some(grant) = grant {
                grant.write(chain)?;
            }
            chain.notify(&NotifyContent::Redirect { gateway: to, nonce: None })
        });
        match result {
            Ok(()) => effects.next = Some(State::Established(Box::new(sa))),
            Err(_local) => effects.is_gone = true,
        }
        Ok(())
    }

    /// The Child SA that comes with IKE_AUTH. Its failure leaves the IKE SA as it is (`RFC 7296
    /// §1.2`).
    fn first_child(
        &self,
        ctx: &mut Context<'_>,
        names: Names,
        sa: &mut Established,
        child: &ChildPayloads,
        (wishes, grants): (Option<Configuration<'_>>, &Grants),
        takes_over: bool,
    ) -> Result<(Agreed, Option<Configuration<'static>>), Refusal> {
        let profile = Arc::clone(sa.peer().profile());
        let Given { leases, reply } = match &wishes {
            Some(wishes) => {
                let holder = Arc::clone(sa.peer().proof.holder());
                let former = self.resumption.as_ref().map(|resumption| resumption.former(ctx));
                let former = former.unwrap_or_default();
                configuration::give(ctx, &profile, &holder, (wishes, grants), takes_over, &former)?
            }
            None => Given::default(),
        };
        sa.lend(leases);
        let offer = Offer {
            sa: &child.sa,
            ts_i: &child.ts_i,
            ts_r: &child.ts_r,
            nonces: Nonces { initiator: &self.ni, responder: &self.nr },
            exchange: EspExchange::IkeAuth,
            public: None,
            replaces: None,
        };
        let ground = Ground {
            profile: &profile,
            leases: sa.leases(),
            given: &[],
            derivation: sa.derivation(),
            path: self.path,
            nat: self.nat,
            owner: names.ours(),
        };
        let accepted = child::accept(ctx, ground, &offer).and_then(|accepted| {
            let Accepted { draft, sa: proposal, ts_i, ts_r, public: _ } = accepted;
            let inbound = draft.inbound;
            let made = draft.finish(ctx, ground).inspect_err(|_local| ctx.spis.release(inbound));
            let (child, install) = made?;
            Ok(Agreed { child, install, proposal, ts_i, ts_r })
        });
        match accepted {
            Ok(agreed) => Ok((agreed, reply)),
            Err(refusal) => {
                sa.return_leases(ctx);
                match refusal {
                    ChildRefusal::Refused(refusal) => Err(refusal),
                    // There is no key exchange in IKE_AUTH.
                    ChildRefusal::OtherMethod(_) => Err(Refusal::new(Failure::NoProposal, "a key exchange")),
                }
            }
        }
    }

    /// Answers with a refusal, and keeps nothing but the answer.
    pub(crate) fn deny(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        effects: &mut Effects,
        payloads: impl FnOnce(&mut ChainWriter<'_>) -> Result<(), EncodeError>,
    ) {
        self.refuse(ctx, names, ExchangeType::IkeAuth, effects, payloads);
    }

    /// Answers a request of some exchange, and keeps nothing but the answer.
    pub(crate) fn refuse(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        exchange: ExchangeType,
        effects: &mut Effects,
        payloads: impl FnOnce(&mut ChainWriter<'_>) -> Result<(), EncodeError>,
    ) {
        let Secrets::Keys(keys) = std::mem::replace(&mut self.secrets, Secrets::Failed) else {
            effects.is_gone = true;
            return;
        };
        let mut channel = keys.channel;
        let Some(id) = channel.window.expected() else {
            effects.is_gone = true;
            return;
        };
        let header = names.header(exchange, Direction::Response, id);
        let size = ctx.settings.fragment_size;
        match channel.seal(&header, self.path, size, ctx.rng, payloads) {
            Ok(datagrams) => {
                transmit(ctx, self.path, &datagrams);
                channel.window.answered(datagrams);
                effects.next = Some(State::Refused(Box::new(Refused {
                    channel,
                    path: self.path,
                    expires_at: self.expires_at,
                })));
            }
            Err(_local) => effects.is_gone = true,
        }
    }

    /// A half-open SA that nobody has completed.
    pub(crate) fn timeout(&self, ctx: &mut Context<'_>, effects: &mut Effects) {
        if self.expires_at <= ctx.now.mono {
            ctx.refuse(self.path.remote, Refusal::new(Failure::Timeout, "IKE_AUTH did not come"));
            effects.is_gone = true;
        }
    }

    pub(crate) fn snapshot(&self, names: Names, now: Now) -> SaSnapshot {
        SaSnapshot {
            id: names.id,
            is_initiator: false,
            state: SaState::HalfOpen,
            local: self.path.local,
            remote: self.path.remote,
            local_id: "".into(),
            remote_id: "".into(),
            profile: None,
            spi_i: names.spi_i,
            spi_r: names.spi_r,
            suite: self.suite.to_string().into(),
            age: now.mono.since(self.made_at),
            rekey_in: None,
            redirected_from: self.redirected_from,
            follows_redirects: self.follows_redirects,
            is_resumed: self.resumption.is_some(),
            is_peer_behind_nat: self.nat.before_peer,
            are_we_behind_nat: self.nat.before_us,
            is_mobile: false,
            addresses: Vec::new(),
            children: Vec::new(),
        }
    }
}

/// The Child SA that comes with IKE_AUTH, and what is answered about it.
struct Agreed {
    child: Child,
    install: Box<InstallChild>,
    proposal: Sa,
    ts_i: TrafficSelectors,
    ts_r: TrafficSelectors,
}

/// What a first IKE_AUTH request asks for.
#[derive(Debug)]
pub(crate) struct Wishes<'a> {
    child: Option<ChildPayloads>,
    configuration: Option<Configuration<'a>>,
    /// Whether its sender says that it has no other SA with us.
    is_sole: bool,
}

impl<'a> Wishes<'a> {
    pub(crate) fn read(chain: &Chain<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            child: ChildPayloads::read(chain)?,
            configuration: payloads::optional(chain, PayloadType::Configuration, Configuration::decode)?,
            is_sole: chain.notify(NotifyType::InitialContact).is_some(),
        })
    }
}

/// A peer that is believed.
#[derive(Debug)]
pub(crate) struct Believed<'a> {
    pub(crate) proof: PeerAuthenticated,
    /// What it gets to believe us.
    pub(crate) ours: Introduction<'a>,
    pub(crate) basis: Basis,
    /// What a server that knows it has granted.
    pub(crate) grants: Grants,
}

/// Why IKE_AUTH is refused, and what broke the rules, if something did.
#[derive(Debug)]
pub(crate) struct Denial {
    pub(crate) refusal: Refusal,
    pub(crate) violation: Option<rules::Violation>,
}

impl Denial {
    /// What the peer is told.
    pub(crate) fn write(self, chain: &mut ChainWriter<'_>) -> Result<(), EncodeError> {
        match (self.violation, error::notify(self.refusal.failure)) {
            (Some(violation), _) => error::answer(&violation, chain),
            (None, Some(NotifyType::TicketNack)) => chain.plain(NotifyType::AuthenticationFailed),
            (None, Some(kind)) => chain.plain(kind),
            (None, None) => chain.plain(NotifyType::AuthenticationFailed),
        }
    }
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, violation: None }
    }
}

impl From<rules::Violation> for Denial {
    fn from(violation: rules::Violation) -> Self {
        let refusal = Refusal::new(error::failure(&violation), violation.to_string());
        Self { refusal, violation: Some(violation) }
    }
}

pub(crate) fn refused(refusal: crate::ike::authn::Refusal) -> Refusal {
    Refusal::new(refusal.failure(), refusal.to_string())
}

/// IKE_AUTH is answered with a refusal: it is repeated for whoever has not got it.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) channel: Channel,
    pub(crate) path: Path,
    pub(crate) expires_at: Instant,
}

impl Refused {
    pub(crate) fn datagram(
        &self,
        ctx: &mut Context<'_>,
        path: Path,
        message: &Message<'_>,
        outside: &Outside<'_>,
    ) -> Result<(), Discard> {
        if message.header.direction != Direction::Request
            || self.channel.window.requested(message.header.message_id) != Requested::Repeated
        {
            return Err(Discard::UnexpectedExchange);
        }
        if self.channel.check(message, outside)?.wants_answer() {
            transmit(ctx, path, self.channel.window.answer());
        }
        Err(Discard::Retransmission)
    }
}

/// Writes the IKE_SA_INIT response's notifies that say what we can do.
pub(crate) fn abilities(chain: &mut ChainWriter<'_>) -> Result<(), EncodeError> {
    chain.plain(NotifyType::FragmentationSupported)?;
    let all = HashAlgorithm::ALL.map(|hash| crate::ike::wire::HashAlgorithm::from(hash.number()));
    if let Some(hashes) = crate::ike::wire::HashAlgorithms::new(&all) {
        chain.notify(&NotifyContent::SignatureHashAlgorithms(hashes))?;
    }
    Ok(())
}
