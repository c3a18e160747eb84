//! Makes certificates and lists of revoked ones for tests, wrong ones too.

#![expect(clippy::unwrap_used, reason = "what a test asks for can be made")]

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

use super::super::der::{element, tag};
use super::super::sign::{PrivateKey, Scheme, Sha2};
use super::{
    AltName, Certificate, OID_BASIC_CONSTRAINTS, OID_EXTENDED_KEY_USAGE, OID_KEY_USAGE, OID_SUBJECT_ALT_NAME,
    dn_from_text,
};

/// Somebody with a key and a certificate.
#[derive(Debug)]
pub struct Owner {
    subject: Vec<u8>,
    kind: KeyKind,
    pkcs8: Vec<u8>,
    key: PrivateKey,
    spki: Vec<u8>,
    /// The certificate.
    pub der: Vec<u8>,
}

/// What kind of key somebody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// P-256, a new one each time.
    P256,
    /// RSA of 2048 bits, a new one each time, which takes a while.
    Rsa,
    /// Ed25519, always the same one from the same seed; so are its signatures.
    Ed25519([u8; 32]),
}

/// What a certificate says.
#[derive(Clone, Debug)]
pub struct Recipe {
    subject: Vec<u8>,
    serial: u32,
    /// GeneralizedTimes.
    validity: [&'static str; 2],
    /// The DER of extensions, as [`extension`] makes it.
    extensions: Vec<Vec<u8>>,
    kind: KeyKind,
}

/// When what is made here begins to be valid.
pub const FROM: &str = "20260101000000Z";
/// Until when what is made here is valid.
pub const UNTIL: &str = "20360101000000Z";

impl Recipe {
    /// A CA's certificate. A name is a CN, or a distinguished name when there is a `=` in it.
    #[must_use]
    pub fn ca(name: &str) -> Self {
        Self {
            subject: subject(name),
            serial: 1,
            validity: [FROM, UNTIL],
            extensions: vec![basic_constraints(true, None), key_usage(KEY_CERT_SIGN | CRL_SIGN)],
            kind: KeyKind::P256,
        }
    }

    /// A certificate for whoever has these names.
    #[must_use]
    pub fn end_entity(name: &str, names: &[AltName]) -> Self {
        let mut extensions = vec![key_usage(DIGITAL_SIGNATURE)];
        if !names.is_empty() {
            extensions.push(alt_names(names));
        }
        Self { serial: 2, extensions, ..Self::ca(name) }
    }

    /// A certificate for the host of this name.
    #[must_use]
    pub fn gateway(name: &str) -> Self {
        Self::end_entity(name, &[AltName::Dns(name.into())])
    }

    /// With these extensions and no others.
    #[must_use]
    pub fn with(mut self, extensions: &[Vec<u8>]) -> Self {
        self.extensions = extensions.to_vec();
        self
    }

    /// With these times, as GeneralizedTimes.
    #[must_use]
    pub const fn valid(mut self, from: &'static str, until: &'static str) -> Self {
        self.validity = [from, until];
        self
    }

    /// With this serial number, other than the 2 of all end entities.
    #[must_use]
    pub const fn serial(mut self, serial: u32) -> Self {
        self.serial = serial;
        self
    }

    /// With a key of this kind.
    #[must_use]
    pub const fn key(mut self, kind: KeyKind) -> Self {
        self.kind = kind;
        self
    }

    /// Without a subject.
    #[must_use]
    pub fn nameless(mut self) -> Self {
        self.subject = element(tag::SEQUENCE, &[]);
        self
    }

    /// A certificate that `issuer` signed, or the owner itself.
    #[must_use]
    pub fn issue(self, issuer: Option<&Owner>) -> Owner {
        let pkcs8 = self.kind.generate();
        let key = PrivateKey::from_pkcs8(&pkcs8).unwrap();
        let mut owner = Owner {
            subject: self.subject,
            kind: self.kind,
            spki: self.kind.spki(&key),
            pkcs8,
            key,
            der: vec![],
        };
        let signer = issuer.unwrap_or(&owner);
        let certificate =
            certificate(&owner.subject, &owner.spki, (self.serial, self.validity), &self.extensions, signer);
        owner.der = certificate;
        owner
    }
}

/// A certificate for whoever has this name and key.
fn certificate(
    subject: &[u8],
    spki: &[u8],
    (serial, validity): (u32, [&str; 2]),
    extensions: &[Vec<u8>],
    signer: &Owner,
) -> Vec<u8> {
    let extensions: Vec<&[u8]> = extensions.iter().map(Vec::as_slice).collect();
    let body = sequence(&[
        &element(tag::constructed(0), &[&element(tag::INTEGER, &[&[2]])]),
        &integer(serial),
        signer.kind.identifier(),
        &signer.subject,
        &sequence(&validity.map(time).each_ref().map(Vec::as_slice)),
        subject,
        spki,
        &element(tag::constructed(3), &[&sequence(&extensions)]),
    ]);
    signer.signed(&body)
}

impl KeyKind {
    /// A private key, as PKCS#8.
    fn generate(self) -> Vec<u8> {
        match self {
            Self::P256 => {
                let pair =
                    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
                pair.unwrap().as_ref().to_vec()
            }
            Self::Rsa => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
                let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
                der.as_ref().to_vec()
            }
            // RFC 8410 §7
            Self::Ed25519(seed) => sequence(&[
                &integer(0),
                Scheme::Ed25519.algorithm_identifier().unwrap(),
                &element(tag::OCTET_STRING, &[&element(tag::OCTET_STRING, &[&seed])]),
            ]),
        }
    }

    /// The SubjectPublicKeyInfo of a key of this kind.
    fn spki(self, key: &PrivateKey) -> Vec<u8> {
        let oid = |octets: &[u8]| element(tag::OID, &[octets]);
        let identifier = match self {
            Self::P256 => sequence(&[
                &oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]),
                &oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]),
            ]),
            Self::Rsa => sequence(&[
                &oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01]),
                &element(tag::NULL, &[]),
            ]),
            Self::Ed25519(_) => sequence(&[&oid(&[0x2b, 0x65, 0x70])]),
        };
        sequence(&[&identifier, &bit_string(key.public().octets())])
    }

    const fn scheme(self) -> Scheme {
        match self {
            Self::P256 => Scheme::Ecdsa(Sha2::Sha256),
            Self::Rsa => Scheme::RsaPkcs1(Sha2::Sha256),
            Self::Ed25519(_) => Scheme::Ed25519,
        }
    }

    fn identifier(self) -> &'static [u8] {
        self.scheme().algorithm_identifier().unwrap()
    }
}

impl Owner {
    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> Certificate {
        Certificate::from_der(&self.der).unwrap()
    }

    /// The private key, once more.
    #[must_use]
    pub fn key(&self) -> PrivateKey {
        PrivateKey::from_pkcs8(&self.pkcs8).unwrap()
    }

    /// The certificate of a CA for the same name and key, from another issuer.
    #[must_use]
    pub fn cross(&self, issuer: &Self) -> Vec<u8> {
        let Recipe { serial, validity, extensions, .. } = Recipe::ca("again");
        certificate(&self.subject, &self.spki, (serial, validity), &extensions, issuer)
    }

    /// The certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }

    /// The private key, in PEM.
    #[must_use]
    pub fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.pkcs8)
    }

    /// The SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// A list of revoked serial numbers that the owner signed.
    #[must_use]
    pub fn crl(&self, revoked: &[u32], next_update: &str) -> Vec<u8> {
        self.crl_from(FROM, next_update, revoked)
    }

    /// The same, made at another time.
    #[must_use]
    pub fn crl_from(&self, this_update: &str, next_update: &str, revoked: &[u32]) -> Vec<u8> {
        let entries: Vec<Vec<u8>> =
            revoked.iter().map(|serial| sequence(&[&integer(*serial), &time(FROM)])).collect();
        let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let entries = if revoked.is_empty() { Vec::new() } else { sequence(&entries) };
        // cRLNumber: 2.5.29.20
        let number = extension(&[0x55, 0x1d, 0x14], false, &integer(1));
        let body = sequence(&[
            &integer(1),
            self.kind.identifier(),
            &self.subject,
            &time(this_update),
            &time(next_update),
            &entries,
            &element(tag::constructed(0), &[&sequence(&[&number])]),
        ]);
        self.signed(&body)
    }

    /// The distinguished name.
    pub(super) fn subject(&self) -> &[u8] {
        &self.subject
    }

    fn signed(&self, body: &[u8]) -> Vec<u8> {
        self.signed_with(body, &[])
    }

    /// A body, how it is signed, the signature, and something after that.
    pub(super) fn signed_with(&self, body: &[u8], after: &[u8]) -> Vec<u8> {
        let signature = self.key.sign(self.kind.scheme(), body).unwrap();
        sequence(&[body, self.kind.identifier(), &bit_string(&signature), after])
    }
}

/// Bit of the first octet of a KeyUsage: digitalSignature.
pub const DIGITAL_SIGNATURE: u8 = 0x80;
/// keyEncipherment
pub const KEY_ENCIPHERMENT: u8 = 0x20;
/// keyCertSign
pub const KEY_CERT_SIGN: u8 = 0x04;
/// cRLSign
pub const CRL_SIGN: u8 = 0x02;

/// A KeyUsage.
#[must_use]
pub fn key_usage(bits: u8) -> Vec<u8> {
    extension(OID_KEY_USAGE, true, &element(tag::BIT_STRING, &[&[1, bits]]))
}

/// BasicConstraints
#[must_use]
pub fn basic_constraints(is_ca: bool, path_length: Option<u8>) -> Vec<u8> {
    let is_ca = if is_ca { element(tag::BOOLEAN, &[&[0xff]]) } else { Vec::new() };
    let path_length = path_length.map_or(Vec::new(), |length| element(tag::INTEGER, &[&[length]]));
    extension(OID_BASIC_CONSTRAINTS, true, &sequence(&[&is_ca, &path_length]))
}

/// An ExtendedKeyUsage of these OIDs.
#[must_use]
pub fn extended_key_usage(purposes: &[&[u8]]) -> Vec<u8> {
    let purposes: Vec<Vec<u8>> = purposes.iter().map(|oid| element(tag::OID, &[oid])).collect();
    let purposes: Vec<&[u8]> = purposes.iter().map(Vec::as_slice).collect();
    extension(OID_EXTENDED_KEY_USAGE, false, &sequence(&purposes))
}

/// A SubjectAltName.
#[must_use]
pub fn alt_names(names: &[AltName]) -> Vec<u8> {
    let names: Vec<(u8, Vec<u8>)> = names
        .iter()
        .map(|name| match name {
            AltName::Rfc822(name) => (tag::context(1), name.as_bytes().to_vec()),
            AltName::Dns(name) => (tag::context(2), name.as_bytes().to_vec()),
            AltName::Ip(std::net::IpAddr::V4(address)) => (tag::context(7), address.octets().to_vec()),
            AltName::Ip(std::net::IpAddr::V6(address)) => (tag::context(7), address.octets().to_vec()),
            AltName::Upn(name) => {
                let value = element(tag::UTF8_STRING, &[name.as_bytes()]);
                let oid = element(tag::OID, &[super::name::OID_UPN]);
                (tag::constructed(0), [oid, element(tag::constructed(0), &[&value])].concat())
            }
        })
        .collect();
    let names: Vec<(u8, &[u8])> = names.iter().map(|(kind, name)| (*kind, name.as_slice())).collect();
    subject_alt_name(&names)
}

/// A SubjectAltName of whatever these tags say.
#[must_use]
pub fn subject_alt_name(names: &[(u8, &[u8])]) -> Vec<u8> {
    let names: Vec<Vec<u8>> = names.iter().map(|(kind, name)| element(*kind, &[name])).collect();
    let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    extension(OID_SUBJECT_ALT_NAME, false, &sequence(&names))
}

/// NameConstraints that permit only names below this one: 2.5.29.30.
#[must_use]
pub fn permitted_dns(name: &str) -> Vec<u8> {
    let subtree = sequence(&[&element(tag::context(2), &[name.as_bytes()])]);
    extension(&[0x55, 0x1d, 0x1e], true, &sequence(&[&element(tag::constructed(0), &[&subtree])]))
}

/// An Extension.
#[must_use]
pub fn extension(oid: &[u8], is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if is_critical { element(tag::BOOLEAN, &[&[0xff]]) } else { Vec::new() };
    sequence(&[&element(tag::OID, &[oid]), &critical, &element(tag::OCTET_STRING, &[value])])
}

/// Octets in PEM.
// RFC 4648 §4, RFC 7468 §2.
#[must_use]
pub fn pem(label: &str, octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    let mut text = format!("-----BEGIN {label}-----\n");
    for line in octets.chunks(48) {
        for group in line.chunks(3) {
            let octets = group.iter().copied().chain([0; 2]).take(3);
            let bits = octets.fold(0, |bits, octet| bits << 8 | usize::from(octet));
            for (position, shift) in [18, 12, 6, 0].into_iter().enumerate() {
                let digit = DIGITS.get(bits >> shift & 0x3f).copied().unwrap();
                text.push(if position <= group.len() { digit.into() } else { '=' });
            }
        }
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

/// A distinguished name: that of the text, or one of a CN only.
#[must_use]
pub fn subject(text: &str) -> Vec<u8> {
    if text.contains('=') {
        return dn_from_text(text).unwrap();
    }
    let value = element(tag::UTF8_STRING, &[text.as_bytes()]);
    let attribute = sequence(&[&element(tag::OID, &[&[0x55, 4, 3]]), &value]);
    sequence(&[&element(tag::SET, &[&attribute])])
}

// RFC 5280 §4.1.2.5: times before 2050 are UTCTimes.
fn time(generalized: &str) -> Vec<u8> {
    match generalized.get(2..) {
        Some(short) if generalized < "2050" => element(tag::UTC_TIME, &[short.as_bytes()]),
        Some(_) | None => element(tag::GENERALIZED_TIME, &[generalized.as_bytes()]),
    }
}

/// A number that is not negative; a zero octet before it keeps it so.
pub(super) fn integer(number: u32) -> Vec<u8> {
    let octets: Vec<u8> = number.to_be_bytes().into_iter().skip_while(|octet| *octet == 0).collect();
    let zero: &[u8] = if octets.first().is_none_or(|first| *first >= 0x80) { &[0] } else { &[] };
    element(tag::INTEGER, &[zero, &octets])
}

pub(super) fn bit_string(octets: &[u8]) -> Vec<u8> {
    element(tag::BIT_STRING, &[&[0], octets])
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(tag::SEQUENCE, parts)
}
