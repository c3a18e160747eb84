//! Columns for people.
//!
//! Every column is as wide as its widest cell, but the last, which is wrapped so that a line fits
//! the terminal.

use super::print::clean;

/// Where a cell's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows under headings.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    cells: Vec<String>,
    notes: Vec<String>,
}

impl Table {
    pub(super) fn new<const N: usize>(columns: [(&'static str, Align); N]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.rows.push(Row { cells: cells.map(|cell| clean(&cell, false)).to_vec(), notes: Vec::new() });
    }

    /// A row with indented lines below it.
    pub(super) fn row_with_notes<const N: usize>(&mut self, cells: [String; N], notes: &[String]) {
        self.row(cells);
        if let Some(row) = self.rows.last_mut() {
            row.notes = notes.iter().map(|note| clean(note, false)).collect();
        }
    }

    /// The text, each line ended.
    pub(super) fn render(&self, width: usize) -> String {
        let widths = self.widths(width);
        let mut text = String::new();
        let headings: Vec<_> = self.columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        self.line(&mut text, &headings, &widths);
        let rules: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
        self.line(&mut text, &rules, &widths);
        for row in &self.rows {
            self.line(&mut text, &row.cells, &widths);
            for line in row.notes.iter().flat_map(|note| wrap(note, width.saturating_sub(INDENT.len()))) {
                push_line(&mut text, &format!("{INDENT}{line}"));
            }
        }
        text
    }

    fn widths(&self, width: usize) -> Vec<usize> {
        let mut widths: Vec<_> = self.columns.iter().map(|(heading, _)| heading.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(&row.cells) {
                *width = cell.chars().count().max(*width);
            }
        }
        if let Some((last, others)) = widths.split_last_mut() {
            let taken: usize = others.iter().map(|width| width + GAP.len()).sum();
            *last = (*last).min(width.saturating_sub(taken).max(NARROWEST));
        }
        widths
    }

    fn line(&self, text: &mut String, cells: &[String], widths: &[usize]) {
        let Some((last, others)) = cells.split_last() else { return };
        let mut line = String::new();
        for ((cell, width), (_, align)) in others.iter().zip(widths).zip(&self.columns) {
            line.push_str(&aligned(cell, *width, *align));
            line.push_str(GAP);
        }
        let (width, align) = match (widths.last(), self.columns.last()) {
            (Some(width), Some((_, align))) => (*width, *align),
            (_, _) => (NARROWEST, Align::Left),
        };
        let indent = " ".repeat(line.chars().count());
        for (number, part) in wrap(last, width).iter().enumerate() {
            let before = if number == 0 { &line } else { &indent };
            push_line(text, &format!("{before}{}", aligned(part, width, align)));
        }
    }
}

/// Between columns.
const GAP: &str = "  ";
/// Before notes.
const INDENT: &str = "    ";
/// The last column is never narrower than this.
const NARROWEST: usize = 16;

/// One `Label           : value` line, as Cisco's commands have them.
pub(super) fn label(text: &mut String, name: &str, value: &str) {
    push_line(text, &format!("{name:<16}: {}", clean(value, false)));
}

/// A part of a whole, `50.0%`; a dash when there is no whole.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(super) fn percentage(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { ratio(part as f64 / whole as f64) }
}

/// A ratio as `50.0%`.
pub(super) fn ratio(ratio: f64) -> String {
    format!("{:.1}%", ratio * 100.0)
}

/// A value that may be unknown.
pub(super) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

fn aligned(cell: &str, width: usize, align: Align) -> String {
    match align {
        Align::Left => format!("{cell:<width$}"),
        Align::Right => format!("{cell:>width$}"),
    }
}

/// Breaks between words, and inside those that are too long for a line. At least one line.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let needed = word.chars().count() + usize::from(!line.is_empty());
        if !line.is_empty() && line.chars().count() + needed > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            if line.chars().count() >= width {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_the_last_is_wrapped() {
        let mut table =
            Table::new([("Name", Align::Left), ("Count", Align::Right), ("Meaning", Align::Left)]);
        table.row(cells(["a", "1", "short"]));
        table.row(cells(["longer-name", "1234567", "several words that do not fit"]));
        table.row_with_notes(cells(["b", "2", ""]), &["a note".to_owned(), "and another".to_owned()]);

        assert_eq!(
            table.render(40),
            "\
Name           Count  Meaning
-----------  -------  ------------------
a                  1  short
longer-name  1234567  several words that
                      do not fit
b                  2
    a note
    and another
"
        );
    }

    #[test]
    fn a_word_too_long_for_a_line_is_broken() {
        assert_eq!(wrap("abcdefghij kl", 4), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("abc", 0), ["a", "b", "c"]);
    }

    #[test]
    fn cells_cannot_break_out_of_their_line() {
        let mut table = Table::new([("Name", Align::Left)]);
        table.row(cells(["evil\n\u{1b}[31mname"]));

        assert_eq!(table.render(80).lines().last(), Some("evil??[31mname"));
    }

    #[test]
    fn a_part_of_nothing_is_a_dash() {
        assert_eq!(percentage(0, 0), "-");
        assert_eq!(percentage(1, 3), "33.3%");
        assert_eq!(or_dash::<u8>(None), "-");
        assert_eq!(or_dash(Some(7)), "7");
    }

    fn cells<const N: usize>(cells: [&str; N]) -> [String; N] {
        cells.map(str::to_owned)
    }
}
