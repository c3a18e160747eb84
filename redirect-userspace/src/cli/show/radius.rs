//! `show radius`: whether the servers that know the users are there, and what became of requests.

use std::collections::BTreeMap;

use super::super::table::{Align, Table, label};
use crate::control::{RadiusServerView, RadiusView};

/// The text.
pub(crate) fn render(view: &RadiusView, width: usize) -> String {
    if view.servers.is_empty() {
        return "No RADIUS servers.\n".to_owned();
    }
    let mut table = Table::new([
        ("Server", Align::Left),
        ("For", Align::Left),
        ("State", Align::Left),
        ("RTT", Align::Right),
        ("Requests", Align::Right),
        ("Repeated", Align::Right),
        ("Timeouts", Align::Right),
        ("Discards", Align::Right),
    ]);
    for server in &view.servers {
        let cells = [
            server.server.clone(),
            if server.is_accounting() { "acct" } else { "auth" }.to_owned(),
            server.state.clone(),
            server.rtt_ms.map_or_else(|| "-".to_owned(), |millis| format!("{millis:.1}ms")),
            server.requests.to_string(),
            server.retransmissions.to_string(),
            server.timeouts.to_string(),
            server.discarded.to_string(),
        ];
        table.row_with_notes(cells, &notes(server));
    }
    let mut text = table.render(width);
    text.push('\n');
    label(&mut text, "Requests", &counted(&view.results));
    label(&mut text, "Not used", &counted(&view.discards));
    text
}

fn notes(server: &RadiusServerView) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(millis) = server.dead_ms {
        notes.push(format!("not there for {} s", millis / 1_000));
    }
    if server.outstanding > 0 || server.waiting > 0 {
        notes.push(format!("{} requests with it, {} waiting", server.outstanding, server.waiting));
    }
    notes
}

/// Those that have happened.
fn counted(counts: &BTreeMap<String, u64>) -> String {
    let counts = counts.iter().filter(|(_, count)| **count > 0);
    let text: Vec<_> = counts.map(|(name, count)| format!("{count} {name}")).collect();
    if text.is_empty() { "none".to_owned() } else { text.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::print::DEFAULT_WIDTH;
    use crate::control::fixtures;

    #[test]
    fn every_server_has_a_line_and_what_is_wrong_below_it() {
        let text = render(&RadiusView::from(&fixtures::figures().radius), DEFAULT_WIDTH);

        assert_eq!(
            text,
            "\
Server            For   State    RTT  Requests  Repeated  Timeouts  Discards
----------------  ----  -----  -----  --------  --------  --------  --------
10.50.0.200:1812  auth  dead   1.2ms       907         7         9         2
    not there for 61 s
    3 requests with it, 0 waiting
10.50.0.200:1813  acct  up         -         0         0         0         0

Requests        : 1 accepted
Not used        : 1 wrong-authenticator
"
        );
    }

    #[test]
    fn a_node_without_servers_says_so() {
        assert_eq!(render(&RadiusView::default(), DEFAULT_WIDTH), "No RADIUS servers.\n");
    }
}
