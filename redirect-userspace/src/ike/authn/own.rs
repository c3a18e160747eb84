//! Our side: who we say we are, the certificates that we send, and those that we ask for.
//!
//! # References
//!
//! `RFC 7296 §2.15` (IDr that the initiator asks for), `§3.5` to `§3.7`; `RFC 4945 §3.1`; `RFC 4806`.

use std::net::IpAddr;
use std::sync::Arc;

use super::bundle::MAX_CERTIFICATES;
use crate::crypto::x509::{AltName, Certificate, is_same_dn};
use crate::ike::config::{Authentication, Credential, LocalProof, Profile, RemoteProof};
use crate::ike::identity::{Claim, in_certificates, is_same, parse};
use crate::ike::wire::{AUTHORITY_LENGTH, Cert, CertEncoding, CertRequest, Chain, Id, PayloadType};
use crate::time::UnixTime;

/// Who we say we are: what is configured; else what the peer `asked` for, if we are that too; else
/// our certificate's subject or its first name; else `local`, our address.
#[must_use]
pub fn own_id(authentication: &Authentication, asked: Option<&Id<'_>>, local: IpAddr) -> Id<'static> {
    let certificate = match &authentication.local {
        LocalProof::Certificate(credential) => credential.chain.first(),
        LocalProof::SharedKey(_) | LocalProof::Eap(_) => None,
    };
    match (&authentication.local_id, asked, certificate) {
        // Peers may compare octet by octet, and the certificate is what they compare with.
        (Claim::Id(Id::Dn(dn)), _, Some(certificate)) if is_same_dn(dn, certificate.subject()) => {
            Id::Dn(certificate.subject().to_vec().into())
        }
        (Claim::Id(id), _, _) => id.clone(),
        (Claim::Implied, Some(asked), _) if is_own(authentication, asked, local) => {
            asked.clone().into_owned()
        }
        (Claim::Implied, _, Some(certificate)) => named_by(certificate).unwrap_or_else(|| address(local)),
        (Claim::Implied, _, None) => user(authentication).unwrap_or_else(|| address(local)),
    }
}

/// Who we are to EAP, which is what a gateway likes best to hear (`RFC 7296 §3.16`).
fn user(authentication: &Authentication) -> Option<Id<'static>> {
    match &authentication.local {
        LocalProof::Eap(credentials) => parse(&credentials.identity),
        LocalProof::SharedKey(_) | LocalProof::Certificate(_) => None,
    }
}

/// Whether we are the one that a peer asks for.
pub(super) fn is_own(authentication: &Authentication, asked: &Id<'_>, local: IpAddr) -> bool {
    match (&authentication.local_id, &authentication.local) {
        (Claim::Id(id), _) => is_same(id, asked),
        (Claim::Implied, LocalProof::Certificate(credential)) => {
            let certificate = credential.chain.first();
            let is_in =
                |certificate: &Certificate| in_certificates(asked).is_some_and(|it| certificate.has(&it));
            certificate.is_some_and(is_in) || is_same(&own_id(authentication, None, local), asked)
        }
        // Behind a NAT, the address that the peer knows is not the one that we have.
        (Claim::Implied, LocalProof::SharedKey(_) | LocalProof::Eap(_)) => {
            matches!(asked, Id::Ipv4(_) | Id::Ipv6(_))
        }
    }
}

/// The identity that a certificate gives in the first place.
pub(super) fn named_by(certificate: &Certificate) -> Option<Id<'static>> {
    if certificate.has_subject() {
        return Some(Id::Dn(certificate.subject().to_vec().into()));
    }
    certificate.alt_names().iter().find_map(|name| match name {
        AltName::Dns(name) => Some(Id::Fqdn(name.to_string().into())),
        AltName::Rfc822(name) => Some(Id::Email(name.to_string().into())),
        AltName::Ip(address) => Some(self::address(*address)),
        // Nobody's identity in IKE.
        AltName::Upn(_) => None,
    })
}

const fn address(address: IpAddr) -> Id<'static> {
    match address {
        IpAddr::V4(address) => Id::Ipv4(address),
        IpAddr::V6(address) => Id::Ipv6(address),
    }
}

/// The CERT payloads that go with our proof, that of the signing key first. Roots are left out:
/// whoever believes one has it.
#[must_use]
pub fn certificates(local: &LocalProof) -> Vec<Cert<'_>> {
    let chain: &[Certificate] = match local {
        LocalProof::Certificate(credential) => &credential.chain,
        LocalProof::SharedKey(_) | LocalProof::Eap(_) => &[],
    };
    chain
        .iter()
        .enumerate()
        .filter(|(position, certificate)| *position == 0 || certificate.subject() != certificate.issuer())
        .take(MAX_CERTIFICATES)
        .map(|(_, certificate)| Cert {
            encoding: CertEncoding::X509Signature,
            data: certificate.der().into(),
        })
        .collect()
}

/// The CERT payloads with what CAs have said about our certificates, as far as that counts at this time.
/// They are for peers that [ask](asks_for_status) for them.
#[must_use]
pub fn statuses(local: &LocalProof, now: UnixTime) -> Vec<Cert<'_>> {
    let chain: &[Certificate] = match local {
        LocalProof::Certificate(credential) => &credential.chain,
        LocalProof::SharedKey(_) | LocalProof::Eap(_) => &[],
    };
    let staples = chain.iter().filter_map(Certificate::staple).filter(|staple| staple.is_current(now));
    staples.map(|staple| Cert { encoding: CertEncoding::Ocsp, data: staple.der().into() }).collect()
}

/// Whether somebody asks for OCSP responses. Which responders are trusted does not matter: there is one
/// response, that of the CA or of whom the CA trusts.
// RFC 4806 §3.1.1: hashes are of use for responders that are trusted without the CA's word.
#[must_use]
pub fn asks_for_status(message: &Chain<'_>) -> bool {
    let requests = message.iter().filter(|payload| payload.kind == PayloadType::CertRequest);
    let mut requests = requests.filter_map(|payload| CertRequest::decode(payload.body).ok());
    requests.any(|request| request.encoding == CertEncoding::Ocsp)
}

/// The CERTREQ for OCSP responses, if one of these profiles must know whether certificates are revoked.
#[must_use]
pub fn status_request<'a>(profiles: impl IntoIterator<Item = &'a Profile>) -> Option<CertRequest<'static>> {
    let mut remotes = profiles.into_iter().map(|profile| &profile.authentication.remote);
    let is_needed = remotes.any(|remote| match remote {
        RemoteProof::Certificate(store) => store.wants_status(),
        RemoteProof::SharedKey(_) | RemoteProof::Eap(_) => false,
    });
    is_needed.then(CertRequest::ocsp)
}

/// The CERTREQ that names the CAs which these profiles believe; `None` when peers of none of them
/// authenticate themselves with certificates. Names no CA when there are too many of them.
#[must_use]
pub fn request<'a>(profiles: impl IntoIterator<Item = &'a Profile>) -> Option<CertRequest<'static>> {
    let mut is_needed = false;
    let mut hashes = Vec::new();
    for profile in profiles {
        match &profile.authentication.remote {
            RemoteProof::SharedKey(_) | RemoteProof::Eap(_) => {}
            RemoteProof::Certificate(store) => {
                is_needed = true;
                // Each once; and no more than it takes to see that there are too many.
                for hash in store.key_hashes() {
                    if hashes.len() <= MAX_AUTHORITIES && !hashes.contains(hash) {
                        hashes.push(*hash);
                    }
                }
            }
        }
    }
    if hashes.len() > MAX_AUTHORITIES {
        hashes.clear();
    }
    is_needed.then(|| CertRequest::x509(&hashes))
}

/// Whether a peer that sent these CERTREQs will believe our certificate, as far as can be told: it
/// is advice only. A root that is not in our chain is known if one of the profiles believes it.
#[must_use]
pub fn suits(credential: &Credential, requests: &[CertRequest<'_>], profiles: &[Arc<Profile>]) -> bool {
    let mut requests = requests.iter().filter(|request| request.encoding == CertEncoding::X509Signature);
    let issued = |issuer: &Certificate| {
        credential.chain.iter().any(|certificate| is_same_dn(certificate.issuer(), issuer.subject()))
    };
    let is_above = |hash: &[u8; AUTHORITY_LENGTH]| {
        let known = profiles.iter().filter_map(|profile| match &profile.authentication.remote {
            RemoteProof::Certificate(store) => Some(store),
            RemoteProof::SharedKey(_) | RemoteProof::Eap(_) => None,
        });
        let anchors = known.flat_map(|store| store.anchors());
        let mut cas = credential.chain.iter().skip(1).chain(anchors);
        cas.any(|ca| ca.key_hash() == hash && issued(ca))
    };
    match requests.next() {
        None => true,
        Some(first) => [first].into_iter().chain(requests).any(|request| {
            let mut authorities = request.authorities().peekable();
            authorities.peek().is_none() || authorities.any(is_above)
        }),
    }
}

/// Most CAs that are named: IKE_SA_INIT cannot be fragmented, and must fit into a packet.
const MAX_AUTHORITIES: usize = 20;
