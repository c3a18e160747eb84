//! Loads of the members to shares of the table.
//!
//! `least-loaded` is Cisco's policy: until the next report, every client goes to the member that
//! reported the least load. `balanced` knows better what a member has by now, because the master
//! has sent the clients itself: to the SAs of the last report it adds those of the redirects that
//! the report does not cover yet, takes off what has ended since at the rate that successive
//! reports show, and gives the clients of the next half second to whoever is lowest, so that all
//! come to the same level. How much more than its fair part a member gets is limited, and so is how far
//! it is believed to be from what it has reported: an empty member fills up without being run
//! over, and a flood of redirects that nobody follows cannot turn the order round.
//!
//! # Invariants
//!
//! - A member that is away, drains or has reached the overload limit gets nothing, unless all
//!   have reached it and [`OverloadAction::Spread`] says otherwise.
//! - Members that do not report get their weight, where a reporting member counts 1 on average.
//!   If none reports, the shares are the weights.
//! - Equal calls give equal results: there is no clock and no chance in here.
//! - Every call takes time in proportion to the number of members.
//!
//! # Picture
//!
//! ```text
//! reports ───────▶ expected load of each ─▶ water-fill ─▶ shares ─▶ llg::fill
//! own redirects ──▶     (expect)             (balanced)
//! ```

mod balanced;
mod expect;
mod least_loaded;
mod water;

use common::maps::SLOTS;

use self::expect::Expectations;
use crate::clb::{Availability, BasisPoints, Load, MasterSettings, OverloadAction, Policy, Report};
use crate::gateway::{GatewayAddresses, GatewayName, Weight};
use crate::time::Instant;

/// A member, as the policies see it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a GatewayName,
    /// Where clients are sent; the lowest breaks ties.
    pub addresses: &'a GatewayAddresses,
    /// Whether it may get clients: it is there, and nobody drains it.
    pub is_available: bool,
    /// What its share follows from.
    pub basis: Basis,
}

/// What the share of a member follows from.
#[derive(Clone, Copy, Debug)]
pub enum Basis {
    /// It does not report: its weight.
    Weight(Weight),
    /// Its reports.
    Reports(Reports),
}

/// What a member has reported.
#[derive(Clone, Copy, Debug)]
pub struct Reports {
    /// 1 to 100: of two members with the same load, the higher one is chosen.
    pub priority: u8,
    /// IKE and Child SAs that it takes.
    pub max_session: u32,
    /// Its last report.
    pub report: Report,
    /// When that was taken. A report that is not newer than the one before is the same report.
    pub reported_at: Instant,
    /// When it became a member.
    pub joined_at: Instant,
}

/// Who gets how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// One for each candidate, in their order.
    pub members: Vec<Assessment>,
    /// What this means for new clients.
    pub outcome: Outcome,
}

/// What becomes of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// Its share, in relation to the others'.
    pub share: u32,
    /// Why.
    pub why: Why,
    /// Its load as last reported; `None` for a member that does not report.
    pub load: Option<Load>,
    /// The load it is expected to have by now; `None` for a member that does not report.
    pub expected: Option<BasisPoints>,
}

/// Why a member has its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// What brings all to the same load.
    Balanced,
    /// By what it has left beyond the overload limit, which all have reached.
    BeyondLimit,
    /// It has the least load.
    Least,
    /// Another one has less load.
    NotLeast,
    /// It has reached the overload limit, or is expected to have.
    Overloaded,
    /// It lacks clients, and gets as many more than the others as it may at once.
    SlowStart,
    /// It is away, or takes no clients.
    Unavailable,
    /// By its weight.
    Weight,
}

impl Why {
    /// The reason.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::BeyondLimit => "beyond-limit",
            Self::Least => "least",
            Self::NotLeast => "not-least",
            Self::Overloaded => "overloaded",
            Self::SlowStart => "slow-start",
            Self::Unavailable => "unavailable",
            Self::Weight => "weight",
        }
    }
}

/// What becomes of new clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody has room.
    Room,
    /// Everybody is overloaded: clients are spread by what each member has left.
    Spread,
    /// Everybody is overloaded: clients are not answered until somebody has room.
    Refuse,
    /// Nobody is available.
    Nobody,
}

/// A member that reports.
#[derive(Clone, Copy, Debug)]
struct Reporting<'a> {
    /// Among the candidates.
    position: usize,
    name: &'a GatewayName,
    addresses: &'a GatewayAddresses,
    is_available: bool,
    basis: Reports,
    load: Load,
}

/// Turns loads into shares.
#[derive(Debug)]
pub struct Balancer {
    settings: MasterSettings,
    expectations: Expectations,
}

impl Balancer {
    /// A balancer that knows nobody yet.
    ///
    /// One that follows another, on a new master, needs nothing but the reports: it learns the
    /// rest within two of them.
    #[must_use]
    pub const fn new(settings: MasterSettings) -> Self {
        Self { settings, expectations: Expectations::new() }
    }

    /// Uses other settings from now on; what was learned stays.
    pub const fn configure(&mut self, settings: MasterSettings) {
        self.settings = settings;
    }

    /// Clients went to a member since the last call: redirects of the fast path, or sessions that
    /// the master keeps itself. Members that [`Self::shares`] has not heard of have no clients.
    pub fn arrived(&mut self, now: Instant, name: &GatewayName, clients: u64) {
        if clients > 0 {
            let clients = u32::try_from(clients).unwrap_or(u32::MAX);
            self.expectations.arrived(now, name, f64::from(clients));
        }
    }

    /// Works out the shares of `candidates`; to be called every 100 to 200 ms, after
    /// [`Self::arrived`], and whenever a candidate has changed.
    pub fn shares(&mut self, now: Instant, candidates: &[Candidate<'_>]) -> Decision {
        let weights = self.settings.weights;
        let mut members: Vec<_> = candidates.iter().map(Assessment::first).collect();
        let reporting: Vec<_> = candidates
            .iter()
            .enumerate()
            .filter_map(|(position, candidate)| match candidate.basis {
                Basis::Weight(_) => None,
                Basis::Reports(basis) => Some(Reporting {
                    position,
                    name: candidate.name,
                    addresses: candidate.addresses,
                    is_available: candidate.is_available && basis.report.availability == Availability::Up,
                    basis,
                    load: Load::new(&basis.report, basis.max_session, weights),
                }),
            })
            .collect();
        self.expectations.observe(now, &reporting);
        for member in &reporting {
            let expected = self.expectations.of(member);
            set(&mut members, member, |assessment| {
                assessment.load = Some(member.load);
                assessment.expected = Some(balanced::expected_load(member, expected, weights));
            });
        }
        let outcome = self.choose(now, &reporting, &mut members);
        Decision { members, outcome }
    }

    fn choose(&self, now: Instant, reporting: &[Reporting<'_>], members: &mut [Assessment]) -> Outcome {
        let limit = u16::from(self.settings.overload_limit.percent()) * 100;
        let available: Vec<_> = reporting.iter().filter(|member| member.is_available).copied().collect();
        let (full, mut open): (Vec<_>, Vec<_>) =
            available.iter().copied().partition(|member| member.load.total.value() >= limit);
        for member in &full {
            set(members, member, |assessment| assessment.why = Why::Overloaded);
        }
        // Whoever is expected to have reached the limit waits for the next report, unless that
        // goes for all.
        let is_expected_full = |members: &[Assessment], member: &Reporting<'_>| {
            let expected = members.get(member.position).and_then(|assessment| assessment.expected);
            expected.is_some_and(|expected| expected.value() >= limit)
        };
        if self.settings.policy == Policy::Balanced
            && open.iter().any(|member| !is_expected_full(members, member))
        {
            open.retain(|member| {
                let is_full = is_expected_full(members, member);
                if is_full {
                    set(members, member, |assessment| assessment.why = Why::Overloaded);
                }
                !is_full
            });
        }
        if !open.is_empty() {
            self.share_out(now, &open, members);
            return Outcome::Room;
        }
        // Whether a member that does not report is full, nobody knows.
        if members.iter().any(|assessment| assessment.share > 0) {
            return Outcome::Room;
        }
        if full.is_empty() {
            return Outcome::Nobody;
        }
        match self.settings.overload_action {
            OverloadAction::Spread => {
                spread(&full, members);
                Outcome::Spread
            }
            OverloadAction::Refuse => Outcome::Refuse,
        }
    }

    /// Gives the shares to members that have room.
    fn share_out(&self, now: Instant, open: &[Reporting<'_>], members: &mut [Assessment]) {
        match self.settings.policy {
            Policy::LeastLoaded => {
                let least = least_loaded::choose(open);
                for (at, member) in open.iter().enumerate() {
                    let is_least = least == Some(at);
                    set(members, member, |assessment| {
                        assessment.share = if is_least { share(1.0, open.len()) } else { 0 };
                        assessment.why = if is_least { Why::Least } else { Why::NotLeast };
                    });
                }
            }
            Policy::Balanced => {
                let parts = balanced::split(now, open, &self.expectations, self.settings.weights);
                for (member, part) in open.iter().zip(parts) {
                    set(members, member, |assessment| {
                        assessment.share = share(part.part, open.len());
                        assessment.why = part.why;
                    });
                }
            }
        }
    }
}

impl Assessment {
    /// What is certain before anybody is compared with anybody.
    fn first(candidate: &Candidate<'_>) -> Self {
        let (share, why) = match candidate.basis {
            Basis::Weight(weight) if candidate.is_available => {
                (u32::from(weight.value()) * SHARE, Why::Weight)
            }
            Basis::Weight(_) | Basis::Reports(_) => (0, Why::Unavailable),
        };
        Self { share, why, load: None, expected: None }
    }
}

fn set(members: &mut [Assessment], member: &Reporting<'_>, change: impl FnOnce(&mut Assessment)) {
    if let Some(assessment) = members.get_mut(member.position) {
        change(assessment);
    }
}

/// By what each has left to a load of 100 %; equally if nobody has anything.
fn spread(full: &[Reporting<'_>], members: &mut [Assessment]) {
    let left = |member: &Reporting<'_>| {
        let free = BasisPoints::ALL.value() - member.load.total.value();
        f64::from(free) * f64::from(member.basis.max_session)
    };
    let all: f64 = full.iter().map(left).sum();
    let count = u32::try_from(full.len()).map_or(f64::INFINITY, f64::from);
    for member in full {
        let part = if all > 0.0 { left(member) / all } else { 1.0 / count };
        set(members, member, |assessment| {
            assessment.share = share(part, full.len());
            assessment.why = Why::BeyondLimit;
        });
    }
}

/// The share of a member that gets `part` of what `count` reporting members get together.
fn share(part: f64, count: usize) -> u32 {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let share = part * f64::from(SHARE) * f64::from(count);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "never negative, and saturates"
    )]
    let share = share.round() as u32;
    // A share that is worth less than half a slot would still get a whole one.
    #[expect(clippy::cast_precision_loss, reason = "a power of two")]
    let is_worth_a_slot = part * SLOTS as f64 >= 0.5;
    if is_worth_a_slot { share } else { 0 }
}

/// The share of weight 1, and that of a reporting member on average.
const SHARE: u32 = 1 << 16;

#[cfg(test)]
mod tests;
