//! The verbs that change or check something.

use std::path::Path;

use super::Check;
use super::daemon::now;
use super::print::{Console, Exit, clean};
use crate::config::{Config, DurationText};
use crate::control::client::{self, AskError};
use crate::control::{DrainView, ReloadView, ReportView, Request};
use crate::gateway::GatewayName;

/// `reload`: the daemon reads its configuration again.
pub(super) fn reload(socket: &Path, console: &mut Console<'_>) -> Result<(), Exit> {
    match client::ask(socket, Request::Reload) {
        Ok(ReloadView { .. }) => console.print("The new configuration is in force.\n"),
        Err(error) => Err(failed(&error, console)),
    }
}

/// `drain [NAME]`: a member gets no new clients.
pub(super) fn drain(
    socket: &Path,
    name: Option<&GatewayName>,
    console: &mut Console<'_>,
) -> Result<(), Exit> {
    set_draining(socket, Request::Drain { name: name.map(GatewayName::to_string) }, console)
}

/// `undrain [NAME]`: it gets new clients again.
pub(super) fn undrain(
    socket: &Path,
    name: Option<&GatewayName>,
    console: &mut Console<'_>,
) -> Result<(), Exit> {
    set_draining(socket, Request::Undrain { name: name.map(GatewayName::to_string) }, console)
}

fn set_draining(socket: &Path, request: Request, console: &mut Console<'_>) -> Result<(), Exit> {
    match client::ask(socket, request) {
        Ok(DrainView { name, draining }) => {
            let what = if draining { "gets no new clients" } else { "gets clients again" };
            console.print(&format!("{} {what}.\n", clean(&name, false)))
        }
        Err(error) => Err(failed(&error, console)),
    }
}

/// `report`: the SAs of the IKE daemon beside the daemon.
pub(super) fn report(
    socket: &Path,
    ike_sas: u32,
    child_sas: u32,
    valid: DurationText,
    console: &mut Console<'_>,
) -> Result<(), Exit> {
    let valid_ms = u64::try_from(valid.0.as_millis()).unwrap_or(u64::MAX);
    match client::ask(socket, Request::ReportSessions { ike_sas, child_sas, valid_ms }) {
        Ok(ReportView { .. }) => {
            console.print(&format!("{ike_sas} IKE SAs and {child_sas} Child SAs count for {valid}.\n"))
        }
        Err(error) => Err(failed(&error, console)),
    }
}

/// `check FILE`: the errors the daemon would find, without a daemon.
pub(super) fn check(file: &Path, check: Check, console: &mut Console<'_>) -> Result<(), Exit> {
    match check(file) {
        Ok(()) => console.print(&format!("{}: no errors\n", file.display())),
        Err(errors) => {
            for error in errors {
                console.complain(&error);
            }
            Err(Exit::Refused)
        }
    }
}

/// The errors of a configuration file, one line each.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn check_file(file: &Path) -> Result<(), Vec<String>> {
    match Config::load(file, now()) {
        Ok(_) => Ok(()),
        Err(errors) => Err(errors.iter().map(ToString::to_string).collect()),
    }
}

/// Complains, and says how the command ends: a daemon that refuses is not a daemon that is away.
pub(super) fn failed(error: &AskError, console: &mut Console<'_>) -> Exit {
    let exit = match error {
        AskError::Refused(_) => Exit::Refused,
        AskError::Unreachable { .. }
        | AskError::Deadline { .. }
        | AskError::Broken { .. }
        | AskError::Malformed { .. } => Exit::Unreachable,
    };
    console.fail(&error.to_string(), exit)
}
