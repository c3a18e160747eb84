//! The first message of an SA of ours, whichever it is, until it is answered.
//!
//! Nothing that comes here is authenticated.
//!
//! # References
//!
//! `RFC 7296 §2.6`, `§2.23`; `RFC 5685 §3`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::ike::client::{self, News};
use crate::ike::config::{Connection, Profile};
use crate::ike::event::{Event, Failure, RedirectRefusal};
use crate::ike::io::{NAT_T_PORT, Path};
use crate::ike::message::Channel;
use crate::ike::proposal::IkeSuite;
use crate::ike::sa::answered::abilities;
use crate::ike::sa::await_auth::Introduced;
use crate::ike::sa::child::NONCE_LENGTH;
use crate::ike::sa::context::{Context, Misdirected, Refusal};
use crate::ike::sa::keymat::IkeKeys;
use crate::ike::sa::natt::{self, Nat};
use crate::ike::sa::window::{Due, Window};
use crate::ike::sa::{Names, payloads, transmit};
use crate::ike::snapshot::{SaSnapshot, SaState};
use crate::ike::wire::{
    ChainWriter, Cookie, Direction, EncodeError, ExchangeType, Message, MessageId, Nonce, Notify,
    NotifyContent, NotifyType, encode_message,
};
use crate::machine::Deadline;
use crate::time::{Instant, Now};

/// What an SA is begun for, besides its connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Errand {
    /// Whether there is no other SA with the peer.
    pub(crate) is_sole: bool,
    /// The gateway that has sent us to this one.
    pub(crate) redirected_from: Option<IpAddr>,
    /// Addresses that we have from another gateway and would like to keep.
    pub(crate) addresses: Vec<IpAddr>,
}

impl Errand {
    /// What the first message says of redirects.
    pub(crate) fn announce(&self, chain: &mut ChainWriter<'_>, follows: bool) -> Result<(), EncodeError> {
        // RFC 5685 §3: whoever says where it comes from need not say that it goes on.
        match self.redirected_from {
            Some(from) => chain.notify(&NotifyContent::RedirectedFrom(from)),
            None if follows => chain.plain(NotifyType::RedirectSupported),
            None => Ok(()),
        }
    }
}

/// A first message that is under way.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) connection: Arc<Connection>,
    pub(super) path: Path,
    pub(super) nonce: [u8; NONCE_LENGTH],
    pub(super) errand: Errand,
    exchange: ExchangeType,
    cookie: Option<Cookie<'static>>,
    window: Window,
    /// How often something else was wanted first.
    detours: u8,
    made_at: Instant,
}

impl Opening {
    /// One that is not sent yet.
    pub(super) fn new(
        ctx: &mut Context<'_>,
        exchange: ExchangeType,
        connection: Arc<Connection>,
        path: Path,
        errand: Errand,
    ) -> Self {
        Self {
            connection,
            path,
            nonce: ctx.rng.array(),
            errand,
            exchange,
            cookie: None,
            window: Window::new(MessageId::FIRST, MessageId::FIRST),
            detours: 0,
            made_at: ctx.now.mono,
        }
    }

    /// Sends it, to be repeated until it is answered: `own` writes what it has and others have not, our
    /// nonce included, and `able` what it can besides what every one can.
    pub(super) fn send(
        &mut self,
        ctx: &mut Context<'_>,
        names: Names,
        own: impl FnOnce(&mut ChainWriter<'_>) -> Result<(), EncodeError>,
        able: impl FnOnce(&mut ChainWriter<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), Refusal> {
        let header = names.header(self.exchange, Direction::Request, MessageId::FIRST);
        let encapsulation = ctx.settings.encapsulation;
        let octets = encode_message(Vec::new(), &header, |chain| {
            // RFC 7296 §2.6: the cookie first, everything else as it was.
            if let Some(cookie) = &self.cookie {
                chain.notify(&NotifyContent::Cookie(cookie.clone()))?;
            }
            own(chain)?;
            natt::announce(chain, names.spi_i, None, self.path, encapsulation, ctx.rng)?;
            abilities(chain)?;
            able(chain)?;
            self.errand.announce(chain, ctx.settings.follows_redirects)
        })
        .map_err(|error| Refusal::new(Failure::Local, error.to_string()))?;
        let datagrams: Box<[Box<[u8]>]> = vec![octets.into_boxed_slice()].into();
        transmit(ctx, self.path, &datagrams);
        self.window = Window::new(MessageId::FIRST, MessageId::FIRST);
        let settings = self.connection.upkeep.retransmission(ctx.settings.retransmission);
        self.window.sent(ctx.now, self.exchange, datagrams, &settings);
        Ok(())
    }

    /// Whether a message could be the answer: it comes from where the request was sent to.
    pub(super) fn is_answer(&self, path: Path, message: &Message<'_>) -> bool {
        let header = &message.header;
        header.exchange == self.exchange
            && header.direction == Direction::Response
            && header.message_id == MessageId::FIRST
            && path.remote == self.path.remote
    }

    /// Something else may be wanted first.
    pub(super) const fn may_detour(&self) -> bool {
        self.detours < MAX_DETOURS
    }

    /// Something else is wanted first.
    pub(super) const fn detour(&mut self) {
        self.detours += 1;
    }

    /// What it is sent with from now on.
    pub(super) fn show(&mut self, cookie: Cookie<'_>) {
        self.cookie = Some(cookie.into_owned());
    }

    /// Whether the gateway wants us elsewhere, and where; or somebody else does, of whom is told
    /// (`RFC 5685 §3`).
    pub(super) fn sent_elsewhere(&self, ctx: &mut Context<'_>, notify: &Notify<'_>) -> Option<News> {
        let from = self.path.remote;
        let (reason, to) = match client::read(notify, Some(&self.nonce)) {
            Ok(to) if ctx.settings.follows_redirects => {
                return Some(News::Sent { exchange: self.exchange, from, to });
            }
            Ok(to) => (RedirectRefusal::Disabled, Some(to)),
            Err(reason) => (reason, None),
        };
        let connection = Some(self.connection.profile.name.clone());
        ctx.misdirected(reason, Misdirected { connection, from, to });
        None
    }

    /// Both sides know each other's nonces, and have these keys.
    pub(super) fn introduced(
        &self,
        ctx: &Context<'_>,
        names: Names,
        (path, message): (Path, &Message<'_>),
        suite: IkeSuite,
        nr: &Nonce<'_>,
        keys: IkeKeys,
    ) -> Introduced {
        let chain = &message.payloads;
        let nat = Nat::detect(chain, names.spi_i, names.spi_r, path, ctx.settings.encapsulation);
        let mut channel = Channel::new(keys.ours, keys.theirs, Window::new(MessageId(0), MessageId(1)));
        channel.fragments = chain.notify(NotifyType::FragmentationSupported).is_some();
        Introduced {
            connection: Arc::clone(&self.connection),
            begun_on: self.path,
            path: after_nat_detection(path, nat, &self.connection.profile),
            nat,
            suite,
            channel,
            derivation: keys.derivation,
            proof_i: keys.proof_i,
            proof_r: keys.proof_r,
            proofs: keys.proofs,
            further: None,
            mix: None,
            request: self.window.outstanding().first().cloned().unwrap_or_default(),
            response: message.octets().into(),
            ni: self.nonce.into(),
            nr: nr.as_slice().into(),
            hashes: payloads::hashes(chain),
            errand: self.errand.clone(),
            kept: None,
            made_at: self.made_at,
        }
    }

    pub(super) const fn remote(&self) -> SocketAddr {
        self.path.remote
    }

    pub(super) fn deadline(&self, why: &'static str) -> Option<Deadline> {
        self.window.deadline().map(|at| Deadline { at, why })
    }

    /// Repeats it when it is time to; says whether it was repeated often enough.
    pub(super) fn is_dead(&mut self, ctx: &mut Context<'_>) -> bool {
        let settings = Arc::clone(ctx.settings);
        match self.window.due(ctx.now, &settings.retransmission) {
            Due::Nothing => false,
            Due::Repeat(datagrams) => {
                ctx.counters.retransmissions = ctx.counters.retransmissions.saturating_add(1);
                transmit(ctx, self.path, datagrams);
                false
            }
            Due::Dead => true,
        }
    }

    /// Nobody has answered.
    pub(super) fn unanswered(&self) -> Refusal {
        Refusal::new(Failure::Timeout, unanswered(self.exchange, self.path))
    }

    pub(super) fn fail(&self, ctx: &mut Context<'_>, names: Names, refusal: &Refusal) {
        fail(ctx, names, &self.connection, refusal);
    }

    pub(super) fn snapshot(&self, names: Names, now: Now) -> SaSnapshot {
        let age = now.mono.since(self.made_at);
        half_open(names, self.path, &self.connection, &self.errand, age)
    }
}

/// Where an exchange goes on once it is known where there are NATs.
pub(crate) fn after_nat_detection(mut path: Path, nat: Nat, profile: &Profile) -> Path {
    // RFC 4555 §3.3: whoever may meet a NAT elsewhere is on the ports for it already.
    if nat.is_encapsulated || (profile.mobility.is_allowed && nat.is_supported) {
        // RFC 7296 §2.23: from here on between the ports that NATs leave alone.
        path.local.set_port(NAT_T_PORT);
        if path.remote.port() == IKE_PORT {
            path.remote.set_port(NAT_T_PORT);
        }
    }
    path
}

/// Who does not answer what.
pub(crate) fn unanswered(exchange: ExchangeType, path: Path) -> String {
    format!("{} does not answer {exchange}", path.remote)
}

/// An SA of ours does not come up.
pub(crate) fn fail(ctx: &mut Context<'_>, names: Names, connection: &Connection, refusal: &Refusal) {
    ctx.tell(names.id, News::Failed);
    ctx.counters.failure(refusal.failure);
    ctx.event(Event::ConnectFailed {
        connection: connection.profile.name.clone(),
        failure: refusal.failure,
        detail: refusal.detail.clone(),
    });
}

/// An SA of ours that is not up yet, for people.
pub(crate) fn half_open(
    names: Names,
    path: Path,
    connection: &Connection,
    errand: &Errand,
    age: std::time::Duration,
) -> SaSnapshot {
    SaSnapshot {
        id: names.id,
        is_initiator: true,
        state: SaState::HalfOpen,
        local: path.local,
        remote: path.remote,
        local_id: "".into(),
        remote_id: "".into(),
        profile: Some(connection.profile.name.clone()),
        spi_i: names.spi_i,
        spi_r: names.spi_r,
        suite: "".into(),
        age,
        rekey_in: None,
        redirected_from: errand.redirected_from,
        follows_redirects: false,
        is_resumed: false,
        is_peer_behind_nat: false,
        are_we_behind_nat: false,
        is_mobile: false,
        addresses: Vec::new(),
        children: Vec::new(),
    }
}

/// Most cookies and other groups that are followed in one attempt (`RFC 7296 §2.6`).
const MAX_DETOURS: u8 = 4;
/// The port of IKE without NATs.
const IKE_PORT: u16 = 500;
