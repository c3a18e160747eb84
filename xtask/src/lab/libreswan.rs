//! libreswan as a client: one `pluto` in a namespace, driven by `whack`.
//!
//! Debian's package conflicts with that of strongSwan, so its packages are unpacked into
//! `.tools/libreswan` and laid over `/usr/libexec` in a mount namespace of pluto's own.
//!
//! libreswan leaves ESP to the kernel, and the kernel of the test machines has none. What keeps an
//! IKE SA all the same are pluto's own means for tests, its impairments: it asks for a Child SA and
//! does not look at the answer ([`Pluto::ignores_child_sas`]).

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::gateway::write_secret;
use super::netns::Namespace;
use super::pki::{Credential, Pki};
use super::process::{Process, command, output, tell_of_failure};
use super::topology::workspace;
use super::wait;

/// What is unpacked: libreswan and what it needs beyond a minimal system.
const PACKAGES: [&str; 9] = [
    "libreswan",
    "libcurl3-nss",
    "libevent-2.1-7",
    "libevent-pthreads-2.1-7",
    "libldns3",
    "libnspr4",
    "libnss3",
    "libnss3-tools",
    "libunbound8",
];
/// How long the daemon may take to answer for the first time.
const START: Duration = Duration::from_secs(20);

/// Downloads and unpacks libreswan, once; returns the root of its files.
///
/// # Errors
///
/// When the packages cannot be had.
pub fn unpack() -> Result<PathBuf> {
    let tools = workspace().canonicalize().context("the workspace")?.join(".tools/libreswan");
    let root = tools.join("root");
    if root.join("complete").exists() {
        return Ok(root);
    }
    // Others may do the same at this moment: who is last wins, with the same files.
    let own = tools.join(format!("root-{}", std::process::id()));
    fs::create_dir_all(&own).with_context(|| format!("creating {}", own.display()))?;
    output(command("apt-get").arg("download").args(PACKAGES).current_dir(&own))?;
    for entry in fs::read_dir(&own)? {
        let package = entry?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            output(command("dpkg").arg("-x").arg(&package).arg(&own))?;
            fs::remove_file(&package).with_context(|| format!("removing {}", package.display()))?;
        }
    }
    fs::write(own.join("complete"), "").context("marking libreswan as complete")?;
    if let Err(error) = fs::rename(&own, &root) {
        ensure!(root.join("complete").exists(), "{}: {error}", root.display());
        fs::remove_dir_all(&own).context("removing a second libreswan")?;
    }
    Ok(root)
}

/// A running libreswan daemon; ends with its guard.
#[derive(Debug)]
pub struct Pluto {
    process: Process,
    root: PathBuf,
    directory: PathBuf,
    role: String,
}

impl Pluto {
    /// Starts a daemon and waits until it listens.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let root = unpack()?;
        let role = namespace.role().to_owned();
        let directory = namespace.lab().directory().join(format!("{role}-libreswan"));
        for name in ["nss", "run"] {
            fs::create_dir_all(directory.join(name)).context("creating pluto's directories")?;
        }
        write_secret(&directory.join("secrets"), "")?;
        let config = directory.join("ipsec.conf");
        let text = format!(
            "config setup\n\tlogtime=no\n\tdumpdir={0}\n\tikev1-policy=drop\n\nconn %default\n",
            directory.join("run").display()
        );
        fs::write(&config, text).with_context(|| format!("writing {}", config.display()))?;
        let libraries = root.join("usr/lib/x86_64-linux-gnu");
        let database = format!("sql:{}", directory.join("nss").display());
        output(Command::new(root.join("usr/bin/certutil")).env("LD_LIBRARY_PATH", &libraries).args([
            "-N",
            "--empty-password",
            "-d",
            &database,
        ]))?;
        let overlay = format!("lowerdir={}:/usr/libexec", root.join("usr/libexec").display());
        let process = Process::spawn(
            &format!("pluto in {role}"),
            namespace
                .command("sh")
                .args(["-c", r#"mount -t overlay overlay -o "$0" /usr/libexec && exec "$@""#])
                .arg(&overlay)
                .arg(root.join("usr/libexec/ipsec/pluto"))
                .args(["--nofork", "--no-dnssec", "--stderrlog", "--log-no-time", "--config"])
                .arg(&config)
                .arg("--rundir")
                .arg(directory.join("run"))
                .arg("--nssdir")
                .arg(directory.join("nss"))
                .arg("--secretsfile")
                .arg(directory.join("secrets"))
                .env("LD_LIBRARY_PATH", &libraries),
            &directory.join("pluto.log"),
        )?;
        let mut pluto = Self { process, root, directory, role };
        let mut listen = pluto.tool("usr/libexec/ipsec/whack", &["--listen"]);
        listen.arg("--rundir").arg(pluto.directory.join("run"));
        pluto.process.until("pluto listens", START, || output(&mut listen))?;
        Ok(pluto)
    }

    /// Gives it the key that two identities share.
    ///
    /// # Errors
    ///
    /// When it does not read it.
    pub fn add_shared_key(&self, owners: [&str; 2], key: &str) -> Result<()> {
        let path = self.directory.join("secrets");
        let mut text = fs::read_to_string(&path).context("reading pluto's secrets")?;
        text.push_str(&format!("@{} @{} : PSK \"{key}\"\n", owners[0], owners[1]));
        write_secret(&path, &text)?;
        self.whack(&["--rereadsecrets"])?;
        Ok(())
    }

    /// Gives it a certificate with its key, under a name, and the CAs above it.
    ///
    /// # Errors
    ///
    /// When it does not take them.
    pub fn add_credential(&self, name: &str, credential: &Credential, pki: &Pki) -> Result<()> {
        let database = format!("sql:{}", self.directory.join("nss").display());
        let bundle = self.directory.join(format!("{name}.p12"));
        output(
            command("openssl")
                .args(["pkcs12", "-export", "-passout", "pass:lab", "-name", name, "-in"])
                .arg(&credential.certificate)
                .arg("-inkey")
                .arg(&credential.key)
                .arg("-certfile")
                .arg(pki.issuer())
                .arg("-out")
                .arg(&bundle),
        )?;
        output(self.tool("usr/bin/pk12util", &["-W", "lab", "-K", "", "-d", &database, "-i"]).arg(&bundle))?;
        output(
            self.tool("usr/bin/certutil", &["-A", "-n", "lab-ca", "-t", "CT,,", "-d", &database, "-i"])
                .arg(pki.ca()),
        )?;
        self.whack(&["--rereadall"])?;
        Ok(())
    }

    /// Adds a connection with these settings, as `ipsec.conf` has them.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub fn add(&self, name: &str, settings: &[(&str, &str)]) -> Result<()> {
        let path = self.directory.join(format!("{name}.conf"));
        let mut text = format!("config setup\n\nconn {name}\n\tauto=add\n");
        for (key, value) in settings {
            text.push_str(&format!("\t{key}={value}\n"));
        }
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        output(
            self.tool("usr/libexec/ipsec/addconn", &["--ctlsocket"])
                .arg(self.directory.join("run/pluto.ctl"))
                .arg("--config")
                .arg(&path)
                .arg(name),
        )?;
        Ok(())
    }

    /// Settings of a client at an address, of the gateway `gw1`, that asks for an IPv4 address.
    #[must_use]
    pub fn client(local: IpAddr, gateway: IpAddr) -> Vec<(&'static str, String)> {
        let family = if local.is_ipv4() { "ipv4" } else { "ipv6" };
        vec![
            ("ikev2", String::from("insist")),
            ("hostaddrfamily", family.to_owned()),
            ("left", local.to_string()),
            ("right", gateway.to_string()),
            ("leftmodecfgclient", String::from("yes")),
            ("leftsubnet", String::from("0.0.0.0/0")),
            ("rightsubnet", String::from("0.0.0.0/0")),
            ("narrowing", String::from("yes")),
            ("mobike", String::from("no")),
            ("retransmit-timeout", String::from("10s")),
        ]
    }

    /// Settings of a gateway at an address, of identity `gw1`, for whoever knows the key of
    /// [`Pluto::add_shared_key`].
    #[must_use]
    pub fn gateway(local: IpAddr) -> Vec<(&'static str, String)> {
        let (family, everything) = if local.is_ipv4() { ("ipv4", "0.0.0.0/0") } else { ("ipv6", "::/0") };
        vec![
            ("ikev2", String::from("insist")),
            ("hostaddrfamily", family.to_owned()),
            ("left", local.to_string()),
            ("leftid", String::from("@gw1")),
            ("leftsubnet", everything.to_owned()),
            ("right", String::from("%any")),
            ("rightaddresspool", String::from("10.98.1.1-10.98.1.99")),
            ("authby", String::from("secret")),
            ("narrowing", String::from("yes")),
        ]
    }

    /// Has it send every client that follows redirects to another gateway, in IKE_SA_INIT.
    ///
    /// # Errors
    ///
    /// When it refuses.
    pub fn send_all_to(&self, gateway: IpAddr) -> Result<()> {
        self.whack(&["--global-redirect", "yes", "--global-redirect-to", &gateway.to_string()])?;
        Ok(())
    }

    /// Has it keep IKE SAs although no Child SA can be installed: it ignores the answer's part about
    /// the Child SA.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn ignores_child_sas(&self) -> Result<()> {
        self.impair("ignore-v2-ike-auth-child")
    }

    /// Has it behave in one of the wrong or odd ways it knows for tests.
    ///
    /// # Errors
    ///
    /// When it does not know that one.
    pub fn impair(&self, how: &str) -> Result<()> {
        self.whack(&["--impair", how])?;
        Ok(())
    }

    /// Starts a connection without waiting for it.
    ///
    /// # Errors
    ///
    /// When there is no such connection.
    pub fn initiate(&self, name: &str) -> Result<()> {
        self.whack(&["--initiate", "--asynchronous", "--name", name])?;
        Ok(())
    }

    /// Asks for new keys of the IKE SA.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn rekey(&self, name: &str) -> Result<()> {
        self.whack(&["--rekey-ike", "--asynchronous", "--name", name])?;
        Ok(())
    }

    /// Ends a connection; the peer is told.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn terminate(&self, name: &str) -> Result<()> {
        self.whack(&["--terminate", "--name", name])?;
        Ok(())
    }

    /// Waits until a line that contains all of `words` is in its log; returns the line.
    ///
    /// # Errors
    ///
    /// When there is none in time: with the end of the log.
    pub fn wait_for_log(&self, words: &[&str], within: Duration) -> Result<String> {
        wait::until(&format!("pluto in {} writes {words:?}", self.role), within, || {
            let log = self.log();
            let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
            line.map(str::to_owned).with_context(|| self.process.log_tail())
        })
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.process.log()).unwrap_or_default()).into_owned()
    }

    fn whack(&self, arguments: &[&str]) -> Result<String> {
        output(
            self.tool("usr/libexec/ipsec/whack", &["--rundir"])
                .arg(self.directory.join("run"))
                .args(arguments),
        )
    }

    fn tool(&self, path: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.root.join(path));
        command.env("LD_LIBRARY_PATH", self.root.join("usr/lib/x86_64-linux-gnu")).args(arguments);
        command
    }
}

impl Drop for Pluto {
    fn drop(&mut self) {
        tell_of_failure(|| self.process.log_tail());
    }
}
