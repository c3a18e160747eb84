//! A load generator: our initiator, many times over, against any gateway.
//!
//! Every handshake is a client of its own with an identity of its own, so that a gateway treats none
//! as another one's return. A client is forgotten once its tunnel is up; with `deletes` it says so
//! first, and the gateway has no SA of it either.
//!
//! # Measure
//!
//! The latency of a handshake is the time from its first message until its Child SA is up.

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd as _;

use crate::config::ClientPrefix;
use crate::crypto::sign::PrivateKey;
use crate::crypto::x509::{Certificate, Revocation, TrustStore};
use crate::ike::config::{
    Authentication, Connection, Credential, Guidance, Lifetimes, LocalProof, Name, Profile, RemoteProof,
    Settings, Upkeep,
};
use crate::ike::identity::{Claim, Pattern};
use crate::ike::wire::{AddressRange, Id, Ports, Span, TrafficSelector};
use crate::ike::{Command, Endpoint, Event, Input, NAT_T_PORT, Output, Path, Pools, Selection, Shard};
use crate::machine::{Machine as _, Outbox};
use crate::net::ike::{Inbox, Port};
use crate::rng::Rng;
use crate::runtime::clock::{Clock, random};
use crate::secret::Secret;
use crate::time::{Instant, Now};

/// What is asked for.
pub struct Load {
    /// Where requests are sent.
    pub gateway: SocketAddr,
    /// Where they come from: ports 500 and 4500 of this address are opened.
    pub local: IpAddr,
    /// Proposals, limits, retransmissions.
    pub settings: Settings,
    /// A profile for the client with this number.
    pub profile: Box<dyn Fn(Claim) -> Profile>,
    /// Handshakes at the same time.
    pub in_flight: usize,
    /// How many in all.
    pub count: u64,
    /// The number of the first client.
    pub first: u64,
    /// Whether SAs are deleted once they are up.
    pub deletes: bool,
    /// Longest that all of it may take.
    pub patience: Duration,
}

/// What has come of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Handshakes that led to a Child SA.
    pub done: u64,
    /// Those that did not, by the reason of the first ones.
    pub failed: u64,
    /// Why, of some.
    pub reasons: Vec<String>,
    /// From the first message to the last.
    pub took: Duration,
    /// Of those that were done, in order.
    pub latencies: Vec<Duration>,
}

impl Outcome {
    /// The latency that this part of all handshakes did not exceed.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a position in a list, by a part between 0 and 1"
        )]
        let at = (part.clamp(0.0, 1.0) * last as f64).round() as usize;
        self.latencies.get(at).copied().unwrap_or_default()
    }
}

/// Runs it in the network namespace of this thread.
///
/// # Errors
///
/// The ports are taken, or the gateway has not answered in time.
pub fn run(load: &Load) -> Result<Outcome> {
    let ports = [500, NAT_T_PORT].map(|port| Port::bind(SocketAddr::new(load.local, port)));
    let [ike, nat] = ports;
    let mut generator = Generator {
        load,
        clock: Clock::start(),
        ports: [ike?, nat?],
        inbox: Some(Inbox::new()),
        rng: random()?,
        sessions: HashMap::new(),
        order: VecDeque::new(),
        next: load.first,
        outcome: Outcome::default(),
        out: Outbox::new(),
    };
    generator.run()?;
    let mut outcome = generator.outcome;
    outcome.latencies.sort_unstable();
    Ok(outcome)
}

struct Generator<'l> {
    load: &'l Load,
    clock: Clock,
    ports: [Port; 2],
    inbox: Option<Inbox>,
    rng: Rng,
    /// By the SPI of the initiator.
    sessions: HashMap<u64, Session>,
    /// In the order in which they were begun.
    order: VecDeque<u64>,
    next: u64,
    outcome: Outcome,
    out: Outbox<Output>,
}

struct Session {
    endpoint: Endpoint,
    begun_at: Instant,
    is_up: bool,
}

impl Generator<'_> {
    fn run(&mut self) -> Result<()> {
        let end = self.load.first + self.load.count;
        let begun_at = self.clock.now().mono;
        let mut swept_at = begun_at;
        while self.next < end || !self.sessions.is_empty() {
            let now = self.clock.now();
            ensure!(
                now.mono.since(begun_at) < self.load.patience,
                "{} handshakes after {:?}, {} under way",
                self.outcome.done,
                self.load.patience,
                self.sessions.len()
            );
            while self.next < end && self.sessions.len() < self.load.in_flight {
                self.begin(now)?;
            }
            self.wait()?;
            let now = self.clock.now();
            for number in 0..self.ports.len() {
                self.receive(now, number)?;
            }
            if now.mono.since(swept_at) >= SWEEP {
                swept_at = now.mono;
                self.sweep(now);
            }
        }
        self.outcome.took = self.clock.now().mono.since(begun_at);
        Ok(())
    }

    fn begin(&mut self, now: Now) -> Result<()> {
        let number = self.next;
        self.next += 1;
        let claim = Claim::Id(Id::Email(format!("client-{number}@load.example").into()));
        let connection = Connection {
            profile: Arc::new((self.load.profile)(claim)),
            remotes: vec![self.load.gateway],
            wants_ipv4: true,
            wants_ipv6: false,
            upkeep: Upkeep::default(),
        };
        let name: Name = connection.profile.name.clone();
        let settings = Settings { connections: vec![Arc::new(connection)], ..self.load.settings.clone() };
        let endpoint =
            Endpoint::new(now, Shard::SOLE, Arc::new(settings), Box::new(Pools::new()), self.rng.fork());
        let mut session = Session { endpoint, begun_at: now.mono, is_up: false };
        let command = Command::Initiate { connection: name, local: self.load.local };
        session.endpoint.step(now, Input::Command(command), &mut self.out);
        let mut spi = None;
        while let Some(output) = self.out.pop() {
            if let Output::Transmit { path, octets } = output {
                spi = octets.first_chunk().map(|spi| u64::from_be_bytes(*spi));
                self.transmit(path, &octets);
            }
        }
        let spi = spi.context("the initiator has nothing to say: are the proposals right?")?;
        self.sessions.insert(spi, session);
        self.order.push_back(spi);
        Ok(())
    }

    fn wait(&self) -> Result<()> {
        let mut watched = [
            PollFd::new(self.ports[0].as_fd(), PollFlags::POLLIN),
            PollFd::new(self.ports[1].as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut watched, PollTimeout::from(50_u8)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => bail!("waiting for answers: {error}"),
        }
    }

    fn receive(&mut self, now: Now, number: usize) -> Result<()> {
        let Some(port) = self.ports.get(number) else { return Ok(()) };
        let Some(mut inbox) = self.inbox.take() else { return Ok(()) };
        inbox.receive(port).context("reading a socket")?;
        for datagram in inbox.datagrams() {
            let path = Path { local: datagram.local, remote: datagram.remote };
            let message: &[u8] = match (path.has_marker(), &*datagram.octets) {
                (true, [0, 0, 0, 0, message @ ..]) => message,
                (true, _) => continue,
                (false, message) => message,
            };
            let Some(spi) = message.first_chunk().map(|spi| u64::from_be_bytes(*spi)) else { continue };
            self.step(now, spi, Input::Datagram { path, octets: message });
        }
        self.inbox = Some(inbox);
        Ok(())
    }

    fn step(&mut self, now: Now, spi: u64, input: Input<'_>) {
        let Some(mut session) = self.sessions.remove(&spi) else { return };
        session.endpoint.step(now, input, &mut self.out);
        let mut is_over = false;
        while let Some(output) = self.out.pop() {
            match output {
                Output::Transmit { path, octets } => self.transmit(path, &octets),
                Output::Event(Event::ChildUp { .. }) if !session.is_up => {
                    session.is_up = true;
                    self.outcome.done += 1;
                    self.outcome.latencies.push(now.mono.since(session.begun_at));
                    if self.load.deletes {
                        let delete = Input::Command(Command::Clear(Selection::All));
                        session.endpoint.step(now, delete, &mut self.out);
                    } else {
                        is_over = true;
                    }
                }
                Output::Event(Event::Closed { .. }) => is_over = true,
                Output::Event(
                    Event::ConnectFailed { failure, detail, .. }
                    | Event::ChildRefused { failure, detail, .. },
                ) => {
                    self.outcome.failed += 1;
                    if self.outcome.reasons.len() < REASONS {
                        self.outcome.reasons.push(format!("{failure}: {detail}"));
                    }
                    is_over = true;
                }
                Output::Event(_)
                | Output::Keepalive { .. }
                | Output::Install(_)
                | Output::Switch { .. }
                | Output::Move { .. }
                | Output::Remove { .. }
                | Output::Supersede { .. }
                | Output::TicketUsed(_)
                | Output::Locate { .. }
                | Output::Aaa(_)
                | Output::AaaAbandoned(_)
                | Output::Account(_) => {}
            }
        }
        if !is_over {
            self.sessions.insert(spi, session);
        }
    }

    /// Repeats what was lost.
    fn sweep(&mut self, now: Now) {
        self.order.retain(|spi| self.sessions.contains_key(spi));
        let due = |spi: &u64| {
            let deadline = self.sessions.get(spi).and_then(|session| session.endpoint.deadline());
            deadline.is_some_and(|deadline| deadline.is_due(now))
        };
        let due: Vec<u64> = self.order.iter().copied().filter(due).collect();
        for spi in due {
            self.step(now, spi, Input::Timeout);
        }
    }

    fn transmit(&self, path: Path, octets: &[u8]) {
        let Some(port) = self.ports.iter().find(|port| port.is_for(path.local)) else { return };
        // What is not sent is lost, and repeated.
        let _sent = if path.has_marker() {
            port.send(path.local.ip(), path.remote, &[IoSlice::new(&[0; 4]), IoSlice::new(octets)], None)
        } else {
            port.send(path.local.ip(), path.remote, &[IoSlice::new(octets)], None)
        };
    }
}

/// Time between two looks for what was lost.
const SWEEP: Duration = Duration::from_millis(200);
/// Reasons that are kept.
const REASONS: usize = 5;

/// A client as an operator describes it.
pub struct Client {
    /// Where requests are sent.
    pub gateway: SocketAddr,
    /// Where they come from.
    pub local: IpAddr,
    /// How both sides prove who they are.
    pub proof: Proof,
    /// What IKE SAs are protected with.
    pub ike: String,
    /// What Child SAs are protected with.
    pub esp: String,
    /// The network behind the gateway, as a prefix.
    pub network: String,
    /// Handshakes at the same time.
    pub in_flight: usize,
    /// How many in all.
    pub count: u64,
    /// The number of the first client.
    pub first: u64,
    /// Whether SAs are deleted once they are up.
    pub deletes: bool,
    /// Longest that all of it may take.
    pub patience: Duration,
}

/// How both sides prove who they are.
pub enum Proof {
    /// With a key that both know.
    SharedKey(Vec<u8>),
    /// With certificates, all in PEM. The clients all have the same one, and its subject is who they
    /// say they are.
    Certificate {
        /// Ours and those of its CAs.
        chain: Vec<u8>,
        /// Its private key.
        key: Vec<u8>,
        /// The CA of the gateway.
        ca: Vec<u8>,
    },
}

/// Runs handshakes of such clients.
///
/// # Errors
///
/// Something in the description is wrong, or those of [`run`].
pub fn run_client(client: Client) -> Result<Outcome> {
    let network: ClientPrefix = client.network.parse().context("the network")?;
    let remote_ts = selector(&network);
    let has_names = matches!(client.proof, Proof::SharedKey(_));
    let proofs = proofs(client.proof)?;
    let name = Name::new("load").context("a name")?;
    let profile = move |claim| {
        let (local, remote) = proofs();
        Profile {
            name: name.clone(),
            authentication: Authentication {
                local_id: if has_names { claim } else { Claim::Implied },
                remote_ids: vec![Pattern::Anyone],
                local,
                remote,
            },
            pools: Vec::new(),
            guidance: Guidance::default(),
            local_ts: Vec::new(),
            remote_ts: vec![remote_ts.clone()],
            esp_proposals: Vec::new(),
            dpd: None,
            lifetimes: Lifetimes { ike: None, child: None, grace: Duration::from_secs(60) },
            redirect_auth: false,
            resumes: false,
        }
    };
    let settings = Settings {
        ike_proposals: vec![client.ike.parse().context("the IKE proposal")?],
        esp_proposals: vec![client.esp.parse().context("the ESP proposal")?],
        // Each would end the one before where they share a certificate.
        is_sole_client: has_names,
        ..Settings::default()
    };
    run(&Load {
        gateway: client.gateway,
        local: client.local,
        settings,
        profile: Box::new(profile),
        in_flight: client.in_flight,
        count: client.count,
        first: client.first,
        deletes: client.deletes,
        patience: client.patience,
    })
}

type MakeProofs = Box<dyn Fn() -> (LocalProof, RemoteProof)>;

fn proofs(proof: Proof) -> Result<MakeProofs> {
    match proof {
        Proof::SharedKey(octets) => {
            let line = octets.strip_suffix(b"\n").unwrap_or(&octets);
            let secret = Secret::from(line);
            Ok(Box::new(move || {
                (LocalProof::SharedKey(secret.clone()), RemoteProof::SharedKey(secret.clone()))
            }))
        }
        Proof::Certificate { chain, key, ca } => {
            let chain = Certificate::list_from_pem(&chain).context("the certificate")?;
            let key = PrivateKey::from_pem(&key).context("the private key")?;
            let mut store = TrustStore::new(Revocation::Relaxed);
            for anchor in Certificate::list_from_pem(&ca).context("the CA")? {
                store.add_anchor(anchor).context("the CA")?;
            }
            let (credential, store) = (Arc::new(Credential { chain, key }), Arc::new(store));
            Ok(Box::new(move || {
                (
                    LocalProof::Certificate(Arc::clone(&credential)),
                    RemoteProof::Certificate(Arc::clone(&store)),
                )
            }))
        }
    }
}

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
