//! Who is given a ticket, when, and how long it is good.

use super::*;

// RES-01, RES-04 (there is no EAP yet), RES-06
// test of RFC 5723 §4.1, §7.1
#[test]
fn a_client_that_asks_for_a_ticket_in_ike_auth_gets_one_with_its_lifetime() {
    let mut plan = plan();
    plan.provider = Provider::Null;
    let mut pair = plan.build();
    pair.establish();

    let (request, answer) = (Plain::open(&pair.sent[2].octets), Plain::open(&pair.sent[3].octets));
    let chain = request.chain();
    let asked = chain.notify(NotifyType::TicketRequest).unwrap();
    assert_eq!((asked.data, asked.protocol, asked.spi), (&[][..], 0, &[][..]));
    let chain = answer.chain();
    let given = chain.notify(NotifyType::TicketLtOpaque).unwrap();
    assert_eq!(given.data[..4], 28_800_u32.to_be_bytes(), "eight hours");
    assert!(given.data.len() > 100);
    assert_eq!(answer.notifies(), [NotifyType::TicketLtOpaque]);
    assert!(chain.find(PayloadType::Sa).is_some(), "everything else is as it was");
}

// RES-02
// test of RFC 5723 §4.1
#[test]
fn who_gets_no_ticket_is_told_so_and_its_sa_comes_up() {
    let without_keys: fn(&mut Plan) = |plan| plan.gateway.tickets = None;
    let opening_only: fn(&mut Plan) = |plan| {
        plan.gateway.tickets = Some(Arc::new(Sealer::new("gw1", "group1", None, vec![key(1)])));
    };
    let not_here: fn(&mut Plan) = |plan| plan.gateway_profile(|profile| profile.resumes = false);
    for change in [without_keys, opening_only, not_here] {
        let mut plan = Plan { provider: Provider::Null, ..plan() };
        change(&mut plan);
        let mut pair = plan.build();
        pair.establish();

        assert_eq!(Plain::open(&pair.sent[3].octets).notifies(), [NotifyType::TicketNack]);
        let Counters { tickets_granted, tickets_refused, .. } = pair.gateway.endpoint.counters();
        assert_eq!((*tickets_granted, *tickets_refused), (0, 1));
    }
}

#[test]
fn who_does_not_ask_gets_no_ticket() {
    let mut plan = Plan { provider: Provider::Null, ..plan() };
    plan.client_profile(|profile| profile.resumes = false);
    let mut pair = plan.build();
    pair.establish();

    assert!(Plain::open(&pair.sent[3].octets).notifies().is_empty());
    // Nor does a gateway ask, or push one.
    assert!(pair.sent.iter().all(|flying| Plain::open(&flying.octets).notifies().iter().all(|kind| {
        !matches!(kind, NotifyType::TicketRequest | NotifyType::TicketLtOpaque | NotifyType::TicketNack)
    })));
}

// RES-08
#[test]
fn a_ticket_beside_certificates_comes_in_fragments() {
    let mut plan = with_tickets(auth::certificates(KeyKind::P256));
    plan.gateway.fragment_size = crate::ike::config::FragmentSize::new(576).unwrap();
    let mut pair = plan.build();
    pair.establish();

    assert!(pair.sent.iter().filter(|flying| flying.to == End::Client).count() > 2, "in fragments");
    assert_eq!(pair.gateway.endpoint.counters().tickets_granted, 1);
}

// RES-03
#[test]
fn a_client_that_is_to_have_its_ticket_later_asks_for_it() {
    let mut pair = Plan { provider: Provider::Null, ..plan() }.build();
    pair.initiate();
    for _ in 0..3 {
        pair.deliver();
    }
    let answer = pair.take(End::Client);
    let later = Plain::open(&answer.octets).with(|payloads| {
        payloads.retain(|payload| !matches!(payload, Payload::Notify(_)));
        payloads.push(Payload::Notify(Notify::plain(NotifyType::TicketAck)));
    });
    pair.put(&Flying { octets: later.seal(), ..answer });
    pair.settle();
    assert_eq!(pair.gateway.endpoint.counters().tickets_granted, 1);

    pair.pass(Duration::from_secs(2));

    assert_eq!(pair.gateway.endpoint.counters().tickets_granted, 2);
    let [.., asks, _] = &pair.sent[..] else { panic!("two messages") };
    assert_eq!(Plain::open(&asks.octets).notifies(), [NotifyType::TicketRequest]);
}

// RES-05
// test of RFC 5723 §4.1
#[test]
fn only_who_began_the_session_gets_a_ticket_by_an_informational_exchange() {
    for (from, wanted) in [(End::Client, vec![NotifyType::TicketLtOpaque]), (End::Gateway, Vec::new())] {
        let mut pair = Plan { provider: Provider::Null, ..plan() }.build();
        pair.establish();
        let sent = pair.sent.len();
        let id = if from == End::Client { 2 } else { 0 };
        let asks = made_up(&pair, from, ExchangeType::Informational, (Direction::Request, id), |chain| {
            chain.plain(NotifyType::TicketRequest)
        });
        pair.put(&asks);

        assert_eq!(Plain::open(&pair.sent[sent].octets).notifies(), wanted, "{from:?}");
    }
}

// RES-07
// test of RFC 5723 §6.2
#[test]
fn a_ticket_is_never_good_for_longer_than_its_sa() {
    let mut plan = Plan { provider: Provider::Null, ..plan() };
    plan.gateway_profile(|profile| profile.lifetimes.ike = Some(Duration::from_secs(3_000)));
    let mut pair = plan.build();
    pair.establish();

    let answer = Plain::open(&pair.sent[3].octets);
    let chain = answer.chain();
    let given = chain.notify(NotifyType::TicketLtOpaque).unwrap();
    assert_eq!(given.data[..4], 3_060_u32.to_be_bytes(), "with its grace");
}

// RES-29
// test of RFC 5723 §6.2
#[test]
fn a_session_that_somebody_has_ended_has_no_ticket_any_more() {
    for end in ENDS {
        let mut pair = up();
        pair.command(end, Command::Clear(Selection::All));
        pair.settle();
        assert_eq!(pair.gateway.used.len(), 1, "the gateway tells the others that it is void");
        pair.sent.clear();

        pair.initiate();
        pair.settle();

        assert_eq!(exchanges(&pair), ANEW[2..], "{end:?}");
        // A client that keeps its ticket all the same has nothing of it.
        let used = &pair.gateway.used[0];
        assert_eq!(used.origin, None);
    }
}

// RES-31
// test of RFC 5723 §6.2
#[test]
fn new_keys_of_the_ike_sa_make_the_ticket_void_and_bring_another_one() {
    for by in ENDS {
        let mut pair = up();
        rekey_ike(&mut pair, by);
        pair.pass(Duration::from_secs(2));
        assert_eq!(pair.gateway.endpoint.counters().tickets_granted, 2, "{by:?}");
        assert_eq!(pair.gateway.used.len(), 1, "{by:?}");

        bereaved_client_only(&mut pair);
        pair.initiate();
        pair.settle();

        assert_eq!(exchanges(&pair), RESUMED, "{by:?}");
        pair.assert_in_step();
        assert_eq!(pair.closed(End::Gateway), [CloseReason::Resumed], "found by its new SPIs");
    }
}

#[test]
fn a_client_asks_for_another_ticket_before_its_own_is_over() {
    let mut pair = up();

    pair.pass(Duration::from_secs(8 * 3_600));

    assert_eq!(pair.gateway.endpoint.counters().tickets_granted, 2);
    elsewhere(&mut pair, member("gw2", &[1]));
    pair.initiate();
    pair.settle();
    assert_eq!(exchanges(&pair), RESUMED);
}

#[test]
fn a_client_that_is_redirected_in_ike_auth_has_its_ticket_by_then() {
    let mut plan = Plan { provider: Provider::Null, ..plan() };
    plan.client.follows_redirects = true;
    plan.gateway_profile(|profile| profile.redirect_auth = true);
    let mut pair = plan.build();
    pair.step(End::Gateway, redirect::targets(1, &[]));
    pair.initiate();
    pair.settle();

    let answer = Plain::open(&pair.sent[3].octets);
    assert_eq!(answer.notifies(), [NotifyType::TicketLtOpaque, NotifyType::Redirect]);
}
