//! Debian's and Ubuntu's package manager.
//!
//! # Invariants
//!
//! - Nothing is installed on another distribution or without root: the error then names the
//!   packages.
//! - No service of a package starts because it was installed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::exec::{self, Run};
use crate::paths;

/// Whether this is Debian or a distribution made from it, and we are root.
pub(crate) fn may_install() -> bool {
    exec::is_root() && is_debian()
}

/// Whether the archive offers all of `packages`.
pub(crate) fn offers(packages: &[&str]) -> Result<bool> {
    update_once()?;
    Ok(is_known(packages))
}

/// Installs packages.
///
/// # Errors
///
/// We may not install here, or the archive lacks one of them.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if !may_install() {
        let who = if is_debian() { "Only root may install packages" } else { "This is not Debian or Ubuntu" };
        bail!(
            "{who}. Please install this (Debian's package names) and try again:\n  \
             apt-get install --no-install-recommends {list}"
        );
    }
    update_once()?;

    let charons = running("charon-systemd");
    let no_services = NoServices::new()?;
    let attempt = || apt("install").args(["--yes", "--no-install-recommends"]).args(packages).run();
    if let Err(error) = attempt() {
        eprintln!("{error:#}; perhaps the package index is old: fetching it and trying again.");
        apt("update").run()?;
        attempt().with_context(|| format!("installing {list}"))?;
    }
    no_services.end()?;
    leave_strongswan_stopped(&charons)
}

/// The names of packages come from an index, which a fresh machine or container does not have.
fn update_once() -> Result<()> {
    if is_known(&["apt", "iproute2"]) {
        return Ok(());
    }
    eprintln!("The package index is missing: fetching it.");
    apt("update").run()
}

fn is_known(packages: &[&str]) -> bool {
    packages.iter().all(|package| {
        // A package that was installed from a file is known to dpkg but has no candidate to fetch.
        Run::new("apt-cache").args(["madison", package]).ask().is_some_and(|rows| !rows.trim().is_empty())
    })
}

fn apt(verb: &str) -> Run {
    Run::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").arg(verb)
}

fn is_debian() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    is_debian_release(&release) && paths::find_program("apt-get").is_some()
}

fn is_debian_release(release: &str) -> bool {
    release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|names| names.trim_matches('"').split_whitespace())
        .any(|name| name == "debian" || name == "ubuntu")
}

/// Keeps packages from starting their services, by Debian's own means, until it is dropped.
struct NoServices {
    /// The file we wrote; `None` when the machine has such a policy of its own.
    policy: Option<PathBuf>,
}

impl NoServices {
    fn new() -> Result<Self> {
        let policy = PathBuf::from(POLICY);
        if policy.exists() {
            return Ok(Self { policy: None });
        }
        eprintln!("Writing {POLICY} while packages are installed, so that none of them starts a service.");
        fs::write(&policy, "#!/bin/sh\nexit 101\n").with_context(|| format!("writing {POLICY}"))?;
        let guard = Self { policy: Some(policy) };
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("making {POLICY} executable"))?;
        Ok(guard)
    }

    fn end(mut self) -> Result<()> {
        match self.policy.take() {
            Some(policy) => fs::remove_file(&policy).with_context(|| format!("removing {POLICY}")),
            None => Ok(()),
        }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(policy) = &self.policy
            && let Err(error) = fs::remove_file(policy)
        {
            eprintln!("Please remove {POLICY}: {error}");
        }
    }
}

/// strongSwan is wanted as a program to start in a namespace. As a service of this machine it
/// would take UDP ports 500 and 4500, now or at the next start.
fn leave_strongswan_stopped(before: &[u32]) -> Result<()> {
    let has_systemd = Path::new("/run/systemd/system").exists();
    let was_in_use = !before.is_empty();
    if has_systemd && !was_in_use && Run::new("systemctl").args(["is-enabled", "strongswan"]).ask().is_some()
    {
        eprintln!(
            "strongSwan is only wanted inside namespaces: its service is not to start with the machine."
        );
        Run::new("systemctl").args(["disable", "--now", "strongswan"]).run()?;
    }
    let new: Vec<u32> = running("charon-systemd").into_iter().filter(|pid| !before.contains(pid)).collect();
    if !new.is_empty() {
        bail!(
            "installing strongSwan has started it (process {new:?}): please stop it, it holds UDP 500 and 4500"
        );
    }
    Ok(())
}

/// Processes of a program.
fn running(program: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            exe.file_name().is_some_and(|name| name == program)
        })
        .collect()
}

/// What `invoke-rc.d` and `deb-systemd-invoke` ask before they start anything; 101 means no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_and_its_children_are_recognised() {
        assert!(is_debian_release("PRETTY_NAME=\"x\"\nID=debian\n"));
        assert!(is_debian_release("ID=ubuntu\nID_LIKE=debian\n"));
        assert!(is_debian_release("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!is_debian_release("ID=fedora\n"));
        assert!(!is_debian_release("ID=opensuse\nID_LIKE=\"suse\"\nVARIANT_ID=debian\n"));
    }

    #[test]
    fn a_running_program_is_seen() {
        let exe = std::env::current_exe().unwrap();
        let name = exe.file_name().unwrap().to_str().unwrap();

        assert!(running(name).contains(&std::process::id()));
        assert!(running("no-such-program-anywhere").is_empty());
    }
}
