//! Loads of the members to shares of the table.

mod balanced;
mod expect;
mod learn;
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
    /// When that was taken.
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
    /// Beyond the overload limit, as all are.
    BeyondLimit,
    /// It has the least load.
    Least,
    /// Another one has less load.
    NotLeast,
    /// It has reached the overload limit.
    Overloaded,
    /// It could take more, but not all at once.
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

/// What new clients are to expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody has room.
    Room,
    /// Everybody is overloaded: clients are spread by what each member has left.
    Spread,
    /// Everybody is overloaded: clients are not answered.
    Refuse,
    /// There is nobody.
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
    #[must_use]
    pub const fn new(settings: MasterSettings) -> Self {
        Self { settings, expectations: Expectations::new() }
    }

    /// Uses other settings from now on; what was learned stays.
    pub const fn configure(&mut self, settings: MasterSettings) {
        self.settings = settings;
    }

    /// Clients went to a member: redirects of the fast path, or sessions the master keeps itself,
    /// since the last call.
    pub fn arrived(&mut self, now: Instant, name: &GatewayName, clients: u64) {
        if clients > 0 {
            let clients = u32::try_from(clients).unwrap_or(u32::MAX);
            self.expectations.arrived(now, name, f64::from(clients));
        }
    }

    /// Works out the shares of `candidates`.
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
        let has_weight = members.iter().any(|assessment| assessment.share > 0);
        if !open.is_empty() {
            self.share_out(now, &open, members);
            Outcome::Room
        } else if has_weight {
            Outcome::Room
        } else if full.is_empty() {
            Outcome::Nobody
        } else {
            match self.settings.overload_action {
                OverloadAction::Spread => {
                    spread(&full, members);
                    Outcome::Spread
                }
                OverloadAction::Refuse => Outcome::Refuse,
            }
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

/// By the SAs each has left to its limit; equally if nobody has any.
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
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
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
