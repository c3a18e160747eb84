//! Certificates, private keys, CAs, lists of revoked certificates and OCSP responses: read, and judged as
//! a peer would.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Reading;
use super::files::Access;
use crate::config::file::absolute;
use crate::config::reader::{At, Section};
use crate::crypto::sign::PrivateKey;
use crate::crypto::x509::{Certificate, ListDates, MAX_RESPONSE, Revocation, Staple, TrustStore, dn_to_text};
use crate::ike::config::Credential;
use crate::ike::paper::{Paper, PaperKind};
use crate::secret::Secret;
use crate::time::UnixTime;

/// Most octets of a file with certificates.
const MAX_CERTIFICATES: usize = 1024 * 1024;
/// Most octets of a file with a private key.
const MAX_PRIVATE_KEY: usize = 16 * 1024;
/// Most octets of a file with lists of revoked certificates.
const MAX_CRLS: usize = 32 * 1024 * 1024;

/// `certificate`, `private-key` and `ocsp-response`; the place is that of the certificate.
pub(super) fn credential(
    section: &mut Section<'_>,
    reading: &mut Reading<'_>,
) -> Option<At<Arc<Credential>>> {
    let [certificate, key] = ["certificate", "private-key"].map(|key| {
        let file = section.string(key, reading.problems);
        section.required(key, file, reading.problems)
    });
    let response = section.string("ocsp-response", reading.problems);
    let chain = certificate.as_ref().and_then(|file| certificates(file, reading));
    let private = key.as_ref().and_then(|file| private_key(file, reading));
    let (certificate, key, chain, private) = (certificate?, key?, chain?, private?);
    reading.files.pair(Path::new(certificate.value), Path::new(key.value));
    for (position, one) in chain.iter().enumerate() {
        let kind = if position == 0 { PaperKind::Own } else { PaperKind::Chain };
        reading.files.paper(paper(kind, &certificate, one.subject(), one.validity().1));
    }
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
    let chain = match &response {
        Some(file) => stapled(file, chain, reading)?,
        None => chain,
    };
    is_right.then(|| At { value: Arc::new(Credential { chain, key: private }), span: certificate.span })
}

/// The chain, with what the CA says about the first certificate of it.
fn stapled(
    file: &At<&str>,
    mut chain: Vec<Certificate>,
    reading: &mut Reading<'_>,
) -> Option<Vec<Certificate>> {
    let octets = open(file, "file with an OCSP response", MAX_RESPONSE, reading)?;
    let own = chain.first()?;
    let issuer = chain.iter().skip(1).find(|ca| ca.subject() == own.issuer());
    match Staple::read(octets.expose(), own, issuer, reading.now) {
        Ok(staple) => {
            reading.files.paper(paper(PaperKind::Ocsp, file, own.issuer(), staple.until()));
            let own = chain.remove(0).with_staple(staple);
            chain.insert(0, own);
            Some(chain)
        }
        Err(error) => {
            let message = format!("{:?}: the OCSP response: {error}", file.value);
            if reading.files.is_unchanged(Path::new(file.value)) {
                // The certificate is new, and the response to it is not there yet.
                reading.files.refuse(Path::new(file.value), message);
                return Some(chain);
            }
            reading.problems.add(&file.span, message);
            None
        }
    }
}

/// Something that is good until a time, whose owner is given in DER.
fn paper(kind: PaperKind, file: &At<&str>, owner: &[u8], until: UnixTime) -> Paper {
    let owner = dn_to_text(owner).unwrap_or_default().into();
    Paper { kind, file: file.value.into(), owner, until }
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
    let words =
        [("relaxed", Revocation::Relaxed), ("ifuri", Revocation::IfUri), ("strict", Revocation::Strict)];
    let revocation = section.word("revocation", &words, reading.problems);
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
        reading.files.paper(paper(PaperKind::Ca, file, certificate.subject(), certificate.validity().1));
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
    match store.add_crls_from_pem(octets.expose()) {
        Ok(lists) => {
            for ListDates { issuer, next_update } in lists {
                reading.files.paper(paper(PaperKind::Crl, file, &issuer, next_update));
            }
            true
        }
        Err(error) => {
            reading.problems.add(&file.span, format!("{:?}: {error}", file.value));
            false
        }
    }
}

/// All certificates of a file.
fn certificates(file: &At<&str>, reading: &mut Reading<'_>) -> Option<Vec<Certificate>> {
    let octets = open(file, "file with certificates", MAX_CERTIFICATES, reading)?;
    match Certificate::list_from_pem(octets.expose()) {
        Ok(list) => Some(list),
        Err(error) => {
            reading.problems.add(&file.span, format!("{:?}: {error}", file.value));
            None
        }
    }
}

/// Whether all of them are valid now; of what was in use already that is not asked again.
fn are_valid(file: &At<&str>, list: &[Certificate], reading: &mut Reading<'_>) -> bool {
    if reading.files.is_unchanged(Path::new(file.value)) {
        return true;
    }
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
    let key = reading.files.content(Access::Private, "file with a private key", &path, MAX_PRIVATE_KEY);
    let key = key.map_err(|error| error.to_string()).and_then(|content| {
        reading.fingerprint.add(content.expose());
        PrivateKey::from_pem(content.expose()).map_err(|error| error.to_string())
    });
    key.map_err(|error| reading.problems.add(&file.span, format!("{:?}: {error}", file.value))).ok()
}

/// The content of a file that anybody may read.
fn open(file: &At<&str>, what: &'static str, most: usize, reading: &mut Reading<'_>) -> Option<Arc<Secret>> {
    let path: PathBuf = absolute(file, reading.problems)?;
    match reading.files.content(Access::Public, what, &path, most) {
        Ok(octets) => {
            reading.fingerprint.add(octets.expose());
            Some(octets)
        }
        Err(error) => {
            reading.problems.add(&file.span, format!("{:?}: {error}", file.value));
            None
        }
    }
}
