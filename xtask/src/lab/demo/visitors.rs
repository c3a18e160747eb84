//! The clients of the demonstration: who has arrived, who waits, and where everybody went.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::lab::nodes::Nodes;
use crate::lab::strongswan::Tunnel;
use crate::lab::topology::{VIP4, VIP6};
use crate::lab::wait::{self, Stopwatch};

/// How long a client may take to its tunnel. One that is sent to a gateway that has just died
/// gives it up after some seconds, and asks the VIP again.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long a ping through a tunnel may take.
const PING: Duration = Duration::from_secs(5);
/// Tunnels that stay: the gateways' pools are finite, the demonstration is not.
const TUNNELS: usize = 60;

/// A client that has arrived.
#[derive(Debug)]
struct Visitor {
    name: String,
    /// Index of the place it comes from.
    site: usize,
    since: Stopwatch,
    /// Whether it had a tunnel before.
    returns: bool,
}

/// A client with a tunnel.
#[derive(Debug)]
struct Guest {
    visitor: Visitor,
    /// The node's name.
    gateway: String,
    /// Those of the IKE SA.
    spis: [String; 2],
}

/// All clients.
#[derive(Debug)]
pub(super) struct Visitors {
    arrived: u32,
    waiting: Vec<Visitor>,
    up: Vec<Guest>,
    /// How far each place's log has been read.
    logs: Vec<u64>,
    /// Clients sent to each gateway.
    redirects: BTreeMap<String, u64>,
    pings: Vec<Duration>,
    /// Clients that had to come back because their gateway went away.
    returned: u32,
    failed: Vec<String>,
}

/// Something to tell about a client.
#[derive(Debug)]
pub(super) struct News {
    pub(super) client: String,
    pub(super) text: String,
}

impl Visitors {
    pub(super) fn new(sites: usize) -> Self {
        Self {
            arrived: 0,
            waiting: Vec::new(),
            up: Vec::new(),
            logs: vec![0; sites],
            redirects: BTreeMap::new(),
            pings: Vec::new(),
            returned: 0,
            failed: Vec::new(),
        }
    }

    /// A new client with an identity of its own asks the VIP, IPv4 and IPv6 in turn.
    pub(super) fn arrive(&mut self, nodes: &Nodes) -> Result<News> {
        self.arrived += 1;
        let name = format!("client-{:03}", self.arrived);
        let site = usize::try_from(self.arrived)? % nodes.clients.len();
        let vip = if self.arrived.div_ceil(2).is_multiple_of(2) { VIP6.into() } else { VIP4.into() };
        let client = nodes.clients.get(site).context("no place for clients")?;
        let mut connection = client.connection(&name, vip, 500);
        connection.is_watchful = true;
        client.charon.add_client(&connection)?;
        let since = Stopwatch::start();
        client.charon.initiate(&name)?;
        let text = format!("{} asks the VIP {vip}", connection.local);
        self.waiting.push(Visitor { name: name.clone(), site, since, returns: false });
        Ok(News { client: name, text })
    }

    /// Redirects that clients have obeyed, tunnels that are up or gone, and who was lost.
    pub(super) fn look(&mut self, nodes: &Nodes) -> Result<Vec<News>> {
        let mut news = Vec::new();
        self.see_redirects(nodes, &mut news)?;
        for (site, client) in nodes.clients.iter().enumerate() {
            let tunnels = client.charon.tunnels()?;
            self.see_gone(site, &tunnels, &mut news);
            self.see_up(site, nodes, &tunnels, &mut news)?;
        }
        self.send_away(nodes, &mut news)?;
        Ok(news)
    }

    fn see_redirects(&mut self, nodes: &Nodes, news: &mut Vec<News>) -> Result<()> {
        for (client, position) in nodes.clients.iter().zip(&mut self.logs) {
            for redirect in client.charon.redirects(position)? {
                let gateway = name_of(nodes, redirect.gateway);
                let text = format!("REDIRECT to {gateway} at {}", redirect.gateway);
                news.push(News { client: redirect.client, text });
                *self.redirects.entry(gateway).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Guests whose tunnels are gone wait again, even if they have another one already.
    fn see_gone(&mut self, site: usize, tunnels: &[Tunnel], news: &mut Vec<News>) {
        for guest in std::mem::take(&mut self.up) {
            let is_there = up(tunnels, &guest.visitor.name).is_some_and(|tunnel| tunnel.spis == guest.spis);
            if guest.visitor.site == site && !is_there {
                let text = format!("has lost its tunnel to {}", guest.gateway);
                news.push(News { client: guest.visitor.name.clone(), text });
                self.returned += 1;
                let visitor = Visitor { since: Stopwatch::start(), returns: true, ..guest.visitor };
                self.waiting.push(visitor);
            } else {
                self.up.push(guest);
            }
        }
    }

    /// Those who waited have their tunnels, each with a ping through it, or have waited too long.
    fn see_up(&mut self, site: usize, nodes: &Nodes, tunnels: &[Tunnel], news: &mut Vec<News>) -> Result<()> {
        let client = nodes.clients.get(site).context("no such place")?;
        for visitor in std::mem::take(&mut self.waiting) {
            let took = visitor.since.elapsed();
            let tunnel = (visitor.site == site).then(|| up(tunnels, &visitor.name)).flatten();
            if let Some(tunnel) = tunnel {
                let addresses: Vec<_> = tunnel.virtual_addresses.iter().map(IpAddr::to_string).collect();
                let again = if visitor.returns { "again " } else { "" };
                let mut text = format!(
                    "tunnel {again}to {} after {} ms as {}",
                    tunnel.remote_id,
                    took.as_millis(),
                    addresses.join(", ")
                );
                match client.charon.ping_through(tunnel, PING) {
                    Ok(ping) => {
                        text.push_str(&format!(", ping {:.1} ms", ping.as_secs_f64() * 1000.0));
                        self.pings.push(ping);
                    }
                    // Its gateway may have died just now; the client notices and returns.
                    Err(_) => text.push_str(", no ping yet"),
                }
                news.push(News { client: visitor.name.clone(), text });
                let (gateway, spis) = (tunnel.remote_id.clone(), tunnel.spis.clone());
                self.up.push(Guest { visitor, gateway, spis });
            } else if took > PATIENCE {
                let text = format!("NO TUNNEL after {} s", took.as_secs());
                news.push(News { client: visitor.name.clone(), text });
                self.failed.push(visitor.name);
            } else {
                self.waiting.push(visitor);
            }
        }
        Ok(())
    }

    /// The oldest guests leave when there are too many.
    fn send_away(&mut self, nodes: &Nodes, news: &mut Vec<News>) -> Result<()> {
        while self.up.len() > TUNNELS {
            let Guest { visitor, gateway: _, spis: _ } = self.up.remove(0);
            let client = nodes.clients.get(visitor.site).context("no such place")?;
            client.charon.remove_client(&visitor.name)?;
            news.push(News { client: visitor.name, text: String::from("leaves") });
        }
        Ok(())
    }

    /// Waits until a ping goes through every tunnel that is said to be up.
    ///
    /// A tunnel to a gateway that died is believed in until its client notices.
    pub(super) fn settle(&mut self, nodes: &Nodes) -> Result<Vec<News>> {
        let watch = Stopwatch::start();
        let mut news = Vec::new();
        loop {
            news.append(&mut self.look(nodes)?);
            let dead = self.without_ping(nodes);
            if self.waiting.is_empty() && dead.is_empty() {
                return Ok(news);
            }
            if watch.elapsed() > PATIENCE {
                for name in dead {
                    news.push(News { client: name.clone(), text: String::from("NO PING") });
                    self.failed.push(name);
                }
                return Ok(news);
            }
            wait::pause();
        }
    }

    fn without_ping(&self, nodes: &Nodes) -> Vec<String> {
        let has_ping = |guest: &Guest| -> Result<()> {
            let client = nodes.clients.get(guest.visitor.site).context("no such place")?;
            let tunnels = client.charon.tunnels()?;
            let tunnel = up(&tunnels, &guest.visitor.name).context("its tunnel is gone")?;
            let took = client.charon.ping_through(tunnel, Duration::ZERO)?;
            ensure!(took < PING, "{took:?}");
            Ok(())
        };
        let dead = self.up.iter().filter(|guest| has_ping(guest).is_err());
        dead.map(|guest| guest.visitor.name.clone()).collect()
    }

    /// Whether somebody still waits for a tunnel.
    pub(super) const fn is_somebody_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Tunnels to a node.
    pub(super) fn tunnels_to(&self, gateway: &str) -> usize {
        self.up.iter().filter(|guest| guest.gateway == gateway).count()
    }

    /// Clients sent to a node.
    pub(super) fn redirects_to(&self, gateway: &str) -> u64 {
        self.redirects.get(gateway).copied().unwrap_or_default()
    }

    /// Clients that did not get a tunnel that works.
    pub(super) const fn failed(&self) -> usize {
        self.failed.len()
    }

    /// All of it in one line.
    pub(super) fn summary(&self) -> String {
        let mut pings = self.pings.clone();
        pings.sort();
        let median = pings.get(pings.len() / 2).copied().unwrap_or_default();
        let redirects: u64 = self.redirects.values().sum();
        format!(
            "{} clients, {redirects} redirects, {} returned after a failure, \
             {} pings through tunnels (median {:.1} ms), {} clients lost",
            self.arrived,
            self.returned,
            pings.len(),
            median.as_secs_f64() * 1000.0,
            self.failed.len()
        )
    }
}

fn up<'a>(tunnels: &'a [Tunnel], name: &str) -> Option<&'a Tunnel> {
    tunnels.iter().find(|tunnel| tunnel.name == name && tunnel.is_up())
}

fn name_of(nodes: &Nodes, address: IpAddr) -> String {
    let node = nodes.node_at(address);
    node.map_or_else(|| String::from("an unknown gateway"), |node| node.name.clone())
}
