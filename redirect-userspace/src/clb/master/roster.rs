//! Who the members are, and which of them have been silent for too long.
//!
//! # Invariants
//!
//! - No two members have the same name or an address in common.
//! - What a member says costs two look-ups, however many members there are.
//! - Every member but this node has exactly one place among the deadlines.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clb::report::{Registration, Report};
use crate::clb::view::{MAX_DRAINED, ViewEntry};
use crate::gateway::{GatewayAddress, GatewayName};
use crate::time::Instant;

use super::PeerId;

/// What the master knows of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    /// Who it is.
    pub registration: Registration,
    /// Its last report.
    pub report: Report,
    /// When that was taken.
    pub reported_at: Instant,
    /// When it was heard last. What it says about itself is as old as [`Self::reported_at`].
    pub heard_at: Instant,
    /// When it became a member, of this master or of one before it.
    pub joined_at: Instant,
    /// Whether it is this node.
    pub is_local: bool,
    /// Whether it is known from the master before and has not come to this one yet.
    pub is_inherited: bool,
    /// Whether the operator has drained it at the master.
    pub drained_by_operator: bool,
    /// Its connection; this node and inherited members have none.
    pub(super) peer: Option<PeerId>,
    /// Its place among the deadlines.
    pub(super) check_at: Instant,
}

impl MemberRecord {
    /// The member, as others are told about it.
    pub(super) fn to_entry(&self, now: Instant) -> ViewEntry {
        ViewEntry {
            registration: self.registration.clone(),
            report: self.report,
            report_age: now.since(self.reported_at),
            heard_age: if self.is_local { Duration::ZERO } else { now.since(self.heard_at) },
            joined_age: now.since(self.joined_at),
            is_drained: self.drained_by_operator,
        }
    }
}

/// What a registration has in common with a member that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conflict {
    Name,
    Address,
}

/// The members, by name.
#[derive(Debug)]
pub(super) struct Roster {
    holdtime: Duration,
    members: BTreeMap<GatewayName, MemberRecord>,
    addresses: BTreeMap<GatewayAddress, GatewayName>,
    /// When each member has to be looked at, because it may have been silent for too long. Later
    /// than that it was heard is only found out then.
    checks: BTreeSet<(Instant, GatewayName)>,
    /// Names that the operator has drained, members or not.
    drained: BTreeSet<GatewayName>,
}

impl Roster {
    /// No members yet, of whom some are drained already.
    pub(super) const fn new(holdtime: Duration, drained: BTreeSet<GatewayName>) -> Self {
        Self {
            holdtime,
            members: BTreeMap::new(),
            addresses: BTreeMap::new(),
            checks: BTreeSet::new(),
            drained,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &MemberRecord> {
        self.members.values()
    }

    pub(super) fn get(&self, name: &GatewayName) -> Option<&MemberRecord> {
        self.members.get(name)
    }

    /// What stands in the way of a registration, and which inherited members have to give way to
    /// it: whoever registers with the address of one that has not come back is in its place.
    pub(super) fn judge(&self, wanted: &Registration) -> Result<Vec<GatewayName>, Conflict> {
        if let Some(same) = self.members.get(&wanted.name) {
            let may_replace = same.is_inherited || same.registration.addresses == wanted.addresses;
            if same.is_local || !may_replace {
                return Err(Conflict::Name);
            }
        }
        self.address_owners(wanted)
    }

    /// The inherited members that have one of the addresses.
    pub(super) fn address_owners(&self, wanted: &Registration) -> Result<Vec<GatewayName>, Conflict> {
        let mut give_way = Vec::new();
        for address in wanted.addresses.iter() {
            let Some(owner) = self.addresses.get(&address).filter(|owner| **owner != wanted.name) else {
                continue;
            };
            if self.members.get(owner).is_some_and(|owner| !owner.is_inherited) {
                return Err(Conflict::Address);
            }
            if !give_way.contains(owner) {
                give_way.push(owner.clone());
            }
        }
        Ok(give_way)
    }

    /// Adds a member, or puts it in the place of the one with its name. Nothing else may be in its
    /// way.
    pub(super) fn put(&mut self, mut record: MemberRecord) {
        let name = record.registration.name.clone();
        self.remove(&name);
        record.drained_by_operator |= self.drained.contains(&name);
        record.check_at = record.heard_at + self.holdtime;
        if !record.is_local {
            self.checks.insert((record.check_at, name.clone()));
        }
        for address in record.registration.addresses.iter() {
            self.addresses.insert(address, name.clone());
        }
        if record.drained_by_operator {
            self.drained.insert(name.clone());
        }
        self.members.insert(name, record);
    }

    /// Takes a member out.
    pub(super) fn remove(&mut self, name: &GatewayName) -> Option<MemberRecord> {
        let record = self.members.remove(name)?;
        for address in record.registration.addresses.iter() {
            self.addresses.remove(&address);
        }
        self.checks.remove(&(record.check_at, name.clone()));
        Some(record)
    }

    /// A member has said something. `false` when it is none.
    pub(super) fn heard(&mut self, name: &GatewayName, now: Instant) -> bool {
        let Some(member) = self.members.get_mut(name) else { return false };
        member.heard_at = now;
        true
    }

    /// A member has said how loaded it is. `false` when it is none.
    pub(super) fn reported(&mut self, name: &GatewayName, report: Report, at: Instant) -> bool {
        let Some(member) = self.members.get_mut(name) else { return false };
        member.report = report;
        member.reported_at = at;
        true
    }

    /// Takes a member out of service, or back into it, and says whether that changes anything.
    pub(super) fn drain(&mut self, name: &GatewayName, drain: bool) -> bool {
        // Also one that is away: it is not drained when it comes back.
        let is_taken_back = !drain && self.drained.remove(name);
        let Some(member) = self.members.get_mut(name) else { return is_taken_back };
        let is_change = member.drained_by_operator != drain;
        member.drained_by_operator = drain;
        if drain && self.drained.len() < MAX_DRAINED {
            self.drained.insert(name.clone());
        }
        is_change
    }

    /// Who is drained and no member now.
    pub(super) fn drained_away(&self) -> impl Iterator<Item = &GatewayName> {
        self.drained.iter().filter(|name| !self.members.contains_key(*name)).take(MAX_DRAINED)
    }

    /// Gives the next member that has been silent for longer than the hold time.
    pub(super) fn next_silent(&mut self, now: Instant) -> Option<GatewayName> {
        while self.checks.first().is_some_and(|(at, _)| *at <= now) {
            let (_, name) = self.checks.pop_first()?;
            let Some(member) = self.members.get_mut(&name) else { continue };
            let until = member.heard_at + self.holdtime;
            if until <= now {
                return Some(name);
            }
            member.check_at = until;
            self.checks.insert((until, name));
        }
        None
    }

    /// When a member has to be looked at next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.checks.first().map(|(at, _)| *at)
    }

    /// Members may be silent for another time from now on.
    pub(super) fn set_holdtime(&mut self, holdtime: Duration) {
        self.holdtime = holdtime;
        self.checks.clear();
        for (name, member) in &mut self.members {
            member.check_at = member.heard_at + holdtime;
            if !member.is_local {
                self.checks.insert((member.check_at, name.clone()));
            }
        }
    }

    /// How long ago each member was heard, at most.
    pub(super) fn oldest(&self, now: Instant) -> Duration {
        let others = self.members.values().filter(|member| !member.is_local);
        others.map(|member| now.since(member.heard_at)).max().unwrap_or_default()
    }
}

/// A member as it is when it registers.
pub(super) const fn fresh(
    registration: Registration,
    report: Report,
    now: Instant,
    peer: Option<PeerId>,
) -> MemberRecord {
    MemberRecord {
        registration,
        report,
        reported_at: now,
        heard_at: now,
        joined_at: now,
        is_local: false,
        is_inherited: false,
        drained_by_operator: false,
        peer,
        check_at: now,
    }
}

/// The instant `age` ago, at the earliest the start of the daemon.
pub(super) const fn ago(now: Instant, age: Duration) -> Instant {
    Instant::from_start(now.since_start().saturating_sub(age))
}
