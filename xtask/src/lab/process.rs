//! Tools that run to completion, and processes that live as long as their guard.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::wait;

/// A command that finds Debian's system programs although a user's `PATH` often lacks them.
#[must_use]
pub fn command(program: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "extends the user's own `PATH`")]
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    let mut command = Command::new(program);
    command.env("PATH", path);
    command
}

/// Runs a command to completion and returns what it printed.
///
/// # Errors
///
/// When it cannot be started or fails: the command line and what it said on standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("starting `{line}`"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "`{line}`: {}: {}", done.status, said.trim());
    String::from_utf8(done.stdout).with_context(|| format!("reading the output of `{line}`"))
}

/// Runs a command to completion with `input` on its standard input.
///
/// # Errors
///
/// As [`output`].
pub fn feed(command: &mut Command, input: &str) -> Result<()> {
    let line = line(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting `{line}`"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).with_context(|| format!("writing to `{line}`"))?;
    }
    let done = child.wait_with_output().with_context(|| format!("waiting for `{line}`"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "`{line}`: {}: {}\n{input}", done.status, said.trim());
    Ok(())
}

/// The command as one would type it.
fn line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

/// A process in a process group of its own, killed with its group when the guard is dropped.
///
/// Both of its outputs go to a log file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    group: Pid,
    log: PathBuf,
}

impl Process {
    /// Starts `command`.
    ///
    /// # Errors
    ///
    /// When the log cannot be created or the program cannot be started.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let child = command
            // A Ctrl-C at the terminal is for the owner, who then ends its processes in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("sharing the log file")?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name}: `{}`", line(command)))?;
        let group = Pid::from_raw(i32::try_from(child.id()).context("process id")?);
        Ok(Self { name: name.to_owned(), child, group, log: log.to_owned() })
    }

    /// Its process id, which is that of its group as well.
    #[must_use]
    pub const fn id(&self) -> Pid {
        self.group
    }

    /// Sends a signal to the process and everything in its group.
    ///
    /// # Errors
    ///
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        killpg(self.group, signal).with_context(|| format!("sending {signal} to {}", self.name))
    }

    /// Waits until the process has ended.
    ///
    /// # Errors
    ///
    /// When it still runs after `within`.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let name = self.name.clone();
        wait::until(&format!("{name} has ended"), within, || match self.child.try_wait()? {
            Some(status) => Ok(status),
            None => bail!("it runs\n{}", self.log_tail()),
        })
    }

    /// Probes until the probe succeeds, but not beyond the end of the process.
    ///
    /// # Errors
    ///
    /// As [`wait::until`], and as [`Process::check_running`] as soon as that fails.
    pub fn until<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut probe: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        wait::until(what, within, || match self.check_running() {
            Ok(()) => probe().map(Ok),
            Err(ended) => Ok(Err(ended)),
        })?
    }

    /// Fails when the process has ended although it should be running.
    ///
    /// # Errors
    ///
    /// With the exit status and the end of the log.
    pub fn check_running(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().context("asking for the exit status")? {
            bail!("{} ended: {status}\n{}", self.name, self.log_tail());
        }
        Ok(())
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The end of its output, for error messages.
    #[must_use]
    pub fn log_tail(&self) -> String {
        const LINES: usize = 30;
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        let skip = lines.len().saturating_sub(LINES);
        format!("{} says:\n{}", self.name, lines.get(skip..).unwrap_or_default().join("\n"))
    }
}

/// Prints what a reader of a failed test needs, when one has failed.
#[expect(clippy::print_stderr, reason = "goes to the output of the test")]
pub(super) fn tell_of_failure(text: impl FnOnce() -> String) {
    if std::thread::panicking() {
        eprintln!("{}", text());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it is gone already.
        let _gone = killpg(self.group, Signal::SIGKILL);
        let _reaped = self.child.wait();
    }
}
