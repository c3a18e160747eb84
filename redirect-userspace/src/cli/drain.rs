//! The verbs that send clients away, and what has become of it.

use std::path::Path;

use nix::poll::{PollTimeout, poll};

use super::ops::failed;
use super::print::{Console, Exit, clean};
use super::table::label;
use crate::control::client;
use crate::control::{ClusterView, DrainStatus, DrainView, GatewayState, RedirectedView, Request};
use crate::gateway::GatewayName;

/// `drain [NAME]`: a member is to lose its clients.
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

/// `redirect`: clients go to another member.
pub(super) fn redirect(socket: &Path, request: Request, console: &mut Console<'_>) -> Result<(), Exit> {
    match client::ask(socket, request) {
        Ok(RedirectedView { selected: 1, redirected: 1 }) => console.print("The client is told to go.\n"),
        Ok(RedirectedView { selected, redirected }) => {
            console.print(&format!("{redirected} of {selected} clients are told to go.\n"))
        }
        Err(error) => Err(failed(&error, console)),
    }
}

/// How far a member has come.
enum Progress {
    Left(u64),
    /// Somebody has called it off.
    Over,
}

/// Shows how far a member has come, until nobody is left.
pub(super) fn wait(socket: &Path, name: Option<&GatewayName>, console: &mut Console<'_>) -> Result<(), Exit> {
    let mut before = None;
    loop {
        let progress = match name {
            None => client::ask(socket, Request::ShowDrain).map(|status| own(&status)),
            Some(name) => {
                client::ask(socket, Request::ShowCluster).map(|view: ClusterView| of_member(&view, name))
            }
        };
        match progress.map_err(|error| failed(&error, console))? {
            Progress::Left(0) => return console.print("Nobody is left.\n"),
            Progress::Left(left) => {
                if before != Some(left) {
                    console.print(&format!("{left} left\n"))?;
                }
                before = Some(left);
            }
            Progress::Over => {
                return Err(console.fail("the drain was called off", Exit::Refused));
            }
        }
        // Nothing is waited for but time.
        let _interrupted = poll(&mut [], PollTimeout::from(PERIOD));
    }
}

const fn own(status: &DrainStatus) -> Progress {
    if status.draining { Progress::Left(status.left) } else { Progress::Over }
}

/// What is known of another member: its IKE and Child SAs, as it has reported last.
fn of_member(view: &ClusterView, name: &GatewayName) -> Progress {
    match view.gateways.iter().find(|gateway| gateway.name == name.as_str()) {
        Some(gateway) if gateway.state == GatewayState::Draining => {
            Progress::Left(gateway.sessions.unwrap_or(0))
        }
        // It has gone altogether.
        None => Progress::Left(0),
        Some(_) => Progress::Over,
    }
}

/// The text of `show drain`.
pub(super) fn render(status: &DrainStatus) -> String {
    let mut text = String::new();
    let seconds = |millis: Option<u64>| millis.map_or(0, |millis| millis / 1_000);
    if !status.draining {
        label(&mut text, "State", "in service");
        label(&mut text, "IKE SAs", &status.left.to_string());
        return text;
    }
    let state = if status.left == 0 { "drained" } else { "draining" };
    label(&mut text, "State", state);
    label(&mut text, "Since", &format!("{} sec", seconds(status.since_ms)));
    label(&mut text, "Deadline", &format!("after {} sec", seconds(status.deadline_ms)));
    label(&mut text, "IKE SAs", &format!("{} of {}", status.left, status.sas));
    label(&mut text, "Redirected", &status.redirected.to_string());
    text
}

/// Milliseconds between two looks.
const PERIOD: u16 = 250;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_reads_how_far_it_has_come() {
        let idle = DrainStatus { left: 7, ..DrainStatus::default() };
        let status = DrainStatus {
            draining: true,
            sas: 5_000,
            left: 412,
            redirected: 4_600,
            since_ms: Some(46_100),
            deadline_ms: Some(300_000),
        };

        assert!(render(&idle).contains("in service"), "{}", render(&idle));
        let text = render(&status);
        for part in ["draining", "46 sec", "after 300 sec", "412 of 5000", "4600"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(render(&DrainStatus { left: 0, ..status }).contains("drained"));
    }
}
