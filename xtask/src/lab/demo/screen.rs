//! Lines that scroll and, on a terminal, a table below them that stays.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

/// Width of a full bar.
const BAR: usize = 20;
/// Without a terminal the table is printed this often, as lines among the others.
const PRINT: Duration = Duration::from_secs(10);

/// A node's row of the table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) node: String,
    /// Its state in the election, or why it has none.
    pub(super) state: String,
    /// Percent, as it reports itself to the master.
    pub(super) load: Option<f64>,
    /// IKE SAs, as it reports itself to the master.
    pub(super) sessions: Option<u64>,
    /// Part of the next clients that the master sends there.
    pub(super) share: f64,
    /// Clients that were sent there.
    pub(super) redirects: u64,
    /// Tunnels that clients have to it.
    pub(super) tunnels: usize,
}

/// Standard output.
#[derive(Debug)]
pub(super) struct Screen {
    is_terminal: bool,
    /// The table at the bottom of a terminal, as it was drawn last.
    table: Vec<String>,
    next_print: Duration,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { is_terminal: io::stdout().is_terminal(), table: Vec::new(), next_print: PRINT }
    }

    /// Prints a line above the table.
    pub(super) fn line(&self, text: &str) -> io::Result<()> {
        let mut out = self.erase();
        out.push_str(text);
        out.push('\n');
        self.draw(&mut out);
        write(&out)
    }

    /// Shows the table of `rows`, `now` after the start.
    pub(super) fn table(&mut self, now: Duration, rows: &[Row]) -> io::Result<()> {
        let lines = lines(rows);
        if self.is_terminal {
            let mut out = self.erase();
            self.table = std::iter::once(String::new()).chain(lines).collect();
            self.draw(&mut out);
            write(&out)
        } else if now >= self.next_print {
            self.next_print = now + PRINT;
            lines.iter().try_for_each(|line| self.line(line))
        } else {
            Ok(())
        }
    }

    /// Prints the table as lines.
    pub(super) fn rows(&self, rows: &[Row]) -> io::Result<()> {
        lines(rows).iter().try_for_each(|line| self.line(line))
    }

    /// Takes the table away.
    pub(super) fn close(&mut self) -> io::Result<()> {
        let out = self.erase();
        self.table.clear();
        write(&out)
    }

    /// What takes the table off the terminal.
    fn erase(&self) -> String {
        match self.table.len() {
            0 => String::new(),
            // Up to its first line, then clear to the end of the screen.
            height => format!("\x1b[{height}A\x1b[J"),
        }
    }

    fn draw(&self, out: &mut String) {
        for line in &self.table {
            out.push_str(line);
            out.push('\n');
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn lines(rows: &[Row]) -> Vec<String> {
    let head = format!("node  election  load  sessions  {:<BAR$}  share  redirects  tunnels", "");
    std::iter::once(head).chain(rows.iter().map(Row::line)).collect()
}

impl Row {
    fn line(&self) -> String {
        let Self { node, state, load, sessions, share, redirects, tunnels } = self;
        let load = load.map_or_else(|| String::from("-"), |load| format!("{load:.0}%"));
        let sessions = sessions.map_or_else(|| String::from("-"), |sessions| sessions.to_string());
        let (bar, share) = (bar(*share), share * 100.0);
        format!(
            "{node:<4}  {state:<8}  {load:>4}  {sessions:>8}  {bar}  {share:>4.0}%  {redirects:>9}  {tunnels:>7}"
        )
    }
}

/// A bar for a share.
fn bar(share: f64) -> String {
    (1_u32..)
        .take(BAR)
        .map(|column| if share * BAR as f64 >= f64::from(column) - 0.5 { '#' } else { '.' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        assert_eq!(bar(0.0), "....................");
        assert_eq!(bar(0.5), "##########..........");
        assert_eq!(bar(1.0), "####################");
    }

    #[test]
    fn a_table_fits_into_eighty_columns() {
        let rows = [
            Row {
                node: "gw1".to_owned(),
                state: "active".to_owned(),
                load: Some(7.4),
                sessions: Some(12),
                share: 0.24,
                redirects: 24,
                tunnels: 13,
            },
            Row {
                node: "gw2".to_owned(),
                state: "killed".to_owned(),
                load: None,
                sessions: None,
                share: 0.0,
                redirects: 9,
                tunnels: 0,
            },
        ];

        let lines = lines(&rows);

        assert_eq!(
            lines,
            [
                "node  election  load  sessions                        share  redirects  tunnels",
                "gw1   active      7%        12  #####...............    24%         24       13",
                "gw2   killed       -         -  ....................     0%          9        0",
            ]
        );
        assert!(lines.iter().all(|line| line.len() <= 80));
    }
}
