//! What happens to certificates, keys, lists of revoked certificates and OCSP responses.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Severity;
use crate::ike::paper::PaperKind;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Papers {
    /// A certificate is good for a short time only, or no longer.
    Expires {
        /// Which kind.
        kind: PaperKind,
        /// Where it is.
        file: PathBuf,
        /// Whose it is.
        owner: Box<str>,
        /// For how long it is good still; zero = it has expired.
        left: Duration,
    },
    /// A list or a response is out of date.
    Outdated {
        /// Which kind.
        kind: PaperKind,
        /// Where it is.
        file: PathBuf,
        /// Which CA's.
        owner: Box<str>,
    },
    /// A file has changed, and what is in it cannot be used: what was there before stays in use.
    Refused {
        /// Which.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// Files have changed, and what is in them is in use.
    Taken {
        /// Which.
        files: Vec<PathBuf>,
    },
}

impl Papers {
    /// The name operators see.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Expires { .. } => "certificate-expires",
            Self::Outdated { .. } => "revocation-outdated",
            Self::Refused { .. } => "credentials-refused",
            Self::Taken { .. } => "credentials-reloaded",
        }
    }

    /// How much it matters.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Expires { left, .. } if left.is_zero() => Severity::Error,
            Self::Expires { .. } | Self::Outdated { .. } => Severity::Warn,
            Self::Refused { .. } => Severity::Error,
            Self::Taken { .. } => Severity::Info,
        }
    }

    /// Its details by name.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Expires { kind, file, owner, left } => vec![
                ("kind", kind.name().to_owned()),
                ("file", file.display().to_string()),
                ("owner", owner.to_string()),
                ("left-s", left.as_secs().to_string()),
            ],
            Self::Outdated { kind, file, owner } => vec![
                ("kind", kind.name().to_owned()),
                ("file", file.display().to_string()),
                ("owner", owner.to_string()),
            ],
            Self::Refused { file, why } => {
                vec![("file", file.display().to_string()), ("why", why.clone())]
            }
            Self::Taken { files } => vec![("files", list(files))],
        }
    }
}

/// In words, for a person who reads one line.
impl fmt::Display for Papers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expires { kind, file, owner, left } => {
                let (kind, file, left) = (kind.name(), file.display(), left.as_secs());
                write!(f, "{file}: the certificate of {owner} ({kind}) is good for {left} s")
            }
            Self::Outdated { kind, file, owner } => {
                write!(f, "{}: the {} of {owner} is out of date", file.display(), kind.name())
            }
            Self::Refused { file, why } => {
                write!(f, "{} has changed and is not taken, the old one stays: {why}", file.display())
            }
            Self::Taken { files } => write!(f, "changed and in use: {}", list(files)),
        }
    }
}

/// Files in one string.
pub(super) fn list(files: &[PathBuf]) -> String {
    let mut names: Vec<String> =
        files.iter().take(MAX_NAMED).map(|file| file.display().to_string()).collect();
    if files.len() > MAX_NAMED {
        names.push("…".to_owned());
    }
    names.join(", ")
}

/// How many files are named at most.
const MAX_NAMED: usize = 8;

#[cfg(test)]
pub(super) mod fixtures {
    use super::*;

    /// One event of each kind.
    pub(crate) fn events() -> Vec<Papers> {
        let file = |name: &str| PathBuf::from("/etc/redirectd").join(name);
        let owner = || "O=Example, CN=vpn.example.net".into();
        vec![
            Papers::Expires {
                kind: PaperKind::Own,
                file: file("vpn.crt"),
                owner: owner(),
                left: Duration::from_secs(604_800),
            },
            Papers::Outdated { kind: PaperKind::Crl, file: file("ca.crl"), owner: owner() },
            Papers::Refused { file: file("ca.crl"), why: "not a PEM file".to_owned() },
            Papers::Taken { files: vec![file("vpn.crt"), file("vpn.key")] },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_expired_is_an_error_and_what_will_is_a_warning() {
        let expires = |left| Papers::Expires {
            kind: PaperKind::Ca,
            file: "/ca.crt".into(),
            owner: "CN=ca".into(),
            left: Duration::from_secs(left),
        };

        assert_eq!(expires(0).severity(), Severity::Error);
        assert_eq!(expires(1).severity(), Severity::Warn);
        assert_eq!(expires(1).to_string(), "/ca.crt: the certificate of CN=ca (ca) is good for 1 s");
    }

    #[test]
    fn a_line_does_not_grow_with_the_number_of_files() {
        let files: Vec<PathBuf> = (0..100).map(|number| format!("/{number}").into()).collect();

        assert_eq!(list(&files), "/0, /1, /2, /3, /4, /5, /6, /7, …");
    }
}
