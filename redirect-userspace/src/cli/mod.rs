//! The command lines of both programs, and the operator's command behind one of them.
//!
//! # Invariants
//!
//! - Exit code 0: done; 1: refused or failed; 2: wrong usage or the daemon could not be asked.
//! - Without a terminal there are no escape codes, and lines that scripts may cut stay within 80
//!   columns as long as names are short. Scripts that read more should use `--json`.

mod bench;
mod daemon;
mod drain;
mod ops;
mod print;
mod show;
mod table;
mod top;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::DurationText;
use crate::control::{DEFAULT_SOCKET, Request, SaSelector};
use crate::gateway::GatewayName;

pub use bench::{Amount, BenchNoun, Eap, Handshake, Init};
pub use daemon::{DaemonArgs, GatewayArg, GatewayArgError, run_daemon};
pub use ops::check_file;
pub use print::{DEFAULT_WIDTH, Exit};

use print::{Console, Screen};

/// Validates a configuration file; the errors are complete lines.
pub type Check = fn(&Path) -> Result<(), Vec<String>>;

/// Shows and operates a running redirectd.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "redirectctl", version)]
pub struct CtlArgs {
    /// Control socket of the daemon.
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET, global = true)]
    pub socket: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What `redirectctl` does.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Verb {
    /// Shows a part of the daemon's state.
    Show(Show),
    /// Deletes something.
    Clear {
        /// What.
        #[command(subcommand)]
        noun: ClearNoun,
    },
    /// Gives an IKE SA new keys.
    Rekey {
        /// Its number.
        id: u64,
        /// Gives its Child SAs new keys, not itself.
        #[arg(long)]
        children: bool,
    },
    /// Brings up a connection of the configuration.
    Connect {
        /// Its name.
        name: String,
    },
    /// Tells clients to go to another member.
    Redirect {
        /// Which.
        #[command(subcommand)]
        which: WhichSa,
        /// How many of them in a hundred.
        #[arg(long, value_name = "PERCENT", default_value_t = 100, global = true,
            value_parser = clap::value_parser!(u8).range(1..=100))]
        percent: u8,
        /// The member that they go to; where the cluster's table leads if absent.
        #[arg(long, value_name = "MEMBER", global = true)]
        to: Option<GatewayName>,
        /// How long they have for it; as configured if absent.
        #[arg(long, value_name = "DURATION", global = true)]
        grace: Option<DurationText>,
    },
    /// Lets the daemon read its configuration again.
    Reload,
    /// Checks a configuration file, without a daemon.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Takes a member out of service: it gets no new clients, and sends those that it has to others.
    Drain {
        /// Which; this node if absent.
        name: Option<GatewayName>,
        /// Shows how far it has come, and ends when nobody is left.
        #[arg(long)]
        wait: bool,
    },
    /// Takes a member back into service.
    Undrain {
        /// Which; this node if absent.
        name: Option<GatewayName>,
    },
    /// Tells how many SAs the IKE daemon beside this one has: for an agent that counts them.
    Report {
        /// IKE SAs.
        #[arg(long, value_name = "N")]
        ike_sas: u32,
        /// Child SAs.
        #[arg(long, value_name = "N")]
        child_sas: u32,
        /// For how long that stands, unless told anew.
        #[arg(long, value_name = "DURATION", default_value = "10s")]
        valid: DurationText,
    },
    /// Puts load on a gateway, and measures.
    Bench {
        /// What is measured.
        #[command(subcommand)]
        noun: BenchNoun,
    },
    /// Shows roles, loads and redirects as they change, until q or Ctrl-C.
    Top {
        /// Ends after so many refreshes.
        #[arg(long, value_name = "N")]
        count: Option<u64>,
    },
}

/// `show` and how.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Show {
    /// Prints JSON for scripts.
    #[arg(long, global = true)]
    pub json: bool,
    /// Which part.
    #[command(subcommand)]
    pub noun: Noun,
}

/// What can be shown.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Noun {
    /// Certificates, lists of revoked ones and OCSP responses: until when they are good.
    Certificates,
    /// The members, their loads and their part of the table.
    Cluster {
        /// With what each load is made of.
        form: Option<ClusterForm>,
    },
    /// What happened, oldest first.
    Events {
        /// Only events with a higher sequence number.
        #[arg(long, value_name = "SEQUENCE")]
        since: Option<u64>,
    },
    /// How far this node has come in losing its clients.
    Drain,
    /// The least loaded gateway table.
    Llg,
    /// The servers of RADIUS: which answer, and what became of requests.
    Radius,
    /// The fast path: interfaces, redirects, and why packets were passed.
    Redirect {
        /// Shows the reasons that never occurred, too.
        #[arg(long)]
        all: bool,
    },
    /// The IKE SAs of this node.
    Sa(ShowSa),
    /// The HSRP groups of this node.
    Standby {
        /// One line for each.
        form: Option<StandbyForm>,
    },
    /// Which versions run.
    Version,
}

/// How `show cluster` looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClusterForm {
    /// With what each load is made of.
    Detail,
}

/// `show sa` and how.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ShowSa {
    /// With identities, SPIs and Child SAs.
    pub form: Option<SaForm>,
    /// Shows every one, however many there are.
    #[arg(long, global = true)]
    pub all: bool,
    /// Which; all if absent.
    #[command(subcommand)]
    pub which: Option<WhichSa>,
}

impl ShowSa {
    fn selector(&self) -> SaSelector {
        self.which.as_ref().map_or(SaSelector::All, WhichSa::selector)
    }
}

/// How `show sa` looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SaForm {
    /// With identities, SPIs and Child SAs.
    #[value(alias = "detailed")]
    Detail,
}

/// What can be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum ClearNoun {
    /// IKE SAs with their Child SAs; the peers are told.
    Sa {
        /// Which.
        #[command(subcommand)]
        which: WhichSa,
    },
}

/// Which IKE SAs are meant.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum WhichSa {
    /// Every one.
    All,
    /// The one with this number.
    Id {
        /// The number, as `show sa` has it.
        id: u64,
    },
    /// Those with a peer at this address.
    Remote {
        /// The address.
        address: IpAddr,
    },
    /// Those with a peer of this identity.
    Identity {
        /// The identity, written as in the configuration.
        identity: String,
    },
    /// Those of this profile or connection.
    Profile {
        /// Its name.
        name: String,
    },
}

impl WhichSa {
    fn selector(&self) -> SaSelector {
        match self {
            Self::All => SaSelector::All,
            Self::Id { id } => SaSelector::Id(*id),
            Self::Remote { address } => SaSelector::Remote(*address),
            Self::Identity { identity } => SaSelector::Identity(identity.clone()),
            Self::Profile { name } => SaSelector::Profile(name.clone()),
        }
    }
}

/// How `show standby` looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StandbyForm {
    /// One line for each group.
    Brief,
}

/// Runs `redirectctl`.
#[must_use]
pub fn run_ctl(args: &CtlArgs, check: Check) -> ExitCode {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let mut console = Console::new(&mut out, &mut err, Screen::of_stdout());
    run(args, check, &mut console).err().unwrap_or(Exit::Done).into()
}

fn run(args: &CtlArgs, check: Check, console: &mut Console<'_>) -> Result<(), Exit> {
    match &args.verb {
        Verb::Show(show) => show::run(show, &args.socket, console),
        Verb::Clear { noun: ClearNoun::Sa { which } } => ops::clear(&args.socket, which.selector(), console),
        Verb::Rekey { id, children } => ops::rekey(&args.socket, *id, *children, console),
        Verb::Connect { name } => ops::connect(&args.socket, name, console),
        Verb::Reload => ops::reload(&args.socket, console),
        Verb::Check { file } => ops::check(file, check, console),
        Verb::Drain { name, wait } => {
            drain::drain(&args.socket, name.as_ref(), console)?;
            if *wait { drain::wait(&args.socket, name.as_ref(), console) } else { Ok(()) }
        }
        Verb::Redirect { which, percent, to, grace } => {
            let request = Request::RedirectSa {
                select: which.selector(),
                percent: (*percent < 100).then_some(*percent),
                to: to.as_ref().map(GatewayName::to_string),
                grace_ms: grace.map(|grace| u64::try_from(grace.0.as_millis()).unwrap_or(u64::MAX)),
            };
            drain::redirect(&args.socket, request, console)
        }
        Verb::Undrain { name } => drain::undrain(&args.socket, name.as_ref(), console),
        Verb::Report { ike_sas, child_sas, valid } => {
            ops::report(&args.socket, *ike_sas, *child_sas, *valid, console)
        }
        Verb::Top { count } => top::run(&args.socket, *count, console),
        Verb::Bench { noun } => bench::bench(noun, console),
    }
}

#[cfg(test)]
mod tests;
