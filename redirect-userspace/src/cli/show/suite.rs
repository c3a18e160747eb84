//! Algorithms in Cisco's words, from the keywords of a proposal.

/// The algorithms of a suite such as `aes256gcm16-prfsha384-ecp384`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Algorithms<'a> {
    pub(super) encryption: String,
    pub(super) prf: &'a str,
    pub(super) hash: &'a str,
    pub(super) group: &'a str,
}

impl<'a> Algorithms<'a> {
    /// What the keywords mean. One that is not known is shown as it is, as encryption.
    pub(super) fn of(suite: &'a str) -> Self {
        let mut algorithms = Self { encryption: NONE.to_owned(), prf: NONE, hash: NONE, group: NONE };
        for word in suite.split('-').filter(|word| !word.is_empty()) {
            if let Some(prf) = word.strip_prefix("prf") {
                algorithms.prf = HASHES.iter().find(|(known, _)| *known == prf).map_or(prf, |(_, name)| name);
            } else if let Some((_, name)) = HASHES.iter().find(|(known, _)| *known == word) {
                algorithms.hash = name;
            } else if let Some((_, number)) = GROUPS.iter().find(|(known, _)| *known == word) {
                algorithms.group = number;
            } else if !OTHERS.contains(&word) {
                algorithms.encryption = encryption(word);
            }
        }
        algorithms
    }
}

fn encryption(word: &str) -> String {
    match CIPHERS.iter().find(|(known, ..)| *known == word) {
        Some((_, name, Some(bits))) => format!("{name}, keysize: {bits}"),
        Some((_, name, None)) => (*name).to_owned(),
        None => word.to_owned(),
    }
}

const NONE: &str = "None";

const CIPHERS: [(&str, &str, Option<u16>); 5] = [
    ("aes128", "AES-CBC", Some(128)),
    ("aes256", "AES-CBC", Some(256)),
    ("aes128gcm16", "AES-GCM", Some(128)),
    ("aes256gcm16", "AES-GCM", Some(256)),
    ("chacha20poly1305", "CHACHA20-POLY1305", None),
];
const HASHES: [(&str, &str); 4] =
    [("sha1", "SHA96"), ("sha256", "SHA256"), ("sha384", "SHA384"), ("sha512", "SHA512")];
/// Methods by their IANA numbers.
const GROUPS: [(&str, &str); 7] = [
    ("modp2048", "14"),
    ("modp3072", "15"),
    ("modp4096", "16"),
    ("ecp256", "19"),
    ("ecp384", "20"),
    ("ecp521", "21"),
    ("x25519", "31"),
];
/// Sequence numbers, which are not shown.
const OTHERS: [&str; 2] = ["esn", "noesn"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_shown_in_ciscos_words() {
        for (suite, encryption, rest) in [
            ("aes256gcm16-prfsha384-ecp384", "AES-GCM, keysize: 256", ["SHA384", "None", "20"]),
            ("aes128-sha256-prfsha512-modp2048", "AES-CBC, keysize: 128", ["SHA512", "SHA256", "14"]),
            ("chacha20poly1305-noesn", "CHACHA20-POLY1305", ["None", "None", "None"]),
            ("aes512gcm-prfnew-x25519", "aes512gcm", ["new", "None", "31"]),
            ("", "None", ["None", "None", "None"]),
        ] {
            let [prf, hash, group] = rest;
            let encryption = encryption.to_owned();
            assert_eq!(Algorithms::of(suite), Algorithms { encryption, prf, hash, group }, "{suite}");
        }
    }
}
