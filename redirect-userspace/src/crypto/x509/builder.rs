//! Makes certificates and lists of revoked ones for tests, wrong ones too.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::super::sign::{PrivateKey, Scheme, Sha2};
use super::*;

/// Somebody with a key and a certificate.
pub(super) struct Owner {
    pub(super) name: &'static str,
    pub(super) key: PrivateKey,
    spki: Vec<u8>,
    pub(super) der: Vec<u8>,
}

/// What a certificate says.
#[derive(Clone)]
pub(super) struct Recipe {
    pub(super) name: &'static str,
    pub(super) serial: u8,
    /// GeneralizedTimes.
    pub(super) validity: [&'static str; 2],
    /// The DER of extensions, as [`extension`] makes it.
    pub(super) extensions: Vec<Vec<u8>>,
}

pub(super) const FROM: &str = "20260101000000Z";
pub(super) const UNTIL: &str = "20360101000000Z";

impl Recipe {
    pub(super) fn ca(name: &'static str) -> Self {
        Self {
            name,
            serial: 1,
            validity: [FROM, UNTIL],
            extensions: vec![basic_constraints(true, None), key_usage(KEY_CERT_SIGN | CRL_SIGN)],
        }
    }

    pub(super) fn gateway(name: &'static str) -> Self {
        Self {
            name,
            serial: 2,
            validity: [FROM, UNTIL],
            extensions: vec![
                key_usage(DIGITAL_SIGNATURE),
                subject_alt_name(&[(tag::context(2), name.as_bytes())]),
            ],
        }
    }

    pub(super) fn with(mut self, extensions: &[Vec<u8>]) -> Self {
        self.extensions = extensions.to_vec();
        self
    }

    pub(super) fn valid(mut self, from: &'static str, until: &'static str) -> Self {
        self.validity = [from, until];
        self
    }

    pub(super) fn serial(mut self, serial: u8) -> Self {
        self.serial = serial;
        self
    }

    /// A certificate that `issuer` signed, or the owner itself.
    pub(super) fn issue(self, issuer: Option<&Owner>) -> Owner {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref()).unwrap();
        let key = PrivateKey::from_pkcs8(pkcs8.as_ref()).unwrap();
        let spki = sequence(&[
            &sequence(&[
                &tlv(tag::OID, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]]),
                &tlv(tag::OID, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]]),
            ]),
            &bit_string(pair.public_key().as_ref()),
        ]);
        let (issuer_name, issuer_key) = issuer.map_or((self.name, &key), |issuer| (issuer.name, &issuer.key));
        let extensions: Vec<&[u8]> = self.extensions.iter().map(Vec::as_slice).collect();
        let body = sequence(&[
            &tlv(tag::constructed(0), &[&tlv(tag::INTEGER, &[&[2]])]),
            &tlv(tag::INTEGER, &[&[self.serial]]),
            &ecdsa_sha256(),
            &name(issuer_name),
            &sequence(&self.validity.map(time).each_ref().map(Vec::as_slice)),
            &name(self.name),
            &spki,
            &tlv(tag::constructed(3), &[&sequence(&extensions)]),
        ]);
        let der = signed(&body, issuer_key);
        Owner { name: self.name, key, spki, der }
    }
}

impl Owner {
    pub(super) fn certificate(&self) -> Certificate {
        Certificate::from_der(&self.der).unwrap()
    }

    pub(super) fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// A list of revoked serial numbers that the owner signed.
    pub(super) fn crl(&self, revoked: &[u8], next_update: &str) -> Vec<u8> {
        let entries: Vec<Vec<u8>> = revoked
            .iter()
            .map(|serial| sequence(&[&tlv(tag::INTEGER, &[&[*serial]]), &time(FROM)]))
            .collect();
        let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let entries = if revoked.is_empty() { Vec::new() } else { sequence(&entries) };
        // cRLNumber: 2.5.29.20
        let number = extension(&[0x55, 0x1d, 0x14], false, &tlv(tag::INTEGER, &[&[1]]));
        let body = sequence(&[
            &tlv(tag::INTEGER, &[&[1]]),
            &ecdsa_sha256(),
            &name(self.name),
            &time(FROM),
            &time(next_update),
            &entries,
            &tlv(tag::constructed(0), &[&sequence(&[&number])]),
        ]);
        signed(&body, &self.key)
    }
}

/// Bits of the first octet of a KeyUsage.
pub(super) const DIGITAL_SIGNATURE: u8 = 0x80;
pub(super) const KEY_ENCIPHERMENT: u8 = 0x20;
pub(super) const KEY_CERT_SIGN: u8 = 0x04;
pub(super) const CRL_SIGN: u8 = 0x02;

pub(super) fn key_usage(bits: u8) -> Vec<u8> {
    extension(OID_KEY_USAGE, true, &tlv(tag::BIT_STRING, &[&[1, bits]]))
}

pub(super) fn basic_constraints(is_ca: bool, path_length: Option<u8>) -> Vec<u8> {
    let is_ca = if is_ca { tlv(tag::BOOLEAN, &[&[0xff]]) } else { Vec::new() };
    let path_length = path_length.map_or(Vec::new(), |length| tlv(tag::INTEGER, &[&[length]]));
    extension(OID_BASIC_CONSTRAINTS, true, &sequence(&[&is_ca, &path_length]))
}

pub(super) fn extended_key_usage(purposes: &[&[u8]]) -> Vec<u8> {
    let purposes: Vec<Vec<u8>> = purposes.iter().map(|oid| tlv(tag::OID, &[oid])).collect();
    let purposes: Vec<&[u8]> = purposes.iter().map(Vec::as_slice).collect();
    extension(OID_EXTENDED_KEY_USAGE, false, &sequence(&purposes))
}

pub(super) fn subject_alt_name(names: &[(u8, &[u8])]) -> Vec<u8> {
    let names: Vec<Vec<u8>> = names.iter().map(|(kind, name)| tlv(*kind, &[name])).collect();
    let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    extension(OID_SUBJECT_ALT_NAME, false, &sequence(&names))
}

/// nameConstraints that permit only names below this one: 2.5.29.30.
pub(super) fn permitted_dns(name: &str) -> Vec<u8> {
    let subtree = sequence(&[&tlv(tag::context(2), &[name.as_bytes()])]);
    extension(&[0x55, 0x1d, 0x1e], true, &sequence(&[&tlv(tag::constructed(0), &[&subtree])]))
}

pub(super) fn extension(oid: &[u8], is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if is_critical { tlv(tag::BOOLEAN, &[&[0xff]]) } else { Vec::new() };
    sequence(&[&tlv(tag::OID, &[oid]), &critical, &tlv(tag::OCTET_STRING, &[value])])
}

/// A distinguished name of one attribute, CN.
pub(super) fn name(text: &str) -> Vec<u8> {
    let value = tlv(tag::UTF8_STRING, &[text.as_bytes()]);
    let attribute = sequence(&[&tlv(tag::OID, &[&[0x55, 4, 3]]), &value]);
    sequence(&[&tlv(tag::SET, &[&attribute])])
}

fn signed(body: &[u8], key: &PrivateKey) -> Vec<u8> {
    let signature = key.sign(Scheme::Ecdsa(Sha2::Sha256), body).unwrap();
    sequence(&[body, &ecdsa_sha256(), &bit_string(&signature)])
}

fn ecdsa_sha256() -> Vec<u8> {
    Scheme::Ecdsa(Sha2::Sha256).algorithm_identifier().unwrap().to_vec()
}

// RFC 5280 §4.1.2.5: times before 2050 are UTCTimes.
fn time(generalized: &str) -> Vec<u8> {
    if generalized < "2050" {
        tlv(tag::UTC_TIME, &[&generalized.as_bytes()[2..]])
    } else {
        tlv(tag::GENERALIZED_TIME, &[generalized.as_bytes()])
    }
}

fn bit_string(octets: &[u8]) -> Vec<u8> {
    tlv(tag::BIT_STRING, &[&[0], octets])
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(tag::SEQUENCE, parts)
}

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let [high, low] = u16::try_from(body.len()).unwrap().to_be_bytes();
    let header = match (high, low) {
        (0, 0..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [header, body].concat()
}
