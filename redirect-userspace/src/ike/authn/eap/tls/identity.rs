//! Whom a certificate names, and whether that is who was said or expected.
//!
//! What a client says in EAP-Response/Identity, or in IDi where nobody asks it, is not protected by
//! TLS. Who it is, its certificate says; what it said has to agree, unless that is configured not to
//! matter.
//!
//! # References
//!
//! `RFC 5216 §5.2` (identities of certificates), `RFC 9190 §2.1.7` and `§5.8` (anonymous ones),
//! `RFC 7542` (network access identifiers).

use crate::crypto::x509::{AltName, Certificate, has_common_name};
use crate::ike::identity::{Pattern, in_certificates, parse};
use crate::ike::wire::Id;

/// What the identity that is said in EAP is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Agreement {
    /// The certificate has to give it, or it says nothing, as `@example.net` does.
    #[default]
    Certified,
    /// Nothing.
    Any,
}

impl Agreement {
    /// Whether whoever said this may have this certificate.
    #[must_use]
    pub fn allows(self, said: &[u8], certificate: &Certificate) -> bool {
        match self {
            Self::Any => true,
            Self::Certified => is_anonymous(said) || given(said, certificate).is_some(),
        }
    }
}

/// Who the owner of a certificate is: who he said he is, if the certificate agrees; else the first
/// of a principal name of Windows, a mail address, a name of the DNS, an address, the subject.
// RFC 5216 §5.2: alternative names go before the subject.
#[must_use]
pub fn owner(said: &[u8], certificate: &Certificate) -> Option<Id<'static>> {
    given(said, certificate).or_else(|| {
        let names = certificate.alt_names();
        let of = |choose: fn(&AltName) -> Option<Id<'static>>| names.iter().find_map(choose);
        of(|name| match name {
            AltName::Upn(name) => Some(Id::Email(name.to_string().into())),
            AltName::Dns(_) | AltName::Rfc822(_) | AltName::Ip(_) => None,
        })
        .or_else(|| {
            of(|name| match name {
                AltName::Rfc822(name) => Some(Id::Email(name.to_string().into())),
                AltName::Dns(_) | AltName::Upn(_) | AltName::Ip(_) => None,
            })
        })
        .or_else(|| names.iter().map(id).next())
        .or_else(|| certificate.has_subject().then(|| Id::Dn(certificate.subject().to_vec().into())))
    })
}

/// Whether a certificate is that of somebody who is expected.
#[must_use]
pub fn is_expected(expected: &[Pattern], certificate: &Certificate) -> bool {
    let subject = certificate.has_subject().then(|| Id::Dn(certificate.subject().to_vec().into()));
    let names: Vec<Id<'static>> = certificate.alt_names().iter().map(id).chain(subject).collect();
    expected.iter().any(|pattern| match pattern {
        // A name in the certificate may have a star.
        Pattern::Id(id) => in_certificates(id).is_some_and(|identity| certificate.has(&identity)),
        Pattern::Anyone | Pattern::Below(_) | Pattern::MailOf(_) | Pattern::Dn(_) => {
            names.iter().any(|name| pattern.is_match(name))
        }
    })
}

fn id(name: &AltName) -> Id<'static> {
    match name {
        AltName::Dns(name) => Id::Fqdn(name.to_string().into()),
        AltName::Rfc822(name) | AltName::Upn(name) => Id::Email(name.to_string().into()),
        AltName::Ip(std::net::IpAddr::V4(address)) => Id::Ipv4(*address),
        AltName::Ip(std::net::IpAddr::V6(address)) => Id::Ipv6(*address),
    }
}

/// The identity that was said, if the certificate gives it.
fn given(said: &[u8], certificate: &Certificate) -> Option<Id<'static>> {
    let is_right = |id: &Id<'_>| in_certificates(id).is_some_and(|identity| certificate.has(&identity));
    // Clients that are known by a distinguished name may say it in DER.
    let dn = Id::Dn(said.to_vec().into());
    if is_right(&dn) {
        return Some(dn);
    }
    let text = std::str::from_utf8(said).ok()?;
    // What Windows calls a machine.
    let text = text.strip_prefix("host/").unwrap_or(text);
    let id = parse(text)?;
    let is_name = |name: &AltName| match name {
        AltName::Upn(name) => name.to_lowercase() == text.to_lowercase(),
        AltName::Dns(_) | AltName::Rfc822(_) | AltName::Ip(_) => false,
    };
    let is_given = is_right(&id)
        || certificate.alt_names().iter().any(is_name)
        || has_common_name(certificate.subject(), text);
    is_given.then_some(id)
}

/// Whether it says nothing about who somebody is: no more than his realm.
fn is_anonymous(said: &[u8]) -> bool {
    let name = said.split(|octet| *octet == b'@').next().unwrap_or_default();
    name.is_empty() || name.eq_ignore_ascii_case(b"anonymous")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::x509::builder::Recipe;
    use crate::ike::identity::{Shown, parse_pattern};

    fn certificate(subject: &str, names: &[AltName]) -> Certificate {
        Recipe::end_entity(subject, names).issue(None).certificate()
    }

    fn alice() -> Certificate {
        certificate(
            "O=Example, CN=Alice",
            &[
                AltName::Dns("pc7.example.net".into()),
                AltName::Rfc822("alice@example.net".into()),
                AltName::Upn("Alice@corp.example".into()),
            ],
        )
    }

    // test of RFC 5216 §5.2
    #[test]
    fn what_is_said_has_to_agree_with_the_certificate() {
        let dn = parse("O=Example, CN=Alice").unwrap();
        let Id::Dn(der) = &dn else { panic!("{dn:?}") };
        for right in [
            &b"alice@example.net"[..],
            b"alice@EXAMPLE.net",
            b"ALICE@corp.example",
            b"pc7.example.net",
            b"host/pc7.example.net",
            b"alice",
            b"O=Example, CN=Alice",
            der,
        ] {
            assert!(Agreement::Certified.allows(right, &alice()), "{right:?}");
            assert!(given(right, &alice()).is_some());
        }
        for wrong in [
            &b"bob@example.net"[..],
            b"alice@example.org",
            b"pc8.example.net",
            b"host/",
            b"Example",
            b"\xff\xfe",
            b"alice\0",
            b"CN=Alice",
            &der[..der.len() - 1],
        ] {
            assert!(!Agreement::Certified.allows(wrong, &alice()), "{wrong:?}");
            assert!(Agreement::Any.allows(wrong, &alice()));
        }
    }

    // test of RFC 9190 §2.1.7
    #[test]
    fn whoever_says_nothing_is_who_his_certificate_says() {
        for said in [&b""[..], b"@example.net", b"anonymous@example.net", b"Anonymous"] {
            assert!(Agreement::Certified.allows(said, &alice()));
            assert_eq!(owner(said, &alice()), parse("Alice@corp.example"), "{said:?}");
        }
        assert_eq!(owner(b"bob", &alice()), parse("Alice@corp.example"));
        assert_eq!(owner(b"pc7.example.net", &alice()), parse("pc7.example.net"));
        let of = |names: &[AltName]| {
            let id = owner(b"", &certificate("CN=a", names)).unwrap();
            Shown(&id).to_string()
        };
        let [dns, mail] = [AltName::Dns("a.example.net".into()), AltName::Rfc822("a@example.net".into())];
        assert_eq!(of(&[dns.clone(), mail]), "a@example.net");
        assert_eq!(of(&[dns]), "a.example.net");
        assert_eq!(of(&[AltName::Ip([192, 0, 2, 1].into())]), "192.0.2.1");
        assert_eq!(of(&[]), "CN=a");
        assert_eq!(owner(b"", &Recipe::end_entity("x", &[]).nameless().issue(None).certificate()), None);
    }

    #[test]
    fn a_server_has_one_of_the_names_that_are_expected() {
        let gateway = certificate("CN=gw", &[AltName::Dns("*.vpn.example.net".into())]);
        for (pattern, is_right) in [
            ("*", true),
            ("gw1.vpn.example.net", true),
            ("vpn.example.net", false),
            ("*.example.net", true),
            ("*.example.org", false),
            ("CN=gw", true),
            ("CN=*", true),
            ("CN=other", false),
            ("gw1@vpn.example.net", false),
        ] {
            let patterns = [parse_pattern("other.example.org").unwrap(), parse_pattern(pattern).unwrap()];
            assert_eq!(is_expected(&patterns, &gateway), is_right, "{pattern}");
        }
        assert!(!is_expected(&[], &gateway));
    }
}
