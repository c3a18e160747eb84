//! A cluster under load in virtual time: clients arrive, are sent to a gateway, stay, leave.
//!
//! Everything that decides is the real code: the policies, the table that follows from the
//! shares, and the slot that follows from a client's SPI. Everything random follows from the
//! seed.
//!
//! # Picture
//!
//! ```text
//! client ── SPI ──▶ slot ──▶ gateway ── 0.2 s ──▶ session ── 60 s on average ──▶ gone
//!                    ▲          │
//!                  llg::fill    └── a report every 5 s ──┐
//!                    ▲                                   │
//!                 Balancer ◀── redirects, every 100 ms ──┘
//! ```

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a simulation of its own making may fail loudly; its numbers are small"
)]

mod dispatcher;
pub mod queue;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use self::dispatcher::Dispatcher;
use crate::clb::{BasisPoints, MasterSettings, Policy, Report};
use crate::rng::Rng;
use crate::time::Instant;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Determines everything random.
    pub seed: u64,
    /// The gateways' strengths, in relation to each other.
    pub strengths: Vec<u32>,
    /// Whether the last gateway joins empty when the run begins. The others have their sessions.
    pub joins_empty: bool,
    /// Clients per second.
    pub rate: f64,
    /// Mean time that a session lasts, in seconds.
    pub life: f64,
    /// Time from the redirect to the session.
    pub setup: Duration,
    /// Time between two reports of a gateway; their turns are spread evenly.
    pub report_every: Duration,
    /// Time between two tables.
    pub rewrite_every: Duration,
    /// How long the run is.
    pub duration: Duration,
    /// How the master chooses.
    pub settings: MasterSettings,
    /// What the gateways say about processors and memory.
    pub system: System,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// How the system load of a gateway comes about, in basis points.
#[derive(Clone, Copy, Debug, Default)]
pub struct System {
    /// Load for each session set up per second, over the gateway's strength.
    pub by_setup: f64,
    /// Greatest chance deviation, upwards.
    pub noise: u16,
    /// Memory in use, whatever happens, by gateway; 0 beyond the end.
    pub memory: &'static [u16],
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The gateway's reports are lost.
    Silent {
        /// Which.
        gateway: usize,
        /// From when.
        from: Duration,
        /// Until when.
        until: Duration,
    },
    /// The gateway dies with its sessions, is missed after the holdtime, and comes back empty.
    Dead {
        /// Which.
        gateway: usize,
        /// From when.
        from: Duration,
        /// Until when.
        until: Duration,
    },
    /// Requests with forged sources, which nobody follows up.
    Flood {
        /// How many per second.
        rate: f64,
        /// From when.
        from: Duration,
        /// Until when.
        until: Duration,
    },
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Greatest load over mean load, less one: mean of the settled part.
    pub imbalance: f64,
    /// The same at its worst moment in the settled part.
    pub worst_imbalance: f64,
    /// In each second of the settled part, the most sessions set up by a gateway over its fair
    /// part of them: the mean of that.
    pub peak_setups: f64,
    /// [`Self::peak_setups`] if a table with constant shares had split the same clients.
    pub peak_setups_ideal: f64,
    /// In each second of the settled part, the greatest share of the table over the fair share:
    /// the mean of that.
    pub peak_offered: f64,
    /// The same in the worst second of the settled part.
    pub worst_offered: f64,
    /// The same in the worst second of the whole run.
    pub worst_offered_ever: f64,
    /// Most sessions set up by a gateway in any second of the whole run, over its fair part of
    /// them.
    pub worst_setups_ever: f64,
    /// When the gateway that joined empty had 98 % of the mean load.
    pub filled_after: Option<f64>,
    /// Part of all slots that change hands in a second of the settled part.
    pub slots_moved: f64,
    /// Clients that were sent to a dead gateway, or to none.
    pub lost: u64,
}

impl Scenario {
    /// Eight gateways of which one joins empty, 500 clients a second, sessions of a minute.
    #[must_use]
    pub fn new(policy: Policy, report_every: Duration, seed: u64) -> Self {
        Self {
            seed,
            strengths: vec![1; 8],
            joins_empty: true,
            rate: 500.0,
            life: 60.0,
            setup: Duration::from_millis(200),
            report_every,
            rewrite_every: Duration::from_millis(100),
            duration: Duration::from_secs(500),
            settings: MasterSettings { policy, ..MasterSettings::default() },
            system: System::default(),
            faults: Vec::new(),
        }
    }

    /// The same with gateways of which some are stronger.
    #[must_use]
    pub fn with_strengths(mut self, strengths: &[u32]) -> Self {
        self.strengths = strengths.to_vec();
        self
    }

    /// Lets it happen.
    #[must_use]
    pub fn run(&self) -> Figures {
        Run::new(self).run()
    }
}

/// From here on a run counts as settled.
const SETTLED: f64 = 0.6;
/// Time after which the master misses a gateway.
const HOLDTIME: Duration = Duration::from_secs(3);
/// Part of `max-session` that is in use.
const USED: f64 = 0.5;
/// An IKE SA and a Child SA.
const SAS_PER_SESSION: f64 = 2.0;

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The gateway reports.
    Report(usize),
    /// A session of the gateway begins, of its how-manieth life.
    Begin(usize, u32),
    /// A session of the gateway ends.
    End(usize, u32),
    /// The gateway dies.
    Die(usize),
    /// It is missed.
    Missed(usize),
    /// It is back.
    Back(usize),
    /// The master looks at the counters and rewrites the table.
    Rewrite,
    /// A client arrives.
    Client,
    /// A second is over.
    Second,
}

struct Gateway {
    strength: f64,
    sessions: u32,
    /// Which life it is in; `None` while it is dead.
    life: Option<u32>,
    lives: u32,
    /// Sessions set up since the last report.
    set_up: u32,
    /// In this second.
    setups: u32,
    setups_ideal: u32,
    /// Shares of the table, summed up over the tables of this second.
    offered: f64,
}

struct Run<'a> {
    scenario: &'a Scenario,
    rng: Rng,
    now: Instant,
    queue: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    pushed: u64,
    gateways: Vec<Gateway>,
    strength: f64,
    dispatcher: Dispatcher,
    ideal: Dispatcher,
    tables: u32,
    settled: Mean,
    figures: Figures,
}

/// Sums for the means.
#[derive(Default)]
struct Mean {
    samples: u32,
    imbalance: f64,
    seconds: u32,
    setups: f64,
    setups_ideal: f64,
    offered: f64,
    moved: usize,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let strength: f64 = scenario.strengths.iter().copied().map(f64::from).sum();
        let sessions = scenario.rate * scenario.life;
        let unit = whole(sessions * SAS_PER_SESSION / strength / USED);
        let mut rng = Rng::from_number(scenario.seed);
        let multiplier = rng.u64();
        let capacities: Vec<_> = scenario.strengths.iter().map(|strength| strength * unit).collect();
        let gateways: Vec<_> = scenario.strengths.iter().map(|strength| Gateway::new(*strength)).collect();
        let mut run = Self {
            scenario,
            rng,
            now: Instant::START,
            queue: BinaryHeap::new(),
            pushed: 0,
            gateways,
            strength,
            dispatcher: Dispatcher::new(scenario.settings, &capacities, multiplier),
            ideal: Dispatcher::constant(&scenario.strengths, multiplier),
            tables: 0,
            settled: Mean::default(),
            figures: Figures::default(),
        };
        run.start(sessions);
        run
    }

    /// Fills the gateways, and lets everything begin.
    fn start(&mut self, sessions: f64) {
        let last = self.gateways.len() - 1;
        let empty = if self.scenario.joins_empty { Some(last) } else { None };
        let joined: f64 = empty.map_or(0.0, |last| self.gateways[last].strength);
        for at in 0..self.gateways.len() {
            if Some(at) != empty {
                let part = self.gateways[at].strength / (self.strength - joined);
                for _ in 0..whole(sessions * part) {
                    self.gateways[at].sessions += 1;
                    let life = self.life();
                    self.push(life, Event::End(at, 0));
                }
            }
            self.report(at);
            let turn = at as f64 / self.gateways.len() as f64;
            self.push(self.scenario.report_every.mul_f64(turn), Event::Report(at));
        }
        for fault in &self.scenario.faults {
            if let Fault::Dead { gateway, from, until } = *fault {
                self.push(from, Event::Die(gateway));
                self.push(from + HOLDTIME, Event::Missed(gateway));
                self.push(until, Event::Back(gateway));
            }
        }
        self.rewrite();
        self.push(self.scenario.rewrite_every, Event::Rewrite);
        self.push(Duration::from_secs(1), Event::Second);
        let gap = self.exponential(1.0 / self.scenario.rate);
        self.push(gap, Event::Client);
    }

    fn run(mut self) -> Figures {
        let end = Instant::START + self.scenario.duration;
        while let Some(Reverse((at, _, event))) = self.queue.pop() {
            if at >= end {
                break;
            }
            self.now = at;
            self.step(event);
        }
        let Mean { samples, imbalance, seconds, setups, setups_ideal, offered, moved } = self.settled;
        let (samples, seconds) = (f64::from(samples.max(1)), f64::from(seconds.max(1)));
        Figures {
            imbalance: imbalance / samples,
            peak_setups: setups / seconds,
            peak_setups_ideal: setups_ideal / seconds,
            peak_offered: offered / seconds,
            slots_moved: moved as f64 / common::maps::SLOTS as f64 / seconds,
            ..self.figures
        }
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Report(at) => {
                if !self.is_silent(at) {
                    self.report(at);
                }
                self.push(self.scenario.report_every, Event::Report(at));
            }
            Event::Begin(at, life) => {
                if self.gateways[at].life == Some(life) {
                    self.gateways[at].sessions += 1;
                    self.gateways[at].set_up += 1;
                    let ends = self.life();
                    self.push(ends, Event::End(at, life));
                } else {
                    self.figures.lost += 1;
                }
            }
            Event::End(at, life) => {
                if self.gateways[at].life == Some(life) {
                    self.gateways[at].sessions -= 1;
                }
            }
            Event::Die(at) => self.gateways[at].die(),
            Event::Missed(at) => self.dispatcher.set_available(at, false),
            Event::Back(at) => {
                self.gateways[at].come_back();
                self.dispatcher.join(at, self.now);
                self.report(at);
                self.dispatcher.set_available(at, true);
            }
            Event::Rewrite => {
                self.flood();
                self.rewrite();
                self.sample();
                self.push(self.scenario.rewrite_every, Event::Rewrite);
            }
            Event::Client => {
                self.client();
                let gap = self.exponential(1.0 / self.scenario.rate);
                self.push(gap, Event::Client);
            }
            Event::Second => {
                self.second();
                self.push(Duration::from_secs(1), Event::Second);
            }
        }
    }

    fn client(&mut self) {
        let spi = self.rng.u64();
        if let Some(at) = self.ideal.choose(spi) {
            self.gateways[at].setups_ideal += 1;
        }
        match self.dispatcher.choose(spi) {
            Some(at) => {
                self.gateways[at].setups += 1;
                // Whoever is dead does not answer, and is not dead for this client alone.
                let life = self.gateways[at].life.unwrap_or(u32::MAX);
                self.push(self.scenario.setup, Event::Begin(at, life));
            }
            None => self.figures.lost += 1,
        }
    }

    /// The forged requests since the last table.
    fn flood(&mut self) {
        let rates: f64 =
            self.faults().map(|fault| if let Fault::Flood { rate, .. } = fault { rate } else { 0.0 }).sum();
        for _ in 0..whole(rates * self.scenario.rewrite_every.as_secs_f64()) {
            let spi = self.rng.u64();
            self.dispatcher.choose(spi);
        }
    }

    fn is_silent(&self, at: usize) -> bool {
        self.faults().any(|fault| matches!(fault, Fault::Silent { gateway, .. } if gateway == at))
    }

    /// The faults that are there now.
    fn faults(&self) -> impl Iterator<Item = Fault> {
        let now = self.now.since_start();
        self.scenario.faults.iter().copied().filter(move |fault| match *fault {
            Fault::Silent { from, until, .. }
            | Fault::Dead { from, until, .. }
            | Fault::Flood { from, until, .. } => (from..until).contains(&now),
        })
    }

    fn report(&mut self, at: usize) {
        let System { by_setup, noise, memory } = self.scenario.system;
        let gateway = &mut self.gateways[at];
        if gateway.life.is_none() {
            return;
        }
        let seconds = self.scenario.report_every.as_secs_f64();
        let setups = f64::from(std::mem::take(&mut gateway.set_up)) / seconds / gateway.strength;
        let chance = self.rng.below(u64::from(noise) + 1);
        let cpu = whole(by_setup * setups) + u32::try_from(chance).unwrap_or(0);
        let report = Report {
            ike_sas: gateway.sessions,
            child_sas: gateway.sessions,
            cpu: BasisPoints::saturating(u16::try_from(cpu).unwrap_or(u16::MAX)),
            memory: BasisPoints::saturating(memory.get(at).copied().unwrap_or(0)),
            ..Report::default()
        };
        self.dispatcher.report(at, report, self.now);
    }

    fn rewrite(&mut self) {
        let moved = self.dispatcher.rewrite(self.now);
        self.tables += 1;
        for (gateway, share) in self.gateways.iter_mut().zip(self.dispatcher.shares()) {
            gateway.offered += share;
        }
        if self.is_settled() {
            self.settled.moved += moved;
        }
    }

    fn sample(&mut self) {
        let loads = self.gateways.iter().map(|gateway| f64::from(gateway.sessions) / gateway.strength);
        let most = loads.fold(0.0, f64::max);
        let sessions: u32 = self.gateways.iter().map(|gateway| gateway.sessions).sum();
        let mean = f64::from(sessions) / self.strength;
        if self.is_settled() {
            let imbalance = most / mean - 1.0;
            self.settled.samples += 1;
            self.settled.imbalance += imbalance;
            self.figures.worst_imbalance = self.figures.worst_imbalance.max(imbalance);
        }
        let last = self.gateways.last().map_or(0.0, |gateway| f64::from(gateway.sessions) / gateway.strength);
        if self.figures.filled_after.is_none() && last >= mean * 0.98 {
            self.figures.filled_after = Some(self.now.since_start().as_secs_f64());
        }
    }

    fn second(&mut self) {
        let tables = f64::from(std::mem::take(&mut self.tables).max(1));
        let all: u32 = self.gateways.iter().map(|gateway| gateway.setups).sum();
        let all = f64::from(all.max(1));
        let (mut setups, mut ideal, mut offered) = (0.0_f64, 0.0_f64, 0.0_f64);
        for gateway in &mut self.gateways {
            let fair = gateway.strength / self.strength;
            setups = setups.max(f64::from(std::mem::take(&mut gateway.setups)) / all / fair);
            ideal = ideal.max(f64::from(std::mem::take(&mut gateway.setups_ideal)) / all / fair);
            offered = offered.max(std::mem::take(&mut gateway.offered) / tables / fair);
        }
        if self.is_settled() {
            self.settled.seconds += 1;
            self.settled.setups += setups;
            self.settled.setups_ideal += ideal;
            self.settled.offered += offered;
            self.figures.worst_offered = self.figures.worst_offered.max(offered);
        }
        self.figures.worst_offered_ever = self.figures.worst_offered_ever.max(offered);
        self.figures.worst_setups_ever = self.figures.worst_setups_ever.max(setups);
    }

    fn is_settled(&self) -> bool {
        self.now.since_start() >= self.scenario.duration.mul_f64(SETTLED)
    }

    fn life(&mut self) -> Duration {
        self.exponential(self.scenario.life)
    }

    fn exponential(&mut self, mean: f64) -> Duration {
        exponential(&mut self.rng, mean)
    }

    fn push(&mut self, after: Duration, event: Event) {
        self.pushed += 1;
        self.queue.push(Reverse((self.now + after, self.pushed, event)));
    }
}

impl Gateway {
    fn new(strength: u32) -> Self {
        Self {
            strength: f64::from(strength),
            sessions: 0,
            life: Some(0),
            lives: 0,
            set_up: 0,
            setups: 0,
            setups_ideal: 0,
            offered: 0.0,
        }
    }

    fn die(&mut self) {
        self.life = None;
        self.sessions = 0;
        self.set_up = 0;
    }

    fn come_back(&mut self) {
        self.lives += 1;
        self.life = Some(self.lives);
    }
}

/// A duration from an exponential distribution, in seconds.
fn exponential(rng: &mut Rng, mean: f64) -> Duration {
    // 53 bits, never 0.
    let uniform = ((rng.u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    Duration::from_secs_f64(-uniform.ln() * mean)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn whole(value: f64) -> u32 {
    value.round() as u32
}
