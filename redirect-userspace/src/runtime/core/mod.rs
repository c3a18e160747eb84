//! The one loop that steps the machines and executes what they say.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use common::reason::Reason;
use tokio::sync::{mpsc, watch};

use crate::cluster::{Cluster, Input, Output};
use crate::config::{Config, Mode, vips_to_map};
use crate::control::IkeFigures;
use crate::control::{CoreRequest, GatewayRedirects, LlgView, RedirectView, Snapshot};
use crate::fastpath::guard::BEAT;
use crate::fastpath::{Counters, FastPath as _};
use crate::ike::CookieKeys;
use crate::machine::{Machine as _, Outbox};
use crate::telemetry::{DisarmReason, Event, StopReason, Telemetry};

use crate::runtime::Load;
use crate::runtime::attach::{Interface, attach};
use crate::runtime::clock::{Clock, Ticker, random};
use crate::runtime::gateway::{Gateway, GatewayNews, gateway_news};
use crate::runtime::guard::{Guard, News};
use crate::runtime::paths::Paths;
use crate::runtime::signals::{Request, Signals};

use self::aim::Aim;
use self::drain::Draining;
use self::elected::{Elections, spoken};
use self::gate::Gate;
use self::leaving::Elsewhere;
use self::papers::Tending;

mod aim;
mod drain;
mod elected;
mod gate;
mod interfaces;
mod leaving;
mod papers;
mod reload;
mod tickets;

/// Beats between two looks at the counters: the age of what `show` and a scrape see.
const BEATS_PER_REFRESH: u32 = 2;
/// Beats between two looks at whether the interfaces are still the ones we attached to.
const BEATS_PER_INSPECTION: u32 = 10;
/// Beats between two samples of this node's load: half a second evens out single bursts.
const BEATS_PER_SAMPLE: u32 = 5;

/// Beats between two looks at certificates and the files that they are in.
const BEATS_PER_LOOK: u32 = 10;

/// Guards that may end one after the other before the daemon gives up: something then keeps them
/// from working that a restart may mend.
const MAX_GUARD_LOSSES: u32 = 5;

/// Everything the daemon owns.
pub(super) struct Core {
    config: Config,
    load: Load,
    clock: Clock,
    telemetry: Telemetry,
    snapshots: watch::Sender<Arc<Snapshot>>,
    cluster: Cluster,
    elections: Elections,
    outbox: Outbox<Output>,
    paths: Paths,
    guard: Option<Guard>,
    /// Guards that ended since one has attached something.
    guard_losses: u32,
    /// Interfaces whose virtual addresses the guard looks after.
    entrusted: Vec<u32>,
    interfaces: Vec<Interface>,
    counters: Counters,
    gateway: Option<Gateway>,
    /// Where the gateway sends clients: as the fast path does.
    aim: Aim,
    elsewhere: Elsewhere,
    gate: Gate,
    papers: Tending,
    /// While this node loses its clients.
    draining: Option<Draining>,
    /// Whether the operator drains a node that is in no elected cluster.
    is_drained_alone: bool,
    /// Whether the daemon ends.
    is_stopping: bool,
    /// `Err` with the reason while requests are not answered.
    armed: Result<(), DisarmReason>,
}

impl Core {
    /// Builds everything up to the armed fast path. On failure everything that was built is taken
    /// down again, and the telemetry comes back for the last event.
    pub(super) async fn start(
        config: Config,
        load: Load,
        clock: Clock,
        telemetry: Telemetry,
        snapshots: watch::Sender<Arc<Snapshot>>,
    ) -> Result<Self, (anyhow::Error, Telemetry)> {
        let loaded = random().and_then(|mut rng| {
            let multiplier = rng.u64();
            let gate = Gate::new(clock.now(), CookieKeys::new(clock.now(), &mut rng));
            Ok((Paths::load(&config, multiplier)?, multiplier, gate, rng))
        });
        let (paths, multiplier, gate, rng) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                crate::fastpath::xdp::unpin(&config.runtime.bpf_pin);
                return Err((error, telemetry));
            }
        };
        let mut core = Self {
            cluster: Cluster::new(config.cluster.settings, rng),
            elections: Elections::new(),
            config,
            load,
            clock,
            telemetry,
            snapshots,
            outbox: Outbox::new(),
            paths,
            guard: None,
            guard_losses: 0,
            entrusted: Vec::new(),
            interfaces: Vec::new(),
            gateway: None,
            aim: Aim::new(multiplier),
            elsewhere: Elsewhere::default(),
            gate,
            papers: Tending::default(),
            draining: None,
            is_drained_alone: false,
            is_stopping: false,
            counters: Counters::default(),
            armed: Err(DisarmReason::NotAttached),
        };
        match core.bring_up().await {
            Ok(()) => Ok(core),
            Err(error) => {
                core.take_down().await;
                Err((error, core.telemetry))
            }
        }
    }

    async fn bring_up(&mut self) -> Result<()> {
        if self.needs_guard() {
            self.guard = Some(Guard::start(&self.config.runtime.bpf_pin)?);
        }
        self.paths.set_vips(&vips_to_map(&self.vips()))?;
        self.paths.set_clients(&self.config.redirect.clients_to_map())?;
        self.step(Input::Members(self.members()))?;
        for name in self.config.fast_path.interfaces.clone() {
            let mode = self.config.fast_path.mode;
            let interface = attach(&name, mode, self.guard.as_mut(), self.paths.no_xdp.as_deref()).await?;
            self.attached(&interface);
            self.interfaces.push(interface);
        }
        // Whoever is sent here by the others finds somebody.
        if let Some(ike) = &self.config.ike {
            let gateway = Gateway::start(ike, self.clock, &self.gate.keys())?;
            self.paths.set_keep(gateway.keep());
            self.gateway = Some(gateway);
        }
        self.listen_if_needed()?;
        self.arm()?;
        self.entrust().await;
        // Only now: whoever takes over is ready to answer.
        self.tend()?;
        self.tend_papers().await;
        self.elect()?;
        self.refresh()
    }

    /// The addresses that requests are answered for.
    fn vips(&self) -> Vec<IpAddr> {
        let mut vips = self.config.redirect.vips.clone();
        vips.extend(self.elections.vips(&self.config));
        vips
    }

    /// The addresses on which sockets listen: those that are answered for, and those that another
    /// router holds now, so that taking over opens nothing. A socket on a link-local address would
    /// belong to one interface; clients ask another one.
    fn listened(&self, config: &Config) -> Vec<IpAddr> {
        let vips = config.redirect.vips.iter().copied().chain(self.elections.eligible(config));
        vips.filter(|vip| !is_link_local(*vip)).collect()
    }

    /// Runs until a signal says stop.
    ///
    /// # Errors
    ///
    /// Something failed that cannot be mended while running.
    pub(super) async fn run(
        &mut self,
        mut signals: Signals,
        mut requests: mpsc::Receiver<CoreRequest>,
    ) -> Result<()> {
        let mut ticker = Ticker::every(BEAT);
        let mut beats = 0_u32;
        // Whether it is drained, to end then.
        let mut is_ending = false;
        loop {
            let deadline = self.cluster.deadline().map(|deadline| deadline.at);
            tokio::select! {
                biased;
                request = signals.next() => match request {
                    // Whoever says it twice does not want to wait.
                    Request::Stop if is_ending || !self.drain_before_stop()? => return Ok(()),
                    Request::Stop => is_ending = true,
                    Request::Reload => {
                        // The event says how it went.
                        let _told = self.reload().await;
                    }
                },
                news = spoken(self.elections.speaker.as_mut()) => self.heed(news)?,
                news = news(self.guard.as_mut()) => self.recover(news).await?,
                () = ticker.tick() => {
                    beats = beats.wrapping_add(1);
                    self.beat(beats).await?;
                    if is_ending && self.has_drained() {
                        self.follow_drain();
                        return Ok(());
                    }
                }
                () = self.clock.until(deadline) => self.step(Input::Timeout)?,
                news = gateway_news(self.gateway.as_mut()) => match news {
                    GatewayNews::Heard(events, used) => {
                        events.iter().for_each(|event| self.record(event));
                        self.share(&used)?;
                    }
                    GatewayNews::Failed => bail!("a worker of the gateway has ended"),
                },
                Some(event) = self.elections.events.recv() => self.converse(event)?,
                Some(request) = requests.recv() => self.answer(request).await?,
                Some(outcome) = self.elections.outcomes.recv() => self.hooked(outcome),
            }
        }
    }

    async fn beat(&mut self, beats: u32) -> Result<()> {
        if let Some(guard) = &mut self.guard {
            guard.beat();
        }
        self.paths.beat();
        if let Some(speaker) = &self.elections.speaker {
            speaker.beat();
        }
        self.count()?;
        self.tend_gate()?;
        if beats.is_multiple_of(BEATS_PER_SAMPLE) {
            self.tend()?;
        }
        if beats.is_multiple_of(BEATS_PER_INSPECTION) {
            self.inspect().await?;
        }
        if beats.is_multiple_of(BEATS_PER_LOOK) {
            self.tend_papers().await;
        }
        if beats.is_multiple_of(BEATS_PER_REFRESH) {
            self.refresh()?;
        }
        Ok(())
    }

    /// Steps the cluster machine and executes its outputs in order.
    fn step(&mut self, input: Input<'_>) -> Result<()> {
        self.cluster.step(self.clock.now(), input, &mut self.outbox);
        let mut used = Vec::new();
        while let Some(output) = self.outbox.pop() {
            match output {
                Output::SetGateway { index, gateway } => {
                    self.paths.set_gateway(u32::from(index.value()), &gateway)?;
                }
                Output::Publish(table) => {
                    self.paths.publish(&table.to_map())?;
                    self.aim.table = Some(table);
                }
                Output::Event(event) => self.record(&Event::from(&event)),
                Output::Listen { at } => self.listen(at),
                Output::Unlisten => self.unlisten(),
                Output::Dial { connection, to } => self.dial(connection, to),
                Output::Write { peer, octets } => self.write(peer, octets.as_ref().to_vec()),
                Output::Close { peer } => self.close(peer),
                Output::TicketUsed(ticket) => used.push(tickets::to_ike(&ticket)),
            }
        }
        if let Some(gateway) = self.gateway.as_ref().filter(|_| !used.is_empty()) {
            gateway.tickets_used(used);
        }
        Ok(())
    }

    /// Reads the counters, and tells the cluster who was sent where.
    fn count(&mut self) -> Result<()> {
        self.counters = self.paths.counters()?;
        let redirects = std::mem::take(&mut self.counters.redirects);
        self.step(Input::Redirects(&redirects))?;
        self.counters.redirects = redirects;
        self.step(Input::Kept(self.counters.packets(Reason::LocalIsLlg)))
    }

    /// Publishes a new snapshot.
    fn refresh(&mut self) -> Result<()> {
        self.paths.flush_log();
        self.count()?;
        let now = self.clock.now();
        let cluster = self.cluster.snapshot(now);
        let program_id = self.paths.program_id();
        let is_listening = self.paths.is_listening();
        let attached = self.interfaces.iter().filter_map(|i| i.view(program_id, is_listening)).collect();
        let snapshot = Snapshot {
            redirect: RedirectView {
                attached,
                armed: self.armed.is_ok(),
                disarmed_reason: self.armed.err().map(|reason| reason.name().to_owned()),
                counters: RedirectView::counters(&self.counters.packets),
                gateways: cluster.gateways.iter().map(GatewayRedirects::from).collect(),
                dataplane: self.gateway.as_ref().map(Gateway::dataplane),
            },
            cluster: self.cluster_view(&cluster),
            llg: LlgView::from(&cluster),
            at: now.wall,
            standby: self.standby_views(),
            ike: self.ike_figures()?,
            drain: self.drain_status(),
            certificates: Arc::clone(&self.papers.shown),
        };
        self.aim(&cluster);
        self.snapshots.send_replace(Arc::new(snapshot));
        Ok(())
    }

    /// Everything that is counted of the gateway.
    fn ike_figures(&self) -> Result<Option<IkeFigures>> {
        let Some(gateway) = &self.gateway else { return Ok(None) };
        let mut figures = gateway.figures();
        let counts = self.paths.gate_counts()?;
        (figures.gate_asked, figures.gate_good) = (counts.asked, counts.good);
        Ok(Some(figures))
    }

    /// Sockets answer where an interface could not take the program, or where none was named. Where
    /// nothing is redirected they would only take the requests away from the IKE daemon.
    fn listen_if_needed(&mut self) -> Result<()> {
        let without_xdp = self.interfaces.iter().any(|interface| interface.xdp.is_none());
        let is_needed = match self.config.fast_path.mode {
            Mode::Off | Mode::Native | Mode::Generic => false,
            Mode::Userspace => true,
            Mode::Auto => without_xdp || self.interfaces.is_empty(),
        };
        let vips = self.listened(&self.config);
        if !is_needed || !self.config.redirect.on_init || vips.is_empty() {
            self.paths.stop_listening();
            return Ok(());
        }
        let why = self.interfaces.iter().find(|interface| interface.xdp.is_none());
        let why = why.map_or_else(String::new, |interface| format!(" (sockets are used: {})", interface.why));
        self.paths.listen(&vips).with_context(|| format!("redirect.vip{why}"))
    }

    /// Arms the fast path if there is something to answer for and somewhere to answer.
    fn arm(&mut self) -> Result<()> {
        let is_attached = self.paths.is_listening() || self.interfaces.iter().any(|i| i.xdp.is_some());
        let armed = if self.vips().is_empty() {
            Err(DisarmReason::NoVip)
        } else if !self.config.redirect.on_init || self.config.fast_path.mode == Mode::Off {
            Err(DisarmReason::Off)
        } else if !is_attached {
            Err(DisarmReason::NotAttached)
        } else {
            Ok(())
        };
        self.set_armed(armed)
    }

    fn set_armed(&mut self, armed: Result<(), DisarmReason>) -> Result<()> {
        self.paths.arm(armed.is_ok())?;
        if armed != self.armed {
            match armed {
                Ok(()) => self.record(&Event::Armed),
                Err(reason) => self.record(&Event::Disarmed { reason }),
            }
        }
        self.armed = armed;
        Ok(())
    }

    /// Disarms, lets go of everything and says why.
    pub(super) async fn stop(mut self, reason: StopReason) {
        // Detaching follows at once; a map that refuses a write changes nothing about that.
        let _refused = self.set_armed(Err(DisarmReason::Stopping));
        self.is_stopping = true;
        let is_somebody_gone = self.evacuate();
        self.leave().await;
        if is_somebody_gone {
            self.linger().await;
        }
        // After the others know that nobody is to be sent here any more.
        self.gateway = None;
        self.take_down().await;
        self.record(&Event::Stopped { reason });
    }

    async fn take_down(&mut self) {
        // After a start that failed half-way it still runs.
        if let Some(speaker) = self.elections.speaker.take() {
            speaker.stop().await;
        }
        self.paths.stop_listening();
        if let Some(guard) = self.guard.take() {
            guard.stop().await;
        }
        if self.paths.has_xdp() {
            crate::fastpath::xdp::unpin(&self.config.runtime.bpf_pin);
        }
    }

    fn record(&self, event: &Event) {
        self.telemetry.record(self.clock.now().wall, event);
    }
}

const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// News of the guard, if there is one.
async fn news(guard: Option<&mut Guard>) -> News {
    match guard {
        Some(guard) => guard.news().await,
        None => std::future::pending().await,
    }
}
