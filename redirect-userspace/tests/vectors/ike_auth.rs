//! Authentication data that other implementations publish with the keys they were made with.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use redirect_userspace::crypto::prf::Prf;
use redirect_userspace::crypto::{Legacy, Provider};
use redirect_userspace::ike::authn::{Authenticator, Evidence, SignedOctets};
use redirect_userspace::ike::config::{
    Authentication, Guidance, Lifetimes, LocalProof, Name, Profile, RemoteProof,
};
use redirect_userspace::ike::identity::{Claim, Pattern};
use redirect_userspace::ike::wire::{Auth, AuthMethod};
use redirect_userspace::secret::Secret;
use redirect_userspace::time::UnixTime;

use crate::data;

// test of RFC 7296 §2.15
#[test]
fn codes_by_a_shared_key_are_what_others_compute_and_are_believed() {
    let Some(root) = data::root() else { return };
    let folder = root.join("ikev2-auth");
    if !folder.is_dir() {
        data::say(&format!("SKIPPED: {} is not there", folder.display()));
        return;
    }
    let mut count = 0;
    for vector in data::files(&folder).iter().flat_map(|file| data::list(file)) {
        let octets = |key: &str| data::octets(vector[key].as_str().unwrap());
        let prf = u16::try_from(vector["prf"].as_u64().unwrap()).unwrap();
        let prf = Prf::from_transform(prf, Some(Legacy::permit())).unwrap();
        let (message, nonce, body) = (octets("message"), octets("nonce"), octets("id_body"));
        let key = Provider::Real.prf(prf, &octets("sk_p"));
        let signed = SignedOctets::new(&message, &nonce, &key, &body);
        let secret = Secret::new(octets("secret"));
        let expected = Auth { method: AuthMethod::SharedKey, data: octets("auth").into() };
        let authenticator = Authenticator {
            provider: Provider::Real,
            now: UnixTime::EPOCH,
            legacy: None,
            own_hashes: &[],
            peer_hashes: None,
        };

        let made = authenticator.prove(&LocalProof::SharedKey(secret.clone()), &signed);

        assert_eq!(made, Ok(expected.clone()), "{}", vector["name"]);
        let evidence = Evidence { octets: &signed, auth: &expected, certificates: &[] };
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let peer = authenticator.initiator(&[profile(secret)], None, local, evidence).unwrap();
        assert_eq!(Ok(peer.identity().clone()), signed.identity());
        count += 1;
    }
    data::say(&format!("{count} codes by shared keys"));
    assert!(count > 0, "{} is empty", folder.display());
}

/// A profile for whoever knows this key.
fn profile(secret: Secret) -> Arc<Profile> {
    Arc::new(Profile {
        name: Name::new("anyone").unwrap(),
        authentication: Authentication {
            local_id: Claim::Implied,
            remote_ids: vec![Pattern::Anyone],
            local: LocalProof::SharedKey(secret.clone()),
            remote: RemoteProof::SharedKey(secret),
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
        mobility: redirect_userspace::ike::config::Mobility::NONE,
        ppk: None,
    })
}
