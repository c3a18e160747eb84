//! Clients that queue at a server, one being served at a time: the model in which policies with
//! old information are usually compared (Mitzenmacher, "How Useful Is Old Information?", 2000).
//!
//! Eight servers, service time 1 s on average, reports of the queue lengths every 10 s, all at
//! the same moment. The figure is the mean time from arrival to the end of the service.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::dispatcher::Dispatcher;
use super::exponential;
use crate::clb::{MasterSettings, Policy, Report};
use crate::rng::Rng;
use crate::time::Instant;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Queues {
    /// Determines everything random.
    pub seed: u64,
    /// Number of servers.
    pub servers: usize,
    /// Clients per second and server.
    pub load: f64,
    /// Time between two reports.
    pub report_every: Duration,
    /// How long the run is.
    pub duration: Duration,
    /// Who chooses.
    pub chooser: Chooser,
}

/// Who chooses the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chooser {
    /// The real code, with a policy.
    Policy(Policy),
    /// Whoever has the shortest queue at that moment.
    Shortest,
    /// Chance.
    Random,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Done(usize),
    Report,
    Rewrite,
    Client,
}

impl Queues {
    /// Eight servers with a load of 0.9, reports every 10 s.
    #[must_use]
    pub const fn new(chooser: Chooser, seed: u64) -> Self {
        Self {
            seed,
            servers: 8,
            load: 0.9,
            report_every: Duration::from_secs(10),
            duration: Duration::from_secs(5_000),
            chooser,
        }
    }

    /// The mean time that a client spends, in service times.
    #[must_use]
    pub fn mean_time(&self) -> f64 {
        let policy = match self.chooser {
            Chooser::Policy(policy) => policy,
            Chooser::Shortest | Chooser::Random => Policy::default(),
        };
        let mut rng = Rng::from_number(self.seed);
        let settings = MasterSettings { policy, ..MasterSettings::default() };
        let mut dispatcher = Dispatcher::new(settings, &vec![MAX_SESSION; self.servers], rng.u64());
        let mut queues: Vec<VecDeque<Instant>> = vec![VecDeque::new(); self.servers];
        let mut events = BinaryHeap::new();
        let mut now = Instant::START;
        events.push(Reverse((now, Event::Client)));
        if matches!(self.chooser, Chooser::Policy(_)) {
            events.extend([Event::Report, Event::Rewrite].map(|event| Reverse((now, event))));
        }
        let (mut time, mut clients) = (0.0, 0_u32);
        let gap = 1.0 / (self.load * self.servers as f64);
        while let Some(Reverse((at, event))) = events.pop() {
            if at >= Instant::START + self.duration {
                break;
            }
            now = at;
            match event {
                Event::Report => {
                    for (server, queue) in queues.iter().enumerate() {
                        let length = u32::try_from(queue.len()).unwrap_or(u32::MAX);
                        let report = Report { ike_sas: length, child_sas: length, ..Report::default() };
                        dispatcher.report(server, report, now);
                    }
                    events.push(Reverse((now + self.report_every, event)));
                }
                Event::Rewrite => {
                    dispatcher.rewrite(now);
                    events.push(Reverse((now + REWRITE_EVERY, event)));
                }
                Event::Client => {
                    let spi = rng.u64();
                    let server = match self.chooser {
                        Chooser::Policy(_) => dispatcher.choose(spi).unwrap_or(0),
                        Chooser::Shortest => shortest(&queues),
                        Chooser::Random => usize::try_from(rng.below(self.servers as u64)).unwrap_or(0),
                    };
                    queues[server].push_back(now);
                    if queues[server].len() == 1 {
                        events.push(Reverse((now + exponential(&mut rng, 1.0), Event::Done(server))));
                    }
                    events.push(Reverse((now + exponential(&mut rng, gap), event)));
                }
                Event::Done(server) => {
                    if let Some(came) = queues[server].pop_front() {
                        time += now.since(came).as_secs_f64();
                        clients += 1;
                    }
                    if !queues[server].is_empty() {
                        events.push(Reverse((now + exponential(&mut rng, 1.0), event)));
                    }
                }
            }
        }
        time / f64::from(clients.max(1))
    }
}

fn shortest(queues: &[VecDeque<Instant>]) -> usize {
    (0..queues.len()).min_by_key(|server| queues[*server].len()).unwrap_or(0)
}

/// SAs that a server takes.
const MAX_SESSION: u32 = 1_000;
/// Time between two tables.
const REWRITE_EVERY: Duration = Duration::from_millis(100);
