//! From a datagram to an event of the table.
//!
//! # Invariants
//!
//! - Nothing here changes the group: what does not pass is a [`Discard`], what passes is
//!   authenticated.
//! - Authentication is checked last, so that packets of others do not count against it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::hsrp::fsm::Trigger;
use crate::hsrp::wire::{self, Message, Opcode, SenderState, WireError};
use crate::hsrp::{Discard, Group, Interface, State, Version, auth};
use crate::time::Instant;

/// An authenticated message of another router of the group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// Who sent it.
    pub(super) source: IpAddr,
    /// What it says.
    pub(super) message: Message,
    /// How long it counts.
    pub(super) hold: Duration,
}

impl Heard {
    /// Whether it is a hello of a router in `state`.
    pub(super) fn is_hello_in(&self, state: State) -> bool {
        self.message.opcode == Opcode::Hello && self.message.state == SenderState::Is(state)
    }
}

impl Group {
    /// Checks a datagram.
    pub(super) fn admit(&self, now: Instant, source: IpAddr, payload: &[u8]) -> Result<Heard, Discard> {
        let settings = self.settings();
        let datagram = wire::decode(settings.version, payload).map_err(|wrong| match wrong {
            WireError::OtherVersion => Discard::OtherVersion,
            WireError::Malformed(_) => Discard::Malformed,
        })?;
        // Advertisements are never authenticated, and say nothing that the election needs.
        let message = datagram.message.ok_or(Discard::Advertisement)?;
        if message.group != settings.group {
            return Err(Discard::OtherGroup);
        }
        if source.is_ipv6() != settings.is_ipv6() || message.vip.is_ipv6() != settings.is_ipv6() {
            return Err(Discard::OtherFamily);
        }
        if Some(source) == self.own_address() || self.virtual_addresses().contains(&source) {
            return Err(Discard::Own);
        }
        if !self.interface().is_some_and(|interface| is_on_link(interface, source)) {
            return Err(Discard::OffSubnet);
        }
        auth::check(&datagram, payload, source, &settings.authentication, self.retired_key(now))?;
        if message.opcode == Opcode::Hello && matches!(message.state, SenderState::Unknown(_)) {
            return Err(Discard::Malformed);
        }
        Ok(Heard { source, message, hold: self.believed_hold(&message) })
    }

    /// The event that a message is; `None` when the table has none for it.
    pub(super) fn trigger_of(&self, now: Instant, heard: &Heard) -> Option<Trigger> {
        let is_higher = !self.is_above(heard.message.priority, heard.source);
        match (heard.message.opcode, heard.message.state) {
            (Opcode::Hello, SenderState::Is(State::Active)) => {
                if self.state() == State::Learn && !self.can_learn(heard.message.vip) {
                    // Listen needs the VIP.
                    None
                } else if is_higher {
                    Some(Trigger::HigherActive)
                } else {
                    Some(Trigger::LowerActive { may_preempt: self.may_preempt(now) })
                }
            }
            (Opcode::Hello, SenderState::Is(State::Standby)) if is_higher => Some(Trigger::HigherStandby),
            (Opcode::Hello, SenderState::Is(State::Standby)) => Some(Trigger::LowerStandby),
            (Opcode::Hello, SenderState::Is(State::Speak)) => is_higher.then_some(Trigger::HigherSpeaker),
            (
                Opcode::Hello,
                SenderState::Is(State::Initial | State::Learn | State::Listen)
                | SenderState::Disabled
                | SenderState::Unknown(_),
            ) => None,
            // Routers send both before or after they change their state.
            (Opcode::Coup, _) => is_higher.then_some(Trigger::Coup),
            (Opcode::Resign, _) => self.is_active_router(heard.source).then_some(Trigger::ActiveResigned),
        }
    }

    /// Whether an address can be the VIP of a group that has none configured.
    pub(super) fn can_learn(&self, vip: IpAddr) -> bool {
        let is_usable = match vip {
            IpAddr::V4(vip) => {
                !(vip.is_unspecified() || vip.is_multicast() || vip.is_broadcast() || vip.is_loopback())
            }
            IpAddr::V6(_) => false,
        };
        is_usable && self.own_address() != Some(vip)
    }

    /// How long a hello counts: for the hold time it gives (`RFC 2281 §5.4`), unless that cannot
    /// be, or version 1 had no room for it.
    fn believed_hold(&self, message: &Message) -> Duration {
        let settings = self.settings();
        let is_rounded =
            settings.version == Version::V1 && settings.timers.is_some_and(|timers| timers.is_sub_second());
        let can_be = message.hold > message.hello && message.hold >= LEAST_HOLD;
        if is_rounded || !can_be { self.timers().hold() } else { message.hold.min(MOST_HOLD) }
    }
}

/// Whether an address is on the interface's own network.
fn is_on_link(interface: &Interface, source: IpAddr) -> bool {
    match source {
        IpAddr::V4(source) => interface.ipv4.is_some_and(|(own, length)| {
            // An address without a network does not say who else is on the link.
            let mask = match length {
                0 | 32.. => 0,
                length => u32::MAX << (32 - length),
            };
            let network = |address: Ipv4Addr| u32::from(address) & mask;
            network(own) == network(source)
        }),
        IpAddr::V6(source) => source.is_unicast_link_local(),
    }
}

/// Cisco's range of hold times. A hello that asks for more must not stop every failover.
const LEAST_HOLD: Duration = Duration::from_millis(50);
const MOST_HOLD: Duration = Duration::from_secs(255);
