//! An SA whose client moves to other addresses (`RFC 4555`).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::ike::config::{Mobility, Settings};
use crate::ike::wire::{Notify, NotifyContent, NotifyType, Payload};
use crate::ike::{CloseReason, Input, Path, SaId, Way};
use crate::testing::pair::{Fate, Nat};

/// Where the client goes.
const OTHER: [u8; 4] = [192, 0, 2, 77];
const THIRD: [u8; 4] = [192, 0, 2, 78];
/// Where the gateway is.
const GATEWAY: [u8; 4] = [192, 0, 2, 1];
const FIRST: [u8; 4] = [192, 0, 2, 2];
const MOMENT: Duration = Duration::from_millis(20);

fn plan() -> Plan {
    with(Mobility::CHECKED, Mobility::CHECKED)
}

fn with(client: Mobility, gateway: Mobility) -> Plan {
    let mut plan = open();
    plan.client_profile(|profile| profile.mobility = client);
    plan.gateway_profile(|profile| profile.mobility = gateway);
    plan
}

fn up(plan: Plan) -> Pair {
    let mut pair = plan.build();
    pair.establish();
    pair.events(End::Client);
    pair.events(End::Gateway);
    pair
}

/// The client's machine has another address, and routes for it. Nothing is delivered yet.
fn go(pair: &mut Pair, to: impl Into<IpAddr>) {
    pair.client.address = to.into();
    pair.step(End::Client, Input::RoutesChanged);
    pair.now = pair.now.after(MOMENT);
    pair.step(End::Client, Input::Timeout);
    answer(pair);
}

/// The world says how the client reaches whom it has asked for.
fn answer(pair: &mut Pair) {
    let address = pair.client.address;
    let is_alike = |remote: &IpAddr| remote.is_ipv4() == address.is_ipv4();
    for (asker, asked) in std::mem::take(&mut pair.client.sought) {
        let remotes = asked.iter().copied().filter(is_alike);
        let ways = remotes.map(|remote| Way { local: address, remote }).collect();
        pair.step(End::Client, Input::Ways { asker, asked, ways });
    }
}

/// Both sides say that the client is there, and the Child SAs are there too.
fn assert_at(pair: &Pair, client: impl Into<IpAddr>) {
    pair.assert_in_step();
    let client = client.into();
    let (ours, theirs) = (sole(pair, End::Client), sole(pair, End::Gateway));
    assert_eq!((ours.local.ip(), theirs.remote.ip()), (client, client));
    for child in pair.client.plane.values() {
        assert_eq!((child.path.local, child.path.remote), (ours.local, ours.remote));
    }
    for child in pair.gateway.plane.values() {
        assert_eq!((child.path.local, child.path.remote), (theirs.local, theirs.remote));
    }
}

fn notifies(pair: &Pair, from: usize) -> Vec<(End, Vec<NotifyType>)> {
    pair.sent[from..].iter().map(|it| (it.to, Plain::open(&it.octets).notifies())).collect()
}

// test of RFC 4555 §3.2, §3.3
#[test]
fn both_say_that_they_have_mobike_and_go_to_port_4500() {
    let pair = up(plan());

    for end in ENDS {
        assert!(sole(&pair, end).is_mobile, "{end:?}");
    }
    let ports: Vec<u16> = pair.sent.iter().map(|flying| flying.path.local.port()).collect();
    assert_eq!(ports, [500, 500, 4500, 4500]);
    assert!(pair.gateway.plane.values().all(|child| !child.is_encapsulated), "there is no NAT");
}

// BAS-20
#[test]
fn one_side_alone_has_no_mobike() {
    for (client, gateway) in [
        (Mobility::CHECKED, Mobility::NONE),
        (Mobility::NONE, Mobility::CHECKED),
        (Mobility::NONE, Mobility::NONE),
    ] {
        let pair = up(with(client, gateway));
        for end in ENDS {
            assert!(!sole(&pair, end).is_mobile);
        }
        let said = notifies(&pair, 0).into_iter().flat_map(|(_, kinds)| kinds);
        let count = said.filter(|kind| *kind == NotifyType::MobikeSupported).count();
        assert_eq!(count, usize::from(client.is_allowed), "nobody says it unasked");
    }
}

// BAS-20
#[test]
fn a_gateway_that_says_so_unasked_is_not_believed() {
    let mut pair = with(Mobility::NONE, Mobility::NONE).build();
    pair.initiate();
    for _ in 0..3 {
        assert!(pair.deliver());
    }
    let response = pair.take(End::Client);
    let more = Plain::open(&response.octets).with(|payloads| {
        payloads.push(Payload::Notify(Notify::plain(NotifyType::MobikeSupported)));
    });
    pair.put(&Flying { octets: more.seal(), ..response });
    pair.settle();

    assert!(!sole(&pair, End::Client).is_mobile);
    assert_one_of_each(&mut pair, "unasked");
}

// test of RFC 4555 §3.5, §3.7
#[test]
fn the_child_sas_follow_when_the_client_has_shown_that_it_is_there() {
    let mut pair = up(plan());
    let sent = pair.sent.len();
    go(&mut pair, OTHER);

    let update = pair.take(End::Gateway);
    assert_eq!(update.path.remote.ip(), IpAddr::from(OTHER));
    assert!(pair.client.plane.values().all(|child| child.path.local.ip() == IpAddr::from(OTHER)));
    pair.put(&update);
    assert_eq!(sole(&pair, End::Gateway).remote.ip(), IpAddr::from(OTHER));
    let children = || pair.gateway.plane.values();
    assert!(children().all(|child| child.path.remote.ip() == IpAddr::from(FIRST)), "not shown yet");
    pair.settle();

    assert_at(&pair, OTHER);
    let hashes = [NotifyType::NatDetectionSource, NotifyType::NatDetectionDestination];
    assert_eq!(
        notifies(&pair, sent),
        [
            (End::Gateway, [&[NotifyType::UpdateSaAddresses][..], &hashes].concat()),
            (End::Client, hashes.to_vec()),
            (End::Client, vec![NotifyType::Cookie2]),
            (End::Gateway, vec![NotifyType::Cookie2]),
        ]
    );
    let counters = pair.gateway.endpoint.counters();
    assert_eq!((counters.updates, counters.checks_passed, counters.updates_refused), (1, 1, 0));
    assert_eq!(pair.client.endpoint.counters().roamed, 1);
    let moved =
        |event: &Event| matches!(event, Event::Moved { from, .. } if from.ip() == IpAddr::from(FIRST));
    assert!(pair.gateway.events.iter().any(moved));
    assert_one_of_each(&mut pair, "elsewhere");
    assert_at(&pair, OTHER);
}

// test of RFC 4555 §3.7
#[test]
fn a_gateway_that_does_not_check_sends_there_at_once() {
    let mut pair = up(with(Mobility::CHECKED, Mobility { is_allowed: true, is_checked: false }));
    go(&mut pair, OTHER);
    let update = pair.take(End::Gateway);
    pair.put(&update);

    assert!(pair.gateway.plane.values().all(|child| child.path.remote.ip() == IpAddr::from(OTHER)));
    pair.settle();
    assert_at(&pair, OTHER);
    assert_eq!(pair.gateway.endpoint.counters().checks_passed, 0);
}

#[test]
fn an_address_that_stays_the_same_says_nothing() {
    let mut pair = up(plan());
    let sent = pair.sent.len();
    go(&mut pair, FIRST);
    pair.settle();

    assert_eq!(pair.sent.len(), sent);
}

#[test]
fn changes_of_one_moment_are_looked_at_once() {
    let mut pair = up(plan());
    pair.client.sought.clear();
    for _ in 0..50 {
        pair.step(End::Client, Input::RoutesChanged);
    }
    pair.pass(MOMENT);

    assert_eq!(pair.client.sought, [(None, vec![IpAddr::from(GATEWAY)])], "for all SAs");
    pair.step(End::Gateway, Input::RoutesChanged);
    pair.pass(MOMENT);
    assert!(pair.gateway.sought.is_empty(), "a gateway goes nowhere");
}

#[test]
fn whatever_is_lost_doubled_or_late_the_sa_moves() {
    for mobility in [Mobility::CHECKED, Mobility { is_allowed: true, is_checked: false }] {
        for number in 0..6 {
            for fate in [Fate::Lost, Fate::Doubled, Fate::Late] {
                let mut pair = up(with(Mobility::CHECKED, mobility));
                pair.fates.insert(pair.sent.len() + number, fate);
                go(&mut pair, OTHER);
                pair.pass(Duration::from_secs(5));
                pair.fates.clear();

                assert_at(&pair, OTHER);
                assert_one_of_each(&mut pair, &format!("{number} {fate:?}"));
            }
        }
    }
}

// test of RFC 4555 §3.5
#[test]
fn of_several_moves_in_a_row_the_last_counts() {
    for delivered in 0..6 {
        let mut pair = up(plan());
        go(&mut pair, OTHER);
        for _ in 0..delivered {
            pair.deliver();
        }
        go(&mut pair, THIRD);
        pair.pass(Duration::from_secs(40));
        assert_at(&pair, THIRD);

        go(&mut pair, OTHER);
        for _ in 0..delivered {
            pair.deliver();
        }
        go(&mut pair, THIRD);
        go(&mut pair, FIRST);
        pair.pass(Duration::from_secs(40));
        assert_at(&pair, FIRST);
        assert_one_of_each(&mut pair, &format!("after {delivered}"));
    }
}

// test of RFC 4555 §3.7
#[test]
fn an_answer_to_what_went_to_two_addresses_shows_neither() {
    let mut pair = up(plan());
    go(&mut pair, OTHER);
    let update = pair.take(End::Gateway);
    pair.put(&update);
    // Both the answer and the question are under way when the client is elsewhere again.
    let (answer, check) = (pair.take(End::Client), pair.take(End::Client));
    go(&mut pair, THIRD);
    pair.put(&answer);
    pair.settle();
    assert!(pair.gateway.plane.values().all(|child| child.path.remote.ip() != IpAddr::from(OTHER)));
    pair.put(&check);
    pair.settle();

    assert_at(&pair, THIRD);
    // The first one was answered, from where it went to, and has not counted.
    assert_eq!(pair.gateway.endpoint.counters().checks_passed, 1);
}

#[test]
fn rekeys_at_the_same_time_as_a_move_take_it_along() {
    for who in [&[End::Client][..], &[End::Gateway], &ENDS] {
        for ike in [true, false] {
            for early in [true, false] {
                for delivered in 0..8 {
                    let mut pair = up(plan());
                    if early {
                        go(&mut pair, OTHER);
                    }
                    for end in who {
                        if ike { rekey_ike(&mut pair, *end) } else { rekey_child(&mut pair, *end) }
                    }
                    for _ in 0..delivered {
                        pair.deliver();
                    }
                    if !early {
                        go(&mut pair, OTHER);
                    }
                    // The answer to the delete of the old SA may have gone to where the client was.
                    pair.pass(Duration::from_secs(170));

                    let what = format!("{who:?} ike {ike} early {early} {delivered}");
                    for end in ENDS {
                        let sa = sole(&pair, end);
                        let at = if end == End::Client { sa.local } else { sa.remote };
                        assert_eq!(at.ip(), IpAddr::from(OTHER), "{what}: {end:?}");
                    }
                    assert_at(&pair, OTHER);
                    assert_one_of_each(&mut pair, &what);
                }
            }
        }
    }
}

// test of RFC 9370 §2.2.4
#[test]
fn a_move_between_the_key_exchanges_of_a_rekey_takes_it_along() {
    let suite = |pair: &Pair| sole(pair, End::Client).suite;
    for end in ENDS {
        for ike in [true, false] {
            for early in [true, false] {
                for delivered in 0..10 {
                    let mut plan = further::hybrid(plan(), further::HYBRID);
                    for settings in [&mut plan.client, &mut plan.gateway] {
                        settings.esp_proposals = vec!["aes128gcm16-x25519-ke1_mlkem768".parse().unwrap()];
                    }
                    let mut pair = up(plan);
                    if early {
                        go(&mut pair, OTHER);
                    }
                    if ike {
                        rekey_ike(&mut pair, end)
                    } else {
                        rekey_child(&mut pair, end)
                    }
                    for _ in 0..delivered {
                        pair.deliver();
                    }
                    if !early {
                        go(&mut pair, OTHER);
                    }
                    pair.pass(Duration::from_secs(170));

                    let what = format!("{end:?} ike {ike} early {early} {delivered}");
                    assert_at(&pair, OTHER);
                    assert_eq!(&*suite(&pair), further::HYBRID, "{what}");
                    assert_one_of_each(&mut pair, &what);
                }
            }
        }
    }
}

#[test]
fn a_request_that_waits_goes_to_the_new_address_at_once_and_unchanged() {
    let mut pair = up(plan());
    rekey_child(&mut pair, End::Gateway);
    let lost = pair.take(End::Client);
    go(&mut pair, OTHER);
    let update = pair.take(End::Gateway);
    pair.put(&update);

    let again = pair.wire.iter().find(|flying| flying.octets == lost.octets).unwrap();
    assert_eq!(again.path.local.ip(), IpAddr::from(OTHER));
    pair.settle();
    assert_at(&pair, OTHER);
    assert_one_of_each(&mut pair, "with a rekey");
}

// test of RFC 4555 §3.8
// NAT-08
#[test]
fn without_an_update_an_ike_message_moves_nobody() {
    for nat in [None, Some(Nat { outside: [198, 51, 100, 9].into(), ports: Some(20_000) })] {
        let mut pair = plan().build();
        pair.client.nat = nat;
        pair.establish();
        let before = sole(&pair, End::Gateway).remote;
        let mut flying = made_up(
            &pair,
            End::Client,
            ExchangeType::Informational,
            (Direction::Request, 2),
            |_chain| Ok(()),
        );
        flying.path.remote = ([203, 0, 113, 66], 4500).into();

        pair.put(&flying);

        assert_eq!(sole(&pair, End::Gateway).remote, before);
        assert_eq!(pair.sent.last().unwrap().path.local, flying.path.remote, "the answer goes back");
    }
}

// NAT-08
#[test]
fn esp_finds_who_is_behind_a_nat_and_nobody_else() {
    for is_behind in [false, true] {
        let mut pair = plan().build();
        if is_behind {
            pair.client.nat = Some(Nat { outside: [198, 51, 100, 9].into(), ports: Some(20_000) });
        }
        pair.establish();
        let before = sole(&pair, End::Gateway);
        let inbound = pair.gateway.outbound.unwrap();
        let mut remote = before.remote;
        remote.set_port(30_001);
        if is_behind {
            pair.client.nat = Some(Nat { outside: [198, 51, 100, 9].into(), ports: Some(30_000) });
        }
        pair.step(End::Gateway, Input::Moved { inbound, path: Path { local: before.local, remote } });

        let now = if is_behind { remote } else { before.remote };
        assert_eq!(sole(&pair, End::Gateway).remote, now);
        assert_eq!(pair.gateway.plane[&inbound].path.remote, now);
        pair.settle();
        // What comes from where it was is only late.
        pair.step(
            End::Gateway,
            Input::Moved { inbound, path: Path { local: before.local, remote: before.remote } },
        );
        assert_eq!(sole(&pair, End::Gateway).remote, now);
    }
}

#[test]
fn esp_from_another_address_is_followed_by_traffic_once_the_client_has_shown_it() {
    let mut pair = plan().build();
    pair.client.nat = Some(Nat { outside: [198, 51, 100, 9].into(), ports: Some(20_000) });
    pair.establish();
    let inbound = pair.gateway.outbound.unwrap();
    let before = sole(&pair, End::Gateway);
    let stranger = Path { local: before.local, remote: ([203, 0, 113, 66], 4500).into() };

    pair.step(End::Gateway, Input::Moved { inbound, path: stranger });

    assert_eq!(pair.gateway.plane[&inbound].path.remote, before.remote);
    pair.pass(Duration::from_secs(20));
    assert_eq!(pair.gateway.plane[&inbound].path.remote, before.remote, "nobody is there");
    // The client says where it is when it looks whether the gateway lives.
    go(&mut pair, OTHER);
    pair.pass(Duration::from_secs(40));
    assert_eq!(pair.gateway.plane[&inbound].path.remote.ip(), IpAddr::from([198, 51, 100, 9]));
}

/// A request of one side over the one SA with the next Message ID.
fn request(
    pair: &Pair,
    from: End,
    id: u32,
    remote: SocketAddr,
    payloads: impl FnOnce(&mut ChainWriter<'_>) -> Result<(), EncodeError>,
) -> Flying {
    let mut flying = made_up(pair, from, ExchangeType::Informational, (Direction::Request, id), payloads);
    flying.path.remote = remote;
    flying
}

fn last_notifies(pair: &Pair) -> Vec<NotifyType> {
    Plain::open(&pair.sent.last().unwrap().octets).notifies()
}

#[test]
fn forged_and_replayed_updates_move_nobody() {
    let mut pair = up(plan());
    go(&mut pair, OTHER);
    let update = pair.take(End::Gateway);
    pair.put(&update);
    pair.settle();
    go(&mut pair, THIRD);
    pair.settle();
    assert_at(&pair, THIRD);
    // Every message so far, from where nobody is, and from where the client was.
    for remote in [([203, 0, 113, 66], 4500), (OTHER, 4500)] {
        for flying in pair.sent.clone().iter().filter(|flying| flying.to == End::Gateway) {
            let mut copy = flying.clone();
            copy.path.remote = remote.into();
            pair.put(&copy);
            assert_eq!(sole_up(&pair).remote.ip(), IpAddr::from(THIRD));
        }
    }
    pair.wire.clear();
    let mut pair = Plan { provider: Provider::Real, ..plan() }.build();
    pair.establish();
    go(&mut pair, OTHER);
    let update = pair.take(End::Gateway);
    for at in 0..update.octets.len() {
        let mut forged = update.clone();
        forged.octets[at] ^= 0x10;
        pair.put(&forged);
        pair.put(&Flying { octets: update.octets[..at].to_vec(), ..update.clone() });
        assert_eq!(sole_up(&pair).remote.ip(), IpAddr::from(FIRST), "{at}");
    }
    pair.wire.clear();
    pair.put(&update);
    pair.settle();
    assert_at(&pair, OTHER);
}

fn sole_up(pair: &Pair) -> SaSnapshot {
    let is_up = |sa: &SaSnapshot| sa.state == crate::ike::SaState::Established;
    let mut sas: Vec<SaSnapshot> = pair.sas(End::Gateway).into_iter().filter(is_up).collect();
    assert_eq!(sas.len(), 1, "{sas:?}");
    sas.remove(0)
}

/// An update that somebody on the way sends on from elsewhere before it arrives.
#[test]
fn whoever_sends_an_update_on_from_elsewhere_gets_no_traffic() {
    let mut pair = up(plan());
    go(&mut pair, OTHER);
    let mut update = pair.take(End::Gateway);
    update.path.remote = ([203, 0, 113, 66], 4500).into();
    pair.put(&update);
    pair.pass(Duration::from_secs(10));

    let thief = IpAddr::from([203, 0, 113, 66]);
    assert!(pair.gateway.plane.values().all(|child| child.path.remote.ip() != thief));
}

// test of RFC 4555 §3.5
#[test]
fn an_update_by_the_gateway_is_refused_whoever_has_rekeyed() {
    for rekeys in [false, true] {
        let mut pair = up(plan());
        if rekeys {
            rekey_ike(&mut pair, End::Client);
            pair.settle();
        }
        let before = sole(&pair, End::Client);
        let stranger = ([203, 0, 113, 66], 4500).into();
        let update = request(&pair, End::Gateway, 0, stranger, |chain| {
            chain.plain(NotifyType::UpdateSaAddresses)?;
            chain.notify(&NotifyContent::Cookie2(&[7; 8]))
        });
        pair.put(&update);

        assert_eq!(sole(&pair, End::Client), before);
        assert_eq!(last_notifies(&pair), [NotifyType::UnacceptableAddresses, NotifyType::Cookie2]);
        assert_eq!(pair.client.endpoint.counters().updates_refused, 1);
    }
}

// test of RFC 4555 §3.5
#[test]
fn addresses_where_no_client_can_be_are_not_acceptable() {
    let leased = IpAddr::from([10, 99, 0, 1]);
    for (remote, port) in [
        ((IpAddr::from([224, 0, 0, 1]), 4500), 4500),
        ((IpAddr::from([0, 0, 0, 0]), 4500), 4500),
        ((IpAddr::from([255, 255, 255, 255]), 4500), 4500),
        ((leased, 4500), 4500),
        ((IpAddr::from(OTHER), 0), 4500),
        ((IpAddr::from(OTHER), 500), 500),
    ] {
        let mut pair = up(plan());
        assert_eq!(sole(&pair, End::Gateway).addresses, [leased]);
        let before = sole(&pair, End::Gateway).remote;
        let mut update =
            request(&pair, End::Client, 2, remote.into(), |chain| chain.plain(NotifyType::UpdateSaAddresses));
        update.path.local.set_port(port);
        pair.put(&update);

        assert_eq!(sole(&pair, End::Gateway).remote, before, "{remote:?}");
        assert_eq!(last_notifies(&pair), [NotifyType::UnacceptableAddresses], "{remote:?}");
    }
}

// test of RFC 4555 §3.5
#[test]
fn a_client_that_is_refused_tries_the_other_addresses_and_then_wants_a_new_sa() {
    let mut pair = up(plan());
    go(&mut pair, OTHER);
    let update = pair.take(End::Gateway);
    pair.put(&update);
    pair.wire.retain(|flying| flying.to != End::Client);
    let refusal = pair.sent[pair.sent.len() - 2].clone();
    let refused = Plain::open(&refusal.octets).with(|payloads| {
        *payloads = vec![Payload::Notify(Notify::plain(NotifyType::UnacceptableAddresses))];
    });
    pair.put(&Flying { octets: refused.seal(), ..refusal });

    // It asks where the gateway is, to begin anew.
    assert_eq!(pair.client.asked.len(), 1, "{:?}", pair.client.asked);
    assert_eq!(sole(&pair, End::Client).state, crate::ike::SaState::Established, "until then it stays");
}

// test of RFC 4555 §4.2.5
#[test]
fn a_cookie_comes_back_as_it_is_and_one_that_cannot_be_ends_the_sa() {
    for end in ENDS {
        let id = if end == End::Client { 2 } else { 0 };
        for length in [8, 9, 64] {
            let mut pair = up(plan());
            let remote = sole(&pair, end.other()).remote;
            let data = vec![7; length];
            let asked = request(&pair, end, id, remote, |chain| chain.notify(&NotifyContent::Cookie2(&data)));
            pair.put(&asked);
            let answer = Plain::open(&pair.sent.last().unwrap().octets);
            let cookie = answer.chain().notify(NotifyType::Cookie2).map(|notify| notify.data.to_vec());
            assert_eq!(cookie, Some(data));
        }
        for length in [0, 7, 65] {
            let mut pair = up(plan());
            let remote = sole(&pair, end.other()).remote;
            let data = vec![7; length];
            let notify = Notify { data: &data, ..Notify::plain(NotifyType::Cookie2) };
            let asked = request(&pair, end, id, remote, |chain| chain.push(&Payload::Notify(notify)));
            pair.put(&asked);
            assert_eq!(last_notifies(&pair), [NotifyType::InvalidSyntax], "{length}");
        }
    }
}

// test of RFC 4555 §3.7
#[test]
fn another_cookie_than_was_asked_with_ends_the_sa() {
    for data in [None, Some(&[0; 16][..]), Some(&[1; 8])] {
        let mut pair = up(plan());
        go(&mut pair, OTHER);
        pair.deliver();
        pair.deliver();
        pair.deliver();
        let response = pair.take(End::Gateway);
        let other = Plain::open(&response.octets).with(|payloads| {
            payloads.clear();
            payloads.extend(
                data.map(|data| Payload::Notify(Notify { data, ..Notify::plain(NotifyType::Cookie2) })),
            );
        });
        pair.put(&Flying { octets: other.seal(), ..response });
        pair.settle();

        assert_eq!(pair.closed(End::Gateway), [CloseReason::ProtocolError], "{data:?}");
        assert_eq!(pair.closed(End::Client), [CloseReason::DeletedByPeer]);
    }
}

// test of RFC 4555 §3.9
#[test]
fn where_nats_are_forbidden_they_are_noticed() {
    let data = |source: [u8; 4], port: u16| {
        let [high, low] = port.to_be_bytes();
        [&source[..], &GATEWAY, &[high, low, 0x11, 0x94]].concat()
    };
    for (stated, is_right) in [
        (data(OTHER, 4500), true),
        (data(FIRST, 4500), false),
        (data(OTHER, 4501), false),
        (data(OTHER, 4500)[..11].to_vec(), false),
        ([data(OTHER, 4500), vec![0]].concat(), false),
        (Vec::new(), false),
    ] {
        let mut pair = up(plan());
        let update = request(&pair, End::Client, 2, (OTHER, 4500).into(), |chain| {
            chain.plain(NotifyType::UpdateSaAddresses)?;
            let notify = Notify { data: &stated, ..Notify::plain(NotifyType::NoNatsAllowed) };
            chain.push(&Payload::Notify(notify))
        });
        pair.put(&update);
        let at = if is_right { OTHER } else { FIRST };
        assert_eq!(sole(&pair, End::Gateway).remote.ip(), IpAddr::from(at), "{stated:?}");
        let is_refused = pair.sent.iter().any(|flying| {
            Plain::open(&flying.octets).notifies().contains(&NotifyType::UnexpectedNatDetected)
        });
        assert_eq!(is_refused, !is_right);
    }
}

// test of RFC 4555 §3.9
#[test]
fn a_client_whose_gateway_knows_no_nat_traversal_forbids_nats() {
    let mut pair = plan().build();
    pair.initiate();
    pair.deliver();
    let response = pair.take(End::Client);
    let none = Plain::open(&response.octets).with(|payloads| {
        let is_hash = |payload: &Payload<'_>| {
            matches!(payload, Payload::Notify(notify) if matches!(
                notify.kind,
                NotifyType::NatDetectionSource | NotifyType::NatDetectionDestination
            ))
        };
        payloads.retain(|payload| !is_hash(payload));
    });
    pair.put(&Flying { octets: none.seal(), ..response });

    let request = pair.take(End::Gateway);
    assert_eq!(request.path.local.port(), 500);
    let plain = Plain::open(&request.octets);
    let stated = plain.chain().notify(NotifyType::NoNatsAllowed).map(|notify| notify.data.to_vec());
    let expected = [&FIRST[..], &GATEWAY, &[1, 0xf4, 1, 0xf4]].concat();
    assert_eq!(stated, Some(expected));
}

// test of RFC 4555 §3.9
#[test]
fn an_update_that_meets_a_nat_is_tried_again_a_few_times() {
    let mut pair = up(plan());
    go(&mut pair, OTHER);
    let mut updates = 0;
    while pair.client.asked.is_empty() {
        let update = pair.take(End::Gateway);
        updates += 1;
        assert!(updates < 20);
        let header = Header {
            sender: OriginalRole::Responder,
            direction: Direction::Response,
            ..Plain::open(&update.octets).header
        };
        let plain = Plain::new(header, |chain| chain.plain(NotifyType::UnexpectedNatDetected));
        let path = Path { local: update.path.remote, remote: update.path.local };
        pair.put(&Flying { to: End::Client, path, octets: plain.seal() });
    }
    assert_eq!(updates, 4, "then it wants a new SA");
}

#[test]
fn nats_appear_and_disappear_and_esp_goes_through_udp_or_not() {
    let mut pair = up(plan());
    let is_wrapped = |pair: &Pair| {
        let both = [&pair.client.plane, &pair.gateway.plane];
        let all: BTreeSet<bool> =
            both.iter().flat_map(|it| it.values()).map(|it| it.is_encapsulated).collect();
        all.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(is_wrapped(&pair), [false]);

    pair.client.nat = Some(Nat { outside: [198, 51, 100, 9].into(), ports: Some(20_000) });
    go(&mut pair, OTHER);
    pair.settle();

    assert_eq!(is_wrapped(&pair), [true]);
    let (client, gateway) = (sole(&pair, End::Client), sole(&pair, End::Gateway));
    assert!(client.are_we_behind_nat && gateway.is_peer_behind_nat);
    assert!(pair.gateway.plane.values().all(|child| child.may_move));
    assert_eq!(gateway.remote, ([198, 51, 100, 9], 20_001).into());
    let before = pair.client.keepalives.len();
    pair.pass(Duration::from_secs(65));
    assert_eq!(pair.client.keepalives.len() - before, 3);

    pair.client.nat = None;
    go(&mut pair, THIRD);
    pair.settle();

    assert_eq!(is_wrapped(&pair), [false]);
    assert!(!sole(&pair, End::Client).are_we_behind_nat && !sole(&pair, End::Gateway).is_peer_behind_nat);
    assert!(pair.gateway.plane.values().all(|child| !child.may_move));
    let before = pair.client.keepalives.len();
    pair.pass(Duration::from_secs(65));
    assert_eq!(pair.client.keepalives.len(), before);
    assert_at(&pair, THIRD);
}

// test of RFC 4555 §3.8
// LIV-06
#[test]
fn a_client_notices_by_its_liveness_check_that_its_nat_has_changed() {
    let mut plan = plan();
    plan.client_profile(|profile| profile.dpd = Some(Duration::from_secs(30)));
    let mut pair = plan.build();
    pair.client.nat = Some(Nat { outside: [198, 51, 100, 9].into(), ports: Some(20_000) });
    pair.establish();
    pair.pass(Duration::from_secs(70));
    assert_eq!(pair.gateway.endpoint.counters().updates, 0, "nothing has changed");

    pair.client.nat = Some(Nat { outside: [198, 51, 100, 77].into(), ports: Some(30_000) });
    pair.pass(Duration::from_secs(70));

    let gateway = sole(&pair, End::Gateway);
    assert_eq!(gateway.remote, ([198, 51, 100, 77], 30_001).into());
    assert!(pair.gateway.plane.values().all(|child| child.path.remote == gateway.remote));
    assert_eq!(pair.gateway.endpoint.counters().updates, 1);
    pair.pass(Duration::from_secs(300));
    assert_eq!(pair.gateway.endpoint.counters().updates, 1, "and then it is known");
}

const GATEWAY6: [u16; 8] = [0xfd50, 0, 0, 0, 0, 0, 0, 1];
const CLIENT6: [u16; 8] = [0xfd50, 0, 0, 0, 0, 0, 0, 2];

// test of RFC 4555 §3.4
#[test]
fn from_ipv4_to_ipv6_and_back() {
    let mut plan = plan();
    let both = [IpAddr::from(GATEWAY), IpAddr::from(GATEWAY6)];
    plan.gateway.additional = Arc::new(both);
    let mut pair = up(plan);
    let auth = pair
        .sent
        .iter()
        .map(|it| Plain::open(&it.octets))
        .find(|it| it.chain().notify(NotifyType::AdditionalIp6Address).is_some());
    let auth = auth.unwrap();
    assert_eq!(auth.header.exchange, ExchangeType::IkeAuth);
    assert!(auth.chain().notify(NotifyType::AdditionalIp4Address).is_none(), "it is known");

    pair.gateway.address = GATEWAY6.into();
    go(&mut pair, CLIENT6);
    pair.settle();

    assert_at(&pair, CLIENT6);
    assert_eq!(sole(&pair, End::Client).remote, (IpAddr::from(GATEWAY6), 4500).into());
    let with_cookie = |flying: &Flying| {
        let kinds = Plain::open(&flying.octets).notifies();
        kinds.contains(&NotifyType::UpdateSaAddresses) && kinds.contains(&NotifyType::Cookie2)
    };
    assert!(pair.sent.iter().any(with_cookie), "the gateway has to show that it is there, too");

    pair.gateway.address = GATEWAY.into();
    go(&mut pair, OTHER);
    pair.settle();
    assert_at(&pair, OTHER);
    assert_one_of_each(&mut pair, "back");
}

// test of RFC 4555 §3.6
#[test]
fn a_gateway_with_other_addresses_says_so_and_its_client_leaves_one_that_is_gone() {
    let mut pair = up(plan());
    let with = |addresses: &[IpAddr]| Settings { additional: addresses.into(), ..plan().gateway };
    let configure = |pair: &mut Pair, addresses: &[IpAddr]| {
        let sent = pair.sent.len();
        pair.step(End::Gateway, Input::Configure(Arc::new(with(addresses))));
        pair.pass(Duration::from_secs(61));
        answer(pair);
        pair.settle();
        notifies(pair, sent).into_iter().flat_map(|(_, kinds)| kinds).collect::<Vec<_>>()
    };
    assert_eq!(configure(&mut pair, &[GATEWAY6.into()]), [NotifyType::AdditionalIp6Address]);
    assert_eq!(configure(&mut pair, &[GATEWAY6.into()]), []);
    assert_eq!(configure(&mut pair, &[]), [NotifyType::NoAdditionalAddresses]);
    let mut asked = configure(&mut pair, &[[192, 0, 2, 9].into()]);
    asked.dedup();
    assert_eq!(asked, [NotifyType::AdditionalIp4Address]);
    assert_at(&pair, FIRST);

    // It says so from another one, and the one in use is not among them.
    pair.gateway.address = [192, 0, 2, 9].into();
    let said = request(&pair, End::Gateway, 3, ([192, 0, 2, 9], 4500).into(), |chain| {
        chain.plain(NotifyType::NoAdditionalAddresses)
    });
    pair.put(&said);
    pair.wire.clear();
    answer(&mut pair);
    pair.settle();
    assert_eq!(sole(&pair, End::Client).remote.ip(), IpAddr::from([192, 0, 2, 9]));
    assert_eq!(sole(&pair, End::Gateway).local.ip(), IpAddr::from([192, 0, 2, 9]));
    assert!(pair.gateway.plane.values().all(|child| child.path.local.ip() == IpAddr::from([192, 0, 2, 9])));
}

#[test]
fn of_addresses_that_a_gateway_has_few_are_kept_and_none_that_nobody_has() {
    let mut pair = up(plan());
    pair.client.sought.clear();
    let remote = sole(&pair, End::Client).remote;
    let said = request(&pair, End::Gateway, 0, remote, |chain| {
        for last in 1..20 {
            chain.notify(&NotifyContent::AdditionalIp4Address([192, 0, 2, last].into()))?;
            chain.notify(&NotifyContent::AdditionalIp4Address([224, 0, 0, last].into()))?;
        }
        Ok(())
    });
    pair.put(&said);

    let (_, sought) = pair.client.sought.pop().unwrap();
    assert!(sought.len() <= 9, "{sought:?}");
    assert!(sought.iter().all(|address| !address.is_multicast()), "{sought:?}");
}

// test of RFC 4555 §3.10
#[test]
fn another_address_of_a_gateway_is_tried_when_the_one_in_use_does_not_answer() {
    let mut plan = plan();
    plan.client_profile(|profile| profile.dpd = Some(Duration::from_secs(30)));
    let second = IpAddr::from([192, 0, 2, 9]);
    plan.gateway.additional = Arc::new([second]);
    let mut pair = up(plan);
    answer(&mut pair);
    // The path to the first one has gone.
    pair.gateway.address = second;
    pair.pass(Duration::from_secs(60));

    assert_eq!(sole(&pair, End::Client).remote.ip(), second);
    assert_eq!(sole(&pair, End::Gateway).local.ip(), second);
    assert_at(&pair, FIRST);
    assert_one_of_each(&mut pair, "by the other address");
}

// test of RFC 4555 §3.11
#[test]
fn a_gateway_waits_five_minutes_for_a_client_and_a_client_does_not() {
    let silent = |end: End| {
        let mut plan = plan();
        match end {
            End::Client => plan.client_profile(|profile| profile.dpd = Some(Duration::from_secs(30))),
            End::Gateway => plan.gateway_profile(|profile| profile.dpd = Some(Duration::from_secs(30))),
        }
        let mut pair = up(plan);
        pair.side(end.other()).address = [203, 0, 113, 1].into();
        pair
    };
    let mut pair = silent(End::Gateway);
    pair.pass(Duration::from_secs(30 + 299));
    assert_eq!(pair.closed(End::Gateway), []);
    pair.pass(Duration::from_secs(2));
    assert_eq!(pair.closed(End::Gateway), [CloseReason::PeerDead]);

    let mut pair = silent(End::Client);
    pair.pass(Duration::from_secs(30 + 166));
    assert_eq!(pair.closed(End::Client), [CloseReason::PeerDead]);
}

#[test]
fn a_client_without_any_way_keeps_its_sa_for_a_while_and_goes_on_when_there_is_one() {
    let mut plan = plan();
    plan.client_profile(|profile| profile.dpd = Some(Duration::from_secs(30)));
    let mut pair = up(plan);
    // Its interface is gone.
    let nowhere = |pair: &mut Pair| {
        pair.client.address = [203, 0, 113, 1].into();
        pair.step(End::Client, Input::RoutesChanged);
        pair.pass(MOMENT);
        for (asker, asked) in std::mem::take(&mut pair.client.sought) {
            pair.step(End::Client, Input::Ways { asker, asked, ways: Vec::new() });
        }
    };
    nowhere(&mut pair);
    pair.pass(Duration::from_secs(290));
    assert_eq!(pair.closed(End::Client), []);
    go(&mut pair, FIRST);
    pair.settle();
    assert_at(&pair, FIRST);
    assert_eq!(pair.gateway.endpoint.counters().updates, 1, "its NAT may have forgotten it");

    nowhere(&mut pair);
    go(&mut pair, OTHER);
    pair.settle();
    assert_at(&pair, OTHER);

    nowhere(&mut pair);
    pair.pass(Duration::from_secs(30 + 165 + 165 + 165));
    assert_eq!(pair.closed(End::Client), [CloseReason::PeerDead], "not for ever");
}

#[test]
fn what_one_sa_has_asked_is_answered_to_no_other() {
    let mut pair = up(plan());
    let sa = sole(&pair, End::Client).id;
    let mut answer = |asker| {
        let ways = vec![Way { local: OTHER.into(), remote: GATEWAY.into() }];
        let sent = pair.sent.len();
        pair.step(End::Client, Input::Ways { asker: Some(asker), asked: vec![GATEWAY.into()], ways });
        pair.sent.len() - sent
    };

    assert_eq!(answer(SaId(sa.0 + 1)), 0);
    assert_ne!(answer(sa), 0, "it goes on from there");
}

#[test]
fn a_way_through_the_tunnel_itself_is_none() {
    let mut pair = up(plan());
    let inside = sole(&pair, End::Client).addresses[0];
    let sent = pair.sent.len();
    let asked = vec![IpAddr::from(GATEWAY)];
    let ways = vec![Way { local: inside, remote: GATEWAY.into() }];
    pair.step(End::Client, Input::Ways { asker: None, asked, ways });

    assert_eq!(pair.sent.len(), sent);
    assert_at(&pair, FIRST);
}

#[test]
fn a_client_that_was_told_to_go_moves_all_the_same() {
    let mut plan = plan();
    plan.client.follows_redirects = true;
    let mut pair = up(plan);
    let to = crate::gateway::GatewayAddresses::new(["192.0.2.200".parse().unwrap()]).ok();
    let redirect = crate::ike::Redirect {
        selection: crate::ike::Selection::All,
        percent: 100,
        to,
        grace: Duration::from_secs(60),
    };
    pair.command(End::Gateway, Command::Redirect(redirect));
    pair.settle();
    go(&mut pair, OTHER);
    pair.settle();

    assert_at(&pair, OTHER);
    pair.pass(Duration::from_secs(70));
    assert_eq!(pair.closed(End::Gateway), [CloseReason::Redirected]);
}

#[test]
fn without_mobike_a_new_sa_takes_the_place_of_the_old_one() {
    for resumes in [false, true] {
        let mut plan = with(Mobility::CHECKED, Mobility::NONE);
        if resumes {
            plan = plan.resuming();
        }
        let mut pair = up(plan);
        let old = sole(&pair, End::Client);
        go(&mut pair, OTHER);
        let (request, _host) = pair.client.asked.pop().unwrap();
        let ways = vec![Way { local: OTHER.into(), remote: GATEWAY.into() }];
        pair.step(End::Client, Input::Located { request, ways });
        // The gateway has dropped a session that was resumed, and answers nothing for it.
        pair.pass(Duration::from_secs(if resumes { 170 } else { 5 }));

        let new = sole(&pair, End::Client);
        assert_ne!(new.id, old.id);
        assert_eq!((new.local.ip(), new.is_resumed), (IpAddr::from(OTHER), resumes));
        if resumes {
            assert_eq!(new.addresses, old.addresses);
        }
        assert_at(&pair, OTHER);
    }
}
