//! How far a slave is with its master, and what it understands at each point.

use std::time::Duration;

use crate::clb::auth::{Channel, Handshake, PROOF};
use crate::clb::config::SlaveSettings;
use crate::clb::frame::{MAX_FROM_MASTER, MAX_HANDSHAKE, split};
use crate::clb::reason::{CloseReason, Problem, Refusal};
use crate::clb::report::Report;
use crate::clb::tickets::Told;
use crate::clb::wire::{Challenge, FromMaster, decode_proof, decode_rejected, kind};
use crate::gateway::GatewayName;
use crate::time::Instant;

/// How far the slave is.
pub(super) enum Stage {
    /// There is no master.
    Idle,
    /// It dials later.
    Waiting { until: Instant },
    /// The connection is not open yet.
    Dialling { until: Instant },
    /// It has offered to talk.
    AwaitChallenge { until: Instant, offer: Vec<u8> },
    /// It has proven that it knows its keys.
    AwaitProof { until: Instant, handshakes: Vec<Handshake> },
    /// The master has proven it too, and knows who the slave is.
    AwaitAccepted { until: Instant, channel: Channel },
    /// It is a member of the cluster.
    Member(Session),
}

/// What there is while the slave is a member.
pub(super) struct Session {
    pub(super) master: GatewayName,
    pub(super) channel: Channel,
    /// How long the master lets us be silent, and we the master.
    pub(super) holdtime: Duration,
    pub(super) since: Instant,
    pub(super) heard_at: Instant,
    pub(super) sent_at: Instant,
    /// The report that was sent last, when, and when the next one is due.
    pub(super) reported: Report,
    pub(super) updated_at: Instant,
    pub(super) update_at: Instant,
    /// Which used tickets the master knows of from us.
    pub(super) told: Told,
}

/// A frame that was understood.
pub(super) enum Heard<'a> {
    Challenge { frame: Vec<u8>, challenge: Challenge },
    Rejected(Refusal),
    Proof([u8; PROOF]),
    Message(FromMaster<'a>),
    Skipped,
}

impl Stage {
    /// Whether there is a connection, or will be.
    pub(super) const fn is_connection(&self) -> bool {
        match self {
            Self::Idle | Self::Waiting { .. } => false,
            Self::Dialling { .. }
            | Self::AwaitChallenge { .. }
            | Self::AwaitProof { .. }
            | Self::AwaitAccepted { .. }
            | Self::Member(_) => true,
        }
    }

    /// Octets of the longest frame that is accepted.
    pub(super) const fn longest_frame(&self) -> usize {
        match self {
            Self::Idle
            | Self::Waiting { .. }
            | Self::Dialling { .. }
            | Self::AwaitChallenge { .. }
            | Self::AwaitProof { .. } => MAX_HANDSHAKE,
            Self::AwaitAccepted { .. } | Self::Member(_) => MAX_FROM_MASTER,
        }
    }

    /// Understands a frame as far as the stage allows.
    pub(super) fn read<'a>(&mut self, frame: &'a [u8]) -> Result<Heard<'a>, Problem> {
        match self {
            Self::Idle | Self::Waiting { .. } | Self::Dialling { .. } => Err(CloseReason::Unexpected.into()),
            Self::AwaitChallenge { .. } => match split(frame)? {
                (kind::CHALLENGE, body) => {
                    let challenge = Challenge::decode(body)?;
                    Ok(Heard::Challenge { frame: frame.to_vec(), challenge })
                }
                (kind::REJECTED, body) => Ok(Heard::Rejected(decode_rejected(body)?)),
                _ => Err(CloseReason::Unexpected.into()),
            },
            Self::AwaitProof { .. } => match split(frame)? {
                (kind::MASTER_PROOF, body) => Ok(Heard::Proof(decode_proof(body)?)),
                (kind::REJECTED, body) => Ok(Heard::Rejected(decode_rejected(body)?)),
                _ => Err(CloseReason::Unexpected.into()),
            },
            Self::AwaitAccepted { channel, .. } | Self::Member(Session { channel, .. }) => {
                let (kind, body) = channel.open(frame)?;
                Ok(FromMaster::decode(kind, body)?.map_or(Heard::Skipped, Heard::Message))
            }
        }
    }
}

impl Session {
    /// Time between two signs of life: three of them fit into the hold time, whatever the setting.
    pub(super) fn hello_interval(&self, settings: &SlaveSettings) -> Duration {
        settings.hello.max(SlaveSettings::HELLO.0).min(self.holdtime / 3)
    }
}
