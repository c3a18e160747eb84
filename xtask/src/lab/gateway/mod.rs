//! Our own IKEv2 gateway: `redirectd` with an `[ike]` section in a namespace, asked through its
//! control socket. The places it and its clients are at are in [`Scene`].

mod scene;
mod settings;
pub mod windows;

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

pub(super) use self::scene::on_the_wire;
pub use self::scene::{Place, Scene, Visitor, addresses};
pub(super) use self::settings::sections;
pub use self::settings::{Connection, LocalProof, Profile, RadiusServer, RemoteProof, Settings};
use super::control::{Control, Event, Sa};
use super::netns::Namespace;
use super::process::{Process, tell_of_failure};
use super::topology::installed;
use super::wait;

/// How long the daemon may take until it answers, or until it has ended in order.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where it is scraped.
const METRICS: &str = "127.0.0.1:9469";

/// A gateway. Its daemon comes and goes; its namespace stays.
#[derive(Debug)]
pub struct Gateway {
    /// What the daemon is told when it starts or reads its configuration again.
    pub settings: Settings,
    daemon: Option<Process>,
    control: Control,
    config: PathBuf,
    starts: u32,
    namespace: Namespace,
}

impl Gateway {
    /// Starts the daemon and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it does not get that far: with the end of its log.
    pub fn start(namespace: &Namespace, settings: Settings) -> Result<Self> {
        let directory = namespace.lab().directory().join(namespace.role());
        fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        let mut gateway = Self {
            settings,
            daemon: None,
            control: Control::new(&directory.join("redirectd.sock")),
            config: directory.join("redirectd.toml"),
            starts: 0,
            namespace: namespace.clone(),
        };
        gateway.restart()?;
        Ok(gateway)
    }

    /// Starts the daemon, which does not run, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it does not get that far: with the end of its log.
    pub fn restart(&mut self) -> Result<()> {
        ensure!(self.daemon.is_none(), "the gateway runs already");
        self.write()?;
        self.starts += 1;
        let program = installed("redirectd")?;
        let mut command = if self.settings.hosts.is_empty() {
            self.namespace.command(program)
        } else {
            let hosts = self.config.with_file_name("hosts");
            fs::write(&hosts, &self.settings.hosts)
                .with_context(|| format!("writing {}", hosts.display()))?;
            // Only in the mount namespace that the daemon has to itself.
            let mut command = self.namespace.command("sh");
            command.args(["-c", r#"mount --bind "$0" /etc/hosts && exec "$@""#]).arg(hosts).arg(program);
            command
        };
        command.arg("--config").arg(&self.config);
        if self.settings.is_quiet {
            command.args(["--log-filter", "warn"]);
        }
        let name = format!("redirectd in {}", self.namespace.role());
        let mut daemon = Process::spawn(&name, &mut command, &self.log_file())?;
        let control = self.control.clone();
        daemon.until("the gateway answers its operator", PATIENCE, || control.sas())?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Kills the daemon: it can do nothing more.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.end(Signal::SIGKILL)
    }

    /// Ends the daemon in order.
    ///
    /// # Errors
    ///
    /// When it does not run, or does not end.
    pub fn stop(&mut self) -> Result<()> {
        self.end(Signal::SIGTERM)
    }

    fn end(&mut self, signal: Signal) -> Result<()> {
        let mut daemon = self.daemon.take().context("the gateway does not run")?;
        daemon.signal(signal)?;
        let status = daemon.wait(PATIENCE)?;
        ensure!(signal != Signal::SIGTERM || status.success(), "{status}\n{}", daemon.log_tail());
        Ok(())
    }

    /// Fails when the daemon has ended although it should run.
    ///
    /// # Errors
    ///
    /// With its exit status and the end of its log.
    pub fn check_running(&mut self) -> Result<()> {
        self.daemon.as_mut().context("the gateway does not run")?.check_running()
    }

    /// Writes [`Gateway::settings`] and sends SIGHUP, which nobody answers.
    ///
    /// # Errors
    ///
    /// When the daemon is gone.
    pub fn hang_up(&self) -> Result<()> {
        self.write()?;
        self.daemon.as_ref().context("the gateway does not run")?.signal(Signal::SIGHUP)
    }

    /// Writes [`Gateway::settings`] and has them taken over.
    ///
    /// # Errors
    ///
    /// When the daemon refuses.
    pub fn reload(&self) -> Result<()> {
        self.write()?;
        self.control.reload()
    }

    /// The daemon's process, to have its use of processor and memory measured.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn id(&self) -> Result<Pid> {
        Ok(self.daemon.as_ref().context("the gateway does not run")?.id())
    }

    /// Its control socket.
    #[must_use]
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// Its namespace.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its IKE SAs.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn sas(&self) -> Result<Vec<Sa>> {
        self.control.sas()
    }

    /// Waits until there is one established IKE SA with a peer of this identity, and no other one
    /// of any kind; returns it.
    ///
    /// # Errors
    ///
    /// When it does not come to that: with what there is and the end of the log.
    pub fn wait_for_sa(&self, identity: &str, within: Duration) -> Result<Sa> {
        self.wait_for(&format!("one SA with {identity}"), within, |sas| {
            let mut found = sas.into_iter().filter(|sa| sa.remote_id == identity);
            match (found.next(), found.next()) {
                (Some(sa), None) if sa.state == "established" => Ok(sa),
                (first, second) => bail!("{first:?} {second:?}"),
            }
        })
    }

    /// Sends packets from its place to there until one has brought its connection up; returns the SA.
    ///
    /// # Errors
    ///
    /// When none does: with what there is and the end of the log.
    pub fn knock(&self, place: &Place, at: IpAddr, within: Duration) -> Result<Sa> {
        self.wait_for("a packet brings the client up", within, |sas| {
            place.namespace.knock(at)?;
            match &sas[..] {
                [sa] if sa.state == "established" && sa.children.len() == 1 => Ok(sa.clone()),
                sas => bail!("{sas:?}"),
            }
        })
    }

    /// Waits until there is no SA with a peer of this identity.
    ///
    /// # Errors
    ///
    /// When it does not come to that: with what there is and the end of the log.
    pub fn wait_until_gone(&self, identity: &str, within: Duration) -> Result<()> {
        self.wait_for(&format!("no SA with {identity}"), within, |sas| {
            ensure!(sas.iter().all(|sa| sa.remote_id != identity), "{sas:?}");
            Ok(())
        })
    }

    /// Waits until the IKE SAs are as they should be.
    ///
    /// # Errors
    ///
    /// When it does not come to that: with the reason last given and the end of the log.
    pub fn wait_for<T>(
        &self,
        what: &str,
        within: Duration,
        judge: impl Fn(Vec<Sa>) -> Result<T>,
    ) -> Result<T> {
        wait::until(what, within, || judge(self.sas()?)).with_context(|| self.log_tail())
    }

    /// Waits until an event of this name has a text that contains all of `words`; returns it.
    ///
    /// # Errors
    ///
    /// When there is none in time: with all events.
    pub fn wait_for_event(&self, name: &str, words: &[&str], within: Duration) -> Result<Event> {
        wait::until(&format!("the gateway tells of {name} {words:?}"), within, || {
            let events = self.control.events()?;
            let is_it =
                |event: &&Event| event.event == name && words.iter().all(|word| event.text.contains(word));
            events.iter().find(is_it).cloned().with_context(|| {
                let texts = events.iter().map(|event| format!("{}: {}", event.event, event.text));
                texts.collect::<Vec<_>>().join("\n")
            })
        })
    }

    /// A scrape of its metrics.
    ///
    /// # Errors
    ///
    /// When nobody answers.
    pub fn metrics(&self) -> Result<String> {
        let answer = self.namespace.enter(|| {
            let mut stream = TcpStream::connect(METRICS)?;
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        })?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no answer to a scrape")?;
        Ok(body.to_owned())
    }

    /// What the daemon has written since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The end of it.
    #[must_use]
    pub fn log_tail(&self) -> String {
        const LINES: usize = 40;
        let log = self.log();
        let skip = log.lines().count().saturating_sub(LINES);
        log.lines().skip(skip).collect::<Vec<_>>().join("\n")
    }

    fn log_file(&self) -> PathBuf {
        self.config.with_file_name(format!("redirectd-{}.log", self.starts))
    }

    fn write(&self) -> Result<()> {
        let pins = self.namespace.lab().pins().join(format!("redirectd-{}", self.namespace.role()));
        if let Some(file) = self.settings.file {
            let lab = self.namespace.lab().directory().display().to_string();
            let text = file.replace("@LAB@", &lab).replace("@PINS@", &pins.display().to_string());
            return write_secret(&self.config, &text);
        }
        let addresses: Vec<String> = self.settings.addresses.iter().map(ToString::to_string).collect();
        let (node, fast_path) = if addresses.is_empty() {
            (String::new(), "mode = \"off\"")
        } else {
            (format!("addresses = {addresses:?}\n"), "interfaces = [\"eth0\"]")
        };
        let text = format!(
            "[node]\nname = {:?}\n{node}\n[runtime]\nsocket = {:?}\nbpf-pin = {pins:?}\n\
             metrics = {METRICS:?}\n\n[fast-path]\n{fast_path}\n{}",
            self.namespace.role(),
            self.control.socket(),
            sections(&self.settings)?
        );
        write_secret(&self.config, &text)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        tell_of_failure(|| format!("{:?}\n{}", self.sas(), self.log_tail()));
    }
}

/// Writes a file that nobody else may read: the daemon refuses keys in others.
pub(super) fn write_secret(path: &Path, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}
