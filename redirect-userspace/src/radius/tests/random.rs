//! Any octets, and any order of things.

use proptest::prelude::*;

use super::*;
use crate::testing::fuzz_radius;

#[test]
fn the_seeds_of_the_fuzz_target_keep_its_promises() {
    let mut rig = Rig::new(&[server(1)]);
    let sent = rig.ask(1).only_sent();
    for seed in [sent.octets.clone(), accept(&sent), challenge(&sent), Vec::new()] {
        fuzz_radius::packet(&seed);
        for length in 0..seed.len() {
            fuzz_radius::packet(&seed[..length]);
        }
    }
}

proptest! {
    #[test]
    fn any_octets_are_a_packet_or_none(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz_radius::packet(&octets);
    }

    #[test]
    fn any_attributes_are_read_or_refused(
        attributes in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..12),
        code in prop::sample::select(vec![2_u8, 3, 11]),
    ) {
        let mut rig = Rig::new(&[server(1)]);
        let sent = rig.ask(1).only_sent();
        let list: Vec<(u8, &[u8])> = attributes.iter().map(|(kind, value)| (*kind, &value[..])).collect();
        let list: Vec<_> = list.into_iter().filter(|(kind, _)| *kind != 80).collect();
        let came = rig.hear(sent.socket, &answer(code, &sent, &list, WELL));
        prop_assert_eq!(came.verdicts.len(), 1);
    }

    /// Every question has one answer, whatever the servers do.
    #[test]
    fn every_question_is_answered_once(choices in prop::collection::vec(0_u8..8, 1..120)) {
        let mut rig = Rig::new(&[server(1), server(2)]);
        let (mut asked, mut answered, mut last) = (0_u64, 0, None::<Sent>);
        for choice in choices {
            let came = match (choice, last.clone()) {
                (0 | 1, _) => { asked += 1; rig.ask(asked) }
                (2, Some(sent)) => rig.hear(sent.socket, &accept(&sent)),
                (3, Some(sent)) => rig.hear(sent.socket, &answer(3, &sent, &[], WELL)),
                (4, Some(sent)) => rig.step(Input::Refused(sent.socket)),
                (5, Some(sent)) => rig.hear(sent.socket, &sent.octets),
                (6, _) => { rig.pass(Duration::from_millis(700)); rig.step(Input::Timeout) }
                _ => { rig.pass(Duration::from_secs(5)); rig.step(Input::Timeout) }
            };
            answered += came.verdicts.len();
            last = came.sent.last().cloned().or(last);
        }
        for _ in 0..40 {
            rig.pass(Duration::from_secs(3));
            answered += rig.step(Input::Timeout).verdicts.len();
        }
        prop_assert_eq!(u64::try_from(answered).unwrap(), asked);
    }
}
