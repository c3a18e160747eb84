//! The log, what is written of it, and what peers are told.

use std::time::Duration;

use super::*;
use crate::clb::frame::{MAX_FROM_MASTER, MAX_FROM_SLAVE};
use crate::clb::lan::{KEY, Lan, Raw, address, ms, registration};
use crate::clb::wire::{FromMaster, FromSlave, kind};
use crate::clb::{CloseReason, MasterInput, SlaveInput};
use crate::codec::{Reader, Writer};

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_epoch(Duration::from_secs(seconds))
}

fn ticket(number: u32, expires_at: u64) -> UsedTicket {
    let mut id = [0; 16];
    id[0] = u8::try_from(number & 255).unwrap();
    id[1..5].copy_from_slice(&number.to_be_bytes());
    UsedTicket { id, expires_at: at(expires_at), origin: None }
}

fn with_origin(number: u32, issuer: &str) -> UsedTicket {
    let spis = (NonZeroU64::new(0x0102).unwrap(), NonZeroU64::MAX);
    let origin = Some(TicketOrigin { issuer: issuer.parse().unwrap(), run: 7, spis });
    UsedTicket { origin, ..ticket(number, 0x0304) }
}

/// A log with so many tickets that live for ever.
fn log(count: u32, source: Source) -> TicketLog {
    let mut log = TicketLog::default();
    (0..count).for_each(|number| assert!(log.note(at(1), ticket(number, 1_000_000), source)));
    log
}

fn numbers(tickets: &[UsedTicket]) -> Vec<u32> {
    tickets.iter().map(|ticket| u32::from_be_bytes(ticket.id[1..5].try_into().unwrap())).collect()
}

#[test]
fn a_ticket_is_noted_once_and_forgotten_when_it_expires() {
    let mut log = TicketLog::default();

    assert!(log.note(at(10), ticket(1, 20), Source::Below));
    assert!(!log.note(at(11), ticket(1, 20), Source::Master));
    assert!(!log.note(at(12), ticket(2, 12), Source::Below), "it has expired");
    assert_eq!(log.len(), 1);
    assert!(log.note(at(20), ticket(3, 30), Source::Below));
    assert_eq!(log.len(), 1);
    assert!(log.note(at(21), ticket(1, 40), Source::Below), "nobody remembers it");
}

#[test]
fn the_log_is_bounded_and_forgets_what_expires_first() {
    let mut log = TicketLog::default();
    for number in 0..u32::try_from(MAX_TICKETS).unwrap() {
        assert!(log.note(at(1), ticket(number, u64::from(number) + 1_000), Source::Below));
    }

    assert!(log.note(at(1), ticket(u32::MAX, 5_000), Source::Below));

    assert_eq!((log.len(), log.by_id.len(), log.by_expiry.len()), (MAX_TICKETS, MAX_TICKETS, MAX_TICKETS));
    assert!(!log.by_id.contains_key(&ticket(0, 0).id));
    assert!(log.by_id.contains_key(&ticket(u32::MAX, 0).id));
}

#[test]
fn tickets_are_laid_out_as_documented() {
    let mut body = Writer::new();
    write_tickets(&mut body, &[ticket(1, 0x0102), with_origin(2, "gw1")]);

    let expected = [
        &[0, 2, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
        &[0, 0, 0, 0, 0, 0, 1, 2, 0],
        &[2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0, 0, 0, 0, 0, 0, 3, 4, 1],
        b"\x03gw1",
        &[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 1, 2],
        &[255; 8],
    ]
    .concat();
    assert_eq!(body.as_slice(), expected);
    let tickets = vec![ticket(1, 0x0102), with_origin(2, "gw1")];
    assert_eq!(FromSlave::decode(kind::USED, &expected), Ok(Some(FromSlave::Used(tickets.clone()))));
    assert_eq!(FromMaster::decode(kind::TICKETS, &expected), Ok(Some(FromMaster::Tickets(tickets))));
}

#[test]
fn tickets_that_are_cut_short_too_long_or_wrong_are_refused() {
    let mut body = Writer::new();
    write_tickets(&mut body, &[with_origin(2, "gw1")]);
    let good = body.into_octets();
    let changed = |place: usize, octet| {
        let mut body = good.clone();
        body[place] = octet;
        FromSlave::decode(kind::USED, &body)
    };

    for length in 0..good.len() {
        assert!(FromSlave::decode(kind::USED, &good[..length]).is_err(), "{length} octets");
        assert!(FromMaster::decode(kind::TICKETS, &good[..length]).is_err(), "{length} octets");
    }
    assert!(FromSlave::decode(kind::USED, &[&good[..], &[0]].concat()).is_err());
    assert!(changed(0, 255).is_err(), "more tickets than octets");
    assert!(changed(28, b'/').is_err(), "a name that is none");
    assert!(changed(26, 3).is_ok(), "other flags are not looked at");
    let no_spi = [&good[..good.len() - 8], &[0; 8]].concat();
    assert!(FromSlave::decode(kind::USED, &no_spi).is_err());
    assert!(read_tickets(&mut Reader::new(&[255, 255])).is_err());
}

#[test]
fn news_and_what_was_missed_come_in_frames_that_fit() {
    let mut log = log(10, Source::Below);
    let mut told = Told::new(&log);
    (10..20).for_each(|number| assert!(log.note(at(1), ticket(number, 1_000_000), Source::Below)));
    let room = 2 + 4 * 25;

    assert!(told.has_news(&log) && told.has_missed());
    let mut news = vec![];
    while told.has_news(&log) {
        let some = told.news(&log, room, |_| true);
        assert!((1..=4).contains(&some.len()));
        news.extend(numbers(&some));
    }
    let mut missed = vec![];
    while told.has_missed() {
        missed.extend(numbers(&told.missed(&log, room, |_| true)));
    }
    assert_eq!((news, missed), (Vec::from_iter(10..20), Vec::from_iter(0..10)));
}

#[test]
fn the_longest_ticket_fits_into_every_frame() {
    let long = with_origin(1, &"x".repeat(GatewayName::MAX_LENGTH));
    for frame in [MAX_FROM_SLAVE, MAX_FROM_MASTER] {
        for octets in [longest_body(frame), Pace::share(10_000, frame)] {
            let mut log = TicketLog::default();
            assert!(log.note(at(1), long.clone(), Source::Below));
            let mut told = Told::new(&log);

            let tickets = told.missed(&log, octets, |_| true);

            assert_eq!(tickets, std::slice::from_ref(&long));
            let length = FromSlave::Used(tickets).to_body().len();
            assert!(length <= octets, "{length} octets in {octets}");
        }
    }
}

#[test]
fn whoever_wants_none_of_a_long_log_is_soon_through_with_it() {
    let mut log = log(5_000, Source::Master);
    assert!(log.note(at(1), ticket(9_999, 1_000_000), Source::Below));
    let mut told = Told::new(&log);

    let mut frames = 0;
    let mut heard = vec![];
    while told.has_missed() {
        heard.extend(numbers(&told.missed(&log, 996, |source| source == Source::Below)));
        frames += 1;
    }

    assert_eq!((heard, frames), (vec![9_999], 5));
}

#[test]
fn everybody_hears_of_a_ticket_once() {
    let mut lan = Lan::with_slaves([1, 2, 3]);
    let later = u64::MAX;

    lan.slave(1, SlaveInput::TicketUsed(ticket(11, later)));
    lan.master(MasterInput::TicketUsed(ticket(10, later)));
    lan.pass(ms(20));
    // A client of two minds: the second who takes it in does not know yet.
    lan.slave(2, SlaveInput::TicketUsed(ticket(11, later)));
    lan.slave(3, SlaveInput::TicketUsed(ticket(12, later)));
    lan.pass(ms(20));

    let heard = |number: u16| {
        let mut heard = lan.used.get(&number).cloned().unwrap_or_default();
        heard.sort_unstable();
        heard
    };
    assert_eq!(heard(0), [11, 12]);
    assert_eq!(heard(1), [10, 12]);
    assert_eq!(heard(2), [10, 11, 12]);
    assert_eq!(heard(3), [10, 11]);
    // It is told, and that is that.
    let sent = lan.sent;
    lan.used.clear();
    lan.pass(ms(60));
    assert_eq!((lan.used.len(), lan.sent - sent), (0, 0));
}

#[test]
fn a_ticket_is_told_at_once_and_those_that_follow_together() {
    let mut lan = Lan::with_slaves([1, 2]);
    lan.pass(ms(100));
    let frames = |lan: &Lan| lan.recorded.iter().filter(|octets| octets[2] == kind::USED).count();

    lan.slave(1, SlaveInput::TicketUsed(ticket(11, u64::MAX)));
    lan.settle();
    assert_eq!((lan.used.get(&2), frames(&lan)), (Some(&vec![11]), 1));

    for number in 12..20 {
        lan.slave(1, SlaveInput::TicketUsed(ticket(number, u64::MAX)));
    }
    lan.pass(ms(20));
    assert_eq!((lan.used[&2].len(), frames(&lan)), (9, 2));
}

#[test]
fn who_comes_later_hears_what_was_before() {
    let mut lan = Lan::with_slaves([1]);
    for number in 0..200 {
        lan.slave(1, SlaveInput::TicketUsed(ticket(number, u64::MAX)));
    }
    lan.pass(ms(1_000));
    assert_eq!(lan.used[&0].len(), 200);

    lan.add(2, KEY);
    lan.pass(ms(1));
    lan.slave(1, SlaveInput::TicketUsed(ticket(200, u64::MAX)));
    lan.pass(ms(100));

    assert_eq!(lan.used[&2].len(), 201);
}

#[test]
fn the_next_master_hears_what_the_last_one_did_not_hand_on() {
    let mut lan = Lan::with_slaves([1, 2]);
    lan.pass(ms(100));
    lan.cut(1);
    lan.slave(1, SlaveInput::TicketUsed(ticket(11, u64::MAX)));
    lan.pass(ms(20));
    assert_eq!(lan.used.get(&2), None);

    lan.crash_master();
    lan.master = Some(crate::clb::lan::master(None, lan.now));
    lan.slave(1, SlaveInput::MasterAt(crate::clb::lan::vip()));
    lan.slave(2, SlaveInput::MasterAt(crate::clb::lan::vip()));
    lan.pass(ms(200));

    assert_eq!((lan.used.get(&0), lan.used.get(&2)), (Some(&vec![11]), Some(&vec![11])));
}

#[test]
fn a_storm_of_tickets_reaches_everybody_and_does_not_flood_them() {
    let mut lan = Lan::with_slaves(1..=10);
    lan.pass(ms(1_000));
    let sent = lan.sent;
    for number in 0..20_000 {
        lan.slave(1, SlaveInput::TicketUsed(ticket(number, u64::MAX)));
    }

    let mut most = 0;
    for _ in 0..40 {
        let before = lan.sent;
        lan.pass(ms(100));
        most = most.max(lan.sent - before);
    }

    assert!((0..=10).filter(|number| *number != 1).all(|number| lan.used[&number].len() == 20_000));
    let octets = lan.sent - sent;
    assert!(octets < 20_000 * 26 * 10, "{octets} octets for 20000 tickets of 25 octets to 10 slaves");
    assert!(most < 1_200_000, "{most} octets in a tenth of a second");
}

#[test]
fn who_is_no_member_yet_says_nothing_of_tickets() {
    let mut lan = Lan::new();
    let mut raw = Raw::connect(&mut lan, address(5));

    raw.say(&mut lan, &FromSlave::Used(vec![ticket(1, u64::MAX)]));

    assert_eq!(lan.closed, [(raw.peer, CloseReason::Unexpected)]);
    assert!(lan.used.is_empty());
}

#[test]
fn tickets_that_are_none_end_the_connection() {
    let mut lan = Lan::new();
    let mut raw = Raw::connect(&mut lan, address(5));
    raw.register(&mut lan, registration(5));

    let octets = raw.seal(kind::USED, &[0, 1, 0]);
    lan.send(raw.peer, &octets);

    assert_eq!(lan.closed, [(raw.peer, CloseReason::Malformed)]);
}
