//! The daemon under test: `redirectd` in the balancer's namespace, asked through `redirectctl`.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::control::{Control, ShowCluster, ShowRedirect};
use super::netns::Namespace;
use super::process::Process;
use super::topology::{BALANCER4, BALANCER6, Cluster, Gateway, VIP4, VIP6, bpf_object, installed};

/// How long the daemon may take until it answers clients.
const START: Duration = Duration::from_secs(30);

/// A member of the cluster, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where clients are sent.
    pub addresses: Vec<IpAddr>,
    /// Its weight.
    pub weight: u16,
}

impl Member {
    /// A member that stands for a gateway of the laboratory.
    #[must_use]
    pub fn of(gateway: &Gateway, weight: u16) -> Self {
        let addresses = vec![gateway.address4.into(), gateway.address6.into()];
        Self { name: gateway.name.clone(), addresses, weight }
    }

    /// A member that nobody stands behind, for tests that look no further than the redirect.
    #[must_use]
    pub fn imaginary(number: u8, weight: u16) -> Self {
        let addresses = vec![
            IpAddr::from([10, 50, 0, 10 + number]),
            IpAddr::from([0xfd50, 0, 0, 0, 0, 0, 2, number.into()]),
        ];
        Self { name: format!("gw{number}"), addresses, weight }
    }
}

/// A running `redirectd`; ends with its guard.
#[derive(Debug)]
pub struct Redirectd {
    process: Process,
    config: PathBuf,
    mode: String,
    control: Control,
    pins: PathBuf,
}

impl Redirectd {
    /// Starts the daemon for these members and waits until its fast path answers.
    ///
    /// # Errors
    ///
    /// When it does not get that far.
    pub fn start(cluster: &Cluster, members: &[Member]) -> Result<Self> {
        Self::start_in_mode(cluster, "auto", members)
    }

    /// As [`Redirectd::start`], with a `fast-path.mode` of the configuration.
    ///
    /// # Errors
    ///
    /// As [`Redirectd::start`].
    pub fn start_in_mode(cluster: &Cluster, mode: &str, members: &[Member]) -> Result<Self> {
        cluster.switch.attach_pass(&cluster.balancer, &bpf_object("redirect-pass"))?;
        let mut daemon = Self::spawn(&cluster.balancer, mode, members)?;
        daemon.until_ready().with_context(|| daemon.process.log_tail())?;
        Ok(daemon)
    }

    /// Starts the daemon and does not wait for it.
    ///
    /// # Errors
    ///
    /// When the program is missing.
    pub fn spawn(namespace: &Namespace, mode: &str, members: &[Member]) -> Result<Self> {
        let program = installed("redirectd")?;
        let directory = namespace.lab().directory().join(namespace.role());
        fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        let (config, control) =
            (directory.join("redirectd.toml"), Control::new(&directory.join("redirectd.sock")));
        let pins = namespace.lab().pins().join(format!("redirectd-{}", namespace.role()));
        fs::write(&config, configuration(INTERFACES, mode, control.socket(), &pins, members)?)
            .with_context(|| format!("writing {}", config.display()))?;
        let process = Process::spawn(
            "redirectd",
            namespace.command(program).arg("--config").arg(&config),
            &directory.join("redirectd.log"),
        )?;
        Ok(Self { process, config, mode: mode.to_owned(), control, pins })
    }

    /// Waits until the daemon's fast path answers clients.
    ///
    /// # Errors
    ///
    /// When it does not get that far.
    pub fn until_ready(&mut self) -> Result<()> {
        let Self { process, control, .. } = self;
        process.until("redirectd answers clients", START, || {
            let redirect = control.redirect()?;
            ensure!(redirect.armed, "{redirect:?}");
            Ok(())
        })
    }

    /// Changes the members and waits until the daemon has taken them over.
    ///
    /// # Errors
    ///
    /// When the daemon refuses.
    pub fn reload(&self, members: &[Member]) -> Result<()> {
        self.reload_on(INTERFACES, members)
    }

    /// As [`Redirectd::reload`], with other interfaces.
    ///
    /// # Errors
    ///
    /// As [`Redirectd::reload`].
    pub fn reload_on(&self, interfaces: &[&str], members: &[Member]) -> Result<()> {
        self.write(interfaces, members)?;
        self.control.reload()
    }

    /// Changes the members and sends SIGHUP, which nobody answers.
    ///
    /// # Errors
    ///
    /// When the file cannot be written or the daemon is gone.
    pub fn hang_up(&self, members: &[Member]) -> Result<()> {
        self.write(INTERFACES, members)?;
        self.signal(Signal::SIGHUP)
    }

    fn write(&self, interfaces: &[&str], members: &[Member]) -> Result<()> {
        let text = configuration(interfaces, &self.mode, self.control.socket(), &self.pins, members)?;
        fs::write(&self.config, text).with_context(|| format!("writing {}", self.config.display()))
    }

    /// The process that holds the daemon's XDP links: its only child.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn guard(&self) -> Result<Pid> {
        let id = self.process.id();
        let path = format!("/proc/{id}/task/{id}/children");
        let children = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let child = children.split_ascii_whitespace().next().context("the daemon has no guard")?;
        Ok(Pid::from_raw(child.parse().context("a process number")?))
    }

    /// Asks for `show redirect`.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer.
    pub fn show_redirect(&self) -> Result<ShowRedirect> {
        self.control.redirect()
    }

    /// Asks for `show cluster`.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer.
    pub fn show_cluster(&self) -> Result<ShowCluster> {
        self.control.cluster()
    }

    /// Waits for the daemon to end by itself.
    ///
    /// # Errors
    ///
    /// When it runs on.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        self.process.wait(within)
    }

    /// Sends a signal to the daemon alone.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Fails when the daemon has ended.
    ///
    /// # Errors
    ///
    /// With its exit status and the end of its log.
    pub fn check_running(&mut self) -> Result<()> {
        self.process.check_running()
    }

    /// What it has said.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        fs::read_to_string(self.process.log()).context("reading redirectd's log")
    }

    /// Where it pins its maps.
    #[must_use]
    pub fn pins(&self) -> &Path {
        &self.pins
    }
}

/// The balancer's configuration file.
fn configuration(
    interfaces: &[&str],
    mode: &str,
    socket: &Path,
    pins: &Path,
    members: &[Member],
) -> Result<String> {
    let mut text = format!(
        r#"[node]
name = "lb"
addresses = ["{BALANCER4}", "{BALANCER6}"]

[runtime]
socket = "{socket}"
bpf-pin = "{pins}"
metrics = "127.0.0.1:9469"

[fast-path]
interfaces = {interfaces:?}
mode = "{mode}"

[redirect]
vip = ["{VIP4}", "{VIP6}"]
"#,
        socket = socket.display(),
        pins = pins.display(),
    );
    for Member { name, addresses, weight } in members {
        let addresses: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
        write!(
            text,
            "\n[[cluster.static]]\nname = \"{name}\"\naddresses = {addresses:?}\nweight = {weight}\n"
        )?;
    }
    Ok(text)
}

/// Where clients come from.
const INTERFACES: &[&str] = &["eth0"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_has_a_table_of_its_own_in_the_configuration() {
        let members = [Member::imaginary(1, 1), Member::imaginary(2, 5)];

        let text = configuration(INTERFACES, "auto", Path::new("/s"), Path::new("/p"), &members).unwrap();

        assert_eq!(text.matches("[[cluster.static]]").count(), 2);
        assert!(text.ends_with("name = \"gw2\"\naddresses = [\"10.50.0.12\", \"fd50::2:2\"]\nweight = 5\n"));
    }
}
