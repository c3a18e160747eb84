//! The daemon.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use redirect_userspace::cli::DaemonArgs;
use redirect_userspace::config::ConfigErrors;
use redirect_userspace::runtime::{self, GUARD_ARGUMENT};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let result = match (arguments.next(), arguments.next()) {
        (Some(word), Some(pins)) if word == OsStr::new(GUARD_ARGUMENT) => {
            redirect_userspace::fastpath::guard::run(Path::new(&pins))
        }
        _ => daemon(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "there may be no log yet")]
            // A configuration's errors stand alone, so that editors can follow FILE:LINE:COLUMN.
            match error.downcast_ref::<ConfigErrors>() {
                Some(errors) => eprintln!("{errors}"),
                None => eprintln!("redirectd: {error:#}"),
            }
            ExitCode::FAILURE
        }
    }
}

fn daemon() -> anyhow::Result<()> {
    let args = DaemonArgs::parse();
    if args.check {
        args.load()?;
        return Ok(());
    }
    runtime::run(&args)
}
