//! Both sides against each other, with every kind of key.

use std::time::Duration;

use super::*;
use crate::crypto::x509::OcspError;
use crate::crypto::x509::Revocation;
use crate::crypto::x509::builder::{KeyKind, Owner, Recipe};
use crate::crypto::x509::responder::Answer;

/// 2030-01-01.
const NOW: UnixTime = UnixTime::from_epoch(Duration::from_secs(1_893_456_000));

#[derive(Debug)]
struct Held(Vec<Certificate>, PrivateKey);

impl Holder for Held {
    fn chain(&self) -> &[Certificate] {
        &self.0
    }

    fn key(&self) -> &PrivateKey {
        &self.1
    }
}

fn party(owner: &Owner, trusted: &Owner, versions: Versions) -> Party {
    let mut trust = TrustStore::new(Revocation::Relaxed);
    trust.add_anchor(trusted.certificate()).unwrap();
    let held = Held(vec![owner.certificate()], owner.key());
    Party::new(Arc::new(held), Arc::new(trust), versions)
}

fn anybody() -> Expected {
    Arc::new(|_| true)
}

/// Carries octets to and fro until neither side has any, or one refuses what came.
fn carry(client: &mut Session, server: &mut Session) -> Result<(), TlsError> {
    loop {
        let there = client.to_send();
        server.receive(&there)?;
        let back = server.to_send();
        client.receive(&back)?;
        if there.is_empty() && back.is_empty() {
            return Ok(());
        }
    }
}

#[test]
fn both_sides_know_each_other_and_the_same_keys() {
    let root = Recipe::ca("root").issue(None);
    for versions in [Versions::Only12, Versions::Only13, Versions::Both] {
        for kind in [KeyKind::P256, KeyKind::Ed25519([7; 32]), KeyKind::Rsa] {
            let gateway = Recipe::gateway("gw.example.net").key(kind).issue(Some(&root));
            let alice = Recipe::gateway("alice.example.net").key(kind).issue(Some(&root));
            let mut client = party(&alice, &root, versions).client(anybody(), NOW).unwrap();
            let mut server = party(&gateway, &root, Versions::Both).server(anybody(), NOW).unwrap();

            assert_eq!(carry(&mut client, &mut server), Ok(()), "{versions:?} {kind:?}");

            assert!(client.is_open() && server.is_open());
            assert_eq!(client.is_13(), versions != Versions::Only12);
            assert_eq!(server.certificate(), Some(alice.certificate()));
            assert_eq!(client.certificate(), Some(gateway.certificate()));
            let keys = server.export::<128>(b"label", Some(&[13])).unwrap();
            assert_eq!(keys, client.export::<128>(b"label", Some(&[13])).unwrap());
            assert_ne!(keys, client.export::<128>(b"label", None).unwrap());
            assert_ne!(keys, client.export::<128>(b"other", Some(&[13])).unwrap());
        }
    }
}

// test of RFC 9190 §5.4
#[test]
fn a_server_shows_what_its_ca_says_about_it_while_that_counts() {
    let root = Recipe::ca("root").issue(None);
    let gateway = Recipe::gateway("gw.example.net").issue(Some(&root));
    let alice = Recipe::gateway("alice.example.net").issue(Some(&root));
    let mut strict = TrustStore::new(Revocation::Strict);
    strict.add_anchor(root.certificate()).unwrap();
    let strict = Arc::new(strict);
    let old = Answer::good(2).valid("20260101000000Z", Some("20270101000000Z"));
    let good = Answer::good(2);
    let nothing = TlsError::Chain(ChainError::NoRevocationInformation);
    for versions in [Versions::Only12, Versions::Only13] {
        for (answer, expected) in
            [(Some(&good), Ok(())), (Some(&old), Err(nothing.clone())), (None, Err(nothing.clone()))]
        {
            let own = gateway.certificate();
            let own = match answer.map(|answer| Staple::read(&answer.sign(&root), &own, None, NOW)) {
                None => own,
                Some(staple) => own.with_staple(staple.unwrap()),
            };
            let mut trust = TrustStore::new(Revocation::Relaxed);
            trust.add_anchor(root.certificate()).unwrap();
            let held = Held(vec![own], gateway.key());
            let server = Party::new(Arc::new(held), Arc::new(trust), versions);
            let held = Held(vec![alice.certificate()], alice.key());
            let client = Party::new(Arc::new(held), Arc::clone(&strict), versions);
            let mut server = server.server(anybody(), NOW).unwrap();
            let mut client = client.client(anybody(), NOW).unwrap();

            assert_eq!(carry(&mut client, &mut server), expected, "{versions:?} {answer:?}");
        }
    }
    // What is wrong with a response that is shown all the same is what the operator reads.
    let trust = Judge {
        trust: strict,
        expected: anybody(),
        hints: Vec::new(),
        algorithms: rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms,
        refused: Arc::new(OnceLock::new()),
    };
    let shown = CertificateDer::from(gateway.der.clone());
    let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into());
    let now = pki_types::UnixTime::since_unix_epoch(NOW.since_epoch());
    let stale = old.sign(&root);
    let result = rustls::client::danger::ServerCertVerifier::verify_server_cert(
        &trust,
        &shown,
        &[],
        &name,
        &stale,
        now,
    );
    assert!(result.is_err());
    assert_eq!(trust.refused.get(), Some(&TlsError::Chain(ChainError::Ocsp(OcspError::Outdated))));
}

#[test]
fn there_are_no_keys_before_the_session_is_open() {
    let root = Recipe::ca("root").issue(None);
    let gateway = Recipe::gateway("gw.example.net").issue(Some(&root));
    let server = party(&gateway, &root, Versions::Both).server(anybody(), NOW).unwrap();

    assert!(!server.is_open() && server.certificate().is_none());
    assert!(matches!(server.export::<64>(b"label", None), Err(TlsError::Library(_))));
}

#[test]
fn whoever_is_refused_gets_an_alert_and_we_know_why() {
    let root = Recipe::ca("root").issue(None);
    let gateway = Recipe::gateway("gw.example.net").issue(Some(&root));
    let expired = ["20260101000000Z", "20270101000000Z"];
    let server = party(&gateway, &root, Versions::Both);
    for (alice, expected, refused, alert) in [
        (
            Recipe::gateway("alice").valid(expired[0], expired[1]).issue(Some(&root)),
            true,
            TlsError::Chain(ChainError::Expired),
            "CertificateExpired",
        ),
        (Recipe::gateway("alice").issue(None), true, TlsError::Chain(ChainError::UnknownCa), "UnknownCA"),
        (
            Recipe::gateway("alice").issue(Some(&root)),
            false,
            TlsError::SomebodyElse("CN=alice".into()),
            "AccessDenied",
        ),
    ] {
        for versions in [Versions::Only12, Versions::Only13] {
            let expected: Expected = Arc::new(move |_| expected);
            let mut server = server.server(expected, NOW).unwrap();
            let mut client = party(&alice, &root, versions).client(anybody(), NOW).unwrap();

            assert_eq!(carry(&mut client, &mut server), Err(refused.clone()), "{versions:?}");
            assert_eq!(client.receive(&server.to_send()), Err(TlsError::Alert(alert.into())));
        }
    }
}

#[test]
fn a_certificate_that_is_not_the_keys_own_proves_nothing() {
    let root = Recipe::ca("root").issue(None);
    let gateway = Recipe::gateway("gw.example.net").issue(Some(&root));
    let alice = Recipe::gateway("alice").issue(Some(&root));
    let mallory = Recipe::gateway("mallory").issue(Some(&root));
    let mut trust = TrustStore::new(Revocation::Relaxed);
    trust.add_anchor(root.certificate()).unwrap();
    let stolen = Held(vec![alice.certificate()], mallory.key());
    let stolen = Party::new(Arc::new(stolen), Arc::new(trust), Versions::Both);
    let mut client = stolen.client(anybody(), NOW).unwrap();
    let mut server = party(&gateway, &root, Versions::Both).server(anybody(), NOW).unwrap();

    assert_eq!(
        carry(&mut client, &mut server),
        Err(TlsError::Protocol("invalid peer certificate: BadSignature".into()))
    );
    assert!(!server.is_open());
}

#[test]
fn any_octets_are_refused_or_waited_for() {
    let root = Recipe::ca("root").issue(None);
    let gateway = Recipe::gateway("gw.example.net").issue(Some(&root));
    let party = party(&gateway, &root, Versions::Both);
    let hello = party.client(anybody(), NOW).unwrap().to_send();
    for at in 0..hello.len() {
        let mut server = party.server(anybody(), NOW).unwrap();
        assert_eq!(server.receive(&hello[..at]), Ok(()), "{at}");
        assert!(server.to_send().is_empty() && !server.is_open());
        let mut wrong = hello.clone();
        wrong[at] ^= 0xff;
        // Some of it is random, and some is an offer that may be ignored.
        let mut server = party.server(anybody(), NOW).unwrap();
        if server.receive(&wrong).is_ok() {
            assert!(!server.is_open());
        }
    }
    let mut server = party.server(anybody(), NOW).unwrap();
    assert!(matches!(server.receive(&[0x41; 70_000]), Err(TlsError::Protocol(_))));
}
