//! Who both sides are, and how they prove it.

use std::ops::Range;
use std::sync::Arc;

use super::Reading;
use super::credentials::{credential, trust};
use super::eap::{self, EapKind};
use super::peer::MAX_PSK;
use crate::config::error::Problems;
use crate::config::key::secret;
use crate::config::reader::{At, Section};
use crate::crypto::x509::Certificate;
use crate::ike::config::{Authentication, LocalProof, RemoteProof};
use crate::ike::identity::{Claim, Pattern, in_certificates, parse, parse_pattern};
use crate::ike::wire::Id;
use crate::secret::Secret;

/// Who begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// We do: whom we want is to be said.
    Initiator,
    /// The peer does.
    Responder,
}

/// How somebody proves who he is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Psk,
    PublicKey,
    Eap(EapKind),
}

/// How a gateway does.
const OF_GATEWAYS: [(&str, Method); 2] = [("psk", Method::Psk), ("pubkey", Method::PublicKey)];
/// How clients of ours may.
const OF_CLIENTS: [(&str, Method); 5] = [
    ("psk", Method::Psk),
    ("pubkey", Method::PublicKey),
    (EapKind::MschapV2.as_str(), Method::Eap(EapKind::MschapV2)),
    (EapKind::Tls.as_str(), Method::Eap(EapKind::Tls)),
    (EapKind::Radius.as_str(), Method::Eap(EapKind::Radius)),
];
/// How we may as a client.
const OF_US: [(&str, Method); 4] = [
    ("psk", Method::Psk),
    ("pubkey", Method::PublicKey),
    (EapKind::MschapV2.as_str(), Method::Eap(EapKind::MschapV2)),
    (EapKind::Tls.as_str(), Method::Eap(EapKind::Tls)),
];

/// Reads the keys of a profile or connection that say who and how.
pub(super) fn authentication(
    section: &mut Section<'_>,
    side: Side,
    reading: &mut Reading<'_>,
) -> Option<Authentication> {
    let local_id = local_id(section, reading.problems);
    let remote_ids = remote_ids(section, side, reading.problems);
    let (locals, remotes): (&[_], &[_]) = match side {
        Side::Initiator => (&OF_US, &OF_GATEWAYS),
        Side::Responder => (&OF_GATEWAYS, &OF_CLIENTS),
    };
    let local = section.word("local-auth", locals, reading.problems);
    let local = section.required("local-auth", local, reading.problems);
    let remote = section.word("remote-auth", remotes, reading.problems);
    let remote = section.required("remote-auth", remote, reading.problems);
    // What belongs to a method that could not be read is not looked at: it may be right.
    let methods = [local.as_ref(), remote.as_ref()].map(|method| method.map(|method| method.value));
    let psk = psk(section, methods, reading);
    let credential = match methods {
        [Some(Method::PublicKey | Method::Eap(EapKind::Tls)), _] => credential(section, reading),
        [Some(Method::Psk | Method::Eap(EapKind::MschapV2 | EapKind::Radius)), _] => {
            let needs = "needs `local-auth = \"pubkey\"`";
            section.refuse(&["certificate", "private-key", "ocsp-response"], needs, reading.problems);
            None
        }
        [None, _] => known(section, &["certificate", "private-key", "ocsp-response"]),
    };
    let trust = match methods {
        [_, Some(Method::PublicKey | Method::Eap(EapKind::Tls))] => trust(section, reading),
        [_, Some(Method::Psk | Method::Eap(EapKind::MschapV2 | EapKind::Radius))] => {
            let needs = "needs `remote-auth = \"pubkey\"`";
            section.refuse(&["ca", "crl", "revocation"], needs, reading.problems);
            None
        }
        [_, None] => known(section, &["ca", "crl", "revocation"]),
    };
    let gate = match methods {
        [_, Some(Method::Eap(kind))] => {
            let credential = credential.as_ref().map(|credential| Arc::clone(&credential.value));
            eap::gate(section, kind, (credential, trust.clone()), reading)
        }
        [_, Some(Method::Psk | Method::PublicKey) | None] => None,
    };
    let credentials = match methods {
        [Some(Method::Eap(kind)), _] => {
            let credential = credential.as_ref().map(|credential| Arc::clone(&credential.value));
            let servers = remote_ids.as_deref().unwrap_or_default();
            eap::credentials(section, kind, (credential, trust.clone(), servers), reading)
        }
        [Some(Method::Psk | Method::PublicKey) | None, _] => None,
    };
    if gate.is_none() && credentials.is_none() {
        eap::refuse(
            section,
            side,
            methods.map(|method| matches!(method, Some(Method::Eap(_)) | None)),
            reading,
        );
    }
    let local_id = local_id?;
    if let Some(credential) = &credential
        && let Some(certificate) = credential.value.chain.first()
    {
        check_claim(local_id.as_ref(), certificate, &credential.span, reading.problems);
    }
    Some(Authentication {
        local_id: local_id.map_or(Claim::Implied, |id| Claim::Id(id.value)),
        remote_ids: remote_ids?,
        local: match local?.value {
            Method::Psk => LocalProof::SharedKey(psk.clone()?),
            Method::PublicKey => LocalProof::Certificate(credential?.value),
            Method::Eap(_) => LocalProof::Eap(credentials?),
        },
        remote: match remote?.value {
            Method::Psk => RemoteProof::SharedKey(psk?),
            Method::PublicKey => RemoteProof::Certificate(trust?),
            Method::Eap(_) => RemoteProof::Eap(gate?),
        },
    })
}

/// Keeps keys from being called unknown.
fn known<T>(section: &mut Section<'_>, keys: &[&'static str]) -> Option<T> {
    for key in keys {
        section.value(key);
    }
    None
}

/// `Some(None)` when the key is absent, `None` when it is wrong.
fn local_id(section: &mut Section<'_>, problems: &mut Problems) -> Option<Option<At<Id<'static>>>> {
    let text = section.string("local-id", problems);
    let Some(text) = text else { return (!section.has("local-id")).then_some(None) };
    match parse(text.value) {
        Some(id) => Some(Some(At { value: id, span: text.span })),
        None => {
            problems.add(&text.span, format!("{:?}: {NO_IDENTITY}", text.value));
            None
        }
    }
}

/// What an identity looks like.
const NO_IDENTITY: &str = "not an identity: an address, a domain name, NAME@DOMAIN, keyid:TEXT or a \
                           distinguished name like \"CN=gw1, O=Example\"";

fn remote_ids(section: &mut Section<'_>, side: Side, problems: &mut Problems) -> Option<Vec<Pattern>> {
    let key = "remote-id";
    let list = section.string_or_strings(key, problems);
    if !section.has(key) {
        return match side {
            Side::Responder => Some(vec![Pattern::Anyone]),
            Side::Initiator => section.required(key, None, problems),
        };
    }
    let patterns: Vec<_> = list.iter().filter_map(|text| pattern(text, problems)).collect();
    if list.is_empty() {
        // Empty, or not strings, which has been reported.
        if let Some(value) = section.value(key)
            && value.get_ref().as_array().is_some_and(|list| list.is_empty())
        {
            problems.add(&value.span(), "`remote-id` needs at least one identity");
        }
        return None;
    }
    (patterns.len() == list.len()).then_some(patterns)
}

fn pattern(text: &At<&str>, problems: &mut Problems) -> Option<Pattern> {
    let pattern = parse_pattern(text.value);
    if pattern.is_none() {
        let message = if text.value.starts_with('*') {
            format!(
                "{:?}: a pattern is \"*\", \"*.DOMAIN\", \"*@DOMAIN\" or like \"O=Example, CN=*\"",
                text.value
            )
        } else {
            format!("{:?}: {NO_IDENTITY}", text.value)
        };
        problems.add(&text.span, message);
    }
    pattern
}

/// The key that both sides know, if one of them proves itself by it.
fn psk(section: &mut Section<'_>, methods: [Option<Method>; 2], reading: &mut Reading<'_>) -> Option<Secret> {
    let [key, file] = ["psk", "psk-file"];
    if !methods.contains(&Some(Method::Psk)) {
        if methods.contains(&None) {
            return known(section, &[key, file]);
        }
        let needs = "needs `local-auth` or `remote-auth` to be \"psk\"";
        section.refuse(&[key, file], needs, reading.problems);
        return None;
    }
    let psk = secret(section, key, file, reading.problems);
    if psk.is_none() && !section.has(key) && !section.has(file) {
        let message = format!("`{key}` or {} is missing", section.describe(file));
        reading.problems.add(section.span(), message);
    }
    let psk = psk?;
    if psk.value.is_empty() || psk.value.len() > MAX_PSK {
        let message = format!("a PSK has 1 to {MAX_PSK} octets, not {}", psk.value.len());
        reading.problems.add(&psk.span, message);
        return None;
    }
    reading.fingerprint.add(psk.value.expose());
    Some(psk.value)
}

/// Refuses an identity that the certificate does not prove: no peer would believe it.
// RFC 4945 §3.1: the identity has to be in the certificate.
fn check_claim(
    claim: Option<&At<Id<'_>>>,
    certificate: &Certificate,
    file: &Range<usize>,
    problems: &mut Problems,
) {
    match claim {
        Some(At { value: id, span })
            if in_certificates(id).is_some_and(|identity| !certificate.has(&identity)) =>
        {
            problems.add(span, "the certificate does not have this identity in it");
        }
        None if !certificate.has_subject() && certificate.alt_names().is_empty() => {
            problems.add(file, "the certificate has no name that could be our identity");
        }
        Some(_) | None => {}
    }
}
