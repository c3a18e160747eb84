//! The demonstration: strongSwan clients that know only the VIP arrive and are spread over
//! three strongSwan gateways, for everyone to watch.

mod screen;
mod stop;

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use self::screen::{Row, Screen};
use self::stop::Stop;
use super::balancer::{Member, Redirectd};
use super::control::ShowRedirect;
use super::topology::{Cluster, Options as Topology, VIP4, VIP6};
use super::wait::{Stopwatch, pause};

/// Weights of the gateways, and so their number.
const WEIGHTS: [u16; 3] = [1, 1, 2];
/// Namespaces that clients come from.
const SITES: u8 = 2;
/// Time between two clients.
const ARRIVALS: Duration = Duration::from_millis(400);
/// Time between two looks at the daemon's counters.
const LOOKS: Duration = Duration::from_millis(500);
/// How long a tunnel, and a ping through it, may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Tunnels that stay: the gateways' pools are finite, the demonstration is not.
const TUNNELS: usize = 60;

/// How to demonstrate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// For how long; until Ctrl-C when absent.
    pub time: Option<Duration>,
}

/// Runs the demonstration.
///
/// It ends after [`Options::time`], or with SIGINT, SIGTERM or SIGHUP; then it prints a summary
/// and removes everything it has made. Its removal does not depend on that order: see
/// [`Lab`](super::Lab).
///
/// # Errors
///
/// When the cluster cannot be built, the daemon fails, or a client did not get its tunnel.
pub fn run(options: Options) -> Result<()> {
    let stop = Stop::install()?;
    let screen = Screen::new();
    screen.line("Building the cluster: one balancer, three strongSwan gateways, two places for clients …")?;
    let watch = Stopwatch::start();
    let clients = SITES;
    let gateways = u8::try_from(WEIGHTS.len()).context("number of gateways")?;
    let cluster = Cluster::build(Topology { gateways, clients, ..Topology::default() })?;
    let members: Vec<_> =
        cluster.gateways.iter().zip(WEIGHTS).map(|(gateway, weight)| Member::of(gateway, weight)).collect();
    let daemon = Redirectd::start(&cluster, &members)?;
    let redirect = daemon.show_redirect()?;
    introduce(&screen, &redirect, &members, watch.elapsed())?;

    let mut demonstration = Demonstration {
        screen,
        members,
        redirect,
        watch: Stopwatch::start(),
        arrived: 0,
        waiting: Vec::new(),
        up: VecDeque::new(),
        logs: [0; SITES as usize],
        pings: Vec::new(),
        failed: Vec::new(),
        daemon,
        cluster,
    };
    let shown = demonstration.show(options.time, &stop);
    demonstration.screen.close()?;
    shown?;
    demonstration.summarise()?;
    let failed = demonstration.failed.len();
    drop(demonstration);
    ensure!(failed == 0, "{failed} clients did not get their tunnel");
    Ok(())
}

fn introduce(screen: &Screen, redirect: &ShowRedirect, members: &[Member], took: Duration) -> Result<()> {
    let attached: Vec<_> =
        redirect.attached.iter().map(|at| format!("{} ({})", at.interface, at.mode)).collect();
    screen.line(&format!("Ready after {:.1} s.", took.as_secs_f64()))?;
    screen.line("")?;
    screen.line(&format!("  VIP  {VIP4}, {VIP6}: redirectd on {}", attached.join(", ")))?;
    for member in members {
        let addresses: Vec<_> = member.addresses.iter().map(IpAddr::to_string).collect();
        let weight = member.weight;
        screen.line(&format!("  {}  {}: strongSwan, weight {weight}", member.name, addresses.join(", ")))?;
    }
    screen.line("")?;
    screen.line("Clients know the VIP and nothing else. Ctrl-C ends the demonstration.")?;
    screen.line("")?;
    Ok(())
}

/// A client that has arrived.
#[derive(Debug)]
struct Visitor {
    name: String,
    /// Index of the place it comes from.
    site: usize,
    since: Stopwatch,
    gateway: Option<IpAddr>,
}

/// Fields are dropped in order: the daemon before the cluster it runs in.
#[derive(Debug)]
struct Demonstration {
    screen: Screen,
    members: Vec<Member>,
    redirect: ShowRedirect,
    watch: Stopwatch,
    arrived: u32,
    waiting: Vec<Visitor>,
    up: VecDeque<Visitor>,
    /// How far each place's log has been read.
    logs: [u64; SITES as usize],
    pings: Vec<Duration>,
    failed: Vec<String>,
    daemon: Redirectd,
    cluster: Cluster,
}

impl Demonstration {
    /// Shows until the time is up or someone stops it.
    fn show(&mut self, time: Option<Duration>, stop: &Stop) -> Result<()> {
        let (mut next_arrival, mut next_look) = (Duration::ZERO, Duration::ZERO);
        loop {
            let now = self.watch.elapsed();
            let is_over = stop.is_requested() || time.is_some_and(|time| now >= time);
            // Whoever has arrived is served; Ctrl-C does not wait for that.
            if is_over && (self.waiting.is_empty() || stop.is_requested()) {
                return self.look();
            }
            if !is_over && now >= next_arrival {
                self.arrive()?;
                next_arrival += ARRIVALS;
            }
            self.report_redirects()?;
            self.report_tunnels()?;
            if now >= next_look {
                self.look()?;
                next_look = now + LOOKS;
            }
            pause();
        }
    }

    /// A new client with an identity of its own asks the VIP, IPv4 and IPv6 in turn.
    fn arrive(&mut self) -> Result<()> {
        self.arrived += 1;
        let name = format!("client-{:03}", self.arrived);
        let site = usize::try_from(self.arrived)? % self.cluster.clients.len();
        let vip = if self.arrived.div_ceil(2).is_multiple_of(2) { VIP6.into() } else { VIP4.into() };
        let client = self.cluster.clients.get(site).context("no place for clients")?;
        let connection = client.connection(&name, vip, 500);
        client.charon.add_client(&connection)?;
        let since = Stopwatch::start();
        client.charon.initiate(&name)?;
        let local = connection.local;
        self.event(&name, &format!("{local} asks the VIP {vip}"))?;
        self.waiting.push(Visitor { name, site, since, gateway: None });
        Ok(())
    }

    /// Prints the redirects that clients have obeyed.
    fn report_redirects(&mut self) -> Result<()> {
        let mut obeyed = Vec::new();
        for (client, position) in self.cluster.clients.iter().zip(&mut self.logs) {
            obeyed.extend(client.charon.redirects(position)?);
        }
        for redirect in obeyed {
            let name = self.gateway_name(redirect.gateway);
            self.event(&redirect.client, &format!("REDIRECT to {name} at {}", redirect.gateway))?;
            for visitor in &mut self.waiting {
                if visitor.name == redirect.client {
                    visitor.gateway = Some(redirect.gateway);
                }
            }
        }
        Ok(())
    }

    /// Prints the tunnels that have come up, each with a ping through it.
    fn report_tunnels(&mut self) -> Result<()> {
        for mut visitor in std::mem::take(&mut self.waiting) {
            let client = self.cluster.clients.get(visitor.site).context("no such place")?;
            let tunnels = client.charon.tunnels()?;
            let tunnel = tunnels.iter().find(|tunnel| tunnel.name == visitor.name && tunnel.is_up());
            let took = visitor.since.elapsed();
            // The log is read before the tunnels: the next round has the redirect.
            match tunnel.filter(|_| visitor.gateway.is_some()) {
                Some(tunnel) => {
                    let ping = client.charon.ping_through(tunnel, PATIENCE);
                    let addresses: Vec<_> = tunnel.virtual_addresses.iter().map(IpAddr::to_string).collect();
                    let mut text = format!(
                        "tunnel to {} after {} ms as {}",
                        tunnel.remote_id,
                        took.as_millis(),
                        addresses.join(", ")
                    );
                    match ping {
                        Ok(ping) => {
                            text.push_str(&format!(", ping {:.1} ms", ping.as_secs_f64() * 1000.0));
                            self.pings.push(ping);
                        }
                        Err(error) => {
                            text.push_str(&format!(", NO PING: {error:#}"));
                            self.failed.push(visitor.name.clone());
                        }
                    }
                    visitor.gateway = Some(tunnel.remote);
                    self.event(&visitor.name, &text)?;
                    self.up.push_back(visitor);
                }
                None if took > PATIENCE => {
                    self.event(&visitor.name, &format!("NO TUNNEL after {} s", took.as_secs()))?;
                    self.failed.push(visitor.name);
                }
                None => self.waiting.push(visitor),
            }
        }
        while self.up.len() > TUNNELS {
            let Some(oldest) = self.up.pop_front() else { break };
            let client = self.cluster.clients.get(oldest.site).context("no such place")?;
            client.charon.remove_client(&oldest.name)?;
            self.event(&oldest.name, "leaves")?;
        }
        Ok(())
    }

    /// Brings the table of shares up to date.
    fn look(&mut self) -> Result<()> {
        self.daemon.check_running()?;
        self.redirect = self.daemon.show_redirect()?;
        let rows = self.rows();
        self.screen.table(self.watch.elapsed(), &rows)?;
        Ok(())
    }

    fn rows(&self) -> Vec<Row> {
        let weights: u32 = self.members.iter().map(|member| u32::from(member.weight)).sum();
        let redirects_to = |name: &str| {
            let counted = self.redirect.gateways.iter().find(|gateway| gateway.name == name);
            counted.map_or(0, |gateway| gateway.redirects)
        };
        let total: u64 = self.redirect.gateways.iter().map(|gateway| gateway.redirects).sum();
        self.members
            .iter()
            .map(|member| {
                let redirects = redirects_to(&member.name);
                let is_here = |visitor: &&Visitor| {
                    visitor.gateway.is_some_and(|gateway| member.addresses.contains(&gateway))
                };
                Row {
                    gateway: member.name.clone(),
                    weight: member.weight,
                    redirects,
                    share: ratio(redirects, total),
                    wanted: ratio(member.weight.into(), weights.into()),
                    tunnels: self.up.iter().filter(is_here).count(),
                }
            })
            .collect()
    }

    /// What has been shown, in a few lines.
    fn summarise(&self) -> io::Result<()> {
        let rows = self.rows();
        let redirects: u64 = rows.iter().map(|row| row.redirects).sum();
        self.screen.line("")?;
        self.screen.line(&format!("After {:.0} s:", self.watch.elapsed().as_secs_f64()))?;
        self.screen.line("")?;
        self.screen.rows(&rows)?;
        self.screen.line("")?;
        let mut pings = self.pings.clone();
        pings.sort();
        let median = pings.get(pings.len() / 2).copied().unwrap_or_default();
        self.screen.line(&format!(
            "{} clients, {redirects} redirects, {} pings through tunnels (median {:.1} ms), {} failures",
            self.arrived,
            pings.len(),
            median.as_secs_f64() * 1000.0,
            self.failed.len()
        ))?;
        self.screen.line("Removing namespaces and processes.")
    }

    fn gateway_name(&self, address: IpAddr) -> String {
        let gateway = self.cluster.gateway_at(address);
        gateway.map_or_else(|| String::from("an unknown gateway"), |gateway| gateway.name.clone())
    }

    fn event(&self, client: &str, text: &str) -> io::Result<()> {
        let time = self.watch.elapsed().as_secs_f64();
        self.screen.line(&format!("{time:7.2} s  {client}  {text}"))
    }
}

/// A part of a whole; nothing of nothing is nothing.
fn ratio(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of a demonstration are far below 2^52")]
    let (part, whole) = (part as f64, whole as f64);
    if whole > 0.0 { part / whole } else { 0.0 }
}
