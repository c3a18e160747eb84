//! What happens in a cluster, for people and counters.

use std::fmt::{Display, Formatter};

use crate::clb;
use crate::cluster::{MemberState, Role};
use crate::gateway::{GatewayAddresses, GatewayName, Weight};
use crate::hsrp::State;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Clients are sent to other addresses of a member.
    AddressesChanged {
        /// Whose.
        name: GatewayName,
        /// The new ones.
        addresses: GatewayAddresses,
    },
    /// Every member has reached the overload limit.
    AllOverloaded {
        /// Whether clients are not answered; otherwise they are spread all the same.
        is_refusing: bool,
    },
    /// Something happened between the master and its slaves.
    Clb(clb::Event),
    /// A member is new.
    MemberJoined {
        /// Who.
        name: GatewayName,
    },
    /// A member is gone.
    MemberLeft {
        /// Who.
        name: GatewayName,
    },
    /// Too many members changed at once: this one takes no clients until an index has rested.
    NoIndex {
        /// Who.
        name: GatewayName,
    },
    /// This node has another role.
    RoleChanged {
        /// Before.
        from: Role,
        /// Now.
        to: Role,
        /// The state of the HSRP group, which decides.
        state: State,
    },
    /// Some member is below the overload limit again.
    RoomAgain,
    /// A member turned out to be this node, or not to be it any more.
    SelfChanged {
        /// Who.
        name: GatewayName,
        /// Whether it is this node.
        is_self: bool,
    },
    /// A member takes clients, or stops to.
    StateChanged {
        /// Who.
        name: GatewayName,
        /// Its state before.
        from: MemberState,
        /// Its state now.
        to: MemberState,
    },
    /// A table was handed to the fast path.
    TablePublished {
        /// Its generation.
        generation: u32,
        /// How many gateways are in it.
        gateways: usize,
        /// How many of its slots lead to somebody else than before.
        moved: usize,
    },
    /// The operator changed a member's weight.
    WeightChanged {
        /// Whose.
        name: GatewayName,
        /// Before; `None` = took no clients.
        from: Option<Weight>,
        /// Now.
        to: Option<Weight>,
    },
}

impl Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let weight = |weight: &Option<Weight>| weight.map_or(0, Weight::value);
        match self {
            Self::AddressesChanged { name, addresses } => write!(f, "gateway {name} is now at {addresses}"),
            Self::AllOverloaded { is_refusing: false } => {
                f.write_str("every gateway is overloaded: clients are spread by what each has left")
            }
            Self::AllOverloaded { is_refusing: true } => {
                f.write_str("every gateway is overloaded: new clients are not answered")
            }
            Self::Clb(event) => event.fmt(f),
            Self::MemberJoined { name } => write!(f, "gateway {name} joined"),
            Self::MemberLeft { name } => write!(f, "gateway {name} left"),
            Self::NoIndex { name } => write!(f, "gateway {name} waits for a free index"),
            Self::RoleChanged { from, to, state } => {
                write!(f, "this node was {from}, is {to}: its HSRP group is {state}")
            }
            Self::RoomAgain => f.write_str("a gateway has room again"),
            Self::SelfChanged { name, is_self: true } => write!(f, "gateway {name} is this node"),
            Self::SelfChanged { name, is_self: false } => write!(f, "gateway {name} is another node"),
            Self::StateChanged { name, from, to } => write!(f, "gateway {name} was {from}, is {to}"),
            Self::TablePublished { generation, gateways, moved } => {
                write!(f, "table {generation}: {gateways} gateways, {moved} slots moved")
            }
            Self::WeightChanged { name, from, to } => {
                write!(f, "gateway {name} had weight {}, has {}", weight(from), weight(to))
            }
        }
    }
}
