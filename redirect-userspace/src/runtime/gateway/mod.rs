//! The IKEv2 gateway of this node: its workers, the addresses they give to clients, and what the
//! rest of the daemon wants of them.
//!
//! # Picture
//!
//! ```text
//!               ┌ worker 0: sockets ─ Endpoint ─ data plane ┐
//! core ─orders─▶┼ worker 1: sockets ─ Endpoint ─ data plane ┼─ one interface, one set of pools
//!      ◀─news── └ …                                         ┘
//! ```

mod door;
mod locate;
mod news;
mod plane;
mod radius;
mod work;
mod worker;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};
use tokio::sync::oneshot;

use self::door::{Door, Mailbox, Order};
use self::locate::local_address;
use self::news::{Board, Page};
use self::plane::Ground;
use self::radius::Radius;
use self::worker::{Parts, Worker};
use crate::config::Ike;
use crate::control::{DataplaneView, Durations, IkeFigures, SaPage, SaQuery};
use crate::crypto;
use crate::fastpath::userspace::{Keep, Kept};
use crate::ike::config::{Encapsulation, Name, Settings, Start};
use crate::ike::pool::Pool;
use crate::ike::redirect::Targets;
use crate::ike::ticket::{TicketId, Used, UsedTickets};
use crate::ike::{
    Command, CookieKeys, Drain, Endpoint, Event as IkeEvent, HandOver, Lease, LeaseRequest, Leases,
    NAT_T_PORT, Path, Pools, Redirect, Redirected, SaId, Selection, Shard, UsedTicket,
};
use crate::net::ike::{Port, Rank};
use crate::net::routes::Changes;
use crate::net::steer::worker_of;
use crate::net::tun::Prefix;

use crate::runtime::clock::{Clock, random};
use crate::telemetry::Event;
use crate::time::UnixTime;

/// The running gateway. Dropping it tells every peer that its SA is gone.
pub(super) struct Gateway {
    workers: Vec<Worker>,
    board: Arc<Board>,
    pools: SharedPools,
    served: Vec<Prefix>,
    settings: Arc<Settings>,
    durations: Durations,
    /// Dropped when no worker has a part of it any more.
    ground: Ground,
    /// Connections that nobody has to bring up.
    kept_up: Vec<(Name, Start)>,
}

/// News of the gateway for the core.
#[derive(Debug)]
pub(super) enum GatewayNews {
    /// Something happened, the earliest first, and clients have used tickets.
    Heard(Vec<Event>, Vec<Arc<UsedTicket>>),
    /// A worker has ended: the daemon cannot go on.
    Failed,
}

/// The pools, for all workers. Held for as long as it takes to find an address.
#[derive(Clone, Debug, Default)]
struct SharedPools(Arc<Mutex<Pools>>);

impl Leases for SharedPools {
    fn lease(&mut self, request: &LeaseRequest<'_>) -> Option<Lease> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lease(request)
    }

    fn claim(&mut self, holder: &[u8], address: IpAddr) -> Option<Lease> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).claim(holder, address)
    }

    fn release(&mut self, lease: Lease) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).release(lease);
    }
}

/// Which tickets have been used, for all workers. Held for as long as it takes to find one.
#[derive(Clone, Debug)]
struct SharedTickets(Arc<Mutex<Used>>);

impl UsedTickets for SharedTickets {
    fn run(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).run()
    }

    fn is_used(&self, id: TicketId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_used(id)
    }

    fn use_up(&mut self, now: UnixTime, id: TicketId, expires_at: UnixTime) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).use_up(now, id, expires_at)
    }
}

impl Gateway {
    /// Opens the sockets, makes the data plane and starts the workers.
    ///
    /// # Errors
    ///
    /// A port is in use, the TUN interface cannot be made, or the system has no room.
    pub(super) fn start(config: &Ike, clock: Clock, cookies: &CookieKeys) -> Result<Self> {
        crypto::prepare();
        let engine = &config.engine;
        let count = match engine.workers {
            Some(workers) => workers.get(),
            None => thread::available_parallelism().map_or(1, |cores| cores.get().try_into().unwrap_or(1)),
        };
        let mut ports = listen(&engine.listen, count)?;
        let board = Arc::new(Board::default());
        let pools = SharedPools::default();
        let mut rng = random()?;
        let (ground, planes) = Ground::lay(engine, &ports, &mut rng)?;
        let settings = for_data_plane(&config.settings, &ground);
        let mut mailboxes = (0..count).map(|_| Mailbox::new()).collect::<Result<Vec<_>>>()?;
        let doors: Vec<Door> = mailboxes.iter().map(Mailbox::door).collect();
        let tickets = SharedTickets(Arc::new(Mutex::new(Used::new(rng.u64()))));
        let mut workers = Vec::new();
        let numbered = (0..count).zip(ports.drain(..)).zip(mailboxes.drain(..));
        for (((number, own), mailbox), plane) in numbered.zip(planes) {
            let shard = Shard::new(number, count).unwrap_or(Shard::SOLE);
            let leases = Box::new(pools.clone());
            let endpoint = Endpoint::new(clock.now(), shard, Arc::clone(&settings), leases, rng.fork())
                .with_used_tickets(Box::new(tickets.clone()))
                .with_cookie_keys(clock.now(), cookies.clone());
            let radius = Radius::new(clock, Arc::clone(&config.radius), rng.fork())?;
            let parts = Parts {
                number: number.into(),
                clock,
                endpoint,
                radius,
                ports: own,
                plane,
                changes: changes()?,
                mailbox,
                others: others(&doors, number.into()),
                board: Arc::clone(&board),
            };
            workers.push(Worker::start(parts)?);
        }
        let mut gateway = Self {
            workers,
            board,
            pools,
            served: Vec::new(),
            settings,
            durations: Durations::default(),
            ground,
            kept_up: config.start.clone(),
        };
        gateway.set_pools(config);
        gateway.keep_up(&config.start);
        Ok(gateway)
    }

    /// Takes over what other sockets of this node got for it.
    pub(super) fn keep(&self) -> Arc<dyn Keep> {
        let workers = self.workers.iter().map(Worker::door).collect();
        Arc::new(Doors { workers })
    }

    /// Moves to other settings; what is listened on stays.
    pub(super) fn configure(&mut self, config: &Ike) {
        self.settings = for_data_plane(&config.settings, &self.ground);
        self.set_pools(config);
        self.tell_all(|| Order::Configure(Arc::clone(&self.settings), Arc::clone(&config.radius)));
        // Those that were kept up already are by the worker that they are with.
        let new: Vec<(Name, Start)> =
            config.start.iter().filter(|start| !self.kept_up.contains(start)).cloned().collect();
        self.kept_up.clone_from(&config.start);
        self.keep_up(&new);
    }

    fn set_pools(&mut self, config: &Ike) {
        let is_wanted = |name: &Name, pool: &Pool| {
            config.pools.iter().any(|wanted| {
                let made = Pool::new(wanted.subnet.network(), wanted.subnet.length());
                wanted.name == *name && made.is_ok_and(|made| made.has_same_addresses(pool))
            })
        };
        {
            let mut pools = self.pools.0.lock().unwrap_or_else(PoisonError::into_inner);
            let gone: Vec<Name> = pools
                .iter()
                .filter(|(name, pool)| !is_wanted(name, pool))
                .map(|(name, _)| name.clone())
                .collect();
            pools.retain(|name| !gone.contains(name));
            for pool in &config.pools {
                // The configuration has refused what is no subnet.
                if let Ok(made) = Pool::new(pool.subnet.network(), pool.subnet.length()) {
                    pools.add(pool.name.clone(), made);
                }
            }
        }
        let prefix = |pool: &crate::config::AddressPool| Prefix {
            network: pool.subnet.network(),
            length: pool.subnet.length(),
        };
        let wanted: Vec<Prefix> = config.pools.iter().map(prefix).collect();
        let ground = &self.ground;
        let (new, old) = (wanted.iter(), self.served.iter());
        new.filter(|prefix| !self.served.contains(prefix)).for_each(|prefix| ground.serve(*prefix));
        old.filter(|prefix| !wanted.contains(prefix)).for_each(|prefix| ground.unserve(*prefix));
        self.served = wanted;
    }

    /// The cluster has other members or loads.
    pub(super) fn set_targets(&self, targets: &Arc<Targets>) {
        self.tell_all(|| Order::Targets(Arc::clone(targets)));
    }

    /// Other addresses of the cluster than before are another node's. Nothing is waited for.
    pub(super) fn hand_over(&self, hand_over: HandOver) {
        let hand_over = Arc::new(hand_over);
        self.tell_all(|| Order::HandOver(Arc::clone(&hand_over)));
    }

    /// Tickets were used on other nodes.
    pub(super) fn tickets_used(&self, tickets: Vec<UsedTicket>) {
        let tickets: Arc<[Arc<UsedTicket>]> = tickets.into_iter().map(Arc::new).collect();
        self.tell_all(|| Order::TicketsUsed(Arc::clone(&tickets)));
    }

    /// Tells every worker what to do.
    pub(super) fn command(&self, command: &Command) {
        self.tell_all(|| Order::Command(command.clone()));
    }

    fn tell_all(&self, order: impl Fn() -> Order) {
        self.workers.iter().for_each(|worker| worker.order(order()));
    }

    /// Brings a connection up.
    ///
    /// # Errors
    ///
    /// Why it cannot be begun, in words.
    pub(super) fn connect(&self, name: &Name) -> Result<(), String> {
        let connection = self.settings.connections.iter().find(|it| it.profile.name == *name);
        let connection = connection.ok_or_else(|| format!("there is no connection {name}"))?;
        let mut why = "it has no remote".to_owned();
        for remote in &connection.remotes {
            match local_address(*remote) {
                Ok(local) => {
                    // On the way to another one than the first it is asked for again.
                    let is_first = connection.remotes.first() == Some(remote);
                    self.initiate(name, if is_first { local } else { Ipv4Addr::UNSPECIFIED.into() });
                    return Ok(());
                }
                Err(error) => why = format!("no way to {remote}: {error}"),
            }
        }
        Err(why)
    }

    /// Brings connections up, as soon as there is a way to one of their remotes, or a packet for them.
    fn keep_up(&self, connections: &[(Name, Start)]) {
        for (name, start) in connections {
            match start {
                Start::Auto => self.initiate(name, Ipv4Addr::UNSPECIFIED.into()),
                Start::Trap => self.command_client(Command::Watch { connection: name.clone() }),
                Start::Manual => {}
            }
        }
    }

    fn initiate(&self, name: &Name, local: IpAddr) {
        self.command_client(Command::Initiate { connection: name.clone(), local });
    }

    fn command_client(&self, command: Command) {
        // Any worker would do: its number is in the SPI. All are with the same one.
        if let Some(worker) = self.workers.first() {
            worker.order(Order::Command(command));
        }
    }

    /// How many SAs are meant, soon.
    pub(super) fn count(&self, selection: &Selection) -> impl Future<Output = u64> + use<> {
        let answers: Vec<oneshot::Receiver<u64>> = self
            .workers
            .iter()
            .map(|worker| {
                let (answer, waiting) = oneshot::channel();
                worker.order(Order::Count(selection.clone(), answer));
                waiting
            })
            .collect();
        async move {
            let mut sum = 0_u64;
            for answer in answers {
                sum = sum.saturating_add(answer.await.unwrap_or(0));
            }
            sum
        }
    }

    /// Tells clients to go elsewhere; how many, soon.
    pub(super) fn redirect(&self, redirect: &Redirect) -> impl Future<Output = Redirected> + use<> {
        let answers: Vec<oneshot::Receiver<Redirected>> = self
            .workers
            .iter()
            .map(|worker| {
                let (answer, waiting) = oneshot::channel();
                worker.order(Order::Redirect(redirect.clone(), answer));
                waiting
            })
            .collect();
        async move {
            let mut sum = Redirected::default();
            for answer in answers {
                let Redirected { selected, told } = answer.await.unwrap_or_default();
                sum.selected = sum.selected.saturating_add(selected);
                sum.told = sum.told.saturating_add(told);
            }
            sum
        }
    }

    /// A page of SAs, soon.
    pub(super) fn page(&self, query: SaQuery) -> impl Future<Output = SaPage> + use<> {
        let answers: Vec<oneshot::Receiver<SaPage>> = self
            .workers
            .iter()
            .map(|worker| {
                let (answer, waiting) = oneshot::channel();
                worker.order(Order::Page(query.clone(), answer));
                waiting
            })
            .collect();
        let settings = Arc::clone(&self.settings);
        async move {
            let mut picks = Vec::new();
            for answer in answers {
                picks.extend(answer.await);
            }
            SaPage::join(&query, picks, &settings)
        }
    }

    /// Whether there is an SA of this number, soon.
    pub(super) fn has(&self, id: SaId) -> impl Future<Output = bool> + use<> {
        let count = self.count(&Selection::Id(id));
        async move { count.await > 0 }
    }

    /// Who carries the packets of Child SAs.
    pub(super) fn dataplane(&self) -> DataplaneView {
        self.ground.view()
    }

    /// Has every worker lose its clients, as fits how many of all of them it has.
    pub(super) fn drain(&self, order: impl Fn(usize, usize) -> Drain) {
        let own: Vec<usize> = self.workers.iter().map(|worker| worker.figures().counts.established).collect();
        let all = own.iter().sum();
        for (worker, own) in self.workers.iter().zip(own) {
            worker.order(Order::Command(Command::Drain(order(own, all))));
        }
    }

    /// IKE SAs and Child SAs, for the load report.
    pub(super) fn sessions(&self) -> (u32, u32) {
        let (mut ike, mut children) = (0_usize, 0_usize);
        for worker in &self.workers {
            let counts = worker.figures().counts;
            ike += counts.established;
            children += counts.children;
        }
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        (number(ike), number(children))
    }

    /// Whether a worker asks those for a cookie who would like an SA.
    pub(super) fn wants_cookies(&self) -> bool {
        self.workers.iter().any(|worker| worker.figures().asks_for_cookies)
    }

    /// Everything that is counted.
    pub(super) fn figures(&self) -> IkeFigures {
        let mut figures = IkeFigures::default();
        for worker in &self.workers {
            let own = worker.figures();
            figures.add(&own.counts, &own.counters);
            figures.radius.add(&own.radius, &own.servers);
        }
        figures.carried = self.ground.usage();
        figures.durations = self.durations.clone();
        figures
    }

    /// The next news.
    pub(super) async fn news(&mut self) -> GatewayNews {
        let Page { events, used, lost, has_ended } = self.board.read().await;
        if has_ended {
            return GatewayNews::Failed;
        }
        if lost > 0 {
            tracing::warn!(lost, "news of the gateway were dropped: there were too many");
        }
        for event in &events {
            if let Event::Ike(IkeEvent::Established { took, .. }) = event {
                self.durations.note(*took);
            }
        }
        GatewayNews::Heard(events, used)
    }
}

/// The ways into the workers for datagrams that came to other sockets.
struct Doors {
    workers: Vec<Door>,
}

impl Keep for Doors {
    fn keep(&self, datagram: &Kept<'_>) {
        let path = Path { local: datagram.local, remote: datagram.peer };
        let count = u16::try_from(self.workers.len()).unwrap_or(u16::MAX);
        let number = worker_of(path.local.port(), datagram.payload, path.remote.ip(), count);
        if let Some(door) = self.workers.get(usize::from(number)) {
            door.bring(path, datagram.payload);
        }
    }
}

/// What becomes of this machine's addresses and routes.
fn changes() -> Result<Option<Changes>> {
    Changes::subscribe().map(Some).context("subscribing to changes of addresses and routes")
}

/// The ways into all workers but this one.
fn others(doors: &[Door], number: usize) -> Vec<Door> {
    let all = doors.iter().enumerate();
    all.filter(|(other, _)| *other != number).map(|(_, door)| door.clone()).collect()
}

/// The sockets of every worker: for each address both ports, and one for each rank.
fn listen(addresses: &[IpAddr], workers: u16) -> Result<Vec<Vec<Port>>> {
    let mut all: Vec<Vec<Port>> = (0..workers).map(|_| Vec::new()).collect();
    for address in addresses {
        for port in [IKE_PORT, NAT_T_PORT] {
            // The kernel counts the sockets of an address in the order in which they were bound.
            for rank in Rank::ALL {
                for own in &mut all {
                    let bound = Port::bind(SocketAddr::new(*address, port)).context("ike.listen")?;
                    own.push(bound.of_rank(rank));
                }
            }
            if let Some(last) = all.first().and_then(|own| own.last()) {
                last.steer(workers)?;
            }
        }
    }
    Ok(all)
}

/// The settings as the data plane needs them: one without raw sockets wants ESP in UDP.
fn for_data_plane(settings: &Arc<Settings>, ground: &Ground) -> Arc<Settings> {
    if !ground.needs_udp() {
        return Arc::clone(settings);
    }
    let mut settings = Settings::clone(settings);
    settings.encapsulation = Encapsulation::Always;
    Arc::new(settings)
}

/// News of the gateway, if there is one.
pub(super) async fn gateway_news(gateway: Option<&mut Gateway>) -> GatewayNews {
    match gateway {
        Some(gateway) => gateway.news().await,
        None => std::future::pending().await,
    }
}

/// Where IKE is spoken without NATs.
const IKE_PORT: u16 = 500;
