//! The members from both sources: those who report, and those who are configured.

use std::time::Duration;

use crate::clb::policy::{Assessment, Basis, Candidate, Reports};
use crate::clb::{Availability, BasisPoints, MemberRecord, OverloadLimit};
use crate::cluster::board::Entry;
use crate::cluster::{Member, MemberState, ReportSnapshot};
use crate::gateway::{GatewayAddresses, GatewayName, Weight};

/// A member, wherever it is known from.
#[derive(Clone, Copy)]
pub(super) enum Known<'a> {
    Reporting(&'a MemberRecord),
    Configured(&'a Member),
}

impl<'a> Known<'a> {
    pub(super) const fn name(&self) -> &'a GatewayName {
        match self {
            Self::Reporting(record) => &record.registration.name,
            Self::Configured(member) => &member.name,
        }
    }

    pub(super) const fn addresses(&self) -> &'a GatewayAddresses {
        match self {
            Self::Reporting(record) => &record.registration.addresses,
            Self::Configured(member) => &member.addresses,
        }
    }

    pub(super) const fn is_reporting(&self) -> bool {
        match self {
            Self::Reporting(_) => true,
            Self::Configured(_) => false,
        }
    }

    /// The member as the policies see it.
    pub(super) fn candidate(&self) -> Candidate<'a> {
        let (is_available, basis) = match self {
            Self::Reporting(record) => {
                let reports = Reports {
                    priority: record.registration.priority,
                    max_session: record.registration.max_session,
                    report: record.report,
                    reported_at: record.reported_at,
                    joined_at: record.joined_at,
                };
                (!record.drained_by_operator, Basis::Reports(reports))
            }
            Self::Configured(member) => {
                let is_available = member.state == MemberState::Up && member.weight.is_some();
                (is_available, Basis::Weight(member.weight.unwrap_or(Weight::ONE)))
            }
        };
        Candidate { name: self.name(), addresses: self.addresses(), is_available, basis }
    }

    /// The member as the fast path and the operator see it.
    pub(super) fn entry(&self, assessment: &Assessment, limit: OverloadLimit) -> Entry {
        match self {
            Self::Configured(member) => {
                Entry { member: (*member).clone(), share: assessment.share, report: None }
            }
            Self::Reporting(record) => {
                let load = assessment.load.unwrap_or_default();
                let is_draining =
                    record.drained_by_operator || record.report.availability == Availability::Draining;
                let member = Member {
                    name: record.registration.name.clone(),
                    addresses: record.registration.addresses.clone(),
                    weight: None,
                    is_self: record.is_local,
                    state: state(is_draining, load.total, limit),
                };
                let report = ReportSnapshot {
                    priority: record.registration.priority,
                    max_session: record.registration.max_session,
                    sessions: record.report.sessions(),
                    crypto: load.crypto,
                    system: load.system,
                    total: load.total,
                    heard: Duration::ZERO,
                    why: Some(assessment.why.as_str()),
                };
                Entry { member, share: assessment.share, report: Some(report) }
            }
        }
    }
}

/// The state of a member that reports.
pub(super) fn state(is_draining: bool, load: BasisPoints, limit: OverloadLimit) -> MemberState {
    if is_draining {
        MemberState::Draining
    } else if load >= BasisPoints::ratio(u64::from(limit.percent()), 100) {
        MemberState::Overloaded
    } else {
        MemberState::Up
    }
}
