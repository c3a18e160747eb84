//! The daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    redirect_userspace::cli::run_daemon()
}
