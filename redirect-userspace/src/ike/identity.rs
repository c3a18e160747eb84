//! Who we say we are, and whom we expect.
//!
//! # References
//!
//! `RFC 7296 §3.5`, `RFC 4945 §3.1`.

use std::fmt::{Display, Formatter};
use std::sync::Arc;

use super::wire::Id;
use crate::codec::Writer;
use crate::crypto::x509::{DnPattern, Identity, canonical_dn, dn_from_text, is_same_dn};

/// Who we say we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// That one.
    Id(Id<'static>),
    /// The address that the exchange goes through, or our certificate's subject.
    Implied,
}

/// Whom we take for the right peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Anybody who can prove who he is.
    Anyone,
    /// That one.
    Id(Id<'static>),
    /// Every name below a domain: `*.example.net`, kept without the star.
    Below(Box<str>),
    /// Every mailbox of a domain: `*@example.net`, kept without the star.
    MailOf(Box<str>),
    /// Distinguished names that leave something open: `C=CH, O=Example, CN=*`.
    Dn(DnPattern),
}

impl Pattern {
    /// Whether an identity is one of those.
    #[must_use]
    pub fn is_match(&self, id: &Id<'_>) -> bool {
        match (self, id) {
            (Self::Anyone, _) => true,
            (Self::Id(wanted), id) => is_same(wanted, id),
            (Self::Below(suffix), Id::Fqdn(name)) => ends_with(name, suffix),
            (Self::MailOf(suffix), Id::Email(name)) => ends_with(name, suffix),
            (Self::Dn(pattern), Id::Dn(dn)) => pattern.is_match(dn),
            (Self::Below(_) | Self::MailOf(_) | Self::Dn(_), _) => false,
        }
    }
}

/// As it would be configured.
impl Display for Pattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anyone => f.write_str("*"),
            Self::Id(id) => Display::fmt(&Shown(id), f),
            Self::Below(suffix) | Self::MailOf(suffix) => write!(f, "*{suffix}"),
            Self::Dn(pattern) => Display::fmt(pattern, f),
        }
    }
}

/// Something before the suffix, whose case does not count.
fn ends_with(name: &str, suffix: &str) -> bool {
    let Some(at) = name.len().checked_sub(suffix.len()) else { return false };
    at > 0 && name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

/// Whether two identities are the same one: names without regard to case, distinguished names by
/// their parts.
#[must_use]
pub fn is_same(one: &Id<'_>, other: &Id<'_>) -> bool {
    match (one, other) {
        (Id::Fqdn(one), Id::Fqdn(other)) | (Id::Email(one), Id::Email(other)) => {
            one.eq_ignore_ascii_case(other)
        }
        (Id::Dn(one), Id::Dn(other)) => one == other || is_same_dn(one, other),
        _ => one == other,
    }
}

/// Octets that stand for whoever has this identity, the same wherever and however he writes it: for
/// addresses that are kept for him, and for there being one of him only.
///
/// Two identities have the same octets when [`is_same`] says that they are the same.
#[must_use]
pub fn holder(id: &Id<'_>) -> Arc<[u8]> {
    let mut out = Writer::new();
    out.u8(id.kind().into());
    match id {
        Id::Ipv4(address) => out.octets(&address.octets()),
        Id::Ipv6(address) => out.octets(&address.octets()),
        Id::Fqdn(name) | Id::Email(name) => out.octets(name.to_ascii_lowercase().as_bytes()),
        Id::Dn(dn) => out.octets(&canonical_dn(dn)),
        Id::Gn(data) | Id::KeyId(data) | Id::Unknown { data, .. } => out.octets(data),
        Id::Null => {}
    }
    out.into_octets().into()
}

/// Octets that stand for whoever has this name by EAP: no identity of IKE has the same. Who cares about
/// case in a name, only its server knows; two names that differ in it are two.
#[must_use]
pub fn holder_of_user(name: &str) -> Arc<[u8]> {
    [&[EAP_USER], name.as_bytes()].concat().into()
}

/// The type of an identity that is none: RFC 7296 §3.5 reserves it.
const EAP_USER: u8 = 0;

/// A name by EAP for people: never longer than a line.
#[must_use]
pub fn shown_user(name: &str) -> Arc<str> {
    Shown(&Id::KeyId(name.as_bytes().into())).to_string().into()
}

/// The identity as certificates know it; `None` for kinds that no certificate gives.
#[must_use]
pub fn in_certificates<'a>(id: &'a Id<'_>) -> Option<Identity<'a>> {
    match id {
        Id::Ipv4(address) => Some(Identity::Ip((*address).into())),
        Id::Ipv6(address) => Some(Identity::Ip((*address).into())),
        Id::Fqdn(name) => Some(Identity::Fqdn(name)),
        Id::Email(name) => Some(Identity::Rfc822(name)),
        Id::Dn(dn) => Some(Identity::Dn(dn)),
        Id::Gn(_) | Id::KeyId(_) | Id::Null | Id::Unknown { .. } => None,
    }
}

/// The identity from a configuration: an address, `keyid:` and text, a name with an `@` in front or
/// not, a distinguished name such as `C=CH, O=Example, CN=gw1`, a mail address.
#[must_use]
pub fn parse(text: &str) -> Option<Id<'static>> {
    if text.is_empty() || text.contains(char::is_control) {
        return None;
    }
    if let Ok(address) = text.parse() {
        return Some(Id::Ipv4(address));
    }
    if let Ok(address) = text.parse() {
        return Some(Id::Ipv6(address));
    }
    if let Some(key) = text.strip_prefix("keyid:") {
        return (!key.is_empty()).then(|| Id::KeyId(key.as_bytes().to_vec().into()));
    }
    if let Some(name) = text.strip_prefix('@') {
        return (!name.is_empty()).then(|| Id::Fqdn(name.to_owned().into()));
    }
    if text.contains('=') {
        return dn_from_text(text).ok().map(|dn| Id::Dn(dn.into()));
    }
    if text.contains('@') {
        Some(Id::Email(text.to_owned().into()))
    } else {
        Some(Id::Fqdn(text.to_owned().into()))
    }
}

/// A pattern from a configuration: `*`, `*.DOMAIN`, `*@DOMAIN`, a distinguished name in which `*`
/// is a value, or an identity.
#[must_use]
pub fn parse_pattern(text: &str) -> Option<Pattern> {
    match text.strip_prefix('*') {
        Some("") => Some(Pattern::Anyone),
        Some(domain) if domain.starts_with('.') && domain.len() > 1 => Some(Pattern::Below(domain.into())),
        Some(domain) if domain.starts_with('@') && domain.len() > 1 => Some(Pattern::MailOf(domain.into())),
        Some(_) => None,
        None => parse(text).map(Pattern::Id).or_else(|| {
            let is_clean = !text.contains(char::is_control);
            DnPattern::parse(text).ok().filter(|_| is_clean).map(Pattern::Dn)
        }),
    }
}

/// An identity for people: never longer than a line, whatever the peer sent.
pub struct Shown<'a>(pub &'a Id<'a>);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Id::Ipv4(address) => Display::fmt(address, f),
            Id::Ipv6(address) => Display::fmt(address, f),
            Id::Fqdn(name) | Id::Email(name) => short(name, f),
            Id::Dn(dn) => match crate::crypto::x509::dn_to_text(dn) {
                Some(text) => short(&text, f),
                None => hexadecimal(dn, f),
            },
            Id::KeyId(data) => match std::str::from_utf8(data) {
                Ok(text) if !text.contains(char::is_control) => short(text, f),
                Ok(_) | Err(_) => hexadecimal(data, f),
            },
            Id::Gn(data) | Id::Unknown { data, .. } => hexadecimal(data, f),
            Id::Null => f.write_str("(nobody)"),
        }
    }
}

fn short(text: &str, f: &mut Formatter<'_>) -> std::fmt::Result {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((at, _)) => write!(f, "{}…", text.get(..at).unwrap_or_default()),
        None => f.write_str(text),
    }
}

fn hexadecimal(octets: &[u8], f: &mut Formatter<'_>) -> std::fmt::Result {
    octets.iter().take(MAX_SHOWN / 2).try_for_each(|octet| write!(f, "{octet:02x}"))
}

/// Most characters of an identity that are shown.
const MAX_SHOWN: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_what_it_looks_like() {
        assert_eq!(parse("10.0.0.1"), Some(Id::Ipv4([10, 0, 0, 1].into())));
        assert_eq!(parse("fd00::1").map(|id| id.kind()), Some(super::super::wire::IdType::Ipv6));
        assert_eq!(parse("vpn.example.net"), Some(Id::Fqdn("vpn.example.net".into())));
        assert_eq!(parse("@vpn"), Some(Id::Fqdn("vpn".into())));
        assert_eq!(parse("alice@example.net"), Some(Id::Email("alice@example.net".into())));
        assert_eq!(parse("keyid:branch7"), Some(Id::KeyId(b"branch7".to_vec().into())));
        assert_eq!(parse("@a=b"), Some(Id::Fqdn("a=b".into())));
        let dn = parse("C=CH, O=Example, E=alice@example.net").unwrap();
        assert_eq!(dn.kind(), super::super::wire::IdType::Dn);
        assert_eq!(Shown(&dn).to_string(), "C=CH, O=Example, E=alice@example.net");
        for wrong in ["", "keyid:", "@", "a\nb", "CN=", "CN=*", "CN=a\nb"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn patterns_match_below_their_domain_and_nowhere_else() {
        let fqdn = |name: &str| Id::Fqdn(name.to_owned().into());
        let below = parse_pattern("*.example.net").unwrap();
        let mail = parse_pattern("*@example.net").unwrap();

        assert!(below.is_match(&fqdn("a.Example.NET")) && below.is_match(&fqdn("b.a.example.net")));
        for other in ["example.net", ".example.net", "badexample.net", "a.example.net.evil"] {
            assert!(!below.is_match(&fqdn(other)), "{other}");
        }
        assert!(mail.is_match(&Id::Email("alice@example.net".into())));
        assert!(
            !mail.is_match(&Id::Email("@example.net".into())) && !mail.is_match(&fqdn("alice@example.net"))
        );
        assert!(parse_pattern("*").unwrap().is_match(&Id::Null));
        assert_eq!(parse_pattern("*example.net"), None);
    }

    #[test]
    fn a_pattern_of_distinguished_names_leaves_a_value_open() {
        let dn = |text: &str| parse(text).unwrap();
        let pattern = parse_pattern("C=CH, O=Example, CN=*").unwrap();

        assert!(pattern.is_match(&dn("C=CH, O=Example, CN=gw1")));
        assert!(!pattern.is_match(&dn("C=CH, O=Other, CN=gw1")));
        assert!(!pattern.is_match(&Id::Fqdn("gw1".into())));
        let closed = parse_pattern("O=Example, CN=gw1").unwrap();
        assert_eq!(closed, Pattern::Id(dn("O=Example, CN=gw1")));
        assert!(closed.is_match(&dn("o=EXAMPLE,cn=gw1")));
        for wrong in ["CN=*, ", "XX=*", "CN=*\n", "keyid:"] {
            assert_eq!(parse_pattern(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_pattern_is_shown_as_it_is_configured() {
        for text in [
            "*",
            "*.example.net",
            "*@example.net",
            "gw1.example.net",
            "10.0.0.1",
            "O=Example, CN=*",
            "O=a, CN=b",
        ] {
            assert_eq!(parse_pattern(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_same_identity_has_the_same_holder_and_no_other_has_it() {
        let id = |text: &str| parse(text).unwrap();
        let groups = [
            &["vpn.example.net", "VPN.example.NET"][..],
            &["keyid:vpn.example.net"],
            &["vpn@example.net", "VPN@Example.net"],
            &["10.0.0.1"],
            &["fd00::1"],
            &["O=Example, CN=gw1", "o=EXAMPLE,cn=gw1"],
            &["O=Example, CN=gw2"],
        ];
        for (number, group) in groups.iter().enumerate() {
            for other in &groups[number..] {
                let is_equal = holder(&id(group[0])) == holder(&id(other[other.len() - 1]));
                let is_one = is_same(&id(group[0]), &id(other[other.len() - 1]));
                assert_eq!((is_equal, is_one), (group == other, group == other), "{group:?} {other:?}");
            }
        }
        assert_eq!(*holder(&id("VPN")), *b"\x02vpn");
    }

    #[test]
    fn case_does_not_make_another_name() {
        assert!(is_same(&Id::Fqdn("VPN.example.net".into()), &Id::Fqdn("vpn.EXAMPLE.net".into())));
        assert!(!is_same(&Id::Fqdn("a@b".into()), &Id::Email("a@b".into())));
        assert!(!is_same(&Id::KeyId(b"A"[..].into()), &Id::KeyId(b"a"[..].into())));
    }

    #[test]
    fn what_is_shown_is_a_line_at_most() {
        let long = Id::Fqdn("ä".repeat(1_000).into());
        assert_eq!(Shown(&long).to_string().chars().count(), MAX_SHOWN + 1);
        assert_eq!(Shown(&Id::KeyId(vec![0xff; 1_000].into())).to_string().len(), MAX_SHOWN);
    }
}
