//! Why connections end and members leave: closed lists, with the names operators see.

use std::fmt::{Display, Formatter};

use super::auth::SealError;
use super::frame::FrameError;
use super::wire::WireError;
use crate::codec::DecodeError;

macro_rules! named {
    (
        $(#[doc = $doc:literal])+
        $kind:ident { $( $(#[doc = $variant_doc:literal])+ $variant:ident = $name:literal, )+ }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kind {
            $( $(#[doc = $variant_doc])+ $variant, )+
        }

        impl $kind {
            /// Every one.
            pub const ALL: &[Self] = &[ $( Self::$variant, )+ ];

            /// The name operators see.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $name, )+ }
            }
        }

        impl Display for $kind {
            fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

named! {
    /// Why a connection between master and slave ended.
    CloseReason {
        /// The peer closed it without a word.
        ClosedByPeer = "closed by the peer",
        /// The slave belongs to another cluster.
        Cluster = "another cluster",
        /// The connection could not be opened.
        ConnectFailed = "connection refused or unreachable",
        /// The connection was not open in time.
        ConnectTimeout = "no connection in time",
        /// Another member has one of the addresses.
        DuplicateAddress = "duplicate address",
        /// Another member has the name.
        DuplicateName = "duplicate name",
        /// Too many connections have proven nothing yet, and this was the oldest one.
        Evicted = "pushed out by newer connections",
        /// The cluster has as many members as it can have.
        Full = "cluster full",
        /// The peer did not prove in time who it is.
        HandshakeTimeout = "no handshake in time",
        /// The member left in an orderly way.
        Left = "left",
        /// A frame is not what its type says.
        Malformed = "malformed frame",
        /// Another node is the master now, or there is none.
        MasterChanged = "another master",
        /// The master did not take this node in, or not any longer.
        Refused = "refused by the master",
        /// A newer connection of the same member took its place.
        Replaced = "replaced by a newer connection",
        /// A frame that was sealed for another place: a replay, or something is missing.
        Sequence = "frame out of sequence",
        /// Nothing was heard for too long.
        Silent = "silent",
        /// One address has too many connections that have proven nothing yet.
        SourceLimit = "too many connections from one address",
        /// This node stops playing its role.
        Stopped = "stopped",
        /// A frame that is longer or shorter than a frame can be.
        TooLong = "oversized frame",
        /// A frame of a type that nobody knows and that may not be skipped.
        UnknownFrame = "unknown frame",
        /// A frame that has no place at this point.
        Unexpected = "unexpected frame",
        /// The peer speaks no version of the protocol that we do.
        Version = "unknown version",
        /// One of the member's addresses is a virtual IP of the cluster.
        VipAddress = "VIP as own address",
        /// The peer does not know the cluster's key.
        WrongKey = "wrong key",
        /// The seal of a frame does not match.
        WrongSeal = "wrong seal",
    }
}

impl CloseReason {
    /// Whether there is nothing left to close.
    pub(crate) const fn is_closed_already(self) -> bool {
        matches!(self, Self::ClosedByPeer | Self::ConnectFailed)
    }

    /// What the peer is told before the connection is closed, if anything.
    pub(crate) const fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Cluster => Some(Refusal::Cluster),
            Self::DuplicateAddress => Some(Refusal::DuplicateAddress),
            Self::DuplicateName => Some(Refusal::DuplicateName),
            Self::Full => Some(Refusal::Full),
            Self::Malformed | Self::TooLong | Self::UnknownFrame | Self::Unexpected => {
                Some(Refusal::Protocol)
            }
            Self::Replaced => Some(Refusal::Replaced),
            Self::Silent => Some(Refusal::Silent),
            Self::Stopped => Some(Refusal::Stopped),
            Self::Version => Some(Refusal::Version),
            Self::VipAddress => Some(Refusal::VipAddress),
            Self::WrongKey => Some(Refusal::Key),
            // Nobody is there, nobody asks, or whoever is there is not to learn anything.
            Self::ClosedByPeer
            | Self::ConnectFailed
            | Self::ConnectTimeout
            | Self::Evicted
            | Self::HandshakeTimeout
            | Self::Left
            | Self::MasterChanged
            | Self::Refused
            | Self::Sequence
            | Self::SourceLimit
            | Self::WrongSeal => None,
        }
    }
}

macro_rules! coded {
    (
        $(#[doc = $doc:literal])+
        $kind:ident { $( $(#[doc = $variant_doc:literal])+ $variant:ident = $code:literal $name:literal, )+ }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kind {
            $( $(#[doc = $variant_doc])+ $variant, )+
            /// A code that a later version may have given a meaning.
            Other(u8),
        }

        impl $kind {
            /// The one with this number on the wire.
            #[must_use]
            pub const fn from_code(code: u8) -> Self {
                match code { $( $code => Self::$variant, )+ other => Self::Other(other) }
            }

            /// The number on the wire.
            #[must_use]
            pub const fn code(self) -> u8 {
                match self { $( Self::$variant => $code, )+ Self::Other(code) => code }
            }
        }

        impl Display for $kind {
            fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
                match self {
                    $( Self::$variant => f.pad($name), )+
                    Self::Other(code) => write!(f, "reason {code}"),
                }
            }
        }
    };
}

coded! {
    /// Why the master does not take a slave in, or not any longer, as it tells the slave.
    Refusal {
        /// It speaks no version that the slave does.
        Version = 1 "it speaks another version",
        /// It is the master of another cluster.
        Cluster = 2 "it belongs to another cluster",
        /// The slave has another key.
        Key = 3 "it has another cluster key",
        /// Another member has the slave's name.
        DuplicateName = 4 "another member has this name",
        /// Another member has one of the slave's addresses.
        DuplicateAddress = 5 "another member has one of these addresses",
        /// The cluster has as many members as it can have.
        Full = 6 "the cluster is full",
        /// The slave was silent for longer than the hold time.
        Silent = 7 "it heard nothing for longer than its holdtime",
        /// The slave has opened another connection.
        Replaced = 8 "another connection took the place of this one",
        /// It stops being the master.
        Stopped = 9 "it is not the master any more",
        /// It does not understand what the slave sends.
        Protocol = 10 "it does not understand what it is sent",
        /// One of the slave's addresses is a virtual IP of the cluster.
        VipAddress = 11 "one of these addresses is a VIP of the cluster",
    }
}

coded! {
    /// Why a slave leaves, as it tells the master.
    LeaveReason {
        /// Its daemon ends.
        Stopped = 1 "stopped",
        /// The operator shut the cluster down on it.
        Disabled = 2 "shut down by the operator",
        /// It registers anew with other settings.
        Reconfigured = 3 "configured anew",
        /// It becomes the master.
        Promoted = 4 "becomes master",
    }
}

/// What is wrong with what a peer has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Why the connection is closed.
    pub(crate) reason: CloseReason,
    /// More exactly, for people.
    pub(crate) detail: Option<DecodeError>,
}

impl From<CloseReason> for Problem {
    fn from(reason: CloseReason) -> Self {
        Self { reason, detail: None }
    }
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        Self { reason: CloseReason::Malformed, detail: Some(error) }
    }
}

impl From<FrameError> for Problem {
    fn from(error: FrameError) -> Self {
        let (FrameError::TooLong { length, .. } | FrameError::TooShort { length }) = error;
        let detail = DecodeError::Length { what: "frame length", value: length };
        Self { reason: CloseReason::TooLong, detail: Some(detail) }
    }
}

impl From<SealError> for Problem {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Malformed(error) => error.into(),
            SealError::Sequence { .. } => CloseReason::Sequence.into(),
            SealError::Tag => CloseReason::WrongSeal.into(),
        }
    }
}

impl From<WireError> for Problem {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Malformed(error) => error.into(),
            WireError::Unknown(kind) => Self {
                reason: CloseReason::UnknownFrame,
                detail: Some(DecodeError::Value { what: "frame type", value: u64::from(kind) }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_kept() {
        for code in 0..=u8::MAX {
            assert_eq!(Refusal::from_code(code).code(), code);
            assert_eq!(LeaveReason::from_code(code).code(), code);
        }
        assert_eq!(Refusal::from_code(3), Refusal::Key);
        assert_eq!(LeaveReason::from_code(200).to_string(), "reason 200");
    }

    #[test]
    fn reasons_have_names_of_their_own() {
        let names: BTreeSet<_> = CloseReason::ALL.iter().map(|reason| reason.as_str()).collect();

        assert_eq!(names.len(), CloseReason::ALL.len());
    }
}
