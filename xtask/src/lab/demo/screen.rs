//! Lines that scroll and, on a terminal, a table below them that stays.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

/// Width of a full bar.
const BAR: usize = 24;
/// Without a terminal the table is printed this often, as lines among the others.
const PRINT: Duration = Duration::from_secs(10);

/// A gateway's row of the table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) gateway: String,
    pub(super) weight: u16,
    pub(super) redirects: u64,
    /// Part of all redirects so far.
    pub(super) share: f64,
    /// The part its weight stands for.
    pub(super) wanted: f64,
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
    let head = format!("gateway  weight  redirects  {:<BAR$}  share  weight's  tunnels", "");
    std::iter::once(head).chain(rows.iter().map(Row::line)).collect()
}

impl Row {
    fn line(&self) -> String {
        let Self { gateway, weight, redirects, share, wanted, tunnels } = self;
        let bar = bar(*share, *wanted);
        let (share, wanted) = (share * 100.0, wanted * 100.0);
        format!(
            "{gateway:<7}  {weight:>6}  {redirects:>9}  {bar}  {share:>4.0}%  {wanted:>7.0}%  {tunnels:>7}"
        )
    }
}

/// A bar for a share, with a mark where the weight would have it end.
fn bar(share: f64, wanted: f64) -> String {
    (1_u32..)
        .take(BAR)
        .map(|column| {
            let (from, to) = (f64::from(column - 1), f64::from(column));
            let (share, wanted) = (share * BAR as f64, wanted * BAR as f64);
            match (from < wanted && wanted <= to, share >= to - 0.5) {
                (true, _) => '|',
                (false, true) => '#',
                (false, false) => '.',
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share_and_marks_the_weight() {
        assert_eq!(bar(0.0, 0.5), "...........|............");
        assert_eq!(bar(0.5, 0.25), "#####|######............");
        assert_eq!(bar(1.0, 1.0), "#######################|");
        assert_eq!(bar(0.0, 0.0), "........................");
    }

    #[test]
    fn a_table_fits_into_eighty_columns() {
        let row = Row {
            gateway: "gw1".to_owned(),
            weight: 1,
            redirects: 24,
            share: 0.24,
            wanted: 0.25,
            tunnels: 23,
        };

        let lines = lines(&[row]);

        assert_eq!(
            lines,
            [
                "gateway  weight  redirects                            share  weight's  tunnels",
                "gw1           1         24  #####|..................    24%       25%       23",
            ]
        );
        assert!(lines.iter().all(|line| line.len() <= 80));
    }
}
