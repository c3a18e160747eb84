//! The redirect decision on the host: every fixture, every reply judged by code that shares
//! nothing with the one under test.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may fail loudly")]

mod gate;
mod judge;
mod vectors;

use std::collections::BTreeSet;

use common::decide::{Verdict, decide};
use common::maps::{SLOTS, slot};
use common::reason::Reason;
use judge::judge;
use proptest::prelude::*;
use redirect_userspace::testing::fixtures::{self, Fixture, GATEWAY_ALL, GATEWAY_ODD_NAME, World};
use redirect_userspace::testing::packets::Payload;

#[test]
fn every_fixture_gets_its_verdict() {
    for Fixture { name, world, frame, reason } in fixtures::all() {
        let mut packet = frame.clone();

        let verdict = decide(packet.as_mut_slice(), &world);

        assert_eq!(verdict.reason(), reason, "{name}");
        match verdict {
            Verdict::Pass(_) | Verdict::Drop(_) => {
                assert_eq!(packet, frame, "{name}: a frame that is not answered is untouched");
            }
            Verdict::Redirect { gateway, length } => {
                judge(&frame, &packet[..length], &world.gateways[gateway as usize])
                    .unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
            }
        }
    }
}

#[test]
fn every_reason_has_a_fixture() {
    let met: BTreeSet<_> = fixtures::all().iter().map(|fixture| fixture.reason).collect();

    let missing: Vec<_> = Reason::ALL.iter().filter(|reason| !met.contains(reason)).collect();

    // Only a kernel that refuses to shorten a frame leads there.
    assert_eq!(missing, [&Reason::RewriteFailed]);
}

#[test]
fn retransmissions_meet_the_same_gateway_and_others_spread() {
    let mut world = World::towards(GATEWAY_ALL);
    for (position, gateway) in world.table.gateway.iter_mut().enumerate() {
        *gateway = u16::from(position % 4 == 3);
    }
    let gateway = |spi: u64| {
        let mut packet = fixtures::v4();
        packet.spi_i = spi;
        match decide(packet.build().as_mut_slice(), &world) {
            Verdict::Redirect { gateway, .. } => gateway,
            Verdict::Pass(reason) | Verdict::Drop(reason) => panic!("{}", reason.name()),
        }
    };

    let second = (1..=4000_u64).filter(|spi| gateway(spi.wrapping_mul(0x9e37_79b9)) == 1).count();

    assert_eq!(gateway(7), gateway(7));
    assert!((900..1100).contains(&second), "{second} of 4000 in a quarter of the slots");
}

#[test]
fn the_slot_depends_on_every_octet_of_the_spi() {
    let multiplier = 0x9e37_79b9_7f4a_7c15;
    for octet in 0..8 {
        let slots: BTreeSet<_> = (0..=255_u8)
            .map(|value| {
                let mut spi = [0x5a; 8];
                spi[octet] = value;
                slot(u64::from_le_bytes(spi), multiplier)
            })
            .collect();
        assert!(slots.len() > 3, "octet {octet} reaches {} of {SLOTS} slots", slots.len());
    }
}

fn payload() -> impl Strategy<Value = Payload> {
    let body = || prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        Just(Payload::sa()),
        Just(Payload::ke(31, 32)),
        (0..300_usize).prop_map(Payload::nonce),
        Just(Payload::redirect_supported()),
        Just(Payload::redirected_from(fixtures::VIP4.into())),
        Just(Payload::redirected_from(fixtures::CLIENT4.into())),
        body().prop_map(|body| Payload::vendor(&body)),
        (any::<u8>(), any::<u8>(), body(), prop::option::weighted(0.1, any::<u16>()))
            .prop_map(|(kind, critical, body, length)| Payload { kind, critical, body, length }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_chain_is_answered_well_or_left_alone(
        payloads in prop::collection::vec(payload(), 0..36),
        v6 in any::<bool>(),
        nat_t in any::<bool>(),
        gateway in GATEWAY_ALL..=fixtures::GATEWAY_SHORT_NAME,
        spi in any::<u64>(),
    ) {
        let mut packet = if v6 { fixtures::v6() } else { fixtures::v4() };
        packet.payloads = payloads;
        packet.spi_i = spi;
        let frame = if nat_t { packet.nat_t().build() } else { packet.build() };
        let world = World::towards(gateway);

        check(&frame, &world)?;
    }

    #[test]
    fn a_request_with_octets_changed_is_answered_well_or_left_alone(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        v6 in any::<bool>(),
    ) {
        let mut frame = if v6 { fixtures::v6() } else { fixtures::v4() }.build();
        for (at, value) in changes {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        if let Some(cut) = cut {
            frame.truncate(cut.index(frame.len()));
        }

        check(&frame, &World::towards(GATEWAY_ODD_NAME))?;
    }

    #[test]
    fn the_nonce_comes_back_whole_wherever_it_was(
        before in 0..320_usize,
        nonce in prop::collection::vec(any::<u8>(), 16..=256),
        gateway in prop::sample::select(vec![GATEWAY_ALL, GATEWAY_ODD_NAME, fixtures::GATEWAY_SHORT_NAME]),
    ) {
        let frame = fixtures::v4()
            .with_payloads(vec![
                Payload::vendor(&vec![0xee; before]),
                Payload::new(40, nonce),
                Payload::sa(),
                Payload::ke(14, 256),
                Payload::redirect_supported(),
            ])
            .build();

        check(&frame, &World::towards(gateway))?;
    }
}

fn check(frame: &[u8], world: &World) -> Result<(), TestCaseError> {
    let mut packet = frame.to_vec();
    match decide(packet.as_mut_slice(), world) {
        Verdict::Pass(reason) | Verdict::Drop(reason) => {
            prop_assert_eq!(packet.as_slice(), frame, "{}", reason.name())
        }
        Verdict::Redirect { gateway, length } => {
            let verdict = judge(frame, &packet[..length], &world.gateways[gateway as usize]);
            prop_assert_eq!(verdict, Ok(()));
        }
    }
    Ok(())
}
