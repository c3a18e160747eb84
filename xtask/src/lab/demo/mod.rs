//! The demonstration: three nodes of our daemon elect a master, strongSwan clients that know only
//! the VIP arrive and are spread over all of them, a gateway fails and returns, the master is
//! killed and returns, and no client is lost. The gateways are the daemons themselves, or
//! strongSwan beside them.

mod acts;
mod screen;
mod stop;
mod visitors;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use anyhow::{Result, ensure};

use self::acts::Play;
use self::screen::{Row, Screen};
use self::stop::Stop;
use self::visitors::{News, Visitors};
use super::nodes::{Agent, Gateways, Nodes, Options as Cluster, Pace};
use super::topology::{VIP4, VIP6};
use super::wait::{Stopwatch, pause};

/// Nodes of the cluster.
const NODES: u8 = 3;
/// Namespaces that clients come from.
const SITES: u8 = 2;
/// IKE SAs that count as a full gateway.
const MAX_SESSION: u32 = 100;
/// Time between two clients.
const ARRIVALS: Duration = Duration::from_millis(400);
/// Time between two looks at the nodes.
const LOOKS: Duration = Duration::from_millis(500);
/// How long the cluster may take to be one again at the end.
const SETTLING: Duration = Duration::from_secs(30);

/// How to demonstrate.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// For how long; until Ctrl-C when absent.
    pub time: Option<Duration>,
    /// Who serves the clients.
    pub gateways: Gateways,
}

/// Runs the demonstration.
///
/// It ends after [`Options::time`], or with SIGINT, SIGTERM or SIGHUP; then it prints a summary
/// and removes everything it has made. Its removal does not depend on that order: see
/// [`Lab`](super::Lab).
///
/// # Errors
///
/// When the cluster cannot be built, a node fails that should not, or a client is lost.
pub fn run(options: Options) -> Result<()> {
    let stop = Stop::install()?;
    let screen = Screen::new();
    screen.line(&format!(
        "Building the cluster: three nodes with {}, two places for clients …",
        who(options)
    ))?;
    let watch = Stopwatch::start();
    let cluster = Cluster { nodes: NODES, gateways: options.gateways, clients: SITES, pace: Pace::CALM };
    let mut nodes = Nodes::build(cluster)?;
    for node in &mut nodes.nodes {
        node.settings.max_session = MAX_SESSION;
    }
    nodes.start_all()?;
    introduce(&screen, &nodes, options, watch.elapsed())?;

    let mut demonstration = Demonstration {
        screen,
        watch: Stopwatch::start(),
        play: Play::new(options.time),
        visitors: Visitors::new(nodes.clients.len()),
        rows: Vec::new(),
        states: BTreeMap::new(),
        elections: 0,
        // Our own gateways count their SAs themselves.
        agent: (options.gateways == Gateways::Strongswan).then(|| Agent::start(&nodes)),
        nodes,
    };
    let shown = demonstration.show(options.time, &stop);
    demonstration.screen.close()?;
    shown?;
    demonstration.summarise()?;
    let failed = demonstration.visitors.failed();
    drop(demonstration);
    ensure!(failed == 0, "{failed} clients were lost");
    Ok(())
}

/// What runs on the nodes.
const fn who(options: Options) -> &'static str {
    match options.gateways {
        Gateways::None | Gateways::Own => "redirectd",
        Gateways::Strongswan => "redirectd and strongSwan",
    }
}

fn introduce(screen: &Screen, nodes: &Nodes, options: Options, took: Duration) -> Result<()> {
    screen.line(&format!("Ready after {:.1} s.", took.as_secs_f64()))?;
    screen.line("")?;
    let Pace { hello, hold } = Pace::CALM;
    screen.line(&format!(
        "  VIP  {VIP4}, {VIP6}: elected by HSRP, hello {} ms, hold {} ms",
        hello.as_millis(),
        hold.as_millis()
    ))?;
    let gateway = match options.gateways {
        Gateways::None => "",
        Gateways::Own => " and IKEv2 gateway",
        Gateways::Strongswan => ", strongSwan",
    };
    for node in &nodes.nodes {
        let modes: Vec<_> = node.control().redirect()?.attached.into_iter().map(|at| at.mode).collect();
        screen.line(&format!(
            "  {}  {}, {}: {}, redirectd (XDP {}){gateway}",
            node.name,
            node.address4,
            node.address6,
            node.standby()?.state,
            modes.join(", ")
        ))?;
    }
    screen.line("")?;
    screen.line("Clients know the VIP and nothing else. Ctrl-C ends the demonstration.")?;
    screen.line("")?;
    Ok(())
}

/// Fields are dropped in order: who talks to the nodes before the nodes.
#[derive(Debug)]
struct Demonstration {
    screen: Screen,
    watch: Stopwatch,
    play: Play,
    visitors: Visitors,
    rows: Vec<Row>,
    /// What every node said last of its state in the election.
    states: BTreeMap<String, String>,
    /// How often a node became Active.
    elections: u32,
    #[expect(dead_code, reason = "it works as long as it lives")]
    agent: Option<Agent>,
    nodes: Nodes,
}

impl Demonstration {
    /// Shows until the time is up or someone stops it.
    fn show(&mut self, time: Option<Duration>, stop: &Stop) -> Result<()> {
        let (mut next_arrival, mut next_look) = (Duration::ZERO, Duration::ZERO);
        loop {
            let now = self.watch.elapsed();
            if stop.is_requested() {
                return self.look();
            }
            if time.is_some_and(|time| now >= time) {
                return self.finish(stop);
            }
            if now >= next_arrival {
                let news = self.visitors.arrive(&self.nodes)?;
                self.tell(vec![news])?;
                next_arrival += ARRIVALS;
            }
            if let Some(text) = self.play.go_on(now, &mut self.nodes)? {
                self.event("cluster", &text)?;
            }
            let news = self.visitors.look(&self.nodes)?;
            self.tell(news)?;
            if now >= next_look {
                self.look()?;
                next_look = now + LOOKS;
            }
            pause();
        }
    }

    /// Whoever has arrived is served, and the cluster is whole; Ctrl-C does not wait for that.
    fn finish(&mut self, stop: &Stop) -> Result<()> {
        if let Some(text) = self.play.finish(&mut self.nodes)? {
            self.event("cluster", &text)?;
        }
        self.nodes.wait_settled(SETTLING)?;
        while self.visitors.is_somebody_waiting() && !stop.is_requested() {
            let news = self.visitors.look(&self.nodes)?;
            self.tell(news)?;
            self.look()?;
        }
        if !stop.is_requested() {
            self.event("cluster", "a ping through every tunnel …")?;
            let news = self.visitors.settle(&self.nodes)?;
            self.tell(news)?;
        }
        self.look()
    }

    /// Brings the table up to date, and tells changes of state.
    fn look(&mut self) -> Result<()> {
        let mut states = BTreeMap::new();
        for node in &mut self.nodes.nodes {
            let state = if node.is_running() {
                node.check_running()?;
                // It may not answer yet.
                node.standby().map_or_else(|_starting| String::from("starting"), |group| group.state)
            } else {
                String::from("killed")
            };
            states.insert(node.name.clone(), state);
        }
        let before = std::mem::replace(&mut self.states, states);
        let changed: Vec<_> = self
            .states
            .iter()
            .filter(|(name, state)| before.get(*name) != Some(*state))
            .map(|(name, state)| (name.clone(), state.clone()))
            .collect();
        for (name, state) in changed {
            self.event("cluster", &format!("{name} is {state}"))?;
            self.elections += u32::from(state == "active");
        }
        self.rows = self.rows();
        self.screen.table(self.watch.elapsed(), &self.rows)?;
        Ok(())
    }

    fn rows(&self) -> Vec<Row> {
        let active = self.states.iter().find(|(_, state)| *state == "active").map(|(name, _)| name);
        let master = self.nodes.nodes.iter().find(|node| Some(&node.name) == active);
        // Between two masters nobody knows.
        let cluster = master.and_then(|node| node.cluster().ok());
        let rows = self.nodes.nodes.iter().map(|node| {
            let shown = cluster.as_ref().and_then(|cluster| cluster.gateway(&node.name));
            Row {
                node: node.name.clone(),
                state: self.states.get(&node.name).cloned().unwrap_or_default(),
                load: shown.and_then(|shown| shown.load),
                sessions: shown.and_then(|shown| shown.sessions),
                share: shown.map_or(0.0, |shown| shown.share),
                redirects: self.visitors.redirects_to(&node.name),
                tunnels: self.visitors.tunnels_to(&node.name),
            }
        });
        rows.collect()
    }

    /// What has been shown, in a few lines.
    fn summarise(&self) -> io::Result<()> {
        self.screen.line("")?;
        self.screen.line(&format!("After {:.0} s:", self.watch.elapsed().as_secs_f64()))?;
        self.screen.line("")?;
        self.screen.rows(&self.rows)?;
        self.screen.line("")?;
        self.screen.line(&format!("{}; {} elections", self.visitors.summary(), self.elections))?;
        self.screen.line("Removing namespaces and processes.")
    }

    fn tell(&self, news: Vec<News>) -> io::Result<()> {
        news.into_iter().try_for_each(|News { client, text }| self.event(&client, &text))
    }

    fn event(&self, who: &str, text: &str) -> io::Result<()> {
        let time = self.watch.elapsed().as_secs_f64();
        self.screen.line(&format!("{time:7.2} s  {who:<10}  {text}"))
    }
}
