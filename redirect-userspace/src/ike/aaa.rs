//! What an endpoint asks of a server that knows its users, and what it tells it about their sessions:
//! the seam to RADIUS.
//!
//! # Picture
//!
//! ```text
//! client ─ EAP in IKE_AUTH ─▶ SA ─ AaaRequest ─▶ runtime ─ Access-Request ─▶ server
//!                              ◀── AaaAnswer ───         ◀─ Challenge, Accept, Reject ─
//!                                  Account ────▶         ─ Accounting-Request ─▶
//! ```
//!
//! An SA asks one question at a time, and the answer names the same [`Conversation`] and round: an
//! answer that is late, or comes twice, changes nothing. A conversation that ends before the server has
//! accepted or rejected is told of by [`Output::AaaAbandoned`](super::Output::AaaAbandoned). It is not
//! waited for longer than a half-open SA is kept.
//!
//! # References
//!
//! `RFC 3579`, `RFC 2866`, `RFC 2869 §2.1`.

use std::fmt::{Debug, Formatter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use super::authn::eap::Msk;
use super::config::Name;
use super::event::CloseReason;
use super::io::Path;

/// The conversation of one client with a server, as long as it is authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conversation {
    /// Our SPI of its SA, which leads to the worker too.
    pub(super) spi: u64,
}

impl Conversation {
    /// Its number: no two of a worker that are under way have the same.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.spi
    }

    /// One of an SA with this SPI of ours, for tests of whoever answers.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub const fn of(spi: u64) -> Self {
        Self { spi }
    }
}

/// A question.
#[derive(Clone, PartialEq, Eq)]
pub struct AaaRequest {
    /// Whose.
    pub conversation: Conversation,
    /// Which question of this conversation it is, from 1.
    pub round: u32,
    /// Who the client says it is.
    pub user: Arc<str>,
    /// The client's EAP packet. It may have passwords in it.
    pub packet: Vec<u8>,
    /// Between which addresses the client speaks to us.
    pub path: Path,
    /// Which profile it comes to.
    pub profile: Name,
    /// What [`Account::session`] will be.
    pub session: Arc<str>,
}

impl Debug for AaaRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { conversation, round, user, packet, path, profile, session } = self;
        write!(
            f,
            "AaaRequest({conversation:?}, {round}, {user}, {} octets, {path:?}, {profile}, {session})",
            packet.len()
        )
    }
}

/// The answer to a question.
#[derive(Debug)]
pub struct AaaAnswer {
    /// That of the question.
    pub conversation: Conversation,
    /// That of the question.
    pub round: u32,
    /// What the server says.
    pub verdict: AaaVerdict,
}

/// What a server says. EAP packets are handed on to the client as they are.
#[derive(Debug)]
pub enum AaaVerdict {
    /// The client is to answer this EAP request.
    Challenge(Vec<u8>),
    /// The client is who it is.
    Accept {
        /// EAP Success.
        packet: Vec<u8>,
        /// The key of the method, if it makes one.
        msk: Option<Msk>,
        /// What the client gets.
        grants: Grants,
    },
    /// It is not, or may not.
    Reject {
        /// EAP Failure, or nothing.
        packet: Option<Vec<u8>>,
    },
    /// No server has answered, or none in a way that can be believed.
    Unreachable,
}

/// What a server grants to a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Who it is, if the server says it: User-Name in Access-Accept (`RFC 2865 §5.1`).
    pub user: Option<Arc<str>>,
    /// Its address, if nobody else has it: Framed-IP-Address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address, if nobody else has it: Framed-IPv6-Address.
    pub ipv6: Option<Ipv6Addr>,
    /// Name servers for it, besides those of the profile.
    pub dns: Vec<IpAddr>,
    /// After which time its SA ends: Session-Timeout.
    pub session_timeout: Option<Duration>,
    /// How often [`AccountStage::Interim`] comes: Acct-Interim-Interval.
    pub interim: Option<Duration>,
    /// What accounting has to say with every message: Class, as often as it came.
    pub class: Arc<[Box<[u8]>]>,
}

/// Something about the session of a client, for a server that keeps accounts.
///
/// How much was carried is not known here: Child SAs name the session that they carry for
/// ([`InstallChild::session`](super::InstallChild)), so that whoever has the data plane can sum up what
/// they have carried, at [`Output::Remove`](super::Output::Remove) or earlier. All of them are
/// removed before [`AccountStage::Stop`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name: no two sessions have the same, on whatever node and however often they are rekeyed.
    pub session: Arc<str>,
    /// What has happened.
    pub stage: AccountStage,
    /// Whose it is.
    pub user: Arc<str>,
    /// [`Grants::class`]
    pub class: Arc<[Box<[u8]>]>,
    /// The addresses that the client has.
    pub addresses: Vec<IpAddr>,
    /// Between which addresses it speaks to us.
    pub path: Path,
    /// Its profile.
    pub profile: Name,
    /// How long it is up.
    pub time: Duration,
}

/// What has happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountStage {
    /// It is up.
    Start,
    /// It still is.
    Interim,
    /// It is gone.
    Stop(CloseReason),
}
