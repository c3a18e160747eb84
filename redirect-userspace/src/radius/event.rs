//! What happens between the gateway and its servers, for people and counters.

use std::fmt::{Display, Formatter};
use std::net::SocketAddr;
use std::time::Duration;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A server does not answer: the next one is asked.
    ServerDead {
        /// Which.
        server: SocketAddr,
        /// What it is asked for.
        role: Role,
        /// What makes us think so.
        cause: DeathCause,
        /// How long it is left alone.
        dead_time: Duration,
    },
    /// A server answers again.
    ServerBack {
        /// Which.
        server: SocketAddr,
        /// What it is asked for.
        role: Role,
        /// How long it did not.
        after: Duration,
    },
    /// Datagrams of a server were not used. At most every ten seconds for each reason.
    Discarded {
        /// Which server, the last time.
        server: SocketAddr,
        /// Why.
        discard: Discard,
        /// How many since it was said last.
        count: u64,
    },
    /// Requests came to nothing. At most every ten seconds for each reason.
    Failed {
        /// Why.
        result: Outcome,
        /// Which server, and what was wrong, the last time.
        detail: String,
        /// How many since it was said last.
        count: u64,
    },
    /// What a server wants people to read. At most every ten seconds.
    Said {
        /// Whether the client was let in.
        is_accepted: bool,
        /// For whom, as far as that can be shown, and the message.
        detail: String,
        /// How many messages since one was shown last.
        count: u64,
    },
}

/// Declares an enumeration with a name for every variant.
macro_rules! named {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// Every one, in the order of their positions.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name, in counters, events and metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// Its position in [`Self::ALL`], for arrays of counters.
            #[must_use]
            pub const fn position(self) -> usize {
                self as usize
            }
        }

        impl Display for $name {
            fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

named! {
    /// What a server is asked for.
    pub enum Role {
        /// Who may come in.
        Authentication = "authentication",
        /// What was used is to be written down.
        Accounting = "accounting",
    }
}

named! {
    /// Why a server is taken for dead.
    pub enum DeathCause {
        /// Several requests had no answer.
        Unanswered = "unanswered",
        /// Nobody listens at its port.
        Refused = "port-unreachable",
        /// Something answers that does not know the secret.
        NotAuthentic = "answers-not-authentic",
    }
}

named! {
    /// How a server stands.
    pub enum ServerState {
        /// It answers, as far as we know.
        Up = "up",
        /// It does not.
        Dead = "dead",
        /// It is asked whether it is back.
        Probed = "probed",
    }
}

named! {
    /// Why a datagram is not used. Each is counted.
    pub enum Discard {
        /// It is no packet, or a Message-Authenticator that cannot be.
        Malformed = "malformed",
        /// No request waits for it: it is late, or came twice.
        NoRequest = "no-request",
        /// A code that does not answer the request.
        UnexpectedCode = "unexpected-code",
        /// The Response Authenticator is another: made for another request, or with another secret.
        WrongAuthenticator = "wrong-authenticator",
        /// It must have a Message-Authenticator and has none.
        NoMessageAuthenticator = "no-message-authenticator",
        /// The Message-Authenticator is another.
        WrongMessageAuthenticator = "wrong-message-authenticator",
    }
}

named! {
    /// What became of a request.
    pub enum Outcome {
        /// The client was let in.
        Accepted = "accepted",
        /// There is more to say.
        Challenged = "challenged",
        /// The client was not let in.
        Rejected = "rejected",
        /// The server's answer cannot be: the client was not let in.
        BadAnswer = "bad-answer",
        /// A record was written down.
        Recorded = "recorded",
        /// A record was given up.
        RecordLost = "record-lost",
        /// The server is there.
        Probed = "probed",
        /// No server has answered, or not the one that the client's conversation is with.
        Unanswered = "unanswered",
        /// There were too many requests already.
        Overflow = "overflow",
        /// It does not fit into a packet.
        TooLong = "too-long",
        /// There are no servers.
        NoServer = "no-server",
        /// Nobody wanted the answer any more.
        Abandoned = "abandoned",
    }
}

/// How often things happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// What became of requests, by the positions of [`Outcome`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Datagrams that were not used, by the positions of [`Discard`].
    pub discards: [u64; Discard::ALL.len()],
    /// Packets that were sent again.
    pub retransmissions: u64,
    /// Requests that went on to another server.
    pub fail_overs: u64,
}

impl Counters {
    /// One more.
    pub(crate) fn outcome(&mut self, outcome: Outcome) {
        if let Some(count) = self.outcomes.get_mut(outcome.position()) {
            *count = count.saturating_add(1);
        }
    }

    /// One more.
    pub(crate) fn discard(&mut self, discard: Discard) {
        if let Some(count) = self.discards.get_mut(discard.position()) {
            *count = count.saturating_add(1);
        }
    }

    /// Takes in what others have counted.
    pub fn add(&mut self, other: &Self) {
        let outcomes = self.outcomes.iter_mut().zip(&other.outcomes);
        let discards = self.discards.iter_mut().zip(&other.discards);
        outcomes.chain(discards).for_each(|(sum, count)| *sum = sum.saturating_add(*count));
        self.retransmissions = self.retransmissions.saturating_add(other.retransmissions);
        self.fail_overs = self.fail_overs.saturating_add(other.fail_overs);
    }
}

/// A server for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSnapshot {
    /// Where it is.
    pub address: SocketAddr,
    /// What it is asked for.
    pub role: Role,
    /// How it stands.
    pub state: ServerState,
    /// Since when, as a time that has gone by.
    pub since: Duration,
    /// Requests that it has not answered yet.
    pub outstanding: usize,
    /// Requests that wait for one of those to be answered.
    pub waiting: usize,
    /// What it was asked, and what has come of that.
    pub tally: Tally,
}

/// What a server was asked, and what has come of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that were sent to it, probes included.
    pub requests: u64,
    /// Packets that were sent to it again.
    pub retransmissions: u64,
    /// Requests that it has answered.
    pub answered: u64,
    /// Packets that it has not answered in time, or that nobody was there for.
    pub unanswered: u64,
    /// Datagrams of it that were not used.
    pub discarded: u64,
    /// How long it takes to answer, the latest answers counting most. Nothing is learned from a
    /// packet that was repeated: nobody knows which of them was answered.
    pub round_trip: Option<Duration>,
}

impl Tally {
    /// An answer has taken so long.
    // RFC 6298 §2.3: the eighth part of what is new.
    pub(crate) fn took(&mut self, time: Duration) {
        self.round_trip = Some(match self.round_trip {
            Some(known) => known - known / 8 + time / 8,
            None => time,
        });
    }

    /// Takes in what another client of the same server has counted. Of two times the longer one is
    /// kept: somebody waits for it.
    pub fn add(&mut self, other: &Self) {
        let Self { requests, retransmissions, answered, unanswered, discarded, round_trip } = other;
        for (sum, count) in [
            (&mut self.requests, requests),
            (&mut self.retransmissions, retransmissions),
            (&mut self.answered, answered),
            (&mut self.unanswered, unanswered),
            (&mut self.discarded, discarded),
        ] {
            *sum = sum.saturating_add(*count);
        }
        self.round_trip = self.round_trip.max(*round_trip);
    }
}

/// One more.
pub(crate) const fn count(number: &mut u64) {
    *number = number.saturating_add(1);
}
