//! Runs commands: shows each before it starts, and fails loudly.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::paths;

/// A command on its way to be run, from the workspace's top folder.
#[derive(Debug)]
pub(crate) struct Run {
    command: Command,
    shown_env: Vec<(String, OsString)>,
}

impl Run {
    /// Starts a command line.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.current_dir(paths::root());
        // `cargo run` puts the host toolchain's libraries here, which are wrong for other programs.
        command.env_remove("LD_LIBRARY_PATH");
        Self { command, shown_env: Vec::new() }
    }

    /// The host's cargo: the one that runs this program.
    pub(crate) fn cargo(verb: &str) -> Self {
        let cargo = paths::variable("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        Self::new(cargo).arg(verb)
    }

    /// Adds one argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable of the environment, which is shown with the command.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value.as_ref());
        self.shown_env.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Takes a variable out of the environment.
    pub(crate) fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Shows the command, runs it, and fails unless it succeeds.
    pub(crate) fn run(mut self) -> Result<()> {
        let line = self.line();
        eprintln!("$ {line}");
        let status = self.command.status().with_context(|| format!("cannot start `{line}`"))?;
        if !status.success() {
            bail!("`{line}` failed ({status})");
        }
        Ok(())
    }

    /// Replaces this process by the command, so that signals reach it directly.
    pub(crate) fn exec(mut self) -> Result<Infallible> {
        let line = self.line();
        eprintln!("$ {line}");
        let error = self.command.exec();
        Err(error).with_context(|| format!("cannot start `{line}`"))
    }

    /// Asks a question: what the command prints, or `None` when it is missing or fails.
    ///
    /// Questions are not shown: they change nothing.
    pub(crate) fn ask(mut self) -> Option<String> {
        let output = self.command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Shows the command, runs it, and gives what it prints on its standard output.
    pub(crate) fn read(mut self) -> Result<String> {
        let line = self.line();
        eprintln!("$ {line}");
        let output = self
            .command
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot start `{line}`"))?;
        if !output.status.success() {
            bail!("`{line}` failed ({})", output.status);
        }
        String::from_utf8(output.stdout)
            .with_context(|| format!("`{line}` printed something other than UTF-8"))
    }

    fn line(&self) -> String {
        let mut line = String::new();
        for (name, value) in &self.shown_env {
            // Writing to a string cannot fail.
            let _ = write!(line, "{name}={} ", quote(value));
        }
        line.push_str(&quote(short_program(self.command.get_program())));
        for arg in self.command.get_args() {
            line.push(' ');
            line.push_str(&quote(arg));
        }
        line
    }
}

/// Runs `stage` and says how long it took.
pub(crate) fn timed<T>(name: &str, stage: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    eprintln!("== {name}");
    let start = now();
    let value = stage().with_context(|| format!("stage `{name}` failed"))?;
    let took = start.elapsed();
    eprintln!("== {name}: {:.1} s", took.as_secs_f64());
    Ok((value, took))
}

/// The moment, for deadlines and for those who want to know how long a step took.
#[expect(clippy::disallowed_methods, reason = "this program's one clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Whether this process may do what only root may.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;

    // The kernel gives `/proc/self` to the effective user.
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// Rustup's cargo has a long path that says nothing to the reader.
fn short_program(program: &OsStr) -> &OsStr {
    let path = Path::new(program);
    let is_toolchain = path.components().any(|part| part.as_os_str() == "toolchains");
    path.file_name().filter(|_| is_toolchain).unwrap_or(program)
}

/// Quotes a word so that the line shown can be pasted into a shell.
fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let run =
            Run::new("echo").arg("two words").arg("it's").arg("--plain=1").env("RUSTFLAGS", "-D warnings");

        assert_eq!(run.line(), r"RUSTFLAGS='-D warnings' echo 'two words' 'it'\''s' --plain=1");
    }

    #[test]
    fn a_toolchain_program_is_shown_by_its_name() {
        assert_eq!(short_program(OsStr::new("/root/.rustup/toolchains/stable/bin/cargo")), "cargo");
        assert_eq!(short_program(OsStr::new("/usr/bin/cargo")), "/usr/bin/cargo");
    }

    #[test]
    fn a_failing_command_is_an_error_that_names_it() {
        let error = Run::new("false").arg("-x").run().unwrap_err();

        assert!(error.to_string().contains("`false -x` failed"), "{error}");
        assert!(Run::new("false").ask().is_none());
        assert!(Run::new("no-such-program-anywhere").ask().is_none());
    }
}
