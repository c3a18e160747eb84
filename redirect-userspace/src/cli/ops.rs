//! The verbs that change or check something.

use std::path::Path;

use super::Check;
use super::print::{Console, Exit};
use crate::config::Config;
use crate::control::client::{self, AskError};
use crate::control::{ReloadView, Request};

/// `reload`: the daemon reads its configuration again.
pub(super) fn reload(socket: &Path, console: &mut Console<'_>) -> Result<(), Exit> {
    match client::ask(socket, Request::Reload) {
        Ok(ReloadView { .. }) => console.print("The new configuration is in force.\n"),
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
    match Config::load(file) {
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
