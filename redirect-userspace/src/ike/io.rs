//! What goes into an endpoint, and what comes out of it.

use std::fmt::{Display, Formatter};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::aaa::{AaaAnswer, AaaRequest, Account, Conversation};
use super::config::{Name, Settings, Volume};
use super::event::Event;
use super::redirect::Targets;
use super::ticket::{Origin, TicketId};
use super::trap::{Trap, TrapId};
use super::wire::{ChildSpi, Id, TrafficSelector};
use crate::crypto::cipher::TrafficKeys;
use crate::gateway::{GatewayAddress, GatewayAddresses};
use crate::time::UnixTime;

/// The UDP port on which ESP and IKE share their datagrams (`RFC 3948`).
pub const NAT_T_PORT: u16 = 4500;

/// Between which addresses datagrams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// Ours.
    pub local: SocketAddr,
    /// The peer's, or that of the NAT it is behind.
    pub remote: SocketAddr,
}

impl Path {
    /// Whether four zero octets stand in front of IKE messages (`RFC 3948 §2.2`). The I/O puts
    /// them there and takes them away.
    #[must_use]
    pub const fn has_marker(&self) -> bool {
        self.local.port() == NAT_T_PORT
    }
}

/// An IKE SA of this node, for people and commands. Not on the wire, and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SaId(pub u64);

impl Display for SaId {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.0, f)
    }
}

/// Which worker of how many an endpoint is. Its number is in every SPI that it makes, IKE's and
/// ESP's, so that whoever steers datagrams need not know any SA: it is `spi % workers`, with the
/// last four octets of an IKE SPI read as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u16,
    count: u16,
}

impl Shard {
    /// The only one.
    pub const SOLE: Self = Self { index: 0, count: 1 };

    /// `None` when the index is not below the count.
    #[must_use]
    pub const fn new(index: u16, count: u16) -> Option<Self> {
        if index < count { Some(Self { index, count }) } else { None }
    }

    /// Which one, from 0.
    #[must_use]
    pub const fn index(self) -> u16 {
        self.index
    }

    /// How many there are; at least one.
    #[must_use]
    pub const fn count(self) -> u16 {
        self.count
    }

    /// The greatest number up to `number` that is ours.
    #[must_use]
    pub fn own(self, number: u32) -> u32 {
        let (index, count) = (u32::from(self.index), u32::from(self.count));
        let base = number - number % count;
        // Not `base + index - count`, which might not fit.
        if index <= number - base { base + index } else { base.saturating_sub(count - index) }
    }
}

/// A question to the world, to be answered with the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Request {
    pub(super) dial: u64,
    pub(super) turn: u64,
}

/// How a gateway is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Our address on the way there, as the system routes it.
    pub local: IpAddr,
    /// The gateway's.
    pub remote: IpAddr,
}

/// A fact for an endpoint.
#[derive(Debug)]
pub enum Input<'a> {
    /// An IKE message came, without non-ESP marker.
    Datagram {
        /// Between which addresses.
        path: Path,
        /// The message.
        octets: &'a [u8],
    },
    /// Other settings are in force.
    Configure(Arc<Settings>),
    /// The cluster's members, or their loads, are other ones.
    Targets(Arc<Targets>),
    /// Other addresses of the cluster than before are another node's.
    HandOver(Arc<HandOver>),
    /// An operator, or the client side of the daemon, wants something.
    Command(Command),
    /// A client has authenticated itself to another worker as the only one of its name
    /// (INITIAL_CONTACT): SAs that we have with it are void.
    Supersede {
        /// Its identity, as [`Output::Supersede`] named it.
        holder: Arc<[u8]>,
    },
    /// A ticket was used on another worker, or on another node of the cluster.
    TicketUsed(&'a UsedTicket),
    /// An authentic ESP packet came from elsewhere than the SA's path.
    Moved {
        /// The SA, by the SPI that leads to us.
        inbound: ChildSpi,
        /// The new path.
        path: Path,
    },
    /// An authentic ESP packet came: the peer lives (`RFC 7296 §2.4`). Told now and then, not for
    /// every packet.
    Alive {
        /// The SA, by the SPI that leads to us.
        inbound: ChildSpi,
    },
    /// A Child SA has carried as much as it should, or all that it may.
    Worn {
        /// The SA, by the SPI that leads to us.
        inbound: ChildSpi,
        /// Whether it carries nothing more.
        is_spent: bool,
    },
    /// Where a gateway is: the answer to [`Output::Locate`].
    Located {
        /// The question.
        request: Request,
        /// Its addresses, the preferred one first, as far as there is a way to them; none if there is
        /// no such host, or no way.
        ways: Vec<Way>,
    },
    /// There is a packet that a connection is for which is watched for ([`Output::Watch`]).
    Wanted {
        /// By which number it is watched for.
        trap: TrapId,
        /// From where to where it wants to go.
        packet: (IpAddr, IpAddr),
    },
    /// More first messages come than are worked through, or that is over. Whoever is told has still
    /// as many of them as before; they are to cost less: a cookie is asked for.
    Crowded(bool),
    /// This machine has other addresses or routes than before, or may have.
    RoutesChanged,
    /// How peers are reached now: the answer to [`Output::FindWays`].
    Ways {
        /// Which SA has asked, if it was one.
        asker: Option<SaId>,
        /// Whom it was asked about.
        asked: Vec<IpAddr>,
        /// The ways to those of them that are reached at all.
        ways: Vec<Way>,
    },
    /// What a server says that was asked by [`Output::Aaa`].
    Aaa(Box<AaaAnswer>),
    /// The deadline has come.
    Timeout,
}

/// Addresses of the cluster that clients may have come to, and that another node has now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandOver {
    /// Which: all of them, not only those that have just gone.
    pub addresses: Vec<IpAddr>,
    /// Where this node goes on to serve those who came to them; `None` when they are to go to
    /// another one.
    pub own: Option<GatewayAddresses>,
    /// How long their SAs go on here.
    pub grace: Duration,
}

/// What an operator, or the client side of the daemon, wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A connection is to be brought up.
    Initiate {
        /// Which.
        connection: Name,
        /// Our address on the way to its first remote, as the system routes it; unspecified if there
        /// is none, or it is not known: then it is asked for.
        local: IpAddr,
    },
    /// A connection is to be brought up by the first packet that it is for, whenever it is down.
    Watch {
        /// Which.
        connection: Name,
    },
    /// IKE SAs are to be deleted, and the peers told.
    Clear(Selection),
    /// An IKE SA is to have new keys.
    RekeyIke(SaId),
    /// The Child SAs of an IKE SA are to have new keys.
    RekeyChildren(SaId),
    /// Another Child SA is wanted: for these selectors, ours and the peer's.
    NewChild {
        /// With whom.
        sa: SaId,
        /// What is here.
        local_ts: Vec<TrafficSelector>,
        /// What is there.
        remote_ts: Vec<TrafficSelector>,
    },
    /// Clients are to go to another gateway: those that follow redirects and have not been told yet
    /// (`RFC 5685 §5`).
    Redirect(Redirect),
    /// This node is to lose its clients: those that follow redirects are told one after the other,
    /// the others stay until the deadline.
    Drain(Drain),
    /// No more clients are told to go.
    Undrain,
    /// The daemon ends soon: every client that follows redirects is told to go, whatever it was asked
    /// before.
    Evacuate {
        /// How long they have for it.
        grace: Duration,
    },
    /// The daemon ends: every peer is told that its SA is gone, no answer is waited for.
    Shutdown,
}

/// Clients that are to go to another gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Which.
    pub selection: Selection,
    /// How many of them in a hundred, at most 100.
    pub percent: u8,
    /// Where to; where the cluster's table leads if absent.
    pub to: Option<GatewayAddresses>,
    /// How long they have for it, before their SA is deleted.
    pub grace: Duration,
}

/// What came of a [`Redirect`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redirected {
    /// SAs that were meant.
    pub selected: u64,
    /// Those of them whose clients were told to go.
    pub told: u64,
}

/// How a node loses its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Time between two clients that are told to go.
    pub pace: Duration,
    /// How long each has for it, before its SA is deleted.
    pub grace: Duration,
    /// After which time all that are left are deleted; `None` = never.
    pub deadline: Option<Duration>,
}

/// Which IKE SAs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Every one.
    All,
    /// This one.
    Id(SaId),
    /// Those with a peer at this address.
    Remote(IpAddr),
    /// Those with a peer of this identity.
    Identity(Id<'static>),
    /// Those of this profile.
    Profile(Name),
    /// Those whose peers would be heard: not those of an address that another node has now.
    Audible,
}

/// What an endpoint wants done.
#[derive(Debug)]
pub enum Output {
    /// An IKE message is to be sent, without the marker.
    Transmit {
        /// Between which addresses.
        path: Path,
        /// The message.
        octets: Vec<u8>,
    },
    /// A NAT keepalive is to be sent: one octet, 0xff, without marker (`RFC 3948 §2.3`).
    Keepalive {
        /// Between which addresses.
        path: Path,
    },
    /// A Child SA begins its work.
    Install(Box<InstallChild>),
    /// Traffic is to leave through this Child SA from now on, in the place of the one it replaces.
    Switch {
        /// The SA, by the SPI that leads to us.
        inbound: ChildSpi,
    },
    /// The packets of a Child SA travel another way than before: one of both sides is elsewhere.
    Move {
        /// The SA, by the SPI that leads to us.
        inbound: ChildSpi,
        /// Which.
        outer: Outer,
    },
    /// A Child SA has ended.
    Remove {
        /// The SA, by the SPI that leads to us.
        inbound: ChildSpi,
    },
    /// A packet that this connection is for, and that no Child SA takes, is to be told of: the next one,
    /// and no other one until this is said again. What was said by the same number before holds no more.
    Watch {
        /// Which.
        connection: Name,
        /// What it is for.
        trap: Trap,
    },
    /// Packets need not be told of any more.
    Unwatch {
        /// Those of which connection, by the number of its trap.
        trap: TrapId,
    },
    /// A client has authenticated itself as the only one of its name: the other workers are to
    /// drop its SAs, as we have.
    Supersede {
        /// Its identity, as octets that are the same wherever it comes.
        holder: Arc<[u8]>,
    },
    /// A ticket was used, or is void: the other workers are to know, and whoever else has to.
    TicketUsed(Box<UsedTicket>),
    /// It is asked where a gateway is, and what our address is on the way there:
    /// [`Input::Located`] is the answer. Names are resolved for it. It is not waited for for ever.
    Locate {
        /// The question.
        request: Request,
        /// Which gateway.
        host: GatewayAddress,
    },
    /// It is asked how these peers are reached now, as the system routes it: [`Input::Ways`] is the
    /// answer. Nobody waits for it.
    FindWays {
        /// Which SA asks; none, if it is asked for all of them.
        asker: Option<SaId>,
        /// Where they are, each once.
        remotes: Vec<IpAddr>,
    },
    /// A server that knows the users is asked: [`Input::Aaa`] is the answer.
    Aaa(Box<AaaRequest>),
    /// What was asked need not be answered any more, and nothing more will be asked: the client is gone,
    /// or refused.
    AaaAbandoned(Conversation),
    /// Something about a session, for accounting.
    Account(Box<Account>),
    /// Something happened.
    Event(Event),
}

/// How the packets of a Child SA travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// Between which addresses.
    pub path: Path,
    /// Whether ESP goes through UDP.
    pub is_encapsulated: bool,
    /// Whether the peer's address may change under way: it is behind a NAT.
    pub may_move: bool,
}

/// A ticket that cannot be used any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedTicket {
    /// Which.
    pub id: TicketId,
    /// Until when it is to be remembered.
    pub expires_at: UnixTime,
    /// The session that goes on by it: its old SA is void. `None` if that is gone already.
    pub origin: Option<Origin>,
}

/// A Child SA for the data plane.
#[derive(Debug)]
pub struct InstallChild {
    /// The SPI that leads to us: the SA's name for the data plane.
    pub inbound: ChildSpi,
    /// The SPI that leads to the peer.
    pub outbound: ChildSpi,
    /// Keys of what comes in.
    pub inbound_keys: TrafficKeys,
    /// Keys of what goes out.
    pub outbound_keys: TrafficKeys,
    /// Whether sequence numbers have 64 bits.
    pub is_extended: bool,
    /// What is here.
    pub local_ts: Arc<[TrafficSelector]>,
    /// What is there.
    pub remote_ts: Arc<[TrafficSelector]>,
    /// Between which addresses.
    pub path: Path,
    /// Whether ESP goes through UDP.
    pub is_encapsulated: bool,
    /// Whether the peer's address may change under way: it is behind a NAT.
    pub may_move: bool,
    /// The SA that it takes the place of, by the SPI that leads to us.
    pub replaces: Option<ChildSpi>,
    /// Whether traffic leaves through it at once. If not, [`Output::Switch`] comes.
    pub is_outbound: bool,
    /// Addresses that the peer has given to us, as its client.
    pub own_addresses: Vec<IpAddr>,
    /// How much it carries before it is replaced.
    pub volume: Volume,
    /// The session that it carries for, where accounts are kept ([`Account`]).
    pub session: Option<Arc<str>>,
}

/// How much an SA has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Octets of inner packets that came in.
    pub bytes_in: u64,
    /// Octets of inner packets that went out.
    pub bytes_out: u64,
    /// Packets that came in.
    pub packets_in: u64,
    /// Packets that went out.
    pub packets_out: u64,
    /// Time since the last packet came in, if one did.
    pub idle: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_finds_its_own_numbers_below_and_within_reach() {
        for count in 1..=9_u16 {
            for index in 0..count {
                let shard = Shard::new(index, count).unwrap();
                for number in (256..600).chain(u32::MAX - 40..=u32::MAX) {
                    let own = shard.own(number);
                    assert_eq!(own % u32::from(count), u32::from(index), "{number} {shard:?}");
                    assert!(own <= number && number - own < u32::from(count), "{number} {own} {shard:?}");
                }
            }
        }
        assert_eq!(Shard::new(2, 2), None);
    }
}
