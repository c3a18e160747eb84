//! Records of accounting, until a server has written them down.
//!
//! # Invariants
//!
//! - Of one session there is one record under way at a time: its end is never told before its
//!   beginning.
//! - What no server takes is tried again, for [`KEPT`]; then it is lost, and counted. The same goes
//!   for what finds no room.
//! - A record about the course of a session is given up when a later one is there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::SocketId;
use super::pool::{Fate, Hands, Pool};
use crate::radius::config::Server;
use crate::radius::event::{Discard, Outcome, Role, ServerSnapshot};
use crate::radius::request::{Record, Status, Unsent};
use crate::time::{Instant, Now};

/// The records that are not written down yet.
#[derive(Debug)]
pub(super) struct Ledger {
    pool: Pool,
    records: BTreeMap<u64, Entry>,
    /// The records of each session, the earliest first; that one is under way.
    sessions: BTreeMap<Arc<str>, VecDeque<u64>>,
    /// Records to be tried again.
    again: BTreeSet<(Instant, u64)>,
    /// What was given up and has not been told yet.
    lost: Vec<String>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    session: Arc<str>,
    unsent: Unsent,
    is_interim: bool,
    made_at: Instant,
}

impl Ledger {
    pub(super) const fn new() -> Self {
        Self {
            pool: Pool::new(Role::Accounting, MOST_RECORDS),
            records: BTreeMap::new(),
            sessions: BTreeMap::new(),
            again: BTreeSet::new(),
            lost: Vec::new(),
            next: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let again = self.again.first().map(|(at, _)| *at);
        [self.pool.deadline(), again].into_iter().flatten().min()
    }

    /// Whether a socket is one of accounting.
    pub(super) fn has(&self, socket: SocketId) -> bool {
        self.server_of(socket).is_some()
    }

    pub(super) fn server_of(&self, socket: SocketId) -> Option<SocketAddr> {
        self.pool.server_of(socket)
    }

    pub(super) fn snapshot(&self, now: Now) -> impl Iterator<Item = ServerSnapshot> + use<'_> {
        self.pool.snapshot(now)
    }

    /// What was given up.
    pub(super) fn lost(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lost)
    }

    pub(super) fn configure(&mut self, hands: &mut Hands<'_>, servers: &[Server]) {
        let fates = self.pool.configure(hands, servers);
        self.settle(hands, fates);
        if self.pool.is_empty() {
            // Nobody wants them any more.
            self.records.clear();
            self.sessions.clear();
            self.again.clear();
        }
    }

    /// Something is to be written down. Without servers there is nothing to do.
    pub(super) fn record(&mut self, hands: &mut Hands<'_>, record: &Record) {
        if self.pool.is_empty() {
            return;
        }
        if self.records.len() >= MOST_RECORDS {
            self.lost.push(format!("{}: {MOST_RECORDS} records wait", record.session));
            return;
        }
        let number = self.next;
        self.next += 1;
        let entry = Entry {
            session: Arc::clone(&record.session),
            unsent: Unsent::accounting(hands.now, record),
            is_interim: record.status == Status::Interim,
            made_at: hands.now.mono,
        };
        self.records.insert(number, entry);
        let line = self.sessions.entry(Arc::clone(&record.session)).or_default();
        line.push_back(number);
        if line.len() == 1 {
            return self.send(hands, number);
        }
        // Between the first, which is under way, and the new one.
        let outdated: Vec<u64> = line.iter().skip(1).copied().filter(|other| *other != number).collect();
        for other in outdated {
            if self.records.get(&other).is_some_and(|entry| entry.is_interim) {
                self.records.remove(&other);
                if let Some(line) = self.sessions.get_mut(&record.session) {
                    line.retain(|waiting| *waiting != other);
                }
            }
        }
    }

    fn send(&mut self, hands: &mut Hands<'_>, number: u64) {
        let Some(entry) = self.records.get(&number) else { return };
        let unsent = entry.unsent.clone();
        if let Err(why) = self.pool.send(hands, unsent, number, None) {
            self.failed(hands, number, why);
        }
    }

    /// No server has taken a record.
    fn failed(&mut self, hands: &mut Hands<'_>, number: u64, why: Outcome) {
        let Some(entry) = self.records.get(&number) else { return };
        let at = hands.now.mono + PAUSE;
        // Trying again does not make one shorter that is too long.
        let may_come = matches!(why, Outcome::Unanswered | Outcome::Overflow) && at < entry.made_at + KEPT;
        // The next one says more, and says it at once.
        let is_outdated =
            entry.is_interim && self.sessions.get(&entry.session).is_some_and(|line| line.len() > 1);
        if may_come && !is_outdated {
            self.again.insert((at, number));
            return;
        }
        if !is_outdated {
            self.lost.push(format!("{}: {why}", entry.session));
        }
        self.done(hands, number);
    }

    /// A record is written down, or lost: the next one of the session may go.
    fn done(&mut self, hands: &mut Hands<'_>, number: u64) {
        let Some(Entry { session, .. }) = self.records.remove(&number) else { return };
        let Some(line) = self.sessions.get_mut(&session) else { return };
        line.retain(|other| *other != number);
        match line.front().copied() {
            Some(next) => self.send(hands, next),
            None => {
                self.sessions.remove(&session);
            }
        }
    }

    fn settle(&mut self, hands: &mut Hands<'_>, fates: Vec<Fate<'_>>) {
        for fate in fates {
            match fate {
                Fate::Answered { owner, .. } => {
                    hands.counters.outcome(Outcome::Recorded);
                    self.done(hands, owner);
                }
                Fate::Failed { owner, why } => self.failed(hands, owner, why),
            }
        }
    }

    pub(super) fn datagram(
        &mut self,
        hands: &mut Hands<'_>,
        socket: SocketId,
        octets: &[u8],
    ) -> Result<(), Discard> {
        let fate = self.pool.datagram(hands, socket, octets)?;
        self.settle(hands, fate.into_iter().collect());
        Ok(())
    }

    pub(super) fn refused(&mut self, hands: &mut Hands<'_>, socket: SocketId) {
        let fates = self.pool.refused(hands, socket);
        self.settle(hands, fates);
    }

    pub(super) fn timeout(&mut self, hands: &mut Hands<'_>) {
        let fates = self.pool.timeout(hands);
        self.settle(hands, fates);
        while let Some((at, number)) = self.again.first().copied().filter(|(at, _)| *at <= hands.now.mono) {
            self.again.remove(&(at, number));
            self.send(hands, number);
        }
    }
}

/// Most records that are not written down yet.
const MOST_RECORDS: usize = 16_384;
/// How long a record is kept that no server takes.
const KEPT: Duration = Duration::from_secs(3_600);
/// How long nothing is tried when no server has taken a record.
const PAUSE: Duration = Duration::from_secs(30);
