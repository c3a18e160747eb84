//! Records in virtual time.

use super::*;
use crate::radius::event::Outcome;
use crate::radius::request::{Cause, Record, Status, Use};

fn rig(servers: &[Server]) -> Rig {
    Rig::with(Settings { authentication: Vec::new(), accounting: servers.to_vec(), interim: None })
}

fn record(session: &str, status: Status) -> Input<'static> {
    Input::Account(Box::new(Record {
        session: session.into(),
        status,
        user: b"alice"[..].into(),
        station: station(),
        ipv4: None,
        ipv6: None,
        class: Arc::new([]),
        lasted: Duration::ZERO,
        carried: Use::default(),
    }))
}

fn status(sent: &Sent) -> u8 {
    sent.value(Kind::ACCT_STATUS_TYPE).unwrap()[3]
}

fn recorded(to: &Sent) -> Vec<u8> {
    answer(5, to, &[], Making { has_message_authenticator: false, ..WELL })
}

fn counted(rig: &Rig, outcome: Outcome) -> u64 {
    rig.client.counters().outcomes[outcome.position()]
}

#[test]
fn records_of_a_session_go_one_after_the_other_and_those_of_others_at_once() {
    let mut rig = rig(&[server(1)]);
    let start = rig.step(record("a", Status::Start)).only_sent();
    rig.step(record("a", Status::Stop(Cause::UserRequest))).nothing();
    assert_eq!(status(&rig.step(record("b", Status::Start)).only_sent()), 1);
    assert!(!rig.client.has_told_all());

    let stop = rig.hear(start.socket, &recorded(&start)).only_sent();

    assert_eq!((status(&start), status(&stop)), (1, 2));
    rig.hear(stop.socket, &recorded(&stop)).nothing();
    // Twice is once.
    rig.hear(stop.socket, &recorded(&stop)).nothing();
    assert_eq!(counted(&rig, Outcome::Recorded), 2);
}

#[test]
fn a_record_goes_to_the_next_server_and_says_how_old_it_is() {
    let mut rig = rig(&[server(1), server(2)]);
    let first = rig.step(record("a", Status::Start)).only_sent();
    for _ in 0..2 {
        assert_eq!(rig.wait_for_something().only_sent(), first);
    }

    let second = rig.wait_for_something().only_sent();

    let delay = |sent: &Sent| sent.value(Kind::ACCT_DELAY_TIME).unwrap()[3];
    assert_eq!((second.server, delay(&first)), (server(2).address, 0));
    assert!((6..=7).contains(&delay(&second)), "{}", delay(&second));
    rig.hear(second.socket, &recorded(&second)).nothing();
    assert!(rig.client.has_told_all());
}

#[test]
fn a_record_that_no_server_takes_is_tried_again_and_lost_in_the_end() {
    let mut rig = rig(&[server(1)]);
    rig.step(record("a", Status::Start)).only_sent();
    let begun = rig.now.mono;
    while !rig.client.has_told_all() {
        rig.wait();
    }

    let waited = rig.now.mono.since(begun);
    assert!((3_500..3_700).contains(&waited.as_secs()), "{waited:?}");
    assert_eq!(counted(&rig, Outcome::RecordLost), 1);
    let lost =
        rig.events.iter().any(|event| matches!(event, Event::Failed { result: Outcome::RecordLost, .. }));
    assert!(lost, "{:?}", rig.events);

    // Servers that come back in time get it.
    rig.step(record("b", Status::Start)).only_sent();
    for _ in 0..20 {
        let sent = rig.wait_for_something().sent.remove(0);
        rig.pass(Duration::from_millis(1));
        if sent.packet().code == Code::StatusServer {
            rig.hear(sent.socket, &recorded(&sent));
        }
    }
    let sent = rig.wait_for_something().sent.remove(0);
    if sent.packet().code == Code::AccountingRequest {
        rig.hear(sent.socket, &recorded(&sent));
        assert!(rig.client.has_told_all());
    }
}

#[test]
fn of_what_a_session_has_carried_only_the_latest_waits() {
    let mut rig = rig(&[server(1)]);
    let start = rig.step(record("a", Status::Start)).only_sent();
    for _ in 0..5 {
        rig.step(record("a", Status::Interim)).nothing();
    }
    rig.step(record("a", Status::Stop(Cause::UserRequest))).nothing();

    let next = rig.hear(start.socket, &recorded(&start)).only_sent();

    assert_eq!(status(&next), 2);
    rig.hear(next.socket, &recorded(&next)).nothing();
    assert!(rig.client.has_told_all());
}

#[test]
fn more_records_than_may_wait_are_lost_and_counted() {
    let mut rig = rig(&[server(1)]);
    for number in 0..16_484 {
        rig.step(record(&format!("s{number}"), Status::Start));
    }

    assert_eq!(counted(&rig, Outcome::RecordLost), 100);
}

#[test]
fn without_accounting_servers_nothing_is_kept() {
    let mut rig = Rig::new(&[server(1)]);
    rig.step(record("a", Status::Start)).nothing();
    assert!(rig.client.has_told_all());
}

#[test]
fn a_forged_receipt_is_none() {
    let mut rig = rig(&[server(1)]);
    let start = rig.step(record("a", Status::Start)).only_sent();
    rig.hear(start.socket, &answer(5, &start, &[], Making { secret: b"other", ..WELL })).nothing();
    rig.hear(start.socket, &answer(2, &start, &[], WELL)).nothing();
    assert!(!rig.client.has_told_all());
}
