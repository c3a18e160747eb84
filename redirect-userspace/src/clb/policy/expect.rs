//! How many SAs each member is expected to have by now.
//!
//! A report is a moment in the past. Since then clients have been redirected, which the master
//! has counted itself, and sessions have ended, at a rate that earlier reports tell. Redirects of
//! the last moments before a report are still being set up when it is taken: their share that it
//! cannot contain yet is kept.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Reporting;
use super::learn::{Learned, Lesson};
use crate::gateway::GatewayName;
use crate::time::Instant;

/// What is known about all members.
#[derive(Debug)]
pub(super) struct Expectations {
    tracks: BTreeMap<GatewayName, Track>,
    learned: Learned,
    /// Redirects per second, to all members.
    rate: f64,
    /// Redirects since `rate` was updated.
    arrived: f64,
    updated: Option<Instant>,
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
    /// Redirects that the last report did not cover, or not fully.
    since: f64,
    /// Redirects of the last moments, oldest first.
    recent: VecDeque<Batch>,
}

/// Redirects of one moment.
#[derive(Clone, Copy, Debug)]
struct Batch {
    at: Instant,
    redirects: f64,
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
        Self { tracks: BTreeMap::new(), learned: Learned::new(), rate: 0.0, arrived: 0.0, updated: None }
    }

    /// Redirects per second, to all members.
    pub(super) const fn rate(&self) -> f64 {
        self.rate
    }

    /// SAs that a redirect leads to.
    pub(super) fn sas_per_redirect(&self) -> f64 {
        self.learned.sas_per_redirect()
    }

    /// Takes note of redirects. Those to members that do not report are nobody's.
    pub(super) fn arrived(&mut self, now: Instant, name: &GatewayName, redirects: f64) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        self.arrived += redirects;
        track.advance(now, self.learned.ending_rate());
        track.add(now, redirects, self.learned.sas_per_redirect());
    }

    /// Takes over the reports of `members`, and forgets everybody else.
    pub(super) fn observe(&mut self, now: Instant, members: &[Reporting<'_>]) {
        self.update_rate(now);
        let mut before = std::mem::take(&mut self.tracks);
        for member in members {
            let mut track = before.remove(member.name).unwrap_or_else(|| Track::new(now, member));
            if member.basis.reported_at > track.reported_at {
                let lesson = track.report(member, self.learned.sas_per_redirect());
                self.learned.learn(lesson);
            }
            track.advance(now, self.learned.ending_rate());
            track.bound(member);
            self.tracks.insert(member.name.clone(), track);
        }
    }

    pub(super) fn of(&self, member: &Reporting<'_>) -> Expected {
        self.tracks.get(member.name).map_or_else(
            || Expected {
                sas: f64::from(member.basis.report.sessions()),
                system: member.load.system.as_f64(),
            },
            |track| Expected { sas: track.expected, system: track.system },
        )
    }

    fn update_rate(&mut self, now: Instant) {
        let seconds = self.updated.map_or(0.0, |updated| now.since(updated).as_secs_f64());
        if seconds > 0.0 {
            let redirects = std::mem::take(&mut self.arrived);
            self.rate += (redirects / seconds - self.rate) * toward(seconds, RATE_MEMORY);
            self.learned.forget(seconds);
        }
        if seconds > 0.0 || self.updated.is_none() {
            self.updated = Some(now);
        }
    }
}

impl Track {
    fn new(now: Instant, member: &Reporting<'_>) -> Self {
        let reported = f64::from(member.basis.report.sessions());
        Self {
            reported_at: member.basis.reported_at,
            reported,
            system: member.load.system.as_f64(),
            expected: reported,
            now,
            since: 0.0,
            recent: VecDeque::new(),
        }
    }

    /// Lets time pass: sessions end.
    fn advance(&mut self, now: Instant, ending_rate: f64) {
        let seconds = now.since(self.now).as_secs_f64();
        if seconds > 0.0 {
            self.expected *= (-ending_rate * seconds).exp();
            self.now = now;
        }
    }

    fn add(&mut self, now: Instant, redirects: f64, sas_per_redirect: f64) {
        self.expected += sas_per_redirect * redirects;
        self.since += redirects;
        match self.recent.back_mut() {
            Some(batch) if now.since(batch.at) < BATCH => batch.redirects += redirects,
            Some(_) | None => self.recent.push_back(Batch { at: now, redirects }),
        }
        // The oldest ones matter to a report only if it took long to get here.
        if self.recent.len() > MOST_BATCHES {
            self.recent.pop_front();
        }
    }

    /// Takes a report over, and tells what it teaches.
    fn report(&mut self, member: &Reporting<'_>, sas_per_redirect: f64) -> Lesson {
        let at = member.basis.reported_at;
        let reported = f64::from(member.basis.report.sessions());
        let seconds = at.since(self.reported_at).as_secs_f64();
        let uncovered: f64 = self.recent.iter().map(|batch| batch.redirects * batch.uncovered(at)).sum();
        let lesson = Lesson {
            redirects: (self.since - uncovered).max(0.0),
            sa_seconds: f64::midpoint(self.reported, reported) * seconds,
            change: reported - self.reported,
        };
        self.reported_at = at;
        self.reported = reported;
        self.system += (member.load.system.as_f64() - self.system) * toward(seconds, SYSTEM_MEMORY);
        self.expected = sas_per_redirect.mul_add(uncovered, reported);
        self.now = at;
        self.since = uncovered;
        while self.recent.front().is_some_and(|batch| batch.uncovered(at) <= 0.0) {
            self.recent.pop_front();
        }
        lesson
    }

    /// Keeps what is only expected within reach of what was reported: whatever is done to the
    /// counters, members whose reports differ by more than that stay in their order.
    fn bound(&mut self, member: &Reporting<'_>) {
        let reach = REACH * f64::from(member.basis.max_session);
        self.expected = self.expected.min(self.reported + reach);
    }
}

impl Batch {
    /// The part of these redirects whose SAs a report at `at` cannot contain yet.
    fn uncovered(&self, at: Instant) -> f64 {
        let age = at.since(self.at).as_secs_f64();
        (1.0 - age / SETUP.as_secs_f64()).max(0.0)
    }
}

/// How far a mean that remembers `memory` seconds goes toward a value that stood for `seconds`.
fn toward(seconds: f64, memory: f64) -> f64 {
    -(-seconds / memory).exp_m1()
}

/// The longest usual time from a redirect to the SAs it leads to; the shortest is taken to be
/// none. Half of it, 0.2 s, is a handshake over a long line.
const SETUP: Duration = Duration::from_millis(400);
/// Redirects of this time are taken together.
const BATCH: Duration = Duration::from_millis(50);
/// More than a second of batches.
const MOST_BATCHES: usize = 32;
/// Seconds over which the rate of redirects is averaged.
const RATE_MEMORY: f64 = 2.0;
/// Seconds over which the system load is averaged: it reacts to handshakes at once, and chasing
/// it would send the clients back and forth.
const SYSTEM_MEMORY: f64 = 30.0;
/// How much more than it reported a member is expected to have at most, in parts of
/// `max-session`.
const REACH: f64 = 0.1;
