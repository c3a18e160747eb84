//! EAP-TLS inside IKE_AUTH, with real TLS.

use super::*;
use crate::crypto::x509::builder::{Owner, Recipe};
use crate::crypto::x509::{AltName, Revocation, TrustStore};
use crate::ike::authn::eap::tls::{self, Agreement};
use crate::ike::config::Credential;
use crate::ike::identity::parse_pattern;

/// Certificates that are valid at the time of these tests, whatever it is.
const ALWAYS: [&str; 2] = ["19700101000000Z", "20490101000000Z"];

fn issued(root: &Owner, names: &[AltName]) -> Owner {
    Recipe::end_entity("CN=somebody", names).valid(ALWAYS[0], ALWAYS[1]).issue(Some(root))
}

fn credential(owner: &Owner) -> Arc<Credential> {
    Arc::new(Credential { chain: vec![owner.certificate()], key: owner.key() })
}

fn trust(root: &Owner) -> Arc<TrustStore> {
    let mut store = TrustStore::new(Revocation::Relaxed);
    store.add_anchor(root.certificate()).unwrap();
    Arc::new(store)
}

/// A gateway and a client that says this of itself in EAP, has a certificate for alice of this CA, and
/// expects a TLS server of this name.
fn plan(said: &str, client_root: &Owner, root: &Owner, server: &str, stands_alone: bool) -> Plan {
    let gateway = issued(root, &[AltName::Dns("vpn.example.net".into())]);
    let alice = issued(client_root, &[AltName::Rfc822("alice@example.net".into())]);
    let at_gateway = tls::Gateway::new(credential(&gateway), trust(root), Agreement::Certified);
    let servers = [parse_pattern(server).unwrap()];
    let at_client = tls::Client::new(credential(&alice), trust(root), &servers);
    let maker: Arc<dyn Maker> = Arc::new(at_client);
    let credentials = Credentials { identity: said.into(), maker, stands_alone };
    with(Gate { asks_identity: true, ..gate(vec![Arc::new(at_gateway)]) }, credentials)
}

fn root() -> Owner {
    Recipe::ca("root").valid(ALWAYS[0], ALWAYS[1]).issue(None)
}

// test of RFC 7296 §2.16 with RFC 5216, and of RFC 5998 §3
#[test]
fn a_client_gets_in_by_its_certificate_with_the_gateways_own_proof_and_without() {
    for stands_alone in [false, true] {
        let root = root();
        let mut pair = plan("alice@example.net", &root, &root, "vpn.example.net", stands_alone).build();
        pair.initiate();

        pair.settle();

        for end in ENDS {
            assert_eq!(pair.side(end).endpoint.counts().established, 1, "{end:?} {stands_alone}");
        }
        let packets = said(&pair, End::Gateway);
        assert_eq!(packets.last(), Some(&(EapCode::Success, None)));
        assert!(packets.contains(&(EapCode::Request, Some(EapType::Tls))));
    }
}

#[test]
fn neither_side_gets_in_with_a_certificate_that_the_other_does_not_believe() {
    let (own, other) = (root(), root());
    for (what, plan) in [
        ("foreign client", plan("alice@example.net", &other, &own, "vpn.example.net", true)),
        ("somebody else", plan("bob@example.net", &own, &own, "vpn.example.net", true)),
        ("another server", plan("alice@example.net", &own, &own, "vpn.example.org", true)),
    ] {
        let mut pair = plan.build();
        pair.initiate();

        pair.settle();

        assert!(said(&pair, End::Gateway).contains(&(EapCode::Request, Some(EapType::Tls))), "{what}");
        assert_nothing(&mut pair, what);
    }
}
