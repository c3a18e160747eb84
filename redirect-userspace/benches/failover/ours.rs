//! Our own election, and the cluster bound to it.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use xtask::lab::netns::Namespace;
use xtask::lab::nodes::{Nodes, Options, Pace};

use crate::turn::Contender;

const PATIENCE: Duration = Duration::from_secs(20);

/// How the Active goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// Its daemon is killed.
    Crash,
    /// Its daemon is told to end.
    Stop,
    /// Its priority is lowered, and another node preempts.
    Lower,
}

/// Three nodes at the fastest pace.
pub(crate) struct Ours {
    leaving: Leaving,
    /// Name of the node that answers, or is gone.
    active: String,
    nodes: Nodes,
}

impl Ours {
    /// Builds the nodes and waits until they are a cluster.
    pub(crate) fn start(leaving: Leaving) -> Result<Self> {
        let mut nodes = Nodes::build(Options { pace: Pace::FASTEST, ..Options::default() })?;
        for node in &mut nodes.nodes {
            node.settings.preempt = leaving == Leaving::Lower;
        }
        nodes.start_all()?;
        Ok(Self { leaving, active: String::new(), nodes })
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
            Leaving::Stop => node.terminate()?,
            Leaving::Lower => {
                node.settings.priority = 50;
                node.reload()?;
            }
        }
        Ok(())
    }

    fn restore(&mut self) -> Result<()> {
        let node = self.nodes.node(&self.active)?;
        match self.leaving {
            Leaving::Crash | Leaving::Stop => {
                node.wait(PATIENCE)?;
                node.start()?;
            }
            Leaving::Lower => {
                // Below the new Active, which stays, and equal to nobody.
                for node in &mut self.nodes.nodes {
                    node.settings.priority = if node.name == self.active { 50 } else { 100 + node.number };
                }
                for node in &self.nodes.nodes {
                    node.reload()?;
                }
            }
        }
        self.nodes.wait_settled(PATIENCE)?;
        Ok(())
    }
}
