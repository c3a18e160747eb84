//! The client side: which gateway a connection goes to, when, and what it makes of being sent
//! elsewhere.
//!
//! A [`Dial`] is one connection on its way: it says what is to be begun, asked or ended ([`Act`]),
//! and is told what has come of it. It knows no messages and no keys.
//!
//! # Invariants
//!
//! - A redirect changes where the connection goes next and nothing else: whom the peer has to be
//!   stays what the configuration says (`RFC 5685 §3`).
//! - Whatever goes wrong on the way that a redirect has shown leads back to the configured list.
//! - An SA in use ends only when the one in its place has its Child SAs, and a moment later, so that
//!   what is under way to it still arrives.
//! - How often redirects are followed is limited, whatever SAs come and go meanwhile.
//!
//! # Picture
//!
//! ```text
//!            ┌──────────── remotes of the configuration, one after the other ◀──────────┐
//!            ▼                                                                          │
//!        Locating ── an address of ours, one of theirs ──▶ Trying ── no answer, refused ┤
//!            ▲                                               │ │                        │
//!            └── redirect in IKE_SA_INIT, IKE_AUTH ──────────┘ up                       │
//!            ▲                                                 ▼                        │
//!            └── redirect in INFORMATIONAL ──────────────── Resting ── gone ── Waiting ─┘
//!                                                                     or: Pausing ─▶ Watching ── a packet
//!                                                              ▲
//!            Trying, beside the SA in use ── up ──▶ Moving ────┘ the old one is deleted
//! ```
//!
//! # References
//!
//! `RFC 5685`

mod backoff;
mod dials;
mod notice;
mod window;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use self::backoff::{Backoff, LONGEST};
pub(crate) use self::dials::{DialId, Dials};
pub(crate) use self::notice::read;
use self::window::Redirects;
use super::config::{Connection, Start};
use super::event::{CloseReason, RedirectRefusal};
use super::following::Following;
use super::io::{Request, SaId, Way};
use super::trap::TrapId;
use super::wire::ExchangeType;
use crate::gateway::{GatewayAddress, unicast};
use crate::rng::Rng;
use crate::time::{Instant, Now};

/// What has come of an SA that was begun for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Both sides have proved who they are.
    Up,
    /// It did not come up, which was said already.
    Failed,
    /// The gateway wants us elsewhere.
    Sent {
        /// In which exchange. Only in IKE_SA_INIT and IKE_AUTH the SA is of no more use.
        exchange: ExchangeType,
        /// Who wants it.
        from: SocketAddr,
        /// Where.
        to: GatewayAddress,
    },
    /// Our address has changed, and the gateway does not move the SA.
    Stranded {
        /// Where the gateway is.
        remote: SocketAddr,
    },
    /// It is gone.
    Closed(CloseReason),
}

/// What is to be done for a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// The world is to be asked where this is.
    Locate { request: Request, host: GatewayAddress },
    /// An SA is to be begun.
    Begin {
        local: IpAddr,
        remote: SocketAddr,
        /// The gateway that has sent us there.
        from: Option<IpAddr>,
        /// The SA in use, which it is to take the place of.
        beside: Option<SaId>,
    },
    /// The Child SAs of one are to be made with the other.
    Move { from: SaId, to: SaId },
    /// An SA is of no more use.
    Close { sa: SaId },
    /// A redirect is followed.
    Follow { exchange: ExchangeType, from: SocketAddr, to: GatewayAddress },
    /// A redirect is not followed.
    Refuse { from: SocketAddr, to: GatewayAddress, reason: RedirectRefusal },
    /// There is no way to a gateway of the configuration.
    NoWay { host: GatewayAddress },
    /// Packets that this is for are to be told of, from the next one on: a trap is set.
    Watch,
    /// Nobody asks for them any more.
    Unwatch,
}

/// What surrounds a dial while it is told something.
pub(crate) struct Around<'a> {
    pub(crate) now: Now,
    pub(crate) rng: &'a mut Rng,
    pub(crate) following: &'a Following,
    pub(crate) acts: &'a mut Vec<Act>,
}

/// A connection on its way.
#[derive(Debug)]
pub(crate) struct Dial {
    id: DialId,
    connection: Arc<Connection>,
    stage: Stage,
    /// Which of the remotes is tried, or has led to where we are.
    at: usize,
    /// How often the world was asked.
    turn: u64,
    /// The SA in use.
    current: Option<SaId>,
    /// The SA whose place that one has taken, and until when it takes in what is still under way.
    left: Option<(SaId, Instant)>,
    up_at: Instant,
    /// Whether its gateway wants us elsewhere and we are not there.
    is_sent_away: bool,
    /// Whether packets that it is for are watched for.
    has_trap: bool,
    redirects: Redirects,
    backoff: Backoff,
}

/// What a dial is at.
#[derive(Debug)]
enum Stage {
    /// Nothing is under way.
    Resting,
    /// The next round begins.
    Waiting { until: Instant },
    /// Its trap is set again when that time has come.
    Pausing { until: Instant },
    /// A packet that it is for begins the next round.
    Watching,
    /// The world was asked where a gateway is.
    Locating { until: Instant, goal: Goal },
    /// An SA is begun.
    Trying { sa: SaId, goal: Goal },
    /// Another SA than the one in use is up and gets its Child SAs.
    Moving { to: SaId },
    /// It is done with.
    Over,
}

/// Where a connection goes to.
#[derive(Clone, Debug)]
struct Goal {
    host: GatewayAddress,
    port: u16,
    /// Who has sent us there.
    from: Option<SocketAddr>,
    /// Ways there that were not tried yet, the next one last.
    ways: Vec<Way>,
}

impl Dial {
    /// A connection that nothing is done for yet.
    fn new(id: DialId, now: Now, connection: Arc<Connection>) -> Self {
        Self {
            id,
            connection,
            stage: Stage::Waiting { until: now.mono },
            at: 0,
            turn: 0,
            current: None,
            left: None,
            up_at: now.mono,
            is_sent_away: false,
            has_trap: false,
            redirects: Redirects::default(),
            backoff: Backoff::default(),
        }
    }

    pub(crate) const fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Whether nothing will be done for it any more.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Whether it waits for its next round, by itself or by a packet.
    pub(crate) const fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Waiting { .. } | Stage::Pausing { .. } | Stage::Watching)
    }

    /// By what its packets are watched for.
    pub(crate) const fn trap(&self) -> TrapId {
        TrapId(self.id.0)
    }

    /// Whether its packets are watched for.
    pub(crate) const fn has_trap(&self) -> bool {
        self.has_trap
    }

    /// Whether a packet begins its next round.
    pub(crate) const fn is_watching(&self) -> bool {
        matches!(self.stage, Stage::Watching)
    }

    /// The new SA that gets the Child SAs of the one in use.
    pub(crate) const fn moves_to(&self) -> Option<SaId> {
        if let Stage::Moving { to } = self.stage { Some(to) } else { None }
    }

    /// The SAs that it has to do with.
    fn sas(&self) -> impl Iterator<Item = SaId> {
        let other = match &self.stage {
            Stage::Trying { sa, .. } | Stage::Moving { to: sa } => Some(*sa),
            Stage::Resting
            | Stage::Waiting { .. }
            | Stage::Pausing { .. }
            | Stage::Watching
            | Stage::Locating { .. }
            | Stage::Over => None,
        };
        self.current.into_iter().chain(other).chain(self.left.map(|(sa, _)| sa))
    }

    /// When it has something to do, and what.
    fn deadline(&self) -> Option<Instant> {
        let stage = match &self.stage {
            Stage::Waiting { until } | Stage::Pausing { until } | Stage::Locating { until, .. } => {
                Some(*until)
            }
            Stage::Resting | Stage::Watching | Stage::Trying { .. } | Stage::Moving { .. } | Stage::Over => {
                None
            }
        };
        stage.into_iter().chain(self.left.map(|(_, until)| until)).min()
    }

    /// Goes to the first remote. Our address on the way there may be known.
    pub(crate) fn begin(&mut self, around: &mut Around<'_>, local: Option<IpAddr>) {
        self.at = 0;
        self.is_sent_away = false;
        self.approach(around, local);
    }

    /// The settings are other ones: the next round goes by them. `None` = the connection is not in
    /// them any more.
    pub(crate) fn renew(&mut self, connection: Option<Arc<Connection>>) {
        match connection {
            Some(connection) => self.connection = connection,
            None => self.stage = Stage::Over,
        }
    }

    /// Has packets watched for that it is for, as its settings say now.
    pub(crate) fn watch(&mut self, around: &mut Around<'_>) {
        match self.connection.upkeep.start {
            Start::Trap => {
                self.has_trap = true;
                self.stage = Stage::Watching;
                around.acts.push(Act::Watch);
            }
            // Whoever has changed that has begun another one.
            Start::Auto | Start::Manual => self.stage = Stage::Over,
        }
    }

    /// The settings are other ones: its trap is set as they say, and what is under way goes on.
    pub(crate) fn configured(&mut self, around: &mut Around<'_>, connection: Option<Arc<Connection>>) {
        match connection.filter(|connection| connection.upkeep.start == Start::Trap) {
            Some(connection) if Arc::ptr_eq(&connection, &self.connection) => {}
            Some(connection) => {
                self.connection = connection;
                if self.has_trap {
                    around.acts.push(Act::Watch);
                } else if let Stage::Waiting { until } = self.stage
                    && !self.is_sent_away
                {
                    self.stage = Stage::Pausing { until };
                }
            }
            None if self.has_trap => {
                around.acts.push(Act::Unwatch);
                self.forget_trap();
            }
            None => {}
        }
    }

    /// Nobody watches for its packets: when nothing is under way it is done with.
    pub(crate) fn forget_trap(&mut self) {
        self.has_trap = false;
        if matches!(self.stage, Stage::Pausing { .. } | Stage::Watching) {
            self.stage = Stage::Over;
        }
    }

    /// Goes to the remote whose turn it is.
    fn approach(&mut self, around: &mut Around<'_>, local: Option<IpAddr>) {
        let Some(remote) = self.connection.remotes.get(self.at) else { return self.rest(around) };
        let host = match remote.ip() {
            IpAddr::V4(address) => GatewayAddress::Ipv4(address),
            IpAddr::V6(address) => GatewayAddress::Ipv6(address),
        };
        let known = local.map(|local| Way { local, remote: remote.ip() });
        let goal = Goal { host, port: remote.port(), from: None, ways: known.into_iter().collect() };
        if known.is_some() { self.advance(around, goal) } else { self.locate(around, goal) }
    }

    fn locate(&mut self, around: &mut Around<'_>, goal: Goal) {
        self.turn += 1;
        let request = Request { dial: self.id.0, turn: self.turn };
        around.acts.push(Act::Locate { request, host: goal.host.clone() });
        self.stage = Stage::Locating { until: around.now.mono + LOCATING, goal };
    }

    /// The world has answered.
    pub(crate) fn located(&mut self, around: &mut Around<'_>, turn: u64, mut ways: Vec<Way>) {
        let Stage::Locating { goal, .. } = &self.stage else { return };
        if turn != self.turn {
            return;
        }
        let mut goal = goal.clone();
        ways.truncate(MAX_WAYS);
        ways.reverse();
        let Some(from) = goal.from else {
            goal.ways = ways;
            return if goal.ways.is_empty() {
                self.no_way(around, &goal)
            } else {
                self.advance(around, goal)
            };
        };
        // Names lead to addresses that no REDIRECT may have, too.
        let mut reason = RedirectRefusal::Unresolved;
        goal.ways = ways;
        goal.ways.retain(|way| {
            let wrong = if unicast(way.remote).is_err() {
                RedirectRefusal::BadAddress
            } else if way.local == way.remote {
                // The system talks to itself only from the address that it talks to.
                RedirectRefusal::OwnAddress
            } else {
                return true;
            };
            reason = wrong;
            false
        });
        if goal.ways.is_empty() {
            around.acts.push(Act::Refuse { from, to: goal.host, reason });
            return self.setback(around);
        }
        self.advance(around, goal);
    }

    fn no_way(&mut self, around: &mut Around<'_>, goal: &Goal) {
        match goal.from {
            Some(from) => {
                let (to, reason) = (goal.host.clone(), RedirectRefusal::Unresolved);
                around.acts.push(Act::Refuse { from, to, reason });
            }
            None => around.acts.push(Act::NoWay { host: goal.host.clone() }),
        }
        self.setback(around);
    }

    /// Begins an SA on the next way, or goes back to the list.
    fn advance(&mut self, around: &mut Around<'_>, mut goal: Goal) {
        let Some(Way { local, remote }) = goal.ways.pop() else { return self.setback(around) };
        let remote = SocketAddr::new(remote, goal.port);
        let from = goal.from.map(|from| from.ip());
        around.acts.push(Act::Begin { local, remote, from, beside: self.current });
        // Until it is known which SA it is; no other one has this number.
        self.stage = Stage::Trying { sa: SaId(0), goal };
    }

    /// The SA that was to be begun has this number.
    pub(crate) fn begun(&mut self, sa: SaId) {
        if let Stage::Trying { sa: place, .. } = &mut self.stage {
            *place = sa;
        }
    }

    /// The SA that was to be begun could not be.
    pub(crate) fn not_begun(&mut self, around: &mut Around<'_>) {
        self.failed(around, SaId(0));
    }

    fn failed(&mut self, around: &mut Around<'_>, which: SaId) {
        if let Stage::Trying { sa, goal } = &self.stage
            && *sa == which
        {
            let goal = goal.clone();
            self.advance(around, goal);
        }
    }

    /// Something has come of one of its SAs.
    pub(crate) fn hear(&mut self, around: &mut Around<'_>, sa: SaId, news: News) {
        match news {
            News::Up => self.up(around, sa),
            News::Failed => self.failed(around, sa),
            News::Sent { exchange, from, to } => self.sent(around, sa, exchange, (from, to)),
            News::Stranded { remote } => self.stranded(around, sa, remote),
            News::Closed(reason) => self.closed(around, sa, reason),
        }
    }

    /// The SA in use is of an address that we do not have any more: another one with the same gateway
    /// takes its place.
    fn stranded(&mut self, around: &mut Around<'_>, which: SaId, remote: SocketAddr) {
        if !matches!(self.stage, Stage::Resting) || self.current != Some(which) {
            return;
        }
        let host = match remote.ip() {
            IpAddr::V4(address) => GatewayAddress::Ipv4(address),
            IpAddr::V6(address) => GatewayAddress::Ipv6(address),
        };
        let configured = self.connection.remotes.iter().find(|it| it.ip() == remote.ip());
        let port = configured.map_or_else(|| remote.port(), SocketAddr::port);
        self.locate(around, Goal { host, port, from: None, ways: Vec::new() });
    }

    fn up(&mut self, around: &mut Around<'_>, which: SaId) {
        if !matches!(&self.stage, Stage::Trying { sa, .. } if *sa == which) {
            return;
        }
        match self.current {
            Some(from) => {
                self.stage = Stage::Moving { to: which };
                around.acts.push(Act::Move { from, to: which });
            }
            None => {
                self.current = Some(which);
                self.settled(around.now);
            }
        }
    }

    fn settled(&mut self, now: Now) {
        self.stage = Stage::Resting;
        self.up_at = now.mono;
        self.is_sent_away = false;
    }

    /// The new SA has its Child SAs.
    pub(crate) fn moved(&mut self, around: &mut Around<'_>) {
        if let Stage::Moving { to } = self.stage {
            let old = self.current.replace(to).map(|sa| (sa, around.now.mono + LINGERING));
            // Whoever is sent on within a moment has two behind him.
            if let Some((sa, _)) = std::mem::replace(&mut self.left, old) {
                around.acts.push(Act::Close { sa });
            }
            self.settled(around.now);
        }
    }

    /// The new SA does not get any: the one in use stays.
    pub(crate) fn not_moved(&mut self, around: &mut Around<'_>) {
        if let Stage::Moving { to } = self.stage {
            around.acts.push(Act::Close { sa: to });
            self.setback(around);
        }
    }

    /// A gateway wants us elsewhere.
    fn sent(
        &mut self,
        around: &mut Around<'_>,
        which: SaId,
        exchange: ExchangeType,
        (from, to): (SocketAddr, GatewayAddress),
    ) {
        let port = match &self.stage {
            Stage::Trying { sa, goal } if *sa == which => goal.port,
            Stage::Resting if self.current == Some(which) => {
                self.connection.remotes.get(self.at).map_or_else(|| from.port(), SocketAddr::port)
            }
            Stage::Locating { .. } | Stage::Trying { .. } | Stage::Moving { .. }
                if self.sas().any(|sa| sa == which) =>
            {
                let reason = RedirectRefusal::AlreadyMoving;
                return around.acts.push(Act::Refuse { from, to, reason });
            }
            Stage::Resting if self.left.is_some_and(|(left, _)| left == which) => {
                let reason = RedirectRefusal::AlreadyMoving;
                return around.acts.push(Act::Refuse { from, to, reason });
            }
            Stage::Resting
            | Stage::Waiting { .. }
            | Stage::Pausing { .. }
            | Stage::Watching
            | Stage::Locating { .. }
            | Stage::Trying { .. }
            | Stage::Moving { .. }
            | Stage::Over => return,
        };
        let Following { most, period, .. } = *around.following;
        let refusal = if !around.following.allows(&to) {
            Some(RedirectRefusal::NotAllowed)
        } else if !self.redirects.admit(around.now.mono, most, period) {
            Some(RedirectRefusal::TooMany)
        } else {
            None
        };
        if let Some(reason) = refusal {
            around.acts.push(Act::Refuse { from, to, reason });
            return self.setback(around);
        }
        around.acts.push(Act::Follow { exchange, from, to: to.clone() });
        self.locate(around, Goal { host: to, port, from: Some(from), ways: Vec::new() });
    }

    /// The way that was tried leads nowhere: an SA in use stays, otherwise it is the next remote's
    /// turn.
    fn setback(&mut self, around: &mut Around<'_>) {
        self.return_to_left();
        if self.current.is_some() {
            self.stage = Stage::Resting;
            self.is_sent_away = true;
            return;
        }
        self.at += 1;
        self.approach(around, None);
    }

    /// The SA that was left for another one is of use again if that one is gone already.
    fn return_to_left(&mut self) {
        if self.current.is_none() {
            self.current = self.left.take().map(|(sa, _)| sa);
        }
    }

    /// All remotes had their turn.
    fn rest(&mut self, around: &mut Around<'_>) {
        let start = self.connection.upkeep.start;
        if start == Start::Manual && !self.is_sent_away {
            self.stage = Stage::Over;
            return;
        }
        let until = around.now.mono + self.backoff.failed(around.rng);
        let by_packet = start == Start::Trap && !self.is_sent_away;
        self.stage = if by_packet { Stage::Pausing { until } } else { Stage::Waiting { until } };
    }

    /// One of its SAs is gone.
    fn closed(&mut self, around: &mut Around<'_>, which: SaId, reason: CloseReason) {
        if reason == CloseReason::Shutdown {
            self.stage = Stage::Over;
        }
        if self.left.is_some_and(|(left, _)| left == which) {
            self.left = None;
            return;
        }
        if self.current != Some(which) {
            return match &self.stage {
                Stage::Trying { sa, .. }
                    if *sa == which && reason == CloseReason::Cleared && self.current.is_none() =>
                {
                    self.give_up(around)
                }
                Stage::Trying { sa, .. } if *sa == which => self.failed(around, which),
                Stage::Moving { to } if *to == which => self.setback(around),
                Stage::Resting
                | Stage::Waiting { .. }
                | Stage::Pausing { .. }
                | Stage::Watching
                | Stage::Locating { .. }
                | Stage::Trying { .. }
                | Stage::Moving { .. }
                | Stage::Over => {}
            };
        }
        self.current = None;
        match self.stage {
            // It has not waited for its successor.
            Stage::Moving { to } => {
                self.current = Some(to);
                self.settled(around.now);
            }
            Stage::Resting => {
                if around.now.mono.since(self.up_at) >= LONGEST {
                    self.backoff.reset();
                }
                self.return_to_left();
                if self.current.is_some() {
                    self.is_sent_away = true;
                } else {
                    self.lost(around, reason);
                }
            }
            Stage::Waiting { .. }
            | Stage::Pausing { .. }
            | Stage::Watching
            | Stage::Locating { .. }
            | Stage::Trying { .. }
            | Stage::Over => {}
        }
    }

    /// The SA in use is gone, and there is none in its place.
    fn lost(&mut self, around: &mut Around<'_>, reason: CloseReason) {
        self.at = self.connection.remotes.len();
        match reason {
            // The peer has made an SA with us: a new one of ours would end that one in turn. A packet
            // that has no way is a reason to make one all the same.
            CloseReason::Superseded if !self.has_trap => self.stage = Stage::Over,
            CloseReason::Cleared => self.give_up(around),
            CloseReason::DeletedByPeer
            | CloseReason::PeerDead
            | CloseReason::Rekeyed
            | CloseReason::Redundant
            | CloseReason::Expired
            | CloseReason::ProtocolError
            | CloseReason::WithIkeSa
            | CloseReason::Shutdown
            | CloseReason::Redirected
            | CloseReason::AddressGone
            | CloseReason::Drained
            | CloseReason::Resumed
            | CloseReason::Superseded
            | CloseReason::SessionOver => self.rest(around),
        }
    }

    /// An operator has ended it: one that is kept up begins anew.
    fn give_up(&mut self, around: &mut Around<'_>) {
        self.is_sent_away = false;
        self.rest(around);
    }

    /// Its time has come. What is to be begun anew is said by the caller, who knows the settings.
    pub(crate) fn timeout(&mut self, around: &mut Around<'_>) {
        if let Some((sa, until)) = self.left
            && until <= around.now.mono
        {
            self.left = None;
            around.acts.push(Act::Close { sa });
        }
        if let Stage::Locating { until, goal } = &self.stage
            && *until <= around.now.mono
        {
            let goal = goal.clone();
            self.no_way(around, &goal);
        }
    }

    /// Whether its next round begins now, or is watched for from now on.
    pub(crate) fn is_due(&self, now: Now) -> bool {
        let (Stage::Waiting { until } | Stage::Pausing { until }) = self.stage else { return false };
        until <= now.mono
    }

    /// Does what its time has come for, by settings that are up to date.
    pub(crate) fn go_on(&mut self, around: &mut Around<'_>) {
        match self.stage {
            Stage::Waiting { .. } => self.begin(around, None),
            Stage::Pausing { .. } => self.watch(around),
            Stage::Resting
            | Stage::Watching
            | Stage::Locating { .. }
            | Stage::Trying { .. }
            | Stage::Moving { .. }
            | Stage::Over => {}
        }
    }
}

/// How long the world has to say where something is.
pub(crate) const LOCATING: Duration = Duration::from_secs(10);
/// How long an SA takes in what is still under way to it when another one is in its place.
pub(crate) const LINGERING: Duration = Duration::from_secs(1);
/// Most addresses of a name that are tried.
const MAX_WAYS: usize = 4;
