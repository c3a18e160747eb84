//! Who becomes a member, who changes and who goes.

use crate::clb::event::{Departure, Event};
use crate::clb::reason::{CloseReason, Problem};
use crate::clb::report::Registration;
use crate::clb::wire::{AgedReport, FromMaster, Order};
use crate::gateway::GatewayName;
use crate::machine::Outbox;
use crate::time::Instant;

use super::peer::{MemberPeer, Peer, Stage};
use super::roster::{Conflict, MemberRecord, ago, fresh};
use super::{Master, MasterOutput, PeerId};

impl Master {
    /// A peer that has proven that it knows the key says who it is.
    pub(super) fn register(
        &mut self,
        now: Instant,
        id: PeerId,
        registration: Registration,
        AgedReport { report, age }: AgedReport,
        out: &mut Outbox<MasterOutput>,
    ) -> Result<(), Problem> {
        if self.settings.has_vip_among(&registration.addresses) {
            return Err(CloseReason::VipAddress.into());
        }
        let give_way = self.roster.judge(&registration)?;
        let before = self.roster.get(&registration.name).cloned();
        if before.is_none() && self.roster.len().saturating_sub(give_way.len()) >= self.limits.members {
            return Err(CloseReason::Full.into());
        }
        for name in &give_way {
            self.depart(name, Departure::Superseded, out);
        }
        let is_back = before.as_ref().is_some_and(|before| {
            before.is_inherited && before.registration.addresses == registration.addresses
        });
        let is_as_before = before.as_ref().is_some_and(|before| before.registration == registration);
        if let Some(older) = before.as_ref().and_then(|before| before.peer) {
            self.close(now, older, CloseReason::Replaced.into(), out);
        }

        let Some(peer) = self.peers.remove(&id) else { return Ok(()) };
        let Stage::AwaitRegister { until, channel } = peer.stage else { return Ok(()) };
        self.settle(id, peer.from, until);
        let name = registration.name.clone();
        let member = MemberPeer {
            name: name.clone(),
            channel,
            view: 0,
            waits_for_view: false,
            told: self.tickets.told(),
        };
        self.peers.insert(id, Peer { stage: Stage::Member(member), ..peer });

        let mut record = fresh(registration, report, now, Some(id));
        record.reported_at = ago(now, age);
        if let Some(before) = before.filter(|_| is_back) {
            record.joined_at = before.joined_at;
            record.drained_by_operator = before.drained_by_operator;
        }
        self.roster.put(record);
        self.is_changed = true;
        if !is_back {
            out.push(MasterOutput::Event(Event::MemberJoined { name: name.clone(), from: peer.from }));
        }
        let master = self.local.clone();
        let holdtime = self.settings.holdtime;
        self.tell(id, &FromMaster::Accepted { master, holdtime }, out);
        if self.roster.get(&name).is_some_and(|member| member.drained_by_operator) {
            self.tell(id, &FromMaster::Order(Order::Drain), out);
        }
        if self.alive_at.is_none() {
            self.alive_at = Some(now + self.alive_interval());
        }
        if !is_as_before || !is_back {
            self.views.change();
            self.everybody_wants_a_view();
        } else {
            self.wants_a_view(id);
        }
        Ok(())
    }

    /// A member says who it is now.
    pub(super) fn register_again(
        &mut self,
        now: Instant,
        name: &GatewayName,
        registration: Registration,
        AgedReport { report, age }: AgedReport,
        out: &mut Outbox<MasterOutput>,
    ) -> Result<(), Problem> {
        if registration.name != *name {
            return Err(CloseReason::Unexpected.into());
        }
        if self.settings.has_vip_among(&registration.addresses) {
            return Err(CloseReason::VipAddress.into());
        }
        let give_way = self.roster.address_owners(&registration)?;
        for name in &give_way {
            self.depart(name, Departure::Superseded, out);
        }
        let Some(before) = self.roster.get(name) else { return Ok(()) };
        let is_new = before.registration != registration;
        let record = MemberRecord { registration, report, reported_at: ago(now, age), ..before.clone() };
        self.roster.put(record);
        self.is_changed = true;
        if is_new {
            out.push(MasterOutput::Event(Event::MemberChanged { name: name.clone() }));
            self.views.change();
            self.everybody_wants_a_view();
        }
        Ok(())
    }

    /// Ends a member. Its connection, if it has one, is the caller's to close.
    pub(super) fn depart(
        &mut self,
        name: &GatewayName,
        departure: Departure,
        out: &mut Outbox<MasterOutput>,
    ) {
        if self.roster.remove(name).is_none() {
            return;
        }
        self.is_changed = true;
        self.views.change();
        self.everybody_wants_a_view();
        out.push(MasterOutput::Event(Event::MemberLeft { name: name.clone(), departure }));
    }

    /// This node is somebody else now.
    pub(super) fn local_registration(
        &mut self,
        now: Instant,
        wanted: Registration,
        out: &mut Outbox<MasterOutput>,
    ) {
        let Some(before) = self.roster.get(&self.local).cloned() else { return };
        if before.registration == wanted {
            return;
        }
        // What this node is configured to be, it is: whoever claims the same has to go.
        let same_name = self.roster.get(&wanted.name).filter(|member| !member.is_local);
        let same_address = self.roster.iter().filter(|member| {
            !member.is_local
                && member.registration.name != wanted.name
                && member.registration.addresses.overlaps(&wanted.addresses)
        });
        let losers: Vec<_> = same_name
            .into_iter()
            .map(|member| (CloseReason::DuplicateName, member))
            .chain(same_address.map(|member| (CloseReason::DuplicateAddress, member)))
            .map(|(reason, member)| (reason, member.registration.name.clone(), member.peer))
            .collect();
        for (reason, name, peer) in losers {
            match peer {
                Some(peer) => self.close(now, peer, reason.into(), out),
                None => self.depart(&name, Departure::Superseded, out),
            }
        }
        self.roster.remove(&self.local);
        let is_renamed = self.local != wanted.name;
        self.local = wanted.name.clone();
        self.roster.put(MemberRecord { registration: wanted, ..before });
        if is_renamed {
            self.introduce(out);
        }
        self.is_changed = true;
        self.views.change();
        self.everybody_wants_a_view();
    }

    /// Ends the members at addresses that are virtual IPs now.
    pub(super) fn free_vips(&mut self, now: Instant, out: &mut Outbox<MasterOutput>) {
        let others = self.roster.iter().filter(|member| !member.is_local);
        let losers: Vec<_> = others
            .filter(|member| self.settings.has_vip_among(&member.registration.addresses))
            .map(|member| (member.registration.name.clone(), member.peer))
            .collect();
        for (name, peer) in losers {
            match peer {
                Some(peer) => self.close(now, peer, CloseReason::VipAddress.into(), out),
                None => self.depart(&name, Departure::Lost(CloseReason::VipAddress), out),
            }
        }
    }

    /// Takes a member out of service, or back into it.
    pub(super) fn drain(&mut self, name: &GatewayName, drain: bool, out: &mut Outbox<MasterOutput>) {
        let is_change = self.roster.drain(name, drain);
        // A slave can be drained by an order of a master that was not inherited from.
        if let Some(peer) = self.roster.get(name).and_then(|member| member.peer) {
            let order = if drain { Order::Drain } else { Order::Undrain };
            self.tell(peer, &FromMaster::Order(order), out);
        }
        if is_change {
            self.is_changed |= self.roster.get(name).is_some();
            out.push(MasterOutput::Event(Event::MemberDrained { name: name.clone(), is_drained: drain }));
            self.views.change();
            self.everybody_wants_a_view();
        }
    }

    /// Tells every slave who the master is and how long it may be silent.
    pub(super) fn introduce(&mut self, out: &mut Outbox<MasterOutput>) {
        let (master, holdtime) = (self.local.clone(), self.settings.holdtime);
        let members: Vec<_> = self.roster.iter().filter_map(|member| member.peer).collect();
        for peer in members {
            self.tell(peer, &FromMaster::Accepted { master: master.clone(), holdtime }, out);
        }
    }
}

impl From<Conflict> for Problem {
    fn from(conflict: Conflict) -> Self {
        match conflict {
            Conflict::Name => CloseReason::DuplicateName.into(),
            Conflict::Address => CloseReason::DuplicateAddress.into(),
        }
    }
}
