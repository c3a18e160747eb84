//! Every cell of the table, through the machine.

use super::*;
use crate::hsrp::Preempt;

/// A row of `RFC 2281 §5.7`.
struct Row {
    /// Its letter; `*` when the router preempts.
    event: &'static str,
    rfc: [&'static str; 6],
}

const ROWS: [Row; 13] = [
    Row { event: "a", rfc: ["AB/3", "", "", "", "", ""] },
    Row { event: "b", rfc: ["", "CD/1", "CD/1", "CD/1", "CD/1", "CDH/1"] },
    Row { event: "c", rfc: ["", "", "AB/4", "", "CDFI/6", ""] },
    Row { event: "d", rfc: ["", "", "B/4", "D/5", "", ""] },
    Row { event: "e", rfc: ["", "", "", "F", "F", "F"] },
    Row { event: "f", rfc: ["", "", "", "B/3", "B/3", ""] },
    Row { event: "g", rfc: ["", "EAB/3", "EA", "EA", "EA", "AB/4"] },
    Row { event: "h", rfc: ["", "EAB/3", "A", "A", "A", "G"] },
    Row { event: "h*", rfc: ["", "EAB/3", "BGFI/6", "BGFI/6", "BGFI/6", "G"] },
    Row { event: "i", rfc: ["", "", "AB/4", "A", "CFI/6", ""] },
    Row { event: "j", rfc: ["", "", "", "", "", "ABH/4"] },
    Row { event: "k", rfc: ["", "", "B", "B/3", "B/3", "B"] },
    Row { event: "l", rfc: ["", "", "B/4", "D/5", "", "B"] },
];

/// Hold time of the others, ms.
const HELD: u64 = 7_000;

// test of RFC 2281 §5.7
#[test]
fn every_event_does_in_every_state_what_the_rfc_says() {
    for Row { event, rfc } in ROWS {
        for (state, cell) in State::ALL.into_iter().zip(rfc) {
            let mut settings = settings();
            settings.timers = timers(3_000, 10_000);
            settings.preempt = (event == "h*").then(Preempt::default);
            if state == State::Learn {
                settings.vips.clear();
            }
            let mut desk = Desk::in_state(settings, state);
            let ms = 20_000;

            let said = happen(&mut desk, event, ms);

            let (actions, next) = match cell.split_once('/') {
                Some((actions, next)) => (actions, State::ALL[next.parse::<usize>().unwrap() - 1]),
                None => (cell, state),
            };
            assert_eq!(desk.group.state(), next, "{event} in {state}: {said:?}");
            assert_eq!(said, expected(actions, state, next, event), "{event} in {state}");
            let due = desk.group.due;
            let (hold, own) = (Some(at(ms + HELD).mono), Some(at(ms + 10_000).mono));
            if actions.contains('A') {
                assert_eq!(due.active, if "gh*".contains(event) { hold } else { own }, "{event} in {state}");
            }
            if actions.contains('B') {
                assert_eq!(due.standby, if "kl".contains(event) { hold } else { own }, "{event} in {state}");
            }
            assert!(!actions.contains('C') || due.active.is_none(), "{event} in {state}");
            assert!(!actions.contains('D') || due.standby.is_none(), "{event} in {state}");
        }
    }
}

/// Makes an event happen by `ms`. What the router says to it alone.
fn happen(desk: &mut Desk, event: &str, ms: u64) -> Vec<String> {
    let state = desk.group.state();
    match event {
        "a" if state == State::Initial => desk.give(ms, Input::Interface(Some(interface(2)))),
        "a" => desk.give(ms, Input::Start),
        "b" => desk.give(ms, Input::Stop),
        "c" | "d" | "e" => run_out(desk, event, ms),
        "f" => hear(desk, ms, HIGH, State::Speak),
        "g" => hear(desk, ms, HIGH, State::Active),
        "h" | "h*" => hear(desk, ms, LOW, State::Active),
        "i" => {
            if matches!(state, State::Listen | State::Speak | State::Standby) {
                hear(desk, ms, HIGH, State::Active);
            }
            desk.hear(ms, HIGH, Opcode::Resign, State::Speak)
        }
        "j" => desk.hear(ms, HIGH, Opcode::Coup, State::Listen),
        "k" => hear(desk, ms, HIGH, State::Standby),
        "l" => hear(desk, ms, LOW, State::Standby),
        _ => panic!("{event}"),
    }
}

/// A hello that counts for [`HELD`].
fn hear(desk: &mut Desk, ms: u64, (last, priority): (u8, u8), state: State) -> Vec<String> {
    let message = message(desk.group.settings(), last, Opcode::Hello, state);
    desk.hear_message(ms, last, Message { priority, hold: Duration::from_millis(HELD), ..message })
}

/// Lets one timer run out, if it runs, and no other one.
fn run_out(desk: &mut Desk, event: &str, ms: u64) -> Vec<String> {
    let due = &mut desk.group.due;
    let later = |timer: &mut Option<Instant>, is_now| {
        *timer = timer.map(|_| at(if is_now { ms } else { ms + 60_000 }).mono);
    };
    later(&mut due.active, event == "c");
    later(&mut due.standby, event == "d");
    later(&mut due.hello, event == "e");
    desk.give(ms, Input::Timeout)
}

fn expected(actions: &str, from: State, to: State, event: &str) -> Vec<String> {
    let has = |action| actions.contains(action);
    let mut said = Vec::new();
    let source = |state| if state == State::Active { "virtual" } else { "own" };
    if has('E') && from == State::Learn {
        said.push("LearnedVip { vip: 10.0.0.100 }".to_owned());
    }
    if has('G') {
        said.push(format!("coup {from} 100 from {} MAC", source(from)));
    }
    if has('H') {
        said.push(format!("resign {to} 100 from own MAC"));
    }
    if from == State::Active && to != from {
        said.push("release".to_owned());
    }
    if to == State::Active && to != from {
        said.push("acquire 10.0.0.100".to_owned());
    }
    if has('F') {
        said.push(format!("hello {to} 100 from {} MAC", source(to)));
    }
    if has('I') {
        said.push("announce".to_owned());
    }
    if to != from {
        let letter = event.trim_end_matches('*');
        said.push(format!("{from} -{letter}-> {to}"));
    }
    said
}
