//! `show redirect`: where the fast path is attached and what it did with which packets.

use std::cmp::Reverse;

use common::reason::Reason;

use super::super::table::{Align, Table, label, or_dash, percentage};
use crate::control::{DataplaneView, RedirectView};

/// The text. Reasons that never occurred are shown only with `all`.
pub(crate) fn render(view: &RedirectView, all: bool, width: usize) -> String {
    let mut text = String::new();
    label(&mut text, "Fast path", &state(view));
    let redirects: u64 = view.gateways.iter().map(|gateway| gateway.redirects).sum();
    label(&mut text, "Redirects", &redirects.to_string());
    if let Some(dataplane) = &view.dataplane {
        label(&mut text, "Data plane", &carrier(dataplane));
    }
    text.push('\n');
    text.push_str(&attachments(view, width));
    text.push('\n');
    text.push_str(&gateways(view, redirects, width));
    text.push('\n');
    text.push_str(&reasons(view, all, width));
    text
}

pub(crate) fn state(view: &RedirectView) -> String {
    match (&view.disarmed_reason, view.armed) {
        (_, true) => "armed".to_owned(),
        (Some(reason), false) => format!("disarmed ({reason})"),
        (None, false) => "disarmed".to_owned(),
    }
}

/// Who carries the gateway's packets, and why nobody better does.
fn carrier(dataplane: &DataplaneView) -> String {
    match &dataplane.reason {
        None => dataplane.name.clone(),
        Some(reason) => format!("{} ({reason})", dataplane.name),
    }
}

fn attachments(view: &RedirectView, width: usize) -> String {
    if view.attached.is_empty() {
        return "Attached to no interface.\n".to_owned();
    }
    let mut table = Table::new([
        ("Interface", Align::Left),
        ("Mode", Align::Left),
        ("Program", Align::Right),
        ("Why this mode", Align::Left),
    ]);
    for attachment in &view.attached {
        table.row([
            attachment.interface.clone(),
            attachment.mode.name().to_owned(),
            or_dash(attachment.program_id),
            attachment.why.clone(),
        ]);
    }
    table.render(width)
}

fn gateways(view: &RedirectView, redirects: u64, width: usize) -> String {
    if view.gateways.is_empty() {
        return "No gateways.\n".to_owned();
    }
    let mut table = Table::new([
        ("Gateway", Align::Left),
        ("Redirects", Align::Right),
        ("Share", Align::Right),
        ("Addresses", Align::Left),
    ]);
    for gateway in &view.gateways {
        table.row([
            gateway.name.clone(),
            gateway.redirects.to_string(),
            percentage(gateway.redirects, redirects),
            gateway.addresses.join(" "),
        ]);
    }
    table.render(width)
}

fn reasons(view: &RedirectView, all: bool, width: usize) -> String {
    let mut counters: Vec<_> = view.counters.iter().filter(|(_, packets)| all || **packets > 0).collect();
    counters.sort_by_key(|(name, packets)| (Reverse(**packets), position(name)));
    let mut table =
        Table::new([("Reason", Align::Left), ("Packets", Align::Right), ("Meaning", Align::Left)]);
    for (name, packets) in counters {
        table.row([name.clone(), packets.to_string(), meaning(name).to_owned()]);
    }
    if table.is_empty() { "No packets seen.\n".to_owned() } else { table.render(width) }
}

/// A newer daemon may know reasons that this program does not; they come last.
fn position(name: &str) -> usize {
    Reason::ALL.iter().position(|reason| reason.name() == name).unwrap_or(usize::MAX)
}

fn meaning(name: &str) -> &'static str {
    Reason::ALL
        .iter()
        .find(|reason| reason.name() == name)
        .map_or("Not known to this program.", |reason| reason.meaning().trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::print::DEFAULT_WIDTH;
    use crate::control::fixtures;

    #[test]
    fn the_text_says_why_packets_were_redirected_or_passed() {
        let view = fixtures::snapshot().redirect;

        assert_eq!(
            render(&view, false, DEFAULT_WIDTH),
            "\
Fast path       : armed
Redirects       : 2468
Data plane      : userspace (the kernel has no ESP)

Interface  Mode       Program  Why this mode
---------  ---------  -------  -------------------------------------------------
eth0       native          42  the driver supports XDP
eth1       userspace        -  native: Operation not supported; generic: the
                               interface's MTU is too large

Gateway  Redirects  Share  Addresses
-------  ---------  -----  -------------------
gw1            617  25.0%  10.50.0.11
gw2           1234  50.0%  10.50.0.12 fd50::12
gw3            617  25.0%  gw3.vpn.example.net

Reason               Packets  Meaning
-------------------  -------  --------------------------------------------------
not-ike-port          999999  UDP, but neither port 500 nor 4500.
redirected              2468  The request was answered with a REDIRECT.
no-redirect-support        3  The client announced neither REDIRECT_SUPPORTED
                              nor REDIRECTED_FROM.
local-is-llg               3  The chosen gateway is this node.
"
        );
    }

    #[test]
    fn all_reasons_are_shown_on_request_and_fit_the_width() {
        let text = render(&fixtures::snapshot().redirect, true, DEFAULT_WIDTH);

        for reason in Reason::ALL {
            assert!(text.lines().any(|line| line.starts_with(&format!("{} ", reason.name()))), "{reason:?}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= DEFAULT_WIDTH), "{text}");
        assert!(
            text.lines().any(|line| line == "not-ip                     0  Neither IPv4 nor IPv6."),
            "{text}"
        );
    }

    #[test]
    fn a_daemon_that_does_nothing_yet_says_so() {
        let mut view = RedirectView { disarmed_reason: Some("no-vip".to_owned()), ..RedirectView::default() };
        view.counters = RedirectView::counters(&[]);

        assert_eq!(
            render(&view, false, DEFAULT_WIDTH),
            "\
Fast path       : disarmed (no-vip)
Redirects       : 0

Attached to no interface.

No gateways.

No packets seen.
"
        );
    }

    #[test]
    fn a_reason_of_a_newer_daemon_is_shown_without_meaning() {
        let mut view = RedirectView::default();
        view.counters.insert("too-late".to_owned(), 1);

        assert!(
            render(&view, false, DEFAULT_WIDTH).contains("too-late        1  Not known to this program.")
        );
    }
}
