//! Both sides of each proof, and everything for which one is refused.

mod own;
mod profiles;
mod psk;
mod signature;

use std::borrow::Cow;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::codec::Writer;
use crate::crypto::prf::Prf;
use crate::crypto::sign::PrivateKey;
use crate::crypto::x509::builder::{KeyKind, Owner, Recipe};
use crate::crypto::x509::{AltName, Revocation, TrustStore};
use crate::ike::config::{Authentication, Credential, Guidance, Lifetimes};
use crate::ike::event::Failure;
use crate::ike::identity::{Claim, parse, parse_pattern};
use crate::ike::wire::CertEncoding;
use crate::secret::Secret;

/// 2030-01-01.
const NOW: UnixTime = UnixTime::from_epoch(Duration::from_secs(1_893_456_000));
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
const LEGACY: Legacy = Legacy::permit();
const ALL: &[HashAlgorithm] = &HashAlgorithm::ALL;

/// Both sides know `RFC 7427`, and nobody permits SHA-1.
const TERMS: Authenticator<'_> = Authenticator {
    provider: Provider::Real,
    now: NOW,
    legacy: None,
    own_hashes: ALL,
    peer_hashes: Some(ALL),
};

/// A peer from before `RFC 7427`.
const OLDER: Authenticator<'_> = Authenticator { peer_hashes: None, ..TERMS };

fn id(text: &str) -> Id<'static> {
    parse(text).unwrap()
}

fn body(id: &Id<'_>) -> Vec<u8> {
    let mut out = Writer::new();
    id.encode(&mut out);
    out.into_octets()
}

/// What the side with this ID payload signs.
fn octets(provider: Provider, id_body: &[u8]) -> SignedOctets<'_> {
    let key = provider.prf(Prf::HmacSha256, &[3; 32]);
    SignedOctets::new(b"the IKE_SA_INIT message", &[2; 32], &key, id_body)
}

fn psk(secret: &str) -> (LocalProof, RemoteProof) {
    let secret = Secret::from(secret.as_bytes());
    (LocalProof::SharedKey(secret.clone()), RemoteProof::SharedKey(secret))
}

/// Who proves himself by the certificate of `owner`, with those of CAs, in DER.
fn credential(owner: &Owner, cas: &[&Owner]) -> Credential {
    let chain = [owner].into_iter().chain(cas.iter().copied());
    Credential { chain: chain.map(Owner::certificate).collect(), key: owner.key() }
}

fn by_certificate(owner: &Owner, cas: &[&Owner]) -> LocalProof {
    LocalProof::Certificate(Arc::new(credential(owner, cas)))
}

fn store(anchors: &[&Owner]) -> TrustStore {
    let mut store = TrustStore::new(Revocation::Relaxed);
    for anchor in anchors {
        store.add_anchor(anchor.certificate()).unwrap();
    }
    store
}

fn believes(anchors: &[&Owner]) -> RemoteProof {
    RemoteProof::Certificate(Arc::new(store(anchors)))
}

/// A profile for peers of these identities.
fn profile(name: &str, remote_ids: &[&str], local: LocalProof, remote: RemoteProof) -> Profile {
    Profile {
        name: Name::new(name).unwrap(),
        authentication: Authentication {
            local_id: Claim::Implied,
            remote_ids: remote_ids.iter().map(|text| parse_pattern(text).unwrap()).collect(),
            local,
            remote,
        },
        pools: Vec::new(),
        guidance: Guidance::default(),
        local_ts: Vec::new(),
        remote_ts: Vec::new(),
        esp_proposals: Vec::new(),
        dpd: None,
        lifetimes: Lifetimes::default(),
        redirect_auth: false,
        resumes: true,
        mobility: crate::ike::config::Mobility::NONE,
        ppk: None,
    }
}

/// A profile of peers with this key.
fn psk_profile(name: &str, remote_ids: &[&str], secret: &str) -> Arc<Profile> {
    let (local, remote) = psk(secret);
    Arc::new(profile(name, remote_ids, local, remote))
}

/// A profile of peers with certificates of these CAs, to whom we prove ourselves by a key.
fn ca_profile(name: &str, remote_ids: &[&str], anchors: &[&Owner]) -> Arc<Profile> {
    Arc::new(profile(name, remote_ids, psk("ours").0, believes(anchors)))
}

/// A root, and somebody with a certificate of it for this identity.
fn issued(names: &[AltName], kind: KeyKind) -> [Owner; 2] {
    let root = Recipe::ca("root").issue(None);
    let owner = Recipe::end_entity("O=Example, CN=alice", names).key(kind).issue(Some(&root));
    [root, owner]
}

fn mail(name: &str) -> AltName {
    AltName::Rfc822(name.into())
}

fn x509(der: &[u8]) -> Cert<'_> {
    Cert { encoding: CertEncoding::X509Signature, data: der.into() }
}

fn auth(method: AuthMethod, data: &[u8]) -> Auth<'static> {
    Auth { method, data: Cow::Owned(data.to_vec()) }
}

/// What comes of a peer of this identity, with this proof, for these profiles.
fn meet(
    terms: &Authenticator<'_>,
    profiles: &[Arc<Profile>],
    claimed: &Id<'_>,
    auth: &Auth<'_>,
    certificates: &[Cert<'_>],
) -> Result<PeerAuthenticated, Refusal> {
    let body = body(claimed);
    let octets = octets(terms.provider, &body);
    terms.initiator(profiles, None, LOCAL, Evidence { octets: &octets, auth, certificates })
}

/// The proof of whoever claims this identity.
fn proof(terms: &Authenticator<'_>, local: &LocalProof, claimed: &Id<'_>) -> Result<Auth<'static>, Refusal> {
    terms.prove(local, &octets(terms.provider, &body(claimed)))
}

fn profile_of(result: Result<PeerAuthenticated, Refusal>) -> Result<String, String> {
    match result {
        Ok(peer) => Ok(peer.profile().name.to_string()),
        Err(refusal) => Err(refusal.to_string()),
    }
}
