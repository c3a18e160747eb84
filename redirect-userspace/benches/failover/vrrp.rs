//! keepalived's VRRPv3 in front of two daemons with a static table.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use xtask::lab::balancer::{Member, Redirectd};
use xtask::lab::keepalived::Keepalived;
use xtask::lab::netns::Namespace;
use xtask::lab::nodes::{Nodes, Options};
use xtask::lab::topology::VIP4;
use xtask::lab::wait;

use crate::turn::Contender;

const PATIENCE: Duration = Duration::from_secs(20);
const PRIORITIES: [u8; 2] = [110, 100];

/// How the one that answers goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// Everything on the node is killed.
    Crash,
    /// The node falls silent.
    Silence,
    /// keepalived resigns; the daemon goes on.
    Resign,
}

/// Two nodes. Fields are dropped in order: processes before the laboratory.
pub(crate) struct Vrrp {
    name: String,
    advert: Duration,
    leaving: Leaving,
    /// Number of the node that answers, or is gone.
    master: usize,
    sites: Vec<Site>,
    nodes: Nodes,
}

struct Site {
    keepalived: Keepalived,
    daemon: Option<Redirectd>,
    namespace: Namespace,
}

impl Vrrp {
    /// Builds the nodes and waits until one of them answers.
    pub(crate) fn start(advert: Duration, leaving: Leaving) -> Result<Self> {
        let nodes = Nodes::build(Options { nodes: 2, ..Options::default() })?;
        let sites = nodes
            .nodes
            .iter()
            .zip(PRIORITIES)
            .map(|(node, priority)| {
                let namespace = node.namespace().clone();
                let mut keepalived = Keepalived::new(&namespace, VIP4, priority, advert)?;
                keepalived.start()?;
                Ok(Site { keepalived, daemon: Some(daemon(&namespace)?), namespace })
            })
            .collect::<Result<_>>()?;
        let name = format!("VRRPv3, {} ms", advert.as_millis());
        let mut vrrp = Self { name, advert, leaving, master: 0, sites, nodes };
        vrrp.settled()?;
        Ok(vrrp)
    }

    /// After how long a backup believes that the master is gone (`RFC 5798 §6.1`), at most.
    pub(crate) fn master_down(&self) -> Duration {
        let lowest = PRIORITIES.into_iter().min().unwrap_or_default();
        3 * self.advert + self.advert * (256 - u32::from(lowest)) / 256
    }

    fn find_master(&self) -> Result<usize> {
        let mut masters = Vec::new();
        for (number, site) in self.sites.iter().enumerate() {
            if site.keepalived.is_master()? {
                masters.push(number);
            }
        }
        match masters.as_slice() {
            [master] => Ok(*master),
            others => bail!("masters: {others:?}"),
        }
    }

    fn settled(&mut self) -> Result<()> {
        wait::until("one keepalived is master and the other is its backup", PATIENCE, || {
            let master = self.find_master()?;
            let backup = self.sites.iter_mut().enumerate().find(|(number, _)| *number != master);
            backup.context("there is no other")?.1.keepalived.check_backup()
        })
    }
}

impl Contender for Vrrp {
    fn name(&self) -> &str {
        &self.name
    }

    fn client(&self) -> (&Namespace, Ipv4Addr) {
        let client = &self.nodes.clients[0];
        (client.charon.namespace(), client.address4)
    }

    fn interval(&self) -> Duration {
        self.advert
    }

    fn prepare(&mut self) -> Result<()> {
        self.master = self.find_master()?;
        Ok(())
    }

    fn event(&mut self) -> Result<()> {
        let site = self.sites.get(self.master).context("no such site")?;
        match self.leaving {
            Leaving::Crash => {
                site.keepalived.kill()?;
                site.daemon.as_ref().context("no daemon")?.signal(Signal::SIGKILL)?;
            }
            Leaving::Silence => self.nodes.switch.mute(&site.namespace)?,
            Leaving::Resign => site.keepalived.terminate()?,
        }
        Ok(())
    }

    fn describe(&self) -> String {
        format!("{} was master; now {:?}", self.master, self.find_master())
    }

    fn restore(&mut self) -> Result<()> {
        let site = self.sites.get_mut(self.master).context("no such site")?;
        if self.leaving == Leaving::Silence {
            self.nodes.switch.unmute(&site.namespace)?;
            return self.settled();
        }
        site.keepalived.clean()?;
        if self.leaving == Leaving::Crash {
            site.daemon.take().context("no daemon")?.wait(PATIENCE)?;
            wait::until("its program has left the interface", PATIENCE, || {
                let program = site.namespace.xdp_program("eth0")?;
                ensure!(program.is_none(), "{program:?}");
                Ok(())
            })?;
            site.daemon = Some(daemon(&site.namespace)?);
        }
        site.keepalived.start()?;
        self.settled()
    }
}

/// A daemon that answers at the VIP whoever has it, and sends clients elsewhere.
fn daemon(namespace: &Namespace) -> Result<Redirectd> {
    let mut daemon = Redirectd::spawn(namespace, "native", &[Member::imaginary(9, 1)])?;
    daemon.until_ready()?;
    Ok(daemon)
}
