//! Any octets, and any order of things.

use proptest::prelude::*;

use super::*;
use crate::radius::kit;
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

/// What servers say, as octets of attributes: EAP of several methods, whole and in parts, keys, what a
/// client may do, and what nobody knows.
fn attribute_seeds() -> Vec<Vec<u8>> {
    let attribute =
        |kind: u8, value: &[u8]| [&[kind, u8::try_from(value.len() + 2).unwrap()], value].concat();
    let eap = |octets: &[u8]| octets.chunks(253).flat_map(|part| attribute(79, part)).collect::<Vec<u8>>();
    let long_tls = [&[1, 9, 4, 0, 13, 0xc0, 0, 0, 8, 0][..], &[0x16; 1_014]].concat();
    let mschap = [&[1, 8, 0, 26, 26, 1, 8, 0, 21, 16][..], &[7; 16]].concat();
    let key = |kind: u8| attribute(26, &[&[0, 0, 1, 55, kind, 36, 0x80, 1][..], &[9; 32]].concat());
    vec![
        eap(SUCCESS),
        eap(FAILURE),
        [eap(&mschap), attribute(24, b"state")].concat(),
        [eap(&long_tls), attribute(24, &[5; 16])].concat(),
        [eap(SUCCESS), key(16), key(17), attribute(1, b"alice")].concat(),
        [
            attribute(8, &[10, 98, 1, 7]),
            attribute(27, &[0, 0, 14, 16]),
            attribute(29, &[0, 0, 0, 1]),
            attribute(85, &[0, 0, 1, 44]),
            attribute(25, b"class"),
            attribute(97, &[&[0, 64][..], &[0xfd; 8]].concat()),
            attribute(96, &[1; 8]),
            attribute(168, &[0xfd; 16]),
            attribute(241, &[1, 2, 3]),
            attribute(18, b"welcome"),
            eap(SUCCESS),
        ]
        .concat(),
    ]
}

#[test]
fn the_seeds_of_attributes_keep_their_promises_with_any_octet_changed() {
    for seed in attribute_seeds() {
        for choice in 0..3 {
            let octets = [&[choice], &seed[..]].concat();
            fuzz_radius::attributes(&octets);
            // Long packets say the same again and again.
            for at in (1..octets.len()).take(160) {
                fuzz_radius::attributes(&octets[..at]);
                for flip in [0x01, 0x80, 0xff] {
                    let mut changed = octets.clone();
                    changed[at] ^= flip;
                    fuzz_radius::attributes(&changed);
                }
            }
        }
    }
}

#[test]
fn the_kit_of_tests_signs_as_servers_do() {
    let mut rig = Rig::new(&[server(1)]);
    let sent = rig.ask(1).only_sent();
    let octets = kit::answer(2, &sent.octets, &[79, 6, 3, 8, 0, 4], SECRET);

    assert!(matches!(rig.hear(sent.socket, &octets).only_verdict(), Verdict::Accept { .. }));
    assert_eq!(kit::attribute(&sent.octets, 1).unwrap(), b"alice");
}

proptest! {
    #[test]
    fn any_octets_after_a_signature_are_an_answer_or_a_refusal(
        octets in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        fuzz_radius::attributes(&octets);
    }

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
