//! The same decision in the kernel: every fixture and many mutated packets through
//! `BPF_PROG_TEST_RUN`, verdict and octets compared with the host's.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod gate;
mod kernel;

use common::decide::{Verdict, decide};
use common::reason::Reason;
use kernel::{Kernel, XDP_DROP, XDP_PASS, XDP_TX};
use redirect_userspace::fastpath::FastPath as _;
use redirect_userspace::testing::fixtures::{self, Fixture, World};

#[test]
#[ignore = "needs root: cargo xtask test xdp"]
fn every_fixture_gets_the_verdict_and_the_octets_of_the_host() {
    let mut kernel = Kernel::load();
    let mut compared = 0;
    for Fixture { name, world, frame, reason } in fixtures::all() {
        // The test run refuses frames shorter than an Ethernet header.
        if frame.len() < 14 {
            continue;
        }
        kernel.become_world(&world);
        let before = kernel.maps.counters().unwrap();

        let (action, output) = kernel.run(&frame);

        let after = kernel.maps.counters().unwrap();
        let counted: Vec<_> =
            Reason::ALL.iter().filter(|r| after.packets(**r) != before.packets(**r)).collect();
        assert_eq!(counted, [&reason], "{name}: exactly one counter moves");
        assert_eq!(after.packets(reason), before.packets(reason) + 1, "{name}");
        assert_same(name, &world, &frame, action, &output);
        compared += 1;
    }
    eprintln!("{compared} fixtures compared");
    assert!(compared > 150);
}

#[test]
#[ignore = "needs root: cargo xtask test xdp"]
fn mutated_packets_get_the_verdict_and_the_octets_of_the_host() {
    let mut kernel = Kernel::load();
    let mut random = Random(0x5eed_0001);
    let rounds = 300_000;
    let seeds: Vec<Fixture> = fixtures::all().into_iter().filter(|f| f.frame.len() >= 14).collect();
    let mut redirected = 0;
    let mut world = World::towards(0);
    for round in 0..rounds {
        // Maps are rewritten now and then only: that is the slow part.
        if round % 500 == 0 {
            world = World::towards(random.below(8).try_into().unwrap());
            kernel.become_world(&world);
        }
        let mut frame = seeds[random.below(seeds.len())].frame.clone();
        for _ in 0..random.below(5) {
            random.mutate(&mut frame);
        }
        let mut expected = frame.clone();
        let reason = decide(expected.as_mut_slice(), &world).reason();
        let before = kernel.packets(reason);

        let (action, output) = kernel.run(&frame);

        assert_eq!(kernel.packets(reason), before + 1, "round {round}: {} {frame:02x?}", reason.name());
        assert_same(&format!("round {round}"), &world, &frame, action, &output);
        redirected += u32::from(action == XDP_TX);
    }
    eprintln!("{rounds} packets compared, {redirected} of them redirected");
    assert!(redirected > rounds / 20, "the mutations leave too little to redirect: {redirected}");
}

#[test]
#[ignore = "needs root: cargo xtask test xdp"]
fn a_published_table_counts_for_the_next_packet_and_a_removed_gateway_gets_nothing() {
    let mut kernel = Kernel::load();
    let mut world = World::towards(0);
    kernel.become_world(&world);
    let frame = fixtures::v4().build();
    for generation in 2..200_u32 {
        let gateway = u16::try_from(generation % 2).unwrap();
        world.table.generation = generation;
        world.table.gateway.fill(gateway);
        kernel.maps.publish(&world.table).unwrap();
        let before = kernel.maps.counters().unwrap().redirects;

        let (action, _) = kernel.run(&frame);

        let after = kernel.maps.counters().unwrap().redirects;
        assert_eq!(action, XDP_TX);
        for index in 0..after.len() {
            let expected = before[index] + u64::from(index == usize::from(gateway));
            assert_eq!(after[index], expected, "generation {generation}, gateway {index}");
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test xdp"]
fn the_program_loads_with_its_log_lines_and_decides_alike() {
    let mut kernel = Kernel::with(true);
    let world = World::towards(0);
    kernel.become_world(&world);
    let frame = fixtures::v6().build();

    let (action, output) = kernel.run(&frame);
    kernel.maps.flush_log();

    assert_eq!(action, XDP_TX);
    assert_same("with log lines", &world, &frame, action, &output);
}

fn assert_same(name: &str, world: &World, frame: &[u8], action: u32, output: &[u8]) {
    let mut expected = frame.to_vec();
    match decide(expected.as_mut_slice(), world) {
        Verdict::Pass(reason) => {
            assert_eq!(action, XDP_PASS, "{name}: {}", reason.name());
            assert_eq!(output, frame, "{name}: a frame that passes is untouched");
        }
        Verdict::Drop(reason) => assert_eq!(action, XDP_DROP, "{name}: {}", reason.name()),
        Verdict::Redirect { length, .. } => {
            assert_eq!(action, XDP_TX, "{name}");
            assert_eq!(output, &expected[..length], "{name}");
            assert!(length < frame.len(), "{name}: a reply is shorter than its request");
        }
    }
}

/// xorshift64*: the same packets in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound
    }

    fn mutate(&mut self, frame: &mut Vec<u8>) {
        let at = self.below(frame.len());
        match self.below(8) {
            0 => frame[at] = self.next().to_le_bytes()[0],
            1 => frame[at] ^= 1 << self.below(8),
            2 => frame[at] = [0, 1, 4, 8, 28, 33, 34, 40, 41, 255][self.below(10)],
            // Cut, repair nothing: lengths disagree.
            3 => frame.truncate(at.max(14)),
            4 => frame.extend(vec![0xa5; self.below(40)]),
            5 => {
                let value = frame[at];
                frame.insert(at, value);
            }
            6 => {
                // A payload header somewhere in the message, with a plausible length.
                let length = u8::try_from(self.below(64)).unwrap();
                for (offset, octet) in [41, 0, 0, length].into_iter().enumerate() {
                    if let Some(place) = frame.get_mut(at + offset) {
                        *place = octet;
                    }
                }
            }
            _ => {
                let other = self.below(frame.len());
                frame.swap(at, other);
            }
        }
    }
}
