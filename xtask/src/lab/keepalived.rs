//! keepalived's VRRPv3, the yardstick for failover: who holds the VIP, by another's hand.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::netns::Namespace;
use super::process::{Process, command, output};

/// How long its processes may take to end once killed.
const PATIENCE: Duration = Duration::from_secs(5);
/// The interface it makes for the virtual MAC.
const INTERFACE: &str = "vrrp1";

/// Files with the numbers of its processes.
const PID: &str = "keepalived.pid";
const VRRP_PID: &str = "vrrp.pid";

/// keepalived in one namespace; ends with its guard.
#[derive(Debug)]
pub struct Keepalived {
    process: Option<Process>,
    namespace: Namespace,
    vip: Ipv4Addr,
    config: PathBuf,
}

impl Keepalived {
    /// Prepares keepalived for a VIP on `eth0`, with this priority and advertisement interval.
    ///
    /// # Errors
    ///
    /// When its files cannot be written.
    pub fn new(namespace: &Namespace, vip: Ipv4Addr, priority: u8, advert: Duration) -> Result<Self> {
        let directory = namespace.lab().directory().join(namespace.role());
        fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        let config = directory.join("keepalived.conf");
        fs::write(&config, text(vip, priority, advert))
            .with_context(|| format!("writing {}", config.display()))?;
        Ok(Self { process: None, namespace: namespace.clone(), vip, config })
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// When the program is missing.
    pub fn start(&mut self) -> Result<()> {
        let directory = self.config.with_file_name("");
        for name in [PID, VRRP_PID] {
            // One that was killed leaves them, and the next one believes in them.
            let _absent = fs::remove_file(directory.join(name));
        }
        let mut command = self.namespace.command("keepalived");
        command.args(["--dont-fork", "--log-console", "--vrrp", "--use-file"]).arg(&self.config);
        command.arg("--pid").arg(directory.join(PID));
        command.arg("--vrrp_pid").arg(directory.join(VRRP_PID));
        let log = directory.join("keepalived.log");
        self.process =
            Some(Process::spawn(&format!("keepalived in {}", self.namespace.role()), &mut command, &log)?);
        Ok(())
    }

    /// Kills it: what it had set up stays, as after a crash.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::SIGKILL)
    }

    /// Ends it in order: it resigns.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::SIGTERM)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process.as_ref().context("keepalived does not run")?;
        process.signal(signal)
    }

    /// Waits for its end and removes what is left of it.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub fn clean(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.wait(PATIENCE)?;
        }
        if self.namespace.link(INTERFACE).is_ok() {
            self.namespace.ip(&format!("link delete dev {INTERFACE}"))?;
        }
        Ok(())
    }

    /// Whether the VIP is here.
    ///
    /// # Errors
    ///
    /// When addresses cannot be listed.
    pub fn is_master(&self) -> Result<bool> {
        let vip = IpAddr::V4(self.vip);
        Ok(self.namespace.addresses()?.iter().any(|(_, address)| *address == vip))
    }

    /// Fails unless it runs as a backup: it is ready to take over.
    ///
    /// # Errors
    ///
    /// As described.
    pub fn check_backup(&mut self) -> Result<()> {
        self.process.as_mut().context("keepalived does not run")?.check_running()?;
        ensure!(!self.is_master()?, "it has the VIP");
        let log = fs::read_to_string(self.config.with_file_name("keepalived.log")).unwrap_or_default();
        let last = log.lines().rfind(|line| line.contains("Entering ")).unwrap_or_default();
        ensure!(last.contains("Entering BACKUP STATE"), "{log}");
        Ok(())
    }

    /// keepalived's version.
    ///
    /// # Errors
    ///
    /// When it is not installed.
    pub fn version() -> Result<String> {
        // It says so on standard error.
        let text = output(command("sh").args(["-c", "keepalived --version 2>&1"]))?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }
}

/// Its configuration: real-time scheduling and a virtual MAC, as our daemon has them.
fn text(vip: Ipv4Addr, priority: u8, advert: Duration) -> String {
    format!(
        "global_defs {{
    vrrp_version 3
    vrrp_rt_priority 50
    vrrp_no_swap
    vrrp_garp_master_delay 1
}}
vrrp_instance laboratory {{
    state BACKUP
    nopreempt
    interface eth0
    use_vmac {INTERFACE}
    virtual_router_id 1
    priority {priority}
    advert_int {advert:.3}
    virtual_ipaddress {{
        {vip}/32
    }}
}}
",
        advert = advert.as_secs_f64(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_below_a_second_is_a_fraction() {
        let text = text(Ipv4Addr::new(10, 50, 0, 5), 110, Duration::from_millis(10));

        assert!(text.contains("    advert_int 0.010\n"), "{text}");
        assert!(text.contains("        10.50.0.5/32\n"), "{text}");
    }
}
