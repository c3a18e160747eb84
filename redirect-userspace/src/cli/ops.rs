//! The verbs that change or check something.

use std::path::Path;

use super::Check;
use super::daemon::now;
use super::print::{Console, Exit, clean};
use crate::config::{Config, DurationText};
use crate::control::client::{self, AskError};
use crate::control::{ClearView, ReloadView, ReportView, Request, SaSelector, StartView};

/// `reload`: the daemon reads its configuration again.
pub(super) fn reload(socket: &Path, console: &mut Console<'_>) -> Result<(), Exit> {
    match client::ask(socket, Request::Reload) {
        Ok(ReloadView { .. }) => console.print("The new configuration is in force.\n"),
        Err(error) => Err(failed(&error, console)),
    }
}

/// `clear sa WHICH`: IKE SAs are deleted. That there is none is a failure where one was meant.
pub(super) fn clear(socket: &Path, select: SaSelector, console: &mut Console<'_>) -> Result<(), Exit> {
    let is_all = select == SaSelector::All;
    match client::ask(socket, Request::ClearSa { select }) {
        Ok(ClearView { cleared: 0 }) if !is_all => {
            Err(console.fail("there is no such IKE SA", Exit::Refused))
        }
        Ok(ClearView { cleared: 1 }) => console.print("1 IKE SA is deleted.\n"),
        Ok(ClearView { cleared }) => console.print(&format!("{cleared} IKE SAs are deleted.\n")),
        Err(error) => Err(failed(&error, console)),
    }
}

/// `rekey ID`: an IKE SA, or what is in it, gets new keys.
pub(super) fn rekey(socket: &Path, id: u64, children: bool, console: &mut Console<'_>) -> Result<(), Exit> {
    let what = if children { "The Child SAs of IKE SA" } else { "IKE SA" };
    let verb = if children { "get" } else { "gets" };
    match client::ask(socket, Request::RekeySa { id, children }) {
        Ok(StartView { .. }) => console.print(&format!("{what} {id} {verb} new keys.\n")),
        Err(error) => Err(failed(&error, console)),
    }
}

/// `connect NAME`: a connection is brought up.
pub(super) fn connect(socket: &Path, name: &str, console: &mut Console<'_>) -> Result<(), Exit> {
    match client::ask(socket, Request::Connect { name: name.to_owned() }) {
        Ok(StartView { .. }) => {
            console.print(&format!("{} is being brought up: `show sa` tells.\n", clean(name, false)))
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
