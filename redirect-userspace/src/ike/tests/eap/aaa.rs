//! The gateway, where a server knows the users.

use super::*;
use crate::ike::{
    AaaAnswer, AaaRequest, AaaVerdict, AccountStage, CloseReason, Conversation, Grants, Input, Selection,
};
use crate::testing::pair::Fate;

/// A gateway that asks a server.
fn asking(asks_identity: bool, credentials: Credentials) -> Plan {
    with(Gate { by: By::Aaa, asks_identity, redirects_first: false, stands_alone: true }, credentials)
}

/// A client with a method of two rounds, that both sides of the test know.
fn toys() -> Plan {
    asking(true, by(Toy::server(2).client(), false))
}

fn question(pair: &mut Pair) -> AaaRequest {
    pair.settle();
    assert_eq!(pair.gateway.questions.len(), 1, "{:?}", pair.gateway.events);
    pair.gateway.questions.remove(0)
}

fn answer(pair: &mut Pair, question: &AaaRequest, verdict: AaaVerdict) {
    let (conversation, round) = (question.conversation, question.round);
    pair.step(End::Gateway, Input::Aaa(Box::new(AaaAnswer { conversation, round, verdict })));
    pair.settle();
}

fn challenge(question: &AaaRequest) -> AaaVerdict {
    let id = question.packet[1].wrapping_add(1);
    AaaVerdict::Challenge(packet::request(id, EapType::Tls, &[1]).unwrap())
}

fn accept(question: &AaaRequest, grants: Grants) -> AaaVerdict {
    let packet = packet::success(question.packet[1]);
    AaaVerdict::Accept { packet, msk: Msk::new(&[7; 64]), grants }
}

/// The client is up, by the grace of a server.
fn granted(plan: Plan, grants: Grants) -> Pair {
    let mut pair = plan.build();
    pair.initiate();
    for _ in 0..2 {
        let asked = question(&mut pair);
        let verdict = challenge(&asked);
        answer(&mut pair, &asked, verdict);
    }
    let asked = question(&mut pair);
    let verdict = accept(&asked, grants);
    answer(&mut pair, &asked, verdict);
    pair
}

#[test]
fn packets_are_handed_on_as_they_are_and_the_key_of_the_server_is_that_of_auth() {
    let mut pair = toys().build();
    pair.initiate();

    let first = question(&mut pair);
    assert_eq!((first.round, &*first.user, &*first.profile.to_string()), (1, "alice", "test"));
    let identity = Eap::decode(&first.packet).unwrap();
    assert_eq!(
        (identity.code, identity.kind, identity.data()),
        (EapCode::Response, Some(EapType::Identity), &b"alice"[..])
    );
    let verdict = challenge(&first);
    answer(&mut pair, &first, verdict);
    let second = question(&mut pair);
    assert_eq!(
        (second.round, second.conversation, second.session == first.session),
        (2, first.conversation, true)
    );
    assert_eq!(second.packet, packet::response(first.packet[1].wrapping_add(1), EapType::Tls, &[0]).unwrap());
    let verdict = challenge(&second);
    answer(&mut pair, &second, verdict);
    let third = question(&mut pair);
    let verdict = accept(&third, Grants::default());
    answer(&mut pair, &third, verdict);

    assert_eq!(&*sole(&pair, End::Gateway).remote_id, "alice");
    assert!(pair.gateway.abandoned.is_empty());
    assert_one_of_each(&mut pair, "by a server");
}

#[test]
fn a_client_that_has_said_who_it_is_is_not_asked_again_and_the_server_hears_it_all_the_same() {
    let mut pair = asking(false, by(Toy::server(2).client(), false)).build();
    pair.initiate();

    let first = question(&mut pair);

    assert_eq!(said(&pair, End::Gateway), [], "nothing is answered before the server has");
    let identity = Eap::decode(&first.packet).unwrap();
    assert_eq!((identity.kind, identity.data()), (Some(EapType::Identity), &b"alice"[..]));
    let verdict = challenge(&first);
    answer(&mut pair, &first, verdict);
    let sent = pair.sent.iter().rfind(|flying| flying.to == End::Client).unwrap();
    assert_eq!(Plain::open(&sent.octets).kinds(), [PayloadType::IdR, PayloadType::Auth, PayloadType::Eap]);
}

#[test]
fn repetitions_are_not_answered_while_a_server_is_asked_and_nobody_is_asked_twice() {
    let mut pair = toys().build();
    pair.initiate();
    let asked = question(&mut pair);
    let sent = pair.sent.len();

    for _ in 0..3 {
        pair.pass(Duration::from_secs(4));
    }

    assert!(pair.sent.len() > sent, "the client repeats its request");
    assert!(pair.sent[sent..].iter().all(|flying| flying.to == End::Gateway));
    assert!(pair.gateway.questions.is_empty());
    let verdict = challenge(&asked);
    answer(&mut pair, &asked, verdict);
    assert_eq!(pair.gateway.questions.len(), 1);
}

/// Plays the server while time passes: two challenges, then it accepts.
fn serve(pair: &mut Pair) {
    for _ in 0..300 {
        pair.pass(Duration::from_secs(1));
        let Some(asked) = pair.gateway.questions.pop() else { continue };
        assert!(pair.gateway.questions.is_empty(), "one question at a time");
        let verdict = if asked.round <= 2 { challenge(&asked) } else { accept(&asked, Grants::default()) };
        let (conversation, round) = (asked.conversation, asked.round);
        pair.step(End::Gateway, Input::Aaa(Box::new(AaaAnswer { conversation, round, verdict })));
    }
}

#[test]
fn whatever_is_lost_doubled_or_late_the_server_is_asked_once_for_each_packet() {
    let datagrams = {
        let mut pair = toys().build();
        pair.initiate();
        serve(&mut pair);
        pair.sent.len()
    };
    assert!(datagrams >= 12, "{datagrams}");
    for fate in [Fate::Lost, Fate::Doubled, Fate::Late] {
        for number in 0..=datagrams {
            let what = format!("{fate:?} {number}");
            let mut pair = toys().build();
            pair.fates.insert(number, fate);
            pair.initiate();
            serve(&mut pair);
            pair.fates.clear();
            assert_eq!(pair.gateway.abandoned, [], "{what}");
            assert_one_of_each(&mut pair, &what);
        }
    }
}

#[test]
fn the_end_of_the_daemon_is_the_end_of_every_session() {
    let mut pair = granted(toys(), Grants::default());

    pair.command(End::Gateway, Command::Shutdown);

    let stages: Vec<_> = pair.gateway.accounts.iter().map(|account| account.stage).collect();
    assert_eq!(stages, [AccountStage::Start, AccountStage::Stop(CloseReason::Shutdown)]);
}

#[test]
fn a_user_that_comes_anew_ends_the_session_that_it_had() {
    let mut pair = granted(toys(), Grants::default());
    pair.client = Plan { seed: 9, ..toys() }.build().client;
    pair.initiate();
    serve(&mut pair);

    let accounts = &pair.gateway.accounts;
    let stages: Vec<_> = accounts.iter().map(|account| account.stage).collect();
    use AccountStage::{Start, Stop};
    assert_eq!(stages, [Start, Start, Stop(CloseReason::Superseded)]);
    assert!(accounts[0].session == accounts[2].session && accounts[0].session != accounts[1].session);
}

#[test]
fn an_answer_that_is_late_comes_twice_or_is_for_nobody_changes_nothing() {
    let mut pair = toys().build();
    pair.initiate();
    let first = question(&mut pair);
    let verdict = challenge(&first);
    answer(&mut pair, &first, verdict);
    let second = question(&mut pair);

    // Twice, to a question that is not asked yet, and to nobody's.
    let verdict = accept(&first, Grants::default());
    answer(&mut pair, &first, verdict);
    let other = AaaRequest { round: 9, ..second.clone() };
    let verdict = accept(&second, Grants::default());
    answer(&mut pair, &other, verdict);
    let other = AaaRequest { conversation: Conversation::of(4711), ..second.clone() };
    answer(&mut pair, &other, AaaVerdict::Unreachable);

    assert_eq!(pair.gateway.endpoint.counts().established, 0);
    let verdict = challenge(&second);
    answer(&mut pair, &second, verdict);
    let third = question(&mut pair);
    let verdict = accept(&third, Grants::default());
    answer(&mut pair, &third, verdict);
    let verdict = AaaVerdict::Reject { packet: None };
    answer(&mut pair, &third, verdict);
    assert_one_of_each(&mut pair, "it goes on");
}

#[test]
fn a_rejection_is_told_in_the_words_of_the_server_or_in_ours() {
    for packet in [Some(packet::failure(7)), None, Some(vec![1, 2]), Some(packet::success(7))] {
        let mut pair = toys().build();
        pair.initiate();
        let asked = question(&mut pair);

        answer(&mut pair, &asked, AaaVerdict::Reject { packet: packet.clone() });

        assert_eq!(failures(&pair.events(End::Gateway)), [Failure::Eap], "{packet:?}");
        let theirs = if packet == Some(packet::failure(7)) { Failure::Eap } else { Failure::PeerRefused };
        assert_eq!(failures(&pair.events(End::Client)), [theirs], "{packet:?}");
        assert!(pair.gateway.abandoned.is_empty());
        assert_nothing(&mut pair, "rejected");
    }
}

#[test]
fn without_a_server_nobody_gets_in() {
    let mut pair = toys().build();
    pair.initiate();
    let asked = question(&mut pair);

    answer(&mut pair, &asked, AaaVerdict::Unreachable);

    assert_eq!(failures(&pair.events(End::Gateway)), [Failure::AaaUnreachable]);
    assert_nothing(&mut pair, "unreachable");
}

#[test]
fn a_server_that_answers_with_something_else_lets_nobody_in() {
    let wrong: [fn(&AaaRequest) -> AaaVerdict; 5] = [
        |_| AaaVerdict::Challenge(vec![]),
        |_| AaaVerdict::Challenge(packet::success(1)),
        |_| AaaVerdict::Challenge(packet::response(1, EapType::Tls, &[]).unwrap()),
        |_| AaaVerdict::Accept { packet: vec![3], msk: None, grants: Grants::default() },
        |_| AaaVerdict::Accept { packet: packet::failure(1), msk: None, grants: Grants::default() },
    ];
    for (number, verdict) in wrong.iter().enumerate() {
        let mut pair = toys().build();
        pair.initiate();
        let asked = question(&mut pair);

        answer(&mut pair, &asked, verdict(&asked));

        assert_eq!(failures(&pair.events(End::Gateway)), [Failure::AaaUnreachable], "{number}");
        assert_nothing(&mut pair, "something else");
    }
}

#[test]
fn a_server_that_does_not_answer_in_time_is_told_so() {
    let mut pair = toys().build();
    pair.initiate();
    let asked = question(&mut pair);

    pair.pass(Duration::from_secs(31));

    assert_eq!(pair.gateway.abandoned, [asked.conversation]);
    assert_eq!(failures(&pair.events(End::Gateway)), [Failure::AaaUnreachable]);
    let verdict = accept(&asked, Grants::default());
    answer(&mut pair, &asked, verdict);
    assert_eq!(pair.gateway.endpoint.counts().established, 0);
}

#[test]
fn a_conversation_is_given_up_when_its_client_is() {
    // While the client is to answer a challenge, and when it answers with something else.
    let mut pair = toys().build();
    pair.initiate();
    let asked = question(&mut pair);
    let (conversation, round, verdict) = (asked.conversation, asked.round, challenge(&asked));
    pair.step(End::Gateway, Input::Aaa(Box::new(AaaAnswer { conversation, round, verdict })));
    pair.deliver();
    replace(&mut pair, End::Gateway, |eap| packet::success(eap.identifier));
    pair.settle();
    assert_eq!(pair.gateway.abandoned, [conversation]);
    assert_eq!(failures(&pair.events(End::Gateway)), [Failure::Eap]);

    // When an operator clears everything.
    let mut pair = toys().build();
    pair.initiate();
    let asked = question(&mut pair);
    pair.command(End::Gateway, Command::Clear(Selection::All));
    assert_eq!(pair.gateway.abandoned, [asked.conversation]);
}

#[test]
fn a_client_that_leaves_because_the_server_has_told_it_why_is_refused_for_that_reason() {
    let maker = Arc::new(Password(NtHash::new("wrong").unwrap()));
    let credentials = Credentials { identity: "alice".into(), maker, stands_alone: false };
    let mut pair = asking(true, credentials).build();
    pair.initiate();
    let asked = question(&mut pair);
    let id = asked.packet[1].wrapping_add(1);
    let failure = b"E=691 R=0 C=00112233445566778899aabbccddeeff V=3 M=no";
    let mut said = vec![4, 7, 0, u8::try_from(4 + failure.len()).unwrap()];
    said.extend_from_slice(failure);

    let verdict = AaaVerdict::Challenge(packet::request(id, EapType::MschapV2, &said).unwrap());
    answer(&mut pair, &asked, verdict);
    // Whether it goes at once or says nothing more.
    pair.pass(Duration::from_secs(31));

    assert_eq!(pair.gateway.abandoned, [asked.conversation]);
    assert_eq!(failures(&pair.events(End::Gateway)), [Failure::Eap]);
    assert_nothing(&mut pair, "told so");
}

#[test]
fn a_wrong_number_or_a_strange_identity_does_not_reach_the_server() {
    for packet in [
        |eap: &Eap<'_>| packet::response(eap.identifier ^ 1, EapType::Identity, b"alice").unwrap(),
        |eap: &Eap<'_>| packet::response(eap.identifier, EapType::Identity, b"\xff").unwrap(),
        |eap: &Eap<'_>| packet::response(eap.identifier, EapType::Tls, b"x").unwrap(),
        |eap: &Eap<'_>| packet::request(eap.identifier, EapType::Identity, b"alice").unwrap(),
    ] {
        let mut pair = after(toys(), 4);
        replace(&mut pair, End::Gateway, packet);
        pair.settle();

        assert!(pair.gateway.questions.is_empty() && pair.gateway.abandoned.is_empty());
        assert_eq!(failures(&pair.events(End::Gateway)), [Failure::Eap]);
        assert_nothing(&mut pair, "an identity");
    }
}

#[test]
fn who_has_nothing_to_say_is_who_its_idi_says() {
    for (id, user) in [("alice@example.net", Some("alice@example.net")), ("10.0.0.1", None)] {
        let mut plan = toys();
        plan.client_profile(|profile| {
            let id = crate::ike::identity::parse(id).unwrap();
            profile.authentication.local_id = crate::ike::identity::Claim::Id(id);
        });
        let mut pair = after(plan, 4);
        replace(&mut pair, End::Gateway, |eap| {
            packet::response(eap.identifier, EapType::Identity, b"").unwrap()
        });

        pair.settle();

        let asked = pair.gateway.questions.first();
        assert_eq!(asked.map(|asked| &*asked.user), user);
        let Some(asked) = asked else { continue };
        assert_eq!(Eap::decode(&asked.packet).unwrap().data(), id.as_bytes());
    }
}

#[test]
fn the_session_of_a_user_is_told_of_from_its_beginning_to_its_end() {
    let class: Arc<[Box<[u8]>]> = vec![b"staff"[..].into()].into();
    let grants =
        Grants { interim: Some(Duration::from_secs(300)), class: Arc::clone(&class), ..Grants::default() };
    let mut pair = granted(toys(), grants);
    let spi = *pair.gateway.plane.keys().next().unwrap();
    let session = pair.gateway.plane[&spi].session.clone().unwrap();

    pair.pass(Duration::from_secs(700));
    let id = sole(&pair, End::Gateway).id;
    pair.command(End::Gateway, Command::RekeyIke(id));
    pair.settle();
    pair.command(End::Gateway, Command::RekeyChildren(id));
    pair.settle();
    assert!(pair.gateway.plane.values().all(|child| child.session.as_deref() == Some(&*session)));
    pair.pass(Duration::from_secs(300));
    pair.command(End::Client, Command::Clear(Selection::All));
    pair.settle();

    let accounts = &pair.gateway.accounts;
    let stages: Vec<_> = accounts.iter().map(|account| (account.stage, account.time.as_secs())).collect();
    assert_eq!(
        stages,
        [
            (AccountStage::Start, 0),
            (AccountStage::Interim, 300),
            (AccountStage::Interim, 600),
            (AccountStage::Interim, 900),
            (AccountStage::Stop(CloseReason::DeletedByPeer), 1_000),
        ]
    );
    for account in accounts {
        assert_eq!((&account.session, &*account.user, &account.class), (&session, "alice", &class));
        assert_eq!(account.addresses, ["10.99.0.1".parse::<std::net::IpAddr>().unwrap()]);
    }
}

#[test]
fn a_session_has_an_end_whatever_is_rekeyed() {
    let grants = Grants { session_timeout: Some(Duration::from_secs(1_000)), ..Grants::default() };
    let mut pair = granted(toys(), grants);
    pair.pass(Duration::from_secs(900));
    let id = sole(&pair, End::Gateway).id;
    pair.command(End::Client, Command::RekeyIke(id));
    pair.settle();
    pair.pass(Duration::from_secs(99));
    assert_eq!(pair.sas(End::Gateway).len(), 1);

    pair.pass(Duration::from_secs(2));

    assert!(pair.sas(End::Gateway).is_empty() && pair.sas(End::Client).is_empty());
    assert_eq!(pair.closed(End::Gateway), [CloseReason::SessionOver]);
}

#[test]
fn a_ticket_is_not_good_for_longer_than_the_session() {
    let grants = Grants { session_timeout: Some(Duration::from_secs(1_000)), ..Grants::default() };
    let pair = granted(toys().resuming(), grants);

    let sent = pair.sent.iter().rfind(|flying| flying.to == End::Client).unwrap();
    let plain = Plain::open(&sent.octets);
    let lifetime = plain.chain().notify(crate::ike::wire::NotifyType::TicketLtOpaque).unwrap();
    let crate::ike::wire::NotifyContent::TicketLtOpaque { lifetime, .. } = lifetime.content().unwrap() else {
        panic!("a ticket")
    };
    assert!(lifetime <= 1_000, "{lifetime}");
}

#[test]
fn a_granted_address_is_what_the_client_gets() {
    for address in ["10.99.0.77", "172.16.0.5"] {
        let granted_v4 = Grants { ipv4: Some(address.parse().unwrap()), ..Grants::default() };
        let mut pair = granted(toys(), granted_v4);

        let sa = sole(&pair, End::Gateway);
        assert_eq!(sa.addresses, [address.parse::<std::net::IpAddr>().unwrap()]);
        assert_eq!(sa.children[0].remote_ts[0].to_string(), format!("{address}/32"));
        assert_eq!(pair.gateway.pools.held(), 1);
        pair.command(End::Client, Command::Clear(Selection::All));
        pair.settle();
        assert_eq!(pair.gateway.pools.held(), 0);
    }
}

#[test]
fn a_granted_address_that_somebody_else_has_is_not_given_twice() {
    for (address, next) in [("10.99.0.77", Some("10.99.0.1")), ("172.16.0.5", Some("10.99.0.1"))] {
        let grants = |user: &str| Grants {
            ipv4: Some(address.parse().unwrap()),
            user: Some(user.into()),
            ..Grants::default()
        };
        let mut pair = granted(toys(), grants("carol"));
        let sa = sole(&pair, End::Gateway);
        assert_eq!((&*sa.remote_id, sa.addresses[0].to_string()), ("carol", address.to_owned()));

        // Somebody else comes, to whom the server grants the same one.
        pair.client = Plan { seed: 9, ..toys() }.build().client;
        pair.initiate();
        for _ in 0..2 {
            let asked = question(&mut pair);
            let verdict = challenge(&asked);
            answer(&mut pair, &asked, verdict);
        }
        let asked = question(&mut pair);
        let verdict = accept(&asked, grants("dave"));
        answer(&mut pair, &asked, verdict);

        let sas = pair.sas(End::Gateway);
        let dave = sas.iter().find(|sa| &*sa.remote_id == "dave").unwrap();
        assert_eq!(dave.addresses.first().map(ToString::to_string).as_deref(), next);
        assert_eq!(pair.gateway.pools.held(), 2);
    }
}
