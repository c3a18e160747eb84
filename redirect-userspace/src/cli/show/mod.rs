//! Dispatch of `show <noun>`: one request, then a table or the daemon's JSON as it came.

pub(super) mod certificates;
pub(super) mod cluster;
pub(super) mod events;
pub(super) mod llg;
mod radius;
pub(super) mod redirect;
mod sa;
pub(super) mod standby;
mod suite;

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::drain;
use super::print::{Console, Exit};
use super::table::label;
use super::{ClusterForm, Noun, SaForm, Show, StandbyForm, ops};
use crate::control::{
    CertificateView, ClusterView, DrainStatus, EventEntry, LlgView, RadiusView, RedirectView, Request,
    SaSelector, StandbyView, VersionView, client, client::AskError,
};

/// Asks and shows.
pub(super) fn run(show: &Show, socket: &Path, console: &mut Console<'_>) -> Result<(), Exit> {
    let width = console.width();
    let noun = &show.noun;
    let text = match noun {
        Noun::Sa(sas) if show.json => return sa_json(socket, &sas.selector(), sas.all, console),
        _ if show.json => json(socket, noun),
        Noun::Certificates => {
            ask(socket, noun).map(|list: Vec<CertificateView>| certificates::render(&list, width))
        }
        Noun::Cluster { form } => ask(socket, noun)
            .map(|view: ClusterView| cluster::render(&view, *form == Some(ClusterForm::Detail), width)),
        Noun::Events { .. } => {
            ask(socket, noun).map(|entries: Vec<EventEntry>| events::render(&entries, width))
        }
        Noun::Drain => ask(socket, noun).map(|status: DrainStatus| drain::render(&status)),
        Noun::Llg => ask(socket, noun).map(|view: LlgView| llg::render(&view, width)),
        Noun::Radius => ask(socket, noun).map(|view: RadiusView| radius::render(&view, width)),
        Noun::Redirect { all } => {
            ask(socket, noun).map(|view: RedirectView| redirect::render(&view, *all, width))
        }
        Noun::Sa(sas) => sa::ask(socket, &sas.selector(), sas.all)
            .map(|page| sa::render(&page, sas.form == Some(SaForm::Detail), width)),
        Noun::Standby { form: None } => {
            ask(socket, noun).map(|groups: Vec<StandbyView>| standby::render(&groups))
        }
        Noun::Standby { form: Some(StandbyForm::Brief) } => {
            ask(socket, noun).map(|groups: Vec<StandbyView>| standby::brief(&groups))
        }
        Noun::Version => ask(socket, noun).map(|view: VersionView| version(&view)),
    };
    match text {
        Ok(text) => console.print(&text),
        Err(error) => Err(ops::failed(&error, console)),
    }
}

fn ask<T: DeserializeOwned>(socket: &Path, noun: &Noun) -> Result<T, AskError> {
    client::ask(socket, request(noun))
}

/// Not through the views: fields that this program does not know are kept.
fn json(socket: &Path, noun: &Noun) -> Result<String, AskError> {
    let value: Value = ask(socket, noun)?;
    Ok(format!("{value:#}\n"))
}

/// The SAs alone, as the contract has them; what is left out is said where it disturbs no script.
fn sa_json(socket: &Path, select: &SaSelector, all: bool, console: &mut Console<'_>) -> Result<(), Exit> {
    match sa::ask::<Value>(socket, select, all) {
        Ok(page) => {
            console.print(&format!("{:#}\n", Value::Array(page.sas)))?;
            if page.more > 0 {
                console.complain(&format!("redirectctl: {} more IKE SAs are left out: --all", page.more));
            }
            Ok(())
        }
        Err(error) => Err(ops::failed(&error, console)),
    }
}

fn request(noun: &Noun) -> Request {
    match noun {
        Noun::Certificates => Request::ShowCertificates,
        Noun::Cluster { .. } => Request::ShowCluster,
        Noun::Events { since } => Request::ShowEvents { since: *since },
        Noun::Drain => Request::ShowDrain,
        Noun::Llg => Request::ShowLlg,
        Noun::Radius => Request::ShowRadius,
        Noun::Redirect { .. } => Request::ShowRedirect,
        Noun::Sa(sas) => Request::ShowSa { select: sas.selector(), after: None, limit: None },
        Noun::Standby { .. } => Request::ShowStandby,
        Noun::Version => Request::Version,
    }
}

fn version(view: &VersionView) -> String {
    let mut text = String::new();
    label(&mut text, "redirectd", &view.version);
    label(&mut text, "redirectctl", env!("CARGO_PKG_VERSION"));
    label(&mut text, "Protocol", &view.protocol.to_string());
    text
}
