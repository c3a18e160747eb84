//! Both want something at once: what RFC 7296 §2.8 and §2.25 make of it, whoever hears of it first.

use std::time::Duration;

use super::*;
use crate::ike::wire::{ChildProtocol, Delete, NotifyContent, NotifyType, Payload, PayloadType};
use crate::ike::{CloseReason, Selection};
use crate::machine::Machine as _;
use crate::testing::pair::Fate;

/// What a message is, and what it says.
fn said(flying: &Flying) -> (ExchangeType, Direction, Vec<PayloadType>, Vec<NotifyType>) {
    let plain = Plain::open(&flying.octets);
    (plain.header.exchange, plain.header.direction, plain.kinds(), plain.notifies())
}

// COL-01
#[test]
fn whoever_rekeys_a_child_sa_names_it_by_its_own_spi_and_deletes_the_old_one() {
    for end in ENDS {
        let mut pair = opened();
        let old = sole(&pair, end).children[0].inbound;

        rekey_child(&mut pair, end);

        let request = Plain::open(&pair.wire[0].octets);
        let notify = request.chain().notify(NotifyType::RekeySa).unwrap();
        assert_eq!(notify.content(), Ok(NotifyContent::RekeySa(ChildProtocol::Esp, old)));
        pair.deliver();
        pair.deliver();
        let delete = Plain::open(&pair.wire[0].octets);
        assert_eq!(pair.wire[0].to, end.other());
        assert_eq!(delete.payloads(), [Payload::Delete(Delete::Child(ChildProtocol::Esp, vec![old]))]);
        pair.deliver();
        let answer = Plain::open(&pair.wire[0].octets);
        let [Payload::Delete(Delete::Child(ChildProtocol::Esp, spis))] = &answer.payloads()[..] else {
            panic!("the answer has the other half")
        };
        assert_eq!(spis.len(), 1);
        pair.settle();
        assert_one_of_each(&mut pair, "rekeyed");
    }
}

/// Both send what `act` makes them send; the four messages that follow come in an order that is
/// named by a number.
fn cross(seed: u64, order: usize, provider: Provider, act: fn(&mut Pair, End)) -> Pair {
    let mut pair = Plan { seed, provider, ..Plan::shared_key() }.build();
    pair.establish();
    for end in ENDS {
        act(&mut pair, end);
    }
    // Whose message comes next, by the bits of the number; what is held back stays in order.
    let mut bits = order;
    for _ in 0..24 {
        let to = if bits & 1 == 0 { End::Client } else { End::Gateway };
        bits >>= 1;
        if pair.wire.iter().any(|flying| flying.to == to) {
            let flying = pair.take(to);
            pair.put(&flying);
        }
    }
    pair.settle();
    pair
}

// test of RFC 7296 §2.8.1
// COL-02 COL-09 COL-10
#[test]
fn two_who_rekey_a_child_sa_at_once_agree_whoever_hears_first() {
    for seed in 1..=4 {
        for order in 0..128 {
            let mut pair = cross(seed, order, Provider::Null, rekey_child);
            assert_one_of_each(&mut pair, &format!("seed {seed}, order {order:b}"));
        }
    }
}

// test of RFC 7296 §2.8.2
// COL-12
#[test]
fn two_who_rekey_the_ike_sa_at_once_agree_whoever_hears_first() {
    for seed in 1..=4 {
        for order in 0..128 {
            let mut pair = cross(seed, order, Provider::Null, rekey_ike);
            let what = format!("seed {seed}, order {order:b}");
            for end in ENDS {
                assert_eq!(pair.closed(end), [], "{what}: nothing has ended for people, {end:?}");
            }
            assert_one_of_each(&mut pair, &what);
        }
    }
}

// COL-02 COL-12
#[test]
fn collisions_with_real_algorithms_end_in_the_same_way() {
    for seed in 1..=4 {
        for order in [0, 1, 5, 0b1100_1010] {
            for act in [rekey_child, rekey_ike] {
                let mut pair = cross(seed, order, Provider::Real, act);
                assert_one_of_each(&mut pair, &format!("seed {seed}, order {order:b}"));
            }
        }
    }
}

// COL-02 COL-09 COL-12 COL-19
#[test]
fn a_collision_converges_with_any_one_datagram_lost_doubled_or_late() {
    for seed in 1..=3 {
        for act in [rekey_child, rekey_ike] {
            for fate in [Fate::Lost, Fate::Doubled, Fate::Late] {
                for number in 0..10 {
                    let mut pair = Plan { seed, ..open() }.build();
                    pair.establish();
                    let at = pair.sent.len() + number;
                    pair.fates.insert(at, fate);
                    for end in ENDS {
                        act(&mut pair, end);
                    }
                    // Whoever has never heard of an SA can not delete it: the other side waits in vain.
                    pair.pass(Duration::from_secs(300));

                    pair.fates.clear();
                    assert_one_of_each(&mut pair, &format!("seed {seed}, {fate:?} {number}"));
                }
            }
        }
    }
}

// test of RFC 7296 §2.8.2
// COL-12
#[test]
fn while_two_ike_sas_are_made_at_once_people_see_one() {
    let mut pair = opened();
    for end in ENDS {
        rekey_ike(&mut pair, end);
    }
    let request = pair.take(End::Gateway);
    pair.put(&request);

    // The gateway has made one for the client, and waits for its own.
    let sa = sole(&pair, End::Gateway);

    assert_eq!(sa.children.len(), 1);
    pair.settle();
    assert_one_of_each(&mut pair, "after all");
}

// COL-12
#[test]
fn an_ike_sa_that_was_made_too_much_does_not_stay_when_the_peer_forgets_to_delete_it() {
    let mut pair = opened();
    for end in ENDS {
        rekey_ike(&mut pair, end);
    }
    // Each has answered the other.
    for _ in 0..4 {
        pair.deliver();
    }
    // Whoever has lost deletes its own, and that one is lost, with all repetitions, for a while.
    let before = pair.sent.len();
    for number in before - 2..before + 6 {
        pair.fates.insert(number, Fate::Lost);
    }
    pair.wire.clear();
    pair.pass(Duration::from_secs(400));

    for end in ENDS {
        assert_eq!(pair.side(end).endpoint.counts().established, 1, "{end:?}");
    }
    assert_one_of_each(&mut pair, "after a while");
}

// COL-13
#[test]
fn a_peer_that_dies_while_two_ike_sas_are_made_leaves_nothing_behind() {
    let mut pair = opened();
    for end in ENDS {
        rekey_ike(&mut pair, end);
    }
    let request = pair.take(End::Gateway);
    pair.put(&request);
    pair.wire.clear();
    for number in pair.sent.len()..pair.sent.len() + 100 {
        pair.fates.insert(number, Fate::Lost);
    }

    pair.pass(Duration::from_secs(400));

    assert_eq!(pair.closed(End::Gateway), [CloseReason::PeerDead]);
    assert_eq!(pair.gateway.endpoint.counts().established, 0);
    assert_eq!(pair.gateway.endpoint.counts().children, 0);
}

// COL-24
#[test]
fn what_is_cleared_while_its_ike_sa_is_rekeyed_is_gone_on_both_sides() {
    for end in ENDS {
        let mut pair = opened();
        rekey_ike(&mut pair, end);

        pair.command(end, Command::Clear(Selection::All));
        pair.pass(Duration::from_secs(300));

        pair.assert_in_step();
        assert!(pair.client.plane.is_empty());
        for end in ENDS {
            assert_eq!(pair.side(end).endpoint.counts().established, 0, "{end:?}");
        }
        assert_eq!(pair.closed(end), [CloseReason::Cleared]);
        assert_eq!(pair.closed(end.other()), [CloseReason::DeletedByPeer]);
    }
}

// COL-24
#[test]
fn what_is_cleared_while_both_rekey_its_ike_sa_is_gone_on_both_sides() {
    for seed in 1..=6 {
        for end in ENDS {
            for steps in 0..6 {
                let mut pair = Plan { seed, ..open() }.build();
                pair.establish();
                for end in ENDS {
                    rekey_ike(&mut pair, end);
                }
                for _ in 0..steps {
                    pair.deliver();
                }

                pair.command(end, Command::Clear(Selection::All));
                pair.pass(Duration::from_secs(300));

                pair.assert_in_step();
                assert!(pair.client.plane.is_empty());
                let what = format!("seed {seed}, {end:?} after {steps}");
                for end in ENDS {
                    assert_eq!(pair.side(end).endpoint.counts().established, 0, "{what}, {end:?}");
                }
                assert_eq!(pair.closed(end), [CloseReason::Cleared], "{what}");
            }
        }
    }
}

// COL-16
#[test]
fn what_is_cleared_while_a_child_sa_is_made_or_rekeyed_is_never_installed() {
    for end in ENDS {
        let mut pair = opened();
        rekey_child(&mut pair, end);
        pair.command(end, Command::Clear(Selection::All));
        assert!(pair.side(end).plane.is_empty());

        pair.deliver();
        pair.deliver();

        assert!(pair.side(end).plane.is_empty(), "nothing comes up any more");
        pair.settle();
        pair.assert_in_step();
        assert_eq!(pair.closed(end), [CloseReason::Cleared]);
    }
}

// test of RFC 7296 §2.25.1
// COL-04
#[test]
fn a_rekeying_that_meets_our_delete_is_put_off_and_ends_with_it() {
    for end in ENDS {
        let mut pair = opened();
        let old = sole(&pair, end).children[0].clone();
        // `end` wants to delete it: as its expiry would.
        rekey_child(&mut pair, end);
        for _ in 0..2 {
            pair.deliver();
        }
        let delete = pair.take(end.other());
        assert_eq!(said(&delete).0, ExchangeType::Informational);

        // The other side rekeys the one that is being deleted: a slow peer may do so.
        let request = made_up_rekey(&pair, end.other(), old.outbound);
        pair.put(&request);

        let answer = pair.take(end.other());
        assert_eq!(said(&answer).3, [NotifyType::TemporaryFailure]);
        pair.put(&delete);
        // What was made up has used up a Message ID of the other side.
        pair.settle();
        pair.assert_in_step();
    }
}

/// A request to rekey the Child SA that leads to its sender by this SPI.
fn made_up_rekey(pair: &Pair, from: End, inbound: crate::ike::wire::ChildSpi) -> Flying {
    use crate::ike::wire::{Nonce, ProposalSpi, Sa, TrafficSelectors};
    let child = sole(pair, from).children[0].clone();
    let proposal = crate::ike::proposal::EspProposal::offer(
        &["aes128gcm16".parse().unwrap()],
        crate::ike::wire::ChildSpi(std::num::NonZeroU32::new(0x0dd0_0dd0).unwrap()),
        crate::ike::proposal::EspExchange::CreateChildSa(None),
    );
    let sa: Sa = proposal.unwrap();
    assert!(matches!(sa.proposals()[0].spi, ProposalSpi::Child(..)));
    let id = match from {
        End::Client => 2,
        End::Gateway => 0,
    };
    made_up(pair, from, ExchangeType::CreateChildSa, (Direction::Request, id), |chain| {
        chain.notify(&NotifyContent::RekeySa(ChildProtocol::Esp, inbound))?;
        chain.push(&Payload::Sa(sa))?;
        chain.push(&Payload::Nonce(Nonce::new(&[7; 32][..]).unwrap()))?;
        chain.push(&Payload::TsI(TrafficSelectors(child.local_ts.to_vec())))?;
        chain.push(&Payload::TsR(TrafficSelectors(child.remote_ts.to_vec())))
    })
}

// COL-06
#[test]
fn rekeying_a_child_sa_that_is_not_there_is_refused_by_its_spi() {
    for end in ENDS {
        let mut pair = opened();
        let nobodys = crate::ike::wire::ChildSpi(std::num::NonZeroU32::new(0x0bad_0bad).unwrap());

        let request = made_up_rekey(&pair, end, nobodys);
        pair.put(&request);

        let answer = pair.take(end);
        let answer = Plain::open(&answer.octets);
        let notify = answer.chain().notify(NotifyType::ChildSaNotFound).unwrap();
        assert_eq!(notify.content(), Ok(NotifyContent::ChildSaNotFound(ChildProtocol::Esp, nobodys)));
        assert_eq!(answer.kinds(), [PayloadType::Notify]);
    }
}

// COL-06
#[test]
fn whoever_hears_that_a_child_sa_is_not_there_any_more_makes_another_one() {
    for end in ENDS {
        let mut pair = opened();
        rekey_child(&mut pair, end);
        let request = pair.take(end.other());
        let child = sole(&pair, end).children[0].clone();
        // The other side has lost it.
        let gone = made_up(&pair, end, ExchangeType::Informational, (Direction::Request, id(end)), |chain| {
            chain.push(&Payload::Delete(Delete::Child(ChildProtocol::Esp, vec![child.inbound])))
        });
        pair.put(&gone);
        pair.wire.clear();
        assert!(pair.side(end.other()).plane.is_empty());
        let mut late = Plain::open(&request.octets);
        late.header.message_id = MessageId(id(end) + 1);
        pair.put(&Flying { octets: late.seal(), ..request });

        let answer = pair.take(end);
        assert_eq!(said(&answer).3, [NotifyType::ChildSaNotFound]);
        let mut answer_in_time = Plain::open(&answer.octets);
        answer_in_time.header.message_id = MessageId(id(end));
        pair.put(&Flying { octets: answer_in_time.seal(), ..answer });

        assert!(pair.side(end).plane.is_empty());
        let anew = pair.take(end.other());
        assert_eq!(said(&anew).3, [], "not the old one's place");
        let mut anew_in_time = Plain::open(&anew.octets);
        anew_in_time.header.message_id = MessageId(id(end) + 2);
        pair.put(&Flying { octets: anew_in_time.seal(), ..anew });
        assert_eq!(pair.side(end.other()).plane.len(), 1);
    }
}

/// The Message ID of the first request of one of them after the SA is up.
const fn id(end: End) -> u32 {
    match end {
        End::Client => 2,
        End::Gateway => 0,
    }
}

// test of RFC 7296 §1.4.1
// COL-07
#[test]
fn two_who_delete_a_child_sa_at_once_answer_without_it() {
    let mut pair = opened();
    // Both children of one rekeying each: make both sides delete the same old one.
    let client = sole(&pair, End::Client).children[0].clone();
    rekey_child(&mut pair, End::Client);
    pair.deliver();
    pair.deliver();
    let delete = pair.take(End::Gateway);

    // RFC 7296 §1.4.1: the gateway deletes the same one of itself.
    let crossing =
        made_up(&pair, End::Gateway, ExchangeType::Informational, (Direction::Request, 0), |chain| {
            chain.push(&Payload::Delete(Delete::Child(ChildProtocol::Esp, vec![client.outbound])))
        });
    pair.put(&crossing);

    let answer = pair.take(End::Gateway);
    assert_eq!(said(&answer), (ExchangeType::Informational, Direction::Response, vec![], vec![]));
    pair.put(&delete);
    pair.settle();
    pair.assert_in_step();
    assert_eq!(pair.gateway.plane.len(), 1);
}

// COL-08
#[test]
fn deleting_a_child_sa_that_is_not_there_is_answered_with_nothing() {
    for end in ENDS {
        let mut pair = opened();
        let nobodys = crate::ike::wire::ChildSpi(std::num::NonZeroU32::new(0x0bad_0bad).unwrap());
        let delete =
            made_up(&pair, end, ExchangeType::Informational, (Direction::Request, id(end)), |chain| {
                chain.push(&Payload::Delete(Delete::Child(ChildProtocol::Esp, vec![nobodys])))
            });

        pair.put(&delete);

        let answer = pair.take(end);
        assert_eq!(said(&answer), (ExchangeType::Informational, Direction::Response, vec![], vec![]));
        assert_eq!(sole(&pair, end.other()).children.len(), 1);
    }
}

/// `end` has asked for another Child SA; the other side has made it, and its answer is on the way. The
/// answer, and the SPI by which the other side knows it.
fn in_the_making(end: End) -> (Pair, Flying, crate::ike::wire::ChildSpi) {
    let mut pair = opened();
    let sa = sole(&pair, end);
    let (local_ts, remote_ts) = (sa.children[0].local_ts.to_vec(), sa.children[0].remote_ts.to_vec());
    pair.command(end, Command::NewChild { sa: sa.id, local_ts, remote_ts });
    pair.deliver();
    let answer = pair.take(end);
    let made = sole(&pair, end.other()).children[1].inbound;
    (pair, answer, made)
}

// test of RFC 7296 §2.25.1
// COL-06 COL-09
#[test]
fn a_child_sa_that_is_rekeyed_before_we_have_heard_of_it_is_not_said_to_be_lost() {
    for end in ENDS {
        let (mut pair, answer, made) = in_the_making(end);

        let request = made_up_rekey(&pair, end.other(), made);
        pair.put(&request);

        let told = pair.take(end.other());
        assert_eq!(said(&told).3, [NotifyType::TemporaryFailure]);
        pair.put(&answer);
        pair.assert_same_children();
        assert_eq!(pair.gateway.plane.len(), 2);
    }
}

// COL-09
#[test]
fn a_child_sa_that_is_deleted_before_we_have_heard_of_it_never_begins() {
    for end in ENDS {
        let (mut pair, answer, made) = in_the_making(end);
        let other = end.other();

        let delete =
            made_up(&pair, other, ExchangeType::Informational, (Direction::Request, id(other)), |chain| {
                chain.push(&Payload::Delete(Delete::Child(ChildProtocol::Esp, vec![made])))
            });
        pair.put(&delete);
        pair.put(&answer);

        assert_eq!(pair.side(end).plane.len(), 1);
        assert_eq!(failures(&pair.side(end).events), [Failure::PeerRefused]);
    }
}

// test of RFC 7296 §2.8.2
// COL-10 COL-16
#[test]
fn a_child_sa_is_not_deleted_over_an_ike_sa_that_does_not_have_it_yet() {
    let mut pair = opened();
    // The client's request is lost, and the gateway makes an IKE SA without knowing of it, with the old
    // Child SA still to be deleted.
    rekey_ike(&mut pair, End::Client);
    pair.wire.clear();
    rekey_ike(&mut pair, End::Gateway);
    pair.deliver();
    pair.deliver();
    let sa = sole(&pair, End::Gateway);
    assert_eq!(sa.children.len(), 1);
    // The delete of the old one is lost too.
    pair.wire.clear();
    rekey_child(&mut pair, End::Gateway);
    pair.wire.clear();
    let header = Header {
        spi_i: sa.spi_i,
        spi_r: sa.spi_r,
        version: Version::V2,
        exchange: ExchangeType::Informational,
        sender: OriginalRole::Initiator,
        direction: Direction::Request,
        message_id: MessageId(0),
    };
    let delete = Plain::new(header, |chain| {
        chain.push(&Payload::Delete(Delete::Child(ChildProtocol::Esp, vec![sa.children[0].inbound])))
    });
    let path = crate::ike::Path { local: sa.remote, remote: sa.local };
    pair.put(&Flying { to: End::Client, path, octets: delete.seal() });

    assert!(pair.wire.is_empty(), "not answered with nothing");
    pair.pass(Duration::from_secs(300));
    assert_one_of_each(&mut pair, "both know");
}

// COL-05
#[test]
fn a_delete_that_meets_our_rekeying_is_answered_as_ever_and_the_new_one_goes_on() {
    for end in ENDS {
        let mut pair = opened();
        let old = sole(&pair, end).children[0].clone();
        rekey_child(&mut pair, end);
        pair.deliver();
        let response = pair.take(end);

        // COL-20: the other side deletes the old one of itself, and that comes first.
        let delete = made_up(
            &pair,
            end.other(),
            ExchangeType::Informational,
            (Direction::Request, id(end.other())),
            |chain| chain.push(&Payload::Delete(Delete::Child(ChildProtocol::Esp, vec![old.outbound]))),
        );
        pair.put(&delete);
        let answer = pair.take(end.other());
        assert_eq!(said(&answer).2, [PayloadType::Delete]);

        pair.put(&response);

        let [new] = &sole(&pair, end).children[..] else { panic!("the new one") };
        assert_ne!(new.inbound, old.inbound);
        assert_eq!(pair.side(end).outbound, Some(new.inbound));
    }
}

// COL-11
#[test]
fn another_group_that_is_wanted_in_a_collision_leaves_the_other_sides_sa() {
    for seed in 1..=6 {
        let mut plan = Plan { seed, ..open() };
        plan.client.esp_proposals = vec!["aes128gcm16-x25519-ecp256".parse().unwrap()];
        plan.gateway.esp_proposals = vec!["aes128gcm16-ecp256-x25519".parse().unwrap()];
        let mut pair = plan.build();
        pair.establish();

        for end in ENDS {
            rekey_child(&mut pair, end);
        }
        pair.settle();

        assert_one_of_each(&mut pair, &format!("seed {seed}"));
    }
}

// test of RFC 7296 §2.25.2
// COL-13
#[test]
fn a_delete_of_the_ike_sa_that_meets_our_rekeying_ends_it() {
    for end in ENDS {
        let mut pair = opened();
        rekey_ike(&mut pair, end);
        pair.command(end.other(), Command::Clear(Selection::All));

        let delete = pair.take(end);
        pair.put(&delete);
        pair.pass(Duration::from_secs(300));

        pair.assert_in_step();
        for end in ENDS {
            assert_eq!(pair.side(end).endpoint.counts().established, 0, "{end:?}");
        }
        assert_eq!(pair.closed(end), [CloseReason::DeletedByPeer]);
        assert_eq!(pair.closed(end.other()), [CloseReason::Cleared]);
    }
}

// test of RFC 7296 §2.25.2
// COL-13
#[test]
fn a_rekeying_that_meets_our_delete_of_the_ike_sa_is_put_off() {
    for end in ENDS {
        let mut pair = opened();
        rekey_ike(&mut pair, end);
        pair.command(end.other(), Command::Clear(Selection::All));

        let request = pair.take(end.other());
        pair.put(&request);

        let answers: Vec<_> = pair.wire.iter().filter(|flying| flying.to == end).map(said).collect();
        assert_eq!(answers[1].3, [NotifyType::TemporaryFailure]);
        pair.settle();
        pair.assert_in_step();
        assert_eq!(pair.closed(end), [CloseReason::DeletedByPeer]);
    }
}

// test of RFC 7296 §2.25.2
// COL-14
#[test]
fn a_child_sa_that_is_wanted_while_the_ike_sa_is_rekeyed_is_put_off_and_not_lost() {
    for end in ENDS {
        let mut pair = opened();
        rekey_child(&mut pair, end);
        rekey_ike(&mut pair, end.other());

        let request = pair.take(end.other());
        pair.put(&request);

        let answers: Vec<_> = pair.wire.iter().filter(|flying| flying.to == end).map(said).collect();
        assert_eq!(answers[1].3, [NotifyType::TemporaryFailure]);
        let child = sole(&pair, end).children[0].inbound;
        pair.settle();
        assert_eq!(sole(&pair, end).children[0].inbound, child);
        // Not at once, but it is tried again.
        pair.pass(Duration::from_secs(60));
        assert_ne!(sole(&pair, end).children[0].inbound, child);
        assert_one_of_each(&mut pair, "later");
    }
}

// test of RFC 7296 §2.25.1
// COL-15
#[test]
fn an_ike_sa_is_not_rekeyed_while_a_child_sa_is_made() {
    for end in ENDS {
        let mut pair = opened();
        rekey_ike(&mut pair, end);
        rekey_child(&mut pair, end.other());

        let request = pair.take(end.other());
        pair.put(&request);

        let answers: Vec<_> = pair.wire.iter().filter(|flying| flying.to == end).map(said).collect();
        assert_eq!(answers[1].3, [NotifyType::TemporaryFailure]);
        pair.pass(Duration::from_secs(120));
        assert_one_of_each(&mut pair, "later");
    }
}

// test of RFC 7296 §2.25.2
// COL-16
#[test]
fn a_child_sa_is_deleted_as_ever_while_the_ike_sa_is_rekeyed() {
    for end in ENDS {
        let mut pair = opened();
        let child = sole(&pair, end).children[0].clone();
        rekey_ike(&mut pair, end);
        let request = pair.take(end.other());

        let other = end.other();
        let delete =
            made_up(&pair, other, ExchangeType::Informational, (Direction::Request, id(other)), |chain| {
                chain.push(&Payload::Delete(Delete::Child(ChildProtocol::Esp, vec![child.outbound])))
            });
        pair.put(&delete);

        let answer = pair.take(other);
        assert_eq!(said(&answer).2, [PayloadType::Delete]);
        assert!(pair.side(end).plane.is_empty());
        drop(request);
    }
}

// test of RFC 7296 §2.25.2
// COL-17
#[test]
fn two_who_delete_the_ike_sa_at_once_are_both_rid_of_it() {
    let mut pair = opened();
    for end in ENDS {
        pair.command(end, Command::Clear(Selection::All));
    }

    pair.settle();

    for end in ENDS {
        assert_eq!(pair.side(end).endpoint.counts().established, 0, "{end:?}");
        assert_eq!(pair.closed(end), [CloseReason::Cleared]);
    }
}

// COL-18
#[test]
fn an_ike_sa_that_can_not_be_rekeyed_for_minutes_ends() {
    let mut plan = open();
    plan.client_profile(|profile| {
        profile.lifetimes.ike = Some(Duration::from_secs(1_000));
        profile.lifetimes.grace = Duration::from_secs(200);
    });
    let mut pair = plan.build();
    pair.establish();

    for _ in 0..1_400 {
        // Whatever the client wants is put off.
        while let Some(flying) = pair.wire.pop_front() {
            let plain = Plain::open(&flying.octets);
            if plain.header.exchange == ExchangeType::CreateChildSa && flying.to == End::Gateway {
                let mut header = plain.header;
                header.direction = Direction::Response;
                header.sender = OriginalRole::Responder;
                let answer = Plain::new(header, |chain| chain.plain(NotifyType::TemporaryFailure));
                let path = crate::ike::Path { local: flying.path.remote, remote: flying.path.local };
                pair.put(&Flying { to: End::Client, path, octets: answer.seal() });
            } else {
                pair.put(&flying);
            }
        }
        pair.now = pair.now.after(Duration::from_secs(1));
        if pair.client.endpoint.deadline().is_some_and(|deadline| deadline.is_due(pair.now)) {
            pair.step(End::Client, crate::ike::Input::Timeout);
        }
    }

    let rekeyings = pair.sent.iter().filter(|flying| said(flying).0 == ExchangeType::CreateChildSa).count();
    assert!((10..=30).contains(&rekeyings), "{rekeyings} times");
    assert_eq!(pair.client.endpoint.counts().established, 0);
}

// COL-21
#[test]
fn an_old_child_sa_that_nobody_deletes_ends_when_its_time_is_over() {
    let mut plan = open();
    plan.gateway_profile(|profile| {
        profile.lifetimes.child = Some(Duration::from_secs(100));
        profile.lifetimes.grace = Duration::from_secs(50);
    });
    let mut pair = plan.build();
    pair.establish();
    let old = sole(&pair, End::Gateway).children[0].inbound;
    rekey_child(&mut pair, End::Client);
    pair.deliver();
    let response = pair.take(End::Client);
    drop(response);
    // The client never gets the answer, nor deletes the old one.
    for number in pair.sent.len()..pair.sent.len() + 100 {
        pair.fates.insert(number, Fate::Lost);
    }

    pair.pass(Duration::from_secs(151));

    assert!(!pair.gateway.plane.contains_key(&old));
    assert!(pair.gateway.outbound.is_some_and(|spi| spi != old), "traffic goes on through the new one");
}

// COL-23
#[test]
fn a_rekeying_for_more_than_there_was_is_narrowed_to_it() {
    use crate::ike::wire::{TrafficSelector, TrafficSelectors};
    let mut pair = opened();
    let child = sole(&pair, End::Client).children[0].clone();
    rekey_child(&mut pair, End::Client);
    let request = pair.take(End::Gateway);
    let every = crate::testing::pair::prefix("0.0.0.0/0");
    let wide = Plain::open(&request.octets).with(|payloads| {
        for payload in payloads {
            if let Payload::TsI(selectors) | Payload::TsR(selectors) = payload {
                *selectors = TrafficSelectors(vec![every.clone()]);
            }
        }
    });

    pair.put(&Flying { octets: wide.seal(), ..request });

    let response = pair.take(End::Client);
    let plain = Plain::open(&response.octets);
    let narrowed: Vec<TrafficSelector> = plain
        .payloads()
        .into_iter()
        .filter_map(
            |payload| if let Payload::TsI(ts) | Payload::TsR(ts) = payload { Some(ts.0) } else { None },
        )
        .flatten()
        .collect();
    assert_eq!(narrowed, [child.local_ts.to_vec(), child.remote_ts.to_vec()].concat());
    pair.put(&response);
    pair.settle();
    assert_one_of_each(&mut pair, "narrowed");
}

// test of RFC 7296 §2.8.1
// COL-03
#[test]
fn of_two_nonces_the_lower_one_is_so_octet_by_octet_and_when_it_ends_first() {
    let lower = crate::ike::sa::established::lower;

    assert_eq!(lower(&[1, 255], &[2]), [1, 255], "not as numbers");
    assert_eq!(lower(&[1, 2, 3], &[1, 2]), [1, 2]);
    assert_eq!(lower(&[0, 9], &[0, 10]), [0, 9]);
}

// test of RFC 7296 §2.8
#[test]
fn what_is_wanted_of_children_while_the_peer_rekeys_the_ike_sa_is_done_on_the_new_one() {
    for end in ENDS {
        let mut plan = open();
        plan.client_profile(|profile| profile.dpd = Some(Duration::from_secs(10)));
        plan.gateway_profile(|profile| profile.dpd = Some(Duration::from_secs(10)));
        let mut pair = plan.build();
        pair.establish();
        let before = sole(&pair, end).children[0].inbound;
        // `end` asks whether the peer lives, and that waits; a rekeying waits behind it.
        pair.now = pair.now.after(Duration::from_secs(11));
        pair.step(end, crate::ike::Input::Timeout);
        rekey_child(&mut pair, end);
        rekey_ike(&mut pair, end.other());

        let request = pair.take(end);
        pair.put(&request);
        pair.settle();

        assert_ne!(sole(&pair, end).children[0].inbound, before, "it was rekeyed");
        assert_one_of_each(&mut pair, "later");
    }
}

// test of RFC 7383 §2.6
#[test]
fn fragments_of_a_request_and_of_a_response_of_the_same_number_are_kept_apart() {
    for seed in 1..=4 {
        let mut plan = Plan { seed, ..open() };
        for settings in [&mut plan.client, &mut plan.gateway] {
            settings.ike_proposals = vec!["aes128gcm16-prfsha256-modp4096".parse().unwrap()];
            settings.fragment_size = crate::ike::config::FragmentSize::LEAST;
        }
        let mut pair = plan.build();
        pair.establish();
        // From here on both count from 0.
        rekey_ike(&mut pair, End::Client);
        pair.settle();
        for end in ENDS {
            rekey_ike(&mut pair, end);
        }
        // Both requests are in fragments, and so are both responses; they meet one by one.
        let mut last = End::Client;
        while !pair.wire.is_empty() {
            let to =
                if pair.wire.iter().any(|flying| flying.to == last.other()) { last.other() } else { last };
            last = to;
            let flying = pair.take(to);
            pair.put(&flying);
        }

        pair.settle();
        assert_one_of_each(&mut pair, &format!("seed {seed}"));
    }
}

// RFC 7383 §2.6
#[test]
fn a_response_in_fragments_between_those_of_a_request_disturbs_nothing() {
    let mut plan = open();
    for settings in [&mut plan.client, &mut plan.gateway] {
        settings.ike_proposals = vec!["aes128gcm16-prfsha256-modp4096".parse().unwrap()];
        settings.fragment_size = crate::ike::config::FragmentSize::LEAST;
    }
    let mut pair = plan.build();
    pair.establish();
    rekey_ike(&mut pair, End::Client);
    pair.settle();
    for end in ENDS {
        rekey_ike(&mut pair, end);
    }
    // The gateway answers the client's request.
    while pair.wire.iter().any(|flying| flying.to == End::Gateway) {
        let flying = pair.take(End::Gateway);
        pair.put(&flying);
    }
    let (requests, responses): (Vec<_>, Vec<_>) = std::mem::take(&mut pair.wire)
        .into_iter()
        .partition(|flying| Header::decode(&flying.octets).unwrap().direction == Direction::Request);
    assert!(
        requests.len() > 1 && requests.len() == responses.len(),
        "{} {}",
        requests.len(),
        responses.len()
    );

    for (request, response) in requests.iter().zip(&responses) {
        pair.put(request);
        pair.put(response);
    }
    pair.settle();

    assert_one_of_each(&mut pair, "both whole");
}
