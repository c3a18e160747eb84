//! The SAs at one moment, for people.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::config::Name;
use super::io::SaId;
use super::wire::{ChildSpi, SpiI, SpiR, TrafficSelector};

/// An IKE SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaSnapshot {
    /// Its number.
    pub id: SaId,
    /// Whether we are its original initiator.
    pub is_initiator: bool,
    /// What it is at.
    pub state: SaState,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// Who we are.
    pub local_id: Arc<str>,
    /// Who the peer is.
    pub remote_id: Arc<str>,
    /// Its profile or connection.
    pub profile: Option<Name>,
    /// The original initiator's SPI.
    pub spi_i: SpiI,
    /// The original responder's SPI.
    pub spi_r: Option<SpiR>,
    /// Algorithms, as they would be configured; empty before they are chosen.
    pub suite: Arc<str>,
    /// Since it was made.
    pub age: Duration,
    /// Until it is rekeyed by us.
    pub rekey_in: Option<Duration>,
    /// The gateway that sent the client here.
    pub redirected_from: Option<IpAddr>,
    /// Whether the client follows redirects.
    pub follows_redirects: bool,
    /// Whether it was resumed by a ticket.
    pub is_resumed: bool,
    /// Whether there is a NAT before the peer.
    pub is_peer_behind_nat: bool,
    /// Whether there is a NAT before us.
    pub are_we_behind_nat: bool,
    /// Whether it may move to other addresses (`RFC 4555`).
    pub is_mobile: bool,
    /// Addresses that the client was given.
    pub addresses: Vec<IpAddr>,
    /// Its Child SAs.
    pub children: Vec<ChildSnapshot>,
}

/// What an IKE SA is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaState {
    /// Before the peer is authenticated.
    HalfOpen,
    /// In use.
    Established,
    /// Another one is taking its place.
    Rekeying,
    /// The client was told to go to another gateway.
    Redirected,
    /// It is being deleted.
    Closing,
}

impl SaState {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HalfOpen => "half-open",
            Self::Established => "established",
            Self::Rekeying => "rekeying",
            Self::Redirected => "redirected",
            Self::Closing => "closing",
        }
    }
}

/// A Child SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildSnapshot {
    /// The SPI that leads to us.
    pub inbound: ChildSpi,
    /// The SPI that leads to the peer.
    pub outbound: ChildSpi,
    /// Algorithms, as they would be configured.
    pub suite: Arc<str>,
    /// Whether ESP goes through UDP.
    pub is_encapsulated: bool,
    /// What is here.
    pub local_ts: Arc<[TrafficSelector]>,
    /// What is there.
    pub remote_ts: Arc<[TrafficSelector]>,
    /// Since it was made.
    pub age: Duration,
    /// Until it is rekeyed by us.
    pub rekey_in: Option<Duration>,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountSnapshot {
    /// IKE SAs before authentication.
    pub half_open: usize,
    /// IKE SAs after it.
    pub established: usize,
    /// Child SAs.
    pub children: usize,
}
