//! What every machine promises, and that no input at any time breaks it.

use proptest::prelude::*;

use super::*;
use crate::hsrp::{Preempt, Track};

/// Something that can happen to a router.
#[derive(Clone, Debug)]
enum Happening {
    /// Octets from router `u8`.
    Octets(u8, Vec<u8>),
    /// An authenticated message: sender, priority, opcode, state, hello and hold in ms.
    Message(u8, u8, Opcode, State, u32, u32),
    /// The same, with one octet replaced.
    Damaged(u8, usize, u8),
    Interface(Option<u8>),
    Tracked(bool),
    Reconfigure(u8),
    Start,
    Stop,
    Timeout,
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let opcode = prop_oneof![3 => Just(Opcode::Hello), 1 => Just(Opcode::Coup), 1 => Just(Opcode::Resign)];
    let state = (0..6_usize).prop_map(|index| State::ALL[index]);
    let ms = prop_oneof![0..20_u32, 0..20_000_u32, any::<u32>()];
    prop_oneof![
        1 => (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..80))
            .prop_map(|(last, octets)| Happening::Octets(last, octets)),
        6 => (1..6_u8, any::<u8>(), opcode, state, ms.clone(), ms).prop_map(
            |(last, priority, opcode, state, hello, hold)| {
                Happening::Message(last, priority, opcode, state, hello, hold)
            }
        ),
        1 => (1..6_u8, 0..52_usize, any::<u8>())
            .prop_map(|(last, at, octet)| Happening::Damaged(last, at, octet)),
        1 => proptest::option::of(1..4_u8).prop_map(Happening::Interface),
        1 => any::<bool>().prop_map(Happening::Tracked),
        1 => any::<u8>().prop_map(Happening::Reconfigure),
        1 => Just(Happening::Start),
        1 => Just(Happening::Stop),
        8 => Just(Happening::Timeout),
    ]
}

/// Settings by number: every bit changes one thing.
fn numbered(number: u8) -> Settings {
    let bit = |bit: u8| number & (1 << bit) != 0;
    let mut settings = settings();
    if bit(0) {
        settings.version = Version::V1;
    } else if bit(1) {
        settings.vips = vec!["fd50::5".parse().unwrap()];
    }
    if bit(2) && !settings.is_ipv6() {
        settings.vips.clear();
    }
    settings.preempt =
        bit(3).then(|| Preempt { delay_minimum: Duration::from_secs(1), ..Preempt::default() });
    settings.timers = if bit(4) { timers(15, 50) } else { None };
    if bit(5) {
        settings.authentication = md5(if bit(6) { "one" } else { "two" }, None, 5);
    }
    settings.use_bia = bit(7);
    settings.priority = number;
    settings.track = vec![Track { interface: "eth1".into(), decrement: 200 }];
    settings
}

fn step(desk: &mut Desk, now: Now, happening: &Happening) -> Vec<Output> {
    let settings = desk.group.settings().clone();
    match happening {
        Happening::Octets(last, payload) => {
            desk.outputs(now, Input::Packet { source: address(*last, &settings), payload })
        }
        Happening::Message(last, priority, opcode, state, hello, hold) => {
            let (hello, hold) =
                (Duration::from_millis((*hello).into()), Duration::from_millis((*hold).into()));
            let message = message(&settings, *last, *opcode, *state);
            let message = Message { priority: *priority, hello, hold, ..message };
            let payload = sealed(&settings, *last, message);
            desk.outputs(now, Input::Packet { source: address(*last, &settings), payload: &payload })
        }
        Happening::Damaged(last, at, octet) => {
            let mut payload =
                sealed(&settings, *last, message(&settings, *last, Opcode::Hello, State::Active));
            if let Some(place) = payload.get_mut(*at) {
                *place = *octet;
            }
            desk.outputs(now, Input::Packet { source: address(*last, &settings), payload: &payload })
        }
        Happening::Interface(last) => desk.outputs(now, Input::Interface(last.map(interface))),
        Happening::Tracked(is_up) => desk.outputs(now, Input::Tracked { interface: "eth1", is_up: *is_up }),
        Happening::Reconfigure(number) => desk.outputs(now, Input::Reconfigure(numbered(*number))),
        Happening::Start => desk.outputs(now, Input::Start),
        Happening::Stop => desk.outputs(now, Input::Stop),
        Happening::Timeout => desk.outputs(now, Input::Timeout),
    }
}

/// Everything that can be seen of a router at a time.
fn seen(desk: &Desk, now: Now) -> String {
    format!("{:?} {:?}", desk.group.snapshot(now.mono), desk.group.deadline())
}

/// Steps through a history, checking every promise. All outputs.
fn live(number: u8, history: &[(u32, Happening)]) -> Result<Vec<Output>, TestCaseError> {
    let mut desk = Desk::new(numbered(number), 2);
    desk.outputs(at(0), Input::Interface(Some(interface(2))));
    let mut now = at(0);
    let mut is_held = false;
    let mut all = Vec::new();
    for (wait, happening) in history {
        // Half of the time exactly to the next deadline, else somewhere near or far.
        let due = desk.group.deadline().map(|deadline| deadline.at).filter(|_| wait % 2 == 0);
        now = match due {
            Some(due) => Now { mono: due.max(now.mono), ..now },
            None => now.after(Duration::from_micros((*wait).into())),
        };
        if desk.group.deadline().is_none_or(|deadline| !deadline.is_due(now)) {
            let before = seen(&desk, now);
            prop_assert_eq!(desk.outputs(now, Input::Timeout), []);
            prop_assert_eq!(seen(&desk, now), before, "an early timeout did something");
        }

        let outputs = step(&mut desk, now, happening);

        prop_assert!(outputs.len() <= 16, "{:?}", outputs);
        if matches!(happening, Happening::Timeout) {
            let deadline = desk.group.deadline();
            prop_assert!(deadline.is_none_or(|deadline| deadline.at > now.mono), "{:?} spins", deadline);
        }
        for output in &outputs {
            match output {
                Output::AcquireVip { vips } => {
                    prop_assert!(!is_held && !vips.is_empty());
                    is_held = true;
                }
                Output::ReleaseVip => {
                    prop_assert!(is_held);
                    is_held = false;
                }
                Output::AnnounceVip => prop_assert!(is_held),
                Output::Send { source, .. } => prop_assert!(is_held || *source == SourceMac::BurnedIn),
                Output::Event(_) => {}
            }
        }
        prop_assert_eq!(is_held, desk.group.state() == State::Active);
        all.extend(outputs);
    }
    Ok(all)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_input_breaks_a_promise_and_the_same_inputs_give_the_same_outputs(
        number in any::<u8>(),
        history in proptest::collection::vec((0..8_000_000_u32, any_happening()), 1..60),
    ) {
        let first = live(number, &history)?;
        let second = live(number, &history)?;

        prop_assert_eq!(first, second);
    }
}
