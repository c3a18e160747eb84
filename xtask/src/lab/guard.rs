//! [`Lab`]: the owner of everything a laboratory makes, and its reaper.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

use super::netns::Namespace;
use super::process::{command, output};

/// Every namespace of every laboratory begins with this.
const PREFIX: &str = "ikelab";

/// Waits for the end of its standard input, then removes what the laboratory made.
///
/// `$1` is the prefix of the namespaces, `$2` the temporary directory. The kernel closes the pipe
/// however the owner ends, so this is the one clean-up for return, panic, signal and SIGKILL.
/// Namespaces go last: a namespace whose processes live on would only lose its name.
const REAPER: &str = r#"
trap '' INT TERM HUP QUIT
while read -r _; do :; done
each() { for path in /run/netns/"$1"-*; do [ -e "$path" ] && echo "${path##*/}"; done; }
for round in $(seq 100); do
    pids=$(for name in $(each "$1"); do ip netns pids "$name"; done 2>/dev/null)
    [ -z "$pids" ] && break
    kill -KILL $pids 2>/dev/null
    sleep 0.02
done
for name in $(each "$1"); do ip netns del "$name" 2>/dev/null; done
umount -l "$2/bpf" 2>/dev/null
rm -rf "$2"
"#;

/// A laboratory: namespaces, a temporary directory, and a BPF file system for pins.
///
/// A reaper, detached from the terminal and from the owner's process group, holds the reading end
/// of a pipe whose writing end is here. When that closes, it kills what runs in the laboratory's
/// namespaces and removes them. Dropping the value does the same and waits for it.
///
/// Clones share one laboratory.
#[derive(Clone, Debug)]
pub struct Lab {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    prefix: String,
    directory: PathBuf,
    reaper: Child,
}

impl Lab {
    /// Creates an empty laboratory and removes what dead owners may have left.
    ///
    /// # Errors
    ///
    /// Without the rights for namespaces and mounts, or without `ip`.
    pub fn new() -> Result<Self> {
        static LABS: AtomicU32 = AtomicU32::new(0);

        sweep().context("removing what a former laboratory left")?;
        let prefix = format!("{PREFIX}-{}-{}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(&prefix);
        // The reaper comes first: from here on, nothing can be left behind.
        let shared = Shared { reaper: reaper(&prefix, &directory)?, prefix, directory };
        let lab = Self { shared: Arc::new(shared) };
        let pins = lab.pins();
        fs::create_dir_all(&pins).with_context(|| format!("creating {}", pins.display()))?;
        output(command("mount").args(["-t", "bpf", "bpf"]).arg(&pins))
            .context("mounting a BPF file system")?;
        Ok(lab)
    }

    /// Creates a namespace with its loopback up.
    ///
    /// # Errors
    ///
    /// When `ip netns` fails; the role is already taken, for example.
    pub fn namespace(&self, role: &str) -> Result<Namespace> {
        Namespace::create(self.clone(), format!("{}-{role}", self.shared.prefix), role)
    }

    /// A temporary directory for sockets, logs and configuration; goes with the laboratory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.shared.directory
    }

    /// A BPF file system that every namespace of the laboratory sees.
    ///
    /// `ip netns exec` gives each process a private `/sys`, where pins would vanish with the
    /// process and so could never be found left behind.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        self.shared.directory.join("bpf")
    }

    /// What the names of its namespaces begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.shared.prefix
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.reaper.stdin.take());
        // The reaper answers to nobody; without it there is nothing to wait for.
        let _done = self.reaper.wait();
    }
}

/// Starts the reaper of one laboratory.
fn reaper(prefix: &str, directory: &Path) -> Result<Child> {
    command("setsid")
        .args(["sh", "-c", REAPER, "reaper", prefix])
        .arg(directory)
        // Not the owner's: its directory may go away, and its terminal may close.
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting the laboratory's reaper with `setsid`")
}

/// Removes laboratories whose owners are dead.
///
/// A reaper does this at once; this is for reapers that were killed themselves.
///
/// # Errors
///
/// When namespaces cannot be listed.
pub fn sweep() -> Result<()> {
    let mut prefixes = Vec::new();
    for directory in [Path::new("/run/netns"), &std::env::temp_dir()] {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("reading {}", directory.display())),
        };
        for entry in entries {
            let name = entry?.file_name();
            if let Some(prefix) = name.to_str().and_then(orphaned) {
                prefixes.push(prefix);
            }
        }
    }
    prefixes.sort();
    prefixes.dedup();
    for prefix in prefixes {
        let directory = std::env::temp_dir().join(&prefix);
        let mut reaper = reaper(&prefix, &directory)?;
        drop(reaper.stdin.take());
        reaper.wait().context("waiting for a reaper")?;
    }
    Ok(())
}

/// The prefix of the laboratory a name belongs to, if its owner is dead.
fn orphaned(name: &str) -> Option<String> {
    let mut parts = name.split('-');
    let (prefix, owner, lab) = (parts.next()?, parts.next()?, parts.next()?);
    let (owner, lab): (u32, u32) = (owner.parse().ok()?, lab.parse().ok()?);
    let dead = !Path::new("/proc").join(owner.to_string()).exists();
    (prefix == PREFIX && dead).then(|| format!("{PREFIX}-{owner}-{lab}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_laboratories_of_dead_owners_are_orphaned() {
        let own = format!("{PREFIX}-{}-0-lb", std::process::id());
        // Process ids end at 2^22.
        let dead = format!("{PREFIX}-99999999-3-lb");

        assert_eq!(orphaned(&own), None);
        assert_eq!(orphaned(&dead), Some(format!("{PREFIX}-99999999-3")));
        assert_eq!(orphaned("other-99999999-3-lb"), None);
        assert_eq!(orphaned(PREFIX), None);
    }
}
