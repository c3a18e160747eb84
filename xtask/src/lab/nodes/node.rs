//! One node: a namespace with a `redirectd` in it and, if wanted, a strongSwan gateway beside it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::settings::{Identity, Settings, file};
use crate::lab::control::{Control, ShowCluster, Standby};
use crate::lab::netns::Namespace;
use crate::lab::process::Process;
use crate::lab::strongswan::Charon;
use crate::lab::topology::{Site, installed, serve};
use crate::lab::wait;

/// How long a daemon may take until it answers, or until it has ended in order.
const PATIENCE: Duration = Duration::from_secs(30);

/// A node of the cluster. Its daemon comes and goes; its namespace stays.
///
/// Fields are dropped in order: the daemons before the namespace they are in.
#[derive(Debug)]
pub struct Node {
    /// Its number, from 1.
    pub number: u8,
    /// `gw1`, `gw2`, …: its name in the cluster, that of its namespace, and its IKE identity.
    pub name: String,
    /// Where clients are sent, IPv4.
    pub address4: Ipv4Addr,
    /// Where clients are sent, IPv6.
    pub address6: Ipv6Addr,
    /// What its daemon is told when it starts or reads its configuration again.
    pub settings: Settings,
    daemon: Option<Process>,
    charon: Option<Charon>,
    control: Control,
    config: PathBuf,
    pins: PathBuf,
    starts: u32,
    /// Whether the daemon was told to take no clients itself.
    is_drained: bool,
    networks: [String; 2],
    namespace: Namespace,
}

impl Node {
    pub(super) fn new(site: Site, number: u8, settings: Settings) -> Result<Self> {
        let networks = site.networks();
        let Site { name, address4, address6, namespace } = site;
        let directory = namespace.lab().directory().join(&name);
        fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        Ok(Self {
            number,
            address4,
            address6,
            settings,
            daemon: None,
            charon: None,
            control: Control::new(&directory.join("redirectd.sock")),
            config: directory.join("redirectd.toml"),
            pins: namespace.lab().pins().join(&name),
            starts: 0,
            is_drained: false,
            networks,
            name,
            namespace,
        })
    }

    /// Its namespace.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its addresses in CIDR notation.
    pub(super) const fn networks(&self) -> &[String; 2] {
        &self.networks
    }

    /// Its daemon's control socket, whether it runs or not.
    #[must_use]
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// The strongSwan gateway beside its daemon, if there is one.
    #[must_use]
    pub const fn charon(&self) -> Option<&Charon> {
        self.charon.as_ref()
    }

    /// Whether an address is this node's.
    #[must_use]
    pub fn has_address(&self, address: IpAddr) -> bool {
        address == IpAddr::V4(self.address4) || address == IpAddr::V6(self.address6)
    }

    /// Whether its daemon was started and neither stopped nor killed since.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.daemon.is_some()
    }

    /// Starts a strongSwan gateway beside the daemon.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start_charon(&mut self) -> Result<()> {
        self.charon = Some(serve(&self.namespace, &self.name, self.number)?);
        Ok(())
    }

    /// Ends the strongSwan gateway, as a crash does.
    pub fn kill_charon(&mut self) {
        self.charon = None;
    }

    /// Starts the daemon and waits until it answers its operator.
    ///
    /// # Errors
    ///
    /// When it does not get that far, or runs already.
    pub fn start(&mut self) -> Result<()> {
        self.spawn()?;
        let control = self.control.clone();
        let daemon = self.daemon.as_mut().context("it was just started")?;
        daemon.until("redirectd answers its operator", PATIENCE, || control.standby())?;
        Ok(())
    }

    /// Starts the daemon and does not wait for it.
    ///
    /// # Errors
    ///
    /// When it runs already, or the program is missing.
    pub fn spawn(&mut self) -> Result<()> {
        ensure!(self.daemon.is_none(), "{} runs already", self.name);
        self.write()?;
        self.is_drained = false;
        self.starts += 1;
        let log = self.config.with_file_name(format!("redirectd-{}.log", self.starts));
        let mut command = self.namespace.command(installed("redirectd")?);
        command.arg("--config").arg(&self.config);
        self.daemon = Some(Process::spawn(&format!("redirectd in {}", self.name), &mut command, &log)?);
        Ok(())
    }

    /// Ends the daemon in order and waits for its end.
    ///
    /// # Errors
    ///
    /// When it does not end, or not well.
    pub fn stop(&mut self) -> Result<()> {
        self.terminate()?;
        let status = self.wait(PATIENCE)?;
        ensure!(status.success(), "redirectd in {}: {status}", self.name);
        Ok(())
    }

    /// Asks the daemon to end in order and does not wait.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// Kills the daemon: it can do nothing more. The process that guards its interfaces lives on.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.wait(PATIENCE)?;
        Ok(())
    }

    /// Waits for the daemon to end.
    ///
    /// # Errors
    ///
    /// When it runs on.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let mut daemon = self.daemon.take().with_context(|| format!("{} does not run", self.name))?;
        match daemon.wait(within) {
            Ok(status) => Ok(status),
            Err(error) => {
                self.daemon = Some(daemon);
                Err(error)
            }
        }
    }

    /// Sends a signal to the daemon alone.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.daemon.as_ref().with_context(|| format!("{} does not run", self.name))?.signal(signal)
    }

    /// The daemon's process, to have its use of the processor measured.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn id(&self) -> Result<Pid> {
        Ok(self.daemon.as_ref().with_context(|| format!("{} does not run", self.name))?.id())
    }

    /// Fails when the daemon has ended although it should run.
    ///
    /// # Errors
    ///
    /// With its exit status and the end of its log.
    pub fn check_running(&mut self) -> Result<()> {
        self.daemon.as_mut().with_context(|| format!("{} does not run", self.name))?.check_running()
    }

    /// Writes [`Node::settings`] to the daemon's file and has it read again.
    ///
    /// # Errors
    ///
    /// When the daemon refuses.
    pub fn reload(&self) -> Result<()> {
        self.write()?;
        self.control.reload()
    }

    /// Has the daemon take no clients itself, until it ends: as master it redirects all of them.
    ///
    /// # Errors
    ///
    /// When the daemon refuses.
    pub fn drain(&mut self) -> Result<()> {
        // It is refused a second time.
        if self.is_drained {
            return Ok(());
        }
        self.control.run(&["drain"])?;
        self.is_drained = true;
        Ok(())
    }

    /// Ends what [`Node::drain`] began.
    ///
    /// # Errors
    ///
    /// When the daemon refuses.
    pub fn undrain(&mut self) -> Result<()> {
        self.control.run(&["undrain"])?;
        self.is_drained = false;
        Ok(())
    }

    /// Whether it should be offered to clients.
    pub(super) const fn is_offered(&self) -> bool {
        self.is_running() && !self.is_drained
    }

    /// What the node says of its part in the election.
    ///
    /// # Errors
    ///
    /// When it does not answer, or has no such group.
    pub fn standby(&self) -> Result<Standby> {
        let groups = self.control.standby().with_context(|| format!("asking {}", self.name))?;
        let count = groups.len();
        let group = groups.into_iter().find(|group| group.name == super::GROUP);
        group.with_context(|| format!("{}: no {} among {count} groups", self.name, super::GROUP))
    }

    /// What the node says of the cluster.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn cluster(&self) -> Result<ShowCluster> {
        self.control.cluster().with_context(|| format!("asking {}", self.name))
    }

    /// What the daemon has written since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        let path = self.config.with_file_name(format!("redirectd-{}.log", self.starts));
        fs::read_to_string(path).unwrap_or_default()
    }

    /// Waits until an event whose text contains all of `words` is in the journal; returns its text.
    ///
    /// # Errors
    ///
    /// When there is none in time: with the end of the journal.
    pub fn wait_for_event(&self, words: &[&str], within: Duration) -> Result<String> {
        wait::until(&format!("{} tells of {words:?}", self.name), within, || {
            let texts: Vec<_> = self
                .control
                .events()?
                .into_iter()
                .map(|event| format!("{} {}: {}", event.severity, event.event, event.text))
                .collect();
            let found = texts.iter().find(|text| words.iter().all(|word| text.contains(word)));
            found.cloned().with_context(|| texts.join("\n"))
        })
    }

    /// Virtual addresses that the node has on an interface.
    ///
    /// # Errors
    ///
    /// When its addresses cannot be listed.
    pub fn virtual_addresses(&self) -> Result<Vec<IpAddr>> {
        let mut all = self.namespace.addresses()?;
        all.retain(|(_, address)| self.settings.vips.contains(address));
        Ok(all.into_iter().map(|(_, address)| address).collect())
    }

    fn write(&self) -> Result<()> {
        let identity = Identity {
            name: &self.name,
            addresses: [self.address4.into(), self.address6.into()],
            socket: self.control.socket(),
            pins: &self.pins,
        };
        let text = file(identity, &self.settings)?;
        // The daemon refuses keys in a file that others may read.
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&self.config);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("writing {}", self.config.display()))
    }
}
