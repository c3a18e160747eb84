//! Notify hooks: programs of the operator that are run when a group changes its role.
//!
//! Arguments are keepalived's, so that scripts written for it work:
//! `INSTANCE <standby name> MASTER|BACKUP|FAULT|STOP <priority>`.
//!
//! # Invariants
//!
//! - Hooks of a group run one after the other and in order; when the role changes faster than
//!   they run, the roles in between are left out and the last one is always told.
//! - A hook that does not end within [`PATIENCE`] is killed, together with what it has started.
//! - A file that others than its owner may change is not run: it runs as root.
//! - Nothing waits for a hook, except the end of the daemon.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::hsrp::{GroupName, State};

/// How long a hook may run.
const PATIENCE: Duration = Duration::from_secs(10);

/// The third argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The group is active.
    Master,
    /// It may become active.
    Backup,
    /// It cannot take part.
    Fault,
    /// The daemon ends.
    Stop,
}

impl Role {
    /// What a state means to keepalived's scripts.
    pub(super) const fn of(state: State) -> Self {
        match state {
            State::Active => Self::Master,
            State::Learn | State::Listen | State::Speak | State::Standby => Self::Backup,
            State::Initial => Self::Fault,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Master => "MASTER",
            Self::Backup => "BACKUP",
            Self::Fault => "FAULT",
            Self::Stop => "STOP",
        }
    }
}

/// How a hook went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The group whose role it was told.
    pub(super) group: GroupName,
    /// The program.
    pub(super) script: PathBuf,
    /// Why it failed.
    pub(super) result: Result<(), String>,
}

/// The hooks of one group.
pub(super) struct Hooks {
    jobs: watch::Sender<Option<Job>>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Job {
    role: Role,
    priority: u8,
}

impl Hooks {
    /// Gets the group's hooks ready. Outcomes that nobody takes are lost.
    pub(super) fn new(group: GroupName, scripts: Vec<PathBuf>, outcomes: mpsc::Sender<Outcome>) -> Self {
        let (jobs, mut next) = watch::channel(None::<Job>);
        let task = tokio::spawn(async move {
            while next.changed().await.is_ok() {
                let Some(job) = *next.borrow_and_update() else { continue };
                for script in &scripts {
                    let result = run(script, group.as_str(), job).await;
                    // A full channel means that nobody reads: nobody misses it then.
                    let _unread =
                        outcomes.try_send(Outcome { group: group.clone(), script: script.clone(), result });
                }
            }
        });
        Self { jobs, task }
    }

    /// Tells a role, unless it is the one that was told last.
    pub(super) fn notify(&self, role: Role, priority: u8) {
        let job = Job { role, priority };
        self.jobs.send_if_modified(|last| {
            let is_new = last.is_none_or(|last| last.role != role);
            if is_new {
                *last = Some(job);
            }
            is_new
        });
    }

    /// Waits for the hooks that are still to run.
    pub(super) async fn finish(self) {
        let Self { jobs, task } = self;
        drop(jobs);
        // Its panic would be ours to report; there is nothing in it that could.
        let _ended = task.await;
    }
}

async fn run(script: &Path, group: &str, job: Job) -> Result<(), String> {
    check(script)?;
    let mut child = Command::new(script)
        .args(["INSTANCE", group, job.role.as_str(), &job.priority.to_string()])
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A group of its own, so that it can be ended with all its children.
        .process_group(0)
        .spawn()
        .map_err(|error| error.to_string())?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    match timeout(PATIENCE, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(status.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => {
            if let Some(group) = group {
                // It may have ended just now.
                let _gone = killpg(group, Signal::SIGKILL);
            }
            let _status = child.wait().await;
            Err(format!("did not end within {} s and was killed", PATIENCE.as_secs()))
        }
    }
}

/// Refuses what somebody else could have written.
fn check(script: &Path) -> Result<(), String> {
    let metadata = std::fs::metadata(script).map_err(|error| error.to_string())?;
    if metadata.mode() & 0o022 != 0 {
        return Err(format!("mode {:o}: writable by others than its owner", metadata.mode() & 0o7777));
    }
    let us = nix::unistd::geteuid().as_raw();
    if metadata.uid() != us && metadata.uid() != 0 {
        return Err(format!("owned by user {}, not by the daemon's", metadata.uid()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn script(name: &str, mode: u32, text: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("redirectd-hooks-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("hook");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn block<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn a_hook_gets_the_arguments_of_keepalived() {
        let path = script("arguments", 0o700, "#!/bin/sh\necho \"$@\" >> \"${0%/*}/said\"\n");
        let said = path.with_file_name("said");

        block(async {
            let (outcomes, mut results) = mpsc::channel(8);
            let hooks = Hooks::new("group1".parse().unwrap(), vec![path.clone()], outcomes);
            for state in [State::Standby, State::Active] {
                hooks.notify(Role::of(state), 110);
                assert_eq!(results.recv().await.unwrap().result, Ok(()));
            }
            hooks.notify(Role::Master, 90);
            hooks.notify(Role::Stop, 110);
            hooks.finish().await;
        });

        let text = fs::read_to_string(said).unwrap();
        assert_eq!(
            text,
            "INSTANCE group1 BACKUP 110\nINSTANCE group1 MASTER 110\nINSTANCE group1 STOP 110\n"
        );
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_hook_that_others_may_write_is_not_run() {
        let path = script("writable", 0o722, "#!/bin/sh\ntouch \"${0%/*}/ran\"\n");

        let result = block(run(&path, "g", Job { role: Role::Master, priority: 1 }));

        assert_eq!(result, Err("mode 722: writable by others than its owner".to_owned()));
        assert!(!path.with_file_name("ran").exists());
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_hook_that_fails_says_how() {
        let path = script("failing", 0o700, "#!/bin/sh\nexit 3\n");
        let job = Job { role: Role::Fault, priority: 1 };

        assert_eq!(block(run(&path, "g", job)), Err("exit status: 3".to_owned()));
        assert!(block(run(Path::new("/nonexistent"), "g", job)).is_err());
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
