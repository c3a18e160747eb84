//! Proofs by a key.

use super::*;
use crate::crypto::hex;

const ALICE: &str = "alice@example.net";

// test of RFC 7296 §2.15
#[test]
fn a_code_is_what_another_implementation_computes() {
    // Python: hmac.new(hmac.new(b"correct horse", b"Key Pad for IKEv2", h).digest(), octets, h)
    let expected = [
        (Prf::HmacSha256, "1f9ab5024771d0fce552b73722c7eca1c7fece63dc27338ec5aa78d2f77ab99a"),
        (
            Prf::HmacSha384,
            "f5b8046c2ac958eec5ab37e9b46e65ef8fbf8ed191a29378ec55f96431349b9469ebed9aae5a679f3cfd1458f2da7069",
        ),
        (
            Prf::HmacSha512,
            "5d3e97cccb8e637ad17d44370420246bd590ce3aa17f23eccf5f123b323eb9cb
             902b8c18fd2526ca001a7fd6d91e0ef84e89ace1bb0a869a934bd2e7e7cc9246",
        ),
    ];
    for (prf, code) in expected {
        let key = Provider::Real.prf(prf, &[3; 32]);
        // Reserved octets count as they came.
        let octets =
            SignedOctets::new(b"the IKE_SA_INIT message", &[2; 32], &key, b"\x02\x01\x02\x03vpn.example.net");

        let made = TERMS.prove(&psk("correct horse").0, &octets).unwrap();

        assert_eq!(made, auth(AuthMethod::SharedKey, &hex(code)), "{prf:?}");
        assert_eq!(octets.identity(), Ok(id("vpn.example.net")));
    }
}

#[test]
fn whoever_knows_the_key_is_authenticated() {
    let profiles = [psk_profile("ra", &["*@example.net"], "secret")];
    let alice = Id::Email("Alice@Example.net".into());
    let made = proof(&TERMS, &psk("secret").0, &alice).unwrap();

    let peer = meet(&TERMS, &profiles, &alice, &made, &[]).unwrap();

    assert_eq!(peer.profile().name.as_str(), "ra");
    assert_eq!(*peer.identity(), alice);
    assert_eq!(&**peer.shown(), "Alice@Example.net");
    assert_eq!(**peer.holder(), *b"\x03alice@example.net");
    assert_eq!(peer.certificate(), None);
}

#[test]
fn a_code_is_for_one_key_one_message_one_nonce_and_one_identity() {
    let profiles = [psk_profile("ra", &["*"], "secret")];
    let (body, other_body) = (body(&id(ALICE)), body(&id("bob@example.net")));
    let mut reserved = body.clone();
    reserved[1] = 1;
    let (key, other_key) =
        (Provider::Real.prf(Prf::HmacSha256, &[3; 32]), Provider::Real.prf(Prf::HmacSha256, &[4; 32]));
    let made = TERMS.prove(&psk("secret").0, &octets(Provider::Real, &body)).unwrap();
    let check = |octets: SignedOctets<'_>, auth: &Auth<'_>| {
        let evidence = Evidence { octets: &octets, auth, certificates: &[] };
        TERMS.initiator(&profiles, None, LOCAL, evidence).map_err(|refusal| refusal.failure())
    };
    let message = b"the IKE_SA_INIT message";
    let nonce = &[2; 32][..];

    assert!(check(SignedOctets::new(message, nonce, &key, &body), &made).is_ok());
    for changed in [
        SignedOctets::new(b"the IKE_SA_INIT messagE", nonce, &key, &body),
        SignedOctets::new(message, &[1; 32], &key, &body),
        SignedOctets::new(message, nonce, &other_key, &body),
        SignedOctets::new(message, nonce, &key, &other_body),
        SignedOctets::new(message, nonce, &key, &reserved),
    ] {
        assert_eq!(check(changed, &made).err(), Some(Failure::Authentication));
    }
    for length in 0..made.data.len() {
        let short = auth(AuthMethod::SharedKey, &made.data[..length]);
        let refused = check(SignedOctets::new(message, nonce, &key, &body), &short).err();
        assert_eq!(refused, Some(Failure::Authentication), "{length}");
    }
}

#[test]
fn a_wrong_key_is_refused_and_not_shown() {
    let profiles = [psk_profile("ra", &["*"], "hunter2"), psk_profile("branch", &["*"], "swordfish")];
    let made = proof(&TERMS, &psk("letmein").0, &id(ALICE)).unwrap();

    let refusal = meet(&TERMS, &profiles, &id(ALICE), &made, &[]).unwrap_err();

    assert_eq!(refusal.failure(), Failure::Authentication);
    assert_eq!(refusal.to_string(), "alice@example.net does not know the key: tried ra, branch");
    let octets = octets(Provider::Real, &[]);
    for shown in [format!("{refusal:?}"), format!("{:?}", profiles[0]), format!("{octets:?} {made:?}")] {
        for secret in ["hunter2", "swordfish", "letmein"] {
            let numbers = format!("{:?}", secret.as_bytes());
            assert!(!shown.contains(secret) && !shown.contains(numbers.trim_matches(['[', ']'])), "{shown}");
        }
    }
}

#[test]
fn an_id_payload_that_cannot_be_read_is_refused() {
    let profiles = [psk_profile("ra", &["*"], "secret")];
    for body in [&[][..], &[2, 0, 0, 0], &[1, 0, 0, 0, 1, 2, 3]] {
        let octets = octets(Provider::Real, body);
        let made = TERMS.prove(&psk("secret").0, &octets).unwrap();
        let evidence = Evidence { octets: &octets, auth: &made, certificates: &[] };

        let refused = TERMS.initiator(&profiles, None, LOCAL, evidence).unwrap_err();

        assert_eq!(refused.failure(), Failure::Syntax);
    }
}

#[test]
fn the_provider_without_security_notices_a_wrong_key_too() {
    let terms = Authenticator { provider: Provider::Null, ..TERMS };
    let profiles = [psk_profile("ra", &["*"], "secret")];
    let check = |secret| {
        let made = proof(&terms, &psk(secret).0, &id(ALICE)).unwrap();
        meet(&terms, &profiles, &id(ALICE), &made, &[]).map_err(|refusal| refusal.failure())
    };

    assert!(check("secret").is_ok());
    assert_eq!(check("other").err(), Some(Failure::Authentication));
}
