//! What happens between the master and its slaves, for people.

use std::fmt::{Display, Formatter};
use std::net::SocketAddr;
use std::time::Duration;

use super::reason::{CloseReason, LeaveReason, Refusal};
use crate::codec::DecodeError;
use crate::gateway::GatewayName;

/// Something that happened. No event carries what an unauthenticated peer has sent, only what it
/// did and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This slave is a member of the cluster.
    Connected {
        /// Who the master is.
        master: GatewayName,
        /// Where.
        address: SocketAddr,
    },
    /// This slave has lost its master.
    Disconnected {
        /// Who the master was.
        master: GatewayName,
        /// Why.
        reason: CloseReason,
        /// What the master says, if it has said anything.
        refusal: Option<Refusal>,
    },
    /// Master and slave have different hold times. The master's counts.
    HoldtimeDiffers {
        /// Who the master is.
        master: GatewayName,
        /// This node's.
        ours: Duration,
        /// The master's.
        theirs: Duration,
    },
    /// A member has other addresses, another priority or another limit.
    MemberChanged {
        /// Which.
        name: GatewayName,
    },
    /// The operator has drained a member at the master, or taken that back.
    MemberDrained {
        /// Which.
        name: GatewayName,
        /// Whether it takes no more clients.
        is_drained: bool,
    },
    /// A slave has registered with this master.
    MemberJoined {
        /// Which.
        name: GatewayName,
        /// From where.
        from: SocketAddr,
    },
    /// A member is gone.
    MemberLeft {
        /// Which.
        name: GatewayName,
        /// Why.
        departure: Departure,
    },
    /// This slave does not get to its master. Said at most every 10 seconds per reason.
    NotConnected {
        /// Where the master should be.
        address: SocketAddr,
        /// Why.
        reason: CloseReason,
        /// What the master says, if it has said anything.
        refusal: Option<Refusal>,
        /// How often since it was said last.
        count: u64,
    },
    /// This master does not take a peer in. Said at most every 10 seconds per reason.
    PeerRefused {
        /// Who was refused last.
        from: SocketAddr,
        /// Why.
        reason: CloseReason,
        /// What was wrong with its frame, if that is why.
        detail: Option<DecodeError>,
        /// How many since it was said last.
        count: u64,
    },
}

/// Why a member is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It has said that it goes.
    Left(LeaveReason),
    /// Its connection ended.
    Lost(CloseReason),
    /// It was a member of the master before, and did not come to this one in time.
    NotReturned,
    /// Another member has its name or one of its addresses now.
    Superseded,
}

impl Display for Departure {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Left(reason) => write!(f, "left: {reason}"),
            Self::Lost(reason) => write!(f, "connection lost: {reason}"),
            Self::NotReturned => f.write_str("did not come to the new master"),
            Self::Superseded => f.write_str("another member has its name or address"),
        }
    }
}

impl Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let says = |f: &mut Formatter<'_>, refusal: &Option<Refusal>| match refusal {
            Some(refusal) => write!(f, "; the master says: {refusal}"),
            None => Ok(()),
        };
        match self {
            Self::Connected { master, address } => write!(f, "registered with master {master} at {address}"),
            Self::Disconnected { master, reason, refusal } => {
                write!(f, "lost master {master}: {reason}")?;
                says(f, refusal)
            }
            Self::HoldtimeDiffers { master, ours, theirs } => write!(
                f,
                "`cluster.holdtime` is {ours:?} here and {theirs:?} at master {master}: the master's counts"
            ),
            Self::MemberChanged { name } => write!(f, "member {name} has registered anew"),
            Self::MemberDrained { name, is_drained: true } => write!(f, "member {name} is drained"),
            Self::MemberDrained { name, is_drained: false } => {
                write!(f, "member {name} is not drained any more")
            }
            Self::MemberJoined { name, from } => write!(f, "member {name} joined from {from}"),
            Self::MemberLeft { name, departure } => write!(f, "member {name} is gone: {departure}"),
            Self::NotConnected { address, reason, refusal, count } => {
                write!(f, "not connected to the master at {address}: {reason}")?;
                says(f, refusal)?;
                times(f, *count)
            }
            Self::PeerRefused { from, reason, detail, count } => {
                write!(f, "refused the peer at {from}: {reason}")?;
                if let Some(detail) = detail {
                    write!(f, " ({detail})")?;
                }
                times(f, *count)
            }
        }
    }
}

fn times(f: &mut Formatter<'_>, count: u64) -> std::fmt::Result {
    if count > 1 { write!(f, ", {count} times") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_read_as_sentences() {
        let name = || "gw1".parse::<GatewayName>().unwrap();
        let address = "10.0.0.5:2012".parse().unwrap();
        let refused = Event::PeerRefused {
            from: address,
            reason: CloseReason::Malformed,
            detail: Some(DecodeError::Value { what: "priority", value: 0 }),
            count: 3,
        };
        let lost = Event::Disconnected {
            master: name(),
            reason: CloseReason::Refused,
            refusal: Some(Refusal::DuplicateName),
        };
        let gone = Event::MemberLeft { name: name(), departure: Departure::Lost(CloseReason::Silent) };

        assert_eq!(
            refused.to_string(),
            "refused the peer at 10.0.0.5:2012: malformed frame (priority: 0 cannot be), 3 times"
        );
        assert_eq!(
            lost.to_string(),
            "lost master gw1: refused by the master; the master says: another member has this name"
        );
        assert_eq!(gone.to_string(), "member gw1 is gone: connection lost: silent");
    }
}
