//! The gateways that are compared, and the clients that come to them.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use xtask::lab::gateway::{Gateway, Place, Profile, RemoteProof, Scene, Settings, addresses};
use xtask::lab::pki::{Credential, Key, Pki, Validity};
use xtask::lab::process::output;
use xtask::lab::strongswan::{self, Charon, GatewayConfig, Proof, SHARED_KEY};
use xtask::lab::topology::release_binary;
use xtask::lab::wait;

/// Addresses for clients: more than ever come.
const POOL: &str = "10.96.0.0/15";
/// What is behind the gateway.
const INSIDE: &str = "10.99.1.0/24";
/// How long a tunnel may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Who comes with a password.
const USER: &str = "client";
const PASSWORD: &str = "correct horse";
/// Number of the place that clients come from.
const CLIENT: u8 = 1;

/// The gateway's place, the clients' place, and what both know.
///
/// Fields are dropped in order: the laboratory last.
pub(crate) struct Stage {
    pub(crate) place: Place,
    key: PathBuf,
    password: PathBuf,
    pki: Pki,
    credentials: [Credential; 2],
    pub(crate) scene: Scene,
}

/// How both sides prove who they are, and by what means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suite {
    /// For the table.
    pub(crate) name: &'static str,
    pub(crate) means: Means,
    pub(crate) ike: &'static str,
    pub(crate) esp: &'static str,
}

/// How both sides prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    /// With a key that both know.
    SharedKey,
    /// With certificates.
    Certificates,
    /// The gateway with a certificate, the client with a password: EAP-MSCHAPv2.
    Password,
    /// Both with certificates, the client by EAP-TLS.
    Tls,
}

impl Means {
    const fn has_certificates(self) -> bool {
        match self {
            Self::SharedKey => false,
            Self::Certificates | Self::Password | Self::Tls => true,
        }
    }
}

/// Whose gateway it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ours, which does not carry packets.
    Idle,
    /// Ours, which does not carry packets, with the fast path in front of it.
    Gated,
    /// Ours, which does.
    Ours,
    /// strongSwan's.
    Charon,
}

/// A gateway that runs.
pub(crate) enum Responder {
    Ours(Box<Gateway>),
    Charon(Charon),
}

impl Responder {
    pub(crate) fn id(&self) -> Result<Pid> {
        match self {
            Self::Ours(gateway) => gateway.id(),
            Self::Charon(charon) => Ok(charon.id()),
        }
    }

    /// How many IKE SAs it has.
    pub(crate) fn sas(&self) -> Result<usize> {
        match self {
            Self::Ours(gateway) => Ok(gateway.sas()?.len()),
            Self::Charon(charon) => Ok(charon.tunnels()?.len()),
        }
    }
}

/// What `redirectctl bench handshake --json` says.
#[derive(Deserialize)]
pub(crate) struct Told {
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) reasons: Vec<String>,
}

/// What `redirectctl bench init --json` says.
#[derive(Deserialize)]
struct Replies {
    replies: BTreeMap<String, u64>,
}

impl Stage {
    pub(crate) fn new() -> Result<Self> {
        let scene = Scene::new(0)?;
        let place = scene.place(CLIENT)?;
        let key = scene.lab.directory().join("shared.key");
        fs::write(&key, SHARED_KEY).with_context(|| key.display().to_string())?;
        let password = scene.lab.directory().join("password");
        fs::write(&password, PASSWORD).with_context(|| password.display().to_string())?;
        let pki = Pki::new(&scene.lab)?;
        let issue = |name: &str| pki.issue(name, Key::P256, &[&format!("DNS:{name}")], Validity::Current);
        let credentials = [issue("gw1")?, issue("client")?];
        Ok(Self { place, key, password, pki, credentials, scene })
    }

    /// Starts a gateway.
    pub(crate) fn start(&self, kind: Kind, suite: Suite) -> Result<Responder> {
        match kind {
            Kind::Idle => self.ours("none", suite, &[]),
            Kind::Gated => self.ours("none", suite, &addresses()),
            Kind::Ours => self.ours("userspace", suite, &[]),
            Kind::Charon => self.charon(suite),
        }
    }

    fn ours(&self, dataplane: &str, suite: Suite, gated: &[IpAddr]) -> Result<Responder> {
        let by_eap = |remote| Profile {
            remote,
            ..Profile::of_certificates("clients", "gw1", &self.credentials[0], &self.pki)
        };
        let profile = match suite.means {
            Means::SharedKey => Profile::of_shared_key("clients", "gw1"),
            Means::Certificates => {
                Profile::of_certificates("clients", "gw1", &self.credentials[0], &self.pki)
            }
            Means::Password => by_eap(RemoteProof::Users(vec![(USER.to_owned(), PASSWORD.to_owned())])),
            Means::Tls => by_eap(RemoteProof::Tls { ca: self.pki.ca() }),
        };
        let settings = Settings {
            ike_proposals: vec![suite.ike.to_owned()],
            esp_proposals: vec![suite.esp.to_owned()],
            dataplane: Some(dataplane.to_owned()),
            addresses: gated.to_vec(),
            is_quiet: true,
            pools: vec![("clients".to_owned(), POOL.to_owned())],
            profiles: vec![Profile { local_ts: vec![INSIDE.to_owned()], ..profile }],
            ..Settings::default()
        };
        Ok(Responder::Ours(Box::new(self.scene.start(settings)?)))
    }

    fn charon(&self, suite: Suite) -> Result<Responder> {
        let settings = strongswan::Settings { is_for_load: true, ..strongswan::Settings::default() };
        let charon = Charon::start(&self.scene.site, settings)?;
        let asked = |method: &str| Proof::Eap(method.to_owned(), "%any".to_owned());
        let client_proof = match suite.means {
            Means::SharedKey => Proof::SharedKey,
            Means::Certificates => Proof::AnySignature,
            Means::Password => asked("eap-mschapv2"),
            Means::Tls => asked("eap-tls"),
        };
        let proof = if suite.means.has_certificates() {
            charon.add_ca(&self.pki.ca())?;
            charon.add_ca(&self.pki.issuer())?;
            charon.add_private_key(&self.credentials[0].key)?;
            Proof::Signature("pubkey".to_owned(), self.credentials[0].certificate.clone())
        } else {
            Proof::SharedKey
        };
        charon.add_password(USER, PASSWORD)?;
        charon.serve(&GatewayConfig {
            identity: "gw1".to_owned(),
            pools: vec![POOL.to_owned()],
            inside: vec![INSIDE.to_owned()],
            proof,
            client_proof,
            ike_proposals: vec![suite.ike.to_owned()],
            esp_proposals: vec![suite.esp.to_owned()],
            is_mobile: false,
        })?;
        Ok(Responder::Charon(charon))
    }

    /// Our daemon as a client, in a place of its own, with a tunnel to the gateway that carries packets.
    pub(crate) fn client(&self, suite: Suite) -> Result<(Gateway, IpAddr)> {
        let local = self.place.address4;
        let settings = Settings {
            ike_proposals: vec![suite.ike.to_owned()],
            esp_proposals: vec![suite.esp.to_owned()],
            dataplane: Some("userspace".to_owned()),
            is_quiet: true,
            extra: format!(
                "\n[[ike.connection]]\nname = \"gw1\"\nremote = [\"{}\"]\nlocal-id = \"{local}\"\n\
                 remote-id = \"gw1\"\nlocal-auth = \"psk\"\nremote-auth = \"psk\"\npsk = {SHARED_KEY:?}\n\
                 request = [\"ipv4\"]\nremote-ts = [{INSIDE:?}]\n",
                addresses()[0]
            ),
            ..Settings::default()
        };
        let client = Gateway::start(&self.place.namespace, settings)?;
        let address = client.wait_for("a tunnel with an address", PATIENCE, |_| {
            let addresses = self.place.namespace.addresses()?;
            let given = addresses.into_iter().find(|(name, at)| name != "eth0" && at.is_ipv4());
            Ok(given.context("no address")?.1)
        })?;
        Ok((client, address))
    }

    /// Keeps a gateway on one core and has another one take in what it sends.
    pub(crate) fn part(&self, gateway: Pid, own: usize, other: usize) -> Result<()> {
        let mut cores = CpuSet::new();
        cores.set(own)?;
        for task in fs::read_dir(format!("/proc/{gateway}/task")).context("the gateway's threads")? {
            let name = task?.file_name();
            let number = name.to_str().and_then(|name| name.parse().ok()).context("a thread's number")?;
            sched_setaffinity(Pid::from_raw(number), &cores).context("keeping a thread on a core")?;
        }
        let order = format!(
            "echo {:x} > /sys/class/net/{}/queues/rx-0/rps_cpus",
            1_u64 << other,
            self.scene.site.role()
        );
        output(self.scene.switch.namespace().command("sh").args(["-c", &order]))?;
        Ok(())
    }

    /// So many clients come, from this number on, and stay.
    pub(crate) fn clients(&self, suite: Suite, first: u64, count: u64) -> Result<()> {
        let told = self.come(suite, first, &["--count", &count.to_string()], None)?;
        let Told { done, failed, reasons, .. } = &told;
        ensure!(*done == count && *failed == 0, "{suite:?}: {done} of {count}: {}", reasons.join("; "));
        Ok(())
    }

    /// Clients come for so long, on one core, from this number on.
    pub(crate) fn goodput(&self, suite: Suite, first: u64, time: Duration, core: usize) -> Result<Told> {
        let time = format!("{}s", time.as_secs());
        self.come(suite, first, &["--duration", &time, "--timeout", "5s"], Some(core))
    }

    /// Whether somebody who comes now is asked for a cookie, or not answered at all.
    pub(crate) fn is_flood_felt(&self) -> Result<bool> {
        let mut command = self.place.namespace.command(program()?);
        command.args(["bench", "init", &addresses()[0].to_string(), "--json", "--count", "1"]);
        let Replies { replies } = figures(command)?;
        Ok(replies.is_empty() || replies.contains_key("cookie"))
    }

    /// Waits for something.
    pub(crate) fn settle(&self, what: impl FnMut() -> Result<()>) -> Result<()> {
        wait::until("the bench goes on", PATIENCE, what)
    }

    fn come(&self, suite: Suite, first: u64, amount: &[&str], core: Option<usize>) -> Result<Told> {
        let program = program()?;
        let gateway: IpAddr = addresses()[0];
        let mut command = match core {
            Some(core) => {
                let mut command = self.place.namespace.command("taskset");
                command.args(["-c", &core.to_string()]).arg(program);
                command
            }
            None => self.place.namespace.command(program),
        };
        command.args(["bench", "handshake", &gateway.to_string(), "--json", "--patience", "400s"]);
        command.args(["--local", &self.place.address4.to_string(), "--network", INSIDE]);
        command.args(["--ike", suite.ike, "--esp", suite.esp]);
        command.args(["--first", &first.to_string()]).args(amount);
        match suite.means {
            Means::SharedKey => drop(command.arg("--psk-file").arg(&self.key)),
            Means::Password => {
                command.args(["--eap", "mschapv2", "--user", USER, "--password-file"]).arg(&self.password);
            }
            Means::Tls => drop(command.args(["--eap", "tls"])),
            Means::Certificates => {}
        }
        if matches!(suite.means, Means::Certificates | Means::Tls) {
            command.arg("--certificate").arg(&self.credentials[1].chain);
            command.arg("--private-key").arg(&self.credentials[1].key);
        }
        if suite.means.has_certificates() {
            command.arg("--ca").arg(self.pki.ca());
        }
        figures(command)
    }
}

/// What a command has to say, also if nobody came through.
fn figures<T: DeserializeOwned>(mut command: Command) -> Result<T> {
    let said = command.output().context("a command")?;
    let complaint = String::from_utf8_lossy(&said.stderr);
    serde_json::from_slice(&said.stdout).with_context(|| format!("the figures: {complaint}"))
}

fn program() -> Result<PathBuf> {
    let program = release_binary("redirectctl");
    program.canonicalize().with_context(|| format!("{}: cargo xtask build", program.display()))
}
