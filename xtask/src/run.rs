//! The main job: the daemon on a real interface, or a demonstration of it.

use std::convert::Infallible;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use xtask::lab::demo;
use xtask::lab::nodes::Gateways;

use crate::build;
use crate::exec::{self, Run};
use crate::setup::{self, Group};
use crate::{paths, vm};

/// Builds the daemon and becomes it.
pub(crate) fn daemon(args: &[OsString]) -> Result<Infallible> {
    let daemon = build::daemon()?;
    Run::new(daemon).args(args).exec()
}

/// Runs the demonstration cluster until Ctrl-C, or for `time`.
pub(crate) fn demonstration(time: Option<Duration>, gateways: Gateways) -> Result<()> {
    ensure!(exec::is_root(), "network namespaces need root: try `sudo --preserve-env=PATH cargo xtask run`");
    setup::ensure(&[Group::Ebpf, Group::Lab])?;
    build::release()?;
    demo::run(demo::Options { time, gateways })
}

/// Runs a command in the virtual machine, and ends as it did.
pub(crate) fn in_virtual_machine(command: &[OsString], deadline: Duration) -> Result<ExitCode> {
    setup::ensure(&[Group::Vm])?;
    let outcome = vm::run(&paths::root(), command, deadline)?;
    Ok(u8::try_from(outcome.code).map_or(ExitCode::FAILURE, ExitCode::from))
}
