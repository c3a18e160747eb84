//! The operator's command.

use std::process::ExitCode;

use clap::Parser as _;

use redirect_userspace::cli::{self, CtlArgs};

fn main() -> ExitCode {
    cli::run_ctl(&CtlArgs::parse(), cli::check_file)
}
