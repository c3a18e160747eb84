//! Our redirect over libreswan's `global-redirect=yes`, the other redirector there is.
//!
//! Debian's package conflicts with that of strongSwan, so its packages are unpacked into
//! `.tools/libreswan` and laid over `/usr/libexec` in a mount namespace of pluto's own.
//! Logging is off and no helper threads run: the answer needs none.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::unistd::Pid;
use xtask::lab::libreswan::unpack;

use crate::Objects;
use crate::cost;
use crate::report::Report;
use crate::sockets::Sockets;

/// Where the gateway of the first slot is, as for our own program.
const TARGET: &str = "192.0.2.21";
/// Longest that pluto's start may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn run(report: &mut Report, objects: &Objects) -> Result<()> {
    let root = match unpack() {
        Ok(root) => root,
        Err(why) => {
            report.missing("redirects/CPU-s over libreswan", &why);
            return Ok(());
        }
    };
    let mut sockets = Sockets::new(objects, &cost::world())?;
    let directory = Directory::new()?;
    let pluto = match Pluto::start(&root, &directory.0, &sockets) {
        Ok(pluto) => pluto,
        Err(why) => {
            report.missing("redirects/CPU-s over libreswan", &why);
            return Ok(());
        }
    };
    let case = format!("libreswan {}", pluto.version);
    cost::compare(report, objects, &mut sockets, &[pluto.pid()?], &case, 30.0, 200.0)
}

/// A directory that goes away with the bench.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("redirect-bench-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left over is in the system's directory for that.
        let _left = fs::remove_dir_all(&self.0);
    }
}

/// The running daemon.
struct Pluto {
    process: Child,
    version: String,
}

impl Pluto {
    fn start(root: &Path, directory: &Path, sockets: &Sockets) -> Result<Self> {
        let libraries = root.join("usr/lib/x86_64-linux-gnu");
        let tool = |path: &str| {
            let mut command = Command::new(root.join(path));
            command.env("LD_LIBRARY_PATH", &libraries);
            command
        };
        let path = |name: &str| directory.join(name);
        fs::create_dir(path("nss"))?;
        fs::create_dir(path("run"))?;
        fs::write(path("secrets"), "")?;
        fs::write(
            path("ipsec.conf"),
            format!(
                "config setup\n\tglobal-redirect=yes\n\tglobal-redirect-to={TARGET}\n\tddos-mode=unlimited\n\
                 \tnhelpers=0\n\tlogfile=/dev/null\n\tdumpdir={0}\n",
                path("run").display()
            ),
        )?;
        let database = format!("sql:{}", path("nss").display());
        let made = tool("usr/bin/certutil").args(["-N", "--empty-password", "-d", &database]).status()?;
        ensure!(made.success(), "certutil makes no database");
        let version = tool("usr/libexec/ipsec/pluto").arg("--version").output()?;
        let version = String::from_utf8_lossy(&version.stdout);
        let version = version.split_whitespace().nth(1).unwrap_or("?").to_owned();

        let overlay = format!("lowerdir={}:/usr/libexec", root.join("usr/libexec").display());
        // Started by the bench's main thread, it does not outlive it, whatever ends the bench.
        let process = Command::new("nsenter")
            .arg(format!("--net={}", sockets.far.path()))
            .args(["setpriv", "--pdeathsig", "KILL"])
            .args(["taskset", "--cpu-list", &crate::RESPONDER_CORE.to_string()])
            .args(["unshare", "--mount", "sh", "-c"])
            .arg("mount -t overlay overlay -o \"$1\" /usr/libexec && shift && exec \"$@\"")
            .args(["sh", &overlay])
            .arg(root.join("usr/libexec/ipsec/pluto"))
            .args(["--nofork", "--no-dnssec", "--nhelpers", "0", "--logfile", "/dev/null"])
            .arg("--config")
            .arg(path("ipsec.conf"))
            .arg("--rundir")
            .arg(path("run"))
            .arg("--nssdir")
            .arg(path("nss"))
            .arg("--secretsfile")
            .arg(path("secrets"))
            .env("LD_LIBRARY_PATH", &libraries)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(path("errors"))?)
            .spawn()
            .context("starting pluto")?;
        let mut pluto = Self { process, version };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let whack =
                tool("usr/libexec/ipsec/whack").arg("--rundir").arg(path("run")).arg("--listen").output()?;
            if whack.status.success() {
                return Ok(pluto);
            }
            let ended = pluto.process.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let said = fs::read_to_string(path("errors")).unwrap_or_default();
                anyhow::bail!("pluto does not listen: {}", said.lines().last().unwrap_or("it says nothing"));
            }
        }
    }

    fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.process.id())?))
    }
}

impl Drop for Pluto {
    fn drop(&mut self) {
        // It may have ended already; nothing of it is left either way.
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}
