//! Identities, and the names in certificates that give them.
//!
//! # References
//!
//! `RFC 7296 §3.5` (identities), `RFC 4945 §3.1` and `§5.1.3` (how they match), `RFC 5280 §4.2.1.6`
//! and `§7.5` (names), `RFC 6125 §6.4.3` (wildcards).

#![forbid(unsafe_code)]

use std::net::IpAddr;

use super::super::der::{Der, tag};
use crate::codec::DecodeError;

/// Who somebody claims to be, or is expected to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity<'a> {
    /// A name of the DNS: ID_FQDN.
    Fqdn(&'a str),
    /// A mail address: ID_RFC822_ADDR.
    Rfc822(&'a str),
    /// An address: ID_IPV4_ADDR or ID_IPV6_ADDR.
    Ip(IpAddr),
    /// A distinguished name in DER: ID_DER_ASN1_DN.
    Dn(&'a [u8]),
}

/// A subjectAltName of a kind that gives an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AltName {
    /// dNSName; `*` may stand for its first label.
    Dns(Box<str>),
    /// rfc822Name
    Rfc822(Box<str>),
    /// iPAddress
    Ip(IpAddr),
    /// The name by which Windows knows a user: an otherName. It is an identity for EAP, not for IKE.
    Upn(Box<str>),
}

impl AltName {
    /// A GeneralName; `None` when it is of another kind.
    pub(super) fn read(kind: u8, body: &[u8]) -> Result<Option<Self>, DecodeError> {
        const RFC822: u8 = tag::context(1);
        const DNS: u8 = tag::context(2);
        const IP: u8 = tag::context(7);
        const OTHER: u8 = tag::constructed(0);
        match kind {
            RFC822 => text(body).map(|text| Some(Self::Rfc822(text))),
            DNS => text(body).map(|text| Some(Self::Dns(text))),
            IP => match (<[u8; 4]>::try_from(body), <[u8; 16]>::try_from(body)) {
                (Ok(octets), _) => Ok(Some(Self::Ip(octets.into()))),
                (_, Ok(octets)) => Ok(Some(Self::Ip(octets.into()))),
                (Err(_), Err(_)) => Err(DecodeError::Length { what: "iPAddress", value: body.len() }),
            },
            OTHER => other_name(body),
            _ => Ok(None),
        }
    }

    /// Whether it gives this identity to its owner.
    #[must_use]
    pub fn gives(&self, identity: &Identity<'_>) -> bool {
        match (self, identity) {
            (Self::Dns(name), Identity::Fqdn(wanted)) => is_dns_match(name, wanted),
            (Self::Rfc822(name), Identity::Rfc822(wanted)) => is_same_mailbox(name, wanted),
            (Self::Ip(name), Identity::Ip(wanted)) => name == wanted,
            (
                Self::Dns(_) | Self::Rfc822(_) | Self::Ip(_) | Self::Upn(_),
                Identity::Fqdn(_) | Identity::Rfc822(_) | Identity::Ip(_) | Identity::Dn(_),
            ) => false,
        }
    }
}

// RFC 5280 §4.2.1.6: OtherName ::= SEQUENCE { type-id OID, value [0] EXPLICIT ANY }
fn other_name(body: &[u8]) -> Result<Option<AltName>, DecodeError> {
    let what = "otherName";
    let mut name = Der::new(body);
    let kind = name.expect(tag::OID, what)?;
    let mut value = Der::new(name.expect(tag::constructed(0), what)?);
    name.finish(what)?;
    if kind != OID_UPN {
        return Ok(None);
    }
    let text = value.expect(tag::UTF8_STRING, what)?;
    value.finish(what)?;
    match std::str::from_utf8(text) {
        Ok(text) if !text.is_empty() && !text.contains(char::is_control) => {
            Ok(Some(AltName::Upn(text.into())))
        }
        Ok(_) | Err(_) => Err(DecodeError::Length { what, value: text.len() }),
    }
}

/// An IA5String: visible ASCII, and no NUL with which a name could look like another.
fn text(octets: &[u8]) -> Result<Box<str>, DecodeError> {
    let what = "subjectAltName";
    if let Some(wrong) = octets.iter().find(|octet| !octet.is_ascii_graphic()) {
        return Err(DecodeError::Value { what, value: (*wrong).into() });
    }
    match std::str::from_utf8(octets) {
        Ok(text) if !text.is_empty() => Ok(text.into()),
        Ok(_) | Err(_) => Err(DecodeError::Length { what, value: octets.len() }),
    }
}

/// Whether a dNSName, the first label of which may be `*`, covers `name`.
///
/// The wildcard stands for exactly one label, and two more must follow it, so that no certificate
/// covers all of a top-level domain.
#[must_use]
pub fn is_dns_match(pattern: &str, name: &str) -> bool {
    // A trailing dot says that a name is complete, as all are here.
    let (pattern, name) =
        (pattern.strip_suffix('.').unwrap_or(pattern), name.strip_suffix('.').unwrap_or(name));
    let is_name = !name.is_empty() && name.split('.').all(is_label);
    let covers = match pattern.strip_prefix("*.") {
        None => pattern.eq_ignore_ascii_case(name),
        Some(parent) => name
            .split_once('.')
            .is_some_and(|(_, rest)| parent.contains('.') && rest.eq_ignore_ascii_case(parent)),
    };
    is_name && covers
}

// RFC 1035 §2.3.1 with RFC 1123 §2.1; underscores occur.
fn is_label(label: &str) -> bool {
    let is_character = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_';
    (1..=63).contains(&label.len()) && label.bytes().all(is_character)
}

// RFC 5280 §7.5: the part before the `@` counts letter for letter, the rest does not.
fn is_same_mailbox(one: &str, other: &str) -> bool {
    match (one.rsplit_once('@'), other.rsplit_once('@')) {
        (Some((local, host)), Some((other_local, other_host))) => {
            local == other_local && host.eq_ignore_ascii_case(other_host) && !local.is_empty()
        }
        (None, _) | (_, None) => false,
    }
}

/// 1.3.6.1.4.1.311.20.2.3
pub(super) const OID_UPN: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x14, 0x02, 0x03];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::der::element;

    #[test]
    fn the_name_that_windows_gives_is_read_and_others_are_passed_over() {
        let other = tag::constructed(0);
        let name = |oid: &[u8], kind: u8, text: &[u8]| {
            let value = element(tag::constructed(0), &[&element(kind, &[text])]);
            [element(tag::OID, &[oid]), value].concat()
        };
        let upn = name(OID_UPN, tag::UTF8_STRING, "älice@example.net".as_bytes());

        assert_eq!(AltName::read(other, &upn), Ok(Some(AltName::Upn("älice@example.net".into()))));
        assert_eq!(AltName::read(other, &name(&[0x2a, 3], tag::INTEGER, &[1])), Ok(None));
        for length in 0..upn.len() {
            assert!(AltName::read(other, &upn[..length]).is_err(), "{length}");
        }
        for (kind, text) in [
            (tag::UTF8_STRING, &b"a\0b"[..]),
            (tag::UTF8_STRING, b""),
            (tag::IA5_STRING, b"a"),
            (tag::UTF8_STRING, b"\xff"),
        ] {
            assert!(AltName::read(other, &name(OID_UPN, kind, text)).is_err(), "{text:?}");
        }
    }

    // test of RFC 6125 §6.4.3
    #[test]
    fn a_wildcard_stands_for_one_label() {
        for (pattern, name) in [
            ("gw.example.com", "gw.example.com"),
            ("GW.example.COM", "gw.EXAMPLE.com"),
            ("gw.example.com.", "gw.example.com"),
            ("gw.example.com", "gw.example.com."),
            ("*.example.com", "gw.example.com"),
            ("localhost", "localhost"),
        ] {
            assert!(is_dns_match(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("gw.example.com", "gw2.example.com"),
            ("gw.example.com", "example.com"),
            ("*.example.com", "example.com"),
            ("*.example.com", ".example.com"),
            ("*.example.com", "a.gw.example.com"),
            ("*.example.com", "*.example.com"),
            ("*.com", "example.com"),
            ("*", "localhost"),
            ("g*.example.com", "gw.example.com"),
            ("gw.*.com", "gw.example.com"),
            ("", ""),
            ("gw.example.com", "gw.example.com\0"),
            ("a..b", "a..b"),
        ] {
            assert!(!is_dns_match(pattern, name), "{pattern} {name}");
        }
    }

    // test of RFC 5280 §7.5
    #[test]
    fn mailboxes_differ_in_the_case_of_their_first_part_only() {
        assert!(is_same_mailbox("Ops@example.com", "Ops@EXAMPLE.com"));
        assert!(!is_same_mailbox("Ops@example.com", "ops@example.com"));
        assert!(!is_same_mailbox("example.com", "example.com"));
        assert!(!is_same_mailbox("@example.com", "@example.com"));
    }

    #[test]
    fn names_that_could_deceive_are_refused() {
        let dns = tag::context(2);

        assert_eq!(
            AltName::read(dns, b"gw.example.com\0.evil.test"),
            Err(DecodeError::Value { what: "subjectAltName", value: 0 })
        );
        assert!(AltName::read(dns, b"").is_err());
        assert!(AltName::read(dns, "bücher.example".as_bytes()).is_err());
        assert!(AltName::read(tag::context(7), &[192, 0, 2]).is_err());
        assert_eq!(AltName::read(tag::context(6), b"https://example.com"), Ok(None));
    }
}
