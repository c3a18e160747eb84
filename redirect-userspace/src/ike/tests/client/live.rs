//! Redirects of SAs in use (`RFC 5685 §5`).

use super::*;
use crate::ike::config::Settings;
use crate::ike::following::Allowed;
use crate::ike::wire::{Attribute, ChainWriter, Delete, EncodeError, TrafficSelectors};
use crate::ike::{CloseReason, Discard, Input, SaState};
use crate::rng::Rng;
use crate::testing::world::{Who, at6};

/// A client with an SA with the first of so many gateways.
fn up(plan: Plan, gateways: usize) -> World {
    let mut world = World::new(plan, gateways);
    world.initiate();
    world.settle();
    world.assert_up_at(1);
    world.events(CLIENT);
    world.sent.clear();
    world
}

fn tell(world: &mut World, who: Who, to: &str) {
    world.command(who, elsewhere(to, Duration::from_secs(60)));
}

fn send_away(world: &mut World, who: Who, to: &str) {
    tell(world, who, to);
    world.settle();
    world.pass(LINGERING);
}

/// A request of the first gateway to the client that only a test would send.
fn made_up(
    world: &World,
    exchange: ExchangeType,
    payloads: impl FnOnce(&mut ChainWriter<'_>) -> Result<(), EncodeError>,
) -> Packet {
    let sa = sole(world);
    let header = Header {
        spi_i: sa.spi_i,
        spi_r: sa.spi_r,
        version: Version::V2,
        exchange,
        sender: OriginalRole::Responder,
        direction: Direction::Request,
        message_id: MessageId(0),
    };
    let path = crate::ike::Path { local: sa.local, remote: sa.remote };
    Packet { path, octets: Plain::new(header, payloads).seal() }
}

fn informational(world: &World, data: &[u8]) -> Packet {
    let notify = Notify { kind: NotifyType::Redirect, protocol: 0, spi: &[], data };
    made_up(world, ExchangeType::Informational, |chain| chain.push(&Payload::Notify(notify)))
}

/// What is said, message by message: to whom, and in which exchange.
fn said(world: &World) -> Vec<(IpAddr, ExchangeType, Direction)> {
    let header = |packet: &Packet| Message::decode(&packet.octets).unwrap().header;
    let line = |packet: &Packet| {
        let header = header(packet);
        (packet.path.local.ip(), header.exchange, header.direction)
    };
    world.sent.iter().map(line).collect()
}

fn closed(events: &[Event]) -> Vec<CloseReason> {
    let reason = |event: &Event| if let Event::Closed { reason, .. } = event { Some(*reason) } else { None };
    events.iter().filter_map(reason).collect()
}

// test of RFC 5685 §5: RDX-01, RDX-02, RDX-04, RDX-05
#[test]
fn rdx_01_to_05_the_new_sa_is_up_before_the_old_one_is_deleted() {
    use Direction::{Request, Response};
    use ExchangeType::{IkeAuth, IkeSaInit, Informational};
    let mut world = up(open(), 2);
    let old = sole(&world).id;

    tell(&mut world, 1, "192.0.2.102");
    let mut lowest = usize::MAX;
    while world.deliver() {
        lowest = lowest.min(world.client().plane.len());
    }
    assert_eq!(world.client().plane.len(), 2, "what is under way to the old one is still taken in");
    world.pass(LINGERING);

    assert_eq!(
        said(&world),
        [
            (at(CLIENT), Informational, Request),
            // The answer comes first.
            (at(1), Informational, Response),
            (at(2), IkeSaInit, Request),
            (at(CLIENT), IkeSaInit, Response),
            (at(2), IkeAuth, Request),
            (at(CLIENT), IkeAuth, Response),
            (at(1), Informational, Request),
            (at(CLIENT), Informational, Response),
        ]
    );
    assert!(Plain::open(&world.sent[1].octets).chain().iter().next().is_none(), "the answer is empty");
    assert_eq!(Plain::open(&world.sent[6].octets).payloads(), [Payload::Delete(Delete::Ike)]);
    assert_eq!(lowest, 1, "at no time was there nothing for traffic to leave through");
    world.assert_up_at(2);
    let new = sole(&world);
    assert_eq!((new.redirected_from, new.state), (Some(at(1)), SaState::Established));
    assert_ne!(new.id, old);
    let events = world.events(CLIENT);
    assert_eq!(followed(&events), [("192.0.2.102".to_owned(), Informational)]);
    assert_eq!(closed(&events), [CloseReason::Redirected]);
    assert_eq!(redirected_from(&begun(&world, 2)[0]), Some(at(1)));
}

#[test]
fn traffic_leaves_through_the_new_sa_before_the_old_one_is_gone() {
    let mut world = up(plan(), 2);
    let old = world.client().outbound.unwrap();

    tell(&mut world, 1, "192.0.2.102");
    while world.client().plane.len() < 2 {
        assert_eq!(world.client().outbound, Some(old));
        assert!(world.deliver());
        if world.client().outbound != Some(old) {
            break;
        }
    }

    let new = world.client().outbound.unwrap();
    assert_ne!(new, old);
    world.settle();
    world.pass(LINGERING);
    assert_eq!(world.client().plane.keys().copied().collect::<Vec<_>>(), [new]);
}

/// Lets the client have another Child SA with the first gateway.
fn another_child(world: &mut World, to: &str) {
    let sa = sole(world);
    let local_ts = sa.children[0].local_ts.to_vec();
    world.command(CLIENT, Command::NewChild { sa: sa.id, local_ts, remote_ts: vec![prefix(to)] });
    world.settle();
}

#[test]
fn all_child_sas_move_and_the_old_ones_stay_until_the_last_of_them_has() {
    let mut world = up(plan(), 2);
    another_child(&mut world, "10.2.0.0/16");
    another_child(&mut world, "10.2.7.0/24");
    world.assert_up_at(1);
    let before = sole(&world);
    assert_eq!(before.children.len(), 3);

    tell(&mut world, 1, "192.0.2.102");
    while world.sides[2].plane.len() < 3 {
        assert_eq!(world.sides[1].plane.len(), 3, "nothing is given up yet");
        assert!(world.deliver());
    }
    world.settle();
    world.pass(LINGERING);

    world.assert_up_at(2);
    let after = sole(&world);
    assert_eq!(after.children.len(), 3);
    for old in &before.children {
        let is_moved = after.children.iter().any(|new| new.remote_ts == old.remote_ts);
        assert!(is_moved, "{:?}", old.remote_ts);
    }
    let own = TrafficSelectors(after.children[0].local_ts.to_vec());
    assert!(after.children.iter().all(|child| child.local_ts[..] == own.0[..]), "by the new address");
    assert_ne!(own.0[..], before.children[0].local_ts[..]);
}

#[test]
fn a_client_without_an_address_of_one_family_asks_for_no_child_sa_that_it_has() {
    let mut plan = open();
    plan.connection(|connection| connection.wants_ipv6 = true);
    let mut world = up(plan, 2);

    send_away(&mut world, 1, "192.0.2.102");

    world.assert_up_at(2);
    let asked = said(&world).into_iter().filter(|(_, exchange, _)| *exchange == ExchangeType::CreateChildSa);
    assert_eq!(asked.count(), 0);
}

#[test]
fn the_new_gateway_is_asked_for_the_address_that_we_have_and_not_to_forget_anybody() {
    let mut world = up(open(), 2);
    let [address] = sole(&world).addresses[..] else { panic!("one address") };

    send_away(&mut world, 1, "192.0.2.102");

    let auth = world.sent.iter().map(|packet| (packet.path.local.ip(), Plain::open(&packet.octets)));
    let (_, auth) = auth
        .into_iter()
        .find(|(to, it)| *to == at(2) && it.header.exchange == ExchangeType::IkeAuth)
        .unwrap();
    let wish = auth.payloads().into_iter().find_map(|payload| {
        if let Payload::Configuration(wish) = payload { Some(wish.attributes) } else { None }
    });
    let IpAddr::V4(address) = address else { panic!("{address}") };
    assert!(wish.unwrap().contains(&Attribute::Ip4Address(Some(address))));
    assert!(!auth.notifies().contains(&NotifyType::InitialContact));
}

// RDX-09
#[test]
fn rdx_09_a_client_goes_to_a_name() {
    let mut world = up(plan(), 2);
    world.names.insert("gw2.example.net".to_owned(), vec![at(2)]);

    send_away(&mut world, 1, "gw2.example.net");

    world.assert_up_at(2);
}

#[test]
fn a_client_is_sent_to_the_same_gateway_by_another_address() {
    let mut world = up(plan(), 1);

    world.names.insert("six.example.net".to_owned(), vec![at6(1)]);

    send_away(&mut world, 1, "six.example.net");

    world.assert_up_at(1);
    assert_eq!(sole(&world).remote.ip(), at6(1));
    assert_eq!(closed(&world.events(CLIENT)), [CloseReason::Redirected]);
}

// RDX-13
#[test]
fn rdx_13_a_client_cannot_send_its_gateway_away() {
    let mut world = up(plan(), 2);

    tell(&mut world, CLIENT, "192.0.2.102");

    assert!(world.wire.is_empty());
}

// test of RFC 5685 §10: RDX-14
#[test]
fn rdx_14_a_gateway_that_is_sent_away_answers_and_stays() {
    let mut world = up(open(), 2);
    let sa = sole(&world);
    let header = Header {
        spi_i: sa.spi_i,
        spi_r: sa.spi_r,
        version: Version::V2,
        exchange: ExchangeType::Informational,
        sender: OriginalRole::Initiator,
        direction: Direction::Request,
        message_id: MessageId(2),
    };
    let gateway = "192.0.2.102".parse().unwrap();
    let request =
        Plain::new(header, |chain| chain.notify(&NotifyContent::Redirect { gateway, nonce: None })).seal();
    let path = crate::ike::Path { local: sa.remote, remote: sa.local };

    world.put(&Packet { path, octets: request });

    let answer = Plain::open(&world.take(CLIENT).octets);
    assert_eq!((answer.header.direction, answer.kinds()), (Direction::Response, Vec::new()));
    assert_eq!(refused(&world.events(1)), [RedirectRefusal::WrongSide]);
    world.assert_up_at(1);
}

// test of RFC 5685 §10: RDX-15
#[test]
fn rdx_15_whoever_has_rekeyed_the_sa_the_client_is_the_one_that_goes() {
    for rekeys in [CLIENT, 1] {
        let mut world = up(plan(), 2);
        let id = world.sas(rekeys)[0].id;
        world.command(rekeys, Command::RekeyIke(id));
        world.settle();

        send_away(&mut world, 1, "192.0.2.102");

        world.assert_up_at(2);
    }
}

// RDX-16, DIV-9
#[test]
fn rdx_16_a_redirect_that_cannot_be_read_or_is_not_allowed_is_answered_and_the_sa_stays() {
    use RedirectRefusal::{
        BadAddress, BadLength, BadName, BadNonce, BadType, NotAllowed, OwnAddress, Unresolved,
    };
    let mut nonce = identity("192.0.2.102");
    nonce.extend([7; 32]);
    let cases: [(&[u8], RedirectRefusal); 12] = [
        (&[], BadLength),
        (&[0, 4, 192, 0, 2, 102], BadType),
        (&[200, 4, 192, 0, 2, 102], BadType),
        (&[1, 2, 192, 0], BadLength),
        (&[1, 77, 192, 0, 2, 102], BadLength),
        (&[3, 3, b'a', b' ', b'b'], BadName),
        (&[1, 4, 127, 0, 0, 1], BadAddress),
        (&[1, 4, 224, 0, 0, 251], BadAddress),
        (&nonce, BadNonce),
        (&[1, 4, 198, 51, 100, 1], NotAllowed),
        (&[1, 4, 192, 0, 2, 100], OwnAddress),
        (&[3, 12, b'n', b'o', b'.', b'e', b'x', b'a', b'm', b'p', b'l', b'e', b's', b's'], Unresolved),
    ];
    for (data, reason) in cases {
        let mut plan = open();
        plan.client.following.allow = vec![
            Allowed::Prefix { network: [192, 0, 2, 0].into(), length: 24 },
            Allowed::Name("no.exampless".parse().unwrap()),
        ];
        let mut world = up(plan, 2);

        let request = informational(&world, data);
        world.put(&request);

        let answer = Plain::open(&world.take(1).octets);
        assert_eq!((answer.header.direction, answer.kinds()), (Direction::Response, Vec::new()), "{data:?}");
        assert_eq!(refused(&world.events(CLIENT)), [reason], "{data:?}");
        assert!(world.wire.is_empty(), "{data:?}");
        world.assert_up_at(1);
        assert_eq!(sole(&world).state, SaState::Established);
    }
}

#[test]
fn whatever_a_redirect_says_the_sa_survives_it() {
    const MESSAGES: u32 = 400;
    let mut rng = Rng::from_number(7);
    let mut plan = open();
    // What can be read leads nowhere.
    plan.client.following.allow = vec![Allowed::Name("gw.example.net".parse().unwrap())];
    let mut world = up(plan, 2);
    for number in 0..MESSAGES {
        let mut data = vec![0; usize::try_from(rng.below(40)).unwrap()];
        rng.fill(&mut data);
        // Half of them have a type that is known, and half of those the right length.
        match (rng.below(4), &mut data[..]) {
            (0, [kind, ..]) => *kind = 1 + u8::try_from(rng.below(3)).unwrap(),
            (1, [kind, length, rest @ ..]) => {
                *kind = 1 + u8::try_from(rng.below(3)).unwrap();
                *length = u8::try_from(rest.len()).unwrap();
            }
            _ => {}
        }
        let header = Plain::open(&informational(&world, &data).octets).header;
        let header = Header { message_id: MessageId(number), ..header };
        let notify = Notify { kind: NotifyType::Redirect, protocol: 0, spi: &[], data: &data };
        let request = Plain::new(header, |chain| chain.push(&Payload::Notify(notify)));
        let sa = sole(&world);
        let path = crate::ike::Path { local: sa.local, remote: sa.remote };

        world.put(&Packet { path, octets: request.seal() });

        assert!(Plain::open(&world.take(1).octets).kinds().is_empty(), "{data:?}");
        assert!(world.wire.is_empty(), "{data:?}");
    }

    world.assert_up_at(1);
    let refused: u64 = world.client().endpoint.counters().redirects_refused.iter().sum();
    assert_eq!(refused, u64::from(MESSAGES));
}

#[test]
fn a_client_that_does_not_follow_stays() {
    let mut world = up(open(), 2);
    world.configure(&Settings { follows_redirects: false, ..plan().client });

    let request = informational(&world, &identity("192.0.2.102"));
    world.put(&request);

    assert_eq!(refused(&world.events(CLIENT)), [RedirectRefusal::Disabled]);
    world.assert_up_at(1);
}

// RDX-19
#[test]
fn rdx_19_a_redirect_that_crosses_a_rekey_is_not_lost() {
    let mut world = up(plan(), 2);
    let id = sole(&world).id;
    // The client's request is under way when the gateway's comes.
    world.command(CLIENT, Command::RekeyIke(id));
    tell(&mut world, 1, "192.0.2.102");

    world.settle();
    world.pass(Duration::from_secs(5));

    assert_eq!(world.with(), [2]);
    world.pass(Duration::from_secs(120));
    world.assert_up_at(2);
    assert!(world.sas(1).is_empty());
}

// test of RFC 5685 §5
#[test]
fn a_redirect_inside_a_rekey_is_none() {
    let mut world = up(open(), 2);
    let id = world.sas(1)[0].id;
    world.command(1, Command::RekeyIke(id));
    let request = world.take(CLIENT);
    let gateway: GatewayAddress = "192.0.2.102".parse().unwrap();
    let notify = NotifyContent::Redirect { gateway, nonce: None };
    let plain = Plain::open(&request.octets);
    let both = Plain::new(plain.header, |chain| {
        plain.payloads().iter().try_for_each(|payload| chain.push(payload))?;
        chain.notify(&notify)
    });

    world.put(&Packet { path: request.path, octets: both.seal() });
    world.settle();

    let events = world.events(CLIENT);
    assert_eq!(refused(&events), [RedirectRefusal::WrongTime]);
    assert!(events.iter().any(|event| matches!(event, Event::Rekeyed { .. })), "{events:?}");
    world.assert_up_at(1);
}

#[test]
fn a_redirect_in_a_response_is_none() {
    let mut world = up(open(), 2);
    let id = sole(&world).id;
    world.command(CLIENT, Command::RekeyChildren(id));
    world.deliver();
    let response = world.take(CLIENT);
    let gateway: GatewayAddress = "192.0.2.102".parse().unwrap();
    let notify = NotifyContent::Redirect { gateway, nonce: None };
    let plain = Plain::open(&response.octets);
    let both = Plain::new(plain.header, |chain| {
        plain.payloads().iter().try_for_each(|payload| chain.push(payload))?;
        chain.notify(&notify)
    });

    world.put(&Packet { path: response.path, octets: both.seal() });
    world.settle();

    assert_eq!(refused(&world.events(CLIENT)), [RedirectRefusal::WrongTime]);
    world.assert_up_at(1);
}

#[test]
fn a_redirect_that_comes_again_is_answered_again_and_followed_once() {
    let mut world = up(plan(), 2);
    tell(&mut world, 1, "192.0.2.102");
    let request = world.take(CLIENT);

    world.put(&request);
    world.put(&request);
    world.settle();
    world.pass(LINGERING);
    world.put(&request);
    world.settle();

    world.assert_up_at(2);
    let answers = said(&world)
        .into_iter()
        .filter(|line| *line == (at(1), ExchangeType::Informational, Direction::Response));
    assert_eq!(answers.count(), 3, "the last one says that its SA is gone");
    assert_eq!(followed(&world.events(CLIENT)).len(), 1);
}

#[test]
fn a_forged_redirect_in_clear_changes_nothing() {
    let mut world = up(plan(), 2);
    let sa = sole(&world);
    let state = world.client().endpoint.state();
    let header = Header {
        spi_i: sa.spi_i,
        spi_r: sa.spi_r,
        version: Version::V2,
        exchange: ExchangeType::Informational,
        sender: OriginalRole::Responder,
        direction: Direction::Request,
        message_id: MessageId(0),
    };
    let gateway = "192.0.2.102".parse().unwrap();
    let plain = Plain::new(header, |chain| chain.notify(&NotifyContent::Redirect { gateway, nonce: None }));
    let path = crate::ike::Path { local: sa.local, remote: sa.remote };

    world.put(&Packet { path, octets: Plain { is_protected: false, ..plain }.seal() });

    assert_eq!(world.client().endpoint.state(), state);
    assert!(world.wire.is_empty());
}

// test of RFC 5685 §3
#[test]
fn a_late_answer_to_the_first_request_changes_nothing() {
    let mut world = World::new(plan(), 2);
    world.initiate();
    let first = world.wire[0].clone();
    world.settle();
    world.assert_up_at(1);
    let state = world.client().endpoint.state();

    world.put(&redirect(&first, "192.0.2.102"));

    assert_eq!(world.client().endpoint.state(), state);
    assert_eq!(world.client().endpoint.counters().discards[Discard::UnknownSpi.position()], 1);
}

#[test]
fn a_second_redirect_while_the_first_is_followed_is_refused() {
    let mut world = up(open(), 3);
    world.dead.insert(2);
    let request = informational(&world, &identity("192.0.2.102"));
    world.put(&request);
    world.settle();
    let header = Plain::open(&request.octets).header;
    let again = Header { message_id: MessageId(1), ..header };
    let gateway = "192.0.2.103".parse().unwrap();
    let again = Plain::new(again, |chain| chain.notify(&NotifyContent::Redirect { gateway, nonce: None }));

    world.put(&Packet { path: request.path, octets: again.seal() });

    assert_eq!(refused(&world.events(CLIENT)), [RedirectRefusal::AlreadyMoving]);
    assert!(begun(&world, 3).is_empty());
}

#[test]
fn an_sa_that_still_gets_its_child_sas_is_not_sent_on() {
    let mut world = up(open(), 3);
    another_child(&mut world, "10.2.0.0/16");
    tell(&mut world, 1, "192.0.2.102");
    while world.sides[2].plane.len() < 2 {
        assert!(world.deliver());
    }
    let sas = world.sas(CLIENT);
    let new = sas.iter().find(|sa| sa.remote.ip() == at(2)).unwrap();
    assert_eq!((sas.len(), new.children.len()), (2, 1), "the second Child SA is under way");
    let header = Header {
        spi_i: new.spi_i,
        spi_r: new.spi_r,
        version: Version::V2,
        exchange: ExchangeType::Informational,
        sender: OriginalRole::Responder,
        direction: Direction::Request,
        message_id: MessageId(0),
    };
    let gateway = "192.0.2.103".parse().unwrap();
    let on = Plain::new(header, |chain| chain.notify(&NotifyContent::Redirect { gateway, nonce: None }));
    let path = crate::ike::Path { local: new.local, remote: new.remote };

    world.put(&Packet { path, octets: on.seal() });

    assert_eq!(refused(&world.events(CLIENT)), [RedirectRefusal::AlreadyMoving]);
    assert!(begun(&world, 3).is_empty());
    assert_eq!(world.sas(CLIENT).len(), 2);
}

#[test]
fn an_sa_that_was_just_left_is_returned_to_when_the_new_one_is_gone_at_once() {
    let mut world = up(plan(), 2);
    tell(&mut world, 1, "192.0.2.102");
    world.settle();
    assert_eq!(world.client().plane.len(), 2);

    world.command(2, Command::Clear(Selection::All));
    world.settle();
    world.pass(LINGERING);

    world.assert_up_at(1);
    // Its gateway deletes it when its time is over, and the list is next.
    world.pass(Duration::from_secs(70));
    world.assert_up_at(1);
    assert_eq!(closed(&world.events(CLIENT)), [CloseReason::DeletedByPeer; 2]);
}

#[test]
fn a_client_that_is_sent_on_at_once_leaves_nothing_behind() {
    let mut world = up(plan(), 3);
    tell(&mut world, 1, "192.0.2.102");
    world.settle();

    tell(&mut world, 2, "192.0.2.103");
    world.settle();
    world.pass(LINGERING);

    world.assert_up_at(3);
    assert!(world.sas(1).is_empty() && world.sas(2).is_empty());
}

#[test]
fn two_redirects_in_one_message_are_none_and_the_sa_stays() {
    let mut world = up(open(), 3);
    let request = made_up(&world, ExchangeType::Informational, |chain| {
        for to in ["192.0.2.102", "192.0.2.103"] {
            chain.notify(&NotifyContent::Redirect { gateway: to.parse().unwrap(), nonce: None })?;
        }
        Ok(())
    });

    world.put(&request);

    let answer = Plain::open(&world.take(1).octets);
    assert_eq!((answer.header.direction, answer.kinds()), (Direction::Response, Vec::new()));
    assert_eq!(refused(&world.events(CLIENT)), [RedirectRefusal::WrongTime]);
    world.assert_up_at(1);
}

#[test]
fn the_sa_stays_when_the_target_is_dead_and_the_list_is_next_when_the_gateway_deletes_it() {
    let mut plan = plan();
    // Even for a connection that is not kept up: it was to be elsewhere, not down.
    plan.connection(|connection| connection.upkeep.start = Start::Manual);
    let mut world = up(plan, 2);
    world.dead.insert(2);

    send_away(&mut world, 1, "192.0.2.102");
    world.pass(PATIENCE + Duration::from_secs(5));
    assert_eq!(failures(&world.events(CLIENT)), [Failure::Timeout]);
    world.assert_up_at(1);
    world.pass(Duration::from_secs(60));

    world.assert_up_at(1);
    let events = world.events(CLIENT);
    assert_eq!(closed(&events), [CloseReason::DeletedByPeer]);
    assert_eq!(sole(&world).redirected_from, None, "it has begun anew");
}

#[test]
fn after_a_dead_target_another_redirect_is_followed() {
    let mut world = up(open(), 3);
    world.dead.insert(2);
    let request = informational(&world, &identity("192.0.2.102"));
    world.put(&request);
    world.pass(PATIENCE + Duration::from_secs(5));
    world.sent.clear();
    let header = Plain::open(&request.octets).header;
    let again = Header { message_id: MessageId(1), ..header };
    let gateway = "192.0.2.103".parse().unwrap();
    let again = Plain::new(again, |chain| chain.notify(&NotifyContent::Redirect { gateway, nonce: None }));

    world.put(&Packet { path: request.path, octets: again.seal() });
    world.settle();
    world.pass(LINGERING);

    world.assert_up_at(3);
}

#[test]
fn the_sa_stays_when_the_target_gives_no_child_sa() {
    let mut world = up(plan(), 2);
    let mut other = plan();
    other.gateway_profile(|profile| profile.local_ts = vec![prefix("172.16.0.0/12")]);
    world.step(2, Input::Configure(Arc::new(other.gateway)));

    send_away(&mut world, 1, "192.0.2.102");

    world.assert_up_at(1);
    assert!(world.sas(2).is_empty(), "the useless SA is deleted");
    assert_eq!(failures(&world.events(CLIENT)), [Failure::PeerRefused]);
}

#[test]
fn the_sa_stays_when_whoever_it_is_sent_to_is_somebody_else() {
    let mut world = up(plan(), 2);
    let mut other = plan();
    other.gateway_profile(|profile| {
        profile.authentication.local_id =
            crate::ike::identity::Claim::Id(crate::ike::identity::parse("other.example.net").unwrap());
    });
    world.step(2, Input::Configure(Arc::new(other.gateway)));

    send_away(&mut world, 1, "192.0.2.102");

    world.assert_up_at(1);
    assert_eq!(failures(&world.events(CLIENT)), [Failure::OtherIdentity]);
}

#[test]
fn a_gateway_that_does_not_wait_does_not_stop_the_client_from_going() {
    let mut world = up(plan(), 2);
    tell(&mut world, 1, "192.0.2.102");
    world.deliver();
    // The request to the second gateway is under way when the first one deletes the SA.
    let request = world.take(2);
    world.command(1, Command::Clear(Selection::All));
    world.settle();
    assert_eq!(closed(&world.events(CLIENT)), [CloseReason::DeletedByPeer]);

    world.put(&request);
    world.settle();

    world.assert_up_at(2);
    assert_eq!(begun(&world, 1).len(), 0);
}

#[test]
fn a_target_that_sends_the_client_on_is_followed() {
    let mut world = up(plan(), 3);
    world.lead(2, Some("192.0.2.103"));

    send_away(&mut world, 1, "192.0.2.102");

    world.assert_up_at(3);
    assert_eq!(redirected_from(&begun(&world, 3)[0]), Some(at(2)));
    assert_eq!(closed(&world.events(CLIENT)), [CloseReason::Redirected]);
}

#[test]
fn an_operator_who_ends_both_sas_ends_the_move() {
    let mut world = up(plan(), 2);
    world.dead.insert(2);
    send_away(&mut world, 1, "192.0.2.102");
    assert_eq!(world.sas(CLIENT).len(), 2);

    world.command(CLIENT, Command::Clear(Selection::All));
    world.settle();
    assert!(world.sas(CLIENT).is_empty());
    world.pass(ROUND);

    world.assert_up_at(1);
    assert_eq!(begun(&world, 2).len(), 1);
}
