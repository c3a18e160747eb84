//! Processor time of the gateway's part when a session goes on by ticket, beside that of a full
//! handshake of the same client: with shared keys, and with certificates.
//!
//! Both give a ticket, so that what is compared is what a client costs that comes back.

use std::sync::Arc;
use std::time::Duration;

use redirect_userspace::crypto::x509::builder::{KeyKind, Owner, Recipe};
use redirect_userspace::crypto::x509::{AltName, Revocation, TrustStore};
use redirect_userspace::ike::config::{
    Authentication, Connection, Credential, Guidance, Lifetimes, LocalProof, Name, Profile, RemoteProof,
    Settings, Upkeep,
};
use redirect_userspace::ike::identity::{Claim, Pattern, parse};
use redirect_userspace::ike::pool::Pool;
use redirect_userspace::ike::ticket::{Sealer, TicketKey};
use redirect_userspace::ike::{Command, Endpoint, Input, Output, Path, Pools, Shard};
use redirect_userspace::machine::{Machine as _, Outbox};
use redirect_userspace::rng::Rng;
use redirect_userspace::secret::Secret;
use redirect_userspace::testing::pair::prefix;
use redirect_userspace::time::{Instant, Now, UnixTime};

use crate::rig::processor_time;

/// Rounds in which everything has its turn.
const ROUNDS: usize = 15;
/// Clients in a round.
const CLIENTS: usize = 200;

pub(crate) fn run() {
    println!("\n{:<40} {:>10} {:>10}", "the gateway's part when a client is back", "min ns", "median ns");
    let (key, certificates) = (Proof::SharedKey, Proof::certificates());
    for (name, proof, bar) in [("PSK", key, 0.5), ("P-256 certificates", certificates, 0.25)] {
        let (mut full, mut resumed) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let mut world = World::new(&proof);
            full.push(world.come(false));
            world.lose_gateway(&proof);
            resumed.push(world.come(true));
        }
        let [full, resumed] = [full, resumed].map(|mut samples| {
            samples.sort_by(f64::total_cmp);
            (samples[0], samples[ROUNDS / 2])
        });
        println!("  {:<38} {:>10.0} {:>10.0}", format!("a full handshake, X25519, {name}"), full.0, full.1);
        println!("  {:<38} {:>10.0} {:>10.0}", "a session resumed by ticket", resumed.0, resumed.1);
        let ratio = resumed.1 / full.1;
        println!("  {:<38} {:>10.3} {:>10.3}", "ratio", resumed.0 / full.0, ratio);
        assert!(ratio <= bar, "{ratio:.3} of a full handshake is more than {bar}");
    }
}

/// How both sides prove who they are.
enum Proof {
    SharedKey,
    Certificates(Box<Credentials>),
}

struct Credentials {
    root: Owner,
    client: Owner,
    gateway: Owner,
}

impl Proof {
    fn certificates() -> Self {
        let root = Recipe::ca("root").key(KeyKind::P256).issue(None);
        let names: Vec<AltName> =
            (0..CLIENTS).map(|number| AltName::Dns(format!("user{number}.example.net").into())).collect();
        let client = Recipe::end_entity("CN=clients", &names).key(KeyKind::P256).issue(Some(&root));
        let gateway = Recipe::gateway("vpn.example.net").key(KeyKind::P256).issue(Some(&root));
        Self::Certificates(Box::new(Credentials { root, client, gateway }))
    }

    fn sides(&self, is_gateway: bool) -> (LocalProof, RemoteProof) {
        let key = || Secret::from(&b"a shared key of some length"[..]);
        match self {
            Self::SharedKey => (LocalProof::SharedKey(key()), RemoteProof::SharedKey(key())),
            Self::Certificates(credentials) => {
                let Credentials { root, client, gateway } = &**credentials;
                let own = if is_gateway { gateway } else { client };
                let credential = Credential { chain: vec![own.certificate()], key: own.key() };
                let mut store = TrustStore::new(Revocation::Relaxed);
                store.add_anchor(root.certificate()).unwrap();
                (LocalProof::Certificate(Arc::new(credential)), RemoteProof::Certificate(Arc::new(store)))
            }
        }
    }

    fn profile(&self, name: &str, local_id: &str, is_gateway: bool) -> Profile {
        let (local, remote) = self.sides(is_gateway);
        Profile {
            name: Name::new(name).unwrap(),
            authentication: Authentication {
                local_id: Claim::Id(parse(local_id).unwrap()),
                remote_ids: vec![Pattern::Anyone],
                local,
                remote,
            },
            pools: if is_gateway { vec![Name::new("pool").unwrap()] } else { Vec::new() },
            guidance: Guidance::default(),
            local_ts: if is_gateway { vec![prefix("10.1.0.0/16")] } else { Vec::new() },
            remote_ts: if is_gateway { Vec::new() } else { vec![prefix("10.1.0.0/16")] },
            esp_proposals: Vec::new(),
            dpd: Some(Duration::from_secs(30)),
            lifetimes: Lifetimes::default(),
            redirect_auth: false,
            resumes: true,
            mobility: redirect_userspace::ike::config::Mobility::NONE,
            ppk: None,
        }
    }

    /// A member of the cluster.
    fn gateway(&self, node: &str, now: Now) -> Endpoint {
        let key = TicketKey::new(&Secret::new(vec![1; 32])).unwrap();
        let sealer = Sealer::new(node, "group1", Some(key), Vec::new());
        let profile = self.profile("everybody", "vpn.example.net", true);
        let settings =
            Settings { profiles: vec![Arc::new(profile)], tickets: Some(Arc::new(sealer)), ..settings() };
        let mut pools = Pools::new();
        pools.add(Name::new("pool").unwrap(), Pool::new([10, 64, 0, 0].into(), 12).unwrap());
        Endpoint::new(now, Shard::SOLE, Arc::new(settings), Box::new(pools), Rng::from_number(1))
    }
}

/// Clients, and the gateway that they come to.
struct World {
    now: Now,
    clients: Endpoint,
    gateway: Endpoint,
    out: Outbox<Output>,
}

impl World {
    fn new(proof: &Proof) -> Self {
        let wall = UnixTime::from_epoch(Duration::from_secs(1_800_000_000));
        let now = Now { mono: Instant::START, wall };
        let connections = (0..CLIENTS).map(|number| {
            let profile = proof.profile(&format!("c{number}"), &format!("user{number}.example.net"), false);
            Arc::new(Connection {
                profile: Arc::new(profile),
                remotes: vec!["192.0.2.1:500".parse().unwrap()],
                wants_ipv4: true,
                wants_ipv6: false,
                upkeep: Upkeep::default(),
            })
        });
        let settings = Settings { connections: connections.collect(), ..settings() };
        let (pools, rng) = (Box::new(Pools::new()), Rng::from_number(2));
        let clients = Endpoint::new(now, Shard::SOLE, Arc::new(settings), pools, rng);
        Self { now, clients, gateway: proof.gateway("gw1", now), out: Outbox::new() }
    }

    /// Another member is where the gateway was, and the clients have found out.
    fn lose_gateway(&mut self, proof: &Proof) {
        while self.clients.counts().established > 0 {
            self.now = self.now.after(Duration::from_secs(10));
            self.clients.step(self.now, Input::Timeout, &mut self.out);
            drop(self.out.drain());
        }
        self.gateway = proof.gateway("gw2", self.now);
    }

    /// Every client comes; gives the nanoseconds of the gateway's part of each.
    fn come(&mut self, by_ticket: bool) -> f64 {
        let mut needed = Duration::ZERO;
        for number in 0..CLIENTS {
            let connection = Name::new(&format!("c{number}")).unwrap();
            let command = Command::Initiate { connection, local: [192, 0, 2, 2].into() };
            self.clients.step(self.now, Input::Command(command), &mut self.out);
            for _ in 0..2 {
                let requests = messages(&mut self.out);
                let start = processor_time();
                for (path, octets) in &requests {
                    self.gateway.step(self.now, Input::Datagram { path: *path, octets }, &mut self.out);
                }
                needed += processor_time().saturating_sub(start);
                for (path, octets) in messages(&mut self.out) {
                    let input = Input::Datagram { path, octets: &octets };
                    self.clients.step(self.now, input, &mut self.out);
                }
            }
            drop(self.out.drain());
        }
        assert_eq!(self.gateway.counts().established, CLIENTS);
        let resumed = usize::try_from(self.gateway.counters().resumed).unwrap();
        assert_eq!(resumed, if by_ticket { CLIENTS } else { 0 });
        needed.as_nanos() as f64 / CLIENTS as f64
    }
}

/// The messages among the outputs, as the other side sees them.
fn messages(out: &mut Outbox<Output>) -> Vec<(Path, Vec<u8>)> {
    let message = |output| {
        let Output::Transmit { path, octets } = output else { return None };
        Some((Path { local: path.remote, remote: path.local }, octets))
    };
    out.drain().filter_map(message).collect()
}

fn settings() -> Settings {
    Settings {
        ike_proposals: vec!["aes128gcm16-prfsha256-x25519".parse().unwrap()],
        esp_proposals: vec!["aes128gcm16".parse().unwrap()],
        ..Settings::default()
    }
}
