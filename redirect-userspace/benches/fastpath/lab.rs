//! Network namespaces of the bench's own, without names.
//!
//! A namespace lives as long as a descriptor, a thread or an interface's user keeps it, so that it
//! goes away with the bench however the bench ends.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, setns, unshare};
use nix::unistd::Pid;

/// Address of the interface `near`.
pub(crate) const NEAR_MAC: &str = "02:00:00:00:00:01";
/// Address of the interface `far`.
pub(crate) const FAR_MAC: &str = "02:00:00:00:00:02";

/// One network namespace.
pub(crate) struct Namespace(File);

impl Namespace {
    /// Makes one, with the loopback interface up and no IPv6 chatter on later interfaces.
    pub(crate) fn new() -> Result<Self> {
        in_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace needs root")?;
            let namespace = Self(File::open("/proc/thread-self/ns/net")?);
            for scope in ["all", "default"] {
                // A kernel without IPv6 has no such file, and no chatter.
                let _absent = std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1");
            }
            command("ip", &["link", "set", "lo", "up"])?;
            Ok(namespace)
        })
    }

    /// Runs `work` in a thread that is in this namespace.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        in_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET).context("entering a network namespace")?;
            work()
        })
    }

    /// A path by which other processes find it.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// A veth pair, `near` and `far`, each with one queue, so that one core does all the work.
pub(crate) fn veth(near: &Namespace, far: &Namespace) -> Result<()> {
    near.enter(|| {
        let queues = ["numrxqueues", "1", "numtxqueues", "1"];
        let place = far.path();
        let mut arguments = vec!["link", "add", "near", "address", NEAR_MAC];
        arguments.extend(queues);
        arguments.extend(["type", "veth", "peer", "name", "far", "address", FAR_MAC]);
        arguments.extend(queues);
        arguments.extend(["netns", &place]);
        command("ip", &arguments)?;
        command("ip", &["link", "set", "near", "up"])
    })?;
    far.enter(|| command("ip", &["link", "set", "far", "up"]))
}

/// Runs a command and waits for it.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Result<()> {
    let output =
        Command::new(program).args(arguments).output().with_context(|| format!("starting {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), said.trim());
    Ok(())
}

/// Keeps the calling thread, and those it starts from now on, on one core.
pub(crate) fn pin(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &cores).context("pinning a thread")
}

fn in_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let panicked = |_| anyhow!("a thread of the bench panicked");
    thread::scope(|scope| scope.spawn(work).join().map_err(panicked))?
}
