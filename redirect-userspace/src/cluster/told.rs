//! The members as the master tells a slave, for the operator.

use crate::clb::{Availability, Load, View, ViewEntry};
use crate::cluster::known::state;
use crate::cluster::{GatewaySnapshot, Member, ReportSnapshot, Settings, Told};
use crate::gateway::GatewayName;

/// What the view says, seen from the node `own`.
pub(super) fn told(view: View, own: &GatewayName, settings: &Settings) -> Told {
    let members = view.entries.into_iter().map(|entry| member(entry, own, settings));
    Told { master: view.master, age: view.age, members: members.collect() }
}

fn member(entry: ViewEntry, own: &GatewayName, settings: &Settings) -> GatewaySnapshot {
    let ViewEntry { registration, report, heard_age, is_drained, .. } = entry;
    let load = Load::new(&report, registration.max_session, settings.weights);
    let is_draining = is_drained || report.availability == Availability::Draining;
    GatewaySnapshot {
        member: Member {
            is_self: registration.name == *own,
            name: registration.name,
            addresses: registration.addresses,
            weight: None,
            state: state(is_draining, load.total, settings.overload_limit),
        },
        index: None,
        slots: 0,
        share: 0.0,
        redirects: 0,
        report: Some(ReportSnapshot {
            priority: registration.priority,
            max_session: registration.max_session,
            sessions: report.sessions(),
            crypto: load.crypto,
            system: load.system,
            total: load.total,
            heard: heard_age,
            why: None,
        }),
    }
}
