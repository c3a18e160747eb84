//! Distinguished names: how they are compared, shown, and written in a configuration.
//!
//! The text is the one that OpenSSL and strongSwan show: attributes in the order in which they are
//! in the name, so that `C=CH, O=Example, CN=gw1` begins with the country. `RFC 4514` writes names
//! the other way round; its quoting is the one used here.
//!
//! # References
//!
//! `RFC 5280 §4.1.2.4` (names), `§7.1` (how they are compared), `RFC 4514 §2` and `§3` (as text),
//! `RFC 4519` (attributes).

#![forbid(unsafe_code)]

use std::fmt::{Display, Formatter, Write as _};
use std::iter::Peekable;
use std::str::Chars;

use super::super::der::{Der, Element, element, tag};
use crate::codec::{DecodeError, Writer};

/// Whether two distinguished names are the same.
///
/// The same octets always are. Otherwise attributes are compared one by one, and those that are text
/// without regard to letters' case, to spaces, and to which string type holds them.
// RFC 5280 §7.1
#[must_use]
pub fn is_same_dn(one: &[u8], other: &[u8]) -> bool {
    one == other
        || match (attributes(one), attributes(other)) {
            (Ok(one), Ok(other)) => {
                one.len() == other.len() && one.iter().zip(&other).all(|(one, other)| one.is_same(other))
            }
            (Err(_), _) | (_, Err(_)) => false,
        }
}

/// Octets that are equal for names that are the same. Not a name themselves.
#[must_use]
pub fn canonical_dn(octets: &[u8]) -> Vec<u8> {
    let Ok(attributes) = attributes(octets) else { return octets.to_vec() };
    let mut out = Writer::new();
    for attribute in attributes {
        // An element ends where its length says, so that nothing can look like two.
        let value = if attribute.is_text() {
            element(tag::UTF8_STRING, &[&folded(attribute.value.body).collect::<Vec<_>>()])
        } else {
            attribute.value.whole.to_vec()
        };
        out.u8(attribute.is_first.into());
        out.octets(&element(tag::OID, &[attribute.oid]));
        out.octets(&value);
    }
    out.into_octets()
}

/// A distinguished name for people, such as `O=Example, CN=gw1`; `None` when it cannot be read.
#[must_use]
pub fn dn_to_text(octets: &[u8]) -> Option<String> {
    let mut text = String::new();
    for attribute in attributes(octets).ok()? {
        if !text.is_empty() {
            text.push_str(if attribute.is_first { ", " } else { " + " });
        }
        match Kind::with_oid(attribute.oid) {
            Some(kind) => text.push_str(kind.label),
            None => text.push_str(&oid_to_text(attribute.oid)),
        }
        text.push('=');
        let Element { tag, body, whole } = attribute.value;
        match tag {
            tag::UTF8_STRING | tag::PRINTABLE_STRING | tag::IA5_STRING | tag::TELETEX_STRING => {
                for c in String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()) {
                    if matches!(c, ',' | '+' | '"' | '\\' | '#') {
                        text.push('\\');
                    }
                    text.push(c);
                }
            }
            _ => {
                text.push('#');
                whole.iter().try_for_each(|octet| write!(text, "{octet:02x}")).ok()?;
            }
        }
    }
    Some(text)
}

/// Whether one of the common names in a distinguished name is this one; case does not count.
#[must_use]
pub fn has_common_name(octets: &[u8], name: &str) -> bool {
    let is_name = |attribute: &Attribute<'_>| {
        Kind::with_oid(attribute.oid).is_some_and(|kind| kind.label == "CN") && attribute.is_value(name)
    };
    !name.is_empty() && attributes(octets).is_ok_and(|attributes| attributes.iter().any(is_name))
}

/// The DER of a distinguished name that is written as `C=CH, O=Example, CN=gw1`.
///
/// # Errors
///
/// [`DnTextError`]
pub fn dn_from_text(text: &str) -> Result<Vec<u8>, DnTextError> {
    let mut names: Vec<Vec<Vec<u8>>> = Vec::new();
    for Part { is_first, oid, string, value } in parts(text)? {
        let value = value.ok_or(DnTextError::Wildcard)?;
        let attribute =
            element(tag::SEQUENCE, &[&element(tag::OID, &[&oid]), &element(string, &[value.as_bytes()])]);
        match names.last_mut() {
            Some(set) if !is_first => set.push(attribute),
            Some(_) | None => names.push(vec![attribute]),
        }
    }
    let sets: Vec<Vec<u8>> = names
        .into_iter()
        .map(|mut set| {
            // X.690 §11.6: DER sorts what is in a set.
            set.sort();
            element(tag::SET, &set.iter().map(Vec::as_slice).collect::<Vec<_>>())
        })
        .collect();
    Ok(element(tag::SEQUENCE, &sets.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

/// Distinguished names that have the same attributes in the same order, some of them with any value.
/// That goes for attributes of one RelativeDistinguishedName, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnPattern {
    text: Box<str>,
    parts: Vec<Part>,
}

impl DnPattern {
    /// Reads a name in which `*` stands for any value: `C=CH, O=Example, CN=*`.
    ///
    /// # Errors
    ///
    /// [`DnTextError`]
    pub fn parse(text: &str) -> Result<Self, DnTextError> {
        Ok(Self { text: text.into(), parts: parts(text)? })
    }

    /// Whether any value is left open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.parts.iter().any(|part| part.value.is_none())
    }

    /// Whether a name, in DER, is one of those.
    #[must_use]
    pub fn is_match(&self, dn: &[u8]) -> bool {
        let Ok(attributes) = attributes(dn) else { return false };
        attributes.len() == self.parts.len()
            && attributes.iter().zip(&self.parts).all(|(attribute, part)| {
                attribute.is_first == part.is_first
                    && *attribute.oid == *part.oid
                    && part.value.as_deref().is_none_or(|value| attribute.is_value(value))
            })
    }
}

/// As it was written.
impl Display for DnPattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.text)
    }
}

/// An AttributeTypeAndValue.
#[derive(Clone, Copy, Debug)]
struct Attribute<'a> {
    /// Whether a RelativeDistinguishedName begins here. Nearly all have one attribute only.
    is_first: bool,
    oid: &'a [u8],
    value: Element<'a>,
}

impl Attribute<'_> {
    fn is_same(&self, other: &Attribute<'_>) -> bool {
        let is_same_value = if self.is_text() && other.is_text() {
            folded(self.value.body).eq(folded(other.value.body))
        } else {
            self.value.whole == other.value.whole
        };
        self.is_first == other.is_first && self.oid == other.oid && is_same_value
    }

    fn is_value(&self, value: &str) -> bool {
        self.is_text() && folded(self.value.body).eq(folded(value.as_bytes()))
    }

    const fn is_text(&self) -> bool {
        matches!(self.value.tag, tag::UTF8_STRING | tag::PRINTABLE_STRING | tag::IA5_STRING)
    }
}

/// The attributes of a name.
// RFC 5280 §4.1.2.4: Name ::= SEQUENCE OF SET OF SEQUENCE { OID, value }
fn attributes(octets: &[u8]) -> Result<Vec<Attribute<'_>>, DecodeError> {
    let mut der = Der::new(octets);
    let mut name = der.sequence("Name")?;
    der.finish("Name")?;
    let mut attributes = Vec::new();
    while !name.is_empty() {
        let mut set = Der::new(name.expect(tag::SET, "RelativeDistinguishedName")?);
        let mut is_first = true;
        while !set.is_empty() {
            let what = "AttributeTypeAndValue";
            let mut attribute = set.sequence(what)?;
            let (oid, value) = (attribute.expect(tag::OID, what)?, attribute.element(what)?);
            attribute.finish(what)?;
            attributes.push(Attribute { is_first, oid, value });
            is_first = false;
        }
    }
    Ok(attributes)
}

/// Octets of a text without spaces around it, with one space where there are more, in lower case.
fn folded(text: &[u8]) -> impl Iterator<Item = u8> {
    let words = text.split(|octet| *octet == b' ').filter(|word| !word.is_empty());
    words.flat_map(|word| [b' '].into_iter().chain(word.iter().map(u8::to_ascii_lowercase)))
}

/// An attribute that was written as text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    is_first: bool,
    oid: Box<[u8]>,
    /// The type of string that certificates use for it.
    string: u8,
    /// `None` for any.
    value: Option<Box<str>>,
}

fn parts(text: &str) -> Result<Vec<Part>, DnTextError> {
    let mut chars = text.chars().peekable();
    let mut parts = Vec::new();
    let mut is_first = true;
    loop {
        let label: String = chars.by_ref().take_while(|c| *c != '=').collect();
        let label = label.trim();
        let (oid, string): (Box<[u8]>, u8) = match Kind::with_label(label) {
            Some(kind) => (kind.oid.into(), kind.string),
            None => {
                let oid = oid_from_text(label).ok_or_else(|| DnTextError::Attribute(label.into()))?;
                (oid.into(), tag::UTF8_STRING)
            }
        };
        let (value, end) = value(&mut chars)?;
        parts.push(Part { is_first, oid, string, value });
        match end {
            Some(end) => is_first = end != '+',
            None => return Ok(parts),
        }
    }
}

/// A value, `None` for `*`, and the character that ended it.
fn value(chars: &mut Peekable<Chars<'_>>) -> Result<(Option<Box<str>>, Option<char>), DnTextError> {
    let mut octets = Vec::new();
    // Spaces at the end do not belong to the value, unless they are quoted.
    let mut length = 0;
    let (mut is_quoted, mut is_literal) = (false, false);
    let end = loop {
        match chars.next() {
            Some('"') => {
                (is_quoted, is_literal) = (!is_quoted, true);
                length = octets.len();
            }
            Some('\\') => {
                octets.push(escaped(chars)?);
                is_literal = true;
                length = octets.len();
            }
            Some(end @ (',' | '+')) if !is_quoted => break Some(end),
            Some(' ') if !is_quoted && octets.is_empty() => {}
            Some(c) => {
                octets.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                if is_quoted || c != ' ' {
                    length = octets.len();
                }
            }
            None if is_quoted => return Err(DnTextError::Quote),
            None => break None,
        }
    };
    octets.truncate(length);
    match String::from_utf8(octets) {
        Ok(value) if value == "*" && !is_literal => Ok((None, end)),
        Ok(value) if !value.is_empty() => Ok((Some(value.into()), end)),
        Ok(_) | Err(_) => Err(DnTextError::Value),
    }
}

/// What a backslash is in front of: a character that would mean something, or two digits of an octet.
// RFC 4514 §3: pair
fn escaped(chars: &mut Peekable<Chars<'_>>) -> Result<u8, DnTextError> {
    let first = chars.next().ok_or(DnTextError::Escape)?;
    if let Some(high) = first.to_digit(16) {
        let low = chars.next().and_then(|c| c.to_digit(16)).ok_or(DnTextError::Escape)?;
        return u8::try_from(high << 4 | low).map_err(|_large| DnTextError::Escape);
    }
    match u8::try_from(first) {
        Ok(octet) if octet.is_ascii_punctuation() || octet == b' ' => Ok(octet),
        Ok(_) | Err(_) => Err(DnTextError::Escape),
    }
}

/// `2.5.4.3` as the contents of an OBJECT IDENTIFIER.
// X.690 §8.19
fn oid_from_text(text: &str) -> Option<Vec<u8>> {
    let mut arcs = text.split('.').map(|arc| arc.parse::<u32>().ok());
    let (root, second) = (arcs.next()??, arcs.next()??);
    if root > 2 || (root < 2 && second > 39) {
        return None;
    }
    let mut octets = Vec::new();
    push_arc(&mut octets, (root * 40).checked_add(second)?);
    for arc in arcs {
        push_arc(&mut octets, arc?);
    }
    Some(octets)
}

/// A number of seven bits an octet; all but the last have the highest one set.
fn push_arc(octets: &mut Vec<u8>, arc: u32) {
    for shift in [28, 21, 14, 7] {
        if arc >> shift != 0 {
            let [.., low] = (arc >> shift).to_be_bytes();
            octets.push(low | 0x80);
        }
    }
    let [.., low] = arc.to_be_bytes();
    octets.push(low & 0x7f);
}

/// The contents of an OBJECT IDENTIFIER as `2.5.4.3`. Numbers that are too large are shown as 0.
fn oid_to_text(octets: &[u8]) -> String {
    let mut text = String::new();
    for arc in octets.split_inclusive(|octet| octet & 0x80 == 0) {
        let number = arc.iter().try_fold(0_u64, |number, octet| {
            number.checked_mul(128).map(|number| number | u64::from(octet & 0x7f))
        });
        let number = number.unwrap_or(0);
        let written = if text.is_empty() {
            let root = (number / 40).min(2);
            write!(text, "{root}.{}", number - 40 * root)
        } else {
            write!(text, ".{number}")
        };
        // A string takes everything.
        debug_assert!(written.is_ok());
    }
    text
}

/// Why a text is not a distinguished name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnTextError {
    /// The name of an attribute, or what should be one.
    #[error("{0:?} is not an attribute of distinguished names, such as CN, O or 2.5.4.3")]
    Attribute(Box<str>),
    /// A value that is empty or not UTF-8.
    #[error("an attribute has a value")]
    Value,
    /// `*` where one certain name is needed.
    #[error("`*` stands for many names; write \\* for the character")]
    Wildcard,
    /// A quotation mark without the second one.
    #[error("a quotation mark is missing")]
    Quote,
    /// A backslash in front of something that needs none.
    #[error("a backslash goes before a special character or two hexadecimal digits")]
    Escape,
}

/// A kind of attribute.
struct Kind {
    oid: &'static [u8],
    label: &'static str,
    string: u8,
    /// Other words for it.
    others: &'static [&'static str],
}

impl Kind {
    fn with_oid(oid: &[u8]) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.oid == oid)
    }

    fn with_label(label: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| {
            let labels = [kind.label].into_iter().chain(kind.others.iter().copied());
            labels.into_iter().any(|known| known.eq_ignore_ascii_case(label))
        })
    }

    const fn new(oid: &'static [u8], label: &'static str, others: &'static [&'static str]) -> Self {
        Self { oid, label, string: tag::UTF8_STRING, others }
    }

    const fn of(mut self, string: u8) -> Self {
        self.string = string;
        self
    }
}

/// Attributes of names and what people call them. `SN` and `S` are not among them: they are two
/// things to two kinds of people.
const KINDS: [Kind; 15] = [
    Kind::new(&[0x55, 0x04, 0x03], "CN", &["commonName"]),
    Kind::new(&[0x55, 0x04, 0x04], "surname", &[]),
    Kind::new(&[0x55, 0x04, 0x05], "serialNumber", &[]).of(tag::PRINTABLE_STRING),
    Kind::new(&[0x55, 0x04, 0x06], "C", &["countryName"]).of(tag::PRINTABLE_STRING),
    Kind::new(&[0x55, 0x04, 0x07], "L", &["localityName"]),
    Kind::new(&[0x55, 0x04, 0x08], "ST", &["stateOrProvinceName"]),
    Kind::new(&[0x55, 0x04, 0x09], "STREET", &[]),
    Kind::new(&[0x55, 0x04, 0x0a], "O", &["organizationName"]),
    Kind::new(&[0x55, 0x04, 0x0b], "OU", &["organizationalUnitName"]),
    Kind::new(&[0x55, 0x04, 0x0c], "T", &["title"]),
    Kind::new(&[0x55, 0x04, 0x2a], "GN", &["G", "givenName"]),
    Kind::new(&[0x55, 0x04, 0x2e], "dnQualifier", &[]).of(tag::PRINTABLE_STRING),
    // 0.9.2342.19200300.100.1.1
    Kind::new(&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01], "UID", &[]),
    // 0.9.2342.19200300.100.1.25
    Kind::new(&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19], "DC", &[]).of(tag::IA5_STRING),
    // 1.2.840.113549.1.9.1
    Kind::new(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01], "E", &["email", "emailAddress"])
        .of(tag::IA5_STRING),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn dn(text: &str) -> Vec<u8> {
        dn_from_text(text).unwrap()
    }

    /// A name of one attribute, CN, in a string of this type.
    fn cn(kind: u8, text: &str) -> Vec<u8> {
        let value = element(kind, &[text.as_bytes()]);
        let attribute = element(tag::SEQUENCE, &[&[6, 3, 0x55, 4, 3], &value]);
        element(tag::SEQUENCE, &[&element(tag::SET, &[&attribute])])
    }

    // test of RFC 5280 §7.1
    #[test]
    fn distinguished_names_are_compared_as_text() {
        let name = cn(tag::UTF8_STRING, "Gateway One");

        assert!(is_same_dn(&name, &name));
        assert!(is_same_dn(&name, &cn(tag::PRINTABLE_STRING, " gateway  ONE ")));
        for other in [
            cn(tag::UTF8_STRING, "GatewayOne"),
            cn(tag::UTF8_STRING, "Gateway"),
            cn(tag::OCTET_STRING, "Gateway One"),
            dn("CN=Gateway One, O=Example"),
            dn("O=Gateway One"),
            vec![tag::SEQUENCE, 0],
            b"Gateway One".to_vec(),
            name[..name.len() - 1].to_vec(),
        ] {
            assert!(!is_same_dn(&name, &other) && !is_same_dn(&other, &name), "{other:02x?}");
        }
    }

    #[test]
    fn a_common_name_is_found_wherever_it_stands() {
        let name = dn("O=alice, CN=Alice A, OU=x, CN=bob");

        for right in ["alice a", "BOB"] {
            assert!(has_common_name(&name, right), "{right}");
        }
        for wrong in ["", "alice", "x", "bo"] {
            assert!(!has_common_name(&name, wrong), "{wrong}");
        }
        assert!(!has_common_name(&name[..name.len() - 1], "bob"));
    }

    #[test]
    fn names_that_are_the_same_have_the_same_octets_when_made_canonical() {
        let name = cn(tag::UTF8_STRING, "Gateway One");
        let others = ["CN=GatewayOne", "CN=Gateway", "O=Gateway One", "CN=Gateway One, O=A"].map(dn);

        assert_eq!(canonical_dn(&name), canonical_dn(&cn(tag::PRINTABLE_STRING, " gateway  ONE ")));
        for other in others {
            assert_ne!(canonical_dn(&name), canonical_dn(&other));
        }
        assert_ne!(canonical_dn(&dn("CN=a, O=b")), canonical_dn(&dn("CN=a + O=b")));
        assert_eq!(canonical_dn(b"no name"), b"no name");
    }

    #[test]
    fn a_text_becomes_the_name_that_openssl_makes_of_it() {
        // openssl req -x509 -subj "/C=CH/O=Example/CN=gw1" …, asn1parse
        let made = crate::crypto::hex(
            "302d 310b3009060355040613024348 3110300e060355040a0c074578616d706c65
             310c300a06035504030c03677731",
        );

        assert_eq!(dn("C=CH, O=Example, CN=gw1"), made);
        assert_eq!(dn(" c=CH,o = Example ,commonName=\"gw1\""), made);
        assert_eq!(dn("2.5.4.6=CH,O=Example,CN=g\\771").len(), made.len());
        assert_eq!(dn_to_text(&made).as_deref(), Some("C=CH, O=Example, CN=gw1"));
    }

    // test of RFC 4514 §2.4
    #[test]
    fn what_is_shown_is_read_as_the_same_name() {
        for text in [
            "DC=net, DC=example, UID=alice",
            "O=Sue\\, Grabbit \\+ Runn, CN=\\\"x\\\"\\\\y",
            "O=Bücher, E=a@example.net, 1.3.6.1.4.1.99999.4294967295=x",
            "CN=a + OU=b, O=c",
            "2.999.1=z",
        ] {
            let name = dn(text);
            let shown = dn_to_text(&name).unwrap();
            assert_eq!(dn(&shown), name, "{text} {shown}");
        }
        assert_eq!(dn_to_text(&cn(tag::UTF8_STRING, "a\nb\0")).as_deref(), Some("CN=ab"));
        assert_eq!(dn_to_text(&cn(tag::OCTET_STRING, "a")).as_deref(), Some("CN=#040161"));
        assert_eq!(dn_to_text(&[tag::SEQUENCE, 1]), None);
        assert_eq!(dn_to_text(&[tag::SEQUENCE, 0]).as_deref(), Some(""));
    }

    #[test]
    fn a_text_that_is_no_name_is_refused() {
        for (text, error) in [
            ("", DnTextError::Attribute("".into())),
            ("gw1", DnTextError::Attribute("gw1".into())),
            ("CN=gw1,", DnTextError::Attribute("".into())),
            ("SN=1", DnTextError::Attribute("SN".into())),
            ("3.1=a", DnTextError::Attribute("3.1".into())),
            ("1.40=a", DnTextError::Attribute("1.40".into())),
            ("CN=", DnTextError::Value),
            ("CN=, O=a", DnTextError::Value),
            ("CN=\\ff", DnTextError::Value),
            ("CN=*", DnTextError::Wildcard),
            ("CN=\"a", DnTextError::Quote),
            ("CN=a\\", DnTextError::Escape),
            ("CN=a\\g", DnTextError::Escape),
            ("CN=a\\1", DnTextError::Escape),
        ] {
            assert_eq!(dn_from_text(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_star_stands_for_any_value_and_for_no_other_attribute() {
        let pattern = DnPattern::parse("C=CH, O=Example, CN=*").unwrap();

        assert!(pattern.is_open());
        assert_eq!(pattern.to_string(), "C=CH, O=Example, CN=*");
        for name in ["C=CH, O=Example, CN=gw1", "C=ch,O=EXAMPLE,CN=\"* ,\""] {
            assert!(pattern.is_match(&dn(name)), "{name}");
        }
        for name in [
            "C=CH, O=Example",
            "C=CH, O=Example, CN=gw1, OU=x",
            "C=CH, O=Other, CN=gw1",
            "O=Example, C=CH, CN=gw1",
            "C=CH, O=Example, OU=gw1",
            "C=CH, O=Example + CN=gw1",
        ] {
            assert!(!pattern.is_match(&dn(name)), "{name}");
        }
        assert!(!pattern.is_match(b"no name"));
        assert!(!DnPattern::parse("CN=\\*").unwrap().is_open());
        assert!(!DnPattern::parse("CN=a*").unwrap().is_match(&dn("CN=abc")));
    }
}
