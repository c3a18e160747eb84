//! Our own election, and the cluster bound to it.
//!
//! An Active keeps its own share of the clients, and no IKE daemon runs beside it here: requests
//! that it keeps would count as lost. So those who are elected are drained, and one more node,
//! which is never elected, takes every client.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, ensure};
use xtask::lab::netns::Namespace;
use xtask::lab::nodes::{Node, Nodes, Options, Pace};
use xtask::lab::wait;

use crate::turn::Contender;

const PATIENCE: Duration = Duration::from_secs(20);

/// How the Active goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// Its daemon is killed.
    Crash,
    /// Its node falls silent: nobody is left to clean up, and the switch does not notice.
    Silence,
    /// Its daemon is told to end.
    Stop,
    /// Its priority is lowered, and another node preempts.
    Lower,
}

/// Nodes that are elected. With one of them gone there are still an Active and a Standby.
const ELECTED: usize = 3;
/// Priority of the node that takes the clients.
const NEVER: u8 = 1;

/// Nodes at the fastest pace.
pub(crate) struct Ours {
    leaving: Leaving,
    /// Name of the node that answers, or is gone.
    active: String,
    nodes: Nodes,
}

impl Ours {
    /// Builds the nodes and waits until they are a cluster.
    pub(crate) fn start(leaving: Leaving) -> Result<Self> {
        let mut nodes = Nodes::build(Options { nodes: 4, pace: Pace::FASTEST, ..Options::default() })?;
        let (elected, others) = nodes.nodes.split_at_mut(ELECTED);
        for node in elected {
            node.settings.preempt = leaving == Leaving::Lower;
        }
        for node in others {
            node.settings.priority = NEVER;
        }
        let mut ours = Self { leaving, active: String::new(), nodes };
        ours.elected().try_for_each(Node::spawn)?;
        ours.nodes.wait_settled(PATIENCE)?;
        // Only when there is an Active, whom it does not take over from.
        ours.others().try_for_each(Node::start)?;
        ours.elected().try_for_each(Node::drain)?;
        ours.settle()?;
        Ok(ours)
    }

    fn elected(&mut self) -> impl Iterator<Item = &mut Node> {
        self.nodes.nodes.iter_mut().take(ELECTED)
    }

    fn others(&mut self) -> impl Iterator<Item = &mut Node> {
        self.nodes.nodes.iter_mut().skip(ELECTED)
    }

    /// Waits until the nodes are one cluster, and until a takeover would keep them one.
    fn settle(&mut self) -> Result<()> {
        self.nodes.wait_settled(PATIENCE)?;
        wait::until("a takeover would leave them one", PATIENCE, || {
            let (elected, others) = self.nodes.nodes.split_at(ELECTED);
            for state in ["active", "standby"] {
                let names = self.nodes.in_state(state)?;
                ensure!(elected.iter().any(|node| names == [node.name.as_str()]), "{}", self.nodes.states());
            }
            for node in self.nodes.running() {
                // A master has told everything to a slave that is connected.
                let (cluster, llg) = (node.cluster()?, node.control().llg()?);
                let is_told = match cluster.role.as_str() {
                    "master" => others.iter().all(|other| {
                        llg.gateways.iter().any(|part| part.name == other.name && part.slots == llg.slots)
                    }),
                    _ => cluster.status == "connected",
                };
                ensure!(is_told, "{}: {cluster:?} {llg:?}", node.name);
            }
            Ok(())
        })
    }

    /// The configured hold time.
    pub(crate) const fn hold() -> Duration {
        Pace::FASTEST.hold
    }
}

impl Contender for Ours {
    fn name(&self) -> &str {
        match self.leaving {
            Leaving::Crash => "HSRP, killed",
            Leaving::Silence => "HSRP, silenced",
            Leaving::Stop => "HSRP, SIGTERM",
            Leaving::Lower => "HSRP, priority",
        }
    }

    fn client(&self) -> (&Namespace, Ipv4Addr) {
        let client = &self.nodes.clients[0];
        (client.charon.namespace(), client.address4)
    }

    fn interval(&self) -> Duration {
        Pace::FASTEST.hello
    }

    fn prepare(&mut self) -> Result<()> {
        self.active = self.nodes.active()?;
        Ok(())
    }

    fn event(&mut self) -> Result<()> {
        let node = self.nodes.node(&self.active)?;
        match self.leaving {
            Leaving::Crash => node.signal(nix::sys::signal::Signal::SIGKILL)?,
            Leaving::Silence => {
                let namespace = node.namespace().clone();
                self.nodes.switch.mute(&namespace)?;
            }
            Leaving::Stop => node.terminate()?,
            Leaving::Lower => {
                node.settings.priority = 50;
                node.reload()?;
            }
        }
        Ok(())
    }

    fn describe(&self) -> String {
        format!("{} was Active\n{}", self.active, self.nodes.describe())
    }

    fn restore(&mut self) -> Result<()> {
        let node = self.nodes.node(&self.active)?;
        match self.leaving {
            Leaving::Crash | Leaving::Stop => {
                node.wait(PATIENCE)?;
                node.start()?;
                node.drain()?;
            }
            Leaving::Silence => {
                let namespace = node.namespace().clone();
                self.nodes.switch.unmute(&namespace)?;
            }
            Leaving::Lower => {
                // The new Active stays: nobody is above it.
                let active = self.nodes.active()?;
                for node in self.elected() {
                    node.settings.priority = if node.name == active { 120 } else { 100 + node.number };
                }
                self.elected().try_for_each(|node| node.reload())?;
            }
        }
        self.settle()
    }
}
