//! One IKE SA, from its first message to its last.
//!
//! # Invariants
//!
//! - After IKE_SA_INIT nothing changes an SA but a message whose integrity was verified: states hand
//!   datagrams to a [`Channel`](super::message::Channel), and go on with what it has verified.
//! - The established state exists only with a peer that has proved who it is.
//! - What an SA has on loan, addresses and SPIs, it returns when it ends, or hands to the one in its
//!   place.
//!
//! # Picture
//!
//! ```text
//! responder                                     initiator
//! ─── IKE_SA_INIT request ──▶ Answered          AwaitInit ── IKE_SA_INIT request ──▶
//!                                │                  │ ◀── cookie, other group: again
//!                                │                  │ ◀── redirect: gone, the client side goes on
//! ── IKE_SESSION_RESUME ──────▶ Answered        AwaitResume ── IKE_SESSION_RESUME ──▶
//!                                │                  │ ◀── cookie: again; redirect: gone; no: AwaitInit
//! ── IKE_INTERMEDIATE, 0 to 7 ─▶ │              AwaitFurther ── IKE_INTERMEDIATE, 0 to 7 ──▶
//! ─── IKE_AUTH request ────────▶ │              AwaitAuth ── IKE_AUTH request ──▶
//!                  ┌─────────────┤                  ├──── EAP: AwaitEap ── IKE_AUTH requests ──▶
//!                  │        AnsweredEap: EAP        │              │
//!                  ├─────────────┤                  │              │
//!               Refused     Established ◀───────────┴──────────────┘
//!                                │  CREATE_CHILD_SA, INFORMATIONAL, either way
//!                               gone
//! ```
//!
//! # References
//!
//! `RFC 7296 §1.2` to `§1.5`, `§2`, with EAP `§2.16`; `RFC 9242`, `RFC 9370`.

pub(crate) mod answered;
pub(crate) mod answered_eap;
pub(crate) mod answered_further;
pub(crate) mod await_auth;
pub(crate) mod await_eap;
pub(crate) mod await_further;
pub(crate) mod await_init;
pub(crate) mod await_resume;
pub(crate) mod child;
pub(crate) mod configuration;
pub(crate) mod context;
pub(crate) mod established;
pub(crate) mod followup;
pub(crate) mod fragment;
pub(crate) mod grant;
pub(crate) mod intermediate;
pub(crate) mod keymat;
pub(crate) mod natt;
pub(crate) mod opening;
pub(crate) mod payloads;
pub(crate) mod peer;
pub(crate) mod ppk;
pub(crate) mod proof;
pub(crate) mod resumption;
pub(crate) mod session;
pub(crate) mod suite;
pub(crate) mod wallet;
pub(crate) mod window;

use std::num::NonZeroU64;

use self::answered::{Answered, Refused};
use self::answered_eap::AnsweredEap;
use self::await_auth::AwaitAuth;
use self::await_eap::AwaitEap;
use self::await_further::AwaitFurther;
use self::await_init::AwaitInit;
use self::await_resume::AwaitResume;
use self::context::Context;
use self::established::{Belongings, Established, Estate};
use super::aaa::AaaAnswer;
use super::client::News;
use super::event::{CloseReason, Discard};
use super::io::{Output, Path, SaId};
use super::rules::Outside;
use super::snapshot::SaSnapshot;
use super::wire::{Direction, ExchangeType, Header, Message, MessageId, OriginalRole, SpiI, SpiR, Version};
use crate::machine::Deadline;

/// How an SA is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// By people. An SA that takes the place of another keeps its number.
    pub(crate) id: SaId,
    pub(crate) spi_i: SpiI,
    pub(crate) spi_r: Option<SpiR>,
    /// Which of the two is ours.
    pub(crate) role: OriginalRole,
}

impl Names {
    /// Our SPI: the name by which the endpoint finds the SA. Zero never is one.
    pub(crate) fn ours(self) -> u64 {
        match self.role {
            OriginalRole::Initiator => self.spi_i.0.get(),
            OriginalRole::Responder => self.spi_r.map_or(0, |spi| spi.0.get()),
        }
    }

    /// The header of a message of ours.
    pub(crate) const fn header(
        self,
        exchange: ExchangeType,
        direction: Direction,
        message_id: MessageId,
    ) -> Header {
        let Self { id: _, spi_i, spi_r, role } = self;
        Header { spi_i, spi_r, version: Version::V2, exchange, sender: role, direction, message_id }
    }
}

/// An IKE SA.
#[derive(Debug)]
pub(crate) struct IkeSa {
    pub(crate) names: Names,
    pub(crate) state: State,
}

/// What it waits for.
#[derive(Debug)]
pub(crate) enum State {
    /// IKE_SA_INIT is answered: the IKE_AUTH request, or those of further key exchanges before it.
    Answered(Box<Answered>),
    /// IKE_AUTH has begun, with EAP: the next request of it, or what a server says to the last one.
    AnsweredEap(Box<AnsweredEap>),
    /// IKE_AUTH is answered with a refusal: nothing but repetitions of the request.
    Refused(Box<Refused>),
    /// The IKE_SA_INIT response.
    AwaitInit(Box<AwaitInit>),
    /// The IKE_SESSION_RESUME response.
    AwaitResume(Box<AwaitResume>),
    /// The IKE_INTERMEDIATE response.
    AwaitFurther(Box<AwaitFurther>),
    /// The IKE_AUTH response.
    AwaitAuth(Box<AwaitAuth>),
    /// A further IKE_AUTH response, while we prove by EAP who we are.
    AwaitEap(Box<AwaitEap>),
    /// Whatever either side wants.
    Established(Box<Established>),
}

/// What a step of one SA means for others.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// The SA is gone.
    pub(crate) is_gone: bool,
    /// The SA is in another state.
    pub(crate) next: Option<State>,
    /// An SA that takes its place, or would have.
    pub(crate) spawned: Option<Box<IkeSa>>,
    /// What it has goes to the SA with this SPI of ours.
    pub(crate) bequest: Option<(u64, Estate)>,
    /// What becomes of the SA with this SPI of ours, which the peer has made in the place of this one
    /// as well.
    pub(crate) rival: Option<(u64, RivalFate)>,
    /// Other SAs with this peer are void.
    pub(crate) supersedes: Option<std::sync::Arc<[u8]>>,
    /// The peer is to be found by its name from now on.
    pub(crate) registers: Option<std::sync::Arc<[u8]>>,
    /// A ticket was used: the SA that it is of is void.
    pub(crate) resumes: Option<Box<super::io::UsedTicket>>,
}

/// What becomes of an IKE SA that the peer has made while we were making one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RivalFate {
    /// Ours goes on: the peer deletes it.
    Yields,
    /// None goes on: it is deleted.
    Closes(CloseReason),
    /// It is gone with its peer.
    Void,
}

impl IkeSa {
    /// Takes in a datagram.
    pub(crate) fn datagram(
        &mut self,
        ctx: &mut Context<'_>,
        path: Path,
        message: &Message<'_>,
        outside: &Outside<'_>,
    ) -> Effects {
        let mut effects = Effects::default();
        // RFC 7296 §3.1: the flag says whose SPI is which, and with it whose keys are.
        if message.header.sender == self.names.role {
            ctx.counters.discard(Discard::UnexpectedExchange);
            return effects;
        }
        let names = &mut self.names;
        let result = match &mut self.state {
            State::Answered(state) => state.datagram(ctx, *names, path, message, outside, &mut effects),
            State::AnsweredEap(state) => state.datagram(ctx, *names, path, message, outside, &mut effects),
            State::Refused(state) => state.datagram(ctx, path, message, outside),
            State::AwaitInit(state) => state.datagram(ctx, names, path, message, outside, &mut effects),
            State::AwaitResume(state) => state.datagram(ctx, names, path, message, outside, &mut effects),
            State::AwaitFurther(state) => state.datagram(ctx, *names, message, outside, &mut effects),
            State::AwaitAuth(state) => state.datagram(ctx, *names, message, outside, &mut effects),
            State::AwaitEap(state) => state.datagram(ctx, *names, message, outside, &mut effects),
            State::Established(state) => state.datagram(ctx, *names, path, message, outside, &mut effects),
        };
        if let Err(discard) = result {
            ctx.counters.discard(discard);
        }
        self.settle(&mut effects);
        effects
    }

    /// A server has said something about the client.
    pub(crate) fn advised(&mut self, ctx: &mut Context<'_>, answer: AaaAnswer) -> Effects {
        let mut effects = Effects::default();
        if let State::AnsweredEap(state) = &mut self.state {
            state.advised(ctx, self.names, answer, &mut effects);
        }
        self.settle(&mut effects);
        effects
    }

    /// The deadline has come.
    pub(crate) fn timeout(&mut self, ctx: &mut Context<'_>) -> Effects {
        let mut effects = Effects::default();
        match &mut self.state {
            State::Answered(state) => state.timeout(ctx, &mut effects),
            State::AnsweredEap(state) => state.timeout(ctx, &mut effects),
            State::Refused(state) => effects.is_gone = state.expires_at <= ctx.now.mono,
            State::AwaitInit(state) => state.timeout(ctx, self.names, &mut effects),
            State::AwaitResume(state) => state.timeout(ctx, self.names, &mut effects),
            State::AwaitFurther(state) => state.timeout(ctx, self.names, &mut effects),
            State::AwaitAuth(state) => state.timeout(ctx, self.names, &mut effects),
            State::AwaitEap(state) => state.auth.timeout(ctx, self.names, &mut effects),
            State::Established(state) => state.timeout(ctx, self.names, &mut effects),
        }
        self.settle(&mut effects);
        effects
    }

    fn settle(&mut self, effects: &mut Effects) {
        if let Some(next) = effects.next.take() {
            self.state = next;
        }
    }

    /// When it has something to do.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        match &self.state {
            State::Answered(state) => Some(Deadline { at: state.expires_at, why: "a half-open SA ends" }),
            State::AnsweredEap(state) => {
                Some(Deadline { at: state.expires_at(), why: "a half-open SA ends" })
            }
            State::Refused(state) => Some(Deadline { at: state.expires_at, why: "a refused SA ends" }),
            State::AwaitInit(state) => state.deadline(),
            State::AwaitResume(state) => state.deadline(),
            State::AwaitFurther(state) => state.deadline(),
            State::AwaitAuth(state) => state.deadline(),
            State::AwaitEap(state) => state.auth.deadline(),
            State::Established(state) => state.deadline(),
        }
    }

    /// Where the peer is.
    pub(crate) const fn remote(&self) -> std::net::SocketAddr {
        match &self.state {
            State::Answered(state) => state.path.remote,
            State::AnsweredEap(state) => state.path().remote,
            State::Refused(state) => state.path.remote,
            State::AwaitInit(state) => state.remote(),
            State::AwaitResume(state) => state.remote(),
            State::AwaitFurther(state) => state.remote(),
            State::AwaitAuth(state) => state.remote(),
            State::AwaitEap(state) => state.auth.remote(),
            State::Established(state) => state.path().remote,
        }
    }

    /// Which of our addresses the peer speaks to, once it has proved who it is.
    pub(crate) const fn local(&self) -> Option<std::net::IpAddr> {
        match &self.state {
            State::Established(state) => Some(state.path().local.ip()),
            State::Answered(_)
            | State::AnsweredEap(_)
            | State::Refused(_)
            | State::AwaitInit(_)
            | State::AwaitResume(_)
            | State::AwaitFurther(_)
            | State::AwaitAuth(_)
            | State::AwaitEap(_) => None,
        }
    }

    /// Who it is, once it has proved it.
    pub(crate) const fn peer(&self) -> Option<&std::sync::Arc<peer::Peer>> {
        match &self.state {
            State::Established(state) => Some(state.peer()),
            State::Answered(_)
            | State::AnsweredEap(_)
            | State::Refused(_)
            | State::AwaitInit(_)
            | State::AwaitResume(_)
            | State::AwaitFurther(_)
            | State::AwaitAuth(_)
            | State::AwaitEap(_) => None,
        }
    }

    /// Whether another SA goes on in its place.
    pub(crate) const fn is_remnant(&self) -> bool {
        match &self.state {
            State::Established(state) => state.is_remnant(),
            State::Answered(_)
            | State::AnsweredEap(_)
            | State::Refused(_)
            | State::AwaitInit(_)
            | State::AwaitResume(_)
            | State::AwaitFurther(_)
            | State::AwaitAuth(_)
            | State::AwaitEap(_) => false,
        }
    }

    /// Whether its peer speaks to an address that another node has now.
    pub(crate) const fn is_adrift(&self) -> bool {
        match &self.state {
            State::Established(state) => state.is_adrift(),
            State::Answered(_)
            | State::AnsweredEap(_)
            | State::Refused(_)
            | State::AwaitInit(_)
            | State::AwaitResume(_)
            | State::AwaitFurther(_)
            | State::AwaitAuth(_)
            | State::AwaitEap(_) => false,
        }
    }

    /// Whether its client can be told to go elsewhere and has not been yet.
    pub(crate) fn may_be_sent_away(&self) -> bool {
        match &self.state {
            State::Established(state) => state.may_be_sent_away(),
            State::Answered(_)
            | State::AnsweredEap(_)
            | State::Refused(_)
            | State::AwaitInit(_)
            | State::AwaitResume(_)
            | State::AwaitFurther(_)
            | State::AwaitAuth(_)
            | State::AwaitEap(_) => false,
        }
    }

    /// Addresses that its client was given, whichever of the two we are.
    pub(crate) fn addresses(&self) -> Vec<std::net::IpAddr> {
        match &self.state {
            State::Established(state) => state.addresses(),
            State::Answered(_)
            | State::AnsweredEap(_)
            | State::Refused(_)
            | State::AwaitInit(_)
            | State::AwaitResume(_)
            | State::AwaitFurther(_)
            | State::AwaitAuth(_)
            | State::AwaitEap(_) => Vec::new(),
        }
    }

    /// What its client would have again with another gateway.
    pub(crate) fn belongings(&self) -> Option<Belongings> {
        match &self.state {
            State::Established(state) => Some(state.belongings()),
            State::Answered(_)
            | State::AnsweredEap(_)
            | State::Refused(_)
            | State::AwaitInit(_)
            | State::AwaitResume(_)
            | State::AwaitFurther(_)
            | State::AwaitAuth(_)
            | State::AwaitEap(_) => None,
        }
    }

    /// Whether the peer has not proved yet who it is.
    pub(crate) const fn is_half_open(&self) -> bool {
        match &self.state {
            State::Answered(_)
            | State::AnsweredEap(_)
            | State::Refused(_)
            | State::AwaitInit(_)
            | State::AwaitResume(_)
            | State::AwaitFurther(_)
            | State::AwaitAuth(_)
            | State::AwaitEap(_) => true,
            State::Established(_) => false,
        }
    }

    /// Whether it is up and nothing is in its place.
    pub(crate) const fn is_in_use(&self) -> bool {
        !self.is_half_open() && !self.is_remnant()
    }

    /// The SA, once it is established.
    pub(crate) const fn established(&mut self) -> Option<&mut Established> {
        match &mut self.state {
            State::Established(state) => Some(state),
            State::Answered(_)
            | State::AnsweredEap(_)
            | State::Refused(_)
            | State::AwaitInit(_)
            | State::AwaitResume(_)
            | State::AwaitFurther(_)
            | State::AwaitAuth(_)
            | State::AwaitEap(_) => None,
        }
    }

    /// Ends at once, without a word to the peer.
    pub(crate) fn drop_silently(&mut self, ctx: &mut Context<'_>, reason: CloseReason) {
        match &mut self.state {
            // Whatever the peer has made beside it is in the table on its own.
            State::Established(state) => state.shut(ctx, self.names, reason, &mut Effects::default()),
            State::AwaitEap(state) => {
                state.auth.release(ctx);
                ctx.tell(self.names.id, News::Closed(reason));
            }
            State::AwaitAuth(state) => {
                state.release(ctx);
                ctx.tell(self.names.id, News::Closed(reason));
            }
            State::AwaitResume(state) => {
                state.put_back(ctx);
                ctx.tell(self.names.id, News::Closed(reason));
            }
            State::AwaitInit(_) | State::AwaitFurther(_) => ctx.tell(self.names.id, News::Closed(reason)),
            State::AnsweredEap(state) => state.abandon(ctx),
            State::Answered(_) | State::Refused(_) => {}
        }
    }

    /// The SA for people; `None` for one that another has taken the place of.
    pub(crate) fn snapshot(&self, now: crate::time::Now) -> Option<SaSnapshot> {
        match &self.state {
            State::Answered(state) => Some(state.snapshot(self.names, now)),
            State::AnsweredEap(state) => Some(state.snapshot(self.names, now)),
            State::Refused(_) => None,
            State::AwaitInit(state) => Some(state.snapshot(self.names, now)),
            State::AwaitResume(state) => Some(state.snapshot(self.names, now)),
            State::AwaitFurther(state) => Some(state.snapshot(self.names, now)),
            State::AwaitAuth(state) => Some(state.snapshot(self.names, now)),
            State::AwaitEap(state) => Some(state.auth.snapshot(self.names, now)),
            State::Established(state) => state.snapshot(self.names, now),
        }
    }
}

/// Sends all datagrams of a message.
pub(crate) fn transmit(ctx: &mut Context<'_>, path: Path, datagrams: &[Box<[u8]>]) {
    for datagram in datagrams {
        ctx.out.push(Output::Transmit { path, octets: datagram.to_vec() });
    }
}

/// A number as an SPI of ours in that role.
pub(crate) fn spi_pair(ours: NonZeroU64, theirs: NonZeroU64, role: OriginalRole) -> (SpiI, SpiR) {
    match role {
        OriginalRole::Initiator => (SpiI(ours), SpiR(theirs)),
        OriginalRole::Responder => (SpiI(theirs), SpiR(ours)),
    }
}
