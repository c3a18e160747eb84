//! The slave's side: finds the master, reports to it, and knows from it who the members are.
//!
//! # Invariants
//!
//! - A master that has not proven that it knows a key of ours is told nothing but the cluster's name.
//! - There is one connection at a time; what comes from another one is not looked at.
//! - The next try comes at the latest after a back-off that is bounded and spread at random.
//! - A master that is silent for its hold time is given up.
//!
//! # Picture
//!
//! ```text
//!          MasterAt                    Connected
//!  Idle ───────────▶ Waiting ─▶ Dialling ─▶ AwaitChallenge ─▶ AwaitProof ─▶ AwaitAccepted ─▶ Member
//!   ▲                   ▲           │             │               │               │             │
//!   │ NoMaster, Leave   └───────────┴─────────────┴───────────────┴───────────────┴─────────────┘
//!   └──── from everywhere             Closed, Failed, Refused, silence, a wrong frame
//! ```

mod backoff;
mod io;
mod stage;
mod tickets;

use std::net::SocketAddr;
use std::time::Duration;

use super::auth::{Handshakes, PROOF, Side};
use super::config::{ClusterName, Settings, SlaveSettings};
use super::event::Event;
use super::frame::Deframer;
use super::reason::{CloseReason, LeaveReason, Problem, Refusal};
use super::report::{BasisPoints, Registration, Report};
use super::tickets::{TicketLog, Told};
use super::view::{Assembly, Held, View};
use super::wire::{AgedReport, Challenge, FromMaster, FromSlave, Offer, VERSIONS};
use crate::gateway::GatewayName;
use crate::machine::{Deadline, Machine, Outbox};
use crate::rng::Rng;
use crate::throttle::{Said, Throttle};
use crate::time::{Instant, Now};

use self::backoff::{Backoff, spread};
pub use self::io::{ConnectionId, SlaveInput, SlaveOutput};
use self::stage::{Heard, Session, Stage};
use self::tickets::Tickets;

/// A slave.
pub struct Slave {
    settings: Settings,
    slave: SlaveSettings,
    cluster: ClusterName,
    registration: Registration,
    report: Report,
    reported_at: Instant,
    rng: Rng,
    master: Option<SocketAddr>,
    /// The last one that was dialled.
    connection: ConnectionId,
    deframer: Deframer,
    stage: Stage,
    backoff: Backoff,
    assembly: Assembly,
    view: Option<Held>,
    tickets: Tickets,
    failures: Throttle<CloseReason, (SocketAddr, Option<Refusal>)>,
}

impl Slave {
    /// Time from the opening of a connection within which the master must have taken us in.
    pub const HANDSHAKE: Duration = Duration::from_secs(3);
    /// A change of any part of the load by this much is reported at once.
    pub const JUMP: BasisPoints = BasisPoints::saturating(500);
    /// Shortest time between two reports because of jumps.
    pub const JUMP_INTERVAL: Duration = SlaveSettings::UPDATE.0;

    /// A slave that knows of no master yet.
    #[must_use]
    pub fn new(
        settings: Settings,
        slave: SlaveSettings,
        cluster: ClusterName,
        registration: Registration,
        report: Report,
        rng: Rng,
        now: Now,
    ) -> Self {
        Self {
            settings,
            slave,
            cluster,
            registration,
            report,
            reported_at: now.mono,
            rng,
            master: None,
            connection: ConnectionId(0),
            deframer: Deframer::default(),
            stage: Stage::Idle,
            backoff: Backoff::default(),
            assembly: Assembly::default(),
            view: None,
            tickets: Tickets::new(TicketLog::default()),
            failures: Throttle::new(),
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

    /// Who the members are, as the master has told last, with the ages that this has by now. What
    /// the next [`Master`](super::Master) starts with.
    #[must_use]
    pub fn view(&self, now: Now) -> Option<View> {
        self.view.as_ref().map(|view| view.at(now.mono))
    }

    /// The master, while this slave is registered with it.
    #[must_use]
    pub const fn master(&self) -> Option<&GatewayName> {
        match &self.stage {
            Stage::Member(session) => Some(&session.master),
            Stage::Idle
            | Stage::Waiting { .. }
            | Stage::Dialling { .. }
            | Stage::AwaitChallenge { .. }
            | Stage::AwaitProof { .. }
            | Stage::AwaitAccepted { .. } => None,
        }
    }

    fn is_current(&self, connection: ConnectionId) -> bool {
        self.stage.is_connection() && connection == self.connection
    }

    fn master_at(&mut self, now: Instant, master: SocketAddr, out: &mut Outbox<SlaveOutput>) {
        self.hang_up(CloseReason::MasterChanged, out);
        self.master = Some(master);
        self.backoff.reset();
        let members = self.view.as_ref().map_or(0, Held::members);
        let wait = spread(&mut self.rng, members);
        self.dial_after(now, wait, out);
    }

    fn dial_after(&mut self, now: Instant, wait: Duration, out: &mut Outbox<SlaveOutput>) {
        if wait.is_zero() {
            self.dial(now, out);
        } else {
            self.stage = Stage::Waiting { until: now + wait };
        }
    }

    fn dial(&mut self, now: Instant, out: &mut Outbox<SlaveOutput>) {
        let Some(to) = self.master else {
            self.stage = Stage::Idle;
            return;
        };
        self.connection = ConnectionId(self.connection.0.wrapping_add(1));
        self.deframer = Deframer::default();
        self.assembly = Assembly::default();
        self.stage = Stage::Dialling { until: now + self.backoff.dial() };
        out.push(SlaveOutput::Dial { connection: self.connection, to });
    }

    fn connected(&mut self, now: Instant, out: &mut Outbox<SlaveOutput>) {
        let Stage::Dialling { .. } = self.stage else { return };
        let offer =
            Offer { versions: VERSIONS, nonce: self.rng.array(), cluster: self.cluster.clone() }.to_frame();
        self.write(offer.clone(), out);
        self.stage = Stage::AwaitChallenge { until: now + Self::HANDSHAKE, offer };
    }

    fn bytes(&mut self, both: Now, mut octets: &[u8], out: &mut Outbox<SlaveOutput>) {
        let now = both.mono;
        let connection = self.connection;
        // The messages borrow from the frame, and so from here.
        let mut deframer = std::mem::take(&mut self.deframer);
        while self.is_current(connection) {
            let heard = match deframer.next(&mut octets, self.stage.longest_frame()) {
                Ok(Some(frame)) => self.stage.read(frame),
                Ok(None) => break,
                Err(error) => Err(error.into()),
            };
            let outcome = match heard {
                Ok(Heard::Challenge { frame, challenge }) => self.challenge(&frame, &challenge, out),
                Ok(Heard::Rejected(refusal)) => {
                    self.lost(now, CloseReason::Refused.into(), Some(refusal), out);
                    Ok(())
                }
                Ok(Heard::Proof(proof)) => self.proof(now, &proof, out),
                Ok(Heard::Message(message)) => self.message(both, message, out),
                Ok(Heard::Skipped) => Ok(()),
                Err(problem) => Err(problem),
            };
            match outcome {
                Ok(()) => {}
                Err(problem) => self.lost(now, problem, None, out),
            }
        }
        if self.is_current(connection) {
            self.deframer = deframer;
        }
    }

    fn challenge(
        &mut self,
        frame: &[u8],
        challenge: &Challenge,
        out: &mut Outbox<SlaveOutput>,
    ) -> Result<(), Problem> {
        let Stage::AwaitChallenge { until, offer } = &self.stage else { return Ok(()) };
        if !(VERSIONS.0..=VERSIONS.1).contains(&challenge.version) {
            return Err(CloseReason::Version.into());
        }
        let until = *until;
        let (proof, handshakes) = Handshakes::new(&self.settings, offer, frame).prove(challenge.version);
        self.write(proof.to_frame(), out);
        self.stage = Stage::AwaitProof { until, handshakes };
        Ok(())
    }

    fn proof(
        &mut self,
        now: Instant,
        proof: &[u8; PROOF],
        out: &mut Outbox<SlaveOutput>,
    ) -> Result<(), Problem> {
        let Stage::AwaitProof { until, handshakes } = &self.stage else { return Ok(()) };
        let Some(handshake) = handshakes.iter().find(|handshake| handshake.is_proven(Side::Master, proof))
        else {
            return Err(CloseReason::WrongKey.into());
        };
        let until = *until;
        let channel = handshake.channel(Side::Slave);
        self.stage = Stage::AwaitAccepted { until, channel };
        self.register(now, out);
        Ok(())
    }

    fn message(
        &mut self,
        both: Now,
        message: FromMaster<'_>,
        out: &mut Outbox<SlaveOutput>,
    ) -> Result<(), Problem> {
        let now = both.mono;
        if let FromMaster::Refused(refusal) = message {
            self.lost(now, CloseReason::Refused.into(), Some(refusal), out);
            return Ok(());
        }
        match (&mut self.stage, message) {
            (Stage::AwaitAccepted { .. }, FromMaster::Accepted { master, holdtime }) => {
                self.accepted(now, master, holdtime, out);
                Ok(())
            }
            (Stage::Member(session), FromMaster::Accepted { master, holdtime }) => {
                session.heard_at = now;
                session.holdtime = holdtime;
                session.master = master;
                self.compare_holdtime(out);
                Ok(())
            }
            (Stage::Member(session), FromMaster::Alive(vouched)) => {
                session.heard_at = now;
                if let (Some(view), Some(vouched)) = (&mut self.view, vouched) {
                    view.vouch(vouched, now);
                }
                Ok(())
            }
            (Stage::Member(session), FromMaster::Order(order)) => {
                session.heard_at = now;
                out.push(SlaveOutput::Ordered(order));
                Ok(())
            }
            (Stage::Member(session), FromMaster::Tickets(tickets)) => {
                session.heard_at = now;
                self.tickets_used(both.wall, tickets, out);
                Ok(())
            }
            (Stage::Member(session), FromMaster::Drained(names)) => {
                session.heard_at = now;
                Ok(self.assembly.take_drained(names)?)
            }
            (Stage::Member(session), FromMaster::View(part)) => {
                session.heard_at = now;
                let master = session.master.clone();
                if let Some(whole) = self.assembly.take(part)? {
                    self.view = Some(Held::new(master, whole, now));
                    out.push(SlaveOutput::ViewChanged);
                }
                Ok(())
            }
            (
                Stage::Idle
                | Stage::Waiting { .. }
                | Stage::Dialling { .. }
                | Stage::AwaitChallenge { .. }
                | Stage::AwaitProof { .. }
                | Stage::AwaitAccepted { .. },
                _,
            )
            | (Stage::Member(_), FromMaster::Refused(_)) => Err(CloseReason::Unexpected.into()),
        }
    }

    fn accepted(
        &mut self,
        now: Instant,
        master: GatewayName,
        holdtime: Duration,
        out: &mut Outbox<SlaveOutput>,
    ) {
        let Stage::AwaitAccepted { channel, .. } = std::mem::replace(&mut self.stage, Stage::Idle) else {
            return;
        };
        if let Some(address) = self.master {
            out.push(SlaveOutput::Event(Event::Connected { master: master.clone(), address }));
        }
        self.stage = Stage::Member(Session {
            master,
            channel,
            holdtime,
            since: now,
            heard_at: now,
            sent_at: now,
            reported: self.report,
            updated_at: now,
            update_at: now + self.update_interval(),
            told: Told::new(&self.tickets.log),
        });
        self.compare_holdtime(out);
    }

    fn compare_holdtime(&self, out: &mut Outbox<SlaveOutput>) {
        let Stage::Member(session) = &self.stage else { return };
        let (ours, theirs) = (self.settings.holdtime, session.holdtime);
        if ours != theirs {
            let master = session.master.clone();
            out.push(SlaveOutput::Event(Event::HoldtimeDiffers { master, ours, theirs }));
        }
    }

    /// Says who this node is.
    fn register(&mut self, now: Instant, out: &mut Outbox<SlaveOutput>) {
        let message = FromSlave::Register(self.registration.clone(), self.aged_report(now));
        self.tell(now, &message, out);
    }

    /// Time between two reports.
    fn update_interval(&self) -> Duration {
        self.slave.update.max(SlaveSettings::UPDATE.0)
    }

    fn aged_report(&self, now: Instant) -> AgedReport {
        AgedReport { report: self.report, age: now.since(self.reported_at) }
    }

    fn update(&mut self, now: Instant, out: &mut Outbox<SlaveOutput>) {
        let message = FromSlave::Update(self.aged_report(now));
        self.tell(now, &message, out);
        self.has_reported(now);
    }

    /// The master knows the load as it is now.
    fn has_reported(&mut self, now: Instant) {
        let update_at = now + self.update_interval();
        if let Stage::Member(session) = &mut self.stage {
            session.reported = self.report;
            session.updated_at = now;
            session.update_at = update_at;
        }
    }

    fn local(&mut self, now: Instant, report: Report, out: &mut Outbox<SlaveOutput>) {
        self.report = report;
        self.reported_at = now;
        let max_session = self.registration.max_session;
        let Stage::Member(session) = &mut self.stage else { return };
        if report.availability != session.reported.availability {
            self.update(now, out);
        } else if has_jumped(&session.reported, &report, max_session) {
            session.update_at = session.update_at.min(session.updated_at + Self::JUMP_INTERVAL);
            if session.update_at <= now {
                self.update(now, out);
            }
        }
    }

    fn local_registration(
        &mut self,
        now: Instant,
        registration: Registration,
        out: &mut Outbox<SlaveOutput>,
    ) {
        if registration == self.registration {
            return;
        }
        let is_other_name = registration.name != self.registration.name;
        self.registration = registration;
        let is_registered = matches!(self.stage, Stage::AwaitAccepted { .. } | Stage::Member(_));
        if is_registered && is_other_name {
            // A connection has one name from its start to its end.
            self.say_goodbye(now, LeaveReason::Reconfigured, out);
            self.dial(now, out);
        } else if is_registered {
            self.register(now, out);
            self.has_reported(now);
        }
    }

    fn leave(&mut self, now: Instant, reason: LeaveReason, out: &mut Outbox<SlaveOutput>) {
        self.say_goodbye(now, reason, out);
        self.master = None;
    }

    fn say_goodbye(&mut self, now: Instant, reason: LeaveReason, out: &mut Outbox<SlaveOutput>) {
        if matches!(self.stage, Stage::Member(_)) {
            self.tell(now, &FromSlave::Leave(reason), out);
        }
        self.hang_up(CloseReason::Left, out);
    }

    /// Ends the connection because we want to.
    fn hang_up(&mut self, reason: CloseReason, out: &mut Outbox<SlaveOutput>) {
        if self.stage.is_connection() {
            out.push(SlaveOutput::Close { connection: self.connection, reason });
        }
        self.deframer = Deframer::default();
        if let Stage::Member(session) = std::mem::replace(&mut self.stage, Stage::Idle) {
            let event = Event::Disconnected { master: session.master, reason, refusal: None };
            out.push(SlaveOutput::Event(event));
        }
    }

    /// The connection is of no use any more: tries again later.
    fn lost(
        &mut self,
        now: Instant,
        Problem { reason, .. }: Problem,
        refusal: Option<Refusal>,
        out: &mut Outbox<SlaveOutput>,
    ) {
        if !reason.is_closed_already() {
            out.push(SlaveOutput::Close { connection: self.connection, reason });
        }
        self.deframer = Deframer::default();
        if let Stage::Member(session) = std::mem::replace(&mut self.stage, Stage::Idle) {
            // A membership that has lasted was a success: this failure is the first one again.
            if now.since(session.since) >= session.holdtime {
                self.backoff.reset();
            }
            let event = Event::Disconnected { master: session.master, reason, refusal };
            out.push(SlaveOutput::Event(event));
        } else if let Some(address) = self.master
            && let Some(said) = self.failures.count(now, reason, (address, refusal))
        {
            out.push(failure_event(said));
        }
        // Our name or address is not ours alone. Only people can change that.
        let is_hopeless = matches!(
            refusal,
            Some(
                Refusal::DuplicateName | Refusal::DuplicateAddress | Refusal::Replaced | Refusal::VipAddress
            )
        );
        let wait = if is_hopeless {
            self.backoff.hopeless(&mut self.rng)
        } else {
            self.backoff.failed(&mut self.rng)
        };
        self.dial_after(now, wait, out);
    }

    /// Sends a sealed frame, if the connection is that far.
    fn tell(&mut self, now: Instant, message: &FromSlave, out: &mut Outbox<SlaveOutput>) {
        let mut octets = Vec::new();
        match &mut self.stage {
            Stage::Idle
            | Stage::Waiting { .. }
            | Stage::Dialling { .. }
            | Stage::AwaitChallenge { .. }
            | Stage::AwaitProof { .. } => return,
            Stage::AwaitAccepted { channel, .. } => {
                channel.seal(message.kind(), &message.to_body(), &mut octets);
            }
            Stage::Member(session) => {
                session.channel.seal(message.kind(), &message.to_body(), &mut octets);
                session.sent_at = now;
            }
        }
        self.write(octets, out);
    }

    fn write(&self, octets: Vec<u8>, out: &mut Outbox<SlaveOutput>) {
        out.push(SlaveOutput::Write { connection: self.connection, octets });
    }

    fn timeout(&mut self, now: Instant, out: &mut Outbox<SlaveOutput>) {
        match &self.stage {
            Stage::Idle => {}
            Stage::Waiting { until } => {
                if *until <= now {
                    self.dial(now, out);
                }
            }
            Stage::Dialling { until } => {
                if *until <= now {
                    self.lost(now, CloseReason::ConnectTimeout.into(), None, out);
                }
            }
            Stage::AwaitChallenge { until, .. }
            | Stage::AwaitProof { until, .. }
            | Stage::AwaitAccepted { until, .. } => {
                if *until <= now {
                    self.lost(now, CloseReason::HandshakeTimeout.into(), None, out);
                }
            }
            Stage::Member(session) => {
                if session.heard_at + session.holdtime <= now {
                    self.lost(now, CloseReason::Silent.into(), None, out);
                } else if session.update_at <= now {
                    self.update(now, out);
                } else if session.sent_at + session.hello_interval(&self.slave) <= now {
                    self.tell(now, &FromSlave::Hello, out);
                }
            }
        }
        let said: Vec<_> = self.failures.due(now).map(failure_event).collect();
        for event in said {
            out.push(event);
        }
    }
}

impl Machine for Slave {
    type Input<'a> = SlaveInput<'a>;
    type Output = SlaveOutput;

    fn step(&mut self, now: Now, input: SlaveInput<'_>, out: &mut Outbox<SlaveOutput>) {
        let both = now;
        let now = now.mono;
        match input {
            SlaveInput::Bytes { connection, octets } => {
                if self.is_current(connection) {
                    self.bytes(both, octets, out);
                }
            }
            SlaveInput::Closed { connection } => {
                if self.is_current(connection) {
                    self.lost(now, CloseReason::ClosedByPeer.into(), None, out);
                }
            }
            SlaveInput::Connected { connection } => {
                if self.is_current(connection) {
                    self.connected(now, out);
                }
            }
            SlaveInput::Failed { connection } => {
                if self.is_current(connection) {
                    self.lost(now, CloseReason::ConnectFailed.into(), None, out);
                }
            }
            SlaveInput::Leave(reason) => self.leave(now, reason, out),
            SlaveInput::Local(report) => self.local(now, report, out),
            SlaveInput::LocalRegistration(registration) => self.local_registration(now, registration, out),
            SlaveInput::MasterAt(master) => self.master_at(now, master, out),
            SlaveInput::NoMaster => {
                self.hang_up(CloseReason::MasterChanged, out);
                self.master = None;
            }
            SlaveInput::Reconfigure { settings, slave } => {
                self.settings = settings;
                self.slave = slave;
                let interval = self.update_interval();
                if let Stage::Member(session) = &mut self.stage {
                    session.update_at = session.update_at.min(session.updated_at + interval);
                }
            }
            SlaveInput::TicketUsed(ticket) => self.tickets.log.used(both.wall, ticket),
            SlaveInput::Timeout => self.timeout(now, out),
        }
        self.tell_tickets(now, out);
    }

    fn deadline(&self) -> Option<Deadline> {
        let stage = match &self.stage {
            Stage::Idle => None,
            Stage::Waiting { until } => Some(Deadline { at: *until, why: "CLB dial" }),
            Stage::Dialling { until } => Some(Deadline { at: *until, why: "CLB connect" }),
            Stage::AwaitChallenge { until, .. }
            | Stage::AwaitProof { until, .. }
            | Stage::AwaitAccepted { until, .. } => Some(Deadline { at: *until, why: "CLB handshake" }),
            Stage::Member(session) => [
                (session.heard_at + session.holdtime, "CLB holdtime"),
                (session.update_at, "CLB update"),
                (session.sent_at + session.hello_interval(&self.slave), "CLB hello"),
            ]
            .into_iter()
            .map(|(at, why)| Deadline { at, why })
            .chain(self.tickets.deadline(&session.told))
            .min_by_key(|deadline| deadline.at),
        };
        let failures = self.failures.deadline().map(|at| Deadline { at, why: "CLB failures to be told" });
        Deadline::earlier(stage, failures)
    }
}

/// Whether any part of the load differs so much that the master should know at once.
fn has_jumped(before: &Report, now: &Report, max_session: u32) -> bool {
    let sessions = |report: &Report| BasisPoints::ratio(report.sessions().into(), max_session.into());
    let far =
        |before: BasisPoints, now: BasisPoints| before.value().abs_diff(now.value()) >= Slave::JUMP.value();
    far(sessions(before), sessions(now)) || far(before.cpu, now.cpu) || far(before.memory, now.memory)
}

const fn failure_event(
    (reason, (address, refusal), count): Said<CloseReason, (SocketAddr, Option<Refusal>)>,
) -> SlaveOutput {
    SlaveOutput::Event(Event::NotConnected { address, reason, refusal, count })
}

#[cfg(test)]
mod tests;
