//! Where the data lies, and how to say that it does not.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The folder, or `None` after saying that the test skips.
pub(crate) fn root() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/testdata");
    #[expect(clippy::disallowed_methods, reason = "the one setting of these tests")]
    let root = std::env::var_os("REDIRECT_TESTDATA").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    if root.is_dir() {
        return Some(root.canonicalize().unwrap());
    }
    say(&format!("SKIPPED: {} is not there", root.display()));
    None
}

/// Says something even when the test passes: the harness captures what `eprintln` prints, not what
/// is written to the handle. (nextest shows it by `.config/nextest.toml`.)
pub(crate) fn say(what: &str) {
    let thread = std::thread::current();
    let line = format!("{}: {what}\n", thread.name().unwrap_or("vectors"));
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// All files below a folder, in the order of their names.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|wrong| panic!("{}: {wrong}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The list in a JSON file.
pub(crate) fn list(file: &Path) -> Vec<Value> {
    let text = std::fs::read(file).unwrap_or_else(|wrong| panic!("{}: {wrong}", file.display()));
    serde_json::from_slice(&text).unwrap_or_else(|wrong| panic!("{}: {wrong}", file.display()))
}

/// Octets from hexadecimal digits.
pub(crate) fn octets(hex: &str) -> Vec<u8> {
    assert_eq!(hex.len() % 2, 0, "half an octet: {hex}");
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}

/// A file's name without the folder of the data.
pub(crate) fn name(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).display().to_string()
}
