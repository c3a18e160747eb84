//! Keys: written into the configuration, or in files of their own.
//!
//! # Invariants
//!
//! - A file that others than its owner have access to is refused before it is read.
//! - No key, and no part of one, is in a message.
//! - Whatever a path leads to, reading it neither waits nor takes more octets than such a file may
//!   have: for a key [`MAX_KEY_FILE`].

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;

use crate::config::error::Problems;
use crate::config::file::absolute;
use crate::config::reader::{At, Section};
use crate::secret::Secret;

/// Longest key file, line end included.
pub const MAX_KEY_FILE: usize = 4_096;

/// Permissions of anybody but the owner.
const OTHERS: u32 = 0o077;

/// A key: the string `key`, or the content of the file that `key_file` names.
pub(super) fn secret(
    section: &mut Section<'_>,
    key: &'static str,
    key_file: &'static str,
    problems: &mut Problems,
) -> Option<At<Secret>> {
    let written = section.string(key, problems);
    let file = section.string(key_file, problems);
    if let (Some(_), Some(file)) = (&written, &file) {
        let what = section.describe(key);
        problems.add(&file.span, format!("{what} and `{key_file}` exclude each other"));
        return None;
    }
    if let Some(written) = written {
        problems.add_if_shared(&written.span, section.describe(key));
        return Some(At { value: Secret::from(written.value.as_bytes()), span: written.span });
    }
    let file = file?;
    let path = absolute(&file, problems)?;
    match read(&path) {
        Ok(value) => Some(At { value, span: file.span }),
        Err(error) => {
            problems.add(&file.span, format!("{:?}: {error}", file.value));
            None
        }
    }
}

/// Why a mode is refused: it lets others than the owner at a secret.
pub(super) const fn is_shared(mode: u32) -> bool {
    mode & OTHERS != 0
}

/// The content of a key file without the end of its last line.
fn read(path: &Path) -> Result<Secret, FileError> {
    let content = private("key file", path, MAX_KEY_FILE)?;
    let line = content.expose();
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(FileError::Empty);
    }
    Ok(Secret::from(line))
}

/// The content of a file that is its owner's alone. `what` it is called in messages.
pub(super) fn private(what: &'static str, path: &Path, most: usize) -> Result<Secret, FileError> {
    let file = open(path)?;
    let mode = file.metadata()?.mode();
    if is_shared(mode) {
        return Err(FileError::Shared { mode: mode & 0o7777 });
    }
    // With all of the room there from the start, no copy is left behind by growing.
    content(what, file, Vec::with_capacity(2 * most), most).map(Secret::new)
}

/// The content of a file that anybody may read.
pub(super) fn public(what: &'static str, path: &Path, most: usize) -> Result<Vec<u8>, FileError> {
    content(what, open(path)?, Vec::new(), most)
}

fn open(path: &Path) -> Result<File, FileError> {
    // A FIFO or a terminal must not keep the daemon waiting.
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(FileError::NotAFile) }
}

fn content(what: &'static str, file: File, mut octets: Vec<u8>, most: usize) -> Result<Vec<u8>, FileError> {
    // One octet more than allowed tells a long file from a longest one.
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    let length = file.take(limit.saturating_add(1)).read_to_end(&mut octets)?;
    if length > most {
        return Err(FileError::TooLong { what, most });
    }
    Ok(octets)
}

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// Nothing in it, or only a line end.
    #[error("the file has no key in it")]
    Empty,
    /// The kernel does not give it.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A directory, a device, a FIFO.
    #[error("not a regular file")]
    NotAFile,
    /// Others have access.
    #[error("mode {mode:04o} lets others than the owner at the key: chmod 600")]
    Shared {
        /// Its permissions.
        mode: u32,
    },
    /// Longer than it can be.
    #[error("a {what} has at most {most} octets")]
    TooLong {
        /// What it is.
        what: &'static str,
        /// Octets.
        most: usize,
    },
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;
    use crate::config::tests::TempDir;

    fn file(dir: &TempDir, content: &[u8], mode: u32) -> PathBuf {
        let path = dir.path().join(format!("{mode:o}-{}.key", content.len()));
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    fn refusal(path: &Path) -> String {
        read(path).unwrap_err().to_string()
    }

    #[test]
    fn a_key_is_the_content_without_the_line_end() {
        let dir = TempDir::new();
        for (content, key) in [
            (&b"secret"[..], &b"secret"[..]),
            (b"secret\n", b"secret"),
            (b"secret\r\n", b"secret"),
            (b"two\nlines\n\n", b"two\nlines\n"),
            (b" spaces \n", b" spaces "),
            (b"\x00\xff\n", b"\x00\xff"),
        ] {
            assert_eq!(read(&file(&dir, content, 0o600)).unwrap().expose(), key);
        }
        assert!(read(&file(&dir, b"secret", 0o400)).is_ok());
    }

    #[test]
    fn a_file_that_others_have_access_to_is_refused_with_its_mode() {
        let dir = TempDir::new();
        for mode in [0o640, 0o604, 0o644, 0o660, 0o620, 0o602, 0o666, 0o610] {
            let refused = refusal(&file(&dir, b"secret", mode));

            assert_eq!(refused, format!("mode {mode:04o} lets others than the owner at the key: chmod 600"));
        }
    }

    #[test]
    fn an_empty_or_endless_file_is_refused() {
        let dir = TempDir::new();

        assert_eq!(refusal(&file(&dir, b"", 0o600)), "the file has no key in it");
        assert_eq!(refusal(&file(&dir, b"\n", 0o600)), "the file has no key in it");
        assert!(read(&file(&dir, &[b'x'; MAX_KEY_FILE], 0o600)).is_ok());
        assert_eq!(
            refusal(&file(&dir, &[b'x'; MAX_KEY_FILE + 1], 0o600)),
            "a key file has at most 4096 octets"
        );
    }

    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting() {
        let dir = TempDir::new();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();

        assert_eq!(refusal(&fifo), "not a regular file");
        assert_eq!(refusal(dir.path()), "not a regular file");
        assert_eq!(refusal(Path::new("/dev/zero")), "not a regular file");
        assert!(refusal(&dir.path().join("none")).starts_with("cannot be read: No such file"));
    }
}
