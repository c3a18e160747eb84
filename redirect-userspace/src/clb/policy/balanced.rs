//! Shares that bring all members to the same load and keep them there.
//!
//! The clients that are expected in the next half second are poured over the members like water
//! over vessels: the lowest ones are filled to a common level, and what a member gets is its
//! share. A vessel's level is the load that the member is expected to have by now, and one client
//! raises it by two SAs over `max-session`. No member gets more than [`MOST`] times its fair
//! part, however empty it is; its fair part is what it would hold of all SAs if the loads were
//! equal.

use super::expect::{Expectations, Expected};
use super::water::{Vessel, pour};
use super::{Reporting, Why};
use crate::clb::{BasisPoints, LoadWeights};
use crate::time::Instant;

/// The part of all clients that a member is to get, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// 0 to 1.
    pub(super) part: f64,
    pub(super) why: Why,
}

/// The load of a member, as a straight line over its SAs.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// SAs it is expected to have.
    sas: f64,
    /// Load without any.
    base: f64,
    /// Load of one.
    slope: f64,
}

impl Line {
    fn new(member: &Reporting<'_>, expected: Expected, weights: LoadWeights) -> Self {
        let max_session = f64::from(member.basis.max_session.max(1));
        let crypto = weights.crypto_part();
        let slope = crypto.max(LEAST_WEIGHT) / max_session;
        // Only what has changed since the report counts for more than the weights say.
        let reported = f64::from(member.basis.report.sessions());
        let base = (crypto / max_session - slope).mul_add(reported, (1.0 - crypto) * expected.system);
        Self { sas: expected.sas, base, slope }
    }

    fn load(&self) -> f64 {
        self.slope.mul_add(self.sas, self.base)
    }

    fn vessel(&self, level: f64, most: f64) -> Vessel {
        Vessel { level, slope: self.slope, most }
    }
}

/// The load a member is expected to have by now.
pub(super) fn expected_load(member: &Reporting<'_>, expected: Expected, weights: LoadWeights) -> BasisPoints {
    let points =
        Line::new(member, expected, weights).load().clamp(0.0, 1.0) * f64::from(BasisPoints::ALL.value());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10 000")]
    let points = points.round() as u16;
    BasisPoints::saturating(points)
}

/// The parts of `members`, in their order. They add up to 1.
pub(super) fn split(
    now: Instant,
    members: &[Reporting<'_>],
    expectations: &Expectations,
    weights: LoadWeights,
) -> Vec<Part> {
    let lines: Vec<_> =
        members.iter().map(|member| Line::new(member, expectations.of(member), weights)).collect();
    // How many SAs each would hold if the loads were equal.
    let level = |sas: f64| {
        let vessels: Vec<_> = lines.iter().map(|line| line.vessel(line.base, f64::INFINITY)).collect();
        pour(&vessels, sas)
    };
    let sas: f64 = lines.iter().map(|line| line.sas).sum();
    let due = level(sas);
    let max_session: f64 = members.iter().map(|member| f64::from(member.basis.max_session.max(1))).sum();
    let more = SPARE.mul_add(max_session, sas);
    let fair = level(more);

    let count = f64::from(u32::try_from(members.len()).unwrap_or(u32::MAX));
    let per_client = expectations.sas_per_client();
    // Before anything is known, many are expected: it keeps the shares close to the fair ones.
    let (coming, single) = expectations.rate().map_or((more, 0.0), |rate| {
        let clients = rate * HORIZON;
        (per_client * clients.max(LEAST_COMING * count), per_client * clients.min(SINGLE))
    });

    let vessels: Vec<_> = members
        .iter()
        .zip(&lines)
        .zip(due.iter().zip(fair))
        .map(|((member, line), (due, fair))| {
            let age = now.since(member.basis.joined_at).as_secs_f64();
            let held_back = (1.0 - age / RAMP).max(0.0) * lack(line.sas, *due);
            let most = MOST * (FIRST - 1.0).mul_add(held_back, 1.0);
            line.vessel(line.load(), (coming * fair / more).mul_add(most, single))
        })
        .collect();
    let units = pour(&vessels, coming);
    let all: f64 = units.iter().sum();
    lines
        .iter()
        .zip(due)
        .zip(units.into_iter().zip(vessels))
        .map(|((line, due), (units, vessel))| {
            let is_held_back = lack(line.sas, due) > SETTLED && units >= vessel.most;
            Part { part: units / all, why: if is_held_back { Why::SlowStart } else { Why::Balanced } }
        })
        .collect()
}

/// The part of `due` that somebody with `sas` does not have, 0 to 1.
fn lack(sas: f64, due: f64) -> f64 {
    if sas < due { 1.0 - sas / due } else { 0.0 }
}

/// Seconds of clients that are poured at a time: how soon small differences are gone. With less,
/// chance moves more slots than it is worth.
const HORIZON: f64 = 0.5;
/// How much of its fair part a member gets at most: so much more than its usual handshakes a
/// gateway copes with, and every other one still has something left to be corrected with.
const MOST: f64 = 1.2;
/// Clients that a member may get beyond that in a [`HORIZON`]. Where clients are few, one of them
/// is more than a fifth; where none are, nobody gets the first ones all alone.
const SINGLE: f64 = 1.0;
/// How much of [`MOST`] a member gets that has just joined and is empty.
const FIRST: f64 = 0.25;
/// Seconds after which it gets all of it.
const RAMP: f64 = 10.0;
/// Clients for each member that are expected at least, so that the first ones after a pause do
/// not all meet the same member.
const LEAST_COMING: f64 = 0.25;
/// Part of all `max-session` that counts as used, on top of what is, when fair parts are worked
/// out: in a cluster that is almost idle, loads differ by chance.
const SPARE: f64 = 0.1;
/// A change of the SAs counts at least for this part of the crypto load, whatever the weights: the
/// system load follows the SAs, but is reported too late.
const LEAST_WEIGHT: f64 = 0.5;
/// A member that lacks less than this part is not said to be held back.
const SETTLED: f64 = 0.05;
