//! A load generator: our initiator, many times over, against any gateway.
//!
//! Every handshake is a client of its own with an identity of its own, so that a gateway treats none
//! as another one's return. A client is forgotten once its tunnel is up; with `deletes` it says so
//! first, and the gateway has no SA of it either. Sessions are resumed by clients that have come
//! before, with the ticket of the last time, as if they had lost their gateway.
//!
//! # Measure
//!
//! The latency of a handshake is the time until its Child SA is up: from its first message in a closed
//! loop, from when that was meant to be sent in an open one.

mod init;
mod latency;
mod pace;
mod proof;
mod request;
mod sessions;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use crate::config::ClientPrefix;
use crate::ike::config::{
    Authentication, Guidance, Lifetimes, LocalProof, Name, Profile, RemoteProof, Retransmission, Settings,
};
use crate::ike::identity::{Claim, Pattern};
use crate::ike::wire::{AddressRange, Ports, Span, TrafficSelector};
use crate::secret::Secret;

pub use self::init::{InitLoad, InitOutcome, run_init};
pub use self::latency::Latencies;
pub use self::pace::{Extent, Pace};
pub use self::proof::Proof;
pub use self::sessions::Outcome;

/// A client as an operator describes it.
pub struct Client {
    /// Where requests are sent.
    pub gateway: SocketAddr,
    /// Where they come from: ports 500 and 4500 of this address are opened.
    pub local: IpAddr,
    /// How both sides prove who they are.
    pub proof: Proof,
    /// What IKE SAs are protected with.
    pub ike: String,
    /// What Child SAs are protected with.
    pub esp: String,
    /// The network behind the gateway, as a prefix.
    pub network: String,
    /// How one handshake follows the other.
    pub pace: Pace,
    /// When it is enough.
    pub extent: Extent,
    /// The number of the first client.
    pub first: u64,
    /// Whether SAs are deleted once they are up.
    pub deletes: bool,
    /// Whether redirects are followed, on the way to the tunnel.
    pub follows: bool,
    /// Sessions are resumed, by so many clients in turn.
    pub resumed: Option<usize>,
    /// How long a handshake may take.
    pub timeout: Duration,
    /// Longest that all of it may take, beyond its duration if it has one.
    pub patience: Duration,
}

/// Runs handshakes of such clients.
///
/// # Errors
///
/// Something in the description is wrong, a port is taken, or the gateway has not answered in time.
pub fn run_client(client: Client) -> Result<Outcome> {
    let network: ClientPrefix = client.network.parse().context("the network")?;
    let remote_ts = selector(&network);
    let has_names = client.proof.has_names();
    let proofs = proof::proofs(client.proof)?;
    let name = Name::new("load").context("a name")?;
    let resumes = client.resumed.is_some();
    let profile = move |claim| {
        let (local, remote) = proofs();
        Profile {
            authentication: Authentication {
                local_id: if has_names { claim } else { Claim::Implied },
                remote_ids: vec![Pattern::Anyone],
                local,
                remote,
            },
            remote_ts: vec![remote_ts.clone()],
            resumes,
            ..plain(name.clone())
        }
    };
    let retransmission = Retransmission { patience: client.timeout, ..Retransmission::default() };
    let settings = Settings {
        ike_proposals: vec![client.ike.parse().context("the IKE proposal")?],
        esp_proposals: vec![client.esp.parse().context("the ESP proposal")?],
        // Each would end the one before where they share a certificate.
        is_sole_client: has_names,
        follows_redirects: client.follows,
        retransmission,
        ..Settings::default()
    };
    sessions::run(&sessions::Load {
        gateway: client.gateway,
        local: client.local,
        settings,
        profile: Box::new(profile),
        pace: client.pace,
        extent: client.extent,
        first: client.first,
        deletes: client.deletes,
        resumed: client.resumed,
        patience: client.patience,
    })
}

/// A profile with which nobody proves anything yet.
fn plain(name: Name) -> Profile {
    let nothing = || Secret::from(&b""[..]);
    Profile {
        name,
        authentication: Authentication {
            local_id: Claim::Implied,
            remote_ids: vec![Pattern::Anyone],
            local: LocalProof::SharedKey(nothing()),
            remote: RemoteProof::SharedKey(nothing()),
        },
        pools: Vec::new(),
        guidance: Guidance::default(),
        local_ts: Vec::new(),
        remote_ts: Vec::new(),
        esp_proposals: Vec::new(),
        dpd: None,
        lifetimes: Lifetimes {
            ike: None,
            child: None,
            grace: Duration::from_secs(60),
            ..Lifetimes::default()
        },
        redirect_auth: false,
        resumes: false,
        mobility: crate::ike::config::Mobility::NONE,
        ppk: None,
    }
}

/// What an initiator needs that says no more than its first word.
fn bare(ike: &str, esp: &str) -> Result<(Profile, Settings)> {
    let settings = Settings {
        ike_proposals: vec![ike.parse().context("the IKE proposal")?],
        esp_proposals: vec![esp.parse().context("the ESP proposal")?],
        follows_redirects: true,
        ..Settings::default()
    };
    Ok((plain(Name::new("load").context("a name")?), settings))
}

/// Counts one more of a kind, unless there are too many kinds already.
fn count(counts: &mut BTreeMap<String, u64>, kind: &str) {
    if let Some(count) = counts.get_mut(kind) {
        *count += 1;
    } else {
        let kind = if counts.len() < KINDS { kind } else { "others" };
        *counts.entry(kind.to_owned()).or_default() += 1;
    }
}

/// Waits until something can be read, but not longer than this.
fn wait<'f>(sockets: impl IntoIterator<Item = &'f (impl AsFd + 'f)>, longest: Duration) -> Result<()> {
    let mut watched: Vec<_> =
        sockets.into_iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
    match ppoll(&mut watched, Some(TimeSpec::from_duration(longest)), None) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => bail!("waiting for answers: {error}"),
    }
}

/// Kinds that are counted apart.
const KINDS: usize = 512;

/// Everything in a network.
fn selector(prefix: &ClientPrefix) -> TrafficSelector {
    let length = u32::from(prefix.length());
    let addresses = match prefix.network() {
        IpAddr::V4(first) => {
            let host = u32::MAX.checked_shr(length).unwrap_or(0);
            let last = std::net::Ipv4Addr::from_bits(first.to_bits() | host);
            Span::new(first, last).map(AddressRange::V4)
        }
        IpAddr::V6(first) => {
            let host = u128::MAX.checked_shr(length).unwrap_or(0);
            let last = std::net::Ipv6Addr::from_bits(first.to_bits() | host);
            Span::new(first, last).map(AddressRange::V6)
        }
    };
    // A prefix never ends before it begins.
    let addresses = addresses.unwrap_or(AddressRange::V4(Span::MAX_V4));
    TrafficSelector::Ip { protocol: 0, ports: Ports::Any, addresses }
}
