//! What happens to SAs, for people and counters.

use std::fmt::{Display, Formatter};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::config::Name;
use super::io::SaId;
use super::wire::{ChildSpi, ExchangeType};
use crate::gateway::GatewayAddress;

/// Something that happened. Whatever is not yet authenticated is said now and then, with a count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An IKE SA is up: both sides have proved who they are.
    Established {
        /// Which.
        sa: SaLabel,
        /// Whether we are its original initiator.
        is_initiator: bool,
        /// Algorithms, as they would be configured.
        suite: Box<str>,
        /// Since the first message of the peer, or of ours, that led to it.
        took: Duration,
        /// Addresses that the client was given.
        addresses: Vec<IpAddr>,
        /// Whether it goes on with an earlier session, by a ticket.
        is_resumed: bool,
    },
    /// Somebody did not get an IKE SA. At most every ten seconds per reason.
    Refused {
        /// The last one.
        peer: SocketAddr,
        /// Who he says he is, as far as he said.
        identity: Option<Arc<str>>,
        /// Why.
        failure: Failure,
        /// What would have been right, and what there was.
        detail: Box<str>,
        /// How many since it was said last.
        count: u64,
    },
    /// A connection of ours did not come up.
    ConnectFailed {
        /// Which.
        connection: Name,
        /// Why.
        failure: Failure,
        /// In words.
        detail: Box<str>,
    },
    /// An IKE SA is gone.
    Closed {
        /// Which.
        sa: SaLabel,
        /// Why.
        reason: CloseReason,
        /// How long it was up.
        age: Duration,
    },
    /// A Child SA is up.
    ChildUp {
        /// Of which IKE SA.
        sa: SaLabel,
        /// The SPI that leads to us.
        inbound: ChildSpi,
        /// The SPI that leads to the peer.
        outbound: ChildSpi,
        /// Algorithms, as they would be configured.
        suite: Box<str>,
        /// The SA it takes the place of.
        replaces: Option<ChildSpi>,
    },
    /// A Child SA was refused: the IKE SA stays.
    ChildRefused {
        /// Of which IKE SA.
        sa: SaLabel,
        /// Why.
        failure: Failure,
        /// What would have been right, and what there was.
        detail: Box<str>,
    },
    /// A Child SA is gone.
    ChildDown {
        /// Of which IKE SA.
        sa: SaLabel,
        /// The SPI that led to us.
        inbound: ChildSpi,
        /// Why.
        reason: CloseReason,
    },
    /// An IKE SA has new keys, and with them other SPIs.
    Rekeyed {
        /// Which.
        sa: SaLabel,
        /// Whether we asked for it.
        by_us: bool,
    },
    /// A client was told to go to another gateway.
    Redirected {
        /// Its SA.
        sa: SaLabel,
        /// Where to.
        to: GatewayAddress,
        /// Why.
        why: RedirectReason,
    },
    /// A packet has begun a connection (`start = "trap"`).
    Wanted {
        /// Which.
        connection: Name,
        /// Where the packet comes from.
        from: IpAddr,
        /// Where it wants to go.
        to: IpAddr,
    },
    /// A gateway has sent us to another one, and there we go (`RFC 5685`).
    RedirectFollowed {
        /// For which connection.
        connection: Name,
        /// Who has sent us.
        from: SocketAddr,
        /// Where we go.
        to: GatewayAddress,
        /// In which exchange we were sent.
        exchange: ExchangeType,
    },
    /// Somebody wanted us elsewhere, and we do not go there. At most every ten seconds per reason.
    RedirectRefused {
        /// For which connection, or with which profile, as far as it is known.
        connection: Option<Name>,
        /// The last one who wanted it, or who seems to.
        from: SocketAddr,
        /// Where we should have gone, as far as it can be read.
        to: Option<GatewayAddress>,
        /// Why we do not.
        reason: RedirectRefusal,
        /// How many since it was said last.
        count: u64,
    },
    /// The peer of an IKE SA is elsewhere.
    Moved {
        /// Which; with the new address.
        sa: SaLabel,
        /// Where it was.
        from: SocketAddr,
    },
    /// We are elsewhere, or reach the peer elsewhere: an SA of ours has moved (`RFC 4555`).
    Roamed {
        /// Which; with the peer's address as it is now.
        sa: SaLabel,
        /// Our address before.
        from: SocketAddr,
        /// Our address now.
        to: SocketAddr,
    },
    /// A gateway does not take the ticket that we have presented: we begin anew.
    TicketRefused {
        /// Which connection.
        connection: Name,
        /// Where the gateway is.
        gateway: SocketAddr,
    },
    /// Cookies are asked for from now on, or no longer.
    CookiesChanged {
        /// Whether they are.
        are_wanted: bool,
        /// Half-open SAs.
        half_open: usize,
        /// Whether more first messages came than were worked through, or than led to SAs.
        is_crowded: bool,
    },
}

/// An IKE SA as people know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaLabel {
    /// Its number.
    pub id: SaId,
    /// Where the peer is.
    pub remote: SocketAddr,
    /// Who the peer is.
    pub identity: Arc<str>,
    /// Its profile or connection.
    pub profile: Name,
}

impl Display for SaLabel {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { id, remote, identity, profile } = self;
        write!(f, "SA {id} with {identity} at {remote} ({profile})")
    }
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
    /// Why an IKE SA, or a Child SA, was not made.
    pub enum Failure {
        /// None of the proposals is one of ours.
        NoProposal = "no-proposal-chosen",
        /// The public value is for another group than the one we want: the peer tries again.
        OtherGroup = "other-group-wanted",
        /// The public value is not one of its group (`RFC 6989`).
        BadPublicValue = "bad-public-value",
        /// No profile is for this identity and this way of proving it.
        NoProfile = "no-profile",
        /// The proof is wrong.
        Authentication = "authentication-failed",
        /// The certificate is not believed.
        Certificate = "certificate-refused",
        /// The peer did not say whom we asked for.
        OtherIdentity = "other-identity",
        /// A pool has no address left.
        NoAddress = "no-address",
        /// None of the traffic selectors is one of ours.
        Selectors = "traffic-selectors-unacceptable",
        /// The message cannot be read.
        Syntax = "invalid-syntax",
        /// A critical payload is not understood.
        CriticalPayload = "unsupported-critical-payload",
        /// There are as many half-open SAs as there may be.
        HalfOpenLimit = "half-open-limit",
        /// There are as many half-open SAs with this source as there may be.
        SourceLimit = "source-limit",
        /// Too many half-open SAs with the network around it.
        PrefixLimit = "prefix-limit",
        /// There are as many SAs as there may be.
        SaLimit = "sa-limit",
        /// The IKE SA has as many Child SAs as it may have.
        ChildLimit = "child-limit",
        /// The other side does not answer, or does not go on.
        Timeout = "timeout",
        /// The other side refused.
        PeerRefused = "peer-refused",
        /// It came at the wrong time.
        Temporary = "temporary-failure",
        /// Something of our own failed.
        Local = "local-error",
        /// EAP: the client could not prove who it is, or broke the protocol.
        Eap = "eap-failed",
        /// EAP: too many wrong passwords for this user.
        EapLocked = "eap-locked-out",
        /// EAP: the gateway could not prove who it is, or broke the protocol.
        EapGateway = "eap-gateway-failed",
        /// No server that knows the users has answered.
        AaaUnreachable = "aaa-unreachable",
        /// A ticket, and there are no reconnect keys.
        TicketsOff = "tickets-off",
        /// What should be a ticket is none.
        TicketMalformed = "ticket-malformed",
        /// A ticket of another version.
        TicketVersion = "ticket-version",
        /// A ticket of another cluster.
        TicketCluster = "ticket-of-another-cluster",
        /// A ticket whose key is not here: it was removed, or never was here.
        TicketKey = "ticket-key-unknown",
        /// A ticket that somebody without the key has made or changed.
        TicketForged = "ticket-forged",
        /// A ticket whose time is over, or has not come.
        TicketExpired = "ticket-expired",
        /// A ticket of a client that is to authenticate itself anew.
        TicketRevoked = "ticket-revoked",
        /// A ticket that has been used already, or whose session has been ended.
        TicketUsed = "ticket-used",
        /// There is a NAT where the client allows none (`RFC 4555`).
        UnexpectedNat = "unexpected-nat",
    }
}

named! {
    /// Why an SA is gone.
    pub enum CloseReason {
        /// The peer has deleted it.
        DeletedByPeer = "deleted-by-peer",
        /// An operator has deleted it.
        Cleared = "cleared",
        /// The peer does not answer.
        PeerDead = "peer-dead",
        /// The peer has made a new one.
        Superseded = "superseded",
        /// Another one is in its place, with new keys.
        Rekeyed = "rekeyed",
        /// Both sides have made one at the same time, and this one is too much.
        Redundant = "redundant",
        /// Its keys were used as long as they may be.
        Expired = "expired",
        /// The peer has broken the protocol.
        ProtocolError = "protocol-error",
        /// Its IKE SA is gone.
        WithIkeSa = "with-ike-sa",
        /// The daemon ends.
        Shutdown = "shutdown",
        /// It was redirected to another gateway.
        Redirected = "redirected",
        /// The address that the peer came to is another node's now.
        AddressGone = "address-gone",
        /// The node was to lose its clients, and its time was over.
        Drained = "drained",
        /// The client has gone on with its session in another one, by a ticket.
        Resumed = "resumed",
        /// The session has lasted as long as it may.
        SessionOver = "session-over",
    }
}

named! {
    /// Why a redirect is not followed. Each is counted.
    pub enum RedirectRefusal {
        /// We do not follow redirects, and have not said that we do.
        Disabled = "disabled",
        /// A client sends no gateway away (`RFC 5685 §10`).
        WrongSide = "wrong-side",
        /// In this message there is none.
        WrongTime = "wrong-time",
        /// A type of gateway identity that is not known.
        BadType = "bad-type",
        /// A length that cannot be.
        BadLength = "bad-length",
        /// A name that cannot be.
        BadName = "bad-name",
        /// An address that no gateway has, such as a multicast address.
        BadAddress = "bad-address",
        /// Not our nonce, or one where none may be.
        BadNonce = "bad-nonce",
        /// It leads to ourselves.
        OwnAddress = "own-address",
        /// It leads where we are not to go.
        NotAllowed = "not-allowed",
        /// There were as many as may be: a loop.
        TooMany = "too-many",
        /// There is no such host, or no way to it.
        Unresolved = "unresolved",
        /// The one before is still being followed.
        AlreadyMoving = "already-moving",
    }
}

named! {
    /// Why a client that is known is told to go to another gateway.
    pub enum RedirectReason {
        /// Its profile says so: in IKE_AUTH.
        Profile = "profile",
        /// An operator wants it.
        Operator = "operator",
        /// The node is to lose its clients.
        Drain = "drain",
        /// The address that it came to is another node's now.
        AddressGone = "address-gone",
        /// The daemon ends.
        Shutdown = "shutdown",
    }
}

named! {
    /// In which exchange clients are told to go to another gateway.
    pub enum RedirectExchange {
        /// IKE_SA_INIT.
        Init = "ike-sa-init",
        /// IKE_AUTH.
        Auth = "ike-auth",
        /// INFORMATIONAL, while the SA is up.
        Informational = "informational",
    }
}

named! {
    /// Why a datagram is not acted upon. Each is counted.
    pub enum Discard {
        /// It is not an IKEv2 message.
        Malformed = "malformed",
        /// Another major version.
        MajorVersion = "major-version",
        /// It belongs to no SA of ours.
        UnknownSpi = "unknown-spi",
        /// It has nothing to do with the state that its SA is in.
        UnexpectedExchange = "unexpected-exchange",
        /// A request or response outside the window.
        MessageId = "message-id",
        /// A request that was answered already: the answer is sent again.
        Retransmission = "retransmission",
        /// Its integrity check fails.
        Integrity = "integrity",
        /// It is not protected, and it should be.
        Unprotected = "unprotected",
        /// A fragment that cannot be, or one too many.
        Fragment = "fragment",
        /// Its payloads break the rules: it was answered with an error where that is possible.
        Syntax = "syntax",
        /// A cookie that is not ours, or is too old.
        Cookie = "cookie",
        /// A limit was hit.
        Limit = "limit",
        /// An unauthenticated hint, of which nothing is believed.
        Hint = "hint",
    }
}

/// How often things happened, since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that were not acted upon, by [`Discard::position`].
    pub discards: [u64; Discard::ALL.len()],
    /// SAs that were not made, by [`Failure::position`].
    pub failures: [u64; Failure::ALL.len()],
    /// IKE_SA_INIT requests that were taken in.
    pub init_requests: u64,
    /// IKE_SESSION_RESUME requests that were taken in.
    pub resume_requests: u64,
    /// IKE SAs that came up with us as responder.
    pub established_responder: u64,
    /// IKE SAs that came up with us as initiator.
    pub established_initiator: u64,
    /// Those of all of them that go on with an earlier session.
    pub resumed: u64,
    /// Tickets that clients of ours were given.
    pub tickets_granted: u64,
    /// Clients that asked for one and got none.
    pub tickets_refused: u64,
    /// Cookies that were asked for.
    pub cookies: u64,
    /// Requests of ours that were repeated.
    pub retransmissions: u64,
    /// Clients that were told to go elsewhere, by [`RedirectExchange::position`].
    pub redirects: [u64; RedirectExchange::ALL.len()],
    /// Requests for SAs that nobody has any more, and that were answered so.
    pub unknown_answered: u64,
    /// Redirects that we, as a client, have followed.
    pub redirects_followed: u64,
    /// Those that we have not, by [`RedirectRefusal::position`].
    pub redirects_refused: [u64; RedirectRefusal::ALL.len()],
    /// IKE SAs with new keys.
    pub ike_rekeys: u64,
    /// Child SAs that came up.
    pub children: u64,
    /// Child SAs in the place of others.
    pub child_rekeys: u64,
    /// Wishes of clients to move their SA that were granted (`RFC 4555`).
    pub updates: u64,
    /// Those that were not.
    pub updates_refused: u64,
    /// Clients that have shown that they are where they say.
    pub checks_passed: u64,
    /// SAs of ours, as a client, that have moved.
    pub roamed: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            discards: [0; Discard::ALL.len()],
            failures: [0; Failure::ALL.len()],
            init_requests: 0,
            resume_requests: 0,
            established_responder: 0,
            established_initiator: 0,
            resumed: 0,
            tickets_granted: 0,
            tickets_refused: 0,
            cookies: 0,
            retransmissions: 0,
            redirects: [0; RedirectExchange::ALL.len()],
            unknown_answered: 0,
            redirects_followed: 0,
            redirects_refused: [0; RedirectRefusal::ALL.len()],
            ike_rekeys: 0,
            children: 0,
            child_rekeys: 0,
            updates: 0,
            updates_refused: 0,
            checks_passed: 0,
            roamed: 0,
        }
    }
}

impl Counters {
    /// Counts a datagram that is not acted upon.
    pub fn discard(&mut self, discard: Discard) {
        if let Some(count) = self.discards.get_mut(discard.position()) {
            *count = count.saturating_add(1);
        }
    }

    /// Counts a client that is told to go elsewhere.
    pub fn redirect(&mut self, exchange: RedirectExchange) {
        if let Some(count) = self.redirects.get_mut(exchange.position()) {
            *count = count.saturating_add(1);
        }
    }

    /// Counts a redirect that is not followed.
    pub fn redirect_refused(&mut self, reason: RedirectRefusal) {
        if let Some(count) = self.redirects_refused.get_mut(reason.position()) {
            *count = count.saturating_add(1);
        }
    }

    /// Counts an SA that is not made.
    pub fn failure(&mut self, failure: Failure) {
        if let Some(count) = self.failures.get_mut(failure.position()) {
            *count = count.saturating_add(1);
        }
    }
}
