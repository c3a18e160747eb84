//! Shares in proportion to what brings all members to the same load.

use super::expect::{Expectations, Expected};
use super::water::{Vessel, pour};
use super::{Reporting, Why};
use crate::clb::{BasisPoints, LoadWeights};
use crate::time::Instant;

/// The part of all clients that a member is to get, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) part: f64,
    pub(super) why: Why,
}

/// A member in numbers.
struct Numbers {
    /// SAs it is expected to have.
    sas: f64,
    /// Load that its SAs are not the reason of.
    base: f64,
    /// By how much one SA raises the load.
    slope: f64,
    /// SAs it takes.
    capacity: f64,
    /// 0 when it has just joined, 1 a little later.
    maturity: f64,
}

impl Numbers {
    fn new(now: Instant, member: &Reporting<'_>, expected: Expected, weights: LoadWeights) -> Self {
        let capacity = f64::from(member.basis.max_session.max(1));
        let reported = f64::from(member.basis.report.sessions()) / capacity;
        let crypto = weights.crypto_part();
        let weight = crypto.max(LEAST_WEIGHT);
        Self {
            sas: expected.sas,
            base: (1.0 - crypto).mul_add(expected.system, (crypto - weight) * reported),
            slope: weight / capacity,
            capacity,
            maturity: (now.since(member.basis.joined_at).as_secs_f64() / RAMP).min(1.0),
        }
    }

    fn load(&self) -> f64 {
        self.slope.mul_add(self.sas, self.base)
    }
}

/// The load a member is expected to have by now.
pub(super) fn expected_load(member: &Reporting<'_>, expected: Expected, weights: LoadWeights) -> BasisPoints {
    let numbers = Numbers::new(Instant::START, member, expected, weights);
    basis_points(numbers.load())
}

/// The parts of `members`, in their order. They add up to 1.
pub(super) fn split(
    now: Instant,
    members: &[Reporting<'_>],
    expectations: &Expectations,
    weights: LoadWeights,
) -> Vec<Part> {
    let numbers: Vec<_> =
        members.iter().map(|member| Numbers::new(now, member, expectations.of(member), weights)).collect();
    let sas: f64 = numbers.iter().map(|member| member.sas).sum();
    let capacity: f64 = numbers.iter().map(|member| member.capacity).sum();

    // What each would hold of all SAs if the loads were equal: now, and with some more.
    let level = |amount: f64| {
        let empty: Vec<_> = numbers
            .iter()
            .map(|member| Vessel { level: member.base, slope: member.slope, most: f64::INFINITY })
            .collect();
        pour(&empty, amount)
    };
    let due = level(sas);
    let more = SPARE.mul_add(capacity, sas);
    let fair = level(more);

    // How many SAs the next moments are going to bring.
    let count = u32::try_from(members.len()).map_or(f64::INFINITY, f64::from);
    let per_redirect = expectations.sas_per_redirect().max(LEAST_SAS);
    let coming = per_redirect * (expectations.rate() * HORIZON).max(count);

    let vessels: Vec<_> = numbers
        .iter()
        .zip(due.iter().zip(&fair))
        .map(|(member, (due, fair))| {
            let lack = if *due > 0.0 { ((due - member.sas) / due).clamp(0.0, 1.0) } else { 0.0 };
            let factor = (BONUS * member.maturity).mul_add(lack, 1.0 + SLACK);
            let most = (coming * fair / more).mul_add(factor, BURST * per_redirect);
            Vessel { level: member.load(), slope: member.slope, most }
        })
        .collect();
    let units = pour(&vessels, coming);
    let all: f64 = units.iter().sum();
    numbers
        .iter()
        .zip(due)
        .zip(units.into_iter().zip(vessels))
        .map(|((member, due), (units, vessel))| {
            let is_behind = member.sas < due * (1.0 - NEAR) && units >= vessel.most * 0.999;
            Part { part: units / all, why: if is_behind { Why::SlowStart } else { Why::Balanced } }
        })
        .collect()
}

fn basis_points(ratio: f64) -> BasisPoints {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0 to 10 000")]
    let points = (ratio.clamp(0.0, 1.0) * 10_000.0) as u16;
    BasisPoints::saturating(points)
}

/// Seconds of arrivals that are poured at a time: how soon differences are to be gone.
const HORIZON: f64 = 1.0;
/// How much more than its fair part a member gets at most, when it lacks nothing.
const SLACK: f64 = 0.02;
/// How much more, when it is empty.
const BONUS: f64 = 0.22;
/// Redirects that anyone may get in excess of that in one horizon: in a small cluster one client
/// is more than all the percents.
const BURST: f64 = 2.0;
/// Seconds after joining over which [`BONUS`] grows to its full size.
const RAMP: f64 = 10.0;
/// Part of all `max-session` that counts as used on top when fair parts are worked out: in a
/// cluster that is almost idle, loads differ by chance.
const SPARE: f64 = 0.1;
/// An SA counts at least for this part of its crypto load: system load follows the SAs.
const LEAST_WEIGHT: f64 = 0.5;
/// A redirect counts for so many SAs at least.
const LEAST_SAS: f64 = 0.01;
/// A member within this part of its due counts as settled.
const NEAR: f64 = 0.05;
