//! The gateway sends clients elsewhere: in IKE_SA_INIT, in IKE_AUTH, while the SA is up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::gateway::{EmptySlot, GatewayAddress, GatewayAddresses, GatewayIndex, LlgTable};
use crate::ike::config::LocalProof;
use crate::ike::config::Settings;
use crate::ike::redirect::{Target, Targets};
use crate::ike::wire::{
    Direction, ExchangeType, Header, Message, MessageId, Notify, NotifyContent, NotifyType, OriginalRole,
    Version, encode_message,
};
use crate::ike::{
    CloseReason, Command, Drain, Event, Failure, HandOver, Input, Path, Redirect, RedirectReason, Redirected,
    SaSnapshot, SaState, Selection,
};
use crate::secret::Secret;
use crate::testing::pair::{End, Flying, Pair, Plan};

const ELSEWHERE: &str = "192.0.2.3";

/// A table of two members, this node and another one; every slot leads to the one with this index.
pub(super) fn targets(index: u16, vips: &[&str]) -> Input<'static> {
    let slots = vec![GatewayIndex::new(index); common::maps::SLOTS].into();
    let table = LlgTable { generation: 1, slots, empty: EmptySlot::Keep };
    let member = |text: &str, is_self| {
        let address: GatewayAddress = text.parse().unwrap();
        Some(Target { addresses: GatewayAddresses::new([address]).unwrap(), is_self })
    };
    let members = vec![member("192.0.2.1", true), member(ELSEWHERE, false)];
    let vips = vips.iter().map(|vip| vip.parse().unwrap()).collect();
    Input::Targets(Arc::new(Targets::new(&table, members, 0x9e37_79b9_7f4a_7c15, vips)))
}

/// Lets the request of a client that does not follow redirects say that it does.
pub(super) fn follow(pair: &mut Pair) {
    let Some(Flying { octets, .. }) = pair.wire.front_mut() else { panic!("no request") };
    let message = Message::decode(octets).unwrap();
    let header = message.header;
    let payloads: Vec<_> =
        message.payloads.iter().map(|raw| crate::ike::wire::Payload::decode(&raw).unwrap()).collect();
    let changed = encode_message(Vec::new(), &header, |chain| {
        payloads.iter().try_for_each(|payload| chain.push(payload))?;
        chain.plain(NotifyType::RedirectSupported)
    });
    *octets = changed.unwrap();
}

pub(super) fn redirect(selection: Selection, grace: Duration) -> Command {
    Command::Redirect(Redirect { selection, percent: 100, to: None, grace })
}

pub(super) fn redirected(events: &[Event]) -> Option<&GatewayAddress> {
    events.iter().find_map(|event| if let Event::Redirected { to, .. } = event { Some(to) } else { None })
}

// test of RFC 5685 §3
#[test]
fn a_request_to_the_vip_is_answered_with_a_redirect_and_its_nonce_and_nothing_is_kept() {
    let mut pair = Plan::shared_key().build();
    pair.step(End::Gateway, targets(1, &["192.0.2.1"]));
    pair.initiate();
    follow(&mut pair);
    let request = pair.wire[0].octets.clone();

    pair.deliver();

    let answer = &pair.wire[0].octets;
    let message = Message::decode(answer).unwrap();
    let ni = Message::decode(&request).unwrap().payloads.find(crate::ike::wire::PayloadType::Nonce).unwrap();
    let notify: Notify<'_> = message.payloads.notify(NotifyType::Redirect).unwrap();
    let NotifyContent::Redirect { gateway, nonce } = notify.content().unwrap() else { panic!("{notify:?}") };
    assert_eq!(gateway, ELSEWHERE.parse().unwrap());
    assert_eq!(nonce.unwrap().as_slice(), ni.body);
    assert_eq!((message.header.spi_r, message.payloads.iter().count()), (None, 1));
    assert!(answer.len() < request.len());
    assert_eq!(pair.gateway.endpoint.counts(), crate::ike::CountSnapshot::default());
}

#[test]
fn a_client_that_does_not_follow_is_served_and_so_is_one_that_comes_to_this_node() {
    for (vips, follows) in [(vec!["192.0.2.1"], false), (vec!["192.0.2.9"], true)] {
        let mut pair = Plan::shared_key().build();
        pair.step(End::Gateway, targets(1, &vips));
        pair.initiate();
        if follows {
            follow(&mut pair);
        }

        pair.deliver();

        assert_eq!(pair.gateway.endpoint.counts().half_open, 1, "{vips:?}");
    }
}

#[test]
fn a_client_whose_slot_leads_here_is_served() {
    let mut pair = Plan::shared_key().build();
    pair.step(End::Gateway, targets(0, &["192.0.2.1"]));
    pair.initiate();
    follow(&mut pair);

    pair.deliver();

    assert_eq!(pair.gateway.endpoint.counts().half_open, 1);
}

/// A pair whose client has said that it follows redirects, by a request that its AUTH covers as
/// well.
pub(super) fn following(mut plan: Plan) -> Pair {
    plan.client.follows_redirects = true;
    plan.build()
}

// test of RFC 5685 §6
// RDA-01 RDA-07
#[test]
fn a_client_is_redirected_in_ike_auth_once_it_is_known_and_gets_no_child_sa() {
    let mut plan = Plan::shared_key();
    plan.gateway_profile(|profile| profile.redirect_auth = true);
    let ignoring = Settings { follows_redirects: false, ..plan.client.clone() };
    let mut pair = following(plan);
    pair.step(End::Gateway, targets(1, &[]));

    pair.initiate();
    // It has said that it goes, and stays.
    pair.step(End::Client, Input::Configure(Arc::new(ignoring)));
    pair.settle();

    let [sa] = &pair.sas(End::Gateway)[..] else { panic!("one SA") };
    assert_eq!((sa.state, sa.children.len(), sa.addresses.len()), (SaState::Redirected, 0, 0));
    assert!(pair.gateway.plane.is_empty());
    assert_eq!(redirected(&pair.events(End::Gateway)), Some(&ELSEWHERE.parse().unwrap()));
    pair.pass(Duration::from_secs(60));
    assert!(pair.sas(End::Gateway).is_empty(), "it is not kept for ever");
}

// test of RFC 5685 §5
// RDX-01 RDX-07 RDX-11
#[test]
fn a_live_client_is_told_once_and_its_sa_ends_after_its_grace() {
    let mut pair = following(Plan::shared_key());
    pair.step(End::Gateway, targets(1, &[]));
    pair.initiate();
    pair.settle();
    pair.events(End::Gateway);
    let grace = Duration::from_secs(20);
    let command = redirect(Selection::All, grace);

    pair.command(End::Gateway, command.clone());
    pair.command(End::Gateway, command);
    assert_eq!(pair.wire.len(), 1);
    pair.settle();

    assert_eq!(redirected(&pair.events(End::Gateway)), Some(&ELSEWHERE.parse().unwrap()));
    assert_eq!(pair.gateway.plane.len(), 1, "traffic goes on");
    pair.pass(Duration::from_secs(19));
    assert_eq!(pair.sas(End::Gateway).len(), 1);
    pair.pass(Duration::from_secs(2));
    assert!(pair.sas(End::Gateway).is_empty() && pair.sas(End::Client).is_empty());
    let closed = pair
        .events(End::Gateway)
        .into_iter()
        .find_map(|event| if let Event::Closed { reason, .. } = event { Some(reason) } else { None });
    assert_eq!(closed, Some(CloseReason::Redirected));
}

// RDX-12
#[test]
fn a_client_that_does_not_follow_is_not_told_and_stays_until_the_deadline_of_a_drain() {
    let mut pair = Plan::shared_key().build();
    pair.step(End::Gateway, targets(1, &[]));
    pair.initiate();
    pair.settle();
    let grace = Duration::from_secs(20);

    pair.command(End::Gateway, redirect(Selection::All, grace));
    assert!(pair.wire.is_empty());
    let drain = Drain { pace: Duration::from_millis(100), grace, deadline: Some(Duration::from_secs(60)) };
    pair.command(End::Gateway, Command::Drain(drain));
    pair.pass(Duration::from_secs(59));
    assert_eq!(pair.sas(End::Gateway).len(), 1);
    pair.pass(Duration::from_secs(2));

    assert!(pair.sas(End::Gateway).is_empty() && pair.sas(End::Client).is_empty());
}

#[test]
fn a_drain_that_is_called_off_leaves_the_rest_in_peace() {
    let mut pair = following(Plan::shared_key());
    pair.initiate();
    pair.settle();
    let drain = Drain {
        pace: Duration::from_millis(100),
        grace: Duration::from_secs(20),
        deadline: Some(Duration::from_secs(60)),
    };
    // Nowhere to go: nobody is told.
    pair.command(End::Gateway, Command::Drain(drain));
    pair.pass(Duration::from_secs(10));
    assert!(pair.gateway.endpoint.is_draining());
    pair.command(End::Gateway, Command::Undrain);
    pair.step(End::Gateway, targets(1, &[]));
    pair.pass(Duration::from_secs(100));

    assert_eq!(pair.sas(End::Gateway)[0].state, SaState::Established);
    assert!(!pair.gateway.endpoint.is_draining());
}

/// The gateway's address is another node's from now on; those who came to it go to `own` if it goes
/// on, and wherever the table says otherwise.
fn hand_over(pair: &mut Pair, own: Option<&str>) {
    let own = own.map(|own| GatewayAddresses::new([own.parse().unwrap()]).unwrap());
    let addresses = vec![pair.gateway.address];
    let grace = Duration::from_secs(20);
    pair.step(End::Gateway, Input::HandOver(Arc::new(HandOver { addresses, own, grace })));
}

// test of RFC 5685 §5
#[test]
fn whoever_came_to_an_address_that_goes_is_told_where_to_go_at_once_and_nothing_is_waited_for() {
    for (own, there) in [(Some("192.0.2.9"), "192.0.2.9"), (None, ELSEWHERE), (Some("fd50::9"), ELSEWHERE)] {
        let mut plan = Plan::shared_key();
        plan.gateway_profile(|profile| profile.dpd = Some(Duration::from_secs(30)));
        let mut pair = following(plan);
        pair.step(End::Gateway, targets(1, &[]));
        pair.establish();
        // A request is under way, whose response will go to the other node.
        pair.skip(Duration::from_secs(30));
        assert_eq!(pair.take(End::Client).path.remote.ip(), pair.gateway.address);
        pair.wire.clear();

        hand_over(&mut pair, own);

        assert_eq!(redirected(&pair.events(End::Gateway)), Some(&there.parse().unwrap()), "{own:?}");
        assert_eq!(pair.wire.len(), 1, "{own:?}");
        assert_eq!(pair.sas(End::Gateway)[0].state, SaState::Redirected);
        assert_eq!(pair.gateway.plane.len(), 1, "what is under way to the client arrives");
        assert_eq!(pair.gateway.endpoint.counters().redirects, [0, 0, 1]);
        // The client hears nothing of the gateway, and the gateway nothing of the client.
        for _ in 0..19 {
            pair.wire.clear();
            pair.skip(Duration::from_secs(1));
        }
        assert_eq!(pair.sas(End::Gateway).len(), 1, "{own:?}");
        pair.wire.clear();
        pair.skip(Duration::from_secs(1));
        assert!(pair.sas(End::Gateway).is_empty() && pair.gateway.plane.is_empty());
        assert_eq!(pair.closed(End::Gateway), [CloseReason::Redirected]);
        assert_eq!(pair.wire.len(), 1, "a client that has not gone learns that its SA is gone");
    }
}

#[test]
fn a_client_that_does_not_follow_learns_that_its_sa_is_gone_with_the_address() {
    let mut pair = Plan::shared_key().build();
    pair.step(End::Gateway, targets(1, &[]));
    pair.establish();

    hand_over(&mut pair, Some("192.0.2.9"));
    pair.settle();

    assert_eq!(pair.closed(End::Gateway), [CloseReason::AddressGone]);
    assert_eq!(pair.closed(End::Client), [CloseReason::DeletedByPeer]);
    assert!(pair.sas(End::Gateway).is_empty() && pair.sas(End::Client).is_empty());
}

#[test]
fn a_client_with_nowhere_to_go_learns_that_its_sa_is_gone_with_the_address() {
    let mut pair = following(Plan::shared_key());
    pair.establish();

    hand_over(&mut pair, None);
    pair.settle();

    assert_eq!(pair.closed(End::Gateway), [CloseReason::AddressGone]);
    assert_eq!(pair.closed(End::Client), [CloseReason::DeletedByPeer]);
}

#[test]
fn who_came_to_an_address_that_stays_is_left_in_peace() {
    let mut pair = following(Plan::shared_key());
    pair.establish();
    let addresses = vec!["192.0.2.5".parse().unwrap()];

    let hand_over = HandOver { addresses, own: None, grace: Duration::from_secs(20) };
    pair.step(End::Gateway, Input::HandOver(Arc::new(hand_over)));

    assert!(pair.wire.is_empty());
    assert_eq!(pair.sas(End::Gateway)[0].state, SaState::Established);
}

#[test]
fn a_handshake_that_ends_after_its_address_has_gone_ends_with_a_redirect() {
    let mut pair = following(Plan::shared_key());
    pair.initiate();
    pair.deliver();
    pair.deliver();
    assert_eq!(pair.gateway.endpoint.counts().half_open, 1);
    hand_over(&mut pair, Some("192.0.2.9"));
    assert_eq!(pair.gateway.endpoint.counts().half_open, 1, "it may still become an SA");

    pair.deliver();

    assert_eq!(pair.sas(End::Gateway)[0].state, SaState::Redirected);
    assert_eq!(redirected(&pair.events(End::Gateway)), Some(&"192.0.2.9".parse().unwrap()));
}

#[test]
fn an_address_that_comes_back_is_answered_on_and_new_clients_stay() {
    let mut pair = following(Plan::shared_key());
    pair.establish();
    hand_over(&mut pair, Some("192.0.2.9"));
    pair.wire.clear();
    pair.step(End::Gateway, Input::HandOver(Arc::default()));
    pair.events(End::Gateway);

    // It is told again, and is heard now.
    pair.pass(Duration::from_secs(10));
    pair.initiate();
    pair.settle();

    let states: Vec<_> = pair.sas(End::Gateway).iter().map(|sa| sa.state).collect();
    assert_eq!(states, [SaState::Redirected, SaState::Established]);
    assert_eq!(
        pair.events(End::Client).iter().filter(|event| matches!(event, Event::Closed { .. })).count(),
        0
    );
    pair.pass(Duration::from_secs(20));
    assert_eq!(pair.closed(End::Gateway), [CloseReason::Redirected]);
    assert_eq!(pair.sas(End::Gateway).len(), 1);
}

// test of RFC 7296 §2.21.4
#[test]
fn a_request_for_an_sa_that_nobody_has_is_answered_so_now_and_then_and_a_response_never() {
    let mut pair = Plan::shared_key().build();
    pair.establish();
    let sa = pair.sas(End::Gateway).remove(0);
    pair.command(End::Gateway, Command::Clear(Selection::All));
    pair.settle();
    let header = |direction| Header {
        spi_i: sa.spi_i,
        spi_r: sa.spi_r,
        version: Version::V2,
        exchange: ExchangeType::Informational,
        sender: OriginalRole::Initiator,
        direction,
        message_id: MessageId(7),
    };
    let message = |direction| {
        let mut octets = encode_message(Vec::new(), &header(direction), |_chain| Ok(())).unwrap();
        // As long as the shortest that is encrypted.
        octets.resize(28 + 4 + 8 + 1 + 16, 0);
        octets[27] = 28 + 4 + 8 + 1 + 16;
        octets
    };
    let path = sa_path(&sa);
    let before = pair.sent.len();

    for _ in 0..1_000 {
        pair.step(End::Gateway, Input::Datagram { path, octets: &message(Direction::Request) });
        pair.step(End::Gateway, Input::Datagram { path, octets: &message(Direction::Response) });
    }

    let answers = &pair.sent[before..];
    assert_eq!(answers.len(), 100, "not for every one that somebody sends");
    let answer = Message::decode(&answers[0].octets).unwrap();
    assert_eq!((answer.header.spi_i, answer.header.spi_r), (sa.spi_i, sa.spi_r));
    assert_eq!((answer.header.message_id, answer.header.direction), (MessageId(7), Direction::Response));
    assert_eq!(answer.header.sender, OriginalRole::Responder);
    assert!(answer.payloads.notify(NotifyType::InvalidIkeSpi).is_some());
    assert!(answers[0].octets.len() <= message(Direction::Request).len());
    pair.wire.clear();
    pair.skip(Duration::from_secs(1));
    pair.step(End::Gateway, Input::Datagram { path, octets: &message(Direction::Request) });
    assert_eq!(pair.wire.len(), 1);
    // Shorter than any answer.
    let short = encode_message(Vec::new(), &header(Direction::Request), |_chain| Ok(())).unwrap();
    pair.step(End::Gateway, Input::Datagram { path, octets: &short });
    assert_eq!(pair.wire.len(), 1);
}

fn sa_path(sa: &SaSnapshot) -> Path {
    Path { local: sa.local, remote: sa.remote }
}

// RDX-08 RDX-09 RDX-10
#[test]
fn an_operator_chooses_who_goes_how_many_and_where() {
    let mut pair = following(Plan::shared_key());
    pair.step(End::Gateway, targets(1, &[]));
    for _ in 0..4 {
        pair.initiate();
        pair.settle();
    }
    let ids: Vec<_> = pair.sas(End::Gateway).iter().map(|sa| sa.id).collect();
    let mut go = |selection, percent, to: Option<&str>| {
        let to = to.map(|to| GatewayAddresses::new([to.parse().unwrap()]).unwrap());
        let redirect = Redirect { selection, percent, to, grace: Duration::from_secs(20) };
        let mut out = crate::machine::Outbox::new();
        let now = pair.now;
        let result = pair.gateway.endpoint.redirect(now, &redirect, &mut out);
        let told = out.drain().filter_map(|output| {
            if let crate::ike::Output::Event(Event::Redirected { to, why, .. }) = output {
                assert_eq!(why, RedirectReason::Operator);
                Some(to.to_string())
            } else {
                None
            }
        });
        (result, told.collect::<Vec<_>>())
    };

    let none = |selected| (Redirected { selected, told: 0 }, Vec::new());
    assert_eq!(go(Selection::Id(crate::ike::SaId(999)), 100, None), none(0));
    assert_eq!(go(Selection::All, 100, Some("192.0.2.1")), none(4), "they are there");
    assert_eq!(go(Selection::All, 100, Some("fd50::9")), none(4), "no address of their family");
    let first = go(Selection::Id(ids[3]), 100, Some("192.0.2.9"));
    assert_eq!(first, (Redirected { selected: 1, told: 1 }, vec!["192.0.2.9".to_owned()]));
    assert_eq!(go(Selection::Id(ids[3]), 100, None), none(1), "it was told already");
    let half = go(Selection::Profile(crate::testing::pair::name("test")), 50, None);
    assert_eq!(half, (Redirected { selected: 4, told: 2 }, vec![ELSEWHERE.to_owned(); 2]));
    let rest = go(Selection::Remote("192.0.2.2".parse().unwrap()), 100, None);
    assert_eq!(rest, (Redirected { selected: 4, told: 1 }, vec![ELSEWHERE.to_owned()]));
}

// test of RFC 5685 §5
#[test]
fn a_drain_tells_every_client_once_at_its_pace_and_loses_none() {
    let mut pair = following(Plan::shared_key());
    pair.step(End::Gateway, targets(1, &[]));
    for _ in 0..CLIENTS {
        pair.initiate();
        pair.settle();
    }
    pair.events(End::Gateway);
    let pace = Duration::from_millis(10);
    let drain = Drain { pace, grace: Duration::from_secs(30), deadline: Some(Duration::from_secs(300)) };
    let mut told = BTreeSet::new();

    pair.command(End::Gateway, Command::Drain(drain));
    for tick in 1..=CLIENTS {
        for event in pair.events(End::Gateway) {
            if let Event::Redirected { sa, to, why } = event {
                assert_eq!((to, why), (ELSEWHERE.parse().unwrap(), RedirectReason::Drain));
                assert!(told.insert(sa.id), "{} is told twice", sa.id);
            }
        }
        assert_eq!(told.len(), tick);
        assert_eq!(pair.sas(End::Gateway).len(), CLIENTS, "traffic goes on");
        pair.pass(pace);
    }
    // They come back somewhere else, and delete what they have here.
    pair.command(End::Client, Command::Clear(Selection::All));
    pair.settle();

    assert!(pair.sas(End::Gateway).is_empty());
    assert_eq!(pair.closed(End::Gateway), vec![CloseReason::Redirected; CLIENTS]);
    assert_eq!(pair.gateway.endpoint.counters().redirects, [0, 0, CLIENTS as u64]);
}

/// As many as a step of the laboratory may end.
const CLIENTS: usize = 140;

// RDX-19
#[test]
fn a_client_that_is_told_to_go_during_a_rekey_goes_and_its_time_counts_from_then() {
    let mut pair = following(Plan::shared_key());
    pair.step(End::Gateway, targets(1, &[]));
    pair.establish();
    let id = pair.sas(End::Gateway)[0].id;
    pair.command(End::Gateway, Command::RekeyIke(id));
    let grace = Duration::from_secs(20);

    pair.command(End::Gateway, redirect(Selection::All, grace));
    assert_eq!(pair.wire.len(), 1, "one request at a time");
    pair.settle();

    let [sa] = &pair.sas(End::Gateway)[..] else { panic!("{:?}", pair.sas(End::Gateway)) };
    assert_eq!((sa.id, sa.state), (id, SaState::Redirected));
    assert_eq!(pair.gateway.endpoint.counters().redirects, [0, 0, 1]);
    pair.command(End::Gateway, redirect(Selection::All, grace));
    assert!(pair.wire.is_empty(), "it was told already");
    pair.pass(Duration::from_secs(21));
    assert!(pair.sas(End::Gateway).is_empty() && pair.sas(End::Client).is_empty());
}

// test of RFC 5685 §10
// RDX-13 RDX-15
#[test]
fn only_the_side_that_was_asked_first_tells_the_other_to_go_whoever_has_rekeyed() {
    for by in [End::Client, End::Gateway] {
        let mut pair = following(Plan::shared_key());
        pair.step(End::Gateway, targets(1, &[]));
        pair.step(End::Client, targets(1, &[]));
        pair.establish();
        let id = pair.sas(by)[0].id;
        pair.command(by, Command::RekeyIke(id));
        pair.settle();

        pair.command(End::Client, redirect(Selection::All, Duration::from_secs(20)));
        assert!(pair.wire.is_empty(), "{by:?}");
        pair.command(End::Gateway, redirect(Selection::All, Duration::from_secs(20)));

        assert_eq!(pair.wire.len(), 1, "{by:?}");
        assert_eq!(pair.sas(End::Gateway)[0].state, SaState::Redirected);
    }
}

// test of RFC 5685 §10
// RDX-14
#[test]
fn a_client_that_tells_the_gateway_to_go_is_answered_and_nothing_moves() {
    let mut pair = following(super::open());
    pair.establish();
    let before = pair.sas(End::Gateway);
    let gateway: GatewayAddress = ELSEWHERE.parse().unwrap();
    let flying =
        super::made_up(&pair, End::Client, ExchangeType::Informational, (Direction::Request, 2), |chain| {
            chain.notify(&NotifyContent::Redirect { gateway, nonce: None })
        });

    pair.put(&flying);

    assert_eq!(pair.wire.len(), 1, "an answer");
    assert_eq!(pair.sas(End::Gateway), before);
    assert_eq!(redirected(&pair.events(End::Gateway)), None);
}

/// A pair whose gateway redirects in IKE_AUTH.
fn at_auth() -> Plan {
    let mut plan = Plan::shared_key();
    plan.gateway_profile(|profile| profile.redirect_auth = true);
    plan
}

// test of RFC 5685 §6
// RDA-04
#[test]
fn a_client_that_is_not_who_it_says_is_refused_and_not_redirected() {
    let mut plan = at_auth();
    plan.client_profile(|profile| {
        profile.authentication.local =
            LocalProof::SharedKey(Secret::from(&b"another key of some length"[..]));
    });
    let mut pair = following(plan);
    pair.step(End::Gateway, targets(1, &[]));

    pair.initiate();
    pair.settle();

    let events = pair.events(End::Gateway);
    let is_refused = |event: &Event| matches!(event, Event::Refused { failure: Failure::Authentication, .. });
    assert!(events.iter().any(is_refused), "{events:?}");
    assert_eq!(redirected(&events), None);
    assert_eq!(pair.gateway.endpoint.counters().redirects, [0; 3]);
}

// test of RFC 5685 §3
// RDA-08
#[test]
fn a_client_that_does_not_follow_or_was_sent_here_is_not_redirected_in_ike_auth() {
    let mut pair = at_auth().build();
    pair.step(End::Gateway, targets(1, &[]));
    pair.establish();
    assert_eq!(pair.gateway.endpoint.counters().redirects, [0; 3]);

    // The table leads here, or there is none.
    for targets in [targets(0, &[]), Input::Targets(Arc::default())] {
        let mut pair = following(at_auth());
        pair.step(End::Gateway, targets);
        pair.establish();
        assert_eq!(pair.gateway.endpoint.counters().redirects, [0; 3]);
    }
}

// test of RFC 5685 §6
#[test]
fn a_client_that_is_redirected_in_ike_auth_has_ended_its_other_sas_by_initial_contact() {
    let mut pair = following(at_auth());
    pair.establish();
    let old = pair.sas(End::Gateway)[0].id;
    // It has begun anew, and knows of nothing.
    pair.client = following(Plan { seed: 7, ..Plan::shared_key() }).client;
    pair.step(End::Gateway, targets(1, &[]));

    pair.initiate();
    // It has said that it goes, and stays.
    let ignoring = Settings { follows_redirects: false, ..Plan::shared_key().client };
    pair.step(End::Client, Input::Configure(Arc::new(ignoring)));
    pair.settle();

    let [sa] = &pair.sas(End::Gateway)[..] else { panic!("{:?}", pair.sas(End::Gateway)) };
    assert!(sa.id != old && sa.state == SaState::Redirected, "{sa:?}");
    assert_eq!(pair.gateway.endpoint.counters().redirects, [0, 1, 0]);
    assert!(pair.gateway.plane.is_empty());
}
