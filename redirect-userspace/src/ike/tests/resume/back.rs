//! A client comes back: at the same gateway, at another one, from elsewhere, on a bad network.

use super::*;

// RES-09, RES-10, RES-15, RES-16, RES-32
// test of RFC 5723 §4.3.2, §4.3.3
#[test]
fn a_client_whose_gateway_is_dead_is_back_at_another_member_in_one_round_trip_more() {
    let mut pair = orphaned();
    let before = pair.client.endpoint.counters().clone();

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair), RESUMED);
    let kinds = |number: usize| -> Vec<PayloadType> {
        let message = Message::decode(&pair.sent[number].octets).unwrap();
        message.payloads.iter().map(|payload| payload.kind).collect()
    };
    for number in [0, 1] {
        assert_eq!(kinds(number)[0], PayloadType::Nonce);
        assert!(kinds(number)[1..].iter().all(|kind| *kind == PayloadType::Notify), "neither SA nor KE");
    }
    let (request, answer) =
        (Message::decode(&pair.sent[0].octets).unwrap(), Message::decode(&pair.sent[1].octets).unwrap());
    assert_eq!((request.header.spi_r, request.header.message_id), (None, MessageId(0)));
    assert!(answer.header.spi_r.is_some());
    assert_eq!(answer.header.spi_i, request.header.spi_i);
    assert!(pair.sent[0].octets.len() < 600, "{} octets", pair.sent[0].octets.len());
    assert_eq!(pair.gateway.endpoint.counters().tickets_granted, 1, "and it has another ticket");
    assert_eq!(pair.client.endpoint.counters().resumed, before.resumed + 1);
    assert_resumed(&mut pair);
}

// RES-16
#[test]
fn a_client_comes_back_again_and_again_each_time_with_another_ticket() {
    let mut pair = up();
    let mut tickets = Vec::new();
    for (number, node) in ["gw2", "gw3", "gw1", "gw2"].into_iter().enumerate() {
        elsewhere_again(&mut pair, node, number + 2);
        pair.initiate();
        pair.settle();
        assert_eq!(exchanges(&pair), RESUMED, "{node}");
        tickets.push(notify(&pair, 0, NotifyType::TicketOpaque).unwrap());
        pair.assert_in_step();
    }
    tickets.sort();
    tickets.dedup();
    assert_eq!(tickets.len(), 4);
}

// RES-17
// test of RFC 5723 §4.3.4
#[test]
fn the_old_sa_at_the_same_gateway_is_deleted_silently_once_the_new_one_is_up() {
    let mut pair = up();
    let old = sole(&pair, End::Gateway);
    bereaved_client_only(&mut pair);
    pair.initiate();
    pair.deliver();
    assert_eq!(pair.gateway.endpoint.counts().established, 1);
    assert_eq!(pair.gateway.plane.len(), 1, "not before IKE_AUTH");
    let sent = pair.sent.len();

    pair.settle();

    assert_eq!(pair.closed(End::Gateway), [CloseReason::Resumed]);
    assert_eq!(exchanges(&pair)[sent - 2..], RESUMED, "nothing but the exchange: no Delete");
    let new = sole(&pair, End::Gateway);
    assert_ne!(new.id, old.id);
    assert_eq!(new.addresses, old.addresses, "with the address that the old one had");
    assert_eq!(pair.gateway.pools.held(), 1);
    assert_resumed(&mut pair);
}

// RES-18
#[test]
fn the_old_sa_stays_when_the_resumption_fails() {
    let mut pair = up();
    bereaved_client_only(&mut pair);
    pair.initiate();
    pair.deliver();
    pair.deliver();
    // IKE_AUTH is lost, for good.
    pair.wire.clear();
    for _ in 0..10 {
        pair.now = pair.now.after(Duration::from_secs(10));
        pair.step(End::Gateway, Input::Timeout);
        pair.wire.clear();
    }

    assert_eq!(pair.gateway.endpoint.counts().established, 1);
    assert_eq!((pair.gateway.plane.len(), pair.closed(End::Gateway)), (1, vec![]));
    assert_eq!(failures(&pair.gateway.events), [Failure::Timeout]);
}

// RES-17, on several workers
#[test]
fn another_worker_hears_that_the_session_goes_on_and_drops_its_sa() {
    let mut pair = up();
    let used = UsedTicket { origin: None, ..used_by_resuming() };
    pair.step(End::Gateway, Input::TicketUsed(&used));
    assert_eq!(pair.gateway.endpoint.counts().established, 1, "of no session");

    let used = used_by_resuming();
    pair.step(End::Gateway, Input::TicketUsed(&used));

    assert_eq!(pair.gateway.endpoint.counts().established, 0);
    assert_eq!(pair.closed(End::Gateway), [CloseReason::Resumed]);
    assert!(pair.wire.is_empty(), "without a word");
}

#[test]
fn a_ticket_of_another_run_takes_nothing_from_anybody() {
    let mut pair = up();
    let mut used = used_by_resuming();
    used.origin.as_mut().unwrap().run += 1;

    pair.step(End::Gateway, Input::TicketUsed(&used));

    assert_eq!(pair.gateway.endpoint.counts().established, 1);
}

// RES-28
#[test]
fn a_ticket_whose_try_failed_can_be_presented_again() {
    let mut pair = orphaned();
    pair.initiate();
    pair.deliver();
    pair.deliver();
    // From now on nothing arrives, until the client gives up.
    for _ in 0..40 {
        pair.wire.clear();
        pair.now = pair.now.after(Duration::from_secs(10));
        pair.step(End::Client, Input::Timeout);
        pair.step(End::Gateway, Input::Timeout);
    }
    pair.wire.clear();
    assert_eq!(failures(&pair.events(End::Client)), [Failure::Timeout]);
    pair.sent.clear();

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair), RESUMED);
    assert_resumed(&mut pair);
}

#[test]
fn a_gateway_that_does_not_answer_a_ticket_leaves_it_good() {
    let mut pair = orphaned();
    pair.initiate();
    for _ in 0..40 {
        pair.wire.clear();
        pair.now = pair.now.after(Duration::from_secs(10));
        pair.step(End::Client, Input::Timeout);
    }
    assert_eq!(failures(&pair.events(End::Client)), [Failure::Timeout]);
    pair.wire.clear();
    pair.sent.clear();

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair), RESUMED);
}

// RES-30
#[test]
fn a_client_that_slept_goes_on_with_its_session() {
    let mut pair = up();
    let old = sole(&pair, End::Client).addresses;
    // Asleep: neither hears the other, and both give up.
    for _ in 0..40 {
        pair.now = pair.now.after(Duration::from_secs(30));
        for end in ENDS {
            pair.step(end, Input::Timeout);
        }
        pair.wire.clear();
    }
    pair.sent.clear();

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair), RESUMED);
    assert_eq!(sole(&pair, End::Client).addresses, old);
}

// RES-33
// test of RFC 5723 §4.3.2
#[test]
fn nats_are_found_out_anew() {
    let mut pair = orphaned();
    pair.client.nat =
        Some(crate::testing::pair::Nat { outside: [198, 51, 100, 9].into(), ports: Some(1_024) });

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair), RESUMED);
    for end in ENDS {
        assert_eq!(sole(&pair, end).local.port(), 4500, "{end:?}");
    }
    assert!(sole(&pair, End::Gateway).is_peer_behind_nat && sole(&pair, End::Client).are_we_behind_nat);
    pair.assert_in_step();
}

// RES-34
// test of RFC 5723 §4.3.2
#[test]
fn a_cookie_is_asked_for_and_brought_with_the_same_nonce_and_ticket() {
    let mut settings = member("gw2", &[1]);
    settings.limits.cookie_threshold = 0;
    let mut pair = up();
    elsewhere(&mut pair, settings);

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair)[..4], [ExchangeType::IkeSessionResume; 4]);
    let nonce = |number: usize| {
        let message = Message::decode(&pair.sent[number].octets).unwrap();
        message.payloads.find(PayloadType::Nonce).unwrap().body.to_vec()
    };
    assert_eq!(notify(&pair, 1, NotifyType::Cookie), notify(&pair, 2, NotifyType::Cookie));
    assert_eq!(nonce(0), nonce(2));
    assert_eq!(notify(&pair, 0, NotifyType::TicketOpaque), notify(&pair, 2, NotifyType::TicketOpaque));
    assert_resumed(&mut pair);
}

// RES-38
// test of RFC 5723 §9.4
#[test]
fn nothing_unauthenticated_makes_a_client_resume() {
    let mut pair = up();
    let sent = pair.sent.len();
    let sa = sole(&pair, End::Client);
    let header = Header {
        spi_i: sa.spi_i,
        spi_r: sa.spi_r,
        version: Version::V2,
        exchange: ExchangeType::Informational,
        sender: OriginalRole::Responder,
        direction: Direction::Response,
        message_id: MessageId(0),
    };
    for kind in [NotifyType::from(4), NotifyType::TicketNack, NotifyType::AuthenticationFailed] {
        let octets = encode_message(Vec::new(), &header, |chain| chain.plain(kind)).unwrap();
        let path = crate::ike::Path { local: sa.local, remote: sa.remote };
        pair.put(&Flying { to: End::Client, path, octets });
    }
    assert_eq!(pair.sent.len(), sent);
    assert_eq!(sole(&pair, End::Client).children.len(), 1);
}

#[test]
fn a_repeated_request_gets_the_same_answer() {
    let mut pair = orphaned();
    pair.initiate();
    let request = pair.take(End::Gateway);
    pair.put(&request);
    let first = pair.take(End::Client);
    pair.put(&request);

    assert_eq!(pair.take(End::Client), first);
    assert_eq!(pair.gateway.endpoint.counts().half_open, 1);
    pair.put(&first);
    pair.settle();
    assert!(sole(&pair, End::Client).is_resumed);
}

#[test]
fn loss_of_any_message_does_not_keep_a_client_from_coming_back() {
    for lost in 0..4 {
        let mut pair = orphaned();
        pair.fates.insert(lost, crate::testing::pair::Fate::Lost);
        pair.initiate();
        pair.pass(Duration::from_secs(5));

        assert_resumed(&mut pair);
    }
}

// RDM-02
#[test]
fn what_the_client_could_do_before_counts_no_more() {
    let mut plan = plan();
    plan.client.follows_redirects = true;
    let mut pair = plan.build();
    pair.establish();
    assert!(sole(&pair, End::Gateway).follows_redirects);
    let mut plan = self::plan();
    plan.client.follows_redirects = false;
    pair.step(End::Client, Input::Configure(Arc::new(plan.client)));
    elsewhere(&mut pair, member("gw2", &[1]));

    pair.initiate();
    pair.settle();

    assert!(sole(&pair, End::Gateway).is_resumed);
    assert!(!sole(&pair, End::Gateway).follows_redirects);
}

#[test]
fn the_address_is_kept_at_another_member() {
    let mut pair = plan().build();
    // Others were there before, so that it is not the one that everybody gets first.
    pair.gateway.pools.with(|pools| {
        let pool = crate::testing::pair::name("ra4");
        let mut lease = |holder| {
            let (is_ipv6, wanted, takes_over, former) = (false, None, false, None);
            let request = LeaseRequest { pool: &pool, holder, is_ipv6, wanted, takes_over, former };
            pools.lease(&request).unwrap()
        };
        let leases = [lease(b"bob"), lease(b"carol")];
        leases.into_iter().for_each(|lease| pools.release(lease));
    });
    pair.establish();
    let old = sole(&pair, End::Client).addresses;
    assert_eq!(old, [IpAddr::from([10, 99, 0, 3])]);
    elsewhere(&mut pair, member("gw2", &[1]));

    pair.initiate();
    pair.settle();

    assert_eq!(sole(&pair, End::Client).addresses, old);
    assert_resumed(&mut pair);
}

// RDM-01
#[test]
fn a_ticket_at_the_vip_is_answered_with_a_redirect_that_has_its_nonce_and_is_still_good() {
    let mut plan = plan();
    plan.client.follows_redirects = true;
    let mut pair = plan.build();
    pair.establish();
    elsewhere(&mut pair, member("gw2", &[1]));
    pair.step(End::Gateway, redirect::targets(1, &["192.0.2.1"]));
    pair.initiate();
    pair.deliver();
    let answer = Message::decode(&pair.wire[0].octets).unwrap();
    let redirect = answer.payloads.notify(NotifyType::Redirect).unwrap();
    let Ok(NotifyContent::Redirect { nonce: Some(nonce), .. }) = redirect.content() else { panic!() };
    let request = Message::decode(&pair.sent[0].octets).unwrap();
    assert_eq!(nonce.as_slice(), request.payloads.find(PayloadType::Nonce).unwrap().body);
    assert_eq!((answer.header.exchange, answer.header.spi_r), (ExchangeType::IkeSessionResume, None));
    assert_eq!(pair.gateway.endpoint.counts(), crate::ike::CountSnapshot::default());

    // With another nonce it is nobody's answer.
    let octets = encode_message(Vec::new(), &answer.header, |chain| {
        let nonce = Some(crate::ike::wire::Nonce::new(&[7; 32]).unwrap());
        chain.notify(&NotifyContent::Redirect { gateway: "192.0.2.3".parse().unwrap(), nonce })
    });
    let forged = Flying { octets: octets.unwrap(), ..pair.wire[0].clone() };
    pair.put(&forged);
    assert_eq!(exchanges(&pair).len(), 2, "the client waits on");

    // It asks for the way there; the ticket is still good.
    pair.deliver();
    let [.., (_, host)] = &pair.client.asked[..] else { panic!("it asks") };
    assert_eq!(*host, "192.0.2.3".parse().unwrap());
}

#[test]
fn a_connection_that_has_changed_begins_anew() {
    let mut pair = orphaned();
    let mut plan = plan();
    plan.client_profile(|profile| {
        profile.authentication.local_id =
            crate::ike::identity::Claim::Id(crate::ike::identity::parse("bob@example.net").unwrap());
        profile.authentication.local =
            LocalProof::SharedKey(Secret::from(&b"a shared key of some length"[..]));
    });
    pair.step(End::Client, Input::Configure(Arc::new(plan.client)));

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair), ANEW[2..]);
}

#[test]
fn a_second_connect_while_the_session_is_up_does_not_use_its_ticket() {
    let mut pair = up();
    pair.sent.clear();

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair)[..2], [ExchangeType::IkeSaInit; 2]);
}

// test of RFC 9242 §4
#[test]
fn a_session_with_further_key_exchanges_goes_on_without_them_until_it_is_rekeyed() {
    let hybrid = further::HYBRID;
    let mut pair = further::hybrid(plan(), hybrid).build();
    pair.establish();
    let settings = Settings { ike_proposals: vec![hybrid.parse().unwrap()], ..member("gw2", &[1]) };
    elsewhere(&mut pair, settings);

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair), RESUMED);
    for end in ENDS {
        assert_eq!(&*sole(&pair, end).suite, hybrid);
    }
    assert_resumed(&mut pair);
    let followed = exchanges(&pair).contains(&ExchangeType::IkeFollowupKe);
    assert!(followed, "and with them when it is rekeyed");
    // Where nobody has them, the ticket is of no use.
    elsewhere(&mut pair, member("gw3", &[1]));
    pair.initiate();
    pair.settle();
    assert_eq!(failures(&pair.gateway.events), [Failure::NoProposal]);
}
