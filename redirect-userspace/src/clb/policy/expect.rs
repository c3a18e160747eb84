//! How many SAs each member is expected to have by now.
//!
//! A report is a moment in the past. Since then clients have been redirected, which the master
//! has counted itself, and SAs have ended, at a rate that earlier reports tell:
//!
//! ```text
//! expected = reported + SAs of the redirects it does not cover - SAs that have ended since
//! ```
//!
//! Redirects of the last moments before a report are still being set up when it is taken: the
//! part of them that it cannot contain yet stays uncovered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::Reporting;
use crate::gateway::GatewayName;
use crate::time::Instant;

/// What is known about all members.
#[derive(Debug)]
pub(super) struct Expectations {
    tracks: BTreeMap<GatewayName, Track>,
    arrivals: Rate,
    endings: Endings,
    /// IKE and Child SAs for each IKE SA, in all reports together.
    sas_per_client: f64,
}

/// What a member is expected to have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// SAs.
    pub(super) sas: f64,
    /// System load, smoothed, 0 to 1.
    pub(super) system: f64,
}

impl Expectations {
    pub(super) const fn new() -> Self {
        Self {
            tracks: BTreeMap::new(),
            arrivals: Rate::new(),
            endings: Endings { ended: 0.0, sa_seconds: 0.0 },
            sas_per_client: USUAL_SAS_PER_CLIENT,
        }
    }

    /// Clients per second, to all members; `None` before any time has passed.
    pub(super) fn rate(&self) -> Option<f64> {
        self.arrivals.per_second()
    }

    /// IKE and Child SAs of a client.
    pub(super) const fn sas_per_client(&self) -> f64 {
        self.sas_per_client
    }

    /// Takes note of clients. Those of members that do not report are nobody's.
    pub(super) fn arrived(&mut self, now: Instant, name: &GatewayName, clients: f64) {
        if let Some(track) = self.tracks.get_mut(name) {
            self.arrivals.add(clients);
            track.advance(now, self.endings.rate());
            track.add(now, clients, self.sas_per_client);
        }
    }

    /// Takes over the reports of `members`, and forgets everybody else.
    pub(super) fn observe(&mut self, now: Instant, members: &[Reporting<'_>]) {
        self.arrivals.update(now);
        self.count_sas(members);
        let reports = f64::from(u32::try_from(members.len()).unwrap_or(u32::MAX)) * LESSONS;
        for member in members {
            if !self.tracks.contains_key(member.name) {
                let usual = self.usual_system(members);
                self.tracks.insert(member.name.clone(), Track::new(member, usual));
            }
            let Some(track) = self.tracks.get_mut(member.name) else { continue };
            if member.basis.reported_at > track.reported_at
                && let Some(lesson) = track.report(member, self.sas_per_client)
            {
                self.endings.learn(lesson, reports);
            }
            track.advance(now, self.endings.rate());
            track.bound(member);
        }
        if self.tracks.len() > members.len() {
            let names: BTreeSet<_> = members.iter().map(|member| member.name).collect();
            self.tracks.retain(|name, _| names.contains(name));
        }
    }

    /// What `member` is expected to have; without any history, what it has reported.
    pub(super) fn of(&self, member: &Reporting<'_>) -> Expected {
        self.tracks.get(member.name).map_or_else(
            || Expected { sas: sessions(member), system: member.load.system.as_f64() },
            |track| Expected { sas: track.expected, system: track.system },
        )
    }

    /// The mean system load of those that are known; if nobody is, of the first reports.
    fn usual_system(&self, members: &[Reporting<'_>]) -> f64 {
        if self.tracks.is_empty() {
            mean(members.iter().map(|member| member.load.system.as_f64()))
        } else {
            mean(self.tracks.values().map(|track| track.system))
        }
    }

    fn count_sas(&mut self, members: &[Reporting<'_>]) {
        let clients: f64 = members.iter().map(|member| f64::from(member.basis.report.ike_sas)).sum();
        let sas: f64 = members.iter().map(sessions).sum();
        if clients > 0.0 {
            self.sas_per_client = (sas / clients).min(MOST_SAS_PER_CLIENT);
        }
    }
}

/// The mean of values; 0 if there are none.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

fn sessions(member: &Reporting<'_>) -> f64 {
    f64::from(member.basis.report.sessions())
}

/// What is known about one member.
#[derive(Debug)]
struct Track {
    /// When its last report was taken.
    reported_at: Instant,
    /// SAs in it.
    reported: f64,
    /// Smoothed system load, 0 to 1.
    system: f64,
    /// SAs it is expected to have at `now`.
    expected: f64,
    now: Instant,
    /// Clients that the last report does not cover.
    uncovered: f64,
    /// Clients of the last moments, oldest first.
    recent: VecDeque<Batch>,
}

impl Track {
    /// One moment's system load says little, and it would last: so a member begins with the
    /// `usual` one, as if it had been like the others before.
    fn new(member: &Reporting<'_>, usual: f64) -> Self {
        Self {
            reported_at: member.basis.reported_at,
            reported: sessions(member),
            system: usual,
            expected: sessions(member),
            now: member.basis.reported_at,
            uncovered: 0.0,
            recent: VecDeque::new(),
        }
    }

    /// Lets time pass: SAs end.
    fn advance(&mut self, now: Instant, ending_rate: f64) {
        let seconds = now.since(self.now).as_secs_f64();
        if seconds > 0.0 {
            self.expected *= (-ending_rate * seconds).exp();
            self.now = now;
        }
    }

    fn add(&mut self, now: Instant, clients: f64, sas_per_client: f64) {
        self.expected += sas_per_client * clients;
        self.uncovered += clients;
        match self.recent.back_mut() {
            Some(batch) if now.since(batch.at) < BATCH => batch.clients += clients,
            Some(_) | None => self.recent.push_back(Batch { at: now, clients }),
        }
        if self.recent.len() > MOST_BATCHES {
            self.recent.pop_front();
        }
    }

    /// Takes a report over, and tells what it teaches. If by the redirects there should be several
    /// times as many SAs as there are, it is not that so many have ended: nobody followed.
    fn report(&mut self, member: &Reporting<'_>, sas_per_client: f64) -> Option<Endings> {
        let at = member.basis.reported_at;
        let reported = sessions(member);
        let seconds = at.since(self.reported_at).as_secs_f64();
        let uncovered: f64 = self.recent.iter().map(|batch| batch.clients * batch.uncovered(at)).sum();
        let begun = sas_per_client * (self.uncovered - uncovered).max(0.0);
        let is_credible = begun <= TURNOVER * self.reported.max(reported);
        let lesson = Endings {
            ended: begun + self.reported - reported,
            sa_seconds: f64::midpoint(self.reported, reported) * seconds,
        };
        self.reported_at = at;
        self.reported = reported;
        self.system += (member.load.system.as_f64() - self.system) * toward(seconds, SYSTEM_MEMORY);
        self.expected = sas_per_client.mul_add(uncovered, reported);
        self.now = at;
        self.uncovered = uncovered;
        while self.recent.front().is_some_and(|batch| batch.uncovered(at) <= 0.0) {
            self.recent.pop_front();
        }
        is_credible.then_some(lesson)
    }

    /// Keeps what is only expected within reach of what was reported: whatever is done to the
    /// counters, members whose reports differ by more than that stay in their order.
    fn bound(&mut self, member: &Reporting<'_>) {
        let reach = REACH * f64::from(member.basis.max_session);
        self.expected = self.expected.min(self.reported + reach).max(self.reported - reach);
    }
}

/// Clients of one moment.
#[derive(Clone, Copy, Debug)]
struct Batch {
    at: Instant,
    clients: f64,
}

impl Batch {
    /// The part of these clients whose SAs a report at `at` cannot contain yet.
    fn uncovered(&self, at: Instant) -> f64 {
        let age = at.since(self.at).as_secs_f64();
        (1.0 - age / SETUP.as_secs_f64()).max(0.0)
    }
}

/// How many clients come in a second: a mean over the last [`RATE_MEMORY`] seconds.
#[derive(Debug)]
struct Rate {
    /// The mean, as if nobody had come before the first moment.
    mean: f64,
    /// The mean of 1, by the same rule: what to divide by.
    ones: f64,
    /// Clients since then.
    clients: f64,
    updated: Option<Instant>,
}

impl Rate {
    const fn new() -> Self {
        Self { mean: 0.0, ones: 0.0, clients: 0.0, updated: None }
    }

    fn per_second(&self) -> Option<f64> {
        (self.ones > 0.0).then(|| self.mean / self.ones)
    }

    fn add(&mut self, clients: f64) {
        self.clients += clients;
    }

    fn update(&mut self, now: Instant) {
        let seconds = self.updated.map_or(0.0, |updated| now.since(updated).as_secs_f64());
        if seconds > 0.0 {
            let part = toward(seconds, RATE_MEMORY);
            self.mean += (std::mem::take(&mut self.clients) / seconds - self.mean) * part;
            self.ones += (1.0 - self.ones) * part;
        }
        if seconds > 0.0 || self.updated.is_none() {
            self.updated = Some(now);
        }
    }
}

/// How soon SAs end. All members count together, since the same clients come to all: a member
/// that has just joined profits from what the others have taught.
#[derive(Clone, Copy, Debug)]
struct Endings {
    /// SAs that have ended. Negative where SAs have come by themselves.
    ended: f64,
    /// SAs, summed up over the seconds in which that happened.
    sa_seconds: f64,
}

impl Endings {
    /// The part of all SAs that ends in a second.
    fn rate(&self) -> f64 {
        if self.sa_seconds > 0.0 { (self.ended / self.sa_seconds).clamp(0.0, MOST_ENDING_RATE) } else { 0.0 }
    }

    /// Adds a lesson; about the last `reports` of them count.
    fn learn(&mut self, lesson: Self, reports: f64) {
        let keep = 1.0 - 1.0 / reports;
        self.ended = self.ended.mul_add(keep, lesson.ended);
        self.sa_seconds = self.sa_seconds.mul_add(keep, lesson.sa_seconds);
    }
}

/// How far a mean that remembers `memory` seconds goes toward a value that stood for `seconds`.
fn toward(seconds: f64, memory: f64) -> f64 {
    -(-seconds / memory).exp_m1()
}

/// The longest usual time from a redirect to the SAs it leads to, if the shortest is none. On
/// average 0.2 s, a handshake over a long line. A wrong value is wrong for all members alike.
const SETUP: Duration = Duration::from_millis(400);
/// Clients of this time are taken together.
const BATCH: Duration = Duration::from_millis(50);
/// More than [`SETUP`] and a late report need.
const MOST_BATCHES: usize = 32;
/// Seconds over which the rate of clients is averaged.
const RATE_MEMORY: f64 = 2.0;
/// Seconds over which the system load is averaged: it follows the handshakes at once, and chasing
/// it would send the clients back and forth.
const SYSTEM_MEMORY: f64 = 60.0;
/// Reports of each member that count for the rate at which SAs end.
const LESSONS: f64 = 5.0;
/// How many times a member's SAs may begin between two reports, for the report to teach when they
/// end.
const TURNOVER: f64 = 2.0;
/// SAs hardly last for less than a second.
const MOST_ENDING_RATE: f64 = 1.0;
/// An IKE SA and a Child SA: until a report says otherwise.
const USUAL_SAS_PER_CLIENT: f64 = 2.0;
/// More SAs than a client has on average.
const MOST_SAS_PER_CLIENT: f64 = 16.0;
/// How far a member is expected to be from what it has reported, in parts of `max-session`.
const REACH: f64 = 0.1;
