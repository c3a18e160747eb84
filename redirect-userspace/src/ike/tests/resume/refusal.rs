//! Tickets that are not taken, and what comes of it.

use super::*;

// RES-19, RES-21
#[test]
fn a_ticket_whose_key_was_rotated_away_is_refused_and_the_client_begins_anew() {
    let mut pair = up();
    elsewhere(&mut pair, member("gw2", &[3, 2]));

    pair.initiate();
    pair.settle();

    assert_anew(&pair, Failure::TicketKey);
}

// RES-20
#[test]
fn every_step_of_a_change_of_keys_leaves_every_ticket_good() {
    // Which key made the ticket, and what each member has at that time.
    let steps: [(&[u8], &[u8]); 5] =
        [(&[1], &[1, 2]), (&[1, 2], &[1, 2]), (&[1, 2], &[2, 1]), (&[2, 1], &[1, 2]), (&[2, 1], &[2])];
    for (issuer, other) in steps {
        let mut plan = plan();
        plan.gateway.tickets = Some(Arc::new(sealer("gw1", issuer)));
        let mut pair = plan.build();
        pair.establish();
        elsewhere(&mut pair, member("gw2", other));

        pair.initiate();
        pair.settle();

        assert_eq!(exchanges(&pair), RESUMED, "{issuer:?} at {other:?}");
    }
}

#[test]
fn a_reload_with_other_keys_counts_at_once() {
    let mut pair = up();
    bereaved_client_only(&mut pair);
    pair.step(End::Gateway, Input::Configure(Arc::new(member("gw1", &[2, 1]))));
    pair.initiate();
    pair.settle();
    assert_resumed(&mut pair);
}

// RES-22
// test of RFC 5723 §4.3.1
#[test]
fn a_client_does_not_present_a_ticket_whose_time_is_over() {
    let mut pair = orphaned();
    pair.now = pair.now.after(Duration::from_secs(8 * 3_600));

    pair.initiate();
    pair.settle();

    assert_eq!(exchanges(&pair), ANEW[2..]);
    assert!(!sole(&pair, End::Client).is_resumed);
}

// RES-23
#[test]
fn a_gateway_refuses_a_ticket_whose_time_is_over_by_its_own_clock() {
    let mut pair = orphaned();
    pair.now.wall = UnixTime::from_epoch(pair.now.wall.since_epoch() + Duration::from_secs(8 * 3_600));

    pair.initiate();
    pair.settle();

    assert_anew(&pair, Failure::TicketExpired);
}

#[test]
fn a_ticket_of_another_cluster_is_refused() {
    let mut pair = up();
    let mut settings = member("gw2", &[1]);
    settings.tickets = Some(Arc::new(Sealer::new("gw2", "group2", Some(key(1)), Vec::new())));
    elsewhere(&mut pair, settings);

    pair.initiate();
    pair.settle();

    assert_anew(&pair, Failure::TicketCluster);
}

#[test]
fn a_client_that_has_to_authenticate_itself_anew_is_told_so_by_a_refusal() {
    let mut pair = up();
    let mut settings = member("gw2", &[1]);
    let later = pair.now.after(Duration::from_secs(1)).wall;
    settings.tickets = Some(Arc::new(sealer("gw2", &[1]).with_not_before(later)));
    elsewhere(&mut pair, settings);

    pair.initiate();
    pair.settle();

    assert_anew(&pair, Failure::TicketRevoked);
    // What it has now is of today.
    assert_eq!(pair.gateway.endpoint.counters().tickets_granted, 1);
}

// RES-24, RES-25, RES-26, RES-39
// test of RFC 5723 §9.2
#[test]
fn a_ticket_that_is_none_is_refused_and_nothing_is_kept_of_it() {
    let mut pair = orphaned();
    pair.initiate();
    let request = pair.take(End::Gateway);
    let ticket = notify(&pair, 0, NotifyType::TicketOpaque).unwrap();
    let flipped = |at: usize| {
        let mut ticket = ticket.clone();
        ticket[at] ^= 1;
        ticket
    };
    let long = vec![1; 60_000];
    for (ticket, why) in [
        (flipped(0), Failure::TicketVersion),
        (flipped(1), Failure::TicketCluster),
        (flipped(5), Failure::TicketKey),
        (flipped(9), Failure::TicketForged),
        (flipped(40), Failure::TicketForged),
        (flipped(ticket.len() - 1), Failure::TicketForged),
        (ticket[..ticket.len() - 1].to_vec(), Failure::TicketForged),
        (ticket[..30].to_vec(), Failure::TicketMalformed),
        (vec![9], Failure::TicketMalformed),
        (long, Failure::TicketMalformed),
    ] {
        let before = pair.gateway.endpoint.counters().failures[why.position()];
        pair.put(&with_ticket(&request, &ticket));

        let answer = pair.take(End::Client);
        let message = Message::decode(&answer.octets).unwrap();
        assert!(message.payloads.notify(NotifyType::TicketNack).is_some(), "{why}");
        assert_eq!((message.payloads.iter().count(), message.header.spi_r), (1, None));
        assert_eq!(pair.gateway.endpoint.counters().failures[why.position()], before + 1, "{why}");
        assert_eq!(pair.gateway.endpoint.counts(), crate::ike::CountSnapshot::default());
    }
    // Without a ticket at all it is the same; without a nonce there is nothing to be had.
    let without = |kind: fn(&Payload<'_>) -> bool| changed(&request, |all| all.retain(|it| !kind(it)));
    pair.put(&without(is_ticket));
    let answer = pair.take(End::Client);
    assert!(Message::decode(&answer.octets).unwrap().payloads.notify(NotifyType::TicketNack).is_some());
    pair.put(&without(|it| matches!(it, Payload::Nonce(_))));
    let answer = pair.take(End::Client);
    assert!(Message::decode(&answer.octets).unwrap().payloads.notify(NotifyType::InvalidSyntax).is_some());
    assert_eq!(pair.gateway.endpoint.counts(), crate::ike::CountSnapshot::default());

    // The real one still counts.
    pair.put(&request);
    pair.settle();
    assert!(sole(&pair, End::Client).is_resumed);
}

// RES-27
// test of RFC 5723 §4.3.1
#[test]
fn a_ticket_that_was_used_is_refused_the_second_time() {
    let mut pair = orphaned();
    pair.initiate();
    let request = pair.wire[0].clone();
    pair.settle();
    assert!(sole(&pair, End::Gateway).is_resumed);

    // The same ticket, in another request: as whoever has listened could send it.
    let mut again = changed(&request, |payloads| {
        payloads[0] = Payload::Nonce(crate::ike::wire::Nonce::new(&[7; 32]).unwrap().into_owned());
    });
    again.octets[0] ^= 1;
    pair.put(&again);

    let answer = pair.take(End::Client);
    assert!(Message::decode(&answer.octets).unwrap().payloads.notify(NotifyType::TicketNack).is_some());
    assert_eq!(failures(&pair.gateway.events), [Failure::TicketUsed]);
    assert_eq!(pair.gateway.endpoint.counts().established, 1, "and the SA of its owner stays");
}

#[test]
fn of_two_that_present_the_same_ticket_at_the_same_time_one_gets_an_sa() {
    let mut pair = null_orphan();
    pair.initiate();
    pair.deliver();
    pair.deliver();
    let request = pair.wire[0].clone();
    // Another worker has taken it meanwhile.
    let ticket = notify(&pair, 0, NotifyType::TicketOpaque).unwrap();
    let (id, ticket) = sealer("gw2", &[1]).open(pair.now.wall, &ticket).unwrap();
    let used = UsedTicket { id, expires_at: ticket.expires_at, origin: None };
    pair.step(End::Gateway, Input::TicketUsed(&used));

    pair.put(&request);

    assert_eq!(failures(&pair.gateway.events), [Failure::TicketUsed]);
    let answer = Plain::open(&pair.sent.last().unwrap().octets);
    assert_eq!(answer.notifies(), [NotifyType::AuthenticationFailed]);
}

#[test]
fn another_member_that_was_told_refuses_a_used_ticket() {
    let mut pair = orphaned();
    let ticket = {
        pair.initiate();
        let ticket = notify(&pair, 0, NotifyType::TicketOpaque).unwrap();
        let (id, opened) = sealer("gw2", &[1]).open(pair.now.wall, &ticket).unwrap();
        UsedTicket { id, expires_at: opened.expires_at, origin: Some(opened.origin) }
    };
    pair.step(End::Gateway, Input::TicketUsed(&ticket));

    pair.settle();

    assert_anew(&pair, Failure::TicketUsed);
}

#[test]
fn a_client_that_keeps_its_ticket_after_its_goodbye_is_refused() {
    let mut pair = up();
    let delete = {
        pair.command(End::Client, Command::Clear(Selection::All));
        pair.take(End::Gateway)
    };
    // As if the client had crashed right after the word, and remembered its ticket.
    let mut other = up();
    other.put(&delete);
    other.wire.clear();
    bereaved_client_only(&mut other);
    other.initiate();
    other.settle();

    assert_anew(&other, Failure::TicketUsed);
}

// RES-35
#[test]
fn a_profile_that_does_not_resume_sessions_or_is_for_others_refuses_the_ticket() {
    let not_here: fn(&mut Plan) = |plan| plan.gateway_profile(|profile| profile.resumes = false);
    let others: fn(&mut Plan) = |plan| {
        plan.gateway_profile(|profile| {
            profile.authentication.remote_ids = vec![crate::ike::identity::parse_pattern("bob").unwrap()];
        });
    };
    let otherwise: fn(&mut Plan) = |plan| {
        plan.gateway_profile(|profile| {
            let store = crate::crypto::x509::TrustStore::new(crate::crypto::x509::Revocation::Relaxed);
            profile.authentication.remote = RemoteProof::Certificate(Arc::new(store));
        });
    };
    let renamed: fn(&mut Plan) = |plan| {
        plan.gateway_profile(|profile| profile.name = crate::testing::pair::name("other"));
    };
    for change in [not_here, others, otherwise, renamed] {
        let mut pair = up();
        let mut plan = plan();
        plan.gateway.tickets = Some(Arc::new(sealer("gw2", &[1])));
        change(&mut plan);
        elsewhere(&mut pair, plan.gateway);

        pair.initiate();
        pair.settle();

        assert!(failures(&pair.gateway.events).contains(&Failure::NoProfile));
        assert!(pair.sas(End::Gateway).iter().all(|sa| !sa.is_resumed));
    }
}

#[test]
fn algorithms_that_are_not_wanted_any_more_are_not_brought_back() {
    let mut pair = up();
    let mut settings = member("gw2", &[1]);
    settings.ike_proposals = vec!["aes256gcm16-prfsha384-x25519".parse().unwrap()];
    elsewhere(&mut pair, settings);

    pair.initiate();
    pair.settle();

    assert_eq!(failures(&pair.gateway.events)[0], Failure::NoProposal);
    assert!(notify(&pair, 1, NotifyType::TicketNack).is_some());
}

// RES-37
#[test]
fn a_forged_refusal_costs_a_full_exchange_and_nothing_else() {
    let mut pair = orphaned();
    pair.initiate();
    let request = pair.take(End::Gateway);
    let header = Header {
        direction: Direction::Response,
        sender: OriginalRole::Responder,
        ..Message::decode(&request.octets).unwrap().header
    };
    let octets = encode_message(Vec::new(), &header, |chain| chain.plain(NotifyType::TicketNack)).unwrap();
    let path = crate::ike::Path { local: request.path.remote, remote: request.path.local };
    pair.put(&Flying { to: End::Client, path, octets });
    // The answer to the real one comes too late.
    pair.put(&request);
    pair.settle();

    pair.assert_in_step();
    let sas = pair.sas(End::Client);
    assert_eq!(sas.len(), 1);
    assert!(!sas[0].is_resumed && sas[0].children.len() == 1);
    assert_eq!(pair.client.endpoint.counters().discards[Discard::UnexpectedExchange.position()], 1);
}

// RES-40
#[test]
fn a_gateway_without_keys_refuses_every_ticket_and_the_client_begins_anew() {
    let mut pair = up();
    let mut settings = member("gw2", &[1]);
    settings.tickets = None;
    elsewhere(&mut pair, settings);

    pair.initiate();
    pair.settle();

    assert_anew(&pair, Failure::TicketsOff);
}

// RES-41
// test of RFC 5723 §9.3
#[test]
fn a_flood_of_tickets_leaves_nothing_behind_and_is_told_now_and_then() {
    let mut pair = orphaned();
    pair.initiate();
    let request = pair.take(End::Gateway);
    pair.events(End::Gateway);
    for number in 0..2_000_u32 {
        let mut flood = with_ticket(&request, &[&[1; 60][..], &number.to_be_bytes()].concat());
        flood.octets[..4].copy_from_slice(&number.to_be_bytes());
        pair.put(&flood);
        pair.wire.clear();
    }

    assert_eq!(pair.gateway.endpoint.counts(), crate::ike::CountSnapshot::default());
    assert_eq!(pair.events(End::Gateway).len(), 1);
    assert_eq!(pair.gateway.endpoint.counters().resume_requests, 2_000);
}

#[test]
fn good_tickets_that_nobody_goes_on_with_meet_the_limits_of_half_open_sas() {
    let mut settings = member("gw2", &[1]);
    settings.limits.half_open_per_source = 4;
    let mut pair = up();
    elsewhere(&mut pair, settings);
    pair.initiate();
    let request = pair.take(End::Gateway);
    for number in 0..100_u32 {
        let mut again = request.clone();
        again.octets[..4].copy_from_slice(&number.to_be_bytes());
        pair.put(&again);
    }

    assert_eq!(pair.gateway.endpoint.counts().half_open, 2, "the others are asked for a cookie");
    assert_eq!(pair.gateway.endpoint.counters().cookies, 98);
}
