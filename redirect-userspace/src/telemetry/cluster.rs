//! The cluster's events in the words of the daemon.

use super::{DownReason, Elected, Event, MemberChange};
use crate::cluster::{self, MemberState, OverloadAction};

impl From<&cluster::Event> for Event {
    fn from(event: &cluster::Event) -> Self {
        match event {
            cluster::Event::AddressesChanged { name, addresses: _ } => {
                Self::MemberChanged { gateway: name.clone(), change: MemberChange::Addresses }
            }
            cluster::Event::AllOverloaded { is_refusing } => Self::Elected(Elected::AllOverloaded {
                action: if *is_refusing { OverloadAction::Refuse } else { OverloadAction::Spread },
            }),
            cluster::Event::Clb(event) => Self::Clb(event.clone()),
            cluster::Event::RoleChanged { from, to, state } => Self::Elected(Elected::RoleChanged {
                from: *from,
                to: *to,
                why: format!("its HSRP group is {state}"),
            }),
            cluster::Event::RoomAgain => Self::Elected(Elected::OverloadCleared),
            cluster::Event::MemberJoined { name } => Self::MemberAdded { gateway: name.clone() },
            cluster::Event::MemberLeft { name } => Self::MemberRemoved { gateway: name.clone() },
            cluster::Event::NoIndex { name } => {
                Self::MemberDown { gateway: name.clone(), reason: DownReason::NoIndex }
            }
            cluster::Event::SelfChanged { name, is_self: _ } => {
                Self::MemberChanged { gateway: name.clone(), change: MemberChange::Locality }
            }
            cluster::Event::StateChanged { name, from: _, to } => {
                let gateway = name.clone();
                match to {
                    MemberState::Up => Self::MemberUp { gateway },
                    MemberState::Overloaded => Self::MemberDown { gateway, reason: DownReason::Overloaded },
                    MemberState::Draining => Self::MemberDown { gateway, reason: DownReason::Draining },
                    MemberState::Down => Self::MemberDown { gateway, reason: DownReason::Silent },
                }
            }
            cluster::Event::TablePublished { generation, gateways: _, moved } => Self::TablePublished {
                generation: *generation,
                moved: u32::try_from(*moved).unwrap_or(u32::MAX),
            },
            cluster::Event::WeightChanged { name, from: _, to: Some(_) } => {
                Self::MemberChanged { gateway: name.clone(), change: MemberChange::Weight }
            }
            cluster::Event::WeightChanged { name, from: _, to: None } => {
                Self::MemberDown { gateway: name.clone(), reason: DownReason::ZeroWeight }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Weight;

    #[test]
    fn a_state_change_is_up_or_down_with_the_reason() {
        for (to, text) in [
            (MemberState::Up, "gw2 is offered"),
            (MemberState::Overloaded, "gw2 is not offered: overloaded"),
            (MemberState::Draining, "gw2 is not offered: draining"),
            (MemberState::Down, "gw2 is not offered: silent"),
        ] {
            let event = cluster::Event::StateChanged { name: name(), from: MemberState::Up, to };
            assert_eq!(Event::from(&event).to_string(), text);
        }
    }

    #[test]
    fn membership_weight_and_table_keep_their_details() {
        for (event, text) in [
            (cluster::Event::MemberJoined { name: name() }, "gw2 joined"),
            (cluster::Event::MemberLeft { name: name() }, "gw2 left"),
            (cluster::Event::NoIndex { name: name() }, "gw2 is not offered: no-index"),
            (cluster::Event::SelfChanged { name: name(), is_self: true }, "gw2 has new locality"),
            (
                cluster::Event::WeightChanged { name: name(), from: None, to: Weight::new(2) },
                "gw2 has new weight",
            ),
            (
                cluster::Event::WeightChanged { name: name(), from: Weight::new(2), to: None },
                "gw2 is not offered: zero-weight",
            ),
            (
                cluster::Event::TablePublished { generation: 3, gateways: 2, moved: 512 },
                "table 3 is in force, 512 slots moved",
            ),
        ] {
            assert_eq!(Event::from(&event).to_string(), text);
        }
    }

    fn name() -> crate::gateway::GatewayName {
        super::super::fixtures::gateway("gw2")
    }
}
