//! A gateway and as many clients as are wanted, of which each has a name of its own.

use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use redirect_userspace::ike::config::{
    Authentication, Connection, Guidance, Lifetimes, LocalProof, Name, Profile, RemoteProof, Settings, Upkeep,
};
use redirect_userspace::ike::identity::{Claim, Pattern, parse};
use redirect_userspace::ike::pool::Pool;
use redirect_userspace::ike::{Command, Endpoint, Input, Output, Path, Pools, Shard};
use redirect_userspace::machine::{Machine as _, Outbox};
use redirect_userspace::rng::Rng;
use redirect_userspace::secret::Secret;
use redirect_userspace::testing::pair::prefix;
use redirect_userspace::time::Now;

/// Both ends.
pub(crate) struct Rig {
    pub(crate) gateway: Endpoint,
    clients: Endpoint,
    out: Outbox<Output>,
    next: usize,
}

/// What the gateway has needed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) init: Duration,
    pub(crate) auth: Duration,
}

impl Rig {
    pub(crate) fn new(clients: usize) -> Self {
        let connections = (0..clients).map(|number| {
            let mut profile = profile(&format!("user{number}@example.net"));
            profile.name = name(number);
            profile.remote_ts = vec![prefix("10.1.0.0/16")];
            Arc::new(Connection {
                profile: Arc::new(profile),
                remotes: vec!["192.0.2.1:500".parse().unwrap()],
                wants_ipv4: true,
                wants_ipv6: false,
                upkeep: Upkeep::default(),
            })
        });
        let mut gateway = profile("vpn.example.net");
        gateway.pools = vec![Name::new("pool").unwrap()];
        gateway.local_ts = vec![prefix("10.1.0.0/16")];
        gateway.dpd = Some(Duration::from_secs(30));
        let clients = Settings { connections: connections.collect(), ..settings() };
        let gateway = Settings { profiles: vec![Arc::new(gateway)], ..settings() };
        let mut pools = Pools::new();
        pools.add(Name::new("pool").unwrap(), Pool::new([10, 64, 0, 0].into(), 12).unwrap());
        let endpoint = |settings, pools, seed| {
            let rng = Rng::from_number(seed);
            Endpoint::new(Now::default(), Shard::SOLE, Arc::new(settings), Box::new(pools), rng)
        };
        Self {
            gateway: endpoint(gateway, pools, 1),
            clients: endpoint(clients, Pools::new(), 2),
            out: Outbox::new(),
            next: 0,
        }
    }

    /// Brings up one more SA.
    pub(crate) fn handshake(&mut self) -> Cost {
        let command = Command::Initiate { connection: name(self.next), local: [192, 0, 2, 2].into() };
        self.next += 1;
        self.clients.step(Now::default(), Input::Command(command), &mut self.out);
        let first = self.message();
        let (second, init) = self.answer(&first);
        self.clients.step(
            Now::default(),
            Input::Datagram { path: second.0, octets: &second.1 },
            &mut self.out,
        );
        let third = self.message();
        let (fourth, auth) = self.answer(&third);
        self.clients.step(
            Now::default(),
            Input::Datagram { path: fourth.0, octets: &fourth.1 },
            &mut self.out,
        );
        drop(self.out.drain());
        Cost { init, auth }
    }

    /// The gateway alone.
    pub(crate) fn into_gateway(self) -> Endpoint {
        self.gateway
    }

    fn answer(&mut self, (path, octets): &(Path, Vec<u8>)) -> ((Path, Vec<u8>), Duration) {
        let start = processor_time();
        self.gateway.step(Now::default(), Input::Datagram { path: *path, octets }, &mut self.out);
        let needed = processor_time().saturating_sub(start);
        (self.message(), needed)
    }

    /// The one message among the outputs, as the other side sees it.
    fn message(&mut self) -> (Path, Vec<u8>) {
        let mut message = None;
        for output in self.out.drain() {
            if let Output::Transmit { path, octets } = output {
                message = Some((Path { local: path.remote, remote: path.local }, octets));
            }
        }
        message.expect("a message")
    }
}

fn name(number: usize) -> Name {
    Name::new(&format!("connection{number}")).unwrap()
}

fn settings() -> Settings {
    Settings {
        ike_proposals: vec!["aes128gcm16-prfsha256-x25519".parse().unwrap()],
        esp_proposals: vec!["aes128gcm16".parse().unwrap()],
        ..Settings::default()
    }
}

fn profile(local_id: &str) -> Profile {
    let key = || Secret::from(&b"a shared key of some length"[..]);
    Profile {
        name: Name::new("everybody").unwrap(),
        authentication: Authentication {
            local_id: Claim::Id(parse(local_id).unwrap()),
            remote_ids: vec![Pattern::Anyone],
            local: LocalProof::SharedKey(key()),
            remote: RemoteProof::SharedKey(key()),
        },
        pools: Vec::new(),
        guidance: Guidance::default(),
        local_ts: Vec::new(),
        remote_ts: Vec::new(),
        esp_proposals: Vec::new(),
        dpd: None,
        lifetimes: Lifetimes::default(),
        redirect_auth: false,
        resumes: true,
        mobility: redirect_userspace::ike::config::Mobility::NONE,
        ppk: None,
    }
}

/// What this thread has used of a processor: others on the machine do not count.
pub(crate) fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}
