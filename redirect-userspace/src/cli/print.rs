//! The one place that writes to the operator's terminal.

use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::process::ExitCode;

/// Width of what is not shown on a terminal.
pub const DEFAULT_WIDTH: usize = 80;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Done,
    /// The daemon refused, or something failed.
    Refused,
    /// The daemon could not be asked. Wrong usage has the same number.
    Unreachable,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Refused => 1,
            Exit::Unreachable => 2,
        })
    }
}

/// Where a command writes.
pub(super) struct Console<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    /// The terminal that is written to, if it is one.
    pub(super) screen: Option<Screen>,
}

/// Size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Screen {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl Screen {
    /// That of standard output.
    pub(super) fn of_stdout() -> Option<Self> {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return None;
        }
        // A serial line does not know its size.
        let unknown = Self { columns: DEFAULT_WIDTH, rows: 24 };
        Some(terminal_size::terminal_size_of(stdout).map_or(unknown, |(columns, rows)| Self {
            columns: usize::from(columns.0),
            rows: usize::from(rows.0),
        }))
    }
}

impl<'a> Console<'a> {
    pub(super) fn new(out: &'a mut dyn Write, err: &'a mut dyn Write, screen: Option<Screen>) -> Self {
        Self { out, err, screen }
    }

    /// Columns of a line.
    pub(super) fn width(&self) -> usize {
        self.screen.map_or(DEFAULT_WIDTH, |screen| screen.columns.max(NARROWEST))
    }

    /// Writes to standard output at once. The error is how the command ends now: a reader that
    /// has seen enough (`| head`) is no failure.
    pub(super) fn print(&mut self, text: &str) -> Result<(), Exit> {
        match self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Exit::Done),
            Err(error) => Err(self.fail(&format!("cannot write: {error}"), Exit::Refused)),
        }
    }

    /// Writes a complaint to standard error, and says how the command ends.
    pub(super) fn fail(&mut self, why: &str, exit: Exit) -> Exit {
        let why = clean(why, true);
        // When nobody listens there either, the exit code still tells.
        drop(writeln!(self.err, "redirectctl: {why}"));
        exit
    }

    /// Writes a line to standard error as it is.
    pub(super) fn complain(&mut self, line: &str) {
        drop(writeln!(self.err, "{}", clean(line, true)));
    }
}

/// Tables make no sense below this.
const NARROWEST: usize = 40;

/// Replaces what could move the cursor or hide text: names and messages come from elsewhere.
pub(super) fn clean(text: &str, may_break: bool) -> String {
    text.chars().map(|c| if c.is_control() && !(may_break && c == '\n') { '?' } else { c }).collect()
}

#[cfg(test)]
pub(super) mod fixtures {
    use super::*;

    /// Runs a command and returns how it ended and what it wrote.
    pub(crate) fn capture(run: impl FnOnce(&mut Console<'_>) -> Result<(), Exit>) -> (Exit, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let ended = run(&mut Console::new(&mut out, &mut err, None));
        let exit = ended.err().unwrap_or(Exit::Done);
        (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_seen_enough_is_no_failure() {
        let (exit, complaint) = ended_by(ErrorKind::BrokenPipe);

        assert_eq!(exit, Err(Exit::Done));
        assert_eq!(complaint, "");
    }

    #[test]
    fn a_full_disk_is_a_failure() {
        let (exit, complaint) = ended_by(ErrorKind::StorageFull);

        assert_eq!(exit, Err(Exit::Refused));
        assert!(complaint.starts_with("redirectctl: cannot write: "), "{complaint}");
    }

    #[test]
    fn escape_codes_do_not_reach_the_terminal() {
        let (_, _, complaint) =
            fixtures::capture(|console| Err(console.fail("gw\u{1b}[2J\r1\nsecond line", Exit::Refused)));

        assert_eq!(complaint, "redirectctl: gw?[2J?1\nsecond line\n");
    }

    fn ended_by(kind: ErrorKind) -> (Result<(), Exit>, String) {
        struct Broken(ErrorKind);

        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let mut err = Vec::new();
        let exit = Console::new(&mut Broken(kind), &mut err, None).print("text");
        (exit, String::from_utf8(err).unwrap())
    }
}
