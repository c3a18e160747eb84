//! Packets that were not made by us: scapy in a namespace.

use anyhow::Result;

use super::netns::Namespace;
use super::process::output;

/// Runs lines of Python that know scapy's names, and returns what they print.
///
/// # Errors
///
/// When scapy is missing, or the lines fail: with what Python says.
pub fn run(namespace: &Namespace, lines: &str) -> Result<String> {
    let script = format!("from scapy.all import *\nconf.verb = 0\n{lines}");
    // Debian's package belongs to Debian's Python, which may not be the first in `PATH`.
    output(namespace.command("/usr/bin/python3").args(["-c", &script]))
}
