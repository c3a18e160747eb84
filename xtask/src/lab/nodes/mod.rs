//! A cluster of our own daemons: nodes that elect an Active and report their loads to it.
//!
//! # Picture
//!
//! ```text
//!   gw1      gw2      gw3     redirectd, itself or with strongSwan as the IKE gateway where wanted
//!    │        │        │
//!  ══╧════════╧════════╧═══════╤════════╤═════  bridge `wire` in the namespace `switch`
//!                              │        │
//!                              c1      c2       strongSwan clients, and generators of requests
//! ```
//!
//! The VIP is wherever the Active is. Wires can be pulled, taken away, or moved to a second bridge.

mod agent;
mod node;
mod settings;

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

pub use self::agent::Agent;
pub use self::node::Node;
pub use self::settings::{GROUP, Pace, Settings};
use super::gateway::Place;
use super::netns::Switch;
use super::topology::{Client, Site, bpf_object, client, furnish, place};
use super::{Lab, gateway, strongswan, wait};

/// Who serves the clients that are sent to a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gateways {
    /// Nobody.
    #[default]
    None,
    /// The node's daemon itself.
    Own,
    /// strongSwan beside it.
    Strongswan,
}

/// What to build.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Nodes, at most 20.
    pub nodes: u8,
    /// Who serves clients on each of them.
    pub gateways: Gateways,
    /// Client namespaces, each with a strongSwan daemon.
    pub clients: u8,
    /// Timers of the election, for all.
    pub pace: Pace,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 3, gateways: Gateways::None, clients: 1, pace: Pace::CALM }
    }
}

/// Nodes and clients on one wire.
///
/// Fields are dropped in order: daemons before the switch, and the laboratory last.
#[derive(Debug)]
pub struct Nodes {
    /// The clients.
    pub clients: Vec<Client>,
    /// The nodes; the first has the highest priority.
    pub nodes: Vec<Node>,
    /// The wire.
    pub switch: Switch,
    /// The owner of it all.
    pub lab: Lab,
}

impl Nodes {
    /// Builds the nodes and starts the clients and gateways, but not the nodes' daemons.
    ///
    /// # Errors
    ///
    /// When a step fails; what was built is removed.
    pub fn build(options: Options) -> Result<Self> {
        ensure!(options.nodes <= 20, "{} nodes do not fit on the wire", options.nodes);
        let lab = Lab::new()?;
        let switch = Switch::new(&lab)?;
        let nodes = (1..=options.nodes)
            .map(|number| {
                let site = Site::build(&lab, &switch, number)?;
                // Native XDP over veth needs a program at the other end as well.
                switch.attach_pass(&site.namespace, &bpf_object("redirect-pass"))?;
                let mut settings = Settings { pace: options.pace, ..Settings::of(number) };
                match options.gateways {
                    Gateways::None | Gateways::Strongswan => {}
                    Gateways::Own => {
                        furnish(&site.namespace, number)?;
                        settings.ike = Some(gateway::Settings::of_node(number, &site.name));
                    }
                }
                let mut node = Node::new(site, number, settings)?;
                match options.gateways {
                    Gateways::None | Gateways::Own => {}
                    Gateways::Strongswan => node.start_charon()?,
                }
                Ok(node)
            })
            .collect::<Result<_>>()
            .context("building the nodes")?;
        let clients = (1..=options.clients)
            .map(|number| client(&lab, &switch, number, strongswan::Settings::default()))
            .collect::<Result<_>>()
            .context("building the clients")?;
        Ok(Self { clients, nodes, switch, lab })
    }

    /// Builds as [`Nodes::build`] does, starts all daemons, and waits until they are a cluster.
    ///
    /// # Errors
    ///
    /// As [`Nodes::build`] and [`Nodes::wait_settled`].
    pub fn start(options: Options) -> Result<Self> {
        let mut nodes = Self::build(options)?;
        nodes.start_all()?;
        Ok(nodes)
    }

    /// Starts all daemons and waits until they are a cluster.
    ///
    /// # Errors
    ///
    /// As [`Nodes::wait_settled`].
    pub fn start_all(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.spawn()?;
        }
        self.wait_settled(SETTLING)?;
        Ok(())
    }

    /// A place on the wire for a client that the test makes itself.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn place(&self, number: u8) -> Result<Place> {
        place(&self.lab, &self.switch, number)
    }

    /// The node of a name.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn node(&mut self, name: &str) -> Result<&mut Node> {
        let node = self.nodes.iter_mut().find(|node| node.name == name);
        node.with_context(|| format!("there is no node {name}"))
    }

    /// The node with an address.
    #[must_use]
    pub fn node_at(&self, address: IpAddr) -> Option<&Node> {
        self.nodes.iter().find(|node| node.has_address(address))
    }

    /// Nodes whose daemons run.
    pub fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_running())
    }

    /// Names of the running nodes that say they are in an HSRP state.
    ///
    /// # Errors
    ///
    /// When one of them does not answer.
    pub fn in_state(&self, state: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for node in self.running() {
            if node.standby()?.state == state {
                names.push(node.name.clone());
            }
        }
        Ok(names)
    }

    /// Name of the one Active.
    ///
    /// # Errors
    ///
    /// When there is none, or more than one.
    pub fn active(&self) -> Result<String> {
        let mut active = self.in_state("active")?;
        match (active.pop(), active.is_empty()) {
            (Some(name), true) => Ok(name),
            (None, _) => bail!("nobody is Active: {}", self.states()),
            (Some(_), false) => bail!("more than one is Active: {}", self.states()),
        }
    }

    /// Waits until the running nodes are one cluster; returns the name of the Active.
    ///
    /// There is one Active, which is master, has the VIPs, is armed and offers every running node that is not drained;
    /// one Standby, where there are two nodes; and the others listen, are slaves and answer nobody.
    ///
    /// # Errors
    ///
    /// When it does not come to that: with the last state seen and the ends of the logs.
    pub fn wait_settled(&mut self, within: Duration) -> Result<String> {
        wait::until("the nodes are one cluster", within, || {
            // Its exit says more than that it does not answer.
            if let Some(ended) = self
                .nodes
                .iter_mut()
                .filter(|node| node.is_running())
                .find_map(|node| node.check_running().err())
            {
                return Ok(Err(ended));
            }
            self.check_settled().map(Ok)
        })?
        .with_context(|| self.states())
    }

    fn check_settled(&self) -> Result<String> {
        let active = self.active()?;
        let running = self.running().count();
        let standby = self.in_state("standby")?;
        ensure!(standby.len() == usize::from(running > 1), "Standby: {standby:?}; {}", self.states());
        let offered = self.nodes.iter().filter(|node| node.is_offered());
        let mut names: Vec<_> = offered.map(|node| node.name.as_str()).collect();
        names.sort_unstable();
        for node in self.running() {
            let (cluster, redirect) = (node.cluster()?, node.control().redirect()?);
            let is_active = node.name == active;
            let role = if is_active { "master" } else { "slave" };
            ensure!(cluster.role == role, "{} is Active, and {}: {cluster:?}", active, node.name);
            ensure!(redirect.armed == is_active, "{} is Active, and {}: {redirect:?}", active, node.name);
            let vips = node.virtual_addresses()?.len();
            let wanted = if is_active { node.settings.vips.len() } else { 0 };
            ensure!(vips == wanted, "{} is Active, and {} has {vips} of the VIPs", active, node.name);
            if is_active {
                ensure!(cluster.up() == names, "{} offers {:?} of {names:?}", active, cluster.up());
            }
        }
        Ok(active)
    }

    /// What every node says of itself, in one line.
    #[must_use]
    pub fn states(&self) -> String {
        let states = self.nodes.iter().map(|node| {
            let state = match node.is_running().then(|| node.standby()) {
                None => String::from("not running"),
                Some(Ok(group)) => format!("{} (priority {})", group.state, group.priority),
                Some(Err(error)) => format!("{error:#}"),
            };
            format!("{}: {state}", node.name)
        });
        states.collect::<Vec<_>>().join(", ")
    }

    /// What every running node knows and has done, for error messages.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = self.states();
        for node in self.running() {
            let control = node.control();
            text.push_str(&format!(
                "\n{}: {:?}\n  {:?}\n  {:?}\n  {:?}\n{}",
                node.name,
                node.namespace().addresses(),
                control.redirect(),
                control.llg(),
                control.cluster(),
                node.log()
            ));
        }
        text
    }

    /// Pulls a node's cable.
    ///
    /// # Errors
    ///
    /// When there is no such node.
    pub fn unplug(&mut self, name: &str) -> Result<()> {
        let namespace = self.node(name)?.namespace().clone();
        self.switch.unplug(&namespace)
    }

    /// Puts a node's cable back.
    ///
    /// # Errors
    ///
    /// When there is no such node.
    pub fn plug(&mut self, name: &str) -> Result<()> {
        let namespace = self.node(name)?.namespace().clone();
        self.switch.plug(&namespace)
    }

    /// Parts nodes from the rest: they hear each other, but nobody else.
    ///
    /// # Errors
    ///
    /// When there is no such node.
    pub fn part(&self, names: &[&str]) -> Result<()> {
        self.switch.part(self.named(names)?)
    }

    /// Ends what [`Nodes::part`] began.
    ///
    /// # Errors
    ///
    /// When there is no such node.
    pub fn heal(&self, names: &[&str]) -> Result<()> {
        self.switch.join(self.named(names)?)
    }

    fn named(&self, names: &[&str]) -> Result<Vec<&super::netns::Namespace>> {
        let find = |name: &&str| {
            let node = self.nodes.iter().find(|node| node.name == *name);
            node.map(Node::namespace).with_context(|| format!("there is no node {name}"))
        };
        names.iter().map(find).collect()
    }

    /// Takes a node's interface away.
    ///
    /// # Errors
    ///
    /// When there is no such node.
    pub fn remove_interface(&mut self, name: &str) -> Result<()> {
        let namespace = self.node(name)?.namespace().clone();
        self.switch.unwire(&namespace)
    }

    /// Gives a node an interface of the same name and addresses again.
    ///
    /// # Errors
    ///
    /// When it has one.
    pub fn restore_interface(&mut self, name: &str) -> Result<()> {
        let node = self.node(name)?;
        let (namespace, networks) = (node.namespace().clone(), node.networks().clone());
        self.switch.wire(&namespace, &networks)?;
        self.switch.attach_pass(&namespace, &bpf_object("redirect-pass"))
    }
}

/// How long daemons may take to become a cluster, on a machine with other work.
const SETTLING: Duration = Duration::from_secs(30);
