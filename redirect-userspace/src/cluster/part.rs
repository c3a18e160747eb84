//! This node's part in the cluster, and the steps of whichever machine plays it.

use std::net::{IpAddr, SocketAddr};

use crate::clb::{
    self, LeaveReason, Limits, Master, MasterInput, MasterOutput, Octets, Order, Slave, SlaveInput,
    SlaveOutput, View,
};
use crate::cluster::{Cluster, Election, Event, MAX_MEMBERS, Output, Peer, Role};
use crate::hsrp::State;
use crate::machine::{Machine as _, Outbox};
use crate::time::Now;

/// This node's part in the cluster.
///
/// A change drops one machine and builds another, so that nothing that was learned in one role
/// lives on in the next, with two exceptions. Used tickets stay used. And a slave that becomes master starts from the
/// members that the last master told it about, with the times at which they were heard. Whoever of them
/// is not heard again within the hold time is dropped as if the last master had gone on.
pub(super) enum Part {
    Neither,
    Slave(Box<Slave>),
    Master(Box<Master>),
}

impl Part {
    pub(super) const fn role(&self) -> Role {
        match self {
            Self::Neither => Role::None,
            Self::Slave(_) => Role::Slave,
            Self::Master(_) => Role::Master,
        }
    }
}

impl Cluster {
    /// The role that election and standby state call for.
    pub(super) fn wanted_role(&self) -> Role {
        match (&self.election, self.standby) {
            (None, _) | (Some(Election { is_shut_down: true, .. }), _) => Role::None,
            (Some(_), State::Active) => Role::Master,
            (Some(_), State::Listen | State::Speak | State::Standby) => Role::Slave,
            (Some(_), State::Initial | State::Learn) => Role::None,
        }
    }

    /// Ends the part that is played and begins the one that is called for.
    pub(super) fn change_part(&mut self, now: Now, out: &mut Outbox<Output>) {
        let from = self.part.role();
        let inherited = self.end_part(now, out);
        let Some(election) = self.election.clone() else { return self.told_role(from, out) };
        match self.wanted_role() {
            Role::None => {}
            Role::Slave => {
                let rng = self.rng.fork();
                let Election { name, master_at, settings, slave, node, .. } = election;
                let slave = Slave::new(settings, slave, name, node, self.local, rng, now)
                    .with_tickets(std::mem::take(&mut self.tickets));
                self.part = Part::Slave(Box::new(slave));
                self.slave(now, master_input(self.active, master_at), out);
            }
            Role::Master => {
                let rng = self.rng.fork();
                let Election { name, master_at, settings, node, .. } = election;
                let limits = self.limits();
                let mut master = Master::new(settings, limits, name, node, rng, now, inherited)
                    .with_tickets(std::mem::take(&mut self.tickets));
                // What this node knows about itself is newer than what it was told.
                let mut told = Outbox::new();
                master.step(now, MasterInput::Local(self.local), &mut told);
                self.part = Part::Master(Box::new(master));
                out.push(Output::Listen { at: master_at });
            }
        }
        self.told_role(from, out);
    }

    /// Configured members take places of their own.
    pub(super) fn limits(&self) -> Limits {
        Limits { members: MAX_MEMBERS.saturating_sub(self.members.len()).max(1), ..Limits::default() }
    }

    fn told_role(&self, from: Role, out: &mut Outbox<Output>) {
        let to = self.part.role();
        if from != to {
            out.push(Output::Event(Event::RoleChanged { from, to, state: self.standby }));
        }
    }

    fn end_part(&mut self, now: Now, out: &mut Outbox<Output>) -> Option<View> {
        match std::mem::replace(&mut self.part, Part::Neither) {
            Part::Neither => None,
            Part::Slave(mut slave) => {
                let view = slave.view(now);
                let reason = match self.wanted_role() {
                    Role::Master => LeaveReason::Promoted,
                    Role::Slave => LeaveReason::Reconfigured,
                    Role::None => LeaveReason::Disabled,
                };
                let mut told = Outbox::new();
                slave.step(now, SlaveInput::Leave(reason), &mut told);
                self.tickets = slave.take_tickets();
                self.relay_slave(told, out);
                view
            }
            Part::Master(mut master) => {
                let mut told = Outbox::new();
                master.step(now, MasterInput::Stop, &mut told);
                self.tickets = master.take_tickets();
                relay_master(told, out);
                out.push(Output::Unlisten);
                None
            }
        }
    }

    /// Steps the master, if this node is it.
    pub(super) fn master(&mut self, now: Now, input: MasterInput<'_>, out: &mut Outbox<Output>) {
        let Part::Master(master) = &mut self.part else { return };
        let mut told = Outbox::new();
        master.step(now, input, &mut told);
        if relay_master(told, out) {
            self.update(now, true, out);
        }
    }

    /// Steps the slave, if this node is one.
    pub(super) fn slave(&mut self, now: Now, input: SlaveInput<'_>, out: &mut Outbox<Output>) {
        let Part::Slave(slave) = &mut self.part else { return };
        let mut told = Outbox::new();
        slave.step(now, input, &mut told);
        self.relay_slave(told, out);
    }

    /// Hands on what a slave wants done.
    fn relay_slave(&mut self, mut told: Outbox<SlaveOutput>, out: &mut Outbox<Output>) {
        for output in told.drain() {
            match output {
                SlaveOutput::Close { connection, reason: _ } => {
                    out.push(Output::Close { peer: Peer::Master(connection) });
                }
                SlaveOutput::Dial { connection, to } => out.push(Output::Dial { connection, to }),
                SlaveOutput::Event(event) => out.push(Output::Event(Event::Clb(event))),
                SlaveOutput::Ordered(order) => self.is_draining = order == Order::Drain,
                // It is asked for when it is needed.
                SlaveOutput::TicketUsed(ticket) => out.push(Output::TicketUsed(ticket)),
                SlaveOutput::ViewChanged => {}
                SlaveOutput::Write { connection, octets } => {
                    let octets = Octets::Own(octets);
                    out.push(Output::Write { peer: Peer::Master(connection), octets });
                }
            }
        }
    }

    /// The active router has changed: the master is somebody else now.
    pub(super) fn follow(&mut self, now: Now, active: Option<IpAddr>, out: &mut Outbox<Output>) {
        if self.active != active {
            self.active = active;
            if let Some(election) = &self.election {
                let input = master_input(active, election.master_at);
                self.slave(now, input, out);
            }
        }
    }
}

/// Where a slave finds its master: on the VIP, as long as somebody owns it.
fn master_input(active: Option<IpAddr>, master_at: SocketAddr) -> SlaveInput<'static> {
    if active.is_some() { SlaveInput::MasterAt(master_at) } else { SlaveInput::NoMaster }
}

/// Hands on what a master wants done, and says whether other members are there than before. What
/// they report waits for the next computation of the shares: hundreds of them report every second.
fn relay_master(mut told: Outbox<MasterOutput>, out: &mut Outbox<Output>) -> bool {
    let mut are_others = false;
    for output in told.drain() {
        match output {
            MasterOutput::Close { peer, reason: _ } => out.push(Output::Close { peer: Peer::Slave(peer) }),
            MasterOutput::Event(event) => {
                are_others |= matches!(
                    event,
                    clb::Event::MemberChanged { .. }
                        | clb::Event::MemberDrained { .. }
                        | clb::Event::MemberJoined { .. }
                        | clb::Event::MemberLeft { .. }
                );
                out.push(Output::Event(Event::Clb(event)));
            }
            MasterOutput::MembersChanged => {}
            MasterOutput::TicketUsed(ticket) => out.push(Output::TicketUsed(ticket)),
            MasterOutput::Write { peer, octets } => {
                out.push(Output::Write { peer: Peer::Slave(peer), octets });
            }
        }
    }
    are_others
}
