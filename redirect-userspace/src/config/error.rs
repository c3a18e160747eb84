//! What is wrong with a configuration, and where.

use std::fmt::{Display, Formatter};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::config::key::is_shared;

/// One mistake. Displayed as `FILE:LINE:COLUMN: message`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}:{column}: {message}", file.display())]
pub struct ConfigError {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// All mistakes of a file, in the order of their places. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The mistakes.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl Display for ConfigErrors {
    /// One mistake per line.
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        for (position, error) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The mistakes found up to now, by their offset in the text.
#[derive(Default)]
pub(super) struct Problems {
    found: Vec<(usize, String)>,
    /// The permissions of the file if others than its owner have any.
    shared: Option<u32>,
}

impl Problems {
    /// None yet, in a file with these permissions.
    pub(super) fn with_mode(mode: u32) -> Self {
        Self { found: Vec::new(), shared: is_shared(mode).then_some(mode & 0o7777) }
    }

    /// Adds a mistake at the start of `span`.
    pub(super) fn add(&mut self, span: &Range<usize>, message: impl Into<String>) {
        self.found.push((span.start, message.into()));
    }

    /// Adds a mistake if others have access to the file: `what` is a secret.
    pub(super) fn add_if_shared(&mut self, span: &Range<usize>, what: impl Display) {
        if let Some(mode) = self.shared {
            let message = format!("{what} is a secret, but this file has mode {mode:04o}: chmod 600");
            self.add(span, message);
        }
    }

    /// The value if nothing was wrong, otherwise all mistakes. Without a value there must be one.
    pub(super) fn finish<T>(mut self, value: Option<T>, file: &Path, text: &str) -> Result<T, ConfigErrors> {
        if let (Some(value), true) = (value, self.found.is_empty()) {
            return Ok(value);
        }
        self.found.sort();
        self.found.dedup();
        let error = |(offset, message)| {
            let (line, column) = place(text, offset);
            ConfigError { file: file.to_owned(), line, column, message }
        };
        Err(ConfigErrors(self.found.into_iter().map(error).collect()))
    }
}

/// Line and column of an offset, from 1.
pub(super) fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_start_at_one() {
        let text = "a = 1\nüb = 2\n";

        assert_eq!(place(text, 0), (1, 1));
        assert_eq!(place(text, 4), (1, 5));
        assert_eq!(place(text, 6), (2, 1));
        assert_eq!(place(text, 10), (2, 4));
        assert_eq!(place(text, 99), (3, 1));
    }

    #[test]
    fn mistakes_are_sorted_and_told_once() {
        let mut problems = Problems::default();
        problems.add(&(3..4), "second");
        problems.add(&(1..2), "first");
        problems.add(&(3..9), "second");

        let errors = problems.finish(Some(()), Path::new("f"), "abcdef").unwrap_err();

        assert_eq!(errors.to_string(), "f:1:2: first\nf:1:4: second");
    }
}
