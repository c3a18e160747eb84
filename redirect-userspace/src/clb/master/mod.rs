//! The master's side: who the members are, and what they say about their load.
//!
//! # Invariants
//!
//! - A peer that has not proven that it knows a key makes us keep 256 octets at most, for
//!   [`Master::HANDSHAKE`] at most, and there are never more of them than [`Limits::pending`].
//! - Nothing of a frame is used before its seal was checked.
//! - No two members have the same name or address; a member that was not heard for the hold time
//!   is none any more.
//! - What a slave says costs a few look-ups; telling everybody who the members are is paced, see
//!   [`views`].
//! - This node is always a member, and nobody else can take its name or addresses.
//! - Nobody else is a member at a virtual IP.
//! - Who is drained stays so until it is taken back, wherever it is meanwhile.
//!
//! # Picture
//!
//! ```text
//!  Accepted ─▶ AwaitOffer ─▶ AwaitProof ─▶ AwaitRegister ─▶ Member
//!                  │             │               │            │  holdtime, Leave, Closed, a wrong frame
//!                  └─────────────┴───────────────┴────────────┴─▶ Close
//! ```

mod io;
mod membership;
mod peer;
mod roster;
mod tickets;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::auth::Handshakes;
use super::config::{ClusterName, Settings};
use super::event::{Departure, Event};
use super::frame::Deframer;
use super::reason::{CloseReason, Problem, Refusal};
use super::report::{Registration, Report};
use super::tickets::TicketLog;
use super::view::View;
use super::wire::{
    AgedReport, Challenge, FromMaster, FromSlave, Offer, SlaveProof, Vouched, kind, proof_frame,
    rejected_frame,
};
use crate::codec::DecodeError;
use crate::gateway::GatewayName;
use crate::machine::{Deadline, Machine, Outbox};
use crate::rng::Rng;
use crate::throttle::{Said, Throttle};
use crate::time::{Instant, Now};

pub use self::io::{Limits, MasterInput, MasterOutput, Octets, PeerId};
use self::peer::{Heard, Peer, Stage, seal_parts};
pub use self::roster::MemberRecord;
use self::roster::{Roster, ago, fresh};
use self::tickets::Tickets;
use self::views::Views;

/// The master.
pub struct Master {
    settings: Settings,
    limits: Limits,
    cluster: ClusterName,
    local: GatewayName,
    rng: Rng,
    peers: BTreeMap<PeerId, Peer>,
    /// When the handshake of each peer that is no member must be over; the oldest comes first.
    pending: BTreeSet<(Instant, PeerId)>,
    /// How many of these each address has.
    sources: BTreeMap<IpAddr, usize>,
    roster: Roster,
    views: Views,
    /// When the members are told that the master is alive; `None` while there are none.
    alive_at: Option<Instant>,
    refusals: Throttle<CloseReason, (SocketAddr, Option<DecodeError>)>,
    tickets: Tickets,
    is_changed: bool,
    is_stopped: bool,
}

impl Master {
    /// Time from the start of a connection within which its peer must have registered.
    pub const HANDSHAKE: Duration = Duration::from_secs(3);
    /// Octets that may wait to be sent on one connection. Whoever does not read for so long is
    /// cut off by the caller.
    pub const MAX_BACKLOG: usize = 512 * 1_024;

    /// The master of `cluster`, with this node and whoever was a member of the master before.
    ///
    /// Of the inherited members that master itself is left out, and so is who was not heard for
    /// the hold time or is at a virtual IP. They stay for what is left of the hold time, unless
    /// they register.
    #[must_use]
    pub fn new(
        settings: Settings,
        limits: Limits,
        cluster: ClusterName,
        local: Registration,
        rng: Rng,
        now: Now,
        inherited: Option<View>,
    ) -> Self {
        let now = now.mono;
        let settings = within_range(settings);
        let name = local.name.clone();
        let mut local = fresh(local, Report::default(), now, None);
        local.is_local = true;
        let (before, entries, mut drained) = match inherited {
            Some(View { master, entries, drained, age: _ }) => (Some(master), entries, drained),
            None => (None, vec![], BTreeSet::new()),
        };
        let drained_members = entries.iter().filter(|entry| entry.is_drained);
        drained.extend(drained_members.map(|entry| entry.registration.name.clone()));
        let mut roster = Roster::new(settings.holdtime, drained);
        if let Some(own) = entries.iter().find(|entry| entry.registration.name == name) {
            local.report = own.report;
            local.reported_at = ago(now, own.report_age);
            local.joined_at = ago(now, own.joined_age);
        }
        roster.put(local);
        for entry in entries {
            let is_old_master = before.as_ref() == Some(&entry.registration.name);
            let is_known = roster.get(&entry.registration.name).is_some();
            let is_clear = roster.address_owners(&entry.registration).is_ok_and(|owners| owners.is_empty())
                && !settings.has_vip_among(&entry.registration.addresses);
            let is_heard = entry.heard_age < settings.holdtime;
            if is_old_master || is_known || !is_clear || !is_heard || roster.len() >= limits.members {
                continue;
            }
            let mut record = fresh(entry.registration, entry.report, ago(now, entry.heard_age), None);
            record.reported_at = ago(now, entry.report_age);
            record.joined_at = ago(now, entry.joined_age);
            record.is_inherited = true;
            roster.put(record);
        }
        Self {
            settings,
            limits,
            cluster,
            local: name,
            rng,
            peers: BTreeMap::new(),
            pending: BTreeSet::new(),
            sources: BTreeMap::new(),
            roster,
            views: Views::new(),
            alive_at: None,
            refusals: Throttle::new(),
            tickets: Tickets::new(TicketLog::default()),
            is_changed: false,
            is_stopped: false,
        }
    }

    /// With what this node knows about used tickets.
    #[must_use]
    pub fn with_tickets(mut self, log: TicketLog) -> Self {
        self.tickets = Tickets::new(log);
        self
    }

    /// Gives up what is known about used tickets.
    pub fn take_tickets(&mut self) -> TicketLog {
        std::mem::take(&mut self.tickets.log)
    }

    /// Every member, by name.
    pub fn members(&self) -> impl Iterator<Item = &MemberRecord> {
        self.roster.iter()
    }

    /// The member with this name.
    #[must_use]
    pub fn member(&self, name: &GatewayName) -> Option<&MemberRecord> {
        self.roster.get(name)
    }

    /// Who is drained by the operator and no member now.
    pub fn drained_away(&self) -> impl Iterator<Item = &GatewayName> {
        self.roster.drained_away()
    }

    /// How many peers were refused, by reason.
    pub fn refusals(&self) -> impl Iterator<Item = (CloseReason, u64)> {
        self.refusals.totals()
    }

    /// Connections that have not registered yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Time between two signs of life of the master.
    fn alive_interval(&self) -> Duration {
        self.settings.holdtime / 3
    }

    fn accept(&mut self, now: Instant, peer: PeerId, from: SocketAddr, out: &mut Outbox<MasterOutput>) {
        if self.peers.contains_key(&peer) {
            self.close(now, peer, CloseReason::Replaced.into(), out);
        }
        let of_source = self.sources.get(&from.ip()).copied().unwrap_or(0);
        if of_source >= self.limits.pending_per_source {
            let reason = CloseReason::SourceLimit;
            out.push(MasterOutput::Close { peer, reason });
            self.refused(now, from, reason.into(), out);
            return;
        }
        while self.pending.len() >= self.limits.pending.max(1)
            && let Some((_, oldest)) = self.pending.pop_first()
        {
            self.close(now, oldest, CloseReason::Evicted.into(), out);
        }
        let until = now + Self::HANDSHAKE;
        self.pending.insert((until, peer));
        *self.sources.entry(from.ip()).or_insert(0) += 1;
        let stage = Stage::AwaitOffer { until };
        self.peers.insert(peer, Peer { from, deframer: Deframer::default(), stage });
    }

    /// A peer is not among those that have proven nothing any more.
    fn settle(&mut self, id: PeerId, from: SocketAddr, until: Instant) {
        self.pending.remove(&(until, id));
        if let Some(count) = self.sources.get_mut(&from.ip()) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.sources.remove(&from.ip());
            }
        }
    }

    fn bytes(&mut self, both: Now, id: PeerId, mut octets: &[u8], out: &mut Outbox<MasterOutput>) {
        let now = both.mono;
        // Ends when the octets do, or the peer is closed.
        while let Some(peer) = self.peers.get_mut(&id) {
            let heard = match peer.deframer.next(&mut octets, peer.stage.longest_frame()) {
                Ok(Some(frame)) => peer.stage.read(frame),
                Ok(None) => return,
                Err(error) => Err(error.into()),
            };
            let outcome = match heard {
                Ok(Heard::Offer { frame, offer, version }) => self.offer(id, &frame, &offer, version, out),
                Ok(Heard::Proof(proof)) => self.proof(id, &proof, out),
                Ok(Heard::Message(message)) => self.message(both, id, message, out),
                Ok(Heard::Skipped) => {
                    self.heard(now, id);
                    Ok(())
                }
                Err(problem) => Err(problem),
            };
            if let Err(problem) = outcome {
                self.close(now, id, problem, out);
            }
        }
    }

    fn offer(
        &mut self,
        id: PeerId,
        frame: &[u8],
        offer: &Offer,
        version: u8,
        out: &mut Outbox<MasterOutput>,
    ) -> Result<(), Problem> {
        if offer.cluster != self.cluster {
            return Err(CloseReason::Cluster.into());
        }
        let Some(Peer { stage, .. }) = self.peers.get_mut(&id) else { return Ok(()) };
        let Stage::AwaitOffer { until } = *stage else { return Ok(()) };
        let challenge = Challenge { version, nonce: self.rng.array() }.to_frame();
        let handshakes = Handshakes::new(&self.settings, frame, &challenge);
        *stage = Stage::AwaitProof { until, version, handshakes };
        out.push(MasterOutput::Write { peer: id, octets: Octets::Own(challenge) });
        Ok(())
    }

    fn proof(
        &mut self,
        id: PeerId,
        proof: &SlaveProof,
        out: &mut Outbox<MasterOutput>,
    ) -> Result<(), Problem> {
        let Some(Peer { stage, .. }) = self.peers.get_mut(&id) else { return Ok(()) };
        let Stage::AwaitProof { until, handshakes, .. } = stage else { return Ok(()) };
        let Some((answer, channel)) = handshakes.answer(proof) else {
            return Err(CloseReason::WrongKey.into());
        };
        let answer = proof_frame(kind::MASTER_PROOF, &answer);
        *stage = Stage::AwaitRegister { until: *until, channel };
        out.push(MasterOutput::Write { peer: id, octets: Octets::Own(answer) });
        Ok(())
    }

    fn message(
        &mut self,
        both: Now,
        id: PeerId,
        message: FromSlave,
        out: &mut Outbox<MasterOutput>,
    ) -> Result<(), Problem> {
        let now = both.mono;
        let name = self.heard(now, id);
        match (message, name) {
            (FromSlave::Register(registration, report), None) => {
                self.register(now, id, registration, report, out)
            }
            (FromSlave::Register(registration, report), Some(name)) => {
                self.register_again(now, &name, registration, report, out)
            }
            (FromSlave::Update(AgedReport { report, age }), Some(name)) => {
                self.is_changed |= self.roster.reported(&name, report, ago(now, age));
                Ok(())
            }
            (FromSlave::Hello, Some(_)) => Ok(()),
            (FromSlave::Leave(reason), Some(name)) => {
                self.depart(&name, Departure::Left(reason), out);
                Err(CloseReason::Left.into())
            }
            (FromSlave::Used(tickets), Some(_)) => {
                self.tickets_used(both, tickets, out);
                Ok(())
            }
            (FromSlave::Update(_) | FromSlave::Used(_) | FromSlave::Hello | FromSlave::Leave(_), None) => {
                Err(CloseReason::Unexpected.into())
            }
        }
    }

    /// Notes that a peer is alive and gives its name, if it is a member.
    fn heard(&mut self, now: Instant, id: PeerId) -> Option<GatewayName> {
        let Some(Peer { stage: Stage::Member(member), .. }) = self.peers.get(&id) else { return None };
        let name = member.name.clone();
        self.roster.heard(&name, now);
        Some(name)
    }

    /// Ends a connection, tells the peer why if it may know, and ends the member behind it.
    fn close(&mut self, now: Instant, id: PeerId, problem: Problem, out: &mut Outbox<MasterOutput>) {
        let Problem { reason, .. } = problem;
        if let Some(refusal) = reason.refusal() {
            self.refuse(id, refusal, out);
        }
        let Some(peer) = self.peers.remove(&id) else { return };
        if !reason.is_closed_already() {
            out.push(MasterOutput::Close { peer: id, reason });
        }
        if let Some(until) = peer.stage.until() {
            self.settle(id, peer.from, until);
            if !self.is_stopped {
                self.refused(now, peer.from, problem, out);
            }
            return;
        }
        let Stage::Member(member) = peer.stage else { return };
        // A member of this name may be another one by now.
        if self.roster.get(&member.name).is_some_and(|record| record.peer == Some(id)) {
            self.depart(&member.name, Departure::Lost(reason), out);
            if matches!(
                reason,
                CloseReason::Malformed
                    | CloseReason::Sequence
                    | CloseReason::TooLong
                    | CloseReason::Unexpected
                    | CloseReason::UnknownFrame
                    | CloseReason::WrongSeal
            ) {
                self.refused(now, peer.from, problem, out);
            }
        }
    }

    /// Tells a peer that it is no member.
    fn refuse(&mut self, id: PeerId, refusal: Refusal, out: &mut Outbox<MasterOutput>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        match &mut peer.stage {
            Stage::AwaitOffer { .. } | Stage::AwaitProof { .. } => {
                // Whoever has sent something else than an offer does not speak our language.
                if refusal != Refusal::Protocol && refusal != Refusal::Stopped {
                    let octets = Octets::Own(rejected_frame(refusal));
                    out.push(MasterOutput::Write { peer: id, octets });
                }
            }
            Stage::AwaitRegister { .. } | Stage::Member(_) => {
                self.tell(id, &FromMaster::Refused(refusal), out);
            }
        }
    }

    /// Counts a refusal and says so, if it was not said just before.
    fn refused(&mut self, now: Instant, from: SocketAddr, problem: Problem, out: &mut Outbox<MasterOutput>) {
        let Problem { reason, detail } = problem;
        if let Some(said) = self.refusals.count(now, reason, (from, detail)) {
            out.push(refused_event(said));
        }
    }

    /// Sends a sealed frame.
    fn tell(&mut self, id: PeerId, message: &FromMaster<'_>, out: &mut Outbox<MasterOutput>) {
        if let Some(channel) = self.peers.get_mut(&id).and_then(|peer| peer.stage.channel()) {
            let mut octets = Vec::new();
            channel.seal(message.kind(), &message.to_body(), &mut octets);
            out.push(MasterOutput::Write { peer: id, octets: Octets::Own(octets) });
        }
    }

    fn wants_a_view(&mut self, id: PeerId) {
        if let Some(Peer { stage: Stage::Member(member), .. }) = self.peers.get_mut(&id)
            && !member.waits_for_view
        {
            member.waits_for_view = true;
            self.views.enqueue(id);
        }
    }

    fn everybody_wants_a_view(&mut self) {
        for (id, peer) in &mut self.peers {
            if let Stage::Member(member) = &mut peer.stage
                && !member.waits_for_view
            {
                member.waits_for_view = true;
                self.views.enqueue(*id);
            }
        }
    }

    fn send_views(&mut self, now: Instant, out: &mut Outbox<MasterOutput>) {
        let peers = &mut self.peers;
        self.views.slice(now, &self.roster, |id, generation, parts| {
            let Some(Peer { stage: Stage::Member(member), .. }) = peers.get_mut(&id) else { return None };
            member.waits_for_view = false;
            seal_parts(id, &mut member.channel, parts, out);
            Some(std::mem::replace(&mut member.view, generation))
        });
    }

    /// Tells every slave that the master is alive, and whether its view is still right.
    fn send_alive(&mut self, now: Instant, out: &mut Outbox<MasterOutput>) -> bool {
        let oldest = self.roster.oldest(now);
        let mut is_anybody_there = false;
        for (id, peer) in &mut self.peers {
            let Stage::Member(member) = &mut peer.stage else { continue };
            is_anybody_there = true;
            let generation = member.view;
            let vouched = self.views.is_current(generation).then_some(Vouched { generation, oldest });
            let message = FromMaster::Alive(vouched);
            let mut octets = Vec::new();
            member.channel.seal(message.kind(), &message.to_body(), &mut octets);
            out.push(MasterOutput::Write { peer: *id, octets: Octets::Own(octets) });
        }
        is_anybody_there
    }

    fn reconfigure(
        &mut self,
        now: Instant,
        settings: Settings,
        limits: Limits,
        out: &mut Outbox<MasterOutput>,
    ) {
        let settings = within_range(settings);
        let is_other_time = settings.holdtime != self.settings.holdtime;
        self.settings = settings;
        self.limits = limits;
        self.free_vips(now, out);
        if !is_other_time {
            return;
        }
        self.roster.set_holdtime(self.settings.holdtime);
        self.alive_at = self.alive_at.map(|_| now + self.alive_interval());
        self.introduce(out);
    }

    fn stop(&mut self, now: Instant, out: &mut Outbox<MasterOutput>) {
        self.is_stopped = true;
        // The last word on who is there: the next master starts with it.
        self.send_alive(now, out);
        while let Some((id, _)) = self.peers.first_key_value() {
            let id = *id;
            self.refuse(id, Refusal::Stopped, out);
            self.peers.remove(&id);
            out.push(MasterOutput::Close { peer: id, reason: CloseReason::Stopped });
        }
        self.pending.clear();
        self.sources.clear();
    }

    fn timeout(&mut self, now: Instant, out: &mut Outbox<MasterOutput>) {
        while self.pending.first().is_some_and(|(until, _)| *until <= now)
            && let Some((_, peer)) = self.pending.pop_first()
        {
            self.close(now, peer, CloseReason::HandshakeTimeout.into(), out);
        }
        while let Some(name) = self.roster.next_silent(now) {
            match self.roster.get(&name).and_then(|member| member.peer) {
                Some(peer) => self.close(now, peer, CloseReason::Silent.into(), out),
                None => self.depart(&name, Departure::NotReturned, out),
            }
        }
        if self.alive_at.is_some_and(|at| at <= now) {
            if self.views.is_idle() {
                self.everybody_wants_a_view();
            }
            let is_anybody_there = self.send_alive(now, out);
            self.alive_at = is_anybody_there.then(|| now + self.alive_interval());
        }
        let said: Vec<_> = self.refusals.due(now).map(refused_event).collect();
        for event in said {
            out.push(event);
        }
    }
}

impl Machine for Master {
    type Input<'a> = MasterInput<'a>;
    type Output = MasterOutput;

    fn step(&mut self, now: Now, input: MasterInput<'_>, out: &mut Outbox<MasterOutput>) {
        if self.is_stopped {
            return;
        }
        let both = now;
        let now = now.mono;
        match input {
            MasterInput::Accepted { peer, from } => self.accept(now, peer, from, out),
            MasterInput::Bytes { peer, octets } => self.bytes(both, peer, octets, out),
            MasterInput::Closed { peer } => self.close(now, peer, CloseReason::ClosedByPeer.into(), out),
            MasterInput::Drain { name, drain } => self.drain(&name, drain, out),
            MasterInput::Local(report) => {
                self.roster.heard(&self.local, now);
                self.is_changed |= self.roster.reported(&self.local, report, now);
            }
            MasterInput::LocalRegistration(registration) => self.local_registration(now, registration, out),
            MasterInput::Reconfigure { settings, limits } => self.reconfigure(now, settings, limits, out),
            MasterInput::Stop => self.stop(now, out),
            MasterInput::TicketUsed(ticket) => {
                self.tickets.note(both.wall, ticket);
            }
            MasterInput::Timeout => self.timeout(now, out),
        }
        if self.is_stopped {
            return;
        }
        self.send_views(now, out);
        self.tell_tickets(now, out);
        if std::mem::take(&mut self.is_changed) {
            out.push(MasterOutput::MembersChanged);
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        if self.is_stopped {
            return None;
        }
        let deadlines = [
            (self.pending.first().map(|(at, _)| *at), "CLB handshake"),
            (self.roster.deadline(), "CLB holdtime"),
            (self.alive_at, "CLB sign of life"),
            (self.views.deadline(), "CLB view"),
            (self.refusals.deadline(), "CLB refusals to be told"),
        ];
        let deadlines = deadlines.into_iter().chain(self.tickets.deadlines());
        let deadlines = deadlines.filter_map(|(at, why)| Some(Deadline { at: at?, why }));
        deadlines.min_by_key(|deadline| deadline.at)
    }
}

/// Whatever the settings say: there is time between two signs of life.
fn within_range(settings: Settings) -> Settings {
    let (least, most) = Settings::HOLDTIME;
    Settings { holdtime: settings.holdtime.clamp(least, most), ..settings }
}

const fn refused_event(
    (reason, (from, detail), count): Said<CloseReason, (SocketAddr, Option<DecodeError>)>,
) -> MasterOutput {
    MasterOutput::Event(Event::PeerRefused { from, reason, detail, count })
}

#[cfg(test)]
mod tests;
