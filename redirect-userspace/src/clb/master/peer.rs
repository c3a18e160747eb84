//! One connection, as the master sees it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::clb::auth::{Channel, Handshakes};
use crate::clb::frame::{Deframer, MAX_FROM_SLAVE, MAX_HANDSHAKE, split};
use crate::clb::reason::{CloseReason, Problem};
use crate::clb::tickets::Told;
use crate::clb::view::Part;
use crate::clb::wire::{FromSlave, Offer, SlaveProof, common_version, kind};
use crate::gateway::GatewayName;
use crate::machine::Outbox;
use crate::time::Instant;

use super::{MasterOutput, Octets, PeerId};

/// A connection.
pub(super) struct Peer {
    pub(super) from: SocketAddr,
    pub(super) deframer: Deframer,
    pub(super) stage: Stage,
}

/// What is to come next on a connection.
pub(super) enum Stage {
    /// It has to say what it wants.
    AwaitOffer { until: Instant },
    /// It has to prove that it knows a key.
    AwaitProof { until: Instant, version: u8, handshakes: Handshakes },
    /// It has to say who it is.
    AwaitRegister { until: Instant, channel: Channel },
    /// It is a member.
    Member(MemberPeer),
}

/// The connection of a member.
pub(super) struct MemberPeer {
    pub(super) name: GatewayName,
    pub(super) channel: Channel,
    /// The last view it was sent; 0 = none.
    pub(super) view: u64,
    pub(super) waits_for_view: bool,
    /// Which used tickets it knows of.
    pub(super) told: Told,
}

impl Stage {
    /// When the handshake must be over; `None` for a member.
    pub(super) const fn until(&self) -> Option<Instant> {
        match self {
            Self::AwaitOffer { until }
            | Self::AwaitProof { until, .. }
            | Self::AwaitRegister { until, .. } => Some(*until),
            Self::Member(_) => None,
        }
    }

    /// Octets of the longest frame that is accepted.
    pub(super) const fn longest_frame(&self) -> usize {
        match self {
            Self::AwaitOffer { .. } | Self::AwaitProof { .. } => MAX_HANDSHAKE,
            Self::AwaitRegister { .. } | Self::Member(_) => MAX_FROM_SLAVE,
        }
    }

    /// The seals, once both have proven who they are.
    pub(super) const fn channel(&mut self) -> Option<&mut Channel> {
        match self {
            Self::AwaitOffer { .. } | Self::AwaitProof { .. } => None,
            Self::AwaitRegister { channel, .. } | Self::Member(MemberPeer { channel, .. }) => Some(channel),
        }
    }

    /// Understands a frame as far as the stage allows.
    pub(super) fn read(&mut self, frame: &[u8]) -> Result<Heard, Problem> {
        match self {
            Self::AwaitOffer { .. } => match split(frame)? {
                (kind::OFFER, body) => {
                    let version = common_version(Offer::versions(body)?)
                        .ok_or_else(|| Problem::from(CloseReason::Version))?;
                    Ok(Heard::Offer { frame: frame.to_vec(), offer: Offer::decode(body)?, version })
                }
                _ => Err(CloseReason::Unexpected.into()),
            },
            Self::AwaitProof { version, .. } => match split(frame)? {
                (kind::SLAVE_PROOF, body) => Ok(Heard::Proof(SlaveProof::decode(body, *version)?)),
                _ => Err(CloseReason::Unexpected.into()),
            },
            Self::AwaitRegister { channel, .. } | Self::Member(MemberPeer { channel, .. }) => {
                let (kind, body) = channel.open(frame)?;
                Ok(FromSlave::decode(kind, body)?.map_or(Heard::Skipped, Heard::Message))
            }
        }
    }
}

/// A frame that was understood.
pub(super) enum Heard {
    Offer { frame: Vec<u8>, offer: Offer, version: u8 },
    Proof(SlaveProof),
    Message(FromSlave),
    Skipped,
}

/// Seals the parts of a view for one slave. What others get as well is not copied.
pub(super) fn seal_parts(
    peer: PeerId,
    channel: &mut Channel,
    parts: &[Part],
    out: &mut Outbox<MasterOutput>,
) {
    let mut own = Vec::new();
    for Part { kind, body } in parts {
        let (start, tag) = channel.seal_shared(*kind, body);
        own.extend_from_slice(&start);
        out.push(MasterOutput::Write { peer, octets: Octets::Own(own) });
        out.push(MasterOutput::Write { peer, octets: Octets::Shared(Arc::clone(body.octets())) });
        own = tag.to_vec();
    }
    out.push(MasterOutput::Write { peer, octets: Octets::Own(own) });
}
