//! Who proves what when a session goes on.

use super::*;

// RES-12
#[test]
fn a_session_of_certificates_goes_on_without_them() {
    let plan = with_tickets(auth::certificates(KeyKind::P256));
    let settings = Settings { tickets: Some(Arc::new(sealer("gw2", &[1]))), ..plan.gateway.clone() };
    let mut pair = plan.build();
    pair.establish();
    elsewhere(&mut pair, settings);

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair), RESUMED);
    assert!(pair.sent[2..].iter().all(|flying| flying.octets.len() < 900), "there is no certificate");
    pair.assert_in_step();
    assert!(sole(&pair, End::Gateway).is_resumed);
}

// RES-12: both readings of RFC 5723 §4.3.3
#[test]
fn a_proof_over_the_first_message_alone_is_believed_and_answered_in_kind() {
    let mut pair = null_orphan();
    pair.initiate();
    pair.deliver();
    pair.deliver();
    let request = pair.take(End::Gateway);
    let plain = Plain::open(&request.octets);

    let (key_i, key_r) = proofs(&pair);
    let code = |key: &PrfKey, number: usize| key.compute(&[&pair.sent[number].octets]).expose().to_vec();
    let (ours, theirs) = (code(&key_i, 0), code(&key_r, 1));
    let other = with_auth(&plain, &ours);
    pair.put(&Flying { octets: other.seal(), ..request });

    let answer = Plain::open(&pair.sent.last().unwrap().octets);
    let Some(Payload::Auth(auth)) =
        answer.payloads().into_iter().find(|payload| payload.kind() == PayloadType::Auth)
    else {
        panic!("{:?}", answer.kinds())
    };
    assert_eq!(auth.data.as_ref(), theirs);
    assert!(sole(&pair, End::Gateway).is_resumed);

    // Our own client believes such an answer as well.
    pair.settle();
    assert!(sole(&pair, End::Client).is_resumed);
}

/// SK_pi and SK_pr of the session that is being resumed.
fn proofs(pair: &Pair) -> (PrfKey, PrfKey) {
    let (request, answer) =
        (Message::decode(&pair.sent[0].octets).unwrap(), Message::decode(&pair.sent[1].octets).unwrap());
    let nonce = |message: &Message<'_>| message.payloads.find(PayloadType::Nonce).unwrap().body.to_vec();
    let ticket = notify(pair, 0, NotifyType::TicketOpaque).unwrap();
    let (_, ticket) = sealer("gw2", &[1]).open(pair.now.wall, &ticket).unwrap();
    let suite = crate::ike::sa::suite::ike(ticket.suite, None).unwrap();
    let origin = Origin {
        provider: Provider::Null,
        suite,
        nonces: Nonces { initiator: &nonce(&request), responder: &nonce(&answer) },
        spi_i: request.header.spi_i,
        spi_r: answer.header.spi_r.unwrap(),
        role: OriginalRole::Responder,
    };
    let keys = IkeKeys::resumed(origin, &DerivationKey::new(suite.prf, ticket.key)).unwrap();
    (keys.proof_i, keys.proof_r)
}

/// The same message with another proof.
fn with_auth(plain: &Plain, data: &[u8]) -> Plain {
    plain.with(|payloads| {
        for payload in payloads {
            if let Payload::Auth(auth) = payload {
                auth.data = data.to_vec().into();
            }
        }
    })
}

/// What comes of an IKE_AUTH request of a session that is being resumed, changed like this.
fn auth_changed(change: impl FnOnce(&mut Vec<Payload<'_>>)) -> Pair {
    let mut pair = null_orphan();
    pair.initiate();
    pair.deliver();
    pair.deliver();
    let request = pair.take(End::Gateway);
    let plain = Plain::open(&request.octets).with(change);
    pair.put(&Flying { octets: plain.seal(), ..request });
    pair
}

// RES-13
// test of RFC 5723 §4.3.3
#[test]
fn a_certificate_beside_a_ticket_is_refused() {
    let pair = auth_changed(|payloads| {
        let encoding = crate::ike::wire::CertEncoding::X509Signature;
        payloads.insert(1, Payload::Cert(crate::ike::wire::Cert { encoding, data: vec![0x30, 0].into() }));
    });

    assert_refused(&pair);
}

// RES-14, RES-36
// test of RFC 5723 §4.3.3
#[test]
fn who_says_he_is_somebody_else_than_his_ticket_or_asks_for_somebody_else_is_refused() {
    let id = |name: &'static str| crate::ike::wire::Id::Email(name.into());
    let other = auth_changed(|payloads| payloads[0] = Payload::IdI(id("bob@example.net")));
    assert_refused(&other);
    let asks = auth_changed(|payloads| payloads.insert(1, Payload::IdR(id("other@example.net"))));
    assert_refused(&asks);
    let right = auth_changed(|payloads| {
        payloads.insert(1, Payload::IdR(crate::ike::wire::Id::Fqdn("vpn.example.net".into())));
    });
    assert!(sole(&right, End::Gateway).is_resumed);
}

#[test]
fn a_wrong_proof_is_refused_and_the_client_begins_anew() {
    let mut pair = auth_changed(|payloads| {
        for payload in payloads {
            if let Payload::Auth(auth) = payload {
                auth.data = vec![0; 32].into();
            }
        }
    });
    assert_refused(&pair);

    pair.settle();

    pair.assert_in_step();
    assert!(!sole(&pair, End::Client).is_resumed);
    assert!(pair.client.events.iter().any(|event| matches!(event, Event::TicketRefused { .. })));
}

fn assert_refused(pair: &Pair) {
    let answer = Plain::open(&pair.sent.last().unwrap().octets);
    assert_eq!(answer.notifies(), [NotifyType::AuthenticationFailed]);
    assert_eq!(answer.kinds(), [PayloadType::Notify]);
    assert_eq!(pair.gateway.endpoint.counters().resumed, 0);
    assert!(pair.gateway.used.is_empty(), "the ticket is not used");
}
