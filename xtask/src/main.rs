//! What a newcomer and a developer run: `cargo xtask run`, `cargo xtask test`, and the steps in them.
//!
//! Every verb shows the commands it runs, finds or installs what it needs, and otherwise says
//! exactly what to install.

#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "this program talks to a person at a terminal")]

mod apt;
mod arch;
mod bench;
mod build;
mod check;
mod ebpf;
mod exec;
mod paths;
mod run;
mod setup;
mod test;
mod vm;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::lab::nodes::Gateways;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Set up, build and run: a demonstration cluster, or with `-- ARGUMENTS` the daemon itself.
    Run {
        /// Stop the demonstration after so many seconds instead of on Ctrl-C.
        #[arg(long = "for", value_name = "SECONDS", conflicts_with = "daemon")]
        seconds: Option<u64>,
        /// Have strongSwan serve the clients in the demonstration, beside our daemon.
        #[arg(long, conflicts_with = "daemon")]
        strongswan: bool,
        /// Arguments of `redirectd`, for example `-- --config FILE`.
        #[arg(last = true, value_name = "ARGUMENTS")]
        daemon: Vec<OsString>,
    },
    /// Set up and run the tests: all of them, or one kind.
    Test {
        /// Which kind.
        kind: Option<test::Kind>,
    },
    /// Find or install what the other verbs need.
    Setup {
        /// What for; without it, for everything.
        groups: Vec<setup::Group>,
    },
    /// Build `target/release/redirectd` and `target/release/redirectctl`.
    Build,
    /// Check format, lints, import rules and documentation.
    Check,
    /// Check the import rules only.
    Arch,
    /// Run a benchmark, or all of them.
    Bench {
        /// Which one.
        name: Option<String>,
    },
    /// Run a command as root in a virtual machine with Debian's 6.1 kernel and this file system.
    Vm {
        /// How many seconds it may take, start-up included.
        #[arg(long, default_value_t = vm::DEADLINE.as_secs())]
        deadline: u64,
        /// The command and its arguments.
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match act(Arguments::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Run { seconds, strongswan, daemon } if daemon.is_empty() => {
            let gateways = if strongswan { Gateways::Strongswan } else { Gateways::Own };
            run::demonstration(seconds.map(Duration::from_secs), gateways)?;
        }
        Verb::Run { daemon, .. } => match run::daemon(&daemon)? {},
        Verb::Test { kind } => test::run(kind)?,
        Verb::Setup { groups } => setup::run(&groups)?,
        Verb::Build => build::release()?,
        Verb::Check => check::run()?,
        Verb::Arch => check::imports()?,
        Verb::Bench { name } => bench::run(name.as_deref())?,
        Verb::Vm { deadline, command } => {
            return run::in_virtual_machine(&command, Duration::from_secs(deadline));
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(words: &[&str]) -> Result<Verb, clap::Error> {
        Arguments::try_parse_from([&["cargo xtask"], words].concat()).map(|arguments| arguments.verb)
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn words_after_two_dashes_go_to_the_daemon_untouched() {
        let verb = parse(&["run", "--", "--config", "FILE", "--for", "--check"]).unwrap();

        let Verb::Run { seconds: None, strongswan: false, daemon } = verb else { panic!("{verb:?}") };
        assert_eq!(daemon, ["--config", "FILE", "--for", "--check"]);
    }

    #[test]
    fn the_demonstration_takes_a_time_and_the_daemon_does_not() {
        assert!(matches!(parse(&["run", "--for", "5"]), Ok(Verb::Run { seconds: Some(5), .. })));
        assert!(matches!(parse(&["run"]), Ok(Verb::Run { seconds: None, .. })));
        assert!(parse(&["run", "--for", "5", "--", "--config", "FILE"]).is_err());
        assert!(parse(&["run", "--config", "FILE"]).is_err());
    }
}
