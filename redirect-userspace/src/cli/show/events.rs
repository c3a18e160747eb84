//! `show events`: the journal.

use super::super::table::{Align, Table};
use crate::control::EventEntry;

/// The text, oldest first.
pub(crate) fn render(entries: &[EventEntry], width: usize) -> String {
    let mut table = Table::new([("Time", Align::Left), ("Severity", Align::Left), ("What", Align::Left)]);
    for entry in entries {
        let again = if entry.count > 1 { format!(" ({} times)", entry.count) } else { String::new() };
        table.row([entry.time.clone(), entry.severity.clone(), format!("{}{again}", entry.text)]);
    }
    if table.is_empty() { "No events.\n".to_owned() } else { table.render(width) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::print::DEFAULT_WIDTH;
    use crate::control::fixtures;

    #[test]
    fn events_are_lines_in_order_with_repeats_counted() {
        let mut flapping = fixtures::event(2);
        flapping.severity = "error".to_owned();
        flapping.text =
            "eth0: cannot attach: native: Operation not supported; generic: no such device".to_owned();
        flapping.count = 3;

        assert_eq!(
            render(&[fixtures::event(1), flapping], DEFAULT_WIDTH),
            "\
Time                      Severity  What
------------------------  --------  --------------------------------------------
2026-01-31T23:59:01.000Z  info      gw2 is up
2026-01-31T23:59:02.000Z  error     eth0: cannot attach: native: Operation not
                                    supported; generic: no such device (3 times)
"
        );
    }

    #[test]
    fn an_empty_journal_says_so() {
        assert_eq!(render(&[], DEFAULT_WIDTH), "No events.\n");
    }
}
