//! Certificates, private keys, CAs and lists of revoked certificates: read, and judged as a peer
//! would.

use std::path::PathBuf;
use std::sync::Arc;

use super::Reading;
use crate::config::file::absolute;
use crate::config::key::{private, public};
use crate::config::reader::{At, Section};
use crate::crypto::sign::PrivateKey;
use crate::crypto::x509::{Certificate, Revocation, TrustStore, dn_to_text};
use crate::ike::config::Credential;

/// Most octets of a file with certificates.
const MAX_CERTIFICATES: usize = 1024 * 1024;
/// Most octets of a file with a private key.
const MAX_PRIVATE_KEY: usize = 16 * 1024;
/// Most octets of a file with lists of revoked certificates.
const MAX_CRLS: usize = 32 * 1024 * 1024;

/// `certificate` and `private-key`; the place is that of the certificate.
pub(super) fn credential(
    section: &mut Section<'_>,
    reading: &mut Reading<'_>,
) -> Option<At<Arc<Credential>>> {
    let [certificate, key] = ["certificate", "private-key"].map(|key| {
        let file = section.string(key, reading.problems);
        section.required(key, file, reading.problems)
    });
    let chain = certificate.as_ref().and_then(|file| certificates(file, reading));
    let private = key.as_ref().and_then(|file| private_key(file, reading));
    let (certificate, key, chain, private) = (certificate?, key?, chain?, private?);
    let own = chain.first()?;
    let mut is_right = are_valid(&certificate, &chain, reading);
    if !own.is_for_ike() {
        let message = "the usages in the certificate do not allow authentication in IKE";
        reading.problems.add(&certificate.span, format!("{:?}: {message}", certificate.value));
        is_right = false;
    }
    match own.public_key() {
        Ok(public) if public == private.public() => {}
        Ok(_) => {
            let message = format!("{:?}: not the key of the certificate", key.value);
            reading.problems.add(&key.span, message);
            is_right = false;
        }
        Err(error) => {
            reading.problems.add(&certificate.span, format!("{:?}: {error}", certificate.value));
            is_right = false;
        }
    }
    is_right.then(|| At { value: Arc::new(Credential { chain, key: private }), span: certificate.span })
}

/// `ca`, `crl` and `revocation`
pub(super) fn trust(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Arc<TrustStore>> {
    let cas = section.string_or_strings("ca", reading.problems);
    let is_any = !cas.is_empty();
    section.required("ca", is_any.then_some(()), reading.problems);
    if !is_any && let Some(value) = section.value("ca").filter(|value| value.get_ref().is_array()) {
        reading.problems.add(&value.span(), "`ca` needs at least one file");
    }
    let crls = section.string_or_strings("crl", reading.problems);
    let words = [("relaxed", Revocation::Relaxed), ("strict", Revocation::Strict)];
    let revocation = section.word("revocation", &words, reading.problems);
    if let Some(At { value: Revocation::Strict, span }) = &revocation
        && crls.is_empty()
    {
        reading.problems.add(span, "\"strict\" needs `crl`: without a list no certificate is believed");
    }
    let mut store = TrustStore::new(revocation.map(|word| word.value).unwrap_or_default());
    let mut is_right = is_any;
    for file in &cas {
        is_right &= add_anchors(&mut store, file, reading);
    }
    for file in &crls {
        is_right &= add_crls(&mut store, file, reading);
    }
    is_right.then(|| Arc::new(store))
}

fn add_anchors(store: &mut TrustStore, file: &At<&str>, reading: &mut Reading<'_>) -> bool {
    let Some(list) = certificates(file, reading) else { return false };
    let mut is_right = are_valid(file, &list, reading);
    for certificate in list {
        let subject = dn_to_text(certificate.subject()).unwrap_or_default();
        if let Err(error) = store.add_anchor(certificate) {
            reading.problems.add(&file.span, format!("{:?}: {subject}: {error}", file.value));
            is_right = false;
        }
    }
    is_right
}

fn add_crls(store: &mut TrustStore, file: &At<&str>, reading: &mut Reading<'_>) -> bool {
    let Some(octets) = open(file, "file with lists of revoked certificates", MAX_CRLS, reading) else {
        return false;
    };
    match store.add_crls_from_pem(&octets) {
        Ok(()) => true,
        Err(error) => {
            reading.problems.add(&file.span, format!("{:?}: {error}", file.value));
            false
        }
    }
}

/// All certificates of a file.
fn certificates(file: &At<&str>, reading: &mut Reading<'_>) -> Option<Vec<Certificate>> {
    let octets = open(file, "file with certificates", MAX_CERTIFICATES, reading)?;
    match Certificate::list_from_pem(&octets) {
        Ok(list) => Some(list),
        Err(error) => {
            reading.problems.add(&file.span, format!("{:?}: {error}", file.value));
            None
        }
    }
}

/// Whether all of them are valid now.
fn are_valid(file: &At<&str>, list: &[Certificate], reading: &mut Reading<'_>) -> bool {
    let mut is_right = true;
    for certificate in list {
        let (from, _until) = certificate.validity();
        if certificate.is_valid_at(reading.now) {
            continue;
        }
        let what = if reading.now < from { "is not valid yet" } else { "has expired" };
        let subject = dn_to_text(certificate.subject()).unwrap_or_default();
        let message = format!("{:?}: the certificate of {subject} {what}", file.value);
        reading.problems.add(&file.span, message);
        is_right = false;
    }
    is_right
}

fn private_key(file: &At<&str>, reading: &mut Reading<'_>) -> Option<PrivateKey> {
    let path = absolute(file, reading.problems)?;
    let key = private("file with a private key", &path, MAX_PRIVATE_KEY)
        .map_err(|error| error.to_string())
        .and_then(|content| {
            reading.fingerprint.add(content.expose());
            PrivateKey::from_pem(content.expose()).map_err(|error| error.to_string())
        });
    key.map_err(|error| reading.problems.add(&file.span, format!("{:?}: {error}", file.value))).ok()
}

/// The content of a file that anybody may read.
fn open(file: &At<&str>, what: &'static str, most: usize, reading: &mut Reading<'_>) -> Option<Vec<u8>> {
    let path: PathBuf = absolute(file, reading.problems)?;
    match public(what, &path, most) {
        Ok(octets) => {
            reading.fingerprint.add(&octets);
            Some(octets)
        }
        Err(error) => {
            reading.problems.add(&file.span, format!("{:?}: {error}", file.value));
            None
        }
    }
}
