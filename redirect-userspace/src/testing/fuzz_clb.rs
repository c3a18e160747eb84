//! Bodies of the fuzz targets for CLB, which tests call as well.
//!
//! Each takes anything and panics only when an invariant is broken.

use std::time::Duration;

use crate::clb::{
    CloseReason, ClusterKey, Event, LeaveReason, Limits, Master, MasterInput, MasterOutput, PeerId,
    Registration, Report, Settings, Slave, SlaveInput, SlaveOutput, SlaveSettings,
};
use crate::gateway::{GatewayAddress, GatewayAddresses, GatewayName};
use crate::machine::{Machine as _, Outbox};
use crate::rng::Rng;
use crate::secret::Secret;
use crate::time::Now;

/// Octets of `data` are what strangers send to a master, cut into connections and pieces. None of
/// them ever becomes a member, and what they can make the master keep is bounded.
pub fn master_and_strangers(data: &[u8]) {
    let Some(mut master) = master() else { return };
    let mut now = Now::default();
    let mut out = Outbox::new();
    for chunk in data.chunks(32) {
        let [first, rest @ ..] = chunk else { continue };
        let peer = PeerId(u64::from(first & 15));
        let from = ([10, 9, 0, first & 15], 40_000).into();
        match first >> 4 {
            0..=3 => master.step(now, MasterInput::Accepted { peer, from }, &mut out),
            4 => master.step(now, MasterInput::Closed { peer }, &mut out),
            5 => {
                now = now.after(Duration::from_millis(u64::from(*first) * 10));
                master.step(now, MasterInput::Timeout, &mut out);
                assert!(master.deadline().is_none_or(|deadline| !deadline.is_due(now)), "spins");
            }
            _ => master.step(now, MasterInput::Bytes { peer, octets: rest }, &mut out),
        }
        assert_eq!(master.members().count(), 1, "a stranger is a member");
        assert!(master.pending() <= Limits::default().pending, "too many connections");
        for output in out.drain() {
            let is_believed = matches!(output, MasterOutput::MembersChanged | MasterOutput::TicketUsed(_));
            assert!(!is_believed, "a stranger is believed");
        }
    }
}

/// Octets of `data` are what a false master sends to a slave. The slave never becomes a member
/// of anything, and never does what it is told.
pub fn slave_and_stranger(data: &[u8]) {
    let Some(mut slave) = slave() else { return };
    let mut now = Now::default();
    let mut out = Outbox::new();
    let mut current = None;
    slave.step(now, SlaveInput::MasterAt(([10, 0, 0, 5], 2012).into()), &mut out);
    for chunk in data.chunks(48) {
        let [first, rest @ ..] = chunk else { continue };
        for output in out.drain() {
            let is_believed = matches!(
                output,
                SlaveOutput::Ordered(_) | SlaveOutput::TicketUsed(_) | SlaveOutput::ViewChanged
            );
            assert!(!is_believed, "a stranger is believed");
            if let SlaveOutput::Dial { connection, .. } = output {
                current = Some(connection);
            }
        }
        let Some(connection) = current else { continue };
        match first >> 5 {
            0 | 1 => slave.step(now, SlaveInput::Connected { connection }, &mut out),
            2 => slave.step(now, SlaveInput::Closed { connection }, &mut out),
            3 => {
                now = now.after(Duration::from_millis(u64::from(*first) * 10));
                slave.step(now, SlaveInput::Timeout, &mut out);
                assert!(slave.deadline().is_none_or(|deadline| !deadline.is_due(now)), "spins");
            }
            _ => slave.step(now, SlaveInput::Bytes { connection, octets: rest }, &mut out),
        }
        assert_eq!(slave.master(), None, "a stranger is the master");
    }
}

/// A master and a slave that know the key, with octets of `data` changed or cut on the way, or
/// time passing. Whatever the network does, no member appears that has not registered, and
/// whoever changes an octet only ends the connection.
pub fn both_and_a_bad_network(data: &[u8]) {
    let (Some(mut master), Some(mut slave)) = (master(), slave()) else { return };
    let mut now = Now::default();
    let mut network = Network::default();
    let mut to_slave = Outbox::new();
    slave.step(now, SlaveInput::MasterAt(([10, 0, 0, 5], 2012).into()), &mut to_slave);
    network.carry_out_slave(now, &mut slave, &mut master, &mut to_slave);
    for [what, amount] in data.as_chunks::<2>().0 {
        match what & 7 {
            0 => network.flip(*amount),
            1 => network.forget(*amount),
            2 => {
                now = now.after(Duration::from_millis(u64::from(*amount) * 4));
                network.time(now, &mut slave, &mut master);
            }
            3 => {
                let report = Report { ike_sas: u32::from(*amount) * 100, ..Report::default() };
                slave.step(now, SlaveInput::Local(report), &mut to_slave);
                network.carry_out_slave(now, &mut slave, &mut master, &mut to_slave);
            }
            4 => {
                slave.step(now, SlaveInput::Leave(LeaveReason::from_code(*amount)), &mut to_slave);
                slave.step(now, SlaveInput::MasterAt(([10, 0, 0, 5], 2012).into()), &mut to_slave);
                network.carry_out_slave(now, &mut slave, &mut master, &mut to_slave);
            }
            _ => network.deliver(now, &mut slave, &mut master, usize::from(*amount)),
        }
        assert!(master.members().count() <= 2, "a member out of nowhere");
    }
}

/// One connection, whose octets can be changed.
#[derive(Default)]
struct Network {
    up: Vec<u8>,
    down: Vec<u8>,
    connection: Option<crate::clb::ConnectionId>,
    peers: u64,
    is_changed: bool,
}

impl Network {
    fn flip(&mut self, amount: u8) {
        if let Some(octet) = self.up.last_mut().or_else(|| self.down.last_mut()) {
            *octet ^= amount;
            self.is_changed |= amount != 0;
        }
    }

    fn forget(&mut self, amount: u8) {
        let left = self.up.len().saturating_sub(usize::from(amount));
        self.is_changed |= left < self.up.len();
        self.up.truncate(left);
    }

    fn time(&mut self, now: Now, slave: &mut Slave, master: &mut Master) {
        let (mut to_slave, mut to_master) = (Outbox::new(), Outbox::new());
        slave.step(now, SlaveInput::Timeout, &mut to_slave);
        self.carry_out_slave(now, slave, master, &mut to_slave);
        master.step(now, MasterInput::Timeout, &mut to_master);
        self.carry_out_master(now, slave, master, &mut to_master);
    }

    fn deliver(&mut self, now: Now, slave: &mut Slave, master: &mut Master, amount: usize) {
        let (mut to_slave, mut to_master) = (Outbox::new(), Outbox::new());
        let up: Vec<_> = self.up.drain(..amount.min(self.up.len())).collect();
        master.step(now, MasterInput::Bytes { peer: PeerId(self.peers), octets: &up }, &mut to_master);
        self.carry_out_master(now, slave, master, &mut to_master);
        let down: Vec<_> = self.down.drain(..amount.min(self.down.len())).collect();
        if let Some(connection) = self.connection {
            slave.step(now, SlaveInput::Bytes { connection, octets: &down }, &mut to_slave);
            self.carry_out_slave(now, slave, master, &mut to_slave);
        }
    }

    fn carry_out_slave(
        &mut self,
        now: Now,
        slave: &mut Slave,
        master: &mut Master,
        out: &mut Outbox<SlaveOutput>,
    ) {
        while let Some(output) = out.pop() {
            match output {
                SlaveOutput::Close { .. } => {
                    self.up.clear();
                    self.down.clear();
                    let mut to_master = Outbox::new();
                    master.step(now, MasterInput::Closed { peer: PeerId(self.peers) }, &mut to_master);
                    self.carry_out_master(now, slave, master, &mut to_master);
                }
                SlaveOutput::Dial { connection, .. } => {
                    self.up.clear();
                    self.down.clear();
                    self.is_changed = false;
                    self.peers += 1;
                    self.connection = Some(connection);
                    let peer = PeerId(self.peers);
                    let from = ([10, 0, 0, 2], 40_000).into();
                    let mut to_master = Outbox::new();
                    master.step(now, MasterInput::Accepted { peer, from }, &mut to_master);
                    self.carry_out_master(now, slave, master, &mut to_master);
                    slave.step(now, SlaveInput::Connected { connection }, out);
                }
                SlaveOutput::Write { octets, .. } => self.up.extend_from_slice(&octets),
                SlaveOutput::Event(_)
                | SlaveOutput::Ordered(_)
                | SlaveOutput::TicketUsed(_)
                | SlaveOutput::ViewChanged => {}
            }
        }
    }

    fn carry_out_master(
        &mut self,
        now: Now,
        slave: &mut Slave,
        master: &mut Master,
        out: &mut Outbox<MasterOutput>,
    ) {
        while let Some(output) = out.pop() {
            match output {
                MasterOutput::Close { peer, reason } if peer == PeerId(self.peers) => {
                    let is_bad = matches!(reason, CloseReason::WrongSeal | CloseReason::Sequence);
                    assert!(!is_bad || self.is_changed, "{reason} without a change");
                    if let Some(connection) = self.connection.take() {
                        let mut to_slave = Outbox::new();
                        slave.step(now, SlaveInput::Closed { connection }, &mut to_slave);
                        self.carry_out_slave(now, slave, master, &mut to_slave);
                    }
                }
                MasterOutput::Write { peer, octets } if peer == PeerId(self.peers) => {
                    self.down.extend_from_slice(octets.as_ref());
                }
                MasterOutput::Event(Event::MemberJoined { name, .. }) => {
                    assert_eq!(name.as_str(), "gw2", "a member out of nowhere");
                }
                MasterOutput::Close { .. }
                | MasterOutput::Event(_)
                | MasterOutput::MembersChanged
                | MasterOutput::TicketUsed(_)
                | MasterOutput::Write { .. } => {}
            }
        }
    }
}

/// A key is being changed: each side has one and accepts another.
fn settings(own: &[u8], accepted: &[u8]) -> Option<Settings> {
    let key = |octets| ClusterKey::new(Secret::from(octets)).ok();
    Some(Settings { accept_key: Some(key(accepted)?), ..Settings::new(key(own)?) })
}

const NEW: &[u8] = b"the key of the cluster";
const OLD: &[u8] = b"the key it had before";
const OLDER: &[u8] = b"the key of last year";

fn registration(name: &str, address: &str) -> Option<Registration> {
    let name: GatewayName = name.parse().ok()?;
    let address: GatewayAddress = address.parse().ok()?;
    Some(Registration {
        name,
        addresses: GatewayAddresses::new([address]).ok()?,
        priority: 100,
        max_session: 100,
    })
}

fn master() -> Option<Master> {
    let local = registration("gw1", "10.0.0.1")?;
    let cluster = "group1".parse().ok()?;
    let rng = Rng::from_number(1);
    Some(Master::new(settings(NEW, OLD)?, Limits::default(), cluster, local, rng, Now::default(), None))
}

fn slave() -> Option<Slave> {
    let local = registration("gw2", "10.0.0.2")?;
    let cluster = "group1".parse().ok()?;
    let (slave, rng) = (SlaveSettings::default(), Rng::from_number(2));
    Some(Slave::new(settings(OLDER, NEW)?, slave, cluster, local, Report::default(), rng, Now::default()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn anything_can_come(data in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            master_and_strangers(&data);
            slave_and_stranger(&data);
        }

        #[test]
        fn anything_can_happen_on_the_way(
            acts in proptest::collection::vec((prop_oneof![1 => 0..5_u8, 6 => Just(7_u8)], any::<u8>()), 0..200),
        ) {
            let data: Vec<_> = acts.iter().flat_map(|(what, amount)| [*what, *amount]).collect();
            both_and_a_bad_network(&data);
        }
    }

    #[test]
    fn a_good_network_makes_a_member() {
        let (mut master, mut slave) = (master().unwrap(), slave().unwrap());
        let mut network = Network::default();
        let mut out = Outbox::new();
        slave.step(Now::default(), SlaveInput::MasterAt(([10, 0, 0, 5], 2012).into()), &mut out);
        network.carry_out_slave(Now::default(), &mut slave, &mut master, &mut out);
        for _ in 0..20 {
            network.deliver(Now::default(), &mut slave, &mut master, 100);
        }

        assert_eq!(master.members().count(), 2);
        assert_eq!(slave.master().map(GatewayName::as_str), Some("gw1"));
    }
}
