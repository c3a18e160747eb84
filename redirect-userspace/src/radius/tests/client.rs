//! Conversations in virtual time: servers that answer, that do not, and others that want to.

use super::*;
use crate::radius::event::{DeathCause, Discard, Outcome, Role, ServerState, Tally};

fn counted(rig: &Rig, outcome: Outcome) -> u64 {
    rig.client.counters().outcomes[outcome.position()]
}

fn dropped(rig: &Rig, discard: Discard) -> u64 {
    rig.client.counters().discards[discard.position()]
}

fn states(rig: &Rig) -> Vec<ServerState> {
    rig.client.snapshot(rig.now).iter().map(|server| server.state).collect()
}

#[test]
fn a_conversation_goes_to_and_fro_until_the_client_may_come_in() {
    let mut rig = Rig::new(&[server(1), server(2)]);

    let first = rig.ask(5).only_sent();
    assert_eq!((first.server, first.value(Kind::STATE)), (server(1).address, None));
    assert_eq!(first.value(Kind::EAP_MESSAGE).unwrap(), RESPONSE);
    assert_eq!(
        rig.hear(first.socket, &challenge(&first)).only_verdict(),
        Verdict::Challenge(REQUEST.to_vec())
    );
    let second = rig.ask(5).only_sent();
    assert_eq!(second.value(Kind::STATE).unwrap(), b"state");
    assert_ne!(second.packet().authenticator, first.packet().authenticator);
    let Verdict::Accept { packet, msk: None, grants } =
        rig.hear(second.socket, &accept(&second)).only_verdict()
    else {
        panic!("not accepted")
    };

    assert_eq!((packet, grants), (SUCCESS.to_vec(), crate::radius::Grants::default()));
    assert_eq!((counted(&rig, Outcome::Challenged), counted(&rig, Outcome::Accepted)), (1, 1));
    assert_eq!(rig.client.deadline(), None);
}

#[test]
fn a_rejection_ends_the_conversation_and_its_message_is_told() {
    let mut rig = Rig::new(&[server(1)]);
    let first = rig.ask(5).only_sent();
    let no = answer(3, &first, &[(18, b"account locked"), (79, FAILURE)], WELL);

    assert_eq!(rig.hear(first.socket, &no).only_verdict(), Verdict::Reject { packet: FAILURE.to_vec() });

    let said = Event::Said { is_accepted: false, detail: "alice: account locked".into(), count: 1 };
    assert_eq!(rig.events, [said]);
}

#[test]
fn a_packet_is_repeated_as_it_is_ever_more_slowly() {
    let mut rig = Rig::new(&[server(1)]);
    let first = rig.ask(5).only_sent();
    let mut times = vec![rig.now.mono];
    for _ in 0..2 {
        assert_eq!(rig.wait_for_something().only_sent(), first);
        times.push(rig.now.mono);
    }

    assert_eq!(rig.wait_for_something().only_verdict(), Verdict::Unreachable);

    times.push(rig.now.mono);
    for (pair, nominal) in times.windows(2).zip([1_000, 2_000, 4_000]) {
        let waited = pair[1].since(pair[0]).as_millis();
        assert!((nominal * 9 / 10..=nominal * 11 / 10).contains(&waited), "{waited} for {nominal}");
    }
    assert_eq!(rig.client.counters().retransmissions, 2);
}

#[test]
fn before_its_first_challenge_a_conversation_goes_on_with_the_next_server() {
    let mut rig = Rig::new(&[server(1), server(2)]);

    let second = rig.bury_first();

    assert_eq!(second.server, server(2).address);
    assert_eq!(states(&rig), [ServerState::Dead, ServerState::Up]);
    let dead = Event::ServerDead {
        server: server(1).address,
        role: Role::Authentication,
        cause: DeathCause::Unanswered,
        dead_time: Duration::from_secs(60),
    };
    assert_eq!(rig.events, [dead]);
    assert!(matches!(rig.hear(second.socket, &accept(&second)).only_verdict(), Verdict::Accept { .. }));
    // The next one is not kept waiting.
    assert_eq!(rig.ask(6).only_sent().server, server(2).address);
}

#[test]
fn a_server_that_dies_in_mid_exchange_ends_the_conversation_and_the_next_one_is_with_another() {
    let mut rig = Rig::new(&[server(1), server(2)]);
    let first = rig.ask(5).only_sent();
    rig.hear(first.socket, &challenge(&first));
    let second = rig.ask(5).only_sent();
    for _ in 0..2 {
        assert_eq!(rig.wait_for_something().only_sent(), second);
    }

    assert_eq!(rig.wait_for_something().only_verdict(), Verdict::Unreachable);

    // The client begins again.
    let again = rig.ask(5).only_sent();
    assert_eq!((again.server, again.value(Kind::STATE)), (server(2).address, None));
}

#[test]
fn when_all_servers_are_dead_they_are_asked_all_the_same_one_after_the_other() {
    let mut rig = Rig::new(&[server(1), server(2)]);
    rig.bury_first();
    for _ in 0..2 {
        rig.wait_for_something().only_sent();
    }
    assert_eq!(rig.wait_for_something().only_verdict(), Verdict::Unreachable);
    assert_eq!(states(&rig), [ServerState::Dead, ServerState::Dead]);

    let sent = rig.ask(6).only_sent();
    assert_eq!(sent.server, server(1).address);
    assert!(matches!(rig.hear(sent.socket, &accept(&sent)).only_verdict(), Verdict::Accept { .. }));
    assert_eq!(states(&rig), [ServerState::Up, ServerState::Dead]);
    assert!(matches!(rig.events.last(), Some(Event::ServerBack { .. })));
}

#[test]
fn a_dead_server_is_asked_whether_it_is_back_and_gets_clients_again_when_it_says_so() {
    let mut rig = Rig::new(&[server(1), server(2)]);
    let other = rig.bury_first();
    rig.hear(other.socket, &accept(&other));
    let dead_at = rig.now.mono;

    let probe = rig.wait_for_something().only_sent();
    assert_eq!(rig.now.mono.since(dead_at), Duration::from_secs(60));
    assert_eq!((probe.server, probe.packet().code), (server(1).address, Code::StatusServer));
    assert_eq!(rig.ask(6).only_sent().server, server(2).address);
    // RFC 5997 §3: such an answer need not be signed by more than its authenticator.
    let bare = Making { has_message_authenticator: false, ..WELL };
    rig.hear(probe.socket, &answer(2, &probe, &[], bare)).nothing();

    assert_eq!(states(&rig), [ServerState::Up, ServerState::Up]);
    let back = Event::ServerBack {
        server: server(1).address,
        role: Role::Authentication,
        after: Duration::from_secs(60),
    };
    assert_eq!(rig.events.last(), Some(&back));
    assert_eq!(rig.ask(7).only_sent().server, server(1).address);
}

#[test]
fn a_server_that_knows_no_probes_is_tried_with_one_request() {
    let mut rig = Rig::new(&[server(1), server(2)]);
    let other = rig.bury_first();
    rig.hear(other.socket, &accept(&other));
    for _ in 0..3 {
        assert_eq!(rig.wait_for_something().only_sent().packet().code, Code::StatusServer);
    }
    rig.wait();

    let trial = rig.ask(6).only_sent();
    assert_eq!(trial.server, server(1).address);
    assert_eq!(rig.ask(7).only_sent().server, server(2).address);
    rig.hear(trial.socket, &accept(&trial));
    assert_eq!(states(&rig), [ServerState::Up, ServerState::Up]);
}

#[test]
fn a_trial_that_nobody_waits_for_any_longer_does_not_leave_a_server_out_for_ever() {
    let mut rig = Rig::new(&[Server { is_probed: false, ..server(1) }, server(2)]);
    let other = rig.bury_first();
    rig.hear(other.socket, &accept(&other));
    rig.wait();
    assert_eq!(rig.ask(6).only_sent().server, server(1).address);
    rig.step(Input::Abandon(6)).nothing();

    rig.wait();

    assert_eq!(rig.ask(7).only_sent().server, server(1).address);
}

#[test]
fn a_server_that_answers_others_is_not_dead_because_some_packets_are_lost() {
    let mut rig = Rig::new(&[server(1), server(2)]);
    for lost in 0..8 {
        rig.ask(lost).only_sent();
    }
    for number in 0..20 {
        rig.pass(Duration::from_millis(300));
        rig.step(Input::Timeout);
        let answered = rig.ask(100 + number).only_sent();
        assert_eq!(answered.server, server(1).address);
        rig.hear(answered.socket, &accept(&answered));
    }

    assert_eq!(states(&rig), [ServerState::Up, ServerState::Up]);
}

#[test]
fn a_port_that_nobody_listens_at_sends_requests_on_at_once() {
    let mut rig = Rig::new(&[server(1), server(2)]);
    let first = rig.ask(5).only_sent();

    let second = rig.step(Input::Refused(first.socket)).only_sent();
    assert_eq!(second.server, server(2).address);
    // A late answer of the first one is no answer any more.
    rig.hear(first.socket, &accept(&first)).nothing();
    assert_eq!(dropped(&rig, Discard::NoRequest), 1);
    // One that is bound, or has nowhere to go, waits: it may be a restart.
    rig.hear(second.socket, &challenge(&second));
    let bound = rig.ask(5).only_sent();
    rig.step(Input::Refused(bound.socket)).nothing();
    assert!(matches!(rig.hear(bound.socket, &accept(&bound)).only_verdict(), Verdict::Accept { .. }));
}

#[test]
fn what_is_not_authentic_changes_nothing_but_a_counter() {
    let mut rig = Rig::new(&[server(1)]);
    let sent = rig.ask(5).only_sent();
    let good = accept(&sent);
    let success: &[(u8, &[u8])] = &[(79, SUCCESS)];
    let mut other_identifier = sent.clone();
    other_identifier.octets[1] ^= 1;
    let mut other_request = sent.clone();
    other_request.octets[4] ^= 1;

    for (octets, discard) in [
        (good[..good.len() - 1].to_vec(), Discard::Malformed),
        (Vec::new(), Discard::Malformed),
        (accept(&other_identifier), Discard::NoRequest),
        (accept(&other_request), Discard::WrongAuthenticator),
        (answer(2, &sent, success, Making { secret: b"guess", ..WELL }), Discard::WrongAuthenticator),
        (
            answer(2, &sent, success, Making { has_message_authenticator: false, ..WELL }),
            Discard::NoMessageAuthenticator,
        ),
        (
            answer(3, &sent, &[(79, FAILURE)], Making { breaks_message_authenticator: true, ..WELL }),
            Discard::WrongMessageAuthenticator,
        ),
        (answer(5, &sent, &[], WELL), Discard::UnexpectedCode),
        (answer(1, &sent, success, WELL), Discard::UnexpectedCode),
    ] {
        let before = dropped(&rig, discard);
        rig.hear(sent.socket, &octets).nothing();
        assert_eq!(dropped(&rig, discard), before + 1, "{discard}");
    }

    assert!(matches!(rig.hear(sent.socket, &good).only_verdict(), Verdict::Accept { .. }));
    // The same once more is nothing new.
    rig.hear(sent.socket, &good).nothing();
    // Nor is a socket that there is not.
    rig.hear(SocketId(99), &good).nothing();
}

#[test]
fn an_answer_to_an_earlier_question_of_the_conversation_is_none_to_the_next() {
    let mut rig = Rig::new(&[server(1)]);
    let first = rig.ask(5).only_sent();
    let old = challenge(&first);
    rig.hear(first.socket, &old);
    let second = rig.ask(5).only_sent();

    rig.hear(first.socket, &old).nothing();
    let mut replayed = old;
    replayed[1] = second.octets[1];
    rig.hear(second.socket, &replayed).nothing();

    assert_eq!((dropped(&rig, Discard::NoRequest), dropped(&rig, Discard::WrongAuthenticator)), (1, 1));
}

#[test]
fn a_server_whose_answers_are_not_authentic_is_dead_for_that_reason() {
    let mut rig = Rig::new(&[server(1)]);
    let sent = rig.ask(5).only_sent();
    rig.hear(sent.socket, &answer(2, &sent, &[(79, SUCCESS)], Making { secret: b"other", ..WELL })).nothing();
    while rig.wait_for_something().verdicts.is_empty() {}

    let cause = rig
        .events
        .iter()
        .find_map(|event| if let Event::ServerDead { cause, .. } = event { Some(*cause) } else { None });
    assert_eq!(cause, Some(DeathCause::NotAuthentic));
}

#[test]
fn an_authentic_answer_that_cannot_be_is_a_refusal_and_the_server_lives() {
    let mut rig = Rig::new(&[server(1)]);
    let sent = rig.ask(5).only_sent();
    let odd = answer(2, &sent, &[(8, &[1, 2, 3]), (79, SUCCESS)], WELL);

    assert_eq!(rig.hear(sent.socket, &odd).only_verdict(), Verdict::Reject { packet: Vec::new() });

    assert_eq!((counted(&rig, Outcome::BadAnswer), states(&rig)), (1, vec![ServerState::Up]));
}

#[test]
fn when_the_identifiers_of_all_sockets_are_used_up_requests_wait_and_then_are_refused() {
    let mut rig = Rig::new(&[server(1)]);
    let mut sent = Vec::new();
    for number in 0..2_048 {
        sent.push(rig.ask(number).only_sent());
    }
    assert_eq!(rig.sockets.len(), 8);
    let places: std::collections::BTreeSet<_> =
        sent.iter().map(|sent| (sent.socket, sent.octets[1])).collect();
    assert_eq!(places.len(), 2_048);
    for number in 0..4_096 {
        rig.ask(10_000 + number).nothing();
    }
    assert_eq!(rig.ask(20_000).only_verdict(), Verdict::Unreachable);
    assert_eq!(counted(&rig, Outcome::Overflow), 1);

    // The first that waits gets the place of one that is answered, or abandoned.
    let came = rig.hear(sent[7].socket, &accept(&sent[7]));
    assert_eq!((came.verdicts[0].0, came.sent.len()), (7, 1));
    assert_eq!(came.sent[0].octets[1], sent[7].octets[1]);
    assert_eq!(rig.step(Input::Abandon(8)).sent.len(), 1);
    rig.step(Input::Abandon(10_002)).nothing();
}

#[test]
fn a_conversation_that_is_abandoned_is_asked_for_no_more() {
    let mut rig = Rig::new(&[server(1)]);
    let sent = rig.ask(5).only_sent();

    rig.step(Input::Abandon(5)).nothing();
    rig.step(Input::Abandon(5)).nothing();

    assert_eq!(rig.client.deadline(), None);
    rig.hear(sent.socket, &accept(&sent)).nothing();
    assert_eq!(counted(&rig, Outcome::Abandoned), 1);
}

#[test]
fn a_conversation_that_nobody_goes_on_with_is_forgotten() {
    let mut rig = Rig::new(&[server(1)]);
    let first = rig.ask(5).only_sent();
    rig.hear(first.socket, &challenge(&first));

    rig.wait().nothing();

    assert_eq!(rig.client.deadline(), None);
    assert_eq!(rig.ask(5).only_sent().value(Kind::STATE), None);
}

#[test]
fn a_question_before_the_last_one_is_answered_takes_its_place() {
    let mut rig = Rig::new(&[server(1)]);
    let first = rig.ask(5).only_sent();
    let second = rig.ask(5).only_sent();

    rig.hear(first.socket, &accept(&first)).nothing();
    assert!(matches!(rig.hear(second.socket, &accept(&second)).only_verdict(), Verdict::Accept { .. }));
}

#[test]
fn without_servers_or_room_the_answer_comes_at_once() {
    let mut rig = Rig::new(&[]);
    assert_eq!(rig.ask(5).only_verdict(), Verdict::Unreachable);
    assert_eq!(counted(&rig, Outcome::NoServer), 1);

    let mut rig = Rig::new(&[server(1)]);
    let long = rig.step(Input::Ask(question(5, &[0; 4_096])));
    assert_eq!(long.only_verdict(), Verdict::Unreachable);
    assert_eq!(counted(&rig, Outcome::TooLong), 1);
}

#[test]
fn with_other_servers_conversations_go_on_where_they_can() {
    let mut rig = Rig::new(&[server(1), server(2)]);
    let free = rig.ask(5).only_sent();
    let bound = rig.ask(6).only_sent();
    rig.hear(bound.socket, &challenge(&bound));
    let bound = rig.ask(6).only_sent();
    assert_eq!((free.server, bound.server), (server(1).address, server(1).address));

    let settings = Settings { authentication: vec![server(3), server(2)], ..Settings::default() };
    let came = rig.step(Input::Configure(Arc::new(settings)));

    assert_eq!(came.verdicts, [(6, Verdict::Unreachable)]);
    assert_eq!((came.sent.len(), came.sent[0].server, rig.closed), (1, server(3).address, 1));
    // What has stayed is as it was.
    let same = Settings { authentication: vec![server(3), server(2)], ..Settings::default() };
    rig.step(Input::Configure(Arc::new(same))).nothing();
    assert!(matches!(
        rig.hear(came.sent[0].socket, &accept(&came.sent[0])).only_verdict(),
        Verdict::Accept { .. }
    ));
}

#[test]
fn a_flood_of_bad_datagrams_is_told_of_now_and_then() {
    let mut rig = Rig::new(&[server(1)]);
    let sent = rig.ask(5).only_sent();
    let forged = answer(2, &sent, &[(79, SUCCESS)], Making { secret: b"other", ..WELL });
    for _ in 0..1_000 {
        rig.hear(sent.socket, &forged).nothing();
    }

    assert_eq!(rig.events.len(), 1);
    let told = |rig: &Rig| {
        let counts = rig
            .events
            .iter()
            .filter_map(|event| if let Event::Discarded { count, .. } = event { Some(*count) } else { None });
        counts.collect::<Vec<_>>()
    };
    while told(&rig).len() < 2 {
        rig.wait();
    }
    assert_eq!(told(&rig), [1, 999]);
}

#[test]
fn what_comes_of_the_requests_to_a_server_is_counted() {
    let mut rig = Rig::new(&[server(1), server(2)]);
    let first = rig.ask(5).only_sent();
    rig.pass(Duration::from_millis(80));
    rig.hear(first.socket, &challenge(&first));
    let quick = rig.ask(5).only_sent();
    rig.hear(quick.socket, &challenge(&quick));
    // An answer to a packet that was repeated says nothing about time.
    let slow = rig.ask(5).only_sent();
    rig.wait_for_something().only_sent();
    rig.hear(slow.socket, &answer(2, &slow, &[(79, SUCCESS)], Making { secret: b"other", ..WELL })).nothing();
    rig.hear(slow.socket, &accept(&slow));

    let [one, two] = &rig.client.snapshot(rig.now)[..] else { panic!("two servers") };
    let tally = Tally {
        requests: 3,
        retransmissions: 1,
        answered: 3,
        unanswered: 1,
        discarded: 1,
        round_trip: Some(Duration::from_millis(70)),
    };
    assert_eq!((one.tally, two.tally), (tally, Tally::default()));
}
